//! Errors of commands: the exit code for scripts, and the text for people.

use std::fmt::{self, Write};
use std::io;
use std::process::ExitCode;

use crate::api::error::Code;
use crate::api::types::{CandidateAnswer, Problem};

use super::client::ClientError;
use super::problem_text::event;
use super::text::{visible, visible_lines};

/// The exit codes; scripts rely on their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed, for a reason without a code of its own.
    Failed,
    /// 2: the command line is wrong or incomplete.
    Usage,
    /// 3: there is no such user, identity or token.
    NotFound,
    /// 4: the user has to log in again first, or to connect the account.
    LoginRequired,
    /// 5: refused by a rule, by the socket's permissions, or because the user is blocked.
    Forbidden,
    /// 69 (`EX_UNAVAILABLE`): no daemon, or Auth0 cannot be asked.
    Unavailable,
    /// 75 (`EX_TEMPFAIL`): the configuration names a user or a group that this machine does not know yet.
    UnknownAccount,
    /// 78 (`EX_CONFIG`): the configuration is wrong.
    Configuration,
}

impl Exit {
    /// All codes.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::LoginRequired,
        Self::Forbidden,
        Self::Unavailable,
        Self::UnknownAccount,
        Self::Configuration,
    ];

    /// The meaning, as help and the reference state it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "the command line is wrong, or an option is needed to choose between identities",
            Self::NotFound => "not found: the user, the identity or the token",
            Self::LoginRequired => "the user must log in again, or connect the account",
            Self::Forbidden => {
                "forbidden: by a rule, by the socket's permissions, or because Auth0 has blocked the user"
            }
            Self::Unavailable => {
                "unavailable: no daemon, or Auth0 cannot be asked; trying again later may help"
            }
            Self::UnknownAccount => {
                "the configuration names a user or group that is not known yet; trying again later may help"
            }
            Self::Configuration => "the configuration is wrong",
        }
    }

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::LoginRequired => 4,
            Self::Forbidden => 5,
            Self::Unavailable => 69,
            Self::UnknownAccount => 75,
            Self::Configuration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The error that a command ends with.
#[derive(Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// The cause and the fix, without `error:` before it; empty if nothing is left to print.
    pub text: String,
}

impl CommandError {
    /// An error with this exit code.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// An error that has no exit code of its own.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// An error whose reason has been printed already.
    pub const fn silent(exit: Exit) -> Self {
        Self { exit, text: String::new() }
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        self.text.push_str("\nhint: ");
        self.text.push_str(hint);
        self
    }
}

/// Prints the text without characters that control a terminal.
impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible_lines(&self.text))
    }
}

/// The error of a failed write to standard output. If the reader has ended, as in `cloakroom status | head -1`, the
/// command succeeds.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::silent(Exit::Done),
            _ => Self::failed(format!("standard output cannot be written: {error}")),
        }
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Problem { problem, retry_after } => return explain(problem, *retry_after),
            ClientError::Denied { .. } => Exit::Forbidden,
            ClientError::PathTooLong { .. } => Exit::Usage,
            ClientError::NotCloakroom { .. } => Exit::Failed,
            ClientError::Absent { .. }
            | ClientError::Broken { .. }
            | ClientError::Dead { .. }
            | ClientError::Io { .. }
            | ClientError::TimedOut { .. } => Exit::Unavailable,
        };
        Self::new(exit, error.to_string())
    }
}

/// The error for a problem: the daemon's detail, its code to search for, and a hint where the detail gives no fix.
fn explain(problem: &Problem, retry_after: Option<u64>) -> CommandError {
    let mut text = event(problem);
    for problem in problem.problems.iter().flatten() {
        text.extend(["\n", &*visible(problem)]);
    }
    // Writing to a String cannot fail.
    write!(text, "\ncode: {} (request {})", visible(&problem.code), visible(&problem.request_id)).ok();
    let error = CommandError::new(exit_of(problem), text);
    match hint(problem, retry_after) {
        Some(hint) => error.hint(&hint),
        None => error,
    }
}

/// The exit code of a problem: by the table of errors, or by the status if only a newer daemon has this code.
fn exit_of(problem: &Problem) -> Exit {
    let of_code = Code::parse(&problem.code).map(|code| code.spec().exit);
    let of_status = || match problem.status {
        403 => Exit::Forbidden,
        408 | 429 | 500.. => Exit::Unavailable,
        _ => Exit::Failed,
    };
    Exit::ALL.into_iter().find(|exit| Some(exit.code()) == of_code).unwrap_or_else(of_status)
}

fn hint(problem: &Problem, retry_after: Option<u64>) -> Option<String> {
    if problem.permanent == Some(true) && problem.code != "source_misconfigured" {
        return Some("waiting does not help; `cloakroom status` shows what has to be changed".into());
    }
    match problem.code.as_str() {
        "user_not_found" => Some("give the id as Auth0 writes it, in quotes: 'google-oauth2|1034'".into()),
        "ambiguous_identity" if problem.identities.as_ref().is_some_and(|them| !them.is_empty()) => {
            let identities = problem.identities.iter().flatten();
            let lines = identities.map(|one| format!("\n  {}", visible(&options(one))));
            Some(format!("name one of them:{}", lines.collect::<String>()))
        }
        "identity_not_found" | "ambiguous_identity" => {
            let connections = problem.connections.as_deref().filter(|names| !names.is_empty())?;
            Some(format!("--connection takes one of: {}", visible(&connections.join(", "))))
        }
        "login_required" => Some(match &problem.expired_at {
            Some(at) => format!("it expired at {}; the next login brings a new one", visible(at)),
            None => "the next login brings a new one".into(),
        }),
        "connect_required" => Some("the connect flow brings a token".into()),
        "insufficient_scope" => problem.request.as_ref().map(|request| {
            format!(
                "log in with connection={} and connection_scope={}",
                visible(&request.connection),
                visible(&request.connection_scope)
            )
        }),
        "source_misconfigured" => {
            Some("waiting does not help; an operator has to change that, and to reload".into())
        }
        "route_not_found" | "method_not_allowed" => {
            Some("the daemon may be of another version than this command; `cloakroom status` shows it".into())
        }
        // Waiting does not lengthen the token's validity; the detail says what does.
        "min_ttl_unsatisfiable" => None,
        _ => retry_after.map(|seconds| format!("try again in {seconds} s")),
    }
}

