//! Steps that rarely follow each other by chance.

use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Edge, Look, MS, S, Step, USERS, Which, fault, login, user};

/// One caller, who waits for the answer.
pub fn plain(user: usize) -> Look {
    let connection = (user == 1).then_some(0);
    Look { user, connection, min_ttl: Duration::ZERO, fresh: false, callers: 1, hangs_up: None, waits: true }
}

/// What chance seldom brings together: something is held and gets old while Auth0 cannot be asked, or can be again.
pub fn outage() -> impl Strategy<Value = Vec<Step>> {
    let spans = select(vec![MS, S, 12 * S, 61 * S, 600 * S]);
    let edge = prop_oneof![4 => Just(Edge::MaxTtl), 1 => Just(Edge::MaxStale), 1 => Just(Edge::RefreshAhead)];
    (user(), fault(), edge, select(&[-1_i64, 1, 1_500][..]), spans, any::<bool>()).prop_map(
        |(user, fault, edge, off, span, ends)| {
            let look = || Step::Look(plain(user));
            let mut steps =
                vec![look(), fault, Step::Edge(edge, off, user), look(), Step::Pass(span), look()];
            if ends {
                steps.extend([Step::Clear, Step::Pass(S), look(), Step::Pass(2 * S), look()]);
            }
            steps
        },
    )
}

/// Much is due at once, and there is little to spend.
pub fn shortage() -> impl Strategy<Value = Vec<Step>> {
    (user(), select(&[0_i64, 1, 1_500][..])).prop_map(|(user, off)| {
        let all = || (0..USERS.len()).map(|user| Step::Look(Look { waits: false, ..plain(user) }));
        let mut steps: Vec<_> = all().collect();
        steps.push(Step::Edge(Edge::MaxTtl, off, user));
        steps.extend(all());
        steps
    })
}

/// Something happens to a user while an answer about it is on its way, and somebody asks after that.
pub fn overtaken() -> impl Strategy<Value = Vec<Step>> {
    (user(), 0..4_usize, any::<bool>()).prop_map(|(user, what, logs_in)| {
        let happens = match what {
            0 => Step::Purge(user),
            1 => Step::PurgeAll,
            _ => Step::Report(Which::Right, user),
        };
        let late = Fault::LateAnswer(Duration::from_millis(2_500));
        let mut steps = vec![
            Step::Look(plain(user)),
            Step::Fault(Endpoint::User, late, 1),
            Step::Look(Look { fresh: true, waits: false, ..plain(user) }),
            Step::Pass(Duration::from_millis(50)),
            happens,
        ];
        if logs_in {
            steps.push(Step::Login(user, usize::from(user == 2)));
        }
        steps.extend([Step::Look(plain(user)), Step::Pass(12 * S)]);
        steps
    })
}

/// A token is sent again after another login, which may be after a report of it; and looked up when it is over.
pub fn signed_on() -> impl Strategy<Value = Vec<Step>> {
    let spans = select(vec![S, 5 * S, 12 * S, 61 * S, 600 * S]);
    (user(), any::<bool>(), spans, select(&[0_i64, 1, -1, 1_500][..])).prop_map(
        |(user, reported, span, off)| {
            let fresh = || Step::Look(Look { fresh: true, ..plain(user) });
            let mut steps = vec![Step::Look(plain(user))];
            if reported {
                steps.push(Step::Report(Which::Right, user));
                steps.push(Step::Look(plain(user)));
            }
            steps.extend([Step::Pass(span), Step::SignOn(user), Step::Pass(12 * S), fresh()]);
            steps.extend([Step::Edge(Edge::Expiry, off, user), Step::Pass(61 * S), Step::Look(plain(user))]);
            steps
        },
    )
}

/// A second report while Auth0 is being asked because of the first: of the same token, or of the user's other one.
pub fn reported_twice() -> impl Strategy<Value = Vec<Step>> {
    (user(), any::<bool>()).prop_map(|(user, other)| {
        let (which, of_other) =
            (if other { Which::Other } else { Which::Right }, Some(1).filter(|_| user == 1));
        let late = Fault::LateAnswer(Duration::from_millis(2_500));
        let look = || Look { connection: of_other, ..plain(user) };
        vec![
            Step::Look(plain(user)),
            Step::Look(look()),
            Step::Report(Which::Right, user),
            Step::Pass(S),
            Step::Fault(Endpoint::User, late, 1),
            Step::Look(Look { waits: false, ..look() }),
            Step::Pass(Duration::from_millis(50)),
            Step::Report(which, user),
            Step::Pass(12 * S),
            Step::Look(look()),
        ]
    })
}

/// The machine is paused, and another user's answer tells.
pub fn paused() -> impl Strategy<Value = Vec<Step>> {
    let spans = select(vec![61 * S, 600 * S, 3_600 * S, 28_800 * S]);
    (user(), 2..5_usize, spans).prop_map(|(user, other, span)| {
        let fresh = Look { fresh: true, ..plain(other) };
        vec![Step::Look(plain(user)), Step::Pause(span), Step::Look(fresh), Step::Look(plain(user))]
    })
}

/// Auth0 has no answer for one user, and another's entry gets old.
pub fn one_fails() -> impl Strategy<Value = Vec<Step>> {
    let status = |status| Fault::Status { status, headers: Vec::new(), body: "{}".into() };
    let faults = vec![status(500), status(404), Fault::Html200, page(502), page(403)];
    (user(), select(faults)).prop_map(|(user, fault)| {
        vec![
            Step::Look(plain(user)),
            Step::Fault(Endpoint::User, fault, 0),
            Step::Look(plain(if user == 5 { 6 } else { 5 })),
            Step::Clear,
            Step::Edge(Edge::MaxTtl, 1, user),
        ]
    })
}

/// What a portal or an edge between here and Auth0 says, which is nobody's word about a token.
pub fn page(status: u16) -> Fault {
    let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
    Fault::Status { status, headers, body: "<html>Please sign in</html>".into() }
}

/// A token dies, and sooner or later there is a new one.
pub fn relogin() -> impl Strategy<Value = Vec<Step>> {
    (login(), select(&[0_i64, -1][..]), any::<bool>()).prop_map(|(login, off, late)| {
        let Step::Login(user, _) = login else { unreachable!("that is what it is") };
        let (edge, login_edge) =
            (Step::Edge(Edge::Expiry, off, user), Step::Edge(Edge::LoginRequired, off, user));
        let mut steps = vec![Step::Look(plain(user)), edge, login];
        if late {
            steps.swap(1, 2);
        }
        steps.extend([login_edge, Step::Pass(MS), Step::Look(plain(user))]);
        steps
    })
}
