//! Reads frames: bytes in whatever pieces the network gives, whole messages and control frames out.
//!
//! The outcome never depends on how the bytes were cut. Memory is bounded by [`Limits::max_message`] and 125 bytes
//! for a control frame in its midst; a declared length is refused or believed only as its bytes arrive.

use bytes::Bytes;

use crate::close::{Close, Code};
use crate::frame::{CONTROL_MAX, HEADER_MAX, apply_mask};

/// Which side we are; it decides who must mask (RFC 6455, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We read a client's frames: every one must be masked.
    Server,
    /// We read a server's frames: none may be masked.
    Client,
}

/// What is refused with 1009.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of one frame, in bytes; judged by the declared length, before a byte of it is kept.
    pub max_frame: usize,
    /// The largest message put together from its fragments, in bytes.
    pub max_message: usize,
}

impl Default for Limits {
    /// 64 KiB for both: what a command of a session needs, with room.
    fn default() -> Self {
        Self { max_frame: 64 * 1024, max_message: 64 * 1024 }
    }
}

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A whole text message; the bytes are valid UTF-8.
    Text(Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// Answer it with a pong that carries the same payload, at most 125 bytes.
    Ping(Bytes),
    /// An answer to a ping, or a sign of life.
    Pong(Bytes),
    /// The peer's last frame: answer with a close frame and end the stream. What follows is thrown away.
    Close(Close),
}

/// A broken rule: send a close frame with [`Breach::code`] and end the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The framing was broken; the text names the rule.
    Protocol(&'static str),
    /// Text or a close reason that is not UTF-8 (RFC 6455, section 8.1).
    NotUtf8,
    /// A frame or message beyond the limits.
    TooBig,
}

impl Breach {
    /// The close code that answers it.
    pub fn code(self) -> Code {
        match self {
            Self::Protocol(_) => Code::PROTOCOL,
            Self::NotUtf8 => Code::NOT_UTF8,
            Self::TooBig => Code::TOO_BIG,
        }
    }

    /// A sentence for the peer; fits a close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Protocol(rule) => rule,
            Self::NotUtf8 => "text is not valid UTF-8",
            Self::TooBig => "the message is larger than this endpoint takes",
        }
    }
}

/// Reads one side of one connection.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limits: Limits,
    state: State,
    header: Header,
    frame: Option<Frame>,
    /// The payload of the control frame that is arriving.
    control: Vec<u8>,
    /// The message that is being put together; empty, and without memory of its own, between messages.
    message: Vec<u8>,
    /// What the message is, once its first frame has begun.
    kind: Option<Kind>,
    /// How much of a text message is known to be UTF-8; at most three bytes less than what has arrived.
    checked: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Closed,
    Broken(Breach),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Data,
    Close,
    Ping,
    Pong,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    purpose: Purpose,
    fin: bool,
    mask: [u8; 4],
    left: usize,
    taken: usize,
}

#[derive(Debug, Default)]
struct Header {
    bytes: [u8; HEADER_MAX],
    len: usize,
}

