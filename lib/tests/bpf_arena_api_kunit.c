// SPDX-License-Identifier: GPL-2.0
/*
 * What users of slab caches in BPF arenas touch: the API for subsystems, beyond the plain
 * allocation and free that bpf_arena_slab has; what a program is told about a bad free;
 * and what an administrator can find out.
 *
 *	kunit.filter_glob=bpf_arena_api
 */
#include <linux/kernfs.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <trace/events/bpf_arena.h>
#include "bpf_arena_hostile.h"

/* ---- reports ---- */

/* All that a program was told, and the stream is empty again */
static char *take_reports(struct kunit *test, struct bpf_prog *prog)
{
	struct bpf_stream *stream = &prog->aux->stream[BPF_STDERR - 1];
	struct llist_node *list = llist_reverse_order(llist_del_all(&stream->log));
	char *text = kunit_kzalloc(test, BPF_STREAM_MAX_CAPACITY + 1, GFP_KERNEL);
	struct bpf_stream_elem *e, *next;
	size_t len = 0;

	KUNIT_ASSERT_NOT_NULL(test, text);
	llist_for_each_entry_safe(e, next, list, node) {
		/* Not a string: it has no NUL */
		size_t n = min_t(size_t, e->total_len, BPF_STREAM_MAX_CAPACITY - len);

		memcpy(text + len, e->str, n);
		len += n;
		atomic_sub(e->total_len, &stream->capacity);
		kfree_nolock(e);
	}
	return text;
}

static unsigned int lines_with(const char *text, const char *what)
{
	unsigned int nr = 0;

	while ((text = strstr(text, what))) {
		nr++;
		text++;
	}
	return nr;
}

/* As programs with other ids; nothing but reports looks at it */
static void as_program(struct kunit *test, u32 id)
{
	ctx_of(test)->prog->aux->id = id;
}

static struct traced {
	unsigned int nr;
	u64 uaddr, object;
	u32 map_id, kind, size;
	char cache[ARENA_TRACE_NAME];
	/* The probe frees this in turn */
	struct kunit *test;
	struct bpf_arena *arena;
	void *bad;
} traced;

static void bad_free_probe(void *data, u32 map_id, u64 uaddr, u32 kind, u64 object, u32 size,
			   const char *cache)
{
	traced.nr++;
	traced.map_id = map_id;
	traced.uaddr = uaddr;
	traced.kind = kind;
	traced.object = object;
	traced.size = size;
	strscpy(traced.cache, cache);
	/* Bounded, so that a missing guard is a failure and not a crash */
	if (traced.bad && traced.nr < 5)
		prog_free(traced.test, traced.arena, traced.bad);
}

/* One bad free, and all that is told about it */
static void expect_report(struct kunit *test, struct bpf_arena *arena, void *p,
			  enum arena_bad_free kind, enum arena_counter total, void *object,
			  u32 size, const char *cache, const char *sentence, const char *detail)
{
	long kinds = counter(arena, ARENA_BAD_FREE + kind), totals = counter(arena, total);
	char *text, head[48];

	as_program(test, kind);
	traced.nr = 0;
	prog_free(test, arena, p);
	text = take_reports(test, ctx_of(test)->prog);
	snprintf(head, sizeof(head), "ERROR: bpf_arena_free(0x%llx): ",
		 clear_lo32(arena->user_vm_start) + (u32)(long)p);
	KUNIT_EXPECT_EQ_MSG(test, counter(arena, ARENA_BAD_FREE + kind), kinds + 1, "kind %d",
			    kind);
	KUNIT_EXPECT_EQ_MSG(test, counter(arena, total), totals + 1, "kind %d", kind);
	KUNIT_EXPECT_TRUE_MSG(test, str_has_prefix(text, head), "kind %d: %s", kind, text);
	KUNIT_EXPECT_TRUE_MSG(test, strstr(text, sentence), "kind %d: %s", kind, text);
	KUNIT_EXPECT_TRUE_MSG(test, strstr(text, detail), "kind %d: %s", kind, text);
	KUNIT_EXPECT_TRUE_MSG(test, strstr(text, "Call trace:"), "kind %d: %s", kind, text);

	KUNIT_EXPECT_EQ(test, traced.nr, 1);
	KUNIT_EXPECT_EQ(test, traced.kind, kind);
	KUNIT_EXPECT_EQ(test, traced.uaddr, clear_lo32(arena->user_vm_start) + (u32)(long)p);
	KUNIT_EXPECT_EQ(test, traced.object, (u64)(long)object);
	KUNIT_EXPECT_EQ(test, traced.size, size);
	KUNIT_EXPECT_EQ(test, traced.map_id, arena->map.id);
	KUNIT_EXPECT_STREQ(test, traced.cache, cache);
}

