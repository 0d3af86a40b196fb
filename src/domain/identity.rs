//! A user's profile: identities, their tokens, and which of them a selector means.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::size_of;

use smallvec::SmallVec;

use crate::secret::{Secret, SecretStr, Tag};

use super::freshness::{Deadline, Moment};
use super::source::{Source, SourceOrder};
use super::user::Selector;

mod lack;
mod renewal;
mod selection;

pub use lack::{Lack, LackReason};

/// The parts of an Auth0 user that lookups need.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whether Auth0 blocks the user's logins. Then the daemon does not serve the user's tokens.
    pub blocked: bool,
    /// The identities in Auth0's order: the primary one, then linked ones. Most users have one.
    pub identities: SmallVec<[Identity; 1]>,
}

/// One account at one identity provider.
///
/// The cache holds hundreds of thousands of identities. So all texts of one share a single allocation, which is
/// overwritten when it is freed, because it holds the token.
#[derive(Clone, Debug)]
pub struct Identity {
    texts: Secret,
    /// The ends of the texts except the last: connection, provider, user id, token, the token's second half.
    ends: [u32; 4],
    /// Whether Auth0 counts the provider as social.
    pub is_social: bool,
    has_unreadable_token: bool,
    token: Option<Facts>,
    /// Present if the connection has other sources than what Auth0 stores, or if the token's scopes are known.
    renewal: Option<Box<Renewal>>,
}

/// What an identity keeps besides Auth0's answer: which sources its tokens come from, and what they answered last. In a
/// box of its own, because most identities have only the token that Auth0 stores.
#[derive(Clone, Debug)]
struct Renewal {
    /// The sources of the connection's tokens.
    order: SourceOrder,
    /// The refresh token that Auth0 stores.
    refresh_token: Option<Secret>,
    /// The source of the identity's token, and what is known of it.
    source: Source,
    scopes: Option<Box<str>>,
    issue: Option<Issue>,
    /// The identity as Auth0 sent it, if another source is asked before its token is used.
    stored: Option<Box<Identity>>,
    /// Why the sources have no token. Kept until Auth0 is asked again.
    lack: Option<Lack>,
    /// Auth0's answer does not list the identity.
    is_unlisted: bool,
}

/// When and for which of Auth0's tokens a token was issued.
#[derive(Clone, Copy, Debug)]
struct Issue {
    received: Moment,
    in_place_of: Option<Tag>,
    /// Whether a newer token is requested before this one expires.
    is_renewed_ahead: bool,
}

/// A token's data besides its texts.
#[derive(Clone, Copy, Debug)]
struct Facts {
    has_second: bool,
    expires: Option<Deadline>,
    basis: ExpiryBasis,
    fingerprint: Tag,
}

/// A token's expiry without the token.
#[derive(Clone, Copy, Debug)]
pub struct KnownExpiry {
    /// The [`Identity::account`] that has the token.
    pub account: u64,
    /// The token's fingerprint.
    pub fingerprint: Tag,
    expires: Deadline,
    basis: ExpiryBasis,
}

/// An access token that an identity provider issued to a user.
#[derive(Clone, Copy, Debug)]
pub struct IdpToken<'a> {
    /// The token.
    pub access_token: SecretStr<'a>,
    /// Its second half where the provider speaks OAuth 1: the token is useless without it.
    pub access_token_secret: Option<SecretStr<'a>>,
    /// When it expires, if that is known.
    pub expires: Option<Deadline>,
    /// Where the expiry comes from.
    pub basis: ExpiryBasis,
    /// Identifies the token without revealing it.
    pub fingerprint: Tag,
    /// Where the token comes from.
    pub source: Source,
    /// The scopes that are known to be granted, separated by spaces; `None` if they are not known.
    pub scopes: Option<&'a str>,
}

/// Where an expiry comes from. If several sources have one, the earliest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryBasis {
    /// The token's own `exp` claim.
    Jwt,
    /// `last_login + expires_in`, which is an upper bound if identities are linked, since `last_login` is the user's.
    /// Or the date that some providers send as `expires_in`, also at a login.
    Login,
    /// The time at which the token was first seen, plus `expires_in`, if there is no `last_login`. An upper bound.
    FirstSeen,
    /// What the source said when it issued the token, which was just then.
    Issued,
    /// The lifetime that the configuration assumes of a token whose source states none (`assumed_ttl`).
    Assumed,
    /// The expiry is not known.
    None,
}

