// SPDX-License-Identifier: GPL-2.0
/*
 * What user space can do with the pages of an arena: the table in
 * Documentation/mm/slab_arena.rst, a test a line.
 *
 * A slab page stands in user page tables as a special PTE, without a reference or
 * a map count, so whatever wants to hold the page itself has to be refused, and
 * whatever goes by the address has to work. An ordinary page of the same arena is
 * the control: "mapping/x_ordinary" beside "mapping/x".
 *
 * The page is looked at through progs/mapping.bpf.c: after each operation, and while
 * it holds what it got, nobody has a reference, and when the arena goes every page
 * that was a slab comes back with none.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <elf.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena_slab.h"

#define SEED	0x0123456700000000ULL
#define DISK	"/dev/ram0"
#define MAX_PAGES 1024	/* of progs/mapping.bpf.c */

/* linux/io_uring.h of the tree does not go with libc's headers: what we need of it */
#define IORING_PARAMS_SIZE	120
#define IORING_REGISTER_BUFFERS	0

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* An arena, mapped here, and one page of it that a program has filled */
struct env {
	struct bpf_object *obj;		/* progs/share.bpf.c */
	struct bpf_object *oracle;
	char *base;
	size_t size;
	char *page;
	bool slab;			/* else an ordinary page of the arena */
	__u32 type;			/* of the page, before anybody touched it */
};

#define CHECK_ERRNO(call, expected)					\
	do {								\
		int __e;						\
									\
		errno = 0;						\
		__e = (long)(call) < 0 ? errno : 0;			\
		if (__e != (expected))					\
			return FAIL("%s: %s, expected %s", #call,	\
				    strerrorname(__e), strerrorname(expected)); \
	} while (0)

#define TRY(call)							\
	do {								\
		if (call)						\
			return FAIL("from %s", #call);			\
	} while (0)

static const char *strerrorname(int err)
{
	return err ? strerrorname_np(err) ?: "?" : "no error";
}

/* The pattern of progs/common.bpf.h, for whole words */
static void fill(void *p, size_t size, __u64 seed)
{
	for (size_t i = 0; i < size / 8; i++)
		((volatile __u64 *)p)[i] = seed + i;
}

static bool verify(const void *p, size_t size, __u64 seed)
{
	for (size_t i = 0; i < size / 8; i++) {
		if (((const volatile __u64 *)p)[i] != seed + i)
			return false;
	}
	return true;
}

/* A program finds this in the page, through the kernel's mapping */
static bool program_sees(struct env *e, __u64 seed)
{
	VAR(e->obj, __u64, "seed") = seed;
	return !run_prog(e->obj, "check");
}

/* ---- the oracle ---- */

/* Nobody but the arena has the page; true also for what is no slab page */
static int check_unreferenced(struct env *e)
{
	if (!e->slab)
		return 0;
	VAR(e->oracle, __u32, "pgoff") = (e->page - e->base) / PAGE;
	CHECK_EQ(run_prog(e->oracle, "look"), 0);
	CHECK_EQ(VAR(e->oracle, __s32, "refs"), 0);
	if (!e->type)
		e->type = VAR(e->oracle, __u32, "type");
	CHECK_EQ(VAR(e->oracle, __u32, "type"), e->type);
	return 0;
}

/* All slab pages came back, and none of them was anybody's */
static int check_given_back(struct bpf_object *oracle)
{
	const volatile __u64 *given_back = find_var(oracle, "given_back");
	__u64 mapped = VAR(oracle, __u64, "mapped");

	CHECK(mapped > 0);
	if (!WAIT_FOR(20, *given_back == mapped))
		return FAIL("%llu of %llu slab pages were given back after 20 seconds",
			    *given_back, mapped);
	CHECK_EQ(VAR(oracle, __u64, "given_back_in_use"), 0);
	return 0;
}

/* ---- an arena ---- */

static void *map_arena(struct env *e, int prot)
{
	return mmap(e->base, e->size, prot, MAP_SHARED | MAP_FIXED,
		    bpf_map__fd(bpf_object__find_map_by_name(e->obj, "arena")), 0);
}

static int take_page(struct env *e)
{
	VAR(e->obj, __u32, "nr") = 1;
	VAR(e->obj, __u32, "size") = PAGE;
	VAR(e->obj, __u64, "seed") = SEED;
	/* It fills the page through the kernel's mapping: user space has no PTE for it */
	if (e->slab) {
		CHECK_EQ(run_prog(e->obj, "take"), 0);
		e->page = (char *)VAR(e->obj, __u64, "objs");
		return check_unreferenced(e);
	}
	VAR(e->obj, __u64, "objs") = 0;
	CHECK_EQ(run_prog(e->obj, "page_at"), 0);
	e->page = (char *)VAR(e->obj, __u64, "objs");
	fill(e->page, PAGE, SEED);
	CHECK_ERRNO(madvise(e->page, PAGE, MADV_DONTNEED), 0);
	return 0;
}

static int run_with_arena(struct env *e, __u32 flags, int (*op)(struct env *e))
{
	struct bpf_map *map;
	size_t unused;
	int err;

	e->obj = open_image("share", PROGS("take", "check", "give", "peek", "poke", "page_at"));
	if (!e->obj)
		return 1;
	map = bpf_object__find_map_by_name(e->obj, "arena");
	bpf_map__set_map_flags(map, BPF_F_MMAPABLE | flags);
	err = bpf_object__load(e->obj);
	if (err) {
		FAIL("cannot be loaded: %s", strerror(-err));
		goto out;
	}
	e->size = (size_t)bpf_map__max_entries(map) * PAGE;
	e->base = bpf_map__initial_value(map, &unused);
	VAR(e->oracle, __u32, "map_id") = arena_id(e->obj);
	err = take_page(e) ?: op(e) ?: check_unreferenced(e);
	if (!err && e->slab)
		err = run_prog(e->obj, "give");
out:
	bpf_object__close(e->obj);
	return err;
}

/* A page of either kind, @op on it, and what is left of it afterwards */
static int with_page(bool slab, __u32 flags, int (*op)(struct env *e))
{
	/* Loaded once: it takes longer than most of the tests */
	static struct bpf_object *oracle;
	struct env e = { .slab = slab };
	struct bpf_link *links[2] = {};
	int err = 1;

	if (!oracle)
		oracle = load_image("mapping", PROGS("on_map", "on_give_back", "look"));
	if (!oracle)
		return 1;
	e.oracle = oracle;
	memset(find_var(oracle, "pages"), 0, MAX_PAGES * sizeof(__u64));
	VAR(oracle, __u64, "mapped") = 0;
	VAR(oracle, __u64, "given_back") = 0;
	VAR(oracle, __u64, "given_back_in_use") = 0;
	links[0] = bpf_program__attach(bpf_object__find_program_by_name(oracle, "on_map"));
	links[1] = bpf_program__attach(bpf_object__find_program_by_name(oracle, "on_give_back"));
	if (!links[0] || !links[1])
		FAIL("the oracle cannot be attached: %s", strerror(errno));
	else
		err = run_with_arena(&e, flags, op);
	/* Also if it failed: that may be why */
	if (links[0] && links[1] && slab)
		err |= check_given_back(oracle);
	bpf_link__destroy(links[0]);
	bpf_link__destroy(links[1]);
	return err;
}

/*
 * Run @fn with a page that is not in the page table, where it has to be faulted in
 * on the way, and again with one that is.
 */
static int cold_and_hot(struct env *e, int (*fn)(struct env *e))
{
	if (madvise(e->page, PAGE, MADV_DONTNEED))
		return FAIL("MADV_DONTNEED: %s", strerror(errno));
	if (fn(e))
		return FAIL("the page was not in the page table");
	*(volatile __u64 *)e->page;
	if (fn(e))
		return FAIL("the page was in the page table");
	return check_unreferenced(e);
}

/* Run @fn in a child that has mapped the arena, or has not */
static int in_child(struct env *e, int prot, int (*fn)(struct env *e))
{
	int status, err;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (prot && map_arena(e, prot) != e->base)
			err = FAIL("the child cannot map the arena: %s", strerror(errno));
		else
			err = fn(e);
		fflush(stdout);
		_exit(err);
	}
	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	return 0;
}

