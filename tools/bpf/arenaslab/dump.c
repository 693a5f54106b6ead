// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab dump: the live objects of a cache or an arena, and what stands in them.
 *
 * The arena is held by a file descriptor first, and looked up then: from there on its
 * address, its slot table and the caches of programs stay. What does not stay are objects,
 * slabs and caches of the kernel's. So there are two steps, each a run of a program of
 * inspect.bpf.c: a list of what is live in a stretch of pages, then object by object, by
 * address, a copy. The second step says that an object is gone, and that is no error.
 *
 * A type is looked for where it is most likely meant: in the file that was given, or in
 * the BTF of the programs that use the arena (their map_ids name it; the arena itself has
 * no BTF), or in the kernel's.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "bpf_util.h"
#include "btf_json.h"
#include "cmd.h"
#include "inventory.h"
#include "inspect.skel.h"

#define BYTES_A_LINE	16

struct options {
	const char *cache;
	unsigned long map_id;
	unsigned long object;
	bool object_given;
	const char *type;
	const char *btf;
	bool json;
};

struct dump {
	const struct options *opt;
	struct inspect_bpf *skel;
	struct inventory inv;
	const struct arena *arena;
	const struct cache *cache;	/* NULL: all, and large objects */
	int map_fd;
	/* With a type */
	struct btf *btf;
	struct btf_dump *dumper;
	int type_id;
	size_t type_size;
	/* What the dumper has said of an object */
	FILE *text_file;
	char *text;
	size_t text_len;
	unsigned long long shown, gone;
	char *data;
};

/* ---- content ---- */

/* As xxd: offset, bytes in pairs, ASCII */
static void print_hex(const unsigned char *p, size_t len)
{
	for (size_t off = 0; off < len; off += BYTES_A_LINE) {
		size_t n = len - off < BYTES_A_LINE ? len - off : BYTES_A_LINE;

		printf("  %08zx:", off);
		for (size_t i = 0; i < BYTES_A_LINE; i++) {
			if (i % 2 == 0)
				putchar(' ');
			if (i < n)
				printf("%02x", p[off + i]);
			else
				printf("  ");
		}
		printf("  ");
		for (size_t i = 0; i < n; i++)
			putchar(p[off + i] >= ' ' && p[off + i] <= '~' ? p[off + i] : '.');
		putchar('\n');
	}
}

static void add_text(void *ctx, const char *fmt, va_list args)
{
	struct dump *d = ctx;

	vfprintf(d->text_file, fmt, args);
}

/* d->text is the object as its type, until the next one */
static int make_text(struct dump *d, const void *data)
{
	LIBBPF_OPTS(btf_dump_type_data_opts, opts, .emit_zeroes = true, .emit_strings = true);
	int ret;

	free(d->text);
	d->text = NULL;
	d->text_file = open_memstream(&d->text, &d->text_len);
	if (!d->text_file)
		return fail("out of memory");
	ret = btf_dump__dump_type_data(d->dumper, d->type_id, data, d->type_size, &opts);
	if (fclose(d->text_file))
		return fail("out of memory");
	if (ret < 0)
		return fail("an object cannot be shown as '%s': %s", d->opt->type, strerror(-ret));
	return 0;
}

static const char *cache_name(const struct dump *d, const struct found *f)
{
	for (size_t i = 0; i < d->inv.nr_caches; i++) {
		if (d->inv.caches[i].rec.cache == f->cache)
			return d->inv.caches[i].rec.name;
	}
	/* A cache that is younger than our list */
	return f->cache ? "?" : "large";
}

static int print_object(struct dump *d, const struct found *f)
{
	bool fits = d->opt->type && d->type_size <= f->size;

	if (fits && !d->opt->json && make_text(d, d->data))
		return EXIT_FAILED;
	if (d->opt->json) {
		printf("%s{\"address\":\"0x%llx\",\"cache\":", d->shown ? "," : "", f->addr);
		print_json_string(stdout, cache_name(d, f));
		printf(",\"size\":%u,\"data\":\"", f->size);
		for (__u32 i = 0; i < f->size; i++)
			printf("%02x", (unsigned char)d->data[i]);
		putchar('"');
		if (fits) {
			printf(",\"value\":");
			print_btf_json(d->btf, d->type_id, d->data);
		}
		putchar('}');
	} else {
		printf("%s0x%llx %s, %u bytes\n", d->shown ? "\n" : "", f->addr, cache_name(d, f),
		       f->size);
		if (fits)
			puts(d->text);
		else
			print_hex((const unsigned char *)d->data, f->size);
	}
	d->shown++;
	return 0;
}

