//! A provider that invalidates refresh tokens, and knows the truth about each.

use std::collections::BTreeMap;

use crate::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Truth {
    Live,
    /// Redeemed, first at this second.
    Used(u64),
    Revoked,
    /// Killed, because a token of its family was used again.
    Killed,
}

/// What became of one request, as far as the daemon can know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sent {
    Answered,
    Unknown,
    WithoutEffect,
}

#[derive(Default)]
pub(super) struct Provider {
    pub(super) tokens: BTreeMap<String, (u32, Truth)>,
    pub(super) families: u32,
    pub(super) sent: BTreeMap<String, Vec<Sent>>,
}

impl Provider {
    pub(super) fn log_in(&mut self) -> String {
        self.families += 1;
        self.issue(self.families)
    }

    pub(super) fn issue(&mut self, family: u32) -> String {
        let token = format!("{family}-{}", self.tokens.len());
        self.tokens.insert(token.clone(), (family, Truth::Live));
        token
    }

    pub(super) fn truth(&self, token: &Secret) -> Truth {
        self.tokens[token.expose()].1
    }

    /// Processes a redemption. `None` is a refusal.
    pub(super) fn redeem(&mut self, token: &Secret, now: u64, grace: u64, keep: bool) -> Option<String> {
        let (family, truth) = self.tokens[token.expose()];
        match truth {
            Truth::Live if keep => Some(token.expose().to_owned()),
            Truth::Live => {
                self.tokens.insert(token.expose().to_owned(), (family, Truth::Used(now)));
                Some(self.issue(family))
            }
            Truth::Used(first) if now - first < grace => Some(self.issue(family)),
            Truth::Used(_) => {
                self.end(|of| of == family, Truth::Killed);
                None
            }
            Truth::Revoked | Truth::Killed => None,
        }
    }

    pub(super) fn note(&mut self, token: &Secret, sent: Sent) {
        self.sent.entry(token.expose().to_owned()).or_default().push(sent);
    }

    pub(super) fn end(&mut self, of: impl Fn(u32) -> bool, how: Truth) {
        let tokens =
            self.tokens.values_mut().filter(|(family, truth)| of(*family) && *truth != Truth::Killed);
        tokens.for_each(|(_, truth)| *truth = how);
    }
}
