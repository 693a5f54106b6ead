// SPDX-License-Identifier: GPL-2.0
/* sched_ext in cid form, whose cmasks are slab objects of the kernel's. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

/* The scheduler's object with only its struct_ops map, loaded */
static struct bpf_object *load_scheduler(const char *name, const char *const *progs)
{
	struct bpf_object *obj = open_image("scx", progs);
	struct bpf_map *map;

	if (!obj)
		return NULL;
	bpf_object__for_each_map(map, obj) {
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, !strcmp(bpf_map__name(map), name));
	}
	map = bpf_object__find_map_by_name(obj, "arena2");
	if (!strcmp(name, "two_arenas")) {
		bpf_map__set_type(map, BPF_MAP_TYPE_ARENA);
		bpf_map__set_map_flags(map, BPF_F_MMAPABLE);
		bpf_map__set_key_size(map, 0);
		bpf_map__set_value_size(map, 0);
		bpf_map__set_max_entries(map, 16);
	}
	if (bpf_object__load(obj)) {
		FAIL("%s: cannot be loaded: %s (-v shows why)", name, strerror(errno));
		bpf_object__close(obj);
		return NULL;
	}
	return obj;
}

static struct bpf_link *attach(struct bpf_object *obj, const char *name)
{
	return bpf_map__attach_struct_ops(bpf_object__find_map_by_name(obj, name));
}

static int expect_refused(const char *name, const char *const *progs, const char *text)
{
	struct bpf_object *obj;
	struct bpf_link *link;
	int err = 0;

	if (!scheduler_is("disabled"))
		return SKIP("another sched_ext scheduler is there");
	obj = load_scheduler(name, progs);
	if (!obj)
		return 1;
	expect_kernel_log(text);
	link = attach(obj, name);
	if (link)
		err = FAIL("it was attached");
	else if (errno != EINVAL)
		err = FAIL("attaching failed with %s", strerror(errno));
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return err;
}

static int test_no_arena(void)
{
	return expect_refused("no_arena", PROGS("no_arena_init"), "must use a BPF arena map");
}

static int test_two_arenas(void)
{
	return expect_refused("two_arenas", PROGS("second_init", "set_cmask"),
			      "uses multiple arena maps");
}

/* Forks and affinity changes; each of the latter comes with a cmask */
static int be_active(void)
{
	cpu_set_t all, set;

	CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		CHECK(pid > 0);
		CPU_ZERO(&set);
		CPU_SET(i % 2, &set);
		sched_setaffinity(0, sizeof(set), &set);
		CHECK_EQ(waitpid(pid, NULL, 0), pid);
	}
	CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
	return 0;
}

/* What the scheduler saw of the watched task when it may run on CPU 0 only */
static int check_cmasks(struct bpf_object *obj)
{
	__u64 before = VAR(obj, __u64, "nr_set_cmask"), mask;
	cpu_set_t all, one;

	CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	VAR(obj, __s32, "watched_pid") = getpid();
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	mask = VAR(obj, __u64, "last_cmask");
	CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
	CHECK_EQ(__builtin_popcountll(mask), 1);
	CHECK_EQ(__builtin_popcountll(VAR(obj, __u64, "last_cmask")), CPU_COUNT(&all));
	CHECK(VAR(obj, __u64, "nr_set_cmask") >= before + 2);
	return 0;
}

static int run_attached(struct bpf_object *obj, struct arena_counters *c)
{
	CHECK(WAIT_FOR(10, scheduler_is("enabled")));
	CHECK(slab_cache_exists("scx_cmask:"));
	if (be_active() || check_cmasks(obj))
		return 1;
	CHECK(scheduler_is("enabled"));
	if (read_counters(arena_id(obj), c))
		return 1;
	CHECK(c->found);
	return 0;
}

