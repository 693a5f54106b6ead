// SPDX-License-Identifier: GPL-2.0
/* Arenas that go while objects live: the normal case. Nothing stays behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

#define CGROUP	"/sys/fs/cgroup/arena_slab_test"
#define PAGE	sysconf(_SC_PAGESIZE)

static struct bpf_object *leak(__u32 nr, __u32 size)
{
	struct bpf_object *obj = open_image("share", PROGS("take", "check"));
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

/* ---- charge ---- */

static long long read_number(const char *path)
{
	long long val = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	if (fscanf(f, "%lld", &val) != 1)
		val = -1;
	fclose(f);
	return val;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -1;
	len = write(fd, text, strlen(text));
	close(fd);
	return len < 0 ? -1 : 0;
}

static long long charged(void)
{
	return read_number(CGROUP "/memory.current");
}

/* In the group: 2000 objects of a page are 8 MiB, which the group pays */
static int charge_child(void)
{
	long long before, with;
	struct bpf_object *obj;

	if (write_text(CGROUP "/cgroup.procs", "0"))
		return FAIL("cannot enter %s: %s", CGROUP, strerror(errno));
	before = charged();
	obj = leak(2000, 4096);
	if (!obj)
		return 1;
	with = charged();
	printf("# memory.current: %lld before, %lld with 2000 pages\n", before, with);
	bpf_object__close(obj);
	if (with - before < 2000 * PAGE)
		return FAIL("%lld bytes were charged for 2000 pages", with - before);
	return 0;
}

static int test_charge(void)
{
	int status, err = 0;
	pid_t pid;

	mkdir(CGROUP, 0755);
	if (charged() < 0) {
		rmdir(CGROUP);
		return SKIP("no memory controller at /sys/fs/cgroup");
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		err = charge_child();
		fflush(stdout);
		_exit(err);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	/* What is left after the process and the arena are gone is the group's own */
	if (!WAIT_FOR(20, charged() < 1 << 20))
		err = FAIL("%lld bytes are still charged after 20 seconds", charged());
	if (rmdir(CGROUP))
		err = FAIL("cannot remove %s: %s", CGROUP, strerror(errno));
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
	{ "teardown/charge", "pages are charged to the arena's group, and given back",
	  test_charge },
	{ "teardown/nothing_left", "after all tests no cache of an arena is left",
	  test_nothing_left },
	{}
};
