// SPDX-License-Identifier: GPL-2.0
/*
 * What a hostile program can do to the slab caches of its arena, one attack a test:
 * the part of Documentation/mm/slab_arena_tests.rst that needs the kernel's own eyes.
 *
 *	kunit.filter_glob=bpf_arena_hostile
 *
 * The test is the program: it writes through the arena's kernel mapping and calls what
 * the verifier makes of the kfuncs. Each ends with the books of the arena, check_books(),
 * and then all of it has to go. What programs do in the middle of the allocator is in
 * bpf_arena_context_kunit.c.
 */
#include <kunit/static_stub.h>
#include <linux/kfence.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include "bpf_arena_hostile.h"

/* So small that sheaves are no use: every object is taken from its slab */
#define SMALL_PAGES	32
#define SMALL_SIZE	(PAGE_SIZE / 8)
#define MAX_OBJS	4096

/* A cache whose objects are taken and given back one by one */
static struct bpf_arena_cache *cache_without_sheaves(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, SMALL_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, SMALL_SIZE);

	KUNIT_ASSERT_EQ(test, c->s->sheaf_capacity, 0);
	return c;
}

/* ---- what stands in free objects ---- */

/* What a word in a free object speaks of */
enum target {
	TO_ITSELF, TO_OTHER_FREE, TO_LIVE, TO_INTERIOR, TO_OTHER_CACHE, TO_ORDINARY_PAGE,
	TO_NO_PAGE, TO_OFFSET_ZERO, TO_BEHIND_THE_END,
};

static const struct lie {
	const char *what;
	enum target to;
} lies[] = {
	{ "itself", TO_ITSELF },
	{ "another free object", TO_OTHER_FREE },
	{ "a live object", TO_LIVE },
	{ "the middle of an object", TO_INTERIOR },
	{ "a live object of another cache", TO_OTHER_CACHE },
	{ "an ordinary page", TO_ORDINARY_PAGE },
	{ "no page", TO_NO_PAGE },
	{ "offset 0", TO_OFFSET_ZERO },
	{ "behind the last object", TO_BEHIND_THE_END },
};
KUNIT_ARRAY_PARAM_DESC(lie, lies, what);

/* In how many ways SLUB, or a design that was not chosen, could spell it */
#define NR_FORMS	8

struct scene {
	struct bpf_arena *arena;
	struct bpf_arena_cache *c;
	void *p[MAX_OBJS];
	bool live[MAX_OBJS];
	unsigned int nr;
	void *foreign, *page;
	DECLARE_BITMAP(seen, TEST_PAGES * PAGE_SIZE / 16);
};

static void *direct_of(void *kaddr)
{
	struct page *page = vmalloc_to_page(kaddr);

	return page ? page_address(page) + offset_in_page(kaddr) : kaddr;
}

static u64 spell(struct scene *s, void *kaddr, unsigned long *where, unsigned int form)
{
	u32 offset = offset_of(s->arena, kaddr);

	switch (form) {
	case 0:
		return offset_in_page(kaddr) / s->c->size;
	case 1:
		return offset_in_page(kaddr);
	case 2:
		return offset;
	case 3:
		return (u32)bpf_arena_cache_uaddr(s->c, kaddr);
	case 4:
		return bpf_arena_cache_uaddr(s->c, kaddr);
	case 5:
		return (unsigned long)kaddr;
	case 6:
		return (unsigned long)direct_of(kaddr);
	default:
#ifdef CONFIG_SLAB_FREELIST_HARDENED
		/* as SLUB itself would write it there */
		return (unsigned long)direct_of(kaddr) ^ s->c->s->random ^
		       swab64((unsigned long)direct_of(where));
#else
		return 0;
#endif
	}
}

static void *target_of(struct scene *s, enum target to, unsigned int i)
{
	unsigned int j;

	switch (to) {
	case TO_ITSELF:
		return s->p[i];
	case TO_OTHER_FREE:
		/* In turn: chains, and with the last one a circle */
		for (j = (i + 1) % s->nr; s->live[j]; j = (j + 1) % s->nr)
			;
		return s->p[j];
	case TO_LIVE:
		for (j = (i + 1) % s->nr; !s->live[j]; j = (j + 1) % s->nr)
			;
		return s->p[j];
	case TO_INTERIOR:
		return s->p[i] + 8;
	case TO_OTHER_CACHE:
		return s->foreign;
	case TO_ORDINARY_PAGE:
		return s->page;
	case TO_NO_PAGE:
		return kaddr_of(s->arena, (void *)s->arena->user_vm_end - PAGE_SIZE);
	case TO_OFFSET_ZERO:
		return kaddr_of(s->arena, (void *)s->arena->user_vm_start);
	case TO_BEHIND_THE_END:
		return (void *)PAGE_ALIGN_DOWN((unsigned long)s->p[i]) +
		       PAGE_SIZE / s->c->size * s->c->size;
	}
	return NULL;
}

static void write_lies(struct scene *s, enum target to, unsigned int form)
{
	for (unsigned int i = 0; i < s->nr; i++) {
		unsigned long *word = s->p[i];
		void *target;

		if (s->live[i])
			continue;
		target = target_of(s, to, i);
		for (unsigned int w = 0; w < s->c->size / sizeof(*word); w++)
			WRITE_ONCE(word[w], spell(s, target, &word[w], form));
	}
}

/* Is @kaddr an object of the cache, and nobody else's? It is taken then. */
static bool claim(struct scene *s, void *kaddr)
{
	u32 offset = offset_of(s->arena, kaddr);
	struct arena_slab *as;

	if (offset >= arena_max_pages(s->arena) << PAGE_SHIFT ||
	    offset_in_page(offset) % s->c->size)
		return false;
	as = slab_at(s->arena, offset >> PAGE_SHIFT);
	if (!as || as->cache != s->c || offset_in_page(offset) / s->c->size >= s->c->objects)
		return false;
	return !test_and_set_bit(offset / 16, s->seen);
}

static void *take(struct scene *s, unsigned int i)
{
	return i & 1 ? bpf_arena_cache_alloc_nolock(s->c, 0) :
		       bpf_arena_cache_alloc(s->c, GFP_NOWAIT);
}

