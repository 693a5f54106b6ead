// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab fuzz: a session. Two arenas with an instance of the programs each, in which
 * one sequence after the other is done. After each of them everything is compared and
 * freed, so that the next one begins with empty arenas, but not with fresh ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "fuzz_user.h"
#include "test_util.h"
#include "fuzz.skel.h"

#define CPU1_ONLINE	"/sys/devices/system/cpu/cpu1/online"
/* How long what is deferred may take */
#define DEFERRED_SECONDS	20

static struct fuzz_session session;
static struct fuzz_bpf *skel[FUZZ_ARENAS];
static struct fuzz_model model[FUZZ_ARENAS];
static struct fuzz_box *boxes;
static __u32 map_id[FUZZ_ARENAS];
static __u8 seen[1 << 16];
static __u32 nr_new;
static int mem_fd = -1;
/* What a child found; in memory that is shared with it */
static volatile __u8 *fork_val;

/* ---- memory that may not be there ---- */

static sigjmp_buf fault_env;
static volatile sig_atomic_t guarded;

static void fault_handler(int sig)
{
	if (guarded) {
		guarded = 0;
		siglongjmp(fault_env, sig);
	}
	signal(sig, SIG_DFL);
}

/*
 * True if @statement was done, false if it ended in a fault. SIGBUS is none: the lock of
 * the arena was not to be had in time, on a busy machine.
 */
#define GUARD(statement)						\
	({								\
		volatile bool __ok = false;				\
									\
		for (volatile int __n = 0; __n < 64 && !__ok; __n++) {	\
			int __sig = sigsetjmp(fault_env, 0);		\
									\
			if (!__sig) {					\
				guarded = 1;				\
				statement;				\
				guarded = 0;				\
				__ok = true;				\
			} else if (__sig != SIGBUS) {			\
				break;					\
			}						\
		}							\
		__ok;							\
	})

/* ---- begin and end ---- */

static bool map_arena(int i)
{
	return mmap((void *)model[i].shape.start, model[i].shape.pages * FUZZ_PAGE,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    bpf_map__fd(skel[i]->maps.arena), 0) != MAP_FAILED;
}

static int load_arena(int i, const struct fuzz_shape *shape, int boxes_fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	struct fuzz_bpf *s;
	int err;

	fuzz_model_init(&model[i], &shape[i]);
	s = skel[i] = fuzz_bpf__open();
	if (!s)
		return fail("cannot open the BPF programs: %s", strerror(errno));
	s->rodata->arena_start = shape[i].start;
	s->rodata->arena_end = shape[i].start + shape[i].pages * FUZZ_PAGE;
	s->rodata->foreign_start = shape[!i].start;
	s->rodata->which = i;
	bpf_map__set_max_entries(s->maps.arena, shape[i].pages);
	bpf_map__set_map_extra(s->maps.arena, shape[i].start);
	bpf_map__set_map_flags(s->maps.arena, BPF_F_MMAPABLE |
			       (shape[i].segv ? BPF_F_SEGV_ON_FAULT : 0));
	bpf_program__set_autoload(s->progs.start_timer, has_timers());
	bpf_program__set_autoload(s->progs.stop_timer, has_timers());
	if (i) {
		/* Once is enough: they see the workers of all arenas */
		bpf_program__set_autoload(s->progs.free_begins, false);
		bpf_program__set_autoload(s->progs.free_ends, false);
		bpf_program__set_autoload(s->progs.slab_begins, false);
		bpf_program__set_autoload(s->progs.slab_ends, false);
		bpf_map__reuse_fd(s->maps.boxes, boxes_fd);
	}
	err = fuzz_bpf__load(s);
	if (err)
		return fail("cannot load the BPF programs: %s", strerror(-err));
	err = fuzz_bpf__attach(s);
	if (err)
		return fail("cannot attach the BPF programs: %s", strerror(-err));
	if (bpf_map_get_info_by_fd(bpf_map__fd(s->maps.arena), &info, &len))
		return fail("no map id: %s", strerror(errno));
	map_id[i] = info.id;
	return 0;
}

