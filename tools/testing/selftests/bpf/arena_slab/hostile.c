// SPDX-License-Identifier: GPL-2.0
/*
 * Programs in the middle of the allocator or with arenas of others, and processes that
 * look at pages which are on their way out. See Documentation/mm/slab_arena_tests.rst.
 *
 * Each test is a process of its own in a memory cgroup of its own, which must pay for
 * nothing any more when the arena is gone, and can then be removed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

#define SHARE_PAGES	1024	/* ARENA_PAGES of progs/share.bpf.c */
/* Nobody holds an object any more, and no free was refused */
static int check_counters(struct bpf_object *obj)
{
	struct arena_counters c;

	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK(c.found);
	CHECK_EQ(c.allocs - c.frees, 0);
	CHECK_EQ(c.large_allocs - c.large_frees, 0);
	CHECK_EQ(c.no_object + c.interior + c.not_live + c.kernel_owned, 0);
	return 0;
}

/* ---- in the middle of the allocator ---- */

#define NR_CPUS	8
#define NR_KEPT	4

/* As in progs/hostile.bpf.c */
struct context {
	__u64 runs, allocs, failed, bad;
	__u64 kept[NR_KEPT];
};

/* @who is the row of contexts[]; none of @must can stay unused in a second */
static const struct inside {
	const char *prog;
	bool must;
} insides[] = {
	{ "at_page_alloc", true },
	{ "at_page_free", true },
	{ "at_cache_alloc", true },
	{ "at_cache_free", true },
	{ "at_kmalloc", true },
	{ "at_kfree", true },
	{ "at_contention", false },	/* if somebody has to wait */
	{ "at_list_lock", false },	/* with DEBUG_VM or lockdep */
	{ "at_place", true },
	{ "at_range_clear", true },
	{ "at_range_set", true },
	{ "at_clear", true },
	{ "at_link", true },
	{ "at_attach", true },
	{ "at_free", true },
};

#define NR_INSIDES ((int)ARRAY_SIZE(insides))

/* Tasks, page cache, slab objects: whatever makes the kernel allocate and wait for locks */
static void be_a_nuisance(void)
{
	for (int i = 0; i < 20; i++) {
		char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
		int fds[2];

		if (p == MAP_FAILED)
			continue;
		for (int n = 0; n < 64; n++)
			p[n * PAGE] = n;
		munmap(p, 64 * PAGE);
		if (!pipe(fds)) {
			close(fds[0]);
			close(fds[1]);
		}
	}
}

static void *nuisance_thread(void *arg)
{
	bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE))
		be_a_nuisance();
	return NULL;
}

static int check_inside(struct context (*contexts)[NR_CPUS])
{
	int err = 0;

	for (int who = 0; who < NR_INSIDES; who++) {
		struct context sum = {};

		for (int cpu = 0; cpu < NR_CPUS; cpu++) {
			sum.runs += contexts[who][cpu].runs;
			sum.allocs += contexts[who][cpu].allocs;
			sum.failed += contexts[who][cpu].failed;
			sum.bad += contexts[who][cpu].bad;
		}
		if (sum.runs)
			printf("# %s: %llu runs, %llu objects, %llu times none\n",
			       insides[who].prog, sum.runs, sum.allocs, sum.failed);
		if (sum.bad)
			err = FAIL("%s found %llu objects not zero or changed", insides[who].prog,
				   sum.bad);
		if (insides[who].must && !sum.runs)
			err = FAIL("%s never ran", insides[who].prog);
	}
	return err;
}

static int attach_all(struct bpf_object *obj, struct bpf_link **links, const char *const *progs,
		      int nr)
{
	for (int i = 0; i < nr; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(obj, progs[i]);

		/* Not what load_inside() left out */
		if (!bpf_program__autoload(p))
			continue;
		links[i] = bpf_program__attach(p);
		if (!links[i])
			return FAIL("%s cannot be attached: %s", progs[i], strerror(errno));
	}
	return 0;
}

