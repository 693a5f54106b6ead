// SPDX-License-Identifier: GPL-2.0
/* What the kernel says about a test: its counters, its caches, its log. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arena_slab.h"

#define COUNTERS	"/sys/kernel/debug/bpf_arena_slab"
#define KERN_WARNING	4

static void parse_counter(const char *line, struct arena_counters *c)
{
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
		{ "rejected_no_object", offsetof(struct arena_counters, no_object) },
		{ "rejected_interior", offsetof(struct arena_counters, interior) },
		{ "rejected_not_live", offsetof(struct arena_counters, not_live) },
		{ "rejected_kernel_owned", offsetof(struct arena_counters, kernel_owned) },
		{ "slabs_mapped", offsetof(struct arena_counters, slabs_mapped) },
		{ "slabs_freed", offsetof(struct arena_counters, slabs_freed) },
		{ "large_allocs", offsetof(struct arena_counters, large_allocs) },
		{ "large_frees", offsetof(struct arena_counters, large_frees) },
	};
	long long allocs, frees, value;
	char name[64], owner[16];

	if (sscanf(line, " cache %63s size %*u owner %15s allocs %lld frees %lld", name, owner,
		   &allocs, &frees) == 4) {
		c->nr_caches++;
		if (!strcmp(owner, "program")) {
			c->allocs += allocs;
			c->frees += frees;
		}
		return;
	}
	if (sscanf(line, " %63s %lld", name, &value) != 2)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i].name))
			*(long long *)((char *)c + names[i].offset) = value;
	}
}

int read_counters(__u32 map_id, struct arena_counters *c)
{
	unsigned long long id, pages;
	char line[256];
	bool in = false;
	__u32 map;
	FILE *f;

	memset(c, 0, sizeof(*c));
	f = fopen(COUNTERS, "r");
	if (!f)
		return FAIL("%s: %s", COUNTERS, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "arena %llu map_id %u pages %llu", &id, &map, &pages) == 3) {
			in = map == map_id;
			if (in) {
				c->found = true;
				c->id = id;
				c->pages = pages;
			}
		} else if (in) {
			parse_counter(line, c);
		}
	}
	fclose(f);
	return 0;
}

bool slab_cache_exists(const char *prefix)
{
	DIR *dir = opendir("/sys/kernel/slab");
	bool found = false;
	struct dirent *d;

	if (!dir)
		return false;
	while (!found && (d = readdir(dir)))
		found = !strncmp(d->d_name, prefix, strlen(prefix));
	closedir(dir);
	return found;
}

unsigned int shrink_arena_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	unsigned int nr = 0;
	struct dirent *d;
	char path[512];

	while (dir && (d = readdir(dir))) {
		if (strncmp(d->d_name, "arena:", 6))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", d->d_name);
		/* It may be gone by now */
		nr += !write_text(path, "1");
	}
	if (dir)
		closedir(dir);
	return nr;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

long long read_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long long val = -1, v;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		char name[64];

		if (!key ? sscanf(line, "%lld", &v) == 1 :
			   sscanf(line, "%63s %lld", name, &v) == 2 && !strcmp(name, key))
			val = v;
	}
	if (f)
		fclose(f);
	return val;
}

bool scheduler_is(const char *state)
{
	FILE *f = fopen("/sys/kernel/sched_ext/state", "re");
	char buf[32] = "";

	if (!f)
		return false;
	if (!fgets(buf, sizeof(buf), f))
		buf[0] = '\0';
	fclose(f);
	return !strncmp(buf, state, strlen(state));
}

int run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (cpu < 0) {
		for (int i = 0; i < CPU_SETSIZE; i++)
			CPU_SET(i, &set);
	} else {
		CPU_SET(cpu, &set);
	}
	return sched_setaffinity(0, sizeof(set), &set);
}

/* ---- the log ---- */

static int kmsg = -1;
static const char *expected;
static bool expected_seen;
static bool in_kcsan_report;
static char seen[16384];

void watch_kernel_log(void)
{
	if (kmsg < 0)
		kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	expected = NULL;
	expected_seen = false;
	/* The end of a report that was begun may have been passed over */
	in_kcsan_report = false;
	seen[0] = '\0';
}

void expect_kernel_log(const char *text)
{
	expected = text;
}

/* A message as /dev/kmsg gives it: "priority,sequence,time,flags;text\n continuation" */
static bool is_bad(const char *msg)
{
	const char *text = strchr(msg, ';');
	int prio = atoi(msg) & 7;

	if (!text)
		return false;
	text++;
	if (expected && strstr(text, expected)) {
		expected_seen = true;
		return false;
	}
	return prio <= KERN_WARNING || strstr(text, "bpf_arena") || strstr(text, "slab_arena");
}

/*
 * Races that KCSAN sees, of whomever, at any time: the kernel log tells whose they are. A
 * report is between two lines of equals signs.
 */
static bool is_kcsan(const char *msg)
{
	const char *text = strchr(msg, ';');
	bool line = text && !strncmp(text + 1, "==========", 10);
	bool was_inside = in_kcsan_report;

	if (text && strstr(text, "BUG: KCSAN: "))
		in_kcsan_report = true;
	else if (line)
		in_kcsan_report = false;
	return line || was_inside || in_kcsan_report;
}

static bool read_log(bool complain)
{
	bool good = true;
	char msg[8192];
	ssize_t len;

	while (kmsg >= 0) {
		len = read(kmsg, msg, sizeof(msg) - 1);
		if (len < 0 && errno == EPIPE)
			continue;	/* overwritten: the next one */
		if (len <= 0)
			break;
		msg[len] = '\0';
		if (is_kcsan(msg))
			continue;
		if (strlen(seen) + len < sizeof(seen))
			strcat(seen, msg);
		if (is_bad(msg) && complain) {
			msg[strcspn(msg, "\n")] = '\0';
			printf("# the kernel's log: %s\n", strchr(msg, ';') + 1);
			good = false;
		}
	}
	return good;
}

bool kernel_log_has(const char *text)
{
	read_log(true);
	return strstr(seen, text);
}

bool check_kernel_log(bool ran)
{
	bool good = read_log(true);

	if (ran && expected && !expected_seen) {
		printf("# the kernel's log lacks '%s'\n", expected);
		good = false;
	}
	return good;
}
