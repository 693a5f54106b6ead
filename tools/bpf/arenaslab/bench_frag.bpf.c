// SPDX-License-Identifier: GPL-2.0
/*
 * A peer of `arenaslab bench`: the page-fragment allocator of the BPF selftests.
 *
 * A page of its goes when the last object of it is freed, even if it is the page that the
 * next object will be taken from; that one has no memory then. So a live object is kept in
 * each page while it is the current one, as a reference that the allocator itself does not
 * hold. It costs what is seen here: a comparison for each object, and a pair a page.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf_arena_common.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);		/* user space sets it before the load */
} arena SEC(".maps");

#include <bpf_arena_alloc.h>
#include "bench.bpf.h"

static void __arena * __arena held_page[NR_CPUS];
static void __arena * __arena held[NR_CPUS];

BENCH_ROOM

static __noinline int hold_page(u32 cpu)
{
	void __arena *old = held[cpu];

	bench_use_arena();
	held[cpu] = bpf_alloc(8);
	held_page[cpu] = page_frag_cur_page[cpu];
	if (old)
		bpf_free(old);
	return 0;
}

static __always_inline void __arena *frag_alloc(u32 size)
{
	u32 cpu = bpf_get_smp_processor_id();
	void __arena *p = bpf_alloc(size);

	if (page_frag_cur_page[cpu] != held_page[cpu])
		hold_page(cpu);
	return p;
}

#define frag_free(p, size)	bpf_free(p)

/* Objects are counted without atomic operations: nothing for two CPUs */
#define PEER(peer, size)						\
	BENCH_HOT(peer, size, frag_alloc, frag_free)			\
	BENCH_OPS(peer, size, frag_alloc, frag_free)

PEER(frag, 16)
PEER(frag, 64)
PEER(frag, 256)
PEER(frag, 1024)

char LICENSE[] SEC("license") = "GPL";
