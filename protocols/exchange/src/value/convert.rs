//! Values out of Rust's own, and to and from those of `serde_json`.

use std::fmt;

use bytes::Bytes;

use super::{Decimal, Map, Timestamp, Value};

/// Values that become their variant as they are.
macro_rules! values_from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

values_from! {
    bool => Bool,
    i32 => I64,
    i64 => I64,
    u32 => U64,
    u64 => U64,
    f64 => F64,
    Decimal => Decimal,
    &str => Text,
    String => Text,
    Bytes => Bytes,
    Timestamp => Timestamp,
    Vec<Value> => List,
    Map => Map,
}

impl<T: Into<Value>> From<Option<T>> for Value {
    /// `None` is null. A member that is to be absent is not put into its map.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self::List(elements.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value {
    /// Nothing is lost that is still there: when `serde_json` read a number with a fraction or an exponent it made a
    /// double of it, and not always the nearest. Where that matters, read the text with [`super::json::decode`].
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(truth),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::I64(number),
                (None, Some(number)) => Self::U64(number),
                (None, None) => Self::F64(number.as_f64().expect("a number is i64, u64 or f64")),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(elements) => Self::List(elements.into_iter().map(Self::from).collect()),
            Json::Object(members) => Self::Map(members.into_iter().collect()),
        }
    }
}

impl TryFrom<&Value> for serde_json::Value {
    type Error = Inexact;

    /// The value in its one form of JSON (decimals, bytes and timestamps as strings), or the first [`Value::Number`]
    /// that `serde_json` would have to round.
    fn try_from(value: &Value) -> Result<Self, Inexact> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::I64(number) => Self::from(*number),
            Value::U64(number) => Self::from(*number),
            Value::F64(number) if number.is_finite() => Self::from(*number),
            Value::F64(f64::INFINITY) => Self::from("Infinity"),
            Value::F64(f64::NEG_INFINITY) => Self::from("-Infinity"),
            Value::F64(_) => Self::from("NaN"),
            Value::Number(number) => match Value::number(number.clone()) {
                Value::Number(number) => return Err(Inexact(number)),
                narrower => Self::try_from(&narrower)?,
            },
            Value::Decimal(decimal) => Self::from(decimal.to_string()),
            Value::Text(text) => Self::from(text.as_str()),
            Value::Bytes(bytes) => {
                use base64::Engine as _;
                Self::from(base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            Value::Timestamp(timestamp) => Self::from(timestamp.to_string()),
            Value::List(elements) => Self::Array(elements.iter().map(Self::try_from).collect::<Result<_, _>>()?),
            Value::Map(map) => {
                let members = map.iter().map(|(name, value)| Ok((name.to_owned(), Self::try_from(value)?)));
                Self::Object(members.collect::<Result<_, _>>()?)
            }
        })
    }
}

/// A number that `serde_json` would have to round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inexact(pub Decimal);

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the number {} is neither a 64-bit integer nor a double", self.0)
    }
}

impl std::error::Error for Inexact {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_serde_json_holds_comes_over_and_goes_back_the_same() {
        let json = json!({"a": [1, -1, u64::MAX, 0.1, -0.0, 1e300, null, true, "x"], "b": {"c": {}}});
        let value = Value::from(json.clone());
        assert_eq!(value.at("/a/2"), Some(&Value::U64(u64::MAX)));
        assert_eq!(value.at("/a/3"), Some(&Value::F64(0.1)));
        assert_eq!(serde_json::Value::try_from(&value), Ok(json));
    }

    #[test]
    fn what_serde_json_cannot_say_goes_over_in_its_one_form() {
        let value = Value::from(Map::from([
            ("price", Value::from("12.50".parse::<Decimal>().unwrap())),
            ("at", Value::from(Timestamp::EPOCH)),
            ("key", Value::from(Bytes::from_static(b"\x00\xff"))),
            ("share", Value::from(f64::NEG_INFINITY)),
        ]));
        let json = json!({"price": "12.50", "at": "1970-01-01T00:00:00Z", "key": "AP8=", "share": "-Infinity"});
        assert_eq!(serde_json::Value::try_from(&value), Ok(json));
    }

    #[test]
    fn a_number_that_serde_json_would_round_is_refused() {
        let number: Decimal = "0.10000000000000001".parse().unwrap();
        let value = Value::from(vec![Value::Number(number.clone())]);
        let refused = serde_json::Value::try_from(&value).unwrap_err();
        assert_eq!(refused.to_string(), "the number 0.10000000000000001 is neither a 64-bit integer nor a double");
        let narrow = Value::Number("2.50".parse().unwrap());
        assert_eq!(serde_json::Value::try_from(&narrow), Ok(json!(2.5)));
    }

    // With that feature on, `as_f64` would round in silence; some dependency could switch it on for all of us.
    #[test]
    fn no_dependency_switches_serde_json_to_arbitrary_precision() {
        let read: serde_json::Value = serde_json::from_str("0.10000000000000001").unwrap();
        assert_eq!(read.to_string(), "0.1");
    }

    #[test]
    fn none_is_null_and_a_list_is_collected() {
        assert_eq!(Value::from(None::<&str>), Value::Null);
        assert_eq!([1_i64, 2].into_iter().collect::<Value>(), Value::from(vec![Value::I64(1), Value::I64(2)]));
    }
}
