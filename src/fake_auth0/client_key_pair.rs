//! RSA keys for an application, in the form in which an operator has them.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

use super::error::TenantError;

/// Keys that the tests of this process share. Generating one takes a tenth of a second.
static SHARED: Mutex<Vec<Arc<ClientKeyPair>>> = Mutex::new(Vec::new());

/// An RSA key of 2048 bits as PEM: the private one for the daemon, and the public one to be registered.
#[derive(Debug)]
pub struct ClientKeyPair {
    /// PKCS#8, as `openssl genpkey` writes it.
    pub private_pem: Secret,
    /// SubjectPublicKeyInfo, as `openssl pkey -pubout` writes it.
    pub public_pem: String,
}

impl ClientKeyPair {
    /// A new key.
    pub fn generate() -> Result<Self, TenantError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| TenantError::Key)?;
        let private = pair.as_der().map_err(|_| TenantError::Key)?;
        let public = pair.public_key().as_der().map_err(|_| TenantError::Key)?;
        Ok(Self {
            private_pem: Secret::new(pem("PRIVATE KEY", private.as_ref())),
            public_pem: pem("PUBLIC KEY", public.as_ref()),
        })
    }

    /// The key number `index` of this process.
    pub fn shared(index: usize) -> Result<Arc<Self>, TenantError> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(key) = shared.get(index) {
                return Ok(Arc::clone(key));
            }
            shared.push(Arc::new(Self::generate()?));
        }
    }
}

/// PEM with this label.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
