// SPDX-License-Identifier: GPL-2.0
/*
 * The programs of `arenaslab fuzz`: an interpreter of the operations in a box, in each
 * of its contexts, see fuzz.h.
 */
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/arena_alloc.bpf.h>
#include <bpf/bpf_tracing.h>
#include "fuzz.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);		/* user space sets it before the load */
} arena SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FUZZ_BOXES);
	__type(key, u32);
	__type(value, struct fuzz_box);
} boxes SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
};

struct res_locked {
	struct bpf_res_spin_lock lock;
};

struct timed {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct locked);
} locks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct res_locked);
} res_locks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FUZZ_BOXES);
	__type(key, u32);
	__type(value, struct timed);
} timers SEC(".maps");

const volatile __u64 arena_start;
const volatile __u64 arena_end;
const volatile __u64 foreign_start;
/* Which arena of the two this is: operations at a hook are for one of them */
const volatile __u32 which;

/* Runs of the workers that free pages, of any arena */
__u64 worker_begun;
__u64 worker_ended;
/* What the quiet program found; of a timer, operations done */
__u64 busy;
__u64 timer_ops;
/* Makes a number of a pointer */
volatile __u64 laundered;

/* Of the kernel's own structures; nothing is there before the first slab cache */
static struct arena_slabs *find_slabs(void)
{
	struct bpf_arena *a = bpf_rdonly_cast(&arena, bpf_core_type_id_kernel(struct bpf_arena));

	return a->slabs;
}

static void read_rejects(u64 *to)
{
	struct arena_slabs *sl = find_slabs();

	to[0] = sl->counters[ARENA_FREE_NO_OBJECT].counter;
	to[1] = sl->counters[ARENA_FREE_INTERIOR].counter;
	to[2] = sl->counters[ARENA_FREE_NOT_LIVE].counter;
	to[3] = sl->counters[ARENA_FREE_NOT_YOURS].counter;
}

static u64 count_slabs(void)
{
	struct arena_slabs *sl = find_slabs();

	return sl->counters[ARENA_SLABS_MAPPED].counter - sl->counters[ARENA_SLABS_FREED].counter;
}

static struct fuzz_box *find_box(u32 i)
{
	return bpf_map_lookup_elem(&boxes, &i);
}

/* In which order things happened, in both arenas and boxes */
static u64 next_ticket(void)
{
	struct fuzz_box *b = find_box(0);

	return b ? __sync_add_and_fetch(&b->tickets, 1) : 0;
}

/* ---- operations ---- */

static __noinline u64 resolve(struct fuzz_box *b, struct fuzz_op *op)
{
	struct fuzz_box *other;
	u64 addr = 0;

	switch (op->base) {
	case FUZZ_REG:
		addr = b->regs[op->reg & (FUZZ_REGS - 1)];
		break;
	case FUZZ_OTHER:
		other = find_box(!op->box);
		if (other)
			addr = other->regs[op->reg & (FUZZ_REGS - 1)];
		break;
	case FUZZ_START:
		addr = arena_start;
		break;
	case FUZZ_END:
		addr = arena_end;
		break;
	case FUZZ_FOREIGN:
		addr = foreign_start;
		break;
	case FUZZ_STACK:
		laundered = (u64)&addr;
		addr = laundered;
		break;
	case FUZZ_VALUE:
		laundered = (u64)b;
		addr = laundered;
		break;
	}
	return (addr + op->off) ^ op->high;
}

/* Whether a new object is zero, and what it is from now on */
static __noinline u64 look_and_fill(u64 addr, u32 room, u32 words)
{
	u64 dirty = 0;
	u32 page, i;

	bpf_for(page, 0, (room + FUZZ_PAGE - 1) >> FUZZ_PAGE_SHIFT) {
		u64 start = addr + ((u64)page << FUZZ_PAGE_SHIFT);
		u64 __arena *p = (u64 __arena *)start;
		u32 n = room < FUZZ_PAGE ? room / 8 : words;

		bpf_for(i, 0, n) {
			if (p[i] && !dirty)
				dirty = start + 8 * i + 1;
			p[i] = FUZZ_PATTERN(start, i);
		}
	}
	return dirty;
}

