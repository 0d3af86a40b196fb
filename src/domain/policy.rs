//! May this peer do this? Decided before anything is looked up, from what the kernel says of the peer.
//!
//! A listener has a [`Policy`]. For each connection it gives the [`Rights`] of whoever is at the other end: the few
//! rules that name it, so that a request is held against no others.

use std::fmt;
use std::sync::Arc;

use super::user::UserId;

pub mod pattern;

use pattern::Pattern;

/// Whom the kernel names when a peer's uid or gid cannot be expressed here. It matches no rule, not even "own uid".
pub const OVERFLOW_ID: u32 = 65_534;

/// The other end of a connection, by the kernel's word (`SO_PEERCRED`). The pid is left out on purpose: across
/// pid namespaces it is 0, and it may be reused. So are supplementary groups, which the kernel does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Effective group id when it connected.
    pub gid: u32,
}

/// What a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read an identity provider's token.
    Token,
    /// List a user's identities, without tokens.
    Identities,
    /// Either of the two, for whoever holds that user's own JWT.
    Me,
    /// Tell that a provider refused a token.
    Report,
    /// Forget cached entries.
    Purge,
    /// Read the daemon's state.
    Status,
    /// Read the configuration again.
    Reload,
    /// Read the Management token itself.
    ManagementToken,
}

/// What a rule allows that does not name operations.
pub const DEFAULT_OPERATIONS: [Operation; 4] =
    [Operation::Token, Operation::Identities, Operation::Me, Operation::Report];

impl Operation {
    /// Every one.
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

    /// As it is written in rules, answers and logs.
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

    /// What keeps the daemon going, which root and its own uid may do whatever the rules say.
    pub const fn is_upkeep(self) -> bool {
        matches!(self, Self::Status | Self::Reload | Self::Purge)
    }

    /// Whether each one counts towards a rule's `rate`.
    pub const fn is_lookup(self) -> bool {
        matches!(self, Self::Token | Self::Identities | Self::Me | Self::Report | Self::ManagementToken)
    }
}

/// `[[listener.allow]]`: whoever is named by it may do what it says. With neither uid nor gid it names nobody; with
/// both, whoever has both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// The caller's effective uid.
    pub uid: Option<u32>,
    /// The caller's effective gid.
    pub gid: Option<u32>,
    /// What it may do.
    pub operations: Vec<Operation>,
    /// Of identities of these connections alone; `None` is all.
    pub connections: Option<Arc<[String]>>,
    /// Of users of these patterns alone; `None` is all.
    pub users: Option<Arc<[Pattern]>>,
    /// Lookups per second, for each uid; `None` is any number.
    pub rate: Option<f64>,
    /// Where it stands, for people: `cloakroom.toml, line 31`.
    pub origin: Option<String>,
}

impl Rule {
    /// Whether it names `caller`.
    pub fn names(&self, caller: Caller) -> bool {
        let is = |wanted: Option<u32>, id: u32| wanted.is_none_or(|wanted| wanted == id && id != OVERFLOW_ID);
        // A gid that can be expressed does not make somebody of nobody: who that is, and whose rate, is unknown.
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

/// Who may do what on a listener. Without rules: root and the daemon's own uid, everything but reading the Management
/// token. With rules: what they say, and for root and the daemon's own uid the upkeep as well.
#[derive(Clone, Debug)]
pub struct Policy {
    own_uid: u32,
    rules: Arc<[Rule]>,
}

/// What somebody is to a listener, as far as its room is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Root, or the daemon's own uid.
    Own,
    /// A rule names it; or there are none, so that there is nobody to whom it has to give way.
    Named,
    /// There are rules, and none of them names it.
    Stranger,
}

/// What one caller may do on one listener.
#[derive(Clone, Debug)]
pub struct Rights {
    caller: Caller,
    is_own: bool,
    /// The listener's rules, and which of them name this caller.
    rules: Arc<[Rule]>,
    own_rules: Box<[usize]>,
}

/// What a caller asks for. What is left out is not decided by.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What it wants to do.
    pub operation: Operation,
    /// About whom; `None` is everybody.
    pub user: Option<&'a UserId>,
    /// Through which connection; `None` where the request does not say.
    pub connection: Option<&'a str>,
}

/// How a request is allowed.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The rule that decides, by its place on the listener; `None`: root or the daemon's own uid.
    pub rule: Option<usize>,
    /// Only identities of these connections may be shown; `None` is all.
    pub connections: Option<Arc<[String]>>,
    /// The rules whose `rate` it counts towards, by their places, and how many a second that is: the one that decides,
    /// or, where no connection is named, every one that adds to what may be shown.
    pub rates: Vec<(usize, f64)>,
}

/// A refusal; its text says who was refused what, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    caller: Caller,
    operation: Operation,
    lacks: Lacks,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lacks {
    /// A name.
    Name,
    /// A listener with rules.
    Rules,
    /// A rule for the operation.
    Operation,
    /// A rule for the operation that covers the user, or everybody.
    User { everybody: bool },
    /// One that covers the connection, too.
    Connection(String),
    /// Being root or the daemon's own uid.
    Rank,
}

