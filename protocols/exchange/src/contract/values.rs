//! Values keep their types: sent through a protocol and read with the type of the operation, they return equal.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::value::{MapType, Others, Type, Value, json, strategy};

/// Values of each kind of type by itself.
const OF_EACH_KIND: u32 = 12;
/// Values of types put together by chance.
const MIXED: u32 = 150;

/// Sends values of every kind of type, and of many put together, through `carry`: one way of a payload through a
/// protocol, read at its end with the type it was sent with. What comes back is equal, with members in their order.
///
/// `carry` says why where a value did not arrive. What a wire cannot say has one documented form, so that none may be left
/// out.
pub fn values_keep_their_types(carry: impl Fn(&Type, &Value) -> Result<Value, String>) {
    let mut next = Some(Type::Any);
    while let Some(kind) = next {
        next = following(&kind);
        let values = strategy::values_of(&kind).prop_map(move |value| (kind.clone(), value));
        check(OF_EACH_KIND, &values, &carry);
    }
    check(MIXED, &strategy::typed(), &carry);
}

/// The kinds one after the other. The match names all of them: a new one cannot be forgotten here.
fn following(kind: &Type) -> Option<Type> {
    Some(match kind {
        Type::Any => Type::Bool,
        Type::Bool => Type::I64,
        Type::I64 => Type::U64,
        Type::U64 => Type::F64,
        Type::F64 => Type::Number,
        Type::Number => Type::Decimal,
        Type::Decimal => Type::Text,
        Type::Text => Type::Bytes,
        Type::Bytes => Type::Timestamp,
        Type::Timestamp => Type::list(Type::Decimal),
        Type::List(_) => {
            let members = MapType::new().required("id", Type::U64).optional("note", Type::nullable(Type::Text));
            Type::map(members.others(Others::Of(Type::F64)))
        }
        Type::Map(_) => Type::nullable(Type::Timestamp),
        Type::Nullable(_) => return None,
    })
}

fn check(
    cases: u32,
    values: &impl Strategy<Value = (Type, Value)>,
    carry: &impl Fn(&Type, &Value) -> Result<Value, String>,
) {
    // The smallest case that fails is told in the panic; no file of them is kept beside the caller's sources.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(values, |(expected, value)| {
        let text = String::from_utf8_lossy(&json::encode(&value)).into_owned();
        let back =
            carry(&expected, &value).map_err(|why| TestCaseError::fail(format!("{text} did not arrive: {why}")))?;
        let same = back == value && json::encode(&back) == json::encode(&value);
        if same { Ok(()) } else { Err(TestCaseError::fail(format!("{text} came back as {back:?}"))) }
    });
    if let Err(failure) = outcome {
        panic!("values lose what they are: {failure}");
    }
}
