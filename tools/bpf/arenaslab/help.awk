# SPDX-License-Identifier: GPL-2.0
#
# Make what `arenaslab --help` prints, a C header, of SYNOPSIS, COMMANDS and EXIT STATUS
# of the man page. Which macros are allowed there is said in it.

function plain(s)
{
	gsub(/\\f[BIR]/, "", s)
	gsub(/\\-/, "-", s)
	return s
}

function emit(s)
{
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	gsub(/\001/, " ", s)
	text = text "\t\"" s "\\n\"\n"
}

# [-w PART] is one word
function keep_brackets(s,  i, c, depth, kept)
{
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		depth += c == "["
		depth -= c == "]"
		kept = kept (c == " " && depth > 0 ? "\001" : c)
	}
	return kept
}

# @text in lines of 79 columns, the first behind @tag, @indent columns from the left
function fill(tag, indent, words,  n, word, i, line)
{
	n = split(words, word, " ")
	line = tag == "" ? "" : sprintf("%-" (indent - 1) "s", tag)
	for (i = 1; i <= n; i++) {
		if (length(line) + 1 + length(word[i]) > 79) {
			emit(line)
			line = sprintf("%" (indent > 0 ? indent - 1 : 0) "s", "")
		}
		line = line (line == "" && !indent ? "" : " ") word[i]
	}
	if (n)
		emit(line)
}

function end_paragraph()
{
	if (state == "body")
		fill(tag, 29, body)
	else
		fill("", 0, body)
	body = tag = state = ""
}

function end_command()
{
	end_paragraph()
	if (command != "")
		commands = commands "\t{ \"" command "\",\n" usage[command] "\t,\n" text "\t},\n"
	command = text = ""
}

/^\.\\"/ { next }
/^\.SH / { end_command(); section = substr($0, 5); state = ""; next }
section == "SYNOPSIS" && !/^\./ {
	split(plain($0), word, " ")
	tag = "       " word[1] " " word[2]
	sub(/^[^ ]+ [^ ]+ /, "")
	text = ""
	fill(tag, 25, keep_brackets(plain($0)))
	usage[word[2]] = text
	text = tag = ""
	next
}
section == "EXIT STATUS" { status = status "\t\"Exit status: " plain($0) "\\n\"\n"; next }
section != "COMMANDS" { next }
/^\.SS / { end_command(); command = $2; state = ""; next }
/^\.TP/ { end_paragraph(); state = "tag"; next }
/^\./ { print FILENAME ":" NR ": help.awk does not know " $1 >"/dev/stderr"; bad = 1; exit }
state == "tag" { tag = "  " plain($0); state = "body"; next }
{ body = body " " plain($0) }

END {
	end_command()
	if (bad)
		exit 1
	print "/* Made from arenaslab.8 by help.awk */"
	print "static const struct {\n\tconst char *name, *usage, *text;\n} help_commands[] = {"
	printf "%s", commands
	print "};\n"
	print "static const char help_status[] =\n" status ";"
}
