// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab tasks: load the tracing programs, then print what they keep, again
 * and again. Between two tables this process does nothing, and for a table it
 * enters the kernel only to sleep and to print: the directory, the objects and the
 * counters are memory that it shares with the programs.
 *
 * An object may be freed while it is read, and its page may go. arenaslab.h says
 * how a copy that is not one task's is noticed; where the page is gone, the access
 * ends in fault_handler() and the object counts as gone, too.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include "arenaslab.h"
#include "arenaslab.skel.h"
#include "bpf_util.h"
#include "cmd.h"
#include "test_util.h"

#define DEFAULT_ROWS	20
#define READ_TRIES	16

struct options {
	double interval;
	unsigned long count;	/* 0: no end */
	unsigned long rows;
	bool rows_given;
	unsigned long mib;
	bool json;
};

struct snapshot {
	struct task_obj *task;
	size_t nr;
	size_t size;
	__u64 taken_ns;
};

/* Where objects may be, and where to go on when one is not there any more */
static char *arena_start, *arena_end;
static sigjmp_buf fault_env;
static volatile sig_atomic_t reading;

static void fault_handler(int sig, siginfo_t *info, void *context)
{
	char *addr = info->si_addr;

	(void)context;
	if (reading && addr >= arena_start && addr < arena_end) {
		reading = 0;
		siglongjmp(fault_env, 1);
	}
	/* Not our race but a bug: die of it as usual, at the same instruction */
	signal(sig, SIG_DFL);
}

static void catch_signals(void)
{
	struct sigaction fault = {
		.sa_sigaction = fault_handler,
		/* The handler is left by siglongjmp(), which restores no mask here */
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	catch_stop();
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
}

static __u64 load(const __u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* One attempt at a copy; false if it is not one task's as it was at one moment */
static bool copy_once(const struct task_obj *obj, struct task_obj *copy)
{
	__u32 seq = __atomic_load_n(&obj->seq, __ATOMIC_ACQUIRE);
	__u64 id = load(&obj->id);
	const volatile __u64 *from = (const volatile __u64 *)obj;

	if (seq & 1)
		return false;
	for (size_t i = 0; i < sizeof(*copy) / sizeof(__u64); i++)
		((__u64 *)copy)[i] = from[i];
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return id && load(&obj->id) == id &&
	       __atomic_load_n(&obj->seq, __ATOMIC_RELAXED) == seq;
}

/* The same, and false also if the object's page went away meanwhile */
static bool copy_guarded(const struct task_obj *obj, struct task_obj *copy)
{
	bool ok;

	if (sigsetjmp(fault_env, 0))
		return false;
	reading = 1;
	ok = copy_once(obj, copy);
	reading = 0;
	return ok;
}

/* Copy the object of a slot; false if the slot is empty, or is by now */
static bool copy_obj(const __u64 *slot, struct task_obj *copy)
{
	__u64 addr = load(slot);

	/* Everybody with the arena can write to it: look before following a pointer */
	if (addr < (__u64)arena_start || addr > (__u64)arena_end - sizeof(*copy) || addr % 8)
		return false;

	for (int i = 0; i < READ_TRIES; i++) {
		bool ok = copy_guarded((const struct task_obj *)addr, copy);

		if (load(slot) != addr)
			return false;
		if (ok) {
			copy->comm[TASK_COMM_SIZE - 1] = '\0';
			return true;
		}
	}
	return false;
}

static int compare_run_time(const void *pa, const void *pb)
{
	const struct task_obj *a = pa, *b = pb;

	if (a->run_ns != b->run_ns)
		return a->run_ns < b->run_ns ? 1 : -1;
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

static int add_task(struct snapshot *snap, const struct task_obj *task)
{
	if (snap->nr == snap->size) {
		size_t size = snap->size ? snap->size * 2 : 256;
		void *p = reallocarray(snap->task, size, sizeof(*snap->task));

		if (!p)
			return fail("out of memory");
		snap->task = p;
		snap->size = size;
	}
	snap->task[snap->nr++] = *task;
	return 0;
}

/* All live objects, by run time; for a task on a CPU up to this moment */
static int take_snapshot(struct snapshot *snap, const struct task_dir *dir)
{
	const struct task_chunk *chunk;
	struct task_obj task;

	snap->nr = 0;
	snap->taken_ns = now_ns();
	for (int i = 0; i < DIR_CHUNKS; i++) {
		/* Chunks are never freed */
		chunk = (const struct task_chunk *)load(&dir->chunk[i]);
		if (!chunk)
			continue;
		for (int j = 0; j < CHUNK_SLOTS; j++) {
			if (!copy_obj(&chunk->slot[j], &task))
				continue;
			if (task.since_ns && snap->taken_ns > task.since_ns)
				task.run_ns += snap->taken_ns - task.since_ns;
			if (add_task(snap, &task))
				return EXIT_FAILED;
		}
	}
	qsort(snap->task, snap->nr, sizeof(*snap->task), compare_run_time);
	return 0;
}

static void print_json(const struct snapshot *snap, const struct task_stats *stats, size_t rows)
{
	printf("{\"monotonic_ns\":%llu,\"live\":%llu,\"allocs\":%llu,\"frees\":%llu,"
	       "\"failed\":%llu,\"missed\":%llu,\"tasks\":[",
	       snap->taken_ns, stats->allocs - stats->frees, stats->allocs, stats->frees,
	       stats->failed, stats->missed);
	for (size_t i = 0; i < rows; i++) {
		const struct task_obj *t = &snap->task[i];

		printf("%s{\"pid\":%u,\"tgid\":%u,\"comm\":", i ? "," : "", t->pid, t->tgid);
		print_json_string(stdout, t->comm);
		printf(",\"switches\":%llu,\"run_ns\":%llu,\"cpu\":%u,\"running\":%s}", t->switches,
		       t->run_ns, t->cpu, t->since_ns ? "true" : "false");
	}
	puts("]}");
}

static void print_table(const struct snapshot *snap, const struct task_stats *stats, size_t rows)
{
	printf("%llu live objects, %llu allocated, %llu freed, %llu failed allocations",
	       stats->allocs - stats->frees, stats->allocs, stats->frees, stats->failed);
	if (stats->missed)
		printf(", %llu missed", stats->missed);
	printf("\n%8s %-16s %10s %14s %4s\n", "PID", "COMM", "SWITCHES", "RUN TIME ms", "CPU");
	for (size_t i = 0; i < rows; i++) {
		const struct task_obj *t = &snap->task[i];

		printf("%8u ", t->pid);
		print_plain(stdout, t->comm, 16);
		printf(" %10llu %14.3f %4u\n", t->switches, t->run_ns / 1e6, t->cpu);
	}
}

/* How many rows there is room for, headings taken off; 0 if this is no terminal */
static size_t terminal_rows(void)
{
	int rows, cols;

	if (!terminal_size(&rows, &cols))
		return 0;
	return rows > 3 ? rows - 3 : 1;
}

static void print_snapshot(const struct options *opt, const struct snapshot *snap,
			   const struct task_stats *live, bool first)
{
	struct task_stats stats = {
		/* Frees first, so that there are never more of them than allocations */
		.frees = load(&live->frees),
		.allocs = load(&live->allocs),
		.failed = load(&live->failed),
		.missed = load(&live->missed),
	};
	size_t screen = terminal_rows(), rows = snap->nr;

	if (opt->rows_given)
		rows = opt->rows;
	else if (!opt->json)
		rows = screen ?: DEFAULT_ROWS;
	if (screen && !opt->json && rows > screen)
		rows = screen;
	if (rows > snap->nr)
		rows = snap->nr;

	if (opt->json) {
		print_json(snap, &stats, rows);
		return;
	}
	if (screen)
		fputs("\033[H\033[J", stdout);
	else if (!first)
		putchar('\n');
	print_table(snap, &stats, rows);
}

static int print_tables(const struct options *opt, struct arenaslab_bpf *skel)
{
	/* Programs keep the full user-space address in it, as everywhere */
	const struct task_dir *dir = (const struct task_dir *)skel->bss->dir;
	struct snapshot snap = {};
	__u64 due = now_ns();
	int err = 0;

	for (unsigned long i = 0; !err && (!opt->count || i < opt->count); i++) {
		if (!wait_until(&due, opt->interval))
			break;
		err = take_snapshot(&snap, dir);
		if (err)
			break;
		print_snapshot(opt, &snap, &skel->bss->stats, !i);
		err = finish_output();
	}
	free(snap.task);
	return err;
}

static int run_start(struct arenaslab_bpf *skel)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.start), &run);

	if (err)
		return bpf_failed("run the program that makes the directory", err);
	if (run.retval)
		return fail("the arena has no room for the directory: give it more by --memory");
	return 0;
}

