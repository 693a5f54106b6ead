/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What `arenaslab bench` and its programs share.
 *
 * An op is the number of a slot. An empty slot is filled, by an allocation; a full one is
 * emptied, and its object freed. So an array of ops is all that a work is:
 *
 *	0 0 0 0			a hot pair, again and again
 *	0 1 2 3 0 1 2 3		batches of four, freed in order
 *	0 1 2 3 3 2 1 0		in reverse
 *	0 1 2 .. 999 1000 1000	1000 live objects, and a pair on top of them
 *
 * bench_ops.c makes them. The programs here, and the kernel's peers behind debugfs
 * (CONFIG_BPF_ARENA_SLAB_BENCH), only execute them: all allocators do the same work.
 */
#ifndef BENCH_H
#define BENCH_H

/* A size is a constant of its program: the kernel makes a cache for what a call can ask for */
#define BENCH_SIZES(X, arg...)						\
	X(arg, 16) X(arg, 64) X(arg, 256) X(arg, 1024) X(arg, 4096) X(arg, 12288)

/* A program's context: what to do, and what came of it */
struct bench_run {
	__u64 ops;		/* array of u32, and */
	__u64 slots;		/* of pointers: where they are in the arena */
	__u32 slot_base;	/* of this CPU */
	__u32 from, to;		/* ops, or pairs of a hot loop */
	__u64 failed;
	__u64 begin_ns, end_ns;
};

/* What tasks came and went: a bit says that it came, the others whose it is */
#define BENCH_TRACE_OPS		(1 << 17)
#define BENCH_TRACE_TASKS	(1 << 15)

#endif /* BENCH_H */
