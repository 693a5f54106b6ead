// SPDX-License-Identifier: GPL-2.0
/*
 * Frees that have to be refused. Each is counted by the kernel, and told to the
 * program in its own sentence; none of them changes anything else.
 */
#define ARENA_PAGES	256
#include "common.bpf.h"

STDERR("): the object is free already\nObject: 0x")
STDERR(", offset 0, size 64, cache arena:")
TEST(double_free, "the second free of an object is refused")
{
	u8 __arena *p = alloc(64);

	CHECK(p);
	report.not_live = 2;
	release(p);
	release(p);
	release(p);
	return 0;
}

STDERR("): the object is free already\nObject: 0x")
STDERR(", offset 0, size 128, cache arena:")
TEST(free_after_reuse, "an object that was freed, allocated again and freed is free")
{
	u8 __arena *p = alloc(128), *q = NULL;
	u32 i;

	CHECK(p);
	release(p);
	/* The same one, sooner or later: the free ones are few */
	bpf_for(i, 0, 64) {
		q = alloc(128);
		CHECK(q);
		if (q == p)
			break;
		release(q);
	}
	CHECK_EQ((u64)q, (u64)p);
	TRY(verify_zero(q, 128));
	report.not_live = 1;
	release(q);
	release(p);
	return 0;
}

STDERR("): it does not point to the start of an object\n")
STDERR(", offset 96, size 192, cache arena:")
STDERR("Object: none, behind the last one of a page of cache arena:")
TEST(interior, "a pointer into an object, or behind a slab's last one, is refused")
{
	u8 __arena *p = alloc(192), *page;

	CHECK(p);
	fill(p, 192, 5);
	report.interior = 5;
	release(p + 1);
	release(p + 8);
	release(p + 96);
	release(p + 191);
	/* 21 objects of 192 bytes leave 64 bytes of a page of 4 KiB */
	page = (u8 __arena *)((u64)p & ~((u64)PAGE_SIZE - 1));
	release(page + PAGE_SIZE / 192 * 192);
	TRY(verify(p, 192, 5));
	release(p);
	return 0;
}

STDERR("): the object was never allocated\nObject: 0x")
STDERR(", offset 0, size 256, cache arena:")
TEST(never_allocated, "an object of a slab that was never handed out is refused")
{
	u8 __arena *p = alloc(256);
	u64 page = (u64)p & ~((u64)PAGE_SIZE - 1);
	u32 i;

	CHECK(p);
	report.not_live = PAGE_SIZE / 256 - 1;
	bpf_for(i, 0, PAGE_SIZE / 256) {
		if (page + i * 256 != (u64)p)
			release(page + i * 256);
	}
	fill(p, 256, 5);
	TRY(verify(p, 256, 5));
	release(p);
	return 0;
}

STDERR("): there is no object of bpf_arena_alloc(): an ordinary page, for bpf_arena_free_pages()\n")
NO_STDERR("Object:")
TEST(foreign_page, "a page of bpf_arena_alloc_pages() is no object, and stays")
{
	u8 __arena *page = alloc_page_at(NULL), *p = alloc(32);

	CHECK(page);
	CHECK(p);
	fill(page, PAGE_SIZE, 3);
	report.no_object = 2;
	release(page);
	release(page + 32);
	TRY(verify(page, PAGE_SIZE, 3));
	bpf_arena_free_pages(&arena, (void __arena *)page, 1);
	release(p);
	return 0;
}

STDERR("): there is no object of bpf_arena_alloc(): no page is there\n")
STDERR("Hint: bits 63 to 32 of the pointer are not of this arena\n")
NO_STDERR("Object:")
TEST(no_page, "an address without a page, in the arena or beyond, is refused")
{
	u64 start = ((struct bpf_arena *)(void *)&arena)->user_vm_start;
	u8 __arena *p = alloc(32);

	CHECK(p);
	report.no_object = 5;
	release(start + (u64)(ARENA_PAGES - 1) * PAGE_SIZE);
	release(start + (u64)ARENA_PAGES * PAGE_SIZE);
	release(start - 1);
	/* Only the low half of a pointer counts */
	release(0xffffffff);
	release((u64)-1);
	release(p);
	return 0;
}

