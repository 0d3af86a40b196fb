#!/usr/bin/env bash
# Builds the package, boots a systemd of its own in a container over this machine's files, and has inside.sh prove there
# what the package promises. Nothing of it reaches this machine: what is written lands in memory, and goes at the end.
# Takes root, and the right to mount.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}

if [[ $(id -u) != 0 ]]; then
    echo "This test boots a systemd in a container, which takes root." >&2
    # In `make check` a test that does not run is a failure.
    if [[ -n ${CLOAKROOM_REQUIRE_ALL:-} ]]; then exit 1; fi
    exit 0
fi

# What has been built for the other tests; an operator's package is made of the profile `release`.
cargo build --locked --bin cloakroom --example tenant
built=$(bash deploy/deb/build.sh dev built)
deb=$(tail -n 1 <<<"$built")
echo "package: $(head -n 1 <<<"$built")"
lintian --allow-root --fail-on error,warning "$deb"
echo "lintian: no error and no warning"

scratch=$(mktemp -d)
mount -t tmpfs -o size=2g tmpfs "$scratch"
trap 'umount --lazy "$scratch/root" 2>/dev/null || true; umount --lazy "$scratch"; rmdir "$scratch"' EXIT
mkdir "$scratch"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"

root=$scratch/root
: >"$root/etc/machine-id"
mkdir "$root/test"
cp "$deb" "$root/test/cloakroom.deb"
cp "$target/debug/examples/tenant" tests/host/{inside.sh,probe.py} "$root/test/"
# Images for containers have this forbid that packages start anything.
rm -f "$root/usr/sbin/policy-rc.d"
# Of this machine's own units none is started, and none of the package's either until it is installed.
rm -rf "$root"/etc/systemd/system/{multi-user,sockets,timers}.target.wants "$root"/etc/cloakroom \
    "$root"/etc/systemd/system/cloakroom*
cat >"$root/etc/systemd/system/test.target" <<'END'
[Unit]
Requires=basic.target
After=basic.target
Wants=test.service dbus.service
END
cat >"$root/etc/systemd/system/test.service" <<'END'
[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
TimeoutStartSec=300
ExecStart=/bin/bash /test/inside.sh
StandardOutput=append:/test/report
StandardError=inherit
ExecStopPost=/bin/sh -c "systemctl --no-block exit $EXIT_STATUS"
END

: >"$root/test/report"
# nspawn's own filter would hide Landlock from the daemon, and be what refuses the probe. IPAddressDeny= works in the
# unified hierarchy only.
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout 600 systemd-nspawn --quiet --register=no --keep-unit \
    --directory="$root" --machine=cloakroom-test --bind-ro="$scratch/upper:/upper" --private-network --capability=all \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self bpf @keyring @aio" \
    --boot --console=pipe systemd.unit=test.target </dev/null >"$scratch/console" 2>&1 &
container=$!
tail --follow --lines=+1 --pid="$container" --sleep-interval=0.2 "$root/test/report"
outcome=0
wait "$container" || outcome=$?
if [[ $outcome != 0 ]]; then
    echo "The container ended with $outcome; its console:"
    tail -n 30 "$scratch/console"
    exit 1
fi
