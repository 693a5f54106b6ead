// SPDX-License-Identifier: GPL-2.0
/* The kfuncs in programs that are attached somewhere, and from two CPUs at once. */
#include <errno.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

static int check_context(struct bpf_object *obj, const char *name)
{
	struct context *c = find_var(obj, name);

	printf("# %s: %llu runs, %llu objects, %llu times none\n", name, c->runs, c->allocs,
	       c->failed);
	if (c->runs < 20)
		return FAIL("%s ran %llu times only", name, c->runs);
	if (c->bad)
		return FAIL("%s found %llu objects that were not zero or had changed", name,
			    c->bad);
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
	err = check_context(obj, var);
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
	err = err ?: check_context(obj, "perf_prog");
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

	obj = load_image("contexts", PROGS("start_timer", "stop_timer", "free_all"));
	if (!obj)
		return 1;
	err = run_prog(obj, "start_timer");
	if (err)
		err = FAIL("the timer does not start: %d", err);
	be_active();
	run_prog(obj, "stop_timer");
	err = err ?: check_context(obj, "timer_prog");
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
	struct bpf_link *links[3] = {};
	struct bpf_object *obj;
	int err = 0;

	obj = load_image("contexts", PROGS("on_switch", "on_fentry", "on_kprobe", "start_timer",
					   "stop_timer", "free_all"));
	if (!obj)
		return 1;
	VAR(obj, __s32, "my_pid") = getpid();
	for (int i = 0; i < 3; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(obj, attached[i]);

		links[i] = bpf_program__attach(p);
		if (!links[i])
			err = FAIL("%s cannot be attached: %s", attached[i], strerror(errno));
	}
	if (run_prog(obj, "start_timer"))
		err = FAIL("the timer does not start");
	be_active();
	run_prog(obj, "stop_timer");
	for (int i = 0; i < 3; i++)
		bpf_link__destroy(links[i]);
	for (int i = 0; i < 4; i++)
		err |= check_context(obj, vars[i]);
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
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(t->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
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
	{ "context/perf_event", "alloc and free in hard interrupts, by the CPU clock", test_perf },
	{ "context/timer", "alloc and free in a bpf_timer's callback", test_timer },
	{ "context/all", "alloc and free in all of these contexts at once", test_all },
	{ "context/parallel", "two CPUs alloc and free in one arena for a second", test_parallel },
	{}
};
