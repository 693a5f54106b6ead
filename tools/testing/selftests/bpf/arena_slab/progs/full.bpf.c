// SPDX-License-Identifier: GPL-2.0
/*
 * An arena of 64 pages that is filled up. All of what is freed can be had again,
 * in whatever class; what per-CPU sheaves and empty slabs hold must not get lost.
 */
#define ARENA_PAGES	64
#include "common.bpf.h"

#define MAX_OBJS	(64 * 4096)	/* of 16 bytes in pages of 64 KiB */

u64 objs[MAX_OBJS];
u32 nr;

static __noinline int take_all(u32 size)
{
	u8 __arena *p;
	u32 i;

	nr = 0;
	bpf_for(i, 0, MAX_OBJS) {
		if (i >= MAX_OBJS)
			break;
		p = alloc(size);
		if (!p)
			break;
		objs[i] = (u64)p;
		fill(p, size, (u64)i << 32);
		nr = i + 1;
	}
	return 0;
}

static __noinline int give_all(u32 size)
{
	u32 i;

	bpf_for(i, 0, nr) {
		if (i >= MAX_OBJS)
			break;
		TRY(verify((u8 __arena *)objs[i], size, (u64)i << 32));
		release(objs[i]);
	}
	return 0;
}

/* Pages come back through a worker: take what there is until there is enough */
static __noinline int refill(u32 size, u32 want)
{
	u64 end = bpf_ktime_get_ns() + 20 * SEC_NS;
	u32 i;

	bpf_for(i, 0, 100000) {
		take_all(size);
		if (nr >= want || bpf_ktime_get_ns() > end)
			break;
		TRY(give_all(size));
	}
	CHECK_OP(nr, >=, want);
	return give_all(size);
}

TEST(full_2048, "after it was full of 2048-byte objects, all can be had again")
{
	take_all(2048);
	CHECK_EQ(nr, ARENA_PAGES * PAGE_SIZE / 2048);
	TRY(give_all(2048));
	return refill(2048, ARENA_PAGES * PAGE_SIZE / 2048);
}

TEST(full_16, "after it was full of 16-byte objects, all can be had again")
{
	take_all(16);
	CHECK_EQ(nr, ARENA_PAGES * PAGE_SIZE / 16);
	TRY(give_all(16));
	return refill(16, ARENA_PAGES * PAGE_SIZE / 16);
}

TEST(full_other_class, "pages of one class can become pages of another")
{
	take_all(64);
	CHECK_EQ(nr, ARENA_PAGES * PAGE_SIZE / 64);
	TRY(give_all(64));
	TRY(refill(1024, ARENA_PAGES * PAGE_SIZE / 1024));
	TRY(refill(192, ARENA_PAGES * (PAGE_SIZE / 192)));
	return refill(4096, ARENA_PAGES * PAGE_SIZE / 4096);
}

TEST(full_then_large, "pages of slabs can become a large object, and slabs again")
{
	take_all(256);
	CHECK_EQ(nr, ARENA_PAGES * PAGE_SIZE / 256);
	TRY(give_all(256));
	TRY(refill(ARENA_PAGES * PAGE_SIZE, 1));
	return refill(256, ARENA_PAGES * PAGE_SIZE / 256);
}

TEST(full_then_pages, "pages of slabs can become ordinary pages, and slabs again")
{
	u64 end = bpf_ktime_get_ns() + 20 * SEC_NS;
	u8 __arena *p = NULL;
	u32 i;

	take_all(512);
	CHECK_EQ(nr, ARENA_PAGES * PAGE_SIZE / 512);
	CHECK(!alloc_page_at(NULL));
	TRY(give_all(512));
	/* Nobody but bpf_arena_alloc() asks the caches for what they hold */
	p = alloc(2 * PAGE_SIZE);
	release(p);
	bpf_for(i, 0, BPF_MAX_LOOPS) {
		p = alloc_page_at(NULL);
		if (p || bpf_ktime_get_ns() > end)
			break;
	}
	CHECK(p);
	bpf_arena_free_pages(&arena, (void __arena *)p, 1);
	return refill(512, ARENA_PAGES * PAGE_SIZE / 512);
}

TEST(full_churn, "half of it is freed and taken again, a hundred times")
{
	u8 __arena *p;
	u32 i, round;

	take_all(128);
	bpf_for(round, 0, 100) {
		bpf_for(i, 0, nr / 2) {
			u32 j = 2 * i + (round & 1);

			if (j >= MAX_OBJS)
				break;
			TRY(verify((u8 __arena *)objs[j], 128, (u64)j << 32));
			release(objs[j]);
		}
		bpf_for(i, 0, nr / 2) {
			u32 j = 2 * i + (round & 1);

			if (j >= MAX_OBJS)
				break;
			p = alloc(128);
			CHECK(p);
			TRY(verify_zero(p, 128));
			objs[j] = (u64)p;
			fill(p, 128, (u64)j << 32);
		}
	}
	return give_all(128);
}
