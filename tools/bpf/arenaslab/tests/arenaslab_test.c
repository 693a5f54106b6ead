// SPDX-License-Identifier: GPL-2.0
/*
 * Does arenaslab show what is there? This program makes objects that it knows, frees some,
 * frees some of them again, and compares what `arenaslab top`, `stat`, `dump` and `watch`
 * say. In a VM, as root, with arenaslab in the PATH:
 *
 *	arenaslab_test [GLOB]
 *
 * The output is TAP, with "N passed, N failed, N skipped" as its last line. On a kernel
 * without arena slab it checks that the tool says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include "golden.h"
#include "golden.skel.h"
#include "json.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define WAIT_SECONDS	60
#define NOBODY		65534

static struct golden_bpf *skel;
static __u32 map_id;
static long page;
static char cache[64];

/* What the tool said last */
static char out[1 << 23], err_out[16384];
static int status;

static bool failed, skipped;
static char reason[256];

/* ---- checks ---- */

static void note(const char *fmt, ...)
{
	va_list args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

static void show(const char *what, const char *text)
{
	char line[200];

	for (int i = 0; *text && i < 12; i++) {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
		note("%s: %s", what, line);
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

/* The first check of a test that fails says what the tool said */
#define CHECK(cond)							\
	do {								\
		if (!(cond)) {						\
			note("line %d: not true: %s", __LINE__, #cond);	\
			if (!failed) {					\
				note("status %d", status);		\
				show("stdout", out);			\
				show("stderr", err_out);		\
			}						\
			failed = true;					\
			return;						\
		}							\
	} while (0)

#define SKIP(...)							\
	do {								\
		snprintf(reason, sizeof(reason), __VA_ARGS__);		\
		skipped = true;						\
		return;							\
	} while (0)

/* ---- the tool ---- */

static void read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len, sum = 0;

	while (fd >= 0 && (len = read(fd, buf + sum, size - 1 - sum)) > 0)
		sum += len;
	buf[sum] = '\0';
	if (fd >= 0)
		close(fd);
}

static void read_output(void)
{
	read_file("/tmp/out", out, sizeof(out));
	read_file("/tmp/err", err_out, sizeof(err_out));
}

static void redirect(const char *path, int to)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

	dup2(fd, to);
	close(fd);
}

static void exec_tool(const char *arguments)
{
	char command[512], *argv[32];
	int nr = 0;

	snprintf(command, sizeof(command), "%s", arguments);
	argv[nr++] = "arenaslab";
	/* "a 'b c'" has two words */
	for (char *p = command; *p && nr < (int)ARRAY_SIZE(argv) - 1;) {
		char end = *p == '\'' ? '\'' : ' ';

		p += end == '\'';
		argv[nr++] = p;
		p += strcspn(p, (char[]){ end, '\0' });
		if (*p)
			*p++ = '\0';
		p += *p == ' ';
	}
	argv[nr] = NULL;
	execvp(argv[0], argv);
	_exit(127);
}

/* A process of its own, so that it can do to itself what it likes before the tool runs */
static pid_t start(void (*before)(void), const char *arguments)
{
	pid_t pid;

	/* What the last one said must not be taken for this one's */
	unlink("/tmp/out");
	unlink("/tmp/err");
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	redirect("/tmp/out", STDOUT_FILENO);
	redirect("/tmp/err", STDERR_FILENO);
	if (before)
		before();
	exec_tool(arguments);
	return -1;
}

static void finish(pid_t pid)
{
	int st = 0;

	for (int i = 0; i < WAIT_SECONDS * 100; i++) {
		if (waitpid(pid, &st, WNOHANG) == pid)
			goto ended;
		usleep(10000);
	}
	note("it did not end within %d s", WAIT_SECONDS);
	kill(pid, SIGKILL);
	waitpid(pid, &st, 0);
ended:
	status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
	read_output();
}

static void tool(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tool(const char *fmt, ...)
{
	char arguments[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(arguments, sizeof(arguments), fmt, args);
	va_end(args);
	finish(start(NULL, arguments));
}

static bool file_has(const char *path, const char *text)
{
	static char buf[1 << 16];

	read_file(path, buf, sizeof(buf));
	return strstr(buf, text);
}

static bool wait_for(const char *path, const char *text)
{
	for (int i = 0; i < WAIT_SECONDS * 100; i++) {
		if (file_has(path, text))
			return true;
		usleep(10000);
	}
	return false;
}

static int count_lines(const char *text)
{
	int nr = 0;

	for (; *text; text++)
		nr += *text == '\n';
	return nr;
}

/* The line of that number, from 0, in a buffer of its own */
static const char *line_of(const char *text, int nr)
{
	static char line[4096];

	for (; nr && *text; nr--) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
	return line;
}

/* ---- the objects ---- */

static int run_program(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);

	return bpf_prog_test_run_opts(bpf_program__fd(prog), &run) ?: (int)run.retval;
}

static void free_wrong(__u64 addr, unsigned int rounds)
{
	skel->bss->wrong = addr;
	skel->bss->rounds = rounds;
	if (run_program(skel->progs.bad_free))
		note("bad_free did not run");
}

static const char *load_golden(void)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	skel = golden_bpf__open();
	if (!skel)
		return "cannot be opened";
	skel->rodata->page_bytes = page;
	skel->rodata->large_size = GOLDEN_LARGE_PAGES * page;
	if (golden_bpf__load(skel))
		return "cannot be loaded";
	if (run_program(skel->progs.make_golden))
		return "cannot make its objects";
	if (bpf_map_get_info_by_fd(bpf_map__fd(skel->maps.golden_arena), &info, &len))
		return "has no map id";
	map_id = info.id;
	return NULL;
}

/* ---- top and stat ---- */

static void top_arena(void)
{
	const char *a;

	tool("top --once -i 0.1 --json");
	CHECK(!status && json_valid(out));
	a = json_find(out, "arenas[map_id=%u]", map_id);
	CHECK(a);
	CHECK(json_is(json_find(a, "name"), "\"golden_arena\""));
	CHECK(json_number(json_find(a, "max_pages")) == GOLDEN_PAGES);
	CHECK(json_number(json_find(a, "pages")) == GOLDEN_LARGE_PAGES + 2);
	CHECK(json_number(json_find(a, "slabs")) == 2);
	CHECK(json_number(json_find(a, "large")) == 1);
	CHECK(json_number(json_find(a, "violations")) == 0);
	CHECK(json_number(json_find(a, "holder.pid")) == getpid());
	CHECK(json_is(json_find(a, "holder.comm"), "\"arenaslab_test\""));
}

static void top_cache(void)
{
	const char *c;

	tool("top --once -i 0.1 --json");
	c = json_find(out, "arenas[map_id=%u].caches[name=%s]", map_id, cache);
	CHECK(c);
	CHECK(json_is(json_find(c, "owner"), "\"program\""));
	CHECK(json_number(json_find(c, "size")) == sizeof(struct golden));
	CHECK(json_number(json_find(c, "in_use")) == GOLDEN_LIVE);
	CHECK(json_number(json_find(c, "slabs")) == 1);
	CHECK(json_number(json_find(c, "places")) == page / (long)sizeof(struct golden));
	CHECK(json_number(json_find(c, "allocs")) >= GOLDEN_OBJECTS);
}

/* What happens between the first table and the last is in the rates, to the object */
static void top_rates(void)
{
	double allocs = 0, frees = 0, interval;
	const char *c, *line;
	pid_t pid = start(NULL, "top --json -i 0.5 -n 8");

	CHECK(wait_for("/tmp/out", "\n"));
	skel->bss->rounds = 1000;
	CHECK(!run_program(skel->progs.churn));
	finish(pid);
	CHECK(!status && count_lines(out) == 8);
	for (int i = 0; i < 8; i++) {
		line = line_of(out, i);
		CHECK(json_valid(line));
		interval = json_number(json_find(line, "interval_s"));
		c = json_find(line, "arenas[map_id=%u].caches[name=%s]", map_id, cache);
		allocs += json_number(json_find(c, "allocs_per_s")) * interval;
		frees += json_number(json_find(c, "frees_per_s")) * interval;
	}
	/* Printed with one decimal, and milliseconds */
	CHECK(fabs(allocs - 1000) < 5);
	CHECK(fabs(frees - 1000) < 5);
}

static void top_violations(void)
{
	double before, twice, interior;
	const char *a;

	tool("top --once -i 0.1 --json");
	a = json_find(out, "arenas[map_id=%u]", map_id);
	before = json_number(json_find(a, "violations"));
	twice = json_number(json_find(a, "counters.bad_free_double_free"));
	interior = json_number(json_find(a, "counters.bad_free_interior"));
	free_wrong(skel->bss->objects[1], 2);
	free_wrong(skel->bss->objects[0] + 8, 1);
	tool("top --once -i 0.1 --json");
	a = json_find(out, "arenas[map_id=%u]", map_id);
	CHECK(json_number(json_find(a, "violations")) == before + 3);
	CHECK(json_number(json_find(a, "counters.bad_free_double_free")) == twice + 2);
	CHECK(json_number(json_find(a, "counters.bad_free_interior")) == interior + 1);
}

static void top_failed(void)
{
	double before;

	tool("top --once -i 0.1 --json");
	before = json_number(json_find(out, "arenas[map_id=%u].counters.failed_allocs", map_id));
	CHECK(!run_program(skel->progs.too_large));
	tool("top --once -i 0.1 --json");
	CHECK(json_number(json_find(out, "arenas[map_id=%u].counters.failed_allocs", map_id)) ==
	      before + 1);
	tool("top --once -i 0.1");
	CHECK(strstr(out, "; failed: "));
}

/* Whatever it says, in what is as wide and high as that */
static void check_screen(const char *screen, int cols, int rows)
{
	int nr = 0;

	while (*screen) {
		const char *end = screen + strcspn(screen, "\r\n\033");

		CHECK(end - screen <= cols);
		nr += *end == '\n';
		/* ESC [ H, ESC [ J */
		if (*end == '\033') {
			nr = end[2] == 'H' ? 0 : nr;
			end += 2;
		}
		CHECK(nr < rows);
		screen = *end ? end + 1 : end;
	}
}

static void top_terminal(void)
{
	struct winsize ws = { .ws_row = 24, .ws_col = 80 };
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, st;
	ssize_t len, sum = 0;
	pid_t pid;

	CHECK(master >= 0 && !grantpt(master) && !unlockpt(master));
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	CHECK(slave >= 0 && !ioctl(slave, TIOCSWINSZ, &ws));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(slave, STDOUT_FILENO);
		exec_tool("top -n 2 -i 0.2");
	}
	close(slave);
	while ((len = read(master, out + sum, sizeof(out) - 1 - sum)) > 0)
		sum += len;
	out[sum] = '\0';
	close(master);
	waitpid(pid, &st, 0);
	status = WEXITSTATUS(st);
	CHECK(!status);
	CHECK(strstr(out, "\033[H\033[J") && strstr(out, "golden_arena") && strstr(out, cache));
	check_screen(out, 80, 24);
}

static void top_sorted(void)
{
	const char *table;
	int last = 1 << 30, nr = 0;
	unsigned int map;
	int size;

	tool("top --once -i 0.1 -s size");
	CHECK(!status);
	table = strstr(out, "CACHE");
	CHECK(table);
	for (int i = 1; i < count_lines(table); i++) {
		if (sscanf(line_of(table, i), "%u %*s %d", &map, &size) != 2)
			continue;
		CHECK(size <= last);
		last = size;
		nr++;
	}
	CHECK(nr >= 2);
}

static void top_unknown_column(void)
{
	tool("top -s colour");
	CHECK(status == 2 && strstr(err_out, "-s colour: not one of map, name"));
}

static void stat_totals(void)
{
	double interior, twice;
	char text[80];

	free_wrong(skel->bss->objects[1], 1);
	free_wrong(skel->bss->objects[0] + 8, 1);
	tool("stat --json");
	interior = json_number(json_find(out, "arenas[map_id=%u].counters.bad_free_interior",
					 map_id));
	twice = json_number(json_find(out, "arenas[map_id=%u].counters.bad_free_double_free",
				      map_id));
	tool("stat");
	CHECK(!status);
	CHECK(strstr(out, "golden_arena: ") && strstr(out, " of 64 pages; held by "));
	CHECK(strstr(out, "large objects: 1 allocated, 0 freed"));
	CHECK(interior > 0 && twice > 0);
	snprintf(text, sizeof(text), "bad frees: %g (interior %g, double_free %g)",
		 interior + twice, interior, twice);
	CHECK(strstr(out, text));
	CHECK(strstr(out, cache));
}

static void stat_json(void)
{
	tool("stat --json");
	CHECK(!status && json_valid(out));
	CHECK(json_is(json_find(out, "interval_s"), "null"));
	CHECK(json_find(out, "arenas[map_id=%u].caches[name=%s].in_use", map_id, cache));
	CHECK(!json_find(out, "arenas[map_id=%u].caches[name=%s].allocs_per_s", map_id, cache));
}

/* ---- dump ---- */

static const char *hex_of(const void *data, size_t len)
{
	static char buf[256];

	for (size_t i = 0; i < len; i++)
		sprintf(buf + 2 * i, "%02x", ((const unsigned char *)data)[i]);
	return buf;
}

static void dump_live(void)
{
	struct golden golden = {
		.magic = GOLDEN_MAGIC, .text = "wrifold", .negative = -7, .low = 5, .high = 17,
		.color = GOLDEN_BLUE, .pair = { 0, 3 }, .pointer = (void *)GOLDEN_POINTER,
		.yes = true, .sign = GOLDEN_MINUS,
	};
	const char *o;

	tool("dump -c %s --json", cache);
	CHECK(!status && json_valid(out));
	CHECK(json_number(json_find(out, "map_id")) == map_id);
	CHECK(json_length(json_find(out, "objects")) == GOLDEN_LIVE);
	for (int i = 0; i < GOLDEN_OBJECTS; i++) {
		o = json_find(out, "objects[address=0x%llx]", skel->bss->objects[i]);
		CHECK((o == NULL) == i % 2);
		if (!o)
			continue;
		golden.number = i;
		CHECK(json_number(json_find(o, "size")) == sizeof(golden));
		CHECK(!strncmp(json_find(o, "data") + 1, hex_of(&golden, sizeof(golden)),
			       2 * sizeof(golden)));
	}
}

static void dump_hex(void)
{
	const char *lines =
		"  00000000: 3121 6e65 646c 6f67 0200 0000 0000 0000  1!nedlog........\n"
		"  00000010: 7772 6966 6f6c 6400 0000 0000 0000 0000  wrifold.........\n";

	tool("dump -c %s -o 0x%llx", cache, skel->bss->objects[2]);
	CHECK(!status);
	CHECK(strstr(out, lines));
	CHECK(count_lines(out) == 1 + sizeof(struct golden) / 16);
}

static void dump_type(void)
{
	tool("dump -c %s -o 0x%llx -t 'struct golden'", cache, skel->bss->objects[4]);
	CHECK(!status);
	CHECK(strstr(out, "(struct golden)"));
	CHECK(strstr(out, ".number = (__u32)4,"));
	CHECK(strstr(out, "\"wrifold\""));
}

static void dump_type_json(void)
{
	const char *v;

	tool("dump -c %s -o 0x%llx -t golden --json", cache, skel->bss->objects[4]);
	CHECK(!status && json_valid(out));
	v = json_find(out, "objects[0].value");
	CHECK(json_number(json_find(v, "number")) == 4);
	CHECK(json_is(json_find(v, "text"), "\"wrifold\""));
	CHECK(json_number(json_find(v, "negative")) == -7);
	CHECK(json_number(json_find(v, "low")) == 5);
	CHECK(json_number(json_find(v, "high")) == 17);
	CHECK(json_is(json_find(v, "color"), "\"GOLDEN_BLUE\""));
	CHECK(json_number(json_find(v, "pair[1]")) == 3);
	CHECK(json_number(json_find(v, "both")) == 3 << 16);
	CHECK(json_is(json_find(v, "pointer"), "\"0xffff123456789abc\""));
	CHECK(json_is(json_find(v, "yes"), "true"));
	CHECK(json_is(json_find(v, "sign"), "\"GOLDEN_MINUS\""));
	CHECK(json_length(json_find(v, "rest")) == 4);
}

/* A type that neither the programs nor the kernel have */
static void dump_type_of_file(void)
{
	struct btf *btf = btf__new_empty();
	const void *raw;
	__u32 size;
	FILE *f;
	int id;

	id = btf__add_int(btf, "word", 8, 0);
	btf__add_struct(btf, "only_in_this_file", 16);
	btf__add_field(btf, "first_word", id, 0, 0);
	btf__add_field(btf, "second_word", id, 64, 0);
	raw = btf__raw_data(btf, &size);
	f = fopen("/tmp/test.btf", "w");
	CHECK(raw && f && fwrite(raw, 1, size, f) == size && !fclose(f));
	btf__free(btf);
	tool("dump -c %s -o 0x%llx -t only_in_this_file --btf /tmp/test.btf", cache,
	     skel->bss->objects[4]);
	CHECK(!status && strstr(out, ".second_word = (word)4,"));
}

static void dump_type_of_object_file(void)
{
	size_t size;
	const void *elf = golden_bpf__elf_bytes(&size);
	FILE *f = fopen("/tmp/golden.bpf.o", "w");

	CHECK(f && fwrite(elf, 1, size, f) == size && !fclose(f));
	tool("dump -c %s -o 0x%llx -t golden --btf /tmp/golden.bpf.o", cache,
	     skel->bss->objects[4]);
	CHECK(!status && strstr(out, ".number = (__u32)4,"));
	tool("dump -c %s -t list_head --btf /tmp/golden.bpf.o", cache);
	CHECK(status == 1 && strstr(err_out, "golden.bpf.o: there is no type 'list_head'"));
}

static void dump_type_of_kernel(void)
{
	tool("dump -c %s -o 0x%llx -t 'struct list_head'", cache, skel->bss->objects[4]);
	CHECK(!status && strstr(out, ".prev = (struct list_head *)0x4"));
}

static void dump_type_unknown(void)
{
	tool("dump -c %s -t 'struct no_such_thing'", cache);
	CHECK(status == 1 && strstr(err_out, "there is no type 'struct no_such_thing'"));
}

static void dump_type_too_large(void)
{
	tool("dump -c %s -t 'struct task_struct'", cache);
	CHECK(status == 1 && strstr(err_out, "objects of") && !*out);
}

static void dump_inside(void)
{
	tool("dump -m %u -o 0x%llx --json", map_id, skel->bss->objects[2] + 95);
	CHECK(!status && json_length(json_find(out, "objects")) == 1);
	CHECK(json_find(out, "objects[address=0x%llx]", skel->bss->objects[2]));
}

static void dump_freed(void)
{
	tool("dump -m %u -o 0x%llx", map_id, skel->bss->objects[1]);
	CHECK(status == 1);
	CHECK(strstr(err_out, "there is no live object at"));
}

/* Larger than what one run of the program reads, and all of it */
static void dump_large(void)
{
	__u64 magic = GOLDEN_MAGIC + GOLDEN_LARGE_PAGES - 1;
	const char *o;

	tool("dump -m %u -o 0x%llx --json", map_id, skel->bss->large + 2 * page);
	CHECK(!status && json_valid(out));
	o = json_find(out, "objects[address=0x%llx]", skel->bss->large);
	CHECK(o && json_is(json_find(o, "cache"), "\"large\""));
	CHECK(json_number(json_find(o, "size")) == GOLDEN_LARGE_PAGES * page);
	CHECK(!strncmp(json_find(o, "data") + 1 + 2 * (GOLDEN_LARGE_PAGES - 1) * page,
		       hex_of(&magic, sizeof(magic)), 2 * sizeof(magic)));
}

static void dump_map(void)
{
	tool("dump -m %u --json", map_id);
	CHECK(!status && json_valid(out));
	CHECK(json_length(json_find(out, "objects")) == GOLDEN_LIVE + 2);
}

/* Looking makes no page and no violation */
static void dump_leaves_alone(void)
{
	double pages, violations;

	tool("stat --json");
	pages = json_number(json_find(out, "arenas[map_id=%u].pages", map_id));
	violations = json_number(json_find(out, "arenas[map_id=%u].violations", map_id));
	tool("dump -m %u", map_id);
	tool("stat --json");
	CHECK(pages > 0);
	CHECK(json_number(json_find(out, "arenas[map_id=%u].pages", map_id)) == pages);
	CHECK(json_number(json_find(out, "arenas[map_id=%u].violations", map_id)) == violations);
	CHECK(json_number(json_find(out, "arenas[map_id=%u].holders", map_id)) == 1);
}

/* While objects come and go: what stays is shown each time, and nothing is wrong */
static void dump_while_it_changes(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		skel->bss->rounds = 1000;
		while (!run_program(skel->progs.churn))
			;
		_exit(1);
	}
	for (int i = 0; i < 5 && !failed; i++) {
		tool("dump -m %u --json", map_id);
		if (!status && json_valid(out) &&
		    json_find(out, "objects[address=0x%llx]", skel->bss->objects[0]) &&
		    json_find(out, "objects[address=0x%llx]", skel->bss->large))
			continue;
		failed = true;
	}
	CHECK(!waitpid(pid, NULL, WNOHANG));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(!failed);
}

