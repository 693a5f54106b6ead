// SPDX-License-Identifier: GPL-2.0
/*
 * How slab caches and their arenas go: with objects in use, in sheaves of CPUs that
 * are offline, half way through a free, and while others still look at the caches.
 * And what a small arena gives out again, which hangs on the same drains.
 *
 *	kunit.filter_glob=bpf_arena_teardown
 *
 * The last moments of an arena are seen by look_at_the_end(), a static stub of
 * arena_slabs_free(): all pages of slabs must have gone by then.
 */
#include <kunit/static_stub.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/node.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include "bpf_arena_slab_kunit.h"
#include "../../mm/page_alloc.h"

#define TEST_PAGES	4096
#define SMALL_CLASSES	11

/* What the arena looked like when nothing but its page tables was left to free */
struct last_moments {
	bool seen;
	unsigned int slabs;
	long mapped;
	long freed;
	u64 pages;
};

struct td_ctx {
	struct bpf_arena *arena;
	struct bpf_prog *prog;
	struct last_moments last;
	unsigned int released, stuck;	/* slabs; by a task that cannot leave its CPU */
};

/* ---- looking at an arena ---- */

static unsigned int full_slabs(struct bpf_arena *arena)
{
	unsigned int nr = 0;

	for (u32 pgoff = 0; pgoff < arena->slabs->slots->nr_pages; pgoff++) {
		struct arena_slab *as = slab_at(arena, pgoff);

		nr += as && slab_objects_that_are(as, ARENA_OBJ_LIVE) == as->cache->objects;
	}
	return nr;
}

static void look_at_the_end(struct bpf_arena *arena)
{
	struct kunit *test = kunit_get_current_test();
	struct td_ctx *ctx = test->priv;

	if (arena->slabs) {
		ctx->last = (struct last_moments) {
			.seen = true,
			.mapped = counter(arena, ARENA_SLABS_MAPPED),
			.freed = counter(arena, ARENA_SLABS_FREED),
			.pages = arena->nr_pages,
		};
		for (u32 pgoff = 0; pgoff < arena->slabs->slots->nr_pages; pgoff++) {
			unsigned long slot = arena_slot(arena, pgoff);

			ctx->last.slabs += arena_slot_is_slab(slot) ||
					   (slot & ARENA_SLOT_KIND) == ARENA_SLOT_DYING;
		}
	}
	current->kunit_test = NULL;
	arena_slabs_free(arena);
	current->kunit_test = test;
}

/*
 * map_free() of an arena whose caches are all of programs, or gone; @rest pages of
 * it are not slabs'. Nothing of its slabs may be left afterwards.
 */
static void destroy_and_check(struct kunit *test, struct bpf_arena *arena, u64 rest)
{
	struct td_ctx *ctx = test->priv;
	char name[40] = "arena:none";

	test_arena_put_by_others(test, arena);
	if (arena->slabs)
		snprintf(name, sizeof(name), "arena:%llu:", arena->slabs->id);

	memset(&ctx->last, 0, sizeof(ctx->last));
	kunit_activate_static_stub(test, arena_slabs_free, look_at_the_end);
	test_arena_destroy(arena);
	kunit_deactivate_static_stub(test, arena_slabs_free);

	KUNIT_EXPECT_TRUE(test, ctx->last.seen);
	KUNIT_EXPECT_EQ(test, ctx->last.slabs, 0);
	KUNIT_EXPECT_EQ(test, ctx->last.mapped, ctx->last.freed);
	KUNIT_EXPECT_EQ(test, ctx->last.pages, rest);
	KUNIT_EXPECT_FALSE(test, cache_exists(name));
}

static struct bpf_arena *arena_of(struct kunit *test, u32 pages)
{
	struct bpf_arena *arena = test_arena_create(pages, TEST_USER_START, 0);

	KUNIT_ASSERT_NOT_NULL(test, arena);
	return arena;
}

static struct bpf_arena_cache *cache_of(struct kunit *test, struct bpf_arena *arena,
					unsigned int size)
{
	struct bpf_arena_cache *c = bpf_arena_cache_create(&arena->map, "kunit", size, 0, 0);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
	return c;
}

static unsigned int class_size(unsigned int i)
{
	static const u32 sizes[SMALL_CLASSES] = {
		16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, PAGE_SIZE,
	};

	return sizes[i];
}

/* ---- objects, from a CPU of one's choice, by work_on_cpu() ---- */

