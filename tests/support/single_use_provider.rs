//! A provider that invalidates a refresh token when it redeems it, and kills all tokens of a family if one is used again
//! after its grace. It logs every request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is true of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It can be redeemed.
    Live,
    /// It was redeemed, first at this time of the provider's clock.
    Used(Duration),
    /// It is invalid for ever.
    Dead,
}

/// The provider. Cheap to clone; clones share its tokens.
#[derive(Clone, Debug, Default)]
pub struct Provider(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    tokens: BTreeMap<String, (u32, Truth)>,
    families: u32,
    now: Duration,
    grace: Duration,
    log: Vec<String>,
}

impl Provider {
    /// A provider that accepts a token once more within `grace` of its redemption.
    pub fn with_grace(grace: Duration) -> Self {
        Self(Arc::new(Mutex::new(State { grace, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first token of a new family, as of a login.
    pub fn log_in(&self) -> String {
        let mut state = self.state();
        state.families += 1;
        let family = state.families;
        state.issue(family)
    }

    /// Answers a request: the next token, or `None` for a refusal.
    pub fn redeem(&self, token: &str) -> Option<String> {
        let mut state = self.state();
        state.log.push(token.to_owned());
        let now = state.now;
        let (family, truth) = *state.tokens.get(token)?;
        match truth {
            Truth::Live => {
                state.tokens.insert(token.to_owned(), (family, Truth::Used(now)));
                Some(state.issue(family))
            }
            Truth::Used(first) if now - first < state.grace => Some(state.issue(family)),
            Truth::Used(_) => {
                state.kill(family);
                None
            }
            Truth::Dead => None,
        }
    }

    /// Logs a request that was not processed.
    pub fn receive(&self, token: &str) {
        self.state().log.push(token.to_owned());
    }

    /// Moves the provider's clock on.
    pub fn pass(&self, span: Duration) {
        self.state().now += span;
    }

    /// What is true of a token.
    pub fn truth(&self, token: &str) -> Truth {
        self.state().tokens[token].1
    }

    /// The tokens of all requests, in their order.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Whether any token can be redeemed.
    pub fn has_live_token(&self) -> bool {
        self.state().tokens.values().any(|(_, truth)| *truth == Truth::Live)
    }
}

impl State {
    fn issue(&mut self, family: u32) -> String {
        let token = format!("refresh-{family}-{}", self.tokens.len());
        self.tokens.insert(token.clone(), (family, Truth::Live));
        token
    }

    fn kill(&mut self, family: u32) {
        let tokens = self.tokens.values_mut().filter(|(of, _)| *of == family);
        tokens.for_each(|(_, truth)| *truth = Truth::Dead);
    }
}
