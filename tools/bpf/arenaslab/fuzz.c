// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab fuzz: random sequences of what programs and processes can do with an arena,
 * against a model of it.
 *
 *	supervisor	starts a process for each session, watches that it goes on, looks
 *			at what is left behind it, shortens a sequence that is wrong
 *	  session	loads programs with two arenas, does sequences (fuzz_run.c) that
 *			it draws (fuzz_seq.c) and judges (fuzz_model.c)
 *
 * A session draws from the seed and its own number, and mutates only its own sequences,
 * those with an answer that was new in it: so one session can be done again without the
 * others before it. It does the same as long as the kernel gives the same answers.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "bpf_util.h"
#include "fuzz_user.h"

#define CGROUP_ROOT	"/sys/fs/cgroup"
/* What a group may keep when its last process and arena are gone: per-CPU stocks */
#define GROUP_REST	(1LL << 20)
#define SESSION_SEQS	96
#define CORPUS		32
/* How long a sequence may take for what is done in a moment; the host may be busy, too */
#define HANG_SECONDS	120
/* How often a sequence that is wrong is done again, to find a shorter one */
#define SHRINK_TRIES	60
#define SHRINK_SECONDS	240
#define REPLAY_ROUNDS	8

static struct {
	double duration;
	unsigned long seed, session, slow;
	const char *replay;
} opt = { .duration = 60, .slow = 1 };

static struct shared {
	volatile __u64 progress, ops, news, mutants, leaks;
	volatile __u64 done[FUZZ_NR_CTX];
	volatile bool failed;
	volatile int seq_nr;
	char wrong[256];
	struct fuzz_seq now;
} *shared;

static char group[64];
static int caches_before;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	fflush(stdout);
}

/* ---- a session, in a process of its own ---- */

static struct fuzz_seq corpus[CORPUS];
static int nr_corpus;

static void draw_seq(struct fuzz_seq *seq, const struct fuzz_shape *shape, __u64 *rng)
{
	memset(seq, 0, sizeof(*seq));
	memcpy(seq->shape, shape, sizeof(seq->shape));
	if (!nr_corpus || draw(rng) >> 63) {
		fuzz_generate(seq, rng);
		return;
	}
	*seq = corpus[draw(rng) % nr_corpus];
	fuzz_mutate(seq, &corpus[draw(rng) % nr_corpus], rng);
	shared->mutants++;
}

static void keep_seq(const struct fuzz_seq *seq, __u64 *rng)
{
	corpus[nr_corpus < CORPUS ? nr_corpus++ : (int)(draw(rng) % CORPUS)] = *seq;
}

static void failed(void)
{
	memcpy(shared->wrong, fuzz_wrong, sizeof(shared->wrong));
	shared->failed = true;
	fflush(stdout);
	_exit(EXIT_FAILED);
}

static void tell_log(unsigned long nr)
{
	char line[96];

	/* Who finds a dead machine knows where to begin again */
	snprintf(line, sizeof(line), "<6>arenaslab fuzz: seed %lu session %lu", opt.seed, nr);
	write_text("/dev/kmsg", line);
}

/* @only: that sequence, @rounds times */
static void session(unsigned long nr, const struct fuzz_seq *only, int rounds)
{
	struct fuzz_session s = { .slow = opt.slow, .print = verbose && !only, .now = &shared->now,
				  .silent = only && !opt.replay, .progress = &shared->progress,
				  .ops = &shared->ops, .done = shared->done };
	__u64 rng = derive(opt.seed, nr), end_rng;
	struct fuzz_shape shape[FUZZ_ARENAS];
	struct fuzz_seq seq;
	bool leak, thorough;
	char path[96];
	__u32 news;
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (*group) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		write_text(path, "0");
	}
	tell_log(nr);
	fuzz_draw_shapes(shape, &rng);
	end_rng = draw(&rng);
	err = fuzz_begin(&s, only ? only->shape : shape);
	if (err)
		_exit(EXIT_USAGE);
	for (int i = 0; i < rounds; i++) {
		shared->seq_nr = i;
		if (only)
			seq = *only;
		else
			draw_seq(&seq, shape, &rng);
		/* Now and then it takes everything with it */
		leak = i == rounds - 1 && end_rng & 1;
		thorough = only || i % 4 == 3;
		if (!fuzz_run_seq(&seq, thorough, leak, &news))
			failed();
		if (news && !only)
			keep_seq(&seq, &rng);
		shared->news += news;
		shared->leaks += leak;
	}
	fuzz_end(end_rng & 2);
	fflush(stdout);
	_exit(0);
}

