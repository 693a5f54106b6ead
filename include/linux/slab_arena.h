/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What mm/ and kernel/bpf/ share of SLAB_BPF_ARENA. Not an API: subsystems use
 * <linux/bpf_arena_slab.h>.
 *
 * mm/slab_arena.c holds what belongs to objects: free links and states; and
 * mm/slub_arena.c, within SLUB, the boundary where an object goes to its user and
 * comes back. They know nothing of page tables. kernel/bpf/arena_slab.c holds what
 * belongs to pages: the slot table, mapping, accounting and the way back to the page
 * allocator. It knows nothing of free lists. They meet in struct arena_slab, one for
 * each slab page.
 *
 * With 4 KiB pages and objects of 64 bytes, a slab at arena page 3 looks so:
 *
 *	slots		dir[0]->slot[3] -> struct arena_slab
 *	slab page	64 objects; any byte of them may change at any moment
 *	struct slab	freelist (direct map), counters { inuse, objects, pgoff 3 }
 *	arena_slab	32 bytes + state[64], 2 bytes an object: 3.9 % of the page
 */
#ifndef _LINUX_SLAB_ARENA_H
#define _LINUX_SLAB_ARENA_H

#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/irq_work.h>
#include <linux/kasan.h>
#include <linux/llist.h>
#include <linux/math.h>
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/slab.h>

struct bpf_arena;
struct slab;

/*
 * State of one object, 16 bits:
 *
 *	FREE | next	on a SLUB free list, or was when SLUB last looked: the
 *			objects in a sheaf keep the link that they had; never handed
 *			out since the slab was made
 *	FREED | next	the same, and it has been handed out
 *	DEFERRED | next	freed, and on a stack of the slab's: where no lock could be
 *			taken, or until a grace period has passed
 *	FRESH		with SLUB, on no list, never handed out
 *	CACHED		with SLUB, on no list: just freed
 *	LIVE		with its user; the only state that a free can win
 *
 * `next` is an index in the same slab, so that a state never holds an address.
 * Transitions: to LIVE by slab_arena_make_live() only, from LIVE by the one winner
 * of the cmpxchg in arena_slab_claim() only; all others by SLUB, which owns the
 * object then. FREE and FREED, FRESH and CACHED are the same to SLUB: the difference
 * is told to those who free what they never had.
 */
enum arena_obj_state {
	ARENA_OBJ_INDEX		= 0x3fff,
	ARENA_OBJ_END		= ARENA_OBJ_INDEX,
	ARENA_OBJ_TAG		= 0xc000,
	ARENA_OBJ_FREE		= 0x0000,
	ARENA_OBJ_DEFERRED	= 0x4000,
	ARENA_OBJ_FREED		= 0x8000,
	/* With this tag come three that have no link */
	ARENA_OBJ_LIVE		= 0xc000,
	ARENA_OBJ_CACHED	= 0xc001,
	ARENA_OBJ_FRESH		= 0xc002,
};

/* The smallest object, because SLUB aligns sizes to a word */
#define ARENA_OBJ_MIN_SIZE	sizeof(void *)

#ifdef CONFIG_SLAB_BPF_ARENA
/* Every index, and the end mark, in every tag, is a state of its own */
static_assert((ARENA_OBJ_INDEX | ARENA_OBJ_TAG) == U16_MAX);
static_assert(!(ARENA_OBJ_INDEX & ARENA_OBJ_TAG));
static_assert(PAGE_SIZE / ARENA_OBJ_MIN_SIZE < ARENA_OBJ_END);
static_assert((ARENA_OBJ_FREE & ARENA_OBJ_TAG) == ARENA_OBJ_FREE);
static_assert((ARENA_OBJ_DEFERRED & ARENA_OBJ_TAG) == ARENA_OBJ_DEFERRED);
static_assert((ARENA_OBJ_FREED & ARENA_OBJ_TAG) == ARENA_OBJ_FREED);
static_assert((ARENA_OBJ_LIVE & ARENA_OBJ_TAG) == ARENA_OBJ_LIVE);
static_assert((ARENA_OBJ_CACHED & ARENA_OBJ_TAG) == ARENA_OBJ_LIVE);
static_assert((ARENA_OBJ_FRESH & ARENA_OBJ_TAG) == ARENA_OBJ_LIVE);
static_assert(ARENA_OBJ_FREE != ARENA_OBJ_DEFERRED && ARENA_OBJ_FREE != ARENA_OBJ_FREED &&
	      ARENA_OBJ_FREE != ARENA_OBJ_LIVE && ARENA_OBJ_DEFERRED != ARENA_OBJ_FREED &&
	      ARENA_OBJ_DEFERRED != ARENA_OBJ_LIVE && ARENA_OBJ_FREED != ARENA_OBJ_LIVE);
