// SPDX-License-Identifier: GPL-2.0
/*
 * Schedulers in cid form, as small as they can be: the kernel queues and picks
 * tasks, all that is left are cmasks, which it keeps in the scheduler's arena.
 * sched.c loads one of the struct_ops maps at a time.
 */
#define ARENA_PAGES	64
#include "common.bpf.h"

/* libbpf knows one arena a file: sched.c makes an arena of this one */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} arena2 SEC(".maps");

extern const void __arena *scx_bpf_online_cmask(void) __weak __ksym;
extern u32 scx_bpf_nr_cpu_ids(void) __weak __ksym;
extern void scx_bpf_cid_override(const s32 __arena *cpu_to_cid__arena, u32 cpu_to_cid_cnt,
				 const s32 __arena *shard_start__arena,
				 u32 shard_start_cnt) __weak __ksym;

s32 watched_pid;
u64 online_mask;	/* what the kernel's cmask of online cids says */
u64 nr_set_cmask;
u64 last_cmask;		/* of the watched task */
u64 own_object;
u64 nr_offline, nr_online;	/* hotplug callbacks, and the online mask in the last one */
u64 mask_offline, mask_online;
u64 wild_address;
u64 pages[ARENA_PAGES];
u32 nr_pages;

#define FIRST_WILD	10

static u64 read_cmask(const struct scx_cmask __arena *cmask)
{
	return cmask->base || !cmask->nr_cids ? 0 : cmask->bits[0];
}

SEC("struct_ops.s/no_arena_init")
int BPF_PROG(no_arena_init)
{
	return 0;
}

SEC("struct_ops.s/second_init")
int BPF_PROG(second_init)
{
	asm volatile("" :: "r"(&arena2));
	return 0;
}

/* Kernel-owned objects exist by now. A scheduler that wants to be rid of them: */
SEC("struct_ops.s/hostile_init")
int BPF_PROG(hostile_init)
{
	const void __arena *cmask = scx_bpf_online_cmask();

	if (!cmask)
		return -1;
	bpf_arena_free(&arena, (void __arena *)cmask);
	bpf_arena_free_pages(&arena, (void __arena *)
			     ((struct bpf_arena *)(void *)&arena)->user_vm_start, ARENA_PAGES);
	own_object = (u64)bpf_arena_alloc(&arena, 64);
	return own_object ? 0 : -2;
}

/*
 * All pages of the arena, whoever has them, while the scheduler runs. This and what
 * "frees" consists of are kfuncs of any kernel with sched_ext in cid form.
 */
SEC("syscall")
int free_all_pages(void *ctx)
{
	bpf_arena_free_pages(&arena, (void __arena *)
			     ((struct bpf_arena *)(void *)&arena)->user_vm_start, ARENA_PAGES);
	return 0;
}

SEC("struct_ops.s/one_init")
int BPF_PROG(one_init)
{
	const struct scx_cmask __arena *cmask = scx_bpf_online_cmask();

	touch_arena();
	if (!cmask)
		return -1;
	online_mask = read_cmask(cmask);
	return 0;
}

/*
 * The kernel reads arrays that this program gives it, and there is nothing at the
 * second one's address, which is another page each time: the fault ends on the
 * scratch page, which says 0. That happens to be right for the start of the only
 * shard, so the scheduler goes on.
 */
SEC("struct_ops.s/wild_init_cids")
int BPF_PROG(wild_init_cids)
{
	u32 nr = scx_bpf_nr_cpu_ids(), i;
	u64 start = ((struct bpf_arena *)(void *)&arena)->user_vm_start;
	s32 __arena *cids;

	cids = (s32 __arena *)bpf_arena_alloc(&arena, 256);
	if (!cids || nr > 64)
		return -1;
	bpf_for(i, 0, nr)
		cids[i] = i;
	wild_address = start + FIRST_WILD * PAGE_SIZE;
	bpf_for(i, FIRST_WILD, ARENA_PAGES)
		scx_bpf_cid_override(cids, nr, (s32 __arena *)(start + i * PAGE_SIZE), 1);
	bpf_arena_free(&arena, (void __arena *)cids);
	return 0;
}

/* As many whole pages as there are, given back at once */
SEC("syscall")
int count_pages(void *ctx)
{
	u32 i;

	nr_pages = 0;
	bpf_for(i, 0, ARENA_PAGES) {
		u8 __arena *p = alloc(PAGE_SIZE);

		if (!p || i >= ARENA_PAGES)
			break;
		TRY(verify_zero(p, PAGE_SIZE));
		fill(p, PAGE_SIZE, i);
		pages[i] = (u64)p;
		nr_pages = i + 1;
	}
	bpf_for(i, 0, nr_pages) {
		if (i >= ARENA_PAGES)
			break;
		TRY(verify((u8 __arena *)pages[i], PAGE_SIZE, i));
		release(pages[i]);
	}
	return 0;
}

SEC("syscall")
int page_at_wild(void *ctx)
{
	u8 __arena *p = alloc_page_at(wild_address);

	CHECK_EQ((u64)p, wild_address);
	TRY(verify_zero(p, PAGE_SIZE));
	fill(p, PAGE_SIZE, 1000);
	return verify(p, PAGE_SIZE, 1000);
}

SEC("struct_ops/set_cmask")
void BPF_PROG(set_cmask, struct task_struct *p, const struct scx_cmask *cmask)
{
	touch_arena();
	__sync_fetch_and_add(&nr_set_cmask, 1);
	if (p->pid == watched_pid)
		last_cmask = read_cmask((const struct scx_cmask __arena *)(long)cmask);
}

static u64 read_online(void)
{
	const struct scx_cmask __arena *cmask = scx_bpf_online_cmask();

	return cmask ? read_cmask(cmask) : 0;
}

SEC("struct_ops/cid_offline")
void BPF_PROG(cid_offline, s32 cid)
{
	touch_arena();
	nr_offline++;
	mask_offline = read_online();
}

SEC("struct_ops/cid_online")
void BPF_PROG(cid_online, s32 cid)
{
	touch_arena();
	nr_online++;
	mask_online = read_online();
}

SEC(".struct_ops.link")
struct sched_ext_ops_cid no_arena = {
	.init = (void *)no_arena_init,
	.name = "no_arena",
};

SEC(".struct_ops.link")
struct sched_ext_ops_cid two_arenas = {
	.init = (void *)second_init,
	.set_cmask = (void *)set_cmask,
	.name = "two_arenas",
};

SEC(".struct_ops.link")
struct sched_ext_ops_cid one_arena = {
	.init = (void *)one_init,
	.set_cmask = (void *)set_cmask,
	.name = "one_arena",
};

SEC(".struct_ops.link")
struct sched_ext_ops_cid hostile = {
	.init = (void *)hostile_init,
	.set_cmask = (void *)set_cmask,
	.name = "hostile",
};

SEC(".struct_ops.link")
struct sched_ext_ops_cid frees = {
	.init = (void *)one_init,
	.set_cmask = (void *)set_cmask,
	.cid_online = (void *)cid_online,
	.cid_offline = (void *)cid_offline,
	.name = "frees",
};

SEC(".struct_ops.link")
struct sched_ext_ops_cid wild = {
	.init_cids = (void *)wild_init_cids,
	.set_cmask = (void *)set_cmask,
	.name = "wild",
};
