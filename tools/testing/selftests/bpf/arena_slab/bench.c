// SPDX-License-Identifier: GPL-2.0
/*
 * arena_slab -b teardown: what it takes to destroy an arena. Prints, and never says
 * that it is too much.
 *
 * With "-icount shift=0,sleep=off" for QEMU and one CPU a nanosecond is an
 * instruction: "busy" is then how many it takes, all of the machine, and "elapsed" is
 * that and the waiting (for grace periods and for ticks).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "arena_slab.h"

#define ROUNDS	20

enum { TO_FREE, ELAPSED, BUSY, BARRIERS, GRACE_PERIODS, NR_FIGURES };

static const char *const figure_names[NR_FIGURES] = {
	[TO_FREE]	= "close() to map_free(), us",
	[ELAPSED]	= "close() to its end, us",
	[BUSY]		= "of that not idle, us",
	[BARRIERS]	= "rcu_barrier()",
	[GRACE_PERIODS]	= "synchronize_rcu()",
};

struct row {
	double v[NR_FIGURES];
};

static __u64 now_ns(void)
{
	struct timespec ts;

	/* bpf_ktime_get_ns() is the same clock */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* An arena of which there is nothing but the returned file descriptor */
static int make_arena(const char *prog, __u32 nr_pages, __u64 *pages)
{
	struct bpf_object *obj = load_image("fill", PROGS(prog));
	struct arena_counters c;
	struct bpf_map *map;
	int fd, err;

	if (!obj)
		return -1;
	VAR(obj, __u32, "nr_pages") = nr_pages;
	err = run_prog(obj, prog);
	map = bpf_object__find_map_by_name(obj, "arena");
	fd = err ? -1 : dup(bpf_map__fd(map));
	if (fd < 0)
		FAIL("%s cannot be run: %d", prog, err);
	if (!read_counters(arena_id(obj), &c) && c.found)
		*pages = c.pages;
	bpf_object__close(obj);
	/* The program holds the arena until a grace period is over */
	usleep(500000);
	return fd;
}

static int one_round(struct bpf_object *watch, const char *prog, __u32 nr_pages, __u64 *pages,
		     struct row *row)
{
	__u64 frees, barriers, grace_periods, idle, start;
	int fd = make_arena(prog, nr_pages, pages);

	if (fd < 0)
		return 1;
	frees = VAR(watch, __u64, "frees");
	barriers = VAR(watch, __u64, "barriers");
	grace_periods = VAR(watch, __u64, "grace_periods");
	idle = VAR(watch, __u64, "idle_ns");
	start = now_ns();
	close(fd);
	/* Asleep, so that all of what runs is the teardown's */
	for (int i = 0; i < 200 && VAR(watch, __u64, "frees") == frees; i++)
		usleep(100000);
	if (VAR(watch, __u64, "frees") != frees + 1)
		return FAIL("%llu arenas went", VAR(watch, __u64, "frees") - frees);

	row->v[TO_FREE] = (VAR(watch, __u64, "free_begin_ns") - start) / 1e3;
	row->v[ELAPSED] = (VAR(watch, __u64, "free_end_ns") - start) / 1e3;
	row->v[BUSY] = row->v[ELAPSED] - (VAR(watch, __u64, "free_end_idle_ns") - idle) / 1e3;
	row->v[BARRIERS] = VAR(watch, __u64, "barriers") - barriers;
	row->v[GRACE_PERIODS] = VAR(watch, __u64, "grace_periods") - grace_periods;
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_rows(const char *what, const struct row *rows, __u64 pages)
{
	printf("%s, %llu pages\n", what, (unsigned long long)pages);
	for (int f = 0; f < NR_FIGURES; f++) {
		double v[ROUNDS];

		for (int i = 0; i < ROUNDS; i++)
			v[i] = rows[i].v[f];
		qsort(v, ROUNDS, sizeof(v[0]), compare_doubles);
		printf("  %-28s median %9.0f, %9.0f to %9.0f\n", figure_names[f],
		       (v[ROUNDS / 2 - 1] + v[ROUNDS / 2]) / 2, v[0], v[ROUNDS - 1]);
	}
	fflush(stdout);
}

static int measure(struct bpf_object *watch, const char *what, const char *prog, __u32 nr_pages,
		   __u64 *pages)
{
	struct row rows[ROUNDS];

	*pages = nr_pages;
	for (int i = 0; i < ROUNDS; i++) {
		if (one_round(watch, prog, nr_pages, pages, &rows[i]))
			return 1;
	}
	print_rows(what, rows, *pages);
	return 0;
}

static int measure_all(struct bpf_object *watch)
{
	__u64 one, all, unused;

	return measure(watch, "without slabs, empty", "pages", 0, &unused) ?:
	       measure(watch, "one class, no objects", "class_unused", 0, &unused) ?:
	       measure(watch, "one class, 1000 objects", "one_class", 0, &one) ?:
	       measure(watch, "without slabs, as many pages", "pages", one, &unused) ?:
	       measure(watch, "11 classes, 1000 objects each", "all_classes", 0, &all) ?:
	       measure(watch, "without slabs, as many pages", "pages", all, &unused);
}

int bench_teardown(void)
{
	static const char *const progs[] = {
		"count_barrier", "count_grace_period", "count_idle", "arena_goes",
		"arena_is_gone", NULL,
	};
	struct bpf_object *watch = load_image("watch", progs);
	struct bpf_link *links[ARRAY_SIZE(progs) - 1] = {};
	int err = 0;

	if (!watch)
		return 1;
	if (sysconf(_SC_NPROCESSORS_ONLN) != 1)
		printf("more than one CPU: \"not idle\" means nothing\n");
	for (size_t i = 0; i < ARRAY_SIZE(links) && !err; i++) {
		links[i] = bpf_program__attach(bpf_object__find_program_by_name(watch, progs[i]));
		if (!links[i])
			err = FAIL("%s cannot be attached: %s", progs[i], strerror(errno));
	}
	err = err ?: measure_all(watch);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		bpf_link__destroy(links[i]);
	bpf_object__close(watch);
	return err;
}
