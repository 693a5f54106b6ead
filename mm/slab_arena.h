/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks of SLAB_BPF_ARENA in SLUB. Included by mm/slab.h; see mm/slab_arena.c.
 *
 * Hooks on the ways of objects and pages are behind slab_is_arena(): a jump over
 * nothing until the first arena cache is created on this machine, then a test of
 * s->flags, which is all there is where a cache is made. None is on the path that a
 * sheaf serves.
 */
#ifndef MM_SLAB_ARENA_H
#define MM_SLAB_ARENA_H

#include <linux/jump_label.h>
#include <linux/slab_arena.h>

#ifdef CONFIG_SLAB_BPF_ARENA

/*
 * The arena page offset stands in the spare bits of slab->counters: up to 2^20
 * pages of 4 KiB in an arena of 4 GiB. Every update of the counters copies it.
 */
static_assert(sizeof(unsigned long) == 8);

DECLARE_STATIC_KEY_FALSE(slab_arena_enabled);

static __always_inline bool slab_is_arena(const struct kmem_cache *s)
{
	return static_branch_unlikely(&slab_arena_enabled) && (s->flags & SLAB_BPF_ARENA);
}

int slab_arena_check_args(const struct kmem_cache_args *args, unsigned int size,
			  slab_flags_t *flags);
void *slab_arena_get_link(struct kmem_cache *s, void *object);
void slab_arena_set_link(struct kmem_cache *s, void *object, void *next);
bool slab_arena_attach(struct kmem_cache *s, struct slab *slab, gfp_t gfp, bool allow_spin);
void slab_arena_release(struct kmem_cache *s, struct slab *slab);
void slab_arena_keep(struct kmem_cache *s, struct slab *slab);
void slab_arena_defer(struct arena_slab *as, unsigned int idx);

/* mm/slub.c and mm/slub_arena.c, for mm/slab_arena.c */
void *kmem_cache_alloc_nolock_noprof(struct kmem_cache *s, gfp_t gfp);
#define kmem_cache_alloc_nolock(...)	alloc_hooks(kmem_cache_alloc_nolock_noprof(__VA_ARGS__))
void kmem_cache_fill_barns(struct kmem_cache *s, gfp_t gfp);
void kmem_cache_shrink_trylock(struct kmem_cache *s);
void kmem_cache_discard_all(struct kmem_cache *s,
			    void (*walk)(struct kmem_cache *s,
					 void (*discard)(struct kmem_cache *s, struct slab *slab)));

#else /* CONFIG_SLAB_BPF_ARENA */

static inline bool slab_is_arena(const struct kmem_cache *s)
{
	return false;
}

static inline int slab_arena_check_args(const struct kmem_cache_args *args, unsigned int size,
					slab_flags_t *flags)
{
	return 0;
}

static inline void *slab_arena_get_link(struct kmem_cache *s, void *object)
{
	return NULL;
}

static inline void slab_arena_set_link(struct kmem_cache *s, void *object, void *next) {}

static inline bool slab_arena_attach(struct kmem_cache *s, struct slab *slab, gfp_t gfp,
				     bool allow_spin)
{
	return false;
}

static inline void slab_arena_release(struct kmem_cache *s, struct slab *slab) {}
static inline void slab_arena_keep(struct kmem_cache *s, struct slab *slab) {}

#endif /* CONFIG_SLAB_BPF_ARENA */
#endif /* MM_SLAB_ARENA_H */
