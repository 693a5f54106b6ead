// SPDX-License-Identifier: GPL-2.0
/*
 * Slab caches in BPF arenas. The test itself is the hostile writer: it stores
 * through the arena's kernel mapping, which is what a program can do.
 *
 *	kunit.filter_glob=bpf_arena_slab
 */
#include <kunit/static_stub.h>
#include <linux/fault-inject.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "bpf_arena_slab_kunit.h"

#define TEST_PAGES	256
#define MAX_CACHES	4

struct slab_ctx {
	struct bpf_arena *arena;
	struct bpf_prog *prog;
	struct bpf_arena_cache *cache[MAX_CACHES];
};

static struct slab_ctx *ctx_of(struct kunit *test)
{
	return test->priv;
}

/* As a program that may not sleep calls the kfuncs, and as one that may */
static void *prog_alloc(struct kunit *test, u32 size)
{
	struct slab_ctx *ctx = ctx_of(test);

	return bpf_arena_alloc_non_sleepable(&ctx->arena->map, size);
}

static void prog_free(struct kunit *test, void *ptr)
{
	struct slab_ctx *ctx = ctx_of(test);

	bpf_arena_free_non_sleepable(&ctx->arena->map, ptr, ctx->prog->aux);
}

static void *obj_kaddr(struct kunit *test, void *uaddr)
{
	return test_arena_kaddr(ctx_of(test)->arena, (u64)(long)uaddr);
}

static long counted(struct kunit *test, enum arena_counter nr)
{
	return counter(ctx_of(test)->arena, nr);
}

static struct bpf_arena_cache *test_cache(struct kunit *test, unsigned int size, unsigned int align)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *c;
	int i = 0;

	while (ctx->cache[i])
		KUNIT_ASSERT_LT(test, ++i, MAX_CACHES);
	c = bpf_arena_cache_create(&ctx->arena->map, "kunit", size, align, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
	ctx->cache[i] = c;
	return c;
}

static void settle(struct kunit *test)
{
	sync_slabs(ctx_of(test)->arena);
}

/* Not those in a sheaf */
static unsigned int live_objects(struct kunit *test)
{
	return objects_that_are(ctx_of(test)->arena, ARENA_OBJ_LIVE);
}

/* Give everything back that can be given back, and look how many slabs are left */
static unsigned int slabs_left(struct kunit *test)
{
	struct arena_slabs *sl = ctx_of(test)->arena->slabs;
	struct bpf_arena_cache *c;

	settle(test);
	mutex_lock(&sl->lock);
	list_for_each_entry(c, &sl->caches, list)
		kmem_cache_shrink(c->s);
	mutex_unlock(&sl->lock);
	settle(test);
	return counted(test, ARENA_SLABS_MAPPED) - counted(test, ARENA_SLABS_FREED);
}

/* ---- creation ---- */

static const struct refusal {
	const char *what;
	unsigned int size, align;
	slab_flags_t flags;
} refusals[] = {
	{ "size 0", 0, 0, 0 },
	{ "size above a page", PAGE_SIZE + 1, 0, 0 },
	{ "size that overflows", UINT_MAX, 0, 0 },
	{ "alignment that is no power of two", 64, 24, 0 },
	{ "alignment above a page", 64, 2 * PAGE_SIZE, 0 },
	{ "SLAB_ACCOUNT", 64, 0, SLAB_ACCOUNT },
	{ "SLAB_TYPESAFE_BY_RCU", 64, 0, SLAB_TYPESAFE_BY_RCU },
	{ "SLAB_POISON", 64, 0, SLAB_POISON },
	{ "SLAB_RED_ZONE", 64, 0, SLAB_RED_ZONE },
	{ "SLAB_STORE_USER", 64, 0, SLAB_STORE_USER },
	{ "SLAB_CONSISTENCY_CHECKS", 64, 0, SLAB_CONSISTENCY_CHECKS },
	{ "SLAB_RECLAIM_ACCOUNT", 64, 0, SLAB_RECLAIM_ACCOUNT },
	{ "SLAB_PANIC", 64, 0, SLAB_PANIC },
};
KUNIT_ARRAY_PARAM_DESC(refusal, refusals, what);

static void create_refuses(struct kunit *test)
{
	const struct refusal *r = test->param_value;
	struct bpf_map *map = &ctx_of(test)->arena->map;

	if (!strncmp(r->what, "SLAB_", 5) && !r->flags)
		kunit_skip(test, "the kernel is built without it");
	KUNIT_EXPECT_PTR_EQ(test, bpf_arena_cache_create(map, "kunit", r->size, r->align, r->flags),
			    ERR_PTR(-EINVAL));
	KUNIT_EXPECT_EQ(test, atomic64_read(&map->refcnt), 1);
}

static void create_refuses_what_is_no_arena(struct kunit *test)
{
	struct bpf_map map = { .map_type = BPF_MAP_TYPE_HASH };
	struct bpf_arena *unmapped = test_arena_create(TEST_PAGES, 0, 0);

	KUNIT_ASSERT_NOT_NULL(test, unmapped);
	KUNIT_EXPECT_PTR_EQ(test, bpf_arena_cache_create(NULL, "kunit", 64, 0, 0),
			    ERR_PTR(-EINVAL));
	KUNIT_EXPECT_PTR_EQ(test, bpf_arena_cache_create(&map, "kunit", 64, 0, 0),
			    ERR_PTR(-EINVAL));
	/* Nobody has said where it is in user space */
	KUNIT_EXPECT_PTR_EQ(test, bpf_arena_cache_create(&unmapped->map, "kunit", 64, 0, 0),
			    ERR_PTR(-EINVAL));
	test_arena_destroy(unmapped);
}

static void ctor(void *p)
{
}

/* The flag is not for others, and not with what would put kernel data in the pages */
static void kmem_cache_create_refuses(struct kunit *test)
{
	struct bpf_arena_cache *c = test_cache(test, 64, 0);
	struct kmem_cache_args no_arena = {};
	struct kmem_cache_args with_ctor = { .arena = c, .ctor = ctor };
	struct kmem_cache_args usercopy = { .arena = c, .usersize = 8 };
	struct kmem_cache_args plain = { .arena = c };

	KUNIT_EXPECT_NULL(test, kmem_cache_create("kunit-x", 64, &no_arena, SLAB_BPF_ARENA));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("kunit-x", 64, &with_ctor, SLAB_BPF_ARENA));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("kunit-x", 64, &usercopy, SLAB_BPF_ARENA));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("kunit-x", 64, &plain,
						  SLAB_BPF_ARENA | SLAB_TYPESAFE_BY_RCU));
	/* Without a memory controller it is no flag at all */
	if (SLAB_ACCOUNT)
		KUNIT_EXPECT_NULL(test, kmem_cache_create("kunit-x", 64, &plain,
							  SLAB_BPF_ARENA | SLAB_ACCOUNT));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("kunit-x", 2 * PAGE_SIZE, &plain,
						  SLAB_BPF_ARENA));
}

