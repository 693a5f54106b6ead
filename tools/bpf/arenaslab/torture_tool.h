/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of `arenaslab torture` share; what its programs know, too, is torture.h. */
#ifndef TORTURE_TOOL_H
#define TORTURE_TOOL_H

#include <stdbool.h>
#include <linux/types.h>
#include <pthread.h>
#include <unistd.h>
#include "cmd.h"
#include "bpf_util.h"
#include "test_util.h"
#include "torture.h"

#define PAGE		(1UL << PAGE_SHIFT)
#define MAX_THREADS	96
#define MAX_BLAMES	12

struct bpf_link;
struct bpf_program;
struct btf;
struct torture_bpf;

/* ---- torture.c ---- */

/* What there is to do without */
enum part { PART_MAP, PART_SCRIBBLE, PART_KILL, PART_SCHED, PART_SHRINK, PART_HOTPLUG,
	    PART_IRQ, PART_TRACE, PART_HOLD, NR_PARTS };

struct options {
	double duration;
	unsigned long seed;
	unsigned long tasks;	/* of each kind, for an arena */
	unsigned long slow;
	bool without[NR_PARTS];
};

extern struct options opt;
extern int nr_cpus;

/* ---- torture_common.c ---- */

struct kernel_counts {
	bool found;
	unsigned long long id;
	unsigned long long pages;
	long long slabs_mapped, slabs_freed;
	long long large_allocs, large_frees;
	long long no_object, interior, not_live, kernel_owned;
	long long allocs, frees;	/* of programs' caches */
};

struct progress {
	char name[32];
	volatile __u64 count;
};

/* Kinds of attack: contexts by their number, places to be held up at, and others */
enum attack { ATTACK_HOLD = NR_CTX, ATTACK_KILL = ATTACK_HOLD + NR_HOLDS, ATTACK_SCHED,
	      ATTACK_PLUG, NR_ATTACKS };

struct shared {
	volatile int stop;		/* no operation any more */
	volatile int running;		/* the body has begun */
	volatile int phase;		/* see torture_probe.c */
	volatile int done;		/* it has ended, and has said all it has to say */
	int plug_lock;			/* see lock_plugs() */
	volatile __u64 ops, nulls, refused;
	__u64 victims, killed, dropped, maps, forks, faults, writes, scans, shrinks, drops, plugs;
	__u64 sched_rounds, sched_frees, sched_cmasks;
	__u64 probes, churns;
	__u64 left[NR_ARENAS];		/* pages, when all was freed */
	int nr_progress;
	struct progress progress[MAX_THREADS + 16];
	struct torture_counts counts[NR_ARENAS];
	struct kernel_counts kernel[NR_ARENAS];
	bool impossible[NR_ATTACKS];		/* see cannot() */
	int nr_notes, nr_blames;
	char note[16][160];
	char blame[MAX_BLAMES][320];
};

extern struct shared *shared;

/* What is wrong; the first ones are kept */
void blame(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What this machine cannot do: a note, and check_attacks() does not wait for it */
void cannot(int attack, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct progress *new_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void add(__u64 *counter, __u64 n);
void lock_plugs(void);
void unlock_plugs(void);
void doze(unsigned long msec);

/* For whom derive() is, see seed_of() */
enum { WHO_THREAD = 1 << 16, WHO_MAPPER = 2 << 16, WHO_VICTIM = 3 << 16, WHO_SHRINKER = 4 << 16,
       WHO_PLUGGER = 5 << 16, WHO_SCHED = 6 << 16, WHO_BODY = 7 << 16, WHO_PROBER = 8 << 16 };

#define seed_of(who)		derive(opt.seed, who)
#define WAIT_FOR(seconds, cond)	WAIT_SLOW(seconds, opt.slow, cond)

/* ---- torture_objects.c ---- */

/* The scheduler's is above the others */
#define SCHED_START	(ARENA_BASE + (NR_ARENAS * 1ULL << 32) + (1ULL << 31))

struct arena {
	const char *name;
	__u64 low;		/* of its address, 32 bits */
	__u32 pages;
	__u32 flags;
	__u64 start;
	__u32 map_id;
	struct torture_bpf *skel;
	struct bpf_link *irq[MAX_CPUS];
	bool timers;
};

extern struct arena arenas[NR_ARENAS];
extern struct btf *vmlinux;

struct thread {
	pthread_t id;
	struct arena *arena;
	struct bpf_program *prog;
	__u32 worker;
	__u32 ops;		/* in a run */
	__u64 rng;
	struct progress *progress;
};

bool has_function(const char *name);
struct torture_bpf *open_instance(__u32 kind, __u64 start, __u32 pages, __u32 flags);
__u32 map_id(struct torture_bpf *skel);
int run_prog(struct bpf_program *prog, __u32 worker, __u32 ops);
int body(const char *group);

/* ---- torture_user.c ---- */

void catch_faults(void);
void look_at_objects(struct thread *t);
void *run_scribbler(void *arg);
void scan_page(struct arena *a, __u32 page);
void *run_churner(void *arg);
void *run_looker(void *arg);
int start_mappers(pid_t *pids);

/* ---- torture_probe.c ---- */

void prepare_probes(void);
void *run_prober(void *arg);

/* ---- torture_machine.c ---- */

int victims(const char *group);
int scheduler(const char *unused);
int shrinker(const char *unused);
int plugger(const char *unused);
const char *make_groups(void);
/* After the end of all. Bytes are those above what CPUs keep charged in advance. */
struct leaks {
	long long caches, bytes;
	unsigned long long pages;
};
void check_leaks(struct leaks *leaks);
extern char group[64];
extern int caches_before;

/* ---- torture_check.c ---- */

struct kernel_counts read_counts(__u32 map_id);
long long refused(const struct kernel_counts *k);
int for_each_cache(const char *prefix, void (*fn)(const char *path, void *arg), void *arg);
void shrink_cache(const char *path, void *unused);
void watch_log(void);
void read_log(void);
void spoil_log(void);
void add_counts(struct shared *sh);
void check_errors(struct arena *a);
void read_streams(void);
void check_live(struct arena *a);
void check_empty(struct arena *a);
void check_counts(struct arena *a, int nr);
void check_leaks_of_addresses(struct arena *a);
void check_mapping(struct arena *a);

/* ---- torture_table.c ---- */

void print_table(const struct leaks *leaks);
void check_attacks(void);

#endif /* TORTURE_TOOL_H */
