// SPDX-License-Identifier: GPL-2.0
/*
 * SLAB_BPF_ARENA, the arena side: pages, and caches of the kernel's.
 *
 * mm/slab_arena.c makes objects of a page; here a page gets its place in an arena
 * and finds its way out of it. An arena of 256 pages with user_vm_start
 * 7f7d_2620_0000, and a slab of 64-byte objects:
 *
 *	range tree	pages [1, 255] are free, page 0 is taken
 *	slots		slot 0 -> struct arena_slab { slab, cache }, whose page is at
 *			ffff_8881_0a4c_3000 in the direct map
 *	kernel PTE	ffff_c900_2806_9000 -> the page
 *	user PTEs	7f7d_2620_0000 -> the page, special, in each process that
 *			touched it: no reference, no map count
 *	object 1	programs hold 7f7d_2620_0040, subsystems ffff_c900_2806_9040
 *
 * A page's way in, bpf_arena_slab_map(), under the arena's spinlock: out of the
 * range tree, into an empty PTE by ptep_try_set(), into the slot. The page is zero
 * by then, and the states of its objects are set.
 *
 * Its way out, arena_slab_worker(), in batches:
 *
 *	(a) slot = DYING and PTE cleared, in one critical section for each page
 *	(b) flush the kernel TLB
 *	(c) in each mm that maps the arena: mmap_lock for writing, downgrade, zap
 *	(d) synchronize_rcu(), for those who look slots up without a lock
 *	(e) free the page, uncharge; mark the range as free; free the metadata
 *
 * (a) before (b) and (c), so that nobody finds the page any more while its last
 * translations go; DYING, so that no user fault puts another page there before
 * (e), which would then be marked as free. (c) for writing, because munmap()
 * unlinks a VMA before it clears the PTEs, see arena_zap_mappings(). (e) in this
 * order, so that nothing is put where a TLB may still see what was there.
 *
 * Invariants:
 *
 *  1. A slot points to a struct arena_slab only while a grace period that starts
 *     now would keep it: it is freed after (d), taken out in (a).
 *  2. Every page with a slot that is not none is out of the range tree, and only
 *     the code in this file frees it.
 *  3. Arena page with (u32)uaddr == 0 is never a slab nor part of a large object:
 *     programs take that pointer for NULL.
 *
 * Modelled in tools/verification/arena_slab/: the slot table in
 * slot.pml, the worker's stack of slots in large.pml, (a) to (e) in dying.pml and what
 * (c) meets in munmap.pml, waiting for a drain in drain.pml, the end in teardown.pml.
 *
 * Programs' size classes and kfuncs are in arena_alloc.c; what is told of refused
 * frees, and the counts, in arena_report.c.
 *
 * Locks: see arena.h. Contexts: bpf_arena_slab_map() and _unmap(), the _nolock
 * functions, bpf_arena_cache_free_uaddr() and _rcu(), and what happens to a bad free
 * run in any context, NMI included; the rest may sleep, or says what else.
 */
#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bpf_arena_slab.h>
#include <linux/cacheflush.h>
#include <linux/filter.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>
#include <asm/tlbflush.h>
#include "arena.h"

#define CREATE_TRACE_POINTS
#include <trace/events/bpf_arena.h>

/*
 * A sleepable caller waits at most so long for pages and objects that others sit on,
 * and all of it only if the worker needs a lock of the caller's
 */
#define ARENA_DRAIN_WAIT	HZ
/* Those who cannot wait start no other drain for so long */
#define ARENA_DRAIN_PAUSE	(HZ / 10)
/* and the arena is drained no more often than that: it costs a work item a CPU */
#define ARENA_DRAIN_INTERVAL	(HZ / 100 ?: 1)

LIST_HEAD(arena_slabs_all);
/* Protects it, and the making of bpf_arena.slabs */
DEFINE_MUTEX(arena_slabs_mutex);
static atomic64_t arena_slabs_id;

/* ---- accounting ---- */

/*
 * The map's objcg pays for pages and metadata, and outlives them. A map can be found before
 * it has one, so for pages it is read once: what nobody was charged for is given back to
 * nobody. Metadata know who paid.
 */
#ifdef CONFIG_MEMCG
static void arena_set_objcg(struct arena_slabs *sl)
{
	sl->objcg = mem_cgroup_disabled() ? NULL : READ_ONCE(sl->arena->map.objcg);
}

VISIBLE_IF_KUNIT int arena_charge_page(struct bpf_arena *arena, gfp_t gfp)
{
	struct obj_cgroup *objcg = arena->slabs->objcg;

	ARENA_STUB_REDIRECT(arena_charge_page, arena, gfp);
	return objcg ? obj_cgroup_charge(objcg, gfp, PAGE_SIZE) : 0;
}

static void arena_uncharge_page(struct bpf_arena *arena)
{
	struct obj_cgroup *objcg = arena->slabs->objcg;

	if (objcg)
		obj_cgroup_uncharge(objcg, PAGE_SIZE);
}
#else
static void arena_set_objcg(struct arena_slabs *sl) {}

VISIBLE_IF_KUNIT int arena_charge_page(struct bpf_arena *arena, gfp_t gfp)
{
	ARENA_STUB_REDIRECT(arena_charge_page, arena, gfp);
	return 0;
}

static void arena_uncharge_page(struct bpf_arena *arena) {}
#endif

/* Allocations with __GFP_ACCOUNT up to the matching exit go to the arena's owner */
void bpf_arena_slab_memcg_enter(struct bpf_arena_cache *c, struct mem_cgroup **old,
				struct mem_cgroup **memcg)
{
	bpf_map_memcg_enter(&c->arena->map, old, memcg);
}

void bpf_arena_slab_memcg_exit(struct mem_cgroup *old, struct mem_cgroup *memcg)
{
	bpf_map_memcg_exit(old, memcg);
}

/* ---- slot table ---- */

static unsigned long arena_nr_leaves(unsigned long nr_pages)
{
	return DIV_ROUND_UP(nr_pages, ARENA_LEAF_SLOTS);
}

/* The slot of an arena page, 0 if it has none. Any context, inside of RCU. */
unsigned long arena_slot(struct bpf_arena *arena, u32 pgoff)
{
	struct arena_slabs *sl = arena_slabs(arena);
	unsigned long *p = sl ? arena_slots_ptr(sl, pgoff) : NULL;

	return p ? READ_ONCE(*p) : 0;
}

