/* SPDX-License-Identifier: GPL-2.0 */
/* The runner: what tests in user space get from it, and have to give it. */
#ifndef ARENA_SLAB_H
#define ARENA_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "report.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a test in user space ---- */

/*
 * Returns 0 if it passed. FAIL() prints a diagnostic line and returns 1, SKIP()
 * gives its reason and returns TEST_SKIPPED.
 */
struct test {
	const char *name;
	const char *desc;
	int (*run)(void);
};

#define TEST_SKIPPED	4
#define FAIL(fmt, ...)	fail(__FILE__, __LINE__, fmt, ##__VA_ARGS__)
#define SKIP(fmt, ...)	skip(fmt, ##__VA_ARGS__)
#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			return FAIL("not true: %s", #cond);		\
	} while (0)
#define CHECK_EQ(a, b)							\
	do {								\
		long long __a = (long long)(a), __b = (long long)(b);	\
									\
		if (__a != __b)						\
			return FAIL("%s is %lld, not %lld", #a, __a, __b); \
	} while (0)

int fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Lists that end with an entry without a name; see arena_slab.c */
extern const struct test refused_tests[];
extern const struct test traced_tests[];
extern const struct test bpftool_tests[];
extern const struct test example_tests[];
extern const struct test share_tests[];
extern const struct test fault_tests[];
extern const struct test mapping_tests[];
extern const struct test context_tests[];
extern const struct test growth_tests[];
extern const struct test teardown_tests[];
extern const struct test sched_tests[];
extern const struct test inject_tests[];
extern const struct test hostile_tests[];

/* ---- BPF objects ---- */

/* A file of progs/, built into the runner */
struct image {
	const char *name;
	const char *start;
	const char *end;
};

/* Hidden: arm64's assembler makes one GOT entry of both, the start of the section */
#define INCLUDE_IMAGE(name, file)					\
	extern const char name##_start[] __attribute__((visibility("hidden"))); \
	extern const char name##_end[] __attribute__((visibility("hidden"))); \
	asm(".pushsection .rodata\n.balign 8\n" #name "_start:\n"	\
	    ".incbin \"" file "\"\n" #name "_end:\n.popsection\n");

extern const struct image images[];

/* An object with only the programs that are named, up to NULL, opened or loaded */
struct bpf_object *open_image(const char *name, const char *const *progs);
struct bpf_object *load_image(const char *name, const char *const *progs);
#define PROGS(...) ((const char *const []){ __VA_ARGS__, NULL })

/* A variable in .bss or .data of an object, NULL if there is none */
void *find_var(struct bpf_object *obj, const char *name);
#define VAR(obj, type, name) (*(type *)find_var(obj, name))

/* Run a SEC("syscall") program; its return value, or a negative error */
int run_prog(struct bpf_object *obj, const char *name);
/* What it wrote to its error stream so far */
void read_stream(struct bpf_object *obj, const char *prog, char *buf, size_t size);

int run_bpf_test(const struct image *image, const char *prog);
int run_refused_test(const struct image *image, const char *prog);
/* Call @fn for the programs of a file that are tests: what, name, description */
void visit_bpf_tests(void (*fn)(const struct image *image, const char *prog, const char *desc));

/*
 * What reading @size bytes of whole words at @addr ends in: a signal, whose address
 * is in @fault_addr, or 0 with a copy in @buf.
 */
int probe(__u64 addr, void *buf, size_t size, __u64 *fault_addr);

/* ---- what the kernel says ---- */

struct arena_counters {
	bool found;
	unsigned long long id;
	unsigned long long pages;
	long long no_object, interior, not_live, kernel_owned;
	long long slabs_mapped, slabs_freed;
	long long large_allocs, large_frees;
	long long allocs, frees;		/* of programs' caches */
	int nr_caches;
};

/* Of the arena with that map id, from /sys/kernel/debug/bpf_arena_slab */
int read_counters(__u32 map_id, struct arena_counters *c);
__u32 arena_id(struct bpf_object *obj);
/* Does /sys/kernel/slab have a cache whose name begins so? */
bool slab_cache_exists(const char *prefix);
/* By sysfs, those of programs; how many */
unsigned int shrink_arena_caches(void);
/* This thread; anywhere if @cpu is negative */
int run_on_cpu(int cpu);
/* What /sys/kernel/sched_ext/state says, or begins with; not if there is none */
bool scheduler_is(const char *state);
/* To a file of /proc or /sys; 0 or a negative error */
int write_text(const char *path, const char *text);
/* The number in a file, or the one behind @key in it; -1 if there is none */
long long read_number(const char *path, const char *key);

/* ---- a memory cgroup ---- */

#define PAGE	sysconf(_SC_PAGESIZE)
#define GROUP	"/sys/fs/cgroup/arena_slab"
/* What it may still pay for when all is gone: a stock of pages a CPU */
#define REST	((long long)(256 * PAGE))

/* What it pays for, in bytes; -1 if there is no such group or controller */
long long charged(void);
/*
 * @fn in a child in a new group, which may have @limit bytes, or all if that is 0.
 * Fails too if anything but REST stays charged, or if the group stays.
 */
int in_group(long long limit, int (*fn)(void));
/*
 * A CPU keeps a reference to a group in its stock of charge, and if it has used that
 * up, nothing drains it: a group that is gone stays until others need the place.
 */
int renew_stocks(void);

/* Start to watch the kernel's log; then, what it said since then that is ours or bad */
void watch_kernel_log(void);
bool check_kernel_log(bool quiet);
/* A line with this in it is what the test is about */
void expect_kernel_log(const char *text);
bool kernel_log_has(const char *text);

/* Wait until @cond is true, for at most so many seconds */
#define WAIT_FOR(seconds, cond)						\
	({								\
		bool __ok = false;					\
									\
		for (int __i = 0; __i < (seconds) * 100 && !__ok; __i++) { \
			__ok = (cond);					\
			if (!__ok)					\
				usleep(10000);				\
		}							\
		__ok;							\
	})

#endif /* ARENA_SLAB_H */
