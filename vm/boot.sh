#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the kernel in QEMU, and run a command in it or give a shell.
#
# Usage: vm/boot.sh [-n NAME] [-a KERNEL_ARGUMENTS] [-f FILE[:GUEST_PATH]]...
#		    [-s] [-c COMMAND]
#
#	-n	name of the logs (console-NAME.log, output-NAME.log)
#	-f	put a file into the guest (default place: /bin)
#	-s	silent: the command's output goes to its log only
#	-c	what to run; without it a shell, or the script on stdin when that is
#		no terminal
#
# Environment: ARCH, FLAVOR, MEM (2G), SMP (2), TIMEOUT in seconds (300, 0 is
# none; a shell has none), HOST_DIR (becomes /host), TCG_THREAD=multi|single (the CPUs),
# QEMU_ARGS. A flavor may have more memory, more time, and kernel arguments:
# vm/flavors.list.
#
# The command's exit status is this script's, but for the machine's own troubles:
#
#	124	it took too long
#	125	the machine was lost: it died or panicked before the command ended
#	126	the kernel complained on its console (the command may have passed)
#
# KVM is never asked for: there are machines on which it opens and then hangs.

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
arch_setup

SMP=${SMP:-2}
HOST_DIR=${HOST_DIR:-}
SELF=vm
APPEND=
FILES=()
SILENT=
COMMAND=
SHELL_WANTED=1

while getopts n:a:f:sc: opt; do
	case $opt in
	n) SELF=$OPTARG ;;
	a) APPEND=$OPTARG ;;
	f) FILES+=("$OPTARG") ;;
	s) SILENT=1 ;;
	c)
		COMMAND=$OPTARG
		SHELL_WANTED=
		;;
	*) die -2 "usage: vm/boot.sh [-n NAME] [-a ARGUMENTS] [-f FILE[:PATH]]... [-s] [-c COMMAND]" ;;
	esac
done

if [ -n "$SHELL_WANTED" ] && ! [ -t 0 ]; then
	COMMAND=$(cat)
	SHELL_WANTED=
fi
TIMEOUT=${TIMEOUT:-$([ -n "$SHELL_WANTED" ] && echo 0 || echo $((300 * SLOW)))}
[[ $TIMEOUT =~ ^[0-9]+$ ]] || die -2 "TIMEOUT=$TIMEOUT is no number of seconds"
if [ -n "$HOST_DIR" ]; then
	[ -d "$HOST_DIR" ] || die -2 "HOST_DIR=$HOST_DIR: there is no such folder"
	HOST_DIR=$(realpath "$HOST_DIR")
fi
[ -f "$IMAGE" ] || die "there is no kernel for $NAME yet: make kernel ARCH=$ARCH${FLAVOR:+ FLAVOR=$FLAVOR}"
[ -f "$TOOLS/initramfs.cpio.gz" ] || die "there is no VM image for $NAME yet: make tools ARCH=$ARCH${FLAVOR:+ FLAVOR=$FLAVOR}"
run_setup

