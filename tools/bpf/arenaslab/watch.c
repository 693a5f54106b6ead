// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab watch: bad frees, and faults of the kernel in arenas, as they happen.
 *
 * The kernel tells what was freed, and not by which program. That is found by the return
 * addresses that come with an event: the first one that is in the code of a BPF program,
 * and not in ours. Where the programs are is asked for when an address is not known yet; a
 * program that is gone by then has no name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include "bpf_util.h"
#include "cmd.h"
#include "test_util.h"
#include "watch.h"
#include "watch.skel.h"

#define MAX_FUNCTIONS	256
/* Asking for all programs takes its time; between two events there may be less */
#define REFRESH_PAUSE	(NS / 10)

struct options {
	double duration;	/* 0: no end */
	unsigned long count;	/* 0: no end */
	bool json;
};

/* A function of a BPF program */
struct code {
	__u64 start, len;
	__u32 prog_id;
	char name[BPF_OBJ_NAME_LEN];
};

struct watch {
	const struct options *opt;
	struct watch_bpf *skel;
	struct btf *btf;
	struct code *codes;
	size_t nr_codes;
	__u64 refreshed;
	unsigned long seen;
	__u64 lost;		/* as far as it has been said */
	__u64 last_ip;
	char symbol[96];	/* of last_ip */
	int err;
};

/* ---- who did it ---- */

static bool is_ours(const struct watch *w, __u32 id)
{
	const struct bpf_program *progs[] = {
		w->skel->progs.on_bad_free, w->skel->progs.on_kernel_fault,
	};
	struct bpf_prog_info info;
	__u32 len;

	for (size_t i = 0; i < ARRAY_SIZE(progs); i++) {
		memset(&info, 0, sizeof(info));
		len = sizeof(info);
		if (bpf_program__fd(progs[i]) >= 0 &&
		    !bpf_prog_get_info_by_fd(bpf_program__fd(progs[i]), &info, &len) &&
		    info.id == id)
			return true;
	}
	return false;
}

static void add_codes(struct watch *w, int fd)
{
	__u64 start[MAX_FUNCTIONS];
	__u32 size[MAX_FUNCTIONS], len;
	struct bpf_prog_info info = {};
	struct code *c;

	info.jited_ksyms = (__u64)start;
	info.nr_jited_ksyms = MAX_FUNCTIONS;
	info.jited_func_lens = (__u64)size;
	info.nr_jited_func_lens = MAX_FUNCTIONS;
	len = sizeof(info);
	if (bpf_prog_get_info_by_fd(fd, &info, &len) || is_ours(w, info.id))
		return;
	for (__u32 i = 0; i < info.nr_jited_ksyms && i < info.nr_jited_func_lens &&
	     i < MAX_FUNCTIONS; i++) {
		c = reallocarray(w->codes, w->nr_codes + 1, sizeof(*c));
		if (!c)
			return;
		w->codes = c;
		c += w->nr_codes++;
		*c = (struct code){ .start = start[i], .len = size[i], .prog_id = info.id };
		snprintf(c->name, sizeof(c->name), "%s", info.name);
	}
}

static void refresh_codes(struct watch *w)
{
	__u32 id = 0;
	int fd;

	w->nr_codes = 0;
	while (!bpf_prog_get_next_id(id, &id)) {
		fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		add_codes(w, fd);
		close(fd);
	}
	w->refreshed = now_ns();
}

static const struct code *find_code(const struct watch *w, const struct watch_event *e)
{
	for (int i = 0; i < WATCH_FRAMES && e->frames[i]; i++) {
		for (size_t j = 0; j < w->nr_codes; j++) {
			if (e->frames[i] - w->codes[j].start < w->codes[j].len)
				return &w->codes[j];
		}
	}
	return NULL;
}

static const struct code *find_program(struct watch *w, const struct watch_event *e)
{
	const struct code *c = find_code(w, e);

	if (c || (w->refreshed && now_ns() - w->refreshed < REFRESH_PAUSE))
		return c;
	refresh_codes(w);
	return find_code(w, e);
}