/// The options that select an identity on a command line. An option without a value is left out.
fn options(identity: &CandidateAnswer) -> String {
    let CandidateAnswer { connection, provider, identity_user_id } = identity;
    let options =
        [("connection", connection), ("provider", provider), ("identity-user-id", identity_user_id)];
    let given = options.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("--{name} {}", quoted(value))).collect::<Vec<_>>().join(" ")
}

/// `value` as one word of a shell.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:@/+=".contains(c);
    match value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn problem(status: u16, code: &str) -> Problem {
        Problem {
            kind: format!("urn:cloakroom:problem:{code}"),
            title: code.replace('_', " "),
            status,
            code: code.into(),
            detail: "what went wrong".into(),
            request_id: "r-1".into(),
            ..Problem::default()
        }
    }

    #[test]
    fn every_code_of_the_interface_has_its_exit_code() {
        // Scripts rely on these numbers, so they are written down apart from the table.
        let cases = [
            (400, "invalid_request", 2),
            (400, "ambiguous_path", 2),
            (400, "method_override", 2),
            (400, "credential_in_query", 2),
            (401, "invalid_user_token", 1),
            (403, "forbidden", 5),
            (403, "request_header_required", 5),
            (403, "forwarded_request", 5),
            (403, "user_blocked", 5),
            (404, "user_not_found", 3),
            (404, "identity_not_found", 3),
            (404, "no_token", 3),
            (404, "route_not_found", 1),
            (405, "method_not_allowed", 1),
            (408, "request_timeout", 69),
            (409, "ambiguous_identity", 2),
            (409, "insufficient_scope", 4),
            (410, "connect_required", 4),
            (410, "login_required", 4),
            (413, "body_too_large", 1),
            (422, "invalid_configuration", 78),
            (422, "min_ttl_unsatisfiable", 1),
            (429, "rate_limited", 69),
            (431, "headers_too_large", 1),
            (501, "upgrade_unsupported", 1),
            (501, "provider_unsupported", 1),
            (502, "source_misconfigured", 78),
            (502, "upstream_error", 69),
            (503, "provider_unavailable", 69),
            (503, "state_unavailable", 69),
            (504, "provider_timeout", 69),
            (503, "upstream_unavailable", 69),
            (503, "upstream_rate_limited", 69),
            (503, "management_token_unavailable", 69),
            (503, "management_api_closed", 78),
            (503, "draining", 69),
            (503, "overloaded", 69),
            (504, "upstream_timeout", 69),
        ];
        let in_table = Code::ALL.iter().map(|code| code.spec());
        let in_table: BTreeSet<_> =
            in_table.map(|spec| (spec.status.as_u16(), spec.name, spec.exit)).collect();
        assert_eq!(in_table, cases.into());
        for (status, code, exit) in cases {
            assert_eq!(explain(&problem(status, code), None).exit.code(), exit, "{code}");
        }
        for (status, exit) in [(403, 5), (404, 1), (408, 69), (429, 69), (500, 69)] {
            assert_eq!(explain(&problem(status, "of_a_newer_daemon"), None).exit.code(), exit, "{status}");
        }
    }

    #[test]
    fn the_text_has_the_detail_the_code_and_what_to_do() {
        let ambiguous = Problem {
            connections: Some(vec!["corp".into(), "google-oauth2".into()]),
            ..problem(409, "ambiguous_identity")
        };
        assert_eq!(
            explain(&ambiguous, None).text,
            "ambiguous identity: what went wrong\n\
             code: ambiguous_identity (request r-1)\n\
             hint: --connection takes one of: corp, google-oauth2"
        );
        let named = |provider: &str, id: &str| CandidateAnswer {
            connection: "google-oauth2".into(),
            provider: provider.into(),
            identity_user_id: id.into(),
        };
        let identities = Some(vec![named("google-oauth2", "1034"), named("", "it's|\u{e9}1")]);
        assert_eq!(
            explain(&Problem { identities, ..ambiguous }, None).text.split_once("hint: ").unwrap().1,
            "name one of them:\n\
             \u{20} --connection google-oauth2 --provider google-oauth2 --identity-user-id 1034\n\
             \u{20} --connection google-oauth2 --identity-user-id 'it'\\''s|\u{e9}1'"
        );
        assert!(explain(&problem(503, "upstream_unavailable"), Some(7)).text.ends_with("try again in 7 s"));
        let permanent = Problem { permanent: Some(true), ..problem(503, "management_token_unavailable") };
        assert!(explain(&permanent, Some(7)).text.contains("waiting does not help"));
        assert_eq!(explain(&problem(403, "forbidden"), None).text.lines().count(), 2);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
        let ended = |kind| CommandError::from(io::Error::from(kind));
        assert_eq!(ended(io::ErrorKind::BrokenPipe), CommandError::silent(Exit::Done));
        assert_eq!(ended(io::ErrorKind::StorageFull).exit, Exit::Failed);
    }
}
