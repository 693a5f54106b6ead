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
 *	the alloc boundary takes object 5	state[5] = LIVE, by a release
 *	a program frees it			LIVE -> CACHED, by cmpxchg
 *	SLUB puts it on a free list		state[5] = FREED | 9
 *	the same program frees it again		state is CACHED: refused
 *
 * Invariants:
 *
 *  1. SLUB's own: inuse is the number of objects that are on no free list of
 *     the slab. It rests on links that read back as written (state[] is kernel
 *     memory) and on one __slab_free() for each object taken. An object leaves
 *     through slab_arena_make_live(), which makes it LIVE once, and comes back
 *     through the one cmpxchg that finds it LIVE. So inuse cannot underflow,
 *     and a slab that is given up has no live object.
 *  2. LIVE is the last store of an allocation, after all zeroing, and the won
 *     cmpxchg is the first act of a free. In between nobody uses the direct-map
 *     address: from the moment an object is LIVE a hostile free can empty the
 *     slab, and its page can become something else.
 *  3. state[] is all FRESH before the slot points at it.
 *
 * Modelled in tools/verification/arena_slab/: the state word in state.pml, deferred
 * frees and their end in defer.pml, frees after a grace period in rcu.pml.
 *
 * Lock order: objects, links and states take no lock. Links are read and written by
 * whoever owns the object in SLUB's sense: under list_lock, or with the list detached.
 * Caches do: slab_arena_check_args() cpu_hotplug_lock, slab_arena_detach() that and
 * slab_mutex, slab_arena_drain() tries both.
 * Contexts: links, attach without @allow_spin, release, keep, defer and free_rcu may run in
 * any context, NMI included. What is for caches sleeps. All others are for where
 * kmem_cache_alloc() and kmem_cache_free() are, or an irq_work.
 */
#include <kunit/static_stub.h>
#include <linux/bitfield.h>
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
 * Context: process, may sleep. Not with cpu_hotplug_lock or slab_mutex held.
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

/*
 * Metadata is what an arena slab has more than others, so where the buckets of kmalloc()
 * have much room to spare it has caches of its own: by the number of states in a slab,
 * for objects of 256, 64, 32 and 16 bytes, in the order in which they are tried.
 */
static const u16 arena_meta_states[] = {
	PAGE_SIZE / 256, PAGE_SIZE / 64, PAGE_SIZE / 32, PAGE_SIZE / 16
};
static struct kmem_cache *arena_meta_caches[ARRAY_SIZE(arena_meta_states)] __ro_after_init;

static int __init arena_meta_init(void)
{
	static const char * const names[] = {
		"arena_slab:256", "arena_slab:64", "arena_slab:32", "arena_slab:16"
	};

	for (int i = 0; i < ARRAY_SIZE(names); i++) {
		size_t size = struct_size_t(struct arena_slab, state, arena_meta_states[i]);

		/* A bucket fits: 256 bytes in pages of 4 KiB */
		if (size == kmalloc_size_roundup(size))
			continue;
		/* Without it there is always kmalloc() */
		arena_meta_caches[i] = kmem_cache_create(names[i], size,
							 __alignof__(struct arena_slab), 0, NULL);
	}
	return 0;
}
subsys_initcall(arena_meta_init);

static struct kmem_cache *arena_meta_cache(unsigned int states)
{
	size_t size = struct_size_t(struct arena_slab, state, states);

	for (int i = 0; i < ARRAY_SIZE(arena_meta_caches); i++) {
		struct kmem_cache *s = arena_meta_caches[i];

		if (s && s->object_size >= size && s->size < kmalloc_size_roundup(size))
			return s;
	}
	return NULL;
}

/* Called once for a new cache: what lookups need without struct kmem_cache, and sheaves */
void slab_arena_init_cache(struct bpf_arena_cache *c)
{
	c->size = c->s->size;
	c->objects = PAGE_SIZE / c->size;
	c->index_factor = arena_index_factor(c->size);
	c->meta = arena_meta_cache(arena_slab_states(c->size));
	kmem_cache_fill_barns(c->s, GFP_KERNEL);
}

static struct arena_slab *arena_meta_alloc(struct bpf_arena_cache *c, gfp_t gfp, bool allow_spin)
{
	size_t size = struct_size_t(struct arena_slab, state, arena_slab_states(c->size));
	struct arena_slab *as = NULL;

