#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# What the kernel's maintainers run on a patch before they read it, on all that is
# ours: the new files, the files that the patches edit, and the series if there is one.
#
#	checkpatch	checkpatch.pl --strict --codespell: new files, and the diffs
#	series		the same on each patch that make series has written
#	sparse		C=2, on our objects
#	gcc clang	W=1, on our objects
#	cocci		the tree's semantic patches, on our new files
#	kerneldoc	kernel-doc -Wall, and that what is public has any
#	format		clang-format on the new kernel files, with the tree's style
#	shell		make lint
#	bloat		with the option off mm/ and kernel/bpf/ are as in the base with its fixes
#	allmod		allmodconfig, without and with the option: the folders we touch
#	arch		where no JIT has arenas the option is not offered; elsewhere it builds
#
# A finding is a line "FILE: what the tool said". What the pristine kernel's file has, too,
# is none. Neither is what vm/check.list argues for; a line there that meets nothing is an
# error itself, once everything that could have met it was run (both architectures).
#
# One line a check, its findings below it, and at last "N passed, N failed, N skipped".
# Configurations and objects are kept in check/ of the cache folder.
#
# Usage: [ARCHES='x86_64 arm64'] vm/check.sh [CHECK]...

export FLAVOR=
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

ALL=(checkpatch series sparse gcc clang cocci kerneldoc format shell bloat allmod arch)
ARCHES=${ARCHES:-x86_64 arm64}
LIST=$VM/check.list
CHECK=$CACHE/check
SAID=$CHECK/checkpatch

[ $# -gt 0 ] || set -- "${ALL[@]}"
for c in "$@"; do
	[[ " ${ALL[*]} " == *" $c "* ]] || die -2 "there is no check $c, but ${ALL[*]}"
done
for a in $ARCHES; do
	[ "$a" = x86_64 ] || [ "$a" = arm64 ] || die -2 "ARCHES=$ARCHES: there are x86_64 and arm64"
done

# need COMMAND PACKAGE
need() {
	command -v "$1" >/dev/null || "$VM/setup.sh" "$2" ||
		die "the check $NOW needs $1 (apt-get install $2)"
}

export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
export KBUILD_BUILD_USER=arena-slab KBUILD_BUILD_HOST=localhost KBUILD_BUILD_VERSION=1
export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache} CCACHE_BASEDIR=$CACHE CCACHE_NOHASHDIR=1
export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-4G}

"$VM/setup.sh"
CCACHE=
! command -v ccache >/dev/null || CCACHE='ccache '
run_setup
lock
PRISTINE=$("$VM/source.sh")
"$VM/tree.sh" compose

passed=0
failed=0
skipped=0
NOW=		# the check that runs
declare -A used=()	# lines of vm/check.list that met a finding

# --- Files

# ours KIND: N, the new files, or P, those that are patched
ours() {
	awk -v kind="$1" '$3 == kind { print $4 }' "$MANIFEST"
}

new_sources() {
	ours N | grep -E '\.[ch]$'
}

# objects KIND ARCH: the objects that are made of them
objects() {
	ours "$1" | grep -E "^(arch/$2|kernel|lib|mm)/.*\.c\$" |
		sed -E 's,^kernel/sched/.*,kernel/sched/build_policy.c,; s,^mm/slub_arena,mm/slub,; s,c$,o,' | sort -u
}

# --- Findings

# findings ROOT: of what a compiler or sparse said on stdin, "FILE:LINE: TEXT"
findings() {
	local roots

	# A version may have a plus
	roots=$(printf '%s|%s|.' "$1" "$(realpath --relative-to="$CHECK/x" "$1")" | sed 's/[].[^$*+?(){}]/\\&/g')
	sed -nE "s,^($roots)/+,,
		s,^([^ :]+:[0-9]+)(:[0-9]+)?: (fatal )?(warning|error): ,\1: ,p" | sort -u
}

# known FILE BASE: what of FILE is not in BASE as well, as often, anywhere in that file
known() {
	awk 'function key(s) { sub(/:[0-9]+: /, ": ", s); return s }
		FILENAME == ARGV[1] { base[key($0)]++; next }
		base[key($0)]-- <= 0' "$2" "$1"
}

