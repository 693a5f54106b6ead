// SPDX-License-Identifier: GPL-2.0
/* Tests that are BPF programs, and what all tests need of BPF objects. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/btf.h>
#include "arena_slab.h"

/* Not in the uapi header; the other one is 1 */
#define BPF_STDERR	2

/* ---- objects ---- */

static struct bpf_object *open_bytes(const struct image *image)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = image->name);

	return bpf_object__open_mem(image->start, image->end - image->start, &opts);
}

struct bpf_object *open_image(const char *name, const char *const *progs)
{
	const struct image *image = images;
	struct bpf_program *prog;
	struct bpf_object *obj;
	bool with_ops = false;
	struct bpf_map *map;

	while (image->name && strcmp(image->name, name))
		image++;
	obj = image->name ? open_bytes(image) : NULL;
	if (!obj) {
		FAIL("%s: cannot be opened: %s", name, strerror(errno));
		return NULL;
	}
	bpf_object__for_each_program(prog, obj)
		bpf_program__set_autoload(prog, false);
	for (; *progs; progs++) {
		prog = bpf_object__find_program_by_name(obj, *progs);
		if (!prog) {
			FAIL("%s: has no program %s", name, *progs);
			bpf_object__close(obj);
			return NULL;
		}
		bpf_program__set_autoload(prog, true);
		with_ops |= bpf_program__type(prog) == BPF_PROG_TYPE_STRUCT_OPS;
	}
	/* They would bring their programs with them */
	bpf_object__for_each_map(map, obj) {
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS && !with_ops)
			bpf_map__set_autocreate(map, false);
	}
	return obj;
}

static struct bpf_object *load_opened(const char *name, struct bpf_object *obj)
{
	int err = bpf_object__load(obj);

	if (err) {
		FAIL("%s: cannot be loaded: %s (-v shows why)", name, strerror(-err));
		bpf_object__close(obj);
		return NULL;
	}
	return obj;
}

struct bpf_object *load_image(const char *name, const char *const *progs)
{
	struct bpf_object *obj = open_image(name, progs);

	return obj ? load_opened(name, obj) : NULL;
}

/* Its place in the section's map: BTF knows the offset */
static void *var_in_section(struct bpf_object *obj, const struct btf *btf,
			    const struct btf_type *section, const char *name)
{
	const struct btf_var_secinfo *info = btf_var_secinfos(section);
	const char *section_name = btf__name_by_offset(btf, section->name_off);
	struct bpf_map *map;
	size_t size;

	for (__u32 i = 0; i < btf_vlen(section); i++, info++) {
		const struct btf_type *var = btf__type_by_id(btf, info->type);
		char *mem;

		if (strcmp(btf__name_by_offset(btf, var->name_off), name))
			continue;
		/* The map's name is the object's and the section's, cut to fit */
		bpf_object__for_each_map(map, obj) {
			const char *map_name = bpf_map__name(map);
			const char *dot = strchr(map_name, '.');

			if (!dot || strcmp(dot, section_name))
				continue;
			mem = bpf_map__initial_value(map, &size);
			return mem ? mem + info->offset : NULL;
		}
	}
	return NULL;
}

void *find_var(struct bpf_object *obj, const char *name)
{
	const struct btf *btf = bpf_object__btf(obj);
	void *p;

	for (__u32 id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);

		if (!btf_is_datasec(t))
			continue;
		p = var_in_section(obj, btf, t, name);
		if (p)
			return p;
	}
	fprintf(stderr, "arena_slab: no variable %s in %s\n", name, bpf_object__name(obj));
	exit(1);
}

int run_prog(struct bpf_object *obj, const char *name)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	int err;

	if (!prog)
		return -ENOENT;
	err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	return err ?: (int)opts.retval;
}

void read_stream(struct bpf_object *obj, const char *name, char *buf, size_t size)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	size_t len = 0;
	int n;

	while (len + 1 < size) {
		n = bpf_prog_stream_read(bpf_program__fd(prog), BPF_STDERR, buf + len,
					 size - 1 - len, NULL);
		if (n <= 0)
			break;
		len += n;
	}
	buf[len] = '\0';
}

__u32 arena_id(struct bpf_object *obj)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, "arena");
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (!map || bpf_map_get_info_by_fd(bpf_map__fd(map), &info, &len))
		return 0;
	return info.id;
}

/* ---- tags: the texts that stand in front of a program ---- */

/*
 * The next tag of the function @name that begins with @prefix, without it. @id is
 * where the search goes on; 0 at first.
 */
static const char *next_tag(const struct btf *btf, const char *name, const char *prefix, __u32 *id)
{
	const struct btf_type *t;
	const char *text;
	int func;

	func = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
	while (func > 0 && ++*id < btf__type_cnt(btf)) {
		t = btf__type_by_id(btf, *id);
		if (!btf_is_decl_tag(t) || (int)t->type != func ||
		    btf_decl_tag(t)->component_idx != -1)
			continue;
		text = btf__name_by_offset(btf, t->name_off);
		if (!strncmp(text, prefix, strlen(prefix)))
			return text + strlen(prefix);
	}
	return NULL;
}

/* ---- programs that run ---- */

