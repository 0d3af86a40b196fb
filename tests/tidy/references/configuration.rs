//! The reference of the configuration, the sample file and the JSON schema, from the rows of `config::schema`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytesize::ByteSize;
use cloakroom::config::schema::{self, DefaultValue, Key, Reload, TABLES, Table, Type};
use serde_json::{Map, Value, json};

use super::markdown::wrapped;
use super::{generated, generated_below_marker};

#[test]
fn the_reference_has_a_section_for_each_key() {
    let mut page = String::from("## Keys\n\n");
    for table in &TABLES {
        let keys = table.keys.iter().map(|key| format!("[{}](#{})", key.name(), key.path.replace('.', "")));
        let keys: Vec<_> = keys.collect();
        page.push_str(&wrapped(&format!("`{}`: {}", table.heading(), keys.join(", ")), "- ", "  "));
    }
    for table in &TABLES {
        page.push_str(&format!("\n## `{}`\n\n{}", table.heading(), paragraphs(table.doc)));
        for key in table.keys {
            page.push_str(&section(key));
        }
    }
    generated_below_marker("docs/reference/configuration.md", &page);
}

/// What the page says of a key.
fn section(key: &Key) -> String {
    let mut facts = vec![format!("Type: {}", described(key.takes))];
    facts.push(match key.default {
        DefaultValue::Value(value) => format!("Default: `{}`", toml(key.takes, value)),
        DefaultValue::Absent(text) => format!("Default: {text}"),
        DefaultValue::Required(_) => "Required".to_owned(),
    });
    facts.extend(key.example.map(|example| format!("Example: `{}`", toml(key.takes, example))));
    facts.push(format!("Variable: `{}`", schema::variable(&first(key))));
    let reload = match key.reload {
        Reload::Live => "takes effect at once",
        Reload::Restart => "takes a restart",
        Reload::Refused => "refused, a daemon serves one tenant",
    };
    facts.push(format!("Reload: {reload}"));
    let facts: String = facts.iter().map(|fact| wrapped(fact, "- ", "  ")).collect();
    format!("\n### `{}`\n\n{}\n{facts}", key.path, paragraphs(key.doc))
}

#[test]
fn the_sample_file_shows_each_key() {
    let mut file = SAMPLE_HEAD.to_owned();
    for table in &TABLES {
        file.push('\n');
        file.push_str(&comments(summary(table.doc)));
        file.push_str(&sample_note(table.path));
        let comment = if SAMPLE_LEAVES_OUT.contains(&table.path) { "#" } else { "" };
        file.push_str(&format!("{comment}{}\n", table.heading()));
        for key in table.keys {
            let default = match key.default {
                DefaultValue::Value(value) if SAMPLE_LEAVES_OUT.contains(&table.path) => {
                    format!("Default: `{}`.", toml(key.takes, value))
                }
                DefaultValue::Required(_) => "Required.".to_owned(),
                DefaultValue::Absent(text) => format!("Default: {text}."),
                DefaultValue::Value(_) => String::new(),
            };
            file.push('\n');
            file.push_str(&comments(&format!("{} {} {default}", summary(key.doc), limits(key))));
            file.push_str(&sample_note(key.path));
            file.push_str(&sample_line(key));
        }
    }
    generated("docs/cloakroom.toml", &file);
}

/// What the key takes, as a sentence; nothing where its first paragraph says it.
fn limits(key: &Key) -> String {
    match key.takes {
        Type::Choice(words) | Type::Words(words)
            if !words.iter().all(|word| summary(key.doc).contains(word)) =>
        {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("Possible: {}.", words.join(", "))
        }
        takes => bounds(takes).map(|bounds| format!("{bounds}.")).unwrap_or_default(),
    }
}