static void lie_and_allocate(struct kunit *test, struct scene *s, enum target to,
			     unsigned int form)
{
	unsigned int wrong = 0, changed = 0, i;

	bitmap_zero(s->seen, TEST_PAGES * PAGE_SIZE / 16);
	for (i = 0; i < s->nr; i++) {
		s->p[i] = take(s, i);
		KUNIT_ASSERT_NOT_NULL(test, s->p[i]);
		memset(s->p[i], 0x11, s->c->size);
		s->live[i] = i % 3 == 0;
	}
	for (i = 0; i < s->nr; i++)
		if (!s->live[i])
			give(s->c, s->p[i], i);
		else
			KUNIT_ASSERT_TRUE(test, claim(s, s->p[i]));
	/* Out of the sheaves: only now do links count */
	flush_all(s->arena);
	write_lies(s, to, form);

	for (i = 0; i < s->nr; i++) {
		if (s->live[i])
			continue;
		s->p[i] = take(s, i);
		KUNIT_ASSERT_NOT_NULL(test, s->p[i]);
		if (!claim(s, s->p[i])) {
			/* what it is may be anything: not to be touched or freed */
			wrong++;
			s->p[i] = NULL;
		}
	}
	for (i = 0; i < s->nr; i++)
		changed += s->live[i] && !is_filled(s->p[i], 0x11, s->c->size);
	KUNIT_ASSERT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, changed, 0);
	KUNIT_EXPECT_EQ(test, check_books(test, s->arena, 1), s->nr + 1);
	for (i = 0; i < s->nr; i++)
		give(s->c, s->p[i], i);
	/* In a small arena the next one needs the pages */
	flush_all(s->arena);
}

static void lie_in(struct kunit *test, struct bpf_arena_cache *c, unsigned int nr)
{
	const struct lie *lie = test->param_value;
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct bpf_arena *arena = c->arena;
	struct bpf_arena_cache *other;

	KUNIT_ASSERT_NOT_NULL(test, s);
	ctx_of(test)->writes_addresses = true;
	s->arena = arena;
	s->c = c;
	s->nr = nr;
	other = cache_of(test, arena, 1024);
	s->foreign = bpf_arena_cache_alloc(other, GFP_KERNEL);
	s->page = page_at(arena, NULL);
	KUNIT_ASSERT_TRUE(test, s->foreign && s->page);
	s->page = kaddr_of(arena, s->page);
	memset(s->foreign, 0x5a, 1024);
	memset(s->page, 0x5a, PAGE_SIZE);

	for (unsigned int form = 0; form < NR_FORMS; form++)
		lie_and_allocate(test, s, lie->to, form);
	KUNIT_EXPECT_TRUE(test, is_filled(s->foreign, 0x5a, 1024));
	KUNIT_EXPECT_TRUE(test, is_filled(s->page, 0x5a, PAGE_SIZE));
	bpf_arena_cache_free(other, s->foreign);
	expect_empty(test, arena, 1);
}

/* Whatever stands in free objects, each is given out once, and nothing else is */
static void lies_in_free_objects(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);

	lie_in(test, cache_of(test, arena, 64), 1000);
}

/* The same where no sheaf is between SLUB and its user: other walks along the links */
static void lies_without_sheaves(struct kunit *test)
{
	lie_in(test, cache_without_sheaves(test), 20 * PAGE_SIZE / SMALL_SIZE);
}

/* 2^16 objects taken from one slab would have its count wrap around to an empty one's */
static void counts_do_not_overflow(struct kunit *test)
{
	struct bpf_arena_cache *c = cache_without_sheaves(test);
	unsigned int per_slab = PAGE_SIZE / SMALL_SIZE, wrong = 0;
	struct arena_slab *as;
	void *kept, *p;
	u32 pgoff;

	kept = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, kept);
	memset(kept, 0x11, SMALL_SIZE);
	pgoff = offset_of(c->arena, kept) >> PAGE_SHIFT;
	as = slab_at(c->arena, pgoff);
	KUNIT_ASSERT_NOT_NULL(test, as);

	for (int i = 0; i < 70000; i++) {
		p = i & 2 ? bpf_arena_cache_alloc_nolock(c, 0) :
			    bpf_arena_cache_alloc(c, GFP_NOWAIT);
		if (!p || p == kept || offset_in_page(p) % SMALL_SIZE) {
			wrong++;
			break;
		}
		/* At once: so many that wait for a grace period would fill the arena */
		i & 1 ? bpf_arena_cache_free_nolock(c, p) : bpf_arena_cache_free(c, p);
		/* Free: linked to itself, in the spelling of a link within the slab */
		if (offset_of(c->arena, p) >> PAGE_SHIFT == pgoff)
			memset64(p, offset_in_page(p) / SMALL_SIZE, SMALL_SIZE / 8);
		wrong += as->slab->inuse < 1 || as->slab->inuse > per_slab;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	flush_all(c->arena);
	KUNIT_ASSERT_PTR_EQ(test, slab_at(c->arena, pgoff), as);
	KUNIT_EXPECT_PTR_EQ(test, vmalloc_to_page(kept), (struct page *)as->slab);
	KUNIT_EXPECT_TRUE(test, is_filled(kept, 0x11, SMALL_SIZE));
	KUNIT_EXPECT_EQ(test, check_books(test, c->arena, 0), 1);
	bpf_arena_cache_free(c, kept);
	expect_empty(test, c->arena, 0);
}

/* Is every byte of the arena's pages zero or the test's own? */
static unsigned int strange_bytes(struct bpf_arena *arena)
{
	unsigned int strange = 0;

	for (u32 pgoff = 0; pgoff < arena->map.max_entries; pgoff++) {
		u8 *p = test_arena_kaddr(arena, arena->user_vm_start + pgoff * PAGE_SIZE);

		if (!vmalloc_to_page(p))
			continue;
		for (int i = 0; i < PAGE_SIZE; i++)
			strange += p[i] && p[i] != 0x11;
	}
	return strange;
}

