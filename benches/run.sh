#!/usr/bin/env bash
# run.sh [ROUNDS]: installs what cloakroom is compared with, builds both as they are shipped, and measures.
set -euo pipefail
cd "$(dirname "$0")/.."

bash benches/install.sh
cargo build --locked --release
cargo build --locked --release --manifest-path benches/Cargo.toml --target-dir target
target/release/cloakroom-bench target/release/cloakroom "${1:-7}"
cargo bench --locked --manifest-path benches/Cargo.toml --target-dir target
