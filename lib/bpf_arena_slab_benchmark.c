// SPDX-License-Identifier: GPL-2.0
/*
 * Allocators under one and the same work: slab caches in a BPF arena, and their peers.
 *
 * The work is an array of u32 slot numbers that user space writes. An op is a slot: if
 * it is empty something is allocated into it, if it is full that is freed. So
 *
 *	0 0 0 0 0 0			a hot pair
 *	0 1 2 .. 63  0 1 2 .. 63	batches of 64, freed in order
 *	0 1 2 .. 63  63 .. 2 1 0	and in reverse
 *	0 .. 99999  7 7 81 81 3 3	100,000 live, and random replacement
 *
 * The peer "null" allocates nothing: what it takes is the loop's and has to be
 * subtracted. Each peer has the loop compiled in, with direct calls.
 *
 * In /sys/kernel/debug/bpf_arena_slab_bench/:
 *
 *	peers	a line each: NAME CONTEXT description
 *	run	one open file is one session, which ends with it:
 *
 *	1. write() one line, as the keys of bench_keys[] say:
 *		peer=NAME size=BYTES slots=N map=FD ops=COUNT prepare=COUNT rounds=COUNT
 *		irqs=on|off [cpu=N] [turn=COUNT] [cpus=N]
 *	2. write() so many ops, in pieces of any length
 *	3. read() runs it and gives
 *		loaded_ns N			the peer's cache or pool is made
 *		prepare_ns N			the first @prepare ops, with irqs on
 *		memory N			bytes that these took
 *		exact 0|1			by free pages, or the peer's own count
 *		pages N				the same by free pages, in any case
 *		round I ops N ns N failed N	the other ops, once for each round
 *		destroy_ns N			the cache or pool goes, with nothing live in it
 *
 * With several rounds, the ops after the first @prepare must leave the slots as they
 * were. What is live at the end is freed before destroy_ns begins.
 *
 * irqs=off: what is counted is the ops only, in chunks of BENCH_CHUNK with irqs off, so
 * that no tick is in a figure. Nobody sleeps. A chunk ends with what peers have left to
 * their irq_works, but what they leave to workers and to RCU is not in the figure.
 * irqs=on: the time that goes by, in which everything is that runs on that CPU.
 *
 * turn=N: after so many of the ops that are measured another CPU goes on, and after as
 * many more the first one again, so that with batches of N one allocates and the other one
 * frees. What it takes to move there is not counted, and nobody waits for the other one,
 * but where a peer interrupts it to flush its TLB. Under -icount what a worker does on the
 * other CPU meanwhile is in the figure.
 * cpus=N: so many CPUs do the same at once on slots of their own, with one cache. That
 * counts the time that goes by.
 *
 * All that runs ops is kthreads, each bound to a CPU. Whoever reads waits for them; a
 * signal that kills it ends them, within one chunk.
 *
 * Under `-icount shift=0` (QEMU) a nanosecond is an instruction, and with
 * kfence.sample_interval=0 two rounds with irqs off are equal: a KFENCE sample that is due
 * makes each allocation of a cache without KFENCE dearer until another cache has taken it.
 * No test depends on a figure of this file, and no kernel address leaves it.
 */
#include <linux/bpf.h>
#include <linux/bpf_mem_alloc.h>
#include <linux/capability.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/genalloc.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/seq_buf.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#ifdef CONFIG_SLAB_BPF_ARENA
#include <linux/bpf_arena_slab.h>
#endif
#include "../mm/page_alloc.h"
#include "../mm/slab.h"

#define BENCH_MAX_SLOTS		SZ_1M
#define BENCH_MAX_OPS		SZ_16M
#define BENCH_MAX_ROUNDS	100
#define BENCH_MAX_SIZE		SZ_64K
#define BENCH_LINE		256
/* Of what read() gives: a line a round, and six others, of 80 bytes at most */
#define BENCH_OUT		((BENCH_MAX_ROUNDS + 6) * 80)

/* Ops between two looks at the clock, and at whether it is time to go */
#define BENCH_CHUNK		256

/* What sched_ext's pool has, see scx_arena_consts in the kernel that has one */
#define BENCH_POOL_MIN_ORDER	3
#define BENCH_POOL_GROW_PAGES	4

/* In a slot: an allocation that failed, which its free passes over */
#define BENCH_FAILED		ERR_PTR(-ENOMEM)
/* In a slot: an object of the peer "null" */
#define BENCH_NULL_OBJECT	((void *)8)

/* The kfunc; only BTF knows it */
void bpf_arena_free_pages(void *p__map, void *ptr__ign, u32 page_cnt);

struct bench;
struct bench_thread;

/**
 * struct bench_peer - an allocator
 * @name: in the line that begins a session
 * @context: where it may be called: task (no NMI), sleepable (it sleeps to grow), any
 * @what: description
 * @arena: it needs an arena
 * @max_size: of its objects, 0 if BENCH_MAX_SIZE is all right
 * @create: make what is allocated from, or NULL
 * @destroy: the opposite, with no object left
 * @reserve: make room for so many objects, for those that sleep to grow; or NULL
 * @bytes: what it has in use, exactly; NULL if it cannot tell
 * @alloc: an object, NULL on failure
 * @free: free it
 * @ops: the loop of ops, with calls of these two in it
 */
