// SPDX-License-Identifier: GPL-2.0
/*
 * The programs of `arenaslab torture`: one step of a worker in every context there is,
 * see torture.h. User space loads an instance for each arena; a fourth one has the
 * sched_ext scheduler, whose cmasks are objects of the kernel's.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/arena_alloc.bpf.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "torture.h"

#define NUMA_NO_NODE	(-1)
#define PAGE_SIZE	(1u << PAGE_SHIFT)

extern const void __arena *scx_bpf_online_cmask(void) __weak __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PAGES);	/* user space sets it before the load */
} arena SEC(".maps");

/* As in linux/slab_arena.h, where it is no enum: 0 is a slab */
#define ARENA_SLOT_KIND		7

/*
 * How deep programs are on top of each other on a CPU: the three arenas have this map in
 * common. Each program guards against itself only, and all of them together could be
 * deeper than the stack is. And until when nothing is done in these contexts, since they
 * are to have half of a CPU and not all of it, however slow it is.
 */
#define MAX_DEPTH	3
/*
 * On top of others nobody does anything any more after that, so that who is at the bottom
 * gets on: it may be a task that was preempted there.
 */
#define MAX_STORM	1000000000ULL

struct governor {
	u64 depth;
	u64 since;			/* the one at the bottom began */
	u64 rest_until;
	u64 free_until[NR_HOLDS];	/* nobody is held up until then */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct governor);
} governors SEC(".maps");

struct timed {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct timed);
} timers SEC(".maps");

const volatile __u32 kind = ARENA_KEPT;
const volatile __u64 arena_start;
const volatile __u32 arena_pages = MAX_PAGES;
/* A context does something on one of so many events, less one: a power of two */
const volatile __u32 rate[NR_CTX];
/* The kernel is so many times slower: so much rarer are timers */
const volatile __u32 slow = 1;
const volatile __u32 class_sizes[CLASS_LARGE] = {
	0, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096
};

/* Set when the run ends: contexts do nothing any more */
volatile __u32 closing;
struct torture_worker workers[MAX_WORKERS];
struct torture_counts counts;
struct torture_first first;

/*
 * What is live. Of a page: how many objects it has, and in the upper half the sum of
 * their classes, which is the number times the class as long as they are all of one.
 * An addition is all it takes, so no context waits for another one. Of an object: a bit.
 */
__u64 page_table[MAX_PAGES];
__u64 object_bits[MAX_PAGES * 4];

/* Objects of the other arena; user space puts them here */
__u64 foreign[NR_FOREIGN];
/* The lawless arena's: whoever wants frees them */
__u64 ring[NR_RING];
__u64 raced[NR_RACED];
__u64 race_round, last_race;
__u64 phase;
/* The two who free the same, what is freed is how large */
__u64 racers[2], raced_size;
/* The looker's faults at objects that were freed are held up: 1, when; 2, now */
__u64 hold_faults, looker;
/* How often that happened which somebody is held up for */
__u64 happened[NR_HOLDS];

/* The scheduler's */
__u64 kernel_object;
__u64 nr_cmasks;

