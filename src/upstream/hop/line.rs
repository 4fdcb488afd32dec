//! A field's value in the making, on the stack while it is short.

use std::fmt;

/// Bytes that fit on the stack: three addresses, or one element of `Forwarded`.
const SHORT: usize = 128;

pub(super) struct Line {
    short: [u8; SHORT],
    len: usize,
    /// All of it, once it does not fit.
    long: Vec<u8>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { short: [0; SHORT], len: 0, long: Vec::new() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.len] } else { &self.long }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            if let Some(place) = self.short.get_mut(self.len..self.len + bytes.len()) {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
                return;
            }
            self.long.reserve(2 * (self.len + bytes.len()));
            self.long.extend_from_slice(&self.short[..self.len]);
        }
        self.long.extend_from_slice(bytes);
    }

    /// Adds what stands between two entries, where there is one already.
    pub(super) fn separate(&mut self, separator: &[u8]) {
        if !self.as_bytes().is_empty() {
            self.push(separator);
        }
    }

    /// Adds a quoted string (RFC 9110, section 5.6.4).
    pub(super) fn push_quoted(&mut self, text: &[u8]) {
        self.push(b"\"");
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                self.push(b"\\");
            }
            self.push(&[*byte]);
        }
        self.push(b"\"");
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
