#!/usr/bin/env bash
# run.sh SECONDS: builds every fuzz target and runs each for its share of the time, as many at once as there are
# processors. Fails if one of them finds something. FUZZ_SEED makes luck repeatable; without it, every run has its own.
# In a mood for more: cargo fuzz run, as README.md shows.
set -euo pipefail
cd "$(dirname "$0")"

# A target, and how many shares of the time it gets; the most first.
targets=(request:4 config:2 upstream_user:2 upstream_token:1 upstream_headers:1 vault_exchange:1 jwks:1 discovery:1 user_token:1 state_record:1 pattern:1 user_id:1 provider_answer:1 verdict:1 proxy_headers:1 proxy_links:1 target:1)

# README.md says why.
flags=(--sanitizer none --no-cfg-fuzzing --codegen-units 16)

# run.sh SECONDS TARGET: one target that is built.
if [[ $# == 2 ]]; then
    seconds=$1 target=$2
    corpus=(corpus/"$target" seeds/"$target")
    # The fixtures are inputs as they are.
    if [[ $target == config ]]; then corpus+=(../tests/config/good ../tests/config/bad); fi
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -seed="${FUZZ_SEED:-0}")
    if [[ -f dictionaries/$target.dict ]]; then options+=(-dict=dictionaries/"$target".dict); fi
    mkdir -p corpus/"$target"
    log=$TMPDIR/$target.log
    if ! cargo fuzz run "${flags[@]}" "$target" "${corpus[@]}" -- "${options[@]}" >"$log" 2>&1; then
        # Its last words, without those on how libFuzzer came to them.
        grep -avE $'^(#[0-9]+\t|\tNEW_FUNC)' "$log" | tail -n 120 >&2
        echo "fuzz: $target has found something; fuzz/README.md says what to do" >&2
        exit 1
    fi
    for what in INITED DONE; do
        printf '%-17s%s\n' "$target" "$(grep -a "^#[0-9]*[[:space:]]$what" "$log" | tail -n 1)"
    done
    exit 0
fi

processors=$(nproc)
# With more, the first target alone would outlast the others together.
if ((processors > 3)); then processors=3; fi
shares=0
for target in "${targets[@]}"; do shares=$((shares + ${target#*:})); done

# cargo-fuzz cannot be told that the lock file is as it should be.
cargo metadata --locked --format-version 1 >/dev/null
cargo fuzz build "${flags[@]}"

# For sockets and logs; libFuzzer ends without tidying up.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

for target in "${targets[@]}"; do
    echo "$(($1 * processors * ${target#*:} / shares)) ${target%:*}"
done | xargs -P "$processors" -L 1 ./run.sh
