// SPDX-License-Identifier: GPL-2.0
/*
 * A peer of `arenaslab bench`: bpf_obj_new() and bpf_obj_drop(). Its objects are no arena
 * memory, and a program can keep them in a map only, by an exchange; the arena is for the
 * ops. The largest object is 4088 bytes: so there is none for 4096.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/arena_alloc.bpf.h>
#include "bench.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);		/* user space sets it before the load */
} arena SEC(".maps");

BENCH_ROOM

#define obj_alloc(size)							\
	((struct obj_##size *)bpf_obj_new(bpf_core_type_id_local(struct obj_##size)))

#define OBJ(size)							\
struct obj_##size {							\
	char data[size];						\
};									\
									\
struct slot_##size {							\
	struct obj_##size __kptr *obj;					\
};									\
									\
struct {								\
	__uint(type, BPF_MAP_TYPE_ARRAY);				\
	__type(key, u32);						\
	__type(value, struct slot_##size);				\
	__uint(max_entries, 1);						\
} slots_##size SEC(".maps");						\
									\
SEC("syscall")								\
int obj_hot_##size(struct bench_run *r)					\
{									\
	u64 failed = 0;							\
	u32 i, to = r->to;						\
									\
	bench_use_arena();						\
	r->begin_ns = bpf_ktime_get_ns();				\
	bpf_for(i, 0, to) {						\
		struct obj_##size *p = obj_alloc(size);			\
									\
		if (!p)							\
			failed++;					\
		else							\
			bpf_obj_drop(p);				\
	}								\
	r->end_ns = bpf_ktime_get_ns();					\
	r->failed += failed;						\
	return 0;							\
}									\
									\
SEC("syscall")								\
int obj_ops_##size(struct bench_run *r)					\
{									\
	u32 __arena *ops = (u32 __arena *)r->ops;			\
	u32 i, from = r->from, to = r->to, base = r->slot_base;		\
	u64 failed = 0;							\
									\
	bench_use_arena();						\
	r->begin_ns = bpf_ktime_get_ns();				\
	bpf_for(i, from, to) {						\
		u32 slot = base + ops[i];				\
		struct slot_##size *s = bpf_map_lookup_elem(&slots_##size, &slot);	\
		struct obj_##size *p;					\
									\
		if (!s) {						\
			failed++;					\
		} else if (*(volatile u64 *)&s->obj) {			\
			p = bpf_kptr_xchg(&s->obj, NULL);		\
			if (p)						\
				bpf_obj_drop(p);			\
		} else {						\
			p = obj_alloc(size);				\
			if (!p) {					\
				failed++;				\
				break;					\
			}						\
			p = bpf_kptr_xchg(&s->obj, p);			\
			if (p)						\
				bpf_obj_drop(p);			\
		}							\
	}								\
	r->end_ns = bpf_ktime_get_ns();					\
	r->failed += failed;						\
	return 0;							\
}

OBJ(16)
OBJ(64)
OBJ(256)
OBJ(1024)

char LICENSE[] SEC("license") = "GPL";
