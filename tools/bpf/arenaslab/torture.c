// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: hostile programs and processes against the allocator, for a time.
 *
 *	supervisor	starts the others, prints, watches that they go on, judges
 *	  body		three arenas, see torture.h; threads that run their programs,
 *			contexts they are attached to, threads that write everywhere
 *	    mappers	map and unmap the arenas, fork, are in the middle of a fault
 *	  victims	have an arena of their own, are killed, and their memory cgroup goes
 *	  scheduler	sched_ext, whose kernel-owned cmasks it attacks
 *	  shrinker	sysfs of the caches, drop_caches
 *	  plugger	CPUs go and come back
 *
 * The supervisor has no arena and one thread, so whatever happens to the others, there
 * is somebody to say so. All of them share one page of counters and the list of what is
 * wrong.
 *
 * A seed gives each worker the same random numbers, and with them the same operations;
 * what other workers do in between, and which allocations fail, is up to time.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/perf_event.h>
#include <linux/types.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "cmd.h"
#include "torture.h"
#include "torture.skel.h"

#define NS		1000000000ULL
#define PAGE		(1UL << PAGE_SHIFT)
#define SYSFS_SLAB	"/sys/kernel/slab"
#define SYSFS_CPU	"/sys/devices/system/cpu"
#define SCX_STATE	"/sys/kernel/sched_ext/state"
#define CGROUP_ROOT	"/sys/fs/cgroup"
#define COUNTERS	"/sys/kernel/debug/bpf_arena_slab"
#define KERN_WARNING	4
/* Not in the uapi header; the other one is 1 */
#define BPF_STDERR	2
/* What a group may keep when its last process and arena are gone: per-CPU stocks */
#define GROUP_REST	(1LL << 20)
#define MAX_THREADS	96
#define MAX_BLAMES	12

/* ---- what there is to do without ---- */

enum part { PART_MAP, PART_SCRIBBLE, PART_KILL, PART_SCHED, PART_SHRINK, PART_HOTPLUG,
	    PART_IRQ, PART_TRACE, NR_PARTS };

static const char *const part_names[NR_PARTS] = {
	[PART_MAP] = "map",
	[PART_SCRIBBLE] = "scribble",
	[PART_KILL] = "kill",
	[PART_SCHED] = "sched",
	[PART_SHRINK] = "shrink",
	[PART_HOTPLUG] = "hotplug",
	[PART_IRQ] = "irq",
	[PART_TRACE] = "trace",
};

struct options {
	double duration;
	unsigned long seed;
	unsigned long tasks;	/* of each kind, for an arena */
	unsigned long slow;
	bool without[NR_PARTS];
};

static struct options opt = { .duration = 60, .slow = 1 };
static bool verbose;
static int nr_cpus;

/* ---- shared by all processes ---- */

struct kernel_counts {
	bool found;
	unsigned long long id;
	unsigned long long pages;
	long long slabs_mapped, slabs_freed;
	long long large_allocs, large_frees;
	long long no_object, interior, not_live, kernel_owned;
	long long allocs, frees;	/* of programs' caches */
};

struct progress {
	char name[32];
	volatile __u64 count;
};

static struct shared {
	volatile int stop;		/* no operation any more */
	volatile int running;		/* the body has begun */
	volatile int done;		/* it has ended, and has said all it has to say */
	int plug_lock;			/* see lock_plugs() */
	volatile __u64 ops, nulls, refused;
	__u64 killed, maps, forks, faults, writes, scans, shrinks, drops, plugs;
	__u64 sched_rounds, sched_frees, sched_cmasks;
	int nr_progress;
	struct progress progress[MAX_THREADS + 16];
	struct torture_counts counts[NR_ARENAS];
	struct kernel_counts kernel[NR_ARENAS];
	int nr_notes, nr_blames;
	char note[16][160];
	char blame[MAX_BLAMES][320];
} *shared;

/* What is wrong; the first ones are kept */
static void blame(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void blame(const char *fmt, ...)
{
	int i = __sync_fetch_and_add(&shared->nr_blames, 1);
	va_list args;

	if (i >= MAX_BLAMES)
		return;
	va_start(args, fmt);
	vsnprintf(shared->blame[i], sizeof(shared->blame[i]), fmt, args);
	va_end(args);
	fprintf(stderr, "wrong: %s\n", shared->blame[i]);
}

/* What this machine cannot do */
static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	int i = __sync_fetch_and_add(&shared->nr_notes, 1);
	va_list args;

	if (i >= (int)ARRAY_SIZE(shared->note))
		return;
	va_start(args, fmt);
	vsnprintf(shared->note[i], sizeof(shared->note[i]), fmt, args);
	va_end(args);
}

static void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

/*
 * No CPU is plugged while a scheduler is attached or detached: with somebody who makes a
 * memory cgroup at the same time, three is a deadlock that has nothing to do with arenas.
 * mkdir() has cgroup_mutex and wants cpu_hotplug_lock, for a static key; the CPU has that
 * one and waits for a kworker's thread, whose fork wants scx_fork_rwsem; sched_ext has
 * that one and wants cgroup_mutex.
 */
static void lock_plugs(void)
{
	while (__sync_lock_test_and_set(&shared->plug_lock, 1))
		usleep(1000);
}

static void unlock_plugs(void)
{
	__sync_lock_release(&shared->plug_lock);
}

static struct progress *new_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static struct progress *new_progress(const char *fmt, ...)
{
	struct progress *p = &shared->progress[__sync_fetch_and_add(&shared->nr_progress, 1)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(p->name, sizeof(p->name), fmt, args);
	va_end(args);
	return p;
}

/* ---- small things ---- */

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS + ts.tv_nsec;
}

/* Sleep in pieces, so that the end of the run is noticed */
static void doze(unsigned long msec)
{
	for (; msec > 20 && !shared->stop; msec -= 20)
		usleep(20000);
	usleep(msec % 20 * 1000);
}

/* Wait for something that takes its time, more of it on a slow kernel */
#define WAIT_FOR(seconds, cond)						\
	({								\
		__u64 __end = now_ns() + (seconds) * opt.slow * NS;	\
		bool __ok;						\
									\
		while (!(__ok = (cond)) && now_ns() < __end)		\
			usleep(20000);					\
		__ok;							\
	})

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = write(fd, text, strlen(text));
	len = len < 0 ? -errno : 0;
	close(fd);
	return len;
}

static bool read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, buf, size - 1);
	close(fd);
	buf[len > 0 ? len : 0] = '\0';
	return len >= 0;
}

static long long read_number(const char *path)
{
	char buf[64];

	return read_text(path, buf, sizeof(buf)) && *buf ? atoll(buf) : -1;
}

/* The same generator as the programs have; seeds of workers are drawn by another one */
static __u64 draw(__u64 *rng)
{
	__u64 x = *rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*rng = x;
	return x * 0x2545f4914f6cdd1dULL;
}

