//! What a payload means, whatever wire it came by: values that keep what JSON alone would lose, and the types that say
//! which values an operation takes and gives.
//!
//! Read in this order: [`Value`], [`Type`], [`json`] (the one form of a value in JSON), [`Payload`] (bytes that are
//! parsed when somebody asks), [`schema`] (the types that a contract's schemas say).
//!
//! **Absent is not a value.** A member that is absent is not in its [`Map`]: `map.get(name)` is `None` for what is
//! absent and `Some(Value::Null)` for what was sent as null. A [`Type`] says both apart, too: whether a member may be
//! absent is its [`Presence`], whether it may be null is [`Type::Nullable`].

mod convert;
mod decimal;
pub mod json;
mod map;
mod payload;
#[cfg(test)]
mod properties;
pub mod schema;
#[cfg(any(test, feature = "strategy"))]
pub mod strategy;
mod timestamp;
mod types;

use std::borrow::Cow;

use bytes::Bytes;

pub use convert::Inexact;
pub use decimal::{Decimal, InvalidDecimal};
pub use json::{DecodeError, DecodeErrorKind, DecodeLimits};
pub use map::Map;
pub use payload::Payload;
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use types::{Field, MapType, Others, Presence, Type};

/// A value, exact on every wire that can say it.
///
/// Equality is that of the variant and what it holds: `I64(1)` is not `U64(1)`, which is not `F64(1.0)`. A decimal
/// equals by value (`1.50` is `1.5`), a map without regard to the order of its members. Floats equal so that what was
/// sent can be compared with what came back: `NaN` equals `NaN`, and `-0.0` is not `0.0`.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Sent, and null. What was not sent is not in the map at all.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number from -2⁶³ to 2⁶³ - 1.
    I64(i64),
    /// A whole number from 0 to 2⁶⁴ - 1.
    U64(u64),
    /// A binary float, `NaN` and the infinities among them (the bits of a `NaN` are not kept).
    F64(f64),
    /// A number that came without a type and that none of `I64`, `U64` and `F64` holds exactly, such as `1e400` or a
    /// whole number of twenty-five digits. JSON writes it as a number, where it writes a decimal as a string.
    Number(Decimal),
    /// A decimal number, for money and measures.
    Decimal(Decimal),
    /// Text in Unicode.
    Text(String),
    /// Bytes, shared and not copied.
    Bytes(Bytes),
    /// A point in time.
    Timestamp(Timestamp),
    /// Values in order.
    List(Vec<Value>),
    /// Named values in the order they came.
    Map(Map),
}

impl Value {
    /// The narrowest home of a number that comes without a type: `I64`, else `U64`, else `F64` where its shortest text
    /// means exactly this number, else [`Value::Number`]. Whole numbers without an exponent never become floats.
    pub fn number(decimal: Decimal) -> Self {
        if decimal.scale() == 0 {
            return match (decimal.to_i64(), decimal.to_u64()) {
                (Some(number), _) => Self::I64(number),
                (None, Some(number)) => Self::U64(number),
                (None, None) => Self::Number(decimal),
            };
        }
        match decimal.to_exact_f64() {
            Some(number) => Self::F64(number),
            None => Self::Number(decimal),
        }
    }

