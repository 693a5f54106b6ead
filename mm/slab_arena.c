// SPDX-License-Identifier: GPL-2.0
/*
 * SLAB_BPF_ARENA, the object side: slabs whose memory is not the kernel's own.
 *
 * A slab page of such a cache is mapped into a BPF arena. Programs and user
 * processes read and write any byte of it at any moment, so SLUB must never
 * read a byte of it, and must never write one that tells something. What SLUB
 * keeps in free objects elsewhere stands here in struct arena_slab: a u16 an
 * object, which is its free link and its state in one (linux/slab_arena.h).
 *
 *	set_freepointer(s, object 5, object 9)	state[5] = FREE | 9
 *	the alloc boundary takes object 5	state[5] = LIVE, by xchg
 *	a program frees it			LIVE -> CACHED, by cmpxchg
 *	the same program frees it again		state is CACHED: refused
 *
 * Invariants:
 *
 *  1. SLUB's own: inuse is the number of objects that are on no free list of
 *     the slab. It rests on links that read back as written (state[] is kernel
 *     memory) and on one __slab_free() for each object taken. An object leaves
 *     through slab_arena_alloc(), which makes it LIVE once, and comes back
 *     through the one cmpxchg that finds it LIVE. So inuse cannot underflow,
 *     and a slab that is given up has no live object.
 *  2. LIVE is the last store of an allocation, after all zeroing, and the won
 *     cmpxchg is the first act of a free. In between nobody uses the direct-map
 *     address: from the moment an object is LIVE a hostile free can empty the
 *     slab, and its page can become something else.
 *  3. state[] is all CACHED before the slot points at it.
 *
 * Modelled in tools/verification/arena_slab/: the state word in state.pml, deferred
 * frees and their end in defer.pml. `make models` checks them.
 *
 * Lock order: none is taken here. Links are read and written by whoever owns
 * the object in SLUB's sense: under list_lock, or with the list detached.
 * Contexts: everything but attach with @allow_spin, drain and detach may run in
 * any context, NMI included.
 */
#include <kunit/static_stub.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include "internal.h"
#include "page_alloc.h"
#include "slab.h"

DEFINE_STATIC_KEY_FALSE(slab_arena_enabled);

/*
 * What would put kernel data into the pages, or take objects from elsewhere:
 *
 *	SLAB_NO_USER_FLAGS	slab_debug= on the command line: red zones,
 *				poison and tracks, read back from hostile memory
 *	SLAB_NO_MERGE		an ordinary cache would hand out arena memory
 *	SLAB_SKIP_KFENCE	KFENCE objects are not in the arena
 *	SLAB_NO_OBJ_EXT		obj_cgroup pointers in the leftover of a slab
 */
#define SLAB_ARENA_FORCED	(SLAB_NO_USER_FLAGS | SLAB_NO_MERGE | SLAB_SKIP_KFENCE | \
				 SLAB_NO_OBJ_EXT)

/*
 * What a creator may ask for. Not SLAB_ACCOUNT: pages are charged, not objects,
 * which would need obj_exts. Not SLAB_TYPESAFE_BY_RCU or a constructor: an
 * object's content is never the kernel's to rely on. Not SLAB_RECLAIM_ACCOUNT:
 * nothing here can be reclaimed. Not the debug flags, see above.
 */
#define SLAB_ARENA_PERMITTED	(SLAB_BPF_ARENA | SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE)

/**
 * slab_arena_check_args - refuse what an arena cache cannot be
 * @args: arguments of kmem_cache_create()
 * @size: object size in bytes
 * @flags: in: flags of the caller; out: with those that are forced
 *
 * Also turns the static key on, which takes cpu_hotplug_lock, so it has to be
 * called before slab_mutex is taken. The key is never turned off: a cache that
 * is on its way out would read its links from the objects.
 *
 * Return: 0 or -EINVAL.
 */
