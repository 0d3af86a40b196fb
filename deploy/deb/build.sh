#!/usr/bin/env bash
# build.sh [PROFILE [built]]: builds the .deb from a cargo profile, by default `release`, and prints its size. The last
# line is its path. With `built`, the existing program is packaged without a build.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${1:-release}
target=${CARGO_TARGET_DIR:-target}
made=target/deb # The directory that Cargo.toml takes generated files from.
case $profile in
dev) built=$target/debug ;;
*) built=$target/$profile ;;
esac

if [[ ${2:-} != built ]]; then
    cargo build --locked --profile "$profile" --bin cloakroom
fi

# The program generates its man page and its completions.
rm -rf "$made"
mkdir -p "$made"
"$built/cloakroom" man >"$made/cloakroom.1"
for shell in bash zsh fish; do
    "$built/cloakroom" completions "$shell" >"$made/$shell"
done

# Debian requires a change log in its own format as well, which refers to CHANGELOG.md.
gzip --best --no-name --stdout CHANGELOG.md >"$made/changelog.gz"
version=$("$built/cloakroom" --version | cut -d ' ' -f 2)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
cat >"$made/changelog" <<END
cloakroom ($version-1) unstable; urgency=medium

  * See /usr/share/doc/cloakroom/changelog.gz.

 -- $maintainer  $(date --utc --date="@$epoch" '+%a, %d %b %Y %H:%M:%S +0000')
END

deb=$target/debian/cloakroom_$version-1_$(dpkg --print-architecture).deb
SOURCE_DATE_EPOCH=$epoch cargo deb --quiet --no-build --profile "$profile" --output "$deb" >&2
printf '%s: %d KiB, %d KiB installed\n' "${deb##*/}" "$(($(stat -c %s "$deb") / 1024))" \
    "$(dpkg-deb --field "$deb" Installed-Size)"
printf '%s\n' "$deb"