/*
 * Where does the next stretch of pages without a slot begin, from @pgoff, and
 * where, @next, does it end? Both are at most @end. Under the spinlock.
 */
u32 arena_next_free_slot(struct bpf_arena *arena, u32 pgoff, u32 end, u32 *next)
{
	struct arena_slabs *sl = arena_slabs(arena);
	unsigned long *p;

	*next = end;
	if (!sl)
		return pgoff;

	for (; pgoff < end; pgoff++) {
		p = arena_slots_ptr(sl, pgoff);
		if (!p || !*p)
			break;
	}
	for (*next = pgoff; *next < end; (*next)++) {
		p = arena_slots_ptr(sl, *next);
		if (!p)
			*next |= ARENA_LEAF_SLOTS - 1;
		else if (*p)
			break;
	}
	*next = min(*next, end);
	return min(pgoff, end);
}

/*
 * Mark a range as free, all but the page at offset 0, which an arena begins with or does
 * not have. Under the spinlock. Fails without memory only, and then none of it is free.
 */
int arena_range_release(struct bpf_arena *arena, u32 pgoff, u32 page_cnt)
{
	struct arena_slabs *sl = arena_slabs(arena);

	if (sl && sl->has_zero && !pgoff && page_cnt) {
		pgoff++;
		page_cnt--;
	}
	return page_cnt ? range_tree_set(&arena->rt, pgoff, page_cnt) : 0;
}

VISIBLE_IF_KUNIT int arena_slots_add_leaf(struct arena_slabs *sl, u32 pgoff, gfp_t gfp,
					  bool nolock)
{
	struct arena_slot_leaf **dir = &sl->slots->dir[pgoff >> ARENA_LEAF_SHIFT];
	struct arena_slot_leaf *leaf;

	ARENA_STUB_REDIRECT(arena_slots_add_leaf, sl, pgoff, gfp, nolock);
	if (READ_ONCE(*dir) != arena_no_leaf())
		return 0;

	if (nolock)
		leaf = kmalloc_nolock(sizeof(*leaf), __GFP_ACCOUNT | __GFP_ZERO, NUMA_NO_NODE);
	else
		leaf = kzalloc(sizeof(*leaf), gfp | __GFP_ACCOUNT);
	if (!leaf)
		return -ENOMEM;
	if (cmpxchg(dir, arena_no_leaf(), leaf) != arena_no_leaf())
		nolock ? kfree_nolock(leaf) : kfree(leaf);
	else
		atomic_long_add(sizeof(*leaf), &sl->meta);
	return 0;
}

/*
 * Make the leaves for a range that is about to be taken, under the spinlock; or by @gfp,
 * if that is not 0, outside of it, for one that may be.
 */
int arena_slots_prepare(struct bpf_arena *arena, u32 pgoff, u32 page_cnt, gfp_t gfp)
{
	struct arena_slabs *sl = arena_slabs(arena);
	u32 end = pgoff + page_cnt;
	int err;

	for (pgoff = round_down(pgoff, ARENA_LEAF_SLOTS); pgoff < end; pgoff += ARENA_LEAF_SLOTS) {
		err = arena_slots_add_leaf(sl, pgoff, gfp, !gfp);
		if (err)
			return err;
	}
	return 0;
}

void arena_slots_set_large(struct bpf_arena *arena, u32 pgoff, u32 page_cnt)
{
	struct arena_slabs *sl = arena_slabs(arena);

	/* How far it is to the head, for those who get a pointer wrong */
	for (u32 i = 1; i < page_cnt; i++)
		WRITE_ONCE(*arena_slots_ptr(sl, pgoff + i),
			   ARENA_SLOT_LARGE_TAIL | FIELD_PREP(ARENA_SLOT_COUNT, i));
	/* The head last: it is what a free looks at */
	smp_store_release(arena_slots_ptr(sl, pgoff),
			  ARENA_SLOT_LARGE | FIELD_PREP(ARENA_SLOT_COUNT, page_cnt));
}

/* May ptrace and the like go through the kernel mapping of this page? */
bool arena_slab_access_ok(struct bpf_arena *arena, u32 pgoff)
{
	guard(rcu)();
	return arena_slot_is_slab(arena_slot(arena, pgoff));
}

/*
 * Put a slot on the worker's stack. The slot, of kind LARGE_DEAD or SCRUB, is the
 * caller's. Any context; no allocation, so it cannot fail.
 */
void arena_push_slot(struct arena_slabs *sl, u32 pgoff, unsigned long slot)
{
	unsigned long *p = arena_slots_ptr(sl, pgoff);
	int head = atomic_read(&sl->dead_slots);

	guard(preempt)();
	/* Push only, taken as a whole: no ABA. Pairs with the xchg in the worker. */
	do {
		WRITE_ONCE(*p, slot | FIELD_PREP(ARENA_SLOT_NEXT, head));
	} while (!atomic_try_cmpxchg(&sl->dead_slots, &head, pgoff));
	/* As for slabs, see bpf_arena_slab_unmap() */
	if (head == ARENA_SLOT_NEXT_END)
		irq_work_queue(&sl->irq);
}

/* ---- a page's way in ---- */

struct arena_set_pte {
	struct page *page;
	struct page *scratch_page;
};

static int arena_set_pte_cb(pte_t *pte, unsigned long addr, void *data)
{
	struct arena_set_pte *d = data;

#ifdef ptep_try_set
	/*
	 * Only into an empty PTE. Fault recovery installs the scratch page without
	 * a lock, and other CPUs may have that translation in their TLBs: here it
	 * cannot be flushed, so the slab goes elsewhere.
	 */
	if (ptep_try_set(pte, mk_pte(d->page, PAGE_KERNEL)))
		return 0;
#else
	/* No fault recovery either, so nobody races with us */
	if (pte_none(ptep_get(pte))) {
		set_pte_at(&init_mm, addr, pte, mk_pte(d->page, PAGE_KERNEL));
		return 0;
	}
#endif
	return pte_page(ptep_get(pte)) == d->scratch_page ? -EAGAIN : -EBUSY;
}

/* Find a place for the slab and put it there. Under the spinlock. */
VISIBLE_IF_KUNIT int arena_place_slab(struct arena_slabs *sl, struct arena_slab *as,
				      struct page *page)
{
	struct bpf_arena *arena = sl->arena;
	struct arena_set_pte d = { .page = page, .scratch_page = arena->scratch_page };
	unsigned long kaddr;

