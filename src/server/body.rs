//! The one body that is written by hand, because nearly every answer is one: a token's. Byte for byte what serde makes of
//! a [`TokenAnswer`](super::answers::TokenAnswer), in an eighth of the instructions.

use crate::domain::freshness::Rfc3339;
use crate::secret::TagText;

/// Members that are there whatever the answer, with what stands around them.
const AROUND: usize = 320;

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
        let texts = [self.user_id, self.connection, self.provider, self.identity_user_id, self.access_token];
        let second = self.access_token_secret.map_or(0, str::len);
        let length = texts.iter().map(|text| text.len()).sum::<usize>() + second;
        let mut json = Object(Vec::with_capacity(length.saturating_add(AROUND)));
        json.text("{\"user_id\":", self.user_id);
        json.text(",\"connection\":", self.connection);
        json.text(",\"provider\":", self.provider);
        json.text(",\"identity_user_id\":", self.identity_user_id);
        json.text(",\"access_token\":", self.access_token);
        match self.access_token_secret {
            Some(second) => {
                json.text(",\"access_token_secret\":", second);
                json.raw(b",\"token_type\":\"OAuth\"");
            }
            None => json.raw(b",\"token_type\":\"Bearer\""),
        }
        match &self.expires {
            Some((at, left)) => {
                json.raw(b",\"expires_at\":\"");
                json.raw(at.as_bytes());
                json.raw(b"\",\"expires_in\":");
                json.raw(itoa::Buffer::new().format(*left).as_bytes());
            }
            None => json.raw(b",\"expires_at\":null,\"expires_in\":null"),
        }
        json.text(",\"expiry_basis\":", self.expiry_basis);
        json.raw(b",\"fetched_at\":\"");
        json.raw(self.fetched_at.as_bytes());
        json.raw(b"\",\"fingerprint\":\"");
        json.raw(self.fingerprint.as_bytes());
        json.raw(b"\"}");
        json.0
    }
}

struct Object(Vec<u8>);

impl Object {
    fn raw(&mut self, json: &[u8]) {
        self.0.extend_from_slice(json);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name.as_bytes());
        if is_plain(value.as_bytes()) {
            self.0.push(b'"');
            self.raw(value.as_bytes());
            self.0.push(b'"');
        } else {
            // Text always serialises, and a vector takes everything.
            serde_json::to_writer(&mut self.0, value).ok();
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
    use crate::server::answers::TokenAnswer;

    proptest! {
        #[test]
        fn it_is_what_serde_writes(
            texts in proptest::array::uniform6(".*"),
            second in proptest::option::of(".*"),
            expires in proptest::option::of((0_i64..253_402_207_200, any::<u64>())),
            fetched in 0_i64..253_402_207_200,
        ) {
            let [user_id, connection, provider, identity_user_id, access_token, expiry_basis] = &texts;
            let fingerprint = TagKey::derived(access_token.as_bytes(), "").tag("", user_id);
            let at = |seconds| Timestamp::from_secs(seconds);
            let ours = Token {
                user_id, connection, provider, identity_user_id, access_token,
                access_token_secret: second.as_deref(),
                expires: expires.map(|(seconds, left)| (at(seconds).rfc3339(), left)),
                expiry_basis,
                fetched_at: at(fetched).rfc3339(),
                fingerprint: fingerprint.text(),
            };
            let serdes = TokenAnswer {
                user_id: user_id.into(), connection: connection.into(), provider: provider.into(),
                identity_user_id: identity_user_id.into(), access_token: access_token.into(),
                access_token_secret: second.as_deref().map(Into::into),
                token_type: if second.is_some() { "OAuth" } else { "Bearer" }.into(),
                expires_at: expires.map(|(seconds, _)| at(seconds).to_string()),
                expires_in: expires.map(|(_, left)| left),
                expiry_basis: expiry_basis.into(),
                fetched_at: at(fetched).to_string(),
                fingerprint: fingerprint.to_string(),
            };
            prop_assert_eq!(String::from_utf8(ours.write()).unwrap(), serde_json::to_string(&serdes).unwrap());
        }
    }
}
