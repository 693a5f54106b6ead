// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: what there was, as a table, and whether it was all that a run is made of.
 */
#include <stdio.h>
#include <string.h>
#include "torture_tool.h"

static void print_counts(const char *what, int bad)
{
	printf("  %-24s", what);
	for (int i = 0; i < NR_ARENAS; i++)
		printf(" %12llu", shared->counts[i].bad[bad]);
	putchar('\n');
}

#define ROW(what, fmt, expr)						\
	do {								\
		printf("  %-24s", what);				\
		for (int i = 0; i < NR_ARENAS; i++) {			\
			const struct torture_counts *c = &shared->counts[i];	\
			const struct kernel_counts *k = &shared->kernel[i];	\
									\
			(void)c;					\
			(void)k;					\
			printf(" %12" fmt, expr);			\
		}							\
		putchar('\n');						\
	} while (0)

static const char *const ctx_names[NR_CTX] = {
	[CTX_TASK] = "task",
	[CTX_ATOMIC] = "task, may not sleep",
	[CTX_SWITCH] = "sched_switch",
	[CTX_PAGE_ALLOC] = "mm_page_alloc",
	[CTX_CACHE_ALLOC] = "kmem_cache_alloc",
	[CTX_CACHE_FREE] = "kmem_cache_free",
	[CTX_CONTENTION] = "contention_begin",
	[CTX_MAP] = "bpf_arena_slab_map",
	[CTX_UNMAP] = "bpf_arena_slab_unmap",
	[CTX_LINK] = "slab_arena_set_link",
	[CTX_RANGE] = "range_tree_clear",
	[CTX_SLAB_FREE] = "__slab_free",
	[CTX_PARTIAL] = "slab_attach..._locked",
	[CTX_IRQ] = "hard interrupt",
	[CTX_TIMER] = "timer",
	[CTX_PROBE] = "kprobe anywhere",
};

static void print_contexts(void)
{
	printf("operations in\n");
	for (int ctx = 0; ctx < NR_CTX; ctx++) {
		if (ctx_names[ctx])
			ROW(ctx_names[ctx], "llu", c->ops[ctx]);
	}
}

void print_table(const struct leaks *leaks)
{
	printf("%-26s %12s %12s %12s\n", "arena", "kept", "scribbled", "lawless");
	print_contexts();
	printf("objects\n");
	ROW("allocated", "lld", k->allocs + k->large_allocs);
	ROW("  of several pages", "lld", k->large_allocs);
	ROW("freed", "lld", k->frees + k->large_frees);
	ROW("NULL returned", "llu", c->nulls);
	ROW("looked at", "llu", c->looks);
	ROW("ordinary pages, ranges", "llu", c->pages);
	ROW("slabs", "lld", k->slabs_mapped);
	ROW("given back", "lld", k->slabs_freed);
	printf("frees that were provoked to be refused\n");
	print_counts("inside of an object", BAD_INTERIOR);
	print_counts("behind the last object", BAD_TAIL);
	print_counts("tail of a large object", BAD_LARGE_TAIL);
	print_counts("ordinary page", BAD_PAGE);
	print_counts("no page", BAD_NO_PAGE);
	print_counts("outside of the arena", BAD_OUTSIDE);
	print_counts("foreign object", BAD_FOREIGN);
	print_counts("NULL, not refused", BAD_NULL);
	ROW("any, verdict unknown", "llu", i == ARENA_LAWLESS ? c->frees : 0);
	ROW("freed by two at once", "llu", c->races);
	ROW("held up in a free", "llu", c->holds[HOLD_FREE]);
	ROW("  and a page was freed", "llu", c->held_through[HOLD_FREE]);
	ROW("held up in a fault", "llu", c->holds[HOLD_FAULT]);
	ROW("  and mappings zapped", "llu", c->held_through[HOLD_FAULT]);
	ROW("pages held until a fault", "llu", c->holds[HOLD_WORKER]);
	ROW("  and there was one", "llu", c->held_through[HOLD_WORKER]);
	ROW("held up in a race", "llu", c->holds[HOLD_RACE]);
	ROW("held up anywhere", "llu", c->holds[HOLD_PROBE]);
	ROW("slabs without a list", "llu", c->keeps);
	printf("frees that the kernel refused\n");
	ROW("interior", "lld", k->interior);
	ROW("no object", "lld", k->no_object);
	ROW("not live", "lld", k->not_live);
	ROW("kernel owned", "lld", k->kernel_owned);
	ROW("bpf_arena_free_pages()", "llu", c->free_pages);
	printf("sched_ext: %llu schedulers, %llu cmasks, %llu frees of kernel's objects refused\n",
	       shared->sched_rounds, shared->sched_cmasks, shared->sched_frees);
	printf("processes: %llu killed, %llu arenas dropped, %llu maps, %llu forks, %llu faults\n",
	       shared->killed, shared->dropped, shared->maps, shared->forks, shared->faults);
	printf("user space: %llu writes, %llu pages searched for addresses\n", shared->writes,
	       shared->scans);
	printf("probes: %llu places; slabs of %llu rounds went at once\n", shared->probes,
	       shared->churns);
	printf("machine: %llu CPUs plugged, %llu caches shrunk, %llu times drop_caches\n",
	       shared->plugs, shared->shrinks, shared->drops);
	printf("leaks: %lld caches, %llu pages, %lld bytes charged\n", leaks->caches, leaks->pages,
	       leaks->bytes);
	puts("not exact: double frees by kind. One that comes late finds a dead object, or none,");
	puts("or another one that lives there now; in the lawless arena the sums are checked.");
}

