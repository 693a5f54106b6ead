// SPDX-License-Identifier: GPL-2.0
/*
 * SLAB_BPF_ARENA: what an arena tells of itself. Why a free was refused, to the program
 * that tried, to a kernel user and to the tracepoint; and the counts in fdinfo of the map
 * and in debugfs. Nothing here is on the way of an allocation, nor of a free that is good.
 */
#include <linux/bpf_arena_slab.h>
#include <linux/debugfs.h>
#include <linux/filter.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include <trace/events/bpf_arena.h>
#include "arena.h"

static const char * const arena_counter_names[] = {
	[ARENA_SLABS_MAPPED]	= "slabs_mapped",
	[ARENA_SLABS_FREED]	= "slabs_freed",
	[ARENA_LARGE_ALLOCS]	= "large_allocs",
	[ARENA_LARGE_FREES]	= "large_frees",
	[ARENA_SCRUBS]		= "scratch_pages_cleared",
	[ARENA_DRAINS]		= "drains",
	[ARENA_FAILED_ALLOCS]	= "failed_allocs",
	[ARENA_FREE_NO_OBJECT]	= "rejected_no_object",
	[ARENA_FREE_INTERIOR]	= "rejected_interior",
	[ARENA_FREE_NOT_LIVE]	= "rejected_not_live",
	[ARENA_FREE_NOT_YOURS]	= "rejected_kernel_owned",
};
static_assert(ARRAY_SIZE(arena_counter_names) == ARENA_BAD_FREE);

#undef EM
#undef EMe
#define EM(nr, name)	[nr] = name,
#define EMe(nr, name)	[nr] = name,
static const char * const arena_bad_names[] = { ARENA_BAD_FREES };
static_assert(ARRAY_SIZE(arena_bad_names) == ARENA_NR_BAD_FREES);

/* What a program is told; one sentence for each way to get a free wrong */
static const char * const arena_bad_sentences[] = {
	[ARENA_BAD_NOTHING] =
		"there is no object of bpf_arena_alloc(): no page is there",
	[ARENA_BAD_PAGE] =
		"there is no object of bpf_arena_alloc(): an ordinary page, for bpf_arena_free_pages()",
	[ARENA_BAD_INTERIOR] =
		"it does not point to the start of an object",
	[ARENA_BAD_LARGE_INTERIOR] =
		"it does not point to the start of an object of whole pages",
	[ARENA_BAD_DOUBLE] =
		"the object is free already",
	[ARENA_BAD_NEVER] =
		"the object was never allocated",
	[ARENA_BAD_PAGE_GOING] =
		"the object is free already, as all that was in its page",
	[ARENA_BAD_KERNEL] =
		"the object belongs to the kernel",
};
/* The last kind is the kernel's own, which nobody tells */
static_assert(ARRAY_SIZE(arena_bad_sentences) == ARENA_BAD_OTHER_CACHE);

/* The four that there are totals of */
static const u8 arena_bad_totals[] = {
	[ARENA_BAD_NOTHING]		= ARENA_FREE_NO_OBJECT,
	[ARENA_BAD_PAGE]		= ARENA_FREE_NO_OBJECT,
	[ARENA_BAD_INTERIOR]		= ARENA_FREE_INTERIOR,
	[ARENA_BAD_LARGE_INTERIOR]	= ARENA_FREE_INTERIOR,
	[ARENA_BAD_DOUBLE]		= ARENA_FREE_NOT_LIVE,
	[ARENA_BAD_NEVER]		= ARENA_FREE_NOT_LIVE,
	[ARENA_BAD_PAGE_GOING]		= ARENA_FREE_NOT_LIVE,
	[ARENA_BAD_KERNEL]		= ARENA_FREE_NOT_YOURS,
	[ARENA_BAD_OTHER_CACHE]		= ARENA_FREE_NO_OBJECT,
};
static_assert(ARRAY_SIZE(arena_bad_totals) == ARENA_NR_BAD_FREES);

/* See arena_trace_begin() */
static DEFINE_PER_CPU(u8[4], arena_bad_tracing);

/* ---- frees that are refused ---- */

/**
 * struct arena_bad - a free that was refused
 * @pgoff: page of the pointer
 * @offset: in that page
 * @slot: what was found there
 * @old: state of the object, if it is one of a slab and no interior
 * @kind: what is wrong
 * @c: cache of the object
 * @object: its user address, 0 if there is none
 * @size: in bytes
 */
struct arena_bad {
	u32 pgoff;
	unsigned int offset;
	unsigned long slot;
	u16 old;
	enum arena_bad_free kind;
	struct bpf_arena_cache *c;
	u64 object;
	u64 size;
};

