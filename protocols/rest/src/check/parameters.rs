//! Checks the parameters of a request: found, decoded, turned into values of the types they may have, and checked.

use std::borrow::Cow;

use portolan_exchange::fault::Violation;
use portolan_exchange::value::json::{DecodeLimits, decode as decode_json};
use portolan_exchange::value::{self, Type};
use serde_json::{Map, Value};

use super::{Head, Violations};
use crate::contract::{Members, Parameter, ParameterIn, RestOperation, Separator, Shape, Types};
use crate::json::{self, shown};
use crate::percent::{Malformed, Plus, decode};
use crate::sentence;

/// How many members with no name in the contract an object in the query may have. Each is looked for among all that
/// stands in the query, so their number is kept from growing with its length.
const MOST_UNNAMED: usize = 32;

/// All violations of the parameters.
pub(super) fn check(operation: &RestOperation, head: &Head<'_>) -> Vec<Violation> {
    let mut violations = Violations::default();
    let query = pairs(operation, head.query, &mut violations);
    for parameter in &operation.parameters {
        match found(parameter, head, &query) {
            Ok(None) if parameter.required => violations.add(location(parameter), "is required"),
            Ok(None) => {}
            Ok(Some(given)) => fits(parameter, &given, &mut violations),
            Err(reason) => violations.add(location(parameter), reason),
        }
    }
    violations.list
}

/// The values of path and query, each in the reading that fits or, where none does, in the first. A number by itself is exact;
/// one in a list or an object is the nearest double where it has a fraction.
///
/// # Errors
/// The violation of the first one that cannot be read at all.
pub(crate) fn values(
    operation: &RestOperation,
    head: &Head<'_>,
) -> Result<Vec<(ParameterIn, String, value::Value)>, Violation> {
    let mut violations = Violations::default();
    let query = pairs(operation, head.query, &mut violations);
    let mut values = Vec::new();
    let in_target = |parameter: &&Parameter| matches!(parameter.place, ParameterIn::Path | ParameterIn::Query);
    for parameter in operation.parameters.iter().filter(in_target) {
        let given =
            found(parameter, head, &query).map_err(|message| Violation { location: location(parameter), message })?;
        let Some(mut given) = given else { continue };
        let fitting = given.readings.iter().position(|reading| {
            parameter.schema.as_ref().is_none_or(|schema| schema.check(reading, given.bytes, &mut |_| {}))
        });
        let reading = given.readings.swap_remove(fitting.unwrap_or(0));
        let exact = given.number.filter(|_| reading.is_f64());
        let exact = exact.and_then(|text| decode_json(text.as_bytes(), &Type::Any, DecodeLimits::default()).ok());
        values.push((parameter.place, parameter.name.clone(), exact.unwrap_or_else(|| reading.into())));
    }
    violations.list.pop().map_or(Ok(values), Err)
}

/// A value as it came, in every reading that its text allows, the most telling first.
struct Given {
    readings: Vec<Value>,
    /// The length of its text, in bytes.
    bytes: usize,
    /// Whether it is there but empty.
    empty: bool,
    /// Its text, where one of its readings is a number that may have been rounded.
    number: Option<String>,
}

/// The names, decoded, and values, as they came, of a query.
fn pairs<'a>(operation: &RestOperation, query: &'a str, violations: &mut Violations) -> Vec<(Cow<'a, str>, &'a str)> {
    // Where an operation asks for nothing in the query, whatever stands there is left to the upstream.
    if !operation.parameters.iter().any(|parameter| parameter.place == ParameterIn::Query) {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match decode(name, Plus::Space) {
            Ok(name) => pairs.push((name, value)),
            // It could be any name, so it could be one that is checked.
            Err(reason) => violations.add("query".to_owned(), format!("the name of a parameter {reason}")),
        }
    }
    pairs
}

fn location(parameter: &Parameter) -> String {
    format!("{}.{}", parameter.place.as_str(), parameter.name)
}