int fuzz_begin(const struct fuzz_session *s, const struct fuzz_shape *shape)
{
	struct sigaction fault = { .sa_handler = fault_handler, .sa_flags = SA_NODEFER };
	int err;

	session = *s;
	for (int i = 0; i < FUZZ_ARENAS; i++) {
		err = load_arena(i, shape, i ? bpf_map__fd(skel[0]->maps.boxes) : -1);
		if (err)
			return err;
	}
	boxes = mmap(NULL, FUZZ_BOXES * sizeof(*boxes), PROT_READ | PROT_WRITE, MAP_SHARED,
		     bpf_map__fd(skel[0]->maps.boxes), 0);
	fork_val = mmap(NULL, FUZZ_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (boxes == MAP_FAILED || fork_val == MAP_FAILED)
		return fail("cannot map the boxes: %s", strerror(errno));
	mem_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
	log_watch();
	return 0;
}

/* Without @unmap it is left to the end of the process */
void fuzz_end(bool unmap)
{
	for (int i = 0; unmap && i < FUZZ_ARENAS; i++)
		fuzz_bpf__destroy(skel[i]);
}

/* ---- programs ---- */

static int run_prog(struct bpf_program *prog, __u32 box, __u32 first, __u32 nr)
{
	struct fuzz_args args = { .box = box, .first = first, .nr = nr };
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &args, .ctx_size_in = sizeof(args));
	int err = bpf_prog_test_run_opts(bpf_program__fd(prog), &run);

	return err ?: (int)run.retval;
}

static bool waits_for_its_moment(const struct fuzz_op *op)
{
	return op->ctx >= FUZZ_FIRST_AT && op->ctx < FUZZ_TIMER;
}

/*
 * The end of a batch of box @b that begins at @first: operations for one program of one
 * arena, and what is to be done in the middle of them.
 */
static int find_batch(struct fuzz_box *b, int first, int nr, const struct fuzz_op **which)
{
	int i;

	*which = NULL;
	b->nr_at = 0;
	b->next_at = 0;
	for (i = first; i < nr; i++) {
		const struct fuzz_op *op = &b->op[i];

		if (op->code >= FUZZ_FIRST_USER)
			break;
		if (waits_for_its_moment(op)) {
			b->at[b->nr_at++] = i;
			continue;
		}
		if (op->ctx == FUZZ_TIMER)
			continue;
		if (*which && ((*which)->arena != op->arena ||
			       ((*which)->ctx == FUZZ_SLEEP) != (op->ctx == FUZZ_SLEEP)))
			break;
		*which = op;
	}
	return i;
}

/* A batch of box @box; the return value is where it ends */
static int run_batch(int box, int first, int nr)
{
	const struct fuzz_op *which;
	struct fuzz_bpf *s;
	int end = find_batch(&boxes[box], first, nr, &which);

	if (!which)
		return end;
	s = skel[which->arena];
	if (run_prog(which->ctx == FUZZ_SLEEP ? s->progs.run_sleep : s->progs.run_atomic, box,
		     first, end - first))
		wrong("the program did not run: %s", strerror(errno));
	__sync_fetch_and_add(session.ops, end - first);
	return end;
}

/* ---- answers ---- */

static __u64 order_of(int i)
{
	__u32 code = boxes->op[i].code;

	/*
	 * A free is done when it begins, and so is an access, in the middle of which is only
	 * the report of a fault; everything else when it ends.
	 */
	return code == FUZZ_FREE || code >= FUZZ_LOAD ? boxes->res[i].begin : boxes->res[i].end;
}

static int compare_order(const void *a, const void *b)
{
	__u64 x = order_of(*(const int *)a), y = order_of(*(const int *)b);

	return x < y ? -1 : x > y;
}

/* Those of an operation, without those of operations in the middle of it */
static void own_rejects(int i, int first, int end, __u64 *rejects)
{
	const struct fuzz_res *res = &boxes->res[i];

	for (int k = 0; k < 4; k++)
		rejects[k] = res->after[k] - res->before[k];
	for (int j = first; j < end; j++) {
		const struct fuzz_res *in = &boxes->res[j];

		if (j == i || boxes->op[j].arena != boxes->op[i].arena ||
		    in->begin < res->begin || in->end > res->end)
			continue;
		for (int k = 0; k < 4; k++)
			rejects[k] -= in->after[k] - in->before[k];
	}
}

static void print_wrong(int nr, const struct fuzz_op *op)
{
	if (session.silent)
		return;
	printf("wrong: operation %d: ", nr);
	fuzz_print_op(stdout, op);
}

