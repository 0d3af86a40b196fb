#!/usr/bin/env bash
# A pod without Kubernetes: the containers of deploy/kubernetes/example run under podman and runc as its rendered
# manifests say, against a simulated tenant, with volumes made as a kubelet makes them.
#
# Takes root, the tools that tests/install.sh installs, and about 20 seconds once the binaries are built.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ $(id -u) != 0 ]]; then
    echo "pod.sh: mounts volumes and runs containers, which takes root: skipped" >&2
    # As for the tests under other uids: CI has to be root.
    [[ -z ${CI-} ]]
    exit
fi

tools=target/manifests-venv/bin
target=$(rustc --print host-tuple)
user='google-oauth2|103547991597142817347'
token=ya29.demo-foo
other_user='google-oauth2|111199914890750704174'
other_token=ya29.demo-doe
fs_group=10001
tmp=$(mktemp -d)
volumes=$tmp/volumes
socket=$volumes/cloakroom-socket/cloakroom.sock

# Storage of its own: nothing of anybody else's is seen or touched.
export CONTAINERS_CONF=$tmp/containers.conf CONTAINERS_STORAGE_CONF=$tmp/storage.conf BUILDAH_ISOLATION=chroot
cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "vfs"
graphroot = "$tmp/storage"
runroot = "$tmp/run"
CONF
cat >"$CONTAINERS_CONF" <<CONF
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
tmp_dir = "$tmp/libpod"
CONF

