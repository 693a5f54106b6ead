// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab bench: what an allocation and a free cost, by every allocator that a program
 * or a subsystem could use instead of arena slabs.
 *
 *	bench_ops.c	a work is an array of ops (bench.h), the same for all peers
 *	bench_trace.c	one that was recorded
 *	bench_kernel.c	peers that are functions of the kernel, behind debugfs
 *	bench_bpf.c	peers that BPF programs call, bench*.bpf.c
 *	bench_arena.c	what is about an arena as a whole, or about loading
 *
 * Nothing here says that a time is too long. In QEMU with -icount, where a nanosecond is an
 * instruction, figures repeat exactly; elsewhere they are what the machine did.
 */
#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/btf.h>
#include "bench_tool.h"
#include "bpf_util.h"
#include "test_util.h"

#define SIZE(arg, n) n,
const __u32 bench_sizes[] = { BENCH_SIZES(SIZE, 0) };
const int nr_bench_sizes = ARRAY_SIZE(bench_sizes);

int bench_cpus;
unsigned int bench_rounds = 5;
long bench_page;

static unsigned long seed = 1;
static bool json;
/* The tables: with --json they are not what was asked for, but tell how far it is */
static FILE *table;

static struct peer peers[MAX_PEERS];
static int nr_peers;
static bool peer_wanted[MAX_PEERS], size_wanted[ARRAY_SIZE(bench_sizes)];

/* ---- figures ---- */

struct figure {
	char work[24], peer[24], unit[20];
	__u32 size, live;
	double median, min, max;
	int rounds;
};

static struct figure *figures;
static int nr_figures, table_from;
static char notes[64][200];
static int nr_notes, lost_notes, nr_broken;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	char text[sizeof(notes[0])];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	for (int i = 0; i < nr_notes; i++) {
		if (!strcmp(notes[i], text))
			return;
	}
	if (nr_notes < (int)ARRAY_SIZE(notes))
		strcpy(notes[nr_notes++], text);
	else
		lost_notes++;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void add_figure(const char *work, const char *peer, __u32 size, __u32 live,
		       const char *unit, const double *values, int nr)
{
	double v[MAX_ROUNDS];
	struct figure *f;

	if (!nr)
		return;
	figures = reallocarray(figures, nr_figures + 1, sizeof(*figures));
	if (!figures) {
		fail("out of memory");
		exit(EXIT_FAILED);
	}
	f = &figures[nr_figures++];
	memcpy(v, values, nr * sizeof(*v));
	qsort(v, nr, sizeof(*v), compare_doubles);
	*f = (struct figure){
		.size = size,
		.live = live,
		.median = nr % 2 ? v[nr / 2] : (v[nr / 2 - 1] + v[nr / 2]) / 2,
		.min = v[0],
		.max = v[nr - 1],
		.rounds = nr,
	};
	snprintf(f->work, sizeof(f->work), "%s", work);
	snprintf(f->peer, sizeof(f->peer), "%s", peer);
	snprintf(f->unit, sizeof(f->unit), "%s", unit);
}

static const struct figure *find_figure(const char *work, const char *peer, __u32 size)
{
	for (int i = 0; i < nr_figures; i++) {
		const struct figure *f = &figures[i];

		if (f->size == size && !strcmp(f->work, work) && !strcmp(f->peer, peer))
			return f;
	}
	return NULL;
}

static bool is_null_peer(const char *peer)
{
	return !strcmp(peer, "null") || !strcmp(peer, "bpf:null");
}

/* What the loop costs is taken off: that of the kernel's loop, or that of programs */
static double without_loop(const struct figure *f)
{
	const struct figure *null;

	if (strcmp(f->unit, "ns") || is_null_peer(f->peer))
		return f->median;
	null = find_figure(f->work, strncmp(f->peer, "bpf:", 4) ? "null" : "bpf:null", f->size);
	return null && !strcmp(null->unit, "ns") ? f->median - null->median : f->median;
}