	ARENA_STUB_REDIRECT(arena_place_slab, sl, as, page);
	for (int i = 0; i < ARENA_SCRUB_MAX; i++) {
		s64 pgoff = range_tree_find(&arena->rt, 1);
		int err;

		if (pgoff < 0)
			return -ENOSPC;
		if (WARN_ON_ONCE(pgoff >= sl->slots->nr_pages))
			return -ENOSPC;
		as->pgoff = pgoff;
		if (!arena_slots_ptr(sl, pgoff))
			return -EAGAIN;
		/* The start of a range: needs no memory, cannot fail */
		range_tree_clear(&arena->rt, pgoff, 1);

		kaddr = arena_page_kaddr(as->cache, pgoff);
		err = apply_to_page_range(&init_mm, kaddr, PAGE_SIZE, arena_set_pte_cb, &d);
		if (!err) {
			WRITE_ONCE(arena->nr_pages, arena->nr_pages + 1);
			flush_cache_vmap(kaddr, kaddr + PAGE_SIZE);
			/* Publishes *as; pairs with the dependency of those who look */
			smp_store_release(arena_slots_ptr(sl, pgoff), (unsigned long)as);
			return 0;
		}
		/* A page in a free range is a bug, and the range is not ours to reuse */
		VM_WARN_ON_ONCE(err != -EAGAIN);
		if (err == -EAGAIN)
			arena_push_slot(sl, pgoff, ARENA_SLOT_SCRUB);
	}
	return -ENOSPC;
}

static size_t arena_slab_bytes(const struct arena_slab *as)
{
	return struct_size(as, state, arena_slab_states(as->cache->size));
}

/**
 * bpf_arena_slab_map - give a new slab its place in the arena
 * @as: the slab, all set up but for @pgoff, which is set here, and @rcu, in its place
 * @page: its page, zeroed
 * @gfp: for what else has to be allocated
 * @allow_spin: whether locks may be taken
 *
 * Context: without @allow_spin any; with it as @gfp says.
 * Return: 0, or with nothing left behind: -ENOMEM for what else has to be allocated, or for
 * the charge, -ENOSPC if the arena is full, -EBUSY if its lock is not to be had, -EAGAIN if
 * others were faster each time.
 */
int bpf_arena_slab_map(struct arena_slab *as, struct page *page, gfp_t gfp, bool allow_spin)
{
	struct bpf_arena_cache *c = as->cache;
	struct bpf_arena *arena = c->arena;
	struct arena_slabs *sl = arena_slabs(arena);
	unsigned long flags;
	int err;

	err = arena_charge_page(arena, allow_spin ? gfp : __GFP_NOWARN | __GFP_NOMEMALLOC);
	if (err)
		return err;

	/*
	 * The leaf is allocated outside of the lock, for the page that was found;
	 * then the search starts again, since others may have been faster.
	 */
	for (int i = 0; i < ARENA_SCRUB_MAX; i++) {
		if (allow_spin && gfpflags_allow_blocking(gfp)) {
			arena_lock_sleepable(arena, &flags);
		} else if (raw_res_spin_lock_irqsave(&arena->spinlock, flags)) {
			err = -EBUSY;
			break;
		}
		err = arena_place_slab(sl, as, page);
		raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
		if (err != -EAGAIN)
			break;
		/* That stays what went wrong if it was the last time */
		if (arena_slots_add_leaf(sl, as->pgoff, gfp, !allow_spin)) {
			err = -ENOMEM;
			break;
		}
	}
	if (err) {
		arena_uncharge_page(arena);
		return err;
	}
	refcount_inc(&c->ref);
	atomic_long_add(arena_slab_bytes(as), &sl->meta);
	arena_count(sl, ARENA_SLABS_MAPPED);
	return 0;
}

/* ---- a page's way out ---- */

/* The slab is SLUB's no more. Any context. */
void bpf_arena_slab_unmap(struct arena_slab *as)
{
	struct arena_slabs *sl = as->cache->arena->slabs;

	/*
	 * In this order: irq_work and work item can be queued again as soon as a run has
	 * begun, so the one that may have missed the slab is not the last. @as may be
	 * gone by then, @sl is not: whoever gives slabs up is waited for before it goes.
	 *
	 * Only who finds the list empty queues it, which is no loss: the worker takes all,
	 * after that. And where a program is called by the irq_work, or behind it, and gives
	 * up a slab or a large object there, or fails to get one, the irq_work would come
	 * again for each, at once, and no task on this CPU; so it has to wait for the worker.
	 * The others count on the first one, which must not be preempted before it has queued it.
	 */
	guard(preempt)();
	if (llist_add(&as->node, &sl->dead))
		irq_work_queue(&sl->irq);
}

static void arena_slab_irq(struct irq_work *irq)
{
	struct arena_slabs *sl = container_of(irq, struct arena_slabs, irq);

	/* Not bound to a CPU: it may wait for the mmap_lock of a mapper for long */
	queue_work(system_dfl_wq, &sl->work);
}

static void arena_cache_put(struct bpf_arena_cache *c)
{
	struct bpf_map *map = c->of_program ? NULL : &c->arena->map;

	if (!refcount_dec_and_test(&c->ref))
		return;
	free_percpu(c->stats);
	kfree(c->name);
	kfree(c);
	/* May be the last one: the arena is not touched after this */
	if (map)
		bpf_map_put(map);
}

struct arena_batch {
	struct arena_slabs *sl;
	struct llist_node *slabs;
	u32 slots;
	u32 stretch;	/* pages since the spinlock was taken */
	unsigned long start;
	unsigned long end;
};

/* Iterate over the slots of a batch; @next is read first, the slot may change */
#define for_each_batch_slot(b, pgoff, slot, next)					\
	for (pgoff = (b)->slots;							\
	     pgoff != ARENA_SLOT_NEXT_END &&						\
	     (slot = *arena_slots_ptr((b)->sl, pgoff),					\
	      next = FIELD_GET(ARENA_SLOT_NEXT, slot), true);				\
	     pgoff = next)

static u32 arena_slot_pages(unsigned long slot)
{
	return (slot & ARENA_SLOT_KIND) == ARENA_SLOT_LARGE_DEAD ?
		FIELD_GET(ARENA_SLOT_COUNT, slot) : 1;
}

