// SPDX-License-Identifier: GPL-2.0
/*
 * SLUB's part of SLAB_BPF_ARENA: what mm/slab_arena.c needs of the functions that are
 * static in mm/slub.c, which includes this at its end, as mm/percpu.c does with
 * percpu-vm.c. See mm/slab_arena.c for how it works.
 */

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
static __always_inline void clear_object(void *p, unsigned int size)
{
	if (unlikely(size & ~0x70)) {
		memset(p, 0, size);
		return;
	}
	if (size & 64)
		p = clear_16(clear_16(clear_16(clear_16(p))));
	if (size & 32)
		p = clear_16(clear_16(p));
	if (size & 16)
		clear_16(p);
}

/*
 * kmem_cache_alloc_node() of arena caches, which have no object extensions, no KFENCE
 * and no kmemleak.
 */
static __always_inline void *
alloc_arena(struct kmem_cache *s, gfp_t gfp, int node, unsigned int alloc_flags)
{
	void *object;

	/* Looking at the task's policy may wait for who changes it */
	if (alloc_flags_allow_spinning(alloc_flags))
		node = apply_strict_numa_policy(node);
	object = alloc_from_pcs(s, gfp, alloc_flags, node);
	if (unlikely(!object)) {
		object = alloc_arena_slow(s, gfp, node, alloc_flags);
		if (!object)
			return NULL;
	}
	object = kasan_slab_alloc(s, object, gfp, false);
	if (slab_want_init_on_alloc(gfp, s))
		clear_object(object, s->object_size);
	kmsan_slab_alloc(s, object, gfp);
	return object;
}

void *kmem_cache_alloc_arena(struct kmem_cache *s, gfp_t gfp)
{
	if (unlikely(!slab_pre_alloc_hook(s, gfp)))
		return NULL;
	return alloc_arena(s, gfp, NUMA_NO_NODE, SLAB_ALLOC_DEFAULT);
}

void *kmem_cache_alloc_arena_node(struct kmem_cache *s, gfp_t gfp, int node)
{
	if (unlikely(!slab_pre_alloc_hook(s, gfp)))
		return NULL;
	return alloc_arena(s, gfp, node, SLAB_ALLOC_DEFAULT);
}

/* Where kmalloc_nolock() has nothing either */
bool kmem_cache_may_alloc_nolock(const struct kmem_cache *s)
{
	return can_spin_trylock() && (s->flags & __CMPXCHG_DOUBLE);
}

/*
 * For any context, with the limits of kmalloc_nolock(). Without a larger bucket to try,
 * but see slab_arena_keep().
 */
void *kmem_cache_alloc_arena_nolock(struct kmem_cache *s, gfp_t gfp)
{
	if (!kmem_cache_may_alloc_nolock(s))
		return NULL;
	gfp = (gfp & __GFP_ZERO) | __GFP_NOWARN | __GFP_NOMEMALLOC;
	return alloc_arena(s, gfp, NUMA_NO_NODE, SLAB_ALLOC_NOLOCK);
}

/* Returns false if the object, with its free hooks done, did not get into a sheaf */
static __always_inline
bool free_arena(struct kmem_cache *s, struct slab *slab, void *x, bool allow_spin)
{
	kmsan_slab_free(s, x);
	if (kasan_slab_pre_free(s, x))
		return true;
	if (allow_spin && unlikely(slab_want_init_on_free(s)))
		memset(kasan_reset_tag(x), 0, s->object_size);
	/* The quarantine links through the object */
	kasan_slab_free(s, x, false, false, /* skip quarantine */true);

	return likely(can_free_to_pcs(slab)) && likely(free_to_pcs(s, x, allow_spin));
}

/* kmem_cache_free() of arena caches, see alloc_arena() */
void kmem_cache_free_arena(struct kmem_cache *s, struct slab *slab, void *x)
{
	if (likely(free_arena(s, slab, x, true)))
		return;
	__slab_free(s, slab, x, x, 1, _RET_IP_);
	stat(s, FREE_SLOWPATH);
}

/*
 * For any context. Returns false if @x has to be deferred; not by defer_free(), which
 * links through it.
 */
bool kmem_cache_free_arena_nolock(struct kmem_cache *s, struct slab *slab, void *x)
{
	return free_arena(s, slab, x, false);
}

/*
 * Have as many empty sheaves as a barn keeps. Who may not spin takes one from there, but
 * allocates none: without these he would never use more than the two of his CPU.
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
bool kmem_cache_shrink_trylock(struct kmem_cache *s)
{
	bool ret = false;

	if (!cpus_read_trylock())
		return false;
	/* It may wait for long for a CPU to do its part: not with the mutex */
	flush_all_cpus_locked(s);
	if (mutex_trylock(&slab_mutex)) {
		__kmem_cache_do_shrink(s);
		mutex_unlock(&slab_mutex);
		kmem_cache_fill_barns(s, GFP_NOWAIT);
		ret = true;
	}
	cpus_read_unlock();
	return ret;
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
