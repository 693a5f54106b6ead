// SPDX-License-Identifier: GPL-2.0
/*
 * What a process, or a thread of the kernel's, has allocated and nobody has freed, by
 * the place in the kernel that asked for it. inject.c reads it.
 */
#include "common.bpf.h"
#include "../ledger.h"

#define ENTRIES	65536

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, u64);
	__type(value, u64);
} live SEC(".maps");

/* Single pages: the page allocator does not say who asked, the stack does */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, u64);
	__type(value, struct asked);
} live_pages SEC(".maps");

u32 watched;	/* a process; 0 is nobody: what is freed is struck out all the same */
u32 helper;	/* and a thread that works for it */
u64 nr_lost;	/* there was no room for them */

static bool is_watched(void)
{
	u64 id = bpf_get_current_pid_tgid();

	return watched && ((u32)(id >> 32) == watched || (helper && (u32)id == helper));
}

static int note(u64 ptr, u64 site)
{
	if (!ptr || !is_watched())
		return 0;
	if (bpf_map_update_elem(&live, &ptr, &site, BPF_ANY))
		__sync_fetch_and_add(&nr_lost, 1);
	return 0;
}

static int note_page(void *ctx, u64 page)
{
	struct asked asked = {};

	if (!page || !is_watched())
		return 0;
	bpf_get_stack(ctx, asked.frame, sizeof(asked.frame), 0);
	if (bpf_map_update_elem(&live_pages, &page, &asked, BPF_ANY))
		__sync_fetch_and_add(&nr_lost, 1);
	return 0;
}

static int strike_page(u64 page)
{
	bpf_map_delete_elem(&live_pages, &page);
	return 0;
}

static int strike(u64 ptr)
{
	bpf_map_delete_elem(&live, &ptr);
	return 0;
}

SEC("tp_btf/kmalloc")
int BPF_PROG(on_kmalloc, unsigned long site, const void *ptr)
{
	return note((u64)ptr, site);
}

SEC("tp_btf/kmem_cache_alloc")
int BPF_PROG(on_cache_alloc, unsigned long site, const void *ptr)
{
	return note((u64)ptr, site);
}

SEC("tp_btf/percpu_alloc_percpu")
int BPF_PROG(on_percpu_alloc, unsigned long site, bool reserved, bool is_atomic, size_t size,
	     size_t align, void *base_addr, int off, void *ptr)
{
	return note((u64)ptr, site);
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(on_page_alloc, struct page *page, unsigned int order)
{
	return order ? 0 : note_page(ctx, (u64)page);
}

/*
 * Twice: a program that is preempted does not run once more on the same CPU, and what
 * is freed there meanwhile would stay in the ledger. The other one is not under way then.
 */
#define STRIKE(nr)								\
SEC("tp_btf/kfree")								\
int BPF_PROG(on_kfree##nr, unsigned long site, const void *ptr)			\
{										\
	return strike((u64)ptr);						\
}										\
										\
SEC("tp_btf/kmem_cache_free")							\
int BPF_PROG(on_cache_free##nr, unsigned long site, const void *ptr)		\
{										\
	return strike((u64)ptr);						\
}										\
										\
SEC("tp_btf/percpu_free_percpu")						\
int BPF_PROG(on_percpu_free##nr, void *base_addr, int off, void *ptr)		\
{										\
	return strike((u64)ptr);						\
}										\
										\
SEC("tp_btf/mm_page_free")							\
int BPF_PROG(on_page_free##nr, struct page *page)				\
{										\
	return strike_page((u64)page);						\
}

STRIKE(1)
STRIKE(2)
