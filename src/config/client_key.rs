//! The files with an application's private keys and its certificate.

use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::problem::{Checked, Wrong};
use super::reader::{Reader, Setting};
use super::referenced_files::{self, Exposure};
use crate::signing::{CertificateError, ClientCertificate, SigningAlg, SigningKey};

/// More than any key and any chain of certificates, and a bound on the memory for a file that was named by mistake.
const LIMIT_KIB: u64 = 64;

/// Reads the key in a file that is kept from other users.
pub(super) fn read_key(reader: &mut Reader, path: &Setting<String>, alg: SigningAlg) -> Checked<SigningKey> {
    let (key, exposure) =
        key_from(Path::new(&path.value), alg).map_err(|wrong| reader.refuse(path, wrong))?;
    reader.require_private(path, "the file", exposure)?;
    reader.files.push(path.value.clone().into());
    Ok(key)
}

/// Reads a certificate and its key, whose file is kept from other users.
pub(super) fn read_certificate(
    reader: &mut Reader,
    certificate: &Setting<String>,
    key: &Setting<String>,
    alg: SigningAlg,
) -> Checked<ClientCertificate> {
    let paths = [certificate, key].map(|setting| Path::new(&setting.value));
    let (read, exposure) = certificate_from(paths, alg).map_err(|wrong| match wrong {
        WrongPair::Certificate(wrong) => reader.refuse(certificate, wrong),
        WrongPair::Key(wrong) => reader.refuse(key, wrong),
    })?;
    reader.require_private(key, "the file", exposure)?;
    reader.files.extend([certificate, key].map(|setting| setting.value.clone().into()));
    Ok(read)
}

/// What is wrong with a certificate and its key, and with which of the two files.
pub(super) enum WrongPair {
    /// With the certificate's file, or with the two together.
    Certificate(Wrong),
    /// With the key's file.
    Key(Wrong),
}

/// The key in a file, and what other users can do with that file.
pub(super) fn key_from(path: &Path, alg: SigningAlg) -> Result<(SigningKey, Option<Exposure>), Wrong> {
    let content = referenced_files::read(path, LIMIT_KIB)?;
    let pem = Zeroizing::new(content.bytes);
    let key = SigningKey::from_pem(&pem, alg).map_err(|error| error.to_string())?;
    Ok((key, content.exposure))
}

/// The certificate in a file with the key in another, and what other users can do with the key's file.
pub(super) fn certificate_from(
    [certificate, key]: [&Path; 2],
    alg: SigningAlg,
) -> Result<(ClientCertificate, Option<Exposure>), WrongPair> {
    let chain = referenced_files::read(certificate, LIMIT_KIB)
        .map_err(|error| WrongPair::Certificate(error.into()))?;
    let content = referenced_files::read(key, LIMIT_KIB).map_err(|error| WrongPair::Key(error.into()))?;
    // The certificate's file may contain a key, too.
    let (chain, pem) = (Zeroizing::new(chain.bytes), Zeroizing::new(content.bytes));
    match ClientCertificate::from_pem(&chain, &pem, alg) {
        Ok(read) => Ok((read, content.exposure)),
        Err(CertificateError::Key(error)) => Err(WrongPair::Key(error.to_string().into())),
        Err(error) => Err(WrongPair::Certificate(error.to_string().into())),
    }
}