static void dump_unknown(void)
{
	tool("dump -m 4000000000");
	CHECK(status == 1 && strstr(err_out, "map 4000000000 is no arena with slab caches"));
	tool("dump -c no:such:cache");
	CHECK(status == 1 && strstr(err_out, "there is no arena cache 'no:such:cache'"));
}

static void dump_nothing_said(void)
{
	tool("dump");
	CHECK(status == 2 && strstr(err_out, "-c CACHE or -m MAP"));
}

/* Objects of the kernel's: the cmasks of a scheduler */
static void dump_kernel_owned(void)
{
	const char *c, *state = "/sys/kernel/sched_ext/state";
	char kernel_cache[64] = "";
	struct utsname uts;
	double in_use = 0;
	int ended = 0;
	pid_t pid;

	if (access(state, F_OK) || access("/bin/scx_qmap", X_OK))
		SKIP("there is no scx_qmap here");
	if (!uname(&uts) && strstr(uts.version, "PREEMPT_RT"))
		SKIP("scx_qmap wants a bpf_timer, PREEMPT_RT has none");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		redirect("/dev/null", STDOUT_FILENO);
		redirect("/dev/null", STDERR_FILENO);
		execl("/bin/scx_qmap", "scx_qmap", NULL);
		_exit(127);
	}
	/* It takes its time with KCSAN: the VM's timeout is the limit */
	while (!file_has(state, "enabled") && !waitpid(pid, &ended, WNOHANG))
		usleep(10000);
	if (file_has(state, "enabled")) {
		tool("stat --json");
		for (int i = 0; json_find(out, "arenas[%d]", i); i++) {
			c = json_find(out, "arenas[%d].caches[owner=kernel]", i);
			if (!c || sscanf(json_find(c, "name"), "\"%63[^\"]", kernel_cache) != 1)
				continue;
			in_use = json_number(json_find(c, "in_use"));
		}
		tool("dump -c %s --json", *kernel_cache ? kernel_cache : "none");
	}
	CHECK(!ended);
	kill(pid, SIGINT);
	waitpid(pid, NULL, 0);
	CHECK(*kernel_cache && in_use > 0);
	CHECK(!status && json_valid(out));
	CHECK(json_length(json_find(out, "objects")) == in_use);
}

