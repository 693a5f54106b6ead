// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: the body. Three arenas, see torture.h, the threads that run their
 * programs, and the contexts to which they are attached.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "torture_tool.h"
#include "torture.skel.h"

/* ---- the arenas ---- */

struct arena arenas[NR_ARENAS] = {
	/* Its first page is the one that must not be used */
	[ARENA_KEPT] = { "kept", 0, MAX_PAGES, BPF_F_SEGV_ON_FAULT },
	[ARENA_SCRIBBLED] = { "scribbled", 1U << 30, 1024, 0 },
	/*
	 * It ends where 32 bits end, and is too small for the cache of the largest size to
	 * have sheaves: a slab goes as soon as its only object is free.
	 */
	[ARENA_LAWLESS] = { "lawless", (1ULL << 32) - 440 * PAGE, 440, BPF_F_SEGV_ON_FAULT },
};

static int governors_fd = -1;
struct btf *vmlinux;

bool has_function(const char *name)
{
	return btf__find_by_name_kind(vmlinux, name, BTF_KIND_FUNC) > 0;
}

/* One of so many events is enough of those that come all the time */
static void set_rates(struct torture_bpf *skel)
{
	for (int i = 0; i < NR_CTX; i++)
		skel->rodata->rate[i] = 0;
	skel->rodata->rate[CTX_PAGE_ALLOC] = 7;
	skel->rodata->rate[CTX_CACHE_ALLOC] = 31;
	skel->rodata->rate[CTX_CACHE_FREE] = 31;
	skel->rodata->rate[CTX_LINK] = 31;
	skel->rodata->rate[CTX_RANGE] = 7;
	skel->rodata->rate[CTX_SLAB_FREE] = 31;
	skel->rodata->rate[CTX_PARTIAL] = 7;
	skel->rodata->rate[CTX_PROBE] = 3;
}

/*
 * An instance that is open and not yet loaded. libbpf maps the arena at its map_extra
 * when it loads it.
 */
struct torture_bpf *open_instance(__u32 kind, __u64 start, __u32 pages, __u32 flags)
{
	struct torture_bpf *skel = torture_bpf__open();

	if (!skel)
		return NULL;
	skel->rodata->kind = kind;
	skel->rodata->arena_start = start;
	skel->rodata->arena_pages = pages;
	skel->rodata->slow = opt.slow;
	set_rates(skel);
	bpf_map__set_max_entries(skel->maps.arena, pages);
	bpf_map__set_map_extra(skel->maps.arena, start);
	bpf_map__set_map_flags(skel->maps.arena, bpf_map__map_flags(skel->maps.arena) | flags);
	for (int i = 0; i < MAX_WORKERS; i++)
		skel->bss->workers[i].rng = seed_of((i / 128 * NR_ARENAS + kind) * 128 + i % 128);

	bpf_program__set_autoload(skel->progs.on_lost_free, false);
	bpf_program__set_autoload(skel->progs.on_slab_fault, false);
	bpf_program__set_autoload(skel->progs.on_page_fault, false);
	bpf_program__set_autoload(skel->progs.on_page_gone, false);
	bpf_program__set_autoload(skel->progs.on_zapped, false);
	bpf_program__set_autoload(skel->progs.on_worker, false);
	bpf_program__set_autoload(skel->progs.on_keep, false);
	bpf_program__set_autoload(skel->progs.on_probe, false);
	bpf_program__set_autoload(skel->progs.churn_take, kind == ARENA_KEPT);
	bpf_program__set_autoload(skel->progs.churn_give, kind == ARENA_KEPT);
	bpf_program__set_autoload(skel->progs.start_timer, has_timers());
	bpf_program__set_autoload(skel->progs.stop_timer, has_timers());
	bpf_map__set_autocreate(skel->maps.torture_ops, false);
	bpf_program__set_autoload(skel->progs.cid_init, false);
	bpf_program__set_autoload(skel->progs.cid_set_cmask, false);
	bpf_program__set_autoload(skel->progs.cid_go_online, false);
	bpf_program__set_autoload(skel->progs.cid_go_offline, false);
	bpf_program__set_autoload(skel->progs.free_kernels, false);
	bpf_program__set_autoload(skel->progs.on_map, has_function("bpf_arena_slab_map"));
	bpf_program__set_autoload(skel->progs.on_unmap, has_function("bpf_arena_slab_unmap"));
	bpf_program__set_autoload(skel->progs.on_link, has_function("slab_arena_set_link"));
	bpf_program__set_autoload(skel->progs.on_range, has_function("range_tree_clear"));
	bpf_program__set_autoload(skel->progs.on_slab_free, has_function("__slab_free"));
	bpf_program__set_autoload(skel->progs.on_partial,
				  has_function("slab_attach_kprobe_locked"));
	return skel;
}