/* In six columns */
static void print_value(double v, const char *unit)
{
	bool whole = strcmp(unit, "ratio") && (v >= 100 || v == (long long)v);

	if (v >= 1e9)
		fprintf(table, "%5.0fM", v / 1e6);
	else if (v >= 999999.5)
		fprintf(table, "%5.0fk", v / 1e3);
	else
		fprintf(table, "%6.*f", whole ? 0 : !strcmp(unit, "ratio") ? 2 : 1, v);
}

/* The value, and how far rounds are from it if they are not all the same */
static void print_cell(const struct figure *f)
{
	double spread;

	if (!f) {
		fprintf(table, " %9s", "-   ");
		return;
	}
	fputc(' ', table);
	print_value(without_loop(f), f->unit);
	spread = f->median ? (f->max - f->min) / 2 / f->median * 100 : 0;
	if (spread < 0)
		spread = -spread;
	if (spread < 0.5)
		fputs("   ", table);
	else
		fprintf(table, "~%-2.0f", spread > 99 ? 99 : spread);
}

static bool same_table(const struct figure *a, const struct figure *b)
{
	return !strcmp(a->work, b->work) && !strcmp(a->unit, b->unit) && !a->size == !b->size;
}

static void print_sizes(const struct figure *first)
{
	bool sub = find_figure(first->work, "null", first->size) ||
		   find_figure(first->work, "bpf:null", first->size);

	fprintf(table, "%s, %s%s\n%-18s", first->work, first->unit,
		sub && !strcmp(first->unit, "ns") ? " (null: the loop, taken off the others)" : "",
		"");
	for (int i = 0; i < nr_bench_sizes; i++) {
		if (size_wanted[i])
			fprintf(table, " %6u   ", bench_sizes[i]);
	}
	fputc('\n', table);
	for (int i = 0; i < nr_peers; i++) {
		bool any = false;

		for (int j = table_from; j < nr_figures; j++)
			any = any || (same_table(&figures[j], first) &&
				      !strcmp(figures[j].peer, peers[i].name));
		if (!any)
			continue;
		fprintf(table, "%-18s", peers[i].name);
		for (int j = 0; j < nr_bench_sizes; j++) {
			const struct figure *f = NULL;

			for (int k = table_from; k < nr_figures; k++) {
				if (same_table(&figures[k], first) &&
				    !strcmp(figures[k].peer, peers[i].name) &&
				    figures[k].size == bench_sizes[j])
					f = &figures[k];
			}
			if (size_wanted[j])
				print_cell(f);
		}
		fputc('\n', table);
	}
	fputc('\n', table);
}

/* Of what has no size */
static void print_plain_figures(const struct figure *first)
{
	fprintf(table, "%-18s %10s %10s %10s\n", first->work, "median", "min", "max");
	for (int i = table_from; i < nr_figures; i++) {
		const struct figure *f = &figures[i];

		if (same_table(f, first))
			fprintf(table, "%-18s %10.0f %10.0f %10.0f %s\n", f->peer, f->median,
				f->min, f->max, f->unit);
	}
	fputc('\n', table);
}

/* All figures that are not in a table yet */
static void print_tables(void)
{
	for (int i = table_from; i < nr_figures; i++) {
		bool done = false;

		for (int j = table_from; j < i; j++)
			done = done || same_table(&figures[i], &figures[j]);
		if (done)
			continue;
		if (figures[i].size)
			print_sizes(&figures[i]);
		else
			print_plain_figures(&figures[i]);
	}
	table_from = nr_figures;
	for (int i = 0; i < nr_notes; i++)
		fprintf(table, "note: %s\n", notes[i]);
	if (lost_notes)
		fprintf(table, "note: and %d more\n", lost_notes);
	if (nr_notes)
		fputc('\n', table);
	nr_notes = 0;
	lost_notes = 0;
	fflush(table);
}

static void print_json(void)
{
	puts("[");
	for (int i = 0; i < nr_figures; i++) {
		const struct figure *f = &figures[i];

		printf("{\"work\":\"%s\",\"peer\":", f->work);
		print_json_string(stdout, f->peer);
		printf(",\"size\":%u,\"live\":%u,\"unit\":\"%s\",\"median\":%.10g,\"min\":%.10g,"
		       "\"max\":%.10g,\"rounds\":%d}%s\n", f->size, f->live, f->unit, f->median,
		       f->min, f->max, f->rounds, i < nr_figures - 1 ? "," : "");
	}
	puts("]");
}

