//! Keys in every form that a file may have, and signatures that another library verifies.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::*;
use crate::domain::freshness::Timestamp;

/// The length of what precedes the PKCS#1 key in a PKCS#8 key of 1024 to 16384 bits.
const PKCS8_PREFIX: usize = 26;

/// `openssl genrsa -traditional 1024`, in PKCS#1.
const SHORT: &str = include_str!("../../tests/config/bad/files/key-rsa-1024.pem");

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A new key in PKCS#8, and its public key for `jsonwebtoken`.
fn generate(size: KeySize) -> (Vec<u8>, DecodingKey) {
    let pair = KeyPair::generate(size).unwrap();
    let pkcs8 = pair.as_der().unwrap().as_ref().to_vec();
    let numbers = der::public_numbers(&pkcs8[PKCS8_PREFIX..]).unwrap();
    (pkcs8.clone(), DecodingKey::from_rsa_raw_components(numbers.n, numbers.e))
}

fn read(pem: &str) -> Result<SigningKey, KeyError> {
    SigningKey::from_pem(pem.as_bytes(), SigningAlg::Rs256)
}

#[test]
fn another_library_verifies_what_each_algorithm_signs() {
    let (pkcs8, public) = generate(KeySize::Rsa2048);
    let algorithms = [Algorithm::RS256, Algorithm::RS384, Algorithm::PS256];
    for (alg, expected) in
        [SigningAlg::Rs256, SigningAlg::Rs384, SigningAlg::Ps256].into_iter().zip(algorithms)
    {
        let key = SigningKey::from_pem(pem("PRIVATE KEY", &pkcs8).as_bytes(), alg).unwrap();
        let claims = json!({ "iss": "a\"b", "aud": "https://tenant.example/", "exp": 60 });
        let token = key.sign(Some("token-vault-req+jwt"), &claims).unwrap();
        let header = decode_header(token.expose()).unwrap();
        assert_eq!((header.alg, header.typ.as_deref()), (expected, Some("token-vault-req+jwt")));
        assert_eq!(header.kid.as_deref(), Some(key.kid()));
        let mut rules = Validation::new(expected);
        rules.validate_exp = false;
        rules.validate_aud = false;
        assert_eq!(decode::<Value>(token.expose(), &public, &rules).unwrap().claims, claims);
        let (other, _) = generate(KeySize::Rsa2048);
        let other = SigningKey::from_pem(pem("PRIVATE KEY", &other).as_bytes(), alg).unwrap();
        assert!(decode::<Value>(other.sign(None, &claims).unwrap().expose(), &public, &rules).is_err());
    }
}

#[test]
fn a_header_has_no_type_unless_one_is_given() {
    let (pkcs8, _) = generate(KeySize::Rsa2048);
    let token = read(&pem("PRIVATE KEY", &pkcs8)).unwrap().sign(None, &json!({})).unwrap();
    assert_eq!(decode_header(token.expose()).unwrap().typ, None);
    assert_eq!(token.expose().split('.').nth(1), Some("e30"));
}

/// The example of RFC 7638 §3.1.
#[test]
fn the_id_is_the_thumbprint_of_the_public_key() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj\
             hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ\
             vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK\
             nqDKgw";
    let n = URL_SAFE_NO_PAD.decode(n).unwrap();
    let numbers = RsaNumbers { n: &n, e: &[1, 0, 1] };
    assert_eq!(numbers.bits(), 2048);
    assert_eq!(thumbprint(&numbers), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn both_forms_of_a_key_are_the_same_key() {
    let (pkcs8, _) = generate(KeySize::Rsa3072);
    let one = read(&pem("PRIVATE KEY", &pkcs8)).unwrap();
    let pkcs1 = pem("RSA PRIVATE KEY", &pkcs8[PKCS8_PREFIX..]);
    let crlf = pkcs1.replace('\n', "\r\n");
    let annotated = format!("Bag Attributes\n    localKeyID: 01\n{pkcs1}");
    for text in [&pkcs1, &crlf, &annotated, pkcs1.trim_end()] {
        assert_eq!(read(text).as_ref(), Ok(&one));
    }
    let other_alg = SigningKey::from_pem(pkcs1.as_bytes(), SigningAlg::Ps256).unwrap();
    assert_eq!(other_alg.kid(), one.kid());
    assert_ne!(other_alg, one);
}

#[test]
fn what_is_no_key_for_auth0_is_named() {
    let (pkcs8, _) = generate(KeySize::Rsa2048);
    let good = pem("PRIVATE KEY", &pkcs8);
    let ec = rcgen::KeyPair::generate().unwrap();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::new([]).unwrap().self_signed(&ec).unwrap().pem();
    let encrypted_pkcs1 =
        SHORT.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1);
    let mut wrong_prime = pkcs8.clone();
    *wrong_prime.last_mut().unwrap() ^= 1;
    let damaged = good.replacen("MII", "M-I", 1);
    let cases = [
        ("", KeyError::NoPem),
        ("client-secret", KeyError::NoPem),
        (r#"{"kty":"RSA"}"#, KeyError::NoPem),
        (&*ec.serialize_pem(), KeyError::Ec),
        (&*pem("EC PRIVATE KEY", &[0x30, 0]), KeyError::Ec),
        (&*ed25519.serialize_pem(), KeyError::OtherAlgorithm),
        (&*certificate, KeyError::Certificate),
        (&*pem("PUBLIC KEY", &[0x30, 0]), KeyError::PublicKey),
        (&*pem("ENCRYPTED PRIVATE KEY", &[0x30, 0]), KeyError::Encrypted),
        (&*encrypted_pkcs1, KeyError::Encrypted),
        (&*pem("OPENSSH PRIVATE KEY", b"openssh-key-v1"), KeyError::OpenSsh),
        (SHORT, KeyError::TooShort { bits: 1024 }),
        (&*format!("{good}{SHORT}"), KeyError::Several),
        (&*damaged, KeyError::Damaged),
        (&*pem("PRIVATE KEY", &[0x30, 0]), KeyError::Damaged),
        (&*pem("PRIVATE KEY", &pkcs8[..900]), KeyError::Damaged),
        (&*pem("RSA PRIVATE KEY", &pkcs8), KeyError::Damaged),
        (&*pem("PRIVATE KEY", &wrong_prime), KeyError::Damaged),
        (&good[..good.len() - 30], KeyError::Damaged),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text), Err(expected), "{text}");
    }
    assert!(read(&format!("{certificate}{good}")).is_ok());
}