/* splitmix64 of the seed and of who it is for; never 0 */
static __u64 derive(__u64 who)
{
	__u64 z = opt.seed + who * 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) | 1;
}

enum { WHO_THREAD = 1 << 16, WHO_MAPPER = 2 << 16, WHO_VICTIM = 3 << 16, WHO_SHRINKER = 4 << 16,
       WHO_PLUGGER = 5 << 16, WHO_SCHED = 6 << 16, WHO_BODY = 7 << 16 };

/* ---- what the kernel counts ---- */

static void parse_counter(const char *line, struct kernel_counts *k)
{
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
		{ "slabs_mapped", offsetof(struct kernel_counts, slabs_mapped) },
		{ "slabs_freed", offsetof(struct kernel_counts, slabs_freed) },
		{ "large_allocs", offsetof(struct kernel_counts, large_allocs) },
		{ "large_frees", offsetof(struct kernel_counts, large_frees) },
		{ "rejected_no_object", offsetof(struct kernel_counts, no_object) },
		{ "rejected_interior", offsetof(struct kernel_counts, interior) },
		{ "rejected_not_live", offsetof(struct kernel_counts, not_live) },
		{ "rejected_kernel_owned", offsetof(struct kernel_counts, kernel_owned) },
	};
	long long allocs, frees, value;
	char name[64], owner[16];

	if (sscanf(line, " cache %63s size %*u owner %15s allocs %lld frees %lld", name, owner,
		   &allocs, &frees) == 4) {
		if (!strcmp(owner, "program")) {
			k->allocs += allocs;
			k->frees += frees;
		}
		return;
	}
	if (sscanf(line, " %63s %lld", name, &value) != 2)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i].name))
			*(long long *)((char *)k + names[i].offset) = value;
	}
}

/* Of the arena with that map id; not found if there is none (any more) */
static struct kernel_counts read_counts(__u32 map_id)
{
	struct kernel_counts k = {};
	unsigned long long id, pages;
	bool in = false;
	char line[256];
	__u32 map;
	FILE *f = fopen(COUNTERS, "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "arena %llu map_id %u pages %llu", &id, &map, &pages) == 3) {
			in = map == map_id;
			if (in) {
				k.found = true;
				k.id = id;
				k.pages = pages;
			}
		} else if (in) {
			parse_counter(line, &k);
		}
	}
	if (f)
		fclose(f);
	return k;
}

static long long refused(const struct kernel_counts *k)
{
	return k->no_object + k->interior + k->not_live + k->kernel_owned;
}

/* Call @fn with the folder of each cache whose name begins with @prefix; how many */
static int for_each_cache(const char *prefix, void (*fn)(const char *path, void *arg), void *arg)
{
	DIR *dir = opendir(SYSFS_SLAB);
	char path[sizeof(SYSFS_SLAB) + 256];
	struct dirent *d;
	int nr = 0;

	while (dir && (d = readdir(dir))) {
		if (strncmp(d->d_name, prefix, strlen(prefix)))
			continue;
		nr++;
		snprintf(path, sizeof(path), SYSFS_SLAB "/%s", d->d_name);
		if (fn)
			fn(path, arg);
	}
	if (dir)
		closedir(dir);
	return nr;
}

static void shrink_cache(const char *path, void *unused)
{
	char file[512];

	(void)unused;
	snprintf(file, sizeof(file), "%s/shrink", path);
	/* It may be gone by now */
	if (!write_text(file, "1"))
		add(&shared->shrinks, 1);
}

static void sum_objects(const char *path, void *arg)
{
	char file[512];
	long long nr;

	snprintf(file, sizeof(file), "%s/objects", path);
	nr = read_number(file);
	if (nr > 0)
		*(long long *)arg += nr;
}

/* Objects that SLUB takes for used, when it has given back what sheaves hold */
static long long objects_in_use(unsigned long long arena_id)
{
	long long nr = 0;
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "arena:%llu:", arena_id);
	for_each_cache(prefix, shrink_cache, NULL);
	for_each_cache(prefix, sum_objects, &nr);
	return nr;
}

/* ---- the kernel's log ---- */

static int kmsg = -1;
static bool log_is_bad;

/* No fault of ours: a slow machine, and what hotplug says */
static const char *const harmless[] = {
	"hogged CPU for",		/* workqueue: a drain waits for locks on purpose */
	"hrtimer: interrupt took",
	"perf: interrupt took too long",
	"clocksource:",
	"no longer affine to cpu",
	"irq event stamp",
};

static void watch_log(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0)
		note("no /dev/kmsg: the kernel's log is not looked at");
	else
		lseek(kmsg, 0, SEEK_END);
}