static void flags_are_forced(struct kunit *test)
{
	struct kmem_cache *s = test_cache(test, 48, 0)->s, *other = test_cache(test, 48, 0)->s;

	KUNIT_EXPECT_TRUE(test, s->flags & SLAB_BPF_ARENA);
	KUNIT_EXPECT_TRUE(test, s->flags & SLAB_NO_USER_FLAGS);
	KUNIT_EXPECT_EQ(test, s->flags & SLAB_SKIP_KFENCE, SLAB_SKIP_KFENCE);
	KUNIT_EXPECT_EQ(test, s->flags & SLAB_NO_OBJ_EXT, SLAB_NO_OBJ_EXT);
	KUNIT_EXPECT_FALSE(test, s->flags & SLAB_DEBUG_FLAGS);
	KUNIT_EXPECT_TRUE(test, slab_unmergeable(s));
	KUNIT_EXPECT_PTR_NE(test, s, other);
	/* order 0, and nothing of SLUB's between the objects */
	KUNIT_EXPECT_EQ(test, s->oo.x >> 16, 0);
	KUNIT_EXPECT_EQ(test, s->size, 48);
}

/* In cache lines of their own, if they are asked for */
static void cache_lines_are_not_shared(struct kunit *test)
{
	unsigned int line = cache_line_size(), size = line + 8;
	struct bpf_arena_cache *c;
	void *p[3];

	c = bpf_arena_cache_create(&ctx_of(test)->arena->map, "kunit", size, 0, SLAB_HWCACHE_ALIGN);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
	ctx_of(test)->cache[0] = c;
	KUNIT_EXPECT_EQ(test, c->size, 2 * line);
	for (int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = bpf_arena_cache_alloc(c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)p[i], line));
	}
	for (int i = 0; i < ARRAY_SIZE(p); i++)
		bpf_arena_cache_free(c, p[i]);
}

/* ---- objects ---- */

static const u32 awkward_sizes[] = {
	1, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 192, 193,
	255, 256, 257, 511, 512, 513, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096,
	PAGE_SIZE + 1, 3 * PAGE_SIZE - 1, 17 * PAGE_SIZE + 1,
};

static void size_desc(const u32 *size, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u bytes", *size);
}
KUNIT_ARRAY_PARAM(size, awkward_sizes, size_desc);

/* Unique, aligned, zero, inside of the arena, not at offset 0; twice, dirtied between */
static void objects_of_a_size(struct kunit *test)
{
	u32 size = *(const u32 *)test->param_value;
	u32 nr = clamp(100 * PAGE_SIZE / size, 1, 300), got = 0;
	u32 align = size > PAGE_SIZE ? PAGE_SIZE : size > 192 ? 256 : size > 128 ? 64 : 16;
	u64 start = TEST_USER_START, end = start + TEST_PAGES * PAGE_SIZE;
	void **p = kunit_kcalloc(test, nr, sizeof(*p), GFP_KERNEL);
	struct slab_ctx *ctx = ctx_of(test);

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, size, size), 0);

	for (int round = 0; round < 2; round++) {
		for (got = 0; got < nr; got++) {
			p[got] = prog_alloc(test, size);
			if (!p[got])
				break;
			KUNIT_ASSERT_GE(test, (u64)(long)p[got], start);
			KUNIT_ASSERT_LE(test, (u64)(long)p[got] + size, end);
			KUNIT_ASSERT_TRUE(test, IS_ALIGNED((unsigned long)p[got], align));
			KUNIT_ASSERT_TRUE(test, is_filled(obj_kaddr(test, p[got]), 0, size));
			memset(obj_kaddr(test, p[got]), 1 + got % 250, size);
		}
		KUNIT_EXPECT_GE(test, got, size > PAGE_SIZE ? 1 : nr / 2);
		/* No two overlap: else a pattern is broken */
		for (u32 i = 0; i < got; i++)
			KUNIT_ASSERT_TRUE(test, is_filled(obj_kaddr(test, p[i]), 1 + i % 250,
							  size));
		if (size <= PAGE_SIZE)
			KUNIT_EXPECT_EQ(test, live_objects(test), got);
		for (u32 i = 0; i < got; i++)
			prog_free(test, p[i]);
		settle(test);
	}
	KUNIT_EXPECT_EQ(test, live_objects(test), 0);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, test_arena_prog_reports(ctx->prog), 0);
}

static void alloc_refuses(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);

	/* No class has been made: the program was loaded with another arena */
	KUNIT_EXPECT_NULL(test, prog_alloc(test, 64));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, 2 * PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 64, 64), 0);
	KUNIT_EXPECT_NOT_NULL(test, prog_alloc(test, 64));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, 65));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, 0));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, (TEST_PAGES + 1) * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, U32_MAX));
}

static void classes_are_made_as_asked(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	unsigned int nr = 0;

	/* 100 bytes to 300: 128, 192, 256, 512 */
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 100, 300), 0);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 150, 300), 0);
	for (int i = 0; i < ARENA_NR_CLASSES; i++)
		nr += !!ctx->arena->class[i];
	KUNIT_EXPECT_EQ(test, nr, 4);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 0, U64_MAX), 0);
	for (int i = 0; i < ARENA_NR_CLASSES; i++)
		KUNIT_ASSERT_NOT_NULL(test, ctx->arena->class[i]);
	KUNIT_EXPECT_EQ(test, ctx->arena->class[0]->size, 16);
	KUNIT_EXPECT_EQ(test, ctx->arena->class[ARENA_NR_CLASSES - 1]->size, PAGE_SIZE);
}