finish() {
    local outcome=$?
    set +e
    if ((outcome)); then
        echo "--- the sidecar's log:"
        podman logs cloakroom
    fi >&2
    podman rm --all --force --time 1 &>/dev/null
    if [[ -n ${tenant_pid-} ]]; then kill "$tenant_pid"; fi
    umount "$volumes"/* 2>/dev/null
    rm -rf "$tmp"
    exit "$outcome"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

claim() { echo "ok  $*"; }

# until_true WHAT COMMAND...: polls, because nothing here promises how fast this machine is.
until_true() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" &>/dev/null; do
        if ((SECONDS > deadline)); then fail "not within a minute: $what"; fi
        sleep 0.1
    done
}

# exits CODE COMMAND...: what it prints, if it ends with that code.
exits() {
    local expected=$1 code=0
    shift
    "$@" >"$tmp/out" 2>&1 || code=$?
    cat "$tmp/out"
    if ((code != expected)); then fail "exit code $code instead of $expected: $* ($(<"$tmp/out"))"; fi
}

args_of() { "$tools/python" tests/pod/podman_args.py "$tmp/manifests.yaml" "$@"; }

# sidecar COMMAND...: in the running sidecar, as a kubelet runs its probes.
sidecar() { podman exec cloakroom "$@"; }

# app [PODMAN'S OPTION...] -- ARGUMENT...: the same image's binary as the application, which has no network at all.
app() {
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    podman run --rm --network none "${app_args[@]}" "${options[@]}" cloakroom:test "$@"
}

# --- The image, and what a kubelet does before it starts anything

RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_DEV_DEBUG=0 \
    cargo build --locked --quiet --bin cloakroom --target "$target"
cargo build --locked --quiet --example tenant
deploy/image.sh --binary "target/$target/debug/cloakroom" cloakroom:test >"$tmp/image.log" 2>&1 \
    || fail "no image: $(<"$tmp/image.log")"
claim "the image is built without a registry: $(tail -n 1 "$tmp/image.log") (not optimised)"

mkdir "$tmp/tenant"
mkfifo "$tmp/orders"
target/debug/examples/tenant "$tmp/tenant" <"$tmp/orders" >"$tmp/answers" &
tenant_pid=$!
exec {orders}>"$tmp/orders"
order() { echo "$*" >&"$orders"; }
until_true "the tenant listens" test -e "$tmp/tenant/domain"

answers() { wc -l <"$tmp/answers"; }
has_answered() { (($(answers) > $1)); }

# How many requests for users the tenant has had.
users_asked() {
    local before
    before=$(answers)
    order calls
    until_true "the tenant answers" has_answered "$before"
    awk 'END { print $2 }' "$tmp/answers"
}

# kubelet_volume NAME: a directory in memory that the group of the pod's volumes may use.
kubelet_volume() {
    mkdir -p "$volumes/$1"
    mount -t tmpfs -o size=1m,mode="$2" tmpfs "$volumes/$1"
    chgrp "$fs_group" "$volumes/$1"
    chmod "$2" "$volumes/$1"
}

# project VOLUME NAME=FILE...: puts a new version of the files there as a kubelet does. A directory named after the time
# holds them, `..data` points there and is replaced by a rename, and each file's own name leads through `..data`.
project() {
    local volume=$volumes/$1 old new file
    shift
    old=$(readlink "$volume/..data" || true)
    new=$(mktemp -d "$volume/..$(date +%Y_%m_%d_%H_%M_%S).XXXXXXXXX")
    chgrp "$fs_group" "$new"
    chmod 2755 "$new"
    for file in "$@"; do
        install -m 0440 -g "$fs_group" "${file#*=}" "$new/${file%%=*}"
    done
    ln -s "$(basename "$new")" "$volume/..data_tmp"
    mv -T "$volume/..data_tmp" "$volume/..data"
    for file in "$@"; do
        ln -sfn "..data/${file%%=*}" "$volume/${file%%=*}"
    done
    if [[ -n $old ]]; then rm -r "${volume:?}/$old"; fi
}

"$tools/kubectl" kustomize deploy/kubernetes/example >"$tmp/manifests.yaml"
kubelet_volume cloakroom-socket 2777
kubelet_volume cloakroom-config 2775
kubelet_volume cloakroom-secret 2775
project cloakroom-config cloakroom.toml=deploy/kubernetes/example/cloakroom.toml
head -c 32 /dev/urandom | base64 >"$tmp/user-key"
project_secret() { project cloakroom-secret "client-secret=$tmp/tenant/client_secret" "user-key=$tmp/user-key"; }
project_secret
mapfile -t sidecar_args < <(args_of cloakroom "$volumes")
mapfile -t app_args < <(args_of web "$volumes")
mapfile -t startup < <(args_of cloakroom --startup)
mapfile -t readiness < <(args_of cloakroom --readiness)
mapfile -t liveness < <(args_of cloakroom --liveness)

# --- Starting

app -- wait --timeout 60s &
waiting=$!
# On top of the example's configuration: whom to ask, and whom to trust.
podman run --detach --name cloakroom --network host "${sidecar_args[@]}" --env-file "$tmp/tenant/env" \
    --volume "$tmp/tenant/ca.pem:/ca.pem:ro" --env CLOAKROOM_TENANT__CA_FILE=/ca.pem cloakroom:test >"$tmp/id"
until_true "the startup probe succeeds" sidecar "${startup[@]}"
exits 0 sidecar "${readiness[@]}" >"$tmp/ready"
exits 0 sidecar "${liveness[@]}" >"$tmp/live"
claim "the startup, readiness and liveness probes succeed: $(<"$tmp/ready"); $(<"$tmp/live")"

wait "$waiting" || fail "wait ended with $?"
claim "an application that was there first waits for the socket to appear"

pid=$(podman inspect --format '{{.State.Pid}}' cloakroom)
has() { grep -qE "$2" "/proc/$pid/$1" || fail "/proc/PID/$1 of the sidecar has no line like $2"; }
has status '^Uid:.10002.10002.10002.10002$'
has status '^Groups:.*\b10001\b'
has status '^Cap(Bnd):.0+$'
has status '^Cap(Eff):.0+$'
has status '^NoNewPrivs:.1$'
has status '^Seccomp:.2$'
has mountinfo '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ro,'
claim "the sidecar has its uid and the volumes' group, no capability, no new privileges, a filter, a read-only root"

# --- Who is answered

answer=$(exits 0 app -- token "$user")
[[ $answer == "$token" ]] || fail "the application got $answer"
podman logs cloakroom 2>&1 | grep '"target":"audit"' | grep '"uid":10001' | grep -q '"pid":null' \
    || fail "no audit line names the application's uid, and no pid, since that is in another namespace"
claim "the application, uid 10001 in another pid namespace and without a network, gets its token"

refused=$(exits 5 app --user=10003:10003 -- token "$user")
[[ $refused == *"uid 10003"* ]] || fail "the refusal does not name the uid: $refused"
claim "a third uid is refused by name: ${refused%%;*}"

mapfile -t outside < <(printf '%s\n' "${app_args[@]}" | grep -v '^--group-add=')
refused=$(exits 5 podman run --rm --network none "${outside[@]}" --user=10003:10003 cloakroom:test token "$user")
[[ $refused == *"permission denied at /run/cloakroom/cloakroom.sock"* ]] || fail "it could connect: $refused"
claim "without the volumes' group it cannot even connect"

# --- Nobody else's socket

before=$(stat -c %i "$socket")
# shellcheck disable=SC2016 # It is the container's shell that is to see the variable.
attack='
    cd /run/cloakroom || exit 2
    for try in "rm -f cloakroom.sock" "mv cloakroom.sock old" "ln -sf /evil cloakroom.sock" "touch new" \
        "chmod 0777 cloakroom.sock" "mount -o remount,rw /run/cloakroom" "umount /run/cloakroom"; do
        if /busybox $try 2>/dev/null; then echo "could $try"; fi
    done'
try() {
    podman run --rm --network none "$@" --volume "$(command -v busybox):/busybox:ro" --entrypoint /busybox \
        cloakroom:test sh -c "$attack"
}
for uid in 10001 10002 0; do
    could=$(try "${app_args[@]}" --user="$uid:$uid")
    [[ -z $could ]] || fail "uid $uid with a read-only mount $could"
done
[[ $(stat -c %i "$socket") == "$before" ]] || fail "another socket is in its place"
exits 0 app -- token "$user" >/dev/null
claim "with the read-only mount neither the application's uid nor the daemon's nor root can replace the socket"

mkdir "$volumes/control"
install -d -m 2777 -g "$fs_group" "$volumes/control/socket"
touch "$volumes/control/socket/cloakroom.sock"
mapfile -t writable < <(printf '%s\n' "${app_args[@]}" | grep -v '^--volume=')
could=$(try "${writable[@]}" --volume="$volumes/control/socket:/run/cloakroom:rw")
[[ $could == *"could rm -f cloakroom.sock"* ]] || fail "the attack attacks nothing: $could"
claim "which takes the read-only mount: in such a volume, mounted writable, the application's uid can"

# --- The sidecar dies, and is started in the same pod

# The next one's Management tokens are renewed every few seconds, which will show which secret it has.
order lifetime 5
podman kill --signal KILL cloakroom >/dev/null
podman wait cloakroom >/dev/null
[[ -S $socket ]] || fail "the socket of a daemon that was killed should have stayed"
podman start cloakroom >/dev/null
until_true "the startup probe succeeds again" sidecar "${startup[@]}"
answer=$(exits 0 app -- token "$user")
[[ $answer == "$token" ]] || fail "the application got $answer"
claim "a sidecar that was killed takes its dead socket's place, and the application's mount shows the new one"

# --- The secret is rotated, twice, and each time Auth0 refuses the old one at once

granted_since() {
    local last
    last=$(sidecar /cloakroom status --output json | sed -n 's/.*"last_success_at": *"\([^"]*\)".*/\1/p')
    [[ -n $last && $(date -d "$last" +%s) -gt $1 ]]
}
has_changed() { [[ $(<"$tmp/tenant/client_secret") != "$old" ]]; }
for time in first second; do
    old=$(<"$tmp/tenant/client_secret")
    order rotate
    until_true "the tenant has a new secret" has_changed
    project_secret
    until_true "a grant with the $time new secret" granted_since "$(date +%s)"
    exits 0 sidecar "${readiness[@]}" >/dev/null
    claim "the $time swap of ..data: a Management token was granted for the new secret, the old one is refused"
