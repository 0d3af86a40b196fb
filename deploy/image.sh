#!/usr/bin/env bash
# Builds the image with buildah, docker or podman, whichever is installed, and prints its size.
#
#   image.sh [TAG]                  from the sources, in the Dockerfile's build stage
#   image.sh --binary FILE [TAG]    from an existing static binary, with this machine's certificate authorities;
#                                   needs no registry
set -euo pipefail
cd "$(dirname "$0")/.."

binary=
if [[ ${1-} == --binary ]]; then
    binary=$2
    shift 2
fi
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
tag=${1:-cloakroom:$version}

for engine in buildah docker podman; do
    if command -v "$engine" >/dev/null; then break; fi
    engine=
done
if [[ -z $engine ]]; then
    echo "image.sh: install buildah, docker or podman" >&2
    exit 1
fi

build=("$engine" build --file deploy/Dockerfile --target runtime --tag "$tag" --build-arg "VERSION=$version"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")

if [[ -n $binary ]]; then
    # The layout of the build stage's result.
    stage=$(mktemp -d)
    trap 'rm -rf "$stage"' EXIT
    install -d -m 0755 "$stage/image/root/run" "$stage/image/root/var/lib"
    install -d -m 0750 "$stage/image/run/cloakroom"
    install -d -m 0700 "$stage/image/state/cloakroom"
    install -D -m 0755 "$binary" "$stage/image/root/cloakroom"
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$stage/image/root/etc/ssl/certs/ca-certificates.crt"
    build+=(--build-context "build=$stage")
fi
"${build[@]}" .

if [[ $engine == buildah ]]; then
    size=$(buildah images --format '{{.Size}}' "$tag")
else
    size=$("$engine" image inspect --format '{{.Size}}' "$tag" | numfmt --to=si --suffix=B)
fi
echo "$tag: $size"