/* The kernel's function at an address; "" if it does not tell */
static const char *find_symbol(struct watch *w, __u64 ip)
{
	unsigned long long addr, best = 0;
	char line[256], name[64];
	FILE *f;

	if (ip == w->last_ip)
		return w->symbol;
	*w->symbol = '\0';
	w->last_ip = ip;
	f = fopen("/proc/kallsyms", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %63s", &addr, name) != 2 || addr > ip || addr <= best)
			continue;
		best = addr;
		snprintf(w->symbol, sizeof(w->symbol), "%s+0x%llx", name, ip - addr);
	}
	if (f)
		fclose(f);
	return w->symbol;
}

/* ---- output ---- */

static void format_time(__u64 ns, const char *format, char *buf, size_t size)
{
	struct timespec real, mono;
	__u64 t;
	time_t sec;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	t = real.tv_sec * NS + real.tv_nsec - (mono.tv_sec * NS + mono.tv_nsec) + ns;
	sec = t / NS;
	localtime_r(&sec, &tm);
	len = strftime(buf, size, format, &tm);
	snprintf(buf + len, size - len, ".%03llu", t % NS / 1000000);
}

/* What, of what, by whom: a line each, in 80 columns */
static void print_text(struct watch *w, const struct watch_event *e, const char *what,
		       const struct code *prog)
{
	char time[40];

	format_time(e->ns, "%H:%M:%S", time, sizeof(time));
	printf("%s map %u: %s 0x%llx\n", time, e->map_id, what, e->addr);
	if (e->type == WATCH_KERNEL_FAULT && *find_symbol(w, e->ip))
		printf("             in %s\n", w->symbol);
	if (e->object) {
		printf("             object 0x%llx of ", e->object);
		print_plain(stdout, e->cache, 0);
		printf(", %u bytes\n", e->size);
	}
	printf("             by ");
	print_plain(stdout, e->comm, 0);
	printf("[%u]", e->pid);
	if (prog)
		printf(", program %u %s", prog->prog_id, prog->name);
	printf(", CPU %u\n", e->cpu);
}

static void print_json(struct watch *w, const struct watch_event *e, const char *kind,
		       const struct code *prog)
{
	char time[40];

	format_time(e->ns, "%Y-%m-%dT%H:%M:%S", time, sizeof(time));
	printf("{\"event\":\"%s\",\"time\":\"%s\",\"monotonic_ns\":%llu,\"map_id\":%u,\"kind\":",
	       e->type == WATCH_KERNEL_FAULT ? "kernel_fault" : "bad_free", time, e->ns, e->map_id);
	print_json_string(stdout, kind);
	printf(",\"address\":\"0x%llx\"", e->addr);
	if (e->type == WATCH_KERNEL_FAULT) {
		printf(",\"ip\":\"0x%llx\",\"function\":", e->ip);
		print_json_string(stdout, find_symbol(w, e->ip));
	} else if (e->object) {
		printf(",\"object\":\"0x%llx\",\"size\":%u,\"cache\":", e->object, e->size);
		print_json_string(stdout, e->cache);
	} else {
		printf(",\"object\":null");
	}
	printf(",\"pid\":%u,\"tid\":%u,\"comm\":", e->pid, e->tid);
	print_json_string(stdout, e->comm);
	printf(",\"cpu\":%u,\"prog_id\":", e->cpu);
	if (prog) {
		printf("%u,\"prog\":", prog->prog_id);
		print_json_string(stdout, prog->name);
	} else {
		printf("null,\"prog\":null");
	}
	puts("}");
}

static int print_event(void *ctx, void *data, size_t size)
{
	struct watch *w = ctx;
	const struct watch_event *e = data;
	char kind[BAD_FREE_NAME_SIZE] = "?", what[BAD_FREE_NAME_SIZE + 16];
	const struct code *prog;

	if (size < sizeof(*e))
		return 0;
	prog = find_program(w, e);
	if (e->type == WATCH_KERNEL_FAULT) {
		strcpy(kind, e->kind ? "write" : "read");
		snprintf(what, sizeof(what), "kernel %s at", kind);
	} else {
		bad_free_name(w->btf, e->kind, kind);
		snprintf(what, sizeof(what), "bad free (%s) of", kind);
	}
	if (w->opt->json)
		print_json(w, e, kind, prog);
	else
		print_text(w, e, what, prog);
	w->err = finish_output();
	w->seen++;
	/* Ends the round, with an error that is none */
	return w->err || (w->opt->count && w->seen >= w->opt->count) ? -ECANCELED : 0;
}

