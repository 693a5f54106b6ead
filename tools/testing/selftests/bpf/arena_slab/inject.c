// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation fails once: an operation is done with its first one failing, then
 * with its second, until it is over before the one that is to fail. By
 * /proc/PID/fail-nth, which counts slab and page allocations of one task, here with
 * those that may reclaim. It reaches nothing that may not spin on a lock, so that a
 * program that may not sleep has no failure to meet, and no percpu memory that is there
 * already: lib/tests/bpf_arena_inject_kunit.c does.
 *
 * Each time the operation succeeds, or says so and leaves nothing behind; done again it
 * succeeds. What is left behind is looked for in the arena (pages, and whether all of it
 * can be had), in /sys/kernel/slab, and in a ledger of all that was allocated
 * (progs/ledger.bpf.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/btf.h>
#include "arena_slab.h"
#include "ledger.h"

#define PAGES		64
#define NTH_MAX		2000
#define AGAIN		100

/* ---- switching failures on ---- */

static const struct {
	const char *path, *value;
} knobs[] = {
	{ "/sys/kernel/debug/failslab/ignore-gfp-wait", "N" },
	{ "/sys/kernel/debug/failslab/cache-filter", "N" },
	{ "/sys/kernel/debug/failslab/probability", "0" },
	{ "/sys/kernel/debug/failslab/verbose", "0" },
	{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N" },
	{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N" },
	{ "/sys/kernel/debug/fail_page_alloc/min-order", "0" },
	{ "/sys/kernel/debug/fail_page_alloc/probability", "0" },
	{ "/sys/kernel/debug/fail_page_alloc/verbose", "0" },
};

static bool spare_nothing(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++) {
		if (write_text(knobs[i].path, knobs[i].value))
			return false;
	}
	return !access("/proc/thread-self/fail-nth", W_OK);
}

/* The tasks whose allocations fail: this one, or some of the kernel's */
static int victims[256];
static int nr_victims;

static int open_victim(const char *pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/fail-nth", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && nr_victims < (int)ARRAY_SIZE(victims))
		victims[nr_victims++] = fd;
	return fd;
}

static void forget_victims(void)
{
	while (nr_victims)
		close(victims[--nr_victims]);
}

/* All threads of that name; the one that is found last is in @pid */
static void open_victims(const char *comm, __u32 *pid)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;

	while (proc && (d = readdir(proc))) {
		char path[300], name[64] = "";
		FILE *f;

		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (f && fgets(name, sizeof(name), f) && !strncmp(name, comm, strlen(comm))) {
			*pid = atoi(d->d_name);
			open_victim(d->d_name);
		}
		if (f)
			fclose(f);
	}
	if (proc)
		closedir(proc);
}

static void fail_nth(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	for (int i = 0; i < nr_victims; i++) {
		if (write(victims[i], text, len) != len)
			fprintf(stderr, "arena_slab: fail-nth: %s\n", strerror(errno));
	}
}

/* How many of them have met their failure? None has one to come afterwards */
static int stop_failing(void)
{
	int met = 0;

	for (int i = 0; i < nr_victims; i++) {
		char text[16] = "";

		if (pread(victims[i], text, sizeof(text) - 1, 0) > 0)
			met += !atoi(text);
	}
	fail_nth(0);
	return met;
}

/* ---- what is left behind ---- */

struct symbol {
	unsigned long long addr;
	char name[56];
};

static struct symbol *symbols;
static size_t nr_symbols;

static int by_addr(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void read_symbols(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	struct symbol s;
	char line[256], type;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %55s", &s.addr, &type, s.name) != 3 ||
		    (type != 't' && type != 'T'))
			continue;
		if (!(nr_symbols & (nr_symbols - 1)))
			symbols = realloc(symbols, (2 * nr_symbols + 1) * sizeof(s));
		symbols[nr_symbols++] = s;
	}
	if (f)
		fclose(f);
	qsort(symbols, nr_symbols, sizeof(*symbols), by_addr);
}

static const char *symbol_of(unsigned long long addr)
{
	size_t lo = 0, hi = nr_symbols;

	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;

		if (symbols[mid].addr <= addr)
			lo = mid;
		else
			hi = mid;
	}
	return hi ? symbols[lo].name : "?";
}

/*
 * Who allocates for an arena or a cache; what they asked for goes with it. Not sheaves:
 * any cache gets one at any time.
 */
