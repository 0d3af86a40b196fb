//! Faults: the ways in which a simulated provider fails on request.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use crate::domain::freshness::Moment;
use crate::fake_auth0::fault::{ExpiresIn, WaitHint, hint_at};
use crate::fake_auth0::reply::{self, Delivery};
use crate::fake_auth0::wire::Before;

use super::refusals::{Refused, page};

/// A way for a provider to answer one request, other than as it should.
#[derive(Clone, Debug)]
pub enum ProviderFault {
    /// Waits before processing. A client that hangs up meanwhile has redeemed nothing.
    Latency(Duration),
    /// Waits after processing, and answers then. A client that hangs up meanwhile has redeemed its token.
    LateAnswer(Duration),
    /// Fails before processing: no token is issued, and the refresh token stays as it is.
    Before(Breakdown),
    /// Issues a token, replaces the refresh token if that is the provider's rule, and then fails.
    After(Breakdown),
    /// Refuses the request in the provider's dialect, and processes nothing.
    Refused(Refused),
    /// Processes the request, and changes the genuine answer.
    Changed(Change),
}

/// How an answer fails.
///
/// Connections break at any time (RFC 9112 §9.6), and a client cannot know what the server has done until then. Okta and
/// Xero have a grace for that reason (developer.okta.com, "Grace period for token rotation"; developer.xero.com, "Token
/// types"). No service is known to send endless or slow bodies; they show that the daemon's bounds hold.
#[derive(Clone, Debug)]
pub enum Breakdown {
    /// An error page with this status, as load balancers in front of each of these services send, and how it states
    /// when to retry. 429 with `Retry-After` is what Slack, GitLab and Dropbox document as their rate limits.
    Status(u16, WaitHint),
    /// The request is read and never answered.
    Stall,
    /// The request is read, and the connection is closed without an answer.
    Close,
    /// Half of the answer, then a reset of the connection.
    Reset,
    /// Half of the answer's body under its full length, then a close.
    Truncate,
    /// Half of the answer's body, then nothing, on an open connection.
    StallBody,
    /// The answer, one byte of its body at a time, with this pause before each.
    Drip(Duration),
    /// 302 to this location: Salesforce redirects requests for a former My Domain (help.salesforce.com, "My Domain
    /// Redirections"), and providers redirect from an address that is not their token endpoint.
    Redirect(String),
    /// 200 with a web page, as from captive portals, and from a page that was configured as token endpoint.
    Html200,
    /// 200 with an empty body.
    Empty200,
    /// The answer, padded with spaces to this many bytes.
    Padded(usize),
    /// The answer in chunks of one byte each, padded with spaces to this many bytes.
    Crumbs(usize),
    /// This status with this text, as JSON. Services quote what they were sent, and what they know, in
    /// `error_description`.
    Says(u16, String),
    /// 400 with an object as `error`, as Facebook sends it (developers.facebook.com, "Handling errors").
    ErrorObject,
}

/// A change of a genuine answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another `expires_in`: as text from Entra's endpoint v1 (learn.microsoft.com, "Authorize access using the OAuth 2.0
    /// code grant flow"), missing from Salesforce, and numbers that no service should send.
    ExpiresIn(ExpiresIn),
    /// No refresh token, and the redeemed one stays valid, as RFC 6749 §6 allows.
    NoRefreshToken,
    /// The redeemed refresh token once more, and it stays valid, as at LinkedIn.
    SameRefreshToken,
    /// Scopes with commas between them, as from Slack and GitHub.
    CommaScopes,
    /// Scopes in a member `scopes`, as Bitbucket wrote it until May 2026.
    ScopesMember,
    /// No scopes, which means those of before (RFC 6749 §5.1).
    NoScope,
    /// A form instead of JSON, as from GitHub for a client that does not ask for JSON.
    FormEncoded,
    /// Token, lifetime and scopes in an object `authed_user`, as Slack states a user's token at installation
    /// (docs.slack.dev, method `oauth.v2.access`).
    AuthedUser,
    /// JSON as `text/plain`.
    PlainText,
    /// No access token.
    NoAccessToken,
}

/// The faults of a provider.
#[derive(Default)]
pub(super) struct Faults {
    standing: Vec<ProviderFault>,
    next: VecDeque<(usize, ProviderFault)>,
    next_of_user: HashMap<String, VecDeque<(usize, ProviderFault)>>,
}

