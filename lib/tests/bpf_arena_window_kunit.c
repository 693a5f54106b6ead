// SPDX-License-Identifier: GPL-2.0
/*
 * The moments in which a page of an arena has no owner: unmapped and not yet given
 * back, found by a fault and not yet mapped, half-way through munmap(). In each one,
 * one thread is held up on purpose while others do their worst.
 *
 *	kunit.filter_glob=bpf_arena_window
 *
 * Threads: the test's own; "holder", which is held up; "worker", which runs what
 * system_dfl_wq runs elsewhere, so that a stub of the test's applies to it; "writer",
 * which stores to the page without end, through user space or the kernel's mapping.
 * The oracle: when the worker is about to give the page back, no store succeeds.
 */
#include <kunit/static_stub.h>
#include <linux/bpf_arena_slab.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "../../kernel/bpf/arena.h"
#include "bpf_arena_kunit.h"
#include "../../mm/slab.h"

#define TEST_PAGES	64
#define WAIT		(5 * HZ)

struct thread {
	struct task_struct *task;
	struct completion done;
	void (*fn)(struct kunit *test);
	struct kunit *test;
	struct mm_struct *mm;
};

struct window_ctx {
	struct bpf_arena *arena;
	struct bpf_arena_cache *cache;
	struct mmu_notifier mn;
	struct mm_struct *mm;
	/* nobody's but the holder's, who puts it */
	struct mm_struct *exiting;
	u64 uaddr;
	void *kaddr;
	/* who is held up, where, and how the test knows */
	struct thread holder;
	enum arena_window hold;
	bool held;
	struct completion reached;
	struct completion go;
	struct thread worker;
	/* the page is about to be given back */
	bool freeing;
	unsigned long stores_while_freeing;
	bool mapped_while_freeing;
	struct thread writer;
	bool stop;
	unsigned long stores;
	unsigned long faults;
};

static struct window_ctx *ctx_of(struct kunit *test)
{
	return test->priv;
}

static int thread_main(void *data)
{
	struct thread *t = data;

	current->kunit_test = t->test;
	if (t->mm)
		kthread_use_mm(t->mm);
	t->fn(t->test);
	if (t->mm)
		kthread_unuse_mm(t->mm);
	current->kunit_test = NULL;
	complete(&t->done);
	return 0;
}

static void start(struct kunit *test, struct thread *t, void (*fn)(struct kunit *test),
		  struct mm_struct *mm, int cpu)
{
	init_completion(&t->done);
	t->fn = fn;
	t->test = test;
	t->mm = mm;
	t->task = kthread_create(thread_main, t, "arena-%ps", fn);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->task);
	if (cpu >= 0)
		kthread_bind(t->task, cpu);
	wake_up_process(t->task);
}

static void join(struct kunit *test, struct thread *t)
{
	if (t->task)
		KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->done, WAIT));
	t->task = NULL;
}

/* ---- what the threads do ---- */

static void hold_up(struct window_ctx *ctx)
{
	if (ctx->held)
		return;
	ctx->held = true;
	complete(&ctx->reached);
	wait_for_completion_timeout(&ctx->go, WAIT);
}

/* The page table is there: the holder is between its last mmput() and exit_mmap()'s work */
static bool user_pte_present(struct window_ctx *ctx)
{
	return pte_present(ptep_get(pte_offset_kernel(pmd_off(ctx->exiting, ctx->uaddr),
						      ctx->uaddr)));
}

/* Stands in for arena_window() */
static void at_window(enum arena_window window)
{
	struct window_ctx *ctx = ctx_of(kunit_get_current_test());
	unsigned long stores;

	if (window == ARENA_WINDOW_FREE && current == ctx->worker.task) {
		WRITE_ONCE(ctx->freeing, true);
		/* A store that was under way may end */
		msleep(20);
		stores = READ_ONCE(ctx->stores);
		msleep(50);
		ctx->stores_while_freeing += READ_ONCE(ctx->stores) - stores;
		ctx->mapped_while_freeing |= ctx->exiting && user_pte_present(ctx);
	}
	if (window == ctx->hold && current == ctx->holder.task)
		hold_up(ctx);
}

static void run_worker(struct kunit *test)
{
	struct work_struct *work = &ctx_of(test)->arena->slabs->work;

	work->func(work);
}

static void free_range(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	bpf_arena_free_pages(&ctx->arena->map, (void *)(long)ctx->uaddr, 2);
}

