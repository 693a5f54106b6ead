// SPDX-License-Identifier: GPL-2.0
/* The kfuncs in programs that are attached somewhere, and from two CPUs at once. */
#include <errno.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "arena_slab.h"

/* As in progs/contexts.bpf.c */
struct context {
	__u64 runs, allocs, failed, bad, busy;
};

/* Switches and sleeps for a second; nanosleep() is what fentry and kprobe wait for */
static void be_active(void)
{
	for (int i = 0; i < 500; i++)
		usleep(2000);
}

static bool is_preempt_rt(void)
{
	struct utsname uts;

	return !uname(&uts) && strstr(uts.version, "PREEMPT_RT");
}

static int check_context(struct bpf_object *obj, const char *name, bool hard_irq)
{
	struct context *c = find_var(obj, name);

	printf("# %s: %llu runs, %llu objects, %llu times none\n", name, c->runs, c->allocs,
	       c->failed);
	if (c->runs < 20)
		return FAIL("%s ran %llu times only", name, c->runs);
	if (c->bad)
		return FAIL("%s found %llu objects that were not zero or had changed", name,
			    c->bad);
	/* kmalloc_nolock() has nothing in interrupts that are none of PREEMPT_RT's threads */
	if (hard_irq && is_preempt_rt()) {
		CHECK_EQ(c->allocs, 0);
		return 0;
	}
	/* Without sleeping an allocation may fail now and then, not every other time */
	if (c->allocs < c->runs / 2)
		return FAIL("%s got an object %llu times of %llu", name, c->allocs, c->runs);
	return 0;
}

/* After all programs are gone: what they kept can be freed, and nothing was refused */
static int check_nothing_left(struct bpf_object *obj)
{
	struct arena_counters c;

	CHECK_EQ(run_prog(obj, "free_all"), 0);
	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK(c.found);
	CHECK_EQ(c.allocs - c.frees, 0);
	CHECK_EQ(c.no_object + c.interior + c.not_live + c.kernel_owned, 0);
	return 0;
}

static int attach_and_check(struct bpf_object *obj, const char *prog, const char *var)
{
	struct bpf_link *link;
	int err;

	VAR(obj, __s32, "my_pid") = getpid();
	link = bpf_program__attach(bpf_object__find_program_by_name(obj, prog));
	if (!link)
		return FAIL("%s cannot be attached: %s", prog, strerror(errno));
	be_active();
	bpf_link__destroy(link);
	err = check_context(obj, var, false);
	return check_nothing_left(obj) ?: err;
}

static int test_attached(const char *prog, const char *var)
{
	struct bpf_object *obj = load_image("contexts", PROGS(prog, "free_all"));
	int err;

	if (!obj)
		return 1;
	err = attach_and_check(obj, prog, var);
	bpf_object__close(obj);
	return err;
}

static int test_tp_btf(void)
{
	return test_attached("on_switch", "tracepoint");
}

static int test_fentry(void)
{
	return test_attached("on_fentry", "fentry_prog");
}

static int test_kprobe(void)
{
	return test_attached("on_kprobe", "kprobe_prog");
}

static int test_raw_tp(void)
{
	return test_attached("on_raw_tp", "raw_tp_prog");
}

static int test_tracepoint(void)
{
	/* libbpf looks there, and the kernel's log is not pleased: before, and not counted */
	if (access("/sys/kernel/debug/tracing/events", F_OK))
		return SKIP("no tracefs: %s", strerror(errno));
	watch_kernel_log();
	return test_attached("on_tp", "tp_prog");
}

static int test_fentry_sleepable(void)
{
	return test_attached("on_fentry_sleepable", "fentry_sleepable");
}

static int test_fexit(void)
{
	return test_attached("on_fexit", "fexit_prog");
}

static int test_kretprobe(void)
{
	return test_attached("on_kretprobe", "kretprobe_prog");
}

static int test_task_work(void)
{
	return test_attached("on_fentry_task_work", "task_work_prog");
}

/* What the uprobes are on; not static, for its symbol */
__attribute__((noinline)) int arena_slab_uprobed(int i)
{
	asm volatile("" : "+r"(i));
	return i;
}