/* ---- the machine ---- */

static unsigned long long idle_jiffies(void)
{
	unsigned long long idle = 0;
	char buf[256];

	if (read_text("/proc/stat", buf, sizeof(buf)))
		sscanf(buf, "cpu %*u %*u %*u %llu", &idle);
	return idle;
}

void settle(void)
{
	long hz = sysconf(_SC_CLK_TCK);

	/* At once is too early: programs go after a grace period */
	usleep(100000);
	for (int i = 0; i < 100 && !stopped; i++) {
		unsigned long long idle = idle_jiffies();

		usleep(100000);
		if (idle_jiffies() - idle >= (unsigned long long)(bench_cpus * hz / 10 * 8 / 10))
			break;
	}
}

/* Memory that kmalloc() has from before would hide what is taken now */
static void shrink_caches(void)
{
	glob_t g;

	if (glob("/sys/kernel/slab/kmalloc-*/shrink", 0, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		write_text(g.gl_pathv[i], "1");
	globfree(&g);
	settle();
}

double free_bytes(void)
{
	unsigned long long n, pages = 0;
	char line[256];
	FILE *f;

	/* Fold what CPUs have counted for themselves */
	write_text("/proc/sys/vm/stat_refresh", "1\n");
	f = fopen("/proc/zoneinfo", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " pages free %llu", &n) == 1 ||
		    sscanf(line, " count: %llu", &n) == 1)
			pages += n;
	}
	if (f)
		fclose(f);
	return (double)pages * bench_page;
}

/* ---- works ---- */

int run_script(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
	       struct outcome *o)
{
	*o = (struct outcome){ .metadata = -1 };
	return p->bpf ? run_bpf(p, size, s, where, o) : run_kernel(p, size, s, where, o);
}

/* True if there is a figure; what is missing has a note, and what is broken is counted */
static bool usable(const char *work, const struct peer *p, __u32 size, int err,
		   const struct outcome *o)
{
	if (!err && !o->failed)
		return true;
	if (!err)
		note("%s, %s, %u bytes: %llu allocations failed", work, p->name, size,
		     (unsigned long long)o->failed);
	else if (err == -ENOMEM)
		note("%s, %s, %u bytes: %s", work, p->name, size, o->why);
	if (err && err != -ENOMEM && err != -EOPNOTSUPP && !stopped) {
		nr_broken++;
		fail("%s, %s, %u bytes: %s", work, p->name, size, o->why);
	}
	return false;
}

/* So many of that size as the peer and the memory hold: half of it, by steps of 1, 2, 5 */
static __u32 room_for(const struct peer *p, const char *work, __u32 size, __u32 live)
{
	static const __u32 steps[] = {
		100000, 50000, 20000, 10000, 5000, 2000, 1000, 500, 200, 100,
	};
	static double memory;
	__u32 block = size;
	double limit;

	/* Once, so that it does not depend on what was measured before */
	if (!memory)
		memory = free_bytes();
	limit = memory / 2;
	if (p->bpf && p->bpf->max_bytes) {
		for (block = 16; block < size; block *= 2)
			;
		if (limit > p->bpf->max_bytes)
			limit = p->bpf->max_bytes;
	}
	if (strstr(p->name, "pages") && block < bench_page)
		block = bench_page;
	if ((double)live * block <= limit)
		return live;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i] < live && (double)steps[i] * block <= limit) {
			note("%s, %s, %u bytes: %u live objects, for more there is no room", work,
			     p->name, size, steps[i]);
			return steps[i];
		}
	}
	return 0;
}

/*
 * What costs more the more there is takes for ever with ten times as much. That is told
 * from the figure with the most so far: not by a clock, which is another one on each machine.
 */
#define TOO_LONG	2e10

