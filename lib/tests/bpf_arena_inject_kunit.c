// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation fails once, on every path into an arena and out of it, and the
 * arena's spinlock cannot be had.
 *
 * failslab does not know kmalloc_nolock(), spares who may reclaim, and reaches no
 * worker. So a kprobe stands on the allocator's own entry points: for the calls of one
 * task, or of the arena's two workers, it returns NULL in place of the function. A
 * path is run with the first call of a step failing, then with the second, until it
 * has no more; then with all of them failing, as they do where memory has run out.
 * After each the arena has to be whole, as it was before.
 *
 *	kunit.filter_glob=bpf_arena_inject
 */
#include <kunit/static_stub.h>
#include <linux/bitmap.h>
#include <linux/error-injection.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include "bpf_arena_slab_kunit.h"

#define TEST_PAGES	64
#define MIDDLE		20
#define NTH_MAX		2000
#define NTH_ALL		0

/* The kfuncs; only BTF knows them */
void *bpf_arena_alloc(void *p__map, u32 size);
void bpf_arena_free(void *p__map, void *ptr__ign, struct bpf_prog_aux *aux);
int bpf_arena_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt);

struct injection {
	struct kprobe kp;
	bool registered;
	long ret;
	/* Whose calls count */
	struct task_struct *task;
	struct work_struct *work[2];
	bool armed;
	unsigned int nth;
	unsigned int calls, failed, nofail;
};

struct inject_ctx {
	struct injection inj;
	struct bpf_arena *arena;
	struct bpf_prog *prog;
	struct bpf_arena_cache *c;	/* objects of a page: no sheaf keeps one */
	void *p;
	struct bpf_arena *made;
	unsigned long mapped;
	struct bpf_arena *going;
	bool ended, ended_early;
	u64 left;
};

static void *uaddr_of(u32 pgoff)
{
	return (void *)TEST_USER_START + (unsigned long)pgoff * PAGE_SIZE;
}

/* ---- a step that fails ---- */

enum step {
	STEP_NOLOCK,
	STEP_PAGE_NOLOCK,
	STEP_PAGES_NOLOCK,
	STEP_KMALLOC,
	STEP_KMALLOC_CONST,
	STEP_KMEM_CACHE,
	STEP_OBJECT,
	STEP_META_NOLOCK,
	STEP_PAGE,
	STEP_PERCPU,
	STEP_KVMALLOC,
	STEP_STRING,
	STEP_PTE,
	NR_STEPS,
};

static const struct {
	const char *symbol;
	long ret;
} steps[NR_STEPS] = {
	[STEP_NOLOCK]		= { "_kmalloc_nolock_noprof", 0 },
	/* SLUB's pages, and others */
	[STEP_PAGE_NOLOCK]	= { "alloc_frozen_pages_nolock_noprof", 0 },
	[STEP_PAGES_NOLOCK]	= { "alloc_pages_nolock_noprof", 0 },
	/* Of a size that the compiler does not know, and of one that it does */
	[STEP_KMALLOC]		= { "__kmalloc_noprof", 0 },
	[STEP_KMALLOC_CONST]	= { "__kmalloc_cache_noprof", 0 },
	/* struct kmem_cache, its files in sysfs, metadata of slabs with many objects */
	[STEP_KMEM_CACHE]	= { "kmem_cache_alloc_noprof", 0 },
	/* Objects of an arena cache that no sheaf has */
	[STEP_OBJECT]		= { "alloc_arena_slow", 0 },
	/* Before kmalloc_nolock() is tried */
	[STEP_META_NOLOCK]	= { "kmem_cache_alloc_nolock_noprof", 0 },
	[STEP_PAGE]		= { "__alloc_frozen_pages_noprof", 0 },
	[STEP_PERCPU]		= { "pcpu_alloc_noprof", 0 },
	[STEP_KVMALLOC]		= { "__kvmalloc_node_noprof", 0 },
	[STEP_STRING]		= { "kasprintf", 0 },
	[STEP_PTE]		= { "apply_to_page_range", -ENOMEM },
};

static bool is_concerned(struct injection *inj)
{
	struct work_struct *work;

	if (!READ_ONCE(inj->armed))
		return false;
	if (current == inj->task)
		return true;
	work = current->flags & PF_WQ_WORKER ? current_work() : NULL;
	return work && (work == inj->work[0] || work == inj->work[1]);
}

static int fail_the_nth(struct kprobe *kp, struct pt_regs *regs)
{
	struct injection *inj = container_of(kp, struct injection, kp);

	if (!is_concerned(inj))
		return 0;
	inj->calls++;
	if (inj->nth != NTH_ALL && inj->calls != inj->nth)
		return 0;
	inj->failed++;
	regs_set_return_value(regs, inj->ret);
	override_function_with_return(regs);
	return 1;
}
NOKPROBE_SYMBOL(fail_the_nth);
NOKPROBE_SYMBOL(is_concerned);

static int count_only(struct kprobe *kp, struct pt_regs *regs)
{
	struct injection *inj = container_of(kp, struct injection, kp);

	if (is_concerned(inj))
		inj->calls++;
	return 0;
}
NOKPROBE_SYMBOL(count_only);

/* Of a task, and not of who interrupts it, as the irq_work of a deferred free does */
static int count_in_task(struct kprobe *kp, struct pt_regs *regs)
{
	return in_hardirq() ? 0 : count_only(kp, regs);
}
NOKPROBE_SYMBOL(count_in_task);

static void injection_init(struct kunit *test, struct injection *inj, const char *symbol, long ret,
			   kprobe_pre_handler_t handler)
{
	*inj = (struct injection) {
		.kp = { .symbol_name = symbol, .pre_handler = handler },
		.ret = ret,
		.task = current,
	};
	KUNIT_ASSERT_EQ_MSG(test, register_kprobe(&inj->kp), 0, "%s", symbol);
	inj->registered = true;
}

static void injection_exit(struct injection *inj)
{
	if (inj->registered)
		unregister_kprobe(&inj->kp);
	inj->registered = false;
}

static void inject_step(struct kunit *test, struct injection *inj, enum step step)
{
	injection_init(test, inj, steps[step].symbol, steps[step].ret, fail_the_nth);
}

static void arm(struct injection *inj, struct bpf_arena *arena, unsigned int nth)
{
	inj->work[0] = arena ? &arena->free_work : NULL;
	inj->work[1] = arena && arena->slabs ? &arena->slabs->work : NULL;
	inj->nth = nth;
	inj->calls = 0;
	inj->failed = 0;
	WRITE_ONCE(inj->armed, true);
}

static void disarm(struct injection *inj)
{
	WRITE_ONCE(inj->armed, false);
}