/* Nothing of the kernel's ever stands in a page: in no step of the life of an object */
static void pages_have_nothing_of_the_kernels(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *a = cache_of(test, arena, 24), *b = cache_of(test, arena, 136);
	void **p = kunit_kcalloc(test, 1000, sizeof(*p), GFP_KERNEL), *large;
	unsigned long dirty[NR_DIRTY];

	if (IS_ENABLED(CONFIG_INIT_ON_FREE_DEFAULT_ON))
		kunit_skip(test, "init_on_free clears objects");
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, PAGE_SIZE), 0);
	dirty_free_pages(dirty);

	for (int i = 0; i < 1000; i++) {
		p[i] = i & 1 ? bpf_arena_cache_alloc(i & 2 ? a : b, GFP_KERNEL) :
			       kaddr_of(arena, prog_alloc(test, arena, 1 + i % 600));
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		if (i % 5)
			memset(p[i], 0x11, i & 1 ? 24 : 1 + i % 600);
	}
	large = prog_alloc(test, arena, 3 * PAGE_SIZE);
	KUNIT_EXPECT_NOT_NULL(test, large);
	KUNIT_EXPECT_EQ(test, strange_bytes(arena), 0);
	/* else they had nothing to begin with */
	KUNIT_EXPECT_GT(test, slabs_of_dirty_pages(arena, dirty), 0);

	/* Freed in all ways: to sheaves, slabs, by irq_work; with an error; with their page */
	for (int i = 0; i < 1000; i++) {
		if (i % 7 == 0)
			continue;
		if (!(i & 1)) {
			void *uaddr = (void *)arena->user_vm_start + offset_of(arena, p[i]);

			prog_free(test, arena, uaddr);
			prog_free(test, arena, uaddr + 8);
		} else {
			give(i & 2 ? a : b, p[i], i >> 2);
		}
	}
	KUNIT_EXPECT_EQ(test, strange_bytes(arena), 0);
	flush_all(arena);
	KUNIT_EXPECT_EQ(test, strange_bytes(arena), 0);
	prog_free(test, arena, large);
	ctx_of(test)->cache[0] = NULL;
	/* with live objects in it */
	bpf_arena_cache_destroy(a);
	KUNIT_EXPECT_EQ(test, strange_bytes(arena), 0);
	settle(arena);
	for (int i = 0; i < 200; i++)
		KUNIT_ASSERT_NOT_NULL(test, prog_alloc(test, arena, 1000));
	KUNIT_EXPECT_EQ(test, strange_bytes(arena), 0);
	check_books(test, arena, 0);
}

/* KFENCE takes an allocation now and then; its objects are not in any arena */
static void no_object_is_of_kfence(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 64);
	unsigned long end = jiffies + 2 * HZ, rounds = 0;
	unsigned int of_kfence = 0, samples = 0;
	void *p, *q;

	if (!IS_ENABLED(CONFIG_KFENCE))
		kunit_skip(test, "no KFENCE");
	/* For longer than its sample interval, many times */
	while (rounds++ < 1000 || time_before(jiffies, end)) {
		p = bpf_arena_cache_alloc(c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		of_kfence += is_kfence_address(direct_of(p));
		bpf_arena_cache_free(c, p);
		/* Now and then, so that most of its samples would be of the arena */
		if (rounds % 16 == 0) {
			q = kmalloc(64, GFP_KERNEL);
			samples += is_kfence_address(q);
			kfree(q);
		}
	}
	KUNIT_EXPECT_EQ(test, of_kfence, 0);
	expect_empty(test, arena, 0);
	if (!samples)
		kunit_skip(test, "KFENCE took no sample");
}

/* ---- pointers that are wrong ---- */

/* What a program gets to see where the kernel or another program faulted */
static void scratch_is_no_object(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *at = (void *)TEST_USER_START + 5 * PAGE_SIZE, *p;
	long before;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	KUNIT_ASSERT_TRUE(test, arena_map_scratch(arena, (unsigned long)kaddr_of(arena, at)));
	for (int i = 0; i < 2; i++) {
		before = counter(arena, ARENA_FREE_NO_OBJECT);
		prog_free(test, arena, at);
		prog_free(test, arena, at + 64);
		bpf_arena_free_pages(&arena->map, at + PAGE_SIZE, 1);
		KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), before + 2);
		KUNIT_EXPECT_PTR_EQ(test, vmalloc_to_page(kaddr_of(arena, at)),
				    arena->scratch_page);
	}
	/* A slab that comes by has the worker clear it; until then it is nothing either */
	for (int i = 0; i < 5; i++)
		KUNIT_ASSERT_NOT_NULL(test, page_at(arena, NULL));
	p = prog_alloc(test, arena, 64);
	before = counter(arena, ARENA_FREE_NO_OBJECT);
	prog_free(test, arena, at);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), before + 1);
	KUNIT_EXPECT_EQ(test, offset_of(arena, kaddr_of(arena, p)) >> PAGE_SHIFT, 6);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 5), 1);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr_of(arena, at)));
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 5, 1), 0);
	prog_free(test, arena, p);
	expect_empty(test, arena, 5);
}

/*
 * Objects of a class in one page at a place that is free and nothing else is, so that
 * what comes next is put there. Returns the place.
 */
static void *only_place(struct kunit *test, struct bpf_arena *arena, u32 pgoff, u32 pages)
{
	void *start = (void *)arena->user_vm_start, *place = start + pgoff * PAGE_SIZE;
	void *behind = place + pages * PAGE_SIZE;
	struct bpf_map *map = &arena->map;

	KUNIT_ASSERT_PTR_EQ(test, start, bpf_arena_alloc_pages_sleepable(map, start, pgoff,
									 NUMA_NO_NODE, 0));
	KUNIT_ASSERT_PTR_EQ(test, behind,
			    bpf_arena_alloc_pages_sleepable(map, behind, map->max_entries - pgoff -
							    pages, NUMA_NO_NODE, 0));
	return place;
}

