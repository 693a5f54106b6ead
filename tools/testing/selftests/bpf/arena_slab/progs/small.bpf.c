// SPDX-License-Identifier: GPL-2.0
/*
 * A small arena, whose size the user space half (teardown.c) sets: all objects it has
 * are taken on one CPU, given back on another, and taken again.
 */
#define ARENA_PAGES	64
#include "common.bpf.h"

#define MAX_OBJS	(64 * 4096)	/* of 16 bytes in 64 pages of 64 KiB */

u64 objs[MAX_OBJS];
u32 nr;		/* how many there are */
u32 size;	/* of each */

SEC("syscall")
int take(void *ctx)
{
	u8 __arena *p;
	u32 i;

	bpf_for(i, nr, MAX_OBJS) {
		if (i >= MAX_OBJS)
			break;
		p = alloc(size);
		if (!p)
			break;
		objs[i] = (u64)p;
		nr = i + 1;
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
	}
	nr = 0;
	return 0;
}

/* The same in programs that may not sleep */
SEC("syscall")
int take_nosleep(void *ctx)
{
	u8 __arena *p;
	u32 i;

	bpf_for(i, nr, MAX_OBJS) {
		if (i >= MAX_OBJS)
			break;
		bpf_rcu_read_lock();
		p = alloc(size);
		bpf_rcu_read_unlock();
		if (!p)
			break;
		objs[i] = (u64)p;
		nr = i + 1;
	}
	return 0;
}

SEC("syscall")
int give_nosleep(void *ctx)
{
	u32 i;

	bpf_for(i, 0, nr) {
		if (i >= MAX_OBJS)
			break;
		bpf_rcu_read_lock();
		release(objs[i]);
		bpf_rcu_read_unlock();
	}
	nr = 0;
	return 0;
}