/* ---- objects ---- */

static int run_program(const struct bpf_program *prog, const char *what)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int err = bpf_prog_test_run_opts(bpf_program__fd(prog), &run);

	return err ? bpf_failed(what, err) : 0;
}

/* The content of an object, into d->data; in parts if it is large */
static int read_content(struct dump *d, const struct found *f, enum read_status *status)
{
	struct inspect_bpf__bss *bss = d->skel->bss;
	char *p = realloc(d->data, f->size);
	__u32 off = 0;

	if (!p)
		return fail("out of memory");
	d->data = p;
	bss->read_addr = f->addr;
	bss->read_size = f->size;
	bss->cache_addr = f->cache;
	do {
		bss->read_off = off;
		bss->read_len = f->size - off < MAX_READ ? f->size - off : MAX_READ;
		bss->read_status = READ_NOTHING;
		if (run_program(d->skel->progs.read_object, "read an object"))
			return EXIT_FAILED;
		*status = bss->read_status;
		if (*status == READ_NOTHING)
			continue;	/* something else in its place on this CPU */
		if (*status != READ_DONE)
			return 0;
		memcpy(d->data + off, bss->data, bss->read_len);
		off += bss->read_len;
	} while (off < f->size && !stopped);
	return 0;
}

static bool is_wanted(const struct dump *d, const struct found *f)
{
	/* Only the low half of an address counts, as for those who free by it */
	return !d->opt->object_given || (__u32)d->opt->object - (__u32)f->addr < f->size;
}

static int dump_objects(struct dump *d, const struct found *found, size_t nr)
{
	enum read_status status = READ_NOTHING;
	int err = 0;

	for (size_t i = 0; i < nr && !err && !stopped; i++) {
		if (!is_wanted(d, &found[i]))
			continue;
		err = read_content(d, &found[i], &status);
		if (err || stopped)
			break;
		if (status == READ_DONE)
			err = print_object(d, &found[i]);
		else
			d->gone++;
		if (ferror(stdout))
			err = finish_output();
	}
	return err;
}

/* From one end of the arena to the other */
static int dump_arena(struct dump *d)
{
	struct inspect_bpf__bss *bss = d->skel->bss;
	struct found *found = malloc(sizeof(bss->found));
	__u64 page = 0;
	size_t nr;
	int err = 0;

	if (!found)
		return fail("out of memory");
	bss->arena_addr = d->arena->rec.arena;
	while (!err && !stopped && page < d->arena->rec.max_pages) {
		bss->cache_addr = d->cache ? d->cache->rec.cache : 0;
		bss->from_page = page;
		bss->next_page = page;
		err = run_program(d->skel->progs.find_objects, "look for objects");
		if (err)
			break;
		page = bss->next_page;
		nr = bss->nr_found < MAX_FOUND ? bss->nr_found : MAX_FOUND;
		memcpy(found, bss->found, nr * sizeof(*found));
		err = dump_objects(d, found, nr);
	}
	free(found);
	return err;
}

/* ---- types ---- */

/* The type that is meant by "struct foo" or "foo"; 0 if there is none */
static int find_type(const struct btf *btf, const char *name)
{
	static const struct {
		const char *word;
		int kind;
	} kinds[] = {
		{ "struct ", BTF_KIND_STRUCT }, { "union ", BTF_KIND_UNION },
		{ "enum ", BTF_KIND_ENUM }, { "", BTF_KIND_STRUCT }, { "", BTF_KIND_TYPEDEF },
		{ "", BTF_KIND_UNION }, { "", BTF_KIND_ENUM }, { "", BTF_KIND_INT },
	};
	int id;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t len = strlen(kinds[i].word);

		if (strncmp(name, kinds[i].word, len))
			continue;
		id = btf__find_by_name_kind(btf, name + len, kinds[i].kind);
		if (id > 0)
			return id;
	}
	return 0;
}