/// The key with its default, or else an example: as a comment, unless the package sets it.
fn sample_line(key: &Key) -> String {
    let is_left_out = SAMPLE_LEAVES_OUT.iter().any(|table| key.path == format!("{table}.{}", key.name()));
    let value = match key.default {
        // Only an example shows what such a table is for.
        DefaultValue::Value(value) if !is_left_out => value,
        DefaultValue::Value(value) => key.example.unwrap_or(value),
        DefaultValue::Absent(_) | DefaultValue::Required(_) => key.example.expect(key.path),
    };
    let comment = if SAMPLE_SETS.contains(&key.path) { "" } else { "#" };
    format!("{comment}{} = {}\n", key.name(), toml(key.takes, value))
}

const SAMPLE_HEAD: &str = "\
#:schema /usr/share/doc/cloakroom/docs/cloakroom.schema.json

# The configuration of cloakroom, with every key. The reference, docs/reference/configuration.md, is installed in
# /usr/share/doc/cloakroom.
#
# A line that begins with #key = shows the default, or an example where there is no default. Three values have to be
# filled in: tenant.domain, tenant.client.id, and the client's secret, which goes into a file of its own:
#
#   install -m 0400 /dev/stdin /etc/cloakroom/client_secret    # paste it, Return, Ctrl-D
#   cloakroom check --online                                   # is the configuration right, and does Auth0 accept it?
#   systemctl enable --now cloakroom
#
# After a change of this file, `systemctl reload cloakroom`. After a change of the secret, `systemctl restart
# cloakroom`; no request is refused meanwhile.
";

/// What the package sets besides the defaults, so that an operator has to fill in what only an operator knows.
const SAMPLE_SETS: [&str; 3] = ["tenant.client.secret_file", "listener.path", "listener.allow.gid"];

/// Tables that the sample shows as comments, because they mean something by being there.
const SAMPLE_LEAVES_OUT: [&str; 5] = ["connection", "connection.refresh", "vault", "proxy", "management_api"];

/// What the sample says about a path because of the package's units.
fn sample_note(path: &str) -> String {
    comments(match path {
        "tenant.client.secret_file" => {
            "`cloakroom check` reads this file. The service is handed a copy of it (LoadCredential= in the unit)."
        }
        "cache.max_bytes" => "A quarter of MemoryMax= in the unit.",
        "listener.path" => "The same path as ListenStream= in cloakroom.socket.",
        "listener.mode" => {
            "cloakroom.socket sets mode, owner and group. Under systemd this key and the next two have no effect."
        }
        "shutdown" => "The unit has TimeoutStopSec=35s.",
        "listener.allow" => {
            "cloakroom.socket lets the group cloakroom-clients connect; the rules say which of its members are \
             answered. A service that runs with Group=cloakroom-clients is answered by the rule below. One that \
             runs with SupplementaryGroups=cloakroom-clients can connect, and needs a rule with its uid, because \
             supplementary groups do not count."
        }
        _ => "",
    })
}

#[test]
fn the_json_schema_describes_each_key() {
    let mut root = Map::new();
    for table in &TABLES {
        let properties: Map<String, Value> =
            table.keys.iter().map(|key| (key.name().to_owned(), property(key))).collect();
        let object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        insert(&mut root, table, object);
    }
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "cloakroom.toml",
        "description": "The configuration of cloakroom. A variable can set any key instead, so none is required \
                        here.",
        "type": "object",
        "additionalProperties": false,
        "properties": root,
    });
    generated("docs/cloakroom.schema.json", &format!("{schema:#}\n"));
}

/// Puts a table's schema where its path says: below the tables, or the elements of the lists, that it is part of.
fn insert(root: &mut Map<String, Value>, table: &Table, mut object: Value) {
    if let Some(list) = table.list {
        object = json!({ "type": "array", "maxItems": list.most, "items": object });
    }
    object["description"] = summary(table.doc).into();
    let mut parts: Vec<_> = table.path.split('.').collect();
    let name = parts.pop().unwrap();
    let mut properties = root;
    for part in parts {
        let mut parent = &mut properties[part];
        if parent["type"] == "array" {
            parent = &mut parent["items"];
        }
        properties = parent["properties"].as_object_mut().unwrap();
    }
    properties.insert(name.to_owned(), object);
}

