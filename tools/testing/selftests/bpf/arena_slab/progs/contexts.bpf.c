// SPDX-License-Identifier: GPL-2.0
/*
 * The kfuncs where a program may not sleep. Sleepable programs with sections that
 * may not are tests of their own; the others are attached by contexts.c, which
 * looks at the counters of the context afterwards.
 */
#define ARENA_PAGES	256
#include "common.bpf.h"

struct timed {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct timed);
} timers SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct locked);
} locks SEC(".maps");

static struct locked *find_lock(void)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&locks, &key);
}

/* Whether the arena's slab grows without sleeping: with a class nobody used yet */
static __noinline int use(u32 size)
{
	u8 __arena *p = alloc(size);

	CHECK(p);
	TRY(verify_zero(p, size));
	fill(p, size, size);
	TRY(verify(p, size, size));
	release(p);
	return 0;
}

TEST(rcu, "alloc and free under rcu_read_lock(), small and large")
{
	int err;

	bpf_rcu_read_lock();
	err = use(200) ?: use(3000) ?: use(10000);
	bpf_rcu_read_unlock();
	return err;
}

TEST(preempt_off, "alloc and free with preemption disabled")
{
	int err;

	bpf_preempt_disable();
	err = use(40) ?: use(800) ?: use(9000);
	bpf_preempt_enable();
	return err;
}

TEST(irq_off, "alloc and free with interrupts disabled")
{
	unsigned long flags;
	int err;

	bpf_local_irq_save(&flags);
	err = use(70) ?: use(1500) ?: use(9000);
	bpf_local_irq_restore(&flags);
	return err;
}

TEST(spin_lock, "alloc and free under bpf_spin_lock()")
{
	struct locked *l = find_lock();
	u8 __arena *p, *q;

	if (!l)
		return __LINE__;
	/* Without the loops of use(): iterators are not allowed under this lock */
	bpf_spin_lock(&l->lock);
	p = alloc(100);
	q = alloc(5000);
	if (p)
		*(u64 __arena *)p = 1;
	if (q)
		*(u64 __arena *)q = 2;
	bpf_spin_unlock(&l->lock);
	CHECK(p);
	CHECK(q);
	CHECK_EQ(*(u64 __arena *)p, 1);
	CHECK_EQ(*(u64 __arena *)q, 2);
	bpf_spin_lock(&l->lock);
	release(p);
	release(q);
	bpf_spin_unlock(&l->lock);
	return 0;
}

struct res_locked {
	struct bpf_res_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct res_locked);
} res_locks SEC(".maps");

TEST(res_spin_lock, "alloc and free under bpf_res_spin_lock()")
{
	struct res_locked *l;
	u8 __arena *p, *q;
	u32 key = 0;

	l = bpf_map_lookup_elem(&res_locks, &key);
	if (!l)
		return __LINE__;
	if (bpf_res_spin_lock(&l->lock))
		return __LINE__;
	p = alloc(120);
	q = alloc(6000);
	if (p)
		*(u64 __arena *)p = 1;
	if (q)
		*(u64 __arena *)q = 2;
	bpf_res_spin_unlock(&l->lock);
	CHECK(p);
	CHECK(q);
	CHECK_EQ(*(u64 __arena *)p, 1);
	CHECK_EQ(*(u64 __arena *)q, 2);
	if (bpf_res_spin_lock(&l->lock))
		return __LINE__;
	release(p);
	release(q);
	bpf_res_spin_unlock(&l->lock);
	return 0;
}

static u32 looped;

static int loop_callback(u64 i, void *ctx)
{
	looped += !use(16 + 8 * (i % 200));
	return 0;
}

TEST(loop, "alloc and free in the callback of bpf_loop()")
{
	touch_arena();
	CHECK_EQ(bpf_loop(100, loop_callback, NULL, 0), 100);
	CHECK_EQ(looped, 100);
	return 0;
}

