//! `cloakroom purge`: forget.

use std::io;

use crate::domain::user::UserId;

use super::client::Client;
use super::{CommandError, Socket, user_id};

/// For `--help`.
pub const ABOUT: &str = "\
Forget what is cached of one user, or of all: the next lookup asks Auth0.

Says nothing where all goes well, also when nothing was cached.

Examples:
  cloakroom purge 'google-oauth2|103547991597142817347'
  cloakroom purge --all";

/// What `purge` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Whom to forget.
    #[command(flatten)]
    pub target: Target,
    /// Where the daemon is.
    #[command(flatten)]
    pub socket: Socket,
}

/// One user or all; never neither, which could be a variable that was empty by mistake.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The user's id, such as 'google-oauth2|103547991597142817347'
    #[arg(value_name = "USER_ID", value_parser = user_id)]
    pub user: Option<UserId>,
    /// Forget every user
    #[arg(long)]
    pub all: bool,
}

/// Has the daemon forget.
pub async fn run(args: &Args, _out: &mut impl io::Write) -> Result<(), CommandError> {
    let path = match &args.target.user {
        Some(user) => format!("/v1/users/{}", user.to_path_segment()),
        None => "/v1/users".into(),
    };
    Client::new(&args.socket.path).delete(&path).await?;
    Ok(())
}
