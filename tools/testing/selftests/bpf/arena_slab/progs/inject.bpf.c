// SPDX-License-Identifier: GPL-2.0
/* What inject.c does while allocations fail: each call goes on where it can. */
#define ARENA_PAGES	64
#include "common.bpf.h"

#define NR_CLASSES	11
#define NR_PAGES	5

static const u32 sizes[NR_CLASSES] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096 };

u64 objs[NR_CLASSES];
u64 large[2];
u64 pages[2];
u64 every[ARENA_PAGES];
u32 nr;		/* what there is of that */

/* One of each class; those that are there already are not taken again */
SEC("syscall")
int take_classes(void *ctx)
{
	u32 i;

	nr = 0;
	bpf_for(i, 0, NR_CLASSES) {
		if (i >= NR_CLASSES)
			break;
		if (!objs[i])
			objs[i] = (u64)alloc(sizes[i]);
		nr += !!objs[i];
	}
	return 0;
}

SEC("syscall")
int give_classes(void *ctx)
{
	u32 i;

	bpf_for(i, 0, NR_CLASSES) {
		if (i >= NR_CLASSES)
			break;
		release(objs[i]);
		objs[i] = 0;
	}
	return 0;
}

SEC("syscall")
int take_large(void *ctx)
{
	if (!large[0])
		large[0] = (u64)alloc(2 * PAGE_SIZE);
	if (!large[1])
		large[1] = (u64)alloc(40 * PAGE_SIZE);
	nr = !!large[0] + !!large[1];
	return 0;
}

SEC("syscall")
int give_large(void *ctx)
{
	release(large[0]);
	release(large[1]);
	large[0] = large[1] = 0;
	return 0;
}

static u64 middle(void)
{
	return ((struct bpf_arena *)(void *)&arena)->user_vm_start + 20 * PAGE_SIZE;
}

/* In the middle of what is free, and anywhere */
SEC("syscall")
int take_pages(void *ctx)
{
	if (!pages[0])
		pages[0] = (u64)bpf_arena_alloc_pages(&arena, (void __arena *)middle(), NR_PAGES,
						      NUMA_NO_NODE, 0);
	if (!pages[1])
		pages[1] = (u64)bpf_arena_alloc_pages(&arena, NULL, NR_PAGES, NUMA_NO_NODE, 0);
	nr = !!pages[0] + !!pages[1];
	return 0;
}

SEC("syscall")
int give_pages(void *ctx)
{
	bpf_arena_free_pages(&arena, (void __arena *)pages[0], NR_PAGES);
	bpf_arena_free_pages(&arena, (void __arena *)pages[1], NR_PAGES);
	pages[0] = pages[1] = 0;
	return 0;
}

/* Whatever ordinary pages there are, such as those that user space touched */
SEC("syscall")
int give_everything(void *ctx)
{
	bpf_arena_free_pages(&arena, (void __arena *)
			     ((struct bpf_arena *)(void *)&arena)->user_vm_start, ARENA_PAGES);
	return 0;
}

/* How many pages can be had? */
SEC("syscall")
int count_pages(void *ctx)
{
	u32 i;

	nr = 0;
	bpf_for(i, 0, ARENA_PAGES) {
		if (i >= ARENA_PAGES)
			break;
		every[i] = (u64)alloc_page_at(NULL);
		if (!every[i])
			break;
		nr++;
	}
	bpf_for(i, 0, ARENA_PAGES) {
		if (i >= ARENA_PAGES)
			break;
		if (every[i])
			bpf_arena_free_pages(&arena, (void __arena *)every[i], 1);
		every[i] = 0;
	}
	return 0;
}
