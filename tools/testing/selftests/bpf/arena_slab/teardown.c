// SPDX-License-Identifier: GPL-2.0
/* Arenas that go while objects live: the normal case. Nothing stays behind. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

static struct bpf_object *leak(__u32 nr, __u32 size)
{
	struct bpf_object *obj = open_image("share", PROGS("take", "check", "give", "give_half"));
	int err;

	if (!obj)
		return NULL;
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "arena"), 8192);
	err = bpf_object__load(obj);
	if (!err) {
		VAR(obj, __u32, "nr") = nr;
		VAR(obj, __u32, "size") = size;
		VAR(obj, __u64, "seed") = 1000;
		err = run_prog(obj, "take");
	}
	if (!err)
		return obj;
	FAIL("cannot be loaded or run: %d", err);
	bpf_object__close(obj);
	return NULL;
}

/* How the caches of the object's arena are called in /sys/kernel/slab */
static int cache_prefix(struct bpf_object *obj, char *prefix, size_t size)
{
	struct arena_counters c;

	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK(c.found);
	snprintf(prefix, size, "arena:%llu:", c.id);
	CHECK(slab_cache_exists(prefix));
	return 0;
}

static int test_leak(void)
{
	struct bpf_object *obj = leak(5000, 0);
	struct arena_counters c;
	char prefix[64];
	__u32 id;

	if (!obj)
		return 1;
	id = arena_id(obj);
	if (cache_prefix(obj, prefix, sizeof(prefix)) || read_counters(id, &c)) {
		bpf_object__close(obj);
		return 1;
	}
	printf("# %lld objects of %d classes, %lld large ones, %llu pages\n", c.allocs,
	       c.nr_caches, c.large_allocs, c.pages);
	bpf_object__close(obj);
	if (!WAIT_FOR(20, !slab_cache_exists(prefix)))
		return FAIL("caches %s* are there 20 seconds after the arena", prefix);
	CHECK(!read_counters(id, &c) && !c.found);
	return 0;
}

/* A process that still has the arena mapped keeps it, and its objects */
static int mapped_child(struct bpf_object *obj, int from_parent)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, "arena");
	size_t size = (size_t)bpf_map__max_entries(map) * PAGE, unused;
	void *base = bpf_map__initial_value(map, &unused);
	__u64 *addr = (__u64 *)VAR(obj, __u64, "objs");
	struct bpf_program *prog;
	char c;

	if (mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, bpf_map__fd(map),
		 0) != base)
		return 2;
	/* Only the mapping is to hold it */
	bpf_object__for_each_map(map, obj)
		close(bpf_map__fd(map));
	bpf_object__for_each_program(prog, obj)
		close(bpf_program__fd(prog));
	if (*addr != 1000)
		return 3;
	if (read(from_parent, &c, 1) != 1)
		return 4;
	if (*addr != 1000)
		return 5;
	*addr = 1;
	return *addr == 1 ? 0 : 6;
}

static int test_leak_mapped(void)
{
	struct bpf_object *obj = leak(300, 0);
	char prefix[64];
	int pipes[2], status;
	bool kept;
	pid_t pid;

	if (!obj)
		return 1;
	if (cache_prefix(obj, prefix, sizeof(prefix)) || pipe(pipes)) {
		bpf_object__close(obj);
		return 1;
	}
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(mapped_child(obj, pipes[0]));
	/* Until it has mapped: it would find the map gone otherwise; it inherited the fds */
	bpf_object__close(obj);
	sleep(1);
	kept = slab_cache_exists(prefix);
	if (write(pipes[1], "x", 1) != 1)
		status = -1;
	waitpid(pid, &status, 0);
	close(pipes[0]);
	close(pipes[1]);
	CHECK(kept);
	CHECK_EQ(status, 0);
	if (!WAIT_FOR(20, !slab_cache_exists(prefix)))
		return FAIL("caches %s* are there 20 seconds after the last mapping", prefix);
	return 0;
}

