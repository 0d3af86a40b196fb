#!/usr/bin/env bash
# Installs what the tests want beyond cargo: libfaketime, for tests/clock.rs, Python with Auth0's SDK, for
# tests/interop.rs, for fuzz/ cargo-fuzz and a C++ compiler, for tests/prometheus Prometheus and PyYAML, for
# tests/manifests kubectl and the schemas of Kubernetes, for tests/pod what builds images and runs containers, and for
# tests/host cargo-deb, lintian and what boots a systemd in a container.
# Does nothing where that is done already, so it may run before every test run.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz=0.13.2
deb=3.8.0

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

if ! { command -v systemd-nspawn && command -v dbus-daemon && command -v lintian && command -v dpkg-shlibdeps &&
    command -v ip && command -v pgrep && command -v curl; } >/dev/null; then
    install systemd systemd-container dbus lintian dpkg-dev iproute2 procps curl
fi
# Unoptimized: that compiles sooner, and it runs for some seconds only.
if [[ $(cargo deb --version 2>/dev/null) != *"$deb"* ]]; then
    cargo install cargo-deb --version "$deb" --locked --debug
fi

if ! command -v c++ >/dev/null; then
    install g++
fi
if [[ $(cargo fuzz --version 2>/dev/null) != *"$fuzz"* ]]; then
    cargo install cargo-fuzz --version "$fuzz" --locked
fi

# tests/pod: buildah and podman with runc; busybox is the attacker in a container that has no tools.
missing=()
for tool in buildah podman runc; do
    if ! command -v "$tool" >/dev/null; then missing+=("$tool"); fi
done
if ! command -v busybox >/dev/null || [[ -n $(ldd "$(command -v busybox)" 2>/dev/null) ]]; then
    missing+=(busybox-static)
fi
if ((${#missing[@]})); then
    install "${missing[@]}"
fi

# make_venv DIRECTORY REQUIREMENTS: a virtual environment with these, unless it is there.
make_venv() {
    local venv=$1 stamp=$1/installed
    if [[ -x $venv/bin/python && -f $stamp ]] && cmp --quiet "$2" "$stamp"; then
        return
    fi
    # ensurepip is what Debian leaves out of python3 and ships in python3-venv.
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        install python3 python3-venv
    fi
    mkdir -p target
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2"
    cp "$2" "$stamp"
}

make_venv target/interop-venv tests/support/requirements.txt
make_venv target/manifests-venv tests/manifests/requirements.txt