static void count(u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

static u64 draw(struct torture_worker *w)
{
	u64 x = w->rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	w->rng = x;
	return x * 0x2545f4914f6cdd1dULL;
}

/*
 * Not static, like all that is long from here on: the verifier goes through a global
 * function once for a program, or twice if that calls it where it may sleep and where it
 * may not, and through a static one for every call and state that it is called in: with
 * KASAN in the kernel 20 minutes were not enough for three arenas.
 */
__noinline int report(u32 error, u64 addr, u64 size, u64 left, u64 right)
{
	if (error >= NR_ERRORS)
		return 0;
	count(&counts.errors[error]);
	if (!__sync_val_compare_and_swap(&first.error, 0, error)) {
		first.addr = addr;
		first.size = size;
		first.left = left;
		first.right = right;
	}
	return 1;
}

__noinline u32 class_of(u32 size)
{
	if (size <= 128)
		return size <= 16 ? 1 : size <= 32 ? 2 : size <= 64 ? 3 : size <= 96 ? 4 : 5;
	if (size <= 512)
		return size <= 192 ? 6 : size <= 256 ? 7 : 8;
	if (size <= PAGE_SIZE)
		return size <= 1024 ? 9 : size <= 2048 ? 10 : 11;
	return CLASS_LARGE;
}

/* How much there is at an address that was returned for @size */
__noinline u32 room_of(u32 size)
{
	u32 class;

	if (size & SLOT_PAGES)
		return (size & ~SLOT_PAGES) << PAGE_SHIFT;
	class = class_of(size);
	if (class < CLASS_LARGE)
		return class_sizes[class];
	return (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

/* ---- the table ---- */

/* What is wrong with an address, whoever else may have it */
__noinline u32 check_place(u64 addr, u32 size)
{
	u32 class = size & SLOT_PAGES ? CLASS_PAGES : class_of(size), room = room_of(size);
	u32 in_page = addr & (PAGE_SIZE - 1);

	if (addr < arena_start || addr + room > arena_start + ((u64)arena_pages << PAGE_SHIFT))
		return ERR_OUTSIDE;
	if (!(u32)addr)
		return ERR_OFFSET_0;
	if (class < CLASS_LARGE ? in_page % room || in_page + room > PAGE_SIZE : in_page)
		return ERR_ALIGN;
	return ERR_NONE;
}

__noinline int add_pages(u32 page, u32 nr, u64 class)
{
	u64 old;
	u32 i;

	bpf_for(i, page, page + nr) {
		if (i >= MAX_PAGES)
			break;
		old = __sync_fetch_and_add(&page_table[i], class << 32 | 1);
		if (old)
			return (u32)(old >> 32) == class ? ERR_DUPLICATE : ERR_OVERLAP;
	}
	return ERR_NONE;
}

__noinline int del_pages(u32 page, u32 nr, u64 class)
{
	u64 old;
	u32 i;

	bpf_for(i, page, page + nr) {
		if (i >= MAX_PAGES)
			break;
		old = __sync_fetch_and_add(&page_table[i], -(class << 32 | 1));
		if (old != (class << 32 | 1))
			return ERR_TABLE;
	}
	return ERR_NONE;
}

__noinline u32 change_table(u64 addr, u32 size, bool add)
{
	u64 class = size & SLOT_PAGES ? CLASS_PAGES : class_of(size);
	u32 page = (addr - arena_start) >> PAGE_SHIFT, room = room_of(size), word;
	u64 old, bit;

	if (class >= CLASS_LARGE)
		return add ? add_pages(page, room >> PAGE_SHIFT, class) :
			     del_pages(page, room >> PAGE_SHIFT, class);
	if (page >= MAX_PAGES || !room)
		return ERR_OUTSIDE;
	word = (addr & (PAGE_SIZE - 1)) / room;
	bit = 1ULL << (word & 63);
	word = page * 4 + ((word >> 6) & 3);
	if (word >= MAX_PAGES * 4)
		return ERR_OUTSIDE;
	if (add) {
		old = __sync_fetch_and_add(&page_table[page], class << 32 | 1);
		if ((old >> 32) != class * (u32)old)
			return ERR_OVERLAP;
		old = __sync_fetch_and_or(&object_bits[word], bit);
		return old & bit ? ERR_DUPLICATE : ERR_NONE;
	}
	old = __sync_fetch_and_and(&object_bits[word], ~bit);
	if (!(old & bit))
		return ERR_TABLE;
	old = __sync_fetch_and_add(&page_table[page], -(class << 32 | 1));
	return (old >> 32) != class * (u32)old ? ERR_OVERLAP : ERR_NONE;
}

/* ---- content ---- */

__noinline int fill(u64 addr, u32 room, u32 serial)
{
	u64 __arena *p = (u64 __arena *)addr;
	u64 val = PATTERN(addr, serial, 0);
	u32 i;

	bpf_for(i, 0, room / 16) {
		p[2 * i] = val;
		p[2 * i + 1] = val + 1;
		val += 2;
	}
	return 0;
}

__noinline int look(u64 addr, u32 room, u32 serial)
{
	u64 __arena *p = (u64 __arena *)addr;
	u64 val = PATTERN(addr, serial, 0), a, b;
	u32 i;

	count(&counts.looks);
	bpf_for(i, 0, room / 16) {
		a = p[2 * i];
		b = p[2 * i + 1];
		if (a != val || b != val + 1)
			return report(ERR_CHANGED, addr + 16 * i, room, a != val ? a : b, val);
		val += 2;
	}
	return 0;
}

__noinline int look_zero(u64 addr, u32 room)
{
	u64 __arena *p = (u64 __arena *)addr;
	u64 a, b;
	u32 i;

	bpf_for(i, 0, room / 16) {
		a = p[2 * i];
		b = p[2 * i + 1];
		if (a | b)
			return report(ERR_NOT_ZERO, addr + 16 * i, room, a, b);
	}
	return 0;
}

/*
 * Overwrite, whoever has it; never with what looks like a kernel address. Of what may
 * not be mapped two words are enough: the kernel reports each with a backtrace, which
 * takes milliseconds here. Whole pages are overwritten by user space.
 */
__noinline int scribble(u64 addr, u32 words, u64 r)
{
	u64 __arena *p = (u64 __arena *)(addr & ~7ULL);
	u32 i;

	bpf_for(i, 0, words)
		p[i] = (r ^ i * 0x9e3779b97f4a7c15ULL) & 0x7fffffffffffffffULL;
	return 0;
}

/* ---- operations ---- */

/* Any free goes by here: the kernel counts all but NULL, as accepted or refused */
static void do_free(u64 addr)
{
	if ((u32)addr)
		count(&counts.frees);
	bpf_arena_free(&arena, (void __arena *)addr);
}

static void bad_free(u32 bad, u64 addr)
{
	if (bad < NR_BAD)
		count(&counts.bad[bad]);
	do_free(addr);
}

/* In interrupts two pages are long enough */
__noinline u32 draw_size(u64 r, u32 ctx)
{
	u32 which = (r >> 16) & 255, max;

	/* There what lacks is the list_lock of a cache, as likely as not of this one */
	if (ctx == CTX_PARTIAL && r >> 63)
		return PAGE_SIZE / 2 - (r >> 32 & 127);
	if (which < 248) {
		which = which % 11 + 1;
		if (which >= CLASS_LARGE)
			return 16;
		max = class_sizes[which];
		which = class_sizes[which - 1];
		return which + 1 + (u32)(r >> 32) % (max - which);
	}
	if (ctx > CTX_ATOMIC)
		return PAGE_SIZE + 1 + (r >> 32) % PAGE_SIZE;
	if (ctx == CTX_TASK && which == 255 && !((r >> 24) & 3))
		return PAGE_SIZE + 1 + (u32)(r >> 32) % (768 << 10);
	return PAGE_SIZE + 1 + (u32)(r >> 32) % (7 * PAGE_SIZE);
}

static void count_alloc(u64 addr, u32 size)
{
	if (!addr)
		count(&counts.nulls);
	else if (size & SLOT_PAGES)
		count(&counts.pages);
	else if (size > PAGE_SIZE)
		count(&counts.large);
	else
		count(&counts.small);
}

/* An object that was just allocated is the slot's */
__noinline int own(struct torture_slot *s __arg_nonnull, u64 addr, u32 size, u64 r, u32 ctx)
{
	u32 err;

	count_alloc(addr, size);
	if (!addr)
		return 0;
	err = check_place(addr, size);
	if (!err)
		err = change_table(addr, size, true);
	if (err)
		return report(err, addr, size, ctx, 0);

	s->serial++;
	if (kind == ARENA_KEPT) {
		look_zero(addr, room_of(size));
		fill(addr, room_of(size), s->serial);
	} else {
		/* No more than the smallest object has: it is still ours */
		scribble(addr, 2, r);
	}
	s->size = size;
	s->addr = addr;
	return 0;
}

__noinline int take(struct torture_slot *s __arg_nonnull, u64 r, u32 ctx)
{
	u32 size;
	u64 addr;

	/* One of 64 is ordinary pages; in the scribbled arena nobody could own them */
	if (kind == ARENA_KEPT && ((r >> 24) & 63) == 63) {
		size = SLOT_PAGES | (1 + ((r >> 32) & 3));
		addr = (u64)bpf_arena_alloc_pages(&arena, NULL, size & ~SLOT_PAGES, NUMA_NO_NODE,
						  0);
	} else {
		size = draw_size(r, ctx);
		addr = (u64)bpf_arena_alloc(&arena, size);
	}
	return own(s, addr, size, r, ctx);
}

__noinline int drop(struct torture_slot *s __arg_nonnull)
{
	u64 addr = s->addr;
	u32 size = s->size, err;

	s->addr = 0;
	/* Before it is free: the next owner may have it at once */
	err = change_table(addr, size, false);
	if (err)
		report(err, addr, size, 0, 0);
	if (size & SLOT_PAGES) {
		bpf_arena_free_pages(&arena, (void __arena *)addr, size & ~SLOT_PAGES);
	} else {
		count(&counts.own_frees);
		do_free(addr);
	}
	return 0;
}

__noinline int give(struct torture_slot *s __arg_nonnull)
{
	if (kind == ARENA_KEPT)
		look(s->addr, room_of(s->size), s->serial);
	return drop(s);
}

/* A free with an object of ours that has to be refused; the object stays live */
__noinline int free_badly(struct torture_slot *s __arg_nonnull, u64 r)
{
	u64 addr = s->addr, page = addr & ~(u64)(PAGE_SIZE - 1);
	u32 size = s->size, room, inside;

	if (!addr)
		return 0;
	room = room_of(size);
	if (!room)
		return 0;
	inside = 1 + (u32)(r >> 32) % (room - 1);
	if (size & SLOT_PAGES) {
		bad_free(BAD_PAGE, addr + (r & 1 ? inside : 0));
	} else if (size > PAGE_SIZE) {
		bad_free(BAD_LARGE_TAIL, inside >= PAGE_SIZE && r & 1 ?
			 addr + (inside & ~(PAGE_SIZE - 1)) : addr + inside);
	} else if ((room == 96 || room == 192) && r & 1) {
		/* 42 of 96 bytes, or 21 of 192, leave 64 bytes */
		bad_free(BAD_TAIL, page + PAGE_SIZE - 64 + (r >> 32 & 63));
	} else {
		bad_free(BAD_INTERIOR, addr + inside);
	}
	return 0;
}

/* Bad frees that need no object of ours */
__noinline int free_nothing(u64 r)
{
	u64 end = arena_start + ((u64)arena_pages << PAGE_SHIFT), addr;
	u32 below = 1 + (u32)(r >> 32) % (NO_PAGES * PAGE_SIZE);

	switch ((r >> 24) & 3) {
	case 0:
		bad_free(BAD_NO_PAGE, end - below);
		break;
	case 1:
		addr = r & 16 ? end + below : r & 32 ? 0xffffffff : arena_start - below;
		bad_free(BAD_OUTSIDE, addr);
		break;
	case 2:
		addr = foreign[(r >> 32) & (NR_FOREIGN - 1)];
		if (addr)
			bad_free(BAD_FOREIGN, addr);
		break;
	case 3:
		bad_free(BAD_NULL, r & 16 ? 0 : r & 0xffffffff00000000ULL);
		break;
	}
	return 0;
}

/*
 * bpf_arena_free_pages() where it must take nothing of ours. In the kept arena it is
 * only asked for pages of one object, since others' ordinary pages are live, too; and
 * by who may sleep only: otherwise it is done later, and what is there by then may be
 * such a page.
 */
__noinline int free_pages_badly(struct torture_slot *s, u64 r, u32 ctx)
{
	u32 page = (u32)(r >> 32) % (arena_pages - NO_PAGES), nr = 1;
	u64 addr = arena_start + ((u64)page << PAGE_SHIFT);

	if (kind == ARENA_KEPT) {
		if (ctx != CTX_TASK || !s || !s->addr || s->size & SLOT_PAGES)
			return 0;
		addr = s->addr & ~(u64)(PAGE_SIZE - 1);
		if (s->size > PAGE_SIZE)
			nr = room_of(s->size) >> PAGE_SHIFT;
	} else {
		nr = (r & 31) == 31 ? arena_pages : 1 + ((r >> 24) & 63);
		if (nr > arena_pages - NO_PAGES - page)
			nr = arena_pages - NO_PAGES - page;
	}
	count(&counts.free_pages);
	bpf_arena_free_pages(&arena, (void __arena *)addr, nr);
	return 0;
}

__noinline int alloc_badly(u64 r)
{
	u32 size = (r & 3) == 0 ? 0 : (r & 3) == 1 ? 0xffffffff :
		   ((arena_pages << PAGE_SHIFT) + 1) | (u32)(r >> 32);
	u64 addr = (u64)bpf_arena_alloc(&arena, size);

	if (addr)
		report(ERR_BAD_SIZE, addr, size, 0, 0);
	return 0;
}

/* An object is taken in phases of plenty and given back in phases of want */
__noinline int use_slot(struct torture_worker *w __arg_nonnull,
			struct torture_slot *s __arg_nonnull, u64 r, u32 ctx)
{
	bool plenty = !(w->ops & 512), unlikely = !((r >> 60) & 7);

	if (!s->addr)
		return plenty || unlikely ? take(s, r, ctx) : 0;
	if (!plenty || unlikely)
		return give(s);
	if (kind == ARENA_KEPT)
		return look(s->addr, room_of(s->size), s->serial);
	return 0;
}

__noinline int lawful(struct torture_worker *w __arg_nonnull, u64 r, u32 ctx)
{
	struct torture_slot *s = &w->slot[r & (NR_SLOTS - 1)];
	u32 op = (r >> 8) & 255;

	if (op < 208)
		return use_slot(w, s, r, ctx);
	if (op < 228)
		return free_badly(s, r);
	if (op < 236)
		return free_nothing(r);
	if (op < 244)
		return free_pages_badly(s, r, ctx);
	if (op < 246)
		return alloc_badly(r);
	if (kind == ARENA_SCRIBBLED)
		scribble(arena_start + (r >> 32) % ((arena_pages - NO_PAGES - 1) << PAGE_SHIFT),
			 2, r);
	return 0;
}

__noinline int lawless(u64 r, u32 ctx)
{
	u32 op = (r >> 8) & 255, i = r & (NR_RING - 1), size, err;
	u64 anywhere = arena_start + (u32)(r >> 32) % (arena_pages << PAGE_SHIFT);
	u64 addr;

	if (op < 110) {
		size = draw_size(r, ctx);
		addr = (u64)bpf_arena_alloc(&arena, size);
		count_alloc(addr, size);
		if (!addr)
			return 0;
		err = check_place(addr, size);
		if (err)
			report(err, addr, size, ctx, 0);
		/* Somebody may have freed it by now, and it may be anything */
		scribble(addr, 2, r);
		addr = __sync_lock_test_and_set(&ring[i], addr);
		if (addr)
			do_free(addr);
		return 0;
	}
	addr = ring[i];
	if (op < 180) {
		/* It stays there: the next one frees it again */
		do_free(addr);
		if (op < 120)
			do_free(addr);
	} else if (op < 200) {
		do_free(addr - PAGE_SIZE + ((r >> 32) & (4 * PAGE_SIZE - 1)));
	} else if (op < 216) {
		do_free(anywhere);
	} else if (op < 224) {
		free_nothing(r);
	} else if (op < 232) {
		free_pages_badly(NULL, r, ctx);
	} else if (op < 236) {
		if (bpf_arena_alloc_pages(&arena, NULL, 1 + (i & 7), NUMA_NO_NODE, 0))
			count(&counts.pages);
	} else if (op < 246) {
		scribble(addr, 2, r);
	} else if (anywhere & 1) {
		scribble(anywhere, 2, r);
	} else {
		alloc_badly(r);
	}
	return 0;
}

__noinline int step(struct torture_worker *w __arg_nonnull, u32 ctx)
{
	u64 r = draw(w);

	w->ops++;
	if (ctx < NR_CTX)
		count(&counts.ops[ctx]);
	return kind == ARENA_LAWLESS ? lawless(r, ctx) : lawful(w, r, ctx);
}

/* ---- tasks ---- */

static struct torture_worker *find_worker(u32 i)
{
	return &workers[i & (MAX_WORKERS - 1)];
}

SEC("syscall")
int task_sleep(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	u32 i;

	bpf_for(i, 0, args->ops) {
		if (closing)
			break;
		step(w, CTX_TASK);
	}
	return 0;
}

SEC("syscall")
int task_atomic(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	unsigned long flags;
	u32 i;

	bpf_for(i, 0, args->ops) {
		if (closing)
			break;
		switch (draw(w) >> 62) {
		case 0:
			bpf_rcu_read_lock();
			step(w, CTX_ATOMIC);
			bpf_rcu_read_unlock();
			break;
		case 1:
			bpf_preempt_disable();
			step(w, CTX_ATOMIC);
			bpf_preempt_enable();
			break;
		case 2:
			bpf_local_irq_save(&flags);
			step(w, CTX_ATOMIC);
			bpf_local_irq_restore(&flags);
			break;
		default:
			step(w, CTX_ATOMIC);
		}
	}
	return 0;
}

/*
 * Two threads free the same objects, in the same order. The first one allocates them,
 * the other one waits for that, a while. Who comes to an object first has more to do than
 * who comes second and is refused, so whoever is behind catches up: they meet often.
 */
__noinline int race_free(void)
{
	u64 addr;
	u32 i;

	bpf_for(i, 0, NR_RACED) {
		if (i >= NR_RACED)
			break;
		addr = *(volatile u64 *)&raced[i];
		if (addr)
			do_free(addr);
	}
	return 0;
}

/*
 * Small objects; two of which are a slab, so that there is much to do under its list_lock;
 * as large as a page, so that slabs go; or larger, which are no slabs.
 */
__noinline u32 race_size(u64 r)
{
	switch (r >> 61) {
	case 0:
	case 1:
		return PAGE_SIZE;
	case 2:
	case 3:
		return PAGE_SIZE + 1 + (r & 127);
	case 4:
	case 5:
		return PAGE_SIZE / 2 - (r & 127);
	default:
		return 1 + (r & 127);
	}
}

/* The arena may be full: without waiting for others to give something back */
__noinline int race_first(u64 r)
{
	u32 i, size = race_size(r), nr = size > PAGE_SIZE ? NR_RACED / 4 : NR_RACED;
	u64 addr;

	bpf_for(i, 0, NR_RACED) {
		if (i >= NR_RACED)
			break;
		addr = 0;
		if (i < nr) {
			bpf_rcu_read_lock();
			addr = (u64)bpf_arena_alloc(&arena, size);
			bpf_rcu_read_unlock();
			count_alloc(addr, size);
		}
		raced[i] = addr;
	}
	raced_size = size;
	/* What it returns is used, or it would order nothing on arm64 */
	last_race = __sync_fetch_and_add(&race_round, 1);
	race_free();
	return size == PAGE_SIZE;
}

__noinline u64 race_second(u64 round)
{
	u64 now = round;
	u32 i;

	bpf_for(i, 0, 20000) {
		now = *(volatile u64 *)&race_round;
		if (now != round)
			break;
	}
	if (now == round)
		return now;
	__sync_fetch_and_add(&counts.races, NR_RACED);
	race_free();
	return now;
}

SEC("syscall")
int task_race(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	u64 round = *(volatile u64 *)&race_round;
	u32 i;

	racers[args->worker & 1] = bpf_get_current_pid_tgid();

	bpf_for(i, 0, args->ops) {
		if (closing)
			break;
		w->ops++;
		if (!(args->worker & 1))
			round = race_second(round);
		else if (race_first(draw(w)))
			break;	/* now it is the turn of who gives pages back */
	}
	return 0;
}

/* Objects of a page or two each, all at once; user space looks at them */
SEC("syscall")
int churn_take(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	u32 i;

	bpf_for(i, 0, NR_CHURNED) {
		if (i >= NR_CHURNED)
			break;
		if (!w->slot[i].addr)
			own(&w->slot[i], (u64)bpf_arena_alloc(&arena, args->ops), args->ops, 0,
			    CTX_OTHER);
	}
	return 0;
}

SEC("syscall")
int churn_give(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	u32 i;

	bpf_for(i, 0, NR_CHURNED) {
		if (i >= NR_CHURNED)
			break;
		if (w->slot[i].addr)
			drop(&w->slot[i]);
	}
	return 0;
}

/* ---- everywhere else ---- */

__noinline int step_alone(struct torture_worker *w __arg_nonnull, u32 ctx)
{
	if (__sync_lock_test_and_set(&w->lock, 1)) {
		count(&counts.busy);
		return 0;
	}
	step(w, ctx);
	__sync_lock_test_and_set(&w->lock, 0);
	return 0;
}

/* The CPU stays the same; who is deep may be preempted, then others are less deep */
__noinline int step_governed(struct torture_worker *w __arg_nonnull, u32 ctx, u32 cpu)
{
	struct governor *g = bpf_map_lookup_elem(&governors, &cpu);
	u64 begin = bpf_ktime_get_ns(), end, depth;

	if (!g)
		return 0;
	depth = __sync_fetch_and_add(&g->depth, 1);
	if (!depth)
		g->since = begin;
	if (depth < MAX_DEPTH &&
	    (depth ? begin - g->since < MAX_STORM : begin > g->rest_until)) {
		step_alone(w, ctx);
		end = bpf_ktime_get_ns();
		if (!depth)
			g->rest_until = end + (end - begin);
	}
	__sync_fetch_and_add(&g->depth, -1);
	return 0;
}

static __always_inline int on_event(u32 ctx)
{
	u32 cpu = bpf_get_smp_processor_id() & (MAX_CPUS - 1);
	struct torture_worker *w = find_worker(WORKER(ctx, cpu));

	if (closing || (w->ticks++ & rate[ctx]))
		return 0;
	return step_governed(w, ctx, cpu);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch)
{
	return on_event(CTX_SWITCH);
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(on_page_alloc)
{
	return on_event(CTX_PAGE_ALLOC);
}

SEC("tp_btf/kmem_cache_alloc")
int BPF_PROG(on_cache_alloc)
{
	return on_event(CTX_CACHE_ALLOC);
}

SEC("tp_btf/kmem_cache_free")
int BPF_PROG(on_cache_free)
{
	return on_event(CTX_CACHE_FREE);
}

SEC("tp_btf/contention_begin")
int BPF_PROG(on_contention)
{
	return on_event(CTX_CONTENTION);
}

SEC("fentry/bpf_arena_slab_map")
int BPF_PROG(on_map)
{
	return on_event(CTX_MAP);
}

SEC("fentry/bpf_arena_slab_unmap")
int BPF_PROG(on_unmap)
{
	return on_event(CTX_UNMAP);
}

SEC("fentry/slab_arena_set_link")
int BPF_PROG(on_link)
{
	return on_event(CTX_LINK);
}

SEC("fentry/range_tree_clear")
int BPF_PROG(on_range)
{
	return on_event(CTX_RANGE);
}

SEC("kprobe/__slab_free")
int on_slab_free(struct pt_regs *ctx)
{
	return on_event(CTX_SLAB_FREE);
}

SEC("kprobe/slab_attach_kprobe_locked")
int on_partial(struct pt_regs *ctx)
{
	return on_event(CTX_PARTIAL);
}

/* Whatever it interrupted takes long enough for another CPU to do all kinds of things */
static void stall(u64 r)
{
	u64 end = bpf_ktime_get_ns() + 100000 + (r & 0x7ffff);
	u32 i;

	count(&counts.stalls);
	bpf_for(i, 0, 100000) {
		if (bpf_ktime_get_ns() > end)
			break;
	}
}

/*
 * What goes wrong between two instructions only, does so if one CPU is between them for
 * long and others are not idle. Here somebody is held up, until the others have done what
 * must not happen meanwhile, or for a time. Each kind has a sixth of the
 * time at most, that without a purpose less.
 */
__noinline int hold(u32 what, u64 nsec)
{
	u32 cpu = bpf_get_smp_processor_id() & (MAX_CPUS - 1), i;
	struct governor *g = bpf_map_lookup_elem(&governors, &cpu);
	u64 begin = bpf_ktime_get_ns(), now = begin, before;

	if (!g || what >= NR_HOLDS || closing || begin < g->free_until[what])
		return 0;
	g->free_until[what] = begin + (what == HOLD_PROBE ? 32 : 6) * nsec;
	before = *(volatile u64 *)&happened[what];
	count(&counts.holds[what]);
	bpf_for(i, 0, 1000000) {
		if (*(volatile u64 *)&happened[what] != before)
			break;
		now = bpf_ktime_get_ns();
		if (now - begin > nsec)
			return 0;
	}
	count(&counts.held_through[what]);
	return 1;
}

static bool is_racer(void)
{
	u64 me = bpf_get_current_pid_tgid();

	return me && (racers[0] == me || racers[1] == me);
}

/*
 * A free has found the slab of an object, and lost the object to another one: only RCU keeps
 * the slab's metadata. The page goes meanwhile. (Before the object is lost or won there is no
 * function to attach to; random probes in bpf_arena_free() hold there, and slot.pml models it.)
 */
SEC("fentry/arena_free_other")
int BPF_PROG(on_lost_free, struct bpf_arena *arena, void *ptr, struct bpf_prog_aux *aux,
	     unsigned long slot)
{
	u32 pgoff = ((u64)ptr - ARENA_BASE) / PAGE_SIZE, i;
	u64 slab, cache, now, end;
	struct arena_slab *as;

	if (!slot || slot & ARENA_SLOT_KIND)
		return 0;
	as = (struct arena_slab *)slot;
	slab = (u64)BPF_CORE_READ(as, slab);
	cache = (u64)BPF_CORE_READ(as, cache);
	if (phase != PHASE_HOLDS || !is_racer() || raced_size != PAGE_SIZE ||
	    !hold(HOLD_FREE, 20000000))
		return 0;
	/* The metadata goes after the page, and has another use soon */
	end = bpf_ktime_get_ns() + 30000000;
	bpf_for(i, 0, 1000000) {
		if (bpf_ktime_get_ns() > end)
			break;
		now = (u64)BPF_CORE_READ(as, slab);
		if (now == slab && (u64)BPF_CORE_READ(as, cache) == cache)
			continue;
		report(ERR_GRACE, ARENA_BASE + (u64)pgoff * PAGE_SIZE, 0, slab, now);
		break;
	}
	return 0;
}

/* A fault has found the page of an object; its process may not be passed over now */
static int hold_fault(u64 addr)
{
	if (hold_faults == 2 && (u32)bpf_get_current_pid_tgid() == looker &&
	    addr - ARENA_BASE < MAX_PAGES * PAGE_SIZE) {
		count(&happened[HOLD_WORKER]);
		hold(HOLD_FAULT, 30000000);
	}
	return 0;
}

/* Not before a fault has found what is about to go */
SEC("fentry/arena_slab_worker")
int BPF_PROG(on_worker, struct work_struct *work)
{
	struct arena_slabs *sl = container_of(work, struct arena_slabs, work);

	if (!hold_faults || BPF_CORE_READ(sl, arena, user_vm_start) != ARENA_BASE)
		return 0;
	hold_faults = 2;
	hold(HOLD_WORKER, 20000000);
	return 0;
}

SEC("fentry/vmf_insert_mixed")
int BPF_PROG(on_slab_fault, struct vm_area_struct *vma, u64 addr)
{
	return hold_fault(addr);
}

/* The same with an object of several pages */
SEC("fentry/vm_insert_page")
int BPF_PROG(on_page_fault, struct vm_area_struct *vma, u64 addr)
{
	return hold_fault(addr);
}

SEC("fentry/slab_arena_free_page")
int BPF_PROG(on_page_gone)
{
	count(&happened[HOLD_FREE]);
	return 0;
}

SEC("fexit/arena_zap_mappings")
int BPF_PROG(on_zapped, struct bpf_arena *zapped)
{
	if (zapped->user_vm_start == ARENA_BASE)
		count(&happened[HOLD_FAULT]);
	return 0;
}

SEC("fentry/slab_arena_keep")
int BPF_PROG(on_keep)
{
	count(&counts.keeps);
	return 0;
}

/* User space moves these about */
SEC("kprobe")
int on_probe(struct pt_regs *ctx)
{
	u32 cpu = bpf_get_smp_processor_id() & (MAX_CPUS - 1);
	struct torture_worker *w = find_worker(WORKER(CTX_PROBE, cpu));

	/* It takes seconds to remove them */
	if (phase != PHASE_PROBES)
		return 0;
	if (is_racer())
		hold(HOLD_RACE, 3000000);
	else if ((w->ticks & 3) == 3)
		hold(HOLD_PROBE, 1000000 + (w->rng & 0x1fffff));
	return on_event(CTX_PROBE);
}

SEC("perf_event")
int on_irq(struct bpf_perf_event_data *ctx)
{
	struct torture_worker *w;

	w = find_worker(WORKER(CTX_IRQ, bpf_get_smp_processor_id() & (MAX_CPUS - 1)));
	if (closing)
		return 0;
	if (kind == ARENA_LAWLESS) {
		/* Into the middle of the same free */
		do_free(*(volatile u64 *)&raced[w->ticks & (NR_RACED - 1)]);
		if (!(w->ticks & 127))
			stall(w->rng);
	}
	return on_event(CTX_IRQ);
}

static int timer_callback(void *map, u32 *key, struct timed *timed)
{
	u32 cpu = *key & (MAX_CPUS - 1);
	struct torture_worker *w = find_worker(WORKER(CTX_TIMER, cpu));

	if (closing)
		return 0;
	/* A timer is on one CPU at a time, but not always on the same */
	step_governed(w, CTX_TIMER, bpf_get_smp_processor_id() & (MAX_CPUS - 1));
	bpf_timer_start(&timed->timer, slow * (500000 + (w->rng & 0xfffff)), 0);
	return 0;
}

SEC("syscall")
int start_timer(struct torture_args *args)
{
	u32 key = args->worker;
	struct timed *timed;

	/* A program has to name the arena itself, its callbacks do not count */
	asm volatile("" :: "r"(&arena));
	timed = bpf_map_lookup_elem(&timers, &key);
	if (!timed)
		return __LINE__;
	if (bpf_timer_init(&timed->timer, &timers, 1 /* CLOCK_MONOTONIC */))
		return __LINE__;
	if (bpf_timer_set_callback(&timed->timer, timer_callback))
		return __LINE__;
	return bpf_timer_start(&timed->timer, 0, 0) ? __LINE__ : 0;
}

SEC("syscall")
int stop_timer(struct torture_args *args)
{
	u32 key = args->worker;
	struct timed *timed = bpf_map_lookup_elem(&timers, &key);

	if (timed)
		bpf_timer_cancel(&timed->timer);
	return 0;
}

/* ---- begin and end ---- */

/* Addresses that never have a page are behind all others */
SEC("syscall")
int start(struct torture_args *args)
{
	u64 end = arena_start + ((u64)arena_pages << PAGE_SHIFT);

	return bpf_arena_reserve_pages(&arena,
				       (void __arena *)(end - NO_PAGES * PAGE_SIZE), NO_PAGES);
}

/* Every object of a worker, when it is over; they are looked at once more */
SEC("syscall")
int finish_worker(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	u32 i;

	bpf_for(i, 0, NR_SLOTS) {
		if (i >= NR_SLOTS)
			break;
		if (w->slot[i].addr)
			give(&w->slot[i]);
	}
	return 0;
}

/*
 * The lawless arena: every address of a page where an object can begin. What is live
 * is free afterwards, whoever had it.
 */
SEC("syscall")
int finish_page(struct torture_args *args)
{
	u64 addr = arena_start + ((u64)args->worker << PAGE_SHIFT);
	u32 i;

	bpf_for(i, 0, PAGE_SIZE / 16)
		do_free(addr + 16 * i);
	return 0;
}

/* Ordinary pages that nobody owns */
SEC("syscall")
int finish_pages(struct torture_args *args)
{
	bpf_arena_free_pages(&arena, (void __arena *)arena_start, arena_pages);
	return 0;
}

/* ---- the scheduler, whose cmasks are the kernel's objects ---- */

SEC("struct_ops.s/cid_init")
int BPF_PROG(cid_init)
{
	asm volatile("" :: "r"(&arena));
	kernel_object = (u64)scx_bpf_online_cmask();
	return kernel_object ? 0 : -1;
}

SEC("struct_ops/cid_set_cmask")
void BPF_PROG(cid_set_cmask, struct task_struct *p, const struct scx_cmask *cmask)
{
	asm volatile("" :: "r"(&arena));
	count(&nr_cmasks);
}

/* With these two it stays when CPUs come and go */
SEC("struct_ops/cid_go_online")
void BPF_PROG(cid_go_online, s32 cid)
{
	asm volatile("" :: "r"(&arena));
}

SEC("struct_ops/cid_go_offline")
void BPF_PROG(cid_go_offline, s32 cid)
{
	asm volatile("" :: "r"(&arena));
}

/* It would be rid of what the kernel has in its arena */
SEC("syscall")
int free_kernels(struct torture_args *args)
{
	struct torture_worker *w = find_worker(args->worker);
	u32 i;

	bpf_for(i, 0, args->ops) {
		u64 r = draw(w), addr = kernel_object;

		w->ops++;
		switch (r >> 62) {
		case 0:
			bad_free(BAD_KERNEL, addr + (r & 31));
			break;
		case 1:
			count(&counts.free_pages);
			bpf_arena_free_pages(&arena, (void __arena *)arena_start, arena_pages);
			break;
		case 2:
			scribble(addr & ~(u64)(PAGE_SIZE - 1), PAGE_SIZE / 8, r);
			break;
		default:
			lawful(w, r, CTX_TASK);
		}
	}
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops_cid torture_ops = {
	.init = (void *)cid_init,
	.set_cmask = (void *)cid_set_cmask,
	.cid_online = (void *)cid_go_online,
	.cid_offline = (void *)cid_go_offline,
	.name = "torture",
};

char LICENSE[] SEC("license") = "GPL";
