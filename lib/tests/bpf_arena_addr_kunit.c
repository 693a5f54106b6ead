// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel faults in BPF arenas, recovered by address: without a program on the stack,
 * in every context, for arenas with a kernel user only.
 *
 *	kunit.filter_glob=bpf_arena_addr
 *
 * An access that is not recovered is an oops, the end of the machine and not of the
 * test. What must not be recovered is therefore asked of the handler.
 */
#include <linux/bpf_arena_slab.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/nmi.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <trace/events/bpf_arena.h>
#include <trace/events/printk.h>
#include "../../kernel/bpf/arena.h"
#include "bpf_arena_kunit.h"

#define TEST_PAGES	64
#define TOUCHED		0x5c5c
#define RACE_ROUNDS	500
#define CHURN_ROUNDS	10
#define STORM		1000
#define HOLD_NS		(500 * NSEC_PER_MSEC)

struct addr_ctx {
	struct bpf_arena *arena;
	struct bpf_arena_cache *user;
	struct bpf_prog *prog;
	cpumask_var_t cpus;
};

static void *page_of(struct addr_ctx *ctx, unsigned int nr)
{
	return test_arena_kaddr(ctx->arena, TEST_USER_START + nr * PAGE_SIZE);
}

static u64 touch(void *kaddr)
{
	return test_arena_touch((u64)(long)kaddr, 0, 0, 0, 0);
}

static long faults(struct bpf_arena *arena)
{
	return atomic_long_read(&arena->slabs->faults.count);
}

static bool handled(void *kaddr)
{
	return bpf_arena_handle_page_fault((unsigned long)kaddr, true, _THIS_IP_);
}

static struct bpf_arena_cache *kernel_user(struct kunit *test, struct bpf_arena *arena)
{
	struct bpf_arena_cache *c = bpf_arena_cache_create(&arena->map, "kunit", 64, 0, 0);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c);
	return c;
}

/* ---- what goes to the log ---- */

static struct {
	unsigned int lines;
	unsigned int warnings;
} console;

static void console_probe(void *data, const char *text, size_t len)
{
	if (strnstr(text, "bpf_arena: kernel ", len))
		console.lines++;
	if (strnstr(text, "spurious", len) || strnstr(text, "WARNING", len))
		console.warnings++;
}

static void console_watch(struct kunit *test)
{
	memset(&console, 0, sizeof(console));
	KUNIT_ASSERT_EQ(test, register_trace_console(console_probe, NULL), 0);
}

static void console_unwatch(struct addr_ctx *ctx)
{
	irq_work_sync(&ctx->arena->slabs->faults.irq);
	unregister_trace_console(console_probe, NULL);
	tracepoint_synchronize_unregister();
}

/* ---- contexts ---- */

static void expect_recovered(struct kunit *test, void *kaddr, u64 ret)
{
	struct addr_ctx *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, ret, TOUCHED);
	KUNIT_EXPECT_PTR_EQ(test, vmalloc_to_page(kaddr), ctx->arena->scratch_page);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 1);
	KUNIT_EXPECT_EQ(test, READ_ONCE(ctx->arena->nr_pages), 0);
}

static void in_a_task(struct kunit *test)
{
	void *kaddr = page_of(test->priv, 1);

	expect_recovered(test, kaddr, touch(kaddr));
}

static void in_the_guard_behind_it(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	void *kaddr = (void *)bpf_arena_get_kern_vm_start(ctx->arena) + SZ_4G + 8;

	expect_recovered(test, kaddr, touch(kaddr));
}

static void under_a_raw_spinlock(struct kunit *test)
{
	static DEFINE_RAW_SPINLOCK(lock);
	void *kaddr = page_of(test->priv, 1);
	unsigned long flags;
	u64 ret;

	raw_spin_lock_irqsave(&lock, flags);
	ret = touch(kaddr);
	raw_spin_unlock_irqrestore(&lock, flags);
	expect_recovered(test, kaddr, ret);
}

/* In a context that cannot say what it found */
static struct there {
	void *kaddr;
	u64 ret;
	int done;
	bool context;
} there;

static void touch_there(bool context)
{
	there.context = context;
	there.ret = touch(there.kaddr);
	smp_store_release(&there.done, 1);
}

static bool wait_there(void)
{
	for (int i = 0; i < 200 && !smp_load_acquire(&there.done); i++)
		msleep(10);
	return there.done;
}

static void hard_irq_work(struct irq_work *work)
{
	touch_there(in_hardirq());
}

