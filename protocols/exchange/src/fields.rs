//! Header fields: a flat list of names and values over the bytes of a head, in the order received, found without regard to case.

mod names;
mod spans;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use names::{Name, Names};
pub use spans::Spans;
use spans::{Entry, Written};

/// The fields of a head or the trailers.
///
/// A received head is kept as the bytes it came in and a list of places in them; what a policy sets is written behind them, and
/// what it takes out leaves its bytes where they are. Names and values are taken as they are: whoever builds a list from a client's bytes has
/// checked them (RFC 9110, section 5.1 and 5.5); [`Fields::add`] and [`Fields::set`] refuse what could break a head.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// What names there are, and perhaps some that were taken out again.
    names: Names,
}

impl Fields {
    /// An empty list.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), names: Names::NONE }
    }

    /// An empty list with room for so many fields and bytes.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        let mut list = Self::new();
        list.reserve(fields, bytes);
        list
    }

    /// A list over a copy of a received head whose fields were noted while it was read. Places outside of the bytes are a defect
    /// of the caller and panic.
    pub fn received(head: &[u8], spans: Spans) -> Self {
        let (entries, names) = spans.over(head);
        // With room for what a gateway adds: moving it all to a larger place would cost more.
        const ADDED: usize = 384;
        let mut bytes = Vec::with_capacity(head.len() + ADDED);
        bytes.extend_from_slice(head);
        Self { bytes, entries, names }
    }

    /// Makes room for so many more fields and bytes of names and values, so that adding them allocates at most once.
    pub fn reserve(&mut self, fields: usize, bytes: usize) {
        make_room(&mut self.entries, fields);
        make_room(&mut self.bytes, bytes + (BETWEEN.len() + LINE_END.len()) * fields);
    }

    /// Adds a field that is already known to be well-formed, behind those of the same name.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_named(Name::of(name), name, value);
    }

    /// As [`Fields::push`], of a name that is known beforehand: `start` is how the line begins, `name: `, and `known` what the name
    /// says.
    pub fn push_line<const START: usize>(&mut self, known: Name, start: &[u8; START], value: &[u8]) {
        debug_assert!(
            start.strip_suffix(b": ").is_some_and(|name| Name::of(name) == known),
            "a line begins with its name"
        );
        let at = self.room(START + value.len() + LINE_END.len());
        self.bytes.extend_from_slice(start);
        self.close_line(known, at, START - BETWEEN.len(), value);
    }

    /// Adds fields that `write` appends as lines, `name: value` and CRLF each: it returns the places of their names and values
    /// among all the bytes it is given. For several fields that are known to be well-formed, whose names say nothing
    /// ([`Name::Other`]), and most of whose text is ready.
    pub fn push_lines<const N: usize>(
        &mut self,
        room: usize,
        write: impl FnOnce(&mut Vec<u8>) -> [(Range<usize>, Range<usize>); N],
    ) {
        make_room(&mut self.entries, N);
        make_room(&mut self.bytes, room);
        for (name, value) in write(&mut self.bytes) {
            self.note_line(Name::Other, name, value);
        }
    }

    /// Adds a field behind those of the same name.
    ///
    /// # Errors
    /// When the name is no token or the value holds a control character (RFC 9110, section 5.1 and 5.5).
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidField> {
        check(name.as_bytes(), value.as_ref())?;
        self.push(name.as_bytes(), value.as_ref());
        Ok(())
    }

    /// Puts one field in the place of all of this name.
    ///
    /// # Errors
    /// When the name is no token or the value holds a control character (RFC 9110, section 5.1 and 5.5).
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidField> {
        check(name.as_bytes(), value.as_ref())?;
        match self.position(name.as_bytes()) {
            Some(at) => {
                // The last one, which it is, takes the place of the one that is taken out.
                self.push(name.as_bytes(), value.as_ref());
                self.entries.swap_remove(at);
                let mut index = 0;
                let mut rest = std::mem::take(&mut self.entries);
                rest.retain(|entry| {
                    let keep = index <= at || !self.name(*entry).eq_ignore_ascii_case(name.as_bytes());
                    index += 1;
                    keep
                });
                self.entries = rest;
            }
            None => self.push(name.as_bytes(), value.as_ref()),
        }
        Ok(())
    }

    /// Puts one field that is already known to be well-formed behind the others and in the place of all of this name.
    pub fn replace(&mut self, name: &str, value: &[u8]) {
        let known = Name::of(name.as_bytes());
        if self.names.has(known) {
            self.remove(name);
        }
        self.push_named(known, name.as_bytes(), value);
    }

    /// Removes all fields of this name; how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let Some(first) = self.position(name.as_bytes()) else { return 0 };
        self.entries.remove(first);
        // One is usually all there is.
        let mut removed = 1;
        while let Some(more) = self.position_from(first, name.as_bytes()) {
            self.entries.remove(more);
            removed += 1;
        }
        removed
    }

    /// Removes all fields whose names say one of these.
    pub fn remove_those(&mut self, names: Names) {
        if self.may_hold(names) {
            self.entries.retain(|entry| !names.has(entry.known));
            self.names = self.names.without(names);
        }
    }

    /// Keeps the fields for which `keep` holds; how many went.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> usize {
        let mut entries = std::mem::take(&mut self.entries);
        let before = entries.len();
        entries.retain(|entry| keep(self.name(*entry), self.value(*entry)));
        self.entries = entries;
        before - self.entries.len()
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.position(name.as_bytes()).map(|at| self.value(self.entries[at]))
    }

    /// The value of the first field of this name, if it is text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |entry: &&Entry| self.is_named(**entry, name.as_bytes());
        self.entries.iter().filter(named).map(|entry| self.value(*entry))
    }

    /// Whether there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name.as_bytes()).is_some()
    }

    /// Whether there may be a field whose name says one of these. There is none where this says no; where it says yes, all of them
    /// may have been taken out.
    #[inline]
    pub const fn may_hold(&self, names: Names) -> bool {
        self.names.has_any(names)
    }

    /// Whether a comma-separated list field holds this token (RFC 9110, section 5.6.1), without regard to case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| (self.name(*entry), self.value(*entry)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds all fields of another list behind these.
    pub fn append(&mut self, other: &Fields) {
        // As one piece, with the little in it that was taken out since.
        let by = narrow(self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        narrow(self.bytes.len());
        let moved = |entry: &Entry| Entry { name_at: entry.name_at + by, value_at: entry.value_at + by, ..*entry };
        self.entries.extend(other.entries.iter().map(moved));
        self.names = self.names.and(other.names);
    }

    /// Puts the fields of another list in the place of all of their names.
    pub fn lay_over(&mut self, other: &Fields) {
        if other.is_empty() {
            return;
        }
        // Most names differ in their length already.
        let lengths = other.entries.iter().fold(0, |lengths, entry| lengths | entry.length_bit());
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| lengths & entry.length_bit() == 0 || other.position(self.name(*entry)).is_none());
        self.entries = entries;
        self.append(other);
    }

    /// Writes the fields as lines of HTTP/1, each ended by CRLF, but those whose names say one of these. Neighbours that stand here
    /// as such lines are copied as one piece.
    pub fn write_lines(&self, out: &mut Vec<u8>, without: Names) {
        let mut run = 0..0;
        for entry in &self.entries {
            if without.has(entry.known) {
                continue;
            }
            if entry.written == Written::AsLine {
                let line = entry.line();
                if line.start == run.end {
                    run.end = line.end;
                } else {
                    out.extend_from_slice(&self.bytes[run]);
                    run = line;
                }
                continue;
            }
            out.extend_from_slice(&self.bytes[run]);
            run = 0..0;
            out.extend_from_slice(self.name(*entry));
            out.extend_from_slice(BETWEEN);
            out.extend_from_slice(self.value(*entry));
            out.extend_from_slice(LINE_END);
        }
        out.extend_from_slice(&self.bytes[run]);
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        let known = Name::of_plain(name);
        if known != Name::Other && !self.names.has(known) {
            return None;
        }
        self.position_from(0, name)
    }

    fn position_from(&self, from: usize, name: &[u8]) -> Option<usize> {
        self.entries[from..].iter().position(|entry| self.is_named(*entry, name)).map(|at| from + at)
    }

    // So little that it is inlined wherever fields are looked through. What the names say is not compared: most differ in their
    // length already.
    #[inline(always)]
    fn is_named(&self, entry: Entry, name: &[u8]) -> bool {
        entry.name_len as usize == name.len() && self.is_same(entry, name)
    }

    #[inline(never)]
    fn is_same(&self, entry: Entry, name: &[u8]) -> bool {
        // Many names come in small letters, as they are asked for, and are compared at once; others byte by byte.
        let own = self.name(entry);
        own == name || own.eq_ignore_ascii_case(name)
    }

    fn push_named(&mut self, known: Name, name: &[u8], value: &[u8]) {
        let at = self.room(name.len() + BETWEEN.len() + value.len() + LINE_END.len());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(BETWEEN);
        self.close_line(known, at, name.len(), value);
    }

    /// Makes room for a line of so many bytes; gives its place.
    #[inline]
    fn room(&mut self, line: usize) -> usize {
        // Where nothing is yet, room for what is usually added: growing step by step costs more than all of the fields.
        const USUAL: usize = 256;
        let is_new = self.bytes.capacity() == 0;
        make_room(&mut self.bytes, if is_new { line.max(USUAL) } else { line });
        self.bytes.len()
    }

    /// Ends the line that begins at `at`, and of which all is written that stands before the value.
    #[inline]
    fn close_line(&mut self, known: Name, at: usize, name: usize, value: &[u8]) {
        let value_at = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value_end = self.bytes.len();
        self.bytes.extend_from_slice(LINE_END);
        self.note_line(known, at..at + name, value_at..value_end);
    }

    /// Notes a field that stands here as a line, and what its name says.
    #[inline]
    fn note_line(&mut self, known: Name, name: Range<usize>, value: Range<usize>) {
        narrow(self.bytes.len());
        let entry = Entry {
            name_at: name.start as u32,
            name_len: name.len() as u32,
            value_at: value.start as u32,
            value_len: value.len() as u32,
            known,
            written: Written::AsLine,
        };
        debug_assert!(entry.stands_as_line(&self.bytes), "a line is `name: value` and CRLF");
        debug_assert_eq!(Name::of(&self.bytes[name]), known, "what a name says is known of that name");
        self.names.insert(known);
        self.entries.push(entry);
    }

    #[inline]
    fn name(&self, entry: Entry) -> &[u8] {
        &self.bytes[entry.name()]
    }

    #[inline]
    fn value(&self, entry: Entry) -> &[u8] {
        &self.bytes[entry.value()]
    }
}

