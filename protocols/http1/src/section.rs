//! Reads lines: the bounds within which a line may be looked at, and the section of fields that ends a head or a body.

use std::ops::Range;

use portolan_exchange::fields::{Name, Names, Spans};
use portolan_exchange::{Fields, Version};

use crate::{Limits, Refusal, scan};

/// How long a line and the whole that it stands in may become, and what is refused beyond.
pub(crate) struct Bounds {
    /// Bytes of a line without its CRLF.
    pub line: usize,
    pub line_refusal: Refusal,
    /// Bytes of the whole, from its first byte on.
    pub whole: usize,
    pub whole_refusal: Refusal,
}

impl Bounds {
    /// Whether a line of this length that begins at `start` is within them.
    #[inline]
    fn hold(&self, start: usize, line: usize) -> bool {
        line <= self.line && start + line + 2 <= self.whole
    }

    /// What may be looked at of the line that begins at `start`.
    pub(crate) fn window<'a>(&self, bytes: &'a [u8], start: usize) -> Window<'a> {
        let line_end = start.saturating_add(self.line).saturating_add(2);
        let (end, refusal) =
            if line_end <= self.whole { (line_end, self.line_refusal) } else { (self.whole, self.whole_refusal) };
        if bytes.len() < end {
            Window { bytes, beyond: None }
        } else {
            Window { bytes: &bytes[..end], beyond: Some(refusal) }
        }
    }
}

/// The bounds of the first line of a head.
pub(crate) const fn line_bounds(limits: &Limits) -> Bounds {
    Bounds {
        line: limits.line,
        line_refusal: Refusal::LineTooLong,
        whole: limits.head,
        whole_refusal: Refusal::HeadTooLong,
    }
}

/// The bounds of the fields of a head.
pub(crate) const fn field_bounds(limits: &Limits) -> Bounds {
    Bounds {
        line: limits.field,
        line_refusal: Refusal::FieldTooLong,
        whole: limits.head,
        whole_refusal: Refusal::HeadTooLong,
    }
}

/// The bounds of trailers.
pub(crate) const fn trailer_bounds(limits: &Limits) -> Bounds {
    Bounds {
        line: limits.field,
        line_refusal: Refusal::FieldTooLong,
        whole: limits.trailers,
        whole_refusal: Refusal::TrailersTooLong,
    }
}

/// How long a version is: `HTTP/1.1`.
pub(crate) const VERSION_LENGTH: usize = 8;

/// Reads the version that begins at `at`.
pub(crate) fn version(window: &Window<'_>, at: usize) -> Result<Option<Version>, Refusal> {
    let there = window.bytes.get(at..).unwrap_or_default();
    scan::looked(there.len().min(VERSION_LENGTH));
    match there.first_chunk::<VERSION_LENGTH>() {
        Some(b"HTTP/1.1") => return Ok(Some(Version::Http11)),
        Some(b"HTTP/1.0") => return Ok(Some(Version::Http10)),
        _ => {}
    }
    for (place, (byte, expected)) in there.iter().zip(b"HTTP/1.1").enumerate() {
        match place {
            5 | 7 if byte == expected || (place == 7 && *byte == b'0') => {}
            5 | 7 if byte.is_ascii_digit() => return Err(Refusal::VersionUnsupported),
            _ if byte != expected => return window.misplaced(at + place, Refusal::Version),
            _ => {}
        }
    }
    window.more()
}

/// The bytes up to the bound of a line, or up to where they have arrived. Whoever judges only what stands in here judges
/// the same bytes in the same order, in however many pieces they arrive.
pub(crate) struct Window<'a> {
    pub bytes: &'a [u8],
    /// Why nothing beyond these bytes is looked at, when it is not that they are still to come.
    beyond: Option<Refusal>,
}