impl Decoder {
    /// A decoder that allocates nothing until the first payload.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            state: State::Open,
            header: Header::default(),
            frame: None,
            control: Vec::new(),
            message: Vec::new(),
            kind: None,
            checked: 0,
        }
    }

    /// Takes bytes from the front of `input` until one message is whole or the input is used up (`None`).
    /// Call it again with what is left; a connection that breaks a rule stays broken and takes nothing more.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Breach> {
        match self.state {
            State::Open => {}
            // RFC 6455, section 1.4: data after a close frame is thrown away.
            State::Closed => {
                *input = &[];
                return Ok(None);
            }
            State::Broken(breach) => return Err(breach),
        }
        let outcome = self.advance(input);
        match &outcome {
            Ok(Some(Message::Close(_))) => self.end(State::Closed),
            Ok(_) => {}
            Err(breach) => self.end(State::Broken(*breach)),
        }
        outcome
    }

    /// Bytes held for a message or frame that is not whole yet.
    pub fn held(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.message = Vec::new();
        self.control = Vec::new();
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Breach> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            self.read_payload(&mut frame, input)?;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(message) = self.finish(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads the header byte by byte, so that a breach is found at the same byte however the input was cut.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Breach> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.header.bytes[self.header.len] = *byte;
            self.header.len += 1;
            match self.header.len {
                1 => self.check_start(*byte)?,
                2 => self.check_length_and_mask(*byte)?,
                _ => {}
            }
            if self.header.len >= 2 && self.header.len == self.header.whole() {
                return self.open_frame().map(Some);
            }
        }
        Ok(None)
    }

    fn check_start(&self, byte: u8) -> Result<(), Breach> {
        if byte & 0x70 != 0 {
            return Err(Breach::Protocol("a reserved bit is set and no extension was agreed"));
        }
        let fin = byte & 0x80 != 0;
        match byte & 0x0f {
            0x0 if self.kind.is_none() => Err(Breach::Protocol("a continuation without a message to continue")),
            0x1 | 0x2 if self.kind.is_some() => Err(Breach::Protocol("a new message before the last one ended")),
            0x0..=0x2 => Ok(()),
            0x8..=0xa if !fin => Err(Breach::Protocol("a control frame is fragmented")),
            0x8..=0xa => Ok(()),
            _ => Err(Breach::Protocol("a reserved opcode")),
        }
    }

    fn check_length_and_mask(&self, byte: u8) -> Result<(), Breach> {
        match (self.role, byte & 0x80 != 0) {
            (Role::Server, false) => return Err(Breach::Protocol("a client's frame is not masked")),
            (Role::Client, true) => return Err(Breach::Protocol("a server's frame is masked")),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let control = self.header.bytes[0] & 0x08 != 0;
        if control && usize::from(byte & 0x7f) > CONTROL_MAX {
            return Err(Breach::Protocol("a control frame is longer than 125 bytes"));
        }
        Ok(())
    }

    fn open_frame(&mut self) -> Result<Frame, Breach> {
        let Header { bytes, len } = std::mem::take(&mut self.header);
        let purpose = match bytes[0] & 0x0f {
            0x8 => Purpose::Close,
            0x9 => Purpose::Ping,
            0xa => Purpose::Pong,
            opcode => {
                self.kind = match opcode {
                    0x1 => Some(Kind::Text),
                    0x2 => Some(Kind::Binary),
                    _ => self.kind,
                };
                Purpose::Data
            }
        };
        let declared = declared_length(&bytes)?;
        let left = usize::try_from(declared).ok().filter(|left| *left <= self.limits.max_frame.max(CONTROL_MAX));
        let left = left.ok_or(Breach::TooBig)?;
        if purpose == Purpose::Data {
            let message = self.message.len().saturating_add(left);
            if left > self.limits.max_frame || message > self.limits.max_message {
                return Err(Breach::TooBig);
            }
        }
        let mut mask = [0; 4];
        if self.role == Role::Server {
            mask.copy_from_slice(&bytes[len - 4..len]);
        }
        Ok(Frame { purpose, fin: bytes[0] & 0x80 != 0, mask, left, taken: 0 })
    }

    fn read_payload(&mut self, frame: &mut Frame, input: &mut &[u8]) -> Result<(), Breach> {
        let (part, rest) = input.split_at(frame.left.min(input.len()));
        *input = rest;
        let data = frame.purpose == Purpose::Data;
        let target = if data { &mut self.message } else { &mut self.control };
        let start = target.len();
        target.extend_from_slice(part);
        if self.role == Role::Server {
            apply_mask(&mut target[start..], frame.mask, frame.taken);
        }
        frame.taken += part.len();
        frame.left -= part.len();
        if data && self.kind == Some(Kind::Text) {
            self.check_text()?;
        }
        Ok(())
    }

    /// Checks what arrived of a text message; a character cut by the border waits for its rest.
    fn check_text(&mut self) -> Result<(), Breach> {
        match simdutf8::compat::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_some() => return Err(Breach::NotUtf8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Message>, Breach> {
        if frame.purpose == Purpose::Data {
            return if frame.fin { self.finish_message().map(Some) } else { Ok(None) };
        }
        let payload = std::mem::take(&mut self.control);
        Ok(Some(match frame.purpose {
            Purpose::Ping => Message::Ping(payload.into()),
            Purpose::Pong => Message::Pong(payload.into()),
            Purpose::Close | Purpose::Data => Message::Close(read_close(payload)?),
        }))
    }

    fn finish_message(&mut self) -> Result<Message, Breach> {
        let message = std::mem::take(&mut self.message);
        let checked = std::mem::take(&mut self.checked);
        match self.kind.take().expect("a data frame was let through only within a message") {
            Kind::Text if checked < message.len() => Err(Breach::NotUtf8),
            Kind::Text => Ok(Message::Text(message.into())),
            Kind::Binary => Ok(Message::Binary(message.into())),
        }
    }
}

impl Header {
    /// The whole header's length in bytes, known from its second byte on.
    fn whole(&self) -> usize {
        let length = match self.bytes[1] & 0x7f {
            127 => 8,
            126 => 2,
            _ => 0,
        };
        let mask = if self.bytes[1] & 0x80 != 0 { 4 } else { 0 };
        2 + length + mask
    }
}

/// RFC 6455, section 5.2: the fewest bytes that hold the length, the most significant bit zero.
fn declared_length(header: &[u8; HEADER_MAX]) -> Result<u64, Breach> {
    let length = match header[1] & 0x7f {
        126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
        127 => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[2..10]);
            u64::from_be_bytes(bytes)
        }
        short => return Ok(u64::from(short)),
    };
    if length >> 63 != 0 {
        return Err(Breach::Protocol("a length has its highest bit set"));
    }
    let fewest = if header[1] & 0x7f == 126 { 126 } else { 65_536 };
    if length < fewest {
        return Err(Breach::Protocol("a length takes more bytes than it needs"));
    }
    Ok(length)
}

fn read_close(payload: Vec<u8>) -> Result<Close, Breach> {
    match payload.as_slice() {
        [] => Ok(Close { code: None, reason: Bytes::new() }),
        [_] => Err(Breach::Protocol("a close frame holds half a code")),
        [high, low, reason @ ..] => {
            let code = Code(u16::from_be_bytes([*high, *low]));
            if !code.may_be_sent() {
                return Err(Breach::Protocol("a close code that may not be sent"));
            }
            simdutf8::basic::from_utf8(reason).map_err(|_| Breach::NotUtf8)?;
            Ok(Close { code: Some(code), reason: Bytes::from(payload).slice(2..) })
        }
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
