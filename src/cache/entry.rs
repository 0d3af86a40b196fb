//! An entry: what is cached of one user, and what it answers to a lookup at a given moment. No I/O and no clock.

use std::mem::size_of;
use std::time::Duration;

use crate::config::Negative;
use crate::domain::error::LookupError;
use crate::domain::freshness::{Deadline, Freshness, Moment, Schedule, Terms};
use crate::domain::identity::{Identity, IdpToken, KnownExpiry, NoSelection, Profile, TokenPlace};
use crate::domain::source::OverReason;
use crate::domain::user::{Selector, UserId};
use crate::secret::Tag;

use super::source::Fetched;

mod renewal;

/// Bytes that an entry takes besides its own: moka's nodes and queues, the hash table, reference counts, and what the
/// allocator rounds up. The figure is measured; `tests/bounded.rs` checks it.
const OVERHEAD: usize = 400;

/// The most expiries that are kept of tokens that an answer lacks, each of another account. Few users have as many.
const MOST_MISSING: usize = 64;

/// One answer of Auth0 about one user, and what else is known of its tokens.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `None`: Auth0 has no such user.
    profile: Option<Profile>,
    sent: Moment,
    tokens_withheld: bool,
    /// What is known from earlier answers and from reports. Almost always absent.
    history: Option<Box<History>>,
}

/// What an entry knows from earlier answers and reports. In a box of its own, so that entries without it are smaller.
#[derive(Clone, Debug)]
struct History {
    /// Tokens of this answer that their providers refused, as clients have reported.
    refused: Vec<RefusedToken>,
    /// Whether Auth0 has been asked since the latest report. Until then it may have a newer token.
    is_asked: bool,
    /// Expiries of tokens that this answer lacks and does not replace. The tokens may come back.
    missing: Vec<KnownExpiry>,
}

/// A token that was reported because its provider refused it.
#[derive(Clone, Copy, Debug)]
pub struct RefusedToken {
    /// Which token.
    pub fingerprint: Tag,
    /// When it was reported, on the elapsed clock without the time that this clock is known to have missed.
    pub at: Duration,
}

/// How long an entry may be used.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Tokens and identities.
    pub terms: Terms,
    /// Facts that are answered instead of a token.
    pub negative: Negative,
}

/// What an entry answers.
#[derive(Debug)]
pub struct Judgement<F> {
    /// The answer as far as the entry knows. It never offers an expired token, nor a refused one.
    pub outcome: Result<F, LookupError>,
    /// The outcome's freshness, which decides whether it may be answered or Auth0 has to be asked.
    pub freshness: Freshness,
}

/// The state of a user as a whole.
#[derive(Clone, Copy, Debug)]
pub struct UserState {
    /// Auth0 has blocked the user.
    pub is_blocked: bool,
}

impl RefusedToken {
    /// Whether the user has certainly logged in since the report: then the token works again, though Auth0 sends the
    /// same one. `logged_in` is the earliest moment of the last login, on the clock of [`Self::at`]. Time that the
    /// clock has missed may lie before the report or after it; it is not counted, which makes the login earlier.
    pub fn is_lifted(self, logged_in: Option<Duration>) -> bool {
        logged_in.is_some_and(|logged_in| logged_in > self.at)
    }
}

impl Entry {
    /// The entry for an answer of Auth0.
    pub fn new(fetched: Fetched) -> Self {
        let Fetched { profile, sent, tokens_withheld, logged_in: _ } = fetched;
        Self { profile, sent, tokens_withheld, history: None }
    }

    /// Whether Auth0 has such a user.
    pub fn has_user(&self) -> bool {
        self.profile.is_some()
    }

    /// When the request to Auth0 was sent.
    pub fn sent(&self) -> Moment {
        self.sent
    }

    /// Whether one of the tokens that `shown` shows has this fingerprint.
    pub fn holds(&self, fingerprint: Tag, shown: &Selector) -> bool {
        self.tokens(shown).any(|token| token.fingerprint == fingerprint)
    }

    /// Whether `shown` shows any of its tokens.
    pub fn shows_a_token(&self, shown: &Selector) -> bool {
        self.tokens(shown).next().is_some()
    }

    /// The token with this fingerprint, and its [`Identity::account`].
    pub fn find_token(&self, fingerprint: Tag) -> Option<(u64, IdpToken<'_>)> {
        let tokens = self.identities().iter().filter_map(|identity| Some((identity, identity.token()?)));
        let mut found = tokens.filter(|(_, token)| token.fingerprint == fingerprint);
        found.next().map(|(identity, token)| (identity.account(), token))
    }

    /// Whether Auth0 has another token of this `account` in place of the one with this fingerprint. The absence of a
    /// token shows nothing, whatever other accounts have: it may be withheld or unreadable, and the user may come back.
    pub fn replaces(&self, fingerprint: Tag, account: u64) -> bool {
        let has_one =
            |identity: &Identity| identity.stored_token().is_some() && identity.account() == account;
        !self.sends(fingerprint) && self.identities().iter().any(has_one)
    }