struct job {
	struct bpf_arena_cache *c;
	void **p;
	unsigned int nr, got;		/* how many are wanted, and had */
	unsigned int first, step;	/* which of them go back */
	bool nolock;
};

static void *take_one(struct job *j)
{
	void *p = NULL;

	if (!j->nolock)
		return bpf_arena_cache_alloc(j->c, GFP_KERNEL);
	/* Without spinning, a lock of the page allocator's may be in the way */
	for (int i = 0; i < 3 && !p; i++)
		p = bpf_arena_cache_alloc_nolock(j->c, 0);
	return p;
}

static long take(void *data)
{
	struct job *j = data;

	for (; j->got < j->nr; j->got++) {
		j->p[j->got] = take_one(j);
		if (!j->p[j->got])
			break;
		cond_resched();
	}
	return 0;
}

static long give(void *data)
{
	struct job *j = data;

	for (unsigned int i = j->first; i < j->got; i += j->step) {
		if (j->nolock)
			bpf_arena_cache_free_nolock(j->c, j->p[i]);
		else
			bpf_arena_cache_free(j->c, j->p[i]);
		cond_resched();
	}
	return 0;
}

/* Each of the other CPUs gives back its share, so that the sheaves of all are in use */
static void give_from_others(struct job *j, unsigned int cpu)
{
	unsigned int other;

	j->first = 0;
	j->step = num_online_cpus() - 1;
	for_each_online_cpu(other) {
		if (other == cpu)
			continue;
		work_on_cpu(other, give, j);
		j->first++;
	}
	j->got = 0;
}

static unsigned int second_cpu(struct kunit *test)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	return cpumask_nth(1, cpu_online_mask);
}

/* ---- leaks ---- */

/* @nr objects, of which, once all are there, every @free_every'th goes back */
static void leak(struct kunit *test, struct bpf_arena *arena, u32 size, unsigned int nr,
		 unsigned int free_every)
{
	struct td_ctx *ctx = test->priv;
	void **p = kunit_kcalloc(test, nr, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (unsigned int i = 0; i < nr; i++) {
		/* It fails where somebody holds a lock: the one before us is still going */
		for (int tries = 0; tries < 50 && !p[i]; tries++) {
			if (tries)
				msleep(20);
			p[i] = bpf_arena_alloc_non_sleepable(&arena->map, size);
		}
		KUNIT_EXPECT_NOT_NULL(test, p[i]);
	}
	for (unsigned int i = 0; free_every && i < nr; i += free_every)
		bpf_arena_free_non_sleepable(&arena->map, p[i], ctx->prog->aux);
	kunit_kfree(test, p);
}

static void leaks_of_all_kinds(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct td_ctx *ctx = test->priv;
	u64 large;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, PAGE_SIZE), 0);
	/* Every third: slabs that are in part free, and sheaves that are not empty */
	for (int i = 0; i < SMALL_CLASSES; i++)
		leak(test, arena, class_size(i), 500, i & 1 ? 3 : 0);
	sync_slabs(arena);
	KUNIT_EXPECT_GT(test, objects_that_are(arena, ARENA_OBJ_LIVE), 4000);
	KUNIT_EXPECT_GT(test, objects_that_are(arena, ARENA_OBJ_CACHED), 0);
	KUNIT_EXPECT_GT(test, full_slabs(arena), 100);

	large = arena->nr_pages;
	leak(test, arena, 3 * PAGE_SIZE, 30, 0);
	large = arena->nr_pages - large;
	KUNIT_EXPECT_EQ(test, large, 90);
	/* These are on the worker's stack, or in its hands, when map_free() begins */
	leak(test, arena, 5 * PAGE_SIZE, 20, 1);

	destroy_and_check(test, arena, large);
	KUNIT_EXPECT_GT(test, ctx->last.mapped, 500);
}

/* Objects are given back, and the irq_work that takes them has not run yet */
struct irqs_off {
	struct td_ctx *ctx;
	struct bpf_arena *arena;
	void **p;
	unsigned int nr;
	unsigned int deferred, too_early;
	bool irqs_on;
	struct completion pending;
};

static struct irqs_off *irqs_off;

/* The objects on the deferred stack are still somebody's: their slab has to wait */
static void release_after_deferred(struct kmem_cache *s, struct slab *slab)
{
	struct kunit *test = kunit_get_current_test();

	irqs_off->too_early += !READ_ONCE(irqs_off->irqs_on);
	current->kunit_test = NULL;
	slab_arena_release(s, slab);
	current->kunit_test = test;
}

