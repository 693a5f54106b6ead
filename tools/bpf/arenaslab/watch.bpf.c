// SPDX-License-Identifier: GPL-2.0
/*
 * What goes wrong in arenas, from the kernel's tracepoints into a ring buffer. They fire
 * where it happens, in NMI, too; so what is done here is copying. An event for which there
 * is no room is counted in @lost. One that comes while the same program runs on this CPU
 * is counted by the kernel, as a recursion miss of the program.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "watch.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);	/* 3,500 events */
} events SEC(".maps");

__u64 lost;

static struct watch_event *new_event(void *ctx, enum watch_type type, __u32 map_id, __u64 addr)
{
	struct watch_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	__u64 id = bpf_get_current_pid_tgid();

	if (!e) {
		__sync_fetch_and_add(&lost, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->ns = bpf_ktime_get_ns();
	e->type = type;
	e->map_id = map_id;
	e->addr = addr;
	e->pid = id >> 32;
	e->tid = id;
	e->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_get_stack(ctx, e->frames, sizeof(e->frames), 0);
	return e;
}

SEC("tp_btf/bpf_arena_bad_free")
int BPF_PROG(on_bad_free, __u32 map_id, __u64 uaddr, __u32 kind, __u64 object, __u32 size,
	     const char *cache)
{
	struct watch_event *e = new_event(ctx, WATCH_BAD_FREE, map_id, uaddr);

	if (!e)
		return 0;
	e->kind = kind;
	e->object = object;
	e->size = size;
	bpf_probe_read_kernel_str(e->cache, sizeof(e->cache), cache);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tp_btf/bpf_arena_kernel_fault")
int BPF_PROG(on_kernel_fault, __u32 map_id, __u64 uaddr, unsigned long ip, bool write)
{
	struct watch_event *e = new_event(ctx, WATCH_KERNEL_FAULT, map_id, uaddr);

	if (!e)
		return 0;
	e->ip = ip;
	e->kind = write;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