static void read_log(void)
{
	char msg[8192], *text;
	bool bad;
	ssize_t len;

	while (kmsg >= 0) {
		len = read(kmsg, msg, sizeof(msg) - 1);
		if (len < 0 && errno == EPIPE)
			continue;	/* overwritten: the next one */
		if (len <= 0)
			break;
		msg[len] = '\0';
		text = strchr(msg, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		bad = (atoi(msg) & 7) <= KERN_WARNING;
		for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
			bad = bad && !strstr(text, harmless[i]);
		/* The first line says what it is; the others are in the log */
		if (bad && !log_is_bad)
			blame("the kernel's log: %.250s", text + 1);
		log_is_bad |= bad;
	}
}

/* ---- memory that may go while it is used ---- */

static __thread sigjmp_buf fault_env;
static __thread volatile sig_atomic_t guarded;

static void fault_handler(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (guarded) {
		guarded = 0;
		siglongjmp(fault_env, sig);
	}
	signal(sig, SIG_DFL);
}

static void catch_faults(void)
{
	/* The handler is left by siglongjmp(), which restores no mask here */
	struct sigaction fault = { .sa_sigaction = fault_handler,
				   .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
}

/* True if @statement was done, false if it ended in a fault */
#define GUARD(statement)						\
	({								\
		bool __ok = false;					\
									\
		if (!sigsetjmp(fault_env, 0)) {				\
			guarded = 1;					\
			statement;					\
			guarded = 0;					\
			__ok = true;					\
		} else {						\
			add(&shared->faults, 1);			\
		}							\
		__ok;							\
	})

static bool load(const volatile __u64 *p, __u64 *val)
{
	return GUARD(*val = *p);
}

/* All 64 bits, and none of a kernel address */
static void scribble(volatile __u64 *p, size_t words, __u64 r)
{
	for (size_t i = 0; i < words; i++)
		p[i] = (r ^ i * 0x9e3779b97f4a7c15ULL) & ~(1ULL << 63);
}

/*
 * Nobody writes a word like a kernel address, but the kernel if it leaks one. The upper
 * eight bits are all that they have in common: arm64's direct map is at 0xffff000000000000,
 * that of x86_64 with five levels at 0xff11000000000000.
 */
static void scan(const volatile __u64 *p, size_t words, const char *arena)
{
	for (size_t i = 0; i < words; i++) {
		__u64 val = p[i];

		if (val >> 56 == 0xff) {
			guarded = 0;
			blame("a kernel address, %#llx, stands in the %s arena at %p", val, arena,
			      (const void *)(p + i));
			guarded = 1;
		}
	}
	add(&shared->scans, 1);
}

/* ---- the arenas ---- */

static struct arena {
	const char *name;
	__u64 low;		/* of its address, 32 bits */
	__u32 pages;
	__u32 flags;
	__u64 start;
	__u32 map_id;
	struct torture_bpf *skel;
	struct bpf_link *irq[MAX_CPUS];
	bool timers;
} arenas[NR_ARENAS] = {
	/* Its first page is the one that must not be used */
	[ARENA_KEPT] = { "kept", 0, MAX_PAGES, BPF_F_SEGV_ON_FAULT },
	[ARENA_SCRIBBLED] = { "scribbled", 1U << 30, 1024, 0 },
	/* It ends where 32 bits end */
	[ARENA_LAWLESS] = { "lawless", (1ULL << 32) - 512 * PAGE, 512, BPF_F_SEGV_ON_FAULT },
};

#define SCHED_START	(ARENA_BASE + (NR_ARENAS * 1ULL << 32) + (1ULL << 31))
#define ARENA_BASE	(1ULL << 44)

static int governors_fd = -1;
static struct btf *vmlinux;

static bool has_function(const char *name)
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
}

/*
 * An instance that is open and not yet loaded. libbpf maps the arena at its map_extra
 * when it loads it.
 */
static struct torture_bpf *open_instance(__u32 kind, __u64 start, __u32 pages, __u32 flags)
{
	struct torture_bpf *skel = torture_bpf__open();

	if (!skel)
		return NULL;
	skel->rodata->kind = kind;
	skel->rodata->arena_start = start;
	skel->rodata->arena_pages = pages;
	set_rates(skel);
	bpf_map__set_max_entries(skel->maps.arena, pages);
	bpf_map__set_map_extra(skel->maps.arena, start);
	bpf_map__set_map_flags(skel->maps.arena, bpf_map__map_flags(skel->maps.arena) | flags);
	for (int i = 0; i < MAX_WORKERS; i++)
		skel->bss->workers[i].rng = derive(kind * MAX_WORKERS + i);

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
	return skel;
}

static __u32 map_id(struct torture_bpf *skel)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (bpf_map_get_info_by_fd(bpf_map__fd(skel->maps.arena), &info, &len))
		return 0;
	return info.id;
}

static int run_prog(struct bpf_program *prog, __u32 worker, __u32 ops)
{
	struct torture_args args = { .worker = worker, .ops = ops };
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &args, .ctx_size_in = sizeof(args));
	int err = bpf_prog_test_run_opts(bpf_program__fd(prog), &run);

	return err ?: (int)run.retval;
}

