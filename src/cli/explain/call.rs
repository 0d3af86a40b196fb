//! `--call` of `explain`: the call that a request makes.

use crate::cli::{CommandError, Exit};
use crate::config::{Config, ProxiedApi};
use crate::domain::policy::Operation;
use crate::domain::policy::call::Call;
use crate::domain::target::Target;

/// A method, perhaps the name of a `[[proxy]]`, and a target.
#[derive(Clone, Debug)]
pub struct CallArgument {
    method: String,
    /// The name of the `[[proxy]]`; `None` for the Management API.
    pub(super) name: Option<String>,
    target: String,
}

/// Parses `METHOD name/path` or `METHOD /path`.
///
/// # Errors
/// There is no method, or no path behind it.
pub(super) fn parse(text: &str) -> Result<CallArgument, String> {
    let form = "write a method, a space and a path, such as 'GET gmail/gmail/v1/users/me/messages/1' or 'GET /users/auth0|1'";
    let (method, place) = text.split_once(' ').ok_or(form)?;
    let (name, target) = place.split_at_checked(place.find('/').ok_or(form)?).ok_or(form)?;
    if method.is_empty() || method.contains('/') {
        return Err(form.to_owned());
    }
    let name = (!name.is_empty()).then(|| name.to_owned());
    Ok(CallArgument { method: method.to_owned(), name, target: target.to_owned() })
}

/// The call that a request with `operation` makes.
///
/// # Errors
/// The operation takes a call and there is none, or the other way round, or it takes another kind of call.
pub(super) fn stated(
    operation: Operation,
    call: Option<&CallArgument>,
) -> Result<Option<&CallArgument>, CommandError> {
    let usage = |text: &str| Err(CommandError::new(Exit::Usage, text));
    match call {
        None if operation.is_call() => usage("--call: required with proxy, me_proxy and management_api"),
        Some(_) if !operation.is_call() => {
            usage("--call: only proxy, me_proxy and management_api make calls")
        }
        Some(call) if call.name.is_none() != (operation == Operation::ManagementApi) => usage(
            "--call: a call of the Management API begins with /, and one of another API with the name of its [[proxy]]",
        ),
        call => Ok(call),
    }
}

impl CallArgument {
    /// Judges the target as the daemon does, before any rule.
    ///
    /// # Errors
    /// The daemon refuses every call to it.
    pub(super) fn judge(&self) -> Result<Target<'_>, CommandError> {
        if ["TRACE", "TRACK", "CONNECT"].contains(&&*self.method) {
            return Err(CommandError::new(
                Exit::Forbidden,
                "--call: TRACE, TRACK and CONNECT are never sent on",
            ));
        }
        Target::judge(&self.target).map_err(|fault| {
            CommandError::new(Exit::Forbidden, format!("--call: refused before any rule: {fault}"))
        })
    }

    /// The call, to this target of it.
    pub(super) fn to<'a>(&'a self, target: &'a Target<'a>) -> Call<'a> {
        Call { method: &self.method, name: self.name.as_deref(), target }
    }

    /// The API of `connection` that it is about; without a connection, the only one of its name.
    pub(super) fn api<'a>(&self, connection: Option<&str>, config: &'a Config) -> Option<&'a ProxiedApi> {
        let mut apis = config.proxied_apis.iter().filter(|api| {
            Some(&*api.name) == self.name.as_deref()
                && connection.is_none_or(|connection| *api.connection == *connection)
        });
        let first = apis.next()?;
        apis.next().is_none().then_some(first)
    }
}
