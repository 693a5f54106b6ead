// SPDX-License-Identifier: GPL-2.0
/* What happens to accesses, by user space and by programs, where no object is. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arena_slab.h"

#define ARENA_PAGES		1024	/* of progs/share.bpf.c */

static sigjmp_buf env;
static volatile __u64 faulted_at;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	faulted_at = (__u64)info->si_addr;
	siglongjmp(env, sig);
}

int probe(__u64 addr, void *buf, size_t size, __u64 *fault_addr)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct sigaction segv, bus;
	int sig;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	faulted_at = 0;
	sig = sigsetjmp(env, 1);
	for (size_t i = 0; !sig && i < size / sizeof(__u64); i++)
		((volatile __u64 *)buf)[i] = ((volatile __u64 *)addr)[i];
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	*fault_addr = faulted_at;
	return sig;
}

static int check_segv(__u64 addr)
{
	__u64 val, fault_addr;

	CHECK_EQ(probe(addr, &val, sizeof(val), &fault_addr), SIGSEGV);
	CHECK_EQ(fault_addr, addr);
	return 0;
}

static int check_readable(__u64 addr, __u64 expected)
{
	__u64 val = 0, fault_addr;

	CHECK_EQ(probe(addr, &val, sizeof(val), &fault_addr), 0);
	CHECK_EQ(val, expected);
	return 0;
}

static int with_share(__u32 flags, int (*fn)(struct bpf_object *obj, __u64 base))
{
	struct bpf_object *obj;
	struct bpf_map *map;
	size_t size;
	int err = 1;

	obj = open_image("share", PROGS("take", "give", "peek", "poke", "page_at"));
	if (!obj)
		return 1;
	map = bpf_object__find_map_by_name(obj, "arena");
	bpf_map__set_map_flags(map, BPF_F_MMAPABLE | flags);
	if (bpf_object__load(obj))
		FAIL("cannot be loaded: %s", strerror(errno));
	else
		err = fn(obj, (__u64)bpf_map__initial_value(map, &size));
	bpf_object__close(obj);
	return err;
}

static int take(struct bpf_object *obj, __u32 nr, __u32 size)
{
	VAR(obj, __u32, "nr") = nr;
	VAR(obj, __u32, "size") = size;
	VAR(obj, __u64, "seed") = 1000;
	return run_prog(obj, "take");
}

/*
 * An object as large as the arena makes the kernel look for what its caches hold
 * idle. When it is there at last it has done its duty.
 */
static void drain(struct bpf_object *obj)
{
	if (!take(obj, 1, ARENA_PAGES * PAGE))
		run_prog(obj, "give");
}

/* A page leaves the kernel's page table first, then user space's, then it is freed */
static bool is_empty(struct bpf_object *obj, struct arena_counters *c)
{
	drain(obj);
	return !read_counters(arena_id(obj), c) && c->found && !c->pages &&
	       c->slabs_freed == c->slabs_mapped;
}

/* Large objects' pages are not counted when they are freed: they may be a bit late */
static bool is_gone(__u64 addr)
{
	__u64 val, fault_addr;

	return probe(addr, &val, sizeof(val), &fault_addr) == SIGSEGV;
}

static int segv(struct bpf_object *obj, __u64 base)
{
	__u64 *objs = find_var(obj, "objs");

	CHECK_EQ(take(obj, 10, 100), 0);
	for (int i = 0; i < 10; i++) {
		if (check_readable(objs[i], 1000 + i))
			return 1;
	}
	return check_segv(base + (ARENA_PAGES - 1) * PAGE) ?:
	       check_segv(base + (ARENA_PAGES / 2) * PAGE + 8) ?: run_prog(obj, "give");
}

static int test_segv(void)
{
	return with_share(BPF_F_SEGV_ON_FAULT, segv);
}

