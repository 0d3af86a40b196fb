//! An identity whose tokens come from several sources: what becomes of it when one of them answers.

use std::mem::size_of;
use std::time::Duration;

use crate::domain::freshness::{Moment, Terms};
use crate::domain::source::{Source, SourceOrder};
use crate::secret::Secret;

use super::lack::Lack;
use super::{Identity, IdpToken, Issue, Renewal};

impl Renewal {
    /// Nothing is known yet about an identity whose sources are these.
    pub fn new(order: SourceOrder) -> Self {
        Self {
            order,
            refresh_token: None,
            source: Source::Identities,
            scopes: None,
            issue: None,
            stored: None,
            lack: None,
            is_unlisted: false,
        }
    }

    /// What is known of a token besides what every token has; `None` if that is nothing.
    pub fn known(source: Source, scopes: Option<&str>) -> Option<Self> {
        let is_plain = source == Source::Identities && scopes.is_none();
        (!is_plain).then(|| Self {
            source,
            scopes: scopes.map(Into::into),
            ..Self::new(SourceOrder::IDENTITIES)
        })
    }

    /// The scopes of the token, if they are known.
    pub fn scopes(&self) -> Option<&str> {
        self.scopes.as_deref()
    }

    /// The bytes that this takes.
    pub fn size(&self) -> usize {
        let texts =
            [self.refresh_token.as_ref().map(Secret::len), self.scopes.as_ref().map(|text| text.len())];
        let stored =
            self.stored.as_ref().map(|identity| size_of::<Identity>().saturating_add(identity.apart()));
        let parts = texts.into_iter().chain([stored]).flatten();
        parts.fold(size_of::<Self>(), usize::saturating_add)
    }
}

impl Identity {
    /// This identity, whose tokens come from the sources in `order`, with the refresh token that Auth0 stores. If what
    /// Auth0 stores is not the first source, the token is put aside.
    #[must_use]
    pub fn with_sources(mut self, order: SourceOrder, refresh_token: Option<Secret>) -> Self {
        if !order.issues() {
            return self;
        }
        let scopes = self.renewal.take().and_then(|known| known.scopes);
        let mut renewal = Renewal { refresh_token, ..Renewal::new(order) };
        if order.first() == Some(Source::Identities) || self.token.is_none() {
            renewal.scopes = scopes;
            self.renewal = Some(Box::new(renewal));
            return self;
        }
        let mut aside = self.rewritten(None);
        let known = Renewal { scopes, ..renewal.clone() };
        let stored =
            order.contains(Source::Identities).then(|| Self { renewal: Some(Box::new(known)), ..self });
        aside.renewal = Some(Box::new(Renewal { stored: stored.map(Box::new), ..renewal }));
        aside
    }

    /// An identity at `connection` that Auth0's answer does not list, and that a source may have a token of all the
    /// same. Only a selector that names the connection means it.
    pub fn unlisted(connection: &str, order: SourceOrder) -> Self {
        let identity = Self::new(connection, connection, "", false, None);
        let renewal = Renewal { is_unlisted: true, ..Renewal::new(order) };
        Self { renewal: Some(Box::new(renewal)), ..identity }
    }

    /// Whether Auth0's answer does not list it.
    pub fn is_unlisted(&self) -> bool {
        self.renewal.as_ref().is_some_and(|renewal| renewal.is_unlisted)
    }

    /// The sources of its tokens.
    pub fn sources(&self) -> SourceOrder {
        self.renewal.as_ref().map_or(SourceOrder::IDENTITIES, |renewal| renewal.order)
    }

    /// The refresh token that Auth0 stores, if the connection has a source that takes it.
    pub fn refresh_token(&self) -> Option<&Secret> {
        self.renewal.as_ref()?.refresh_token.as_ref()
    }

    /// Why its sources have no token, if they were asked since Auth0 was.
    pub fn lack(&self) -> Option<&Lack> {
        self.renewal.as_ref()?.lack.as_ref()
    }