/* SLUB writes nothing into free objects: no link, no address, not for a moment */
static void free_objects_are_not_touched(struct kunit *test)
{
	struct bpf_arena_cache *c = test_cache(test, 64, 0);
	u8 left = want_init_on_free() ? 0 : 0xa5;
	void *p[64];

	for (int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = bpf_arena_cache_alloc(c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		memset(p[i], 0xa5, 64);
	}
	/* All but the first: its slab must stay */
	for (int i = 1; i < ARRAY_SIZE(p); i++)
		bpf_arena_cache_free(c, p[i]);
	/* to the slabs' own lists, and through them */
	kmem_cache_shrink(c->s);
	settle(test);
	for (int i = 1; i < ARRAY_SIZE(p); i++) {
		if (vmalloc_to_page(p[i]))
			KUNIT_ASSERT_TRUE(test, is_filled(p[i], left, 64));
	}
	KUNIT_EXPECT_NOT_NULL(test, vmalloc_to_page(p[0]));
	bpf_arena_cache_free(c, p[0]);
}

/* A fresh slab page is zero from end to end, whatever the memory held before */
static void fresh_slabs_are_zero(struct kunit *test)
{
	struct bpf_arena_cache *c = test_cache(test, 512, 0);
	unsigned long dirty[NR_DIRTY];
	void *p;

	dirty_free_pages(dirty);
	for (int i = 0; i < 200; i++) {
		p = i & 1 ? bpf_arena_cache_alloc(c, GFP_KERNEL) :
			    bpf_arena_cache_alloc_nolock(c, 0);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_ASSERT_TRUE(test, is_filled((void *)PAGE_ALIGN_DOWN((long)p), 0, PAGE_SIZE));
	}
	/* else nobody had to zero anything */
	KUNIT_EXPECT_GT(test, slabs_of_dirty_pages(ctx_of(test)->arena, dirty), 0);
}

/* Every byte of every slab page changes all the time, and nothing notices */
static int scribble(void *data)
{
	struct bpf_arena *arena = data;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 42);
	while (!kthread_should_stop()) {
		u32 pgoff = prandom_u32_state(&rnd) % TEST_PAGES;
		unsigned long *p = test_arena_kaddr(arena, TEST_USER_START + pgoff * PAGE_SIZE);

		for (int i = 0; i < PAGE_SIZE / sizeof(*p); i++) {
			/* The page may go: a program would fault and hit scratch */
			unsigned long val = prandom_u32_state(&rnd);

			if (copy_to_kernel_nofault(&p[i], &val, sizeof(val)))
				break;
		}
		cond_resched();
	}
	return 0;
}

/* Classes of which many fit, and large objects of two pages */
static const u32 scribble_sizes[] = { 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2 * PAGE_SIZE };

static void scribbler_does_no_harm(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	static void *p[2000];
	struct task_struct *t;
	struct rnd_state rnd;
	u32 live = 0, large;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 1, PAGE_SIZE), 0);
	memset(p, 0, sizeof(p));
	t = kthread_run(scribble, ctx->arena, "arena-scribble");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);

	prandom_seed_state(&rnd, 7);
	for (int i = 0; i < 60000; i++) {
		void **o = &p[prandom_u32_state(&rnd) % ARRAY_SIZE(p)];

		if (*o) {
			prog_free(test, *o);
			*o = NULL;
			live--;
		} else {
			u32 class = prandom_u32_state(&rnd) % ARRAY_SIZE(scribble_sizes);
			u32 size = scribble_sizes[class];
			u64 start;

			*o = prog_alloc(test, size - prandom_u32_state(&rnd) % 8);
			if (!*o)
				continue;
			live++;
			start = (u64)(long)*o - TEST_USER_START;
			KUNIT_ASSERT_LE(test, start + size, TEST_PAGES * PAGE_SIZE);
			KUNIT_ASSERT_EQ(test, start % PAGE_SIZE % size, 0);
		}
	}
	kthread_stop_put(t);

	settle(test);
	large = counted(test, ARENA_LARGE_ALLOCS) - counted(test, ARENA_LARGE_FREES);
	KUNIT_EXPECT_GT(test, live, 0);
	KUNIT_EXPECT_GT(test, counted(test, ARENA_LARGE_ALLOCS), 0);
	KUNIT_EXPECT_EQ(test, live_objects(test) + large, live);
	for (int i = 0; i < ARRAY_SIZE(p); i++) {
		if (!p[i])
			continue;
		for (int j = i + 1; j < ARRAY_SIZE(p); j++)
			KUNIT_ASSERT_PTR_NE(test, p[i], p[j]);
		prog_free(test, p[i]);
	}
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
	KUNIT_EXPECT_EQ(test, test_arena_prog_reports(ctx->prog), 0);
}

/* ---- bad frees ---- */

static void bad_frees_are_refused(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *kernel = test_cache(test, 64, 0);
	void *p, *large, *page, *mine;
	u64 kernel_obj;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 96, 96), 0);
	p = prog_alloc(test, 96);
	large = prog_alloc(test, 3 * PAGE_SIZE);
	page = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, NULL, 1, NUMA_NO_NODE, 0);
	mine = bpf_arena_cache_alloc(kernel, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, p && large && page && mine);
	kernel_obj = bpf_arena_cache_uaddr(kernel, mine);

	/* The last 64 bytes of a page of 96-byte objects are no object */
	prog_free(test, p + 1);
	prog_free(test, p + 48);
	prog_free(test, (void *)PAGE_ALIGN_DOWN((long)p) + PAGE_SIZE / 96 * 96);
	prog_free(test, large + PAGE_SIZE);
	prog_free(test, large + 8);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_INTERIOR), 5);

	prog_free(test, page);
	prog_free(test, (void *)TEST_USER_START + (TEST_PAGES - 1) * PAGE_SIZE);
	prog_free(test, (void *)TEST_USER_START - 8);
	prog_free(test, (void *)0xffffffffull);
	prog_free(test, (void *)TEST_USER_START + TEST_PAGES * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NO_OBJECT), 5);

	prog_free(test, (void *)(long)kernel_obj);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NOT_YOURS), 1);
	prog_free(test, NULL);

	/* Each of them is still what it was */
	KUNIT_EXPECT_EQ(test, live_objects(test), 2);
	KUNIT_EXPECT_NOT_NULL(test, vmalloc_to_page(obj_kaddr(test, page)));
	KUNIT_EXPECT_NOT_NULL(test, vmalloc_to_page(obj_kaddr(test, large + 2 * PAGE_SIZE)));

	/* and can be freed, once */
	prog_free(test, p);
	prog_free(test, p);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NOT_LIVE), 1);
	bpf_arena_cache_free(kernel, mine);
	bpf_arena_cache_free(kernel, mine);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NOT_LIVE), 2);
	bpf_arena_cache_free(kernel, mine + 8);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_INTERIOR), 6);
	/* a pointer of the program's, to an object of another cache */
	bpf_arena_cache_free(kernel, obj_kaddr(test, p));
	bpf_arena_cache_free(kernel, (void *)kernel->kbase - PAGE_SIZE);
	bpf_arena_cache_free(kernel, (void *)kernel->kbase + SZ_4G);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NO_OBJECT), 8);
	/* Once the worker has been there, nothing tells that there was one */
	prog_free(test, large);
	prog_free(test, large);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_LARGE_FREES), 1);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NOT_LIVE) +
			      counted(test, ARENA_FREE_NO_OBJECT), 2 + 8 + 1);

	KUNIT_EXPECT_EQ(test, live_objects(test), 0);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 1);
	KUNIT_EXPECT_GT(test, test_arena_prog_reports(ctx->prog), 10);
}

