// SPDX-License-Identifier: GPL-2.0
/* See json.h. A value is the place where it starts; what follows it does not matter. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
		p++;
	return p;
}

static const char *skip_value(const char *p);

static const char *skip_string(const char *p)
{
	if (*p++ != '"')
		return NULL;
	for (; *p != '"'; p++) {
		if ((unsigned char)*p < ' ')
			return NULL;
		if (*p != '\\')
			continue;
		p++;
		if (*p == 'u') {
			for (int i = 0; i < 4; i++) {
				if (!isxdigit((unsigned char)*++p))
					return NULL;
			}
		} else if (!*p || !strchr("\"\\/bfnrt", *p)) {
			return NULL;
		}
	}
	return p + 1;
}

/* Members or elements, up to @end; @visit may stop at one by returning false */
static const char *walk(const char *p, char end,
			bool (*visit)(const char *key, const char *value, void *arg), void *arg)
{
	const char *key = NULL;

	p = skip_space(p + 1);
	if (*p == end)
		return p + 1;
	for (;;) {
		if (end == '}') {
			key = p;
			p = skip_string(p);
			if (!p)
				return NULL;
			p = skip_space(p);
			if (*p++ != ':')
				return NULL;
		}
		p = skip_space(p);
		if (visit && !visit(key, p, arg))
			return p;
		p = skip_value(p);
		if (!p)
			return NULL;
		p = skip_space(p);
		if (*p == end)
			return p + 1;
		if (*p++ != ',')
			return NULL;
		p = skip_space(p);
	}
}

static const char *skip_value(const char *p)
{
	static const char *const words[] = { "true", "false", "null" };
	char *end;

	if (*p == '{')
		return walk(p, '}', NULL, NULL);
	if (*p == '[')
		return walk(p, ']', NULL, NULL);
	if (*p == '"')
		return skip_string(p);
	for (int i = 0; i < 3; i++) {
		if (!strncmp(p, words[i], strlen(words[i])))
			return p + strlen(words[i]);
	}
	/* strtod() takes more than JSON has: hexadecimal numbers, "nan" */
	if (*p != '-' && !isdigit((unsigned char)*p))
		return NULL;
	strtod(p, &end);
	return end == p || memchr(p, 'x', end - p) ? NULL : end;
}

bool json_valid(const char *s)
{
	const char *p = skip_value(skip_space(s));

	return p && !*skip_space(p);
}

bool json_is(const char *value, const char *text)
{
	const char *end = value ? skip_value(value) : NULL;

	return end && (size_t)(end - value) == strlen(text) && !strncmp(value, text, end - value);
}

double json_number(const char *value)
{
	if (!value || (*value != '-' && !isdigit((unsigned char)*value)))
		return NAN;
	return strtod(value, NULL);
}

static bool count(const char *key, const char *value, void *arg)
{
	(void)key;
	(void)value;
	++*(int *)arg;
	return true;
}

int json_length(const char *array)
{
	int nr = 0;

	return array && *array == '[' && walk(array, ']', count, &nr) ? nr : -1;
}

struct wanted {
	const char *key;	/* of a member, or of an element's member */
	size_t key_len;
	const char *text;	/* what that is, without quotes */
	size_t text_len;
	long index;
	const char *found;
};

static bool is_member(const char *key, const char *value, void *arg)
{
	struct wanted *w = arg;

	if (strncmp(key + 1, w->key, w->key_len) || key[1 + w->key_len] != '"')
		return true;
	w->found = value;
	return false;
}

static const char *find_member(const char *p, const char *key, size_t len)
{
	struct wanted w = { .key = key, .key_len = len };

	if (p && *p == '{')
		walk(p, '}', is_member, &w);
	return w.found;
}

static bool is_element(const char *key, const char *value, void *arg)
{
	struct wanted *w = arg;
	const char *v, *end;

	(void)key;
	if (!w->key) {
		if (w->index--)
			return true;
		w->found = value;
		return false;
	}
	v = find_member(value, w->key, w->key_len);
	end = v ? skip_value(v) : NULL;
	if (!end)
		return true;
	if (*v == '"') {
		v++;
		end--;
	}
	if ((size_t)(end - v) != w->text_len || strncmp(v, w->text, w->text_len))
		return true;
	w->found = value;
	return false;
}

static const char *find_element(const char *p, const char *what, size_t len)
{
	const char *equals = memchr(what, '=', len);
	struct wanted w = {};

	if (equals) {
		w.key = what;
		w.key_len = equals - what;
		w.text = equals + 1;
		w.text_len = what + len - w.text;
	} else {
		w.index = strtol(what, NULL, 10);
	}
	if (p && *p == '[')
		walk(p, ']', is_element, &w);
	return w.found;
}

const char *json_find(const char *s, const char *format, ...)
{
	const char *p = s ? skip_space(s) : NULL, *path;
	char buf[256];
	va_list args;
	size_t len;

	va_start(args, format);
	vsnprintf(buf, sizeof(buf), format, args);
	va_end(args);
	for (path = buf; *path && p;) {
		if (*path == '[') {
			len = strcspn(path, "]");
			p = find_element(p, path + 1, len - 1);
			path += len + 1;
		} else {
			path += *path == '.';
			len = strcspn(path, ".[");
			p = find_member(p, path, len);
			path += len;
		}
	}
	return p;
}
