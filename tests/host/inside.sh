#!/usr/bin/env bash
# What the package promises on a host, each promise a line. Run by run.sh as a unit, in a container with a systemd of
# its own; everything it changes is gone with that.
set -Eeuo pipefail
cd /test

user='google-oauth2|103547991597142817347'
token=ya29.demo-foo
socket=/run/cloakroom/cloakroom.sock
count=0

# Claims.

holds() {
    count=$((count + 1))
    printf 'ok %2d  %s\n' "$count" "$*"
}

fails() {
    printf '\nFAILED  %s\n' "$*"
    journalctl --no-pager --output=short-precise --unit='cloakroom*' --unit=probe.service |
        grep --invert-match '"target":"audit"' | tail -n 60 || true
    systemctl --no-pager --full --lines=0 status 'cloakroom*' || true
    exit 1
}

trap 'fails "inside.sh stopped at line $LINENO"' ERR

# eventually SECONDS COMMAND…: until it succeeds; the time is only what a machine that is very busy may take.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then return 1; fi
        sleep 0.1
    done
}

property() { systemctl show --property="$2" --value "$1"; }
is() { [[ $(property "$1" "$2") == "$3" ]]; }
said() { journalctl --no-pager --output=cat --unit="$1" --since="@$since" | grep --quiet --fixed-strings -- "$2"; }
# What is said from now on is what `said` looks at.
listen() {
    journalctl --sync
    since=$(date +%s.%6N)
}

# as USER GROUP COMMAND…: with that group alone, as a unit with User= and Group= runs.
as() { setpriv --reuid="$1" --regid="$2" --clear-groups -- "${@:3}"; }

# The tenants.

# tenant NAME: a simulated Auth0 that takes orders by descriptor; its files are in /test/NAME.
tenant() {
    local name=$1 orders
    mkdir "$name"
    mkfifo "$name/orders"
    ./tenant "$name" <>"$name/orders" >>"$name/said" 2>&1 &
    printf -v "${name}_pid" '%s' "$!"
    exec {orders}>"$name/orders"
    eventually 30 test -e "$name/domain" || fails "the simulated tenant $name does not start"
    printf -v "$name" '%s' "$orders"
}
order() { echo "${*:2}" >&"${!1}"; }
calls() {
    : >"$1/said"
    order "$1" calls
    eventually 30 grep --quiet '^users' "$1/said"
    cat "$1/said"
}

# configure FILE TENANT: the file as it was installed, filled in as an operator would.
configure() {
    cp "$2/ca.pem" "/etc/cloakroom/$2.pem"
    sed --expression="s|^#domain .*|domain = \"$(<"$2/domain")\"|" \
        --expression="s|^#audience .*|audience = \"https://$(<"$2/domain")/api/v2/\"|" \
        --expression='s|^#id .*|id = "demo-client"|' \
        --expression="s|^#ca_file .*|ca_file = \"/etc/cloakroom/$2.pem\"|" \
        shipped.toml >"$1"
}

# What this container has that the machine around it has not, whatever happens there meanwhile; but for what the package
# manager and systemd keep of their own.
inventory() {
    {
        find /upper \( -path /upper/test -o -path /upper/tmp -o -path /upper/var/tmp -o -path /upper/var/lib/dpkg -o \
            -path /upper/var/log/dpkg.log -o -path /upper/var/cache -o -path /upper/var/lib/systemd \) -prune -o \
            \( ! -type d -o -name '*cloakroom*' \) -print
        find /run -xdev \( -path /run/systemd -o -path /run/udev -o -path /run/log -o -path /run/credentials \) \
            -prune -o -print
    } | sort
}

# Callers: `allowed` runs with the callers' group as its own, as a unit with Group= does; `member` has it besides its
# own, as with SupplementaryGroups=; `outsider` has not.
useradd --uid 4201 --user-group --no-create-home allowed
useradd --uid 4202 --user-group --no-create-home member
useradd --uid 4203 --user-group --no-create-home outsider

inventory >before
cp /etc/group group.before

# Installing.

