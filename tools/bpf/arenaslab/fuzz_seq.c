// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab fuzz: sequences of operations, drawn, mutated, written and read.
 *
 * As text a sequence is a line for each arena and one for each operation:
 *
 *	arena 0 pages=64 start=0x100000000000 segv=1
 *	arena 1 pages=16 start=0x100180000000 segv=0
 *	alloc ctx=rcu dst=3 size=100
 *	free ctx=irq at=reg3 off=8
 *
 * What is 0 or the default need not be there. A line "two" means that the boxes are done
 * on two CPUs at the same time; lines that begin with # are for people.
 */
#include <stdlib.h>
#include <string.h>
#include "fuzz_user.h"

static const char *const codes[FUZZ_NR_CODES] = {
	[FUZZ_ALLOC] = "alloc",
	[FUZZ_FREE] = "free",
	[FUZZ_ALLOC_PAGES] = "alloc_pages",
	[FUZZ_FREE_PAGES] = "free_pages",
	[FUZZ_RESERVE] = "reserve",
	[FUZZ_LOAD] = "load",
	[FUZZ_STORE] = "store",
	[FUZZ_ATOMIC] = "atomic",
	[FUZZ_TOUCH] = "touch",
	[FUZZ_POKE] = "poke",
	[FUZZ_REMAP] = "remap",
	[FUZZ_DONTNEED] = "dontneed",
	[FUZZ_FORK] = "fork",
	[FUZZ_MEM] = "mem",
	[FUZZ_SHRINK] = "shrink",
	[FUZZ_DROP] = "drop_caches",
	[FUZZ_PLUG] = "plug",
	[FUZZ_SYNC] = "sync",
};

static const char *const contexts[FUZZ_NR_CTX] = {
	[FUZZ_SLEEP] = "sleep",
	[FUZZ_RCU] = "rcu",
	[FUZZ_PREEMPT] = "preempt",
	[FUZZ_IRQ] = "irq",
	[FUZZ_LOCK] = "lock",
	[FUZZ_RES_LOCK] = "res_lock",
	[FUZZ_AT_RANGE] = "range_tree_clear",
	[FUZZ_AT_MAP] = "bpf_arena_slab_map",
	[FUZZ_AT_FREE] = "__slab_free",
	[FUZZ_AT_PAGE] = "mm_page_alloc",
	[FUZZ_TIMER] = "timer",
};

static const char *const bases[FUZZ_NR_BASES] = {
	[FUZZ_REG] = "reg",
	[FUZZ_OTHER] = "other",
	[FUZZ_START] = "start",
	[FUZZ_END] = "end",
	[FUZZ_FOREIGN] = "foreign",
	[FUZZ_ABS] = "abs",
	[FUZZ_STACK] = "stack",
	[FUZZ_VALUE] = "value",
};

/* ---- drawing ---- */

/* Less than @n */
static __u32 below(__u64 *rng, __u32 n)
{
	return (draw(rng) >> 32) * n >> 32;
}

static bool one_of(__u64 *rng, __u32 n)
{
	return !below(rng, n);
}

#define PICK(rng, array) ((array)[below(rng, ARRAY_SIZE(array))])

/* The lower halves of their addresses do not overlap */
void fuzz_draw_shapes(struct fuzz_shape *shape, __u64 *rng)
{
	static const __u32 pages[] = { 1, 2, 8, 16, 16, 64, 64, 128, 256 };
	static const __u64 start[] = { 0, 1U << 20, 1U << 31, 1ULL << 32 };

	for (int i = 0; i < FUZZ_ARENAS; i++) {
		struct fuzz_shape *s = &shape[i];

		s->pages = PICK(rng, pages);
		s->segv = one_of(rng, 2);
		/* One of two near 0, where 32 bits begin and end; the other one elsewhere */
		s->start = i ? start[1 + below(rng, 2)] : start[3 * below(rng, 2)];
		if (s->start == 1ULL << 32)
			s->start -= s->pages * FUZZ_PAGE;
		s->start += (1ULL << 44) + ((__u64)i << 32);
	}
}

