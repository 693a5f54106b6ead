// SPDX-License-Identifier: GPL-2.0
/* No arena: who holds a cache of one, and who looks on while one is destroyed. */
#include "common.bpf.h"

extern int bpf_iter_kmem_cache_new(struct bpf_iter_kmem_cache *it) __weak __ksym;
extern struct kmem_cache *bpf_iter_kmem_cache_next(struct bpf_iter_kmem_cache *it) __weak __ksym;
extern void bpf_iter_kmem_cache_destroy(struct bpf_iter_kmem_cache *it) __weak __ksym;

#define NAME_LEN	40
#define HOLD_NS		(20 * SEC_NS)

/* In: the cache to hold, and when to let go. Out: that it is held. */
char wanted[NAME_LEN];
u32 held, let_go;

static __noinline bool is_wanted(struct kmem_cache *s)
{
	char name[NAME_LEN] = {};
	u32 i;

	if (bpf_probe_read_kernel_str(name, sizeof(name), s->name) < 0)
		return false;
	bpf_for(i, 0, NAME_LEN) {
		if (i >= NAME_LEN)
			break;
		if (name[i] != wanted[i])
			return false;
		if (!name[i])
			return true;
	}
	return false;
}

static __noinline int wait_for_user(void)
{
	u64 end = bpf_ktime_get_ns() + HOLD_NS;
	u32 round, i;

	bpf_for(round, 0, 1000) {
		bpf_for(i, 0, 100000) {
			if (*(volatile u32 *)&let_go || bpf_ktime_get_ns() > end)
				return 0;
		}
	}
	return 0;
}

/* The iterator has a reference to the cache that it stands on */
SEC("syscall")
int hold(void *ctx)
{
	struct kmem_cache *s;

	bpf_for_each(kmem_cache, s) {
		if (!is_wanted(s))
			continue;
		held = 1;
		wait_for_user();
		break;
	}
	return 0;
}

/* ---- who gives up the slabs of an arena ---- */

u64 detaches;		/* of a cache */
u64 stuck;		/* by a task that cannot leave its CPU */

SEC("fentry/slab_arena_detach")
int BPF_PROG(count_detach)
{
	__sync_fetch_and_add(&detaches, 1);
	/* Once is by our own trampoline */
	if (bpf_get_current_task_btf()->migration_disabled > 1)
		__sync_fetch_and_add(&stuck, 1);
	return 0;
}

/* ---- for bench.c: the machine has one CPU ---- */

u64 barriers;		/* rcu_barrier() since the start */
u64 grace_periods;	/* synchronize_rcu() */
u64 idle_ns;		/* what the CPU was idle */
u64 frees;		/* arenas that are gone */
u64 free_begin_ns;	/* when the last one began to go */
u64 free_end_ns;	/* and was gone */
u64 free_end_idle_ns;	/* idle_ns at that moment */

static u64 idle_since;

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

SEC("tp_btf/sched_switch")
int BPF_PROG(count_idle, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u64 now = bpf_ktime_get_ns();

	if (!prev->pid && idle_since)
		idle_ns += now - idle_since;
	idle_since = next->pid ? 0 : now;
	return 0;
}

SEC("fentry/arena_map_free")
int BPF_PROG(arena_goes)
{
	free_begin_ns = bpf_ktime_get_ns();
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