static const char * const ours[] = {
	"arena_", "bpf_arena_", "slab_arena_attach", "remember_vma", "range_tree_",
	"__kmem_cache_create_args", "do_kmem_cache_create", "create_cache", "init_kmem_cache",
	"alloc_kmem_cache", "sysfs_slab_add", "scx_arena_", "scx_cmask",
	"__bpf_map_area_alloc", "bpf_map_area_alloc", "__get_vm_area_node",
};

static struct bpf_object *ledger;
static struct bpf_link *ledger_links[16];

static bool is_ours(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (!strncmp(name, ours[i], strlen(ours[i])))
			return true;
	}
	return false;
}

/* What pages are asked for with, and our program: who asked is the first that is neither */
static const char * const page_allocator[] = {
	"bpf_prog_", "bpf_trace_run", "__traceiter_", "alloc_pages", "__alloc_pages",
	"alloc_frozen_pages", "__alloc_frozen_pages",
	"___alloc_pages",
};

/* Not the pages of slabs: SLUB asks for those, for anybody */
static const char *who_asked(const struct asked *asked)
{
	for (int i = 0; i < LEDGER_FRAMES && asked->frame[i]; i++) {
		const char *name = symbol_of(asked->frame[i]);
		size_t j;

		for (j = 0; j < ARRAY_SIZE(page_allocator); j++) {
			if (!strncmp(name, page_allocator[j], strlen(page_allocator[j])))
				break;
		}
		if (j == ARRAY_SIZE(page_allocator))
			return name;
	}
	return "?";
}

static int start_ledger(void)
{
	struct bpf_program *prog;
	int i = 0;

	ledger = load_image("ledger", PROGS("on_kmalloc", "on_cache_alloc", "on_percpu_alloc",
					    "on_kfree1", "on_cache_free1", "on_percpu_free1",
					    "on_kfree2", "on_cache_free2", "on_percpu_free2",
					    "on_page_alloc", "on_page_free1", "on_page_free2"));
	if (!ledger)
		return 1;
	read_symbols();
	bpf_object__for_each_program(prog, ledger) {
		if (i == (int)ARRAY_SIZE(ledger_links))
			return FAIL("too many programs");
		ledger_links[i] = bpf_program__attach(prog);
		if (!ledger_links[i++])
			return FAIL("%s: %s", bpf_program__name(prog), strerror(errno));
	}
	return 0;
}

static void stop_ledger(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ledger_links); i++) {
		bpf_link__destroy(ledger_links[i]);
		ledger_links[i] = NULL;
	}
	bpf_object__close(ledger);
	free(symbols);
	symbols = NULL;
	nr_symbols = 0;
}

/* How many entries are ours, as first_entry() has found out */
static unsigned int nr_entries;

static const char *first_entry_of(const char *map, bool clear)
{
	int fd = bpf_map__fd(bpf_object__find_map_by_name(ledger, map));
	bool pages = !strcmp(map, "live_pages");
	const char *name, *found = NULL;
	__u64 key, *prev = NULL;
	union {
		__u64 site;
		struct asked asked;
	} val;

	while (!bpf_map_get_next_key(fd, prev, &key)) {
		if (clear) {
			bpf_map_delete_elem(fd, &key);
			prev = NULL;
			continue;
		}
		prev = &key;
		if (bpf_map_lookup_elem(fd, &key, &val))
			continue;
		name = pages ? who_asked(&val.asked) : symbol_of(val.site);
		if (is_ours(name)) {
			found = found ?: name;
			nr_entries++;
		}
	}
	return found;
}

/* The first of our entries, or NULL; with @clear all entries go */
static const char *first_entry(bool clear)
{
	volatile __u32 *watched = find_var(ledger, "watched");
	const char *found, *page;
	__u32 who = *watched;

	/* Or else to read it changes it, and there is no end */
	*watched = 0;
	nr_entries = 0;
	found = first_entry_of("live", clear);
	page = first_entry_of("live_pages", clear);
	*watched = who;
	return found ?: page;
}

