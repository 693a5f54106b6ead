// SPDX-License-Identifier: GPL-2.0
/* Errors with a hint, signals and time, for the subcommands that load BPF programs */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "bpf_util.h"
#include "cmd.h"
#include "test_util.h"

bool verbose;
volatile sig_atomic_t stopped;

static void stop_handler(int sig)
{
	(void)sig;
	stopped = 1;
}

void catch_stop(void)
{
	struct sigaction stop = { .sa_handler = stop_handler };

	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, &stop, NULL);
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return verbose && level != LIBBPF_DEBUG ? vfprintf(stderr, fmt, args) : 0;
}

void watch_libbpf(void)
{
	libbpf_set_print(print_libbpf);
}

int bpf_failed(const char *what, int err)
{
	/* By uid 0 a right may be missing, too: in a container, under lockdown */
	if (err == -EPERM || err == -EACCES)
		return fail("cannot %s: not permitted, %s", what, geteuid() ? "run as root" :
			    "CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN are needed, and no lockdown");
	return fail("cannot %s: %s%s", what, strerror(-err),
		    verbose ? "" : " (--verbose shows what the kernel said)");
}

/* Without this check libbpf's words for a kernel that lacks the kfunc are obscure */
struct btf *load_kernel_btf(void)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf) {
		fail("cannot read /sys/kernel/btf/vmlinux: the kernel needs "
		     "CONFIG_DEBUG_INFO_BTF");
		return NULL;
	}
	if (btf__find_by_name_kind(btf, "bpf_arena_alloc", BTF_KIND_FUNC) < 0) {
		fail("this kernel has no bpf_arena_alloc(): it needs CONFIG_SLAB_BPF_ARENA");
		btf__free(btf);
		return NULL;
	}
	return btf;
}

/* The words of the kernel's reports; a kind that is newer goes by its name in the enum */
static const struct {
	const char *id, *name;
} bad_frees[] = {
	{ "ARENA_BAD_NOTHING", "nothing" },
	{ "ARENA_BAD_PAGE", "ordinary_page" },
	{ "ARENA_BAD_INTERIOR", "interior" },
	{ "ARENA_BAD_LARGE_INTERIOR", "large_interior" },
	{ "ARENA_BAD_DOUBLE", "double_free" },
	{ "ARENA_BAD_NEVER", "never_allocated" },
	{ "ARENA_BAD_PAGE_GOING", "page_going" },
	{ "ARENA_BAD_KERNEL", "kernel_owned" },
	{ "ARENA_BAD_OTHER_CACHE", "other_cache" },
};

bool bad_free_name(const struct btf *btf, unsigned int kind, char name[BAD_FREE_NAME_SIZE])
{
	/* Looking for a type goes through all of the kernel's */
	static const struct btf *last;
	static const struct btf_type *t;
	const char *s = NULL;
	int id;

	if (btf != last) {
		id = btf__find_by_name_kind(btf, "arena_bad_free", BTF_KIND_ENUM);
		t = id > 0 ? btf__type_by_id(btf, id) : NULL;
		last = btf;
	}
	for (int i = 0; t && i < (int)btf_vlen(t); i++) {
		if ((unsigned int)btf_enum(t)[i].val == kind)
			s = btf__name_by_offset(btf, btf_enum(t)[i].name_off);
	}
	if (!s || strstr(s, "_NR_"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(bad_frees); i++) {
		if (!strcmp(s, bad_frees[i].id))
			s = bad_frees[i].name;
	}
	snprintf(name, BAD_FREE_NAME_SIZE, "%s", s);
	return true;
}

bool wait_until(__u64 *due, double interval)
{
	struct timespec ts;
	__u64 now = now_ns();

	*due += interval * NS;
	/* Late: skip what was missed, do not hurry */
	if (*due < now)
		*due = now;
	ts = (struct timespec){ .tv_sec = *due / NS, .tv_nsec = *due % NS };
	while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
	return !stopped;
}
