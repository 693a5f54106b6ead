// SPDX-License-Identifier: GPL-2.0
/* Objects that the test of arenaslab knows, and bad frees on demand. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include "golden.h"

#define __arena		__attribute__((address_space(1)))
#define ENOMEM		12

extern void __arena *bpf_arena_alloc(void *p__map, u32 size) __ksym;
extern void bpf_arena_free(void *p__map, void __arena *ptr__ign) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, GOLDEN_PAGES);
} golden_arena SEC(".maps");

const volatile __u32 large_size = GOLDEN_LARGE_PAGES * 4096;
const volatile __u32 page_bytes = 4096;

__u64 objects[GOLDEN_OBJECTS], small, large;
/* A type that only local variables have is not in the BTF */
struct golden golden_type;
__u64 wrong;	/* what bad_free() frees */
__u32 rounds;

SEC("syscall")
int make_golden(void *ctx)
{
	struct golden __arena *obj;
	__u64 __arena *p;
	int i;

	for (i = 0; i < GOLDEN_OBJECTS; i++) {
		obj = bpf_arena_alloc(&golden_arena, sizeof(*obj));
		if (!obj)
			return -ENOMEM;
		obj->magic = GOLDEN_MAGIC;
		obj->number = i;
		((__u64 __arena *)obj->text)[0] = GOLDEN_TEXT;
		obj->negative = -7;
		obj->low = 5;
		obj->high = 17;
		obj->color = GOLDEN_BLUE;
		obj->pair[1] = 3;
		obj->pointer = (void *)GOLDEN_POINTER;
		obj->yes = 1;
		obj->sign = GOLDEN_MINUS;
		objects[i] = (__u64)obj;
	}
	small = (__u64)bpf_arena_alloc(&golden_arena, GOLDEN_SMALL);
	if (!small)
		return -ENOMEM;
	p = bpf_arena_alloc(&golden_arena, large_size);
	if (!p)
		return -ENOMEM;
	for (i = 0; i < GOLDEN_LARGE_PAGES; i++)
		p[(i * page_bytes) / sizeof(*p)] = GOLDEN_MAGIC + i;
	large = (__u64)p;
	/* Those with odd numbers go */
	for (i = 1; i < GOLDEN_OBJECTS; i += 2)
		bpf_arena_free(&golden_arena, (void __arena *)objects[i]);
	return 0;
}

SEC("syscall")
int churn(void *ctx)
{
	void __arena *p;
	int i;

	bpf_for(i, 0, rounds) {
		p = bpf_arena_alloc(&golden_arena, sizeof(struct golden));
		if (!p)
			return -ENOMEM;
		bpf_arena_free(&golden_arena, p);
	}
	return 0;
}

/* Larger than the arena */
SEC("syscall")
int too_large(void *ctx)
{
	return bpf_arena_alloc(&golden_arena, (GOLDEN_PAGES + 1) * page_bytes) ? 1 : 0;
}

SEC("syscall")
int bad_free(void *ctx)
{
	int i;

	bpf_for(i, 0, rounds)
		bpf_arena_free(&golden_arena, (void __arena *)wrong);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