static void each_kind_has_its_report(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *kernel = cache_of(test, arena, 128);
	void *p, *q, *large, *page, *mine;
	char prog_cache[40], detail[160];
	u64 kernels;

	arena->map.id = 77;
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 96, 96), 0);
	snprintf(prog_cache, sizeof(prog_cache), "arena:%llu:96", arena->slabs->id);
	p = prog_alloc(test, arena, 96);
	q = prog_alloc(test, arena, 96);
	large = prog_alloc(test, arena, 3 * PAGE_SIZE);
	page = page_at(arena, NULL);
	mine = bpf_arena_cache_alloc(kernel, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, p && q && large && page && mine);
	kernels = bpf_arena_cache_uaddr(kernel, mine);
	traced.bad = NULL;
	KUNIT_ASSERT_EQ(test, register_trace_bpf_arena_bad_free(bad_free_probe, NULL), 0);

	expect_report(test, arena, (void *)TEST_USER_START + (TEST_PAGES - 1) * PAGE_SIZE,
		      ARENA_BAD_NOTHING, ARENA_FREE_NO_OBJECT, NULL, 0, "",
		      "there is no object of bpf_arena_alloc(): no page is there", "");
	expect_report(test, arena, page, ARENA_BAD_PAGE, ARENA_FREE_NO_OBJECT, NULL, 0, "",
		      "an ordinary page, for bpf_arena_free_pages()", "");
	snprintf(detail, sizeof(detail), "Object: 0x%llx, offset 17, size 96, cache %s\n",
		 (u64)(long)p, prog_cache);
	expect_report(test, arena, p + 17, ARENA_BAD_INTERIOR, ARENA_FREE_INTERIOR, p, 96,
		      prog_cache, "it does not point to the start of an object\n", detail);
	expect_report(test, arena, (void *)PAGE_ALIGN_DOWN((long)p) + PAGE_SIZE / 96 * 96,
		      ARENA_BAD_INTERIOR, ARENA_FREE_INTERIOR, NULL, 0, prog_cache,
		      "it does not point to the start of an object\n",
		      "Object: none, behind the last one of a page of cache arena:");
	snprintf(detail, sizeof(detail), "Object: 0x%llx, offset %lu, size %lu, whole pages\n",
		 (u64)(long)large, 2 * PAGE_SIZE + 8, 3 * PAGE_SIZE);
	expect_report(test, arena, large + 2 * PAGE_SIZE + 8, ARENA_BAD_LARGE_INTERIOR,
		      ARENA_FREE_INTERIOR, large, 3 * PAGE_SIZE, "large",
		      "it does not point to the start of an object of whole pages", detail);
	snprintf(detail, sizeof(detail), "Object: 0x%llx, offset 0, size 128, cache kunit:",
		 kernels);
	expect_report(test, arena, (void *)kernels, ARENA_BAD_KERNEL, ARENA_FREE_NOT_YOURS,
		      (void *)kernels, 128, kernel->name, "the object belongs to the kernel",
		      detail);

	/* Where SLUB has it depends on whether there are sheaves in so small an arena */
	prog_free(test, arena, p);
	snprintf(detail, sizeof(detail), "Object: 0x%llx, offset 0, size 96, cache %s, freed, and ",
		 (u64)(long)p, prog_cache);
	expect_report(test, arena, p, ARENA_BAD_DOUBLE, ARENA_FREE_NOT_LIVE, p, 96, prog_cache,
		      "the object is free already\n", detail);
	/* and it is still that when it went through the free list of its slab */
	flush_all(arena);
	expect_report(test, arena, p, ARENA_BAD_DOUBLE, ARENA_FREE_NOT_LIVE, p, 96, prog_cache,
		      "the object is free already\n", "freed, and on the free list of its slab");
	unregister_trace_bpf_arena_bad_free(bad_free_probe, NULL);
	tracepoint_synchronize_unregister();

	/* All but one are what they were */
	prog_free(test, arena, q);
	prog_free(test, arena, large);
	bpf_arena_cache_free(kernel, mine);
	KUNIT_EXPECT_STREQ(test, take_reports(test, ctx_of(test)->prog), "");
	settle(arena);
	bpf_arena_free_pages(&arena->map, page, 1);
	expect_empty(test, arena, 0);
}

/* The places of a slab that nobody ever had are not free already, but were never anybody's */
static void never_allocated_is_told_from_freed(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	unsigned int had = 0, never = 0, twice = 0;
	void *p, *base;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	p = prog_alloc(test, arena, 64);
	KUNIT_ASSERT_NOT_NULL(test, p);
	base = (void *)PAGE_ALIGN_DOWN((long)p);
	for (int i = 0; i < PAGE_SIZE / 64; i++)
		prog_free(test, arena, base + i * 64);
	never = counter(arena, ARENA_BAD_FREE + ARENA_BAD_NEVER);
	KUNIT_EXPECT_EQ(test, never, PAGE_SIZE / 64 - 1);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_DOUBLE), 0);

	/* Some have been somebody's, whichever; all are free */
	for (int i = 0; i < 10; i++) {
		p = prog_alloc(test, arena, 64);
		KUNIT_ASSERT_NOT_NULL(test, p);
		had += (void *)PAGE_ALIGN_DOWN((long)p) == base;
		prog_free(test, arena, p);
	}
	KUNIT_EXPECT_GT(test, had, 0);
	p = prog_alloc(test, arena, 64);
	prog_free(test, arena, p);
	prog_free(test, arena, p);
	twice = counter(arena, ARENA_BAD_FREE + ARENA_BAD_DOUBLE);
	KUNIT_EXPECT_TRUE(test, twice || !slab_at(arena, offset_of(arena, kaddr_of(arena, p)) >>
						  PAGE_SHIFT));
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_NEVER), never);
	expect_empty(test, arena, 0);
}