static void reports_are_limited(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	unsigned int reports;
	void *p;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 64, 64), 0);
	p = prog_alloc(test, 64);
	KUNIT_ASSERT_NOT_NULL(test, p);
	for (int i = 0; i < 10000; i++)
		prog_free(test, p + 8);
	reports = test_arena_prog_reports(ctx->prog);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_INTERIOR), 10000);
	KUNIT_EXPECT_GT(test, reports, 0);
	/* ten a burst, some lines each */
	KUNIT_EXPECT_LT(test, reports, 1000);
}

/* Two CPUs free the same object: one of them wins, each time */
struct double_free {
	struct kunit *test;
	void *p;
	int go, done;
};

static int double_free_thread(void *data)
{
	struct double_free *d = data;

	for (int i = 1; i <= 1000; i++) {
		while (smp_load_acquire(&d->go) < i)
			cpu_relax();
		prog_free(d->test, READ_ONCE(d->p));
		smp_store_release(&d->done, i);
	}
	return 0;
}

static void racing_double_free_has_one_winner(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct double_free d = { .test = test };
	struct task_struct *t;
	struct bpf_arena_cache *c;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 64, 64), 0);
	t = test_arena_other_cpu(test, double_free_thread, &d);
	for (int i = 1; i <= 1000; i++) {
		d.p = prog_alloc(test, 64);
		smp_store_release(&d.go, i);
		for (int n = 0; n < i % 128; n++)
			cpu_relax();
		prog_free(test, d.p);
		while (smp_load_acquire(&d.done) < i)
			cpu_relax();
	}
	kthread_stop_put(t);
	set_cpus_allowed_ptr(current, cpu_possible_mask);

	c = list_first_entry(&ctx->arena->slabs->caches, struct bpf_arena_cache, list);
	KUNIT_EXPECT_EQ(test, frees_of(c), 1000);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_FREE_NOT_LIVE), 1000);
	KUNIT_EXPECT_EQ(test, live_objects(test), 0);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
}

/* ---- contexts ---- */

struct hardirq_job {
	struct irq_work work;
	struct kunit *test;
	struct bpf_arena_cache *c;
	void *p[200];
	unsigned int got;
};

static void hardirq_alloc(struct irq_work *work)
{
	struct hardirq_job *j = container_of(work, struct hardirq_job, work);

	for (j->got = 0; j->got < ARRAY_SIZE(j->p); j->got++) {
		j->p[j->got] = bpf_arena_cache_alloc_nolock(j->c, __GFP_ZERO);
		if (!j->p[j->got])
			break;
	}
	for (int i = 0; i < j->got; i += 2)
		bpf_arena_cache_free_nolock(j->c, j->p[i]);
}

static void hardirq_allocates_and_frees(struct kunit *test)
{
	struct hardirq_job *j = kunit_kzalloc(test, sizeof(*j), GFP_KERNEL);
	unsigned int want = ARRAY_SIZE(j->p);

	KUNIT_ASSERT_NOT_NULL(test, j);
	/* There its locks sleep: nothing is given out, and nothing else happens */
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		want = 0;
	j->c = test_cache(test, 256, 0);
	j->test = test;
	j->work = IRQ_WORK_INIT_HARD(hardirq_alloc);
	irq_work_queue(&j->work);
	irq_work_sync(&j->work);
	KUNIT_EXPECT_EQ(test, j->got, want);
	settle(test);
	KUNIT_EXPECT_EQ(test, live_objects(test), j->got / 2);
	for (int i = 1; i < j->got; i += 2)
		bpf_arena_cache_free(j->c, j->p[i]);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
}

/* The list_lock is taken by somebody else: the new slab is kept, not unmapped */
static void contended_growth_keeps_the_slab(struct kunit *test)
{
	struct bpf_arena_cache *c = test_cache(test, 64, 0);
	struct list_lock_holder {
		spinlock_t list_lock;	/* first in struct kmem_cache_node */
	} *n;
	unsigned long flags, mapped, freed;
	void *p[64];
	int got = 0;

	/* On one node, whose memory the slabs are of; this thread is the test's own */
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	n = (void *)c->s->per_node[numa_mem_id()].node;
	KUNIT_ASSERT_NOT_NULL(test, n);

	/* Without spinning, what is behind this lock cannot be had */
	spin_lock_irqsave(&n->list_lock, flags);
	p[got] = bpf_arena_cache_alloc_nolock(c, 0);
	got += !!p[got];
	p[got] = bpf_arena_cache_alloc_nolock(c, 0);
	got += !!p[got];
	mapped = counted(test, ARENA_SLABS_MAPPED);
	spin_unlock_irqrestore(&n->list_lock, flags);
	KUNIT_EXPECT_EQ(test, got, 2);
	KUNIT_EXPECT_EQ(test, mapped, 2);

	settle(test);
	freed = counted(test, ARENA_SLABS_FREED);
	KUNIT_EXPECT_EQ(test, freed, 0);
	KUNIT_EXPECT_EQ(test, live_objects(test), got);
	/* The rest of both is there for the taking: no new slab for them */
	for (; got < ARRAY_SIZE(p); got++) {
		p[got] = bpf_arena_cache_alloc_nolock(c, 0);
		KUNIT_ASSERT_NOT_NULL(test, p[got]);
	}
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_SLABS_MAPPED), 2);
	while (got)
		bpf_arena_cache_free(c, p[--got]);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
}

/* ---- failing allocations ---- */

