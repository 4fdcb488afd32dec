//! Reads a text along a type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::{Decimal, InvalidDecimal, Map, MapType, Type, Value};
use super::scan::{Form, Number, Scanner};
use super::{DecodeError, DecodeErrorKind, DecodeLimits, shortened};

// Fifteen digits survive the way into a double and back (`f64::DIGITS`), unless it is near zero.
const DIGITS_OF_A_DOUBLE: usize = f64::DIGITS as usize;

/// A text on its way into a value.
pub(super) struct Reader<'a> {
    scanner: Scanner<'a>,
    limits: DecodeLimits,
    depth: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8], limits: DecodeLimits) -> Result<Self, DecodeError> {
        Ok(Self { scanner: Scanner::new(text)?, limits, depth: 0, values: 0 })
    }

    /// The value that is all of the text.
    pub(super) fn whole(mut self, expected: &Type) -> Result<Value, DecodeError> {
        let value = self.value(expected)?;
        self.scanner.end()?;
        Ok(value)
    }

    fn value(&mut self, expected: &Type) -> Result<Value, DecodeError> {
        self.values += 1;
        if self.values > self.limits.values {
            return Err(limit(format!("more than {} values", self.limits.values)));
        }
        let within = expected.without_null();
        match self.scanner.peek() {
            Some(b'{') => self.map(within),
            Some(b'[') => self.list(within),
            Some(b'"') => text(&self.scanner.string()?, within),
            Some(b'-' | b'0'..=b'9') => number(&self.scanner.number()?, within),
            Some(b't') => self.truth("true", true, within),
            Some(b'f') => self.truth("false", false, within),
            Some(b'n') => {
                self.scanner.word("null")?;
                if expected.takes_null() { Ok(Value::Null) } else { Err(mismatch(expected, "null")) }
            }
            _ => Err(self.scanner.unexpected("a value")),
        }
    }

    fn truth(&mut self, word: &str, truth: bool, expected: &Type) -> Result<Value, DecodeError> {
        self.scanner.word(word)?;
        match expected {
            Type::Any | Type::Bool => Ok(Value::Bool(truth)),
            _ => Err(mismatch(expected, word)),
        }
    }

    fn list(&mut self, expected: &Type) -> Result<Value, DecodeError> {
        let of = match expected {
            Type::Any => &Type::Any,
            Type::List(of) => of,
            _ => return Err(mismatch(expected, "a list")),
        };
        self.descend(b'[')?;
        let mut elements = Vec::new();
        if !self.scanner.take(b']') {
            loop {
                let element = self.value(of).map_err(|error| error.within(&elements.len().to_string()))?;
                elements.push(element);
                if self.ended(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Value::List(elements))
    }

    fn map(&mut self, expected: &Type) -> Result<Value, DecodeError> {
        let members = match expected {
            Type::Any => None,
            Type::Map(members) => Some(&**members),
            _ => return Err(mismatch(expected, "a map")),
        };
        self.descend(b'{')?;
        let mut map = Map::new();
        if !self.scanner.take(b'}') {
            loop {
                self.member(members, &mut map)?;
                if self.ended(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        let mut required = members.into_iter().flat_map(MapType::required_names);
        match required.find(|name| !map.contains(name)) {
            Some(absent) => Err(DecodeError::new(DecodeErrorKind::Mismatch, "required, and absent").within(absent)),
            None => Ok(Value::Map(map)),
        }
    }

    fn member(&mut self, members: Option<&MapType>, map: &mut Map) -> Result<(), DecodeError> {
        if self.scanner.peek() != Some(b'"') {
            return Err(self.scanner.unexpected("a name in quotation marks"));
        }
        let name = self.scanner.string()?;
        self.scanner.expect(b':')?;
        let expected = match members {
            None => &Type::Any,
            Some(members) => members.member(&name).ok_or_else(|| {
                DecodeError::new(DecodeErrorKind::Mismatch, "not a member this map may have").within(&name)
            })?,
        };
        let value = self.value(expected).map_err(|error| error.within(&name))?;
        match map.insert(&*name, value) {
            Some(_) => Err(DecodeError::new(DecodeErrorKind::Malformed, "stands twice in the same map").within(&name)),
            None => Ok(()),
        }
    }

    // One level down, behind the bracket that was seen.
    fn descend(&mut self, bracket: u8) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(limit(format!("more than {} lists and maps in one another", self.limits.depth)));
        }
        self.scanner.expect(bracket)
    }

    // Behind an element: the comma before the next one, or the bracket that ends them.
    fn ended(&mut self, bracket: u8) -> Result<bool, DecodeError> {
        if self.scanner.take(b',') {
            return Ok(false);
        }
        if self.scanner.take(bracket) {
            return Ok(true);
        }
        Err(self.scanner.unexpected(&format!("`,` or `{}`", char::from(bracket))))
    }
}

fn text(text: &str, expected: &Type) -> Result<Value, DecodeError> {
    let unlike = |reason: String| {
        let message = format!("expected {expected}, found the text \"{}\"{reason}", shortened(text).escape_debug());
        DecodeError::new(DecodeErrorKind::Mismatch, message)
    };
    match expected {
        Type::Any | Type::Text => Ok(Value::Text(text.to_owned())),
        Type::Decimal => match text.parse() {
            Ok(decimal) => Ok(Value::Decimal(decimal)),
            Err(error) => Err(unlike(format!(": {error}"))),
        },
        Type::Timestamp => match text.parse() {
            Ok(timestamp) => Ok(Value::Timestamp(timestamp)),
            Err(error) => Err(unlike(format!(": {error}"))),
        },
        Type::Bytes => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(_) => Err(unlike(": not base64 of the standard alphabet with padding".to_owned())),
        },
        Type::F64 => match text {
            "NaN" => Ok(Value::F64(f64::NAN)),
            "Infinity" => Ok(Value::F64(f64::INFINITY)),
            "-Infinity" => Ok(Value::F64(f64::NEG_INFINITY)),
            _ => Err(unlike(String::new())),
        },
        _ => Err(unlike(String::new())),
    }
}

fn number(number: &Number<'_>, expected: &Type) -> Result<Value, DecodeError> {
    let text = number.text;
    let unlike = || mismatch(expected, &format!("the number {}", shortened(text)));
    let value = match expected {
        Type::Any | Type::Number => return untyped(number),
        Type::I64 => text.parse().ok().or_else(|| decimal(text).ok()?.to_i64()).map(Value::I64),
        Type::U64 => text.parse().ok().or_else(|| decimal(text).ok()?.to_u64()).map(Value::U64),
        Type::F64 => Some(double(text)).filter(|double| double.is_finite()).map(Value::F64),
        Type::Decimal => return decimal(text).map(Value::Decimal),
        _ => None,
    };
    value.ok_or_else(unlike)
}

// The narrowest value that means this number and writes it again; see the table of the module above.
fn untyped(number: &Number<'_>) -> Result<Value, DecodeError> {
    let text = number.text;
    if text == "-0" {
        return Ok(Value::F64(-0.0));
    }
    if number.form == Form::Whole {
        if let Ok(number) = text.parse() {
            return Ok(Value::I64(number));
        }
        if let Ok(number) = text.parse() {
            return Ok(Value::U64(number));
        }
        // One of more digits than a decimal holds is written with an exponent, and so reads like one that was.
        return decimal(text).map(Value::number);
    }
    let nearest = double(text);
    let short = text.len() <= DIGITS_OF_A_DOUBLE;
    if short && nearest.is_normal() {
        return Ok(Value::F64(nearest));
    }
    let exact = decimal(text)?;
    if nearest.is_finite() && Decimal::from_f64(nearest).as_ref() == Some(&exact) {
        return Ok(Value::F64(nearest));
    }
    // No double means it, but `80.715196977981551e15` still comes to a whole number.
    Ok(Value::number(exact))
}

fn double(text: &str) -> f64 {
    text.parse().expect("a number of JSON is one of Rust, too")
}

fn decimal(text: &str) -> Result<Decimal, DecodeError> {
    text.parse().map_err(|error: InvalidDecimal| limit(format!("{error}: {}", shortened(text))))
}

fn mismatch(expected: &Type, found: &str) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Mismatch, format!("expected {expected}, found {found}"))
}

fn limit(message: String) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Limit, message)
}
