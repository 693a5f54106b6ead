// SPDX-License-Identifier: GPL-2.0
/*
 * Programs in the middle of the allocator of slab caches in BPF arenas: in kprobes, hard
 * irqs and NMIs, over a task that allocates and frees.
 *
 *	kunit.filter_glob=bpf_arena_context
 *
 * Random NMIs rarely hit what is worth hitting, least of all under emulation. So most
 * of these tests stop in a function that runs under the lock in question, by a kprobe,
 * and go on from there as the program on top, and as an NMI on top of that.
 */
#include <linux/hrtimer.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <trace/events/bpf_arena.h>
#include "bpf_arena_hostile.h"

#ifdef CONFIG_KPROBES

/* An NMI at @cpu; on arm64 always at the first one */
#if defined(CONFIG_X86_64)
#include <asm/apic.h>
#include <asm/nmi.h>

static void (*nmi_fn)(void);
static atomic_t nmis;

static int nmi_handler(unsigned int cmd, struct pt_regs *regs)
{
	void (*fn)(void) = READ_ONCE(nmi_fn);

	if (!fn)
		return NMI_DONE;
	atomic_inc(&nmis);
	fn();
	return NMI_HANDLED;
}

static bool nmi_start(struct kunit *test, void (*fn)(void))
{
	atomic_set(&nmis, 0);
	WRITE_ONCE(nmi_fn, fn);
	KUNIT_ASSERT_EQ(test, 0, register_nmi_handler(NMI_LOCAL, nmi_handler, NMI_FLAG_FIRST,
						      "arena_hostile"));
	return true;
}

static void raise_nmi(int cpu)
{
	__apic_send_IPI_mask(cpumask_of(cpu), NMI_VECTOR);
}

static void do_nothing_there(void *data)
{
}

static void nmi_stop(void)
{
	/* Whoever has one pending takes it first */
	on_each_cpu(do_nothing_there, NULL, 1);
	unregister_nmi_handler(NMI_LOCAL, "arena_hostile");
	WRITE_ONCE(nmi_fn, NULL);
}
#elif defined(CONFIG_ARM64)
#include <linux/interrupt.h>
#include <linux/irqdomain.h>
#include <linux/of.h>
#include <linux/of_irq.h>

/* A line of the interrupt controller that QEMU's virt machine has no device at */
#define SPARE_SPI	201

static void (*nmi_fn)(void);
static atomic_t nmis;
static unsigned int nmi_irq;

static irqreturn_t nmi_handler(int irq, void *data)
{
	atomic_inc(&nmis);
	nmi_fn();
	return IRQ_HANDLED;
}

static bool nmi_start(struct kunit *test, void (*fn)(void))
{
	struct of_phandle_args args = {
		.np = of_find_compatible_node(NULL, NULL, "arm,gic-v3"),
		.args_count = 3,
		.args = { 0, SPARE_SPI, IRQ_TYPE_EDGE_RISING },
	};

	atomic_set(&nmis, 0);
	nmi_fn = fn;
	nmi_irq = 0;
	/* -machine gic-version=3 and irqchip.gicv3_pseudo_nmi=1 */
	if (args.np && system_uses_irq_prio_masking())
		nmi_irq = irq_create_of_mapping(&args);
	of_node_put(args.np);
	if (!nmi_irq)
		return false;
	KUNIT_ASSERT_EQ(test, request_nmi(nmi_irq, nmi_handler, IRQF_PERCPU | IRQF_NO_AUTOEN,
					  "arena_hostile", &nmis), 0);
	enable_nmi(nmi_irq);
	return true;
}

static void raise_nmi(int cpu)
{
	if (nmi_irq)
		irq_set_irqchip_state(nmi_irq, IRQCHIP_STATE_PENDING, true);
}

static void nmi_stop(void)
{
	if (!nmi_irq)
		return;
	disable_nmi_nosync(nmi_irq);
	free_nmi(nmi_irq, &nmis);
	irq_dispose_mapping(nmi_irq);
	nmi_irq = 0;
}
#else
static atomic_t nmis;

static bool nmi_start(struct kunit *test, void (*fn)(void))
{
	return false;
}

static void raise_nmi(int cpu) {}
static void nmi_stop(void) {}
#endif

/*
 * What runs on top of the allocator: a program in a kprobe, in an NMI, in a hard irq.
 * Each has a few objects of its own on each CPU, which nobody else may change.
 */
#define NR_ON_TOP	8

