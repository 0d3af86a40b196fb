//! The claims of a user token: the checks that they have to pass, and every reason to refuse the token.
//!
//! Signatures are checked in `src/user_token/jwt.rs`, and claims count only if the tenant signed them. They are checked
//! before the signature, because that is cheap, and because an unacceptable token is no reason to request the tenant's
//! keys.

use std::sync::Arc;
use std::time::Duration;

use super::freshness::Timestamp;
use super::user::{InvalidUserId, UserId};

/// The allowed difference between the local clock and the clock of the token's issuer. Auth0's own SDKs allow as much.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// The end of `sub` in a token of an application: the client id, then this.
const MACHINE: &str = "@clients";

/// The claims of a token that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: who issued it.
    pub issuer: Option<String>,
    /// `sub`: its user.
    pub subject: Option<String>,
    /// `aud`: the APIs or the application that it is for; one text or several.
    pub audiences: Vec<String>,
    /// `exp`: when it expires.
    pub expires: Option<Timestamp>,
    /// `nbf`: when it becomes valid.
    pub not_before: Option<Timestamp>,
    /// `iat`: when it was issued.
    pub issued: Option<Timestamp>,
    /// `gty`: the grants that it came from, where Auth0 states them.
    pub grant_types: Vec<String>,
}

/// The claims that a user token needs to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    issuers: Vec<String>,
    audiences: Vec<String>,
    /// Issuers and audiences as the texts of refusals list them.
    listed: (Arc<str>, Arc<str>),
}

impl Expected {
    /// Accepts tokens of one of `issuers` for one of `audiences`. Issuers are compared exactly, with the slash at their
    /// end.
    pub fn new(issuers: Vec<String>, audiences: Vec<String>) -> Self {
        let listed = (issuers.join(" or ").into(), audiences.join(", ").into());
        Self { issuers, audiences, listed }
    }

    /// The user of the session that `claims` describe, at `now` by the local clock.
    pub fn judge(&self, claims: &Claims, now: Timestamp) -> Result<UserId, InvalidUserToken> {
        if !claims.issuer.as_ref().is_some_and(|issuer| self.issuers.contains(issuer)) {
            return Err(InvalidUserToken::Issuer { expected: Arc::clone(&self.listed.0) });
        }
        if !claims.audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(InvalidUserToken::Audience { expected: Arc::clone(&self.listed.1) });
        }
        check_times(claims, now)?;
        let subject = claims.subject.as_deref().unwrap_or_default();
        if subject.ends_with(MACHINE) || claims.grant_types.iter().any(|grant| grant == "client-credentials")
        {
            return Err(InvalidUserToken::Machine);
        }
        UserId::parse(subject).map_err(InvalidUserToken::Subject)
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), InvalidUserToken> {
    let expires = claims.expires.ok_or(InvalidUserToken::NoExpiry)?;
    if expires.after(LEEWAY) <= now {
        return Err(InvalidUserToken::Expired);
    }
    let is_ahead = |begins: Timestamp| begins > now.after(LEEWAY);
    if claims.not_before.is_some_and(is_ahead) || claims.issued.is_some_and(is_ahead) {
        return Err(InvalidUserToken::NotYet);
    }
    Ok(())
}

