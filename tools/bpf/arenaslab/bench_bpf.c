// SPDX-License-Identifier: GPL-2.0
/*
 * Peers of `arenaslab bench` that BPF programs call. Of an object file only the programs
 * of one peer and size are loaded, anew for each figure: so its arena has in it what the
 * figure is about, and nothing else. What programs measure is the time from their first
 * op to their last: not how they are called.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
/* Types that are in the skeleton of what has them */
#include <libarena/common.h>
#include <libarena/buddy.h>
#include "bench.skel.h"
#include "bench_buddy.skel.h"
#include "bench_frag.skel.h"
#include "bench_obj.skel.h"
#include "bench_tool.h"
#include "bpf_util.h"
#include "test_util.h"

/* Ops of one call: a program that is in the kernel for long keeps others waiting */
#define OPS_A_CALL	65536
/* The same with two CPUs, and seconds after which whoever got in each other's way may stop */
#define OPS_A_CALL_2	4096
#define SECONDS_OF_TWO	30

const struct bpf_peer bpf_peers[] = {
	{ "bpf:null", "null", "nothing but the loop", bench_bpf__elf_bytes, NULL, .max_size = ~0U },
	{ "bpf:arena_alloc", "kfunc", "bpf_arena_alloc(), bpf_arena_free()",
	  bench_bpf__elf_bytes, "bpf_arena_alloc", .max_size = ~0U },
	{ "bpf:obj_new", "obj", "bpf_obj_new(), bpf_obj_drop()", bench_obj_bpf__elf_bytes, NULL,
	  .max_size = 1024 },
	{ "bpf:arena_pages", "pages", "bpf_arena_alloc_pages(), bpf_arena_free_pages()",
	  bench_bpf__elf_bytes, NULL, .max_size = ~0U },
	/* It reserves 1 GiB, and a chunk's own data are a part of that */
	{ "bpf:buddy", "buddy", "arena_malloc(), arena_free() of libarena",
	  bench_buddy_bpf__elf_bytes, NULL, .max_size = ~0U, .max_bytes = 900 << 20 },
	{ "bpf:page_frag", "frag", "bpf_alloc(), bpf_free() of the selftests",
	  bench_frag_bpf__elf_bytes, NULL, .max_size = 1024, .one_cpu = true },
};
const int nr_bpf_peers = ARRAY_SIZE(bpf_peers);

int why(struct outcome *o, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(o->why, sizeof(o->why), fmt, args);
	va_end(args);
	return err;
}

int open_arena(void **addr, struct outcome *o)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	__u64 size = 1ULL << 32;
	int fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "bench", 0, 0, size / bench_page, &opts);
	if (fd < 0) {
		why(o, fd, "no arena: %s", strerror(errno));
		return -1;
	}
	*addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*addr == MAP_FAILED) {
		why(o, -errno, "an arena cannot be mapped: %s", strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

void close_arena(int fd, void *addr)
{
	munmap(addr, 1ULL << 32);
	close(fd);
}

static int call(struct bpf_object *obj, const char *name, struct bench_run *r, struct outcome *o)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = r, .ctx_size_in = r ? sizeof(*r) : 0);
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	int err = prog ? bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) : -ENOENT;

	if (err)
		return why(o, err, "program %s does not run: %s", name, strerror(-err));
	if (opts.retval)
		return why(o, -ENOMEM, "program %s returned %d", name, (int)opts.retval);
	return 0;
}

/* Programs by their names, @progs; all others, and maps that are theirs, are left out */
static int load_only(struct bpf_object *obj, const char *const *progs, __u32 size, __u32 slots,
		     struct outcome *o)
{
	struct bpf_program *prog;
	struct bpf_map *map;
	char own[32];
	int err;

	bpf_object__for_each_program(prog, obj) {
		bool wanted = false;

		for (int i = 0; progs[i]; i++)
			wanted = wanted || !strcmp(bpf_program__name(prog), progs[i]);
		bpf_program__set_autoload(prog, wanted);
	}
	snprintf(own, sizeof(own), "slots_%u", size);
	bpf_object__for_each_map(map, obj) {
		if (!strcmp(bpf_map__name(map), own))
			bpf_map__set_max_entries(map, slots);
		else if (!strncmp(bpf_map__name(map), "slots_", 6))
			bpf_map__set_autocreate(map, false);
		else if (!strcmp(bpf_map__name(map), "arena"))
			bpf_map__set_max_entries(map, (1ULL << 32) / bench_page);
	}
	err = bpf_object__load(obj);
	return err ? why(o, err, "the programs cannot be loaded: %s%s", strerror(-err),
			 verbose ? "" : " (--verbose says more)") : 0;
}

