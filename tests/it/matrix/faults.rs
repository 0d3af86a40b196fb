//! The rows: each fault, and what it comes to. Written by hand from the table of errors and `docs/internals`; nothing here
//! is computed.

use std::time::Duration;

use cloakroom::fake_auth0::{CertificateKind, ExpiresIn, Fault, WaitHint};

use super::expected::{
    Expected, HIT_NEW, LOGIN_REQUIRED, MISS, NOT_FOUND, Wait, asked_to_wait, hit, login_required, miss,
    no_answer, no_management_token, not_found, rate_limited, refused_for_good, stale, timeout, unavailable,
};
use super::states::State;

/// Where a fault sits.
#[derive(Clone, Debug)]
pub enum At {
    /// The users endpoint, or all of the tenant where the fault is of that kind.
    Users(Fault),
    /// The next answer of the users endpoint, and no other.
    UsersOnce(Fault),
    /// The token endpoint, when the Management token has died.
    Grants(Fault),
    /// The users endpoint, and somebody else's lookup has met it already.
    Before(Fault),
    /// The certificate.
    Certificate(CertificateKind),
}

/// One fault, and what a lookup comes to in each state.
pub struct Row {
    pub group: &'static str,
    pub name: &'static str,
    pub at: At,
    /// Where there is nothing to serve, whether nothing is held or what is held is over.
    nothing: Expected,
    /// Where what is held is over, if that differs: there is a connection then that was made before.
    expired: Option<Expected>,
    due: Expected,
    stale: Expected,
    /// The answer is so late that whoever holds a token is answered before it comes.
    pub late: bool,
}

impl Row {
    pub fn expected(&self, state: State) -> Expected {
        match state {
            State::Expired => self.expired.clone().unwrap_or_else(|| self.nothing.clone()),
            State::None => self.nothing.clone(),
            State::Due => self.due.clone(),
            State::Stale => self.stale.clone(),
            // Whatever the fault: nobody is asked.
            State::Fresh => hit(0),
            State::Negative => not_found(0),
        }
    }

    /// The connection that was made before is silent, and the request is sent once more through a new one.
    fn asked_twice(self, expired: Expected, due: Expected, stale: Expected) -> Self {
        Self { expired: Some(expired), due, stale, ..self }
    }

    fn late(self) -> Self {
        Self { late: true, ..self }
    }
}

pub fn rows() -> Vec<Row> {
    let groups = [
        ("The way to Auth0", the_way()),
        ("What Auth0 answers for a user", users()),
        ("What Auth0 answers for a grant", grants()),
    ];
    groups
        .into_iter()
        .flat_map(|(group, rows)| rows.into_iter().map(move |row| Row { group, ..row }))
        .collect()
}

fn row(name: &'static str, at: At, nothing: Expected, due: Expected, stale: Expected) -> Row {
    Row { group: "", name, at, nothing, expired: None, due, stale, late: false }
}

/// Auth0 gives no answer for the user.
fn fails(name: &'static str, fault: Fault, nothing: Expected) -> Row {
    row(name, At::Users(fault), nothing, hit(1), stale(1))
}

/// Auth0 gives an answer for the user that is as good as any.
fn works(name: &'static str, fault: Fault) -> Row {
    row(name, At::Users(fault), miss(1), hit(1).then(HIT_NEW), miss(1))
}

/// The Management token has died, and no other is granted. Whoever holds something does not wait to see that.
fn no_grant(name: &'static str, fault: Fault, nothing: Expected) -> Row {
    row(name, At::Grants(fault), nothing.and_a_grant(), hit(0).and_a_grant(), stale(0).and_a_grant())
}

/// The same, and after a second or two another is asked for unbidden: that may be before the next lookup, or not.
fn no_grant_yet(name: &'static str, fault: Fault) -> Row {
    let row = no_grant(name, fault, no_management_token(Wait::Between(1, 2)).or_then(MISS));
    Row { stale: row.stale.or_then(MISS), ..row }
}

/// The Management token has died, and another is granted: at once for whoever has nothing, in the background for the
/// others, whose next lookup makes use of it.
fn granted(name: &'static str, fault: Fault) -> Row {
    let stale = stale(0).and_a_grant().then(MISS);
    row(name, At::Grants(fault), miss(1).and_a_grant(), hit(0).and_a_grant(), stale)
}

