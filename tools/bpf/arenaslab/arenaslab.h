/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What `arenaslab tasks` and its tracing programs share: the objects themselves,
 * at the same addresses on both sides.
 *
 *	task_dir (64 KiB, a large object)
 *	  chunk[0] -> task_chunk (4 KiB)		pids 0 to 511
 *			slot[341] -> task_obj (64 bytes)	pid 341
 *	  chunk[1] -> ...
 *
 * The directory is indexed by pid, so that neither side needs a lock or a free
 * list: live tasks have different pids. There are two exceptions, and both only
 * leave an object out of the directory for a while. A thread that execs takes its
 * leader's pid, and moves at its next switch; a task that is dead but has not left
 * its CPU may find that its pid has a new owner, and leaves the slot alone then.
 *
 * How a reader knows that what it copied is one task's, although the object may be
 * written, freed and used again meanwhile:
 *
 *  1. the slot points to the object before and after: it is cleared before the
 *     object is freed;
 *  2. @seq is even and the same before and after: nobody wrote;
 *  3. @id is the same before and after: no new task with the old pid, object and @seq.
 */
#ifndef ARENASLAB_H
#define ARENASLAB_H

#define TASK_COMM_SIZE	16

struct task_obj {
	__u64 id;	/* never used twice */
	__u32 seq;	/* odd: is being written */
	__u32 pid;
	__u32 tgid;
	__u32 cpu;	/* where it ran last */
	__u64 switches;	/* how often it got a CPU */
	__u64 run_ns;	/* up to its last switch */
	__u64 since_ns;	/* running since, CLOCK_MONOTONIC; 0 if it is not */
	char comm[TASK_COMM_SIZE];
};

#define CHUNK_SLOTS	512
#define DIR_CHUNKS	8192
/* PID_MAX_LIMIT of 64-bit kernels */
_Static_assert(CHUNK_SLOTS * DIR_CHUNKS == 4 << 20, "every pid has a slot");
_Static_assert(sizeof(struct task_obj) == 64, "a size class, one cache line");

/* User-space addresses, which mean the same to programs; 0: none */
struct task_chunk {
	__u64 slot[CHUNK_SLOTS];
};

struct task_dir {
	__u64 chunk[DIR_CHUNKS];
};

struct task_stats {
	__u64 allocs;
	__u64 frees;
	__u64 failed;	/* bpf_arena_alloc() had nothing */
	__u64 missed;	/* no task storage; the next switch tries again */
};

#endif /* ARENASLAB_H */