/* Ops and slots, behind each other in the arena */
static int make_room(struct bpf_object *obj, const struct script *s, __u32 slots,
		     struct bench_run *r, struct outcome *o)
{
	__u64 ops = (s->nr * sizeof(*s->ops) + 63) & ~63ULL;
	int err;

	*r = (struct bench_run){ .to = (ops + slots * 8ULL + bench_page - 1) / bench_page };
	err = call(obj, "room", r, o);
	if (err)
		return err;
	if (!r->ops)
		return why(o, -ENOMEM, "the arena has no room for the ops");
	memcpy((void *)r->ops, s->ops, s->nr * sizeof(*s->ops));
	r->slots = r->ops + ops;
	return 0;
}

/* What the arena and the kernel have for it; negative: this kernel does not say */
static void read_fdinfo(struct bpf_object *obj, double *pages, double *meta)
{
	char path[64], line[128];
	unsigned long long n;
	FILE *f;

	*pages = *meta = -1;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
		 bpf_object__find_map_fd_by_name(obj, "arena"));
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "arena_pages: %llu", &n) == 1)
			*pages = n;
		else if (sscanf(line, "arena_slab_meta: %llu", &n) == 1)
			*meta = n;
	}
	if (f)
		fclose(f);
}

/* @pages: what the arena has before there is anything of the peer in it, but ops and slots */
static struct bpf_object *open_peer(const struct peer *p, __u32 size, const struct script *s,
				    enum bench_where where, struct bench_run *r, double *pages,
				    struct outcome *o, int *err)
{
	char ops[40], hot[40] = "";
	const char *progs[] = { ops, "room", "arena_buddy_reset", hot, NULL };
	__u32 slots = s->slots;
	struct bpf_object *obj;
	const void *image;
	double meta;
	size_t len;

	snprintf(ops, sizeof(ops), "%s_ops_%u", p->bpf->prefix, size);
	if (s->hot && where == CPU_ONE)
		snprintf(hot, sizeof(hot), "%s_hot_%u", p->bpf->prefix, size);
	if (where == CPU_BOTH)
		slots *= 2;
	image = p->bpf->image(&len);
	obj = bpf_object__open_mem(image, len, NULL);
	if (!obj) {
		*err = why(o, -errno, "the programs cannot be opened: %s", strerror(errno));
		return NULL;
	}
	*err = load_only(obj, progs, size, slots, o);
	read_fdinfo(obj, pages, &meta);
	if (!*err && bpf_object__find_program_by_name(obj, "arena_buddy_reset"))
		*err = call(obj, "arena_buddy_reset", NULL, o);
	if (!*err)
		*err = make_room(obj, s, slots, r, o);
	if (*pages >= 0)
		*pages += r->to;
	if (*err) {
		bpf_object__close(obj);
		obj = NULL;
	}
	return obj;
}

/* Ops from @from to @to; the nanoseconds that they took are added to *@ns */
static int run_ops(struct bpf_object *obj, const char *prog, struct bench_run *r, __u32 from,
		   __u32 to, double *ns, struct outcome *o)
{
	int err = 0;

	while (from < to && !err && !stopped && !r->failed) {
		r->from = from;
		r->to = to - from < OPS_A_CALL ? to : from + OPS_A_CALL;
		err = call(obj, prog, r, o);
		*ns += r->end_ns - r->begin_ns;
		from = r->to;
	}
	return stopped ? why(o, -EINTR, "interrupted") : err;
}

struct usage {
	double pages, meta, free;
};

static struct usage usage_now(struct bpf_object *obj)
{
	struct usage u = { .free = free_bytes() };

	read_fdinfo(obj, &u.pages, &u.meta);
	return u;
}

/* Memory of an arena is exact; of others, what the machine has less */
static void note_memory(const struct peer *p, struct bpf_object *obj, const struct usage *before,
			struct outcome *o)
{
	struct usage now = usage_now(obj);