static int compare(const char *what, long long is, long long expected)
{
	if (is == expected)
		return 0;
	printf("# %s: %lld, expected %lld\n", what, is, expected);
	return 1;
}

static int check_counters(struct bpf_object *obj, const struct test_report *r)
{
	struct arena_counters c;
	int err;

	err = read_counters(arena_id(obj), &c);
	if (err || !c.found)
		return err;
	err |= compare("refused frees, kernel owned", c.kernel_owned, r->kernel_owned);
	err |= compare("refused frees, interior", c.interior, r->interior);
	/* A large object that is freed twice may be gone, or on its way */
	err |= compare("refused frees, not live or no object", c.not_live + c.no_object,
		       r->not_live + r->no_object);
	if (!c.large_allocs)
		err |= compare("refused frees, no object", c.no_object, r->no_object);
	err |= compare("objects left over", c.allocs - c.frees + c.large_allocs - c.large_frees,
		       r->leaked);
	return err;
}

static int check_stream(struct bpf_object *obj, const char *prog)
{
	const struct btf *btf = bpf_object__btf(obj);
	bool expected = false;
	static char buf[65536];
	const char *text;
	int err = 0;

	read_stream(obj, prog, buf, sizeof(buf));
	for (__u32 id = 0; (text = next_tag(btf, prog, "stderr:", &id));) {
		expected = true;
		if (!strstr(buf, text)) {
			printf("# its error stream lacks '%.*s'\n", (int)strcspn(text, "\n"), text);
			err = 1;
		}
	}
	for (__u32 id = 0; (text = next_tag(btf, prog, "nostderr:", &id));) {
		if (!fnmatch(text, buf, 0)) {
			printf("# its error stream has '%s' in it\n", text);
			err = 1;
		}
	}
	if (!expected && buf[0])
		err = 1;
	if (err && buf[0])
		printf("# its error stream begins with: %.*s\n", (int)strcspn(buf, "\n"), buf);
	return err;
}

int run_bpf_test(const struct image *image, const char *prog)
{
	struct bpf_object *obj = open_image(image->name, PROGS(prog));
	struct test_report *report;
	char source[64];
	__u32 id = 0;
	int err;

	if (!obj)
		return 1;
	if (next_tag(bpf_object__btf(obj), prog, "state_freq:", &id))
		bpf_program__set_flags(bpf_object__find_program_by_name(obj, prog),
				       BPF_F_TEST_STATE_FREQ);
	obj = load_opened(image->name, obj);
	if (!obj)
		return 1;
	snprintf(source, sizeof(source), "%s.bpf.c", image->name);
	report = find_var(obj, "report");
	err = run_prog(obj, prog);
	if (err < 0)
		printf("# cannot be run: %s\n", strerror(-err));
	else if (err)
		printf("# the check at progs/%s:%d failed: 0x%llx against 0x%llx\n",
		       err > 1000 ? "common.bpf.h" : source, err % 1000, report->left,
		       report->right);
	/* A test that failed half way leaves objects: only what it says itself counts */
	if (!err)
		err = check_counters(obj, report);
	err |= check_stream(obj, prog);
	bpf_object__close(obj);
	return err ? 1 : 0;
}

/* ---- programs that must not load ---- */

int run_refused_test(const struct image *image, const char *prog)
{
	struct bpf_object *obj = open_image(image->name, PROGS(prog));
	static char log[1 << 20];
	struct bpf_program *p;
	const char *text;
	int err;

	if (!obj)
		return 1;
	p = bpf_object__find_program_by_name(obj, prog);
	bpf_program__set_log_buf(p, log, sizeof(log));
	log[0] = '\0';
	err = bpf_object__load(obj);
	if (!err) {
		printf("# it was loaded\n");
		bpf_object__close(obj);
		return 1;
	}
	err = 0;
	for (__u32 id = 0; (text = next_tag(bpf_object__btf(obj), prog, "log:", &id));) {
		if (!strstr(log, text)) {
			printf("# the verifier's log lacks '%s'\n", text);
			err = 1;
		}
	}
	if (err) {
		/* Its last lines say why */
		size_t len = strlen(log), from = len > 400 ? len - 400 : 0;

		for (char *line = strtok(log + from, "\n"); line; line = strtok(NULL, "\n"))
			printf("#   %s\n", line);
	}
	bpf_object__close(obj);
	return err;
}

void visit_bpf_tests(void (*fn)(const struct image *image, const char *prog, const char *desc))
{
	for (const struct image *image = images; image->name; image++) {
		struct bpf_object *obj = open_bytes(image);
		struct bpf_program *prog;

		if (!obj) {
			fprintf(stderr, "arena_slab: cannot open %s: %s\n", image->name,
				strerror(errno));
			exit(1);
		}
		bpf_object__for_each_program(prog, obj) {
			const char *name = bpf_program__name(prog), *desc;
			__u32 id = 0;

			if (strncmp(name, "test_", 5) && strncmp(name, "refuse_", 7))
				continue;
			desc = next_tag(bpf_object__btf(obj), name, "desc:", &id);
			fn(image, name, desc ?: "(no description)");
		}
		bpf_object__close(obj);
	}
}
