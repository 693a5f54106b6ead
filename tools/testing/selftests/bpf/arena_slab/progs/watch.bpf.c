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