/// Why a user token is refused. The texts name the cause and the fix, and quote nothing of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserToken {
    /// The request has none.
    #[error(
        "the request carries no user token: send the user's own access or ID token as `Authorization: Bearer …`"
    )]
    Missing,
    /// The request has several, so it is ambiguous.
    #[error("the request carries several Authorization headers: send one")]
    Several,
    /// The header has credentials of another kind, or is not text.
    #[error(
        "the Authorization header is not of the form `Bearer TOKEN`: send the user's own access or ID token in this form"
    )]
    NotBearer,
    /// Longer than the limit.
    #[error("the token is longer than the limit of 12 KiB: put fewer claims into it")]
    TooLong,
    /// No dots, as in Auth0's access tokens for its own userinfo endpoint.
    #[error(
        "an opaque token, which only Auth0 can read: request the access token for an API audience that [me] audiences \
         lists"
    )]
    Opaque,
    /// A JWE.
    #[error(
        "an encrypted token, which only its recipient can read: request the access token for an API audience that [me] \
         audiences lists and whose tokens are signed and not encrypted"
    )]
    Encrypted,
    /// Not a JWT, or a JWT with a malformed part.
    #[error("the token is not a JWT, or a part of it is malformed: send it whole, as Auth0 issued it")]
    Malformed,
    /// `none`, `HS256`, and any other algorithm.
    #[error(
        "the token is not signed with RS256 or PS256: choose RS256 as the signing algorithm of the API or the application \
         in Auth0"
    )]
    Algorithm,
    /// A token of another kind by its header: a logout token, or one with critical extensions.
    #[error("the token is a JWT of another kind: send the user's own access or ID token")]
    AnotherKind,
    /// `cnf`: the token may only be used with proof of possession of a key (RFC 7800, 8705, 9449).
    #[error(
        "a sender-constrained token, which is bound to a key by DPoP or mTLS: it is not accepted as a bearer token, because \
         the daemon cannot check the proof; request one for this API that is not bound to a key"
    )]
    Bound,
    /// No `kid`.
    #[error("the token does not name the key that signed it: send it as Auth0 issued it")]
    NoKey,
    /// A `kid` that the tenant does not publish.
    #[error(
        "the token is signed with a key that the tenant does not publish: check that the tenant of tenant.domain issued \
         it (such tokens of one uid make the daemon request the key set again at most every 5 minutes)"
    )]
    UnknownKey,
    /// The key set states another algorithm for the key.
    #[error(
        "the token is signed with another algorithm than the tenant's key set states for its key: the key set of a tenant \
         that signs with PS256 must not state RS256"
    )]
    AnotherAlgorithm,
    /// The signature does not match the key.
    #[error(
        "the token's signature is invalid: the token was changed after it was issued, or the tenant did not issue it"
    )]
    Signature,
    /// Issued by another issuer.
    #[error(
        "the token was not issued by {expected}: send one that this tenant issued, or, if it names another custom domain \
         of the tenant, add that to [me] issuers"
    )]
    Issuer {
        /// The issuers that are accepted.
        expected: Arc<str>,
    },
    /// Issued for another audience.
    #[error(
        "the token is for another audience than [me] audiences lists: request it for one of these, or add its audience: \
         {expected}"
    )]
    Audience {
        /// `[me] audiences`.
        expected: Arc<str>,
    },
    /// No `exp`.
    #[error("the token does not say when it expires: send one that Auth0 issued")]
    NoExpiry,
    /// `exp` has passed, by more than the leeway.
    #[error("the token has expired: renew the user's session and send its new token")]
    Expired,
    /// `nbf` or `iat` lies ahead, by more than the leeway.
    #[error("the token is not valid yet: check this machine's clock")]
    NotYet,
    /// A token of an application.
    #[error("the token is of an application, not of a user: send the token of a user's own login")]
    Machine,
    /// `sub` is missing, or is not a valid user id.
    #[error("the token does not name a valid user: {0}")]
    Subject(InvalidUserId),
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn at(secs: i64) -> Option<Timestamp> {
        Some(Timestamp::from_secs(NOW.as_secs() + secs))
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn expected() -> Expected {
        let issuers = texts(&["https://login.acme.example/", "https://acme.eu.auth0.com/"]);
        Expected::new(issuers, texts(&["https://api.acme.example", "3Xk9"]))
    }

    fn good() -> Claims {
        Claims {
            issuer: Some("https://acme.eu.auth0.com/".into()),
            subject: Some("google-oauth2|1034".into()),
            audiences: texts(&["https://api.acme.example", "https://acme.eu.auth0.com/userinfo"]),
            expires: at(3600),
            not_before: None,
            issued: at(-60),
            grant_types: Vec::new(),
        }
    }

    fn judged(change: impl FnOnce(&mut Claims)) -> Result<UserId, InvalidUserToken> {
        let mut claims = good();
        change(&mut claims);
        expected().judge(&claims, NOW)
    }

    #[test]
    fn a_users_token_is_accepted_in_each_of_its_forms() {
        let user = Ok(UserId::parse("google-oauth2|1034").unwrap());
        assert_eq!(judged(|_| ()), user);
        assert_eq!(judged(|claims| claims.issuer = Some("https://login.acme.example/".into())), user);
        assert_eq!(judged(|claims| claims.audiences = texts(&["3Xk9"])), user, "an ID token");
        assert_eq!(judged(|claims| claims.grant_types = texts(&["password"])), user);
        assert_eq!(judged(|claims| claims.issued = None), user);
    }

    #[test]
    fn every_unacceptable_claim_has_its_own_refusal() {
        use InvalidUserToken as No;
        let issuer =
            No::Issuer { expected: "https://login.acme.example/ or https://acme.eu.auth0.com/".into() };
        let audience = No::Audience { expected: "https://api.acme.example, 3Xk9".into() };
        type Change = Box<dyn FnOnce(&mut Claims)>;
        let issued_by = |issuer: &str| -> Change {
            let issuer = Some(issuer.to_owned());
            Box::new(move |claims| claims.issuer = issuer)
        };
        let meant_for = |audiences: &[&str]| -> Change {
            let audiences = texts(audiences);
            Box::new(move |claims| claims.audiences = audiences)
        };
        let about = |subject: &str| -> Change {
            let subject = Some(subject.to_owned());
            Box::new(move |claims| claims.subject = subject)
        };
        let cases: Vec<(Change, InvalidUserToken)> = vec![
            (Box::new(|claims| claims.issuer = None), issuer.clone()),
            (issued_by(""), issuer.clone()),
            (issued_by("https://acme.eu.auth0.com"), issuer.clone()),
            (issued_by("https://acme.eu.auth0.com//"), issuer.clone()),
            (issued_by(&"https://acme.eu.auth0.com/".replacen('s', "", 1)), issuer.clone()),
            (issued_by("https://ACME.eu.auth0.com/"), issuer.clone()),
            (issued_by("https://acme.eu.auth0.com/x"), issuer.clone()),
            (issued_by("https://other.eu.auth0.com/"), issuer.clone()),
            (issued_by("https://login.acme.example/ or https://acme.eu.auth0.com/"), issuer),
            (meant_for(&[]), audience.clone()),
            (meant_for(&["https://api.acme.example/"]), audience.clone()),
            (meant_for(&["https://acme.eu.auth0.com/userinfo", "3xk9"]), audience.clone()),
            (meant_for(&["https://api.acme.example, 3Xk9"]), audience),
            (Box::new(|claims| claims.expires = None), No::NoExpiry),
            (Box::new(|claims| claims.expires = at(-3600)), No::Expired),
            (Box::new(|claims| claims.not_before = at(3600)), No::NotYet),
            (Box::new(|claims| claims.issued = at(3600)), No::NotYet),
            (about("3Xk9@clients"), No::Machine),
            (Box::new(|claims| claims.grant_types = texts(&["client-credentials"])), No::Machine),
            (Box::new(|claims| claims.grant_types = texts(&["x", "client-credentials"])), No::Machine),
            (Box::new(|claims| claims.subject = None), No::Subject(InvalidUserId::Empty)),
            (about(""), No::Subject(InvalidUserId::Empty)),
            (about(".."), No::Subject(InvalidUserId::DotSegment)),
            (about("auth0|\u{0}"), No::Subject(InvalidUserId::ControlCharacter)),
            (about(&"x".repeat(301)), No::Subject(InvalidUserId::TooLong)),
        ];
        for (index, (change, why)) in cases.into_iter().enumerate() {
            assert_eq!(judged(change), Err(why), "case {index}");
        }
        assert!(judged(about(&"x".repeat(300))).is_ok());
    }

    #[test]
    fn the_leeway_is_a_minute_to_the_millisecond() {
        let edge = |millis: i64| Some(Timestamp::from_millis(NOW.as_millis() + millis));
        assert!(judged(|claims| claims.expires = edge(-59_999)).is_ok());
        assert_eq!(judged(|claims| claims.expires = edge(-60_000)), Err(InvalidUserToken::Expired));
        for set in
            [|claims: &mut Claims, at| claims.not_before = at, |claims: &mut Claims, at| claims.issued = at]
        {
            assert!(judged(|claims| set(claims, edge(60_000))).is_ok());
            assert_eq!(judged(|claims| set(claims, edge(60_001))), Err(InvalidUserToken::NotYet));
        }
        // Dates at the ends of what a number can hold neither panic nor wrap round.
        assert!(judged(|claims| claims.expires = Some(Timestamp::from_millis(i64::MAX))).is_ok());
        assert!(judged(|claims| claims.expires = Some(Timestamp::from_millis(i64::MIN))).is_err());
        assert!(judged(|claims| claims.not_before = Some(Timestamp::from_millis(i64::MAX))).is_err());
    }
}