dpkg --force-unsafe-io --install cloakroom.deb >dpkg.log 2>&1 || { cat dpkg.log; fails "the package does not install"; }
getent group cloakroom-clients >/dev/null || fails "no group cloakroom-clients"
[[ $(systemctl is-enabled cloakroom.service cloakroom.socket) == $'disabled\ndisabled' ]] || fails "a unit is enabled"
is cloakroom.socket ActiveState inactive || fails "something is started"
holds "dpkg installs it: $(getent group cloakroom-clients), nothing is enabled or started without a tenant"
gunzip --stdout /usr/share/man/man1/cloakroom.1.gz | grep --quiet '^\.TH cloakroom' || fails "no manual page"
bash -c 'source /usr/share/bash-completion/completions/cloakroom && complete -p cloakroom' >/dev/null ||
    fails "no completion"
[[ -s /usr/share/zsh/vendor-completions/_cloakroom && -s /usr/share/fish/vendor_completions.d/cloakroom.fish ]] ||
    fails "no completions"
holds "manual page and completions are there"

cp /etc/cloakroom/cloakroom.toml shipped.toml
verdict=$(systemd-analyze verify cloakroom.service cloakroom.socket cloakroom@acme.service cloakroom@acme.socket 2>&1 |
    grep cloakroom) && fails "systemd-analyze verify: $verdict"
holds "systemd-analyze verify has nothing to say of the units"
mkdir --parents /run/systemd/system/cloakroom.service.d
for drop_in in audit-file client-certificate client-key connection-secret egress-proxy lock-memory \
    management-api-secret state watched-secret; do
    cp "/usr/share/doc/cloakroom/examples/systemd/$drop_in.conf" /run/systemd/system/cloakroom.service.d/
    verdict=$(systemd-analyze verify cloakroom.service 2>&1 | grep cloakroom) && fails "$drop_in.conf: $verdict"
    rm "/run/systemd/system/cloakroom.service.d/$drop_in.conf"
done
holds "nor of the drop-ins that this systemd, $(systemctl --version | awk 'NR == 1 { print $2 }'), is new enough for"
for unit in cloakroom.service cloakroom@.service; do
    verdict=$(systemd-analyze security --offline=true --threshold=12 "/usr/lib/systemd/system/$unit") ||
        fails "$(tail -n 1 <<<"$verdict")"
    holds "exposure: $(tail -n 1 <<<"$verdict" | grep --only-matching 'Overall.*[0-9]')"
done

# Starting.

listen
systemctl start cloakroom.service 2>/dev/null && fails "it starts without a secret"
is cloakroom.service ExecMainStatus 243 ||
    fails "without a secret: exit code $(property cloakroom.service ExecMainStatus)"
holds "without /etc/cloakroom/client_secret it does not start: 243/CREDENTIALS"
systemctl stop cloakroom.socket

tenant first
install -m 0400 first/client_secret /etc/cloakroom/client_secret
listen
systemctl start cloakroom.service 2>/dev/null && fails "it starts without a tenant"
is cloakroom.service ExecMainStatus 78 || fails "unfilled: exit code $(property cloakroom.service ExecMainStatus)"
is cloakroom.service NRestarts 0 || fails "it is started again, which mends nothing"
journalctl --sync
said cloakroom.service tenant.domain || fails "the journal does not say that tenant.domain is missing"
holds "the configuration as installed ends with 78 and names tenant.domain; it is not started again and again"
systemctl stop cloakroom.socket
systemctl reset-failed 'cloakroom*'

configure /etc/cloakroom/cloakroom.toml first
cloakroom check --online >check.log 2>&1 || { cat check.log; fails "check refuses the configuration"; }
holds "filled in, root's cloakroom check --online accepts it"

listen
# shellcheck disable=SC2154 # assigned by `tenant`
kill -STOP "$first_pid"
systemctl start cloakroom.service &
starting=$!
eventually 30 said cloakroom.service '"message":"Listening"' || fails "it does not start"
is cloakroom.service ActiveState activating || fails "active before the tenant has answered"
kill -CONT "$first_pid"
wait "$starting" || fails "systemctl start: $?"
as allowed cloakroom-clients cloakroom healthcheck --ready >ready.log || fails "started, and not ready: $(<ready.log)"
holds "systemctl start waits: activating while it listens and the tenant has not answered, ready when it returns"

systemctl --no-pager --full status cloakroom.service >status.log
grep --quiet 'Status: "Ready' status.log || fails "no sentence in systemctl status"
holds "systemctl status says: $(sed --quiet 's/^ *Status: //p' status.log)"