static int elem_callback(struct bpf_map *map, u32 *key, struct locked *val, void *ctx)
{
	looped += !(use(500) ?: use(30) ?: use(5000));
	return 0;
}

TEST(for_each_map_elem, "alloc and free in the callback of bpf_for_each_map_elem()")
{
	touch_arena();
	CHECK_EQ(bpf_for_each_map_elem(&locks, elem_callback, NULL, 0), 1);
	CHECK_EQ(looped, 1);
	return 0;
}

TEST(sleepable_then_not, "a call site that may sleep, followed by one that may not")
{
	u8 __arena *p = alloc(64), *q;

	release(p);
	bpf_rcu_read_lock();
	q = alloc(64);
	release(q);
	bpf_rcu_read_unlock();
	CHECK(p);
	CHECK(q);
	return 0;
}

TEST(not_then_sleepable, "a call site that may not sleep, followed by one that may")
{
	u8 __arena *p, *q;

	bpf_rcu_read_lock();
	q = alloc(64);
	release(q);
	bpf_rcu_read_unlock();
	p = alloc(64);
	release(p);
	CHECK(p);
	CHECK(q);
	return 0;
}

/*
 * These two use what any kernel with arenas has, one kfunc at both kinds of call site
 * and the other at one only: a kernel with one variant a call site does not load them.
 */
TEST(alloc_pages_sleepable_then_not, "the same with bpf_arena_alloc_pages()")
{
	u8 __arena *p = alloc_page_at(NULL), *q;

	bpf_rcu_read_lock();
	q = alloc_page_at(NULL);
	bpf_rcu_read_unlock();
	CHECK(p);
	CHECK(q);
	CHECK_OP(p, !=, q);
	bpf_arena_free_pages(&arena, (void __arena *)
			     ((struct bpf_arena *)(void *)&arena)->user_vm_start, ARENA_PAGES);
	return 0;
}

TEST(free_pages_sleepable_then_not, "the same with bpf_arena_free_pages()")
{
	u64 end = bpf_ktime_get_ns() + 20 * SEC_NS;
	u8 __arena *p, *q = NULL;
	u32 i;

	p = bpf_arena_alloc_pages(&arena, NULL, 2, NUMA_NO_NODE, 0);
	CHECK(p);
	bpf_arena_free_pages(&arena, (void __arena *)p, 1);
	bpf_rcu_read_lock();
	bpf_arena_free_pages(&arena, (void __arena *)(p + PAGE_SIZE), 1);
	bpf_rcu_read_unlock();
	/* Both places can be had again, as soon as the worker was there */
	bpf_for(i, 0, BPF_MAX_LOOPS) {
		q = bpf_arena_alloc_pages(&arena, (void __arena *)p, 2, NUMA_NO_NODE, 0);
		if (q || bpf_ktime_get_ns() > end)
			break;
	}
	CHECK_EQ((u64)q, (u64)p);
	return 0;
}

struct buffer {
	u8 bytes[64];
};

/* One call site each: the second one has to read without sleeping */
static __always_inline int read_file(struct file *file, struct buffer *buf)
{
	struct bpf_dynptr dynptr;
	int err;

	err = bpf_dynptr_from_file(file, 0, &dynptr);
	if (!err)
		err = bpf_dynptr_read(buf, sizeof(*buf), &dynptr, 0, 0);
	bpf_dynptr_file_discard(&dynptr);
	return err;
}

