#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The composed kernel tree: the pristine source, this repository's patches
# applied and its new files copied; and the way back.
#
#	mm/slub.c.patch		edits mm/slub.c		(one target file a patch)
#	lib/tests/x_kunit.c	is a new file
#
# Composing again touches only what differs, so that make builds only what
# changed. Everything is made beside the tree first: a patch that does not apply
# leaves the tree as it was.
#
# tree.manifest remembers what composing wrote, a line a file: the hash in the
# tree ("-": deleted), the hash in the repository (of a patch: its diff), P
# (patch) or N (new file), the path. A file of the tree that is not what the
# manifest says was edited by hand, and is never overwritten without FORCE=1, which
# keeps a copy in dropped/.
# While a compose is under way there is tree.manifest.next as well, and a file
# may be what either says.
#
# A flavour with a list of files has a tree and a manifest of its own, made in the
# same way from those files only. Nothing comes back from it.
#
# Usage: [FLAVOR=] [FORCE=1] vm/tree.sh compose|refresh|path
#	 vm/tree.sh stage DIR	our files as they are in the tree, and only these, to DIR;
#				prints a line for each: P (patch) or N (new file), the path

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

STAGE=$CACHE/stage.tmp
FORCE=${FORCE:-}
DIRS=(Documentation arch block certs crypto drivers fs include init io_uring
	ipc kernel lib mm net rust samples scripts security sound tools usr virt)

# What a build or an editor leaves behind is nobody's edit.
JUNK=(-name '*.o' -o -name '*.a' -o -name '*.so' -o -name '*.cmd' -o -name '*.d'
	-o -name '*.pyc' -o -name '*~' -o -name '*.orig' -o -name '*.rej'
	-o -name '.*.swp' -o -name '.*.tmp' -o -name 'FEATURE-DUMP*' -o -name '.#*'
	-o -name 'compile_commands.json' -o -name 'tags' -o -name 'cscope.*')

declare -A want=()	# path -> hash the tree is to have
declare -A src=()	# path -> hash of the patch or the new file
declare -A kind=()	# path -> P or N
declare -A wrote=()	# the manifest: path -> hash in the tree
declare -A wrote_src=()	#               path -> hash in the repository
declare -A wrote_kind=() #              path -> P or N
declare -A begun=()	# an interrupted compose's: path -> hash in the tree
declare -A now=()	# path -> hash the tree has, of every file that may be edited
BASE=			# what the manifest says the tree was made from

# sums ROOT < PATHS: lines "HASH PATH", "-" for what is not there.
sums() {
	local root=$1 path there=()

	while IFS= read -r path; do
		if [ -f "$root/$path" ]; then
			there+=("$path")
		else
			printf '%s %s\n' - "$path"
		fi
	done
	[ ${#there[@]} = 0 ] ||
		(cd "$root" && printf '%s\0' "${there[@]}" | xargs -0 sha256sum) |
		sed -E 's/^([0-9a-f]{64})  /\1 /'
}

# repo_sums < FILES: the same for the repository. Of a patch only the diff counts:
# the text on top may be edited while the tree is.
repo_sums() {
	local file

	while IFS= read -r file; do
		case $file in
		'') ;;
		*.patch)
			if [ -f "$REPO/$file" ]; then
				printf '%s %s\n' "$(awk '/^--- / { diff = 1 } diff' "$REPO/$file" | hash)" "$file"
			else
				printf '%s %s\n' - "$file"
			fi
			;;
		*) sums "$REPO" <<<"$file" ;;
		esac
	done
}