static int inside_with(struct bpf_object *obj, struct bpf_link **links)
{
	const char *progs[NR_INSIDES];
	bool stop = false;
	pthread_t t;
	int err = 0;

	for (int i = 0; i < NR_INSIDES; i++)
		progs[i] = insides[i].prog;
	if (attach_all(obj, links, progs, NR_INSIDES))
		return 1;
	CHECK_EQ(pthread_create(&t, NULL, nuisance_thread, &stop), 0);
	for (int i = 0; i < 30 && !err; i++) {
		err = run_prog(obj, "work");
		be_a_nuisance();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	if (err)
		return FAIL("work returned %d", err);
	return 0;
}

/* Without what the configuration does not have: the function or its BTF */
static struct bpf_object *load_inside(void)
{
	const char *progs[NR_INSIDES + 3] = { "work", "free_kept" };
	struct bpf_object *obj;
	int nr = 2;

	for (int i = 0; i < NR_INSIDES; i++)
		progs[nr++] = insides[i].prog;
	obj = open_image("hostile", progs);
	if (!obj)
		return NULL;
	bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, "outer"), false);
	if (libbpf_find_vmlinux_btf_id("slab_attach_kprobe_locked", BPF_TRACE_FENTRY) <= 0)
		bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "at_list_lock"),
					  false);
	if (bpf_object__load(obj)) {
		FAIL("hostile: cannot be loaded: %s (-v shows why)", strerror(errno));
		bpf_object__close(obj);
		return NULL;
	}
	return obj;
}

static int inside(void)
{
	struct bpf_link *links[NR_INSIDES] = {};
	struct bpf_object *obj = load_inside();
	__u64 worked, failed;
	int err;

	if (!obj)
		return 1;
	err = inside_with(obj, links);
	for (int i = 0; i < NR_INSIDES; i++)
		bpf_link__destroy(links[i]);
	worked = VAR(obj, __u64, "worked");
	failed = VAR(obj, __u64, "work_failed");
	printf("# below: %llu objects, %llu times none\n", worked, failed);
	err = check_inside(find_var(obj, "contexts")) ?: err;
	/* It may find the arena full of what they keep, but not for good */
	if (worked < failed)
		err = FAIL("what they interrupt does not get on");
	CHECK_EQ(run_prog(obj, "free_kept"), 0);
	err = check_counters(obj) ?: err;
	bpf_object__close(obj);
	return err;
}

static int test_inside(void)
{
	return in_group(0, inside);
}

/* ---- reports in reports ---- */

#define NESTED_IN	"_kmalloc_nolock_noprof"
/* There are so many buffers a CPU for what reports say: MAX_BPRINTF_NEST_LEVEL */
#define NR_BUFFERS	3

static int nested_with(struct bpf_object *obj, struct bpf_link **links)
{
	static const char *const progs[] = { "nest_1", "nest_2", "nest_3", "nest_4" };
	static char buf[4096];
	struct arena_counters c;

	if (attach_all(obj, links, progs, ARRAY_SIZE(progs)))
		return 1;
	CHECK_EQ(run_prog(obj, "nest"), 0);
	printf("# %llu bad frees, up to %llu on top of each other\n", VAR(obj, __u64, "bad_frees"),
	       VAR(obj, __u64, "deepest"));
	/* else nothing was tried */
	CHECK(VAR(obj, __u64, "deepest") > NR_BUFFERS);
	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK_EQ(c.interior, VAR(obj, __u64, "bad_frees"));
	CHECK_EQ(c.allocs - c.frees, 0);
	/* The one at the bottom had a buffer */
	read_stream(obj, "nest", buf, sizeof(buf));
	CHECK(strstr(buf, "it does not point to the start of an object"));
	return 0;
}

static int nested_reports(void)
{
	struct bpf_link *links[4] = {};
	struct bpf_object *obj;
	int err;

	if (libbpf_find_vmlinux_btf_id(NESTED_IN, BPF_TRACE_FENTRY) <= 0)
		return SKIP("this kernel's BTF has no " NESTED_IN "()");
	obj = open_image("hostile", PROGS("nest", "nest_1", "nest_2", "nest_3", "nest_4"));
	if (!obj)
		return 1;
	bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, "outer"), false);
	if (bpf_object__load(obj)) {
		bpf_object__close(obj);
		return FAIL("hostile: cannot be loaded: %s (-v shows why)", strerror(errno));
	}
	err = nested_with(obj, links);
	for (int i = 0; i < 4; i++)
		bpf_link__destroy(links[i]);
	bpf_object__close(obj);
	return err;
}

/* What they cause is no kernel warning, however deep they are */
static int test_nested_reports(void)
{
	return in_group(0, nested_reports);
}

/* ---- a deferred free for each that is returned ---- */

/* A minute of them, or less: then it stops by itself, and has taken this CPU until then */
#define STORM_MAX	1000000