/* ---- an arena, and whether it is whole ---- */

static void flush_once(struct bpf_arena *arena)
{
	irq_work_sync(&arena->free_irq);
	flush_work(&arena->free_work);
	if (arena->slabs) {
		irq_work_sync(&arena->slabs->irq);
		flush_work(&arena->slabs->work);
	}
}

/*
 * Until the workers have nothing left to do; they try again where memory was short.
 * SLUB keeps some empty slabs.
 */
static void settle(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena->slabs;
	struct bpf_arena_cache *c;

	flush_once(arena);
	if (sl) {
		mutex_lock(&sl->lock);
		list_for_each_entry(c, &sl->caches, list) {
			slab_arena_sync_deferred(c);
			kmem_cache_shrink(c->s);
		}
		mutex_unlock(&sl->lock);
	}
	for (int i = 0; i < 100 && sl; i++) {
		if (llist_empty(&sl->dead) && atomic_read(&sl->dead_slots) == ARENA_SLOT_NEXT_END)
			break;
		flush_once(arena);
	}
	flush_once(arena);
}

/* Nothing is in it, and all of it can be had */
static void expect_whole(struct kunit *test, struct bpf_arena *arena, const char *after)
{
	struct arena_slabs *sl = arena->slabs;
	u32 first = sl && sl->has_zero;

	settle(arena);
	KUNIT_EXPECT_EQ_MSG(test, arena->nr_pages, 0, "%s", after);
	KUNIT_EXPECT_EQ_MSG(test, counter(arena, ARENA_SLABS_MAPPED),
			    counter(arena, ARENA_SLABS_FREED), "%s", after);
	for (u32 pgoff = 0; pgoff < TEST_PAGES; pgoff++) {
		KUNIT_ASSERT_EQ_MSG(test, arena_slot(arena, pgoff), 0, "%s: page %u", after, pgoff);
		KUNIT_ASSERT_EQ_MSG(test, !is_range_tree_set(&arena->rt, pgoff, 1), pgoff >= first,
				    "%s: page %u", after, pgoff);
	}
	KUNIT_EXPECT_TRUE_MSG(test, list_empty(&arena->dying), "%s", after);
}

/* With a cache for objects of @size, if that is not 0 */
static void make_arena(struct kunit *test, struct inject_ctx *ctx, unsigned int size)
{
	ctx->arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	KUNIT_ASSERT_NOT_NULL(test, ctx->arena);
	ctx->prog = test_arena_prog(test, ctx->arena, do_nothing, 0);
	if (!size)
		return;
	ctx->c = bpf_arena_cache_create(&ctx->arena->map, "kunit", size, 0, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->c);
}

static void drop_arena(struct kunit *test, struct inject_ctx *ctx)
{
	if (!ctx->arena)
		return;
	bpf_arena_cache_destroy(ctx->c);
	ctx->c = NULL;
	test_arena_release(test, ctx->arena);
	test_arena_prog_free(ctx->prog);
	ctx->arena = NULL;
}

/* ---- paths in ---- */

static int create_arena(struct inject_ctx *ctx)
{
	ctx->made = test_arena_create(TEST_PAGES, TEST_USER_START + SZ_4G, 0);
	return ctx->made ? 0 : -ENOMEM;
}

static void destroy_arena(struct inject_ctx *ctx)
{
	test_arena_destroy(ctx->made);
}

static int create_cache(struct inject_ctx *ctx)
{
	struct bpf_map *map = &ctx->arena->map;
	struct bpf_arena_cache *c = bpf_arena_cache_create(map, "kunit", PAGE_SIZE, 0, 0);

	if (IS_ERR(c))
		return PTR_ERR(c);
	ctx->c = c;
	return 0;
}

static void destroy_cache(struct inject_ctx *ctx)
{
	bpf_arena_cache_destroy(ctx->c);
	ctx->c = NULL;
}

static int load_program(struct inject_ctx *ctx)
{
	return bpf_arena_prepare_alloc(ctx->arena, 1, PAGE_SIZE);
}

static int alloc_sleeping(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_cache_alloc(ctx->c, GFP_KERNEL | __GFP_RETRY_MAYFAIL);
	return ctx->p ? 0 : -ENOMEM;
}

static int alloc_nowait(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_cache_alloc(ctx->c, GFP_NOWAIT);
	return ctx->p ? 0 : -ENOMEM;
}

static int alloc_nolock(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_cache_alloc_nolock(ctx->c, 0);
	return ctx->p ? 0 : -ENOMEM;
}

static void free_object(struct inject_ctx *ctx)
{
	bpf_arena_cache_free(ctx->c, ctx->p);
}

/* All of the arena: the only node of the range tree goes */
static int alloc_large_nolock(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_alloc_non_sleepable(&ctx->arena->map, TEST_PAGES * PAGE_SIZE);
	return ctx->p ? 0 : -ENOMEM;
}

static void free_large(struct inject_ctx *ctx)
{
	bpf_arena_free_non_sleepable(&ctx->arena->map, ctx->p, ctx->prog->aux);
}

static int alloc_large_sleeping(struct inject_ctx *ctx)
{
	/* What bpf_arena_alloc() calls */
	ctx->p = (void *)arena_alloc_pages(ctx->arena, 0, TEST_PAGES, NUMA_NO_NODE, true, true);
	return ctx->p ? 0 : -ENOMEM;
}

static int alloc_pages_sleeping(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, NULL, 5, NUMA_NO_NODE, 0);
	return ctx->p ? 0 : -ENOMEM;
}

static int alloc_pages_middle(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, uaddr_of(MIDDLE), 5,
						 NUMA_NO_NODE, 0);
	return ctx->p ? 0 : -ENOMEM;
}

static int alloc_pages_nosleep(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_alloc_pages_non_sleepable(&ctx->arena->map, uaddr_of(MIDDLE), 5,
						     NUMA_NO_NODE, 0);
	return ctx->p ? 0 : -ENOMEM;
}

static void free_pages_5(struct inject_ctx *ctx)
{
	bpf_arena_free_pages(&ctx->arena->map, ctx->p, 5);
}

static int reserve_pages(struct inject_ctx *ctx)
{
	ctx->p = uaddr_of(MIDDLE);
	return bpf_arena_reserve_pages(&ctx->arena->map, ctx->p, 5);
}

/* A process touches a page in the middle, where nothing is */
static int user_fault(struct inject_ctx *ctx)
{
	ctx->p = uaddr_of(MIDDLE);
	return put_user(1ull, (u64 __user *)ctx->p) ? -ENOMEM : 0;
}

