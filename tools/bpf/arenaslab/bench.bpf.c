// SPDX-License-Identifier: GPL-2.0
/* Peers of `arenaslab bench` that the kernel itself has for arenas, and one that is none. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/arena_alloc.bpf.h>
#include "bench.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);		/* user space sets it before the load */
} arena SEC(".maps");

BENCH_ROOM

/* What the loop costs: nothing is allocated, only the slot is marked */
static __always_inline void __arena *null_alloc(u32 size)
{
	u64 p = size;

	/* Not a constant, or there would be no loop */
	asm volatile("" : "+r"(p));
	return (void __arena *)p;
}

#define null_free(p, size)	({ asm volatile("" :: "r"(p)); })

#define kfunc_alloc(size)	bpf_arena_alloc(&arena, size)
#define kfunc_free(p, size)	bpf_arena_free(&arena, p)

#define pages_alloc(size)	bpf_arena_alloc_pages(&arena, NULL, BENCH_PAGES(size), -1, 0)
#define pages_free(p, size)	bpf_arena_free_pages(&arena, p, BENCH_PAGES(size))

#define PEER(peer, size)	BENCH_PEER(peer, size, peer##_alloc, peer##_free)

BENCH_SIZES(PEER, null)
BENCH_SIZES(PEER, kfunc)
BENCH_SIZES(PEER, pages)

/* Some of each class, and as many pages: for what it takes to destroy their arena */
#define CLASS(size)							\
	do {								\
		bpf_for(i, 0, r->to)					\
			r->failed += !bpf_arena_alloc(&arena, size);	\
	} while (0)

SEC("syscall")
int fill_classes(struct bench_run *r)
{
	u32 i;

	CLASS(16);
	CLASS(32);
	CLASS(64);
	CLASS(96);
	CLASS(128);
	CLASS(192);
	CLASS(256);
	CLASS(512);
	CLASS(1024);
	CLASS(2048);
	CLASS(4096);
	return 0;
}

SEC("syscall")
int fill_pages(struct bench_run *r)
{
	u32 i;

	bpf_for(i, 0, r->to)
		r->failed += !bpf_arena_alloc_pages(&arena, NULL, 1, -1, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