/* The upper half of a pointer does not count, but tells where it may come from */
static void other_arenas_pointer_is_hinted_at(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *p = (void *)TEST_USER_START + PAGE_SIZE;
	char *text;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	prog_free(test, arena, p);
	prog_free(test, arena, (void *)(unsigned long)(u32)(long)p);
	text = take_reports(test, ctx_of(test)->prog);
	KUNIT_EXPECT_EQ(test, lines_with(text, "Hint:"), 0);
	prog_free(test, arena, p + SZ_4G);
	text = take_reports(test, ctx_of(test)->prog);
	KUNIT_EXPECT_EQ(test, lines_with(text, "Hint: bits 63 to 32"), 1);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_NOTHING), 3);
}

/* A kernel address that a program passes by mistake is in no report and no trace */
static void kernel_pointers_are_not_told(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 64);
	char hi[12], *text;

	KUNIT_ASSERT_EQ(test, register_trace_bpf_arena_bad_free(bad_free_probe, NULL), 0);
	traced.bad = NULL;
	traced.nr = 0;
	prog_free(test, arena, test);
	bpf_arena_cache_free(c, test);
	unregister_trace_bpf_arena_bad_free(bad_free_probe, NULL);
	tracepoint_synchronize_unregister();

	snprintf(hi, sizeof(hi), "%x", (u32)((unsigned long)test >> 32));
	text = take_reports(test, ctx_of(test)->prog);
	KUNIT_EXPECT_EQ(test, lines_with(text, "ERROR:"), 1);
	KUNIT_EXPECT_NULL(test, strstr(text, hi));
	KUNIT_EXPECT_EQ(test, traced.nr, 2);
	KUNIT_EXPECT_EQ(test, traced.uaddr >> 32, TEST_USER_START >> 32);
}

static void storm_leaves_others_their_reports(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena *bare = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *p = (void *)TEST_USER_START + PAGE_SIZE;
	char *text;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	as_program(test, 1);
	for (int i = 0; i < 1000; i++)
		prog_free(test, arena, p);
	text = take_reports(test, ctx_of(test)->prog);
	KUNIT_EXPECT_GT(test, lines_with(text, "ERROR:"), 0);
	KUNIT_EXPECT_LT(test, lines_with(text, "ERROR:"), 100);

	/* Another program of this arena, and of an arena that has no caches and no counters */
	as_program(test, 2);
	prog_free(test, arena, p);
	text = take_reports(test, ctx_of(test)->prog);
	KUNIT_EXPECT_EQ(test, lines_with(text, "ERROR:"), 1);
	for (int i = 0; i < 1000; i++)
		prog_free(test, bare, p);
	text = take_reports(test, ctx_of(test)->prog);
	KUNIT_EXPECT_GT(test, lines_with(text, "ERROR:"), 0);
	KUNIT_EXPECT_LT(test, lines_with(text, "ERROR:"), 100);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_NOTHING), 1001);
}

/* A program at the tracepoint that does what it watches */
static void watcher_is_not_watched(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *p = (void *)TEST_USER_START + PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	KUNIT_ASSERT_EQ(test, register_trace_bpf_arena_bad_free(bad_free_probe, NULL), 0);
	traced = (struct traced) { .test = test, .arena = arena, .bad = p + PAGE_SIZE };
	prog_free(test, arena, p);
	KUNIT_EXPECT_EQ(test, traced.nr, 1);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_NOTHING), 2);
	/* and that is over when the probe is */
	prog_free(test, arena, p);
	KUNIT_EXPECT_EQ(test, traced.nr, 2);
	unregister_trace_bpf_arena_bad_free(bad_free_probe, NULL);
	tracepoint_synchronize_unregister();
	traced.bad = NULL;
}

/* ---- several at once ---- */

static const unsigned int bulk_sizes[] = { 1, 2, 15, 16, 17, 129, 700 };

KUNIT_ARRAY_PARAM(bulk, bulk_sizes, NULL);

static void bulk_is_as_one_by_one(struct kunit *test)
{
	unsigned int nr = *(const unsigned int *)test->param_value, twice = 0, dirty = 0;
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 96);
	void **p = kunit_kcalloc(test, nr, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (int round = 0; round < 3; round++) {
		KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL | __GFP_ZERO,
								   nr, p));
		KUNIT_EXPECT_EQ(test, check_books(test, arena, 0), nr);
		for (unsigned int i = 0; i < nr; i++) {
			/* One that is given twice has a mark already */
			twice += *(u64 *)p[i] == 0x5eed;
			dirty += *(u64 *)p[i] && *(u64 *)p[i] != 0x5eed;
			dirty += !is_filled(p[i] + 8, 0, 88);
			memset(p[i], 0xff, 96);
			*(u64 *)p[i] = 0x5eed;
		}
		KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, nr, p), nr);
	}
	KUNIT_EXPECT_EQ(test, twice, 0);
	KUNIT_EXPECT_EQ(test, dirty, 0);
	KUNIT_EXPECT_EQ(test, frees_of(c), 3 * nr);
	KUNIT_EXPECT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 0, p));
	expect_empty(test, arena, 0);
}

