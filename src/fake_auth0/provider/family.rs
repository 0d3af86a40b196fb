//! Families of refresh tokens, and the access tokens that were issued for them. The time is an argument.
//!
//! A family begins with a user's consent. Its refresh tokens are numbered from 0, the one of the consent.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::source::Rotation;

use super::dialect::Dialect;
use super::position::Position;
use super::rules::{OldAccessToken, TokenRules};
use super::token_text;

/// All families of a provider.
pub(super) struct Families {
    dialect: Dialect,
    /// The end of every text that is issued.
    mark: String,
    families: Vec<Family>,
    /// Family and generation of each refresh token.
    positions: HashMap<String, Position>,
    access_tokens: HashMap<String, AccessToken>,
    issued: u64,
}

struct Family {
    user: String,
    refresh_tokens: Vec<RefreshToken>,
    /// When it was revoked.
    ended: Option<Moment>,
}

struct RefreshToken {
    text: String,
    issued: Moment,
    /// When it was first redeemed and replaced.
    replaced: Option<Moment>,
}

struct AccessToken {
    family: usize,
    issued: Moment,
    /// On the elapsed clock; `None` is never.
    ends: Option<Duration>,
}

/// What a consent or a redemption has issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The refresh token that is valid from now on.
    pub refresh_token: String,
    /// The access token.
    pub access_token: String,
    /// Its lifetime in seconds, if answers state it.
    pub expires_in: Option<u64>,
    /// Which refresh token `refresh_token` is.
    pub position: Position,
    /// Whether it differs from the one that was redeemed.
    pub(super) is_new: bool,
}

/// Why a refresh token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dead {
    /// No such token.
    Unknown,
    /// The family was revoked.
    Ended,
    /// The token was redeemed before, longer ago than the grace.
    Reused,
}

impl Families {
    pub fn new(dialect: Dialect, mark: String) -> Self {
        Self {
            dialect,
            mark,
            families: Vec::new(),
            positions: HashMap::new(),
            access_tokens: HashMap::new(),
            issued: 0,
        }
    }

    /// Begins a family for a user's consent.
    pub fn begin(&mut self, user: &str, rules: &TokenRules, now: Moment) -> Issued {
        let position = Position { family: self.families.len(), generation: 0 };
        let refresh_token = self.refresh_token(position);
        self.adopt(user, &refresh_token, now);
        let access_token = self.issue_access_token(position.family, rules, now);
        Issued { refresh_token, access_token, expires_in: seconds(rules), position, is_new: true }
    }

    /// Begins a family with a refresh token that was issued elsewhere. Returns its number.
    pub fn adopt(&mut self, user: &str, refresh_token: &str, now: Moment) -> usize {
        let position = Position { family: self.families.len(), generation: 0 };
        self.families.push(Family { user: user.to_owned(), refresh_tokens: Vec::new(), ended: None });
        self.push(position, refresh_token, now);
        position.family
    }

    /// Adds an access token that was issued elsewhere and has so much of its lifetime left; `None` is unlimited.
    pub fn adopt_access_token(&mut self, family: usize, text: String, left: Option<Duration>, now: Moment) {
        let ends = left.map(|left| now.elapsed.saturating_add(left));
        self.access_tokens.insert(text, AccessToken { family, issued: now, ends });
    }

    fn push(&mut self, position: Position, text: &str, now: Moment) {
        self.positions.insert(text.to_owned(), position);
        if let Some(family) = self.families.get_mut(position.family) {
            family.refresh_tokens.push(RefreshToken { text: text.to_owned(), issued: now, replaced: None });
        }
    }

    /// The place of a refresh token, dead or not.
    pub fn position(&self, refresh_token: &str) -> Option<Position> {
        self.positions.get(refresh_token).copied()
    }

    /// The user whose consent began the family.
    pub fn user(&self, family: usize) -> Option<&str> {
        self.families.get(family).map(|family| family.user.as_str())
    }

