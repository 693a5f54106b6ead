#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# User space for one architecture: bpftool (for this machine and for the VM), libbpf,
# vmlinux.h, scx_qmap, our tools and selftests, and the VM's image with them.
#
# Usage: [ARCH=x86_64|arm64] [FLAVOR=] vm/user.sh

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=vm/apt.sh
. "$VM/apt.sh"
arch_setup

# A flavour that runs the default kernel's user space has none to build.
if [ "$TOOLS" != "$CACHE/tools/$NAME" ]; then
	export FLAVOR=
	"$VM/kernel.sh" >/dev/null
	exec "$VM/user.sh"
fi

HOST_TOOLS=$CACHE/tools/host
BPFTOOL=$HOST_TOOLS/bpftool/bootstrap/bpftool
LIBBPF=$CACHE/tools/$ARCH/libbpf	# the same for every flavor
VMLINUX_H=$TOOLS/include/vmlinux.h
# clang 19 makes a loop of scx_qmap's into a memset() that the verifier refuses.
CLANG='clang-19 -fno-builtin-memset'
TREE_ID=

# The tree as far as a step depends on it: the base and our files under PATTERN.
tree_id() {
	{ grep -E "^base|^[^ ]+ [^ ]+ [PN] ($1)" "$CACHE/tree.manifest"; "${CROSS}gcc" --version; clang-19 --version; cat "$VM/user.sh"; } | hash
}

# The other architecture's libraries and busybox: unpacked, not installed.
sysroot() {
	local codename deb debs packages=(busybox-static libelf-dev libelf1 zlib1g-dev zlib1g)

	if [ "$ARCH" = x86_64 ]; then
		SYSROOT=
		BUSYBOX=/bin/busybox
		return
	fi
	codename=$(apt_codename)
	SYSROOT=$CACHE/tools/$ARCH/sysroot
	BUSYBOX=$SYSROOT/bin/busybox
	[ -x "$BUSYBOX" ] && is_done "$SYSROOT/.arena-stamp" "$codename ${packages[*]}" && return
	debs=$CACHE/deb/$ARCH
	rm -rf "$SYSROOT" "$SYSROOT.tmp" "$debs"
	mkdir -p "$SYSROOT.tmp" "$debs"
	apt_private "$CACHE/apt-$ARCH" "$codename" "$DEB_ARCH" amd64
	apt_fetch "$debs" "${packages[@]/%/:$DEB_ARCH}"
	unset APT_CONFIG
	for deb in "$debs"/*.deb; do
		dpkg -x "$deb" "$SYSROOT.tmp" || die "cannot unpack ${deb##*/}$(disk_words)"
	done
	[ -x "$SYSROOT.tmp/bin/busybox" ] || [ ! -x "$SYSROOT.tmp/usr/bin/busybox" ] ||
		ln -s usr/bin "$SYSROOT.tmp/bin"
	mark_done "$SYSROOT.tmp/.arena-stamp" "$codename ${packages[*]}"
	mv "$SYSROOT.tmp" "$SYSROOT"
}

bpftool() {
	local id

	id=$(tree_id 'tools/(bpf/bpftool|lib|include|build|scripts)/|kernel/bpf/disasm')
	[ -x "$BPFTOOL" ] && is_done "$HOST_TOOLS/bpftool.stamp" "$id" && return
	whole "$HOST_TOOLS/bpftool"
	step "build bpftool" bpftool filling "$HOST_TOOLS/bpftool" make -C "$TREE/tools/bpf/bpftool" -j"$JOBS" \
		OUTPUT="$HOST_TOOLS/bpftool/" CC=clang-19 HOSTCC=clang-19 CLANG=clang-19 \
		LD=ld.lld-19 HOSTLD=ld.lld-19 AR=llvm-ar-19 HOSTAR=llvm-ar-19 LLVM_STRIP=llvm-strip-19 bootstrap
	mark_done "$HOST_TOOLS/bpftool.stamp" "$id"
}

