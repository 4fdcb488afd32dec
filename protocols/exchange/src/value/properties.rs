//! What must hold for all values and all texts, and the examples that say why.

use proptest::collection::vec;
use proptest::prelude::*;

use super::json::{decode, encode};
use super::strategy::{self, typed};
use super::{Decimal, DecodeError, DecodeErrorKind, DecodeLimits, Map, MapType, Type, Value};

fn read(text: impl AsRef<[u8]>, expected: &Type) -> Result<Value, DecodeError> {
    decode(text.as_ref(), expected, DecodeLimits::default())
}

fn written(value: &Value) -> String {
    String::from_utf8(encode(value).to_vec()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_value_written_and_read_with_its_type_is_equal((expected, value) in typed()) {
        prop_assert!(expected.holds(&value));
        let text = written(&value);
        let again = read(&text, &expected);
        prop_assert_eq!(again.as_ref(), Ok(&value), "{}", text);
        // The order of members is not compared, but it is kept, as the text shows.
        prop_assert_eq!(written(&again.unwrap()), text);
    }

    #[test]
    fn a_value_written_is_json_to_others((_, value) in typed()) {
        let text = written(&value);
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(json) => if let Ok(converted) = serde_json::Value::try_from(&value) {
                prop_assert!(alike(&json, &converted), "{json} is not {converted}");
            },
            Err(error) => prop_assert!(error.to_string().contains("number out of range"), "{error}: {text}"),
        }
    }

    #[test]
    fn any_json_read_without_a_type_and_written_again_means_the_same(document in documents()) {
        let text = document.text();
        let value = read(&text, &Type::Any).unwrap();
        prop_assert!(document.is_meant_by(&value), "{text} is not {value:?}");
        let again = read(written(&value), &Type::Any);
        prop_assert_eq!(again, Ok(value));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_json_here_where_they_are_elsewhere(bytes in noise(), (expected, _) in typed()) {
        let _ = read(&bytes, &expected);
        agrees_with_serde_json(&bytes)?;
    }

    #[test]
    fn json_with_a_fault_in_it_is_judged_as_elsewhere(document in documents(), at: prop::sample::Index, byte: u8) {
        let mut bytes = document.text().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agrees_with_serde_json(&bytes)?;
        bytes.truncate(at);
        agrees_with_serde_json(&bytes)?;
    }

    #[test]
    fn decimals_and_timestamps_print_as_they_are_read(decimal in strategy::decimals(), instant in strategy::timestamps()) {
        let again: Decimal = decimal.to_string().parse().unwrap();
        prop_assert_eq!((again.digits(), again.scale()), (decimal.digits(), decimal.scale()));
        prop_assert_eq!(instant.to_string().parse(), Ok(instant));
    }

    #[test]
    fn decimals_are_ordered_as_doubles_are(left in -1e6_f64..1e6, right in -1e6_f64..1e6) {
        let decimal = |number| Decimal::from_f64(number).unwrap();
        prop_assert_eq!(decimal(left).partial_cmp(&decimal(right)), left.partial_cmp(&right));
        prop_assert_eq!(decimal(left).to_exact_f64(), Some(left));
    }
}

/// JSON as a test knows it: what it means beside how it is written.
#[derive(Debug, Clone)]
enum Document {
    Word(&'static str),
    /// unscaled × 10^exponent, as whole number, with a point, or with an exponent.
    Number {
        unscaled: i128,
        places: usize,
        exponent: Option<i32>,
    },
    Text(String),
    List(Vec<Document>),
    Map(Vec<(String, Document)>),
}

fn documents() -> impl Strategy<Value = Document> {
    let unscaled = prop_oneof![any::<i64>().prop_map(i128::from), any::<i128>(), -99_i128..99];
    let leaf = prop_oneof![
        prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(Document::Word),
        (unscaled, prop_oneof![Just(0_usize), 1_usize..30], proptest::option::of(-450..450))
            .prop_map(|(unscaled, places, exponent)| Document::Number { unscaled, places, exponent }),
        strategy::texts().prop_map(Document::Text),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Document::List),
            vec((strategy::names(), inner), 0..4).prop_map(|mut members| {
                members.sort_by(|left, right| left.0.cmp(&right.0));
                members.dedup_by(|left, right| left.0 == right.0);
                Document::Map(members)
            }),
        ]
    })
}

