//! `[[listener.allow]]`: who may do what on a listener.

use std::sync::Arc;

use super::layer::Value;

use super::accounts::{gid, uid};
use super::problem::{Checked, Wrong};
use super::reader::{Reader, Setting};
use super::schema;
use super::values::{Parsed, lines, number, users, within};
use crate::domain::policy::pattern::Pattern;
use crate::domain::policy::{DEFAULT_OPERATIONS, OVERFLOW_ID, Operation, Rule};

/// Operations of later versions, so that whoever has a newer page before them is told so.
const LATER: [&str; 2] = ["proxy", "management_api"];

/// Every rule of the listener whose list is at `list`, in its order.
pub(super) fn read(reader: &mut Reader, list: &str) -> Checked<Vec<Rule>> {
    let rules: Vec<_> = (0..reader.length(list))
        .map(|index| {
            let table = schema::join(list, &index.to_string());
            reader.element(&table)?;
            one(reader, &table)
        })
        .collect();
    rules.into_iter().collect()
}

fn one(reader: &mut Reader, table: &str) -> Checked<Rule> {
    let key = |name: &str| format!("{table}.{name}");
    let uid = reader.optional(&key("uid"), |value| Ok::<_, Wrong>(named(uid(value)?)?));
    let gid = reader.optional(&key("gid"), |value| Ok::<_, Wrong>(named(gid(value)?)?));
    let operations = reader.setting(&key("operations"), DEFAULT_OPERATIONS.to_vec(), operations);
    let connections = reader.optional(&key("connections"), lines);
    let users = reader.optional(&key("users"), users);
    // A rate of a lookup in ten seconds is as low as makes sense.
    let rate = reader.optional(&key("rate"), within(0.1..=1_000_000.0, number));

    let (uid, gid, operations) = (uid?, gid?, operations?);
    let (connections, users) = (connections?, users?);
    if uid.is_none() && gid.is_none() {
        let text = "names nobody: a rule needs a uid, a gid, or both for callers that have both";
        return Err(reader.missing(table, text));
    }
    refuse_what_cannot_be_limited(reader, &operations, [&connections, &users])?;
    let origin = uid.as_ref().or(gid.as_ref()).and_then(|setting| setting.origin.clone());
    let texts = |setting: Setting<Vec<String>>| setting.value;
    Ok(Rule {
        uid: uid.map(|uid| uid.value),
        gid: gid.map(|gid| gid.value),
        operations: operations.value,
        connections: connections.map(texts).map(Arc::from),
        users: users.map(texts).map(|users| users.iter().map(|user| Pattern::new(user)).collect()),
        rate: rate?.map(|rate| rate.value),
        origin,
    })
}

/// A rule must name somebody whom the kernel can.
fn named(id: u32) -> Parsed<u32> {
    match id {
        OVERFLOW_ID => {
            Err("65534 is what the kernel calls everybody whom it cannot name, and matches no rule"
                .to_owned())
        }
        id => Ok(id),
    }
}

fn operations(value: &Value) -> Parsed<Vec<Operation>> {
    let known = || {
        let grantable = Operation::ALL.into_iter().filter(|operation| *operation != Operation::Reload);
        grantable.map(|operation| format!("{:?}", operation.as_str())).collect::<Vec<_>>().join(", ")
    };
    let parse = |(at, name): (usize, &String)| match Operation::parse(name) {
        Some(Operation::Reload) => {
            Err(format!("element {at} cannot be granted: only root and the daemon's own uid may reload"))
        }
        Some(operation) => Ok(operation),
        None if LATER.contains(&name.as_str()) => {
            Err(format!("element {at} is an operation that this version of cloakroom does not have"))
        }
        None => Err(format!("element {at} is no operation; there are {}", known())),
    };
    lines(value)?.iter().enumerate().map(parse).collect()
}

/// The Management token reads every user, whatever the rule that hands it out says.
fn refuse_what_cannot_be_limited(
    reader: &mut Reader,
    operations: &Setting<Vec<Operation>>,
    limits: [&Option<Setting<Vec<String>>>; 2],
) -> Checked<()> {
    let limit = limits.into_iter().flatten().next();
    match limit.filter(|_| operations.value.contains(&Operation::ManagementToken)) {
        Some(limit) => {
            let text = "cannot limit management_token, which reads every user: make that a rule of its own";
            Err(reader.refuse(limit, text))
        }
        None => Ok(()),
    }
}
