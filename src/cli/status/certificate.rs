//! The row about the client's certificate.

use crate::api::types::ClientCertificateStatus;
use crate::cli::text::date;
use crate::domain::freshness::Timestamp;

/// Whether the certificate is valid, and until when.
pub(super) fn text(certificate: &ClientCertificateStatus, now: Timestamp) -> String {
    let at = date(&certificate.expires_at, now);
    match certificate.expired {
        false => format!("certificate valid, expires {at}"),
        true => format!("CERTIFICATE EXPIRED {at}; replace its certificate_file and key_file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_certificate_is_stated_and_an_expired_one_stands_out() {
        let ends = |expires_at: &str, expired| {
            let certificate = ClientCertificateStatus { expires_at: expires_at.to_owned(), expired };
            text(&certificate, Timestamp::parse("2026-11-22T10:00:00Z").unwrap())
        };
        assert_eq!(
            ends("2026-12-22T10:00:00Z", false),
            "certificate valid, expires in 30 d (2026-12-22T10:00:00Z)"
        );
        assert_eq!(
            ends("2026-11-22T09:00:00Z", true),
            "CERTIFICATE EXPIRED 1 h ago (2026-11-22T09:00:00Z); replace its certificate_file and key_file"
        );
    }
}
