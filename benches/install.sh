#!/usr/bin/env bash
# install.sh: installs what cloakroom is compared with and counted by.
set -euo pipefail

missing=()
for program in nginx redis-server h2load curl taskset valgrind; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [[ ${#missing[@]} != 0 ]]; then
    as_root=()
    if [[ $(id -u) != 0 ]]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        nginx-light redis-server nghttp2-client curl util-linux valgrind
fi
