/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites of bpf_arena_*_kunit.c share: an arena without a file, its PTEs, its
 * programs, and another CPU. Nothing of kernel/bpf/arena.h is used here, so that
 * bpf_arena_page also builds on a kernel that has no such file.
 */
#ifndef LIB_TESTS_BPF_ARENA_KUNIT_H
#define LIB_TESTS_BPF_ARENA_KUNIT_H

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/anon_inodes.h>
#include <linux/bpf.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <asm/tlbflush.h>

/* Page aligned; the range must not cross 4 GiB. Low half not 0, as mmap() picks it */
#define TEST_USER_START		0x10026200000ull

extern const struct bpf_map_ops arena_map_ops;

/* The kfunc; only BTF knows it */
void bpf_arena_free_pages(void *p__map, void *ptr__ign, u32 page_cnt);

/* The map is the first member of struct bpf_arena */
static inline struct bpf_map *test_arena_map(struct bpf_arena *arena)
{
	return (struct bpf_map *)arena;
}

/* What map_create() does for a map with a file descriptor */
static inline struct bpf_arena *test_arena_create(u32 pages, u64 user_start, u32 flags)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARENA,
		.map_flags = BPF_F_MMAPABLE | flags,
		.max_entries = pages,
		.map_extra = user_start,
	};
	struct bpf_map *map = arena_map_ops.map_alloc(&attr);

	if (IS_ERR(map))
		return NULL;
	map->ops = &arena_map_ops;
	atomic64_set(&map->refcnt, 1);
	atomic64_set(&map->usercnt, 1);
	mutex_init(&map->freeze_mutex);
	spin_lock_init(&map->owner_lock);
	return (struct bpf_arena *)map;
}

/*
 * Until the references of others to the map are gone. Those of a mapping lag behind: a
 * test's mm ends with its thread, when the cleanup may already have begun, and the file
 * after it. Those of caches are dropped by the worker.
 */
static inline void test_arena_put_by_others(struct kunit *test, struct bpf_arena *arena)
{
	atomic64_t *refcnt = &test_arena_map(arena)->refcnt;

	for (int i = 0; i < 200 && atomic64_read(refcnt) > 1; i++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, atomic64_read(refcnt), 1);
}

/* map_free() at once; every other reference is gone */
static inline void test_arena_destroy(struct bpf_arena *arena)
{
	migrate_disable();
	arena_map_ops.map_free(test_arena_map(arena));
	migrate_enable();
}

/* map_free() when every other reference is gone */
static inline void test_arena_release(struct kunit *test, struct bpf_arena *arena)
{
	test_arena_put_by_others(test, arena);
	test_arena_destroy(arena);
}

static inline void *test_arena_kaddr(struct bpf_arena *arena, u64 uaddr)
{
	return (void *)bpf_arena_get_kern_vm_start(arena) + (u32)uaddr;
}

