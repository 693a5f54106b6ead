// SPDX-License-Identifier: GPL-2.0
/* The example of Documentation/bpf/arena_slab.rst, as it is printed there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

INCLUDE_IMAGE(example_recent, EXAMPLE)

#define NR_RECENT	8

/* What it prints, with these commands as its arguments */
static int run_example(char *const argv[], char *out, size_t size)
{
	int fd = memfd_create("recent", MFD_CLOEXEC), pipes[2], status;
	size_t len = example_recent_end - example_recent_start, got = 0;
	ssize_t n;
	pid_t pid;

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, example_recent_start, len), len);
	CHECK_EQ(pipe(pipes), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		fexecve(fd, argv, environ);
		printf("cannot be executed: %s\n", strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	close(pipes[1]);
	while (got + 1 < size && (n = read(pipes[0], out + got, size - 1 - got)) > 0)
		got += n;
	out[got] = '\0';
	close(pipes[0]);
	close(fd);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (status)
		return FAIL("status 0x%x, and it printed: %s", status, out);
	return 0;
}

struct record {
	unsigned long long nr;
	int pid;
	char comm[16];
};

/* What runs besides may exec as well: records are there, each with its own number */
static int parse_records(const char *text, struct record *records, int *nr)
{
	*nr = 0;
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		struct record *r = &records[*nr];

		if (sscanf(line, "%llu: pid %d, %15s", &r->nr, &r->pid, r->comm) != 3)
			return FAIL("it printed '%.*s'", (int)strcspn(line, "\n"), line);
		CHECK(*nr < NR_RECENT);
		CHECK(r->pid > 0);
		++*nr;
		if (!line[strcspn(line, "\n")])
			break;
	}
	return 0;
}

static bool has_comm(const struct record *records, int nr, const char *comm)
{
	for (int i = 0; i < nr; i++) {
		if (!strcmp(records[i].comm, comm))
			return true;
	}
	return false;
}

static int test_recent(void)
{
	struct record records[NR_RECENT + 1];
	static char out[4096];
	char *argv[] = { "recent", "exec /bin/busybox true", NULL };
	int nr;

	if (run_example(argv, out, sizeof(out)) || parse_records(out, records, &nr))
		return 1;
	CHECK(nr >= 2);
	CHECK(has_comm(records, nr, "sh"));
	if (!has_comm(records, nr, "busybox"))
		return FAIL("no record of busybox: %s", out);
	return 0;
}

/* So that records are freed, and their places used again */
static int test_many(void)
{
	struct record records[NR_RECENT + 1];
	static char out[4096];
	char *argv[] = { "recent", "for i in 1 2 3 4 5 6 7 8 9; do /bin/busybox true; done", NULL };
	int nr;

	if (run_example(argv, out, sizeof(out)) || parse_records(out, records, &nr))
		return 1;
	CHECK_EQ(nr, NR_RECENT);
	for (int i = 0; i < nr; i++) {
		CHECK(records[i].nr > 0);
		CHECK_EQ(records[i].nr % NR_RECENT, i);
	}
	return 0;
}

const struct test example_tests[] = {
	{ "example/recent", "the documentation's example runs, and shows what was executed",
	  test_recent },
	{ "example/many", "it keeps the last eight", test_many },
	{}
};
