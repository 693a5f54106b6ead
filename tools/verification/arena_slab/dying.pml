/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A page leaves an arena, another one comes: one page of the address space.
 *
 * Models arena_slab_worker() with arena_batch_unmap() and arena_batch_release(),
 * arena_place_slab() and arena_push_slot() of kernel/bpf/arena_slab.c;
 * arena_vm_fault(), arena_free_range(), arena_alloc_pages() with
 * arena_flush_scratch(), and arena_map_scratch() of kernel/bpf/arena.c.
 *
 * The worker returns a slab page, which a process may fault on again and again, which
 * the kernel accesses on two CPUs, and which a hostile program frees as ordinary pages
 * meanwhile. The fault of a kernel access maps the scratch page, without the lock.
 * A slab or ordinary pages are allocated in its place, as soon as it is free.
 *
 * Invariants:
 *
 *  1. No CPU reaches a page that has been freed, by its TLB.
 *  2. What the range tree has as free has no page but the scratch page.
 *  3. Where a page is installed, no TLB has a translation of what was there.
 *  4. No page is forgotten: a PTE is cleared by who knows what it has.
 *
 * What a process's own page tables have is the matter of munmap.pml.
 *
 * Mutants:
 *	NO_DYING	the slot is empty from the moment the PTE is
 *	NO_DYING_LIST	ordinary pages on their way out are not on a list
 *	FREE_BEFORE_FLUSH	the page is freed before the TLBs are flushed
 *	RANGE_BEFORE_FLUSH	the range is marked as free before that
 *	FREE_ANY	bpf_arena_free_pages() takes what has a slot as well
 *	FREE_DYING	and what is on its way out already
 *	RANGE_NOT_TAKEN	what it frees stays in the range tree meanwhile, if it was there
 *	SET_OVER_SCRATCH	a page is put over the scratch page
 *	SCRUB_NO_FLUSH	the worker does not flush the scratch page's translations
 */
#define NONE	0
#define OLD	1	/* the slab's page, in the beginning */
#define FAULTED	2	/* of a user fault */
#define NEW	3	/* of an allocation */
#define SCRATCH	4

mtype = { S_NONE, S_SLAB, S_DYING, S_SCRUB };

byte pte = OLD;
mtype slot = S_SLAB;
bit rt;			/* free in the range tree */
bit dying;		/* in arena->dying */
bit spinlock;
byte tlb[2];
bit scrub;		/* on sl->dead_slots */
bit freed[5];

inline lock()
{
	atomic { !spinlock -> spinlock = 1 }
}

inline unlock()
{
	atomic {
		assert(!rt || pte == NONE || pte == SCRATCH);
		spinlock = 0
	}
}

inline flush()
{
	tlb[0] = NONE;
	tlb[1] = NONE
}

inline free_page(page)
{
	atomic {
		assert(!freed[page]);
		freed[page] = 1
	}
}

/* ptep_try_set() of a page; under the spinlock */
inline install(page, ok)
{
	atomic {
		ok = 0;
		if
#ifdef SET_OVER_SCRATCH
		:: pte == NONE || pte == SCRATCH ->
#else
		:: pte == NONE ->
#endif
			assert(tlb[0] == NONE && tlb[1] == NONE);
			pte = page;
			ok = 1
		:: else
		fi
	}
}

/* The kernel, or a program, at this address */
proctype cpu(byte me)
{
	byte i;

	do
	:: i < 2 ->
		i++;
		atomic {
			if
			:: tlb[me] == NONE -> tlb[me] = pte
			:: else
			fi;
			assert(!freed[tlb[me]])
		};
		if
		/* bpf_arena_handle_page_fault() */
		:: tlb[me] == NONE ->
			atomic { pte = (pte == NONE -> SCRATCH : pte) }
		:: else
		fi
	:: i == 2 -> break
	od
}

/* arena_slab_worker(): one slab, and what has to be scrubbed */
proctype worker()
{
	/* (a) */
	lock();
#ifdef NO_DYING
	slot = S_NONE;
#else
	slot = S_DYING;
#endif
	assert(pte == OLD);
	pte = NONE;
	unlock();
	/* (b) */
#ifdef RANGE_BEFORE_FLUSH
	lock();
	slot = S_NONE;
	rt = 1;
	unlock();
#endif
#ifdef FREE_BEFORE_FLUSH
	free_page(OLD);
	flush();
#else
	flush();
	/* (e) */
	free_page(OLD);
#endif
#ifndef RANGE_BEFORE_FLUSH
	lock();
	slot = S_NONE;
	if
	:: rt = 1
	/* no memory in the range tree */
	:: slot = S_SCRUB; scrub = 1
	fi;
	unlock();
#endif
end:	do
	:: atomic { scrub -> scrub = 0 };
		lock();
		assert(slot == S_SCRUB && (pte == NONE || pte == SCRATCH));
		pte = NONE;
		unlock();
#ifndef SCRUB_NO_FLUSH
		flush();
#endif
		lock();
		slot = S_NONE;
		rt = 1;
		unlock()
	od
}

/* arena_vm_fault() */
proctype user()
{
	byte i;
	bit ok;

	do
	:: i < 2 ->
		i++;
		lock();
		if
		:: pte != NONE
		/* arena_page_dying(): again, VM_FAULT_NOPAGE */
		:: pte == NONE && (slot == S_DYING || slot == S_SCRUB || dying)
		:: else ->
			if
			:: freed[FAULTED]	/* one is enough */
			:: else ->
				rt = 0;
				install(FAULTED, ok);
				if
				:: !ok -> rt = 1
				:: ok -> i = 2
				fi
			fi
		fi;
		unlock()
	:: i == 2 -> break
	od
}

/* bpf_arena_free_pages() of a program, sleepable or by arena_free_worker() */
proctype free_pages()
{
	byte old;

	lock();
	if
#ifndef FREE_ANY
#ifdef FREE_DYING
	:: slot == S_SLAB || slot == S_SCRUB -> unlock(); goto out
#else
	:: slot != S_NONE -> unlock(); goto out
#endif
#endif
#ifndef FREE_DYING
	:: dying -> unlock(); goto out
#endif
	:: else
	fi;
#ifndef NO_DYING_LIST
	dying = 1;
#endif
#ifndef RANGE_NOT_TAKEN
	rt = 0;
#endif
	atomic { old = pte; pte = NONE };
	unlock();
	flush();
	if
	:: old != NONE && old != SCRATCH -> free_page(old)
	:: else
	fi;
	lock();
	dying = 0;
	rt = 1;
	unlock();
out:
}

/* arena_place_slab(), or arena_alloc_pages() */
proctype alloc()
{
	bit ok;
	byte i;

	do
	:: i < 2 ->
		i++;
		lock();
		if
		:: rt ->
			rt = 0;
			if
			:: install(NEW, ok);
				if
				:: ok -> slot = S_SLAB; i = 2
				:: else -> slot = S_SCRUB; scrub = 1
				fi
			:: if
				:: pte == SCRATCH ->
					dying = 1;
					pte = NONE;
					unlock();
					flush();
					lock();
					dying = 0
				:: else
				fi;
				install(NEW, ok);
				if
				:: ok -> i = 2
				:: else -> rt = 1
				fi
			fi
		:: else
		fi;
		unlock()
	:: i == 2 -> break
	od
}

init
{
	atomic {
		run cpu(0);
		run cpu(1);
		run worker();
		run user();
		run free_pages();
		run free_pages();
		run alloc()
	}
}
