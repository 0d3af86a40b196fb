//! `openapi.json`, from the route table, the table of errors and the types of `src/api/types.rs`.

use std::process::Command;

use cloakroom::api::error::Code;
use cloakroom::api::route::{AnswerKind, Body, Parameter, ParameterKind, ROUTES, RouteSpec, RouteTag};
use cloakroom::api::types::Problem;
use cloakroom::domain::policy::Operation;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::examples;
use super::generated;
use super::openapi_3_0;

/// Auth0's user ids: no control characters, and neither `.` nor `..`. Without a lookahead, which RE2 does not know.
const USER_ID: &str =
    r"^([^.\x00-\x1f\x7f-\x9f]|\.[^.\x00-\x1f\x7f-\x9f]|\.\.[^\x00-\x1f\x7f-\x9f])[^\x00-\x1f\x7f-\x9f]*$";

/// Twelve bytes in base64.
const FINGERPRINT: &str = "^[A-Za-z0-9_-]{16}$";

#[test]
fn the_description_of_the_interface_is_that_of_the_tables() {
    let document = document();
    let pretty = |document: &Value| serde_json::to_string_pretty(document).unwrap() + "\n";
    generated("src/api/openapi.json", &serde_json::to_string(&document).unwrap());
    generated("docs/reference/openapi.json", &pretty(&document));
    generated("docs/reference/openapi-3.0.json", &pretty(&openapi_3_0::rendered(document)));
}

/// The feature that makes schemas is of tests alone.
#[test]
fn no_program_that_is_shipped_has_schemars_in_it() {
    let tree = |edges: &str| {
        let tree = ["tree", "--locked", "--offline", "--prefix", "none", "--edges", edges];
        let tree =
            Command::new(env!("CARGO")).args(tree).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(tree.status.success(), "{tree:?}");
        String::from_utf8(tree.stdout).unwrap()
    };
    assert!(!tree("normal").contains("schemars"));
    assert!(tree("normal,dev").contains("schemars"), "the list has what tests have");
}

/// The groups of operations that are described.
fn tags() -> Vec<Value> {
    let described = RouteTag::ALL.into_iter().filter(|tag| *tag != RouteTag::Proxy);
    described.map(|tag| json!({ "name": tag.as_str(), "description": tag.summary() })).collect()
}

/// OpenAPI 3.1.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    generator.subschema_for::<Problem>();
    let (mut paths, mut responses) = (Map::new(), Map::new());
    for spec in ROUTES {
        // OpenAPI has no way to say that a path goes on with any number of segments.
        let Some(method) = &spec.method else { continue };
        let operation = operation(spec, &mut generator, &mut responses);
        let path = paths.entry(spec.template.as_str()).or_insert_with(|| json!({}));
        path[method.as_str().to_lowercase()] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.iter_mut().for_each(|(name, schema)| finish(name, schema));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cloakroom",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Access tokens of users' identity providers, over a Unix socket.",
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://localhost", "description": "The Unix socket; the host has no meaning." }],
        "tags": tags(),
        "security": [{ "requestHeader": [] }],
        "paths": paths,
        "components": {
            "parameters": parameters(),
            "headers": headers(),
            "responses": responses,
            "schemas": schemas,
            "securitySchemes": {
                "requestHeader": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Cloakroom-Request",
                    "description": "Always `true`. Shows that the request is meant for this daemon; a browser or a URL \
                                    alone cannot send it. Not a secret. Not required where the listener's \
                                    `require_request_header` is false.",
                },
                "userToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The user's own access or ID token, signed with RS256 or PS256, that the tenant issued \
                                    for one of `[me] audiences`.",
                },
            },
        },
    })
}

const DESCRIPTION: &str = "HTTP/1.1 on a Unix socket. Every request but the probes carries the header \
    `Cloakroom-Request: true`. A request with `Forwarded`, `X-Forwarded-…`, `Origin` or `Referer` is refused. The kernel \
    states the client's uid and gid (`SO_PEERCRED`), and the listener's rules state what it may do; without rules, only root \
    and the daemon's own uid are answered. A request has at most 64 header fields of together 16 KiB, and a body of at most \
    64 KiB. Query parameters that a route does not know are refused. `HEAD` is answered on every route that takes `GET`, \
    with the same headers and no body.";

