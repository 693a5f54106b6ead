// SPDX-License-Identifier: GPL-2.0
/* bpf_arena_alloc() above a page. */
#define ARENA_PAGES	600
#define ARENA_FIXED
#include "common.bpf.h"

/* So many pages, and bytes more or less */
static const struct {
	u32 pages;
	s32 bytes;
} sizes[] = { { 1, 1 }, { 2, -1 }, { 3, 0 }, { 17, 0 }, { 17, 1 }, { 256, 0 } };

/* Pages come back through a worker, after a grace period */
static __noinline u64 alloc_patiently(u32 size)
{
	u64 end = bpf_ktime_get_ns() + 20 * SEC_NS;
	u8 __arena *p;
	u32 i;

	bpf_for(i, 0, BPF_MAX_LOOPS) {
		p = alloc(size);
		if (p)
			return (u64)p;
		if (bpf_ktime_get_ns() > end)
			break;
	}
	return 0;
}

static __noinline int check_large(u32 size)
{
	u8 __arena *p = alloc(size);

	CHECK(p);
	CHECK_OP((u32)(u64)p, !=, 0);
	CHECK_EQ((u32)(u64)p % PAGE_SIZE, 0);
	TRY(verify_zero(p, size));
	fill(p, size, size);
	TRY(verify(p, size, size));
	release(p);
	return 0;
}

TEST(large, "objects above a page: aligned to pages, zeroed, writable, all of them")
{
	u32 i;

	bpf_for(i, 0, sizeof(sizes) / sizeof(sizes[0]))
		TRY(check_large(sizes[i].pages * PAGE_SIZE + sizes[i].bytes));
	return 0;
}

TEST(large_reuse, "pages of a freed large object come back, zeroed, twenty times over")
{
	u8 __arena *p;
	u32 i;

	/* Two of them do not fit */
	bpf_for(i, 0, 20) {
		p = (u8 __arena *)alloc_patiently(400 * PAGE_SIZE);
		CHECK(p);
		TRY(verify_zero(p, 400 * PAGE_SIZE));
		fill(p, 400 * PAGE_SIZE, 0xa5a5a5a5a5a5a5a5);
		release(p);
	}
	return 0;
}

TEST(large_and_small, "large objects and slabs live side by side")
{
	u8 __arena *large, *small, *other;

	large = alloc(3 * PAGE_SIZE);
	CHECK(large);
	small = alloc(100);
	CHECK(small);
	other = alloc(5 * PAGE_SIZE - 7);
	CHECK(other);
	fill(large, 3 * PAGE_SIZE, 1ull << 32);
	fill(small, 100, 2ull << 32);
	fill(other, 5 * PAGE_SIZE - 7, 3ull << 32);
	TRY(verify(large, 3 * PAGE_SIZE, 1ull << 32));
	TRY(verify(small, 100, 2ull << 32));
	TRY(verify(other, 5 * PAGE_SIZE - 7, 3ull << 32));
	release(small);
	release(other);
	TRY(verify(large, 3 * PAGE_SIZE, 1ull << 32));
	release(large);
	return 0;
}

STDERR("): it does not point to the start of an object of whole pages\nObject: 0x")
STDERR(", whole pages\n")
TEST(large_free_tail, "a free of a large object's second or last page is refused")
{
	u8 __arena *p = alloc(3 * PAGE_SIZE);

	CHECK(p);
	report.interior = 2;
	release(p + PAGE_SIZE);
	release(p + 2 * PAGE_SIZE);
	fill(p, 3 * PAGE_SIZE, 7);
	TRY(verify(p, 3 * PAGE_SIZE, 7));
	release(p);
	return 0;
}

STDERR("): it does not point to the start of an object of whole pages\nObject: 0x")
STDERR(", whole pages\n")
TEST(large_free_interior, "a free inside of a large object is refused")
{
	u8 __arena *p = alloc(2 * PAGE_SIZE);

	CHECK(p);
	report.interior = 4;
	release(p + 1);
	release(p + 8);
	release(p + PAGE_SIZE - 1);
	release(p + PAGE_SIZE + 16);
	fill(p, 2 * PAGE_SIZE, 7);
	TRY(verify(p, 2 * PAGE_SIZE, 7));
	release(p);
	return 0;
}

/* Whether the worker was there between them or not makes the second sentence differ */
STDERR("ERROR: bpf_arena_free(0x")
TEST(large_double_free, "a large object can be freed once")
{
	u8 __arena *p = alloc(3 * PAGE_SIZE);
	u8 __arena *q = alloc(17 * PAGE_SIZE);

	CHECK(p);
	CHECK(q);
	bpf_preempt_disable();
	release(q);
	release(q);
	bpf_preempt_enable();
	release(p);
	release(p);
	/* not_live or, after the worker, no_object: the runner adds them up */
	report.not_live = 2;
	return 0;
}

TEST(large_whole_arena, "an object may be as large as all of the arena but for the page at 0")
{
	u8 __arena *p;

	CHECK(!alloc(ARENA_PAGES * PAGE_SIZE));
	p = alloc((ARENA_PAGES - 1) * PAGE_SIZE);
	CHECK(p);
	CHECK_EQ((u32)(u64)p, PAGE_SIZE);
	CHECK(!alloc(PAGE_SIZE + 1));
	fill(p, (ARENA_PAGES - 1) * PAGE_SIZE, 1);
	TRY(verify(p, (ARENA_PAGES - 1) * PAGE_SIZE, 1));
	release(p);
	p = (u8 __arena *)alloc_patiently((ARENA_PAGES - 1) * PAGE_SIZE);
	CHECK(p);
	release(p);
	return 0;
}
