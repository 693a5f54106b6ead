// SPDX-License-Identifier: GPL-2.0
/*
 * The op arrays of `arenaslab bench`: bench.h says what an op is. Random numbers come of
 * the seed only, so that all peers do the same, in every run.
 */
#include <stdlib.h>
#include <string.h>
#include "bench_tool.h"
#include "test_util.h"

void script_add(struct script *s, __u32 op)
{
	if (s->nr == s->room) {
		s->room = s->room ? s->room * 2 : 4096;
		s->ops = reallocarray(s->ops, s->room, sizeof(*s->ops));
		if (!s->ops) {
			fail("out of memory");
			exit(EXIT_FAILED);
		}
	}
	s->ops[s->nr++] = op;
	if (op >= s->slots)
		s->slots = op + 1;
}

void script_free(struct script *s)
{
	free(s->ops);
	*s = (struct script){};
}

static void add_all(struct script *s, __u32 nr)
{
	for (__u32 i = 0; i < nr; i++)
		script_add(s, i);
}

void script_hot(struct script *s, __u32 pairs)
{
	script_add(s, 0);
	script_add(s, 0);
	s->prepare = s->nr;
	for (s->pairs = 0; s->pairs < pairs; s->pairs++) {
		script_add(s, 0);
		script_add(s, 0);
	}
	s->hot = true;
}

static void shuffle(__u32 *v, __u32 nr, __u64 *rng)
{
	for (__u32 i = nr; i > 1; i--) {
		__u32 j = draw(rng) % i, old = v[i - 1];

		v[i - 1] = v[j];
		v[j] = old;
	}
}

/* Once unmeasured: a peer that does not grow where it may not sleep has what it needs then */
void script_batch(struct script *s, __u32 pairs, __u32 batch, enum batch_order order, __u64 seed)
{
	__u64 rng = derive(seed, batch);

	add_all(s, batch);
	add_all(s, batch);
	s->prepare = s->nr;
	for (s->pairs = 0; s->pairs < pairs; s->pairs += batch) {
		add_all(s, batch);
		for (__u32 i = 0; i < batch; i++)
			script_add(s, order == BATCH_REVERSE ? batch - 1 - i : i);
		if (order == BATCH_RANDOM)
			shuffle(s->ops + s->nr - batch, batch, &rng);
	}
}

void script_live(struct script *s, __u32 live)
{
	add_all(s, live);
	script_add(s, live);
	script_add(s, live);
	s->prepare = s->nr;
	s->live = live;
	for (s->pairs = 0; s->pairs < SCRIPT_LIVE_PAIRS; s->pairs++) {
		script_add(s, live);
		script_add(s, live);
	}
}

/* A random one of them is freed, and allocated anew */
void script_replace(struct script *s, __u32 live, __u64 seed)
{
	__u64 rng = derive(seed, live);

	add_all(s, live);
	s->prepare = s->nr;
	s->live = live;
	for (s->pairs = 0; s->pairs < SCRIPT_LIVE_PAIRS; s->pairs++) {
		__u32 slot = draw(&rng) % live;

		script_add(s, slot);
		script_add(s, slot);
	}
}

void script_grow(struct script *s, __u32 nr)
{
	add_all(s, nr);
	s->pairs = nr;
	s->growth = true;
}

/* They stay, and a pair comes on top */
void script_leak(struct script *s, __u32 nr)
{
	add_all(s, nr);
	s->prepare = s->nr;
	s->live = nr;
	script_add(s, nr);
	script_add(s, nr);
	s->pairs = 1;
}