__u32 map_id(struct torture_bpf *skel)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (bpf_map_get_info_by_fd(bpf_map__fd(skel->maps.arena), &info, &len))
		return 0;
	return info.id;
}

int run_prog(struct bpf_program *prog, __u32 worker, __u32 ops)
{
	struct torture_args args = { .worker = worker, .ops = ops };
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &args, .ctx_size_in = sizeof(args));
	int err = bpf_prog_test_run_opts(bpf_program__fd(prog), &run);

	return err ?: (int)run.retval;
}

/* One instance is enough for what holds everybody up */
static void want_holds(struct torture_bpf *skel, bool all)
{
	bpf_program__set_autoload(skel->progs.on_probe, true);
	if (!all)
		return;
	bpf_program__set_autoload(skel->progs.on_lost_free, has_function("arena_free_other"));
	bpf_program__set_autoload(skel->progs.on_slab_fault, has_function("vmf_insert_mixed"));
	bpf_program__set_autoload(skel->progs.on_page_fault, has_function("vm_insert_page"));
	bpf_program__set_autoload(skel->progs.on_page_gone, has_function("slab_arena_free_page"));
	bpf_program__set_autoload(skel->progs.on_zapped, has_function("arena_zap_mappings"));
	bpf_program__set_autoload(skel->progs.on_worker, has_function("arena_slab_worker"));
	bpf_program__set_autoload(skel->progs.on_keep, has_function("slab_arena_keep"));
}

static int load_arena(int kind)
{
	struct arena *a = &arenas[kind];
	int err;

	a->start = ARENA_BASE + ((__u64)kind << 32) + a->low;
	a->skel = open_instance(kind, a->start, a->pages, a->flags);
	if (!a->skel)
		return fail("cannot open the BPF programs: %s", strerror(errno));
	want_holds(a->skel, kind == ARENA_LAWLESS);
	if (governors_fd >= 0)
		bpf_map__reuse_fd(a->skel->maps.governors, governors_fd);
	err = torture_bpf__load(a->skel);
	if (err)
		return fail("cannot load the programs of the %s arena: %s%s", a->name,
			    strerror(-err), verbose ? "" : " (--verbose shows why)");
	governors_fd = bpf_map__fd(a->skel->maps.governors);
	a->map_id = map_id(a->skel);
	err = run_prog(a->skel->progs.start, 0, 0);
	if (err)
		return fail("cannot reserve pages of the %s arena: %d", a->name, err);
	return 0;
}

/* ---- contexts ---- */

static void attach_irq(struct arena *a, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.freq = 1,
		.sample_freq = 250 / opt.slow,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	/* The CPU may be away just now */
	if (fd < 0)
		return;
	a->irq[cpu] = bpf_program__attach_perf_event(a->skel->progs.on_irq, fd);
	if (!a->irq[cpu])
		close(fd);
}

/* A CPU that comes back has none of its events: new ones */
static void renew_irqs(void)
{
	static __u64 plugs;

	if (opt.without[PART_IRQ] || plugs == shared->plugs)
		return;
	plugs = shared->plugs;
	for (int i = 0; i < NR_ARENAS; i++) {
		for (int cpu = 1; cpu < nr_cpus; cpu++) {
			bpf_link__destroy(arenas[i].irq[cpu]);
			arenas[i].irq[cpu] = NULL;
			attach_irq(&arenas[i], cpu);
		}
	}
}

/* @what: the attack that it is, or is needed for */
static void try_attach(struct bpf_program *prog, struct bpf_link **link, int what)
{
	if (bpf_program__autoload(prog)) {
		*link = bpf_program__attach(prog);
		if (!*link)
			blame("%s cannot be attached: %s", bpf_program__section_name(prog),
			      strerror(errno));
	} else if (what != CTX_PARTIAL) {
		/* A function of ours, or one that is always there: the tool is of another kernel */
		blame("%s: this kernel has no such function", bpf_program__section_name(prog));
	} else if (!shared->impossible[what]) {
		cannot(what, "%s: this kernel has no such function",
		       bpf_program__section_name(prog));
	}
}