static void arena_batch_add(struct arena_batch *b, unsigned long kaddr, u32 page_cnt)
{
	b->start = min(b->start, kaddr);
	b->end = max(b->end, kaddr + (unsigned long)page_cnt * PAGE_SIZE);
}

/*
 * How many pages a batch has is the programs' choice: all of an arena, if a process keeps
 * the worker waiting for long enough. Others get the lock, and this CPU its interrupts, after
 * each stretch of them; until its turn comes a page is as it was.
 */
static void arena_batch_pause(struct arena_batch *b, u32 page_cnt, unsigned long *flags)
{
	struct bpf_arena *arena = b->sl->arena;

	b->stretch += page_cnt;
	if (b->stretch < ARENA_STRETCH_MAX)
		return;
	raw_res_spin_unlock_irqrestore(&arena->spinlock, *flags);
	b->stretch = 0;
	arena_window(ARENA_WINDOW_PAUSE);
	/* Nobody else sleeps here for RCU tasks */
	cond_resched_tasks_rcu_qs();
	arena_lock_sleepable(arena, flags);
}

/* Iterate over the stretches of an object of @cnt pages */
#define for_each_stretch(i, nr, cnt)							\
	for (i = 0; i < (cnt) && (nr = min((cnt) - i, ARENA_STRETCH_MAX), true); i += nr)

/* (a): nobody finds these pages from now on */
static void arena_batch_unmap(struct arena_batch *b, struct llist_head *pages)
{
	struct bpf_arena *arena = b->sl->arena;
	unsigned long slot, flags;
	struct llist_head mine;
	struct arena_slab *as;
	u32 pgoff, next;

	b->stretch = 0;
	arena_lock_sleepable(arena, &flags);
	llist_for_each_entry(as, b->slabs, node) {
		/* The page is as->slab, which goes back by a way of its own */
		init_llist_head(&mine);
		WRITE_ONCE(*arena_slots_ptr(b->sl, as->pgoff), ARENA_SLOT_DYING);
		arena_clear_range(arena, as->pgoff, 1, &mine);
		arena_batch_add(b, arena_page_kaddr(as->cache, as->pgoff), 1);
		arena_batch_pause(b, 1, &flags);
	}
	for_each_batch_slot(b, pgoff, slot, next) {
		u32 cnt = arena_slot_pages(slot), i, nr;

		for_each_stretch(i, nr, cnt) {
			/* The first one says LARGE_DEAD, and has the link */
			for (u32 j = i ?: 1; j < i + nr; j++)
				WRITE_ONCE(*arena_slots_ptr(b->sl, pgoff + j), ARENA_SLOT_DYING);
			arena_clear_range(arena, pgoff + i, nr, pages);
			arena_batch_pause(b, nr, &flags);
		}
		arena_batch_add(b, bpf_arena_get_kern_vm_start(arena) +
				arena_pgoff_to_uaddr32(arena, pgoff), cnt);
	}
	raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
}

/* (c), for one mm */
static void arena_batch_zap(struct vm_area_struct *vma, void *data)
{
	struct arena_batch *b = data;
	struct arena_slab *as;
	unsigned long slot;
	u32 pgoff, next;

	llist_for_each_entry(as, b->slabs, node)
		arena_zap_range(vma, as->pgoff, 1);
	for_each_batch_slot(b, pgoff, slot, next)
		arena_zap_range(vma, pgoff, arena_slot_pages(slot));
}

/* Under the spinlock. False if there is no memory for it: the worker comes once more. */
static bool arena_place_release(struct arena_batch *b, u32 pgoff, u32 page_cnt)
{
	struct arena_slabs *sl = b->sl;

	for (u32 i = 0; i < page_cnt; i++)
		WRITE_ONCE(*arena_slots_ptr(sl, pgoff + i), 0);
	if (!arena_range_release(sl->arena, pgoff, page_cnt) || sl->going)
		return true;
	for (u32 i = 0; i < page_cnt; i++)
		arena_push_slot(sl, pgoff + i, ARENA_SLOT_SCRUB);
	return false;
}

/*
 * (e), but for the pages: the places may be used again. False if the range tree
 * had no memory for all of them; those are on the worker's stack once more.
 */
static bool arena_batch_release(struct arena_batch *b)
{
	struct arena_slabs *sl = b->sl;
	struct bpf_arena *arena = sl->arena;
	unsigned long slot, flags;
	struct arena_slab *as;
	u32 pgoff, next;
	bool ok = true;

	b->stretch = 0;
	arena_lock_sleepable(arena, &flags);
	llist_for_each_entry(as, b->slabs, node) {
		ok &= arena_place_release(b, as->pgoff, 1);
		arena_batch_pause(b, 1, &flags);
	}
	for_each_batch_slot(b, pgoff, slot, next) {
		u32 cnt = arena_slot_pages(slot), i, nr;

		if ((slot & ARENA_SLOT_KIND) == ARENA_SLOT_SCRUB)
			arena_count(sl, ARENA_SCRUBS);
		for_each_stretch(i, nr, cnt) {
			ok &= arena_place_release(b, pgoff + i, nr);
			arena_batch_pause(b, nr, &flags);
		}
	}
	raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
	return ok;
}

/* Give back what sheaves, barns and empty slabs of the arena's caches hold */
static void arena_drain(struct arena_slabs *sl)
{
	struct bpf_arena_cache *c;
	unsigned long since = jiffies - sl->last_drain;

	if (since < ARENA_DRAIN_INTERVAL)
		schedule_timeout_uninterruptible(ARENA_DRAIN_INTERVAL - since);
	/* Before the drain: who finds the arena full from now on wants another */
	WRITE_ONCE(sl->want_drain, false);
	/*
	 * In this order, or the wish of one who has seen the new number could be erased;
	 * pairs with the acquire in arena_wait_drained().
	 */
	smp_store_release(&sl->drain_started, sl->drain_started + 1);
	smp_mb(); /* both before the drain */

	mutex_lock(&sl->lock);
	list_for_each_entry(c, &sl->caches, list) {
		slab_arena_sync_deferred(c);
		slab_arena_drain(c->s);
	}
	mutex_unlock(&sl->lock);
	WRITE_ONCE(sl->last_drain, jiffies);
	arena_count(sl, ARENA_DRAINS);
}