    /// Whether Auth0 stores the token with this fingerprint.
    fn sends(&self, fingerprint: Tag) -> bool {
        let mut stored = self.identities().iter().filter_map(Identity::stored_token);
        stored.any(|token| token.fingerprint == fingerprint)
    }

    /// Whether the token with this fingerprint was reported as refused.
    pub fn is_refused(&self, fingerprint: Tag) -> bool {
        self.refusals().iter().any(|refusal| refusal.fingerprint == fingerprint)
    }

    /// Whether one of its tokens was reported after Auth0 was asked. Auth0 may have a newer token since.
    pub fn is_before_a_report(&self) -> bool {
        self.history.as_ref().is_some_and(|history| !history.refused.is_empty() && !history.is_asked)
    }

    fn refusals(&self) -> &[RefusedToken] {
        self.history.as_ref().map_or(&[], |history| &history.refused)
    }

    fn missing(&self) -> &[KnownExpiry] {
        self.history.as_ref().map_or(&[], |history| &history.missing)
    }

    /// A copy of this entry with one more token that is known to be refused.
    pub fn with_refused(&self, refusal: RefusedToken) -> Self {
        let mut refused = self.refusals().to_vec();
        refused.push(refusal);
        let history = History { refused, is_asked: false, missing: self.missing().to_vec() };
        Self { history: Some(Box::new(history)), ..self.clone() }
    }

    /// Inherits what the entry `before` and the reports kept beside the entries know of the tokens. A token that Auth0
    /// sends again expires no later than was known, and a refused token stays refused unless the user has logged in
    /// since, at `logged_in` at the earliest. `is_asked`: Auth0 was asked after the latest report. Tokens that other
    /// sources have issued are kept while they are valid at `now`.
    pub fn inherit(
        &mut self,
        before: Option<&Self>,
        reported: &[RefusedToken],
        logged_in: Option<Duration>,
        is_asked: bool,
        (rules, now): (&Rules, Moment),
    ) {
        let missing = self.keep_expiries(before);
        let mut refused: Vec<RefusedToken> = Vec::new();
        for refusal in before.map(Self::refusals).into_iter().flatten().chain(reported) {
            let is_known = refused.iter().any(|known| known.fingerprint == refusal.fingerprint);
            let is_here = self.sends(refusal.fingerprint);
            if is_here && !is_known && !refusal.is_lifted(logged_in) {
                refused.push(*refusal);
            }
        }
        let is_empty = refused.is_empty() && missing.is_empty();
        self.history = (!is_empty).then(|| Box::new(History { refused, is_asked, missing }));
        if let Some(before) = before {
            self.keep_issued(before, reported, rules, now);
        }
    }

    /// Keeps the expiry of the token that Auth0 stores for `identity`, in whose place another source's token is now.
    fn set_aside(&mut self, identity: &Identity) {
        let Some(known) =
            identity.known_expiry().filter(|known| !self.holds(known.fingerprint, &Selector::default()))
        else {
            return;
        };
        let nothing = || Box::new(History { refused: Vec::new(), is_asked: true, missing: Vec::new() });
        let missing = &mut self.history.get_or_insert_with(nothing).missing;
        if missing.len() < MOST_MISSING && !missing.iter().any(|one| one.fingerprint == known.fingerprint) {
            missing.push(known);
        }
    }

    /// Marks the reports as asked about.
    fn was_asked(&mut self) {
        if let Some(history) = &mut self.history {
            history.is_asked = true;
        }
    }

    /// Gives tokens the earliest expiries that are known of them, and returns the expiries of tokens that are missing.
    fn keep_expiries(&mut self, before: Option<&Self>) -> Vec<KnownExpiry> {
        let Some(before) = before else { return Vec::new() };
        let mut missing = Vec::new();
        let stated = before.profile.iter().flat_map(Profile::known_expiries);
        for known in stated.chain(before.missing().iter().copied()) {
            if let Some(profile) = &mut self.profile {
                profile.keep_expiry(&known);
            }
            let is_missing = !self.holds(known.fingerprint, &Selector::default());
            if is_missing && !self.replaces(known.fingerprint, known.account) && missing.len() < MOST_MISSING
            {
                missing.push(known);
            }
        }
        missing
    }

    /// The answer at `now` to a lookup of the token that `selector` means, which has to be valid for `min_ttl`.
    pub fn judge_token(
        &self,
        selector: &Selector,
        min_ttl: Duration,
        rules: &Rules,
        now: Moment,
    ) -> Judgement<TokenPlace> {
        match self.find_servable(selector, min_ttl, rules, now) {
            Ok((place, expires)) => {
                let known = self.known(place, expires, rules, now);
                let is_due =
                    known.freshness == Freshness::Fresh && place.is_renewal_due(self.identities(), now);
                Judgement { freshness: if is_due { Freshness::RefreshDue } else { known.freshness }, ..known }
            }
            Err(fact) => self.judge_lack(fact, selector, rules, now),
        }
    }