pid=$(property cloakroom.service MainPID)
uid=$(stat --format=%u "/proc/$pid")
[[ $uid -ge 61184 && $uid -le 65519 ]] || fails "uid $uid is none that systemd hands out"
secret=/run/credentials/cloakroom.service/client_secret
[[ $(stat --format='%a %u' "$secret") == "400 $uid" ]] || fails "the credential: $(stat --format='%a %u' "$secret")"
as "$uid" "$uid" cat /etc/cloakroom/client_secret 2>/dev/null && fails "the daemon's user can read root's file"
tr '\0' '\n' <"/proc/$pid/environ" >environ
grep --quiet --fixed-strings --file=first/client_secret environ && fails "the secret is in the environment"
grep --quiet "SECRET_FILE=$secret" environ || fails "the daemon is not told of the credential"
holds "the secret came by LoadCredential: $secret, mode 0400, of uid $uid, which cannot read root's file"

# Callers.

answer=$(systemd-run --quiet --wait --pipe --property=User=allowed --property=Group=cloakroom-clients \
    cloakroom token "$user") || fails "an allowed service: exit code $?"
[[ $answer == "$token" ]] || fails "an allowed service gets $answer"
holds "a service with Group=cloakroom-clients gets its token"
code=0
refusal=$(systemd-run --quiet --wait --pipe --property=User=member --property=SupplementaryGroups=cloakroom-clients \
    cloakroom token "$user" 2>&1) || code=$?
[[ $code == 5 && $refusal == *4202* ]] || fails "a member: exit code $code, $refusal"
holds "one that only may connect is refused, by its real uid: ${refusal#error: }"
code=0
refusal=$(as outsider outsider cloakroom token "$user" 2>&1) || code=$?
[[ $code == 5 ]] || fails "an outsider: exit code $code, $refusal"
holds "whoever is not in the group cannot connect: ${refusal#error: }"
[[ $(stat --format='%A %U %G' "$socket") == 'srw-rw---- root cloakroom-clients' ]] ||
    fails "the socket: $(stat --format='%A %U %G' "$socket")"
