//! Bodies by example, made of the types that the daemon writes.

use cloakroom::api::error::Code;
use cloakroom::api::types::{
    CacheStatus, ChangeAnswer, FailureStatus, IdentitiesAnswer, IdentityAnswer, ListenerStatus, LookupCounts,
    ManagementTokenAnswer, ManagementTokenStatus, Problem, ReloadAnswer, Report, ReportAnswer, StateStatus,
    StatusAnswer, TokenAnswer, UpstreamFailure, UpstreamStatus,
};
use serde::Serialize;

/// A user of the demo.
pub const USER_ID: &str = "google-oauth2|103547991597142817347";

const ACCOUNT: &str = "103547991597142817347";
const FINGERPRINT: &str = "AcbMEesgM6L6tWQy";

/// The example of the type of that name, with its fields in their order.
pub fn of(name: &str) -> Option<String> {
    Some(match name {
        "TokenAnswer" => pretty(&TokenAnswer {
            user_id: USER_ID.into(),
            connection: "google-oauth2".into(),
            provider: "google-oauth2".into(),
            identity_user_id: ACCOUNT.into(),
            access_token: "ya29.EXAMPLE".into(),
            access_token_secret: None,
            token_type: "Bearer".into(),
            expires_at: Some("2026-11-22T03:59:07Z".into()),
            expires_in: Some(3538),
            expiry_basis: "login".into(),
            source: "identities".into(),
            scopes: None,
            fetched_at: "2026-11-22T03:00:08Z".into(),
            fingerprint: FINGERPRINT.into(),
        }),
        "IdentitiesAnswer" => pretty(&IdentitiesAnswer {
            user_id: USER_ID.into(),
            blocked: false,
            fetched_at: "2026-11-22T03:00:08Z".into(),
            identities: vec![IdentityAnswer {
                connection: "google-oauth2".into(),
                provider: "google-oauth2".into(),
                identity_user_id: ACCOUNT.into(),
                is_social: true,
                token: "available".into(),
                expires_at: Some("2026-11-22T03:59:07Z".into()),
                expiry_basis: "login".into(),
            }],
        }),
        "Report" => pretty(&Report { fingerprint: FINGERPRINT.into() }),
        "ReportAnswer" => pretty(&ReportAnswer { outcome: "dropped".into() }),
        "ManagementTokenAnswer" => pretty(&ManagementTokenAnswer {
            access_token: "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl".into(),
            token_type: "Bearer".into(),
            expires_at: Some("2026-11-23T03:00:07Z".into()),
            expires_in: Some(86399),
            scopes: Some(["read:users", "read:user_idp_tokens"].map(str::to_owned).to_vec()),
        }),
        "ReloadAnswer" => pretty(&ReloadAnswer {
            changed: vec![ChangeAnswer {
                key: "cache.max_ttl".into(),
                from: Some("10m".into()),
                to: Some("5m".into()),
            }],
            needs_restart: Vec::new(),
            warnings: Vec::new(),
        }),
        "Problem" => pretty(&problem()),
        "StatusAnswer" => pretty(&status()),
        _ => return None,
    })
}

fn pretty(body: &impl Serialize) -> String {
    serde_json::to_string_pretty(body).unwrap()
}

fn problem() -> Problem {
    let spec = Code::UserNotFound.spec();
    Problem {
        kind: format!("urn:cloakroom:problem:{}", spec.name),
        title: spec.title.into(),
        status: spec.status.as_u16(),
        code: spec.name.into(),
        detail: "check the id: it is Auth0's user_id, and after account linking only the primary account's id exists"
            .into(),
        request_id: "716d8783-22".into(),
        ..Problem::default()
    }
}

fn status() -> StatusAnswer {
    StatusAnswer {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: "2026-11-22T03:00:07Z".into(),
        uptime_seconds: 3600,
        ready: true,
        draining: false,
        tenant: "acme.eu.auth0.com".into(),
        management_token: ManagementTokenStatus {
            valid: true,
            expires_at: Some("2026-11-23T03:00:07Z".into()),
            next_refresh_at: Some("2026-11-22T04:05:07Z".into()),
            last_success_at: Some("2026-11-22T03:00:07Z".into()),
            scopes: Some(["read:users", "read:user_idp_tokens"].map(str::to_owned).to_vec()),
            missing_scopes: Vec::new(),
            refusal: None,
            failure: Some(FailureStatus {
                detail: "acme.eu.auth0.com did not answer within tenant.request_timeout".into(),
                permanent: false,
                attempts: 1,
            }),
        },
        management_api: Some(ManagementTokenStatus {
            valid: true,
            expires_at: Some("2026-11-23T03:00:08Z".into()),
            next_refresh_at: Some("2026-11-22T22:10:08Z".into()),
            last_success_at: Some("2026-11-22T03:00:08Z".into()),
            scopes: Some(["read:users", "update:users"].map(str::to_owned).to_vec()),
            missing_scopes: Vec::new(),
            refusal: None,
            failure: None,
        }),
        client_certificate: None,
        cache: CacheStatus { entries: 212, bytes: 217_088, max_bytes: 67_108_864 },
        lookups: LookupCounts { hit: 1195, miss: 212, stale: 0, negative: 7, error: 0 },
        upstream: UpstreamStatus {
            token_requests: 2,
            user_requests: 219,
            key_requests: 0,
            exchange_requests: 0,
            failures: 1,
            last_failure: Some(UpstreamFailure {
                at: "2026-11-22T04:00:02Z".into(),
                detail: "acme.eu.auth0.com did not answer within tenant.request_timeout".into(),
            }),
            flights_joined: 3,
            gate_closed_for: None,
            waiting: 0,
            ratelimit_remaining: Some(49),
            thrifty: false,
            clock_skew_seconds: 0.2,
        },
        sources: Vec::new(),
        state: Some(StateStatus { trouble: None, records: 41, unwritten: 0, oldest_unwritten_seconds: None }),
        listeners: vec![ListenerStatus {
            path: "/run/cloakroom/cloakroom.sock".into(),
            connections: 4,
            streams: 1,
        }],
    }
}
