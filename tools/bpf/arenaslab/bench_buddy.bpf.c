// SPDX-License-Identifier: GPL-2.0
/*
 * A peer of `arenaslab bench`: libarena's buddy allocator, by the functions that libarena
 * has for its users. Its sources are compiled where they are, and linked to this.
 */
#include <libarena/common.h>
#include <libarena/buddy.h>
#include "bench.bpf.h"

BENCH_ROOM

#define buddy_alloc_(size)	arena_malloc(size)
#define buddy_free_(p, size)	arena_free(p)

#define PEER(peer, size)	BENCH_PEER(peer, size, buddy_alloc_, buddy_free_)

BENCH_SIZES(PEER, buddy)