holds "the socket is $(stat --format='%A %U:%G' "$socket"), in a directory $(stat --format='%A %U:%G' "${socket%/*}")"

# Reloading.

listen
sed --in-place 's|^#max_ttl .*|max_ttl = "5m"|' /etc/cloakroom/cloakroom.toml
systemctl reload cloakroom.service || fails "systemctl reload: $?"
is cloakroom.service ActiveState active || fails "after the reload it is $(property cloakroom.service ActiveState)"
journalctl --sync
said cloakroom.service cache.max_ttl || fails "the journal does not say that cache.max_ttl has changed"
holds "systemctl reload returns when it is done, and what changed is in the journal: cache.max_ttl"

listen
cp /etc/cloakroom/cloakroom.toml right.toml
sed --in-place 's|^max_ttl = .*|max_ttl = "5 minutes or so"|' /etc/cloakroom/cloakroom.toml
code=0
systemctl reload cloakroom.service 2>/dev/null || code=$?
[[ $code != 0 ]] || fails "a wrong configuration is reloaded"
journalctl --sync
said cloakroom.service cache.max_ttl || fails "the journal does not say what is wrong"
is cloakroom.service ActiveState active || fails "after the reload it is $(property cloakroom.service ActiveState)"
is cloakroom.service MainPID "$pid" || fails "the daemon is another one"
[[ $(as allowed cloakroom-clients cloakroom token "$user") == "$token" ]] || fails "it serves no more"
holds "a wrong configuration fails systemctl reload ($code), the journal names cache.max_ttl, and the daemon serves on"
cp right.toml /etc/cloakroom/cloakroom.toml
systemctl reload cloakroom.service || fails "the configuration that is right again: $?"
holds "and once mended it reloads again"

# Restarting.

# loop NUMBER: asks until the file `enough` is there; a line for each answer that is none.
loop() {
    local answered=0 answer
    until [[ -e enough ]]; do
        if answer=$(as allowed cloakroom-clients cloakroom token "$user" 2>&1) && [[ $answer == "$token" ]]; then
            answered=$((answered + 1))
        else
            echo "caller $1: $answer" >>refused
        fi
        echo "$answered" >"answered.$1"
        # For the sake of whoever is restarted.
        sleep 0.05
    done
}
answered() { awk '{ sum += $1 } END { print sum }' answered.*; }
at_least() { (($(answered) >= $1)); }
# across TIMES NAME COMMAND…: 20 callers go on asking while it runs.
across() {
    local loops=() pids=() after time
    rm -f enough refused answered.*
    for number in {1..20}; do
        echo 0 >"answered.$number"
        loop "$number" &
        loops+=($!)
    done
    eventually 60 at_least 20
    for ((time = 0; time < $1; time++)); do
        pid=$(property cloakroom.service MainPID)
        "${@:3}" >across.log 2>&1 || { cat across.log; fails "$2"; }
        pids+=("$(property cloakroom.service MainPID)")
        [[ ${pids[-1]} != "$pid" ]] || fails "$2: it is still the same daemon"
        after=$(($(answered) + 20))
        eventually 60 at_least "$after" || fails "$2: nobody is answered any more"
    done
    touch enough
    wait "${loops[@]}"
    [[ ! -e refused ]] || fails "$2: $(wc --lines <refused) errors, $(head -n 1 refused)"
    holds "$2 while 20 callers ask: $(answered) answers, no error; new daemons: ${pids[*]}"
}
across 3 "systemctl restart, three times," systemctl restart cloakroom.service
across 1 "the package is upgraded" dpkg --force-unsafe-io --install cloakroom.deb

# A start while Auth0 is away.

order first refuse
systemctl restart cloakroom.service || fails "it does not start without Auth0"
is cloakroom.service ActiveState active || fails "it is $(property cloakroom.service ActiveState)"
sentence=$(property cloakroom.service StatusText)
[[ -n $sentence && $sentence != Ready* ]] || fails "Auth0 is away, and systemctl status says: $sentence"
as allowed cloakroom-clients cloakroom healthcheck --ready >ready.log && fails "Auth0 is away: $(<ready.log)"
holds "it starts while Auth0 is away, and says so: $sentence"
order first clear
eventually 120 as allowed cloakroom-clients cloakroom healthcheck --ready >ready.log ||
    fails "Auth0 is back: $(<ready.log)"
says_ready() { [[ $(property cloakroom.service StatusText) == Ready* ]]; }
eventually 30 says_ready || fails "ready, and systemctl status says: $(property cloakroom.service StatusText)"
holds "and is ready by itself when Auth0 is back"

# The watchdog.

printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/cloakroom.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart cloakroom.service
pid=$(property cloakroom.service MainPID)
sleep 5
is cloakroom.service MainPID "$pid" || fails "a daemon that is well does not satisfy the watchdog"
listen
kill -STOP "$pid"
revived() { is cloakroom.service ActiveState active && ! is cloakroom.service MainPID "$pid"; }
answer=$(as allowed cloakroom-clients cloakroom token "$user") || fails "who asked a frozen daemon is not answered"
eventually 60 revived || fails "a frozen daemon is not replaced"
journalctl --sync
said cloakroom.service 'Watchdog timeout' || fails "it was not the watchdog"
[[ $(as allowed cloakroom-clients cloakroom token "$user") == "$token" ]] || fails "the new daemon does not serve"
holds "a daemon that is frozen is killed by the watchdog and replaced: $pid, then $(property cloakroom.service MainPID)"
rm /run/systemd/system/cloakroom.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart cloakroom.service

# Hardening.

pid=$(property cloakroom.service MainPID)
read_status() { sed --quiet "s/^$1:\s*//p" "/proc/$pid/status"; }
[[ $(read_status NoNewPrivs) == 1 && $(read_status Seccomp) == 2 ]] || fails "no seccomp or no NoNewPrivileges"
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    [[ $(read_status $set) == 0000000000000000 ]] || fails "$set is $(read_status $set)"
done
grep --quiet '^Max core file size  *0  *0 ' "/proc/$pid/limits" || fails "it may leave a core"
holds "the daemon has NoNewPrivs 1, Seccomp 2 ($(read_status Seccomp_filters) filters), no capability in any set, no core"
journalctl --no-pager --output=cat --unit=cloakroom.service | grep --quiet 'Sandboxed: nothing' ||
    fails "it is not in its own sandbox"
holds "its own sandbox works inside the unit's: $(journalctl --no-pager --output=cat --unit=cloakroom.service |
    grep --only-matching 'Sandboxed: nothing[^"]*' | tail -n 1)"

