//! Access rules: decides from a client's kernel credentials what it may do, before anything is looked up.
//!
//! A listener has a [`Policy`]. It gives each connection the [`Rights`] of its client: the few rules that name the
//! client, so that a request is checked against those only.

use std::fmt;
use std::sync::Arc;

use super::user::UserId;

pub mod pattern;

use pattern::Pattern;

/// The uid or gid that the kernel reports for a peer whose own has no mapping here. It matches no rule, and not the
/// daemon's own uid either.
pub const OVERFLOW_ID: u32 = 65_534;

/// The client of a connection, by its kernel credentials (`SO_PEERCRED`). The pid is left out on purpose: it is 0
/// across pid namespaces, and it may be reused. Supplementary groups are left out because the kernel does not report
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Effective group id when it connected.
    pub gid: u32,
}

/// An operation that a rule can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read an identity provider's token.
    Token,
    /// List a user's identities, without tokens.
    Identities,
    /// Either of the two, for a client that presents the user's own JWT.
    Me,
    /// Report that a provider refused a token.
    Report,
    /// Remove cached entries.
    Purge,
    /// Read the daemon's state.
    Status,
    /// Read the configuration again.
    Reload,
    /// Read the Management token itself.
    ManagementToken,
}

/// The operations of a rule that names none.
pub const DEFAULT_OPERATIONS: [Operation; 4] =
    [Operation::Token, Operation::Identities, Operation::Me, Operation::Report];

impl Operation {
    /// All operations.
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::Identities,
        Self::Me,
        Self::Report,
        Self::Purge,
        Self::Status,
        Self::Reload,
        Self::ManagementToken,
    ];

    /// Its name in rules, answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Identities => "identities",
            Self::Me => "me",
            Self::Report => "report",
            Self::Purge => "purge",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::ManagementToken => "management_token",
        }
    }

    /// The operation of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// Whether root and the daemon's own uid may always use it, whatever the rules say.
    pub const fn is_administrative(self) -> bool {
        matches!(self, Self::Status | Self::Reload | Self::Purge)
    }

    /// Whether it counts towards a rule's `rate`.
    pub const fn is_lookup(self) -> bool {
        matches!(self, Self::Token | Self::Identities | Self::Me | Self::Report | Self::ManagementToken)
    }
}

/// A rule, from `[[listener.allow]]`: the callers that it names may use its operations. Without uid and gid it names no
/// caller. With both it names callers that have both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// The caller's effective uid.
    pub uid: Option<u32>,
    /// The caller's effective gid.
    pub gid: Option<u32>,
    /// What the caller may do.
    pub operations: Vec<Operation>,
    /// The connections whose identities it covers; `None` is all.
    pub connections: Option<Arc<[String]>>,
    /// Patterns of the users that it covers; `None` is all.
    pub users: Option<Arc<[Pattern]>>,
    /// Lookups per second for each uid; `None` is no limit.
    pub rate: Option<f64>,
    /// Where it is defined, for display: `cloakroom.toml, line 31`.
    pub origin: Option<String>,
}

impl Rule {
    /// Whether the rule names `caller`.
    pub fn names(&self, caller: Caller) -> bool {
        let is = |wanted: Option<u32>, id: u32| wanted.is_none_or(|wanted| wanted == id && id != OVERFLOW_ID);
        // A known gid is not enough: with an unknown uid, it is unknown whose rate limit a request counts towards.
        caller.uid != OVERFLOW_ID
            && (self.uid.is_some() || self.gid.is_some())
            && is(self.uid, caller.uid)
            && is(self.gid, caller.gid)
    }

    fn covers(&self, user: &UserId) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|pattern| pattern.matches(user.as_str())))
    }

    fn shows(&self, connection: &str) -> bool {
        self.connections.as_ref().is_none_or(|connections| connections.iter().any(|one| one == connection))
    }
}

/// The access rules of a listener. Without rules, root and the daemon's own uid may do everything except read the
/// Management token. With rules, callers may do what the rules allow, and root and the daemon's own uid may also use
/// the administrative operations.
#[derive(Clone, Debug)]
pub struct Policy {
    own_uid: u32,
    rules: Arc<[Rule]>,
}