#define PROT_RW (PROT_READ | PROT_WRITE)

static sigjmp_buf jump;

static void handler(int sig)
{
	siglongjmp(jump, sig);
}

/* The signal that a store of one word ends in, or 0 */
static int store(void *addr, __u64 value)
{
	struct sigaction sa = { .sa_handler = handler }, segv, bus;
	int sig;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	sig = sigsetjmp(jump, 1);
	if (!sig)
		*(volatile __u64 *)addr = value;
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return sig;
}

static int load(void *addr)
{
	__u64 value, fault_addr;

	return probe((__u64)addr, &value, sizeof(value), &fault_addr);
}

/* Is the page in this process's page table? */
static bool is_mapped(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0)
		return false;
	if (pread(fd, &entry, sizeof(entry), (__u64)addr / PAGE * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	return entry >> 63;
}

/* ---- loads and stores ---- */

static int write_and_check(struct env *e)
{
	CHECK_EQ(store(e->page, SEED * 3), 0);
	fill(e->page, PAGE, SEED * 3);
	CHECK(program_sees(e, SEED * 3));
	return 0;
}

static int op_write(struct env *e)
{
	return cold_and_hot(e, write_and_check);
}

/* The read leaves a PTE; the write goes through that one */
static int op_read_then_write(struct env *e)
{
	CHECK(!is_mapped(e->page));
	CHECK(verify(e->page, PAGE, SEED));
	CHECK(is_mapped(e->page));
	return write_and_check(e);
}

static int pass_on(struct env *e)
{
	__u64 seed = VAR(e->obj, __u64, "seed");

	CHECK(!is_mapped(e->page));
	CHECK(verify(e->page, PAGE, seed));
	fill(e->page, PAGE, seed + SEED);
	return check_unreferenced(e);
}

/* Each sees what the one before it wrote; and so do the parent and a program */
static int op_processes(struct env *e)
{
	for (int i = 0; i < 5; i++) {
		CHECK(verify(e->page, PAGE, SEED * (i + 1)));
		TRY(in_child(e, PROT_RW, pass_on));
		CHECK(program_sees(e, SEED * (i + 2)));
	}
	return 0;
}

static int no_mapping(struct env *e)
{
	CHECK(!is_mapped(e->page));
	CHECK_EQ(load(e->page), SIGSEGV);
	CHECK_EQ(store(e->page, 1), SIGSEGV);
	return 0;
}

static int op_fork(struct env *e)
{
	CHECK(verify(e->page, PAGE, SEED));
	TRY(in_child(e, 0, no_mapping));
	CHECK(verify(e->page, PAGE, SEED));
	CHECK(program_sees(e, SEED));
	return 0;
}

/* ---- by the address, from outside ---- */

static pid_t traced_child(struct env *e)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (map_arena(e, PROT_RW) != e->base || ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(1);
		raise(SIGSTOP);
		_exit(*(volatile __u64 *)e->page == ~SEED ? 0 : 2);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		return pid;
	return 0;
}

static int peek_and_poke(struct env *e, pid_t pid)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, e->page + 8, 0);
	CHECK_EQ(errno, 0);
	CHECK_EQ(word, SEED + 1);
	CHECK_ERRNO(ptrace(PTRACE_POKEDATA, pid, e->page, ~SEED), 0);
	errno = 0;
	CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, e->page, 0), ~SEED);
	CHECK_EQ(errno, 0);
	CHECK_EQ(*(volatile __u64 *)e->page, ~SEED);
	CHECK_EQ(run_prog(e->obj, "peek"), 0);
	CHECK_EQ(VAR(e->obj, __u64, "value"), ~SEED);
	return check_unreferenced(e);
}

