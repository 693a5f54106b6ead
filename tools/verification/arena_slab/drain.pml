/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Waiting for what others hold idle, when the arena is full.
 *
 * Models arena_wait_drained(), arena_want_drain(), arena_drain() and the end of
 * arena_slab_worker() in kernel/bpf/arena_slab.c. Three tasks wait, one worker drains.
 *
 * Two accesses of different words by one CPU come in either order, unless something
 * orders them: a task's load of drain_started and its store to want_drain, the
 * worker's stores to want_drain and to drain_started. The acquire and the release
 * there make it so that whoever saw that a drain has begun is not taken for
 * somebody who asked before it.
 *
 * Invariants:
 *
 *  1. Nobody waits for ever: here is no timeout, so a request that gets lost is a
 *     task that hangs. In the kernel it costs a second and a failed allocation.
 *  2. Who returns has had a drain that began after the request.
 *
 * Mutants:
 *	NO_RELEASE	drain_started may be seen before want_drain is reset
 *	NO_ACQUIRE	want_drain may be set before drain_started is read
 *	ANY_DRAIN	a drain that is under way is good enough
 *	CLEAR_LATE	want_drain is reset after the drain
 *	DONE_EARLY	the drain counts as done when it has begun
 *	TEST_FIRST	want_drain is read and then set
 */
bit want_drain, work;
byte started, finished;		/* drain_started, drain_done */

/* ghosts: drains that looked at the caches, and are through with them */
byte scans_begun, scans_done;

/* xchg() */
inline ask()
{
#ifdef TEST_FIRST
	others = want_drain;
	want_drain = 1
#else
	d_step { others = want_drain; want_drain = 1 }
#endif
}

proctype waiter()
{
	byte seq, before;
	bit others;

	before = scans_begun;
	if
#ifdef NO_ACQUIRE
	:: ask(); seq = started + 1
#endif
#ifdef ANY_DRAIN
	:: seq = finished + 1; ask()
#else
	:: seq = started + 1; ask()
#endif
	fi;
	/* irq_work_queue(), queue_work(): only by who is the first to ask */
	if
	:: !others -> work = 1
	:: else
	fi;
	finished >= seq;
	assert(scans_done > before)
}

proctype worker()
{
end:	do
	:: atomic { work -> work = 0 };
		if
		:: want_drain ->
			if
#ifdef NO_RELEASE
			:: started++; want_drain = 0
#endif
#ifdef CLEAR_LATE
			:: started++
#else
			:: want_drain = 0; started++
#endif
			fi;
#ifdef DONE_EARLY
			finished = started;
#endif
			scans_begun++;
			scans_done = scans_begun
#ifdef CLEAR_LATE
			;
			want_drain = 0
#endif
		:: else
		fi;
		finished = started
	od
}

init
{
	atomic {
		run worker();
		run waiter();
		run waiter();
		run waiter()
	}
}