static int test_many(void)
{
	for (int i = 0; i < 20; i++) {
		struct bpf_object *obj = leak(500, 0);

		if (!obj)
			return 1;
		bpf_object__close(obj);
	}
	if (!WAIT_FOR(30, !slab_cache_exists("arena:")))
		return FAIL("some caches arena:* are there 30 seconds after the arenas");
	return 0;
}

/* The process is killed, with objects, programs and a mapping: nobody closes anything */
static int test_kill(void)
{
	struct { char prefix[64]; __u32 id; } told = {};
	struct arena_counters c;
	int pipes[2], status;
	ssize_t len;
	pid_t pid;

	CHECK(!pipe(pipes));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct bpf_object *obj = leak(5000, 0);

		if (!obj || cache_prefix(obj, told.prefix, sizeof(told.prefix)))
			_exit(1);
		told.id = arena_id(obj);
		if (write(pipes[1], &told, sizeof(told)) != sizeof(told))
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	len = read(pipes[0], &told, sizeof(told));
	close(pipes[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	CHECK_EQ(len, sizeof(told));
	CHECK(WIFSIGNALED(status));
	if (!WAIT_FOR(20, !slab_cache_exists(told.prefix)))
		return FAIL("caches %s* are there 20 seconds after the process", told.prefix);
	CHECK(!read_counters(told.id, &c) && !c.found);
	CHECK(bpf_map_get_fd_by_id(told.id) < 0);
	return 0;
}

/* ---- those who still look at a cache ---- */

#define SLAB	"/sys/kernel/slab"

static int test_sysfs_open(void)
{
	struct bpf_object *obj = leak(500, 256);
	char prefix[64], path[128], buf[64] = {};
	int objects = -1, shrink = -1, dir = -1, err = 1;

	if (!obj)
		return 1;
	if (!cache_prefix(obj, prefix, sizeof(prefix))) {
		snprintf(path, sizeof(path), SLAB "/%s256", prefix);
		dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		objects = openat(dir, "objects", O_RDONLY | O_CLOEXEC);
		shrink = openat(dir, "shrink", O_WRONLY | O_CLOEXEC);
		err = 0;
	}
	if (!err && (objects < 0 || shrink < 0))
		err = FAIL("%s: %s", path, strerror(errno));
	if (!err && (read(objects, buf, sizeof(buf) - 1) <= 0 || atoi(buf) < 500))
		err = FAIL("%s/objects is '%s'", path, buf);
	if (!err && write(shrink, "1", 1) != 1)
		err = FAIL("%s/shrink: %s", path, strerror(errno));
	bpf_object__close(obj);
	/* The open files do not keep the cache */
	if (!err && !WAIT_FOR(20, !slab_cache_exists(prefix)))
		err = FAIL("caches %s* are there after 20 seconds with a file open", prefix);
	if (!err && (pread(objects, buf, sizeof(buf), 0) >= 0 || errno != ENODEV))
		err = FAIL("%s/objects of a cache that is gone: %s", path, strerror(errno));
	if (!err && (write(shrink, "1", 1) >= 0 || errno != ENODEV))
		err = FAIL("%s/shrink of a cache that is gone: %s", path, strerror(errno));
	close(objects);
	close(shrink);
	close(dir);
	return err;
}

static void *run_hold(void *obj)
{
	return (void *)(long)run_prog(obj, "hold");
}

/*
 * The iterator of a BPF program stands on a cache while its arena goes. @fd is the
 * last that holds the arena.
 */
static int hold_while_it_goes(struct bpf_object *watch, int fd, __u32 id, const char *prefix)
{
	char cache[64], path[128], *wanted = find_var(watch, "wanted");
	struct arena_counters c;
	pthread_t thread;
	int err = 0;

	snprintf(cache, sizeof(cache), "%s256", prefix);
	snprintf(path, sizeof(path), SLAB "/%s/shrink", cache);
	strcpy(wanted, cache);
	if (pthread_create(&thread, NULL, run_hold, watch)) {
		close(fd);
		return FAIL("no thread");
	}
	if (!WAIT_FOR(10, *(volatile __u32 *)find_var(watch, "held")))
		err = FAIL("the iterator does not find %s", cache);
	close(fd);
	if (!err && !WAIT_FOR(10, !read_counters(id, &c) && !c.found))
		err = FAIL("the arena does not go while an iterator is at %s", cache);
	/* The others go, this one is empty and does no harm */
	snprintf(path, sizeof(path), "%s64", prefix);
	if (!err && !WAIT_FOR(10, !slab_cache_exists(path)))
		err = FAIL("%s does not go while an iterator is at %s", path, cache);
	if (!err && !slab_cache_exists(cache))
		err = FAIL("%s is gone although the iterator is there", cache);
	snprintf(path, sizeof(path), SLAB "/%s/shrink", cache);
	if (!err && write_text(path, "1"))
		err = FAIL("%s: %s", path, strerror(errno));
	*(volatile __u32 *)find_var(watch, "let_go") = 1;
	pthread_join(thread, NULL);
	if (!err && !WAIT_FOR(10, !slab_cache_exists(prefix)))
		err = FAIL("caches %s* are there after the iterator is gone", prefix);
	return err;
}

static int test_iterator(void)
{
	struct bpf_object *watch = load_image("watch", PROGS("hold"));
	struct bpf_object *obj;
	char prefix[64];
	int fd, err = 1;
	__u32 id;

	if (!watch)
		return 1;
	obj = leak(500, 0);
	if (obj && !cache_prefix(obj, prefix, sizeof(prefix))) {
		fd = dup(bpf_map__fd(bpf_object__find_map_by_name(obj, "arena")));
		id = arena_id(obj);
		bpf_object__close(obj);
		obj = NULL;
		/*
		 * The programs of the arena have to be gone first: while the iterator's
		 * runs, there is no grace period for sleepable ones.
		 */
		sleep(1);
		err = hold_while_it_goes(watch, fd, id, prefix);
	}
	bpf_object__close(obj);
	bpf_object__close(watch);
	return err;
}

/* Threads that run until they are told to stop */
static volatile bool stop;

static void *shrink_all(void *unused)
{
	unsigned long nr = 0;

	(void)unused;
	while (!stop)
		nr += shrink_arena_caches();
	return (void *)nr;
}

/* Arenas with leaked objects come and go while @fn runs; what it returned is in @ret */
static int leak_beside(void *(*fn)(void *), void *arg, int rounds, unsigned long *ret)
{
	pthread_t thread;
	void *result = NULL;
	int err = 0;

	stop = false;
	if (pthread_create(&thread, NULL, fn, arg))
		return FAIL("no thread");
	for (int i = 0; i < rounds && !err; i++) {
		struct bpf_object *obj = leak(500, 0);

		if (obj && i & 1)
			err = run_prog(obj, "give_half");
		else if (!obj)
			err = 1;
		bpf_object__close(obj);
	}
	if (!err && !WAIT_FOR(20, !slab_cache_exists("arena:")))
		err = FAIL("some caches arena:* are there after 20 seconds");
	stop = true;
	pthread_join(thread, &result);
	*ret = (unsigned long)result;
	return err;
}

static int test_shrink(void)
{
	unsigned long nr;

	if (leak_beside(shrink_all, NULL, 12, &nr))
		return 1;
	printf("# shrunk %lu times\n", nr);
	CHECK(nr > 0);
	return 0;
}

/* ---- CPUs and memory that go ---- */

#define CPU1	"/sys/devices/system/cpu/cpu1/online"
#define MEMORY	"/sys/devices/system/memory"

static int arena_goes_without_cpu1(void)
{
	struct bpf_object *obj;
	char prefix[64];
	int err;

	if (run_on_cpu(1))
		return FAIL("cannot run on CPU 1: %s", strerror(errno));
	obj = leak(3000, 64);
	err = obj ? run_prog(obj, "give_half") : 1;
	run_on_cpu(0);
	if (!err)
		err = cache_prefix(obj, prefix, sizeof(prefix));
	if (!err && write_text(CPU1, "0"))
		err = FAIL("CPU 1 does not go: %s", strerror(errno));
	bpf_object__close(obj);
	if (!err && !WAIT_FOR(20, !slab_cache_exists(prefix)))
		err = FAIL("caches %s* are there after 20 seconds without CPU 1", prefix);
	if (write_text(CPU1, "1") && !err)
		err = FAIL("CPU 1 does not come back: %s", strerror(errno));
	return err;
}

/*
 * A CPU that goes offline waits for those who cannot leave it, and has the lock that
 * the end of an arena needs.
 */
static int test_migration(void)
{
	struct bpf_object *watch = load_image("watch", PROGS("count_detach")), *obj;
	struct bpf_link *link;
	int err = 0;

	if (!watch)
		return 1;
	link = bpf_program__attach(bpf_object__find_program_by_name(watch, "count_detach"));
	if (!link)
		err = FAIL("cannot be attached: %s", strerror(errno));
	obj = err ? NULL : leak(500, 0);
	bpf_object__close(obj);
	if (!err && !WAIT_FOR(20, !slab_cache_exists("arena:")))
		err = FAIL("some caches arena:* are there after 20 seconds");
	if (!err && VAR(watch, __u64, "detaches") < 11)
		err = FAIL("%llu caches went", VAR(watch, __u64, "detaches"));
	if (!err && VAR(watch, __u64, "stuck"))
		err = FAIL("%llu caches went by a task that cannot leave its CPU",
			   VAR(watch, __u64, "stuck"));
	bpf_link__destroy(link);
	bpf_object__close(watch);
	return err;
}

static int test_cpu_offline(void)
{
	int err;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return SKIP("needs two CPUs");
	if (access(CPU1, W_OK))
		return SKIP("no " CPU1);
	err = arena_goes_without_cpu1();
	run_on_cpu(-1);
	return err;
}

/* A block that goes when it is asked to, with its state file in @path */
static bool find_removable_block(char *path, size_t size)
{
	/* From the top: what the kernel needs for itself is at the bottom */
	for (int i = 1023; i > 0; i--) {
		snprintf(path, size, MEMORY "/memory%d/state", i);
		if (access(path, W_OK) || write_text(path, "offline"))
			continue;
		return !write_text(path, "online");
	}
	return false;
}

static void *move_memory(void *path)
{
	unsigned long nr = 0;

	while (!stop) {
		/* Busy at times: an arena's page is there, which nobody can move */
		nr += !write_text(path, "offline");
		write_text(path, "online");
		usleep(1000);
	}
	return (void *)nr;
}

static int test_memory_offline(void)
{
	unsigned long nr;
	char path[128];
	int err;

	if (access(MEMORY, R_OK))
		return SKIP("no memory hotplug");
	if (!find_removable_block(path, sizeof(path))) {
		watch_kernel_log();
		return SKIP("no block of memory can be taken offline");
	}
	err = leak_beside(move_memory, path, 12, &nr);
	write_text(path, "online");
	printf("# a block was taken offline %lu times\n", nr);
	/* It went once, when it was looked for */
	if (!nr && !err)
		err = FAIL("it never went while there were arenas");
	/* The kernel tells which pages could not be moved: that is no trouble of ours */
	if (kernel_log_has("cut here"))
		err = FAIL("the kernel warned");
	return err;
}

/* ---- small arenas ---- */

static const __u32 class_sizes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096 };

static int run_on(struct bpf_object *obj, int cpu, const char *prog)
{
	if (run_on_cpu(cpu))
		return FAIL("cannot run on CPU %d: %s", cpu, strerror(errno));
	CHECK_EQ(run_prog(obj, prog), 0);
	return 0;
}

/* Taken on CPU 0, given back on CPU 1, and taken again, twice */
static int take_and_give(struct bpf_object *obj, __u32 pages, __u32 size, bool may_sleep)
{
	const char *take = may_sleep ? "take" : "take_nosleep";
	const char *give = may_sleep ? "give" : "give_nosleep";
	__u32 *nr = find_var(obj, "nr"), all = pages * (PAGE / size);

	VAR(obj, __u32, "size") = size;
	for (int round = 0; round < 3; round++) {
		if (run_on(obj, 0, take))
			return 1;
		/* Who may not sleep starts a drain, and gets the rest later */
		if (!may_sleep)
			WAIT_FOR(20, *nr >= all || run_on(obj, 0, take));
		if (*nr != all)
			return FAIL("%u of %u objects of %u bytes in %u pages, round %d", *nr, all,
				    size, pages, round);
		if (run_on(obj, 1, give))
			return 1;
	}
	return 0;
}

static int small_arena(__u32 pages, bool may_sleep)
{
	struct bpf_object *obj = open_image("small", PROGS("take", "give", "take_nosleep",
							   "give_nosleep"));
	int err = 0;

	if (!obj)
		return 1;
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "arena"), pages);
	if (bpf_object__load(obj))
		err = FAIL("cannot be loaded");
	for (size_t i = 0; i < ARRAY_SIZE(class_sizes) && !err; i++)
		err = take_and_give(obj, pages, class_sizes[i], may_sleep);
	bpf_object__close(obj);
	return err;
}

