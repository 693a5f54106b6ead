#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Compare the slab allocator's objects of a kernel whose SLAB_BPF_ARENA is off with
# those of the pristine kernel, in which only those defects of mm/ are mended that the series
# mends before anything else: every section that is loaded, with its relocations, and
# the size of each function. Both are compiled for it, by the kernel's configuration, from
# where neither the path of the tree nor numbers of lines get into them; only the counters
# in names that the compiler makes may differ. The last line is "N passed, N failed, N
# skipped".
#
# Usage: [ARCH=] FLAVOR=off vm/objects.sh [-c CONFIG] [OBJECT|FOLDER/]...
#
#	-c	this configuration, instead of that of the kernel that was built
#
# The objects are mm/slub.o and mm/slab_common.o if none are named; a folder stands for
# all of its own.

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

CONFIG=
while getopts c: opt; do
	case $opt in
	c) CONFIG=$OPTARG ;;
	*) die -2 "usage: vm/objects.sh [-c CONFIG] [OBJECT|FOLDER/]..." ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- mm/slub.o mm/slab_common.o

TARGETS=("$@")
OURS=$CACHE/build/$NAME-objects
BASE=$CACHE/build/$NAME-pristine
OBJDUMP=${CROSS}objdump

if [ -z "$CONFIG" ]; then
	[ -f "$BUILD/vmlinux" ] || die "there is no kernel for $NAME yet: make kernel ARCH=$ARCH FLAVOR=$FLAVOR"
	CONFIG=$BUILD/.config
fi
! grep -q '^CONFIG_SLAB_BPF_ARENA=y' "$CONFIG" || die -2 "the kernel $NAME has CONFIG_SLAB_BPF_ARENA: FLAVOR=off"

# build TREE FOLDER
build() {
	local flags make

	# As make(1) names the tree
	flags="-D__LINE__=1 -Wno-builtin-macro-redefined -fmacro-prefix-map=$(realpath --relative-to="$2" "$1")/="
	make=(make -C "$1" O="$2" ARCH="$ARCH" CROSS_COMPILE="$CROSS")

	mkdir -p "$2" && cp "$CONFIG" "$2/.config" && "${make[@]}" olddefconfig &&
		"${make[@]}" -j"$JOBS" KCFLAGS="$flags" "${TARGETS[@]}"
}

# The loaded sections of an object, in an order of their own, and what refers where
contents() {
	"$OBJDUMP" -h "$1" | awk '
		$1 ~ /^[0-9]+$/ { name = $2; size = $3 }
		/ALLOC/ && size !~ /^0+$/ { print name }' | sort -u | while read -r section; do
		case $section in
		.note.*) continue ;;
		esac
		printf '== %s\n' "$section"
		"$OBJDUMP" -s -j "$section" "$1" | tail -n +4
		"$OBJDUMP" -r -j "$section" "$1" | tail -n +4
	done
}

# Fixes of mm/ that are no part of the option
FIXES=("$REPO"/series/*-slub-nolock-{charge,policy}.diff)

# Links to the pristine tree, and the files that are mended
mend() {
	rm -rf "$MENDED" && cp -al "$PRISTINE" "$MENDED" && cat "${FIXES[@]}" | patch -s -p1 -d "$MENDED"
}

lock
PRISTINE=$("$VM/source.sh")
MENDED=$CACHE/build/mended
id=$({ printf '%s\n' "$PRISTINE"; cat "${FIXES[@]}"; } | hash)
is_done "$MENDED.done" "$id" || step "mend the pristine kernel" mend mend
mark_done "$MENDED.done" "$id"
PRISTINE=$MENDED
step "build objects of the pristine kernel ($NAME)" "objects-base-$NAME" build "$PRISTINE" "$BASE"
step "build objects of this kernel ($NAME)" "objects-$NAME" build "$TREE" "$OURS"

# What is to be compared: an object that only one of them has, too
objects() {
	local target

	for target in "${TARGETS[@]}"; do
		case $target in
		*/) (cd "$BASE" && find "$target" -name '*.o'; cd "$OURS" && find "$target" -name '*.o') | sort -u ;;
		*) printf '%s\n' "$target" ;;
		esac
	done
}

# Byte by byte, which most are. Where they are compiled, and the debug information
# of it, makes no difference.
identical() {
	[ -f "$BASE/$1" ] && [ -f "$OURS/$1" ] || return
	"${CROSS}objcopy" -g "$BASE/$1" "$ARENA_SLAB_RUN/base.o"
	"${CROSS}objcopy" -g "$OURS/$1" "$ARENA_SLAB_RUN/ours.o"
	cmp -s "$ARENA_SLAB_RUN/base.o" "$ARENA_SLAB_RUN/ours.o"
}

passed=0
failed=0
mapfile -t OBJECTS < <(objects)
for o in "${OBJECTS[@]}"; do
	if [ ${#OBJECTS[@]} -gt ${#TARGETS[@]} ] && identical "$o"; then
		passed=$((passed + 1))
		continue
	fi
	if ! [ -f "$BASE/$o" ] || ! [ -f "$OURS/$o" ]; then
		failed=$((failed + 1))
		say "$o ($NAME): not as in the base: only one of them has it"
		continue
	fi
	contents "$BASE/$o" >"$ARENA_SLAB_RUN/base-${o##*/}.txt"
	contents "$OURS/$o" >"$ARENA_SLAB_RUN/ours-${o##*/}.txt"
	python3 "$TREE/scripts/bloat-o-meter" "$BASE/$o" "$OURS/$o" | grep -vE '^(add/remove: |Function |Total: |__UNIQUE_ID_)' >"$ARENA_SLAB_RUN/bloat-${o##*/}.txt" || true
	if cmp -s "$ARENA_SLAB_RUN/base-${o##*/}.txt" "$ARENA_SLAB_RUN/ours-${o##*/}.txt" &&
		! [ -s "$ARENA_SLAB_RUN/bloat-${o##*/}.txt" ]; then
		passed=$((passed + 1))
		say "$o ($NAME): as in the base"
	else
		failed=$((failed + 1))
		say "$o ($NAME): not as in the base"
		head -n 20 "$ARENA_SLAB_RUN/bloat-${o##*/}.txt" | sed 's/^/    /' >&2
		diff "$ARENA_SLAB_RUN/base-${o##*/}.txt" "$ARENA_SLAB_RUN/ours-${o##*/}.txt" | head -n 20 | sed 's/^/    /' >&2 || true
	fi
done
printf '%d passed, %d failed, 0 skipped\n' "$passed" "$failed"
[ "$failed" = 0 ]
