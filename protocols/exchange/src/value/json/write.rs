//! Writes a value in its one form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::super::{Map, Value};

pub(super) fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::I64(number) => plain(number, out),
        Value::U64(number) => plain(number, out),
        Value::F64(number) => double(*number, out),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Decimal(decimal) => quoted(&decimal.to_string(), out),
        Value::Text(text) => plain(text, out),
        Value::Bytes(bytes) => quoted(&STANDARD.encode(bytes), out),
        Value::Timestamp(timestamp) => quoted(&timestamp.to_string(), out),
        Value::List(elements) => list(elements, out),
        Value::Map(members) => map(members, out),
    }
}

fn list(elements: &[Value], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(element, out);
    }
    out.push(b']');
}

fn map(members: &Map, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, member)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        plain(name, out);
        out.push(b':');
        value(member, out);
    }
    out.push(b'}');
}

fn double(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        return plain(&number, out);
    }
    out.extend_from_slice(match number {
        f64::INFINITY => b"\"Infinity\"",
        f64::NEG_INFINITY => b"\"-Infinity\"",
        _ => b"\"NaN\"",
    });
}

// What JSON says by itself, in the words of `serde_json`: digits, the shortest form of a double, escaped text.
fn plain<T: Serialize + ?Sized>(item: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, item).expect("writing into memory does not fail");
}

// A text that needs no escapes.
fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeLimits, Type, decode, encode};

    /// What is read and written again, twice.
    fn through(text: &str) -> (String, String) {
        let once = encode(&decode(text.as_bytes(), &Type::Any, DecodeLimits::default()).unwrap());
        let twice = encode(&decode(&once, &Type::Any, DecodeLimits::default()).unwrap());
        (String::from_utf8(once.to_vec()).unwrap(), String::from_utf8(twice.to_vec()).unwrap())
    }

    #[test]
    fn a_double_with_two_shortest_texts_is_written_as_it_was_read() {
        // `…12.2` and `…12.3` are equally near to one double, and writers choose differently.
        for text in ["[590523456789012.3]", "[590523456789012.2]"] {
            assert_eq!(through(text), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn a_whole_number_beyond_the_digits_of_a_decimal_stays_what_it_is() {
        let long = format!("1{}", "0".repeat(100));
        let (once, twice) = through(&long);
        assert_eq!(once, twice);
        assert_eq!(once.parse::<f64>().unwrap(), 1e100);
    }
}