#ifdef CONFIG_FAILSLAB
/* Each allocation on the way to a new slab fails once: nothing stays behind */
static void failing_growth_unwinds(struct kunit *test)
{
	struct bpf_arena_cache *c = test_cache(test, PAGE_SIZE, 0);
	struct bpf_arena *arena = ctx_of(test)->arena;
	unsigned int failures = 0;
	u64 pages;
	void *p;

	for (int nth = 1; nth < 30; nth++) {
		pages = arena->nr_pages;
		/* failslab spares those that may sleep, unless told otherwise */
		current->fail_nth = nth;
		p = bpf_arena_cache_alloc(c, GFP_NOWAIT);
		if (current->fail_nth) {
			current->fail_nth = 0;
			KUNIT_EXPECT_NOT_NULL(test, p);
			bpf_arena_cache_free(c, p);
			break;
		}
		if (p) {
			/* Failed in what is not needed, a sheaf say */
			bpf_arena_cache_free(c, p);
		} else {
			failures++;
			KUNIT_EXPECT_EQ(test, arena->nr_pages, pages);
		}
		KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
		KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
	}
	KUNIT_EXPECT_GT(test, failures, 0);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
}
#endif

/* The steps that failslab does not reach fail on purpose */
static int no_charge(struct bpf_arena *arena, gfp_t gfp)
{
	return -ENOMEM;
}

static int no_place(struct arena_slabs *sl, struct arena_slab *as, struct page *page)
{
	return -ENOSPC;
}

/* What was found is taken by somebody else each time, while there is made a leaf for it */
static int no_luck(struct arena_slabs *sl, struct arena_slab *as, struct page *page)
{
	as->pgoff = 0;
	return -EAGAIN;
}

static int no_leaf(struct arena_slabs *sl, u32 pgoff, gfp_t gfp, bool nolock)
{
	return -ENOMEM;
}

static void expect_no_growth(struct kunit *test, struct bpf_arena_cache *c, bool nolock)
{
	struct bpf_arena *arena = ctx_of(test)->arena;

	KUNIT_EXPECT_NULL(test, nolock ? bpf_arena_cache_alloc_nolock(c, 0) :
					 bpf_arena_cache_alloc(c, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_SLABS_MAPPED), 0);
	KUNIT_EXPECT_EQ(test, refcount_read(&c->ref), 1);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

static void failing_steps_unwind(struct kunit *test)
{
	struct bpf_arena_cache *c = test_cache(test, 64, 0);
	void *p;

	for (int nolock = 0; nolock < 2; nolock++) {
		kunit_activate_static_stub(test, arena_charge_page, no_charge);
		expect_no_growth(test, c, nolock);
		kunit_deactivate_static_stub(test, arena_charge_page);

		kunit_activate_static_stub(test, arena_slots_add_leaf, no_leaf);
		expect_no_growth(test, c, nolock);
		kunit_deactivate_static_stub(test, arena_slots_add_leaf);

		/* Under the arena's spinlock: see ARENA_STUB_REDIRECT() */
		if (IS_ENABLED(CONFIG_PREEMPT_RT))
			continue;
		kunit_activate_static_stub(test, arena_place_slab, no_place);
		expect_no_growth(test, c, nolock);
		kunit_deactivate_static_stub(test, arena_place_slab);
	}
	/* The last ones, since they leave a leaf */
	for (int nolock = 0; nolock < 2 && !IS_ENABLED(CONFIG_PREEMPT_RT); nolock++) {
		kunit_activate_static_stub(test, arena_place_slab, no_luck);
		expect_no_growth(test, c, nolock);
		kunit_deactivate_static_stub(test, arena_place_slab);
	}
	p = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	bpf_arena_cache_free(c, p);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
}

/* ---- a bounded arena ---- */

static void full_arena_gives_all_and_takes_all_back(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *c = test_cache(test, PAGE_SIZE, 0);
	void **p = kunit_kcalloc(test, TEST_PAGES + 1, sizeof(*p), GFP_KERNEL);
	int got;

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (int round = 0; round < 3; round++) {
		for (got = 0; got <= TEST_PAGES; got++) {
			p[got] = bpf_arena_cache_alloc(c, GFP_KERNEL);
			if (!p[got])
				break;
		}
		KUNIT_EXPECT_EQ(test, got, TEST_PAGES);
		KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, TEST_PAGES);
		while (got)
			bpf_arena_cache_free(c, p[--got]);
	}
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, 0, TEST_PAGES), 0);
}

/* What the sheaves of another CPU and of another class hold can be had */
static int hoard(void *data)
{
	struct bpf_arena_cache *c = data;
	static void *p[TEST_PAGES * 4];
	int got;

	for (got = 0; got < ARRAY_SIZE(p); got++) {
		p[got] = bpf_arena_cache_alloc(c, GFP_KERNEL);
		if (!p[got])
			break;
	}
	while (got)
		bpf_arena_cache_free(c, p[--got]);
	/* stay here, with the sheaves full */
	while (!kthread_should_stop())
		msleep(10);
	return 0;
}

static void others_sheaves_are_drained(struct kunit *test)
{
	struct bpf_arena_cache *theirs = test_cache(test, 1024, 0);
	struct bpf_arena_cache *mine = test_cache(test, PAGE_SIZE, 0);
	struct bpf_arena *arena = ctx_of(test)->arena;
	struct task_struct *t;
	int got = 0;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	t = kthread_create(hoard, theirs, "arena-hoard");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	kthread_bind(t, cpumask_nth(1, cpu_online_mask));
	wake_up_process(t);
	msleep(500);
	settle(test);
	/* else there is nothing to drain, and the test says nothing */
	KUNIT_EXPECT_GT(test, arena->nr_pages, 0);

	while (bpf_arena_cache_alloc(mine, GFP_KERNEL))
		got++;
	kthread_stop_put(t);
	KUNIT_EXPECT_EQ(test, got, TEST_PAGES);
}

/* (u32)uaddr == 0 is NULL to a program, so nothing is ever put there */
static void offset_zero_is_never_given(struct kunit *test)
{
	static const struct { u64 start; u32 pages; } at[] = {
		{ 0x10000000000ull, 32 },			/* the first page */
		{ 0x10100000000ull - 16 * PAGE_SIZE, 16 },	/* ends before it */
	};

	for (int i = 0; i < ARRAY_SIZE(at); i++) {
		struct bpf_arena *arena = test_arena_create(at[i].pages, at[i].start, 0);
		int got = 0, want = at[i].pages - !(u32)at[i].start;
		struct bpf_arena_cache *c;
		void *p;

		KUNIT_ASSERT_NOT_NULL(test, arena);
		c = bpf_arena_cache_create(&arena->map, "kunit", PAGE_SIZE, 0, 0);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
		while ((p = bpf_arena_cache_alloc(c, GFP_KERNEL))) {
			KUNIT_EXPECT_NE(test, (u32)bpf_arena_cache_uaddr(c, p), 0);
			got++;
		}
		KUNIT_EXPECT_EQ(test, got, want);
		bpf_arena_cache_destroy(c);
		test_arena_release(test, arena);
	}
}

