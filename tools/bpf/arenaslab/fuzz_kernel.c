// SPDX-License-Identifier: GPL-2.0
/* arenaslab fuzz: what the kernel tells about itself */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "fuzz_user.h"

#define SYSFS_SLAB	"/sys/kernel/slab"
#define COUNTERS	"/sys/kernel/debug/bpf_arena_slab"
#define KERN_WARNING	4

__u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = write(fd, text, strlen(text));
	len = len < 0 ? -errno : 0;
	close(fd);
	return len;
}

long long read_number(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[64];
	ssize_t len;

	if (fd < 0)
		return -1;
	len = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (len <= 0)
		return -1;
	buf[len] = '\0';
	return atoll(buf);
}

static void parse_counter(const char *line, struct fuzz_counts *k)
{
	long long allocs, frees, value;
	char name[64];
	__u32 size;

	if (sscanf(line, " cache %*s size %u owner program allocs %lld frees %lld", &size, &allocs,
		   &frees) == 3) {
		if (k->nr_classes == FUZZ_NR_CLASSES)
			return;
		k->class[k->nr_classes].size = size;
		k->class[k->nr_classes].allocs = allocs;
		k->class[k->nr_classes++].frees = frees;
		return;
	}
	if (sscanf(line, " %63s %lld", name, &value) != 2)
		return;
	if (!strcmp(name, "slabs_mapped"))
		k->slabs_mapped = value;
	else if (!strcmp(name, "slabs_freed"))
		k->slabs_freed = value;
	else if (!strcmp(name, "large_allocs"))
		k->large_allocs = value;
	else if (!strcmp(name, "large_frees"))
		k->large_frees = value;
}

struct fuzz_counts read_counts(__u32 map_id)
{
	struct fuzz_counts k = {};
	unsigned long long id, pages;
	bool in = false;
	char line[256];
	__u32 map;
	FILE *f = fopen(COUNTERS, "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "arena %llu map_id %u pages %llu", &id, &map, &pages) == 3) {
			in = map == map_id;
			if (in) {
				k.found = true;
				k.id = id;
				k.pages = pages;
			}
		} else if (in) {
			parse_counter(line, &k);
		}
	}
	if (f)
		fclose(f);
	return k;
}

long long objects_in_use(unsigned long long arena_id, __u32 size)
{
	char path[128];

	snprintf(path, sizeof(path), SYSFS_SLAB "/arena:%llu:%u/shrink", arena_id, size);
	if (write_text(path, "1"))
		return -1;
	snprintf(path, sizeof(path), SYSFS_SLAB "/arena:%llu:%u/objects", arena_id, size);
	return read_number(path);
}

int count_caches(void)
{
	DIR *dir = opendir(SYSFS_SLAB);
	struct dirent *d;
	int nr = 0;

	while (dir && (d = readdir(dir)))
		nr += !strncmp(d->d_name, "arena:", 6);
	if (dir)
		closedir(dir);
	return nr;
}

/* ---- the log ---- */

static int kmsg = -1;

/* No fault of the allocator's: a slow machine, and what hotplug says */
static const char *const harmless[] = {
	"hogged CPU for",
	"hrtimer: interrupt took",
	"perf: interrupt took too long",
	"clocksource:",
	"no longer affine to cpu",
	"irq event stamp",
};

void watch_log(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
}

bool log_is_good(void)
{
	char msg[8192], *text;
	bool good = true, bad;
	ssize_t len;

	while (kmsg >= 0) {
		len = read(kmsg, msg, sizeof(msg) - 1);
		if (len < 0 && errno == EPIPE)
			continue;	/* overwritten: the next one */
		if (len <= 0)
			break;
		msg[len] = '\0';
		text = strchr(msg, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		bad = (atoi(msg) & 7) <= KERN_WARNING;
		for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
			bad = bad && !strstr(text, harmless[i]);
		if (bad)
			good = wrong("the kernel's log: %.200s", text + 1);
	}
	return good;
}
