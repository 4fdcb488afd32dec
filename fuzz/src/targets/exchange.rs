//! What all protocols share: header fields and targets, JSON, and the texts of decimals and timestamps.

use std::sync::OnceLock;

use portolan_exchange::value::json::{DecodeError, DecodeErrorKind, DecodeLimits, decode, encode};
use portolan_exchange::value::{Decimal, MapType, Others, Timestamp, Type, Value};
use portolan_exchange::{Fields, Target as RequestTarget, fields};
use serde::de::IgnoredAny;

use crate::signature::Signature;
use crate::target::{Memory, Target};

use super::{FREE, linear};

/// A value takes some 40 bytes, a list of lists more, and the checks write and read everything several times.
const JSON_MEMORY: Memory = Memory { total_per_byte: 2_000, peak_per_byte: 800, free: FREE };

/// Text as JSON of any kind, against `serde_json`'s reading of the same text.
pub(super) const JSON: Target = Target {
    name: "exchange-json",
    about: "the JSON reader without a type takes what serde_json takes, and what it read can be written and read again",
    run: json,
    words: &["true", "false", "null", "\\u00e9", "\\ud83d\\ude00", "1e400", "-0", "0.10000000000000001"],
    seeds: &[],
    longest: 64 * 1024,
    memory: JSON_MEMORY,
};

fn json(input: &[u8]) -> Signature {
    match decode(input, &Type::Any, DecodeLimits::default()) {
        Ok(value) => {
            assert!(std::str::from_utf8(input).is_ok(), "JSON is UTF-8 (RFC 8259, section 8.1)");
            // Without a value: serde_json takes neither every number nor every depth as one.
            let syntax = serde_json::from_slice::<IgnoredAny>(input);
            assert!(syntax.is_ok(), "serde_json does not take it: {syntax:?}");
            written_and_read(&value, &Type::Any);
            Signature::of("read").told(value.described()).size("bytes", input.len())
        }
        Err(error) => {
            let ours_alone = error.kind == DecodeErrorKind::Limit || error.message == "stands twice in the same map";
            let taken = || serde_json::from_slice::<serde_json::Value>(input).is_ok();
            assert!(ours_alone || !taken(), "serde_json takes what is refused: {error}");
            refused(&error)
        }
    }
}

fn written_and_read(value: &Value, expected: &Type) {
    let text = encode(value);
    let again = decode(&text, expected, DecodeLimits::default());
    assert_eq!(again.as_ref(), Ok(value), "what was read cannot be written and read again");
}

fn refused(error: &DecodeError) -> Signature {
    // At most 64 characters of a text are repeated, each of four bytes or with an escape of ten.
    assert!(error.message.len() <= 1_000, "a message of {} bytes", error.message.len());
    Signature::of("refused").told(&error.message).size("depth", error.pointer.matches('/').count())
}

/// Text as JSON of one type that has everything in it.
pub(super) const TYPED_JSON: Target = Target {
    name: "exchange-json-typed",
    about: "the JSON reader along a type gives values of that type, and never calls malformed what it reads without one",
    run: typed_json,
    words: &["NaN", "Infinity", "-Infinity", "12.50", "2026-01-31T12:00:00Z", "AP8=", "null", "1.0", "1e2"],
    seeds: &[],
    longest: 64 * 1024,
    memory: JSON_MEMORY,
};

fn everything() -> &'static Type {
    static TYPE: OnceLock<Type> = OnceLock::new();
    TYPE.get_or_init(|| {
        let line = MapType::new().required("sku", Type::Text).optional("price", Type::nullable(Type::Decimal));
        let members = MapType::new()
            .required("id", Type::I64)
            .optional("count", Type::U64)
            .optional("share", Type::F64)
            .optional("total", Type::Decimal)
            .optional("note", Type::nullable(Type::Text))
            .optional("blob", Type::Bytes)
            .optional("at", Type::Timestamp)
            .optional("open", Type::Bool)
            .optional("lines", Type::list(Type::map(line)))
            .optional("tags", Type::map_of(Type::list(Type::nullable(Type::I64))))
            .optional("any", Type::Any)
            .others(Others::Of(Type::Timestamp));
        Type::map(members)
    })
}

fn typed_json(input: &[u8]) -> Signature {
    let untyped = decode(input, &Type::Any, DecodeLimits::default());
    match decode(input, everything(), DecodeLimits::default()) {
        Ok(value) => {
            assert!(everything().holds(&value), "a value that is not of the type it was read along");
            let malformed = matches!(&untyped, Err(error) if error.kind != DecodeErrorKind::Limit);
            assert!(!malformed, "only with a type it is JSON: {untyped:?}");
            written_and_read(&value, everything());
            let members = value.as_map().map_or(0, portolan_exchange::value::Map::len);
            Signature::of("read").size("members", members)
        }
        Err(error) => {
            let both = error.kind != DecodeErrorKind::Malformed || untyped.is_err();
            assert!(both, "without a type it is JSON, with one it is not: {error}");
            refused(&error)
        }
    }
}

/// The whole input as the text of a decimal, of a timestamp, and as a JSON pointer.
pub(super) const SCALARS: Target = Target {
    name: "exchange-scalars",
    about: "decimals and timestamps: what was read means the same when it is written and read again",
    run: scalars,
    words: &["e", "E", ".", "-", "T", "Z", "z", "+00:00", "-00:00", ":60", "24:00", "~0", "~1", "/lines/0/a~1b"],
    seeds: &[],
    longest: 4 * 1024,
    memory: linear(2_000),
};