/// What one route does.
fn operation(spec: &RouteSpec, generator: &mut SchemaGenerator, responses: &mut Map<String, Value>) -> Value {
    let doc = &spec.doc;
    let mut operation = json!({
        "operationId": doc.operation_id,
        "tags": [doc.tag.as_str()],
        "summary": doc.summary,
        "responses": answers(spec, generator, responses),
    });
    let mut description = doc.description.to_owned();
    if let Some(operation) = spec.operation {
        let needs = format!("Needs the operation `{}`.", operation.as_str());
        description = format!("{description} {needs}").trim_start().to_owned();
    }
    if !description.is_empty() {
        operation["description"] = description.into();
    }
    let user = spec.template.has_user().then_some("user_id");
    let names = user.into_iter().chain(doc.query.iter().map(|parameter| parameter.name));
    let parameters: Vec<_> = names.map(|name| reference("parameters", name)).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if spec.is_probe {
        operation["security"] = json!([]);
    } else if spec.operation == Some(Operation::Me) {
        operation["security"] = json!([{ "requestHeader": [], "userToken": [] }]);
    }
    if let Some(body) = doc.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": content(body, generator) } });
    }
    operation
}

/// Every status that a route answers with: those of success, and one for the errors of each status.
fn answers(spec: &RouteSpec, generator: &mut SchemaGenerator, responses: &mut Map<String, Value>) -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let of_lookups = ["Cloakroom-Cache", "Age"];
    let (status, content, more): (_, _, &[&str]) = match spec.doc.answer {
        AnswerKind::Lookup(body) => {
            ("200", json!({ "application/json": content(body, generator) }), &of_lookups)
        }
        AnswerKind::Json(body) => ("200", json!({ "application/json": content(body, generator) }), &[]),
        AnswerKind::Probe => ("200", json!({ "text/plain": text }), &[]),
        AnswerKind::Metrics => {
            ("200", json!({ "text/plain": text, "application/openmetrics-text": text }), &[])
        }
        AnswerKind::Document => (
            "200",
            json!({ "application/json": { "schema": { "type": "object", "additionalProperties": true } } }),
            &[],
        ),
        AnswerKind::Empty => ("204", Value::Null, &[]),
        AnswerKind::Proxied => unreachable!("a route with any method is not described"),
    };
    let mut all = json!({ status: response(spec.doc.summary.to_owned(), more, content) });
    let codes: Vec<_> = Code::of_route(spec).collect();
    for code in &codes {
        let status = code.spec().status;
        let of_status: Vec<_> = codes.iter().copied().filter(|code| code.spec().status == status).collect();
        let name = of_status.iter().map(|code| format!("{code:?}")).collect::<Vec<_>>().join("Or");
        responses.entry(name.clone()).or_insert_with(|| problem(&of_status));
        all[status.as_str()] = reference("responses", &name);
    }
    if matches!(spec.doc.answer, AnswerKind::Probe) {
        let overloaded = problem(&[Code::Overloaded]);
        let description =
            format!("The probe fails; the body says why. Or {}", overloaded["description"].as_str().unwrap());
        let mut failing = response(description, &["Retry-After"], overloaded["content"].clone());
        failing["content"]["text/plain"] = text;
        all["503"] = failing;
    }
    all
}

fn content(body: Body, generator: &mut SchemaGenerator) -> Value {
    json!({ "schema": (body.schema)(generator) })
}

/// The answer with one of these codes, which have one status.
fn problem(codes: &[Code]) -> Value {
    let texts = codes.iter().map(|code| format!("`{}`: {}", code.spec().name, code.spec().meaning));
    let mut headers: Vec<_> = codes.iter().filter_map(|code| code.spec().header).collect();
    if codes.iter().any(|code| code.spec().retry_after.is_some()) {
        headers.push("Retry-After");
    }
    let schema = json!({ "application/problem+json": { "schema": reference("schemas", "Problem") } });
    response(texts.collect::<Vec<_>>().join(" "), &headers, schema)
}