	if (allow_spin)
		return c->meta ? kmem_cache_alloc(c->meta, gfp | __GFP_ACCOUNT) :
				 kmalloc(size, gfp | __GFP_ACCOUNT);
	if (c->meta)
		as = kmem_cache_alloc_nolock(c->meta, __GFP_ACCOUNT);
	/* Another cache has other locks */
	return as ?: kmalloc_nolock(size, __GFP_ACCOUNT, NUMA_NO_NODE);
}

/* as->rcu: the heads of two stacks, see slab_arena_free_rcu() */
#define ARENA_RCU_NEW		GENMASK(15, 0)
#define ARENA_RCU_WAIT		GENMASK(31, 16)
#define ARENA_RCU_WORD(new, wait)	((int)(FIELD_PREP(ARENA_RCU_NEW, new) | \
					       FIELD_PREP(ARENA_RCU_WAIT, wait)))
#define ARENA_RCU_NONE		ARENA_RCU_WORD(ARENA_OBJ_END, ARENA_OBJ_END)

/*
 * llist_add() with links by arena page offset, half as large: put the slab at @pgoff into
 * a list, by its @next. Returns whether the list was empty. The cmpxchg orders what was
 * written before, @next included; pairs with the xchg of who takes the list.
 */
static bool arena_list_add(u32 pgoff, u32 *next, atomic_t *list)
{
	int first = atomic_read(list);

	do {
		WRITE_ONCE(*next, first);
	} while (!atomic_try_cmpxchg(list, &first, pgoff));
	return first == ARENA_LIST_END;
}

static u32 slab_arena_pgoff(const struct slab *slab)
{
	/*
	 * inuse changes under our feet, arena_pgoff does not: it is set before
	 * anybody else sees the slab, and each update copies the whole word.
	 */
	return data_race((u32)slab->arena_pgoff);
}

static struct arena_slab *slab_to_arena(struct kmem_cache *s, const struct slab *slab)
{
	return arena_slab_at(s->arena, slab_arena_pgoff(slab));
}

static unsigned int arena_obj_index(const struct kmem_cache *s, const struct arena_slab *as,
				    const void *object)
{
	return __obj_to_index(s, arena_slab_base(as), object);
}

/* get_freepointer() of an arena cache */
void *slab_arena_get_link(struct kmem_cache *s, void *object)
{
	struct arena_slab *as = slab_to_arena(s, virt_to_slab(object));
	u16 state = READ_ONCE(as->state[arena_obj_index(s, as, object)]);
	u16 tag = state & ARENA_OBJ_TAG, link = state & ARENA_OBJ_INDEX;

	/*
	 * Who asks owns the object or holds the list_lock of a slab on the partial list,
	 * and then it is free: others may push, but not take. A link that is none must
	 * not lead out of the slab in any case.
	 */
	if ((tag != ARENA_OBJ_FREE && tag != ARENA_OBJ_FREED) || link >= s->arena->objects)
		return NULL;
	return arena_slab_base(as) + (size_t)link * s->size;
}

/* set_freepointer() of an arena cache; links stay within one slab */
void slab_arena_set_link(struct kmem_cache *s, void *object, void *next)
{
	struct arena_slab *as = slab_to_arena(s, virt_to_slab(object));
	u16 link = next ? arena_obj_index(s, as, next) : ARENA_OBJ_END;
	u16 *state = &as->state[arena_obj_index(s, as, object)];
	u16 old = READ_ONCE(*state);
	bool fresh = (old & ARENA_OBJ_TAG) == ARENA_OBJ_FREE || old == ARENA_OBJ_FRESH;

	WRITE_ONCE(*state, (fresh ? ARENA_OBJ_FREE : ARENA_OBJ_FREED) | link);
}

/**
 * slab_arena_attach - make a fresh page a slab of an arena
 * @s: the cache
 * @slab: the slab; its counters are set up, nobody else sees it
 * @gfp: how to allocate the metadata
 * @allow_spin: whether locks may be taken
 *
 * Context: without @allow_spin any; with it as @gfp says.
 * Return: false if memory, charge or a place in the arena is not to be had. The
 * caller frees the page, which was never mapped.
 */
