// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: hostile programs and processes against the allocator, for a time.
 *
 *	supervisor	starts the others, prints, watches that they go on, judges
 *	  body		three arenas, see torture.h; threads that run their programs,
 *			contexts they are attached to, threads that write everywhere
 *	    mappers	map and unmap the arenas, fork, are in the middle of a fault
 *	  victims	have an arena of their own, are killed, and their memory cgroup goes
 *	  scheduler	sched_ext, whose kernel-owned cmasks it attacks
 *	  shrinker	sysfs of the caches, drop_caches
 *	  plugger	CPUs go and come back
 *
 * The supervisor has no arena and one thread, so whatever happens to the others, there
 * is somebody to say so. All of them share one page of counters and the list of what is
 * wrong.
 *
 * One file for each idea: what they share is in torture_tool.h, the body and its arenas in
 * torture_objects.c, who is in user space in torture_user.c, what is done to the machine
 * in torture_machine.c, probes that hold CPUs up in torture_probe.c, what must be true in
 * torture_check.c, and what there was in torture_table.c.
 *
 * A seed gives each worker the same random numbers, and with them the same operations;
 * what other workers do in between, and which allocations fail, is up to time.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "torture_tool.h"

static const char *const part_names[NR_PARTS] = {
	[PART_MAP] = "map",
	[PART_SCRIBBLE] = "scribble",
	[PART_KILL] = "kill",
	[PART_SCHED] = "sched",
	[PART_SHRINK] = "shrink",
	[PART_HOTPLUG] = "hotplug",
	[PART_IRQ] = "irq",
	[PART_TRACE] = "trace",
	[PART_HOLD] = "hold",
};

struct options opt = { .duration = 60, .slow = 1 };
int nr_cpus;
struct shared *shared;

/* ---- the supervisor ---- */

struct child {
	const char *name;
	pid_t pid;
};

static struct child children[8];
static int nr_children;

static void start_child(const char *name, int (*fn)(const char *), const char *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int err;

		signal(SIGINT, SIG_IGN);
		err = fn(arg);
		fflush(stdout);
		_exit(err);
	}
	if (pid < 0)
		blame("no process for the %s: %s", name, strerror(errno));
	else
		children[nr_children++] = (struct child){ name, pid };
}

/* True if all of them have ended */
static bool reap(void)
{
	int status, left = 0;

	for (int i = 0; i < nr_children; i++) {
		if (!children[i].pid)
			continue;
		if (!waitpid(children[i].pid, &status, WNOHANG)) {
			left++;
			continue;
		}
		children[i].pid = 0;
		if (WIFSIGNALED(status))
			blame("the %s died of signal %d", children[i].name, WTERMSIG(status));
		else if (WEXITSTATUS(status))
			blame("the %s ended with status %d", children[i].name, WEXITSTATUS(status));
	}
	return !left;
}