impl Window<'_> {
    /// The answer when the bytes in here are not enough.
    pub(crate) fn more<T>(&self) -> Result<Option<T>, Refusal> {
        match self.beyond {
            Some(refusal) => Err(refusal),
            None => Ok(None),
        }
    }

    /// The answer to a byte that does not belong where it stands: what it does to the line, or else `otherwise`.
    #[cold]
    pub(crate) fn misplaced<T>(&self, at: usize, otherwise: Refusal) -> Result<Option<T>, Refusal> {
        scan::looked(2);
        match self.bytes[at] {
            b'\n' => Err(Refusal::BareLineFeed),
            b'\r' => match self.bytes.get(at + 1) {
                None => self.more(),
                Some(b'\n') => Err(otherwise),
                Some(_) => Err(Refusal::BareCarriageReturn),
            },
            b'\t' => Err(otherwise),
            ..=0x1f | 0x7f => Err(Refusal::ControlByte),
            _ => Err(otherwise),
        }
    }

    /// Where the next line begins, when `at` is the place of a carriage return.
    pub(crate) fn next_line(&self, at: usize) -> Result<Option<usize>, Refusal> {
        scan::looked(1);
        match self.bytes.get(at + 1) {
            None => self.more(),
            Some(b'\n') => Ok(Some(at + 2)),
            Some(_) => Err(Refusal::BareCarriageReturn),
        }
    }
}

/// Reads field lines up to and with the empty line that ends them. Resumable: it is given the same bytes again with more
/// behind them and goes on where it stopped.
#[derive(Debug)]
pub(crate) struct Section {
    /// The first byte of the first field: places are noted from here.
    start: usize,
    /// The first byte of this line.
    line: usize,
    /// The next byte to look at.
    at: usize,
    stage: Stage,
    name_end: usize,
    value_start: usize,
    spans: Spans,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    LineStart,
    Name,
    /// The space between colon and value.
    Gap,
    Value,
    /// At the carriage return that ends a field.
    FieldEnd,
    /// At the carriage return of the empty line.
    SectionEnd,
}

impl Section {
    /// A section that begins at this byte.
    pub(crate) const fn new(start: usize) -> Self {
        Self {
            start,
            line: start,
            at: start,
            stage: Stage::LineStart,
            name_end: 0,
            value_start: 0,
            spans: Spans::new(),
        }
    }

    /// Reads on. `take` is shown each field whose name says one of `shown`. Gives the place behind the empty line; then
    /// [`Section::fields`] has the fields.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
        most: usize,
        shown: Names,
        mut take: impl FnMut(FieldLine<'_>) -> Result<(), Refusal>,
    ) -> Result<Option<usize>, Refusal> {
        loop {
            if self.stage == Stage::LineStart {
                self.read_plain(bytes, bounds, most, shown, &mut take)?;
            }
            let window = bounds.window(bytes, self.line);
            if self.stage == Stage::LineStart {
                match window.bytes.get(self.at) {
                    None => return window.more(),
                    Some(b'\r') => self.stage = Stage::SectionEnd,
                    Some(b' ' | b'\t') => return Err(Refusal::Folded),
                    Some(_) if self.spans.len() == most => return Err(Refusal::TooManyFields),
                    Some(_) => self.stage = Stage::Name,
                }
            }
            if self.stage == Stage::SectionEnd {
                return window.next_line(self.at);
            }
            if self.stage == Stage::Name {
                self.at = scan::token(window.bytes, self.at);
                match window.bytes.get(self.at) {
                    None => return window.more(),
                    Some(b':') if self.at > self.line => {}
                    Some(byte) => return window.misplaced(self.at, wrong_name(*byte, self.at - self.line)),
                }
                self.name_end = self.at;
                self.at += 1;
                self.stage = Stage::Gap;
            }
            if self.stage == Stage::Gap {
                self.at = scan::space(window.bytes, self.at);
                if self.at == window.bytes.len() {
                    return window.more();
                }
                self.value_start = self.at;
                self.stage = Stage::Value;
            }
            if self.stage == Stage::Value {
                self.at = scan::text(window.bytes, self.at);
                match window.bytes.get(self.at) {
                    None => return window.more(),
                    Some(b'\r') => self.stage = Stage::FieldEnd,
                    Some(b'\n') => return Err(Refusal::BareLineFeed),
                    Some(_) => return Err(Refusal::ControlByte),
                }
            }
            if window.next_line(self.at)?.is_none() {
                return Ok(None);
            }
            let line = &bytes[self.line..self.at];
            let colon = self.name_end - self.line;
            let known = Name::of(&line[..colon]);
            let field = FieldLine::of(line, self.line, colon, self.value_start - self.line, known);
            if shown.has(known) {
                take(field.clone())?;
            }
            self.keep(&field);
        }
    }