/* There is room for some of them: then there are none, and the room is there still */
static void bulk_is_all_or_nothing(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, 16, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, PAGE_SIZE / 2);
	void *p[40];

	for (int gfp = 0; gfp < 2; gfp++) {
		bool ok;

		memset(p, 0xff, sizeof(p));
		ok = bpf_arena_cache_alloc_bulk(c, gfp ? GFP_KERNEL : GFP_NOWAIT, 33, p);
		KUNIT_EXPECT_FALSE(test, ok);
		/* No address of SLUB's is left to the caller */
		KUNIT_EXPECT_TRUE(test, is_filled(p, 0, 33 * sizeof(*p)));
		KUNIT_EXPECT_EQ(test, check_books(test, arena, 0), 0);
	}
	KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 32, p));
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 0), 32);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, 32, p), 32);
	expect_empty(test, arena, 0);
}

#ifdef CONFIG_FAILSLAB
static void bulk_unwinds(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, PAGE_SIZE);
	unsigned int failures = 0, done = 0;
	void *p[5];

	for (int nth = 1; nth < 60 && !done; nth++) {
		bool ok;

		current->fail_nth = nth;
		ok = bpf_arena_cache_alloc_bulk(c, GFP_NOWAIT, ARRAY_SIZE(p), p);
		/* It came to fewer allocations than that: nothing fails any more */
		done = current->fail_nth;
		current->fail_nth = 0;
		if (ok)
			KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, ARRAY_SIZE(p), p),
					ARRAY_SIZE(p));
		failures += !ok;
		expect_empty(test, arena, 0);
	}
	KUNIT_EXPECT_TRUE(test, done);
	/* At least the metadata of the page of each */
	KUNIT_EXPECT_GE(test, failures, ARRAY_SIZE(p));
}
#endif

static void bulk_free_takes_each_once(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 64), *other = cache_of(test, arena, 64);
	void *p[40], *theirs = bpf_arena_cache_alloc(other, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, theirs);
	KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 30, p));
	/* Across the batches of the implementation, too */
	p[30] = p[0];
	p[31] = p[29];
	p[32] = NULL;
	p[33] = p[3] + 8;
	p[34] = theirs;
	p[35] = test;
	p[36] = p[30];
	p[37] = (void *)c->kbase + SZ_4G;
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, 38, p), 30);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_DOUBLE), 3);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_INTERIOR), 1);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_OTHER_CACHE), 1);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_NOTHING), 2);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 0), 1);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, 38, p), 0);
	bpf_arena_cache_free(other, theirs);
	expect_empty(test, arena, 0);
}

static void node_is_respected(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, PAGE_SIZE);
	int node;

	for_each_node_state(node, N_MEMORY) {
		void *p = bpf_arena_cache_alloc_node(c, GFP_KERNEL | __GFP_THISNODE, node);

		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_EQ(test, page_to_nid(vmalloc_to_page(p)), node);
		bpf_arena_cache_free(c, p);
	}
	expect_empty(test, arena, 0);
}

/* By node as well: what there is, and then NULL, which is counted */
static void node_of_a_full_arena_has_none(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, 4, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, PAGE_SIZE);
	void *p[5];
	int nr = 0;

	while (nr < ARRAY_SIZE(p)) {
		p[nr] = bpf_arena_cache_alloc_node(c, GFP_KERNEL, numa_mem_id());
		if (!p[nr])
			break;
		nr++;
	}
	KUNIT_EXPECT_EQ(test, nr, 4);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FAILED_ALLOCS), 1);
	bpf_arena_cache_free_bulk(c, nr, p);
	expect_empty(test, arena, 0);
}

/* ---- pointers of programs ---- */

static void programs_pointer_is_checked(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 96), *other = cache_of(test, arena, 96);
	void *p = bpf_arena_cache_alloc(c, GFP_KERNEL), *q = bpf_arena_cache_alloc(c, GFP_KERNEL);
	void *theirs = bpf_arena_cache_alloc(other, GFP_KERNEL), *prog, *page;
	u64 u = bpf_arena_cache_uaddr(c, p);

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	prog = prog_alloc(test, arena, 64);
	page = page_at(arena, NULL);
	KUNIT_ASSERT_TRUE(test, p && q && theirs && prog && page);

	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, u + 8), -EINVAL);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, PAGE_ALIGN_DOWN(u) +
							 PAGE_SIZE / 96 * 96), -EINVAL);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(other, u), -ENOENT);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, (u64)(long)prog), -ENOENT);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, (u64)(long)page), -ENOENT);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, U64_MAX), -ENOENT);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, TEST_USER_START - 8), -ENOENT);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 1), 4);

	/* Only the low half counts: this is what a program has of a pointer */
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, (u32)u), 0);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, u), -ESTALE);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, bpf_arena_cache_uaddr(c, q)), 0);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 1), 2);
	bpf_arena_cache_free(other, theirs);
	prog_free(test, arena, prog);
	settle(arena);
	bpf_arena_free_pages(&arena->map, page, 1);
	expect_empty(test, arena, 0);
}