repo_files() {
	local dir dirs=() file

	cd "$REPO"
	if [ -n "$FILES_LIST" ]; then
		while read -r file; do
			[ -f "$file" ] || die "$(shown "$FILES_LIST"): there is no $file"
			printf '%s\n' "$file"
		done < <(sed -E 's/[[:space:]]*#.*//; /^$/d' "$FILES_LIST")
		return
	fi
	for dir in "${DIRS[@]}"; do
		[ ! -d "$dir" ] || dirs+=("$dir")
	done
	[ ${#dirs[@]} = 0 ] ||
		find "${dirs[@]}" -name __pycache__ -prune -o -type f ! \( "${JUNK[@]}" \) -print
	find . -maxdepth 1 -name '*.patch' -type f -printf '%P\n'
}

# target PATCH PATH: which file the PATCH for PATH makes, and that it is one: b/PATH, or /dev/null.
target() {
	local patch=$1 path=$2 heads target

	heads=$(awk '/^--- / { if ((getline line) > 0 && line ~ /^\+\+\+ /) print line }' "$REPO/$patch")
	target=$(printf '%s\n' "$heads" | sed -E 's/^\+\+\+ ([^\t]*).*/\1/')
	[ -n "$heads" ] || die "$patch holds no unified diff"
	[ "$(printf '%s\n' "$heads" | wc -l)" = 1 ] || die "$patch edits more than one file"
	case $target in
	"b/$path" | /dev/null) ;;
	*) die "$patch edits $target, by its name it has to be b/$path" ;;
	esac
	printf '%s\n' "$target"
}

# patched FUZZ PATCH OLD NEW: what PATCH makes of OLD; patch.log in the stage says how.
patched() {
	local log=$STAGE/patch.log

	mkdir -p "$(dirname "$4")"
	if ! patch --fuzz="$1" --no-backup-if-mismatch --batch --forward -r - \
		-o "$4" "$3" "$REPO/$2" >"$log" 2>&1; then
		! grep -q 'No space left' "$log" || die "no space left in the cache folder$(disk_words)"
		return 1
	fi
}

# finish TARGET PATCH PATH ROOT: PATH in the stage has the mode of that in ROOT, or is gone.
finish() {
	local out=$STAGE/new/$3

	if [ "$1" = /dev/null ]; then
		[ ! -s "$out" ] || die "$2 deletes $3, but not all of it"
		rm -f "$out"
	else
		chmod --reference="$4/$3" "$out"
	fi
}

# apply PATCH PATH: PATH as patched goes to the stage. Sets nothing, dies alone.
apply() {
	local patch=$1 path=$2 out=$STAGE/new/$2 log=$STAGE/patch.log target hunk

	target=$(target "$patch" "$path")
	[ -f "$PRISTINE/$path" ] || die "$patch: there is no $path in $(shown "$PRISTINE")"
	if ! patched 0 "$patch" "$PRISTINE/$path" "$out"; then
		hunk=$(sed -nE 's/^Hunk #([0-9]+) (FAILED|ignored) at ([0-9]+).*/hunk #\1 at line \3/p' "$log" | sed -n 1p)
		die "$patch does not apply to ${PRISTINE##*/}: ${hunk:-$(tail -n 1 "$log")} is rejected"
	fi
	finish "$target" "$patch" "$path" "$PRISTINE"
}

# What the tree is to be: fills want, src and kind, and the stage.
plan() {
	local file path hash files

	rm -rf "$STAGE"
	mkdir -p "$STAGE/new" || die "cannot write to the cache folder$(disk_words)"
	files=$(repo_files | sort)
	while read -r hash file; do
		[ -n "$file" ] || continue
		case $file in
		*.patch)
			path=${file%.patch}
			apply "$file" "$path"
			kind[$path]=P
			;;
		*)
			path=$file
			[ ! -e "$PRISTINE/$path" ] ||
				die "$path is in the kernel already: make it a patch, $path.patch"
			mkdir -p "$STAGE/new/$(dirname "$path")"
			cp "$REPO/$path" "$STAGE/new/$path"
			kind[$path]=N
			;;
		esac
		src[$path]=$hash
	done < <(repo_sums <<<"$files")
	while read -r hash path; do
		[ -z "$path" ] || want[$path]=$hash
	done < <(printf '%s\n' "${!src[@]}" | sed '/^$/d' | sums "$STAGE/new")
}

