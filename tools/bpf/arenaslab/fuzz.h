/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What `arenaslab fuzz` and its BPF programs share: a box of operations.
 *
 *	user space	fills box.op[] from a seeded generator, runs a program
 *	the program	does one after the other, in the context that each asks for, and
 *			writes box.res[]
 *	user space	goes through both with a model of the arena (fuzz_model.c), which
 *			knows for every byte what it has to be and for every call which
 *			answers are right
 *
 * A pointer of an operation is a register, a place in the arena, or a number, and an
 * offset. What an allocation returns goes into a register, so sequences use what came
 * before, whatever the addresses are, and still mean something when operations are
 * dropped from them.
 *
 * There are two boxes, for two CPUs, and two arenas, each with an instance of the same
 * programs. The boxes are in a map that the instances share.
 */
#ifndef FUZZ_H
#define FUZZ_H

#define FUZZ_PAGE_SHIFT	12
#define FUZZ_PAGE	(1UL << FUZZ_PAGE_SHIFT)
#define FUZZ_MAX_OPS	128	/* of a box; powers of two, for the sake of the verifier */
#define FUZZ_REGS	32
#define FUZZ_BOXES	2
#define FUZZ_ARENAS	2

enum fuzz_code {
	/* What programs do */
	FUZZ_ALLOC,
	FUZZ_FREE,
	FUZZ_ALLOC_PAGES,
	FUZZ_FREE_PAGES,
	FUZZ_RESERVE,
	FUZZ_LOAD,
	FUZZ_STORE,
	FUZZ_ATOMIC,
	/* What processes do; run by user space */
	FUZZ_TOUCH,		/* load a byte by way of the mapping */
	FUZZ_POKE,		/* store one */
	FUZZ_REMAP,		/* munmap(), mmap() */
	FUZZ_DONTNEED,
	FUZZ_FORK,		/* a child maps the arena and loads a byte */
	FUZZ_MEM,		/* load a byte by way of /proc/self/mem */
	FUZZ_SHRINK,		/* all caches, by sysfs */
	FUZZ_DROP,		/* drop_caches */
	FUZZ_PLUG,		/* CPU 1 goes, and comes back */
	FUZZ_SYNC,		/* wait until what is deferred is done, compare all */
	FUZZ_NR_CODES,
};

#define FUZZ_FIRST_USER	FUZZ_TOUCH

/* Where programs do it */
enum fuzz_ctx {
	FUZZ_SLEEP,
	FUZZ_RCU,
	FUZZ_PREEMPT,		/* disabled */
	FUZZ_IRQ,		/* disabled */
	FUZZ_LOCK,		/* under bpf_spin_lock() */
	FUZZ_RES_LOCK,		/* under bpf_res_spin_lock() */
	/* In the middle of a later operation of the same batch */
	FUZZ_AT_RANGE,		/* fentry range_tree_clear(), under the arena's lock */
	FUZZ_AT_MAP,		/* fentry bpf_arena_slab_map(), a slab is about to grow */
	FUZZ_AT_FREE,		/* kprobe __slab_free() */
	FUZZ_AT_PAGE,		/* tracepoint mm_page_alloc */
	FUZZ_TIMER,		/* a callback of bpf_timer; two CPUs only */
	FUZZ_NR_CTX,
};

#define FUZZ_FIRST_AT	FUZZ_AT_RANGE

enum fuzz_base {
	FUZZ_REG,		/* what was returned before */
	FUZZ_OTHER,		/* the same of the other box */
	FUZZ_START,		/* the arena's first page */
	FUZZ_END,		/* behind its last one */
	FUZZ_FOREIGN,		/* the other arena's first page */
	FUZZ_ABS,		/* 0 */
	FUZZ_STACK,		/* addresses of the kernel's, low 32 bits and all */
	FUZZ_VALUE,
	FUZZ_NR_BASES,
};

struct fuzz_op {
	__u8 code;
	__u8 ctx;
	__u8 box;
	__u8 arena;
	__u8 dst;		/* register */
	__u8 base;
	__u8 reg;
	__u8 width;		/* of an access: 1, 2, 4, 8 */
	__u32 size;		/* bytes to allocate, or pages */
	__s32 node;
	__s64 off;
	__u64 high;		/* is xored into the pointer */
	__u64 val;		/* to store; of alloc_pages: flags */
};

struct fuzz_res {
	__u64 addr;		/* the pointer, resolved */
	__u64 ret;
	__u64 begin;		/* when it began and ended, in tickets */
	__u64 end;
	__u64 dirty;		/* the first word of a new object that is not zero, plus 1 */
	__u64 slabs;		/* that the arena had before */
	__u64 before[4];	/* rejected frees: no object, interior, not live, kernel's */
	__u64 after[4];
};

struct fuzz_box {
	__u64 regs[FUZZ_REGS];
	__u64 tickets;		/* of box 0: the last one that was drawn */
	__u64 owner;		/* the task that does operations, or 0 */
	__u32 inside;		/* the kernel is in the middle of one */
	__u32 nested;		/* an operation is done inside of another one */
	__u32 next_at;		/* the next one of those that wait for their moment */
	__u32 nr_at;
	__u8 at[FUZZ_MAX_OPS];	/* they are op[at[]] */
	struct fuzz_op op[FUZZ_MAX_OPS];
	struct fuzz_res res[FUZZ_MAX_OPS];
};

/* Argument of the programs: operations [first, first + nr) of a box */
struct fuzz_args {
	__u32 box;
	__u32 first;
	__u32 nr;
};

/* How much there is at an address that bpf_arena_alloc() returned for @size */
static inline __u32 fuzz_room(__u32 size)
{
	if (size > FUZZ_PAGE)
		return (size + FUZZ_PAGE - 1) & ~(FUZZ_PAGE - 1);
	if (size <= 128)
		return size <= 16 ? 16 : (size + 31) & ~31U;
	if (size <= 512)
		return size <= 192 ? 192 : size <= 256 ? 256 : 512;
	return size <= 1024 ? 1024 : size <= 2048 ? 2048 : 4096;
}

/* Of a new object so many words from the start of each page are looked at and filled */
static inline __u32 fuzz_fill_words(__u32 room)
{
	return room <= 4 * FUZZ_PAGE ? FUZZ_PAGE / 8 : 8;
}

/* No byte has its upper bit set, nor has any that is stored: one that has is the kernel's */
#define FUZZ_BYTES	0x7f7f7f7f7f7f7f7fULL
#define FUZZ_PATTERN(addr, i) \
	((((__u64)(__u32)(addr) + (i)) * 0x9e3779b97f4a7c15ULL) & FUZZ_BYTES)

#endif /* FUZZ_H */
