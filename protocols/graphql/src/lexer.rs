//! Cuts a GraphQL document into tokens, and stops as soon as there are too many.
//!
//! The rules are those of the GraphQL specification (September 2025, section 2.1). Whitespace and byte order marks are
//! skipped; commas and comments mean nothing either, but are counted as tokens, because the validating library keeps
//! every one of them in its tree.

use crate::error::Stop;

/// One token: what it is and where it lies, in bytes from the start of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Bang,
    Dollar,
    Amp,
    OpenParen,
    CloseParen,
    Spread,
    Colon,
    Equals,
    At,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    Pipe,
    CloseBrace,
    Name,
    Int,
    Float,
    Text,
    End,
}

/// A piece of the document's text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The piece of `text` it names.
    pub(crate) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

/// Reads tokens one after the other; never looks at a byte twice.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: u64,
    max_tokens: u64,
}

impl<'a> Lexer<'a> {
    /// Reads `text`, which is shorter than 4 GiB, and stops after `max_tokens`.
    pub(crate) fn new(text: &'a str, max_tokens: u64) -> Self {
        Lexer { text, at: 0, tokens: 0, max_tokens }
    }

    /// How many tokens were read, commas and comments among them.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The next token; `End` at the end, as often as asked.
    pub(crate) fn next(&mut self) -> Result<Token, Stop> {
        self.skip_ignored()?;
        let start = self.at;
        let Some(byte) = self.peek() else { return Ok(self.token(TokenKind::End, start)) };
        self.count(start)?;
        let kind = match byte {
            b'!' => self.single(TokenKind::Bang),
            b'$' => self.single(TokenKind::Dollar),
            b'&' => self.single(TokenKind::Amp),
            b'(' => self.single(TokenKind::OpenParen),
            b')' => self.single(TokenKind::CloseParen),
            b':' => self.single(TokenKind::Colon),
            b'=' => self.single(TokenKind::Equals),
            b'@' => self.single(TokenKind::At),
            b'[' => self.single(TokenKind::OpenBracket),
            b']' => self.single(TokenKind::CloseBracket),
            b'{' => self.single(TokenKind::OpenBrace),
            b'|' => self.single(TokenKind::Pipe),
            b'}' => self.single(TokenKind::CloseBrace),
            b'.' => self.spread()?,
            b'"' => self.text()?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ if starts_name(byte) => self.name(),
            _ => return Err(self.unexpected(start)),
        };
        Ok(self.token(kind, start))
    }

    fn token(&self, kind: TokenKind, start: usize) -> Token {
        Token { kind, span: Span { start: start as u32, end: self.at as u32 } }
    }

    fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn count(&mut self, at: usize) -> Result<(), Stop> {
        self.tokens += 1;
        if self.tokens > self.max_tokens {
            return Err(Stop::Tokens { at: at as u32, value: self.tokens });
        }
        Ok(())
    }

