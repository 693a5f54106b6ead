#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the tests of every flavor in vm/flavors.list, and print a table of them. The last
# line is "N passed, N failed, N skipped". It takes hours where nothing is built yet.
#
# Usage: vm/matrix.sh [FLAVOR]...

export FLAVOR=
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
ARCHES=${ARCHES:-x86_64 arm64}
run_setup

wanted=("$@")
for f in "${wanted[@]}"; do
	grep -q "^$f *|" "$VM/flavors.list" || die -2 "there is no flavor $f in vm/flavors.list"
done

total_passed=0
total_failed=0
total_skipped=0
table=()
while IFS='|' read -r name arches tests why <&3; do
	[ -n "$tests" ] || continue
	[ ${#wanted[@]} = 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || continue
	for arch in $arches; do
		[[ " $ARCHES " == *" $arch "* ]] || continue
		log=$ARENA_SLAB_RUN/matrix-$name-$arch.log
		start=$SECONDS
		# Logs of its own: a run writes to files that are named after what it tests.
		FLAVOR=$name ARENA_SLAB_RUN='' "$VM/test.sh" "$arch" | tee "$log" || true
		read -r passed _ failed _ skipped _ <<<"$(tail -n 1 "$log")"
		[[ $passed-$failed-$skipped =~ ^[0-9]+-[0-9]+-[0-9]+$ ]] || passed=0 failed=1 skipped=0
		total_passed=$((total_passed + passed))
		total_failed=$((total_failed + failed))
		total_skipped=$((total_skipped + skipped))
		table+=("$(printf '%-10s %-7s %6d %6d %7d %6s  %s' "$name" "$arch" "$passed" "$failed" "$skipped" \
			"$(((SECONDS - start + 30) / 60)) min" "$why")")
	done
done 3< <(sed -E '/^#/d; /^[[:space:]]*$/d; s/[[:space:]]*\|[[:space:]]*/|/g' "$VM/flavors.list" |
	awk -F '|' -v OFS='|' '{ print $1, $2, $3, $7 }')

printf '\n%-10s %-7s %6s %6s %7s %6s  %s\n' FLAVOR ARCH PASSED FAILED SKIPPED TIME 'WHAT IT IS FOR'
printf '%s\n' "${table[@]}"
printf '%d passed, %d failed, %d skipped\n' "$total_passed" "$total_failed" "$total_skipped"
[ "$total_failed" = 0 ] && [ "$total_passed" -gt 0 ]
