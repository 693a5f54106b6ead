// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab top: arenas and their caches, again and again, with what was allocated and
 * freed in between.
 *
 * A table of arenas and one of caches. A column to sort by may be in one of them or in
 * both; the table that has no such column keeps its own order. In a terminal the tables
 * fit: 80 columns are enough, what is beyond goes to the names, and the arenas get at
 * most a third of the rows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "bpf_util.h"
#include "cmd.h"
#include "inventory.h"
#include "test_util.h"

#define COLUMNS		80
#define CACHE_WIDTH	19	/* of the name, with all other columns in 79 */
#define HOLDER_WIDTH	19

enum key {
	KEY_MAP,
	KEY_NAME,
	KEY_SIZE,
	KEY_INUSE,
	KEY_PLACES,
	KEY_FRAG,
	KEY_SLABS,
	KEY_ALLOCS,
	KEY_FREES,
	KEY_PAGES,
	KEY_LARGE,
	KEY_BAD,
	KEY_FAULTS,
	NR_KEYS,
};

static const char *const key_names[NR_KEYS] = {
	[KEY_MAP] = "map",
	[KEY_NAME] = "name",
	[KEY_SIZE] = "size",
	[KEY_INUSE] = "inuse",
	[KEY_PLACES] = "places",
	[KEY_FRAG] = "frag",
	[KEY_SLABS] = "slabs",
	[KEY_ALLOCS] = "allocs",
	[KEY_FREES] = "frees",
	[KEY_PAGES] = "pages",
	[KEY_LARGE] = "large",
	[KEY_BAD] = "bad",
	[KEY_FAULTS] = "faults",
};

struct options {
	double interval;
	unsigned long count;	/* 0: no end */
	enum key key;
	bool json;
};

static enum key sort_key;
static const struct inventory *sorted;

/* ---- order ---- */

/* Places without an object, in per mille */
static __u64 fragmentation(const struct cache *c)
{
	if (!c->places || c->in_use >= c->places)
		return 0;
	return (c->places - c->in_use) * 1000 / c->places;
}

/* What to sort by, the most first; false: the table has no such number */
static bool cache_value(const struct cache *c, enum key key, double *val)
{
	switch (key) {
	case KEY_SIZE:
		*val = c->rec.size;
		return true;
	case KEY_INUSE:
		*val = c->in_use;
		return true;
	case KEY_PLACES:
		*val = c->places;
		return true;
	case KEY_FRAG:
		*val = fragmentation(c);
		return true;
	case KEY_SLABS:
		*val = c->rec.slabs;
		return true;
	case KEY_ALLOCS:
		*val = c->alloc_rate >= 0 ? c->alloc_rate : c->rec.allocs;
		return true;
	case KEY_FREES:
		*val = c->free_rate >= 0 ? c->free_rate : c->rec.frees;
		return true;
	default:
		return false;
	}
}

static bool arena_value(const struct arena *a, enum key key, double *val)
{
	switch (key) {
	case KEY_INUSE:
		*val = a->objects;
		return true;
	case KEY_SLABS:
		*val = a->slabs;
		return true;
	case KEY_PAGES:
		*val = a->rec.pages;
		return true;
	case KEY_LARGE:
		*val = a->large;
		return true;
	case KEY_BAD:
		*val = a->violations;
		return true;
	case KEY_FAULTS:
		*val = is_counted(a->rec.faults) ? a->rec.faults : 0;
		return true;
	default:
		return false;
	}
}

/* Where two are equal they stay as they are: by map and size */
static int by_index(const void *pa, const void *pb)
{
	size_t a = *(const size_t *)pa, b = *(const size_t *)pb;

	return a < b ? -1 : a > b;
}

static int by_value(double a, double b)
{
	return a > b ? -1 : a < b;
}

static int by_cache(const void *pa, const void *pb)
{
	const struct cache *a = &sorted->caches[*(const size_t *)pa];
	const struct cache *b = &sorted->caches[*(const size_t *)pb];
	double va, vb;
	int order = 0;

	if (sort_key == KEY_NAME)
		order = strcmp(a->rec.name, b->rec.name);
	else if (cache_value(a, sort_key, &va) && cache_value(b, sort_key, &vb))
		order = by_value(va, vb);
	return order ?: by_index(pa, pb);
}