static void addresses_stay_in_the_arena(struct kunit *test)
{
	static const u64 wild[] = { 0, 1, U32_MAX, 1ull << 32, U64_MAX, 0xffff888000000000ull,
				    TEST_USER_START - 1, TEST_USER_START + SZ_4G };
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 64);
	unsigned long start = bpf_arena_get_kern_vm_start(arena);

	for (int i = 0; i < ARRAY_SIZE(wild); i++) {
		unsigned long k = (unsigned long)bpf_arena_cache_kaddr(c, wild[i]);
		u64 u = bpf_arena_cache_uaddr(c, (void *)(long)wild[i]);

		KUNIT_EXPECT_TRUE(test, k >= start && k - start < SZ_4G);
		KUNIT_EXPECT_EQ(test, u >> 32, TEST_USER_START >> 32);
		KUNIT_EXPECT_EQ(test, (u32)bpf_arena_cache_uaddr(c, (void *)k), (u32)wild[i]);
	}
}

/* ---- after a grace period ---- */

/* The grace period has begun; as irq_work_sync(), but inside of RCU */
static void wait_rcu_started(struct bpf_arena_cache *c)
{
	while (irq_work_is_busy(&c->rcu_irq))
		cpu_relax();
}

/* Until so many frees have come to SLUB, which no barrier alone tells */
static void wait_frees(struct bpf_arena_cache *c, u64 frees)
{
	for (int i = 0; i < 100 && frees_of(c) < frees; i++) {
		irq_work_sync(&c->rcu_irq);
		rcu_barrier();
	}
}

static void rcu_readers_keep_the_object(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 256);
	unsigned int again = 0, changed = 0;
	void *p, *q[64];

	p = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	memset(p, 0x42, 256);

	rcu_read_lock();
	bpf_arena_cache_free_rcu(c, p);
	wait_rcu_started(c);
	/* Nobody gets it, and nobody but programs writes to it */
	for (int i = 0; i < ARRAY_SIZE(q); i++) {
		q[i] = bpf_arena_cache_alloc(c, GFP_NOWAIT | __GFP_ZERO);
		again += q[i] == p;
	}
	changed += !is_filled(p, 0x42, 256);
	memset(p, 0xff, 256);
	for (int i = 0; i < ARRAY_SIZE(q); i++)
		bpf_arena_cache_free(c, q[i]);
	changed += !is_filled(p, 0xff, 256);
	/* It is free for those who free */
	bpf_arena_cache_free(c, p);
	bpf_arena_cache_free_rcu(c, p);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_uaddr(c, bpf_arena_cache_uaddr(c, p)), -ESTALE);
	rcu_read_unlock();

	KUNIT_EXPECT_EQ(test, again, 0);
	KUNIT_EXPECT_EQ(test, changed, 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_BAD_FREE + ARENA_BAD_DOUBLE), 3);
	wait_frees(c, ARRAY_SIZE(q) + 1);
	KUNIT_EXPECT_EQ(test, frees_of(c), ARRAY_SIZE(q) + 1);
	expect_empty(test, arena, 0);
}

struct holder {
	int in, leave;
};

static int hold_rcu_until(void *data)
{
	struct holder *h = data;

	rcu_read_lock();
	smp_store_release(&h->in, 1);
	while (!smp_load_acquire(&h->leave))
		cpu_relax();
	rcu_read_unlock();
	return 0;
}

static u16 state_of(struct bpf_arena *arena, void *kaddr)
{
	struct arena_slab *as = slab_at(arena, offset_of(arena, kaddr) >> PAGE_SHIFT);

	return as ? READ_ONCE(as->state[offset_in_page(kaddr) / as->cache->size]) : 0;
}

/*
 * One that is freed during a grace period waits for the next one. The first is kept from
 * ending by another CPU's reader, until ours is there, which is none of its.
 */
