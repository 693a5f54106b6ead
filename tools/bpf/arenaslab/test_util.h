/* SPDX-License-Identifier: GPL-2.0 */
/* What `arenaslab torture` and `arenaslab fuzz` have in common. */
#ifndef TEST_UTIL_H
#define TEST_UTIL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include <unistd.h>

#define NS		1000000000ULL
#define COUNTERS	"/sys/kernel/debug/bpf_arena_slab"
#define SYSFS_SLAB	"/sys/kernel/slab"

__u64 now_ns(void);

/* SIGINT or SIGTERM came, once begin_test() was called */
extern volatile sig_atomic_t interrupted;

/* 0, or EXIT_FAILED if this is not root or pages have not @page bytes, which was said */
int check_machine(unsigned long page);
/*
 * Memory that all processes of a run share; NULL if there is none, or no debugfs, which was
 * said. Signals are caught from here on.
 */
void *begin_test(size_t size);
/* What a run begins with that was given no seed; 0 if there are no random numbers */
unsigned long random_seed(void);
/* How many times slower the kernel is; false if it is wrong, which was said */
bool option_slow(int letter, unsigned long *val);

/* 0 or a negative errno */
int write_text(const char *path, const char *text);
/* False if it cannot be read; @buf is a string then, too */
bool read_text(const char *path, char *buf, size_t size);
/* Is there bpf_timer? PREEMPT_RT refuses programs with one. */
bool has_timers(void);
/* -1 if there is none */
long long read_number(const char *path);

/*
 * What the kernel counts for the arena with that map: @line() gets each line of it.
 * False if there is no such arena (any more).
 */
bool read_counters(__u32 map_id, unsigned long long *arena_id, unsigned long long *pages,
		   void (*line)(const char *line, void *arg), void *arg);

/* xorshift64*, as the programs have it; a state is never 0 */
__u64 draw(__u64 *rng);
/* A state for one of many, by splitmix64 */
__u64 derive(__u64 seed, __u64 who);

/* The kernel's log from here on; false if it cannot be read */
bool log_watch(void);
/* The next line that tells of trouble; false if there is none yet */
bool log_trouble(char *text, size_t size);

/* Wait for something that takes its time, @slow times more of it on a slow kernel */
#define WAIT_SLOW(seconds, slow, cond)					\
	({								\
		__u64 __end = now_ns() + (seconds) * (slow) * NS;	\
		bool __ok;						\
									\
		while (!(__ok = (cond)) && now_ns() < __end)		\
			usleep(5000);					\
		__ok;							\
	})

#endif /* TEST_UTIL_H */
