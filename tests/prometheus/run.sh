#!/usr/bin/env bash
# Alerts, dashboard and runbook against a real Prometheus that scrapes a real daemon. `make prometheus` calls this; names
# of tests may follow, as in `bash tests/prometheus/run.sh test_live`.
set -euo pipefail
cd "$(dirname "$0")/../.."

for program in prometheus promtool curl; do
    command -v "$program" >/dev/null || {
        echo "error: there is no $program: \`make setup\` installs it" >&2
        exit 1
    }
done

cargo build --locked --bin cloakroom --example tenant
cd tests/prometheus
# Debian's Python, for which tests/install.sh installs PyYAML; another one that stands before it on the path has none.
if [[ $# == 0 ]]; then set -- test_rules test_dashboard test_live; fi
exec /usr/bin/python3 -B -m unittest --verbose "$@"