static int free_with_irqs_off(void *data)
{
	struct irqs_off *o = data;

	local_irq_disable();
	for (unsigned int i = 0; i < o->nr; i++)
		bpf_arena_free_non_sleepable(&o->arena->map, o->p[i], o->ctx->prog->aux);
	o->deferred = 0;
	for (u32 pgoff = 0; pgoff < o->arena->slabs->slots->nr_pages; pgoff++) {
		unsigned long slot = arena_slot(o->arena, pgoff);

		if (arena_slot_is_slab(slot) &&
		    (((struct arena_slab *)slot)->state[0] & ARENA_OBJ_TAG) == ARENA_OBJ_DEFERRED)
			o->deferred++;
	}
	complete(&o->pending);
	/* map_free() begins now, and has to wait for us */
	mdelay(200);
	WRITE_ONCE(o->irqs_on, true);
	local_irq_enable();
	return 0;
}

static void deferred_frees_are_pending(struct kunit *test)
{
	/* So small an arena that there are no sheaves: every such free is deferred */
	struct bpf_arena *arena = arena_of(test, 32);
	struct irqs_off o = { .ctx = test->priv, .arena = arena, .nr = 16 };
	unsigned int cpu = second_cpu(test);
	struct task_struct *t;

	o.p = kunit_kcalloc(test, o.nr, sizeof(*o.p), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o.p);
	init_completion(&o.pending);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, PAGE_SIZE, PAGE_SIZE), 0);
	for (unsigned int i = 0; i < o.nr; i++) {
		o.p[i] = bpf_arena_alloc_non_sleepable(&arena->map, PAGE_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, o.p[i]);
	}
	t = kthread_create(free_with_irqs_off, &o, "arena-irqs-off");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	kthread_bind(t, cpu);
	wake_up_process(t);
	wait_for_completion(&o.pending);

	irqs_off = &o;
	kunit_activate_static_stub(test, slab_arena_release, release_after_deferred);
	destroy_and_check(test, arena, 0);
	kunit_deactivate_static_stub(test, slab_arena_release);
	kthread_stop_put(t);
	KUNIT_EXPECT_EQ(test, o.too_early, 0);
	/* else nothing was pending, and the test says nothing */
	KUNIT_EXPECT_EQ(test, o.deferred, o.nr);
}

static long free_pages_now(void)
{
	/* Areas that were unmapped, and KASAN's shadow of them */
	vm_unmap_aliases();
	rcu_barrier();
	drain_all_pages(NULL);
	return global_zone_page_state(NR_FREE_PAGES);
}

/*
 * Two runs of one irq_work overlap, and the first to end clears the other's BUSY. The
 * second one is still running, on the other CPU, when the end of its owner begins.
 */
struct two_runs {
	void (*func)(struct irq_work *work);
	struct irq_work *work;
	atomic_t begun, done;
	unsigned int too_early;
};

static struct two_runs *two_runs;

static void run_of_two(struct irq_work *work)
{
	struct two_runs *r = two_runs;

	if (atomic_inc_return(&r->begun) == 1) {
		/* Ends once the second one has begun, which is a while before its own end */
		for (int i = 0; i < 5000 && atomic_read(&r->begun) < 2; i++)
			udelay(1000);
		mdelay(5);
	} else {
		mdelay(500);
	}
	r->func(work);
	atomic_inc(&r->done);
}

static long queue_it(void *data)
{
	struct two_runs *r = data;

	irq_work_queue(r->work);
	return 0;
}

static void release_after_runs(struct kmem_cache *s, struct slab *slab)
{
	struct kunit *test = kunit_get_current_test();

	two_runs->too_early += atomic_read(&two_runs->done) < 2;
	current->kunit_test = NULL;
	slab_arena_release(s, slab);
	current->kunit_test = test;
}

static int second_run(void *data)
{
	struct two_runs *r = data;

	for (int i = 0; i < 5000 && !atomic_read(&r->begun); i++)
		udelay(1000);
	queue_it(r);
	return 0;
}

/* Returns on the CPU of the first run, with the second one under way */
static void start_two_runs(struct kunit *test, struct two_runs *r, struct irq_work *work)
{
	struct task_struct *t;

	*r = (struct two_runs){ .func = work->func, .work = work };
	two_runs = r;
	work->func = run_of_two;
	t = kthread_create(second_run, r, "arena-second-run");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	kthread_bind(t, second_cpu(test));
	wake_up_process(t);
	work_on_cpu(cpumask_first(cpu_online_mask), queue_it, r);
	/* The first has ended where this one runs; BUSY should be the second one's */
	while (atomic_read(&r->done) < 1 || atomic_read(&r->begun) < 2)
		msleep(1);
}

