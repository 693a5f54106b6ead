// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab stat: what the slab did since each arena is there, with every counter.
 * `arenaslab top` shows the same inventory as rates.
 */
#include <stdlib.h>
#include <string.h>
#include "cmd.h"
#include "inventory.h"

#define BAD_FREE	"bad_free_"

static void print_violations(const struct inspector *in, const struct arena *a)
{
	const char *name, *separator = " (";
	bool violation;
	__u64 val;

	printf("  bad frees: %llu", a->violations);
	for (unsigned int i = 0; get_counter(in, a, i, &name, &val, &violation); i++) {
		if (!violation || !val)
			continue;
		if (!strncmp(name, BAD_FREE, strlen(BAD_FREE)))
			name += strlen(BAD_FREE);
		printf("%s%s %llu", separator, name, val);
		separator = ", ";
	}
	printf("%s", a->violations ? ")" : "");
	if (is_counted(a->rec.faults))
		printf("; kernel faults: %llu", a->rec.faults);
	putchar('\n');
}

static void print_arena(const struct inspector *in, const struct inventory *inv, size_t nr)
{
	const struct arena *a = &inv->arenas[nr];

	printf("arena %llu, map %u ", a->rec.id, a->rec.map_id);
	print_plain(stdout, a->rec.name, 0);
	printf(": %llu of %llu pages", a->rec.pages, a->rec.max_pages);
	if (a->holders) {
		printf("; held by %u ", a->holder.pid);
		print_plain(stdout, a->holder.comm, 0);
	}
	printf("\n  slabs: %llu made, %llu given back; large objects: %llu allocated, %llu freed\n",
	       counter_value(in, a, "slabs_mapped"), counter_value(in, a, "slabs_freed"),
	       counter_value(in, a, "large_allocs"), counter_value(in, a, "large_frees"));
	printf("  allocations that failed: %llu\n", a->failed);
	print_violations(in, a);
	printf("  %-20s %-7s %5s %7s %5s %5s %10s %10s\n", "CACHE", "OWNER", "SIZE", "IN USE",
	       "SLABS", "/SLAB", "ALLOCATED", "FREED");
	for (size_t i = 0; i < inv->nr_caches; i++) {
		const struct cache *c = &inv->caches[i];

		if (c->arena != nr)
			continue;
		printf("  ");
		print_plain(stdout, c->rec.name, 20);
		printf(" %-7s %5u %7llu %5u %5llu %10llu %10llu\n",
		       c->rec.of_program ? "program" : "kernel", c->rec.size, c->in_use,
		       c->rec.slabs, page_size() / c->rec.size, c->rec.allocs, c->rec.frees);
	}
}

static int run(bool json)
{
	struct inspector *in = inspector_open();
	struct inventory inv;
	int err;

	if (!in)
		return EXIT_FAILED;
	err = take_inventory(in, &inv, NULL);
	if (!err && json) {
		print_inventory_json(in, &inv);
	} else if (!err) {
		if (!inv.nr_arenas)
			puts("no arena has slab caches");
		for (size_t i = 0; i < inv.nr_arenas; i++) {
			if (i)
				putchar('\n');
			print_arena(in, &inv, i);
		}
	}
	free_inventory(&inv);
	inspector_close(in);
	return err ?: finish_output();
}

int cmd_stat(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	bool json = false;
	int c;

	while ((c = next_option(argc, argv, ":jv", longopts)) > 0)
		json = true;
	if (c)
		return EXIT_USAGE;
	return run(json);
}