static __noinline u64 access(struct fuzz_op *op, u64 addr)
{
	u64 val = op->val;

	if (op->code == FUZZ_ATOMIC) {
		/*
		 * Not across a word: arm64 has no such thing. Nor those that return the
		 * old value, of which x86 has only this one in an arena.
		 */
		u64 __arena *p = (u64 __arena *)(addr & ~7ULL);

		switch (op->width) {
		case 1:
			__sync_fetch_and_or(p, val);
			return 0;
		case 2:
			__sync_fetch_and_and(p, val);
			return 0;
		case 4:
			__sync_fetch_and_xor(p, val);
			return 0;
		default:
			return __sync_lock_test_and_set(p, val);
		}
	}
	if (op->code == FUZZ_LOAD) {
		switch (op->width) {
		case 1:
			return *(volatile u8 __arena *)addr;
		case 2:
			return *(volatile u16 __arena *)addr;
		case 4:
			return *(volatile u32 __arena *)addr;
		default:
			return *(volatile u64 __arena *)addr;
		}
	}
	switch (op->width) {
	case 1:
		*(volatile u8 __arena *)addr = val;
		break;
	case 2:
		*(volatile u16 __arena *)addr = val;
		break;
	case 4:
		*(volatile u32 __arena *)addr = val;
		break;
	default:
		*(volatile u64 __arena *)addr = val;
	}
	return 0;
}

/* The kfunc itself; no loop and no call in it, so that it can be done under a lock */
static __always_inline u64 call(u32 code, u64 addr, u32 size, int node, u64 flags)
{
	switch (code) {
	case FUZZ_ALLOC:
		return (u64)bpf_arena_alloc(&arena, size);
	case FUZZ_FREE:
		bpf_arena_free(&arena, (void __arena *)addr);
		return 0;
	case FUZZ_ALLOC_PAGES:
		return (u64)bpf_arena_alloc_pages(&arena, (void __arena *)addr, size, node, flags);
	case FUZZ_FREE_PAGES:
		bpf_arena_free_pages(&arena, (void __arena *)addr, size);
		return 0;
	case FUZZ_RESERVE:
		return bpf_arena_reserve_pages(&arena, (void __arena *)addr, size);
	}
	return 0;
}

static __noinline int finish(struct fuzz_box *b, struct fuzz_op *op, struct fuzz_res *res, u64 ret)
{
	u32 room;

	__sync_fetch_and_add(&b->inside, -1);
	if (ret && (op->code == FUZZ_ALLOC || op->code == FUZZ_ALLOC_PAGES)) {
		room = op->code == FUZZ_ALLOC ? fuzz_room(op->size) : op->size << FUZZ_PAGE_SHIFT;
		res->dirty = look_and_fill(ret, room, fuzz_fill_words(room));
		b->regs[op->dst & (FUZZ_REGS - 1)] = ret;
	}
	res->ret = ret;
	read_rejects(res->after);
	res->end = next_ticket();
	return 0;
}

static __noinline int begin(struct fuzz_box *b, struct fuzz_op *op, struct fuzz_res *res)
{
	res->addr = resolve(b, op);
	res->dirty = 0;
	res->slabs = count_slabs();
	read_rejects(res->before);
	res->begin = next_ticket();
	__sync_fetch_and_add(&b->inside, 1);
	return 0;
}

static __noinline int do_op(struct fuzz_box *b, struct fuzz_op *op, struct fuzz_res *res)
{
	u64 ret;

	begin(b, op, res);
	if (op->code >= FUZZ_LOAD)
		ret = access(op, res->addr);
	else
		ret = call(op->code, res->addr, op->size, op->node, op->val);
	return finish(b, op, res, ret);
}

