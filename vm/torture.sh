#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# `arenaslab torture` in the VM: hostile programs and processes for a time, and a
# verdict. The tool says with which seed; that one again gives the same operations.
#
# Usage: [ARCH=] [FLAVOR=] [DURATION=60] [SEED=] vm/torture.sh [ARGUMENTS OF THE TOOL]
#
# Exit codes are those of vm/boot.sh.

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

DURATION=${DURATION:-60}
SEED=${SEED:-}
[[ $DURATION =~ ^[1-9][0-9]{0,4}$ ]] && [ "$DURATION" -le 86400 ] ||
	die -2 "DURATION=$DURATION is no number of seconds (1 to 86400)"
[[ $SEED =~ ^[0-9]*$ ]] || die -2 "SEED=$SEED is no number"

# Loading and attaching the programs, and the sweep at the end, take a while on an
# emulated CPU. So do these things on one that is kept busy on purpose: who hangs is
# found by the tool, and by these some time later.
TIMEOUT=${TIMEOUT:-$(((DURATION + 600) * SLOW))}
export TIMEOUT
args="watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=$((SLOW > 1 ? 300 : 120))"

# Every program that is attached patches kernel text, see vm/boot.sh: here that is not
# one in thirty runs but all of them.
[ "$ARCH" != x86_64 ] || export TCG_THREAD=${TCG_THREAD:-single}

say "torture ($NAME), $DURATION s: boot"
exec "$VM/boot.sh" -n "torture-$NAME" -a "$args" \
	-c "arenaslab torture -x $SLOW -d $DURATION ${SEED:+-s $SEED} $*"
