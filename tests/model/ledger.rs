//! The line between the daemon and the tenant: carries requests in memory, writes down what passes, and holds the
//! requests to the budget and the gate (guarantees 4 and 5).

pub mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom::config;
use cloakroom::domain::freshness::Moment;
use cloakroom::fake_auth0::{Endpoint, Tenant};
use cloakroom::transport::response::Answer;
use hyper::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::truth::{Doubt, Said};

/// Something that Auth0 said about a user, and the daemon heard.
#[derive(Clone, Debug)]
pub struct Heard {
    pub user: String,
    pub said: Said,
    /// Places in the order of everything that happens.
    pub sent_seq: u64,
    pub heard_seq: u64,
    /// By the daemon's clocks.
    pub sent: Moment,
    pub received: Moment,
    pub sent_at: Instant,
    /// By the tenant's clock, in milliseconds.
    pub true_sent: i64,
    pub true_received: i64,
    /// The `Date` header.
    pub date: i64,
    /// The lost time that `sent` and `received` count, until that is added which the answer itself tells of.
    counted: Option<(Duration, Duration)>,
}

impl Heard {
    /// How far the daemon's wall clock was behind, in milliseconds.
    pub fn behind(&self) -> i64 {
        self.true_received - self.received.wall.as_millis()
    }

    /// Whether `Date` is what a clock that is right would have written, or later.
    pub fn date_is_honest(&self) -> bool {
        self.date >= self.true_sent.div_euclid(1000) * 1000
    }

    /// How much later than the truth the daemon may think a token dies: dates have whole seconds, so a clock that is
    /// behind by less than that (or than the answer took) cannot be told from one that is right.
    pub fn excusable(&self) -> i64 {
        match self.date > self.received.wall.as_millis() {
            true => 0,
            false => self.behind().max(0),
        }
    }
}

#[derive(Default)]
pub struct Ledger {
    seq: u64,
    sends: Vec<Duration>,
    under_way: u32,
    grants_under_way: u32,
    users_under_way: Vec<String>,
    /// Until when nothing may be sent, on the daemon's elapsed clock.
    pub gate: Duration,
    /// By then it is open, whatever the jitter.
    gate_at_most: Duration,
    /// The gate that the last answer closes, and the lost time that this counts.
    closes: Option<(Duration, Duration)>,
    refusals_in_a_row: u32,
    pub heard: Vec<Heard>,
    /// When somebody last asked the daemon.
    asked: Option<Instant>,
    /// When a request last came to nothing: any, and those for each user.
    pub trouble: u64,
    /// When there last was no answer at all, or one that is about all users, and when there last was any other.
    silence: u64,
    answer: u64,
    /// For how long the daemon's clocks stood still, and how much of that an answer's date has told.
    paused: Duration,
    told: Duration,
    /// A date was wrong: then what an answer's date tells of lost time is wrong as well.
    dates_lie: bool,
    pub nothing: BTreeMap<String, u64>,
    /// When something on the way last answered a read with a refusal of its own, and when Auth0 last refused a bearer.
    page: Option<Instant>,
    refusal: Option<Instant>,
    pub requests: u64,
    pub throttled: u64,
    pub broken: Vec<String>,
}

