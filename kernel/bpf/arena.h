/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the arena's files in kernel/bpf/ share.
 *
 * Lock order in an arena, below arena_slabs_mutex, which is for the list of all that have
 * slab caches, and for the first cache of one:
 *
 *	1.  arena_slabs->lock (mutex): the list of caches and size classes
 *	2.  slab_mutex and below, by creating and destroying caches
 *	3.  zap_mutex (mutex): one walk over the mappings at a time, but for drains;
 *	    programs only try it, and the mmap_lock
 *	4.  lock (mutex): the list of mappings; dropped before
 *	5.  mmap_lock of a mapping process
 *	6.  spinlock (rqspinlock): range tree, page tables, slots, nr_pages
 *
 * The spinlock is a leaf, never taken under a lock of SLUB's nor the other way
 * round: slabs are made with no SLUB lock held and given up through a worker.
 * It may fail, and does so where a program runs on top of its holder.
 */
#ifndef KERNEL_BPF_ARENA_H
#define KERNEL_BPF_ARENA_H

#include <linux/bpf.h>
#include <linux/irq_work.h>
#include <linux/kasan.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/ratelimit.h>
#include <linux/rbtree_latch.h>
#include <linux/seq_file.h>
#include <linux/slab_arena.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/rqspinlock.h>
#include "range_tree.h"

/* number of bytes addressable by LDX/STX insn with 16-bit 'off' field */
#define GUARD_SZ round_up(1ull << sizeof_field(struct bpf_insn, off) * 8, PAGE_SIZE << 1)
/* From kern_vm_start on, faults are recovered: what can be mapped, and the guard behind it */
#define ARENA_FAULT_RANGE (SZ_4G + GUARD_SZ / 2)

struct arena_slabs;
struct bpf_arena_cache;

/* 16, 32, 64, 96, 128, 192, then powers of two up to a page: 11 with 4 KiB pages */
#define ARENA_NR_CLASSES	(PAGE_SHIFT - 1)

/* So many programs have a limit of their own, if their ids are not equal modulo this */
#define ARENA_NR_REPORTS	8

struct bpf_arena {
	struct bpf_map map;
	u64 user_vm_start;
	u64 user_vm_end;
	struct vm_struct *kern_vm;
	struct page *scratch_page;
	/* the scratch page has been mapped; until then nobody needs to look for it */
	bool scratched;
	struct range_tree rt;
	/* protects rt, dying, nr_scratch and nr_pages */
	rqspinlock_t spinlock;
	/* number of pages currently populated in the arena */
	u64 nr_pages;
	/* ranges whose pages are on their way out: in no page table, not yet in rt */
	struct list_head dying;
	/* those of them that are mapped by users, where a program would have had to wait */
	atomic_t nr_later;
	/* those that have scratch pages; both wait for the worker */
	unsigned int nr_scratch;
	struct list_head vma_list;
	/* protects vma_list */
	struct mutex lock;
	u64 zap_gen;
	struct mutex zap_mutex;
	/* as zap_gen, for drains */
	u64 drain_gen;
	struct irq_work     free_irq;
	struct work_struct  free_work;
	struct llist_head   free_spans;
	/* limits of reports, by program */
	struct ratelimit_state reports[ARENA_NR_REPORTS];
	/* set with the first slab cache and until the arena goes; acquire to read */
	struct arena_slabs *slabs;
#ifdef CONFIG_SLAB_BPF_ARENA
	/*
	 * the size classes of bpf_arena_alloc(), as soon as a program may ask for them. Here,
	 * where it needs to know of nothing else; acquire to read
	 */
	struct bpf_arena_cache *class[ARENA_NR_CLASSES];
#endif
};

/*
 * May this program be told? By program, so that one that makes a storm leaves the others
 * their reports. A report allocates and frees some dozens of times, in any context, and what
 * cannot be freed there comes back by irq_work: without a limit a program in a kprobe in
 * that irq_work's way keeps it going for ever.
 */
static inline bool arena_may_report(struct bpf_arena *arena, struct bpf_prog *prog)
{
	return __ratelimit(&arena->reports[prog->aux->id % ARENA_NR_REPORTS]);
}

/* At most so many ranges with scratch pages are passed over in one allocation */
#define ARENA_SCRUB_MAX		16

