// SPDX-License-Identifier: GPL-2.0
/*
 * Data of a type, as JSON: structs and unions as objects, in which the members of an
 * anonymous one stand as if they were the outer's, as in C; arrays of char as strings up
 * to their NUL; enums by name; pointers as strings, since they are no quantities, and
 * readers of JSON round large numbers.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <bpf/btf.h>
#include "btf_json.h"
#include "cmd.h"

#define MAX_STRING	256

static void print_value(const struct btf *btf, __u32 id, const unsigned char *data, __u32 bit,
			__u32 bits);

static const struct btf_type *resolve(const struct btf *btf, __u32 *id)
{
	const struct btf_type *t = btf__type_by_id(btf, *id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t))) {
		*id = t->type;
		t = btf__type_by_id(btf, *id);
	}
	return t;
}

/* Up to 64 bits; the architectures that have arenas are little endian, BPF with them */
static __u64 get_bits(const unsigned char *data, __u32 bit, __u32 bits)
{
	__u64 val = 0;

	for (__u32 i = 0; i < bits && i < 64; i++) {
		__u32 pos = bit + i;

		val |= (__u64)(data[pos / 8] >> pos % 8 & 1) << i;
	}
	return val;
}

static long long extend_sign(__u64 val, __u32 bits)
{
	return bits && bits < 64 ? (long long)(val << (64 - bits)) >> (64 - bits) : (long long)val;
}

static void print_int(const struct btf_type *t, const unsigned char *data, __u32 bit, __u32 bits)
{
	__u64 val;

	if (bits > 64) {
		printf("\"0x%016llx%016llx\"", get_bits(data, bit + 64, bits - 64),
		       get_bits(data, bit, 64));
		return;
	}
	val = get_bits(data, bit, bits);
	if (btf_int_encoding(t) & BTF_INT_BOOL)
		printf(val ? "true" : "false");
	else if (btf_int_encoding(t) & BTF_INT_SIGNED)
		printf("%lld", extend_sign(val, bits));
	else
		printf("%llu", val);
}

static void print_enum(const struct btf *btf, const struct btf_type *t, __u64 val, __u32 bits)
{
	bool is_signed = btf_kflag(t);
	long long num = is_signed ? extend_sign(val, bits) : (long long)val;

	for (__u32 i = 0; i < btf_vlen(t); i++) {
		const char *name;
		long long of;

		if (btf_is_enum64(t)) {
			of = btf_enum64_value(&btf_enum64(t)[i]);
			name = btf__name_by_offset(btf, btf_enum64(t)[i].name_off);
		} else {
			/* Not by ?:, which would make both sides unsigned */
			of = btf_enum(t)[i].val;
			if (!is_signed)
				of = (__u32)of;
			name = btf__name_by_offset(btf, btf_enum(t)[i].name_off);
		}
		if (of == num) {
			print_json_string(stdout, name);
			return;
		}
	}
	printf("%lld", num);
}

static bool print_chars(const struct btf *btf, const struct btf_array *a,
			const unsigned char *data)
{
	__u32 id = a->type;
	const struct btf_type *t = resolve(btf, &id);
	const char *name = t ? btf__name_by_offset(btf, t->name_off) : NULL;
	char buf[MAX_STRING];

	if (!t || !btf_is_int(t) || t->size != 1 || a->nelems >= MAX_STRING ||
	    (!(btf_int_encoding(t) & BTF_INT_CHAR) && strcmp(name, "char")))
		return false;
	memcpy(buf, data, a->nelems);
	buf[a->nelems] = '\0';
	print_json_string(stdout, buf);
	return true;
}

static void print_array(const struct btf *btf, const struct btf_array *a,
			const unsigned char *data)
{
	long long size = btf__resolve_size(btf, a->type);

	if (size < 0 || print_chars(btf, a, data)) {
		if (size < 0)
			printf("null");
		return;
	}
	putchar('[');
	for (__u32 i = 0; i < a->nelems; i++) {
		if (i)
			putchar(',');
		print_value(btf, a->type, data + i * size, 0, size * 8);
	}
	putchar(']');
}

/* Returns what separates the next member */
static const char *print_members(const struct btf *btf, const struct btf_type *t,
				 const unsigned char *data, __u32 base, const char *separator)
{
	const struct btf_member *m = btf_members(t);

	for (__u32 i = 0; i < btf_vlen(t); i++) {
		__u32 bit = base + btf_member_bit_offset(t, i), id = m[i].type;
		__u32 bits = btf_member_bitfield_size(t, i);
		const char *name = btf__name_by_offset(btf, m[i].name_off);
		const struct btf_type *mt = resolve(btf, &id);
		long long size = btf__resolve_size(btf, m[i].type);

		if (!*name && mt && btf_is_composite(mt)) {
			separator = print_members(btf, mt, data, bit, separator);
			continue;
		}
		/* An unnamed bit-field is a hole */
		if (!*name)
			continue;
		printf("%s", separator);
		print_json_string(stdout, name);
		putchar(':');
		if (size < 0)
			printf("null");
		else
			print_value(btf, m[i].type, data, bit, bits ?: size * 8);
		separator = ",";
	}
	return separator;
}

/* @bits from @bit on; only integers and enums are not whole bytes */
static void print_value(const struct btf *btf, __u32 id, const unsigned char *data, __u32 bit,
			__u32 bits)
{
	const struct btf_type *t = resolve(btf, &id);
	double d;
	float f;

	switch (t ? btf_kind(t) : BTF_KIND_UNKN) {
	case BTF_KIND_INT:
		print_int(t, data, bit, bits);
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
		print_enum(btf, t, get_bits(data, bit, bits), bits);
		break;
	case BTF_KIND_PTR:
		printf("\"0x%llx\"", get_bits(data, bit, bits));
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		putchar('{');
		print_members(btf, t, data + bit / 8, 0, "");
		putchar('}');
		break;
	case BTF_KIND_ARRAY:
		print_array(btf, btf_array(t), data + bit / 8);
		break;
	case BTF_KIND_FLOAT:
		memcpy(&f, data + bit / 8, sizeof(f));
		d = f;
		if (t->size == sizeof(d))
			memcpy(&d, data + bit / 8, sizeof(d));
		/* JSON has no infinity */
		if (t->size > sizeof(d) || d - d != 0)
			printf("null");
		else
			printf("%.17g", d);
		break;
	default:
		printf("null");
	}
}

void print_btf_json(const struct btf *btf, __u32 type_id, const void *data)
{
	long long size = btf__resolve_size(btf, type_id);

	print_value(btf, type_id, data, 0, size > 0 ? size * 8 : 0);
}
