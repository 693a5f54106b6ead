// SPDX-License-Identifier: GPL-2.0
/* User space and programs share objects through mmap of the arena. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

#define SEED	0x0123456700000000ULL

#define ALL_PROGS PROGS("take", "take_fresh", "check", "give", "give_half", "peek", "poke")

/* The pattern of progs/common.bpf.h */
static void fill(void *p, size_t size, __u64 seed)
{
	for (size_t i = 0; i < size / 8; i++)
		((__u64 *)p)[i] = seed + i;
	for (size_t i = size / 8 * 8; i < size; i++)
		((__u8 *)p)[i] = seed + i;
}

static bool verify(const void *p, size_t size, __u64 seed)
{
	for (size_t i = 0; i < size / 8; i++) {
		if (((const __u64 *)p)[i] != seed + i)
			return false;
	}
	for (size_t i = size / 8 * 8; i < size; i++) {
		if (((const __u8 *)p)[i] != (__u8)(seed + i))
			return false;
	}
	return true;
}

static void set_params(struct bpf_object *obj, __u32 nr, __u32 size, __u64 seed)
{
	VAR(obj, __u32, "nr") = nr;
	VAR(obj, __u32, "size") = size;
	VAR(obj, __u64, "seed") = seed;
}

/* Load the programs, run @fn with them, close */
static int with_share(__u32 flags, int (*fn)(struct bpf_object *obj))
{
	struct bpf_object *obj = open_image("share", ALL_PROGS);
	struct bpf_map *map;
	int err = 1;

	if (!obj)
		return 1;
	map = bpf_object__find_map_by_name(obj, "arena");
	bpf_map__set_map_flags(map, BPF_F_MMAPABLE | flags);
	if (bpf_object__load(obj))
		FAIL("cannot be loaded: %s", strerror(errno));
	else
		err = fn(obj);
	bpf_object__close(obj);
	return err;
}

static int read_write(struct bpf_object *obj)
{
	__u64 *objs = find_var(obj, "objs");
	static const __u32 sizes[] = { 16, 17, 100, 1025, 4095, 4096, 4097, 70000 };
	const __u32 nr = 40;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		set_params(obj, nr, sizes[i], SEED);
		CHECK_EQ(run_prog(obj, "take"), 0);
		for (__u32 j = 0; j < nr; j++)
			CHECK(verify((void *)objs[j], sizes[i], SEED + j));
		for (__u32 j = 0; j < nr; j++)
			fill((void *)objs[j], sizes[i], ~SEED + j);
		set_params(obj, nr, sizes[i], ~SEED);
		CHECK_EQ(run_prog(obj, "check"), 0);
		CHECK_EQ(run_prog(obj, "give"), 0);
	}
	return 0;
}

static int test_read_write(void)
{
	return with_share(0, read_write);
}

/*
 * A copy of each page of an object is looked at. Pages may be gone by now: without
 * BPF_F_SEGV_ON_FAULT looking at them would make new ones.
 */
static int scan_pages(const __u64 *objs, __u32 nr, int (*check)(const __u64 *page))
{
	static __u64 page[65536 / 8];
	__u64 fault_addr;
	int seen = 0;

	for (__u32 i = 0; i < nr; i++) {
		if (!objs[i] || probe(objs[i] & -PAGE, page, PAGE, &fault_addr))
			continue;
		if (check(page))
			return 1;
		seen++;
	}
	CHECK(seen);
	return 0;
}

static int page_is_zero(const __u64 *page)
{
	for (long i = 0; i < PAGE / 8; i++) {
		if (page[i])
			return FAIL("0x%llx at 0x%lx of a fresh page", page[i], i * 8);
	}
	return 0;
}

/* Kernel addresses begin with ff on both architectures, with 5 levels on x86, too */
static int page_has_no_address(const __u64 *page)
{
	for (long i = 0; i < PAGE / 8; i++) {
		if (page[i] >> 56 == 0xff)
			return FAIL("0x%llx at 0x%lx of a slab page", page[i], i * 8);
	}
	return 0;
}

static int fresh(struct bpf_object *obj)
{
	__u64 *objs = find_var(obj, "objs");

	set_params(obj, 1000, 0, 0);
	CHECK_EQ(run_prog(obj, "take_fresh"), 0);
	if (scan_pages(objs, 1000, page_is_zero))
		return 1;
	return run_prog(obj, "give");
}

static int test_fresh(void)
{
	return with_share(0, fresh);
}

static int no_address(struct bpf_object *obj)
{
	static __u64 old[1500];
	__u64 *objs = find_var(obj, "objs");

	set_params(obj, 1500, 0, SEED);
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(run_prog(obj, "take"), 0);
		memcpy(old, objs, sizeof(old));
		if (scan_pages(old, 1500, page_has_no_address))
			return 1;
		CHECK_EQ(run_prog(obj, "give_half"), 0);
		if (scan_pages(old, 1500, page_has_no_address))
			return 1;
		CHECK_EQ(run_prog(obj, "give"), 0);
		/* Free objects' pages: some are still slabs, some are gone */
		if (scan_pages(old, 1500, page_has_no_address))
			return 1;
	}
	return 0;
}