/* No class, and 30 of them a page: too many at once for sheaves to hold, in these arenas */
#define ODD_SIZE	(PAGE_SIZE / 30)

enum on_top_kind { IN_KPROBE, IN_NMI, IN_HARDIRQ, IN_IRQ_WORK, NR_KINDS };

/* What lockdep and KASAN look for, they see the first time */
#define OFTEN(n)	(IS_ENABLED(CONFIG_PROVE_LOCKING) ? (n) / 3 : (n))

struct on_top {
	u64 mark;
	bool running;
	unsigned int runs, got, failed, bad;
	struct {
		void *p;
		u32 size;
		bool kernels;
	} obj[NR_ON_TOP];
};

static struct {
	struct kunit *test;
	struct bpf_arena *arena;
	struct bpf_arena_cache *c;
	unsigned int limit;
} top;

static struct on_top_cpu {
	struct on_top kind[NR_KINDS];
	struct irq_work irq_work;
	struct hrtimer timer;
	unsigned int ticks;
} __percpu *on_top;

static const u32 top_sizes[] = {
	16, 60, 64, 200, 900, PAGE_SIZE, PAGE_SIZE + 904, 64, 96, 3 * PAGE_SIZE - 288, 2048
};

static u64 *words_of(struct on_top *t, int i)
{
	return t->obj[i].kernels ? t->obj[i].p : kaddr_of(top.arena, t->obj[i].p);
}

static void free_on_top(struct on_top *t, int i)
{
	u64 *w = t->obj[i].p ? words_of(t, i) : NULL;

	if (!w)
		return;
	t->bad += READ_ONCE(w[0]) != t->mark || READ_ONCE(w[1]) != i;
	if (t->obj[i].kernels && i & 1)
		bpf_arena_cache_free_rcu(top.c, t->obj[i].p);
	else if (t->obj[i].kernels)
		bpf_arena_cache_free_nolock(top.c, t->obj[i].p);
	else
		prog_free(top.test, top.arena, t->obj[i].p);
	t->obj[i].p = NULL;
}

/* Any context */
static noinline void act_on_top(enum on_top_kind kind)
{
	struct on_top *t = &raw_cpu_ptr(on_top)->kind[kind];
	unsigned int i = t->runs % NR_ON_TOP;
	void *p;
	u64 *w;

	/* as the BPF core sees to for programs */
	if (t->running)
		return;
	t->running = true;
	barrier();
	t->runs++;
	free_on_top(t, i);
	t->obj[i].kernels = t->runs % 3 == 0;
	t->obj[i].size = top_sizes[t->runs % ARRAY_SIZE(top_sizes)];
	p = t->obj[i].kernels ? bpf_arena_cache_alloc_nolock(top.c, __GFP_ZERO) :
				prog_alloc(top.test, top.arena, t->obj[i].size);
	t->obj[i].p = p;
	if (p) {
		w = words_of(t, i);
		t->got++;
		t->bad += w[0] || w[1];
		WRITE_ONCE(w[0], t->mark);
		WRITE_ONCE(w[1], i);
	} else {
		t->failed++;
	}
	p = kmalloc_nolock(t->obj[i].size % 1000 + 1, 0, NUMA_NO_NODE);
	if (p)
		kfree_nolock(p);
	barrier();
	t->running = false;
}

static void nmi_on_top(void)
{
	act_on_top(IN_NMI);
}

static void free_per_cpu(void *p)
{
	free_percpu((void __percpu *)p);
}

static struct on_top_cpu __percpu *kunit_on_top(struct kunit *test)
{
	struct on_top_cpu __percpu *p = alloc_percpu(struct on_top_cpu);

	KUNIT_ASSERT_NOT_NULL(test, (void __force *)p);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_per_cpu, (void __force *)p), 0);
	return p;
}

static void start_on_top(struct kunit *test, struct bpf_arena *arena, struct bpf_arena_cache *c)
{
	int cpu;

	top.test = test;
	top.arena = arena;
	top.c = c;
	top.limit = 0;
	on_top = kunit_on_top(test);
	for_each_possible_cpu(cpu) {
		struct on_top_cpu *o = per_cpu_ptr(on_top, cpu);

		for (int kind = 0; kind < NR_KINDS; kind++)
			o->kind[kind].mark = 0x1100000000000000 | cpu << 8 | kind;
	}
}

static unsigned int runs_of(enum on_top_kind kind)
{
	unsigned int runs = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		runs += READ_ONCE(per_cpu_ptr(on_top, cpu)->kind[kind].runs);
	return runs;
}