static __u32 draw_size(__u64 *rng, __u32 pages)
{
	static const __u32 sizes[] = { 0, 1, 3, 8, 15, 16, 17, 32, 33, 64, 65, 96, 97, 128, 129,
		192, 193, 255, 256, 257, 512, 513, 1024, 1025, 2048, 2049, 4095, 4096 };
	static const __u32 large[] = { 4097, 8191, 8192, 8193, 12288, 20000, 65536 };
	static const __u32 huge[] = { 0x7fffffff, 0x80000000, 0xfffff000, 0xfffff001, 0xffffffff };

	switch (below(rng, 32)) {
	case 0:
		return PICK(rng, huge);
	case 1:
		return pages * FUZZ_PAGE - below(rng, 3) * FUZZ_PAGE + below(rng, 3) - 1;
	case 2 ... 4:
		return PICK(rng, large);
	case 5 ... 12:
		return 1 + below(rng, FUZZ_PAGE);
	default:
		return PICK(rng, sizes);
	}
}

static __u32 draw_count(__u64 *rng, __u32 pages)
{
	static const __u32 counts[] = { 0, 0x100000, 0xfffff, 0x80000000, 0xffffffff };

	switch (below(rng, 16)) {
	case 0:
		return PICK(rng, counts);
	case 1:
		return pages + below(rng, 3) - 1;
	case 2:
		return 1 + below(rng, pages);
	case 3 ... 6:
		return 2 + below(rng, 6);
	default:
		return 1;
	}
}

static __s64 draw_offset(__u64 *rng)
{
	static const __s64 offsets[] = { 1, 7, 8, 15, 16, 17, 24, 32, 48, 63, 64, 96, 128, 192, 256,
		512, 1024, 2048, 4032, 4064, 4080, 4095, 4096, 4097, 8192, -1, -8, -16, -32, -64,
		-96, -4095, -4096, -8192 };

	if (one_of(rng, 8))
		return below(rng, 2 * FUZZ_PAGE);
	return PICK(rng, offsets);
}

/* Where there may be something: @exact is for what is freed for good, mostly */
static void draw_pointer(struct fuzz_op *op, __u64 *rng, __u32 pages, bool exact, bool two)
{
	static const __u64 high[] = { 1ULL << 32, ~0ULL << 32, 0x5a5a5a5a00000000ULL, 1ULL << 63 };

	op->reg = below(rng, FUZZ_REGS);
	switch (below(rng, 32)) {
	case 0 ... 5:
		op->base = FUZZ_START;
		op->off = below(rng, pages) * FUZZ_PAGE;
		break;
	case 6:
		op->base = FUZZ_END;
		op->off = -(__s64)below(rng, 3) * (__s64)FUZZ_PAGE;
		break;
	case 7:
		op->base = FUZZ_FOREIGN;
		op->off = below(rng, 4) * FUZZ_PAGE;
		break;
	case 8:
		op->base = one_of(rng, 2) ? FUZZ_STACK : FUZZ_VALUE;
		break;
	case 9:
		op->base = FUZZ_ABS;
		op->off = one_of(rng, 2) ? 0 : draw(rng);
		break;
	default:
		op->base = FUZZ_REG;
	}
	/* On two CPUs what one has is the other one's to free */
	if (two && op->base == FUZZ_REG && one_of(rng, 3))
		op->base = FUZZ_OTHER;
	if (one_of(rng, exact ? 6 : 2))
		op->off += draw_offset(rng);
	if (one_of(rng, 16))
		op->high = PICK(rng, high);
}

static __u8 draw_ctx(__u64 *rng)
{
	static const __u8 others[] = { FUZZ_RCU, FUZZ_RCU, FUZZ_PREEMPT, FUZZ_IRQ, FUZZ_LOCK,
		FUZZ_RES_LOCK, FUZZ_AT_RANGE, FUZZ_AT_MAP, FUZZ_AT_FREE, FUZZ_AT_PAGE };

	return one_of(rng, 2) ? FUZZ_SLEEP : PICK(rng, others);
}

