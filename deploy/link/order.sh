#!/usr/bin/env bash
# order.sh: writes order.txt, the functions that run from the program's start to a hit.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash benches/install.sh
cargo build --locked --release --manifest-path benches/Cargo.toml --target-dir target
# The released program, with its symbol names.
cargo rustc --locked --release --bin cloakroom -- -C strip=none
target/release/cloakroom-bench order target/release/cloakroom >target/order.txt
mv target/order.txt deploy/link/order.txt
echo "$(wc -l <deploy/link/order.txt) functions" >&2
