//! Decides what a failed refresh at the vault means. No I/O and no clock.
//!
//! Auth0 answers the same whether the provider is down, refuses the connection's client, or does not accept the
//! account's refresh token. The first passes, the second is an operator's fault, and only after the third does the user
//! have to connect the account again. What tells them apart is time, and what happens to other accounts of the
//! connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::freshness::Moment;

use super::account::AccountTag;

/// An account is over after this many failures in a row, [`SPAN`] after the first of them, if the vault has refreshed
/// another account of the connection since.
const FAILURES: u32 = 3;

/// The time that a provider's outage or a deployment at Auth0 usually takes, with a margin.
const SPAN: Duration = Duration::from_secs(300);

/// An account is over after this many failures in a row, [`SPAN_ALONE`] after the first of them, if nothing is known
/// about refreshes of other accounts.
const FAILURES_ALONE: u32 = 5;

/// The usual lifetime of an access token. If the cause were common to the connection, other accounts in use would need
/// a refresh within this time and fail as well.
const SPAN_ALONE: Duration = Duration::from_secs(3_600);

/// The most accounts of which something is noted. Failures of further ones count as passing.
const MOST: usize = 10_000;

/// How long a failure or an expiry is kept after it was noted.
const KEPT: Duration = Duration::from_secs(86_400);

/// What is known about the refreshes of all connections.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    accounts: HashMap<AccountTag, Account>,
    /// When the vault was last seen to have refreshed a token of a connection.
    refreshed: HashMap<Arc<str>, Moment>,
}

/// What a failed refresh means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedRefresh {
    /// A later one may succeed.
    Passing,
    /// Refreshes of other accounts of the connection fail as well, and none has succeeded meanwhile.
    Common,
    /// The user has to connect the account again.
    Over,
}

#[derive(Debug)]
struct Account {
    connection: Arc<str>,
    /// When the last token that the vault has issued expires.
    expires: Option<Moment>,
    failing: Option<Failing>,
    noted: Moment,
}

/// Failures in a row of one account.
#[derive(Clone, Copy, Debug)]
struct Failing {
    first: Moment,
    last: Moment,
    count: u32,
}

/// What is known of other accounts of the connection since the first failure of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// The vault has refreshed the token of one.
    Refreshed,
    /// Refreshes of one have failed, and none has succeeded.
    Failed,
    /// Nothing.
    Unknown,
}

/// What `count` failures in a row over this span mean.
fn verdict(count: u32, span: Duration, others: Others) -> FailedRefresh {
    let is_over = match others {
        Others::Refreshed => count >= FAILURES && span >= SPAN,
        Others::Unknown => count >= FAILURES_ALONE && span >= SPAN_ALONE,
        Others::Failed => return FailedRefresh::Common,
    };
    if is_over { FailedRefresh::Over } else { FailedRefresh::Passing }
}

impl Refreshes {
    /// Notes that the vault could not refresh the token of an account. Returns what that means, and how many times in a
    /// row it has happened.
    pub fn failed(&mut self, connection: &Arc<str>, tag: AccountTag, now: Moment) -> (FailedRefresh, u32) {
        let Some(account) = self.account(connection, tag, now) else { return (FailedRefresh::Passing, 1) };
        let mut failing = account.failing.unwrap_or(Failing { first: now, last: now, count: 0 });
        failing.last = now;
        failing.count = failing.count.saturating_add(1);
        account.failing = Some(failing);
        let others = self.others(connection, tag, failing.first);
        (verdict(failing.count, failing.first.age(now), others), failing.count)
    }

    /// Notes that the vault has issued a token for an account, with this lifetime. Returns whether it has certainly
    /// refreshed the token.
    pub fn issued(
        &mut self,
        connection: &Arc<str>,
        tag: AccountTag,
        expires_in: Option<Duration>,
        now: Moment,
    ) -> bool {
        let Some(account) = self.account(connection, tag, now) else { return false };
        // The vault issues no token that has expired, so that it must have refreshed this one.
        let was_expired = account.expires.is_some_and(|expires| now.age(expires).is_zero());
        let is_refreshed = was_expired || account.failing.is_some();
        account.expires = expires_in.map(|span| now.after(span));
        account.failing = None;
        if is_refreshed {
            self.refreshed.insert(Arc::clone(connection), now);
        }
        is_refreshed
    }

    /// Forgets that refreshes have failed, because an operator may have fixed the cause.
    pub fn forget_failures(&mut self) {
        self.accounts.values_mut().for_each(|account| account.failing = None);
    }

    fn others(&self, connection: &Arc<str>, tag: AccountTag, since: Moment) -> Others {
        let is_later = |moment: Moment| moment.elapsed >= since.elapsed;
        if self.refreshed.get(connection).is_some_and(|refreshed| is_later(*refreshed)) {
            return Others::Refreshed;
        }
        let is_failing = self.accounts.iter().any(|(other, account)| {
            *other != tag
                && account.connection == *connection
                && account.failing.is_some_and(|failing| is_later(failing.last))
        });
        if is_failing { Others::Failed } else { Others::Unknown }
    }

