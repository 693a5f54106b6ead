#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# `arenaslab bench` in the VM, for each architecture: all works with one CPU, where QEMU
# counts instructions and a nanosecond is one, so that figures repeat; the same with two that
# take turns; then what needs two CPUs at once without that, to be read as ratios. On the
# kernel of FLAVOR=bench, which has none of the tests' checks. In between, plain kmem_caches on
# the tests' kernel, before there are arena caches and with one, on the kernel with the option
# off and on the one without our patches, if there are builds of them, or with BENCH_BASE=1:
# what the option costs those who do not use it.
#
# Tables are on stdout, and the figures in bench-ARCH.json of the run's logs, with one
# plot of them, and as a document: Documentation/mm/slab_arena_figures.rst is of such a run.
# No time is too long: the exit status says that something could not be run, as vm/boot.sh
# does.
#
# Usage: [BENCH_BASE=1] [MEM=4G] vm/bench.sh [x86_64|arm64]...
#
# Environment: BENCH_ARGS, arguments of the tool for the run with one CPU.

# shellcheck disable=SC2030,SC2031 # ARCH is of a subshell on purpose, see in_kernel
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- x86_64 arm64
[ -z "${FLAVOR:-}" ] || die -2 "FLAVOR=$FLAVOR: the benchmark compares kernels by itself"
BENCH_BASE=${BENCH_BASE:-}
BENCH_ARGS=${BENCH_ARGS:-}
# 100,000 objects of a page, and whatever the peers have besides
MEM_GIVEN=${MEM:-4G}
# Ten minutes of an idle machine become an hour on one that is not
export TIMEOUT=${TIMEOUT:-10800}
PLAIN='-p null -p kmem_cache -p bpf:arena_pages -w hot -w batch64 -w batch512 -w arena'
for arch in "$@"; do
	ARCH=$arch
	arch_setup
done
run_setup
rc=0
machines=()

# in_kernel ARCH FLAVOR COMMAND...: in a shell of its own, as each kernel has its variables.
in_kernel() (
	ARCH=$1
	FLAVOR=$2
	MEM=$MEM_GIVEN
	shift 2
	arch_setup
	"$@"
)

is_built() {
	[ -f "$IMAGE" ]
}

build() {
	"$VM/kernel.sh" >/dev/null && "$VM/user.sh" >/dev/null
}

# bench TITLE FILE COMMAND [BEFORE]: tables, and figures in FILE of the run's logs.
bench() {
	local title=$1 file=$2 command=$3 before=${4:-} args=

	# What -icount has; of a clock of another rate the kernel would soon say that it is unstable
	[ "$ARCH-${QEMU_ARGS:+counted}" != x86_64-counted ] || args='tsc_early_khz=1000000'
	printf '== %s (%s)\n\n' "$title" "$NAME"
	HOST_DIR=$ARENA_SLAB_RUN "$VM/boot.sh" -n "$file" -a "nokaslr $args" \
		-c "${before:+$before >/dev/null && }arenaslab bench --json $command >/host/$file.json"
}

# The clock is the number of instructions: with one CPU, and no other thread for it
counted() {
	SMP=1 TCG_THREAD=single bench "$@"
}

# Two, of which one at a time has something to do: they take turns, and the other one idles
turns() {
	SMP=2 TCG_THREAD=single bench "$@"
}

parallel() {
	SMP=2 TCG_THREAD=multi QEMU_ARGS='' bench "$@"
}

sizes() {
	printf '== size of mm/slub.o (%s)\n\n' "$NAME"
	(cd "$BUILD" && "${CROSS}size" mm/slub.o)
	echo
}

# What failed stays so, and the others go on.
try() {
	local err=0

	"$@" || err=$?
	[ "$err" = 0 ] || [ "$rc" != 0 ] || rc=$err
	return 0
}

export QEMU_ARGS='-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -seed 1'
for arch in "$@"; do
	in_kernel "$arch" bench build || die "$arch: the kernel or the tools are not built"
	[ -z "$BENCH_BASE" ] || for flavor in '' off base; do
		in_kernel "$arch" "$flavor" build || die "$arch-$flavor: not built"
	done
	try in_kernel "$arch" bench counted 'instructions' "bench-$arch-one" "$BENCH_ARGS"
	for flavor in '' off base; do
		in_kernel "$arch" "$flavor" is_built || continue
		try in_kernel "$arch" "$flavor" counted 'instructions, plain caches' \
			"bench-$arch-plain${flavor:+-$flavor}" "$PLAIN"
		[ -n "$flavor" ] || try in_kernel "$arch" "$flavor" counted \
			'instructions, plain caches where there are arena caches' \
			"bench-$arch-plain-used" "$PLAIN" "arenaslab bench --json -w hot -s 64 -r 1 -p arena_cache"
		try in_kernel "$arch" "$flavor" sizes
	done
	try in_kernel "$arch" bench turns 'instructions, two CPUs in turn' "bench-$arch-turns" '-w remote'
	try in_kernel "$arch" bench parallel 'two CPUs, ratios' "bench-$arch-two" '-w local2 -w shared2 -s 64 -s 1024 -r 30'
	# What a lost machine has not said is missing in it
	parts=()
	for part in one turns two; do
		[ ! -s "$ARENA_SLAB_RUN/bench-$arch-$part.json" ] || parts+=("$ARENA_SLAB_RUN/bench-$arch-$part.json")
	done
	[ "${#parts[@]}" -gt 0 ] || continue
	try "$VM/bench_plot.py" --merge "$ARENA_SLAB_RUN/bench-$arch.json" "${parts[@]}"
	try "$VM/bench_plot.py" "$ARENA_SLAB_RUN/bench-$arch.json" "$ARENA_SLAB_RUN/bench-$arch.svg"
	say "figures and plot: $(shown "$ARENA_SLAB_RUN")/bench-$arch.json, .svg"
	machines+=("$arch=$ARENA_SLAB_RUN/bench-$arch.json")
done
if [ "${#machines[@]}" -gt 0 ]; then
	try "$VM/bench_plot.py" --tables "$ARENA_SLAB_RUN/slab_arena_figures.rst" "${machines[@]}"
	say "all figures: $(shown "$ARENA_SLAB_RUN")/slab_arena_figures.rst"
fi
exit "$rc"
