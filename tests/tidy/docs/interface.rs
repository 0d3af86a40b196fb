//! The HTTP interface as README and `openapi.json` describe it, held to the code.

use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use serde_json::Value;

use super::{description, part, rows};
use crate::repository::read;

// The interface.

#[test]
fn errors_are_the_same_in_the_code_in_readme_and_in_the_description() {
    let in_code = codes_of_the_server();
    assert!(in_code.len() > 15, "{in_code:?}");
    let table = part("README.md", "## HTTP interface");
    let in_readme: BTreeSet<_> = rows(&table)
        .into_iter()
        .filter(|row| row.len() == 4)
        .map(|row| (row[0].parse::<u16>().unwrap(), row[1].trim_matches('`').to_owned()))
        .collect();
    assert_eq!(in_readme, in_code, "README (left) and reply.rs (right)");

    let described = description();
    let names: BTreeSet<_> = described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, in_code.iter().map(|(_, code)| code.clone()).collect(), "openapi.json and reply.rs");

    // And each stands in an answer of its status.
    for (path, method, operation) in operations(&described) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&described, response);
            let Some(status) = status.parse::<u16>().ok().filter(|_| is_problem(response)) else { continue };
            let text = response["description"].as_str().unwrap();
            for code in
                text.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|word| word.len() > 3)
            {
                assert!(in_code.contains(&(status, code.to_owned())), "{method} {path}: {status} {code}");
            }
        }
    }
}

#[test]
fn retry_after_is_described_and_shown_where_it_is_sent() {
    let described = description();
    let responses = operations(&described)
        .into_iter()
        .flat_map(|(.., operation)| operation["responses"].as_object().unwrap().iter().collect::<Vec<_>>());
    let sent: Vec<_> = responses
        .map(|(status, response)| (status, resolved(&described, response)))
        .filter(|(_, response)| response["headers"]["Retry-After"].is_object())
        .map(|(status, response)| (status, response["description"].as_str().unwrap()))
        .collect();
    for row in rows(&part("README.md", "## HTTP interface")).iter().filter(|row| row.len() == 4) {
        let is_sent =
            sent.iter().any(|(status, codes)| **status == row[0] && codes.contains(row[1].trim_matches('`')));
        assert_eq!(row[2].contains("`Retry-After`"), is_sent, "{row:?}");
    }
}

#[test]
fn routes_are_the_same_in_the_code_in_readme_and_in_the_description() {
    let described = description();
    let described: BTreeSet<_> =
        operations(&described).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    let in_readme: BTreeSet<_> = rows(&part("README.md", "## HTTP interface"))
        .into_iter()
        .filter(|row| row.len() == 2)
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    assert_eq!(in_readme, described, "README (left) and openapi.json (right)");

    let source = read("src/api/route.rs");
    let variants = source.split("pub enum Route").nth(1).unwrap().split("\n}").next().unwrap();
    let in_code: BTreeSet<_> =
        variants.split("/// `").skip(1).map(|rest| rest.split('`').next().unwrap()).collect();
    let paths: BTreeSet<_> = described.iter().map(|route| route.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, in_code, "openapi.json (left) and paths.rs (right)");
}

#[test]
fn bodies_are_described_as_they_are() {
    let described = description();
    let schemas = described["components"]["schemas"].as_object().unwrap();
    let bodies = bodies();
    assert_eq!(schemas.keys().collect::<Vec<_>>(), bodies.keys().collect::<Vec<_>>());
    for (name, fields) in bodies {
        let texts = |value: &Value| -> BTreeSet<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let properties: BTreeSet<_> =
            schemas[&name]["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(properties, fields.keys().cloned().collect(), "{name}");
        let required: BTreeSet<_> =
            fields.into_iter().filter(|(_, needed)| *needed).map(|(field, _)| field).collect();
        assert_eq!(texts(&schemas[&name]["required"]), required, "{name}");
    }
}

#[test]
fn the_description_refers_to_nothing_that_is_not_there() {
    fn walk(whole: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    assert!(whole.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target}");
                }
                members.values().for_each(|value| walk(whole, value));
            }
            Value::Array(elements) => elements.iter().for_each(|value| walk(whole, value)),
            _ => {}
        }
    }
    let described = description();
    walk(&described, &described);
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1."));
}

/// Status and code of every error that the server can answer, from the only file that chooses them.
fn codes_of_the_server() -> BTreeSet<(u16, String)> {
    let names: BTreeMap<_, _> = (100..600)
        .filter_map(|number| {
            let reason = StatusCode::from_u16(number).ok()?.canonical_reason()?;
            Some((reason.to_uppercase().replace([' ', '-'], "_"), number))
        })
        .collect();
    let source = read("src/api/error.rs") + &read("src/api/error/lookups.rs");
    let kinds = source.split("S::").skip(1).map(|rest| {
        let (status, rest) = rest.split_once(',').unwrap();
        let code = rest.trim_start().strip_prefix('"').unwrap().split('"').next().unwrap();
        (names[status], code.to_owned())
    });
    kinds.collect()
}

/// The bodies in `answers.rs`: each one's fields, and whether it is always there.
fn bodies() -> BTreeMap<String, BTreeMap<String, bool>> {
    let source = read("src/api/types.rs");
    let structs = source.split("pub struct ").skip(1).map(|rest| {
        let (head, rest) = rest.split_once('{').unwrap();
        let name = head.split('<').next().unwrap().trim().to_owned();
        let (mut fields, mut needed, mut renamed) = (BTreeMap::new(), true, None);
        for line in rest.split("\n}").next().unwrap().lines().map(str::trim) {
            needed &= !line.contains("skip_serializing_if");
            renamed =
                line.split("rename = \"").nth(1).map(|rest| rest.split('"').next().unwrap()).or(renamed);
            if let Some((field, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
                fields.insert(renamed.take().unwrap_or(field).to_owned(), needed);
                needed = true;
            }
        }
        (name, fields)
    });
    structs.collect()
}

/// Path, method in upper case, and operation.
fn operations(described: &Value) -> Vec<(&String, String, &Value)> {
    let paths = described["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (path, method.to_uppercase(), operation))
        })
        .collect()
}

fn resolved<'a>(whole: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(target) => whole.pointer(target.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

fn is_problem(response: &Value) -> bool {
    response["content"]["application/problem+json"].is_object()
}
