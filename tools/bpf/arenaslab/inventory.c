// SPDX-License-Identifier: GPL-2.0
/*
 * Take stock of the arenas with slab caches: what the iterators of inspect.bpf.c find,
 * put together. For `arenaslab top`, `stat` and `dump`.
 *
 * Three iterators run one after the other, and an arena may come or go between two of
 * them: a cache whose arena was not seen is left out, and so is a holder. Nothing of it
 * is held, so that to look at an arena does not keep it.
 *
 * The fields that the programs read are looked up in the kernel's BTF before the
 * programs are loaded. A kernel in which one has another name gets an error that says
 * which one; from the verifier it would be a wall of instructions.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "bpf_util.h"
#include "cmd.h"
#include "inventory.h"
#include "inspect.skel.h"
#include "test_util.h"

#define GUARD_SIZE		65536

struct counter_name {
	char name[40];		/* "": there is no such counter */
	bool violation;
};

struct inspector {
	struct inspect_bpf *skel;
	struct counter_name counters[MAX_COUNTERS];
};

static const char other_version[] = "this arenaslab is for another version of it";

/* What inspect.bpf.c cannot do without */
static const struct {
	const char *type;
	const char *fields[8];
} needed[] = {
	{ "bpf_arena", { "user_vm_start", "kern_vm", "nr_pages", "slabs" } },
	{ "arena_slabs", { "id", "slots", "counters", "faults" } },
	{ "bpf_arena_cache", { "s", "arena", "stats", "size", "objects", "of_program", "ref" } },
	{ "arena_cache_stats", { "allocs", "frees" } },
	{ "arena_slab", { "cache", "state" } },
	{ "arena_slot_table", { "nr_pages", "dir" } },
	{ "arena_slot_leaf", { "slot" } },
	{ "kmem_cache", { "arena", "name" } },
};

static bool has_field(const struct btf *btf, const struct btf_type *t, const char *name)
{
	const struct btf_member *m = btf_members(t);

	for (int i = 0; i < (int)btf_vlen(t); i++) {
		if (!strcmp(btf__name_by_offset(btf, m[i].name_off), name))
			return true;
	}
	return false;
}

static int check_fields(const struct btf *btf)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		const char *type = needed[i].type;
		int id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);

		if (id < 0)
			return fail("this kernel has no struct %s: %s", type, other_version);
		for (const char *const *f = needed[i].fields; *f; f++) {
			if (!has_field(btf, btf__type_by_id(btf, id), *f))
				return fail("this kernel's struct %s has no '%s': %s", type, *f,
					    other_version);
		}
	}
	return 0;
}

static void name_counter(struct inspector *in, unsigned int i, const char *prefix,
			 const char *name, bool violation)
{
	struct counter_name *c;

	if (i >= MAX_COUNTERS)
		return;
	c = &in->counters[i];
	snprintf(c->name, sizeof(c->name), "%s%s", prefix, name);
	for (char *p = c->name; *p; p++)
		*p = tolower(*p);
	c->violation = violation;
}

/*
 * The names are those of the kernel's enum, so that its next counter is shown, too. Bad
 * frees are counted twice, by class and, behind ARENA_BAD_FREE, by kind: the kinds are
 * what is shown, if there are any.
 */
static int name_counters(struct inspector *in, const struct btf *btf)
{
	int id = btf__find_by_name_kind(btf, "arena_counter", BTF_KIND_ENUM);
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, id) : NULL;
	char kind[BAD_FREE_NAME_SIZE];
	bool kinds;

	if (!t)
		return fail("this kernel has no enum arena_counter: %s", other_version);
	kinds = bad_free_name(btf, 0, kind);
	for (int i = 0; i < (int)btf_vlen(t); i++) {
		const struct btf_enum *e = &btf_enum(t)[i];
		const char *name = btf__name_by_offset(btf, e->name_off);

		if (!strcmp(name, "ARENA_BAD_FREE")) {
			for (int j = 0; bad_free_name(btf, j, kind); j++)
				name_counter(in, e->val + j, "bad_free_", kind, true);
		} else if (!strncmp(name, "ARENA_", 6) && !strstr(name, "_NR_")) {
			name_counter(in, e->val, "", name + 6,
				     !kinds && !strncmp(name, "ARENA_FREE_", 11));
		}
	}
	return 0;
}