/*
 * And at most so many, and those that are under way, wait to be taken off user mappings:
 * who frees a range looks for each page of it in all that are dying, with irqs off. What a
 * program frees then is left to the worker as a whole.
 */
#define ARENA_LATER_MAX		64

/*
 * And at most so many of those with scratch, which a program can cover an arena with. Who
 * may not sleep finds no pages then.
 */
#define ARENA_SCRATCH_MAX	64

/*
 * With interrupts off, about so many page table entries are cleared at once, or pages marked
 * as free: a stretch is not divided for what was done before it.
 */
#define ARENA_STRETCH_MAX	4096u

/*
 * A range between the moment its PTEs are cleared and the moment it may be used
 * again, in bpf_arena.dying; on the stack of the one who frees, or in the span that waits
 * for the worker: it has scratch pages, which nobody is to see meanwhile, or user mappings.
 */
struct arena_dying_range {
	struct list_head list;
	u32 pgoff;
	u32 page_cnt;
};

static inline u64 clear_lo32(u64 val)
{
	return val & ~(u64)~0U;
}

static inline long compute_pgoff(struct bpf_arena *arena, long uaddr)
{
	return (u32)(uaddr - (u32)arena->user_vm_start) >> PAGE_SHIFT;
}

static inline u32 arena_pgoff_to_uaddr32(struct bpf_arena *arena, u32 pgoff)
{
	return (u32)(arena->user_vm_start + (u64)pgoff * PAGE_SIZE);
}

static inline unsigned long arena_max_pages(struct bpf_arena *arena)
{
	return (arena->user_vm_end - arena->user_vm_start) >> PAGE_SHIFT;
}

/* The start of that range, as fault addresses are: without a tag */
static inline unsigned long arena_fault_start(struct bpf_arena *arena)
{
	return (unsigned long)kasan_reset_tag((void *)bpf_arena_get_kern_vm_start(arena));
}

/*
 * A program at a tracepoint can do what makes it fire again, and that one's program, too:
 * one trace at a time in each of the four contexts of a CPU that can be on top of another,
 * so that the stack's depth is bounded. @busy is per CPU, u8[4]. If this returns false, one
 * is under way in this context; if true, arena_trace_end() has to follow.
 */
static inline bool arena_trace_begin(u8 __percpu *busy)
{
	u8 *level;

	preempt_disable_notrace();
	level = this_cpu_ptr(busy + interrupt_context_level());
	if (*level) {
		preempt_enable_notrace();
		return false;
	}
	*level = 1;
	/* Whoever comes on top of this sees it until the end */
	barrier();
	return true;
}

static inline void arena_trace_end(u8 __percpu *busy)
{
	barrier();
	*this_cpu_ptr(busy + interrupt_context_level()) = 0;
	preempt_enable_notrace();
}

/* Where a page is between two owners, with no lock held; but for the last one */
enum arena_window {
	ARENA_WINDOW_FAULT,	/* a user fault has found a page, and not mapped it */
	ARENA_WINDOW_UNMAPPED,	/* in no page table of the kernel's, still in TLBs */
	ARENA_WINDOW_FREE,	/* out of all TLBs and mappings, not yet given back */
	ARENA_WINDOW_PAUSE,	/* after ARENA_STRETCH_MAX pages of the worker's */
};

/* How arena_zap_mappings() gets at the mappings */
enum arena_zap {
	ARENA_ZAP_TRY,		/* a program: not where it would have to wait for long */
	ARENA_ZAP_NOWAIT,	/* or at all */
	ARENA_ZAP_WAIT,		/* a worker */
	ARENA_ZAP_DRAIN,	/* the slabs' worker: no munmap() and no fault is under way then */
};

/* kernel/bpf/arena.c */
#if IS_ENABLED(CONFIG_KUNIT)
void arena_window(enum arena_window window);
#else
static inline void arena_window(enum arena_window window) {}
#endif
bool arena_map_scratch(struct bpf_arena *arena, unsigned long page_addr);
void arena_lock_sleepable(struct bpf_arena *arena, unsigned long *flags);
bool arena_zap_mappings(struct bpf_arena *arena,
			void (*zap)(struct vm_area_struct *vma, void *data), void *data,
			enum arena_zap how);
void arena_zap_range(struct vm_area_struct *vma, u32 pgoff, u32 page_cnt);
long arena_alloc_pages(struct bpf_arena *arena, long uaddr, long page_cnt, int node_id,
		       bool sleepable, bool large);