int slab_arena_check_args(const struct kmem_cache_args *args, unsigned int size,
			  slab_flags_t *flags)
{
	if (!args->arena || args->ctor || args->usersize || args->use_freeptr_offset)
		return -EINVAL;
	if (*flags & ~SLAB_ARENA_PERMITTED)
		return -EINVAL;
	/* Order 0 only: an arena is made of single pages */
	if (!size || size > PAGE_SIZE || args->align > PAGE_SIZE)
		return -EINVAL;

	*flags |= SLAB_ARENA_FORCED;
	if (!static_key_enabled(&slab_arena_enabled))
		static_branch_enable(&slab_arena_enabled);
	return 0;
}

/* Called once for a new cache: what lookups need without struct kmem_cache */
void slab_arena_init_cache(struct bpf_arena_cache *c)
{
	c->size = c->s->size;
	c->reciprocal_size = c->s->reciprocal_size;
}

const char *slab_arena_name(struct bpf_arena_cache *c)
{
	return c->s->name;
}

static struct arena_slab *slab_to_arena(struct kmem_cache *s, const struct slab *slab)
{
	struct freelist_counters flc;

	/*
	 * inuse changes under our feet, arena_pgoff does not: it is set before
	 * anybody else sees the slab, and each update copies the whole word.
	 */
	flc.counters = data_race(READ_ONCE(slab->counters));
	return (struct arena_slab *)READ_ONCE(*arena_slot_ptr(s->arena->slots, flc.arena_pgoff));
}

static unsigned int arena_obj_index(const struct kmem_cache *s, const struct arena_slab *as,
				    const void *object)
{
	return __obj_to_index(s, as->base, object);
}

/* get_freepointer() of an arena cache */
void *slab_arena_get_link(struct kmem_cache *s, void *object)
{
	struct arena_slab *as = slab_to_arena(s, virt_to_slab(object));
	u16 state = READ_ONCE(as->state[arena_obj_index(s, as, object)]);

	/*
	 * Who asks owns the object or holds the list_lock of a slab on the partial list,
	 * and then it is free: others may push, but not take. A link that is none must
	 * not lead out of the slab in any case.
	 */
	if ((state & ARENA_OBJ_TAG) != ARENA_OBJ_FREE || state >= as->objects)
		return NULL;
	return as->base + (size_t)state * s->size;
}

/* set_freepointer() of an arena cache; links stay within one slab */
void slab_arena_set_link(struct kmem_cache *s, void *object, void *next)
{
	struct arena_slab *as = slab_to_arena(s, virt_to_slab(object));
	u16 link = next ? arena_obj_index(s, as, next) : ARENA_OBJ_END;

	WRITE_ONCE(as->state[arena_obj_index(s, as, object)], ARENA_OBJ_FREE | link);
}

/**
 * slab_arena_attach - make a fresh page a slab of an arena
 * @s: the cache
 * @slab: the slab; its counters are set up, nobody else sees it
 * @gfp: how to allocate the metadata
 * @allow_spin: whether locks may be taken
 *
 * Return: false if memory, charge or a place in the arena is not to be had. The
 * caller frees the page, which was never mapped.
 */
bool slab_arena_attach(struct kmem_cache *s, struct slab *slab, gfp_t gfp, bool allow_spin)
{
	size_t size = struct_size_t(struct arena_slab, state, slab->objects);
	struct bpf_arena_cache *c = s->arena;
	struct mem_cgroup *old, *memcg;
	struct arena_slab *as;

	gfp = (gfp & GFP_RECLAIM_MASK) | __GFP_NOWARN;
	old = bpf_arena_slab_memcg_enter(c, &memcg);
	if (allow_spin)
		as = kmalloc(size, gfp | __GFP_ACCOUNT);
	else
		as = kmalloc_nolock(size, __GFP_ACCOUNT, NUMA_NO_NODE);
	if (!as)
		goto out;

	as->slab = slab;
	as->cache = c;
	as->base = kasan_reset_tag(slab_address(slab));
	as->objects = slab->objects;
	as->dead = 0;
	atomic_set(&as->defer_head, ARENA_OBJ_END);
	for (unsigned int i = 0; i < as->objects; i++)
		as->state[i] = ARENA_OBJ_CACHED;

	/* Publishes the slot, with a barrier after the stores above */
	if (bpf_arena_slab_map(as, slab_page(slab), gfp, allow_spin)) {
		allow_spin ? kfree(as) : kfree_nolock(as);
		as = NULL;
		goto out;
	}
	slab->arena_pgoff = as->pgoff;
out:
	bpf_arena_slab_memcg_exit(old, memcg);
	return as;
}

