//! Sources of tokens besides what Auth0 stores: which of them answers for an identity, and in which order.
//!
//! The next source is asked only if the one before has no token. A source that cannot be asked, or that is not set up
//! correctly, ends the search: the configuration wants that source's token, and not the next one's.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::cache::{ForWhom, Forgetting, Issuing, NewToken, SourceAnswer, TokenIssuer, Wanted};
use crate::clock::Clock;
use crate::config::{Connection, Refresh};
use crate::domain::freshness::{Deadline, Moment};
use crate::domain::identity::{ExpiryBasis, LackReason, earliest};
use crate::domain::priority::Priority;
use crate::domain::source::{IssuedToken, Rotation, Source, SourceError, SourceProblem, SourceStanding};
use crate::domain::user::UserId;
use crate::providers::Providers;
use crate::secret::TagKey;
use crate::state::{Asked, ChainKey, Chains, Redeemed, Terms};
use crate::upstream::token_claims;
use crate::upstream::vault::{Exchanged, Vault};

/// The sources of all connections. Cheap to clone.
#[derive(Clone)]
pub struct Sources(Arc<Inner>);

struct Inner {
    connections: RwLock<Arc<[Connection]>>,
    parts: SourceParts,
}

/// The parts that sources are built from.
pub struct SourceParts {
    /// Which refresh token is redeemed, and in which order.
    pub chains: Chains,
    /// Redeems refresh tokens.
    pub providers: Providers,
    /// Asks Token Vault.
    pub vault: Vault,
    /// The time.
    pub clock: Clock,
    /// Names tokens.
    pub tags: TagKey,
}

/// What one source answers.
enum Answer {
    Token(IssuedToken),
    Lack(LackReason),
    Problem(SourceProblem),
}

impl Sources {
    /// The sources of `connections`.
    pub fn new(connections: &[Connection], parts: SourceParts) -> Self {
        Self(Arc::new(Inner { connections: RwLock::new(connections.into()), parts }))
    }

    /// Replaces the connections. Requests under way keep the previous ones.
    pub fn reconfigure(&self, connections: &[Connection]) {
        *self.0.connections.write().unwrap_or_else(PoisonError::into_inner) = connections.into();
    }
}

impl Sources {
    /// How the sources of all connections stand, besides what Auth0 stores.
    pub fn standings(&self) -> Vec<SourceStanding> {
        let connections = Arc::clone(&self.0.connections.read().unwrap_or_else(PoisonError::into_inner));
        let SourceParts { providers, vault, .. } = &self.0.parts;
        let standing = |connection: &Connection, source| {
            let name = &connection.name;
            let (host, fault) = match (source, &connection.refresh) {
                (Source::Refresh, Some(refresh)) => {
                    (Arc::clone(refresh.token_endpoint.host()), providers.fault(connection, refresh))
                }
                (Source::Vault, _) => (vault.host(), vault.fault(name)),
                (Source::Identities | Source::Refresh, _) => return None,
            };
            Some(SourceStanding { connection: Arc::clone(name), source, host, fault })
        };
        let all = connections.iter().flat_map(|connection| {
            connection.sources.iter().filter_map(move |source| standing(connection, source))
        });
        all.collect()
    }
}

impl TokenIssuer for Sources {
    fn issue(&self, wanted: Wanted, for_whom: ForWhom) -> Issuing {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.ask(wanted, for_whom).await })
    }

    fn forget(&self, user: UserId) -> Forgetting {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.parts.chains.forget(&user).await })
    }

    fn forget_all(&self) -> Forgetting {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.parts.chains.forget_all().await })
    }
}

impl Inner {
    fn connection(&self, name: &str) -> Option<Connection> {
        let connections = Arc::clone(&self.connections.read().unwrap_or_else(PoisonError::into_inner));
        connections.iter().find(|connection| *connection.name == *name).cloned()
    }

    async fn ask(&self, wanted: Wanted, for_whom: ForWhom) -> Result<SourceAnswer, SourceError> {
        let Some(connection) = self.connection(&wanted.connection) else {
            return Ok(SourceAnswer::Lack(LackReason::Nothing));
        };
        // What Auth0 stores was looked at before, where it comes first.
        let is_stored_next = wanted.is_stored_servable && wanted.sources.first() != Some(Source::Identities);
        let mut lack = LackReason::Nothing;
        // The cached identity has the order from before a reload.
        let sources = wanted.sources.iter().filter(|source| connection.sources.contains(*source));
        for source in sources {
            let begun = self.parts.clock.now();
            let answer = match source {
                Source::Identities if is_stored_next => return Ok(SourceAnswer::Stored),
                Source::Identities => continue,
                Source::Refresh => self.refresh(&connection, &wanted, for_whom.clone()).await,
                Source::Vault => self.exchange(&wanted, for_whom.clone()).await,
            };
            match answer {
                Answer::Token(token) => {
                    return Ok(SourceAnswer::Token(self.new_token(&connection, source, token, begun)));
                }
                Answer::Lack(LackReason::AskAuth0) => return Ok(SourceAnswer::Lack(LackReason::AskAuth0)),
                Answer::Lack(why) if lack == LackReason::Nothing => lack = why,
                Answer::Lack(_) => {}
                Answer::Problem(problem) => {
                    return Err(SourceError { connection: connection.name, problem });
                }
            }
        }
        Ok(SourceAnswer::Lack(lack))
    }

