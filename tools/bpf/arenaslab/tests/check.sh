#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# What needs no kernel of ours: help, completion and man page. The last line is "N passed,
# N failed, N skipped".
#
# Usage: tests/check.sh ARENASLAB	(a binary that runs here)

set -u
tool=$(realpath "$1")
here=$(dirname "$(realpath "$0")")/..
passed=0 failed=0 skipped=0

check() {
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1))
		echo "ok - $1"
	else
		failed=$((failed + 1))
		printf '# got      %s\n# expected %s\nnot ok - %s\n' "$2" "$3" "$1"
	fi
}

skip() {
	skipped=$((skipped + 1))
	echo "ok - $1 # SKIP $2"
}

PATH=$(dirname "$tool"):$PATH
# shellcheck source=/dev/null
. "$here/arenaslab.bash"

# complete WORD...: what is offered for the last one
complete_words() {
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_arenaslab
	echo "${COMPREPLY[*]}"
}

check "completion of commands" "$(complete_words arenaslab '')" "top stat dump watch tasks torture fuzz bench"
check "completion of a command" "$(complete_words arenaslab to)" "top torture"
check "completion of options" "$(complete_words arenaslab watch --)" "--duration --count --json --verbose"
check "completion of one option" "$(complete_words arenaslab top --o)" "--once"
check "completion of columns" "$(complete_words arenaslab top -s fr)" "frag frees"
check "completion of sizes" "$(complete_words arenaslab bench -s 1)" "16 1024 12288"
check "completion of works" "$(complete_words arenaslab bench -w batch64)" "batch64-order batch64-reverse batch64-random"

# The synopsis of the man page is the usage
check "help of one command" "$("$tool" stat --help | head -n 1 | tr -s ' ')" "Usage: arenaslab stat [--json]"
check "help fits 80 columns" "$("$tool" --help | awk 'length($0) > 80' | wc -l)" 0

if command -v man >/dev/null; then
	check "man page has no warnings" "$(LC_ALL=C MANWIDTH=80 man --warnings -l "$here/arenaslab.8" 2>&1 >/dev/null)" ""
else
	skip "man page has no warnings" "there is no man here"
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
make -s -C "$here" OUTPUT="$(dirname "$tool")/" -o "$tool" install DESTDIR="$dir" prefix=/usr >/dev/null
check "install" "$(cd "$dir" && find . -type f | sort | tr '\n' ' ')" \
	"./usr/include/bpf/arena_alloc.bpf.h ./usr/sbin/arenaslab ./usr/share/bash-completion/completions/arenaslab ./usr/share/man/man8/arenaslab.8 "

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
