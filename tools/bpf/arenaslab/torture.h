/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What `arenaslab torture` and its BPF programs share.
 *
 * There are three arenas at once, each with an instance of the same programs:
 *
 *	kept		every object is written by its owner only, all of it, and looked
 *			at before it is freed and in between
 *	scribbled	everybody writes everywhere; of an object only its address counts
 *	lawless		the same, and everybody frees everything: live objects of others,
 *			pointers that are long dead, two CPUs the same one
 *
 * In the first two an object is freed by its owner alone, so that a table outside of
 * the arenas can say at every moment what is live: an address that is given out twice,
 * overlaps another object, or is out of place is seen at once, and the verdict on each
 * bad free is known beforehand. In the third nobody knows who owns what; there it is
 * the sums that have to be right: each free was either accepted or refused, and no more
 * were accepted than objects were allocated.
 *
 * Their lower 32 bits, which are all that counts for a program, do not overlap: a
 * pointer of one is foreign to the others.
 */
#ifndef TORTURE_H
#define TORTURE_H

#define ARENA_KEPT		0
#define ARENA_SCRIBBLED		1
#define ARENA_LAWLESS		2
#define NR_ARENAS		3

/* The first one is here, the others follow at intervals of 4 GiB */
#define ARENA_BASE		(1ULL << 44)

#define PAGE_SHIFT		12
#define MAX_PAGES		2048	/* of an arena: the table's size */
#define NO_PAGES		4	/* at its end, where there is never one */
#define MAX_CPUS		8
#define CLASS_LARGE		12	/* behind the eleven size classes, 1 to 11 */
#define CLASS_PAGES		13
#define NR_SLOTS		64	/* objects that a worker holds at most */
#define NR_FOREIGN		64	/* pointers of the other arena */
#define NR_RACED		64	/* that two CPUs free at once */
#define NR_CHURNED		8	/* whose pages go while faults look for them */
#define NR_RING			512	/* pointers of the lawless arena */

/*
 * A worker is a sequence of random numbers and what was allocated by it. In tasks it
 * is a thread, elsewhere a context on one CPU.
 */
enum torture_ctx {
	CTX_TASK,		/* may sleep */
	CTX_ATOMIC,		/* a task with preemption or irqs off, or inside of RCU */
	CTX_SWITCH,		/* sched_switch, under the rq lock */
	CTX_PAGE_ALLOC,		/* tracepoints of the page allocator, */
	CTX_CACHE_ALLOC,	/* of SLUB, */
	CTX_CACHE_FREE,
	CTX_CONTENTION,		/* and of locks */
	CTX_MAP,		/* fentry: a slab is about to get its place, */
	CTX_UNMAP,		/* or to lose it */
	CTX_LINK,		/* a free link is about to be written */
	CTX_RANGE,		/* under the arena's spinlock */
	CTX_SLAB_FREE,		/* kprobe: SLUB's slow path */
	CTX_PARTIAL,		/* kprobe: under a node's list_lock, where there is the hook */
	CTX_IRQ,		/* hard interrupt, by the CPU clock */
	CTX_TIMER,		/* bpf_timer, soft interrupt */
	CTX_OTHER,		/* none: tasks with a purpose of their own, below */
	CTX_PROBE,		/* kprobe: any instruction, see torture_probe.c */
	NR_CTX,
};

#define MAX_WORKERS		256	/* a power of two, for the sake of the verifier */

/* A worker's number; the CPU of a task is just the how-manieth it is */
#define WORKER(ctx, cpu)	((ctx) * MAX_CPUS + (cpu))
/* Two that free the same, one that attacks the scheduler's cmasks, one whose slabs go */
#define WORKER_RACE		WORKER(CTX_OTHER, 0)
#define WORKER_SCHED		WORKER(CTX_OTHER, 2)
#define WORKER_CHURN		WORKER(CTX_OTHER, 3)

struct torture_slot {
	__u64 addr;
	__u32 size;		/* as asked for */
	__u32 serial;
};

