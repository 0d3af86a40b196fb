//! What can be wrong on the way to Auth0, with proxies and with certificates: each cause and its fix.

/// What is wrong with the proxy between here and Auth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProblem {
    /// It cannot be connected to.
    #[error("cannot be reached: check tenant.proxy, or the variable HTTPS_PROXY if that key is not set")]
    Unreachable,
    /// It wants a user and a password, or others.
    #[error("asks for authentication: give tenant.proxy a user and a password it accepts")]
    Authentication,
    /// It will not connect to the tenant, or cuts the connection off.
    #[error(
        "will not connect to Auth0: allow tenant.domain there, and check that tenant.proxy names an HTTP proxy"
    )]
    Refused,
    /// It was reached, and that was all in `tenant.connect_timeout`.
    #[error(
        "was reached, but there was no connection to Auth0 within tenant.connect_timeout: check that it can reach \
         tenant.domain, or give it more time"
    )]
    TooSlow,
    /// It answers CONNECT with more than an answer may be.
    #[error("answers with something that is not understood: check that tenant.proxy names an HTTP proxy")]
    NotUnderstood,
}

/// What is wrong with the tenant's certificate, or with the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// No trusted authority signed it.
    #[error(
        "its certificate is not signed by an authority known here; behind a TLS-inspecting proxy set tenant.ca_file"
    )]
    UnknownIssuer,
    /// It is for another name.
    #[error("its certificate is for another name; check tenant.domain")]
    WrongName,
    /// It has expired, or is not valid yet.
    #[error(
        "its certificate is not valid at this time; check this machine's clock, then ask who runs that host"
    )]
    WrongTime,
    /// It is not valid yet.
    #[error("its certificate is not valid yet; check this machine's clock")]
    NotYet,
    /// An authority of the same name is known, with another key.
    #[error(
        "its certificate is not signed by the authority of that name that is known here; tenant.ca_file may hold an \
         older one, or a key is too short"
    )]
    OtherSigner,
    /// It is an authority's.
    #[error(
        "it shows the certificate of an authority as its own; have that authority issue one for tenant.domain"
    )]
    Authority,
    /// It has no subjectAltName.
    #[error(
        "its certificate names a host in its common name alone, which does not count; have it issued with a \
         subjectAltName"
    )]
    OnlyCommonName,
    /// Name constraints of an authority leave this name out.
    #[error(
        "an authority above its certificate may not sign for this name; check tenant.domain, or have another authority \
         sign it"
    )]
    OutsideConstraints,
    /// An intermediate certificate has expired, and its own has not.
    #[error(
        "an authority between its certificate and the one known here has expired; have that host send the intermediate \
         certificate that is valid"
    )]
    ExpiredIntermediate,
    /// An intermediate certificate is no authority's, or may not be so far up.
    #[error(
        "a certificate between its own and the authority known here may not sign others; have that host send the right \
         intermediate certificates"
    )]
    NoAuthority,
    /// Its extended key usage leaves servers out.
    #[error("its certificate is not for servers; have it issued with the extended key usage serverAuth")]
    NotForServers,
    /// A critical extension is not known.
    #[error("its certificate has a critical extension that is not known here; have it issued without")]
    CriticalExtension,
    /// SHA-1, for example.
    #[error(
        "its certificate is signed by an algorithm that is not accepted; have it issued with SHA-256 or better"
    )]
    Algorithm,
    /// Anything else about the certificate.
    #[error("its certificate is not acceptable; have it issued anew")]
    Certificate,
    /// It does not speak TLS as we do.
    #[error("the TLS handshake failed; check that tenant.domain and its port lead to an HTTPS server")]
    Handshake,
}