static int uprobe_with(struct bpf_object *obj, const char *prog, const char *var)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "arena_slab_uprobed");
	struct bpf_program *p = bpf_object__find_program_by_name(obj, prog);
	struct bpf_link *link;
	int err;

	link = bpf_program__attach_uprobe_opts(p, getpid(), "/proc/self/exe", 0, &opts);
	if (!link)
		return FAIL("%s cannot be attached: %s", prog, strerror(errno));
	for (int i = 0; i < 200; i++)
		arena_slab_uprobed(i);
	bpf_link__destroy(link);
	err = check_context(obj, var, false);
	return check_nothing_left(obj) ?: err;
}

static int test_uprobed(const char *prog, const char *var)
{
	struct bpf_object *obj = load_image("contexts", PROGS(prog, "free_all"));
	int err;

	if (!obj)
		return 1;
	err = uprobe_with(obj, prog, var);
	bpf_object__close(obj);
	return err;
}

static int test_uprobe(void)
{
	return test_uprobed("on_uprobe", "uprobe_prog");
}

static int test_uprobe_sleepable(void)
{
	return test_uprobed("on_uprobe_sleepable", "uprobe_sleepable");
}

static int read_iter(struct bpf_object *obj, const char *prog)
{
	struct bpf_link *link;
	char buf[64];
	int fd, n;

	link = bpf_program__attach_iter(bpf_object__find_program_by_name(obj, prog), NULL);
	if (!link)
		return FAIL("%s cannot be attached: %s", prog, strerror(errno));
	fd = bpf_iter_create(bpf_link__fd(link));
	bpf_link__destroy(link);
	if (fd < 0)
		return FAIL("%s: no iterator: %s", prog, strerror(errno));
	do {
		n = read(fd, buf, sizeof(buf));
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	close(fd);
	return n < 0 ? FAIL("%s cannot be read: %s", prog, strerror(errno)) : 0;
}

static int test_iterated(const char *prog, const char *var)
{
	struct bpf_object *obj = load_image("contexts", PROGS(prog, "free_all"));
	int err;

	if (!obj)
		return 1;
	err = read_iter(obj, prog) ?: check_context(obj, var, false);
	err = check_nothing_left(obj) ?: err;
	bpf_object__close(obj);
	return err;
}

static int test_iter(void)
{
	return test_iterated("on_iter", "iter_prog");
}

static int test_iter_sleepable(void)
{
	return test_iterated("on_iter_sleepable", "iter_sleepable");
}

static int test_wq(void)
{
	struct bpf_object *obj = load_image("contexts", PROGS("start_wq", "free_all"));
	int err;

	if (!obj)
		return 1;
	err = run_prog(obj, "start_wq");
	if (err)
		err = FAIL("the work does not start: %d", err);
	be_active();
	VAR(obj, bool, "stop_work") = true;
	/* There is nothing that waits for it: it is over when nothing is counted any more */
	for (__u64 runs = 0; runs != VAR(obj, struct context, "wq_prog").runs; usleep(100000))
		runs = VAR(obj, struct context, "wq_prog").runs;
	err = err ?: check_context(obj, "wq_prog", false);
	err = check_nothing_left(obj) ?: err;
	bpf_object__close(obj);
	return err;
}

static int xdp_with(struct bpf_object *obj)
{
	char packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1000);
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, "on_xdp");
	int err;

	err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	if (err)
		return FAIL("cannot be run: %s", strerror(-err));
	err = check_context(obj, "xdp_prog", false);
	return check_nothing_left(obj) ?: err;
}

static int test_xdp(void)
{
	struct bpf_object *obj = load_image("contexts", PROGS("on_xdp", "free_all"));
	int err;

	if (!obj)
		return 1;
	err = xdp_with(obj);
	bpf_object__close(obj);
	return err;
}

