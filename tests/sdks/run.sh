#!/usr/bin/env bash
# Clients that others wrote call providers' APIs and the Management API through a daemon, set up by the snippets of two
# guides, word for word. `make sdks` calls this; names of tests may follow, as in `bash tests/sdks/run.sh test_curl`.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/support/npm_packages.sh
install_npm_packages tests/sdks target/sdks-node

# With an example, as tests build it: then features are the same, and nothing is compiled twice.
cargo build --locked --bin cloakroom --example tenant
cd tests/sdks
if [[ $# == 0 ]]; then set -- test_providers test_curl test_auth0; fi
exec ../../target/sdks-venv/bin/python -B -m unittest --verbose "$@"
