// SPDX-License-Identifier: GPL-2.0
/* bpf_arena_alloc() of one page at most: every class, and sizes that are none. */
#define ARENA_PAGES	4096
#define ARENA_FIXED
#include "common.bpf.h"

#define NR_LIVE		1000
#define NR_REUSED	64

static const u32 sizes[] = {
	1, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 192, 193,
	255, 256, 257, 511, 512, 513, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096,
};

#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

u64 objs[NR_LIVE];

static __noinline int check_place(u64 obj, u32 size)
{
	u32 class = class_size(size);

	/* Offset 0 is NULL to a program */
	CHECK_OP((u32)obj, !=, 0);
	CHECK_EQ((u32)obj & ((class & -class) - 1), 0);
	/* In one page */
	CHECK_OP((u32)obj % PAGE_SIZE + class, <=, PAGE_SIZE);
	/* Inside of the arena */
	CHECK_OP((u32)obj, <, ARENA_PAGES * PAGE_SIZE);
	return 0;
}

static __noinline int check_size(u32 size)
{
	u8 __arena *p = alloc(size);

	CHECK(p);
	TRY(check_place((u64)p, size));
	TRY(verify_zero(p, size));
	fill(p, size, size);
	TRY(verify(p, size, size));
	release(p);
	return 0;
}

TEST(sizes, "one object of every class and of awkward sizes: aligned, zeroed, writable")
{
	u32 i;

	bpf_for(i, 0, NR_SIZES)
		TRY(check_size(sizes[i]));
	return 0;
}

u32 picked;

/*
 * One call that two sizes come to, of which the verifier sees one after the other and may
 * take the second for the first.
 */
static __noinline u64 alloc_picked(u32 pick)
{
	u64 size;

	asm volatile("%[size] = 64;"
		     "if %[pick] == 0 goto +1;"
		     "%[size] = 4096;"
		     : [size] "=&r"(size) : [pick] "r"(pick));
	return (u64)bpf_arena_alloc(&arena, size);
}

STATE_FREQ
TEST(merged_sizes, "two sizes that come to one call have both their classes")
{
	u64 p;

	/* Unknown to the verifier */
	p = alloc_picked(picked);
	CHECK(p);
	release(p);
	picked = 1;
	barrier();
	p = alloc_picked(picked);
	CHECK(p);
	release(p);
	return 0;
}

TEST(size_zero, "no object has size 0")
{
	/* Not a constant: the classes that exist must make no difference */
	u32 size = bpf_get_prandom_u32() & 0;
	u8 __arena *p;

	barrier_var(size);
	p = alloc(size);
	CHECK(!p);
	return 0;
}

TEST(size_max, "a size above the arena's is refused, up to the largest u32")
{
	CHECK(!alloc(ARENA_PAGES * PAGE_SIZE + 1));
	CHECK(!alloc(0x80000000));
	CHECK(!alloc(0xfffff001));
	CHECK(!alloc(0xffffffff));
	return 0;
}

/* Dirty objects go, and others or the same come: they are zero */
static __noinline int check_reuse(u32 size)
{
	u8 __arena *p;
	u32 i, round;

	bpf_for(round, 0, 3) {
		bpf_for(i, 0, NR_REUSED) {
			if (i >= NR_LIVE)
				break;
			p = alloc(size);
			CHECK(p);
			objs[i] = (u64)p;
			TRY(verify_zero(p, size));
			fill(p, class_size(size), 0xa5a5a5a5a5a5a5a5);
		}
		bpf_for(i, 0, NR_REUSED) {
			if (i >= NR_LIVE)
				break;
			release(objs[i]);
		}
	}
	return 0;
}

TEST(reuse_zeroed, "objects are zero again after they were dirtied, freed and allocated")
{
	u32 i;

	bpf_for(i, 0, NR_SIZES)
		TRY(check_reuse(sizes[i]));
	return 0;
}

/* All patterns are different, so no two objects can overlap and keep them */
static __noinline int check_live(u32 size)
{
	u8 __arena *p;
	u32 i;

	bpf_for(i, 0, NR_LIVE) {
		if (i >= NR_LIVE)
			break;
		p = alloc(size);
		CHECK(p);
		TRY(check_place((u64)p, size));
		objs[i] = (u64)p;
		fill(p, size, (u64)i << 32);
		/* 3 bytes are too few for a pattern a thousand objects have each their own */
		if (size < 8)
			*(u16 __arena *)p = i;
	}
	bpf_for(i, 0, NR_LIVE) {
		if (i >= NR_LIVE)
			break;
		p = (u8 __arena *)objs[i];
		if (size < 8)
			CHECK_EQ(*(u16 __arena *)p, i);
		else
			TRY(verify(p, size, (u64)i << 32));
		release(p);
	}
	return 0;
}

TEST(live_3, "1000 live objects of 3 bytes do not overlap")
{
	return check_live(3);
}

TEST(live_17, "1000 live objects of 17 bytes do not overlap")
{
	return check_live(17);
}

TEST(live_96, "1000 live objects of 96 bytes do not overlap")
{
	return check_live(96);
}

TEST(live_129, "1000 live objects of 129 bytes do not overlap")
{
	return check_live(129);
}

TEST(live_1025, "1000 live objects of 1025 bytes do not overlap")
{
	return check_live(1025);
}

TEST(live_4095, "1000 live objects of 4095 bytes do not overlap")
{
	return check_live(4095);
}

TEST(live_mixed, "live objects of all sizes at once do not overlap")
{
	u8 __arena *p;
	u32 i, size;

	bpf_for(i, 0, NR_LIVE) {
		if (i >= NR_LIVE)
			break;
		/* At least a word, for the pattern */
		size = sizes[(i * 7 + 3) % NR_SIZES] | 8;
		p = alloc(size);
		CHECK(p);
		TRY(check_place((u64)p, size));
		objs[i] = (u64)p;
		fill(p, size, (u64)i << 32);
	}
	bpf_for(i, 0, NR_LIVE) {
		if (i >= NR_LIVE)
			break;
		size = sizes[(i * 7 + 3) % NR_SIZES] | 8;
		TRY(verify((u8 __arena *)objs[i], size, (u64)i << 32));
		release(objs[i]);
	}
	return 0;
}

TEST(fixed_sizes, "a program that asks for one size has one class and gets its objects")
{
	u8 __arena *p = alloc(40);

	CHECK(p);
	TRY(verify_zero(p, 64));
	release(p);
	return 0;
}
