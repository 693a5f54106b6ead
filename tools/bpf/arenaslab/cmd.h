/* SPDX-License-Identifier: GPL-2.0 */
/* What the subcommands of arenaslab have in common. */
#ifndef CMD_H
#define CMD_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Exit statuses */
#define EXIT_FAILED	1
#define EXIT_USAGE	2

int cmd_top(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_tasks(int argc, char **argv);
int cmd_torture(int argc, char **argv);
int cmd_fuzz(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* "arenaslab: ...", one line on stderr; returns EXIT_FAILED */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same with a hint at --help; returns EXIT_USAGE */
int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * The letter of the next option; 0 behind the last one; -1 if it is wrong or a word is left,
 * which was said. -v is done.
 */
int next_option(int argc, char **argv, const char *letters, const struct option *longopts);
bool parse_number(const char *s, unsigned long min, unsigned long max, unsigned long *val);
/*
 * The same for the value of the option @letter, in optarg; false if it is wrong, which was
 * said: by @error, or that it is not 0.01 to 86400 seconds, or no number above 0.
 */
bool option_number(int letter, unsigned long min, unsigned long max, const char *error,
		   unsigned long *val);
bool option_seconds(int letter, double *val);
bool option_count(int letter, unsigned long *val);
/* A JSON string with its quotes; what is not UTF-8 becomes U+FFFD */
void print_json_string(FILE *f, const char *s);
/*
 * A name for people: what is not printable ASCII could be for the terminal, and becomes
 * '?'. As wide as @width, if that is not 0; what is cut off ends in '~'.
 */
void print_plain(FILE *f, const char *s, int width);
/* False if stdout is no terminal; one that does not tell has 24 rows and 80 columns */
bool terminal_size(int *rows, int *cols);
/* 0, or EXIT_FAILED if what was printed did not get out */
int finish_output(void);

#endif /* CMD_H */