static_assert(ARENA_OBJ_LIVE != ARENA_OBJ_CACHED && ARENA_OBJ_LIVE != ARENA_OBJ_FRESH &&
	      ARENA_OBJ_CACHED != ARENA_OBJ_FRESH);
#endif

/*
 * Why a free was refused. What is reported, counted and traced, so the numbers are
 * for tools as well; new ones go behind the last one.
 */
enum arena_bad_free {
	ARENA_BAD_NOTHING,		/* no page is there, or it is outside of the arena */
	ARENA_BAD_PAGE,			/* an ordinary page of the arena */
	ARENA_BAD_INTERIOR,		/* in an object of a slab, or behind the last one */
	ARENA_BAD_LARGE_INTERIOR,	/* in an object of whole pages */
	ARENA_BAD_DOUBLE,		/* freed before */
	ARENA_BAD_NEVER,		/* never handed out */
	ARENA_BAD_PAGE_GOING,		/* all of the page was freed before */
	ARENA_BAD_KERNEL,		/* a program frees what is the kernel's */
	ARENA_BAD_OTHER_CACHE,		/* the kernel frees what is of another cache */
	ARENA_NR_BAD_FREES,
};

/**
 * struct arena_slab - what the kernel knows of one slab page in an arena
 * @slab: the page, as SLUB sees it
 * @cache: the cache that it belongs to; pinned by one reference a slab
 * @next: in &bpf_arena_cache.deferred while @defer_head is not empty
 * @rcu_next: in &bpf_arena_cache.rcu_new or .rcu_wait while @rcu is not empty
 * @node: later, in the arena's list of dead slabs; never in others as well, because an
 *	object on a stack keeps the slab in use
 * @defer_head: stack of objects whose free was deferred; ARENA_OBJ_END if none, and
 *	ARENA_SLAB_DEAD once the slab was given up
 * @rcu: two stacks of objects that wait for a grace period, see mm/slab_arena.c
 * @pgoff: before there are objects and after the last one, in the place of @rcu: arena
 *	page offset, which SLUB's &struct slab has in between
 * @state: one for each object, see above
 *
 * Freed no earlier than an RCU grace period after its slot stopped pointing at
 * it, for the sake of those who find it without a lock: arena_cache_claim(),
 * arena_cache_try_claim() and arena_free_object().
 */
struct arena_slab {
	struct slab *slab;
	struct bpf_arena_cache *cache;
	union {
		struct {
			u32 next;
			u32 rcu_next;
		};
		struct llist_node node;
	};
	atomic_t defer_head;
	union {
		atomic_t rcu;
		u32 pgoff;
	};
	u16 state[];
};

#define ARENA_SLAB_DEAD		(U16_MAX + 1)	/* no index, nor the end of a stack */

/* Full sheaves that SLUB keeps for a node of a cache: MAX_FULL_SHEAVES in mm/slub.c */
#define SLAB_ARENA_FULL_SHEAVES	10

/*
 * Slot table: arena page offset -> slot, two levels. A leaf covers 512 pages
 * and stays until the arena goes. The low bits of a slot tell its kind; the
 * kinds that wait for the worker form a stack through their @next field.
 */
