//! The one body that is written by hand, because nearly every answer is one: a token's. Byte for byte what serde makes of
//! a [`TokenAnswer`], which still writes those few that have something to escape.

use crate::domain::freshness::Rfc3339;
use crate::secret::TagText;

use super::answers::TokenAnswer;
use super::reply::written;

/// What a token's answer says.
pub struct Token<'a> {
    pub user_id: &'a str,
    pub connection: &'a str,
    pub provider: &'a str,
    pub identity_user_id: &'a str,
    pub access_token: &'a str,
    pub access_token_secret: Option<&'a str>,
    /// When it expires, and whole seconds until then.
    pub expires: Option<(Rfc3339, u64)>,
    pub expiry_basis: &'a str,
    pub fetched_at: Rfc3339,
    pub fingerprint: TagText,
}

impl Token<'_> {
    /// As JSON.
    pub fn write(&self) -> Vec<u8> {
        let second = self.access_token_secret.unwrap_or_default();
        let texts = [self.user_id, self.connection, self.provider, self.identity_user_id, self.access_token];
        if !texts.iter().chain([&second, &self.expiry_basis]).all(|text| is_plain(text.as_bytes())) {
            return written(&self.for_serde());
        }
        let [user_id, connection, provider, identity_user_id, access_token] = texts.map(str::as_bytes);
        let (before_second, kind): (&[u8], &[u8]) = match self.access_token_secret {
            Some(_) => (b"\",\"access_token_secret\":\"", b"\",\"token_type\":\"OAuth\""),
            None => (b"", b"\",\"token_type\":\"Bearer\""),
        };
        let mut digits = itoa::Buffer::new();
        let [before_date, date, before_left, left]: [&[u8]; 4] = match &self.expires {
            Some((at, left)) => {
                [b",\"expires_at\":\"", at.as_bytes(), b"\",\"expires_in\":", digits.format(*left).as_bytes()]
            }
            None => [b",\"expires_at\":null,\"expires_in\":null", b"", b"", b""],
        };
        // In one piece of memory of just that length, which becomes the answer as it is.
        [
            b"{\"user_id\":\"",
            user_id,
            b"\",\"connection\":\"",
            connection,
            b"\",\"provider\":\"",
            provider,
            b"\",\"identity_user_id\":\"",
            identity_user_id,
            b"\",\"access_token\":\"",
            access_token,
            before_second,
            second.as_bytes(),
            kind,
            before_date,
            date,
            before_left,
            left,
            b",\"expiry_basis\":\"",
            self.expiry_basis.as_bytes(),
            b"\",\"fetched_at\":\"",
            self.fetched_at.as_bytes(),
            b"\",\"fingerprint\":\"",
            self.fingerprint.as_bytes(),
            b"\"}",
        ]
        .concat()
    }

    fn for_serde(&self) -> TokenAnswer<'_> {
        TokenAnswer {
            user_id: self.user_id.into(),
            connection: self.connection.into(),
            provider: self.provider.into(),
            identity_user_id: self.identity_user_id.into(),
            access_token: self.access_token.into(),
            access_token_secret: self.access_token_secret.map(Into::into),
            token_type: if self.access_token_secret.is_some() { "OAuth" } else { "Bearer" }.into(),
            expires_at: self.expires.as_ref().map(|(at, _)| at.as_str().to_owned()),
            expires_in: self.expires.as_ref().map(|(_, left)| *left),
            expiry_basis: self.expiry_basis.into(),
            fetched_at: self.fetched_at.as_str().to_owned(),
            fingerprint: self.fingerprint.as_str().to_owned(),
        }
    }
}

/// Whether JSON writes it as it is. Looks at everything whatever comes, which goes many bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    let odd = |byte: u8| u8::from((byte < b' ') | (byte == b'"') | (byte == b'\\'));
    text.iter().fold(0, |so_far, byte| so_far | odd(*byte)) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::freshness::Timestamp;
    use crate::secret::TagKey;

    /// Mostly such as nothing of has to be escaped, and one in a while anything.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![20 => "[ -!#-\\[\\]-~\u{7f}-\u{ffff}]{0,40}", 1 => ".*"]
    }

    proptest! {
        #[test]
        fn it_is_what_serde_writes(
            texts in proptest::array::uniform6(text()),
            second in proptest::option::of(text()),
            expires in proptest::option::of((0_i64..253_402_207_200, any::<u64>())),
            fetched in 0_i64..253_402_207_200,
        ) {
            let [user_id, connection, provider, identity_user_id, access_token, expiry_basis] = &texts;
            let fingerprint = TagKey::derived(access_token.as_bytes(), "").tag("", user_id);
            let ours = Token {
                user_id, connection, provider, identity_user_id, access_token,
                access_token_secret: second.as_deref(),
                expires: expires.map(|(at, left)| (Timestamp::from_secs(at).rfc3339(), left)),
                expiry_basis,
                fetched_at: Timestamp::from_secs(fetched).rfc3339(),
                fingerprint: fingerprint.text(),
            };
            prop_assert_eq!(ours.write(), written(&ours.for_serde()));
        }
    }

    #[test]
    fn what_json_escapes_is_no_plain_text() {
        for character in (0..=0x2ff).filter_map(char::from_u32) {
            let text = character.to_string();
            let as_it_is = serde_json::to_string(&text).unwrap() == format!("\"{text}\"");
            assert_eq!(is_plain(text.as_bytes()), as_it_is, "{character:?}");
        }
    }
}
