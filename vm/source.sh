#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The pristine kernel source: fetch, check, unpack, and print its path. Nobody
# writes to it afterwards; vm/tree.sh composes a copy.
#
# LINUX_VERSION is a version of Debian's, 7.4.1-1~bpo13+1, or the start of one, 7.4.1 or
# 7.4: then the newest of these. It is looked for in LINUX_SUITE.
#
# Usage: [LINUX_VERSION=VERSION [LINUX_SUITE=SUITE] | LINUX_SRC=PATH] vm/source.sh
#	 vm/source.sh list	what there is: lines "SUITE VERSION"

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=vm/apt.sh
. "$VM/apt.sh"
# shellcheck source=vm/base.env
. "$VM/base.env"

is_kernel() {
	[ -f "$1/Makefile" ] && [ -f "$1/Kconfig" ] && [ -f "$1/mm/slub.c" ] &&
		grep -q '^PATCHLEVEL = ' "$1/Makefile"
}

# unpack WHAT TARGET COMMAND...: COMMAND writes a tar stream.
unpack() {
	local what=$1 target=$2

	shift 2
	need_space 2500 "the kernel source"
	rm -rf "$target.tmp"
	mkdir -p "$target.tmp"
	unpack_stream() {
		"$@" | tar -x --strip-components=1 -C "$target.tmp"
	}
	step "unpack $what" source unpack_stream "$@"
	is_kernel "$target.tmp" || {
		rm -rf "$target.tmp"
		die "$what holds no kernel source"
	}
	mv "$target.tmp" "$target"
}

decompress() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.gz | *.tgz) gzip -dc "$1" ;;
	*.zst) zstd -dcq "$1" ;;
	*.bz2) bzip2 -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

local_source() {
	local src=$1 id target

	[ -e "$src" ] || die -2 "LINUX_SRC=$src: there is no such file or folder"
	src=$(realpath "$src")
	if [ -d "$src" ]; then
		is_kernel "$src" || die -2 "LINUX_SRC=$1 is no kernel source"
		[ ! -e "$src/.config" ] && [ ! -d "$src/include/config" ] ||
			die -2 "LINUX_SRC=$1 holds the output of a build: run make mrproper there"
		printf '%s\n' "$src"
		return
	fi
	tar -tf "$src" 2>/dev/null | awk '/^[^\/]+\/mm\/slub\.c$/ { found = 1 } END { exit !found }' ||
		die -2 "LINUX_SRC=$1 is no kernel source"
	id=$(sha256sum "$src" | cut -c1-16)
	target=$CACHE/src/local-$id
	[ -d "$target" ] || unpack "${src##*/}" "$target" decompress "$src"
	printf '%s\n' "$target"
}

# deb_of VERSION: the file, fetched if it is not there. 3 = no such version.
deb_of() {
	local version=$1 file sum got

	file=$CACHE/deb/${PACKAGE}_${version}_all.deb
	if ! [ -f "$file" ]; then
		need_space 200 "the kernel source package"
		apt_private "$CACHE/apt-source" "$SUITE" amd64
		apt_versions "$PACKAGE" | grep -xF "$version" >/dev/null || return 3
		apt_fetch "$CACHE/deb" "$PACKAGE=$version"
		# apt writes an epoch's colon as %3a; there is none in a kernel's version
		[ -f "$file" ] || die "apt fetched $PACKAGE $version under an unknown name"
	fi
	if [ "$version" = "$BASE_VERSION" ]; then
		sum=$BASE_SHA256
		got=$(sha256sum "$file" | cut -c1-64)
		if [ "$got" != "$sum" ]; then
			rm -f "$file"
			die "${file##*/} has the wrong checksum ($got): removed, run again"
		fi
	fi
	printf '%s\n' "$file"
}

# full_version WORD: the newest version of Debian's that begins with it
full_version() {
	local word=$1

	case $word in
	*-*) printf '%s\n' "$word" ;;
	*)
		find "$CACHE/src" -mindepth 1 -maxdepth 1 -name "$word-*" -printf '%f\n' | sort -V | tail -n 1 | grep . && return
		apt_private "$CACHE/apt-source" "$SUITE" amd64
		apt_versions "$PACKAGE" | awk -v w="$word" 'index($0, w) == 1 && substr($0, length(w) + 1, 1) ~ /[-.~]/' |
			sort -V | tail -n 1 | grep . ||
			die "$PACKAGE has no version $word in $SUITE; there is: $(apt_versions "$PACKAGE" | tr '\n' ' ')(vm/source.sh list: and elsewhere)"
		;;
	esac
}

from_deb() {
	dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$PACKAGE.tar.xz" | xz -dc
}

packaged_source() {
	local version=$1 pinned=$2 target deb rc=0 there newest

	target=$CACHE/src/$version
	if ! [ -d "$target" ]; then
		deb=$(deb_of "$version") || rc=$?
		if [ "$rc" = 3 ]; then
			export APT_CONFIG=$CACHE/apt-source/apt.conf	# deb_of() made it
			there=$(apt_versions "$PACKAGE" | sort -V | tr '\n' ' ')
			[ -n "$there" ] ||
				die "$SUITE has no $PACKAGE at all: set LINUX_SRC=, or a newer base in vm/base.env"
			[ "$pinned" = 1 ] ||
				die "$PACKAGE has no version $version in $SUITE; there is: $there"
			newest=$(apt_versions "$PACKAGE" | sort -V | tail -n 1)
			say "$PACKAGE $version is gone from $SUITE; there is: $there"
			say "trying $newest: good only if every patch applies without fuzz"
			packaged_source "$newest" 0
			return
		fi
		[ "$rc" = 0 ] || exit "$rc"
		unpack "$PACKAGE $version" "$target" from_deb "$deb"
	fi
	printf '%s\n' "$target"
}

# Where a newer base may be; a suite that is not there has nothing
list() {
	local suite package

	for suite in "$BASE_SUITE" sid experimental; do
		(
			apt_private "$CACHE/apt-list" "$suite" amd64 2>/dev/null
			apt-cache search '^linux-source-[0-9]' 2>/dev/null | while read -r package _; do
				apt_versions "$package" | sed "s|^|$suite |"
			done
		) || true
	done
}

lock
PACKAGE=$BASE_PACKAGE
SUITE=$BASE_SUITE
if [ "${1:-}" = list ]; then
	list
elif [ -n "${LINUX_SRC:-}" ]; then
	local_source "$LINUX_SRC"
elif [ -n "${LINUX_VERSION:-}" ]; then
	# linux-source-7.4 has all of 7.4
	PACKAGE=linux-source-$(printf '%s\n' "$LINUX_VERSION" | sed -E 's/^([0-9]+\.[0-9]+).*/\1/')
	SUITE=${LINUX_SUITE:-$BASE_SUITE}
	version=$(full_version "$LINUX_VERSION")
	packaged_source "$version" 0
else
	packaged_source "$BASE_VERSION" 1
fi
