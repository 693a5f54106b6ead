/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs of a peer that hands out arena memory: PEER_hot_SIZE and PEER_ops_SIZE.
 * ALLOC(size) is an expression, FREE(ptr, size) a statement. Behind vmlinux.h,
 * bpf_helpers.h and the definition of __arena, and with a map "arena".
 */
#ifndef BENCH_BPF_H
#define BENCH_BPF_H

#include "bench.h"

/* For the verifier, which wants to see the map in each program that uses its memory */
#define bench_use_arena() ({ asm volatile("" :: "r"(&arena)); })

#define BENCH_PAGES(size) (((size) + __PAGE_SIZE - 1) / __PAGE_SIZE)

#define BENCH_HOT(peer, size, ALLOC, FREE)				\
SEC("syscall")								\
int peer##_hot_##size(struct bench_run *r)				\
{									\
	u64 failed = 0;							\
	u32 i, to = r->to;						\
									\
	bench_use_arena();						\
	r->begin_ns = bpf_ktime_get_ns();				\
	bpf_for(i, 0, to) {						\
		void __arena *p = ALLOC(size);				\
									\
		if (!p)							\
			failed++;					\
		else							\
			FREE(p, size);					\
	}								\
	r->end_ns = bpf_ktime_get_ns();					\
	r->failed += failed;						\
	return 0;							\
}

#define BENCH_OPS(peer, size, ALLOC, FREE)				\
SEC("syscall")								\
int peer##_ops_##size(struct bench_run *r)				\
{									\
	void __arena * __arena *slots = (void __arena * __arena *)r->slots + r->slot_base;	\
	u32 __arena *ops = (u32 __arena *)r->ops;			\
	u32 i, from = r->from, to = r->to;				\
	u64 failed = 0;							\
									\
	bench_use_arena();						\
	r->begin_ns = bpf_ktime_get_ns();				\
	bpf_for(i, from, to) {						\
		void __arena * __arena *s = &slots[ops[i]];			\
		void __arena *p = *s;					\
									\
		if (p) {						\
			*s = NULL;					\
			FREE(p, size);					\
		} else {						\
			p = ALLOC(size);				\
			*s = p;						\
			if (!p) {					\
				failed++;				\
				break;					\
			}						\
		}							\
	}								\
	r->end_ns = bpf_ktime_get_ns();					\
	r->failed += failed;						\
	return 0;							\
}

#define BENCH_PEER(peer, size, ALLOC, FREE)				\
	BENCH_HOT(peer, size, ALLOC, FREE)				\
	BENCH_OPS(peer, size, ALLOC, FREE)

/* Pages for ops and slots, which user space fills */
#define BENCH_ROOM							\
SEC("syscall")								\
int room(struct bench_run *r)						\
{									\
	void __arena *p = bpf_arena_alloc_pages(&arena, NULL, r->to, -1, 0);	\
									\
	r->ops = (u64)p;						\
	return 0;							\
}

#endif /* BENCH_BPF_H */
