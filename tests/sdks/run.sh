#!/usr/bin/env bash
# Clients that others wrote call providers' APIs and the Management API through a daemon, set up by the snippets of two
# guides, word for word. `make sdks` calls this; names of tests may follow, as in `bash tests/sdks/run.sh test_curl`.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=target/sdks-node
if ! cmp --quiet tests/sdks/package-lock.json "$packages/installed"; then
    rm -rf "$packages"
    mkdir -p "$packages"
    cp tests/sdks/package.json tests/sdks/package-lock.json "$packages"
    npm ci --prefix "$packages" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tests/sdks/package-lock.json "$packages/installed"
fi

# With an example, as tests build it: then features are the same, and nothing is compiled twice.
cargo build --locked --bin cloakroom --example tenant
cd tests/sdks
if [[ $# == 0 ]]; then set -- test_providers test_curl test_auth0; fi
exec ../../target/sdks-venv/bin/python -B -m unittest --verbose "$@"
