//! JSON bodies, read strictly: bounded in depth, and no member twice.
//!
//! RFC 8259, section 4 leaves open what a repeated member means. Here it is an error: where the gateway read the last
//! one and the upstream the first, a caller could show each of them another body.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may stand in one another. Checking needs a little of the stack for each level, and no
/// honest body comes near.
pub const DEEPEST_BODY: usize = 64;

/// How much of a member's name an error repeats, in characters.
const SHOWN: usize = 64;

/// Parses a whole body.
///
/// # Errors
/// What is wrong and where, in a sentence.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: DEEPEST_BODY }.deserialize(&mut deserializer).map_err(sentence)?;
    deserializer.end().map_err(sentence)?;
    Ok(value)
}

/// A name as far as it is shown.
pub(crate) fn shown(name: &str) -> &str {
    name.char_indices().nth(SHOWN).map_or(name, |(end, _)| &name[..end])
}

fn sentence(error: serde_json::Error) -> String {
    let whole = error.to_string();
    let what = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(what, _)| what);
    format!("line {}, column {}: {what}", error.line(), error.column())
}

/// Reads a value that may have `depth` more levels.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom(format_args!("more than {DEEPEST_BODY} levels deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member `{}` is given twice", shown(&name))));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Whether a text is one number of JSON and nothing else.
pub(crate) fn number(text: &str) -> Option<Number> {
    let bare =
        text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    if bare { serde_json::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_keeps_its_members_in_order_and_its_numbers_whole() {
        let value = parse(br#" {"b": 18446744073709551615, "a": [-1, 1.5, true, null, "x"]} "#).unwrap();
        assert_eq!(value.to_string(), r#"{"b":18446744073709551615,"a":[-1,1.5,true,null,"x"]}"#);
    }

    #[test]
    fn a_member_given_twice_is_refused() {
        assert_eq!(
            parse(br#"{"id": 1, "x": {"id": 2, "id": 3}}"#).unwrap_err(),
            "line 1, column 29: the member `id` is given twice"
        );
        assert_eq!(parse(br#"[{"id": 1}, {"id": 2}]"#).unwrap(), json!([{ "id": 1 }, { "id": 2 }]));
    }

    #[test]
    fn a_body_that_is_too_deep_is_refused_and_one_as_deep_as_allowed_is_read() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(parse(nested(DEEPEST_BODY).as_bytes()).is_ok());
        assert_eq!(
            parse(nested(DEEPEST_BODY + 1).as_bytes()).unwrap_err(),
            "line 1, column 66: more than 64 levels deep"
        );
        assert!(parse(nested(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        assert_eq!(parse(b"{\n  \"a\": }").unwrap_err(), "line 2, column 8: expected value");
        assert_eq!(parse(b"{} x").unwrap_err(), "line 1, column 4: trailing characters");
        assert_eq!(parse(b"").unwrap_err(), "line 1, column 0: EOF while parsing a value");
        assert_eq!(parse(b"1e999").unwrap_err(), "line 1, column 5: number out of range");
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_number_is_one_of_json_and_nothing_else() {
        for text in ["0", "-1", "1.5", "1e3", "18446744073709551615"] {
            assert!(number(text).is_some(), "{text}");
        }
        for text in ["", "+1", "01", " 1", "1 ", "0x1", "1.", ".5", "NaN", "1e999", "--1", "1_000"] {
            assert!(number(text).is_none(), "{text}");
        }
    }
}
