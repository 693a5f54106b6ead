#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# apt with a configuration of its own, for what the machine's apt does not
# offer: another suite, another architecture. The machine's lists, its status
# and its architectures stay as they are. Sourced by other scripts.

APT_SOURCES=${APT_SOURCES:-/etc/apt}
APT_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The machine's release, as its mirror calls it.
apt_codename() {
	awk -F = '$1 == "VERSION_CODENAME" { gsub(/"/, "", $2); print $2; found = 1 }
		END { if (!found) print "stable" }' /etc/os-release
}

# The Debian mirror that this machine uses, from its own sources in both forms.
apt_mirror() {
	local codename uri

	codename=$(apt_codename)
	uri=$(
		shopt -s nullglob
		for f in "$APT_SOURCES"/sources.list "$APT_SOURCES"/sources.list.d/*.list; do
			[ -r "$f" ] && sed -nE 's/#.*//; s/^[[:space:]]*deb[[:space:]]+(\[[^]]*\][[:space:]]*)?//p' "$f"
		done
		for f in "$APT_SOURCES"/sources.list.d/*.sources; do
			deb822_to_lines "$f"
		done
		true
	)
	# The mirror itself, not its security archive, which has other suites.
	uri=$(printf '%s\n' "$uri" | awk -v c="$codename" '
		$1 !~ /^cdrom:/ && ($2 == c || $2 == "stable") {
			for (i = 3; i <= NF; i++)
				if ($i == "main") { print $1; exit }
		}')
	[ -n "$uri" ] || die "no Debian mirror for $codename main in this machine's apt sources"
	printf '%s\n' "$uri"
}

# A deb822 file as lines "URI SUITE COMPONENT...".
deb822_to_lines() {
	awk '
	function flush(   i, j, nu, ns, u, s) {
		if (types ~ /(^| )deb( |$)/ && enabled !~ /^(no|false|0)/) {
			nu = split(uris, u, " "); ns = split(suites, s, " ")
			for (i = 1; i <= nu; i++)
				for (j = 1; j <= ns; j++)
					print u[i], s[j], components
		}
		types = uris = suites = components = enabled = key = ""
	}
	/^#/ { next }
	/^[ \t]*$/ { flush(); next }
	{
		if ($0 !~ /^[ \t]/) {
			key = tolower($0); sub(/:.*/, "", key)
			sub(/^[^:]*:/, "")
		}
		gsub(/[ \t]+/, " "); sub(/^ /, "")
		if (key == "types") types = types " " $0
		if (key == "uris") uris = uris " " $0
		if (key == "suites") suites = suites " " $0
		if (key == "components") components = components " " $0
		if (key == "enabled") enabled = tolower($0)
	}
	END { flush() }' "$1"
}

# apt_private FOLDER SUITE ARCH...: a configuration in FOLDER, its lists fresh.
# An APT_CONFIG that cannot be read is only a warning to apt, which would go on
# with the machine's configuration: look first.
apt_private() {
	local dir=$1 suite=$2 mirror

	shift 2
	mirror=$(apt_mirror)
	rm -rf "$dir"
	mkdir -p "$dir"/{etc,state/lists/partial,cache/archives/partial}
	: >"$dir/status"
	printf 'deb [signed-by=%s] %s %s main\n' "$APT_KEYRING" "$mirror" "$suite" >"$dir/etc/sources.list"
	cat >"$dir/apt.conf" <<-END
	Dir::Etc::sourcelist "$dir/etc/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::Etc::preferences "-";
	Dir::Etc::preferencesparts "-";
	Dir::State "$dir/state";
	Dir::State::lists "$dir/state/lists";
	Dir::State::status "$dir/status";
	Dir::Cache "$dir/cache";
	APT::Sandbox::User "root";
	APT::Architecture "$1";
	APT::Architectures { $(printf '"%s"; ' "$@")};
	APT::Install-Recommends "false";
	Acquire::Languages "none";
	Acquire::Retries "2";
	Acquire::http::Timeout "20";
	Acquire::https::Timeout "20";
	END
	export APT_CONFIG=$dir/apt.conf
	[ -r "$APT_CONFIG" ] || die "cannot read the private apt configuration"
	apt-get update -q -o APT::Update::Error-Mode=any >"$dir/update.log" 2>&1 ||
		die "cannot fetch the package lists of $suite: $(
			grep -E '^ |^[EW]:' "$dir/update.log" | sed -E 's/^([EW]:)? *//' | sed -n 1p)"
}

# The versions of a package that the private configuration knows.
apt_versions() {
	apt-cache madison "$1" 2>/dev/null | awk -F ' *[|] *' '$3 ~ /Packages/ { print $2 }' | sort -uV
}

# apt_fetch FOLDER PACKAGE[=VERSION]...: .deb files, moved there when complete.
apt_fetch() {
	local dir=$1

	shift
	rm -rf "$dir/fetch.tmp"
	mkdir -p "$dir/fetch.tmp"
	apt_download() {
		cd "$dir/fetch.tmp" && apt-get download -q "$@"
	}
	step "fetch $*" fetch apt_download "$@"
	mv "$dir/fetch.tmp"/*.deb "$dir"
	rmdir "$dir/fetch.tmp"
}