done
order lifetime 86400
until_true "a Management token for a day" granted_since "$(date +%s)"

# --- Without Kubernetes, as docs/guides/containers.md has it

head --bytes=32 /dev/urandom | base64 >"$tmp/state_key"
chown 10002 "$tmp/state_key"
chmod 0400 "$tmp/state_key"
podman run --detach --name plain --network host --read-only --read-only-tmpfs=false --cap-drop all \
    --security-opt no-new-privileges --volume plain:/run/cloakroom --env-file "$tmp/tenant/env" \
    --volume state:/var/lib/cloakroom --env CLOAKROOM_STATE__PATH=/var/lib/cloakroom/state \
    --volume "$tmp/state_key:/state_key:ro" --env CLOAKROOM_STATE__KEY_FILE=/state_key \
    --volume "$tmp/tenant/ca.pem:/ca.pem:ro" --env CLOAKROOM_TENANT__CA_FILE=/ca.pem \
    --env "CLOAKROOM_TENANT__CLIENT__SECRET=$(<"$tmp/tenant/client_secret")" cloakroom:test >"$tmp/plain"
until_true "a daemon whose socket is in a named volume is ready" podman exec plain /cloakroom healthcheck --ready
refused=$(exits 5 podman run --rm --network none --user 10001 --group-add 10002 --volume plain:/run/cloakroom:ro \
    --entrypoint /cloakroom cloakroom:test token "$user")