static void store_to_user(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	u64 val = 0x1111;

	while (!READ_ONCE(ctx->stop)) {
		if (copy_to_user((void __user *)ctx->uaddr, &val, sizeof(val)))
			WRITE_ONCE(ctx->faults, ctx->faults + 1);
		else
			WRITE_ONCE(ctx->stores, ctx->stores + 1);
		cond_resched();
	}
}

static void store_to_kernel(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	u64 val = 0x2222;

	while (!READ_ONCE(ctx->stop)) {
		if (copy_to_kernel_nofault(ctx->kaddr, &val, sizeof(val)))
			WRITE_ONCE(ctx->faults, ctx->faults + 1);
		else
			WRITE_ONCE(ctx->stores, ctx->stores + 1);
		cond_resched();
	}
}

/* mm/vma.h */
int __vm_munmap(unsigned long start, size_t len, bool unlock);

/* As munmap(2) does, and vm_munmap() does not: with mmap_lock downgraded */
static void unmap_arena(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	KUNIT_EXPECT_EQ(test, __vm_munmap(ctx->arena->user_vm_start, TEST_PAGES * PAGE_SIZE,
					  true), 0);
}

/* munmap() calls this with the VMA gone, the PTEs there and mmap_lock downgraded */
static int unmap_notified(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct window_ctx *ctx = container_of(mn, struct window_ctx, mn);

	if (range->event == MMU_NOTIFY_UNMAP && current == ctx->holder.task)
		hold_up(ctx);
	return 0;
}

static const struct mmu_notifier_ops unmap_notifier_ops = {
	.invalidate_range_start = unmap_notified,
};

/* exit_mmap() begins with this */
static void exit_notified(struct mmu_notifier *mn, struct mm_struct *mm)
{
	hold_up(container_of(mn, struct window_ctx, mn));
}

static const struct mmu_notifier_ops exit_notifier_ops = {
	.release = exit_notified,
};

static void put_mm(struct kunit *test)
{
	mmput(ctx_of(test)->exiting);
}

/* ---- steps that the tests share ---- */

static void stop_writer(struct kunit *test)
{
	WRITE_ONCE(ctx_of(test)->stop, true);
	join(test, &ctx_of(test)->writer);
}

static bool has_grown(unsigned long *count, unsigned long from)
{
	for (int i = 0; i < 200 && READ_ONCE(*count) == from; i++)
		msleep(10);
	return READ_ONCE(*count) != from;
}

/* An object that has a page for itself */
static void alloc_object(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	ctx->cache = bpf_arena_cache_create(&ctx->arena->map, "window", PAGE_SIZE, 0, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->cache);
	/* Pages that are given up wait for the test's own worker */
	disable_work_sync(&ctx->arena->slabs->work);
	ctx->kaddr = bpf_arena_cache_alloc(ctx->cache, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->kaddr);
	ctx->uaddr = bpf_arena_cache_uaddr(ctx->cache, ctx->kaddr);
}

static u32 object_pgoff(struct window_ctx *ctx)
{
	return compute_pgoff(ctx->arena, ctx->uaddr);
}

static void give_up_object(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	bpf_arena_cache_free(ctx->cache, ctx->kaddr);
	kmem_cache_shrink(ctx->cache->s);
	KUNIT_EXPECT_FALSE(test, llist_empty(&ctx->arena->slabs->dead));
}

static void map_arena(struct kunit *test)
{
	test_arena_mmap(test, ctx_of(test)->arena);
	/* For the exit, which runs in another thread */
	mmget(current->mm);
	ctx_of(test)->mm = current->mm;
}

static void wait_reached(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, wait_for_completion_timeout(&ctx_of(test)->reached, WAIT));
}

static void expect_worker_waits(struct kunit *test)
{
	msleep(300);
	KUNIT_EXPECT_FALSE(test, ctx_of(test)->freeing);
}

static void finish(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	complete(&ctx->go);
	join(test, &ctx->holder);
	join(test, &ctx->worker);
	KUNIT_EXPECT_TRUE(test, ctx->freeing);
	KUNIT_EXPECT_EQ(test, ctx->stores_while_freeing, 0);
	stop_writer(test);
}

/* ---- tests ---- */