read_manifest() {
	local hash source type path

	wrote=() wrote_src=() wrote_kind=() begun=()
	BASE=
	[ -f "$MANIFEST" ] || return 0
	while read -r hash source type path; do
		if [ "$hash" = base ]; then
			BASE=$path
		else
			wrote[$path]=$hash
			wrote_src[$path]=$source
			wrote_kind[$path]=$type
		fi
	done <"$MANIFEST"
	[ -f "$MANIFEST.next" ] || return 0
	while read -r hash source type path; do
		[ "$hash" = base ] || begun[$path]=$hash
	done <"$MANIFEST.next"
}

print_manifest() {
	local path

	printf 'base - - %s\n' "$PRISTINE"
	for path in "${!want[@]}"; do
		printf '%s %s %s %s\n' "${want[$path]}" "${src[$path]}" "${kind[$path]}" "$path"
	done | sort -k 4
}

listing() {
	cd "$1"
	find . \( -name .git -o -name __pycache__ \) -prune -o -type f ! \( "${JUNK[@]}" \) \
		-printf '%P\t%s\t%T@\n' | sort
}

# Fills now: the files that may differ from pristine BASE, by size and time, and
# those of the manifest.
look() {
	local hash path

	now=()
	while read -r hash path; do
		[ -z "$path" ] || now[$path]=$hash
	done < <(
		{
			comm -3 <(listing "$BASE") <(listing "$TREE") | sed 's/^\t//' | cut -f 1
			printf '%s\n' "${!wrote[@]}" "${!begun[@]}" "${!want[@]}"
		} | sed '/^$/d' | sort -u | sums "$TREE"
	)
}

