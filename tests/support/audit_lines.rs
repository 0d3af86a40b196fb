//! Lines of an audit log in a file.

use std::fs;
use std::path::Path;

use serde_json::Value;

pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect()
}

/// The fields of a line that say what happened.
pub fn gist(line: &Value) -> [&str; 6] {
    ["operation", "outcome", "code", "cache", "user", "connection"]
        .map(|key| line[key].as_str().unwrap_or("-"))
}

pub fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"))
}
