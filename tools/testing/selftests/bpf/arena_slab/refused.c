// SPDX-License-Identifier: GPL-2.0
/* What the verifier refuses, and libbpf cannot say in a file of BPF. */
#include <string.h>
#include "arena_slab.h"

static int test_two_arenas(void)
{
	struct bpf_object *obj = open_image("refused", PROGS("two_arenas"));
	static char log[65536];
	struct bpf_map *map;
	int err;

	if (!obj)
		return 1;
	map = bpf_object__find_map_by_name(obj, "arena2");
	bpf_map__set_type(map, BPF_MAP_TYPE_ARENA);
	bpf_map__set_map_flags(map, BPF_F_MMAPABLE);
	bpf_map__set_key_size(map, 0);
	bpf_map__set_value_size(map, 0);
	bpf_map__set_max_entries(map, 16);
	bpf_program__set_log_buf(bpf_object__find_program_by_name(obj, "two_arenas"), log,
				 sizeof(log));
	err = bpf_object__load(obj);
	bpf_object__close(obj);
	CHECK(err);
	if (!strstr(log, "Only one arena per program: it refers to maps '"))
		return FAIL("the verifier said: %s", log);
	CHECK(strstr(log, "'arena'"));
	CHECK(strstr(log, "'arena2'"));
	return 0;
}

const struct test refused_tests[] = {
	{ "refused/two_arenas", "a program with two arenas is refused, by their names",
	  test_two_arenas },
	{}
};