/// The schema of one key.
fn property(key: &Key) -> Value {
    /// The forms that the reference names; the daemon reads more.
    const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms)\s*)+$";
    const SIZE: &str = r"^[0-9]+(\.[0-9]+)?\s*([KkMmGgTtPp][Ii]?[Bb]?|[Bb])$";

    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let mut property = match key.takes {
        Type::Text(pattern) | Type::Secret(pattern) => text(pattern),
        Type::Path => text("^/"),
        Type::Choice(words) => json!({ "type": "string", "enum": words }),
        Type::ChoiceOrPath(words) => text(&format!("^({}|/.+)$", words.join("|"))),
        Type::Mode => text("^0?[0-7]{3}$"),
        Type::Address => text(r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$"),
        Type::User | Type::Group => json!({ "type": ["string", "integer"], "minimum": 0, "minLength": 1 }),
        Type::Duration { .. } => text(DURATION),
        Type::Size { .. } => text(SIZE),
        Type::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Type::Number { min, max, zero_is_off: true } => {
            json!({ "type": "number", "anyOf": [{ "enum": [0] }, { "minimum": min, "maximum": max }] })
        }
        Type::Number { min, max, zero_is_off: false } => {
            json!({ "type": "number", "minimum": min, "maximum": max })
        }
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Texts { pattern, may_be_empty } => json!({
            "type": "array", "items": text(pattern), "minItems": u8::from(!may_be_empty), "uniqueItems": true,
        }),
        Type::Words(words) => json!({
            "type": "array", "items": { "type": "string", "enum": words }, "minItems": 1, "uniqueItems": true,
        }),
    };
    property["description"] = format!("{} {}", summary(key.doc), limits(key)).trim_end().into();
    if let DefaultValue::Value(value) = key.default {
        property["default"] = serde_json::from_str(&toml(key.takes, value)).unwrap();
    }
    if let Some(example) = key.example {
        property["examples"] = Value::Array(vec![serde_json::from_str(&toml(key.takes, example)).unwrap()]);
    }
    property
}

// What rows say, in words and in TOML.

/// The type in words.
fn described(takes: Type) -> String {
    let words =
        |words: &[&str]| words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ");
    let name = match takes {
        Type::Text(_) => "text".to_owned(),
        Type::Secret(_) => "text, which is never printed".to_owned(),
        Type::Path => "absolute path".to_owned(),
        Type::Choice(choices) => format!("one of {}", words(choices)),
        Type::ChoiceOrPath(choices) => format!("one of {}, or an absolute path", words(choices)),
        Type::Mode => "three or four octal digits in quotes".to_owned(),
        Type::Address => "IP address and port".to_owned(),
        Type::User => "name or number of a user".to_owned(),
        Type::Group => "name or number of a group".to_owned(),
        Type::Duration { .. } => "duration".to_owned(),
        Type::Size { .. } => "size".to_owned(),
        Type::Integer { .. } => "whole number".to_owned(),
        Type::Number { .. } => "number".to_owned(),
        Type::Boolean => "`true` or `false`".to_owned(),
        Type::Texts { .. } => "list of texts".to_owned(),
        Type::Words(choices) => format!("list of some of {}", words(choices)),
    };
    bounds(takes).map_or(name.clone(), |bounds| format!("{name}, {}", bounds.replacen("From", "from", 1)))
}

/// The bounds in words.
fn bounds(takes: Type) -> Option<String> {
    Some(match takes {
        Type::Duration { min, max } => format!("From {} to {}", span(min), span(max)),
        Type::Size { min, max } => format!("From {} to {}", size(min), size(max)),
        Type::Integer { min, max } => format!("From {min} to {max}"),
        Type::Number { min, max, zero_is_off: true } => format!("From {min} to {max}, or 0"),
        Type::Number { min, max, zero_is_off: false } => format!("From {min} to {max}"),
        _ => return None,
    })
}

