// SPDX-License-Identifier: GPL-2.0
/*
 * The life of an ordinary arena page, from outside of kernel/bpf/arena.c: only what
 * any kernel with arenas has is used, so that the suite can be run on one that does
 * not have the fixes.
 *
 *	kunit.filter_glob=bpf_arena_page
 *
 * CPU 0 is the test's, CPU 1 that of a second thread with translations in its TLB.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/clock.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <trace/events/printk.h>
#include "bpf_arena_kunit.h"

#define TEST_PAGES	16
#define TEST_PATTERN	0x600d600d600d600dull
/* Nobody waits longer for the other side; what comes later is a failure */
/* Irqs are off meanwhile: less than a watchdog waits */
#define TEST_WAIT_NS	(9ull * NSEC_PER_SEC)

struct page_ctx {
	struct bpf_arena *arena;
	struct bpf_map *map;
	struct bpf_prog *prog;
	cpumask_var_t cpus;
};

static bool wait_for_flag(int *flag)
{
	u64 end = local_clock() + TEST_WAIT_NS;

	while (!smp_load_acquire(flag)) {
		if (local_clock() > end)
			return false;
		cpu_relax();
	}
	return true;
}

/* ---- a freed page is out of all TLBs before its place is used again ---- */

/*
 * Whoever frees pages drops the arena's spinlock at some point with the place
 * marked as free. An irq_work that is queued while it is held, and irqs are off, runs
 * at exactly that point: it holds the freeing CPU up for as long as the other CPU
 * needs to allocate the place again and to store to it.
 */
static struct window {
	struct page_ctx *ctx;
	struct irq_work work;
	u64 uaddr;
	int armed;
	int open;
	int closed;
	/* the second thread */
	int ready;
	int freed;
	void *got;
	bool had_translation;
	u64 seen;
} window;

static void window_work(struct irq_work *work)
{
	smp_store_release(&window.open, 1);
	wait_for_flag(&window.closed);
}

static int window_probe(struct kprobe *kp, struct pt_regs *regs)
{
	if (READ_ONCE(window.armed) && raw_smp_processor_id() == 0) {
		WRITE_ONCE(window.armed, 0);
		irq_work_queue(&window.work);
	}
	return 0;
}

/* Keep the translation in use; it may be gone, if the free is done as it should be */
static bool touch_until_open(u64 *kaddr)
{
	u64 end = local_clock() + TEST_WAIT_NS, val;

	while (!smp_load_acquire(&window.open)) {
		if (local_clock() > end)
			return false;
		get_kernel_nofault(val, kaddr);
	}
	return true;
}

static int window_thread(void *data)
{
	u64 *kaddr = test_arena_kaddr(window.ctx->arena, window.uaddr);
	u64 val;

	/* Interrupts stay on: a flush has to get through */
	preempt_disable();
	window.had_translation = !get_kernel_nofault(val, kaddr);
	smp_store_release(&window.ready, 1);
	if (touch_until_open(kaddr)) {
		window.got = bpf_arena_alloc_pages_non_sleepable(window.ctx->map,
								 (void *)(long)window.uaddr, 1,
								 NUMA_NO_NODE, 0);
		/* Through a stale translation, this goes to the page that is being freed */
		if (window.got)
			WRITE_ONCE(*kaddr, TEST_PATTERN);
	}
	smp_store_release(&window.closed, 1);
	preempt_enable();

	while (!smp_load_acquire(&window.freed))
		cond_resched();
	if (window.got)
		window.seen = READ_ONCE(*kaddr);
	return 0;
}

