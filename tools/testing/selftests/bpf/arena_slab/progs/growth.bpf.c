// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that may sleep, by a program whose memcg is full of page cache:
 * growth.c sees to that. Only kfuncs of any kernel with arenas, but for take_objects.
 */
#define ARENA_PAGES	4096
#include "common.bpf.h"

#define NR_TASKS	4096

u32 want;
u32 got;
u64 page_of[NR_TASKS];	/* by pid */
u64 nr_inits, nr_failed;

SEC("syscall")
int take_pages(void *ctx)
{
	u32 i;

	bpf_for(i, 0, want) {
		u64 __arena *p = (u64 __arena *)alloc_page_at(NULL);

		if (!p)
			return 0;
		*p = i + 1;
		got++;
	}
	return 0;
}

SEC("syscall")
int take_objects(void *ctx)
{
	u32 i;

	bpf_for(i, 0, want) {
		u64 __arena *p = (u64 __arena *)alloc(PAGE_SIZE);

		if (!p)
			return 0;
		*p = i + 1;
		got++;
	}
	return 0;
}

SEC("syscall")
int take_large(void *ctx)
{
	u64 __arena *p = (u64 __arena *)alloc(want * PAGE_SIZE);

	if (p)
		got = want;
	return 0;
}

/* A scheduler with an arena page for each task */
SEC("struct_ops.s/growth_init_task")
int BPF_PROG(growth_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	u64 __arena *page = (u64 __arena *)alloc_page_at(NULL);
	u32 i = p->pid & (NR_TASKS - 1);

	__sync_fetch_and_add(&nr_inits, 1);
	if (!page) {
		__sync_fetch_and_add(&nr_failed, 1);
		return -12;	/* -ENOMEM */
	}
	*page = p->pid;
	page_of[i] = (u64)page;
	return 0;
}

SEC("struct_ops/growth_exit_task")
void BPF_PROG(growth_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	u32 i = p->pid & (NR_TASKS - 1);

	if (page_of[i])
		bpf_arena_free_pages(&arena, (void __arena *)page_of[i], 1);
	page_of[i] = 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops growth = {
	.init_task = (void *)growth_init_task,
	.exit_task = (void *)growth_exit_task,
	.name = "growth",
};
