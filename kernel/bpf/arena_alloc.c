// SPDX-License-Identifier: GPL-2.0
/*
 * SLAB_BPF_ARENA, the programs' side: size classes, large objects, kfuncs.
 *
 * A program of 100 bytes in an arena of 4096 pages, the third one with slabs:
 *
 *	bpf_arena_alloc(&arena, 100)	class 4, 128 bytes: cache arena:3:128
 *	bpf_arena_alloc(&arena, 9000)	no class: 3 pages, whose slots say LARGE 3, TAIL 1
 *					and TAIL 2
 *
 * Classes are made at program load, arena_slab.c has the caches and the pages. What a
 * program gives back is whatever it likes: it is freed if it is a live object of a cache
 * of programs or the head of a large object, and refused by arena_report.c if it is not.
 *
 * Contexts: the kfuncs run in any, NMI included.
 */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/filter.h>
#include <linux/mm.h>
#include "arena.h"

#define ARENA_CLASS_SMALL	192

static const u16 arena_small_sizes[] = { 16, 32, 64, 96, 128, ARENA_CLASS_SMALL };
/* The class of a size, by steps of 16 */
static const u8 arena_small_classes[] = { 0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5 };
static_assert(ARRAY_SIZE(arena_small_classes) * 16 == ARENA_CLASS_SMALL);

static_assert(ARRAY_SIZE(arena_small_sizes) + PAGE_SHIFT - ilog2(128) == ARENA_NR_CLASSES);

/* ---- size classes ---- */

/* The class of a size between 1 and PAGE_SIZE */
static unsigned int arena_class(u32 size)
{
	if (size > ARENA_CLASS_SMALL)
		return ilog2(size - 1) + 1 - ilog2(256) + ARRAY_SIZE(arena_small_sizes);
	return arena_small_classes[(size - 1) / 16];
}

static unsigned int arena_class_size(unsigned int class)
{
	return class < ARRAY_SIZE(arena_small_sizes) ? arena_small_sizes[class] :
	       256U << (class - ARRAY_SIZE(arena_small_sizes));
}

/**
 * bpf_arena_prepare_alloc - make what bpf_arena_alloc() needs, at program load
 * @arena: the program's arena
 * @min: smallest size that the call site can ask for, in bytes
 * @max: largest size
 *
 * Only the classes in between, and only once for an arena: a class costs a sheaf
 * for each CPU. Classes go with the arena.
 *
 * Context: process, may sleep.
 * Return: 0, -EINVAL or -ENOMEM.
 */
int bpf_arena_prepare_alloc(struct bpf_arena *arena, u64 min, u64 max)
{
	struct arena_slabs *sl = arena_slabs_create(arena);
	struct bpf_arena_cache *c;

	if (IS_ERR(sl))
		return PTR_ERR(sl);
	if (min > PAGE_SIZE || !max)
		return 0;

	guard(mutex)(&sl->lock);
	for (unsigned int i = arena_class(max(min, 1)); i <= arena_class(min(max, PAGE_SIZE));
	     i++) {
		unsigned int size = arena_class_size(i);
		char name[40];

		if (arena->class[i])
			continue;
		snprintf(name, sizeof(name), "arena:%llu:%u", sl->id, size);
		/* Aligned to the largest power of two that divides the size */
		c = arena_cache_create(sl, name, size, size & -size, 0, true);
		if (IS_ERR(c))
			return PTR_ERR(c);
		/* Pairs with the acquire in arena_alloc_object() */
		smp_store_release(&arena->class[i], c);
	}
	return 0;
}

/* ---- kfuncs ---- */