/* After the last of them */
static void end_on_top(struct kunit *test)
{
	static const char * const names[] = { "kprobe", "NMI", "hard irq", "irq_work" };
	int cpu;

	for (int kind = 0; kind < NR_KINDS; kind++) {
		unsigned int got = 0, failed = 0, bad = 0;

		for_each_possible_cpu(cpu) {
			struct on_top *t = &per_cpu_ptr(on_top, cpu)->kind[kind];

			for (int i = 0; i < NR_ON_TOP; i++)
				free_on_top(t, i);
			got += t->got;
			failed += t->failed;
			bad += t->bad;
		}
		if (got + failed)
			kunit_info(test, "in %s: %u objects, %u times none\n", names[kind], got,
				   failed);
		KUNIT_EXPECT_EQ(test, bad, 0);
	}
}

/* What the task underneath does: all that takes locks */
static unsigned int work_below(struct kunit *test, struct bpf_arena *arena,
			       struct bpf_arena_cache *c, unsigned int round)
{
	void *p[40], *q[8], *ordinary, *k;
	unsigned int bad = 0, i;

	for (i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = i & 1 ? bpf_arena_cache_alloc(c, GFP_NOWAIT) :
			       bpf_arena_cache_alloc_nolock(c, 0);
		if (p[i])
			memset(p[i], 0x40 + i, c->size);
	}
	ordinary = page_at(arena, NULL);
	for (i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = prog_alloc(test, arena, top_sizes[(round + i) % ARRAY_SIZE(top_sizes)]);
	k = kmalloc(64 + round % 1000, GFP_KERNEL);
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		if (!p[i])
			continue;
		bad += !is_filled(p[i], 0x40 + i, c->size);
		give(c, p[i], i >> 1);
	}
	kfree(k);
	for (i = 0; i < ARRAY_SIZE(q); i++)
		if (q[i])
			prog_free(test, arena, q[i]);
	if (ordinary)
		bpf_arena_free_pages(&arena->map, ordinary, 1);
	if (round % 16 == 0)
		kmem_cache_shrink(c->s);
	return bad;
}

/* A function that runs under a lock that the allocator needs, and the way to get there */
static const struct locked_fn {
	const char *symbol;
	bool optional;
} locked_fns[] = {
	{ "slab_attach_kprobe_locked", true },	/* list_lock, sheaf lock; with DEBUG_VM */
	{ "slab_arena_get_link" },		/* list_lock, or a list that was detached */
	{ "slab_arena_set_link" },		/* in the middle of __slab_free() */
	{ "arena_place_slab" },			/* the arena's spinlock; this and the next */
	{ "range_tree_find" },
	{ "range_tree_clear" },
	{ "range_tree_set" },
	{ "arena_clear_range" },
	{ "arena_slots_set_large" },
	{ "slab_arena_attach" },		/* a page that is in nobody's books */
	{ "slab_arena_release" },
	{ "slab_arena_free_nolock" },		/* an object that is neither live nor free */
};

static void locked_fn_desc(const struct locked_fn *fn, char *desc)
{
	strscpy(desc, fn->symbol, KUNIT_PARAM_DESC_SIZE);
}
KUNIT_ARRAY_PARAM(locked_fn, locked_fns, locked_fn_desc);

static int locked_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	if (READ_ONCE(top.limit) && runs_of(IN_KPROBE) < top.limit) {
		act_on_top(IN_KPROBE);
		raise_nmi(raw_smp_processor_id());
	}
	return 0;
}

/* A program, and an NMI on top of it, in the middle of what they call */
static void on_top_of_locked_code(struct kunit *test)
{
	const struct locked_fn *fn = test->param_value;
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, ODD_SIZE);
	struct kprobe probe = { .symbol_name = fn->symbol, .pre_handler = locked_pre_handler };
	unsigned int bad = 0;
	bool has_nmi;
	int err;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, U64_MAX), 0);
	/* On arm64 NMIs go to the first CPU */
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	start_on_top(test, arena, c);
	err = register_kprobe(&probe);
	if (err && fn->optional)
		kunit_skip(test, "there is no such function without DEBUG_VM: %d", err);
	KUNIT_ASSERT_EQ(test, err, 0);
	has_nmi = nmi_start(test, nmi_on_top);
	WRITE_ONCE(top.limit, OFTEN(400));
	for (unsigned int round = 0; round < OFTEN(150); round++) {
		bad += work_below(test, arena, c, round);
		if (round % 10 == 0)
			flush_all(arena);
	}
	WRITE_ONCE(top.limit, 0);
	unregister_kprobe(&probe);
	if (has_nmi)
		nmi_stop();
	set_cpus_allowed_ptr(current, cpu_possible_mask);

	KUNIT_EXPECT_GT(test, runs_of(IN_KPROBE), 0);
	if (has_nmi)
		KUNIT_EXPECT_GT(test, runs_of(IN_NMI), 0);
	end_on_top(test);
	KUNIT_EXPECT_EQ(test, bad, 0);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE), 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