static int by_arena(const void *pa, const void *pb)
{
	const struct arena *a = &sorted->arenas[*(const size_t *)pa];
	const struct arena *b = &sorted->arenas[*(const size_t *)pb];
	double va, vb;
	int order = 0;

	if (sort_key == KEY_NAME)
		order = strcmp(a->rec.name, b->rec.name);
	else if (arena_value(a, sort_key, &va) && arena_value(b, sort_key, &vb))
		order = by_value(va, vb);
	return order ?: by_index(pa, pb);
}

/* Indices in the order of the table, to be freed */
static size_t *sort_table(const struct inventory *inv, size_t nr, enum key key,
			  int (*compare)(const void *, const void *))
{
	size_t *order = calloc(nr ?: 1, sizeof(*order));

	if (!order)
		return NULL;
	for (size_t i = 0; i < nr; i++)
		order[i] = i;
	sort_key = key;
	sorted = inv;
	qsort(order, nr, sizeof(*order), compare);
	return order;
}

/* ---- tables ---- */

/* At most @width wide: 1234567, then 12.3M */
static void print_count(int width, double val)
{
	static const char units[] = "kMGTPE";
	char buf[32];
	int unit = -1;

	snprintf(buf, sizeof(buf), "%.0f", val);
	while ((int)strlen(buf) > width && unit < (int)sizeof(units) - 2) {
		val /= 1000;
		unit++;
		snprintf(buf, sizeof(buf), "%.1f%c", val, units[unit]);
	}
	printf(" %*s", width, buf);
}

static void print_rate(int width, double rate)
{
	if (rate < 0)
		printf(" %*s", width, "-");
	else
		print_count(width, rate);
}

/* What @pages are, in a unit that leaves something to be seen */
static const char *size_of(__u64 pages, char *buf, size_t size)
{
	__u64 kib = pages * page_size() / 1024;

	if (kib < 10240)
		snprintf(buf, size, "%llu KiB", kib);
	else
		snprintf(buf, size, "%.1f MiB", kib / 1024.0);
	return buf;
}

static void print_summary(const struct inventory *inv)
{
	__u64 pages = 0, slabs = 0, objects = 0, large = 0, violations = 0, failed = 0;
	char all[32], part[32];

	for (size_t i = 0; i < inv->nr_arenas; i++) {
		const struct arena *a = &inv->arenas[i];

		pages += a->rec.pages;
		slabs += a->slabs;
		objects += a->objects;
		large += a->large;
		violations += a->violations;
		failed += a->failed;
	}
	printf("arenas: %zu with %s in pages, %s of it slabs; bad frees: %llu\n"
	       "caches: %zu with %llu objects in use; large objects: %llu; failed: %llu\n",
	       inv->nr_arenas, size_of(pages, all, sizeof(all)),
	       size_of(slabs, part, sizeof(part)), violations, inv->nr_caches, objects, large,
	       failed);
}

static void print_arena(const struct arena *a)
{
	char holder[64] = "-";

	if (a->holders > 1)
		snprintf(holder, sizeof(holder), "%u %.16s +%u", a->holder.pid, a->holder.comm,
			 a->holders - 1);
	else if (a->holders)
		snprintf(holder, sizeof(holder), "%u %.16s", a->holder.pid, a->holder.comm);
	printf("%6u ", a->rec.map_id);
	print_plain(stdout, a->rec.name, 15);
	putchar(' ');
	print_plain(stdout, holder, HOLDER_WIDTH);
	print_count(7, a->rec.pages);
	print_count(7, a->rec.max_pages);
	print_count(6, a->large);
	print_count(6, a->violations);
	print_rate(6, is_counted(a->rec.faults) ? (double)a->rec.faults : -1);
	putchar('\n');
}

static void print_cache(const struct inventory *inv, const struct cache *c, int width)
{
	printf("%6u ", inv->arenas[c->arena].rec.map_id);
	print_plain(stdout, c->rec.name, width);
	printf(" %5u", c->rec.size);
	print_count(8, c->in_use);
	print_count(8, c->places);
	printf(" %3llu%%", fragmentation(c) / 10);
	print_count(7, c->rec.slabs);
	print_rate(7, c->alloc_rate);
	print_rate(7, c->free_rate);
	putchar('\n');
}

/* Of @nr rows as many as there is room for; the last one says what is missing */
static size_t fit_rows(size_t nr, size_t room)
{
	return nr <= room ? nr : room > 1 ? room - 1 : 1;
}