static void run_window(struct kunit *test, void (*free)(void *map, void *uaddr, u32 cnt))
{
	struct kprobe kp = { .symbol_name = "range_tree_set", .pre_handler = window_probe };
	struct page_ctx *ctx = test->priv;
	struct task_struct *t;
	void *p;

	p = bpf_arena_alloc_pages_sleepable(ctx->map, NULL, 1, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_NOT_NULL(test, p);
	memset(&window, 0, sizeof(window));
	window.ctx = ctx;
	window.uaddr = (u64)p;
	init_irq_work(&window.work, window_work);

	t = kthread_create(window_thread, NULL, "arena-window");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	kthread_bind(t, 1);
	KUNIT_ASSERT_EQ(test, register_kprobe(&kp), 0);
	wake_up_process(t);
	KUNIT_EXPECT_TRUE(test, wait_for_flag(&window.ready));

	WRITE_ONCE(window.armed, 1);
	free(ctx->map, p, 1);
	/* It may be a worker of this CPU that frees */
	for (int i = 0; i < 2000 && !smp_load_acquire(&window.closed); i++)
		msleep(10);
	/* what follows the window has to be over as well: the flush, the page */
	msleep(50);
	smp_store_release(&window.freed, 1);
	kthread_stop_put(t);
	unregister_kprobe(&kp);
	irq_work_sync(&window.work);

	/* else the two did not meet, and the test says nothing */
	KUNIT_EXPECT_TRUE(test, window.had_translation);
	KUNIT_EXPECT_TRUE(test, window.open);
	KUNIT_EXPECT_PTR_EQ(test, window.got, p);
	/* The store is in the page that was allocated */
	KUNIT_EXPECT_EQ(test, window.seen, TEST_PATTERN);
}

static void free_flushes_before_reuse(struct kunit *test)
{
	run_window(test, bpf_arena_free_pages);
}

static void deferred_free_flushes_before_reuse(struct kunit *test)
{
	run_window(test, bpf_arena_free_pages_non_sleepable);
}

/* ---- an allocation over a scratch page ---- */

static u32 touch_from_prog(struct kunit *test, void *kaddr)
{
	struct page_ctx *ctx = test->priv;

	if (ctx->prog)
		test_arena_prog_free(ctx->prog);
	ctx->prog = test_arena_prog(test, ctx->arena, test_arena_touch, (u64)(long)kaddr);
	return test_arena_prog_run(ctx->prog);
}

/* The CPU that has the scratch page in its TLB sees the page that comes after it */
static void scratch_is_flushed_before_reuse(struct kunit *test)
{
	struct page_ctx *ctx = test->priv;
	u64 uaddr = TEST_USER_START + 7 * PAGE_SIZE;
	u64 *kaddr = test_arena_kaddr(ctx->arena, uaddr);
	struct page *page;
	void *p;

	test_arena_needs_stack_walk(test);
	KUNIT_ASSERT_EQ(test, touch_from_prog(test, kaddr), 0x5c5c);
	p = bpf_arena_alloc_pages_sleepable(ctx->map, (void *)uaddr, 1, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_PTR_EQ(test, p, (void *)uaddr);
	KUNIT_EXPECT_EQ(test, READ_ONCE(*kaddr), 0);
	/* and what it stores is seen by all others: here, by the direct map */
	WRITE_ONCE(*kaddr, TEST_PATTERN);
	page = vmalloc_to_page(kaddr);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, *(u64 *)page_address(page), TEST_PATTERN);
}

/* ---- a fault that is over before it is handled ---- */

static unsigned int spurious;

static void spurious_console(void *data, const char *text, size_t len)
{
	if (strnstr(text, "spurious", len))
		spurious++;
}

/* What the other CPU does: see struct test_arena_race */
static void page_that_came_in_between_is_no_fault(struct kunit *test)
{
	struct page_ctx *ctx = test->priv;
	u64 *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START + 3 * PAGE_SIZE);
	struct test_arena_race r;
	struct page *page;
	u32 ret;

	test_arena_needs_stack_walk(test);

	spurious = 0;
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, page);
	test_arena_race_init(test, &r, kaddr, page);
	KUNIT_EXPECT_EQ(test, register_trace_console(spurious_console, NULL), 0);
	WRITE_ONCE(r.task, current);
	ret = touch_from_prog(test, kaddr);
	WRITE_ONCE(r.task, NULL);
	unregister_trace_console(spurious_console, NULL);
	tracepoint_synchronize_unregister();
	unregister_kprobe(&r.kp);

	/* else they did not meet, and the test says nothing */
	KUNIT_EXPECT_EQ(test, r.installed, 1);
	KUNIT_EXPECT_EQ(test, ret, 0x5c5c);
	KUNIT_EXPECT_EQ(test, *(u64 *)page_address(page), 0x5c5c);
	/* Nobody did wrong: no warning, and no report to the program */
	KUNIT_EXPECT_EQ(test, spurious, 0);
	KUNIT_EXPECT_EQ(test, test_arena_prog_reports(ctx->prog), 0);

	test_arena_clear_pte(r.pte, kaddr);
	__free_page(page);
}