/* @r is on a stack */
static void end_two_runs(struct two_runs *r)
{
	while (atomic_read(&r->done) < 2)
		msleep(1);
}

static void all_deferred_runs_end_first(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct two_runs r;
	struct bpf_arena_cache *c;

	second_cpu(test);
	c = cache_of(test, arena, 64);
	KUNIT_ASSERT_NOT_NULL(test, bpf_arena_cache_alloc(c, GFP_KERNEL));
	start_two_runs(test, &r, &c->deferred_irq);
	kunit_activate_static_stub(test, slab_arena_release, release_after_runs);
	bpf_arena_cache_destroy(c);
	kunit_deactivate_static_stub(test, slab_arena_release);
	KUNIT_EXPECT_EQ(test, r.too_early, 0);
	end_two_runs(&r);
	destroy_and_check(test, arena, 0);
}

/* The first mmap() has set the start of the arena, and not yet its end */
static int prepare_64(void *data)
{
	return bpf_arena_prepare_alloc(data, 64, 64);
}

static void mmap_half_way(struct kunit *test)
{
	struct bpf_arena *arena = test_arena_create(16, 0, 0);
	struct task_struct *t;

	KUNIT_ASSERT_NOT_NULL(test, arena);
	mutex_lock(&arena->lock);
	arena->user_vm_start = TEST_USER_START;
	t = kthread_create(prepare_64, arena, "arena-prepare");
	if (!IS_ERR(t)) {
		get_task_struct(t);
		wake_up_process(t);
		/* It should be waiting; if it is not, it has seen an arena of 2^52 pages */
		msleep(100);
	}
	arena->user_vm_end = TEST_USER_START + 16 * PAGE_SIZE;
	mutex_unlock(&arena->lock);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t));
	KUNIT_EXPECT_EQ(test, kthread_stop_put(t), 0);
	KUNIT_EXPECT_NOT_NULL(test, arena->slabs);
	if (arena->slabs)
		KUNIT_EXPECT_EQ(test, arena->slabs->slots->nr_pages, 16);
	destroy_and_check(test, arena, 0);
}

static int cmp_long(const void *a, const void *b)
{
	return cmp_int(*(const long *)a, *(const long *)b);
}

/*
 * A page that was lost in each round would show in the machine's free memory. So do
 * page tables, KASAN's quarantine and what others free a little later, but not in
 * proportion: the median of later rounds is compared with that of earlier ones.
 */
static void pages_come_back(struct kunit *test)
{
	const int pages = 2500;
	long free[2][5], lost;
	const int half = ARRAY_SIZE(free[0]);

	/* The first round warms up what SLUB keeps */
	for (int i = -1; i < 2 * half; i++) {
		struct bpf_arena *arena = arena_of(test, TEST_PAGES);

		KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 2048, PAGE_SIZE), 0);
		leak(test, arena, PAGE_SIZE, pages - 500, 0);
		leak(test, arena, 2048, 1000, 0);
		destroy_and_check(test, arena, 0);
		if (i >= 0)
			free[i / half][i % half] = free_pages_now();
	}
	for (int i = 0; i < 2; i++)
		sort(free[i], half, sizeof(free[i][0]), cmp_long, NULL);
	lost = free[0][half / 2] - free[1][half / 2];
	kunit_info(test, "%ld of %d pages are not free again", lost, half * pages);
	KUNIT_EXPECT_LT(test, lost, half * pages / 4);
}

/* ---- CPUs that are gone ---- */

#ifdef CONFIG_HOTPLUG_CPU

static struct bpf_arena_cache *fill_sheaves(struct kunit *test, struct bpf_arena *arena,
					    unsigned int cpu, struct job *j)
{
	*j = (struct job) {
		.c = cache_of(test, arena, 64),
		.p = kunit_kcalloc(test, 300, sizeof(*j->p), GFP_KERNEL),
		.nr = 300,
		.step = 1,
	};
	KUNIT_ASSERT_NOT_NULL(test, j->p);
	work_on_cpu(cpu, take, j);
	KUNIT_ASSERT_EQ(test, j->got, j->nr);
	work_on_cpu(cpu, give, j);
	KUNIT_EXPECT_GT(test, objects_that_are(arena, ARENA_OBJ_CACHED), 0);
	return j->c;
}

