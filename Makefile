# SPDX-License-Identifier: GPL-2.0
#
# The harness's front: every target is a script of vm/. `make help` lists them.

ifdef ARCH
ARCHES := $(ARCH)
else
ARCHES := x86_64 arm64
endif
ARCH ?= x86_64
export ARCH ARCHES BENCH_ARGS BENCH_BASE FLAVOR FORCE CMD DIR DURATION HOST_DIR MEM PARALLEL REPLAY SEED SMP TIMEOUT SUITE LINUX_VERSION LINUX_SUITE LINUX_SRC SERIES_TREE REBASE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help check run test matrix base bench profile kunit selftest selftest-upstream torture fuzz coverage models docs program series series-build series-test vm tree refresh rebase kernel tools source setup lint clean distclean

help: ## this text
	@echo 'The two that matter:'
	@echo '  make run       boot the VM and show sched_ext, BPF programs and user space sharing slab objects'
	@echo '  make test      build and test everything on both architectures'
	@echo
	@echo 'All of them:'
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "  make %-17s %s\n", $$1, $$2 }'
	@echo
	@echo 'Variables:'
	@echo '  ARCH=x86_64|arm64   default x86_64; test without it does both'
	@echo '  FLAVOR=name         another kernel, or other arguments for it (vm/flavors.list):'
	@awk -F ' *[|] *' '/^[a-z0-9]+ *[|]/ && $$1 != "default" { f = f (f ? ", " : "") $$1 } END { print "                      " f }' vm/flavors.list
	@echo "  KERNELS='x86_64 x86_64-debug ...'   what make test builds and tests: ARCH or ARCH-FLAVOR"
	@echo '  PARALLEL=n          how many VMs make test runs at a time (as there are CPUs)'
	@echo "  CMD='...'           what make vm runs instead of a shell; make itself can only say 2 for a"
	@echo "                      command that failed, vm/boot.sh -c '...' ends with the command's status"
	@echo "                      (a dollar sign is \$$\$$ on make's command line)"
	@echo '  HOST_DIR=path       a folder of this machine, at /host in the VM, to read and to write'
	@echo '  MEM=2G SMP=2 TIMEOUT=300   the VM'
	@echo '  SUITE=glob          which KUnit suites'
	@echo "  CHECKS='...'        which checks; vm/check.sh lists them"
	@echo '  LINUX_VERSION=7.3.x, LINUX_SRC=path   another kernel to compose on; LINUX_SUITE=sid: from there'
	@echo '  FORCE=1             make tree: drop what was edited in the composed tree (a copy stays)'
	@echo
	@echo 'Everything is made in $${XDG_CACHE_HOME:-~/.cache}/arena-slab: tree/ is the composed kernel,'
	@echo 'logs/latest/ what the last run said.'

run: kernel tools ## the demonstration, in the VM
	@vm/boot.sh -n demo -c demo

test: ## KUnit, selftests and a short demonstration (both architectures, or ARCH)
	@vm/test.sh $(or $(KERNELS),$(ARCHES))

matrix: ## the tests of every flavor in vm/flavors.list, and a table (hours, if nothing is built)
	@vm/matrix.sh

base: ## the tests of vm/base.list fail on the kernel without our patches (both, or ARCH)
	@vm/base.sh $(ARCHES)

bench: ## instructions and memory of a pair, by all allocators (both, or ARCH; BENCH_BASE=1: and without us)
	@vm/bench.sh $(ARCHES)

profile: FLAVOR := bench
profile: kernel tools ## where the instructions of a pair go, by function [PEERS='arena_cache bpf:arena_alloc'] [SIZE=64]
	@vm/profile.sh $(SIZE:%=-s %) $(PEERS)

kunit: kernel tools ## the unit tests, by the kernel's own parser
	@vm/kunit.sh

selftest: kernel tools ## the BPF tests
	@vm/selftest.sh

selftest-upstream: kernel tools ## the arena tests of the tree itself (FLAVOR=base: on the unpatched kernel)
	@vm/upstream.sh

models: setup ## check the models of the lockless protocols, and that each of their mutants is caught
	@vm/models.sh

docs: ## build our documents as the kernel does; no warning may be ours
	@vm/docs.sh

torture: kernel tools ## hostile programs against the allocator, for DURATION=60 seconds [SEED=]
	@vm/torture.sh

fuzz: kernel tools ## random sequences against a model of the arena, for DURATION=60 seconds [SEED=] or REPLAY=file
	@vm/fuzz.sh

coverage: FLAVOR := gcov
coverage: kernel tools ## which lines of our kernel files KUnit, BPF tests, torture and fuzz reach
	@vm/coverage.sh

ifneq ($(HOST_DIR),)
ifeq ($(wildcard $(HOST_DIR)/.),)
$(error HOST_DIR=$(HOST_DIR): there is no such folder)
endif
endif

program: kernel tools ## build the programs in DIR (NAME.bpf.c, NAME.c) for this kernel, in DIR
	@vm/program.sh "$$DIR"

series: setup ## mails for upstream in the cache's series/patches, tried on the pristine kernel or SERIES_TREE=path
	@vm/series.sh am $${SERIES_TREE:+"$$SERIES_TREE"}

series-build: setup ## each step of it compiles, with the option and without it (both, or ARCH) [STEPS=8-12]
	@vm/series_test.sh -b $(STEPS:%=-s %) $(ARCHES)

series-test: setup ## each step of it: the kernel, and the tests there are by then (both, or ARCH) [STEPS=8-12]
	@vm/series_test.sh $(STEPS:%=-s %) $(ARCHES)

vm: kernel tools ## a shell in the VM, or CMD='...'
	@if [ -n "$$CMD" ]; then exec vm/boot.sh -c "$$CMD"; else exec vm/boot.sh; fi

tree: ## compose: pristine source, patches, new files
	@vm/tree.sh compose

refresh: ## take edits of the composed tree back into patches and files
	@vm/tree.sh refresh

rebase: ## what of this applies to another LINUX_VERSION or LINUX_SRC, and a merged tree (then: refresh REBASE=1)
	@vm/rebase.sh

kernel: ## configure and build the composed tree
	@vm/kernel.sh >/dev/null

tools: kernel ## bpftool, libbpf, scx_qmap, our programs, the VM's image
	@vm/user.sh

source: setup ## fetch and unpack the pinned kernel source
	@vm/source.sh >/dev/null

setup: ## install the packages that are missing
	@vm/setup.sh

lint: ## shellcheck on the harness
	@command -v shellcheck >/dev/null || vm/setup.sh shellcheck
	@shellcheck vm/*.sh vm/init .ci/run tools/bpf/arenaslab/tests/check.sh tools/bpf/arenaslab/arenaslab.bash

check: ## what maintainers run: checkpatch, sparse, W=1, coccicheck ... (both, or ARCH) [CHECKS='sparse ...']
	@vm/check.sh $(CHECKS)

clean: ## remove builds, tools and logs; the source and ccache stay
	@vm/clean.sh

distclean: ## remove the whole cache folder
	@vm/clean.sh all
