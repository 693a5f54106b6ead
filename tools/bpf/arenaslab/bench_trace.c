// SPDX-License-Identifier: GPL-2.0
/*
 * The script of `arenaslab bench -w trace`: what `arenaslab tasks`, which has an object for
 * each task, allocates and frees while a burst of processes and threads comes and goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench_tool.h"
#include "bench_watch.skel.h"

#define BURSTS		16
#define PROCESSES	48

static void *nothing(void *arg)
{
	return arg;
}

/* As different as tasks are: some exec, some have a thread, some only exit */
static void child(int nr)
{
	pthread_t thread;
	int null;

	if (nr % 3 == 0) {
		null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execl("/proc/self/exe", "arenaslab", "bench", "--help", NULL);
	} else if (nr % 3 == 1 && !pthread_create(&thread, NULL, nothing, NULL)) {
		pthread_join(thread, NULL);
	}
	_exit(0);
}

static void burst(void)
{
	for (int i = 0; i < BURSTS; i++) {
		int nr = 0;

		for (int j = 0; j < PROCESSES; j++) {
			pid_t pid = fork();

			if (!pid)
				child(j);
			nr += pid > 0;
			/* Some go while others come */
			if (j % 8 == 7 && waitpid(-1, NULL, 0) > 0)
				nr--;
		}
		while (nr-- > 0 && (waitpid(-1, NULL, 0) > 0 || errno == EINTR))
			;
	}
}

/*
 * A pid is only a name here: its slot is the first one that was free when it came, and
 * what has not gone in the end is freed then, so that a round leaves nothing.
 */
static void add_tasks(struct script *s, const __u32 *pids, __u32 nr)
{
	static int slot_of[BENCH_TRACE_TASKS];
	static bool full[BENCH_TRACE_TASKS];

	memset(slot_of, -1, sizeof(slot_of));
	memset(full, 0, sizeof(full));
	for (__u32 i = 0; i < nr; i++) {
		__u32 pid = pids[i];
		int slot = 0;

		if (slot_of[pid] >= 0) {
			full[slot_of[pid]] = false;
			script_add(s, slot_of[pid]);
			slot_of[pid] = -1;
			continue;
		}
		while (full[slot])
			slot++;
		full[slot] = true;
		slot_of[pid] = slot;
		script_add(s, slot);
		s->pairs++;
	}
	for (int i = 0; i < BENCH_TRACE_TASKS; i++) {
		if (full[i])
			script_add(s, i);
	}
}

bool script_trace(struct script *s)
{
	struct bench_watch_bpf *w = bench_watch_bpf__open();
	struct bpf_program *prog;
	__u32 nr = 0;
	int err = -errno;

	if (w) {
		bpf_object__for_each_program(prog, w->obj)
			bpf_program__set_autoload(prog, prog == w->progs.task_comes ||
						  prog == w->progs.task_goes);
		err = bench_watch_bpf__load(w) ?: bench_watch_bpf__attach(w);
	}
	if (!err) {
		burst();
		/* Let the last ones leave their CPU */
		settle();
		bench_watch_bpf__detach(w);
		nr = w->bss->nr_tasks < BENCH_TRACE_OPS ? w->bss->nr_tasks : BENCH_TRACE_OPS;
		add_tasks(s, w->bss->tasks, nr);
	}
	bench_watch_bpf__destroy(w);
	if (err)
		fail("the tasks cannot be traced: %s", strerror(-err));
	else if (!nr)
		fail("no task came or went while they were traced");
	return nr;
}