int arena_clear_range(struct bpf_arena *arena, u32 pgoff, u32 page_cnt,
		      struct llist_head *pages);
extern const struct bpf_map_ops arena_map_ops;

/* kernel/bpf/arena_fault.c */
#ifdef CONFIG_BPF_ARENA_FAULT_BY_ADDR
/**
 * struct arena_faults - kernel faults in an arena that are recovered by address
 * @node: in arena_faults_tree, from the first kernel user until the arena goes
 * @listed: it is there
 * @arena: the arena
 * @start: where its range starts, without a tag
 * @users: kernel users; with none, faults oops
 * @count: faults
 * @limit: rate limit of lines in the log
 * @line: state of the line, which consists of
 * @uaddr: address,
 * @ip: instruction,
 * @cpu: CPU,
 * @write: and direction
 * @irq: prints it
 */
struct arena_faults {
	struct latch_tree_node node;
	bool listed;
	struct bpf_arena *arena;
	unsigned long start;
	unsigned int users;
	atomic_long_t count;
	struct ratelimit_state limit;
	atomic_t line;
	u64 uaddr;
	unsigned long ip;
	int cpu;
	bool write;
	struct irq_work irq;
};

bool arena_recover_by_addr(unsigned long addr, bool write, unsigned long ip);
void arena_faults_init(struct arena_faults *f, struct bpf_arena *arena);
void arena_faults_get(struct arena_faults *f);
void arena_faults_put(struct arena_faults *f);
void arena_faults_exit(struct bpf_arena *arena);
void arena_faults_show(struct seq_file *m, const struct arena_faults *f);
#else
struct arena_faults {};

static inline bool arena_recover_by_addr(unsigned long addr, bool write, unsigned long ip)
{
	return false;
}

static inline void arena_faults_init(struct arena_faults *f, struct bpf_arena *arena) {}
static inline void arena_faults_get(struct arena_faults *f) {}
static inline void arena_faults_put(struct arena_faults *f) {}
static inline void arena_faults_exit(struct bpf_arena *arena) {}
static inline void arena_faults_show(struct seq_file *m, const struct arena_faults *f) {}
#endif

/* kernel/bpf/arena_slab.c */
#ifdef CONFIG_SLAB_BPF_ARENA
enum arena_counter {
	ARENA_SLABS_MAPPED,
	ARENA_SLABS_FREED,
	ARENA_LARGE_ALLOCS,
	ARENA_LARGE_FREES,
	ARENA_SCRUBS,
	ARENA_DRAINS,
	ARENA_FAILED_ALLOCS,
	ARENA_FREE_NO_OBJECT,
	ARENA_FREE_INTERIOR,
	ARENA_FREE_NOT_LIVE,
	ARENA_FREE_NOT_YOURS,
	/* The same once more, one for each enum arena_bad_free */
	ARENA_BAD_FREE,
	ARENA_NR_COUNTERS = ARENA_BAD_FREE + ARENA_NR_BAD_FREES,
};

/**
 * struct arena_slabs - what an arena with slab caches has beyond one without
 * @arena: back pointer
 * @slots: slot table
 * @lock: protects @caches and &bpf_arena.class
 * @caches: all caches, of programs and of the kernel
 * @id: for names; map ids are reused and in-kernel maps have none
 * @dead: slabs that have been given up
 * @dead_slots: stack of slots for the worker, linked through the slots themselves
 * @irq: gets from any context to @work
 * @work: arena_slab_worker()
 * @want_drain: somebody found the arena full
 * @last_drain: jiffies of the last drain
 * @drain_started: drains that have begun
 * @drain_done: the value of @drain_started when the worker last finished
 * @wait: they wait here
 * @going: the arena goes; ranges need not be marked as free any more
 * @objcg: who pays for pages; the map's, without a reference
 * @has_zero: the (u32)uaddr of the first page is 0; nobody gets it
 * @counters: see enum arena_counter
 * @meta: bytes of metadata that are charged: @slots, its leaves, struct arena_slab
 * @faults: of the kernel, recovered by address
 * @all: in arena_slabs_all
 */