/* Its sheaves are emptied when it goes; the rest is the barn's */
static void offlined_cpu_holds_nothing(struct kunit *test)
{
	unsigned int cpu = second_cpu(test);
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct bpf_arena_cache *c;
	struct job j;

	c = fill_sheaves(test, arena, cpu, &j);
	KUNIT_ASSERT_EQ(test, remove_cpu(cpu), 0);
	kmem_cache_shrink(c->s);
	sync_slabs(arena);
	KUNIT_EXPECT_EQ(test, objects_that_are(arena, ARENA_OBJ_CACHED), 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_SLABS_MAPPED),
			counter(arena, ARENA_SLABS_FREED));
	KUNIT_EXPECT_EQ(test, add_cpu(cpu), 0);

	/* and it starts with empty ones */
	j.got = 0;
	work_on_cpu(cpu, take, &j);
	KUNIT_EXPECT_EQ(test, j.got, j.nr);
	bpf_arena_cache_destroy(c);
	destroy_and_check(test, arena, 0);
}

static void arena_goes_while_a_cpu_is_offline(struct kunit *test)
{
	unsigned int cpu = second_cpu(test);
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct bpf_arena_cache *c;
	struct job j;

	c = fill_sheaves(test, arena, cpu, &j);
	KUNIT_ASSERT_EQ(test, remove_cpu(cpu), 0);
	bpf_arena_cache_destroy(c);
	destroy_and_check(test, arena, 0);
	KUNIT_EXPECT_EQ(test, add_cpu(cpu), 0);
}

static void note_migration(struct kmem_cache *s, struct slab *slab)
{
	struct kunit *test = kunit_get_current_test();
	struct td_ctx *ctx = test->priv;

	ctx->released++;
	ctx->stuck += !!current->migration_disabled;
	current->kunit_test = NULL;
	slab_arena_release(s, slab);
	current->kunit_test = test;
}

/*
 * bpf_map_free() disables migration. A CPU that goes offline waits, with
 * cpu_hotplug_lock held for writing, for those who cannot leave it; who waits for
 * that lock there, as the detach does, never ends.
 */
static void detach_can_leave_its_cpu(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct td_ctx *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	leak(test, arena, 64, 200, 0);
	kunit_activate_static_stub(test, slab_arena_release, note_migration);
	destroy_and_check(test, arena, 0);
	kunit_deactivate_static_stub(test, slab_arena_release);
	KUNIT_EXPECT_GT(test, ctx->released, 0);
	KUNIT_EXPECT_EQ(test, ctx->stuck, 0);
}

static int up_and_down(void *data)
{
	unsigned int cpu = (unsigned long)data;

	while (!kthread_should_stop()) {
		if (remove_cpu(cpu))
			return -EBUSY;
		if (add_cpu(cpu))
			return -EBUSY;
	}
	return 0;
}

static void arenas_go_while_a_cpu_comes_and_goes(struct kunit *test)
{
	unsigned int cpu = second_cpu(test);
	struct task_struct *t;

	t = kthread_run(up_and_down, (void *)(unsigned long)cpu, "arena-hotplug");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	for (int i = 0; i < 20; i++) {
		struct bpf_arena *arena = arena_of(test, TEST_PAGES);

		KUNIT_EXPECT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 512), 0);
		leak(test, arena, 64, 500, 2);
		leak(test, arena, 300, 100, 1);
		destroy_and_check(test, arena, 0);
	}
	KUNIT_EXPECT_EQ(test, kthread_stop_put(t), 0);
}
#endif /* CONFIG_HOTPLUG_CPU */

/* ---- those who hold a cache or walk over all of them ---- */

/* kernel/bpf/kmem_cache_iter.c; only BTF knows them */
struct bpf_iter_kmem_cache {
	__u64 __opaque[1];
} __aligned(8);

int bpf_iter_kmem_cache_new(struct bpf_iter_kmem_cache *it);
struct kmem_cache *bpf_iter_kmem_cache_next(struct bpf_iter_kmem_cache *it);
void bpf_iter_kmem_cache_destroy(struct bpf_iter_kmem_cache *it);