struct inspector *inspector_open(void)
{
	struct inspector *in = calloc(1, sizeof(*in));
	struct btf *btf = load_kernel_btf();
	__u64 size = page_size();
	int err = EXIT_FAILED;

	if (!in)
		fail("out of memory");
	if (!in || !btf || check_fields(btf) || name_counters(in, btf))
		goto out;
	in->skel = inspect_bpf__open();
	if (!in->skel) {
		bpf_failed("open the BPF programs", -errno);
		goto out;
	}
	in->skel->rodata->nr_cpus = libbpf_num_possible_cpus();
	in->skel->rodata->page_shift = __builtin_ctzll(size);
	/* As GUARD_SZ in the kernel, half of it */
	in->skel->rodata->guard = (size * 2 > GUARD_SIZE ? size * 2 : GUARD_SIZE) / 2;
	err = inspect_bpf__load(in->skel);
	if (!err)
		err = inspect_bpf__attach(in->skel);
	if (err)
		bpf_failed("load the BPF programs", err);
out:
	btf__free(btf);
	if (!err)
		return in;
	inspector_close(in);
	return NULL;
}

void inspector_close(struct inspector *in)
{
	if (in)
		inspect_bpf__destroy(in->skel);
	free(in);
}

struct inspect_bpf *inspector_programs(struct inspector *in)
{
	return in->skel;
}

__u64 page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

bool is_counted(__u64 value)
{
	return value != ~0ULL;
}

/* ---- taking stock ---- */

/* All that an iterator writes, in @*recs, which is to be freed */
static int read_iterator(struct bpf_link *link, const char *what, size_t rec_size, void **recs,
			 size_t *nr)
{
	size_t size = 0, room = 0;
	ssize_t len = 0;
	char *buf = NULL, *p;
	int fd, err = 0;

	*recs = NULL;
	*nr = 0;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		return bpf_failed(what, -errno);
	do {
		size += len;
		if (room - size < 65536) {
			room = room * 2 + 131072;
			p = realloc(buf, room);
			if (!p) {
				err = fail("out of memory");
				goto out;
			}
			buf = p;
		}
		len = read(fd, buf + size, room - size);
		if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
			len = 0;
			continue;
		}
		if (len < 0) {
			err = bpf_failed(what, -errno);
			goto out;
		}
		if (!len)
			break;
	} while (1);
	*recs = buf;
	*nr = size / rec_size;
	buf = NULL;
out:
	free(buf);
	close(fd);
	return err;
}

static int compare_arenas(const void *pa, const void *pb)
{
	const struct arena *a = pa, *b = pb;

	return a->rec.map_id < b->rec.map_id ? -1 : a->rec.map_id > b->rec.map_id;
}

static int compare_caches(const void *pa, const void *pb)
{
	const struct cache *a = pa, *b = pb;

	if (a->arena != b->arena)
		return a->arena < b->arena ? -1 : 1;
	return a->rec.size < b->rec.size ? -1 : a->rec.size > b->rec.size;
}

static __u64 difference(__u64 a, __u64 b)
{
	return a > b ? a - b : 0;
}

bool get_counter(const struct inspector *in, const struct arena *a, unsigned int i,
		 const char **name, __u64 *value, bool *violation)
{
	if (i >= MAX_COUNTERS || !*in->counters[i].name)
		return false;
	*name = in->counters[i].name;
	*value = a->rec.counters[i];
	*violation = in->counters[i].violation;
	return true;
}

__u64 counter_value(const struct inspector *in, const struct arena *a, const char *wanted)
{
	const char *name;
	bool violation;
	__u64 value;

	for (unsigned int i = 0; get_counter(in, a, i, &name, &value, &violation); i++) {
		if (!strcmp(name, wanted))
			return value;
	}
	return 0;
}