static void in_a_hard_irq(struct kunit *test)
{
	struct irq_work work = IRQ_WORK_INIT_HARD(hard_irq_work);

	there = (struct there){ .kaddr = page_of(test->priv, 1) };
	irq_work_queue(&work);
	irq_work_sync(&work);
	KUNIT_ASSERT_TRUE(test, wait_there());
	KUNIT_EXPECT_TRUE(test, there.context);
	expect_recovered(test, there.kaddr, there.ret);
}

#if defined(CONFIG_X86_64)
#include <asm/apic.h>
#include <asm/nmi.h>

static int nmi_handler(unsigned int cmd, struct pt_regs *regs)
{
	if (!there.kaddr || there.done)
		return NMI_DONE;
	touch_there(in_nmi());
	return NMI_HANDLED;
}

static void raise_nmi(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, register_nmi_handler(NMI_LOCAL, nmi_handler, NMI_FLAG_FIRST,
						      "arena_kunit"));
	__apic_send_IPI_mask(cpumask_of(raw_smp_processor_id()), NMI_VECTOR);
	wait_there();
	unregister_nmi_handler(NMI_LOCAL, "arena_kunit");
}
#elif defined(CONFIG_ARM64)
#include <linux/interrupt.h>
#include <linux/irqdomain.h>
#include <linux/of.h>
#include <linux/of_irq.h>

/* A line of the interrupt controller that QEMU's virt machine has no device at */
#define SPARE_SPI	200

static irqreturn_t nmi_handler(int irq, void *data)
{
	if (!there.done)
		touch_there(in_nmi());
	return IRQ_HANDLED;
}

static void raise_nmi(struct kunit *test)
{
	struct of_phandle_args args = {
		.np = of_find_compatible_node(NULL, NULL, "arm,gic-v3"),
		.args_count = 3,
		.args = { 0, SPARE_SPI, IRQ_TYPE_EDGE_RISING },
	};
	unsigned int irq;

	if (!args.np || !system_uses_irq_prio_masking())
		kunit_skip(test, "needs -machine gic-version=3 and irqchip.gicv3_pseudo_nmi=1");
	irq = irq_create_of_mapping(&args);
	of_node_put(args.np);
	KUNIT_ASSERT_NE(test, irq, 0);
	KUNIT_ASSERT_EQ(test, request_nmi(irq, nmi_handler, IRQF_PERCPU | IRQF_NO_AUTOEN,
					  "arena_kunit", &there), 0);
	enable_nmi(irq);
	KUNIT_EXPECT_EQ(test, irq_set_irqchip_state(irq, IRQCHIP_STATE_PENDING, true), 0);
	wait_there();
	disable_nmi_nosync(irq);
	free_nmi(irq, &there);
	irq_dispose_mapping(irq);
}
#else
static void raise_nmi(struct kunit *test)
{
	kunit_skip(test, "no way to raise an NMI on this architecture");
}
#endif

static void in_an_nmi(struct kunit *test)
{
	there = (struct there){ .kaddr = page_of(test->priv, 1) };
	raise_nmi(test);
	KUNIT_ASSERT_TRUE(test, there.done);
	KUNIT_EXPECT_TRUE(test, there.context);
	expect_recovered(test, there.kaddr, there.ret);
}

/* ---- which arenas, which addresses ---- */

static void no_kernel_user_no_recovery(struct kunit *test)
{
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	void *kaddr;

	KUNIT_ASSERT_NOT_NULL(test, other);
	kaddr = test_arena_kaddr(other, TEST_USER_START);
	KUNIT_EXPECT_FALSE(test, handled(kaddr));
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr));
	test_arena_destroy(other);
}

static void programs_are_no_kernel_users(struct kunit *test)
{
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);

	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_EQ(test, bpf_arena_prepare_alloc(other, 64, 64), 0);
	KUNIT_EXPECT_FALSE(test, handled(test_arena_kaddr(other, TEST_USER_START)));
	test_arena_destroy(other);
}

static void recovery_ends_with_the_last_user(struct kunit *test)
{
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	struct bpf_arena_cache *c;
	void *kaddr;

	KUNIT_ASSERT_NOT_NULL(test, other);
	kaddr = test_arena_kaddr(other, TEST_USER_START);
	c = kernel_user(test, other);
	KUNIT_EXPECT_TRUE(test, handled(kaddr));
	bpf_arena_cache_destroy(c);
	KUNIT_EXPECT_NOT_NULL(test, other->slabs);
	KUNIT_EXPECT_FALSE(test, handled(kaddr + PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr + PAGE_SIZE));
	/* and another one comes */
	c = kernel_user(test, other);
	KUNIT_EXPECT_TRUE(test, handled(kaddr + PAGE_SIZE));
	bpf_arena_cache_destroy(c);
	test_arena_release(test, other);
}

