#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# `arenaslab fuzz` in the VM: random sequences of what programs and processes can do with
# an arena, against a model of it. The tool says with which seed. A sequence that is wrong
# is shortened and printed; in a file, it is what REPLAY does again.
#
# Usage: [ARCH=] [FLAVOR=] [DURATION=60] [SEED=] [REPLAY=file] vm/fuzz.sh [ARGUMENTS OF THE TOOL]
#
# Exit codes are those of vm/boot.sh. When the kernel does not survive it, the last line
# "arenaslab fuzz: seed ... session ..." of the console's log is where to begin:
# SEED=... vm/fuzz.sh -n SESSION -v

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

DURATION=${DURATION:-60}
SEED=${SEED:-}
REPLAY=${REPLAY:-}
[[ $DURATION =~ ^[1-9][0-9]{0,4}$ ]] && [ "$DURATION" -le 86400 ] ||
	die -2 "DURATION=$DURATION is no number of seconds (1 to 86400)"
[[ $SEED =~ ^[0-9]*$ ]] || die -2 "SEED=$SEED is no number"
[ -z "$REPLAY" ] || [ -f "$REPLAY" ] || die -2 "REPLAY=$REPLAY: there is no such file"

# Behind the time there may be a sequence to be shortened
TIMEOUT=${TIMEOUT:-$(((DURATION + 900) * SLOW))}
export TIMEOUT
args='watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120'

# Every session attaches programs, which patches kernel text, see vm/boot.sh
[ "$ARCH" != x86_64 ] || export TCG_THREAD=${TCG_THREAD:-single}

say "fuzz ($NAME), ${REPLAY:-$DURATION s}: boot"
exec "$VM/boot.sh" -n "fuzz-$NAME" -a "$args" ${REPLAY:+-f "$REPLAY:/root/replay"} \
	-c "arenaslab fuzz -x $SLOW -d $DURATION ${SEED:+-s $SEED} ${REPLAY:+-r /root/replay} $*"