fn span(span: Duration) -> String {
    match (span.as_secs(), span.subsec_millis()) {
        (0, millis @ 1..) => format!("{millis}ms"),
        (seconds @ 1.., 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds @ 1.., 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        other => panic!("{other:?}"),
    }
}

fn size(size: ByteSize) -> String {
    size.to_string().replace(".0 ", "")
}

/// `value`, which is written as in a variable, as it is written in the file; that is JSON as well.
fn toml(takes: Type, value: &str) -> String {
    match takes {
        Type::Integer { .. } | Type::Number { .. } | Type::Boolean => value.to_owned(),
        Type::Texts { .. } | Type::Words(_) => {
            let texts: Vec<_> = value.split(',').map(|text| format!("{text:?}")).collect();
            format!("[{}]", texts.join(", "))
        }
        _ => format!("{value:?}"),
    }
}

/// The key's path with the index of the first element of each list.
fn first(key: &Key) -> String {
    let path = key.path.replace("listener.", "listener.0.").replace("connection.", "connection.0.");
    let path = path.strip_prefix("proxy.").map_or(path.clone(), |name| format!("proxy.0.{name}"));
    path.replace("allow.", "allow.0.")
}

/// The first paragraph.
fn summary(doc: &str) -> &str {
    doc.split("\n\n").next().unwrap()
}

fn paragraphs(doc: &str) -> String {
    let paragraphs: Vec<_> = doc.split("\n\n").map(|paragraph| wrapped(paragraph, "", "")).collect();
    paragraphs.join("\n")
}

/// `text` as comment lines; nothing for nothing.
fn comments(text: &str) -> String {
    if text.is_empty() { String::new() } else { wrapped(text, "# ", "# ") }
}

// The schema, as an editor reads it.

/// Wrong configurations of `tests/config/bad` in which an editor finds what is wrong. What settings mean together, and
/// what is in files, no schema says.
const REFUSED: [&str; 14] = [
    "admin-name",
    "audience-without-slash",
    "auth-unknown",
    "ca-file-relative",
    "domain-https",
    "duration-bare-number",
    "duration-wrong-unit",
    "listener-modes",
    "misplaced-key",
    "numbers-out-of-range",
    "refresh-ahead-out-of-range",
    "rule-operations",
    "table-for-list",
    "unknown-key",
];

/// taplo is the library behind the editors that read JSON schemas of TOML files.
#[test]
fn an_editor_accepts_right_configurations_and_finds_wrong_keys_and_values() {
    let Some(taplo) = taplo() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    let accepts = |path: &str| {
        let text = fs::read_to_string(root.join(path)).unwrap().replace("{dir}", "/etc");
        // A line that names another schema would count instead.
        let text = text
            .strip_prefix("#:schema ")
            .and_then(|rest| rest.split_once('\n'))
            .map_or(&*text, |(_, rest)| rest);
        let file = directory.path().join("cloakroom.toml");
        fs::write(&file, text).unwrap();
        let schema = format!("file://{}", root.join("docs/cloakroom.schema.json").display());
        let mut command = Command::new(&taplo);
        command.current_dir(directory.path()).args(["check", "--schema", &schema]).arg(file);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains("error: "), "{path}: {said}");
        output.status.success()
    };
    for name in
        ["docs/cloakroom.toml", "tests/config/good/minimal.toml", "tests/config/good/files-and-rules.toml"]
    {
        assert!(accepts(name), "{name}");
    }
    for name in REFUSED {
        assert!(!accepts(&format!("tests/config/bad/{name}.toml")), "{name}");
    }
}

/// The program, which `tests/install.sh` installs; `None` where it is missing and may be.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "switches of the person who runs the tests"
)]
fn taplo() -> Option<PathBuf> {
    let taplo = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop-venv/bin/taplo");
    if taplo.exists() {
        return Some(taplo);
    }
    let required = ["CI", "CLOAKROOM_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!required, "{} is missing; run tests/install.sh", taplo.display());
    eprintln!("skipped: {} is missing; run tests/install.sh", taplo.display());
    None
}
