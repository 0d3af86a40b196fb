//! The type of secret texts, and keyed hashes that identify them.
//!
//! A [`Secret`] has no `Display`, no `Serialize` and no `Deref`, and is compared in constant time. Its `Debug` text is
//! fixed, and its memory is overwritten when it is dropped. [`Secret::expose`] is the only way to the text, so a search
//! for that word finds every place that uses it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// A token, a client secret, or any other text that must not reach a log, an error or a metric.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes ownership of `text`, which is overwritten on drop.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text. The caller is responsible for where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The length in bytes, which is not secret: the cache counts it.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash by which this text is recognised.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose())
    }
}

/// Compares in constant time, so that the duration does not show how much of two secrets is equal.
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

/// Recognises a secret without its text: a SHA-256 hash.
///
/// The hash has no key, so it is the same in every run. It hides only what cannot be guessed, such as a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(hash)
    }

    /// The hash with these bytes, which [`SecretHash::bytes`] returned.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the hash.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash of a secret]")
    }
}

/// The material of keys: 32 secret bytes. Cheap to clone; clones share the memory, which is overwritten on drop.
#[derive(Clone)]
pub struct KeyMaterial(Arc<SecretBox<[u8; 32]>>);

impl KeyMaterial {
    /// Takes a copy of `bytes`; `None` if these are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // Byte by byte into the memory that is overwritten: an array that is moved leaves a copy on the stack.
        let copy =
            |material: &mut [u8; 32]| material.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        (bytes.len() == 32).then(|| Self(Arc::new(SecretBox::init_with_mut(copy))))
    }

    /// The bytes. The caller is responsible for where they go.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// Compares in constant time.
impl PartialEq for KeyMaterial {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.expose(), other.expose()).is_ok()
    }
}

impl Eq for KeyMaterial {}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A secret that is a part of a larger text in memory.
#[derive(Clone, Copy)]
pub struct SecretStr<'a>(&'a str);

impl<'a> SecretStr<'a> {
    /// Marks `text` as secret. Its owner is responsible for overwriting it.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The text. The caller is responsible for where it goes.
    pub fn expose(self) -> &'a str {
        self.0
    }
}

impl<'a> From<&'a Secret> for SecretStr<'a> {
    fn from(secret: &'a Secret) -> Self {
        Self(secret.expose())
    }
}

impl fmt::Debug for SecretStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Identifies a text without revealing it: 96 bits of a keyed hash, as 16 characters.
///
/// Compared in constant time, since one of two tags may be a caller's guess.
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

    /// The characters, which are ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Parses a printed tag; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let hash: Vec<u8> = URL_SAFE_NO_PAD.decode(text).ok()?;
        hash.try_into().ok().map(Self::of)
    }
}

/// The key of [`Tag`]s. Tags of two keys are unrelated.
#[derive(Clone)]
pub struct TagKey(hmac::Key);

impl TagKey {
    /// Draws a random key, whose tags are valid in this run only. Fails only if the kernel gives no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).map(Self).map_err(|_| NoRandomness)
    }

    /// Derives a key from `material` for one `purpose`, which is equal in every run. Neither its tags nor the key
    /// itself reveal the material or the key of another purpose.
    pub fn derived(material: &[u8], purpose: &str) -> Self {
        let material = hmac::Key::new(hmac::HMAC_SHA256, material);
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&material, purpose.as_bytes()).as_ref()))
    }

    /// The tag of `text` among texts of its `kind`. Equal texts of two kinds have unrelated tags.
    pub fn tag(&self, kind: &str, text: &str) -> Tag {
        // The text is hashed in one call, which leaves no copy of it. The context of a keyed hash is a Rust value that
        // contains a block of its input, and every move of the context leaves a copy on the stack.
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
    use super::{Secret, SecretHash, SecretStr, Tag, TagKey};

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

    #[test]
    fn a_hash_recognises_its_secret_and_shows_nothing() {
        let (hash, other) = (Secret::new("canary").hash(), Secret::new("canary-2").hash());
        assert_eq!(hash, Secret::new("canary").hash());
        assert_ne!(hash, other);
        assert_eq!(SecretHash::from_bytes(hash.bytes()), hash);
        assert_eq!(format!("{hash:?}"), "[hash of a secret]");
    }

    /// Tries every way to print a value in Rust. None shows the text.
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
