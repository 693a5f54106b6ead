/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of `arenaslab fuzz` that are no BPF program have in common. */
#ifndef FUZZ_USER_H
#define FUZZ_USER_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include "cmd.h"
#include "fuzz.h"
#include "test_util.h"

#define FUZZ_MAX_PAGES	256

/* Of one arena */
struct fuzz_shape {
	__u32 pages;
	__u64 start;
	bool segv;		/* BPF_F_SEGV_ON_FAULT */
};

struct fuzz_seq {
	struct fuzz_shape shape[FUZZ_ARENAS];
	bool two;		/* the boxes are done on two CPUs at the same time */
	int nr;
	struct fuzz_op op[FUZZ_MAX_OPS];
};

/* ---- fuzz_seq.c ---- */

void fuzz_draw_shapes(struct fuzz_shape *shape, __u64 *rng);
void fuzz_generate(struct fuzz_seq *seq, __u64 *rng);
void fuzz_mutate(struct fuzz_seq *seq, const struct fuzz_seq *other, __u64 *rng);
const char *fuzz_ctx_name(int ctx);
void fuzz_print_op(FILE *f, const struct fuzz_op *op);
void fuzz_print_seq(FILE *f, const struct fuzz_seq *seq);
/* 0, or the number of the line that is wrong, or -1 if there is no sequence in it */
int fuzz_parse_seq(FILE *f, struct fuzz_seq *seq);

/* ---- fuzz_model.c: what an arena has to be like ---- */

enum fuzz_kind {
	KIND_FREE,		/* no live object of ours: it may be an empty slab */
	KIND_ZERO,		/* the page at (u32)address 0, which nobody gets */
	KIND_RESERVED,
	KIND_PAGE,		/* of bpf_arena_alloc_pages() */
	KIND_SLAB,		/* with live objects */
	KIND_LARGE,
	KIND_TAIL,
};

struct fuzz_page {
	__u8 kind;
	bool maybe;		/* it may be an ordinary page, or is about to be freed */
	bool stale;		/* was something else a moment ago */
	bool pending;		/* a deferred bpf_arena_free_pages() comes by */
	__u32 room;		/* of its objects; of KIND_LARGE: bytes */
	__u32 live;
	__u64 bits[4];		/* which of them are live */
};

struct fuzz_model {
	struct fuzz_shape shape;
	bool hidden;		/* there are slabs without live objects */
	struct fuzz_page page[FUZZ_MAX_PAGES];
	__u8 byte[FUZZ_MAX_PAGES * FUZZ_PAGE];
	bool unsure[FUZZ_MAX_PAGES * FUZZ_PAGE];	/* of a live byte: not known */
};

void fuzz_model_init(struct fuzz_model *m, const struct fuzz_shape *shape);
/*
 * Is this the answer to that? @rejects is how many frees were refused by it, of each
 * kind. False with a text in fuzz_wrong if not.
 */
bool fuzz_model_result(struct fuzz_model *m, const struct fuzz_op *op,
		       const struct fuzz_res *res, const __u64 *rejects);
/* The same for an access of a process; @ok: there was a page */
bool fuzz_model_access(struct fuzz_model *m, __u32 off, bool write, bool ok, __u8 val);
/* Nothing is on its way any more, and pages that were unknown are free */
void fuzz_model_settle(struct fuzz_model *m);
/* Is it known what has to stand there? */
bool fuzz_byte_known(const struct fuzz_model *m, __u32 off);
bool fuzz_byte_live(const struct fuzz_model *m, __u32 off);
/* Pages that are neither free nor a slab, and slabs with live objects */
__u32 fuzz_model_pages(const struct fuzz_model *m);
__u32 fuzz_model_slabs(const struct fuzz_model *m);
/* What kind of an answer it was: something new is worth another look */
__u32 fuzz_signature(const struct fuzz_model *m, const struct fuzz_op *op,
		     const struct fuzz_res *res, const __u64 *rejects);

/* ---- fuzz_run.c: a session, sequences that are done in one pair of arenas ---- */

struct fuzz_session {
	unsigned long slow;	/* the kernel is so many times slower */
	bool print;		/* each sequence before it is done */
	bool silent;		/* say nothing of what is wrong but the one line */
	/* For who started it */
	volatile __u64 *progress, *ops;
	volatile __u64 *done;	/* operations in each context */
	struct fuzz_seq *now;	/* the sequence that is done */
};

/* Load programs, and make the arenas; an exit status */
int fuzz_begin(const struct fuzz_session *s, const struct fuzz_shape *shape);
/*
 * Do a sequence, compare, free everything. @thorough: ask sysfs, too. @leak: free
 * nothing. *@news is how many kinds of answers have not been seen before.
 */
bool fuzz_run_seq(const struct fuzz_seq *seq, bool thorough, bool leak, __u32 *news);
void fuzz_end(bool unmap);

/* ---- fuzz_kernel.c: what the kernel tells about itself ---- */

#define FUZZ_NR_CLASSES	11

struct fuzz_counts {
	bool found;
	unsigned long long id, pages;
	long long slabs_mapped, slabs_freed, large_allocs, large_frees;
	struct {
		__u32 size;
		long long allocs, frees;
	} class[FUZZ_NR_CLASSES];
	int nr_classes;
};

struct fuzz_counts fuzz_read_counts(__u32 map_id);
/* Objects in use of the cache of a class, -1 if there is none; shrinks it before */
long long fuzz_objects_in_use(unsigned long long arena_id, __u32 size);
int fuzz_count_caches(void);
/* False if the kernel complained since the last time */
bool fuzz_log_is_good(void);

extern char fuzz_wrong[256];
/* Returns false */
bool wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* FUZZ_USER_H */
