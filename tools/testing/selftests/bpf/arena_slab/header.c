// SPDX-License-Identifier: GPL-2.0
/* Only compiled: bpf/arena_alloc.bpf.h in other surroundings than progs/; see Makefile. */
#include <linux/types.h>
#include <linux/bpf.h>
#ifdef __BPF__
#include <bpf/bpf_helpers.h>
#endif
#include <bpf/arena_alloc.bpf.h>

/* What both sides may share */
struct item {
	struct item __arena *next;
	__u64 number;
};

#ifdef __BPF__

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

__u32 nr;

SEC("syscall")
int use(void *ctx)
{
	struct item __arena *items = arena_new_array(&arena, struct item, nr);
	struct item __arena *item = arena_new(&arena, struct item);
#ifdef WRONG
	struct item on_stack = {};

	arena_delete(&arena, &on_stack);
#endif
	if (!item || !items || !arena_points_into(&arena, items))
		return 1;
	arena_kern(items)->next = item;
	arena_delete(&arena, arena_kern(items)->next);
	arena_delete(&arena, items);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

#endif
