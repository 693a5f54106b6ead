#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Build somebody's programs for this kernel, in their folder: each NAME.bpf.c, its skeleton
# NAME.skel.h, and NAME.c as a static program NAME, since the VM has no shared libraries.
# vmlinux.h, libbpf and bpf/arena_alloc.bpf.h are found. To run one:
# make vm HOST_DIR=DIR CMD=/host/NAME
#
# Usage: [ARCH=] [FLAVOR=] vm/program.sh DIR

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

[ $# = 1 ] && [ -n "$1" ] || die -2 'which folder? make program DIR=path'
[ -d "$1" ] || die -2 "DIR=$1: there is no such folder"
cd "$1"
shopt -s nullglob
programs=(*.bpf.c)
[ ${#programs[@]} -gt 0 ] || die -2 "DIR=$1: there is no NAME.bpf.c in it"

LIBBPF=$CACHE/tools/$ARCH/libbpf
SYSROOT=
[ "$ARCH" = x86_64 ] || SYSROOT=$CACHE/tools/$ARCH/sysroot
INCLUDE=("-I$TOOLS/include" "-I$LIBBPF/include" "-I$REPO/tools/bpf/arenaslab/include")

for source in "${programs[@]}"; do
	name=${source%.bpf.c}
	clang-19 -g -O2 -Wall --target=bpf -mcpu=v4 -fms-extensions -Wno-microsoft-anon-tag \
		-Wno-missing-declarations -D__TARGET_ARCH_"$BPF_ARCH" "${INCLUDE[@]}" \
		-c "$source" -o "$name.bpf.o" || die "$source does not compile"
	"$CACHE/tools/host/bpftool/bootstrap/bpftool" gen skeleton "$name.bpf.o" \
		name "${name//[^A-Za-z0-9_]/_}_bpf" >"$name.skel.h" || die "$name.bpf.o has no skeleton"
	[ -f "$name.c" ] || continue
	"${CROSS}gcc" -g -O2 -Wall -static -pthread ${SYSROOT:+-isystem "$SYSROOT/usr/include"} \
		"${INCLUDE[@]:1}" -o "$name" "$name.c" "$LIBBPF/libbpf.a" \
		${SYSROOT:+-L"$SYSROOT/usr/lib/aarch64-linux-gnu"} -lelf -lz || die "$name.c does not compile"
	say "$name: make vm$([ "$ARCH" = x86_64 ] || printf " ARCH=%s" "$ARCH") HOST_DIR=$1 CMD=/host/$name"
done
