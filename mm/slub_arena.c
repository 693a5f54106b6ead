// SPDX-License-Identifier: GPL-2.0
/*
 * SLUB's part of SLAB_BPF_ARENA: what needs functions that are static in mm/slub.c, which
 * includes this at its end, as mm/percpu.c does with percpu-vm.c. See mm/slab_arena.c for
 * how it works.
 *
 * So also where an object goes to its user and comes back. Most come from the sheaf of the
 * CPU and go back there: what does that calls nothing, but ends in a function that does all
 * where that is not enough. A frame of its own, and the tests of what was called, were a
 * sixth of the pair.
 */

#include <linux/bpf_arena_slab.h>

static_assert(MAX_FULL_SHEAVES == SLAB_ARENA_FULL_SHEAVES);

/* Out of line, with what of the stack it needs */
static noinline void *alloc_arena_slow(struct kmem_cache *s, gfp_t gfp, int node,
				       unsigned int alloc_flags)
{
	const struct slab_alloc_context ac = {
		.caller_addr = _RET_IP_,
		.orig_size = s->object_size,
		.alloc_flags = alloc_flags,
	};

	return ___slab_alloc(s, gfp, node, &ac);
}

static __always_inline void *clear_16(void *p)
{
	u64 *word = p;

	word[0] = 0;
	word[1] = 0;
	return word + 2;
}

/*
 * Programs get all of their objects zeroed, and most are small: for these memset() is
 * twice as many instructions around the stores, in a function of its own.
 */
static __always_inline bool is_cleared_inline(unsigned int size)
{
	return !(size & ~0x70);
}

static __always_inline void clear_inline(void *p, unsigned int size)
{
	if (size & 64)
		p = clear_16(clear_16(clear_16(clear_16(p))));
	if (!(size & 48))
		return;
	if (size & 32)
		p = clear_16(clear_16(p));
	if (size & 16)
		clear_16(p);
}

/*
 * From the node that the task's policy asks for. Out of line: elsewhere the compiler knows
 * that none was asked for. Looking at the policy may wait for who changes it.
 */
static noinline void *alloc_arena_strict(struct kmem_cache *s, gfp_t gfp, unsigned int alloc_flags)
{
	int node = apply_strict_numa_policy(NUMA_NO_NODE);

	return alloc_from_pcs(s, gfp, alloc_flags, node) ?:
	       alloc_arena_slow(s, gfp, node, alloc_flags);
}

static __always_inline bool arena_strict_numa(void)
{
#ifdef CONFIG_NUMA
	return static_branch_unlikely(&strict_numa);
#else
	return false;
#endif
}

/* slab_pre_alloc_hook() of those who may spin: does the allocation fail? */
static __always_inline bool alloc_arena_fails(struct kmem_cache *s, gfp_t gfp)
{
	gfp &= gfp_allowed_mask;
	might_alloc(gfp);
	return unlikely(should_failslab(s, gfp));
}

/*
 * kmem_cache_alloc_node() of arena caches, which have no object extensions, no KFENCE
 * and no kmemleak. Nor its tracepoint: an address in the direct map tells nobody who
 * has the object.
 */
static __always_inline void *
alloc_arena(struct kmem_cache *s, gfp_t gfp, int node, unsigned int alloc_flags)
{
	void *object;

	if (alloc_flags_allow_spinning(alloc_flags) && node == NUMA_NO_NODE && arena_strict_numa())
		object = alloc_arena_strict(s, gfp, alloc_flags);
	else
		object = alloc_from_pcs(s, gfp, alloc_flags, node) ?:
			 alloc_arena_slow(s, gfp, node, alloc_flags);
	if (unlikely(!object))
		return NULL;
	object = kasan_slab_alloc(s, object, gfp, false);
	if (slab_want_init_on_alloc(gfp, s))
		memset(object, 0, s->object_size);
	return object;
}