[[ $refused == *"uid 10001"* ]] || fail "the caller did not come to the rules: $refused"
exits 5 podman run --rm --network none --user 10001 --volume plain:/run/cloakroom:ro cloakroom:test token "$user" \
    | grep -q 'permission denied' || fail "a caller outside the group could connect"
podman stop --time 20 plain >/dev/null
code=$(podman wait plain)
[[ $code == 0 ]] || fail "the daemon ended with $code"
claim "in a new named volume the daemon makes its socket, and only its group comes in"
state=$(podman volume inspect --format '{{.Mountpoint}}' state)
[[ $(stat -c '%a %u' "$state" "$state/state") == $'700 10002\n600 10002' ]] \
    || fail "the state: $(stat -c '%n %a %u' "$state" "$state/state")"
claim "in another it makes its state file, which nobody else can read"

# --- The end

order latency 3000
asked=$(users_asked)
app -- token "$other_user" >"$tmp/in_flight" 2>&1 &
in_flight=$!
one_more() { (($(users_asked) > asked)); }
until_true "the lookup is under way" one_more
podman kill --signal TERM cloakroom >/dev/null
wait "$in_flight" || fail "the lookup in flight ended with $?: $(<"$tmp/in_flight")"
[[ $(<"$tmp/in_flight") == "$other_token" ]] || fail "the lookup in flight got $(<"$tmp/in_flight")"
code=$(podman wait cloakroom)
[[ $code == 0 ]] || fail "the sidecar ended with $code"
[[ ! -e $socket ]] || fail "the socket is still there"
claim "SIGTERM with a lookup under way: it is answered, the socket is removed, and the exit code is 0"

# The volume is writable by everybody, which the daemon cannot know to be harmless; nothing else is amiss.
podman logs cloakroom 2>&1 | grep -E '"level":"(WARN|ERROR)"' | grep -v 'let callers mount the volume read-only' \
    >"$tmp/warnings" || true
[[ ! -s $tmp/warnings ]] || fail "the daemon warns of: $(<"$tmp/warnings")"
claim "nothing was warned of but the volume's mode"