static int storm_with(struct bpf_object *obj, struct bpf_link **links)
{
	static const char *const progs[] = { "storm", "storm_begins" };
	__u64 runs;

	if (attach_all(obj, links, progs, ARRAY_SIZE(progs)))
		return 1;
	VAR(obj, __u32, "storm_size") = PAGE / 2;
	__atomic_store_n(&VAR(obj, __u64, "storm_max"), STORM_MAX, __ATOMIC_RELEASE);
	__atomic_store_n(&VAR(obj, __u32, "storm_pid"), (__u32)gettid(), __ATOMIC_RELEASE);
	/* Begins there */
	be_a_nuisance();
	CHECK(WAIT_FOR(20, __atomic_load_n(&VAR(obj, __u64, "storm_runs"), __ATOMIC_ACQUIRE)));
	__atomic_store_n(&VAR(obj, __u64, "storm_max"), 0, __ATOMIC_RELEASE);
	runs = __atomic_load_n(&VAR(obj, __u64, "storm_runs"), __ATOMIC_ACQUIRE);
	printf("# ended after %llu returned frees\n", runs);
	CHECK(runs < STORM_MAX);
	CHECK_EQ(VAR(obj, __u64, "storm_failed"), 0);
	return 0;
}

static int each_return_defers(void)
{
	struct bpf_link *links[2] = {};
	struct bpf_object *obj;
	struct arena_counters c;
	int err;

	obj = open_image("hostile", PROGS("storm", "storm_begins"));
	if (!obj)
		return 1;
	bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, "outer"), false);
	/* So small that there are no sheaves */
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "arena"), 64);
	if (bpf_object__load(obj)) {
		bpf_object__close(obj);
		return FAIL("hostile: cannot be loaded: %s (-v shows why)", strerror(errno));
	}
	err = storm_with(obj, links);
	for (int i = 0; i < 2; i++)
		bpf_link__destroy(links[i]);
	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK_EQ(c.allocs - c.frees, 0);
	bpf_object__close(obj);
	return err;
}

static int test_each_return_defers(void)
{
	return in_group(0, each_return_defers);
}

/* ---- an irq_work that has a cause to come again each time ---- */

static int again_with(struct bpf_object *obj, struct bpf_link **links, bool pages)
{
	const char *progs[] = { pages ? "again_pages" : "again_slab", "again_begins" };
	__u64 runs;

	if (!pages)
		CHECK_EQ(run_prog(obj, "fill_up"), 0);
	if (attach_all(obj, links, progs, ARRAY_SIZE(progs)))
		return 1;
	VAR(obj, __u32, "again_what") = pages;
	__atomic_store_n(&VAR(obj, __u64, "again_max"), STORM_MAX, __ATOMIC_RELEASE);
	/* For as long as drains may pause, and longer */
	for (int i = 0; i < 10; i++) {
		__atomic_store_n(&VAR(obj, __u32, "again_pid"), (__u32)gettid(), __ATOMIC_RELEASE);
		be_a_nuisance();
		usleep(50000);
	}
	CHECK(WAIT_FOR(20, __atomic_load_n(&VAR(obj, __u64, "again_runs"), __ATOMIC_ACQUIRE)));
	__atomic_store_n(&VAR(obj, __u64, "again_max"), 0, __ATOMIC_RELEASE);
	runs = __atomic_load_n(&VAR(obj, __u64, "again_runs"), __ATOMIC_ACQUIRE);
	printf("# %llu runs\n", runs);
	/* A few for each of the ten */
	CHECK(runs < 100);
	return 0;
}

static int run_again(bool pages)
{
	struct bpf_link *links[2] = {};
	struct bpf_object *obj;
	int err;

	if (libbpf_find_vmlinux_btf_id(pages ? "arena_free_irq" : "arena_slab_irq",
				       BPF_TRACE_FENTRY) <= 0)
		return SKIP("this kernel's BTF has no function of the irq_work");
	obj = open_image("hostile", pages ? PROGS("again_pages", "again_begins") :
					    PROGS("again_slab", "again_begins", "fill_up"));
	if (!obj)
		return 1;
	bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, "outer"), false);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "arena"), 64);
	if (bpf_object__load(obj)) {
		bpf_object__close(obj);
		return FAIL("hostile: cannot be loaded: %s (-v shows why)", strerror(errno));
	}
	err = again_with(obj, links, pages);
	for (int i = 0; i < 2; i++)
		bpf_link__destroy(links[i]);
	bpf_object__close(obj);
	return err;
}

static int fails_in_irq_work(void)
{
	return run_again(false);
}

static int frees_in_irq_work(void)
{
	return run_again(true);
}

static int test_fails_in_irq_work(void)
{
	return in_group(0, fails_in_irq_work);
}