/* An object that SLUB gave us goes to its user, under the address that is known there */
static __always_inline void *slab_arena_make_live(struct bpf_arena_cache *c, void *object,
						  bool in_user_space)
{
	unsigned int offset = offset_in_page(object), idx;
	struct arena_slab *as;
	u32 pgoff;

	/* A slab of an arena is one page: no head to look for */
	object = kasan_reset_tag(object);
	/* inuse changes under our feet, arena_pgoff does not */
	pgoff = data_race((u32)((struct slab *)virt_to_page(object))->arena_pgoff);
	as = arena_slab_at(c, pgoff);
	idx = arena_index_word(c, offset) >> 32;
	object = (void *)(in_user_space ? arena_page_uaddr(c, pgoff) :
					  arena_page_kaddr(c, pgoff)) + offset;
	arena_stat_add(&c->stats->allocs, 1);

	/*
	 * Nobody else writes a state that is not LIVE. Invariant 2: from here on the
	 * object is its user's, and neither it nor @as may be touched. Orders all that
	 * SLUB wrote before; pairs with the cmpxchg in arena_slab_claim(). Not ordered
	 * against what its user writes later: who hands it on does that, or may have the
	 * free of it refused.
	 */
	VM_WARN_ON_ONCE(READ_ONCE(as->state[idx]) == ARENA_OBJ_LIVE);
	smp_store_release(&as->state[idx], ARENA_OBJ_LIVE);
	return object;
}

/* A full arena is no news for the kernel log; pages are charged, not objects */
static gfp_t slab_arena_gfp(gfp_t gfp)
{
	return (gfp | __GFP_NOWARN) & ~__GFP_ACCOUNT;
}

static gfp_t slab_arena_gfp_nolock(gfp_t gfp)
{
	return (gfp & __GFP_ZERO) | __GFP_NOWARN | __GFP_NOMEMALLOC;
}

/* Where kmalloc_nolock() has nothing either */
bool kmem_cache_may_alloc_nolock(const struct kmem_cache *s)
{
	return can_spin_trylock() && (s->flags & __CMPXCHG_DOUBLE);
}

/* All that alloc_live() is not for, and what its sheaf does not have */
static noinline void *alloc_live_slow(struct bpf_arena_cache *c, gfp_t gfp, int node,
				      unsigned int alloc_flags, bool in_user_space)
{
	void *object = NULL;

	if (alloc_flags_allow_spinning(alloc_flags) || kmem_cache_may_alloc_nolock(c->s))
		object = alloc_arena(c->s, gfp, node, alloc_flags);
	if (unlikely(!object))
		return bpf_arena_slab_alloc_slow(c, gfp, node,
						 !alloc_flags_allow_spinning(alloc_flags),
						 in_user_space);
	return slab_arena_make_live(c, object, in_user_space);
}

/* memset() is a call, and whatever makes one needs the stack */
static noinline void *zeroed_live(struct bpf_arena_cache *c, void *object, bool in_user_space)
{
	memset(object, 0, c->s->object_size);
	return slab_arena_make_live(c, object, in_user_space);
}

/*
 * The object on top of this CPU's sheaf: alloc_from_pcs() without what it does if there is
 * none. False if so, and where somebody has the sheaf's lock.
 */
static __always_inline bool sheaf_pop(struct kmem_cache *s, void **object)
{
	struct slab_sheaf *main;

	if (!local_trylock(&s->cpu_sheaves->lock))
		return false;
	main = this_cpu_ptr(s->cpu_sheaves)->main;
	if (unlikely(!main->size)) {
		local_unlock(&s->cpu_sheaves->lock);
		return false;
	}
	*object = main->objects[--main->size];
	local_unlock(&s->cpu_sheaves->lock);
	stat(s, ALLOC_FASTPATH);
	return true;
}

/*
 * Most allocations find an object in the sheaf, and nobody who wants to know of them. These
 * call nothing, but to end in it, so that they need nothing of the stack.
 */
