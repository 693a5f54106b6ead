// SPDX-License-Identifier: GPL-2.0
/*
 * Memory is short, but only because page cache is in the way: who may sleep gets its
 * pages. The group may have 32 MiB, and has read 64 MiB of ram disks; each test wants
 * 8 MiB for an arena that the group pays for.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

#define LIMIT		(32ll << 20)
#define WANT		((__u32)((8 << 20) / PAGE))
/* A CPU may have so much charged in advance: MEMCG_CHARGE_BATCH */
#define BATCH		(64 * PAGE)
/* Stacks and pages of theirs fit into the limit */
#define FORKS		(PAGE > 4096 ? 100 : 600)

/* Until the group has no room left for anything but what it throws out */
static int fill_with_page_cache(void)
{
	static char buf[1 << 16];
	char path[32];

	for (int i = 0; i < 16; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/ram%d", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return SKIP("no %s: %s", path, strerror(errno));
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		/* Stays open: the cache of a device goes with its last user */
	}
	printf("# of %lld bytes, %lld are in use, %lld of them for files\n", LIMIT,
	       charged(), read_number(GROUP "/memory.stat", "file"));
	CHECK(charged() > LIMIT - (1 << 20) - BATCH);
	CHECK(read_number(GROUP "/memory.stat", "file") > LIMIT / 2);
	return 0;
}

static int take(const char *prog)
{
	struct bpf_object *obj = load_image("growth", PROGS(prog));
	int err;

	if (!obj)
		return 1;
	err = fill_with_page_cache();
	if (err)
		return err;
	VAR(obj, __u32, "want") = WANT;
	CHECK_EQ(run_prog(obj, prog), 0);
	CHECK_EQ(VAR(obj, __u32, "got"), WANT);
	return 0;
}

static int pages(void)
{
	return take("take_pages");
}

static int test_pages(void)
{
	return in_group(LIMIT, pages);
}

static int objects(void)
{
	return take("take_objects");
}

static int test_objects(void)
{
	return in_group(LIMIT, objects);
}

static int large(void)
{
	return take("take_large");
}

static int test_large(void)
{
	return in_group(LIMIT, large);
}

/* A process touches pages that are not there: signal, or not */
static int lazily(void)
{
	struct bpf_object *obj = load_image("growth", PROGS("take_pages"));
	__u64 fault_addr, val;
	size_t size;
	char *base;
	int err;

	if (!obj)
		return 1;
	base = bpf_map__initial_value(bpf_object__find_map_by_name(obj, "arena"), &size);
	CHECK(base);
	err = fill_with_page_cache();
	if (err)
		return err;
	for (__u32 i = 0; i < WANT; i++) {
		err = probe((__u64)(base + i * PAGE), &val, sizeof(val), &fault_addr);
		if (err)
			return FAIL("signal %d at page %u", err, i);
	}
	return 0;
}

static int test_faults(void)
{
	return in_group(LIMIT, lazily);
}

/* All at once, so that each has its page */
static int fork_burst(struct bpf_object *obj)
{
	int pipes[2], forked = 0, err = 0;
	char c;

	CHECK_EQ(pipe(pipes), 0);
	fflush(stdout);
	for (; forked < FORKS; forked++) {
		pid_t pid = fork();

		if (!pid) {
			close(pipes[1]);
			_exit(read(pipes[0], &c, 1) < 0);
		}
		if (pid < 0) {
			err = FAIL("fork %d: %s, %llu of %llu tasks were refused a page", forked,
				   strerror(errno), VAR(obj, __u64, "nr_failed"),
				   VAR(obj, __u64, "nr_inits"));
			break;
		}
	}
	close(pipes[0]);
	close(pipes[1]);
	while (forked--)
		wait(NULL);
	return err;
}

static int burst(void)
{
	struct bpf_object *obj = load_image("growth", PROGS("growth_init_task",
							    "growth_exit_task"));
	struct bpf_link *link;
	int err;

	if (!obj)
		return 1;
	link = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(obj, "growth"));
	if (!link)
		return FAIL("cannot attach the scheduler: %s", strerror(errno));
	CHECK(WAIT_FOR(10, scheduler_is("enabled")));
	err = fill_with_page_cache();
	/* The children are not to be the group's: only their pages in the arena are */
	if (!err && write_text("/sys/fs/cgroup/cgroup.procs", "0"))
		err = FAIL("cannot leave the group: %s", strerror(errno));
	if (!err)
		err = fork_burst(obj);
	if (!err) {
		CHECK(scheduler_is("enabled"));
		CHECK_EQ(VAR(obj, __u64, "nr_failed"), 0);
		CHECK(VAR(obj, __u64, "nr_inits") >= FORKS);
	}
	bpf_link__destroy(link);
	WAIT_FOR(10, scheduler_is("disabled"));
	bpf_object__close(obj);
	return err;
}

static int test_fork_burst(void)
{
	if (!scheduler_is("disabled"))
		return SKIP("sched_ext is not there, or busy");
	return in_group(LIMIT, burst);
}

const struct test growth_tests[] = {
	{ "growth/pages", "bpf_arena_alloc_pages() reclaims page cache of the arena's group",
	  test_pages },
	{ "growth/objects", "bpf_arena_alloc() of a page reclaims it", test_objects },
	{ "growth/large", "bpf_arena_alloc() of 8 MiB reclaims it", test_large },
	{ "growth/faults", "a user fault on an empty page reclaims it", test_faults },
	{ "growth/fork_burst", "a scheduler that allocates a page for each task survives a burst of forks",
	  test_fork_burst },
	{}
};