/* mmap() without map_extra need not be as long as the map: the table covers both */
static void mapping_of_another_length(struct kunit *test)
{
	static const struct { u32 map, vma; } at[] = { { 2048, 8 }, { 8, 2048 } };

	for (int i = 0; i < ARRAY_SIZE(at); i++) {
		struct bpf_arena *arena = test_arena_create(at[i].map, 0, 0);
		struct bpf_arena_cache *c;
		u64 behind = TEST_USER_START + 2000 * PAGE_SIZE;
		unsigned long flags;
		int got = 0;

		KUNIT_ASSERT_NOT_NULL(test, arena);
		arena->user_vm_start = TEST_USER_START;
		arena->user_vm_end = TEST_USER_START + at[i].vma * PAGE_SIZE;
		c = bpf_arena_cache_create(&arena->map, "kunit", PAGE_SIZE, 0, 0);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
		/* As after a fault and bpf_arena_free_pages() there */
		arena_lock_sleepable(arena, &flags);
		KUNIT_EXPECT_EQ(test, 0,
				range_tree_set(&arena->rt, compute_pgoff(arena, behind), 1));
		raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
		while (bpf_arena_cache_alloc(c, GFP_KERNEL))
			got++;
		KUNIT_EXPECT_EQ(test, got, at[i].map == 8 ? 9 : 2048);
		bpf_arena_cache_destroy(c);
		test_arena_release(test, arena);
	}
}

/* ---- pages ---- */

/* A TLB may still have scratch there: the slab goes elsewhere, the place is cleaned */
static void slabs_avoid_scratch(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *c = test_cache(test, PAGE_SIZE, 0);
	struct bpf_prog *prog;
	void *p;

	for (int i = 0; i < 3; i++) {
		void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START + i * PAGE_SIZE);

		prog = test_arena_prog(test, ctx->arena, test_arena_touch, (u64)(long)kaddr);
		test_arena_prog_run(prog);
		test_arena_prog_free(prog);
		KUNIT_ASSERT_PTR_EQ(test, vmalloc_to_page(kaddr), ctx->arena->scratch_page);
	}
	p = bpf_arena_cache_alloc_nolock(c, 0);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_uaddr(c, p), TEST_USER_START + 3 * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, is_filled(p, 0, PAGE_SIZE));
	settle(test);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, 0, 3), 0);
	KUNIT_EXPECT_EQ(test, counted(test, ARENA_SCRUBS), 3);
	for (int i = 0; i < 3; i++) {
		void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START + i * PAGE_SIZE);

		KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr));
	}
	bpf_arena_cache_free(c, p);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
}

/*
 * Who frees looks for each page in all ranges that are dying: those that a program makes by
 * allocating where it has scratch stay few. With irqs off nobody takes any away meanwhile.
 */
static void scratch_that_waits_is_bounded(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_map *map = &ctx->arena->map;
	unsigned int dying, tries = 0;
	unsigned long flags;

	KUNIT_ASSERT_GT(test, TEST_PAGES, 2 * ARENA_SCRATCH_MAX);
	for (u32 i = 0; i < TEST_PAGES; i++) {
		u64 uaddr = TEST_USER_START + (u64)i * PAGE_SIZE;
		void *kaddr = test_arena_kaddr(ctx->arena, uaddr);

		KUNIT_ASSERT_TRUE(test, arena_map_scratch(ctx->arena, (long)kaddr));
	}
	local_irq_save(flags);
	for (; tries < TEST_PAGES / ARENA_SCRUB_MAX; tries++)
		bpf_arena_alloc_pages_non_sleepable(map, NULL, 1, NUMA_NO_NODE, 0);
	dying = list_count_nodes(&ctx->arena->dying);
	local_irq_restore(flags);
	KUNIT_EXPECT_GT(test, dying, ARENA_SCRUB_MAX);
	KUNIT_EXPECT_LE(test, dying, ARENA_SCRATCH_MAX);

	settle(test);
	irq_work_sync(&ctx->arena->free_irq);
	flush_work(&ctx->arena->free_work);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_scratch, 0);
	/* Nothing of it is lost */
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, 0, TEST_PAGES), 0);
	KUNIT_EXPECT_NOT_NULL(test, bpf_arena_alloc_pages_non_sleepable(map, NULL, 1, NUMA_NO_NODE,
									0));
}

static void free_pages_leaves_slabs_alone(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_map *map = &ctx->arena->map;
	void *obj[20], *page[20], *large;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, PAGE_SIZE, PAGE_SIZE), 0);
	/* Slab, page, slab, page ... then a large object */
	for (int i = 0; i < ARRAY_SIZE(obj); i++) {
		obj[i] = prog_alloc(test, PAGE_SIZE);
		page[i] = bpf_arena_alloc_pages_sleepable(map, NULL, 1, NUMA_NO_NODE, 0);
		KUNIT_ASSERT_TRUE(test, obj[i] && page[i]);
		memset(obj_kaddr(test, obj[i]), i + 1, PAGE_SIZE);
	}
	large = prog_alloc(test, 3 * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, large);
	memset(obj_kaddr(test, large), 0x77, 3 * PAGE_SIZE);

	for (int deferred = 0; deferred < 2; deferred++) {
		if (deferred) {
			bpf_arena_free_pages_non_sleepable(map, (void *)TEST_USER_START,
							   TEST_PAGES);
			irq_work_sync(&ctx->arena->free_irq);
			flush_work(&ctx->arena->free_work);
		} else {
			bpf_arena_free_pages(map, (void *)TEST_USER_START, TEST_PAGES);
		}
		for (int i = 0; i < ARRAY_SIZE(obj); i++) {
			KUNIT_EXPECT_TRUE(test, is_filled(obj_kaddr(test, obj[i]), i + 1,
							  PAGE_SIZE));
			KUNIT_EXPECT_NULL(test, vmalloc_to_page(obj_kaddr(test, page[i])));
		}
		KUNIT_EXPECT_TRUE(test, is_filled(obj_kaddr(test, large), 0x77, 3 * PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, live_objects(test), ARRAY_SIZE(obj));
		/* What was freed can be had again, with nothing left of it */
		for (int i = 0; i < ARRAY_SIZE(page); i++) {
			KUNIT_ASSERT_PTR_EQ(test, page[i],
					    bpf_arena_alloc_pages_sleepable(map, page[i], 1,
									    NUMA_NO_NODE, 0));
			KUNIT_EXPECT_TRUE(test, is_filled(obj_kaddr(test, page[i]), 0, PAGE_SIZE));
		}
	}
	for (int i = 0; i < ARRAY_SIZE(obj); i++)
		prog_free(test, obj[i]);
	prog_free(test, large);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, ARRAY_SIZE(page));
}