/* Something is wrong with @addr: what the model knows, and what is there */
static void print_page(struct fuzz_model *m, __u64 addr)
{
	__u32 off = (__u32)(addr - m->shape.start);
	struct fuzz_page *p = &m->page[off >> FUZZ_PAGE_SHIFT];
	int i = m - model;
	volatile __u8 mapped = 0, again = 0;
	bool there;

	if (session.silent || off >= m->shape.pages * FUZZ_PAGE)
		return;
	there = GUARD(mapped = ((volatile __u8 *)m->shape.start)[off]);
	printf("page %u: kind %u, room %u, %u live%s%s%s, byte %#x; for a process %#x%s, ",
	       off >> FUZZ_PAGE_SHIFT, p->kind, p->room, p->live, p->maybe ? ", maybe" : "",
	       p->stale ? ", stale" : "", p->pending ? ", pending" : "", m->byte[off], mapped,
	       there ? "" : " (none)");
	boxes[1].op[0] = (struct fuzz_op){ .code = FUZZ_LOAD, .base = FUZZ_START, .off = off,
					   .width = 1 };
	run_prog(skel[i]->progs.run_sleep, 1, 0, 1);
	munmap((void *)m->shape.start, m->shape.pages * FUZZ_PAGE);
	there = map_arena(i) && GUARD(again = ((volatile __u8 *)m->shape.start)[off]);
	printf("mapped anew %#x%s, for a program %#llx\n", again, there ? "" : " (none)",
	       boxes[1].res[0].ret);
}

static bool check_answers(int first, int end)
{
	int order[FUZZ_MAX_OPS], nr = 0;
	__u64 rejects[4];
	__u32 sig;

	for (int i = first; i < end; i++) {
		if (boxes->res[i].begin)
			order[nr++] = i;
	}
	qsort(order, nr, sizeof(*order), compare_order);
	for (int n = 0; n < nr; n++) {
		const struct fuzz_op *op = &boxes->op[order[n]];
		const struct fuzz_res *res = &boxes->res[order[n]];
		struct fuzz_model *m = &model[op->arena];

		session.done[op->ctx]++;
		own_rejects(order[n], first, end, rejects);
		sig = fuzz_signature(m, op, res, rejects) & (sizeof(seen) - 1);
		nr_new += !seen[sig];
		seen[sig] = 1;
		if (!fuzz_model_result(m, op, res, rejects)) {
			print_wrong(order[n], op);
			print_page(m, res->addr);
			return false;
		}
	}
	return !*fuzz_wrong;
}

/* Operations that are no part of the sequence; they are in box 0 now */
static bool run_more(const struct fuzz_op *op, int nr)
{
	memcpy(boxes->op, op, nr * sizeof(*op));
	memset(boxes->res, 0, nr * sizeof(*boxes->res));
	for (int i = 0, end; i < nr; i = end) {
		end = run_batch(0, i, nr);
		if (!check_answers(i, end))
			return false;
	}
	return true;
}

static struct fuzz_op make_op(int arena, int code, __u32 page, __u32 size)
{
	return (struct fuzz_op){ .arena = arena, .code = code, .base = FUZZ_START, .node = -1,
				 .off = page * FUZZ_PAGE, .size = size };
}

/* ---- all of an arena ---- */

/* A program that is preempted by somebody who would run it again on the CPU is left out */
static __u64 missed(struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		wrong("no information about a program: %s", strerror(errno));
	return info.recursion_misses;
}

static __u64 workers_ended(void)
{
	return missed(skel[0]->progs.free_ends) + missed(skel[0]->progs.slab_ends) +
	       skel[0]->bss->worker_ended;
}

static __u64 workers_begun(void)
{
	return missed(skel[0]->progs.free_begins) + missed(skel[0]->progs.slab_begins) +
	       skel[0]->bss->worker_begun;
}

static bool is_quiet(int i)
{
	/* In this order: who ended had begun */
	__u64 ended = workers_ended();

	run_prog(skel[i]->progs.look_busy, 0, 0, 0);
	return !skel[i]->bss->busy && workers_begun() == ended;
}

static bool wait_quiet(int i)
{
	return WAIT_SLOW(DEFERRED_SECONDS, session.slow, is_quiet(i)) ||
	       wrong("what is deferred is not done after %d s: %#llx, %llu workers",
		     DEFERRED_SECONDS, skel[i]->bss->busy,
		     workers_begun() - workers_ended());
}