static u64 arena_uaddr(struct bpf_arena *arena, u32 pgoff, unsigned int offset)
{
	return clear_lo32(arena->user_vm_start) + arena_pgoff_to_uaddr32(arena, pgoff) + offset;
}

/*
 * Any context: the page tables of all its 4 GiB stay as long as the arena does, only PTEs
 * change. User space can make pages behind max_entries, too.
 */
static enum arena_bad_free arena_judge_page(struct bpf_arena *arena, u32 pgoff)
{
	unsigned long kaddr = bpf_arena_get_kern_vm_start(arena) +
			      arena_pgoff_to_uaddr32(arena, pgoff);
	struct page *page = vmalloc_to_page((void *)kaddr);

	return page && page != arena->scratch_page ? ARENA_BAD_PAGE : ARENA_BAD_NOTHING;
}

static void arena_judge_slab(struct arena_bad *b, struct arena_slab *as)
{
	unsigned int idx;

	b->c = as->cache;
	idx = b->offset / b->c->size;
	if (idx < b->c->objects) {
		b->object = arena_uaddr(b->c->arena, b->pgoff, idx * b->c->size);
		b->size = b->c->size;
	}
	if (idx >= b->c->objects || idx * b->c->size != b->offset)
		b->kind = ARENA_BAD_INTERIOR;
	else if (b->old == ARENA_OBJ_FRESH || (b->old & ARENA_OBJ_TAG) == ARENA_OBJ_FREE)
		b->kind = ARENA_BAD_NEVER;
	else
		b->kind = ARENA_BAD_DOUBLE;
}

/*
 * What is wrong with a free by what was found when it was tried, so that the verdict is
 * about that and not about what has become of it. @by: the cache that a kernel user frees
 * to, NULL for a program. Inside of RCU, any context.
 */
static void arena_judge(struct bpf_arena *arena, struct bpf_arena_cache *by, struct arena_bad *b)
{
	unsigned long kind = b->slot & ARENA_SLOT_KIND;
	u32 count = FIELD_GET(ARENA_SLOT_COUNT, b->slot), head = b->pgoff;

	b->c = NULL;
	b->object = 0;
	b->size = 0;
	switch (kind) {
	case ARENA_SLOT_SLAB:
		if (!b->slot) {
			b->kind = arena_judge_page(arena, b->pgoff);
			return;
		}
		arena_judge_slab(b, (struct arena_slab *)b->slot);
		if (!by && !b->c->of_program)
			b->kind = ARENA_BAD_KERNEL;
		else if (by && by != b->c)
			b->kind = ARENA_BAD_OTHER_CACHE;
		return;
	case ARENA_SLOT_LARGE_TAIL: {
		unsigned long *p = arena_slots_ptr(arena->slabs, head - count);

		head -= count;
		/* It may have been freed since, and then its size is not known */
		b->slot = p ? READ_ONCE(*p) : 0;
		count = (b->slot & ARENA_SLOT_KIND) == ARENA_SLOT_LARGE ?
			FIELD_GET(ARENA_SLOT_COUNT, b->slot) : 0;
		fallthrough;
	}
	case ARENA_SLOT_LARGE:
		b->object = arena_uaddr(arena, head, 0);
		b->size = (u64)count * PAGE_SIZE;
		if (by)
			b->kind = ARENA_BAD_OTHER_CACHE;
		else if (head != b->pgoff || b->offset)
			b->kind = ARENA_BAD_LARGE_INTERIOR;
		else
			b->kind = ARENA_BAD_DOUBLE;
		return;
	case ARENA_SLOT_LARGE_DEAD:
		b->object = arena_uaddr(arena, head, 0);
		b->size = (u64)count * PAGE_SIZE;
		b->kind = by ? ARENA_BAD_OTHER_CACHE : ARENA_BAD_DOUBLE;
		return;
	case ARENA_SLOT_DYING:
		b->kind = ARENA_BAD_PAGE_GOING;
		return;
	default:
		b->kind = ARENA_BAD_NOTHING;
		return;
	}
}

static const char *arena_bad_cache(const struct arena_bad *b)
{
	return b->c ? b->c->name : b->object ? "large" : "";
}

/*
 * Count a bad free, and trace it: in any context, and not if a program at the tracepoint
 * does it, so that no more than one is under way in each context of a CPU.
 */
static void arena_bad_note(struct bpf_arena *arena, const struct arena_bad *b, u64 uaddr)
{
	struct arena_slabs *sl = arena_slabs(arena);

	if (sl) {
		arena_count(sl, arena_bad_totals[b->kind]);
		arena_count(sl, ARENA_BAD_FREE + b->kind);
	}
	if (!trace_bpf_arena_bad_free_enabled() || !arena_trace_begin(arena_bad_tracing))
		return;
	trace_bpf_arena_bad_free(arena->map.id, uaddr, b->kind, b->object,
				 min(b->size, (u64)U32_MAX), arena_bad_cache(b));
	arena_trace_end(arena_bad_tracing);
}