/* What a BPF program's iterator stands on when the arena goes */
static void iterator_holds_the_cache(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct bpf_iter_kmem_cache it;
	struct kmem_cache *s;
	char name[40];

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, PAGE_SIZE), 0);
	for (int i = 0; i < SMALL_CLASSES; i++)
		leak(test, arena, class_size(i), 100, 3);

	snprintf(name, sizeof(name), "arena:%llu:256", arena->slabs->id);
	bpf_iter_kmem_cache_new(&it);
	while ((s = bpf_iter_kmem_cache_next(&it)) && strcmp(s->name, name))
		;
	KUNIT_ASSERT_NOT_NULL(test, s);

	/* Not destroy_and_check(): the one cache stays */
	kunit_activate_static_stub(test, arena_slabs_free, look_at_the_end);
	test_arena_destroy(arena);
	kunit_deactivate_static_stub(test, arena_slabs_free);
	KUNIT_EXPECT_EQ(test, ((struct td_ctx *)test->priv)->last.slabs, 0);
	KUNIT_EXPECT_TRUE(test, cache_exists(name));

	/* It is a cache like others, only empty; its arena is not looked for */
	KUNIT_EXPECT_STREQ(test, s->name, name);
	KUNIT_EXPECT_EQ(test, kmem_cache_shrink(s), 0);
	bpf_iter_kmem_cache_destroy(&it);
	KUNIT_EXPECT_FALSE(test, cache_exists(name));
}

/* Who gives up empty slabs of a cache, beside the one who destroys it */
static void shrink_by_sysfs(struct kmem_cache *s)
{
	/* shrink_store() */
	kmem_cache_shrink(s);
}

static void shrink_by_drain(struct kmem_cache *s)
{
	slab_arena_drain(s);
}

#if defined(CONFIG_MEMORY_HOTPLUG) && defined(CONFIG_NUMA)
/* What offline_pages() does for the last memory of a node */
static void shrink_by_memory_offline(struct kmem_cache *s)
{
	struct node_notify nn = { .nid = first_online_node };

	mem_hotplug_begin();
	node_notify(NODE_REMOVING_LAST_MEMORY, &nn);
	mem_hotplug_done();
}
#endif

static const struct shrinker_kind {
	const char *what;
	void (*shrink)(struct kmem_cache *s);
} shrinkers[] = {
	{ "sysfs", shrink_by_sysfs },
	{ "drain", shrink_by_drain },
#if defined(CONFIG_MEMORY_HOTPLUG) && defined(CONFIG_NUMA)
	{ "memory offline", shrink_by_memory_offline },
#endif
};
KUNIT_ARRAY_PARAM_DESC(shrinker, shrinkers, what);

/* An empty slab on its way out: off all lists, and its slot still points to it */
struct window {
	struct kunit *test;
	struct kmem_cache *s;
	const struct shrinker_kind *kind;
	struct completion in_it, detached;
	bool entered, overtaken;
};

static struct window *window;

static void wait_in_the_window(struct kmem_cache *s, struct slab *slab)
{
	struct window *w = window;

	if (s == w->s && !w->entered) {
		w->entered = true;
		complete(&w->in_it);
		w->overtaken = wait_for_completion_timeout(&w->detached, HZ / 2);
	}
	/* Somebody else has given it up, page and all: it must not be touched */
	if (s == w->s && w->overtaken)
		return;
	current->kunit_test = NULL;
	slab_arena_release(s, slab);
	current->kunit_test = w->test;
}

static int shrink_into_the_window(void *data)
{
	struct window *w = data;

	current->kunit_test = w->test;
	w->kind->shrink(w->s);
	current->kunit_test = NULL;
	complete(&w->in_it);
	return 0;
}

/* A slab that a shrinker has in its hands is not given up by the detach as well */
static void detach_meets_a_shrinker(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct bpf_arena_cache *c = cache_of(test, arena, 512);
	struct window w = { .test = test, .s = c->s, .kind = test->param_value };
	struct task_struct *t;
	void *p;

	/* One slab, empty, on the partial list */
	p = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	bpf_arena_cache_free(c, p);

	init_completion(&w.in_it);
	init_completion(&w.detached);
	window = &w;
	kunit_activate_static_stub(test, slab_arena_release, wait_in_the_window);
	t = kthread_run(shrink_into_the_window, &w, "arena-shrink");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	wait_for_completion(&w.in_it);
	KUNIT_EXPECT_TRUE(test, w.entered);

	/* The first half of bpf_arena_cache_destroy(): the other would free c->s */
	slab_arena_detach(c->s);
	complete(&w.detached);
	kthread_stop_put(t);
	kunit_deactivate_static_stub(test, slab_arena_release);
	KUNIT_EXPECT_FALSE(test, w.overtaken);

	bpf_arena_cache_destroy(c);
	destroy_and_check(test, arena, 0);
}

