//! The tenant's public keys that user tokens can be signed with.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

/// The two accepted algorithms: RSA with SHA-256 and either padding. Auth0 also offers HS256, which is keyed with a
/// secret of the application that the daemon does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5.
    Rs256,
    /// RSASSA-PSS.
    Ps256,
}

impl Algorithm {
    /// The algorithm with this name in headers and key sets (RFC 7518 §3.1).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            _ => None,
        }
    }
}

/// One key.
#[derive(Clone)]
pub struct Key {
    id: String,
    /// The only algorithm that it is for, if the key set states one.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) public: DecodingKey,
}

impl Key {
    /// An RSA key of 2,048 to 8,192 bits, from modulus and exponent as in a key set. `None` if they are not valid.
    pub fn rsa(id: &str, algorithm: Option<Algorithm>, n: &str, e: &str) -> Option<Self> {
        let decode = |part| URL_SAFE_NO_PAD.decode(part).ok();
        let (n, e) = (decode(n)?, decode(e)?);
        let significant = n.iter().skip_while(|byte| **byte == 0).count();
        let is_sound = !id.is_empty() && (256..=1024).contains(&significant) && (1..=8).contains(&e.len());
        is_sound.then(|| Self {
            id: id.to_owned(),
            algorithm,
            public: DecodingKey::from_rsa_raw_components(&n, &e),
        })
    }
}

/// Prints the id, which is enough in a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// The keys of one answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeySet(Arc<[Arc<Key>]>);

impl KeySet {
    /// The set of `keys`; `None` if there are none, which no tenant publishes.
    pub fn new(keys: Vec<Key>) -> Option<Self> {
        (!keys.is_empty()).then(|| Self(keys.into_iter().map(Arc::new).collect()))
    }

    /// The key with this id. Its position does not matter, since the key in use may be anywhere in the set.
    pub fn find(&self, id: &str) -> Option<Arc<Key>> {
        self.0.iter().find(|key| key.id == id).cloned()
    }
}
