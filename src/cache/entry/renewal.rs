//! What an entry says about tokens that other sources than Auth0 issue.

use std::time::Duration;

use crate::cache::issuer::{NewToken, SourceAnswer, Wanted};
use crate::domain::error::LookupError;
use crate::domain::freshness::{Freshness, Moment};
use crate::domain::identity::{Identity, IdpToken, Lack, LackReason, TokenPlace};
use crate::domain::retry::Backoff;
use crate::domain::source::{OverReason, Source};
use crate::domain::user::{Selector, UserId};

use super::{Entry, Judgement, RefusedToken, Rules};

/// For how long the sources of an identity are not asked again after they failed.
const BETWEEN_FAILURES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

impl Entry {
    /// What the sources have to be asked before a lookup of the token that `selector` means can be answered; `None` if
    /// they do not have to be asked, or only after Auth0.
    pub fn wanted(
        &self,
        user: &UserId,
        selector: &Selector,
        min_ttl: Duration,
        rules: &Rules,
        now: Moment,
    ) -> Option<Wanted> {
        let identity = self.issuable(selector)?;
        let may_ask = identity.lack().is_none_or(|lack| lack.may_be_asked(now));
        let serves = identity.token().is_some_and(|token| {
            let is_enough = token.has_left(min_ttl, now) || is_new(identity, rules, now);
            is_enough && self.is_servable(&token, rules, now)
        });
        (may_ask && !serves).then(|| self.wanted_for(user, identity, rules, now))
    }

    /// What the sources are asked for a newer token while the one that `selector` means is still valid; `None` if that
    /// is not due, or has just failed.
    pub fn wanted_ahead(
        &self,
        user: &UserId,
        selector: &Selector,
        rules: &Rules,
        now: Moment,
    ) -> Option<Wanted> {
        let identity = self.issuable(selector).filter(|identity| identity.is_renewal_due(now))?;
        let may_ask = identity.lack().is_none_or(|lack| lack.may_be_asked(now));
        may_ask.then(|| self.wanted_for(user, identity, rules, now))
    }

    /// Since when the sources wait for an answer of Auth0 to a later request; `None` if they do not.
    pub fn waits_for_auth0(&self, selector: &Selector) -> Option<Moment> {
        let lack = self.issuable(selector).and_then(Identity::lack);
        lack.filter(|lack| lack.why == LackReason::AskAuth0).map(|lack| lack.since)
    }

    /// The answer to a lookup for which this entry has only `fact`, where other sources may have a token.
    pub(super) fn judge_lack(
        &self,
        fact: LookupError,
        selector: &Selector,
        rules: &Rules,
        now: Moment,
    ) -> Judgement<TokenPlace> {
        let may_be_issued = matches!(
            fact,
            LookupError::LoginRequired { .. }
                | LookupError::NoToken { .. }
                | LookupError::MinTtlUnsatisfiable { .. }
        );
        let identity = self.issuable(selector).filter(|_| may_be_issued);
        let Some(identity) = identity else { return self.fact(fact, self.sent, rules, now) };
        let ask = |fact| Judgement { outcome: Err(fact), freshness: Freshness::Expired };
        let Some(lack) = identity.lack() else {
            let LookupError::MinTtlUnsatisfiable { left, .. } = fact else { return ask(fact) };
            let Some(since) = identity.issued_at().filter(|_| is_new(identity, rules, now)) else {
                return ask(fact);
            };
            let retry_after = rules.negative.login_required.saturating_sub(since.age(now));
            return self.fact(LookupError::MinTtlUnsatisfiable { left, retry_after }, since, rules, now);
        };
        // The sources were asked after Auth0.
        let since = lack.since;
        let retry_after = rules.negative.login_required.saturating_sub(since.age(now));
        match &lack.why {
            LackReason::Nothing => self.fact(fact, since, rules, now),
            LackReason::Over(reason) => {
                let fact = LookupError::LoginRequired { reason: *reason, expired_at: None, retry_after };
                self.fact(fact, since, rules, now)
            }
            LackReason::NotConnected => {
                self.fact(LookupError::ConnectRequired { retry_after }, since, rules, now)
            }
            LackReason::AskAuth0 => ask(fact),
            LackReason::Failed(error) if lack.may_be_asked(now) => ask(LookupError::Source(error.clone())),
            LackReason::Failed(error) => {
                let left = lack.quiet.saturating_sub(since.age(now));
                let outcome = Err(LookupError::Source(error.clone().with_wait(left)));
                Judgement { outcome, freshness: Freshness::Fresh }
            }
        }
    }