fn response(description: String, headers: &[&str], content: Value) -> Value {
    let always = ["Cloakroom-Request-Id", "Cache-Control"];
    let headers = always.iter().chain(headers);
    let headers: Map<_, _> = headers.map(|name| ((*name).to_owned(), reference("headers", name))).collect();
    let mut response = json!({ "description": description, "headers": headers });
    if !content.is_null() {
        response["content"] = content;
    }
    response
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn parameters() -> Value {
    let mut all = json!({
        "user_id": {
            "name": "user_id",
            "in": "path",
            "required": true,
            "description": "Auth0's `user_id`, as Auth0 writes it. In a URL it is percent-encoded exactly once, as one \
                            segment (`|` as `%7C`), which generated clients do.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 300, "pattern": USER_ID },
            "example": examples::USER_ID,
        },
    });
    for parameter in ROUTES.iter().flat_map(|spec| spec.doc.query) {
        all[parameter.name] = query(parameter);
    }
    all
}

fn query(parameter: &Parameter) -> Value {
    let (schema, example) = match parameter.kind {
        ParameterKind::Text => (json!({ "type": "string", "minLength": 1 }), parameter.example.into()),
        ParameterKind::Seconds => (
            json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX }),
            parameter.example.parse::<u64>().unwrap().into(),
        ),
        ParameterKind::Flag => (json!({ "type": "boolean" }), Value::Bool(parameter.example == "true")),
    };
    json!({
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": schema,
        "example": example,
    })
}

fn headers() -> Value {
    let header = |description: &str, schema: Value| json!({ "description": description, "schema": schema });
    let seconds = |least: u8| json!({ "type": "integer", "format": "int64", "minimum": least });
    json!({
        "Cloakroom-Request-Id": header(
            "Names this request in problems, in the log and in the audit log.",
            json!({ "type": "string" }),
        ),
        "Cloakroom-Cache": header(
            "`hit`: from the cache. `miss`: Auth0 was asked. `stale`: from the cache, because Auth0 could not be asked.",
            json!({ "type": "string", "enum": ["hit", "miss", "stale"] }),
        ),
        "Age": header("Seconds since Auth0 was asked.", seconds(0)),
        "Cache-Control": header("Always `no-store`.", json!({ "type": "string", "enum": ["no-store"] })),
        "Retry-After": header("Seconds after which a retry can help.", seconds(1)),
        "Allow": header("The methods that the route takes.", json!({ "type": "string" })),
        "WWW-Authenticate": header(
            "As in RFC 6750.",
            json!({ "type": "string", "enum": ["Bearer error=\"invalid_token\""] }),
        ),
    })
}

/// Adds to a schema what Rust's types do not say.
fn finish(name: &str, schema: &mut Value) {
    let required: Vec<_> = schema["required"].as_array().cloned().unwrap_or_default();
    one_line(schema);
    if let Some(example) = examples::of(name) {
        schema["examples"] = json!([serde_json::from_str::<Value>(&example).unwrap()]);
    }
    for (field, property) in schema["properties"].as_object_mut().unwrap() {
        one_line(property);
        property.as_object_mut().unwrap().remove("default");
        if !required.iter().any(|one| one == field) {
            // Left out where there is nothing to state, and never null.
            without_null(property);
        }
        let is_integer = takes(property, "integer");
        if is_integer {
            property["format"] = "int64".into();
        }
        match &**field {
            "at" => property["format"] = "date-time".into(),
            date if date.ends_with("_at") => property["format"] = "date-time".into(),
            "user_id" => {
                property["pattern"] = USER_ID.into();
                property["maxLength"] = 300.into();
            }
            "fingerprint" => property["pattern"] = FINGERPRINT.into(),
            _ => {}
        }
        assert!(property["description"].is_string() || property["$ref"].is_string(), "{name}.{field}");
    }
}

/// What a comment of several lines says, in one.
fn one_line(schema: &mut Value) {
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        schema["description"] = text.split_whitespace().collect::<Vec<_>>().join(" ").into();
    }
}

fn without_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array() {
        let others: Vec<_> = types.iter().filter(|one| *one != "null").cloned().collect();
        schema["type"] = others.first().unwrap().clone();
    }
}

/// Whether a value may be of this type.
pub fn takes(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::Array(types) => types.iter().any(|one| one == name),
        one => one == name,
    }
}