#[test]
fn a_key_prints_its_id_alone() {
    let (pkcs8, _) = generate(KeySize::Rsa2048);
    let key = read(&pem("PRIVATE KEY", &pkcs8)).unwrap();
    assert_eq!(format!("{key:?}"), format!("SigningKey(Rs256, {:?})", key.kid()));
}

#[test]
fn der_of_any_bytes_is_read_without_a_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let (pkcs8, _) = generate(KeySize::Rsa2048);
    for _ in 0..2000 {
        let mut bytes = pkcs8.clone();
        for _ in 0..random.usize(1..4) {
            bytes[random.usize(..60)] = random.u8(..);
        }
        bytes.truncate(random.usize(..bytes.len()));
        if let Some(Pkcs8::Rsa(pkcs1)) = der::pkcs8(&bytes) {
            der::public_numbers(pkcs1);
        }
    }
}

/// A certificate by itself, valid in these years, and the PEM of its key.
fn certificate(key: &rcgen::KeyPair, years: std::ops::Range<i32>) -> String {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 2, 3);
    params.self_signed(key).unwrap().pem()
}

fn certified(certificates: &str, key: &str) -> Result<ClientCertificate, CertificateError> {
    ClientCertificate::from_pem(certificates.as_bytes(), key.as_bytes(), SigningAlg::Rs256)
}

#[test]
fn a_certificate_is_read_with_its_key_and_its_end() {
    let (pkcs8, _) = generate(KeySize::Rsa2048);
    let rsa_pem = pem("PRIVATE KEY", &pkcs8);
    let rsa = rcgen::KeyPair::from_pem(&rsa_pem).unwrap();
    let ec = rcgen::KeyPair::generate().unwrap();
    let at = |text: &str| Timestamp::parse(text).unwrap();

    let own = certified(&certificate(&rsa, 2020..2049), &rsa_pem).unwrap();
    assert_eq!(own.not_before(), at("2020-01-01T00:00:00Z"));
    assert_eq!(own.not_after(), at("2049-02-03T00:00:00Z"));
    assert_eq!(own.signing_key().unwrap().kid(), read(&rsa_pem).unwrap().kid());

    let with_key = |key: &rcgen::KeyPair| certified(&certificate(key, 1980..2051), &key.serialize_pem());
    let other = with_key(&ec).unwrap();
    assert_eq!(other.not_before(), at("1980-01-01T00:00:00Z"));
    assert_eq!(other.not_after(), at("2051-02-03T00:00:00Z"));
    assert!(other.signing_key().is_none(), "an EC key is good for TLS, and signs no JWT");
    assert!(with_key(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()).is_ok());
    assert_ne!(own, other);

    // The first of several to expire counts.
    let chain = certificate(&rsa, 2020..2049) + &certificate(&ec, 2021..2030);
    let chain = certified(&chain, &rsa_pem).unwrap();
    assert_eq!(
        (chain.not_before(), chain.not_after()),
        (at("2021-01-01T00:00:00Z"), at("2030-02-03T00:00:00Z"))
    );
}

#[test]
fn what_is_no_certificate_of_the_key_is_named() {
    let (pkcs8, _) = generate(KeySize::Rsa2048);
    let key = pem("PRIVATE KEY", &pkcs8);
    let own = certificate(&rcgen::KeyPair::from_pem(&key).unwrap(), 2020..2030);
    let other = certificate(&rcgen::KeyPair::generate().unwrap(), 2020..2030);
    let cases = [
        ("", &*key, CertificateError::NoCertificate),
        (&*key, &*key, CertificateError::PrivateKey),
        (&*other, &*key, CertificateError::AnotherKey),
        (&*(other.clone() + &own), &*key, CertificateError::AnotherKey),
        (&*pem("CERTIFICATE", &[0x30, 0]), &*key, CertificateError::Damaged),
        (&*own.replacen("MII", "M-I", 1), &*key, CertificateError::Damaged),
        (&*own, &*own, CertificateError::Key(KeyError::Certificate)),
        (&*own, SHORT, CertificateError::Key(KeyError::TooShort { bits: 1024 })),
        (&*own, &*pem("EC PRIVATE KEY", &[0x30, 0]), CertificateError::Key(KeyError::Damaged)),
    ];
    for (certificates, key, expected) in cases {
        assert_eq!(certified(certificates, key).err(), Some(expected), "{certificates}");
    }
    assert!(certified(&own, &key).is_ok() && certified(&(own.clone() + &key), &key).is_ok());
}
