#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The tree's own arena tests: build a test_progs that holds those of
# vm/upstream.list and no others, run it in the VM, and count its subtests. The
# last line is "N passed, N failed, N skipped".
#
# The selftests' Makefile takes what its folders hold. It is given a work folder of
# links in which prog_tests/ and progs/ hold the arena tests only; just
# prog_tests/verifier.c is a copy, without the tests of other programs. The tree is
# not written to.
#
# The tests are built once an architecture, by the default kernel's BTF, and run
# on the kernel of any FLAVOR that has BTF: FLAVOR=base shows what the same tests do
# without our patches. bpf_testmod is built for each.
#
# Usage: [ARCH=x86_64|arm64] [FLAVOR=] vm/upstream.sh [ARGUMENTS OF test_progs]
#	FLAVOR=base make selftest-upstream

# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=vm/apt.sh
. "$VM/apt.sh"
arch_setup
run_setup

LIST=$VM/upstream.list
TESTS_TREE=$CACHE/tree
SELFTESTS=$TESTS_TREE/tools/testing/selftests/bpf
TESTS=$CACHE/tools/$ARCH/upstream	# the default flavour's, for all
VMLINUX_H=$CACHE/tools/$ARCH/include/vmlinux.h
LIBBPF=$CACHE/tools/$ARCH/libbpf
BPFTOOL=$CACHE/tools/host/bpftool/bootstrap/bpftool
SYSROOT=$([ "$ARCH" = x86_64 ] || echo "$CACHE/tools/$ARCH/sysroot")
WORK=$TESTS/src				# links, as the tree
WORK_BPF=$WORK/tools/testing/selftests/bpf
OUT=$TESTS/out
LLVM_DEV=$TESTS/llvm
LLVM_LIBS=()
KMOD=$BUILD/bpf_testmod
OUTPUTS=()				# of the boots, one each

# listed VERB: the names behind it.
listed() {
	awk -v verb="$1" '$1 == verb { print $2 }' "$LIST"
}

# The programs that a test includes as skeletons.
programs() {
	sed -nE 's/^#include "([a-zA-Z0-9_]+)\.l?skel\.h".*/\1/p' "$1"
}

# Every test of the tree that uses an arena has a line.
check_list() {
	local uses='BPF_MAP_TYPE_ARENA|bpf_arena_|libarena/' file name p files lost=()

	for file in "$SELFTESTS"/prog_tests/*.c; do
		name=${file##*/}
		name=${name%.c}
		files=("$file")
		while read -r p; do
			[ "$name" = verifier ] || files+=("$SELFTESTS/progs/$p.c")
		done < <(programs "$file")
		if grep -qsE "$uses" "${files[@]}" &&
			! grep -qE "^(file|out) $name(:|\$)" "$LIST"; then
			lost+=("$name")
		fi
	done
	for p in $(programs "$SELFTESTS/prog_tests/verifier.c"); do
		if grep -qsE "$uses" "$SELFTESTS/progs/$p.c" &&
			! grep -qE "^(verifier|out) $p(:|\$)" "$LIST"; then
			lost+=("verifier: $p")
		fi
	done
	[ ${#lost[@]} = 0 ] || die "tests of the tree that use an arena and are not in vm/upstream.list: ${lost[*]}"
}

# mirror FOLDER EXCEPT: links in the work folder to all that is in it, but for that.
mirror() {
	local f

	mkdir -p "$WORK/$1"
	for f in "$TESTS_TREE/$1"/*; do
		[ "${f##*/}" = "$2" ] || ln -s "$f" "$WORK/$1/"
	done
}

