// SPDX-License-Identifier: GPL-2.0
/* For bench.c: what an arena has in it when it is destroyed. Each program alone. */
#define ARENA_PAGES	8192
#include "common.bpf.h"

#define NR_OBJS	1000

/* How many ordinary pages */
u32 nr_pages;

/* Without slabs */
SEC("syscall")
int pages(void *ctx)
{
	u32 i;

	touch_arena();
	bpf_for(i, 0, nr_pages)
		CHECK(alloc_page_at(NULL));
	return 0;
}

/* One class, with objects or without any */
SEC("syscall")
int class_unused(void *ctx)
{
	release(alloc(64));
	return 0;
}

SEC("syscall")
int one_class(void *ctx)
{
	u32 i;

	bpf_for(i, 0, NR_OBJS)
		CHECK(alloc(64));
	return 0;
}

/* All of them */
SEC("syscall")
int all_classes(void *ctx)
{
	static const u32 sizes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096 };
	u32 i, n;

	bpf_for(n, 0, sizeof(sizes) / sizeof(sizes[0])) {
		if (n >= sizeof(sizes) / sizeof(sizes[0]))
			break;
		bpf_for(i, 0, NR_OBJS)
			CHECK(alloc(sizes[n]));
	}
	return 0;
}