/* ---- watch ---- */

static void watch_kinds(void)
{
	const struct {
		const char *kind;
		__u64 addr, object;
		long size;
		const char *of;
	} want[] = {
		{ "double_free", skel->bss->objects[1], skel->bss->objects[1], 96, cache },
		{ "interior", skel->bss->objects[2] + 16, skel->bss->objects[2], 96, cache },
		{ "large_interior", skel->bss->large + page, skel->bss->large,
		  GOLDEN_LARGE_PAGES * page, "large" },
		{ "nothing", skel->bss->large + (GOLDEN_LARGE_PAGES + 10) * page, 0, 0, NULL },
	};
	char text[80];
	pid_t pid = start(NULL, "watch --json -n 4");

	CHECK(wait_for("/tmp/err", "watching"));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		free_wrong(want[i].addr, 1);
	finish(pid);
	CHECK(!status && count_lines(out) == 4);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const char *e = line_of(out, i);

		CHECK(json_valid(e));
		CHECK(json_is(json_find(e, "event"), "\"bad_free\""));
		snprintf(text, sizeof(text), "\"%s\"", want[i].kind);
		CHECK(json_is(json_find(e, "kind"), text));
		CHECK(json_number(json_find(e, "map_id")) == map_id);
		snprintf(text, sizeof(text), "\"0x%llx\"", want[i].addr);
		CHECK(json_is(json_find(e, "address"), text));
		CHECK(json_number(json_find(e, "pid")) == getpid());
		CHECK(json_is(json_find(e, "comm"), "\"arenaslab_test\""));
		snprintf(text, sizeof(text), "\"0x%llx\"", want[i].object);
		CHECK(json_is(json_find(e, "object"), want[i].object ? text : "null"));
		if (!want[i].object)
			continue;
		CHECK(json_number(json_find(e, "size")) == want[i].size);
		snprintf(text, sizeof(text), "\"%s\"", want[i].of);
		CHECK(json_is(json_find(e, "cache"), text));
	}
}