static void free_touched(struct inject_ctx *ctx)
{
	bpf_arena_free_pages(&ctx->arena->map, ctx->p, 1);
}

#define STEP(name)	BIT(STEP_##name)

static const struct inject_path {
	const char *what;
	int (*run)(struct inject_ctx *ctx);
	void (*undo)(struct inject_ctx *ctx);
	/* These have to have failed, else the path is not what it seems to be */
	unsigned long steps;
	/* Cannot fail: an arena has its page tables from the start */
	unsigned long never;
	unsigned int size;	/* of the objects of a cache that is there before */
	bool fresh;		/* a new arena each time: it keeps what succeeded */
	bool mapped;
	bool slow;		/* to do many times */
	bool retries;		/* with reclaim, what has failed under the spinlock */
} paths[] = {
	{ "create an arena", create_arena, destroy_arena, STEP(NOLOCK) | STEP(PTE), .slow = true },
	{ "create a cache", create_cache, destroy_cache, .fresh = true, .slow = true,
	  .steps = STEP(KMALLOC_CONST) | STEP(KVMALLOC) | STEP(PERCPU) | STEP(STRING) |
		   STEP(KMEM_CACHE) },
	{ "load a program", load_program, NULL, .fresh = true, .slow = true,
	  .steps = STEP(KMALLOC_CONST) | STEP(KVMALLOC) | STEP(PERCPU) | STEP(KMEM_CACHE) },
	{ "object, may sleep", alloc_sleeping, free_object, .size = PAGE_SIZE, .slow = true,
	  .steps = STEP(KMALLOC) | STEP(KMALLOC_CONST) | STEP(PAGE) | STEP(OBJECT),
	  .never = STEP(PTE) },
	{ "object, GFP_NOWAIT", alloc_nowait, free_object, .size = PAGE_SIZE,
	  .steps = STEP(KMALLOC) | STEP(KMALLOC_CONST) | STEP(PAGE) | STEP(OBJECT),
	  .never = STEP(PTE) },
	{ "object, any context", alloc_nolock, free_object, .size = PAGE_SIZE,
	  .steps = STEP(NOLOCK) | STEP(PAGE_NOLOCK) | STEP(OBJECT), .never = STEP(PTE) },
	/* Metadata out of a cache of its own; and the object out of a sheaf, which is filled */
	{ "small object, may sleep", alloc_sleeping, free_object, .size = 16, .slow = true,
	  .steps = STEP(KMALLOC_CONST) | STEP(KMEM_CACHE) | STEP(PAGE),
	  .never = STEP(PTE) },
	{ "small object, any context", alloc_nolock, free_object, .size = 16,
	  .steps = STEP(NOLOCK) | STEP(META_NOLOCK) | STEP(PAGE_NOLOCK) | STEP(OBJECT),
	  .never = STEP(PTE) },
	{ "large object, may sleep", alloc_large_sleeping, free_large, .size = PAGE_SIZE,
	  .retries = true, .steps = STEP(NOLOCK) | STEP(PAGE) | STEP(PTE) },
	{ "large object, any context", alloc_large_nolock, free_large, .size = PAGE_SIZE,
	  .steps = STEP(NOLOCK) | STEP(PAGES_NOLOCK) | STEP(PTE) },
	{ "pages, may sleep", alloc_pages_sleeping, free_pages_5, STEP(PAGE) | STEP(PTE) },
	{ "pages in the middle, may sleep", alloc_pages_middle, free_pages_5,
	  STEP(NOLOCK) | STEP(PAGE) | STEP(PTE), .retries = true },
	{ "pages in the middle, any context", alloc_pages_nosleep, free_pages_5,
	  STEP(NOLOCK) | STEP(PAGES_NOLOCK) | STEP(PTE) },
	{ "reserve pages in the middle", reserve_pages, free_pages_5, STEP(NOLOCK) },
	{ "user fault in the middle", user_fault, free_touched, .mapped = true,
	  .retries = true, .steps = STEP(NOLOCK) | STEP(PAGE) | STEP(PTE) },
};
KUNIT_ARRAY_PARAM_DESC(path, paths, what);

static void map_arena(struct kunit *test, struct inject_ctx *ctx, bool on)
{
	if (on) {
		ctx->mapped = test_arena_mmap(test, ctx->arena);
	} else if (ctx->mapped) {
		KUNIT_EXPECT_EQ(test, vm_munmap(ctx->mapped, TEST_PAGES * PAGE_SIZE), 0);
		ctx->mapped = 0;
	}
}

static void new_arena(struct kunit *test, struct inject_ctx *ctx, const struct inject_path *path)
{
	map_arena(test, ctx, false);
	drop_arena(test, ctx);
	make_arena(test, ctx, path->size);
	map_arena(test, ctx, path->mapped);
}

/* True if there was a call that could fail */
static bool run_with_failure(struct kunit *test, struct injection *inj,
			     const struct inject_path *path, enum step step, unsigned int nth)
{
	struct inject_ctx *ctx = test->priv;
	char what[64];
	int err;

	snprintf(what, sizeof(what), "%s, call %u", steps[step].symbol, nth);
	arm(inj, NULL, nth);
	err = path->run(ctx);
	disarm(inj);

	/* A retry may have saved it; without a failure there is no reason to fail */
	if (!inj->failed || (path->retries && step == STEP_NOLOCK && nth != NTH_ALL))
		KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s", what);
	if (err)
		KUNIT_EXPECT_EQ_MSG(test, err, -ENOMEM, "%s", what);
	else if (path->undo)
		path->undo(ctx);
	expect_whole(test, ctx->arena, what);
	if (ctx->c)
		KUNIT_EXPECT_EQ_MSG(test, refcount_read(&ctx->c->ref), 1, "%s", what);

	/* and once more, with nothing in the way */
	err = path->run(ctx);
	KUNIT_EXPECT_EQ_MSG(test, err, 0, "after %s", what);
	if (!err && path->undo)
		path->undo(ctx);
	expect_whole(test, ctx->arena, what);
	if (!path->size && path->fresh)
		test_arena_put_by_others(test, ctx->arena);
	return inj->failed;
}

/*
 * Each call in turn, but with KASAN where each failure takes a new arena, which takes seconds:
 * there a step is by as much as was done.
 */
static unsigned int next_nth(const struct inject_path *path, unsigned int nth)
{
	return nth + (path->fresh && IS_ENABLED(CONFIG_KASAN) ? 1 + nth : 1);
}