as allowed cloakroom-clients curl --silent --unix-socket "$socket" http://localhost/metrics >metrics
for metric in cpu_seconds_total open_fds max_fds resident_memory_bytes virtual_memory_bytes start_time_seconds; do
    grep --quiet "^process_$metric [0-9]" metrics ||
        fails "no process_$metric inside the unit: $(grep process_ metrics)"
done
holds "what it measures of itself can be read inside the unit: $(grep '^process_resident' metrics)"

# The same unit with another program, which has to lie where programs may lie.
mkdir /usr/lib/probe
cp "$(readlink --canonicalize /usr/bin/python3)" /usr/lib/probe/python
cp probe.py /usr/lib/probe/
# Where clouds keep the machine's credentials; here it is this machine.
ip address add 169.254.169.254/32 dev lo
/usr/lib/probe/python -m http.server --bind 169.254.169.254 80 >/dev/null 2>&1 &
metadata=$!
reachable() { (: >/dev/tcp/169.254.169.254/80) 2>/dev/null; }
eventually 30 reachable || fails "nothing listens on 169.254.169.254"
/usr/lib/probe/python /usr/lib/probe/probe.py >probe.free
sed --expression='/^Requires=\|^After=cloakroom\|^Restart\|^Watchdog\|^ExecReload=\|^NotifyAccess=/d' \
    --expression='s|^Type=.*|Type=oneshot|' \
    --expression='s|^ExecStart=.*|ExecStart=/usr/lib/probe/python /usr/lib/probe/probe.py|' \
    --expression='/^\[Install\]/,$d' /usr/lib/systemd/system/cloakroom.service >/run/systemd/system/probe.service
sed --in-place 's|^\[Service\]|[Service]\nStandardOutput=file:/test/probe.confined|' /run/systemd/system/probe.service
systemctl daemon-reload
systemctl start probe.service || fails "the probe does not run"
while read -r attempt free _; do
    confined=$(sed --quiet "s/^$attempt //p" probe.confined)
    [[ $confined == refused* ]] || fails "$attempt is ${confined:-not even tried}"
    # An attempt that is refused everywhere shows nothing.
    [[ $free == allowed ]] || fails "$attempt is $free without the unit, too: the probe is blunt"
done <probe.free
holds "refused in the unit, and allowed to root outside:" \
    "$(cut --delimiter=' ' --fields=1 probe.free | paste --serial --delimiters=' ')"
kill "$metadata"
ip address delete 169.254.169.254/32 dev lo
rm -r /usr/lib/probe /run/systemd/system/probe.service
systemctl daemon-reload

# Refresh tokens that rotate.

gitlab='oauth2|gitlab|4711'
head --bytes=32 /dev/urandom | base64 >/etc/cloakroom/state_key
chmod 0400 /etc/cloakroom/state_key
install -m 0400 first/connection_secret /etc/cloakroom/gitlab_secret
mkdir /etc/systemd/system/cloakroom.service.d
cp /usr/share/doc/cloakroom/examples/systemd/state.conf /etc/systemd/system/cloakroom.service.d/
cat >/etc/systemd/system/cloakroom.service.d/gitlab.conf <<'END'
[Service]
LoadCredential=gitlab_secret:/etc/cloakroom/gitlab_secret
Environment=CLOAKROOM_CONNECTION__0__REFRESH__SECRET_FILE=%d/gitlab_secret
END
# `configure` has set providers.ca_file with tenant.ca_file.
cat >>/etc/cloakroom/cloakroom.toml <<END
[[connection]]
name = "gitlab"
sources = ["identities", "refresh"]
[connection.refresh]
provider = "gitlab"
client_id = "demo-connection"
token_endpoint = "$(<first/token_endpoint)"
END
systemctl daemon-reload
renewed=()
for _ in 1 2; do
    # The tenant still stores the first refresh token, which is used up by then.
    systemctl restart cloakroom.service
    renewed+=("$(as allowed cloakroom-clients cloakroom token "$gitlab")") || fails "no token is renewed: exit code $?"