/* A pointer to an object whose page has become something else since */
static void old_pointers_are_refused(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, 16, TEST_USER_START);
	struct bpf_arena_cache *kernel = cache_of(test, arena, 96);
	unsigned int per_slab = PAGE_SIZE / 96;
	void *place, *p, **old = kunit_kcalloc(test, per_slab, sizeof(*old), GFP_KERNEL);
	long no_object, interior, not_live;

	KUNIT_ASSERT_NOT_NULL(test, old);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 96), 0);
	place = only_place(test, arena, 7, 2);
	KUNIT_ASSERT_PTR_EQ(test, page_at(arena, place + PAGE_SIZE), place + PAGE_SIZE);
	for (int i = 0; i < per_slab; i++) {
		old[i] = prog_alloc(test, arena, 96);
		KUNIT_ASSERT_PTR_EQ(test, (void *)PAGE_ALIGN_DOWN((long)old[i]), place);
	}
	for (int i = 0; i < per_slab; i++)
		prog_free(test, arena, old[i]);
	expect_empty(test, arena, 15);
	no_object = counter(arena, ARENA_FREE_NO_OBJECT);

	/* nothing at all */
	for (int i = 0; i < per_slab; i++)
		prog_free(test, arena, old[i]);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), no_object += per_slab);

	/* an ordinary page */
	KUNIT_ASSERT_PTR_EQ(test, page_at(arena, place), place);
	memset(kaddr_of(arena, place), 0x11, PAGE_SIZE);
	for (int i = 0; i < per_slab; i++)
		prog_free(test, arena, old[i]);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), no_object += per_slab);
	KUNIT_EXPECT_TRUE(test, is_filled(kaddr_of(arena, place), 0x11, PAGE_SIZE));
	expect_empty(test, arena, 16);
	bpf_arena_free_pages(&arena->map, place, 1);

	/* the kernel's, of the same size: each would be one of its objects */
	p = bpf_arena_cache_alloc(kernel, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ(test, offset_of(arena, p) >> PAGE_SHIFT, 7);
	for (int i = 0; i < per_slab; i++)
		prog_free(test, arena, old[i]);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_YOURS), per_slab);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 15), 1);
	bpf_arena_cache_free(kernel, p);
	flush_all(arena);

	/* objects of another size, of which the program has only the first */
	p = prog_alloc(test, arena, 64);
	KUNIT_ASSERT_PTR_EQ(test, (void *)PAGE_ALIGN_DOWN((long)p), place);
	interior = counter(arena, ARENA_FREE_INTERIOR);
	not_live = counter(arena, ARENA_FREE_NOT_LIVE);
	for (int i = 0; i < per_slab; i++) {
		/* but for the one that is an object of the program's now */
		if (old[i] == p)
			continue;
		prog_free(test, arena, old[i]);
		interior += offset_in_page(old[i]) % 64 != 0;
		not_live += offset_in_page(old[i]) % 64 == 0;
	}
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_INTERIOR), interior);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE), not_live);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 15), 1);
	/* and one of a kernel user's, by mistake */
	bpf_arena_cache_free(kernel, kaddr_of(arena, p));
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), no_object + 1);
	prog_free(test, arena, p);
	flush_all(arena);

	/* the second page of a large object */
	bpf_arena_free_pages(&arena->map, place - PAGE_SIZE, 1);
	p = prog_alloc(test, arena, 2 * PAGE_SIZE);
	KUNIT_ASSERT_PTR_EQ(test, p, place - PAGE_SIZE);
	interior = counter(arena, ARENA_FREE_INTERIOR);
	for (int i = 0; i < per_slab; i++)
		prog_free(test, arena, old[i]);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_INTERIOR), interior + per_slab);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 14), 0);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 16);

	/* and the other way round: its head, after it became an object of a slab */
	prog_free(test, arena, p);
	flush_all(arena);
	KUNIT_ASSERT_PTR_EQ(test, page_at(arena, place), place);
	p = prog_alloc(test, arena, 64);
	KUNIT_ASSERT_PTR_EQ(test, (void *)PAGE_ALIGN_DOWN((long)p), place - PAGE_SIZE);
	prog_free(test, arena, place);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), no_object + 2);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 15), 1);
	prog_free(test, arena, p);
	expect_empty(test, arena, 15);
}

/* ---- large objects ---- */

static const u32 large_sizes[] = {
	PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE - 1, 2 * PAGE_SIZE,
	2 * PAGE_SIZE + 1, 17 * PAGE_SIZE - 1, 16 * PAGE_SIZE, SZ_1M - 1, SZ_1M, SZ_1M + 1,
	3 * SZ_1M + 17,
};

static void size_desc(const u32 *size, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u bytes", *size);
}
KUNIT_ARRAY_PARAM(large, large_sizes, size_desc);

struct large_attack {
	struct kunit *test;
	struct bpf_arena *arena;
	void *p;
	u32 pages;
	int go, done;	/* rounds; whoever sets one releases what it did before */
	unsigned int rounds;
};

/* All that a program can try at a large object that is not its head */
static void attack_large(struct large_attack *a)
{
	struct bpf_map *map = &a->arena->map;
	void *p = READ_ONCE(a->p);
	u32 middle = a->pages / 2;

	bpf_arena_free_pages(map, p + middle * PAGE_SIZE, 1);
	bpf_arena_free_pages_non_sleepable(map, p + middle * PAGE_SIZE, a->pages - middle);
	bpf_arena_free_pages(map, p, a->pages);
	if (a->pages > 1) {
		prog_free(a->test, a->arena, p + middle * PAGE_SIZE);
		prog_free(a->test, a->arena, p + (a->pages - 1) * PAGE_SIZE);
	}
	prog_free(a->test, a->arena, p + PAGE_SIZE - 1);
}

static bool all_mapped(struct bpf_arena *arena, void *p, u32 pages)
{
	for (u32 i = 0; i < pages; i++)
		if (!vmalloc_to_page(kaddr_of(arena, p + i * PAGE_SIZE)))
			return false;
	return true;
}

/* No page of it goes before all do, whatever else is tried, and all are counted */
static void large_is_freed_as_a_whole(struct kunit *test)
{
	u32 size = *(const u32 *)test->param_value, pages = DIV_ROUND_UP(size, PAGE_SIZE);
	struct bpf_arena *arena = arena_of(test, 2048, TEST_USER_START);
	struct large_attack a = { .test = test, .arena = arena, .pages = pages };

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 16, U64_MAX), 0);
	for (int round = 0; round < 5; round++) {
		a.p = prog_alloc(test, arena, size);
		KUNIT_ASSERT_NOT_NULL(test, a.p);
		KUNIT_EXPECT_TRUE(test, is_filled(kaddr_of(arena, a.p), 0, size));
		memset(kaddr_of(arena, a.p), 0x5a, size);
		attack_large(&a);
		check_books(test, arena, 0);
		KUNIT_EXPECT_EQ(test, arena->nr_pages, pages);
		KUNIT_EXPECT_TRUE(test, all_mapped(arena, a.p, pages));
		KUNIT_EXPECT_TRUE(test, is_filled(kaddr_of(arena, a.p), 0x5a, size));
		prog_free(test, arena, a.p);
		attack_large(&a);
		expect_empty(test, arena, 0);
		KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, 2048), 0);
	}
}

