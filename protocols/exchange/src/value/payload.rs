//! One input or reply: its media type and its bytes, parsed when somebody asks.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use bytes::Bytes;

use super::json::{self, DecodeError, DecodeErrorKind, DecodeLimits};
use super::{Type, Value};

const JSON: &str = "application/json";

/// Bytes of a media type and the value they mean.
///
/// Bytes that came are read once per type that is asked for, and the outcome is kept: an operation has one input type,
/// and a policy may look with [`Type::Any`]. A value that was given is written once, when its bytes are asked for.
/// Stays on its worker: not `Sync`.
#[derive(Clone)]
pub struct Payload {
    media_type: Cow<'static, str>,
    limits: DecodeLimits,
    source: Source,
    readings: OnceCell<Box<Reading>>,
}

#[derive(Clone)]
enum Source {
    Bytes(Bytes),
    Value { value: Value, written: OnceCell<Bytes> },
}

/// The outcome of reading as one type, and the next one. A list that only grows, so that what was lent stays in place.
#[derive(Clone)]
struct Reading {
    expected: Type,
    outcome: Result<Value, DecodeError>,
    next: OnceCell<Box<Reading>>,
}

impl Payload {
    /// Bytes as they came, with the media type as it was sent, parameters and all.
    pub fn new(media_type: impl Into<Cow<'static, str>>, bytes: Bytes) -> Self {
        Self {
            media_type: media_type.into(),
            limits: DecodeLimits::default(),
            source: Source::Bytes(bytes),
            readings: OnceCell::new(),
        }
    }

    /// Bytes of `application/json`. They are not looked at before somebody asks for the value.
    pub fn json(bytes: Bytes) -> Self {
        Self::new(JSON, bytes)
    }

    /// A value, to be written as `application/json` when somebody asks for the bytes.
    pub fn of(value: impl Into<Value>) -> Self {
        Self {
            source: Source::Value { value: value.into(), written: OnceCell::new() },
            ..Self::new(JSON, Bytes::new())
        }
    }

    /// The same payload under another media type of JSON, such as `application/problem+json`.
    #[must_use]
    pub fn with_media_type(mut self, media_type: impl Into<Cow<'static, str>>) -> Self {
        self.media_type = media_type.into();
        self.readings = OnceCell::new();
        self
    }

    /// With bounds of its own for reading; [`DecodeLimits::default`] otherwise.
    #[must_use]
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self.readings = OnceCell::new();
        self
    }

    /// The media type as it was sent, parameters and all.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Whether the media type is JSON: `application/json`, or any with the suffix `+json` (RFC 6839, section 3.1).
    pub fn is_json(&self) -> bool {
        let essence = self.media_type.split(';').next().unwrap_or_default().trim_ascii();
        let suffix = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
        essence.eq_ignore_ascii_case(JSON) || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
    }

    /// The bytes: those that came, or the value written.
    pub fn bytes(&self) -> Bytes {
        match &self.source {
            Source::Bytes(bytes) => bytes.clone(),
            Source::Value { value, written } => written.get_or_init(|| json::encode(value)).clone(),
        }
    }

    /// What the bytes mean as this type. A value that was given and is of the type is returned as it is.
    ///
    /// # Errors
    /// When the bytes are not JSON by their media type or by their text, do not mean a value of the type, or pass the
    /// limits. The error is kept like a value: asking again costs nothing.
    pub fn value(&self, expected: &Type) -> Result<&Value, DecodeError> {
        if let Source::Value { value, .. } = &self.source
            && expected.holds(value)
        {
            return Ok(value);
        }
        let mut cell = &self.readings;
        loop {
            let reading = cell.get_or_init(|| Box::new(self.reading(expected)));
            if reading.expected == *expected {
                return reading.outcome.as_ref().map_err(Clone::clone);
            }
            cell = &reading.next;
        }
    }

    /// As [`Payload::value`], for who needs no payload any more.
    ///
    /// # Errors
    /// As [`Payload::value`].
    pub fn into_value(mut self, expected: &Type) -> Result<Value, DecodeError> {
        if let Source::Value { value, .. } = self.source {
            if expected.holds(&value) {
                return Ok(value);
            }
            self.source = Source::Value { value, written: OnceCell::new() };
        }
        let mut next = self.readings.take();
        while let Some(mut reading) = next {
            if reading.expected == *expected {
                return reading.outcome;
            }
            next = reading.next.take();
        }
        self.reading(expected).outcome
    }

    fn reading(&self, expected: &Type) -> Reading {
        let outcome = if self.is_json() {
            json::decode(&self.bytes(), expected, self.limits)
        } else {
            let message = match self.media_type() {
                "" => "no media type, where JSON was expected".to_owned(),
                other => format!("media type `{}`, where JSON was expected", json::shortened(other)),
            };
            Err(DecodeError::new(DecodeErrorKind::Malformed, message))
        };
        Reading { expected: expected.clone(), outcome, next: OnceCell::new() }
    }
}