    /// This identity, whose sources have no token.
    #[must_use]
    pub fn lacking(mut self, lack: Lack) -> Self {
        if let Some(renewal) = &mut self.renewal {
            renewal.lack = Some(lack);
        }
        self
    }

    /// This identity with a token that a source issued and that arrived at `received`. `is_renewed_ahead`: a newer one is
    /// requested before it expires.
    #[must_use]
    pub fn with_issued(&self, token: IdpToken<'_>, received: Moment, is_renewed_ahead: bool) -> Self {
        let in_place_of = match self.source() {
            Source::Identities => self.token().map(|stored| stored.fingerprint),
            Source::Refresh | Source::Vault => self.issue().and_then(|issue| issue.in_place_of),
        };
        self.issued(token, Issue { received, in_place_of, is_renewed_ahead })
    }

    fn issued(&self, token: IdpToken<'_>, issue: Issue) -> Self {
        let mut identity = self.rewritten(Some(token));
        let known = self.renewal.as_deref().cloned().unwrap_or_else(|| Renewal::new(self.sources()));
        identity.renewal = Some(Box::new(Renewal {
            source: token.source,
            scopes: token.scopes.map(Into::into),
            issue: Some(issue),
            lack: None,
            ..known
        }));
        identity
    }

    /// This identity with the token that Auth0 stores, which was put aside.
    #[must_use]
    pub fn with_stored(&self) -> Option<Self> {
        let mut stored = (**self.renewal.as_ref()?.stored.as_ref()?).clone();
        if let Some(renewal) = &mut stored.renewal {
            renewal.stored.clone_from(&self.renewal.as_ref()?.stored);
        }
        Some(stored)
    }

    /// The token that Auth0 stores, wherever it stands among the sources.
    pub fn stored_token(&self) -> Option<IdpToken<'_>> {
        let aside = self.renewal.as_ref().and_then(|renewal| renewal.stored.as_ref());
        match aside {
            Some(stored) => stored.token(),
            None => self.token().filter(|token| token.source == Source::Identities),
        }
    }

    /// The source of its token.
    pub fn source(&self) -> Source {
        self.renewal.as_ref().map_or(Source::Identities, |renewal| renewal.source)
    }

    /// When its token was issued, if a source other than Auth0's store issued it.
    pub fn issued_at(&self) -> Option<Moment> {
        self.issue().map(|issue| issue.received)
    }

    /// Whether a token that a source issued is so near its end that a newer one is due.
    pub fn is_renewal_due(&self, now: Moment) -> bool {
        let Some(issue) = self.issue().filter(|issue| issue.is_renewed_ahead) else { return false };
        let expires = self.token.and_then(|facts| facts.expires);
        expires.is_some_and(|expires| {
            expires.remaining(now).saturating_mul(RENEWED_IN_THE_LAST) < expires.remaining(issue.received)
        })
    }

    /// What becomes of this identity, which Auth0 has just sent, given the same identity `before` in the cache. A token
    /// that was issued is kept as long as it is valid, unless a login has brought another valid one. `is_servable`
    /// says whether a token is valid and was not reported.
    #[must_use]
    pub fn after(self, before: &Self, is_servable: impl Fn(&IdpToken<'_>) -> bool) -> Self {
        let Some(kept) = before.token().filter(&is_servable) else { return self };
        match (before.issue(), self.token().filter(&is_servable)) {
            // What Auth0 stores is used only where no source before it has a token: that was so, and still is.
            (None, None)
                if self.stored_token().is_some_and(|stored| stored.fingerprint == kept.fingerprint) =>
            {
                self.with_stored().unwrap_or(self)
            }
            (None, _) => self,
            (Some(issue), Some(stored)) if Some(stored.fingerprint) != issue.in_place_of => self,
            (Some(issue), _) if self.sources().contains(kept.source) => self.issued(kept, issue),
            (Some(_), _) => self,
        }
    }

    fn issue(&self) -> Option<Issue> {
        self.renewal.as_ref()?.issue
    }

    /// This account with another token.
    fn rewritten(&self, token: Option<IdpToken<'_>>) -> Self {
        Self::new(self.connection(), self.provider(), self.user_id(), self.is_social, token)
    }
}