static void rcu_frees_do_not_overtake(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 64);
	unsigned int ended = 0, overtaken = 0;
	void *p[2];

	for (int i = 0; i < 10; i++) {
		struct holder h = {};
		struct task_struct *t;

		KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 2, p));
		synchronize_rcu();
		t = test_arena_other_cpu(test, hold_rcu_until, &h);
		while (!smp_load_acquire(&h.in))
			cond_resched();
		bpf_arena_cache_free_rcu(c, p[0]);
		/* No irq_work_sync(): on PREEMPT_RT it waits for a grace period */
		while (irq_work_is_busy(&c->rcu_irq))
			msleep(1);
		/* It begins, unless there was another one in between */
		msleep(50);

		rcu_read_lock();
		bpf_arena_cache_free_rcu(c, p[1]);
		smp_store_release(&h.leave, 1);
		for (int j = 0; j < 300; j++) {
			if ((state_of(arena, p[0]) & ARENA_OBJ_TAG) != ARENA_OBJ_DEFERRED)
				break;
			mdelay(1);
		}
		ended += (state_of(arena, p[0]) & ARENA_OBJ_TAG) != ARENA_OBJ_DEFERRED;
		overtaken += (state_of(arena, p[1]) & ARENA_OBJ_TAG) != ARENA_OBJ_DEFERRED;
		rcu_read_unlock();

		kthread_stop_put(t);
		wait_frees(c, 2 * (i + 1));
		KUNIT_ASSERT_EQ(test, frees_of(c), 2 * (i + 1));
	}
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	KUNIT_EXPECT_GT(test, ended, 0);
	KUNIT_EXPECT_EQ(test, overtaken, 0);
	expect_empty(test, arena, 0);
}

static void rcu_free_in_hardirq(struct irq_work *work);

static struct rcu_irq {
	struct irq_work work;
	struct bpf_arena_cache *c;
	void **p;
	unsigned int nr;
} rcu_irq = { .work = IRQ_WORK_INIT_HARD(rcu_free_in_hardirq) };

static void rcu_free_in_hardirq(struct irq_work *work)
{
	for (unsigned int i = 0; i < rcu_irq.nr; i++)
		bpf_arena_cache_free_rcu(rcu_irq.c, rcu_irq.p[i]);
}

/* Many, from two contexts, while others come back: each comes back once */
static void rcu_frees_come_back(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 192);
	void **p = kunit_kcalloc(test, 600, sizeof(*p), GFP_KERNEL);
	u64 frees = 0;

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (int round = 0; round < 30; round++) {
		/* Those of the round before are on their way back */
		KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 600, p));
		rcu_irq.c = c;
		rcu_irq.p = p;
		rcu_irq.nr = 200;
		irq_work_queue(&rcu_irq.work);
		for (int i = 200; i < 600; i++)
			i % 3 ? bpf_arena_cache_free_rcu(c, p[i]) : bpf_arena_cache_free(c, p[i]);
		irq_work_sync(&rcu_irq.work);
		frees += 600;
		if (round % 3 == 2)
			wait_frees(c, frees);
	}
	wait_frees(c, frees);
	KUNIT_EXPECT_EQ(test, frees_of(c), frees);
	KUNIT_EXPECT_EQ(test, c->rcu_busy, 0);
	expect_empty(test, arena, 0);
}

static int hold_rcu(void *data)
{
	rcu_read_lock();
	smp_store_release((int *)data, 1);
	mdelay(30);
	rcu_read_unlock();
	return 0;
}

/* What waits goes with the cache, and nothing of it comes later */
static void cache_goes_with_rcu_frees(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct hostile_ctx *ctx = ctx_of(test);

	for (int round = 0; round < 12; round++) {
		struct bpf_arena_cache *c = cache_of(test, arena, 512);
		struct task_struct *t = NULL;
		int held = 0;
		void *p[100];

		KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 100, p));
		if (round & 1) {
			t = kthread_create(hold_rcu, &held, "arena-api");
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
			get_task_struct(t);
			wake_up_process(t);
			while (!smp_load_acquire(&held))
				cond_resched();
		}
		for (int i = 0; i < 90; i++) {
			bpf_arena_cache_free_rcu(c, p[i]);
			if (i == 30 && round % 3 == 0)
				irq_work_sync(&c->rcu_irq);
		}
		ctx->cache[0] = NULL;
		bpf_arena_cache_destroy(c);
		if (t)
			kthread_stop_put(t);
		/* A callback that was forgotten would meet what is freed by now */
		settle(arena);
		KUNIT_EXPECT_EQ(test, arena->nr_pages, 0);
		KUNIT_EXPECT_EQ(test, counter(arena, ARENA_SLABS_MAPPED),
				counter(arena, ARENA_SLABS_FREED));
	}
	rcu_barrier();
	KUNIT_EXPECT_EQ(test, atomic64_read(&arena->map.refcnt), 1);
}

/* ---- statistics ---- */

static void books_add_up_in_slabinfo(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 512);
	const unsigned int per_slab = PAGE_SIZE / 512;
	struct slabinfo info = {};
	void *p[100];

	KUNIT_ASSERT_TRUE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 100, p));
	flush_all(arena);
	get_slabinfo(c->s, &info);
	KUNIT_EXPECT_EQ(test, info.objects_per_slab, per_slab);
	KUNIT_EXPECT_EQ(test, info.cache_order, 0);
	KUNIT_EXPECT_EQ(test, info.num_slabs, DIV_ROUND_UP(100, per_slab));
	KUNIT_EXPECT_EQ(test, info.active_slabs, info.num_slabs);
	KUNIT_EXPECT_EQ(test, info.num_objs, info.num_slabs * per_slab);
	KUNIT_EXPECT_EQ(test, info.active_objs, 100);

	/* Whole slabs and parts of them */
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, 61, p), 61);
	flush_all(arena);
	info = (struct slabinfo) {};
	get_slabinfo(c->s, &info);
	KUNIT_EXPECT_EQ(test, info.active_objs, 39);
	KUNIT_EXPECT_EQ(test, info.num_slabs * PAGE_SIZE, arena->nr_pages * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, bpf_arena_cache_free_bulk(c, 39, p + 61), 39);
	flush_all(arena);
	info = (struct slabinfo) {};
	get_slabinfo(c->s, &info);
	KUNIT_EXPECT_EQ(test, info.num_slabs, 0);
	KUNIT_EXPECT_EQ(test, info.num_objs, 0);
	KUNIT_EXPECT_EQ(test, info.active_objs, 0);
	expect_empty(test, arena, 0);
}