static bool free_unknown_pages(int i)
{
	struct fuzz_model *m = &model[i];

	/* A save of the box is not needed: the batch is over */
	for (__u32 n = 0; n < m->shape.pages; n++) {
		struct fuzz_op op = make_op(i, FUZZ_FREE_PAGES, n, 1);

		if (m->page[n].maybe && !run_more(&op, 1))
			return false;
	}
	return true;
}

static bool compare_page(struct fuzz_model *m, __u32 n)
{
	const __u8 *p = (const __u8 *)m->shape.start + n * FUZZ_PAGE;
	static __u8 copy[FUZZ_PAGE];

	if (m->page[n].kind < KIND_PAGE)
		return true;
	if (!GUARD(memcpy(copy, p, FUZZ_PAGE)))
		return wrong("a process cannot reach page %u", n);
	for (__u32 i = 0; i < FUZZ_PAGE; i++) {
		__u32 off = n * FUZZ_PAGE + i;

		if (copy[i] & 0x80)
			return wrong("somebody else's byte, %#x, stands at offset %#x", copy[i],
				     off);
		if (copy[i] != m->byte[off] && fuzz_byte_known(m, off)) {
			print_page(m, m->shape.start + off);
			return wrong("%#x stands at offset %#x, not %#x", copy[i], off,
				     m->byte[off]);
		}
	}
	return true;
}

static bool pages_are_right(int i, struct fuzz_counts *k)
{
	*k = fuzz_read_counts(map_id[i]);
	return (long long)k->pages == k->slabs_mapped - k->slabs_freed +
				      (long long)fuzz_model_pages(&model[i]);
}

/* The sums of the kernel; objects are exact at any time, pages when all is quiet */
static bool check_sums(int i)
{
	struct fuzz_model *m = &model[i];
	long long large = 0, live;
	struct fuzz_counts k;

	if (!WAIT_SLOW(DEFERRED_SECONDS, session.slow, pages_are_right(i, &k)))
		return wrong("the arena has %llu pages, expected are %u and %lld slabs", k.pages,
			     fuzz_model_pages(m), k.slabs_mapped - k.slabs_freed);
	for (int n = 0; n < k.nr_classes; n++) {
		live = 0;
		for (__u32 p = 0; p < m->shape.pages; p++) {
			if (m->page[p].kind == KIND_SLAB && m->page[p].room == k.class[n].size)
				live += m->page[p].live;
		}
		if (k.class[n].allocs - k.class[n].frees != live)
			return wrong("%lld objects of %u bytes were allocated, %lld freed, "
				     "%lld are live", k.class[n].allocs, k.class[n].size,
				     k.class[n].frees, live);
	}
	for (__u32 p = 0; p < m->shape.pages; p++)
		large += m->page[p].kind == KIND_LARGE;
	if (k.large_allocs - k.large_frees != large)
		return wrong("%lld large objects were allocated, %lld freed, %lld are live",
			     k.large_allocs, k.large_frees, large);
	return true;
}

/* SLUB's: what is in use when sheaves are empty is live */
static bool check_in_use(int i)
{
	struct fuzz_counts k = fuzz_read_counts(map_id[i]);
	struct fuzz_model *m = &model[i];
	long long live, in_use = 0;

	for (int n = 0; n < k.nr_classes; n++) {
		live = 0;
		for (__u32 p = 0; p < m->shape.pages; p++) {
			if (m->page[p].kind == KIND_SLAB && m->page[p].room == k.class[n].size)
				live += m->page[p].live;
		}
		if (!WAIT_SLOW(DEFERRED_SECONDS, session.slow,
			      (in_use = fuzz_objects_in_use(k.id, k.class[n].size)) == live))
			return wrong("%lld objects of %u bytes are in use, %lld are live", in_use,
				     k.class[n].size, live);
	}
	return true;
}

static bool settle(int i)
{
	if (!wait_quiet(i) || !free_unknown_pages(i) || !wait_quiet(i))
		return false;
	fuzz_model_settle(&model[i]);
	for (__u32 n = 0; n < model[i].shape.pages; n++) {
		if (!compare_page(&model[i], n))
			return false;
	}
	return check_sums(i);
}

/* ---- what processes do ---- */

static __u64 resolve(const struct fuzz_op *op)
{
	__u64 addr = 0;

	if (op->base == FUZZ_REG)
		addr = boxes[0].regs[op->reg];
	else if (op->base == FUZZ_START)
		addr = model[op->arena].shape.start;
	else if (op->base == FUZZ_END)
		addr = model[op->arena].shape.start + model[op->arena].shape.pages * FUZZ_PAGE;
	return addr + op->off;
}