/// A newer token is requested in the last fifth of the life of one that a provider issued.
const RENEWED_IN_THE_LAST: u32 = 5;

impl IdpToken<'_> {
    /// Whether it may be served at `now`, as far as its expiry is concerned.
    pub fn is_alive(&self, terms: &Terms, now: Moment) -> bool {
        !self.expires.is_some_and(|expires| terms.is_over(expires, now))
    }

    /// Whether it is valid for `min_ttl` longer.
    pub fn has_left(&self, min_ttl: Duration, now: Moment) -> bool {
        self.expires.is_none_or(|expires| expires.remaining(now) >= min_ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::{Deadline, Timestamp};
    use crate::domain::identity::{ExpiryBasis, LackReason, NoSelection, Profile};
    use crate::domain::source::OverReason;
    use crate::domain::user::Selector;
    use crate::secret::{SecretStr, TagKey};

    const VAULT_FIRST: [Source; 2] = [Source::Vault, Source::Identities];
    const REFRESH_LAST: [Source; 2] = [Source::Identities, Source::Refresh];

    struct Desk {
        tags: TagKey,
        now: Moment,
    }

    impl Desk {
        fn new() -> Self {
            let now = Moment { wall: Timestamp::from_secs(1_000_000), elapsed: Duration::from_secs(5_000) };
            Self { tags: TagKey::random().unwrap(), now }
        }

        fn token<'a>(&self, text: &'a str, source: Source, lives: u64) -> IdpToken<'a> {
            IdpToken {
                access_token: SecretStr::new(text),
                access_token_secret: None,
                expires: Some(Deadline::after(self.now, Duration::from_secs(lives))),
                basis: ExpiryBasis::Login,
                fingerprint: self.tags.tag("token", text),
                source,
                scopes: (source != Source::Identities).then_some("a b"),
            }
        }

        /// What Auth0 sends.
        fn sent(&self, text: &str, lives: u64, order: &[Source]) -> Identity {
            let token = self.token(text, Source::Identities, lives);
            let identity = Identity::new("c", "p", "1", true, Some(token));
            identity.with_sources(SourceOrder::new(order).unwrap(), Some(Secret::new("refresh")))
        }

        /// The text of the token that is served after Auth0 has sent `sent` about the identity `before`.
        fn kept(&self, before: &Identity, sent: Identity) -> String {
            let is_alive = |token: &IdpToken<'_>| {
                token.expires.is_none_or(|expires| !expires.remaining(self.now).is_zero())
            };
            let after = sent.after(before, is_alive);
            let token = after.token().map(|token| token.access_token.expose().to_owned());
            token.unwrap_or_default()
        }
    }

    #[test]
    fn an_issued_token_is_kept_until_it_expires_or_a_login_brings_another() {
        let desk = Desk::new();
        let old = desk.sent("old", 0, &REFRESH_LAST);
        let issued = old.with_issued(desk.token("issued", Source::Refresh, 60), desk.now, true);
        assert_eq!(issued.token().unwrap().scopes, Some("a b"));
        assert_eq!(issued.refresh_token().unwrap().expose(), "refresh");
        assert_eq!(desk.kept(&issued, desk.sent("old", 0, &REFRESH_LAST)), "issued");
        assert_eq!(desk.kept(&issued, desk.sent("new", 90, &REFRESH_LAST)), "new");
        assert_eq!(desk.kept(&issued, desk.sent("new", 0, &REFRESH_LAST)), "issued", "the login is long ago");
        let over = old.with_issued(desk.token("issued", Source::Refresh, 0), desk.now, true);
        assert_eq!(desk.kept(&over, desk.sent("old", 0, &REFRESH_LAST)), "old");
        assert_eq!(
            desk.kept(&issued, desk.sent("old", 0, &[Source::Identities])),
            "old",
            "no longer a source"
        );
    }

    #[test]
    fn a_token_that_replaced_a_valid_one_is_kept_while_auth0_sends_that_one() {
        let desk = Desk::new();
        let old = desk.sent("old", 5, &REFRESH_LAST);
        let issued = old.with_issued(desk.token("issued", Source::Refresh, 60), desk.now, true);
        let again = desk.sent("old", 5, &REFRESH_LAST);
        assert_eq!(desk.kept(&issued, again), "issued");
        let twice = issued.with_issued(desk.token("second", Source::Refresh, 60), desk.now, true);
        assert_eq!(desk.kept(&twice, desk.sent("old", 5, &REFRESH_LAST)), "second");
    }

    #[test]
    fn what_auth0_stores_is_put_aside_where_another_source_comes_first() {
        let desk = Desk::new();
        let sent = desk.sent("stored", 60, &VAULT_FIRST);
        assert!(sent.token().is_none());
        assert_eq!(sent.stored_token().unwrap().access_token.expose(), "stored");
        let used = sent.with_stored().unwrap();
        assert_eq!(used.token().unwrap().access_token.expose(), "stored");
        assert_eq!(desk.kept(&used, desk.sent("stored", 60, &VAULT_FIRST)), "stored", "the vault had none");
        assert_eq!(desk.kept(&used, desk.sent("other", 60, &VAULT_FIRST)), "", "the vault is asked again");
        let vault = sent.with_issued(desk.token("issued", Source::Vault, 60), desk.now, true);
        assert_eq!(desk.kept(&vault, desk.sent("other", 60, &VAULT_FIRST)), "issued");
        let only = desk.sent("stored", 60, &[Source::Vault]);
        assert!(only.token().is_none() && only.stored_token().is_none() && only.with_stored().is_none());
    }

    #[test]
    fn a_lack_is_forgotten_with_the_next_answer_and_the_next_token() {
        let desk = Desk::new();
        let why = LackReason::Over(OverReason::RefreshRefused);
        let lack = Lack { why, since: desk.now, quiet: Duration::MAX, attempts: 1 };
        let lacking = desk.sent("old", 0, &REFRESH_LAST).lacking(lack.clone());
        assert_eq!(lacking.lack(), Some(&lack));
        assert!(
            lacking.with_issued(desk.token("issued", Source::Refresh, 60), desk.now, true).lack().is_none()
        );
        assert!(desk.sent("old", 0, &REFRESH_LAST).after(&lacking, |_| false).lack().is_none());
        let plain = desk.sent("old", 0, &[Source::Identities]).lacking(lack);
        assert!(plain.lack().is_none(), "it has no other source");
    }

    #[test]
    fn a_newer_token_is_due_in_the_last_fifth_of_the_life_of_one() {
        let desk = Desk::new();
        let old = desk.sent("old", 0, &REFRESH_LAST);
        let issued = old.with_issued(desk.token("issued", Source::Refresh, 100), desk.now, true);
        let due =
            |identity: &Identity, after| identity.is_renewal_due(desk.now.after(Duration::from_secs(after)));
        assert_eq!([due(&issued, 0), due(&issued, 80), due(&issued, 81)], [false, false, true]);
        let never = old.with_issued(desk.token("issued", Source::Vault, 100), desk.now, false);
        assert!(!due(&never, 99) && !due(&old, 99));
    }

    #[test]
    fn an_unlisted_identity_is_meant_only_by_its_connections_name() {
        let order = SourceOrder::new(&[Source::Vault]).unwrap();
        let desk = Desk::new();
        let identities = [desk.sent("t", 60, &[Source::Identities]), Identity::unlisted("v", order)];
        let profile = Profile { blocked: false, identities: identities.into_iter().collect() };
        let named = |name: &str| Selector { connection: Some(name.into()), ..Selector::default() };
        assert_eq!(profile.find_identity(&Selector::default()).unwrap().0, 0);
        assert_eq!(profile.find_identity(&named("v")).unwrap().0, 1);
        let Err(NoSelection::IdentityNotFound(names)) = profile.find_identity(&named("x")) else {
            panic!("there is no such identity");
        };
        assert_eq!(names, ["c"]);
    }
}