static void failing_path_unwinds(struct kunit *test)
{
	const struct inject_path *path = test->param_value;
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;

	for (int step = 0; step < NR_STEPS; step++) {
		unsigned int nth = 1;

		if (path->never & BIT(step))
			continue;
		new_arena(test, ctx, path);
		inject_step(test, inj, step);
		while (run_with_failure(test, inj, path, step, nth) && nth < NTH_MAX) {
			nth = next_nth(path, nth);
			if (path->fresh)
				new_arena(test, ctx, path);
		}
		if (nth > 1) {
			new_arena(test, ctx, path);
			run_with_failure(test, inj, path, step, NTH_ALL);
		}
		injection_exit(inj);
		KUNIT_EXPECT_LT_MSG(test, nth, NTH_MAX, "%s", steps[step].symbol);
		if (path->steps & BIT(step))
			KUNIT_EXPECT_GT_MSG(test, nth, 1, "%s is never called", steps[step].symbol);
	}
	map_arena(test, ctx, false);
	drop_arena(test, ctx);
	expect_no_caches(test);
}

/*
 * The same failure many times: what it leaves behind each time is more than the
 * allocators keep for themselves.
 */
#define LEAK_ROUNDS	400

/* Of all CPUs, with what they have not told the others yet */
static long pages_free(void)
{
	struct zone *zone;
	long nr = 0;

	drain_local_pages(NULL);
	for_each_populated_zone(zone)
		nr += zone_page_state_snapshot(zone, NR_FREE_PAGES);
	return nr;
}

static long pages_in_slabs(void)
{
	struct pglist_data *node;
	long nr = 0;
	int cpu;

	for_each_online_pgdat(node) {
		nr += node_page_state_pages(node, NR_SLAB_UNRECLAIMABLE_B);
		for_each_online_cpu(cpu)
			nr += per_cpu_ptr(node->per_cpu_nodestats, cpu)->
				vm_node_stat_diff[NR_SLAB_UNRECLAIMABLE_B];
	}
	return nr;
}

static void failure_leaks_nothing(struct kunit *test)
{
	const struct inject_path *path = test->param_value;
	struct inject_ctx *ctx = test->priv;
	long free[2], slab[2];
	struct injection *inj = &ctx->inj;

	if (IS_ENABLED(CONFIG_KASAN_GENERIC))
		kunit_skip(test, "KASAN keeps what was freed for a while");
	if (path->slow)
		kunit_skip(test, "takes long, and arena_slab -t 'inject/*' has a ledger");

	for (int step = 0; step < NR_STEPS; step++) {
		if (path->never & BIT(step))
			continue;
		new_arena(test, ctx, path);
		inject_step(test, inj, step);
		for (int i = 0; i < 2 * LEAK_ROUNDS; i++) {
			if (i == LEAK_ROUNDS) {
				free[0] = pages_free();
				slab[0] = pages_in_slabs();
			}
			arm(inj, NULL, NTH_ALL);
			if (!path->run(ctx)) {
				disarm(inj);
				if (path->undo)
					path->undo(ctx);
				if (!inj->failed)
					break;
			}
			disarm(inj);
		}
		settle(ctx->arena);
		free[1] = pages_free();
		slab[1] = pages_in_slabs();
		injection_exit(inj);
		if (!inj->failed)
			continue;
		/* The smallest thing that can be lost has 64 bytes: six pages */
		KUNIT_EXPECT_LT_MSG(test, slab[1] - slab[0], 4, "%s", steps[step].symbol);
		KUNIT_EXPECT_LT_MSG(test, free[0] - free[1], LEAK_ROUNDS / 2, "%s",
				    steps[step].symbol);
	}
}

/* ---- paths out ---- */

/* All pages but those of @p: a place that comes back needs a node of the range tree */
static void fill_arena(struct kunit *test, struct inject_ctx *ctx)
{
	while (bpf_arena_alloc_pages_sleepable(&ctx->arena->map, NULL, 1, NUMA_NO_NODE, 0))
		;
	KUNIT_ASSERT_EQ(test, ctx->arena->nr_pages, TEST_PAGES);
}

static void out_object(struct inject_ctx *ctx)
{
	bpf_arena_cache_free(ctx->c, ctx->p);
	kmem_cache_shrink(ctx->c->s);
	flush_once(ctx->arena);
}

static void out_object_nolock(struct inject_ctx *ctx)
{
	bpf_arena_cache_free_nolock(ctx->c, ctx->p);
	slab_arena_sync_deferred(ctx->c);
	kmem_cache_shrink(ctx->c->s);
	flush_once(ctx->arena);
}

static int take_large(struct inject_ctx *ctx)
{
	ctx->p = bpf_arena_alloc_non_sleepable(&ctx->arena->map, 3 * PAGE_SIZE);
	return ctx->p ? 0 : -ENOMEM;
}

static void out_large(struct inject_ctx *ctx)
{
	free_large(ctx);
	flush_once(ctx->arena);
}

static void out_cache(struct inject_ctx *ctx)
{
	bpf_arena_cache_destroy(ctx->c);
	ctx->c = NULL;
	flush_once(ctx->arena);
}

static const struct way_out {
	const char *what;
	int (*take)(struct inject_ctx *ctx);
	void (*give)(struct inject_ctx *ctx);
} ways_out[] = {
	{ "object", alloc_sleeping, out_object },
	{ "object, any context", alloc_sleeping, out_object_nolock },
	{ "large object", take_large, out_large },
	{ "cache with an object", alloc_sleeping, out_cache },
};
KUNIT_ARRAY_PARAM_DESC(way_out, ways_out, what);

/*
 * A free cannot fail, and allocates nothing but a node of the range tree for the place,
 * in the worker: which tries again until there is one.
 */
static void free_never_fails(struct kunit *test)
{
	const struct way_out *way = test->param_value;
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;
	unsigned int pages, failed[NR_STEPS] = {};
	DECLARE_BITMAP(places, TEST_PAGES);
	u32 pgoff;

	for (int step = 0; step < NR_STEPS; step++) {
		drop_arena(test, ctx);
		make_arena(test, ctx, PAGE_SIZE);
		KUNIT_ASSERT_EQ(test, way->take(ctx), 0);
		pages = ctx->arena->nr_pages;
		for (pgoff = 0; pgoff < TEST_PAGES; pgoff++)
			__assign_bit(pgoff, places, arena_slot(ctx->arena, pgoff));
		KUNIT_ASSERT_EQ(test, bitmap_weight(places, TEST_PAGES), pages);
		fill_arena(test, ctx);

		inject_step(test, inj, step);
		arm(inj, ctx->arena, NTH_ALL);
		way->give(ctx);
		/* The pages go at once: what has no node is the place */
		KUNIT_EXPECT_EQ_MSG(test, ctx->arena->nr_pages, TEST_PAGES - pages, "%s",
				    steps[step].symbol);
		disarm(inj);
		failed[step] = inj->failed;
		injection_exit(inj);

		settle(ctx->arena);
		for_each_set_bit(pgoff, places, TEST_PAGES)
			KUNIT_EXPECT_EQ_MSG(test, is_range_tree_set(&ctx->arena->rt, pgoff, 1), 0,
					    "%s: page %u", steps[step].symbol, pgoff);
		bpf_arena_free_pages(&ctx->arena->map, (void *)TEST_USER_START, TEST_PAGES);
		expect_whole(test, ctx->arena, steps[step].symbol);
	}
	KUNIT_EXPECT_GT(test, failed[STEP_NOLOCK], 0);
	for (int step = STEP_NOLOCK + 1; step < NR_STEPS; step++)
		KUNIT_EXPECT_EQ_MSG(test, failed[step], 0, "%s", steps[step].symbol);
}

