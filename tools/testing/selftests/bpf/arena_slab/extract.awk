# SPDX-License-Identifier: GPL-2.0
#
# awk -v name=NAME -f extract.awk FILE.rst: the code block with :caption: NAME.

/^\.\. code-block::/		{ inside = 1; wanted = 0; next }
inside && $1 == ":caption:"	{ wanted = $2 == name; found += wanted; next }
inside && /^[^\t]/		{ inside = wanted = 0 }
wanted && /^\t/			{ for (; blank; blank--) print ""; sub(/^\t/, ""); print; lines++ }
wanted && lines && /^$/		{ blank++ }
END				{ exit found != 1 }