/* Attach, be active, look by way of @check, detach: nothing of it is left */
static int run_scheduler(const char *name, const char *const *progs,
			 int (*check)(struct bpf_object *obj, const struct arena_counters *c))
{
	struct arena_counters c;
	struct bpf_object *obj;
	struct bpf_link *link;
	int err;

	if (!scheduler_is("disabled"))
		return SKIP("another sched_ext scheduler is there");
	obj = load_scheduler(name, progs);
	if (!obj)
		return 1;
	link = attach(obj, name);
	if (link)
		err = run_attached(obj, &c) ?: check(obj, &c);
	else
		err = FAIL("cannot be attached: %s", strerror(errno));
	bpf_link__destroy(link);
	bpf_object__close(obj);
	if (err)
		return err;
	CHECK(WAIT_FOR(20, scheduler_is("disabled")));
	if (!WAIT_FOR(20, !slab_cache_exists("scx_cmask:")))
		return FAIL("its cache is still there after 20 seconds");
	return 0;
}

static int check_one_arena(struct bpf_object *obj, const struct arena_counters *c)
{
	CHECK_EQ(__builtin_popcountll(VAR(obj, __u64, "online_mask")),
		 sysconf(_SC_NPROCESSORS_ONLN));
	CHECK_EQ(c->nr_caches, 1);
	CHECK_EQ(c->no_object + c->interior + c->not_live + c->kernel_owned, 0);
	return 0;
}

static int test_one_arena(void)
{
	return run_scheduler("one_arena", PROGS("one_init", "set_cmask"), check_one_arena);
}

static int check_hostile(struct bpf_object *obj, const struct arena_counters *c)
{
	static const char sentence[] = "): the object belongs to the kernel\nObject: 0x";
	char stream[4096];

	CHECK_EQ(c->kernel_owned, 1);
	CHECK_EQ(c->no_object + c->interior + c->not_live, 0);
	read_stream(obj, "hostile_init", stream, sizeof(stream));
	CHECK(strstr(stream, sentence));
	CHECK(strstr(stream, ", cache scx_cmask:"));
	return 0;
}

static int test_hostile(void)
{
	return run_scheduler("hostile", PROGS("hostile_init", "set_cmask"), check_hostile);
}

/*
 * The scheduler frees every page of its arena and goes on. What the kernel stores
 * there afterwards it stores with no program on the stack: nothing would recover it.
 */
static int run_after_free(int (*provoke)(struct bpf_object *obj))
{
	const char *const *progs = PROGS("one_init", "set_cmask", "cid_online", "cid_offline",
					 "free_all_pages");
	struct bpf_object *obj;
	struct bpf_link *link;
	int err;

	if (!scheduler_is("disabled"))
		return SKIP("another sched_ext scheduler is there");
	obj = load_scheduler("frees", progs);
	if (!obj)
		return 1;
	link = attach(obj, "frees");
	if (!link)
		err = FAIL("cannot be attached: %s", strerror(errno));
	else if (!WAIT_FOR(10, scheduler_is("enabled")))
		err = FAIL("it is not enabled");
	else if (run_prog(obj, "free_all_pages"))
		err = FAIL("the pages cannot be freed");
	else
		err = provoke(obj);
	if (!err && !scheduler_is("enabled"))
		err = FAIL("it was thrown out");
	bpf_link__destroy(link);
	bpf_object__close(obj);
	if (err)
		return err;
	CHECK(WAIT_FOR(20, scheduler_is("disabled")));
	return 0;
}

/* Affinity changes: each fills the scratch mask of its CPU, under the rq lock */
static int change_affinity(struct bpf_object *obj)
{
	return check_cmasks(obj) ?: be_active();
}

static int test_free_scratch(void)
{
	return run_after_free(change_affinity);
}

static int set_online(bool online)
{
	int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY);
	int err;

	if (fd < 0)
		return FAIL("CPU 1 cannot be taken offline: %s", strerror(errno));
	err = write(fd, online ? "1" : "0", 1) != 1 ? errno : 0;
	close(fd);
	return err ? FAIL("CPU 1 does not go %sline: %s", online ? "on" : "off", strerror(err)) : 0;
}

