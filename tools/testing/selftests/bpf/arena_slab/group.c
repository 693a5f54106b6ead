// SPDX-License-Identifier: GPL-2.0
/* A memory cgroup to run a test in, and what it pays for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

/* Of as many groups a CPU has charge in stock: NR_MEMCG_STOCK of mm/memcontrol.c */
#define STOCKS	7

long long charged(void)
{
	return read_number(GROUP "/memory.current", NULL);
}

static int enter_and_run(const char *group, int (*fn)(void))
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	err = write_text(path, "0");
	if (err)
		err = FAIL("cannot enter %s: %s", group, strerror(-err));
	else
		err = fn();
	fflush(stdout);
	return err;
}

static int wait_for_child(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return FAIL("no child: %s", strerror(errno));
	if (WIFSIGNALED(status))
		return FAIL("the process in the group got signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

int in_group(long long limit, int (*fn)(void))
{
	char text[32];
	pid_t pid;
	int err;

	mkdir(GROUP, 0755);
	if (charged() < 0) {
		rmdir(GROUP);
		return SKIP("no memory controller at /sys/fs/cgroup");
	}
	snprintf(text, sizeof(text), "%lld", limit);
	if (limit)
		CHECK_EQ(write_text(GROUP "/memory.max", text), 0);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(enter_and_run(GROUP, fn));
	err = wait_for_child(pid);
	if (limit)
		printf("# memory.events: %lld times over the limit, %lld OOM kills\n",
		       read_number(GROUP "/memory.events", "max"),
		       read_number(GROUP "/memory.events", "oom_kill"));
	/* What is left after the process and the arena are gone is the group's own */
	if (!WAIT_FOR(20, charged() < REST))
		err = FAIL("%lld bytes are still charged after 20 seconds", charged());
	if (!WAIT_FOR(20, !rmdir(GROUP)))
		err = FAIL("cannot remove %s: %s", GROUP, strerror(errno));
	return err;
}

/* Charged to the group by the CPU's stock */
static int touch_page(void)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	*(volatile char *)page = 1;
	return 0;
}

int renew_stocks(void)
{
	long nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	int err = 0;

	for (int i = 0; i < nr_cpus * STOCKS && !err; i++) {
		char group[64];
		pid_t pid;

		snprintf(group, sizeof(group), "/sys/fs/cgroup/arena_slab_stock%d", i);
		mkdir(group, 0755);
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(run_on_cpu(i / STOCKS) ? 0 : enter_and_run(group, touch_page));
		err = wait_for_child(pid);
		rmdir(group);
	}
	return err;
}
