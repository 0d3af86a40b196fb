//! Reads JSON from outside into structs, and rejects an array where an object belongs.
//!
//! serde's derived structs are also read from an array, with its elements in the order of the fields: `["t", 60]` would
//! be a grant. All JSON from outside is read through this module.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

pub mod lenient;
pub mod unreadable;

/// A `T` that is read from an object only.
#[derive(Debug)]
pub struct Object<T>(pub T);

/// Parses a text that is one object.
pub fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text).map(|Object(object)| object)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Pair {
        one: Option<u8>,
        more: Vec<u8>,
    }

    #[test]
    fn an_object_is_read_and_an_array_is_not() {
        let read = |text: &str| object::<Pair>(text.as_bytes()).ok();
        assert_eq!(read(r#" {"more":[2],"one":1,"x":{}} "#), Some(Pair { one: Some(1), more: vec![2] }));
        assert_eq!(read("{}"), Some(Pair::default()));
        for text in ["[1,[2]]", "[]", "null", "1", "\"{}\"", "", "{", "{}x", r#"{"one":1,"one":1}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
