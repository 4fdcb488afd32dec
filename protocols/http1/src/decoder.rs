//! Finds the end of a message's content, and takes chunks apart (RFC 9112, section 6 and 7).

use std::ops::Range;

use portolan_exchange::fields::Names;
use portolan_exchange::{Fields, Size};

use crate::section::{Section, trailer_bounds};
use crate::{Framing, Limits, Refusal, is_hop_by_hop, scan};

/// How many bytes the chunk extensions of one body may have in all. Nobody sends any; without this bound a body of
/// one-byte chunks could carry 250 times its size in them.
pub const EXTENSIONS: usize = 16 << 10;

/// Reads the content of one message.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of chunk extensions so far.
    extensions: usize,
}

#[derive(Debug)]
enum State {
    /// So many bytes are still to come.
    Length(u64),
    UntilClose,
    /// In the size of a chunk: what its digits gave so far, and how many there were.
    Size {
        size: u64,
        digits: usize,
    },
    /// In the extensions of a chunk, so many bytes into its line.
    Extension {
        size: u64,
        line: usize,
        place: Place,
    },
    /// At the line feed behind a chunk's size.
    SizeEnd {
        size: u64,
    },
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// At the carriage return behind a chunk's data.
    ChunkEnd,
    /// At the line feed behind a chunk's data.
    ChunkLineFeed,
    Trailers(Section),
    Ended,
    Refused(Refusal),
}

/// Where in a chunk extension (RFC 9112, section 7.1.1); no space is taken around its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind `;`.
    NameStart,
    Name,
    /// Behind `=`.
    ValueStart,
    Value,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
    /// Behind the closing quote.
    QuoteEnd,
}

/// What came of some bytes. So many of them are `consumed`; the others are given again, with more behind them.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Content: these of the bytes.
    Data {
        /// Where they stand.
        range: Range<usize>,
        /// At least up to the end of the range.
        consumed: usize,
    },
    /// The trailers, and with them the end of the body.
    Trailers {
        /// At least one field.
        fields: Fields,
        /// Up to the end of the message.
        consumed: usize,
    },
    /// The end of the body.
    End {
        /// Up to the end of the message.
        consumed: usize,
    },
    /// More bytes are needed.
    More {
        /// What is not needed again.
        consumed: usize,
    },
}

impl Decoder {
    /// A decoder of a body that is framed so; it allocates nothing before the first trailer.
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, extensions: 0 }
    }

    /// Whether the body has come to its end. It may have at once.
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// How many bytes of content are still to come.
    pub const fn size(&self) -> Size {
        match self.state {
            State::Ended => Size::Exact(0),
            State::Length(left) => Size::Exact(left),
            _ => Size::Unknown,
        }
    }

    /// Reads on in `bytes`, which begin with those not consumed before. Not to be called after the end. Content comes
    /// without a copy: one piece reaches as far as the bytes do, or as its chunk does.
    ///
    /// # Errors
    /// As soon as a rule or a limit is broken, and from then on.
    pub fn decode(&mut self, bytes: &[u8], limits: &Limits) -> Result<Piece, Refusal> {
        let piece = self.advance(bytes, limits);
        if let Err(refusal) = piece {
            self.state = State::Refused(refusal);
        }
        piece
    }

    /// The sender closed its side. This ends a body that has no other end.
    ///
    /// # Errors
    /// [`Refusal::CutOff`] when content was still to come.
    pub fn close(&mut self) -> Result<(), Refusal> {
        match self.state {
            State::UntilClose | State::Ended => {
                self.state = State::Ended;
                Ok(())
            }
            State::Refused(refusal) => Err(refusal),
            _ => {
                self.state = State::Refused(Refusal::CutOff);
                Err(Refusal::CutOff)
            }
        }
    }

    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Piece, Refusal> {
        let mut at = 0;
        loop {
            if let State::Trailers(section) = &mut self.state {
                let Some(length) = read_trailers(section, &bytes[at..], limits)? else {
                    return Ok(Piece::More { consumed: at });
                };
                let (fields, consumed) = (section.fields(&bytes[at..], length), at + length);
                self.state = State::Ended;
                let none = fields.is_empty();
                return Ok(if none { Piece::End { consumed } } else { Piece::Trailers { fields, consumed } });
            }
            if let State::Refused(refusal) = self.state {
                return Err(refusal);
            }
            if let State::Ended = self.state {
                return Ok(Piece::End { consumed: at });
            }
            let Some(byte) = bytes.get(at) else { return Ok(Piece::More { consumed: at }) };
            match &mut self.state {
                State::UntilClose => return Ok(Piece::Data { range: at..bytes.len(), consumed: bytes.len() }),
                State::Length(left) | State::Chunk(left) => {
                    let range = at..at + usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    *left -= range.len() as u64;
                    match self.state {
                        State::Length(0) => self.state = State::Ended,
                        State::Chunk(0) => self.state = State::ChunkEnd,
                        _ => {}
                    }
                    return Ok(Piece::Data { consumed: range.end, range });
                }
                _ => self.chunk_byte(*byte, limits)?,
            }
            at += 1;
        }
    }

    /// Takes a byte of what stands between the data of chunks.
    fn chunk_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Refusal> {
        scan::looked(1);
        self.state = match self.state {
            State::Size { size, digits } => match (byte, digits) {
                (b'\r', 1..) => State::SizeEnd { size },
                (b';', 1..) => self.extension(size, digits, Place::NameStart, limits)?,
                _ => digit(size, digits, byte, limits)?,
            },
            State::Extension { size, line, place } => match (byte, place) {
                (b'\r', Place::Name | Place::Value | Place::QuoteEnd) => State::SizeEnd { size },
                _ => self.extension(size, line, next_place(place, byte)?, limits)?,
            },
            State::SizeEnd { .. } if byte != b'\n' => return Err(Refusal::BareCarriageReturn),
            State::SizeEnd { size: 0 } => State::Trailers(Section::new(0)),
            State::SizeEnd { size } => State::Chunk(size),
            State::ChunkEnd if byte == b'\r' => State::ChunkLineFeed,
            State::ChunkLineFeed if byte == b'\n' => State::Size { size: 0, digits: 0 },
            _ => return Err(Refusal::ChunkEnd),
        };
        Ok(())
    }

    /// The state behind one more byte of an extension.
    fn extension(&mut self, size: u64, line: usize, place: Place, limits: &Limits) -> Result<State, Refusal> {
        if line == limits.chunk_line {
            return Err(Refusal::ChunkLineTooLong);
        }
        if self.extensions == EXTENSIONS {
            return Err(Refusal::ExtensionsTooLong);
        }
        self.extensions += 1;
        Ok(State::Extension { size, line: line + 1, place })
    }
}