static int test_frees_in_irq_work(void)
{
	return in_group(0, frees_in_irq_work);
}

/* ---- the arena of somebody else ---- */

static int create_arena(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE,
		    .map_extra = 1ull << 40);

	return bpf_map_create(BPF_MAP_TYPE_ARENA, "foreign", 0, 0, 64, &opts);
}

static struct bpf_object *load_with_inner(int fd, const char *const *progs)
{
	struct bpf_object *obj = open_image("hostile", progs);
	struct bpf_map *outer;
	__u32 key = 0;

	if (!obj)
		return NULL;
	outer = bpf_object__find_map_by_name(obj, "outer");
	if (bpf_map__set_inner_map_fd(outer, fd) || bpf_object__load(obj) ||
	    bpf_map__update_elem(outer, &key, sizeof(key), &fd, sizeof(fd), 0)) {
		FAIL("hostile: cannot be loaded with another arena: %s", strerror(errno));
		bpf_object__close(obj);
		return NULL;
	}
	return obj;
}

/* An arena that no program with bpf_arena_alloc() was loaded with has nothing to give */
static int foreign_bare(void)
{
	int fd = create_arena(), err;
	struct bpf_object *obj;
	static char buf[4096];

	if (fd < 0)
		return FAIL("cannot create an arena: %s", strerror(errno));
	obj = load_with_inner(fd, PROGS("use_inner"));
	close(fd);
	if (!obj)
		return 1;
	err = run_prog(obj, "use_inner");
	if (err)
		err = FAIL("use_inner returned %d", err);
	if (VAR(obj, __u64, "small") || VAR(obj, __u64, "big"))
		err = FAIL("got 0x%llx and 0x%llx of an arena without caches",
			   VAR(obj, __u64, "small"), VAR(obj, __u64, "big"));
	read_stream(obj, "use_inner", buf, sizeof(buf));
	if (!strstr(buf, "there is no object of bpf_arena_alloc()"))
		err = FAIL("the program was not told of its free");
	err = check_counters(obj) ?: err;
	bpf_object__close(obj);
	return err;
}

static int test_foreign_bare(void)
{
	return in_group(0, foreign_bare);
}

/* One that others allocate in: what comes of it is that arena's, and counted there */
static int foreign_used(void)
{
	struct bpf_object *owner = load_image("share", PROGS("take", "check", "give")), *obj;
	struct arena_counters c;
	int fd, err;

	if (!owner)
		return 1;
	fd = bpf_map__fd(bpf_object__find_map_by_name(owner, "arena"));
	VAR(owner, __u32, "nr") = 500;
	VAR(owner, __u64, "seed") = 3;
	CHECK_EQ(run_prog(owner, "take"), 0);
	obj = load_with_inner(fd, PROGS("use_inner", "free_inner"));
	if (!obj)
		return 1;
	CHECK_EQ(run_prog(obj, "use_inner"), 0);
	/* mine has the low half of an address there: an object, its inside, or none */
	CHECK_EQ(run_prog(obj, "free_inner"), 0);
	err = check_counters(obj);
	bpf_object__close(obj);
	if (read_counters(arena_id(owner), &c))
		return 1;
	printf("# of the owner's: %lld objects live, %lld frees refused\n",
	       c.allocs - c.frees + c.large_allocs - c.large_frees,
	       c.no_object + c.interior + c.not_live);
	CHECK_EQ(c.no_object + c.interior + c.not_live + c.kernel_owned, 1);
	CHECK_EQ(c.allocs - c.frees + c.large_allocs - c.large_frees, 500);
	CHECK_EQ(run_prog(owner, "check"), 0);
	CHECK_EQ(run_prog(owner, "give"), 0);
	bpf_object__close(owner);
	return err;
}

static int test_foreign_used(void)
{
	return in_group(0, foreign_used);
}

static int iterate(struct bpf_object *obj)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, "each_map");
	struct bpf_link *link = bpf_program__attach_iter(prog, NULL);
	char buf[64];
	int fd, n;

	if (!link)
		return FAIL("each_map cannot be attached: %s", strerror(errno));
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd >= 0) {
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			;
		close(fd);
	}
	bpf_link__destroy(link);
	return fd < 0 ? FAIL("no iterator: %s", strerror(errno)) : 0;
}

