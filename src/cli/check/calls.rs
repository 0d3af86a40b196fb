//! `cloakroom check`: says in words which calls of other APIs each rule lets through, and warns of those that let more
//! through than they show.

use std::io;

use crate::config::{Config, Listener, ProxiedApi};
use crate::domain::policy::call::CallPattern;
use crate::domain::policy::{Operation, Rule};
use crate::domain::verdict::Dialect;

/// Endpoints of the Management API that lead to further rights or to secrets, by their first segment.
const ESCALATING: [(&str, &str); 7] = [
    ("client-grants", "gives applications scopes"),
    ("clients", "shows and sets applications' secrets"),
    ("connections", "shows and sets identity providers' secrets"),
    ("keys", "replaces signing keys"),
    ("actions", "changes code that runs at every login"),
    ("jobs", "exports and imports users"),
    ("tickets", "makes links that set passwords"),
];

/// Prints a line for each call of each rule of `listener`.
pub(super) fn print(config: &Config, listener: &Listener, out: &mut impl io::Write) -> io::Result<()> {
    for (place, rule) in listener.allow.iter().enumerate() {
        for pattern in &*rule.calls {
            for line in in_words(config, rule, pattern) {
                writeln!(out, "rule {place} lets through {line}")?;
            }
        }
    }
    Ok(())
}

/// What a pattern lets through, once for each API that it is about.
fn in_words(config: &Config, rule: &Rule, pattern: &CallPattern) -> Vec<String> {
    let users =
        rule.users.as_ref().map(|users| users.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    if pattern.name().is_none() {
        let place = place(pattern, &config.tenant.domain, "/api/v2");
        let users = users.map(|users| format!(", for the users {users}")).unwrap_or_default();
        return vec![format!("{place}{users}")];
    }
    let who = match (rule.operations.contains(&Operation::Proxy), users) {
        (true, None) => "any user".to_owned(),
        (true, Some(users)) => format!("the users {users}"),
        (false, None) => "the user whose token is presented".to_owned(),
        (false, Some(users)) => format!("the user whose token is presented, if one of {users}"),
    };
    let line = |api: &ProxiedApi| {
        format!("{}, for {who} with {}", place(pattern, &api.authority, &api.prefix), api.connection)
    };
    apis(config, rule, pattern).map(line).collect()
}

/// The method and the URL of a pattern.
fn place(pattern: &CallPattern, authority: &str, prefix: &str) -> String {
    let method = pattern.method();
    match pattern.path().strip_suffix("/**") {
        Some("") => format!("{method} of everything at https://{authority}{prefix}"),
        Some(path) => format!("{method} https://{authority}{prefix}{path} and everything below"),
        None => format!("{method} https://{authority}{prefix}{}", pattern.path()),
    }
}

/// The APIs that a pattern of a rule is about.
fn apis<'a>(
    config: &'a Config,
    rule: &'a Rule,
    pattern: &'a CallPattern,
) -> impl Iterator<Item = &'a ProxiedApi> {
    let is_shown = |api: &ProxiedApi| {
        rule.connections
            .as_ref()
            .is_none_or(|connections| connections.iter().any(|one| **one == *api.connection))
    };
    config.proxied_apis.iter().filter(move |api| pattern.name() == Some(&*api.name) && is_shown(api))
}

/// Warnings about patterns that admit what no rule can judge, or what gives the client further rights.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for listener in &config.listeners {
        for (place, rule) in listener.allow.iter().enumerate() {
            for pattern in &*rule.calls {
                let faults = match pattern.name() {
                    None => escalations(rule, pattern),
                    Some(_) => batches(config, rule, pattern),
                };
                let path = listener.path.display();
                warnings
                    .extend(faults.iter().map(|fault| format!("{path}: rule {place}: {pattern} {fault}")));
            }
        }
    }
    warnings
}

/// What a pattern of the Management API admits beyond a user.
fn escalations(rule: &Rule, pattern: &CallPattern) -> Vec<String> {
    if rule.users.is_some() {
        return Vec::new();
    }
    let mut faults: Vec<_> = ESCALATING
        .into_iter()
        .filter(|(first, _)| pattern.can_begin_with(first))
        .map(|(first, what)| format!("admits /{first}, which {what}"))
        .collect();
    if pattern.method() == "GET" && pattern.matches_path("/users") {
        faults.push("admits GET /users, which searches all users".to_owned());
    }
    faults
}

/// The batch endpoints that a pattern admits. One request there carries others, with methods and paths of their own.
fn batches(config: &Config, rule: &Rule, pattern: &CallPattern) -> Vec<String> {
    let mut faults = Vec::new();
    for api in apis(config, rule, pattern) {
        let is_admitted = |(method, path): &&(&str, &str)| {
            let rest = path.strip_prefix(&*api.prefix);
            let rest = rest.map(|rest| if rest.is_empty() { "/" } else { rest });
            pattern.method() == *method && rest.is_some_and(|rest| pattern.matches_path(rest))
        };
        if let Some((_, path)) = endpoints(api.dialect).iter().find(is_admitted) {
            faults.push(format!(
                "admits the batch endpoint {path} of {}: no rule judges the requests within its body",
                api.authority
            ));
        }
    }
    faults
}