impl fmt::Debug for Payload {
    /// Without the content, which may be a secret of the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Payload");
        shown.field("media_type", &self.media_type);
        match &self.source {
            Source::Bytes(bytes) => shown.field("bytes", &bytes.len()),
            Source::Value { value, .. } => shown.field("value", &value.described()),
        };
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Map, MapType};
    use super::*;

    fn price() -> Type {
        Type::map(MapType::new().required("price", Type::Decimal))
    }

    #[test]
    fn bytes_are_read_once_for_each_type_that_is_asked_for() {
        let payload = Payload::json(Bytes::from_static(br#"{"price":"12.50"}"#));
        let typed = payload.value(&price()).unwrap();
        let any = payload.value(&Type::Any).unwrap();
        assert_eq!(typed.get("price"), Some(&Value::Decimal("12.50".parse().unwrap())));
        assert_eq!(any.get("price"), Some(&Value::from("12.50")));
        assert!(std::ptr::eq(typed, payload.value(&price()).unwrap()));
        assert!(std::ptr::eq(any, payload.value(&Type::Any).unwrap()));
        let owned = payload.clone().into_value(&Type::Any);
        assert_eq!(owned.as_ref(), payload.value(&Type::Any).as_ref().copied());
    }

    #[test]
    fn bytes_that_came_leave_as_they_came() {
        let bytes = Bytes::from_static(b" {\"b\" : 1.0, \"a\" : 1e2 } ");
        let payload = Payload::json(bytes.clone());
        payload.value(&Type::Any).unwrap();
        assert_eq!(payload.bytes(), bytes);
    }

    #[test]
    fn a_given_value_is_written_when_its_bytes_are_asked_for_and_never_read_where_it_fits() {
        let payload = Payload::of(Map::from([("price", "12.50".parse::<super::super::Decimal>().unwrap())]));
        assert_eq!(payload.value(&price()).unwrap().at("/price"), Some(&Value::Decimal("12.50".parse().unwrap())));
        assert!(payload.readings.get().is_none());
        assert_eq!(payload.bytes(), r#"{"price":"12.50"}"#);
        assert_eq!(payload.media_type(), "application/json");
    }

    #[test]
    fn a_given_value_of_another_type_is_what_its_bytes_mean() {
        let payload = Payload::of(Map::from([("price", "12.50")]));
        let decimal = Value::from(Map::from([("price", "12.50".parse::<super::super::Decimal>().unwrap())]));
        assert_eq!(payload.value(&price()), Ok(&decimal));
        assert_eq!(payload.into_value(&price()), Ok(decimal));
    }

    #[test]
    fn an_error_is_told_each_time_it_is_asked_for() {
        let payload = Payload::json(Bytes::from_static(br#"{"price":true}"#));
        for _ in 0..2 {
            let error = payload.value(&price()).unwrap_err();
            assert_eq!(error.to_string(), "/price: expected a decimal such as \"12.50\", found true");
            assert_eq!(error.kind, DecodeErrorKind::Mismatch);
        }
    }

    #[test]
    fn the_media_type_says_whether_it_is_json() {
        let is_json = |media_type: &'static str| Payload::new(media_type, Bytes::new()).is_json();
        for media_type in
            ["application/json", "Application/JSON ; charset=utf-8", "application/problem+json", "a/b+JSON"]
        {
            assert!(is_json(media_type), "{media_type}");
        }
        for media_type in ["", "text/plain", "application/jsonx", "json", "text/html; x=+json", "é", "ééé"] {
            assert!(!is_json(media_type), "{media_type}");
        }
        let error = Payload::new("text/plain", Bytes::from_static(b"1")).value(&Type::Any).unwrap_err();
        assert_eq!(error.to_string(), "media type `text/plain`, where JSON was expected");
    }

    #[test]
    fn limits_of_its_own_hold() {
        let limits = DecodeLimits { depth: 1, ..DecodeLimits::default() };
        let payload = Payload::json(Bytes::from_static(b"[[]]")).with_limits(limits);
        let error = payload.value(&Type::Any).unwrap_err();
        assert_eq!((error.kind, error.pointer.as_str()), (DecodeErrorKind::Limit, "/0"));
    }

    #[test]
    fn a_payload_is_shown_without_its_content() {
        let shown = format!("{:?}", Payload::json(Bytes::from_static(br#""secret""#)));
        assert_eq!(shown, r#"Payload { media_type: "application/json", bytes: 8, .. }"#);
    }
}