impl Document {
    fn text(&self) -> String {
        match self {
            Self::Word(word) => (*word).to_owned(),
            Self::Number { unscaled, places, exponent } => {
                let sign = if *unscaled < 0 { "-" } else { "" };
                let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = places + 1);
                let (whole, fraction) = digits.split_at(digits.len() - places);
                let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
                let exponent = exponent.map_or(String::new(), |exponent| format!("E{exponent:+}"));
                format!("{sign}{whole}{fraction}{exponent}")
            }
            // Every character as an escape, in UTF-16, so that the other half of the reader works, too.
            Self::Text(text) if text.len() % 2 == 0 => {
                let escapes: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
                format!("\"{escapes}\"")
            }
            Self::Text(text) => serde_json::to_string(text).unwrap(),
            Self::List(elements) => {
                let elements: Vec<_> = elements.iter().map(Self::text).collect();
                format!("[ {} ]", elements.join("\t,\r\n"))
            }
            Self::Map(members) => {
                let member = |(name, member): &(String, Self)| {
                    format!("{} : {}", serde_json::to_string(name).unwrap(), member.text())
                };
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(" , "))
            }
        }
    }

    fn is_meant_by(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Word("null"), Value::Null) => true,
            (Self::Word(word), Value::Bool(truth)) => *word == truth.to_string(),
            (Self::Number { unscaled, places, exponent }, number) => {
                let places = i32::try_from(*places).unwrap();
                let meant = Decimal::new(*unscaled, places - exponent.unwrap_or(0)).unwrap();
                let read = match number {
                    Value::I64(number) => Decimal::from(*number),
                    Value::U64(number) => Decimal::from(*number),
                    Value::F64(number) => Decimal::from_f64(*number).unwrap(),
                    Value::Number(number) => number.clone(),
                    _ => return false,
                };
                read == meant
            }
            (Self::Text(text), Value::Text(read)) => text == read,
            (Self::List(elements), Value::List(read)) => {
                elements.len() == read.len()
                    && elements.iter().zip(read).all(|(element, read)| element.is_meant_by(read))
            }
            (Self::Map(members), Value::Map(read)) => {
                let mut pairs = members.iter().zip(read.iter());
                members.len() == read.len()
                    && pairs.all(|(member, read)| member.0 == read.0 && member.1.is_meant_by(read.1))
            }
            _ => false,
        }
    }
}

/// Bytes of any kind, and bytes as JSON is made of.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\\",
        "\\u",
        "\\ud834",
        "\\udd1e",
        "\\n",
        "0",
        "-",
        "1",
        ".",
        "e",
        "+",
        "9e999",
        "2147483648",
        "-0",
        "1.5",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\0",
        "\u{b}",
        "é",
        "𝄞",
        "\"\\u00",
        "\u{feff}",
    ];
    let pieces = vec(proptest::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![3 => pieces, 1 => vec(any::<u8>(), 0..24)]
}

// An independent reader takes what ours takes and means the same by it, but for what ours says it does otherwise.
fn agrees_with_serde_json(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = read(bytes, &Type::Any);
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            if let Ok(ours) = serde_json::Value::try_from(&ours) {
                prop_assert!(alike(&ours, &theirs), "{ours} is not {theirs}");
            }
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range"), "{error}"),
        (Err(error), Ok(_)) => {
            let otherwise = error.kind == DecodeErrorKind::Limit || error.message == "stands twice in the same map";
            prop_assert!(otherwise, "{error}");
        }
    }
    Ok(())
}

// Without its feature `float_roundtrip`, `serde_json` reads some doubles a few steps off; ours are the nearest.
fn alike(left: &serde_json::Value, right: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (left, right) {
        (Json::Number(left), Json::Number(right)) if left.is_f64() && right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            left == right
                || (left.is_sign_negative() == right.is_sign_negative()
                    && left.to_bits().abs_diff(right.to_bits()) <= 8)
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| alike(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| alike(left, right)))
        }
        _ => left == right,
    }
}