static __u64 recursion_misses(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_program__fd(prog) < 0 ||
	    bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		return 0;
	return info.recursion_misses;
}

static int print_lost(struct watch *w)
{
	__u64 lost = __atomic_load_n(&w->skel->bss->lost, __ATOMIC_RELAXED) +
		     recursion_misses(w->skel->progs.on_bad_free) +
		     recursion_misses(w->skel->progs.on_kernel_fault);

	if (lost == w->lost)
		return 0;
	if (w->opt->json)
		printf("{\"event\":\"lost\",\"count\":%llu}\n", lost - w->lost);
	else
		printf("%llu events were lost\n", lost - w->lost);
	w->lost = lost;
	return finish_output();
}

/* ---- the command ---- */

static int watch_events(struct watch *w)
{
	__u64 end = w->opt->duration ? now_ns() + w->opt->duration * NS : ~0ULL, now;
	struct ring_buffer *rb;
	int err = 0, timeout;

	rb = ring_buffer__new(bpf_map__fd(w->skel->maps.events), print_event, w, NULL);
	if (!rb)
		return bpf_failed("read the ring buffer", -errno);
	while (!stopped && !w->err && (!w->opt->count || w->seen < w->opt->count)) {
		now = now_ns();
		if (now >= end)
			break;
		timeout = end - now < NS / 5 ? (end - now) / 1000000 + 1 : 200;
		err = ring_buffer__poll(rb, timeout);
		if (err < 0 && err != -EINTR && err != -ECANCELED) {
			w->err = bpf_failed("read the ring buffer", err);
			break;
		}
		w->err = w->err ?: print_lost(w);
	}
	/* What came since; a count that is reached ends it here as well */
	if (!w->err && (!w->opt->count || w->seen < w->opt->count)) {
		ring_buffer__consume(rb);
		w->err = w->err ?: print_lost(w);
	}
	ring_buffer__free(rb);
	return w->err;
}

static bool has_tracepoint(const struct btf *btf, const char *name)
{
	char type[64];

	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return btf__find_by_name_kind(btf, type, BTF_KIND_TYPEDEF) > 0;
}

static int load(struct watch *w)
{
	bool faults = has_tracepoint(w->btf, "bpf_arena_kernel_fault");
	int err;

	if (!has_tracepoint(w->btf, "bpf_arena_bad_free"))
		return fail("this kernel has no tracepoint bpf_arena:bpf_arena_bad_free: this "
			    "arenaslab is for another version of it");
	w->skel = watch_bpf__open();
	if (!w->skel)
		return bpf_failed("open the BPF programs", -errno);
	bpf_program__set_autoload(w->skel->progs.on_kernel_fault, faults);
	err = watch_bpf__load(w->skel);
	if (err)
		return bpf_failed("load the BPF programs", err);
	/* Before the first event, so that one from a program that goes at once is known */
	refresh_codes(w);
	err = watch_bpf__attach(w->skel);
	if (err)
		return bpf_failed("attach the BPF programs", err);
	fprintf(stderr, "watching bad frees%s\n", faults ? " and kernel faults" :
		"; the kernel traces no faults (CONFIG_BPF_ARENA_FAULT_BY_ADDR)");
	return 0;
}

static int run(const struct options *opt)
{
	struct watch w = { .opt = opt };
	int err;

	w.btf = load_kernel_btf();
	if (!w.btf)
		return EXIT_FAILED;
	catch_stop();
	err = load(&w);
	if (!err)
		err = watch_events(&w);
	watch_bpf__destroy(w.skel);
	btf__free(w.btf);
	free(w.codes);
	return err;
}

int cmd_watch(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "duration", required_argument, NULL, 'd' },
		{ "count", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	struct options opt = {};
	int c;

	while ((c = next_option(argc, argv, ":d:n:jv", longopts)) > 0) {
		switch (c) {
		case 'd':
			if (!option_seconds(c, &opt.duration))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!option_count(c, &opt.count))
				return EXIT_USAGE;
			break;
		case 'j':
			opt.json = true;
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	return run(&opt);
}