static void attach_all(struct arena *a, bool say)
{
	struct torture_bpf *s = a->skel;

	if (!opt.without[PART_TRACE]) {
		try_attach(s->progs.on_switch, &s->links.on_switch, CTX_SWITCH);
		try_attach(s->progs.on_page_alloc, &s->links.on_page_alloc, CTX_PAGE_ALLOC);
		try_attach(s->progs.on_cache_alloc, &s->links.on_cache_alloc, CTX_CACHE_ALLOC);
		try_attach(s->progs.on_cache_free, &s->links.on_cache_free, CTX_CACHE_FREE);
		try_attach(s->progs.on_contention, &s->links.on_contention, CTX_CONTENTION);
		try_attach(s->progs.on_map, &s->links.on_map, CTX_MAP);
		try_attach(s->progs.on_unmap, &s->links.on_unmap, CTX_UNMAP);
		try_attach(s->progs.on_link, &s->links.on_link, CTX_LINK);
		try_attach(s->progs.on_range, &s->links.on_range, CTX_RANGE);
		try_attach(s->progs.on_slab_free, &s->links.on_slab_free, CTX_SLAB_FREE);
		try_attach(s->progs.on_partial, &s->links.on_partial, CTX_PARTIAL);
	}
	if (!opt.without[PART_HOLD] && a == &arenas[ARENA_LAWLESS]) {
		try_attach(s->progs.on_lost_free, &s->links.on_lost_free,
			   ATTACK_HOLD + HOLD_FREE);
		try_attach(s->progs.on_slab_fault, &s->links.on_slab_fault,
			   ATTACK_HOLD + HOLD_FAULT);
		try_attach(s->progs.on_page_fault, &s->links.on_page_fault,
			   ATTACK_HOLD + HOLD_FAULT);
		try_attach(s->progs.on_page_gone, &s->links.on_page_gone,
			   ATTACK_HOLD + HOLD_FREE);
		try_attach(s->progs.on_zapped, &s->links.on_zapped, ATTACK_HOLD + HOLD_FAULT);
		try_attach(s->progs.on_worker, &s->links.on_worker, ATTACK_HOLD + HOLD_WORKER);
		try_attach(s->progs.on_keep, &s->links.on_keep, ATTACK_HOLD);
	}
	if (opt.without[PART_IRQ])
		return;
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		attach_irq(a, cpu);
	if (say && !a->irq[0])
		cannot(CTX_IRQ, "no CPU clock event: nothing runs in hard interrupts");
	if (!has_timers()) {
		if (say)
			cannot(CTX_TIMER, "no BPF timer on PREEMPT_RT");
		return;
	}
	a->timers = true;
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		if (run_prog(s->progs.start_timer, cpu, 0) && say)
			cannot(CTX_TIMER, "a BPF timer does not start");
	}
}

static void detach_all(struct arena *a)
{
	a->skel->bss->closing = 1;
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		bpf_link__destroy(a->irq[cpu]);
		a->irq[cpu] = NULL;
		if (a->timers)
			run_prog(a->skel->progs.stop_timer, cpu, 0);
	}
	torture_bpf__detach(a->skel);
}

/* ---- threads of the body ---- */

static struct thread threads[MAX_THREADS];
static int nr_threads;

/* They only meet when both have a CPU, so they get one, for a moment at a time */
static void *run_racer(void *arg)
{
	struct thread *t = arg;

	setpriority(PRIO_PROCESS, syscall(SYS_gettid), -19);
	while (!shared->stop) {
		run_prog(t->prog, t->worker, t->ops);
		t->progress->count++;
		usleep(20000);
	}
	return NULL;
}

static void *run_task(void *arg)
{
	struct thread *t = arg;
	bool looks = t->arena == &arenas[ARENA_KEPT];
	int err;

	while (!shared->stop) {
		err = run_prog(t->prog, t->worker, t->ops);
		if (err) {
			blame("%s: the program returned %d", t->progress->name, err);
			break;
		}
		if (looks)
			look_at_objects(t);
		t->progress->count++;
	}
	return NULL;
}

static void start_thread(void *(*fn)(void *), struct arena *a, struct bpf_program *prog,
			 __u32 worker, __u32 ops, const char *name)
{
	struct thread *t = &threads[nr_threads];

	if (nr_threads == MAX_THREADS)
		return;
	*t = (struct thread){ .arena = a, .prog = prog, .worker = worker, .ops = ops,
			      .rng = seed_of(WHO_THREAD + nr_threads),
			      .progress = new_progress("%s %u of %s", name, worker, a->name) };
	if (!pthread_create(&t->id, NULL, fn, t))
		nr_threads++;
	else
		blame("no thread for %s", t->progress->name);
}