struct bench_peer {
	const char *name;
	const char *context;
	const char *what;
	bool arena;
	unsigned int max_size;
	int (*create)(struct bench *b);
	void (*destroy)(struct bench *b);
	int (*reserve)(struct bench *b, u64 objects);
	u64 (*bytes)(struct bench *b);
	void *(*alloc)(struct bench *b);
	void (*free)(struct bench *b, void *p);
	void (*ops)(struct bench_thread *t, u32 from, u32 to);
};

/**
 * struct bench_thread - one CPU's part of a phase
 * @b: the session
 * @slots: its own
 * @work: what it does
 * @cpu: where
 * @from: first op,
 * @to: and the one behind the last
 * @start: when it began,
 * @end: and ended
 * @ns: in the chunks
 * @failed: allocations
 * @err: with turns, where its CPU is not online any more
 * @task: its kthread, during a phase
 * @done: the phase is
 */
struct bench_thread {
	struct bench *b;
	void **slots;
	void (*work)(struct bench_thread *t);
	unsigned int cpu;
	u32 from;
	u32 to;
	u64 start;
	u64 end;
	u64 ns;
	u64 failed;
	int err;
	struct task_struct *task;
	struct completion done;
};

/**
 * struct bench - a session
 * @lock: taken by each write() and read()
 * @peer: the allocator; NULL until there was a line
 * @map: the arena, or NULL
 * @size: of an object, in bytes
 * @pages: the same in pages
 * @nr_slots: of each CPU
 * @nr_ops: all of them
 * @prepare: the first ones, which are not measured
 * @rounds: how often the others are
 * @irqs_off: see above
 * @turn: ops, after which @other_cpu goes on, or the first one; or 0
 * @other_cpu: with @turn
 * @nr_threads: kthreads
 * @ops: the op array
 * @got: bytes of it that have come
 * @max_live: objects at most from there on, on one CPU
 * @balanced: the measured ops leave the slots as they were
 * @may_sleep: in this phase allocations may
 * @gfp: in this phase
 * @cache: the kmem_cache,
 * @ma: the BPF memory allocator,
 * @arena_cache: the cache in the arena,
 * @pool: the pool, of the peers that have one
 * @pool_chunks: of @pool,
 * @pool_meta: and what they take beside the arena's pages
 * @slots: of all CPUs, one after the other
 * @starting: threads that have not begun
 * @stop: somebody has killed us
 * @ran: read() has been here; its result is in @out or @err
 * @err: what came of it
 * @out: what read() gives
 * @threads: one for each CPU that takes part
 */
struct bench {
	/* one write() or read() at a time */
	struct mutex lock;
	const struct bench_peer *peer;
	struct bpf_map *map;
	unsigned int size;
	unsigned int pages;
	unsigned int nr_slots;
	unsigned int nr_ops;
	unsigned int prepare;
	unsigned int rounds;
	bool irqs_off;
	unsigned int turn;
	unsigned int other_cpu;
	unsigned int nr_threads;
	u32 *ops;
	size_t got;
	u32 max_live;
	bool balanced;
	bool may_sleep;
	gfp_t gfp;
	struct kmem_cache *cache;
	struct bpf_mem_alloc ma;
	struct bpf_arena_cache *arena_cache;
	struct gen_pool *pool;
	atomic_long_t pool_chunks;
	atomic_long_t pool_meta;
	void **slots;
	atomic_t starting;
	bool stop;
	bool ran;
	int err;
	struct seq_buf out;
	struct bench_thread *threads;
};

/* ---- the loop ---- */

/*
 * An allocation failed. With irqs off it may be that an irq_work would have refilled a
 * list in time, as that of bpf_mem_alloc does.
 */
static noinline void *bench_retry(struct bench_thread *t)
{
	struct bench *b = t->b;
	void *p = NULL;

	if (irqs_disabled()) {
		irq_work_run();
		p = b->peer->alloc(b);
	}
	if (p)
		return p;
	t->failed++;
	return BENCH_FAILED;
}

static __always_inline void bench_ops(struct bench_thread *t, u32 from, u32 to,
				      void *(*alloc)(struct bench *b),
				      void (*free)(struct bench *b, void *p))
{
	struct bench *b = t->b;
	void **slots = t->slots;

	for (const u32 *op = b->ops + from, *end = b->ops + to; op < end; op++) {
		void **slot = &slots[*op];
		void *p = *slot;

		if (p) {
			*slot = NULL;
			if (!IS_ERR(p))
				free(b, p);
			continue;
		}
		p = alloc(b);
		*slot = likely(p) ? p : bench_retry(t);
	}
}