static bool load_in_child(int i, __u8 *addr)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!map_arena(i))
			_exit(2);
		_exit(!GUARD(*fork_val = *(volatile __u8 *)addr));
	}
	if (pid < 0)
		return false;
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return wrong("a child that maps the arena ended with status %#x", status);
	return !WEXITSTATUS(status);
}

static bool access_byte(const struct fuzz_op *op)
{
	__u64 addr = resolve(op);
	struct fuzz_model *m = &model[op->arena];
	__u32 off = (__u32)(addr - m->shape.start);
	bool ok, is_write = op->code == FUZZ_POKE;
	__u8 *p = (__u8 *)m->shape.start + off, val = op->val & 0x7f;

	if (off >= m->shape.pages * FUZZ_PAGE)
		return true;
	switch (op->code) {
	case FUZZ_POKE:
		ok = GUARD(*(volatile __u8 *)p = val);
		break;
	case FUZZ_MEM:
		ok = false;
		/* See GUARD() */
		for (int n = 0; n < 8 && !ok; n++)
			ok = pread(mem_fd, &val, 1, (off_t)p) == 1;
		break;
	case FUZZ_FORK:
		ok = load_in_child(op->arena, p);
		val = *fork_val;
		break;
	default:
		ok = GUARD(val = *(volatile __u8 *)p);
	}
	return fuzz_model_access(m, off, is_write, ok, val);
}

static void shrink_all(int i)
{
	struct fuzz_counts k = fuzz_read_counts(map_id[i]);

	for (int n = 0; n < k.nr_classes; n++)
		fuzz_objects_in_use(k.id, k.class[n].size);
}

static bool plug(void)
{
	if (write_text(CPU1_ONLINE, "0"))
		return true;
	return WAIT_SLOW(DEFERRED_SECONDS, session.slow, !write_text(CPU1_ONLINE, "1")) ||
	       wrong("the CPU does not come back");
}

/*
 * Do what an operation of user space is about. It may use the box, whose operations and
 * answers up to there are done with.
 */
static bool do_user(const struct fuzz_op *op)
{
	struct fuzz_model *m = &model[op->arena];
	struct fuzz_op rest[FUZZ_MAX_OPS];
	__u64 off = resolve(op) - m->shape.start;
	bool ok = true;

	switch (op->code) {
	case FUZZ_REMAP:
		munmap((void *)m->shape.start, m->shape.pages * FUZZ_PAGE);
		return map_arena(op->arena) || wrong("mmap(): %s", strerror(errno));
	case FUZZ_DONTNEED:
		if (off < m->shape.pages * FUZZ_PAGE)
			madvise((void *)(m->shape.start + (off & ~(FUZZ_PAGE - 1))), FUZZ_PAGE,
				MADV_DONTNEED);
		return true;
	case FUZZ_SHRINK:
		/* Slabs are on their way out, which may not be counted any more */
		m->hidden = true;
		shrink_all(op->arena);
		return true;
	case FUZZ_DROP:
		write_text("/proc/sys/vm/drop_caches", "3");
		return true;
	case FUZZ_PLUG:
		for (int i = 0; i < FUZZ_ARENAS; i++)
			model[i].hidden = true;
		return plug();
	case FUZZ_SYNC:
		memcpy(rest, boxes->op, sizeof(rest));
		for (int i = 0; ok && i < FUZZ_ARENAS; i++)
			ok = settle(i);
		memcpy(boxes->op, rest, sizeof(rest));
		memset(boxes->res, 0, sizeof(boxes->res));
		return ok;
	default:
		return access_byte(op);
	}
}

/* ---- one CPU ---- */

static bool run_one(const struct fuzz_seq *seq)
{
	memcpy(boxes->op, seq->op, sizeof(seq->op));
	for (int i = 0, end; i < seq->nr; i = end) {
		if (seq->op[i].code >= FUZZ_FIRST_USER) {
			end = i + 1;
			if (!do_user(&seq->op[i])) {
				print_wrong(i, &seq->op[i]);
				return false;
			}
			continue;
		}
		end = run_batch(0, i, seq->nr);
		if (!check_answers(i, end))
			return false;
	}
	return true;
}

/* ---- two CPUs ---- */

static int nr_ops[FUZZ_BOXES];
static pthread_barrier_t barrier;