static void one_of_two_users_is_enough(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	struct bpf_arena_cache *c = kernel_user(test, ctx->arena);

	bpf_arena_cache_destroy(ctx->user);
	ctx->user = c;
	KUNIT_EXPECT_TRUE(test, handled(page_of(ctx, 1)));
}

static void outside_of_arenas(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	void *start = (void *)bpf_arena_get_kern_vm_start(ctx->arena);

	KUNIT_EXPECT_FALSE(test, handled(start - 8));
	KUNIT_EXPECT_FALSE(test, handled(start + ARENA_FAULT_RANGE));
	KUNIT_EXPECT_FALSE(test, handled(NULL));
	KUNIT_EXPECT_FALSE(test, handled((void *)TEST_USER_START));
	KUNIT_EXPECT_FALSE(test, handled((void *)-8l));
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 0);
	/* the same question with an address of the arena, so that it means something */
	KUNIT_EXPECT_TRUE(test, handled(start));
	KUNIT_EXPECT_TRUE(test, handled(start + ARENA_FAULT_RANGE - 8));
}

static void instruction_fetch(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	unsigned long addr = (unsigned long)page_of(ctx, 1);

	KUNIT_EXPECT_FALSE(test, bpf_arena_handle_page_fault(addr, false, addr));
	KUNIT_EXPECT_NULL(test, vmalloc_to_page((void *)addr));
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 0);
}

static void gone_arena_is_not_found(struct kunit *test)
{
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	void *kaddr;

	KUNIT_ASSERT_NOT_NULL(test, other);
	kaddr = test_arena_kaddr(other, TEST_USER_START);
	bpf_arena_cache_destroy(kernel_user(test, other));
	test_arena_release(test, other);
	KUNIT_EXPECT_FALSE(test, handled(kaddr));
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr));
}

static struct held {
	void *kaddr;
	int entered;
	int gone;
	int left;
} held;

/* In the handler, which has found its arena; for a while, or until that is gone */
static int held_probe(struct kprobe *kp, struct pt_regs *regs)
{
	u64 end = local_clock() + HOLD_NS;

	smp_store_release(&held.entered, 1);
	while (!smp_load_acquire(&held.gone) && local_clock() < end)
		cpu_relax();
	return 0;
}

static int held_thread(void *data)
{
	handled(held.kaddr);
	smp_store_release(&held.left, 1);
	return 0;
}

static void teardown_waits_for_handlers(struct kunit *test)
{
	struct kprobe kp = { .symbol_name = "arena_map_scratch", .pre_handler = held_probe };
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	struct bpf_arena_cache *c;
	struct task_struct *t;
	int left;

	KUNIT_ASSERT_NOT_NULL(test, other);
	held = (struct held){ .kaddr = test_arena_kaddr(other, TEST_USER_START) };
	c = kernel_user(test, other);
	KUNIT_ASSERT_EQ(test, register_kprobe(&kp), 0);
	t = test_arena_other_cpu(test, held_thread, NULL);
	for (int i = 0; i < 50 && !smp_load_acquire(&held.entered); i++)
		msleep(1);
	bpf_arena_cache_destroy(c);
	/* else the two did not meet, and the test says nothing */
	KUNIT_EXPECT_TRUE(test, held.entered);
	test_arena_destroy(other);
	left = smp_load_acquire(&held.left);
	smp_store_release(&held.gone, 1);
	kthread_stop_put(t);
	unregister_kprobe(&kp);
	KUNIT_EXPECT_EQ(test, left, 1);
}

/* Each fault is the fault of its arena, and of no other */
static void the_right_one_of_many(struct kunit *test)
{
	struct bpf_arena *a[5];
	struct bpf_arena_cache *c[5];

	for (int i = 0; i < ARRAY_SIZE(a); i++) {
		a[i] = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
		KUNIT_ASSERT_NOT_NULL(test, a[i]);
		c[i] = kernel_user(test, a[i]);
	}
	for (int i = 0; i < ARRAY_SIZE(a); i++)
		for (int n = 0; n <= i; n++)
			touch(test_arena_kaddr(a[i], TEST_USER_START + n * PAGE_SIZE));
	for (int i = 0; i < ARRAY_SIZE(a); i++) {
		KUNIT_EXPECT_EQ(test, faults(a[i]), i + 1);
		bpf_arena_cache_destroy(c[i]);
		test_arena_release(test, a[i]);
	}
}