impl Policy {
    /// The policy of a listener with `rules`, of a daemon that runs as `own_uid`.
    pub fn new(own_uid: u32, rules: impl Into<Arc<[Rule]>>) -> Self {
        Self { own_uid, rules: rules.into() }
    }

    /// What `caller` may do.
    pub fn rights(&self, caller: Caller) -> Rights {
        let named = self.rules.iter().enumerate().filter(|(_, rule)| rule.names(caller));
        Rights {
            caller,
            is_own: self.is_own(caller),
            own_rules: named.map(|(place, _)| place).collect(),
            rules: Arc::clone(&self.rules),
        }
    }

    /// Whether `caller` is root or the daemon's own uid, and nobody whom the kernel cannot name.
    pub fn is_own(&self, caller: Caller) -> bool {
        (caller.uid == 0 || caller.uid == self.own_uid) && caller.uid != OVERFLOW_ID
    }

    /// What `caller` is to the listener.
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
    /// Whose they are.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Whether there is anybody whom, and anything through which, the caller may do `operation`. Decides before the
    /// request's parameters are looked at.
    pub fn may(&self, operation: Operation) -> Result<(), Denied> {
        if self.by_rank(operation) || self.rules_for(operation).next().is_some() {
            return Ok(());
        }
        Err(self.denied(operation, self.lack(operation)))
    }

    /// Whether the caller may do what it asks for. The first rule that allows it decides; every rule that covers the
    /// user adds to the connections that may be shown.
    pub fn decide(&self, request: Request<'_>) -> Result<Allowed, Denied> {
        let Request { operation, user, connection } = request;
        if self.by_rank(operation) {
            return Ok(Allowed { rule: None, connections: None, rates: Vec::new() });
        }
        self.may(operation)?;
        let covers = |rule: &Rule| user.map_or(rule.users.is_none(), |user| rule.covers(user));
        let covering = || self.rules_for(operation).filter(|(_, rule)| covers(rule));
        // Also where one connection is named: an answer that does not find it lists the others.
        let shown = covering().map(|(_, rule)| rule.connections.clone()).reduce(union);
        let Some(connections) = shown else {
            return Err(self.denied(operation, Lacks::User { everybody: user.is_none() }));
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
            (None, Some(name)) => Err(self.denied(operation, Lacks::Connection(name.to_owned()))),
            (None, None) => Err(self.denied(operation, Lacks::Operation)),
        }
    }

    /// The rates that `operation` counts towards whoever it is about, for what has to be counted before that is known.
    pub fn rates(&self, operation: Operation) -> Vec<(usize, f64)> {
        rates(self.rules_for(operation))
    }

    /// What needs no rule.
    fn by_rank(&self, operation: Operation) -> bool {
        let unruled = self.rules.is_empty() && operation != Operation::ManagementToken;
        self.is_own && (operation.is_upkeep() || unruled)
    }

    fn rules_for(&self, operation: Operation) -> impl Iterator<Item = (usize, &Rule)> {
        let named = self.own_rules.iter().filter_map(|place| Some((*place, self.rules.get(*place)?)));
        named.filter(move |(_, rule)| rule.operations.contains(&operation))
    }

    fn lack(&self, operation: Operation) -> Lacks {
        match () {
            () if self.caller.uid == OVERFLOW_ID => Lacks::Name,
            () if operation == Operation::Reload => Lacks::Rank,
            () if self.rules.is_empty() => Lacks::Rules,
            () => Lacks::Operation,
        }
    }

    fn denied(&self, operation: Operation, lacks: Lacks) -> Denied {
        Denied { caller: self.caller, operation, lacks }
    }
}

fn rates<'a>(rules: impl Iterator<Item = (usize, &'a Rule)>) -> Vec<(usize, f64)> {
    rules.filter_map(|(place, rule)| Some((place, rule.rate?))).collect()
}

/// All that either of them shows.
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
        match &self.lacks {
            Lacks::Name => f.write_str(
                ": 65534 is what the kernel says of a caller in another user namespace, and never allowed",
            ),
            Lacks::Rank => {
                f.write_str(": only root and the uid that the daemon runs as may, whatever the rules say")
            }
            Lacks::Rules if self.operation == Operation::ManagementToken => {
                write!(f, ": it hands out what reads every user, and takes a rule that names it: {rule}")
            }
            Lacks::Rules => write!(
                f,
                ": this listener has no rules, so it answers root and the uid that the daemon runs as; {rule} would \
                 allow it, and from then on tokens go by the rules alone"
            ),
            Lacks::Operation => write!(f, " on this listener; {rule} would allow it"),
            Lacks::User { everybody: false } => {
                write!(f, " for this user; {rule} and a pattern in users that fits the id would allow it")
            }
            Lacks::User { everybody: true } => {
                write!(f, " for everybody; {rule} and without users would allow it")
            }
            Lacks::Connection(connection) => write!(
                f,
                " through the connection {connection:?}; {rule} and this connection among its connections would allow it"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