static bool uses_map(int prog_fd, __u32 map_id, __u32 *btf_id)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info), ids[64];

	info.map_ids = (__u64)ids;
	info.nr_map_ids = ARRAY_SIZE(ids);
	if (bpf_prog_get_info_by_fd(prog_fd, &info, &len))
		return false;
	*btf_id = info.btf_id;
	for (__u32 i = 0; i < info.nr_map_ids && i < ARRAY_SIZE(ids); i++) {
		if (ids[i] == map_id)
			return true;
	}
	return false;
}

/* BTF with the type, of a program that uses the arena; NULL if there is none */
static struct btf *find_prog_btf(struct dump *d)
{
	__u32 id = 0, btf_id, last = 0;
	struct btf *btf;
	bool uses;
	int fd;

	while (!bpf_prog_get_next_id(id, &id)) {
		fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		uses = uses_map(fd, d->arena->rec.map_id, &btf_id);
		close(fd);
		/* The programs of one object file have one BTF */
		if (!uses || !btf_id || btf_id == last)
			continue;
		last = btf_id;
		btf = btf__load_from_kernel_by_id(btf_id);
		d->type_id = btf ? find_type(btf, d->opt->type) : 0;
		if (d->type_id)
			return btf;
		btf__free(btf);
	}
	return NULL;
}

static int load_type(struct dump *d)
{
	const struct options *opt = d->opt;
	long long size;

	if (opt->btf) {
		d->btf = btf__parse(opt->btf, NULL);
		if (!d->btf)
			return fail("%s: no BTF can be read from it: %s", opt->btf,
				    strerror(errno));
		d->type_id = find_type(d->btf, opt->type);
		if (!d->type_id)
			return fail("%s: there is no type '%s' in its BTF", opt->btf, opt->type);
	} else {
		d->btf = find_prog_btf(d);
		if (!d->btf) {
			d->btf = btf__load_vmlinux_btf();
			d->type_id = d->btf ? find_type(d->btf, opt->type) : 0;
		}
		if (!d->type_id)
			return fail("there is no type '%s' in the programs that use map %u, nor in "
				    "the kernel (--btf FILE names another place)", opt->type,
				    d->arena->rec.map_id);
	}
	size = btf__resolve_size(d->btf, d->type_id);
	if (size <= 0)
		return fail("'%s' has no size: is it complete?", opt->type);
	d->type_size = size;
	if (d->cache && d->type_size > d->cache->rec.size)
		return fail("'%s' has %zu bytes, objects of %s have %u", opt->type, d->type_size,
			    d->cache->rec.name, d->cache->rec.size);
	d->dumper = btf_dump__new(d->btf, add_text, d, NULL);
	return d->dumper ? 0 : fail("the type cannot be shown: %s", strerror(errno));
}

/* ---- the command ---- */

static const struct cache *find_cache(const struct inventory *inv, const char *name)
{
	for (size_t i = 0; i < inv->nr_caches; i++) {
		if (!strcmp(inv->caches[i].rec.name, name))
			return &inv->caches[i];
	}
	return NULL;
}

static const struct arena *find_arena(const struct inventory *inv, __u32 map_id)
{
	for (size_t i = 0; i < inv->nr_arenas; i++) {
		if (inv->arenas[i].rec.map_id == map_id)
			return &inv->arenas[i];
	}
	return NULL;
}

/* What is meant, in the inventory as it is; false: there is no such thing (any more) */
static bool look_up(struct dump *d, __u32 *map_id)
{
	const struct options *opt = d->opt;

	d->cache = opt->cache ? find_cache(&d->inv, opt->cache) : NULL;
	if (opt->cache && !d->cache) {
		fail("there is no arena cache '%s': arenaslab top shows those that are",
		     opt->cache);
		return false;
	}
	if (d->cache)
		d->arena = &d->inv.arenas[d->cache->arena];
	else
		d->arena = find_arena(&d->inv, opt->map_id);
	if (!d->arena || (opt->map_id && d->arena->rec.map_id != opt->map_id)) {
		if (d->arena)
			fail("cache %s is of map %u", opt->cache, d->arena->rec.map_id);
		else
			fail("map %lu is no arena with slab caches: arenaslab top shows those that "
			     "are", opt->map_id);
		return false;
	}
	*map_id = d->arena->rec.map_id;
	return true;
}