TEST(file_sleepable_then_not, "the same with bpf_dynptr_from_file(): a file that is cached")
{
	struct bpf_iter_task_vma it;
	struct vm_area_struct *vma;
	struct buffer a = {}, b = {};
	int err = -1, err2 = -1;

	bpf_iter_task_vma_new(&it, bpf_get_current_task_btf(), 0);
	while ((vma = bpf_iter_task_vma_next(&it))) {
		struct file *file = vma->vm_file;

		if (!file)
			continue;
		err = read_file(file, &a);
		bpf_rcu_read_lock();
		err2 = read_file(file, &b);
		bpf_rcu_read_unlock();
		break;
	}
	bpf_iter_task_vma_destroy(&it);
	CHECK_EQ(err, 0);
	CHECK_EQ(err2, 0);
	/* this program is an ELF file */
	CHECK_EQ(*(u32 *)a.bytes, 0x464c457f);
	CHECK_EQ(*(u32 *)b.bytes, 0x464c457f);
	return 0;
}

/* ---- attached by contexts.c ---- */

#define NR_KEPT	8

/* What one context did; one for each program, on one CPU at a time or by accident */
struct context {
	u64 runs;
	u64 allocs;
	u64 failed;	/* bpf_arena_alloc() returned NULL: allowed here, but not always */
	u64 bad;	/* an object that was not zero, or that changed */
	u64 busy;	/* on another CPU just now */
	u64 lock;
	u64 next;
	u64 kept[NR_KEPT];
};

struct context tracepoint, fentry_prog, kprobe_prog, perf_prog, timer_prog;
struct context raw_tp_prog, tp_prog, fentry_sleepable, fexit_prog, kretprobe_prog, uprobe_prog;
struct context uprobe_sleepable, iter_prog, iter_sleepable, wq_prog, task_work_prog, xdp_prog;
struct context ops_prog, ops_sleepable;
s32 my_pid;

/* Two words that tell whose it is: contexts interrupt each other. Each has its size. */
static __always_inline void churn(struct context *c, u32 size)
{
	u64 mark = 0x5a5a5a5a00000000 | size;
	u64 __arena *p, *old;
	u64 i;

	if (__sync_lock_test_and_set(&c->lock, 1)) {
		__sync_fetch_and_add(&c->busy, 1);
		return;
	}
	c->runs++;
	i = c->next++ % NR_KEPT;
	old = (u64 __arena *)c->kept[i];
	if (old) {
		if (old[0] != mark || old[1] != ~mark)
			c->bad++;
		bpf_arena_free(&arena, (void __arena *)old);
	}
	p = (u64 __arena *)alloc(size);
	c->kept[i] = (u64)p;
	if (!p) {
		c->failed++;
	} else {
		c->allocs++;
		if (p[0] || p[1])
			c->bad++;
		p[0] = mark;
		p[1] = ~mark;
	}
	__sync_lock_test_and_set(&c->lock, 0);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	churn(&tracepoint, 48);
	return 0;
}

SEC("fentry/hrtimer_nanosleep")
int BPF_PROG(on_fentry)
{
	if ((s32)(bpf_get_current_pid_tgid() >> 32) == my_pid)
		churn(&fentry_prog, 300);
	return 0;
}

SEC("kprobe/hrtimer_nanosleep")
int on_kprobe(struct pt_regs *ctx)
{
	if ((s32)(bpf_get_current_pid_tgid() >> 32) == my_pid)
		churn(&kprobe_prog, 1000);
	return 0;
}

static bool is_mine(void)
{
	return (s32)(bpf_get_current_pid_tgid() >> 32) == my_pid;
}

SEC("raw_tp/sched_switch")
int on_raw_tp(struct bpf_raw_tracepoint_args *ctx)
{
	churn(&raw_tp_prog, 33);
	return 0;
}

SEC("tp/sched/sched_switch")
int on_tp(void *ctx)
{
	churn(&tp_prog, 65);
	return 0;
}

#ifdef __TARGET_ARCH_arm64
#define SYSCALL(name) "__arm64_sys_" name
#else
#define SYSCALL(name) "__x64_sys_" name
#endif

SEC("fentry.s/" SYSCALL("clock_nanosleep"))
int BPF_PROG(on_fentry_sleepable)
{
	if (is_mine())
		churn(&fentry_sleepable, 400);
	return 0;
}

