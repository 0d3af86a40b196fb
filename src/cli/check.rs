//! `cloakroom check`: validates the configuration, and with `--online` tries it with Auth0.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::app::descriptor_limits::Descriptors;
use crate::app::transports::Transports;
use crate::clock::Clock;
use crate::config::{self, Client, Config, Loaded};
use crate::domain::error::Failure;
use crate::domain::freshness::Timestamp;
use crate::domain::priority::Priority;
use crate::domain::user::UserId;
use crate::management;
use crate::process::{limits, sandbox};
use crate::secret::TagKey;
use crate::state;
use crate::telemetry::BudgetStanding;
use crate::upstream::wire::UserAnswer;
use crate::upstream::{Auth0, Parts};

use super::text::visible;
use super::{CommandError, Environment};

mod calls;
mod client;
mod grants;
mod management_api;
mod rules;
mod sources;
mod systemd_unit;
mod vault;

use grants::{judge_next, refusal};

/// The text of `--help`.
pub const ABOUT: &str = "\
Read the configuration as `serve` would, and name everything wrong with it at once.

With --online also obtain a Management API token and judge it: scopes that are missing, scopes beyond what is \
needed, this machine's clock, whether users can be read, and whether [upstream] stays within the tenant's rate limit. \
Also ask the provider of each [[connection]] whether it accepts the connection's client, and Auth0 whether the \
application may use Token Vault for it; no user's token is redeemed or exchanged. Also obtain a token of \
[management_api], which must not have the scope read:user_idp_tokens.

The rules of each listener are printed as the daemon understands them; `cloakroom explain` says which of them decides \
about a request.

Exit code 0 if all is well, 78 if the configuration is wrong, 75 if all that is wrong with it are users or groups that \
this machine does not know yet, 1 if --online finds that not all of it works, 69 if Auth0 cannot be asked.

Examples:
  cloakroom check --config ./cloakroom.toml
  cloakroom check --online";

/// The arguments of `check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration file [default: /etc/cloakroom/cloakroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also ask Auth0
    #[arg(long)]
    pub online: bool,
}

/// The largest clock skew without a warning. A larger one makes valid tokens look expired, or expired ones valid.
const TOLERABLE_SKEW: Duration = Duration::from_secs(5);

/// An id that no user has. Asking Auth0 for it shows that users can be read, and reads no user's data.
const UNKNOWN_USER: &str = "auth0|cloakroom-check";

/// Validates the configuration, and prints warnings and the rules of each listener.
pub fn run(args: &Args, environment: Environment, out: &mut impl io::Write) -> Result<(), CommandError> {
    let Loaded { config, warnings, files } = super::configuration(args.config.as_deref(), environment)?;
    for warning in
        warnings.into_iter().chain(sandbox::lost(&files)).chain(systemd_unit::unreachable_name_server())
    {
        writeln!(out, "warning: {warning}")?;
    }
    let of_state = config.state.iter().flat_map(|state| warnings_of_state(&state.path));
    for warning in of_state.chain(vault::too_many(&config)).chain(calls::warnings(&config)) {
        writeln!(out, "warning: {warning}")?;
    }
    // The daemon's own limit may differ, but a limit that is too low for this process deserves a warning.
    let descriptors = limits::raise_descriptors().map(|limit| Descriptors::within(limit, &config));
    if let Some(warning) = descriptors.as_ref().and_then(Descriptors::warning) {
        writeln!(out, "warning: here, {warning}")?;
    }
    writeln!(out, "ok: the configuration is right (tenant {})", config.tenant.domain)?;
    client::print(&config.client, Clock::system().now().wall, out)?;
    if let Some(client) = &config.management_api {
        client::print(client, Clock::system().now().wall, out)?;
    }
    vault::print(&config, out)?;
    rules::print(&config, out)?;
    if args.online { super::block_on(1, online(&config, out)) } else { Ok(()) }
}

/// What would keep a daemon from writing its state file at `path`. Another user than this one may run the daemon.
fn warnings_of_state(path: &Path) -> impl Iterator<Item = String> {
    let here = state::check_directory(path).err().map(|cause| format!("here, {cause}"));
    here.into_iter().chain(systemd_unit::read_only_state(path))
}