static void start_threads(void)
{
	for (int i = 0; i < NR_ARENAS; i++) {
		struct arena *a = &arenas[i];

		for (unsigned long n = 0; n < opt.tasks; n++) {
			start_thread(run_task, a, a->skel->progs.task_sleep, WORKER(CTX_TASK, n),
				     64, "task");
			start_thread(run_task, a, a->skel->progs.task_atomic, WORKER(CTX_ATOMIC, n),
				     64, "atomic task");
		}
		if (i != ARENA_KEPT && !opt.without[PART_SCRIBBLE])
			start_thread(run_scribbler, a, NULL, 0, 0, "scribbler");
	}
	for (int i = 0; i < 2; i++)
		start_thread(run_racer, &arenas[ARENA_LAWLESS],
			     arenas[ARENA_LAWLESS].skel->progs.task_race, WORKER_RACE + i, 32,
			     "racer");
}

/* ---- the body ---- */

static void exchange_addresses(__u64 *rng)
{
	for (int i = 0; i < 2; i++) {
		struct torture_bpf *from = arenas[!i].skel, *to = arenas[i].skel;

		for (int n = 0; n < MAX_WORKERS; n++) {
			__u64 r = draw(rng), addr = from->bss->workers[n].slot[r >> 58].addr;

			if (addr)
				to->bss->foreign[r % NR_FOREIGN] = addr;
		}
	}
}

/* The kernel's counters, in a thread of their own: to read them can take long */
static void *run_reader(void *arg)
{
	struct thread *t = arg;

	while (!shared->stop) {
		__u64 sum = 0;

		for (int i = 0; i < NR_ARENAS; i++) {
			struct kernel_counts k = read_counts(arenas[i].map_id);

			sum += refused(&k);
		}
		shared->refused = sum;
		t->progress->count++;
		doze(2000);
	}
	return NULL;
}

static void supervise_arenas(void)
{
	struct progress *p = new_progress("body");
	__u64 rng = seed_of(WHO_BODY);

	for (int n = 0; !shared->stop; n++) {
		usleep(100000);
		p->count++;
		exchange_addresses(&rng);
		add_counts(shared);
		for (int i = 0; i < NR_ARENAS; i++) {
			arenas[i].skel->bss->phase = shared->phase;
			check_errors(&arenas[i]);
		}
		if (n % 10 == 0) {
			read_streams();
			renew_irqs();
		}
	}
}

static void free_everything(struct arena *a)
{
	for (int i = 0; i < MAX_WORKERS; i++)
		run_prog(a->skel->progs.finish_worker, i, 0);
	if (a == &arenas[ARENA_LAWLESS]) {
		for (__u32 i = 0; i < a->pages; i++)
			run_prog(a->skel->progs.finish_page, i, 0);
	}
}

int body(const char *group)
{
	pid_t mappers[4];
	char path[128];
	int nr_mappers;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (group) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		if (write_text(path, "0"))
			note("the memory cgroup cannot be entered: charges are not looked at");
	}
	catch_faults();
	for (int i = 0; i < NR_ARENAS; i++) {
		if (load_arena(i))
			return EXIT_FAILED;
	}
	if (!opt.without[PART_HOLD])
		prepare_probes();
	nr_mappers = start_mappers(mappers);
	for (int i = 0; i < NR_ARENAS; i++)
		attach_all(&arenas[i], !i);
	start_threads();
	start_thread(run_reader, &arenas[0], NULL, 0, 0, "reader");
	/* Behind the others, whose seeds stay what they were */
	if (!opt.without[PART_HOLD]) {
		start_thread(run_prober, &arenas[0], NULL, 0, 0, "prober");
		start_thread(run_churner, &arenas[ARENA_KEPT], NULL, WORKER_CHURN, 0, "churner");
		start_thread(run_looker, &arenas[ARENA_KEPT], NULL, WORKER_CHURN, 0, "looker");
	}
	shared->running = 1;
	supervise_arenas();

	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i].id, NULL);
	for (int i = 0; i < nr_mappers; i++)
		waitpid(mappers[i], NULL, 0);
	for (int i = 0; i < NR_ARENAS; i++)
		detach_all(&arenas[i]);
	for (int i = 0; i < NR_ARENAS; i++) {
		check_errors(&arenas[i]);
		check_leaks_of_addresses(&arenas[i]);
		check_live(&arenas[i]);
	}
	for (int i = 0; i < NR_ARENAS; i++) {
		free_everything(&arenas[i]);
		check_empty(&arenas[i]);
		check_mapping(&arenas[i]);
		check_errors(&arenas[i]);
		check_counts(&arenas[i], i);
	}
	read_streams();
	add_counts(shared);
	for (int i = 0; i < NR_ARENAS; i++)
		torture_bpf__destroy(arenas[i].skel);
	shared->done = 1;
	return 0;
}