/* ---- who is told ---- */

static u32 run_prog(struct kunit *test, struct bpf_arena *arena, void *kaddr)
{
	struct addr_ctx *ctx = test->priv;

	ctx->prog = test_arena_prog(test, arena, test_arena_touch, (u64)(long)kaddr);
	return test_arena_prog_run(ctx->prog);
}

static void program_answers_for_its_own(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;

	test_arena_needs_stack_walk(test);
	KUNIT_EXPECT_EQ(test, run_prog(test, ctx->arena, page_of(ctx, 1)), TOUCHED);
	KUNIT_EXPECT_GE(test, test_arena_prog_reports(ctx->prog), 2);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 0);
}

static void program_does_not_answer_for_others(struct kunit *test)
{
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	struct addr_ctx *ctx = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_EQ(test, run_prog(test, other, page_of(ctx, 1)), TOUCHED);
	KUNIT_EXPECT_EQ(test, test_arena_prog_reports(ctx->prog), 0);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 1);
	test_arena_prog_free(ctx->prog);
	ctx->prog = NULL;
	test_arena_destroy(other);
}

static void fdinfo_has_the_counter(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	struct seq_file m = { .size = PAGE_SIZE };
	struct file *file;

	m.buf = kunit_kzalloc(test, m.size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m.buf);
	bpf_map_inc_with_uref(&ctx->arena->map);
	file = anon_inode_getfile("bpf-map", &bpf_map_fops, &ctx->arena->map, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);

	for (int i = 0; i < 3; i++)
		touch(page_of(ctx, i));
	bpf_map_fops.show_fdinfo(&m, file);
	fput(file);
	m.buf[m.count] = 0;
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(m.buf, "\narena_kernel_faults:\t3\n"), "%s", m.buf);
}

static struct traced {
	unsigned int nr;
	u64 uaddr;
	bool write;
	bool ip_here;
	/* an address for the probe to touch */
	void *nested;
} traced;

static void fault_probe(void *data, u32 map_id, u64 uaddr, unsigned long ip, bool write)
{
	char sym[KSYM_SYMBOL_LEN];

	traced.nr++;
	traced.uaddr = uaddr;
	traced.write = write;
	sprint_symbol(sym, ip);
	traced.ip_here = str_has_prefix(sym, "__test_arena_touch");
	/* not for ever, should nothing else stop it */
	if (traced.nested && traced.nr < 4)
		touch(traced.nested + traced.nr * PAGE_SIZE);
}

static void run_traced(struct kunit *test, void *kaddr, void *nested)
{
	traced = (struct traced){ .nested = nested };
	KUNIT_ASSERT_EQ(test, register_trace_bpf_arena_kernel_fault(fault_probe, NULL), 0);
	touch(kaddr);
	unregister_trace_bpf_arena_kernel_fault(fault_probe, NULL);
	tracepoint_synchronize_unregister();
}

static void tracepoint_fires(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;

	run_traced(test, page_of(ctx, 3) + 24, NULL);
	KUNIT_EXPECT_EQ(test, traced.nr, 1);
	KUNIT_EXPECT_EQ(test, traced.uaddr, TEST_USER_START + 3 * PAGE_SIZE + 24);
	KUNIT_EXPECT_TRUE(test, traced.write);
	KUNIT_EXPECT_TRUE(test, traced.ip_here);
}

/* A program at the tracepoint that faults is recovered, and not called again for it */
static void fault_in_the_tracepoint(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;

	run_traced(test, page_of(ctx, 1), page_of(ctx, 2));
	KUNIT_EXPECT_EQ(test, traced.nr, 1);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 2);
}

/* The handler may run under a lock that printk() needs */
static void handler_does_not_print(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	unsigned int in_handler;
	unsigned long flags;

	console_watch(test);
	local_irq_save(flags);
	touch(page_of(ctx, 1));
	in_handler = console.lines;
	local_irq_restore(flags);
	console_unwatch(ctx);
	KUNIT_EXPECT_EQ(test, in_handler, 0);
	KUNIT_EXPECT_EQ(test, console.lines, 1);
	KUNIT_EXPECT_EQ(test, console.warnings, 0);
}

