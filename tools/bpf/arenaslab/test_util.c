// SPDX-License-Identifier: GPL-2.0
/*
 * How a run begins, files, time, random numbers and the kernel's log, for `arenaslab
 * torture` and `fuzz`
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include "cmd.h"
#include "test_util.h"

#define KERN_WARNING	4

volatile sig_atomic_t interrupted;

static void interrupt_handler(int sig)
{
	(void)sig;
	interrupted = 1;
}

int check_machine(unsigned long page)
{
	long size = sysconf(_SC_PAGESIZE);

	if (geteuid())
		return fail("it loads BPF programs: run as root");
	if (size != (long)page)
		return fail("it is made for pages of %lu bytes, this kernel has %ld", page, size);
	return 0;
}

void *begin_test(size_t size)
{
	void *shared;

	if (access(COUNTERS, R_OK)) {
		fail("there is no " COUNTERS ": is debugfs mounted?");
		return NULL;
	}
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		fail("out of memory");
		return NULL;
	}
	/* Unlike catch_stop(): system calls go on, and SIGHUP kills */
	signal(SIGINT, interrupt_handler);
	signal(SIGTERM, interrupt_handler);
	return shared;
}

unsigned long random_seed(void)
{
	unsigned int random;

	return getrandom(&random, sizeof(random), 0) == sizeof(random) ? random : 0;
}

bool option_slow(int letter, unsigned long *val)
{
	return option_number(letter, 1, 100, "not 1 to 100 times slower", val);
}

__u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS + ts.tv_nsec;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = write(fd, text, strlen(text));
	len = len < 0 ? -errno : 0;
	close(fd);
	return len;
}

bool read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = -1;

	if (fd >= 0) {
		len = read(fd, buf, size - 1);
		close(fd);
	}
	buf[len > 0 ? len : 0] = '\0';
	return len >= 0;
}

bool has_timers(void)
{
	return read_number("/sys/kernel/realtime") != 1;
}

long long read_number(const char *path)
{
	char buf[64];

	return read_text(path, buf, sizeof(buf)) && *buf ? atoll(buf) : -1;
}

bool read_counters(__u32 map_id, unsigned long long *arena_id, unsigned long long *pages,
		   void (*line)(const char *line, void *arg), void *arg)
{
	unsigned long long id, nr;
	bool in = false, found = false;
	char buf[256];
	__u32 map;
	FILE *f = fopen(COUNTERS, "r");

	while (f && fgets(buf, sizeof(buf), f)) {
		if (sscanf(buf, "arena %llu map_id %u pages %llu", &id, &map, &nr) == 3) {
			in = map == map_id;
			if (in) {
				found = true;
				*arena_id = id;
				*pages = nr;
			}
		} else if (in) {
			line(buf, arg);
		}
	}
	if (f)
		fclose(f);
	return found;
}

__u64 draw(__u64 *rng)
{
	__u64 x = *rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*rng = x;
	return x * 0x2545f4914f6cdd1dULL;
}

__u64 derive(__u64 seed, __u64 who)
{
	__u64 z = seed + who * 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) | 1;
}

/* ---- the kernel's log ---- */

static int kmsg = -1;

/* No fault of the allocator's: a slow machine, and what hotplug says */
static const char *const harmless[] = {
	"hogged CPU for",		/* workqueue: a drain waits for locks on purpose */
	"hrtimer: interrupt took",
	"perf: interrupt took too long",
	"clocksource:",
	"no longer affine to cpu",
	"irq event stamp",
	"DL replenish lagged",		/* sched: a CPU of the VM did not run for long */
};

bool log_watch(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0)
		return false;
	lseek(kmsg, 0, SEEK_END);
	return true;
}

bool log_trouble(char *buf, size_t size)
{
	char msg[8192], *text;
	ssize_t len;
	bool bad;

	while (kmsg >= 0) {
		len = read(kmsg, msg, sizeof(msg) - 1);
		if (len < 0 && errno == EPIPE)
			continue;	/* overwritten: the next one */
		if (len <= 0)
			break;
		msg[len] = '\0';
		text = strchr(msg, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		bad = (atoi(msg) & 7) <= KERN_WARNING;
		for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
			bad = bad && !strstr(text, harmless[i]);
		if (!bad)
			continue;
		snprintf(buf, size, "%s", text + 1);
		return true;
	}
	return false;
}
