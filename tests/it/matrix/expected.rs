//! What a cell has to come to, and how it is written down.

/// Which of the user's two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The one that the entry was made with.
    Old,
    /// The one that Auth0 has had since the user's last login, which was just before the lookup.
    New,
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200, with `Cloakroom-Cache`.
    Served(&'static str, Token),
    /// A problem: status, code, and `permanent` where that is said.
    Problem(u16, &'static str, Option<bool>),
}

pub const HIT: Answer = Answer::Served("hit", Token::Old);
pub const HIT_NEW: Answer = Answer::Served("hit", Token::New);
pub const MISS: Answer = Answer::Served("miss", Token::New);
pub const STALE: Answer = Answer::Served("stale", Token::Old);
pub const NOT_FOUND: Answer = Answer::Problem(404, "user_not_found", None);
pub const LOGIN_REQUIRED: Answer = Answer::Problem(410, "login_required", None);

/// `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not there.
    Absent,
    /// This many seconds.
    Exactly(u64),
    /// Between these, both included, where jitter plays.
    Between(u64, u64),
    /// What is left of between these, of which a few may have passed on a slow machine.
    LeftOf(u64, u64),
}

/// What a lookup has to come to.
#[derive(Clone, Debug)]
pub struct Expected {
    pub answer: Answer,
    pub wait: Wait,
    /// Requests for the user that it causes, whether or not they arrive.
    pub calls: u64,
    /// Grants that it causes.
    pub grants: usize,
    /// What the next lookup is answered once the fault is over, at once: one of these.
    pub then: Vec<Answer>,
}

fn expected(answer: Answer, wait: Wait, calls: u64, then: &[Answer]) -> Expected {
    Expected { answer, wait, calls, grants: 0, then: then.to_vec() }
}

/// Answered from the cache; the calls are behind it.
pub fn hit(calls: u64) -> Expected {
    expected(HIT, Wait::Absent, calls, &[HIT])
}

/// Answered by Auth0.
pub fn miss(calls: u64) -> Expected {
    expected(MISS, Wait::Absent, calls, &[HIT_NEW])
}

/// Answered from the cache because Auth0 could not be asked; the next one as well, since nobody waits twice.
pub fn stale(calls: u64) -> Expected {
    expected(STALE, Wait::Absent, calls, &[STALE])
}

/// Auth0 says, or said, that there is no such user.
pub fn not_found(calls: u64) -> Expected {
    expected(NOT_FOUND, Wait::Absent, calls, &[NOT_FOUND])
}

/// Auth0 says that the token is over.
pub fn login_required(calls: u64) -> Expected {
    expected(LOGIN_REQUIRED, Wait::LeftOf(30, 30), calls, &[LOGIN_REQUIRED])
}

/// Auth0 cannot be reached or fails. That is no fact about the user, so the next lookup asks anew.
pub fn unavailable(calls: u64) -> Expected {
    expected(Answer::Problem(503, "upstream_unavailable", None), Wait::Exactly(2), calls, &[MISS])
}

/// Auth0 fails for now, and says when to come back: nothing is asked for this user before that.
pub fn asked_to_wait(wait: Wait) -> Expected {
    let answer = Answer::Problem(503, "upstream_unavailable", None);
    expected(answer, wait, 1, &[answer])
}

/// Auth0 does not answer in time.
pub fn timeout(calls: u64) -> Expected {
    expected(Answer::Problem(504, "upstream_timeout", None), Wait::Exactly(2), calls, &[MISS])
}

/// Auth0 answers something that is no answer.
pub fn no_answer(calls: u64) -> Expected {
    expected(Answer::Problem(502, "upstream_error", None), Wait::Exactly(5), calls, &[MISS])
}

/// The tenant's limit is reached, and stays so for as long as it has said.
pub fn rate_limited(calls: u64, wait: Wait) -> Expected {
    let answer = Answer::Problem(503, "upstream_rate_limited", None);
    expected(answer, wait, calls, &[answer])
}

/// There is no Management token, for now.
pub fn no_management_token(wait: Wait) -> Expected {
    let answer = Answer::Problem(503, "management_token_unavailable", Some(false));
    expected(answer, wait, 0, &[answer])
}

/// There is no Management token that is any good, until somebody mends something and a pause is over.
pub fn refused_for_good(calls: u64, wait: Wait) -> Expected {
    let answer = Answer::Problem(503, "management_token_unavailable", Some(true));
    expected(answer, wait, calls, &[answer])
}

impl Expected {
    /// And a grant.
    pub fn and_a_grant(self) -> Self {
        Self { grants: 1, ..self }
    }

    /// Or so may the next lookup be, once the fault is over.
    pub fn or_then(mut self, answer: Answer) -> Self {
        self.then.push(answer);
        self
    }

    /// The next lookup, once the fault is over, is answered with this.
    pub fn then(self, answer: Answer) -> Self {
        Self { then: vec![answer], ..self }
    }
}

impl Wait {
    pub fn allows(self, seconds: Option<u64>) -> bool {
        match (self, seconds) {
            (Self::Absent, None) => true,
            (Self::Exactly(this), Some(seconds)) => seconds == this,
            (Self::Between(from, to), Some(seconds)) => (from..=to).contains(&seconds),
            (Self::LeftOf(from, to), Some(seconds)) => (from - 10..=to).contains(&seconds),
            _ => false,
        }
    }

    /// As the page has it: what differs from run to run is left out.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Exactly(seconds) => Some(format!("Retry-After {seconds}")),
            Self::Between(from, to) | Self::LeftOf(from, to) if from == to => {
                Some(format!("Retry-After {from}"))
            }
            Self::Between(from, to) | Self::LeftOf(from, to) => Some(format!("Retry-After {from}–{to}")),
        }
    }
}