static void storm_prints_little(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;

	console_watch(test);
	for (int i = 0; i < STORM; i++)
		touch(page_of(ctx, i));
	console_unwatch(ctx);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), STORM);
	KUNIT_EXPECT_GE(test, console.lines, 1);
	/* one in five seconds */
	KUNIT_EXPECT_LE(test, console.lines, 3);
	KUNIT_EXPECT_EQ(test, console.warnings, 0);
}

/* ---- others are faster ---- */

static void touch_with_page_between(struct kunit *test, void *kaddr, struct page *page)
{
	struct test_arena_race r;
	u64 ret;

	test_arena_race_init(test, &r, kaddr, page);
	console_watch(test);
	WRITE_ONCE(r.task, current);
	ret = touch(kaddr);
	WRITE_ONCE(r.task, NULL);
	console_unwatch(test->priv);
	unregister_kprobe(&r.kp);
	/* else they did not meet, and the test says nothing */
	KUNIT_EXPECT_EQ(test, r.installed, 1);
	KUNIT_EXPECT_EQ(test, ret, TOUCHED);
	KUNIT_EXPECT_EQ(test, console.warnings, 0);
}

static void page_that_came_in_between_is_no_fault(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	struct addr_ctx *ctx = test->priv;
	void *kaddr = page_of(ctx, 1);

	KUNIT_ASSERT_NOT_NULL(test, page);
	touch_with_page_between(test, kaddr, page);
	KUNIT_EXPECT_EQ(test, *(u64 *)page_address(page), TOUCHED);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 0);
	test_arena_clear_pte(test_arena_pte(test, kaddr), kaddr);
	__free_page(page);
}

static void scratch_that_came_in_between_is_one(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;

	touch_with_page_between(test, page_of(ctx, 1), ctx->arena->scratch_page);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), 1);
}

struct race {
	struct addr_ctx *ctx;
	int go;
	int done;
	unsigned int recovered;
};

static int race_thread(void *data)
{
	struct race *r = data;

	for (int i = 1; i <= RACE_ROUNDS; i++) {
		while (smp_load_acquire(&r->go) < i)
			cpu_relax();
		r->recovered += touch(page_of(r->ctx, i)) == TOUCHED;
		smp_store_release(&r->done, i);
	}
	return 0;
}

static void two_cpus_at_one_address(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	struct race r = { .ctx = ctx };
	unsigned int recovered = 0;
	struct task_struct *t;

	console_watch(test);
	t = test_arena_other_cpu(test, race_thread, &r);
	for (int i = 1; i <= RACE_ROUNDS; i++) {
		smp_store_release(&r.go, i);
		/* The other one has some way to go: give it a head start, or none */
		for (int n = 0; n < i % 128; n++)
			cpu_relax();
		recovered += touch(page_of(ctx, i)) == TOUCHED;
		while (smp_load_acquire(&r.done) < i)
			cpu_relax();
	}
	kthread_stop_put(t);
	console_unwatch(ctx);
	KUNIT_EXPECT_EQ(test, recovered, RACE_ROUNDS);
	KUNIT_EXPECT_EQ(test, r.recovered, RACE_ROUNDS);
	KUNIT_EXPECT_EQ(test, console.warnings, 0);
	/* by one of them, or by both */
	KUNIT_EXPECT_GE(test, faults(ctx->arena), RACE_ROUNDS);
	KUNIT_EXPECT_LE(test, faults(ctx->arena), 2 * RACE_ROUNDS);
}

struct churn {
	struct kunit *test;
	int done;
};

static int churn_thread(void *data)
{
	struct churn *ch = data;

	for (int i = 0; i < CHURN_ROUNDS; i++) {
		struct bpf_arena *a = test_arena_create(TEST_PAGES, TEST_USER_START, 0);

		if (!a)
			break;
		/* it is in the tree from here ... */
		bpf_arena_cache_destroy(bpf_arena_cache_create(&a->map, "churn", 64, 0, 0));
		/* ... to here */
		test_arena_release(ch->test, a);
	}
	smp_store_release(&ch->done, 1);
	return 0;
}

