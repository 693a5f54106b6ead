// SPDX-License-Identifier: GPL-2.0
/*
 * Fault recovery in BPF arenas: ptep_try_set() and the scratch page, which slabs
 * in arenas stand on.
 *
 *	kunit.filter_glob=bpf_arena_fault
 */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "../../kernel/bpf/arena.h"
#include "bpf_arena_kunit.h"

#define TEST_PAGES	64
#define RACE_ROUNDS	2000

struct fault_ctx {
	struct bpf_arena *arena;
	struct bpf_prog *prog;
	struct page *page[2];
};

static void try_set_installs_into_none(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	u64 *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);
	pte_t *pte = test_arena_pte(test, kaddr);

	KUNIT_ASSERT_TRUE(test, pte_none(ptep_get(pte)));
	KUNIT_ASSERT_TRUE(test, ptep_try_set(pte, mk_pte(ctx->page[0], PAGE_KERNEL)));
	KUNIT_EXPECT_PTR_EQ(test, pte_page(ptep_get(pte)), ctx->page[0]);
	WRITE_ONCE(*kaddr, 0x1234);
	KUNIT_EXPECT_EQ(test, *(u64 *)page_address(ctx->page[0]), 0x1234);
	test_arena_clear_pte(pte, kaddr);
}

static void try_set_refuses_populated(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);
	pte_t *pte = test_arena_pte(test, kaddr);

	KUNIT_ASSERT_TRUE(test, ptep_try_set(pte, mk_pte(ctx->page[0], PAGE_KERNEL)));
	KUNIT_EXPECT_FALSE(test, ptep_try_set(pte, mk_pte(ctx->page[1], PAGE_KERNEL)));
	KUNIT_EXPECT_PTR_EQ(test, pte_page(ptep_get(pte)), ctx->page[0]);
	test_arena_clear_pte(pte, kaddr);
}

/* The store must be visible to the next access although the section is lazy */
static int try_set_lazy_cb(pte_t *pte, unsigned long addr, void *data)
{
	struct kunit *test = data;
	struct fault_ctx *ctx = test->priv;

	lazy_mmu_mode_enable();
	KUNIT_EXPECT_TRUE(test, ptep_try_set(pte, mk_pte(ctx->page[0], PAGE_KERNEL)));
	WRITE_ONCE(*(u64 *)addr, 0x5678);
	lazy_mmu_mode_disable();
	return 0;
}

static void try_set_in_lazy_mmu_section(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);

	KUNIT_ASSERT_EQ(test, 0, apply_to_page_range(&init_mm, (unsigned long)kaddr, PAGE_SIZE,
						     try_set_lazy_cb, test));
	KUNIT_EXPECT_EQ(test, *(u64 *)page_address(ctx->page[0]), 0x5678);
	test_arena_clear_pte(test_arena_pte(test, kaddr), kaddr);
}

struct race {
	pte_t *pte;
	struct page *page;
	int go;
	int done;
	unsigned int wins;
};

static int race_thread(void *data)
{
	struct race *r = data;

	for (int i = 1; i <= RACE_ROUNDS; i++) {
		while (smp_load_acquire(&r->go) < i)
			cpu_relax();
		r->wins += ptep_try_set(r->pte, mk_pte(r->page, PAGE_KERNEL));
		smp_store_release(&r->done, i);
	}
	return 0;
}

static void try_set_race_has_one_winner(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);
	struct race r = { .pte = test_arena_pte(test, kaddr), .page = ctx->page[1] };
	unsigned int wins = 0, empty = 0;
	struct task_struct *t;

	t = test_arena_other_cpu(test, race_thread, &r);
	for (int i = 1; i <= RACE_ROUNDS; i++) {
		smp_store_release(&r.go, i);
		/* The other one has some way to go: give it a head start, or none */
		for (int n = 0; n < i % 128; n++)
			cpu_relax();
		wins += ptep_try_set(r.pte, mk_pte(ctx->page[0], PAGE_KERNEL));
		while (smp_load_acquire(&r.done) < i)
			cpu_relax();
		empty += pte_none(ptep_get(r.pte));
		ptep_get_and_clear(&init_mm, (unsigned long)kaddr, r.pte);
	}
	kthread_stop_put(t);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	test_arena_clear_pte(r.pte, kaddr);

	KUNIT_EXPECT_EQ(test, empty, 0);
	KUNIT_EXPECT_EQ(test, wins + r.wins, RACE_ROUNDS);
	/* else they never met, and the test says nothing */
	KUNIT_EXPECT_GT(test, wins, 0);
	KUNIT_EXPECT_GT(test, r.wins, 0);
}

/* ---- the scratch page ---- */

static noinline u64 ask_handler(u64 addr, u64 u2, u64 u3, u64 u4, u64 u5)
{
	return bpf_arena_handle_page_fault(addr, true, _THIS_IP_);
}

static u32 run_at(struct kunit *test, u64 (*fn)(u64, u64, u64, u64, u64), void *addr)
{
	struct fault_ctx *ctx = test->priv;

	test_arena_needs_stack_walk(test);
	ctx->prog = test_arena_prog(test, ctx->arena, fn, (u64)(long)addr);
	return test_arena_prog_run(ctx->prog);
}

