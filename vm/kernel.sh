#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Configure and build the composed tree for one architecture, and print the path
# of the image. The tree is not written to (O=). With OBJECTS= these targets of make are
# built instead, in a folder of their own, and nothing is printed.
#
# Usage: [ARCH=x86_64|arm64] [FLAVOR=] [OBJECTS='mm/ kernel/bpf/'] vm/kernel.sh

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup

# What makes a build repeatable, and ccache find what an earlier one made.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
export KBUILD_BUILD_USER=arena-slab KBUILD_BUILD_HOST=localhost KBUILD_BUILD_VERSION=1
export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache} CCACHE_BASEDIR=$CACHE CCACHE_NOHASHDIR=1
export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-4G}
# Set once the packages are there: a compiler by another name rebuilds everything.
CCACHE=

kmake() {
	make -C "$TREE" O="$OUT" ARCH="$ARCH" CROSS_COMPILE="$CROSS" \
		CC="${CCACHE}${CROSS}gcc" HOSTCC="${CCACHE}gcc" "${MAKE_VARIABLES[@]}" "$@"
}

fragments() {
	printf '%s\n' common "$ARCH"
	if [ -n "$FILES_LIST" ]; then
		:	# its own fragment names what these files bring
	elif [ -f "$REPO/mm/Kconfig.patch" ]; then
		printf '%s\n' arena_slab
	else
		say "without vm/config/arena_slab.config: there is no mm/Kconfig.patch yet"
	fi
	[ ! -f "$VM/config/flavor/$FLAVOR.config" ] || printf '%s\n' "flavor/$FLAVOR"
	[ ! -f "$VM/config/flavor/$FLAVOR-$ARCH.config" ] || printf '%s\n' "flavor/$FLAVOR-$ARCH"
}

# A fragment as kconfig reads it: without the reasons behind the options. What else a
# flavor has for make, flavor/NAME.make, is written in the same way.
plain() {
	sed -E 's/[[:space:]]+#.*//; /^#/d; /^$/d' "$1"
}

# Every option that was asked for, against what olddefconfig left of it. The
# last fragment that names an option wins, as in merge_config.sh.
check_config() {
	local f

	for f in "$@"; do
		plain "$VM/config/$f.config" | sed "s|\$|\t$f|"
	done | awk -F '\t' -v config="$OUT/.config" '
		BEGIN {
			while ((getline line < config) > 0) {
				n = index(line, "=")
				if (line ~ /^CONFIG_/)
					have[substr(line, 1, n - 1)] = substr(line, n + 1)
			}
		}
		{
			n = index($1, "=")
			asked[substr($1, 1, n - 1)] = substr($1, n + 1)
			file[substr($1, 1, n - 1)] = $2
		}
		END {
			for (o in asked) {
				h = o in have ? have[o] : "n"
				if (h != asked[o])
					printf "%s=%s of vm/config/%s.config is %s\n", o, asked[o], file[o], h
			}
		}' | sort
}

make_config() {
	local f merged=()

	mkdir -p "$OUT/fragments/flavor" || return
	for f in "$@"; do
		plain "$VM/config/$f.config" >"$OUT/fragments/$f.config" || return
		merged+=("$OUT/fragments/$f.config")
	done
	kmake tinyconfig && cd "$OUT" &&
		"$TREE/scripts/kconfig/merge_config.sh" -m -Q -O "$OUT" .config "${merged[@]}" &&
		kmake olddefconfig
}

# Only when the fragments, the Kconfig files or the compiler changed; and make
# sees a new .config only when it differs.
configure() {
	local id lost frags=()

	mapfile -t frags < <(fragments)
	id=$({
		for f in "${frags[@]}"; do cat "$VM/config/$f.config"; done
		grep -E '^base|Kconfig' "$MANIFEST"
		"${CROSS}gcc" --version
		printf '%s\n' "$CCACHE" "$(pahole --version)" "${MAKE_VARIABLES[@]}"
	} | hash)
	CONFIG_ID=$id
	[ -f "$BUILD/.config" ] && is_done "$BUILD/.arena-config" "$id" && return
	OUT=$BUILD.config.tmp
	step "configure the kernel ($NAME)" "config-$NAME" make_config "${frags[@]}"
	lost=$(check_config "${frags[@]}")
	[ -z "$lost" ] ||
		die "configuration ($NAME): these options did not survive: $(printf '%s' "$lost" | tr '\n' ';' | sed 's/;/; /g')"
	mkdir -p "$BUILD"
	put "$BUILD/.config" <"$OUT/.config"
	rm -rf "$OUT"
	mark_done "$BUILD/.arena-config" "$id"
}

build() {
	local id

	id=$({ printf '%s\n' "$CONFIG_ID"; cat "$MANIFEST"; } | hash)
	[ -f "$IMAGE" ] && [ -f "$BUILD/vmlinux" ] && is_done "$BUILD/.arena-build" "$id" && return
	[ -f "$BUILD/vmlinux" ] || need_space 3000 "a kernel build"
	OUT=$BUILD
	rm -f "$BUILD/.arena-build"
	step "build the kernel ($NAME)" "kernel-$NAME" filling "$BUILD" kmake -j"$JOBS" "${IMAGE##*/}"
	mark_done "$BUILD/.arena-build" "$id"
}

MAKE_VARIABLES=()
if [ -f "$VM/config/flavor/$FLAVOR.make" ]; then
	mapfile -t MAKE_VARIABLES < <(plain "$VM/config/flavor/$FLAVOR.make")
fi

OBJECTS=${OBJECTS:-}
[ -z "$OBJECTS" ] || BUILD=$BUILD-some

"$VM/setup.sh"
! command -v ccache >/dev/null || CCACHE='ccache '
lock
"$VM/tree.sh" compose
whole "$BUILD"
configure
if [ -n "$OBJECTS" ]; then
	OUT=$BUILD
	read -ra OBJECTS <<<"$OBJECTS"
	step "build objects ($NAME)" "objects-$NAME" filling "$BUILD" kmake -j"$JOBS" "${OBJECTS[@]}"
	exit
fi
build
printf '%s\n' "$IMAGE"