static int shrink_all_the_time(void *data)
{
	const struct shrinker_kind *kind = data;
	struct bpf_iter_kmem_cache it;
	struct kmem_cache *s;

	while (!kthread_should_stop()) {
		/* The iterator's reference stands in for that of an open sysfs file */
		bpf_iter_kmem_cache_new(&it);
		while ((s = bpf_iter_kmem_cache_next(&it)))
			if (str_has_prefix(s->name, "kunit:") || str_has_prefix(s->name, "arena:"))
				kind->shrink(s);
		bpf_iter_kmem_cache_destroy(&it);
		cond_resched();
	}
	return 0;
}

/* The same without a stub, wherever the two happen to meet */
static void caches_go_while_others_shrink_them(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES);
	struct task_struct *t;

	t = kthread_run(shrink_all_the_time, (void *)test->param_value, "arena-shrink");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	for (int i = 0; i < 60; i++) {
		struct bpf_arena_cache *c = cache_of(test, arena, class_size(i % SMALL_CLASSES));

		for (int n = 0; n < 100; n++) {
			void *p = bpf_arena_cache_alloc(c, GFP_KERNEL);

			KUNIT_EXPECT_NOT_NULL(test, p);
			if (n % 3)
				bpf_arena_cache_free(c, p);
		}
		bpf_arena_cache_destroy(c);
	}
	for (int i = 0; i < 5; i++) {
		struct bpf_arena *other = arena_of(test, TEST_PAGES);

		KUNIT_EXPECT_EQ(test, bpf_arena_prepare_alloc(other, 1, PAGE_SIZE), 0);
		for (int n = 0; n < SMALL_CLASSES; n++)
			leak(test, other, class_size(n), 50, 2);
		/* The iterator may stand on one of its caches for a moment: not by name */
		test_arena_destroy(other);
	}
	kthread_stop_put(t);
	expect_no_caches(test);
	destroy_and_check(test, arena, 0);
}

/* ---- small arenas ---- */

/* By pages, or, if 0, the smallest arena in which a class has sheaves at all */
static const u32 small_arenas[] = { 16, 17, 32, 63, 64, 0 };

static void small_desc(const u32 *pages, char *desc)
{
	if (*pages)
		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u pages", *pages);
	else
		snprintf(desc, KUNIT_PARAM_DESC_SIZE, "just enough for sheaves");
}
KUNIT_ARRAY_PARAM(small, small_arenas, small_desc);

/* As arena_sheaf_capacity() has it: four objects in each sheaf there can be */
static u32 pages_for_sheaves(unsigned int size)
{
	u32 sheaves = 2 * num_possible_cpus() + SLAB_ARENA_FULL_SHEAVES * nr_node_ids;

	return DIV_ROUND_UP(4 * 8 * sheaves, PAGE_SIZE / size);
}

static void take_and_give(struct kunit *test, u32 pages, unsigned int size, bool nolock)
{
	struct bpf_arena *arena = arena_of(test, pages);
	unsigned int cpu = cpumask_first(cpu_online_mask), all = pages * (PAGE_SIZE / size), got;
	struct job j = { .c = cache_of(test, arena, size), .nolock = nolock };

	j.nr = all + 1;
	j.p = kvcalloc(j.nr, sizeof(*j.p), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, j.p);

	for (int round = 0; round < 3; round++) {
		work_on_cpu(cpu, take, &j);
		got = j.got;
		/*
		 * Who may sleep gets every object, wherever it was. Who may not gets
		 * seven eighths at once, and all if there are no sheaves; the rest
		 * once the drain that the failure started is through.
		 */
		if (!nolock)
			KUNIT_EXPECT_EQ_MSG(test, got, all, "size %u, round %d", size, round);
		else if (!j.c->s->sheaf_capacity)
			KUNIT_EXPECT_EQ_MSG(test, got, all, "size %u, round %d", size, round);
		else
			KUNIT_EXPECT_GE_MSG(test, got, all - all / 8, "size %u, round %d", size,
					    round);
		for (int i = 0; nolock && j.got < all && i < 50; i++) {
			msleep(20);
			sync_slabs(arena);
			work_on_cpu(cpu, take, &j);
		}
		KUNIT_EXPECT_EQ_MSG(test, j.got, all, "size %u, round %d", size, round);
		give_from_others(&j, cpu);
		if (nolock)
			sync_slabs(arena);
	}
	kvfree(j.p);
	bpf_arena_cache_destroy(j.c);
	destroy_and_check(test, arena, 0);
}

