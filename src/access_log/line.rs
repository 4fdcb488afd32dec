//! One line of the access log.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use portolan_exchange::client::AddressText;
use portolan_exchange::value::Timestamp;

/// One line being written: a JSON object, its members in the order they are added.
pub struct Line<'a> {
    buffer: &'a mut Vec<u8>,
    second: &'a RefCell<Second>,
    first: bool,
}

impl<'a> Line<'a> {
    pub(super) fn begin(buffer: &'a mut Vec<u8>, second: &'a RefCell<Second>) -> Self {
        // About as long as a line is.
        buffer.reserve(512);
        buffer.push(b'{');
        Self { buffer, second, first: true }
    }

    pub(super) fn end(self) {
        self.buffer.extend_from_slice(b"}\n");
    }

    /// Adds text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.buffer.push(b'"');
        escape(self.buffer, value);
        self.buffer.push(b'"');
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Adds a duration in whole microseconds.
    pub fn micros(&mut self, name: &str, value: Duration) {
        self.number(name, u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a time, as RFC 3339 in UTC with no or three digits behind the second.
    pub fn time(&mut self, name: &str, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.name(name);
        self.buffer.push(b'"');
        let mut second = self.second.borrow_mut();
        if second.unix != unix || second.text.is_empty() {
            let whole = unix.checked_mul(1_000).and_then(Timestamp::from_unix_millis);
            let text = whole.unwrap_or(Timestamp::EPOCH).to_string();
            *second = Second { unix, text: text.trim_end_matches('Z').to_owned() };
        }
        self.buffer.extend_from_slice(second.text.as_bytes());
        let millis = since.subsec_millis();
        if millis > 0 {
            let digits = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b"0123456789"[digit as usize]);
            self.buffer.push(b'.');
            self.buffer.extend_from_slice(&digits);
        }
        self.buffer.extend_from_slice(b"Z\"");
    }

    /// Adds an address.
    pub fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(AddressText::of(address).as_bytes());
        self.buffer.push(b'"');
    }

    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.buffer.push(b',');
        }
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }
}

/// The last second that was written, as text: lines come thousands a second.
#[derive(Default)]
pub(super) struct Second {
    unix: i64,
    // `2026-01-31T12:00:00`; nothing at first.
    text: String,
}

struct Appending<'a>(&'a mut Vec<u8>);

impl fmt::Write for Appending<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends text as the inside of a JSON string (RFC 8259, section 7).
fn escape(buffer: &mut Vec<u8>, text: &str) {
    // Without a branch for each byte, so that the compiler takes many at a time; hardly any text has one.
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    if !text.bytes().fold(false, |any, byte| any | special(byte)) {
        buffer.extend_from_slice(text.as_bytes());
        return;
    }
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !special(byte) {
            continue;
        }
        buffer.extend_from_slice(&text.as_bytes()[from..at]);
        match byte {
            b'"' => buffer.extend_from_slice(b"\\\""),
            b'\\' => buffer.extend_from_slice(b"\\\\"),
            control => {
                let _ = write!(Appending(buffer), "\\u{control:04x}");
            }
        }
        from = at + 1;
    }
    buffer.extend_from_slice(&text.as_bytes()[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_stands_in_it() {
        let mut buffer = Vec::new();
        let second = RefCell::default();
        let mut line = Line::begin(&mut buffer, &second);
        line.text("path", "/a\"\\\n\u{1}é");
        line.number("status", 200);
        line.micros("gateway_us", Duration::from_millis(3));
        line.end();
        let read: serde_json::Value = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(read, serde_json::json!({ "path": "/a\"\\\n\u{1}é", "status": 200, "gateway_us": 3000 }));
    }

    #[test]
    fn a_time_is_that_of_its_line_whatever_second_was_written_last() {
        let second = RefCell::default();
        let written = |millis| {
            let mut buffer = Vec::new();
            let mut line = Line::begin(&mut buffer, &second);
            line.time("t", SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            line.address("v4", "127.0.0.1".parse().unwrap());
            line.address("v6", "2001:db8::1".parse().unwrap());
            line.end();
            String::from_utf8(buffer).unwrap()
        };
        let line = |time| format!("{{\"t\":\"{time}\",\"v4\":\"127.0.0.1\",\"v6\":\"2001:db8::1\"}}\n");
        let day = 86_400_000;
        assert_eq!(written(0), line("1970-01-01T00:00:00Z"));
        assert_eq!(written(20), line("1970-01-01T00:00:00.020Z"));
        assert_eq!(written(day - 1), line("1970-01-01T23:59:59.999Z"));
        assert_eq!(written(day), line("1970-01-02T00:00:00Z"));
    }
}