static int test_no_address(void)
{
	return with_share(BPF_F_SEGV_ON_FAULT, no_address);
}

static bool kernel_was_told(const char *word)
{
	static char line[4096];
	FILE *f = fopen("/proc/cmdline", "r");
	bool told = f && fgets(line, sizeof(line), f) && strstr(line, word);

	if (f)
		fclose(f);
	return told;
}

/* Freed memory is nobody's: it neither changes by itself, nor does a write harm */
static int free_untouched(struct bpf_object *obj)
{
	static const __u64 zeroes[8];
	static __u64 old[500];
	__u64 *objs = find_var(obj, "objs");
	bool zeroed = kernel_was_told("init_on_free=1");
	struct arena_counters c;

	/* Enough of them live that the slabs stay */
	set_params(obj, 500, 64, SEED);
	CHECK_EQ(run_prog(obj, "take"), 0);
	memcpy(old, objs, sizeof(old));
	CHECK_EQ(run_prog(obj, "give_half"), 0);
	for (int i = 0; i < 500; i += 2)
		CHECK(zeroed ? !memcmp((void *)old[i], zeroes, 64) :
			       verify((void *)old[i], 64, SEED + i));
	for (int i = 0; i < 500; i += 2)
		memset((void *)old[i], 0xff, 64);
	for (int i = 1; i < 500; i += 2)
		CHECK(verify((void *)old[i], 64, SEED + i));
	/* The allocator does not notice: take() finds zeroes */
	for (int i = 1; i < 500; i += 2)
		memset((void *)old[i], 0xee, 64);
	CHECK_EQ(run_prog(obj, "give"), 0);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(run_prog(obj, "take"), 0);
		CHECK_EQ(run_prog(obj, "check"), 0);
		for (int j = 0; j < 500; j++)
			memset((void *)objs[j], 0xff, 64);
		CHECK_EQ(run_prog(obj, "give"), 0);
	}
	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK_EQ(c.allocs - c.frees, 0);
	CHECK_EQ(c.no_object + c.interior + c.not_live, 0);
	return 0;
}

static int test_free_untouched(void)
{
	return with_share(0, free_untouched);
}

static void *arena_base(struct bpf_object *obj, size_t *size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, "arena");
	size_t unused;

	*size = (size_t)bpf_map__max_entries(map) * PAGE;
	return bpf_map__initial_value(map, &unused);
}

static void *map_arena(struct bpf_object *obj, void *base, size_t size)
{
	int fd = bpf_map__fd(bpf_object__find_map_by_name(obj, "arena"));

	return mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

/* The child has no mapping after fork (VM_DONTCOPY): it makes one of its own */
static int child(struct bpf_object *obj, __u32 nr, __u32 size)
{
	__u64 objs[100];
	size_t arena_size;
	void *base = arena_base(obj, &arena_size);

	memcpy(objs, find_var(obj, "objs"), sizeof(objs));
	if (map_arena(obj, base, arena_size) != base)
		return 2;
	for (__u32 i = 0; i < nr; i++) {
		if (!verify((void *)objs[i], size, SEED + i))
			return 3;
	}
	for (__u32 i = 0; i < nr; i++)
		fill((void *)objs[i], size, SEED * 3 + i);
	return 0;
}

static int two_processes(struct bpf_object *obj)
{
	__u64 *objs = find_var(obj, "objs");
	int status;
	pid_t pid;

	set_params(obj, 100, 130, SEED);
	CHECK_EQ(run_prog(obj, "take"), 0);
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(child(obj, 100, 130));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	/* 2: it cannot mmap; 3: it sees something else */
	CHECK_EQ(status, 0);
	for (int i = 0; i < 100; i++)
		CHECK(verify((void *)objs[i], 130, SEED * 3 + i));
	set_params(obj, 100, 130, SEED * 3);
	CHECK_EQ(run_prog(obj, "check"), 0);
	return run_prog(obj, "give");
}

static int test_two_processes(void)
{
	return with_share(0, two_processes);
}

static int remap(struct bpf_object *obj)
{
	__u64 *objs = find_var(obj, "objs");
	size_t size;
	void *base = arena_base(obj, &size);

	set_params(obj, 200, 0, SEED);
	CHECK_EQ(run_prog(obj, "take"), 0);
	for (int i = 0; i < 5; i++) {
		/* Faulted in, then gone, then again */
		CHECK(verify((void *)objs[0], 16, SEED));
		CHECK_EQ(munmap(base, size), 0);
		CHECK_EQ(run_prog(obj, "check"), 0);
		CHECK(map_arena(obj, base, size) == base);
		CHECK(verify((void *)objs[0], 16, SEED));
		CHECK(verify((void *)objs[11], 9000, SEED + 11));
	}
	return run_prog(obj, "give");
}

static int test_remap(void)
{
	return with_share(0, remap);
}

static int proc_mem_of(struct bpf_object *obj, int fd, __u32 size)
{
	__u64 *objs = find_var(obj, "objs");
	static char buf[10000];

	set_params(obj, 3, size, SEED);
	CHECK_EQ(run_prog(obj, "take"), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pread(fd, buf, size, objs[i]), size);
		CHECK(verify(buf, size, SEED + i));
		fill(buf, size, SEED * 5 + i);
		CHECK_EQ(pwrite(fd, buf, size, objs[i]), size);
		CHECK(verify((void *)objs[i], size, SEED * 5 + i));
	}
	set_params(obj, 3, size, SEED * 5);
	CHECK_EQ(run_prog(obj, "check"), 0);
	return run_prog(obj, "give");
}

