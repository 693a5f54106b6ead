/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What `arenaslab top`, `stat` and `dump` and the programs that look into the kernel for
 * them (inspect.bpf.c) share.
 */
#ifndef INSPECT_H
#define INSPECT_H

#define MAP_NAME_SIZE		16
#define CACHE_NAME_SIZE		64
#define GROUP_NAME_SIZE		64
#define HOLDER_NAME_SIZE	16
/* More than the kernel has, and checked against its enum arena_counter */
#define MAX_COUNTERS		24

/* One for each arena with slab caches; not counted is all ones */
struct arena_rec {
	__u64 arena;		/* struct bpf_arena */
	__u64 user_start;
	__u64 kern_start;	/* of the object with (u32)uaddr == 0 */
	__u64 id;		/* the one in "arena:<id>:<size>" */
	__u64 pages;
	__u64 max_pages;
	__u64 faults;
	__u64 counters[MAX_COUNTERS];
	__u32 map_id;
	__u32 pad;
	char name[MAP_NAME_SIZE];
	char memcg[GROUP_NAME_SIZE];
};

/* One for each cache in an arena */
struct cache_rec {
	__u64 cache;		/* struct bpf_arena_cache */
	__u64 arena;
	__u64 allocs;
	__u64 frees;
	__u32 size;		/* distance of two objects */
	__u32 slabs;		/* those included whose page is on its way out */
	__u32 of_program;
	__u32 pad;
	char name[CACHE_NAME_SIZE];
};

/* A file descriptor of an arena */
struct holder_rec {
	__u32 map_id;
	__u32 pid;
	char comm[HOLDER_NAME_SIZE];
};

/* Objects that find_objects() finds in one run: as many as fit on a page of 64 KiB */
#define MAX_FOUND		8192

struct found {
	__u64 addr;		/* as user space has it */
	__u64 cache;		/* 0: a large object */
	__u32 size;
	__u32 pad;
};

/* Bytes that read_object() reads in one run */
#define MAX_READ		65536

enum read_status {
	READ_NOTHING,		/* the program did not run */
	READ_DONE,
	READ_GONE,		/* no live object any more */
	READ_FAILED,		/* a page of it is not there */
};

#endif /* INSPECT_H */