static void arena_slab_worker(struct work_struct *work)
{
	struct arena_slabs *sl = container_of(work, struct arena_slabs, work);
	struct bpf_arena *arena = sl->arena;
	struct llist_node *pos, *t;
	struct arena_slab *as, *tmp;
	struct mem_cgroup *old, *memcg;
	struct arena_batch b;
	LLIST_HEAD(pages);
	bool released;

	if (READ_ONCE(sl->want_drain) && !READ_ONCE(sl->going))
		arena_drain(sl);

	b = (struct arena_batch) {
		.sl = sl,
		.slabs = llist_del_all(&sl->dead),
		/* Pairs with the cmpxchg in arena_push_slot() */
		.slots = atomic_xchg(&sl->dead_slots, ARENA_SLOT_NEXT_END),
		.start = ULONG_MAX,
	};
	if (!b.slabs && b.slots == ARENA_SLOT_NEXT_END)
		goto out;

	arena_batch_unmap(&b, &pages);						/* (a) */
	arena_window(ARENA_WINDOW_UNMAPPED);
	flush_tlb_kernel_range(b.start, b.end);					/* (b) */
	arena_zap_mappings(arena, arena_batch_zap, &b, ARENA_ZAP_DRAIN);	/* (c) */
	if (b.slabs)
		synchronize_rcu();						/* (d) */
	arena_window(ARENA_WINDOW_FREE);

	llist_for_each_entry(as, b.slabs, node) {				/* (e) */
		slab_arena_free_page((struct page *)as->slab);
		arena_uncharge_page(arena);
		arena_count(sl, ARENA_SLABS_FREED);
	}
	llist_for_each_safe(pos, t, __llist_del_all(&pages))
		__free_page(llist_entry(pos, struct page, pcp_llist));

	bpf_map_memcg_enter(&arena->map, &old, &memcg);
	released = arena_batch_release(&b);
	bpf_map_memcg_exit(old, memcg);

	llist_for_each_entry_safe(as, tmp, b.slabs, node) {
		struct bpf_arena_cache *c = as->cache;

		atomic_long_sub(arena_slab_bytes(as), &sl->meta);
		kfree(as);
		arena_cache_put(c);
	}
	/* The next run is on its way already: not before there may be memory */
	if (!released)
		schedule_timeout_uninterruptible(HZ / 10);
out:
	/* Pairs with the acquire in arena_wait_drained() */
	smp_store_release(&sl->drain_done, sl->drain_started);
	wake_up_all(&sl->wait);
}

/* Somebody found the arena full. Any context; only one has it queued, as for dead slabs. */
static void arena_want_drain(struct arena_slabs *sl)
{
	guard(preempt)();
	/* Orders what the caller has read of drain_started; pairs with arena_drain() */
	if (!xchg(&sl->want_drain, true))
		irq_work_queue(&sl->irq);
}

/*
 * Wait for what others hold idle, for a bounded time: the worker may need a lock
 * of our caller's, such as the mmap_lock.
 */
static void arena_wait_drained(struct arena_slabs *sl)
{
	/* A drain that is under way may have passed by what we need: the next one */
	unsigned long seq = smp_load_acquire(&sl->drain_started) + 1;

	arena_want_drain(sl);
	/* Pairs with the release at the end of a drain */
	wait_event_timeout(sl->wait, (long)(smp_load_acquire(&sl->drain_done) - seq) >= 0,
			   ARENA_DRAIN_WAIT);
}

/*
 * An allocation failed. True if it may be worth another try; if the caller may not
 * wait, it is too late for this one.
 */
bool arena_drained(struct arena_slabs *sl, bool nowait)
{
	if (!nowait && !(current->flags & PF_MEMALLOC)) {
		arena_wait_drained(sl);
		return true;
	}
	/* alloc_pages_nolock() has no page there, however empty the arena is */
	if (IS_ENABLED(CONFIG_PREEMPT_RT) && (in_nmi() || in_hardirq()))
		return false;
	if (time_after(jiffies, READ_ONCE(sl->last_drain) + ARENA_DRAIN_PAUSE))
		arena_want_drain(sl);
	return false;
}

/* ---- caches ---- */

/*
 * How many objects a sheaf holds; what fills the buckets of kmalloc() together with its
 * header of 32 bytes. From 1024 bytes on it is more than SLUB gives to ordinary caches of
 * the size: what finds no place in sheaves costs a slab that is unmapped and one that is
 * mapped, and a flush of all TLBs, and not a page of the CPU's list.
 *
 * Two sheaves for each CPU and the full ones for each node of a cache have an eighth of the
 * arena at most; so small a sheaf that it is no use is none at all.
 */
static unsigned int arena_sheaf_capacity(unsigned long nr_pages, unsigned long size)
{
	unsigned long sheaves = 2 * num_possible_cpus() + SLAB_ARENA_FULL_SHEAVES * nr_node_ids;
	unsigned long limit = nr_pages * (PAGE_SIZE / size) / 8 / sheaves;
	unsigned long capacity = size >= PAGE_SIZE ? 12 : size >= 256 ? 28 : 60;

	return limit < 4 ? 0 : min(limit, capacity);
}

struct arena_slabs *arena_slabs_create(struct bpf_arena *arena)
{
	unsigned long nr_pages, max_pages, flags;
	struct mem_cgroup *old, *memcg;
	struct arena_slabs *sl;

	/* Others may hold the mutex for long, who reclaim memory for theirs */
	sl = arena_slabs(arena);
	if (sl)
		return sl;
	guard(mutex)(&arena_slabs_mutex);
	sl = arena_slabs(arena);
	if (sl)
		return sl;
	/* The first mmap() sets start and end, one after the other */
	mutex_lock(&arena->lock);
	max_pages = arena_max_pages(arena);
	mutex_unlock(&arena->lock);
	/* Neither map_extra nor mmap() has told where the arena is in user space */
	if (!max_pages)
		return ERR_PTR(-EINVAL);
	/*
	 * mmap() may have been shorter than the map, which is what the range tree
	 * covers, or longer: then a page that user space touched behind the end
	 * comes into the range tree when a program frees it.
	 */
	nr_pages = max(arena->map.max_entries, max_pages);