static int map_iterator(void)
{
	int fd = create_arena(), err;
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), *ids, nr, own;
	struct bpf_object *obj;
	bool saw_foreign = false, saw_own = false;
	__u64 *got;

	if (fd < 0 || bpf_map_get_info_by_fd(fd, &info, &len))
		return FAIL("cannot create an arena: %s", strerror(errno));
	obj = load_with_inner(fd, PROGS("each_map"));
	if (!obj)
		return 1;
	own = arena_id(obj);
	err = iterate(obj);
	nr = VAR(obj, __u32, "nr_maps");
	ids = find_var(obj, "map_ids");
	got = find_var(obj, "of_map");
	for (__u32 i = 0; i < nr; i++) {
		if (ids[i] == info.id) {
			saw_foreign = true;
			if (got[i])
				err = FAIL("got 0x%llx of an arena without caches", got[i]);
		} else if (ids[i] == own) {
			saw_own = true;
			if (!got[i])
				err = FAIL("got nothing of the program's own arena");
		}
	}
	if (!saw_foreign || !saw_own)
		err = FAIL("%u arenas came by, and not these two", nr);
	err = check_counters(obj) ?: err;
	bpf_object__close(obj);
	close(fd);
	return err;
}

static int test_map_iterator(void)
{
	return in_group(0, map_iterator);
}

/* ---- pages on their way out ---- */

#define NR_CHILDREN	4
#define NR_OBJS		600

/* Children and parent take turns */
struct turns {
	int stage;
	int done[NR_CHILDREN];
	int result[NR_CHILDREN];
};

static bool wait_stage(struct turns *t, int stage)
{
	return WAIT_FOR(60, __atomic_load_n(&t->stage, __ATOMIC_ACQUIRE) >= stage);
}

static bool all_done(struct turns *t, int stage)
{
	for (int i = 0; i < NR_CHILDREN; i++)
		if (__atomic_load_n(&t->done[i], __ATOMIC_ACQUIRE) < stage)
			return false;
	return true;
}

/* How many pages of the arena this process has in its page table, of any kind */
static long mapped_pages(const char *base)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	static __u64 map[SHARE_PAGES];
	long nr = 0;

	if (fd < 0)
		return -1;
	if (pread(fd, map, sizeof(map), (__u64)base / PAGE * 8) != sizeof(map))
		nr = -1;
	for (int i = 0; nr >= 0 && i < SHARE_PAGES; i++)
		nr += !!map[i];
	close(fd);
	return nr;
}

static int pagemap_child(struct bpf_object *obj, struct turns *t, int me, char *base, bool segv)
{
	int fd = bpf_map__fd(bpf_object__find_map_by_name(obj, "arena"));
	__u64 val, fault_addr, *objs = find_var(obj, "objs"), first = objs[0];
	volatile __u64 sum = 0;

	CHECK(mmap(base, SHARE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		   0) == base);
	for (int i = 0; i < NR_OBJS; i++)
		sum += *(volatile __u64 *)objs[i];
	CHECK(mapped_pages(base) > (long)(NR_OBJS / 20 * 4096 / PAGE));
	__atomic_store_n(&t->done[me], 1, __ATOMIC_RELEASE);
	CHECK(wait_stage(t, 1));
	CHECK_EQ(mapped_pages(base), 0);
	__atomic_store_n(&t->done[me], 2, __ATOMIC_RELEASE);
	CHECK(wait_stage(t, 2));
	/* and then: a signal, or a page of zeroes */
	CHECK_EQ(probe(first, &val, sizeof(val), &fault_addr), segv ? SIGSEGV : 0);
	if (!segv)
		CHECK_EQ(val, 0);
	return 0;
}

static bool gone(struct bpf_object *obj)
{
	struct arena_counters c;

	return !read_counters(arena_id(obj), &c) && c.found && !c.pages &&
	       c.slabs_freed == c.slabs_mapped;
}

/* Have sheaves and empty slabs given back, without another use of the pages */
static bool drained(struct bpf_object *obj)
{
	char prefix[64], path[512];
	struct arena_counters c;
	struct dirent *e;
	DIR *d;

	if (read_counters(arena_id(obj), &c))
		return false;
	snprintf(prefix, sizeof(prefix), "arena:%llu:", c.id);
	d = opendir("/sys/kernel/slab");
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", e->d_name);
		write_text(path, "1");
	}
	if (d)
		closedir(d);
	return gone(obj);
}

