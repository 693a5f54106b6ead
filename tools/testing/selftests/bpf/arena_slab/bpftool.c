// SPDX-License-Identifier: GPL-2.0
/* bpftool of the same tree on arenas with slabs, and on programs that use the kfuncs. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "arena_slab.h"

/* A shell's command: its status, and all it said; static, since vmlinux.h is large */
static char *out;

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
	static size_t size;
	char cmd[256];
	va_list args;
	size_t len = 0;
	FILE *f;

	va_start(args, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, args);
	va_end(args);
	f = popen(cmd, "r");
	if (!f)
		return -errno;
	do {
		if (size - len < 65536) {
			size += 1 << 20;
			out = realloc(out, size);
			if (!out)
				exit(1);
		}
		len += fread(out + len, 1, 65535, f);
		out[len] = '\0';
	} while (!feof(f) && !ferror(f));
	return pclose(f);
}

#define CHECK_OUTPUT(text)						\
	do {								\
		if (!strstr(out, text))					\
			return FAIL("no '%s' in: %.500s", text, out);	\
	} while (0)

static bool is_there(void)
{
	return !run("bpftool version >/dev/null 2>&1");
}

static __u32 prog_id(struct bpf_object *obj, const char *name)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd = bpf_program__fd(bpf_object__find_program_by_name(obj, name));

	return bpf_prog_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

static int map_show(struct bpf_object *obj)
{
	CHECK_EQ(run("bpftool map show id %u 2>&1", arena_id(obj)), 0);
	CHECK_OUTPUT(": arena  name arena  flags 0x400");
	CHECK_OUTPUT("max_entries 256");
	return 0;
}

/* There are no keys. What counts is that the objects are as before. */
static int map_dump(struct bpf_object *obj)
{
	CHECK(WIFEXITED(run("bpftool map dump id %u 2>&1", arena_id(obj))));
	CHECK_OUTPUT("Found 0 elements");
	CHECK_EQ(run_prog(obj, "test_double_free"), 0);
	return 0;
}

static int dump_xlated(struct bpf_object *obj)
{
	__u32 id = prog_id(obj, "test_double_free");

	CHECK_EQ(run("bpftool prog dump xlated id %u 2>&1", id), 0);
	CHECK_OUTPUT(") call bpf_arena_alloc#");
	CHECK_OUTPUT(") call bpf_arena_free#");
	return 0;
}

static int tracelog(struct bpf_object *obj)
{
	__u32 id = prog_id(obj, "test_double_free");

	CHECK_EQ(run_prog(obj, "test_double_free"), 0);
	CHECK_EQ(run("bpftool prog tracelog stderr id %u 2>&1", id), 0);
	CHECK_OUTPUT("ERROR: bpf_arena_free(0x");
	CHECK_OUTPUT("Call trace:");
	return 0;
}

static int with_object(int (*fn)(struct bpf_object *obj))
{
	struct bpf_object *obj;
	int err;

	if (!is_there())
		return SKIP("there is no bpftool here");
	obj = load_image("bad_free", PROGS("test_double_free"));
	if (!obj)
		return 1;
	err = fn(obj);
	bpf_object__close(obj);
	return err;
}

static int test_map_show(void)
{
	return with_object(map_show);
}

static int test_map_dump(void)
{
	return with_object(map_dump);
}

static int test_dump_xlated(void)
{
	return with_object(dump_xlated);
}

static int test_tracelog(void)
{
	return with_object(tracelog);
}

static int test_vmlinux_h(void)
{
	if (!is_there())
		return SKIP("there is no bpftool here");
	CHECK_EQ(run("bpftool btf dump file /sys/kernel/btf/vmlinux format c 2>/dev/null"), 0);
	CHECK_OUTPUT("\nextern void __attribute__((address_space(1))) "
		     "*bpf_arena_alloc(void *p__map, u32 size) __weak __ksym;\n");
	CHECK_OUTPUT("\nextern void bpf_arena_free(void *p__map, "
		     "void __attribute__((address_space(1))) *ptr__ign) __weak __ksym;\n");
	return 0;
}

static int test_feature(void)
{
	if (!is_there())
		return SKIP("there is no bpftool here");
	CHECK_EQ(run("bpftool feature probe kernel 2>&1"), 0);
	CHECK_OUTPUT("eBPF map_type arena is available");
	return 0;
}

const struct test bpftool_tests[] = {
	{ "bpftool/map_show", "bpftool map show of an arena", test_map_show },
	{ "bpftool/map_dump", "bpftool map dump of an arena finds and changes nothing",
	  test_map_dump },
	{ "bpftool/dump_xlated", "bpftool prog dump xlated has the names of kfuncs",
	  test_dump_xlated },
	{ "bpftool/tracelog", "bpftool prog tracelog shows a report", test_tracelog },
	{ "bpftool/vmlinux_h", "bpftool btf dump has the kfuncs' prototypes", test_vmlinux_h },
	{ "bpftool/feature", "bpftool feature probe finds arenas", test_feature },
	{}
};