# verifier.c without the programs and tests that are not listed. What is behind
# the table of tests is for two of these.
verifier_tests() {
	local names

	names=$(listed verifier)
	awk -v names="$names" '
		BEGIN { n = split(names, w, "\n"); for (i in w) wanted[w[i]] = 1 }
		/^#include ".*\.skel\.h"/ {
			p = $2; gsub(/"|\.skel\.h/, "", p)
			if (p in wanted) print
			next
		}
		/^void test_/ {
			p = $2; sub(/^test_/, "", p); sub(/\(.*/, "", p)
			if (p in wanted && /\{ RUN.*\}/) { print; found++ }
			table = 1
			next
		}
		!table { print }
		END { if (found != n) exit 1 }' "$SELFTESTS/prog_tests/verifier.c"
}

work_folder() {
	local f p progs

	rm -rf "$WORK"
	mirror . tools
	mirror tools testing
	mirror tools/testing selftests
	mirror tools/testing/selftests bpf
	mkdir -p "$WORK_BPF"/{prog_tests,progs,libarena}
	for f in "$SELFTESTS"/*; do
		case ${f##*/} in
		prog_tests | progs | libarena | arena_slab) ;;
		*) ln -s "$f" "$WORK_BPF/" ;;
		esac
	done
	ln -s "$SELFTESTS"/libarena/{Makefile,include,src,selftests} "$WORK_BPF/libarena/"
	ln -s "$SELFTESTS"/progs/*.h "$WORK_BPF/progs/"
	ln -s "$SELFTESTS"/prog_tests/*.h "$WORK_BPF/prog_tests/"
	for f in $(listed file); do
		[ -f "$SELFTESTS/prog_tests/$f.c" ] ||
			die "vm/upstream.list: there is no prog_tests/$f.c in the tree"
		ln -s "$SELFTESTS/prog_tests/$f.c" "$WORK_BPF/prog_tests/"
	done
	verifier_tests >"$WORK_BPF/prog_tests/verifier.c" ||
		die "vm/upstream.list: prog_tests/verifier.c has not got every verifier test of it"
	progs=$(for f in "$WORK_BPF"/prog_tests/*.c; do programs "$f"; done | sort -u)
	for p in $progs; do
		ln -s "$SELFTESTS/progs/$p.c" "$WORK_BPF/progs/"
	done
}

# What the Makefile would build for itself: libbpf, its headers and, for signed
# programs, a key. Copies are newer than their sources, and so not built again.
provide() {
	rm -rf "$OUT"
	mkdir -p "$OUT"/tools/{include,build/libbpf}
	cp -R "$LIBBPF/include/bpf" "$OUT/tools/include/"
	cp "$LIBBPF/libbpf.a" "$OUT/tools/build/libbpf/"
	printf 'no key' >"$OUT/tools/build/signing_key.der"
	printf 'no key' >"$OUT/tools/build/signing_key.pem"
}

# Some tests compare the JIT's code, by LLVM's disassembler: the parts of it that
# know this architecture, taken out of the package in the same way for both.
llvm() {
	local codename debs=$TESTS/debs.tmp file lib deb target=X86
	local packages=(llvm-19-dev libzstd-dev libstdc++-12-dev)

	[ "$ARCH" = x86_64 ] || target=AArch64
	codename=$(apt_codename)
	if ! is_done "$LLVM_DEV/.arena-stamp" "$codename ${packages[*]}"; then
		rm -rf "$LLVM_DEV" "$debs"
		mkdir -p "$LLVM_DEV/lib" "$debs"
		(
			apt_private "$CACHE/apt-$ARCH" "$codename" "$DEB_ARCH" amd64
			apt_fetch "$debs" "${packages[@]/%/:$DEB_ARCH}"
		)
		unpack() {
			for deb in "$debs"/*.deb; do
				dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$debs" || return
			done
			cp -RL "$debs"/usr/include/llvm-c-19/llvm-c "$debs"/usr/include/llvm-19/llvm "$LLVM_DEV/" || return
			# "All targets" is this one.
			sed -i -E "/^LLVM_[A-Z_]+\(/{/\($target\)/!d}" "$LLVM_DEV"/llvm/Config/*.def || return
			for lib in LLVM{"$target"{Info,Utils,Disassembler,Desc},MCDisassembler,BitstreamReader,Target,BinaryFormat,TargetParser,Remarks,Demangle,MC,Support,Analysis,Core} zstd stdc++; do
				file=$(find "$debs/usr/lib" -name "lib$lib.a" -type f) || return
				[ -z "$file" ] || cp "$file" "$LLVM_DEV/lib/" || return
			done
		}
		step "unpack LLVM's disassembler ($ARCH)" "llvm-$ARCH" unpack
		rm -rf "$debs"
		mark_done "$LLVM_DEV/.arena-stamp" "$codename ${packages[*]}"
	fi
	LLVM_LIBS=("$LLVM_DEV"/lib/libLLVM*.a)
}

build_tests() {
	local id cc="${CROSS}gcc"

	[ -z "$SYSROOT" ] || cc+=" -isystem $SYSROOT/usr/include -L$SYSROOT/usr/lib/aarch64-linux-gnu"
	id=$({
		cat "$VM/upstream.sh" "$VM/upstream_runner.c" "$VMLINUX_H" "$LIBBPF.stamp"
		listed file
		listed verifier
		grep -E '^base|^[^ ]+ [^ ]+ [PN] tools/' "$CACHE/tree.manifest" |
			grep -vE ' tools/(bpf/arenaslab|testing/selftests/bpf/arena_slab)/'
		"${CROSS}gcc" --version
		clang-19 --version
	} | hash)
	[ -x "$TESTS/test_progs" ] && is_done "$TESTS/stamp" "$id" && return
	llvm
	work_folder
	provide
	# libarena is built for clang's default BPF CPU, which clang 19 has too old:
	# v3 has atomics of 32 bits, v4 signed division. The others say v3 behind this.
	tests_make() {
		"${CROSS}gcc" -O2 -Wall -Werror -c "$VM/upstream_runner.c" -D_GNU_SOURCE -o "$OUT/upstream_runner.o" &&
			make -C "$WORK_BPF" -j"$JOBS" OUTPUT="$OUT" ARCH="$ARCH" CROSS_COMPILE="$CROSS" \
				CC="$cc" CLANG=clang-19 SKIP_LLVM=1 SKIP_DOCS=1 VMLINUX_H="$VMLINUX_H" \
				VMLINUX_BTF="$VMLINUX_H" BPFTOOL="$BPFTOOL" TRUNNER_BPFTOOL="$BPFTOOL" \
				BPF_TARGET_ENDIAN='--target=bpfel -mcpu=v4' \
				LSKELS= LSKELS_EXTRA= LSKELS_SIGNED= LINKED_SKELS= TRUNNER_EXTRA_FILES= \
				LLVM_CFLAGS="-DHAVE_LLVM_SUPPORT -I$LLVM_DEV" LLVM_LDFLAGS="-L$LLVM_DEV/lib" \
				LLVM_LDLIBS="-Wl,--start-group ${LLVM_LIBS[*]} -Wl,--end-group -lstdc++ -lzstd -lz -lm" \
				LDFLAGS="-static -Wl,--gc-sections -Wl,--wrap=open,--wrap=setns,--wrap=syscall $OUT/upstream_runner.o" \
				"$OUT/test_progs" &&
			"${CROSS}strip" -g -o "$TESTS/test_progs" "$OUT/test_progs"
	}
	step "build upstream's arena tests ($ARCH)" "upstream-$ARCH" tests_make
	mark_done "$TESTS/stamp" "$id"
}

# The tree's test module, for the kernel of this flavour.
build_module() {
	local id ccache=

	! command -v ccache >/dev/null || ccache='ccache '
	id=$({
		cat "$BUILD/.arena-build" "$VM/upstream.sh"
		cat "$SELFTESTS"/test_kmods/{Makefile,*.[ch]}
	} | hash)
	[ -f "$KMOD/bpf_testmod.ko" ] && is_done "$KMOD.stamp" "$id" && return
	# As vm/kernel.sh does it: another compiler line would rebuild the kernel.
	module_make() {
		export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
		export KBUILD_BUILD_USER=arena-slab KBUILD_BUILD_HOST=localhost KBUILD_BUILD_VERSION=1
		export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache} CCACHE_BASEDIR=$CACHE CCACHE_NOHASHDIR=1
		local args=(-C "$TREE" O="$BUILD" ARCH="$ARCH" CROSS_COMPILE="$CROSS"
			CC="$ccache${CROSS}gcc" HOSTCC="${ccache}gcc")

		# Nothing of the kernel itself is a module: these are all its symbols.
		make "${args[@]}" modules_prepare &&
			cp "$BUILD/vmlinux.symvers" "$BUILD/Module.symvers" &&
			make "${args[@]}" -j"$JOBS" M="$SELFTESTS/test_kmods" MO="$KMOD" \
				MODULES=bpf_testmod.ko modules
	}
	rm -rf "$KMOD"
	mkdir -p "$KMOD"
	step "build bpf_testmod ($NAME)" "bpf_testmod-$NAME" filling "$BUILD" module_make
	mark_done "$KMOD.stamp" "$id"
}

# Counts on the last line; before it a line a test, and under it the subtests that
# did not pass. What was to run and has not reported has failed. Of a subtest that ran
# again the last boot counts.
results() {
	awk -v expected="$1" -v list="$LIST" -v arch="$ARCH" '
	function known(name) { return name in why }
	# A skip is one that the list knows, or a failure.
	function judge(name, status) {
		if (status == "OK")
			return "ok"
		return status == "SKIP" && known(name) ? "SKIP" : "FAIL"
	}
	function words(name, status) {
		if (status == "SKIP")
			return ": " (known(name) ? why[name] : "skipped, and vm/upstream.list does not say why")
		return ""
	}
	function count(verdict) { n[verdict]++ }
	function line(verdict, name, text) {
		if (last[name] > 1)
			text = text " (in boot " last[name] ")"
		print sprintf(text == "" ? "%-5s %s" : "%-5s %-26s %s", verdict, name, text)
	}
	BEGIN {
		while ((getline l < list) > 0)
			if (l ~ "^skip(@" arch ")? ") {
				sub(/^[^ ]+ +/, "", l)
				at = index(l, ": ")
				why[substr(l, 1, at - 1)] = substr(l, at + 2)
			}
		ntests = split(expected, order, " ")
		for (i = 1; i <= ntests; i++)
			wanted[order[i]] = 1
	}
	FNR == 1 { boot++ }
	# A subtest may be told of twice: on its end, and among the errors.
	match($0, /^#[0-9]+(\/[0-9]+)? +/) {
		name = substr($0, RLENGTH + 1)
		if (!match(name, /:(OK|FAIL|SKIP)( \(.*\))?$/))
			next
		status = substr(name, RSTART + 1)
		sub(/ .*/, "", status)
		name = substr(name, 1, RSTART - 1)
		t = name
		sub(/\/.*/, "", t)
		last[t] = boot
		if ($1 !~ /\//) {
			test[name] = status
			if (!(name in wanted))
				order[++ntests] = name
			wanted[name] = 1
			next
		}
		if (!(name in sub_status))
			subs[t] = subs[t] "\n" name
		sub_status[name] = status
	}
	END {
		for (i = 1; i <= ntests; i++) {
			t = order[i]
			if (!(t in test)) {
				line("FAIL", t, "did not report")
				count("FAIL")
				continue
			}
			nsub = split(substr(subs[t], 2), s, "\n")
			bad = ""
			delete of
			for (j = 1; j <= nsub; j++) {
				v = judge(s[j], sub_status[s[j]])
				count(v)
				of[v]++
				if (v != "ok")
					bad = bad sprintf("      %s %s%s\n", v, s[j], words(s[j], sub_status[s[j]]))
			}
			v = judge(t, test[t])
			if (!nsub) {
				count(v)
				line(v, t, v == "ok" ? 1 : substr(words(t, test[t]), 3))
				continue
			}
			if (test[t] == "FAIL" && !of["FAIL"])
				count("FAIL")
			v = test[t] == "FAIL" || of["FAIL"] ? "FAIL" : of["ok"] ? "ok" : "SKIP"
			line(v, t, of["ok"] == nsub ? nsub : of["ok"] + 0 " of " nsub)
			printf "%s", bad
		}
		printf "%d passed, %d failed, %d skipped\n", n["ok"], n["FAIL"], n["SKIP"]
	}' "${OUTPUTS[@]}"
}