# The files of the tree that were edited by hand since it was composed.
edited() {
	local path pristine
	declare -A old=()

	while read -r pristine path; do
		[ -z "$path" ] || old[$path]=$pristine
	done < <(printf '%s\n' "${!now[@]}" | sed '/^$/d' | sums "$BASE")
	for path in "${!now[@]}"; do
		[ "${now[$path]}" != "${wrote[$path]:-${old[$path]}}" ] || continue
		[ ! -f "$MANIFEST.next" ] || [ "${now[$path]}" != "${begun[$path]:-${old[$path]}}" ] || continue
		case $path in
		*/*) ;;
		*) [ "${old[$path]}" != - ] || continue ;;	# a stray file at the top
		esac
		printf '%s\n' "$path"
	done | sort
}

fresh_copy() {
	need_space 2500 "the composed tree"
	rm -rf "$TREE.tmp" && mkdir "$TREE.tmp"
	copy() {
		cp -a --reflink=auto "$PRISTINE/." "$TREE.tmp" && rm -rf "$TREE.tmp/.git"
	}
	step "copy the pristine tree" tree copy
	[ ! -e "$TREE" ] || mv "$TREE" "$CACHE/tree-old.tmp"
	rm -f "$MANIFEST.next"
	printf 'base - - %s\n' "$PRISTINE" >"$MANIFEST"
	mv "$TREE.tmp" "$TREE"
	rm -rf "$CACHE/tree-old.tmp"
	read_manifest
}

# store PATH: the tree's PATH becomes what is wanted. Times are new ones, also of
# a file that goes back to pristine, or make would not see it.
store() {
	local path=$1

	if [ "${want[$path]-}" = - ] || { [ -z "${want[$path]-}" ] && [ ! -f "$PRISTINE/$path" ]; }; then
		rm -f "$TREE/$path"
		rmdir -p --ignore-fail-on-non-empty "$(dirname "$TREE/$path")" 2>/dev/null || true
		return
	fi
	if [ -z "${want[$path]-}" ]; then
		mkdir -p "$STAGE/new/$(dirname "$path")"
		cp "$PRISTINE/$path" "$STAGE/new/$path"
	fi
	touch "$STAGE/new/$path"
	mkdir -p "$(dirname "$TREE/$path")"
	mv "$STAGE/new/$path" "$TREE/$path"
}

# put_aside PATH...: what FORCE is about to drop stays in the cache. A file that is as
# the repository wants it is none.
put_aside() {
	local path nr=0 to

	to=$CACHE/dropped/$(date +%Y%m%d-%H%M%S)-$$
	for path; do
		[ -f "$TREE/$path" ] && [ "${now[$path]}" != "${want[$path]-}" ] || continue
		mkdir -p "$to/$(dirname "$path")"
		cp -p "$TREE/$path" "$to/$path"
		nr=$((nr + 1))
	done
	[ "$nr" = 0 ] || say "tree: $nr edited files are dropped, and kept in $(shown "$to")"
}

compose() {
	local path hand=() changed=0 pristine

	PRISTINE=$("$VM/source.sh")
	! [ "$TREE" -ef "$PRISTINE" ] || die "$TREE is a link to the pristine source: remove it"
	plan
	read_manifest
	if [ -d "$TREE" ]; then
		BASE=${BASE:-$PRISTINE}
		if [ -d "$BASE" ]; then
			look
			mapfile -t hand < <(edited)
			for path in "${hand[@]}"; do
				[ "$BASE" = "$PRISTINE" ] && [ "${now[$path]}" = "${want[$path]-}" ] && continue
				[ -z "$FORCE" ] || continue
				[ -z "$FILES_LIST" ] ||
					die "$path was edited in the tree of FLAVOR=$FLAVOR, from which nothing comes back: make tree FLAVOR=$FLAVOR FORCE=1 to drop it"
				die "$path was edited in the composed tree: make refresh to keep that, make tree FORCE=1 to drop it"
			done
			put_aside "${hand[@]}"
		fi
	fi
	if ! [ -d "$TREE" ] || [ "$BASE" != "$PRISTINE" ]; then
		fresh_copy
		BASE=$PRISTINE
		hand=()
	fi
	look
	print_manifest >"$MANIFEST.tmp" && mv "$MANIFEST.tmp" "$MANIFEST.next"
	for path in "${!want[@]}"; do
		if [ "${now[$path]}" != "${want[$path]}" ]; then
			store "$path"
			changed=$((changed + 1))
		elif [ -f "$STAGE/new/$path" ]; then
			chmod --reference="$STAGE/new/$path" "$TREE/$path"
		fi
	done
	# What is in the repository no more, and what FORCE drops.
	while read -r pristine path; do
		[ -n "$path" ] && [ "${now[$path]--}" != "$pristine" ] || continue
		store "$path"
		changed=$((changed + 1))
	done < <(printf '%s\n' "${!wrote[@]}" "${!begun[@]}" "${hand[@]}" | sed '/^$/d' | sort -u |
		while read -r path; do [ -n "${want[$path]-}" ] || printf '%s\n' "$path"; done |
		sums "$PRISTINE")
	mv "$MANIFEST.next" "$MANIFEST"
	rm -rf "$STAGE"
	[ "$changed" = 0 ] || say "tree: $changed files changed (${#want[@]} of ours)"
}

stage() {
	local path

	PRISTINE=$("$VM/source.sh")
	plan
	for path in "${!kind[@]}"; do
		printf '%s %s\n' "${kind[$path]}" "$path"
	done
	rm -rf "$1"
	mv "$STAGE/new" "$1"
	rm -rf "$STAGE"
}

# The text on top of a patch.
header() {
	if [ -f "$REPO/$1.patch" ]; then
		awk '/^--- / { exit } { print }' "$REPO/$1.patch"
	else
		printf '%s: say here why this file has to change\n\n' "$1"
	fi
}

write_patch() {
	local path=$1 out=$REPO/$1.patch new=b/$1 rc=0

	mkdir -p "$(dirname "$out")"
	header "$path" >"$out.tmp"
	if [ -f "$TREE/$path" ]; then
		diff -up --label "a/$path" --label "$new" "$BASE/$path" "$TREE/$path" >>"$out.tmp" || rc=$?
	else
		diff -up --label "a/$path" --label /dev/null "$BASE/$path" /dev/null >>"$out.tmp" || rc=$?
	fi
	case $rc in
	0)
		rm -f "$out" "$out.tmp"
		say "refresh: $path is as in the kernel, its patch is gone"
		;;
	1)
		if cmp -s "$out.tmp" "$out"; then
			rm -f "$out.tmp"
		else
			mv "$out.tmp" "$out"
			say "refresh: $path.patch"
		fi
		;;
	*) die "cannot compare $path" ;;
	esac
}

refresh() {
	local path hand=() file hash
	declare -A repo=()

	[ -d "$TREE" ] && [ -f "$MANIFEST" ] || die "there is no composed tree: make tree"
	read_manifest
	[ -d "$BASE" ] || die "the tree's pristine source is gone: make tree"
	look
	mapfile -t hand < <(edited)
	while read -r hash file; do
		[ -z "$file" ] || repo[$file]=$hash
	done < <(for path in "${hand[@]}" "${!wrote[@]}"; do
		[ -z "$path" ] || { [ -f "$BASE/$path" ] && printf '%s.patch\n' "$path" || printf '%s\n' "$path"; }
	done | sort -u | repo_sums)

	for path in "${hand[@]}"; do
		[ -z "${REBASE:-}" ] || ! grep -qE '^(<<<<<<<|>>>>>>>) ' "$TREE/$path" 2>/dev/null ||
			die "$path holds conflicts: look for <<<<<<< in $(shown "$TREE")"
		file=$path
		[ ! -f "$BASE/$path" ] || file=$path.patch
		[ "${repo[$file]}" = "${wrote_src[$path]:--}" ] || [ -n "$FORCE" ] ||
			die "$path was edited in the composed tree and $file in the repository: make refresh FORCE=1 takes the tree's"
	done
	for path in "${hand[@]}"; do
		if [ -f "$BASE/$path" ]; then
			write_patch "$path"
			[ ! -f "$REPO/$path" ] || {
				rm -f "$REPO/$path"
				say "refresh: $path is gone, the kernel has one"
			}
		elif [ -f "$TREE/$path" ]; then
			mkdir -p "$(dirname "$REPO/$path")"
			cp "$TREE/$path" "$REPO/$path"
			say "refresh: $path"
		else
			rm -f "$REPO/$path"
			say "refresh: $path is gone"
		fi
	done
	# Patches nobody touched: line numbers and form.
	for path in "${!wrote[@]}"; do
		[ "${wrote_kind[$path]}" = P ] && [ "${repo[$path.patch]}" = "${wrote_src[$path]}" ] || continue
		[ "${now[$path]}" != "${wrote[$path]}" ] || write_patch "$path"
	done
	if [ -n "${REBASE:-}" ]; then
		# Whatever was there is in the repository now
		rm -rf "$TREE" "$MANIFEST"
		say "refresh: the patches are for ${BASE##*/} now; write that to vm/base.env"
		return
	fi
	LINUX_SRC=
	case $BASE in
	"$CACHE/src/local-"*) LINUX_SRC=$BASE ;;
	"$CACHE/src/"*) LINUX_VERSION=${BASE##*/} ;;
	*) LINUX_SRC=$BASE ;;
	esac
	export LINUX_SRC LINUX_VERSION
	FORCE=
	want=() src=() kind=()
	compose
}

# The rest is for those who run this and not for those who source it.
[ "${BASH_SOURCE[0]}" = "$0" ] || return 0

case ${1:-} in
path)
	printf '%s\n' "$TREE"
	;;
compose | refresh)
	[ "$1" = compose ] || [ -z "$FILES_LIST" ] ||
		die -2 "nothing is taken back from the tree of FLAVOR=$FLAVOR: refresh without it"
	lock
	"$1"
	;;
stage)
	[ -n "${2:-}" ] || die -2 "usage: vm/tree.sh stage DIR"
	lock
	stage "$2"
	;;
*)
	die -2 "usage: vm/tree.sh compose|refresh|path|stage DIR"
	;;
esac