impl Faults {
    pub fn add(&mut self, fault: ProviderFault) {
        self.standing.push(fault);
    }

    pub fn add_next(&mut self, user: Option<&str>, n: usize, fault: ProviderFault) {
        let queue = match user {
            Some(user) => self.next_of_user.entry(user.to_owned()).or_default(),
            None => &mut self.next,
        };
        if n > 0 {
            queue.push_back((n, fault));
        }
    }

    /// Takes the plan for one request with a refresh token of `user`.
    pub fn plan(&mut self, user: Option<&str>) -> Plan {
        let mut plan = Plan::default();
        self.standing.iter().for_each(|fault| plan.add(fault));
        let of_user = user.and_then(|user| self.next_of_user.get_mut(user));
        for queue in [Some(&mut self.next), of_user].into_iter().flatten() {
            if let Some((left, fault)) = queue.front_mut() {
                plan.add(fault);
                *left -= 1;
                if *left == 0 {
                    queue.pop_front();
                }
            }
        }
        plan
    }
}

/// What happens to one request.
#[derive(Default)]
pub(super) struct Plan {
    pub latency: Duration,
    pub late: Duration,
    pub before: Option<Breakdown>,
    pub after: Option<Breakdown>,
    pub refused: Option<Refused>,
    pub changes: Vec<Change>,
}

impl Plan {
    fn add(&mut self, fault: &ProviderFault) {
        match fault {
            ProviderFault::Latency(span) => self.latency += *span,
            ProviderFault::LateAnswer(span) => self.late += *span,
            ProviderFault::Before(breakdown) => self.before = Some(breakdown.clone()),
            ProviderFault::After(breakdown) => self.after = Some(breakdown.clone()),
            ProviderFault::Refused(refused) => self.refused = Some(*refused),
            ProviderFault::Changed(change) => self.changes.push(*change),
        }
    }

    /// Whether the redeemed refresh token stays as it is.
    pub fn keeps_refresh_token(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::NoRefreshToken | Change::SameRefreshToken))
    }
}

impl Breakdown {
    /// Makes the answer that fails, and how much of it arrives. `genuine` is what the provider would have answered.
    pub fn apply(&self, genuine: Response<Bytes>, now: Moment) -> (Response<Bytes>, Delivery) {
        let mut response = genuine;
        let delivery = match self {
            Self::Stall => Delivery::HeadersStall,
            Self::Close => Delivery::Closed,
            Self::Reset => Delivery::ResetMidway,
            Self::Truncate => Delivery::Truncated,
            Self::StallBody => Delivery::BodyStalls,
            Self::Drip(pause) => Delivery::Dripping(*pause),
            _ => Delivery::Whole,
        };
        match self {
            Self::Status(status, wait) => {
                response = page(*status);
                hint_at(&mut response, *wait, now);
            }
            Self::Redirect(to) => {
                response = reply::with_type(StatusCode::FOUND, "text/plain; charset=utf-8", "Found");
                reply::set(&mut response, "location", to);
            }
            Self::Html200 => response = page(200),
            Self::Says(status, text) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
                response = reply::with_type(status, "application/json", text.clone());
            }
            Self::Empty200 => response = reply::with_type(StatusCode::OK, "application/json", ""),
            Self::ErrorObject => {
                response = reply::with_type(StatusCode::BAD_REQUEST, "application/json", ERROR_OBJECT);
            }
            Self::Padded(size) => *response.body_mut() = padded(response.body(), *size).into(),
            Self::Crumbs(size) => {
                let before = Before::in_crumbs(&padded(response.body(), *size));
                response.extensions_mut().insert(before);
            }
            _ => {}
        }
        (response, delivery)
    }

    /// Whether the genuine answer arrives in the end.
    pub fn delivers(&self) -> bool {
        matches!(self, Self::Drip(_) | Self::Padded(_) | Self::Crumbs(_))
    }
}

const ERROR_OBJECT: &str = r#"{"error":{"message":"Error validating access token: The session has been invalidated.","type":"OAuthException","code":190,"error_subcode":460,"fbtrace_id":"demo"}}"#;

fn padded(body: &[u8], size: usize) -> Vec<u8> {
    let mut padded = body.to_vec();
    padded.resize(size.max(padded.len()), b' ');
    padded
}

/// Marks a body as plain text.
pub(super) fn as_plain_text(response: &mut Response<Bytes>) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
}
