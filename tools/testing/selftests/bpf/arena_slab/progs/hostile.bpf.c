// SPDX-License-Identifier: GPL-2.0
/*
 * Programs for hostile.c: in the middle of the allocator, and with maps of others.
 */
#define ARENA_PAGES	512
#include "common.bpf.h"

/* ---- in the middle of the allocator ---- */

#define NR_WHO	16
#define NR_CPUS	8
#define NR_KEPT	4

/* One program on one CPU: the BPF core lets none of them interrupt itself */
struct context {
	u64 runs;
	u64 allocs;
	u64 failed;	/* allowed: a lock that is needed may be taken underneath */
	u64 bad;	/* an object that was not zero, or that somebody changed */
	u64 kept[NR_KEPT];
};

struct context contexts[NR_WHO][NR_CPUS];
u64 worked, work_failed;

static __always_inline void churn(u32 who, u32 size)
{
	u32 cpu = bpf_get_smp_processor_id();
	u64 __arena *p, *old;
	struct context *c;
	u64 i, mark;

	if (cpu >= NR_CPUS)
		return;
	c = &contexts[who][cpu];
	i = c->runs++ % NR_KEPT;
	mark = 0x1100000000000000 | who << 16 | cpu << 8 | i;
	old = (u64 __arena *)c->kept[i];
	if (old) {
		if (old[0] != mark || old[1] != ~mark)
			c->bad++;
		bpf_arena_free(&arena, (void __arena *)old);
	}
	p = (u64 __arena *)alloc(size);
	c->kept[i] = (u64)p;
	if (!p) {
		c->failed++;
		return;
	}
	c->allocs++;
	if (p[0] || p[1])
		c->bad++;
	p[0] = mark;
	p[1] = ~mark;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(at_page_alloc)
{
	churn(0, 64);
	return 0;
}

SEC("tp_btf/mm_page_free")
int BPF_PROG(at_page_free)
{
	churn(1, 200);
	return 0;
}

SEC("tp_btf/kmem_cache_alloc")
int BPF_PROG(at_cache_alloc)
{
	churn(2, 64);
	return 0;
}

SEC("tp_btf/kmem_cache_free")
int BPF_PROG(at_cache_free)
{
	churn(3, 1000);
	return 0;
}

SEC("tp_btf/kmalloc")
int BPF_PROG(at_kmalloc)
{
	churn(4, 4096);
	return 0;
}

SEC("tp_btf/kfree")
int BPF_PROG(at_kfree)
{
	churn(5, 16);
	return 0;
}

/* Of the list_lock, of the arena's own spinlock, of everybody's */
SEC("tp_btf/contention_begin")
int BPF_PROG(at_contention)
{
	churn(6, 64);
	return 0;
}

/* Under the list_lock or that of a sheaf, with DEBUG_VM */
SEC("fentry/slab_attach_kprobe_locked")
int BPF_PROG(at_list_lock)
{
	churn(7, 64);
	return 0;
}

/* Under the arena's spinlock */
SEC("fentry/arena_place_slab")
int BPF_PROG(at_place)
{
	churn(8, 500);
	return 0;
}

/* Large, from the lock that it needs: never to be had */
SEC("fentry/range_tree_clear")
int BPF_PROG(at_range_clear)
{
	churn(9, 9000);
	return 0;
}

SEC("fentry/range_tree_set")
int BPF_PROG(at_range_set)
{
	churn(10, 64);
	return 0;
}

SEC("fentry/arena_clear_range")
int BPF_PROG(at_clear)
{
	churn(11, 128);
	return 0;
}

/* With a free list that is in nobody's books */
SEC("kprobe/slab_arena_get_link")
int at_link(struct pt_regs *ctx)
{
	churn(12, 64);
	return 0;
}

/* With a page that is nobody's yet */
SEC("fexit/slab_arena_attach")
int BPF_PROG(at_attach)
{
	churn(13, 300);
	return 0;
}

/* With an object that is neither live nor free */
SEC("fentry/slab_arena_free_nolock")
int BPF_PROG(at_free)
{
	churn(14, 96);
	return 0;
}

#define NR_WORK	128

u64 work_objs[NR_WORK];

/* What goes on underneath: it has to get on */
SEC("syscall")
int work(void *ctx)
{
	u32 round, i, size;
	u8 __arena *p;

	bpf_for(round, 0, 20) {
		bpf_for(i, 0, NR_WORK) {
			if (i >= NR_WORK)
				break;
			size = 16 << (i + round) % 8;
			p = alloc(i % 32 ? size : 3 * PAGE_SIZE);
			work_objs[i] = (u64)p;
			if (!p) {
				work_failed++;
				continue;
			}
			worked++;
			*(u64 __arena *)p = i;
		}
		bpf_for(i, 0, NR_WORK) {
			if (i >= NR_WORK)
				break;
			p = (u8 __arena *)work_objs[i];
			if (p)
				CHECK_EQ(*(u64 __arena *)p, i);
			release(p);
		}
	}
	return 0;
}

SEC("syscall")
int free_kept(void *ctx)
{
	u32 who, cpu, i;

	bpf_for(who, 0, NR_WHO) {
		bpf_for(cpu, 0, NR_CPUS) {
			bpf_for(i, 0, NR_KEPT) {
				if (who >= NR_WHO || cpu >= NR_CPUS || i >= NR_KEPT)
					break;
				release(contexts[who][cpu].kept[i]);
				contexts[who][cpu].kept[i] = 0;
			}
		}
	}
	return 0;
}

/* ---- reports in reports ---- */

u32 nesting_pid;
u64 nested_in, depth, deepest, bad_frees;

/* What is reported is written down in memory that the next program is attached to */
static __always_inline int free_badly(void)
{
	if (!nesting_pid || (u32)bpf_get_current_pid_tgid() != nesting_pid)
		return 0;
	if (++depth > deepest)
		deepest = depth;
	__sync_fetch_and_add(&bad_frees, 1);
	bpf_arena_free(&arena, (void __arena *)(nested_in + 8));
	depth--;
	return 0;
}

/* None of them interrupts itself, so as many as it takes to be as deep */
SEC("fentry/_kmalloc_nolock_noprof")
int BPF_PROG(nest_1)
{
	return free_badly();
}

SEC("fentry/_kmalloc_nolock_noprof")
int BPF_PROG(nest_2)
{
	return free_badly();
}

SEC("fentry/_kmalloc_nolock_noprof")
int BPF_PROG(nest_3)
{
	return free_badly();
}

SEC("fentry/_kmalloc_nolock_noprof")
int BPF_PROG(nest_4)
{
	return free_badly();
}

SEC("syscall")
int nest(void *ctx)
{
	nested_in = (u64)alloc(64);
	CHECK(nested_in);
	nesting_pid = (u32)bpf_get_current_pid_tgid();
	free_badly();
	nesting_pid = 0;
	release(nested_in);
	return 0;
}

/* ---- a deferred free for each that is returned ---- */

u32 storm_pid, storm_size;
u64 storm_runs, storm_max, storm_failed;

/* In an arena without sheaves, where a free that may not spin is always deferred */
static __always_inline void defer_one(void)
{
	void __arena *p = alloc(storm_size);

	if (!p)
		storm_failed++;
	bpf_arena_free(&arena, p);
}

/* Called for each deferred free, where it is returned to SLUB */
SEC("fentry/___cache_free")
int BPF_PROG(storm)
{
	if (storm_runs >= storm_max)
		return 0;
	storm_runs++;
	defer_one();
	return 0;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(storm_begins)
{
	if ((u32)bpf_get_current_pid_tgid() != storm_pid)
		return 0;
	storm_pid = 0;
	defer_one();
	return 0;
}

/* ---- a cause for an irq_work, where it runs ---- */

u64 again_runs, again_max;
u32 again_what;		/* 0: an allocation fails, 1: pages are freed */
u32 again_pid;

static __always_inline void again(void)
{
	if (again_what)
		bpf_arena_free_pages(&arena, alloc_page_at(0), 1);
	else
		release(alloc(PAGE_SIZE));
}

/* Both irq_works of an arena only call a worker: it wants the CPU that they are on */
SEC("fentry/arena_slab_irq")
int BPF_PROG(again_slab)
{
	if (again_runs >= again_max)
		return 0;
	again_runs++;
	again();
	return 0;
}

SEC("fentry/arena_free_irq")
int BPF_PROG(again_pages)
{
	if (again_runs >= again_max)
		return 0;
	again_runs++;
	again();
	return 0;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(again_begins)
{
	if ((u32)bpf_get_current_pid_tgid() != again_pid)
		return 0;
	again_pid = 0;
	again();
	return 0;
}

/* All of the arena, by who does not have it drained */
SEC("syscall")
int fill_up(void *ctx)
{
	u32 i;

	bpf_for(i, 0, ARENA_PAGES)
		if (!alloc_page_at(0))
			break;
	return 0;
}

/* ---- the arena of somebody else ---- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} outer SEC(".maps");

u64 small, big, mine;	/* what came of it */
u32 map_ids[8], nr_maps;
u64 of_map[8];

/* hostile.c puts another arena there, as the map that the program was not loaded with */
SEC("syscall")
int use_inner(void *ctx)
{
	u8 __arena *p = alloc(64);
	u32 key = 0;
	void *inner;

	CHECK(p);
	mine = (u64)p;
	fill(p, 64, 7);
	inner = bpf_map_lookup_elem(&outer, &key);
	CHECK(inner);
	small = (u64)bpf_arena_alloc(inner, 64);
	big = (u64)bpf_arena_alloc(inner, 2 * PAGE_SIZE);
	/* an object of this arena is none of that one */
	bpf_arena_free(inner, (void __arena *)p);
	TRY(verify(p, 64, 7));
	release(p);
	return 0;
}

SEC("syscall")
int free_inner(void *ctx)
{
	u32 key = 0;
	void *inner;

	touch_arena();
	inner = bpf_map_lookup_elem(&outer, &key);
	CHECK(inner);
	bpf_arena_free(inner, (void __arena *)small);
	bpf_arena_free(inner, (void __arena *)big);
	return 0;
}

/* Any map of the machine comes by */
SEC("iter/bpf_map")
int each_map(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	u32 i = nr_maps;
	void __arena *p;

	touch_arena();
	if (!map || map->map_type != BPF_MAP_TYPE_ARENA || i >= 8)
		return 0;
	p = bpf_arena_alloc(map, 64);
	map_ids[i] = map->id;
	of_map[i] = (u64)p;
	nr_maps++;
	bpf_arena_free(map, p);
	bpf_arena_free(map, bpf_arena_alloc(map, 2 * PAGE_SIZE));
	return 0;
}