static int run_pagemap(struct bpf_object *obj, struct turns *t, bool segv)
{
	size_t size;
	char *base = bpf_map__initial_value(bpf_object__find_map_by_name(obj, "arena"), &size);
	int status, err = 0;
	pid_t pid[NR_CHILDREN];

	VAR(obj, __u32, "nr") = NR_OBJS;
	VAR(obj, __u64, "seed") = 1;
	CHECK_EQ(run_prog(obj, "take"), 0);
	fflush(stdout);
	for (int i = 0; i < NR_CHILDREN; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			err = pagemap_child(obj, t, i, base, segv);
			fflush(stdout);
			_exit(err);
		}
	}
	if (!WAIT_FOR(60, all_done(t, 1)))
		err = FAIL("not all children mapped the arena");
	if (!err && run_prog(obj, "give"))
		err = FAIL("cannot free them");
	if (!err && !WAIT_FOR(30, drained(obj)))
		err = FAIL("the arena does not get empty");
	/* A page is counted off before it leaves the last process: the same worker does it */
	usleep(500000);
	__atomic_store_n(&t->stage, 1, __ATOMIC_RELEASE);
	if (!err && !WAIT_FOR(60, all_done(t, 2)))
		err = FAIL("not all children have looked");
	__atomic_store_n(&t->stage, 2, __ATOMIC_RELEASE);
	for (int i = 0; i < NR_CHILDREN; i++) {
		waitpid(pid[i], &status, 0);
		if (status)
			err = FAIL("child %d: status 0x%x", i, status);
	}
	return err;
}

static int pagemap_with(__u32 flags)
{
	struct turns *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			       -1, 0);
	struct bpf_object *obj = open_image("share", PROGS("take", "give"));
	int err;

	if (!obj)
		return 1;
	CHECK(t != MAP_FAILED);
	bpf_map__set_map_flags(bpf_object__find_map_by_name(obj, "arena"), BPF_F_MMAPABLE | flags);
	if (bpf_object__load(obj))
		err = FAIL("cannot be loaded: %s", strerror(errno));
	else
		err = run_pagemap(obj, t, flags & BPF_F_SEGV_ON_FAULT);
	bpf_object__close(obj);
	return err;
}

static int pagemap(void)
{
	return pagemap_with(0);
}

static int test_pagemap(void)
{
	return in_group(0, pagemap);
}

static int pagemap_segv(void)
{
	return pagemap_with(BPF_F_SEGV_ON_FAULT);
}

static int test_pagemap_segv(void)
{
	return in_group(0, pagemap_segv);
}

#define SECRET	0xeeeeeeeeeeeeeeeeull
#define NR_PAGES	300	/* more than all sheaves keep */
#define ENOUGH		20
#define MAX_ROUNDS	500
#define NR_PIPES	4	/* of a MiB each */

struct peeker {
	__u64 addr[NR_PAGES];
	bool stop;
	unsigned long reads, none, seen;
};

static __thread sigjmp_buf no_page;

static void on_segv(int sig)
{
	siglongjmp(no_page, sig);
}

/* It makes a PTE, looks through it, and has it taken away again */
static void *peek(void *arg)
{
	struct peeker *p = arg;
	volatile unsigned int at = 0;
	volatile __u64 *addr;

	while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
		at = (at + 1) % NR_PAGES;
		if (sigsetjmp(no_page, 1)) {
			p->none++;
			continue;
		}
		addr = (__u64 *)p->addr[at];
		for (int i = 0; i < 8; i++)
			p->seen += addr[i * 64] == SECRET;
		p->reads++;
		if (at % 2)
			madvise((void *)addr, PAGE, MADV_DONTNEED);
	}
	return NULL;
}

/*
 * Pages of the kernel's, for a while: those of pipes are as little movable as a slab's, so
 * that the page allocator takes them from where it put these.
 */
static int keep_secrets(void)
{
	static char secret[65536];
	int fds[NR_PIPES][2], nr, err = 0;

	memset(secret, 0xee, sizeof(secret));
	for (nr = 0; nr < NR_PIPES; nr++) {
		if (pipe2(fds[nr], O_NONBLOCK)) {
			err = FAIL("no pipe: %s", strerror(errno));
			break;
		}
		fcntl(fds[nr][1], F_SETPIPE_SZ, 16 * sizeof(secret));
		while (write(fds[nr][1], secret, sizeof(secret)) > 0)
			;
	}
	usleep(5000);
	while (nr--) {
		close(fds[nr][0]);
		close(fds[nr][1]);
	}
	return err;
}