/// What the request says for a parameter.
fn found(parameter: &Parameter, head: &Head<'_>, query: &[(Cow<'_, str>, &str)]) -> Result<Option<Given>, String> {
    let name = parameter.name.as_str();
    let header = match parameter.place {
        ParameterIn::Header => (head.header)(name),
        ParameterIn::Cookie => (head.header)("cookie"),
        ParameterIn::Path | ParameterIn::Query => None,
    };
    let texts: Vec<&str> = match parameter.place {
        ParameterIn::Path => (head.path)(name).into_iter().collect(),
        ParameterIn::Query => match &parameter.shape {
            Shape::Exploded(members) => return exploded(members, query, Cow::Borrowed),
            Shape::Deep(members) => return deep(name, members, query),
            _ => query.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect(),
        },
        ParameterIn::Header => header.as_deref().into_iter().map(str::trim).collect(),
        ParameterIn::Cookie => header.as_deref().map(|all| cookies(all, name)).unwrap_or_default(),
    };
    if texts.is_empty() {
        return Ok(None);
    }
    let coding = match parameter.place {
        ParameterIn::Query => Coding::Percent(Plus::Space),
        ParameterIn::Path => Coding::Percent(Plus::Literal),
        // Neither has a coding of its own (OpenAPI 3.1.1, appendix D).
        ParameterIn::Header | ParameterIn::Cookie => Coding::None,
    };
    let mut number = None;
    let readings = match (&parameter.shape, texts.as_slice()) {
        (Shape::List { separator: Separator::Repeated, items, alone }, _) => repeated(&texts, *items, *alone, coding)?,
        (_, [_, _, ..]) => return Err(format!("is given {} times", texts.len())),
        (Shape::List { separator, items, alone }, [text]) => delimited(text, *separator, *items, *alone, coding)?,
        (Shape::Json, [text]) => vec![json::parse(coding.decode(text)?.as_bytes())?],
        (Shape::One(types), [text]) => {
            let text = coding.decode(text)?;
            let readings = readings(&text, *types);
            number = readings.iter().any(Value::is_f64).then(|| text.into_owned());
            readings
        }
        (Shape::Exploded(_) | Shape::Deep(_), _) | (_, []) => return Ok(None),
    };
    let bytes = texts.iter().map(|text| text.len()).sum();
    Ok(Some(Given { readings, bytes, empty: texts == [""], number }))
}

/// How the text of a parameter is written where it stands.
#[derive(Clone, Copy)]
enum Coding {
    None,
    Percent(Plus),
}

impl Coding {
    fn decode(self, text: &str) -> Result<Cow<'_, str>, Malformed> {
        match self {
            Self::None => Ok(Cow::Borrowed(text)),
            Self::Percent(plus) => decode(text, plus),
        }
    }
}

/// What a text can be read as, given the types it may have. A text that is no value of these types is read as a text,
/// so that the schema says what is wrong with it.
fn readings(text: &str, types: Types) -> Vec<Value> {
    let mut readings = Vec::with_capacity(2);
    if types != Types::ANY {
        readings.extend(typed(text, types));
    }
    let as_text = Value::String(text.to_owned());
    if types.has(Types::STRING) || readings.is_empty() {
        readings.push(as_text);
    }
    // Where nothing is said of types, anything the text may be is tried.
    if types == Types::ANY || types == Types::ANY.and(ONE) {
        readings.extend(typed(text, ONE));
    }
    readings
}

const ONE: Types = Types::STRING.or(Types::INTEGER).or(Types::NUMBER).or(Types::BOOLEAN).or(Types::NULL);

/// A text as a value other than a text.
fn typed(text: &str, types: Types) -> Option<Value> {
    let wants_number = types.has(Types::INTEGER) || types.has(Types::NUMBER);
    match text {
        "true" | "false" if types.has(Types::BOOLEAN) => Some(Value::Bool(text == "true")),
        "null" | "" if types.has(Types::NULL) => Some(Value::Null),
        _ if wants_number => json::number(text).map(Value::Number),
        _ => None,
    }
}

