//! Types and values for property tests, here and in the crates that carry values over a wire.
//!
//! A protocol proves itself with [`typed`]: send the value through, read it with its type, and compare.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Decimal, Field, Map, MapType, Others, Presence, Timestamp, Type, Value};

/// A type, and a value of it.
pub fn typed() -> impl Strategy<Value = (Type, Value)> {
    types().prop_flat_map(|r#type| {
        let values = values_of(&r#type);
        (Just(r#type), values)
    })
}

/// Types up to three levels deep, every kind among them.
pub fn types() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Any),
        Just(Type::Bool),
        Just(Type::I64),
        Just(Type::U64),
        Just(Type::F64),
        Just(Type::Number),
        Just(Type::Decimal),
        Just(Type::Text),
        Just(Type::Bytes),
        Just(Type::Timestamp),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::list),
            inner.clone().prop_map(Type::nullable),
            inner.clone().prop_map(Type::map_of),
            (vec((names(), fields(inner.clone())), 0..4), option::of(inner)).prop_map(|(fields, others)| {
                let named = fields.into_iter().fold(MapType::new(), |map, (name, field)| map.field(name, field));
                Type::map(named.others(others.map_or(Others::Refused, Others::Of)))
            }),
        ]
    })
}

fn fields(types: impl Strategy<Value = Type>) -> impl Strategy<Value = Field> {
    let presence = prop_oneof![Just(Presence::Required), Just(Presence::Optional)];
    (types, presence).prop_map(|(r#type, presence)| Field { r#type, presence })
}

/// Values of a type, each of which comes back equal from every form that is read with this type. For [`Type::Any`]
/// these are the values that JSON says by itself.
pub fn values_of(r#type: &Type) -> BoxedStrategy<Value> {
    match r#type {
        Type::Any => untyped().boxed(),
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::I64 => integers().prop_map(Value::I64).boxed(),
        Type::U64 => integers().prop_map(|number| Value::U64(number.cast_unsigned())).boxed(),
        Type::F64 => doubles().prop_map(Value::F64).boxed(),
        Type::Number => numbers().boxed(),
        Type::Decimal => decimals().prop_map(Value::Decimal).boxed(),
        Type::Text => texts().prop_map(Value::Text).boxed(),
        Type::Bytes => vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(Bytes::from(bytes))).boxed(),
        Type::Timestamp => timestamps().prop_map(Value::Timestamp).boxed(),
        Type::List(of) => vec(values_of(of), 0..4).prop_map(Value::List).boxed(),
        Type::Map(members) => maps(members),
        Type::Nullable(within) => prop_oneof![1 => Just(Value::Null), 3 => values_of(within)].boxed(),
    }
}

/// A schema (JSON Schema 2020-12, and OpenAPI's formats) that says this type: what [`schema`](super::schema) reads it from.
pub fn schema_of(r#type: &Type) -> Json {
    match r#type {
        Type::Any => json!({}),
        Type::Bool => json!({ "type": "boolean" }),
        Type::I64 => json!({ "type": "integer", "format": "int64" }),
        Type::U64 => json!({ "type": "integer", "format": "uint64" }),
        Type::F64 => json!({ "type": "number", "format": "double" }),
        Type::Number => json!({ "type": "number" }),
        Type::Decimal => json!({ "type": "string", "format": "decimal" }),
        Type::Text => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "string", "format": "byte" }),
        Type::Timestamp => json!({ "type": "string", "format": "date-time" }),
        Type::List(of) => json!({ "type": "array", "items": schema_of(of) }),
        Type::Nullable(within) => json!({ "anyOf": [schema_of(within), { "type": "null" }] }),
        Type::Map(members) => {
            let properties: serde_json::Map<String, Json> =
                members.fields().map(|(name, field)| (name.to_owned(), schema_of(&field.r#type))).collect();
            let others = match members.unnamed() {
                Others::Refused => json!(false),
                Others::Of(others) => schema_of(others),
            };
            let required: Vec<&str> = members.required_names().collect();
            json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": others })
        }
    }
}

fn maps(members: &MapType) -> BoxedStrategy<Value> {
    let named: Vec<_> = members.fields().map(|(name, field)| named_member(name, field)).collect();
    let others = match members.unnamed() {
        Others::Refused => Just(Vec::new()).boxed(),
        Others::Of(r#type) => vec((names(), values_of(r#type)), 0..4).boxed(),
    };
    let taken: HashSet<String> = members.fields().map(|(name, _)| name.to_owned()).collect();
    (named, others)
        .prop_map(move |(named, others)| {
            let others = others.into_iter().filter(|(name, _)| !taken.contains(name));
            named.into_iter().flatten().chain(others).collect::<Map>().into()
        })
        .boxed()
}

// The member, or nothing where it may be absent.
fn named_member(name: &str, field: &Field) -> BoxedStrategy<Option<(String, Value)>> {
    let name = name.to_owned();
    let member = values_of(&field.r#type).prop_map(move |value| (name.clone(), value));
    match field.presence {
        Presence::Required => member.prop_map(Some).boxed(),
        Presence::Optional => option::of(member).boxed(),
    }
}

/// Values that JSON says by itself, up to three levels deep.
pub fn untyped() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        4 => numbers(),
        1 => texts().prop_map(Value::Text),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((names(), inner), 0..4).prop_map(|members| members.into_iter().collect::<Map>().into()),
        ]
    })
}

