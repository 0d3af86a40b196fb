//! What is true, and what may be said of it. By Auth0's words and the identity provider's clock alone: none of the
//! daemon's own arithmetic is used here, so that a mistake in it is not made twice.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::config;
use cloakroom::domain::error::LookupError;
use cloakroom::domain::freshness::Moment;
use cloakroom::domain::source::OverReason;
use cloakroom::secret::Tag;
use serde_json::Value;

use super::ledger::Heard;

/// A user as Auth0 describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    exists: bool,
    /// The last login, in milliseconds.
    pub login: Option<i64>,
    blocked: bool,
    identities: Vec<Identity>,
}

#[derive(Clone, Debug, PartialEq)]
struct Identity {
    connection: String,
    token: Option<Token>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub text: String,
    /// In milliseconds, by a clock that is right.
    pub expires: Option<i64>,
}

/// What a lookup may come to, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    UserNotFound,
    UserBlocked,
    IdentityNotFound,
    NoToken,
    Ambiguous,
    /// ReportOutcome.
    Refused,
    Dead,
    MinTtl,
}

impl Kind {
    /// Which fact an error is; `None` if it is none.
    pub fn of(error: &LookupError) -> Option<Self> {
        Some(match error {
            LookupError::UserNotFound => Self::UserNotFound,
            LookupError::UserBlocked => Self::UserBlocked,
            LookupError::IdentityNotFound(_) => Self::IdentityNotFound,
            LookupError::NoToken { .. } => Self::NoToken,
            LookupError::Ambiguous(_) => Self::Ambiguous,
            LookupError::LoginRequired { reason: OverReason::Reported, .. } => Self::Refused,
            LookupError::LoginRequired { .. } => Self::Dead,
            LookupError::MinTtlUnsatisfiable { .. } => Self::MinTtl,
            LookupError::RateLimited { .. }
            | LookupError::Unavailable(_)
            | LookupError::ConnectRequired { .. }
            | LookupError::Source(_)
            | LookupError::Overloaded => return None,
        })
    }

    /// For how long such a fact is remembered.
    pub fn remembered(self, negative: &config::Negative) -> Duration {
        match self {
            Self::UserNotFound => negative.user_not_found,
            Self::Refused | Self::Dead | Self::MinTtl => negative.login_required,
            _ => negative.no_token,
        }
    }
}

impl Said {
    pub fn no_such_user() -> Self {
        Self { exists: false, login: None, blocked: false, identities: Vec::new() }
    }

    /// Reads a user as Auth0 writes it.
    pub fn of(user: &Value) -> Self {
        let login = user["last_login"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let identity = |identity: &Value| {
            let text = identity["access_token"].as_str().filter(|text| !text.is_empty());
            let stated =
                login.zip(identity["expires_in"].as_i64()).map(|(at, s)| at.as_millisecond() + s * 1000);
            let token = text.map(|text| Token {
                text: text.to_owned(),
                expires: [stated, jwt_expiry(text)].into_iter().flatten().min(),
            });
            Identity { connection: identity["connection"].as_str().unwrap().to_owned(), token }
        };
        Self {
            exists: true,
            login: login.map(|login| login.as_millisecond()),
            blocked: user["blocked"] == true,
            identities: user["identities"].as_array().unwrap().iter().map(identity).collect(),
        }
    }

    fn tokens(&self) -> impl Iterator<Item = (&str, &Token)> {
        self.identities
            .iter()
            .filter_map(|identity| Some((identity.connection.as_str(), identity.token.as_ref()?)))
    }

    pub fn holds(&self, text: &str) -> bool {
        self.tokens().any(|(_, token)| token.text == text)
    }

    pub fn has_tokens(&self) -> bool {
        self.tokens().next().is_some()
    }

    /// Whether the account that `other` has the token `text` of carries none here.
    pub fn lacks(&self, other: &Self, text: &str) -> bool {
        let account = other.tokens().find(|(_, token)| token.text == text);
        account.is_some_and(|(account, _)| !self.tokens().any(|(connection, _)| connection == account))
    }

    pub fn expiry_of(&self, text: &str) -> Option<i64> {
        self.tokens().find(|(_, token)| token.text == text)?.1.expires
    }

    /// The token in question, or why there is none.
    pub fn select(&self, connection: Option<&str>) -> Result<&Token, Kind> {
        if !self.exists {
            return Err(Kind::UserNotFound);
        }
        if self.blocked {
            return Err(Kind::UserBlocked);
        }
        let wanted = |name: &str| connection.is_none_or(|wanted| wanted == name);
        if connection.is_some() && !self.identities.iter().any(|identity| wanted(&identity.connection)) {
            return Err(Kind::IdentityNotFound);
        }
        let tokens: Vec<_> = self.tokens().filter(|(name, _)| wanted(name)).collect();
        match tokens.as_slice() {
            [] => Err(Kind::NoToken),
            [(_, only)] => Ok(only),
            _ => Err(Kind::Ambiguous),
        }
    }
}

fn jwt_expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(claims["exp"].as_i64()? * 1000)
}

