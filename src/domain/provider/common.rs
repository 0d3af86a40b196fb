//! Signs that mean the same at every provider: the codes of RFC 6749 §5.2 and of OpenID Connect, and common ones
//! besides.

use crate::domain::source::{OverReason, Processed, SourceFault};

use super::{Meaning, Sign};

use Meaning::{Misconfigured, Over, Passing, Throttled};
use Sign::Code;

/// The signs. `invalid_grant` is absent: what refuses a refresh token is for each provider to say.
pub(super) const SIGNS: &[(Sign, Meaning)] = &[
    // RFC 6749 §5.2.
    (Code("invalid_client"), Misconfigured(SourceFault::ProviderClient)),
    (Code("unauthorized_client"), Misconfigured(SourceFault::ProviderGrant)),
    (Code("unsupported_grant_type"), Misconfigured(SourceFault::ProviderGrant)),
    (Code("invalid_scope"), Misconfigured(SourceFault::ProviderScope)),
    (Code("invalid_request"), Misconfigured(SourceFault::ProviderRequest)),
    // RFC 8707 §2, and its name at Entra.
    (Code("invalid_target"), Misconfigured(SourceFault::ProviderScope)),
    (Code("invalid_resource"), Misconfigured(SourceFault::ProviderScope)),
    // OpenID Connect Core §3.1.2.6. Entra sends them at the token endpoint as well.
    (Code("interaction_required"), Over(OverReason::ReauthenticationRequired)),
    (Code("login_required"), Over(OverReason::ReauthenticationRequired)),
    (Code("consent_required"), Over(OverReason::ConsentRequired)),
    // RFC 6749 §4.1.2.1. The server could not handle the request.
    (Code("temporarily_unavailable"), Passing(Processed::No)),
    (Code("server_error"), Passing(Processed::Unknown)),
    // RFC 8628 §3.5, and what rate limits are called elsewhere.
    (Code("slow_down"), Throttled),
    (Code("rate_limited"), Throttled),
    (Code("rate_limit_exceeded"), Throttled),
    (Code("too_many_requests"), Throttled),
];
