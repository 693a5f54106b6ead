/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Frees after a grace period: from any context to the callback, and its end.
 *
 * Models slab_arena_free_rcu(), slab_arena_rcu_work(), slab_arena_rcu_start() and
 * slab_arena_rcu_done() of mm/slab_arena.c, and the first steps of
 * bpf_arena_cache_destroy() in kernel/bpf/arena_slab.c.
 *
 * Slab 0 has the objects 0 and 1 in use, slab 1 the object 2. Three contexts free one
 * each, a reader looks at one of them, inside of RCU. The irq_work runs on either CPU.
 * There is one rcu_head. The cache is destroyed when all is back, or in the middle.
 *
 * Invariants:
 *
 *  1. An object comes back after a grace period that began when it had been freed: no
 *     reader who can have found it before is left.
 *  2. Each comes back, once, and nobody has to free another one for that.
 *  3. A slab is touched only while an object of it is in use, and is in one list at
 *     most. The rcu_head is queued once at a time.
 *  4. Nothing runs any more when the cache is taken apart.
 *
 * Mutants:
 *	ONE_STACK	the callback takes what was pushed since its grace period began, too
 *	START_TAKES	a callback is queued first, and then the slabs are collected for it
 *	NO_RECHECK	who is not busy any more does not look at the list once more
 *	NOT_BUSY	each irq_work queues the rcu_head
 *	ADD_ALWAYS	every free puts the slab on the list
 *	MORE_LOST	a slab with newer objects is not kept for the next grace period
 *	TOUCH_LATE	the callback looks at the slab after its last object
 *	NO_GRACE	destroy does not wait for those who have not seen rcu_stop
 *	NO_BARRIER	nor for the callback that they may have queued
 */
#define END	3
#define NIL	3

byte link[3];		/* as->state[] */
byte new[2] = END;	/* as->rcu: both in one word */
byte wait[2] = END;
byte node[2];		/* as->rcu_next */
byte rcu_new = NIL;	/* c->rcu_new */
byte rcu_wait = NIL;	/* c->rcu_wait */
bit rcu_busy, rcu_stop;
bit queued;		/* c->rcu is */
bit in_cb;
byte queued_nr, done_nr;	/* callbacks */
byte pushers;
byte gp_new;		/* object that the reader holds, when the grace period begins */

/* ghosts */
bit used[3] = 1;
byte inuse[2];
bit given_up[2];
bit listed[2];		/* in rcu_new, or of rcu_wait */
bit destroyed;
bit freed[3];		/* handed to slab_arena_free_rcu(): no new reader finds it */
byte held = NIL;	/* what the reader looks at */

#define SLAB(obj)	((obj) / 2)

inline touch(as)
{
	assert(as < 2 && !given_up[as] && !destroyed)
}

/* slab_arena_free() */
inline slub_free(obj)
{
	atomic {
		touch(SLAB(obj));
		assert(used[obj]);
		assert(held != obj);
		used[obj] = 0;
		inuse[SLAB(obj)]--;
		if
		:: inuse[SLAB(obj)] == 0 ->
			assert(!listed[SLAB(obj)]);
			given_up[SLAB(obj)] = 1
		:: else
		fi
	}
}

/* slab_arena_rcu_next(): @idx and @more are its results */
inline rcu_next(as)
{
	atomic {
		touch(as);
		idx = wait[as];
		wait[as] = new[as];
		new[as] = END;
		more = (wait[as] != END);
		listed[as] = more
	}
}

inline call_rcu()
{
	atomic {
		assert(!queued && !destroyed);
		queued = 1;
		queued_nr++;
		gp_new = held	/* the grace period waits for this reader only */
	}
}

inline keep(as)
{
	node[as] = rcu_wait;
	rcu_wait = as
}

inline rcu_start()
{
	do
	:: true ->
#ifdef START_TAKES
		if
		:: rcu_new != NIL && !rcu_stop -> call_rcu()
		:: else
		fi;
#endif
		/* takes the list */
		atomic { as = rcu_new; rcu_new = NIL };
		do
		:: as == NIL -> break
		:: else ->
			next = node[as];
			rcu_next(as);
			keep(as);
			as = next
		od;
#ifdef START_TAKES
		if
		:: queued -> break
		:: else
		fi;
#endif
		if
		:: rcu_wait != NIL && !rcu_stop -> call_rcu(); break
		:: else
		fi;
		rcu_busy = 0;
#ifdef NO_RECHECK
		break;
#endif
		if
		:: rcu_new == NIL -> break
		:: else
		fi;
		if
		:: rcu_stop -> break
		:: else
		fi;
		if
		:: atomic { !rcu_busy -> rcu_busy = 1 }
		:: atomic { rcu_busy -> break }
		fi
	od;
	atomic { as = 0; next = 0; idx = 0; more = 0 }
}

inline free_stack()
{
	do
	:: idx == END -> break
	:: else ->
		l = link[idx];
		slub_free(idx);
		idx = l
	od
}

