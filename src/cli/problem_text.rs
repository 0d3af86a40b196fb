//! Words a problem of the HTTP interface for the command line.

use crate::api::types::Problem;

use super::text::visible;

/// Parameters of the HTTP interface with the names of their options; the longer names first.
const OPTIONS: [(&str, &str); 6] = [
    ("identity_user_id", "--identity-user-id"),
    ("connection", "--connection"),
    ("provider", "--provider"),
    ("min_ttl", "--min-ttl"),
    ("fresh", "--fresh"),
    ("user_id", "USER_ID"),
];

/// Returns what happened and what to do, on one line: `the user is blocked in Auth0: unblock …`.
pub(super) fn event(problem: &Problem) -> String {
    let title = within_a_sentence(&visible(&problem.title));
    if problem.problems.is_some() {
        return format!("{title}: the daemon goes on with the old one");
    }
    let detail = in_options(&visible(&problem.detail));
    let option = |name| OPTIONS.iter().find(|(parameter, _)| *parameter == name).map(|(_, option)| *option);
    match problem.parameter.as_deref() {
        Some(name) => {
            format!("{title}: {}: {detail}", option(name).map_or_else(|| visible(name), Into::into))
        }
        None => format!("{title}: {detail}"),
    }
}

/// Makes the first letter of a title small, as for a text after `error:`, unless its first word is a name such as
/// `Auth0`.
fn within_a_sentence(title: &str) -> String {
    let word = title.split(' ').next().unwrap_or_default();
    match word.chars().skip(1).all(|c| c.is_ascii_lowercase()) {
        true => word.to_ascii_lowercase() + &title[word.len()..],
        false => title.to_owned(),
    }
}

/// Replaces the HTTP interface's parameters by options: `?connection=` by `--connection`, and `fresh=true` by
/// `--fresh`.
fn in_options(detail: &str) -> String {
    let mut text = detail.replace("fresh=true", "--fresh");
    for (parameter, option) in OPTIONS.iter().filter(|(_, option)| option.starts_with("--")) {
        text = text.replace(&format!("?{parameter}="), option);
        text = text.replace(&format!(" {parameter}="), &format!(" {option}="));
    }
    text
}
