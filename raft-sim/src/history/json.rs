//! One line of a history as JSON: whatever is in it, no deeper than it has to be looked at.
//!
//! Always holds: parsing takes no memory for what is skipped, and does not recurse.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::explain::brief;
use super::operation::Value;

/// A field of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Json {
    /// The line does not have it.
    #[default]
    Missing,
    Scalar(Value),
    /// An array of two scalars.
    Pair(Value, Value),
    /// What no field can be, by name.
    Other(&'static str),
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("none"),
            Self::Scalar(value) => f.write_str(&brief(value)),
            Self::Pair(first, second) => write!(f, "[{},{}]", brief(first), brief(second)),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// The fields that matter.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    pub(super) time: Json,
    #[serde(default)]
    pub(super) process: Json,
    #[serde(default, rename = "type")]
    pub(super) kind: Json,
    #[serde(default)]
    pub(super) f: Json,
    #[serde(default)]
    pub(super) key: Json,
    #[serde(default)]
    pub(super) value: Json,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Depth::Field.deserialize(deserializer)
    }
}

/// Where a value is: arrays in arrays are skipped, which ends the recursion.
#[derive(Clone, Copy)]
enum Depth {
    Field,
    Element,
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Whole numbers from here on look alike as floating point.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

impl<'de> Visitor<'de> for Depth {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        if value.abs() >= EXACT_BELOW {
            return Ok(Json::Other("a number too large to compare exactly"));
        }
        // `1.0` is printed as `1`, and the sign of zero does not matter.
        let whole = value.to_string().parse().map(Value::Integer);
        Ok(Json::Scalar(
            whole.unwrap_or_else(|_| Value::Fraction(format!("{value:?}"))),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Json, A::Error> {
        let (mut first, mut second) = (None, None);
        if let Self::Field = self {
            first = array.next_element_seed(Self::Element)?;
            second = array.next_element_seed(Self::Element)?;
        }
        let mut more = false;
        while array.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(match (first, second) {
            (Some(Json::Scalar(first)), Some(Json::Scalar(second))) if !more => {
                Json::Pair(first, second)
            }
            (Some(_) | None, Some(_) | None) => Json::Other("an array"),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Json::Other("an object"))
    }
}