static int op_ptrace(struct env *e)
{
	pid_t pid = traced_child(e);
	int status, err;

	CHECK(pid > 0);
	err = peek_and_poke(e, pid);
	ptrace(PTRACE_CONT, pid, 0, 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (err)
		return err;
	CHECK_EQ(status, 0);
	return 0;
}

static int proc_mem(struct env *e)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	static __u64 buf[65536 / 8];

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, buf, PAGE, (long)e->page), PAGE);
	CHECK(verify(buf, PAGE, SEED));
	fill(buf, PAGE, SEED * 5);
	CHECK_EQ(pwrite(fd, buf, PAGE, (long)e->page), PAGE);
	CHECK(program_sees(e, SEED * 5));
	fill(buf, PAGE, SEED);
	CHECK_EQ(pwrite(fd, buf, PAGE, (long)e->page), PAGE);
	close(fd);
	return 0;
}

static int op_proc_mem(struct env *e)
{
	return cold_and_hot(e, proc_mem);
}

static int proc_mem_readonly(struct env *e)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	__u64 buf = ~SEED;

	CHECK(fd >= 0);
	CHECK_EQ(store(e->page, buf), SIGSEGV);
	CHECK_ERRNO(pwrite(fd, &buf, sizeof(buf), (long)e->page), EIO);
	CHECK_EQ(pread(fd, &buf, sizeof(buf), (long)e->page), sizeof(buf));
	CHECK_EQ(buf, SEED);
	close(fd);
	return 0;
}

/* Mapped for reading once, there is no way to make it writable */
static int map_readonly(struct env *e)
{
	CHECK_ERRNO(mprotect(e->base, e->size, PROT_RW), EACCES);
	return cold_and_hot(e, proc_mem_readonly);
}

static int op_proc_mem_readonly(struct env *e)
{
	TRY(in_child(e, PROT_READ, map_readonly));
	CHECK(program_sees(e, SEED));
	return 0;
}

/* ---- by the page: GUP ---- */

static int process_vm(struct env *e)
{
	static __u64 buf[65536 / 8];
	struct iovec local = { buf, PAGE }, remote = { e->page, PAGE };
	int expected = e->slab ? EFAULT : 0;

	fill(buf, PAGE, 1);
	CHECK_ERRNO(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), expected);
	CHECK(verify(buf, PAGE, e->slab ? 1 : SEED));
	fill(buf, PAGE, e->slab ? ~SEED : SEED);
	CHECK_ERRNO(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), expected);
	CHECK(program_sees(e, SEED));
	return 0;
}

static int op_process_vm(struct env *e)
{
	return cold_and_hot(e, process_vm);
}

static int open_disk(void)
{
	return open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
}

static int odirect_write(struct env *e)
{
	int fd = open_disk();

	CHECK(fd >= 0);
	CHECK_ERRNO(pwrite(fd, e->page, PAGE, 0), e->slab ? EEXIST : 0);
	close(fd);
	return 0;
}

static int op_odirect_write(struct env *e)
{
	return cold_and_hot(e, odirect_write);
}

static int odirect_read(struct env *e)
{
	static __u64 buf[65536 / 8] __attribute__((aligned(65536)));
	int fd = open_disk();

	CHECK(fd >= 0);
	fill(buf, PAGE, SEED);
	CHECK_EQ(pwrite(fd, buf, PAGE, 0), PAGE);
	fill(e->page, PAGE, SEED * 7);
	CHECK_ERRNO(pread(fd, e->page, PAGE, 0), e->slab ? EEXIST : 0);
	CHECK(program_sees(e, e->slab ? SEED * 7 : SEED));
	close(fd);
	return 0;
}

static int op_odirect_read(struct env *e)
{
	return cold_and_hot(e, odirect_read);
}

static int vmsplice_page(struct env *e)
{
	struct iovec iov = { e->page, PAGE };
	int pipes[2];

	CHECK_EQ(pipe(pipes), 0);
	CHECK_ERRNO(vmsplice(pipes[1], &iov, 1, 0), e->slab ? EEXIST : 0);
	/* The pipe would hold the page */
	TRY(check_unreferenced(e));
	close(pipes[0]);
	close(pipes[1]);
	return 0;
}

static int op_vmsplice(struct env *e)
{
	return cold_and_hot(e, vmsplice_page);
}

static int io_uring_buffer(struct env *e)
{
	char params[IORING_PARAMS_SIZE] = {};
	struct iovec iov = { e->page, PAGE };
	int fd = syscall(__NR_io_uring_setup, 1, params);

	CHECK(fd >= 0);
	CHECK_ERRNO(syscall(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1),
		    e->slab ? EEXIST : 0);
	/* The ring would hold the page */
	TRY(check_unreferenced(e));
	close(fd);
	return 0;
}

static int op_io_uring_buffer(struct env *e)
{
	return cold_and_hot(e, io_uring_buffer);
}

/* What the documentation advises: an object of more than a page is of ordinary pages */
static int op_large(struct env *e)
{
	char *page = e->page;
	int err;

	VAR(e->obj, __u32, "size") = 2 * PAGE;
	CHECK_EQ(run_prog(e->obj, "take"), 0);
	e->page = (char *)VAR(e->obj, __u64, "objs");
	e->slab = false;
	err = cold_and_hot(e, odirect_write) ?: cold_and_hot(e, io_uring_buffer);
	if (!err)
		err = run_prog(e->obj, "give");
	VAR(e->obj, __u64, "objs") = (__u64)page;
	VAR(e->obj, __u32, "size") = PAGE;
	e->page = page;
	e->slab = true;
	return err;
}

