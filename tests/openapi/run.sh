#!/usr/bin/env bash
# Clients generated from openapi.json in Python and TypeScript call every operation of a daemon, and schemathesis looks
# for requests that are answered otherwise than described, for a minute. `make openapi` calls this; names of tests may
# follow, as in `bash tests/openapi/run.sh test_python`. Generators are in target/, in pinned versions.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=target/openapi-node
if ! cmp --quiet tests/openapi/package-lock.json "$packages/installed"; then
    rm -rf "$packages"
    mkdir -p "$packages"
    cp tests/openapi/package.json tests/openapi/package-lock.json "$packages"
    npm ci --prefix "$packages" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tests/openapi/package-lock.json "$packages/installed"
fi

# With an example, as tests build it: then features are the same, and nothing is compiled twice.
cargo build --locked --bin cloakroom --example tenant
cd tests/openapi
if [[ $# == 0 ]]; then set -- test_python test_typescript test_schemathesis; fi
exec ../../target/openapi-venv/bin/python -B -m unittest --verbose "$@"
