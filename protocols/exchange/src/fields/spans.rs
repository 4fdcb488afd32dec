//! The places of fields in the bytes that hold them.

use std::fmt;
use std::ops::Range;

use super::names::{Name, Names};
use super::narrow;

/// The places of a head's fields, noted while it is read: [`Fields::received`](super::Fields::received) lays them over its bytes
/// once these are complete. Places count from the first byte of what will be given there.
#[derive(Default)]
pub struct Spans {
    entries: Vec<Entry>,
    names: Names,
    /// Where the last field ends, its CRLF included.
    reach: usize,
}

impl Spans {
    /// No places; allocates nothing.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), names: Names::NONE, reach: 0 }
    }

    /// Notes a field of this name.
    #[inline]
    pub fn push(&mut self, known: Name, name: Range<usize>, value: Range<usize>) {
        self.reach = self.reach.max(name.end).max(value.end);
        self.note(known, name, value, Written::Apart);
    }

    /// Notes a field that stands there as `name: value` with one space, followed by CRLF, which is no part of this range; its colon is at
    /// `colon`. Written again, it is copied as it stands, together with its neighbours
    /// ([`Fields::write_lines`](super::Fields::write_lines)). Whoever says so of other bytes breaks that head.
    #[inline]
    pub fn push_line(&mut self, known: Name, line: Range<usize>, colon: usize) {
        self.reach = self.reach.max(line.end + 2);
        self.note(known, line.start..colon, colon + 2..line.end, Written::AsLine);
    }

    /// How many fields were noted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no field was noted.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[inline]
    fn note(&mut self, known: Name, name: Range<usize>, value: Range<usize>, written: Written) {
        if self.entries.capacity() == 0 {
            // Most heads have fewer fields: one allocation for all of them.
            self.entries = Vec::with_capacity(16);
        }
        self.names.insert(known);
        // What does not fit is refused with the reach, before anybody looks.
        self.entries.push(Entry {
            name_at: name.start as u32,
            name_len: (name.end - name.start) as u32,
            value_at: value.start as u32,
            value_len: (value.end - value.start) as u32,
            known,
            written,
        });
    }

    /// The places as places in these bytes, and what names there are. Those outside of them are a defect of the caller and panic.
    pub(super) fn over(self, head: &[u8]) -> (Vec<Entry>, Names) {
        assert!(self.reach <= head.len(), "a field's span lies within the received head");
        narrow(self.reach);
        debug_assert!(
            self.entries.iter().all(|entry| entry.written == Written::Apart || entry.stands_as_line(head)),
            "what was noted as a line is one"
        );
        debug_assert!(
            self.entries.iter().all(|entry| entry.known == Name::of(&head[entry.name()])),
            "what was noted of a name is so"
        );
        (self.entries, self.names)
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spans({})", self.entries.len())
    }
}

/// Where a field stands.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) name_at: u32,
    pub(super) name_len: u32,
    pub(super) value_at: u32,
    pub(super) value_len: u32,
    pub(super) known: Name,
    pub(super) written: Written,
}

/// How a field stands there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// As a whole line of HTTP/1: `name: value`, then CRLF.
    AsLine,
    /// Name and value somewhere, with anything between them and behind.
    Apart,
}

impl Entry {
    #[inline]
    pub(super) fn name(self) -> Range<usize> {
        let at = self.name_at as usize;
        at..at + self.name_len as usize
    }

    #[inline]
    pub(super) fn value(self) -> Range<usize> {
        let at = self.value_at as usize;
        at..at + self.value_len as usize
    }

    /// The whole line, where it is written as one.
    #[inline]
    pub(super) fn line(self) -> Range<usize> {
        self.name_at as usize..self.value().end + 2
    }

    /// The bit of its name's length in a set of lengths.
    #[inline]
    pub(super) const fn length_bit(self) -> u64 {
        1 << (self.name_len % 64)
    }

    pub(super) fn stands_as_line(self, head: &[u8]) -> bool {
        let between = head.get(self.name().end..self.value().start);
        between == Some(b": ") && head.get(self.value().end..self.line().end) == Some(b"\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fields;
    use super::*;

    #[test]
    #[should_panic(expected = "within the received head")]
    fn a_span_outside_of_the_head_is_a_defect() {
        let mut spans = Spans::new();
        spans.push(Name::Other, 0..1, 3..9);
        let _ = Fields::received(b"a: 1", spans);
    }
}