	o->metadata = -1;
	o->memory = -1;
	if (!strcmp(p->bpf->prefix, "null"))
		return;
	if (!strcmp(p->bpf->prefix, "obj")) {
		o->memory = before->free - now.free;
		return;
	}
	if (now.pages < 0)
		return;
	o->exact = true;
	o->memory = (now.pages - before->pages) * bench_page;
	if (now.meta >= 0) {
		double meta = now.meta - (before->meta > 0 ? before->meta : 0);

		o->memory += meta;
		if (!strcmp(p->bpf->prefix, "kfunc"))
			o->metadata = meta;
	}
}

/* ---- one CPU, or one after the other ---- */

static int pin(int cpu, struct outcome *o)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!sched_setaffinity(0, sizeof(set), &set))
		return 0;
	return why(o, -errno, "cannot go to CPU %d: %s", cpu, strerror(errno));
}

static int run_turns(struct bpf_object *obj, const char *prog, const struct script *s,
		     struct bench_run *r, double *ns, struct outcome *o)
{
	struct outcome back = {};
	int err = 0, cpu = 0;

	for (__u32 i = s->prepare, to; i < s->nr && !err && !r->failed; i = to) {
		to = s->nr - i < s->turn ? s->nr : i + s->turn;
		err = pin(cpu, o) ?: run_ops(obj, prog, r, i, to, ns, o);
		cpu = !cpu;
	}
	/* Where all others are done; what went wrong before is what is told */
	cpu = pin(0, err ? &back : o);
	return err ?: cpu;
}

static int run_one(const struct peer *p, __u32 size, const struct script *s,
		   enum bench_where where, int rounds, struct outcome *o)
{
	char ops[40], hot[40];
	struct bpf_object *obj;
	struct bench_run run;
	struct usage before;
	double pages, ns = 0;
	int err;

	obj = open_peer(p, size, s, where, &run, &pages, o, &err);
	if (!obj)
		return err;
	snprintf(ops, sizeof(ops), "%s_ops_%u", p->bpf->prefix, size);
	snprintf(hot, sizeof(hot), "%s_hot_%u", p->bpf->prefix, size);
	before = usage_now(obj);
	before.pages = pages;
	err = run_ops(obj, ops, &run, 0, s->prepare, &ns, o);
	if (!err)
		note_memory(p, obj, &before, o);
	for (int i = 0; i < rounds && !err; i++) {
		ns = 0;
		if (where == CPU_TURNS)
			err = run_turns(obj, ops, s, &run, &ns, o);
		else if (s->hot)
			err = run_ops(obj, hot, &run, 0, s->pairs, &ns, o);
		else
			err = run_ops(obj, ops, &run, s->prepare, s->nr, &ns, o);
		/* The first one warms up */
		if (i || s->growth)
			o->ns[o->rounds++] = ns;
	}
	o->failed += run.failed;
	bpf_object__close(obj);
	return err;
}

struct bpf_object *bpf_prepared(const struct peer *p, __u32 size, const struct script *s,
				struct outcome *o, int *err)
{
	struct bpf_object *obj;
	struct bench_run run;
	char ops[40];
	double pages, ns = 0;

	obj = open_peer(p, size, s, CPU_ONE, &run, &pages, o, err);
	if (!obj)
		return NULL;
	snprintf(ops, sizeof(ops), "%s_ops_%u", p->bpf->prefix, size);
	*err = run_ops(obj, ops, &run, 0, s->prepare, &ns, o);
	if (!*err && run.failed)
		*err = why(o, -ENOMEM, "%llu allocations failed", run.failed);
	if (*err) {
		bpf_object__close(obj);
		obj = NULL;
	}
	return obj;
}

struct bpf_object *bpf_filled(const char *what, __u32 nr, double *pages, struct outcome *o,
			      int *err)
{
	const char *progs[] = { what, NULL };
	struct bench_run run = { .to = nr };
	struct bpf_object *obj;
	const void *image;
	double meta;
	size_t len;

	image = bench_bpf__elf_bytes(&len);
	obj = bpf_object__open_mem(image, len, NULL);
	if (!obj) {
		*err = why(o, -errno, "the programs cannot be opened: %s", strerror(errno));
		return NULL;
	}
	*err = load_only(obj, progs, 0, 0, o) ?: call(obj, what, &run, o);
	if (!*err && run.failed)
		*err = why(o, -ENOMEM, "%llu allocations failed", run.failed);
	if (!*err) {
		read_fdinfo(obj, pages, &meta);
		return obj;
	}
	bpf_object__close(obj);
	return NULL;
}

