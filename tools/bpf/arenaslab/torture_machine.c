// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: what is done to the machine. Processes that are killed with their
 * memory cgroup, a scheduler, caches that are shrunk, CPUs that go and come back.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "torture_tool.h"
#include "torture.skel.h"

#define SYSFS_CPU	"/sys/devices/system/cpu"
#define SCX_STATE	"/sys/kernel/sched_ext/state"
#define CGROUP_ROOT	"/sys/fs/cgroup"
/* What a group may keep when its last process and arena are gone: per-CPU stocks */
#define GROUP_REST	(1LL << 20)
/* How long it may take until that is all; on an emulated CPU, times --slow */
#define GROUP_SECONDS	200

/* ---- victims ---- */

/*
 * To make a process and a group and to load programs is seconds of work under KASAN, and
 * between threads that never sleep and a scheduler that knows no weights a task gets one
 * second a minute. So a victim goes before others until its first arena is dropped, and is
 * one of them from then on. Who may not is slow.
 */
static void be_first(bool first)
{
	struct sched_param p = { .sched_priority = first };

	sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &p);
}

/* Loads, attaches, runs, closes, again and again, until somebody kills it */
static void be_victim(const char *group, __u64 rng)
{
	char path[192];
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	/* Who is slow finds that the group has gone, see below */
	err = write_text(path, "0");
	if (err && err != -ENOENT)
		_exit(1);
	for (bool first = true;; first = false) {
		struct arena a = { .name = "victim", .start = ARENA_BASE, .pages = 512 };
		int kind = draw(&rng) >> 63 ? ARENA_LAWLESS : ARENA_SCRIBBLED;
		struct bpf_program *prog;

		be_first(first);
		a.skel = open_instance(kind, a.start, a.pages, 0);
		if (!a.skel)
			_exit(1);
		/* Few, since loading all of them takes a minute where everybody is busy */
		bpf_object__for_each_program(prog, a.skel->obj)
			bpf_program__set_autoload(prog, false);
		bpf_program__set_autoload(a.skel->progs.start, true);
		bpf_program__set_autoload(a.skel->progs.on_switch, true);
		bpf_program__set_autoload(a.skel->progs.on_cache_free, true);
		bpf_program__set_autoload(a.skel->progs.start_timer, has_timers());
		bpf_program__set_autoload(a.skel->progs.task_sleep, true);
		if (torture_bpf__load(a.skel))
			_exit(1);
		run_prog(a.skel->progs.start, 0, 0);
		a.skel->links.on_switch = bpf_program__attach(a.skel->progs.on_switch);
		a.skel->links.on_cache_free = bpf_program__attach(a.skel->progs.on_cache_free);
		if (has_timers())
			run_prog(a.skel->progs.start_timer, 0, 0);
		add(&shared->victims, 1);
		for (int i = draw(&rng) % 20; i > 0; i--)
			run_prog(a.skel->progs.task_sleep, i % MAX_CPUS, 64);
		/* Without stopping the timer, or freeing anything */
		torture_bpf__destroy(a.skel);
		add(&shared->dropped, 1);
	}
}

/* Has one of them loaded its programs since there were @before who had? */
static bool is_running(__u64 before)
{
	return __atomic_load_n(&shared->victims, __ATOMIC_RELAXED) != before;
}

static void kill_one(const char *parent, __u64 *rng, int nr)
{
	long long rest = 0;
	char group[128], path[192], number[16];
	__u64 r = draw(rng);
	bool move = r & 1;
	__u64 before = shared->victims;
	int status;
	pid_t pid;

	snprintf(group, sizeof(group), "%s/victim%d", parent, nr);
	if (mkdir(group, 0755) && errno != EEXIST)
		return;
	pid = fork();
	if (!pid)
		be_victim(group, draw(rng));
	if (pid < 0)
		return;
	/* One of four while it loads its programs, which takes seconds */
	if (r >> 62)
		WAIT_FOR(60, is_running(before) || shared->stop);
	doze(100 + (r >> 8) % (3000 * opt.slow));
	if (move) {
		/* Its group goes, and with it what its arena is charged to */
		snprintf(path, sizeof(path), "%s/cgroup.procs", parent);
		snprintf(number, sizeof(number), "%d", pid);
		write_text(path, number);
		rmdir(group);
		usleep((r >> 40) % 200000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status))
		blame("a victim ended by itself, status %#x", status);
	if (is_running(before))
		add(&shared->killed, 1);
	if (move) {
		/* Unless it has gone above */
		if (!WAIT_FOR(5, !rmdir(group) || errno == ENOENT))
			note("the group %s does not go: %s", group, strerror(errno));
		return;
	}
	snprintf(path, sizeof(path), "%s/memory.current", group);
	/*
	 * The arena goes by a worker, after grace periods, when these get to run. If the time is
	 * over first, check_leaks() waits for what is charged to the group above.
	 */
	if (!WAIT_FOR(GROUP_SECONDS, (rest = read_number(path)) < GROUP_REST || shared->stop))
		blame("%lld bytes are charged to a victim's group, %d s after it was killed", rest,
		      GROUP_SECONDS);
	if (!WAIT_FOR(5, !rmdir(group)))
		note("the group %s does not go: %s", group, strerror(errno));
}

