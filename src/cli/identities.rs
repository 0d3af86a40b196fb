//! `cloakroom identities`: lists a user's identities.

use std::io;

use crate::api::types::{IdentitiesAnswer, IdentityAnswer};
use crate::domain::freshness::Timestamp;
use crate::domain::user::UserId;

use super::client::Client;
use super::text::{date, table};
use super::{AnswerFormat, CommandError, SocketArgs, user_id};

/// For `--help`.
pub const ABOUT: &str = "\
List a user's identities, without tokens: the connection to select each by, and whether it has a token.

The token column says `available`, `expired` (the user must log in again) or `none`.

Examples:
  cloakroom identities 'google-oauth2|103547991597142817347'
  cloakroom identities 'auth0|5f7c8ec7c33c6c004bbafe82' --output json";

/// The arguments of `identities`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The user's id, such as 'google-oauth2|103547991597142817347'
    #[arg(value_name = "USER_ID", value_parser = user_id)]
    pub user: UserId,
    /// What to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = AnswerFormat::Text)]
    pub output: AnswerFormat,
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Requests the identities and prints them.
pub async fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let path = format!("/v1/users/{}/identities", args.user.to_path_segment());
    let answer = Client::new(&args.socket.path).get(&path).await?;
    args.output.write(&answer, render, out)
}

fn render(answer: &IdentitiesAnswer<'_>, now: Timestamp) -> String {
    let mut text = String::new();
    if answer.blocked {
        text.push_str("BLOCKED: Auth0 has blocked this user, so no token is returned\n\n");
    }
    if answer.identities.is_empty() {
        text.push_str("no identities\n");
        return text;
    }
    let head = ["CONNECTION", "PROVIDER", "ACCOUNT", "TOKEN", "EXPIRY"].map(str::to_owned);
    let rows: Vec<_> =
        [head].into_iter().chain(answer.identities.iter().map(|identity| row(identity, now))).collect();
    text.push_str(&table(&rows));
    text
}

fn row(identity: &IdentityAnswer<'_>, now: Timestamp) -> [String; 5] {
    let expiry = match (&identity.expires_at, identity.token.as_ref()) {
        (Some(at), _) => date(at, now),
        (None, "none") => "-".into(),
        (None, _) => "not known".into(),
    };
    let texts = [&identity.connection, &identity.provider, &identity.identity_user_id, &identity.token];
    let [connection, provider, account, token] = texts.map(|text| text.clone().into_owned());
    [connection, provider, account, token, expiry]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(connection: &'static str, token: &'static str, at: Option<&str>) -> IdentityAnswer<'static> {
        IdentityAnswer {
            connection: connection.into(),
            provider: connection.split('-').next().unwrap().into(),
            identity_user_id: "1034".into(),
            is_social: true,
            token: token.into(),
            expires_at: at.map(Into::into),
            expiry_basis: "login".into(),
        }
    }

    fn shown(blocked: bool, identities: Vec<IdentityAnswer<'_>>) -> String {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        let fetched_at = "2026-11-22T09:59:00Z".into();
        render(&IdentitiesAnswer { user_id: "auth0|1".into(), blocked, fetched_at, identities }, now)
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let identities = vec![
            identity("google-oauth2", "available", Some("2026-11-22T10:42:00Z")),
            identity("corp", "expired", Some("2026-11-22T07:00:00Z")),
            identity("github", "available", None),
            identity("Username-Password-Authentication", "none", None),
        ];
        assert_eq!(
            shown(false, identities),
            "\
CONNECTION                        PROVIDER  ACCOUNT  TOKEN      EXPIRY
google-oauth2                     google    1034     available  in 42 min (2026-11-22T10:42:00Z)
corp                              corp      1034     expired    3 h ago (2026-11-22T07:00:00Z)
github                            github    1034     available  not known
Username-Password-Authentication  Username  1034     none       -
"
        );
    }

    #[test]
    fn a_block_and_an_empty_list_are_shown() {
        let text = shown(true, vec![]);
        assert!(text.starts_with("BLOCKED: "), "{text}");
        assert!(text.ends_with("no identities\n"), "{text}");
    }
}