static int futex_op(struct env *e, int op, __u32 value)
{
	return syscall(__NR_futex, e->page, op, value, NULL, NULL, 0);
}

/*
 * One that is not private belongs to a page of a file or to an address of private
 * memory. Arena pages are neither: not even ordinary ones have ever worked.
 */
static int futex_shared(struct env *e)
{
	int expected = e->slab ? EEXIST : EFAULT;

	CHECK_ERRNO(futex_op(e, FUTEX_WAKE, 1), expected);
	CHECK_ERRNO(futex_op(e, FUTEX_WAIT, ~(__u32)SEED), expected);
	return 0;
}

static int op_futex_shared(struct env *e)
{
	return cold_and_hot(e, futex_shared);
}

/* ---- by the address, from the kernel ---- */

static void *futex_waiter(void *data)
{
	struct env *e = data;
	long err;

	do {
		err = futex_op(e, FUTEX_WAIT_PRIVATE, (__u32)SEED);
	} while (err && errno == EINTR);
	return (void *)err;
}

static int op_futex_private(struct env *e)
{
	pthread_t thread;
	void *result;

	CHECK_ERRNO(futex_op(e, FUTEX_WAIT_PRIVATE, ~(__u32)SEED), EAGAIN);
	CHECK_EQ(pthread_create(&thread, NULL, futex_waiter, e), 0);
	CHECK(WAIT_FOR(20, futex_op(e, FUTEX_WAKE_PRIVATE, 1) == 1));
	CHECK_EQ(pthread_join(thread, &result), 0);
	CHECK_EQ((long)result, 0);
	return 0;
}

static int buffered_io(struct env *e)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	static __u64 buf[65536 / 8];

	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, e->page, PAGE, 0), PAGE);
	CHECK_EQ(pread(fd, buf, PAGE, 0), PAGE);
	CHECK(verify(buf, PAGE, SEED));
	fill(buf, PAGE, SEED * 9);
	CHECK_EQ(pwrite(fd, buf, PAGE, 0), PAGE);
	CHECK_EQ(madvise(e->page, PAGE, MADV_DONTNEED), 0);
	CHECK_EQ(pread(fd, e->page, PAGE, 0), PAGE);
	CHECK(program_sees(e, SEED * 9));
	fill(e->page, PAGE, SEED);
	close(fd);
	return 0;
}

static int op_buffered_io(struct env *e)
{
	return cold_and_hot(e, buffered_io);
}

/* ---- core dumps ---- */

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE		"/tmp/core.arena_slab"

static int read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -1;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len < 0)
		return -1;
	buf[len] = '\0';
	return 0;
}

/* Only what the filter says: nothing but shared mappings of files, or what is usual */
static void dying_child(struct env *e, const char *filter)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	if (map_arena(e, PROT_RW) != e->base || setrlimit(RLIMIT_CORE, &unlimited) ||
	    (filter && write_text("/proc/self/coredump_filter", filter)))
		_exit(1);
	*(volatile __u64 *)e->page;
	signal(SIGABRT, SIG_DFL);
	abort();
}

/* Where the page is in the dump; 0: it is not; -1: not even the mapping is */
static long find_in_core(int fd, const char *addr)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG))
		return -1;
	for (int i = 0; i < eh.e_phnum; i++) {
		__u64 offset;

		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) != sizeof(ph))
			break;
		offset = (__u64)addr - ph.p_vaddr;
		if (ph.p_type == PT_LOAD && offset < ph.p_memsz)
			return offset < ph.p_filesz ? (long)(ph.p_offset + offset) : 0;
	}
	return -1;
}

static int dump_core(struct env *e, const char *filter)
{
	char old[256];
	int status;
	pid_t pid;

	CHECK_EQ(read_text(CORE_PATTERN, old, sizeof(old)), 0);
	CHECK_EQ(write_text(CORE_PATTERN, CORE), 0);
	unlink(CORE);
	fflush(stdout);
	pid = fork();
	if (!pid)
		dying_child(e, filter);
	waitpid(pid, &status, 0);
	CHECK_EQ(write_text(CORE_PATTERN, old), 0);
	CHECK(WIFSIGNALED(status));
	CHECK(WCOREDUMP(status));
	return 0;
}

static int check_core(struct env *e, bool included)
{
	int fd = open(CORE, O_RDONLY | O_CLOEXEC);
	static __u64 buf[65536 / 8];
	long pos;

	CHECK(fd >= 0);
	pos = find_in_core(fd, e->page);
	if (included) {
		CHECK(pos > 0);
		/* A hole at the end of a file is not there */
		memset(buf, 0xff, PAGE);
		CHECK_EQ(pread(fd, buf, PAGE, pos), PAGE);
		if (e->slab) {
			for (long i = 0; i < PAGE / 8; i++)
				CHECK_EQ(buf[i], 0);
		} else {
			CHECK(verify(buf, PAGE, SEED));
		}
	} else {
		CHECK_EQ(pos, 0);
	}
	close(fd);
	return 0;
}

/* 8: shared mappings of files */
static int op_core_dump(struct env *e)
{
	int err = dump_core(e, "8") ?: check_core(e, true);

	unlink(CORE);
	return err;
}

static int op_core_dump_default(struct env *e)
{
	int err = dump_core(e, NULL) ?: check_core(e, false);

	unlink(CORE);
	return err;
}

/* ---- mlock, mprotect, madvise and the like ---- */

/* Populates, as ever, but an arena is a special mapping: nothing is locked or counted */
static int op_mlock(struct env *e)
{
	CHECK_ERRNO(mlock(e->page, PAGE), 0);
	CHECK(is_mapped(e->page));
	TRY(check_unreferenced(e));
	/* EINVAL if it were locked */
	CHECK_ERRNO(madvise(e->page, PAGE, MADV_DONTNEED), 0);
	CHECK(!is_mapped(e->page));
	CHECK(verify(e->page, PAGE, SEED));
	CHECK_ERRNO(munlock(e->page, PAGE), 0);
	return 0;
}

