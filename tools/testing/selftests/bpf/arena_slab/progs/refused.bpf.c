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

REFUSED("bpf_arena_alloc() needs a program that uses an arena: "
	"pass a map of type BPF_MAP_TYPE_ARENA\n")
REFUSE(no_arena, "bpf_arena_alloc() in a program without an arena is refused, with advice")
{
	result = (u64)bpf_arena_alloc(&hash, 64);
	return 0;
}

REFUSED("bpf_arena_free() needs a program that uses an arena: "
	"pass a map of type BPF_MAP_TYPE_ARENA\n")
REFUSE(no_arena_free, "bpf_arena_free() in a program without an arena, too")
{
	bpf_arena_free(&hash, (void __arena *)result);
	return 0;
}

REFUSED("R1 of bpf_arena_alloc() is map 'hash': pass the program's arena, map 'arena'\n")
REFUSE(other_map, "a map that is not the program's arena is refused, by its name")
{
	touch_arena();
	result = (u64)bpf_arena_alloc(&hash, 64);
	return 0;
}

REFUSED("R1 of bpf_arena_free() is map 'hash': pass the program's arena, map 'arena'\n")
REFUSE(other_map_free, "bpf_arena_free() wants the program's arena, too")
{
	touch_arena();
	bpf_arena_free(&hash, (void __arena *)result);
	return 0;
}

/* libbpf knows one arena a file: refused.c makes another one of it */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} arena2 SEC(".maps");

SEC("syscall")
int two_arenas(void *ctx)
{
	touch_arena();
	result = (u64)bpf_arena_alloc(&arena2, 64);
	return 0;
}

REFUSED("R1 of bpf_arena_alloc() is an integer scalar: pass the program's arena, map 'arena'\n")
REFUSE(scalar_map, "a number is not taken for a map")
{
	touch_arena();
	result = (u64)bpf_arena_alloc((void *)(u64)bpf_get_prandom_u32(), 64);
	return 0;
}

REFUSED("R1 of bpf_arena_alloc() is a stack pointer: pass the program's arena, map 'arena'\n")
REFUSE(stack_map, "a pointer to the stack is not taken for a map")
{
	u64 buf[8] = {};

	touch_arena();
	result = (u64)bpf_arena_alloc(buf, 64);
	return 0;
}

REFUSED("R1 of bpf_arena_alloc() is an integer scalar: pass the program's arena, map 'arena'\n")
REFUSE(null_map, "NULL is not taken for a map")
{
	touch_arena();
	result = (u64)bpf_arena_alloc(NULL, 64);
	return 0;
}

REFUSED("R1 of bpf_arena_free() is an integer scalar: pass the program's arena, map 'arena'\n")
REFUSE(null_map_free, "bpf_arena_free() wants a map, too")
{
	touch_arena();
	bpf_arena_free(NULL, (void __arena *)result);
	return 0;
}

REFUSED("R1 of bpf_arena_alloc() is a map value pointer: pass the program's arena, map 'arena'\n")
REFUSE(value_map, "a map's value is not taken for a map")
{
	touch_arena();
	result = (u64)bpf_arena_alloc(&result, 64);
	return 0;
}

REFUSED("addr_space_cast insn can only be used in a program that has an associated arena: "
	"refer to the arena map in it\n")
REFUSE(follow_no_arena, "a program without an arena that follows an arena pointer is told why")
{
	result = *(u64 __arena *)result;
	return 0;
}

REFUSED("R2 of bpf_arena_free() is a stack pointer: pass what bpf_arena_alloc() returned\n")
REFUSE(free_stack, "bpf_arena_free() of a pointer to the stack is refused")
{
	u64 buf[8] = {};

	/* By way of a number: a cast between address spaces would make it one of the arena */
	bpf_arena_free(&arena, (void __arena *)(u64)buf);
	return 0;
}

REFUSED("R2 of bpf_arena_free() is a map value pointer: pass what bpf_arena_alloc() returned\n")
REFUSE(free_value, "bpf_arena_free() of a map's value is refused")
{
	bpf_arena_free(&arena, (void __arena *)(u64)&result);
	return 0;
}

REFUSED("R2 of bpf_arena_free() is a kernel object pointer: "
	"pass what bpf_arena_alloc() returned\n")
REFUSE(free_task, "bpf_arena_free() of a kernel object is refused")
{
	bpf_arena_free(&arena, (void __arena *)(u64)bpf_get_current_task_btf());
	return 0;
}

REFUSED("R2 of bpf_arena_free() is map_ptr: pass what bpf_arena_alloc() returned\n")
REFUSE(free_map, "bpf_arena_free() of a map is refused")
{
	bpf_arena_free(&arena, (void __arena *)(u64)&arena);
	return 0;
}

/*
 * A pointer that was stored is a number to the verifier: the kfunc refuses it, and its
 * report must not show all of it.
 */
STDERR("ERROR: bpf_arena_free(0x")
NO_STDERR("bpf_arena_free(0xff?????????????[!)])")
TEST(stack_pointer, "a free of a kernel pointer is refused, and does not give the address away")
{
	u64 buf[8] = {};

	report.no_object = 1;
	*(volatile u64 *)&result = (u64)buf;
	bpf_arena_free(&arena, (void __arena *)*(volatile u64 *)&result);
	CHECK(!alloc(0));
	return 0;
}