/* What a kernel user is told */
static int arena_bad_errno(enum arena_bad_free kind)
{
	switch (kind) {
	case ARENA_BAD_INTERIOR:
		return -EINVAL;
	case ARENA_BAD_DOUBLE:
	case ARENA_BAD_NEVER:
	case ARENA_BAD_PAGE_GOING:
		return -ESTALE;
	default:
		return -ENOENT;
	}
}

/*
 * Refuse a free to @c of what lies @offset behind kbase, where @slot was found and, if it is
 * an object, the state @old. Inside of RCU, any context. Returns the error.
 */
int arena_cache_refuse(struct bpf_arena_cache *c, unsigned long offset, unsigned long slot,
		       u16 old)
{
	struct arena_bad b = {
		.pgoff = (u32)(offset - (u32)c->user_start) >> PAGE_SHIFT,
		.offset = offset_in_page(offset),
		.slot = slot,
		.old = old,
	};

	if (offset < SZ_4G)
		arena_judge(c->arena, c, &b);
	else
		b.kind = ARENA_BAD_NOTHING;
	/* Not all of @offset: it may be the distance of some other kernel address */
	arena_bad_note(c->arena, &b, clear_lo32(c->user_start) + (u32)offset);
	return arena_bad_errno(b.kind);
}

/* What the object is, behind the sentence. The state says where SLUB has it. */
static const char *arena_bad_state(const struct arena_bad *b)
{
	if (!b->c || b->kind != ARENA_BAD_DOUBLE)
		return "";
	switch (b->old & ARENA_OBJ_TAG) {
	case ARENA_OBJ_DEFERRED:
		return ", freed, and on its way back";
	case ARENA_OBJ_FREED:
		return ", freed, and on the free list of its slab";
	default:
		return ", freed, and kept for the next allocation on a CPU";
	}
}

static void arena_report(struct bpf_arena *arena, struct bpf_prog_aux *aux, void *ptr,
			 struct arena_bad *b)
{
	struct bpf_prog *prog = aux->main_prog_aux->prog;
	/* Not all of @ptr: a program may pass a kernel pointer, and not know its value */
	u64 uaddr = clear_lo32(arena->user_vm_start) + (u32)(long)ptr;
	u32 hi = (u64)(long)ptr >> 32;
	struct bpf_stream_stage ss;

	arena_bad_note(arena, b, uaddr);
	if (!arena_may_report(arena, prog))
		return;
	bpf_stream_stage(ss, prog, BPF_STDERR, ({
		bpf_stream_printk(ss, "ERROR: bpf_arena_free(0x%llx): %s\n", uaddr,
				  arena_bad_sentences[b->kind]);
		if (b->object && b->c)
			bpf_stream_printk(ss, "Object: 0x%llx, offset %llu, size %llu, cache %s%s\n",
					  b->object, uaddr - b->object, b->size, b->c->name,
					  arena_bad_state(b));
		else if (b->object && b->size)
			bpf_stream_printk(ss, "Object: 0x%llx, offset %llu, size %llu, whole pages\n",
					  b->object, uaddr - b->object, b->size);
		else if (b->c)
			bpf_stream_printk(ss, "Object: none, behind the last one of a page of cache %s\n",
					  b->c->name);
		/* A program may have only the low half of a pointer, but no other high half */
		if (hi && hi != arena->user_vm_start >> 32)
			bpf_stream_printk(ss, "Hint: bits 63 to 32 of the pointer are not of this arena\n");
		bpf_stream_dump_stack(ss);
	}));
}

/* Refuse a program's bpf_arena_free(@ptr), likewise, and tell it so */
void arena_refuse_object(struct bpf_arena *arena, struct bpf_prog_aux *aux, void *ptr,
			 unsigned long slot, u16 old)
{
	struct arena_bad b = {
		.pgoff = compute_pgoff(arena, (long)ptr),
		.offset = offset_in_page(ptr),
		.slot = slot,
		.old = old,
	};

	arena_judge(arena, NULL, &b);
	arena_report(arena, aux, ptr, &b);
}

/* ---- statistics ---- */

/* fdinfo tells of so many caches; sched_ext has one for each sub-scheduler */
#define ARENA_FDINFO_CACHES	32

