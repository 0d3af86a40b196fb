//! OpenAPI 3.0.3 for generators that do not know 3.1: the same interface in older words.

use serde_json::{Value, json};

/// `document`, which is OpenAPI 3.1, as 3.0.3.
pub fn rendered(mut document: Value) -> Value {
    document["openapi"] = "3.0.3".into();
    let info = document["info"].as_object_mut().unwrap();
    let summary = info.remove("summary").unwrap();
    let description = format!("{} {}", summary.as_str().unwrap(), info["description"].as_str().unwrap());
    info.insert("description".to_owned(), description.into());
    info["license"] = json!({ "name": info["license"]["name"] });
    lower(&mut document);
    document
}

/// Rewrites what schemas have only in 3.1: lists of types, `null` as a type, several examples, and references with
/// neighbours.
fn lower(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(lower),
        Value::Object(members) => {
            members.values_mut().for_each(lower);
            let types = members.get("type").and_then(Value::as_array).cloned();
            if let Some(types) = types {
                let [one] = types.iter().filter(|one| *one != "null").collect::<Vec<_>>()[..] else {
                    panic!("one type and null: {types:?}");
                };
                members.insert("type".to_owned(), one.clone());
                members.insert("nullable".to_owned(), true.into());
            }
            // A schema of its own has one example there, and a reference no neighbours.
            if let Some(Value::Array(examples)) = members.remove("examples") {
                members.insert("example".to_owned(), examples[0].clone());
            }
            if members.len() > 1
                && let Some(reference) = members.remove("$ref")
            {
                members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            let choices = members.get("anyOf").and_then(Value::as_array).cloned();
            if let Some([reference, null]) = choices.as_deref() {
                assert_eq!(null["type"], "null");
                members.remove("anyOf");
                members.insert("allOf".to_owned(), json!([reference]));
                members.insert("nullable".to_owned(), true.into());
            }
        }
        _ => {}
    }
}

#[test]
fn what_3_0_does_not_know_is_rewritten() {
    let mut schema = json!({
        "properties": {
            "a": { "type": ["string", "null"], "format": "date-time" },
            "b": { "anyOf": [{ "$ref": "#/x" }, { "type": "null" }], "description": "B." },
            "c": { "type": "string" },
            "d": { "$ref": "#/x", "description": "D." },
        },
        "examples": [1],
    });
    lower(&mut schema);
    assert_eq!(
        schema,
        json!({
            "properties": {
                "a": { "type": "string", "nullable": true, "format": "date-time" },
                "b": { "allOf": [{ "$ref": "#/x" }], "nullable": true, "description": "B." },
                "c": { "type": "string" },
                "d": { "allOf": [{ "$ref": "#/x" }], "description": "D." },
            },
            "example": 1,
        })
    );
}