static bool too_slow(const struct peer *p, const char *work, __u32 size, __u32 live)
{
	const char *family = strncmp(work, "replace-", 8) ? "live-" : "replace-";
	double ns, pairs = live / 2 + (bench_rounds + 1) * SCRIPT_LIVE_PAIRS;
	const struct figure *least = NULL, *best = NULL;

	for (int i = 0; i < nr_figures; i++) {
		const struct figure *f = &figures[i];

		if (f->size != size || strncmp(f->work, family, strlen(family)) ||
		    strcmp(f->peer, p->name))
			continue;
		if (!least || f->live < least->live)
			least = f;
		if (!best || f->live > best->live)
			best = f;
	}
	/* A pair of pages is not cheap, but costs no more with more of them */
	if (!best || best->live >= live || best->median < 1.5 * least->median)
		return false;
	ns = best->median * live / best->live;
	if (ns * pairs < TOO_LONG)
		return false;
	note("%s, %s, %u bytes: not with %u live objects, %.0f ns a pair with %u", work, p->name,
	     size, live, best->median, best->live);
	return true;
}

struct work {
	const char *name, *what;
	void (*measure)(const struct work *w, const struct peer *p, __u32 size);
	__u32 nr;
	__u32 max_size;		/* beyond it they are gigabytes, and take hours; 0: all sizes */
	enum bench_where where;
	bool whole;		/* no peers, no sizes */
};

/* One round after the other, of a script that is the same for all */
static void measure_script(const struct work *w, const struct peer *p, __u32 size,
			   const struct script *s)
{
	struct outcome o;
	int err = run_script(p, size, s, w->where, &o);

	if (!usable(w->name, p, size, err, &o))
		return;
	for (int i = 0; i < o.rounds; i++)
		o.ns[i] /= s->pairs;
	add_figure(w->name, p->name, size, s->live, "ns", o.ns, o.rounds);
}

static void measure_hot(const struct work *w, const struct peer *p, __u32 size)
{
	struct script s = {};

	script_hot(&s, SCRIPT_PAIRS);
	measure_script(w, p, size, &s);
	script_free(&s);
}

static void measure_batch(const struct work *w, const struct peer *p, __u32 size)
{
	enum batch_order order = strstr(w->name, "random") ? BATCH_RANDOM :
				 strstr(w->name, "reverse") ? BATCH_REVERSE : BATCH_ORDER;
	struct script s = {};

	script_batch(&s, SCRIPT_PAIRS, w->nr, order, seed);
	measure_script(w, p, size, &s);
	script_free(&s);
}

static void measure_live(const struct work *w, const struct peer *p, __u32 size)
{
	__u32 live = room_for(p, w->name, size, w->nr);
	struct script s = {};

	if (too_slow(p, w->name, size, live))
		return;
	script_live(&s, live);
	measure_script(w, p, size, &s);
	script_free(&s);
}

static void measure_replace(const struct work *w, const struct peer *p, __u32 size)
{
	__u32 live = room_for(p, w->name, size, w->nr);
	struct script s = {};

	if (!live || too_slow(p, w->name, size, live))
		return;
	script_replace(&s, live, seed);
	measure_script(w, p, size, &s);
	script_free(&s);
}

static void measure_grow(const struct work *w, const struct peer *p, __u32 size)
{
	struct script s = {};

	script_grow(&s, room_for(p, w->name, size, w->nr));
	measure_script(w, p, size, &s);
	script_free(&s);
}

static void measure_trace(const struct work *w, const struct peer *p, __u32 size)
{
	static struct script s;
	static bool tried;

	if (!tried && !script_trace(&s))
		nr_broken++;
	tried = true;
	if (s.nr)
		measure_script(w, p, size, &s);
}