/// The batch endpoints of an API, as methods and paths at its host.
fn endpoints(dialect: Dialect) -> &'static [(&'static str, &'static str)] {
    match dialect {
        // https://learn.microsoft.com/en-us/graph/json-batching
        Dialect::Microsoft => &[("POST", "/v1.0/$batch"), ("POST", "/beta/$batch")],
        // https://developers.google.com/workspace/gmail/api/guides/batch
        Dialect::Google => &[("POST", "/batch"), ("POST", "/batch/gmail/v1"), ("POST", "/batch/drive/v3")],
        // https://developers.facebook.com/docs/graph-api/batch-requests
        Dialect::Facebook => &[("POST", "/"), ("POST", "/v23.0"), ("POST", "/v23.0/")],
        // https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite.htm
        Dialect::Salesforce => &[
            ("POST", "/services/data/v60.0/composite"),
            ("POST", "/services/data/v60.0/composite/batch"),
            ("POST", "/services/data/v60.0/graphql"),
        ],
        _ => &[("POST", "/graphql"), ("POST", "/api/graphql"), ("GET", "/graphql"), ("POST", "/batch")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn loaded(apis: &str, rule: &str) -> Config {
        let text = format!(
            "[tenant]\ndomain = \"acme.eu.auth0.com\"\n[tenant.client]\nid = \"3Xk9\"\nsecret = \"x\"\n\
             [management_api]\nclient_id = \"y\"\nsecret = \"z\"\n{apis}\n\
             [[listener]]\n[[listener.allow]]\nuid = 4711\n{rule}"
        );
        parse("f.toml", &text, &std::iter::empty().collect())
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config
    }

    fn api(connection: &str, name: &str, url: &str) -> String {
        format!("[[proxy]]\nconnection = {connection:?}\nname = {name:?}\nurl = {url:?}\n")
    }

    #[test]
    fn what_a_rule_lets_through_is_said_in_words() {
        let apis = [
            api("google-oauth2", "gmail", "https://gmail.googleapis.com"),
            api("github", "api", "https://github.example/api/v3"),
            api("gitlab", "api", "https://gitlab.example"),
        ]
        .concat();
        let words = |rule: &str| {
            let (config, mut out) = (loaded(&apis, rule), Vec::new());
            print(&config, &config.listeners[0], &mut out).unwrap();
            String::from_utf8(out).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            words(
                "operations = [\"proxy\"]\ncalls = [\"GET gmail/gmail/v1/users/me/messages/**\", \"POST api/*/a\"]"
            ),
            [
                "rule 0 lets through GET https://gmail.googleapis.com/gmail/v1/users/me/messages and everything below, for \
                 any user with google-oauth2",
                "rule 0 lets through POST https://github.example/api/v3/*/a, for any user with github",
                "rule 0 lets through POST https://gitlab.example/*/a, for any user with gitlab",
            ]
        );
        assert_eq!(
            words("operations = [\"me_proxy\"]\ncalls = [\"GET api/**\"]\nconnections = [\"github\"]"),
            [
                "rule 0 lets through GET of everything at https://github.example/api/v3, for the user whose token is \
                 presented with github"
            ]
        );
        assert_eq!(
            words("operations = [\"management_api\"]\ncalls = [\"GET /users/*\"]\nusers = [\"auth0|*\"]"),
            ["rule 0 lets through GET https://acme.eu.auth0.com/api/v2/users/*, for the users auth0|*"]
        );
    }

    #[test]
    fn batch_endpoints_and_what_gives_further_rights_are_warned_of() {
        let apis = [
            api("waad", "graph", "https://graph.microsoft.com/v1.0"),
            api("google-oauth2", "gmail", "https://gmail.googleapis.com"),
            api("facebook", "fb", "https://graph.facebook.com"),
            api("github", "api", "https://api.github.com"),
        ]
        .concat();
        let of = |operation: &str, call: &str, more: &str| {
            let rule = format!("operations = [{operation:?}]\ncalls = [{call:?}]\n{more}");
            warnings(&loaded(&apis, &rule))
        };
        for (call, path) in [
            ("POST graph/**", "/v1.0/$batch"),
            ("POST graph/*", "/v1.0/$batch"),
            ("POST gmail/**", "/batch"),
            ("POST gmail/batch/gmail/v1", "/batch/gmail/v1"),
            ("POST fb/", "/"),
            ("POST api/graphql", "/graphql"),
        ] {
            let said = of("proxy", call, "");
            assert_eq!(said.len(), 1, "{call}");
            assert!(said[0].contains(&format!("{call} admits the batch endpoint {path} of ")), "{said:?}");
        }
        for call in
            ["GET graph/**", "POST graph/me/**", "POST gmail/gmail/**", "POST fb/me/**", "GET api/user/**"]
        {
            assert!(of("proxy", call, "").is_empty(), "{call}");
        }
        assert_eq!(of("management_api", "GET /**", "").len(), 8);
        assert!(of("management_api", "POST /tickets/*", "")[0].contains("makes links that set passwords"));
        assert!(of("management_api", "GET /users", "")[0].contains("searches all users"));
        assert!(of("management_api", "GET /users/*", "").is_empty());
        assert!(of("management_api", "GET /**", "users = [\"auth0|*\"]").is_empty());
    }
}
