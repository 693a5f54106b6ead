// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab fuzz: what an arena has to be like, and which answers are right.
 *
 * Of a page it is known what it is: nothing, reserved, an ordinary page, a slab with
 * live objects of a class, part of a large object. Of each live byte it is known what
 * it has to be. What is not known is said so, and then nothing is expected:
 *
 *	an empty slab		its page is KIND_FREE here, and a slab's for SLUB, until
 *				it is given back; another class may get it
 *	a deferred free		bpf_arena_free_pages() by who may not sleep: each page
 *				of the range may be freed at any later moment, and so may
 *				an ordinary page that comes there before (@maybe)
 *	a user fault		where there was nothing it makes a page, or finds an
 *				empty slab (@maybe)
 *	a store that is cut off	if it begins in a page that is there and ends in one that
 *				is not, or the reverse (@unsure)
 *
 * A program that touches what is not there leaves no trace: its access has an exception
 * table entry, and the scratch page is only for what kfuncs do on behalf of it.
 *
 * fuzz_model_settle() is for the moment when all of that is over.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "fuzz_user.h"

/* The kernel's counters, in the order of fuzz_res.before */
enum { NO_OBJECT, INTERIOR, NOT_LIVE, KERNELS, NR_REJECTS };

/* An allocation that may sleep has to succeed with so many pages left */
#define ENOUGH	4

char fuzz_wrong[256];

bool wrong(const char *fmt, ...)
{
	va_list args;

	/* The first one is what it is about */
	if (*fuzz_wrong)
		return false;
	va_start(args, fmt);
	vsnprintf(fuzz_wrong, sizeof(fuzz_wrong), fmt, args);
	va_end(args);
	return false;
}

void fuzz_model_init(struct fuzz_model *m, const struct fuzz_shape *shape)
{
	/* It may be the model's own */
	struct fuzz_shape s = *shape;

	memset(m, 0, sizeof(*m));
	m->shape = s;
	if (!(__u32)s.start)
		m->page[0].kind = KIND_ZERO;
}

static __u32 offset_of(const struct fuzz_model *m, __u64 addr)
{
	return (__u32)(addr - m->shape.start);
}

/* Only what is in the arena has one */
static struct fuzz_page *page_of(struct fuzz_model *m, __u64 addr)
{
	__u32 n = offset_of(m, addr) >> FUZZ_PAGE_SHIFT;

	return n < m->shape.pages ? &m->page[n] : NULL;
}

static bool object_live(const struct fuzz_page *p, __u32 n)
{
	return n < FUZZ_PAGE / p->room && p->bits[n / 64] >> n % 64 & 1;
}

static bool page_is_sure(const struct fuzz_page *p)
{
	switch (p->kind) {
	case KIND_SLAB:
	case KIND_LARGE:
	case KIND_TAIL:
		return true;
	case KIND_ZERO:
		return true;
	case KIND_PAGE:
	case KIND_RESERVED:
		return !p->maybe;
	}
	return false;
}

bool fuzz_byte_live(const struct fuzz_model *m, __u32 off)
{
	const struct fuzz_page *p = &m->page[off >> FUZZ_PAGE_SHIFT];

	if (off >> FUZZ_PAGE_SHIFT >= m->shape.pages)
		return false;
	switch (p->kind) {
	case KIND_PAGE:
		return !p->maybe;
	case KIND_LARGE:
	case KIND_TAIL:
		return true;
	case KIND_SLAB:
		return object_live(p, (off & (FUZZ_PAGE - 1)) / p->room);
	}
	return false;
}

bool fuzz_byte_known(const struct fuzz_model *m, __u32 off)
{
	return fuzz_byte_live(m, off) && !m->unsure[off];
}

__u32 fuzz_model_pages(const struct fuzz_model *m)
{
	__u32 nr = 0;

	for (__u32 i = 0; i < m->shape.pages; i++) {
		switch (m->page[i].kind) {
		case KIND_PAGE:
		case KIND_LARGE:
		case KIND_TAIL:
			nr++;
		}
	}
	return nr;
}

__u32 fuzz_model_slabs(const struct fuzz_model *m)
{
	__u32 nr = 0;

	for (__u32 i = 0; i < m->shape.pages; i++)
		nr += m->page[i].kind == KIND_SLAB;
	return nr;
}