static void measure_memory(const struct work *w, const struct peer *p, __u32 size)
{
	__u32 live = room_for(p, w->name, size, w->nr);
	struct script s = {};
	struct outcome o;
	double v;
	int err;

	if (is_null_peer(p->name) || too_slow(p, w->name, size, live))
		return;
	shrink_caches();
	script_leak(&s, live);
	err = run_script(p, size, &s, CPU_ONE, &o);
	script_free(&s);
	if (!usable(w->name, p, size, err, &o) || o.memory <= 0)
		return;
	if (!o.exact)
		note("memory, %s: what the machine had less, which others can change, too",
		     p->name);
	v = o.memory / live;
	add_figure("memory", p->name, size, live, "bytes", &v, 1);
	/* What kmalloc() rounds up to is in this, and what others did meanwhile */
	v = o.gone / live;
	if (v > 0)
		add_figure("memory-gone", p->name, size, live, "bytes", &v, 1);
	v = live / (o.memory / bench_page);
	add_figure("memory-page", p->name, size, live, "objects a page", &v, 1);
	if (o.metadata >= 0) {
		v = o.metadata / live;
		add_figure("memory-metadata", p->name, size, live, "bytes", &v, 1);
	}
}

static void measure_cache(const struct work *w, const struct peer *p, __u32 size)
{
	struct script s = {};
	double v[MAX_ROUNDS];
	struct outcome o;
	unsigned int i;
	int err = 0;

	if (p->bpf || is_null_peer(p->name))
		return;
	script_leak(&s, 1);
	for (i = 0; i < bench_rounds && !err; i++) {
		err = run_script(p, size, &s, CPU_ONE, &o);
		v[i] = o.created_ns / 1e3;
	}
	script_free(&s);
	/* Some have nothing to make */
	if (usable(w->name, p, size, err, &o) && o.created_ns)
		add_figure(w->name, p->name, size, 0, "us", v, i);
}

static __u32 pairs_of_two(const struct peer *p)
{
	return strstr(p->name, "arena_pages") ? SCRIPT_PAIRS_FLUSH : SCRIPT_PAIRS_2;
}

/* As a batch on one CPU, and nobody waits: what one has allocated the other one then frees */
static void measure_remote(const struct work *w, const struct peer *p, __u32 size)
{
	struct script s = {};

	script_batch(&s, SCRIPT_PAIRS, w->nr, BATCH_ORDER, seed);
	s.turn = w->nr;
	measure_script(w, p, size, &s);
	script_free(&s);
}

/* Two CPUs do twice the work of one */
static void measure_both(const struct work *w, const struct peer *p, __u32 size)
{
	struct outcome one, two;
	struct script s = {};
	double v[MAX_ROUNDS];
	int err, nr;

	script_batch(&s, pairs_of_two(p), w->nr, BATCH_RANDOM, seed);
	err = run_script(p, size, &s, CPU_ONE, &one);
	if (usable(w->name, p, size, err, &one)) {
		err = run_script(p, size, &s, CPU_BOTH, &two);
		if (usable(w->name, p, size, err, &two)) {
			nr = one.rounds < two.rounds ? one.rounds : two.rounds;
			for (int i = 0; i < nr; i++)
				v[i] = 2 * one.ns[i] / two.ns[i];
			add_figure(w->name, p->name, size, 0, "ratio", v, nr);
		}
	}
	script_free(&s);
}

static void measure_leaks(const struct work *w, const struct peer *p, __u32 size)
{
	struct script s = {};
	struct outcome o = {};
	__u32 live;

	/* Arenas with as many bytes in them, of slabs and of ordinary pages */
	if (!p->bpf || (strcmp(p->bpf->prefix, "kfunc") && strcmp(p->bpf->prefix, "pages")))
		return;
	live = room_for(p, w->name, size, w->nr);
	if (!strcmp(p->bpf->prefix, "pages") && size < bench_page)
		live = (live * size + bench_page - 1) / bench_page;
	script_leak(&s, live);
	usable(w->name, p, size, measure_teardown(p, size, &s, add_figure, &o), &o);
	script_free(&s);
}

static bool has_peer(const char *name)
{
	for (int i = 0; i < nr_peers; i++) {
		if (!strcmp(peers[i].name, name))
			return true;
	}
	return false;
}

