//! Values that Auth0 sends now as one type, now as another, or not at all.

use std::fmt;
use std::marker::PhantomData;
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

/// What a provider's `expires_in` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// A span from the login on: what it is meant to be.
    Span(Duration),
    /// The date itself, as some providers send it.
    Date(Timestamp),
}

/// As seconds since the UNIX epoch this is in September 2001, before the first token that is asked for here; as a span it
/// is nearly 32 years, longer than any token is valid. So what is less is a span, and what is not is a date.
const EARLIEST_DATE: f64 = 1e9;

/// In the year 2286. A number beyond is no date in seconds, and below a thousand times the earliest none in milliseconds.
const AFTER_ANY_DATE: f64 = 1e10;

impl Number {
    /// A span in seconds, as a Management token's is meant; a negative one is over before it began.
    pub fn seconds(&self) -> Option<Duration> {
        // Beyond what a Duration holds, the longest there is.
        self.0.map(|secs| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// A date in seconds since the UNIX epoch, as JWTs have it, or in milliseconds, as some have it by mistake; `None`
    /// for a number that is neither.
    pub fn date(&self) -> Option<Timestamp> {
        let millis = EARLIEST_DATE * 1e3..AFTER_ANY_DATE * 1e3;
        let secs = match self.0? {
            secs if secs < AFTER_ANY_DATE => secs.max(0.0),
            number if millis.contains(&number) => number / 1e3,
            _ => return None,
        };
        Some(Timestamp::from_secs(0).after(Duration::try_from_secs_f64(secs).ok()?))
    }

    /// What an identity provider's `expires_in` says. `None` also for less than a second: providers whose tokens do not
    /// expire send 0, or -1, and no provider issues a token that is over already.
    pub fn lifetime(&self) -> Option<Lifetime> {
        match self.0? {
            secs if secs < 1.0 => None,
            secs if secs < EARLIEST_DATE => Duration::try_from_secs_f64(secs).ok().map(Lifetime::Span),
            _ => self.date().map(Lifetime::Date),
        }
    }
}

/// A truth value, also where it is spelled as text; anything else is no.
#[derive(Debug, Default)]
pub struct Flag(pub bool);

/// A truth value that takes something away: anything but a plain no, or nothing at all, is yes.
#[derive(Debug, Default)]
pub struct Bar(pub bool);

/// The first `MOST` elements of a list, and whether there are more: those are passed over, not held. None where null
/// stands in the list's place.
#[derive(Debug)]
pub struct Few<T, const MOST: usize> {
    /// At most `MOST`.
    pub first: Vec<T>,
    /// Whether there are more.
    pub has_more: bool,
}

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self { first: Vec::new(), has_more: false }
    }
}

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

struct FewVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FewVisitor<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < MOST {
            match elements.next_element()? {
                Some(element) => first.push(element),
                None => return Ok(Few { first, has_more: false }),
            }
        }
        let mut has_more = false;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            has_more = true;
        }
        Ok(Few { first, has_more })
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}
