/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The slot table: who finds a slab without a lock, and when it may be freed.
 *
 * Models arena_slots_add_leaf(), arena_place_slab(), the slab half of
 * arena_free_object(), and for a slab's end arena_batch_unmap() to the kfree() in
 * arena_slab_worker(), in kernel/bpf/arena_slab.c; arena_cache_claim() of
 * linux/slab_arena.h, slab_arena_free() of mm/slub_arena.c, slab_to_arena() of
 * mm/slab_arena.c.
 *
 * Two pages of one leaf, which both of two allocators find missing. On the pages come
 * and go slabs with one object each, on page 0 a large object as well, and memory for
 * two struct arena_slab is used again and again. Two contexts free what a hostile
 * program says; either may be an NMI, which is no less inside of RCU.
 *
 * Invariants:
 *
 *  1. What is followed as a pointer to a struct arena_slab is one, is complete, and
 *     has not been freed.
 *  2. SLUB finds by the table what it put there.
 *  3. A page has one tenant.
 *
 * Mutants:
 *	RELAXED_PUBLISH	the slot may be seen before what it points to
 *	LEAF_STORE	a leaf is published by a store
 *	DOUBLE_READ	the kind and the pointer are two reads of the slot
 *	NO_READ_LOCK	the lookup is not inside of RCU
 *	NO_GRACE	the slab's memory is freed without a grace period
 *	UNPUBLISH_LATE	the slot points to the slab until after the grace period
 *	TOUCH_LATE	a free looks at the slab after it has given the object back
 */
#define NIL	9
#define S_NONE	0	/* 1 and 2 are pointers to as[0] and as[1] */
#define S_DYING	3
#define S_LARGE	4
#define IS_SLAB(s)	((s) == 1 || (s) == 2)

byte dir = NIL;		/* of leaves, 0 or 1 */
byte slot[4];		/* by leaf and page */
bit rt[2] = 1;		/* free in the range tree */
bit spinlock;
bit in_rcu[2], rcu_nr[2];

/* struct arena_slab */
bit allocated[2], complete[2];
bit live[2];		/* the state of its object */
bit pinned[2];		/* it is not SLUB's again yet */

/* ghost: what SLUB put on a page */
byte mapped[2];

#define SLOT(page)	slot[dir * 2 + (page)]

inline touch(as)
{
	assert(allocated[as] && complete[as])
}

inline lock()
{
	atomic { !spinlock -> spinlock = 1 }
}

inline synchronize_rcu()
{
	d_step { nr0 = rcu_nr[0]; nr1 = rcu_nr[1] };
	!in_rcu[0] || rcu_nr[0] != nr0;
	!in_rcu[1] || rcu_nr[1] != nr1
}

/* arena_slots_add_leaf(); @leaf is the one that this caller would allocate */
inline add_leaf(leaf)
{
	if
	:: dir != NIL
	:: dir == NIL ->
#ifdef LEAF_STORE
		skip;
		dir = leaf
#else
		atomic { dir = (dir == NIL -> leaf : dir) }
#endif
	fi
}

/* slab_arena_attach() and bpf_arena_slab_map(), arena_alloc_pages() with @large */
proctype alloc(byte page, rounds)
{
	byte as, i;

	do
	:: i < rounds ->
		i++;
		add_leaf(page);
		if
		:: page == 0 ->
			lock();
			if
			:: rt[0] -> rt[0] = 0; SLOT(0) = S_LARGE
			:: else
			fi;
			spinlock = 0;
			/* arena_free_large() and the worker */
			lock();
			if
			:: SLOT(0) == S_LARGE -> SLOT(0) = S_NONE; rt[0] = 1
			:: else
			fi;
			spinlock = 0
		:: true ->
			if
			:: atomic { !allocated[0] -> as = 0; allocated[0] = 1 }
			:: atomic { !allocated[1] -> as = 1; allocated[1] = 1 }
			:: atomic { allocated[0] && allocated[1] -> goto out }
			fi;
			lock();
			if
			:: rt[page] ->
				rt[page] = 0;
				assert(SLOT(page) == S_NONE);
				/* the object that it was made for is not SLUB's any more */
				atomic { mapped[page] = as + 1; pinned[as] = 1 };
				if
#ifdef RELAXED_PUBLISH
				:: SLOT(page) = as + 1; complete[as] = 1
#endif
				:: complete[as] = 1; SLOT(page) = as + 1
				fi;
				spinlock = 0;
				/* and an object of it to the program */
				live[as] = 1
			:: else -> spinlock = 0; allocated[as] = 0
			fi
		fi
	:: i == rounds -> break
	od;
out:
}

/* arena_free_object() */
proctype hostile(bit me)
{
	byte s, page;
	bit won;

	if
	:: page = 0
	:: page = 1
	fi;
#ifndef NO_READ_LOCK
	atomic { in_rcu[me] = 1; rcu_nr[me] = !rcu_nr[me] };
#endif
	if
	:: dir == NIL -> s = S_NONE
	:: else -> s = SLOT(page)
	fi;
	if
	:: IS_SLAB(s) ->
#ifdef DOUBLE_READ
		s = SLOT(page);
		assert(IS_SLAB(s));
#endif
		/* as->cache */
		touch(s - 1);
		/* arena_slab_claim() */
		atomic { touch(s - 1); won = live[s - 1]; live[s - 1] = 0 }
	:: else
	fi;
#ifndef NO_READ_LOCK
	in_rcu[me] = 0;
#endif
	if
	:: won ->
		/* slab_arena_free() */
		touch(s - 1);
		pinned[s - 1] = 0;
#ifdef TOUCH_LATE
		touch(s - 1)
#endif
	:: else
	fi
}

/* SLUB gives up a slab without objects; arena_slab_worker() */
proctype worker()
{
	bit nr0, nr1;
	byte as, page;

end:	do
	:: atomic { mapped[0] && live[mapped[0] - 1] == 0 && pinned[mapped[0] - 1] == 0 &&
			complete[mapped[0] - 1] && !spinlock -> page = 0 };
give_up:
		/* slab_to_arena() */
		assert(SLOT(page) == mapped[page]);
		as = mapped[page] - 1;
		mapped[page] = 0;
#ifndef UNPUBLISH_LATE
		lock();
		SLOT(page) = S_DYING;
		spinlock = 0;
#endif
#ifndef NO_GRACE
		synchronize_rcu();
#endif
		lock();
		SLOT(page) = S_NONE;
		rt[page] = 1;
		spinlock = 0;
		d_step { allocated[as] = 0; complete[as] = 0 }
	:: atomic { mapped[1] && live[mapped[1] - 1] == 0 && pinned[mapped[1] - 1] == 0 &&
			complete[mapped[1] - 1] && !spinlock -> page = 1 };
		goto give_up
	od
}

init
{
	atomic {
		run alloc(0, 2);
		run alloc(1, 1);
		run hostile(0);
		run hostile(1);
		run worker()
	}
}
