#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Build and test everything: the kernel, the tools, KUnit, the BPF tests and a
# short demonstration, one architecture after the other. What cannot be built or
# run counts as failed, and the rest goes on. The very last line, alone, is
# "N passed, N failed, N skipped". What is run on a FLAVOR stands in vm/flavors.list.
#
# Usage: [FLAVOR=] vm/test.sh [x86_64|arm64]...

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- x86_64 arm64
for arch in "$@"; do
	ARCH=$arch
	arch_setup
done
[ -z "$FILES_LIST" ] ||
	die -2 "FLAVOR=$FLAVOR is the kernel without our patches: make base shows what fails there"
run_setup

passed=0
failed=0
skipped=0
trouble=()

# suite WHAT COMMAND...: its output is shown, its last line is counted.
suite() {
	local what=$1 rc=0 log line p f s

	shift
	log=$ARENA_SLAB_RUN/result-${what// /-}.log
	"$@" | tee "$log" || rc=$?
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1 || true)
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
	return "$rc"
}

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

# build WHAT COMMAND...: is no test when it works, and a failure when it does not.
build() {
	local what=$1

	shift
	"$@" >/dev/null && return
	failed=$((failed + 1))
	trouble+=("$what: not built")
	return 1
}

# Nothing of the option is left in a kernel without it, and our tool says what is missing.
is_absent() {
	local said=$ARENA_SLAB_RUN/output-absent-$NAME.log

	"$VM/boot.sh" -s -n "absent-$NAME" -c \
		'if grep -E "slab_arena_|bpf_arena_(cache|alloc$|free$)" /proc/kallsyms; then exit 3; fi; arenaslab stat 2>&1' && return 1
	grep -q '^arenaslab: .*CONFIG_SLAB_BPF_ARENA' "$said" && return
	sed 's/^/    /' "$said" | head -n 5
	return 1
}

# An option that is offered and not chosen has a line in .config.
is_hidden() {
	! grep 'CONFIG_SLAB_BPF_ARENA\>' "$BUILD/.config"
}

# The kind is a word of vm/flavors.list.
run_tests() {
	case $1 in
	kunit) suite "KUnit $NAME" "$VM/kunit.sh" ;;
	bpf) suite "BPF tests $NAME" "$VM/selftest.sh" ;;
	tool) suite "arenaslab $NAME" env PROGRAM=arenaslab_test "$VM/selftest.sh" ;;
	demo)
		say "demonstration ($NAME): boot"
		suite "demonstration $NAME" one "$VM/boot.sh" -n "demo-$NAME" -c 'ROUNDS=2 demo'
		;;
	absent) suite "absent $NAME" one is_absent ;;
	hidden) suite "hidden $NAME" one is_hidden ;;
	objects) suite "objects $NAME" "$VM/objects.sh" ;;
	*) die "vm/flavors.list: there are no tests by the name of $1" ;;
	esac
}

for arch in "$@"; do
	ARCH=$arch
	arch_setup
	say "== $NAME"
	build "kernel $NAME" "$VM/kernel.sh" || continue
	build "tools $NAME" "$VM/user.sh" || continue
	for tests in $TESTS; do
		run_tests "$tests" || true
	done
done

if [ ${#trouble[@]} -gt 0 ]; then
	say "== what went wrong (logs: $(shown "$ARENA_SLAB_RUN"))"
	printf '    %s\n' "${trouble[@]}" >&2
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
