/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The end of an arena: irq_work, work item, and the memory that both stand in.
 *
 * Models arena_slabs_destroy(), arena_slab_irq() and the outline of
 * arena_slab_worker() in kernel/bpf/arena_slab.c, with who gives slabs up while
 * caches are destroyed: the destroyer, and a work item of flush_all_cpus_locked()
 * on another CPU. Before, a program has freed an object and found the arena full.
 *
 * Invariants:
 *
 *  1. struct arena_slabs is not touched once it may be freed.
 *  2. No slab is left over: the WARN_ON_ONCE() at the end of arena_slabs_destroy().
 *  3. No drain looks at the list of caches while they are destroyed.
 *
 * Mutants:
 *	NO_GOING	the worker does not know that the arena goes
 *	NO_FIRST_FLUSH	caches are destroyed while a run may drain
 *	NO_LAST_FLUSH	no run is waited for after that
 *	NO_IRQ_SYNC	flush_work() alone: the irq_work queues the work behind it
 *	SYNC_ONLY	irq_work_sync() without a grace period after it
 */
byte dead;			/* sl->dead */
byte slots;			/* sl->dead_slots, its length */
bit going, want_drain = 1;
bit work_pending;
byte runs_begun, runs_done;
bit flusher_done;

/* ghosts */
bit caches_going, freed;

inline touch()
{
	assert(!freed)
}

/* queue_work() */
inline irq_work_func()
{
	atomic {
		touch();
		work_pending = 1
	}
}

#include "irq_work.inc"

proctype irq(byte cpu)
{
end:	do
	:: irq_work_run(cpu)
	od
}

/* bpf_arena_slab_unmap() */
inline release(cpu)
{
	touch();
	dead++;
	irq_work_queue(cpu)
}

proctype worker()
{
	byte slabs, pushed, tries;
	bit drain;

end:	do
	:: atomic { work_pending -> work_pending = 0; runs_begun++ };
		touch();
		drain = want_drain && !going;
		if
		:: drain -> want_drain = 0; assert(!caches_going)
		:: else
		fi;
		atomic { slabs = dead; dead = 0; pushed = slots; slots = 0 };
		if
		:: slabs || pushed ->
			/* arena_batch_release(): the range tree may have no memory, twice */
			if
#ifdef NO_GOING
			:: tries < 2 ->
#else
			:: tries < 2 && !going ->
#endif
				touch();
				tries++;
				slots++;
				irq_work_queue(1)
			:: skip
			fi
		:: else
		fi;
		touch();
		atomic { runs_done++; slabs = 0; pushed = 0; drain = 0 }
	od
}

/* flush_work(): for the run that is queued, or else for the one that is on */
inline flush_work()
{
	d_step { target = runs_begun + work_pending };
	runs_done >= target
}

proctype flusher(byte cpu)
{
	release(cpu);
	flusher_done = 1
}

proctype destroy()
{
	bit nr0, nr1;
	byte target;

#ifndef NO_GOING
	going = 1;
#endif
#ifndef NO_FIRST_FLUSH
#ifndef NO_IRQ_SYNC
	irq_work_sync();
#ifndef SYNC_ONLY
	synchronize_rcu();
#endif
#endif
	flush_work();
#endif
	/* arena_cache_destroy() */
	caches_going = 1;
	run flusher(1);
	release(0);
	flusher_done;
#ifndef NO_LAST_FLUSH
#ifndef NO_IRQ_SYNC
	irq_work_sync();
#ifndef SYNC_ONLY
	synchronize_rcu();
#endif
#endif
	flush_work();
#endif
	assert(dead == 0);
	freed = 1
}

init
{
	atomic {
		run irq(0);
		run irq(1);
		run worker()
	};
	/* A program's last acts; then it is gone */
	release(0);
	run destroy()
}