static int small_arenas(bool may_sleep)
{
	static const __u32 sizes[] = { 16, 17, 32, 63, 64 };
	int err = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return SKIP("needs two CPUs");
	for (size_t i = 0; i < ARRAY_SIZE(sizes) && !err; i++)
		err = small_arena(sizes[i], may_sleep);
	run_on_cpu(-1);
	return err;
}

static int test_small(void)
{
	return small_arenas(true);
}

static int test_small_nosleep(void)
{
	return small_arenas(false);
}

/* ---- charge ---- */

/* In the group: 2000 objects of a page, at least 8 MiB, which the group pays */
static int charge_child(void)
{
	long long before, with;
	struct bpf_object *obj;

	before = charged();
	obj = leak(2000, PAGE);
	if (!obj)
		return 1;
	with = charged();
	printf("# memory.current: %lld before, %lld with 2000 pages\n", before, with);
	bpf_object__close(obj);
	/* All but what a CPU had in stock before */
	if (with - before < (2000 - 64) * PAGE)
		return FAIL("%lld bytes were charged for 2000 pages", with - before);
	return 0;
}

static int test_charge(void)
{
	return in_group(0, charge_child);
}

#define FIRST	GROUP "/first"
#define SECOND	GROUP "/second"

/* The arena is the first group's; when that is gone, it is its parent's */
static int charge_moves_child(int to_parent, int from_parent)
{
	struct bpf_object *obj;
	__u32 nr = 0;
	char c;

	if (write_text(FIRST "/cgroup.procs", "0"))
		return FAIL("cannot enter " FIRST ": %s", strerror(errno));
	obj = leak(2000, PAGE);
	if (!obj)
		return 1;
	if (write_text(SECOND "/cgroup.procs", "0"))
		return FAIL("cannot enter " SECOND ": %s", strerror(errno));
	if (write(to_parent, "x", 1) != 1 || read(from_parent, &c, 1) != 1)
		return FAIL("the parent is gone");
	/* By now there is no first group: more is taken, and some given back */
	nr = VAR(obj, __u32, "nr");
	if (run_prog(obj, "give_half"))
		return FAIL("cannot give back");
	VAR(obj, __u32, "nr") = 1500;
	if (run_prog(obj, "take"))
		return FAIL("cannot take after the group is gone");
	VAR(obj, __u32, "nr") = nr;
	if (write(to_parent, "x", 1) != 1 || read(from_parent, &c, 1) != 1)
		return FAIL("the parent is gone");
	bpf_object__close(obj);
	return 0;
}

