// SPDX-License-Identifier: GPL-2.0
/*
 * bpf/arena_alloc.bpf.h with a compiler that has no address space casts, or that is told
 * so: every pointer that is followed goes through arena_kern().
 */
#define BPF_ARENA_FORCE_ASM
#define BPF_NO_KFUNC_PROTOTYPES
#define ARENA_PAGES	64
#include "common.bpf.h"

struct item {
	struct item *next;
	u64 number;
};

volatile u64 wraps_to_16 = 0x10000001;	/* times 16 is 2^32 + 16 */

TEST(list, "objects and pointers in them, with casts in assembler")
{
	struct item *head = NULL, *item;
	u32 i;

	bpf_for(i, 0, 10) {
		item = arena_new(&arena, struct item);
		CHECK(item);
		arena_kern(item)->next = head;
		arena_kern(item)->number = i;
		head = item;
	}
	bpf_for(i, 0, 10) {
		item = head;
		CHECK(arena_points_into(&arena, item));
		CHECK_EQ(arena_kern(item)->number, 9 - i);
		head = arena_kern(item)->next;
		arena_delete(&arena, item);
	}
	CHECK(!head);
	return 0;
}

TEST(array, "arrays, with casts in assembler")
{
	struct item *items = arena_new_array(&arena, struct item, 3);
	struct item *third;

	CHECK(items);
	CHECK_EQ(arena_kern(items + 2)->number, 0);
	arena_kern(items + 2)->number = 7;
	CHECK_EQ(arena_kern(items + 2)->number, 7);
	/* There and back again: what is calculated with in between has 32 bits */
	third = arena_user(arena_kern(items) + 2);
	arena_delete(&arena, items);
	CHECK_EQ((u64)third, (u64)(items + 2));
	CHECK(!arena_new_array(&arena, struct item, wraps_to_16));
	return 0;
}