/* Runs that were none, see STRIKE() there; most were made up for by another program */
static __u64 ledger_misses(void)
{
	struct bpf_program *prog;
	__u64 misses = 0;

	bpf_object__for_each_program(prog, ledger) {
		struct bpf_prog_info info = {};
		__u32 len = sizeof(info);

		if (!bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			misses += info.recursion_misses;
	}
	return misses;
}

static __u64 misses_before;

static void watch(__u32 helper)
{
	first_entry(true);
	misses_before = ledger_misses();
	VAR(ledger, __u32, "helper") = helper;
	VAR(ledger, __u32, "watched") = getpid();
}

/* After all arenas of an operation are gone. AGAIN if the ledger cannot say. */
static int check_ledger(const char *op)
{
	const char *left;

	if (!WAIT_FOR(20, !slab_cache_exists("arena:") && !slab_cache_exists("scx_cmask:")))
		return FAIL("%s: there are caches of arenas left", op);
	if (!WAIT_FOR(5, !first_entry(false))) {
		__u64 misses = ledger_misses() - misses_before;

		left = first_entry(false);
		printf("# %s: what %s allocated is still there, %u of ours, %llu frees missed\n",
		       op, left ?: "somebody", nr_entries, misses);
		/* Each free that was missed leaves one behind at most: then it cannot say */
		return nr_entries <= misses ? AGAIN : FAIL("%s leaks", op);
	}
	CHECK_EQ(VAR(ledger, __u64, "nr_lost"), 0);
	return 0;
}

/* ---- operations ---- */

struct op {
	const char *name;
	/* With nothing failing */
	int (*prepare)(void);
	/* Returns 0 or a negative error */
	int (*run)(void);
	/* Undo @run, if it succeeded, and look whether the arena is as before */
	int (*undo)(void);
	/* Undo @prepare */
	void (*clean)(void);
	/* Another arena for each failure */
	bool fresh;
	/* At least so many failures, else this is not what it seems to be */
	unsigned int min;
	/* What it may fail with beside -ENOMEM */
	int other[2];
};

static struct {
	struct bpf_object *obj;
	const char *take, *give;
	__u32 want;
	int map, prog;
	void *base;
	__u64 *objs;
	struct bpf_insn insns[16];
	int nr_insns;
} s;

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	int ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

static int none(void)
{
	return 0;
}

static void clean_none(void)
{
}

static int make_map(__u64 extra)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARENA,
		.map_flags = BPF_F_MMAPABLE,
		.max_entries = PAGES,
		.map_extra = extra,
	};

	return sys_bpf(BPF_MAP_CREATE, &attr);
}

#ifdef __aarch64__
#define EXTRA	(1ull << 32)
#else
#define EXTRA	(1ull << 44)
#endif

static int run_map_create(void)
{
	s.map = make_map(EXTRA);
	return s.map < 0 ? s.map : 0;
}

static int undo_map_create(void)
{
	close(s.map);
	return 0;
}

static int prepare_map(void)
{
	s.map = make_map(EXTRA);
	CHECK(s.map >= 0);
	return 0;
}

static void clean_map(void)
{
	close(s.map);
}

static int run_mmap(void)
{
	s.base = mmap((void *)EXTRA, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		      s.map, 0);
	return s.base == MAP_FAILED ? -errno : 0;
}

static int undo_mmap(void)
{
	CHECK(!munmap(s.base, PAGES * PAGE));
	return 0;
}

/*
 * A program with one class: all of them have a thousand allocations, of the same kind
 * but for the verifier's
 */
static int prepare_load(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_arena_alloc", BTF_KIND_FUNC) : -1, n = 0;

	btf__free(btf);
	CHECK(id > 0);
	s.insns[n++] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2,
					  .imm = 64 };
	s.insns[n++] = (struct bpf_insn){ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1,
					  .src_reg = BPF_PSEUDO_MAP_FD };
	n++;
	s.insns[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_CALL,
					  .src_reg = BPF_PSEUDO_KFUNC_CALL, .imm = id };
	s.insns[n++] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K };
	s.insns[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	s.nr_insns = n;
	if (prepare_map())
		return 1;
	s.insns[1].imm = s.map;
	return 0;
}

static int run_load(void)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SYSCALL,
		.insns = (__u64)s.insns,
		.insn_cnt = s.nr_insns,
		.license = (__u64)"GPL",
		.prog_flags = BPF_F_SLEEPABLE,
	};

	s.prog = sys_bpf(BPF_PROG_LOAD, &attr);
	return s.prog < 0 ? s.prog : 0;
}

static int undo_load(void)
{
	close(s.prog);
	return 0;
}

