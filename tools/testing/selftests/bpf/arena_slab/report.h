/* SPDX-License-Identifier: GPL-2.0 */
/* What a test in BPF tells the runner beside its return value. */
#ifndef ARENA_SLAB_REPORT_H
#define ARENA_SLAB_REPORT_H

/*
 * @left and @right are what the failed check compared. The rest is what the runner
 * expects of the kernel's counters after the test: how many frees were refused, and
 * how many objects are left over.
 */
struct test_report {
	__u64 left;
	__u64 right;
	__u64 no_object;
	__u64 interior;
	__u64 not_live;
	__u64 kernel_owned;
	__u64 leaked;
};

#endif /* ARENA_SLAB_REPORT_H */