/* ---- two CPUs ---- */

struct worker {
	pthread_t thread;
	int *starting;		/* who is not there yet */
	struct bpf_object *obj;
	char prog[40];
	const struct script *s;
	int cpu;
	struct bench_run run;
	__u64 begin_ns, end_ns;
	struct outcome o;
	int err;
};

/*
 * libarena's lock gives up when the holder's CPU is not running for long, as those of a
 * VM may be, and each op takes as long from then on.
 */
static int run_both(struct worker *w)
{
	__u64 deadline = now_ns() + SECONDS_OF_TWO * NS;
	__u32 at = w->s->prepare;
	int err = 0;

	while (at < w->s->nr && !err && !stopped && !w->run.failed) {
		if (now_ns() > deadline)
			return why(&w->o, -ENOMEM, "not done after %d s", SECONDS_OF_TWO);
		w->run.from = at;
		w->run.to = w->s->nr - at < OPS_A_CALL_2 ? w->s->nr : at + OPS_A_CALL_2;
		err = call(w->obj, w->prog, &w->run, &w->o);
		if (!w->begin_ns)
			w->begin_ns = w->run.begin_ns;
		at = w->run.to;
	}
	w->end_ns = w->run.end_ns;
	return err;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	double ns = 0;

	w->err = pin(w->cpu, &w->o) ?:
		 run_ops(w->obj, w->prog, &w->run, 0, w->s->prepare, &ns, &w->o);
	/* They have CPUs of their own: spinning is what lets them start together */
	__atomic_fetch_sub(w->starting, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(w->starting, __ATOMIC_ACQUIRE) && !stopped)
		;
	w->err = w->err ?: run_both(w);
	return NULL;
}

static int run_two(const struct peer *p, __u32 size, const struct script *s, double *ns,
		   struct outcome *o)
{
	struct worker w[2] = {};
	struct bpf_object *obj;
	struct bench_run run;
	int err, starting = 2;
	double pages;

	obj = open_peer(p, size, s, CPU_BOTH, &run, &pages, o, &err);
	if (!obj)
		return err;
	for (int i = 0; i < 2; i++) {
		w[i].starting = &starting;
		w[i].obj = obj;
		w[i].s = s;
		w[i].cpu = i;
		w[i].run = run;
		w[i].run.slot_base = i * s->slots;
		snprintf(w[i].prog, sizeof(w[i].prog), "%s_ops_%u", p->bpf->prefix, size);
		if (pthread_create(&w[i].thread, NULL, work, &w[i])) {
			/* The first one would wait for ever */
			fail("no second thread");
			exit(EXIT_FAILED);
		}
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		err = err ?: w[i].err;
		o->failed += w[i].run.failed;
		if (w[i].err && !*o->why)
			why(o, w[i].err, "%s", w[i].o.why);
	}
	*ns = (w[0].end_ns > w[1].end_ns ? w[0].end_ns : w[1].end_ns) -
	      (double)(w[0].begin_ns < w[1].begin_ns ? w[0].begin_ns : w[1].begin_ns);
	bpf_object__close(obj);
	return err;
}

int run_bpf(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
	    struct outcome *o)
{
	int err = 0;

	if (size > p->bpf->max_size)
		return why(o, -EOPNOTSUPP, "has no objects of that size");
	if (where != CPU_ONE && p->bpf->one_cpu)
		return why(o, -EOPNOTSUPP, "is for one CPU");
	if (where != CPU_BOTH && !s->growth) {
		err = run_one(p, size, s, where, bench_rounds + 1, o);
		settle();
		return err;
	}
	for (unsigned int i = 0; i < bench_rounds && !err; i++) {
		if (where == CPU_BOTH)
			err = run_two(p, size, s, &o->ns[o->rounds++], o);
		else
			err = run_one(p, size, s, where, 1, o);
		settle();
	}
	return err;
}