# excused FINDING: is it in vm/check.list? What is argued for a file goes for the patches, too.
excused() {
	local file=${1%%:*} i as=$NOW

	[ "$NOW" != series ] || as=checkpatch
	for i in "${!e_check[@]}"; do
		# shellcheck disable=SC2053 # a pattern
		if [[ " $NOW $as " == *" ${e_check[i]} "* ]] && [[ $file == ${e_file[i]} ]] && [[ $1 == *"${e_text[i]}"* ]]; then
			used[$i]=1
			return 0
		fi
	done
	return 1
}

# verdict WHAT FILE [RC LOG]: one line, and the findings of FILE that nothing excuses. RC
# is the tool's own.
verdict() {
	local what=$1 file=$2 rc=${3:-0} log=${4:-} line bad=() n=0 time

	while IFS= read -r line; do
		if excused "$line"; then
			n=$((n + 1))
		else
			bad+=("$line")
		fi
	done <"$file"
	time=$(elapsed $((SECONDS - began)))
	if [ ${#bad[@]} = 0 ] && [ "$rc" = 0 ]; then
		passed=$((passed + 1))
		printf 'ok %s: %s, %d excused (%s)\n' "$NOW" "$what" "$n" "$time"
		return
	fi
	failed=$((failed + 1))
	printf 'not ok %s: %s, %d findings, %d excused (%s)\n' "$NOW" "$what" "${#bad[@]}" "$n" "$time"
	if [ ${#bad[@]} -gt 0 ]; then
		printf '    %s\n' "${bad[@]:0:40}"
		[ ${#bad[@]} -le 40 ] || printf '    ...\n'
		printf '%s\n' "${bad[@]}" >"$file.bad"
		printf '    (%s)\n' "$(shown "$file.bad")"
	else
		relevant "$log"
	fi
}

skip() {
	skipped=$((skipped + 1))
	printf 'ok %s # SKIP %s\n' "$NOW" "$1"
}

# try LOG COMMAND...: a step whose failure is for the verdict; sets rc and STEP_LOG
try() {
	local log=$1

	shift
	rc=0
	STEP_LOG=$ARENA_SLAB_RUN/check-$log.log
	rm -f "$STEP_LOG"
	# What it says of a failure the verdict says
	(step "$log" "check-$log" "$@") 2> >(grep -avE '^(error: |    )|: failed after ' >&2) || rc=$?
	[ "$rc" -lt 128 ] || exit "$rc"
}

# --- Builds, each in a folder of its own: check/ARCH-NAME

# make_setup TREE OUT ARCH COMPILER: sets MAKE
make_setup() {
	local tree=$1 out=$2 arch=$3 compiler=$4 cross

	case $arch in
	x86_64) cross= ;;
	arm64) cross=aarch64-linux-gnu- ;;
	riscv) cross=riscv64-linux-gnu- ;;
	s390) cross=s390x-linux-gnu- ;;
	i386) cross=i686-linux-gnu- ;;
	mips) cross=mips64el-linux-gnuabi64- ;;
	esac
	MAKE=(make -C "$tree" O="$out" ARCH="$arch" -j"$JOBS")
	case $compiler in
	gcc) MAKE+=(CROSS_COMPILE="$cross" CC="$CCACHE${cross}gcc" HOSTCC="${CCACHE}gcc") ;;
	clang) MAKE+=(LLVM=-19 CC="${CCACHE}clang-19" HOSTCC="${CCACHE}clang-19") ;;
	esac
}

# Everything that is not what it asks for is as in allmodconfig. What the harness's
# kernels have is built in, with DWARF and BTF, or there were no sched_ext; warnings are
# for us to count; and gcc plugins want headers that few machines have.
fragment() {
	local f files=("$VM/config/common.config")

	for f in "$@"; do
		files+=("$VM/config/$f.config")
	done
	sed -E 's/[[:space:]]+#.*//; /^#/d; /^$/d' "${files[@]}" | awk -F = '{ line[$1] = $0 } END { for (o in line) print line[o] }' | sort
	printf 'CONFIG_%s=n\n' DEBUG_INFO_REDUCED DEBUG_INFO_SPLIT WERROR GCC_PLUGINS GCOV_KERNEL
}

