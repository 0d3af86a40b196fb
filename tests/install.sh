#!/usr/bin/env bash
# Installs what the tests want beyond cargo: libfaketime, for tests/clock.rs, Python with Auth0's SDK, for
# tests/interop.rs, for fuzz/ cargo-fuzz and a C++ compiler, and for tests/prometheus Prometheus and PyYAML.
# Does nothing where that is done already, so it may run before every test run.
set -euo pipefail
cd "$(dirname "$0")/.."

sdk=auth0-python==6.8.0
fuzz=0.13.2
venv=target/interop-venv
stamp=$venv/installed

install() {
    local as_root=()
    if [[ $(id -u) != 0 ]]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# The library is in a directory named after the machine: /usr/lib/x86_64-linux-gnu/faketime.
if ! compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; then
    install faketime
fi

if ! { command -v prometheus && command -v promtool && command -v curl && /usr/bin/python3 -c 'import yaml'; } \
    >/dev/null 2>&1; then
    install prometheus curl python3-yaml
fi

if ! command -v c++ >/dev/null; then
    install g++
fi
if [[ $(cargo fuzz --version 2>/dev/null) != *"$fuzz"* ]]; then
    cargo install cargo-fuzz --version "$fuzz" --locked
fi

if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$sdk" ]]; then
    exit 0
fi

# ensurepip is what Debian leaves out of python3 and ships in python3-venv.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    install python3 python3-venv
fi

mkdir -p target
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$sdk"
echo "$sdk" >"$stamp"