static int charge_moves(int from_child, int to_child, long long before)
{
	long long top, second;
	char c;

	if (read(from_child, &c, 1) != 1)
		return FAIL("the child has ended");
	if (rmdir(FIRST))
		return FAIL("cannot remove " FIRST ": %s", strerror(errno));
	if (write(to_child, "x", 1) != 1 || read(from_child, &c, 1) != 1)
		return FAIL("the child has ended");
	top = charged() - before;
	second = read_number(SECOND "/memory.current", NULL);
	printf("# memory.current: %lld, of which %lld of the second group\n", top, second);
	/* 1000 of the first objects, and 1500 more: all charged to the parent alone */
	if (top - second < 2000 * PAGE)
		return FAIL("%lld bytes are charged to the parent", top - second);
	if (write(to_child, "x", 1) != 1)
		return FAIL("the child has ended");
	return 0;
}

static long long dying(void)
{
	return read_number(GROUP "/cgroup.stat", "nr_dying_descendants");
}

static int test_charge_moves(void)
{
	int to_child[2], to_parent[2], status, err = 0;
	long long before, kernel;
	pid_t pid;

	mkdir(GROUP, 0755);
	if (charged() < 0 || write_text(GROUP "/cgroup.subtree_control", "+memory")) {
		rmdir(GROUP);
		return SKIP("no memory controller at /sys/fs/cgroup");
	}
	mkdir(FIRST, 0755);
	mkdir(SECOND, 0755);
	before = charged();
	kernel = read_number(GROUP "/memory.stat", "kernel");
	CHECK(!pipe(to_child) && !pipe(to_parent));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(to_parent[0]);
		close(to_child[1]);
		err = charge_moves_child(to_parent[1], to_child[0]);
		fflush(stdout);
		_exit(err);
	}
	close(to_parent[1]);
	close(to_child[0]);
	err = charge_moves(to_parent[0], to_child[1], before);
	close(to_parent[0]);
	close(to_child[1]);
	waitpid(pid, &status, 0);
	if (!err && status)
		err = FAIL("the child failed");

	/* Each CPU may keep a stock of charge for a while, and groups cost a little */
	if (!err && !WAIT_FOR(30, charged() - before < REST))
		err = FAIL("%lld bytes are still charged after 30 seconds", charged() - before);
	if (!err && !WAIT_FOR(30, read_number(GROUP "/memory.stat", "kernel") - kernel < REST))
		err = FAIL("memory.stat: kernel has %lld bytes more than before",
			   read_number(GROUP "/memory.stat", "kernel") - kernel);
	if (!err && !WAIT_FOR(10, !dying())) {
		printf("# %lld groups are dying after 10 seconds: in a stock?\n", dying());
		err = renew_stocks();
	}
	if (!err && !WAIT_FOR(30, !dying()))
		err = FAIL("%lld groups are dying after 40 seconds", dying());
	rmdir(FIRST);
	if (rmdir(SECOND) || rmdir(GROUP))
		err = FAIL("cannot remove the groups: %s", strerror(errno));
	return err;
}