/* Nothing is in the arena, and all of it can be had */
static int check_whole(void)
{
	struct arena_counters c = {};

	shrink_arena_caches();
	/* Without slabs nothing is told about the arena, which then has no worker either */
	if (!WAIT_FOR(10, read_counters(arena_id(s.obj), &c) || !c.found || !c.pages))
		return FAIL("%llu pages are left in the arena", c.pages);
	/* The places come back a moment after the pages */
	if (!WAIT_FOR(5, run_prog(s.obj, "count_pages") ||
		      *(volatile __u32 *)find_var(s.obj, "nr") == PAGES))
		return FAIL("%u pages of %u can be had", VAR(s.obj, __u32, "nr"), PAGES);
	return 0;
}

static int prepare_take(const char *take, const char *give, __u32 want)
{
	s.take = take;
	s.give = give;
	s.want = want;
	s.obj = load_image("inject", PROGS(take, give, "give_everything", "count_pages"));
	return !s.obj;
}

static void clean_take(void)
{
	bpf_object__close(s.obj);
}

static int run_take(void)
{
	int err = run_prog(s.obj, s.take);

	if (err)
		return err;
	return *(volatile __u32 *)find_var(s.obj, "nr") == s.want ? 0 : -ENOMEM;
}

static int undo_take(void)
{
	CHECK_EQ(run_prog(s.obj, s.give), 0);
	return check_whole();
}

#define TAKE(name, what, give, want)					\
static int prepare_##name(void)						\
{									\
	return prepare_take(what, give, want);				\
}

TAKE(classes, "take_classes", "give_classes", 11)
TAKE(large, "take_large", "give_large", 2)
TAKE(pages, "take_pages", "give_pages", 2)