#define ARENA_LEAF_SHIFT	9
#define ARENA_LEAF_SLOTS	BIT(ARENA_LEAF_SHIFT)

#define ARENA_SLOT_KIND		GENMASK(2, 0)
#define ARENA_SLOT_SLAB		0	/* pointer to struct arena_slab; NULL: none */
#define ARENA_SLOT_DYING	1	/* a page is on its way out */
#define ARENA_SLOT_LARGE	2	/* first page of an object of @count pages */
#define ARENA_SLOT_LARGE_TAIL	3	/* another page of it, @count behind the first */
#define ARENA_SLOT_LARGE_DEAD	4	/* LARGE, freed: waits for the worker */
#define ARENA_SLOT_SCRUB	5	/* scratch was here: waits for a TLB flush */
#define ARENA_SLOT_COUNT	GENMASK_ULL(23, 3)
#define ARENA_SLOT_NEXT		GENMASK_ULL(44, 24)

/* Page counts and offsets reach 2^20, and the end of the stack is another value */
#define ARENA_SLOT_NEXT_END	BIT(20)
static_assert(SZ_4G / PAGE_SIZE <= BIT(20));
#ifdef CONFIG_SLAB_BPF_ARENA
static_assert(__alignof__(struct arena_slab) > ARENA_SLOT_KIND);
/* One a page: with 16 states, for objects of 256 bytes, it fits 64 bytes */
static_assert(sizeof(struct arena_slab) == 32);
#endif

static inline bool arena_slot_is_slab(unsigned long slot)
{
	return slot && !(slot & ARENA_SLOT_KIND);
}

struct arena_slot_leaf {
	unsigned long slot[ARENA_LEAF_SLOTS];
};

struct arena_slot_table {
	unsigned long nr_pages;
	struct arena_slot_leaf *dir[];
};

/**
 * struct arena_cache_stats - counters of a cache, on one CPU; see arena_stat_add()
 * @allocs: objects that went to their users
 * @frees: objects that came back, also those that were deferred
 */
struct arena_cache_stats {
	u64 allocs;
	u64 frees;
};

/**
 * struct bpf_arena_cache - a kmem_cache in an arena, with its arena side
 * @s: the kmem_cache; private, since what it hands out are direct-map addresses
 * @name: its name, for those who find the cache through a slab, inside of RCU, when
 *	@s may be gone
 * @arena: the arena; a reference is held for caches of the kernel's, while those
 *	of programs belong to the arena and go with it
 * @slots: the arena's slot table
 * @kbase: kern_vm_start
 * @user_start: user_vm_start
 * @size: distance of two objects in a slab
 * @objects: how many of them a slab has
 * @meta: where its &struct arena_slab come from; NULL: kmalloc()
 * @index_factor: see arena_index_word()
 * @map_id: the arena's, 0 if it has none
 * @of_program: objects belong to programs, which may free them
 * @deferred: slabs with deferred frees
 * @deferred_irq: returns them, or has @deferred_work do it
 * @deferred_work: the same, for frees that were deferred in a hard irq
 * @deferred_in_irq: there may be some of these
 * @rcu_new: slabs with objects that wait for a grace period which has not begun
 * @rcu_wait: slabs with objects that wait for the one that @rcu is queued for; of who
 *	made @rcu_busy true
 * @rcu_irq: starts a grace period, from any context
 * @rcu: ends it
 * @rcu_busy: @rcu is queued, or about to be
 * @rcu_used: somebody has called bpf_arena_cache_free_rcu()
 * @rcu_stop: the cache goes, and what waits goes with its slabs
 * @ref: one for the owner, one for each slab that still has its page
 * @list: in the arena's list of caches
 * @stats: see struct arena_cache_stats
 */
