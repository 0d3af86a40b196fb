//! The certificate that a client presents.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The certificate that a client has presented. A transport without sockets sets it as an extension of a request.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub CertificateDer<'static>);

impl PeerCertificate {
    /// Whether the subject ends in this common name. rcgen writes it as a UTF8String (tag 12), and last.
    pub(super) fn is_of(&self, name: &str) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(&self.0) else { return false };
        let Ok(length) = u8::try_from(name.len()) else { return false };
        certificate.subject().ends_with(&[&[12, length], name.as_bytes()].concat())
    }
}
