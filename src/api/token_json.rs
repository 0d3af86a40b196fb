//! The body of a token's answer, written by hand because nearly every answer is one. The bytes equal what serde makes
//! of a [`TokenAnswer`]; serde itself writes the few bodies that need escapes.

use crate::domain::freshness::{Moment, Timestamp};
use crate::domain::identity::{Identity, IdpToken};
use crate::domain::user::UserId;
use crate::secret::SecretStr;

use super::response::written;
use super::types::TokenAnswer;

/// The content of a token's answer.
pub struct TokenBody<'a> {
    /// The user that was asked about.
    pub user: &'a UserId,
    /// The identity that carries the token.
    pub identity: &'a Identity,
    /// The token.
    pub token: IdpToken<'a>,
    /// When Auth0 was asked.
    pub fetched: Timestamp,
    /// When the cache decided that the token may be served.
    pub now: Moment,
}

/// Joins pieces in one buffer of exactly their length, which becomes the answer's body. A macro, so that the lengths of
/// literals are known where they are copied (15,674 instructions per hit, where a function took 15,942).
macro_rules! joined {
    ($($piece:expr,)*) => {{
        let mut all = Vec::with_capacity(0_usize$(.saturating_add($piece.len()))*);
        $(all.extend_from_slice($piece);)*
        all
    }};
}

impl TokenBody<'_> {
    /// The body as JSON.
    pub fn write(&self) -> Vec<u8> {
        let Self { user, identity, token, .. } = self;
        if !(is_plain(user.as_str()) && is_plain(identity.texts().expose())) {
            return written(&self.for_serde());
        }
        let second = token.access_token_secret.map_or("", SecretStr::expose);
        let (before_second, kind) = match token.access_token_secret {
            Some(_) => ("\",\"access_token_secret\":\"", "\",\"token_type\":\"OAuth\""),
            None => ("", "\",\"token_type\":\"Bearer\""),
        };
        let (stamp, mut digits);
        let (before_date, date, before_left, left) = match token.expires {
            Some(expires) => {
                (stamp, digits) = (expires.wall().rfc3339(), itoa::Buffer::new());
                let left = digits.format(expires.remaining(self.now).as_secs());
                (",\"expires_at\":\"", stamp.as_bytes(), "\",\"expires_in\":", left)
            }
            None => (",\"expires_at\":null,\"expires_in\":null", &[][..], "", ""),
        };
        let fetched = self.fetched.rfc3339();
        let (user, connection, provider) = (user.as_str(), identity.connection(), identity.provider());
        let (user_id, access_token) = (identity.user_id(), token.access_token.expose());
        let (basis, fetched, fingerprint) =
            (token.basis.as_str(), fetched.as_bytes(), token.fingerprint.as_bytes());
        let source = token.source.as_str();
        let listed;
        let scopes = match token.scopes {
            Some(scopes) => {
                listed = list(scopes);
                listed.as_slice()
            }
            None => b"null",
        };
        joined![
            b"{\"user_id\":\"",
            user.as_bytes(),
            b"\",\"connection\":\"",
            connection.as_bytes(),
            b"\",\"provider\":\"",
            provider.as_bytes(),
            b"\",\"identity_user_id\":\"",
            user_id.as_bytes(),
            b"\",\"access_token\":\"",
            access_token.as_bytes(),
            before_second.as_bytes(),
            second.as_bytes(),
            kind.as_bytes(),
            before_date.as_bytes(),
            date,
            before_left.as_bytes(),
            left.as_bytes(),
            b",\"expiry_basis\":\"",
            basis.as_bytes(),
            b"\",\"source\":\"",
            source.as_bytes(),
            b"\",\"scopes\":",
            scopes,
            b",\"fetched_at\":\"",
            fetched,
            b"\",\"fingerprint\":\"",
            fingerprint,
            b"\"}",
        ]
    }

    fn for_serde(&self) -> TokenAnswer<'_> {
        let Self { user, identity, token, .. } = self;
        TokenAnswer {
            user_id: user.as_str().into(),
            connection: identity.connection().into(),
            provider: identity.provider().into(),
            identity_user_id: identity.user_id().into(),
            access_token: token.access_token.expose().into(),
            access_token_secret: token.access_token_secret.map(|second| second.expose().into()),
            token_type: if token.access_token_secret.is_some() { "OAuth" } else { "Bearer" }.into(),
            expires_at: token.expires.map(|expires| expires.wall().to_string()),
            expires_in: token.expires.map(|expires| expires.remaining(self.now).as_secs()),
            expiry_basis: token.basis.as_str().into(),
            source: token.source.as_str().into(),
            scopes: token.scopes.map(|scopes| scopes.split(' ').map(Into::into).collect()),
            fetched_at: self.fetched.to_string(),
            fingerprint: token.fingerprint.to_string(),
        }
    }
}

/// Scopes, which spaces separate, as a list in JSON.
fn list(scopes: &str) -> Vec<u8> {
    written(&scopes.split(' ').collect::<Vec<_>>())
}

/// Whether `text` needs no escapes in JSON. Without an early exit, the compiler checks many bytes at a time.
fn is_plain(text: &str) -> bool {
    let odd = |byte: u8| u8::from((byte < b' ') | (byte == b'"') | (byte == b'\\'));
    text.bytes().fold(0, |so_far, byte| so_far | odd(byte)) == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::freshness::Deadline;
    use crate::domain::identity::ExpiryBasis;
    use crate::domain::source::Source;
    use crate::secret::TagKey;

    /// Mostly text without escapes, and now and then any text.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![20 => "[ -!#-\\[\\]-~\u{a0}-\u{ffff}]{1,40}", 1 => ".+"]
    }

    proptest! {
        #[test]
        fn it_is_what_serde_writes(
            user in text().prop_filter_map("no id", |text| UserId::parse(&text).ok()),
            texts in proptest::array::uniform4(text()),
            second in proptest::option::of(text()),
            expires in proptest::option::of(any::<u32>()),
            scopes in proptest::option::of(text()),
            now in 0_i64..200_000_000_000,
        ) {
            let now = Moment { wall: Timestamp::from_secs(now), elapsed: Duration::from_secs(1) };
            let [connection, provider, user_id, access_token] = &texts;
            let token = IdpToken {
                access_token: SecretStr::new(access_token),
                access_token_secret: second.as_deref().map(SecretStr::new),
                expires: expires.map(|span| Deadline::after(now, Duration::from_secs(span.into()))),
                basis: ExpiryBasis::Login,
                fingerprint: TagKey::derived(access_token.as_bytes(), "").tag("", connection),
                source: Source::Refresh,
                scopes: scopes.as_deref(),
            };
            let identity = Identity::new(connection, provider, user_id, true, Some(token));
            let token = identity.token().unwrap();
            let ours = TokenBody { user: &user, identity: &identity, token, fetched: now.wall, now };
            prop_assert_eq!(ours.write(), written(&ours.for_serde()));
        }
    }

    #[test]
    fn text_with_escapes_is_not_plain() {
        for character in (0..=0x2ff).filter_map(char::from_u32) {
            let text = character.to_string();
            let as_it_is = serde_json::to_string(&text).unwrap() == format!("\"{text}\"");
            assert_eq!(is_plain(&text), as_it_is, "{character:?}");
        }
    }
}
