//! `cloakroom purge`: removes users from the cache.

use std::io;

use crate::domain::user::UserId;

use super::client::Client;
use super::{CommandError, SocketArgs, user_id};

/// For `--help`.
pub const ABOUT: &str = "\
Remove one user, or all, from the cache: the next lookup asks Auth0.

Prints nothing on success, also if nothing was cached.

Examples:
  cloakroom purge 'google-oauth2|103547991597142817347'
  cloakroom purge --all";

/// The arguments of `purge`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The user, or all.
    #[command(flatten)]
    pub target: Target,
    /// Also forget the refresh tokens that the daemon has; until the next login it may have no token for the user
    #[arg(long)]
    pub credentials: bool,
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// One user or all. One of them is required, because an empty shell variable must not mean all.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The user's id, such as 'google-oauth2|103547991597142817347'
    #[arg(value_name = "USER_ID", value_parser = user_id)]
    pub user: Option<UserId>,
    /// Remove every user
    #[arg(long)]
    pub all: bool,
}

/// Makes the daemon remove the users.
pub async fn run(args: &Args, _out: &mut impl io::Write) -> Result<(), CommandError> {
    let query = if args.credentials { "?credentials=true" } else { "" };
    let path = match &args.target.user {
        Some(user) => format!("/v1/users/{}{query}", user.to_path_segment()),
        None => format!("/v1/users{query}"),
    };
    Client::new(&args.socket.path).delete(&path).await?;
    Ok(())
}
