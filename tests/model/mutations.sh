#!/usr/bin/env bash
# Breaks the daemon on purpose, one rule at a time, and expects a history to notice. Prints a table.
#
# usage: mutations.sh [name …]; CLOAKROOM_MODEL_CASES is how many histories each has (4000 unless set)
set -euo pipefail
cd "$(dirname "$0")/../.."
export CLOAKROOM_MODEL_CASES=${CLOAKROOM_MODEL_CASES:-4000} RUST_BACKTRACE=0

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# Next to the tests' own, so that dependencies are compiled once.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/mutants}
survivors=0
names=("$@")
# Which test has to notice: cargo's arguments, and a filter of the test's name.
target=(--test model) filter=no_history_breaks

# mutant NAME FILE FROM TO: replaces one place in the file, given as fixed text that may span lines.
mutant() {
    local name=$1 file=$2
    if [[ ${#names[@]} -gt 0 && " ${names[*]} " != *" $name "* ]]; then return; fi
    rm -rf "$copy/tree" && mkdir "$copy/tree"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -pt "$copy/tree"
    FROM=$3 TO=$4 perl -0pi -e '
        BEGIN { $n = 0 } $n += s/\Q$ENV{FROM}\E/$ENV{TO}/;
        END { $n == 1 or die "the text to be replaced is not there\n" }' "$copy/tree/$file"
    touch "$copy/tree/$file"
    local log=$copy/log verdict
    if ! (cd "$copy/tree" && cargo test --quiet --locked "${target[@]}" --no-run) > "$log" 2>&1; then
        cat "$log" >&2
        echo "$name does not compile" >&2
        exit 1
    fi
    local outcome=0
    (cd "$copy/tree" && timeout 300 cargo test --quiet --locked "${target[@]}" -- "$filter") > "$log" 2>&1 || outcome=$?
    if [[ $outcome == 0 ]]; then
        verdict="**survived** $CLOAKROOM_MODEL_CASES histories |"
        survivors=$((survivors + 1))
    elif [[ $outcome == 124 ]]; then
        verdict='? | a history that never ends'
    else
        # The rule that was broken is the last part of the line after the number of histories.
        verdict=$(awk '/^broken after/ { n = $3; getline; sub(/^(step [0-9]+|at the end): /, "")
            sub(/.* is answered .*: /, ""); printf "%s | %s", n, substr($0, 1, 90); exit }' "$log")
        # Other tests than the model say which of them failed.
        if [[ -z $verdict ]]; then verdict="- | $(awk '/^test .* FAILED$/ { print $2; exit }' "$log")"; fi
    fi
    echo "| $name | $verdict |"
}

echo '| mutation | caught after histories | by |'
echo '|---|---|---|'

# Guarantee 1: freshness.
mutant expiry-itself-is-alive src/domain/freshness.rs \
    'remaining.is_zero() || remaining < self.min_ttl' 'remaining < self.min_ttl'
mutant min-ttl-of-the-configuration-ignored src/domain/freshness.rs \
    'remaining.is_zero() || remaining < self.min_ttl' 'remaining.is_zero()'
mutant one-millisecond-too-late src/domain/freshness.rs \
    'remaining.is_zero() || remaining < self.min_ttl' \
    'remaining.is_zero() || remaining + Duration::from_millis(1) < self.min_ttl'
mutant min-ttl-of-the-caller-ignored src/cache/entry.rs 'if left < min_ttl {' 'if left < min_ttl && false {'
mutant wall-clock-alone src/domain/freshness.rs \
    'self.wall.since(now.wall).min(self.elapsed.saturating_sub(now.elapsed))' 'self.wall.since(now.wall)'
mutant elapsed-clock-alone src/domain/freshness.rs \
    'self.wall.since(now.wall).min(self.elapsed.saturating_sub(now.elapsed))' \
    'self.elapsed.saturating_sub(now.elapsed)'
mutant date-not-used src/transport/response.rs \
    'Some(date) if date > timing.received.wall => {' \
    'Some(date) if date > timing.received.wall && false => {'
mutant stale-beyond-max-stale src/domain/freshness.rs \
    '|| age > self.terms.servable_for {' '|| age > self.terms.servable_for.saturating_mul(2) {'
mutant age-counts-from-the-answer src/upstream/client.rs 'Ok((parsed, timing.sent))' 'Ok((parsed, timing.received))'

mutant expiry-moves-with-the-login src/domain/identity.rs \
    'self.expires = Some(expires.not_later_than(known.expires));' 'self.expires = Some(expires);'
mutant lost-time-is-not-counted src/clock.rs \
    'self.lost.millis.store(lost, Ordering::Relaxed);' 'let _ = lost;'

# Guarantee 2: whose.
mutant any-user-is-believed src/upstream/wire.rs \
    'if wire.user_id.given() != Some(user.as_str()) {' 'if wire.user_id.given().is_none() {'
mutant first-of-several-tokens src/domain/identity/selection.rs '(Some(only), None) => Ok(only),' \
    '(Some(only), _) => Ok(only),'

# Guarantee 3: waiting, facts and reports.
mutant hit-asks-again src/domain/freshness.rs 'age > self.terms.fresh_for {' 'age >= self.terms.fresh_for / 2 {'
mutant outage-is-waited-for-again src/cache/fetch.rs \
    'if self.backoff.is_expected(query.user()) {' 'if false {'
mutant slow-tenant-is-waited-for src/cache/fetch.rs \
    'const STALE_TIMEOUT: Duration = Duration::from_secs(1);' 'const STALE_TIMEOUT: Duration = Duration::from_secs(2);'
mutant stale-without-asking src/cache/fetch.rs \
    'if self.backoff.is_expected(query.user()) {' 'if true {'
mutant stale-waits-in-the-queue src/cache/fetch.rs \
    'Priority::Management | Priority::Caller => self.source.fetch(user.clone(), for_whom),
                Priority::Stale |' 'Priority::Management | Priority::Caller | Priority::Stale => self.source.fetch(user.clone(), for_whom),
               '
mutant stale-that-died-meanwhile src/cache/fetch.rs \
    'servable.then(|| Served::new(query' 'Some(servable).map(|_| Served::new(query'
mutant negative-answer-never-expires src/cache/entry.rs \
    'since.age(now) < remembered(&fact, rules) &&' 'since == since && remembered(&fact, rules) > Duration::ZERO &&'
mutant negative-answer-a-little-too-long src/cache/entry.rs \
    'since.age(now) < remembered' 'since.age(now) <= remembered'
mutant any-404-is-a-fact src/upstream/wire.rs \
    '(StatusCode::NOT_FOUND, "inexistent_user")' '(StatusCode::NOT_FOUND, _)'
mutant report-without-compare src/cache/entry.rs \
    'self.tokens(shown).any(|token| token.fingerprint == fingerprint)' 'self.tokens(shown).any(|_| true) || fingerprint == fingerprint'
mutant report-forgotten-by-the-next-answer src/cache/entry.rs \
    'if is_here && !is_known &&' 'if is_here && !is_known && false &&'
mutant report-lost-with-its-entry src/cache/landing.rs \
    'let reported = self.refusals.of(user, &entry, logged_in);' 'let reported = Vec::new();'
mutant report-lost-by-a-second-one src/cache/landing.rs 'if self.obsolete.is_void() {
                    // The flight' 'if self.obsolete.get() {
                    // The flight'
mutant report-that-no-login-lifts src/cache/entry.rs \
    'logged_in.is_some_and(|logged_in| logged_in > self.at)' 'logged_in.is_some_and(|_| false)'
mutant report-that-any-login-lifts src/cache/entry.rs \
    'logged_in.is_some_and(|logged_in| logged_in > self.at)' 'logged_in.is_some()'
mutant page-passes-for-a-refused-token src/upstream/wire.rs \
    '        _ if !error.is_from_management_api(answer.status) => Err(answer.unexpected_status()),
' ''
mutant one-users-failure-is-everybodys src/cache/backoff.rs \
    '(true, Stage::User) if class != FailureClass::Throttled => {
                self.outage.store(false,' \
    '(true, Stage::User) if class != FailureClass::Throttled => {
                self.outage.store(true,'
mutant report-without-asking src/cache/entry.rs '&& !self.must_ask(&fact);' ';'
mutant report-unseen-by-a-flight-under-way src/cache.rs \
    '        self.flights.outdate(user);
        // One step' '        // One step'
mutant purge-unseen-by-a-flight-under-way src/cache.rs \
    '        self.flights.void(user);
' ''
mutant purge-of-all-leaves-flights src/cache.rs '        self.flights.void_all();
' ''

# Guarantee 4: flights.
mutant flight-tied-to-its-first-caller src/flight.rs \
    '        task::spawn("flight", async move {' \
    '        let land = Arc::new(land);
        let seen = Arc::clone(&land);
        task::spawn("flight", async move {
            // The map holds one receiver, and the first caller another.
            let alone = async move { while seen.receiver_count() > 1 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await; } };
            let fetch = async move {
                tokio::select! { biased; v = fetch => v, () = alone => std::future::pending().await } };'
mutant no-sharing src/flight.rs 'let free = self.limit.saturating_sub(flights.len());' \
    'flights.remove(&key);
        let free = self.limit.saturating_sub(flights.len());'
mutant failed-flight-leaves-its-key src/flight.rs '            drop(guard);
' '            std::mem::forget(guard);
'

# Guarantee 5: the budget.
mutant bucket-refills-twice-as-fast src/domain/token_bucket.rs \
    'self.counted.age(now).as_secs_f64() * self.per_second' 'self.counted.age(now).as_secs_f64() * 2.0 * self.per_second'
mutant bucket-without-a-bound src/domain/token_bucket.rs '(self.level + gained).min(self.burst)' 'self.level + gained'
mutant gate-ignored-by-grants src/upstream/budget.rs \
    'let mut waiter = Waiter::new(' 'if priority == Priority::Management {
            inner.lock().under_way += 1;
            return Ok(BudgetPermit(Arc::clone(inner)));
        }
        let mut waiter = Waiter::new('
mutant gate-of-grants-open-for-users src/upstream/client.rs \
    'StatusCode::TOO_MANY_REQUESTS => {' \
    'StatusCode::TOO_MANY_REQUESTS if !answer.headers.contains_key("pragma") && answer.date().is_some_and(|_| true) && answer.headers.contains_key("retry-after") => {'
mutant reset-by-the-own-clock src/upstream/rate_limit_headers.rs \
    'let now = self.date().unwrap_or(timing.received.wall);
        self.retry_after(timing).or_else' 'let now = timing.received.wall;
        self.retry_after(timing).or_else'
mutant gate-may-be-no-time-at-all src/upstream/pace.rs \
    'let wait = asked.unwrap_or(doubled).clamp(SHORTEST_ASKED_FOR, LONGEST_ASKED_FOR);' \
    'let wait = asked.unwrap_or(doubled).min(LONGEST_ASKED_FOR);'
mutant refusals-never-double src/upstream/pace.rs '1 << self.refusals_in_a_row.min(6)' '1'
mutant concurrency-unbounded src/upstream/budget.rs \
    '|| self.under_way >= self.settings.max_concurrency {' '|| self.under_way >= self.settings.max_concurrency * 2 {'
mutant jitter-shortens src/upstream/pace.rs '1.0 + JITTER * chance' '1.0 - JITTER * chance'

# Guarantee 10: the order of a redemption, and what ends one.
filter=no_history_of_renewals
mutant token-is-sent-without-an-intent src/domain/redemption.rs \
    'if !self.is_single() {
            return Step::Redeem(Box::new(self));' \
    'if !self.is_single() || self.earlier == 0 {
            return Step::Redeem(Box::new(self));'
mutant intent-is-not-waited-for src/state.rs \
    'match self.store(key, storing.chain(), storing.is_intent(), &obsolete).await {' \
    'let is_intent = storing.is_intent();
                    let outcome = if is_intent { Outcome::Durable } else { self.store(key, storing.chain(), is_intent, &obsolete).await };
                    match outcome {'
mutant token-is-handed-out-before-its-result-is-stored src/state.rs \
    'match self.store(key, storing.chain(), storing.is_intent(), &obsolete).await {' \
    'let is_intent = storing.is_intent();
                    let outcome = if is_intent { self.store(key, storing.chain(), is_intent, &obsolete).await } else { Outcome::Durable };
                    match outcome {'
mutant result-that-is-not-stored-is-handed-out src/domain/redemption.rs \
    'let failed = if is_lost_if_unstored { unstored() } else { issued.clone() };' \
    'let failed = if is_lost_if_unstored && false { unstored() } else { issued.clone() };'
mutant purge-burns src/cache.rs \
    '    pub fn purge(&self, user: &UserId) {
' '    pub fn purge(&self, user: &UserId) {
        let forgetting = self.issuer.forget(user.clone());
        crate::task::spawn("burns", async move { drop(forgetting.await) });
'
mutant purge-of-all-burns src/cache.rs \
    '    pub fn purge_all(&self) {
' '    pub fn purge_all(&self) {
        let forgetting = self.issuer.forget_all();
        crate::task::spawn("burns", async move { drop(forgetting.await) });
'
mutant refusal-is-believed-without-asking-auth0 src/domain/redemption.rs \
    'store(Chain { refusal, ..self.chain }, Redeemed::AskAuth0, Redeemed::AskAuth0)' \
    'store(Chain { refusal, ..self.chain }, Redeemed::Over(reason), Redeemed::Over(reason))'
mutant lack-is-believed-of-an-old-answer src/cache/issuing.rs \
    'is_final: is_confirmed || !is_old,' 'is_final: is_confirmed || !is_old || true,'
mutant misconfigured-is-dead src/domain/redemption.rs \
    'Redemption::Misconfigured(fault) => self.without_effect(Redeemed::Misconfigured(fault)),' \
    'Redemption::Misconfigured(_) => self.refused(OverReason::RefreshRefused, now),'
mutant retry-without-a-bound src/domain/redemption.rs \
    'const MOST_ATTEMPTS: u8 = 2;' 'const MOST_ATTEMPTS: u8 = 3;'
mutant lost-answer-is-refused src/domain/redemption.rs \
    '_ if self.is_single() && self.earlier > 0 => OverReason::RefreshLost,' \
    '_ if self.is_single() && self.earlier > 0 && false => OverReason::RefreshLost,'
mutant login-is-not-adopted src/domain/redemption.rs \
    'token.hash() != self.origin && asked.elapsed >= self.since' 'token.hash() != self.origin && asked.elapsed < self.since'

exit $((survivors > 0))
