//! The one type for text that must not be seen.
//!
//! A [`Secret`] has no `Display`, no `Serialize` and no `Deref`, and is compared in constant time; its `Debug` text says
//! nothing, and its memory is overwritten when it is dropped. [`Secret::expose`] is the one door, so that a search for
//! that word finds every place where a secret leaves.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

/// A token, a client secret, or any other text that must not reach a log, an error or a metric.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes possession of `text`; the copy kept is overwritten on drop.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Length in bytes, which may be known: the cache counts it.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// In constant time: how long it takes says nothing about how much of two secrets is alike.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.expose().as_bytes(), other.expose().as_bytes()).is_ok()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A [`Secret`] that is kept in a piece of memory with others.
#[derive(Clone, Copy)]
pub struct SecretStr<'a>(&'a str);

impl<'a> SecretStr<'a> {
    /// Marks `text` as secret. Whoever keeps it answers for its being overwritten.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The text itself, as [`Secret::expose`] gives it.
    pub fn expose(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for SecretStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A name for a text that tells nothing about it: 96 bits of a keyed hash, as 16 characters.
///
/// Comparing two takes equally long whether they differ early, late or not at all, since one of them may be what a
/// caller guesses.
#[derive(Clone, Copy, Debug)]
pub struct Tag([u8; 16]);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Tag {}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl Tag {
    fn of(hash: [u8; 12]) -> Self {
        let mut text = [0; 16];
        // Twelve bytes are exactly sixteen characters of base64, so this cannot fail.
        URL_SAFE_NO_PAD.encode_slice(hash, &mut text).ok();
        Self(text)
    }

    /// Its characters, all of them ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads a tag as it is printed; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let hash: Vec<u8> = URL_SAFE_NO_PAD.decode(text).ok()?;
        hash.try_into().ok().map(Self::of)
    }
}

/// The key behind [`Tag`]s. Tags of two keys say nothing about each other.
#[derive(Clone)]
pub struct TagKey(hmac::Key);

impl TagKey {
    /// Draws a key, for tags that mean nothing in another run. Fails only where the kernel has no randomness to give.
    pub fn random() -> Result<Self, NoRandomness> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).map(Self).map_err(|_| NoRandomness)
    }

    /// The key that `material` makes for one `purpose`: the same in every run. Whoever knows its tags, or even the
    /// key itself, does not know the material, nor the key of another purpose.
    pub fn derived(material: &[u8], purpose: &str) -> Self {
        let material = hmac::Key::new(hmac::HMAC_SHA256, material);
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&material, purpose.as_bytes()).as_ref()))
    }

    /// The tag of `text` among things of its `kind`; equal texts of two kinds have unrelated tags.
    pub fn tag(&self, kind: &str, text: &str) -> Tag {
        // The text is hashed in one call, which leaves nothing of it behind. A context for the keyed hash is a value of
        // Rust, with a block of what it was fed inside, and every move of it leaves a copy on the stack.
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let mut context = hmac::Context::with_key(&self.0);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(digest.as_ref());
        let hash = context.sign();
        let mut tag = [0; 12];
        tag.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Tag::of(tag)
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The kernel gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the kernel gave no random bytes")]
pub struct NoRandomness;

#[cfg(test)]
mod tests {
    use super::{Secret, SecretStr, Tag, TagKey};

    #[test]
    fn a_tag_is_stable_within_a_run_and_differs_between_runs_and_kinds() {
        let (one, two) = (TagKey::random().unwrap(), TagKey::random().unwrap());
        let tag = one.tag("token", "canary").to_string();
        assert_eq!(tag.len(), 16);
        assert_eq!(tag, one.tag("token", "canary").to_string());
        assert_eq!(Tag::parse(&tag), Some(one.tag("token", "canary")));
        assert_eq!(["", "k3Yq", "*", &format!("{tag}A")].map(Tag::parse), [None; 4]);
        assert_ne!(tag, one.tag("user", "canary").to_string());
        assert_ne!(tag, two.tag("token", "canary").to_string());
    }

    #[test]
    fn a_derived_key_is_the_same_for_the_same_material_and_purpose_alone() {
        let tag = |material: &[u8], purpose| TagKey::derived(material, purpose).tag("user", "canary");
        assert_eq!(tag(b"material", "a"), tag(b"material", "a"));
        assert_ne!(tag(b"material", "a"), tag(b"material", "b"));
        assert_ne!(tag(b"material", "a"), tag(b"Material", "a"));
        assert_ne!(tag(b"material", "a"), TagKey::derived(b"material", "").tag("user", "canary"));
    }

    /// Every way Rust can be talked into printing a value, and none of them shows it.
    #[test]
    fn no_format_shows_the_text() {
        #[derive(Debug)]
        struct Holder {
            #[expect(dead_code, reason = "read through Debug only")]
            token: Option<Secret>,
        }

        let secret = Secret::new("canary-5f1b");
        let printed = [
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("{secret:x?}"),
            format!("{:?}", Holder { token: Some(secret.clone()) }),
            format!("{:?}", Err::<(), _>(secret.clone())),
            format!("{:?}", Some(SecretStr::new(secret.expose()))),
        ];
        for text in printed {
            assert!(text.contains("[secret]"), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        assert_eq!(secret.expose(), "canary-5f1b");
    }
}
