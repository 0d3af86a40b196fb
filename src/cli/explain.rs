//! `cloakroom explain`: which rule decides about a request.

use std::io;
use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use nix::unistd::{Uid, User};

use crate::config::{self, Loaded};
use crate::domain::policy::{Allowed, Caller, OVERFLOW_ID, Operation, Policy, Request, Rule};
use crate::domain::user::UserId;

use super::{CommandError, Environment, Exit, user_id};

mod call;

pub use self::call::CallArgument;

/// The text of `--help`.
pub const ABOUT: &str = "\
Say which rule of the configuration decides about a request, on each listener.

Options describe the request; nothing is sent to a daemon or to Auth0. An option that is left out stands for a request \
that does not state it: without --connection, one that selects no connection.

Exit code 0 if a listener permits the request, 5 if none does, 78 if the configuration is wrong, 75 if all that is wrong \
with it are users or groups that this machine does not know yet.

Examples:
  cloakroom explain --uid web --operation token
  cloakroom explain --uid web --operation token --connection google-oauth2 --user 'google-oauth2|1'
  cloakroom explain --uid 998 --gid 998 --operation status --listener /run/cloakroom/cloakroom.sock
  cloakroom explain --uid web --operation proxy --call 'GET gmail/gmail/v1/users/me/messages/1' --user 'google-oauth2|1'
  cloakroom explain --uid admin --operation management_api --call 'GET /users/auth0|1'";

/// The arguments of `explain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The client's user, by name or by number
    #[arg(long, value_name = "USER", value_parser = config::uid)]
    pub uid: u32,
    /// The client's group, by name or by number [default: the primary group of --uid]
    #[arg(long, value_name = "GROUP", value_parser = config::gid)]
    pub gid: Option<u32>,
    /// What the client wants to do
    #[arg(long, value_name = "OPERATION", value_parser = operation())]
    pub operation: Operation,
    /// The user whom the request is about, such as 'google-oauth2|103547991597142817347'
    #[arg(long, value_name = "USER_ID", value_parser = user_id)]
    pub user: Option<UserId>,
    /// The connection that the request selects
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub connection: Option<String>,
    /// The call that the request makes, for proxy, me_proxy and management_api: the method and, behind the name of the API
    /// or by itself, path and query
    #[arg(long, value_name = "METHOD PATH", value_parser = call::parse)]
    pub call: Option<CallArgument>,
    /// The socket that the client connects to [default: every listener]
    #[arg(long, value_name = "PATH")]
    pub listener: Option<PathBuf>,
    /// The configuration file [default: /etc/cloakroom/cloakroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Parses an operation by its name.
fn operation() -> impl TypedValueParser<Value = Operation> {
    PossibleValuesParser::new(Operation::ALL.map(Operation::as_str))
        .try_map(|name| Operation::parse(&name).ok_or("no such operation"))
}

/// Prints for each listener whether it would permit the request, and why.
pub fn run(args: &Args, environment: Environment, out: &mut impl io::Write) -> Result<(), CommandError> {
    let Loaded { config, warnings, .. } = super::configuration(args.config.as_deref(), environment)?;
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let primary = || User::from_uid(Uid::from_raw(args.uid)).ok().flatten().map(|user| user.gid.as_raw());
    let caller = Caller { uid: args.uid, gid: args.gid.or_else(primary).unwrap_or(OVERFLOW_ID) };
    let call = call::stated(args.operation, args.call.as_ref())?;
    let target = call.map(CallArgument::judge).transpose()?;
    let api = call.and_then(|call| call.api(args.connection.as_deref(), &config));
    let connection = args.connection.as_deref().or(api.map(|api| &*api.connection));
    let request = Request {
        operation: args.operation,
        user: args.user.as_ref(),
        connection,
        call: call.zip(target.as_ref()).map(|(call, target)| call.to(target)),
    };
    let own_uid = nix::unistd::geteuid().as_raw();
    let is_asked = |path: &PathBuf| args.listener.as_ref().is_none_or(|listener| listener == path);
    let (mut is_any, mut is_permitted) = (false, false);
    for listener in config.listeners.iter().filter(|listener| is_asked(&listener.path)) {
        is_any = true;
        let path = listener.path.display();
        let policy = Policy::new(own_uid, listener.allow.as_slice());
        match policy.rights(caller).decide(request) {
            Ok(_) if call.is_some_and(|call| call.name.is_some()) && api.is_none() => {
                writeln!(out, "{path}: refused: the connection has no [[proxy]] of that name")?;
            }
            Ok(allowed) => {
                is_permitted = true;
                writeln!(out, "{path}: allowed {}", reason(&allowed, policy.rules()))?;
            }
            Err(denied) => writeln!(out, "{path}: refused: {denied}")?,
        }
    }
    match (is_any, is_permitted) {
        (false, _) => {
            Err(CommandError::new(Exit::Usage, "--listener: the configuration has no listener of that path"))
        }
        (true, false) => Err(CommandError::new(Exit::Forbidden, "no listener allows this")),
        (true, true) => Ok(()),
    }
}

/// Why a request is allowed, and what restricts its answer.
fn reason(allowed: &Allowed, rules: &[Rule]) -> String {
    let Some((place, rule)) = allowed.rule.and_then(|place| Some((place, rules.get(place)?))) else {
        return "without a rule: the client is root or the uid that the daemon runs as".into();
    };
    let mut text = format!("by rule {place}");
    if let Some(origin) = &rule.origin {
        text.push_str(&format!(" ({origin})"));
    }
    if let Some(pattern) = &allowed.call {
        return format!("{text}, by the pattern {pattern}{}", rate(allowed));
    }
    if let Some(connections) = &allowed.connections {
        text.push_str(&format!(", and shows only the connections {}", connections.join(", ")));
    }
    format!("{text}{}", rate(allowed))
}

/// What limits how often the request is allowed.
fn rate(allowed: &Allowed) -> String {
    let least = allowed.rates.iter().map(|(_, rate)| *rate).reduce(f64::min);
    least.map(|rate| format!(", {rate} times a second at most")).unwrap_or_default()
}