/* Between the clearing of PTEs and the end of a free, somebody allocates in there */
static bool alloc_in_the_window(struct bpf_arena *arena,
				void (*zap)(struct vm_area_struct *vma, void *data), void *data,
				enum arena_zap how)
{
	bpf_arena_alloc_pages_sleepable(&arena->map, (void *)TEST_USER_START + 15 * PAGE_SIZE, 1,
					NUMA_NO_NODE, 0);
	return true;
}

/* A range that is being freed is nobody's, also where it was free before */
static void allocation_during_a_free(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_map *map = &ctx->arena->map;
	void *at = (void *)TEST_USER_START + 10 * PAGE_SIZE;
	void *page = (void *)TEST_USER_START + 15 * PAGE_SIZE;

	KUNIT_ASSERT_PTR_EQ(test, at, bpf_arena_alloc_pages_sleepable(map, at, 1, NUMA_NO_NODE, 0));
	kunit_activate_static_stub(test, arena_zap_mappings, alloc_in_the_window);
	bpf_arena_free_pages(map, at, 10);
	kunit_deactivate_static_stub(test, arena_zap_mappings);

	/* Whoever won: a page that is there is not marked as free */
	KUNIT_EXPECT_EQ(test, !vmalloc_to_page(obj_kaddr(test, page)),
			!is_range_tree_set(&ctx->arena->rt, 15, 1));
	bpf_arena_free_pages(map, (void *)TEST_USER_START, TEST_PAGES);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, 0, TEST_PAGES), 0);
}

/* Somebody else frees pages of which the last are in the range that is being freed */
static unsigned int frees_in_the_window;

static bool free_in_the_window(struct bpf_arena *arena,
			       void (*zap)(struct vm_area_struct *vma, void *data), void *data,
			       enum arena_zap how)
{
	if (!frees_in_the_window++)
		bpf_arena_free_pages(&arena->map, (void *)TEST_USER_START + 5 * PAGE_SIZE, 7);
	return true;
}

static void free_that_ends_in_a_free(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_map *map = &ctx->arena->map;

	/* A table of slots, or there is nothing to look at */
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(ctx->arena, 64, 64), 0);
	for (int i = 5; i < 20; i++) {
		void *at = (void *)TEST_USER_START + i * PAGE_SIZE;

		KUNIT_ASSERT_PTR_EQ(test, at,
				    bpf_arena_alloc_pages_sleepable(map, at, 1, NUMA_NO_NODE, 0));
	}
	frees_in_the_window = 0;
	kunit_activate_static_stub(test, arena_zap_mappings, free_in_the_window);
	bpf_arena_free_pages(map, (void *)TEST_USER_START + 10 * PAGE_SIZE, 10);
	kunit_deactivate_static_stub(test, arena_zap_mappings);

	KUNIT_EXPECT_GE(test, frees_in_the_window, 1);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, 0, TEST_PAGES), 0);
}

/* Slabs and large objects behind the end of a short mapping go without its neighbour */
static void short_mapping_has_a_neighbour(struct kunit *test)
{
	struct bpf_arena *arena = test_arena_create(512, 0, 0);
	unsigned long behind = TEST_USER_START + 8 * PAGE_SIZE;
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *c;
	void *p[32], *large;
	u64 val = 0;

	KUNIT_ASSERT_NOT_NULL(test, arena);
	arena->user_vm_start = TEST_USER_START;
	arena->user_vm_end = behind;
	test_arena_mmap_pages(test, arena, 8);
	KUNIT_ASSERT_EQ(test, behind, kunit_vm_mmap(test, NULL, behind, 32 * PAGE_SIZE,
						    PROT_READ | PROT_WRITE, MAP_ANONYMOUS |
						    MAP_PRIVATE | MAP_FIXED_NOREPLACE, 0));
	for (int i = 0; i < 32; i++)
		KUNIT_ASSERT_EQ(test, 0,
				put_user(i + 1ull, (u64 __user *)(behind + i * PAGE_SIZE)));

	c = bpf_arena_cache_create(&arena->map, "kunit", PAGE_SIZE, 0, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
	large = bpf_arena_alloc_non_sleepable(&arena->map, 2 * PAGE_SIZE);
	KUNIT_EXPECT_NOT_NULL(test, large);
	for (int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = bpf_arena_cache_alloc(c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	for (int i = 0; i < ARRAY_SIZE(p); i++)
		bpf_arena_cache_free(c, p[i]);
	bpf_arena_free_non_sleepable(&arena->map, large, ctx->prog->aux);
	bpf_arena_cache_destroy(c);
	/* To the end of the worker: pages are counted off before they are zapped */
	irq_work_sync(&arena->slabs->irq);
	flush_work(&arena->slabs->work);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 0);

	for (int i = 0; i < 32; i++) {
		KUNIT_EXPECT_EQ(test, get_user(val, (u64 __user *)(behind + i * PAGE_SIZE)), 0);
		KUNIT_EXPECT_EQ(test, val, i + 1);
	}
	KUNIT_EXPECT_EQ(test, vm_munmap(TEST_USER_START, 40 * PAGE_SIZE), 0);
	test_arena_release(test, arena);
}

static void user_space_sees_objects(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *c = test_cache(test, 64, 0);
	unsigned long uaddr;
	struct page *page;
	u64 *p, val = 0;

	test_arena_mmap(test, ctx->arena);
	p = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	uaddr = bpf_arena_cache_uaddr(c, p);
	KUNIT_EXPECT_PTR_EQ(test, bpf_arena_cache_kaddr(c, uaddr), p);

	WRITE_ONCE(*p, 0x1122);
	KUNIT_EXPECT_EQ(test, get_user(val, (u64 __user *)uaddr), 0);
	KUNIT_EXPECT_EQ(test, val, 0x1122);
	KUNIT_EXPECT_EQ(test, put_user(0x3344ull, (u64 __user *)uaddr), 0);
	KUNIT_EXPECT_EQ(test, READ_ONCE(*p), 0x3344);

	/* No reference, and it cannot be had either */
	page = vmalloc_to_page(p);
	KUNIT_EXPECT_EQ(test, page_ref_count(page), 0);
	KUNIT_EXPECT_LT(test, get_user_pages_fast(uaddr, 1, FOLL_WRITE, &page), 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(vmalloc_to_page(p)), 0);

	/* Once the slab is gone, there is a fresh page or none, not the old one */
	bpf_arena_cache_free(c, p);
	KUNIT_EXPECT_EQ(test, slabs_left(test), 0);
	KUNIT_EXPECT_EQ(test, get_user(val, (u64 __user *)uaddr), 0);
	KUNIT_EXPECT_EQ(test, val, 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(ctx->arena->user_vm_start, TEST_PAGES * PAGE_SIZE), 0);
}

/* ---- the end ---- */

static void leaks_go_with_the_arena(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena *arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	char name[40];
	int got = 0;

	KUNIT_ASSERT_NOT_NULL(test, arena);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, PAGE_SIZE), 0);
	snprintf(name, sizeof(name), "arena:%llu:", arena->slabs->id);
	KUNIT_EXPECT_TRUE(test, cache_exists(name));

	for (int i = 0; i < 3000; i++) {
		void *p = bpf_arena_alloc_non_sleepable(&arena->map, i % 50 ? 1 + i % 700 :
							2 * PAGE_SIZE);

		got += !!p;
		/* Full slabs, partial ones, objects in sheaves and on deferred stacks */
		if (p && i % 7 == 0)
			bpf_arena_free_non_sleepable(&arena->map, p, ctx->prog->aux);
	}
	KUNIT_EXPECT_GT(test, got, 1000);
	test_arena_destroy(arena);
	KUNIT_EXPECT_FALSE(test, cache_exists(name));
}