static __always_inline void *alloc_live(struct bpf_arena_cache *c, gfp_t gfp, int node,
					unsigned int alloc_flags, bool in_user_space)
{
	const bool nolock = !alloc_flags_allow_spinning(alloc_flags);
	struct kmem_cache *s = c->s;
	void *object;

	if (!nolock && alloc_arena_fails(s, gfp))
		return bpf_arena_slab_alloc_slow(c, gfp, node, false, in_user_space);
	if (kasan_enabled() || (IS_ENABLED(CONFIG_NUMA) && node != NUMA_NO_NODE))
		goto slow;
	if (nolock ? unlikely(!kmem_cache_may_alloc_nolock(s)) : arena_strict_numa())
		goto slow;
	if (unlikely(!sheaf_pop(s, &object)))
		goto slow;

	if (slab_want_init_on_alloc(gfp, s)) {
		if (unlikely(!is_cleared_inline(s->object_size)))
			return zeroed_live(c, object, in_user_space);
		clear_inline(object, s->object_size);
	}
	return slab_arena_make_live(c, object, in_user_space);

slow:
	return alloc_live_slow(c, gfp, node, alloc_flags, in_user_space);
}

/**
 * bpf_arena_cache_alloc - allocate an object in an arena
 * @c: the cache
 * @gfp: as for kmem_cache_alloc(); __GFP_ACCOUNT has no effect, pages are charged
 *	to the owner of the arena
 *
 * With a @gfp that may block, page and metadata are allocated with reclaim, and if
 * the arena is full, sheaves and empty slabs of all its caches are given back
 * before it fails. An arena can be filled by its programs at any time: what must
 * not fail has to be allocated beforehand. Fresh objects are zero only with
 * __GFP_ZERO.
 *
 * Hand an object to another CPU by a release or more, as rcu_assign_pointer(), a lock or
 * xchg(), however it was allocated. After WRITE_ONCE() a free there may be refused on some
 * architectures, and the object stays until the cache goes.
 *
 * Context: as kmem_cache_alloc() with the same @gfp; not in NMI, not under a raw
 * spinlock. If it may block, a full arena, which a program can make of it at any time, is a
 * second's wait at most.
 * Return: the object's arena kernel address, or NULL.
 */
void *bpf_arena_cache_alloc(struct bpf_arena_cache *c, gfp_t gfp)
{
	return alloc_live(c, slab_arena_gfp(gfp), NUMA_NO_NODE, SLAB_ALLOC_DEFAULT, false);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_alloc);

/**
 * bpf_arena_cache_alloc_node - allocate an object, preferably from a node
 * @c: the cache
 * @gfp: as for bpf_arena_cache_alloc(); with __GFP_THISNODE from nowhere else
 * @node: the node, or NUMA_NO_NODE
 *
 * Context: as bpf_arena_cache_alloc().
 * Return: the object's arena kernel address, or NULL.
 */
void *bpf_arena_cache_alloc_node(struct bpf_arena_cache *c, gfp_t gfp, int node)
{
	return alloc_live(c, slab_arena_gfp(gfp), node, SLAB_ALLOC_DEFAULT, false);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_alloc_node);

/**
 * bpf_arena_cache_alloc_nolock - allocate an object in any context
 * @c: the cache
 * @gfp: 0 or __GFP_ZERO
 *
 * With the limits of kmalloc_nolock(), but see slab_arena_keep().
 *
 * Context: any, NMI included. Always fails in NMI and hard irq on PREEMPT_RT, and
 * on CPUs without a 16-byte cmpxchg.
 * Return: the object's arena kernel address, or NULL.
 */
void *bpf_arena_cache_alloc_nolock(struct bpf_arena_cache *c, gfp_t gfp)
{
	return alloc_live(c, slab_arena_gfp_nolock(gfp), NUMA_NO_NODE, SLAB_ALLOC_NOLOCK, false);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_alloc_nolock);

/**
 * slab_arena_alloc_uaddr - bpf_arena_cache_alloc() for a program
 * @c: the cache
 *
 * Zeroed, and as arena_get_pages() with reclaim and without a victim. What the compiler
 * knows of that is a twentieth of the pair.
 *
 * Context: where one may sleep.
 * Return: the object's address in user space, or NULL.
 */