/* Another thread of the process stores to the page while munmap() is half-way */
static void munmap_window_keeps_the_page(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	unsigned long stores;

	alloc_object(test);
	map_arena(test);
	start(test, &ctx->writer, store_to_user, ctx->mm, 1);
	KUNIT_EXPECT_TRUE(test, has_grown(&ctx->stores, 0));
	ctx->mn.ops = &unmap_notifier_ops;
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&ctx->mn, ctx->mm), 0);

	start(test, &ctx->holder, unmap_arena, ctx->mm, -1);
	wait_reached(test);
	stores = READ_ONCE(ctx->stores);
	give_up_object(test);
	start(test, &ctx->worker, run_worker, NULL, -1);
	expect_worker_waits(test);
	/* else there was no window, and the test says nothing */
	KUNIT_EXPECT_TRUE(test, has_grown(&ctx->stores, stores));
	finish(test);
	KUNIT_EXPECT_GT(test, ctx->faults, 0);
	mmu_notifier_unregister(&ctx->mn, ctx->mm);
}

/* The last user of an mm has gone, its PTEs have not: a device that shares it may store */
static void exiting_process_is_unmapped(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	struct mm_struct *mm = mm_alloc();
	u64 val = 1;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	alloc_object(test);
	kthread_use_mm(mm);
	test_arena_mmap(test, ctx->arena);
	KUNIT_EXPECT_EQ(test, copy_to_user((void __user *)ctx->uaddr, &val, sizeof(val)), 0);
	kthread_unuse_mm(mm);
	ctx->exiting = mm;
	KUNIT_EXPECT_TRUE(test, user_pte_present(ctx));
	ctx->mn.ops = &exit_notifier_ops;
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&ctx->mn, mm), 0);

	start(test, &ctx->holder, put_mm, NULL, -1);
	wait_reached(test);
	/* else exit_mmap() was here first, and the test says nothing */
	KUNIT_EXPECT_TRUE(test, user_pte_present(ctx));
	give_up_object(test);
	start(test, &ctx->worker, run_worker, NULL, -1);
	join(test, &ctx->worker);
	KUNIT_EXPECT_TRUE(test, ctx->freeing);
	KUNIT_EXPECT_FALSE(test, ctx->mapped_while_freeing);
	finish(test);
	mmu_notifier_unregister(&ctx->mn, mm);
}

/* A user fault has found the page, which is then given up */
static void fault_in_flight_keeps_the_page(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	alloc_object(test);
	map_arena(test);
	ctx->hold = ARENA_WINDOW_FAULT;
	/* The writer is the one who is held up, at its first store */
	start(test, &ctx->holder, store_to_user, ctx->mm, 1);
	wait_reached(test);
	give_up_object(test);
	start(test, &ctx->worker, run_worker, NULL, -1);
	expect_worker_waits(test);
	KUNIT_EXPECT_EQ(test, ctx->stores, 0);

	complete(&ctx->go);
	join(test, &ctx->worker);
	WRITE_ONCE(ctx->stop, true);
	join(test, &ctx->holder);
	KUNIT_EXPECT_TRUE(test, ctx->freeing);
	/* The late mapping is gone; whether a store made it in between is luck */
	KUNIT_EXPECT_EQ(test, ctx->stores_while_freeing, 0);
}

/* An ordinary page has the reference of the fault, and stays; but not where it was */
static void fault_in_flight_hides_no_page(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	struct bpf_map *map = &ctx->arena->map;
	void *p = bpf_arena_alloc_pages_sleepable(map, NULL, 1, NUMA_NO_NODE, 0);

	KUNIT_ASSERT_NOT_NULL(test, p);
	ctx->uaddr = (u64)(long)p;
	ctx->kaddr = test_arena_kaddr(ctx->arena, ctx->uaddr);
	map_arena(test);
	ctx->hold = ARENA_WINDOW_FAULT;
	start(test, &ctx->holder, store_to_user, ctx->mm, 1);
	wait_reached(test);
	bpf_arena_free_pages(map, p, 1);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(ctx->kaddr));
	KUNIT_EXPECT_PTR_EQ(test, bpf_arena_alloc_pages_sleepable(map, p, 1, NUMA_NO_NODE, 0), p);

	complete(&ctx->go);
	KUNIT_EXPECT_TRUE(test, has_grown(&ctx->stores, 0));
	WRITE_ONCE(ctx->stop, true);
	join(test, &ctx->holder);
	KUNIT_EXPECT_EQ(test, *(u64 *)ctx->kaddr, 0x1111);
	bpf_arena_free_pages(map, p, 1);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
}

static vm_fault_t fault_as_user(struct kunit *test, u64 uaddr)
{
	struct vm_area_struct *vma;
	vm_fault_t ret = VM_FAULT_ERROR;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, uaddr);
	if (vma)
		ret = handle_mm_fault(vma, uaddr, FAULT_FLAG_USER | FAULT_FLAG_WRITE, NULL);
	mmap_read_unlock(current->mm);
	return ret;
}