int victims(const char *group)
{
	__u64 rng = seed_of(WHO_VICTIM);
	struct progress *p = new_progress("victims");

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It sleeps most of the time */
	be_first(true);
	for (int n = 0; !shared->stop; n++) {
		__u64 start = now_ns();

		kill_one(group, &rng, n);
		p->count++;
		/* The others have as long */
		doze((now_ns() - start) / 1000000);
	}
	return 0;
}

/* ---- the scheduler ---- */

static bool sched_state_is(const char *state)
{
	char buf[64];

	return read_text(SCX_STATE, buf, sizeof(buf)) && !strncmp(buf, state, strlen(state));
}

static struct torture_bpf *load_scheduler(void)
{
	struct torture_bpf *skel = open_instance(ARENA_SCRIBBLED, SCHED_START, 256, 0);
	struct bpf_program *prog;

	if (!skel)
		return NULL;
	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, false);
	bpf_map__set_autocreate(skel->maps.torture_ops, true);
	bpf_program__set_autoload(skel->progs.start, true);
	bpf_program__set_autoload(skel->progs.cid_init, true);
	bpf_program__set_autoload(skel->progs.cid_set_cmask, true);
	bpf_program__set_autoload(skel->progs.cid_go_online, true);
	bpf_program__set_autoload(skel->progs.cid_go_offline, true);
	bpf_program__set_autoload(skel->progs.free_kernels, true);
	if (torture_bpf__load(skel)) {
		torture_bpf__destroy(skel);
		return NULL;
	}
	run_prog(skel->progs.start, 0, 0);
	return skel;
}

/* One scheduler, for some seconds; false if there is no point in another one */
static bool sched_round(struct progress *p, __u64 *rng)
{
	struct torture_bpf *skel = load_scheduler();
	struct kernel_counts k;
	cpu_set_t all, one;
	__u64 frees, end;
	__u32 id;

	if (!skel) {
		if (btf__find_by_name_kind(vmlinux, "sched_ext_ops_cid", BTF_KIND_STRUCT) < 0)
			cannot(ATTACK_SCHED, "no sched_ext scheduler in cid form");
		else
			blame("the scheduler is not loaded: %s", strerror(errno));
		return false;
	}
	id = map_id(skel);
	lock_plugs();
	skel->links.torture_ops = bpf_map__attach_struct_ops(skel->maps.torture_ops);
	unlock_plugs();
	if (!skel->links.torture_ops) {
		/* A CPU that came or went since it was loaded is a reason to try again */
		usleep(200000);
		torture_bpf__destroy(skel);
		return true;
	}
	sched_getaffinity(0, sizeof(all), &all);
	end = now_ns() + (2 + draw(rng) % 6) * NS;
	for (int n = 0; !shared->stop && now_ns() < end && sched_state_is("enabled"); n++) {
		run_prog(skel->progs.free_kernels, WORKER_SCHED, 32);
		/* Each change of the affinity comes with a cmask */
		CPU_ZERO(&one);
		CPU_SET(n % nr_cpus, &one);
		sched_setaffinity(0, sizeof(one), &one);
		sched_setaffinity(0, sizeof(all), &all);
		p->count++;
	}
	k = read_counts(id);
	frees = skel->bss->counts.bad[BAD_KERNEL];
	if (sched_state_is("enabled")) {
		if (k.kernel_owned != (long long)frees)
			blame("sched_ext: the kernel refused %lld frees of its objects, of %llu",
			      k.kernel_owned, frees);
	} else if (!shared->stop) {
		blame("the scheduler was thrown out");
	}
	add(&shared->sched_frees, frees);
	add(&shared->sched_cmasks, skel->bss->nr_cmasks);
	add(&shared->sched_rounds, 1);
	lock_plugs();
	bpf_link__destroy(skel->links.torture_ops);
	skel->links.torture_ops = NULL;
	if (!WAIT_FOR(20, sched_state_is("disabled")))
		blame("the scheduler is still there 20 s after it was detached");
	unlock_plugs();
	torture_bpf__destroy(skel);
	return true;
}