static int test_nothing_left(void)
{
	if (!WAIT_FOR(20, !slab_cache_exists("arena:") && !slab_cache_exists("scx_cmask:")))
		return FAIL("there are caches of arenas left in /sys/kernel/slab");
	return 0;
}

const struct test teardown_tests[] = {
	{ "teardown/leak", "5000 live objects of all classes, and large ones, go with the arena",
	  test_leak },
	{ "teardown/leak_mapped", "a mapping keeps the arena and its objects", test_leak_mapped },
	{ "teardown/many", "twenty arenas with live objects come and go", test_many },
	{ "teardown/kill", "nothing is left of a process that was killed", test_kill },
	{ "teardown/sysfs_open", "open files of a cache in sysfs do not keep it",
	  test_sysfs_open },
	{ "teardown/iterator", "an arena goes while a BPF iterator holds a cache of it",
	  test_iterator },
	{ "teardown/shrink", "arenas go while their caches are shrunk by sysfs", test_shrink },
	{ "teardown/migration", "an arena's end does not keep its CPU from going offline",
	  test_migration },
	{ "teardown/cpu_offline", "an arena goes after a CPU with full sheaves went",
	  test_cpu_offline },
	{ "teardown/memory_offline", "arenas go while memory is taken offline",
	  test_memory_offline },
	{ "teardown/small", "small arenas give out all they have, wherever it was freed",
	  test_small },
	{ "teardown/small_nosleep", "and so they do, a little later, to those who may not sleep",
	  test_small_nosleep },
	{ "teardown/charge", "pages are charged to the arena's group, and given back",
	  test_charge },
	{ "teardown/charge_moves", "a group that is gone passes its arena's charge to its parent",
	  test_charge_moves },
	{ "teardown/nothing_left", "after all tests no cache of an arena is left",
	  test_nothing_left },
	{}
};
