//! Users and groups, by name or by number.

use nix::unistd::{Group, User};

use super::problem::{Cause, Wrong};
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, Typed, line, wrong_type};

/// A user's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uid(pub(super) u32);

/// A group's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gid(pub(super) u32);

impl Typed for Uid {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        account(takes, value, "user", user).map(Self)
    }

    fn shown(&self) -> String {
        self.0.to_string()
    }
}

impl Typed for Gid {
    fn parse(takes: Type, value: &Value) -> Result<Self, Wrong> {
        account(takes, value, "group", group).map(Self)
    }

    fn shown(&self) -> String {
        self.0.to_string()
    }
}

/// A name that is not known may be known later: directories such as LDAP, and `DynamicUser=` of another unit, bring
/// users after the start.
fn account(
    takes: Type,
    value: &Value,
    what: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Wrong> {
    if let Value::Integer(number) = value {
        return Ok(id(*number)?);
    }
    if !matches!(value, Value::Text(_)) {
        return Ok(wrong_type(takes, value)?);
    }
    let name = line(takes, value)?;
    if let Ok(number) = name.parse() {
        return Ok(id(number)?);
    }
    let text = match find(name) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => format!("there is no {what} of that name on this machine"),
        Err(error) => format!("the {what} cannot be looked up: {}", error.desc()),
    };
    Err(Wrong { text, cause: Cause::UnknownAccount })
}

fn id(number: i64) -> Parsed<u32> {
    // The largest one is -1 to chown(2), which leaves the owner as it is.
    u32::try_from(number)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| "invalid user or group number".to_owned())
}

fn user(name: &str) -> nix::Result<Option<u32>> {
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

fn group(name: &str) -> nix::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_go_by_name_or_number() {
        let read = |value: Value| Uid::parse(Type::User, &value).map(|Uid(uid)| uid);
        assert_eq!([read("root".into()), read("0".into()), read(Value::Integer(7))], [Ok(0), Ok(0), Ok(7)]);
        assert_eq!(
            read("nosuchuser".into()),
            Err(Wrong {
                text: "there is no user of that name on this machine".to_owned(),
                cause: Cause::UnknownAccount
            })
        );
        assert!(read("".into()).is_err() && read("ro\0ot".into()).is_err());
        assert!(read(Value::Integer(-1)).is_err() && read(Value::Integer(u32::MAX.into())).is_err());
        assert_eq!(read("".into()).unwrap_err().cause, Cause::Configuration);
        assert!(read(Value::Boolean(true)).unwrap_err().text.contains("a name in quotes or a number"));
    }
}