bool slab_arena_attach(struct kmem_cache *s, struct slab *slab, gfp_t gfp, bool allow_spin)
{
	struct bpf_arena_cache *c = s->arena;
	struct mem_cgroup *old, *memcg;
	struct arena_slab *as;

	gfp = (gfp & GFP_RECLAIM_MASK) | __GFP_NOWARN;
	bpf_arena_slab_memcg_enter(c, &old, &memcg);
	as = arena_meta_alloc(c, gfp, allow_spin);
	if (!as)
		goto out;

	as->slab = slab;
	as->cache = c;
	atomic_set(&as->defer_head, ARENA_OBJ_END);
	for (unsigned int i = 0; i < arena_slab_states(c->size); i++)
		as->state[i] = ARENA_OBJ_FRESH;

	/* Publishes the slot, with a barrier after the stores above */
	if (bpf_arena_slab_map(as, slab_page(slab), gfp, allow_spin)) {
		allow_spin ? kfree(as) : kfree_nolock(as);
		as = NULL;
		goto out;
	}
	slab->arena_pgoff = as->pgoff;
	/* Nobody has an object yet that could be freed */
	atomic_set(&as->rcu, ARENA_RCU_NONE);
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

	ARENA_STUB_REDIRECT(slab_arena_release, s, slab);
	as = slab_to_arena(s, slab);
	/*
	 * One winner. Those who could compete exclude each other already: shrink
	 * and detach by slab_mutex, both and a last free by the list_lock. An object
	 * whose free was deferred would have kept the slab.
	 */
	if (WARN_ON_ONCE(atomic_cmpxchg(&as->defer_head, ARENA_OBJ_END, ARENA_SLAB_DEAD) !=
			 ARENA_OBJ_END))
		return;
	as->pgoff = slab_arena_pgoff(slab);
	bpf_arena_slab_unmap(as);
}

/* The thread of this CPU that irq_works run in, on PREEMPT_RT; compared, never followed */
static DEFINE_PER_CPU(struct task_struct *, irq_work_thread);

/* Is this where irq_works run, or, more than was asked, some other hard irq? */
static bool in_irq_work(void)
{
	if (IS_ENABLED(CONFIG_PREEMPT_RT) && raw_cpu_read(irq_work_thread) == current)
		return true;
	return in_hardirq();
}

/* Give a freed object, whose state is ours, to the irq_work of its cache */
void slab_arena_defer(struct arena_slab *as, unsigned int idx)
{
	struct bpf_arena_cache *c = as->cache;
	int head = atomic_read(&as->defer_head);

	/*
	 * Push only, and the consumer takes all by xchg: no ABA. The cmpxchg
	 * orders the link before the head; pairs with the xchg there.
	 *
	 * Nothing gets lost: who finds the stack empty puts the slab on the list, and
	 * until that is done nobody takes the stack, whose objects keep the slab. Who
	 * finds the list empty queues the irq_work, after the arena_list_add(): a run that
	 * has begun, and may have missed it, can be queued again. The others count on
	 * them: nobody is preempted before it is done.
	 */
	guard(preempt)();
	do {
		WRITE_ONCE(as->state[idx], ARENA_OBJ_DEFERRED | head);
	} while (!atomic_try_cmpxchg(&as->defer_head, &head, idx));

	if (head == ARENA_OBJ_END &&
	    arena_list_add(slab_arena_pgoff(as->slab), &as->next, &c->deferred)) {
		if (in_irq_work())
			WRITE_ONCE(c->deferred_in_irq, true);
		irq_work_queue(&c->deferred_irq);
	}
}

/* Free a stack of objects, which was taken as a whole; after the last one @as may be gone */
static __always_inline
void slab_arena_free_stack(struct arena_slab *as, unsigned int idx,
			   void (*free)(struct arena_slab *as, unsigned int offset))
{
	unsigned int size = as->cache->size;

	while (idx != ARENA_OBJ_END) {
		unsigned int link = READ_ONCE(as->state[idx]) & ARENA_OBJ_INDEX;

		WRITE_ONCE(as->state[idx], ARENA_OBJ_CACHED);
		free(as, idx * size);
		idx = link;
	}
}

/* What a free does has been done, but for the lock that was not to be had */
static void slab_arena_free_deferred(struct arena_slab *as, unsigned int offset)
{
	___cache_free(as->cache->s, arena_slab_base(as) + offset, _RET_IP_);
}

