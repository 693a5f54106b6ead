/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Large objects, and the worker's stack of slots, which is linked through the slots.
 *
 * Models arena_slots_set_large() with arena_alloc_pages() around it, arena_free_large(),
 * arena_push_slot(), and what arena_slab_worker() does with the stack:
 * arena_batch_unmap(), arena_batch_release(). All but the first and the last run in
 * any context, NMI included; here that is one more interleaving.
 *
 * Pages 0 and 1 are a large object, again and again; page 2 is scrubbed now and then.
 * Two contexts free the object, one page 1 as an ordinary page, and a process faults
 * on page 1. The worker drops the lock after each page, as after ARENA_STRETCH_MAX of them,
 * and somebody takes page 0 alone if it is free then.
 *
 * Invariants:
 *
 *  1. A large object is freed once, by the one who won its slot.
 *  2. The stack loses nobody, and has nobody twice.
 *  3. What is free in the range tree has neither a page nor a slot.
 *  4. A page of a large object is never freed as an ordinary one.
 *
 * Mutants:
 *	NO_CMPXCHG	a free reads the slot and then writes it
 *	PUSH_STORE	a push is a load and a store
 *	NEXT_LATE	the worker reads @next after the slot may be somebody else's
 *	QUEUE_FIRST	the worker is called before there is something to do
 *	NEVER_QUEUED	who finds the stack empty leaves calling the worker to the next one
 *	SLOTS_LATE	the slots are set after the lock has been dropped
 *	TAILS_KEPT	the worker leaves the tails as they are when it clears the PTEs
 *	PAUSE_EARLY	it drops the lock between the two
 */
#define END	3

mtype = { NONE, LARGE, TAIL, DYING, LARGE_DEAD, SCRUB, SLAB };

mtype slot[3] = NONE;
byte next[3];		/* in the same word */
bit rt[3] = 1;		/* free in the range tree */
bit page[3];		/* the kernel's PTE */
byte dead_slots = END;
bit spinlock, work;
byte done;

/* ghosts */
bit live, of_large[2];

inline lock()
{
	atomic { !spinlock -> spinlock = 1 }
}

inline check(p)
{
	assert(!rt[p] || (!page[p] && slot[p] == NONE))
}

inline unlock()
{
	atomic {
		check(0);
		check(1);
		check(2);
		spinlock = 0
	}
}

inline push(p, kind)
{
#ifdef QUEUE_FIRST
	work = 1;
#endif
	head = dead_slots;
	do
	:: d_step { slot[p] = kind; next[p] = head };
		if
#ifdef PUSH_STORE
		:: true -> dead_slots = p; break
#else
		:: atomic { dead_slots == head -> dead_slots = p }; break
		:: atomic { dead_slots != head -> head = dead_slots }
#endif
		fi
	od;
#ifndef QUEUE_FIRST
	/* Only who finds it empty */
	if
#ifdef NEVER_QUEUED
	:: head != END -> work = 1
#else
	:: head == END -> work = 1
#endif
	:: else
	fi;
#endif
	head = 0
}

inline set_slots()
{
	slot[1] = TAIL;
	slot[0] = LARGE
}

proctype alloc()
{
	byte i;

	do
	:: i < 2 ->
		i++;
		lock();
		if
		:: rt[0] && rt[1] ->
			d_step { rt[0] = 0; rt[1] = 0 };
			atomic {
				assert(!page[0] && !page[1] && !live);
				page[0] = 1;
				page[1] = 1;
				of_large[0] = 1;
				of_large[1] = 1;
				live = 1
			};
#ifdef SLOTS_LATE
			unlock();
			set_slots()
#else
			set_slots();
			unlock()
#endif
		:: else -> unlock()
		fi
	:: i == 2 -> break
	od;
	done++
}

/* arena_place_slab() meets a scratch page */
proctype scrub()
{
	byte head;

	lock();
	if
	:: rt[2] -> rt[2] = 0; push(2, SCRUB)
	:: else
	fi;
	unlock();
	done++
}

