# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Completion of arenaslab's commands and options. Both are asked of --help, and columns of
# the error for one that there is not, so that there is nothing to keep up to date here.

_arenaslab_names()
{
	arenaslab stat --json 2>/dev/null | sed 's/[,{]/\n/g' | sed -n "s/^\"$1\":\"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p"
}

_arenaslab()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
	local words IFS=$' \t\n'

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		words=$(arenaslab --help 2>/dev/null | sed -n 's/^\(Usage:\)\{0,1\} *arenaslab \([a-z]*\) .*/\2/p')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
	fi
	case $command:$prev in
	top:-s | top:--sort)
		words=$(arenaslab top -s '' 2>&1 | sed -n 's/.*: not one of \([a-z, ]*[a-z]\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "${words//,/}" -- "$cur")
		;;
	dump:-m | dump:--map)
		mapfile -t COMPREPLY < <(compgen -W "$(_arenaslab_names map_id)" -- "$cur")
		;;
	dump:-c | dump:--cache)
		# Names have colons, at which readline breaks words
		mapfile -t COMPREPLY < <(compgen -W "$(_arenaslab_names name | grep :)" -- "$cur")
		declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
		;;
	bench:-w | bench:--work)
		words=$(arenaslab bench --list 2>/dev/null | sed -n '/^peers/q; s/^  \([^ ]*\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		;;
	bench:-p | bench:--peer)
		words=$(arenaslab bench --list 2>/dev/null | sed -n '/^peers/,$ s/^  \([^ ]*\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
		;;
	bench:-s | bench:--size)
		words=$(arenaslab bench -s '' 2>&1 | sed -n 's/.*: not one of \([0-9, ]*[0-9]\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "${words//,/}" -- "$cur")
		;;
	dump:-b | dump:--btf | fuzz:-r | fuzz:--replay)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	*)
		[ "${cur#-}" != "$cur" ] || return
		words=$(arenaslab "$command" --help 2>/dev/null | grep -oE '^  (-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		;;
	esac
}

complete -F _arenaslab arenaslab
