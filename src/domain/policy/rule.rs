//! A rule, and whether it covers a request.

use std::sync::Arc;

use super::call::{Call, CallPattern, comparable};
use super::caller::{Caller, OVERFLOW_ID};
use super::operation::Operation;
use super::pattern::Pattern;
use crate::domain::user::UserId;

/// A request to decide on. Fields that are `None` do not restrict it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The requested operation.
    pub operation: Operation,
    /// The user that it is about; `None` is all users.
    pub user: Option<&'a UserId>,
    /// The connection that it names; `None` if it names none.
    pub connection: Option<&'a str>,
    /// The call that it makes, if the operation [is one](Operation::is_call).
    pub call: Option<Call<'a>>,
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
    /// The calls of other APIs that it allows.
    pub calls: Arc<[CallPattern]>,
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

    /// Whether it covers what is about `user`, or, without one, about all users.
    pub(super) fn covers(&self, user: Option<&UserId>) -> bool {
        user.map_or(self.users.is_none(), |user| self.covers_user(user))
    }

    /// Whether it covers what the call of `request` is about, connections left aside.
    pub(super) fn covers_call(&self, request: &Request<'_>, call: &Call<'_>) -> bool {
        match request.operation {
            Operation::ManagementApi => self.covers_path(call.target.path()),
            _ => self.covers(request.user),
        }
    }

    /// Whether it covers an identity of `connection`.
    pub(super) fn shows(&self, connection: &str) -> bool {
        self.connections.as_ref().is_none_or(|connections| connections.iter().any(|one| one == connection))
    }

    /// The first pattern that allows `call`.
    pub(super) fn pattern(&self, call: &Call<'_>) -> Option<&Arc<str>> {
        self.calls.iter().find(|pattern| pattern.matches(call)).map(CallPattern::text)
    }

    fn covers_user(&self, user: &UserId) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|pattern| pattern.matches(user.as_str())))
    }

    /// Whether it covers a path of the Management API. A rule for some users covers only what is about one of them by its
    /// path: `/users/{id}`, and below. Lists and searches reach every user, and other objects belong to none.
    fn covers_path(&self, path: &str) -> bool {
        if self.users.is_none() {
            return true;
        }
        let mut segments = path.split('/').skip(1);
        let is_about_a_user = segments.next().is_some_and(|first| comparable(first) == "users");
        let user = segments.next().and_then(|id| UserId::from_path_segment(id).ok());
        is_about_a_user && user.is_some_and(|user| self.covers_user(&user))
    }
}
