// SPDX-License-Identifier: GPL-2.0
/*
 * arenaslab torture: probes that move about. A kprobe can stand at any instruction of the
 * allocator, and its program there can allocate and free, or hold the CPU up while others
 * go on: between what was read and what is decided by it, or with a lock that others only
 * try. Races that are too narrow to be met by chance are met there.
 *
 * All this makes the kernel slow, some thirty times on an emulated machine. So it is done
 * for an eighth of a run only. Before it there are no probes, and those are held up whose
 * races are known: see hold() in torture.bpf.c. After it nobody is.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include "torture_tool.h"
#include "torture.skel.h"

#define NR_PROBES	8
#define MAX_SIZE	4096	/* of a function */

/* What the compiler has inlined is not there, and no loss */
static const char *const functions[] = {
	/* what is decided there is what programs attack first of all */
	"bpf_arena_free", "bpf_arena_free", "bpf_arena_free", "bpf_arena_free",
	"bpf_arena_free", "bpf_arena_free", "bpf_arena_free_non_sleepable",
	"bpf_arena_free_non_sleepable", "bpf_arena_free_non_sleepable",
	"bpf_arena_free_non_sleepable", "bpf_arena_free_non_sleepable",
	"bpf_arena_free_non_sleepable", "arena_free_other", "arena_free_other",
	"arena_free_other", "arena_free_other",
	"bpf_arena_alloc",
	"bpf_arena_alloc_non_sleepable",
	"arena_alloc_large",
	"arena_alloc_pages",
	"arena_place_slab",
	"arena_slab_worker",
	"arena_vm_fault",
	"arena_zap_mappings",
	"bpf_arena_slab_map",
	"slab_arena_alloc_uaddr",
	"slab_arena_alloc_uaddr_nolock",
	"slab_arena_attach",
	"slab_arena_defer",
	"slab_arena_deferred_irq",
	"slab_arena_free",
	"slab_arena_free_nolock",
	"slab_arena_keep",
	"slab_arena_release",
	"slab_arena_return_deferred",
	"alloc_from_new_slab",
	/* these hold the list_lock */
	"get_from_partial_node",
	"__kmem_cache_do_shrink",
	"__slab_free",
};

#define NR_FUNCTIONS	ARRAY_SIZE(functions)
#define NR_FREES	16

static __u32 sizes[NR_FUNCTIONS];

/*
 * Its lines are sorted by address: a function ends where the next one begins. To read them
 * takes a while when the machine has anything else to do.
 */
static int measure_functions(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	size_t open[NR_FUNCTIONS];
	__u64 addr, start = 0;
	int nr_open = 0, found = 0;
	char line[512], name[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %255s", &addr, name) != 2 || addr == start)
			continue;
		for (int i = 0; i < nr_open; i++)
			sizes[open[i]] = addr - start < MAX_SIZE ? addr - start : MAX_SIZE;
		found += nr_open;
		nr_open = 0;
		start = addr;
		for (size_t i = 0; i < NR_FUNCTIONS; i++) {
			if (!sizes[i] && !strcmp(name, functions[i]))
				open[nr_open++] = i;
		}
	}
	if (f)
		fclose(f);
	return found;
}

/* Not every byte is the start of an instruction, and not every one can be probed */
static struct bpf_link *try_probe(__u64 r)
{
	size_t fn = (r >> 8) % NR_FUNCTIONS;
	/* Only there are two who free the same */
	int kind = fn < NR_FREES ? ARENA_LAWLESS : r % NR_ARENAS;
	LIBBPF_OPTS(bpf_kprobe_opts, opts);

	if (!sizes[fn])
		return NULL;
	opts.offset = (r >> 32) % sizes[fn];
#ifdef __aarch64__
	opts.offset &= ~3;
#endif
	return bpf_program__attach_kprobe_opts(arenas[kind].skel->progs.on_probe, functions[fn],
					       &opts);
}

static struct bpf_link *links[NR_PROBES];
static __u64 rng;

static bool phase_is(enum torture_phase phase)
{
	return !shared->stop && (enum torture_phase)shared->phase == phase;
}

static void move_probe(int i)
{
	bpf_link__destroy(links[i]);
	links[i] = NULL;
	while (!links[i] && phase_is(PHASE_PROBES)) {
		links[i] = try_probe(draw(&rng));
		usleep(1000);
	}
	add(&shared->probes, !!links[i]);
}

/* Before the machine has anything else to do */
void prepare_probes(void)
{
	rng = seed_of(WHO_PROBER);
	if (!measure_functions())
		cannot(CTX_PROBE, "no function of the allocator is in /proc/kallsyms: no probes "
		       "move about");
}

static void remove_probes(void)
{
	for (int i = 0; i < NR_PROBES; i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
}

static void remove_holds(void)
{
	struct torture_bpf *skel = arenas[ARENA_LAWLESS].skel;
	struct bpf_link **held[] = { &skel->links.on_lost_free, &skel->links.on_slab_fault,
				     &skel->links.on_page_fault, &skel->links.on_worker,
				     &skel->links.on_page_gone, &skel->links.on_zapped };

	for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
		bpf_link__destroy(*held[i]);
		*held[i] = NULL;
	}
}

void *run_prober(void *arg)
{
	struct thread *t = arg;

	/* It mostly waits for grace periods */
	setpriority(PRIO_PROCESS, syscall(SYS_gettid), -19);
	while (phase_is(PHASE_HOLDS)) {
		t->progress->count++;
		doze(100);
	}
	for (int i = 0; phase_is(PHASE_PROBES); i = (i + 1) % NR_PROBES) {
		move_probe(i);
		t->progress->count++;
	}
	snprintf(t->progress->name, sizeof(t->progress->name), "-");
	remove_probes();
	/* Last: it takes seconds */
	remove_holds();
	return NULL;
}
