// SPDX-License-Identifier: GPL-2.0
/*
 * What `arenaslab bench` has to see of the machine: tasks that come and go, of which it
 * makes ops, and how long an arena takes to go.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "bench.h"

#define TASK_DEAD	0x80

/* ---- tasks: an object for each, as `arenaslab tasks` has it ---- */

__u32 tasks[BENCH_TRACE_OPS];	/* pid, once when it came and once when it went */
__u32 nr_tasks;
static bool came[BENCH_TRACE_TASKS];

static void record(u32 pid)
{
	u32 i = __sync_fetch_and_add(&nr_tasks, 1);

	if (i < BENCH_TRACE_OPS)
		tasks[i] = pid;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(task_comes, struct task_struct *task, u64 clone_flags)
{
	u32 pid = task->pid;

	if (pid && pid < BENCH_TRACE_TASKS && !came[pid]) {
		came[pid] = true;
		record(pid);
	}
	return 0;
}

/* Not when it exits: it still runs after that */
SEC("tp_btf/sched_switch")
int BPF_PROG(task_goes, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	u32 pid = prev->pid;

	if (prev_state == TASK_DEAD && pid < BENCH_TRACE_TASKS && came[pid]) {
		came[pid] = false;
		record(pid);
	}
	return 0;
}

/* ---- arenas that go: on a machine with one CPU, or what is idle means nothing ---- */

__u64 idle_ns;			/* what the CPU was idle */
__u64 frees;			/* arenas that are gone */
__u64 free_end_ns;		/* when the last one was */
__u64 free_end_idle_ns;		/* idle_ns at that moment */
__u64 barriers;			/* rcu_barrier() since the start */
__u64 grace_periods;		/* synchronize_rcu() */

static u64 idle_since;

SEC("tp_btf/sched_switch")
int BPF_PROG(count_idle, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u64 now = bpf_ktime_get_ns();

	if (!prev->pid && idle_since)
		idle_ns += now - idle_since;
	idle_since = next->pid ? 0 : now;
	return 0;
}

SEC("fentry/rcu_barrier")
int BPF_PROG(count_barrier)
{
	__sync_fetch_and_add(&barriers, 1);
	return 0;
}

SEC("fentry/synchronize_rcu")
int BPF_PROG(count_grace_period)
{
	__sync_fetch_and_add(&grace_periods, 1);
	return 0;
}

/* All pages are back: map_free() waits for the worker that frees them */
SEC("fexit/arena_map_free")
int BPF_PROG(arena_is_gone)
{
	free_end_ns = bpf_ktime_get_ns();
	free_end_idle_ns = idle_ns;
	__sync_fetch_and_add(&frees, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