static int lock_all(struct env *e)
{
	CHECK(!is_mapped(e->page));
	CHECK_ERRNO(mlockall(MCL_CURRENT), 0);
	CHECK(is_mapped(e->page));
	CHECK(verify(e->page, PAGE, SEED));
	return check_unreferenced(e);
}

static int op_mlockall(struct env *e)
{
	return in_child(e, PROT_RW, lock_all);
}

/* Where user space may make pages by touching them, what touches all makes all */
static int check_full(struct env *e)
{
	struct arena_counters c;

	CHECK_EQ(read_counters(arena_id(e->obj), &c), 0);
	CHECK(c.found);
	CHECK_EQ(c.pages, e->size / PAGE);
	/* A slab is needed for these, and there is no place for one */
	VAR(e->obj, __u32, "nr") = 64;
	CHECK(run_prog(e->obj, "take") > 0);
	VAR(e->obj, __u32, "nr") = 1;
	VAR(e->obj, __u64, "objs") = (__u64)e->page;
	return 0;
}

static int op_mlockall_fills(struct env *e)
{
	TRY(in_child(e, PROT_RW, lock_all));
	return check_full(e);
}

static int op_core_dump_fills(struct env *e)
{
	TRY(dump_core(e, "8"));
	unlink(CORE);
	return check_full(e);
}

static int op_mprotect(struct env *e)
{
	CHECK_EQ(store(e->page, SEED), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_ERRNO(mprotect(e->base, e->size, PROT_READ), 0);
		/* First the PTE was made read-only, then a read-only one is made */
		if (i)
			CHECK_EQ(madvise(e->page, PAGE, MADV_DONTNEED), 0);
		CHECK(verify(e->page, PAGE, SEED));
		CHECK_EQ(store(e->page, ~SEED), SIGSEGV);
		CHECK(program_sees(e, SEED));
		TRY(check_unreferenced(e));
		CHECK_ERRNO(mprotect(e->base, e->size, PROT_RW), 0);
		TRY(write_and_check(e));
		fill(e->page, PAGE, SEED);
	}
	CHECK_ERRNO(mprotect(e->base, e->size, PROT_NONE), 0);
	CHECK_EQ(load(e->page), SIGSEGV);
	CHECK_ERRNO(mprotect(e->base, e->size, PROT_RW), 0);
	CHECK(verify(e->page, PAGE, SEED));
	return 0;
}

/* A part of it would be a mapping of its own; and no code is run from an arena */
static int op_mprotect_refused(struct env *e)
{
	CHECK_ERRNO(mprotect(e->page, PAGE, PROT_READ), EINVAL);
	CHECK_ERRNO(mprotect(e->base, e->size, PROT_READ | PROT_EXEC), EACCES);
	return write_and_check(e);
}

static int op_dontneed(struct env *e)
{
	for (int i = 0; i < 3; i++) {
		fill(e->page, PAGE, SEED * (i + 1));
		CHECK(is_mapped(e->page));
		CHECK_ERRNO(madvise(e->page, PAGE, MADV_DONTNEED), 0);
		CHECK(!is_mapped(e->page));
		CHECK(program_sees(e, SEED * (i + 1)));
		CHECK(verify(e->page, PAGE, SEED * (i + 1)));
	}
	return 0;
}

static int populate(struct env *e)
{
	CHECK_ERRNO(madvise(e->page, PAGE, MADV_POPULATE_READ), 0);
	CHECK(is_mapped(e->page));
	CHECK_ERRNO(madvise(e->page, PAGE, MADV_DONTNEED), 0);
	CHECK_ERRNO(madvise(e->page, PAGE, MADV_POPULATE_WRITE), 0);
	CHECK(is_mapped(e->page));
	CHECK(verify(e->page, PAGE, SEED));
	return 0;
}

static int op_populate(struct env *e)
{
	return cold_and_hot(e, populate);
}

/* Reclaim passes arena pages by: they are on no list */
static int reclaim(struct env *e)
{
	bool mapped = is_mapped(e->page);

	CHECK_ERRNO(madvise(e->page, PAGE, MADV_COLD), 0);
	CHECK_ERRNO(madvise(e->page, PAGE, MADV_PAGEOUT), 0);
	CHECK_EQ(is_mapped(e->page), mapped);
	CHECK(verify(e->page, PAGE, SEED));
	return 0;
}

static int op_reclaim(struct env *e)
{
	return cold_and_hot(e, reclaim);
}

static int op_advice_refused(struct env *e)
{
	static const struct {
		int advice;
		int err;
	} refused[] = {
		{ MADV_FREE, EINVAL },
		{ MADV_REMOVE, ENODEV },
		{ MADV_DOFORK, EINVAL },
		{ MADV_WIPEONFORK, EINVAL },
		{ MADV_COLLAPSE, EINVAL },
		{ MADV_GUARD_INSTALL, EINVAL },
	};

	*(volatile __u64 *)e->page;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		errno = 0;
		if (!madvise(e->page, PAGE, refused[i].advice) || errno != refused[i].err)
			return FAIL("advice %d: %s, expected %s", refused[i].advice,
				    strerrorname(errno), strerrorname(refused[i].err));
		CHECK(verify(e->page, PAGE, SEED));
	}
	/* Of the whole mapping, too: a child must not inherit it */
	CHECK_ERRNO(madvise(e->base, e->size, MADV_DOFORK), EINVAL);
	return 0;
}