#[test]
fn each_kind_of_value_has_its_one_form() {
    let value = Map::new()
        .with("null", Value::Null)
        .with("whole", vec![Value::I64(i64::MIN), Value::U64(u64::MAX)])
        .with("double", vec![0.1.into(), 1e300.into(), (-0.0).into(), f64::NAN.into(), f64::NEG_INFINITY.into()])
        .with("number", Value::Number("1e400".parse().unwrap()))
        .with("decimal", "12.50".parse::<Decimal>().unwrap())
        .with("text", "a\"\\\n\u{1}é")
        .with("bytes", bytes::Bytes::from_static(b"\xfb\xff\x00"))
        .with("timestamp", super::Timestamp::EPOCH);
    let text = concat!(
        r#"{"null":null,"whole":[-9223372036854775808,18446744073709551615],"#,
        r#""double":[0.1,1e+300,-0.0,"NaN","-Infinity"],"number":1e400,"decimal":"12.50","#,
        r#""text":"a\"\\\n\u0001é","bytes":"+/8A","timestamp":"1970-01-01T00:00:00Z"}"#
    );
    assert_eq!(written(&value.into()), text);
}

#[test]
fn numbers_without_a_type_lose_nothing() {
    let number = |text: &str| Value::Number(text.parse().unwrap());
    let home = [
        ("0", Value::I64(0)),
        ("-0", Value::F64(-0.0)),
        ("-0.0e5", Value::F64(-0.0)),
        ("-9223372036854775808", Value::I64(i64::MIN)),
        ("9223372036854775808", Value::U64(1 << 63)),
        ("18446744073709551616", number("18446744073709551616")),
        ("-9223372036854775809", number("-9223372036854775809")),
        ("100000000000000000000", number("100000000000000000000")),
        ("1.0", Value::F64(1.0)),
        ("0.1", Value::F64(0.1)),
        ("0.10000000000000000000", Value::F64(0.1)),
        ("0.10000000000000001", number("0.10000000000000001")),
        ("123456789.123456789", number("123456789.123456789")),
        ("1e400", number("1e400")),
        ("1e-400", number("1e-400")),
        ("0e99999999999", Value::F64(0.0)),
        ("-80.715196977981551e15", Value::I64(-80_715_196_977_981_551)),
    ];
    for (text, value) in home {
        assert_eq!(read(text, &Type::Any), Ok(value), "{text}");
    }
    let refused = read("9".repeat(101), &Type::Any).unwrap_err();
    let shown = format!("a number of more than 100 digits: {}…", "9".repeat(64));
    assert_eq!((refused.kind, refused.message), (DecodeErrorKind::Limit, shown));
}

#[test]
fn a_type_reads_numbers_exactly_or_not_at_all() {
    assert_eq!(read("1.0", &Type::I64), Ok(Value::I64(1)));
    assert_eq!(read("1.8e3", &Type::U64), Ok(Value::U64(1_800)));
    assert_eq!(read("5", &Type::F64), Ok(Value::F64(5.0)));
    assert_eq!(read("5", &Type::U64), Ok(Value::U64(5)));
    assert_eq!(read("-0", &Type::I64), Ok(Value::I64(0)));
    assert_eq!(read("1.50", &Type::Decimal), Ok(Value::Decimal("1.50".parse().unwrap())));
    assert_eq!(read("1", &Type::Number), Ok(Value::I64(1)));
    assert_eq!(read("1e400", &Type::Number), Ok(Value::Number("1e400".parse().unwrap())));
    for (text, expected) in [
        ("1.5", Type::I64),
        ("9223372036854775808", Type::I64),
        ("-1", Type::U64),
        ("1e400", Type::F64),
        ("\"1\"", Type::I64),
        ("\"1\"", Type::F64),
        ("\"inf\"", Type::F64),
        ("\"1\"", Type::Number),
        ("\"NaN\"", Type::Number),
        ("1", Type::Text),
        ("1", Type::Timestamp),
        ("\"0x1\"", Type::Decimal),
        ("\"AA\"", Type::Bytes),
        ("\"AA=\"", Type::Bytes),
        ("\"_-8=\"", Type::Bytes),
        ("\"2026-02-30T00:00:00Z\"", Type::Timestamp),
        ("null", Type::Text),
        ("true", Type::I64),
    ] {
        let error = read(text, &expected).expect_err(text);
        assert_eq!(error.kind, DecodeErrorKind::Mismatch, "{text}");
    }
}