/* Stands in for the end of a map_free() */
static void nothing_is_left(struct bpf_arena *arena)
{
	struct kunit *test = kunit_get_current_test();
	struct arena_slabs *sl = arena->slabs;

	KUNIT_EXPECT_EQ(test, atomic_read(&sl->dead_slots), ARENA_SLOT_NEXT_END);
	KUNIT_EXPECT_EQ(test, work_busy(&sl->work), 0);
	/* Where it is not so, not to be the end of the machine */
	flush_once(arena);
	current->kunit_test = NULL;
	arena_slabs_free(arena);
	current->kunit_test = test;
}

/* The worker does not try again once the arena goes: nobody wants a place, and it is gone then */
static void no_second_try_at_the_end(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;

	make_arena(test, ctx, 0);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_ASSERT_NOT_NULL(test, bpf_arena_alloc_non_sleepable(&ctx->arena->map, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, take_large(ctx), 0);
	fill_arena(test, ctx);

	inject_step(test, inj, STEP_NOLOCK);
	arm(inj, ctx->arena, NTH_ALL);
	free_large(ctx);
	flush_once(ctx->arena);
	kunit_activate_static_stub(test, arena_slabs_free, nothing_is_left);
	drop_arena(test, ctx);
	kunit_deactivate_static_stub(test, arena_slabs_free);
	disarm(inj);
	/* The large object's place at least twice, and the slab's */
	KUNIT_EXPECT_GT(test, inj->failed, 2);
	injection_exit(inj);
}

/*
 * Ordinary pages go at once as well. Where there is no node for their place, and reclaim
 * does not help either, it is lost until it is freed once more, or the arena goes.
 */
static void place_of_a_page_comes_back(struct kunit *test)
{
	static const char * const how[] = { "at once", "deferred" };
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;
	struct bpf_map *map;

	for (int i = 0; i < 4; i++) {
		bool deferred = i & 1, helps = i & 2;

		make_arena(test, ctx, PAGE_SIZE);
		map = &ctx->arena->map;
		fill_arena(test, ctx);
		inject_step(test, inj, STEP_NOLOCK);
		/* What is deferred needs memory to say so: not that one */
		arm(inj, ctx->arena, helps ? 1 : NTH_ALL);
		if (deferred) {
			inj->task = NULL;
			bpf_arena_free_pages_non_sleepable(map, uaddr_of(MIDDLE), 1);
			flush_once(ctx->arena);
		} else {
			bpf_arena_free_pages(map, uaddr_of(MIDDLE), 1);
		}
		disarm(inj);
		KUNIT_EXPECT_GT(test, inj->failed, 0);
		injection_exit(inj);
		KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, TEST_PAGES - 1);
		KUNIT_EXPECT_TRUE(test, list_empty(&ctx->arena->dying));
		KUNIT_EXPECT_EQ_MSG(test, !is_range_tree_set(&ctx->arena->rt, MIDDLE, 1), helps,
				    "%s", how[deferred]);

		bpf_arena_free_pages(map, uaddr_of(MIDDLE), 1);
		KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, MIDDLE, 1), 0);
		bpf_arena_free_pages(map, (void *)TEST_USER_START, TEST_PAGES);
		expect_whole(test, ctx->arena, how[deferred]);
		drop_arena(test, ctx);
	}
}

static void set_scratch(struct kunit *test, struct bpf_arena *arena, u32 pgoff)
{
	unsigned long kaddr = (unsigned long)test_arena_kaddr(arena, (u64)(long)uaddr_of(pgoff));

	KUNIT_ASSERT_TRUE(test, arena_map_scratch(arena, kaddr));
}

/*
 * The only free place has a scratch page, and who may not sleep has to leave it to the
 * worker. Without memory to say so it stays free: to give it back would take memory, too.
 */
static void place_with_scratch_comes_back(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;
	struct bpf_arena *arena;
	void *p;

	for (unsigned int nth = NTH_ALL; nth <= 2; nth++) {
		bool met;

		make_arena(test, ctx, PAGE_SIZE);
		arena = ctx->arena;
		fill_arena(test, ctx);
		bpf_arena_free_pages(&arena->map, uaddr_of(MIDDLE), 1);
		settle(arena);
		KUNIT_ASSERT_EQ(test, is_range_tree_set(&arena->rt, MIDDLE, 1), 0);
		set_scratch(test, arena, MIDDLE);

		inject_step(test, inj, STEP_NOLOCK);
		arm(inj, NULL, nth);
		p = bpf_arena_alloc_pages_non_sleepable(&arena->map, NULL, 1, NUMA_NO_NODE, 0);
		disarm(inj);
		met = inj->failed;
		injection_exit(inj);
		KUNIT_EXPECT_NULL(test, p);
		KUNIT_EXPECT_TRUE(test, met || nth > 1);

		/* At once, or when the worker has flushed TLBs */
		settle(arena);
		p = bpf_arena_alloc_pages_sleepable(&arena->map, NULL, 1, NUMA_NO_NODE, 0);
		KUNIT_EXPECT_PTR_EQ_MSG(test, p, uaddr_of(MIDDLE), "call %u", nth);
		KUNIT_EXPECT_EQ(test, arena->nr_pages, TEST_PAGES);
		bpf_arena_free_pages(&arena->map, (void *)TEST_USER_START, TEST_PAGES);
		expect_whole(test, arena, "scratch");
		drop_arena(test, ctx);
	}
}

/* The same in the middle of what is free: to take it is what takes memory, after the span */
static void place_with_scratch_stays_free(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;

	for (unsigned int nth = NTH_ALL; nth <= 2; nth++) {
		make_arena(test, ctx, PAGE_SIZE);
		set_scratch(test, ctx->arena, MIDDLE);
		inject_step(test, inj, STEP_NOLOCK);
		arm(inj, NULL, nth);
		KUNIT_EXPECT_EQ(test, alloc_pages_nosleep(ctx), -ENOMEM);
		disarm(inj);
		KUNIT_EXPECT_EQ(test, inj->failed, 1);
		injection_exit(inj);
		expect_whole(test, ctx->arena, "scratch in the middle");
		drop_arena(test, ctx);
	}
}

