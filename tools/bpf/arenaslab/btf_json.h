/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BTF_JSON_H
#define BTF_JSON_H

#include <linux/types.h>

struct btf;

/* @data, which has all bytes of the type, as a JSON value on stdout */
void print_btf_json(const struct btf *btf, __u32 type_id, const void *data);

#endif /* BTF_JSON_H */
