//! An application of the tenant, and how it authenticates: `[tenant.client]` and `[management_api]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client_secret::{self, SecretKeys};
use super::client_table::{ClientKeys, ClientTable};
use super::problem::{Checked, Reported};
use super::reader::{Reader, Setting};
use super::reloadable::Reloadable;
use super::schema::{Type, variable};
use super::source_values::Value;
use super::values::{Parsed, absolute_path, choice, line};
use super::{client_key, host};
use crate::secret::Secret;
use crate::signing::{ClientCertificate, SigningAlg, SigningKey};

/// `[tenant.client]` or `[management_api]`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The table that it is from.
    pub table: ClientTable,
    /// The application's client id.
    pub id: String,
    /// What the application authenticates with.
    pub credential: Credential,
    /// What it tries first, and is to replace `credential`.
    pub next: Option<Credential>,
    /// Where the two are from.
    pub files: CredentialFiles,
    /// The token endpoint's host, and perhaps port, with `tls_client_auth`; `None` is the one that the tenant names.
    pub token_host: Option<Arc<str>>,
}

/// What the application proves its identity with at the token endpoint. Shared, so that it is in memory once.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// `client_secret_post`: a secret, in the form (RFC 6749 §2.3.1).
    SecretPost(Arc<Secret>),
    /// `client_secret_basic`: a secret, in the `Authorization` header.
    SecretBasic(Arc<Secret>),
    /// `private_key_jwt`: a key, which signs an assertion (RFC 7523 §2.2).
    PrivateKeyJwt(Arc<SigningKey>),
    /// `tls_client_auth`: a certificate, in TLS (RFC 8705 §2).
    TlsClientAuth(Arc<ClientCertificate>),
}

impl Credential {
    /// The key that signs JWTs, if it is one or has one.
    pub fn signing_key(&self) -> Option<&Arc<SigningKey>> {
        match self {
            Self::PrivateKeyJwt(key) => Some(key),
            Self::TlsClientAuth(certificate) => certificate.signing_key(),
            Self::SecretPost(_) | Self::SecretBasic(_) => None,
        }
    }
}

/// The files that credentials are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CredentialFiles {
    /// None: the secret is in the configuration or in the environment.
    #[default]
    None,
    /// A file with the secret.
    Secret(PathBuf),
    /// A file with the key, and perhaps one with the next key.
    Keys(PathBuf, Option<PathBuf>),
    /// A file with the certificate, and one with its key.
    Certificate(PathBuf, PathBuf),
}

impl CredentialFiles {
    /// The paths.
    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Self::None => Vec::new(),
            Self::Secret(path) | Self::Keys(path, None) => vec![path],
            Self::Keys(one, Some(other)) | Self::Certificate(one, other) => vec![one, other],
        }
    }
}

impl Client {
    /// Whether both have the same credentials. Where they are from makes no difference.
    pub fn has_credentials_of(&self, other: &Self) -> bool {
        let Self { table: _, id, credential, next, files: _, token_host } = self;
        *id == other.id
            && *credential == other.credential
            && *next == other.next
            && *token_host == other.token_host
    }

    /// The client with what its files contain now; `None` if one of them cannot be used.
    pub fn reread(&self) -> Option<Self> {
        let alg =
            |credential: &Credential| credential.signing_key().map_or(SigningAlg::Rs256, |key| key.alg());
        let key = |path: &Path| {
            let (key, _) = client_key::key_from(path, alg(&self.credential)).ok()?;
            Some(Credential::PrivateKeyJwt(Arc::new(key)))
        };
        let (credential, next) = match &self.files {
            CredentialFiles::None => return Some(self.clone()),
            CredentialFiles::Secret(path) => {
                let (secret, _) = client_secret::secret_from(path).ok()?;
                match self.credential {
                    Credential::SecretBasic(_) => (Credential::SecretBasic(Arc::new(secret)), None),
                    _ => (Credential::SecretPost(Arc::new(secret)), None),
                }
            }
            CredentialFiles::Keys(path, next) => {
                let next = next.as_ref().map(|path| key(path).ok_or(())).transpose().ok()?;
                (key(path)?, next)
            }
            CredentialFiles::Certificate(certificate, key) => {
                let read = client_key::certificate_from([certificate, key], alg(&self.credential)).ok()?;
                (Credential::TlsClientAuth(Arc::new(read.0)), None)
            }
        };
        Some(Self { credential, next, ..self.clone() })
    }

