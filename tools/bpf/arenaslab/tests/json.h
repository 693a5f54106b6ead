/* SPDX-License-Identifier: GPL-2.0 */
/* As much of a JSON parser as a test needs: is it valid, and what stands at a path. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

/* All of @s is one value, and white space */
bool json_valid(const char *s);
/*
 * The value at "arenas[map_id=3].caches[0].name" in @s: members, elements by number, and
 * elements by what one of their members is. NULL if there is none.
 */
const char *json_find(const char *s, const char *path, ...)
	__attribute__((format(printf, 2, 3)));
/* How many elements an array has, -1 if it is none */
int json_length(const char *array);
/* A number; NaN if it is none */
double json_number(const char *value);
/* The value as it stands there, @text, with its quotes if it is a string */
bool json_is(const char *value, const char *text);

#endif /* JSON_H */