/* Others come and go in the tree while faults look for theirs; one miss is an oops */
static void others_come_and_go(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	void *start = (void *)bpf_arena_get_kern_vm_start(ctx->arena);
	struct churn ch = { .test = test };
	unsigned long nr = 0, bad = 0;
	struct task_struct *t;

	t = test_arena_other_cpu(test, churn_thread, &ch);
	while (!smp_load_acquire(&ch.done)) {
		if (nr < SZ_4G / PAGE_SIZE)
			bad += touch(start + nr++ * PAGE_SIZE) != TOUCHED;
		cond_resched();
	}
	kthread_stop_put(t);
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_GT(test, nr, CHURN_ROUNDS);
	KUNIT_EXPECT_EQ(test, faults(ctx->arena), nr);
}

/* ---- what becomes of the scratch page ---- */

static void allocation_replaces_scratch(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	u64 uaddr = TEST_USER_START + 7 * PAGE_SIZE;
	u64 *kaddr = test_arena_kaddr(ctx->arena, uaddr);
	void *p;

	touch(kaddr);
	p = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, (void *)uaddr, 1, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_PTR_EQ(test, p, (void *)uaddr);
	/* What the stray store left is not in the new page */
	KUNIT_EXPECT_EQ(test, READ_ONCE(*kaddr), 0);
}

static void user_access_to_scratch_fails(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;
	unsigned long uaddr;
	u64 val = 1;

	touch(page_of(ctx, 9));
	uaddr = test_arena_mmap(test, ctx->arena) + 9 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, get_user(val, (u64 __user *)uaddr), -EFAULT);
	KUNIT_EXPECT_EQ(test, put_user(val, (u64 __user *)uaddr), -EFAULT);
	KUNIT_EXPECT_EQ(test, vm_munmap(ctx->arena->user_vm_start, TEST_PAGES * PAGE_SIZE), 0);
}

static int addr_init(struct kunit *test)
{
	struct addr_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx || !zalloc_cpumask_var(&ctx->cpus, GFP_KERNEL))
		return -ENOMEM;
	cpumask_copy(ctx->cpus, current->cpus_ptr);
	ctx->arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	if (!ctx->arena)
		return -ENOMEM;
	test->priv = ctx;
	ctx->user = bpf_arena_cache_create(&ctx->arena->map, "kunit", 64, 0, 0);
	return PTR_ERR_OR_ZERO(ctx->user);
}

static void addr_exit(struct kunit *test)
{
	struct addr_ctx *ctx = test->priv;

	if (!ctx)
		return;
	if (ctx->prog)
		test_arena_prog_free(ctx->prog);
	bpf_arena_cache_destroy(ctx->user);
	test_arena_release(test, ctx->arena);
	set_cpus_allowed_ptr(current, ctx->cpus);
	free_cpumask_var(ctx->cpus);
}

static struct kunit_case addr_cases[] = {
	KUNIT_CASE(in_a_task),
	KUNIT_CASE(in_the_guard_behind_it),
	KUNIT_CASE(under_a_raw_spinlock),
	KUNIT_CASE(in_a_hard_irq),
	KUNIT_CASE(in_an_nmi),
	KUNIT_CASE(no_kernel_user_no_recovery),
	KUNIT_CASE(programs_are_no_kernel_users),
	KUNIT_CASE(recovery_ends_with_the_last_user),
	KUNIT_CASE(one_of_two_users_is_enough),
	KUNIT_CASE(outside_of_arenas),
	KUNIT_CASE(instruction_fetch),
	KUNIT_CASE(gone_arena_is_not_found),
	KUNIT_CASE(teardown_waits_for_handlers),
	KUNIT_CASE(the_right_one_of_many),
	KUNIT_CASE(program_answers_for_its_own),
	KUNIT_CASE(program_does_not_answer_for_others),
	KUNIT_CASE(fdinfo_has_the_counter),
	KUNIT_CASE(tracepoint_fires),
	KUNIT_CASE(fault_in_the_tracepoint),
	KUNIT_CASE(handler_does_not_print),
	KUNIT_CASE(storm_prints_little),
	KUNIT_CASE(page_that_came_in_between_is_no_fault),
	KUNIT_CASE(scratch_that_came_in_between_is_one),
	KUNIT_CASE(two_cpus_at_one_address),
	KUNIT_CASE(others_come_and_go),
	KUNIT_CASE(allocation_replaces_scratch),
	KUNIT_CASE(user_access_to_scratch_fails),
	{}
};

static struct kunit_suite addr_suite = {
	.name = "bpf_arena_addr",
	.init = addr_init,
	.exit = addr_exit,
	.test_cases = addr_cases,
};

kunit_test_suite(addr_suite);

MODULE_DESCRIPTION("KUnit tests of kernel faults in BPF arenas");
MODULE_LICENSE("GPL");