    /// Redeems a refresh token. With `keeps`, it is not replaced, whatever the rules say.
    pub fn redeem(
        &mut self,
        refresh_token: &str,
        rules: &TokenRules,
        keeps: bool,
        now: Moment,
    ) -> Result<Issued, Dead> {
        let position = self.position(refresh_token).ok_or(Dead::Unknown)?;
        let family = self.families.get_mut(position.family).ok_or(Dead::Unknown)?;
        let newest = family.refresh_tokens.len();
        let token = family.refresh_tokens.get_mut(position.generation).ok_or(Dead::Unknown)?;
        if family.ended.is_some() {
            return Err(Dead::Ended);
        }
        let is_late = token.replaced.is_some_and(|replaced| replaced.age(now) >= rules.grace);
        if is_late && rules.rotation == Rotation::Single {
            if rules.reuse_ends_family {
                self.end(position.family, now);
            }
            return Err(Dead::Reused);
        }
        let replaces = !keeps
            && rules.rotation != Rotation::None
            && (token.replaced.is_some() || token.issued.age(now) >= rules.replaced_after);
        let next = if replaces {
            token.replaced.get_or_insert(now);
            Position { family: position.family, generation: newest }
        } else {
            position
        };
        if replaces {
            self.end_access_tokens(position.family, rules, now);
            self.push(next, &self.refresh_token(next), now);
        }
        let access_token = self.issue_access_token(position.family, rules, now);
        let refresh_token = match replaces {
            true => self.refresh_token(next),
            false => refresh_token.to_owned(),
        };
        Ok(Issued {
            refresh_token,
            access_token,
            expires_in: seconds(rules),
            position: next,
            is_new: replaces,
        })
    }

    fn refresh_token(&self, position: Position) -> String {
        token_text::refresh_token(self.dialect, position) + &self.mark
    }

    fn issue_access_token(&mut self, family: usize, rules: &TokenRules, now: Moment) -> String {
        let lifetime = rules.lifetime;
        let text = token_text::access_token(self.dialect, family, self.issued, lifetime, now) + &self.mark;
        self.issued += 1;
        let ends = lifetime.map(|lifetime| now.elapsed.saturating_add(lifetime));
        self.access_tokens.insert(text.clone(), AccessToken { family, issued: now, ends });
        text
    }

    /// Issues a further access token of a family, as at a login that brings no refresh token.
    pub fn log_in(&mut self, family: usize, rules: &TokenRules, now: Moment) -> Option<Issued> {
        let refresh_token = self.families.get(family)?.refresh_tokens.first()?.text.clone();
        let access_token = self.issue_access_token(family, rules, now);
        let position = Position { family, generation: 0 };
        Some(Issued { refresh_token, access_token, expires_in: seconds(rules), position, is_new: false })
    }

    fn end_access_tokens(&mut self, family: usize, rules: &TokenRules, now: Moment) {
        let at = match rules.old_access_token {
            OldAccessToken::Lives => return,
            OldAccessToken::EndsAtRotation => now.elapsed,
            OldAccessToken::EndsAfterGrace => now.elapsed.saturating_add(rules.grace),
        };
        self.shorten(at, |token| token.family == family);
    }

    fn shorten(&mut self, at: Duration, concerns: impl Fn(&AccessToken) -> bool) {
        for token in self.access_tokens.values_mut().filter(|token| concerns(token)) {
            token.ends = Some(token.ends.map_or(at, |ends| ends.min(at)));
        }
    }

    /// Revokes a family: all its refresh tokens and access tokens.
    pub fn end(&mut self, family: usize, now: Moment) {
        self.shorten(now.elapsed, |token| token.family == family);
        if let Some(family) = self.families.get_mut(family) {
            family.ended.get_or_insert(now);
        }
    }

    /// Revokes the families of a user.
    pub fn end_of_user(&mut self, user: &str, now: Moment) {
        for family in self.of_user(user) {
            self.end(family, now);
        }
    }

    /// The families of a user, the oldest first.
    pub fn of_user(&self, user: &str) -> Vec<usize> {
        let all = self.families.iter().enumerate();
        all.filter(|(_, family)| family.user == user).map(|(number, _)| number).collect()
    }

    /// Whether a provider accepts the access token at `at`. `false` for tokens of other providers, and before the token
    /// was issued.
    pub fn is_alive(&self, access_token: &str, at: Moment) -> bool {
        self.access_tokens.get(access_token).is_some_and(|token| {
            token.issued.elapsed <= at.elapsed && token.ends.is_none_or(|ends| at.elapsed < ends)
        })
    }

    /// Whether a refresh token could be redeemed at `now`.
    pub fn is_redeemable(&self, refresh_token: &str, rules: &TokenRules, now: Moment) -> bool {
        let Some(position) = self.position(refresh_token) else { return false };
        let Some(family) = self.families.get(position.family) else { return false };
        let replaced = family.refresh_tokens.get(position.generation).and_then(|token| token.replaced);
        let is_late = replaced.is_some_and(|replaced| replaced.age(now) >= rules.grace);
        family.ended.is_none() && !(is_late && rules.rotation == Rotation::Single)
    }
}

fn seconds(rules: &TokenRules) -> Option<u64> {
    rules.lifetime.map(|lifetime| lifetime.as_secs())
}
