#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts of vm/ share: where things are, messages, the lock, and the
# runner that shows what a long step does and how long it has taken.
#
# Messages go to stderr: stdout is for what a script is asked for (a path, the
# output of a command in the VM).
#
# Exit codes: 1 failed, 2 wrong use. vm/boot.sh adds 124 (the VM took too long),
# 125 (the VM was lost) and 126 (the kernel complained).

# With pipefail who ends before all is read fails the pipe: sed -n 1p, not head -n 1; grep >/dev/null,
# not grep -q.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
umask 022

# What the caller's make and environment set is not meant for the makes below.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS
unset KBUILD_OUTPUT CROSS_COMPILE LLVM CDPATH GREP_OPTIONS O V C W

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VM=$REPO/vm
CACHE_HOME=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}
CACHE=$CACHE_HOME/arena-slab
JOBS=$(nproc)
STEP_LOG=

say() {
	printf '%s\n' "$*" >&2
}

# die [-CODE] TEXT: one line, and out.
die() {
	local code=1

	case ${1:-} in
	-[0-9]*) code=${1#-}; shift ;;
	esac
	printf 'error: %s\n' "$*" >&2
	exit "$code"
}

# A path as messages show it: relative to the repository or to the cache folder.
shown() {
	case $1 in
	"$REPO"/*) printf '%s' "${1#"$REPO"/}" ;;
	"$CACHE"/*) printf '%s (in the cache folder)' "${1#"$CACHE"/}" ;;
	*) printf '%s' "$1" ;;
	esac
}

# The composed tree of this FLAVOR. One with a list of files (flavor/NAME.files)
# has a tree of its own: the pristine kernel with those of our files only, which
# shows what the kernel does without the rest.
#
# The one of a rebase, with REBASE=1, is on another version (vm/rebase.sh).
FLAVOR=${FLAVOR:-}
[ "$FLAVOR" != default ] || FLAVOR=
TREE=$CACHE/tree
[ -z "${REBASE:-}" ] || TREE=$CACHE/rebase
FILES_LIST=
if [ -n "$FLAVOR" ] && [ -f "$VM/config/flavor/$FLAVOR.files" ]; then
	TREE=$CACHE/tree-$FLAVOR
	FILES_LIST=$VM/config/flavor/$FLAVOR.files
fi
MANIFEST=$TREE.manifest

# ARCH and FLAVOR, and what follows from them.
arch_setup() {
	ARCH=${ARCH:-x86_64}
	case $ARCH in
	x86_64)
		CROSS=
		IMAGE=arch/x86/boot/bzImage
		BPF_ARCH=x86
		DEB_ARCH=amd64
		;;
	arm64)
		CROSS=aarch64-linux-gnu-
		IMAGE=arch/arm64/boot/Image
		BPF_ARCH=arm64
		DEB_ARCH=arm64
		;;
	*)
		die -2 "ARCH=$ARCH: there are x86_64 and arm64"
		;;
	esac
	flavor_setup
	NAME=$ARCH${FLAVOR:+-$FLAVOR}
	BUILD=$CACHE/build/$ARCH
	TOOLS=$CACHE/tools/$ARCH
	if [ -n "$FLAVOR" ] && [ -f "$VM/config/flavor/$FLAVOR.config" ]; then
		BUILD=$CACHE/build/$NAME
		# The same programs where none is loaded, or by another kernel's tests
		[[ " $TESTS " != *' bpf '* ]] || TOOLS=$CACHE/tools/$NAME
	fi
	IMAGE=$BUILD/$IMAGE
	export ARCH FLAVOR MEM
}

# The line of vm/flavors.list that is FLAVOR's.
flavor_setup() {
	local line name arches mem

	line=$(awk -F ' *[|] *' -v OFS='|' -v name="${FLAVOR:-default}" \
		'$1 == name { $1 = $1; print }' "$VM/flavors.list")
	IFS='|' read -r name arches TESTS SLOW mem KERNEL_ARGS WHY <<<"$line"
	[ -n "$name" ] ||
		die -2 "FLAVOR=$FLAVOR: there is no such line in vm/flavors.list"
	[[ " $arches " == *" $ARCH "* ]] || die -2 "FLAVOR=$FLAVOR is for $arches, not for ARCH=$ARCH"
	MEM=${MEM:-$mem}
}

# The folder of this run's logs; scripts that are called by others share it.
run_setup() {
	[ -z "${ARENA_SLAB_RUN:-}" ] || return 0
	mkdir -p "$CACHE/logs" 2>/dev/null || die "cannot write to $CACHE_HOME"
	ARENA_SLAB_RUN=$CACHE/logs/$(date +%Y%m%d-%H%M%S)-$$
	mkdir "$ARENA_SLAB_RUN" 2>/dev/null ||
		die "cannot write to the cache folder$(disk_words)"
	export ARENA_SLAB_RUN
	ln -sfn "${ARENA_SLAB_RUN##*/}" "$CACHE/logs/latest"
	# Forty runs are kept, and any that may not have ended: nothing takes that long.
	find "$CACHE/logs" -mindepth 1 -maxdepth 1 -type d | sort | head -n -40 |
		while read -r dir; do
			[ -n "$(find "$dir" -newermt '-1 day' -print -quit)" ] || rm -rf "$dir"
		done
}