/* What is advice for a mapping can only be given for all of it: parts are refused */
static int op_advice_part(struct env *e)
{
	static const int advice[] = { MADV_DONTDUMP, MADV_SEQUENTIAL, MADV_HUGEPAGE };
	size_t nr = ARRAY_SIZE(advice);

	/* PREEMPT_RT has none, and no advice for them */
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
		nr--;
	for (size_t i = 0; i < nr; i++) {
		CHECK_ERRNO(madvise(e->page, PAGE, advice[i]), EINVAL);
		CHECK_ERRNO(madvise(e->base, e->size, advice[i]), 0);
		CHECK(verify(e->page, PAGE, SEED));
		CHECK_ERRNO(madvise(e->page, PAGE, MADV_DONTNEED), 0);
	}
	return write_and_check(e);
}

static int op_msync(struct env *e)
{
	fill(e->page, PAGE, SEED * 3);
	CHECK_ERRNO(msync(e->page, PAGE, MS_ASYNC), 0);
	CHECK_ERRNO(msync(e->page, PAGE, MS_SYNC), EINVAL);
	CHECK(program_sees(e, SEED * 3));
	return 0;
}

static int op_mincore(struct env *e)
{
	unsigned char in;

	CHECK_ERRNO(mincore(e->page, PAGE, &in), 0);
	CHECK_EQ(in & 1, 0);
	CHECK(verify(e->page, PAGE, SEED));
	CHECK_ERRNO(mincore(e->page, PAGE, &in), 0);
	CHECK_EQ(in & 1, 1);
	return 0;
}

static int op_move_pages(struct env *e)
{
	void *page = e->page;
	int status = -1, node = 0;

	CHECK(verify(e->page, PAGE, SEED));
	CHECK_ERRNO(syscall(__NR_move_pages, 0, 1, &page, NULL, &status, 0), 0);
	if (e->slab)
		CHECK_EQ(status, -ENOENT);
	else
		CHECK((node = status) >= 0);
	/* To where it is already */
	status = -1;
	CHECK_ERRNO(syscall(__NR_move_pages, 0, 1, &page, &node, &status, 2), 0);
	CHECK_EQ(status, e->slab ? -ENOENT : node);
	CHECK(program_sees(e, SEED));
	return 0;
}

/* The Rss, in kB, of the mapping that begins there; -1: there is none */
static long smaps_rss(const char *file, const void *base)
{
	unsigned long start, end;
	bool in = false;
	char line[512];
	long rss = -1;
	FILE *f = fopen(file, "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start == (unsigned long)base;
		else if (in && rss < 0)
			sscanf(line, "Rss: %ld", &rss);
	}
	fclose(f);
	return rss;
}

/* Rss is the sum of pages that have a map count */
static int op_smaps(struct env *e)
{
	CHECK(verify(e->page, PAGE, SEED));
	CHECK_EQ(smaps_rss("/proc/self/smaps", e->base), e->slab ? 0 : PAGE / 1024);
	return 0;
}

static int op_pagemap(struct env *e)
{
	__u64 entry, counts;
	int fd;

	CHECK(!is_mapped(e->page));
	CHECK(verify(e->page, PAGE, SEED));
	CHECK(is_mapped(e->page));
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	CHECK_EQ(pread(fd, &entry, 8, (__u64)e->page / PAGE * 8), 8);
	close(fd);
	/* Everything that can be had for the page */
	fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &counts, 8, (entry & ((1ULL << 55) - 1)) * 8), 8);
	close(fd);
	CHECK_EQ(counts, e->slab ? 0 : 1);
	/* Clears the accessed bit of all PTEs, and their soft-dirty bit */
	CHECK_EQ(write_text("/proc/self/clear_refs", "1"), 0);
	CHECK(verify(e->page, PAGE, SEED));
	return write_and_check(e);
}

/* ---- the mapping: there is no difference between pages ---- */

/* An address where there is place for the arena, and for nothing else */
static char *reserve(struct env *e)
{
	return mmap(NULL, e->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* All that was refused left the mapping as it was */
static int still_there(struct env *e)
{
	CHECK(verify(e->page, PAGE, SEED));
	CHECK_EQ(madvise(e->page, PAGE, MADV_DONTNEED), 0);
	CHECK(verify(e->page, PAGE, SEED));
	CHECK_EQ(store(e->page, SEED), 0);
	CHECK(program_sees(e, SEED));
	return 0;
}

static int op_munmap_part(struct env *e)
{
	CHECK(verify(e->page, PAGE, SEED));
	CHECK_ERRNO(munmap(e->page, PAGE), EINVAL);
	CHECK_ERRNO(munmap(e->base, e->size - PAGE), EINVAL);
	CHECK_ERRNO(munmap(e->base + PAGE, e->size - PAGE), EINVAL);
	/* The same by covering it */
	CHECK_ERRNO((long)mmap(e->page, PAGE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			       -1, 0), EINVAL);
	return still_there(e);
}

static int op_munmap(struct env *e)
{
	for (int i = 0; i < 3; i++) {
		CHECK(verify(e->page, PAGE, SEED));
		CHECK_ERRNO(munmap(e->base, e->size), 0);
		TRY(check_unreferenced(e));
		CHECK_EQ(load(e->page), SIGSEGV);
		CHECK(program_sees(e, SEED));
		CHECK(map_arena(e, PROT_RW) == e->base);
	}
	return still_there(e);
}

static int op_mmap_refused(struct env *e)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = BPF_F_RDONLY);
	int read_only = bpf_map_get_fd_by_id_opts(arena_id(e->obj), &opts);
	int fd = bpf_map__fd(bpf_object__find_map_by_name(e->obj, "arena"));
	char *elsewhere = reserve(e);

	/*
	 * Pages of one's own. Not with MAP_FIXED, as everything below that gets as far as
	 * arena_map_mmap(): by then mmap() has unmapped what was there.
	 */
	CHECK_ERRNO((long)mmap(e->base, e->size, PROT_RW, MAP_PRIVATE, fd, 0), EINVAL);
	/* A second address */
	CHECK_ERRNO(munmap(elsewhere, e->size), 0);
	CHECK_ERRNO((long)mmap(elsewhere, e->size, PROT_RW, MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			       0), EINVAL);
	CHECK_ERRNO((long)mmap(NULL, e->size, PROT_RW, MAP_SHARED, fd, 0), EINVAL);
	/* It is free to choose, and the place is taken */
	CHECK_ERRNO((long)mmap(e->base, e->size, PROT_RW, MAP_SHARED, fd, 0), EBUSY);
	/* A part */
	CHECK_ERRNO((long)mmap(e->base, e->size / 2, PROT_RW, MAP_SHARED | MAP_FIXED, fd, 0),
		    EINVAL);
	CHECK_ERRNO((long)mmap(e->base, e->size, PROT_RW, MAP_SHARED | MAP_FIXED, fd, PAGE),
		    EINVAL);
	CHECK_ERRNO((long)mmap(e->base, e->size, PROT_RW | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd,
			       0), EPERM);
	/* By a descriptor that is good for reading only */
	CHECK(read_only >= 0);
	CHECK_ERRNO((long)mmap(e->base, e->size, PROT_RW, MAP_SHARED | MAP_FIXED, read_only, 0),
		    EACCES);
	CHECK_ERRNO((long)mmap(e->base, e->size, PROT_READ, MAP_SHARED, read_only, 0), EINVAL);
	close(read_only);
	return still_there(e);
}