	sl = kzalloc_obj(*sl);
	if (!sl)
		return ERR_PTR(-ENOMEM);
	sl->arena = arena;
	arena_set_objcg(sl);
	sl->id = atomic64_inc_return(&arena_slabs_id);
	mutex_init(&sl->lock);
	INIT_LIST_HEAD(&sl->caches);
	init_llist_head(&sl->dead);
	atomic_set(&sl->dead_slots, ARENA_SLOT_NEXT_END);
	init_irq_work(&sl->irq, arena_slab_irq);
	INIT_WORK(&sl->work, arena_slab_worker);
	init_waitqueue_head(&sl->wait);
	sl->last_drain = jiffies - HZ;
	arena_faults_init(&sl->faults, arena);

	bpf_map_memcg_enter(&arena->map, &old, &memcg);
	sl->slots = kvzalloc(struct_size(sl->slots, dir, arena_nr_leaves(nr_pages)),
			     GFP_KERNEL_ACCOUNT);
	if (!sl->slots) {
		bpf_map_memcg_exit(old, memcg);
		kfree(sl);
		return ERR_PTR(-ENOMEM);
	}
	sl->slots->nr_pages = nr_pages;
	for (unsigned long i = 0; i < arena_nr_leaves(nr_pages); i++)
		sl->slots->dir[i] = arena_no_leaf();
	atomic_long_set(&sl->meta, struct_size(sl->slots, dir, arena_nr_leaves(nr_pages)));

	/*
	 * No arena crosses 4 GiB, see arena_get_unmapped_area(): at the beginning no range
	 * is split, which would take memory.
	 */
	sl->has_zero = !(u32)arena->user_vm_start;
	/* With the lock: arena_range_release() knows from then on what page 0 is */
	arena_lock_sleepable(arena, &flags);
	if (sl->has_zero)
		range_tree_clear(&arena->rt, 0, 1);
	/* Pairs with the acquire in arena_slabs() */
	smp_store_release(&arena->slabs, sl);
	raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
	bpf_map_memcg_exit(old, memcg);

	list_add_tail(&sl->all, &arena_slabs_all);
	return sl;
}

/* Make a cache; sl->lock is held */
struct bpf_arena_cache *
arena_cache_create(struct arena_slabs *sl, const char *name, unsigned int size,
		   unsigned int align, slab_flags_t flags, bool of_program)
{
	struct kmem_cache_args args = { .align = align };
	struct bpf_arena *arena = sl->arena;
	struct bpf_arena_cache *c;
	unsigned long place;

	lockdep_assert_held(&sl->lock);

	c = kzalloc_obj(*c);
	if (!c)
		return ERR_PTR(-ENOMEM);
	c->name = kstrdup(name, GFP_KERNEL);
	if (!c->name)
		goto err_free;
	c->stats = alloc_percpu(struct arena_cache_stats);
	if (!c->stats)
		goto err_free;

	c->arena = arena;
	c->map_id = arena->map.id;
	c->slots = sl->slots;
	c->kbase = bpf_arena_get_kern_vm_start(arena);
	c->user_start = arena->user_vm_start;
	c->of_program = of_program;
	atomic_set(&c->deferred, ARENA_LIST_END);
	init_irq_work(&c->deferred_irq, slab_arena_deferred_irq);
	INIT_WORK(&c->deferred_work, slab_arena_deferred_work);
	atomic_set(&c->rcu_new, ARENA_LIST_END);
	c->rcu_wait = ARENA_LIST_END;
	init_irq_work(&c->rcu_irq, slab_arena_rcu_work);
	refcount_set(&c->ref, 1);

	args.arena = c;
	/* Of the place that an object takes; of small ones, maybe, of more */
	if (flags & SLAB_HWCACHE_ALIGN)
		align = max_t(unsigned int, align, cache_line_size());
	place = roundup(max_t(unsigned long, size, ARENA_OBJ_MIN_SIZE),
			max_t(unsigned long, align, ARENA_OBJ_MIN_SIZE));
	args.sheaf_capacity = arena_sheaf_capacity(sl->slots->nr_pages, place);
	c->s = kmem_cache_create(name, size, &args, flags | SLAB_BPF_ARENA);
	if (!c->s)
		goto err_stats;
	slab_arena_init_cache(c);
	list_add_tail(&c->list, &sl->caches);
	return c;

err_stats:
	free_percpu(c->stats);
err_free:
	kfree(c->name);
	kfree(c);
	return ERR_PTR(-ENOMEM);
}

/*
 * Wait for the irq_works of an arena, which nobody queues any more. irq_work_sync() may
 * return while one runs on a second CPU: a run that ends takes the BUSY of a later one
 * for its own, and clears it. But all have begun by then, and a run is inside of RCU,
 * with irqs off or in a thread that says so. What they gave to a worker is queued then.
 */
static void arena_sync_irq_works(struct arena_slabs *sl)
{
	struct bpf_arena_cache *c;

	list_for_each_entry(c, &sl->caches, list)
		irq_work_sync(&c->deferred_irq);
	synchronize_rcu();
	/* These free slabs, and so queue the next one */
	list_for_each_entry(c, &sl->caches, list)
		flush_work(&c->deferred_work);
	irq_work_sync(&sl->irq);
	synchronize_rcu();
}

/*
 * Give up all slabs and the kmem_cache; @c lives on until its pages are gone. Deferred
 * frees are done: they take the list_lock of the cache.
 */
static void arena_cache_destroy(struct bpf_arena_cache *c)
{
	struct kmem_cache *s = c->s;

	slab_arena_detach(s);
	/* Detached, so it does not matter if a BPF iterator destroys it later */
	kmem_cache_destroy(s);
	arena_cache_put(c);
}

/**
 * bpf_arena_cache_create - create a slab cache in a BPF arena
 * @map: the arena; a reference is taken
 * @name: shown in /proc/slabinfo as "NAME:NUMBER:SIZE", NUMBER being new for each
 * @size: object size in bytes, 1 to PAGE_SIZE; rounded up to a word
 * @align: alignment in bytes, a power of two up to PAGE_SIZE, or 0
 * @flags: 0 or SLAB_HWCACHE_ALIGN
 *
 * Objects of the cache are the kernel's: programs read and write them as all of
 * the arena, and cannot free them.
 *
 * Context: process, may sleep. Not with cpu_hotplug_lock or slab_mutex held.
 * Return: the cache, or ERR_PTR: -EINVAL if @map is no arena, if it is not mapped
 * yet and has no map_extra, or if another argument is out of range; -ENOMEM.
 * -EOPNOTSUPP without CONFIG_SLAB_BPF_ARENA.
 */