static void watch_program(void)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	pid_t pid = start(NULL, "watch --json -n 1");

	CHECK(wait_for("/tmp/err", "watching"));
	free_wrong(skel->bss->objects[1], 1);
	finish(pid);
	CHECK(!bpf_prog_get_info_by_fd(bpf_program__fd(skel->progs.bad_free), &info, &len));
	CHECK(json_is(json_find(out, "prog"), "\"bad_free\""));
	CHECK(json_number(json_find(out, "prog_id")) == info.id);
}

static void watch_text(void)
{
	char text[160];
	pid_t pid = start(NULL, "watch -n 1");

	CHECK(wait_for("/tmp/err", "watching"));
	free_wrong(skel->bss->objects[3], 1);
	finish(pid);
	CHECK(!status);
	snprintf(text, sizeof(text), " map %u: bad free (double_free) of 0x%llx\n", map_id,
		 skel->bss->objects[3]);
	CHECK(strstr(out, text));
	snprintf(text, sizeof(text), " object 0x%llx of %s, 96 bytes\n", skel->bss->objects[3],
		 cache);
	CHECK(strstr(out, text));
	snprintf(text, sizeof(text), " by arenaslab_test[%d], program ", getpid());
	CHECK(strstr(out, text) && strstr(out, " bad_free, CPU "));
	check_screen(out, 80, 24);
}