static int segv_after_free(struct bpf_object *obj, __u64 base)
{
	static __u64 old[300];
	__u64 *objs = find_var(obj, "objs");
	struct arena_counters c;

	(void)base;
	CHECK_EQ(take(obj, 300, 0), 0);
	memcpy(old, objs, sizeof(old));
	/* User space has all of them in its page tables */
	for (int i = 0; i < 300; i++) {
		if (check_readable(old[i], 1000 + i))
			return 1;
	}
	CHECK_EQ(run_prog(obj, "give"), 0);
	if (!WAIT_FOR(20, is_empty(obj, &c)))
		return FAIL("%llu pages, %lld slabs are left in an arena without objects",
			    c.pages, c.slabs_mapped - c.slabs_freed);
	for (int i = 0; i < 300; i++) {
		if (!WAIT_FOR(2, is_gone(old[i])))
			return FAIL("0x%llx can still be read", old[i]);
	}
	return 0;
}

static int test_segv_after_free(void)
{
	return with_share(BPF_F_SEGV_ON_FAULT, segv_after_free);
}

/* Without the flag user space gets an ordinary page where there is none */
static int lazy_page(struct bpf_object *obj, __u64 base)
{
	__u64 *objs = find_var(obj, "objs");
	__u64 addr = base + 700 * PAGE + 16;

	if (check_readable(addr, 0))
		return 1;
	*(__u64 *)addr = 77;
	objs[0] = addr;
	CHECK_EQ(run_prog(obj, "peek"), 0);
	CHECK_EQ(VAR(obj, __u64, "value"), 77);
	/* A slab goes elsewhere */
	CHECK_EQ(take(obj, ARENA_PAGES - 50, 4096), 0);
	for (int i = 0; i < ARENA_PAGES - 50; i++)
		CHECK((objs[i] & -PAGE) != (addr & -PAGE));
	CHECK_EQ(*(__u64 *)addr, 77);
	return run_prog(obj, "give");
}

static int test_lazy_page(void)
{
	return with_share(0, lazy_page);
}

/*
 * A program's own access needs no scratch page: it reads 0, and goes on. What the
 * kernel does for it is another matter, see sched.c.
 */
static int wild_access(struct bpf_object *obj, __u64 base)
{
	static const char report[] = "ERROR: Arena READ access at unmapped address 0x";
	__u64 *objs = find_var(obj, "objs");
	__u64 addr = base + 333 * PAGE + 24;
	char stream[4096], line[100];

	snprintf(line, sizeof(line), "%s%llx\n", report, addr);
	objs[0] = addr;
	VAR(obj, __u64, "value") = 99;
	CHECK_EQ(run_prog(obj, "peek"), 0);
	CHECK_EQ(VAR(obj, __u64, "value"), 0);
	read_stream(obj, "peek", stream, sizeof(stream));
	if (!strstr(stream, line))
		return FAIL("the program's stream lacks '%.*s' but has '%.*s'",
			    (int)strcspn(line, "\n"), line, (int)strcspn(stream, "\n"), stream);

	/* A page that comes later is as good as any */
	objs[0] = addr - 24;
	CHECK_EQ(run_prog(obj, "page_at"), 0);
	objs[0] = addr;
	VAR(obj, __u64, "value") = 55;
	CHECK_EQ(run_prog(obj, "poke"), 0);
	if (check_readable(addr, 55) || check_readable(addr - 24, 0))
		return 1;
	read_stream(obj, "poke", stream, sizeof(stream));
	CHECK(!stream[0]);
	return 0;
}

static int test_wild_access(void)
{
	return with_share(0, wild_access);
}

const struct test fault_tests[] = {
	{ "fault/segv", "with BPF_F_SEGV_ON_FAULT objects can be read, and nothing else",
	  test_segv },
	{ "fault/segv_after_free", "the pages of freed objects leave user space's page tables",
	  test_segv_after_free },
	{ "fault/lazy_page", "without it user space gets an ordinary page, which slabs respect",
	  test_lazy_page },
	{ "fault/wild_access", "a program's access to an address without a page is reported",
	  test_wild_access },
	{}
};
