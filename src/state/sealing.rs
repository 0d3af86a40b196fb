//! Seals chains, and opens them: AES-256-GCM-SIV, with keys that are derived from `state.key_file`.
//!
//! A sealed record is its version, the key's id, the generation, a nonce, and the encrypted text with its tag. The tag
//! covers all of it and the record's name, so a record can neither be changed nor put under another name, and one of
//! another generation cannot be presented as this one. SIV: two records with the same nonce would reveal only whether
//! they are equal.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use secrecy::{ExposeSecret, SecretBox};

use super::record::{self, Record, Run};
use super::slot::{Holder, SLOT_LENGTH, Slot, UserPrefix, user_prefix};
use crate::domain::redemption::Chain;
use crate::secret::KeyMaterial;

/// The version of the form of records.
const VERSION: u8 = 1;

/// What the tag covers first, so that nothing that is sealed for another purpose is a record.
const PURPOSE: &[u8] = b"cloakroom: state record";

/// Separates the keys from those that are derived from the same material elsewhere.
const SALT: &[u8] = b"cloakroom: [state] key_file, version 1";

const KEY_ID: usize = 8;
const GENERATION: usize = 8;
const NONCE: usize = 12;

/// The keys of the state. The first seals and names, all open.
#[derive(Debug)]
pub struct Keyring {
    first: Key,
    others: Vec<Key>,
    run: Run,
}

#[derive(Debug)]
struct Key {
    id: [u8; KEY_ID],
    seal: RandomizedNonceKey,
    names: hmac::Key,
}

/// Why a sealed record cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotOpen {
    /// The record is sealed with a key that is not in the key ring.
    UnknownKey,
    /// A later version of this program wrote it.
    Newer,
    /// The record is not what was sealed under this name.
    Damaged,
}

/// The keys cannot be derived, or a record cannot be sealed. That is not known to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library has failed")]
pub struct CryptoFailed;

/// The parts of a sealed record.
struct Sealed<'a> {
    key: [u8; KEY_ID],
    generation: [u8; GENERATION],
    nonce: [u8; NONCE],
    text: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, CannotOpen> {
        let (version, rest) = bytes.split_first().ok_or(CannotOpen::Damaged)?;
        match *version {
            VERSION => {}
            // Zero was never a version, and is what empty pages hold.
            0 => return Err(CannotOpen::Damaged),
            _ => return Err(CannotOpen::Newer),
        }
        let parts = || {
            let (key, rest) = rest.split_first_chunk()?;
            let (generation, rest) = rest.split_first_chunk()?;
            let (nonce, text) = rest.split_first_chunk()?;
            Some(Self { key: *key, generation: *generation, nonce: *nonce, text })
        };
        parts().ok_or(CannotOpen::Damaged)
    }
}

/// What the tag of a record covers besides its text.
fn bound(key: [u8; KEY_ID], generation: [u8; GENERATION], slot: &Slot) -> Aad<Vec<u8>> {
    let mut bound = Vec::with_capacity(PURPOSE.len() + 1 + KEY_ID + GENERATION + SLOT_LENGTH);
    bound.extend(PURPOSE);
    bound.push(VERSION);
    bound.extend(key);
    bound.extend(generation);
    bound.extend(slot.bytes());
    Aad::from(bound)
}

impl Keyring {
    /// A key ring of `first` and `others`, for this run of the daemon.
    pub fn new(first: &KeyMaterial, others: &[KeyMaterial], run: Run) -> Result<Self, CryptoFailed> {
        let others = others.iter().map(Key::derived).collect::<Result<_, _>>()?;
        Ok(Self { first: Key::derived(first)?, others, run })
    }

    /// The name of the chain of `holder`.
    pub fn slot(&self, holder: &Holder<'_>) -> Slot {
        Slot::of(&self.first.names, holder)
    }

    /// The first half of the names of all chains of `user`.
    pub fn user(&self, tenant: &str, user: &str) -> UserPrefix {
        user_prefix(&self.first.names, tenant, user)
    }

    /// Seals the chain of `holder` under its name.
    pub fn seal(&self, holder: &Holder<'_>, chain: &Chain) -> Result<(Slot, Vec<u8>), CryptoFailed> {
        let (slot, generation) = (self.slot(holder), chain.generation.to_be_bytes());
        let mut text = record::text(holder, chain, self.run).ok_or(CryptoFailed)?;
        let aad = bound(self.first.id, generation, &slot);
        let nonce = self.first.seal.seal_in_place_append_tag(aad, &mut text).map_err(|_| CryptoFailed)?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID + GENERATION + NONCE + text.len());
        sealed.push(VERSION);
        sealed.extend(self.first.id);
        sealed.extend(generation);
        sealed.extend(nonce.as_ref());
        sealed.extend(text);
        Ok((slot, sealed))
    }

    /// Opens the record that is stored under `slot`.
    pub fn open(&self, slot: &Slot, sealed: &[u8]) -> Result<Record, CannotOpen> {
        let Sealed { key: id, generation, nonce, text } = Sealed::parse(sealed)?;
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let key = keys.find(|key| key.id == id).ok_or(CannotOpen::UnknownKey)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.seal.open_in_place(nonce, bound(id, generation, slot), &mut text);
        let text = opened.map_err(|_| CannotOpen::Damaged)?;
        let record =
            Record::read(text, u64::from_be_bytes(generation), self.run).ok_or(CannotOpen::Damaged)?;
        match Slot::of(&key.names, &record.holder()) == *slot {
            true => Ok(record),
            false => Err(CannotOpen::Damaged),
        }
    }

    /// Whether the first key has sealed this record.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        Sealed::parse(sealed).is_ok_and(|sealed| sealed.key == self.first.id)
    }
}