/* The other way round: what is there goes while allocations fail */
#define GIVE(name)							\
static int prepare_give_##name(void)					\
{									\
	if (prepare_##name())						\
		return 1;						\
	CHECK_EQ(run_take(), 0);					\
	return 0;							\
}

GIVE(classes)
GIVE(large)
GIVE(pages)

static int run_give(void)
{
	return run_prog(s.obj, s.give);
}

static int undo_give(void)
{
	return check_whole();
}

/* User space touches a page with an object in it, and one that is not there */
static int prepare_touch(void)
{
	size_t size;

	if (prepare_classes())
		return 1;
	CHECK_EQ(run_take(), 0);
	s.objs = find_var(s.obj, "objs");
	s.base = bpf_map__initial_value(bpf_object__find_map_by_name(s.obj, "arena"), &size);
	CHECK(s.base);
	return 0;
}

static int run_touch(void)
{
	__u64 *objs = s.objs, val, fault_addr;

	if (probe(objs[0] & ~(PAGE - 1), &val, sizeof(val), &fault_addr) ||
	    probe((__u64)s.base + 40 * PAGE, &val, sizeof(val), &fault_addr))
		return -ENOMEM;
	return 0;
}

static int undo_touch(void)
{
	CHECK_EQ(run_prog(s.obj, "give_everything"), 0);
	/* The objects are still there: other pages go */
	return 0;
}

static const struct op ops[] = {
	{ "map_create", none, run_map_create, undo_map_create, clean_none, .min = 5 },
	{ "mmap", prepare_map, run_mmap, undo_mmap, clean_map, .fresh = true, .min = 3 },
	{ "load", prepare_load, run_load, undo_load, clean_map, .fresh = true, .min = 40,
	  /* So says bpf_prog_load() of the program's memory, and of the JIT's (ENOTSUPP) */
	  .other = { -EINVAL, -524 } },
	{ "classes", prepare_classes, run_take, undo_take, clean_take, .fresh = true, .min = 20 },
	{ "large", prepare_large, run_take, undo_take, clean_take, .fresh = true, .min = 40 },
	{ "pages", prepare_pages, run_take, undo_take, clean_take, .min = 10 },
	/* A free has no allocation that could fail: see that it goes on having none */
	{ "free_classes", prepare_give_classes, run_give, undo_give, clean_take, .fresh = true },
	{ "free_large", prepare_give_large, run_give, undo_give, clean_take, .fresh = true },
	{ "free_pages", prepare_give_pages, run_give, undo_give, clean_take, .fresh = true },
	{ "touch", prepare_touch, run_touch, undo_touch, clean_take, .fresh = true, .min = 1 },
};

/* The operation with its @nth allocation failing; *@met is whether there was one */
static int run_nth(const struct op *op, unsigned int nth, bool *met)
{
	int err;

	fail_nth(nth);
	err = op->run();
	*met = stop_failing();
	if (err && !*met)
		return FAIL("%s: %s, with no failure", op->name, strerror(-err));
	if (err && err != -ENOMEM && err != op->other[0] && err != op->other[1])
		return FAIL("%s: %s at failure %u", op->name, strerror(-err), nth);
	if (err) {
		err = op->run();
		if (err)
			return FAIL("%s: %s when tried again after failure %u", op->name,
				    strerror(-err), nth);
	}
	if (op->undo())
		return FAIL("%s: after failure %u", op->name, nth);
	return 0;
}

/* With KASAN a new arena or a load takes seconds */
static bool kernel_is_slow(void)
{
	for (size_t i = 0; i < nr_symbols; i++) {
		if (!strcmp(symbols[i].name, "kasan_report"))
			return true;
	}
	return false;
}

static int sweep(const struct op *op)
{
	unsigned int nth, tried = 0;
	bool met = true, coarse;
	int err;

	open_victim("thread-self");
	err = op->prepare();
	if (err)
		return err;
	watch(0);
	coarse = op->fresh && kernel_is_slow();
	for (nth = 1; met && !err && nth < NTH_MAX; nth += coarse ? 1 + nth / 4 : 1) {
		if (nth > 1 && op->fresh) {
			op->clean();
			err = op->prepare();
			if (err)
				break;
		}
		err = run_nth(op, nth, &met);
		tried += met;
	}
	op->clean();
	forget_victims();
	if (err)
		return err;
	printf("# %u allocations failed%s\n", tried, coarse ? ", of some more" : ", which is each");
	CHECK(!met);
	/* @min of 0 is exact */
	CHECK(op->min || !tried);
	CHECK(tried >= op->min || coarse);
	return check_ledger(op->name);
}

/* ---- in a child ---- */

static bool log_is_clean(void)
{
	/* What a failure prints by itself is no news: the caller asked for it */
	static const char * const bad[] = {
		"cut here", "WARNING:", "BUG:", "Oops", "refcount_t", "list_add", "list_del",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (kernel_log_has(bad[i]))
			return false;
	}
	return true;
}

static int in_child(int (*run)(const void *arg), const void *arg)
{
	int status, err;
	pid_t pid;

	if (!spare_nothing())
		return SKIP("no fault injection: /proc/self/fail-nth, debugfs");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		err = start_ledger() ?: run(arg);
		VAR(ledger, __u32, "watched") = 0;
		stop_ledger();
		fflush(stdout);
		_exit(err);
	}
	waitpid(pid, &status, 0);
	if (!log_is_clean())
		return FAIL("the kernel warned");
	/* ... and what else it said was about failures */
	watch_kernel_log();
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return FAIL("the child got signal %d", WTERMSIG(status));
}

static int sweep_arg(const void *op)
{
	int err = AGAIN;

	for (int i = 0; i < 5 && err == AGAIN; i++)
		err = sweep(op);
	return err == AGAIN ? FAIL("the ledger has missed something, five times") : err;
}

static int sweep_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!strcmp(ops[i].name, name))
			return in_child(sweep_arg, &ops[i]);
	}
	return FAIL("no operation %s", name);
}

/* ---- what others do for us ---- */

#define WORKERS_NTH	200

/* The end of an arena with objects in it: workers that map_free() runs in, or waits for */
static int teardown(const void *unused)
{
	unsigned int met = 0, again = 0, none = 0, nth;
	int err, failed;
	__u32 pid;

	(void)unused;
	/* Until nobody has got that far, more than once: who does what is not always the same */
	for (nth = 1; nth <= WORKERS_NTH && none < 3; nth++) {
		if (prepare_classes())
			return 1;
		watch(0);
		CHECK_EQ(run_take(), 0);
		open_victims("kworker/", &pid);
		CHECK(nr_victims > 0);
		fail_nth(nth);
		bpf_object__close(s.obj);
		if (!WAIT_FOR(20, !slab_cache_exists("arena:")))
			return FAIL("caches are left after failure %u", nth);
		failed = stop_failing();
		met += failed;
		none = failed ? 0 : none + 1;
		forget_victims();
		/* Pages, metadata, leaves: what the objects took has to be back */
		err = check_ledger("teardown");
		if (err == AGAIN && again++ < 5)
			nth--;
		else if (err)
			return err;
	}
	printf("# workers met %u failures, none from call %u on\n", met, nth - none);
	CHECK(met);
	CHECK(none == 3);
	return 0;
}

