/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bpf_arena_hostile and bpf_arena_context share: a test's arenas and caches, and the
 * books that are checked when it is done.
 *
 * check_books(): SLUB's count of a slab is the number of its live objects, every other
 * object is on its free list once, nothing but slabs, large objects and the pages that
 * are told is counted in the arena, and no word of them is like a kernel address.
 */
#ifndef LIB_TESTS_BPF_ARENA_HOSTILE_H
#define LIB_TESTS_BPF_ARENA_HOSTILE_H

#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include "bpf_arena_slab_kunit.h"

#define TEST_PAGES	256
#define MAX_ARENAS	8
#define MAX_CACHES	4

struct hostile_ctx {
	struct bpf_arena *arena[MAX_ARENAS];
	struct bpf_prog *prog;
	struct bpf_arena_cache *cache[MAX_CACHES];
	unsigned int pauses;
	bool writes_addresses;	/* by itself, so that they say nothing of the kernel */
};

static inline struct hostile_ctx *ctx_of(struct kunit *test)
{
	return test->priv;
}

static inline struct bpf_arena *arena_of(struct kunit *test, u32 pages, u64 start)
{
	struct hostile_ctx *ctx = ctx_of(test);
	int i = 0;

	while (ctx->arena[i])
		KUNIT_ASSERT_LT(test, ++i, MAX_ARENAS);
	ctx->arena[i] = test_arena_create(pages, start, 0);
	KUNIT_ASSERT_NOT_NULL(test, ctx->arena[i]);
	return ctx->arena[i];
}

static inline struct bpf_arena_cache *cache_of(struct kunit *test, struct bpf_arena *arena,
					       unsigned int size)
{
	struct hostile_ctx *ctx = ctx_of(test);
	int i = 0;

	while (ctx->cache[i])
		KUNIT_ASSERT_LT(test, ++i, MAX_CACHES);
	ctx->cache[i] = bpf_arena_cache_create(&arena->map, "kunit", size, 0, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->cache[i]);
	return ctx->cache[i];
}

/* As a program that may not sleep calls the kfuncs */
static inline void *prog_alloc(struct kunit *test, struct bpf_arena *arena, u32 size)
{
	return bpf_arena_alloc_non_sleepable(&arena->map, size);
}

static inline void prog_free(struct kunit *test, struct bpf_arena *arena, void *ptr)
{
	bpf_arena_free_non_sleepable(&arena->map, ptr, ctx_of(test)->prog->aux);
}

static inline void *page_at(struct bpf_arena *arena, void *uaddr)
{
	return bpf_arena_alloc_pages_sleepable(&arena->map, uaddr, 1, NUMA_NO_NODE, 0);
}

static inline void *kaddr_of(struct bpf_arena *arena, const void *uaddr)
{
	return test_arena_kaddr(arena, (u64)(long)uaddr);
}

static inline u32 offset_of(struct bpf_arena *arena, const void *kaddr)
{
	return (unsigned long)kaddr - bpf_arena_get_kern_vm_start(arena) -
	       (u32)arena->user_vm_start;
}

/* ---- the books ---- */

/* All deferred frees are done, all pages that were given up are gone */
static inline void settle(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena->slabs;
	struct bpf_arena_cache *c;

	if (!sl)
		return;
	mutex_lock(&sl->lock);
	list_for_each_entry(c, &sl->caches, list) {
		slab_arena_sync_deferred(c);
		/* For what waits, and for what came after its grace period had begun */
		for (int i = 0; c->rcu_used && i < 2; i++) {
			irq_work_sync(&c->rcu_irq);
			rcu_barrier();
		}
	}
	mutex_unlock(&sl->lock);
	for (int i = 0; i < 2; i++) {
		irq_work_sync(&sl->irq);
		flush_work(&sl->work);
	}
	irq_work_sync(&arena->free_irq);
	flush_work(&arena->free_work);
}

/* Programs may go on meanwhile */
static inline bool has_slabs(struct bpf_arena_cache *c)
{
	guard(rcu)();
	for (u32 pgoff = 0; pgoff < c->arena->slabs->slots->nr_pages; pgoff++) {
		struct arena_slab *as = slab_at(c->arena, pgoff);

		if (as && as->cache == c)
			return true;
		if (!arena_slot_ptr(c->arena->slabs->slots, pgoff))
			pgoff |= ARENA_LEAF_SLOTS - 1;
	}
	return false;
}

/* All that is not live is on the free list of its slab, or gone with its page */
static inline void flush_all(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena->slabs;
	struct bpf_arena_cache *c;

	settle(arena);
	if (!sl)
		return;
	mutex_lock(&sl->lock);
	/* Work on every CPU: not for each class that nobody uses */
	list_for_each_entry(c, &sl->caches, list)
		if (has_slabs(c))
			kmem_cache_shrink(c->s);
	mutex_unlock(&sl->lock);
	settle(arena);
}