/* The suite has the kernel follow bad pointers, with no program on the stack */
static void watch_kernel_fault(void)
{
	const char *suite = "/sys/kernel/debug/kunit/bpf_arena_addr/run";
	int fd = open(suite, O_WRONLY | O_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		SKIP("there is no %s", suite);
	pid = start(NULL, "watch --json -n 1");
	CHECK(wait_for("/tmp/err", "watching"));
	CHECK(write(fd, "1", 1) == 1 && !close(fd));
	finish(pid);
	CHECK(!status && json_valid(out));
	CHECK(json_is(json_find(out, "event"), "\"kernel_fault\""));
	CHECK(json_is(json_find(out, "kind"), "\"write\"") ||
	      json_is(json_find(out, "kind"), "\"read\""));
	CHECK(strstr(json_find(out, "function"), "+0x"));
	CHECK(json_is(json_find(out, "prog"), "null"));
}

/* No event is neither shown nor counted, though the reader sleeps for most of them */
static void watch_lost(void)
{
	const unsigned int rounds = 20000;
	unsigned int events = 0;
	double lost = 0;
	const char *line;
	pid_t pid = start(NULL, "watch --json");

	CHECK(wait_for("/tmp/err", "watching"));
	kill(pid, SIGSTOP);
	free_wrong(skel->bss->objects[1], rounds);
	kill(pid, SIGCONT);
	CHECK(wait_for("/tmp/out", "}\n"));
	for (int i = 0; i < WAIT_SECONDS && !strstr(out, "\"lost\""); i++) {
		sleep(1);
		read_output();
	}
	kill(pid, SIGINT);
	finish(pid);
	CHECK(!status);
	for (const char *p = out; *p; p += strcspn(p, "\n") + 1) {
		line = line_of(p, 0);
		CHECK(json_valid(line));
		if (json_is(json_find(line, "event"), "\"lost\""))
			lost += json_number(json_find(line, "count"));
		else
			events++;
		if (!strchr(p, '\n'))
			break;
	}
	CHECK(lost > 0 && events > 0);
	CHECK(events + lost == rounds);
}

static void watch_ends(void)
{
	tool("watch -d 0.2");
	CHECK(!status && !*out);
}

/* ---- bench ---- */

static void bench_lists(void)
{
	tool("bench --list");
	CHECK(!status && strstr(out, "\n  batch64-random ") && strstr(out, "\n  bpf:buddy "));
	CHECK(!*err_out);
}

/* Every figure is there once, with as many rounds as were wanted; none is judged */
static void check_figures(int nr, int each, const char *const *works)
{
	char work[32];

	CHECK(!status && json_valid(out) && json_length(out) == nr);
	for (int i = 0; i < nr; i++) {
		double min = json_number(json_find(out, "[%d].min", i));
		double median = json_number(json_find(out, "[%d].median", i));
		double max = json_number(json_find(out, "[%d].max", i));
		bool live = !strncmp(works[i / each], "live-", 5);

		snprintf(work, sizeof(work), "\"%s\"", works[i / each]);
		CHECK(json_is(json_find(out, "[%d].work", i), work));
		CHECK(json_is(json_find(out, "[%d].unit", i), "\"ns\""));
		CHECK(json_number(json_find(out, "[%d].live", i)) == (live ? 1000 : 0));
		CHECK(json_number(json_find(out, "[%d].rounds", i)) == 2);
		CHECK(min > 0 && min <= median && median <= max);
	}
}

static void bench_json(void)
{
	static const char *const works[] = { "hot", "live-1000" };

	tool("bench -w hot -w live-1000 -s 64 -s 1024 -r 2 --json -p bpf:null "
	     "-p bpf:arena_alloc -p bpf:obj_new -p bpf:buddy");
	check_figures(16, 8, works);
}

/* With KASAN a page takes 0.2 ms, and the tool has a minute */
static void bench_pages(void)
{
	static const char *const works[] = { "batch64-random" };

	tool("bench -w batch64-random -s 1024 -r 2 --json -p bpf:arena_pages -p bpf:page_frag");
	check_figures(2, 2, works);
}

/* They know themselves whether they got to the other CPU */
static void bench_turns(void)
{
	static const char *const works[] = { "remote" };
	struct utsname uts;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP("one CPU only");
	tool("bench -w remote -s 64 -r 2 --json -p bpf:null -p bpf:arena_alloc");
	check_figures(2, 2, works);
	/* Its peers cannot be called with irqs off there */
	if (!uname(&uts) && strstr(uts.version, "PREEMPT_RT"))
		return;
	if (!access("/sys/kernel/debug/bpf_arena_slab_bench/run", R_OK)) {
		tool("bench -w remote -s 64 -r 2 --json -p null -p arena_cache");
		check_figures(2, 2, works);
	}
}

/* A heading, peers in rows and sizes in columns; and the same ops again by the same seed */
static void bench_table(void)
{
	tool("bench -w batch512-random -s 16 -s 256 -r 1 --seed 7 -p bpf:arena_alloc");
	CHECK(!status && !*err_out);
	CHECK(strstr(out, "batch512-random, ns") == out && strstr(out, "\nbpf:arena_alloc "));
	check_screen(out, 80, 1000);
}

/* What the kernel itself has, if it was built with it */
static void bench_kernel(void)
{
	if (access("/sys/kernel/debug/bpf_arena_slab_bench/run", R_OK))
		SKIP("no CONFIG_BPF_ARENA_SLAB_BENCH");
	tool("bench -w hot -w grow -w memory -w cache -s 64 -r 2 -p null -p kmem_cache "
	     "-p arena_cache -p gen_pool");
	CHECK(!status && strstr(out, "\narena_cache ") && strstr(out, "\ngen_pool "));
}

static void bench_wrong(void)
{
	static const struct {
		const char *arguments, *said;
	} wrong[] = {
		{ "-w nothing", "-w nothing: there is no such work" },
		{ "-s 100", "-s 100: not one of 16, 64, 256, 1024, 4096, 12288" },
		{ "-p nobody", "-p nobody: this kernel has no such peer" },
		{ "-r 0", "-r 0: not 1 to " },
		{ "--seed x", "--seed x: not a number" },
		{ "hot", "'hot' is one word too many" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		tool("bench %s", wrong[i].arguments);
		CHECK(status == 2 && !*out && strstr(err_out, wrong[i].said));
		CHECK(count_lines(err_out) == 1);
	}
}

/* ---- where something is missing ---- */

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(126);
}

static void without_rights(void)
{
	static const char *const commands[] = { "top", "stat", "dump -m 1", "watch", "tasks" };

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		finish(start(become_nobody, commands[i]));
		CHECK(status == 1 && !*out);
		CHECK(strstr(err_out, "not permitted, run as root") && count_lines(err_out) == 1);
	}
}