struct arena_slabs {
	struct bpf_arena *arena;
	struct arena_slot_table *slots;
	struct mutex lock;
	struct list_head caches;
	u64 id;
	struct llist_head dead;
	atomic_t dead_slots;
	struct irq_work irq;
	struct work_struct work;
	bool want_drain;
	unsigned long last_drain;
	unsigned long drain_started;
	unsigned long drain_done;
	wait_queue_head_t wait;
	bool going;
	struct obj_cgroup *objcg;
	bool has_zero;
	atomic_long_t counters[ARENA_NR_COUNTERS];
	atomic_long_t meta;
	struct arena_faults faults;
	struct list_head all;
};

static inline struct arena_slabs *arena_slabs(struct bpf_arena *arena)
{
	/* Pairs with the release in arena_slabs_create() */
	return smp_load_acquire(&arena->slabs);
}

static inline unsigned long *arena_slots_ptr(struct arena_slabs *sl, u32 pgoff)
{
	return pgoff < sl->slots->nr_pages ? arena_slot_ptr(sl->slots, pgoff) : NULL;
}

static inline void arena_count(struct arena_slabs *sl, unsigned int nr)
{
	atomic_long_inc(&sl->counters[nr]);
}

extern struct list_head arena_slabs_all;
/* Protects arena_slabs_all and the making of bpf_arena.slabs */
extern struct mutex arena_slabs_mutex;

unsigned long arena_slot(struct bpf_arena *arena, u32 pgoff);
u32 arena_next_free_slot(struct bpf_arena *arena, u32 pgoff, u32 end, u32 *next);
int arena_range_release(struct bpf_arena *arena, u32 pgoff, u32 page_cnt);
int arena_slots_prepare(struct bpf_arena *arena, u32 pgoff, u32 page_cnt, gfp_t gfp);
void arena_slots_set_large(struct bpf_arena *arena, u32 pgoff, u32 page_cnt);
bool arena_slab_access_ok(struct bpf_arena *arena, u32 pgoff);
void arena_push_slot(struct arena_slabs *sl, u32 pgoff, unsigned long slot);
bool arena_drained(struct arena_slabs *sl, bool nowait);
struct arena_slabs *arena_slabs_create(struct bpf_arena *arena);
struct bpf_arena_cache *
arena_cache_create(struct arena_slabs *sl, const char *name, unsigned int size,
		   unsigned int align, slab_flags_t flags, bool of_program);
void arena_slabs_destroy(struct bpf_arena *arena);
void arena_slabs_free(struct bpf_arena *arena);

/* kernel/bpf/arena_report.c */
int arena_cache_refuse(struct bpf_arena_cache *c, unsigned long offset, unsigned long slot,
		       u16 old);
void arena_refuse_object(struct bpf_arena *arena, struct bpf_prog_aux *aux, void *ptr,
			 unsigned long slot, u16 old);
u64 arena_slabs_mem_usage(struct bpf_arena *arena);
void arena_show_fdinfo(const struct bpf_map *map, struct seq_file *m);

#if IS_ENABLED(CONFIG_KUNIT)
/* The steps of a slab's way in that tests let fail on purpose */
int arena_charge_page(struct bpf_arena *arena, gfp_t gfp);
int arena_slots_add_leaf(struct arena_slabs *sl, u32 pgoff, gfp_t gfp, bool nolock);
int arena_place_slab(struct arena_slabs *sl, struct arena_slab *as, struct page *page);
#endif
#else
static inline unsigned long arena_slot(struct bpf_arena *arena, u32 pgoff)
{
	return 0;
}

static inline u32 arena_next_free_slot(struct bpf_arena *arena, u32 pgoff, u32 end, u32 *next)
{
	*next = end;
	return pgoff;
}

static inline int arena_range_release(struct bpf_arena *arena, u32 pgoff, u32 page_cnt)
{
	return range_tree_set(&arena->rt, pgoff, page_cnt);
}

static inline int arena_slots_prepare(struct bpf_arena *arena, u32 pgoff, u32 page_cnt, gfp_t gfp)
{
	return -EOPNOTSUPP;
}

static inline void arena_slots_set_large(struct bpf_arena *arena, u32 pgoff, u32 page_cnt) {}
static inline void arena_slabs_destroy(struct bpf_arena *arena) {}
static inline void arena_slabs_free(struct bpf_arena *arena) {}
static inline u64 arena_slabs_mem_usage(struct bpf_arena *arena) { return 0; }
#define arena_show_fdinfo	NULL
#endif

#endif /* KERNEL_BPF_ARENA_H */