# One run at a time changes the cache folder. What is left under a temporary
# name once the lock is ours belongs to a run that was interrupted.
lock() {
	[ -z "${ARENA_SLAB_LOCK:-}" ] || return 0
	mkdir -p "$CACHE"/{deb,src,build,tools} 2>/dev/null ||
		die "cannot write to $CACHE_HOME"
	exec 9>"$CACHE/lock" || die "cannot write to $CACHE_HOME"
	if ! flock -n 9; then
		say "waiting for another run to finish"
		flock 9
	fi
	export ARENA_SLAB_LOCK=$$
	rm -rf "$CACHE"/*.tmp "$CACHE"/{deb,src,build}/*.tmp "$CACHE"/tools/*/*.tmp
}

disk_words() {
	local free

	free=$(df -Pm "$CACHE_HOME" 2>/dev/null | awk 'NR == 2 { print $4 }')
	printf ' (%s MB free)' "${free:-?}"
}

# need_space MB WHAT
need_space() {
	local free

	free=$(df -Pm "$CACHE" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$1" ] ||
		die "$2 needs $1 MB in the cache folder, its disk has $free MB left"
}

elapsed() {
	local s=$1

	if [ "$s" -lt 60 ]; then
		printf '%d s' "$s"
	else
		printf '%d min %02d s' $((s / 60)) $((s % 60))
	fi
}

# The lines of a failed step's log that say why: errors, else the end.
relevant() {
	local lines

	lines=$(grep -aE -A2 '(^|[^a-z-])(error|Error|ERROR|fatal|undefined reference|FAILED|E):|\*\*\*|FAILED|cannot |No such file' "$1" |
		grep -avE '^(make|gmake)(\[[0-9]+\])?: (\*\*\* \[|\*\*\* Waiting|Leaving|Entering)|^--$' | head -n 25) || true
	[ -n "$lines" ] || lines=$(tail -n 25 "$1")
	printf '%s\n' "$lines" | cut -c1-300 | sed 's/^/    /'
}

interrupted() {
	kill -- "-$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
	cat "$3" >>"$STEP_LOG" 2>/dev/null || true
	rm -f "$3"
	die -130 "interrupted: $2"
}

# step TITLE LOG COMMAND...: run it with its output in LOG (in this run's
# folder), and show that it runs. Quick steps stay silent. COMMAND may be a
# function, which chains what it does by && (set -e is off under a `||`).
step() {
	local title=$1 name=$2 part pid rc=0 start=$SECONDS now next=30 told='' line

	shift 2
	run_setup
	STEP_LOG=$ARENA_SLAB_RUN/$name.log
	part=$ARENA_SLAB_RUN/.$name.part
	# A process group of its own: what an interrupted step started ends with it.
	set -m
	("$@") </dev/null >"$part" 2>&1 &
	pid=$!
	set +m
	# shellcheck disable=SC2064 # these, not later ones
	trap "interrupted $pid '$title' '$part'" INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.1
		now=$((SECONDS - start))
		if [ -t 2 ]; then
			[ "$now" -ge 1 ] && [ "$now" != "$told" ] || continue
			told=$now
			line=$(tail -n 1 "$part" 2>/dev/null | tr -dc '[:print:]' | sed 's/^ *//' | cut -c1-40)
			printf '\r\033[K%s: %s  %s' "$title" "$(elapsed "$now")" "$line" >&2
		elif [ -z "$told" ] && [ "$now" -ge 2 ]; then
			told=0
			say "$title ..."
		elif [ "$now" -ge "$next" ]; then
			next=$((now + 30))
			say "$title: $(elapsed "$now")"
		fi
	done
	wait "$pid" || rc=$?
	trap - INT TERM HUP
	now=$((SECONDS - start))
	[ ! -t 2 ] || [ -z "$told" ] || printf '\r\033[K' >&2
	if [ "$rc" = 0 ]; then
		[ -z "$told" ] || [ "$now" -lt 2 ] || say "$title: done, $(elapsed "$now")"
	elif grep -aq 'No space left on device' "$part"; then
		cat "$part" >>"$STEP_LOG" 2>/dev/null || true
		rm -f "$part"
		die "$title: no space left on the disk of the cache folder$(disk_words)"
	else
		say "$title: failed after $(elapsed "$now"):"
		relevant "$part" >&2
		cat "$part" >>"$STEP_LOG" || true
		rm -f "$part"
		die "$title failed, log: $(shown "$STEP_LOG")"
	fi
	cat "$part" >>"$STEP_LOG" || die "cannot write to the cache folder$(disk_words)"
	rm -f "$part"
}

# filling DIR COMMAND...: run what fills DIR bit by bit, as make does. Killed outright,
# it leaves half a file that the next make takes for a whole one; make itself, told to
# stop, takes it away.
filling() {
	local dir=$1 rc=0

	shift
	mkdir -p "$dir" && : >"$dir.unfinished" || return
	rm -f "$dir.stamp"
	trap : INT TERM HUP
	"$@" || rc=$?
	rm -f "$dir.unfinished"
	return "$rc"
}

# whole DIR: what a killed run left of it goes.
whole() {
	[ -e "$1.unfinished" ] || return 0
	say "$(shown "$1"): its build was killed half-way, and starts anew"
	rm -rf "$1" "$1.unfinished"
}

# put FILE: stdin becomes FILE, which is not touched when that is what it holds.
put() {
	cat >"$1.tmp"
	if cmp -s "$1.tmp" "$1"; then
		rm -f "$1.tmp"
	else
		mv "$1.tmp" "$1"
	fi
}

# One hash for what comes in on stdin.
hash() {
	sha256sum | cut -c1-64
}

# is_done NAME HASH, mark_done NAME HASH: stamps, written after success only.
is_done() {
	[ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

mark_done() {
	printf '%s\n' "$2" | put "$1"
}
