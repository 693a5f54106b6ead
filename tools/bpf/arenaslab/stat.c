// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab stat: what the slab did, for every arena that has slab caches.
 *
 * Two sources that know different things: /sys/kernel/debug/bpf_arena_slab counts
 * what users got and gave back, and why frees were refused; /sys/kernel/slab shows
 * the caches as SLUB sees them. To SLUB an object in a per-CPU sheaf is in use; to
 * us it is free.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd.h"

#define DEBUGFS		"/sys/kernel/debug"
#define COUNTERS	DEBUGFS "/bpf_arena_slab"
#define REJECTED	"rejected_"

struct counter {
	char name[64];
	long long value;
};

struct cache {
	char name[64];
	char owner[16];
	unsigned int size;
	unsigned long long allocs;
	unsigned long long frees;
	/* From SLUB; -1: it does not say */
	long objects;
	long slabs;
	long objs_per_slab;
};

struct arena {
	unsigned long long id;
	unsigned int map_id;
	unsigned long long pages;
	unsigned long max_pages;
	struct counter counters[32];
	int nr_counters;
	struct cache caches[64];
	int nr_caches;
};

static long slab_value(const char *cache, const char *file)
{
	char path[256];
	long val = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/%s", cache, file);
	f = fopen(path, "r");
	if (!f)
		return -1;
	if (fscanf(f, "%ld", &val) != 1)
		val = -1;
	fclose(f);
	return val;
}

static bool parse_cache(struct arena *a, const char *line)
{
	struct cache c;

	if (sscanf(line, " cache %63s size %u owner %15s allocs %llu frees %llu", c.name, &c.size,
		   c.owner, &c.allocs, &c.frees) != 5)
		return false;
	c.objects = slab_value(c.name, "objects");
	c.slabs = slab_value(c.name, "slabs");
	c.objs_per_slab = slab_value(c.name, "objs_per_slab");
	if (a->nr_caches < (int)ARRAY_SIZE(a->caches))
		a->caches[a->nr_caches++] = c;
	return true;
}

static bool parse_counter(struct arena *a, const char *line)
{
	struct counter c;

	if (sscanf(line, " %63s %lld", c.name, &c.value) != 2)
		return false;
	if (a->nr_counters < (int)ARRAY_SIZE(a->counters))
		a->counters[a->nr_counters++] = c;
	return true;
}

static struct arena *add_arena(struct arena **arenas, size_t *nr, const char *line)
{
	struct arena *a = reallocarray(*arenas, *nr + 1, sizeof(*a));

	if (!a)
		return NULL;
	*arenas = a;
	a += *nr;
	memset(a, 0, sizeof(*a));
	if (sscanf(line, "arena %llu map_id %u pages %llu of %lu", &a->id, &a->map_id, &a->pages,
		   &a->max_pages) != 4)
		return NULL;
	(*nr)++;
	return a;
}

static int read_arenas(struct arena **arenas, size_t *nr)
{
	struct arena *a = NULL;
	char line[256];
	FILE *f;

	f = fopen(COUNTERS, "r");
	if (!f && errno == ENOENT && access(DEBUGFS "/sched", F_OK) &&
	    access(DEBUGFS "/bdi", F_OK) && access(DEBUGFS "/tracing", F_OK))
		return fail("debugfs is not mounted: mount -t debugfs debugfs " DEBUGFS);
	if (!f && errno == ENOENT)
		return fail("there is no " COUNTERS ": the kernel needs CONFIG_SLAB_BPF_ARENA");
	if (!f && (errno == EACCES || errno == EPERM))
		return fail(COUNTERS " cannot be read: run as root");
	if (!f)
		return fail(COUNTERS ": %s", strerror(errno));

	while (fgets(line, sizeof(line), f)) {
		bool ok = true;

		if (*line != ' ') {
			a = add_arena(arenas, nr, line);
			ok = a;
		} else if (!a || (!parse_cache(a, line) && !parse_counter(a, line))) {
			ok = false;
		}
		if (!ok) {
			fclose(f);
			line[strcspn(line, "\n")] = '\0';
			return fail(COUNTERS ": cannot make sense of '%s'", line);
		}
	}
	if (ferror(f)) {
		fclose(f);
		return fail(COUNTERS ": %s", strerror(errno));
	}
	fclose(f);
	return 0;
}

static long long counter(const struct arena *a, const char *name)
{
	for (int i = 0; i < a->nr_counters; i++) {
		if (!strcmp(a->counters[i].name, name))
			return a->counters[i].value;
	}
	return 0;
}

