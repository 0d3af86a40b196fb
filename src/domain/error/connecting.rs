//! Problems with proxies, certificates and TLS on the way to Auth0: each cause and its fix.

/// The problem with the proxy on the way to Auth0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProblem {
    /// The proxy cannot be connected to.
    #[error("cannot be reached: check tenant.proxy, or the variable HTTPS_PROXY if that key is not set")]
    Unreachable,
    /// The proxy asks for a user and a password, or for other ones.
    #[error("asks for authentication: give tenant.proxy a user and a password it accepts")]
    Authentication,
    /// The proxy refuses to connect to the tenant, or closes the connection.
    #[error(
        "refuses to connect to Auth0: allow tenant.domain there, and check that tenant.proxy names an HTTP proxy"
    )]
    Refused,
    /// The proxy was reached, but the connection took longer than `tenant.connect_timeout`.
    #[error(
        "was reached, but there was no connection to Auth0 within tenant.connect_timeout: check that it can reach \
         tenant.domain, or raise that timeout"
    )]
    TooSlow,
    /// The proxy's response to CONNECT exceeds the limit.
    #[error("sent an invalid response: check that tenant.proxy names an HTTP proxy")]
    NotUnderstood,
}

/// The problem with the tenant's certificate or with the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// No trusted authority signed it.
    #[error(
        "its certificate is not signed by an authority known here; behind a TLS-inspecting proxy set tenant.ca_file"
    )]
    UnknownIssuer,
    /// The certificate is for another name.
    #[error("its certificate is for another name; check tenant.domain")]
    WrongName,
    /// The certificate has expired.
    #[error(
        "its certificate is not valid at this time; check this machine's clock, then ask the operator of that host"
    )]
    WrongTime,
    /// The certificate is not valid yet.
    #[error("its certificate is not valid yet; check this machine's clock")]
    NotYet,
    /// A known authority has that name, but another key.
    #[error(
        "its certificate is not signed by the authority of that name that is known here; tenant.ca_file may hold an \
         older one, or a key is too short"
    )]
    OtherSigner,
    /// The certificate is an authority's own.
    #[error("its certificate is that of an authority; have that authority issue one for tenant.domain")]
    Authority,
    /// The certificate has no subjectAltName.
    #[error(
        "its certificate names a host only in its common name, which is ignored; have it issued with a \
         subjectAltName"
    )]
    OnlyCommonName,
    /// Name constraints of an authority exclude this name.
    #[error(
        "an authority above its certificate may not sign for this name; check tenant.domain, or have another authority \
         sign it"
    )]
    OutsideConstraints,
    /// An intermediate certificate has expired, and the host's own has not.
    #[error(
        "an authority between its certificate and the one known here has expired; have that host send the intermediate \
         certificate that is valid"
    )]
    ExpiredIntermediate,
    /// An intermediate certificate is not an authority's, or exceeds a path length.
    #[error(
        "a certificate between its own and the authority known here may not sign others; have that host send the right \
         intermediate certificates"
    )]
    NoAuthority,
    /// The certificate's extended key usage excludes servers.
    #[error("its certificate is not for servers; have it issued with the extended key usage serverAuth")]
    NotForServers,
    /// The certificate has an unknown critical extension.
    #[error("its certificate has a critical extension that is not known here; have it issued without")]
    CriticalExtension,
    /// The signature algorithm is not accepted, as SHA-1 is not.
    #[error(
        "its certificate is signed by an algorithm that is not accepted; have it issued with SHA-256 or better"
    )]
    Algorithm,
    /// Any other problem with the certificate.
    #[error("its certificate is not acceptable; have it issued anew")]
    Certificate,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed; check that tenant.domain and its port lead to an HTTPS server")]
    Handshake,
}
