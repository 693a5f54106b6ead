// SPDX-License-Identifier: GPL-2.0
/*
 * What `arenaslab bench` measures of an arena as a whole: to make and to destroy it, with
 * nothing in it or with objects that were leaked, and to load a program that allocates.
 *
 * An arena goes when nobody waits for it any more, in a worker. With one CPU, what the
 * machine is not idle until it is gone is what that costs.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include "bench_tool.h"
#include "bench_watch.skel.h"
#include "test_util.h"

/* An arena of a size that programs have */
#define ARENA_BYTES	(16 << 20)

static struct bench_watch_bpf *watch_arenas(struct outcome *o, int *err)
{
	struct bench_watch_bpf *w = bench_watch_bpf__open();

	if (!w) {
		*err = why(o, -errno, "the tracing programs cannot be opened");
		return NULL;
	}
	bpf_program__set_autoload(w->progs.task_comes, false);
	bpf_program__set_autoload(w->progs.task_goes, false);
	*err = bench_watch_bpf__load(w) ?: bench_watch_bpf__attach(w);
	if (*err) {
		why(o, *err, "the tracing programs cannot be attached: %s", strerror(-*err));
		bench_watch_bpf__destroy(w);
		return NULL;
	}
	return w;
}

struct going {
	double ns, busy_ns, barriers, grace_periods;
};

static struct going mark(const struct bench_watch_bpf *w)
{
	return (struct going){ now_ns(), w->bss->idle_ns, w->bss->barriers,
			       w->bss->grace_periods };
}

/* Since @g, which was taken before the last holder let go */
static int wait_gone(const struct bench_watch_bpf *w, __u64 frees, struct going *g,
		     struct outcome *o)
{
	double start = g->ns;

	/* Asleep, so that all that runs is on the arena's account */
	for (int i = 0; i < 600 && w->bss->frees == frees; i++)
		usleep(100000);
	if (w->bss->frees != frees + 1)
		return why(o, -EIO, "%lld arenas went instead of one",
			   (long long)(w->bss->frees - frees));
	g->ns = w->bss->free_end_ns - start;
	g->busy_ns = g->ns - (w->bss->free_end_idle_ns - g->busy_ns);
	g->barriers = w->bss->barriers - g->barriers;
	g->grace_periods = w->bss->grace_periods - g->grace_periods;
	return 0;
}

/* Let go of an arena, that of @obj or @fd, and see it going */
static int time_going(struct bench_watch_bpf *w, struct bpf_object *obj, int fd, void *addr,
		      struct going *g, struct outcome *o)
{
	__u64 frees;

	settle();
	frees = w->bss->frees;
	*g = mark(w);
	if (obj) {
		bpf_object__close(obj);
	} else {
		munmap(addr, ARENA_BYTES);
		close(fd);
	}
	return wait_gone(w, frees, g, o);
}

/* What of it costs: all that the machine does, or if others do something, too, the time */
static double cost(const struct going *g)
{
	return bench_cpus == 1 ? g->busy_ns : g->ns;
}

static int measure_empty(struct bench_watch_bpf *w, figure_fn figure, struct outcome *o)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	double create[MAX_ROUNDS], map[MAX_ROUNDS], go[MAX_ROUNDS];
	int err = 0;

	for (unsigned int i = 0; i < bench_rounds + 1 && !err; i++) {
		/* The first one warms up */
		int n = i ? i - 1 : 0, fd;
		struct going g;
		void *addr;
		__u64 t0;

		t0 = now_ns();
		fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "bench", 0, 0, ARENA_BYTES / bench_page,
				    &opts);
		create[n] = now_ns() - t0;
		if (fd < 0)
			return why(o, fd, "no arena: %s", strerror(-fd));
		t0 = now_ns();
		addr = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		map[n] = now_ns() - t0;
		if (addr == MAP_FAILED) {
			close(fd);
			return why(o, -errno, "an arena cannot be mapped: %s", strerror(errno));
		}
		err = time_going(w, NULL, fd, addr, &g, o);
		go[n] = cost(&g);
	}
	if (err)
		return err;
	figure("arena", "create", 0, 0, "ns", create, bench_rounds);
	figure("arena", "mmap", 0, 0, "ns", map, bench_rounds);
	figure("arena", "destroy", 0, 0, "ns", go, bench_rounds);
	return 0;
}

