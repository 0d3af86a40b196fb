//! The reference of routes and bodies, from the same tables as `openapi.json`.

use std::fmt::Write;

use cloakroom::api::error::Code;
use cloakroom::api::route::{AnswerKind, ROUTES, Route, RouteSpec, RouteTag};
use cloakroom::domain::policy::Operation;
use serde_json::Value;

use super::markdown::{anchor, wrapped};
use super::{examples, generated_below_marker, openapi};

#[test]
fn the_reference_has_a_section_for_each_route_and_each_body() {
    let document = openapi::document();
    let schemas = &document["components"]["schemas"];
    let mut page = String::from("| route | operation | what it does |\n|---|---|---|\n");
    for spec in ROUTES {
        let heading = heading(spec);
        let operation = spec.operation.map_or(String::new(), |one| format!("`{}`", one.as_str()));
        writeln!(page, "| [`{heading}`](#{}) | {operation} | {} |", anchor(&heading), spec.doc.summary)
            .unwrap();
    }
    let common: Vec<_> = Code::ALL.iter().copied().filter(|code| is_common(*code)).collect();
    let text = format!("Every route may answer {}. Sections name the other errors.", errors(&common));
    page.push_str(&format!("\n{}", wrapped(&text, "", "")));
    for tag in RouteTag::ALL {
        let name = tag.as_str();
        write!(page, "\n## {}{}\n\n{}\n", name[..1].to_uppercase(), &name[1..], tag.summary()).unwrap();
        let routes = ROUTES.iter().filter(|spec| spec.doc.tag == tag);
        routes.for_each(|spec| page.push_str(&section(spec)));
    }
    page.push_str("\n## Bodies\n\nAll of them are JSON objects. Clients ignore members that they do not know: further ones may be added.\n");
    for name in names(schemas) {
        page.push_str(&body(&name, &schemas[&name]));
    }
    generated_below_marker("docs/reference/http.md", &page);
}

/// The heading of a route's section.
pub fn heading(spec: &RouteSpec) -> String {
    let method = spec.method.as_ref().map_or("ANY", |method| method.as_str());
    format!("{method} {}", spec.template.as_str())
}

/// What the page says of a route.
fn section(spec: &RouteSpec) -> String {
    let doc = &spec.doc;
    let text = format!("{} {}", doc.summary, doc.description);
    let mut section = format!("\n### {}\n\n{}\n", heading(spec), wrapped(&text, "", ""));
    let mut fact = |text: &str| section.push_str(&wrapped(text, "- ", "  "));
    if let Some(operation) = spec.operation {
        fact(&format!("Operation: [`{}`](../guides/access.md#which-operation-to-give)", operation.as_str()));
    }
    if matches!(spec.operation, Some(Operation::Me | Operation::MeProxy)) {
        fact(
            "Header: `Authorization: Bearer …`, with the [user token](../guides/lookup.md#lookups-for-the-logged-in-user)",
        );
    }
    if let Some(body) = doc.body {
        fact(&format!("Body: {}", link(body.name)));
    }
    if !doc.query.is_empty() {
        fact("Query parameters, all of them optional:");
    }
    for parameter in doc.query {
        let text = format!("`{}`: {}", parameter.name, parameter.description);
        section.push_str(&wrapped(&text, "  - ", "    "));
    }
    let mut fact = |text: &str| section.push_str(&wrapped(text, "- ", "  "));
    fact(&match doc.answer {
        AnswerKind::Lookup(body) => {
            format!("Answer: 200 with {}, `Cloakroom-Cache` and `Age`", link(body.name))
        }
        AnswerKind::Json(body) => format!("Answer: 200 with {}", link(body.name)),
        AnswerKind::Probe if spec.route == Route::Live => "Answer: 200 with one line of text".to_owned(),
        AnswerKind::Probe => "Answer: 200 or 503 with one line of text".to_owned(),
        AnswerKind::Metrics => "Answer: 200 with [metrics](metrics.md)".to_owned(),
        AnswerKind::Document => "Answer: 200 with [this file](openapi.json), minified".to_owned(),
        AnswerKind::Empty => "Answer: 204 without a body".to_owned(),
        AnswerKind::Proxied => "Answer: that of the other server, with `Cloakroom-Upstream: 1`".to_owned(),
    });
    let own: Vec<_> = Code::of_route(spec).filter(|code| !is_common(*code)).collect();
    if !own.is_empty() {
        fact(&format!("Errors: {}", errors(&own)));
    }
    fact(&format!("Operation id: `{}`", doc.operation_id));
    section
}