/* A CPU that goes or comes is a bit in the online mask */
static int change_cpus(struct bpf_object *obj)
{
	int err = set_online(false), nr = sysconf(_SC_NPROCESSORS_ONLN);

	if (err)
		return err;
	err = set_online(true);
	if (err)
		return err;
	CHECK_EQ(VAR(obj, __u64, "nr_offline"), 1);
	CHECK_EQ(VAR(obj, __u64, "nr_online"), 1);
	CHECK_EQ(__builtin_popcountll(VAR(obj, __u64, "mask_offline")), nr);
	CHECK_EQ(__builtin_popcountll(VAR(obj, __u64, "mask_online")), nr + 1);
	return 0;
}

static int test_free_online_mask(void)
{
	return run_after_free(change_cpus);
}

/* Pages in which the kernel faulted for the program: slabs and others may have them */
static bool can_have_pages(struct bpf_object *obj, __u32 want, int *err)
{
	*err = run_prog(obj, "count_pages");
	return *err || VAR(obj, __u32, "nr_pages") >= want;
}

static int check_wild(struct bpf_object *obj, const struct arena_counters *c)
{
	static const char report[] = "ERROR: Arena READ access at unmapped address 0x";
	__u64 addr = VAR(obj, __u64, "wild_address"), val, fault_addr;
	static char stream[8192];
	char line[100];
	int err;

	CHECK_EQ(c->no_object + c->interior + c->not_live + c->kernel_owned, 0);
	snprintf(line, sizeof(line), "%s%llx\n", report, addr);
	read_stream(obj, "wild_init_cids", stream, sizeof(stream));
	if (!strstr(stream, line))
		return FAIL("the program's stream lacks '%.*s' but has '%.*s'",
			    (int)strcspn(line, "\n"), line, (int)strcspn(stream, "\n"), stream);
	/* The scratch page is not for user space */
	CHECK_EQ(probe(addr, &val, sizeof(val), &fault_addr), SIGSEGV);
	CHECK_EQ(fault_addr, addr);

	/* A real page takes its place, for all of them */
	CHECK_EQ(run_prog(obj, "page_at_wild"), 0);
	CHECK_EQ(probe(addr, &val, sizeof(val), &fault_addr), 0);
	CHECK_EQ(val, 1000);

	/* 64 pages without that one, the cmasks' and what else there is */
	if (!WAIT_FOR(20, can_have_pages(obj, 60, &err)))
		return FAIL("%u pages can be had where scratch pages were",
			    VAR(obj, __u32, "nr_pages"));
	CHECK_EQ(err, 0);
	return 0;
}

static int test_wild(void)
{
	return run_scheduler("wild", PROGS("wild_init_cids", "set_cmask", "count_pages",
					   "page_at_wild"), check_wild);
}

static int test_reattach(void)
{
	int err;

	for (int i = 0; i < 5; i++) {
		err = run_scheduler("one_arena", PROGS("one_init", "set_cmask"), check_one_arena);
		if (err)
			return err;
	}
	return 0;
}

const struct test sched_tests[] = {
	{ "sched_ext/no_arena", "a cid-form scheduler without an arena is refused", test_no_arena },
	{ "sched_ext/two_arenas", "one with two arenas is refused", test_two_arenas },
	{ "sched_ext/one_arena", "one with an arena gets its cmasks in it, and they go with it",
	  test_one_arena },
	{ "sched_ext/hostile", "a scheduler can neither free a kernel's cmask nor its page",
	  test_hostile },
	{ "sched_ext/free_scratch", "all pages are freed, then affinities change",
	  test_free_scratch },
	{ "sched_ext/free_online_mask", "all pages are freed, then a CPU goes and comes back",
	  test_free_online_mask },
	{ "sched_ext/scratch", "where the kernel faults for a program, it gets the scratch page",
	  test_wild },
	{ "sched_ext/reattach", "attach and detach, five times", test_reattach },
	{}
};
