#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The series for upstream: series/ says what each patch of it holds (series/README), the
# rest is made from what is composed, so that it stays true when the code changes.
#
#	build		a git repository in the cache folder with a commit for each step, and
#			mails made of it: series/patches/
#	am [TREE]	try the mails on the pristine kernel, or on the kernel source in TREE
#			and list what conflicts
#	take		the commits of that repository, edited by hand (git rebase -i), become
#			series/: messages and stored diffs
#
# The last line of am is "N passed, N failed, N skipped". vm/series_test.sh builds and tests
# the kernel after each step.
#
# Usage: vm/series.sh build | am [TREE] | take

export FLAVOR=
# shellcheck source=vm/lib.sh
. "$(dirname "$0")/lib.sh"

STEPS=$REPO/series
WORK=$CACHE/series
GIT=$WORK/git
PATCHES=$WORK/patches

declare -A kind=()	# path -> P (of the kernel's) or N (new)
declare -A rest=()	# path -> the step whose Files it is in
declare -A touch=()	# path -> the steps that touch it, in order
steps=()

# ---- what series/ says ----

# subject STEP, body STEP, files STEP: the parts of a step's text
subject() {
	sed -nE 's/^Subject: //p; /^$/q' "$STEPS/$1"
}

body() {
	sed '1,/^$/d' "$STEPS/$1"
}

files() {
	awk '/^$/ { exit } /^[A-Za-z-]+:/ { on = /^Files:/ } on { sub(/^Files:/, ""); print }' "$STEPS/$1" |
		tr -s '[:space:]' '\n' | sed '/^$/d'
}

# stored STEP: the files of which it has a diff or parts
stored() {
	{
		[ ! -f "$STEPS/$1.diff" ] ||
			awk '/^--- / { from = $2; getline; print ($2 == "/dev/null" ? from : $2) }' "$STEPS/$1.diff" | sed 's,^[ab]/,,'
		[ ! -f "$STEPS/$1.parts" ] || sed '/^#/d; s/|.*//' "$STEPS/$1.parts"
	} | sort -u
}