/// Whether every route may answer with the error.
fn is_common(code: Code) -> bool {
    ROUTES.iter().all(|spec| Code::of_route(spec).any(|one| one == code))
}

fn errors(codes: &[Code]) -> String {
    let linked = |code: &Code| {
        let (status, name) = (code.spec().status.as_u16(), code.spec().name);
        format!("{status} [`{name}`](errors.md#{name})")
    };
    codes.iter().map(linked).collect::<Vec<_>>().join(", ")
}

/// The bodies of routes in their order, each followed by those that it holds; `Problem` last.
fn names(schemas: &Value) -> Vec<String> {
    fn add(name: &str, schemas: &Value, names: &mut Vec<String>) {
        if names.iter().any(|one| one == name) {
            return;
        }
        names.push(name.to_owned());
        let properties = schemas[name]["properties"].as_object().unwrap();
        for held in properties.values().filter_map(held) {
            add(&held, schemas, names);
        }
    }
    let mut names = Vec::new();
    for spec in ROUTES {
        let answer = match spec.doc.answer {
            AnswerKind::Lookup(body) | AnswerKind::Json(body) => Some(body),
            _ => None,
        };
        for body in spec.doc.body.into_iter().chain(answer) {
            add(body.name, schemas, &mut names);
        }
    }
    add("Problem", schemas, &mut names);
    assert_eq!(names.len(), schemas.as_object().unwrap().len());
    names
}

/// What the page says of a body.
fn body(name: &str, schema: &Value) -> String {
    let mut text = format!("\n### {name}\n\n{}\n", wrapped(schema["description"].as_str().unwrap(), "", ""));
    let required: Vec<_> =
        schema["required"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let properties = schema["properties"].as_object().unwrap();
    let others = properties.keys().map(String::as_str).filter(|name| !required.contains(name));
    for name in required.iter().copied().chain(others) {
        let property = &properties[name];
        let optional = if required.contains(&name) { "" } else { ", optional" };
        let description = property["description"].as_str().unwrap();
        let line = format!("`{name}` ({}{optional}): {description}", kind(property));
        text.push_str(&wrapped(&line, "- ", "  "));
    }
    if let Some(example) = examples::of(name) {
        write!(text, "\n```json\n{example}\n```\n").unwrap();
    }
    text
}

/// The type of a property.
fn kind(property: &Value) -> String {
    if let Some(held) = held(property) {
        let is_list = openapi::takes(property, "array");
        let null = if property["anyOf"].is_array() { " or null" } else { "" };
        return format!("{}{}{null}", if is_list { "list of " } else { "" }, link(&held));
    }
    let null = if openapi::takes(property, "null") { " or null" } else { "" };
    let kind = match property["format"].as_str() {
        Some("date-time") => "date",
        _ if openapi::takes(property, "array") => "list of texts",
        _ if openapi::takes(property, "string") => "text",
        _ if openapi::takes(property, "integer") => "integer",
        _ if openapi::takes(property, "boolean") => "Boolean",
        _ => "number",
    };
    format!("{kind}{null}")
}

/// The type that a property holds one of, or a list of.
fn held(property: &Value) -> Option<String> {
    let one = [property, &property["items"], &property["anyOf"][0]];
    let name = one.into_iter().find_map(|schema| schema["$ref"].as_str())?;
    Some(name.rsplit('/').next().unwrap().to_owned())
}

fn link(name: &str) -> String {
    format!("[`{name}`](#{})", anchor(name))
}