static int large_thread(void *data)
{
	struct large_attack *a = data;

	for (int i = 1; i <= a->rounds; i++) {
		while (smp_load_acquire(&a->go) < i)
			cpu_relax();
		/* The head, too: of two who free it, one does */
		if (i & 1)
			prog_free(a->test, a->arena, READ_ONCE(a->p));
		attack_large(a);
		if (!(i & 1))
			prog_free(a->test, a->arena, READ_ONCE(a->p));
		smp_store_release(&a->done, i);
	}
	return 0;
}

/* Two CPUs free it and pull at its pages: it is freed once, and its pages are counted so */
static void large_race_has_one_winner(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct large_attack a = { .test = test, .arena = arena, .pages = 5, .rounds = 300 };
	unsigned int none = 0;
	struct task_struct *t;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 2 * PAGE_SIZE, 5 * PAGE_SIZE), 0);
	t = test_arena_other_cpu(test, large_thread, &a);
	for (int i = 1; i <= a.rounds; i++) {
		a.p = NULL;
		/* The worker gives back what was freed, a little later */
		for (int n = 0; n < 1000 && !a.p; n++) {
			a.p = prog_alloc(test, arena, 5 * PAGE_SIZE);
			if (!a.p)
				msleep(1);
		}
		none += !a.p;
		smp_store_release(&a.go, i);
		for (int n = 0; n < i * 7 % 512; n++)
			cpu_relax();
		prog_free(test, arena, a.p);
		attack_large(&a);
		while (smp_load_acquire(&a.done) < i)
			cpu_relax();
	}
	kthread_stop_put(t);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	KUNIT_EXPECT_EQ(test, none, 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_LARGE_FREES), a.rounds);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

/* Others free what is just being freed: inside of it, beyond its end, from before it */
static void free_while_they_go(enum arena_window window)
{
	struct kunit *test = kunit_get_current_test();
	struct bpf_map *map = &ctx_of(test)->arena[0]->map;
	void *p = (void *)TEST_USER_START + 10 * PAGE_SIZE;

	current->kunit_test = NULL;
	bpf_arena_free_pages(map, p + 2 * PAGE_SIZE, 1);
	bpf_arena_free_pages(map, p, 5);
	bpf_arena_free_pages(map, p + PAGE_SIZE, 10);
	bpf_arena_free_pages(map, p - 5 * PAGE_SIZE, 7);
	bpf_arena_free_pages(map, (void *)TEST_USER_START, TEST_PAGES);
	current->kunit_test = test;
}

static void frees_overlap(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *p = (void *)TEST_USER_START + 10 * PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	KUNIT_ASSERT_PTR_EQ(test, p, bpf_arena_alloc_pages_sleepable(&arena->map, p, 8,
								     NUMA_NO_NODE, 0));
	kunit_activate_static_stub(test, arena_window, free_while_they_go);
	bpf_arena_free_pages(&arena->map, p, 5);
	kunit_deactivate_static_stub(test, arena_window);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

/* Were it under the spinlock, there would be no page */
static void count_a_pause(enum arena_window window)
{
	struct kunit *test = kunit_get_current_test();
	struct hostile_ctx *ctx = ctx_of(test);
	struct bpf_map *map = &ctx->arena[0]->map;
	void *p;

	if (window != ARENA_WINDOW_PAUSE)
		return;
	ctx->pauses++;
	current->kunit_test = NULL;
	p = bpf_arena_alloc_pages_sleepable(map, NULL, 1, NUMA_NO_NODE, 0);
	bpf_arena_free_pages(map, p, 1);
	current->kunit_test = test;
	KUNIT_EXPECT_NOT_NULL(test, p);
}

/* However much a program frees at once, others get at the arena in between */
static void much_at_once_is_cut(struct kunit *test)
{
	const u32 large = ARENA_STRETCH_MAX + 1, pages = 2 * ARENA_STRETCH_MAX;
	struct bpf_arena *arena = arena_of(test, pages, TEST_USER_START);
	struct work_struct *work;
	void *p, *small;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	work = &arena->slabs->work;
	p = prog_alloc(test, arena, large * PAGE_SIZE);
	small = prog_alloc(test, arena, 3 * PAGE_SIZE);
	disable_work_sync(work);
	prog_free(test, arena, p);
	prog_free(test, arena, small);
	irq_work_sync(&arena->slabs->irq);

	kunit_activate_static_stub(test, arena_window, count_a_pause);
	work->func(work);
	kunit_deactivate_static_stub(test, arena_window);
	enable_work(work);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_NOT_NULL(test, small);
	/* Where the pages are unmapped, and where their places become free */
	KUNIT_EXPECT_EQ(test, ctx_of(test)->pauses, 2);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, pages), 0);
}

/* ---- the ends of an arena ---- */

#define HUGE_START	0x10000000000ull	/* low half 0 */
#define HUGE_PAGES	((u32)(SZ_4G / PAGE_SIZE))

/* Leave nothing free but the last page */
static void take_all_but_the_last(struct kunit *test, struct bpf_arena *arena, bool take)
{
	u32 first = !(u32)arena->user_vm_start, cnt = arena->map.max_entries - 1 - first;
	unsigned long flags;
	int err;

	arena_lock_sleepable(arena, &flags);
	err = take ? range_tree_clear(&arena->rt, first, cnt) :
		     range_tree_set(&arena->rt, first, cnt);
	raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
	KUNIT_ASSERT_EQ(test, err, 0);
}

static const struct { const char *what; u64 start; u32 pages; } ends[] = {
	{ "4 GiB", HUGE_START, HUGE_PAGES },
	{ "up to the 4 GiB boundary", HUGE_START + 16 * PAGE_SIZE, HUGE_PAGES - 16 },
};
KUNIT_ARRAY_PARAM_DESC(end, ends, what);