/* ---- between any two instructions ---- */

#ifdef CONFIG_X86_64
#include <asm/insn.h>

static unsigned int insn_length(unsigned long addr)
{
	struct insn insn;

	return insn_decode_kernel(&insn, (void *)addr) ? 0 : insn.length;
}
#else
static unsigned int insn_length(unsigned long addr)
{
	return 4;
}
#endif

/* Enough to be everywhere, few enough to be quick: each is a change of the kernel's text */
#define SWEEP_MAX	OFTEN(60)

struct sweep {
	struct kprobe probe;
	unsigned int hits;
};

/* A probe at each instruction of a function, but not more than @max; how many they are */
static unsigned int sweep_start(struct kunit *test, const char *symbol, unsigned int max,
				kprobe_pre_handler_t fn, struct sweep **sweeps,
				struct kprobe ***probes)
{
	unsigned long addr = kallsyms_lookup_name(symbol), size, offset;
	unsigned int nr = 0, insns = 0, i = 0, len;

	if (!addr || !kallsyms_lookup_size_offset(addr, &size, &offset) || offset)
		kunit_skip(test, "%s is not a function of its own here", symbol);
	for (offset = 0; offset < size && (len = insn_length(addr + offset)); offset += len)
		insns++;
	max = min(max, insns);
	*sweeps = kunit_kcalloc(test, max, sizeof(**sweeps), GFP_KERNEL);
	*probes = kunit_kcalloc(test, max, sizeof(**probes), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, *sweeps && *probes);
	for (offset = 0; offset < size && (len = insn_length(addr + offset)); offset += len) {
		struct kprobe *p = &(*sweeps)[nr].probe;

		/* Evenly spread; some instructions cannot have one */
		if (i++ * max / insns < nr)
			continue;
		p->addr = (void *)(addr + offset);
		p->pre_handler = fn;
		if (register_kprobe(p))
			memset(p, 0, sizeof(*p));
		else
			(*probes)[nr++] = p;
		if (nr == max)
			break;
	}
	KUNIT_EXPECT_GT(test, nr, max / 2);
	return nr;
}

/*
 * Between trace_hardirqs_on() and the instruction that switches irqs on lockdep takes them
 * for on, as it does for a moment after they went off. An exception tells it better; a probe
 * that became a jump is none, and whoever takes a lock there warns. So tell it, as
 * irqentry_nmi_enter() does. Returns true if trace_hardirqs_on() has to take that back.
 */
static bool tell_lockdep_of_irqs(void)
{
	bool misled = irqs_disabled() && lockdep_hardirqs_enabled();

	if (misled)
		trace_hardirqs_off();
	return misled;
}

static int sweep_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	struct sweep *s = container_of(p, struct sweep, probe);

	/* Twice: as it is, and with what the first time has left behind */
	if (READ_ONCE(top.limit) && s->hits < 2) {
		bool misled = tell_lockdep_of_irqs();

		s->hits++;
		act_on_top(IN_KPROBE);
		if (misled)
			trace_hardirqs_on();
	}
	return 0;
}

static const struct locked_fn swept_fns[] = {
	{ "___slab_alloc" },
	{ "__refill_objects_node" },
	{ "get_from_partial_node" },
	{ "alloc_from_new_slab" },
	{ "__slab_free" },
	{ "__pcs_replace_full_main" },
	{ "alloc_live_slow" },
	{ "free_arena_slow" },
	{ "free_arena_slow_nolock" },
	{ "bpf_arena_cache_alloc" },
	{ "bpf_arena_cache_alloc_nolock" },
	{ "slab_arena_alloc_uaddr_nolock" },
	{ "slab_arena_free" },
	{ "slab_arena_free_nolock" },
	{ "slab_arena_defer" },
	{ "slab_arena_return_deferred" },
	{ "slab_arena_attach" },
	{ "bpf_arena_slab_map" },
	{ "arena_place_slab" },
	{ "bpf_arena_alloc_non_sleepable" },
	{ "bpf_arena_free_non_sleepable" },
	{ "arena_free_other" },
	{ "bpf_arena_cache_free" },
	{ "bpf_arena_cache_free_nolock" },
	{ "slab_arena_free_rcu" },
	{ "slab_arena_rcu_work" },
	{ "slab_arena_rcu_done" },
	{ "arena_alloc_pages" },
	{ "arena_push_slot" },
	{ "arena_slab_worker" },
};
KUNIT_ARRAY_PARAM(swept_fn, swept_fns, locked_fn_desc);