/* ---- the supervisor ---- */

static void make_group(void)
{
	char path[96];

	write_text(CGROUP_ROOT "/cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), CGROUP_ROOT "/fuzz-%d", getpid());
	snprintf(path, sizeof(path), "%s/memory.current", group);
	if (!mkdir(group, 0755) && read_number(path) >= 0)
		return;
	rmdir(group);
	*group = '\0';
}

static bool charge_is_gone(long long *rest)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/memory.current", group);
	*rest = read_number(path);
	return *rest < GROUP_REST;
}

static bool check_rest(void)
{
	long long rest = 0;
	bool ok = true;

	if (!WAIT_SLOW(30, opt.slow, fuzz_count_caches() <= caches_before))
		ok = wrong("%d caches of arenas are left behind",
			   fuzz_count_caches() - caches_before);
	if (*group) {
		if (!WAIT_SLOW(30, opt.slow, charge_is_gone(&rest)))
			ok = wrong("%lld bytes are still charged to the group", rest);
		WAIT_SLOW(5, opt.slow, !rmdir(group));
		*group = '\0';
	}
	return ok;
}

/* Wait for the process; false if it hangs */
static bool wait_session(pid_t pid, int *status, __u64 until)
{
	__u64 last = shared->progress, since = now_ns();

	while (!waitpid(pid, status, WNOHANG)) {
		usleep(10000);
		if (interrupted || (until && now_ns() > until)) {
			kill(pid, SIGKILL);
			waitpid(pid, status, 0);
			*status = 0;
			return true;
		}
		if (shared->progress != last) {
			last = shared->progress;
			since = now_ns();
		} else if (now_ns() - since > HANG_SECONDS * opt.slow * 1000000000ULL) {
			write_text("/proc/sysrq-trigger", "t");
			kill(pid, SIGKILL);
			waitpid(pid, status, 0);
			return false;
		}
	}
	return true;
}

/*
 * A session in a child, ended at @until if that is not 0, and what it left behind. True
 * if all is well, else shared->wrong says what is not. A session that is no use at all
 * ends the program.
 */
static bool spawn(unsigned long nr, const struct fuzz_seq *only, int rounds, __u64 until)
{
	int status = 0;
	bool hangs;
	pid_t pid;

	shared->failed = false;
	*fuzz_wrong = '\0';
	write_text("/sys/kernel/debug/clear_warn_once", "1");
	make_group();
	fflush(stdout);
	pid = fork();
	if (!pid)
		session(nr, only, rounds);
	hangs = !wait_session(pid, &status, until);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE)
		exit(EXIT_FAILED);
	if (shared->failed)
		memcpy(fuzz_wrong, shared->wrong, sizeof(fuzz_wrong));
	else if (hangs)
		wrong("no progress for %lu s", HANG_SECONDS * opt.slow);
	else if (WIFSIGNALED(status))
		wrong("the session died of signal %d", WTERMSIG(status));
	check_rest();
	if (!*fuzz_wrong)
		return true;
	memcpy(shared->wrong, fuzz_wrong, sizeof(shared->wrong));
	return false;
}

/* Shorten @seq as long as it is still wrong: ever smaller pieces are left out */
static void shrink(unsigned long nr, struct fuzz_seq *seq, char *text)
{
	__u64 end = now_ns() + SHRINK_SECONDS * opt.slow * 1000000000ULL;
	int tries = 0, rounds = seq->two ? REPLAY_ROUNDS : 2;
	struct fuzz_seq less;

	if (spawn(nr, seq, rounds, 0)) {
		say("it does not fail alone, do the session again: -s %lu -n %lu\n", opt.seed, nr);
		return;
	}
	memcpy(text, shared->wrong, sizeof(shared->wrong));
	for (int piece = seq->nr / 2; piece; piece /= 2) {
		for (int at = 0; at + piece <= seq->nr && seq->nr > piece;) {
			if (tries++ == SHRINK_TRIES || now_ns() > end || interrupted)
				return;
			less = *seq;
			less.nr -= piece;
			memmove(&less.op[at], &less.op[at + piece],
				(less.nr - at) * sizeof(less.op[0]));
			if (spawn(nr, &less, rounds, 0)) {
				at += piece;
				continue;
			}
			*seq = less;
			memcpy(text, shared->wrong, sizeof(shared->wrong));
		}
	}
}