/* ---- the owner's memcg outlives the map ---- */

#ifdef CONFIG_MEMCG
static struct owner {
	struct obj_cgroup objcg;
	struct completion map_gone;
	bool released;
	bool released_early;
} owner;

static void owner_release(struct percpu_ref *ref)
{
	WRITE_ONCE(owner.released, true);
}

/* The last that map_free() does with an arena in which it may allocate and charge */
static int owner_probe(struct kprobe *kp, struct pt_regs *regs)
{
	owner.released_early = READ_ONCE(owner.released);
	complete(&owner.map_gone);
	return 0;
}

/*
 * A deferred free is still pending when the last reference to the map goes: the
 * worker enters the memcg of the map's objcg.
 */
static void map_free_has_its_objcg(struct kunit *test)
{
	struct kprobe kp = { .symbol_name = "range_tree_destroy", .pre_handler = owner_probe };
	struct page_ctx *ctx = test->priv;
	void *p;

	if (mem_cgroup_disabled())
		kunit_skip(test, "memcg is off");
	memset(&owner, 0, sizeof(owner));
	init_completion(&owner.map_gone);
	/* With one reference, the map's; it goes nowhere when that is put */
	KUNIT_ASSERT_EQ(test, percpu_ref_init(&owner.objcg.refcnt, owner_release,
					      PERCPU_REF_INIT_ATOMIC, GFP_KERNEL), 0);
	owner.objcg.memcg = root_mem_cgroup;
	p = bpf_arena_alloc_pages_sleepable(ctx->map, NULL, 1, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ(test, register_kprobe(&kp), 0);

	KUNIT_EXPECT_NULL(test, ctx->map->objcg);
	ctx->map->objcg = &owner.objcg;
	bpf_arena_free_pages_non_sleepable(ctx->map, p, 1);
	bpf_map_put(ctx->map);
	ctx->arena = NULL;
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&owner.map_gone, 10 * HZ));
	KUNIT_EXPECT_FALSE(test, owner.released_early);
	for (int i = 0; i < 100 && !READ_ONCE(owner.released); i++)
		msleep(20);
	KUNIT_EXPECT_TRUE(test, owner.released);
	unregister_kprobe(&kp);
	percpu_ref_exit(&owner.objcg.refcnt);
}
#endif

/* ---- a page that is freed while a user fault maps it ---- */

/*
 * What mm does with a page that the handler returns: lock it, give our reference to the
 * PTE, unlock it. In between another CPU takes the PTE away and frees the page.
 */
static void page_is_freed_under_a_fault(struct kunit *test)
{
	struct page_ctx *ctx = test->priv;
	unsigned long addr = test_arena_mmap(test, ctx->arena);
	void *at = (void *)addr + PAGE_SIZE;
	struct mm_struct *mm = current->mm;
	u64 val = 1;

	/* A neighbour's PTE, for the page table that the fault needs */
	KUNIT_ASSERT_EQ(test, put_user(1, (u64 __user *)addr), 0);
	KUNIT_ASSERT_PTR_EQ(test, at, bpf_arena_alloc_pages_sleepable(ctx->map, at, 1,
								      NUMA_NO_NODE, 0));
	mmap_read_lock(mm);
	{
		struct vm_fault vmf = {
			.vma = vma_lookup(mm, addr),
			.address = addr + PAGE_SIZE,
			.real_address = addr + PAGE_SIZE,
			.pgoff = 1,
			.flags = FAULT_FLAG_USER,
			.pmd = pmd_off(mm, addr),
		};
		vm_fault_t ret = vmf.vma->vm_ops->fault(&vmf);

		if (!ret) {
			lock_page(vmf.page);
			ret = finish_fault(&vmf);
		}
		KUNIT_EXPECT_FALSE(test, ret & VM_FAULT_ERROR);
	}
	mmap_read_unlock(mm);
	KUNIT_EXPECT_EQ(test, get_user(val, (u64 __user *)at), 0);
	KUNIT_EXPECT_EQ(test, val, 0);

	/* A page that is still locked when it is freed is a bad page, says the kernel */
	bpf_arena_free_pages(ctx->map, (void *)addr, 2);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(test_arena_kaddr(ctx->arena, (unsigned long)at)));
}