/* arena_free_object() */
proctype hostile()
{
	byte head;

	if
#ifdef NO_CMPXCHG
	:: slot[0] == LARGE -> slot[0] = DYING;
		atomic { assert(live); live = 0 };
#else
	:: atomic { slot[0] == LARGE ->
			slot[0] = DYING;
			assert(live);
			live = 0
		};
#endif
		push(0, LARGE_DEAD)
	/* freed already, or no object */
	:: else
	fi;
	done++
}

/* bpf_arena_free_pages(): ordinary pages only */
proctype free_pages()
{
	lock();
	if
	:: atomic { slot[1] == NONE && page[1] ->
			assert(!of_large[1]);
			page[1] = 0;
			rt[1] = 1
		}
	:: else
	fi;
	unlock();
	done++
}

/* arena_place_slab(), and the way back of that slab */
proctype slab()
{
	lock();
	if
	:: rt[0] ->
		assert(!page[0] && slot[0] == NONE);
		d_step { rt[0] = 0; page[0] = 1; slot[0] = SLAB };
		unlock();
		lock();
		assert(page[0] && slot[0] == SLAB);
		d_step { rt[0] = 1; page[0] = 0; slot[0] = NONE }
	:: else
	fi;
	unlock();
	done++
}

/* arena_vm_fault() */
proctype user()
{
	lock();
	if
	:: !page[1] && slot[1] != DYING && slot[1] != LARGE_DEAD && slot[1] != SCRUB ->
		d_step { rt[1] = 0; page[1] = 1 }
	:: else
	fi;
	unlock();
	done++
}

/* arena_batch_pause() */
inline pause()
{
	unlock();
	lock()
}

/* arena_place_release() */
inline release(q)
{
	if
	:: rt[q] = 1
	/* no memory in the range tree */
	:: again < 1 -> again++; push(q, SCRUB)
	fi
}

proctype worker()
{
	byte batch, p, n, head, again;

end:	do
	:: atomic { work -> work = 0 };
		atomic { batch = dead_slots; dead_slots = END };
		/* arena_batch_unmap() */
		lock();
		p = batch;
		do
		:: p == END -> break
		:: else ->
			n = next[p];
			assert(slot[p] == LARGE_DEAD || slot[p] == SCRUB);
			if
			:: slot[p] == LARGE_DEAD ->
				assert(page[0] && page[1]);
				d_step { page[0] = 0; of_large[0] = 0 };
				pause();
#if !defined(TAILS_KEPT) && !defined(PAUSE_EARLY)
				slot[1] = DYING;
#endif
				assert(page[1]);
				d_step { page[1] = 0; of_large[1] = 0 };
#ifdef PAUSE_EARLY
				pause();
				slot[1] = DYING
#endif
			:: else
			fi;
			p = n
		od;
		unlock();
		/* flush, zap; arena_batch_release() */
		lock();
		p = batch;
		do
		:: p == END -> break
		:: else ->
#ifndef NEXT_LATE
			n = next[p];
#endif
			assert(slot[p] == LARGE_DEAD || slot[p] == SCRUB);
			if
			:: slot[p] == LARGE_DEAD ->
				slot[0] = NONE;
				release(0);
				pause();
				slot[1] = NONE;
				release(1)
			:: else ->
				slot[p] = NONE;
				rt[p] = 1
			fi;
#ifdef NEXT_LATE
			n = next[p];
#endif
			p = n
		od;
		unlock();
		atomic { batch = 0; p = 0; n = 0 }
	od
}

/* All is quiet */
proctype quiescent()
{
	timeout;
	assert(done == 7 && dead_slots == END && !spinlock);
	assert(slot[0] == NONE || slot[0] == LARGE);
	assert((slot[1] == TAIL) == (slot[0] == LARGE));
	assert(slot[2] == NONE && rt[2]);
	assert(live == (slot[0] == LARGE))
}

init
{
	atomic {
		run alloc();
		run scrub();
		run hostile();
		run hostile();
		run free_pages();
		run user();
		run slab();
		run worker();
		run quiescent()
	}
}
