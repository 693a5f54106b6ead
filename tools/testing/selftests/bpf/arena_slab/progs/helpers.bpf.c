// SPDX-License-Identifier: GPL-2.0
/* What bpf/arena_alloc.bpf.h adds to the kfuncs. */
#define ARENA_PAGES	64
#include "common.bpf.h"

struct item {
	struct item __arena *next;
	u64 words[6];
	u8 last;
};

/* Not known to the compiler, nor to the verifier */
volatile u64 three = 3, zero;
volatile u64 wraps_to_8 = 0x20000001;	/* times 8 is 2^32 + 8 */
volatile u64 below_4g = 0x1fffffff;	/* times 8 is 2^32 - 8 */
volatile s64 negative = -0x1fffffff;	/* times 8 is 8, in 32 bits */

static u64 arena_start(void)
{
	return ((struct bpf_arena *)(void *)&arena)->user_vm_start;
}

#define NR_OBJS	32

u64 objs[NR_OBJS];

/* One too small would have another one inside of it, as there are many */
static __noinline int verify_all(u32 size)
{
	u32 i;

	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS)
			break;
		CHECK(objs[i]);
		TRY(verify_zero((u8 __arena *)objs[i], size));
	}
	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS)
			break;
		fill((u8 __arena *)objs[i], size, i);
	}
	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS)
			break;
		TRY(verify((u8 __arena *)objs[i], size, i));
		arena_delete(&arena, (u8 __arena *)objs[i]);
	}
	return 0;
}

TEST(new, "arena_new() gives a zeroed object of the size of its type")
{
	u32 i;

	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS)
			break;
		objs[i] = (u64)arena_new(&arena, struct item);
	}
	return verify_all(sizeof(struct item));
}

TEST(new_array, "arena_new_array() gives zeroed memory for all of its elements")
{
	u32 i;

	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS)
			break;
		objs[i] = (u64)arena_new_array(&arena, struct item, three);
	}
	return verify_all(3 * sizeof(struct item));
}

TEST(array_overflow, "an array of 4 GiB and a bit is NULL, and not the bit")
{
	CHECK(!arena_new_array(&arena, u64, wraps_to_8));
	return 0;
}

TEST(array_overflow_constant, "the same if the compiler knows the number")
{
	CHECK(!arena_new_array(&arena, u64, 0x20000001));
	return 0;
}

TEST(array_negative, "an array of less than no elements is NULL")
{
	CHECK(!arena_new_array(&arena, u64, negative));
	return 0;
}

TEST(array_too_large, "an array that is larger than the arena is NULL, if its size fits or not")
{
	CHECK(!arena_new_array(&arena, u64, below_4g));
	CHECK(!arena_new_array(&arena, u8, (ARENA_PAGES + 1) * PAGE_SIZE));
	return 0;
}

TEST(array_empty, "an array of nothing is NULL")
{
	CHECK(!arena_new_array(&arena, u64, zero));
	return 0;
}

TEST(delete_null, "arena_delete() takes NULL and does nothing")
{
	struct item __arena *none = NULL;

	touch_arena();
	arena_delete(&arena, none);
	return 0;
}

struct text {
	char bytes[100];
};

/* Words, padding with them, and 100 bytes without alignment below */
TEST(copy, "arena_copy() copies into the arena, inside of it, and out of it")
{
	struct item __arena *a = arena_new(&arena, struct item);
	struct item __arena *b = arena_new(&arena, struct item);
	struct item out = {}, in;
	u32 i;

	CHECK(a);
	CHECK(b);
	in.next = b;
	in.last = 200;
	bpf_for(i, 0, 6)
		in.words[i % 6] = 1000 + i;
	arena_copy(a, &in);
	arena_copy(b, a);
	arena_copy(&out, b);
	arena_delete(&arena, a);
	arena_delete(&arena, b);
	CHECK_EQ((u64)out.next, (u64)b);
	CHECK_EQ(out.last, 200);
	bpf_for(i, 0, 6)
		CHECK_EQ(out.words[i % 6], 1000 + i);
	return 0;
}

TEST(copy_bytes, "arena_copy() of what has no alignment, and arena_zero()")
{
	struct text __arena *texts = arena_new_array(&arena, struct text, 3);
	struct text text;
	u32 i;

	CHECK(texts);
	fill((u8 __arena *)texts, sizeof(*texts), 3);
	bpf_for(i, 0, sizeof(text))
		text.bytes[i % sizeof(text)] = 50 + i;
	arena_copy(&texts[1], &text);
	bpf_for(i, 0, sizeof(text))
		CHECK_EQ((u8)texts[1].bytes[i], 50 + i);
	arena_copy(&texts[2], &texts[0]);
	TRY(verify((u8 __arena *)&texts[2], sizeof(*texts), 3));
	arena_zero(&texts[1]);
	TRY(verify_zero((u8 __arena *)&texts[1], sizeof(*texts)));
	TRY(verify((u8 __arena *)&texts[0], sizeof(*texts), 3));
	TRY(verify((u8 __arena *)&texts[2], sizeof(*texts), 3));
	arena_delete(&arena, texts);
	return 0;
}

TEST(contains, "arena_contains() is true from the first byte of the arena to the last")
{
	u8 __arena *p = arena_new_array(&arena, u8, 100);
	u64 size = ARENA_PAGES * PAGE_SIZE, start = arena_start();
	u64 last = start + size - 1;

	CHECK(p);
	CHECK(arena_contains(&arena, p, 100));
	arena_delete(&arena, p);
	/* What a program cannot have, but user space can */
	CHECK(arena_contains(&arena, start + 1, size - 1));
	CHECK(arena_contains(&arena, last, 1));
	CHECK(arena_contains(&arena, last + 1, 0) == false);
	CHECK(!arena_contains(&arena, start + 1, size));
	CHECK(!arena_contains(&arena, last, 2));
	CHECK(!arena_contains(&arena, last + 1, 1));
	CHECK(!arena_contains(&arena, start - 1, 1));
	CHECK(!arena_contains(&arena, last, -1));
	CHECK(!arena_contains(&arena, NULL, 0));
	return 0;
}

TEST(points_into, "arena_points_into() is about all of the object")
{
	struct item __arena *last;

	touch_arena();
	last = (struct item __arena *)(arena_start() + ARENA_PAGES * PAGE_SIZE - sizeof(*last));
	CHECK(arena_points_into(&arena, last));
	CHECK(!arena_points_into(&arena, (struct item __arena *)((u64)last + 1)));
	return 0;
}

TEST(list, "pointers of arena_new() that are kept in objects lead from one to the next")
{
	struct item __arena *head = NULL, *item;
	u32 i;

	bpf_for(i, 0, 10) {
		item = arena_new(&arena, struct item);
		CHECK(item);
		item->next = head;
		item->words[0] = i;
		head = item;
	}
	bpf_for(i, 0, 10) {
		item = head;
		CHECK(arena_points_into(&arena, item));
		CHECK_EQ(item->words[0], 9 - i);
		head = item->next;
		arena_delete(&arena, item);
	}
	CHECK(!head);
	return 0;
}