static void leave_debugfs(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    (umount2("/sys/kernel/debug", MNT_DETACH) && errno != EINVAL) ||
	    (umount2("/sys/kernel/tracing", MNT_DETACH) && errno != EINVAL) ||
	    !access("/sys/kernel/debug/tracing/events", F_OK))
		_exit(126);
}

static void without_debugfs(void)
{
	char command[80];

	finish(start(leave_debugfs, "top --once -i 0.1"));
	CHECK(!status && strstr(out, cache));
	snprintf(command, sizeof(command), "dump -c %s", cache);
	finish(start(leave_debugfs, command));
	CHECK(!status && strstr(out, "3 live objects"));
	finish(start(leave_debugfs, "watch -d 0.1"));
	CHECK(!status);
}

/* Each option that --help names is one that the command knows: what it minds comes behind */
static void help_is_true(void)
{
	static const char *const commands[] = {
		"top", "stat", "dump", "watch", "tasks", "torture", "fuzz", "bench",
	};
	char text[1 << 14], option[64], unknown[96];
	int nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		tool("%s --help", commands[i]);
		CHECK(!status && strstr(out, "Usage: arenaslab "));
		check_screen(out, 80, 1000);
		snprintf(text, sizeof(text), "%.*s", (int)sizeof(text) - 1, out);
		for (const char *p = text; (p = strstr(p, "\n  -")); p++) {
			const char *o = strstr(p, "--");

			snprintf(option, sizeof(option), "%.*s", (int)strcspn(o, " \n"), o);
			tool("%s %s --no-such-option", commands[i], option);
			snprintf(unknown, sizeof(unknown), "there is no option %s ", option);
			CHECK(status && !strstr(err_out, unknown));
			nr++;
		}
	}
	CHECK(nr > 30);
}