static int proc_mem(struct bpf_object *obj)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int err;

	if (fd < 0)
		return SKIP("/proc/self/mem: %s", strerror(errno));
	err = proc_mem_of(obj, fd, 100) ?: proc_mem_of(obj, fd, 4096) ?:
	      proc_mem_of(obj, fd, 9000);
	close(fd);
	return err;
}

static int test_proc_mem(void)
{
	return with_share(0, proc_mem);
}

/* How many caches an arena has after @prog was loaded; -1: it has no slab at all */
static int nr_caches(const char *image, const char *prog)
{
	struct bpf_object *obj = load_image(image, PROGS(prog));
	struct arena_counters c;
	int err;

	if (!obj)
		return -2;
	err = read_counters(arena_id(obj), &c);
	bpf_object__close(obj);
	if (err)
		return -2;
	return c.found ? c.nr_caches : -1;
}

static int test_lazy_classes(void)
{
	CHECK_EQ(nr_caches("share", "peek"), -1);
	CHECK_EQ(nr_caches("share", "page_at"), -1);
	CHECK_EQ(nr_caches("sizes", "test_fixed_sizes"), 1);
	/* A size that the verifier does not know may be any: 16 to 192, then powers of two */
	CHECK_EQ(nr_caches("share", "take"), 6 + __builtin_ctzl(PAGE / 128));
	return 0;
}

/* All slabs of 64 bytes are on @node, and there are some */
static int slabs_are_of(struct bpf_object *obj, int node)
{
	unsigned long long all, here;
	struct arena_counters c;
	char path[128];
	int at, nr;
	FILE *f;

	if (read_counters(arena_id(obj), &c))
		return 1;
	snprintf(path, sizeof(path), "/sys/kernel/slab/arena:%llu:64/slabs", c.id);
	f = fopen(path, "r");
	CHECK(f);
	nr = fscanf(f, "%llu N%d=%llu", &all, &at, &here);
	fclose(f);
	printf("# node %d: %llu slabs, %llu of them on node %d\n", node, all, here, at);
	CHECK_EQ(nr, 3);
	CHECK(all >= 500 / (PAGE / 64));
	CHECK_EQ(at, node);
	CHECK_EQ(here, all);
	return 0;
}

/* With slab_strict_numa each object is of the node that the task's policy asks for */
static int test_policy(void)
{
	unsigned long mask;
	int err = 0;

	if (access("/sys/devices/system/node/node1", F_OK) || !kernel_was_told("slab_strict_numa"))
		return SKIP("not two nodes and slab_strict_numa");
	for (int node = 0; node < 2 && !err; node++) {
		struct bpf_object *obj = load_image("share", PROGS("take", "give"));

		if (!obj)
			return 1;
		mask = 1ul << node;
		CHECK(!syscall(__NR_set_mempolicy, MPOL_BIND, &mask, 8 * sizeof(mask)));
		set_params(obj, 500, 64, SEED);
		err = run_prog(obj, "take") ?: slabs_are_of(obj, node) ?: run_prog(obj, "give");
		CHECK(!syscall(__NR_set_mempolicy, MPOL_DEFAULT, NULL, 0));
		bpf_object__close(obj);
	}
	return err;
}

const struct test share_tests[] = {
	{ "share/lazy_classes", "an arena has the classes that its programs can ask for, if any",
	  test_lazy_classes },
	{ "share/read_write", "user space reads what a program wrote, and the other way round",
	  test_read_write },
	{ "share/fresh_pages", "a fresh slab page is zero everywhere", test_fresh },
	{ "share/no_address", "no kernel address is in a slab page, also after frees and reuse",
	  test_no_address },
	{ "share/free_untouched", "free objects keep their content and may be written to",
	  test_free_untouched },
	{ "share/two_processes", "a second process that maps the arena sees and changes the same",
	  test_two_processes },
	{ "share/remap", "objects stay while the arena is not mapped", test_remap },
	{ "share/proc_mem", "/proc/self/mem reads and writes objects", test_proc_mem },
	{ "share/policy", "objects are of the node that the task's policy asks for", test_policy },
	{}
};
