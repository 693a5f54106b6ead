#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Try this repository on another kernel version, and make it easy to carry it over: says
# which hunks do not apply there, which do at another line or with other lines around them
# (fuzz, which vm/tree.sh does not take), and which of our new files that kernel has, too.
#
# If something does not apply, the folder rebase/ of the cache becomes the composed tree on
# that version. Where a hunk failed, the file is merged: base, ours, theirs; what cannot be
# merged stands there between <<<<<<< and >>>>>>>. Mend these, and
#
#	make refresh REBASE=1
#
# writes all patches for the new version. The other composed tree is not touched. The last
# line is "N apply, N with an offset, N fail"; fails if one does, or a new file is there.
#
# Usage: LINUX_VERSION=VERSION [LINUX_SUITE=SUITE] | LINUX_SRC=PATH [FORCE=1] vm/rebase.sh

export REBASE=1
unset FLAVOR
# shellcheck source=vm/tree.sh
. "$(dirname "$0")/tree.sh"

declare -A merged=()	# path -> 1: not what the patch makes of it
failed=0
moved=0
good=0

# hunk NR PATCH: the lines of its hunk, with its head
hunk() {
	awk -v nr="$1" '/^@@ / { n++ } n == nr && !/^(---|\+\+\+) [ab\/]/' "$REPO/$2"
}

# why NR PATCH FILE: the first line that the hunk wants to be there and that is nowhere in
# FILE: one that it takes away, else one around that
why() {
	local sign line

	for sign in - ' '; do
		while IFS= read -r line; do
			grep -qxF -e "$line" "$3" && continue
			printf 'not there: %s\n' "$(printf '%s' "$line" | sed 's/^[[:space:]]*//' | cut -c1-70)"
			return
		done < <(hunk "$1" "$2" | tail -n +2 | sed -n "s/^$sign//p")
	done
	printf 'all its lines are there, but not together\n'
}