static void without_arena_slab(void)
{
	static const char *const commands[] = { "top", "stat", "dump -m 1", "watch", "tasks" };

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		tool("%s", commands[i]);
		CHECK(status == 1 && !*out && count_lines(err_out) == 1);
		CHECK(strstr(err_out, "it needs CONFIG_SLAB_BPF_ARENA"));
	}
}

/* ---- all of them ---- */

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
#define TEST(t) { #t, t }
	TEST(top_arena),
	TEST(top_cache),
	TEST(top_rates),
	TEST(top_violations),
	TEST(top_failed),
	TEST(stat_totals),
	TEST(stat_json),
	TEST(top_terminal),
	TEST(top_sorted),
	TEST(top_unknown_column),
	TEST(dump_live),
	TEST(dump_hex),
	TEST(dump_type),
	TEST(dump_type_json),
	TEST(dump_type_of_file),
	TEST(dump_type_of_object_file),
	TEST(dump_type_of_kernel),
	TEST(dump_type_unknown),
	TEST(dump_type_too_large),
	TEST(dump_inside),
	TEST(dump_freed),
	TEST(dump_large),
	TEST(dump_map),
	TEST(dump_leaves_alone),
	TEST(dump_while_it_changes),
	TEST(dump_unknown),
	TEST(dump_nothing_said),
	TEST(dump_kernel_owned),
	TEST(watch_kinds),
	TEST(watch_program),
	TEST(watch_text),
	TEST(watch_kernel_fault),
	TEST(watch_lost),
	TEST(watch_ends),
	TEST(bench_lists),
	TEST(bench_json),
	TEST(bench_pages),
	TEST(bench_table),
	TEST(bench_kernel),
	TEST(bench_turns),
	TEST(bench_wrong),
	TEST(without_rights),
	TEST(without_debugfs),
	TEST(help_is_true),
};