int scheduler(const char *unused)
{
	__u64 rng = seed_of(WHO_SCHED);
	struct progress *p;

	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!sched_state_is("disabled")) {
		cannot(ATTACK_SCHED, "sched_ext is not there, or in use: no objects of the "
		       "kernel's are attacked");
		return 0;
	}
	p = new_progress("scheduler");
	while (!shared->stop && sched_round(p, &rng))
		doze(500);
	snprintf(p->name, sizeof(p->name), "-");
	return 0;
}

/* ---- sysfs ---- */

static void read_cache(const char *path, void *unused)
{
	static const char *const files[] = { "objects", "slabs", "partial", "total_objects",
					     "free_calls" };
	char file[512], buf[4096];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(file, sizeof(file), "%s/%s", path, files[i]);
		read_text(file, buf, sizeof(buf));
	}
	snprintf(file, sizeof(file), "%s/validate", path);
	write_text(file, "1");
}

int shrinker(const char *unused)
{
	__u64 rng = seed_of(WHO_SHRINKER);
	struct progress *p = new_progress("shrinker");

	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!shared->stop) {
		for_each_cache("arena:", shrink_cache, NULL);
		for_each_cache("arena:", read_cache, NULL);
		if (!(draw(&rng) >> 60) && !write_text("/proc/sys/vm/drop_caches", "3"))
			add(&shared->drops, 1);
		p->count++;
		usleep(100000 + (draw(&rng) & 0xffff));
	}
	return 0;
}

/* ---- CPUs ---- */

static int set_online(int cpu, bool online)
{
	char path[64];
	int err;

	snprintf(path, sizeof(path), SYSFS_CPU "/cpu%d/online", cpu);
	lock_plugs();
	err = write_text(path, online ? "1" : "0");
	unlock_plugs();
	return err;
}

int plugger(const char *unused)
{
	__u64 rng = seed_of(WHO_PLUGGER);
	struct progress *p = new_progress("plugger");
	int cpu, err;
	bool went;

	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!shared->stop) {
		__u64 r = draw(&rng);

		cpu = 1 + (r >> 8) % (nr_cpus - 1);
		doze(300 + (r >> 20) % 1500);
		err = set_online(cpu, false);
		went = !err;
		if (err == -ENOENT || err == -EPERM) {
			cannot(ATTACK_PLUG, "CPU %d does not go: %s", cpu, strerror(-err));
			break;
		}
		if (err && err != -EBUSY)
			blame("CPU %d does not go: %s", cpu, strerror(-err));
		doze((r >> 40) % 400);
		/* Its return can be refused for a moment, not for good */
		if (!WAIT_FOR(20, !(err = set_online(cpu, true))))
			blame("CPU %d does not come back: %s", cpu, strerror(-err));
		add(&shared->plugs, went);
		p->count++;
	}
	snprintf(p->name, sizeof(p->name), "-");
	return 0;
}

/* ---- groups, and what is left ---- */

char group[64];
static char body_group[96];
int caches_before;

const char *make_groups(void)
{
	char path[128];

	write_text(CGROUP_ROOT "/cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), CGROUP_ROOT "/torture-%d", getpid());
	snprintf(body_group, sizeof(body_group), "%s/body", group);
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", group);
	if (!mkdir(group, 0755) && !write_text(path, "+memory") && !mkdir(body_group, 0755)) {
		snprintf(path, sizeof(path), "%s/memory.current", body_group);
		if (!access(path, R_OK))
			return body_group;
	}
	cannot(ATTACK_KILL, "no memory controller at " CGROUP_ROOT
	       ": charges are not looked at, nobody is killed");
	*group = '\0';
	return NULL;
}

static bool no_caches_left(void)
{
	return for_each_cache("arena:", NULL, NULL) <= caches_before;
}

void check_leaks(struct leaks *leaks)
{
	long long rest = 0;
	char path[128];

	*leaks = (struct leaks){};
	for (int i = 0; i < NR_ARENAS; i++)
		leaks->pages += shared->left[i];
	if (!WAIT_FOR(30, no_caches_left())) {
		leaks->caches = for_each_cache("arena:", NULL, NULL) - caches_before;
		blame("%lld caches of arenas are left in " SYSFS_SLAB, leaks->caches);
	}
	if (!*group)
		return;
	/* Of the body; and of victims as well, whose groups went before them */
	snprintf(path, sizeof(path), "%s/memory.current", group);
	if (!WAIT_FOR(30, (rest = read_number(path)) < GROUP_REST)) {
		leaks->bytes = rest;
		blame("%lld bytes are still charged to the group", rest);
	}
	if (!WAIT_FOR(30, !rmdir(body_group)) || !WAIT_FOR(30, !rmdir(group)))
		note("the group %s does not go: %s", group, strerror(errno));
}
