//! Tokens of JSON (RFC 8259): one pass over the text, every step forward.

use std::borrow::Cow;

use super::{DecodeError, DecodeErrorKind};

/// A text and how far it was read.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A number as it is written.
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    pub(super) form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Digits alone.
    Whole,
    /// With a fraction or an exponent.
    Fractional,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, DecodeError> {
        if text.starts_with(b"\xef\xbb\xbf") {
            return Err(malformed("begins with a byte order mark; JSON is sent without one".to_owned()));
        }
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Self { text, at: 0 }),
            Err(error) => Err(malformed(format!("not UTF-8 at byte {}", error.valid_up_to()))),
        }
    }

    /// The next byte that is not white space, not taken.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += space;
        rest.get(space).copied()
    }

    /// Takes this byte if it is the next that is not white space.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes the next byte that is not white space, which must be this one.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", char::from(byte)))) }
    }

    /// Takes the word `true`, `false` or `null` where it must stand.
    pub(super) fn word(&mut self, word: &str) -> Result<(), DecodeError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Makes sure that nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// What should have stood here, and what does.
    pub(super) fn unexpected(&mut self, expected: &str) -> DecodeError {
        let _ = self.peek();
        let found = match self.text[self.at..].chars().next() {
            Some(found) => format!("`{}`", found.escape_debug()),
            None if self.text.trim_ascii().is_empty() => {
                return malformed("empty, where a value was expected".to_owned());
            }
            None => "the end".to_owned(),
        };
        malformed(format!("expected {expected} at byte {}, found {found}", self.at))
    }

    /// Takes a number (RFC 8259, section 6).
    pub(super) fn number(&mut self) -> Result<Number<'a>, DecodeError> {
        let start = self.at;
        let mut form = Form::Whole;
        self.step_over(|byte| byte == b'-', 1);
        if self.step_over(|byte| byte == b'0', 1) == 0 {
            self.digits()?;
        } else if self.step_over(|byte| byte.is_ascii_digit(), 1) == 1 {
            return Err(malformed(format!("a number with a leading zero at byte {start}")));
        }
        if self.step_over(|byte| byte == b'.', 1) == 1 {
            form = Form::Fractional;
            self.digits()?;
        }
        if self.step_over(|byte| matches!(byte, b'e' | b'E'), 1) == 1 {
            form = Form::Fractional;
            self.step_over(|byte| matches!(byte, b'+' | b'-'), 1);
            self.digits()?;
        }
        Ok(Number { text: &self.text[start..self.at], form })
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        if self.step_over(|byte| byte.is_ascii_digit(), usize::MAX) == 0 {
            let at = self.at;
            return Err(malformed(format!("a number without its digits at byte {at}")));
        }
        Ok(())
    }

    // Steps over bytes of ASCII of one class; how many there were.
    fn step_over(&mut self, class: impl Fn(u8) -> bool, most: usize) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take(most).take_while(|byte| class(**byte)).count();
        self.at += count;
        count
    }

    /// Takes a string (RFC 8259, section 7), whose quotation mark must be next.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.expect(b'"')?;
        let first = self.plain()?;
        if self.text.as_bytes()[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(first));
        }
        let mut string = first.to_owned();
        loop {
            // A plain run ends at a quotation mark or at a backslash.
            let mark = self.text.as_bytes()[self.at];
            self.at += 1;
            if mark == b'"' {
                return Ok(Cow::Owned(string));
            }
            string.push(self.escaped()?);
            string.push_str(self.plain()?);
        }
    }

    // The run of characters up to the quotation mark or backslash that must follow.
    fn plain(&mut self) -> Result<&'a str, DecodeError> {
        let rest = &self.text[self.at..];
        let Some(length) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) else {
            self.at = self.text.len();
            return Err(self.unexpected("the end of a string"));
        };
        let run = &rest[..length];
        // Without an early end, the compiler looks at many bytes at once.
        if run.bytes().fold(false, |found, byte| found | (byte < 0x20)) {
            let control = run.bytes().position(|byte| byte < 0x20).unwrap_or(0);
            return Err(malformed(format!("a control character in a string at byte {}", self.at + control)));
        }
        self.at += length;
        Ok(run)
    }

    // The character that an escape means, its backslash taken.
    fn escaped(&mut self) -> Result<char, DecodeError> {
        let start = self.at - 1;
        let unknown = || malformed(format!("an escape that is no character at byte {start}"));
        let escape = *self.text.as_bytes().get(self.at).ok_or_else(unknown)?;
        self.at += 1;
        Ok(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.four_digits().ok_or_else(unknown)?;
                let code = match unit {
                    0xD800..0xDC00 => self.low_half().map(|low| 0x1_0000 + ((unit - 0xD800) << 10) + low),
                    _ => Some(unit),
                };
                code.and_then(char::from_u32).ok_or_else(unknown)?
            }
            _ => return Err(unknown()),
        })
    }

    // The ten bits of the second half of a surrogate pair, which must follow.
    fn low_half(&mut self) -> Option<u32> {
        let next = self.text.as_bytes()[self.at..].starts_with(b"\\u");
        if !next {
            return None;
        }
        self.at += 2;
        self.four_digits()?.checked_sub(0xDC00).filter(|low| *low < 0x400)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16)?;
        }
        self.at += 4;
        Some(code)
    }
}

fn malformed(message: String) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Malformed, message)
}