/* Pages that somebody who may sleep can get for sure, if there are @slabs */
static long pages_left(const struct fuzz_model *m, __u64 slabs)
{
	long nr = 0;

	for (__u32 i = 0; i < m->shape.pages; i++) {
		const struct fuzz_page *p = &m->page[i];

		nr += p->kind == KIND_FREE && !p->maybe && !p->stale;
	}
	return nr - (long)(slabs - fuzz_model_slabs(m));
}

static void set_free(struct fuzz_page *p)
{
	*p = (struct fuzz_page){ .kind = KIND_FREE, .pending = p->pending, .stale = true };
}

/* What look_and_fill() of the programs has written */
static void fill_bytes(struct fuzz_model *m, __u64 addr, __u32 room)
{
	__u32 off = offset_of(m, addr), words = fuzz_fill_words(room);

	memset(&m->byte[off], 0, room);
	memset(&m->unsure[off], 0, room);
	for (__u32 page = 0; page < (room + FUZZ_PAGE - 1) >> FUZZ_PAGE_SHIFT; page++) {
		__u64 start = addr + page * FUZZ_PAGE;
		__u32 n = room < FUZZ_PAGE ? room / 8 : words;

		for (__u32 i = 0; i < n; i++) {
			__u64 val = FUZZ_PATTERN(start, i);

			memcpy(&m->byte[off + page * FUZZ_PAGE + 8 * i], &val, 8);
		}
	}
}

/* ---- allocations ---- */

static const char *kind_name(const struct fuzz_page *p)
{
	static const char *const names[] = {
		[KIND_FREE] = "free", [KIND_ZERO] = "NULL for programs", [KIND_RESERVED] = "reserved",
		[KIND_PAGE] = "an ordinary page", [KIND_SLAB] = "a slab with live objects",
		[KIND_LARGE] = "a large object", [KIND_TAIL] = "part of a large object",
	};

	return names[p->kind];
}

/* Something new is at [@addr, @addr + @room); is there place for it? */
static bool check_place(struct fuzz_model *m, __u64 addr, __u32 room)
{
	__u32 off = offset_of(m, addr);

	if (addr < m->shape.start || off > m->shape.pages * FUZZ_PAGE ||
	    room > m->shape.pages * FUZZ_PAGE - off)
		return wrong("%#llx is not inside of the arena", addr);
	for (__u32 n = off >> FUZZ_PAGE_SHIFT; n <= (off + room - 1) >> FUZZ_PAGE_SHIFT; n++) {
		struct fuzz_page *p = &m->page[n];

		if (p->kind == KIND_SLAB && room < FUZZ_PAGE && p->room == room)
			continue;
		if (page_is_sure(p))
			return wrong("%#llx was given out, where page %u is %s", addr, n,
				     kind_name(p));
	}
	return true;
}

static bool add_object(struct fuzz_model *m, __u64 addr, __u32 room)
{
	__u32 in_page = addr & (FUZZ_PAGE - 1), n = in_page / room;
	struct fuzz_page *p = page_of(m, addr);

	if (in_page % room || n >= FUZZ_PAGE / room)
		return wrong("%#llx is not aligned to its size, %u", addr, room);
	if (!check_place(m, addr, room))
		return false;
	if (p->kind == KIND_SLAB && object_live(p, n))
		return wrong("%#llx was given out although it is live", addr);
	if (p->kind != KIND_SLAB)
		*p = (struct fuzz_page){ .kind = KIND_SLAB, .room = room, .pending = p->pending };
	p->bits[n / 64] |= 1ULL << n % 64;
	p->live++;
	return true;
}

static bool add_pages(struct fuzz_model *m, __u64 addr, __u32 nr, int kind)
{
	__u32 first = offset_of(m, addr) >> FUZZ_PAGE_SHIFT;

	if (addr & (FUZZ_PAGE - 1))
		return wrong("%#llx is not the start of a page", addr);
	if (!check_place(m, addr, nr * FUZZ_PAGE))
		return false;
	for (__u32 i = first; i < first + nr; i++) {
		struct fuzz_page *p = &m->page[i];

		*p = (struct fuzz_page){ .kind = kind, .pending = p->pending,
					 .room = nr * FUZZ_PAGE };
		if (kind == KIND_LARGE)
			kind = KIND_TAIL;
		/* Whoever comes by later takes it for what he was asked to free */
		if (kind == KIND_PAGE)
			p->maybe = p->pending;
	}
	return true;
}