static void *run_box(void *arg)
{
	int box = (long)arg, end;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(box, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < nr_ops[box]; i = end) {
		end = run_batch(box, i, nr_ops[box]);
		/* What processes do is for one CPU only */
		if (end == i)
			end++;
	}
	return NULL;
}

static bool overlap(__u64 a, __u64 a_len, __u64 b, __u64 b_len)
{
	return a < b + b_len && b < a + a_len;
}

struct event {
	const struct fuzz_op *op;
	const struct fuzz_res *res;
	__u64 room;		/* of an allocation */
};

static struct event events[FUZZ_BOXES * FUZZ_MAX_OPS];
static int nr_events;

static void collect_events(int arena)
{
	nr_events = 0;
	for (int b = 0; b < FUZZ_BOXES; b++) {
		for (int i = 0; i < nr_ops[b]; i++) {
			const struct fuzz_op *op = &boxes[b].op[i];
			const struct fuzz_res *res = &boxes[b].res[i];
			__u64 room = 0;

			if (op->arena != arena || !res->begin)
				continue;
			if (res->ret && op->code == FUZZ_ALLOC)
				room = fuzz_room(op->size);
			if (res->ret && op->code == FUZZ_ALLOC_PAGES)
				room = op->size * FUZZ_PAGE;
			events[nr_events++] = (struct event){ op, res, room };
		}
	}
}

/* Could somebody have freed @a before @b came to the same place? */
static bool may_be_freed(const struct event *a, const struct event *b)
{
	for (int i = 0; i < nr_events; i++) {
		const struct event *e = &events[i];

		if (e->res->begin > b->res->end)
			continue;
		/* It may be done much later */
		if (a->op->code == FUZZ_ALLOC_PAGES && e->op->code == FUZZ_FREE_PAGES)
			return true;
		if (a->op->code == FUZZ_ALLOC && e->op->code == FUZZ_FREE &&
		    e->res->end > a->res->begin && (__u32)e->res->addr == (__u32)a->res->ret)
			return true;
	}
	return false;
}

/* What two CPUs got must not overlap, if it was live at the same time for sure */
static bool check_overlaps(int arena)
{
	const struct fuzz_shape *s = &model[arena].shape;

	collect_events(arena);
	for (int i = 0; i < nr_events; i++) {
		const struct event *a = &events[i];
		__u64 align = a->room > FUZZ_PAGE ? FUZZ_PAGE : a->room & -a->room;

		if (!a->room)
			continue;
		if (a->res->ret < s->start || !(__u32)a->res->ret ||
		    a->res->ret + a->room > s->start + s->pages * FUZZ_PAGE ||
		    a->res->ret % align)
			return wrong("%#llx is no place for %llu bytes", a->res->ret, a->room);
		for (int j = 0; j < nr_events; j++) {
			const struct event *b = &events[j];

			if (j == i || !b->room || b->res->end < a->res->end ||
			    !overlap(a->res->ret, a->room, b->res->ret, b->room))
				continue;
			if (!may_be_freed(a, b))
				return wrong("%#llx of %llu bytes was given out, %#llx of %llu "
					     "was live", b->res->ret, b->room, a->res->ret,
					     a->room);
		}
	}
	return true;
}

/* Each of them, live or not; then the arena is as a fresh one for the model */
static bool free_all_events(int arena)
{
	struct fuzz_op op[FUZZ_MAX_OPS];
	int nr = 0;

	collect_events(arena);
	for (int i = 0; i < nr_events && nr < FUZZ_MAX_OPS - 1; i++) {
		if (!events[i].room || events[i].op->code != FUZZ_ALLOC)
			continue;
		op[nr] = make_op(arena, FUZZ_FREE, 0, 0);
		op[nr++].off = events[i].res->ret - model[arena].shape.start;
	}
	op[nr++] = make_op(arena, FUZZ_FREE_PAGES, 0, model[arena].shape.pages);
	memcpy(boxes->op, op, sizeof(op));
	memset(boxes->res, 0, sizeof(boxes->res));
	run_batch(0, 0, nr);
	return wait_quiet(arena);
}