/// The class of a caller in a listener's connection limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Root, or the daemon's own uid.
    Own,
    /// A rule names the caller, or there are no rules, so that no other caller has precedence.
    Named,
    /// There are rules, and none names the caller.
    Stranger,
}

/// What one caller may do on one listener.
#[derive(Clone, Debug)]
pub struct Rights {
    caller: Caller,
    is_own: bool,
    /// The listener's rules, and the indexes of those that name this caller.
    rules: Arc<[Rule]>,
    own_rules: Box<[usize]>,
}

/// A request to decide on. Fields that are `None` do not restrict it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The requested operation.
    pub operation: Operation,
    /// The user that it is about; `None` is all users.
    pub user: Option<&'a UserId>,
    /// The connection that it names; `None` if it names none.
    pub connection: Option<&'a str>,
}

/// How a request is allowed.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The index of the rule that decides; `None` for root and the daemon's own uid.
    pub rule: Option<usize>,
    /// The connections whose identities may be shown; `None` is all.
    pub connections: Option<Arc<[String]>>,
    /// The rules whose `rate` the request counts towards, by index, with their rates: the rule that decides, or, if the
    /// request names no connection, every rule that adds to what may be shown.
    pub rates: Vec<(usize, f64)>,
}

/// A denied request. The text names the caller, the operation, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    caller: Caller,
    operation: Operation,
    reason: DenialReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum DenialReason {
    /// The caller's uid is [`OVERFLOW_ID`].
    UnknownUid,
    /// The listener has no rules.
    NoRules,
    /// No rule allows the operation.
    Operation,
    /// No rule that allows the operation covers the user, or all users.
    User { is_all: bool },
    /// No such rule covers the connection.
    Connection(String),
    /// The operation is for root and the daemon's own uid only.
    NotAdministrator,
}

impl Policy {
    /// The policy of a listener with `rules`. The daemon runs as `own_uid`.
    pub fn new(own_uid: u32, rules: impl Into<Arc<[Rule]>>) -> Self {
        Self { own_uid, rules: rules.into() }
    }

    /// The rights of `caller`.
    pub fn rights(&self, caller: Caller) -> Rights {
        let named = self.rules.iter().enumerate().filter(|(_, rule)| rule.names(caller));
        Rights {
            caller,
            is_own: self.is_own(caller),
            own_rules: named.map(|(place, _)| place).collect(),
            rules: Arc::clone(&self.rules),
        }
    }

    /// Whether `caller` is root or the daemon's own uid. [`OVERFLOW_ID`] never is.
    pub fn is_own(&self, caller: Caller) -> bool {
        (caller.uid == 0 || caller.uid == self.own_uid) && caller.uid != OVERFLOW_ID
    }

    /// The class of `caller` in the connection limits.
    pub fn standing(&self, caller: Caller) -> Standing {
        match () {
            () if self.is_own(caller) => Standing::Own,
            () if self.rules.is_empty() || self.rules.iter().any(|rule| rule.names(caller)) => {
                Standing::Named
            }
            () => Standing::Stranger,
        }
    }

    /// The rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rights {
    /// The caller that has these rights.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Whether the caller may use `operation` for any user and connection. Called before the request's parameters are
    /// parsed.
    pub fn may(&self, operation: Operation) -> Result<(), Denied> {
        if self.needs_no_rule(operation) || self.rules_for(operation).next().is_some() {
            return Ok(());
        }
        Err(self.denied(operation, self.reason(operation)))
    }