CONSOLE=$ARENA_SLAB_RUN/console-$SELF.log
OUTPUT=$ARENA_SLAB_RUN/output-$SELF.log
WORK=$(mktemp -d "${TMPDIR:-/tmp}/arena-slab-vm.XXXXXX") || die "no room for temporary files"
QEMU=
cleanup() {
	[ -z "$QEMU" ] || kill "$QEMU" 2>/dev/null || true
	rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# What is made for this boot, appended to the image.
guest_files() {
	local f to root=$WORK/root

	mkdir -p "$root/etc/vm" "$root/bin"
	{
		printf 'HOST_SHARED=%s\n' "${HOST_DIR:+1}"
		if [ -n "$SHELL_WANTED" ]; then
			stty size 2>/dev/null | awk '$1 > 0 { r = $1; c = $2 }
				END { print "TTY_ROWS=" (r ? r : 24) "\nTTY_COLS=" (c ? c : 80) }'
		fi
	} >"$root/etc/vm/env"
	[ -n "$SHELL_WANTED" ] || printf '%s\n' "$COMMAND" >"$root/etc/vm/command"
	for f in "${FILES[@]}"; do
		to=bin/
		case $f in
		*:/*) to=${f#*:/} f=${f%%:/*} ;;
		esac
		[ -f "$f" ] || die -2 "$f: there is no such file to put into the VM"
		mkdir -p "$root/$(dirname "${to}x")"
		cp "$f" "$root/$to"
	done
	{
		cat "$TOOLS/initramfs.cpio.gz"
		(cd "$root" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 --quiet | gzip -1n)
	} >"$WORK/initrd"
}

# The console without the data races that KCSAN sees between others: a report counts if
# one of the two accesses, or who called for it, is in a function of our objects. Not
# further down the stack: there are programs and probes on top of us, with races of theirs.
our_console() {
	if ! grep -aq 'BUG: KCSAN: ' "$CONSOLE"; then
		cat "$CONSOLE"
		return
	fi
	{
		nm "$BUILD"/kernel/bpf/arena*.o "$BUILD"/mm/slab_arena.o 2>/dev/null
		# mm/slub.o has these beside those of the base
		grep -oE '^([a-z].*[ *])?[a-z_]+\(' "$TREE/mm/slub_arena.c" 2>/dev/null |
			sed -E 's/(.*[ *])?([a-z_]+)\($/- t \2/'
	} |
		awk '
			NR == FNR { if ($2 ~ /^[tT]$/) ours[$3]; next }
			/BUG: KCSAN: / { inside = 1; mine = 0; report = ""; frames = 0 }
			!inside { print; next }
			{
				report = report $0 "\n"
				if (/ to 0x[0-9a-f]+ of [0-9]+ bytes /)
					frames = 4
				if (frames-- > 0) {
					n = split($0, word, /[^A-Za-z0-9_]+/)
					for (i = 1; i <= n; i++)
						mine += word[i] in ours
				}
			}
			/====================/ { if (mine) printf "%s", report; inside = 0 }' - "$CONSOLE"
}

# The lines in which a kernel complains.
complaints() {
	our_console | grep -aE 'WARNING: |BUG: |BUG at |Oops|Internal error: |INFO: possible|possible (circular|recursive) locking|possible irq lock inversion|inconsistent lock state|suspicious RCU usage|DEBUG_LOCKS_WARN|lockdep is turned off|KASAN: |KFENCE: |KCSAN: |UBSAN: |rcu: INFO: |rcu_preempt (self-)?detected|soft lockup|hard LOCKUP|INFO: task .* blocked for more|Unable to handle kernel|general protection fault, |Kernel panic|scheduling while atomic|sleeping function called|kernel BUG|Bad page state|list_(add|del) corruption|refcount_t: |double free|page_table_check' |
		grep -avE 'Kernel command line|Command line:' | sed -n 1,25p
}

guest_files
mkfifo "$WORK/out.in" "$WORK/out.out"
: >"$CONSOLE"
: >"$OUTPUT"

case $ARCH in
x86_64)
	qemu=(qemu-system-x86_64)
	# The default machine computes its interrupt routing in AML, a loop that the
	# interpreter of a debug kernel gives up after 30 s.
	[ "$SLOW" -lt 4 ] || qemu+=(-machine q35)
	args='console=ttyS0'
	;;
arm64)
	# By GICv3's priorities an interrupt can be an NMI, see vm/kunit.sh
	qemu=(qemu-system-aarch64 -machine virt,gic-version=3)
	args='console=ttyAMA0'
	;;
esac
# KUnit's suites run when they are asked for only: -a is behind this.
args="$args panic=-1 oops=panic rdinit=/init kunit.autorun=0${KERNEL_ARGS:+ $KERNEL_ARGS} $APPEND"
# QEMU before 8.1 translates a page of code without its lock, so that a block with
# the int3 of the kernel's text patching can stay in a CPU's cache for ever: about
# one of 30 attaches of a scheduler (static keys) ended in "Oops: int3". arm64 has no
# such step, but a branch from before can stay as well: one or two of 630 attaches
# (FINDINGS.md, "An oops"). So there CPUs run in parallel only where nothing attaches
# schedulers, or where it is races that are looked for: KUnit, torture.
THREAD=single
[ "$ARCH" = x86_64 ] || THREAD=multi
THREAD=${TCG_THREAD:-$THREAD}
qemu+=(-accel "tcg,thread=$THREAD" -cpu max -smp "$SMP" -m "$MEM" -display none -monitor none -no-reboot
	-nic none -kernel "$IMAGE" -initrd "$WORK/initrd" -append "$args"
	-serial "file:${CONSOLE//,/,,}"
	-device virtio-serial-pci
	-chardev "file,id=status,path=${WORK//,/,,}/status"
	-device virtserialport,chardev=status,name=arena.status)
if [ -n "$HOST_DIR" ]; then
	qemu+=(-virtfs "local,path=${HOST_DIR//,/,,},mount_tag=host,security_model=none,multidevs=remap")
fi
if [ -n "$SHELL_WANTED" ]; then
	qemu+=(-chardev stdio,id=tty,signal=off -device virtconsole,chardev=tty)
else
	qemu+=(-chardev "pipe,id=out,path=${WORK//,/,,}/out"
		-device virtserialport,chardev=out,name=arena.out)
fi
# shellcheck disable=SC2206 # words on purpose
qemu+=(${QEMU_ARGS:-})
if [ -n "$FLAVOR" ] && [ -f "$VM/config/flavor/$FLAVOR.qemu" ]; then
	# shellcheck disable=SC2207
	qemu+=($(sed '/^#/d' "$VM/config/flavor/$FLAVOR.qemu"))
fi
printf '%s\n' "${qemu[*]@Q}" >"$ARENA_SLAB_RUN/qemu-$SELF.log"

rc=0
if [ -n "$SHELL_WANTED" ]; then
	say "a shell in the VM ($NAME); exit ends it; console: $(shown "$CONSOLE")"
	timeout --foreground -k 5 "$TIMEOUT" "${qemu[@]}" 2>>"$ARENA_SLAB_RUN/qemu-$SELF.log" || rc=$?
else
	if [ -n "$SILENT" ]; then
		cat <"$WORK/out.out" >"$OUTPUT" &
	else
		tee "$OUTPUT" <"$WORK/out.out" &
	fi
	reader=$!
	timeout -k 5 "$TIMEOUT" "${qemu[@]}" </dev/null >>"$ARENA_SLAB_RUN/qemu-$SELF.log" 2>&1 &
	QEMU=$!
	wait "$QEMU" || rc=$?
	QEMU=
	# QEMU that never opened the pipe leaves its reader waiting.
	: <>"$WORK/out.out"
	wait "$reader" 2>/dev/null || true
fi

status=$(cat "$WORK/status" 2>/dev/null || true)
log="console: $(shown "$CONSOLE")"
bad=$(complaints || true)
if [ -n "$bad" ]; then
	say "the kernel ($NAME) complained:"
	printf '%s\n' "$bad" | sed 's/^/    /' >&2
fi
case $rc in
124 | 137)
	[ -n "$status" ] || die -124 "VM ($NAME): the command did not end within $TIMEOUT s, $log"
	die -125 "VM ($NAME): lost, it did not power off (the command's status was $status), $log"
	;;
esac
if [ -z "$status" ]; then
	[ -n "$bad" ] || [ ! -s "$CONSOLE" ] || tail -n 8 "$CONSOLE" | sed 's/^/    /' >&2
	[ "$rc" = 0 ] || tail -n +2 "$ARENA_SLAB_RUN/qemu-$SELF.log" | tail -n 5 | sed 's/^/    /' >&2
	die -125 "VM ($NAME): lost before the command ended (QEMU: $rc), $log"
fi
if [ -n "$bad" ]; then
	die -126 "VM ($NAME): the kernel complained; the command's own status was $status, $log"
fi
if [ "$status" != 0 ]; then
	say "VM ($NAME): the command ended with status $status"
fi
exit "$status"
