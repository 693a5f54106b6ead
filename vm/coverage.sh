#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the tests on a kernel that counts its lines (FLAVOR=gcov), and print how many of
# those of vm/config/flavor/gcov.make were reached, with the ones that were not. KUnit
# is one boot; each further one is a command in the VM. Their counts are added up.
#
# Usage: [DURATION=60] vm/coverage.sh [COMMAND]...
#
# COMMAND may be preceded by arguments of the kernel, which end in a colon and a space.
# Default: BPF tests, some of them on a hardened machine, those of arenaslab, torture, fuzz

export FLAVOR=gcov
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

DURATION=${DURATION:-60}
[ $# -gt 0 ] || set -- arena_slab "slab_strict_numa init_on_free=1: arena_slab -t 'share/*'" \
	arenaslab_test "arenaslab torture -d $DURATION" "arenaslab fuzz -d $DURATION"
[ -f "$IMAGE" ] || die "there is no kernel for $NAME yet: make kernel FLAVOR=$FLAVOR"
GCOV=${CROSS}gcov
GCOV_TOOL=${CROSS}gcov-tool
command -v "$GCOV" >/dev/null || GCOV=gcov
OUT=$ARENA_SLAB_RUN/coverage
mkdir -p "$OUT"

# The counters are files that can be read once the guest's command is done.
# shellcheck disable=SC2016 # the guest's shell expands it
COLLECT='cd /sys/kernel/debug/gcov && find . -name "*.gcda" | while read -r f; do mkdir -p "/host/$(dirname "$f")"; cat "$f" >"/host/$f"; done'

rc=0
n=0
for command in kunit "$@"; do
	n=$((n + 1))
	mkdir -p "$OUT/$n"
	say "coverage: $command"
	args=(-a "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120")	# as vm/torture.sh
	[ "$command" = "${command#*: }" ] || args=(-a "${args[1]} ${command%%: *}")
	command=${command#*: }
	[ "$command" != kunit ] || args=(-a kunit.autorun=1)
	[ "$command" != kunit ] || command=true
	HOST_DIR=$OUT/$n TIMEOUT=${TIMEOUT:-1800} "$VM/boot.sh" -s -n "coverage-$n" "${args[@]}" \
		-c "$command; rc=\$?; $COLLECT; exit \$rc" || rc=$?
	if [ "$n" = 1 ]; then
		cp -r "$OUT/1" "$OUT/sum"
	else
		"$GCOV_TOOL" merge -o "$OUT/merged" "$OUT/sum" "$OUT/$n" >/dev/null 2>&1 || die "cannot add up the counts of $command"
		rm -rf "$OUT/sum"
		mv "$OUT/merged" "$OUT/sum"
	fi
done
[ "$rc" = 0 ] || say "coverage: the last command that failed did so with $rc"
# Of each file; what is not reached is argued for in TESTED.md
LEAST=95

cd "$OUT"
while read -r gcda; do
	object=${gcda##*/}
	object=${object%.gcda}
	file=$object
	notes=$(find "$BUILD/kernel" "$BUILD/mm" -name "$object.gcno" | sed -n 1p)
	[ -n "$notes" ] || die "$object: the build has no notes for it"
	cp "$notes" "$gcda" .
	"$GCOV" -o . "$object.gcno" >"$object.said" 2>/dev/null
	mkdir -p "headers/$object"
	(cd "headers/$object" && "$GCOV" -p -o ../.. "../../$object.gcno" >/dev/null 2>&1) || true
	# Of the files that it was made of only the one of that name. Of mm/slub.c only what it
	# includes of ours.
	[ "$object" != slub ] || file=slub_arena
	awk -v file="$file" '
		/^ *[0-9]+\*?: *[0-9]+:/ { hit++ }
		/^ *(#####|=====): *[0-9]+:/ { missed++; lines = lines $0 "\n" }
		END {
			printf "%-16s %5d lines, %5d reached, %5.1f %%\n", file ".c", hit + missed, hit,
				hit + missed ? 100 * hit / (hit + missed) : 0
			printf "%s", lines
		}' "$file.c.gcov" >"$file.coverage"
	head -n 1 "$file.coverage"
done < <(find sum -name '*.gcda' | sort)
# A line of the header that all of them have is reached if it is in one
find headers -name '*#include#linux#slab_arena.h.gcov' -exec cat {} + | awk -F: '
	{ gsub(/ /, "", $1); gsub(/ /, "", $2) }
	$1 ~ /^[0-9]+\*?$/ { hit[$2] = 1; all[$2] = $0 }
	$1 ~ /^(#####|=====)$/ && !all[$2] { all[$2] = $0 }
	END {
		for (n in all) {
			lines++
			reached += hit[n]
			if (!hit[n])
				text = text all[n] "\n"
		}
		printf "%-16s %5d lines, %5d reached, %5.1f %%\n%s", "slab_arena.h", lines, reached,
			lines ? 100 * reached / lines : 0, text
	}' >slab_arena.h.coverage
head -n 1 slab_arena.h.coverage
say "lines that were not reached: $(shown "$OUT")/*.coverage"
few=$(awk -v least="$LEAST" '/lines, .* reached, / && $(NF - 1) < least { print $1 }' ./*.coverage | tr '\n' ' ')
[ -z "$few" ] || die "less than $LEAST % of the lines were reached: $few"
exit "$rc"