fn the_way() -> Vec<Row> {
    let certificate = |name, kind| row(name, At::Certificate(kind), unavailable(3), hit(1), stale(1));
    let slow = Fault::LateAnswer(Duration::from_secs(2));
    vec![
        fails("connection refused", Fault::RefuseConnections, unavailable(3)),
        certificate("certificate that has expired", CertificateKind::Expired),
        certificate("certificate for another name", CertificateKind::WrongName),
        fails("connection reset while the answer is read", Fault::ResetWhileReading, unavailable(3)),
        fails("answer cut short", Fault::Truncate, unavailable(3)),
        fails("no answer, ever", Fault::StallHeaders, timeout(1))
            .asked_twice(timeout(2), hit(2), stale(2))
            .late(),
        works("connections broken without notice", Fault::DeadConnections)
            .asked_twice(miss(2), hit(2).then(HIT_NEW), stale(2).then(HIT_NEW))
            .late(),
        works("three interim answers (1xx) before the one that counts", Fault::Interim(Some(3))),
        fails("interim answers without end", Fault::Interim(None), no_answer(1)),
        fails("answer that stops half-way", Fault::StallBody, timeout(1)).late(),
        row("answer that takes 2 s", At::Users(slow), miss(1), hit(1).then(HIT_NEW), stale(1).then(HIT_NEW))
            .late(),
    ]
}

fn users() -> Vec<Row> {
    let refused = |name, fault| {
        let nothing = refused_for_good(2, Wait::Between(10, 20)).and_a_grant();
        row(name, At::Users(fault), nothing, hit(2).and_a_grant(), stale(2).and_a_grant())
    };
    let a_moment = rate_limited(1, Wait::Between(1, 2));
    let limited = |name, hint, wait| fails(name, Fault::RateLimited(hint), rate_limited(1, wait));
    let later = |name, wait, told| fails(name, Fault::EdgePage { status: 503, wait }, asked_to_wait(told));
    vec![
        fails("200, empty", Fault::Empty200, unavailable(3)),
        fails("200, a web page", Fault::Html200, unavailable(3)),
        fails("200, 10 MiB", Fault::Body(10 << 20), no_answer(1)),
        fails("200, compressed although not accepted", Fault::GzipBomb, no_answer(1)),
        fails("200, 1 MiB in chunks of one byte", Fault::Crumbs((1 << 20) - 100), no_answer(1)),
        works("200, `Content-Encoding: Identity`", Fault::Encoding("Identity".into())),
        fails("200, another user", json(200, ANOTHER_USER), no_answer(1)),
        works("200, valid, as `text/plain`", Fault::WrongContentType),
        fails("302 to another path", Fault::Redirect("https://{domain}/elsewhere".into()), no_answer(1)),
        fails("301 to plain HTTP", moved("http://{domain}/elsewhere"), no_answer(1)),
        fails("400", json(400, BAD_REQUEST), no_answer(1)),
        row(
            "401, once",
            At::UsersOnce(Fault::Unauthorized),
            miss(2).and_a_grant(),
            hit(2).and_a_grant().then(HIT_NEW),
            miss(2).and_a_grant(),
        ),
        refused("401, for any Management token", Fault::Unauthorized),
        fails("401, a web page", edge(401), unavailable(3)),
        fails("403, a web page", edge(403), unavailable(3)),
        fails("403, JSON of a gateway", Fault::GatewayJson { status: 403 }, unavailable(3)),
        refused("403 `insufficient_scope`", json(403, INSUFFICIENT_SCOPE)),
        fails("404, a web page", page(404), no_answer(1)),
        row(
            "404 `inexistent_user`",
            At::Users(json(404, INEXISTENT_USER)),
            not_found(1),
            hit(1).then(NOT_FOUND),
            not_found(1),
        ),
        fails("408", page(408), unavailable(3)),
        limited("429, `Retry-After` of 7 s", WaitHint::Seconds(7), Wait::Between(7, 8)),
        limited("429, `Retry-After` of an hour", WaitHint::Seconds(3600), Wait::Exactly(60)),
        limited("429, `Retry-After` as a date, in 30 s", in_30_s(), Wait::Between(30, 33)),
        limited("429, `x-ratelimit-reset` in 20 s", in_20_s(), Wait::Between(20, 22)),
        // So soon over that the next lookup waits for its turn.
        fails("429 that names no time", Fault::RateLimited(WaitHint::None), a_moment.then(MISS)),
        row(
            "429 for another user, `Retry-After` of 30 s",
            At::Before(Fault::RateLimited(WaitHint::Seconds(30))),
            rate_limited(0, Wait::LeftOf(30, 33)),
            hit(0),
            stale(0),
        ),
        fails("500", page(500), unavailable(3)),
        fails("503, a web page", Fault::Edge503Html, unavailable(3)),
        later("503, `Retry-After` of 7 s", WaitHint::Seconds(7), Wait::Between(7, 8)),
        later("503, `Retry-After` of an hour", WaitHint::Seconds(3600), Wait::Exactly(60)),
        later("503, `Retry-After` as a date, in 30 s", in_30_s(), Wait::Between(30, 33)),
        row(
            "`Date` an hour ahead",
            At::Users(Fault::DateOffset(3600)),
            login_required(1),
            hit(1).then(LOGIN_REQUIRED),
            login_required(1),
        ),
        works("`Date` an hour behind", Fault::DateOffset(-3600)),
    ]
}