impl ExpiryBasis {
    /// Its name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Login => "login",
            Self::FirstSeen => "first_seen",
            Self::Issued => "issued",
            Self::Assumed => "assumed",
            Self::None => "none",
        }
    }
}

/// The earliest of the known expiries, and its source. Of equal ones, the first.
pub fn earliest(
    known: impl IntoIterator<Item = Option<(Deadline, ExpiryBasis)>>,
) -> (Option<Deadline>, ExpiryBasis) {
    let first = known.into_iter().flatten().min_by_key(|(deadline, _)| deadline.wall());
    first.map_or((None, ExpiryBasis::None), |(deadline, basis)| (Some(deadline), basis))
}

/// An identity's names, which select it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The connection's name.
    pub connection: String,
    /// The provider's name.
    pub provider: String,
    /// The account's id at the provider.
    pub user_id: String,
}

/// The place of an identity in its profile, with the facts about its token. A place is kept apart from the profile, so
/// that a token that was found is not searched for again.
#[derive(Clone, Copy, Debug)]
pub struct TokenPlace {
    index: usize,
    facts: Facts,
}

impl TokenPlace {
    /// The identity at this place, and its token.
    ///
    /// # Panics
    /// If `identities` are not those of the profile in which this place was found.
    #[expect(clippy::indexing_slicing, reason = "a profile does not change, and this index was found in it")]
    pub fn of(self, identities: &[Identity]) -> (&Identity, IdpToken<'_>) {
        let identity = &identities[self.index];
        (identity, identity.token_of(self.facts))
    }

    /// When the token expires, if that is known.
    pub fn expires(self) -> Option<Deadline> {
        self.facts.expires
    }

    /// Whether a newer token is due in place of this one, which a source has issued to one of these `identities`.
    pub fn is_renewal_due(self, identities: &[Identity], now: Moment) -> bool {
        identities.get(self.index).is_some_and(|identity| identity.is_renewal_due(now))
    }

    /// The token's fingerprint.
    pub fn fingerprint(self) -> Tag {
        self.facts.fingerprint
    }
}

/// Why a selector leads to no token of a profile. Lists are limited in length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSelection {
    /// The user has no such identity; these are the user's connections.
    IdentityNotFound(Vec<String>),
    /// No matching identity has a token.
    NoToken,
    /// Several matching identities have a token; these.
    Ambiguous(Vec<Candidate>),
}

impl Profile {
    /// The expiries that this profile states or implies.
    pub fn known_expiries(&self) -> impl Iterator<Item = KnownExpiry> {
        self.identities.iter().filter_map(Identity::known_expiry)
    }

    /// Keeps the earlier expiry of the token that `known` is about. `known` comes from an earlier answer about the same
    /// user. An unchanged token's date can only move because `last_login` did, which is the user's and not the token's.
    pub fn keep_expiry(&mut self, known: &KnownExpiry) {
        let facts = self.identities.iter_mut().filter_map(|identity| identity.token.as_mut());
        facts.for_each(|facts| facts.keep_expiry(known));
    }

    /// The bytes of memory that this profile takes outside its own struct.
    pub fn apart(&self) -> usize {
        let texts = self.identities.iter().map(Identity::apart).fold(0, usize::saturating_add);
        let identities = if self.identities.spilled() { self.identities.capacity() } else { 0 };
        identities.saturating_mul(size_of::<Identity>()).saturating_add(texts)
    }
}

impl Facts {
    fn keep_expiry(&mut self, known: &KnownExpiry) {
        if known.fingerprint != self.fingerprint {
            return;
        }
        let expires = self.expires.unwrap_or(known.expires);
        if self.expires.is_none() || !expires.later_than(known.expires).is_zero() {
            self.basis = known.basis;
        }
        self.expires = Some(expires.not_later_than(known.expires));
    }
}

