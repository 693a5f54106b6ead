#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the BPF tests in the VM, or those of our tool, and count their TAP. A test that was
# planned and did not report has failed. The last line is "N passed, N failed, N skipped".
#
# Usage: [ARCH=] [FLAVOR=] [PROGRAM=arena_slab|arenaslab_test] vm/selftest.sh [ITS ARGUMENTS]

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

PROGRAM=${PROGRAM:-arena_slab}
case $PROGRAM in
arena_slab) self=selftest what='BPF tests' ;;
arenaslab_test) self=tool what='arenaslab' ;;
*) die -2 "PROGRAM=$PROGRAM: there are arena_slab and arenaslab_test" ;;
esac
OUTPUT=$ARENA_SLAB_RUN/output-$self-$NAME.log
[ -x "$TOOLS/bin/$PROGRAM" ] || die "there is no $PROGRAM for $NAME: make tools ARCH=$ARCH"

# Counts on the last line; before it, every failure with the lines that led to it.
tap() {
	awk '
	/^1\.\.[0-9]+/ { planned = substr($1, 4) + 0; next }
	/^(not )?ok / {
		ran++
		if ($0 ~ /# *(SKIP|skip)/) { skipped++; print }
		else if ($1 == "ok") passed++
		else { failed++; printf "%s%s\n", notes, $0 }
		notes = ""
		next
	}
	/^(TAP|KTAP) version/ { next }
	{ notes = notes $0 "\n" }
	END {
		if (planned > ran) {
			printf "%s%d of %d tests did not report\n", notes, planned - ran, planned
			failed += planned - ran
		}
		printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	}' "$OUTPUT"
}

say "$what ($NAME): boot"
# They attach schedulers, see vm/boot.sh; TCG_THREAD=multi is what races want
export TCG_THREAD=${TCG_THREAD:-single}
rc=0
TIMEOUT=${TIMEOUT:-$((900 * SLOW))} "$VM/boot.sh" -s -n "$self-$NAME" -c "$PROGRAM $*" || rc=$?
result=$(tap)
printf '%s\n' "$result" | sed '$d'
read -r passed _ failed _ skipped _ <<<"$(printf '%s\n' "$result" | tail -n 1)"
if [ "$rc" != 0 ] && [ "$failed" = 0 ]; then
	say "$what ($NAME): no test failed, but the run ended with $rc, log: $(shown "$OUTPUT")"
	tail -n 15 "$OUTPUT" | sed 's/^/    /' >&2
	failed=1
elif [ $((passed + failed)) = 0 ]; then
	say "$what ($NAME): no test ran, log: $(shown "$OUTPUT")"
	failed=1
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$rc" = 0 ] || exit "$rc"
[ "$failed" = 0 ]
