// SPDX-License-Identifier: GPL-2.0
/*
 * An arena whose group has so much memory and no more: hostile.c sets the limit. What
 * cannot be had is NULL, and what was had stays.
 */
#define ARENA_PAGES	2048
#include "common.bpf.h"

#define PER_SIZE	32
#define NR_PAGES	32

static const u32 sizes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 0 };

#define NR_SIZES	(sizeof(sizes) / sizeof(sizes[0]))
#define NR_OBJS		(PER_SIZE * NR_SIZES)

u64 objs[NR_OBJS];
u64 pages[NR_PAGES];
u32 got, failed;	/* of one program's run */

static u32 size_of(u32 i)
{
	return sizes[i % NR_SIZES] ?: 3 * PAGE_SIZE;
}

/* From one end to the other: sizes in turn, so that each may be the first to fail */
SEC("syscall")
int take(void *ctx)
{
	u8 __arena *p;
	u32 i;

	got = failed = 0;
	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS || objs[i])
			continue;
		p = alloc(size_of(i));
		objs[i] = (u64)p;
		if (!p) {
			failed++;
			continue;
		}
		got++;
		TRY(verify_zero(p, size_of(i)));
		fill(p, size_of(i), (u64)i << 32);
	}
	bpf_for(i, 0, NR_PAGES) {
		if (i >= NR_PAGES || pages[i])
			continue;
		pages[i] = (u64)alloc_page_at(NULL);
		if (pages[i])
			got++;
		else
			failed++;
	}
	return 0;
}

/* The same in a program that may not sleep */
SEC("syscall")
int take_nosleep(void *ctx)
{
	u8 __arena *p;
	u32 i;

	got = failed = 0;
	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS || objs[i])
			continue;
		bpf_rcu_read_lock();
		p = alloc(size_of(i));
		bpf_rcu_read_unlock();
		objs[i] = (u64)p;
		if (!p) {
			failed++;
			continue;
		}
		got++;
		TRY(verify_zero(p, size_of(i)));
		fill(p, size_of(i), (u64)i << 32);
	}
	bpf_for(i, 0, NR_PAGES) {
		if (i >= NR_PAGES || pages[i])
			continue;
		bpf_rcu_read_lock();
		pages[i] = (u64)alloc_page_at(NULL);
		bpf_rcu_read_unlock();
		if (pages[i])
			got++;
		else
			failed++;
	}
	return 0;
}

/* Whole as they were left; then they go */
SEC("syscall")
int give(void *ctx)
{
	u32 i;

	bpf_for(i, 0, NR_OBJS) {
		if (i >= NR_OBJS || !objs[i])
			continue;
		TRY(verify((u8 __arena *)objs[i], size_of(i), (u64)i << 32));
		release(objs[i]);
		objs[i] = 0;
	}
	bpf_for(i, 0, NR_PAGES) {
		if (i >= NR_PAGES || !pages[i])
			continue;
		bpf_arena_free_pages(&arena, (void __arena *)pages[i], 1);
		pages[i] = 0;
	}
	return 0;
}