static int recycle(struct bpf_object *obj)
{
	struct sigaction act = { .sa_handler = on_segv }, old;
	static struct peeker p;
	unsigned long long again;
	pthread_t t;
	int err = 0, i;

	VAR(obj, __u32, "nr") = NR_PAGES;
	VAR(obj, __u32, "size") = PAGE;
	CHECK_EQ(run_prog(obj, "take"), 0);
	memcpy(p.addr, find_var(obj, "objs"), sizeof(p.addr));
	sigaction(SIGSEGV, &act, &old);
	CHECK_EQ(pthread_create(&t, NULL, peek, &p), 0);
	for (i = 0; i < MAX_ROUNDS && !err && (i < ENOUGH || p.none < ENOUGH); i++) {
		if (run_prog(obj, "give"))
			err = FAIL("cannot free");
		/* Not before the worker has been there */
		usleep(20000);
		VAR(obj, __u64, "pid") = getpid();
		err = keep_secrets() ?: err;
		VAR(obj, __u64, "pid") = 0;
		if (run_prog(obj, "take"))
			err = FAIL("cannot allocate");
	}
	__atomic_store_n(&p.stop, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	sigaction(SIGSEGV, &old, NULL);
	again = VAR(obj, __u64, "nr_again");
	printf("# %d rounds, %lu looks, %lu times no page, %llu pages were in a pipe next\n", i,
	       p.reads, p.none, again);
	if (!err && p.none < ENOUGH)
		err = FAIL("there was a page each time: this says nothing");
	if (!err && !again)
		err = FAIL("nobody else got one of the pages: this says nothing");
	if (p.seen)
		err = FAIL("another one's memory was seen %lu times", p.seen);
	run_prog(obj, "give");
	return check_counters(obj) ?: err;
}

/*
 * The page of a slab goes back and becomes somebody else's, while a thread faults at its
 * address all the time: what that one writes to it is not seen.
 */
static int recycled(void)
{
	static const char *const watchers[] = { "on_page_gone", "on_page_used" };
	struct bpf_object *obj = open_image("share", PROGS("take", "give", watchers[0],
							   watchers[1]));
	struct bpf_link *links[2] = {};
	int err;

	if (!obj)
		return 1;
	bpf_map__set_map_flags(bpf_object__find_map_by_name(obj, "arena"),
			       BPF_F_MMAPABLE | BPF_F_SEGV_ON_FAULT);
	if (bpf_object__load(obj))
		err = FAIL("cannot be loaded: %s", strerror(errno));
	else
		err = attach_all(obj, links, watchers, 2) ?: recycle(obj);
	bpf_link__destroy(links[0]);
	bpf_link__destroy(links[1]);
	bpf_object__close(obj);
	return err;
}

static int test_recycled(void)
{
	return in_group(0, recycled);
}

/* ---- a group at its limit ---- */

#define ROOT	"/sys/fs/cgroup"

/* Pages of the group's, from none, which not even a slot has, to more than a CPU's stock */
static const unsigned int budgets[] = { 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 160 };

static int set_limit(long long bytes)
{
	char text[32];

	if (bytes < 0)
		return write_text(GROUP "/memory.max", "max");
	snprintf(text, sizeof(text), "%lld", bytes);
	return write_text(GROUP "/memory.max", text);
}

/* So much for an arena that has nothing yet, and then as much as it wants */
static int run_with_budget(unsigned int pages, bool sleep_first, unsigned int *failed)
{
	const char *const progs[] = { sleep_first ? "take" : "take_nosleep",
				      sleep_first ? "take_nosleep" : "take" };
	struct bpf_object *obj;
	int err = 0;

	CHECK_EQ(write_text(GROUP "/cgroup.procs", "0"), 0);
	obj = load_image("limit", PROGS("take", "take_nosleep", "give"));
	if (!obj)
		return 1;
	/* We are not to be killed for what we touch ourselves */
	CHECK_EQ(write_text(ROOT "/cgroup.procs", "0"), 0);
	CHECK_EQ(set_limit(charged() + pages * PAGE), 0);
	for (int i = 0; i < 2 && !err; i++) {
		err = run_prog(obj, progs[i]);
		*failed += VAR(obj, __u32, "failed");
	}
	CHECK_EQ(set_limit(-1), 0);
	CHECK_EQ(err, 0);
	/* Nothing was lost by that: all can be had, and what was had is whole */
	CHECK_EQ(run_prog(obj, "take"), 0);
	CHECK_EQ(VAR(obj, __u32, "failed"), 0);
	CHECK_EQ(run_prog(obj, "give"), 0);
	CHECK(WAIT_FOR(30, drained(obj)));
	err = check_counters(obj);
	bpf_object__close(obj);
	return err;
}

static int at_its_limit(void)
{
	/* What fails waits for a drain, and that takes its time with lockdep */
	const size_t step = access("/proc/lockdep_stats", F_OK) ? 1 : 3;
	unsigned int failed, all = 0;
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(budgets) && !err; i += step) {
		failed = 0;
		err = run_with_budget(budgets[i], i & 1, &failed);
		if (err)
			FAIL("that was with %u pages", budgets[i]);
		all += failed;
	}
	printf("# %u allocations failed\n", all);
	CHECK(err || all);
	CHECK_EQ(read_number(GROUP "/memory.events", "oom_kill"), 0);
	return err;
}

