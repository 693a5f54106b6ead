// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab: slab objects in BPF arenas, at work.
 *
 *	arenaslab tasks		an object a task, kept by tracing programs, read
 *				through mmap
 *	arenaslab stat		what the slab did, for every arena of the system
 *	arenaslab torture	hostile programs and processes, and a verdict
 *	arenaslab fuzz		random sequences of operations against a model
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "cmd.h"

static const char usage[] =
"Usage: arenaslab tasks [-i SECONDS] [-c COUNT] [-n ROWS] [-m MIB] [--json]\n"
"       arenaslab stat [--json]\n"
"       arenaslab torture [-d SECONDS] [-s SEED] [-t TASKS] [-x FACTOR] [-w PART]...\n"
"       arenaslab fuzz [-d SECONDS] [-s SEED] [-n SESSION] [-x FACTOR] [-r FILE]\n"
"\n"
"tasks  Count switches and run time of every task: tracing programs keep an object\n"
"       a task in a BPF arena, and this program reads it there, without a system call.\n"
"  -i, --interval SECONDS  between two tables (default 1, fractions are fine)\n"
"  -c, --count COUNT       tables, then end (default: until interrupted)\n"
"  -n, --top ROWS          rows of a table (default 20, or what the terminal has);\n"
"                          with --json all tasks, unless it is given\n"
"  -m, --memory MIB        size of the arena (default 16: enough for 200,000 tasks)\n"
"  -j, --json              a JSON object a table, on one line\n"
"  -v, --verbose           what libbpf and the verifier say\n"
"\n"
"stat   Print the slab caches of every arena, and what became of bad frees.\n"
"  -j, --json              one JSON object\n"
"\n"
"torture  Allocate and free from every context while everything is overwritten, freed\n"
"       twice, unmapped, killed and unplugged. In a virtual machine: it plugs CPUs,\n"
"       attaches a scheduler, and a kernel with a defect may not survive it.\n"
"  -d, --duration SECONDS  (default 60)\n"
"  -s, --seed SEED         the same operations as that time (default: a random one)\n"
"  -t, --tasks TASKS       of each of two kinds, for each of three arenas (default: one\n"
"                          for two CPUs)\n"
"  -x, --slow FACTOR       the kernel is so many times slower: wait longer\n"
"  -w, --without PART      map, scribble, kill, sched, shrink, hotplug, irq, trace or\n"
"                          hold\n"
"  -v, --verbose           what libbpf and the verifier say\n"
"\n"
"fuzz   Do random sequences of calls and accesses in every context, compare each answer\n"
"       and each byte with a model of the arena, and shorten a sequence that is wrong.\n"
"       In a virtual machine, too.\n"
"  -d, --duration SECONDS  (default 60)\n"
"  -s, --seed SEED         the same sequences as that time (default: a random one)\n"
"  -n, --session SESSION   begin with that session (default 0)\n"
"  -r, --replay FILE       only the sequence in it, several times\n"
"  -x, --slow FACTOR       the kernel is so many times slower: wait longer\n"
"  -v, --verbose           print each sequence before it is done; what libbpf says\n"
"\n"
"Exit status: 0, 1 when something failed, 2 when the command line is wrong.\n";

int fail(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("arenaslab: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int usage_error(const char *fmt, ...)
{
	va_list args;

	fputs("arenaslab: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs(" (arenaslab --help shows how)\n", stderr);
	return EXIT_USAGE;
}

bool parse_number(const char *s, unsigned long min, unsigned long max, unsigned long *val)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*val = strtoul(s, &end, 10);
	return !*end && !errno && *val >= min && *val <= max;
}

bool parse_seconds(const char *s, double *val)
{
	char *end;

	*val = strtod(s, &end);
	/* A day is long enough; NaN fails, too */
	return end != s && !*end && *val >= 0.01 && *val <= 86400;
}

/* Length of the UTF-8 sequence at @s, 0 if it is none: overlong, a surrogate, cut off */
static int utf8_length(const unsigned char *s)
{
	unsigned int min, c;
	int len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2, min = 0x80, c = s[0] & 0x1f;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3, min = 0x800, c = s[0] & 0x0f;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4, min = 0x10000, c = s[0] & 0x07;
	else
		return 0;
	for (int i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

void print_json_string(FILE *f, const char *str)
{
	const unsigned char *s = (const unsigned char *)str;
	int len;

	fputc('"', f);
	for (; *s; s += len) {
		len = utf8_length(s);
		if (!len) {
			fputs("\\ufffd", f);
			len = 1;
		} else if (*s == '"' || *s == '\\') {
			fprintf(f, "\\%c", *s);
		} else if (*s < 0x20 || *s == 0x7f) {
			fprintf(f, "\\u%04x", *s);
		} else {
			fwrite(s, 1, len, f);
		}
	}
	fputc('"', f);
}

int finish_output(void)
{
	if (fflush(stdout) || ferror(stdout))
		return fail("cannot write the output: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage_error("what to do is missing: tasks, stat, torture or fuzz");
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		fputs(usage, stdout);
		return finish_output();
	}
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(usage, stdout);
			return finish_output();
		}
	}
	if (!strcmp(argv[1], "tasks"))
		return cmd_tasks(argc - 1, argv + 1);
	if (!strcmp(argv[1], "stat"))
		return cmd_stat(argc - 1, argv + 1);
	if (!strcmp(argv[1], "torture"))
		return cmd_torture(argc - 1, argv + 1);
	if (!strcmp(argv[1], "fuzz"))
		return cmd_fuzz(argc - 1, argv + 1);
	return usage_error("there is no subcommand '%s'", argv[1]);
}
