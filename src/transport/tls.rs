//! TLS settings: the platform's certificate authorities and those of a `ca_file`, and the causes of handshake failures.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::domain::error::TlsProblem;
use crate::signing::ClientCertificate;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The platform has no certificate authorities, and `ca_file` adds none.
    #[error(
        "no certificate authority is known on this machine: install its package of CA certificates (ca-certificates), \
         point SSL_CERT_FILE at a bundle, or set {table}.ca_file"
    )]
    NoRoots {
        /// The table of the configuration.
        table: &'static str,
    },
    /// A certificate of `ca_file` cannot be used as an authority.
    #[error("{table}.ca_file holds a certificate that cannot be used as an authority")]
    BadRoot {
        /// The table of the configuration.
        table: &'static str,
    },
    /// The crypto provider lacks what TLS needs, which is a fault of the build.
    #[error("this build cannot speak TLS")]
    Provider,
}

/// The platform's authorities as of the first call, which comes before the sandbox. The sandbox hides some of the
/// places where platforms keep them, and a reload that found fewer authorities could break connections.
fn platform_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Platforms ship certificates that current parsers reject. Those are left out.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// The client's TLS settings: TLS 1.2 and 1.3, aws-lc-rs, the platform's roots and `extra`. Errors name `table`.
pub fn client_config(
    extra: &[CertificateDer<'static>],
    table: &'static str,
) -> Result<ClientConfig, TlsError> {
    let mut roots = platform_roots().clone();
    for certificate in extra {
        roots.add(certificate.clone()).map_err(|_| TlsError::BadRoot { table })?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots { table });
    }
    // Named explicitly: the process's default panics where two providers are linked.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let verifier = Verifier(verifier.map_err(|_| TlsError::Provider)?);
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The settings of `config` with a client's certificate, which is presented where a server asks for one. Sessions are
/// remembered apart, so that none is resumed that was begun without the certificate.
pub fn presenting(mut config: ClientConfig, certificate: &ClientCertificate) -> ClientConfig {
    let certified = Arc::clone(certificate.certified());
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    config.resumption = Resumption::default();
    config
}

/// Whether `error` says that the server refuses the client's certificate (RFC 8446 §6.2). With TLS 1.3 the client
/// learns that when it reads the response, after its own side of the handshake.
pub fn is_refusal_of_the_client(error: &(dyn Error + 'static)) -> bool {
    use AlertDescription as Alert;

    let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref() else { return false };
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// The problem that `error` stands for, if it is an error of TLS.
pub fn problem(error: &(dyn Error + 'static)) -> Option<TlsProblem> {
    use CertificateError as Reason;

    let error = error.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(reason) = error else { return Some(TlsProblem::Handshake) };
    Some(match reason {
        Reason::UnknownIssuer => TlsProblem::UnknownIssuer,
        Reason::BadSignature => TlsProblem::OtherSigner,
        Reason::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            TlsProblem::OnlyCommonName
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => TlsProblem::WrongName,
        Reason::Expired | Reason::ExpiredContext { .. } => TlsProblem::WrongTime,
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => TlsProblem::NotYet,
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => TlsProblem::NotForServers,
        Reason::UnhandledCriticalExtension => TlsProblem::CriticalExtension,
        Reason::UnsupportedSignatureAlgorithmContext { .. }
        | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => TlsProblem::Algorithm,
        Reason::Other(OtherError(other)) => match other.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => TlsProblem::Authority,
            Some(webpki::Error::NameConstraintViolation) => TlsProblem::OutsideConstraints,
            Some(webpki::Error::EndEntityUsedAsCa | webpki::Error::PathLenConstraintViolated) => {
                TlsProblem::NoAuthority
            }
            Some(webpki::Error::UnsupportedCriticalExtension) => TlsProblem::CriticalExtension,
            None if other.is::<IntermediateExpired>() => TlsProblem::ExpiredIntermediate,
            _ => TlsProblem::Certificate,
        },
        _ => TlsProblem::Certificate,
    })
}

/// rustls' verifier, extended by which certificate of the chain has expired.
#[derive(Debug)]
struct Verifier(Arc<WebPkiServerVerifier>);

/// An intermediate certificate has expired, and the server's own has not.
#[derive(Debug, thiserror::Error)]
#[error("an intermediate certificate has expired")]
struct IntermediateExpired;

fn is_expired(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext};
    matches!(error, rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }))
}

/// Returns webpki's verdicts unchanged, except that an expired intermediate certificate gets an error of its own.
impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify =
            |between| self.0.verify_server_cert(end_entity, between, server_name, ocsp_response, now);
        verify(intermediates).map_err(|error| {
            // webpki checks the server's own certificate first. If that one has expired, the error is the same without
            // the intermediate ones.
            match is_expired(&error) && verify(&[]).err().is_some_and(|alone| !is_expired(&alone)) {
                true => CertificateError::Other(OtherError(Arc::new(IntermediateExpired))).into(),
                false => error,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
