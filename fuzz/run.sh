#!/usr/bin/env bash
# run.sh SECONDS: builds every fuzz target and runs each for its share, one after the other; ends at the first input
# that breaks something. In a mood for more: cargo fuzz run, as README.md shows.
set -euo pipefail
cd "$(dirname "$0")"

# A target, and how many shares of the time it gets.
targets=(request:4 config:2 upstream_user:2 upstream_token:1 upstream_headers:1 pattern:1 user_id:1 jwks:1 user_token:1)

# No sanitizer: there is no unsafe code of ours, the stable compiler does, and it is twice as fast. No cfg(fuzzing): what
# is tried is what is shipped. Sixteen parts are compiled in half the time of one.
flags=(--sanitizer none --no-cfg-fuzzing --codegen-units 16)

seconds=${1:?how many seconds altogether}
shares=0
for target in "${targets[@]}"; do shares=$((shares + ${target#*:})); done

# cargo-fuzz cannot be told that the lock file is as it should be.
cargo metadata --locked --format-version 1 >/dev/null
cargo fuzz build "${flags[@]}"

# Sockets and logs; libFuzzer ends without tidying up.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

for target in "${targets[@]}"; do
    share=${target#*:} target=${target%:*}
    corpus=(corpus/"$target" seeds/"$target")
    # The fixtures are inputs as they are.
    if [[ $target == config ]]; then corpus+=(../tests/config/good ../tests/config/bad); fi
    options=(-max_total_time=$((seconds * share / shares)) -timeout=20 -rss_limit_mb=1024)
    if [[ -f dictionaries/$target.dict ]]; then options+=(-dict=dictionaries/"$target".dict); fi
    mkdir -p corpus/"$target"
    log=$TMPDIR/$target.log
    if ! cargo fuzz run "${flags[@]}" "$target" "${corpus[@]}" -- "${options[@]}" >"$log" 2>&1; then
        # Its last words, without those on how libFuzzer came to them.
        grep -av $'^#[0-9]*\t' "$log" | tail -n 120
        echo "fuzz: $target has found something; fuzz/README.md says what to do" >&2
        exit 1
    fi
    printf '%-17s from %s\n%-17s to   %s\n' "$target" "$(grep -a 'INITED' "$log" | tail -n 1)" '' "$(grep -a 'DONE' "$log" | tail -n 1)"
done
