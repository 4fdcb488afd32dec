//! The one form of a value in JSON, written and read.
//!
//! | value | in JSON |
//! |---|---|
//! | null, true and false, text, list, map | themselves; the members of a map in their order |
//! | `I64`, `U64`, `Number` | a number, exact to the last digit |
//! | `F64` | a number, the shortest that means this double; `"NaN"`, `"Infinity"`, `"-Infinity"` as strings |
//! | `Decimal` | a string, `"12.50"`: most readers of JSON make a double of a number |
//! | `Bytes` | a string of standard base64 with padding (RFC 4648, section 4) |
//! | `Timestamp` | a string of RFC 3339 in UTC |
//!
//! [`decode`] with the [`Type`] of a value gives back an equal value. Typed reading is exact and no more lenient than
//! this: a whole number may be written `1.0` or `1e2`, a decimal may be a number, an `F64` is the double nearest to the
//! number (one beyond the largest is refused), and no other text is taken for a number. A [`Type::Number`] is read as any
//! number is without a type.
//!
//! With [`Type::Any`] nothing is guessed: strings stay text. Whole numbers become `I64`, else `U64`; a number with a
//! fraction or an exponent, and `-0`, becomes `F64` if the shortest text of that double means the same number; whatever
//! is left (`1e400`, `0.10000000000000001`, whole numbers of 20 digits and more) becomes [`Value::Number`], and beyond
//! its 100 digits and 10,000 places is refused. Nothing is lost in silence, and what is written again means the same JSON.
//!
//! The reader is our own: `serde_json` makes doubles of numbers, its switch for exact ones changes the type `Number`
//! for every crate in the build, and its raw values would scan a nested document once per level. Ours passes over the
//! text once. It takes what RFC 8259 takes in UTF-8, and refuses names that stand twice in a map, escapes that are no
//! character (half a surrogate pair), and what passes [`DecodeLimits`].

mod read;
mod scan;
mod write;

use std::fmt;

use bytes::Bytes;

use super::{Type, Value};

/// What a text may cost to read. A document past a bound is refused; nothing is reserved ahead of what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// How many lists and maps may stand in one another. The reader uses one frame of the stack for each, so this
    /// should not grow past some hundreds.
    pub depth: usize,
    /// How many values there may be in all, each list and map counted. A value takes some 40 bytes, so that two bytes
    /// of text (`0,`) may become twenty times as much.
    pub values: usize,
}

impl Default for DecodeLimits {
    /// 128 levels, as `serde_json` has it, and a million values, some 40 MB at worst.
    fn default() -> Self {
        Self { depth: 128, values: 1_000_000 }
    }
}

/// Why a text could not be read as a value: the first place at which it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong in general.
    pub kind: DecodeErrorKind,
    /// Where: a JSON pointer (RFC 6901) to the value at fault or the innermost one around it; empty for the whole. Of
    /// names longer than 64 characters the first 64 stand, and `…`.
    pub pointer: String,
    /// What is wrong, for the caller: lowercase, no full stop; of what was sent at most 64 characters are repeated.
    pub message: String,
}

/// What is wrong with a text in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// It is not JSON, or names a member twice, or is of a media type that cannot be read.
    Malformed,
    /// It is JSON, and means something that is not of the type.
    Mismatch,
    /// It passes a bound: of depth, of values, of digits.
    Limit,
}

impl DecodeError {
    pub(super) fn new(kind: DecodeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, pointer: String::new(), message: message.into() }
    }

    /// The same error seen from the container: `token` is the name or the index of the value it was found in.
    fn within(mut self, token: &str) -> Self {
        let token = shortened(token).replace('~', "~0").replace('/', "~1");
        self.pointer = format!("/{token}{}", self.pointer);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

impl std::error::Error for DecodeError {}

/// Reads a text as a value of this type, in time linear in its length.
///
/// # Errors
/// At the first place where the text is not JSON, means nothing of the type, or passes a limit.
pub fn decode(text: &[u8], expected: &Type, limits: DecodeLimits) -> Result<Value, DecodeError> {
    read::Reader::new(text, limits)?.whole(expected)
}

/// Writes a value in its one form, without white space. Recurses as deep as the value is.
pub fn encode(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(128);
    encode_into(value, &mut out);
    out.into()
}

/// Writes a value in its one form behind what stands in the buffer.
pub fn encode_into(value: &Value, out: &mut Vec<u8>) {
    write::value(value, out);
}

// Names and texts of a client in a message: as much as helps to find them.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