#define SLOT_PAGES	(1u << 31)	/* in @size: of bpf_arena_alloc_pages() */

struct torture_worker {
	__u64 rng;
	__u64 lock;
	__u64 ops;
	__u64 ticks;		/* events that there were, of which few become an op */
	struct torture_slot slot[NR_SLOTS];
};

/* Frees that have to be refused, by how they are wrong, and by what the kernel counts */
enum torture_bad {
	BAD_INTERIOR,		/* inside of a live object */
	BAD_TAIL,		/* behind the last object of a slab */
	BAD_LARGE_TAIL,		/* the second or a later page of a large object */
	BAD_PAGE,		/* a page of bpf_arena_alloc_pages() */
	BAD_NO_PAGE,		/* an address without a page */
	BAD_OUTSIDE,		/* an address outside of the arena */
	BAD_FOREIGN,		/* an object of the other arena */
	BAD_NULL,		/* is no error, and not counted */
	BAD_KERNEL,		/* the kernel's own object */
	NR_BAD,
};

/* What must never be; the first one is kept with its details */
enum torture_error {
	ERR_NONE,
	ERR_DUPLICATE,		/* alloc returned what is live */
	ERR_OVERLAP,		/* a page has objects of two kinds */
	ERR_ALIGN,
	ERR_OUTSIDE,
	ERR_OFFSET_0,
	ERR_NOT_ZERO,
	ERR_CHANGED,		/* a live object is not as its owner wrote it */
	ERR_TABLE,		/* an object that was registered is not in the table */
	ERR_BAD_SIZE,		/* alloc of an impossible size returned something */
	ERR_GRACE,		/* a slab's metadata changed while RCU held it */
	NR_ERRORS,
};

struct torture_first {
	__u64 error;
	__u64 addr;
	__u64 size;
	__u64 left;
	__u64 right;
};

/* Of a run; how long is in torture.c, why in torture_probe.c */
enum torture_phase {
	PHASE_HOLDS,		/* some are held up where it matters */
	PHASE_PROBES,		/* probes everywhere, who meets one may be held up */
	PHASE_FREE,		/* nobody is */
};

/* Where somebody is held up on purpose, and what could happen in the meantime */
enum torture_hold {
	HOLD_FREE,		/* a free has lost its object to another, and the page goes */
	HOLD_FAULT,		/* a fault has found its page, and all mappings are zapped */
	HOLD_WORKER,		/* pages are about to go, and a fault finds one */
	HOLD_RACE,		/* somewhere in a free of what another one frees */
	HOLD_PROBE,		/* at any instruction */
	NR_HOLDS,
};

struct torture_counts {
	__u64 ops[NR_CTX];
	__u64 small;		/* objects of up to a page that alloc returned */
	__u64 large;
	__u64 pages;		/* of bpf_arena_alloc_pages() */
	__u64 nulls;		/* allocations that failed: allowed */
	__u64 frees;		/* calls of bpf_arena_free() that are not NULL */
	__u64 own_frees;	/* of those, objects by their owner */
	__u64 bad[NR_BAD];
	__u64 free_pages;	/* calls of bpf_arena_free_pages() on what is not theirs */
	__u64 looks;		/* objects that were verified */
	__u64 busy;		/* a context interrupted itself */
	__u64 stalls;		/* hard interrupts that were drawn out on purpose */
	__u64 races;		/* objects that two threads freed at once */
	__u64 holds[NR_HOLDS];
	__u64 held_through[NR_HOLDS];	/* those in which it did happen */
	__u64 keeps;		/* slabs that nobody could put on a list at once */
	__u64 errors[NR_ERRORS];
};

/* Argument of the syscall programs */
struct torture_args {
	__u32 worker;
	__u32 ops;
};

/* What stands in an object: never like an address of the kernel's */
#define PATTERN(addr, serial, i) \
	((0x5aULL << 56 ^ (__u64)(__u32)(addr) << 16 ^ (__u64)(__u32)(serial) << 24) + (i))

#endif /* TORTURE_H */