static struct page *mapped_page(struct bpf_arena *arena, void *kaddr)
{
	return vmalloc_to_page(kaddr);
}

static void fault_installs_scratch(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START + 5 * PAGE_SIZE);

	KUNIT_ASSERT_NULL(test, mapped_page(ctx->arena, kaddr));
	KUNIT_EXPECT_EQ(test, run_at(test, test_arena_touch, kaddr), 0x5c5c);
	KUNIT_EXPECT_PTR_EQ(test, mapped_page(ctx->arena, kaddr), ctx->arena->scratch_page);
	/* A line, and a stack of at least one */
	KUNIT_EXPECT_GE(test, test_arena_prog_reports(ctx->prog), 2);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
}

static noinline u64 touch_thirty_pages(u64 addr, u64 u2, u64 u3, u64 u4, u64 u5)
{
	for (int i = 0; i < 30; i++)
		test_arena_touch(addr + i * PAGE_SIZE, 0, 0, 0, 0);
	return 0;
}

/* Each report has a line that begins so */
static unsigned int violations_told(struct bpf_prog *prog)
{
	static const char begin[] = "ERROR: Arena WRITE access";
	struct bpf_stream_elem *e;
	unsigned int nr = 0;

	llist_for_each_entry(e, READ_ONCE(prog->aux->stream[BPF_STDERR - 1].log.first), node)
		nr += e->total_len >= sizeof(begin) && !memcmp(e->str, begin, sizeof(begin) - 1);
	return nr;
}

static void reports_are_limited(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START + 5 * PAGE_SIZE);

	run_at(test, touch_thirty_pages, kaddr);
	KUNIT_EXPECT_PTR_EQ(test, mapped_page(ctx->arena, kaddr + 29 * PAGE_SIZE),
			    ctx->arena->scratch_page);
	KUNIT_EXPECT_GE(test, violations_told(ctx->prog), 10);
	/* On a slow machine two intervals of five seconds may be touched */
	KUNIT_EXPECT_LE(test, violations_told(ctx->prog), 20);
}

static noinline u64 touch_locked(u64 addr, u64 u2, u64 u3, u64 u4, u64 u5)
{
	struct kunit *test = kunit_get_current_test();
	struct fault_ctx *ctx = test->priv;
	unsigned long flags;
	u64 ret;

	if (raw_res_spin_lock_irqsave(&ctx->arena->spinlock, flags))
		return 0;
	ret = test_arena_touch(addr, 0, 0, 0, 0);
	raw_res_spin_unlock_irqrestore(&ctx->arena->spinlock, flags);
	return ret;
}

static void fault_under_arena_lock(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START + 6 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, run_at(test, touch_locked, kaddr), 0x5c5c);
	KUNIT_EXPECT_PTR_EQ(test, mapped_page(ctx->arena, kaddr), ctx->arena->scratch_page);
}

static void allocation_replaces_scratch(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	u64 uaddr = TEST_USER_START + 7 * PAGE_SIZE;
	u64 *kaddr = test_arena_kaddr(ctx->arena, uaddr);
	void *p;

	run_at(test, test_arena_touch, kaddr);
	p = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, (void *)uaddr, 1, NUMA_NO_NODE, 0);
	KUNIT_ASSERT_PTR_EQ(test, p, (void *)uaddr);
	KUNIT_EXPECT_PTR_NE(test, mapped_page(ctx->arena, kaddr), ctx->arena->scratch_page);
	/* What the stray store left is not in the new page */
	KUNIT_EXPECT_EQ(test, READ_ONCE(*kaddr), 0);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 1);
}

static void scratch_is_cleared_not_freed(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	u64 uaddr = TEST_USER_START + 8 * PAGE_SIZE;
	void *kaddr = test_arena_kaddr(ctx->arena, uaddr);
	struct page *scratch = ctx->arena->scratch_page;

	run_at(test, test_arena_touch, kaddr);
	KUNIT_ASSERT_PTR_EQ(test, mapped_page(ctx->arena, kaddr), scratch);
	bpf_arena_free_pages(&ctx->arena->map, (void *)uaddr, 1);
	KUNIT_EXPECT_NULL(test, mapped_page(ctx->arena, kaddr));
	KUNIT_EXPECT_EQ(test, page_ref_count(scratch), 1);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
}

static void upper_half_guard_is_recovered(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = (void *)bpf_arena_get_kern_vm_start(ctx->arena) + SZ_4G + 8;

	KUNIT_EXPECT_EQ(test, run_at(test, test_arena_touch, kaddr), 0x5c5c);
}

static void lower_half_guard_is_not(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = (void *)bpf_arena_get_kern_vm_start(ctx->arena);

	KUNIT_EXPECT_EQ(test, run_at(test, ask_handler, kaddr - 8), 0);
	test_arena_prog_free(ctx->prog);
	/* the same question with an address of the arena, so that it means something */
	KUNIT_EXPECT_EQ(test, run_at(test, ask_handler, kaddr), 1);
}

