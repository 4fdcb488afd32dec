//! Just enough HTTP/1.1 to tell where a message ends: status, length, and whether the connection goes on.
//!
//! The generator and the upstream both read with it. It trusts its peer where a gateway must not: it is a stopwatch,
//! not a judge. What it cannot measure (a body without a length) is an error rather than a guess.

use memchr::{memchr, memmem};

/// A head beyond this is a fault of the peer: the scenarios' heads have a few hundred bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// What the start line and the framing headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status of a response; 0 for a request.
    pub status: u16,
    /// Bytes of body that follow the head.
    pub content_length: u64,
    /// Whether the sender closes after this message.
    pub connection: Connection,
}

/// Whether a connection serves another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It does, as is the rule in HTTP/1.1.
    KeepAlive,
    /// The sender closes it.
    Close,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All bytes given were taken and more are needed.
    Partial,
    /// The message is whole; `used` of the bytes given last belonged to it.
    Whole {
        /// What its head said.
        head: Head,
        /// Bytes of the last piece that belonged to this message.
        used: usize,
    },
}

/// Reads messages one after another from pieces of any size.
#[derive(Debug, Default)]
pub struct Reader {
    /// A head that came in more than one piece. Empty on the usual path, where nothing is copied.
    partial: Vec<u8>,
    /// The message whose body is under way, and how much of it is still to come.
    body: Option<(Head, u64)>,
}

impl Reader {
    /// Takes the next piece. After an error the connection is of no more use.
    pub fn take(&mut self, piece: &[u8]) -> Result<Progress, &'static str> {
        if let Some((head, left)) = self.body {
            return Ok(self.take_body(head, left, piece, 0));
        }
        if self.partial.is_empty() {
            return match end_of_head(piece, 0) {
                Some(end) => {
                    let head = head(&piece[..end])?;
                    Ok(self.take_body(head, head.content_length, piece, end))
                }
                None => self.keep(piece),
            };
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(piece);
        match end_of_head(&self.partial, before) {
            Some(end) => {
                let head = head(&self.partial[..end])?;
                self.partial.clear();
                Ok(self.take_body(head, head.content_length, piece, end - before))
            }
            None if self.partial.len() > LONGEST_HEAD => Err("the head has no end"),
            None => Ok(Progress::Partial),
        }
    }

    fn keep(&mut self, piece: &[u8]) -> Result<Progress, &'static str> {
        if piece.len() > LONGEST_HEAD {
            return Err("the head has no end");
        }
        self.partial.extend_from_slice(piece);
        Ok(Progress::Partial)
    }

    /// `left` bytes of body are to come, and `piece` holds them from `start`.
    fn take_body(&mut self, head: Head, left: u64, piece: &[u8], start: usize) -> Progress {
        let here = (piece.len() - start) as u64;
        if here < left {
            self.body = Some((head, left - here));
            return Progress::Partial;
        }
        self.body = None;
        let body = usize::try_from(left).expect("a length no larger than a slice fits a usize");
        Progress::Whole { head, used: start + body }
    }
}

/// The index behind the empty line, if it is there. Of `bytes`, the first `seen` were searched before.
fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // The mark itself may have been cut by the last piece.
    let from = seen.saturating_sub(3);
    memmem::find(&bytes[from..], b"\r\n\r\n").map(|at| from + at + 4)
}