# The subtests of $result that failed, if all of them depend on the speed of the
# machine, and nothing if one does not.
timed_failures() {
	local line name pattern tests=() patterns=() hit

	mapfile -t patterns < <(sed -nE 's/^timed ([^:]+): .*/\1/p' "$LIST")
	while IFS= read -r line; do
		case $line in
		"FAIL "*' of '*) ;;
		'FAIL '*) return ;;
		'      FAIL '*)
			name=${line#      FAIL }
			hit=
			for pattern in "${patterns[@]}"; do
				# shellcheck disable=SC2053 # a pattern on purpose
				[[ $name != $pattern ]] || hit=1
			done
			[ -n "$hit" ] || return 0
			tests+=("$name")
			;;
		esac
	done <<<"$result"
	(IFS=,; printf '%s\n' "${tests[*]}")
}

# What the failed tests of the last boot said.
errors() {
	awk '/^All error logs:/ { on = 1; next } /^Summary:/ { on = 0 } on && !/:PASS:/' "${OUTPUTS[-1]}" |
		awk 'NR <= 200 { print "    " $0 }' >&2
}

# run WHICH-BOOT ARGUMENTS OF test_progs. Upstream's kernels let programs of users
# in; ours have to be told. The watchdog is for machines that are quicker.
run() {
	local self=upstream-$NAME-$1

	shift
	OUTPUTS+=("$ARENA_SLAB_RUN/output-$self.log")
	rc=0
	TIMEOUT=${TIMEOUT:-1200} "$VM/boot.sh" -s -n "$self" -f "$TESTS/test_progs" -f "$KMOD/bpf_testmod.ko:/root/" \
		-c "echo 0 >/proc/sys/kernel/unprivileged_bpf_disabled; test_progs -w 600 $*" || rc=$?
	result=$(results "$expected")
}