libbpf() {
	local id

	id=$(tree_id 'tools/(lib|include|build|scripts|arch)/|include/uapi/linux/bpf')
	[ -f "$LIBBPF/libbpf.a" ] && is_done "$LIBBPF.stamp" "$id" && return
	whole "$LIBBPF"
	libbpf_make() {
		mkdir -p "$LIBBPF/obj" && make -C "$TREE/tools/lib/bpf" -j"$JOBS" ARCH="$BPF_ARCH" CC="${CROSS}gcc" LD="${CROSS}ld" \
			AR="${CROSS}ar" EXTRA_CFLAGS="${SYSROOT:+-I$SYSROOT/usr/include} -g -O2" \
			OUTPUT="$LIBBPF/obj/" DESTDIR="$LIBBPF/" prefix= \
			"$LIBBPF/obj/libbpf.a" install_headers &&
			cp "$LIBBPF/obj/libbpf.a" "$LIBBPF/"
	}
	step "build libbpf ($ARCH)" "libbpf-$ARCH" filling "$LIBBPF" libbpf_make
	mark_done "$LIBBPF.stamp" "$id"
}

vmlinux_h() {
	local id

	id=$(stat -c '%s %Y' "$BUILD/vmlinux" "$BPFTOOL" | hash)
	[ -f "$VMLINUX_H" ] && is_done "$VMLINUX_H.stamp" "$id" && return
	mkdir -p "$TOOLS/include"
	dump() {
		"$BPFTOOL" btf dump file "$BUILD/vmlinux" format c >"$VMLINUX_H.new"
	}
	step "write vmlinux.h ($NAME)" "vmlinux_h-$NAME" dump
	put "$VMLINUX_H" <"$VMLINUX_H.new"
	rm -f "$VMLINUX_H.new"
	mark_done "$VMLINUX_H.stamp" "$id"
}

# bpftool for the VM, which has no libraries: without a disassembler and signatures.
bpftool_vm() {
	local id

	id=$({ tree_id 'tools/(bpf/bpftool|lib|include|build|scripts)/|kernel/bpf/disasm'; hash <"$VMLINUX_H"; } | hash)
	[ -x "$TOOLS/bin/bpftool" ] && is_done "$TOOLS/bpftool.stamp" "$id" && return
	whole "$TOOLS/bpftool"
	bpftool_make() {
		make -C "$TREE/tools/bpf/bpftool" -j"$JOBS" OUTPUT="$TOOLS/bpftool/" ${CROSS:+ARCH=arm64 CROSS_COMPILE="$CROSS"} \
			CC="${CROSS}gcc" LD="${CROSS}ld" AR="${CROSS}ar" HOSTCC=gcc HOSTLD=ld HOSTAR=ar \
			CLANG=clang-19 LLVM_STRIP=llvm-strip-19 SKIP_LLVM=1 SKIP_LIBBFD=1 SKIP_CRYPTO=1 \
			VMLINUX_BTF="$BUILD/vmlinux" VMLINUX_H="$VMLINUX_H" \
			EXTRA_CFLAGS="${SYSROOT:+-isystem $SYSROOT/usr/include}" \
			EXTRA_LDFLAGS="-static ${SYSROOT:+-L$SYSROOT/usr/lib/aarch64-linux-gnu}" \
			"$TOOLS/bpftool/bpftool" &&
			cp "$TOOLS/bpftool/bpftool" "$TOOLS/bin/"
	}
	step "build the VM's bpftool ($NAME)" "bpftool-$NAME" filling "$TOOLS/bpftool" bpftool_make
	mark_done "$TOOLS/bpftool.stamp" "$id"
}

