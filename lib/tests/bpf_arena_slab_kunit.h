/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites of slab caches in arenas share, beyond bpf_arena_kunit.h: counts, the
 * state of slabs and objects, and which caches there are.
 */
#ifndef LIB_TESTS_BPF_ARENA_SLAB_KUNIT_H
#define LIB_TESTS_BPF_ARENA_SLAB_KUNIT_H

#include <linux/bpf_arena_slab.h>
#include <linux/irq_work.h>
#include <linux/mm.h>
#include "../../kernel/bpf/arena.h"
#include "bpf_arena_kunit.h"
#include "../../mm/slab.h"

/* For a program that is never run: it is who the kfuncs report to */
static inline u64 do_nothing(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	return 0;
}

static inline long counter(struct bpf_arena *arena, enum arena_counter nr)
{
	return arena->slabs ? atomic_long_read(&arena->slabs->counters[nr]) : 0;
}

static inline u64 frees_of(struct bpf_arena_cache *c)
{
	u64 frees = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		frees += per_cpu_ptr(c->stats, cpu)->frees;
	return frees;
}

static inline bool is_filled(const void *p, int c, size_t size)
{
	return !memchr_inv(p, c, size);
}

#define NR_DIRTY	64

/* Pages that are not zero, for whoever allocates next on this CPU, where the caller stays */
static inline void dirty_free_pages(unsigned long pfn[NR_DIRTY])
{
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	for (int i = 0; i < NR_DIRTY; i++) {
		struct page *page = alloc_page(GFP_KERNEL);

		pfn[i] = page ? page_to_pfn(page) : 0;
		if (page)
			memset(page_address(page), 0xff, PAGE_SIZE);
	}
	for (int i = 0; i < NR_DIRTY; i++)
		if (pfn[i])
			__free_page(pfn_to_page(pfn[i]));
}

/* ---- slabs ---- */

/* All deferred frees are done, all pages that were given up are gone; not those by RCU */
static inline void sync_slabs(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena->slabs;
	struct bpf_arena_cache *c;

	if (!sl)
		return;
	mutex_lock(&sl->lock);
	list_for_each_entry(c, &sl->caches, list)
		slab_arena_sync_deferred(c);
	mutex_unlock(&sl->lock);
	for (int i = 0; i < 2; i++) {
		irq_work_sync(&sl->irq);
		flush_work(&sl->work);
	}
}

static inline struct arena_slab *slab_at(struct bpf_arena *arena, u32 pgoff)
{
	unsigned long slot = arena_slot(arena, pgoff);

	return arena_slot_is_slab(slot) ? (struct arena_slab *)slot : NULL;
}

/* The arena must be quiet. LIVE is: SLUB counts it as taken. CACHED is: in a sheaf. */
static inline unsigned int slab_objects_that_are(const struct arena_slab *as, u16 state)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < as->cache->objects; i++)
		nr += as->state[i] == state;
	return nr;
}

static inline unsigned int objects_that_are(struct bpf_arena *arena, u16 state)
{
	unsigned int nr = 0;

	for (u32 pgoff = 0; arena->slabs && pgoff < arena->slabs->slots->nr_pages; pgoff++) {
		struct arena_slab *as = slab_at(arena, pgoff);

		nr += as ? slab_objects_that_are(as, state) : 0;
	}
	return nr;
}

/* How many of those pages are slabs of the arena now? The caller may go elsewhere. */
static inline unsigned int slabs_of_dirty_pages(struct bpf_arena *arena, const unsigned long *pfn)
{
	unsigned int nr = 0;

	set_cpus_allowed_ptr(current, cpu_possible_mask);
	for (u32 pgoff = 0; pgoff < arena->slabs->slots->nr_pages; pgoff++) {
		struct arena_slab *as = slab_at(arena, pgoff);

		for (int i = 0; as && i < NR_DIRTY; i++)
			nr += pfn[i] == page_to_pfn(slab_page(as->slab));
	}
	return nr;
}

/* ---- caches ---- */

static inline bool cache_exists(const char *prefix)
{
	struct kmem_cache *s;
	bool found = false;

	mutex_lock(&slab_mutex);
	list_for_each_entry(s, &slab_caches, list)
		found |= str_has_prefix(s->name, prefix) != 0;
	mutex_unlock(&slab_mutex);
	return found;
}

/* Neither the suites' own nor those of any arena */
static inline void expect_no_caches(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, cache_exists("kunit:"));
	KUNIT_EXPECT_FALSE(test, cache_exists("arena:"));
}

#endif