struct bpf_arena_cache *bpf_arena_cache_create(struct bpf_map *map, const char *name,
					       unsigned int size, unsigned int align,
					       slab_flags_t flags)
{
	struct bpf_arena *arena = container_of(map, struct bpf_arena, map);
	struct bpf_arena_cache *c;
	struct arena_slabs *sl;
	char *full;

	might_sleep();
	if (!map || map->map_type != BPF_MAP_TYPE_ARENA || !name || !size || size > PAGE_SIZE ||
	    align > PAGE_SIZE || (align && !is_power_of_2(align)) ||
	    (flags & ~SLAB_HWCACHE_ALIGN))
		return ERR_PTR(-EINVAL);

	sl = arena_slabs_create(arena);
	if (IS_ERR(sl))
		return ERR_CAST(sl);

	guard(mutex)(&sl->lock);
	/* Two caches of one subsystem in one arena: sched_ext's sub-schedulers */
	full = kasprintf(GFP_KERNEL, "%s:%llu:%u", name, atomic64_inc_return(&arena_slabs_id),
			 size);
	if (!full)
		return ERR_PTR(-ENOMEM);
	c = arena_cache_create(sl, full, size, align, flags, false);
	kfree(full);
	if (!IS_ERR(c)) {
		bpf_map_inc(map);
		arena_faults_get(&sl->faults);
	}
	return c;
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_create);

/**
 * bpf_arena_cache_destroy - destroy a cache
 * @c: the cache, or NULL, or an ERR_PTR of bpf_arena_cache_create()
 *
 * Objects that were not freed go with it. Nobody may use the cache any more, nor
 * an object of it. Its pages, and the reference to the arena, are given back by a
 * worker, after all mappings are gone; they stay charged until then.
 *
 * Context: process, may sleep. Not with cpu_hotplug_lock or slab_mutex held.
 */
void bpf_arena_cache_destroy(struct bpf_arena_cache *c)
{
	struct arena_slabs *sl;

	if (IS_ERR_OR_NULL(c))
		return;
	sl = arena_slabs(c->arena);
	arena_faults_put(&sl->faults);
	mutex_lock(&sl->lock);
	list_del(&c->list);
	mutex_unlock(&sl->lock);
	/*
	 * See arena_sync_irq_works(). The grace period is also for those who still look
	 * at objects of bpf_arena_cache_free_rcu(): after it the pages may go, and what
	 * waits goes with them. And it is for callbacks of that, which have bottom halves
	 * off: who has not seen rcu_stop has queued the next one before it ends, and that
	 * one queues nothing. Only caches that have used it pay for the barrier.
	 */
	WRITE_ONCE(c->rcu_stop, true);
	irq_work_sync(&c->deferred_irq);
	irq_work_sync(&c->rcu_irq);
	synchronize_rcu();
	flush_work(&c->deferred_work);
	if (c->rcu_used)
		rcu_barrier();
	arena_cache_destroy(c);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_destroy);

/* There was no object for bpf_arena_cache_alloc(): what others hold idle, if the caller may wait */
void *bpf_arena_slab_alloc_slow(struct bpf_arena_cache *c, gfp_t gfp, int node, bool nolock,
				bool in_user_space)
{
	void *p = NULL;

	/* Where there is none in any case the arena need not be full */
	if (nolock && !kmem_cache_may_alloc_nolock(c->s))
		goto out;
	if (arena_drained(c->arena->slabs, nolock || !gfpflags_allow_blocking(gfp)))
		p = slab_arena_alloc_again(c, gfp, node, in_user_space);
out:
	if (!p)
		arena_count(c->arena->slabs, ARENA_FAILED_ALLOCS);
	return p;
}

/**
 * bpf_arena_cache_alloc_bulk - allocate several objects, or none
 * @c: the cache
 * @gfp: as for bpf_arena_cache_alloc()
 * @nr: how many
 * @kaddrs: where to put their arena kernel addresses
 *
 * The order of the addresses means nothing. If one object is not to be had, the others
 * go back before anybody has seen them, and all of @kaddrs is NULL.
 *
 * Context: as bpf_arena_cache_alloc(), with irqs on.
 * Return: true if there are @nr objects; true if @nr is 0.
 */
bool bpf_arena_cache_alloc_bulk(struct bpf_arena_cache *c, gfp_t gfp, size_t nr, void **kaddrs)
{
	if (!nr || slab_arena_alloc_bulk(c, gfp, nr, kaddrs))
		return true;
	if (arena_drained(c->arena->slabs, !gfpflags_allow_blocking(gfp)) &&
	    slab_arena_alloc_bulk(c, gfp, nr, kaddrs))
		return true;
	arena_count(c->arena->slabs, ARENA_FAILED_ALLOCS);
	/* What stands there are direct-map addresses, of objects that went back */
	memset(kaddrs, 0, array_size(nr, sizeof(*kaddrs)));
	return false;
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_alloc_bulk);

/* What could not be claimed. Preemption is off, and on when it returns. */
int arena_cache_not_claimed(struct bpf_arena_cache *c, unsigned long offset, unsigned long slot,
			    u16 old)
{
	/* A trace of it, on PREEMPT_RT, is nothing for preemption off */
	guard(rcu)();
	preempt_enable();
	return arena_cache_refuse(c, offset, slot, old);
}

static int arena_cache_free_nolock(struct bpf_arena_cache *c, unsigned long offset)
{
	int err;
	struct arena_slab *as = arena_cache_claim(c, offset, &err);

	if (!as)
		return err;
	slab_arena_free_nolock(as, offset_in_page(offset));
	return 0;
}

/**
 * bpf_arena_cache_free_nolock - free an object in any context
 * @c: the cache that it is from
 * @kaddr: as for bpf_arena_cache_free()
 *
 * Context: any, NMI included. Where no lock can be had the object goes back a
 * little later, by irq_work or a worker.
 */
void bpf_arena_cache_free_nolock(struct bpf_arena_cache *c, void *kaddr)
{
	if (kaddr)
		arena_cache_free_nolock(c, (unsigned long)kaddr - c->kbase);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_free_nolock);

