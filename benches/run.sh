#!/usr/bin/env bash
# run.sh [ROUNDS]: installs what cloakroom is compared with, builds both as they are shipped, and measures.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v nginx redis-server curl taskset valgrind >/dev/null; then
    as_root=()
    if [[ $(id -u) != 0 ]]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        nginx-light redis-server curl util-linux valgrind
fi
cargo build --locked --release
cargo build --locked --release --manifest-path benches/Cargo.toml --target-dir target
exec target/release/cloakroom-bench target/release/cloakroom "${1:-7}"
