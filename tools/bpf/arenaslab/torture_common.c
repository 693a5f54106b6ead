// SPDX-License-Identifier: GPL-2.0
/* What all processes of `arenaslab torture` share, and small things. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "torture_tool.h"

/* What is wrong; the first ones are kept */
void blame(const char *fmt, ...)
{
	int i = __sync_fetch_and_add(&shared->nr_blames, 1);
	va_list args;

	if (i >= MAX_BLAMES)
		return;
	va_start(args, fmt);
	vsnprintf(shared->blame[i], sizeof(shared->blame[i]), fmt, args);
	va_end(args);
	fprintf(stderr, "wrong: %s\n", shared->blame[i]);
}

static void add_note(const char *fmt, va_list args)
{
	int i = __sync_fetch_and_add(&shared->nr_notes, 1);

	if (i < (int)ARRAY_SIZE(shared->note))
		vsnprintf(shared->note[i], sizeof(shared->note[i]), fmt, args);
}

void note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_note(fmt, args);
	va_end(args);
}

void cannot(int attack, const char *fmt, ...)
{
	va_list args;

	shared->impossible[attack] = true;
	va_start(args, fmt);
	add_note(fmt, args);
	va_end(args);
}

void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

/*
 * No CPU is plugged while a scheduler is attached or detached: with somebody who makes a
 * memory cgroup at the same time, three is a deadlock that has nothing to do with arenas.
 * mkdir() has cgroup_mutex and wants cpu_hotplug_lock, for a static key; the CPU has that
 * one and waits for a kworker's thread, whose fork wants scx_fork_rwsem; sched_ext has
 * that one and wants cgroup_mutex.
 */
void lock_plugs(void)
{
	while (__sync_lock_test_and_set(&shared->plug_lock, 1))
		usleep(1000);
}

void unlock_plugs(void)
{
	__sync_lock_release(&shared->plug_lock);
}

struct progress *new_progress(const char *fmt, ...)
{
	struct progress *p = &shared->progress[__sync_fetch_and_add(&shared->nr_progress, 1)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(p->name, sizeof(p->name), fmt, args);
	va_end(args);
	return p;
}

/* Sleep in pieces, so that the end of the run is noticed */
void doze(unsigned long msec)
{
	for (; msec > 20 && !shared->stop; msec -= 20)
		usleep(20000);
	usleep(msec % 20 * 1000);
}
