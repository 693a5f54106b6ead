/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Objects in a BPF arena, at slab speed: the API for kernel subsystems.
 *
 * An object has three addresses. A subsystem holds the second one, and only
 * that one; a program or a user process holds the first:
 *
 *	uaddr	7f7d_2620_0040		user_vm_start + offset; the low half counts
 *	kaddr	ffff_c900_2806_9040	kern_vm_start + (u32)uaddr
 *	direct	ffff_8881_0a4c_3040	what SLUB holds; never leaves mm/
 *
 * Whoever has the arena can write any byte of an object at any time. A kernel
 * user therefore reads what it needs from shared memory once, keeps no pointer
 * to an object that a program owns, and allocates beforehand what it needs at
 * run time, since a program can fill the arena.
 */
#ifndef _LINUX_BPF_ARENA_SLAB_H
#define _LINUX_BPF_ARENA_SLAB_H

#include <linux/err.h>
#include <linux/slab.h>
#include <linux/types.h>

struct bpf_arena_cache;
struct bpf_map;

#ifdef CONFIG_SLAB_BPF_ARENA

struct bpf_arena_cache *bpf_arena_cache_create(struct bpf_map *map, const char *name,
					       unsigned int size, unsigned int align,
					       slab_flags_t flags);
void bpf_arena_cache_destroy(struct bpf_arena_cache *c);

void *bpf_arena_cache_alloc(struct bpf_arena_cache *c, gfp_t gfp);
void *bpf_arena_cache_alloc_node(struct bpf_arena_cache *c, gfp_t gfp, int node);
void *bpf_arena_cache_alloc_nolock(struct bpf_arena_cache *c, gfp_t gfp);
bool bpf_arena_cache_alloc_bulk(struct bpf_arena_cache *c, gfp_t gfp, size_t nr, void **kaddrs);

void bpf_arena_cache_free(struct bpf_arena_cache *c, void *kaddr);
void bpf_arena_cache_free_nolock(struct bpf_arena_cache *c, void *kaddr);
void bpf_arena_cache_free_rcu(struct bpf_arena_cache *c, void *kaddr);
size_t bpf_arena_cache_free_bulk(struct bpf_arena_cache *c, size_t nr, void **kaddrs);
int bpf_arena_cache_free_uaddr(struct bpf_arena_cache *c, u64 uaddr);

u64 bpf_arena_cache_uaddr(const struct bpf_arena_cache *c, const void *kaddr);
void *bpf_arena_cache_kaddr(const struct bpf_arena_cache *c, u64 uaddr);

#else /* CONFIG_SLAB_BPF_ARENA */

static inline struct bpf_arena_cache *
bpf_arena_cache_create(struct bpf_map *map, const char *name, unsigned int size,
		       unsigned int align, slab_flags_t flags)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void bpf_arena_cache_destroy(struct bpf_arena_cache *c) {}

static inline void *bpf_arena_cache_alloc(struct bpf_arena_cache *c, gfp_t gfp)
{
	return NULL;
}

static inline void *bpf_arena_cache_alloc_nolock(struct bpf_arena_cache *c, gfp_t gfp)
{
	return NULL;
}

static inline void *bpf_arena_cache_alloc_node(struct bpf_arena_cache *c, gfp_t gfp, int node)
{
	return NULL;
}

static inline bool bpf_arena_cache_alloc_bulk(struct bpf_arena_cache *c, gfp_t gfp, size_t nr,
					      void **kaddrs)
{
	return false;
}

static inline void bpf_arena_cache_free(struct bpf_arena_cache *c, void *kaddr) {}
static inline void bpf_arena_cache_free_nolock(struct bpf_arena_cache *c, void *kaddr) {}
static inline void bpf_arena_cache_free_rcu(struct bpf_arena_cache *c, void *kaddr) {}

static inline size_t bpf_arena_cache_free_bulk(struct bpf_arena_cache *c, size_t nr, void **kaddrs)
{
	return 0;
}

static inline int bpf_arena_cache_free_uaddr(struct bpf_arena_cache *c, u64 uaddr)
{
	return -EOPNOTSUPP;
}

static inline u64 bpf_arena_cache_uaddr(const struct bpf_arena_cache *c, const void *kaddr)
{
	return 0;
}

static inline void *bpf_arena_cache_kaddr(const struct bpf_arena_cache *c, u64 uaddr)
{
	return NULL;
}

#endif /* CONFIG_SLAB_BPF_ARENA */
#endif /* _LINUX_BPF_ARENA_SLAB_H */