static int op_mremap(struct env *e)
{
	char *elsewhere = reserve(e);

	CHECK(verify(e->page, PAGE, SEED));
	/* Moved: all of it, a page of it, and so that the old place stays */
	CHECK_ERRNO((long)mremap(e->base, e->size, e->size, MREMAP_MAYMOVE | MREMAP_FIXED,
				 elsewhere), EINVAL);
	TRY(still_there(e));
	CHECK_ERRNO((long)mremap(e->page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere),
		    EINVAL);
	CHECK_ERRNO((long)mremap(e->base, e->size, e->size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP),
		    EINVAL);
	/* Made longer, or a second time */
	CHECK_ERRNO((long)mremap(e->base, e->size, 2 * e->size, MREMAP_MAYMOVE), EFAULT);
	CHECK_ERRNO((long)mremap(e->base, 0, e->size, MREMAP_MAYMOVE), EFAULT);
	/* Made shorter */
	CHECK_ERRNO((long)mremap(e->base, e->size, e->size / 2, 0), EINVAL);
	return still_there(e);
}

static int try_userfaultfd(struct env *e, __u64 features, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { (__u64)e->base, e->size },
		.mode = mode,
	};
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_ERRNO(ioctl(fd, UFFDIO_API, &api), 0);
	CHECK_ERRNO(ioctl(fd, UFFDIO_REGISTER, &reg), EINVAL);
	close(fd);
	return 0;
}

static int op_userfaultfd(struct env *e)
{
	CHECK(verify(e->page, PAGE, SEED));
	TRY(try_userfaultfd(e, 0, UFFDIO_REGISTER_MODE_MISSING));
	TRY(try_userfaultfd(e, 0, UFFDIO_REGISTER_MODE_WP));
	TRY(try_userfaultfd(e, 0, UFFDIO_REGISTER_MODE_MINOR));
	/* The one mode for any mapping that is not special: its markers outlive a zap */
	TRY(try_userfaultfd(e, UFFD_FEATURE_WP_ASYNC, UFFDIO_REGISTER_MODE_WP));
	return still_there(e);
}

/* ---- the list ---- */