/*
 * Under the spinlock there is no memory for a node of the range tree, and outside of it
 * none either, where who may sleep has dropped the lock to get some.
 */
static void no_room_with_reclaim_either(struct kunit *test)
{
	static const struct inject_path ways[] = {
		{ "pages in the middle", alloc_pages_middle, free_pages_5 },
		{ "user fault in the middle", user_fault, free_touched, .mapped = true },
	};
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj, room;

	for (int i = 0; i < ARRAY_SIZE(ways); i++) {
		new_arena(test, ctx, &ways[i]);
		inject_step(test, inj, STEP_NOLOCK);
		inject_step(test, &room, STEP_KMALLOC_CONST);
		arm(inj, NULL, NTH_ALL);
		arm(&room, NULL, NTH_ALL);
		KUNIT_EXPECT_EQ_MSG(test, ways[i].run(ctx), -ENOMEM, "%s", ways[i].what);
		disarm(&room);
		disarm(inj);
		injection_exit(&room);
		injection_exit(inj);
		/* Once: it is not tried again without it */
		KUNIT_EXPECT_EQ(test, inj->failed, 1);
		KUNIT_EXPECT_EQ(test, room.failed, 1);
		expect_whole(test, ctx->arena, ways[i].what);
		KUNIT_EXPECT_EQ_MSG(test, ways[i].run(ctx), 0, "%s", ways[i].what);
		ways[i].undo(ctx);
		expect_whole(test, ctx->arena, ways[i].what);
	}
	map_arena(test, ctx, false);
	drop_arena(test, ctx);

	/* A free does not fail: it loses the place, until it is freed once more */
	make_arena(test, ctx, PAGE_SIZE);
	fill_arena(test, ctx);
	inject_step(test, inj, STEP_NOLOCK);
	inject_step(test, &room, STEP_KMALLOC_CONST);
	arm(inj, NULL, NTH_ALL);
	arm(&room, NULL, NTH_ALL);
	bpf_arena_free_pages(&ctx->arena->map, uaddr_of(MIDDLE), 1);
	disarm(&room);
	disarm(inj);
	injection_exit(&room);
	injection_exit(inj);
	KUNIT_EXPECT_EQ(test, room.failed, 1);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, TEST_PAGES - 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->arena->dying));
	bpf_arena_free_pages(&ctx->arena->map, (void *)TEST_USER_START, TEST_PAGES);
	expect_whole(test, ctx->arena, "a free");
	drop_arena(test, ctx);
}

#ifdef CONFIG_MEMCG
/*
 * What kmalloc_nolock() cannot charge goes back without a lock, too: the caller may have
 * interrupted who holds that of the slab's list.
 */
static void failed_charge_takes_no_lock(struct kunit *test)
{
	struct injection charge, slow;
	void *p;

	injection_init(test, &charge, "__memcg_slab_post_alloc_hook", false, fail_the_nth);
	injection_init(test, &slow, "__slab_free", 0, count_in_task);
	/* As if there were groups, which nobody has made yet */
	static_branch_inc(&memcg_kmem_online_key);
	arm(&charge, NULL, NTH_ALL);
	arm(&slow, NULL, NTH_ALL);
	p = kmalloc_nolock(64, __GFP_ACCOUNT, NUMA_NO_NODE);
	disarm(&slow);
	disarm(&charge);
	static_branch_dec(&memcg_kmem_online_key);
	injection_exit(&slow);
	injection_exit(&charge);

	KUNIT_EXPECT_EQ(test, charge.failed, 1);
	KUNIT_EXPECT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, slow.calls, 0);
	kfree_nolock(p);
}
#else
static void failed_charge_takes_no_lock(struct kunit *test)
{
	kunit_skip(test, "nobody is charged without CONFIG_MEMCG");
}
#endif

/* A free that cannot even be noted down leaves the pages as they are */
static void free_that_cannot_be_deferred(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;

	make_arena(test, ctx, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, alloc_pages_middle(ctx), 0);
	inject_step(test, inj, STEP_NOLOCK);
	arm(inj, ctx->arena, NTH_ALL);
	bpf_arena_free_pages_non_sleepable(&ctx->arena->map, ctx->p, 5);
	flush_once(ctx->arena);
	disarm(inj);
	KUNIT_EXPECT_EQ(test, inj->failed, 1);
	injection_exit(inj);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 5);
	bpf_arena_free_pages_non_sleepable(&ctx->arena->map, ctx->p, 5);
	expect_whole(test, ctx->arena, "again");
}

static int fail_what_may_fail(struct kprobe *kp, struct pt_regs *regs)
{
	struct injection *inj = container_of(kp, struct injection, kp);
	gfp_t gfp = regs_get_kernel_argument(regs, 1);

	if (!is_concerned(inj))
		return 0;
	if (gfp & __GFP_NOFAIL) {
		inj->nofail++;
		return 0;
	}
	return fail_the_nth(kp, regs);
}
NOKPROBE_SYMBOL(fail_what_may_fail);

/*
 * The worker is told of what a program could not wait for, whatever memory there is: that
 * are few. What is beyond them keeps to the limit of the arena's owner, and stays in use.
 */
static void only_few_frees_cannot_fail(struct kunit *test)
{
	const u32 nr = ARENA_LATER_MAX + 20;
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;
	struct bpf_arena *arena;
	void *p = (void *)TEST_USER_START;

	arena = test_arena_create(3 * nr, TEST_USER_START, 0);
	KUNIT_ASSERT_NOT_NULL(test, arena);
	ctx->arena = arena;
	KUNIT_ASSERT_PTR_EQ(test, p, bpf_arena_alloc_pages_sleepable(&arena->map, p, 3 * nr,
								     NUMA_NO_NODE, 0));
	injection_init(test, inj, steps[STEP_KMALLOC_CONST].symbol, 0, fail_what_may_fail);
	/* Somebody walks the mappings, which programs do not wait for, and the worker does */
	mutex_lock(&arena->zap_mutex);
	arm(inj, NULL, NTH_ALL);
	for (u32 i = 0; i < nr; i++)
		bpf_arena_free_pages(&arena->map, p + 3 * i * PAGE_SIZE, 2);
	disarm(inj);
	mutex_unlock(&arena->zap_mutex);
	injection_exit(inj);
	flush_once(arena);
	flush_once(arena);
	/* The worker may have one of them in what it took as a whole */
	KUNIT_EXPECT_GE(test, inj->nofail, ARENA_LATER_MAX);
	KUNIT_EXPECT_LE(test, inj->nofail, ARENA_LATER_MAX + 1);
	KUNIT_EXPECT_EQ(test, inj->failed, nr - inj->nofail);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 3 * nr - 2 * inj->nofail);
	/* Freed once more they go */
	bpf_arena_free_pages(&arena->map, p, 3 * nr);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, 3 * nr), 0);
	test_arena_destroy(arena);
	ctx->arena = NULL;
}