static bool is_rejected(const struct counter *c)
{
	return !strncmp(c->name, REJECTED, strlen(REJECTED));
}

static void print_value(const char *before, int width, long val)
{
	if (val < 0)
		printf("%s%*s", before, width, "-");
	else
		printf("%s%*ld", before, width, val);
}

static void print_rejected(const struct arena *a)
{
	const char *separator = " (";
	long long sum = 0;

	for (int i = 0; i < a->nr_counters; i++) {
		if (is_rejected(&a->counters[i]))
			sum += a->counters[i].value;
	}
	printf("  rejected frees: %lld", sum);
	for (int i = 0; i < a->nr_counters; i++) {
		const struct counter *c = &a->counters[i];

		if (!is_rejected(c) || !c->value)
			continue;
		printf("%s%s %lld", separator, c->name + strlen(REJECTED), c->value);
		separator = ", ";
	}
	puts(sum ? ")" : "");
}

static void print_arena(const struct arena *a)
{
	printf("arena %llu, map %u: %llu of %lu pages\n", a->id, a->map_id, a->pages, a->max_pages);
	printf("  slabs: %lld made, %lld given back; large objects: %lld allocated, %lld freed\n",
	       counter(a, "slabs_mapped"), counter(a, "slabs_freed"), counter(a, "large_allocs"),
	       counter(a, "large_frees"));
	print_rejected(a);
	printf("  %-20s %-7s %5s %7s %5s %5s %10s %10s\n", "CACHE", "OWNER", "SIZE", "IN USE",
	       "SLABS", "/SLAB", "ALLOCATED", "FREED");
	for (int i = 0; i < a->nr_caches; i++) {
		const struct cache *c = &a->caches[i];

		printf("  %-20s %-7s %5u %7llu", c->name, c->owner, c->size, c->allocs - c->frees);
		print_value(" ", 5, c->slabs);
		print_value(" ", 5, c->objs_per_slab);
		printf(" %10llu %10llu\n", c->allocs, c->frees);
	}
}

static void print_json_value(const char *name, long val)
{
	if (val < 0)
		printf(",\"%s\":null", name);
	else
		printf(",\"%s\":%ld", name, val);
}

static void print_json_arena(const struct arena *a)
{
	printf("{\"id\":%llu,\"map_id\":%u,\"pages\":%llu,\"max_pages\":%lu,\"counters\":{", a->id,
	       a->map_id, a->pages, a->max_pages);
	for (int i = 0; i < a->nr_counters; i++) {
		printf("%s", i ? "," : "");
		print_json_string(stdout, a->counters[i].name);
		printf(":%lld", a->counters[i].value);
	}
	printf("},\"caches\":[");
	for (int i = 0; i < a->nr_caches; i++) {
		const struct cache *c = &a->caches[i];

		printf("%s{\"name\":", i ? "," : "");
		print_json_string(stdout, c->name);
		printf(",\"owner\":");
		print_json_string(stdout, c->owner);
		printf(",\"size\":%u,\"in_use\":%llu,\"allocs\":%llu,\"frees\":%llu", c->size,
		       c->allocs - c->frees, c->allocs, c->frees);
		print_json_value("objects", c->objects);
		print_json_value("slabs", c->slabs);
		print_json_value("objs_per_slab", c->objs_per_slab);
		printf("}");
	}
	printf("]}");
}

int cmd_stat(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "json", no_argument, NULL, 'j' },
		{}
	};
	struct arena *arenas = NULL;
	bool json = false;
	size_t nr = 0;
	int c, err;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "j", longopts, NULL)) != -1) {
		if (c != 'j')
			return usage_error("there is no option %s", argv[optind - 1]);
		json = true;
	}
	if (optind < argc)
		return usage_error("'%s' is one word too many", argv[optind]);

	err = read_arenas(&arenas, &nr);
	if (err) {
		free(arenas);
		return err;
	}
	if (json)
		printf("{\"arenas\":[");
	else if (!nr)
		puts("no arena has slab caches");
	for (size_t i = 0; i < nr; i++) {
		if (json) {
			printf("%s", i ? "," : "");
			print_json_arena(&arenas[i]);
		} else {
			printf("%s", i ? "\n" : "");
			print_arena(&arenas[i]);
		}
	}
	if (json)
		puts("]}");
	free(arenas);
	return finish_output();
}