/* Map so many pages of the arena into this kthread, as a process does; where is mmap()'s say */
static inline unsigned long test_arena_mmap_near(struct kunit *test, struct bpf_arena *arena,
						 unsigned long hint, unsigned long pages,
						 unsigned long flags)
{
	struct bpf_map *map = test_arena_map(arena);
	unsigned long addr;
	struct file *file;

	bpf_map_inc_with_uref(map);
	file = anon_inode_getfile("bpf-map", &bpf_map_fops, map, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	addr = kunit_vm_mmap(test, file, hint, pages << PAGE_SHIFT, PROT_READ | PROT_WRITE,
			     MAP_SHARED | flags, 0);
	/* The mapping has a reference of its own */
	fput(file);
	return addr;
}

/* The same at the arena's address */
static inline unsigned long test_arena_mmap_pages(struct kunit *test, struct bpf_arena *arena,
						  unsigned long pages)
{
	unsigned long start = bpf_arena_get_user_vm_start(arena), addr;

	addr = test_arena_mmap_near(test, arena, start, pages, MAP_FIXED_NOREPLACE);
	KUNIT_ASSERT_EQ(test, addr, start);
	return addr;
}

static inline unsigned long test_arena_mmap(struct kunit *test, struct bpf_arena *arena)
{
	return test_arena_mmap_pages(test, arena, test_arena_map(arena)->max_entries);
}

/* ---- PTEs ---- */

static inline int test_arena_pte_cb(pte_t *pte, unsigned long addr, void *data)
{
	*(pte_t **)data = pte;
	return 0;
}

/* The kernel's, at an address of an arena's page */
static inline pte_t *test_arena_pte(struct kunit *test, void *kaddr)
{
	pte_t *pte = NULL;

	KUNIT_ASSERT_EQ(test, 0, apply_to_page_range(&init_mm, (unsigned long)kaddr, PAGE_SIZE,
						     test_arena_pte_cb, &pte));
	KUNIT_ASSERT_NOT_NULL(test, pte);
	return pte;
}

static inline void test_arena_clear_pte(pte_t *pte, void *kaddr)
{
	ptep_get_and_clear(&init_mm, (unsigned long)kaddr, pte);
	flush_tlb_kernel_range((unsigned long)kaddr, (unsigned long)kaddr + PAGE_SIZE);
}

/*
 * Two CPUs meet at an address: one faults, the other maps a page there. A probe in
 * the first step of fault handling does what the other CPU does, so that the two
 * meet for certain: the page comes after the fault and before anybody looks.
 */
struct test_arena_race {
	struct kprobe kp;
	struct task_struct *task;
	pte_t *pte;
	struct page *page;
	unsigned int installed;
};

static inline int test_arena_race_probe(struct kprobe *kp, struct pt_regs *regs)
{
	struct test_arena_race *r = container_of(kp, struct test_arena_race, kp);

	if (current == READ_ONCE(r->task))
		r->installed += ptep_try_set(r->pte, mk_pte(r->page, PAGE_KERNEL));
	return 0;
}

/* It begins when the caller sets @r->task; unregister_kprobe() ends it */
static inline void test_arena_race_init(struct kunit *test, struct test_arena_race *r,
					void *kaddr, struct page *page)
{
	*r = (struct test_arena_race) {
		.kp = { .symbol_name = "fixup_exception", .pre_handler = test_arena_race_probe },
		.pte = test_arena_pte(test, kaddr),
		.page = page,
	};
	KUNIT_ASSERT_EQ(test, register_kprobe(&r->kp), 0);
}

/* ---- programs ---- */

static noinline u64 __test_arena_touch(u64 addr)
{
	WRITE_ONCE(*(u64 *)addr, 0x5c5c);
	return READ_ONCE(*(u64 *)addr);
}

/*
 * What a kfunc does with a bad pointer of a program's. Not in a leaf function: on
 * arm64 that has no frame record, and its caller, the program, would not be found.
 */
static noinline __maybe_unused u64 test_arena_touch(u64 addr, u64 r2, u64 r3, u64 r4, u64 r5)
{
	u64 ret = __test_arena_touch(addr);

	/* No tail call */
	barrier();
	return ret;
}

/*
 * A JITed program of @arena that calls @fn(arg1) with the program on the stack,
 * as a kfunc is called, but without the verifier.
 */
static inline struct bpf_prog *test_arena_prog(struct kunit *test, struct bpf_arena *arena,
					       u64 (*fn)(u64, u64, u64, u64, u64), u64 arg)
{
	struct bpf_insn insns[] = {
		BPF_LD_IMM64(BPF_REG_1, arg),
		BPF_EMIT_CALL(fn),
		BPF_EXIT_INSN(),
	};
	struct bpf_prog *prog = bpf_prog_alloc(bpf_prog_size(ARRAY_SIZE(insns)), 0);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, prog);
	memcpy(prog->insnsi, insns, sizeof(insns));
	prog->len = ARRAY_SIZE(insns);
	prog->type = BPF_PROG_TYPE_SYSCALL;
	prog->aux->arena = arena;
	prog->aux->stack_depth = 0;
	prog->aux->main_prog_aux = prog->aux;
	prog->jit_requested = 1;
	strscpy(prog->aux->name, "arena_kunit");
	prog = bpf_prog_select_runtime(prog, &err);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_ASSERT_TRUE(test, prog->jited);
	bpf_prog_kallsyms_add(prog);
	return prog;
}

static inline u32 test_arena_prog_run(struct bpf_prog *prog)
{
	u32 ret;

	rcu_read_lock();
	ret = bpf_prog_run_pin_on_cpu(prog, NULL);
	rcu_read_unlock();
	return ret;
}

static inline void test_arena_prog_free(struct bpf_prog *prog)
{
	bpf_prog_kallsyms_del_all(prog);
	synchronize_rcu();
	bpf_prog_stream_free(prog);
	bpf_prog_free(prog);
}

static inline unsigned int test_arena_prog_reports(struct bpf_prog *prog)
{
	struct llist_node *n = READ_ONCE(prog->aux->stream[BPF_STDERR - 1].log.first);
	unsigned int nr = 0;

	for (; n; n = n->next)
		nr++;
	return nr;
}

/* Skips a test in which a program on the stack has to be found */
static inline void test_arena_needs_stack_walk(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_X86_64) && !IS_ENABLED(CONFIG_UNWINDER_ORC))
		kunit_skip(test, "no program is found on the stack without ORC");
}

/* ---- another CPU ---- */

/* The caller stays on the first CPU, and ends the thread by kthread_stop_put() */
static inline struct task_struct *test_arena_other_cpu(struct kunit *test, int (*fn)(void *),
						       void *data)
{
	struct task_struct *t;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	t = kthread_create(fn, data, "arena-kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	get_task_struct(t);
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_nth(0, cpu_online_mask)));
	kthread_bind(t, cpumask_nth(1, cpu_online_mask));
	wake_up_process(t);
	return t;
}

#endif