#[test]
fn an_error_says_where_and_what_helps() {
    let order = Type::map(
        MapType::new()
            .required("id", Type::I64)
            .optional("lines", Type::list(Type::map(MapType::new().required("price/unit", Type::Decimal)))),
    );
    let told = |text: &str| read(text, &order).unwrap_err().to_string();
    assert_eq!(
        told(r#"{"id":1,"lines":[{"price/unit":"1"},{"price/unit":"x"}]}"#),
        "/lines/1/price~1unit: expected a decimal such as \"12.50\", found the text \"x\": \
         not a decimal number such as `-12.50`"
    );
    assert_eq!(told("{}"), "/id: required, and absent");
    assert_eq!(told(r#"{"id":1,"ide":2}"#), "/ide: not a member this map may have");
    assert_eq!(told(r#"{"id":1,"id":1}"#), "/id: stands twice in the same map");
    assert_eq!(told(r#"{"id":null}"#), format!("/id: expected {}, found null", Type::I64));
    assert_eq!(told(r#"{"id":1 "#), "expected `,` or `}` at byte 8, found the end");
    assert_eq!(told(r#"{"id":1]"#), "expected `,` or `}` at byte 7, found `]`");
    assert_eq!(told(r#"{"id":1,}"#), "expected a name in quotation marks at byte 8, found `}`");
    assert_eq!(told(r#"{"id":tru}"#), "/id: expected a value at byte 6, found `t`");
    assert_eq!(told(r#"{"id":01}"#), "/id: a number with a leading zero at byte 6");
    assert_eq!(told(r#"{"id":-}"#), "/id: a number without its digits at byte 7");
    assert_eq!(told("[]"), "expected a map, found a list");
    assert_eq!(told(r#"{"id":1}x"#), "expected the end at byte 8, found `x`");
    assert_eq!(told(" "), "empty, where a value was expected");
    assert_eq!(read(b"\"\xff\"", &Type::Any).unwrap_err().to_string(), "not UTF-8 at byte 1");
    assert_eq!(read(r#""\ud800""#, &Type::Any).unwrap_err().to_string(), "an escape that is no character at byte 1");
    assert_eq!(read("\"a\u{1}\"", &Type::Any).unwrap_err().to_string(), "a control character in a string at byte 2");
    assert_eq!(
        read("\"abc", &Type::Any).unwrap_err().to_string(),
        "expected the end of a string at byte 4, found the end"
    );
    assert_eq!(
        read("\u{feff}1", &Type::Any).unwrap_err().to_string(),
        "begins with a byte order mark; JSON is sent without one"
    );
}

#[test]
fn what_a_client_sent_is_shortened_in_an_error() {
    let long = "n".repeat(100_000);
    let error = read(format!(r#"{{"{long}":"{long}"}}"#), &Type::map_of(Type::I64)).unwrap_err();
    let shown = format!("{}…", "n".repeat(64));
    assert_eq!(error.pointer, format!("/{shown}"));
    assert_eq!(error.message, format!("expected {}, found the text \"{shown}\"", Type::I64));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(128), &Type::Any).is_ok());
    let error = read(nested(129), &Type::Any).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (DecodeErrorKind::Limit, "more than 128 lists and maps in one another")
    );
    assert_eq!(error.pointer, "/0".repeat(128));
    assert_eq!(read("[".repeat(1_000_000), &Type::Any).unwrap_err().kind, DecodeErrorKind::Limit);
    assert_eq!(read("{\"a\":".repeat(100_000), &Type::Any).unwrap_err().kind, DecodeErrorKind::Limit);

    let few = DecodeLimits { values: 3, ..DecodeLimits::default() };
    assert!(decode(b"[1,2]", &Type::Any, few).is_ok());
    let error = decode(b"[1,2,3]", &Type::Any, few).unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (DecodeErrorKind::Limit, "/2: more than 3 values"));
}

#[test]
fn absent_null_and_given_come_over_as_three() {
    let note = Type::map(MapType::new().optional("note", Type::nullable(Type::Text)));
    for (text, given) in [("{}", None), (r#"{"note":null}"#, Some(Value::Null)), (r#"{"note":"x"}"#, Some("x".into()))]
    {
        let value = read(text, &note).unwrap();
        assert_eq!(value.get("note"), given.as_ref());
        assert_eq!(written(&value), text);
    }
}