static int load_arena(int kind)
{
	struct arena *a = &arenas[kind];
	int err;

	a->start = ARENA_BASE + ((__u64)kind << 32) + a->low;
	a->skel = open_instance(kind, a->start, a->pages, a->flags);
	if (!a->skel)
		return fail("cannot open the BPF programs: %s", strerror(errno));
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
		.sample_freq = 250,
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

static void try_attach(struct bpf_program *prog, struct bpf_link **link, bool say)
{
	if (!bpf_program__autoload(prog)) {
		if (say)
			note("%s: this kernel has no such function",
			     bpf_program__section_name(prog));
		return;
	}
	*link = bpf_program__attach(prog);
	if (!*link && say)
		note("%s cannot be attached: %s", bpf_program__section_name(prog), strerror(errno));
}

static void attach_all(struct arena *a, bool say)
{
	struct torture_bpf *s = a->skel;

	if (!opt.without[PART_TRACE]) {
		try_attach(s->progs.on_switch, &s->links.on_switch, say);
		try_attach(s->progs.on_page_alloc, &s->links.on_page_alloc, say);
		try_attach(s->progs.on_cache_alloc, &s->links.on_cache_alloc, say);
		try_attach(s->progs.on_cache_free, &s->links.on_cache_free, say);
		try_attach(s->progs.on_contention, &s->links.on_contention, say);
		try_attach(s->progs.on_map, &s->links.on_map, say);
		try_attach(s->progs.on_unmap, &s->links.on_unmap, say);
		try_attach(s->progs.on_link, &s->links.on_link, say);
		try_attach(s->progs.on_range, &s->links.on_range, say);
		try_attach(s->progs.on_slab_free, &s->links.on_slab_free, say);
		try_attach(s->progs.on_partial, &s->links.on_partial, say);
	}
	if (opt.without[PART_IRQ])
		return;
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		attach_irq(a, cpu);
	if (say && !a->irq[0])
		note("no CPU clock event: nothing runs in hard interrupts");
	a->timers = true;
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		if (run_prog(s->progs.start_timer, cpu, 0) && say)
			note("a BPF timer does not start");
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

struct thread {
	pthread_t id;
	struct arena *arena;
	struct bpf_program *prog;
	__u32 worker;
	__u32 ops;		/* in a run */
	__u64 rng;
	struct progress *progress;
};

static struct thread threads[MAX_THREADS];
static int nr_threads;

/* What its worker's objects look like by way of the mapping; nobody frees them now */
static void look_at_objects(struct thread *t)
{
	struct torture_worker *w = &t->arena->skel->bss->workers[t->worker];
	__u32 size;

	for (int n = 0; n < 4; n++) {
		struct torture_slot *s = &w->slot[draw(&t->rng) % NR_SLOTS];
		volatile __u64 *p = (volatile __u64 *)s->addr;

		/* A process may keep an ordinary page that was freed during a fault */
		if (!s->addr || s->size > PAGE)
			continue;
		size = s->size / 16 * 16;
		for (__u32 i = 0; i < size / 8; i++) {
			__u64 val = 0, want = PATTERN(s->addr, s->serial, i);

			if (!load(&p[i], &val))
				break;	/* SIGBUS: no lock in time; a SIGSEGV shows below */
			if (val == want)
				continue;
			blame("kept: user space sees %#llx + %u: %#llx at %u, not %#llx",
			      s->addr, s->size, val, i * 8, want);
			break;
		}
	}
}

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

/*
 * A page that has objects, or, one time of 16, any but those that are to have none: to
 * touch one makes a page there, and where all are made there is no place for a slab.
 */
static __u64 draw_page(struct arena *a, __u64 *rng)
{
	bool any = draw(rng) >> 60 == 0;
	__u64 page = 0;

	for (int i = 0; i < 64; i++) {
		page = (draw(rng) >> 20) % (a->pages - NO_PAGES);
		if (any || a == &arenas[ARENA_LAWLESS] || a->skel->bss->page_table[page])
			break;
	}
	return a->start + page * PAGE;
}

static void *run_scribbler(void *arg)
{
	struct thread *t = arg;

	while (!shared->stop) {
		__u64 r = draw(&t->rng), off = (r >> 8) & (PAGE - 8);
		char *page = (char *)draw_page(t->arena, &t->rng);

		if (r >> 63)
			GUARD(scan((__u64 *)page, PAGE / 8, t->arena->name));
		else if (r >> 62)
			GUARD(scribble((__u64 *)page, PAGE / 8, r));
		else
			GUARD(scribble((__u64 *)(page + off), off > PAGE - 64 ? 1 : 8, r));
		add(&shared->writes, 1);
		t->progress->count++;
		if (!(r & 15))
			usleep(200);
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
			      .rng = derive(WHO_THREAD + nr_threads),
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

/* ---- mappers ---- */

static bool map_arena(struct arena *a, int prot)
{
	return mmap((void *)a->start, a->pages * PAGE, prot, MAP_SHARED | MAP_FIXED,
		    bpf_map__fd(a->skel->maps.arena), 0) == (void *)a->start;
}

static void touch_pages(struct arena *a, __u64 *rng, int n, bool may_write)
{
	while (n-- && !shared->stop) {
		__u64 r = draw(rng);
		__u64 *page = (__u64 *)draw_page(a, rng);

		if (may_write && r >> 63)
			GUARD(scribble(page, 16, r));
		else
			GUARD(scan(page, PAGE / 8, a->name));
		add(&shared->writes, may_write);
	}
}

/* A child has no mapping of the arena until it makes one, and ends with it */
static void map_in_child(struct arena *a, __u64 *rng, bool may_write)
{
	pid_t pid = fork();

	if (!pid) {
		touch_pages(a, rng, 1, false);
		if (map_arena(a, PROT_READ | PROT_WRITE))
			touch_pages(a, rng, 8, may_write);
		_exit(0);
	}
	if (pid < 0)
		return;
	add(&shared->forks, 1);
	/* In the middle of it, now and then */
	if (draw(rng) >> 62 == 0)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void mapper(int nr, struct progress *p)
{
	__u64 rng = derive(WHO_MAPPER + nr);

	catch_faults();
	while (!shared->stop) {
		__u64 r = draw(&rng);
		struct arena *a = &arenas[(r >> 8) % NR_ARENAS];
		bool may_write = a != &arenas[ARENA_KEPT];
		size_t size = a->pages * PAGE;

		if (!map_arena(a, may_write ? PROT_READ | PROT_WRITE : PROT_READ)) {
			blame("mapper: mmap() of the %s arena: %s", a->name, strerror(errno));
			return;
		}
		add(&shared->maps, 1);
		touch_pages(a, &rng, 1 + (r >> 16 & 31), may_write);
		if ((r >> 32 & 3) == 0)
			madvise((void *)a->start, size, MADV_DONTNEED);
		if ((r >> 32 & 7) == 1)
			mprotect((void *)a->start, size, PROT_READ);
		if ((r >> 40 & 7) == 0)
			map_in_child(a, &rng, may_write);
		touch_pages(a, &rng, 4, may_write);
		munmap((void *)a->start, size);
		p->count++;
		usleep(1000 + (r >> 44) % 5000);
	}
}

/* ---- the body ---- */

static void add_counts(struct shared *sh)
{
	__u64 ops = 0, nulls = 0;

	for (int i = 0; i < NR_ARENAS; i++) {
		struct torture_counts *c = &arenas[i].skel->bss->counts;

		for (int j = 0; j < NR_CTX; j++)
			ops += c->ops[j];
		nulls += c->nulls;
	}
	sh->ops = ops;
	sh->nulls = nulls;
}

static void check_errors(struct arena *a)
{
	static const char *const words[NR_ERRORS] = {
		[ERR_DUPLICATE] = "was given out although it is live",
		[ERR_OVERLAP] = "is in a page with live objects of another size",
		[ERR_ALIGN] = "is not aligned to its size",
		[ERR_OUTSIDE] = "is not inside of the arena",
		[ERR_OFFSET_0] = "is NULL for a program",
		[ERR_NOT_ZERO] = "is not zero",
		[ERR_CHANGED] = "is not as its owner left it",
		[ERR_TABLE] = "is not in the table of live objects",
		[ERR_BAD_SIZE] = "was given out for an impossible size",
	};
	volatile struct torture_first *f = &a->skel->bss->first;
	static bool told[NR_ARENAS];
	int i = a - arenas;

	if (!f->error || told[i])
		return;
	usleep(10000);	/* for the rest of it */
	told[i] = true;
	blame("%s: %#llx, size %llu, %s (%#llx, %#llx)", a->name, f->addr, f->size,
	      f->error < NR_ERRORS ? words[f->error] : "is out of order", f->left, f->right);
}

/*
 * No access of ours in the kept arena may have met a page that is not there. The streams
 * of the others are never read: they are full soon, of what is expected.
 */
static void read_streams(void)
{
	static bool told;
	struct bpf_program *prog;
	char buf[8192], *line;
	int n;

	bpf_object__for_each_program(prog, arenas[ARENA_KEPT].skel->obj) {
		if (bpf_program__fd(prog) < 0)
			continue;
		for (int i = 0; i < 8; i++) {
			n = bpf_prog_stream_read(bpf_program__fd(prog), BPF_STDERR, buf,
						 sizeof(buf) - 1, NULL);
			if (n <= 0)
				break;
			buf[n] = '\0';
			line = strstr(buf, "at unmapped address");
			if (!line || told)
				continue;
			line[strcspn(line, "\n")] = '\0';
			told = true;
			blame("kept: %s found a live object %.60s", bpf_program__name(prog), line);
		}
	}
}

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
	__u64 rng = derive(WHO_BODY);

	for (int n = 0; !shared->stop; n++) {
		usleep(100000);
		p->count++;
		exchange_addresses(&rng);
		add_counts(shared);
		for (int i = 0; i < NR_ARENAS; i++)
			check_errors(&arenas[i]);
		if (n % 10 == 0) {
			read_streams();
			renew_irqs();
		}
	}
}

static void expect(struct arena *a, const char *what, long long is, long long want)
{
	if (is != want)
		blame("%s: %s: the kernel counts %lld, expected %lld", a->name, what, is, want);
}

/* Everything has stopped, nothing is freed yet: who is right about what is live? */
static void check_live(struct arena *a)
{
	struct kernel_counts k = read_counts(a->map_id);
	struct torture_counts *c = &a->skel->bss->counts;
	long long live = k.allocs - k.frees, in_use;

	expect(a, "objects allocated", k.allocs, c->small);
	expect(a, "large objects allocated", k.large_allocs, c->large);
	if (a != &arenas[ARENA_LAWLESS])
		expect(a, "objects freed, of any size", k.frees + k.large_frees, c->own_frees);
	if (!WAIT_FOR(20, (in_use = objects_in_use(k.id)) == live))
		blame("%s: %lld objects are in use in SLUB, %lld are live", a->name, in_use, live);
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

static bool arena_is_empty(struct arena *a)
{
	struct kernel_counts k = read_counts(a->map_id);

	return !objects_in_use(k.id) && k.slabs_mapped == k.slabs_freed && !k.pages;
}

static void check_empty(struct arena *a)
{
	struct kernel_counts k;

	/* What is left but for the kept arena's: ordinary pages that user space touched */
	if (a != &arenas[ARENA_KEPT])
		run_prog(a->skel->progs.finish_pages, 0, 0);
	if (!WAIT_FOR(10, arena_is_empty(a))) {
		k = read_counts(a->map_id);
		/* A worker for which there was no memory leaves pages until it is asked again */
		if (a == &arenas[ARENA_KEPT] && k.slabs_mapped == k.slabs_freed) {
			note("kept: bpf_arena_free_pages() left %llu ordinary pages", k.pages);
			run_prog(a->skel->progs.finish_pages, 0, 0);
		}
		if (!WAIT_FOR(20, arena_is_empty(a)))
			blame("%s: %llu pages and %lld slabs are left, with %lld objects in use",
			      a->name, read_counts(a->map_id).pages, k.slabs_mapped - k.slabs_freed,
			      objects_in_use(k.id));
	}
}

static void check_counts(struct arena *a, int nr)
{
	struct torture_counts *c = &a->skel->bss->counts;
	struct kernel_counts k = read_counts(a->map_id);

	shared->kernel[nr] = k;
	shared->counts[nr] = *c;
	expect(a, "objects freed", k.frees, k.allocs);
	expect(a, "large objects freed", k.large_frees, k.large_allocs);
	expect(a, "frees, accepted and refused", k.frees + k.large_frees + refused(&k), c->frees);
	expect(a, "refused, kernel's object", k.kernel_owned, 0);
	if (nr == ARENA_LAWLESS)
		return;
	expect(a, "refused, inside of an object", k.interior,
	       c->bad[BAD_INTERIOR] + c->bad[BAD_TAIL] + c->bad[BAD_LARGE_TAIL]);
	expect(a, "refused, no object", k.no_object, c->bad[BAD_PAGE] + c->bad[BAD_NO_PAGE] +
	       c->bad[BAD_OUTSIDE] + c->bad[BAD_FOREIGN]);
	expect(a, "refused, not live", k.not_live, 0);
}

static void check_leaks_of_addresses(struct arena *a)
{
	for (__u32 i = 0; i < a->pages - NO_PAGES; i++) {
		if (a->skel->bss->page_table[i])
			GUARD(scan((__u64 *)(a->start + i * PAGE), PAGE / 8, a->name));
	}
}

/* Before any thread: who is forked later has locks of threads that it does not have */
static int start_mappers(pid_t *pids)
{
	int nr = opt.without[PART_MAP] ? 0 : 2;

	for (int i = 0; i < nr; i++) {
		struct progress *p = new_progress("mapper %d", i);

		pids[i] = fork();
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			mapper(i, p);
			_exit(0);
		}
		if (pids[i] < 0)
			blame("no process for a mapper: %s", strerror(errno));
	}
	return nr;
}

static int body(const char *group)
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
	nr_mappers = start_mappers(mappers);
	for (int i = 0; i < NR_ARENAS; i++)
		attach_all(&arenas[i], !i);
	start_threads();
	start_thread(run_reader, &arenas[0], NULL, 0, 0, "reader");
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

/* ---- victims ---- */

/* Loads, attaches, runs, closes, again and again, until somebody kills it */
static void be_victim(const char *group, __u64 rng)
{
	char path[192];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	write_text(path, "0");
	for (;;) {
		struct arena a = { .name = "victim", .start = ARENA_BASE, .pages = 512 };
		int kind = draw(&rng) >> 63 ? ARENA_LAWLESS : ARENA_SCRIBBLED;

		a.skel = open_instance(kind, a.start, a.pages, 0);
		if (!a.skel)
			_exit(1);
		bpf_program__set_autoload(a.skel->progs.on_map, false);
		bpf_program__set_autoload(a.skel->progs.on_unmap, false);
		bpf_program__set_autoload(a.skel->progs.on_link, false);
		bpf_program__set_autoload(a.skel->progs.on_range, false);
		bpf_program__set_autoload(a.skel->progs.on_slab_free, false);
		bpf_program__set_autoload(a.skel->progs.on_partial, false);
		bpf_program__set_autoload(a.skel->progs.on_page_alloc, false);
		bpf_program__set_autoload(a.skel->progs.on_contention, false);
		bpf_program__set_autoload(a.skel->progs.task_atomic, false);
		bpf_program__set_autoload(a.skel->progs.task_race, false);
		if (torture_bpf__load(a.skel))
			_exit(1);
		run_prog(a.skel->progs.start, 0, 0);
		a.skel->links.on_switch = bpf_program__attach(a.skel->progs.on_switch);
		a.skel->links.on_cache_free = bpf_program__attach(a.skel->progs.on_cache_free);
		run_prog(a.skel->progs.start_timer, 0, 0);
		for (int i = 0; i < 200; i++)
			run_prog(a.skel->progs.task_sleep, i % MAX_CPUS, 64);
		/* Without stopping the timer, or freeing anything */
		torture_bpf__destroy(a.skel);
	}
}

static void kill_one(const char *parent, __u64 *rng, int nr)
{
	long long rest = 0;
	char group[128], path[192], number[16];
	__u64 r = draw(rng);
	bool move = r & 1;
	int status;
	pid_t pid;

	snprintf(group, sizeof(group), "%s/victim%d", parent, nr);
	if (mkdir(group, 0755) && errno != EEXIST)
		return;
	pid = fork();
	if (!pid)
		be_victim(group, draw(rng));
	if (pid < 0)
		return;
	doze(100 + (r >> 8) % (3000 * opt.slow));
	if (move) {
		/* Its group goes, and with it what its arena is charged to */
		snprintf(path, sizeof(path), "%s/cgroup.procs", parent);
		snprintf(number, sizeof(number), "%d", pid);
		write_text(path, number);
		rmdir(group);
		usleep((r >> 40) % 200000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status))
		blame("a victim ended by itself, status %#x", status);
	add(&shared->killed, 1);
	if (move)
		return;
	snprintf(path, sizeof(path), "%s/memory.current", group);
	if (!WAIT_FOR(30, (rest = read_number(path)) < GROUP_REST))
		blame("%lld bytes are charged to a victim's group, 30 s after it was killed", rest);
	WAIT_FOR(5, !rmdir(group));
}

static int victims(const char *group)
{
	__u64 rng = derive(WHO_VICTIM);
	struct progress *p = new_progress("victims");

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int n = 0; !shared->stop; n++) {
		kill_one(group, &rng, n);
		p->count++;
	}
	return 0;
}

/* ---- the scheduler ---- */

static bool sched_state_is(const char *state)
{
	char buf[64];

	return read_text(SCX_STATE, buf, sizeof(buf)) && !strncmp(buf, state, strlen(state));
}

static struct torture_bpf *load_scheduler(void)
{
	struct torture_bpf *skel = open_instance(ARENA_SCRIBBLED, SCHED_START, 256, 0);
	struct bpf_program *prog;

	if (!skel)
		return NULL;
	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, false);
	bpf_map__set_autocreate(skel->maps.torture_ops, true);
	bpf_program__set_autoload(skel->progs.start, true);
	bpf_program__set_autoload(skel->progs.cid_init, true);
	bpf_program__set_autoload(skel->progs.cid_set_cmask, true);
	bpf_program__set_autoload(skel->progs.cid_go_online, true);
	bpf_program__set_autoload(skel->progs.cid_go_offline, true);
	bpf_program__set_autoload(skel->progs.free_kernels, true);
	if (torture_bpf__load(skel)) {
		torture_bpf__destroy(skel);
		return NULL;
	}
	run_prog(skel->progs.start, 0, 0);
	return skel;
}

/* One scheduler, for some seconds; false if there is no point in another one */
static bool sched_round(struct progress *p, __u64 *rng)
{
	struct torture_bpf *skel = load_scheduler();
	struct kernel_counts k;
	cpu_set_t all, one;
	__u64 frees, end;
	__u32 id;

	if (!skel) {
		note("no sched_ext scheduler in cid form: %s", strerror(errno));
		return false;
	}
	id = map_id(skel);
	lock_plugs();
	skel->links.torture_ops = bpf_map__attach_struct_ops(skel->maps.torture_ops);
	unlock_plugs();
	if (!skel->links.torture_ops) {
		/* A CPU that came or went since it was loaded is a reason to try again */
		usleep(200000);
		torture_bpf__destroy(skel);
		return true;
	}
	sched_getaffinity(0, sizeof(all), &all);
	end = now_ns() + (2 + draw(rng) % 6) * NS;
	for (int n = 0; !shared->stop && now_ns() < end && sched_state_is("enabled"); n++) {
		run_prog(skel->progs.free_kernels, WORKER_SCHED, 32);
		/* Each change of the affinity comes with a cmask */
		CPU_ZERO(&one);
		CPU_SET(n % nr_cpus, &one);
		sched_setaffinity(0, sizeof(one), &one);
		sched_setaffinity(0, sizeof(all), &all);
		p->count++;
	}
	k = read_counts(id);
	frees = skel->bss->counts.bad[BAD_KERNEL];
	if (sched_state_is("enabled")) {
		if (k.kernel_owned != (long long)frees)
			blame("sched_ext: the kernel refused %lld frees of its objects, of %llu",
			      k.kernel_owned, frees);
	} else if (!shared->stop) {
		blame("the scheduler was thrown out");
	}
	add(&shared->sched_frees, frees);
	add(&shared->sched_cmasks, skel->bss->nr_cmasks);
	add(&shared->sched_rounds, 1);
	lock_plugs();
	bpf_link__destroy(skel->links.torture_ops);
	skel->links.torture_ops = NULL;
	if (!WAIT_FOR(20, sched_state_is("disabled")))
		blame("the scheduler is still there 20 s after it was detached");
	unlock_plugs();
	torture_bpf__destroy(skel);
	return true;
}

static int scheduler(const char *unused)
{
	__u64 rng = derive(WHO_SCHED);
	struct progress *p;

	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!sched_state_is("disabled")) {
		note("sched_ext is not there, or in use: no objects of the kernel's are attacked");
		return 0;
	}
	p = new_progress("scheduler");
	while (!shared->stop && sched_round(p, &rng))
		doze(500);
	snprintf(p->name, sizeof(p->name), "-");
	return 0;
}

/* ---- sysfs ---- */

static void read_cache(const char *path, void *unused)
{
	static const char *const files[] = { "objects", "slabs", "partial", "total_objects",
					     "free_calls" };
	char file[512], buf[4096];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(file, sizeof(file), "%s/%s", path, files[i]);
		read_text(file, buf, sizeof(buf));
	}
	snprintf(file, sizeof(file), "%s/validate", path);
	write_text(file, "1");
}