#define BENCH_OPS(_peer)							\
static noinline void _peer##_ops(struct bench_thread *t, u32 from, u32 to)	\
{										\
	bench_ops(t, from, to, _peer##_alloc, _peer##_free);			\
}

/* ---- nothing ---- */

static __always_inline void *null_alloc(struct bench *b)
{
	void *p = BENCH_NULL_OBJECT;

	/* So that the loop cannot tell */
	OPTIMIZER_HIDE_VAR(p);
	return p;
}

static __always_inline void null_free(struct bench *b, void *p)
{
	barrier();
}

static u64 null_bytes(struct bench *b)
{
	return 0;
}

BENCH_OPS(null)

/* ---- an ordinary cache ---- */

static int kmem_cache_peer_create(struct bench *b)
{
	b->cache = kmem_cache_create("bpf_arena_slab_bench", b->size, 0, SLAB_NO_MERGE, NULL);
	return b->cache ? 0 : -ENOMEM;
}

static void kmem_cache_peer_destroy(struct bench *b)
{
	kmem_cache_destroy(b->cache);
}

static __always_inline void *kmem_cache_peer_alloc(struct bench *b)
{
	return kmem_cache_alloc(b->cache, b->gfp);
}

static __always_inline void kmem_cache_peer_free(struct bench *b, void *p)
{
	kmem_cache_free(b->cache, p);
}

#ifdef CONFIG_SLUB_DEBUG
static u64 kmem_cache_peer_bytes(struct bench *b)
{
	struct slabinfo info = {};

	get_slabinfo(b->cache, &info);
	return (u64)info.num_slabs << (info.cache_order + PAGE_SHIFT);
}
#else
#define kmem_cache_peer_bytes	NULL
#endif

BENCH_OPS(kmem_cache_peer)

/* ---- kmalloc() for any context ---- */

static __always_inline void *nolock_alloc(struct bench *b)
{
	return kmalloc_nolock(b->size, 0, NUMA_NO_NODE);
}

static __always_inline void nolock_free(struct bench *b, void *p)
{
	kfree_nolock(p);
}

BENCH_OPS(nolock)

/* ---- the BPF memory allocator ---- */

static int bpf_mem_create(struct bench *b)
{
	if (bpf_mem_alloc_check_size(false, b->size))
		return -EOPNOTSUPP;
	return bpf_mem_alloc_init(&b->ma, b->size, false);
}

static void bpf_mem_destroy(struct bench *b)
{
	bpf_mem_alloc_destroy(&b->ma);
}

static __always_inline void *bpf_mem_peer_alloc(struct bench *b)
{
	return bpf_mem_cache_alloc(&b->ma);
}

static __always_inline void bpf_mem_peer_free(struct bench *b, void *p)
{
	bpf_mem_cache_free(&b->ma, p);
}

BENCH_OPS(bpf_mem_peer)

/* ---- pages of an arena, charged to its map ---- */

static u64 arena_bytes(struct bench *b)
{
	return b->map->ops->map_mem_usage(b->map) + atomic_long_read(&b->pool_meta);
}

static __always_inline void *arena_pages_alloc(struct bench *b)
{
	if (b->may_sleep)
		return bpf_arena_alloc_pages_sleepable(b->map, NULL, b->pages, NUMA_NO_NODE, 0);
	return bpf_arena_alloc_pages_non_sleepable(b->map, NULL, b->pages, NUMA_NO_NODE, 0);
}

static __always_inline void arena_pages_free(struct bench *b, void *p)
{
	if (b->may_sleep)
		bpf_arena_free_pages(b->map, p, b->pages);
	else
		bpf_arena_free_pages_non_sleepable(b->map, p, b->pages);
}

BENCH_OPS(arena_pages)

/* ---- a pool over such pages, as sched_ext has it without slabs ---- */

static unsigned int pool_chunk_pages(const struct bench *b)
{
	return max(BENCH_POOL_GROW_PAGES, b->pages);
}

static int pool_create(struct bench *b)
{
	b->pool = gen_pool_create(BENCH_POOL_MIN_ORDER, NUMA_NO_NODE);
	return b->pool ? 0 : -ENOMEM;
}

static void pool_free_chunk(struct gen_pool *pool, struct gen_pool_chunk *chunk, void *data)
{
	struct bench *b = data;
	/* Its low half is all that counts */
	u64 uaddr = chunk->start_addr - bpf_arena_map_kern_vm_start(b->map);

	bpf_arena_free_pages_non_sleepable(b->map, (void *)uaddr, pool_chunk_pages(b));
}

static void pool_destroy(struct bench *b)
{
	/* A pool does not touch what it hands out: the pages may go first */
	gen_pool_for_each_chunk(b->pool, pool_free_chunk, b);
	gen_pool_destroy(b->pool);
}

static noinline int pool_grow(struct bench *b)
{
	unsigned int pages = pool_chunk_pages(b);
	size_t bytes = pages * PAGE_SIZE, meta;
	unsigned long kaddr;
	void *p;
	int err;

	p = bpf_arena_alloc_pages_sleepable(b->map, NULL, pages, NUMA_NO_NODE, 0);
	if (!p)
		return -ENOMEM;
	kaddr = bpf_arena_map_kern_vm_start(b->map) + (u32)(unsigned long)p;
	err = gen_pool_add(b->pool, kaddr, bytes, NUMA_NO_NODE);
	if (err) {
		bpf_arena_free_pages_non_sleepable(b->map, p, pages);
		return err;
	}
	/* It comes from vmalloc() */
	meta = sizeof(struct gen_pool_chunk) +
	       BITS_TO_LONGS(bytes >> BENCH_POOL_MIN_ORDER) * sizeof(long);
	atomic_long_add(PAGE_ALIGN(meta), &b->pool_meta);
	atomic_long_inc(&b->pool_chunks);
	return 0;
}

/*
 * Objects of one size, taken where the first gap is, leave no gap that is too small
 * but for the end of a chunk.
 */
static int pool_reserve(struct bench *b, u64 objects)
{
	size_t size = round_up(b->size, 1 << BENCH_POOL_MIN_ORDER);
	unsigned int in_chunk = pool_chunk_pages(b) * PAGE_SIZE / size;

	while ((u64)atomic_long_read(&b->pool_chunks) * in_chunk < objects) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (pool_grow(b))
			return -ENOMEM;
		cond_resched();
	}
	return 0;
}