    /// The answer at `now` to a lookup of all identities.
    pub fn judge_identities(&self, rules: &Rules, now: Moment) -> Judgement<UserState> {
        match &self.profile {
            Some(profile) => self.known(UserState { is_blocked: profile.blocked }, None, rules, now),
            None => self.fact(LookupError::UserNotFound, self.sent, rules, now),
        }
    }

    fn known<F>(&self, found: F, expires: Option<Deadline>, rules: &Rules, now: Moment) -> Judgement<F> {
        let schedule = Schedule { sent: self.sent, expires, terms: rules.terms };
        Judgement { outcome: Ok(found), freshness: schedule.at(now) }
    }

    /// A fact that is known since the moment `since`.
    fn fact<F>(&self, fact: LookupError, since: Moment, rules: &Rules, now: Moment) -> Judgement<F> {
        let known = since.age(now) < remembered(&fact, rules) && !self.must_ask(&fact);
        let freshness = if known { Freshness::Fresh } else { Freshness::Expired };
        Judgement { outcome: Err(fact), freshness }
    }

    /// The token that `selector` means and its expiry, or the fact that is the answer instead.
    fn find_servable(
        &self,
        selector: &Selector,
        min_ttl: Duration,
        rules: &Rules,
        now: Moment,
    ) -> Result<(TokenPlace, Option<Deadline>), LookupError> {
        let profile = self.profile.as_ref().ok_or(LookupError::UserNotFound)?;
        if profile.blocked {
            return Err(LookupError::UserBlocked);
        }
        let place = profile.find(selector).map_err(|why| match why {
            NoSelection::IdentityNotFound(connections) => LookupError::IdentityNotFound(connections),
            NoSelection::NoToken => LookupError::NoToken { withheld: self.tokens_withheld },
            NoSelection::Ambiguous(candidates) => LookupError::Ambiguous(candidates),
        })?;
        // A user may log in at any time, so Auth0 is asked again, but not at every lookup.
        let retry_after = rules.negative.login_required.saturating_sub(self.sent.age(now));
        if self.history.is_some() && self.is_refused(place.fingerprint()) {
            let reason = OverReason::Reported;
            return Err(LookupError::LoginRequired { reason, expired_at: None, retry_after });
        }
        let Some(expires) = place.expires() else { return Ok((place, None)) };
        if rules.terms.is_over(expires, now) {
            let (reason, expired_at) = (OverReason::Expired, Some(expires.wall()));
            return Err(LookupError::LoginRequired { reason, expired_at, retry_after });
        }
        let left = expires.remaining(now);
        if left < min_ttl {
            return Err(LookupError::MinTtlUnsatisfiable { left, retry_after });
        }
        Ok((place, Some(expires)))
    }

    /// Whether the fact is a report that Auth0 has not been asked about yet.
    fn must_ask(&self, fact: &LookupError) -> bool {
        let reported = matches!(fact, LookupError::LoginRequired { reason: OverReason::Reported, .. });
        reported && self.is_before_a_report()
    }

    fn tokens(&self, shown: &Selector) -> impl Iterator<Item = IdpToken<'_>> {
        let identities = self.identities().iter().filter(|identity| shown.shows(identity.connection()));
        identities.filter_map(Identity::token)
    }

    /// The user's identities; none where Auth0 has no such user.
    pub fn identities(&self) -> &[Identity] {
        self.profile.as_ref().map(|profile| profile.identities.as_slice()).unwrap_or_default()
    }

    /// Bytes that `user` and this entry take in the cache.
    pub fn weight(&self, user: &UserId) -> u32 {
        let profile = self.profile.as_ref().map_or(0, Profile::apart);
        let history = self.history.as_ref().map_or(0, |history| {
            let (refused, missing) = (history.refused.as_slice(), history.missing.as_slice());
            size_of::<History>() + size_of_val(refused) + size_of_val(missing)
        });
        let own = size_of::<Self>() + size_of::<UserId>();
        u32::try_from(OVERHEAD + own + user.as_str().len() + profile + history).unwrap_or(u32::MAX)
    }
}

fn remembered(fact: &LookupError, rules: &Rules) -> Duration {
    match fact {
        LookupError::UserNotFound => rules.negative.user_not_found,
        LookupError::LoginRequired { .. }
        | LookupError::ConnectRequired { .. }
        | LookupError::MinTtlUnsatisfiable { .. } => rules.negative.login_required,
        _ => rules.negative.no_token,
    }
}

#[cfg(test)]
mod tests;
