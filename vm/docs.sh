#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Build our documents as the kernel does, and say what is wrong with them: what Sphinx and
# kernel-doc have to say of the composed tree and not of the pristine one, wherever it
# stands, since a page of ours can break a reference in another one; and what of our files
# and the entry in MAINTAINERS does not fit the other. Fails if there is anything.
#
# Lines count as the same without their numbers, which move.
#
# Usage: vm/docs.sh

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ -z "$FILES_LIST" ] || die -2 "the documents are those of the whole repository: docs without FLAVOR=$FLAVOR"
FOLDERS='bpf mm scheduler'
OUT=$CACHE/docs
ENTRY='BPF ARENA SLAB ALLOCATOR'

# html TREE FOLDER: all of it, each time: Sphinx warns about what it reads only
html() {
	rm -rf "$2/Documentation" && mkdir -p "$2" &&
		make -C "$1" O="$2" SPHINXDIRS="$FOLDERS" htmldocs
}

# kernel_doc TREE: of the files that hold comments of ours, those that are there
kernel_doc() {
	local file files=()

	cd "$1" || return
	for file in "${KERNEL_FILES[@]}"; do
		[ ! -f "$file" ] || files+=("$file")
	done
	tools/docs/kernel-doc -none -Wall "${files[@]}"
}

build() {
	html "$@" && kernel_doc "$1"
}

# look NAME TREE: what is said about TREE, as it is the same in both, to $OUT/NAME.said
look() {
	step "build the documents ($1)" "docs-$1" build "$2" "$OUT/$1"
	{ grep -aE 'WARNING|ERROR|CRITICAL|SEVERE|[Ww]arning:|[Ee]rror:' "$STEP_LOG" || true; } |
		sed -e "s|$2/||g" -e 's/:[0-9][0-9]*//g' | sort >"$OUT/$1.said"
}

# covered PATTERN PATH: as scripts/get_maintainer.pl takes an F: line. A star matches no slash.
# shellcheck disable=SC2053 # it is a pattern
covered() {
	case $1 in
	*/) [[ $2 == "$1"* ]] ;;
	*) [ "${2//[!\/]/}" = "${1//[!\/]/}" ] && [[ $2 == $1 ]] ;;
	esac
}

# What of our new files the entry does not cover, and what of it covers none
maintained() {
	local patterns path pattern found
	declare -A used=()

	mapfile -t patterns < <(sed -nE "/^$ENTRY\$/,/^\$/s/^F:\t//p" "$TREE/MAINTAINERS")
	[ ${#patterns[@]} -gt 0 ] || {
		printf 'MAINTAINERS: there is no entry "%s"\n' "$ENTRY"
		return
	}
	for path in "${NEW_FILES[@]}"; do
		found=
		for pattern in "${patterns[@]}"; do
			! covered "$pattern" "$path" || found=1 used[$pattern]=1
		done
		[ -n "$found" ] || printf 'MAINTAINERS: no F: line for %s\n' "$path"
	done
	for pattern in "${patterns[@]}"; do
		[ -n "${used[$pattern]:-}" ] || printf 'MAINTAINERS: F: %s matches no file of ours\n' "$pattern"
	done
}

"$VM/setup.sh"
lock
run_setup
"$VM/tree.sh" compose
PRISTINE=$("$VM/source.sh")
mapfile -t NEW_FILES < <(awk '$3 == "N" { print $4 }' "$MANIFEST")
mapfile -t KERNEL_FILES < <(awk '$1 != "-" && $4 ~ /\.[ch]$/ && $4 !~ /^tools\// { print $4 }' "$MANIFEST")

# The pristine kernel says what it said
id=$(printf '%s\n' "$PRISTINE" "$FOLDERS" "$(sphinx-build --version)" "${KERNEL_FILES[@]}" | hash)
if ! is_done "$OUT/pristine.stamp" "$id"; then
	look pristine "$PRISTINE"
	mark_done "$OUT/pristine.stamp" "$id"
fi
look ours "$TREE"

found=$(comm -13 "$OUT/pristine.said" "$OUT/ours.said"; maintained)
if [ -n "$found" ]; then
	printf '%s\n' "$found"
	die "documents: $(printf '%s\n' "$found" | wc -l) warnings of ours, with their lines in $(shown "$STEP_LOG")"
fi
say "documents: no warning of ours; read $(shown "$OUT/ours/Documentation/output")/{${FOLDERS// /,}}"
