//! Values that Auth0 sends now as one type, now as another, or not at all.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use crate::domain::freshness::Timestamp;

/// Text, or a number that stands for text (GitHub's user ids); `None` for anything else.
#[derive(Debug, Default)]
pub struct Text(pub Option<String>);

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
        self.0.as_deref().unwrap_or_default()
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Any {
    Text(String),
    Flag(bool),
    Integer(i64),
    Large(u64),
    Float(f64),
    Other(IgnoredAny),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Text(text) => Some(text),
            Any::Integer(number) => Some(number.to_string()),
            Any::Large(number) => Some(number.to_string()),
            // Beyond 64 bits only an approximation is left, and an id that is nearly right is wrong.
            Any::Float(_) | Any::Flag(_) | Any::Other(_) => None,
        }))
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
        Ok(Self(match Option::<Any>::deserialize(deserializer)? {
            None | Some(Any::Flag(false)) => false,
            Some(Any::Text(text)) => text != "false",
            Some(_) => true,
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
            Any::Flag(_) | Any::Other(_) => None,
        };
        Ok(Self(number.filter(|number| !number.is_nan())))
    }
}