/*
 * An interrupt can come before any instruction. Here a program does, at places all over
 * a function: more than NMIs at any rate would hit in a day.
 */
static void on_top_of_instructions(struct kunit *test)
{
	const struct locked_fn *fn = test->param_value;
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, ODD_SIZE);
	unsigned int bad = 0, hit = 0, nr;
	struct kprobe **probes;
	struct sweep *sweeps;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, U64_MAX), 0);
	start_on_top(test, arena, c);
	nr = sweep_start(test, fn->symbol, SWEEP_MAX, sweep_pre_handler, &sweeps, &probes);
	WRITE_ONCE(top.limit, 1);
	for (unsigned int round = 0; round < OFTEN(48); round++) {
		bad += work_below(test, arena, c, round);
		if (round % 10 == 0)
			flush_all(arena);
	}
	WRITE_ONCE(top.limit, 0);
	unregister_kprobes(probes, nr);
	for (unsigned int i = 0; i < nr; i++)
		hit += !!sweeps[i].hits;
	kunit_info(test, "%u of %u instructions were passed\n", hit, nr);
	KUNIT_EXPECT_GT(test, hit, 0);
	end_on_top(test);
	KUNIT_EXPECT_EQ(test, bad, 0);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE), 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

/* ---- a double free by a task and by what interrupts it ---- */

static struct {
	struct kunit *test;
	struct bpf_arena *arena;
	struct task_struct *task;
	void *p;
	struct kprobe *probe;
	unsigned int by_nmi, hits, traced, traced_in_nmi;
	bool armed;
} twice;

static void free_in_nmi(void)
{
	long frees = counter(twice.arena, ARENA_FREE_NOT_LIVE) +
		     counter(twice.arena, ARENA_FREE_NO_OBJECT);

	if (!twice.p)
		return;
	prog_free(twice.test, twice.arena, twice.p);
	twice.by_nmi += counter(twice.arena, ARENA_FREE_NOT_LIVE) +
			counter(twice.arena, ARENA_FREE_NO_OBJECT) == frees;
	twice.p = NULL;
}

static void twice_probe(void *data, u32 map_id, u64 uaddr, u32 kind, u64 object, u32 size,
			const char *cache)
{
	if (in_nmi())
		twice.traced_in_nmi++;
	else
		twice.traced++;
}

static int twice_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	if (current == twice.task && READ_ONCE(twice.armed)) {
		WRITE_ONCE(twice.armed, false);
		raise_nmi(raw_smp_processor_id());
	}
	return 0;
}

static const struct locked_fn free_fns[] = {
	{ "bpf_arena_free_non_sleepable" },	/* before the task has looked */
	{ "slab_arena_free_nolock" },		/* after it has won */
};
KUNIT_ARRAY_PARAM(free_fn, free_fns, locked_fn_desc);

/* One of them does, whoever it is; the slab may go with it while the other looks */
static void nmi_frees_what_a_task_frees(struct kunit *test)
{
	const struct locked_fn *fn = test->param_value;
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct kprobe probe = { .symbol_name = fn->symbol, .pre_handler = twice_pre_handler };
	struct bpf_arena_cache *c;
	long rounds = 200;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, PAGE_SIZE, PAGE_SIZE), 0);
	c = list_first_entry(&arena->slabs->caches, struct bpf_arena_cache, list);
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	memset(&twice, 0, sizeof(twice));
	twice.test = test;
	twice.arena = arena;
	twice.task = current;
	if (!nmi_start(test, free_in_nmi))
		kunit_skip(test, "no way to raise an NMI here");
	KUNIT_ASSERT_EQ(test, register_kprobe(&probe), 0);
	KUNIT_ASSERT_EQ(test, register_trace_bpf_arena_bad_free(twice_probe, NULL), 0);
	for (int i = 0; i < rounds; i++) {
		void *p = prog_alloc(test, arena, PAGE_SIZE);

		KUNIT_EXPECT_NOT_NULL(test, p);
		twice.p = p;
		WRITE_ONCE(twice.armed, true);
		prog_free(test, arena, p);
		/* On arm64 it may come a few instructions later */
		for (int n = 0; n < 1000000 && READ_ONCE(twice.p); n++)
			cpu_relax();
		if (i % 20 == 0)
			flush_all(arena);
	}
	unregister_trace_bpf_arena_bad_free(twice_probe, NULL);
	tracepoint_synchronize_unregister();
	unregister_kprobe(&probe);
	nmi_stop();
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	kunit_info(test, "%u of %ld freed in NMI\n", twice.by_nmi, rounds);
	KUNIT_EXPECT_EQ(test, atomic_read(&nmis), rounds);
	/* The loser was traced where it was */
	KUNIT_EXPECT_EQ(test, twice.traced, twice.by_nmi);
	KUNIT_EXPECT_EQ(test, twice.traced_in_nmi, rounds - twice.by_nmi);
	KUNIT_EXPECT_EQ(test, frees_of(c), rounds);
	/* Once the slab is gone, nothing tells that there was an object */
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE) +
			      counter(arena, ARENA_FREE_NO_OBJECT), rounds);
	expect_empty(test, arena, 0);
}