# The tree's own scheduler, unmodified. Static, since the guest has no libraries.
qmap() {
	local id cc="${CROSS}gcc -static -I$LIBBPF/include"

	[ -z "$SYSROOT" ] || cc+=" -isystem $SYSROOT/usr/include -L$SYSROOT/usr/lib/aarch64-linux-gnu"
	id=$({ tree_id 'tools/'; hash <"$VMLINUX_H"; } | hash)
	[ -x "$TOOLS/bin/scx_qmap" ] && is_done "$TOOLS/sched_ext.stamp" "$id" && return
	whole "$TOOLS/sched_ext"
	qmap_make() {
		make -C "$TREE/tools/sched_ext" O="$TOOLS/sched_ext" ARCH="$ARCH" CC="$cc" \
			CLANG="$CLANG -I$LIBBPF/include" BPFTOOL="$BPFTOOL" BPFOBJ="$LIBBPF/libbpf.a" \
			VMLINUX_BTF="$BUILD/vmlinux" VMLINUX_H="$VMLINUX_H" scx_qmap &&
			cp "$TOOLS/sched_ext/build/bin/scx_qmap" "$TOOLS/bin/"
	}
	step "build scx_qmap ($NAME)" "scx_qmap-$NAME" filling "$TOOLS/sched_ext" qmap_make
	mark_done "$TOOLS/sched_ext.stamp" "$id"
}

# ours FOLDER PROGRAM: one of this repository's, if it is there.
ours() {
	local folder=$1 program=$2

	if ! [ -f "$TREE/$folder/Makefile" ]; then
		rm -f "$TOOLS/bin/$program"
		say "without $program: there is no $folder yet"
		return
	fi
	whole "$TOOLS/$program"
	ours_make() {
		make -C "$TREE/$folder" -j"$JOBS" OUTPUT="$TOOLS/$program/" ARCH="$ARCH" \
			CC="${CROSS}gcc" CLANG=clang-19 BPFTOOL="$BPFTOOL" LIBBPF_DIR="$LIBBPF" \
			VMLINUX_H="$VMLINUX_H" SYSROOT="$SYSROOT" &&
			cp "$TOOLS/$program/$program" "$TOOLS/bin/" &&
			{ [ ! -f "$TOOLS/$program/tests/${program}_test" ] ||
				cp "$TOOLS/$program/tests/${program}_test" "$TOOLS/bin/"; }
	}
	step "build $program ($NAME)" "$program-$NAME" filling "$TOOLS/$program" ours_make
}

image() {
	local id p root=$TOOLS/root.tmp

	id=$(cat "$VM/init" "$VM/demo.sh" "$VM/user.sh" "$BUSYBOX" "$TOOLS"/bin/* | hash)
	[ -f "$TOOLS/initramfs.cpio.gz" ] && is_done "$TOOLS/initramfs.stamp" "$id" && return
	rm -rf "$root"
	mkdir -p "$root"/{bin,etc,dev,proc,sys,tmp,root,host,run}
	ln -s bin "$root/sbin"
	cp "$BUSYBOX" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	install -m 755 "$VM/init" "$root/init"
	install -m 755 "$VM/demo.sh" "$root/bin/demo"
	printf 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/root:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	for p in "$TOOLS"/bin/*; do
		"${CROSS}strip" -g -o "$root/bin/${p##*/}" "$p"
	done
	pack() {
		(cd "$root" && find . -mindepth 1 -exec touch -hd @0 {} + && find . -mindepth 1 | sort |
			cpio -o -H newc -R 0:0 --reproducible --quiet | gzip -1n) >"$TOOLS/initramfs.tmp" &&
			mv "$TOOLS/initramfs.tmp" "$TOOLS/initramfs.cpio.gz"
	}
	step "pack the VM's image ($NAME)" "image-$NAME" pack
	rm -rf "$root"
	mark_done "$TOOLS/initramfs.stamp" "$id"
}

"$VM/setup.sh"
lock
[ -f "$BUILD/vmlinux" ] || die "there is no kernel for $NAME yet: make kernel ARCH=$ARCH"
need_space 300 "the tools"
mkdir -p "$TOOLS/bin"
sysroot
bpftool
libbpf
vmlinux_h
bpftool_vm
qmap
ours tools/bpf/arenaslab arenaslab
ours tools/testing/selftests/bpf/arena_slab arena_slab
image
