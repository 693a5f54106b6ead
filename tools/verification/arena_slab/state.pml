/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state word of an object: who may hand it out, who may take it back.
 *
 * Models slab_arena_make_live() of mm/slub_arena.c, arena_slab_claim() of
 * linux/slab_arena.h, slab_arena_get_link(), slab_arena_set_link(),
 * slab_arena_defer() and slab_arena_return_deferred() of mm/slab_arena.c, and what
 * they meet in mm/slub.c: get_from_partial_node(), __slab_free() and one sheaf.
 *
 * A slab of two objects. CPU 0 allocates, for a user who gives nothing back. CPU 1,
 * an NMI on top of CPU 0 and an irq_work are hostile: they free whatever index they
 * like. In the NMI no lock can be had, which is what a raw spinlock's holder on
 * PREEMPT_RT comes to as well: the winner defers.
 *
 * Invariants, checked by assertions:
 *
 *  1. inuse is the number of objects off the free list and never underflows: each
 *     object that was taken comes back once, each that comes back had been taken.
 *  2. The kernel writes to the object (zeroes it, links it) only while it is
 *     SLUB's. A slab is given up only without objects in use.
 *  3. An object has one user.
 *  4. What get_from_partial_node() reads a link of is free.
 *  5. FREE and FRESH are what was never handed out, FREED and CACHED what was: a
 *     double free is told from a free of nobody's object.
 *
 * Mutants:
 *	NO_CMPXCHG	a free reads the state and then writes it
 *	END_IS_LIVE	the encoding has DEFERRED with the end of the stack equal to LIVE
 *	STALE_STATE	state[] is as kmalloc() gave it, not all FRESH
 *	ZERO_AFTER_LIVE	the object is zeroed once it is its user's, or the release orders nothing
 *	INIT_BEFORE_CLAIM	a free writes to the object (init_on_free) before it has won
 *	FREED_LOST	a free link forgets that the object was handed out
 *	LINK_IN_OBJECT	the free link stands in the object, where programs write it
 */
#define N	2
#define NONE	9

/* index 0..1, 3 is the end; tags as in linux/slab_arena.h, two bits higher */
#define END		3
#define FREE		0
#define DEFERRED	4
#define FREED		8
#ifdef END_IS_LIVE
#define LIVE		(DEFERRED + END)
#else
#define LIVE		12
#endif
#define CACHED		13
#define FRESH		14
#define INDEX(s)	((s) & 3)
#define TAG(s)		((s) & 12)
#define IS_FREE(s)	(TAG(s) == FREE || TAG(s) == FREED)

byte state[N];		/* as->state[] */
byte freelist = 0;	/* with inuse the word of cmpxchg_double() */
byte inuse = 0;
bit list_lock;
byte sheaf = NONE;	/* CPU 1's */
byte defer_head = END;
bit irq_work, nmi;
byte done;

/* ghosts */
bit taken[N];		/* off the free list */
bit user[N];		/* its user's */
bit handed_out[N];	/* has had a user */
bit given_up;		/* the page is the arena's again, and soon somebody else's */

inline slub_write(idx)
{
	assert(taken[idx] && !user[idx] && !given_up)
}

inline lock()
{
	atomic { !list_lock -> list_lock = 1 }
}

/* get_from_partial_node(): @obj is NONE if there is none */
inline slub_alloc(obj)
{
	lock();
	if
	:: given_up || freelist == END -> obj = NONE
	:: else ->
		do
		:: d_step { oldf = freelist; oldi = inuse };
#ifdef LINK_IN_OBJECT
			if
			:: next = 0
			:: next = 1
			:: next = END
			fi;
#else
			/* Others may push meanwhile, but who takes needs the lock */
			d_step { assert(IS_FREE(state[oldf])); next = INDEX(state[oldf]) };
#endif
			if
			:: atomic { freelist == oldf && inuse == oldi ->
					freelist = next;
					inuse++;
					assert(!taken[oldf] && !user[oldf]);
					taken[oldf] = 1
				};
				break
			:: atomic { freelist != oldf || inuse != oldi -> skip }
			fi
		od;
		obj = oldf
	fi;
	list_lock = 0
}

/* __slab_free() */
inline slub_free(idx)
{
	do
	:: d_step { oldf = freelist; oldi = inuse };
		/* in a slab that was given up there would be somebody else's memory */
		slub_write(idx);
		/* slab_arena_set_link() reads, and then writes */
		fresh = (TAG(state[idx]) == FREE || state[idx] == FRESH);
		assert(fresh == !handed_out[idx]);
#ifdef FREED_LOST
		state[idx] = FREE + oldf;
#else
		state[idx] = (fresh -> FREE : FREED) + oldf;
#endif
		locked = 0;
		if
		:: oldi == 1 || oldf == END -> lock(); locked = 1
		:: else
		fi;
		if
		:: atomic { freelist == oldf && inuse == oldi ->
				assert(inuse > 0 && taken[idx]);
				freelist = idx;
				inuse--;
				taken[idx] = 0
			};
			break
		:: atomic { freelist != oldf || inuse != oldi -> list_lock = (locked -> 0 : list_lock) }
		fi
	od;
	if
	:: locked && inuse == 0 && !given_up ->
		/* enough empty slabs on the partial list, or not */
		if
		:: given_up = 1
		:: skip
		fi
	:: else
	fi;
	list_lock = (locked -> 0 : list_lock)
}