    /// The account of this tag; `None` if there are too many.
    fn account(&mut self, connection: &Arc<str>, tag: AccountTag, now: Moment) -> Option<&mut Account> {
        if !self.accounts.contains_key(&tag) {
            if self.accounts.len() >= MOST {
                self.accounts.retain(|_, account| account.noted.age(now) < KEPT);
            }
            if self.accounts.len() >= MOST {
                return None;
            }
        }
        let new = || Account { connection: Arc::clone(connection), expires: None, failing: None, noted: now };
        let account = self.accounts.entry(tag).or_insert_with(new);
        account.noted = now;
        Some(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;
    use crate::domain::user::UserId;
    use crate::secret::TagKey;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(minutes: u64) -> Moment {
        let elapsed = Duration::from_secs(60 * minutes);
        Moment { wall: Timestamp::from_secs(0).after(elapsed), elapsed }
    }

    fn account(user: &str) -> AccountTag {
        let tags = TagKey::derived(b"key", "test");
        AccountTag::new(&tags, &UserId::parse(user).unwrap(), "c", None)
    }

    #[test]
    fn an_account_is_over_only_where_nothing_else_explains_it() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (count, span, others, is_over) in [
            (3, minutes(5), Others::Refreshed, true),
            (2, minutes(5), Others::Refreshed, false),
            (100, minutes(4), Others::Refreshed, false),
            (5, minutes(60), Others::Unknown, true),
            (4, minutes(60), Others::Unknown, false),
            (100, minutes(59), Others::Unknown, false),
            (1_000, minutes(10_000), Others::Failed, false),
        ] {
            assert_eq!(
                verdict(count, span, others) == FailedRefresh::Over,
                is_over,
                "{count} {span:?} {others:?}"
            );
        }
    }

    #[test]
    fn a_wrong_secret_of_the_connection_is_over_for_no_account() {
        let (mut refreshes, connection) = (Refreshes::default(), "c".into());
        let users: Vec<_> = ["a", "b", "d"].map(account).into();
        for tag in &users {
            assert!(!refreshes.issued(&connection, *tag, Some(HOUR), at(0)));
        }
        // Each token expires after an hour, and none is refreshed for two days.
        for minute in 61..2 * 24 * 60 {
            for tag in &users {
                let found = refreshes.failed(&connection, *tag, at(minute)).0;
                assert_ne!(found, FailedRefresh::Over, "after {minute} minutes");
            }
        }
        assert_eq!(refreshes.failed(&connection, account("a"), at(9_999)).0, FailedRefresh::Common);
    }

    #[test]
    fn a_revoked_account_among_others_is_over_after_minutes_and_not_sooner() {
        let (mut refreshes, connection) = (Refreshes::default(), "c".into());
        for user in ["a", "b"] {
            assert!(!refreshes.issued(&connection, account(user), Some(HOUR), at(0)));
        }
        let mut over = None;
        for minute in 70..90 {
            // The other account is asked for once, after its token has expired.
            if minute == 72 {
                assert!(refreshes.issued(&connection, account("b"), Some(HOUR), at(minute)));
            }
            if refreshes.failed(&connection, account("a"), at(minute)).0 == FailedRefresh::Over {
                over = over.or(Some(minute));
            }
        }
        assert_eq!(over, Some(75));
        refreshes.issued(&connection, account("a"), Some(HOUR), at(90));
        assert_eq!(
            refreshes.failed(&connection, account("a"), at(151)).0,
            FailedRefresh::Passing,
            "it was connected"
        );
    }

    #[test]
    fn a_token_that_is_still_valid_shows_nothing_about_refreshes() {
        let (mut refreshes, connection) = (Refreshes::default(), "c".into());
        refreshes.issued(&connection, account("b"), Some(HOUR), at(0));
        let over = (1..59).any(|minute| {
            refreshes.issued(&connection, account("b"), Some(HOUR), at(minute));
            refreshes.failed(&connection, account("a"), at(minute)).0 == FailedRefresh::Over
        });
        assert!(!over);
    }

    #[test]
    fn a_lone_account_is_over_after_an_hour_and_an_operator_may_start_that_anew() {
        let (mut refreshes, connection) = (Refreshes::default(), "c".into());
        let over = |refreshes: &mut Refreshes, from: u64| {
            (from..from + 200).find(|minute| {
                refreshes.failed(&connection, account("a"), at(*minute)).0 == FailedRefresh::Over
            })
        };
        assert_eq!(over(&mut refreshes, 0), Some(60));
        refreshes.forget_failures();
        assert_eq!(over(&mut refreshes, 100), Some(160));
    }

    #[test]
    fn what_is_noted_is_bounded() {
        let (mut refreshes, connection) = (Refreshes::default(), "c".into());
        for number in 0..MOST + 10 {
            refreshes.failed(&connection, account(&number.to_string()), at(0));
        }
        assert_eq!(refreshes.accounts.len(), MOST);
        refreshes.failed(&connection, account("late"), at(24 * 60));
        assert_eq!(refreshes.accounts.len(), 1);
    }
}
