/* SPDX-License-Identifier: GPL-2.0 */
/* What the test of arenaslab and its programs share. */
#ifndef GOLDEN_H
#define GOLDEN_H

#define GOLDEN_PAGES		64
#define GOLDEN_OBJECTS		5
#define GOLDEN_LIVE		3	/* those with even numbers */
#define GOLDEN_SMALL		32	/* one more of this size */
#define GOLDEN_LARGE_PAGES	17	/* more than arenaslab reads at once */
#define GOLDEN_MAGIC		0x676f6c64656e2131ULL	/* "1!nedlog" in memory */
#define GOLDEN_POINTER		0xffff123456789abcULL
#define GOLDEN_TEXT		0x00646c6f66697277ULL	/* "wrifold" */

struct golden {
	__u64 magic;
	__u32 number;
	__u32 zero;
	char text[16];
	/* All kinds of members */
	__s32 negative;
	__u32 low : 3, high : 5;
	enum golden_color { GOLDEN_RED, GOLDEN_GREEN, GOLDEN_BLUE } color;
	union {
		__u16 pair[2];
		__u32 both;
	};
	void *pointer;
	_Bool yes;
	enum golden_sign { GOLDEN_PLUS = 1, GOLDEN_MINUS = -1 } sign;
	__u64 rest[4];
};

_Static_assert(sizeof(struct golden) == 96, "a size class that is no power of two");

#endif /* GOLDEN_H */