# hunks PATCH FILE: what patch.log says: a line for each hunk that failed or has fuzz, and one
# for all that are at another line
hunks() {
	local nr verdict at rest nrs=() low high by
	local like='^Hunk #([0-9]+) (FAILED|succeeded) at ([0-9]+)(.*)\.$'

	while read -r nr verdict at rest; do
		case $verdict,$rest in
		FAILED,*) printf 'hunk %d fails at line %d; %s\n' "$nr" "$at" "$(why "$nr" "$1" "$2")" ;;
		*fuzz*) printf 'hunk %d fits line %d %s\n' "$nr" "$at" "$rest" ;;
		*)
			by=${rest#*offset }
			by=${by%% *}
			[ ${#nrs[@]} -gt 0 ] || { low=$by; high=$by; }
			nrs+=("$nr")
			[ "$by" -ge "$low" ] || low=$by
			[ "$by" -le "$high" ] || high=$by
			;;
		esac
	done < <(sed -nE "s/$like/\\1 \\2 \\3 \\4/p" "$STAGE/patch.log")
	! grep -q 'previously applied' "$STAGE/patch.log" ||
		printf 'what its first hunk does is there already, so patch passes over all of it\n'
	[ ${#nrs[@]} = 0 ] || printf 'at other lines, by %+d to %+d: hunks %s\n' "$low" "$high" "${nrs[*]}"
}

# merge OURS BASE THEIRS OUT: says how many conflicts are left
merge() {
	local rc=0

	# -E: what both have changed in the same way is no conflict
	diff3 -m -E -L ours -L "${BASEVER##*/}" -L "${NEWVER##*/}" "$1" "$2" "$3" >"$4" || rc=$?
	[ "$rc" -le 1 ] || die "cannot merge ${4#"$STAGE/new/"}"
	grep -c '^<<<<<<< ' "$4" || true
}

tell() {
	printf '%s: %s\n' "$1" "$2"
}

# gone PATCH TARGET: there is no such file; where may it be?
gone() {
	local path=${1%.patch} found=()

	failed=$((failed + 1))
	if [ "$2" = /dev/null ]; then
		tell "$1" "$path is gone there, too: remove the patch"
		return
	fi
	mapfile -t found < <(cd "$NEWVER" && find "${DIRS[@]}" -name "${path##*/}" -type f 2>/dev/null)
	[ ${#found[@]} -le 3 ] || found=()
	tell "$1" "there is no $path${found[*]:+, but ${found[*]}}: move the patch, or remove it"
	cp "$REPO/$1" "$STAGE/gone/${path//\//_}.rej"
}

try_patch() {
	local patch=$1 path=${1%.patch} out target said conflicts
	local ours=$STAGE/ours/$path

	out=$STAGE/new/$path
	target=$(target "$patch" "$path")
	patched 0 "$patch" "$BASEVER/$path" "$ours" || die "$patch does not apply to ${BASEVER##*/}, for which it is"
	[ -f "$NEWVER/$path" ] || { gone "$patch" "$target"; return; }
	if patched 2 "$patch" "$NEWVER/$path" "$out" && ! grep -q ' with fuzz ' "$STAGE/patch.log"; then
		said=$(hunks "$patch" "$NEWVER/$path")
		if [ -n "$said" ]; then
			printf '%s\n' "$said" | sed "s|^|$patch: |"
			moved=$((moved + 1))
		else
			good=$((good + 1))
		fi
	else
		[ "$target" = /dev/null ] || hunks "$patch" "$NEWVER/$path" | sed "s|^|$patch: |"
		failed=$((failed + 1))
		merged[$path]=1
		if [ "$target" = /dev/null ]; then
			tell "$patch" "deletes what has changed, $(diff -u "$BASEVER/$path" "$NEWVER/$path" | grep -c '^[-+][^-+]' || true) lines of it: not there in the merged tree"
			: >"$out"
		else
			conflicts=$(merge "$ours" "$BASEVER/$path" "$NEWVER/$path" "$out")
			if cmp -s "$out" "$NEWVER/$path"; then
				tell "$patch" "all of it is there already: make refresh removes it"
			else
				tell "$patch" "merged, with $conflicts conflicts$(grep -n '^<<<<<<< ' "$out" | cut -d : -f 1 | sed 's/^/ line /' | tr '\n' ',' | sed 's/^ /: /; s/,$//')"
			fi
		fi
	fi
	kind[$path]=P
	finish "$target" "$patch" "$path" "$NEWVER"
}

try_new() {
	local path=$1 out=$STAGE/new/$1

	mkdir -p "$(dirname "$out")"
	cp "$REPO/$path" "$out"
	kind[$path]=N
	[ -e "$NEWVER/$path" ] || return 0
	failed=$((failed + 1))
	kind[$path]=P
	merged[$path]=1
	if cmp -s "$REPO/$path" "$NEWVER/$path"; then
		tell "$path" "this kernel has it, the same: make refresh removes ours"
	else
		merge "$REPO/$path" /dev/null "$NEWVER/$path" "$out" >/dev/null
		tell "$path" "this kernel has one, too; both are in one conflict"
	fi
}

try_all() {
	local file hash files

	rm -rf "$STAGE"
	mkdir -p "$STAGE/new" "$STAGE/gone" || die "cannot write to the cache folder$(disk_words)"
	files=$(repo_files | sort)
	while read -r hash file; do
		case $file in
		'') ;;
		*.patch)
			try_patch "$file"
			src[${file%.patch}]=$hash
			;;
		*)
			try_new "$file"
			src[$file]=$hash
			[ "${kind[$file]}" = N ] || src[$file]=-	# there is no patch yet
			;;
		esac
	done < <(repo_sums <<<"$files")
}

# The tree: what applies as vm/tree.sh would have it; what was merged looks edited by hand.
write_tree() {
	local path hash

	PRISTINE=$NEWVER
	fresh_copy
	while read -r hash path; do
		[ -z "$path" ] || want[$path]=$hash
	done < <(printf '%s\n' "${!kind[@]}" | sed '/^$/d' | sums "$STAGE/new")
	for path in "${!want[@]}"; do
		store "$path"
	done
	for path in "${!merged[@]}"; do
		want[$path]=merged
	done
	find "$STAGE/gone" -type f -exec cp {} "$TREE" \;
	print_manifest | put "$MANIFEST"
}

[ -n "${LINUX_VERSION:-}${LINUX_SRC:-}" ] || {
	say "which version? The archive has:"
	"$VM/source.sh" list | sed 's/^/    /' >&2
	die -2 "usage: make rebase LINUX_VERSION=VERSION [LINUX_SUITE=SUITE], or LINUX_SRC=PATH"
}
"$VM/setup.sh"
lock
BASEVER=$(LINUX_VERSION='' LINUX_SRC='' "$VM/source.sh")
NEWVER=$("$VM/source.sh")
say "rebase: ${BASEVER##*/} -> ${NEWVER##*/}"
try_all
if [ "$failed" != 0 ]; then
	[ ! -d "$TREE" ] || [ -n "$FORCE" ] ||
		die "$failed fail, and the tree of an earlier rebase is there, $(shown "$TREE"): make refresh REBASE=1 to keep it, FORCE=1 to drop it"
	write_tree
	say "the merged tree is $TREE"
	say "mend what is listed above, there; then: make refresh REBASE=1"
fi
rm -rf "$STAGE"
printf '%d apply, %d with an offset, %d fail\n' "$good" "$moved" "$failed"
[ "$failed" = 0 ] || exit 1
if [ -n "${LINUX_SRC:-}" ]; then
	say "make tree LINUX_SRC=$LINUX_SRC composes it"
else
	say "make tree LINUX_VERSION=${NEWVER##*/} composes it; as the base it goes to vm/base.env"
fi
