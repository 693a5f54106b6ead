/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel faults that are recovered by address.
 *
 * Models arena_faults_get(), arena_faults_put(), arena_faults_exit(),
 * arena_recover_by_addr(), arena_fault_report() and arena_faults_print() of
 * kernel/bpf/arena_fault.c on a latch tree (linux/rbtree_latch.h), which is here two
 * copies of whether the arena is in it.
 *
 * A kernel user comes and goes, and the arena with it. An NMI on the same CPU, which
 * may hit in the middle of an insertion, and the other CPU twice, have faults.
 *
 * Invariants:
 *
 *  1. A lookup uses no copy of the tree that is being changed, and does not wait.
 *  2. The arena is not touched once it may be freed, by a handler or by the printer.
 *  3. A line that is printed is of one fault, and a complete line is printed.
 *
 * Mutants:
 *	NO_LATCH	there is one tree, with a seqcount: the NMI waits for its victim
 *	NO_GRACE	the arena goes right after it was erased
 *	ERASE_LATE	it is erased after the grace period
 *	NO_IRQ_SYNC	nobody waits for the irq_work
 *	SYNC_ONLY	irq_work_sync() without a grace period behind it
 *	SYNC_FIRST	irq_work_sync() before the grace period, while handlers may queue it
 *	NO_CMPXCHG	a handler reads the line's state and then writes it
 *	FREE_EARLY	the line is given up before its fields are read
 */
#define ABSENT	0
#define PRESENT	1
#define MOVING	2

#define FREE	0
#define BUSY	1
#define READY	2

byte seq;		/* of the latch */
byte tree[2];
byte users;
byte line;
byte uaddr, ip;		/* two fields of the line */
bit handling[2], handling_nr[2];
bit nmi;

/* ghost */
bit freed;

inline touch()
{
	assert(!freed)
}

/* arena_faults_print() */
inline irq_work_func()
{
	touch();
	if
	:: line != READY
	:: else ->
#ifdef FREE_EARLY
		line = FREE;
#endif
		a = uaddr;
		b = ip;
#ifndef FREE_EARLY
		line = FREE;
#endif
		assert(a == b && a);
		/* f->arena->map.id, f->count */
		touch();
		a = 0;
		b = 0
	fi
}

#include "irq_work.inc"

proctype irq(byte cpu)
{
	byte a, b;

end:	do
	:: irq_work_run(cpu)
	od
}

/* of latch_tree_insert() and latch_tree_erase() */
inline change(to)
{
	seq++;
	tree[0] = MOVING;
	tree[0] = to;
	seq++;
#ifndef NO_LATCH
	tree[1] = MOVING;
	tree[1] = to;
#endif
	skip
}

inline find(found)
{
	do
	:: s = seq;
#ifdef NO_LATCH
		!(s % 2);
		found = tree[0];
#else
		found = tree[s % 2];
#endif
		if
		:: s == seq -> break
		:: else
		fi
	od;
	assert(found != MOVING)
}

inline recover(cpu, id)
{
	atomic { handling[cpu] = 1; handling_nr[cpu] = !handling_nr[cpu] };
	find(found);
	if
	:: found == PRESENT ->
		/* f->users, in what goes with the arena */
		touch();
		if
		:: !users
		/* arena_fault_report(), if the rate limit lets it pass */
		:: users
#ifdef NO_CMPXCHG
		:: users && line == FREE -> line = BUSY;
#else
		:: atomic { users && line == FREE -> line = BUSY };
#endif
			uaddr = id;
			ip = id;
			line = READY;
			touch();
			irq_work_queue(cpu)
		fi
	:: else
	fi;
	handling[cpu] = 0
}

proctype nmi_on_cpu0()
{
	byte s, found;

	nmi = 1;
	recover(0, 1);
	nmi = 0
}

proctype cpu1()
{
	byte s, found;

	recover(1, 2);
	recover(1, 3)
}

inline grace_period()
{
	synchronize_rcu();
	d_step { nr0 = handling_nr[0]; nr1 = handling_nr[1] };
	!handling[0] || handling_nr[0] != nr0;
	!handling[1] || handling_nr[1] != nr1
}

proctype kernel_user() provided (!nmi)
{
	bit nr0, nr1;

	/* arena_faults_get() */
	change(PRESENT);
	users = 1;
	/* arena_faults_put() */
	users = 0;
	/* arena_faults_exit() */
#ifdef ERASE_LATE
	grace_period();
#endif
	change(ABSENT);
#ifdef SYNC_FIRST
	irq_work_sync();
#endif
#ifndef NO_GRACE
#ifndef ERASE_LATE
	grace_period();
#endif
#endif
#ifndef NO_IRQ_SYNC
#ifndef SYNC_FIRST
	irq_work_sync();
#endif
	/* arena_slabs_destroy() has it, before anything is freed */
#ifndef SYNC_ONLY
	synchronize_rcu();
#endif
#endif
	assert(line == FREE);
	freed = 1
}

init
{
	atomic {
		run irq(0);
		run irq(1);
		run nmi_on_cpu0();
		run cpu1();
		run kernel_user()
	}
}