impl Identity {
    /// An account with the id `user_id`, which is always text here, although Auth0 sends a number for some providers.
    /// Clients should select by the connection's name, because providers' names are an open set.
    pub fn new(
        connection: &str,
        provider: &str,
        user_id: &str,
        is_social: bool,
        given: Option<IdpToken<'_>>,
    ) -> Self {
        let access_token = given.map_or("", |token| token.access_token.expose());
        let second = given.and_then(|token| token.access_token_secret).map(SecretStr::expose);
        let mut end = 0_usize;
        let ends = [connection, provider, user_id, access_token].map(|text| {
            end = end.saturating_add(text.len());
            // The limit of an answer is far below this.
            u32::try_from(end).unwrap_or(u32::MAX)
        });
        let texts = [connection, provider, user_id, access_token, second.unwrap_or_default()].concat();
        let token = given.map(|IdpToken { expires, basis, fingerprint, .. }| Facts {
            has_second: second.is_some(),
            expires,
            basis,
            fingerprint,
        });
        let renewal = given.and_then(|token| Some(Box::new(Renewal::known(token.source, token.scopes)?)));
        Self { texts: Secret::new(texts), ends, is_social, has_unreadable_token: false, token, renewal }
    }

    /// Whether it counts in a selection: it has a token, one that cannot be read, or sources that may issue one.
    fn carries_a_token(&self) -> bool {
        self.has_a_readable_one() || self.has_unreadable_token
    }

    fn has_a_readable_one(&self) -> bool {
        self.token.is_some() || self.sources().issues()
    }

    /// The bytes of memory that this identity takes outside its own struct.
    fn apart(&self) -> usize {
        let renewal = self.renewal.as_ref().map_or(0, |renewal| renewal.size());
        self.texts.len().saturating_add(renewal)
    }

    /// This identity with a token that cannot be read. That token is not served, but it still counts in a selection.
    #[must_use]
    pub fn with_unreadable_token(self) -> Self {
        Self { has_unreadable_token: true, ..self }
    }

    /// The connection's name, which clients should select by.
    pub fn connection(&self) -> &str {
        self.text(0, self.ends[0])
    }

    /// The provider's name; an open set.
    pub fn provider(&self) -> &str {
        self.text(self.ends[0], self.ends[1])
    }

    /// The account's id at the provider.
    pub fn user_id(&self) -> &str {
        self.text(self.ends[1], self.ends[2])
    }

    /// A hash that identifies the account in every answer. So few are compared that a collision is not expected.
    pub fn account(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.connection(), self.provider(), self.user_id()).hash(&mut hasher);
        hasher.finish()
    }

    /// The expiry of its token, if that is known and Auth0 stores the token.
    pub fn known_expiry(&self) -> Option<KnownExpiry> {
        let stored = self.token.filter(|_| self.source() == Source::Identities);
        let Facts { expires, basis, fingerprint, .. } = stored?;
        Some(KnownExpiry { account: self.account(), fingerprint, expires: expires?, basis })
    }

    /// The token that the provider issued, if Auth0 has it and includes it in its answers.
    pub fn token(&self) -> Option<IdpToken<'_>> {
        self.token.map(|facts| self.token_of(facts))
    }

    fn token_of(&self, Facts { has_second, expires, basis, fingerprint }: Facts) -> IdpToken<'_> {
        let secret = |begin, end| SecretStr::new(self.text(begin, end));
        IdpToken {
            access_token: secret(self.ends[2], self.ends[3]),
            access_token_secret: has_second.then(|| secret(self.ends[3], u32::MAX)),
            expires,
            basis,
            fingerprint,
            source: self.source(),
            scopes: self.renewal.as_ref().and_then(|renewal| renewal.scopes()),
        }
    }

    /// The place of this identity, which stands at `index`, if it carries a token that can be read.
    fn place(&self, index: usize) -> Result<TokenPlace, NoSelection> {
        self.token.map(|facts| TokenPlace { index, facts }).ok_or(NoSelection::NoToken)
    }

    /// All texts concatenated, so that they can be searched in one pass.
    pub fn texts(&self) -> SecretStr<'_> {
        SecretStr::new(self.texts.expose())
    }

    /// The text between two ends.
    fn text(&self, begin: u32, end: u32) -> &str {
        let texts = self.texts.expose();
        let at = |end| usize::try_from(end).unwrap_or(usize::MAX).min(texts.len());
        texts.get(at(begin)..at(end)).unwrap_or_default()
    }

    fn matches(&self, selector: &Selector) -> bool {
        (selector.connection.is_some() || !self.is_unlisted())
            && selector.connection.as_ref().is_none_or(|wanted| *wanted == self.connection())
            && selector.provider.as_ref().is_none_or(|wanted| *wanted == self.provider())
            && selector.identity_user_id.as_ref().is_none_or(|wanted| *wanted == self.user_id())
    }
}

#[cfg(test)]
mod tests;
