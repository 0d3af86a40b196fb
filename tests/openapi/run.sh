#!/usr/bin/env bash
# Clients generated from openapi.json in Python and TypeScript call every operation of a daemon, and schemathesis looks
# for requests that are answered otherwise than described, for a minute. `make openapi` calls this; names of tests may
# follow, as in `bash tests/openapi/run.sh test_python`. Generators are in target/, in pinned versions.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/support/npm_packages.sh
install_npm_packages tests/openapi target/openapi-node

# With an example, as tests build it: then features are the same, and nothing is compiled twice.
cargo build --locked --bin cloakroom --example tenant
cd tests/openapi
if [[ $# == 0 ]]; then set -- test_python test_typescript test_schemathesis; fi
exec ../../target/openapi-venv/bin/python -B -m unittest --verbose "$@"