/* Return the objects of a cache that could not be freed where they were */
static noinline void slab_arena_return_deferred(struct bpf_arena_cache *c)
{
	u32 next, pgoff = atomic_xchg(&c->deferred, ARENA_LIST_END);

	/*
	 * @next is read before the xchg that allows another push to use it again.
	 * Each object on the stack keeps the slab in use, so nothing of it may be
	 * touched once the last one is freed. Two runs at a time, on two CPUs or of the
	 * irq_work and the worker, have lists of their own.
	 */
	for (; pgoff != ARENA_LIST_END; pgoff = next) {
		struct arena_slab *as = arena_slab_at(c, pgoff);

		next = READ_ONCE(as->next);
		slab_arena_free_stack(as, atomic_xchg(&as->defer_head, ARENA_OBJ_END),
				      slab_arena_free_deferred);
	}
}

/*
 * irq_work of a cache. A program that is called by what is done here can defer another
 * free for each one that is returned, and so have this run again and again, for as long
 * as it likes: in hard irq, or, on PREEMPT_RT, in a thread that goes before all ordinary
 * ones. So what was deferred in such a place is a worker's, which waits its turn like
 * others. What a loop in a task defers comes back at once.
 */
void slab_arena_deferred_irq(struct irq_work *work)
{
	struct bpf_arena_cache *c = container_of(work, struct bpf_arena_cache, deferred_irq);

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		this_cpu_write(irq_work_thread, current);
	/* Set before the irq_work is queued; until the worker runs, all that comes is for it */
	if (READ_ONCE(c->deferred_in_irq))
		queue_work(system_dfl_wq, &c->deferred_work);
	else
		slab_arena_return_deferred(c);
}

void slab_arena_deferred_work(struct work_struct *work)
{
	struct bpf_arena_cache *c = container_of(work, struct bpf_arena_cache, deferred_work);

	/* Whoever sets it from here on queues the irq_work, and that queues us again */
	WRITE_ONCE(c->deferred_in_irq, false);
	slab_arena_return_deferred(c);
}

/*
 * Free after a grace period. A slab has two stacks for that, linked through the states
 * like the one of deferred frees, and with their heads in one word, as->rcu:
 *
 *	new	the low half; whoever frees pushes here
 *	wait	the high half; those that the grace period under way is for
 *
 *	object 5 is freed	rcu = { 5, END }	slab into c->rcu_new, irq_work
 *	a grace period begins	rcu = { END, 5 }	slab into c->rcu_wait, call_rcu()
 *	object 7 is freed	rcu = { 7, 5 }		the slab is in a list already
 *	it ends			rcu = { END, 7 }	5 goes back to SLUB; the next one
 *
 * So a slab is in one of the lists exactly while the word is not empty, and who changes
 * it from empty puts it there. Nothing is allocated and no byte of the objects is
 * touched: a struct rcu_head in them would be a function pointer that programs write.
 * There is one rcu_head for all of a cache, used again and again.
 */
/**
 * slab_arena_free_rcu - return an object, whose LIVE state the caller has won, later
 * @as: its slab
 * @object: its direct-map address
 *
 * Context: any.
 */
void slab_arena_free_rcu(struct arena_slab *as, void *object)
{
	struct bpf_arena_cache *c = as->cache;
	unsigned int idx = arena_obj_index(c->s, as, object);
	int old = atomic_read(&as->rcu);

	/* bpf_arena_cache_destroy() is not called before we have returned */
	if (!READ_ONCE(c->rcu_used))
		WRITE_ONCE(c->rcu_used, true);
	/*
	 * No ABA: the new stack is taken as a whole. The cmpxchg orders the link before
	 * the head; pairs with the one in slab_arena_rcu_next(). As long as the object is
	 * not back it keeps the slab.
	 */
	guard(preempt)();
	do {
		WRITE_ONCE(as->state[idx], ARENA_OBJ_DEFERRED | FIELD_GET(ARENA_RCU_NEW, old));
	} while (!atomic_try_cmpxchg(&as->rcu, &old,
				     ARENA_RCU_WORD(idx, FIELD_GET(ARENA_RCU_WAIT, old))));

	/* As for deferred frees: the irq_work after the slab is in the list */
	if (old == ARENA_RCU_NONE &&
	    arena_list_add(slab_arena_pgoff(as->slab), &as->rcu_next, &c->rcu_new))
		irq_work_queue(&c->rcu_irq);
}

