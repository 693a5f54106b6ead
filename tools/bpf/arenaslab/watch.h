/* SPDX-License-Identifier: GPL-2.0 */
/* What `arenaslab watch` and its programs share. */
#ifndef WATCH_H
#define WATCH_H

#define WATCH_COMM_SIZE		16
#define WATCH_NAME_SIZE		32
/* The program that frees is near the top: behind ours and the tracepoint's functions */
#define WATCH_FRAMES		16

enum watch_type {
	WATCH_BAD_FREE,
	WATCH_KERNEL_FAULT,
};

struct watch_event {
	__u64 ns;		/* CLOCK_MONOTONIC */
	__u64 addr;
	__u64 object;		/* 0: none */
	__u64 ip;		/* of a fault */
	__u64 frames[WATCH_FRAMES];	/* 0 behind the last one */
	__u32 type;
	__u32 map_id;
	__u32 kind;		/* enum arena_bad_free; of a fault: it stored */
	__u32 size;
	__u32 pid;
	__u32 tid;
	__u32 cpu;
	__u32 pad;
	char comm[WATCH_COMM_SIZE];
	char cache[WATCH_NAME_SIZE];
};

#endif /* WATCH_H */
