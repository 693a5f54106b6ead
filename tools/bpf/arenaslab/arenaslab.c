// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab: look at slab objects in BPF arenas. The man page, arenaslab.8, says what its
 * subcommands do, and is where --help comes from.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "bpf_util.h"
#include "cmd.h"
#include "help.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "top", cmd_top },
	{ "stat", cmd_stat },
	{ "dump", cmd_dump },
	{ "watch", cmd_watch },
	{ "tasks", cmd_tasks },
	{ "torture", cmd_torture },
	{ "fuzz", cmd_fuzz },
	{ "bench", cmd_bench },
};

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

int next_option(int argc, char **argv, const char *letters, const struct option *longopts)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, longopts, NULL)) == 'v')
		verbose = true;
	if (c == ':')
		usage_error("%s needs a value", argv[optind - 1]);
	else if (c == '?')
		usage_error("there is no option %s", argv[optind - 1]);
	else if (c != -1)
		return c;
	else if (optind < argc)
		usage_error("'%s' is one word too many", argv[optind]);
	else
		return 0;
	return -1;
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

bool option_number(int letter, unsigned long min, unsigned long max, const char *error,
		   unsigned long *val)
{
	if (parse_number(optarg, min, max, val))
		return true;
	usage_error("-%c %s: %s", letter, optarg, error);
	return false;
}

bool option_seconds(int letter, double *val)
{
	char *end;

	*val = strtod(optarg, &end);
	/* A day is long enough; NaN fails, too */
	if (end != optarg && !*end && *val >= 0.01 && *val <= 86400)
		return true;
	usage_error("-%c %s: not 0.01 to 86400 seconds", letter, optarg);
	return false;
}

bool option_count(int letter, unsigned long *val)
{
	return option_number(letter, 1, 1UL << 62, "not a number above 0", val);
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

bool terminal_size(int *rows, int *cols)
{
	struct winsize ws;

	if (!isatty(STDOUT_FILENO))
		return false;
	*rows = 24;
	*cols = 80;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) && ws.ws_row >= 5 && ws.ws_col >= 20) {
		*rows = ws.ws_row;
		*cols = ws.ws_col;
	}
	return true;
}

void print_plain(FILE *f, const char *s, int width)
{
	int i;

	for (i = 0; s[i] && (!width || i < width); i++)
		fputc(s[i] < ' ' || s[i] > '~' ? '?' :
		      i == width - 1 && s[i + 1] ? '~' : s[i], f);
	for (; i < width; i++)
		fputc(' ', f);
}

/* All of it, or what concerns one command */
static int print_help(const char *command)
{
	const char *before = "Usage: ";

	for (size_t i = 0; i < ARRAY_SIZE(help_commands); i++) {
		if (command && strcmp(command, help_commands[i].name))
			continue;
		printf("%s%s", before, help_commands[i].usage + strlen(before));
		before = "       ";
	}
	for (size_t i = 0; i < ARRAY_SIZE(help_commands); i++) {
		if (!command)
			printf("\n%s\n%s", help_commands[i].name, help_commands[i].text);
		else if (!strcmp(command, help_commands[i].name))
			printf("\n%s", help_commands[i].text);
	}
	printf("\n%s", help_status);
	return finish_output();
}

static bool is_help(const char *s)
{
	return !strcmp(s, "-h") || !strcmp(s, "--help");
}

static int no_command(void)
{
	char all[128] = "";

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		strcat(all, i ? ", " : "");
		strcat(all, commands[i].name);
	}
	return usage_error("what to do is missing: one of %s", all);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return no_command();
	if (is_help(argv[1]) || !strcmp(argv[1], "help"))
		return print_help(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		for (int j = 2; j < argc; j++) {
			if (is_help(argv[j]))
				return print_help(argv[1]);
		}
		watch_libbpf();
		return commands[i].run(argc - 1, argv + 1);
	}
	return usage_error("there is no subcommand '%s'", argv[1]);
}
