#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the kernel with its KUnit suites on, and let the kernel's own parser read
# the console. The last line is "N passed, N failed, N skipped".
#
# Usage: [ARCH=] [FLAVOR=] [SUITE=GLOB] vm/kunit.sh

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

SUITE=${SUITE:-}
LOG=$ARENA_SLAB_RUN/console-kunit-$NAME.log
PARSED=$ARENA_SLAB_RUN/kunit-$NAME.log

# The parser's "Ran 9 tests: passed: 7, crashed: 1, skipped: 1, errors: 2".
count() {
	sed 's/\x1b\[[0-9;]*m//g' "$PARSED" |
		sed -nE "s/.*Ran [0-9]+ tests:.* ($1): ([0-9]+).*/\2/p" | tail -n 1 | grep . || echo 0
}

# NMIs cost arm64 a register access each time interrupts are switched off: only here,
# where a test raises one.
NMI=
[ "$ARCH" != arm64 ] || NMI=' irqchip.gicv3_pseudo_nmi=1'

# A slow kernel's CPUs run in parallel, too. No suite attaches a scheduler, and who meets
# a kprobe's int3 that is gone goes on (see vm/boot.sh).
[ "$SLOW" -lt 4 ] || export TCG_THREAD=${TCG_THREAD:-multi}

say "KUnit ($NAME): boot"
rc=0
TIMEOUT=${TIMEOUT:-$((600 * SLOW))} "$VM/boot.sh" -s -n "kunit-$NAME" -c true \
	-a "kunit.autorun=1${SUITE:+ kunit.filter_glob=$SUITE}$NMI" || rc=$?
parsed=0
# The console's lines end in CR LF.
tr -d '\r' <"$LOG" | python3 "$TREE/tools/testing/kunit/kunit.py" parse >"$PARSED" 2>&1 || parsed=$?
cat "$PARSED"
passed=$(count passed)
skipped=$(count skipped)
failed=$(($(count failed) + $(count crashed)))
# The parser's own errors (a suite that stopped in the middle), and a machine
# that was lost or complained, are failures as well.
[ "$parsed" = 0 ] || [ "$failed" -gt 0 ] || failed=$((failed + 1))
[ "$rc" = 0 ] || failed=$((failed + 1))
if [ $((passed + failed)) = 0 ]; then
	say "KUnit ($NAME): no suite ran, log: $(shown "$LOG")"
	failed=1
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$rc" = 0 ] || exit "$rc"
[ "$failed" = 0 ]