void *slab_arena_alloc_uaddr(struct bpf_arena_cache *c)
{
	const gfp_t gfp = slab_arena_gfp(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_ZERO);

	return alloc_live(c, gfp, NUMA_NO_NODE, SLAB_ALLOC_DEFAULT, true);
}

/**
 * slab_arena_alloc_uaddr_nolock - bpf_arena_cache_alloc_nolock() for a program
 * @c: the cache
 *
 * Context: any.
 * Return: the address in user space of a zeroed object, or NULL.
 */
void *slab_arena_alloc_uaddr_nolock(struct bpf_arena_cache *c)
{
	return alloc_live(c, slab_arena_gfp_nolock(__GFP_ZERO), NUMA_NO_NODE, SLAB_ALLOC_NOLOCK,
			  true);
}

/**
 * slab_arena_alloc_again - allocate once more, after a drain
 * @c: the cache
 * @gfp: as before
 * @node: as before
 * @in_user_space: which address is asked for
 *
 * Context: as before.
 * Return: the arena kernel address or the one in user space, or NULL.
 */
void *slab_arena_alloc_again(struct bpf_arena_cache *c, gfp_t gfp, int node, bool in_user_space)
{
	void *object = NULL;

	if (!alloc_arena_fails(c->s, gfp))
		object = alloc_arena(c->s, gfp, node, SLAB_ALLOC_DEFAULT);
	return object ? slab_arena_make_live(c, object, in_user_space) : NULL;
}

/**
 * slab_arena_alloc_bulk - allocate several objects, or none
 * @c: the cache
 * @gfp: as for bpf_arena_cache_alloc()
 * @nr: how many
 * @p: out: their arena kernel addresses; undefined if it fails
 *
 * What SLUB has taken when it fails it returns itself: nobody has seen it LIVE.
 *
 * Context: as bpf_arena_cache_alloc(), with irqs on.
 * Return: true if there are all of them.
 */
bool slab_arena_alloc_bulk(struct bpf_arena_cache *c, gfp_t gfp, size_t nr, void **p)
{
	if (!kmem_cache_alloc_bulk(c->s, slab_arena_gfp(gfp), nr, p))
		return false;
	for (size_t i = 0; i < nr; i++)
		p[i] = slab_arena_make_live(c, p[i], false);
	return true;
}

/*
 * Returns false if the object did not get into a sheaf. KASAN and init_on_free are what it
 * has of slab_free_hook(): nothing that debug_check_no_locks_freed() and the like look for
 * may be in memory that programs write to.
 */
static __always_inline
bool free_arena(struct kmem_cache *s, struct slab *slab, void *x, bool allow_spin)
{
	if (kasan_slab_pre_free(s, x))
		return true;
	if (allow_spin && unlikely(slab_want_init_on_free(s)))
		memset(kasan_reset_tag(x), 0, s->object_size);
	/* Not into the quarantine, which links through the object */
	kasan_slab_free(s, x, false, false, true);

	return likely(can_free_to_pcs(slab)) && likely(free_to_pcs(s, x, allow_spin));
}

/* All that frees without a call are not for, and what their sheaf has no room for */
static noinline void free_arena_slow(struct arena_slab *as, void *object)
{
	struct kmem_cache *s = as->cache->s;
	struct slab *slab = as->slab;

	if (free_arena(s, slab, object, true))
		return;
	__slab_free(s, slab, object, object, 1, _RET_IP_);
	stat(s, FREE_SLOWPATH);
}

/* Is there anything to be done with an object before it is with SLUB? */
static __always_inline bool free_arena_has_hooks(struct kmem_cache *s)
{
	return kasan_enabled() || slab_want_init_on_free(s);
}

/*
 * can_free_to_pcs() for most: nodes without memory are for the slow path, and pages
 * from reserves, which __GFP_NOMEMALLOC in s->allocflags keeps away, are not asked for. A
 * __GFP_NOFAIL can bring one in all the same, which is used like others then.
 */
