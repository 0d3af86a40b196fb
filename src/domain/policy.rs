//! Access rules: decides from a client's kernel credentials what it may do, before anything is looked up.
//!
//! A listener has a [`Policy`]. It gives each connection the [`Rights`] of its client: the few rules that name the
//! client, so that a request is checked against those only.

use std::sync::Arc;

pub mod call;
mod caller;
mod denial;
mod operation;
pub mod pattern;
mod rule;

use self::call::Call;
pub use self::caller::{Caller, OVERFLOW_ID};
use self::denial::DenialReason;
pub use self::denial::Denied;
pub use self::operation::{DEFAULT_OPERATIONS, Operation};
pub use self::rule::{Request, Rule};

/// The access rules of a listener. Without rules, root and the daemon's own uid may do everything except read the
/// Management token and call other APIs. With rules, callers may do what the rules allow, and root and the daemon's own uid may also use
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

/// How a request is allowed.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The index of the rule that decides; `None` for root and the daemon's own uid.
    pub rule: Option<usize>,
    /// The connections whose identities may be shown; `None` is all.
    pub connections: Option<Arc<[String]>>,
    /// The rules whose `rate` the request counts towards, by index, with their rates: the rule that decides, or, if the
    /// request names no connection and makes no call, every rule that adds to what may be shown.
    pub rates: Vec<(usize, f64)>,
    /// The pattern that allows the call, as it was written, if the request makes one.
    pub call: Option<Arc<str>>,
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
        Err(self.refusal(operation))
    }

    /// Whether the request is allowed. The first rule that allows it decides. Every rule that covers the user adds to
    /// the connections that may be shown.
    pub fn decide(&self, request: Request<'_>) -> Result<Allowed, Denied> {
        let Request { operation, user, connection, call } = request;
        if operation.is_call() {
            return call
                .and_then(|call| self.decide_call(&request, &call))
                .ok_or_else(|| self.refusal(operation));
        }
        if self.needs_no_rule(operation) {
            return Ok(Allowed { rule: None, connections: None, rates: Vec::new(), call: None });
        }
        self.may(operation)?;
        let covering = || self.rules_for(operation).filter(|(_, rule)| rule.covers(user));
        // Needed even if the request names a connection: an answer that does not find it lists the others.
        let shown = covering().map(|(_, rule)| rule.connections.clone()).reduce(union);
        let Some(connections) = shown else {
            return Err(self.denied(operation, DenialReason::User { is_all: user.is_none() }));
        };
        let decides = |rule: &Rule| connection.is_none_or(|connection| rule.shows(connection));
        match (covering().find(|(_, rule)| decides(rule)), connection) {
            (Some((place, rule)), Some(_)) => {
                let rates = rates([(place, rule)].into_iter());
                Ok(Allowed { rule: Some(place), connections, rates, call: None })
            }
            (Some((place, _)), None) => {
                Ok(Allowed { rule: Some(place), connections, rates: rates(covering()), call: None })
            }
            (None, Some(name)) => Err(self.denied(operation, DenialReason::Connection(name.to_owned()))),
            (None, None) => Err(self.denied(operation, DenialReason::Operation)),
        }
    }

    /// How the first rule that allows it allows a call.
    fn decide_call(&self, request: &Request<'_>, call: &Call<'_>) -> Option<Allowed> {
        let shows = |rule: &Rule| request.connection.is_none_or(|connection| rule.shows(connection));
        self.rules_for(request.operation)
            .filter(|(_, rule)| rule.covers_call(request, call) && shows(rule))
            .find_map(|(place, rule)| {
                let pattern = Arc::clone(rule.pattern(call)?);
                let connections = rule.connections.clone();
                let rates = rates([(place, rule)].into_iter());
                Some(Allowed { rule: Some(place), connections, rates, call: Some(pattern) })
            })
    }

    /// The refusal of `operation` as such. For a call it is the refusal of every call that no rule allows, also of one
    /// to an API that is not configured.
    pub fn refusal(&self, operation: Operation) -> Denied {
        self.denied(operation, self.reason(operation))
    }

    /// The rates that `operation` counts towards, for any user. For requests that are counted before their user is
    /// known.
    pub fn rates(&self, operation: Operation) -> Vec<(usize, f64)> {
        rates(self.rules_for(operation))
    }

    /// Whether the caller may use `operation` without a rule.
    fn needs_no_rule(&self, operation: Operation) -> bool {
        let unruled = self.rules.is_empty() && !operation.needs_rule();
        self.is_own && (operation.is_administrative() || unruled)
    }

    fn rules_for(&self, operation: Operation) -> impl Iterator<Item = (usize, &Rule)> {
        let named = self.own_rules.iter().filter_map(|place| Some((*place, self.rules.get(*place)?)));
        named.filter(move |(_, rule)| rule.operations.contains(&operation))
    }

    fn reason(&self, operation: Operation) -> DenialReason {
        match () {
            () if self.caller.uid == OVERFLOW_ID => DenialReason::UnknownUid,
            () if operation.is_call() => DenialReason::Call,
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

#[cfg(test)]
mod tests;
