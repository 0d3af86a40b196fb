//! `[[listener.allow]]`: which callers may do what on a listener.

use std::sync::Arc;

use super::accounts::{Gid, Uid};
use super::calls::{self, RuleKeys};
use super::problem::Checked;
use super::proxied_api::ProxiedApi;
use super::reader::{Reader, Setting};
use super::schema::{self, Type};
use super::source_values::Value;
use super::values::{Parsed, lines, users, wrong_type};
use crate::domain::policy::pattern::Pattern;
use crate::domain::policy::{OVERFLOW_ID, Operation, Rule};

/// Reads the rules of the listener whose list is at `list`, in its order. `apis` are those that rules can name, if they
/// are valid.
pub(super) fn read(reader: &mut Reader, list: &str, apis: Option<&[ProxiedApi]>) -> Checked<Vec<Rule>> {
    let rules: Vec<_> = (0..reader.length(list))
        .map(|index| {
            let table = schema::join(list, &index.to_string());
            reader.element(&table)?;
            one(reader, &table, apis)
        })
        .collect();
    rules.into_iter().collect()
}

fn one(reader: &mut Reader, table: &str, apis: Option<&[ProxiedApi]>) -> Checked<Rule> {
    let key = |name: &str| format!("{table}.{name}");
    let uid = reader.optional(&key("uid"));
    let uid = uid.and_then(|uid| id(reader, uid, |Uid(uid)| uid));
    let gid = reader.optional(&key("gid"));
    let gid = gid.and_then(|gid| id(reader, gid, |Gid(gid)| gid));
    let operations = reader.parsed(&key("operations"), operations);
    let operations = operations.and_then(|operations| reader.required(&key("operations"), operations));
    let calls = reader.parsed(&key("calls"), calls::parse);
    let connections = reader.parsed(&key("connections"), lines);
    let users = reader.parsed(&key("users"), users);
    let rate = reader.optional(&key("rate"));

    let (uid, gid, operations) = (uid?, gid?, operations?);
    let (connections, users) = (connections?, users?);
    if uid.is_none() && gid.is_none() {
        let text = "a rule needs a uid, a gid, or both, which then have to match together";
        return Err(reader.missing(table, text));
    }
    refuse_limited_management_token(reader, &operations, [&connections, &users])?;
    let keys = RuleKeys {
        key: key("calls"),
        operations: &operations,
        connections: connections.as_ref(),
        has_users: users.is_some(),
    };
    let calls = calls::judge(reader, calls?, &keys, apis)?;
    let origin = uid.as_ref().or(gid.as_ref()).and_then(|setting| setting.origin.clone());
    let texts = |setting: Setting<Vec<String>>| setting.value;
    Ok(Rule {
        uid: uid.map(|uid| uid.value),
        gid: gid.map(|gid| gid.value),
        operations: operations.value,
        connections: connections.map(texts).map(Arc::from),
        users: users.map(texts).map(|users| users.iter().map(|user| Pattern::new(user)).collect()),
        calls,
        rate: rate?.map(|rate| rate.value),
        origin,
    })
}

/// Refuses the number by which the kernel names users and groups that have none here.
fn id<T: Copy>(
    reader: &mut Reader,
    setting: Option<Setting<T>>,
    number: impl Fn(T) -> u32,
) -> Checked<Option<Setting<u32>>> {
    let Some(Setting { key, origin, value }) = setting else { return Ok(None) };
    let setting = Setting { key, origin, value: number(value) };
    if setting.value == OVERFLOW_ID {
        let text = "65534 stands for every id that the kernel cannot name here, and matches no rule";
        return Err(reader.refuse(&setting, text));
    }
    Ok(Some(setting))
}

fn operations(takes: Type, value: &Value) -> Parsed<Vec<Operation>> {
    let Type::Words(words) = takes else { return wrong_type(takes, value) };
    let known = || words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let parse = |(at, name): (usize, &String)| match Operation::parse(name) {
        Some(Operation::Reload) => {
            Err(format!("element {at} cannot be granted: only root and the daemon's own uid may reload"))
        }
        Some(operation) => Ok(operation),
        None => Err(format!("element {at} is not an operation; the operations are {}", known())),
    };
    lines(takes, value)?.iter().enumerate().map(parse).collect()
}

/// A Management token reads every user, so a rule that hands it out cannot be limited to some.
fn refuse_limited_management_token(
    reader: &mut Reader,
    operations: &Setting<Vec<Operation>>,
    limits: [&Option<Setting<Vec<String>>>; 2],
) -> Checked<()> {
    let limit = limits.into_iter().flatten().next();
    match limit.filter(|_| operations.value.contains(&Operation::ManagementToken)) {
        Some(limit) => {
            let text = "cannot limit management_token, because a Management token reads every user; use a \
                        separate rule";
            Err(reader.refuse(limit, text))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::DefaultValue;
    use crate::domain::policy::DEFAULT_OPERATIONS;

    #[test]
    fn the_schema_states_the_operations_that_a_rule_grants_by_default() {
        let key = schema::keys().find(|key| key.path == "listener.allow.operations").unwrap();
        let names = DEFAULT_OPERATIONS.map(Operation::as_str).join(",");
        assert!(matches!(key.default, DefaultValue::Value(text) if text == names));
    }

    #[test]
    fn every_operation_of_the_schema_can_be_granted_and_no_other() {
        let key = schema::keys().find(|key| key.path == "listener.allow.operations").unwrap();
        let Type::Words(words) = key.takes else { panic!("{:?}", key.takes) };
        for operation in Operation::ALL {
            let name = operation.as_str();
            let granted = operations(key.takes, &Value::Texts(vec![name.to_owned()]));
            assert_eq!(granted.is_ok(), words.contains(&name), "{name}");
        }
    }
}