inline arena_alloc(idx)
{
#ifdef ZERO_AFTER_LIVE
	atomic {
		assert(INDEX(state[idx]) <= END);
		state[idx] = LIVE;
		user[idx] = 1;
		handed_out[idx] = 1
	};
	/* written by the kernel's address: it must not be anybody's page by now */
	assert(taken[idx] && !given_up)
#else
	slub_write(idx);
	atomic {
		/* the VM_WARN_ON_ONCE() there */
		assert(state[idx] != LIVE && !user[idx]);
		state[idx] = LIVE;
		user[idx] = 1;
		handed_out[idx] = 1
	}
#endif
}

/* arena_slab_claim(): the slab may be any, RCU keeps the array */
inline claim(idx, won)
{
#ifdef INIT_BEFORE_CLAIM
	assert(!given_up);
#endif
#ifdef NO_CMPXCHG
	won = (state[idx] == LIVE);
	if
	:: won -> state[idx] = CACHED; won = 1
	:: else
	fi;
	d_step {
		if
		:: won -> assert(user[idx]); user[idx] = 0
		:: else
		fi
	}
#else
	d_step {
		won = (state[idx] == LIVE);
		if
		:: won ->
			assert(user[idx]);
			user[idx] = 0;
			state[idx] = CACHED
		:: else
		fi
	}
#endif
}

inline defer(idx)
{
	head = defer_head;
	do
	:: state[idx] = DEFERRED + head;
		if
		:: atomic { defer_head == head -> defer_head = idx }; break
		:: atomic { defer_head != head -> head = defer_head }
		fi
	od;
	if
	:: head == END -> irq_work = 1
	:: else
	fi
}

proctype cpu0() provided (!nmi)
{
	byte obj, oldf, oldi, next;
	byte i;

	do
	:: i < 3 ->
		i++;
		slub_alloc(obj);
		if
		:: obj != NONE -> arena_alloc(obj)
		:: else
		fi
	:: i == 3 -> break
	od;
	done++
}

proctype cpu1()
{
	byte idx, oldf, oldi, obj;
	bit won, locked, fresh;
	byte i;

	do
	:: i < 2 ->
		i++;
		if
		:: idx = 0
		:: idx = 1
		fi;
		claim(idx, won);
		if
		:: won && sheaf == NONE -> sheaf = idx
		:: won -> slub_free(idx)
		/* or take what the sheaf has */
		:: !won && sheaf != NONE -> obj = sheaf; sheaf = NONE; arena_alloc(obj)
		:: !won
		fi
	:: i == 2 -> break
	od;
	done++
}

proctype nmi_on_cpu0()
{
	byte idx, head;
	bit won;

	nmi = 1;
	if
	:: idx = 0
	:: idx = 1
	fi;
	claim(idx, won);
	if
	:: won -> defer(idx)
	:: else
	fi;
	nmi = 0;
	done++
}

/* slab_arena_return_deferred(), on CPU 1 or another */
proctype deferred()
{
	byte idx, link, oldf, oldi;
	bit locked, won, fresh;

end:	do
	:: atomic { irq_work -> irq_work = 0 };
		atomic { idx = defer_head; defer_head = END };
		do
		:: idx != END ->
			link = INDEX(state[idx]);
			state[idx] = CACHED;
			slub_free(idx);
			idx = link
		:: else -> break
		od
	od
}

/* All is quiet: the count is right, and nothing was lost */
proctype quiescent()
{
	timeout;
	assert(done == 3 && defer_head == END && !list_lock);
	assert(inuse == taken[0] + taken[1]);
	assert(!given_up || inuse == 0);
	assert(!user[0] || state[0] == LIVE);
	assert(!user[1] || state[1] == LIVE)
}

init
{
	d_step {
#ifdef STALE_STATE
		/* Object 0 was handed out with its slab; its state is what was there */
		state[0] = LIVE;
		state[1] = FREE + END;
		freelist = 1;
		inuse = 1;
		taken[0] = 1
#else
		state[0] = FREE + 1;
		state[1] = FREE + END
#endif
	}
	atomic {
		run cpu0();
		run cpu1();
		run nmi_on_cpu0();
		run deferred();
		run quiescent()
	}
}
