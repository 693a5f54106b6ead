// SPDX-License-Identifier: GPL-2.0
/*
 * arena_slab: the BPF tests of SLAB_BPF_ARENA, in one static program.
 *
 *	arena_slab		run them all, KTAP on stdout
 *	arena_slab -l		list them
 *	arena_slab -t GLOB	run those that match, "sizes/..." or "*free*"; may be
 *				given more than once
 *	arena_slab -v		with what libbpf says
 *
 * There are three kinds. A SEC("syscall") program of progs/ whose name begins with
 * "test_" is loaded alone, with an arena of its own, and run once; its return value
 * is the line of the check that failed. One whose name begins with "refuse_" must
 * not load. Tests in user space are functions.
 *
 * After each of them the kernel's log must have no warning in it.
 */
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arena_slab.h"

static const struct test *const user_tests[] = {
	refused_tests, traced_tests, share_tests, mapping_tests, fault_tests, context_tests,
	sched_tests, growth_tests, inject_tests, hostile_tests, teardown_tests, example_tests,
	bpftool_tests,
};

enum action { COUNT, LIST, RUN };

static enum action action;
static const char *globs[64];
static int nr_globs;
static int planned, ran, failed;
static bool verbose;
static char skip_reason[256];

int fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	printf("# %s:%d: ", file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	return 1;
}

int skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(skip_reason, sizeof(skip_reason), fmt, args);
	va_end(args);
	return TEST_SKIPPED;
}

static bool is_selected(const char *name)
{
	for (int i = 0; i < nr_globs; i++) {
		if (!fnmatch(globs[i], name, 0))
			return true;
	}
	return !nr_globs;
}

/* What becomes of one test: true if it is to be run now */
static bool begin(const char *name, const char *desc)
{
	if (!is_selected(name))
		return false;
	switch (action) {
	case COUNT:
		planned++;
		return false;
	case LIST:
		printf("%-32s %s\n", name, desc);
		return false;
	case RUN:
		break;
	}
	printf("# %s: %s\n", name, desc);
	fflush(stdout);
	watch_kernel_log();
	return true;
}

static void end(const char *name, int result)
{
	if (!check_kernel_log(result != TEST_SKIPPED) && (!result || result == TEST_SKIPPED))
		result = 1;
	ran++;
	if (result == TEST_SKIPPED) {
		printf("ok %d %s # SKIP %s\n", ran, name, skip_reason);
	} else if (result) {
		failed++;
		printf("not ok %d %s\n", ran, name);
	} else {
		printf("ok %d %s\n", ran, name);
	}
	fflush(stdout);
}

static void do_bpf_test(const struct image *image, const char *prog, const char *desc)
{
	bool refused = !strncmp(prog, "refuse_", strlen("refuse_"));
	char name[128];

	snprintf(name, sizeof(name), "%s/%s", image->name, strchr(prog, '_') + 1);
	if (begin(name, desc))
		end(name, refused ? run_refused_test(image, prog) : run_bpf_test(image, prog));
}

static void do_all(enum action what)
{
	action = what;
	visit_bpf_tests(do_bpf_test);
	for (size_t i = 0; i < ARRAY_SIZE(user_tests); i++) {
		for (const struct test *t = user_tests[i]; t->name; t++) {
			if (begin(t->name, t->desc))
				end(t->name, t->run());
		}
	}
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return verbose && level != LIBBPF_DEBUG ? vfprintf(stderr, fmt, args) : 0;
}

static int usage(FILE *f)
{
	fputs("Usage: arena_slab [-l] [-t GLOB]... [-v]\n"
	      "Runs the BPF tests of SLAB_BPF_ARENA, as root; prints KTAP.\n"
	      "  -l       list the tests\n"
	      "  -t GLOB  only those whose name matches\n"
	      "  -v       what libbpf and the verifier say, on stderr\n", f);
	return f == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	bool list = false;
	int c;

	while ((c = getopt(argc, argv, "hlt:v")) != -1) {
		switch (c) {
		case 'h':
			return usage(stdout);
		case 'l':
			list = true;
			break;
		case 't':
			if (nr_globs == (int)ARRAY_SIZE(globs))
				return usage(stderr);
			globs[nr_globs++] = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return usage(stderr);
		}
	}
	if (optind < argc)
		return usage(stderr);
	libbpf_set_print(print_libbpf);

	if (list) {
		do_all(LIST);
		return 0;
	}
	do_all(COUNT);
	if (!planned) {
		fputs("arena_slab: no test matches; -l lists them\n", stderr);
		return 2;
	}
	if (geteuid()) {
		fputs("arena_slab: the tests load BPF programs: run as root\n", stderr);
		return 1;
	}
	printf("KTAP version 1\n1..%d\n", planned);
	do_all(RUN);
	printf("# %d passed, %d failed\n", ran - failed, failed);
	return failed ? 1 : 0;
}
