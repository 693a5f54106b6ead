/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A slab page leaves the page tables of a process.
 *
 * Models arena_zap_mappings() with @drain, arena_slab_fault() and arena_vm_close()
 * of kernel/bpf/arena.c, against vms_complete_munmap_vmas() of mm/vma.c, a fault in
 * flight, MADV_DONTNEED under the lock of the VMA alone, and bpf_arena_free_pages()
 * of other pages, which walks the same list of mappings.
 *
 * The PTE of a slab page is special: it holds no reference, so the page is kept from
 * being somebody else's by this order alone. One process, with one thread that uses the
 * page, and the mapping of another one, which has nothing of it.
 *
 * Not in here: an mm without users (mmget_not_zero()), which is passed over. It has no
 * thread that could use the page before exit_mmap() has cleared its PTEs.
 *
 * Invariants:
 *
 *  1. The page is freed when no PTE of the process maps it, and no TLB.
 *  2. Nobody deadlocks: the worker holds nothing while it waits for mmap_lock.
 *
 * Mutants:
 *	READ_LOCK	mmap_lock is taken for reading only
 *	UNMAP_LATE	the kernel's PTE goes after the process's
 *	VMA_LOCK_FAULT	a fault runs under the lock of its VMA, not under mmap_lock
 *	NO_NESTED_FLUSH	a zap does not see that another one has not flushed yet
 *	NO_ZAP_MUTEX	two walks over the mappings at a time
 *	CLOSE_FIRST	munmap() takes the mapping off the list before it clears PTEs
 *	LOCK_HELD	arena->lock is held while mmap_lock is waited for
 */
byte readers;			/* mmap_lock */
bit writer;
bit arena_lock, zap_mutex;
bit vma, vml;			/* in the tree of the mm; in arena->vma_list */
byte vml_gen, zap_gen;
byte other_gen;			/* of another process's mapping, first in the list */
bit kpte = 1;			/* the kernel's PTE and the slot, under the spinlock */
bit pte, tlb;			/* the process's */
byte flush_pending;		/* mm->tlb_flush_pending */
bit freed;

inline read_lock()
{
	atomic { !writer -> readers++ }
}

inline read_unlock()
{
	readers--
}

inline write_lock()
{
	atomic { !writer && !readers -> writer = 1 }
}

inline downgrade()
{
	d_step { writer = 0; readers = 1 }
}

inline lock(l)
{
	atomic { !l -> l = 1 }
}

/* tlb_gather_mmu(), the PTE, tlb_finish_mmu() */
inline zap()
{
	flush_pending++;
	if
	:: pte -> pte = 0; tlb = 0
#ifdef NO_NESTED_FLUSH
	:: else
#else
	:: else ->
		if
		:: flush_pending > 1 -> tlb = 0
		:: else
		fi
#endif
	fi;
	flush_pending--
}

/* A thread of the process: an access may load the TLB from the PTE */
proctype thread()
{
	byte i;
	bit there;

	do
	:: i < 2 ->
		i++;
		d_step { tlb = (pte -> 1 : tlb) };
		if
		:: atomic { tlb -> assert(!freed) }
		:: atomic { !tlb ->
#ifdef VMA_LOCK_FAULT
				skip
#else
				read_lock()
#endif
			};
			if
			:: vma ->
				there = kpte;
				/* the spinlock is dropped: ARENA_WINDOW_FAULT */
				if
				:: there -> pte = 1
				:: else
				fi
			:: else
			fi;
#ifndef VMA_LOCK_FAULT
			read_unlock()
#endif
		fi
	:: i == 2 -> break
	od
}

proctype munmapper()
{
	write_lock();
	vma = 0;
	downgrade();
#ifdef CLOSE_FIRST
	lock(arena_lock);
	vml = 0;
	arena_lock = 0;
#endif
	zap();
#ifndef CLOSE_FIRST
	/* arena_vm_close() */
	lock(arena_lock);
	vml = 0;
	arena_lock = 0;
#endif
	read_unlock();

	/* and mmap() again */
	write_lock();
	lock(arena_lock);
	vml = 1;
	vml_gen = 0;
	arena_lock = 0;
	vma = 1;
	writer = 0
}

/* It may clear the PTE and be slow to flush */
proctype dontneed()
{
	flush_pending++;
	if
	:: pte && vma -> pte = 0
	:: else
	fi;
	tlb = 0;
	flush_pending--
}

/* arena_zap_mappings(): @drain for the worker */
inline zap_mappings(drain)
{
#ifndef NO_ZAP_MUTEX
	lock(zap_mutex);
#endif
	lock(arena_lock);
	d_step { zap_gen++; my_gen = zap_gen };
	do
	:: other_gen < my_gen ->
		other_gen = my_gen;
#ifndef LOCK_HELD
		arena_lock = 0;
		lock(arena_lock)
#endif
	:: other_gen >= my_gen && vml && vml_gen < my_gen ->
		vml_gen = my_gen;
#ifndef LOCK_HELD
		arena_lock = 0;
#endif
		if
#ifndef READ_LOCK
		:: drain -> write_lock(); downgrade()
		:: else ->
#else
		:: true ->
#endif
			read_lock()
		fi;
		if
		:: vma && drain -> zap()
		:: else
		fi;
		read_unlock();
#ifndef LOCK_HELD
		lock(arena_lock)
#endif
	:: else -> break
	od;
	arena_lock = 0;
	zap_mutex = 0
}

proctype worker()
{
	byte my_gen;

#ifndef UNMAP_LATE
	kpte = 0;
#endif
	zap_mappings(1);
#ifdef UNMAP_LATE
	kpte = 0;
#endif
	freed = 1
}

/* bpf_arena_free_pages() */
proctype free_pages()
{
	byte my_gen;

	zap_mappings(0)
}

init
{
	atomic {
		vma = 1;
		vml = 1;
		run thread();
		run munmapper();
		run dontneed();
		run worker();
		run free_pages()
	}
}
