//! The daemon's state for probes, for `status`, and as a sentence for the service manager.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use crate::domain::error::FailureClass;
use crate::domain::retry::whole_seconds;
use crate::domain::source::SourceStanding;
use crate::management::ManagementSnapshot;

use super::state::Services;
use super::types::{
    CacheStatus, ClientCertificateStatus, FailureStatus, ListenerStatus, LookupCounts, ManagementTokenStatus,
    SourceStatus, StateStatus, StatusAnswer, UpstreamFailure, UpstreamStatus,
};

impl Services {
    /// The text of the startup probe: whether the first Management token was obtained, else why not.
    pub(super) fn started(&self) -> Result<Cow<'static, str>, String> {
        if self.management.has_started() {
            Ok("started".into())
        } else {
            Err(self.why_no_token("not started"))
        }
    }

    /// The text of the readiness probe: whether lookups can be answered, else why not. Sends no request.
    pub(super) fn ready(&self) -> Result<Cow<'static, str>, String> {
        if self.is_draining() {
            return Err("not ready: shutting down".into());
        }
        match self.management.snapshot(self.clock.now()).valid {
            true => Ok(self.counters.state.trouble().map_or("ready".into(), |trouble| {
                format!("ready, but the state file cannot be used: {trouble}").into()
            })),
            false => Err(self.why_no_token("not ready")),
        }
    }

    /// The state of the daemon in a sentence, for `systemctl status`.
    pub fn sentence(&self) -> String {
        if self.is_draining() {
            return "Shutting down: finishing requests under way".to_owned();
        }
        let (now, counters) = (self.clock.now(), &self.counters);
        let token = self.management.snapshot(now);
        let Some(expires_at) = token.expires_at.filter(|_| token.valid) else {
            return self.why_no_token("Not ready");
        };
        let mut sentence = format!("Ready: Management token valid until {expires_at}");
        if let Some((failure, attempts)) = token.failure {
            sentence.push_str(&format!(", not renewed after {attempts} attempts: {failure}"));
        }
        if let Some(wait) = (self.budget)(now).gate_closed_for {
            sentence.push_str(&format!("; the tenant's rate limit is reached for {} s", whole_seconds(wait)));
        }
        if let Some(trouble) = counters.state.trouble() {
            sentence.push_str(&format!("; the state file cannot be used: {trouble}"));
        }
        let from_cache = [&counters.hits, &counters.stale].map(|counter| counter.get()).iter().sum::<u64>();
        let asked = [&counters.misses, &counters.negatives, &counters.errors].map(|counter| counter.get());
        let all = asked.iter().sum::<u64>().saturating_add(from_cache);
        let users = self.cache.size().0;
        sentence.push_str(&format!("; {users} user{} cached", if users == 1 { "" } else { "s" }));
        match from_cache.saturating_mul(100).checked_div(all) {
            Some(share) => sentence.push_str(&format!("; lookups: {all}, {share} % of them from the cache")),
            None => sentence.push_str("; no lookups yet"),
        }
        sentence
    }

    fn why_no_token(&self, state: &str) -> String {
        match self.management.snapshot(self.clock.now()).failure {
            Some((failure, _)) => format!("{state}: no Management token: {failure}"),
            None => format!("{state}: no Management token yet"),
        }
    }

    pub(super) fn status(&self) -> StatusAnswer {
        let now = self.clock.now();
        let token = self.management.snapshot(now);
        let (entries, bytes) = self.cache.size();
        let (counters, budget) = (&self.counters, (self.budget)(now));
        StatusAnswer {
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: self.started.wall.to_string(),
            uptime_seconds: self.started.age(now).as_secs(),
            ready: token.valid && !self.is_draining(),
            draining: self.is_draining(),
            tenant: self.tenant.to_string(),
            management_token: management_token(token),
            management_api: self.management_api.snapshot(now).map(management_token),
            client_certificate: counters
                .certificate_expiry()
                .map(|at| ClientCertificateStatus { expires_at: at.to_string(), expired: at <= now.wall }),
            cache: CacheStatus { entries, bytes, max_bytes: self.cache.max_bytes() },
            lookups: LookupCounts {
                hit: counters.hits.get(),
                miss: counters.misses.get(),
                stale: counters.stale.get(),
                negative: counters.negatives.get(),
                error: counters.errors.get(),
            },
            upstream: UpstreamStatus {
                token_requests: counters.token_requests.get(),
                user_requests: counters.user_requests.get(),
                key_requests: counters.key_requests.get(),
                exchange_requests: counters.exchange_requests.get(),
                failures: counters.upstream_failures.get(),
                last_failure: counters
                    .last_upstream_failure()
                    .map(|(at, detail)| UpstreamFailure { at: at.to_string(), detail }),
                flights_joined: counters.flights_joined.get(),
                gate_closed_for: budget.gate_closed_for.map(whole_seconds),
                waiting: budget.waiting as u64,
                ratelimit_remaining: budget.remaining,
                thrifty: budget.thrifty,
                clock_skew_seconds: counters.skew_millis() as f64 / 1e3,
            },
            sources: (self.sources)().into_iter().map(source).collect(),
            state: counters.state.standing().map(|standing| StateStatus {
                trouble: standing.trouble,
                records: standing.records,
                unwritten: standing.unwritten as u64,
                oldest_unwritten_seconds: standing.oldest_unwritten.map(|since| since.age(now).as_secs()),
            }),
            listeners: self
                .listeners
                .iter()
                .map(|listener| ListenerStatus {
                    path: listener.path.display().to_string(),
                    connections: listener.connections.load(Ordering::Relaxed),
                    streams: listener.streams.load(Ordering::Relaxed),
                })
                .collect(),
        }
    }
}

fn management_token(token: ManagementSnapshot) -> ManagementTokenStatus {
    ManagementTokenStatus {
        valid: token.valid,
        expires_at: token.expires_at.map(|at| at.to_string()),
        next_refresh_at: token.next_attempt_at.map(|at| at.to_string()),
        last_success_at: token.last_success.map(|at| at.to_string()),
        scopes: token.scopes,
        missing_scopes: token.missing_scopes.into_iter().map(str::to_owned).collect(),
        refusal: token.refusal.map(|why| why.to_string()),
        failure: token.failure.map(|(failure, attempts)| FailureStatus {
            detail: failure.to_string(),
            permanent: failure.class() == FailureClass::Permanent,
            attempts,
        }),
    }
}

fn source(standing: SourceStanding) -> SourceStatus {
    SourceStatus {
        connection: standing.connection.to_string(),
        source: standing.source.as_str().into(),
        host: standing.host.to_string(),
        misconfigured: standing.fault.map(|fault| fault.to_string()),
    }
}