static __noinline int do_locked(struct fuzz_box *b, struct fuzz_op *op, struct fuzz_res *res)
{
	u32 zero = 0, code = op->code, size = op->size;
	struct locked *l = bpf_map_lookup_elem(&locks, &zero);
	u64 addr, ret, flags = op->val;
	int node = op->node;

	if (!l)
		return 0;
	begin(b, op, res);
	addr = res->addr;
	bpf_spin_lock(&l->lock);
	ret = call(code, addr, size, node, flags);
	bpf_spin_unlock(&l->lock);
	return finish(b, op, res, ret);
}

static __noinline int do_res_locked(struct fuzz_box *b, struct fuzz_op *op, struct fuzz_res *res)
{
	u32 zero = 0, code = op->code, size = op->size;
	struct res_locked *l = bpf_map_lookup_elem(&res_locks, &zero);
	u64 addr, ret, flags = op->val;
	int node = op->node;

	if (!l)
		return 0;
	begin(b, op, res);
	addr = res->addr;
	if (bpf_res_spin_lock(&l->lock))
		return finish(b, op, res, 0);
	ret = call(code, addr, size, node, flags);
	bpf_res_spin_unlock(&l->lock);
	return finish(b, op, res, ret);
}

/* ---- tasks ---- */

SEC("syscall")
int run_sleep(struct fuzz_args *args)
{
	struct fuzz_box *b = find_box(args->box);
	u32 i;

	if (!b)
		return 0;
	b->owner = bpf_get_current_pid_tgid();
	bpf_for(i, args->first, args->first + args->nr) {
		u32 n = i & (FUZZ_MAX_OPS - 1);

		if (b->op[n].ctx == FUZZ_SLEEP)
			do_op(b, &b->op[n], &b->res[n]);
	}
	b->owner = 0;
	return 0;
}

SEC("syscall")
int run_atomic(struct fuzz_args *args)
{
	struct fuzz_box *b = find_box(args->box);
	unsigned long flags;
	u32 i;

	if (!b)
		return 0;
	b->owner = bpf_get_current_pid_tgid();
	bpf_for(i, args->first, args->first + args->nr) {
		u32 n = i & (FUZZ_MAX_OPS - 1);
		struct fuzz_res *res = &b->res[n];
		struct fuzz_op *op = &b->op[n];
		u32 ctx = op->ctx;

		/* What is no call is not allowed under these locks */
		if (op->code >= FUZZ_LOAD && (ctx == FUZZ_LOCK || ctx == FUZZ_RES_LOCK))
			ctx = FUZZ_RCU;
		switch (ctx) {
		case FUZZ_RCU:
			bpf_rcu_read_lock();
			do_op(b, op, res);
			bpf_rcu_read_unlock();
			break;
		case FUZZ_PREEMPT:
			bpf_preempt_disable();
			do_op(b, op, res);
			bpf_preempt_enable();
			break;
		case FUZZ_IRQ:
			bpf_local_irq_save(&flags);
			do_op(b, op, res);
			bpf_local_irq_restore(&flags);
			break;
		case FUZZ_LOCK:
			do_locked(b, op, res);
			break;
		case FUZZ_RES_LOCK:
			do_res_locked(b, op, res);
			break;
		}
	}
	b->owner = 0;
	return 0;
}

/* ---- in the middle of them ---- */

/* The next operation that waits, if this is its moment and its arena */
static __noinline int at_box(struct fuzz_box *b, u32 ctx)
{
	u32 n;

	if (b->next_at >= b->nr_at)
		return 0;
	n = b->at[b->next_at & (FUZZ_MAX_OPS - 1)] & (FUZZ_MAX_OPS - 1);
	if (b->op[n].ctx != ctx || b->op[n].arena != which)
		return 0;
	b->next_at++;
	return do_op(b, &b->op[n], &b->res[n]);
}

