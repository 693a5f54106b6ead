// SPDX-License-Identifier: GPL-2.0
/*
 * Recovery of kernel faults in BPF arenas by address.
 *
 * A subsystem that shares objects with programs follows pointers that programs
 * can write. It adds what it reads, masked, to the base of the arena:
 *
 *	program wrote	        3000_0008
 *	kern_vm_start	ffff_c900_01e6_9000
 *	subsystem reads	ffff_c900_31e6_9008	nothing is mapped there
 *
 * so that a bad pointer leads to an arena page that does not exist, but never out of
 * the arena. With a program of this arena on the stack that is the program's fault:
 * bpf_arena_handle_page_fault() maps the scratch page, and the program finds a
 * report in its stream. Without one, in a timer, under the rq lock, in an NMI, or
 * where the architecture cannot walk the stack, the arena is found here by the
 * address, and the fault is recovered in the same way, if the arena has a kernel
 * user: a living cache of bpf_arena_cache_create(). All other arenas, and all other
 * addresses, oops as ever.
 *
 * The price: a wild store of whatever part of the kernel that happens to hit such a
 * window of 4 GiB is taken for a bad pointer.
 *
 * Who finds whom:
 *
 *  - The tree has the ranges of all arenas that ever had a kernel user. It is a
 *    latch tree: a lookup never waits, in whatever it interrupted, an insertion in
 *    this tree included. Writers hold arena_faults_lock.
 *  - An arena is inserted with its first kernel user, when all its page tables but
 *    the PTEs are there: mapping the scratch page allocates nothing.
 *  - It is erased before anything else of it goes. The grace period that follows
 *    waits for handlers that found it; they are inside of RCU from the lookup to
 *    their last access. After it, no irq_work of theirs can be queued.
 *  - An arena is never inserted twice: a lookup may still stand on its node. What
 *    comes and goes with the caches is users.
 *
 * Who is told, of a program's doing, so never by WARN():
 *
 *  - the counter, in the fdinfo of the map, counts every fault;
 *  - the tracepoint bpf_arena_kernel_fault fires for every fault, but for those that
 *    a program at this very tracepoint makes;
 *  - one line in five seconds for each arena goes to the log, from an irq_work: the
 *    handler itself may run under a lock that printk() takes, or under the rq lock.
 *
 * Context of the handler: any, NMI included. It takes no lock and does not wait.
 *
 * Modelled in tools/verification/arena_slab/fault.pml.
 */
#include <linux/atomic.h>
#include <linux/bpf.h>
#include <linux/kasan.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/rbtree_latch.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include "arena.h"

#include <trace/events/bpf_arena.h>

#define ARENA_FAULT_INTERVAL	(5 * HZ)

/* What arena_faults.line is: to be had, being written, to be printed */
enum {
	ARENA_LINE_FREE,
	ARENA_LINE_BUSY,
	ARENA_LINE_READY,
};

static DEFINE_SPINLOCK(arena_faults_lock);
static struct latch_tree_root arena_faults_tree __cacheline_aligned;

/* See arena_trace_begin() */
static DEFINE_PER_CPU(u8[4], arena_fault_tracing);

static struct arena_faults *arena_faults_of(struct latch_tree_node *node)
{
	return container_of(node, struct arena_faults, node);
}

static __always_inline bool arena_faults_less(struct latch_tree_node *a,
					      struct latch_tree_node *b)
{
	return arena_faults_of(a)->start < arena_faults_of(b)->start;
}

static __always_inline int arena_faults_comp(void *key, struct latch_tree_node *node)
{
	unsigned long addr = (unsigned long)key, start = arena_faults_of(node)->start;

	if (addr < start)
		return -1;
	return addr - start >= ARENA_FAULT_RANGE;
}

static const struct latch_tree_ops arena_faults_ops = {
	.less = arena_faults_less,
	.comp = arena_faults_comp,
};

/* Any context, inside of RCU */
static struct arena_faults *arena_faults_find(unsigned long addr)
{
	struct latch_tree_node *node;

	node = latch_tree_find((void *)addr, &arena_faults_tree, &arena_faults_ops);
	return node ? arena_faults_of(node) : NULL;
}