struct bpf_arena_cache {
	struct kmem_cache *s;
	struct arena_slot_table *slots;
	unsigned long kbase;
	u64 user_start;
	unsigned int size;
	unsigned int objects;
	struct kmem_cache *meta;
	u32 map_id;
	u64 index_factor;
	bool of_program;
	struct arena_cache_stats __percpu *stats;
	struct bpf_arena *arena;
	atomic_t deferred;
	struct irq_work deferred_irq;
	struct work_struct deferred_work;
	bool deferred_in_irq;
	atomic_t rcu_new;
	u32 rcu_wait;
	struct irq_work rcu_irq;
	struct rcu_head rcu;
	int rcu_busy;
	bool rcu_used;
	bool rcu_stop;
	const char *name;
	refcount_t ref;
	struct list_head list;
};

/*
 * Looking for a test's stub takes a spinlock. That is nothing for hard irqs, and on
 * PREEMPT_RT, where it sleeps, nothing under one of ours.
 */
#define ARENA_STUB_REDIRECT(fn, ...)						\
do {										\
	if (in_task() && (!IS_ENABLED(CONFIG_PREEMPT_RT) || preemptible()))	\
		KUNIT_STATIC_STUB_REDIRECT(fn, __VA_ARGS__);			\
} while (0)

#ifdef CONFIG_SLAB_BPF_ARENA

/*
 * Index and remainder of an offset in a page, by one multiplication with f = ceil(2^32 /
 * size). For offset = q * size + r it is q in the high half, and q * e + r * f in the low
 * one, where e = f * size - 2^32 < size: offset * e is below 2^32, so that nothing is
 * carried. There is no remainder if and only if the low half is below f, since q * e is.
 */
static inline u64 arena_index_factor(unsigned int size)
{
	return DIV_ROUND_UP_ULL(1ULL << 32, size);
}

static inline u64 arena_index_word(const struct bpf_arena_cache *c, unsigned int offset)
{
	return offset * c->index_factor;
}

/* The end of a list of slabs, which are linked by arena page offset: &arena_slab.next */
#define ARENA_LIST_END		ARENA_SLOT_NEXT_END

/* Direct-map address of object 0 */
static inline void *arena_slab_base(const struct arena_slab *as)
{
	return kasan_reset_tag(page_address((struct page *)as->slab));
}

/* The same of the object at @offset: in the page, in the arena, or an address there */
static inline void *arena_slab_object(const struct arena_slab *as, unsigned long offset)
{
	return arena_slab_base(as) + offset_in_page(offset);
}

/* Arena kernel address of object 0 */
static inline unsigned long arena_page_kaddr(const struct bpf_arena_cache *c, u32 pgoff)
{
	return c->kbase + ((u32)c->user_start + (pgoff << PAGE_SHIFT));
}

/* The same in user space */
static inline unsigned long arena_page_uaddr(const struct bpf_arena_cache *c, u32 pgoff)
{
	/* An arena does not cross 4 GiB, see arena_get_unmapped_area() */
	return c->user_start + ((unsigned long)pgoff << PAGE_SHIFT);
}

static __always_inline struct arena_slot_leaf *
arena_slot_leaf(const struct arena_slot_table *t, unsigned long pgoff)
{
	/* Pairs with the cmpxchg() that publishes a zeroed leaf; address dependency */
	return READ_ONCE(t->dir[pgoff >> ARENA_LEAF_SHIFT]);
}

static __always_inline unsigned long *arena_leaf_slot(struct arena_slot_leaf *leaf,
						      unsigned long pgoff)
{
	return &leaf->slot[pgoff & (ARENA_LEAF_SLOTS - 1)];
}

/* Of pages none of which has a slot: nobody who reads has to ask whether there is a leaf */
static inline struct arena_slot_leaf *arena_no_leaf(void)
{
	static_assert(sizeof(struct arena_slot_leaf) <= PAGE_SIZE);
	return page_address(ZERO_PAGE(0));
}

/* To write there: NULL if there is no leaf */
static inline unsigned long *arena_slot_ptr(const struct arena_slot_table *t, unsigned long pgoff)
{
	struct arena_slot_leaf *leaf = arena_slot_leaf(t, pgoff);

	return leaf != arena_no_leaf() ? arena_leaf_slot(leaf, pgoff) : NULL;
}

