//! Values that Auth0 sends now as one type, now as another, or not at all.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::freshness::Timestamp;

use super::unreadable::BLANK;

/// Text, or a number that stands for text (GitHub's user ids).
#[derive(Debug, Default)]
pub enum Text {
    /// Not there, or null.
    #[default]
    Absent,
    /// The text.
    Given(String),
    /// Something is there that is no such text, or none that can be read.
    Unreadable,
}

/// A number, or text that spells one (some providers' `expires_in`); `None` for anything else.
#[derive(Debug, Default)]
pub struct Number(Option<f64>);

impl Number {
    /// As a span in seconds; a negative one is over before it began.
    pub fn seconds(&self) -> Option<Duration> {
        // Beyond what a Duration holds, the longest there is.
        self.0.map(|secs| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// As a date in seconds since the UNIX epoch, as JWTs have it.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.seconds().map(|since_epoch| Timestamp::from_secs(0).after(since_epoch))
    }
}

/// A truth value, also where it is spelled as text; anything else is no.
#[derive(Debug, Default)]
pub struct Flag(pub bool);

/// A truth value that takes something away: anything but a plain no, or nothing at all, is yes.
#[derive(Debug, Default)]
pub struct Bar(pub bool);

impl Text {
    /// The text; empty where there is none.
    pub fn as_str(&self) -> &str {
        self.given().unwrap_or_default()
    }

    /// The text, if there is one.
    pub fn given(&self) -> Option<&str> {
        match self {
            Self::Given(text) => Some(text),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// The text, if there is one.
    pub fn into_given(self) -> Option<String> {
        match self {
            Self::Given(text) => Some(text),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// Whether something is there that cannot be read.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable)
    }
}

/// What stands in one place, whatever that is. Nothing is held of lists and objects, however large or deep.
enum Any {
    Nothing,
    Flag(bool),
    Integer(i64),
    Large(u64),
    Float(f64),
    Text(String),
    /// A text that was blanked, a list, or an object.
    Other,
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Any, E> {
        Ok(Any::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Any, E> {
        Ok(Any::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Any, E> {
        Ok(Any::Large(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Any, E> {
        Ok(Any::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(if text.contains(BLANK) { Any::Other } else { Any::Text(text.to_owned()) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Any, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Any, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Any::deserialize(deserializer)? {
            Any::Nothing => Self::Absent,
            Any::Text(text) => Self::Given(text),
            Any::Integer(number) => Self::Given(number.to_string()),
            Any::Large(number) => Self::Given(number.to_string()),
            // Beyond 64 bits only an approximation is left, and an id that is nearly right is wrong.
            Any::Float(_) | Any::Flag(_) | Any::Other => Self::Unreadable,
        })
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Flag(flag) => flag,
            Any::Text(text) => text == "true",
            _ => false,
        }))
    }
}

impl<'de> Deserialize<'de> for Bar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Nothing | Any::Flag(false) => false,
            Any::Text(text) => text != "false",
            _ => true,
        }))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Any::deserialize(deserializer)? {
            Any::Text(text) => text.trim().parse().ok(),
            Any::Integer(number) => Some(number as f64),
            Any::Large(number) => Some(number as f64),
            Any::Float(number) => Some(number),
            Any::Nothing | Any::Flag(_) | Any::Other => None,
        };
        Ok(Self(number.filter(|number| !number.is_nan())))
    }
}