    /// Whether this is null. What is absent has no value to ask.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The truth, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The whole number, if this is an `I64`, or a `U64` below 2⁶³.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I64(number) => Some(*number),
            Self::U64(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The whole number, if this is a `U64`, or an `I64` that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U64(number) => Some(*number),
            Self::I64(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The float, if this is an `F64`. No other number is rounded into one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F64(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if these are bytes. Text is not.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members, if this is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The members to change, if this is a map.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The member of this name: `None` if it is absent or this is no map, `Some(Value::Null)` if it was sent as null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_map()?.get(name)
    }

    /// The value at a JSON pointer (RFC 6901): `""` is this value, `"/items/0/id"` leads into it. `None` if nothing
    /// is there or the pointer is none.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut here = self;
        for token in pointer.strip_prefix('/')?.split('/') {
            let token = unescaped(token)?;
            here = match here {
                Self::Map(map) => map.get(&token)?,
                Self::List(elements) => elements.get(index(&token)?)?,
                _ => return None,
            };
        }
        Some(here)
    }

    /// What this is, as a fault names it: `a list`.
    pub fn described(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::I64(_) | Self::U64(_) | Self::F64(_) | Self::Number(_) => "a number",
            Self::Decimal(_) => "a decimal",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "a timestamp",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::I64(left), Self::I64(right)) => left == right,
            (Self::U64(left), Self::U64(right)) => left == right,
            (Self::F64(left), Self::F64(right)) => left.to_bits() == right.to_bits() || left.is_nan() && right.is_nan(),
            (Self::Number(left), Self::Number(right)) | (Self::Decimal(left), Self::Decimal(right)) => left == right,
            (Self::Text(left), Self::Text(right)) => left == right,
            (Self::Bytes(left), Self::Bytes(right)) => left == right,
            (Self::Timestamp(left), Self::Timestamp(right)) => left == right,
            (Self::List(left), Self::List(right)) => left == right,
            (Self::Map(left), Self::Map(right)) => left == right,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// A token of a JSON pointer without its escapes (RFC 6901, section 4); `None` if an escape is unknown.
fn unescaped(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
    let mut pieces = token.split('~');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', &piece[1..]),
            b'1' => ('/', &piece[1..]),
            _ => return None,
        };
        name.push(escaped);
        name.push_str(rest);
    }
    Some(Cow::Owned(name))
}

/// The index a token names: digits without a leading zero (RFC 6901, section 4).
fn index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = token.len() > 1 && token.starts_with('0');
    if digits && !leading_zero { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Value {
        Value::from(Map::from([
            ("id", Value::from("o-1")),
            ("note", Value::Null),
            ("lines", Value::from(vec![Value::from(Map::from([("a/b~c", 7_i64)]))])),
        ]))
    }

    #[test]
    fn an_absent_member_is_told_from_a_null_one() {
        assert_eq!(order().get("note"), Some(&Value::Null));
        assert_eq!(order().get("comment"), None);
    }

    #[test]
    fn a_pointer_leads_through_maps_lists_and_escaped_names() {
        let order = order();
        assert_eq!(order.at(""), Some(&order));
        assert_eq!(order.at("/id"), Some(&Value::from("o-1")));
        assert_eq!(order.at("/lines/0/a~1b~0c"), Some(&Value::I64(7)));
    }

    #[test]
    fn a_pointer_that_leads_nowhere_finds_nothing() {
        for pointer in
            ["id", "/", "/id/x", "/lines/1", "/lines/00", "/lines/-", "/lines/+0", "/lines/0/a~2", "/lines/0/a~"]
        {
            assert_eq!(order().at(pointer), None, "{pointer}");
        }
    }

    #[test]
    fn floats_equal_as_they_were_sent() {
        assert_eq!(Value::F64(f64::NAN), Value::F64(-f64::NAN));
        assert_ne!(Value::F64(0.0), Value::F64(-0.0));
        assert_ne!(Value::F64(1.0), Value::I64(1));
        assert_ne!(Value::U64(1), Value::I64(1));
    }

    #[test]
    fn a_whole_number_is_read_as_either_integer_that_holds_it() {
        assert_eq!((Value::U64(5).as_i64(), Value::I64(5).as_u64()), (Some(5), Some(5)));
        assert_eq!((Value::U64(u64::MAX).as_i64(), Value::I64(-1).as_u64()), (None, None));
    }

    #[test]
    fn a_number_without_a_type_takes_the_narrowest_home_that_holds_it() {
        let home = |text: &str| Value::number(text.parse().unwrap());
        assert_eq!(home("-7"), Value::I64(-7));
        assert_eq!(home("18446744073709551615"), Value::U64(u64::MAX));
        assert_eq!(home("18446744073709551616"), Value::Number("18446744073709551616".parse().unwrap()));
        assert_eq!(home("0.1"), Value::F64(0.1));
        assert_eq!(home("0.10000000000000001"), Value::Number("0.10000000000000001".parse().unwrap()));
        assert_eq!(home("1e400"), Value::Number("1e400".parse().unwrap()));
    }
}