impl Ledger {
    /// The next place in the order of events.
    pub fn tick(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub fn breaks(&mut self, why: String) {
        self.broken.push(why);
    }

    /// Somebody asks the daemon. Whether Auth0 can certainly be asked: nobody else has asked for so long that nothing
    /// is under way, all that may be spent is there, and the last request was answered.
    pub fn is_at_rest(&mut self, now: Moment, limits: &config::Upstream, longest: Duration) -> bool {
        let alone = self.asked.replace(Instant::now()).is_none_or(|last| last.elapsed() > longest);
        let full = f64::from(limits.burst) / limits.requests_per_second;
        let rested = self.sends.last().is_none_or(|last| (now.elapsed - *last).as_secs_f64() > full);
        // That something is no answer for one user is nobody else's reason not to ask.
        let answered = self.answer > self.silence;
        alone && self.under_way == 0 && rested && answered && now.elapsed > self.gate.max(self.gate_at_most)
    }

    /// Something happens that may cost a grant by itself.
    pub fn steps(&mut self) {
        self.page = None;
    }

    /// The daemon's clocks stood still.
    pub fn pauses(&mut self, span: Duration) {
        self.paused += span;
    }

    /// What the daemon cannot know of the time, in milliseconds: what it lost and was not told of yet, and dates that
    /// have whole seconds.
    pub fn doubt(&self) -> Doubt {
        let untold = i64::try_from((self.paused - self.told).as_millis()).unwrap();
        match self.paused.is_zero() {
            true => Some(0),
            // Less than ten seconds are taken for an answer that was long on its way.
            false => (!self.dates_lie).then_some(untold + 30_000),
        }
    }

    /// The same where the time of a report is compared with that of a login: a date that lies makes the one look older.
    pub fn doubt_about_logins(&self) -> Doubt {
        // Lost time is counted as if it were from before the report.
        let paused = i64::try_from(self.paused.as_millis()).unwrap();
        self.doubt().filter(|_| !self.dates_lie).map(|doubt| doubt + paused)
    }

    /// What the last answer has told of lost time is known by now, and the daemon counts it.
    fn settle(&mut self, lost: Duration) {
        if let Some(heard) = self.heard.last_mut()
            && let Some((sent, received)) = heard.counted.take()
        {
            heard.sent.elapsed += lost - sent;
            heard.received.elapsed += lost - received;
        }
        if let Some((gate, counted)) = self.closes.take() {
            self.gate = self.gate.max(gate + (lost - counted));
            self.gate_at_most += lost - counted;
        }
    }

    /// An answer came to what was sent when so much was `paused`.
    fn came(
        &mut self,
        answer: &Answer,
        is_about_a_user: bool,
        true_sent: i64,
        true_now: i64,
        paused: Duration,
    ) {
        let seq = self.tick();
        let is_a_refusal = is_json(answer) && matches!(answer.status.as_u16(), 400 | 401 | 403);
        let is_about_all = is_a_refusal || answer.status == StatusCode::TOO_MANY_REQUESTS;
        match is_about_a_user {
            true if !is_about_all => self.answer = seq,
            false if answer.status == StatusCode::OK => {}
            _ => self.silence = seq,
        }
        if is_json(answer) {
            let date = date(answer);
            self.dates_lie |= date < true_sent.div_euclid(1000) * 1000 || date > true_now;
            self.told = self.told.max(paused);
        }
    }

    fn leaves(&mut self, now: Moment, limits: &config::Upstream) {
        let now = now.elapsed;
        if now < self.gate {
            let left = self.gate - now;
            self.breaks(format!("a request is sent {left:?} before the gate opens"));
        }
        self.requests += 1;
        self.sends.push(now);
        for (before, from) in self.sends.iter().rev().enumerate() {
            let allowed =
                f64::from(limits.burst) + (now - *from).as_secs_f64() * limits.requests_per_second + 1e-6;
            if before as f64 + 1.0 > allowed {
                let (sent, window) = (before + 1, now - *from);
                self.broken.push(format!("{sent} requests within {window:?}"));
            }
        }
        self.under_way += 1;
        if self.under_way > limits.max_concurrency {
            let under_way = self.under_way;
            self.breaks(format!("{under_way} requests are under way at once"));
        }
    }

    /// What an answer means for the gate.
    fn heeds(&mut self, answer: &Answer, now: Moment, lost: Duration) {
        if answer.status != StatusCode::TOO_MANY_REQUESTS {
            self.refusals_in_a_row = 0;
            return;
        }
        let unsaid = (1_000_i64 << self.refusals_in_a_row.min(6)).min(54_000);
        self.refusals_in_a_row += 1;
        self.throttled += 1;
        let wait = asked(answer).unwrap_or(unsaid).clamp(1_000, 60_000);
        let gate = now.elapsed + Duration::from_millis(wait as u64);
        self.gate = self.gate.max(gate);
        self.closes = Some((gate, lost));
        self.gate_at_most = now.elapsed + Duration::from_secs(60);
    }
}

/// What a 429 asks for, in milliseconds, by the answer's own clock.
fn asked(answer: &Answer) -> Option<i64> {
    let date = date(answer);
    let text = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap());
    if let Some(value) = text("retry-after") {
        let seconds = value.parse::<i64>().map(|seconds| seconds * 1_000);
        return Some(seconds.unwrap_or_else(|_| http_date(value) - date));
    }
    Some(text("x-ratelimit-reset")?.parse::<i64>().unwrap() * 1_000 - date)
}

fn date(answer: &Answer) -> i64 {
    http_date(answer.headers["date"].to_str().unwrap())
}

fn http_date(text: &str) -> i64 {
    let date = httpdate::parse_http_date(text).unwrap();
    i64::try_from(date.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn is_json(answer: &Answer) -> bool {
    answer
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.to_str().unwrap().starts_with("application/json"))
}

fn user_in(path: &str) -> Option<String> {
    let segment = path.strip_prefix("/api/v2/users/")?;
    Some(percent_encoding::percent_decode_str(segment).decode_utf8().unwrap().into_owned())
}

/// What `answer` says of `user`, if it is Auth0's word at all.
fn said(answer: &Answer, user: &str) -> Option<Said> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    match answer.status {
        StatusCode::OK if body["user_id"] == user => Some(Said::of(&body)),
        StatusCode::NOT_FOUND if body["errorCode"] == "inexistent_user" => Some(Said::no_such_user()),
        _ => None,
    }
}

/// So that the tenant's own count can be compared with ours.
pub fn agrees(tenant: &Tenant) -> Result<(), String> {
    let grants = tenant.max_concurrent(Endpoint::Token);
    if grants > 1 { Err(format!("the tenant saw {grants} grants under way")) } else { Ok(()) }
}