/*
 * A run that attacks nothing finds nothing. By then each kind has had its turn, also if it
 * waits for a phase or for the one before it; on an emulated CPU, times --slow.
 */
#define LONG_RUN	120	/* seconds */

static char missing[512];

static void must_happen(enum part part, bool possible, __u64 times, const char *what)
{
	size_t len = strlen(missing);

	if (times || !possible || (part != NR_PARTS && opt.without[part]))
		return;
	if (opt.duration >= LONG_RUN * opt.slow)
		blame("there was none: %s", what);
	else
		snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "", what);
}

static enum part part_of(enum torture_ctx ctx)
{
	switch (ctx) {
	case CTX_TASK:
	case CTX_ATOMIC:
	case CTX_OTHER:
		return NR_PARTS;
	case CTX_IRQ:
	case CTX_TIMER:
		return PART_IRQ;
	default:
		return PART_TRACE;
	}
}

/* Of a field of shared->@of[], which are counts or kernel */
#define SUM(of, field)							\
({									\
	__u64 _sum = 0;							\
									\
	for (int _i = 0; _i < NR_ARENAS; _i++)				\
		_sum += (shared->of)[_i].field;				\
	_sum;								\
})

/* Blames a run in which a kind of attack is missing; a short one only says so */
void check_attacks(void)
{
	static const char *const bad[NR_BAD] = {
		[BAD_INTERIOR] = "free inside of an object",
		[BAD_TAIL] = "free behind the last object",
		[BAD_LARGE_TAIL] = "free of a large object's tail",
		[BAD_PAGE] = "free of an ordinary page",
		[BAD_NO_PAGE] = "free where there is no page",
		[BAD_OUTSIDE] = "free outside of the arena",
		[BAD_FOREIGN] = "free of a foreign object",
		[BAD_NULL] = "free of NULL",
	};
	static const char *const holds[NR_HOLDS] = {
		[HOLD_FREE] = "one held up in a free",
		[HOLD_FAULT] = "one held up in a fault",
		[HOLD_WORKER] = "page held until a fault",
	};
	bool two = nr_cpus > 1;
	char what[64];

	for (int i = 0; i < CTX_PROBE; i++) {
		snprintf(what, sizeof(what), "operation in %s", ctx_names[i] ?: "");
		must_happen(part_of(i), ctx_names[i] && !shared->impossible[i],
			    SUM(counts, ops[i]), what);
	}
	for (int i = 0; i < NR_BAD; i++)
		must_happen(NR_PARTS, bad[i], SUM(counts, bad[i]), bad[i]);
	for (int i = 0; i < NR_HOLDS; i++) {
		must_happen(PART_HOLD, two && holds[i] && !shared->impossible[ATTACK_HOLD + i],
			    SUM(counts, holds[i]), holds[i]);
	}
	/* What they are held up for is chance, on emulated CPUs */
	for (int i = 0; i < NR_HOLDS; i++) {
		if (holds[i] && SUM(counts, holds[i]) && !SUM(counts, held_through[i]))
			note("%s, and never was there what it was for", holds[i]);
	}
	/* There are few of them, and who comes by is chance */
	must_happen(PART_HOLD, !shared->impossible[CTX_PROBE], shared->probes, "kprobe");
	must_happen(PART_HOLD, true, shared->churns, "slabs that go at once");
	must_happen(NR_PARTS, two, SUM(counts, races), "object freed by two");
	must_happen(NR_PARTS, true, SUM(counts, free_pages), "bpf_arena_free_pages() of a slab");
	must_happen(NR_PARTS, true, SUM(counts, nulls), "allocation that failed");
	must_happen(NR_PARTS, true, SUM(counts, looks), "object looked at");
	must_happen(NR_PARTS, true, SUM(kernel, interior), "free refused as interior");
	must_happen(NR_PARTS, true, SUM(kernel, no_object), "free refused as no object");
	must_happen(NR_PARTS, true, SUM(kernel, not_live), "free refused as not live");
	must_happen(NR_PARTS, true, SUM(kernel, slabs_freed), "slab given back");
	must_happen(NR_PARTS, true, shared->scans, "page searched for addresses");
	must_happen(PART_SCRIBBLE, true, shared->writes, "write of user space");
	must_happen(PART_MAP, true, shared->maps, "map");
	must_happen(PART_MAP, true, shared->forks, "fork");
	must_happen(PART_MAP, true, shared->faults, "fault");
	must_happen(PART_KILL, !shared->impossible[ATTACK_KILL], shared->killed, "process killed");
	must_happen(PART_KILL, !shared->impossible[ATTACK_KILL], shared->dropped,
		    "arena dropped by who uses it");
	must_happen(PART_SCHED, !shared->impossible[ATTACK_SCHED], shared->sched_frees,
		    "free of a scheduler's cmask");
	must_happen(PART_SHRINK, true, shared->shrinks, "cache shrunk");
	must_happen(PART_HOTPLUG, !shared->impossible[ATTACK_PLUG], shared->plugs, "CPU plugged");
	if (*missing)
		printf("not in so short a time: %s\n", missing);
}