/* To free what is free already needs no memory: the range is not split for it */
static void free_of_nothing_loses_nothing(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;

	make_arena(test, ctx, PAGE_SIZE);
	inject_step(test, inj, STEP_NOLOCK);
	arm(inj, ctx->arena, NTH_ALL);
	bpf_arena_free_pages(&ctx->arena->map, uaddr_of(MIDDLE), 5);
	disarm(inj);
	injection_exit(inj);
	expect_whole(test, ctx->arena, "free of nothing");
}

/* The first cache takes the page at offset 0 out, for which it needs no node, and for good */
static void page_at_offset_zero(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;
	struct bpf_arena_cache *c;

	ctx->arena = test_arena_create(TEST_PAGES, 2 * SZ_4G, 0);
	KUNIT_ASSERT_NOT_NULL(test, ctx->arena);
	ctx->prog = test_arena_prog(test, ctx->arena, do_nothing, 0);

	inject_step(test, inj, STEP_NOLOCK);
	arm(inj, ctx->arena, NTH_ALL);
	c = bpf_arena_cache_create(&ctx->arena->map, "kunit", PAGE_SIZE, 0, 0);
	disarm(inj);
	injection_exit(inj);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
	ctx->c = c;
	expect_whole(test, ctx->arena, "page at offset 0");
	bpf_arena_free_pages(&ctx->arena->map, (void *)(2 * SZ_4G), 1);
	bpf_arena_free_pages(&ctx->arena->map, (void *)(2 * SZ_4G), TEST_PAGES);
	expect_whole(test, ctx->arena, "free of all");
}

/* ---- the spinlock cannot be had ---- */

/* By who already has it: a program in a context of its holder's */
static void lock_of_ones_own(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	void *first, *p, *large, *pages;
	struct bpf_arena *arena;
	struct bpf_map *map;
	unsigned long flags;
	int reserved;

	make_arena(test, ctx, PAGE_SIZE);
	arena = ctx->arena;
	map = &arena->map;
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	first = bpf_arena_alloc_non_sleepable(map, 64);
	KUNIT_ASSERT_NOT_NULL(test, first);
	KUNIT_ASSERT_EQ(test, alloc_pages_middle(ctx), 0);

	KUNIT_ASSERT_EQ(test, raw_res_spin_lock_irqsave(&arena->spinlock, flags), 0);
	p = bpf_arena_cache_alloc_nolock(ctx->c, 0);
	large = bpf_arena_alloc_non_sleepable(map, 2 * PAGE_SIZE);
	pages = bpf_arena_alloc_pages_non_sleepable(map, NULL, 1, NUMA_NO_NODE, 0);
	reserved = bpf_arena_reserve_pages(map, uaddr_of(MIDDLE + 10), 1);
	bpf_arena_free_pages_non_sleepable(map, ctx->p, 5);
	bpf_arena_free_non_sleepable(map, first, ctx->prog->aux);
	raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);

	KUNIT_EXPECT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, large);
	KUNIT_EXPECT_NULL(test, pages);
	KUNIT_EXPECT_EQ(test, reserved, -EBUSY);
	expect_whole(test, arena, "AA deadlock");
	KUNIT_EXPECT_EQ(test, refcount_read(&ctx->c->ref), 1);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_SLABS_MAPPED), 1);
	KUNIT_ASSERT_EQ(test, alloc_nolock(ctx), 0);
	free_object(ctx);
	expect_whole(test, arena, "afterwards");
}

/*
 * By nobody: the lock looks taken, and its holder does not come back. It would have to
 * spin somewhere, and too many wait for each CPU.
 */
#ifdef CONFIG_QUEUED_SPINLOCKS
static void take_away_lock(struct kunit *test, struct bpf_arena *arena)
{
	KUNIT_ASSERT_TRUE(test, queued_spin_trylock(&arena->spinlock));
}

static void put_back_lock(struct bpf_arena *arena)
{
	queued_spin_unlock(&arena->spinlock);
}
#else
static void take_away_lock(struct kunit *test, struct bpf_arena *arena)
{
	kunit_skip(test, "no queued spinlocks on this architecture");
}

static void put_back_lock(struct bpf_arena *arena) {}
#endif

#define LOCK_SLOW	"resilient_queued_spin_lock_slowpath"