/// How many digits a chunk's size may have: as many as the largest number that can be told has.
const SIZE_DIGITS: usize = 16;

/// The state behind one more digit of a chunk's size.
fn digit(size: u64, digits: usize, byte: u8, limits: &Limits) -> Result<State, Refusal> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\n' if digits > 0 => return Err(Refusal::BareLineFeed),
        _ => return Err(Refusal::ChunkSize),
    };
    if digits == SIZE_DIGITS {
        return Err(Refusal::ChunkSize);
    }
    if digits == limits.chunk_line {
        return Err(Refusal::ChunkLineTooLong);
    }
    let size = size << 4 | u64::from(value);
    if i64::try_from(size).is_err() {
        return Err(Refusal::ChunkTooLarge);
    }
    Ok(State::Size { size, digits: digits + 1 })
}

/// Where one more byte of an extension leads to.
fn next_place(place: Place, byte: u8) -> Result<Place, Refusal> {
    let token = scan::token(&[byte], 0) == 1;
    match (place, byte) {
        (Place::Quoted, b'"') => Ok(Place::QuoteEnd),
        (Place::Quoted, b'\\') => Ok(Place::Escaped),
        (Place::Quoted | Place::Escaped, b'\t' | b' '..=0x7e | 0x80..) => Ok(Place::Quoted),
        (_, b'\n') => Err(Refusal::BareLineFeed),
        (Place::Name | Place::Value | Place::QuoteEnd, b';') => Ok(Place::NameStart),
        (Place::Name, b'=') => Ok(Place::ValueStart),
        (Place::NameStart | Place::Name, _) if token => Ok(Place::Name),
        (Place::ValueStart, b'"') => Ok(Place::Quoted),
        (Place::ValueStart | Place::Value, _) if token => Ok(Place::Value),
        _ => Err(Refusal::ChunkExtension),
    }
}

fn read_trailers(section: &mut Section, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
    section.read(bytes, &trailer_bounds(limits), limits.fields, Names::ALL, |field| {
        if is_allowed_in_trailers(field.name()) { Ok(()) } else { Err(Refusal::ForbiddenTrailer) }
    })
}

/// Whether a field may come behind the content: not what frames or routes a message, speaks of its connection, carries
/// credentials, conditions or expectations, or says how the content is to be read (RFC 9110, section 6.5.1). Whoever passed the
/// head on has decided on these already.
pub fn is_allowed_in_trailers(name: &[u8]) -> bool {
    const OF_HEADS: [&[u8]; 14] = [
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"content_length",
        b"cookie",
        b"expect",
        b"host",
        b"max-forwards",
        b"range",
        b"set-cookie",
        b"transfer_encoding",
        b"www-authenticate",
    ];
    !is_hop_by_hop(name) && !OF_HEADS.iter().any(|known| name.eq_ignore_ascii_case(known))
}