    /// The client with each credential that equals one of `known` replaced by it, so that it is in memory once.
    #[must_use]
    pub fn sharing(mut self, known: &[Credential]) -> Self {
        let share = |credential: &mut Credential| {
            if let Some(same) = known.iter().find(|same| *same == credential) {
                *credential = same.clone();
            }
        };
        share(&mut self.credential);
        self.next.iter_mut().for_each(share);
        self
    }
}

impl Reloadable for Client {
    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        use Credential::{PrivateKeyJwt, SecretBasic, SecretPost, TlsClientAuth};

        // Another method is a change of `auth`, and of the files that it needs.
        let keys = self.table.keys();
        let different = match (&self.credential, &new.credential) {
            (SecretPost(old) | SecretBasic(old), SecretPost(new) | SecretBasic(new)) if old != new => {
                Some(keys.secret)
            }
            (PrivateKeyJwt(old), PrivateKeyJwt(new)) if old.kid() != new.kid() => Some(keys.key_file),
            (TlsClientAuth(old), TlsClientAuth(new)) if old.fingerprint() != new.fingerprint() => {
                Some(keys.certificate_file)
            }
            _ => None,
        };
        let kid = |next: &Option<Credential>| {
            next.as_ref().and_then(Credential::signing_key).map(|key| key.kid().to_owned())
        };
        different
            .into_iter()
            .chain((kid(&self.next) != kid(&new.next)).then_some(keys.next_key_file))
            .collect()
    }
}

/// The authentication methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    SecretPost,
    SecretBasic,
    PrivateKeyJwt,
    TlsClientAuth,
}

impl Method {
    const ALL: [Self; 4] = [Self::SecretPost, Self::SecretBasic, Self::PrivateKeyJwt, Self::TlsClientAuth];

    /// The method's name in the configuration (RFC 7591 §2, RFC 8705 §2.1.1).
    const fn as_str(self) -> &'static str {
        match self {
            Self::SecretPost => "client_secret_post",
            Self::SecretBasic => "client_secret_basic",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }
}

/// The keys that only some methods use.
struct MethodKeys {
    /// Their paths, and those of the others.
    paths: &'static ClientKeys,
    secret: SecretKeys,
    key_file: Checked<Option<Setting<String>>>,
    next_key_file: Checked<Option<Setting<String>>>,
    signing_alg: Checked<Option<Setting<SigningAlg>>>,
    certificate_file: Checked<Option<Setting<String>>>,
    token_host: Checked<Option<Setting<String>>>,
}

/// Reads a table and the files that it names.
pub(super) fn read(reader: &mut Reader, table: ClientTable) -> Checked<Client> {
    let paths = table.keys();
    let id = id(reader, paths);
    let keys = MethodKeys {
        paths,
        secret: SecretKeys::parse(reader, paths),
        key_file: reader.owned(paths.key_file, absolute_path),
        next_key_file: reader.owned(paths.next_key_file, absolute_path),
        signing_alg: reader.parsed(paths.signing_alg, |takes, value| choice(takes, value, SigningAlg::named)),
        certificate_file: reader.owned(paths.certificate_file, absolute_path),
        token_host: reader.parsed(paths.token_host, parse_host),
    };
    let method = reader.parsed(paths.auth, |takes, value| choice(takes, value, Method::named));
    let method = method.and_then(|method| reader.required(paths.auth, method));
    let method = method?;
    let misplaced = keys.misplaced(reader, &method);
    let token_host = keys.token_host.as_ref().map_err(|reported| *reported);
    let token_host = token_host.map(|host| host.as_ref().map(|host| host.value.as_str().into()));
    let read = keys.read(reader, method.value);
    let (id, (credential, next, files), token_host) = (id?, read?, token_host?);
    misplaced?;
    Ok(Client { table, id, credential, next, files, token_host })
}