static __always_inline bool is_slab_local(const struct slab *slab)
{
	return !IS_ENABLED(CONFIG_NUMA) || likely(slab_nid(slab) == numa_mem_id());
}

/*
 * free_to_pcs() without what it does if the sheaf is full. The caller has the sheaf's lock,
 * which this drops in any case. Returns whether there was room.
 */
static __always_inline bool sheaf_push_unlock(struct kmem_cache *s, void *object)
{
	struct slab_sheaf *main = this_cpu_ptr(s->cpu_sheaves)->main;

	if (unlikely(main->size == s->sheaf_capacity)) {
		local_unlock(&s->cpu_sheaves->lock);
		return false;
	}
	main->objects[main->size++] = object;
	local_unlock(&s->cpu_sheaves->lock);
	stat(s, FREE_FASTPATH);
	return true;
}

/* Counts it. Up to here @as was the object's; once that is in a sheaf it is anybody's. */
static __always_inline bool free_to_sheaf(struct arena_slab *as, void *object)
{
	struct bpf_arena_cache *c = as->cache;
	struct kmem_cache *s = c->s;

	arena_stat_add(&c->stats->frees, 1);
	return !free_arena_has_hooks(s) && is_slab_local(as->slab) &&
	       local_trylock(&s->cpu_sheaves->lock) && sheaf_push_unlock(s, object);
}

/**
 * slab_arena_free - return an object whose LIVE state the caller has won
 * @as: its slab
 * @offset: where it is in the page
 *
 * Context: any but NMI; not under a raw spinlock.
 */
void slab_arena_free(struct arena_slab *as, unsigned int offset)
{
	void *object = arena_slab_base(as) + offset;

	if (unlikely(!free_to_sheaf(as, object)))
		free_arena_slow(as, object);
}

static noinline void free_arena_slow_nolock(struct arena_slab *as, void *object)
{
	struct kmem_cache *s = as->cache->s;

	if (!free_arena(s, as->slab, object, false))
		slab_arena_defer(as, __obj_to_index(s, arena_slab_base(as), object));
}

/**
 * slab_arena_free_nolock - the same, and never spin on a lock
 * @as: its slab
 * @offset: where it is in the page
 *
 * Not by defer_free(), which links through the object.
 *
 * Context: any.
 */
void slab_arena_free_nolock(struct arena_slab *as, unsigned int offset)
{
	void *object = arena_slab_base(as) + offset;

	if (unlikely(!free_to_sheaf(as, object)))
		free_arena_slow_nolock(as, object);
}

/* Whatever cannot be freed below, and all that is none of @c's objects */
static noinline void cache_free_slow(struct bpf_arena_cache *c, void *kaddr)
{
	struct arena_slab *as = arena_cache_claim_kaddr(c, kaddr);

	if (as)
		slab_arena_free(as, offset_in_page(kaddr));
}

/**
 * bpf_arena_cache_free - free an object
 * @c: the cache that it is from
 * @kaddr: its arena kernel address, or NULL; may come from a program, since what is
 *	not a live object of @c is refused, counted and traced
 *
 * Context: any but NMI; not under a raw spinlock.
 */
void bpf_arena_cache_free(struct bpf_arena_cache *c, void *kaddr)
{
	unsigned long offset = (unsigned long)kaddr - c->kbase;
	struct kmem_cache *s = c->s;
	struct arena_slab *as;
	void *object;

	if (free_arena_has_hooks(s) || !local_trylock(&s->cpu_sheaves->lock))
		goto slow;
	/*
	 * The lock holds up a grace period, so that looking for the slab needs nothing more:
	 * it disables preemption, or, on PREEMPT_RT, is in RCU. NULL is no object.
	 */
	as = arena_cache_try_claim(c, offset);
	if (unlikely(!as))
		goto unlock;
	arena_stat_add(&c->stats->frees, 1);
	object = arena_slab_object(as, offset);
	if (unlikely(!is_slab_local(as->slab)))
		goto unlock_claimed;
	if (unlikely(!sheaf_push_unlock(s, object)))
		goto claimed;
	return;

unlock_claimed:
	local_unlock(&s->cpu_sheaves->lock);
claimed:
	free_arena_slow(as, object);
	return;
unlock:
	local_unlock(&s->cpu_sheaves->lock);
slow:
	cache_free_slow(c, kaddr);
}
EXPORT_SYMBOL_GPL(bpf_arena_cache_free);