/* Objects up to the last byte below the boundary, none in the page at 0 */
static void last_page_of_4_gib(struct kunit *test)
{
	const typeof(ends[0]) *end = test->param_value;
	struct bpf_arena *arena = arena_of(test, end->pages, end->start);
	struct bpf_arena_cache *c = cache_of(test, arena, 64);
	unsigned int per_slab = PAGE_SIZE / 64;
	void *p[PAGE_SIZE / 64], *last = NULL;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 64, 64), 0);
	take_all_but_the_last(test, arena, true);
	for (int i = 0; i < per_slab; i++) {
		p[i] = prog_alloc(test, arena, 64);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		KUNIT_ASSERT_GE(test, (u32)(long)p[i], 0xffffffff - PAGE_SIZE + 1);
		KUNIT_ASSERT_EQ(test, (u64)(long)p[i] >> 32, end->start >> 32);
		memset(kaddr_of(arena, p[i]), 0x11, 64);
		last = max(last, p[i]);
	}
	KUNIT_EXPECT_EQ(test, (u64)(long)last + 64, HUGE_START + SZ_4G);
	/* There is nothing else, and not even the page at 0 */
	KUNIT_EXPECT_NULL(test, prog_alloc(test, arena, 64));
	KUNIT_EXPECT_NULL(test, prog_alloc(test, arena, 2 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr_of(arena, (void *)HUGE_START)));

	prog_free(test, arena, (void *)0xffffffff);
	prog_free(test, arena, last + 1);
	prog_free(test, arena, last + 63);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_INTERIOR), 3);
	/* Behind it is 0, which is NULL, and what comes then */
	prog_free(test, arena, last + 64);
	prog_free(test, arena, last + 65);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), 1);
	bpf_arena_cache_free(c, kaddr_of(arena, last) + 64);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), 2);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 0), per_slab);
	for (int i = 0; i < per_slab; i++) {
		KUNIT_EXPECT_TRUE(test, is_filled(kaddr_of(arena, p[i]), 0x11, 64));
		prog_free(test, arena, p[i]);
	}
	expect_empty(test, arena, 0);

	/* The kernel's own cache there, and a free by the kernel address */
	p[0] = bpf_arena_cache_alloc(c, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p[0]);
	KUNIT_EXPECT_GE(test, (unsigned long)p[0], bpf_arena_get_kern_vm_start(arena) + SZ_4G -
			PAGE_SIZE);
	bpf_arena_cache_free(c, p[0]);
	expect_empty(test, arena, 0);
	take_all_but_the_last(test, arena, false);
}

/* An arena that crosses a boundary of 4 GiB would have two pages at one kernel address */
static void no_arena_crosses_4_gib(struct kunit *test)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARENA,
		.map_flags = BPF_F_MMAPABLE,
		.max_entries = HUGE_PAGES,
		.map_extra = HUGE_START + 16 * PAGE_SIZE,
	};
	struct bpf_arena *arena = arena_of(test, HUGE_PAGES, 0);
	unsigned long addr;

	KUNIT_EXPECT_PTR_EQ(test, arena_map_ops.map_alloc(&attr), ERR_PTR(-ERANGE));
	attr.max_entries = 17;
	attr.map_extra = HUGE_START - 16 * PAGE_SIZE;
	KUNIT_EXPECT_PTR_EQ(test, arena_map_ops.map_alloc(&attr), ERR_PTR(-ERANGE));
	attr.max_entries = HUGE_PAGES + 1;
	attr.map_extra = HUGE_START;
	KUNIT_EXPECT_PTR_EQ(test, arena_map_ops.map_alloc(&attr), ERR_PTR(-E2BIG));

	/* Without map_extra it is mmap() that says where; wherever that is */
	addr = test_arena_mmap_near(test, arena, TEST_USER_START, HUGE_PAGES, 0);
	if (IS_ERR_VALUE(addr))
		kunit_skip(test, "no room for 4 GiB of user space");
	KUNIT_EXPECT_EQ(test, (u32)addr, 0);
	KUNIT_EXPECT_EQ(test, bpf_arena_get_user_vm_start(arena), addr);
	KUNIT_EXPECT_EQ(test, arena->user_vm_end - arena->user_vm_start, SZ_4G);
	KUNIT_EXPECT_EQ(test, vm_munmap(addr, SZ_4G), 0);
}

/* Of so many arenas of 4 GiB as it takes, two in a row */
static void make_neighbours(struct kunit *test, struct bpf_arena **a, struct bpf_arena **b)
{
	struct hostile_ctx *ctx = ctx_of(test);

	for (int nr = 0; nr < MAX_ARENAS; nr++) {
		*b = arena_of(test, HUGE_PAGES, HUGE_START);
		for (int i = 0; i < nr; i++) {
			*a = ctx->arena[i];
			if ((*a)->kern_vm->addr > (*b)->kern_vm->addr)
				swap(*a, *b);
			if ((*a)->kern_vm->addr + (*a)->kern_vm->size == (*b)->kern_vm->addr)
				return;
			*b = ctx->arena[nr];
		}
	}
	kunit_skip(test, "none of %d arenas are in a row", MAX_ARENAS);
}