static __u8 draw_code(__u64 *rng)
{
	static const __u8 cheap[] = { FUZZ_TOUCH, FUZZ_TOUCH, FUZZ_POKE, FUZZ_POKE, FUZZ_MEM,
		FUZZ_REMAP, FUZZ_DONTNEED, FUZZ_SYNC };
	static const __u8 dear[] = { FUZZ_FORK, FUZZ_SHRINK, FUZZ_SHRINK, FUZZ_DROP };

	switch (below(rng, 64)) {
	case 0 ... 25:
		return FUZZ_ALLOC;
	case 26 ... 43:
		return FUZZ_FREE;
	case 44 ... 46:
		return FUZZ_ALLOC_PAGES;
	case 47 ... 50:
		return FUZZ_FREE_PAGES;
	case 51:
		return FUZZ_RESERVE;
	case 52 ... 54:
		return FUZZ_LOAD;
	case 55 ... 57:
		return FUZZ_STORE;
	case 58:
		return FUZZ_ATOMIC;
	case 59:
		return one_of(rng, 512) ? FUZZ_PLUG : PICK(rng, dear);
	default:
		return PICK(rng, cheap);
	}
}

static void draw_op(struct fuzz_seq *seq, struct fuzz_op *op, __u64 *rng)
{
	static const int nodes[] = { -1, -1, -1, -1, 0, 1, 64, 0x7fffffff, -2 };
	__u32 pages;

	memset(op, 0, sizeof(*op));
	op->arena = one_of(rng, 4);
	pages = seq->shape[op->arena].pages;
	op->code = draw_code(rng);
	op->ctx = draw_ctx(rng);
	op->dst = below(rng, FUZZ_REGS);
	op->node = -1;
	switch (op->code) {
	case FUZZ_ALLOC:
		op->size = draw_size(rng, pages);
		op->base = FUZZ_ABS;
		break;
	case FUZZ_ALLOC_PAGES:
		op->size = draw_count(rng, pages);
		op->node = PICK(rng, nodes);
		op->val = one_of(rng, 16) ? draw(rng) : 0;
		op->base = FUZZ_ABS;
		if (!one_of(rng, 3))
			break;
		draw_pointer(op, rng, pages, true, seq->two);
		break;
	case FUZZ_FREE_PAGES:
	case FUZZ_RESERVE:
		op->size = draw_count(rng, pages);
		draw_pointer(op, rng, pages, true, seq->two);
		break;
	case FUZZ_FREE:
		draw_pointer(op, rng, pages, true, seq->two);
		break;
	case FUZZ_LOAD:
	case FUZZ_STORE:
	case FUZZ_ATOMIC:
		op->width = 1U << below(rng, 4);
		op->val = op->code == FUZZ_LOAD ? 0 : draw(rng) & FUZZ_BYTES;
		draw_pointer(op, rng, pages, false, seq->two);
		break;
	case FUZZ_POKE:
		op->val = draw(rng) & 0x7f;
		draw_pointer(op, rng, pages, false, seq->two);
		break;
	case FUZZ_TOUCH:
	case FUZZ_MEM:
	case FUZZ_FORK:
	case FUZZ_DONTNEED:
		draw_pointer(op, rng, pages, false, seq->two);
		break;
	default:
		op->base = FUZZ_ABS;
	}
	if (op->code >= FUZZ_FIRST_USER)
		op->ctx = FUZZ_SLEEP;
	if (!seq->two)
		return;
	op->box = one_of(rng, 2);
	if (op->code < FUZZ_LOAD && one_of(rng, 8))
		op->ctx = FUZZ_TIMER;
}

/* Mostly one class: pages that are full and pages that become empty need many objects */
static void make_same_size(struct fuzz_seq *seq, __u64 *rng)
{
	__u32 size = draw_size(rng, seq->shape[0].pages);

	for (int i = 0; i < seq->nr; i++) {
		if (seq->op[i].code == FUZZ_ALLOC && !one_of(rng, 4))
			seq->op[i].size = size;
	}
}

