// SPDX-License-Identifier: GPL-2.0
/*
 * Peers of `arenaslab bench` that are functions of the kernel: a file in debugfs takes a
 * line with what is wanted and the ops, and answers with the times of each round. An open
 * file is a session of its own. lib/ of the kernel has the other side.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bench_tool.h"
#include "test_util.h"

#define FOLDER	"/sys/kernel/debug/bpf_arena_slab_bench/"

int kernel_peers(struct peer *peers, int max)
{
	char line[256], context[32];
	FILE *f = fopen(FOLDER "peers", "r");
	int nr = 0;

	while (f && nr < max && fgets(line, sizeof(line), f)) {
		struct peer *p = &peers[nr];

		*p = (struct peer){};
		if (sscanf(line, "%23s %31s %79[^\n]", p->name, context, p->what) >= 2)
			nr++;
	}
	if (f)
		fclose(f);
	return nr;
}

/* Those that take their memory from an arena */
static bool wants_arena(const struct peer *p)
{
	return !strncmp(p->name, "arena_", 6) || !strcmp(p->name, "gen_pool");
}

static int write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		/* In parts: for a single one the kernel had to have a copy of all of it */
		ssize_t len = write(fd, p, size < 65536 ? size : 65536);

		if (len < 0)
			return -errno;
		p += len;
		size -= len;
	}
	return 0;
}

static int read_answer(int fd, struct outcome *o)
{
	char buf[8192], *save = NULL;
	unsigned long long n, ns, failed;
	size_t sum = 0;
	ssize_t len;

	while ((len = read(fd, buf + sum, sizeof(buf) - 1 - sum)) > 0)
		sum += len;
	if (len < 0)
		return -errno;
	buf[sum] = '\0';
	for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "loaded_ns %llu", &n) == 1) {
			o->created_ns = n;
		} else if (sscanf(line, "memory %llu", &n) == 1) {
			o->memory = n;
		} else if (sscanf(line, "pages %llu", &n) == 1) {
			o->gone = n;
		} else if (sscanf(line, "exact %llu", &n) == 1) {
			o->exact = n;
		} else if (o->rounds < MAX_ROUNDS &&
			   sscanf(line, "round %*u ops %*u ns %llu failed %llu", &ns,
				  &failed) == 2) {
			o->ns[o->rounds++] = ns;
			o->failed += failed;
		}
	}
	return o->rounds ? 0 : -EIO;
}

static int session(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
		   int map, int rounds, struct outcome *o)
{
	char line[256], cpus[32] = "cpu=0";
	int fd, err;

	fd = open(FOLDER "run", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return why(o, -errno, "cannot open " FOLDER "run: %s", strerror(errno));
	if (where == CPU_TURNS)
		snprintf(cpus, sizeof(cpus), "cpu=0 turn=%u", s->turn);
	else if (where == CPU_BOTH)
		snprintf(cpus, sizeof(cpus), "cpus=2");
	snprintf(line, sizeof(line),
		 "peer=%s size=%u slots=%u map=%d ops=%u prepare=%u rounds=%d irqs=%s %s\n",
		 p->name, size, s->slots, map, s->nr, s->prepare, rounds,
		 s->growth || where == CPU_BOTH ? "on" : "off", cpus);
	err = write(fd, line, strlen(line)) < 0 ? -errno : 0;
	if (err == -EOPNOTSUPP)
		why(o, err, "is not what it does");
	else if (err)
		why(o, err, "the kernel does not take '%.*s': %s", (int)strcspn(line, "\n"), line,
		    strerror(-err));
	err = err ?: write_all(fd, s->ops, s->nr * sizeof(*s->ops)) ?: read_answer(fd, o);
	if (err && !*o->why)
		why(o, err, "the kernel's part failed: %s", strerror(-err));
	close(fd);
	return err;
}

/* The first round warms up; growth is from nothing, and so a session for each round */
int run_kernel(const struct peer *p, __u32 size, const struct script *s, enum bench_where where,
	       struct outcome *o)
{
	int sessions = s->growth ? bench_rounds : 1, err = 0;
	int rounds = s->growth ? 1 : bench_rounds + 1;
	void *addr;

	o->metadata = -1;
	for (int i = 0; i < sessions && !err; i++) {
		int map = wants_arena(p) ? open_arena(&addr, o) : -1;

		if (*o->why)
			return -ENOMEM;
		err = session(p, size, s, where, map, rounds, o);
		if (map >= 0)
			close_arena(map, addr);
		settle();
	}
	if (!err && !s->growth) {
		o->rounds--;
		memmove(o->ns, o->ns + 1, o->rounds * sizeof(*o->ns));
	}
	return err;
}