static noinline void *pool_alloc(struct bench *b)
{
	unsigned long kaddr;

	if (b->may_sleep)
		might_sleep();
	for (;;) {
		kaddr = gen_pool_alloc(b->pool, b->size);
		if (kaddr || !b->may_sleep || pool_grow(b))
			return (void *)kaddr;
	}
}

static noinline void pool_free(struct bench *b, void *p)
{
	gen_pool_free(b->pool, (unsigned long)p, b->size);
}

BENCH_OPS(pool)

/* ---- a slab cache in the arena ---- */

#ifdef CONFIG_SLAB_BPF_ARENA
static int arena_cache_create(struct bench *b)
{
	struct bpf_arena_cache *c = bpf_arena_cache_create(b->map, "bench", b->size, 0, 0);

	if (IS_ERR(c))
		return PTR_ERR(c);
	b->arena_cache = c;
	return 0;
}

static void arena_cache_destroy(struct bench *b)
{
	bpf_arena_cache_destroy(b->arena_cache);
}

static __always_inline void *arena_cache_alloc(struct bench *b)
{
	return bpf_arena_cache_alloc(b->arena_cache, b->gfp);
}

static __always_inline void arena_cache_free(struct bench *b, void *p)
{
	bpf_arena_cache_free(b->arena_cache, p);
}

BENCH_OPS(arena_cache)

static __always_inline void *arena_cache_nolock_alloc(struct bench *b)
{
	return bpf_arena_cache_alloc_nolock(b->arena_cache, 0);
}

static __always_inline void arena_cache_nolock_free(struct bench *b, void *p)
{
	bpf_arena_cache_free_nolock(b->arena_cache, p);
}

BENCH_OPS(arena_cache_nolock)
#endif

#define BENCH_PEER(_peer)		\
	.alloc = _peer##_alloc,		\
	.free = _peer##_free,		\
	.ops = _peer##_ops

static const struct bench_peer bench_peers[] = {
	{
		.name = "null",
		.context = "any",
		.what = "nothing: the cost of the loop",
		.bytes = null_bytes,
		BENCH_PEER(null),
	}, {
		.name = "kmem_cache",
		.context = "task",
		.what = "kmem_cache_alloc() and kmem_cache_free()",
		.create = kmem_cache_peer_create,
		.destroy = kmem_cache_peer_destroy,
		.bytes = kmem_cache_peer_bytes,
		BENCH_PEER(kmem_cache_peer),
	}, {
		.name = "kmalloc_nolock",
		.context = "any",
		.what = "kmalloc_nolock() and kfree_nolock()",
		.max_size = KMALLOC_MAX_CACHE_SIZE,
		BENCH_PEER(nolock),
	}, {
		.name = "bpf_mem_alloc",
		.context = "any",
		.what = "bpf_mem_cache_alloc() and bpf_mem_cache_free()",
		.create = bpf_mem_create,
		.destroy = bpf_mem_destroy,
		BENCH_PEER(bpf_mem_peer),
	}, {
		.name = "gen_pool",
		.context = "sleepable",
		.what = "gen_pool over arena pages, as sched_ext had it",
		.arena = true,
		.create = pool_create,
		.destroy = pool_destroy,
		.reserve = pool_reserve,
		.bytes = arena_bytes,
		BENCH_PEER(pool),
	}, {
		.name = "arena_pages",
		.context = "any",
		.what = "bpf_arena_alloc_pages() and bpf_arena_free_pages()",
		.arena = true,
		.bytes = arena_bytes,
		BENCH_PEER(arena_pages),
#ifdef CONFIG_SLAB_BPF_ARENA
	}, {
		.name = "arena_cache",
		.context = "task",
		.what = "bpf_arena_cache_alloc() and bpf_arena_cache_free()",
		.arena = true,
		.max_size = PAGE_SIZE,
		.create = arena_cache_create,
		.destroy = arena_cache_destroy,
		.bytes = arena_bytes,
		BENCH_PEER(arena_cache),
	}, {
		.name = "arena_cache_nolock",
		.context = "any",
		.what = "bpf_arena_cache_alloc_nolock() and bpf_arena_cache_free_nolock()",
		.arena = true,
		.max_size = PAGE_SIZE,
		.create = arena_cache_create,
		.destroy = arena_cache_destroy,
		.bytes = arena_bytes,
		BENCH_PEER(arena_cache_nolock),
#endif
	},
};

