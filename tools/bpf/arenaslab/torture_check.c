// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: what must be true. The programs look at each object themselves, see
 * torture.bpf.c; here is what they have found, what the kernel counts, and its log.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "torture_tool.h"
#include "torture.skel.h"

/* Not in the uapi header; the other one is 1 */
#define BPF_STDERR	2

/* ---- what the kernel counts ---- */

static void parse_counter(const char *line, void *arg)
{
	struct kernel_counts *k = arg;
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
		{ "slabs_mapped", offsetof(struct kernel_counts, slabs_mapped) },
		{ "slabs_freed", offsetof(struct kernel_counts, slabs_freed) },
		{ "large_allocs", offsetof(struct kernel_counts, large_allocs) },
		{ "large_frees", offsetof(struct kernel_counts, large_frees) },
		{ "rejected_no_object", offsetof(struct kernel_counts, no_object) },
		{ "rejected_interior", offsetof(struct kernel_counts, interior) },
		{ "rejected_not_live", offsetof(struct kernel_counts, not_live) },
		{ "rejected_kernel_owned", offsetof(struct kernel_counts, kernel_owned) },
	};
	long long allocs, frees, value;
	char name[64], owner[16];

	if (sscanf(line, " cache %63s size %*u owner %15s allocs %lld frees %lld", name, owner,
		   &allocs, &frees) == 4) {
		if (!strcmp(owner, "program")) {
			k->allocs += allocs;
			k->frees += frees;
		}
		return;
	}
	if (sscanf(line, " %63s %lld", name, &value) != 2)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i].name))
			*(long long *)((char *)k + names[i].offset) = value;
	}
}

/* Of the arena with that map id; not found if there is none (any more) */
struct kernel_counts read_counts(__u32 map_id)
{
	struct kernel_counts k = {};

	k.found = read_counters(map_id, &k.id, &k.pages, parse_counter, &k);
	return k;
}

long long refused(const struct kernel_counts *k)
{
	return k->no_object + k->interior + k->not_live + k->kernel_owned;
}

/* Call @fn with the folder of each cache whose name begins with @prefix; how many */
int for_each_cache(const char *prefix, void (*fn)(const char *path, void *arg), void *arg)
{
	DIR *dir = opendir(SYSFS_SLAB);
	char path[sizeof(SYSFS_SLAB) + 256];
	struct dirent *d;
	int nr = 0;

	while (dir && (d = readdir(dir))) {
		if (strncmp(d->d_name, prefix, strlen(prefix)))
			continue;
		nr++;
		snprintf(path, sizeof(path), SYSFS_SLAB "/%s", d->d_name);
		if (fn)
			fn(path, arg);
	}
	if (dir)
		closedir(dir);
	return nr;
}

void shrink_cache(const char *path, void *unused)
{
	char file[512];

	(void)unused;
	snprintf(file, sizeof(file), "%s/shrink", path);
	/* It may be gone by now */
	if (!write_text(file, "1"))
		add(&shared->shrinks, 1);
}

static void sum_objects(const char *path, void *arg)
{
	char file[512];
	long long nr;

	snprintf(file, sizeof(file), "%s/objects", path);
	nr = read_number(file);
	if (nr > 0)
		*(long long *)arg += nr;
}

/* Objects that SLUB takes for used, when it has given back what sheaves hold */
static long long objects_in_use(unsigned long long arena_id)
{
	long long nr = 0;
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "arena:%llu:", arena_id);
	for_each_cache(prefix, shrink_cache, NULL);
	for_each_cache(prefix, sum_objects, &nr);
	return nr;
}

/* ---- the kernel's log ---- */

static bool log_is_bad;

void watch_log(void)
{
	if (!log_watch())
		blame("no /dev/kmsg: what the kernel says in its log would be missed");
}

/* What comes now is ours */
void spoil_log(void)
{
	log_is_bad = true;
}