void fuzz_generate(struct fuzz_seq *seq, __u64 *rng)
{
	seq->two = one_of(rng, 6);
	seq->nr = 8 + below(rng, FUZZ_MAX_OPS - 8);
	for (int i = 0; i < seq->nr; i++)
		draw_op(seq, &seq->op[i], rng);
	if (one_of(rng, 2))
		make_same_size(seq, rng);
}

static void insert_op(struct fuzz_seq *seq, int at, const struct fuzz_op *op)
{
	if (seq->nr == FUZZ_MAX_OPS)
		return;
	memmove(&seq->op[at + 1], &seq->op[at], (seq->nr++ - at) * sizeof(*op));
	seq->op[at] = *op;
}

void fuzz_mutate(struct fuzz_seq *seq, const struct fuzz_seq *other, __u64 *rng)
{
	struct fuzz_op op;
	int at, nr;

	for (int n = 1 + below(rng, 8); n; n--) {
		at = below(rng, seq->nr);
		switch (below(rng, 8)) {
		case 0:
			if (seq->nr > 1)
				memmove(&seq->op[at], &seq->op[at + 1],
					(--seq->nr - at) * sizeof(op));
			break;
		case 1:
			/* The same once more, a double free say */
			op = seq->op[at];
			insert_op(seq, at + 1, &op);
			break;
		case 2:
			seq->op[at].ctx = seq->op[at].code < FUZZ_FIRST_USER ? draw_ctx(rng) :
									       FUZZ_SLEEP;
			break;
		case 3:
			seq->op[at].off += draw_offset(rng);
			break;
		case 4:
			if (other->two == seq->two) {
				nr = 1 + below(rng, 16);
				for (int i = below(rng, other->nr); nr-- && i < other->nr; i++)
					insert_op(seq, at++, &other->op[i]);
			}
			break;
		case 5:
			seq->op[at].reg = below(rng, FUZZ_REGS);
			break;
		default:
			draw_op(seq, &op, rng);
			insert_op(seq, at, &op);
		}
	}
}

/* ---- as text ---- */

const char *fuzz_ctx_name(int ctx)
{
	return contexts[ctx];
}

void fuzz_print_op(FILE *f, const struct fuzz_op *op)
{
	fputs(codes[op->code], f);
	if (op->arena)
		fprintf(f, " arena=%u", op->arena);
	if (op->box)
		fprintf(f, " box=%u", op->box);
	if (op->ctx)
		fprintf(f, " ctx=%s", contexts[op->ctx]);
	if (op->code == FUZZ_ALLOC || op->code == FUZZ_ALLOC_PAGES)
		fprintf(f, " dst=%u", op->dst);
	if (op->base == FUZZ_REG || op->base == FUZZ_OTHER)
		fprintf(f, " at=%s%u", bases[op->base], op->reg);
	else if (op->base != FUZZ_ABS || op->off || op->high)
		fprintf(f, " at=%s", bases[op->base]);
	if (op->off)
		fprintf(f, " off=%lld", op->off);
	if (op->high)
		fprintf(f, " high=%#llx", op->high);
	if (op->size)
		fprintf(f, " size=%u", op->size);
	if (op->node != -1)
		fprintf(f, " node=%d", op->node);
	if (op->width)
		fprintf(f, " width=%u", op->width);
	if (op->val)
		fprintf(f, " val=%#llx", op->val);
	fputc('\n', f);
}

void fuzz_print_seq(FILE *f, const struct fuzz_seq *seq)
{
	for (int i = 0; i < FUZZ_ARENAS; i++)
		fprintf(f, "arena %d pages=%u start=%#llx segv=%d\n", i, seq->shape[i].pages,
			seq->shape[i].start, seq->shape[i].segv);
	if (seq->two)
		fputs("two\n", f);
	for (int i = 0; i < seq->nr; i++)
		fuzz_print_op(f, &seq->op[i]);
}