/*
 * The slab is empty and SLUB is done with it: hand the page to the arena, which
 * unmaps it and frees it later. Any context, irqs off included.
 */
void slab_arena_release(struct kmem_cache *s, struct slab *slab)
{
	struct arena_slab *as;

	/* Looking for a stub takes a spinlock, which is not for hard irqs */
	if (in_task())
		KUNIT_STATIC_STUB_REDIRECT(slab_arena_release, s, slab);
	as = slab_to_arena(s, slab);
	/*
	 * One winner. Those who could compete exclude each other already: shrink
	 * and detach by slab_mutex, both and a last free by the list_lock.
	 */
	if (WARN_ON_ONCE(cmpxchg(&as->dead, 0, 1)))
		return;
	bpf_arena_slab_unmap(as);
}

/* Give a freed object, whose state is ours, to the irq_work of its cache */
static void slab_arena_defer(struct arena_slab *as, unsigned int idx)
{
	struct bpf_arena_cache *c = as->cache;
	int head = atomic_read(&as->defer_head);

	/*
	 * Push only, and the consumer takes all by xchg: no ABA. The cmpxchg
	 * orders the link before the head; pairs with the xchg there.
	 *
	 * Nothing gets lost: who finds the stack empty puts the slab on the list, and
	 * until that is done nobody takes the stack, whose objects keep the slab. Who
	 * finds the list empty queues the irq_work, after the llist_add(): a run that
	 * has begun, and may have missed it, can be queued again.
	 */
	do {
		WRITE_ONCE(as->state[idx], ARENA_OBJ_DEFERRED | head);
	} while (!atomic_try_cmpxchg(&as->defer_head, &head, idx));

	if (head == ARENA_OBJ_END && llist_add(&as->node, &c->deferred))
		irq_work_queue(&c->deferred_work);
}

/* irq_work of a cache: return the objects that could not be freed where they were */
void slab_arena_deferred_work(struct irq_work *work)
{
	struct bpf_arena_cache *c = container_of(work, struct bpf_arena_cache, deferred_work);
	struct llist_node *list = llist_del_all(&c->deferred);
	struct arena_slab *as, *next;

	/*
	 * _safe: @next is read before the xchg that allows another push to use
	 * the node again. Each object on the stack keeps the slab in use, so
	 * nothing of it may be touched once the last one is freed. Two runs at a
	 * time, on two CPUs, have lists of their own.
	 */
	llist_for_each_entry_safe(as, next, list, node) {
		unsigned int idx = atomic_xchg(&as->defer_head, ARENA_OBJ_END);
		void *base = as->base;

		while (idx != ARENA_OBJ_END) {
			unsigned int link = READ_ONCE(as->state[idx]) & ARENA_OBJ_INDEX;

			WRITE_ONCE(as->state[idx], ARENA_OBJ_CACHED);
			___cache_free(c->s, base + (size_t)idx * c->size, _THIS_IP_);
			idx = link;
		}
	}
}

/*
 * A new slab could not be put on the partial list because its lock was taken
 * and we may not spin. Giving the page back would cost a map, an unmap and a
 * TLB flush for each such failure, which programs meet all the time. Keep it:
 * all objects count as taken, and those that nobody asked for come back through
 * the deferred stack.
 */
void slab_arena_keep(struct kmem_cache *s, struct slab *slab)
{
	struct arena_slab *as = slab_to_arena(s, slab);
	void *object = slab->freelist;

	slab->freelist = NULL;
	slab->inuse = slab->objects;
	while (object) {
		void *next = slab_arena_get_link(s, object);

		slab_arena_defer(as, arena_obj_index(s, as, object));
		object = next;
	}
}