/**
 * bpf_arena_cache_free_uaddr - free an object that a program names
 * @c: the cache that it should be from
 * @uaddr: a pointer of a program's; only its low 32 bits count
 *
 * Frees a live object of @c, and nothing else: what a program can win by this is that
 * another object of @c goes than the one that it should name. If that matters, keep the
 * pointers in kernel memory. What is refused is counted and traced; 0, which no object
 * has, as well.
 *
 * Context: any, NMI included, as bpf_arena_cache_free_nolock().
 * Return: 0 if the object was freed; -EINVAL if @uaddr points into an object of @c or
 * behind the last one of a slab of it; -ESTALE if the object is free; -ENOENT if no
 * object of @c is there.
 */
int bpf_arena_cache_free_uaddr(struct bpf_arena_cache *c, u64 uaddr)
{
	return arena_cache_free_nolock(c, (u32)uaddr);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_free_uaddr);

/* So many direct-map addresses are collected on the stack */
#define ARENA_FREE_BATCH	16

/**
 * bpf_arena_cache_free_bulk - free several objects
 * @c: the cache that they are from
 * @nr: how many
 * @kaddrs: as for bpf_arena_cache_free(), each for itself: one that is refused does not
 *	keep the others, and of two that are equal the second one is refused; not changed
 *
 * Context: as bpf_arena_cache_free(), with irqs on.
 * Return: how many were freed.
 */
size_t bpf_arena_cache_free_bulk(struct bpf_arena_cache *c, size_t nr, void **kaddrs)
{
	void *batch[ARENA_FREE_BATCH];
	unsigned int cnt = 0;
	size_t freed = 0;

	for (size_t i = 0; i < nr; i++) {
		struct arena_slab *as = arena_cache_claim_kaddr(c, kaddrs[i]);

		if (!as)
			continue;
		batch[cnt++] = arena_slab_object(as, (unsigned long)kaddrs[i]);
		if (cnt == ARENA_FREE_BATCH) {
			slab_arena_free_bulk(c, cnt, batch);
			freed += cnt;
			cnt = 0;
		}
	}
	if (cnt)
		slab_arena_free_bulk(c, cnt, batch);
	return freed + cnt;
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_free_bulk);

/**
 * bpf_arena_cache_free_rcu - free an object after a grace period
 * @c: the cache that it is from
 * @kaddr: as for bpf_arena_cache_free()
 *
 * It is its user's no more at once: a second free is refused. Until all readers that
 * are inside of RCU now have left it stays mapped, is not handed out, and the kernel
 * writes no byte of it; programs do, as ever. It needs no memory and cannot fail. What
 * waits when the cache is destroyed goes with it, after a grace period.
 *
 * Objects that wait keep their pages, and a drain of a full arena does not wait for them.
 *
 * Context: any, NMI included.
 */
void bpf_arena_cache_free_rcu(struct bpf_arena_cache *c, void *kaddr)
{
	struct arena_slab *as = arena_cache_claim_kaddr(c, kaddr);

	if (as)
		slab_arena_free_rcu(as, arena_slab_object(as, (unsigned long)kaddr));
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_free_rcu);

/**
 * bpf_arena_cache_uaddr - what programs and user space call an object
 * @c: the cache
 * @kaddr: arena kernel address
 *
 * Not checked: only the low 32 bits of the distance to the arena's start are used, so
 * that the result is in the 4 GiB of the arena whatever @kaddr is, but means nothing if
 * that is not an address of this arena.
 *
 * Context: any.
 * Return: the user address.
 */
u64 bpf_arena_cache_uaddr(const struct bpf_arena_cache *c, const void *kaddr)
{
	return clear_lo32(c->user_start) + (u32)((unsigned long)kaddr - c->kbase);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_uaddr);

/**
 * bpf_arena_cache_kaddr - where the kernel finds a pointer of a program's
 * @c: a cache of the arena
 * @uaddr: the pointer; only its low 32 bits count
 *
 * Not checked, but bounded: whatever @uaddr is, the result is in the 4 GiB of the arena,
 * which are followed by a guard for what is added to it. It need not be in the part that
 * the arena uses, nor mapped, nor an object. Who follows it must be able to take a fault,
 * see BPF_ARENA_FAULT_BY_ADDR in Documentation/mm/slab_arena.rst, and must not take what
 * it finds for an object of @c.
 *
 * Context: any.
 * Return: an address inside of the arena's kernel range.
 */
void *bpf_arena_cache_kaddr(const struct bpf_arena_cache *c, u64 uaddr)
{
	return (void *)(c->kbase + (u32)uaddr);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_kaddr);

/* ---- the end of an arena ---- */

/*
 * Called by map_free(): no program, no mapping, no kernel cache is left. Whatever
 * objects programs leaked go now.
 */
void arena_slabs_destroy(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena->slabs;
	struct bpf_arena_cache *c, *tmp;

	if (!sl)
		return;

	/*
	 * Draining and destroying caches take cpus_read_lock(), and bpf_map_free() has
	 * disabled migration: a CPU that goes offline holds that lock for writing and
	 * waits for its pinned tasks, us, to leave. Nothing here minds a migration.
	 */
	migrate_enable();
	mutex_lock(&arena_slabs_mutex);
	list_del(&sl->all);
	mutex_unlock(&arena_slabs_mutex);

	WRITE_ONCE(sl->going, true);
	arena_sync_irq_works(sl);
	/* A run that drains holds sl->lock and looks at the caches */
	flush_work(&sl->work);

	list_for_each_entry_safe(c, tmp, &sl->caches, list) {
		list_del(&c->list);
		arena_cache_destroy(c);
	}
	/* All slabs are in sl->dead, or beyond; one more run takes them all */
	arena_sync_irq_works(sl);
	flush_work(&sl->work);
	migrate_disable();
	WARN_ON_ONCE(!llist_empty(&sl->dead));
}

/* The rest, once no page table of the arena is left */
void arena_slabs_free(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena->slabs;

	ARENA_STUB_REDIRECT(arena_slabs_free, arena);
	if (!sl)
		return;
	for (unsigned long i = 0; i < arena_nr_leaves(sl->slots->nr_pages); i++)
		if (sl->slots->dir[i] != arena_no_leaf())
			kfree(sl->slots->dir[i]);
	kvfree(sl->slots);
	kfree(sl);
}