static void arena_cache_sum(struct bpf_arena_cache *c, struct arena_cache_stats *sum)
{
	int cpu;

	*sum = (struct arena_cache_stats) {};
	for_each_possible_cpu(cpu) {
		struct arena_cache_stats *st = per_cpu_ptr(c->stats, cpu);

		sum->allocs += READ_ONCE(st->allocs);
		sum->frees += READ_ONCE(st->frees);
	}
}

static const char *arena_cache_owner(const struct bpf_arena_cache *c)
{
	return c->of_program ? "program" : "kernel";
}

static long arena_counter(struct arena_slabs *sl, unsigned int nr)
{
	return atomic_long_read(&sl->counters[nr]);
}

/* What is charged beside the pages, in bytes */
u64 arena_slabs_mem_usage(struct bpf_arena *arena)
{
	struct arena_slabs *sl = arena_slabs(arena);

	return sl ? atomic_long_read(&sl->meta) : 0;
}

/*
 * For whoever has a file descriptor of the map. Bounded, and no address: names, sizes
 * and counts.
 */
void arena_show_fdinfo(const struct bpf_map *map, struct seq_file *m)
{
	struct bpf_arena *arena = container_of(map, struct bpf_arena, map);
	struct arena_slabs *sl = arena_slabs(arena);
	unsigned int caches = 0;
	struct bpf_arena_cache *c;
	long bad = 0;

	seq_printf(m, "arena_pages:\t%llu\n", READ_ONCE(arena->nr_pages));
	arena_faults_show(m, sl ? &sl->faults : NULL);
	if (!sl)
		return;

	for (int i = 0; i < ARENA_NR_BAD_FREES; i++)
		bad += arena_counter(sl, ARENA_BAD_FREE + i);
	seq_printf(m, "arena_slab_id:\t%llu\n", sl->id);
	seq_printf(m, "arena_slab_pages:\t%ld\n",
		   max(arena_counter(sl, ARENA_SLABS_MAPPED) - arena_counter(sl, ARENA_SLABS_FREED),
		       0L));
	seq_printf(m, "arena_slab_meta:\t%llu\n", arena_slabs_mem_usage(arena));
	seq_printf(m, "arena_failed_allocs:\t%ld\n", arena_counter(sl, ARENA_FAILED_ALLOCS));
	seq_printf(m, "arena_bad_frees:\t%ld\n", bad);
	for (int i = 0; i < ARENA_NR_BAD_FREES; i++) {
		long nr = arena_counter(sl, ARENA_BAD_FREE + i);

		if (nr)
			seq_printf(m, "arena_bad_free:\t%s %ld\n", arena_bad_names[i], nr);
	}

	guard(mutex)(&sl->lock);
	list_for_each_entry(c, &sl->caches, list) {
		struct arena_cache_stats sum;

		if (caches++ >= ARENA_FDINFO_CACHES)
			continue;
		arena_cache_sum(c, &sum);
		seq_printf(m, "arena_cache:\t%s %u %s %llu %llu\n", c->name, c->size,
			   arena_cache_owner(c), sum.allocs, sum.frees);
	}
	if (caches > ARENA_FDINFO_CACHES)
		seq_printf(m, "arena_caches_left_out:\t%u\n", caches - ARENA_FDINFO_CACHES);
}

/* /sys/kernel/debug/bpf_arena_slab: all arenas */
static int arena_slab_show(struct seq_file *m, void *v)
{
	struct bpf_arena_cache *c;
	struct arena_slabs *sl;

	guard(mutex)(&arena_slabs_mutex);
	list_for_each_entry(sl, &arena_slabs_all, all) {
		seq_printf(m, "arena %llu map_id %u pages %llu of %lu\n", sl->id, sl->arena->map.id,
			   READ_ONCE(sl->arena->nr_pages), sl->slots->nr_pages);
		for (int i = 0; i < ARENA_BAD_FREE; i++)
			seq_printf(m, "  %s %ld\n", arena_counter_names[i], arena_counter(sl, i));
		for (int i = 0; i < ARENA_NR_BAD_FREES; i++)
			seq_printf(m, "  bad_free_%s %ld\n", arena_bad_names[i],
				   arena_counter(sl, ARENA_BAD_FREE + i));

		guard(mutex)(&sl->lock);
		list_for_each_entry(c, &sl->caches, list) {
			struct arena_cache_stats sum;

			arena_cache_sum(c, &sum);
			seq_printf(m, "  cache %s size %u owner %s allocs %llu frees %llu\n",
				   c->name, c->size, arena_cache_owner(c), sum.allocs, sum.frees);
		}
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(arena_slab);

static int __init arena_report_init(void)
{
	debugfs_create_file("bpf_arena_slab", 0400, NULL, NULL, &arena_slab_fops);
	return 0;
}
late_initcall(arena_report_init);