static int test_at_its_limit(void)
{
	return in_group(0, at_its_limit);
}

/* ---- sysfs ---- */

static int scribble_sysfs(const char *dir)
{
	static const char *const values[] = { "1", "0", "4095", "-1" };
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];
	int wrote = 0;

	if (!d)
		return FAIL("%s: %s", dir, strerror(errno));
	while ((e = readdir(d))) {
		bool kfence = !strcmp(e->d_name, "skip_kfence");

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			int err = write_text(path, values[i]);

			wrote += !err;
			/* KFENCE objects are not in the arena */
			if (kfence && err != -EINVAL)
				return FAIL("%s in skip_kfence: %s", values[i], strerror(-err));
		}
	}
	closedir(d);
	printf("# %d writes were taken\n", wrote);
	return wrote ? 0 : FAIL("no file of %s can be written to", dir);
}

static int flag_of(const char *dir, const char *name)
{
	char path[512];
	FILE *f;
	int val = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%d", &val) != 1)
			val = -1;
		fclose(f);
	}
	return val;
}

/* Root writes whatever to each file of a cache: no debugging starts, objects stay whole */
static int sysfs(void)
{
	static const char *const flags[] = { "sanity_checks", "trace", "red_zone", "poison",
					     "store_user", "cache_dma" };
	struct bpf_object *obj = load_image("share", PROGS("take", "check", "give"));
	struct arena_counters c;
	char dir[128];
	int err;

	if (!obj)
		return 1;
	VAR(obj, __u32, "nr") = 1000;
	VAR(obj, __u32, "size") = 64;
	VAR(obj, __u64, "seed") = 9;
	CHECK_EQ(run_prog(obj, "take"), 0);
	if (read_counters(arena_id(obj), &c))
		return 1;
	snprintf(dir, sizeof(dir), "/sys/kernel/slab/arena:%llu:64", c.id);
	CHECK_EQ(flag_of(dir, "arena_map_id"), (int)arena_id(obj));
	err = scribble_sysfs(dir);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (flag_of(dir, flags[i]) > 0)
			err = FAIL("%s is on", flags[i]);
	}
	for (int i = 0; i < 10 && !err; i++)
		err = run_prog(obj, "check") ?: run_prog(obj, "give") ?: run_prog(obj, "take");
	CHECK_EQ(run_prog(obj, "give"), 0);
	err = check_counters(obj) ?: err;
	bpf_object__close(obj);
	return err;
}

static int test_sysfs(void)
{
	return in_group(0, sysfs);
}

const struct test hostile_tests[] = {
	{ "hostile/inside", "programs allocate and free in the middle of the allocator",
	  test_inside },
	{ "hostile/each_return_defers", "who defers a free for each that is returned stops nobody",
	  test_each_return_defers },
	{ "hostile/fails_in_irq_work", "nor who finds the arena full where a drain is asked for",
	  test_fails_in_irq_work },
	{ "hostile/frees_in_irq_work", "nor who frees pages where the worker is called for some",
	  test_frees_in_irq_work },
	{ "hostile/nested_reports", "bad frees inside of the reports of bad frees warn of nothing",
	  test_nested_reports },
	{ "hostile/foreign_bare", "another arena, from a map of maps, gives nothing",
	  test_foreign_bare },
	{ "hostile/foreign_used", "one that others use keeps its books", test_foreign_used },
	{ "hostile/map_iterator", "an arena that an iterator comes by gives nothing",
	  test_map_iterator },
	{ "hostile/pagemap", "no page of freed objects is in any process's page table",
	  test_pagemap },
	{ "hostile/pagemap_segv", "the same, where the next access is a signal",
	  test_pagemap_segv },
	{ "hostile/recycled", "a page that was given back is not seen by who faults at it",
	  test_recycled },
	{ "hostile/at_its_limit", "what the arena's group cannot pay for is NULL, whatever it is for",
	  test_at_its_limit },
	{ "hostile/sysfs", "whatever is written to a cache's files in sysfs, objects stay whole",
	  test_sysfs },
	{}
};