static void leaks_go_with_the_cache(struct kunit *test)
{
	struct slab_ctx *ctx = ctx_of(test);
	struct bpf_arena_cache *c = test_cache(test, 128, 0);
	char name[40];

	strscpy(name, c->s->name);
	KUNIT_ASSERT_TRUE(test, cache_exists(name));
	for (int i = 0; i < 1000; i++) {
		void *p = bpf_arena_cache_alloc(c, GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, p);
		if (i % 3 == 0)
			bpf_arena_cache_free(c, p);
	}
	ctx->cache[0] = NULL;
	bpf_arena_cache_destroy(c);
	KUNIT_EXPECT_FALSE(test, cache_exists(name));
	settle(test);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&ctx->arena->map.refcnt), 1);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&ctx->arena->rt, 0, TEST_PAGES), 0);
}

static int slab_init(struct kunit *test)
{
	struct slab_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	ctx->arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	if (!ctx->arena)
		return -ENOMEM;
	ctx->prog = test_arena_prog(test, ctx->arena, do_nothing, 0);
	test->priv = ctx;
	return 0;
}

static void slab_exit(struct kunit *test)
{
	struct slab_ctx *ctx = test->priv;

	if (!ctx)
		return;
	for (int i = 0; i < MAX_CACHES; i++)
		bpf_arena_cache_destroy(ctx->cache[i]);
	test_arena_release(test, ctx->arena);
	test_arena_prog_free(ctx->prog);
	expect_no_caches(test);
}

/* One multiplication for index and remainder: as two divisions have it, for every offset */
static void index_of_every_offset(struct kunit *test)
{
	struct bpf_arena_cache *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	for (unsigned int size = ARENA_OBJ_MIN_SIZE; size <= PAGE_SIZE; size += PAGE_SIZE / 512) {
		c->index_factor = arena_index_factor(size);
		for (unsigned int offset = 0; offset < PAGE_SIZE; offset++) {
			u64 word = arena_index_word(c, offset);

			if (word >> 32 == offset / size &&
			    ((u32)word < c->index_factor) == !(offset % size))
				continue;
			KUNIT_FAIL(test, "offset %u, objects of %u: index %llu", offset, size,
				   word >> 32);
			return;
		}
		cond_resched();
	}
}

static struct kunit_case slab_cases[] = {
	KUNIT_CASE(index_of_every_offset),
	KUNIT_CASE_PARAM(create_refuses, refusal_gen_params),
	KUNIT_CASE(create_refuses_what_is_no_arena),
	KUNIT_CASE(kmem_cache_create_refuses),
	KUNIT_CASE(flags_are_forced),
	KUNIT_CASE(cache_lines_are_not_shared),
	KUNIT_CASE_PARAM(objects_of_a_size, size_gen_params),
	KUNIT_CASE(alloc_refuses),
	KUNIT_CASE(classes_are_made_as_asked),
	KUNIT_CASE(free_objects_are_not_touched),
	KUNIT_CASE(fresh_slabs_are_zero),
	KUNIT_CASE(scribbler_does_no_harm),
	KUNIT_CASE(bad_frees_are_refused),
	KUNIT_CASE(reports_are_limited),
	KUNIT_CASE(racing_double_free_has_one_winner),
	KUNIT_CASE(hardirq_allocates_and_frees),
	KUNIT_CASE(contended_growth_keeps_the_slab),
#ifdef CONFIG_FAILSLAB
	KUNIT_CASE(failing_growth_unwinds),
#endif
	KUNIT_CASE(failing_steps_unwind),
	KUNIT_CASE(full_arena_gives_all_and_takes_all_back),
	KUNIT_CASE(others_sheaves_are_drained),
	KUNIT_CASE(offset_zero_is_never_given),
	KUNIT_CASE(mapping_of_another_length),
	KUNIT_CASE(slabs_avoid_scratch),
	KUNIT_CASE(scratch_that_waits_is_bounded),
	KUNIT_CASE(free_pages_leaves_slabs_alone),
	KUNIT_CASE(allocation_during_a_free),
	KUNIT_CASE(free_that_ends_in_a_free),
	KUNIT_CASE(short_mapping_has_a_neighbour),
	KUNIT_CASE(user_space_sees_objects),
	KUNIT_CASE(leaks_go_with_the_arena),
	KUNIT_CASE(leaks_go_with_the_cache),
	{}
};

static struct kunit_suite slab_suite = {
	.name = "bpf_arena_slab",
	.init = slab_init,
	.exit = slab_exit,
	.test_cases = slab_cases,
};

kunit_test_suite(slab_suite);

MODULE_DESCRIPTION("KUnit tests of slab caches in BPF arenas");
MODULE_LICENSE("GPL");