impl Key {
    fn derived(material: &KeyMaterial) -> Result<Self, CryptoFailed> {
        let material = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(material.expose());
        let id = derive::<KEY_ID>(&material, b"id")?;
        let seal = derive::<32>(&material, b"seal")?;
        let names = derive::<32>(&material, b"names")?;
        let seal =
            RandomizedNonceKey::new(&AES_256_GCM_SIV, seal.expose_secret()).map_err(|_| CryptoFailed)?;
        Ok(Self {
            id: *id.expose_secret(),
            seal,
            names: hmac::Key::new(hmac::HMAC_SHA256, names.expose_secret()),
        })
    }
}

/// Derives `N` bytes for one purpose.
fn derive<const N: usize>(
    material: &hkdf::Prk,
    purpose: &'static [u8],
) -> Result<SecretBox<[u8; N]>, CryptoFailed>
where
    [u8; N]: Default,
{
    struct Length(usize);

    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    let (purpose, mut filled) = ([purpose], Err(CryptoFailed));
    let derived = SecretBox::init_with_mut(|derived: &mut [u8; N]| {
        let material = material.expand(&purpose, Length(N)).and_then(|material| material.fill(derived));
        filled = material.map_err(|_| CryptoFailed);
    });
    filled.map(|()| derived)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use std::time::Duration;

    const RUN: Run = Run(1);
    const JANE: Holder<'_> =
        Holder { tenant: "acme", connection: "okta", user: "okta|jane", account: "jane" };

    fn material(byte: u8) -> KeyMaterial {
        KeyMaterial::from_bytes(&[byte; 32]).unwrap()
    }

    fn keyring(first: u8, others: &[u8]) -> Keyring {
        let others: Vec<_> = others.iter().map(|byte| material(*byte)).collect();
        Keyring::new(&material(first), &others, RUN).unwrap()
    }

    fn chain(generation: u64) -> Chain {
        let (token, since) = (Secret::new("canary-token"), Duration::from_secs(1));
        Chain {
            origin: token.hash(),
            since,
            token,
            generation,
            attempts: 1,
            sent: Duration::ZERO,
            refusal: None,
        }
    }

    #[test]
    fn what_is_sealed_is_opened_with_any_key_of_the_ring_and_no_other() {
        let (slot, sealed) = keyring(1, &[]).seal(&JANE, &chain(3)).unwrap();
        for keyring in [keyring(1, &[]), keyring(2, &[1]), keyring(2, &[3, 1])] {
            let record = keyring.open(&slot, &sealed).unwrap();
            assert_eq!((record.holder(), &record.chain), (JANE, &chain(3)));
        }
        assert!(keyring(1, &[2]).is_current(&sealed) && !keyring(2, &[1]).is_current(&sealed));
        assert_eq!(keyring(2, &[3]).open(&slot, &sealed), Err(CannotOpen::UnknownKey));
        assert_ne!(keyring(2, &[1]).slot(&JANE), slot, "a name depends on the first key");
    }

    #[test]
    fn a_record_shows_neither_its_user_nor_its_token_nor_whether_it_is_the_same() {
        let keyring = keyring(1, &[]);
        let (slot, sealed) = keyring.seal(&JANE, &chain(3)).unwrap();
        for text in ["jane", "acme", "okta", "canary"] {
            let text = text.as_bytes();
            assert!(!sealed.windows(text.len()).any(|part| part == text));
            assert!(!slot.bytes().windows(text.len()).any(|part| part == text));
        }
        assert_ne!(keyring.seal(&JANE, &chain(3)).unwrap().1, sealed);
    }

    #[test]
    fn no_bit_of_a_record_can_be_changed_and_no_record_moved() {
        let keyring = keyring(1, &[]);
        let (slot, sealed) = keyring.seal(&JANE, &chain(3)).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(keyring.open(&slot, &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(keyring.open(&slot, &sealed[..length]).is_err(), "{length} bytes");
        }
        let other = keyring.slot(&Holder { account: "other", ..JANE });
        assert_eq!(keyring.open(&other, &sealed), Err(CannotOpen::Damaged));
        let mut newer = sealed;
        newer[0] = 2;
        assert_eq!(keyring.open(&slot, &newer), Err(CannotOpen::Newer));
    }
}