    fn skip_ignored(&mut self) -> Result<(), Stop> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b',') => {
                    self.count(self.at)?;
                    self.at += 1;
                }
                Some(b'#') => {
                    self.count(self.at)?;
                    while !matches!(self.peek(), None | Some(b'\n' | b'\r')) {
                        self.at += 1;
                    }
                }
                // The byte order mark, U+FEFF.
                Some(0xEF) if self.text.as_bytes()[self.at..].starts_with(&[0xEF, 0xBB, 0xBF]) => self.at += 3,
                _ => return Ok(()),
            }
        }
    }

    fn spread(&mut self) -> Result<TokenKind, Stop> {
        if self.peek_at(1) == Some(b'.') && self.peek_at(2) == Some(b'.') {
            self.at += 3;
            return Ok(TokenKind::Spread);
        }
        Err(self.fail(self.at, "expected `...`"))
    }

    fn name(&mut self) -> TokenKind {
        while self.peek().is_some_and(continues_name) {
            self.at += 1;
        }
        TokenKind::Name
    }

    fn number(&mut self) -> Result<TokenKind, Stop> {
        let mut kind = TokenKind::Int;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.fail(self.at, "a number must not begin with a needless zero"));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            kind = TokenKind::Float;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            kind = TokenKind::Float;
        }
        match self.peek() {
            Some(byte) if byte == b'.' || starts_name(byte) => Err(self.fail(self.at, "a number must end here")),
            _ => Ok(kind),
        }
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fail(start, "expected a digit"));
        }
        Ok(())
    }

    fn text(&mut self) -> Result<TokenKind, Stop> {
        let start = self.at;
        self.at += 1;
        if self.peek() == Some(b'"') {
            self.at += 1;
            if self.peek() != Some(b'"') {
                return Ok(TokenKind::Text); // empty
            }
            self.at += 1;
            return self.block_text(start);
        }
        loop {
            match self.peek() {
                None => return Err(self.fail(start, "a string is not closed")),
                Some(b'\n' | b'\r') => return Err(self.fail(self.at, "a string must not contain a line break")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(TokenKind::Text);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => self.at += 1,
            }
        }
    }

    fn block_text(&mut self, start: usize) -> Result<TokenKind, Stop> {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            if bytes[self.at..].starts_with(b"\\\"\"\"") {
                self.at += 4;
            } else if bytes[self.at..].starts_with(b"\"\"\"") {
                self.at += 3;
                return Ok(TokenKind::Text);
            } else {
                self.at += 1;
            }
        }
        Err(self.fail(start, "a block string is not closed"))
    }

    fn escape(&mut self) -> Result<(), Stop> {
        match self.peek_at(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') if self.peek_at(2) == Some(b'{') => self.braced_unicode(),
            Some(b'u') => self.fixed_unicode(),
            _ => Err(self.fail(self.at, "an unknown escape in a string")),
        }
    }

    /// `\u{1F600}`: any number of digits that name a Unicode scalar value.
    fn braced_unicode(&mut self) -> Result<(), Stop> {
        let start = self.at;
        self.at += 3;
        let first = self.at;
        let mut value = 0_u32;
        while let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
            value = value.saturating_mul(16).saturating_add(digit);
            self.at += 1;
        }
        let names_a_character = self.at > first && char::from_u32(value).is_some();
        if !names_a_character || self.peek() != Some(b'}') {
            return Err(self.fail(start, "a Unicode escape names no character"));
        }
        self.at += 1;
        Ok(())
    }

    /// `\uD83D\uDE00`: four digits, and surrogates only in pairs.
    fn fixed_unicode(&mut self) -> Result<(), Stop> {
        let start = self.at;
        let leading = self.four_digits(start)?;
        if (0xD800..0xDC00).contains(&leading) {
            let trailing =
                if self.peek() == Some(b'\\') && self.peek_at(1) == Some(b'u') { self.four_digits(start)? } else { 0 };
            if !(0xDC00..0xE000).contains(&trailing) {
                return Err(self.fail(start, "half of a surrogate pair in a Unicode escape"));
            }
        } else if (0xDC00..0xE000).contains(&leading) {
            return Err(self.fail(start, "half of a surrogate pair in a Unicode escape"));
        }
        Ok(())
    }

    fn four_digits(&mut self, start: usize) -> Result<u32, Stop> {
        let mut value = 0;
        for ahead in 2..6 {
            let digit = self.peek_at(ahead).and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return Err(self.fail(start, "a Unicode escape needs four digits")) };
            value = value * 16 + digit;
        }
        self.at += 6;
        Ok(value)
    }

    fn unexpected(&self, at: usize) -> Stop {
        let character = self.text[at..].chars().next().unwrap_or_default();
        self.fail(at, &format!("unexpected character `{}`", character.escape_debug()))
    }

    fn fail(&self, at: usize, message: &str) -> Stop {
        Stop::Syntax { at: at as u32, message: message.to_owned() }
    }
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Result<Vec<TokenKind>, Stop> {
        let mut lexer = Lexer::new(text, 100);
        let mut kinds = Vec::new();
        loop {
            let token = lexer.next()?;
            if token.kind == TokenKind::End {
                return Ok(kinds);
            }
            kinds.push(token.kind);
        }
    }

    #[test]
    fn every_kind_of_token_is_recognised() {
        use TokenKind::*;
        let text = "\u{feff}! $ & ( ) ... : = @ [ ] { | } name _1 0 -12 1.5 -1e9 2E+3 \"\" \"a\\n\\u0041\" \"\"\"b\\\"\"\" \"\"\" # end";
        let expected = vec![
            Bang,
            Dollar,
            Amp,
            OpenParen,
            CloseParen,
            Spread,
            Colon,
            Equals,
            At,
            OpenBracket,
            CloseBracket,
            OpenBrace,
            Pipe,
            CloseBrace,
            Name,
            Name,
            Int,
            Int,
            Float,
            Float,
            Float,
            Text,
            Text,
            Text,
        ];
        assert_eq!(kinds(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_token_is_refused_at_its_place() {
        let cases = [
            ("a .. b", 2),
            ("01", 1),
            ("-", 1),
            ("1.", 2),
            ("1e", 2),
            ("1x", 1),
            ("1.0.0", 3),
            ("\"abc", 0),
            ("\"a\nb\"", 2),
            ("\"\\x\"", 1),
            ("\"\\u12\"", 1),
            ("\"\\uD800\"", 1),
            ("\"\\uDC00\"", 1),
            ("\"\\u{110000}\"", 1),
            ("\"\"\"abc", 0),
            ("a ; b", 2),
            ("a é", 2),
        ];
        for (text, place) in cases {
            match kinds(text) {
                Err(Stop::Syntax { at, .. }) => assert_eq!(at, place, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn surrogates_are_accepted_in_pairs_and_braces_name_any_character() {
        assert_eq!(kinds("\"\\uD83D\\uDE00\\u{1F600}\"").unwrap(), vec![TokenKind::Text]);
    }

    #[test]
    fn commas_and_comments_count_and_one_token_too_many_stops_the_reading() {
        let mut lexer = Lexer::new("a,b#c\nd e", 5);
        for _ in 0..3 {
            lexer.next().unwrap();
        }
        assert_eq!(lexer.next(), Err(Stop::Tokens { at: 8, value: 6 }));
    }
}
