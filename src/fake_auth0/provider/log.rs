//! The ordered log of redemptions. It contains no token and no secret.

use std::collections::VecDeque;

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

/// How many records the log keeps. A provider may run for weeks; tests look at far fewer.
const KEPT: usize = 100_000;

/// The redemptions so far.
#[derive(Default)]
pub(super) struct Log {
    records: VecDeque<RedemptionRecord>,
    /// The number of the oldest record that is kept.
    oldest: usize,
    /// The numbers of the requests under way.
    underway: Vec<usize>,
    most: usize,
}

impl Log {
    /// Records an arrival. Returns its number.
    pub fn begin(&mut self, record: RedemptionRecord) -> usize {
        let number = self.oldest + self.records.len();
        let position = record.position;
        self.records.push_back(record);
        if self.records.len() > KEPT {
            self.records.pop_front();
            self.oldest += 1;
        }
        self.underway.push(number);
        self.most = self.most.max(self.underway.len());
        let is_same = |other: &usize| position.is_some() && self.position(*other) == position;
        let same: Vec<_> = self.underway.iter().copied().filter(is_same).collect();
        if same.len() > 1 {
            same.into_iter().for_each(|number| self.note(number, |record| record.overlapped = true));
        }
        number
    }

    fn position(&self, number: usize) -> Option<Position> {
        self.records.get(number.checked_sub(self.oldest)?)?.position
    }

    /// Changes a record. A no-op if it is not kept any more.
    pub fn note(&mut self, number: usize, change: impl FnOnce(&mut RedemptionRecord)) {
        let index = number.checked_sub(self.oldest);
        if let Some(record) = index.and_then(|index| self.records.get_mut(index)) {
            change(record);
        }
    }

    /// Records the end of a request.
    pub fn end(&mut self, number: usize, answer: Answered) {
        self.underway.retain(|other| *other != number);
        self.note(number, |record| record.answer = answer);
    }

    /// Forgets every record, and the maximum.
    pub fn forget(&mut self) {
        self.oldest += self.records.len();
        self.records.clear();
        self.most = 0;
    }

    pub fn records(&self) -> impl Iterator<Item = &RedemptionRecord> {
        self.records.iter()
    }

    /// The largest number of requests that were under way at the same time.
    pub fn most(&self) -> usize {
        self.most
    }
}