static int twice_each_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	void *object = twice.p;

	if (current == twice.task && READ_ONCE(twice.probe) == p) {
		bool misled = tell_lockdep_of_irqs();

		twice.probe = NULL;
		twice.hits++;
		prog_free(twice.test, twice.arena, object);
		if (misled)
			trace_hardirqs_on();
	}
	return 0;
}

/* All that a free runs through while it is not decided who it is, and just after */
static const struct locked_fn second_free_fns[] = {
	{ "bpf_arena_free_non_sleepable" },
	{ "arena_free_other" },
	{ "slab_arena_free_nolock" },
};
KUNIT_ARRAY_PARAM(second_free_fn, second_free_fns, locked_fn_desc);

/* The second free comes before each instruction of the first one, small object and large */
static void second_free_at_each_instruction(struct kunit *test)
{
	const struct locked_fn *fn = test->param_value;
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c;
	struct kprobe **probes;
	struct sweep *sweeps;
	unsigned int nr;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, PAGE_SIZE, PAGE_SIZE), 0);
	c = list_first_entry(&arena->slabs->caches, struct bpf_arena_cache, list);
	memset(&twice, 0, sizeof(twice));
	twice.test = test;
	twice.arena = arena;
	twice.task = current;
	nr = sweep_start(test, fn->symbol, UINT_MAX, twice_each_pre_handler, &sweeps,
			 &probes);
	for (unsigned int i = 0; i < 2 * nr; i++) {
		void *p = prog_alloc(test, arena, i & 1 ? PAGE_SIZE : 2 * PAGE_SIZE);

		KUNIT_EXPECT_NOT_NULL(test, p);
		twice.p = p;
		WRITE_ONCE(twice.probe, probes[i / 2]);
		prog_free(test, arena, p);
		WRITE_ONCE(twice.probe, NULL);
		if (i % 16 == 0)
			settle(arena);
	}
	unregister_kprobes(probes, nr);
	kunit_info(test, "%u times at one of %u instructions\n", twice.hits, nr);
	KUNIT_EXPECT_GT(test, twice.hits, nr / 8);
	KUNIT_EXPECT_EQ(test, frees_of(c), nr);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_LARGE_FREES), nr);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE) +
			      counter(arena, ARENA_FREE_NO_OBJECT), twice.hits);
	expect_empty(test, arena, 0);
}

/* ---- hard irqs and NMIs at a high rate, over two CPUs that allocate ---- */

#define TICK_NS		(300 * NSEC_PER_USEC)
#define MIN_ROUNDS	300
#define MAX_ROUNDS	6000
#define ENOUGH		300

static void irq_work_on_top(struct irq_work *work)
{
	act_on_top(IN_IRQ_WORK);
}

static enum hrtimer_restart tick_on_top(struct hrtimer *timer)
{
	struct on_top_cpu *o = container_of(timer, struct on_top_cpu, timer);
	int cpu = raw_smp_processor_id();

	if (!READ_ONCE(top.limit))
		return HRTIMER_NORESTART;
	act_on_top(IN_HARDIRQ);
	irq_work_queue(&o->irq_work);
	/* This CPU, on top of the irq; or another one, wherever that is */
	raise_nmi(o->ticks++ & 1 ? cpu : cpumask_next_wrap(cpu, cpu_online_mask));
	hrtimer_forward_now(timer, ns_to_ktime(TICK_NS));
	return HRTIMER_RESTART;
}

