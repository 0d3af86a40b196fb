//! Rows of `table.rs` about clients' own calls of the Management API.

use super::samples::flag;
use super::spec::{Kind, MetricSpec, Samples, Scrape};
use crate::domain::error::Failure;
use crate::management::ManagementSnapshot;

pub(super) const TOKEN_VALID: MetricSpec = MetricSpec {
    name: "cloakroom_management_api_token_valid",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while the daemon has a valid token of [management_api], so that calls of the Management API can go out",
    note: "Absent without `[management_api]`.",
    read: |scrape| of_keeper(scrape, |keeper| keeper.valid),
};

pub(super) const SCOPE_REFUSED: MetricSpec = MetricSpec {
    name: "cloakroom_management_api_scope_refused",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while no calls of the Management API go out because of the scopes that the token would have",
    note: "Absent without `[management_api]`. The log names the scope.",
    read: |scrape| {
        of_keeper(scrape, |keeper| match &keeper.failure {
            Some((Failure::Denied(refusal), _)) => refusal.is_of_scopes(),
            _ => false,
        })
    },
};

/// No sample without `[management_api]`.
fn of_keeper(scrape: &Scrape<'_>, is: impl FnOnce(&ManagementSnapshot) -> bool) -> Samples {
    scrape.management_api.as_ref().map(|keeper| flag(is(keeper))).unwrap_or_default()
}