/* ---- threads ---- */

static void bench_chunk(struct bench_thread *t, u32 from, u32 to)
{
	struct bench *b = t->b;
	unsigned long flags;
	u64 start;

	if (b->may_sleep) {
		start = ktime_get_ns();
		b->peer->ops(t, from, to);
		t->ns += ktime_get_ns() - start;
		return;
	}
	local_irq_save(flags);
	start = ktime_get_ns();
	b->peer->ops(t, from, to);
	/* What the peer could not do with irqs off is a part of its price */
	irq_work_run();
	t->ns += ktime_get_ns() - start;
	local_irq_restore(flags);
}

static void bench_work_ops(struct bench_thread *t)
{
	for (u32 i = t->from; i < t->to && !READ_ONCE(t->b->stop);) {
		u32 to = min(i + BENCH_CHUNK, t->to);

		bench_chunk(t, i, to);
		i = to;
		cond_resched();
	}
}

static void bench_work_turns(struct bench_thread *t)
{
	struct bench *b = t->b;
	bool other = false;

	for (u32 i = t->from, to; i < t->to && !READ_ONCE(b->stop); i = to) {
		to = min(i + b->turn, t->to);
		t->err = set_cpus_allowed_ptr(current, cpumask_of(other ? b->other_cpu : t->cpu));
		if (t->err)
			break;
		bench_chunk(t, i, to);
		other = !other;
		cond_resched();
	}
}

static int bench_thread(void *data)
{
	struct bench_thread *t = data;
	struct bench *b = t->b;

	/* Together: nobody is done before the last one has begun */
	atomic_dec(&b->starting);
	while (atomic_read(&b->starting) && !READ_ONCE(b->stop)) {
		cpu_relax();
		cond_resched();
	}
	t->start = ktime_get_ns();
	t->work(t);
	t->end = ktime_get_ns();
	complete(&t->done);
	return 0;
}

static int bench_threads_create(struct bench *b, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct bench_thread *t = &b->threads[i];
		struct task_struct *task;

		task = kthread_create(bench_thread, t, "arena_bench/%u", t->cpu);
		if (IS_ERR(task)) {
			while (i--)
				kthread_stop_put(b->threads[i].task);
			return PTR_ERR(task);
		}
		kthread_bind(task, t->cpu);
		t->task = get_task_struct(task);
		t->ns = 0;
		t->failed = 0;
		t->err = 0;
		init_completion(&t->done);
	}
	return 0;
}

/*
 * One pass over ops [@from, @to), on all CPUs that take part. @ns is the time that it
 * took and @failed the allocations that did.
 */
static int bench_phase(struct bench *b, u32 from, u32 to, bool irqs_off, bool turns, u64 *ns,
		       u64 *failed)
{
	unsigned int nr = b->nr_threads;
	u64 start = U64_MAX, end = 0;
	int err;

	b->may_sleep = !irqs_off;
	/* Not the OOM killer, which would not find who is to blame */
	b->gfp = irqs_off ? GFP_NOWAIT : GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	for (unsigned int i = 0; i < nr; i++) {
		struct bench_thread *t = &b->threads[i];

		t->from = from;
		t->to = to;
		t->work = turns ? bench_work_turns : bench_work_ops;
	}
	err = bench_threads_create(b, nr);
	if (err)
		return err;
	atomic_set(&b->starting, nr);
	for (unsigned int i = 0; i < nr; i++)
		wake_up_process(b->threads[i].task);
	for (unsigned int i = 0; i < nr; i++) {
		if (wait_for_completion_killable(&b->threads[i].done)) {
			WRITE_ONCE(b->stop, true);
			err = -EINTR;
		}
	}
	*failed = 0;
	for (unsigned int i = 0; i < nr; i++) {
		struct bench_thread *t = &b->threads[i];

		kthread_stop_put(t->task);
		start = min(start, t->start);
		end = max(end, t->end);
		*failed += t->failed;
		err = err ?: t->err;
	}
	*ns = turns || (nr == 1 && irqs_off) ? b->threads[0].ns : end - start;
	return err;
}

/* ---- a run ---- */

/*
 * How many objects do the ops have live, and do the measured ones leave the slots as
 * they were?
 */
