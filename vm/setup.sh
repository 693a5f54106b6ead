#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Install what is missing of what the builds, the VMs and their tests need, or of the
# packages that are named: asks dpkg first, and apt only for what is not there.
#
# Usage: vm/setup.sh [PACKAGE]...

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGES=(
	bc bison flex gcc libc6-dev make patch perl	# the kernel's build
	libelf-dev zlib1g-dev libssl-dev libdw-dev kmod	# its host programs
	dwarves						# BTF
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross	# arm64
	clang-19 lld-19 llvm-19				# BPF
	qemu-system-x86 qemu-system-arm			# VMs
	busybox-static cpio gzip			# their initramfs
	python3						# kunit.py
	spin						# the models
	python3-sphinx python3-yaml			# the documents
	git						# the series
	ccache rsync xz-utils zstd util-linux
	debian-archive-keyring				# the kernel source's signature
)
[ $# = 0 ] || PACKAGES=("$@")

[ -z "${ARENA_SLAB_SETUP:-}" ] || exit 0
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
	die "this machine has no dpkg and apt: the harness needs Debian 12"

missing=()
for p in "${PACKAGES[@]}"; do
	state=$(dpkg-query -W -f '${db:Status-Status} ' "$p" 2>/dev/null) || state=
	case " $state" in
	*' installed '*) ;;
	*) missing+=("$p") ;;
	esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || die "not root, and these packages are missing: ${missing[*]}"

install_missing() {
	export DEBIAN_FRONTEND=noninteractive

	# Lists may be old or not there at all; a third party's broken entry
	# does not matter as long as what we need installs.
	apt-get update || true
	apt-get install -y --no-install-recommends "${missing[@]}"
}

lock
run_setup
step "install packages (${missing[*]})" setup install_missing