static void small_arena_gives_all_again(struct kunit *test)
{
	u32 pages = *(const u32 *)test->param_value;

	second_cpu(test);
	for (int i = 0; i < SMALL_CLASSES; i++)
		take_and_give(test, pages ?: pages_for_sheaves(class_size(i)), class_size(i),
			      false);
}

static void small_arena_without_sleeping(struct kunit *test)
{
	u32 pages = *(const u32 *)test->param_value;

	second_cpu(test);
	for (int i = 0; i < SMALL_CLASSES; i++)
		take_and_give(test, pages ?: pages_for_sheaves(class_size(i)), class_size(i), true);
}

/* The premise of the two above: where sheaves begin */
static void sheaves_begin_at_four_objects(struct kunit *test)
{
	for (int i = 0; i < SMALL_CLASSES; i++) {
		u32 pages = pages_for_sheaves(class_size(i));
		struct bpf_arena *with = arena_of(test, pages), *without;
		struct bpf_arena_cache *c = cache_of(test, with, class_size(i));

		KUNIT_EXPECT_GE(test, c->s->sheaf_capacity, 4);
		bpf_arena_cache_destroy(c);
		destroy_and_check(test, with, 0);

		if (pages == 1)
			continue;
		without = arena_of(test, pages - 1);
		c = cache_of(test, without, class_size(i));
		KUNIT_EXPECT_EQ(test, c->s->sheaf_capacity, 0);
		bpf_arena_cache_destroy(c);
		destroy_and_check(test, without, 0);
	}
}

/* What an object takes, not what was asked for, is what sheaves hold */
static void sheaves_know_the_alignment(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, 4 * pages_for_sheaves(PAGE_SIZE));
	struct bpf_arena_cache *page = cache_of(test, arena, PAGE_SIZE), *c;

	KUNIT_ASSERT_GT(test, page->s->sheaf_capacity, 0);
	c = bpf_arena_cache_create(&arena->map, "kunit:apart", 8, PAGE_SIZE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	KUNIT_EXPECT_EQ(test, c->s->sheaf_capacity, page->s->sheaf_capacity);
	bpf_arena_cache_destroy(c);
	bpf_arena_cache_destroy(page);
	destroy_and_check(test, arena, 0);
}

static int td_init(struct kunit *test)
{
	struct td_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	/* Only for the program, which the kfuncs report to */
	ctx->arena = test_arena_create(16, TEST_USER_START, 0);
	if (!ctx->arena)
		return -ENOMEM;
	test->priv = ctx;
	ctx->prog = test_arena_prog(test, ctx->arena, do_nothing, 0);
	return 0;
}

static void td_exit(struct kunit *test)
{
	struct td_ctx *ctx = test->priv;

	if (!ctx)
		return;
	KUNIT_EXPECT_EQ(test, test_arena_prog_reports(ctx->prog), 0);
	test_arena_destroy(ctx->arena);
	test_arena_prog_free(ctx->prog);
	expect_no_caches(test);
}

static struct kunit_case td_cases[] = {
	KUNIT_CASE(leaks_of_all_kinds),
	KUNIT_CASE(deferred_frees_are_pending),
	KUNIT_CASE(all_deferred_runs_end_first),
	KUNIT_CASE(mmap_half_way),
	KUNIT_CASE(pages_come_back),
#ifdef CONFIG_HOTPLUG_CPU
	KUNIT_CASE(offlined_cpu_holds_nothing),
	KUNIT_CASE(arena_goes_while_a_cpu_is_offline),
	KUNIT_CASE(detach_can_leave_its_cpu),
	KUNIT_CASE(arenas_go_while_a_cpu_comes_and_goes),
#endif
	KUNIT_CASE(iterator_holds_the_cache),
	KUNIT_CASE_PARAM(detach_meets_a_shrinker, shrinker_gen_params),
	KUNIT_CASE_PARAM(caches_go_while_others_shrink_them, shrinker_gen_params),
	KUNIT_CASE(sheaves_begin_at_four_objects),
	KUNIT_CASE(sheaves_know_the_alignment),
	KUNIT_CASE_PARAM(small_arena_gives_all_again, small_gen_params),
	KUNIT_CASE_PARAM(small_arena_without_sleeping, small_gen_params),
	{}
};

static struct kunit_suite td_suite = {
	.name = "bpf_arena_teardown",
	.init = td_init,
	.exit = td_exit,
	.test_cases = td_cases,
};

kunit_test_suite(td_suite);

MODULE_DESCRIPTION("KUnit tests of how slab caches in BPF arenas go");
MODULE_LICENSE("GPL");