    /// Whether the request is allowed. The first rule that allows it decides. Every rule that covers the user adds to
    /// the connections that may be shown.
    pub fn decide(&self, request: Request<'_>) -> Result<Allowed, Denied> {
        let Request { operation, user, connection } = request;
        if self.needs_no_rule(operation) {
            return Ok(Allowed { rule: None, connections: None, rates: Vec::new() });
        }
        self.may(operation)?;
        let covers = |rule: &Rule| user.map_or(rule.users.is_none(), |user| rule.covers(user));
        let covering = || self.rules_for(operation).filter(|(_, rule)| covers(rule));
        // Needed even if the request names a connection: an answer that does not find it lists the others.
        let shown = covering().map(|(_, rule)| rule.connections.clone()).reduce(union);
        let Some(connections) = shown else {
            return Err(self.denied(operation, DenialReason::User { is_all: user.is_none() }));
        };
        let decides = |rule: &Rule| connection.is_none_or(|connection| rule.shows(connection));
        match (covering().find(|(_, rule)| decides(rule)), connection) {
            (Some((place, rule)), Some(_)) => {
                let rates = rule.rate.map(|rate| (place, rate)).into_iter().collect();
                Ok(Allowed { rule: Some(place), connections, rates })
            }
            (Some((place, _)), None) => {
                Ok(Allowed { rule: Some(place), connections, rates: rates(covering()) })
            }
            (None, Some(name)) => Err(self.denied(operation, DenialReason::Connection(name.to_owned()))),
            (None, None) => Err(self.denied(operation, DenialReason::Operation)),
        }
    }

    /// The rates that `operation` counts towards, for any user. For requests that are counted before their user is
    /// known.
    pub fn rates(&self, operation: Operation) -> Vec<(usize, f64)> {
        rates(self.rules_for(operation))
    }

    /// Whether the caller may use `operation` without a rule.
    fn needs_no_rule(&self, operation: Operation) -> bool {
        let unruled = self.rules.is_empty() && operation != Operation::ManagementToken;
        self.is_own && (operation.is_administrative() || unruled)
    }

    fn rules_for(&self, operation: Operation) -> impl Iterator<Item = (usize, &Rule)> {
        let named = self.own_rules.iter().filter_map(|place| Some((*place, self.rules.get(*place)?)));
        named.filter(move |(_, rule)| rule.operations.contains(&operation))
    }

    fn reason(&self, operation: Operation) -> DenialReason {
        match () {
            () if self.caller.uid == OVERFLOW_ID => DenialReason::UnknownUid,
            () if operation == Operation::Reload => DenialReason::NotAdministrator,
            () if self.rules.is_empty() => DenialReason::NoRules,
            () => DenialReason::Operation,
        }
    }

    fn denied(&self, operation: Operation, reason: DenialReason) -> Denied {
        Denied { caller: self.caller, operation, reason }
    }
}

fn rates<'a>(rules: impl Iterator<Item = (usize, &'a Rule)>) -> Vec<(usize, f64)> {
    rules.filter_map(|(place, rule)| Some((place, rule.rate?))).collect()
}

/// The connections that either of two rules covers.
fn union(one: Option<Arc<[String]>>, other: Option<Arc<[String]>>) -> Option<Arc<[String]>> {
    let (one, other) = (one?, other?);
    let more = other.iter().filter(|name| !one.contains(name));
    Some(one.iter().chain(more).cloned().collect())
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { uid, gid } = self.caller;
        let operation = self.operation.as_str();
        write!(f, "uid {uid} (gid {gid}) may not use the operation {operation}")?;
        let rule = format!("a [[listener.allow]] with uid = {uid} and operations = [\"{operation}\"]");
        match &self.reason {
            DenialReason::UnknownUid => f.write_str(
                ": 65534 is the uid that the kernel reports for a client in another user namespace, and never allowed",
            ),
            DenialReason::NotAdministrator => {
                f.write_str(": only root and the uid that the daemon runs as may use it, whatever the rules say")
            }
            DenialReason::NoRules if self.operation == Operation::ManagementToken => {
                write!(f, ": the Management token reads every user, so this takes a rule that names it: {rule}")
            }
            DenialReason::NoRules => write!(
                f,
                ": this listener has no rules, so it answers only root and the uid that the daemon runs as; {rule} would \
                 allow it, and from then on the rules alone decide about tokens"
            ),
            DenialReason::Operation => write!(f, " on this listener; {rule} would allow it"),
            DenialReason::User { is_all: false } => {
                write!(f, " for this user; {rule} and a pattern in users that matches the id would allow it")
            }
            DenialReason::User { is_all: true } => {
                write!(f, " for all users; {rule} and without users would allow it")
            }
            DenialReason::Connection(connection) => write!(
                f,
                " through the connection {connection:?}; {rule} and this connection among its connections would allow it"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