static void measure_whole(const struct work *w, const struct peer *p, __u32 size)
{
	struct outcome o = {};
	int err;

	(void)p;
	(void)size;
	if (!strcmp(w->name, "arena"))
		err = measure_arena(has_peer("bpf:arena_alloc"), add_figure, &o);
	else
		err = measure_load(add_figure, &o);
	if (err == -EOPNOTSUPP) {
		note("%s: %s", w->name, o.why);
	} else if (err) {
		nr_broken++;
		fail("%s: %s", w->name, o.why);
	}
}

/* Memory first, when caches have little that was used before */
static const struct work works[] = {
	{ "memory", "what 10,000 live objects take, an object and a page", measure_memory,
	  .nr = 10000 },
	{ "hot", "one object, allocated and freed again and again", measure_hot, .nr = 0 },
	{ "batch64-order", "64 are allocated, then freed in this order", measure_batch, .nr = 64 },
	{ "batch64-reverse", "in reverse", measure_batch, .nr = 64 },
	{ "batch64-random", "in a random order", measure_batch, .nr = 64 },
	{ "batch512-order", "the same with 512", measure_batch, .nr = 512 },
	{ "batch512-reverse", "", measure_batch, .nr = 512 },
	{ "batch512-random", "", measure_batch, .nr = 512 },
	{ "live-0", "a hot pair on top of so many live objects", measure_live, .nr = 0 },
	{ "live-1000", "", measure_live, .nr = 1000 },
	{ "live-10000", "", measure_live, .nr = 10000 },
	{ "live-100000", "", measure_live, .nr = 100000, .max_size = 1024 },
	{ "replace-1000", "a random one of so many goes, and a new one comes", measure_replace,
	  .nr = 1000 },
	{ "replace-10000", "", measure_replace, .nr = 10000 },
	{ "replace-100000", "", measure_replace, .nr = 100000, .max_size = 1024 },
	{ "grow", "10,000 objects, from nothing: an allocation", measure_grow, .nr = 10000 },
	{ "trace", "the objects of tasks that come and go", measure_trace, .nr = 0 },
	{ "cache", "to make a cache or a pool", measure_cache, .nr = 0 },
	{ "arena", "to make and to destroy an arena without slabs", measure_whole, .whole = true },
	{ "load", "to load a program that allocates, and one that does not", measure_whole,
	  .whole = true },
	{ "teardown", "to destroy an arena with 100,000 leaked objects", measure_leaks,
	  .nr = 100000, .max_size = 1024 },
	{ "remote", "64 are allocated on one CPU, then freed on another one", measure_remote,
	  .nr = 64, .where = CPU_TURNS },
	{ "local2", "two CPUs at once, each its own; how much more they do", measure_both, .nr = 16,
	  .where = CPU_BOTH },
	{ "shared2", "the same with 64 at a time: more than a CPU keeps, they may change it",
	  measure_both, .nr = 64, .where = CPU_BOTH },
};

static bool work_wanted[ARRAY_SIZE(works)];

static int run(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(works) && !stopped; i++) {
		const struct work *w = &works[i];

		if (!work_wanted[i])
			continue;
		if (w->where != CPU_ONE && bench_cpus < 2) {
			note("%s: not with one CPU", w->name);
			continue;
		}
		if (w->whole) {
			w->measure(w, NULL, 0);
			print_tables();
			continue;
		}
		for (int j = 0; j < nr_peers; j++) {
			for (int k = 0; k < nr_bench_sizes && !stopped; k++) {
				if (!peer_wanted[j] || !size_wanted[k] ||
				    (w->max_size && bench_sizes[k] > w->max_size))
					continue;
				w->measure(w, &peers[j], bench_sizes[k]);
			}
		}
		print_tables();
	}
	print_tables();
	if (json)
		print_json();
	if (stopped)
		return fail("interrupted");
	if (nr_broken)
		fail("%d figures could not be had", nr_broken);
	return finish_output() || nr_broken ? EXIT_FAILED : 0;
}

/* ---- the command line ---- */