/* Is every object of a slab that is not live on its free list, and there once? */
static inline bool free_list_is_whole(struct arena_slab *as, unsigned int live)
{
	DECLARE_BITMAP(seen, PAGE_SIZE / ARENA_OBJ_MIN_SIZE) = {};
	void *object = as->slab->freelist;
	unsigned int nr = 0;

	while (object) {
		unsigned long offset = object - arena_slab_base(as);
		unsigned int idx = offset / as->cache->size;
		u16 state;

		if (offset % as->cache->size || idx >= as->cache->objects ||
		    test_and_set_bit(idx, seen))
			return false;
		state = as->state[idx];
		if ((state & ARENA_OBJ_TAG) != ARENA_OBJ_FREE &&
		    (state & ARENA_OBJ_TAG) != ARENA_OBJ_FREED)
			return false;
		state &= ARENA_OBJ_INDEX;
		object = state == ARENA_OBJ_END ? NULL :
			 arena_slab_base(as) + state * as->cache->size;
		nr++;
	}
	return nr == as->cache->objects - live;
}

/* All bits set is what tests fill objects with; others have the upper eight in common */
static inline unsigned int words_like_addresses(const u64 *page)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*page); i++) {
		u64 word = READ_ONCE(page[i]);

		nr += word >> 56 == 0xff && word != U64_MAX;
	}
	return nr;
}

/* Returns how many objects of slabs live; @ordinary pages are not of slabs or large objects */
static inline unsigned int check_books(struct kunit *test, struct bpf_arena *arena, u64 ordinary)
{
	unsigned int all = 0, wrong_inuse = 0, wrong_list = 0, empty = 0, unmapped = 0;
	unsigned int addresses = 0;
	u64 pages = ordinary;

	flush_all(arena);
	for (u32 pgoff = 0; arena->slabs && pgoff < arena->slabs->slots->nr_pages; pgoff++) {
		unsigned long slot = arena_slot(arena, pgoff), kind = slot & ARENA_SLOT_KIND;
		struct arena_slab *as = slab_at(arena, pgoff);
		unsigned int live;

		if (!arena_slot_ptr(arena->slabs->slots, pgoff)) {
			pgoff |= ARENA_LEAF_SLOTS - 1;
			continue;
		}
		if (!as && kind != ARENA_SLOT_LARGE && kind != ARENA_SLOT_LARGE_TAIL)
			continue;
		pages++;
		addresses += words_like_addresses(test_arena_kaddr(arena, arena->user_vm_start +
								   (u64)pgoff * PAGE_SIZE));
		if (!as)
			continue;
		live = slab_objects_that_are(as, ARENA_OBJ_LIVE);
		all += live;
		empty += !live;
		wrong_inuse += as->slab->inuse != live || as->slab->objects != as->cache->objects;
		wrong_list += !free_list_is_whole(as, live);
		unmapped += vmalloc_to_page((void *)arena_page_kaddr(as->cache, pgoff)) !=
			    (struct page *)as->slab;
	}
	KUNIT_EXPECT_EQ(test, wrong_inuse, 0);
	KUNIT_EXPECT_EQ(test, wrong_list, 0);
	KUNIT_EXPECT_EQ(test, empty, 0);
	KUNIT_EXPECT_EQ(test, unmapped, 0);
	if (!ctx_of(test)->writes_addresses)
		KUNIT_EXPECT_EQ(test, addresses, 0);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, pages);
	return all;
}

/* No slab and no large object is left, and all of the arena but @ordinary pages is free */
static inline void expect_empty(struct kunit *test, struct bpf_arena *arena, u64 ordinary)
{
	KUNIT_EXPECT_EQ(test, check_books(test, arena, ordinary), 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_SLABS_MAPPED),
			counter(arena, ARENA_SLABS_FREED));
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_LARGE_ALLOCS),
			counter(arena, ARENA_LARGE_FREES));
	KUNIT_EXPECT_EQ(test, arena->nr_pages, ordinary);
}

static inline void give(struct bpf_arena_cache *c, void *p, unsigned int i)
{
	if (i % 16 == 3)
		bpf_arena_cache_free_rcu(c, p);
	else
		i & 1 ? bpf_arena_cache_free_nolock(c, p) : bpf_arena_cache_free(c, p);
}

static inline int hostile_init(struct kunit *test)
{
	struct hostile_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct bpf_arena *none;

	if (!ctx)
		return -ENOMEM;
	/* Any will do, and it is never run: it is who reports go to */
	none = test_arena_create(1, TEST_USER_START, 0);
	if (!none)
		return -ENOMEM;
	ctx->prog = test_arena_prog(test, none, test_arena_touch, 0);
	ctx->prog->aux->arena = NULL;
	test_arena_destroy(none);
	test->priv = ctx;
	return 0;
}

static inline void hostile_exit(struct kunit *test)
{
	struct hostile_ctx *ctx = test->priv;

	if (!ctx)
		return;
	for (int i = 0; i < MAX_CACHES; i++)
		bpf_arena_cache_destroy(ctx->cache[i]);
	for (int i = 0; i < MAX_ARENAS; i++)
		if (ctx->arena[i])
			test_arena_release(test, ctx->arena[i]);
	test_arena_prog_free(ctx->prog);
	expect_no_caches(test);
}

#endif
