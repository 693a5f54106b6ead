#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Show on the unpatched kernel that the tests of vm/base.list see the defects they
# are for: build FLAVOR=base, run each test in a boot of its own, and expect it to
# end there as the list says. Printed is how it did. The last line is "N passed, N
# failed, N skipped": passed is a defect that was shown.
#
# Usage: vm/base.sh [-t GLOB] [x86_64|arm64]...
#
#	-t	only the tests whose name matches

export FLAVOR=base
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

GLOB='*'
while getopts t: opt; do
	case $opt in
	t) GLOB=$OPTARG ;;
	*) die -2 "usage: vm/base.sh [-t GLOB] [x86_64|arm64]..." ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- x86_64 arm64
for arch in "$@"; do
	ARCH=$arch
	arch_setup
done
run_setup

LIST=$VM/base.list
passed=0
failed=0
skipped=0

# boot KIND TEST NAME: sets rc, and SAID to what has the test's result.
boot() {
	local kind=$1 test=$2 name=$3

	rc=0
	SAID=$ARENA_SLAB_RUN/said-$name.log
	case $kind in
	kunit)
		# Not found is no line of KTAP, and none of the outcomes.
		"$VM/boot.sh" -s -n "$name" -c true \
			-a "kunit.autorun=1 kunit.filter_glob=$test" 2>/dev/null || rc=$?
		;;
	bpf)
		# -v: why the verifier or the JIT refused a program
		"$VM/boot.sh" -s -n "$name" -c "arena_slab -v -t '$test'" 2>/dev/null || rc=$?
		;;
	esac
	# The console with its time stamps off, then the command's own output.
	{
		tr -d '\r' <"$ARENA_SLAB_RUN/console-$name.log" | sed -E 's/^\[ *[0-9]+\.[0-9]+\] ?//'
		[ "$kind" != bpf ] || cat "$ARENA_SLAB_RUN/output-$name.log"
	} >"$SAID"
}

COMPLAINTS='BUG: |Oops|Unable to handle kernel|Internal error: |WARNING: |kernel BUG|Kernel panic'

# proof KIND OUTCOME NAME: the head of the kernel's complaint, or what the failed test
# says of itself.
proof() {
	case $1-$2 in
	*-oopses | *-warns)
		grep -aE -m 1 -A 40 "$COMPLAINTS" "$SAID" |
			grep -aE "$COMPLAINTS|nest depth|RIP: 0010|pc : |Call [Tt]race|^ [a-z_]\\S*\+0x" | uniq | sed -n 1,11p
		;;
	kunit-fails)
		grep -aE '^    ( |# [a-z].*: |Expected |not ok )' "$SAID" | grep -avE 'Subtest: |# module: ' | sed -n 1,10p
		;;
	bpf-fails)
		grep -avE '^(KTAP version|1\.\.|# [0-9]+ passed)|PROG LOAD LOG|^processed ' "$ARENA_SLAB_RUN/output-$3.log" | sed -n 1,8p
		;;
	esac
}

# ended OUTCOME TEST: did it?
ended() {
	local outcome=$1 test=${2##*[./]}

	case $outcome in
	oopses) [ "$rc" = 125 ] && grep -aqE 'Oops|Internal error: ' "$SAID" ;;
	warns) [ "$rc" = 126 ] && grep -aqE "$COMPLAINTS" "$SAID" ;;
	fails) grep -aqE "^ *not ok [0-9]+ (.*/)?$test\$" "$SAID" && ! grep -aqE "$COMPLAINTS" "$SAID" ;;
	esac
}

# prove DEFECT KIND TEST OUTCOME [TEXT]
prove() {
	local defect=$1 kind=$2 test=$3 outcome=$4 text=${5:-} name

	name=base-$ARCH-$defect-${test//[^a-z0-9_]/-}
	boot "$kind" "$test" "$name"
	if ended "$outcome" "$test" && { [ -z "$text" ] || grep -aqF -- "$text" "$SAID"; }; then
		passed=$((passed + 1))
		printf '%s %s (%s): %s, as it has to\n' "$defect" "$test" "$ARCH" "$outcome"
		proof "$kind" "$outcome" "$name" | cut -c1-160 | sed 's/^ */    /'
	else
		failed=$((failed + 1))
		printf '%s %s (%s): NOT SHOWN, it has to be one that %s%s\n' "$defect" "$test" "$ARCH" \
			"$outcome" "${text:+ with \"$text\"}"
		{
			grep -aE "$COMPLAINTS|^ *(not )?ok [0-9]+ |no test matches" "$SAID" || tail -n 8 "$SAID"
		} | sed -n 1,12p | cut -c1-160 | sed 's/^ */    /'
		printf '    (status %s, log: %s)\n' "$rc" "$(shown "$SAID")"
	fi
}

for arch in "$@"; do
	ARCH=$arch
	arch_setup
	"$VM/user.sh" >/dev/null
	"$VM/kernel.sh" >/dev/null
	say "== $NAME"
	# Not on stdin: what is run below might read it.
	while read -r defect kind test outcome only text <&3; do
		# shellcheck disable=SC2053 # a pattern
		[[ $test == $GLOB ]] || continue
		case $kind-$outcome in
		kunit-fails | kunit-oopses | kunit-warns | bpf-fails | bpf-oopses | bpf-warns) ;;
		*) die "vm/base.list: $defect $test: there is no $kind that $outcome" ;;
		esac
		case $only in
		any | "$ARCH") prove "$defect" "$kind" "$test" "$outcome" "$text" ;;
		*) skipped=$((skipped + 1)) ;;
		esac
	done 3< <(sed -E '/^#/d; /^[[:space:]]*$/d' "$LIST")
done

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