    /// A copy of this entry with what the sources have answered for `account` at `now`; `None` if that changes nothing:
    /// the account is gone, the user is blocked, or a login has brought a better token meanwhile. `reported` are tokens
    /// that clients have reported.
    pub fn with_answer(
        &self,
        account: u64,
        answer: &SourceAnswer,
        reported: &[RefusedToken],
        (rules, now): (&Rules, Moment),
        seed: u64,
    ) -> Option<Self> {
        let mut entry = self.clone();
        let profile = entry.profile.as_mut().filter(|profile| !profile.blocked)?;
        let identity = profile.identities.iter_mut().find(|identity| identity.account() == account)?;
        let before = identity.clone();
        let refused = match answer {
            SourceAnswer::Token(token) => reported.iter().find(|one| one.fingerprint == token.fingerprint),
            SourceAnswer::Stored | SourceAnswer::Lack(_) => None,
        };
        *identity = match answer {
            SourceAnswer::Token(token) if self.is_better(&before, token, rules, now) => return None,
            SourceAnswer::Token(token) => {
                let issued = before.with_issued(token.as_idp_token(), token.received, token.is_renewed_ahead);
                match refused {
                    None => issued,
                    // The sources have none but the one that a client has reported.
                    Some(_) => issued.lacking(Lack {
                        why: LackReason::Over(OverReason::Reported),
                        since: now,
                        quiet: Duration::MAX,
                        attempts: 0,
                    }),
                }
            }
            SourceAnswer::Stored => before.with_stored()?,
            SourceAnswer::Lack(why) => {
                let failures = before.lack().filter(|lack| lack.is_failure());
                let attempts = failures.map_or(0, |lack| lack.attempts);
                let wait = BETWEEN_FAILURES.waits(seed).nth(attempts.min(16)).unwrap_or_default();
                let quiet = match why {
                    LackReason::Failed(error) => wait.max(error.retry_after()),
                    _ => Duration::MAX,
                };
                let attempts = attempts.saturating_add(1);
                // Without a token of another source, what Auth0 stores is the one to speak of, though it has expired.
                let is_over = !before.token().is_some_and(|token| self.is_servable(&token, rules, now));
                let stored = before.with_stored().filter(|_| is_over && *why == LackReason::Nothing);
                stored.unwrap_or_else(|| before.clone()).lacking(Lack {
                    why: why.clone(),
                    since: now,
                    quiet,
                    attempts,
                })
            }
        };
        if let SourceAnswer::Token(_) = answer {
            entry.set_aside(&before);
        }
        if let Some(refused) = refused {
            entry = entry.with_refused(*refused);
            entry.was_asked();
        }
        Some(entry)
    }

    /// Keeps the tokens of the entry `before` that sources have issued and that are still to be used.
    pub(super) fn keep_issued(
        &mut self,
        before: &Self,
        reported: &[RefusedToken],
        rules: &Rules,
        now: Moment,
    ) {
        let is_refused = |token: &IdpToken<'_>| {
            let is_reported = reported.iter().any(|refused| refused.fingerprint == token.fingerprint);
            is_reported || before.is_refused(token.fingerprint) || self.is_refused(token.fingerprint)
        };
        let is_servable = |token: &IdpToken<'_>| token.is_alive(&rules.terms, now) && !is_refused(token);
        let identities = self.identities().iter().enumerate();
        let kept: Vec<(usize, Identity)> = identities
            .filter(|(_, identity)| identity.sources().issues())
            .filter_map(|(index, identity)| {
                let account = identity.account();
                let known = before.identities().iter().find(|known| known.account() == account)?;
                Some((index, identity.clone().after(known, is_servable)))
            })
            .collect();
        for (index, identity) in kept {
            let place = self.profile.as_mut().and_then(|profile| profile.identities.get_mut(index));
            let Some(place) = place else { continue };
            let sent = std::mem::replace(place, identity);
            self.set_aside(&sent);
        }
    }

    /// The identity that `selector` means, if other sources than Auth0 may have its token.
    fn issuable(&self, selector: &Selector) -> Option<&Identity> {
        let profile = self.profile.as_ref().filter(|profile| !profile.blocked)?;
        let (_, identity) = profile.find_identity(selector).ok()?;
        Some(identity).filter(|identity| identity.sources().issues())
    }

    /// Whether the token that Auth0 stores for `identity` is to be used rather than `token`, because a login has
    /// brought it while the sources were asked.
    fn is_better(&self, identity: &Identity, token: &NewToken, rules: &Rules, now: Moment) -> bool {
        let is_first = identity.sources().first() == Some(Source::Identities);
        let stored = identity.token().filter(|stored| stored.source == Source::Identities && is_first);
        stored.filter(|stored| self.is_servable(stored, rules, now)).is_some_and(|stored| {
            let ends = stored.expires.zip(token.expires);
            stored.expires.is_none() || ends.is_some_and(|(old, new)| new.later_than(old).is_zero())
        })
    }

    fn is_servable(&self, token: &IdpToken<'_>, rules: &Rules, now: Moment) -> bool {
        token.is_alive(&rules.terms, now) && !self.is_refused(token.fingerprint)
    }

    fn wanted_for(&self, user: &UserId, identity: &Identity, rules: &Rules, now: Moment) -> Wanted {
        let stored = identity.stored_token();
        Wanted {
            user: user.clone(),
            account: identity.account(),
            connection: identity.connection().to_owned(),
            identity_user_id: identity.user_id().to_owned(),
            sources: identity.sources(),
            is_stored_servable: stored.is_some_and(|token| self.is_servable(&token, rules, now)),
            refresh_token: identity.refresh_token().cloned(),
            asked: self.sent,
        }
    }
}

/// Whether the token was issued so recently that another one would not last longer.
fn is_new(identity: &Identity, rules: &Rules, now: Moment) -> bool {
    identity.issued_at().is_some_and(|received| received.age(now) < rules.negative.login_required)
}
