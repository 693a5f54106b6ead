/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM bpf_arena

#if !defined(_TRACE_BPF_ARENA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_BPF_ARENA_H

#include <linux/tracepoint.h>

/**
 * bpf_arena_kernel_fault - the kernel accessed an arena page that does not exist
 * @map_id: the arena
 * @uaddr: where, as programs and user space see it
 * @ip: the instruction
 * @write: it stored
 *
 * Fires in the fault handler, in any context, after the fault was recovered by its
 * address. Faults for which a program on the stack answers are in its stream.
 */
TRACE_EVENT(bpf_arena_kernel_fault,

	TP_PROTO(u32 map_id, u64 uaddr, unsigned long ip, bool write),

	TP_ARGS(map_id, uaddr, ip, write),

	TP_STRUCT__entry(
		__field(u64, uaddr)
		__field(unsigned long, ip)
		__field(u32, map_id)
		__field(bool, write)
	),

	TP_fast_assign(
		__entry->uaddr = uaddr;
		__entry->ip = ip;
		__entry->map_id = map_id;
		__entry->write = write;
	),

	TP_printk("map_id=%u uaddr=0x%llx ip=%pS %s", __entry->map_id, __entry->uaddr,
		  (void *)__entry->ip, __entry->write ? "write" : "read")
);

#endif /* _TRACE_BPF_ARENA_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
