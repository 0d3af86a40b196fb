#!/usr/bin/env bash
# Clients generated from openapi.json in Python and TypeScript call every operation of a daemon, and schemathesis looks
# for requests that are answered otherwise than described, for a minute. `make openapi` calls this; names of tests may
# follow, as in `bash tests/openapi/run.sh test_python`. Generators are installed below target/, in pinned versions.
set -euo pipefail
cd "$(dirname "$0")/../.."

for program in python3 node npm; do
    command -v "$program" >/dev/null || {
        echo "error: $program is missing: install it (Debian: python3-venv, nodejs, npm)" >&2
        exit 1
    }
done

# is_current STAMP FILE: whether what the file lists has been installed.
is_current() {
    [[ -f $1 ]] && cmp --quiet "$2" "$1"
}

venv=target/openapi-venv
if ! is_current "$venv/installed" tests/openapi/requirements.txt; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/openapi/requirements.txt
    cp tests/openapi/requirements.txt "$venv/installed"
fi

packages=target/openapi-node
if ! is_current "$packages/installed" tests/openapi/package-lock.json; then
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
exec "../../$venv/bin/python" -B -m unittest --verbose "$@"