static void print_missing(size_t nr, size_t shown, const char *what)
{
	if (nr > shown)
		printf("       %zu more %s\n", nr - shown, what);
}

static int print_tables(const struct inventory *inv, enum key key, bool first)
{
	int rows, cols, width = CACHE_WIDTH;
	size_t nr_arenas = inv->nr_arenas, nr_caches = inv->nr_caches, used;
	size_t *arenas = sort_table(inv, nr_arenas, key, by_arena);
	size_t *caches = sort_table(inv, nr_caches, key, by_cache);

	if (!arenas || !caches) {
		free(arenas);
		free(caches);
		return fail("out of memory");
	}
	if (terminal_size(&rows, &cols)) {
		/* Two lines on top, two headings with an empty line before, the cursor's */
		nr_arenas = fit_rows(nr_arenas, rows / 3);
		used = 7 + nr_arenas + (nr_arenas < inv->nr_arenas);
		nr_caches = fit_rows(nr_caches, (size_t)rows > used ? rows - used : 1);
		if (cols > COLUMNS)
			width += cols - COLUMNS;
		fputs("\033[H\033[J", stdout);
	} else {
		for (size_t i = 0; i < nr_caches; i++) {
			int len = strlen(inv->caches[i].rec.name);

			width = len > width ? len : width;
		}
		if (!first)
			putchar('\n');
	}
	if (width > CACHE_NAME_SIZE)
		width = CACHE_NAME_SIZE;

	print_summary(inv);
	printf("\n%6s %-15s %-*s %7s %7s %6s %6s %6s\n", "MAP", "NAME", HOLDER_WIDTH, "HELD BY",
	       "PAGES", "OF", "LARGE", "BAD", "FAULTS");
	for (size_t i = 0; i < nr_arenas; i++)
		print_arena(&inv->arenas[arenas[i]]);
	print_missing(inv->nr_arenas, nr_arenas, "arenas");
	printf("\n%6s %-*s %5s %8s %8s %4s %7s %7s %7s\n", "MAP", width, "CACHE", "SIZE", "IN USE",
	       "PLACES", "FRAG", "SLABS", "ALLOC/s", "FREE/s");
	for (size_t i = 0; i < nr_caches; i++)
		print_cache(inv, &inv->caches[caches[i]], width);
	print_missing(inv->nr_caches, nr_caches, "caches");
	free(arenas);
	free(caches);
	return 0;
}

static int run(const struct options *opt)
{
	struct inspector *in = inspector_open();
	struct inventory inv, last;
	__u64 due = now_ns();
	int err;

	if (!in)
		return EXIT_FAILED;
	catch_stop();
	err = take_inventory(in, &last, NULL);
	for (unsigned long i = 0; !err && (!opt->count || i < opt->count); i++) {
		if (!wait_until(&due, opt->interval))
			break;
		err = take_inventory(in, &inv, &last);
		free_inventory(&last);
		last = inv;
		if (err)
			break;
		if (opt->json)
			print_inventory_json(in, &inv);
		else
			err = print_tables(&inv, opt->key, !i);
		err = err ?: finish_output();
	}
	free_inventory(&last);
	inspector_close(in);
	return err;
}

static bool parse_key(const char *s, enum key *key)
{
	for (int i = 0; i < NR_KEYS; i++) {
		if (!strcmp(s, key_names[i])) {
			*key = i;
			return true;
		}
	}
	return false;
}

/* The completion takes the columns from this line */
static int wrong_key(const char *s)
{
	char all[128] = "";

	for (int i = 0; i < NR_KEYS; i++) {
		strcat(all, i ? ", " : "");
		strcat(all, key_names[i]);
	}
	return usage_error("-s %s: not one of %s", s, all);
}

int cmd_top(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ "once", no_argument, NULL, '1' },
		{ "sort", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	struct options opt = { .interval = 1, .key = KEY_MAP };
	int c;

	while ((c = next_option(argc, argv, ":i:n:1s:jv", longopts)) > 0) {
		switch (c) {
		case 'i':
			if (!option_seconds(c, &opt.interval))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!option_count(c, &opt.count))
				return EXIT_USAGE;
			break;
		case '1':
			opt.count = 1;
			break;
		case 's':
			if (!parse_key(optarg, &opt.key))
				return wrong_key(optarg);
			break;
		case 'j':
			opt.json = true;
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	return run(&opt);
}