static void start_ticker(void *data)
{
	struct on_top_cpu *o = this_cpu_ptr(on_top);

	o->irq_work = IRQ_WORK_INIT_HARD(irq_work_on_top);
	hrtimer_setup(&o->timer, tick_on_top, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_start(&o->timer, ns_to_ktime(TICK_NS), HRTIMER_MODE_REL_PINNED_HARD);
}

struct below {
	struct kunit *test;
	unsigned int bad, rounds;
};

static int below_thread(void *data)
{
	struct below *b = data;

	while (!kthread_should_stop()) {
		b->bad += work_below(b->test, top.arena, top.c, b->rounds++);
		cond_resched();
	}
	return 0;
}

static void nmis_and_irqs_at_a_high_rate(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, ODD_SIZE);
	struct below there = { .test = test };
	unsigned int bad = 0, rounds = 0;
	struct task_struct *t;
	bool has_nmi;
	int cpu;

	KUNIT_ASSERT_EQ(test, bpf_arena_prepare_alloc(arena, 1, U64_MAX), 0);
	start_on_top(test, arena, c);
	t = test_arena_other_cpu(test, below_thread, &there);
	has_nmi = nmi_start(test, nmi_on_top);
	WRITE_ONCE(top.limit, 1);
	on_each_cpu(start_ticker, NULL, 1);

	do {
		bad += work_below(test, arena, c, rounds++);
		cond_resched();
	} while (rounds < MIN_ROUNDS ||
		 (rounds < MAX_ROUNDS && (runs_of(IN_HARDIRQ) < ENOUGH ||
					  (has_nmi && runs_of(IN_NMI) < ENOUGH))));

	WRITE_ONCE(top.limit, 0);
	kthread_stop_put(t);
	for_each_online_cpu(cpu) {
		hrtimer_cancel(&per_cpu_ptr(on_top, cpu)->timer);
		irq_work_sync(&per_cpu_ptr(on_top, cpu)->irq_work);
	}
	if (has_nmi)
		nmi_stop();
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	kunit_info(test, "%u and %u rounds below\n", rounds, there.rounds);
	KUNIT_EXPECT_GE(test, runs_of(IN_HARDIRQ), ENOUGH);
	KUNIT_EXPECT_GE(test, runs_of(IN_IRQ_WORK), ENOUGH / 4);
	if (has_nmi)
		KUNIT_EXPECT_GE(test, runs_of(IN_NMI), ENOUGH);
	end_on_top(test);
	KUNIT_EXPECT_EQ(test, bad + there.bad, 0);
	expect_empty(test, arena, 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NOT_LIVE), 0);
	KUNIT_EXPECT_EQ(test, counter(arena, ARENA_FREE_NO_OBJECT), 0);
	KUNIT_EXPECT_EQ(test, is_range_tree_set(&arena->rt, 0, TEST_PAGES), 0);
}

/* ---- the search for a tail ---- */

static struct {
	struct task_struct *task;
	struct bpf_arena_cache *c;
	struct arena_slab *as;
	spinlock_t *list_lock;
	unsigned int freed, after;
	int victim;
} tail;

/*
 * SLUB has taken the free list of a slab for a sheaf that does not hold all of it. An
 * object of that slab comes back before the rest does: as by the irq_work for deferred
 * frees of another CPU.
 */
static int tail_pre_handler(struct kprobe *p, struct pt_regs *regs)
{
	void *object = (void *)regs_get_kernel_argument(regs, 1);

	if (current != tail.task || virt_to_slab(object) != tail.as->slab ||
	    spin_is_locked(tail.list_lock))
		return 0;
	if (tail.victim >= 0) {
		int idx = tail.victim;

		tail.victim = -1;
		if (cmpxchg(&tail.as->state[idx], ARENA_OBJ_LIVE, ARENA_OBJ_CACHED) !=
		    ARENA_OBJ_LIVE)
			return 0;
		___cache_free(tail.c->s, arena_slab_base(tail.as) + idx * tail.c->size, _THIS_IP_);
		tail.freed++;
	} else {
		tail.after++;
	}
	return 0;
}

