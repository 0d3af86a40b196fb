//! Users and groups, by name or by number.

use super::layer::Value;
use nix::unistd::{Group, User};

use super::problem::Wrong;
use super::schema::Kind;
use super::values::{Parsed, line, wrong_type};

/// A user's number, or the number that goes with its name.
pub(super) fn uid(value: &Value) -> Result<u32, Wrong> {
    account(value, "user", user)
}

/// A group's number, or the number that goes with its name.
pub(super) fn gid(value: &Value) -> Result<u32, Wrong> {
    account(value, "group", group)
}

/// A name that is not known may be known later: directories such as LDAP, and `DynamicUser=` of another unit, bring
/// users after the start.
fn account(value: &Value, what: &str, find: impl Fn(&str) -> nix::Result<Option<u32>>) -> Result<u32, Wrong> {
    if let Value::Integer(number) = value {
        return Ok(id(*number)?);
    }
    if !matches!(value, Value::Text(_)) {
        return Ok(wrong_type(Kind::Account, value)?);
    }
    let name = line(value)?;
    if let Ok(number) = name.parse() {
        return Ok(id(number)?);
    }
    let text = match find(name) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => format!("there is no {what} of that name on this machine"),
        Err(error) => format!("the {what} cannot be looked up: {}", error.desc()),
    };
    Err(Wrong { text, may_pass: true })
}

fn id(number: i64) -> Parsed<u32> {
    // The largest one is -1 to chown(2), which leaves the owner as it is.
    u32::try_from(number)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| "is no user or group number".to_owned())
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
        let read = |value: Value| account(&value, "user", user);
        assert_eq!([read("root".into()), read("0".into()), read(Value::Integer(7))], [Ok(0), Ok(0), Ok(7)]);
        assert_eq!(
            read("nosuchuser".into()),
            Err(Wrong { text: "there is no user of that name on this machine".to_owned(), may_pass: true })
        );
        assert!(read("".into()).is_err() && read("ro\0ot".into()).is_err());
        assert!(read(Value::Integer(-1)).is_err() && read(Value::Integer(u32::MAX.into())).is_err());
        assert!(!read("".into()).unwrap_err().may_pass);
        assert!(read(Value::Boolean(true)).unwrap_err().text.contains("a name in quotes or a number"));
    }
}