SEC("fexit/hrtimer_nanosleep")
int BPF_PROG(on_fexit)
{
	if (is_mine())
		churn(&fexit_prog, 5000);
	return 0;
}

SEC("kretprobe/hrtimer_nanosleep")
int on_kretprobe(struct pt_regs *ctx)
{
	if (is_mine())
		churn(&kretprobe_prog, 17);
	return 0;
}

/* context.c says where */
SEC("uprobe")
int on_uprobe(struct pt_regs *ctx)
{
	churn(&uprobe_prog, 129);
	return 0;
}

SEC("uprobe.s")
int on_uprobe_sleepable(struct pt_regs *ctx)
{
	churn(&uprobe_sleepable, 1025);
	return 0;
}

SEC("iter/task")
int on_iter(struct bpf_iter__task *ctx)
{
	churn(&iter_prog, 257);
	return 0;
}

SEC("iter.s/task")
int on_iter_sleepable(struct bpf_iter__task *ctx)
{
	churn(&iter_sleepable, 4097);
	return 0;
}

SEC("xdp")
int on_xdp(struct xdp_md *ctx)
{
	churn(&xdp_prog, 2049);
	return XDP_PASS;
}

/* Under the lock of a runqueue, with interrupts off */
SEC("struct_ops/on_running")
void BPF_PROG(on_running, struct task_struct *p)
{
	churn(&ops_prog, 700);
}

SEC("struct_ops.s/on_init_task")
s32 BPF_PROG(on_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	churn(&ops_sleepable, 90);
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops allocating = {
	.running = (void *)on_running,
	.init_task = (void *)on_init_task,
	.name = "allocating",
};

/* Callbacks that start themselves again; these two may sleep */

struct worked {
	struct bpf_wq wq;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct worked);
} works SEC(".maps");

bool stop_work;

static int wq_callback(void *map, int *key, void *value)
{
	struct worked *worked = value;

	churn(&wq_prog, 3000);
	if (!stop_work)
		bpf_wq_start(&worked->wq, 0);
	return 0;
}

SEC("syscall")
int start_wq(void *ctx)
{
	struct worked *worked;
	u32 key = 0;

	worked = bpf_map_lookup_elem(&works, &key);
	if (!worked)
		return __LINE__;
	if (bpf_wq_init(&worked->wq, &works, 0))
		return __LINE__;
	if (bpf_wq_set_callback(&worked->wq, wq_callback, 0))
		return __LINE__;
	return bpf_wq_start(&worked->wq, 0) ? __LINE__ : 0;
}

struct task_worked {
	struct bpf_task_work work;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct task_worked);
} task_works SEC(".maps");

static int task_work_callback(struct bpf_map *map, void *key, void *value)
{
	churn(&task_work_prog, 900);
	return 0;
}

/* From a program that may not sleep; the callback runs on the way back to user space */
SEC("fentry/hrtimer_nanosleep")
int BPF_PROG(on_fentry_task_work)
{
	struct task_worked *worked;
	u32 key = 0;

	if (!is_mine())
		return 0;
	worked = bpf_map_lookup_elem(&task_works, &key);
	if (worked)
		bpf_task_work_schedule_resume(bpf_get_current_task_btf(), &worked->work,
					      &task_works, task_work_callback);
	return 0;
}

/* The CPU clock: in hard interrupt context */
SEC("perf_event")
int on_perf(struct bpf_perf_event_data *ctx)
{
	churn(&perf_prog, 150);
	return 0;
}

static int timer_callback(void *map, u32 *key, struct timed *timed)
{
	churn(&timer_prog, 2000);
	bpf_timer_start(&timed->timer, MSEC, 0);
	return 0;
}

