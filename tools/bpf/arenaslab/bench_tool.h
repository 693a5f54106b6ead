/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of `arenaslab bench` in user space share. */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include "bench.h"
#include "cmd.h"

#define MAX_ROUNDS	50
#define MAX_PEERS	24
/* Pairs of a round: so many that what starts and ends it does not count */
#define SCRIPT_PAIRS		10240
/* the same where two CPUs have to come together first, and */
#define SCRIPT_PAIRS_2		163840
/* where each of them waits for the other one's TLB, and */
#define SCRIPT_PAIRS_FLUSH	2560
/* on top of live objects, where pairs may be slow */
#define SCRIPT_LIVE_PAIRS	4096

extern const __u32 bench_sizes[];
extern const int nr_bench_sizes;
extern int bench_cpus;
extern unsigned int bench_rounds;
extern long bench_page;

/* ---- peers: who allocates ---- */

struct bpf_peer {
	const char *name, *prefix;	/* of its programs */
	const char *what;
	const void *(*image)(size_t *size);
	const char *kfunc;	/* without which it is not there; may be NULL */
	__u32 max_size;
	bool one_cpu;
	__u64 max_bytes;	/* of live objects, 0: none of its own */
};

struct peer {
	char name[24], what[80];
	const struct bpf_peer *bpf;	/* NULL: the kernel's */
};

extern const struct bpf_peer bpf_peers[];
extern const int nr_bpf_peers;

/* How many peers the kernel has for us; 0 if it has no such interface */
int kernel_peers(struct peer *peers, int max);

/* ---- scripts: what is done ---- */

struct script {
	__u32 *ops;
	__u32 nr, room;		/* ops, and how many there is room for */
	__u32 prepare;		/* so many of them come first, once, and are not measured */
	__u32 slots;
	__u32 pairs;		/* in a round: what its time is divided by */
	__u32 live;		/* objects underneath */
	bool growth;		/* from nothing, and so anew for each round */
	bool hot;		/* programs have a loop of their own for that */
	__u32 turn;		/* CPU_TURNS: after so many ops the other CPU goes on */
};

void script_hot(struct script *s, __u32 pairs);
enum batch_order { BATCH_ORDER, BATCH_REVERSE, BATCH_RANDOM };
void script_batch(struct script *s, __u32 pairs, __u32 batch, enum batch_order order, __u64 seed);
void script_live(struct script *s, __u32 live);
void script_replace(struct script *s, __u32 live, __u64 seed);
void script_grow(struct script *s, __u32 nr);
void script_leak(struct script *s, __u32 nr);
/* Of tasks that came and went; false if they could not be recorded, which was said then */
bool script_trace(struct script *s);
void script_add(struct script *s, __u32 op);
void script_free(struct script *s);

/* ---- running one by the other ---- */

enum bench_where { CPU_ONE, CPU_TURNS, CPU_BOTH };

struct outcome {
	double ns[MAX_ROUNDS];		/* of a round */
	int rounds;
	double created_ns;		/* of the cache or pool, the kernel's peers only */
	double memory;			/* bytes for what is live after the preparation, and */
	double metadata;		/* the kernel's own part of it; negative: not known */
	bool exact;			/* by who has it; else, or by @gone, by what is not free */
	double gone;			/* the kernel's peers only, or 0 */
	__u64 failed;			/* allocations */
	char why[160];			/* that there is none */
};

/*
 * 0, -EOPNOTSUPP if the peer cannot do this, -ENOMEM if there is not enough for it, or any
 * other error, which is a failure of the benchmark. @why says it in words.
 */
int run_script(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
	       struct outcome *o);
int run_kernel(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
	       struct outcome *o);
int run_bpf(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
	    struct outcome *o);

/* A BPF peer with @s prepared, for whoever wants to see what becomes of its arena */
struct bpf_object;
struct bpf_object *bpf_prepared(const struct peer *p, __u32 size, const struct script *s,
				struct outcome *o, int *err);

/* An arena in which program fill_WHAT has made @nr of what it makes; how many pages it has */
struct bpf_object *bpf_filled(const char *what, __u32 nr, double *pages, struct outcome *o,
			      int *err);

/* An arena of 4 GiB, mapped, so that kernel and programs can use it; -1: said in @o */
int open_arena(void **addr, struct outcome *o);
void close_arena(int fd, void *addr);

/* Sleep until nothing of what was before is left to do for the machine */
void settle(void);
/* Bytes that are free, also in lists of CPUs */
double free_bytes(void);
int why(struct outcome *o, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- arenas and programs as a whole, bench_arena.c: unit, and a figure for each name ---- */

typedef void (*figure_fn)(const char *work, const char *peer, __u32 size, __u32 live,
			  const char *unit, const double *v, int nr);

/* These return 0 or an error as run_script() does */
int measure_arena(bool slabs, figure_fn figure, struct outcome *o);
int measure_load(figure_fn figure, struct outcome *o);
int measure_teardown(const struct peer *p, __u32 size, const struct script *s, figure_fn figure,
		     struct outcome *o);

#endif /* BENCH_TOOL_H */
