//! `listener.allow.calls`: the calls of other APIs that a rule allows, and what they mean together with its other keys.

use std::sync::Arc;

use strsim::damerau_levenshtein;

use super::problem::Checked;
use super::proxied_api::ProxiedApi;
use super::reader::{Reader, Setting};
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, lines};
use crate::domain::policy::Operation;
use crate::domain::policy::call::CallPattern;

/// The other keys of a rule that decide whether its calls can match.
pub(super) struct RuleKeys<'a> {
    /// The path of `calls`.
    pub(super) key: String,
    /// `operations`.
    pub(super) operations: &'a Setting<Vec<Operation>>,
    /// `connections`.
    pub(super) connections: Option<&'a Setting<Vec<String>>>,
    /// Whether `users` is set.
    pub(super) has_users: bool,
}

/// Parses the value of the key.
pub(super) fn parse(takes: Type, value: &Value) -> Parsed<Vec<CallPattern>> {
    let parse = |(at, text): (usize, &String)| {
        let pattern = CallPattern::parse(text).map_err(|fault| format!("element {at} {fault}"))?;
        match meant(pattern.method()) {
            Some(meant) => Err(format!("element {at} has an unknown method; did you mean {meant}?")),
            None => Ok(pattern),
        }
    };
    lines(takes, value)?.iter().enumerate().map(parse).collect()
}

/// The calls of a rule, if they and its other keys go together. `apis` are those that are configured, if they are valid.
pub(super) fn judge(
    reader: &mut Reader,
    calls: Option<Setting<Vec<CallPattern>>>,
    rule: &RuleKeys<'_>,
    apis: Option<&[ProxiedApi]>,
) -> Checked<Arc<[CallPattern]>> {
    refuse_idle_connections(reader, rule)?;
    let wanted = rule.operations.value.iter().find(|operation| operation.is_call());
    let Some(calls) = calls else {
        return match wanted {
            None => Ok(Arc::default()),
            Some(operation) => Err(reader.missing(
                &rule.key,
                format!(
                    "required with {}: the calls that the rule allows, such as {:?}",
                    operation.as_str(),
                    example(*operation)
                ),
            )),
        };
    };
    let is_of_management = rule.operations.value.contains(&Operation::ManagementApi);
    if is_of_management && !reader.has_table("management_api") {
        let text = "management_api needs [management_api], which names the client of these calls";
        return Err(reader.refuse(rule.operations, text));
    }
    let fault = if wanted.is_none() {
        Some("needs proxy, me_proxy or management_api among the rule's operations".to_owned())
    } else {
        let of_pattern =
            |(at, pattern)| fault(pattern, rule, apis).map(|fault| format!("element {at} {fault}"));
        calls.value.iter().enumerate().find_map(of_pattern).or_else(|| unmet(&calls.value, rule))
    };
    match fault {
        Some(fault) => Err(reader.refuse(&calls, fault)),
        None => Ok(calls.value.into()),
    }
}

/// Refuses `connections` in a rule whose operations are about no connection.
fn refuse_idle_connections(reader: &mut Reader, rule: &RuleKeys<'_>) -> Checked<()> {
    let are_idle = |operation: &Operation| {
        matches!(operation, Operation::ManagementApi | Operation::Status | Operation::Reload)
    };
    let operations = &rule.operations.value;
    match rule.connections {
        Some(connections)
            if operations.contains(&Operation::ManagementApi) && operations.iter().all(are_idle) =>
        {
            let text = "cannot limit management_api, because the Management API's calls concern no connection; remove it";
            Err(reader.refuse(connections, text))
        }
        _ => Ok(()),
    }
}

/// Why a pattern could never match.
fn fault(pattern: &CallPattern, rule: &RuleKeys<'_>, apis: Option<&[ProxiedApi]>) -> Option<String> {
    let grants = |operation| rule.operations.value.contains(&operation);
    let Some(name) = pattern.name() else {
        if !grants(Operation::ManagementApi) {
            let text = "is a call of the Management API, which needs management_api among the rule's operations; a call of \
                        another API begins with its name";
            return Some(text.to_owned());
        }
        let text = "can never match, because the rule has users, and so allows only paths that begin with /users/ and an id";
        return (rule.has_users && !pattern.can_concern_a_user()).then(|| text.to_owned());
    };
    if !grants(Operation::Proxy) && !grants(Operation::MeProxy) {
        let text = "is a call of a [[proxy]], which needs proxy or me_proxy among the rule's operations; a call of the \
                    Management API begins with /";
        return Some(text.to_owned());
    }
    let apis = apis?;
    if !apis.iter().any(|api| *api.name == *name) {
        let meant = nearest(name, apis).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Some(format!("names an API that no [[proxy]] has{meant}"));
    }
    let connections = &rule.connections?.value;
    let is_of =
        |api: &ProxiedApi| *api.name == *name && connections.iter().any(|one| **one == *api.connection);
    let text = "can never match, because the API's connection is not among the rule's connections";
    (!apis.iter().any(is_of)).then(|| text.to_owned())
}

/// Why an operation of the rule has no call.
fn unmet(calls: &[CallPattern], rule: &RuleKeys<'_>) -> Option<String> {
    let is_unmet = |operation: &&Operation| {
        let is_of_management = **operation == Operation::ManagementApi;
        operation.is_call() && !calls.iter().any(|call| call.name().is_none() == is_of_management)
    };
    let operation = rule.operations.value.iter().find(is_unmet)?;
    Some(format!("has no call for {}, such as {:?}", operation.as_str(), example(*operation)))
}

/// The method that `method` is likely a slip of.
fn meant(method: &str) -> Option<&'static str> {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    // An API may have methods of its own, but not such ones.
    let is_near = |usual: &&str| damerau_levenshtein(usual, method) == 1;
    USUAL.into_iter().find(is_near).filter(|_| !USUAL.contains(&method))
}

fn example(operation: Operation) -> &'static str {
    match operation {
        Operation::ManagementApi => "GET /users/*",
        _ => "GET gmail/gmail/v1/users/me/messages/**",
    }
}

/// The name within an edit distance of two that was likely meant.
fn nearest<'a>(name: &str, apis: &'a [ProxiedApi]) -> Option<&'a str> {
    let distance = |api: &&ProxiedApi| damerau_levenshtein(&api.name, name);
    let near = apis.iter().filter(|api| distance(api) <= api.name.len().div_ceil(4).min(2));
    near.min_by_key(distance).map(|api| &*api.name)
}