TEST(free_null, "a free of NULL is nothing, whatever its upper half is")
{
	u8 __arena *p = alloc(32);

	CHECK(p);
	release(NULL);
	release(0xdeadbeef00000000);
	release(p);
	return 0;
}

TEST(upper_half, "the upper half of a pointer does not count")
{
	u8 __arena *p = alloc(32);

	CHECK(p);
	release((u32)(u64)p | 0xdeadbeef00000000);
	return 0;
}

STDERR("CPU: ")
STDERR("Call trace:\n")
STDERR("ERROR: bpf_arena_free(0x")
TEST(report_trace, "the report has the address, the CPU and a call trace")
{
	u8 __arena *p = alloc(16);

	CHECK(p);
	report.not_live = 1;
	release(p);
	release(p);
	return 0;
}

STDERR("): the object is free already\nObject: 0x")
STDERR(", offset 0, size 64, cache arena:")
TEST(storm, "a hundred thousand bad frees are counted, and the allocator goes on")
{
	u8 __arena *p = alloc(64), *q;
	u32 i;

	CHECK(p);
	release(p);
	report.not_live = 100000;
	bpf_for(i, 0, 100000)
		release(p);
	q = alloc(64);
	CHECK(q);
	fill(q, 64, 9);
	TRY(verify(q, 64, 9));
	release(q);
	return 0;
}

/* ---- the tracepoint, by traced.c ---- */

struct bad_event {
	u64 uaddr;
	u64 object;
	u32 map_id;
	u32 kind;
	u32 size;
	char cache[8];		/* the beginning of its name */
};

struct bad_event events[8];
u64 nr_events;
bool free_in_turn;

SEC("tp_btf/bpf_arena_bad_free")
int BPF_PROG(on_bad_free, u32 map_id, u64 uaddr, u32 kind, u64 object, u32 size,
	     const char *cache)
{
	struct bad_event *e = &events[nr_events++ % 8];

	e->uaddr = uaddr;
	e->object = object;
	e->map_id = map_id;
	e->kind = kind;
	e->size = size;
	bpf_probe_read_kernel_str(e->cache, sizeof(e->cache), cache);
	if (free_in_turn)
		release(uaddr);
	else
		touch_arena();
	return 0;
}

u64 expected[3][2];	/* of each event: what was freed, and the object there */

SEC("syscall")
int make_events(void *ctx)
{
	u8 __arena *p = alloc(192), *page = alloc_page_at(NULL);

	CHECK(p);
	CHECK(page);
	release(p + 100);
	release(p);
	release(p);
	release(page);
	expected[0][0] = (u64)p + 100;
	expected[0][1] = (u64)p;
	expected[1][0] = (u64)p;
	expected[1][1] = (u64)p;
	expected[2][0] = (u64)page;
	return 0;
}

/* For user space, which has no vmlinux.h */
const u32 kinds[3] = { ARENA_BAD_INTERIOR, ARENA_BAD_DOUBLE, ARENA_BAD_PAGE };

/* For bad_free/page_going: what is freed, and when */
u64 going;
bool holds;
bool may_free;

SEC("syscall")
int free_one(void *ctx)
{
	u8 __arena *p = alloc(2048);

	CHECK(p);
	going = (u64)p;
	release(p);
	return 0;
}

/* Without us there is a grace period, and then nothing is left of the page */
SEC("syscall")
int free_what_goes(void *ctx)
{
	u64 end = bpf_ktime_get_ns() + 10 * SEC_NS;
	u32 i, j;

	bpf_rcu_read_lock();
	*(volatile bool *)&holds = true;
	bpf_for(i, 0, 1000) {
		bpf_for(j, 0, 1000000) {
			if (*(volatile bool *)&may_free || bpf_ktime_get_ns() > end)
				break;
		}
		if (*(volatile bool *)&may_free || bpf_ktime_get_ns() > end)
			break;
	}
	release(going);
	bpf_rcu_read_unlock();
	return 0;
}