/* Attach a scheduler in cid form and detach it; 0, or how attaching failed */
static int attach_once(unsigned int nth, bool *met)
{
	struct bpf_object *obj = open_image("scx", PROGS("one_init", "set_cmask"));
	struct bpf_link *link;
	struct bpf_map *map;
	int err = 0;

	if (!obj)
		return -EINVAL;
	bpf_object__for_each_map(map, obj) {
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, !strcmp(bpf_map__name(map), "one_arena"));
	}
	if (bpf_object__load(obj)) {
		bpf_object__close(obj);
		return -EINVAL;
	}
	map = bpf_object__find_map_by_name(obj, "one_arena");
	fail_nth(nth);
	link = bpf_map__attach_struct_ops(map);
	err = link ? 0 : -errno;
	*met = stop_failing();
	bpf_link__destroy(link);
	bpf_object__close(obj);
	if (!WAIT_FOR(20, scheduler_is("disabled")))
		return FAIL("it is not gone");
	if (!WAIT_FOR(20, !slab_cache_exists("scx_cmask:")))
		return FAIL("its cmasks' cache is still there");
	return err;
}

/* Done by a thread of its own, with some hundred allocations: not each of the last ones */
static int attach(const void *unused)
{
	unsigned int failed = 0, tries = 0;
	__u32 helper = 0;
	bool met;

	(void)unused;
	CHECK_EQ(attach_once(0, &met), 0);
	open_victims("scx_enable_help", &helper);
	CHECK_EQ(nr_victims, 1);
	watch(helper);
	for (unsigned int nth = 1; nth < NTH_MAX; nth += 1 + nth / 8) {
		int err = attach_once(nth, &met);

		if (err > 0)
			return err;
		if (err && !met)
			return FAIL("%s, with no failure", strerror(-err));
		failed += !!err;
		tries++;
		if (!met)
			break;
	}
	forget_victims();
	CHECK(!met);
	printf("# %u attaches, %u failed\n", tries, failed);
	CHECK(failed > 0);
	CHECK_EQ(attach_once(0, &met), 0);
	return check_ledger("attach");
}

static int attach_arg(const void *unused)
{
	int err = AGAIN;

	for (int i = 0; i < 3 && err == AGAIN; i++)
		err = attach(unused);
	return err == AGAIN ? FAIL("the ledger has missed something, three times") : err;
}

static int test_attach(void)
{
	if (!scheduler_is("disabled"))
		return SKIP("sched_ext is not there, or busy");
	return in_child(attach_arg, NULL);
}

static int test_teardown(void)
{
	return in_child(teardown, NULL);
}

#define SWEEP(name)							\
static int test_##name(void)						\
{									\
	return sweep_named(#name);					\
}

SWEEP(map_create)
SWEEP(mmap)
SWEEP(load)
SWEEP(classes)
SWEEP(large)
SWEEP(pages)
SWEEP(free_classes)
SWEEP(free_large)
SWEEP(free_pages)
SWEEP(touch)

const struct test inject_tests[] = {
	{ "inject/map_create", "each allocation of BPF_MAP_CREATE fails", test_map_create },
	{ "inject/mmap", "each allocation of mmap() fails", test_mmap },
	{ "inject/load", "each allocation of a program's load fails, with a size class",
	  test_load },
	{ "inject/classes", "each allocation on the way to the first objects fails", test_classes },
	{ "inject/large", "each page of large objects fails", test_large },
	{ "inject/pages", "each page of bpf_arena_alloc_pages() fails", test_pages },
	{ "inject/free_classes", "a free of objects allocates nothing", test_free_classes },
	{ "inject/free_large", "nor does a free of large ones", test_free_large },
	{ "inject/free_pages", "nor bpf_arena_free_pages()", test_free_pages },
	{ "inject/teardown", "an arena goes while its workers' allocations fail", test_teardown },
	{ "inject/attach", "allocations fail while a scheduler is attached", test_attach },
	{ "inject/touch", "each allocation of a user's page fault fails", test_touch },
	{}
};