/* With the programs that filled it, whose end is a part of the figure */
static int measure_filled(struct bench_watch_bpf *w, const char *what, const char *name, __u32 nr,
			  double *pages, figure_fn figure, struct outcome *o)
{
	double go[MAX_ROUNDS];
	int err = 0;

	for (unsigned int i = 0; i < bench_rounds && !err; i++) {
		struct bpf_object *obj = bpf_filled(what, nr, pages, o, &err);
		struct going g;

		if (!obj)
			break;
		err = time_going(w, obj, -1, NULL, &g, o);
		go[i] = cost(&g);
	}
	if (!err)
		figure("arena", name, 0, *pages > 0 ? *pages : 0, "ns", go, bench_rounds);
	return err;
}

int measure_arena(bool slabs, figure_fn figure, struct outcome *o)
{
	struct bench_watch_bpf *w;
	double pages = 0, same;
	int err;

	w = watch_arenas(o, &err);
	if (!w)
		return err;
	err = measure_empty(w, figure, o);
	if (!err && slabs)
		err = measure_filled(w, "fill_classes", "destroy-classes", 1000, &pages, figure, o);
	if (!err && pages > 0)
		err = measure_filled(w, "fill_pages", "destroy-pages", pages, &same, figure, o);
	bench_watch_bpf__destroy(w);
	return err;
}

int measure_teardown(const struct peer *p, __u32 size, const struct script *s, figure_fn figure,
		     struct outcome *o)
{
	double v[4][MAX_ROUNDS];
	struct bench_watch_bpf *w;
	int err;

	w = watch_arenas(o, &err);
	if (!w)
		return err;
	for (unsigned int i = 0; i < bench_rounds && !err; i++) {
		struct bpf_object *obj = bpf_prepared(p, size, s, o, &err);
		struct going g;

		if (!obj)
			break;
		err = time_going(w, obj, -1, NULL, &g, o);
		v[0][i] = cost(&g) / 1e3;
		v[1][i] = g.ns / 1e3;
		v[2][i] = g.grace_periods;
		v[3][i] = g.barriers;
		settle();
	}
	if (!err) {
		figure("teardown", p->name, size, s->live, "us", v[0], bench_rounds);
		figure("teardown-elapsed", p->name, size, s->live, "us", v[1], bench_rounds);
		figure("teardown-grace", p->name, size, s->live, "synchronize_rcu()", v[2],
		       bench_rounds);
		figure("teardown-barriers", p->name, size, s->live, "rcu_barrier()", v[3],
		       bench_rounds);
	}
	bench_watch_bpf__destroy(w);
	return err;
}

/* ---- loading a program ---- */

/* r1 = map; w2 = 64; call @kfunc, if it is not 0; r0 = 0; exit */
static int load(int map, int kfunc, double *ns)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
		{},
		{ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = 64 },
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL, .imm = kfunc },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE);
	__u64 start;
	int fd;

	/* As many instructions without the call */
	if (!kfunc)
		insns[3] = (struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_K,
					      .dst_reg = BPF_REG_3 };
	start = now_ns();
	fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "bench", "GPL", insns, ARRAY_SIZE(insns), &opts);
	*ns = now_ns() - start;
	return fd;
}

int measure_load(figure_fn figure, struct outcome *o)
{
	/* The first one makes the cache of 64 bytes */
	static const char *const names[] = { "no-call", "first-call", "next-call" };
	double v[ARRAY_SIZE(names)][MAX_ROUNDS];
	struct btf *btf = btf__load_vmlinux_btf();
	size_t nr = ARRAY_SIZE(names);
	int alloc, err = 0;

	if (!btf)
		return why(o, -EOPNOTSUPP, "the kernel has no BTF");
	alloc = btf__find_by_name_kind(btf, "bpf_arena_alloc", BTF_KIND_FUNC);
	btf__free(btf);
	if (alloc < 0)
		nr = 1;
	for (unsigned int i = 0; i < bench_rounds + 1 && !err; i++) {
		/* The first one warms up */
		int n = i ? i - 1 : 0, fd, prog;
		void *addr;

		fd = open_arena(&addr, o);
		if (fd < 0)
			return -ENOMEM;
		for (size_t j = 0; j < nr && !err; j++) {
			prog = load(fd, j ? alloc : 0, &v[j][n]);
			if (prog < 0)
				err = why(o, prog, "a program does not load: %s",
					  strerror(-prog));
			else
				close(prog);
		}
		close_arena(fd, addr);
		settle();
	}
	for (size_t j = 0; j < nr && !err; j++)
		figure("load", names[j], 0, 0, "ns", v[j], bench_rounds);
	return err;
}