/// Reads a whole head, from its start line to its empty line.
pub fn head(bytes: &[u8]) -> Result<Head, &'static str> {
    let status = if bytes.starts_with(b"HTTP/1.") { status(bytes)? } else { 0 };
    let mut length = None;
    let mut connection = Connection::KeepAlive;
    let mut rest = bytes;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        if let Some(value) = value_of(line, b"content-length:") {
            length = Some(number(value).ok_or("content-length is not a number")?);
        } else if value_of(line, b"transfer-encoding:").is_some() {
            return Err("transfer-encoding is not understood here; the message needs a content-length");
        } else if value_of(line, b"connection:").is_some_and(|value| value.eq_ignore_ascii_case(b"close")) {
            connection = Connection::Close;
        }
        rest = &rest[end + 1..];
    }
    // RFC 9112, section 6.3: these responses have no body, and a request without a length has none.
    let bodiless = status < 200 || status == 204 || status == 304;
    let content_length = match length {
        Some(length) => length,
        None if bodiless => 0,
        None => return Err("the response has no content-length"),
    };
    Ok(Head { status, content_length, connection })
}

fn status(bytes: &[u8]) -> Result<u16, &'static str> {
    // `HTTP/1.1 200`: the version has a fixed length.
    let digits = bytes.get(9..12).ok_or("the status line is too short")?;
    let status = number(digits).ok_or("the status is not a number")?;
    u16::try_from(status).map_err(|_| "the status is not a number")
}

/// The trimmed value of `line` if its name is `name`, which is lowercase and ends with the colon.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello";

    fn ok(content_length: u64) -> Head {
        Head { status: 200, content_length, connection: Connection::KeepAlive }
    }

    #[test]
    fn an_answer_in_one_piece_is_whole_at_once() {
        let progress = Reader::default().take(ANSWER);
        assert_eq!(progress, Ok(Progress::Whole { head: ok(5), used: ANSWER.len() }));
    }

    #[test]
    fn every_split_into_two_pieces_reads_the_same_answer() {
        for cut in 1..ANSWER.len() {
            let mut reader = Reader::default();
            assert_eq!(reader.take(&ANSWER[..cut]), Ok(Progress::Partial), "cut at {cut}");
            let rest = Progress::Whole { head: ok(5), used: ANSWER.len() - cut };
            assert_eq!(reader.take(&ANSWER[cut..]), Ok(rest), "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_byte_by_byte_reads_the_same_and_leaves_the_reader_fresh() {
        let mut reader = Reader::default();
        for _ in 0..2 {
            let (last, before) = ANSWER.split_last().unwrap();
            for byte in before {
                assert_eq!(reader.take(&[*byte]), Ok(Progress::Partial));
            }
            assert_eq!(reader.take(&[*last]), Ok(Progress::Whole { head: ok(5), used: 1 }));
        }
    }

    #[test]
    fn two_messages_in_one_piece_are_told_apart() {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".as_slice();
        let both = [request, request].concat();
        let head = Head { status: 0, content_length: 0, connection: Connection::KeepAlive };
        assert_eq!(Reader::default().take(&both), Ok(Progress::Whole { head, used: request.len() }));
    }

    #[test]
    fn a_close_is_seen_whatever_its_case() {
        let answer = b"HTTP/1.1 503 No\r\nCONNECTION: Close\r\ncontent-length: 0\r\n\r\n";
        let head = Head { status: 503, content_length: 0, connection: Connection::Close };
        assert_eq!(Reader::default().take(answer), Ok(Progress::Whole { head, used: answer.len() }));
    }

    #[test]
    fn a_204_needs_no_length() {
        let head = Head { status: 204, content_length: 0, connection: Connection::KeepAlive };
        assert_eq!(super::head(b"HTTP/1.1 204 No Content\r\n\r\n"), Ok(head));
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        let cases: [(&[u8], &str); 5] = [
            (b"HTTP/1.1 200 OK\r\n\r\n", "the response has no content-length"),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "transfer-encoding is not understood here; the message needs a content-length",
            ),
            (b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n", "content-length is not a number"),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", "the status is not a number"),
            (b"HTTP/1.1\r\n", "the status line is too short"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(head(bytes), Err(reason));
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut reader = Reader::default();
        let piece = [b'a'; 1024];
        let refused = (0..32).find_map(|_| reader.take(&piece).err());
        assert_eq!(refused, Some("the head has no end"));
    }
}