static void lock_that_takes_too_long(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct injection *inj = &ctx->inj;
	void *p[20];
	int fault;

	make_arena(test, ctx, PAGE_SIZE);
	ctx->mapped = test_arena_mmap(test, ctx->arena);
	for (int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = bpf_arena_cache_alloc(ctx->c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	injection_init(test, inj, LOCK_SLOW, 0, count_only);

	take_away_lock(test, ctx->arena);
	arm(inj, ctx->arena, NTH_ALL);
	KUNIT_EXPECT_NULL(test, bpf_arena_cache_alloc_nolock(ctx->c, 0));
	KUNIT_EXPECT_NULL(test, bpf_arena_alloc_pages_non_sleepable(&ctx->arena->map, NULL, 1,
								    NUMA_NO_NODE, 0));
	/* SIGBUS to a process; the page at MIDDLE is not there, and is not made */
	fault = put_user(1ull, (u64 __user *)uaddr_of(MIDDLE));
	KUNIT_EXPECT_EQ(test, fault, -EFAULT);
	KUNIT_EXPECT_EQ(test, inj->calls, 3);

	/* The worker comes, fails, and comes again */
	inj->task = NULL;
	inj->calls = 0;
	for (int i = 0; i < ARRAY_SIZE(p); i++)
		bpf_arena_cache_free(ctx->c, p[i]);
	for (int i = 0; i < 500 && READ_ONCE(inj->calls) < 3; i++)
		msleep(20);
	KUNIT_EXPECT_GE(test, inj->calls, 3);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, ARRAY_SIZE(p));
	KUNIT_EXPECT_EQ(test, counter(ctx->arena, ARENA_SLABS_FREED), 0);
	disarm(inj);
	put_back_lock(ctx->arena);
	expect_whole(test, ctx->arena, "held too long");
	KUNIT_EXPECT_EQ(test, put_user(1ull, (u64 __user *)uaddr_of(MIDDLE)), 0);
	free_touched(&(struct inject_ctx){ .arena = ctx->arena, .p = uaddr_of(MIDDLE) });
	expect_whole(test, ctx->arena, "afterwards");
}

static void note_the_end(struct bpf_arena *arena)
{
	struct kunit *test = kunit_get_current_test();
	struct inject_ctx *ctx = test->priv;

	ctx->left = arena->nr_pages + counter(arena, ARENA_SLABS_MAPPED) -
		    counter(arena, ARENA_SLABS_FREED);
	ctx->ended = true;
	current->kunit_test = NULL;
	arena_slabs_free(arena);
	current->kunit_test = test;
}

static int release_later(void *data)
{
	struct inject_ctx *ctx = data;

	/*
	 * map_free() waits for the worker, the worker for the lock, a quarter of a second
	 * each time. Long enough for somebody who gives up to be done.
	 */
	msleep(1500);
	ctx->ended_early = READ_ONCE(ctx->ended);
	put_back_lock(ctx->going);
	return 0;
}

static void *slab_sleeping(struct inject_ctx *ctx)
{
	return bpf_arena_cache_alloc(ctx->c, GFP_KERNEL);
}

static void free_slab_sleeping(struct inject_ctx *ctx, void *p)
{
	bpf_arena_cache_free(ctx->c, p);
}

static void *large_sleeping(struct inject_ctx *ctx)
{
	return bpf_arena_alloc(&ctx->arena->map, 2 * PAGE_SIZE);
}

static void free_large_sleeping(struct inject_ctx *ctx, void *p)
{
	bpf_arena_free(&ctx->arena->map, p, ctx->prog->aux);
}

static void *page_sleeping(struct inject_ctx *ctx)
{
	return bpf_arena_alloc_pages_sleepable(&ctx->arena->map, NULL, 1, NUMA_NO_NODE, 0);
}

static void free_page_sleeping(struct inject_ctx *ctx, void *p)
{
	bpf_arena_free_pages(&ctx->arena->map, p, 1);
}

/* Who may sleep waits for the lock, however long its holder needs */
static void lock_is_waited_for(struct kunit *test)
{
	static const struct {
		const char *what;
		void *(*alloc)(struct inject_ctx *ctx);
		void (*free)(struct inject_ctx *ctx, void *p);
	} allocs[] = {
		{ "a slab", slab_sleeping, free_slab_sleeping },
		{ "a large object", large_sleeping, free_large_sleeping },
		{ "a page", page_sleeping, free_page_sleeping },
	};
	struct inject_ctx *ctx = test->priv;
	struct task_struct *t;
	void *p;

	make_arena(test, ctx, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 64, 64), 0);
	ctx->going = ctx->arena;
	for (int i = 0; i < ARRAY_SIZE(allocs); i++) {
		take_away_lock(test, ctx->arena);
		t = kthread_run(release_later, ctx, "arena-release");
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
		get_task_struct(t);
		p = allocs[i].alloc(ctx);
		kthread_stop_put(t);
		KUNIT_EXPECT_NOT_NULL_MSG(test, p, "%s", allocs[i].what);
		if (p)
			allocs[i].free(ctx, p);
	}
	expect_whole(test, ctx->arena, "waited for");
}

/* map_free() with leaked objects, and pages whose free was deferred, waits for the lock */
static void map_free_waits_for_the_lock(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;
	struct bpf_arena *arena;
	struct task_struct *t;

	make_arena(test, ctx, 0);
	arena = ctx->arena;
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	KUNIT_ASSERT_NOT_NULL(test, bpf_arena_alloc_non_sleepable(&arena->map, 64));
	KUNIT_ASSERT_NOT_NULL(test, bpf_arena_alloc_non_sleepable(&arena->map, 2 * PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, alloc_pages_middle(ctx), 0);
	kunit_activate_static_stub(test, arena_slabs_free, note_the_end);

	ctx->going = arena;
	take_away_lock(test, arena);
	bpf_arena_free_pages_non_sleepable(&arena->map, ctx->p, 5);
	t = kthread_run(release_later, ctx, "arena-release");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	ctx->arena = NULL;
	test_arena_destroy(arena);
	kthread_stop_put(t);
	kunit_deactivate_static_stub(test, arena_slabs_free);
	test_arena_prog_free(ctx->prog);

	KUNIT_EXPECT_FALSE(test, ctx->ended_early);
	KUNIT_EXPECT_TRUE(test, ctx->ended);
	/* The two pages of the large object go with the page tables */
	KUNIT_EXPECT_EQ(test, ctx->left, 2);
	KUNIT_EXPECT_FALSE(test, cache_exists("arena:"));
}

static int inject_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct inject_ctx), GFP_KERNEL);
	return test->priv ? 0 : -ENOMEM;
}

static void inject_exit(struct kunit *test)
{
	struct inject_ctx *ctx = test->priv;

	if (!ctx)
		return;
	injection_exit(&ctx->inj);
	/* A mapping went with the thread of the test */
	drop_arena(test, ctx);
}

static struct kunit_case inject_cases[] = {
	KUNIT_CASE_PARAM(failing_path_unwinds, path_gen_params),
	KUNIT_CASE_PARAM(failure_leaks_nothing, path_gen_params),
	KUNIT_CASE_PARAM(free_never_fails, way_out_gen_params),
	KUNIT_CASE(no_second_try_at_the_end),
	KUNIT_CASE(place_of_a_page_comes_back),
	KUNIT_CASE(place_with_scratch_comes_back),
	KUNIT_CASE(place_with_scratch_stays_free),
	KUNIT_CASE(no_room_with_reclaim_either),
	KUNIT_CASE(failed_charge_takes_no_lock),
	KUNIT_CASE(free_that_cannot_be_deferred),
	KUNIT_CASE(only_few_frees_cannot_fail),
	KUNIT_CASE(free_of_nothing_loses_nothing),
	KUNIT_CASE(page_at_offset_zero),
	KUNIT_CASE(lock_of_ones_own),
	KUNIT_CASE(lock_that_takes_too_long),
	KUNIT_CASE(lock_is_waited_for),
	KUNIT_CASE(map_free_waits_for_the_lock),
	{}
};

static struct kunit_suite inject_suite = {
	.name = "bpf_arena_inject",
	.init = inject_init,
	.exit = inject_exit,
	.test_cases = inject_cases,
};

kunit_test_suite(inject_suite);

MODULE_DESCRIPTION("KUnit tests of failing allocations and locks in BPF arenas");
MODULE_LICENSE("GPL");