static int struct_ops_with(struct bpf_object *obj, struct bpf_map *ops)
{
	struct bpf_link *link;
	int err;

	if (bpf_object__load(obj))
		return FAIL("cannot be loaded: %s (-v shows why)", strerror(errno));
	link = bpf_map__attach_struct_ops(ops);
	if (!link && errno == EBUSY)
		return SKIP("another sched_ext scheduler is there");
	if (!link)
		return FAIL("cannot be attached: %s", strerror(errno));
	be_active();
	bpf_link__destroy(link);
	err = check_context(obj, "ops_prog", false) ?: check_context(obj, "ops_sleepable", false);
	return check_nothing_left(obj) ?: err;
}

static int test_struct_ops(void)
{
	struct bpf_object *obj;
	struct bpf_map *ops;
	int err;

	obj = open_image("contexts", PROGS("on_running", "on_init_task", "free_all"));
	if (!obj)
		return 1;
	ops = bpf_object__find_map_by_name(obj, "allocating");
	bpf_map__set_autocreate(ops, true);
	err = struct_ops_with(obj, ops);
	bpf_object__close(obj);
	return err;
}

static int open_cpu_clock(int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.freq = 1,
		.sample_freq = 1000,
	};

	return syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Not idle: the CPU clock stands still there */
static void be_busy(void)
{
	volatile unsigned long n = 0;

	for (int i = 0; i < 200; i++) {
		for (int j = 0; j < 1000000; j++)
			n++;
		if (!(i % 50))
			usleep(1000);
	}
}

static int perf_with(struct bpf_object *obj)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, "on_perf");
	struct bpf_link *links[2] = {};
	int fd, err = 0;

	for (int cpu = 0; cpu < 2 && !err; cpu++) {
		fd = open_cpu_clock(cpu);
		if (fd < 0 && cpu)
			break;	/* a machine with one CPU */
		if (fd < 0)
			return SKIP("no CPU clock event: %s", strerror(errno));
		links[cpu] = bpf_program__attach_perf_event(prog, fd);
		if (!links[cpu])
			err = FAIL("cannot be attached: %s", strerror(errno));
	}
	if (!err)
		be_busy();
	for (int cpu = 0; cpu < 2; cpu++)
		bpf_link__destroy(links[cpu]);
	err = err ?: check_context(obj, "perf_prog", true);
	return check_nothing_left(obj) ?: err;
}

static int test_perf(void)
{
	struct bpf_object *obj = load_image("contexts", PROGS("on_perf", "free_all"));
	int err;

	if (!obj)
		return 1;
	err = perf_with(obj);
	bpf_object__close(obj);
	return err;
}

static int test_timer(void)
{
	struct bpf_object *obj;
	int err;

	if (is_preempt_rt())
		return SKIP("PREEMPT_RT has no bpf_timer");
	obj = load_image("contexts", PROGS("start_timer", "stop_timer", "free_all"));
	if (!obj)
		return 1;
	err = run_prog(obj, "start_timer");
	if (err)
		err = FAIL("the timer does not start: %d", err);
	be_active();
	run_prog(obj, "stop_timer");
	err = err ?: check_context(obj, "timer_prog", false);
	err = check_nothing_left(obj) ?: err;
	bpf_object__close(obj);
	return err;
}

/* All of them at once: they interrupt each other in the middle of the allocator */
static int test_all(void)
{
	static const char *const attached[] = { "on_switch", "on_fentry", "on_kprobe" };
	static const char *const vars[] = { "tracepoint", "fentry_prog", "kprobe_prog",
					    "timer_prog" };
	/* The last one is not for PREEMPT_RT */
	bool timer = !is_preempt_rt();
	struct bpf_link *links[3] = {};
	struct bpf_object *obj;
	int err = 0;

	obj = load_image("contexts", timer ?
			 PROGS("on_switch", "on_fentry", "on_kprobe", "free_all", "start_timer",
			       "stop_timer") :
			 PROGS("on_switch", "on_fentry", "on_kprobe", "free_all"));
	if (!obj)
		return 1;
	VAR(obj, __s32, "my_pid") = getpid();
	for (int i = 0; i < 3; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(obj, attached[i]);

		links[i] = bpf_program__attach(p);
		if (!links[i])
			err = FAIL("%s cannot be attached: %s", attached[i], strerror(errno));
	}
	if (timer && run_prog(obj, "start_timer"))
		err = FAIL("the timer does not start");
	be_active();
	if (timer)
		run_prog(obj, "stop_timer");
	for (int i = 0; i < 3; i++)
		bpf_link__destroy(links[i]);
	for (int i = 0; i < 3 + timer; i++)
		err |= check_context(obj, vars[i], false);
	err = check_nothing_left(obj) ?: err;
	bpf_object__close(obj);
	return err ? 1 : 0;
}

