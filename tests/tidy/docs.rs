//! Holds the change log and `openapi.json` to the program that they describe.

use serde_json::Value;

use crate::repository::read;

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

fn description() -> Value {
    serde_json::from_str(&read("src/api/openapi.json")).unwrap()
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(description()["info"]["version"], version);
    let log = read("CHANGELOG.md");
    let (unreleased, rest) = log.split_once("## [Unreleased]").expect("a place for what comes next");
    assert!(!unreleased.contains("## ["), "what is unreleased comes first");
    // Either it has been released, or it says that it is the one being built.
    let released = rest.split("\n## [").nth(1).map(|rest| rest.split(']').next().unwrap());
    assert_eq!(released.unwrap_or(version), version);
    assert!(
        released.is_some() || rest.contains(&format!(" {version},")),
        "the change log does not know {version}"
    );
}
