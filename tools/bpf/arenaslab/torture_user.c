// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: user space in the arenas. Threads that write everywhere, and look at
 * what the programs have written; processes that map, fork, and are killed in a fault.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "torture_tool.h"
#include "torture.skel.h"

/* ---- memory that may go while it is used ---- */

static __thread sigjmp_buf fault_env;
static __thread volatile sig_atomic_t guarded;

static void fault_handler(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (guarded) {
		guarded = 0;
		siglongjmp(fault_env, sig);
	}
	signal(sig, SIG_DFL);
}

void catch_faults(void)
{
	/* The handler is left by siglongjmp(), which restores no mask here */
	struct sigaction fault = { .sa_sigaction = fault_handler,
				   .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
}

/* True if @statement was done, false if it ended in a fault */
#define GUARD(statement)						\
	({								\
		bool __ok = false;					\
									\
		if (!sigsetjmp(fault_env, 0)) {				\
			guarded = 1;					\
			statement;					\
			guarded = 0;					\
			__ok = true;					\
		} else {						\
			add(&shared->faults, 1);			\
		}							\
		__ok;							\
	})

static bool load(const volatile __u64 *p, __u64 *val)
{
	return GUARD(*val = *p);
}

/* All 64 bits, and none of a kernel address */
static void scribble(volatile __u64 *p, size_t words, __u64 r)
{
	for (size_t i = 0; i < words; i++)
		p[i] = (r ^ i * 0x9e3779b97f4a7c15ULL) & ~(1ULL << 63);
}

/*
 * Nobody writes a word like a kernel address, but the kernel if it leaks one. The upper
 * eight bits are all that they have in common: arm64's direct map is at 0xffff000000000000,
 * that of x86_64 with five levels at 0xff11000000000000.
 */
static void scan(const volatile __u64 *p, size_t words, const char *arena)
{
	for (size_t i = 0; i < words; i++) {
		__u64 val = p[i];

		if (val >> 56 == 0xff) {
			guarded = 0;
			blame("a kernel address, %#llx, stands in the %s arena at %p", val, arena,
			      (const void *)(p + i));
			guarded = 1;
		}
	}
	add(&shared->scans, 1);
}

void scan_page(struct arena *a, __u32 page)
{
	GUARD(scan((__u64 *)(a->start + page * PAGE), PAGE / 8, a->name));
}

/* ---- threads of the body ---- */

/* What its worker's objects look like by way of the mapping; nobody frees them now */
void look_at_objects(struct thread *t)
{
	struct torture_worker *w = &t->arena->skel->bss->workers[t->worker];
	__u32 size;

	for (int n = 0; n < 4; n++) {
		struct torture_slot *s = &w->slot[draw(&t->rng) % NR_SLOTS];
		volatile __u64 *p = (volatile __u64 *)s->addr;

		/* A process may keep an ordinary page that was freed during a fault */
		if (!s->addr || s->size > PAGE)
			continue;
		size = s->size / 16 * 16;
		for (__u32 i = 0; i < size / 8; i++) {
			__u64 val = 0, want = PATTERN(s->addr, s->serial, i);

			if (!load(&p[i], &val))
				break;	/* SIGBUS: no lock in time; a SIGSEGV shows below */
			if (val == want)
				continue;
			blame("kept: user space sees %#llx + %u: %#llx at %u, not %#llx",
			      s->addr, s->size, val, i * 8, want);
			break;
		}
	}
}

/*
 * A page that has objects, or, one time of 16, any but those that are to have none: to
 * touch one makes a page there, and where all are made there is no place for a slab.
 */
static __u64 draw_page(struct arena *a, __u64 *rng)
{
	bool any = draw(rng) >> 60 == 0;
	__u64 page = 0;

	for (int i = 0; i < 64; i++) {
		page = (draw(rng) >> 20) % (a->pages - NO_PAGES);
		if (any || a == &arenas[ARENA_LAWLESS] || a->skel->bss->page_table[page])
			break;
	}
	return a->start + page * PAGE;
}

void *run_scribbler(void *arg)
{
	struct thread *t = arg;

	while (!shared->stop) {
		__u64 r = draw(&t->rng), off = (r >> 8) & (PAGE - 8);
		char *page = (char *)draw_page(t->arena, &t->rng);

		if (r >> 63)
			GUARD(scan((__u64 *)page, PAGE / 8, t->arena->name));
		else if (r >> 62)
			GUARD(scribble((__u64 *)page, PAGE / 8, r));
		else
			GUARD(scribble((__u64 *)(page + off), off > PAGE - 64 ? 1 : 8, r));
		add(&shared->writes, 1);
		t->progress->count++;
		if (!(r & 15))
			usleep(200);
	}
	return NULL;
}

/* ---- slabs that go while they are looked at ---- */

/*
 * The churner has some objects of two pages, or of one, which the looker looks at through
 * the mapping. Then it forgets its mapping of them, they are freed, and it faults at them
 * at the moment in which their pages are about to go; those of one page go when their
 * cache is shrunk. What is left of a mapping then shows when the place has another page:
 * its owner has written what is not seen here.
 */
static volatile enum { CHURN_TAKE, CHURN_LOOK, CHURN_LOOKED, CHURN_GIVE, CHURN_GIVEN } churn;

static void wait_for_looker(int phase)
{
	__u64 end = now_ns() + NS;

	churn = phase;
	while ((int)churn == phase && now_ns() < end && !shared->stop)
		usleep(500);
}

void *run_churner(void *arg)
{
	struct torture_bpf *skel = ((struct thread *)arg)->arena->skel;
	__u64 *hold_faults = &arenas[ARENA_LAWLESS].skel->bss->hold_faults;
	struct thread *t = arg;
	char path[128];

	setpriority(PRIO_PROCESS, syscall(SYS_gettid), -19);
	snprintf(path, sizeof(path), SYSFS_SLAB "/arena:%llu:%lu/shrink",
		 read_counts(t->arena->map_id).id, PAGE);
	while (!shared->stop && shared->phase == PHASE_HOLDS) {
		__u64 r = draw(&t->rng);
		bool large = r >> 61;

		t->progress->count++;
		run_prog(skel->progs.churn_take, t->worker, large ? 2 * PAGE : PAGE);
		wait_for_looker(CHURN_LOOK);
		*hold_faults = 1;
		run_prog(skel->progs.churn_give, t->worker, 0);
		if (!large)
			write_text(path, "1");
		wait_for_looker(CHURN_GIVE);
		*hold_faults = 0;
		churn = CHURN_TAKE;
		add(&shared->churns, 1);
	}
	snprintf(t->progress->name, sizeof(t->progress->name), "-");
	return NULL;
}

/* True if the object was that one all the time, and user space sees something else */
static bool looks_wrong(volatile struct torture_slot *s, __u64 *val)
{
	struct torture_slot was = { .addr = s->addr, .serial = s->serial };

	__sync_synchronize();
	if (!was.addr || !load((__u64 *)was.addr, val))
		return false;
	__sync_synchronize();
	return s->addr == was.addr && s->serial == was.serial &&
	       *val != PATTERN(was.addr, was.serial, 0);
}

static void look_at_churned(struct torture_worker *w, __u64 *was)
{
	for (int i = 0; i < NR_CHURNED; i++) {
		volatile struct torture_slot *s = &w->slot[i];
		__u64 val = 0;

		/* Twice: the first time it may have become another one on the way */
		if (looks_wrong(s, &val) && looks_wrong(s, &val))
			blame("kept: user space sees %#llx at a fresh object %#llx", val, s->addr);
		was[i] = s->addr & ~(PAGE - 1);
		if (was[i])
			madvise((void *)was[i], PAGE, MADV_DONTNEED);
	}
}

/* When somebody is about to give pages back, or never mind */
static void fault_at_churned(volatile __u64 *hold_faults, const __u64 *was)
{
	__u64 val, end = now_ns() + NS / 2;

	while (*hold_faults != 2 && now_ns() < end && !shared->stop)
		usleep(50);
	for (int i = 0; i < NR_CHURNED; i++) {
		if (was[i])
			load((__u64 *)was[i], &val);
	}
}

void *run_looker(void *arg)
{
	__u64 *hold_faults = &arenas[ARENA_LAWLESS].skel->bss->hold_faults;
	struct thread *t = arg;
	struct torture_worker *w = &t->arena->skel->bss->workers[t->worker];
	__u64 was[NR_CHURNED] = {};

	arenas[ARENA_LAWLESS].skel->bss->looker = syscall(SYS_gettid);
	setpriority(PRIO_PROCESS, syscall(SYS_gettid), -19);
	while (!shared->stop && shared->phase == PHASE_HOLDS) {
		switch (churn) {
		case CHURN_LOOK:
			look_at_churned(w, was);
			__sync_bool_compare_and_swap(&churn, CHURN_LOOK, CHURN_LOOKED);
			break;
		case CHURN_GIVE:
			fault_at_churned(hold_faults, was);
			__sync_bool_compare_and_swap(&churn, CHURN_GIVE, CHURN_GIVEN);
			break;
		default:
			break;
		}
		t->progress->count++;
		usleep(100);
	}
	snprintf(t->progress->name, sizeof(t->progress->name), "-");
	return NULL;
}

/* ---- mappers ---- */

static bool map_arena(struct arena *a, int prot)
{
	return mmap((void *)a->start, a->pages * PAGE, prot, MAP_SHARED | MAP_FIXED,
		    bpf_map__fd(a->skel->maps.arena), 0) == (void *)a->start;
}

static void touch_pages(struct arena *a, __u64 *rng, int n, bool may_write)
{
	while (n-- && !shared->stop) {
		__u64 r = draw(rng);
		__u64 *page = (__u64 *)draw_page(a, rng);

		if (may_write && r >> 63)
			GUARD(scribble(page, 16, r));
		else
			GUARD(scan(page, PAGE / 8, a->name));
		add(&shared->writes, may_write);
	}
}

/* A child has no mapping of the arena until it makes one, and ends with it */
static void map_in_child(struct arena *a, __u64 *rng, bool may_write)
{
	pid_t pid = fork();

	if (!pid) {
		touch_pages(a, rng, 1, false);
		if (map_arena(a, PROT_READ | PROT_WRITE))
			touch_pages(a, rng, 8, may_write);
		_exit(0);
	}
	if (pid < 0)
		return;
	add(&shared->forks, 1);
	/* In the middle of it, now and then */
	if (draw(rng) >> 62 == 0)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void mapper(int nr, struct progress *p)
{
	__u64 rng = seed_of(WHO_MAPPER + nr);

	catch_faults();
	while (!shared->stop) {
		__u64 r = draw(&rng);
		struct arena *a = &arenas[(r >> 8) % NR_ARENAS];
		bool may_write = a != &arenas[ARENA_KEPT];
		size_t size = a->pages * PAGE;

		if (!map_arena(a, may_write ? PROT_READ | PROT_WRITE : PROT_READ)) {
			blame("mapper: mmap() of the %s arena: %s", a->name, strerror(errno));
			return;
		}
		add(&shared->maps, 1);
		touch_pages(a, &rng, 1 + (r >> 16 & 31), may_write);
		if ((r >> 32 & 3) == 0)
			madvise((void *)a->start, size, MADV_DONTNEED);
		if ((r >> 32 & 7) == 1)
			mprotect((void *)a->start, size, PROT_READ);
		if ((r >> 40 & 7) == 0)
			map_in_child(a, &rng, may_write);
		touch_pages(a, &rng, 4, may_write);
		munmap((void *)a->start, size);
		p->count++;
		usleep(1000 + (r >> 44) % 5000);
	}
}

/* Before any thread: who is forked later has locks of threads that it does not have */
int start_mappers(pid_t *pids)
{
	int nr = opt.without[PART_MAP] ? 0 : 2;

	for (int i = 0; i < nr; i++) {
		struct progress *p = new_progress("mapper %d", i);

		pids[i] = fork();
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			mapper(i, p);
			_exit(0);
		}
		if (pids[i] < 0)
			blame("no process for a mapper: %s", strerror(errno));
	}
	return nr;
}