done
[[ ${renewed[0]} != "${renewed[1]}" ]] || fails "the second daemon has the token of the first"
state=/var/lib/cloakroom/state
[[ $(stat --format=%a --dereference "$state") == 600 ]] || fails "the state: $(stat --format='%a %u' "$state")"
grep --quiet --text --fixed-strings -e 4711 -e gitlab "$state" && fails "the state names a user or a connection"
holds "with the drop-in state.conf a refresh token for a single use outlives a restart, in $(readlink -f "$state")"
rm -r /etc/systemd/system/cloakroom.service.d
cp right.toml /etc/cloakroom/cloakroom.toml
systemctl daemon-reload
systemctl restart cloakroom.service

# A second tenant.

tenant second
configure /etc/cloakroom/acme.toml second
install -m 0400 second/client_secret /etc/cloakroom/acme.secret
systemctl enable --now cloakroom@acme.service 2>enable.log || fails "the second daemon does not start: $(<enable.log)"
other=/run/cloakroom-acme/cloakroom.sock
before=$(calls first)
[[ $(as allowed cloakroom-clients cloakroom token --socket "$other" --fresh "$user") == "$token" ]] ||
    fails "the second daemon does not serve"
[[ $(calls second) == users\ 1* && $(calls first) == "$before" ]] || fails "it does not ask its own tenant"
[[ $(as allowed cloakroom-clients cloakroom token "$user") == "$token" ]] || fails "the first daemon serves no more"
uid_of() { stat --format=%u "/proc/$(property "$1" MainPID)"; }
uids="$(uid_of cloakroom.service) and $(uid_of cloakroom@acme.service)"
[[ $(uid_of cloakroom.service) != "$(uid_of cloakroom@acme.service)" ]] || fails "the daemons' uids are $uids"
systemctl reload cloakroom@acme.service || fails "the second daemon does not reload"
holds "cloakroom@acme serves a second tenant beside the first: uids $uids, $socket and $other"

# Stopping.

systemctl stop cloakroom.service cloakroom.socket || fails "systemctl stop"
[[ $(property cloakroom.service Result,ExecMainStatus) == $'success\n0' ]] ||
    fails "it ends with $(property cloakroom.service Result,ExecMainStatus | paste --serial)"
[[ ! -e $socket ]] || fails "$socket is left"
code=0
refusal=$(as allowed cloakroom-clients cloakroom token "$user" 2>&1) || code=$?
[[ $code == 69 ]] || fails "without a daemon: exit code $code, $refusal"
holds "systemctl stop ends it with 0 and leaves no socket: ${refusal#error: }"
systemctl enable --now cloakroom.service 2>/dev/null || fails "it does not start again"

# An audit log in a file, for purge to find.
mkdir /etc/systemd/system/cloakroom.service.d
cp /usr/share/doc/cloakroom/examples/systemd/audit-file.conf /etc/systemd/system/cloakroom.service.d/
systemctl daemon-reload
systemctl restart cloakroom.service
as allowed cloakroom-clients cloakroom token --fresh "$user" >/dev/null
written() { grep --quiet '"operation":"token"' /var/log/cloakroom/audit.log; }
eventually 30 written || fails "audit-file.conf writes no audit log"
holds "with the drop-in audit-file.conf the audit log is in /var/log/cloakroom/audit.log"
rm -r /etc/systemd/system/cloakroom.service.d

# Removing.

dpkg --remove cloakroom >dpkg.log 2>&1 || { cat dpkg.log; fails "dpkg --remove"; }
[[ ! -e $socket && ! -e $other ]] || fails "a socket is left"
pgrep cloakroom >/dev/null && fails "a daemon is left"
[[ -e /etc/cloakroom/client_secret ]] || fails "removing takes the configuration away"
holds "dpkg --remove stops both daemons and their sockets, and keeps /etc/cloakroom"
dpkg --purge cloakroom >dpkg.log 2>&1 || { cat dpkg.log; fails "dpkg --purge"; }
inventory >after
grep --quiet '^/upper/etc/group$' before || fails "the inventory is none"
diff before after >left || fails "dpkg --purge leaves or takes: $(grep '^[<>]' left)"
diff group.before /etc/group >left || fails "dpkg --purge leaves or takes groups: $(<left)"
holds "dpkg --purge leaves no file, secrets and audit log included, and no group ($(wc --lines <after) paths compared)"

printf 'host: %d passed, 0 failed\n' "$count"