/* Deferred from the handler; on PREEMPT_RT, in a thread */
static void arena_faults_print(struct irq_work *irq)
{
	struct arena_faults *f = container_of(irq, struct arena_faults, irq);
	unsigned long ip;
	bool write;
	u64 uaddr;
	int cpu;

	/* Pairs with the release in arena_fault_report(): the line is complete */
	if (atomic_read_acquire(&f->line) != ARENA_LINE_READY)
		return;
	uaddr = f->uaddr;
	ip = f->ip;
	write = f->write;
	cpu = f->cpu;
	/* Pairs with the acquire there: it is read before the next one is written */
	atomic_set_release(&f->line, ARENA_LINE_FREE);

	pr_warn("bpf_arena: kernel %s at unmapped address 0x%llx of arena map %u, by %pS on CPU %d, %ld so far\n",
		write ? "WRITE" : "READ", uaddr, f->arena->map.id, (void *)ip, cpu,
		atomic_long_read(&f->count));
}

static void arena_fault_report(struct arena_faults *f, unsigned long addr, bool write,
			       unsigned long ip)
{
	u64 uaddr = clear_lo32(f->arena->user_vm_start) + (addr - f->start);

	atomic_long_inc(&f->count);

	/* A program there may have the kernel fault again: that is counted, but not traced */
	if (arena_trace_begin(arena_fault_tracing)) {
		trace_bpf_arena_kernel_fault(f->arena->map.id, uaddr, ip, write);
		arena_trace_end(arena_fault_tracing);
	}

	/* The limit is for lines, not for faults: it says nothing about what it drops */
	if (!__ratelimit(&f->limit))
		return;
	/* The line before this one is not even printed: one is as good as the other */
	if (atomic_cmpxchg_acquire(&f->line, ARENA_LINE_FREE, ARENA_LINE_BUSY) != ARENA_LINE_FREE)
		return;
	f->uaddr = uaddr;
	f->ip = ip;
	f->write = write;
	f->cpu = raw_smp_processor_id();
	/* Pairs with the acquire in arena_faults_print() */
	atomic_set_release(&f->line, ARENA_LINE_READY);
	irq_work_queue(&f->irq);
}

/*
 * A kernel fault with no program on the stack that could be made answer for it. If
 * it is in an arena with kernel users, see to it that the access can be repeated.
 */
bool arena_recover_by_addr(unsigned long addr, bool write, unsigned long ip)
{
	struct arena_faults *f;

	addr = (unsigned long)kasan_reset_tag((void *)addr);

	guard(rcu)();
	f = arena_faults_find(addr);
	if (!f || !READ_ONCE(f->users))
		return false;
	if (arena_map_scratch(f->arena, addr & PAGE_MASK))
		arena_fault_report(f, addr, write, ip);
	return true;
}

/* The arena's caches, of the kernel's or of programs, are about to exist */
void arena_faults_init(struct arena_faults *f, struct bpf_arena *arena)
{
	f->arena = arena;
	f->start = arena_fault_start(arena);
	init_irq_work(&f->irq, arena_faults_print);
	/* From the handler it must not print what it suppressed */
	ratelimit_state_init(&f->limit, ARENA_FAULT_INTERVAL, 1);
	ratelimit_set_flags(&f->limit, RATELIMIT_MSG_ON_RELEASE);
}

/* A kernel user comes; from now on its faults are recovered */
void arena_faults_get(struct arena_faults *f)
{
	guard(spinlock)(&arena_faults_lock);
	if (!f->listed)
		latch_tree_insert(&f->node, &arena_faults_tree, &arena_faults_ops);
	f->listed = true;
	WRITE_ONCE(f->users, f->users + 1);
}

/* A kernel user goes */
void arena_faults_put(struct arena_faults *f)
{
	guard(spinlock)(&arena_faults_lock);
	WRITE_ONCE(f->users, f->users - 1);
}

/* The arena goes, and its addresses are about to be somebody else's */
void arena_faults_exit(struct bpf_arena *arena)
{
	struct arena_faults *f = arena->slabs ? &arena->slabs->faults : NULL;

	if (!f || !f->listed)
		return;
	WARN_ON_ONCE(f->users);
	scoped_guard(spinlock, &arena_faults_lock)
		latch_tree_erase(&f->node, &arena_faults_tree, &arena_faults_ops);
	synchronize_rcu();
	/* A second run of it may take longer: arena_slabs_destroy() waits for that as well */
	irq_work_sync(&f->irq);
}

/* In fdinfo; @f is NULL if the arena has no caches */
void arena_faults_show(struct seq_file *m, const struct arena_faults *f)
{
	seq_printf(m, "arena_kernel_faults:\t%ld\n", f ? atomic_long_read(&f->count) : 0);
}