/* Where its threads are in the kernel; what a hang is about */
static void print_stacks(pid_t pid)
{
	char path[64], comm[64], stack[4096];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (!isdigit(d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.10s/comm", pid, d->d_name);
		read_text(path, comm, sizeof(comm));
		snprintf(path, sizeof(path), "/proc/%d/task/%.10s/stack", pid, d->d_name);
		if (read_text(path, stack, sizeof(stack)))
			fprintf(stderr, "task %s, %s%s", d->d_name, comm, stack);
	}
	if (dir)
		closedir(dir);
}

static void print_all_stacks(void)
{
	for (int i = 0; i < nr_children; i++) {
		if (children[i].pid) {
			fprintf(stderr, "-- %s\n", children[i].name);
			print_stacks(children[i].pid);
		}
	}
	/* Into the log: tasks that wait, then all of them, and what workqueues have to do */
	spoil_log();
	write_text("/proc/sysrq-trigger", "w");
	write_text("/proc/sysrq-trigger", "t");
}

/* How long somebody may take for what is done in a moment; the host may be busy, too */
#define HANG_SECONDS	300

/* False if somebody has not moved for that long */
static bool all_go_on(void)
{
	static __u64 last[MAX_THREADS], since[MAX_THREADS];
	__u64 now = now_ns();

	for (int i = 0; i < shared->nr_progress && i < MAX_THREADS; i++) {
		struct progress *p = &shared->progress[i];

		if (!since[i] || p->count != last[i] || *p->name == '-') {
			last[i] = p->count;
			since[i] = now;
		} else if (now - since[i] > HANG_SECONDS * opt.slow * NS) {
			blame("no progress of %s for %lu s, after %llu rounds", p->name,
			      HANG_SECONDS * opt.slow, p->count);
			return false;
		}
	}
	return true;
}

static void print_progress(unsigned long seconds)
{
	printf("%5lu s: %llu operations, %llu NULL, %llu frees refused, %llu faults, %llu maps, "
	       "%llu killed, %llu CPUs plugged, %llu schedulers\n", seconds, shared->ops,
	       shared->nulls, shared->refused, shared->faults, shared->maps, shared->killed,
	       shared->plugs, shared->sched_rounds);
	fflush(stdout);
}

/* Parts of a run; probes make all slow */
static const double phase_ends[] = { [PHASE_HOLDS] = 0.5, [PHASE_PROBES] = 0.625 };

/* Until the time is over, or something is wrong. False if somebody hangs. */
static bool watch_run(void)
{
	__u64 start = now_ns(), next = start;

	while (now_ns() < start + opt.duration * NS && !interrupted && !shared->nr_blames) {
		usleep(100000);
		if (shared->phase < PHASE_FREE &&
		    now_ns() > start + phase_ends[shared->phase] * opt.duration * NS)
			shared->phase++;
		read_log();
		if (reap() && !shared->nr_blames)
			blame("all processes have ended");
		if (!all_go_on())
			return false;
		if (now_ns() - next > 5 * NS) {
			next += 5 * NS;
			print_progress((next - start) / NS);
		}
	}
	print_progress((now_ns() - start) / NS);
	return true;
}

static void end_run(bool hangs)
{
	shared->stop = 1;
	/* The sweep of the lawless arena is what takes long */
	if (hangs || !WAIT_FOR(HANG_SECONDS, reap())) {
		if (!hangs)
			blame("not everybody ended within %lu s", HANG_SECONDS * opt.slow);
		print_all_stacks();
		for (int i = 0; i < nr_children; i++) {
			if (children[i].pid)
				kill(children[i].pid, SIGKILL);
		}
		WAIT_FOR(10, reap());
	}
}

/* ---- a run ---- */

static int run(void)
{
	const char *body_in;
	struct leaks leaks;
	bool hangs;

	if (check_machine(PAGE))
		return EXIT_FAILED;
	vmlinux = btf__load_vmlinux_btf();
	if (!vmlinux)
		return fail("cannot read /sys/kernel/btf/vmlinux: the kernel needs "
			    "CONFIG_DEBUG_INFO_BTF");
	if (!has_function("bpf_arena_alloc"))
		return fail("this kernel has no bpf_arena_alloc(): it needs CONFIG_SLAB_BPF_ARENA");
	shared = begin_test(sizeof(*shared));
	if (!shared)
		return EXIT_FAILED;
	printf("seed %lu, %g s, %d CPUs\n", opt.seed, opt.duration, nr_cpus);
	watch_log();
	caches_before = for_each_cache("arena:", NULL, NULL);
	body_in = make_groups();

	start_child("body", body, body_in);
	if (!WAIT_FOR(HANG_SECONDS, shared->running || shared->nr_blames ||
		      (reap() && !children[0].pid))) {
		blame("the programs were not loaded within %lu s", HANG_SECONDS * opt.slow);
	} else if (shared->running) {
		if (!opt.without[PART_KILL] && body_in)
			start_child("victims' keeper", victims, group);
		if (!opt.without[PART_SCHED])
			start_child("scheduler", scheduler, NULL);
		if (!opt.without[PART_SHRINK])
			start_child("shrinker", shrinker, NULL);
		if (!opt.without[PART_HOTPLUG] && nr_cpus < 2)
			cannot(ATTACK_PLUG, "one CPU only: none is plugged, and no two of them race");
		else if (!opt.without[PART_HOTPLUG])
			start_child("plugger", plugger, NULL);
	}
	hangs = !watch_run();
	end_run(hangs);
	if (interrupted)
		blame("interrupted");
	check_leaks(&leaks);
	read_log();

	if (shared->done) {
		print_table(&leaks);
		check_attacks();
	} else if (!shared->nr_blames) {
		blame("the body ended early");
	}
	for (int i = 0; i < shared->nr_notes && i < (int)ARRAY_SIZE(shared->note); i++)
		printf("note: %s\n", shared->note[i]);
	for (int i = 0; i < shared->nr_blames && i < MAX_BLAMES; i++)
		printf("FAIL: %s\n", shared->blame[i]);
	printf("seed %lu\n", opt.seed);
	if (shared->nr_blames)
		printf("FAIL: %d things are wrong\n", shared->nr_blames);
	else
		puts("PASS");
	return finish_output() || shared->nr_blames ? EXIT_FAILED : 0;
}

static bool parse_part(const char *name)
{
	for (int i = 0; i < NR_PARTS; i++) {
		if (!strcmp(name, part_names[i])) {
			opt.without[i] = true;
			return true;
		}
	}
	return false;
}

int cmd_torture(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "duration", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 's' },
		{ "tasks", required_argument, NULL, 't' },
		{ "slow", required_argument, NULL, 'x' },
		{ "without", required_argument, NULL, 'w' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	int c;

	nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	if (nr_cpus > MAX_CPUS)
		nr_cpus = MAX_CPUS;
	opt.tasks = (nr_cpus + 1) / 2;
	opt.seed = random_seed();
	while ((c = next_option(argc, argv, ":d:s:t:x:w:v", longopts)) > 0) {
		switch (c) {
		case 'd':
			if (!option_seconds(c, &opt.duration))
				return EXIT_USAGE;
			break;
		case 's':
			if (!option_number(c, 0, ~0UL, "not a number", &opt.seed))
				return EXIT_USAGE;
			break;
		case 't':
			if (!option_number(c, 1, 6, "not 1 to 6 tasks", &opt.tasks))
				return EXIT_USAGE;
			break;
		case 'x':
			if (!option_slow(c, &opt.slow))
				return EXIT_USAGE;
			break;
		case 'w':
			if (!parse_part(optarg))
				return usage_error("-w %s: there is no such part", optarg);
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	return run();
}