/// The one reading of an item or a member, of which there can be many.
fn reading(text: &str, types: Types) -> Value {
    // Among texts `1` is a text; it is a number only where texts are not permitted.
    if types.has(Types::STRING) {
        return Value::String(text.to_owned());
    }
    typed(text, types).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn repeated(texts: &[&str], items: Types, alone: Types, coding: Coding) -> Result<Vec<Value>, String> {
    let texts = texts.iter().map(|text| coding.decode(text)).collect::<Result<Vec<_>, _>>()?;
    let mut all = vec![Value::Array(texts.iter().map(|text| reading(text, items)).collect())];
    if let ([text], true) = (texts.as_slice(), alone != Types::NONE) {
        all.extend(readings(text, alone));
    }
    Ok(all)
}

fn delimited(
    text: &str,
    separator: Separator,
    items: Types,
    alone: Types,
    coding: Coding,
) -> Result<Vec<Value>, String> {
    let whole = coding.decode(text)?;
    let list =
        |parts: &mut dyn Iterator<Item = &str>| -> Value { parts.map(|part| reading(part.trim(), items)).collect() };
    let mut all = Vec::with_capacity(2);
    match separator {
        Separator::Comma | Separator::Repeated => {
            let parts = text.split(',').map(|part| coding.decode(part)).collect::<Result<Vec<_>, _>>()?;
            all.push(if text.is_empty() {
                Value::Array(Vec::new())
            } else {
                list(&mut parts.iter().map(AsRef::as_ref))
            });
            // Many clients encode the commas between items, too, and services take it.
            if !text.contains(',') && whole.contains(',') {
                all.push(list(&mut whole.split(',')));
            }
        }
        Separator::Space => all.push(list(&mut whole.split(' '))),
        Separator::Pipe => all.push(list(&mut whole.split('|'))),
    }
    if alone != Types::NONE {
        all.extend(readings(&whole, alone));
    }
    Ok(all)
}

/// An object whose members are parameters of their own, called as `key` says.
fn exploded<'m>(
    members: &'m Members,
    query: &[(Cow<'_, str>, &str)],
    key: impl Fn(&'m str) -> Cow<'m, str>,
) -> Result<Option<Given>, String> {
    let (mut object, mut bytes) = (Map::new(), 0);
    for (member, types) in members {
        let name = key(member);
        let texts: Vec<&str> = query.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value).collect();
        if texts.is_empty() {
            continue;
        }
        bytes += texts.iter().map(|text| text.len()).sum::<usize>();
        let value = of_member(&texts, *types).map_err(|reason| format!("the member `{}` {reason}", shown(member)))?;
        object.insert(member.clone(), value);
    }
    if object.is_empty() {
        return Ok(None);
    }
    Ok(Some(Given { readings: vec![Value::Object(object)], bytes, empty: false, number: None }))
}

/// The value of a member: one text, or where it may be an array any number of them.
fn of_member(texts: &[&str], types: Types) -> Result<Value, String> {
    let texts = texts.iter().map(|text| decode(text, Plus::Space)).collect::<Result<Vec<_>, _>>()?;
    match texts.as_slice() {
        [text] if types == Types::ANY || !types.has(Types::ARRAY) => Ok(reading(text, types)),
        texts if types.has(Types::ARRAY) => {
            Ok(texts.iter().map(|text| Value::String(text.clone().into_owned())).collect())
        }
        texts => Err(format!("is given {} times", texts.len())),
    }
}

/// An object written with brackets: those of its members that the schema names, and those that it does not.
fn deep(name: &str, members: &Members, query: &[(Cow<'_, str>, &str)]) -> Result<Option<Given>, String> {
    let mut all = members.clone();
    for (key, _) in query {
        let Some(member) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')) else { continue };
        let Some(member) = member.strip_suffix(']') else { continue };
        if member.contains(['[', ']']) {
            return Err(format!("the member `{}` is nested, which has no meaning here", shown(member)));
        }
        if !all.iter().any(|(known, _)| known == member) {
            all.push((member.to_owned(), Types::ANY));
        }
        if all.len() > members.len() + MOST_UNNAMED {
            return Err(format!("has more than {MOST_UNNAMED} members that the contract does not name"));
        }
    }
    exploded(&all, query, |member| Cow::Owned(format!("{name}[{member}]")))
}

fn cookies<'a>(all: &'a str, name: &str) -> Vec<&'a str> {
    let pairs = all.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"')).collect()
}

/// Checks the readings of a value: one that fits is enough, and if none does the first one's errors are told.
fn fits(parameter: &Parameter, given: &Given, violations: &mut Violations) {
    let Some(schema) = &parameter.schema else { return };
    if given.empty && parameter.empty_passes {
        return;
    }
    let mut errors = Vec::new();
    for (at, reading) in given.readings.iter().enumerate() {
        let fits = schema.check(reading, given.bytes, &mut |error| {
            if at == 0 {
                sentence::of(error, &mut |place, message| errors.push((place, message)));
            }
        });
        if fits {
            return;
        }
    }
    if errors.is_empty() {
        errors.push((String::new(), super::NOT_TOLD.to_owned()));
    }
    for (place, message) in errors {
        violations.add(format!("{}{place}", location(parameter)), message);
    }
}
