// SPDX-License-Identifier: GPL-2.0
/* The tracepoint of frees that are refused, and one of them that takes two to happen. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include "arena_slab.h"

/* As in progs/bad_free.bpf.c */
struct bad_event {
	__u64 uaddr, object;
	__u32 map_id, kind, size;
	char cache[8];
};

#define NR_EVENTS	3

static int check_events(struct bpf_object *obj)
{
	static const __u32 sizes[NR_EVENTS] = { 192, 192, 0 };
	static const char *const caches[NR_EVENTS] = { "arena:", "arena:", "" };
	struct bad_event *events = find_var(obj, "events");
	__u64 (*expected)[2] = find_var(obj, "expected");
	__u32 *kinds = find_var(obj, "kinds");

	CHECK_EQ(run_prog(obj, "make_events"), 0);
	CHECK_EQ(VAR(obj, __u64, "nr_events"), NR_EVENTS);
	for (int i = 0; i < NR_EVENTS; i++) {
		CHECK_EQ(events[i].kind, kinds[i]);
		CHECK_EQ(events[i].uaddr, expected[i][0]);
		CHECK_EQ(events[i].object, expected[i][1]);
		CHECK_EQ(events[i].map_id, arena_id(obj));
		CHECK_EQ(events[i].size, sizes[i]);
		CHECK_EQ(strncmp(events[i].cache, caches[i], strlen(caches[i]) ?: 1), 0);
	}
	return 0;
}

/* The program that watches frees the same again: as bad as the first, and counted */
static int check_in_turn(struct bpf_object *obj)
{
	struct arena_counters c;

	VAR(obj, bool, "free_in_turn") = true;
	CHECK_EQ(run_prog(obj, "make_events"), 0);
	CHECK_EQ(VAR(obj, __u64, "nr_events"), NR_EVENTS);
	if (read_counters(arena_id(obj), &c))
		return 1;
	CHECK_EQ(c.interior, 2);
	CHECK_EQ(c.not_live, 2);
	CHECK_EQ(c.no_object, 2);
	return 0;
}

static int with_trace(int (*check)(struct bpf_object *obj))
{
	struct bpf_object *obj = load_image("bad_free", PROGS("on_bad_free", "make_events"));
	struct bpf_program *prog;
	struct bpf_link *link;
	int err;

	if (!obj)
		return 1;
	prog = bpf_object__find_program_by_name(obj, "on_bad_free");
	link = bpf_program__attach(prog);
	err = link ? check(obj) : FAIL("cannot be attached: %s", strerror(errno));
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return err;
}

static int test_traced(void)
{
	return with_trace(check_events);
}

static int test_in_turn(void)
{
	return with_trace(check_in_turn);
}

static void *run_free_what_goes(void *obj)
{
	run_on_cpu(1);
	return (void *)(long)run_prog(obj, "free_what_goes");
}

/* The worker takes the PTE away when nothing leads to the page any more but its slot */
static bool is_mapped(void *page)
{
	unsigned char in = 1;

	return !mincore(page, 1, &in) && in & 1;
}

static int free_while_it_goes(struct bpf_object *obj, void *page)
{
	char stream[4096];
	pthread_t thread;
	void *err;
	bool gone;

	CHECK(is_mapped(page));
	CHECK(!pthread_create(&thread, NULL, run_free_what_goes, obj));
	gone = WAIT_FOR(5, *(volatile bool *)find_var(obj, "holds")) &&
	       shrink_arena_caches() && WAIT_FOR(5, !is_mapped(page));
	*(volatile bool *)find_var(obj, "may_free") = true;
	pthread_join(thread, &err);
	CHECK(gone);
	CHECK(!err);
	read_stream(obj, "free_what_goes", stream, sizeof(stream));
	if (!strstr(stream, "): the object is free already, as all that was in its page\n"))
		return FAIL("the program's stream has '%.*s'", (int)strcspn(stream, "\n"), stream);
	CHECK(!strstr(stream, "Object: "));
	return 0;
}

static int test_page_going(void)
{
	struct bpf_object *obj;
	struct arena_counters c;
	__u64 addr, fault_addr;
	void *page;
	int err;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return SKIP("needs two CPUs");
	obj = open_image("bad_free", PROGS("free_one", "free_what_goes"));
	if (!obj)
		return 1;
	/* Too small for sheaves: one slab is made and goes, not one after the other */
	bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "arena"), 8);
	if (bpf_object__load(obj)) {
		bpf_object__close(obj);
		return FAIL("cannot be loaded");
	}
	/* The CPU whose sheaf has the object is to be free for the shrink */
	run_on_cpu(0);
	err = run_prog(obj, "free_one");
	page = (void *)(VAR(obj, __u64, "going") & -(__u64)getpagesize());
	err = err ?: probe((__u64)page, &addr, sizeof(addr), &fault_addr) ?:
	      free_while_it_goes(obj, page);
	if (!err && (read_counters(arena_id(obj), &c) || c.not_live != 1))
		err = FAIL("%lld frees of what is not live are counted", c.not_live);
	run_on_cpu(-1);
	bpf_object__close(obj);
	return err;
}

const struct test traced_tests[] = {
	{ "bad_free/traced", "a program is told of each bad free of others", test_traced },
	{ "bad_free/traced_in_turn", "one that frees badly itself is not told of that",
	  test_in_turn },
	{ "bad_free/page_going", "a free is refused while all of the object's page goes",
	  test_page_going },
	{}
};