/*
 * Have as many empty sheaves as a barn keeps. Those who may not spin take one from there, but
 * allocate none: without these they would never use more than the two of their CPU.
 */
void kmem_cache_fill_barns(struct kmem_cache *s, gfp_t gfp)
{
	int node;

	if (!cache_has_sheaves(s))
		return;
	for_each_node(node) {
		struct node_barn *barn = get_barn_node(s, node);

		if (!barn)
			continue;
		/* Others may take them meanwhile: that is no reason to go on */
		for (int i = data_race(barn->nr_empty); i < MAX_EMPTY_SHEAVES; i++) {
			struct slab_sheaf *empty = alloc_empty_sheaf(s, gfp | __GFP_NOWARN,
								     SLAB_ALLOC_DEFAULT);

			if (!empty)
				return;
			barn_put_empty_sheaf(barn, empty);
		}
	}
}

/*
 * kmem_cache_shrink() for those whom a holder of either lock may wait for. The caller
 * keeps kmem_cache_discard_all() away.
 */
void kmem_cache_shrink_trylock(struct kmem_cache *s)
{
	if (!cpus_read_trylock())
		return;
	/* It may wait for long for a CPU to do its part: not with the mutex */
	flush_all_cpus_locked(s);
	if (mutex_trylock(&slab_mutex)) {
		__kmem_cache_do_shrink(s);
		mutex_unlock(&slab_mutex);
		kmem_cache_fill_barns(s, GFP_NOWAIT);
	}
	cpus_read_unlock();
}

static void discard_used_slab(struct kmem_cache *s, struct slab *slab)
{
	struct kmem_cache_node *n = get_node(s, slab_nid(slab));
	unsigned long flags;

	spin_lock_irqsave(&n->list_lock, flags);
	if (slab_test_node_partial(slab))
		remove_partial(n, slab);
	spin_unlock_irqrestore(&n->list_lock, flags);
	discard_slab(s, slab);
}

/*
 * Empty a cache that nobody uses any more, whatever is left in it. @walk calls
 * back with each slab that has not been given up.
 */
void kmem_cache_discard_all(struct kmem_cache *s,
			    void (*walk)(struct kmem_cache *s,
					 void (*discard)(struct kmem_cache *s, struct slab *slab)))
{
	int node;

	cpus_read_lock();
	mutex_lock(&slab_mutex);
	flush_all_cpus_locked(s);
	for_each_node(node) {
		struct node_barn *barn = get_barn_node(s, node);

		if (barn)
			barn_shrink(s, barn);
	}
	walk(s, discard_used_slab);
	mutex_unlock(&slab_mutex);
	cpus_read_unlock();
}

#ifdef SLAB_SUPPORTS_SYSFS
/* A copy: a BPF iterator can hold the cache longer than the arena is there */
static ssize_t arena_map_id_show(struct kmem_cache *s, char *buf)
{
	return sysfs_emit(buf, "%u\n", s->arena_map_id);
}
SLAB_ATTR_RO(arena_map_id);

static const struct attribute *const slab_arena_attrs[] = {
	&arena_map_id_attr.attr,
	NULL
};

static umode_t slab_arena_is_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	return to_slab(kobj)->flags & SLAB_BPF_ARENA ? attr->mode : 0;
}

static const struct attribute_group slab_arena_group = {
	.attrs_const = slab_arena_attrs,
	.is_visible = slab_arena_is_visible,
};
#endif /* SLAB_SUPPORTS_SYSFS */