/* Another CPU allocates the page between the fault and its handling */
static void page_that_came_in_between_is_no_violation(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	u64 *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);
	pte_t *pte = test_arena_pte(test, kaddr);

	test_arena_needs_stack_walk(test);
	KUNIT_ASSERT_TRUE(test, ptep_try_set(pte, mk_pte(ctx->page[0], PAGE_KERNEL)));
	KUNIT_EXPECT_EQ(test, run_at(test, ask_handler, kaddr), 1);
	KUNIT_EXPECT_EQ(test, test_arena_prog_reports(ctx->prog), 0);
	test_arena_clear_pte(pte, kaddr);
}

/* The other CPU is a violator as well: each program gets a report of its own */
static void scratch_that_came_in_between_is_one(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);
	pte_t *pte = test_arena_pte(test, kaddr);

	KUNIT_ASSERT_TRUE(test, ptep_try_set(pte, mk_pte(ctx->arena->scratch_page, PAGE_KERNEL)));
	KUNIT_EXPECT_EQ(test, run_at(test, ask_handler, kaddr), 1);
	KUNIT_EXPECT_GE(test, test_arena_prog_reports(ctx->prog), 2);
}

static noinline u64 ask_handler_to_run(u64 addr, u64 u2, u64 u3, u64 u4, u64 u5)
{
	return bpf_arena_handle_page_fault(addr, false, addr);
}

static void instruction_fetch_is_not_recovered(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);

	KUNIT_EXPECT_EQ(test, run_at(test, ask_handler_to_run, kaddr), 0);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr));
}

static void other_arena_is_not_recovered(struct kunit *test)
{
	struct bpf_arena *other = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	void *kaddr;

	KUNIT_ASSERT_NOT_NULL(test, other);
	kaddr = test_arena_kaddr(other, TEST_USER_START);
	KUNIT_EXPECT_EQ(test, run_at(test, ask_handler, kaddr), 0);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr));
	test_arena_destroy(other);
}

static void no_program_no_recovery(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	void *kaddr = test_arena_kaddr(ctx->arena, TEST_USER_START);

	KUNIT_EXPECT_FALSE(test, bpf_arena_handle_page_fault((unsigned long)kaddr, true,
							     _THIS_IP_));
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(kaddr));
}

static void user_access_to_scratch_fails(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;
	unsigned long uaddr;
	u64 val = 1;

	run_at(test, test_arena_touch,
	       test_arena_kaddr(ctx->arena, TEST_USER_START + 9 * PAGE_SIZE));
	uaddr = test_arena_mmap(test, ctx->arena) + 9 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, get_user(val, (u64 __user *)uaddr), -EFAULT);
	KUNIT_EXPECT_EQ(test, put_user(val, (u64 __user *)uaddr), -EFAULT);
	/* its neighbour is populated lazily, as ever */
	KUNIT_EXPECT_EQ(test, put_user(val, (u64 __user *)(uaddr + PAGE_SIZE)), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(ctx->arena->user_vm_start, TEST_PAGES * PAGE_SIZE), 0);
}

static int fault_init(struct kunit *test)
{
	struct fault_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	ctx->arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	if (!ctx->arena)
		return -ENOMEM;
	for (int i = 0; i < 2; i++)
		ctx->page[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
	test->priv = ctx;
	return 0;
}

static void fault_exit(struct kunit *test)
{
	struct fault_ctx *ctx = test->priv;

	if (!ctx)
		return;
	if (ctx->prog)
		test_arena_prog_free(ctx->prog);
	for (int i = 0; i < 2; i++)
		if (ctx->page[i])
			__free_page(ctx->page[i]);
	test_arena_release(test, ctx->arena);
}

static struct kunit_case fault_cases[] = {
	KUNIT_CASE(try_set_installs_into_none),
	KUNIT_CASE(try_set_refuses_populated),
	KUNIT_CASE(try_set_in_lazy_mmu_section),
	KUNIT_CASE(try_set_race_has_one_winner),
	KUNIT_CASE(fault_installs_scratch),
	KUNIT_CASE(reports_are_limited),
	KUNIT_CASE(fault_under_arena_lock),
	KUNIT_CASE(allocation_replaces_scratch),
	KUNIT_CASE(scratch_is_cleared_not_freed),
	KUNIT_CASE(upper_half_guard_is_recovered),
	KUNIT_CASE(lower_half_guard_is_not),
	KUNIT_CASE(page_that_came_in_between_is_no_violation),
	KUNIT_CASE(scratch_that_came_in_between_is_one),
	KUNIT_CASE(instruction_fetch_is_not_recovered),
	KUNIT_CASE(other_arena_is_not_recovered),
	KUNIT_CASE(no_program_no_recovery),
	KUNIT_CASE(user_access_to_scratch_fails),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "bpf_arena_fault",
	.init = fault_init,
	.exit = fault_exit,
	.test_cases = fault_cases,
};

kunit_test_suite(fault_suite);

MODULE_DESCRIPTION("KUnit tests of fault recovery in BPF arenas");
MODULE_LICENSE("GPL");
