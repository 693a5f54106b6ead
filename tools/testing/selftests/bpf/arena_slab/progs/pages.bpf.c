// SPDX-License-Identifier: GPL-2.0
/* bpf_arena_free_pages() and slabs: it takes ordinary pages and nothing else. */
#define ARENA_PAGES	64
#include "common.bpf.h"

static __always_inline u64 arena_start(void)
{
	return ((struct bpf_arena *)(void *)&arena)->user_vm_start;
}

TEST(free_range, "freeing all pages of the arena leaves slabs and large objects alone")
{
	u8 __arena *a, *b, *small, *large;

	a = alloc_page_at(NULL);
	CHECK(a);
	small = alloc(300);
	CHECK(small);
	large = alloc(3 * PAGE_SIZE);
	CHECK(large);
	b = alloc_page_at(NULL);
	CHECK(b);
	fill(small, 300, 1ull << 32);
	fill(large, 3 * PAGE_SIZE, 2ull << 32);

	bpf_arena_free_pages(&arena, (void __arena *)arena_start(), ARENA_PAGES);
	TRY(verify(small, 300, 1ull << 32));
	TRY(verify(large, 3 * PAGE_SIZE, 2ull << 32));

	/* The ordinary ones are free: they can be had again, at their place, zeroed */
	CHECK_EQ((u64)alloc_page_at(a), (u64)a);
	CHECK_EQ((u64)alloc_page_at(b), (u64)b);
	TRY(verify_zero(a, PAGE_SIZE));
	TRY(verify_zero(b, PAGE_SIZE));
	bpf_arena_free_pages(&arena, (void __arena *)a, 1);
	bpf_arena_free_pages(&arena, (void __arena *)b, 1);

	TRY(verify(small, 300, 1ull << 32));
	TRY(verify(large, 3 * PAGE_SIZE, 2ull << 32));
	release(small);
	release(large);
	return 0;
}

TEST(free_one, "freeing the one page of a slab, or of a large object, does nothing")
{
	u8 __arena *small = alloc(16), *large = alloc(2 * PAGE_SIZE);
	u8 __arena *slab = (u8 __arena *)((u64)small & ~((u64)PAGE_SIZE - 1));

	CHECK(small);
	CHECK(large);
	fill(small, 16, 1);
	fill(large, 2 * PAGE_SIZE, 2);
	bpf_arena_free_pages(&arena, (void __arena *)slab, 1);
	bpf_arena_free_pages(&arena, (void __arena *)large, 1);
	bpf_arena_free_pages(&arena, (void __arena *)(large + PAGE_SIZE), 1);
	bpf_arena_free_pages(&arena, (void __arena *)large, 2);
	TRY(verify(small, 16, 1));
	TRY(verify(large, 2 * PAGE_SIZE, 2));
	release(small);
	release(large);
	return 0;
}

TEST(alloc_over, "bpf_arena_alloc_pages() does not get a slab's or a large object's place")
{
	u8 __arena *small = alloc(16), *large = alloc(2 * PAGE_SIZE);
	u8 __arena *slab = (u8 __arena *)((u64)small & ~((u64)PAGE_SIZE - 1));

	CHECK(small);
	CHECK(large);
	CHECK(!alloc_page_at(slab));
	CHECK(!alloc_page_at(large));
	CHECK(!alloc_page_at(large + PAGE_SIZE));
	release(small);
	release(large);
	return 0;
}

TEST(free_range_no_sleep, "the same under rcu_read_lock(), where a worker frees the pages")
{
	u64 end = bpf_ktime_get_ns() + 20 * SEC_NS;
	u8 __arena *a, *small, *large, *p = NULL;
	u32 i;

	a = alloc_page_at(NULL);
	CHECK(a);
	small = alloc(300);
	CHECK(small);
	large = alloc(3 * PAGE_SIZE);
	CHECK(large);
	fill(small, 300, 1ull << 32);
	fill(large, 3 * PAGE_SIZE, 2ull << 32);

	bpf_rcu_read_lock();
	bpf_arena_free_pages(&arena, (void __arena *)arena_start(), ARENA_PAGES);
	bpf_rcu_read_unlock();
	bpf_for(i, 0, BPF_MAX_LOOPS) {
		p = alloc_page_at(a);
		if (p || bpf_ktime_get_ns() > end)
			break;
	}
	CHECK_EQ((u64)p, (u64)a);
	TRY(verify(small, 300, 1ull << 32));
	TRY(verify(large, 3 * PAGE_SIZE, 2ull << 32));
	bpf_arena_free_pages(&arena, (void __arena *)a, 1);
	release(small);
	release(large);
	return 0;
}
