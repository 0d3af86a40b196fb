//! Random configurations: each loads or has messages, and no message repeats a value.

use cloakroom::config::schema::{self, Key, TABLES};
use cloakroom::config::{self, Env};
use proptest::prelude::*;
use proptest::sample::select;

use super::CANARY;

proptest! {
    /// Whatever stands in a file or in the environment, the answer is a configuration or problems, and neither
    /// shows a value. Keys are shown, so the canary is never put where TOML takes it for one.
    #[test]
    fn nothing_panics_and_no_value_is_printed(
        lines in prop::collection::vec(line(), 0..24),
        noise in prop::option::weighted(0.3, (any::<prop::sample::Index>(), "[\\PC\n\"'=\\[\\]{}]{1,3}")),
        variables in prop::collection::vec((variable(), value()), 0..6),
    ) {
        let mut text = lines.join("\n");
        if let Some((at, noise)) = noise {
            let at = (0..=at.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            text.insert_str(at, &noise);
        }
        let env: Env = variables.into_iter().collect();
        let said = match config::parse("f.toml", &text, &env) {
            Ok(loaded) => loaded.warnings.join("\n"),
            Err(problems) => format!("{problems}\n{problems:?}"),
        };
        prop_assert!(!said.contains(CANARY), "{said}");
    }

    /// Text that is hardly TOML at all does not panic either.
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,200}", name in "CLOAKROOM_[A-Z_0-9\\PC]{0,30}", value in "\\PC{0,30}") {
        let env: Env = [(name, value)].into_iter().collect();
        prop_assert!(config::parse("f.toml", &text, &env).is_err(), "nothing that strange names a tenant");
    }
}

/// Names of keys, and some that are none.
fn key() -> impl Strategy<Value = &'static str> {
    select(schema::keys().map(Key::name).chain(["secrets", "nonsense"]).collect::<Vec<_>>())
}

/// Paths of tables, and one that is none.
fn table() -> impl Strategy<Value = &'static str> {
    select(TABLES.iter().map(|table| table.path).chain(["nonsense"]).collect::<Vec<_>>())
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => table().prop_map(|table| format!("[{table}]")),
        1 => Just("[[listener]]".to_owned()),
        5 => (key(), toml_value()).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => (table(), key(), toml_value())
            .prop_map(|(table, key, value)| format!("{table}.{key} = {value}")),
    ]
}

fn toml_value() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => value().prop_map(|value| format!("{value:?}")),
        1 => value().prop_map(|value| format!("'''{value}'''")),
        1 => value().prop_map(|value| format!("[{value:?}]")),
        1 => value().prop_map(|value| format!("{{ id = {value:?} }}")),
        1 => value(),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:?}")),
        1 => select(&["true", "2026-11-22", "0x7f", "[[]]", "{}", "\""][..]).prop_map(str::to_owned),
    ]
}

/// Values of every kind that some key takes or nearly takes, with the canary wherever text can stand.
fn value() -> impl Strategy<Value = String> {
    let around = [
        "@",
        "/@",
        "/run/@",
        "https://@",
        "http://u:@@proxy:1",
        "http://@:1",
        "https://@/api/v2/",
        "@.auth0.com",
        "10@",
        "@s",
        "64@",
        "a b @",
        "\n@",
        "@\u{0}",
        "0660",
        "acme.eu.auth0.com",
        "10m",
        "64MiB",
        "5",
        "0.5",
        "root",
        "",
    ];
    select(around.map(|around| around.replacen('@', CANARY, 1)).to_vec())
}

fn variable() -> impl Strategy<Value = String> {
    (table(), key(), select(&["__", "_", "__0__", "__63__", "__64__"][..])).prop_map(
        |(table, key, between)| {
            let table = table.replace('.', "__");
            format!("CLOAKROOM_{table}{between}{key}").to_ascii_uppercase()
        },
    )
}