static __always_inline int at(u32 ctx)
{
	u64 task = bpf_get_current_pid_tgid();
	struct fuzz_box *b;
	u32 i;

	for (i = 0; i < FUZZ_BOXES; i++) {
		b = find_box(i);
		if (!b || b->owner != task || !b->inside)
			continue;
		/* An interrupt of this task may come by here, too: look only then */
		if (__sync_lock_test_and_set(&b->nested, 1))
			continue;
		at_box(b, ctx);
		__sync_lock_test_and_set(&b->nested, 0);
	}
	return 0;
}

SEC("fentry/range_tree_clear")
int BPF_PROG(at_range)
{
	return at(FUZZ_AT_RANGE);
}

SEC("fentry/bpf_arena_slab_map")
int BPF_PROG(at_map)
{
	return at(FUZZ_AT_MAP);
}

SEC("kprobe/__slab_free")
int at_free(struct pt_regs *ctx)
{
	return at(FUZZ_AT_FREE);
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(at_page)
{
	return at(FUZZ_AT_PAGE);
}

/* ---- a timer, which does all that wait for it ---- */

static int timer_callback(void *map, u32 *key, struct timed *timed)
{
	struct fuzz_box *b = find_box(*key);
	u32 i;

	if (!b)
		return 0;
	bpf_for(i, 0, FUZZ_MAX_OPS) {
		u32 n = i & (FUZZ_MAX_OPS - 1);

		if (b->op[n].ctx != FUZZ_TIMER || b->op[n].arena != which || b->res[n].begin)
			continue;
		do_op(b, &b->op[n], &b->res[n]);
		timer_ops++;
	}
	return 0;
}

SEC("syscall")
int start_timer(struct fuzz_args *args)
{
	u32 key = args->box;
	struct timed *timed = bpf_map_lookup_elem(&timers, &key);

	/* A program has to name the arena itself, its callbacks do not count */
	asm volatile("" :: "r"(&arena));
	if (!timed)
		return __LINE__;
	bpf_timer_init(&timed->timer, &timers, 1 /* CLOCK_MONOTONIC */);
	if (bpf_timer_set_callback(&timed->timer, timer_callback))
		return __LINE__;
	return bpf_timer_start(&timed->timer, args->nr * 1000ULL, 0) ? __LINE__ : 0;
}

SEC("syscall")
int stop_timer(struct fuzz_args *args)
{
	u32 key = args->box;
	struct timed *timed = bpf_map_lookup_elem(&timers, &key);

	if (timed)
		bpf_timer_cancel(&timed->timer);
	return 0;
}

/* ---- what is deferred ---- */

SEC("fentry/arena_free_worker")
int BPF_PROG(free_begins)
{
	__sync_fetch_and_add(&worker_begun, 1);
	return 0;
}

SEC("fexit/arena_free_worker")
int BPF_PROG(free_ends)
{
	__sync_fetch_and_add(&worker_ended, 1);
	return 0;
}

SEC("fentry/arena_slab_worker")
int BPF_PROG(slab_begins)
{
	__sync_fetch_and_add(&worker_begun, 1);
	return 0;
}

SEC("fexit/arena_slab_worker")
int BPF_PROG(slab_ends)
{
	__sync_fetch_and_add(&worker_ended, 1);
	return 0;
}

/*
 * Is there anything left to do for those who free later? The order matters: a run has
 * begun before the list is empty. It is the caller who looks at the runs before and after.
 */
SEC("syscall")
int look_busy(struct fuzz_args *args)
{
	struct bpf_arena *a = bpf_rdonly_cast(&arena, bpf_core_type_id_kernel(struct bpf_arena));
	struct arena_slabs *sl = a->slabs;
	struct bpf_arena_cache *c;
	u32 i, pages = (arena_end - arena_start) >> FUZZ_PAGE_SHIFT;

	busy = !!a->free_spans.first;
	busy |= !!sl->dead.first << 1;
	/* The end of a list is the only number that is no page of so small an arena */
	busy |= ((u32)sl->dead_slots.counter < pages) << 2;
	for (i = 0; i < sizeof(a->class) / sizeof(a->class[0]); i++) {
		c = a->class[i];
		if (c)
			busy |= ((u32)c->deferred.counter < pages) << 3;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