fn scalars(input: &[u8]) -> Signature {
    let text = String::from_utf8_lossy(input);
    let signature = match text.parse::<Decimal>() {
        Ok(decimal) => {
            check_decimal(&decimal);
            Signature::of("decimal")
                .size("digits", decimal.digits().len())
                .size("scale", decimal.scale().unsigned_abs() as usize)
        }
        Err(error) => Signature::of("no decimal").told(&error.to_string()),
    };
    let signature = match text.parse::<Timestamp>() {
        Ok(timestamp) => {
            check_timestamp(timestamp);
            signature.told("timestamp")
        }
        Err(error) => signature.told(&error.to_string()),
    };
    match Value::from(vec![Value::from(1_i64)]).at(&text) {
        Some(found) => signature.told(found.described()),
        None => signature,
    }
}

fn check_decimal(decimal: &Decimal) {
    let written = decimal.to_string();
    assert_eq!(written.parse::<Decimal>().as_ref(), Ok(decimal), "`{written}` is another decimal");
    assert!(written.parse::<f64>().is_ok(), "`{written}` is no number to others");
    match (decimal.to_i64(), decimal.unscaled()) {
        (Some(whole), _) => assert_eq!(Decimal::new(whole.into(), 0).as_ref(), Some(decimal)),
        (None, Some(unscaled)) if decimal.scale() == 0 => assert!(i64::try_from(unscaled).is_err(), "{written}"),
        (None, _) => {}
    }
    if let Some(exact) = decimal.to_exact_f64() {
        assert_eq!(Decimal::from_f64(exact).as_ref(), Some(decimal), "{exact} is not exactly {written}");
    }
    // As the nearest home of an untyped number it is written and read without loss.
    let value = Value::number(decimal.clone());
    written_and_read(&value, &Type::Any);
}

fn check_timestamp(timestamp: Timestamp) {
    let written = timestamp.to_string();
    assert_eq!(written.parse(), Ok(timestamp), "`{written}` is another moment");
    assert!(timestamp.nanos() < 1_000_000_000);
    assert_eq!(Timestamp::new(timestamp.seconds(), timestamp.nanos()), Some(timestamp));
}

/// A target in the first line; then each line is done to a list of fields: `+name: value` adds, `=name: value` sets,
/// `-name` removes.
pub(super) const FIELDS: Target = Target {
    name: "exchange-fields",
    about: "header fields behave like a plain list of names and values, and none can break a head",
    run: fields_and_target,
    words: &["+", "=", "-", ": ", "host", "Host", "connection", "close, keep-alive", "/a?b=c", "*", "\r"],
    seeds: &[],
    longest: 16 * 1024,
    // Each line lays its field over those before, and the model is asked after each.
    memory: Memory { total_per_byte: 4_000, peak_per_byte: 1_000, free: FREE },
};

/// The same list, as plainly as can be.
type Model = Vec<(String, Vec<u8>)>;

fn fields_and_target(input: &[u8]) -> Signature {
    let mut lines = input.split(|byte| *byte == b'\n');
    check_target(&String::from_utf8_lossy(lines.next().unwrap_or_default()));
    let (mut list, mut model) = (Fields::new(), Model::new());
    let (mut refused, mut changed) = (0, 0);
    // The model takes a look at all its fields for each line.
    for line in lines.take(200) {
        let [deed, rest @ ..] = line else { continue };
        let colon = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
        let name = String::from_utf8_lossy(&rest[..colon]).into_owned();
        let value = rest.get(colon + 1..).unwrap_or_default().trim_ascii();
        let is_sound = fields::is_token(name.as_bytes()) && fields::is_field_value(value);
        let same = |(known, _): &(String, Vec<u8>)| known.eq_ignore_ascii_case(&name);
        let done = match deed {
            b'=' => list.set(&name, value).is_ok(),
            b'-' => {
                let before = model.len();
                model.retain(|field| !same(field));
                assert_eq!(list.remove(&name), before - model.len());
                changed += 1;
                continue;
            }
            _ => list.add(&name, value).is_ok(),
        };
        assert_eq!(done, is_sound, "`{name}` was taken, or refused, by another rule than its own");
        if !done {
            refused += 1;
            continue;
        }
        changed += 1;
        let place = model.iter().position(same).filter(|_| *deed == b'=');
        match place {
            Some(at) => {
                model[at] = (name.clone(), value.to_vec());
                let mut index = 0;
                model.retain(|field| {
                    index += 1;
                    index - 1 <= at || !same(field)
                });
            }
            None => model.push((name.clone(), value.to_vec())),
        }
    }
    check_fields(&list, &model);
    Signature::of("fields").size("refused", refused).size("changed", changed).size("left", model.len())
}

fn check_fields(list: &Fields, model: &Model) {
    let expected: Vec<(&[u8], &[u8])> = model.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
    assert_eq!(list.iter().collect::<Vec<_>>(), expected);
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    for (name, value) in list.iter() {
        let plain = |byte: &u8| !b"\r\n\0".contains(byte);
        assert!(name.iter().all(plain) && value.iter().all(plain), "a field could break a head");
    }
    for (name, _) in model {
        let first = model.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice());
        assert_eq!(list.get(&name.to_ascii_uppercase()), first);
    }
}

fn check_target(text: &str) {
    let target = RequestTarget::new(text);
    let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(format!("{}{query}", target.path()), text);
    let moved = target.with_path("/elsewhere");
    assert_eq!((moved.path(), moved.query()), ("/elsewhere", target.query()));
}