/// Asks Auth0 twice: for a Management token, and with that for [`UNKNOWN_USER`]. If there is a next key, asks once more
/// for a token, with that key. Then judges the sources of connections, and the application of `[management_api]`.
async fn online(config: &Config, out: &mut impl io::Write) -> Result<(), CommandError> {
    let clock = Clock::system();
    let transports = Transports::build(config).map_err(|cause| CommandError::failed(cause.to_string()))?;
    let tags = TagKey::random().map_err(|cause| CommandError::failed(cause.to_string()))?;
    let auth0 = |client: &Arc<Client>| {
        let parts = Parts {
            transport: Arc::clone(&transports.auth0),
            clock: clock.clone(),
            tags: tags.clone(),
            counters: Arc::default(),
            orders: config.source_orders(),
            seed: fastrand::u64(..),
        };
        Auth0::new(&config.tenant, client, config.upstream, parts)
    };
    let (present, next) = client::apart(&config.client);
    let next = next.map(|next| auth0(&next));
    let next_accepted = match &next {
        Some(next) => judge_next(next.grant().await, out)?,
        None => true,
    };
    let auth0 = auth0(&present);

    let (grant, date) = auth0.grant().await.map_err(refusal)?;
    let lifetime = grant.expires.remaining(grant.sent).as_secs();
    writeln!(out, "ok: a Management token was obtained; it expires in {lifetime} s")?;
    let skew_tolerable = judge_skew(date, clock.now().wall, out)?;
    let scopes_suffice = judge_scopes(grant.scopes.as_deref(), out)?;

    let unknown_user =
        UserId::parse(UNKNOWN_USER).map_err(|cause| CommandError::failed(cause.to_string()))?;
    let budget = auth0.budget();
    let permit = budget.acquire_for_itself(Priority::Caller, config.tenant.request_timeout).await;
    let permit = permit.map_err(|_| {
        CommandError::failed("[upstream] permits no second request within tenant.request_timeout")
    })?;
    match auth0.user(&unknown_user, &grant.token, permit, Priority::Caller).await.map_err(refusal)? {
        (UserAnswer::User(..), _) => writeln!(out, "ok: users can be read")?,
        (UserAnswer::BearerRefused(why), _) => return Err(refusal(Failure::Denied(why))),
    }
    judge_budget(config, budget.standing(clock.now()), out)?;
    let sources_accept = sources::judge(config, transports, out).await?;
    // A key that Auth0 refuses for grants is not tried a second time.
    let next = next.as_ref().filter(|_| next_accepted);
    let vault_accepts = vault::judge(config, &auth0, next, &unknown_user, out).await?;
    let calls_work = management_api::judge(config, &auth0, out).await?;
    let is_well =
        skew_tolerable && scopes_suffice && next_accepted && sources_accept && vault_accepts && calls_work;
    match is_well {
        true => Ok(()),
        false => Err(CommandError::failed("the configuration works only in part: see the warnings above")),
    }
}

/// Whether this machine's clock is within [`TOLERABLE_SKEW`] of Auth0's `Date`. That has whole seconds and was written
/// at some moment of the exchange, so a skew of a second is none.
fn judge_skew(date: Option<Timestamp>, now: Timestamp, out: &mut impl io::Write) -> io::Result<bool> {
    let Some(date) = date else {
        writeln!(
            out,
            "warning: Auth0 does not state its time, so this machine's clock could not be checked"
        )?;
        return Ok(true);
    };
    let (ahead, behind) = (now.since(date), date.since(now));
    let skew = ahead.max(behind);
    if skew <= TOLERABLE_SKEW {
        writeln!(out, "ok: this machine's clock agrees with Auth0's within {} s", TOLERABLE_SKEW.as_secs())?;
        return Ok(true);
    }
    let direction = if ahead > behind { "ahead of" } else { "behind" };
    let seconds = skew.as_secs();
    writeln!(out, "warning: this machine's clock is {seconds} s {direction} Auth0's; synchronise it (NTP)")?;
    Ok(false)
}

/// Whether all scopes that are needed were granted.
fn judge_scopes(granted: Option<&[String]>, out: &mut impl io::Write) -> io::Result<bool> {
    let Some(granted) = granted else {
        writeln!(out, "warning: Auth0 does not state which scopes it granted")?;
        return Ok(true);
    };
    let missing = management::missing(Some(granted));
    for scope in &missing {
        writeln!(
            out,
            "warning: the scope {scope} is missing; give the application that permission for the Management API{}",
            if *scope == "read:user_idp_tokens" {
                ": without it Auth0 silently leaves all tokens out"
            } else {
                ""
            }
        )?;
    }
    let beyond: Vec<_> =
        granted.iter().filter(|scope| !management::NEEDED_SCOPES.contains(&scope.as_str())).collect();
    if !beyond.is_empty() {
        let beyond = beyond.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        writeln!(
            out,
            "warning: the token has scopes beyond what is needed, which a thief would have too: {}",
            visible(&beyond)
        )?;
    }
    if missing.is_empty() {
        writeln!(out, "ok: the scopes suffice ({})", management::NEEDED_SCOPES.join(" "))?;
    }
    Ok(missing.is_empty())
}

/// Compares `[upstream]` with the rate limit that the tenant states. A bucket bounds what is sent, not what arrives:
/// requests that were delayed on the way arrive together with those sent after them, so both figures count.
fn judge_budget(config: &Config, standing: BudgetStanding, out: &mut impl io::Write) -> io::Result<()> {
    let config::Upstream { requests_per_second, burst, max_concurrency, .. } = config.upstream;
    let Some(limit) = standing.limit else {
        let what =
            "warning: Auth0 does not state the tenant's rate limit, so [upstream] could not be checked";
        return writeln!(out, "{what}");
    };
    let shared = "since the limit is shared with everything else that the tenant runs";
    let at_once = u64::from(burst).saturating_add(u64::from(max_concurrency));
    if requests_per_second > limit as f64 {
        writeln!(
            out,
            "warning: upstream.requests_per_second is {requests_per_second}, and the tenant's rate limit holds no more \
             than {limit}: set it lower, {shared}"
        )?;
    }
    match at_once > limit {
        true => writeln!(
            out,
            "warning: upstream.burst and upstream.max_concurrency are {at_once} together, which may arrive at once, and \
             the tenant's rate limit holds {limit}: set them lower, {shared}"
        ),
        false => writeln!(
            out,
            "ok: upstream.burst and upstream.max_concurrency are {at_once} together, within the tenant's rate limit of \
             {limit}"
        ),
    }
}