static int find_word(const char *const *words, int nr, const char *word)
{
	for (int i = 0; i < nr; i++) {
		if (!strcmp(words[i], word))
			return i;
	}
	return -1;
}

static bool parse_at(struct fuzz_op *op, const char *word)
{
	size_t len = strcspn(word, "0123456789");
	char name[16];
	int base;

	if (len >= sizeof(name))
		return false;
	memcpy(name, word, len);
	name[len] = '\0';
	base = find_word(bases, FUZZ_NR_BASES, name);
	if (base < 0)
		return false;
	op->base = base;
	op->reg = atoi(word + len);
	return op->reg < FUZZ_REGS;
}

static bool parse_value(struct fuzz_op *op, const char *key, const char *word)
{
	bool signed_word = *word == '-';
	char *end;
	__u64 val;

	if (!strcmp(key, "at"))
		return parse_at(op, word);
	if (!strcmp(key, "ctx")) {
		int ctx = find_word(contexts, FUZZ_NR_CTX, word);

		op->ctx = ctx;
		return ctx >= 0;
	}
	val = signed_word ? (__u64)strtoll(word, &end, 0) : strtoull(word, &end, 0);
	if (end == word || *end)
		return false;
	if (!strcmp(key, "arena"))
		op->arena = val;
	else if (!strcmp(key, "box"))
		op->box = val;
	else if (!strcmp(key, "dst"))
		op->dst = val;
	else if (!strcmp(key, "off"))
		op->off = val;
	else if (!strcmp(key, "high"))
		op->high = val;
	else if (!strcmp(key, "size"))
		op->size = val;
	else if (!strcmp(key, "node"))
		op->node = val;
	else if (!strcmp(key, "width"))
		op->width = val;
	else if (!strcmp(key, "val"))
		op->val = val;
	else
		return false;
	return op->arena < FUZZ_ARENAS && op->box < FUZZ_BOXES && op->dst < FUZZ_REGS;
}

static bool parse_op(struct fuzz_seq *seq, char *line)
{
	struct fuzz_op *op = &seq->op[seq->nr];
	char *word = strtok(line, " \t"), *value;
	int code = find_word(codes, FUZZ_NR_CODES, word);

	if (code < 0 || seq->nr == FUZZ_MAX_OPS)
		return false;
	*op = (struct fuzz_op){ .code = code, .base = FUZZ_ABS, .node = -1 };
	while ((word = strtok(NULL, " \t"))) {
		value = strchr(word, '=');
		if (!value)
			return false;
		*value++ = '\0';
		if (!parse_value(op, word, value))
			return false;
	}
	seq->nr++;
	return true;
}

static bool parse_arena(struct fuzz_seq *seq, const char *line)
{
	struct fuzz_shape s;
	__u32 segv;
	int i;

	if (sscanf(line, "arena %d pages=%u start=%llx segv=%u", &i, &s.pages, &s.start,
		   &segv) != 4)
		return false;
	if (i < 0 || i >= FUZZ_ARENAS || !s.pages || s.pages > FUZZ_MAX_PAGES || segv > 1 ||
	    s.start % FUZZ_PAGE || !s.start)
		return false;
	s.segv = segv;
	seq->shape[i] = s;
	return true;
}

int fuzz_parse_seq(FILE *f, struct fuzz_seq *seq)
{
	char line[512];
	bool ok;

	memset(seq, 0, sizeof(*seq));
	for (int nr = 1; fgets(line, sizeof(line), f); nr++) {
		line[strcspn(line, "\r\n")] = '\0';
		if (!line[strspn(line, " \t")] || *line == '#')
			continue;
		if (!strcmp(line, "two")) {
			seq->two = true;
			continue;
		}
		ok = strncmp(line, "arena ", 6) ? parse_op(seq, line) : parse_arena(seq, line);
		if (!ok)
			return nr;
	}
	return seq->nr && seq->shape[0].pages && seq->shape[1].pages ? 0 : -1;
}