/* Did nobody have to fail? @slabs: that were there before */
static bool check_null(struct fuzz_model *m, const struct fuzz_op *op, __u64 slabs)
{
	long left = pages_left(m, slabs);

	if (op->ctx != FUZZ_SLEEP || left < ENOUGH)
		return true;
	return wrong("NULL although %ld pages are free", left);
}

static bool check_alloc(struct fuzz_model *m, const struct fuzz_op *op, const struct fuzz_res *res)
{
	__u64 addr = res->ret;
	__u32 room;

	if (!op->size || op->size > m->shape.pages * FUZZ_PAGE)
		return !addr || wrong("%#llx was given out for an impossible size", addr);
	room = fuzz_room(op->size);
	if (!addr)
		return op->size > FUZZ_PAGE || check_null(m, op, res->slabs);
	if (res->dirty)
		return wrong("%#llx is not zero at %#llx", addr, res->dirty - 1);
	if (op->size > FUZZ_PAGE ? !add_pages(m, addr, room >> FUZZ_PAGE_SHIFT, KIND_LARGE) :
				   !add_object(m, addr, room))
		return false;
	fill_bytes(m, addr, room);
	return true;
}

static bool check_alloc_pages(struct fuzz_model *m, const struct fuzz_op *op,
			      const struct fuzz_res *res)
{
	__u32 pgoff = offset_of(m, res->addr) >> FUZZ_PAGE_SHIFT;
	bool possible = op->size && op->size <= m->shape.pages && !op->val &&
			(op->node == -1 || !op->node);

	if (res->addr)
		possible = possible && !(res->addr & (FUZZ_PAGE - 1)) &&
			   pgoff <= m->shape.pages - op->size;
	if (!res->ret)
		return !possible || res->addr || op->size > 1 || check_null(m, op, res->slabs);
	if (!possible)
		return wrong("%#llx was given out for impossible arguments", res->ret);
	if (res->addr && offset_of(m, res->ret) >> FUZZ_PAGE_SHIFT != pgoff)
		return wrong("%#llx was given out, and not %#llx", res->ret, res->addr);
	if (res->dirty)
		return wrong("%#llx is not zero at %#llx", res->ret, res->dirty - 1);
	if (!add_pages(m, res->ret, op->size, KIND_PAGE))
		return false;
	fill_bytes(m, res->ret, op->size * FUZZ_PAGE);
	return true;
}

/* ---- frees ---- */

/* The one way in which a free of @addr is refused, -1 if it has to succeed, -2 if unknown */
static int verdict(struct fuzz_model *m, __u64 addr, __u64 slabs)
{
	__u32 in_page = addr & (FUZZ_PAGE - 1), n;
	struct fuzz_page *p = page_of(m, addr);

	if (!p)
		return NO_OBJECT;
	switch (p->kind) {
	case KIND_SLAB:
		n = in_page / p->room;
		if (in_page % p->room || n >= FUZZ_PAGE / p->room)
			return INTERIOR;
		return object_live(p, n) ? -1 : NOT_LIVE;
	case KIND_LARGE:
		return in_page ? INTERIOR : -1;
	case KIND_TAIL:
		return INTERIOR;
	case KIND_ZERO:
		return NO_OBJECT;
	case KIND_PAGE:
	case KIND_RESERVED:
		return p->maybe ? -2 : NO_OBJECT;
	}
	/* An empty slab could be anywhere, if there is one */
	return p->stale || p->maybe || m->hidden || slabs != fuzz_model_slabs(m) ? -2 : NO_OBJECT;
}

static void drop_object(struct fuzz_model *m, __u64 addr)
{
	struct fuzz_page *p = page_of(m, addr);
	__u32 n, nr;

	if (p->kind == KIND_LARGE) {
		nr = p->room >> FUZZ_PAGE_SHIFT;
		while (nr--)
			set_free(p++);
		return;
	}
	n = (addr & (FUZZ_PAGE - 1)) / p->room;
	p->bits[n / 64] &= ~(1ULL << n % 64);
	if (!--p->live)
		set_free(p);
}

