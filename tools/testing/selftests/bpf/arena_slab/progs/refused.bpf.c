// SPDX-License-Identifier: GPL-2.0
/* What the verifier has to refuse, and what it lets pass that does no harm. */
#define ARENA_PAGES	16
#include "common.bpf.h"

#define REFUSE(name, text) SEC("syscall") __tag("desc:" text) int refuse_##name(void *ctx)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} hash SEC(".maps");

u64 result;

REFUSED("bpf_arena_alloc() needs a program that uses an arena")
REFUSED("refer to the arena map in the program")
REFUSE(no_arena, "bpf_arena_alloc() in a program without an arena is refused, with advice")
{
	result = (u64)bpf_arena_alloc(&hash, 64);
	return 0;
}

REFUSED("call bpf_arena_alloc#")
REFUSED("Pass a verifier-tracked pointer to the expected kernel object type")
REFUSE(scalar_map, "a number is not taken for a map")
{
	touch_arena();
	result = (u64)bpf_arena_alloc((void *)(u64)bpf_get_prandom_u32(), 64);
	return 0;
}

REFUSED("call bpf_arena_alloc#")
REFUSED("Pass a verifier-tracked pointer to the expected kernel object type")
REFUSE(stack_map, "a pointer to the stack is not taken for a map")
{
	u64 buf[8] = {};

	touch_arena();
	result = (u64)bpf_arena_alloc(buf, 64);
	return 0;
}

REFUSED("call bpf_arena_free#")
REFUSED("call the kfunc only on the non-NULL path")
REFUSE(null_map_free, "bpf_arena_free() wants a map, too")
{
	touch_arena();
	bpf_arena_free(NULL, (void __arena *)result);
	return 0;
}

/* The verifier does not look at this argument, so the report must not show all of it */
STDERR("): there is no object of bpf_arena_alloc()\n")
NO_STDERR("bpf_arena_free(0xff?????????????[!)])")
TEST(stack_pointer, "a free of a kernel pointer is refused, and does not give the address away")
{
	u64 buf[8] = {};

	report.no_object = 1;
	/* By way of a number: a cast between address spaces would make it one of the arena */
	bpf_arena_free(&arena, (void __arena *)(u64)buf);
	CHECK(!alloc(0));
	return 0;
}

TEST(other_map, "a map that is no arena gives no object, and takes none")
{
	u8 __arena *p = alloc(64);

	CHECK(p);
	CHECK(!bpf_arena_alloc(&hash, 64));
	CHECK(!bpf_arena_alloc(&hash, 8192));
	bpf_arena_free(&hash, (void __arena *)p);
	fill(p, 64, 1);
	TRY(verify(p, 64, 1));
	release(p);
	return 0;
}
