//! One line of the access log.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use portolan_exchange::client::AddressText;
use portolan_exchange::value::Timestamp;
use portolan_exchange::{Clock, Moment};

/// Room for a line that is longer than most.
pub(super) const ROOM: usize = 1_024;

/// One line being written: a JSON object, its members in the order they are added.
pub struct Line<'a> {
    buffer: &'a mut Vec<u8>,
    second: &'a RefCell<Second>,
    begin: usize,
}

/// The name of a member as it stands before text in a line, made by `member!`: a line is written once for each request, of
/// pieces that are ready.
#[derive(Clone, Copy)]
pub struct Member(&'static str);

impl Member {
    /// A name between a comma and a colon, with the quote that text begins with; for `member!`.
    pub const fn piece(piece: &'static str) -> Self {
        Self(piece)
    }
}

/// The member of this name, in which nothing is to be escaped.
macro_rules! member {
    ($name:literal) => {
        $crate::access_log::Member::piece(concat!(",\"", $name, "\":\""))
    };
}
pub(crate) use member;

impl<'a> Line<'a> {
    pub(super) fn begin(buffer: &'a mut Vec<u8>, second: &'a RefCell<Second>) -> Self {
        buffer.reserve(ROOM);
        let begin = buffer.len();
        Self { buffer, second, begin }
    }

    pub(super) fn end(self) {
        // Every member has a comma before it; the first one's is where the object begins.
        match self.buffer.get_mut(self.begin) {
            Some(comma) => *comma = b'{',
            None => self.buffer.push(b'{'),
        }
        self.buffer.extend_from_slice(b"}\n");
    }

    /// Adds text.
    #[inline]
    pub fn text(&mut self, member: Member, value: &str) {
        self.piece(member.0.as_bytes());
        if is_plain(value.as_bytes()) {
            self.buffer.extend_from_slice(value.as_bytes());
        } else {
            escape(self.buffer, value);
        }
        self.buffer.push(b'"');
    }

    /// Adds text in which nothing is to be escaped: a word of ours, digits, a token, or a name of the configuration, which is made of
    /// letters, digits and `-_.`.
    #[inline]
    pub fn word(&mut self, member: Member, value: &[u8]) {
        debug_assert!(is_plain(value), "a word holds nothing to be escaped");
        self.piece(member.0.as_bytes());
        self.buffer.extend_from_slice(value);
        self.buffer.push(b'"');
    }

    /// Adds a number.
    #[inline(always)]
    pub fn number(&mut self, member: Member, value: u64) {
        let (name, _quote) = member.0.as_bytes().split_at(member.0.len() - 1);
        self.piece(name);
        match u8::try_from(value) {
            // As many are.
            Ok(digit @ ..10) => self.buffer.push(b'0' + digit),
            _ => self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Adds a duration in whole microseconds.
    #[inline(always)]
    pub fn micros(&mut self, member: Member, value: Duration) {
        self.number(member, value.as_secs().saturating_mul(1_000_000).saturating_add(value.subsec_micros().into()));
    }

    /// Adds the time of day at this moment, which has just come, as RFC 3339 in UTC with no or three digits behind the second.
    /// The system is asked for it once a second.
    pub fn time(&mut self, member: Member, clock: &Clock, now: Moment) {
        let mut second = self.second.borrow_mut();
        let within = second.within(now).unwrap_or_else(|| {
            *second = Second::of(clock.wall(), now);
            second.within(now).unwrap_or_default()
        });
        self.piece(member.0.as_bytes());
        self.buffer.extend_from_slice(second.text.as_bytes());
        let millis = within / 1_000_000;
        if millis > 0 {
            let [hundreds, tens, ones] = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
            self.buffer.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z', b'"']);
        } else {
            self.buffer.extend_from_slice(b"Z\"");
        }
    }

    /// Adds an address.
    #[inline]
    pub fn address(&mut self, member: Member, address: IpAddr) {
        self.word(member, AddressText::of(address).as_bytes());
    }

    // Inlined, so that a name is a few stores and no call.
    #[inline(always)]
    fn piece(&mut self, piece: &'static [u8]) {
        self.buffer.extend_from_slice(piece);
    }
}

/// The last second of the day that was written, as text: lines come thousands a second.
#[derive(Default)]
pub(super) struct Second {
    /// `2026-01-31T12:00:00`; nothing at first.
    text: String,
    /// Its end, by the clock that never goes back.
    end: Moment,
}

const SECOND: u64 = 1_000_000_000;

impl Second {
    /// The second of this time of day, which it is at this moment.
    #[cold]
    fn of(wall: SystemTime, now: Moment) -> Self {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let whole = i64::try_from(since.as_secs()).ok().and_then(|unix| unix.checked_mul(1_000));
        let text = whole.and_then(Timestamp::from_unix_millis).unwrap_or(Timestamp::EPOCH).to_string();
        let end = now.after(Duration::from_nanos(SECOND - u64::from(since.subsec_nanos())));
        Self { text: text.trim_end_matches('Z').to_owned(), end }
    }

    /// How many nanoseconds of it have gone by at a moment within it.
    fn within(&self, now: Moment) -> Option<u64> {
        let left = self.end.as_nanos().saturating_sub(now.as_nanos());
        (1..=SECOND).contains(&left).then(|| SECOND - left)
    }
}

struct Appending<'a>(&'a mut Vec<u8>);

impl fmt::Write for Appending<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Whether text can stand in a JSON string as it is (RFC 8259, section 7): hardly any cannot. Looks at eight bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    let (eights, rest) = text.as_chunks::<8>();
    let special = eights.iter().fold(0, |any, eight| any | marks(u64::from_le_bytes(*eight)));
    // The rest is looked at with what stands before it, or with nothing where that is too short.
    let last = match text.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0x2020_2020_2020_2020, |word, byte| word << 8 | u64::from(*byte)),
    };
    special | marks(last) == 0
}

