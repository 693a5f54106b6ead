// SPDX-License-Identifier: GPL-2.0
/*
 * Look into the kernel for `arenaslab top`, `stat` and `dump`: iterators over maps,
 * kmem_caches and files, and two programs that are run one step at a time.
 *
 * Everything is read and nothing is written, locked or held. All programs are of types
 * that may not sleep, so that each run is inside of RCU: what a slot points to, the
 * metadata of a slab, is freed a grace period after the slot stopped pointing at it. The
 * rest that may go meanwhile, caches above all, is read by bpf_probe_read_kernel(),
 * which gives zeroes and an error where there is nothing; it is checked by a pointer back.
 *
 * The content of objects is read at their kernel addresses, not through a mapping: to
 * touch a page that is gone makes a new page in most arenas, and who looks should not
 * change what he looks at. It is also the only way to look at an arena whose address
 * range is taken in our own process.
 */
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "inspect.h"

/* linux/slab_arena.h; macros are not in BTF, and a test with known objects looks at them */
#define ARENA_SLOT_KIND		7
#define ARENA_SLOT_SLAB		0
#define ARENA_SLOT_LARGE	2
#define ARENA_SLOT_COUNT_SHIFT	3
#define ARENA_SLOT_COUNT_MASK	0x1fffff

enum arena_obj_state___full {
	ARENA_OBJ_LIVE___full = 0xc000,
};

/* Without CONFIG_BPF_ARENA_FAULT_BY_ADDR it is empty */
struct arena_faults___full {
	atomic_long_t count;
} __attribute__((preserve_access_index));

/* Without CONFIG_MEMCG they are not there */
struct cgroup_subsys_state___full {
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct mem_cgroup___full {
	struct cgroup_subsys_state___full css;
} __attribute__((preserve_access_index));

struct obj_cgroup___full {
	struct mem_cgroup___full *memcg;
} __attribute__((preserve_access_index));

struct bpf_map___memcg {
	struct obj_cgroup___full *objcg;
} __attribute__((preserve_access_index));

extern const void bpf_map_fops __ksym;
extern const void __per_cpu_offset __ksym;

const volatile __u32 nr_cpus = 1;
const volatile __u32 page_shift = 12;
/* From kern_vm->addr to kern_vm_start */
const volatile __u64 guard = 32768;

/* ---- iterators ---- */

static void copy_counters(struct arena_rec *rec, struct arena_slabs *sl)
{
	__u32 size = bpf_core_field_size(sl->counters);

	if (size > sizeof(rec->counters))
		size = sizeof(rec->counters);
	bpf_core_read(rec->counters, size, &sl->counters);
}

static __u64 read_faults(struct arena_slabs *sl)
{
	struct arena_faults___full *faults = (void *)sl + bpf_core_field_offset(sl->faults);

	if (!bpf_core_field_exists(faults->count))
		return -1;
	return BPF_CORE_READ(faults, count.counter);
}

/* The last part of its path; "" is the root */
static void read_memcg(struct arena_rec *rec, struct bpf_map *map)
{
	struct bpf_map___memcg *m = (void *)map;
	struct obj_cgroup___full *objcg;
	const char *name;

	if (!bpf_core_field_exists(m->objcg))
		return;
	objcg = BPF_CORE_READ(m, objcg);
	if (!objcg)
		return;
	name = BPF_CORE_READ(objcg, memcg, css.cgroup, kn, name);
	bpf_probe_read_kernel_str(rec->memcg, sizeof(rec->memcg), name);
}

SEC("iter/bpf_map")
int list_arenas(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	struct bpf_arena *arena = (struct bpf_arena *)map;
	struct arena_rec rec = {};
	struct arena_slabs *sl;

	if (!map || map->map_type != BPF_MAP_TYPE_ARENA)
		return 0;
	sl = BPF_CORE_READ(arena, slabs);
	if (!sl)
		return 0;
	rec.arena = (__u64)arena;
	rec.map_id = map->id;
	rec.user_start = BPF_CORE_READ(arena, user_vm_start);
	rec.kern_start = (__u64)BPF_CORE_READ(arena, kern_vm, addr) + guard;
	rec.id = BPF_CORE_READ(sl, id);
	rec.pages = BPF_CORE_READ(arena, nr_pages);
	rec.max_pages = BPF_CORE_READ(sl, slots, nr_pages);
	rec.faults = read_faults(sl);
	copy_counters(&rec, sl);
	BPF_CORE_READ_STR_INTO(&rec.name, map, name);
	read_memcg(&rec, map);
	bpf_seq_write(ctx->meta->seq, &rec, sizeof(rec));
	return 0;
}

static __u64 sum_cpus(struct arena_cache_stats *stats, __u32 offset)
{
	__u64 sum = 0, val, base;
	int cpu;

	bpf_for(cpu, 0, nr_cpus) {
		if (bpf_probe_read_kernel(&base, sizeof(base),
					  (void *)&__per_cpu_offset + cpu * sizeof(base)))
			continue;
		if (!bpf_probe_read_kernel(&val, sizeof(val), (void *)stats + base + offset))
			sum += val;
	}
	return sum;
}

SEC("iter/kmem_cache")
int list_caches(struct bpf_iter__kmem_cache *ctx)
{
	struct kmem_cache *s = ctx->s;
	struct arena_cache_stats *stats;
	struct bpf_arena_cache *c;
	struct cache_rec rec = {};

	if (!s)
		return 0;
	c = BPF_CORE_READ(s, arena);
	/* A cache that this iterator has kept from going may have lost its arena's side */
	if (!c || BPF_CORE_READ(c, s) != s)
		return 0;
	stats = BPF_CORE_READ(c, stats);
	rec.cache = (__u64)c;
	rec.arena = (__u64)BPF_CORE_READ(c, arena);
	/* Frees first, so that there are hardly ever more of them than allocations */
	rec.frees = sum_cpus(stats, bpf_core_field_offset(stats->frees));
	rec.allocs = sum_cpus(stats, bpf_core_field_offset(stats->allocs));
	rec.size = BPF_CORE_READ(c, size);
	/* One for the owner, one for each slab that still has its page */
	rec.slabs = BPF_CORE_READ(c, ref.refs.counter) - 1;
	rec.of_program = BPF_CORE_READ(c, of_program);
	bpf_probe_read_kernel_str(rec.name, sizeof(rec.name), BPF_CORE_READ(s, name));
	bpf_seq_write(ctx->meta->seq, &rec, sizeof(rec));
	return 0;
}

SEC("iter/task_file")
int list_holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct holder_rec rec = {};
	struct bpf_map *map;