    /// Redeems a refresh token at the provider.
    async fn refresh(&self, connection: &Connection, wanted: &Wanted, for_whom: ForWhom) -> Answer {
        let Some(refresh) = &connection.refresh else { return Answer::Lack(LackReason::Nothing) };
        // Otherwise each lookup would store an intent, and withdraw it. A user without a refresh token has to log in anyway.
        let providers = self.parts.providers.clone();
        let held = wanted.refresh_token.as_ref().and_then(|_| providers.would_hold(connection, refresh));
        if let Some(problem) = held {
            return Answer::Problem(problem);
        }
        let key = ChainKey {
            connection: Arc::clone(&connection.name),
            user: wanted.user.clone(),
            identity_user_id: wanted.identity_user_id.clone(),
        };
        let Refresh { client_id, rotation, grace, .. } = &**refresh;
        let terms = Terms {
            client: client_id.as_str().into(),
            rotation: *rotation,
            grace: *grace,
            last_answer: providers.last_answer(refresh.token_endpoint.host()),
        };
        let asked = Asked { refresh_token: wanted.refresh_token.clone(), at: wanted.asked };
        let (connection, refresh) = (connection.clone(), Arc::clone(refresh));
        let redeem = move |token| {
            let (providers, connection, refresh, for_whom) =
                (providers.clone(), connection.clone(), Arc::clone(&refresh), for_whom.clone());
            async move { providers.redeem_for(for_whom, &connection, &refresh, &token).await }
        };
        match self.parts.chains.redeem(&key, terms, asked, redeem).await {
            Redeemed::Issued(token) => Answer::Token(token),
            Redeemed::NoRefreshToken => Answer::Lack(LackReason::Nothing),
            Redeemed::AskAuth0 => Answer::Lack(LackReason::AskAuth0),
            Redeemed::Over(reason) => Answer::Lack(LackReason::Over(reason)),
            Redeemed::Misconfigured(fault) => Answer::Problem(SourceProblem::Misconfigured(fault)),
            Redeemed::Failed { failure, retry_after } => {
                Answer::Problem(SourceProblem::Unavailable { failure, retry_after })
            }
        }
    }

    /// Asks Token Vault for the token of the account.
    async fn exchange(&self, wanted: &Wanted, for_whom: ForWhom) -> Answer {
        let hint = Some(&*wanted.identity_user_id).filter(|account| !account.is_empty());
        let (user, connection) = (&wanted.user, &*wanted.connection);
        match self.parts.vault.exchange(user, connection, hint, Priority::Caller, for_whom).await {
            Exchanged::Issued(token) => Answer::Token(token),
            Exchanged::NotConnected => Answer::Lack(LackReason::NotConnected),
            Exchanged::Misconfigured(fault) => Answer::Problem(SourceProblem::Misconfigured(fault)),
            Exchanged::Failed { failure, retry_after } => {
                Answer::Problem(SourceProblem::Unavailable { failure, retry_after })
            }
        }
    }

    /// The token as the cache takes it. Its lifetime counts from `begun`, when the source was asked.
    fn new_token(
        &self,
        connection: &Connection,
        source: Source,
        token: IssuedToken,
        begun: Moment,
    ) -> NewToken {
        let IssuedToken { access_token, expires_in, scopes } = token;
        let claims = token_claims::read(access_token.expose()).unwrap_or_default();
        let after = |span| Deadline::after(begun, span);
        let stated = expires_in.map(|span| (after(span), ExpiryBasis::Issued));
        let own = claims.exp.map(|exp| (Deadline::at(exp, begun, Duration::ZERO), ExpiryBasis::Jwt));
        let known = stated.is_some() || own.is_some();
        let assumed =
            connection.assumed_ttl.filter(|_| !known).map(|span| (after(span), ExpiryBasis::Assumed));
        let (expires, basis) = earliest([stated, own, assumed]);
        NewToken {
            fingerprint: self.parts.tags.tag("token", access_token.expose()),
            access_token,
            expires,
            basis,
            scopes: scopes.or(claims.scopes),
            source,
            received: self.parts.clock.now(),
            is_renewed_ahead: is_renewed_ahead(connection, source),
        }
    }
}

/// Whether a newer token may be requested while one is valid. Token Vault returns the same one until it has expired. A
/// provider that invalidates refresh tokens may invalidate the access token with them, which clients may still use.
fn is_renewed_ahead(connection: &Connection, source: Source) -> bool {
    let is_single = |refresh: &Arc<Refresh>| refresh.rotation == Rotation::Single;
    source == Source::Refresh && !connection.refresh.as_ref().is_some_and(is_single)
}