static int bench_look(struct bench *b)
{
	unsigned long *full = bitmap_zalloc(b->nr_slots, GFP_KERNEL_ACCOUNT);
	unsigned long *odd = bitmap_zalloc(b->nr_slots, GFP_KERNEL_ACCOUNT);
	int err = 0;
	u32 live = 0;

	if (!full || !odd) {
		err = -ENOMEM;
		goto out;
	}
	for (u32 i = 0; i < b->nr_ops; i++) {
		if (i == b->prepare)
			b->max_live = live;
		if (i >= b->prepare)
			__change_bit(b->ops[i], odd);
		live += __test_and_change_bit(b->ops[i], full) ? -1 : 1;
		b->max_live = max(b->max_live, live);
		if (i % SZ_64K)
			continue;
		cond_resched();
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			goto out;
		}
	}
	b->balanced = bitmap_empty(odd, b->nr_slots);
out:
	bitmap_free(full);
	bitmap_free(odd);
	return err;
}

static u64 bench_free_bytes(void)
{
	unsigned long pages = 0;
	struct zone *zone;

	drain_all_pages(NULL);
	for_each_populated_zone(zone)
		pages += zone_page_state_snapshot(zone, NR_FREE_PAGES);
	return (u64)pages << PAGE_SHIFT;
}

static void bench_free_object(struct bench *b, void *p)
{
	if (!p || IS_ERR(p))
		return;
	/* As for all calls of a peer: those of BPF want to stay on their CPU */
	migrate_disable();
	b->peer->free(b, p);
	migrate_enable();
	cond_resched();
}

static void bench_free_all(struct bench *b)
{
	size_t nr = (size_t)b->nr_slots * b->nr_threads;

	b->may_sleep = true;
	for (size_t i = 0; i < nr; i++)
		bench_free_object(b, b->slots[i]);
}

static int bench_run_peer(struct bench *b)
{
	u64 exact, pages, ns, failed;
	int err;

	exact = b->peer->bytes ? b->peer->bytes(b) : 0;
	pages = bench_free_bytes();
	err = bench_phase(b, 0, b->prepare, false, false, &ns, &failed);
	if (err)
		return err;
	/* Others free memory, too */
	pages = max((s64)(pages - bench_free_bytes()), 0);
	exact = b->peer->bytes ? b->peer->bytes(b) - exact : pages;
	seq_buf_printf(&b->out, "prepare_ns %llu\nmemory %llu\nexact %d\npages %llu\n", ns,
		       exact, !!b->peer->bytes, pages);

	if (b->irqs_off && b->peer->reserve) {
		err = b->peer->reserve(b, (u64)b->max_live * b->nr_threads);
		if (err)
			return err;
	}
	for (unsigned int i = 0; i < b->rounds; i++) {
		u64 ops = (u64)(b->nr_ops - b->prepare) * b->nr_threads;

		err = bench_phase(b, b->prepare, b->nr_ops, b->irqs_off, b->turn, &ns, &failed);
		if (err)
			return err;
		seq_buf_printf(&b->out, "round %u ops %llu ns %llu failed %llu\n", i, ops, ns,
			       failed);
	}
	return 0;
}

static int bench_run(struct bench *b)
{
	u64 start;
	int err;

	err = bench_look(b);
	if (err)
		return err;
	if (b->rounds > 1 && !b->balanced)
		return -EINVAL;
	/* Growth that is not to be measured would be a figure of something else */
	if (b->irqs_off && b->peer->reserve && !b->balanced)
		return -EOPNOTSUPP;

	start = ktime_get_ns();
	err = b->peer->create ? b->peer->create(b) : 0;
	if (err)
		return err;
	seq_buf_printf(&b->out, "loaded_ns %llu\n", ktime_get_ns() - start);
	err = bench_run_peer(b);
	bench_free_all(b);
	start = ktime_get_ns();
	if (b->peer->destroy)
		b->peer->destroy(b);
	seq_buf_printf(&b->out, "destroy_ns %llu\n", ktime_get_ns() - start);
	return err;
}

/* ---- the line that begins a session ---- */

enum bench_key {
	BENCH_SIZE,
	BENCH_SLOTS,
	BENCH_MAP,
	BENCH_OPS_COUNT,
	BENCH_PREPARE,
	BENCH_ROUNDS,
	BENCH_CPU,
	BENCH_TURN,
	BENCH_CPUS,
	BENCH_NR_NUMBERS,
	BENCH_PEER_NAME = BENCH_NR_NUMBERS,
	BENCH_IRQS,
	BENCH_NR_KEYS,
};

static const struct bench_key_limits {
	const char *name;
	bool needed;
	int min;
	int max;
} bench_keys[] = {
	[BENCH_SIZE]		= { "size", true, 1, BENCH_MAX_SIZE },
	[BENCH_SLOTS]		= { "slots", true, 1, BENCH_MAX_SLOTS },
	[BENCH_MAP]		= { "map", true, -1, INT_MAX },
	[BENCH_OPS_COUNT]	= { "ops", true, 1, BENCH_MAX_OPS },
	[BENCH_PREPARE]		= { "prepare", true, 0, BENCH_MAX_OPS },
	[BENCH_ROUNDS]		= { "rounds", true, 1, BENCH_MAX_ROUNDS },
	[BENCH_CPU]		= { "cpu", false, 0, INT_MAX },
	[BENCH_TURN]		= { "turn", false, 1, BENCH_CHUNK },
	[BENCH_CPUS]		= { "cpus", false, 1, INT_MAX },
	[BENCH_PEER_NAME]	= { "peer", true },
	[BENCH_IRQS]		= { "irqs", true },
};

