#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Is the series (vm/series.sh) bisectable: compose the tree as it is after each step, and
# there build the kernel for each architecture and run the tests that there are by then, by
# this harness. With -b compile only, and only the directories that the series touches, with
# the option and, where it exists, also without it.
#
# A table at the end, and as the last line "N passed, N failed, N skipped".
#
# Usage: vm/series_test.sh [-b] [-s FROM[-TO]] [x86_64|arm64]...
#
#	-s	only these steps: 8 or 8-12

export FLAVOR=
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

GIT=$CACHE/series/git		# a tag for each step
STEP=$CACHE/series-test/step	# this repository, as it is after a step
HOME_OF_STEP=$CACHE/series-test/home	# its cache
OBJECTS_ONLY=
FROM=1
TO=99
while getopts bs: opt; do
	case $opt in
	b) OBJECTS_ONLY=1 ;;
	s)
		[[ $OPTARG =~ ^([0-9]+)(-([0-9]+))?$ ]] || die -2 "-s $OPTARG: it is 8 or 8-12"
		FROM=$((10#${BASH_REMATCH[1]}))
		TO=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
		;;
	*) die -2 "usage: vm/series_test.sh [-b] [-s FROM[-TO]] [x86_64|arm64]..." ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- x86_64 arm64
for ARCH in "$@"; do
	arch_setup
done

in_git() {
	git -C "$GIT" "$@"
}

# The options that our Kconfig files bring by now, and that can be chosen
options() {
	local path

	in_git diff --name-only pristine HEAD -- '*Kconfig*' | while read -r path; do
		awk '
			/^config / { name = $2 }
			name && /^\t(bool|tristate) "/ { print "CONFIG_" name; name = "" }' "$GIT/$path"
	done
}

# What of ours there is by now, in the form that it has here, and the harness
snapshot() {
	local path have option

	rm -rf "$STEP"
	mkdir -p "$STEP" "$HOME_OF_STEP"
	cp -a "$REPO/vm" "$REPO/Makefile" "$STEP/"
	in_git diff --name-only --no-renames pristine HEAD | while read -r path; do
		mkdir -p "$(dirname "$STEP/$path")"
		if ! in_git cat-file -e "pristine:$path" 2>/dev/null; then
			cp -p "$GIT/$path" "$STEP/$path"
		else
			{
				printf 'As after a step of the series\n\n'
				if [ -f "$GIT/$path" ]; then
					diff -up --label "a/$path" --label "b/$path" "$PRISTINE/$path" "$GIT/$path"
				else
					diff -up --label "a/$path" --label /dev/null "$PRISTINE/$path" /dev/null
				fi
			} >"$STEP/$path.patch" || true
		fi
	done
	# Options that do not exist yet fall away. Without mm/Kconfig.patch nobody looks at
	# arena_slab.config, but some of its options may be there.
	have=$(options)
	sed -nE 's/^(CONFIG_[A-Z0-9_]+)=.*/\1/p' "$VM/config/arena_slab.config" | while read -r option; do
		! grep -qxF "$option" <<<"$have" || grep "^$option=" "$VM/config/arena_slab.config"
	done >>"$STEP/vm/config/common.config"
	printf '# SPDX-License-Identifier: GPL-2.0\n' >"$STEP/vm/config/arena_slab.config"
}

# What make is to build: the directories that the series touches, the nearest with a
# Makefile; of lib/ itself, which is large, our objects
directories() {
	local path dir

	in_git diff --name-only --no-renames pristine series -- '*.c' '*.h' | while read -r path; do
		case $path in
		include/* | tools/* | Documentation/*) continue ;;
		lib/*/*) ;;
		lib/*)
			[ ! -f "$GIT/$path" ] || printf '%s\n' "${path%.c}.o"
			continue
			;;
		arch/"$1"/*) ;;
		arch/*) continue ;;
		esac
		dir=${path%/*}
		until [ -f "$PRISTINE/$dir/Makefile" ]; do
			dir=${dir%/*}
		done
		printf '%s/\n' "$dir"
	done | sort -u
}

# harness SCRIPT [VARIABLE=VALUE]...: one of the step's, which has a cache beside this one.
# $LOG has what it says.
harness() {
	local script=$1

	shift
	env -u ARENA_SLAB_LOCK XDG_CACHE_HOME="$HOME_OF_STEP" LINUX_SRC="$PRISTINE" ARCH="$ARCH" \
		CCACHE_DIR="${CCACHE_DIR:-$CACHE/ccache}" "$@" "$STEP/vm/$script.sh" >>"$LOG" 2>&1
}

table=()
passed=0
failed=0
skipped=0

# row WORDS: what became of a step
row() {
	table+=("$(printf '%-34s %-7s %s' "$s" "$ARCH" "$*")")
	say "${table[-1]}"
}

objects() {
	local kind kinds=('') cell='' dirs

	# All that a kernel is made of, and what is new to it
	if ! in_git diff --name-only "HEAD^" HEAD | grep -vE '^(Documentation|tools)/|^MAINTAINERS$' >/dev/null; then
		skipped=$((skipped + 1))
		row 'no change to what is compiled'
		return
	fi
	dirs=$(directories "$ARCH" | tr '\n' ' ')
	# What is not chosen cannot be turned off
	! options | grep -x CONFIG_SLAB_BPF_ARENA >/dev/null || kinds=('' off)
	for kind in "${kinds[@]}"; do
		if harness kernel FLAVOR="$kind" OBJECTS="$dirs"; then
			passed=$((passed + 1))
			cell+="${kind:-compiled}  "
		else
			failed=$((failed + 1))
			cell+="${kind:+$kind }NOT COMPILED  "
			relevant "$LOG" >&2
		fi
	done
	row "$cell"
}

# count WHAT: the last line of counts in $LOG, into the sums and the row
count() {
	local p f k

	read -r p _ f _ k _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$LOG" |
		tail -n 1 | grep . || echo 0 passed, 1 failed, 0 skipped)
	passed=$((passed + p))
	failed=$((failed + f))
	skipped=$((skipped + k))
	cell+="$1 $p/$f/$k  "
	[ "$f" = 0 ] || relevant "$LOG" >&2
}

kernel_and_tests() {
	local cell=''

	if ! harness kernel || ! harness user; then
		failed=$((failed + 1))
		relevant "$LOG" >&2
		row "NOT BUILT"
		return
	fi
	passed=$((passed + 1))
	LOG=$ARENA_SLAB_RUN/series-$s-$ARCH-kunit.log
	harness kunit || true
	count KUnit
	if [ -f "$STEP/tools/testing/selftests/bpf/arena_slab/Makefile" ]; then
		LOG=$ARENA_SLAB_RUN/series-$s-$ARCH-bpf.log
		harness selftest || true
		count 'BPF tests'
	fi
	if [ -f "$STEP/tools/bpf/arenaslab/Makefile" ]; then
		LOG=$ARENA_SLAB_RUN/series-$s-$ARCH-tool.log
		harness selftest PROGRAM=arenaslab_test || true
		count arenaslab
	fi
	row "$cell"
}

lock
"$VM/series.sh" build
PRISTINE=$("$VM/source.sh")
run_setup
mapfile -t steps < <(in_git tag --list '[0-9][0-9]-*' | sort)
for s in "${steps[@]}"; do
	n=$((10#${s%%-*}))
	[ "$n" -ge "$FROM" ] && [ "$n" -le "$TO" ] || continue
	in_git checkout -q -f "$s"
	snapshot
	for ARCH in "$@"; do
		LOG=$ARENA_SLAB_RUN/series-$s-$ARCH.log
		if [ -n "$OBJECTS_ONLY" ]; then
			objects
		else
			kernel_and_tests
		fi
	done
done
in_git checkout -q -f series

[ ${#table[@]} -gt 0 ] || die -2 "there is no step between $FROM and $TO"
printf '%s\n' "${table[@]}"
[ -n "$OBJECTS_ONLY" ] || printf '(passed/failed/skipped)\n'
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