/* With an object at the end of one and at the start of the other */
static void neighbours_do_not_meet(struct kunit *test)
{
	struct bpf_arena_cache *ca, *cb;
	struct bpf_arena *a, *b;
	void *end, *start = (void *)ULONG_MAX, *p[16];

	make_neighbours(test, &a, &b);
	ca = cache_of(test, a, PAGE_SIZE);
	cb = cache_of(test, b, PAGE_SIZE);
	take_all_but_the_last(test, a, true);
	end = bpf_arena_cache_alloc(ca, GFP_KERNEL);
	/* A sheaf is filled first, so that the first page may be handed out last */
	for (int i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = bpf_arena_cache_alloc(cb, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		start = min(start, p[i]);
	}
	for (int i = 0; i < ARRAY_SIZE(p); i++)
		if (p[i] != start)
			bpf_arena_cache_free(cb, p[i]);
	KUNIT_ASSERT_NOT_NULL(test, end);
	KUNIT_EXPECT_PTR_EQ(test, end + PAGE_SIZE,
			    (void *)bpf_arena_get_kern_vm_start(a) + SZ_4G);
	KUNIT_EXPECT_PTR_EQ(test, start, (void *)bpf_arena_get_kern_vm_start(b) + PAGE_SIZE);
	memset(end, 0x11, PAGE_SIZE);
	memset(start, 0x22, PAGE_SIZE);
	/* Nothing between them, for as far as a program's instruction can reach */
	for (long off = 0; off < GUARD_SZ; off += PAGE_SIZE) {
		KUNIT_ASSERT_NULL(test, vmalloc_to_page(end + PAGE_SIZE + off));
		bpf_arena_cache_free(ca, end + PAGE_SIZE + off);
		bpf_arena_cache_free(cb, start - 2 * PAGE_SIZE - off);
	}
	/* and neither frees the other's, nor its own by an address that is not in it */
	bpf_arena_cache_free(ca, start);
	bpf_arena_cache_free(cb, end);
	bpf_arena_cache_free(ca, end + SZ_4G);
	bpf_arena_cache_free(ca, end - SZ_4G);
	bpf_arena_cache_free(cb, start + SZ_4G);
	bpf_arena_cache_free(cb, start - SZ_4G);
	KUNIT_EXPECT_EQ(test, counter(a, ARENA_FREE_NO_OBJECT), GUARD_SZ / PAGE_SIZE + 3);
	KUNIT_EXPECT_EQ(test, counter(b, ARENA_FREE_NO_OBJECT), GUARD_SZ / PAGE_SIZE + 3);
	KUNIT_EXPECT_TRUE(test, is_filled(end, 0x11, PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, is_filled(start, 0x22, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, check_books(test, b, 0), 1);
	bpf_arena_cache_free(cb, start);
	bpf_arena_cache_free(ca, end);
	expect_empty(test, a, 0);
	expect_empty(test, b, 0);
	take_all_but_the_last(test, a, false);
}

/* Of a pointer the low half counts: one to another arena is one to the program's own */
static void other_arenas_objects_stay(struct kunit *test)
{
	struct bpf_arena *a = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena *b = arena_of(test, TEST_PAGES, TEST_USER_START + SZ_4G);
	void *pa, *pb;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(b, 64, 64), 0);
	pb = prog_alloc(test, b, 64);
	KUNIT_ASSERT_NOT_NULL(test, pb);
	memset(kaddr_of(b, pb), 0x11, 64);
	/* No class, no table: nothing to be had, and nothing to be freed */
	KUNIT_EXPECT_NULL(test, prog_alloc(test, a, 64));
	prog_free(test, a, pb);
	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(a, 64, 64), 0);
	prog_free(test, a, pb);
	KUNIT_EXPECT_EQ(test, counter(a, ARENA_FREE_NO_OBJECT), 1);
	/* One where its own object is frees that one, and never the other's */
	do {
		pa = prog_alloc(test, a, 64);
		KUNIT_ASSERT_NOT_NULL(test, pa);
	} while ((u32)(long)pa != (u32)(long)pb);
	prog_free(test, a, pb);
	prog_free(test, a, pb);
	KUNIT_EXPECT_EQ(test, counter(a, ARENA_FREE_NOT_LIVE), 1);
	KUNIT_EXPECT_EQ(test, check_books(test, b, 0), 1);
	KUNIT_EXPECT_TRUE(test, is_filled(kaddr_of(b, pb), 0x11, 64));
	prog_free(test, b, pb);
	expect_empty(test, b, 0);
}

#ifdef CONFIG_BPF_ARENA_FAULT_BY_ADDR
/* The kernel follows a program's pointer to a page that was there a moment ago */
static void freed_page_is_recovered(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *page, *kaddr;

	/* a kernel user, for which faults are recovered */
	cache_of(test, arena, 64);
	page = page_at(arena, NULL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	kaddr = kaddr_of(arena, page);
	memset(kaddr, 0x11, PAGE_SIZE);
	bpf_arena_free_pages(&arena->map, page, 1);
	KUNIT_EXPECT_EQ(test, test_arena_touch((u64)(long)kaddr, 0, 0, 0, 0), 0x5c5c);
	KUNIT_EXPECT_PTR_EQ(test, vmalloc_to_page(kaddr), arena->scratch_page);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&arena->slabs->faults.count), 1);
	expect_empty(test, arena, 0);
}
#endif

/* Frees, scribbling and partial refills on two CPUs at once */
struct churn {
	struct scene *s;
	void *slot[64];
	unsigned int frees;
};

static int churn_thread(void *data)
{
	struct churn *ch = data;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 11);
	while (!kthread_should_stop()) {
		unsigned int i = prandom_u32_state(&rnd) % ARRAY_SIZE(ch->slot);
		void *p = xchg(&ch->slot[i], NULL);

		if (p) {
			/* It is free, or somebody else's: a link to itself, or to nowhere */
			u64 link = prandom_u32_state(&rnd) & 1 ? offset_in_page(p) / 16 : ~0ull;

			give(ch->s->c, p, i);
			ch->frees++;
			copy_to_kernel_nofault(p, &link, sizeof(link));
		}
		cond_resched();
	}
	return 0;
}

static void refills_race_with_frees(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct scene *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct churn *ch = kunit_kzalloc(test, sizeof(*ch), GFP_KERNEL);
	unsigned int wrong = 0, taken = 0;
	struct task_struct *t;
	struct rnd_state rnd;
	void *p;

	KUNIT_ASSERT_TRUE(test, s && ch);
	s->arena = arena;
	s->c = cache_of(test, arena, 16);
	ch->s = s;
	t = test_arena_other_cpu(test, churn_thread, ch);
	prandom_seed_state(&rnd, 3);
	for (int i = 0; i < 40000; i++) {
		unsigned int at = prandom_u32_state(&rnd) % ARRAY_SIZE(ch->slot);

		p = take(s, i);
		if (!p)
			continue;
		taken++;
		wrong += offset_in_page(p) % 16 ||
			 !slab_at(arena, offset_of(arena, p) >> PAGE_SHIFT);
		p = xchg(&ch->slot[at], p);
		if (p)
			give(s->c, p, i);
		if (i % 1000 == 0)
			kmem_cache_shrink(s->c->s);
	}
	kthread_stop_put(t);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	/* else they did not race */
	KUNIT_EXPECT_GT(test, taken, 1000);
	KUNIT_EXPECT_GT(test, ch->frees, 0);
	for (int i = 0; i < ARRAY_SIZE(ch->slot); i++)
		if (ch->slot[i])
			bpf_arena_cache_free(s->c, ch->slot[i]);
	/* Nothing was freed twice: an object that two had would have been */
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE), 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), 0);
	expect_empty(test, arena, 0);
}

/* ---- pages that wait for the worker ---- */

static int nr_dying(struct bpf_arena *arena)
{
	struct arena_dying_range *r;
	unsigned long flags;
	int nr = 0;

	arena_lock_sleepable(arena, &flags);
	list_for_each_entry(r, &arena->dying, list)
		nr++;
	raw_res_spin_unlock_irqrestore(&arena->spinlock, flags);
	return nr;
}

static void wait_for_worker(struct bpf_arena *arena)
{
	for (int i = 0; i < 2; i++) {
		irq_work_sync(&arena->free_irq);
		flush_work(&arena->free_work);
	}
}