fn grants() -> Vec<Row> {
    let quota = Fault::QuotaExceeded { retry_after: 40 };
    vec![
        no_grant_yet("`expires_in` of 0", Fault::ExpiresIn(ExpiresIn::Zero)),
        no_grant_yet("`expires_in` of -1", Fault::ExpiresIn(ExpiresIn::Negative)),
        granted("no `expires_in`", Fault::ExpiresIn(ExpiresIn::Missing)),
        granted("`expires_in` as text", Fault::ExpiresIn(ExpiresIn::Text)),
        granted("`expires_in` of 1e18", Fault::ExpiresIn(ExpiresIn::Huge)),
        no_grant_yet("JWT with `exp` in the past", Fault::JwtExpInThePast),
        // What is held looks an hour older from then on.
        Row {
            due: hit(0).and_a_grant().then(MISS),
            ..granted("`Date` an hour ahead", Fault::DateOffset(3600))
        },
        granted("`Date` an hour behind", Fault::DateOffset(-3600)),
        no_grant_yet("200, a web page", Fault::Html200),
        no_grant_yet("no answer, ever", Fault::StallHeaders),
        no_grant_yet("503, a web page", Fault::Edge503Html),
        no_grant(
            "503, `Retry-After` of 7 s",
            Fault::EdgePage { status: 503, wait: WaitHint::Seconds(7) },
            no_management_token(Wait::Between(7, 8)),
        ),
        no_grant_yet("401, a web page", edge(401)),
        no_grant_yet("403, JSON of a gateway", Fault::GatewayJson { status: 403 }),
        no_grant_yet("a token with a line break in it", Fault::TokenEndsIn("\r\n")),
        no_grant_yet("a token with a NUL in it", Fault::TokenEndsIn("\0")),
        no_grant("401", Fault::Unauthorized, refused_for_good(0, Wait::Exactly(30))),
        no_grant("429, quota exceeded, `Retry-After` of 40 s", quota, no_management_token(Wait::Exactly(30))),
    ]
}

const ANOTHER_USER: &str = r#"{"user_id":"auth0|somebody-else","identities":[]}"#;
const BAD_REQUEST: &str = r#"{"statusCode":400,"error":"Bad Request","message":"Query validation error: 'x'.","errorCode":"invalid_query_string"}"#;
const INSUFFICIENT_SCOPE: &str = r#"{"statusCode":403,"error":"Forbidden","message":"Insufficient scope, expected any of: read:users","errorCode":"insufficient_scope"}"#;
const INEXISTENT_USER: &str = r#"{"statusCode":404,"error":"Not Found","message":"The user does not exist.","errorCode":"inexistent_user"}"#;

fn json(status: u16, body: &str) -> Fault {
    let headers = vec![("content-type".into(), "application/json; charset=utf-8".into())];
    Fault::Status { status, headers, body: body.into() }
}

/// As an edge or a proxy answers.
fn page(status: u16) -> Fault {
    let headers = vec![("content-type".into(), "text/html; charset=utf-8".into())];
    Fault::Status { status, headers, body: format!("<html><body><h1>{status}</h1></body></html>") }
}

fn edge(status: u16) -> Fault {
    Fault::EdgePage { status, wait: WaitHint::None }
}

fn moved(to: &str) -> Fault {
    Fault::Status { status: 301, headers: vec![("location".into(), to.into())], body: String::new() }
}

fn in_30_s() -> WaitHint {
    WaitHint::Date(Duration::from_secs(30))
}

fn in_20_s() -> WaitHint {
    WaitHint::Reset(Duration::from_secs(20))
}
