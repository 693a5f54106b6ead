/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Deferred frees: from any context to the irq_work of the cache or its worker, and
 * their end.
 *
 * Models slab_arena_defer(), slab_arena_return_deferred() and who calls it in
 * mm/slab_arena.c, and the first steps of bpf_arena_cache_destroy() in
 * kernel/bpf/arena_slab.c.
 *
 * Slab 0 has the objects 0 and 1 in use, slab 1 the object 2. Three contexts push
 * them; an NMI on top of one of them is an interleaving of these. The irq_work runs
 * on either CPU, or on both at once, and each run may leave what there is to the
 * worker. An object that came back may be allocated and pushed again, for as long as
 * its slab has not been given up.
 *
 * Invariants:
 *
 *  1. Each object that was pushed comes back, once. Nobody has to push another one
 *     for that: the one who finds the stack empty puts the slab on the list, the one
 *     who finds the list empty arms the irq_work.
 *  2. A slab is touched only while an object of it is in use. @next is in one list.
 *  3. Nothing runs any more when the cache is taken apart.
 *
 * Mutants:
 *	NEXT_LATE	the consumer reads @next after it has emptied the stack
 *	LINK_LATE	the consumer reads a link after it has freed the object
 *	TOUCH_LATE	the consumer looks at the slab after its last object
 *	PUSH_STORE	a push is a load and a store
 *	ADD_ALWAYS	every push puts the slab on the list
 *	QUEUE_FIRST	the irq_work is armed before the slab is on the list
 *	QUEUE_LOST	whoever finds the list not empty takes himself for the one who arms
 *	NO_SYNC		destroy does not wait for the irq_work
 *	SYNC_ONLY	destroy waits by irq_work_sync(), without a grace period after it
 *	NO_FLUSH	destroy does not wait for the worker
 *	FLUSH_EARLY	destroy waits for the worker before the grace period
 */
#define END	3
#define NIL	3
#define DEAD	4	/* @next is part of @node, in the list of dead slabs */

byte link[3];		/* as->state[] */
byte defer_head[2] = END;
byte node[2];		/* as->next */
byte deferred = NIL;	/* c->deferred */
byte pushers;

/* ghosts */
bit used[3] = 1;
byte inuse[2];
bit given_up[2];
bit destroyed;

#define SLAB(obj)	((obj) / 2)

inline touch(as)
{
	assert(as < 2 && !given_up[as] && !destroyed)
}

/* ___cache_free() */
inline slub_free(obj)
{
	atomic {
		touch(SLAB(obj));
		assert(used[obj]);
		used[obj] = 0;
		inuse[SLAB(obj)]--;
		if
		:: inuse[SLAB(obj)] == 0 ->
			given_up[SLAB(obj)] = 1;
			node[SLAB(obj)] = DEAD
		:: else
		fi
	}
}

/* slab_arena_return_deferred() */
inline return_deferred()
{
	/* takes the list */
	atomic { as = deferred; deferred = NIL };
	do
	:: as == NIL -> break
	:: else ->
		touch(as);
#ifndef NEXT_LATE
		next = node[as];
#endif
		atomic { idx = defer_head[as]; defer_head[as] = END };
#ifdef NEXT_LATE
		next = node[as];
#endif
		do
		:: idx == END -> break
		:: else ->
			touch(as);
#ifdef LINK_LATE
			slub_free(idx);
			touch(as);
			l = link[idx];
#else
			l = link[idx];
			slub_free(idx);
#endif
			idx = l
		od;
#ifdef TOUCH_LATE
		touch(as);
#endif
		as = next
	od;
	atomic { as = 0; next = 0; idx = 0; l = 0 }
}

bit work_pending, work_running;

/* slab_arena_deferred_irq() */
inline irq_work_func()
{
	if
	:: return_deferred()
	:: work_pending = 1
	fi
}

#include "irq_work.inc"

proctype worker()
{
	byte as, next, idx, l;

end:	do
	:: atomic { work_pending -> work_pending = 0; work_running = 1 };
		return_deferred();
		work_running = 0
	od
}

inline flush_work()
{
	!work_pending && !work_running
}

proctype irq(byte cpu)
{
	byte as, next, idx, l;

end:	do
	:: irq_work_run(cpu)
	od
}

/* slab_arena_defer() */
inline defer(obj)
{
	touch(SLAB(obj));
	head = defer_head[SLAB(obj)];
	do
	:: link[obj] = head;
		if
#ifdef PUSH_STORE
		:: true -> defer_head[SLAB(obj)] = obj; break
#else
		:: atomic { defer_head[SLAB(obj)] == head -> defer_head[SLAB(obj)] = obj }; break
		:: atomic { defer_head[SLAB(obj)] != head -> head = defer_head[SLAB(obj)] }
#endif
		fi
	od;
	if
#ifndef ADD_ALWAYS
	:: head != END
#endif
#ifdef ADD_ALWAYS
	:: true ->
#else
	:: else ->
#endif
#ifdef QUEUE_FIRST
		if
		:: deferred == NIL -> irq_work_queue(cpu)
		:: else
		fi;
#endif
		/* arena_list_add() */
		touch(SLAB(obj));
		head = deferred;
		do
		:: node[SLAB(obj)] = head;
			if
			:: atomic { deferred == head -> deferred = SLAB(obj) }; break
			:: atomic { deferred != head -> head = deferred }
			fi
		od;
#ifndef QUEUE_FIRST
		if
#ifdef QUEUE_LOST
		:: head != NIL -> irq_work_queue(cpu)
#else
		:: head == NIL -> irq_work_queue(cpu)
#endif
		:: else
		fi
#endif
	fi;
	head = 0
}

proctype push(byte cpu, obj, again)
{
	byte head;

	defer(obj);
	if
	:: again ->
		if
		:: atomic { !used[obj] && !given_up[SLAB(obj)] -> used[obj] = 1; inuse[SLAB(obj)]++ };
			defer(obj)
		:: skip
		fi
	:: else
	fi;
	pushers--
}

/* arena_cache_destroy(): nobody uses the cache any more */
proctype destroy()
{
	bit nr0, nr1;

	pushers == 0;
#ifdef FLUSH_EARLY
	flush_work();
#endif
#ifndef NO_SYNC
	irq_work_sync();
#ifndef SYNC_ONLY
	synchronize_rcu();
#endif
#endif
#if !defined(NO_FLUSH) && !defined(FLUSH_EARLY)
	flush_work();
#endif
	destroyed = 1;
	/* What slab_arena_detach() finds */
	assert(deferred == NIL && !pending);
	assert(defer_head[0] == END && defer_head[1] == END);
	assert(!used[0] && !used[1] && !used[2])
}

init
{
	atomic {
		inuse[0] = 2;
		inuse[1] = 1;
		pushers = 3;
		run irq(0);
		run irq(1);
		run worker();
		run push(0, 0, 1);
		run push(1, 1, 0);
		run push(1, 2, 0);
		run destroy()
	}
}
