//! What a simulated provider has seen, and which of its tokens are alive.

use std::collections::HashMap;

use crate::domain::freshness::Moment;

use super::FakeProvider;
use super::log::RedemptionRecord;

impl FakeProvider {
    /// Every request to the token endpoint so far, in the order of arrival.
    pub fn redemptions(&self) -> Vec<RedemptionRecord> {
        self.state().log.records().cloned().collect()
    }

    /// The requests that presented a refresh token of `user`.
    pub fn redemptions_of(&self, user: &str) -> Vec<RedemptionRecord> {
        let state = self.state();
        state.log.records().filter(|record| record.user.as_deref() == Some(user)).cloned().collect()
    }

    /// Waits until `condition` holds of the requests so far.
    pub async fn until(&self, condition: impl Fn(&[RedemptionRecord]) -> bool) {
        let mut changes = self.0.changes.subscribe();
        while !condition(&self.redemptions()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Forgets the requests so far. Those under way are not logged any more.
    pub fn forget_redemptions(&self) {
        self.state().log.forget();
    }

    /// How often the refresh token that was presented most often was presented.
    pub fn most_presented(&self) -> usize {
        let state = self.state();
        let mut counts = HashMap::new();
        for position in state.log.records().filter_map(|record| record.position) {
            *counts.entry(position).or_insert(0) += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }

    /// The largest number of redemptions that were under way at the same time.
    pub fn max_concurrent(&self) -> usize {
        self.state().log.most()
    }

    /// How many requests were not for the token endpoint.
    pub fn strays(&self) -> usize {
        self.state().strays
    }

    /// Whether the provider's API accepts the access token now.
    pub fn is_alive(&self, access_token: &str) -> bool {
        self.is_alive_at(access_token, self.0.clock.now())
    }

    /// Whether the provider's API accepts the access token at this moment of its clock, by what is known now.
    pub fn is_alive_at(&self, access_token: &str, at: Moment) -> bool {
        self.state().families.is_alive(access_token, at)
    }

    /// Whether a redemption of the refresh token would succeed now.
    pub fn is_redeemable(&self, refresh_token: &str) -> bool {
        let now = self.0.clock.now();
        let state = self.state();
        state.families.is_redeemable(refresh_token, &state.options.rules, now)
    }
}