# configure OUT TARGET: once for a fragment, a set of Kconfig files and a compiler
configure() {
	local out=$1 target=$2 id

	id=$({
		cat "$out.fragment"
		printf '%s ' "${MAKE[@]}" "$target"
		grep -E '^base|Kconfig' "$MANIFEST"
		"$(sed -nE 's/^CC=(ccache )?//p' <<<"$(printf '%s\n' "${MAKE[@]}")")" --version
	} | hash)
	is_done "$out.config" "$id" && return
	need_space 1000 "a configuration to check"
	whole "$out"
	rm -f "$out.said"*
	mkdir -p "$out"
	set_config() {
		KCONFIG_ALLCONFIG=$out.fragment filling "$out" "${MAKE[@]}" "$target"
	}
	# A configuration that goes wrong is nothing that a verdict could be on
	step "configure ${out##*/}" "check-config-${out##*/}" set_config
	mark_done "$out.config" "$id"
}

# built OUT TARGETS...: make goes on after one that fails, and repeats no warning of what
# is there: objects are made anew, by ccache most of them
built() {
	local out=$1 target

	shift
	for target in "$@"; do
		case $target in
		*.o) rm -f "$out/$target" ;;
		*/) [ ! -d "$out/$target" ] || find "$out/$target" -name '*.o' -delete ;;
		esac
	done
	"${MAKE[@]}" -k "${ARGS[@]}" "$@"
}