/// Numbers that JSON can write, each in its narrowest home.
pub fn numbers() -> impl Strategy<Value = Value> {
    let finite = doubles().prop_filter("JSON has no such number", |number| number.is_finite());
    prop_oneof![
        integers().prop_map(|number| Value::number(number.into())),
        integers().prop_map(|number| Value::number(number.cast_unsigned().into())),
        finite.prop_map(Value::F64),
        decimals().prop_map(Value::number),
    ]
}

/// Names of members: mostly ordinary, some of them hard.
pub fn names() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z][a-zA-Z0-9_]{0,5}", 1 => texts()]
}

/// Texts: empty, with escapes, from all of Unicode.
pub fn texts() -> impl Strategy<Value = String> {
    let hard =
        prop_oneof![Just('"'), Just('\\'), Just('/'), Just('~'), Just('\0'), Just('\n'), Just('\u{7f}'), Just('𝄞')];
    let character = prop_oneof![3 => proptest::char::range('a', 'z'), 1 => hard, 1 => any::<char>()];
    vec(character, 0..12).prop_map(String::from_iter)
}

/// Decimals of up to 100 digits and every scale, those of everyday life more often.
pub fn decimals() -> impl Strategy<Value = Decimal> {
    let money = (any::<i64>(), 0..6)
        .prop_filter_map("a scale within bounds", |(unscaled, scale)| Decimal::new(unscaled.into(), scale));
    let wide = (any::<i128>(), -10_000..=10_000)
        .prop_filter_map("a scale within bounds", |(unscaled, scale)| Decimal::new(unscaled, scale));
    let long = ("-?[1-9][0-9]{0,40}\\.[0-9]{1,59}", -300..300)
        .prop_filter_map("a decimal", |(digits, exponent)| format!("{digits}e{exponent}").parse().ok());
    prop_oneof![3 => money, 1 => wide, 1 => long]
}

/// Instants from the year 0 to the year 9999, to the second, the millisecond or the nanosecond.
pub fn timestamps() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![
        3 => 0_i64..4_000_000_000,
        1 => Timestamp::MIN.seconds()..=Timestamp::MAX.seconds(),
        1 => prop_oneof![Just(Timestamp::MIN.seconds()), Just(-1), Just(Timestamp::MAX.seconds())],
    ];
    let nanos = prop_oneof![Just(0_u32), (0_u32..1_000).prop_map(|millis| millis * 1_000_000), 0_u32..1_000_000_000];
    (seconds, nanos).prop_filter_map("within the years", |(seconds, nanos)| Timestamp::new(seconds, nanos))
}

/// Doubles of every kind: ordinary, the smallest and the largest, both zeros, the infinities and `NaN`.
pub fn doubles() -> impl Strategy<Value = f64> {
    let edges = [0.0, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let edges = proptest::sample::select(edges.to_vec());
    let bits = any::<u64>().prop_map(f64::from_bits);
    let ordinary = (any::<i32>(), 0..4).prop_map(|(digits, places)| f64::from(digits) / 10_f64.powi(places));
    prop_oneof![2 => ordinary, 1 => bits, 1 => edges]
}

// Integers of every size, both ends more often than chance would have it.
fn integers() -> impl Strategy<Value = i64> {
    let ends = proptest::sample::select(vec![0, -1, 1, i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1]);
    prop_oneof![2 => any::<i64>(), 1 => any::<i8>().prop_map(i64::from), 1 => ends]
}