static int shrinker(const char *unused)
{
	__u64 rng = derive(WHO_SHRINKER);
	struct progress *p = new_progress("shrinker");

	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!shared->stop) {
		for_each_cache("arena:", shrink_cache, NULL);
		for_each_cache("arena:", read_cache, NULL);
		if (!(draw(&rng) >> 60) && !write_text("/proc/sys/vm/drop_caches", "3"))
			add(&shared->drops, 1);
		p->count++;
		usleep(100000 + (draw(&rng) & 0xffff));
	}
	return 0;
}

/* ---- CPUs ---- */

static int set_online(int cpu, bool online)
{
	char path[64];
	int err;

	snprintf(path, sizeof(path), SYSFS_CPU "/cpu%d/online", cpu);
	lock_plugs();
	err = write_text(path, online ? "1" : "0");
	unlock_plugs();
	return err;
}

static int plugger(const char *unused)
{
	__u64 rng = derive(WHO_PLUGGER);
	struct progress *p = new_progress("plugger");
	int cpu, err;

	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!shared->stop) {
		__u64 r = draw(&rng);

		cpu = 1 + (r >> 8) % (nr_cpus - 1);
		doze(300 + (r >> 20) % 1500);
		err = set_online(cpu, false);
		if (err && err != -EBUSY) {
			note("CPU %d does not go: %s", cpu, strerror(-err));
			break;
		}
		doze((r >> 40) % 400);
		/* Its return can be refused for a moment, not for good */
		if (!WAIT_FOR(20, !(err = set_online(cpu, true))))
			blame("CPU %d does not come back: %s", cpu, strerror(-err));
		add(&shared->plugs, 1);
		p->count++;
	}
	snprintf(p->name, sizeof(p->name), "-");
	return 0;
}

