/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * bpf_arena_alloc() and bpf_arena_free() for BPF programs, with types.
 *
 *	struct {
 *		__uint(type, BPF_MAP_TYPE_ARENA);
 *		__uint(map_flags, BPF_F_MMAPABLE);
 *		__uint(max_entries, 1024);		// pages
 *	} arena SEC(".maps");
 *
 *	struct node __arena *n = arena_new(&arena, struct node);
 *	u64 __arena *sums = arena_new_array(&arena, u64, nr);
 *
 *	if (!n || !sums)				// as with malloc()
 *		...
 *	arena_delete(&arena, sums);
 *
 * Behind vmlinux.h, or linux/bpf.h with linux/types.h, and bpf/bpf_helpers.h. User space
 * and headers that it shares with programs may include this file, too: what they get is
 * __arena, which is nothing there. Documentation/bpf/arena_slab.rst has a whole program.
 *
 * It stands in bpf/, as usdt.bpf.h does, so that programs need not change if libbpf takes
 * it over; it is not in tools/lib/bpf since libbpf is released on its own and for all
 * kernels, while kfuncs belong to one.
 */
#ifndef __ARENA_ALLOC_BPF_H
#define __ARENA_ALLOC_BPF_H

#ifndef __BPF__

#ifndef __arena
#define __arena
#endif

#else /* __BPF__ */

/*
 * An arena pointer is a user address, of which the low half counts when a program follows
 * it. A compiler with address space casts has them in an address space of their own, and
 * casts where they are followed. With another one (or BPF_ARENA_FORCE_ASM) __arena is
 * nothing: the program follows arena_kern(ptr) instead of ptr, stores arena_user() of what
 * it made so, and defines BPF_NO_KFUNC_PROTOTYPES before vmlinux.h, whose prototypes have
 * the address space.
 */
#if defined(__BPF_FEATURE_ADDR_SPACE_CAST) && !defined(BPF_ARENA_FORCE_ASM)

#ifndef __arena
#define __arena __attribute__((address_space(1)))
#endif

#define arena_kern(ptr)	(ptr)
#define arena_user(ptr)	(ptr)

#else

#ifndef __arena
#define __arena
#endif

/* r0 = addr_space_cast(r0, ...), in bytes, and so in a register that is known */
#define __arena_cast(ptr, spaces)					\
	({								\
		typeof(ptr) __aa_ptr = (ptr);				\
									\
		asm volatile("r0 = %0; .byte 0xbf, 0; .short 1; .long %1; %0 = r0" \
			     : "+r"(__aa_ptr) : "i"(spaces) : "r0");	\
		__aa_ptr;						\
	})
#define arena_kern(ptr)	__arena_cast(ptr, 1)
#define arena_user(ptr)	__arena_cast(ptr, 1 << 16)

#endif

/*
 * The kfuncs, the same as vmlinux.h's. Weak: where a kernel may not have them, test
 * bpf_ksym_exists(bpf_arena_alloc) before a call.
 */
extern void __arena *bpf_arena_alloc(void *map, __u32 size) __weak __ksym;
extern void bpf_arena_free(void *map, void __arena *ptr) __weak __ksym;

/*
 * A zeroed object of @type, aligned to 16 bytes at least: NULL if there is none to be had,
 * which may be at any time where a program may not sleep.
 */
#define arena_new(map, type)						\
	((type __arena *)bpf_arena_alloc((map), sizeof(type)))

/* @nr of them, one behind the other. NULL as well if that is nothing, or 4 GiB or more. */
#define arena_new_array(map, type, nr)					\
	((type __arena *)__arena_new_array((map), (nr), sizeof(type)))

static __always_inline __attribute__((unused))
void __arena *__arena_new_array(void *map, __u64 nr, __u64 size)
{
	/* By division: BPF has no product of 128 bits. A negative number is a large one. */
	if (size && nr > 0xffffffff / size)
		return (void __arena *)0;
	return bpf_arena_alloc(map, nr * size);
}

/*
 * Free what the two above returned, or NULL, in any context. It does not compile for a
 * pointer that is not __arena. What is not a live object is left alone and reported in the
 * program's stderr stream.
 */
#define arena_delete(map, ptr)						\
	({								\
		const volatile void __arena *__aa_old = (ptr);		\
									\
		bpf_arena_free((map), (void __arena *)__aa_old);	\
	})

/*
 * *to = *from and *to = 0, each of them in the arena or not. clang 19 makes memcpy() and
 * memset() of an assignment of structures and of simple loops, and forgets the casts: the
 * verifier says "invalid mem access 'scalar'" then.
 */
#define arena_copy(to, from)						\
	({								\
		_Static_assert(sizeof(*(to)) == sizeof(*(from)), "arena_copy: other sizes"); \
		__arena_move((void *)(to), (const void *)(from), sizeof(*(to)),	\
			     __arena_step(*(to)) < __arena_step(*(from)) ?	\
			     __arena_step(*(to)) : __arena_step(*(from)));	\
	})
#define arena_zero(to)							\
	__arena_move((void *)(to), (const void *)0, sizeof(*(to)), __arena_step(*(to)))

/* By words, if that is how it is aligned: the verifier wants that of the stack */
#define __arena_step(object)						\
	(_Alignof(typeof(object)) >= 8 && !(sizeof(object) & 7) ? 8 : 1)

typedef __u64 __attribute__((may_alias)) __arena_word;

static __always_inline __attribute__((unused))
void __arena_move(void *to, const void *from, __u64 size, __u64 step)
{
	/* volatile, or clang makes a memcpy() of this as well */
	for (__u64 i = 0; i < size; i += step) {
		if (step == 8)
			*(volatile __arena_word *)(to + i) =
				from ? *(const volatile __arena_word *)(from + i) : 0;
		else
			*(volatile __u8 *)(to + i) = from ? *(const volatile __u8 *)(from + i) : 0;
	}
}

/* What CO-RE finds in any kernel with arenas; without the need of vmlinux.h */
struct bpf_arena___range {
	__u64 user_vm_start;
	__u64 user_vm_end;
} __attribute__((preserve_access_index));

/*
 * Are the @size bytes at @ptr in the arena? False for NULL. That is all it says: there may
 * be no object, and no page. Following a wrong pointer does no harm to others, with this or
 * without; it is for a program that wants to know of a pointer whether it is one at all.
 */
#define arena_contains(map, ptr, size)	__arena_contains((map), (__u64)(ptr), (size))

/* The same for all of *ptr */
#define arena_points_into(map, ptr)	arena_contains(map, ptr, sizeof(*(ptr)))

static __always_inline __attribute__((unused))
_Bool __arena_contains(void *map, __u64 ptr, __u64 size)
{
	struct bpf_arena___range *range = map;
	__u64 start = range->user_vm_start;
	__u64 length = range->user_vm_end - start;
	__u32 low = ptr;

	/* The low half only, as when it is followed */
	return low && (__u32)(low - (__u32)start) < length &&
	       size <= length - (__u32)(low - (__u32)start);
}

#endif /* __BPF__ */

#endif /* __ARENA_ALLOC_BPF_H */