read_steps() {
	local s path glob hits optional count=0
	declare -A twice=()

	mapfile -t steps < <(cd "$STEPS" && find . -maxdepth 1 -type f -name '[0-9][0-9]-*' ! -name '*.diff' ! -name '*.parts' -printf '%P\n' | sort)
	[ ${#steps[@]} -gt 0 ] || die "there are no steps in series/"
	for s in "$STEPS"/*.diff "$STEPS"/*.parts; do
		[ -f "${s%.*}" ] || die "series/${s##*/} has no step: there is no series/$(basename "${s%.*}")"
	done
	for s in "${steps[@]}"; do
		count=$((count + 1))
		[ "$((10#${s%%-*}))" = "$count" ] || die "series/$s: it is step $count, rename it"
		[ -n "$(subject "$s")" ] || die "series/$s has no Subject:"
		[ -n "$(body "$s")" ] || die "series/$s has no message"
		while read -r glob; do
			optional=
			[[ $glob != -* ]] || optional=1
			glob=${glob#-}
			hits=0
			for path in "${!kind[@]}"; do
				# shellcheck disable=SC2053 # a pattern
				[[ $path == $glob ]] || continue
				hits=$((hits + 1))
				[ "${rest[$path]:-$s}" = "$s" ] || twice[$path]="${rest[$path]} and $s"
				rest[$path]=$s
			done
			[ "$hits" -gt 0 ] || [ -n "$optional" ] || die "series/$s: Files: $glob is nothing of ours"
		done < <(files "$s")
		while read -r path; do
			[ -n "${kind[$path]-}" ] || die "series/$s.diff or .parts: $path is no file of ours"
			touch[$path]+=" $s"
		done < <(stored "$s")
	done
	for path in "${!twice[@]}"; do
		die "series/: $path is in Files of both ${twice[$path]}"
	done
	for path in $(printf '%s\n' "${!kind[@]}" | sort); do
		s=${rest[$path]-}
		[ -n "$s" ] || die "series/: $path is in no step's Files"
		[[ " ${touch[$path]-} " != *" $s "* ]] || die "series/$s.diff or .parts: $path is in Files of the same step"
		touch[$path]=$(tr ' ' '\n' <<<"${touch[$path]-} $s" | sed '/^$/d' | sort | tr '\n' ' ')
	done
}

# hunks STEP PATH: the piece of a stored diff
hunks() {
	[ -f "$STEPS/$1.diff" ] || return 0
	awk -v path="$2" '
		/^--- / {
			from = $0
			getline
			split(from, a, /[ \t]/)
			split($0, b, /[ \t]/)
			name = b[2] == "/dev/null" ? a[2] : b[2]
			sub(/^[ab]\//, "", name)
			on = name == path
			if (on)
				print from
		}
		on' "$STEPS/$1.diff"
}

# without_parts STEP PATH FROM: FROM without the parts of it that come with the step, and
# where that leaves two empty lines, with one
without_parts() {
	local text start last

	[ -f "$3" ] || return 0
	text=$(cat "$3"; echo .)
	if [ -f "$STEPS/$1.parts" ]; then
		while IFS='|' read -r _ start last; do
			text=$(START=$start LAST=${last#<} NEXT=${last%%[!<]*} awk '
				index($0, ENVIRON["START"]) == 1 && !found { on = found = 1 }
				on && ENVIRON["NEXT"] && index($0, ENVIRON["LAST"]) == 1 { on = 0; ended = 1 }
				!on && !(behind && $0 == "" && prev == "") { print; prev = $0 }
				{ behind = 0 }
				on && !ENVIRON["NEXT"] && index($0, ENVIRON["LAST"]) == 1 { on = 0; ended = behind = 1 }
				END { exit !found || !ended }' <<<"$text") ||
				die "series/$1.parts: $2 has no lines from \"$start\" to \"${last#<}\""
		done < <(grep -F "$2|" "$STEPS/$1.parts")
	fi
	printf '%s' "${text%.}"
}

# before STEP PATH, after STEP PATH: as the last build had it; nothing if that was no file
before() {
	git -C "$GIT" show "$1^:$2" 2>/dev/null || true
}

after() {
	git -C "$GIT" show "$1:$2" 2>/dev/null || true
}

# merged STEP PATH FROM TO [-R]: the same by a three-way merge, from the last build
merged() {
	git -C "$GIT" rev-parse -q --verify "refs/tags/$1^" >/dev/null 2>&1 || return
	cp "$3" "$4"
	before "$1" "$2" >"$WORK/before"
	after "$1" "$2" >"$WORK/after.whole"
	without_parts "$1" "$2" "$WORK/after.whole" >"$WORK/after"
	if [ -n "${5:-}" ]; then
		git merge-file -q "$4" "$WORK/after" "$WORK/before"
	else
		git merge-file -q "$4" "$WORK/before" "$WORK/after"
	fi
}

# patched STEP PATH FROM TO [-R]: FROM with what is stored of the step for PATH, or without
# it. What is not there is an empty file that does not exist.
patched() {
	local s=$1 path=$2 from=$3 to=$4 log=$WORK/patch.log hunk gone

	mkdir -p "$(dirname "$to")"
	if [ -f "$STEPS/$s.parts" ] && grep -qF "$path|" "$STEPS/$s.parts"; then
		[ -n "${5:-}" ] || die "series/$s.parts: $path is in Files of a later step; parts are for what comes on top of that"
		without_parts "$s" "$path" "$from" >"$WORK/without"
		from=$WORK/without
	fi
	if [ -z "$(hunks "$s" "$path")" ]; then
		cp "$from" "$to"
		return
	fi
	if ! [ -f "$from" ]; then
		from=$WORK/empty
		: >"$from"
	fi
	if ! hunks "$s" "$path" | sed -E '1,2s,^(---|\+\+\+) .*,\1 file,' |
		patch --fuzz=0 --no-backup-if-mismatch --batch ${5:+"$5"} -r - -o "$to" "$from" >"$log" 2>&1; then
		hunk=$(sed -nE 's/^Hunk #([0-9]+) (FAILED|ignored) at ([0-9]+).*/hunk #\1 at line \3/p' "$log" | sed -n 1p)
		merged "$s" "$path" "$from" "$to" "${5:-}" ||
			die "series/$s.diff does not $([ "${5:-}" = -R ] && printf 'come off' || printf 'apply to') $path: ${hunk:-$(tail -n 1 "$log")} is rejected; series/README says what to do"
		say "series/$s.diff: $path is merged from what the last build had; vm/series.sh take writes that down"
	fi
	gone=$(hunks "$s" "$path" | awk -v r="${5:-}" 'NR == (r ? 1 : 2) && $2 == "/dev/null"')
	if [ -n "$gone" ]; then
		[ ! -s "$to" ] || die "series/$s.diff takes $path away, but not all of it"
		rm -f "$to"
	fi
}

# The states of each file: pristine, forward to the step that takes the rest; composed, and
# back to that step. They are in $WORK/state/STEP/PATH.
states() {
	local path s at all prior i

	for path in "${!kind[@]}"; do
		read -ra all <<<"${touch[$path]}"
		at=$PRISTINE/$path
		for s in "${all[@]}"; do
			[ "$s" != "${rest[$path]}" ] || break
			patched "$s" "$path" "$at" "$WORK/state/$s/$path"
			at=$WORK/state/$s/$path
		done
		at=$WORK/final/$path
		for ((i = ${#all[@]} - 1; i >= 0; i--)); do
			s=${all[i]}
			if [ -f "$at" ] && [ "$at" != "$WORK/state/$s/$path" ]; then
				mkdir -p "$(dirname "$WORK/state/$s/$path")"
				cp "$at" "$WORK/state/$s/$path"
			fi
			[ "$s" != "${rest[$path]}" ] || break
			prior=${all[i - 1]}
			patched "$s" "$path" "$at" "$WORK/state/$prior/$path" -R
			at=$WORK/state/$prior/$path
		done
	done
}

# ---- the repository and the mails ----

identity() {
	local name email

	name=$(git -C "$REPO" config user.name || true)
	email=$(git -C "$REPO" config user.email || true)
	export GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-${name:-arena slab}}
	export GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-${email:-arena-slab@localhost}}
	export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
	# As old as this repository's last commit, so that the same tree makes the same mails
	DATE=$(git -C "$REPO" log -1 --format=%ct 2>/dev/null || echo 1767225600)
}

in_git() {
	git -C "$GIT" -c core.autocrlf=false -c core.hooksPath=/dev/null -c commit.gpgSign=false \
		-c gc.auto=0 -c format.signature= "$@"
}

# commit TEXT
commit() {
	in_git add -A -f .
	GIT_AUTHOR_DATE="$DATE +0000" GIT_COMMITTER_DATE="$DATE +0000" \
		in_git commit -q --cleanup=verbatim -F - <<<"$1"
	DATE=$((DATE + 1))
}

# put_file FROM PATH: into the repository's work tree; gone if FROM is not there
put_file() {
	rm -f "$GIT/$2"
	if [ -f "$1" ]; then
		mkdir -p "$(dirname "$GIT/$2")"
		cp -p "$1" "$GIT/$2"
	fi
}

# Somebody has edited commits, and not taken them
edited() {
	[ -d "$GIT" ] && in_git rev-parse -q --verify refs/tags/end >/dev/null 2>&1 || return
	[ -n "$(in_git status --porcelain 2>/dev/null)" ] ||
		[ "$(in_git rev-parse series)" != "$(in_git rev-parse end)" ] ||
		! in_git merge-base --is-ancestor HEAD end
}

repository() {
	local path s

	[ -n "${FORCE:-}" ] || ! edited ||
		die "$(shown "$GIT") was edited: vm/series.sh take keeps that, FORCE=1 drops it"
	rm -rf "$GIT"
	mkdir -p "$GIT"
	git init -q -b series "$GIT"
	for path in "${!kind[@]}"; do
		[ "${kind[$path]}" = N ] || put_file "$PRISTINE/$path" "$path"
	done
	commit "The kernel's files that the series touches (${PRISTINE##*/})"
	in_git tag pristine
	for s in "${steps[@]}"; do
		for path in "${!kind[@]}"; do
			[[ " ${touch[$path]} " == *" $s "* ]] || continue
			put_file "$WORK/state/$s/$path" "$path"
		done
		[ -n "$(in_git status --porcelain)" ] || {
			say "series/$s is left out: there is nothing in it"
			continue
		}
		commit "$(subject "$s")"$'\n\n'"$(body "$s")"
		in_git tag "$s"
	done
	in_git tag end
	check_end
}

check_end() {
	local path

	for path in "${!kind[@]}"; do
		if [ -f "$WORK/final/$path" ]; then
			cmp -s "$WORK/final/$path" "$GIT/$path" || die "the end of the series is not what is composed: $path"
			[ -x "$WORK/final/$path" ] || [ ! -x "$GIT/$path" ] || die "the end of the series is not what is composed: the mode of $path"
		else
			[ ! -e "$GIT/$path" ] || die "the end of the series is not what is composed: $path is there"
		fi
	done
	path=$(cd "$GIT" && git ls-files | while read -r path; do [ -f "$WORK/final/$path" ] || echo "$path"; done)
	[ -z "$path" ] || die "the end of the series is not what is composed: it has $path"
}

# A section of our documentation, from its title to the next one of its level or above
doc_section() {
	awk -v title="$2" '
		{ line[NR] = $0 }
		END {
			for (i = 1; i < NR && !(line[i] == title && line[i + 1] ~ /^(=+|-+)$/); i++)
				;
			end = line[i + 1] ~ /^-/ ? "^(=+|-+)$" : "^=+$"
			for (i += 3; i <= NR && !(line[i + 1] ~ end && line[i] ~ /^[A-Z]/); i++)
				print line[i]
		}' "$WORK/final/$1" | sed -E 's,\*\*([^*]*)\*\*,\1    ,; s,``,,g' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}

# step_of PATH: the commit that brought a new file
step_of() {
	in_git log --diff-filter=A --format=%H series -- "$1"
}

# narrow_tables NR: the first tables of a section, each with what is said right before it, for mails
narrow_tables() {
	awk -v nr="$1" '
		function wrapped(text,	words, n, i, len, out) {
			n = split(text, words, /[ \n]+/)
			for (i = 1; i <= n && words[i] != ""; i++) {
				len += length(words[i]) + 1
				out = out (i == 1 ? "" : len > 73 ? "\n" : " ") words[i]
				len = len > 73 ? length(words[i]) + 1 : len
			}
			return out "\n"
		}
		# Whoever writes to an awk that has left dies of it
		done { next }
		/^=+( +=+)+$/ {
			if (!rules++) {
				print wrapped(last)
				cols = split($0, rule, " +")
			}
			row = sprintf("%38s", "")
			gsub(/ /, "=", row)
			for (i = 2; i <= cols; i++)
				row = row "  ====="
			print row
			if (rules == 3) {
				rules = 0
				print ""
				done = !--nr
			}
			next
		}
		rules {
			at = length(rule[1]) + 3
			row = sprintf("%-38s", substr($0, 1, 38))
			for (i = 2; i <= cols; i++) {
				cell = substr($0, at, length(rule[i]))
				gsub(/[ ,]/, "", cell)
				row = row sprintf("%7s", cell)
				at += length(rule[i]) + 2
			}
			print row
			next
		}
		/^$/ { last = text; text = ""; next }
		{ text = text $0 "\n" }'
}

cover() {
	local mail=$PATCHES/0000-cover-letter.patch numbers slub tables title base

	title=$(sed -nE 's/^Subject: //p; /^$/q' "$STEPS/cover")
	read -r plus minus _ < <(in_git show --format= --numstat "$(step_of mm/slab_arena.c)" -- mm/slub.c)
	slub="$plus lines added to mm/slub.c, $minus removed, and $(wc -l <"$GIT/mm/slub_arena.c") in a file that it includes"
	tables=$(doc_section Documentation/mm/slab_arena.rst 'Speed and memory' | narrow_tables 2
		doc_section Documentation/mm/slab_arena.rst Memory | narrow_tables 1)
	[ -n "$tables" ] || say "the cover letter has no figures: there is no section \"Speed and memory\" in Documentation/mm/slab_arena.rst"
	numbers=$(in_git diff --shortstat pristine series -- ':!tools' ':!lib' ':!Documentation' | sed 's/^ *//')
	base=$(awk '/^(VERSION|PATCHLEVEL|SUBLEVEL) = / { v = v (v ? "." : "") $3 } END { print v }' "$PRISTINE/Makefile")
	sed '1,/^$/d' "$STEPS/cover" >"$WORK/cover.body"
	awk -v date="$(in_git log -1 --format=%aD series)" -v subject="$title" -v slub="$slub" -v numbers="$numbers" -v base="$base" -v tables="$tables" -v body="$WORK/cover.body" '
		/^Date: / && !dated { $0 = "Date: " date; dated = 1 }
		/\*\*\* SUBJECT HERE \*\*\*/ { sub(/\*\*\* SUBJECT HERE \*\*\*/, subject) }
		/\*\*\* BLURB HERE \*\*\*/ {
			while ((getline line < body) > 0) {
				if (line == "@TABLES@") {
					print tables
					continue
				}
				sub(/@SLUB@/, slub, line)
				sub(/@KERNEL@/, numbers, line)
				sub(/@BASE@/, base, line)
				print line
			}
			next
		}
		{ print }' "$mail" >"$mail.new"
	! grep -n '@[A-Z]*@' "$mail.new" >&2 || die "series/cover: there is no such placeholder"
	mv "$mail.new" "$mail"
}

stage() {
	local k path

	command -v git >/dev/null || die "the series needs git: apt-get install git"
	PRISTINE=$("$VM/source.sh")
	rm -rf "$WORK/state" "$WORK/final"
	mkdir -p "$WORK"
	while read -r k path; do
		kind[$path]=$k
	done < <("$VM/tree.sh" stage "$WORK/final")
	[ ${#kind[@]} -gt 0 ] || die "nothing is composed"
}

build() {
	stage
	read_steps
	states
	identity
	repository
	rm -rf "$PATCHES"
	in_git format-patch -q --cover-letter --no-base -o "$PATCHES" pristine..series
	cover
	say "series: $(in_git rev-list --count pristine..series) patches in $(shown "$PATCHES")"
}

# ---- am ----

am() {
	local tree=${1:-} there=$WORK/am p path name conflicts passed=0 failed=0 commit

	[ -z "$tree" ] || [ -f "$tree/mm/slub.c" ] || die -2 "$tree is no kernel source"
	tree=${tree:-$PRISTINE}
	rm -rf "$there"
	git init -q -b am "$there"
	in_there() {
		git -C "$there" -c core.hooksPath=/dev/null -c commit.gpgSign=false -c gc.auto=0 "$@"
	}
	identity
	for path in "${!kind[@]}"; do
		[ -f "$tree/$path" ] || continue
		mkdir -p "$(dirname "$there/$path")"
		cp "$tree/$path" "$there/$path"
	done
	in_there add -A -f .
	in_there commit -q --allow-empty -m "the files of ${tree##*/}"
	# What three-way merges need
	in_there fetch -q "$GIT" 'refs/tags/*:refs/tags/*'
	for p in "$PATCHES"/*.patch; do
		name=${p##*/}
		[ "$name" != 0000-cover-letter.patch ] || continue
		if in_there am -q -3 "$p" >"$WORK/am.log" 2>&1; then
			passed=$((passed + 1))
			continue
		fi
		failed=$((failed + 1))
		say "$name does not apply to ${tree##*/}:"
		conflicts=$(in_there diff --name-only --diff-filter=U)
		for path in $conflicts; do
			if [ -f "$there/$path" ]; then
				say "    $path: $(grep -c '^<<<<<<< ' "$there/$path" || true) conflicts, at $(grep -n '^<<<<<<< ' "$there/$path" | cut -d : -f 1 | tr '\n' ' ')"
			else
				say "    $path: deleted there"
			fi
		done
		[ -n "$conflicts" ] || sed 's/^/    /' "$WORK/am.log" >&2
		in_there am --abort >/dev/null 2>&1 || true
		# Go on with our side of the conflict, so that the next patch is tried on its own
		commit=$(in_git log --format=%H --reverse pristine..series | sed -n "$((10#${name%%-*}))p")
		in_there cherry-pick -X theirs --keep-redundant-commits "$commit" >/dev/null 2>&1 ||
			in_there cherry-pick --abort >/dev/null 2>&1 || true
	done
	if [ "$tree" = "$PRISTINE" ] && [ "$failed" = 0 ]; then
		for path in "${!kind[@]}"; do
			[ ! -f "$WORK/final/$path" ] || cmp -s "$WORK/final/$path" "$there/$path" ||
				die "git am ends with another $path than what is composed"
		done
	fi
	printf '%d passed, %d failed, 0 skipped\n' "$passed" "$failed"
	[ "$failed" = 0 ]
}

# ---- take ----

# stored_diff STEP PATH COMMIT: what the commit does to it, but for parts
stored_diff() {
	local old=a/$2 new=b/$2

	rm -rf "$WORK/diff"
	mkdir -p "$WORK/diff/a/$(dirname "$2")" "$WORK/diff/b/$(dirname "$2")"
	in_git show "$3^:$2" >"$WORK/diff/a/$2" 2>/dev/null || old=/dev/null
	if in_git show "$3:$2" >"$WORK/diff/whole" 2>/dev/null; then
		without_parts "$1" "$2" "$WORK/diff/whole" >"$WORK/diff/b/$2"
	else
		: >"$WORK/diff/b/$2"
		new=/dev/null
	fi
	diff -up --label "$old" --label "$new" "$WORK/diff/a/$2" "$WORK/diff/b/$2" || [ $? = 1 ]
}

take() {
	local commits=() i s path out

	[ -d "$GIT" ] || die "there is no repository to take from: vm/series.sh build"
	stage
	read_steps
	[ -z "$(in_git status --porcelain)" ] || die "$(shown "$GIT") has changes that are in no commit"
	mapfile -t commits < <(in_git log --format=%H --reverse pristine..HEAD)
	# Steps that were left out have no tag
	mapfile -t steps < <(for s in "${steps[@]}"; do ! in_git rev-parse -q --verify "refs/tags/$s" >/dev/null || echo "$s"; done)
	[ ${#commits[@]} = ${#steps[@]} ] ||
		die "$(shown "$GIT") has ${#commits[@]} commits, and series/ ${#steps[@]} steps: add or remove the step's text first"
	check_end
	for i in "${!steps[@]}"; do
		s=${steps[i]}
		{
			TITLE=$(in_git log -1 --format=%s "${commits[i]}") awk '
				/^$/ { exit }
				/^Subject: / { $0 = "Subject: " ENVIRON["TITLE"] }
				{ print }' "$STEPS/$s"
			echo
			in_git log -1 --format=%b "${commits[i]}" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
		} | put "$STEPS/$s"
		out=$STEPS/$s.diff
		in_git diff --name-only --no-renames "${commits[i]}^" "${commits[i]}" | while read -r path; do
			[ "${rest[$path]-}" != "$s" ] || continue
			stored_diff "$s" "$path" "${commits[i]}"
		done | put "$out"
		[ -s "$out" ] || rm -f "$out"
	done
	in_git branch -q -f series 2>/dev/null || true
	in_git tag -f end >/dev/null
	say "series: taken from $(shown "$GIT")"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
build)
	lock
	build
	;;
am)
	lock
	build
	am "$@"
	;;
take)
	lock
	take
	;;
*)
	die -2 "usage: vm/series.sh build | am [TREE] | take"
	;;
esac
