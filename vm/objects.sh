#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Compare the slab allocator's objects of a kernel whose SLAB_BPF_ARENA is off with
# those of the pristine kernel, built by the same configuration: every section that
# is loaded, with its relocations, and the size of each function. Only line numbers
# may differ, and the counters in names that the compiler makes. The last line is "N
# passed, N failed, N skipped".
#
# Usage: [ARCH=] FLAVOR=off vm/objects.sh

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

OBJECTS=(mm/slub.o mm/slab_common.o)
OUT=$CACHE/build/$NAME-pristine
OBJDUMP=${CROSS}objdump

[ -f "$BUILD/vmlinux" ] || die "there is no kernel for $NAME yet: make kernel ARCH=$ARCH FLAVOR=$FLAVOR"
! grep -q '^CONFIG_SLAB_BPF_ARENA=y' "$BUILD/.config" || die -2 "the kernel $NAME has CONFIG_SLAB_BPF_ARENA: FLAVOR=off"

pristine_make() {
	make -C "$PRISTINE" O="$OUT" ARCH="$ARCH" CROSS_COMPILE="$CROSS" "$@"
}

build() {
	mkdir -p "$OUT" && cp "$BUILD/.config" "$OUT/.config" && pristine_make olddefconfig &&
		pristine_make -j"$JOBS" "${OBJECTS[@]}"
}

# The loaded sections of an object, in an order of their own, and what refers where.
# __bug_table has line numbers, and so have the tables that point into it.
contents() {
	"$OBJDUMP" -h "$1" | awk '
		$1 ~ /^[0-9]+$/ { name = $2; size = $3 }
		/ALLOC/ && size !~ /^0+$/ { print name }' | sort -u | while read -r section; do
		case $section in
		__bug_table | .note.*) continue ;;
		esac
		printf '== %s\n' "$section"
		"$OBJDUMP" -s -j "$section" "$1" | tail -n +4
		"$OBJDUMP" -r -j "$section" "$1" | tail -n +4
	done
}

lock
PRISTINE=$("$VM/source.sh")
step "build mm/ of the pristine kernel ($NAME)" "objects-$NAME" build

passed=0
failed=0
for o in "${OBJECTS[@]}"; do
	contents "$OUT/$o" >"$ARENA_SLAB_RUN/base-${o##*/}.txt"
	contents "$BUILD/$o" >"$ARENA_SLAB_RUN/ours-${o##*/}.txt"
	python3 "$TREE/scripts/bloat-o-meter" "$OUT/$o" "$BUILD/$o" | grep -vE '^(add/remove: |Function |Total: |__UNIQUE_ID_)' >"$ARENA_SLAB_RUN/bloat-${o##*/}.txt" || true
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