/* What stands there, for any @pgoff; 0 if nothing */
static __always_inline unsigned long arena_slot_read(const struct arena_slot_table *t,
						     unsigned long pgoff)
{
	if (unlikely(pgoff >= t->nr_pages))
		return 0;
	return READ_ONCE(*arena_leaf_slot(arena_slot_leaf(t, pgoff), pgoff));
}

/*
 * Add to what is only ever read as a sum over all CPUs, so that it does not matter on which
 * one it is. this_cpu_add() is one instruction on x86. Elsewhere it is an atomic one, within a
 * preempt_disable() and preempt_enable() that this does without, or several with irqs off,
 * which is why all who write these counters have to do it by this.
 */
static __always_inline void arena_stat_add(u64 __percpu *stat, u64 nr)
{
	static_assert(sizeof(*stat) == sizeof(atomic64_t));

	if (IS_ENABLED(CONFIG_X86))
		this_cpu_add(*stat, nr);
	else
		atomic64_add(nr, (atomic64_t *)raw_cpu_ptr(stat));
}

/*
 * Offsets of a page lead to so many states: where @size does not divide a page, the last one
 * is of what is behind the last object, and never LIVE.
 */
static inline unsigned int arena_slab_states(unsigned int size)
{
	return DIV_ROUND_UP(PAGE_SIZE, size);
}

/*
 * Win the LIVE state of the object at @offset in a slab, which pins the slab; up to
 * here it is only held by RCU. Pairs with the release in slab_arena_make_live(). Returns
 * whether it is won; @old is the state that was there, and not LIVE if it is not.
 */
static __always_inline bool arena_slab_claim(struct arena_slab *as, unsigned int offset, u16 *old)
{
	u64 word = arena_index_word(as->cache, offset);

	*old = ARENA_OBJ_CACHED;
	if (unlikely((u32)word >= as->cache->index_factor))
		return false;
	*old = ARENA_OBJ_LIVE;
	return likely(try_cmpxchg(&as->state[word >> 32], old, ARENA_OBJ_CACHED));
}

/*
 * Take the live object at @offset of page @pgoff from its user, if it is one of @c, or
 * @of_program, of any of programs. The caller holds up a grace period, and what @slot leads to
 * stays as long as that. Returns the slab, which the object keeps from now on; or NULL, and
 * @slot and @old say why.
 */
static __always_inline struct arena_slab *
arena_claim(const struct arena_slot_table *t, const struct bpf_arena_cache *c, bool of_program,
	    unsigned long pgoff, unsigned int offset, unsigned long *slot, u16 *old)
{
	struct arena_slab *as;

	*old = ARENA_OBJ_CACHED;
	*slot = arena_slot_read(t, pgoff);
	if (unlikely(!arena_slot_is_slab(*slot)))
		return NULL;
	as = (struct arena_slab *)*slot;
	if (unlikely(of_program ? !as->cache->of_program : as->cache != c))
		return NULL;
	return arena_slab_claim(as, offset, old) ? as : NULL;
}

/* The slab of @c at @pgoff, which has to be one */
static inline struct arena_slab *arena_slab_at(const struct bpf_arena_cache *c, u32 pgoff)
{
	struct arena_slot_leaf *leaf = arena_slot_leaf(c->slots, pgoff);

	return (struct arena_slab *)READ_ONCE(*arena_leaf_slot(leaf, pgoff));
}

/* Arena side: kernel/bpf/arena_slab.c */
int arena_cache_not_claimed(struct bpf_arena_cache *c, unsigned long offset, unsigned long slot,
			    u16 old);

/* The page at a distance from kbase; none if that is outside of the arena */
static __always_inline unsigned long arena_cache_pgoff(const struct bpf_arena_cache *c,
						       unsigned long offset)
{
	/* An arena does not cross 4 GiB: what is less than its pages from its start is in it */
	return (offset - (u32)c->user_start) >> PAGE_SHIFT;
}

