// SPDX-License-Identifier: GPL-2.0
/*
 * An object in the arena for each task: allocated on fork, updated on every
 * switch, freed when the task leaves its CPU for the last time.
 *
 * Everything that writes to an object is serialised by the scheduler: task_newtask
 * comes before the task can run, sched_switch under the lock of the runqueue that
 * the task is on, and the next one on another CPU not before this one is over. So
 * an object needs no lock. It is freed in the last sched_switch, and not in
 * sched_process_exit, which comes earlier: the task still runs after it.
 *
 * The object is found through task storage and not by pid: it goes with the
 * task_struct, while the pid of a dead task may be in use again.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/arena_alloc.bpf.h>
#include <bpf/bpf_tracing.h>
#include "arenaslab.h"

#define TASK_DEAD	0x80
#define ENOMEM		12

/*
 * With BPF_F_SEGV_ON_FAULT a reader that comes too late, to an object whose page
 * is gone, gets a signal. Without it the kernel would give the reader a new page
 * there, and nobody would ever free that.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_SEGV_ON_FAULT);
	__uint(max_entries, 4096);	/* pages; user space sets it before the load */
} arena SEC(".maps");

struct task_ref {
	struct task_obj __arena *obj;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ref);
} refs SEC(".maps");

struct task_dir __arena *dir;
struct task_stats stats;
__u64 last_id;

static void count(u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* An exchange, unlike a store, is a full barrier on every architecture */
static u64 exchange(u64 __arena *p, u64 val)
{
	return __sync_lock_test_and_set(p, val);
}

static void toggle_seq(struct task_obj __arena *obj)
{
	__sync_lock_test_and_set(&obj->seq, obj->seq + 1);
}

static u64 __arena *find_slot(u32 pid)
{
	struct task_chunk __arena *chunk;
	u32 i = pid / CHUNK_SLOTS;
	u64 old;

	if (i >= DIR_CHUNKS)
		return NULL;
	chunk = (struct task_chunk __arena *)dir->chunk[i];
	if (!chunk) {
		chunk = arena_new(&arena, struct task_chunk);
		if (!chunk)
			return NULL;
		old = __sync_val_compare_and_swap(&dir->chunk[i], 0, (u64)chunk);
		if (old) {
			arena_delete(&arena, chunk);
			chunk = (struct task_chunk __arena *)old;
		}
	}
	return &chunk->slot[pid % CHUNK_SLOTS];
}

/* Take the object out of the directory, if its pid is not somebody else's by now */
static void unlist(struct task_obj __arena *obj)
{
	u64 __arena *slot = find_slot(obj->pid);

	if (slot)
		__sync_val_compare_and_swap(slot, (u64)obj, 0);
}

/* After an exec of a thread that was not the leader; see arenaslab.h */
static void move(struct task_obj __arena *obj, u32 pid)
{
	u64 __arena *slot = find_slot(pid);

	if (!slot)
		return;
	unlist(obj);
	obj->pid = pid;
	exchange(slot, (u64)obj);
}

/* A comm goes by the stack: a helper cannot write to the arena */
static void copy_comm(struct task_obj __arena *obj, struct task_struct *task)
{
	u64 comm[TASK_COMM_SIZE / sizeof(u64)] = {};

	bpf_probe_read_kernel_str(comm, sizeof(comm), task->comm);
	((u64 __arena *)obj->comm)[0] = comm[0];
	((u64 __arena *)obj->comm)[1] = comm[1];
}

static struct task_obj __arena *make_obj(struct task_struct *task)
{
	struct task_obj __arena *obj;
	u64 __arena *slot;

	slot = find_slot(task->pid);
	obj = slot ? arena_new(&arena, struct task_obj) : NULL;
	if (!obj) {
		count(&stats.failed);
		return NULL;
	}
	count(&stats.allocs);
	obj->id = __sync_fetch_and_add(&last_id, 1) + 1;
	obj->pid = task->pid;
	obj->tgid = task->tgid;
	copy_comm(obj, task);
	exchange(slot, (u64)obj);
	return obj;
}

static struct task_ref *find_ref(struct task_struct *task)
{
	struct task_ref *ref;

	ref = bpf_task_storage_get(&refs, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!ref)
		count(&stats.missed);
	return ref;
}

/* Tasks that are older than we are get their object at their first switch */
static struct task_obj __arena *find_obj(struct task_struct *task)
{
	struct task_ref *ref = find_ref(task);

	if (!ref)
		return NULL;
	if (!ref->obj)
		ref->obj = make_obj(task);
	return ref->obj;
}

static void switch_out(struct task_struct *task, u64 now)
{
	struct task_obj __arena *obj = find_obj(task);

	if (!obj)
		return;
	toggle_seq(obj);
	if (obj->since_ns)
		obj->run_ns += now - obj->since_ns;
	obj->since_ns = 0;
	obj->tgid = task->tgid;
	copy_comm(obj, task);
	if (obj->pid != task->pid)
		move(obj, task->pid);
	toggle_seq(obj);
}

static void switch_in(struct task_struct *task, u64 now)
{
	struct task_obj __arena *obj = find_obj(task);

	if (!obj)
		return;
	toggle_seq(obj);
	obj->since_ns = now;
	obj->cpu = bpf_get_smp_processor_id();
	obj->switches++;
	toggle_seq(obj);
}

static void free_obj(struct task_struct *task)
{
	struct task_ref *ref = bpf_task_storage_get(&refs, task, NULL, 0);
	struct task_obj __arena *obj;

	if (!ref)
		return;
	obj = ref->obj;
	ref->obj = NULL;
	if (!obj)
		return;
	unlist(obj);
	arena_delete(&arena, obj);
	count(&stats.frees);
}

SEC("tp_btf/task_newtask")
int BPF_PROG(on_newtask, struct task_struct *task, u64 clone_flags)
{
	/* Not the idle tasks, here and below: they all have pid 0 */
	if (task->pid)
		find_obj(task);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	u64 now = bpf_ktime_get_ns();

	if (prev->pid) {
		if (prev_state == TASK_DEAD)
			free_obj(prev);
		else
			switch_out(prev, now);
	}
	if (next->pid)
		switch_in(next, now);
	return 0;
}

SEC("syscall")
int start(void *ctx)
{
	dir = arena_new(&arena, struct task_dir);
	return dir ? 0 : -ENOMEM;
}

char LICENSE[] SEC("license") = "GPL";