/* ---- a mapping that is shorter than the map ---- */

/*
 * Without map_extra it is mmap() that places the arena, all of its pages and not only
 * those that are mapped: behind 4 GiB the kernel has other things.
 */
static void short_mapping_leaves_room(struct kunit *test)
{
	unsigned long hint = 2 * SZ_4G - TEST_PAGES * PAGE_SIZE, addr, kaddr;
	struct page_ctx *ctx = test->priv;

	test_arena_destroy(ctx->arena);
	ctx->arena = test_arena_create(4 * TEST_PAGES, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, ctx->arena);
	ctx->map = test_arena_map(ctx->arena);
	addr = test_arena_mmap_near(test, ctx->arena, hint, TEST_PAGES, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	KUNIT_EXPECT_EQ(test, addr >> 32, (addr + 4 * TEST_PAGES * PAGE_SIZE - 1) >> 32);

	/* The last of these would be the first behind */
	KUNIT_ASSERT_NOT_NULL(test, bpf_arena_alloc_pages_sleepable(ctx->map, NULL, 1,
								    NUMA_NO_NODE, 0));
	KUNIT_ASSERT_NOT_NULL(test, bpf_arena_alloc_pages_sleepable(ctx->map, NULL, TEST_PAGES,
								    NUMA_NO_NODE, 0));
	kaddr = bpf_arena_get_kern_vm_start(ctx->arena) + SZ_4G;
	KUNIT_EXPECT_NULL(test, vmalloc_to_page((void *)kaddr));
	KUNIT_EXPECT_EQ(test, vm_munmap(addr, TEST_PAGES * PAGE_SIZE), 0);
}

static int page_init(struct kunit *test)
{
	struct page_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx || !zalloc_cpumask_var(&ctx->cpus, GFP_KERNEL))
		return -ENOMEM;
	cpumask_copy(ctx->cpus, current->cpus_ptr);
	test->priv = ctx;
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	set_cpus_allowed_ptr(current, cpumask_of(0));
	ctx->arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	if (!ctx->arena)
		return -ENOMEM;
	ctx->map = test_arena_map(ctx->arena);
	return 0;
}

static void page_exit(struct kunit *test)
{
	struct page_ctx *ctx = test->priv;

	if (!ctx)
		return;
	if (ctx->prog)
		test_arena_prog_free(ctx->prog);
	if (ctx->arena)
		test_arena_release(test, ctx->arena);
	set_cpus_allowed_ptr(current, ctx->cpus);
	free_cpumask_var(ctx->cpus);
}

static struct kunit_case page_cases[] = {
	KUNIT_CASE(free_flushes_before_reuse),
	KUNIT_CASE(deferred_free_flushes_before_reuse),
	KUNIT_CASE(scratch_is_flushed_before_reuse),
	KUNIT_CASE(page_that_came_in_between_is_no_fault),
	KUNIT_CASE(page_is_freed_under_a_fault),
	KUNIT_CASE(short_mapping_leaves_room),
#ifdef CONFIG_MEMCG
	KUNIT_CASE(map_free_has_its_objcg),
#endif
	{}
};

static struct kunit_suite page_suite = {
	.name = "bpf_arena_page",
	.init = page_init,
	.exit = page_exit,
	.test_cases = page_cases,
};

kunit_test_suite(page_suite);

MODULE_DESCRIPTION("KUnit tests of the pages of BPF arenas");
MODULE_LICENSE("GPL");