static const struct test absent[] = {
	TEST(without_arena_slab),
	TEST(bench_wrong),
	TEST(help_is_true),
};

static int run_tests(const struct test *t, size_t nr, const char *wanted)
{
	int passed = 0, bad = 0, skips = 0, ran = 0;

	printf("TAP version 14\n");
	for (size_t i = 0; i < nr; i++) {
		if (fnmatch(wanted, t[i].name, 0))
			continue;
		failed = skipped = false;
		t[i].run();
		printf("%sok %d %s%s%s\n", failed ? "not " : "", ++ran, t[i].name,
		       skipped ? " # SKIP " : "", skipped ? reason : "");
		fflush(stdout);
		if (failed)
			bad++;
		else if (skipped)
			skips++;
		else
			passed++;
	}
	/* Last, so that a run that was cut off has no plan */
	printf("1..%d\n", ran);
	printf("%d passed, %d failed, %d skipped\n", passed, bad, skips);
	return bad ? 1 : 0;
}

static bool has_arena_slab(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, "bpf_arena_alloc", BTF_KIND_FUNC) > 0;

	btf__free(btf);
	return has;
}

int main(int argc, char **argv)
{
	const char *why, *wanted = argc > 1 ? argv[1] : "*";
	cpu_set_t cpu = {};
	int rc;

	page = sysconf(_SC_PAGESIZE);
	/* On one CPU, whose objects at hand are on one slab */
	CPU_SET(0, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	if (!has_arena_slab())
		return run_tests(absent, ARRAY_SIZE(absent), wanted);
	why = load_golden();
	if (why) {
		printf("Bail out! the program with the objects %s\n", why);
		printf("0 passed, 1 failed, 0 skipped\n");
		return 1;
	}
	tool("stat --json");
	why = json_find(out, "arenas[map_id=%u].caches[size=%zu].name", map_id,
			sizeof(struct golden));
	if (why)
		sscanf(why, "\"%63[^\"]", cache);
	rc = run_tests(tests, ARRAY_SIZE(tests), wanted);
	golden_bpf__destroy(skel);
	return rc;
}
