// SPDX-License-Identifier: GPL-2.0
/*
 * What upstream's test_progs asks of a kernel before its first test, and none of
 * the arena tests uses: a network namespace to come back to, and a key for signed
 * programs. It gives up without, and our kernels have neither. Linked in by
 * ld's --wrap, so that its source stays as it is.
 *
 * Each stands in only where the kernel has nothing to offer: on a kernel with
 * CONFIG_NET_NS and CONFIG_KEYS these are the calls themselves.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int __real_open(const char *path, int flags, ...);
int __real_setns(int fd, int type);
long __real_syscall(long nr, ...);

static int no_netns;

/* The namespace of the test's start. */
int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (!strcmp(path, "/proc/self/ns/net") && access(path, F_OK)) {
		no_netns = 1;
		path = "/dev/null";
	}
	return __real_open(path, flags, mode);
}

/* Back to it. */
int __wrap_setns(int fd, int type)
{
	return no_netns ? 0 : __real_setns(fd, type);
}

/* The certificate of signed programs. */
long __wrap_syscall(long nr, ...)
{
	long a[6], ret;
	va_list ap;
	int i;

	va_start(ap, nr);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	ret = __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	return nr == __NR_add_key && ret < 0 && errno == ENOSYS ? 0 : ret;
}