# sparse goes through sources whose objects are there. That it was run at all make says
# by the way only.
sparsed() {
	local log

	shift
	log=$("${MAKE[@]}" -k "${ARGS[@]}" "$@" 2>&1) || {
		printf '%s\n' "$log"
		return 1
	}
	grep -vE '\[-W[a-z0-9=-]+\]$' <<<"$log"
	[ "$(grep -c '^  CHECK ' <<<"$log")" -ge $# ]
}

# --- The checks

# checkpatch FILE ARGUMENTS...: into SAID/HASH, which stays as long as the file and the
# tool do: looking up each word takes a minute for a large file
checkpatch_run() {
	local file=$1 id

	shift
	id=$({ cat "$file" "$TREE/scripts/checkpatch.pl"; printf 'file before messages %s ' "$*"; printf '%s ' "$file" "$@"; codespell --version; } | hash)
	printf '%s\n' "$id"
	[ ! -e "$SAID/$id" ] || return 0
	# Its status says that it found something; what goes wrong with itself is on stderr
	perl scripts/checkpatch.pl --strict --codespell --codespellfile "$DICTIONARY" --terse --no-summary \
		--show-types --color=never "$@" "$file" >"$SAID/$id.tmp" || [ $? = 1 ] || return
	# With --showfile what it finds in a message has no file
	sed -i "s|^:[0-9]|$file&|" "$SAID/$id.tmp"
	mv "$SAID/$id.tmp" "$SAID/$id"
}

# checkpatch_all ARGUMENTS... < FILES: several at a time, said in their order
checkpatch_all() {
	local file n=0 dir=$ARENA_SLAB_RUN/checkpatch

	cd "$TREE" && mkdir -p "$SAID" "$dir" || return
	while read -r file; do
		while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
			wait -n || return
		done
		n=$((n + 1))
		checkpatch_run "$file" "$@" >"$dir/$n" &
	done
	while [ "$(jobs -rp | wc -l)" -gt 0 ]; do
		wait -n || return
	done
	for ((; n; n--)); do
		cat "$SAID/$(cat "$dir/$n")" || return
	done
}

dictionary() {
	need codespell codespell
	DICTIONARY=$(dpkg -L codespell | grep '/data/dictionary\.txt$') ||
		die "the package codespell has no dictionary.txt"
}

check_checkpatch() {
	local out=$ARENA_SLAB_RUN/check-checkpatch.txt

	dictionary
	all_files() {
		local f diffs=$CHECK/diffs

		rm -rf "$diffs" && mkdir -p "$diffs" || return
		for f in $(ours P); do
			awk '/^--- / { diff = 1 } diff' "$REPO/$f.patch" >"$diffs/${f//\//-}"
		done
		# Programs of another language or of none (models, the manual page) are not for it
		checkpatch_all --no-signoff -f < <(ours N | grep -vE '\.(pml|inc|8|bash|sh|awk)$') &&
			checkpatch_all --no-signoff --ignore COMMIT_MESSAGE --showfile < <(find "$diffs" -type f | sort)
	}
	try checkpatch all_files
	grep -E '^[^ :]+:[0-9]+: (ERROR|WARNING|CHECK):' "$STEP_LOG" >"$out" || true
	verdict "$(ours N | wc -l) new files, $(ours P | wc -l) diffs" "$out" "$rc" "$STEP_LOG"
}

check_series() {
	local out=$ARENA_SLAB_RUN/check-series.txt patches

	patches=$(find "$CACHE/series" -name '*.patch' 2>/dev/null | grep -v '/0000-' | sort) || true
	if [ -z "$patches" ]; then
		skip 'there is no series: make series'
		complete=
		return
	fi
	dictionary
	all_patches() {
		checkpatch_all --showfile <<<"$patches" | sed "s|^$CACHE/||"
	}
	try series all_patches
	grep -E '^[^ :]+:[0-9]+: (ERROR|WARNING|CHECK):' "$STEP_LOG" >"$out" || true
	verdict "$(wc -l <<<"$patches") patches" "$out" "$rc" "$STEP_LOG"
}

# compare NAME HOW COMPILER ARGS...: our objects by COMPILER, against the base's
compare() {
	local name=$1 how=$2 compiler=$3 arch on base out mine old

	shift 3
	ARGS=("$@")
	for arch in $ARCHES; do
		began=$SECONDS
		on=$CHECK/$arch-$compiler
		base=$CHECK/$arch-$compiler-base
		out=$ARENA_SLAB_RUN/check-$name-$arch.txt
		mkdir -p "$CHECK"
		fragment "$arch" arena_slab >"$on.fragment"
		cp "$on.fragment" "$base.fragment"
		mapfile -t old < <(objects P "$arch")
		make_setup "$PRISTINE" "$base" "$arch" "$compiler"
		configure "$base" allmodconfig
		if ! [ -f "$base.said-$name" ]; then
			try "$name-$arch-base" filling "$base" "$how" "$base" "${old[@]}"
			[ "$rc" = 0 ] || die "the base's objects ($arch, $compiler) do not build, log: $(shown "$STEP_LOG")"
			findings "$PRISTINE" <"$STEP_LOG" | put "$base.said-$name"
		fi
		mapfile -t mine < <({ objects N "$arch"; objects P "$arch"; } | sort -u)
		make_setup "$TREE" "$on" "$arch" "$compiler"
		configure "$on" allmodconfig
		grep -q '^CONFIG_SLAB_BPF_ARENA=y' "$on/.config" || die "$(shown "$on/.config") has no CONFIG_SLAB_BPF_ARENA"
		try "$name-$arch" filling "$on" "$how" "$on" "${mine[@]}"
		findings "$TREE" <"$STEP_LOG" >"$out.all"
		known "$out.all" "$base.said-$name" >"$out"
		verdict "$arch, ${#mine[@]} objects" "$out" "$rc" "$STEP_LOG"
	done
}

check_sparse() {
	local sparse=sparse

	need sparse sparse
	# The C of gcc 14, which headers have for sparse, and sparse itself from 0.6.5 on only
	[ "$("$TREE/scripts/checker-valid.sh" sparse)" = 1 ] || sparse='sparse -D__typeof_unqual__=__typeof__'
	# W=1: objects of the check gcc are good enough
	compare sparse sparsed gcc W=1 C=2 CHECK="$sparse"
}

check_gcc() {
	compare gcc built gcc W=1
}

check_clang() {
	compare clang built clang W=1
}

check_cocci() {
	local dir=$CHECK/cocci out=$ARENA_SLAB_RUN/check-cocci.txt

	need spatch coccinelle
	# Some of the semantic patches have code that spatch compiles
	need ocamlopt ocaml
	semantic_patches() {
		# coccicheck goes through a folder: one that has nothing else
		rm -rf "$dir" && mkdir -p "$dir" && cd "$TREE" &&
			new_sources | cpio -pdm --quiet "$dir" &&
			MODE=report J="$JOBS" srctree=$TREE srcroot=$dir objtree=$TREE DEBUG_FILE=/dev/null \
				LINUXINCLUDE="-I$TREE/include -I$TREE/include/uapi" SPFLAGS='--timeout 60' scripts/coccicheck
	}
	try cocci semantic_patches
	sed -nE "s,^$dir/,,; s/^([^ :]+:[0-9]+)(:[0-9]+)?(-[0-9]+)?: (WARNING|ERROR)/\1: \4/p" "$STEP_LOG" | sort -u >"$out"
	verdict "$(find "$TREE/scripts/coccinelle" -name '*.cocci' -exec grep -lE 'virtual[[:space:]]+report' {} + | wc -l) semantic patches, $(new_sources | wc -l) files" \
		"$out" "$rc" "$STEP_LOG"
}

# doc TREE FILES...: what kernel-doc has to say
doc() {
	local tree=$1

	shift
	cd "$tree" || return
	./scripts/kernel-doc -none -Wall "$@" 2>&1 || true
}

# Functions that are for others: the API's, kfuncs, and what is exported, without a
# kernel-doc comment where they are defined
undocumented() {
	local name files

	mapfile -t files < <(ours N | grep -E '^(kernel|mm|include)/.*\.[ch]$')
	cd "$TREE" || return
	{
		sed -nE '/^#else/q; s/^[a-z].*[ *]([a-z_0-9]+)\(.*/\1/p' include/linux/bpf_arena_slab.h
		sed -nE 's/^__bpf_kfunc .*[ *]([a-z_0-9]+)\(.*/\1/p; s/^EXPORT_SYMBOL[A-Z_]*\(([^),]*).*/\1/p' "${files[@]}"
	} | sort -u | while read -r name; do
		grep -qE "^ \* $name(\(\))? - " "${files[@]}" ||
			printf '%s:1: %s() has no kernel-doc\n' "$(grep -lE "[ *]$name\(" "${files[@]}" | tail -n 1)" "$name"
	done
}

check_kerneldoc() {
	local out=$ARENA_SLAB_RUN/check-kerneldoc.txt new old

	mapfile -t new < <(ours N | grep -E '^(include|kernel|lib|mm)/.*\.[ch]$')
	mapfile -t old < <(ours P | grep -E '\.[ch]$')
	clean() { sed -nE 's/^(Warning|Error): ([^ :]+:[0-9]+) /\2: /p'; }
	kernel_docs() {
		doc "$PRISTINE" "${old[@]}" | clean >"$out.base"
		doc "$TREE" "${new[@]}" "${old[@]}" | clean >"$out.all"
		# That it reads the files at all
		[ "$(doc "$TREE" "${new[@]}" "${old[@]}" | grep -c 'does not exist\|Traceback')" = 0 ]
	}
	try kerneldoc kernel_docs
	{ known "$out.all" "$out.base"; undocumented; } >"$out"
	verdict "${#new[@]} new files, ${#old[@]} others" "$out" "$rc" "$STEP_LOG"
}

check_shell() {
	need shellcheck shellcheck
	try shell make --no-print-directory -C "$REPO" lint
	sed -nE 's/^In ([^ ]+) line ([0-9]+):.*/\1:\2: shellcheck/p' "$STEP_LOG" | sort -u >"$ARENA_SLAB_RUN/check-shell.txt"
	verdict 'make lint' "$ARENA_SLAB_RUN/check-shell.txt" "$rc" "$STEP_LOG"
}

# vm/check.list
e_check=() e_file=() e_text=()
while IFS='|' read -r check file text why; do
	[ -n "$why" ] && [[ " ${ALL[*]} " == *" $check "* ]] ||
		die "vm/check.list: CHECK | FILE | FINDING | WHY, not: $check | $file | $text | $why"
	e_check+=("$check") e_file+=("$file") e_text+=("$text")
done < <(sed -E '/^#/d; /^[[:space:]]*$/d; s/[[:space:]]*\|[[:space:]]*/|/g' "$LIST")

# What was argued for and is not there any more
unused() {
	local i

	NOW=exceptions
	began=$SECONDS
	for i in "${!e_check[@]}"; do
		[ -z "${used[$i]-}" ] && [[ " $complete " == *" ${e_check[i]} "* ]] || continue
		printf '%s: %s: nothing says "%s" any more: take the line out of vm/check.list\n' \
			"${e_file[i]}" "${e_check[i]}" "${e_text[i]}"
	done >"$ARENA_SLAB_RUN/check-unused.txt"
	[ ! -s "$ARENA_SLAB_RUN/check-unused.txt" ] || verdict 'vm/check.list' "$ARENA_SLAB_RUN/check-unused.txt"
}

# clang-format with the tree's style. Where lines break is ours, up to the 100 columns that
# checkpatch takes (the style's 80 are not the rule any more, and it fills lines with what
# belongs on two); so are columns of tabs behind the indentation, of which it knows nothing.
# What is left is indentation and spacing: a finding is a line of ours that it would write
# in another way, as one line.
check_format() {
	local out=$ARENA_SLAB_RUN/check-format.txt style=$CHECK/clang-format files

	need clang-format-19 clang-format-19
	mapfile -t files < <(ours N | grep -E '^(include|kernel|lib|mm)/.*\.[ch]$')
	squeeze() { sed -E ':a; s/([^\t ])(\t+| [\t ]+)/\1 /; ta' "$@"; }
	formatted() {
		local f

		cd "$TREE" && mkdir -p "$CHECK" &&
			sed -E 's/^(ColumnLimit): .*/\1: 0/; s/^(AllowShortFunctionsOnASingleLine): .*/\1: Empty/' .clang-format >"$style" &&
			# As the style's own list is made
			grep -hoE '^#define [a-z_]*for_each[a-z_]*\(' "${files[@]}" |
			sed -E "s/^#define (.*)\(/  - '\1'/" | sed -i '/^ForEachMacros:/r /dev/stdin' "$style" || return
		for f in "${files[@]}"; do
			clang-format-19 --style=file:"$style" "$f" >"$out.formatted" || return
			{ diff -U0 <(squeeze "$f") <(squeeze "$out.formatted") || [ $? = 1 ]; } | awk -v file="$f" '
				/^@@ / {
					split(substr($2, 2) ",1", was, ","); split(substr($3, 2) ",1", is, ",")
					line = was[1]; same = was[2] == is[2]
				}
				/^-/ && !/^---/ { if (same) print file ":" line ": " substr($0, 2); line++ }'
		done >"$out"
	}
	: >"$out"
	try format formatted
	sed -i -E 's/: [\t ]+/: /' "$out"
	verdict "${#files[@]} new files" "$out" "$rc" "$STEP_LOG"
}

# Every object of the folders, byte by byte, in the configuration of FLAVOR=off
check_bloat() {
	local arch conf out

	ARGS=()
	for arch in $ARCHES; do
		began=$SECONDS
		out=$ARENA_SLAB_RUN/check-bloat-$arch.txt
		conf=$CHECK/$arch-bloat
		mkdir -p "$CHECK"
		fragment "$arch" arena_slab flavor/off >"$conf.fragment"
		make_setup "$TREE" "$conf" "$arch" gcc
		configure "$conf" allnoconfig
		try "bloat-$arch" env ARCH="$arch" FLAVOR=off "$VM/objects.sh" -c "$conf/.config" mm/ kernel/bpf/
		# A line for each function or table of another size, or one for the object
		awk 'function flush() { if (o && !n) print o ": other bytes, of the same size" }
			/^[^ ]+\.o \(.*\): not as in the base/ { flush(); o = $1; n = 0 }
			/only one of them has it$/ { print o ": only one of them has it"; n = 1 }
			o && NF == 4 && $4 ~ /^[-+][0-9]+$/ && $2 ~ /^[-0-9]+$/ { print o ": " $1 " " $4; n++ }
			END { flush() }' "$STEP_LOG" >"$out"
		[ ! -s "$out" ] || rc=0
		verdict "$arch, $(tail -n 1 "$STEP_LOG") of mm/ and kernel/bpf/" "$out" "$rc" "$STEP_LOG"
	done
}

check_allmod() {
	local arch option on out folders

	ARGS=()
	for arch in $ARCHES; do
		folders=(mm/ kernel/bpf/ kernel/sched/ lib/tests/ lib/bpf_arena_slab_benchmark.o)
		[ "$arch" != arm64 ] || folders+=(arch/arm64/mm/)
		for option in off on; do
			began=$SECONDS
			on=$CHECK/$arch-$option
			out=$ARENA_SLAB_RUN/check-allmod-$arch-$option.txt
			mkdir -p "$CHECK"
			if [ "$option" = on ]; then
				fragment "$arch" arena_slab >"$on.fragment"
			else
				fragment "$arch" arena_slab flavor/off >"$on.fragment"
			fi
			make_setup "$TREE" "$on" "$arch" gcc
			configure "$on" allmodconfig
			[ "$option" = "$(grep -q '^CONFIG_SLAB_BPF_ARENA=y' "$on/.config" && echo on || echo off)" ] ||
				die "$(shown "$on/.config"): CONFIG_SLAB_BPF_ARENA is not $option"
			try "allmod-$arch-$option" filling "$on" built "$on" "${folders[@]}"
			findings "$TREE" <"$STEP_LOG" >"$out"
			verdict "$arch, option $option, $(grep -c '^  CC ' "$STEP_LOG") objects" "$out" "$rc" "$STEP_LOG"
		done
	done
}

# Architectures that are tried by a compiler only. Those whose JIT has arenas get the option
# and all that is behind it; on the others there is no such option.
check_arch() {
	local arch want on out more cross mine have

	ARGS=()
	while read -r arch want cross more; do
		began=$SECONDS
		on=$CHECK/$arch
		out=$ARENA_SLAB_RUN/check-arch-$arch.txt
		need "${cross}gcc" "gcc-${cross%-}"
		mkdir -p "$CHECK"
		fragment arena_slab | grep -vE '^CONFIG_(HOTPLUG_CPU|NR_CPUS)=' >"$on.fragment"
		# shellcheck disable=SC2086 # words
		printf '%s\n' $more >>"$on.fragment"
		make_setup "$TREE" "$on" "$arch" gcc
		configure "$on" allnoconfig
		for have in 64BIT BPF_SYSCALL BPF_JIT; do
			[ "$arch-$have" != i386-64BIT ] || continue
			grep -q "^CONFIG_$have=y" "$on/.config" || die "$(shown "$on/.config") has no CONFIG_$have, for which it is there"
		done
		{
			have=none
			! grep -q 'CONFIG_SLAB_BPF_ARENA[= ]' "$on/.config" || have=option
			[ "$have" = "$want" ] || printf 'mm/Kconfig:1: %s has %s CONFIG_SLAB_BPF_ARENA\n' "$arch" \
				"$([ "$have" = option ] && echo a || echo no)"
		} >"$out"
		mapfile -t mine < <(objects P "$arch" | grep -v kasan; [ "$have" = none ] || objects N "$arch")
		mapfile -t mine < <(printf '%s\n' "${mine[@]}" | grep -vxE 'kernel/bpf/arena_fault.o|lib/tests/bpf_arena_addr_kunit.o' | sort -u)
		# 32 bits have no arenas
		[ "$arch" != i386 ] ||
			mapfile -t mine < <(printf '%s\n' "${mine[@]}" | grep -vxE 'kernel/bpf/(arena|range_tree)\.o')
		try "arch-$arch" filling "$on" built "$on" "${mine[@]}"
		findings "$TREE" <"$STEP_LOG" >>"$out"
		verdict "$arch, ${#mine[@]} objects" "$out" "$rc" "$STEP_LOG"
	done <<-END
		riscv option riscv64-linux-gnu-
		s390 option s390x-linux-gnu- CONFIG_MARCH_Z13=y
		i386 none i686-linux-gnu-
		mips none mips64el-linux-gnuabi64- CONFIG_64BIT=y CONFIG_CPU_LITTLE_ENDIAN=y CONFIG_MIPS_MALTA=y CONFIG_CPU_MIPS64_R2=y
	END
}

CHECKS=("$@")
complete=	# checks that saw all there is
for NOW in "${CHECKS[@]}"; do
	began=$SECONDS
	"check_$NOW"
	case $NOW-$ARCHES in
	*-*x86_64*arm64* | *-*arm64*x86_64* | checkpatch-* | cocci-* | kerneldoc-* | format-* | arch-*) complete+=" $NOW" ;;
	esac
done
unused
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