static bool check_free(struct fuzz_model *m, __u64 addr, __u64 slabs, const __u64 *rejects)
{
	static const char *const words[] = { "no object", "interior", "not live", "kernel's",
					     "not at all", "several times" };
	int is = NR_REJECTS, want = verdict(m, addr, slabs);

	for (int i = 0; i < NR_REJECTS; i++) {
		if (rejects[i])
			is = is == NR_REJECTS && rejects[i] == 1 ? i : NR_REJECTS + 1;
	}
	if (!(__u32)addr)
		return is == NR_REJECTS || wrong("a free of NULL was refused: %s", words[is]);
	if (want == -1) {
		drop_object(m, addr);
		return is == NR_REJECTS ||
		       wrong("a free of the live object %#llx was refused: %s", addr, words[is]);
	}
	if (want == -2 ? is < KERNELS : is == want)
		return true;
	return wrong("a bad free of %#llx was refused: %s, expected: %s", addr, words[is],
		     want < 0 ? "any" : words[want]);
}

static void free_pages(struct fuzz_model *m, const struct fuzz_op *op, __u64 addr)
{
	__u32 first = offset_of(m, addr) >> FUZZ_PAGE_SHIFT, nr = op->size;

	if (!addr || !nr || first >= m->shape.pages)
		return;
	/* Below the start, in the same 4 GiB */
	if ((__u32)addr < (__u32)m->shape.start)
		return;
	if (nr > m->shape.pages - first)
		nr = m->shape.pages - first;
	for (__u32 i = first; i < first + nr; i++) {
		struct fuzz_page *p = &m->page[i];

		if (op->ctx != FUZZ_SLEEP)
			p->pending = true;
		switch (p->kind) {
		case KIND_ZERO:
			p->maybe = op->ctx != FUZZ_SLEEP && p->maybe;
			break;
		case KIND_FREE:
		case KIND_PAGE:
		case KIND_RESERVED:
			set_free(p);
			p->maybe = p->pending;
		}
	}
}

static bool check_reserve(struct fuzz_model *m, const struct fuzz_op *op,
			  const struct fuzz_res *res)
{
	__u32 first = offset_of(m, res->addr) >> FUZZ_PAGE_SHIFT;
	int ret = res->ret;

	if (!op->size || res->addr & (FUZZ_PAGE - 1))
		return !ret || wrong("nothing to reserve, and %d", ret);
	if (first > m->shape.pages || op->size > m->shape.pages - first)
		return ret == -EINVAL || wrong("outside of the arena, and %d", ret);
	if (ret)
		return ret == -EBUSY || ret == -ENOMEM || wrong("reserve: %d", ret);
	for (__u32 i = first; i < first + op->size; i++) {
		struct fuzz_page *p = &m->page[i];

		if (page_is_sure(p))
			return wrong("page %u was reserved, which is %s", i, kind_name(p));
		p->maybe = p->maybe || p->pending;
		p->kind = KIND_RESERVED;
	}
	return true;
}

/* ---- accesses ---- */

/* Is there a page for sure? */
static bool page_is_there(struct fuzz_model *m, __u64 addr)
{
	struct fuzz_page *p = page_of(m, addr);

	return p && page_is_sure(p) && p->kind >= KIND_PAGE;
}

static void store(struct fuzz_model *m, __u64 addr, __u64 val, __u32 len)
{
	/* In two pages, one of which may not be there: nobody knows how far it got */
	bool cut = page_is_there(m, addr) != page_is_there(m, addr + len - 1);

	for (__u32 i = 0; i < len; i++) {
		__u32 off = offset_of(m, addr + i);

		if (!fuzz_byte_live(m, off))
			continue;
		m->byte[off] = val >> 8 * i;
		m->unsure[off] = cut;
	}
}

