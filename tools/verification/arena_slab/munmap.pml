/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A slab page leaves the page tables of a process.
 *
 * Models arena_zap_mappings() that drains, arena_slab_fault() and arena_vm_close()
 * of kernel/bpf/arena.c, against vms_complete_munmap_vmas() of mm/vma.c, a fault in
 * flight, MADV_DONTNEED under the lock of the VMA alone, and bpf_arena_free_pages()
 * of other pages, which walks the same list of mappings: by a program that has the
 * mmap_lock for reading, and by the worker for what it left.
 *
 * The PTE of a slab page is special: it holds no reference, so the page is kept from
 * being somebody else's by this order alone. One process, with one thread that uses the
 * page, and the mapping of another one, which has nothing of it.
 *
 * Not in here: an mm without users. A drain waits for its lock as for others, which
 * exit_mmap() has until PTEs and TLBs are done; the other walk passes it over.
 *
 * Invariants:
 *
 *  1. The page is freed when no PTE of the process maps it, and no TLB.
 *  2. Nobody deadlocks, where a reader waits behind a writer that waits: who drains holds
 *     nothing while he waits for mmap_lock, and a program does not wait.
 *
 * Mutants:
 *	READ_LOCK	mmap_lock is taken for reading only
 *	UNMAP_LATE	the kernel's PTE goes after the process's
 *	VMA_LOCK_FAULT	a fault runs under the lock of its VMA, not under mmap_lock
 *	NO_NESTED_FLUSH	a zap does not see that another one has not flushed yet
 *	ONE_GEN		a drain has no marks of its own
 *	PROGRAM_WAITS	a program waits for zap_mutex and mmap_lock
 *	CLOSE_FIRST	munmap() takes the mapping off the list before it clears PTEs
 *	LOCK_HELD	arena->lock is held while mmap_lock is waited for
 */
#ifdef ONE_GEN
#define drain_gen	zap_gen
#define vml_drain	vml_gen
#define other_drain	other_gen
#else
byte drain_gen, vml_drain;
byte other_drain;		/* of another process's mapping, first in the list */
#endif
byte readers, waiting;		/* mmap_lock; writers that wait for it */
bit writer;
bit arena_lock, zap_mutex;
bit vma, vml;			/* in the tree of the mm; in arena->vma_list */
byte vml_gen, zap_gen, other_gen;
bit kpte = 1;			/* the kernel's PTE and the slot, under the spinlock */
bit pte, tlb;			/* the process's */
byte flush_pending;		/* mm->tlb_flush_pending */
bit freed;

inline read_lock()
{
	atomic { !writer && !waiting -> readers++ }
}

inline read_unlock()
{
	readers--
}

inline write_lock()
{
	waiting++;
	atomic { !writer && !readers -> writer = 1; waiting-- }
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
	d_step { vml_gen = 0; vml_drain = 0 };
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

/* arena_zap_mappings(), ARENA_ZAP_DRAIN */
inline drain()
{
	lock(arena_lock);
	d_step { drain_gen++; my_gen = drain_gen };
	do
	:: other_drain < my_gen ->
		other_drain = my_gen;
#ifndef LOCK_HELD
		arena_lock = 0;
		lock(arena_lock)
#endif
	:: other_drain >= my_gen && vml && vml_drain < my_gen ->
		vml_drain = my_gen;
#ifndef LOCK_HELD
		arena_lock = 0;
#endif
#ifdef READ_LOCK
		read_lock();
#else
		write_lock();
		downgrade();
#endif
		if
		:: vma -> zap()
		:: else
		fi;
		read_unlock();
#ifndef LOCK_HELD
		lock(arena_lock)
#endif
	:: else -> break
	od;
	arena_lock = 0
}

/* The same with ARENA_ZAP_TRY or ARENA_ZAP_WAIT; of other pages, which are none of ours */
inline walk(try)
{
	done = 1;
	if
	:: !try -> lock(zap_mutex)
	:: atomic { try && !zap_mutex -> zap_mutex = 1 }
	:: try && zap_mutex -> done = 0
	fi;
	if
	:: done ->
		lock(arena_lock);
		d_step { zap_gen++; my_gen = zap_gen };
		do
		:: done && other_gen < my_gen ->
			other_gen = my_gen;
			arena_lock = 0;
			lock(arena_lock)
		:: done && other_gen >= my_gen && vml && vml_gen < my_gen ->
			vml_gen = my_gen;
			arena_lock = 0;
			if
			:: !try -> read_lock(); read_unlock()
			:: atomic { try && !writer && !waiting -> readers++ }; read_unlock()
			:: try && (writer || waiting) -> done = 0
			fi;
			lock(arena_lock)
		:: else -> break
		od;
		arena_lock = 0;
		zap_mutex = 0
	:: else
	fi
}

proctype worker()
{
	byte my_gen;

#ifndef UNMAP_LATE
	kpte = 0;
#endif
	drain();
#ifdef UNMAP_LATE
	kpte = 0;
#endif
	freed = 1
}

proctype free_pages()
{
	byte my_gen;
	bit done;

	/* Called back by bpf_find_vma() */
	read_lock();
#ifdef PROGRAM_WAITS
	walk(0);
#else
	walk(1);
#endif
	read_unlock();
	/* arena_free_worker() */
	if
	:: !done -> walk(0)
	:: else
	fi
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
