//! Reads as much DER as tells a private key's kind and public numbers, and for how long a certificate is valid.

use crate::domain::freshness::Timestamp;

/// The identifier of RSA keys, 1.2.840.113549.1.1.1 (RFC 8017 appendix A.1).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The identifier of EC keys, 1.2.840.10045.2.1 (RFC 5480 §2.1.1).
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

/// The tag of a certificate's version, which may be absent.
const VERSION: u8 = 0xa0;

/// The public numbers of an RSA key, big-endian and without leading zeros.
pub(super) struct RsaNumbers<'a> {
    /// The modulus.
    pub(super) n: &'a [u8],
    /// The exponent.
    pub(super) e: &'a [u8],
}

impl RsaNumbers<'_> {
    /// The length of the modulus in bits.
    pub(super) fn bits(&self) -> usize {
        let unused = self.n.first().map_or(0, |first| first.leading_zeros() as usize);
        self.n.len().saturating_mul(8).saturating_sub(unused)
    }
}

/// A private key in PKCS#8, by its algorithm.
pub(super) enum Pkcs8<'a> {
    /// An RSA key, in PKCS#1.
    Rsa(&'a [u8]),
    /// An EC key.
    Ec,
    /// A key of another algorithm.
    Other,
}

/// The key within PKCS#8 (RFC 5958 §2).
pub(super) fn pkcs8(der: &[u8]) -> Option<Pkcs8<'_>> {
    let mut key = Der(der).element(SEQUENCE)?;
    key.element(INTEGER)?;
    let mut algorithm = key.element(SEQUENCE)?;
    Some(match algorithm.element(OBJECT_IDENTIFIER)?.0 {
        RSA => Pkcs8::Rsa(key.element(OCTET_STRING)?.0),
        EC => Pkcs8::Ec,
        _ => Pkcs8::Other,
    })
}

/// The public numbers of a PKCS#1 private key (RFC 8017 appendix A.1.2).
pub(super) fn public_numbers(pkcs1: &[u8]) -> Option<RsaNumbers<'_>> {
    let mut key = Der(pkcs1).element(SEQUENCE)?;
    key.element(INTEGER)?;
    Some(RsaNumbers { n: key.number()?, e: key.number()? })
}

/// For how long a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    /// The beginning.
    pub(super) not_before: Timestamp,
    /// The end.
    pub(super) not_after: Timestamp,
}

/// For how long a certificate is valid (RFC 5280 §4.1.2.5).
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut signed = Der(certificate).element(SEQUENCE)?.element(SEQUENCE)?;
    if signed.0.first() == Some(&VERSION) {
        signed.element(VERSION)?;
    }
    let _serial_number = signed.element(INTEGER)?;
    let _signature_algorithm = signed.element(SEQUENCE)?;
    let _issuer = signed.element(SEQUENCE)?;
    let mut validity = signed.element(SEQUENCE)?;
    Some(Validity { not_before: validity.time()?, not_after: validity.time()? })
}

/// DER that has not been read yet.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next element, which has to have this tag.
    fn element(&mut self, tag: u8) -> Option<Self> {
        let ([found, first], rest) = self.0.split_first_chunk()?;
        // A length of 128 and more is preceded by the number of its bytes.
        let (length, rest) = match first.checked_sub(0x80) {
            None => (usize::from(*first), rest),
            Some(bytes @ 1..=4) => {
                let (length, rest) = rest.split_at_checked(bytes.into())?;
                (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            Some(_) => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(Der(content))
    }

    /// Takes the next element, a date with seconds in UTC: with two digits for the year up to 2049, with four after.
    fn time(&mut self) -> Option<Timestamp> {
        let is_short = *self.0.first()? == UTC_TIME;
        let Der(text) = self.element(if is_short { UTC_TIME } else { GENERALIZED_TIME })?;
        let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = text.split_at_checked(if is_short { 2 } else { 4 })?;
        let century = match is_short {
            true if year < "50" => "20",
            true => "19",
            false => "",
        };
        let pair = |at: usize| rest.get(at..at.saturating_add(2));
        let [month, day, hour, minute, second] = [pair(0)?, pair(2)?, pair(4)?, pair(6)?, rest.get(8..)?];
        Timestamp::parse(&format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
    }

    /// Takes the next element, a positive integer.
    fn number(&mut self) -> Option<&'a [u8]> {
        let Der(bytes) = self.element(INTEGER)?;
        // A zero precedes a number whose first bit is set, which is a sign otherwise.
        let number = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        number.first().is_some_and(|first| *first != 0).then_some(number)
    }
}