static int report(unsigned long nr)
{
	struct fuzz_seq seq = shared->now;
	char text[sizeof(shared->wrong)];

	memcpy(text, shared->wrong, sizeof(text));
	say("FAIL: %s\n", text);
	say("seed %lu, session %lu, sequence %d, %d operations\n", opt.seed, nr, shared->seq_nr,
	    seq.nr);
	if (!opt.replay && seq.nr)
		shrink(nr, &seq, text);
	say("# arenaslab fuzz --replay FILE, with these lines in it:\n");
	say("# %s\n", text);
	fuzz_print_seq(stdout, &seq);
	finish_output();
	return EXIT_FAILED;
}

static int replay(void)
{
	FILE *f = fopen(opt.replay, "r");
	struct fuzz_seq seq;
	int line;

	if (!f)
		return fail("%s: %s", opt.replay, strerror(errno));
	line = fuzz_parse_seq(f, &seq);
	fclose(f);
	if (line > 0)
		return fail("%s: line %d is no operation", opt.replay, line);
	if (line)
		return fail("%s: there is no sequence in it", opt.replay);
	if (!spawn(0, &seq, REPLAY_ROUNDS, 0))
		return report(0);
	say("%d operations, %d times: nothing is wrong\nPASS\n", seq.nr, REPLAY_ROUNDS);
	return finish_output();
}

static int run(void)
{
	struct btf *btf;
	__u64 start, next;
	unsigned long nr;
	bool there;

	if (check_machine(FUZZ_PAGE))
		return EXIT_FAILED;
	btf = btf__load_vmlinux_btf();
	there = btf && btf__find_by_name_kind(btf, "bpf_arena_alloc", BTF_KIND_FUNC) > 0;
	btf__free(btf);
	if (!there)
		return fail("this kernel has no bpf_arena_alloc() or no BTF: it needs "
			    "CONFIG_SLAB_BPF_ARENA and CONFIG_DEBUG_INFO_BTF");
	shared = begin_test(sizeof(*shared));
	if (!shared)
		return EXIT_FAILED;
	caches_before = fuzz_count_caches();
	if (opt.replay)
		return replay();

	say("seed %lu, %g s\n", opt.seed, opt.duration);
	start = next = now_ns();
	for (nr = opt.session; !interrupted; nr++) {
		__u64 end = start + (__u64)(opt.duration * 1e9);

		if (!spawn(nr, NULL, SESSION_SEQS, end))
			return report(nr);
		if (now_ns() >= end)
			break;
		if (now_ns() - next < 5000000000ULL)
			continue;
		next = now_ns();
		say("%5llu s: session %lu, %llu sequences, %llu operations, %llu mutants\n",
		    (next - start) / 1000000000, nr, shared->progress, shared->ops,
		    shared->mutants);
	}
	if (!shared->progress)
		return fail("not one sequence was done in %g s", opt.duration);
	for (int i = 0; i < FUZZ_NR_CTX; i++)
		say("%10llu operations: %s\n", shared->done[i], fuzz_ctx_name(i));
	say("%llu sequences in %lu sessions, %llu operations, %llu mutants, %llu answers that "
	    "were new, %llu arenas with leaks\nseed %lu\nPASS\n", shared->progress,
	    nr - opt.session + 1, shared->ops, shared->mutants, shared->news, shared->leaks,
	    opt.seed);
	return finish_output();
}

int cmd_fuzz(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "duration", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 's' },
		{ "session", required_argument, NULL, 'n' },
		{ "replay", required_argument, NULL, 'r' },
		{ "slow", required_argument, NULL, 'x' },
		{ "verbose", no_argument, NULL, 'v' },
		{}
	};
	int c;

	opt.seed = random_seed();
	while ((c = next_option(argc, argv, ":d:s:n:r:x:v", longopts)) > 0) {
		switch (c) {
		case 'd':
			if (!option_seconds(c, &opt.duration))
				return EXIT_USAGE;
			break;
		case 's':
			if (!option_number(c, 0, ~0UL, "not a number", &opt.seed))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!option_number(c, 0, ~0UL, "not a number", &opt.session))
				return EXIT_USAGE;
			break;
		case 'r':
			opt.replay = optarg;
			break;
		case 'x':
			if (!option_slow(c, &opt.slow))
				return EXIT_USAGE;
			break;
		}
	}
	if (c)
		return EXIT_USAGE;
	return run();
}
