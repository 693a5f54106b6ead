// SPDX-License-Identifier: GPL-2.0
/* The tracepoint of frees that are refused, for programs that watch others. */
#include <errno.h>
#include <string.h>
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

const struct test traced_tests[] = {
	{ "bad_free/traced", "a program is told of each bad free of others", test_traced },
	{ "bad_free/traced_in_turn", "one that frees badly itself is not told of that",
	  test_in_turn },
	{}
};