static u64 mem_usage(struct bpf_arena *arena)
{
	return arena_map_ops.map_mem_usage(&arena->map);
}

/* Pages of slabs, of large objects and ordinary ones, and the metadata of the first */
static void memory_is_counted(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, 2048, TEST_USER_START);
	u64 none = mem_usage(arena), table, leaf = sizeof(struct arena_slot_leaf), one;
	struct bpf_arena_cache *c;
	void *p[3], *page, *large;

	KUNIT_EXPECT_EQ(test, none, 0);
	c = cache_of(test, arena, PAGE_SIZE);
	one = PAGE_SIZE + struct_size_t(struct arena_slab, state, 1);
	table = mem_usage(arena);
	KUNIT_EXPECT_EQ(test, table, struct_size_t(struct arena_slot_table, dir,
						   2048 / ARENA_LEAF_SLOTS));

	for (int i = 0; i < 3; i++) {
		p[i] = bpf_arena_cache_alloc(c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		flush_all(arena);
		KUNIT_EXPECT_EQ(test, mem_usage(arena), table + leaf + (i + 1) * one);
	}
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 5000, 5000), 0);
	page = page_at(arena, NULL);
	large = prog_alloc(test, arena, 2 * PAGE_SIZE);
	KUNIT_ASSERT_TRUE(test, page && large);
	KUNIT_EXPECT_EQ(test, mem_usage(arena), table + leaf + 3 * one + 3 * PAGE_SIZE);

	bpf_arena_cache_free_bulk(c, 3, p);
	prog_free(test, arena, large);
	settle(arena);
	bpf_arena_free_pages(&arena->map, page, 1);
	expect_empty(test, arena, 0);
	/* Leaves stay until the arena goes */
	KUNIT_EXPECT_EQ(test, mem_usage(arena), table + leaf);
}

static char *fdinfo_of(struct kunit *test, struct bpf_arena *arena)
{
	struct seq_file m = { .size = 16 * 1024 };

	m.buf = kunit_kzalloc(test, m.size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m.buf);
	arena_map_ops.map_show_fdinfo(&arena->map, &m);
	KUNIT_EXPECT_FALSE(test, seq_has_overflowed(&m));
	return m.buf;
}

static void fdinfo_tells(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	char *text = fdinfo_of(test, arena), line[96];
	struct bpf_arena_cache *c;
	void *p, *q;

	/* An arena without caches has nothing to tell about them */
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, "arena_pages:\t0\n"));
	KUNIT_EXPECT_NULL(test, strstr(text, "arena_slab"));

	c = cache_of(test, arena, 128);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	p = bpf_arena_cache_alloc(c, GFP_KERNEL);
	q = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, p && q);
	bpf_arena_cache_free(c, p);
	bpf_arena_cache_free(c, p);
	prog_free(test, arena, (void *)bpf_arena_cache_uaddr(c, q));
	text = fdinfo_of(test, arena);
	snprintf(line, sizeof(line), "arena_slab_id:\t%llu\n", arena->slabs->id);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, line));
	snprintf(line, sizeof(line), "arena_slab_pages:\t%llu\n", arena->nr_pages);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, line));
	KUNIT_EXPECT_GT(test, arena->nr_pages, 0);
	snprintf(line, sizeof(line), "arena_slab_meta:\t%llu\n",
		 mem_usage(arena) - arena->nr_pages * PAGE_SIZE);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, line));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, "arena_failed_allocs:\t0\n"));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, "arena_bad_frees:\t2\n"));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, "arena_bad_free:\tdouble_free 1\n"));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, "arena_bad_free:\tkernel_owned 1\n"));
	KUNIT_EXPECT_EQ(test, lines_with(text, "arena_bad_free:"), 2);
	snprintf(line, sizeof(line), "arena_cache:\t%s 128 kernel 2 1\n", c->name);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, line));
	snprintf(line, sizeof(line), "arena_cache:\tarena:%llu:64 64 program 0 0\n",
		 arena->slabs->id);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, line));
	KUNIT_EXPECT_NULL(test, strstr(text, "left_out"));
	bpf_arena_cache_free(c, q);
	expect_empty(test, arena, 0);
}