    /// Reads lines as long as they are here whole and plainly written, and nothing is wrong with them: so it is with nearly all. Every
    /// other line is looked at once more, step by step.
    #[inline]
    fn read_plain(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
        most: usize,
        shown: Names,
        take: &mut impl FnMut(FieldLine<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut start = self.line;
        while self.spans.len() < most
            && let Some(rest @ [first, ..]) = bytes.get(start..)
            && *first != b'\r'
            && let Some(field) = FieldLine::plain(rest, start)
            && bounds.hold(start, field.line.len())
        {
            let (line, end) = (start - self.start, start + field.line.len());
            self.spans.push_line(field.known, line..end - self.start, line + field.colon);
            if shown.has(field.known) {
                take(field)?;
            }
            start = end + 2;
        }
        self.line = start;
        self.at = start;
        Ok(())
    }

    /// The fields that were read, over a copy of their bytes, when `end` is what [`Section::read`] gave.
    pub(crate) fn fields(&mut self, bytes: &[u8], end: usize) -> Fields {
        Fields::received(&bytes[self.start..end - 2], std::mem::take(&mut self.spans))
    }

    /// Notes a field, and goes on behind it.
    fn keep(&mut self, field: &FieldLine<'_>) {
        let start = field.start - self.start;
        let (colon, end) = (start + field.colon, start + field.value.end);
        if field.is_plain() {
            self.spans.push_line(field.known, start..end, colon)
        } else {
            self.spans.push(field.known, start..colon, start + field.value.start..end)
        }
        self.line = field.start + field.line.len() + 2;
        self.at = self.line;
        self.stage = Stage::LineStart;
    }
}

/// A field as it was written.
#[derive(Clone)]
pub(crate) struct FieldLine<'a> {
    /// Without its CRLF.
    line: &'a [u8],
    /// Where the line begins in the head.
    start: usize,
    /// Where the colon stands in the line.
    colon: usize,
    /// Where the value stands in the line, without the space around it.
    value: Range<usize>,
    /// What its name says.
    pub(crate) known: Name,
}

impl<'a> FieldLine<'a> {
    /// The field at the beginning of these bytes, which begin at `start`, where all of its line is there, written as `name: value` with
    /// one space and with visible characters of ASCII alone.
    #[inline(always)]
    fn plain(bytes: &'a [u8], start: usize) -> Option<Self> {
        let (colon, known) = scan::plain_name(bytes)?;
        let value = colon + 2;
        if bytes.get(colon + 1) != Some(&b' ') || matches!(bytes.get(value), Some(b' ')) {
            return None;
        }
        let end = scan::visible(bytes, value);
        scan::looked(end + 2 - value);
        if bytes.get(end..)?.first_chunk() != Some(b"\r\n") || bytes[end - 1] == b' ' && end > value {
            return None;
        }
        Some(Self { line: &bytes[..end], start, colon, value: value..end, known })
    }

    fn of(line: &'a [u8], start: usize, colon: usize, value_start: usize, known: Name) -> Self {
        let mut end = line.len();
        while end > value_start && matches!(line[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        scan::looked(line.len() - end + 1);
        Self { line, start, colon, value: value_start..end, known }
    }

    pub(crate) fn name(&self) -> &'a [u8] {
        &self.line[..self.colon]
    }

    pub(crate) fn value(&self) -> &'a [u8] {
        &self.line[self.value.clone()]
    }

    /// Where the value stands in the head.
    pub(crate) fn value_place(&self) -> Range<usize> {
        self.start + self.value.start..self.start + self.value.end
    }

    /// Whether a tab is part of the space around the value.
    pub(crate) fn has_tab_beside(&self) -> bool {
        if self.is_plain() {
            return false;
        }
        let (before, behind) = (&self.line[self.colon + 1..self.value.start], &self.line[self.value.end..]);
        scan::looked(before.len() + behind.len());
        before.contains(&b'\t') || behind.contains(&b'\t')
    }

    /// Whether it is written as `name: value` with one space and no more.
    #[inline]
    fn is_plain(&self) -> bool {
        self.value.start == self.colon + 2 && self.line[self.colon + 1] == b' ' && self.value.end == self.line.len()
    }
}

#[cold]
fn wrong_name(byte: u8, length: usize) -> Refusal {
    match byte {
        b' ' | b'\t' if length > 0 => Refusal::SpaceBeforeColon,
        b'\r' => Refusal::MissingColon,
        _ => Refusal::FieldName,
    }
}