#define SLAB(name, flags)						\
	static int test_##name(void)					\
	{								\
		return with_page(true, flags, op_##name);		\
	}
#define BOTH(name, flags)						\
	SLAB(name, flags)						\
	static int test_##name##_ordinary(void)				\
	{								\
		return with_page(false, flags, op_##name);		\
	}

BOTH(write, 0)
BOTH(read_then_write, 0)
BOTH(processes, 0)
SLAB(fork, 0)
BOTH(ptrace, 0)
BOTH(proc_mem, 0)
BOTH(proc_mem_readonly, 0)
BOTH(process_vm, 0)
BOTH(odirect_write, 0)
BOTH(odirect_read, 0)
BOTH(vmsplice, 0)
BOTH(io_uring_buffer, 0)
SLAB(large, 0)
BOTH(futex_shared, 0)
BOTH(futex_private, 0)
BOTH(buffered_io, 0)
BOTH(core_dump, 0)
BOTH(core_dump_default, 0)
BOTH(mlock, 0)
BOTH(mlockall, BPF_F_SEGV_ON_FAULT)
SLAB(mlockall_fills, 0)
SLAB(core_dump_fills, 0)
BOTH(mprotect, 0)
SLAB(mprotect_refused, 0)
BOTH(dontneed, 0)
BOTH(populate, 0)
BOTH(reclaim, 0)
BOTH(advice_refused, 0)
SLAB(advice_part, 0)
BOTH(msync, 0)
BOTH(mincore, 0)
BOTH(move_pages, 0)
BOTH(smaps, 0)
BOTH(pagemap, 0)
SLAB(munmap_part, 0)
SLAB(munmap, 0)
SLAB(mmap_refused, 0)
SLAB(mremap, 0)
SLAB(userfaultfd, 0)

/* ---- programs under the mmap_lock ---- */

static void *writer(void *arg)
{
	struct bpf_object *obj = arg;
	void *p;

	while (!__atomic_load_n(&VAR(obj, __u32, "has_lock"), __ATOMIC_ACQUIRE))
		;
	__atomic_store_n(&VAR(obj, __u32, "writer_comes"), 1, __ATOMIC_RELEASE);
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? "" : NULL;
}

static int free_under_lock(void)
{
	struct bpf_object *obj = load_image("share", PROGS("two_pages_at", "free_under_lock"));
	volatile char *p;
	void *failed;
	pthread_t t;

	if (!obj)
		return 1;
	CHECK_EQ(run_prog(obj, "two_pages_at"), 0);
	p = (volatile char *)VAR(obj, __u64, "objs");
	/* Mapped here, so that they have to be taken off */
	p[0] = p[PAGE] = 1;
	CHECK_EQ(pthread_create(&t, NULL, writer, obj), 0);
	CHECK_EQ(run_prog(obj, "free_under_lock"), 0);
	CHECK_EQ(VAR(obj, __u32, "freed"), 1);
	CHECK_EQ(pthread_join(t, &failed), 0);
	CHECK(!failed);
	/* They are gone, here as well, and can be had again */
	CHECK(WAIT_FOR(20, !run_prog(obj, "two_pages_at")));
	CHECK_EQ(VAR(obj, __u64, "objs"), (unsigned long)p);
	CHECK(!p[0] && !p[PAGE]);
	bpf_object__close(obj);
	return 0;
}

/* In a process that can be left behind */
static int test_free_under_mmap_lock(void)
{
	int status, err;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		err = free_under_lock();
		fflush(stdout);
		_exit(err);
	}
	if (!WAIT_FOR(30, waitpid(pid, &status, WNOHANG) == pid))
		return FAIL("a program and a writer wait for each other");
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

#define ONE(name, desc)		{ "mapping/" #name, desc, test_##name }
/* @is of a slab page, @control of an ordinary one */
#define TWO(name, is, control)						\
	ONE(name, is),							\
	{ "mapping/" #name "_ordinary", control, test_##name##_ordinary }
#define SAME(name, desc) TWO(name, desc, desc " (ordinary page)")

const struct test mapping_tests[] = {
	SAME(write, "a program sees what user space writes, by a fault and without"),
	SAME(read_then_write, "the PTE of a read fault can be written through"),
	SAME(processes, "five processes that map the arena hand the page on"),
	ONE(fork, "a child does not inherit the mapping"),
	SAME(ptrace, "PTRACE_PEEKDATA and PTRACE_POKEDATA work"),
	SAME(proc_mem, "/proc/self/mem reads and writes a page"),
	SAME(proc_mem_readonly, "/proc/self/mem does not write to a mapping that is for reading"),
	TWO(process_vm, "process_vm_readv() and process_vm_writev() fail with EFAULT",
	    "process_vm_readv() and process_vm_writev() work (ordinary page)"),
	TWO(odirect_write, "write() with O_DIRECT from an object fails with EEXIST",
	    "write() with O_DIRECT works (ordinary page)"),
	TWO(odirect_read, "read() with O_DIRECT into an object fails with EEXIST",
	    "read() with O_DIRECT works (ordinary page)"),
	TWO(vmsplice, "vmsplice() of an object fails with EEXIST",
	    "vmsplice() works (ordinary page)"),
	TWO(io_uring_buffer, "an object as registered buffer of io_uring fails with EEXIST",
	    "io_uring registers a buffer (ordinary page)"),
	ONE(large, "O_DIRECT and registered buffers work with objects of more than a page"),
	TWO(futex_shared, "a futex that is not private fails with EEXIST",
	    "a futex that is not private fails with EFAULT (ordinary page)"),
	SAME(futex_private, "threads of a process wait and wake by a private futex"),
	SAME(buffered_io, "read() and write() without O_DIRECT work"),
	TWO(core_dump, "a core dump has a hole of zeroes for a slab page, if it has the arena",
	    "a core dump has the content, if it has the arena (ordinary page)"),
	SAME(core_dump_default, "a core dump leaves the arena out if the filter is not changed"),
	SAME(mlock, "mlock() populates, and locks nothing"),
	SAME(mlockall, "mlockall() populates what programs allocated, with BPF_F_SEGV_ON_FAULT"),
	ONE(mlockall_fills, "mlockall() fills up the arena without BPF_F_SEGV_ON_FAULT"),
	ONE(core_dump_fills, "so does a core dump that has the arena"),
	SAME(mprotect, "the mapping can be made read-only, inaccessible, and writable again"),
	ONE(mprotect_refused, "mprotect() of a part and PROT_EXEC fail"),
	SAME(dontneed, "MADV_DONTNEED drops the PTE, the content stays"),
	SAME(populate, "MADV_POPULATE_READ and _WRITE make the PTE"),
	SAME(reclaim, "MADV_COLD and MADV_PAGEOUT change nothing"),
	SAME(advice_refused, "MADV_FREE, _REMOVE, _DOFORK, _COLLAPSE, _GUARD_INSTALL fail"),
	ONE(advice_part, "MADV_DONTDUMP, _SEQUENTIAL, _HUGEPAGE fail for a part of the arena"),
	SAME(msync, "msync() succeeds with MS_ASYNC, and fails with MS_SYNC"),
	SAME(mincore, "mincore() tells whether the PTE is there"),
	TWO(move_pages, "move_pages() does not find a slab page",
	    "move_pages() finds the node (ordinary page)"),
	TWO(smaps, "smaps does not count a slab page", "smaps counts an ordinary page"),
	SAME(pagemap, "pagemap, kpagecount and clear_refs work"),
	ONE(munmap_part, "munmap() of a part, or mmap() over it, fails"),
	ONE(munmap, "the arena can be unmapped and mapped again"),
	ONE(mmap_refused, "a private, second, shorter, executable mapping is refused"),
	ONE(mremap, "mremap() fails, and leaves the mapping as it was"),
	ONE(free_under_mmap_lock, "a program that has the mmap_lock frees pages of the process"),
	ONE(userfaultfd, "userfaultfd does not register the mapping, in any mode"),
	{}
};
