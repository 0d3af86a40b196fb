//! Reads the environment as a layer: `CLOAKROOM_TENANT__CLIENT__ID` sets `tenant.client.id`.

use std::collections::BTreeMap;
use std::fmt;

use super::problem::{Report, in_variable};
use super::schema::{self, Key, Known, VARIABLE_PREFIX, variable};
use super::source_values::Layer;
use super::suggestion;
use super::values::from_text;

/// Variables that client commands read. They name the socket to connect to, not the one to create.
const NOT_KEYS: [&str; 1] = ["CLOAKROOM_SOCKET"];

/// The environment of the process, as `main` hands it in. It contains secrets, so its `Debug` text has only names.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The value of a variable that is set and not empty. An empty one counts as unset, as other programs treat
    /// `HTTPS_PROXY` and similar variables.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads the variables that set keys. A variable with our prefix that sets no key is a problem in `report`.
pub(super) fn read(env: &Env, report: &mut Report) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in &env.0 {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        if NOT_KEYS.contains(&name.as_str()) || is_service_link(rest, value) {
            continue;
        }
        match key(name, rest) {
            Ok((path, key)) => match from_text(key.takes, value) {
                Some(value) => layer.set(&path, &in_variable(name), value),
                None => {
                    let origin = in_variable(name);
                    report.problem(&path, Some(&origin), format!("must be {}", key.takes.expected()));
                    layer.set_unusable(&path);
                }
            },
            Err((path, text)) => {
                report.problem(&path, Some(&in_variable(name)), text);
            }
        }
    }
    layer
}

/// The path and the row of the key that a variable sets; or the path that it seems to set, and what is wrong with it.
fn key(name: &str, rest: &str) -> Result<(String, &'static Key), (String, String)> {
    let parts: Vec<_> = rest.split("__").map(str::to_ascii_lowercase).collect();
    let path = parts.iter().fold(String::new(), |path, part| schema::join(&path, part));
    match schema::lookup(&path) {
        Some(Known::Key(_)) if let Some(list) = schema::misnumbered(&path) => {
            let example = variable(list.example);
            let text =
                format!("{} are numbered from 0, at most {}, as in {example}", list.elements, list.most);
            Err((path, text))
        }
        Some(Known::Key(key)) if name == variable(&path) => Ok((path, key)),
        Some(Known::Key(_)) => {
            let text = format!("variable names are in upper case; did you mean {}?", variable(&path));
            Err((path, text))
        }
        Some(Known::Table) => {
            let text = format!("is a table; set its keys one by one, as in {}__KEY", variable(&path));
            Err((path, text))
        }
        Some(Known::ListOfTables(_, list)) => {
            let example = variable(list.example);
            Err((path, format!("is a list of tables; set its keys one by one, as in {example}")))
        }
        None => {
            let text = suggestion::unknown(&path, variable);
            Err((path, text))
        }
    }
}

/// Whether Kubernetes set this variable, and not the operator. Kubernetes sets variables for every Service of the
/// namespace in every container; those of a Service called `cloakroom` or `cloakroom-…` have our prefix.
fn is_service_link(rest: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let rest = format!("_{rest}");
    rest.ends_with("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || (rest.ends_with("_PORT") && address)
        || rest.split("_PORT_").skip(1).any(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<const N: usize>(variables: [(&str, &str); N]) -> Env {
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn variables_of_client_commands_and_of_kubernetes_are_ignored() {
        let env = env([
            ("CLOAKROOM_SOCKET", "/run/x"),
            ("CLOAKROOM_SERVICE_HOST", "10.0.0.1"),
            ("CLOAKROOM_SERVICE_PORT", "9464"),
            ("CLOAKROOM_SERVICE_PORT_METRICS", "9464"),
            ("CLOAKROOM_PORT", "tcp://10.0.0.1:9464"),
            ("CLOAKROOM_PORT_9464_TCP_ADDR", "10.0.0.1"),
            ("CLOAKROOM_WEB_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("PATH", "/bin"),
        ]);
        let mut report = Report::default();
        assert_eq!(format!("{:?}", read(&env, &mut report)), "{}");
        assert!(report.finish("f", Ok(())).is_ok());
    }

    #[test]
    fn an_unknown_variable_gets_a_suggestion_and_its_value_is_not_printed() {
        let env = env([
            ("CLOAKROOM_TENANT__CLIENT__SECRETS", "canary"),
            ("CLOAKROOM_TENANT_DOMAIN", "canary"),
            ("CLOAKROOM_TENANT", "canary"),
            ("CLOAKROOM_tenant__domain", "canary"),
            ("CLOAKROOM_LISTENER", "canary"),
            ("CLOAKROOM_LISTENER__PATH", "canary"),
            ("CLOAKROOM_LISTENER__00__PATH", "canary"),
            ("CLOAKROOM_LISTENER__4000000000__PATH", "canary"),
            ("CLOAKROOM_", "canary"),
        ]);
        let mut report = Report::default();
        read(&env, &mut report);
        let outcome = report.problem("end", None, "");
        let text = report.finish::<()>("f", Err(outcome)).unwrap_err().to_string();
        assert_eq!(text.lines().count(), 10, "{text}");
        assert!(text.contains("did you mean CLOAKROOM_TENANT__CLIENT__SECRET?"), "{text}");
        assert!(text.contains("did you mean CLOAKROOM_TENANT__DOMAIN?"), "{text}");
        assert!(!text.contains("canary") && !format!("{env:?}").contains("canary"), "{text}");
    }

    #[test]
    fn the_name_of_a_variable_cannot_forge_a_line_of_output() {
        let env = env([("CLOAKROOM_X\nf.toml, line 1: tenant.domain: must be\u{1b}[1m", "canary")]);
        let mut report = Report::default();
        read(&env, &mut report);
        let text = report.into_problems("f.toml").to_string();
        assert!(text.starts_with("the variable \"CLOAKROOM_X\\nf.toml"), "{text}");
        assert!(!text.contains(char::is_control), "{text}");
    }
}
