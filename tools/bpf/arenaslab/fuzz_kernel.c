// SPDX-License-Identifier: GPL-2.0
/* arenaslab fuzz: what the kernel tells about itself */
#include <dirent.h>
#include <string.h>
#include "fuzz_user.h"

static void parse_counter(const char *line, void *arg)
{
	struct fuzz_counts *k = arg;
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

struct fuzz_counts fuzz_read_counts(__u32 map_id)
{
	struct fuzz_counts k = {};

	k.found = read_counters(map_id, &k.id, &k.pages, parse_counter, &k);
	return k;
}

long long fuzz_objects_in_use(unsigned long long arena_id, __u32 size)
{
	char path[128];

	snprintf(path, sizeof(path), SYSFS_SLAB "/arena:%llu:%u/shrink", arena_id, size);
	if (write_text(path, "1"))
		return -1;
	snprintf(path, sizeof(path), SYSFS_SLAB "/arena:%llu:%u/objects", arena_id, size);
	return read_number(path);
}

int fuzz_count_caches(void)
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

bool fuzz_log_is_good(void)
{
	char text[200];
	bool good = true;

	while (log_trouble(text, sizeof(text)))
		good = wrong("the kernel's log: %s", text);
	return good;
}
