#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Check the models of our lockless protocols, tools/verification/arena_slab/*.pml:
# each as it is, where spin must find nothing wrong, and with each of the mutants
# that its header lists, where spin must find a counter-example. The last line is
# "N passed, N failed, N skipped". What spin said stays in this run's log folder.
#
# Usage: vm/models.sh [MODEL[:MUTANT]]...

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
run_setup

DIR=$REPO/tools/verification/arena_slab
OUT=$ARENA_SLAB_RUN/models
# Bounds of one search; the models need a tenth of them
SECONDS_MAX=120
MEM_MAX=2048
DEPTH_MAX=100000

command -v spin >/dev/null || die "no spin here: vm/setup.sh installs it"

# The mutants that a model's header lists: a tab, the name, a tab, what is broken.
mutants() {
	sed -nE '/^ \* Mutants:/,/\*\//s/^ \*\t([A-Z_]+)\t.*/\1/p' "$1"
}

# check MODEL [MUTANT]: in a folder of its own; says in result what came of it
check() {
	local model=$1 mutant=${2:-} optimize=-O1 rc=0

	# A mutant is found out at once, and compiling it is what takes time
	[ -z "$mutant" ] || optimize=-O0
	cd "$OUT/$model${mutant:+-$mutant}"
	cp "$DIR/$model.pml" "$DIR"/*.inc .
	echo 'not built' >result
	{
		spin -a ${mutant:+"-D$mutant"} "$model.pml" &&
			gcc "$optimize" -w -DSAFETY -DMEMLIM="$MEM_MAX" -o pan pan.c
	} >build.log 2>&1 || return 0
	timeout "$SECONDS_MAX" ./pan -w22 -m"$DEPTH_MAX" >pan.log 2>&1 || rc=$?
	if [ -f "$model.pml.trail" ]; then
		spin -t -p -g -l ${mutant:+"-D$mutant"} "$model.pml" >trail.log 2>&1 || true
		grep -m 1 '^pan:' pan.log | sed -E 's/^pan:[0-9]+: //; s/ \(at depth.*//' >result
	elif [ "$rc" = 124 ]; then
		echo "not done in $SECONDS_MAX s" >result
	elif [ "$rc" = 0 ] && grep -q 'errors: 0$' pan.log &&
	     ! grep -qE 'max search depth too small|Search not completed|reached -DMEMLIM' pan.log; then
		echo complete >result
	else
		echo "search not completed" >result
	fi
	rm -f pan pan.[bchmpt]
}

tests=()
if [ $# -gt 0 ]; then
	for t in "$@"; do
		[ -f "$DIR/${t%%:*}.pml" ] || die -2 "there is no model ${t%%:*}"
		tests+=("$t")
	done
else
	for f in "$DIR"/*.pml; do
		name=$(basename "$f" .pml)
		list=$(mutants "$f")
		[ -n "$list" ] || die "$name.pml lists no mutants: then it cannot fail"
		tests+=("$name")
		for m in $list; do
			tests+=("$name:$m")
		done
	done
fi

mkdir -p "$OUT"
say "models: ${#tests[@]} searches, $JOBS at a time"
for t in "${tests[@]}"; do
	mkdir -p "$OUT/${t/:/-}"
	while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
		wait -n || true
	done
	(check "${t%%:*}" "$(sed -n 's/^[^:]*://p' <<<"$t")") &
done
wait

passed=0
failed=0
for t in "${tests[@]}"; do
	result=$(cat "$OUT/${t/:/-}/result" 2>/dev/null || echo lost)
	bad=
	case $t in
	*:*) # A counter-example is what it is for
		[ -f "$OUT/${t/:/-}/trail.log" ] || bad="not caught ($result)" ;;
	*)
		[ "$result" = complete ] || bad=$result ;;
	esac
	if [ -z "$bad" ]; then
		passed=$((passed + 1))
		case $t in
		*:*) printf 'ok %s: caught, %s\n' "$t" "$result" ;;
		*)
			states=$(awk '/states, stored/ { print $1; exit }' "$OUT/$t/pan.log")
			printf 'ok %s: %s states\n' "$t" "$states"
			;;
		esac
	else
		failed=$((failed + 1))
		printf 'not ok %s: %s\n' "$t" "$bad"
	fi
done
[ "$failed" = 0 ] || say "what spin said, and the steps (trail.log): $(shown "$OUT")"
printf '%d passed, %d failed, 0 skipped\n' "$passed" "$failed"
[ "$failed" = 0 ]
