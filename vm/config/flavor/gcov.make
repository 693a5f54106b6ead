# SPDX-License-Identifier: GPL-2.0
#
# FLAVOR=gcov: what the kernel's make is told, one variable a line: objects that count
# how often each line is run.

GCOV_PROFILE_arena.o=y			# kernel/bpf
GCOV_PROFILE_arena_slab.o=y		# likewise
GCOV_PROFILE_arena_alloc.o=y		# likewise
GCOV_PROFILE_arena_report.o=y		# likewise
GCOV_PROFILE_arena_fault.o=y		# likewise
GCOV_PROFILE_slab_arena.o=y		# mm
GCOV_PROFILE_slub.o=y			# likewise, for mm/slub_arena.c