[ -f "$BUILD/.arena-build" ] || die "there is no kernel for $NAME yet: make kernel ARCH=$ARCH${FLAVOR:+ FLAVOR=$FLAVOR}"
[ -f "$VMLINUX_H" ] && [ -f "$LIBBPF.stamp" ] || die "there are no tools for $ARCH yet: make tools ARCH=$ARCH"
grep -q '^CONFIG_DEBUG_INFO_BTF_MODULES=y' "$BUILD/.config" || die "$NAME: a kernel without BTF runs no BPF tests"
check_list
# The lock is for the builds.
(
	lock
	build_tests
	build_module
)

say "upstream's arena tests ($NAME): boot"
expected=
[ $# -gt 0 ] || expected=$(sed -nE 's/^DEFINE_TEST\((.*)\)/\1/p' "$WORK_BPF/prog_tests/tests.h" | sort)
run 1 "$@"
for boot in 2 3 4 5; do
	[ "$rc" = 1 ] || break
	again=$(timed_failures)
	[ -n "$again" ] || break
	say "upstream's arena tests ($NAME): this may be the speed of the machine:"
	errors
	say "once more: $again"
	run "$boot" -a "$again"
done
printf '%s\n' "$result" | sed '$d'
sed -nE 's/^out +([^:]+): +(.*)/out   \1: \2/p' "$LIST"
read -r passed _ failed _ skipped _ <<<"$(printf '%s\n' "$result" | tail -n 1)"
if [ "$failed" != 0 ]; then
	say "what the failed ones said (all of it: $(shown "${OUTPUTS[-1]}")):"
	errors
elif [ "$rc" != 0 ]; then
	say "upstream's arena tests ($NAME): no test failed, but the run ended with $rc, log: $(shown "${OUTPUTS[-1]}")"
	tail -n 15 "${OUTPUTS[-1]}" | sed 's/^/    /' >&2
	failed=1
elif [ "$passed" = 0 ]; then
	say "upstream's arena tests ($NAME): no test ran, log: $(shown "${OUTPUTS[-1]}")"
	failed=1
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$rc" = 0 ] || exit "$rc"
[ "$failed" = 0 ]