/// A bit in the uppermost place of each byte that is a control, a quote or a backslash. A byte above such a one may get one, too,
/// which changes nothing: one is enough.
const fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const fn below(word: u64, byte: u8) -> u64 {
        word.wrapping_sub(ONES * byte as u64) & !word
    }
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    (below(word, 0x20) | below(quotes, 1) | below(backslashes, 1)) & (ONES << 7)
}

/// Appends text as the inside of a JSON string (RFC 8259, section 7).
#[cold]
fn escape(buffer: &mut Vec<u8>, text: &str) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !matches!(byte, 0..0x20 | b'"' | b'\\') {
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
        let mut buffer = b"before".to_vec();
        let second = RefCell::default();
        let mut line = Line::begin(&mut buffer, &second);
        line.text(member!("path"), "/a\"\\\n\u{1}é");
        line.number(member!("status"), 200);
        line.number(member!("none"), 0);
        line.number(member!("digit"), 9);
        line.number(member!("digits"), 10);
        line.micros(member!("gateway_us"), Duration::from_millis(3));
        line.word(member!("outcome"), b"completed");
        line.end();
        let read: serde_json::Value = serde_json::from_slice(&buffer[b"before".len()..]).unwrap();
        let written = serde_json::json!({
            "path": "/a\"\\\n\u{1}é", "status": 200, "none": 0, "digit": 9, "digits": 10, "gateway_us": 3000, "outcome": "completed",
        });
        assert_eq!(read, written);
    }

    #[test]
    fn a_line_of_nothing_is_an_empty_object() {
        let mut buffer = Vec::new();
        Line::begin(&mut buffer, &RefCell::default()).end();
        assert_eq!(buffer, b"{}\n");
    }

    #[test]
    fn a_byte_that_must_be_escaped_is_seen_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'~'; length];
                    text[at] = byte;
                    let must_be_escaped = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(is_plain(&text), !must_be_escaped, "{byte:#x} at {at} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
    }

    #[test]
    fn a_time_is_that_of_its_line_whatever_second_was_written_last() {
        let second = RefCell::default();
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let written = |millis| {
            let at = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            clock.advance(Duration::from_millis(millis) - at);
            let mut buffer = Vec::new();
            let mut line = Line::begin(&mut buffer, &second);
            line.time(member!("t"), &clock, clock.now());
            line.address(member!("v4"), "127.0.0.1".parse().unwrap());
            line.address(member!("v6"), "2001:db8::1".parse().unwrap());
            line.end();
            String::from_utf8(buffer).unwrap()
        };
        let line = |time| format!("{{\"t\":\"{time}\",\"v4\":\"127.0.0.1\",\"v6\":\"2001:db8::1\"}}\n");
        let day = 86_400_000;
        assert_eq!(written(0), line("1970-01-01T00:00:00Z"));
        assert_eq!(written(20), line("1970-01-01T00:00:00.020Z"));
        assert_eq!(written(999), line("1970-01-01T00:00:00.999Z"));
        assert_eq!(written(1_000), line("1970-01-01T00:00:01Z"));
        assert_eq!(written(day - 1), line("1970-01-01T23:59:59.999Z"));
        assert_eq!(written(day), line("1970-01-02T00:00:00Z"));
    }
}
