#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Build and test everything: kernels, tools, KUnit, the BPF tests, arenaslab's and a short
# demonstration, as many at the same time as there are CPUs. What cannot be built or run
# counts as failed, and the rest goes on. The very last line, alone, is "N passed, N failed,
# N skipped". What is run on a FLAVOR stands in vm/flavors.list.
#
# Usage: [FLAVOR=] [PARALLEL=] vm/test.sh [ARCH|ARCH-FLAVOR]...

# shellcheck disable=SC2030,SC2031 # each kernel's variables are those of a subshell
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- x86_64 arm64
FLAVOR_GIVEN=$FLAVOR
MEM_GIVEN=${MEM:-}
# 8 GiB a VM, which is the most that a flavor has
PARALLEL=${PARALLEL:-$(awk -v jobs="$JOBS" '
	$1 == "MemAvailable:" { n = int($2 / 8 / 2 ^ 20); print n < 1 ? 1 : n < jobs ? n : jobs }' /proc/meminfo)}
[[ $PARALLEL =~ ^[1-9][0-9]{0,2}$ ]] || die -2 "PARALLEL=$PARALLEL is no number of VMs (1 to 999)"

# in_kernel ARCH[-FLAVOR] COMMAND...: in a shell of its own, as each kernel has its variables.
in_kernel() (
	ARCH=${1%%-*}
	FLAVOR=$FLAVOR_GIVEN
	[ "$1" = "$ARCH" ] || FLAVOR=${1#*-}
	[ "$FLAVOR" != default ] || FLAVOR=
	MEM=$MEM_GIVEN
	shift
	arch_setup
	"$@"
)

is_testable() {
	[ ! -f "$VM/config/flavor/$FLAVOR.files" ] ||
		die -2 "FLAVOR=$FLAVOR is the kernel without our patches: make base shows what fails there"
}

for kernel in "$@"; do
	in_kernel "$kernel" is_testable
done
run_setup

passed=0
failed=0
skipped=0
trouble=()

# one COMMAND...: counts as a single test.
one() {
	local rc=0

	"$@" >&2 || rc=$?
	if [ "$rc" = 0 ]; then
		echo '1 passed, 0 failed, 0 skipped'
	else
		echo '0 passed, 1 failed, 0 skipped'
	fi
	return "$rc"
}

# Nothing of the option is left in a kernel without it, and our tool says what is missing.
is_absent() {
	local said=$ARENA_SLAB_RUN/output-absent-$NAME.log

	"$VM/boot.sh" -s -n "absent-$NAME" -c \
		'if grep -E "slab_arena_|bpf_arena_(cache|alloc$|free$)" /proc/kallsyms; then exit 3; fi; arenaslab stat 2>&1' && return 1
	grep -q '^arenaslab: .*CONFIG_SLAB_BPF_ARENA' "$said" && return
	sed 's/^/    /' "$said" | sed -n 1,5p
	return 1
}

# An option that is offered and not chosen has a line in .config.
is_hidden() {
	! grep 'CONFIG_SLAB_BPF_ARENA\>' "$BUILD/.config"
}

# What a kind of tests, a word of vm/flavors.list, is called.
title() {
	case $1 in
	kunit) echo "KUnit $NAME" ;;
	bpf) echo "BPF tests $NAME" ;;
	tool) echo "arenaslab $NAME" ;;
	demo) echo "demonstration $NAME" ;;
	absent | hidden | objects) echo "$1 $NAME" ;;
	*) die "vm/flavors.list: there are no tests by the name of $1" ;;
	esac
}

run_tests() {
	case $1 in
	kunit) "$VM/kunit.sh" ;;
	bpf) "$VM/selftest.sh" ;;
	tool) PROGRAM=arenaslab_test "$VM/selftest.sh" ;;
	demo)
		say "demonstration ($NAME): boot"
		TCG_THREAD=${TCG_THREAD:-single} one "$VM/boot.sh" -n "demo-$NAME" -c 'ROUNDS=2 demo'
		;;
	absent) one is_absent ;;
	hidden) one is_hidden ;;
	objects) "$VM/objects.sh" ;;
	esac
}

# What is built at all has its line of tests: ARCH[-FLAVOR] KIND TITLE.
queue=()
build() {
	say "== $NAME"
	"$VM/kernel.sh" >/dev/null || return 3
	"$VM/user.sh" >/dev/null || return 4
}

tests() {
	local kind what

	for kind in $TESTS; do
		what=$(title "$kind") || return
		printf '%s %s %s\n' "$1" "$kind" "$what"
	done
}

for kernel in "$@"; do
	rc=0
	in_kernel "$kernel" build || rc=$?
	if [ "$rc" = 0 ]; then
		lines=$(in_kernel "$kernel" tests "$kernel") || exit
		[ -z "$lines" ] || mapfile -t -O "${#queue[@]}" queue <<<"$lines"
	else
		failed=$((failed + 1))
		trouble+=("$([ "$rc" = 4 ] && echo tools || echo kernel) $kernel: not built")
	fi
done

# start NUMBER: the tests of that line, in the background; the status is in a file when
# they have ended. A process group of their own, so that nothing is left of them.
pids=()
start() {
	local kernel kind what log

	read -r kernel kind what <<<"${queue[$1]}"
	log=$ARENA_SLAB_RUN/result-${what// /-}
	rm -f "$log.rc"
	set -m
	(
		rc=0
		in_kernel "$kernel" run_tests "$kind" >"$log.log" || rc=$?
		echo "$rc" >"$log.rc"
	) </dev/null &
	pids[$1]=$!
	set +m
}

# collect: what has ended is shown, and its last line counted.
collect() {
	local i what log rc line p f s

	for i in "${!pids[@]}"; do
		! kill -0 "${pids[i]}" 2>/dev/null || continue
		unset "pids[i]"
		read -r _ _ what <<<"${queue[i]}"
		log=$ARENA_SLAB_RUN/result-${what// /-}
		rc=$(cat "$log.rc" 2>/dev/null || echo 1)
		cat "$log.log" || true
		line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log.log" | tail -n 1 || true)
		if [ -n "$line" ]; then
			read -r p _ f _ s _ <<<"$line"
		else
			p=0 f=1 s=0
		fi
		[ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
		passed=$((passed + p))
		failed=$((failed + f))
		skipped=$((skipped + s))
		case $rc in
		0) ;;
		124) trouble+=("$what: took too long") ;;
		125) trouble+=("$what: the machine was lost") ;;
		126) trouble+=("$what: the kernel complained") ;;
		*) trouble+=("$what: $f failed") ;;
		esac
	done
}

stop() {
	local pid

	for pid in "${pids[@]}"; do
		kill -- "-$pid" 2>/dev/null || true
	done
	wait
	die -130 'interrupted'
}
trap stop INT TERM HUP

for i in "${!queue[@]}"; do
	while [ "${#pids[@]}" -ge "$PARALLEL" ]; do
		wait -n "${pids[@]}" || true
		collect
	done
	start "$i"
done
while [ "${#pids[@]}" -gt 0 ]; do
	wait -n "${pids[@]}" || true
	collect
done
trap - INT TERM HUP

if [ ${#trouble[@]} -gt 0 ]; then
	say "== what went wrong (logs: $(shown "$ARENA_SLAB_RUN"))"
	printf '    %s\n' "${trouble[@]}" >&2
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
