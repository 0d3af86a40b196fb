//! The reference of errors, from the table in `src/api/error/table.rs`.

use std::fmt::Write;

use cloakroom::api::error::Code;
use cloakroom::api::route::{ROUTES, RouteSpec};

use super::generated_below_marker;
use super::http;
use super::markdown::{anchor, wrapped};

#[test]
fn the_reference_has_a_section_for_each_error() {
    let mut page = String::from(
        "| status | code | title | exit code |\n\
         |---|---|---|---|\n",
    );
    for spec in Code::ALL.iter().map(|code| code.spec()) {
        let (status, name, title, exit) = (spec.status.as_u16(), spec.name, spec.title, spec.exit);
        writeln!(page, "| {status} | [`{name}`](#{name}) | {title} | {exit} |").unwrap();
    }
    for code in Code::ALL {
        page.push_str(&section(*code));
    }
    generated_below_marker("docs/reference/errors.md", &page);
}

/// What the page says of an error.
fn section(code: Code) -> String {
    let spec = code.spec();
    let mut facts =
        vec![format!("Status {}, exit code {} of client commands", spec.status.as_u16(), spec.exit)];
    if !spec.members.is_empty() {
        let members: Vec<_> = spec.members.iter().map(|name| format!("`{name}`")).collect();
        facts.push(format!("Further members: {}", members.join(", ")));
    }
    facts.extend(spec.retry_after.map(|after| format!("`Retry-After`: {after}")));
    facts.extend(spec.header.map(|name| format!("Header: `{name}`")));
    facts.push(format!("Answered by: {}", routes(code)));
    let facts: String = facts.iter().map(|fact| wrapped(fact, "- ", "  ")).collect();
    let text =
        wrapped(spec.meaning, "", "") + "\n" + &wrapped(&format!("**What to do:** {}", spec.remedy), "", "");
    format!("\n## {}\n\n{text}\n{facts}", spec.name)
}

/// The routes that may answer with it: those, or all but the others, whichever list is shorter.
fn routes(code: Code) -> String {
    if code == Code::RouteNotFound {
        return "every path that is not a route, and the routes of `/v1/me`".to_owned();
    }
    let (them, others): (Vec<_>, Vec<_>) =
        ROUTES.iter().partition(|spec| Code::of_route(spec).any(|one| one == code));
    let mut besides = vec!["the probes".to_owned(), "`/metrics`".to_owned()];
    besides.extend(others.iter().filter(|spec| !spec.is_probe).map(|spec| linked(spec)));
    if others.is_empty() {
        "every route".to_owned()
    } else if them.iter().all(|spec| !spec.is_probe) && them.len() > besides.len() {
        format!("every route but {}", joined(&besides))
    } else {
        joined(&them.into_iter().map(linked).collect::<Vec<_>>())
    }
}

/// A list in words.
fn joined(items: &[String]) -> String {
    match items {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => items.concat(),
    }
}

/// The route with a link to its section of the HTTP reference.
fn linked(spec: &RouteSpec) -> String {
    let heading = http::heading(spec);
    format!("[`{heading}`](http.md#{})", anchor(&heading))
}