/* As MADV_DONTNEED does, so that the next access faults */
static void zap_user_pte(struct kunit *test)
{
	struct vm_area_struct *vma;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, ctx_of(test)->uaddr);
	if (vma)
		zap_vma_range(vma, ctx_of(test)->uaddr, PAGE_SIZE);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_NOT_NULL(test, vma);
}

/* While the place of @ctx->uaddr is in the dying window */
static void expect_no_page_appears(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	u64 val = 1;

	KUNIT_EXPECT_NULL(test, vmalloc_to_page(ctx->kaddr));
	/* the kernel on behalf of a process: an error, no loop */
	KUNIT_EXPECT_EQ(test, copy_to_user((void __user *)ctx->uaddr, &val, sizeof(val)),
			sizeof(val));
	/* user space: tries again */
	KUNIT_EXPECT_EQ(test, fault_as_user(test, ctx->uaddr), VM_FAULT_NOPAGE);
	/* a program that asks for exactly this place */
	KUNIT_EXPECT_NULL(test, bpf_arena_alloc_pages_sleepable(&ctx->arena->map,
								(void *)(long)ctx->uaddr, 1,
								NUMA_NO_NODE, 0));
	/* or frees it */
	bpf_arena_free_pages(&ctx->arena->map, (void *)(long)ctx->uaddr, 1);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(ctx->kaddr));
}

/* Afterwards it is as good as any */
static void expect_usable(struct kunit *test, u32 pages)
{
	struct window_ctx *ctx = ctx_of(test);
	u64 nr_pages = ctx->arena->nr_pages, val = 1;
	void *uaddr = (void *)(long)ctx->uaddr;

	KUNIT_EXPECT_PTR_EQ(test, uaddr,
			    bpf_arena_alloc_pages_sleepable(&ctx->arena->map, uaddr, pages,
							    NUMA_NO_NODE, 0));
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, nr_pages + pages);
	KUNIT_EXPECT_EQ(test, copy_to_user((void __user *)ctx->uaddr, &val, sizeof(val)), 0);
	KUNIT_EXPECT_EQ(test, *(u64 *)ctx->kaddr, 1);
	bpf_arena_free_pages(&ctx->arena->map, uaddr, pages);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, nr_pages);
}

static void dying_slab_is_not_resurrected(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	u64 val = 1;

	alloc_object(test);
	map_arena(test);
	KUNIT_EXPECT_EQ(test, copy_to_user((void __user *)ctx->uaddr, &val, sizeof(val)), 0);
	give_up_object(test);

	ctx->hold = ARENA_WINDOW_UNMAPPED;
	start(test, &ctx->holder, run_worker, NULL, -1);
	wait_reached(test);
	KUNIT_EXPECT_EQ(test, arena_slot(ctx->arena, object_pgoff(ctx)), ARENA_SLOT_DYING);
	/* The process still has its mapping: of the old page, which is not freed */
	KUNIT_EXPECT_EQ(test, copy_to_user((void __user *)ctx->uaddr, &val, sizeof(val)), 0);
	zap_user_pte(test);
	expect_no_page_appears(test);
	complete(&ctx->go);
	join(test, &ctx->holder);

	KUNIT_EXPECT_EQ(test, arena_slot(ctx->arena, object_pgoff(ctx)), 0);
	expect_usable(test, 1);
}

static void dying_range_is_not_resurrected(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	void *p = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, NULL, 2, NUMA_NO_NODE, 0);

	KUNIT_ASSERT_NOT_NULL(test, p);
	ctx->uaddr = (u64)(long)p;
	ctx->kaddr = test_arena_kaddr(ctx->arena, ctx->uaddr);
	map_arena(test);
	ctx->hold = ARENA_WINDOW_UNMAPPED;
	start(test, &ctx->holder, free_range, NULL, -1);
	wait_reached(test);
	expect_no_page_appears(test);
	complete(&ctx->go);
	join(test, &ctx->holder);
	expect_usable(test, 2);
}

/*
 * An allocation that may not sleep meets scratch: the range that it has taken waits for
 * the worker. Here it has another page behind the one with scratch.
 */