/* Who frees looks for each page in all ranges that are on their way out, with irqs off */
static void ranges_that_wait_are_few(struct kunit *test)
{
	const u32 nr = 4 * ARENA_LATER_MAX, pages = 3 * nr;
	struct bpf_arena *arena = arena_of(test, pages, TEST_USER_START);
	int dying;
	void *p;

	p = bpf_arena_alloc_pages_sleepable(&arena->map, NULL, pages, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_NOT_NULL(test, p);
	/* Somebody walks the mappings, which programs do not wait for, and the worker does */
	mutex_lock(&arena->zap_mutex);
	for (u32 i = 0; i < nr; i++)
		bpf_arena_free_pages(&arena->map, p + i * 3 * PAGE_SIZE, 2);
	dying = nr_dying(arena);
	mutex_unlock(&arena->zap_mutex);

	KUNIT_EXPECT_GT(test, dying, 0);
	/* The worker may have one of them in what it took as a whole */
	KUNIT_EXPECT_LE(test, dying, ARENA_LATER_MAX + 1);
	wait_for_worker(arena);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, nr);
	KUNIT_EXPECT_EQ(test, atomic_read(&arena->nr_later), 0);
	bpf_arena_free_pages(&arena->map, p, pages);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 0);
	/* Their places have come back, all of them */
	p = bpf_arena_alloc_pages_sleepable(&arena->map, NULL, pages, NUMA_NO_NODE, 0);
	KUNIT_EXPECT_NOT_NULL(test, p);
	if (p)
		bpf_arena_free_pages(&arena->map, p, pages);
}

/* A call with many ranges does not wait as many times: the rest is left to the worker */
static void who_waited_waits_no_more(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	void *p = (void *)TEST_USER_START;
	int dying;

	KUNIT_ASSERT_PTR_EQ(test, p, bpf_arena_alloc_pages_sleepable(&arena->map, p, 20,
								     NUMA_NO_NODE, 0));
	mutex_lock(&arena->zap_mutex);
	bpf_arena_free_pages(&arena->map, p + 4 * PAGE_SIZE, 2);
	/* What is on its way out already divides them: 0 to 3, and 6 to 19 */
	bpf_arena_free_pages(&arena->map, p, 20);
	dying = nr_dying(arena);
	mutex_unlock(&arena->zap_mutex);
	KUNIT_EXPECT_EQ(test, dying, 2);
	wait_for_worker(arena);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

static unsigned int nr_unmapped;

static void count_unmapped(enum arena_window window)
{
	nr_unmapped += window == ARENA_WINDOW_UNMAPPED;
}

/*
 * A program asks for the same pages again and again, faster than they can be flushed out
 * of TLBs. What it asked for is done once.
 */
static void spans_that_overlap_are_one(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, 64, TEST_USER_START);
	struct rnd_state rnd;
	void *p;

	p = bpf_arena_alloc_pages_sleepable(&arena->map, NULL, 64, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_NOT_NULL(test, p);
	/* The worker is us */
	disable_work_sync(&arena->free_work);
	prandom_seed_state(&rnd, 17);
	for (int i = 0; i < 2000; i++) {
		/* Of 0 to 29, or of 40 to 63 */
		u32 first = i & 1 ? 40 : 0, room = i & 1 ? 24 : 30;
		u32 at = prandom_u32_state(&rnd) % room;
		u32 nr = 1 + prandom_u32_state(&rnd) % (room - at);

		bpf_arena_free_pages_non_sleepable(&arena->map, p + (first + at) * PAGE_SIZE, nr);
	}
	/* One alone, and two that meet */
	bpf_arena_free_pages_non_sleepable(&arena->map, p + 31 * PAGE_SIZE, 1);
	bpf_arena_free_pages_non_sleepable(&arena->map, p + 36 * PAGE_SIZE, 2);
	bpf_arena_free_pages_non_sleepable(&arena->map, p + 34 * PAGE_SIZE, 2);
	irq_work_sync(&arena->free_irq);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 64);

	nr_unmapped = 0;
	kunit_activate_static_stub(test, arena_window, count_unmapped);
	arena->free_work.func(&arena->free_work);
	kunit_deactivate_static_stub(test, arena_window);
	enable_work(&arena->free_work);

	KUNIT_EXPECT_EQ(test, nr_unmapped, 4);
	KUNIT_EXPECT_EQ(test, arena->nr_pages, 5);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, 30), 0);
	KUNIT_EXPECT_NE(test, is_range_tree_set(&arena->rt, 30, 1), 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 31, 1), 0);
	KUNIT_EXPECT_NE(test, is_range_tree_set(&arena->rt, 32, 2), 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 34, 4), 0);
	KUNIT_EXPECT_NE(test, is_range_tree_set(&arena->rt, 38, 2), 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 40, 24), 0);
}

/* ---- */

static struct kunit_case hostile_cases[] = {
	KUNIT_CASE_PARAM(lies_in_free_objects, lie_gen_params),
	KUNIT_CASE_PARAM(lies_without_sheaves, lie_gen_params),
	KUNIT_CASE(counts_do_not_overflow),
	KUNIT_CASE(refills_race_with_frees),
	KUNIT_CASE(pages_have_nothing_of_the_kernels),
	KUNIT_CASE(no_object_is_of_kfence),
	KUNIT_CASE(scratch_is_no_object),
	KUNIT_CASE(old_pointers_are_refused),
	KUNIT_CASE_PARAM(large_is_freed_as_a_whole, large_gen_params),
	KUNIT_CASE(large_race_has_one_winner),
	KUNIT_CASE(frees_overlap),
	KUNIT_CASE(much_at_once_is_cut),
	KUNIT_CASE_PARAM(last_page_of_4_gib, end_gen_params),
	KUNIT_CASE(no_arena_crosses_4_gib),
	KUNIT_CASE(neighbours_do_not_meet),
	KUNIT_CASE(other_arenas_objects_stay),
	KUNIT_CASE(ranges_that_wait_are_few),
	KUNIT_CASE(who_waited_waits_no_more),
	KUNIT_CASE(spans_that_overlap_are_one),
#ifdef CONFIG_BPF_ARENA_FAULT_BY_ADDR
	KUNIT_CASE(freed_page_is_recovered),
#endif
	{}
};

static struct kunit_suite hostile_suite = {
	.name = "bpf_arena_hostile",
	.init = hostile_init,
	.exit = hostile_exit,
	.test_cases = hostile_cases,
};

kunit_test_suite(hostile_suite);

MODULE_DESCRIPTION("KUnit tests of hostile programs against slab caches in BPF arenas");
MODULE_LICENSE("GPL");
