//! `cloakroom token`: looks one token up.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;

use crate::api::types::TokenAnswer;
use crate::domain::invisible_characters::is_unseen;
use crate::domain::retry::whole_seconds;
use crate::domain::user::UserId;

use super::client::Client;
use super::text::json;
use super::values::duration;
use super::{CommandError, SocketArgs, user_id};

/// For `--help`.
pub const ABOUT: &str = "\
Print a user's identity-provider access token.

USER_ID is the id as Auth0 writes it, not percent-encoded; quote it, because most contain a `|`. If several of the \
user's identities have a token, choose one by --connection, --provider or --identity-user-id.

Examples:
  cloakroom token 'google-oauth2|103547991597142817347'
  cloakroom token 'auth0|5f7c8ec7c33c6c004bbafe82' --connection github
  cloakroom token 'github|583231' --output header | curl --header @- https://api.github.com/user";

/// The arguments of `token`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The user's id, such as 'google-oauth2|103547991597142817347'
    #[arg(value_name = "USER_ID", value_parser = user_id)]
    pub user: UserId,
    /// The identity of this connection
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub connection: Option<String>,
    /// The identity at this provider; one provider may serve several connections
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub provider: Option<String>,
    /// The identity with this id at its provider, for several accounts of one connection
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub identity_user_id: Option<String>,
    /// The token must be valid for this long, such as 60s or 5m; a number alone is seconds
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_ttl: Option<Duration>,
    /// Ask Auth0 now, even if a token is cached; the rate limit may refuse this
    #[arg(long)]
    pub fresh: bool,
    /// A scope that the token must have, if its scopes are known; may be repeated
    #[arg(long, value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
    pub scope: Vec<String>,
    /// What to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = TokenFormat::Token)]
    pub output: TokenFormat,
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// The format of a printed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenFormat {
    /// The bare token and a newline
    Token,
    /// The whole answer: the token, its expiry, its connection and more
    Json,
    /// The line `Authorization: Bearer TOKEN`, for HTTP clients
    Header,
}

/// Looks the token up and prints it.
pub async fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let answer = Client::new(&args.socket.path).get(&path(args)).await?;
    let text = match args.output {
        TokenFormat::Token => bare(&answer.json()?, io::stdout().is_terminal())?,
        TokenFormat::Json => json(&answer.json()?),
        TokenFormat::Header => header(&answer.json()?)?,
    };
    Ok(writeln!(out, "{text}")?)
}

fn path(args: &Args) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let Args { connection, provider, identity_user_id, .. } = args;
    for (name, value) in
        [("connection", connection), ("provider", provider), ("identity_user_id", identity_user_id)]
    {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if let Some(min_ttl) = args.min_ttl {
        // Whole seconds, rounded up, so that the token is valid for at least this long.
        query.append_pair("min_ttl", &whole_seconds(min_ttl).to_string());
    }
    if args.fresh {
        query.append_pair("fresh", "true");
    }
    if !args.scope.is_empty() {
        query.append_pair("scope", &args.scope.join(" "));
    }
    let (user, query) = (args.user.to_path_segment(), query.finish());
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/v1/users/{user}/token{mark}{query}")
}

/// Returns the token unchanged for a program. On a terminal, a token with control characters is an error.
fn bare(answer: &TokenAnswer<'_>, is_terminal: bool) -> Result<String, CommandError> {
    if is_terminal && answer.access_token.contains(is_unseen) {
        return Err(CommandError::failed(
            "this token contains invisible or control characters, so it is printed to a file or a pipe only",
        )
        .hint("--output json escapes them"));
    }
    Ok(answer.access_token.to_string())
}

fn header(answer: &TokenAnswer<'_>) -> Result<String, CommandError> {
    if answer.token_type != "Bearer" {
        return Err(CommandError::failed(
            "this token is not a bearer token: its provider uses OAuth 1, where every request is signed with the token \
             and its secret",
        )
        .hint("--output json prints both"));
    }
    // An HTTP client would parse the text after a line break as another header.
    if !answer.access_token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(CommandError::failed(
            "this token contains characters that are invalid in an HTTP header",
        ));
    }
    Ok(format!("Authorization: Bearer {}", answer.access_token))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, Exit};

    fn args(line: &[&str]) -> Args {
        let line = ["cloakroom", "token"].iter().chain(line);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Token(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn answer(token: &'static str, token_type: &'static str) -> TokenAnswer<'static> {
        TokenAnswer {
            user_id: "twitter|1".into(),
            connection: "twitter".into(),
            provider: "twitter".into(),
            identity_user_id: "1".into(),
            access_token: token.into(),
            access_token_secret: None,
            token_type: token_type.into(),
            expires_at: None,
            expires_in: None,
            expiry_basis: "none".into(),
            source: "identities".into(),
            scopes: None,
            fetched_at: "2026-11-22T09:18:38Z".into(),
            fingerprint: "f".into(),
        }
    }

    #[test]
    fn names_are_encoded_once() {
        assert_eq!(path(&args(&["auth0|a/b"])), "/v1/users/auth0%7Ca%2Fb/token");
        assert_eq!(
            path(&args(&["a%7C", "--connection", "a&b", "--provider", "c d"])),
            "/v1/users/a%257C/token?connection=a%26b&provider=c+d"
        );
        assert_eq!(path(&args(&["a", "--scope", "x", "--scope", "y"])), "/v1/users/a/token?scope=x+y");
        let by_id = args(&["a", "--identity-user-id", "corp|a/b+1"]);
        assert_eq!(path(&by_id), "/v1/users/a/token?identity_user_id=corp%7Ca%2Fb%2B1");
    }

    #[test]
    fn a_token_with_control_characters_is_not_printed_on_a_terminal() {
        for odd in ["a\u{1b}[2J", "a\u{9b}2J", "a\u{202e}b", "a\nb"] {
            assert_eq!(bare(&answer(odd, "Bearer"), false).unwrap(), odd);
            let error = bare(&answer(odd, "Bearer"), true).unwrap_err();
            assert!(error.text.contains("--output json") && !error.text.contains(odd), "{}", error.text);
        }
        assert_eq!(bare(&answer("ya29.x", "Bearer"), true).unwrap(), "ya29.x");
    }

    #[test]
    fn a_header_is_made_of_bearer_tokens_alone() {
        assert_eq!(header(&answer("ya29.x", "Bearer")).unwrap(), "Authorization: Bearer ya29.x");
        let broken = [
            "t\r\nX-Admin: 1",
            "t\nX-Admin: 1",
            "t\rX-Admin: 1",
            "t\0",
            "t x",
            "t\u{85}X-Admin: 1",
            "t\u{2028}",
        ];
        for refused in broken.map(|token| answer(token, "Bearer")).into_iter().chain([answer("t", "OAuth")]) {
            let error = header(&refused).unwrap_err();
            assert_eq!(error.exit, Exit::Failed);
            assert!(!error.text.contains("X-Admin"));
        }
    }
}