static int run(const struct options *opt)
{
	struct arenaslab_bpf *skel;
	struct btf *btf;
	size_t size;
	int err;

	btf = load_kernel_btf();
	if (!btf)
		return EXIT_FAILED;
	btf__free(btf);
	skel = arenaslab_bpf__open();
	if (!skel)
		return bpf_failed("open the BPF programs", -errno);
	bpf_map__set_max_entries(skel->maps.arena, (opt->mib << 20) / sysconf(_SC_PAGESIZE));
	err = arenaslab_bpf__load(skel);
	if (err) {
		err = bpf_failed("load the BPF programs", err);
		goto out;
	}

	arena_start = bpf_map__initial_value(skel->maps.arena, &size);
	arena_end = arena_start + (opt->mib << 20);
	catch_signals();
	err = run_start(skel);
	if (err)
		goto out;
	err = arenaslab_bpf__attach(skel);
	if (err) {
		err = bpf_failed("attach the BPF programs", err);
		goto out;
	}
	err = print_tables(opt, skel);
out:
	/* The objects that are left go with the arena */
	arenaslab_bpf__destroy(skel);
	return err;
}

int cmd_tasks(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'c' },
		{ "top", required_argument, NULL, 'n' },
		{ "memory", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	struct options opt = { .interval = 1, .mib = 16 };
	int c;

	while ((c = next_option(argc, argv, ":i:c:n:m:jv", longopts)) > 0) {
		switch (c) {
		case 'i':
			if (!option_seconds(c, &opt.interval))
				return EXIT_USAGE;
			break;
		case 'c':
			if (!option_count(c, &opt.count))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!option_number(c, 0, 1UL << 31, "not a number of rows", &opt.rows))
				return EXIT_USAGE;
			opt.rows_given = true;
			break;
		case 'm':
			if (!option_number(c, 1, 4096, "not 1 to 4096 MiB", &opt.mib))
				return EXIT_USAGE;
			break;
		case 'j':
			opt.json = true;
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	return run(&opt);
}