/* Hold the arena, then look again: what we know of it is true from here on */
static int hold_arena(struct dump *d, struct inspector *in)
{
	__u32 map_id, again;

	if (take_inventory(in, &d->inv, NULL) || !look_up(d, &map_id))
		return EXIT_FAILED;
	d->map_fd = bpf_map_get_fd_by_id(map_id);
	if (d->map_fd < 0 && errno == ENOENT)
		return fail("the arena, map %u, is gone", map_id);
	if (d->map_fd < 0)
		return bpf_failed("get the arena", -errno);
	free_inventory(&d->inv);
	if (take_inventory(in, &d->inv, NULL) || !look_up(d, &again))
		return EXIT_FAILED;
	return again == map_id ? 0 : fail("the arena, map %u, is gone", map_id);
}

static int print_all(struct dump *d)
{
	const char *separator = "";
	int err;

	if (d->opt->json) {
		printf("{\"map_id\":%u,\"objects\":[", d->arena->rec.map_id);
		err = dump_arena(d);
		printf("],\"gone\":%llu}\n", d->gone);
	} else {
		err = dump_arena(d);
		if (!err && !d->opt->object_given) {
			if (d->shown)
				separator = "\n";
			printf("%s%llu live objects", separator, d->shown);
			if (d->gone)
				printf(", %llu freed meanwhile", d->gone);
			putchar('\n');
		}
	}
	if (!err && d->opt->object_given && !d->shown)
		err = fail("there is no live object at 0x%lx", d->opt->object);
	return err;
}

static int run(const struct options *opt)
{
	struct dump d = { .opt = opt, .map_fd = -1 };
	struct inspector *in = inspector_open();
	int err;

	if (!in)
		return EXIT_FAILED;
	d.skel = inspector_programs(in);
	catch_stop();
	err = hold_arena(&d, in);
	if (!err && opt->type)
		err = load_type(&d);
	err = err ?: print_all(&d);
	err = finish_output() ?: err;

	btf_dump__free(d.dumper);
	btf__free(d.btf);
	free_inventory(&d.inv);
	if (d.map_fd >= 0)
		close(d.map_fd);
	free(d.data);
	free(d.text);
	inspector_close(in);
	return err;
}

static bool parse_address(const char *s, unsigned long *val)
{
	char *end;

	if (!isxdigit(*s))
		return false;
	errno = 0;
	*val = strtoul(s, &end, 16);
	return !*end && !errno;
}

int cmd_dump(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "cache", required_argument, NULL, 'c' },
		{ "map", required_argument, NULL, 'm' },
		{ "object", required_argument, NULL, 'o' },
		{ "type", required_argument, NULL, 't' },
		{ "btf", required_argument, NULL, 'b' },
		{ "json", no_argument, NULL, 'j' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	struct options opt = {};
	int c;

	while ((c = next_option(argc, argv, ":c:m:o:t:b:jv", longopts)) > 0) {
		switch (c) {
		case 'c':
			opt.cache = optarg;
			break;
		case 'm':
			if (!option_number(c, 1, ~0U, "not a map id", &opt.map_id))
				return EXIT_USAGE;
			break;
		case 'o':
			if (!parse_address(optarg, &opt.object))
				return usage_error("-o %s: not an address", optarg);
			opt.object_given = true;
			break;
		case 't':
			opt.type = optarg;
			break;
		case 'b':
			opt.btf = optarg;
			break;
		case 'j':
			opt.json = true;
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	if (!opt.cache && !opt.map_id)
		return usage_error("dump what? -c CACHE or -m MAP");
	if (opt.btf && !opt.type)
		return usage_error("-b needs -t TYPE");
	return run(&opt);
}