static int take_arenas(struct inspector *in, struct inventory *inv)
{
	struct arena_rec *recs;
	const char *name;
	bool violation;
	void *buf;
	__u64 val;
	size_t nr;
	int err;

	err = read_iterator(in->skel->links.list_arenas, "list the maps", sizeof(*recs), &buf, &nr);
	if (err)
		return err;
	recs = buf;
	inv->arenas = calloc(nr ?: 1, sizeof(*inv->arenas));
	if (!inv->arenas) {
		free(buf);
		return fail("out of memory");
	}
	for (size_t i = 0; i < nr; i++) {
		struct arena *a = &inv->arenas[inv->nr_arenas++];

		a->rec = recs[i];
		a->large = difference(counter_value(in, a, "large_allocs"),
				      counter_value(in, a, "large_frees"));
		a->failed = counter_value(in, a, "failed_allocs");
		for (unsigned int j = 0; get_counter(in, a, j, &name, &val, &violation); j++)
			a->violations += violation ? val : 0;
	}
	free(buf);
	qsort(inv->arenas, inv->nr_arenas, sizeof(*inv->arenas), compare_arenas);
	return 0;
}

static void add_cache(struct inventory *inv, const struct cache_rec *rec)
{
	struct cache *c;

	for (size_t i = 0; i < inv->nr_arenas; i++) {
		struct arena *a = &inv->arenas[i];

		if (a->rec.arena != rec->arena || !rec->size)
			continue;
		c = &inv->caches[inv->nr_caches++];
		c->rec = *rec;
		c->arena = i;
		c->in_use = difference(rec->allocs, rec->frees);
		c->places = rec->slabs * (page_size() / rec->size);
		c->alloc_rate = c->free_rate = -1;
		a->slabs += rec->slabs;
		a->objects += c->in_use;
		return;
	}
}

static int take_caches(struct inspector *in, struct inventory *inv)
{
	struct cache_rec *recs;
	void *buf;
	size_t nr;
	int err;

	err = read_iterator(in->skel->links.list_caches, "list the slab caches", sizeof(*recs),
			    &buf, &nr);
	if (err)
		return err;
	recs = buf;
	inv->caches = calloc(nr ?: 1, sizeof(*inv->caches));
	if (!inv->caches) {
		free(buf);
		return fail("out of memory");
	}
	for (size_t i = 0; i < nr; i++)
		add_cache(inv, &recs[i]);
	free(buf);
	qsort(inv->caches, inv->nr_caches, sizeof(*inv->caches), compare_caches);
	return 0;
}

static int take_holders(struct inspector *in, struct inventory *inv)
{
	struct holder_rec *recs;
	void *buf;
	size_t nr;
	int err;

	if (!inv->nr_arenas)
		return 0;
	err = read_iterator(in->skel->links.list_holders, "list the files", sizeof(*recs), &buf,
			    &nr);
	if (err)
		return err;
	recs = buf;
	for (size_t i = 0; i < nr; i++) {
		for (size_t j = 0; j < inv->nr_arenas; j++) {
			struct arena *a = &inv->arenas[j];

			if (a->rec.map_id != recs[i].map_id || recs[i].pid == (__u32)getpid() ||
			    recs[i].pid == a->holder.pid)
				continue;
			if (!a->holders++)
				a->holder = recs[i];
		}
	}
	free(buf);
	return 0;
}

static void take_rates(struct inventory *inv, const struct inventory *last)
{
	inv->interval = (inv->taken_ns - last->taken_ns) / (double)NS;
	for (size_t i = 0; i < inv->nr_caches; i++) {
		struct cache *c = &inv->caches[i];
		const struct cache *l = NULL;

		/* Names have the arena's number in them, which is never used again */
		for (size_t j = 0; j < last->nr_caches && !l; j++) {
			if (!strcmp(last->caches[j].rec.name, c->rec.name))
				l = &last->caches[j];
		}
		/* A cache that is new had nothing */
		c->alloc_rate = difference(c->rec.allocs, l ? l->rec.allocs : 0) / inv->interval;
		c->free_rate = difference(c->rec.frees, l ? l->rec.frees : 0) / inv->interval;
	}
}

