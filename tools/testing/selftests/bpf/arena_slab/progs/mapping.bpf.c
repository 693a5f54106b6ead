// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle of mapping.c: it knows the struct page of each slab page of one arena,
 * from the day it is mapped to the day it is given back, and what is in it.
 *
 * It has no arena of its own, so that it outlives the one it looks at.
 */
#include "common.bpf.h"
#include <bpf/bpf_core_read.h>

#define MAX_PAGES	1024	/* of progs/share.bpf.c; a power of two */

/* In: the arena. */
u32 map_id;

u64 pages[MAX_PAGES];	/* page offset -> struct page, while it is a slab */
u64 mapped;		/* how many came */
u64 given_back;		/* and went */
u64 given_back_in_use;	/* with a reference or a map count: somebody still has it */

/* look(): which page in, its counts out */
u32 pgoff;
s32 refs;
u32 type;		/* of the page, in the place of its map count */

SEC("fexit/bpf_arena_slab_map")
int BPF_PROG(on_map, struct arena_slab *as, struct page *page, gfp_t gfp, bool allow_spin, int ret)
{
	if (ret || as->cache->arena->map.id != map_id)
		return 0;
	/* A mask, since a bound that was checked may be read a second time */
	pages[as->pgoff & (MAX_PAGES - 1)] = (u64)page;
	__sync_fetch_and_add(&mapped, 1);
	return 0;
}

static void read_counts(const struct page *page)
{
	refs = BPF_CORE_READ(page, _refcount.counter);
	type = BPF_CORE_READ(page, _mapcount.counter);
}

SEC("fentry/slab_arena_free_page")
int BPF_PROG(on_give_back, struct page *page)
{
	u32 i;

	bpf_for(i, 0, MAX_PAGES) {
		if (pages[i] != (u64)page)
			continue;
		pages[i] = 0;
		read_counts(page);
		/* SLUB has taken its page type off: what is left is a map count of none */
		if (refs || type != (u32)-1)
			__sync_fetch_and_add(&given_back_in_use, 1);
		__sync_fetch_and_add(&given_back, 1);
	}
	return 0;
}

SEC("syscall")
int look(void *ctx)
{
	u32 i = pgoff;

	if (i >= MAX_PAGES || !pages[i])
		return 1;
	read_counts((const struct page *)pages[i]);
	return 0;
}