/* arena_cache_claim() for those who hold up a grace period, and have others say why */
static __always_inline struct arena_slab *
arena_cache_try_claim(struct bpf_arena_cache *c, unsigned long offset)
{
	unsigned long slot;
	u16 old;

	return arena_claim(c->slots, c, false, arena_cache_pgoff(c, offset),
			   offset_in_page(offset), &slot, &old);
}

/*
 * Take an object of a cache from its user, by its distance from kbase. Returns its slab,
 * which the object keeps from now on; or NULL, and @err, counted and traced.
 */
static __always_inline struct arena_slab *
arena_cache_claim(struct bpf_arena_cache *c, unsigned long offset, int *err)
{
	struct arena_slab *as;
	unsigned long slot;
	u16 old;

	/* Holds up a grace period as rcu_read_lock() does, at a third of its cost */
	preempt_disable();
	as = arena_claim(c->slots, c, false, arena_cache_pgoff(c, offset), offset_in_page(offset),
			 &slot, &old);
	if (unlikely(!as)) {
		*err = arena_cache_not_claimed(c, offset, slot, old);
		return NULL;
	}
	preempt_enable();
	return as;
}

/* The same by its arena kernel address; NULL is no object, and no reason to refuse one */
static __always_inline struct arena_slab *
arena_cache_claim_kaddr(struct bpf_arena_cache *c, const void *kaddr)
{
	int err;

	return kaddr ? arena_cache_claim(c, (unsigned long)kaddr - c->kbase, &err) : NULL;
}

int bpf_arena_slab_map(struct arena_slab *as, struct page *page, gfp_t gfp, bool allow_spin);
void bpf_arena_slab_unmap(struct arena_slab *as);
void *bpf_arena_slab_alloc_slow(struct bpf_arena_cache *c, gfp_t gfp, int node, bool nolock,
				bool in_user_space);
void bpf_arena_slab_memcg_enter(struct bpf_arena_cache *c, struct mem_cgroup **old,
				struct mem_cgroup **memcg);
void bpf_arena_slab_memcg_exit(struct mem_cgroup *old, struct mem_cgroup *memcg);

/* Object side: mm/slab_arena.c */
void slab_arena_init_cache(struct bpf_arena_cache *c);
void slab_arena_free_bulk(struct bpf_arena_cache *c, size_t nr, void **p);
void slab_arena_free_rcu(struct arena_slab *as, void *obj);
void slab_arena_free_page(struct page *page);
void slab_arena_deferred_irq(struct irq_work *work);
void slab_arena_deferred_work(struct work_struct *work);

/* Have deferred frees of before returned; see arena_sync_irq_works() for all of them */
static inline void slab_arena_sync_deferred(struct bpf_arena_cache *c)
{
	irq_work_sync(&c->deferred_irq);
	flush_work(&c->deferred_work);
}

void slab_arena_rcu_work(struct irq_work *work);
void slab_arena_drain(struct kmem_cache *s);

void slab_arena_detach(struct kmem_cache *s);

/* Where objects come from and go to, in SLUB: mm/slub_arena.c */
bool kmem_cache_may_alloc_nolock(const struct kmem_cache *s);
void *slab_arena_alloc_uaddr(struct bpf_arena_cache *c);
void *slab_arena_alloc_uaddr_nolock(struct bpf_arena_cache *c);
void *slab_arena_alloc_again(struct bpf_arena_cache *c, gfp_t gfp, int node, bool in_user_space);
bool slab_arena_alloc_bulk(struct bpf_arena_cache *c, gfp_t gfp, size_t nr, void **p);
void slab_arena_free(struct arena_slab *as, unsigned int offset);
void slab_arena_free_nolock(struct arena_slab *as, unsigned int offset);

#endif /* CONFIG_SLAB_BPF_ARENA */
#endif /* _LINUX_SLAB_ARENA_H */
