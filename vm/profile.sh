#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Where the instructions of one allocation and one free go: by gdb, which steps through
# a round of `arenaslab bench -w hot` in the VM, from one call of the allocation to the
# next, the loop included. On the kernel of FLAVOR=bench, if no other is given. On stdout
# they are counted by function, inline functions as the compiler remembers them; each of
# them, in its order, is in profile-*.txt of the run's logs.
#
# Usage: [SKIP=20] vm/profile.sh [-s SIZE] [PEER|PEER=FUNCTION]...
#
# PEER is an allocator of `arenaslab bench --list`, and FUNCTION what it calls first, if it
# is none of those below. So many rounds are left alone at first: SKIP; few, since the clock
# of QEMU runs on where gdb stops the CPU, and the guest falls over its watchdogs in the end.

export FLAVOR=${FLAVOR:-bench}
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup
run_setup

SKIP=${SKIP:-20}
SIZE=64
while getopts s: opt; do
	case $opt in
	s) SIZE=$OPTARG ;;
	*) die -2 "usage: vm/profile.sh [-s SIZE] [PEER|PEER=FUNCTION]..." ;;
	esac
done
shift $((OPTIND - 1))
[[ $SKIP =~ ^[0-9]+$ ]] || die -2 "SKIP=$SKIP is no number of rounds"
[ $# -gt 0 ] || set -- kmem_cache arena_cache arena_cache_nolock bpf:arena_alloc bpf:obj_new

# Where a round of a peer begins
entry_of() {
	case $1 in
	*=*) echo "${1#*=}" ;;
	kmem_cache) echo kmem_cache_alloc_noprof ;;
	arena_cache) echo bpf_arena_cache_alloc ;;
	arena_cache_nolock) echo bpf_arena_cache_alloc_nolock ;;
	bpf:arena_alloc) echo bpf_arena_alloc ;;
	bpf:obj_new) echo bpf_obj_new ;;
	*) die -2 "$1: where does it begin? $1=FUNCTION" ;;
	esac
}

for peer in "$@"; do
	entry_of "$peer" >/dev/null
done

GDB=gdb
[ "$ARCH" = x86_64 ] || GDB=gdb-multiarch
command -v "$GDB" >/dev/null || "$VM/setup.sh" "$GDB"
[ -f "$BUILD/vmlinux" ] || die "there is no kernel for $NAME yet: make kernel ARCH=$ARCH FLAVOR=$FLAVOR"

rc=0
for peer in "$@"; do
	entry=$(entry_of "$peer")
	peer=${peer%%=*}
	log=$ARENA_SLAB_RUN/profile-${peer//[^a-z_]/-}
	sock=$(mktemp -u "${TMPDIR:-/tmp}/arena-slab-gdb.XXXXXX")
	# It waits for gdb, which kills it in the end
	QEMU_ARGS="-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -seed 1 -S -gdb unix:$sock,server=on,wait=off" \
		SMP=1 TCG_THREAD=single MEM=2G "$VM/boot.sh" -s -n "${log##*/}" \
		-a "nokaslr $([ "$ARCH" != x86_64 ] || echo tsc_early_khz=1000000)" \
		-c "arenaslab bench -w hot -s $SIZE -p $peer -r 1" >"$log.vm" 2>&1 &
	vm=$!
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$sock" ] || break
		sleep 0.2
	done
	if [ ! -S "$sock" ]; then
		kill "$vm" 2>/dev/null || true
		die "the VM did not start: $(tail -n 1 "$log.vm")"
	fi
	printf '== %s, %s bytes (%s): from one %s() to the next\n\n' "$peer" "$SIZE" "$NAME" "$entry"
	# Others call kmem_cache_alloc() as well: from where the benchmark begins
	start=bench_work_ops
	[ "${peer#bpf:}" = "$peer" ] || start=
	if ! START=$start ENTRY=$entry SKIP=$SKIP LIST=$log.txt TABLE=$log.table timeout "${TIMEOUT:-600}" "$GDB" -q -nx -batch \
		-ex 'set pagination off' -ex 'set confirm off' -ex "target remote $sock" \
		-x "$VM/profile.py" "$BUILD/vmlinux" >"$log.gdb" 2>&1 || ! cat "$log.table"; then
		say "$peer: gdb has seen no round: $(grep -iE 'error|not called' "$log.gdb" | tail -n 1)"
		rc=1
	fi
	kill "$vm" 2>/dev/null || true
	wait "$vm" 2>/dev/null || true
	rm -f "$sock"
	echo
done
say "each instruction: $(shown "$ARENA_SLAB_RUN")/profile-*.txt"
exit "$rc"
