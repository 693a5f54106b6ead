/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For every BPF side of the tests: the arena, the kfuncs, checks.
 *
 * A file sets ARENA_PAGES, and ARENA_FLAGS if it wants more than BPF_F_MMAPABLE,
 * before it includes this one. With ARENA_FIXED the arena is at an address whose
 * low half is 0, so that its first page is the one that must not be used.
 */
#ifndef COMMON_BPF_H
#define COMMON_BPF_H

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/arena_alloc.bpf.h>
#include "../report.h"

#define __maybe_unused __attribute__((unused))
#define __tag(s) __attribute__((btf_decl_tag(s)))

/*
 * TEST(name, "one sentence") { ... return 0; }
 *
 * The runner finds it by its name and runs it once. In front of it may stand
 *
 *	STDERR("text")	the program's error stream has this in it; without any, the
 *			stream has to stay empty
 *	NO_STDERR("glob") it has not
 *
 * each on a line of its own: traces and verifier logs quote lines of source.
 */
#define TEST(name, text) SEC("syscall") __tag("desc:" text) int test_##name(void *ctx)
#define STDERR(text) __tag("stderr:" text)
#define NO_STDERR(glob) __tag("nostderr:*" glob "*")
/* The verifier compares states wherever it can, not where it thinks that it is worth it */
#define STATE_FREQ __tag("state_freq:")
/* A program that the verifier has to refuse, and a part of what it says */
#define REFUSED(text) __tag("log:" text)

/*
 * The number of the line is the return value: distinct, and leads to the check. Lines
 * of this file are 1000 higher.
 */
#define CHECK_OP(a, op, b)						\
	do {								\
		__u64 __a = (__u64)(a), __b = (__u64)(b);		\
									\
		if (!(__a op __b)) {					\
			report.left = __a;				\
			report.right = __b;				\
			return LINE_BASE + __LINE__;			\
		}							\
	} while (0)
#define CHECK_EQ(a, b)	CHECK_OP(a, ==, b)
#define CHECK(cond)	CHECK_OP(!!(cond), ==, 1)
/* For a function that returns the line of its own failed check, or 0 */
#define TRY(call)							\
	do {								\
		int __err = (call);					\
									\
		if (__err)						\
			return __err;					\
	} while (0)

extern void __arena *bpf_arena_alloc_pages(void *p__map, void __arena *addr__ign, u32 page_cnt,
					   int node_id, u64 flags) __weak __ksym;
extern void bpf_arena_free_pages(void *p__map, void __arena *ptr__ign, u32 page_cnt) __weak __ksym;

#ifdef ARENA_PAGES
struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
#ifdef ARENA_FLAGS
	__uint(map_flags, BPF_F_MMAPABLE | (ARENA_FLAGS));
#else
	__uint(map_flags, BPF_F_MMAPABLE);
#endif
	__uint(max_entries, ARENA_PAGES);
#ifdef ARENA_FIXED
#ifdef __TARGET_ARCH_arm64
	__ulong(map_extra, 1ull << 32);
#else
	__ulong(map_extra, 1ull << 44);
#endif
#endif
} arena SEC(".maps");

#define alloc(size)	((u8 __arena *)bpf_arena_alloc(&arena, (size)))
#define release(ptr)	bpf_arena_free(&arena, (void __arena *)(ptr))
#define alloc_page_at(addr)						\
	bpf_arena_alloc_pages(&arena, (void __arena *)(addr), 1, NUMA_NO_NODE, 0)
/* A program has the arena only if it refers to the map somewhere */
#define touch_arena()	asm volatile("" :: "r"(&arena))
#endif

#define PAGE_SIZE	((u32)__PAGE_SIZE)
#define NUMA_NO_NODE	(-1)
#define MSEC		1000000ull
#define SEC_NS		(1000 * MSEC)

struct test_report report SEC(".data.report");

#define LINE_BASE 1000

/* Every byte of it, and nothing else */
static __noinline __maybe_unused int fill(u8 __arena *p, u32 size, u64 seed)
{
	u32 words = size / 8;
	u32 i;

	bpf_for(i, 0, words)
		((u64 __arena *)p)[i] = seed + i;
	bpf_for(i, words * 8, size)
		p[i] = seed + i;
	return 0;
}

static __noinline __maybe_unused int verify(u8 __arena *p, u32 size, u64 seed)
{
	u32 words = size / 8;
	u32 i;

	bpf_for(i, 0, words)
		CHECK_EQ(((u64 __arena *)p)[i], seed + i);
	bpf_for(i, words * 8, size)
		CHECK_EQ(p[i], (u8)(seed + i));
	return 0;
}

static __noinline __maybe_unused int verify_zero(u8 __arena *p, u32 size)
{
	u32 words = size / 8;
	u32 i;

	bpf_for(i, 0, words)
		CHECK_EQ(((u64 __arena *)p)[i], 0);
	bpf_for(i, words * 8, size)
		CHECK_EQ(p[i], 0);
	return 0;
}

#undef LINE_BASE
#define LINE_BASE 0

/* What bpf_arena_alloc() makes of a size of up to a page */
static __noinline __maybe_unused u32 class_size(u32 size)
{
	if (size <= 16)
		return 16;
	if (size <= 32)
		return 32;
	if (size <= 64)
		return 64;
	if (size <= 96)
		return 96;
	if (size <= 128)
		return 128;
	if (size <= 192)
		return 192;
	if (size <= 256)
		return 256;
	if (size <= 512)
		return 512;
	if (size <= 1024)
		return 1024;
	return size <= 2048 ? 2048 : 4096;
}

char LICENSE[] SEC("license") = "GPL";

#endif /* COMMON_BPF_H */