impl MethodKeys {
    /// Refuses every key that is set and that the method does not use.
    fn misplaced(&self, reader: &mut Reader, method: &Setting<Method>) -> Checked<()> {
        use Method::{PrivateKeyJwt, SecretBasic, SecretPost, TlsClientAuth};

        fn origin<T>(setting: &Checked<Option<Setting<T>>>) -> Option<Option<&str>> {
            Some(setting.as_ref().ok()?.as_ref()?.origin.as_deref())
        }
        let paths = self.paths;
        let rows: [(_, _, &[Method]); 7] = [
            (paths.secret, origin(&self.secret.plain), &[SecretPost, SecretBasic]),
            (paths.secret_file, origin(&self.secret.file), &[SecretPost, SecretBasic]),
            (paths.key_file, origin(&self.key_file), &[PrivateKeyJwt, TlsClientAuth]),
            (paths.next_key_file, origin(&self.next_key_file), &[PrivateKeyJwt]),
            (paths.signing_alg, origin(&self.signing_alg), &[PrivateKeyJwt, TlsClientAuth]),
            (paths.certificate_file, origin(&self.certificate_file), &[TlsClientAuth]),
            (paths.token_host, origin(&self.token_host), &[TlsClientAuth]),
        ];
        let mut outcome = Ok(());
        for (key, origin, methods) in rows {
            if let Some(origin) = origin.filter(|_| !methods.contains(&method.value)) {
                let names: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
                let default = if method.origin.is_some() { "" } else { ", the default" };
                let text = format!(
                    "goes with {}, and {} is {}{default}",
                    names.join(" or "),
                    paths.auth,
                    method.value.as_str()
                );
                outcome = Err(reader.report.problem(key, origin, text));
            }
        }
        outcome
    }

    /// Reads the credentials of this method.
    fn read(
        self,
        reader: &mut Reader,
        method: Method,
    ) -> Checked<(Credential, Option<Credential>, CredentialFiles)> {
        let paths = self.paths;
        let alg = self.signing_alg.map(|alg| alg.map_or(SigningAlg::Rs256, |alg| alg.value));
        // The files are read all the same, so that their problems are reported as well.
        let read_alg = alg.as_ref().map_or(SigningAlg::Rs256, |alg| *alg);
        match method {
            Method::SecretPost | Method::SecretBasic => {
                let (secret, file) = self.secret.read(reader, paths)?;
                let secret = Arc::new(secret);
                let credential = match method {
                    Method::SecretBasic => Credential::SecretBasic(secret),
                    _ => Credential::SecretPost(secret),
                };
                Ok((credential, None, file.map_or(CredentialFiles::None, CredentialFiles::Secret)))
            }
            Method::PrivateKeyJwt => {
                let path = required(reader, paths.key_file, self.key_file, "the client's private key");
                let next_path = self.next_key_file;
                let mut read = |path: &Setting<String>| client_key::read_key(reader, path, read_alg);
                let key = path.as_ref().map_err(|reported| *reported).and_then(&mut read);
                let next = match &next_path {
                    Ok(next) => next.as_ref().map(read).transpose(),
                    Err(reported) => Err(*reported),
                };
                let (key, next, path, next_path, _) = (key?, next?, path?, next_path?, alg?);
                if let Some(setting) = next_path.as_ref().filter(|_| next.as_ref() == Some(&key)) {
                    reader.warn(setting, format!("holds the same key as {}", paths.key_file));
                }
                let files = CredentialFiles::Keys(path.value.into(), next_path.map(|path| path.value.into()));
                let jwt = |key| Credential::PrivateKeyJwt(Arc::new(key));
                Ok((jwt(key), next.map(jwt), files))
            }
            Method::TlsClientAuth => {
                let certificate = required(
                    reader,
                    paths.certificate_file,
                    self.certificate_file,
                    "the client's certificate",
                );
                let key = required(reader, paths.key_file, self.key_file, "the certificate's private key");
                let (certificate, key) = (certificate?, key?);
                let read = client_key::read_certificate(reader, &certificate, &key, read_alg);
                let (read, _) = (read?, alg?);
                let files = CredentialFiles::Certificate(certificate.value.into(), key.value.into());
                Ok((Credential::TlsClientAuth(Arc::new(read)), None, files))
            }
        }
    }
}

/// The path of a file that the method requires.
fn required(
    reader: &mut Reader,
    key: &str,
    path: Checked<Option<Setting<String>>>,
    what: &str,
) -> Result<Setting<String>, Reported> {
    path?.ok_or_else(|| {
        let text = format!("required: the file that holds {what}, here or in {}", variable(key));
        reader.missing(key, text)
    })
}

fn id(reader: &mut Reader, paths: &ClientKeys) -> Checked<String> {
    let id = reader.owned(paths.id, line)?;
    reader.required(paths.id, id).map(|id| id.value)
}

fn parse_host(takes: Type, value: &Value) -> Parsed<String> {
    let host = line(takes, value)?.to_ascii_lowercase();
    if host.contains(['/', '?', '#', '@']) {
        return Err("must be a host name, or a host name and a port, without a scheme and a path".to_owned());
    }
    match host::split(&host) {
        Ok(split) if !split.is_absolute => Ok(host),
        Ok(_) => Err("must not end in a dot".to_owned()),
        Err(fault) => Err(format!("must be a host name, or a host name and a port: {fault}")),
    }
}
