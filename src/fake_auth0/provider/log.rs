//! The ordered log of redemptions. It contains no token and no secret.

use hyper::StatusCode;

use crate::domain::freshness::Moment;

use super::position::Position;

/// One request to a provider's token endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct RedemptionRecord {
    /// When it arrived, by the provider's clock.
    pub at: Moment,
    /// The user whose refresh token it presented, if the provider knows the token.
    pub user: Option<String>,
    /// Which refresh token it presented, if the provider knows it.
    pub position: Option<Position>,
    /// Which of the accepted secrets the client authenticated with; `None` if it did not.
    pub secret: Option<usize>,
    /// The requested scope.
    pub scope: Option<String>,
    /// Whether the provider issued a token, and replaced the refresh token if that is its rule.
    pub processed: bool,
    /// What the client can have received.
    pub answer: Answered,
    /// Whether the same refresh token was presented by another request that was under way.
    pub overlapped: bool,
}

/// What a client can have received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing: the request is under way, its answer was lost or cut, or the client has hung up.
    Nothing,
    /// A token.
    Token,
    /// The provider's refusal, by the code in its answer.
    Refusal(&'static str),
    /// A failure with this status, which says nothing about the request.
    Failure(StatusCode),
}

/// The redemptions so far.
#[derive(Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    most: usize,
}

struct Entry {
    underway: bool,
    record: RedemptionRecord,
}

impl Log {
    /// Records an arrival. Returns its number.
    pub fn begin(&mut self, record: RedemptionRecord) -> usize {
        let position = record.position;
        self.entries.push(Entry { underway: true, record });
        let underway = self.entries.iter().filter(|entry| entry.underway).count();
        self.most = self.most.max(underway);
        let alike =
            |entry: &&mut Entry| entry.underway && position.is_some() && entry.record.position == position;
        if self.entries.iter_mut().filter(alike).count() > 1 {
            self.entries.iter_mut().filter(alike).for_each(|entry| entry.record.overlapped = true);
        }
        self.entries.len() - 1
    }

    /// Changes a record that is under way.
    pub fn note(&mut self, number: usize, change: impl FnOnce(&mut RedemptionRecord)) {
        if let Some(entry) = self.entries.get_mut(number) {
            change(&mut entry.record);
        }
    }

    /// Records the end of a request.
    pub fn end(&mut self, number: usize, answer: Answered) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.underway = false;
            entry.record.answer = answer;
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &RedemptionRecord> {
        self.entries.iter().map(|entry| &entry.record)
    }

    /// The largest number of requests that were under way at the same time.
    pub fn most(&self) -> usize {
        self.most
    }
}