/* Whoever gets nothing is counted once, and who gets something is not */
static void failures_are_counted(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, PAGE_SIZE);
	atomic_long_t *failed = &arena->slabs->counters[ARENA_FAILED_ALLOCS];
	void *p, **all, *two[2];
	int nr = 0;

	all = kunit_kcalloc(test, TEST_PAGES + 1, sizeof(*all), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, all);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, 4 * PAGE_SIZE), 0);
	while (nr <= TEST_PAGES && (p = bpf_arena_cache_alloc(c, GFP_KERNEL)))
		all[nr++] = p;
	KUNIT_ASSERT_EQ(test, nr, TEST_PAGES);
	KUNIT_EXPECT_EQ(test, atomic_long_read(failed), 1);
	KUNIT_EXPECT_NULL(test, bpf_arena_cache_alloc_nolock(c, 0));
	KUNIT_EXPECT_EQ(test, atomic_long_read(failed), 2);
	KUNIT_EXPECT_FALSE(test, bpf_arena_cache_alloc_bulk(c, GFP_KERNEL, 2, two));
	KUNIT_EXPECT_EQ(test, atomic_long_read(failed), 3);
	KUNIT_EXPECT_NULL(test, prog_alloc(test, arena, 16));
	KUNIT_EXPECT_EQ(test, atomic_long_read(failed), 4);
	KUNIT_EXPECT_NULL(test, prog_alloc(test, arena, 2 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, arena, U32_MAX));
	KUNIT_EXPECT_EQ(test, atomic_long_read(failed), 6);
	while (nr)
		bpf_arena_cache_free(c, all[--nr]);
	expect_empty(test, arena, 0);
}

static void fdinfo_is_bounded(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c[35];
	char *text;

	for (int i = 0; i < ARRAY_SIZE(c); i++)
		c[i] = bpf_arena_cache_create(&arena->map, "kunit", 64, 0, 0);
	text = fdinfo_of(test, arena);
	for (int i = 0; i < ARRAY_SIZE(c); i++)
		bpf_arena_cache_destroy(c[i]);
	KUNIT_EXPECT_EQ(test, lines_with(text, "arena_cache:"), 32);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text, "arena_caches_left_out:\t3\n"));
}

#ifdef CONFIG_SYSFS
static bool has_map_id(struct kmem_cache *s)
{
	struct kernfs_node *kn = kernfs_find_and_get(s->kobj.sd, "arena_map_id");

	kernfs_put(kn);
	return kn;
}

static void sysfs_leads_to_the_map(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct kmem_cache *plain = kmem_cache_create("kunit-plain", 64, 0, SLAB_NO_MERGE, NULL);
	struct bpf_arena_cache *c;

	arena->map.id = 4711;
	c = cache_of(test, arena, 64);
	KUNIT_EXPECT_EQ(test, c->s->arena_map_id, 4711);
	KUNIT_EXPECT_TRUE(test, has_map_id(c->s));
	KUNIT_ASSERT_NOT_NULL(test, plain);
	KUNIT_EXPECT_FALSE(test, has_map_id(plain));
	kmem_cache_destroy(plain);
}
#endif

static struct kunit_case api_cases[] = {
	KUNIT_CASE(each_kind_has_its_report),
	KUNIT_CASE(never_allocated_is_told_from_freed),
	KUNIT_CASE(other_arenas_pointer_is_hinted_at),
	KUNIT_CASE(kernel_pointers_are_not_told),
	KUNIT_CASE(storm_leaves_others_their_reports),
	KUNIT_CASE(watcher_is_not_watched),
	KUNIT_CASE_PARAM(bulk_is_as_one_by_one, bulk_gen_params),
	KUNIT_CASE(bulk_is_all_or_nothing),
#ifdef CONFIG_FAILSLAB
	KUNIT_CASE(bulk_unwinds),
#endif
	KUNIT_CASE(bulk_free_takes_each_once),
	KUNIT_CASE(node_is_respected),
	KUNIT_CASE(node_of_a_full_arena_has_none),
	KUNIT_CASE(programs_pointer_is_checked),
	KUNIT_CASE(addresses_stay_in_the_arena),
	KUNIT_CASE(rcu_readers_keep_the_object),
	KUNIT_CASE(rcu_frees_do_not_overtake),
	KUNIT_CASE(rcu_frees_come_back),
	KUNIT_CASE(cache_goes_with_rcu_frees),
	KUNIT_CASE(books_add_up_in_slabinfo),
	KUNIT_CASE(memory_is_counted),
	KUNIT_CASE(fdinfo_tells),
	KUNIT_CASE(failures_are_counted),
	KUNIT_CASE(fdinfo_is_bounded),
#ifdef CONFIG_SYSFS
	KUNIT_CASE(sysfs_leads_to_the_map),
#endif
	{}
};

static struct kunit_suite api_suite = {
	.name = "bpf_arena_api",
	.init = hostile_init,
	.exit = hostile_exit,
	.test_cases = api_cases,
};

kunit_test_suite(api_suite);

MODULE_DESCRIPTION("KUnit tests of the API, reports and statistics of slab caches in BPF arenas");
MODULE_LICENSE("GPL");