/// Whether these bytes are a token (RFC 9110, section 5.6.2), as a field's name must be.
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                )
        })
}

/// Whether these bytes can stand in a head as a field's value (RFC 9110, section 5.5).
pub fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

fn check(name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
    if !is_token(name) {
        return Err(InvalidField::Name);
    }
    if !is_field_value(value) {
        return Err(InvalidField::Value);
    }
    Ok(())
}

/// What stands between name and value, and what behind, where a field is kept as a line of HTTP/1.
const BETWEEN: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// Makes room for so many more. Growing a list that has none yet costs more than a new one.
fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() == 0 {
        *list = Vec::with_capacity(more);
    } else {
        list.reserve(more);
    }
}

// Heads are bounded far below 4 GiB by the listener.
#[inline]
fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("a head is smaller than 4 GiB")
}

/// Why a field cannot stand in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidField {
    /// The name is no token.
    Name,
    /// The value holds a control character.
    Value,
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a field name is made of letters, digits and !#$%&'*+-.^_`|~",
            Self::Value => "a field value holds no control characters",
        })
    }
}

impl std::error::Error for InvalidField {}

/// Values are shown by their length only: a head may hold credentials.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            map.entry(&String::from_utf8_lossy(name), &format_args!("{} bytes", value.len()));
        }
        map.finish()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|((a, x), (b, y))| a.eq_ignore_ascii_case(b) && x == y)
    }
}