static void scratch_that_waits_is_not_resurrected(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	u64 scratch = TEST_USER_START + 4 * PAGE_SIZE;

	map_arena(test);
	disable_work_sync(&ctx->arena->free_work);
	KUNIT_ASSERT_TRUE(test, arena_map_scratch(ctx->arena,
						  (long)test_arena_kaddr(ctx->arena, scratch)));
	KUNIT_EXPECT_NULL(test, bpf_arena_alloc_pages_non_sleepable(&ctx->arena->map,
								    (void *)(long)scratch, 2,
								    NUMA_NO_NODE, 0));
	ctx->uaddr = scratch + PAGE_SIZE;
	ctx->kaddr = test_arena_kaddr(ctx->arena, ctx->uaddr);
	expect_no_page_appears(test);

	irq_work_sync(&ctx->arena->free_irq);
	enable_and_queue_work(system_dfl_wq, &ctx->arena->free_work);
	flush_work(&ctx->arena->free_work);
	ctx->uaddr = scratch;
	ctx->kaddr = test_arena_kaddr(ctx->arena, ctx->uaddr);
	expect_usable(test, 2);
}

/* CPU 1 has the kernel's translation and uses it as long as it can */
static void slab_is_out_of_tlbs_when_freed(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);

	alloc_object(test);
	start(test, &ctx->writer, store_to_kernel, NULL, 1);
	KUNIT_EXPECT_TRUE(test, has_grown(&ctx->stores, 0));
	give_up_object(test);
	start(test, &ctx->worker, run_worker, NULL, 0);
	finish(test);
	KUNIT_EXPECT_GT(test, ctx->faults, 0);
}

static void range_is_out_of_tlbs_when_freed(struct kunit *test)
{
	struct window_ctx *ctx = ctx_of(test);
	void *p = bpf_arena_alloc_pages_sleepable(&ctx->arena->map, NULL, 2, NUMA_NO_NODE, 0);

	KUNIT_ASSERT_NOT_NULL(test, p);
	ctx->uaddr = (u64)(long)p;
	ctx->kaddr = test_arena_kaddr(ctx->arena, ctx->uaddr);
	start(test, &ctx->writer, store_to_kernel, NULL, 1);
	KUNIT_EXPECT_TRUE(test, has_grown(&ctx->stores, 0));
	start(test, &ctx->worker, free_range, NULL, 0);
	finish(test);
	KUNIT_EXPECT_GT(test, ctx->faults, 0);
}

static int window_init(struct kunit *test)
{
	struct window_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return -ENOMEM;
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	init_completion(&ctx->reached);
	init_completion(&ctx->go);
	ctx->arena = test_arena_create(TEST_PAGES, TEST_USER_START, 0);
	if (!ctx->arena)
		return -ENOMEM;
	test->priv = ctx;
	kunit_activate_static_stub(test, arena_window, at_window);
	return 0;
}

static void window_exit(struct kunit *test)
{
	struct window_ctx *ctx = test->priv;

	if (!ctx)
		return;
	/* Where an assertion left threads behind */
	complete_all(&ctx->go);
	WRITE_ONCE(ctx->stop, true);
	join(test, &ctx->holder);
	join(test, &ctx->worker);
	join(test, &ctx->writer);
	kunit_deactivate_static_stub(test, arena_window);

	if (ctx->mm) {
		kthread_use_mm(ctx->mm);
		vm_munmap(ctx->arena->user_vm_start, TEST_PAGES * PAGE_SIZE);
		kthread_unuse_mm(ctx->mm);
		mmput(ctx->mm);
	}
	/* What the writer has faulted in when all was over */
	bpf_arena_free_pages(&ctx->arena->map, (void *)ctx->arena->user_vm_start, TEST_PAGES);
	if (ctx->cache) {
		enable_work(&ctx->arena->slabs->work);
		bpf_arena_cache_destroy(ctx->cache);
	}
	test_arena_put_by_others(test, ctx->arena);
	KUNIT_EXPECT_EQ(test, ctx->arena->nr_pages, 0);
	test_arena_destroy(ctx->arena);
}

static struct kunit_case window_cases[] = {
	KUNIT_CASE(munmap_window_keeps_the_page),
	KUNIT_CASE(exiting_process_is_unmapped),
	KUNIT_CASE(fault_in_flight_keeps_the_page),
	KUNIT_CASE(fault_in_flight_hides_no_page),
	KUNIT_CASE(dying_slab_is_not_resurrected),
	KUNIT_CASE(dying_range_is_not_resurrected),
	KUNIT_CASE(scratch_that_waits_is_not_resurrected),
	KUNIT_CASE(slab_is_out_of_tlbs_when_freed),
	KUNIT_CASE(range_is_out_of_tlbs_when_freed),
	{}
};

static struct kunit_suite window_suite = {
	.name = "bpf_arena_window",
	.init = window_init,
	.exit = window_exit,
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);

MODULE_DESCRIPTION("KUnit tests of arena pages between two owners");
MODULE_LICENSE("GPL");