/* ---- two CPUs ---- */

struct thread {
	struct bpf_object *obj;
	const char *prog;
	int cpu;
	int result;
};

static void *run_thread(void *arg)
{
	struct thread *t = arg;

	run_on_cpu(t->cpu);
	t->result = run_prog(t->obj, t->prog);
	return NULL;
}

static int parallel_with(struct bpf_object *obj)
{
	struct thread threads[2] = {
		{ .obj = obj, .prog = "thread_0", .cpu = 0 },
		{ .obj = obj, .prog = "thread_1", .cpu = 1 },
	};
	struct test_report *report = find_var(obj, "report");
	struct arena_counters c;
	pthread_t ids[2];

	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&ids[i], NULL, run_thread, &threads[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(ids[i], NULL);
	for (int i = 0; i < 2; i++) {
		if (threads[i].result)
			return FAIL("%s returned %d, a line of its source; 0x%llx against 0x%llx",
				    threads[i].prog, threads[i].result, report->left,
				    report->right);
	}
	if (read_counters(arena_id(obj), &c))
		return 1;
	printf("# %lld allocations, %llu failed\n", c.allocs,
	       VAR(obj, __u64, "parallel_failed"));
	CHECK_EQ(VAR(obj, __u64, "parallel_failed"), 0);
	CHECK_EQ(c.allocs - c.frees, 0);
	CHECK_EQ(c.no_object + c.interior + c.not_live + c.kernel_owned, 0);
	return 0;
}

static int test_parallel(void)
{
	struct bpf_object *obj;
	int err;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return SKIP("one CPU only");
	obj = load_image("contexts", PROGS("thread_0", "thread_1"));
	if (!obj)
		return 1;
	err = parallel_with(obj);
	bpf_object__close(obj);
	return err;
}

const struct test context_tests[] = {
	{ "context/tp_btf", "alloc and free on every context switch", test_tp_btf },
	{ "context/fentry", "alloc and free on entry of a kernel function", test_fentry },
	{ "context/kprobe", "alloc and free in a kprobe", test_kprobe },
	{ "context/raw_tp", "alloc and free in a raw tracepoint", test_raw_tp },
	{ "context/tracepoint", "alloc and free in a tracepoint, by its format", test_tracepoint },
	{ "context/fentry_sleepable", "alloc and free on entry of a system call, may sleep",
	  test_fentry_sleepable },
	{ "context/fexit", "alloc and free of large objects on the way out of a kernel function",
	  test_fexit },
	{ "context/kretprobe", "alloc and free in a kretprobe", test_kretprobe },
	{ "context/uprobe", "alloc and free in a uprobe", test_uprobe },
	{ "context/uprobe_sleepable", "alloc and free in a uprobe that may sleep",
	  test_uprobe_sleepable },
	{ "context/iter", "alloc and free in an iterator over tasks", test_iter },
	{ "context/iter_sleepable", "alloc and free in an iterator that may sleep",
	  test_iter_sleepable },
	{ "context/wq", "alloc and free in a bpf_wq's callback", test_wq },
	{ "context/task_work", "alloc and free in the callback of bpf_task_work", test_task_work },
	{ "context/xdp", "alloc and free for a packet", test_xdp },
	{ "context/struct_ops", "alloc and free in a scheduler, under the lock of a runqueue",
	  test_struct_ops },
	{ "context/perf_event", "alloc and free in hard interrupts, by the CPU clock", test_perf },
	{ "context/timer", "alloc and free in a bpf_timer's callback", test_timer },
	{ "context/all", "alloc and free in all of these contexts at once", test_all },
	{ "context/parallel", "two CPUs alloc and free in one arena for a second", test_parallel },
	{}
};
