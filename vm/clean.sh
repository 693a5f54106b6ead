#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Remove what was built, and with "all" what was fetched, too. A composed tree
# with edits that no patch holds stays, unless FORCE=1, and so does that of a rebase.
#
# Usage: [FORCE=1] vm/clean.sh [all]

# All flavours, and the one tree that holds edits.
unset FLAVOR REBASE
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ -d "$CACHE" ] || exit 0
lock
if [ "${1:-}" = all ]; then
	[ ! -d "$CACHE/rebase" ] || [ -n "${FORCE:-}" ] ||
		die "there is the tree of a rebase, $(shown "$CACHE/rebase"): make refresh REBASE=1 to keep it, FORCE=1 to drop it"
	if [ -d "$TREE" ] && [ -z "${FORCE:-}" ]; then
		"$VM/tree.sh" compose
	fi
	# Not the folder itself: the lock is in there.
	find "$CACHE" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
	say "removed: $(shown "$CACHE/")*"
else
	rm -rf "$CACHE/build" "$CACHE/tools" "$CACHE/logs" "$CACHE/docs" "$CACHE"/tree-* "$CACHE/series-test"
	# Commits of the series may have been edited, and be nowhere else
	[ ! -d "$CACHE/series" ] || find "$CACHE/series" -mindepth 1 -maxdepth 1 ! -name git -exec rm -rf {} +
	say "removed: build, tools, logs, docs, the trees of flavours, the series (in the cache folder)"
fi
