//! Connected accounts: the tokens that the vault stores, and how their providers refresh them.

use std::time::Duration;

use crate::domain::freshness::{Moment, Timestamp};

/// What the provider does when Auth0 redeems the refresh token of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refreshing {
    /// Issues a new token.
    #[default]
    Works,
    /// Refuses or fails: the refresh token was revoked, the connection's secret is wrong, or the provider is down. Auth0
    /// answers the same for all of them.
    Fails,
    /// The vault has no refresh token, because the provider issued none.
    Absent,
}

/// An account of a user at a provider, connected through Auth0's connect flow.
#[derive(Clone, Debug)]
pub struct ConnectedAccount {
    /// The Auth0 user.
    pub user_id: String,
    /// The connection.
    pub connection: String,
    /// The user's id at the provider, which `login_hint` names.
    pub account: String,
    /// The scopes that the user has consented to.
    pub scopes: Vec<String>,
    /// The lifetime of the provider's tokens.
    pub lifetime: Duration,
    /// What a refresh does.
    pub refreshing: Refreshing,
}

impl ConnectedAccount {
    /// An account whose tokens have a lifetime of an hour and can be refreshed.
    pub fn new(user_id: &str, connection: &str, account: &str, scopes: &[&str]) -> Self {
        Self {
            user_id: user_id.into(),
            connection: connection.into(),
            account: account.into(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            lifetime: Duration::from_secs(3_600),
            refreshing: Refreshing::Works,
        }
    }
}

/// The account, and the token that is stored for it.
#[derive(Clone, Debug)]
struct Stored {
    account: ConnectedAccount,
    token: String,
    expires: Timestamp,
}

/// A token that an exchange returns.
pub struct Issued {
    pub token: String,
    pub scopes: Vec<String>,
    /// Seconds.
    pub expires_in: u64,
}

/// Why an exchange returns no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// No such account, or no refresh token for it.
    NotFound,
    /// The refresh failed.
    RefreshFailed,
}

/// All connected accounts.
#[derive(Debug, Default)]
pub struct Accounts {
    stored: Vec<Stored>,
    issued: u64,
}

impl Accounts {
    /// Connects an account, which replaces an earlier connection of the same one. Returns its first token.
    pub fn connect(&mut self, account: ConnectedAccount, now: Moment) -> String {
        self.disconnect(&account.user_id, &account.connection, Some(&account.account));
        let token = self.next_token(&account);
        let expires = now.wall.after(account.lifetime);
        self.stored.push(Stored { account, token: token.clone(), expires });
        token
    }

    /// Removes the accounts of a user at a connection, or the one of this id.
    pub fn disconnect(&mut self, user_id: &str, connection: &str, account: Option<&str>) {
        self.stored.retain(|stored| {
            let Stored { account: other, .. } = stored;
            other.user_id != user_id
                || other.connection != connection
                || account.is_some_and(|account| account != other.account)
        });
    }

    /// Changes what refreshes do for every account of a connection.
    pub fn set_refreshing(&mut self, connection: &str, refreshing: Refreshing) {
        let of_connection = self.stored.iter_mut().filter(|stored| stored.account.connection == connection);
        of_connection.for_each(|stored| stored.account.refreshing = refreshing);
    }

    /// The token of an account: the stored one while it is valid, otherwise a new one. Without a hint, and with several
    /// accounts, that of the account which was connected last; Auth0 does not document what it does then.
    pub fn token(
        &mut self,
        user_id: &str,
        connection: &str,
        hint: Option<&str>,
        now: Moment,
    ) -> Result<Issued, NoToken> {
        let found = self.stored.iter().rposition(|Stored { account, .. }| {
            account.user_id == user_id
                && account.connection == connection
                && hint.is_none_or(|hint| hint == account.account)
        });
        let found = found.ok_or(NoToken::NotFound)?;
        let mut stored = self.stored.get(found).cloned().ok_or(NoToken::NotFound)?;
        if stored.expires <= now.wall {
            match stored.account.refreshing {
                Refreshing::Works => {}
                Refreshing::Fails => return Err(NoToken::RefreshFailed),
                Refreshing::Absent => return Err(NoToken::NotFound),
            }
            stored.token = self.next_token(&stored.account);
            stored.expires = now.wall.after(stored.account.lifetime);
        }
        let issued = Issued {
            token: stored.token.clone(),
            scopes: stored.account.scopes.clone(),
            expires_in: stored.expires.since(now.wall).as_secs(),
        };
        if let Some(place) = self.stored.get_mut(found) {
            *place = stored;
        }
        Ok(issued)
    }

    fn next_token(&mut self, account: &ConnectedAccount) -> String {
        self.issued += 1;
        format!("vault-{}-{}-{}", account.connection, account.account, self.issued)
    }
}