/* What is too much for a sheaf goes back, also if the slab has changed meanwhile */
static void tail_search_ends(struct kunit *test)
{
	struct bpf_arena *arena = arena_of(test, TEST_PAGES, TEST_USER_START);
	struct bpf_arena_cache *c = cache_of(test, arena, 16);
	unsigned int per_slab = PAGE_SIZE / 16, nr_live = 0, wrong = 0;
	struct kprobe probe = { .symbol_name = "slab_arena_get_link",
				.pre_handler = tail_pre_handler };
	struct list_lock_holder {
		spinlock_t list_lock;	/* first in struct kmem_cache_node */
	} *n = NULL;
	void **p = kunit_kcalloc(test, per_slab, sizeof(*p), GFP_KERNEL), *q[40];

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "a free in a kprobe takes a lock that sleeps on PREEMPT_RT");
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_GT(test, c->s->sheaf_capacity, 0);
	KUNIT_ASSERT_LT(test, c->s->sheaf_capacity, per_slab / 2);
	for (int node = 0; node < nr_node_ids && !n; node++)
		n = (void *)c->s->per_node[node].node;
	KUNIT_ASSERT_NOT_NULL(test, n);

	memset(&tail, 0, sizeof(tail));
	tail.task = current;
	tail.c = c;
	tail.list_lock = &n->list_lock;
	for (int i = 0; i < per_slab; i++) {
		p[i] = bpf_arena_cache_alloc(c, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	tail.as = slab_at(arena, offset_of(arena, p[0]) >> PAGE_SHIFT);
	KUNIT_ASSERT_NOT_NULL(test, tail.as);
	tail.victim = -1;
	/* Every 20th stays, of this slab only; one of them is the victim of each round */
	for (int i = 0; i < per_slab; i++) {
		if (i % 20 && slab_at(arena, offset_of(arena, p[i]) >> PAGE_SHIFT) == tail.as) {
			bpf_arena_cache_free(c, p[i]);
		} else if (slab_at(arena, offset_of(arena, p[i]) >> PAGE_SHIFT) != tail.as) {
			bpf_arena_cache_free(c, p[i]);
			p[i] = NULL;
		}
	}
	KUNIT_ASSERT_EQ(test, register_kprobe(&probe), 0);
	for (int i = 0; i < per_slab; i += 20) {
		if (!p[i])
			continue;
		flush_all(arena);
		/* The free ones: linked to themselves */
		for (int j = 0; j < per_slab; j++)
			if (j % 20 && p[j])
				memset64(p[j], offset_in_page(p[j]) / 16, 2);
		tail.after = 0;
		tail.victim = offset_in_page(p[i]) / 16;
		for (int j = 0; j < ARRAY_SIZE(q); j++) {
			q[j] = bpf_arena_cache_alloc(c, GFP_NOWAIT);
			wrong += !q[j] || offset_in_page(q[j]) % 16;
		}
		/* the sheaf's, and then the search along the rest, which is more */
		wrong += tail.after < per_slab / 2;
		for (int j = 0; j < ARRAY_SIZE(q); j++)
			for (int k = j + 1; k < ARRAY_SIZE(q); k++)
				wrong += q[j] == q[k];
		for (int j = 0; j < ARRAY_SIZE(q); j++)
			bpf_arena_cache_free(c, q[j]);
		p[i] = NULL;
		if (tail.freed == 5)
			break;
	}
	unregister_kprobe(&probe);
	for (int i = 0; i < per_slab; i += 20)
		nr_live += !!p[i];
	KUNIT_EXPECT_EQ(test, tail.freed, 5);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, check_books(test, arena, 0), nr_live);
	for (int i = 0; i < per_slab; i += 20)
		if (p[i])
			bpf_arena_cache_free(c, p[i]);
	expect_empty(test, arena, 0);
}

/* ---- */

static struct kunit_case context_cases[] = {
	KUNIT_CASE(tail_search_ends),
	KUNIT_CASE_PARAM(on_top_of_locked_code, locked_fn_gen_params),
	KUNIT_CASE_PARAM(on_top_of_instructions, swept_fn_gen_params),
	KUNIT_CASE_PARAM(nmi_frees_what_a_task_frees, free_fn_gen_params),
	KUNIT_CASE_PARAM(second_free_at_each_instruction, second_free_fn_gen_params),
	KUNIT_CASE(nmis_and_irqs_at_a_high_rate),
	{}
};

static struct kunit_suite context_suite = {
	.name = "bpf_arena_context",
	.init = hostile_init,
	.exit = hostile_exit,
	.test_cases = context_cases,
};

kunit_test_suite(context_suite);
#endif /* CONFIG_KPROBES */

MODULE_DESCRIPTION("KUnit tests of programs in the middle of the arena slab allocator");
MODULE_LICENSE("GPL");