/* slab_arena_rcu_work() */
inline irq_work_func()
{
	if
	:: rcu_stop
	:: else ->
		if
#ifdef NOT_BUSY
		:: rcu_start()
#else
		:: atomic { !rcu_busy -> rcu_busy = 1 }; rcu_start()
		:: atomic { rcu_busy -> skip }
#endif
		fi
	fi
}

#include "irq_work.inc"

proctype irq(byte cpu)
{
	byte as, next, idx;
	bit more;

end:	do
	:: irq_work_run(cpu)
	od
}

/* slab_arena_rcu_done(), by whoever runs callbacks; irqs off or not, inside of RCU */
proctype callback()
{
	byte as, next, idx, l, list;
	bit more;

end:	do
	:: atomic {
		queued && (gp_new == NIL || held != gp_new) ->
		queued = 0;
		in_cb = 1
	};
		assert(!destroyed);
		list = rcu_wait;
		rcu_wait = NIL;
		if
		:: rcu_stop -> list = NIL
		:: else
		fi;
		do
		:: list == NIL -> break
		:: else ->
			as = list;
			list = node[as];
			rcu_next(as);
			if
#ifdef MORE_LOST
			:: false
#else
			:: more -> keep(as)
#endif
			:: else
			fi;
			free_stack();
#ifdef ONE_STACK
			/* all that was pushed, as if it had waited */
			atomic {
				if
				:: more -> idx = wait[as]; wait[as] = END
				:: else
				fi
			};
			free_stack();
#endif
#ifdef TOUCH_LATE
			touch(as);
#endif
		od;
		rcu_start();
		atomic { in_cb = 0; done_nr++; l = 0; list = 0 }
	od
}

/* slab_arena_free_rcu() */
proctype push(byte cpu, obj)
{
	byte oldn, oldw, head;

	freed[obj] = 1;
	touch(SLAB(obj));
	atomic { oldn = new[SLAB(obj)]; oldw = wait[SLAB(obj)] };
	do
	:: link[obj] = oldn;
		if
		:: atomic {
			new[SLAB(obj)] == oldn && wait[SLAB(obj)] == oldw ->
			touch(SLAB(obj));
			new[SLAB(obj)] = obj;
#ifndef ADD_ALWAYS
			if
			:: oldn == END && oldw == END ->
#endif
				assert(!listed[SLAB(obj)]);
				listed[SLAB(obj)] = 1
#ifndef ADD_ALWAYS
			:: else
			fi
#endif
		};
			break
		:: atomic {
			new[SLAB(obj)] != oldn || wait[SLAB(obj)] != oldw ->
			oldn = new[SLAB(obj)];
			oldw = wait[SLAB(obj)]
		}
		fi
	od;
	if
#ifdef ADD_ALWAYS
	:: true ->
#else
	:: oldn == END && oldw == END ->
#endif
		/* arena_list_add() */
		head = rcu_new;
		do
		:: node[SLAB(obj)] = head;
			if
			:: atomic { rcu_new == head -> rcu_new = SLAB(obj) }; break
			:: atomic { rcu_new != head -> head = rcu_new }
			fi
		od;
		if
		:: head == NIL -> irq_work_queue(cpu)
		:: else
		fi
#ifndef ADD_ALWAYS
	:: else
#endif
	fi;
	pushers--
}

/* Finds an object that is nobody's yet, inside of RCU, and looks at it for a while */
proctype reader()
{
	if
	:: atomic { !freed[0] -> held = 0 }
	:: atomic { !freed[1] -> held = 1 }
	:: skip
	fi;
	held = NIL
}

/* bpf_arena_cache_destroy(): nobody uses the cache any more */
proctype destroy()
{
	bit nr0, nr1, quiet;
	byte nr;

	pushers == 0 && held == NIL;
	if
	:: quiet = 1
	:: quiet = 0
	fi;
	if
	:: quiet ->
		timeout;
		assert(new[0] == END && new[1] == END && wait[0] == END && wait[1] == END);
		assert(rcu_new == NIL && rcu_wait == NIL && !rcu_busy);
		assert(!used[0] && !used[1] && !used[2])
	:: else
	fi;
	rcu_stop = 1;
	irq_work_sync();
#ifndef NO_GRACE
	/* Callbacks have bottom halves off, and so it waits for the one that runs, too */
	synchronize_rcu();
	!in_cb;
#endif
#ifndef NO_BARRIER
	/* rcu_barrier(): for those that are queued now */
	nr = queued_nr;
	done_nr >= nr;
#endif
	destroyed = 1;
	assert(!queued && !in_cb && !pending)
}

init
{
	atomic {
		inuse[0] = 2;
		inuse[1] = 1;
		pushers = 3;
		run irq(0);
		run irq(1);
		run callback();
		run push(0, 0);
		run push(1, 1);
		run push(1, 2);
		run reader();
		run destroy()
	}
}