	if (!task || !file || file->f_op != (const void *)&bpf_map_fops)
		return 0;
	map = file->private_data;
	if (BPF_CORE_READ(map, map_type) != BPF_MAP_TYPE_ARENA)
		return 0;
	rec.map_id = BPF_CORE_READ(map, id);
	rec.pid = task->tgid;
	BPF_CORE_READ_STR_INTO(&rec.comm, task, group_leader, comm);
	bpf_seq_write(ctx->meta->seq, &rec, sizeof(rec));
	return 0;
}

/* ---- live objects ---- */

/* What to look for: an arena that the caller holds by a file descriptor */
__u64 arena_addr;
__u64 cache_addr;	/* 0: all caches, and large objects */

/*
 * find_objects(): in from_page, out next_page, where to go on, and nr_found. One run
 * does one leaf of the slot table, or as much of it as there is room for.
 */
__u32 from_page, next_page, nr_found;
struct found found[MAX_FOUND];

/* read_object(): @read_len bytes from @read_addr + @read_off of an object of @read_size */
__u64 read_addr;
__u32 read_size, read_off, read_len, read_status;
char data[MAX_READ];

static struct arena_slot_leaf leaf;
static __u16 states[MAX_FOUND];

#define LEAF_SLOTS	(bpf_core_field_size(((struct arena_slot_leaf *)0)->slot) / sizeof(long))

static bool state_is_live(__u16 state)
{
	return state == bpf_core_enum_value(enum arena_obj_state___full, ARENA_OBJ_LIVE___full);
}

static bool is_slab(__u64 slot)
{
	return slot && (slot & ARENA_SLOT_KIND) == ARENA_SLOT_SLAB;
}

static void add_found(__u64 cache, __u64 addr, __u32 size)
{
	__u32 i = nr_found;

	if (i >= MAX_FOUND)
		return;
	found[i].addr = addr;
	found[i].cache = cache;
	found[i].size = size;
	nr_found = i + 1;
}

/* An offset from the start of the arena, as an address of user space's */
static __u64 to_uaddr(__u64 user_start, __u64 offset)
{
	return (user_start & ~0xffffffffULL) | (__u32)(user_start + offset);
}