static_assert(ARRAY_SIZE(bench_keys) == BENCH_NR_KEYS);

struct bench_line {
	const char *peer;
	bool irqs_off;
	int number[BENCH_NR_NUMBERS];
	unsigned long given;
};

static int bench_parse_word(struct bench_line *l, char *word)
{
	char *value = strchr(word, '=');
	unsigned int key;

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	for (key = 0; strcmp(bench_keys[key].name, word);)
		if (++key == BENCH_NR_KEYS)
			return -EINVAL;
	if (__test_and_set_bit(key, &l->given))
		return -EINVAL;

	switch (key) {
	case BENCH_PEER_NAME:
		l->peer = value;
		return 0;
	case BENCH_IRQS:
		l->irqs_off = !strcmp(value, "off");
		return l->irqs_off || !strcmp(value, "on") ? 0 : -EINVAL;
	default:
		if (kstrtoint(value, 10, &l->number[key]) ||
		    l->number[key] < bench_keys[key].min || l->number[key] > bench_keys[key].max)
			return -EINVAL;
		return 0;
	}
}

static int bench_parse(struct bench_line *l, char *text)
{
	char *word;
	int err;

	while ((word = strsep(&text, " ")) != NULL) {
		err = *word ? bench_parse_word(l, word) : 0;
		if (err)
			return err;
	}
	for (unsigned int i = 0; i < BENCH_NR_KEYS; i++)
		if (bench_keys[i].needed && !test_bit(i, &l->given))
			return -EINVAL;
	if (l->number[BENCH_PREPARE] > l->number[BENCH_OPS_COUNT])
		return -EINVAL;
	/* Either so many CPUs at once, or this one, and perhaps another one in turn */
	if (test_bit(BENCH_CPUS, &l->given) &&
	    (test_bit(BENCH_CPU, &l->given) || test_bit(BENCH_TURN, &l->given)))
		return -EINVAL;
	return 0;
}

static int bench_set_cpus(struct bench *b, const struct bench_line *l)
{
	unsigned int nr = 1, cpu;

	if (test_bit(BENCH_CPUS, &l->given))
		nr = l->number[BENCH_CPUS];
	if (nr > num_online_cpus())
		return -EINVAL;
	b->threads = kcalloc(nr, sizeof(*b->threads), GFP_KERNEL_ACCOUNT);
	if (!b->threads)
		return -ENOMEM;

	cpu = test_bit(BENCH_CPUS, &l->given) ? cpumask_first(cpu_online_mask) :
	      test_bit(BENCH_CPU, &l->given) ? l->number[BENCH_CPU] : raw_smp_processor_id();
	for (unsigned int i = 0; i < nr; i++) {
		if (i)
			cpu = cpumask_next(cpu, cpu_online_mask);
		if (cpu >= nr_cpu_ids || !cpu_online(cpu))
			return -EINVAL;
		b->threads[i].b = b;
		b->threads[i].cpu = cpu;
	}
	b->nr_threads = nr;
	if (test_bit(BENCH_TURN, &l->given)) {
		b->turn = l->number[BENCH_TURN];
		b->other_cpu = cpumask_any_but(cpu_online_mask, cpu);
		if (b->other_cpu >= nr_cpu_ids)
			return -EINVAL;
	}
	return 0;
}

static int bench_set_map(struct bench *b, int fd)
{
	struct bpf_map *map = bpf_map_get(fd);

	if (IS_ERR(map))
		return PTR_ERR(map);
	b->map = map;
	if (map->map_type != BPF_MAP_TYPE_ARENA)
		return -EINVAL;
	/* The map is the first member of struct bpf_arena */
	return bpf_arena_get_user_vm_start((struct bpf_arena *)map) ? 0 : -EINVAL;
}