/// What is left of a token by what the daemon was told: at the least and at the most, in milliseconds. Nothing is
/// said where a clock was set while the answer was on its way.
pub fn left(heard: &Heard, expires: i64, now: Moment) -> (i64, i64) {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap();
    let took = millis(heard.sent.age(heard.received));
    // By either clock, as it stood when the answer came.
    let wall = expires - now.wall.as_millis();
    let elapsed = expires - heard.received.wall.as_millis() - millis(heard.received.age(now));
    let most = wall.min(elapsed);
    let behind = heard.date - heard.received.wall.as_millis();
    let least = if behind > 0 { most - behind - took - 1_000 } else { most };
    if heard.received.wall.as_millis() - heard.sent.wall.as_millis() != took {
        return (i64::MIN, i64::MAX);
    }
    (least, most)
}

/// What cannot be told for certain of two moments on different clocks, in milliseconds; `None`: nothing can.
pub type Doubt = Option<i64>;

/// Whether an answer shows a login after `reported`, by the tenant's clock. `Some(false)`: it certainly does not;
/// `None`: that cannot be told.
pub fn shows_a_login_after(heard: &Heard, reported: i64, doubt: Doubt) -> Option<bool> {
    let Some(login) = heard.said.login else { return Some(false) };
    let (doubt, took) = (doubt?, heard.true_received - heard.true_sent);
    match login - reported {
        // The daemon goes by whole seconds, and does not know when the answer was dated.
        after if after > took + 2_000 + doubt && heard.date_is_honest() => Some(true),
        after if after <= -doubt => Some(false),
        _ => None,
    }
}

/// What is known besides what was heard.
#[derive(Default)]
pub struct Truth {
    /// Every token that ever was: whose, of which connection, and when it dies.
    pub tokens: BTreeMap<String, Owned>,
    /// The daemon's names for them, as far as it has told.
    pub tags: BTreeMap<String, Tag>,
    /// ReportOutcome and dropped, and when: in the order of events, and by the tenant's clock.
    pub refused: BTreeMap<(String, String), (u64, i64)>,
    /// When users were last purged.
    pub purged: BTreeMap<String, u64>,
    /// When a user was last purged, or a token of that user dropped.
    pub outdated: BTreeMap<String, tokio::time::Instant>,
    /// Who was last answered that Auth0 could not be asked, and when.
    pub failed: BTreeMap<String, u64>,
    /// How often the daemon's wall clock was set.
    pub wall_steps: u64,
    /// Those that were ever reported, purges notwithstanding.
    ever_refused: BTreeMap<(String, String), u64>,
}

#[derive(Clone, Debug)]
pub struct Owned {
    pub user: String,
    pub connection: String,
    pub expires: Option<i64>,
}

impl Truth {
    /// Takes note of what Auth0 holds now. A login moves the date from which all of a user's tokens count.
    pub fn learn(&mut self, user: &str, description: Option<&Value>) {
        let Some(description) = description else { return };
        for (connection, token) in Said::of(description).tokens() {
            let before = self.tokens.get(&token.text).and_then(|owned| owned.expires);
            let expires = [before, token.expires].into_iter().flatten().min();
            let owned = Owned { user: user.into(), connection: connection.into(), expires };
            self.tokens.insert(token.text.clone(), owned);
        }
    }

    /// When the first of the tokens that were `said` is over, by what Auth0 said of it at first.
    pub fn earliest_expiry(&self, said: &Said) -> Option<i64> {
        said.tokens().filter_map(|(_, token)| self.tokens.get(&token.text)?.expires).min()
    }

    /// When `token` was reported, since the last purge.
    pub fn refused(&self, user: &str, token: &str) -> Option<(u64, i64)> {
        self.refused.get(&(user.to_owned(), token.to_owned())).copied()
    }

    /// When `token` was reported, if it ever was.
    pub fn reported(&self, user: &str, token: &str) -> Option<u64> {
        self.ever_refused.get(&(user.to_owned(), token.to_owned())).copied()
    }

    /// A token was reported, and dropped. If it was before, that changes nothing, unless `last` shows a login since.
    pub fn dropped(
        &mut self,
        user: &str,
        token: String,
        seq: u64,
        now: i64,
        last: Option<&Heard>,
        doubt: Doubt,
    ) {
        let key = (user.to_owned(), token);
        let lifted = match (self.refused.get(&key), last) {
            (Some((_, at)), Some(last)) => shows_a_login_after(last, *at, doubt),
            (Some(_), None) => None,
            (None, _) => Some(true),
        };
        match lifted {
            Some(true) => {
                self.outdate(user);
                self.ever_refused.insert(key.clone(), seq);
                self.refused.insert(key, (seq, now));
            }
            // It may be a report like the first.
            None => {
                self.outdate(user);
                self.refused.insert(key, (u64::MAX, i64::MAX));
            }
            Some(false) => {}
        }
    }

    fn outdate(&mut self, user: &str) {
        self.outdated.insert(user.into(), tokio::time::Instant::now());
    }

    /// Nothing is remembered of `user` any more, nor that one of its tokens was refused.
    pub fn purged(&mut self, user: &str, seq: u64) {
        self.outdate(user);
        self.purged.insert(user.into(), seq);
        self.failed.remove(user);
        self.refused.retain(|(of, _), _| of != user);
    }
}