/* False if there is no room for all that may be in it */
static bool find_in_slab(struct arena_slab *as, __u64 user_start, __u64 page_off)
{
	__u64 cache = (__u64)BPF_CORE_READ(as, cache);
	__u32 objects = BPF_CORE_READ(as, cache, objects);
	__u32 size = BPF_CORE_READ(as, cache, size);
	int i;

	if (cache_addr && cache != cache_addr)
		return true;
	if (objects > MAX_FOUND)
		objects = MAX_FOUND;
	if (nr_found + objects > MAX_FOUND)
		return false;
	if (bpf_core_read(states, objects * sizeof(*states), &as->state))
		return true;
	bpf_for(i, 0, objects) {
		if (i >= MAX_FOUND)
			break;
		if (state_is_live(states[i]))
			add_found(cache, to_uaddr(user_start, page_off + (__u64)i * size), size);
	}
	return true;
}

static bool find_in_slot(__u64 slot, __u64 user_start, __u64 page_off)
{
	if (is_slab(slot))
		return find_in_slab((struct arena_slab *)slot, user_start, page_off);
	if ((slot & ARENA_SLOT_KIND) == ARENA_SLOT_LARGE && !cache_addr) {
		if (nr_found >= MAX_FOUND)
			return false;
		add_found(0, to_uaddr(user_start, page_off),
			  (slot >> ARENA_SLOT_COUNT_SHIFT & ARENA_SLOT_COUNT_MASK) << page_shift);
	}
	return true;
}

SEC("raw_tp")
int find_objects(void *ctx)
{
	struct bpf_arena *arena = (struct bpf_arena *)arena_addr;
	__u32 page = from_page, first = page % LEAF_SLOTS;
	struct arena_slot_table *table;
	struct arena_slot_leaf *l;
	__u64 user_start;
	int i;

	nr_found = 0;
	next_page = page - first + LEAF_SLOTS;
	user_start = BPF_CORE_READ(arena, user_vm_start);
	table = BPF_CORE_READ(arena, slabs, slots);
	if (bpf_core_read(&l, sizeof(l), &table->dir[page / LEAF_SLOTS]) ||
	    bpf_probe_read_kernel(&leaf, sizeof(leaf), l))
		return 0;
	bpf_for(i, first, LEAF_SLOTS) {
		if (i < 0 || i >= (int)(sizeof(leaf) / sizeof(long)))
			break;
		if (!leaf.slot[i])
			continue;
		if (!find_in_slot(leaf.slot[i], user_start,
				  (__u64)(page - first + i) << page_shift)) {
			next_page = page - first + i;
			break;
		}
	}
	return 0;
}

/* The object at @read_addr is live, and the one that is meant; @slot is its page's */
static bool is_live(__u64 *slot)
{
	struct bpf_arena *arena = (struct bpf_arena *)arena_addr;
	__u32 off = (__u32)read_addr - (__u32)BPF_CORE_READ(arena, user_vm_start);
	__u32 page = off >> page_shift, in_page = off & ((1U << page_shift) - 1);
	struct arena_slot_table *table = BPF_CORE_READ(arena, slabs, slots);
	struct arena_slot_leaf *l;
	struct arena_slab *as;
	__u16 state;

	if (page >= BPF_CORE_READ(table, nr_pages) ||
	    bpf_core_read(&l, sizeof(l), &table->dir[page / LEAF_SLOTS]) ||
	    bpf_core_read(slot, sizeof(*slot), &l->slot[page % LEAF_SLOTS]))
		return false;
	if (!cache_addr)
		return (*slot & ARENA_SLOT_KIND) == ARENA_SLOT_LARGE && !in_page &&
		       (*slot >> ARENA_SLOT_COUNT_SHIFT & ARENA_SLOT_COUNT_MASK) << page_shift ==
		       read_size;
	if (!is_slab(*slot) || !read_size)
		return false;
	as = (struct arena_slab *)*slot;
	if ((__u64)BPF_CORE_READ(as, cache) != cache_addr ||
	    bpf_core_read(&state, sizeof(state), &as->state[in_page / read_size]))
		return false;
	return state_is_live(state);
}

/*
 * The copy is of a live object if it is live before and after. That another one was
 * allocated at the same place in between cannot be told from outside, no more than it
 * can for the object itself, to which anybody may write while it is copied.
 */
SEC("raw_tp")
int read_object(void *ctx)
{
	struct bpf_arena *arena = (struct bpf_arena *)arena_addr;
	__u64 before, after, from;
	__u32 len = read_len;

	read_status = READ_GONE;
	if (!is_live(&before))
		return 0;
	if (len > MAX_READ)
		len = MAX_READ;
	from = (__u64)BPF_CORE_READ(arena, kern_vm, addr) + guard + (__u32)read_addr + read_off;
	if (bpf_probe_read_kernel(data, len, (void *)from)) {
		read_status = READ_FAILED;
		return 0;
	}
	if (is_live(&after) && before == after)
		read_status = READ_DONE;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
