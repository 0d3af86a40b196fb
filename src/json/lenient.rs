//! JSON values that Auth0 and identity providers send in more than one type, or leave out.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::domain::freshness::Timestamp;

use super::unreadable::BLANK;

/// Text, or a number that stands for text (GitHub's user ids).
#[derive(Debug, Default)]
pub enum Text {
    /// Absent, or null.
    #[default]
    Absent,
    /// The text.
    Given(String),
    /// A value of another type, or a text that cannot be read.
    Unreadable,
}

/// A number, or text that spells one (some providers' `expires_in`); `None` for anything else.
#[derive(Debug, Default)]
pub struct Number(Option<f64>);

/// The meaning of a provider's `expires_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// A span from the login on, as specified.
    Span(Duration),
    /// The date of the expiry, as some providers send it.
    Date(Timestamp),
}

/// Numbers from here on are dates, smaller ones are spans. As seconds since the UNIX epoch this is September 2001,
/// before any token that is read here. As a span it is nearly 32 years, longer than any token is valid.
const EARLIEST_DATE: f64 = 1e9;

/// The end of dates in seconds, in the year 2286. A larger number is a date in milliseconds if it is at least a
/// thousand times [`EARLIEST_DATE`].
const AFTER_ANY_DATE: f64 = 1e10;

impl Number {
    /// The number that `text` spells.
    pub fn of(text: &str) -> Self {
        Self(text.trim().parse().ok())
    }

    /// The whole number, if it is one that is not negative.
    pub fn whole(&self) -> Option<u64> {
        self.0
            .filter(|number| number.fract() == 0.0 && (0.0..=9e15).contains(number))
            .map(|number| number as u64)
    }

    /// A span in seconds, as in a Management token's `expires_in`. A negative one counts as zero.
    pub fn seconds(&self) -> Option<Duration> {
        // A span that a Duration cannot hold becomes the longest.
        self.0.map(|secs| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// A date in seconds since the UNIX epoch, as in JWTs, or in milliseconds, as some issuers write it by mistake;
    /// `None` for a number that is neither.
    pub fn date(&self) -> Option<Timestamp> {
        let millis = EARLIEST_DATE * 1e3..AFTER_ANY_DATE * 1e3;
        let secs = match self.0? {
            secs if secs < AFTER_ANY_DATE => secs.max(0.0),
            number if millis.contains(&number) => number / 1e3,
            _ => return None,
        };
        Some(Timestamp::from_secs(0).after(Duration::try_from_secs_f64(secs).ok()?))
    }

    /// An identity provider's `expires_in`. `None` also for less than a second: providers whose tokens do not expire
    /// send 0 or -1, and no provider issues a token that has expired.
    pub fn lifetime(&self) -> Option<Lifetime> {
        match self.0? {
            secs if secs < 1.0 => None,
            secs if secs < EARLIEST_DATE => Duration::try_from_secs_f64(secs).ok().map(Lifetime::Span),
            _ => self.date().map(Lifetime::Date),
        }
    }
}

/// A boolean, which may be spelled as text; any other value is `false`.
#[derive(Debug, Default)]
pub struct Flag(pub bool);

/// A boolean that restricts something: `false`, null and absence are `false`, any other value is `true`.
#[derive(Debug, Default)]
pub struct Bar(pub bool);

/// The first `MOST` elements of a list, and whether there are more, which are skipped. Null counts as an empty list.
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

    /// Whether there is a value that cannot be read.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable)
    }
}

/// A JSON value of any type. Contents of lists and objects are skipped, however large or deep.
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
            // A number beyond 64 bits is only approximate, and an approximate id is wrong.
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