int take_inventory(struct inspector *in, struct inventory *inv, const struct inventory *last)
{
	int err;

	memset(inv, 0, sizeof(*inv));
	inv->taken_ns = now_ns();
	err = take_arenas(in, inv);
	if (!err)
		err = take_caches(in, inv);
	if (!err)
		err = take_holders(in, inv);
	if (!err && last && inv->taken_ns > last->taken_ns)
		take_rates(inv, last);
	return err;
}

void free_inventory(struct inventory *inv)
{
	free(inv->arenas);
	free(inv->caches);
	memset(inv, 0, sizeof(*inv));
}

/* ---- JSON ---- */

static void print_json_cache(const struct cache *c)
{
	printf("{\"name\":");
	print_json_string(stdout, c->rec.name);
	printf(",\"owner\":\"%s\",\"size\":%u,\"slabs\":%u,\"objs_per_slab\":%llu,\"in_use\":%llu,"
	       "\"places\":%llu,\"allocs\":%llu,\"frees\":%llu",
	       c->rec.of_program ? "program" : "kernel", c->rec.size, c->rec.slabs,
	       page_size() / c->rec.size, c->in_use, c->places, c->rec.allocs, c->rec.frees);
	if (c->alloc_rate >= 0)
		printf(",\"allocs_per_s\":%.1f,\"frees_per_s\":%.1f", c->alloc_rate, c->free_rate);
	putchar('}');
}

static void print_json_arena(const struct inspector *in, const struct inventory *inv, size_t nr)
{
	const struct arena *a = &inv->arenas[nr];
	const char *separator = "", *name;
	bool violation;
	__u64 val;

	printf("{\"id\":%llu,\"map_id\":%u,\"name\":", a->rec.id, a->rec.map_id);
	print_json_string(stdout, a->rec.name);
	printf(",\"memcg\":");
	print_json_string(stdout, a->rec.memcg);
	printf(",\"user_start\":\"0x%llx\",\"pages\":%llu,\"max_pages\":%llu,\"slabs\":%llu,"
	       "\"large\":%llu,\"violations\":%llu,\"kernel_faults\":", a->rec.user_start,
	       a->rec.pages, a->rec.max_pages, a->slabs, a->large, a->violations);
	if (is_counted(a->rec.faults))
		printf("%llu", a->rec.faults);
	else
		printf("null");
	printf(",\"holders\":%u,\"holder\":", a->holders);
	if (a->holders) {
		printf("{\"pid\":%u,\"comm\":", a->holder.pid);
		print_json_string(stdout, a->holder.comm);
		putchar('}');
	} else {
		printf("null");
	}
	printf(",\"counters\":{");
	for (unsigned int i = 0; get_counter(in, a, i, &name, &val, &violation); i++) {
		printf("%s", separator);
		print_json_string(stdout, name);
		printf(":%llu", val);
		separator = ",";
	}
	printf("},\"caches\":[");
	separator = "";
	for (size_t i = 0; i < inv->nr_caches; i++) {
		if (inv->caches[i].arena != nr)
			continue;
		printf("%s", separator);
		print_json_cache(&inv->caches[i]);
		separator = ",";
	}
	printf("]}");
}

/* One line */
void print_inventory_json(const struct inspector *in, const struct inventory *inv)
{
	printf("{\"monotonic_ns\":%llu,\"interval_s\":", inv->taken_ns);
	if (inv->interval)
		printf("%.3f", inv->interval);
	else
		printf("null");
	printf(",\"arenas\":[");
	for (size_t i = 0; i < inv->nr_arenas; i++) {
		printf("%s", i ? "," : "");
		print_json_arena(in, inv, i);
	}
	puts("]}");
}
