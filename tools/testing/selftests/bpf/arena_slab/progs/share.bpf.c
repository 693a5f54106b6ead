// SPDX-License-Identifier: GPL-2.0
/* The programs' half of the tests in user space: share.c, fault.c, teardown.c. */
#define ARENA_PAGES	1024
#include "common.bpf.h"

#define MAX_OBJS	8192

/* In: what to do. Out: user-space addresses, which mean the same here. */
u64 objs[MAX_OBJS];
u32 nr;		/* how many */
u32 size;	/* of each; 0: all classes in turn, and large ones */
u64 seed;
u64 value;	/* what peek() found */

static const u32 mixed[] = { 16, 30, 64, 90, 128, 190, 250, 500, 1000, 2000, 4096, 9000 };

#define NR_MIXED (sizeof(mixed) / sizeof(mixed[0]))

static u32 size_of(u32 i)
{
	return size ?: mixed[i % NR_MIXED];
}

SEC("syscall")
int take(void *ctx)
{
	u8 __arena *p;
	u32 i;

	bpf_for(i, 0, nr) {
		if (i >= MAX_OBJS)
			break;
		p = alloc(size_of(i));
		CHECK(p);
		objs[i] = (u64)p;
		TRY(verify_zero(p, size_of(i)));
		fill(p, size_of(i), seed + i);
	}
	return 0;
}

/* Without filling: a fresh object as it is */
SEC("syscall")
int take_fresh(void *ctx)
{
	u32 i;

	bpf_for(i, 0, nr) {
		if (i >= MAX_OBJS)
			break;
		objs[i] = (u64)alloc(size_of(i));
		CHECK(objs[i]);
	}
	return 0;
}

SEC("syscall")
int check(void *ctx)
{
	u32 i;

	touch_arena();
	bpf_for(i, 0, nr) {
		if (i >= MAX_OBJS)
			break;
		TRY(verify((u8 __arena *)objs[i], size_of(i), seed + i));
	}
	return 0;
}

SEC("syscall")
int give(void *ctx)
{
	u32 i;

	bpf_for(i, 0, nr) {
		if (i >= MAX_OBJS)
			break;
		release(objs[i]);
		objs[i] = 0;
	}
	return 0;
}

/* Every other one: slabs stay, with holes */
SEC("syscall")
int give_half(void *ctx)
{
	u32 i;

	bpf_for(i, 0, nr / 2) {
		if (2 * i >= MAX_OBJS)
			break;
		release(objs[2 * i]);
		objs[2 * i] = 0;
	}
	return 0;
}

SEC("syscall")
int peek(void *ctx)
{
	touch_arena();
	value = *(u64 __arena *)objs[0];
	return 0;
}

SEC("syscall")
int poke(void *ctx)
{
	touch_arena();
	*(u64 __arena *)objs[0] = value;
	return 0;
}

/* ---- under an mmap_lock ---- */

u32 has_lock, writer_comes, freed;

static long with_vma(struct task_struct *task, struct vm_area_struct *vma, void *ctx)
{
	u64 began = 0;
	u32 i;

	has_lock = 1;
	/* And another thread waits to have it for writing */
	bpf_for(i, 0, 8000000) {
		if (!began && *(volatile u32 *)&writer_comes)
			began = bpf_ktime_get_ns();
		if (began && bpf_ktime_get_ns() - began > 50 * MSEC)
			break;
	}
	if (began) {
		bpf_arena_free_pages(&arena, (void __arena *)objs[0], 2);
		freed = 1;
	}
	return 0;
}

/* Two pages that user space maps go where this process's mmap_lock is held for reading */
SEC("syscall")
int free_under_lock(void *ctx)
{
	u32 unused = 0;

	return bpf_find_vma(bpf_get_current_task_btf(), objs[0], with_vma, &unused, 0);
}

/* Two pages of the ordinary kind, anywhere, or at the place of objs[0] */
SEC("syscall")
int two_pages_at(void *ctx)
{
	u64 p = (u64)bpf_arena_alloc_pages(&arena, (void __arena *)objs[0], 2, NUMA_NO_NODE, 0);

	CHECK(p);
	objs[0] = p;
	return 0;
}

/* A page of the ordinary kind at the place of objs[0] */
SEC("syscall")
int page_at(void *ctx)
{
	objs[0] = (u64)alloc_page_at((void __arena *)objs[0]);
	CHECK(objs[0]);
	return 0;
}

/* ---- pages of the arena that are somebody else's next ---- */

#define NR_GONE		4096

u64 pid;		/* in: who makes use of them */
u64 nr_again;		/* out: how often */
static u64 gone[NR_GONE];

/* A number: with fentry and tp_btf it were a pointer, which the verifier does not divide */
static u64 *place_of(u64 page)
{
	return &gone[page / sizeof(struct page) % NR_GONE];
}

SEC("kprobe/slab_arena_free_page")
int BPF_KPROBE(on_page_gone, u64 page)
{
	*place_of(page) = page;
	return 0;
}

SEC("raw_tp/mm_page_alloc")
int BPF_PROG(on_page_used, u64 page)
{
	u64 *place = place_of(page);

	if (!page || *place != page || bpf_get_current_pid_tgid() >> 32 != pid)
		return 0;
	*place = 0;
	__sync_fetch_and_add(&nr_again, 1);
	return 0;
}