/**
 * slab_arena_alloc - allocate an object
 * @c: the cache
 * @gfp: __GFP_ZERO, and how to wait if not @nolock
 * @nolock: never spin on a lock; for any context
 *
 * Return: the arena kernel address, or NULL.
 */
void *slab_arena_alloc(struct bpf_arena_cache *c, gfp_t gfp, bool nolock)
{
	struct kmem_cache *s = c->s;
	struct arena_slab *as;
	unsigned int idx;
	void *object;
	u16 old;

	/* A full arena is no news for the kernel log; pages are charged, not objects */
	gfp = (gfp | __GFP_NOWARN) & ~__GFP_ACCOUNT;
	object = nolock ? kmem_cache_alloc_nolock(s, gfp) : kmem_cache_alloc(s, gfp);
	if (unlikely(!object))
		return NULL;

	object = kasan_reset_tag(object);
	as = slab_to_arena(s, virt_to_slab(object));
	idx = arena_obj_index(s, as, object);
	object = (void *)as->kaddr + (object - as->base);
	this_cpu_inc(c->stats->allocs);

	/*
	 * Invariant 2: from here on the object is its user's, and neither it nor
	 * @as may be touched. Orders all that SLUB wrote before; pairs with the
	 * cmpxchg in arena_slab_claim().
	 */
	old = xchg(&as->state[idx], ARENA_OBJ_LIVE);
	VM_WARN_ON_ONCE((old & ARENA_OBJ_TAG) == ARENA_OBJ_LIVE);
	return object;
}

/**
 * slab_arena_free - return an object whose LIVE state the caller has won
 * @as: its slab
 * @object: its direct-map address
 * @nolock: never spin on a lock; for any context
 */
void slab_arena_free(struct arena_slab *as, void *object, bool nolock)
{
	struct bpf_arena_cache *c = as->cache;

	this_cpu_inc(c->stats->frees);
	if (!nolock)
		kmem_cache_free(c->s, object);
	else if (!kmem_cache_free_nolock(c->s, object))
		slab_arena_defer(as, arena_obj_index(c->s, as, object));
}

/* The last step of a page's way back: nothing maps it any more */
void slab_arena_free_page(struct page *page)
{
	free_frozen_pages(page, 0);
}

/**
 * slab_arena_drain - return what sheaves hold, and empty slabs
 * @s: the cache
 *
 * Context: may sleep. cpu_hotplug_lock and slab_mutex are only tried, since their
 * holders may wait for the caller.
 *
 * Return: false if one of them was in the way: sheaves may have been flushed, empty
 * slabs were not given up.
 */
bool slab_arena_drain(struct kmem_cache *s)
{
	return kmem_cache_shrink_trylock(s);
}

static void slab_arena_walk(struct kmem_cache *s,
			    void (*discard)(struct kmem_cache *s, struct slab *slab))
{
	struct arena_slot_table *t = s->arena->slots;
	struct arena_slab *as;
	unsigned long pgoff, slot, *p;

	for (pgoff = 0; pgoff < t->nr_pages; pgoff++) {
		p = arena_slot_ptr(t, pgoff);
		if (!p) {
			pgoff |= ARENA_LEAF_SLOTS - 1;
			continue;
		}
		/* Slabs of other caches of this arena may go while we look */
		guard(rcu)();
		slot = READ_ONCE(*p);
		if (!arena_slot_is_slab(slot))
			continue;
		as = (struct arena_slab *)slot;
		if (as->cache == s->arena && !READ_ONCE(as->dead))
			discard(s, as->slab);
	}
}

/**
 * slab_arena_detach - take all slabs from a cache, live objects or not
 * @s: the cache; nobody allocates or frees any more, and its deferred frees have
 *	been returned
 *
 * Leaked objects are the normal case: a program goes and leaves them. All pages
 * are on their way out afterwards and the cache is empty, so that it can be
 * destroyed now or, when a BPF iterator holds it, after the arena is gone.
 *
 * Context: process; takes cpu_hotplug_lock and slab_mutex.
 */
void slab_arena_detach(struct kmem_cache *s)
{
	kmem_cache_discard_all(s, slab_arena_walk);
}
