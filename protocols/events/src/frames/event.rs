//! Writes an event once, in the form that every session sends: the object that stands in a `message` frame.
//!
//! The name of its message is not part of it, since two channels may lie in one topic; a session puts it in front.

use std::time::UNIX_EPOCH;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use indexmap::IndexMap;
use portolan_exchange::events::Received;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The event as a JSON object: `pos`, `ts`, then what it has of `key`, `headers`, `data`, each with `_base64` behind its name
/// where it is not text. `data` is the record's own JSON text, untouched.
pub fn encode(record: &Received) -> Bytes {
    let text = serde_json::to_vec(&Object(record)).expect("an event is made of texts and numbers");
    text.into()
}

/// Where an event stands: `PARTITION:OFFSET`.
pub fn position(partition: i32, offset: i64) -> String {
    format!("{partition}:{offset}")
}

/// Milliseconds since 1970 (UTC), as Kafka counts.
pub fn millis(time: std::time::SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).map(|after| i64::try_from(after.as_millis()));
    since.map_or(0, |millis| millis.unwrap_or(i64::MAX))
}

struct Object<'a>(&'a Received);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("pos", &position(record.partition, record.offset))?;
        map.serialize_entry("ts", &millis(record.timestamp))?;
        if let Some(key) = &record.key {
            match std::str::from_utf8(key) {
                Ok(text) => map.serialize_entry("key", text)?,
                Err(_) => map.serialize_entry("key_base64", &Base64(key))?,
            }
        }
        put_headers(&mut map, &record.headers)?;
        match record.value.as_deref() {
            None => map.serialize_entry("deleted", &true)?,
            Some(value) => match json(value) {
                Some(raw) => map.serialize_entry("data", raw)?,
                None => map.serialize_entry("data_base64", &Base64(value))?,
            },
        }
        map.end()
    }
}

/// The value where the whole of it is one JSON text.
fn json(value: &[u8]) -> Option<&RawValue> {
    serde_json::from_str(std::str::from_utf8(value).ok()?).ok()
}

fn put_headers<M: SerializeMap>(map: &mut M, headers: &[(String, Bytes)]) -> Result<(), M::Error> {
    let mut texts: IndexMap<&str, Vec<&str>> = IndexMap::new();
    let mut bytes: IndexMap<&str, Vec<Base64<'_>>> = IndexMap::new();
    for (name, value) in headers {
        match std::str::from_utf8(value) {
            Ok(text) => texts.entry(name).or_default().push(text),
            Err(_) => bytes.entry(name).or_default().push(Base64(value)),
        }
    }
    if !texts.is_empty() {
        map.serialize_entry("headers", &Headers(&texts))?;
    }
    if !bytes.is_empty() {
        map.serialize_entry("headers_base64", &Headers(&bytes))?;
    }
    Ok(())
}

/// A name that comes once has a text, one that comes more often an array.
struct Headers<'a, T>(&'a IndexMap<&'a str, Vec<T>>);

impl<T: Serialize> Serialize for Headers<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, values) in self.0 {
            match values.as_slice() {
                [only] => map.serialize_entry(name, only)?,
                several => map.serialize_entry(name, several)?,
            }
        }
        map.end()
    }
}

struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Received {
        Received {
            partition: 3,
            offset: 1042,
            timestamp: UNIX_EPOCH + Duration::from_millis(1_763_600_000_123),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: Vec::new(),
        }
    }

    fn said(record: &Received) -> String {
        String::from_utf8(encode(record).to_vec()).unwrap()
    }

    #[test]
    fn json_is_embedded_as_it_stands_in_the_record() {
        let record = record(Some(b"k\"1"), Some(b"{\"id\": 1.10, \"a\":[true ,null]}"));
        let expected = r#"{"pos":"3:1042","ts":1763600000123,"key":"k\"1","data":{"id": 1.10, "a":[true ,null]}}"#;
        assert_eq!(said(&record), expected);
    }

    #[test]
    fn what_is_not_json_or_not_text_comes_in_base64() {
        let start = r#"{"pos":"3:1042","ts":1763600000123,"#;
        let data = |value: &'static [u8]| said(&record(None, Some(value)));
        assert_eq!(data(b"plain"), format!(r#"{start}"data_base64":"cGxhaW4="}}"#));
        assert_eq!(data(b""), format!(r#"{start}"data_base64":""}}"#));
        assert_eq!(data(b"{} {}"), format!(r#"{start}"data_base64":"e30ge30="}}"#));
        assert_eq!(data(b"\"\xff\""), format!(r#"{start}"data_base64":"Iv8i"}}"#));
        assert_eq!(data(b" 1 \n"), format!(r#"{start}"data":1}}"#));
        let key = record(Some(b"\xff\0"), Some(b"1"));
        assert_eq!(said(&key), format!(r#"{start}"key_base64":"/wA=","data":1}}"#));
    }

    #[test]
    fn a_record_without_value_is_said_to_be_deleted() {
        assert_eq!(said(&record(Some(b"k"), None)), r#"{"pos":"3:1042","ts":1763600000123,"key":"k","deleted":true}"#);
    }

    #[test]
    fn headers_keep_doubled_names_and_bytes() {
        let mut record = record(None, Some(b"1"));
        record.headers = vec![
            ("a".into(), "1".into()),
            ("b".into(), "2".into()),
            ("a".into(), "3".into()),
            ("c".into(), Bytes::from_static(b"\xff")),
        ];
        let headers = r#""headers":{"a":["1","3"],"b":"2"},"headers_base64":{"c":"/w=="}"#;
        assert_eq!(said(&record), format!(r#"{{"pos":"3:1042","ts":1763600000123,{headers},"data":1}}"#));
    }
}