SEC("syscall")
int start_timer(void *ctx)
{
	struct timed *timed;
	u32 key = 0;

	/* A program has to name the arena itself, its callbacks do not count */
	touch_arena();
	timed = bpf_map_lookup_elem(&timers, &key);
	if (!timed)
		return __LINE__;
	if (bpf_timer_init(&timed->timer, &timers, 1 /* CLOCK_MONOTONIC */))
		return __LINE__;
	if (bpf_timer_set_callback(&timed->timer, timer_callback))
		return __LINE__;
	return bpf_timer_start(&timed->timer, 0, 0) ? __LINE__ : 0;
}

SEC("syscall")
int stop_timer(void *ctx)
{
	struct timed *timed;
	u32 key = 0;

	timed = bpf_map_lookup_elem(&timers, &key);
	if (timed)
		bpf_timer_cancel(&timed->timer);
	return 0;
}

/* Every object that the contexts still hold, after they were detached */
static __noinline int free_kept(struct context *c)
{
	u32 i;

	bpf_for(i, 0, NR_KEPT) {
		if (i >= NR_KEPT)
			break;
		release(c->kept[i]);
		c->kept[i] = 0;
	}
	return 0;
}

SEC("syscall")
int free_all(void *ctx)
{
	free_kept(&tracepoint);
	free_kept(&fentry_prog);
	free_kept(&kprobe_prog);
	free_kept(&perf_prog);
	free_kept(&timer_prog);
	free_kept(&raw_tp_prog);
	free_kept(&tp_prog);
	free_kept(&fentry_sleepable);
	free_kept(&fexit_prog);
	free_kept(&kretprobe_prog);
	free_kept(&uprobe_prog);
	free_kept(&uprobe_sleepable);
	free_kept(&iter_prog);
	free_kept(&iter_sleepable);
	free_kept(&wq_prog);
	free_kept(&task_work_prog);
	free_kept(&xdp_prog);
	free_kept(&ops_prog);
	free_kept(&ops_sleepable);
	return 0;
}

/* ---- two of these at once, by contexts.c ---- */

#define NR_PER_THREAD	64

u64 shared[2][NR_PER_THREAD];
u64 parallel_failed;

/*
 * One thread's round: half of the objects change. What is freed here may go to the
 * other thread at once, whose pattern is another.
 */
static __noinline int churn_round(u32 who, u32 round)
{
	u8 __arena *p;
	u32 i, size;

	bpf_for(i, 0, NR_PER_THREAD) {
		if (i >= NR_PER_THREAD)
			break;
		size = 16 << ((i + round) % 8);
		if ((i ^ round) & 1)
			continue;
		p = (u8 __arena *)shared[who & 1][i];
		if (p) {
			size = *(u64 __arena *)p;
			CHECK_OP(size, >=, 16);
			CHECK_OP(size, <=, 2048);
			TRY(verify(p + 8, size - 8, (u64)(who + 1) << 56 | (u64)i << 32));
			release(p);
			size = 16 << ((i + round) % 8);
		}
		p = alloc(size);
		shared[who & 1][i] = (u64)p;
		if (!p) {
			__sync_fetch_and_add(&parallel_failed, 1);
			continue;
		}
		TRY(verify_zero(p, size));
		*(u64 __arena *)p = size;
		fill(p + 8, size - 8, (u64)(who + 1) << 56 | (u64)i << 32);
	}
	return 0;
}

static __noinline int run_thread(u32 who)
{
	u64 end = bpf_ktime_get_ns() + SEC_NS;
	u32 round, i;

	bpf_for(round, 0, 1000000) {
		TRY(churn_round(who, round));
		if (bpf_ktime_get_ns() > end)
			break;
	}
	bpf_for(i, 0, NR_PER_THREAD) {
		if (i >= NR_PER_THREAD)
			break;
		release(shared[who & 1][i]);
	}
	return round > 10 ? 0 : __LINE__;
}

SEC("syscall")
int thread_0(void *ctx)
{
	return run_thread(0);
}

SEC("syscall")
int thread_1(void *ctx)
{
	return run_thread(1);
}