void read_log(void)
{
	char text[256];

	while (log_trouble(text, sizeof(text))) {
		/* The first line says what it is; the others are in the log */
		if (!log_is_bad)
			blame("the kernel's log: %s", text);
		log_is_bad = true;
	}
}

/* ---- the books ---- */

void add_counts(struct shared *sh)
{
	__u64 ops = 0, nulls = 0;

	for (int i = 0; i < NR_ARENAS; i++) {
		struct torture_counts *c = &arenas[i].skel->bss->counts;

		for (int j = 0; j < NR_CTX; j++)
			ops += c->ops[j];
		nulls += c->nulls;
	}
	sh->ops = ops;
	sh->nulls = nulls;
}

void check_errors(struct arena *a)
{
	static const char *const words[NR_ERRORS] = {
		[ERR_DUPLICATE] = "was given out although it is live",
		[ERR_OVERLAP] = "is in a page with live objects of another size",
		[ERR_ALIGN] = "is not aligned to its size",
		[ERR_OUTSIDE] = "is not inside of the arena",
		[ERR_OFFSET_0] = "is NULL for a program",
		[ERR_NOT_ZERO] = "is not zero",
		[ERR_CHANGED] = "is not as its owner left it",
		[ERR_TABLE] = "is not in the table of live objects",
		[ERR_BAD_SIZE] = "was given out for an impossible size",
		[ERR_GRACE] = "is a slab whose metadata changed inside of RCU",
	};
	volatile struct torture_first *f = &a->skel->bss->first;
	static bool told[NR_ARENAS];
	int i = a - arenas;

	if (!f->error || told[i])
		return;
	usleep(10000);	/* for the rest of it */
	told[i] = true;
	blame("%s: %#llx, size %llu, %s (%#llx, %#llx)", a->name, f->addr, f->size,
	      f->error < NR_ERRORS ? words[f->error] : "is out of order", f->left, f->right);
}

/*
 * No access of ours in the kept arena may have met a page that is not there. The streams
 * of the others are never read: they are full soon, of what is expected.
 */
void read_streams(void)
{
	static bool told;
	struct bpf_program *prog;
	char buf[8192], *line;
	int n;

	bpf_object__for_each_program(prog, arenas[ARENA_KEPT].skel->obj) {
		if (bpf_program__fd(prog) < 0)
			continue;
		for (int i = 0; i < 8; i++) {
			n = bpf_prog_stream_read(bpf_program__fd(prog), BPF_STDERR, buf,
						 sizeof(buf) - 1, NULL);
			if (n <= 0)
				break;
			buf[n] = '\0';
			line = strstr(buf, "at unmapped address");
			if (!line || told)
				continue;
			line[strcspn(line, "\n")] = '\0';
			told = true;
			blame("kept: %s found a live object %.60s", bpf_program__name(prog), line);
		}
	}
}

static void expect(struct arena *a, const char *what, long long is, long long want)
{
	if (is != want)
		blame("%s: %s: the kernel counts %lld, expected %lld", a->name, what, is, want);
}

/* Whose page each is can be said of the kept arena only; what was freed goes a bit later */
static bool pages_add_up(struct arena *a, long long *pages)
{
	struct kernel_counts k = read_counts(a->map_id);

	*pages = k.slabs_mapped - k.slabs_freed;
	for (int i = 0; i < MAX_PAGES; i++)
		*pages += a->skel->bss->page_table[i] >> 32 >= CLASS_LARGE &&
			  (__u32)a->skel->bss->page_table[i] == 1;
	*pages -= k.pages;
	return !*pages;
}