/*
 * What was pushed so far waits for the grace period that starts next. Returns the stack
 * that has waited; @more tells whether the slab stays in a list.
 */
static unsigned int slab_arena_rcu_next(struct arena_slab *as, bool *more)
{
	int old = atomic_read(&as->rcu), new;

	do {
		new = FIELD_GET(ARENA_RCU_NEW, old);
		*more = new != ARENA_OBJ_END;
	} while (!atomic_try_cmpxchg(&as->rcu, &old, ARENA_RCU_WORD(ARENA_OBJ_END, new)));
	return FIELD_GET(ARENA_RCU_WAIT, old);
}

static void slab_arena_rcu_done(struct rcu_head *head);

/* Start a grace period for what is there, if there is something. By the one who is busy. */
static void slab_arena_rcu_start(struct bpf_arena_cache *c)
{
	u32 pgoff, next;
	bool more;

	for (;;) {
		pgoff = atomic_xchg(&c->rcu_new, ARENA_LIST_END);
		for (; pgoff != ARENA_LIST_END; pgoff = next) {
			struct arena_slab *as = arena_slab_at(c, pgoff);

			next = READ_ONCE(as->rcu_next);
			slab_arena_rcu_next(as, &more);
			as->rcu_next = c->rcu_wait;
			c->rcu_wait = pgoff;
		}
		if (c->rcu_wait != ARENA_LIST_END && !READ_ONCE(c->rcu_stop)) {
			call_rcu(&c->rcu, slab_arena_rcu_done);
			return;
		}
		/*
		 * Who adds a slab from here on finds us not busy, or we find the slab; the
		 * barriers are in the arena_list_add() and the cmpxchg of the irq_work there.
		 */
		smp_store_release(&c->rcu_busy, 0);
		smp_mb(); /* before rcu_new is read */
		if (atomic_read(&c->rcu_new) == ARENA_LIST_END || READ_ONCE(c->rcu_stop) ||
		    cmpxchg(&c->rcu_busy, 0, 1))
			return;
	}
}

/* irq_work of a cache: somebody freed an object by slab_arena_free_rcu() */
void slab_arena_rcu_work(struct irq_work *work)
{
	struct bpf_arena_cache *c = container_of(work, struct bpf_arena_cache, rcu_irq);

	/* Else the callback that is queued finds the slab */
	if (!READ_ONCE(c->rcu_stop) && !cmpxchg(&c->rcu_busy, 0, 1))
		slab_arena_rcu_start(c);
}

/* A grace period has passed since slab_arena_rcu_start() */
static void slab_arena_rcu_done(struct rcu_head *head)
{
	struct bpf_arena_cache *c = container_of(head, struct bpf_arena_cache, rcu);
	u32 next, pgoff = c->rcu_wait;
	bool more;

	c->rcu_wait = ARENA_LIST_END;
	if (READ_ONCE(c->rcu_stop))
		pgoff = ARENA_LIST_END;
	for (; pgoff != ARENA_LIST_END; pgoff = next) {
		struct arena_slab *as = arena_slab_at(c, pgoff);
		unsigned int idx;

		/* First: the last object that goes back may take the slab with it */
		next = READ_ONCE(as->rcu_next);
		idx = slab_arena_rcu_next(as, &more);
		if (more) {
			as->rcu_next = c->rcu_wait;
			c->rcu_wait = pgoff;
		}
		slab_arena_free_stack(as, idx, slab_arena_free);
	}
	slab_arena_rcu_start(c);
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
 * slab_arena_free_bulk - return objects whose LIVE states the caller has won
 * @c: the cache of all of them
 * @nr: how many
 * @p: their direct-map addresses; overwritten
 *
 * Context: as kmem_cache_free_bulk(), with irqs on.
 */
void slab_arena_free_bulk(struct bpf_arena_cache *c, size_t nr, void **p)
{
	arena_stat_add(&c->stats->frees, nr);
	kmem_cache_free_bulk(c->s, nr, p);
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
 * If one of them is in the way sheaves may have been flushed, and empty slabs are not given up.
 */
void slab_arena_drain(struct kmem_cache *s)
{
	kmem_cache_shrink_trylock(s);
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
		if (as->cache == s->arena && atomic_read(&as->defer_head) != ARENA_SLAB_DEAD)
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