/* What is not of a class: a large object, or nothing */
static noinline void *arena_alloc_large(struct bpf_map *map, u32 size, bool nolock)
{
	struct bpf_arena *arena = container_of(map, struct bpf_arena, map);
	struct arena_slabs *sl;
	u32 page_cnt;
	long uaddr;

	if (map->map_type != BPF_MAP_TYPE_ARENA || !size)
		return NULL;
	/* None if the program was loaded with another arena than this one */
	sl = arena_slabs(arena);
	if (!sl)
		return NULL;
	page_cnt = ((u64)size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	/* Nor are there classes for what the program was not loaded with */
	if (size <= PAGE_SIZE || page_cnt > sl->slots->nr_pages)
		goto none;

	uaddr = arena_alloc_pages(arena, 0, page_cnt, NUMA_NO_NODE, !nolock, true);
	if (!uaddr && arena_drained(sl, nolock))
		uaddr = arena_alloc_pages(arena, 0, page_cnt, NUMA_NO_NODE, true, true);
	if (!uaddr)
		goto none;
	arena_count(sl, ARENA_LARGE_ALLOCS);
	return (void *)uaddr;

none:
	arena_count(sl, ARENA_FAILED_ALLOCS);
	return NULL;
}

/* In each kfunc itself, and with no more of a frame than objects of a class need */
static __always_inline void *arena_alloc_object(struct bpf_map *map, u32 size, bool nolock)
{
	struct bpf_arena *arena = container_of(map, struct bpf_arena, map);
	struct bpf_arena_cache *c;

	/* 0 is too large as well */
	if (unlikely(map->map_type != BPF_MAP_TYPE_ARENA || size - 1 >= PAGE_SIZE))
		return arena_alloc_large(map, size, nolock);
	/* Pairs with the release in bpf_arena_prepare_alloc(). None in an arena without slabs */
	c = smp_load_acquire(&arena->class[arena_class(size)]);
	if (unlikely(!c))
		return arena_alloc_large(map, size, nolock);
	return nolock ? slab_arena_alloc_uaddr_nolock(c) : slab_arena_alloc_uaddr(c);
}

/* Free a large object, if it is one: by the worker, whatever the context */
static bool arena_free_large(struct arena_slabs *sl, u32 pgoff, unsigned int offset,
			     unsigned long slot)
{
	if ((slot & ARENA_SLOT_KIND) != ARENA_SLOT_LARGE || offset)
		return false;
	/* One winner, who owns the slot from then on */
	if (cmpxchg(arena_slots_ptr(sl, pgoff), slot, ARENA_SLOT_DYING) != slot)
		return false;
	arena_count(sl, ARENA_LARGE_FREES);
	arena_push_slot(sl, pgoff, ARENA_SLOT_LARGE_DEAD | (slot & ARENA_SLOT_COUNT));
	return true;
}

/* What is no live object of a class. Preemption is off, and on when it returns. */
static noinline void arena_free_other(struct bpf_arena *arena, void *ptr,
				      struct bpf_prog_aux *aux, unsigned long slot, u16 old)
{
	/* As kfree(NULL); a program cannot tell offset 0 from NULL, so nobody has that */
	if (!(u32)(long)ptr) {
		preempt_enable();
		return;
	}
	if (arena_free_large(arena_slabs(arena), compute_pgoff(arena, (long)ptr),
			     offset_in_page(ptr), slot)) {
		preempt_enable();
		return;
	}
	guard(rcu)();
	preempt_enable();
	arena_refuse_object(arena, aux, ptr, slot, old);
}

static __always_inline void arena_free_object(struct bpf_map *map, void *ptr,
					      struct bpf_prog_aux *aux, bool nolock)
{
	struct bpf_arena *arena = container_of(map, struct bpf_arena, map);
	unsigned int offset = offset_in_page(ptr);
	u16 old = ARENA_OBJ_CACHED;
	struct arena_slab *as;
	struct arena_slabs *sl;
	unsigned long slot = 0;

	if (unlikely(map->map_type != BPF_MAP_TYPE_ARENA))
		return;

	sl = arena_slabs(arena);
	preempt_disable();
	as = likely(sl) ? arena_claim(sl->slots, NULL, true, compute_pgoff(arena, (long)ptr),
				      offset, &slot, &old) : NULL;
	if (unlikely(!as)) {
		arena_free_other(arena, ptr, aux, slot, old);
		return;
	}
	preempt_enable();
	nolock ? slab_arena_free_nolock(as, offset) : slab_arena_free(as, offset);
}

__bpf_kfunc_start_defs();

/**
 * bpf_arena_alloc - allocate an object in an arena
 * @p__map: the arena of the program
 * @size: in bytes; up to PAGE_SIZE rounded up to a size class, above to whole pages
 *
 * Context: any, NMI included; with reclaim if no call site of the program is where it may
 * not sleep, and where the arena is full, that waits a second at most for what others hold
 * idle. If some call site may not: always fails in NMI and hard irq on PREEMPT_RT, and, up
 * to a page, on CPUs without a 16-byte cmpxchg.
 * Return: a zeroed object, aligned to the largest power of two that divides its
 * size class, or NULL; always NULL for a size of 0 or of more than the arena. Its offset
 * in the arena is never 0.
 */
__bpf_kfunc void *bpf_arena_alloc(void *p__map, u32 size)
{
	return arena_alloc_object(p__map, size, false);
}

/**
 * bpf_arena_free - free an object of bpf_arena_alloc()
 * @p__map: the arena
 * @ptr__ign: the object, or NULL
 * @aux: filled in by the verifier
 *
 * What is not a live object of bpf_arena_alloc() is left alone, and reported in
 * the program's stderr stream.
 *
 * Context: any, NMI included.
 */
__bpf_kfunc void bpf_arena_free(void *p__map, void *ptr__ign, struct bpf_prog_aux *aux)
{
	arena_free_object(p__map, ptr__ign, aux, false);
}

__bpf_kfunc_end_defs();

/* What the verifier calls instead if some call site of the program may not sleep */
void *bpf_arena_alloc_non_sleepable(void *p__map, u32 size)
{
	return arena_alloc_object(p__map, size, true);
}

void bpf_arena_free_non_sleepable(void *p__map, void *ptr__ign, struct bpf_prog_aux *aux)
{
	arena_free_object(p__map, ptr__ign, aux, true);
}

BTF_KFUNCS_START(arena_slab_kfuncs)
BTF_ID_FLAGS(func, bpf_arena_alloc, KF_ARENA_RET | KF_SPINLOCK_SAFE)
BTF_ID_FLAGS(func, bpf_arena_free, KF_ARENA_ARG2 | KF_IMPLICIT_ARGS | KF_SPINLOCK_SAFE)
BTF_KFUNCS_END(arena_slab_kfuncs)

static const struct btf_kfunc_id_set arena_slab_kfunc_set = {
	.owner = THIS_MODULE,
	.set   = &arena_slab_kfuncs,
};

static int __init arena_slab_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_UNSPEC, &arena_slab_kfunc_set);
}
late_initcall(arena_slab_init);