/* ---- the supervisor ---- */

struct child {
	const char *name;
	pid_t pid;
};

static struct child children[8];
static int nr_children;
static volatile sig_atomic_t interrupted;

static void stop_handler(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void start_child(const char *name, int (*fn)(const char *), const char *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int err;

		signal(SIGINT, SIG_IGN);
		err = fn(arg);
		fflush(stdout);
		_exit(err);
	}
	if (pid < 0)
		blame("no process for the %s: %s", name, strerror(errno));
	else
		children[nr_children++] = (struct child){ name, pid };
}

/* True if all of them have ended */
static bool reap(void)
{
	int status, left = 0;

	for (int i = 0; i < nr_children; i++) {
		if (!children[i].pid)
			continue;
		if (!waitpid(children[i].pid, &status, WNOHANG)) {
			left++;
			continue;
		}
		children[i].pid = 0;
		if (WIFSIGNALED(status))
			blame("the %s died of signal %d", children[i].name, WTERMSIG(status));
		else if (WEXITSTATUS(status))
			blame("the %s ended with status %d", children[i].name, WEXITSTATUS(status));
	}
	return !left;
}

/* Where its threads are in the kernel; what a hang is about */
static void print_stacks(pid_t pid)
{
	char path[64], comm[64], stack[4096];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (!isdigit(d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.10s/comm", pid, d->d_name);
		read_text(path, comm, sizeof(comm));
		snprintf(path, sizeof(path), "/proc/%d/task/%.10s/stack", pid, d->d_name);
		if (read_text(path, stack, sizeof(stack)))
			fprintf(stderr, "task %s, %s%s", d->d_name, comm, stack);
	}
	if (dir)
		closedir(dir);
}

static void print_all_stacks(void)
{
	for (int i = 0; i < nr_children; i++) {
		if (children[i].pid) {
			fprintf(stderr, "-- %s\n", children[i].name);
			print_stacks(children[i].pid);
		}
	}
	/* Into the log: tasks that wait, then all of them, and what workqueues have to do */
	log_is_bad = true;
	write_text("/proc/sysrq-trigger", "w");
	write_text("/proc/sysrq-trigger", "t");
}

/* How long somebody may take for what is done in a moment; the host may be busy, too */
#define HANG_SECONDS	120

/* False if somebody has not moved for that long */
static bool all_go_on(void)
{
	static __u64 last[MAX_THREADS], since[MAX_THREADS];
	__u64 now = now_ns();

	for (int i = 0; i < shared->nr_progress && i < MAX_THREADS; i++) {
		struct progress *p = &shared->progress[i];

		if (!since[i] || p->count != last[i] || *p->name == '-') {
			last[i] = p->count;
			since[i] = now;
		} else if (now - since[i] > HANG_SECONDS * opt.slow * NS) {
			blame("no progress of %s for %lu s, after %llu rounds", p->name,
			      HANG_SECONDS * opt.slow, p->count);
			return false;
		}
	}
	return true;
}

static void print_progress(unsigned long seconds)
{
	printf("%5lu s: %llu operations, %llu NULL, %llu frees refused, %llu faults, %llu maps, "
	       "%llu killed, %llu CPUs plugged, %llu schedulers\n", seconds, shared->ops,
	       shared->nulls, shared->refused, shared->faults, shared->maps, shared->killed,
	       shared->plugs, shared->sched_rounds);
	fflush(stdout);
}

/* Until the time is over, or something is wrong. False if somebody hangs. */
static bool watch_run(void)
{
	__u64 start = now_ns(), next = start;

	while (now_ns() < start + opt.duration * NS && !interrupted && !shared->nr_blames) {
		usleep(100000);
		read_log();
		if (reap() && !shared->nr_blames)
			blame("all processes have ended");
		if (!all_go_on())
			return false;
		if (now_ns() - next > 5 * NS) {
			next += 5 * NS;
			print_progress((next - start) / NS);
		}
	}
	print_progress((now_ns() - start) / NS);
	return true;
}

static void end_run(bool hangs)
{
	shared->stop = 1;
	/* The sweep of the lawless arena is what takes long */
	if (hangs || !WAIT_FOR(120, reap())) {
		if (!hangs)
			blame("not everybody ended within %lu s", 120 * opt.slow);
		print_all_stacks();
		for (int i = 0; i < nr_children; i++) {
			if (children[i].pid)
				kill(children[i].pid, SIGKILL);
		}
		WAIT_FOR(10, reap());
	}
}

/* ---- groups, and what is left ---- */

static char group[64], body_group[96];
static int caches_before;

static const char *make_groups(void)
{
	char path[128];

	write_text(CGROUP_ROOT "/cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), CGROUP_ROOT "/torture-%d", getpid());
	snprintf(body_group, sizeof(body_group), "%s/body", group);
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", group);
	if (!mkdir(group, 0755) && !write_text(path, "+memory") && !mkdir(body_group, 0755)) {
		snprintf(path, sizeof(path), "%s/memory.current", body_group);
		if (!access(path, R_OK))
			return body_group;
	}
	note("no memory controller at " CGROUP_ROOT
	     ": charges are not looked at, nobody is killed");
	*group = '\0';
	return NULL;
}

static bool no_caches_left(void)
{
	return for_each_cache("arena:", NULL, NULL) <= caches_before;
}

static long long check_leaks(void)
{
	long long rest = 0;
	char path[128];

	if (!WAIT_FOR(30, no_caches_left()))
		blame("%d caches of arenas are left in " SYSFS_SLAB,
		      for_each_cache("arena:", NULL, NULL) - caches_before);
	if (!*group)
		return 0;
	snprintf(path, sizeof(path), "%s/memory.current", body_group);
	if (!WAIT_FOR(30, (rest = read_number(path)) < GROUP_REST))
		blame("%lld bytes are still charged to the group", rest);
	rmdir(body_group);
	WAIT_FOR(5, !rmdir(group));
	return rest;
}

/* ---- the table ---- */

static void print_counts(const char *what, int bad)
{
	printf("  %-24s", what);
	for (int i = 0; i < NR_ARENAS; i++)
		printf(" %12llu", shared->counts[i].bad[bad]);
	putchar('\n');
}

#define ROW(what, fmt, expr)						\
	do {								\
		printf("  %-24s", what);				\
		for (int i = 0; i < NR_ARENAS; i++) {			\
			const struct torture_counts *c = &shared->counts[i];	\
			const struct kernel_counts *k = &shared->kernel[i];	\
									\
			(void)c;					\
			(void)k;					\
			printf(" %12" fmt, expr);			\
		}							\
		putchar('\n');						\
	} while (0)

static void print_contexts(void)
{
	static const char *const names[NR_CTX] = {
		[CTX_TASK] = "task",
		[CTX_ATOMIC] = "task, may not sleep",
		[CTX_SWITCH] = "sched_switch",
		[CTX_PAGE_ALLOC] = "mm_page_alloc",
		[CTX_CACHE_ALLOC] = "kmem_cache_alloc",
		[CTX_CACHE_FREE] = "kmem_cache_free",
		[CTX_CONTENTION] = "contention_begin",
		[CTX_MAP] = "bpf_arena_slab_map",
		[CTX_UNMAP] = "bpf_arena_slab_unmap",
		[CTX_LINK] = "slab_arena_set_link",
		[CTX_RANGE] = "range_tree_clear",
		[CTX_SLAB_FREE] = "__slab_free",
		[CTX_PARTIAL] = "slab_attach..._locked",
		[CTX_IRQ] = "hard interrupt",
		[CTX_TIMER] = "timer",
	};

	printf("operations in\n");
	for (int ctx = 0; ctx < NR_CTX; ctx++)
		ROW(names[ctx], "llu", c->ops[ctx]);
}

static void print_table(void)
{
	printf("%-26s %12s %12s %12s\n", "arena", "kept", "scribbled", "lawless");
	print_contexts();
	printf("objects\n");
	ROW("allocated", "lld", k->allocs + k->large_allocs);
	ROW("  of several pages", "lld", k->large_allocs);
	ROW("freed", "lld", k->frees + k->large_frees);
	ROW("NULL returned", "llu", c->nulls);
	ROW("looked at", "llu", c->looks);
	ROW("ordinary pages, ranges", "llu", c->pages);
	ROW("slabs", "lld", k->slabs_mapped);
	ROW("given back", "lld", k->slabs_freed);
	printf("frees that were provoked to be refused\n");
	print_counts("inside of an object", BAD_INTERIOR);
	print_counts("behind the last object", BAD_TAIL);
	print_counts("tail of a large object", BAD_LARGE_TAIL);
	print_counts("ordinary page", BAD_PAGE);
	print_counts("no page", BAD_NO_PAGE);
	print_counts("outside of the arena", BAD_OUTSIDE);
	print_counts("foreign object", BAD_FOREIGN);
	print_counts("NULL, not refused", BAD_NULL);
	ROW("any, verdict unknown", "llu", i == ARENA_LAWLESS ? c->frees : 0);
	ROW("freed by two at once", "llu", c->races);
	printf("frees that the kernel refused\n");
	ROW("interior", "lld", k->interior);
	ROW("no object", "lld", k->no_object);
	ROW("not live", "lld", k->not_live);
	ROW("kernel owned", "lld", k->kernel_owned);
	ROW("bpf_arena_free_pages()", "llu", c->free_pages);
	printf("sched_ext: %llu schedulers, %llu cmasks, %llu frees of kernel's objects refused\n",
	       shared->sched_rounds, shared->sched_cmasks, shared->sched_frees);
	printf("processes: %llu killed, %llu maps, %llu forks, %llu faults\n", shared->killed,
	       shared->maps, shared->forks, shared->faults);
	printf("user space: %llu writes, %llu pages searched for addresses\n", shared->writes,
	       shared->scans);
	printf("machine: %llu CPUs plugged, %llu caches shrunk, %llu times drop_caches\n",
	       shared->plugs, shared->shrinks, shared->drops);
	puts("not exact: double frees by kind. One that comes late finds a dead object, or none,");
	puts("or another one that lives there now; in the lawless arena the sums are checked.");
}

static int run(void)
{
	const char *body_in;
	bool hangs;

	if (geteuid())
		return fail("it loads BPF programs: run as root");
	vmlinux = btf__load_vmlinux_btf();
	if (!vmlinux)
		return fail("cannot read /sys/kernel/btf/vmlinux: the kernel needs "
			    "CONFIG_DEBUG_INFO_BTF");
	if (!has_function("bpf_arena_alloc"))
		return fail("this kernel has no bpf_arena_alloc(): it needs CONFIG_SLAB_BPF_ARENA");
	if (access(COUNTERS, R_OK))
		return fail("there is no " COUNTERS ": is debugfs mounted?");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		return fail("out of memory");
	printf("seed %lu, %g s, %d CPUs\n", opt.seed, opt.duration, nr_cpus);
	signal(SIGINT, stop_handler);
	signal(SIGTERM, stop_handler);
	watch_log();
	caches_before = for_each_cache("arena:", NULL, NULL);
	body_in = make_groups();

	start_child("body", body, body_in);
	if (!WAIT_FOR(120, shared->running || shared->nr_blames || (reap() && !children[0].pid))) {
		blame("the programs were not loaded within %lu s", 120 * opt.slow);
	} else if (shared->running) {
		if (!opt.without[PART_KILL] && body_in)
			start_child("victims' keeper", victims, group);
		if (!opt.without[PART_SCHED])
			start_child("scheduler", scheduler, NULL);
		if (!opt.without[PART_SHRINK])
			start_child("shrinker", shrinker, NULL);
		if (!opt.without[PART_HOTPLUG] && nr_cpus < 2)
			note("one CPU only: none is plugged, and no two of them race");
		else if (!opt.without[PART_HOTPLUG])
			start_child("plugger", plugger, NULL);
	}
	hangs = !watch_run();
	end_run(hangs);
	check_leaks();
	read_log();

	if (shared->done)
		print_table();
	else if (!shared->nr_blames)
		blame("the body ended early");
	for (int i = 0; i < shared->nr_notes && i < (int)ARRAY_SIZE(shared->note); i++)
		printf("note: %s\n", shared->note[i]);
	for (int i = 0; i < shared->nr_blames && i < MAX_BLAMES; i++)
		printf("FAIL: %s\n", shared->blame[i]);
	printf("seed %lu\n", opt.seed);
	if (shared->nr_blames)
		printf("FAIL: %d things are wrong\n", shared->nr_blames);
	else
		puts("PASS");
	return finish_output() || shared->nr_blames ? EXIT_FAILED : 0;
}

static bool parse_part(const char *name)
{
	for (int i = 0; i < NR_PARTS; i++) {
		if (!strcmp(name, part_names[i])) {
			opt.without[i] = true;
			return true;
		}
	}
	return false;
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return verbose && level != LIBBPF_DEBUG ? vfprintf(stderr, fmt, args) : 0;
}

int cmd_torture(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "duration", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 's' },
		{ "tasks", required_argument, NULL, 't' },
		{ "slow", required_argument, NULL, 'x' },
		{ "without", required_argument, NULL, 'w' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	unsigned int random;
	int c;

	nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	if (nr_cpus > MAX_CPUS)
		nr_cpus = MAX_CPUS;
	opt.tasks = (nr_cpus + 1) / 2;
	if (getrandom(&random, sizeof(random), 0) == sizeof(random))
		opt.seed = random;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":d:s:t:x:w:v", longopts, NULL)) != -1) {
		switch (c) {
		case 'd':
			if (!parse_seconds(optarg, &opt.duration))
				return usage_error("-d %s: not 0.01 to 86400 seconds", optarg);
			break;
		case 's':
			if (!parse_number(optarg, 0, ~0UL, &opt.seed))
				return usage_error("-s %s: not a number", optarg);
			break;
		case 't':
			if (!parse_number(optarg, 1, 6, &opt.tasks))
				return usage_error("-t %s: not 1 to 6 tasks", optarg);
			break;
		case 'x':
			if (!parse_number(optarg, 1, 100, &opt.slow))
				return usage_error("-x %s: not 1 to 100 times slower", optarg);
			break;
		case 'w':
			if (!parse_part(optarg))
				return usage_error("-w %s: there is no such part", optarg);
			break;
		case 'v':
			verbose = true;
			break;
		case ':':
			return usage_error("%s needs a value", argv[optind - 1]);
		default:
			return usage_error("there is no option %s", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage_error("'%s' is one word too many", argv[optind]);
	libbpf_set_print(print_libbpf);
	return run();
}