static bool check_access(struct fuzz_model *m, const struct fuzz_op *op,
			 const struct fuzz_res *res)
{
	__u32 len = op->code == FUZZ_ATOMIC ? 8 : op->width;
	__u64 addr = op->code == FUZZ_ATOMIC ? res->addr & ~7ULL : res->addr;
	__u64 old = 0, new = op->val;
	bool known = true, returns;

	for (__u32 i = 0; i < len; i++) {
		__u32 off = offset_of(m, addr + i);

		known = known && fuzz_byte_known(m, off);
		if (fuzz_byte_live(m, off))
			old |= (__u64)m->byte[off] << 8 * i;
	}
	returns = op->code == FUZZ_LOAD || (op->code == FUZZ_ATOMIC && op->width == 8);
	if (returns && known && res->ret != old)
		return wrong("%#llx has %#llx, not %#llx", addr, res->ret, old);
	if (returns && !page_of(m, addr) && !page_of(m, addr + len - 1) && res->ret)
		return wrong("outside of the arena, at %#llx, is %#llx", addr, res->ret);
	if (op->code == FUZZ_LOAD)
		return true;
	if (op->code == FUZZ_ATOMIC && op->width == 1)
		new |= old;
	if (op->code == FUZZ_ATOMIC && op->width == 2)
		new &= old;
	if (op->code == FUZZ_ATOMIC && op->width == 4)
		new ^= old;
	store(m, addr, new, len);
	return true;
}

bool fuzz_model_access(struct fuzz_model *m, __u32 off, bool write, bool ok, __u8 val)
{
	struct fuzz_page *p = &m->page[off >> FUZZ_PAGE_SHIFT];
	bool live = fuzz_byte_live(m, off);

	if (live && write)
		m->unsure[off] = false;
	if (!ok) {
		if (live)
			return wrong("a process cannot reach the live byte at offset %#x", off);
		return true;
	}
	if (fuzz_byte_known(m, off) && !write && m->byte[off] != val)
		return wrong("a process finds %#x at offset %#x, not %#x", val, off, m->byte[off]);
	if (live && write)
		m->byte[off] = val;
	/* Where there was nothing is a page of user space's making, or an empty slab */
	if (p->kind <= KIND_RESERVED && !m->shape.segv)
		p->maybe = true;
	return true;
}

/* ---- all of it ---- */

bool fuzz_model_result(struct fuzz_model *m, const struct fuzz_op *op,
		       const struct fuzz_res *res, const __u64 *rejects)
{
	__u64 sum = rejects[0] + rejects[1] + rejects[2] + rejects[3];

	if (res->slabs != fuzz_model_slabs(m))
		m->hidden = true;
	if (op->code != FUZZ_FREE && sum)
		return wrong("%llu frees were refused where there was none", sum);
	switch (op->code) {
	case FUZZ_ALLOC:
		return check_alloc(m, op, res);
	case FUZZ_FREE:
		return check_free(m, res->addr, res->slabs, rejects);
	case FUZZ_ALLOC_PAGES:
		return check_alloc_pages(m, op, res);
	case FUZZ_FREE_PAGES:
		free_pages(m, op, res->addr);
		return true;
	case FUZZ_RESERVE:
		return check_reserve(m, op, res);
	default:
		return check_access(m, op, res);
	}
}

void fuzz_model_settle(struct fuzz_model *m)
{
	m->hidden = false;
	for (__u32 i = 0; i < m->shape.pages; i++) {
		struct fuzz_page *p = &m->page[i];

		if (p->maybe && p->kind != KIND_ZERO)
			p->kind = KIND_FREE;
		p->maybe = false;
		p->stale = false;
		p->pending = false;
	}
}

__u32 fuzz_signature(const struct fuzz_model *m, const struct fuzz_op *op,
		     const struct fuzz_res *res, const __u64 *rejects)
{
	struct fuzz_page *p = page_of((struct fuzz_model *)m, res->addr);
	__u32 sig = op->code, n = 0;

	for (int i = 0; i < NR_REJECTS; i++)
		n = rejects[i] ? i + 1U : n;
	sig = sig * FUZZ_NR_CTX + op->ctx;
	sig = sig * 5 + n;
	sig = sig * 3 + (!res->ret ? 0 : (__s64)res->ret < 0 ? 2 : 1);
	sig = sig * 9 + (p ? p->kind : 8);
	sig = sig * 4 + (p ? p->maybe + 2 * p->stale : 0);
	/* Sizes and places, roughly */
	sig = sig * 34 + (op->size ? 33 - __builtin_clz(op->size) : 0);
	sig ^= sig >> 15;
	sig *= 0x85ebca6b;
	return sig ^ sig >> 13;
}
