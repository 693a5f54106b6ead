/* SPDX-License-Identifier: GPL-2.0 */
/* Arenas with slab caches, as they are at one moment. */
#ifndef INVENTORY_H
#define INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <linux/types.h>
#include "inspect.h"

struct arena {
	struct arena_rec rec;
	__u64 slabs;
	__u64 objects;		/* in slabs, without large ones */
	__u64 large;
	__u64 violations;
	__u64 failed;		/* allocations that got nothing */
	/* The first process that has a descriptor of it; pid 0: none has */
	struct holder_rec holder;
	unsigned int holders;
};

struct cache {
	struct cache_rec rec;
	size_t arena;		/* index */
	__u64 in_use;
	__u64 places;
	/* A second; negative: there is nothing to compare with */
	double alloc_rate;
	double free_rate;
};

/* Caches are in the order of their arenas, and these by map id */
struct inventory {
	__u64 taken_ns;
	double interval;	/* seconds that rates are of; 0: there are none */
	struct arena *arenas;
	size_t nr_arenas;
	struct cache *caches;
	size_t nr_caches;
};

struct inspector;
struct inspect_bpf;

/* NULL, when it has been said why */
struct inspector *inspector_open(void);
void inspector_close(struct inspector *in);
struct inspect_bpf *inspector_programs(struct inspector *in);
/* @last, if any: the inventory before, for the rates. Also on failure @inv can be freed. */
int take_inventory(struct inspector *in, struct inventory *inv, const struct inventory *last);
void free_inventory(struct inventory *inv);

/* What the kernel counts for an arena; false: there is no counter @i */
bool get_counter(const struct inspector *in, const struct arena *a, unsigned int i,
		 const char **name, __u64 *value, bool *violation);
/* By its name in lower case, without ARENA_; 0 if there is none */
__u64 counter_value(const struct inspector *in, const struct arena *a, const char *wanted);
void print_inventory_json(const struct inspector *in, const struct inventory *inv);
__u64 page_size(void);
bool is_counted(__u64 value);

#endif /* INVENTORY_H */
