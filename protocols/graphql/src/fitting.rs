//! A part of `data` as the contract of the caller's operation says it.
//!
//! GraphQL's `ID` is text whatever it means, its `Int` has 32 bits, so that larger numbers come as text, and decimals come as
//! numbers or as text, as the service likes. Where the contract says the one and the service the other, and both
//! mean the same number, the caller gets what the contract says. Everything else stays as it came.

use portolan_exchange::value::json::{DecodeLimits, decode, encode};
use portolan_exchange::value::{Decimal, Map, MapType, Others, Type, Value};

/// Brings the value, part by part, to what this type says. Recurses as deep as the value is.
pub(crate) fn fit(value: &mut Value, expected: &Type) {
    let expected = expected.without_null();
    let fitting = match (expected, &mut *value) {
        (Type::List(of), Value::List(elements)) => {
            elements.iter_mut().for_each(|element| fit(element, of));
            return;
        }
        (Type::Map(members), Value::Map(map)) => return fit_members(map, members),
        (Type::I64 | Type::U64 | Type::F64 | Type::Number, Value::Text(text)) => number(text, expected),
        (Type::Decimal, number) => decimal(number).map(Value::Decimal),
        (Type::Text, number @ (Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Number(_))) => {
            Some(Value::Text(String::from_utf8_lossy(&encode(number)).into_owned()))
        }
        _ => None,
    };
    if let Some(fitting) = fitting {
        *value = fitting;
    }
}

fn fit_members(map: &mut Map, members: &MapType) {
    for (name, field) in members.fields() {
        if let Some(value) = map.get_mut(name) {
            fit(value, &field.r#type);
        }
    }
    let others = match members.unnamed() {
        Others::Of(others) if *others != Type::Any => others,
        _ => return,
    };
    let unnamed: Vec<String> =
        map.iter().filter(|(name, _)| members.named(name).is_none()).map(|(name, _)| name.to_owned()).collect();
    for name in unnamed {
        fit(map.get_mut(&name).expect("its name was just read"), others);
    }
}

/// A text that is a number of JSON and nothing else, as that number.
pub(crate) fn number(text: &str, expected: &Type) -> Option<Value> {
    let is_bare =
        text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    if !is_bare {
        return None;
    }
    decode(text.as_bytes(), expected, DecodeLimits::default()).ok()
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::I64(number) => Some((*number).into()),
        Value::U64(number) => Some((*number).into()),
        Value::F64(number) => Decimal::from_f64(*number),
        Value::Number(number) => Some(number.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the caller reads where the service answered this.
    fn through(expected: &Type, answer: &str) -> String {
        let mut value = decode(answer.as_bytes(), &Type::Any, DecodeLimits::default()).unwrap();
        fit(&mut value, expected);
        String::from_utf8(encode(&value).to_vec()).unwrap()
    }

    #[test]
    fn a_number_and_its_text_are_told_as_the_contract_says() {
        let table = [
            (Type::I64, "\"9007199254740993\"", "9007199254740993"),
            (Type::U64, "\"18446744073709551615\"", "18446744073709551615"),
            (Type::F64, "\"0.5\"", "0.5"),
            (Type::Number, "\"0.10000000000000001\"", "0.10000000000000001"),
            (Type::nullable(Type::I64), "\"1\"", "1"),
            (Type::nullable(Type::I64), "null", "null"),
            (Type::Decimal, "0.10000000000000001", "\"0.10000000000000001\""),
            (Type::Decimal, "12.5", "\"12.5\""),
            (Type::Decimal, "7", "\"7\""),
            (Type::Text, "7", "\"7\""),
            (Type::Text, "12.5", "\"12.5\""),
        ];
        for (expected, answer, told) in table {
            assert_eq!(through(&expected, answer), told, "{answer} as {expected}");
        }
    }

    #[test]
    fn what_means_nothing_of_the_contract_stays_as_it_came() {
        let table = [
            (Type::I64, "\"abc\""),
            (Type::I64, "\"007\""),
            (Type::I64, "\" 1\""),
            (Type::I64, "\"1.5\""),
            (Type::I64, "\"9223372036854775808\""),
            (Type::I64, "1.5"),
            (Type::F64, "\"NaN\""),
            (Type::F64, "\"1e400\""),
            (Type::Bool, "\"true\""),
            (Type::Text, "true"),
            (Type::Decimal, "\"12.50\""),
            (Type::Decimal, "\"dear\""),
            (Type::Timestamp, "\"2026-01-31T12:00:00+01:00\""),
            (Type::Bytes, "\"_-8\""),
            (Type::Any, "[\"1\",1,{\"a\":0.10}]"),
            (Type::list(Type::I64), "\"1\""),
        ];
        for (expected, answer) in table {
            let same = answer.replace("0.10", "0.1");
            assert_eq!(through(&expected, answer), same, "{answer} as {expected}");
        }
    }

    #[test]
    fn every_part_is_told_by_its_own_type() {
        let line = MapType::new().required("price", Type::Decimal).others(Others::Refused);
        let order = MapType::new().required("id", Type::I64).optional("lines", Type::list(Type::map(line)));
        let order = Type::map(order.others(Others::Of(Type::Text)));
        let answer = r#"{"more":1,"id":"17","lines":[{"price":1.50,"sku":2},{"price":null}]}"#;
        let told = r#"{"more":"1","id":17,"lines":[{"price":"1.5","sku":2},{"price":null}]}"#;
        assert_eq!(through(&order, answer), told);
    }
}
