/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM bpf_arena

#if !defined(_TRACE_BPF_ARENA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_BPF_ARENA_H

#include <linux/slab_arena.h>
#include <linux/tracepoint.h>

/* Numbers and names, for arena_bad_names[] and this */
#define ARENA_BAD_FREES								\
	EM(ARENA_BAD_NOTHING,		"nothing")				\
	EM(ARENA_BAD_PAGE,		"ordinary_page")			\
	EM(ARENA_BAD_INTERIOR,		"interior")				\
	EM(ARENA_BAD_LARGE_INTERIOR,	"large_interior")			\
	EM(ARENA_BAD_DOUBLE,		"double_free")				\
	EM(ARENA_BAD_NEVER,		"never_allocated")			\
	EM(ARENA_BAD_PAGE_GOING,	"page_going")				\
	EM(ARENA_BAD_KERNEL,		"kernel_owned")				\
	EMe(ARENA_BAD_OTHER_CACHE,	"other_cache")

/* How much of a cache's name is kept */
#define ARENA_TRACE_NAME	32

#undef EM
#undef EMe
#define EM(nr, name)	TRACE_DEFINE_ENUM(nr);
#define EMe(nr, name)	TRACE_DEFINE_ENUM(nr);
ARENA_BAD_FREES
#undef EM
#undef EMe
#define EM(nr, name)	{ nr, name },
#define EMe(nr, name)	{ nr, name }

/**
 * bpf_arena_bad_free - a free was refused
 * @map_id: the arena
 * @uaddr: what was freed, as programs and user space see it
 * @kind: what is wrong with it, enum arena_bad_free
 * @object: user address of the object that it is, or that it points into; 0 if none
 * @size: its size in bytes; 0 if none
 * @cache: name of its cache; "large" for an object of whole pages, "" if none
 *
 * Fires in the context of the one who frees, NMI included, for programs and for kernel
 * users, each time: what is limited are the reports in the program's stream.
 */
TRACE_EVENT(bpf_arena_bad_free,

	TP_PROTO(u32 map_id, u64 uaddr, u32 kind, u64 object, u32 size, const char *cache),

	TP_ARGS(map_id, uaddr, kind, object, size, cache),

	TP_STRUCT__entry(
		__field(u64, uaddr)
		__field(u64, object)
		__field(u32, map_id)
		__field(u32, kind)
		__field(u32, size)
		__array(char, cache, ARENA_TRACE_NAME)
	),

	TP_fast_assign(
		__entry->uaddr = uaddr;
		__entry->object = object;
		__entry->map_id = map_id;
		__entry->kind = kind;
		__entry->size = size;
		strscpy_pad(__entry->cache, cache, ARENA_TRACE_NAME);
	),

	TP_printk("map_id=%u uaddr=0x%llx %s object=0x%llx size=%u cache=%s", __entry->map_id,
		  __entry->uaddr, __print_symbolic(__entry->kind, ARENA_BAD_FREES),
		  __entry->object, __entry->size, __entry->cache)
);

#ifdef CONFIG_BPF_ARENA_FAULT_BY_ADDR
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
#endif

#endif /* _TRACE_BPF_ARENA_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