static bool run_two(const struct fuzz_seq *seq)
{
	static struct fuzz_box saved[FUZZ_BOXES];
	cpu_set_t cpus;
	pthread_t thread;
	bool ok = true;

	sched_getaffinity(0, sizeof(cpus), &cpus);
	memset(nr_ops, 0, sizeof(nr_ops));
	for (int i = 0; i < seq->nr; i++) {
		struct fuzz_op *op = &boxes[seq->op[i].box].op[nr_ops[seq->op[i].box]++];

		*op = seq->op[i];
		if (op->ctx == FUZZ_TIMER && !has_timers())
			op->ctx = FUZZ_RCU;
	}
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < FUZZ_BOXES * FUZZ_ARENAS && has_timers(); i++)
		run_prog(skel[i / 2]->progs.start_timer, i % 2, 0, 100);
	if (pthread_create(&thread, NULL, run_box, (void *)1L))
		return wrong("no thread");
	run_box(NULL);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&barrier);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	usleep(1000);
	for (int i = 0; i < FUZZ_BOXES * FUZZ_ARENAS && has_timers(); i++)
		run_prog(skel[i / 2]->progs.stop_timer, i % 2, 0, 0);

	for (int i = 0; ok && i < FUZZ_ARENAS; i++) {
		ok = check_overlaps(i);
		for (int n = 0; n < nr_events; n++)
			session.done[events[n].op->ctx]++;
		memcpy(saved, boxes, sizeof(saved));
		ok = ok && free_all_events(i);
		memcpy(boxes, saved, sizeof(saved));
		fuzz_model_init(&model[i], &model[i].shape);
	}
	return ok && !*fuzz_wrong;
}

/* ---- a sequence ---- */

static bool free_all(int i, __u64 *rng)
{
	struct fuzz_op op[FUZZ_MAX_OPS];
	struct fuzz_model *m = &model[i];
	int nr = 0;

	for (__u32 off = 0; off < m->shape.pages * FUZZ_PAGE; off += 16) {
		struct fuzz_page *p = &m->page[off >> FUZZ_PAGE_SHIFT];
		__u32 in_page = off & (FUZZ_PAGE - 1);

		if (p->kind == KIND_SLAB ? in_page % p->room || !fuzz_byte_live(m, off) :
					   p->kind != KIND_LARGE || in_page)
			continue;
		op[nr] = make_op(i, FUZZ_FREE, 0, 0);
		op[nr].off = off;
		op[nr++].ctx = draw(rng) % FUZZ_FIRST_AT;
		if (nr == FUZZ_MAX_OPS) {
			if (!run_more(op, nr))
				return false;
			nr = 0;
		}
	}
	op[0] = nr ? op[0] : make_op(i, FUZZ_FREE, 0, 0);
	if (!run_more(op, nr))
		return false;
	op[0] = make_op(i, FUZZ_FREE_PAGES, 0, m->shape.pages);
	return run_more(op, 1) && settle(i);
}

/* Nothing is lost: all places can be had at once */
static bool take_all(int i)
{
	struct fuzz_model *m = &model[i];
	__u32 first = m->page[0].kind == KIND_ZERO, nr = m->shape.pages - first;
	struct fuzz_op op = make_op(i, FUZZ_ALLOC_PAGES, 0, nr);

	if (!nr)
		return true;
	op.base = FUZZ_ABS;
	if (!WAIT_SLOW(DEFERRED_SECONDS, session.slow,
		      (shrink_all(i), wait_quiet(i) && run_more(&op, 1) && boxes->res[0].ret) ||
		      *fuzz_wrong))
		return wrong("the %u pages of an empty arena cannot be had at once", nr);
	op = make_op(i, FUZZ_FREE_PAGES, first, nr);
	return run_more(&op, 1);
}

bool fuzz_run_seq(const struct fuzz_seq *seq, bool thorough, bool leak, __u32 *news)
{
	__u64 rng = seq->nr + 1;
	bool ok;

	*fuzz_wrong = '\0';
	nr_new = 0;
	*session.now = *seq;
	if (session.print) {
		fuzz_print_seq(stdout, seq);
		fflush(stdout);
	}
	memset(boxes, 0, FUZZ_BOXES * sizeof(*boxes));
	ok = seq->two ? run_two(seq) : run_one(seq);
	for (int i = 0; ok && i < FUZZ_ARENAS; i++) {
		ok = settle(i);
		if (ok && thorough)
			ok = check_in_use(i);
		if (ok && !leak)
			ok = free_all(i, &rng);
		if (ok && !leak && thorough)
			ok = take_all(i);
	}
	ok = fuzz_log_is_good() && ok;
	++*session.progress;
	*news = nr_new;
	return ok;
}