static int bench_set_memory(struct bench *b)
{
	unsigned int nr = b->nr_threads;
	char *out;

	b->ops = kvmalloc_array(b->nr_ops, sizeof(*b->ops), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	b->slots = kvcalloc(array_size(nr, b->nr_slots), sizeof(*b->slots),
			    GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	out = kzalloc(BENCH_OUT, GFP_KERNEL_ACCOUNT);
	/* Freed with the session, whatever of it is there */
	seq_buf_init(&b->out, out, BENCH_OUT);
	if (!b->ops || !b->slots || !out)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr; i++)
		b->threads[i].slots = b->slots + (size_t)i * b->nr_slots;
	return 0;
}

static int bench_set(struct bench *b, const struct bench_line *l)
{
	const struct bench_peer *peer = NULL;
	int err;

	for (unsigned int i = 0; i < ARRAY_SIZE(bench_peers) && !peer; i++)
		if (!strcmp(bench_peers[i].name, l->peer))
			peer = &bench_peers[i];
	if (!peer)
		return -ENOENT;

	b->size = l->number[BENCH_SIZE];
	b->pages = DIV_ROUND_UP(b->size, PAGE_SIZE);
	b->nr_slots = l->number[BENCH_SLOTS];
	b->nr_ops = l->number[BENCH_OPS_COUNT];
	b->prepare = l->number[BENCH_PREPARE];
	b->rounds = l->number[BENCH_ROUNDS];
	b->irqs_off = l->irqs_off;
	if (peer->max_size && b->size > peer->max_size)
		return -EOPNOTSUPP;
	if (peer->create == bpf_mem_create && bpf_mem_alloc_check_size(false, b->size))
		return -EOPNOTSUPP;
	/* Its spinlocks sleep, so that most peers cannot be called then */
	if (b->irqs_off && IS_ENABLED(CONFIG_PREEMPT_RT))
		return -EOPNOTSUPP;

	err = bench_set_cpus(b, l);
	if (!err && peer->arena)
		err = bench_set_map(b, l->number[BENCH_MAP]);
	if (!err)
		err = bench_set_memory(b);
	if (!err)
		b->peer = peer;
	return err;
}

/* ---- the file ---- */

/* All that bench_set() has made, so that another line may follow one that failed */
static void bench_reset(struct bench *b)
{
	kvfree(b->ops);
	kvfree(b->slots);
	kfree(b->threads);
	kfree(b->out.buffer);
	if (b->map)
		bpf_map_put(b->map);
	memset_startat(b, 0, peer);
}

static int bench_write_line(struct bench *b, const char __user *from, size_t len)
{
	struct bench_line l = {};
	char *text;
	int err;

	if (len < 2 || len > BENCH_LINE)
		return -EINVAL;
	text = memdup_user_nul(from, len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	err = -EINVAL;
	/* One line, all of it */
	if (strlen(text) == len && strchr(text, '\n') == text + len - 1) {
		text[len - 1] = '\0';
		err = bench_parse(&l, text);
		if (!err)
			err = bench_set(b, &l);
		if (err)
			bench_reset(b);
	}
	kfree(text);
	return err;
}

static int bench_write_ops(struct bench *b, const char __user *from, size_t len)
{
	size_t first = b->got / sizeof(*b->ops), nr = len / sizeof(*b->ops);

	if (b->ran)
		return -EBUSY;
	if (len % sizeof(*b->ops) || nr > b->nr_ops - first)
		return -EINVAL;
	if (copy_from_user(b->ops + first, from, len))
		return -EFAULT;
	for (size_t i = first; i < first + nr; i++)
		if (b->ops[i] >= b->nr_slots)
			return -EINVAL;
	b->got += len;
	return 0;
}

/* The position is that of what is read; what is written goes on where it was */
static ssize_t bench_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	struct bench *b = file->private_data;
	int err;

	if (mutex_lock_killable(&b->lock))
		return -EINTR;
	err = b->peer ? bench_write_ops(b, from, len) : bench_write_line(b, from, len);
	mutex_unlock(&b->lock);
	return err ?: len;
}

static ssize_t bench_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct bench *b = file->private_data;
	ssize_t ret;

	if (mutex_lock_killable(&b->lock))
		return -EINTR;
	if (!b->peer || b->got != b->nr_ops * sizeof(*b->ops)) {
		ret = -EINVAL;
		goto out;
	}
	if (!b->ran) {
		b->ran = true;
		b->err = bench_run(b);
	}
	ret = b->err;
	if (!ret)
		ret = simple_read_from_buffer(to, len, pos, b->out.buffer, seq_buf_used(&b->out));
out:
	mutex_unlock(&b->lock);
	return ret;
}

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench *b;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	b = kzalloc_obj(*b, GFP_KERNEL_ACCOUNT);
	if (!b)
		return -ENOMEM;
	mutex_init(&b->lock);
	file->private_data = b;
	return 0;
}

static int bench_release(struct inode *inode, struct file *file)
{
	struct bench *b = file->private_data;

	bench_reset(b);
	mutex_destroy(&b->lock);
	kfree(b);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.write = bench_write,
	.read = bench_read,
	.release = bench_release,
};

static int bench_peers_show(struct seq_file *m, void *v)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(bench_peers); i++)
		seq_printf(m, "%s %s %s\n", bench_peers[i].name, bench_peers[i].context,
			   bench_peers[i].what);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(bench_peers);

static int __init bench_init(void)
{
	struct dentry *dir = debugfs_create_dir("bpf_arena_slab_bench", NULL);

	debugfs_create_file("peers", 0400, dir, NULL, &bench_peers_fops);
	debugfs_create_file("run", 0600, dir, NULL, &bench_fops);
	return 0;
}
late_initcall(bench_init);