/* Everything has stopped, nothing is freed yet: who is right about what is live? */
void check_live(struct arena *a)
{
	struct kernel_counts k = read_counts(a->map_id);
	struct torture_counts *c = &a->skel->bss->counts;
	long long live = k.allocs - k.frees, in_use, pages;

	expect(a, "objects allocated", k.allocs, c->small);
	expect(a, "large objects allocated", k.large_allocs, c->large);
	if (a != &arenas[ARENA_LAWLESS])
		expect(a, "objects freed, of any size", k.frees + k.large_frees, c->own_frees);
	if (a == &arenas[ARENA_KEPT] && !WAIT_FOR(20, pages_add_up(a, &pages)))
		blame("%s: slabs and live objects have %lld pages more than are counted", a->name,
		      pages);
	if (!WAIT_FOR(20, (in_use = objects_in_use(k.id)) == live))
		blame("%s: %lld objects are in use in SLUB, %lld are live", a->name, in_use, live);
}

static bool arena_is_empty(struct arena *a)
{
	struct kernel_counts k = read_counts(a->map_id);

	return !objects_in_use(k.id) && k.slabs_mapped == k.slabs_freed && !k.pages;
}

void check_empty(struct arena *a)
{
	struct kernel_counts k;

	/* What is left but for the kept arena's: ordinary pages that user space touched */
	if (a != &arenas[ARENA_KEPT])
		run_prog(a->skel->progs.finish_pages, 0, 0);
	if (!WAIT_FOR(10, arena_is_empty(a))) {
		k = read_counts(a->map_id);
		/* A worker for which there was no memory leaves pages until it is asked again */
		if (a == &arenas[ARENA_KEPT] && k.slabs_mapped == k.slabs_freed) {
			note("kept: bpf_arena_free_pages() left %llu ordinary pages", k.pages);
			run_prog(a->skel->progs.finish_pages, 0, 0);
		}
		if (!WAIT_FOR(20, arena_is_empty(a)))
			blame("%s: %llu pages and %lld slabs are left, with %lld objects in use",
			      a->name, read_counts(a->map_id).pages, k.slabs_mapped - k.slabs_freed,
			      objects_in_use(k.id));
	}
	shared->left[a - arenas] = read_counts(a->map_id).pages;
}

/* The pages are gone: a process that still has one of them mapped has somebody else's */
void check_mapping(struct arena *a)
{
	struct kernel_counts k = read_counts(a->map_id);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry;

	for (__u32 i = 0; fd >= 0 && !k.pages && i < a->pages; i++) {
		if (pread(fd, &entry, sizeof(entry), (a->start / PAGE + i) * sizeof(entry)) !=
		    sizeof(entry))
			break;
		if (!(entry >> 63))
			continue;
		blame("%s: page %u is still mapped, and all pages are freed", a->name, i);
		break;
	}
	if (fd >= 0)
		close(fd);
}

void check_counts(struct arena *a, int nr)
{
	struct torture_counts *c = &a->skel->bss->counts;
	struct kernel_counts k = read_counts(a->map_id);

	shared->kernel[nr] = k;
	shared->counts[nr] = *c;
	expect(a, "objects freed", k.frees, k.allocs);
	expect(a, "large objects freed", k.large_frees, k.large_allocs);
	expect(a, "frees, accepted and refused", k.frees + k.large_frees + refused(&k), c->frees);
	expect(a, "refused, kernel's object", k.kernel_owned, 0);
	if (nr == ARENA_LAWLESS)
		return;
	expect(a, "refused, inside of an object", k.interior,
	       c->bad[BAD_INTERIOR] + c->bad[BAD_TAIL] + c->bad[BAD_LARGE_TAIL]);
	expect(a, "refused, no object", k.no_object, c->bad[BAD_PAGE] + c->bad[BAD_NO_PAGE] +
	       c->bad[BAD_OUTSIDE] + c->bad[BAD_FOREIGN]);
	expect(a, "refused, not live", k.not_live, 0);
}

void check_leaks_of_addresses(struct arena *a)
{
	/* Also where there is no object, if to look does not make a page */
	for (__u32 i = 0; i < a->pages - NO_PAGES; i++) {
		if (a->skel->bss->page_table[i] || a->flags & BPF_F_SEGV_ON_FAULT)
			scan_page(a, i);
	}
}