static void find_peers(void)
{
	struct btf *btf = btf__load_vmlinux_btf();

	nr_peers = kernel_peers(peers, MAX_PEERS - nr_bpf_peers);
	for (int i = 0; i < nr_bpf_peers; i++) {
		const struct bpf_peer *b = &bpf_peers[i];
		struct peer *p = &peers[nr_peers];

		if (b->kfunc && btf && btf__find_by_name_kind(btf, b->kfunc, BTF_KIND_FUNC) < 0)
			continue;
		*p = (struct peer){ .bpf = b };
		snprintf(p->name, sizeof(p->name), "%s", b->name);
		snprintf(p->what, sizeof(p->what), "%s", b->what);
		nr_peers++;
	}
	btf__free(btf);
}

static int list(void)
{
	puts("works");
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		printf("  %-18s %s\n", works[i].name, works[i].what);
	puts("peers");
	for (int i = 0; i < nr_peers; i++)
		printf("  %-18s %s\n", peers[i].name, peers[i].what);
	return finish_output();
}

/* "batch64" is all that begins with "batch64-", too */
static bool choose_work(const char *name)
{
	size_t len = strlen(name);
	bool found = false;

	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		const char *w = works[i].name;

		if (strcmp(w, name) && (!len || strncmp(w, name, len) || w[len] != '-'))
			continue;
		found = true;
		work_wanted[i] = true;
	}
	return found;
}

static bool choose_peer(const char *name)
{
	for (int i = 0; i < nr_peers; i++) {
		if (!strcmp(peers[i].name, name))
			return peer_wanted[i] = true;
	}
	return false;
}

static bool choose_size(const char *size)
{
	unsigned long n;

	for (int i = 0; i < nr_bench_sizes; i++) {
		if (parse_number(size, 1, 1 << 20, &n) && n == bench_sizes[i])
			return size_wanted[i] = true;
	}
	return false;
}

static int wrong_size(const char *s)
{
	char all[80] = "";

	for (int i = 0; i < nr_bench_sizes; i++)
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%u", i ? ", " : "",
			 bench_sizes[i]);
	return usage_error("-s %s: not one of %s", s, all);
}

static void choose_all(bool *wanted, int nr)
{
	for (int i = 0; i < nr; i++) {
		if (wanted[i])
			return;
	}
	memset(wanted, true, nr);
}

int cmd_bench(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "work", required_argument, NULL, 'w' },
		{ "size", required_argument, NULL, 's' },
		{ "peer", required_argument, NULL, 'p' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 'S' },
		{ "json", no_argument, NULL, 'j' },
		{ "list", no_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	bool list_only = false;
	unsigned long n;
	cpu_set_t set;
	int c;

	bench_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	bench_page = sysconf(_SC_PAGESIZE);
	find_peers();
	while ((c = next_option(argc, argv, ":w:s:p:r:jlv", longopts)) > 0) {
		switch (c) {
		case 'w':
			if (!choose_work(optarg))
				return usage_error("-w %s: there is no such work, --list has all",
						   optarg);
			break;
		case 's':
			if (!choose_size(optarg))
				return wrong_size(optarg);
			break;
		case 'p':
			if (!choose_peer(optarg))
				return usage_error("-p %s: this kernel has no such peer, "
						   "--list has all", optarg);
			break;
		case 'r':
			if (!parse_number(optarg, 1, MAX_ROUNDS - 1, &n))
				return usage_error("-r %s: not 1 to %d rounds", optarg,
						   MAX_ROUNDS - 1);
			bench_rounds = n;
			break;
		case 'S':
			if (!parse_number(optarg, 0, ~0UL, &seed))
				return usage_error("--seed %s: not a number", optarg);
			break;
		case 'j':
			json = true;
			break;
		case 'l':
			list_only = true;
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	if (list_only)
		return list();
	if (geteuid())
		return fail("it loads BPF programs: run as root");
	choose_all(work_wanted, ARRAY_SIZE(works));
	choose_all(peer_wanted, nr_peers);
	choose_all(size_wanted, nr_bench_sizes);
	table = json ? stderr : stdout;
	if (nr_peers && peers[0].bpf)
		note("this kernel has no CONFIG_BPF_ARENA_SLAB_BENCH: "
		     "only what programs call is measured");
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
	catch_stop();
	return run();
}
