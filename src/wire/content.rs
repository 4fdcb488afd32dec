//! The content of a message as it crosses a link, framed as its head has said.

use std::fmt;

use bytes::Bytes;
use portolan_exchange::{BodyError, Fields, Frame};
use portolan_http1::{self as http1, Decoder, Framing, Limits, Piece};

use super::buffers;
use super::link::Link;

/// The whole content, where it is here already.
pub fn whole(link: &Link, framing: Framing) -> Option<Bytes> {
    match framing {
        Framing::None | Framing::Length(0) => Some(Bytes::new()),
        Framing::Length(length) => {
            let mut inflow = link.inflow_mut();
            let length = usize::try_from(length).ok().filter(|length| *length <= inflow.len())?;
            Some(inflow.take(0..length, length))
        }
        Framing::Chunked | Framing::UntilClose => None,
    }
}

/// The next piece of what is here.
///
/// # Errors
/// Its framing is wrong.
pub fn decode(link: &Link, decoder: &mut Decoder, limits: &Limits) -> Result<Option<Frame>, BodyError> {
    let mut inflow = link.inflow_mut();
    while inflow.len() > 0 && !decoder.has_ended() {
        let piece = decoder
            .decode(inflow.bytes(), limits)
            .map_err(|refusal| BodyError::Broken(refusal.sentence().to_owned()))?;
        match piece {
            Piece::Data { range, consumed } => return Ok(Some(Frame::Data(inflow.take(range, consumed)))),
            Piece::Trailers { fields, consumed } => {
                inflow.consume(consumed);
                return Ok(Some(Frame::Trailers(fields)));
            }
            Piece::End { consumed } => inflow.consume(consumed),
            Piece::More { consumed } => {
                inflow.consume(consumed);
                if consumed == 0 {
                    break;
                }
            }
        }
    }
    Ok(None)
}

/// Content on its way out, piece by piece.
pub struct Framer {
    framing: Framing,
    // Bytes that are to come, where the head has said how many.
    left: Option<u64>,
    has_ended: bool,
}

/// Content that is not as long as its head has said: one byte less or more, and whoever reads it takes the next message for a part
/// of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miscounted;

impl fmt::Display for Miscounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a body was not as long as it had said")
    }
}

impl Framer {
    /// Content of which nothing was sent yet.
    pub fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked | Framing::UntilClose => None,
        };
        Self { framing, left, has_ended: false }
    }

    /// How it is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether all of it is queued.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Queues a piece, and the end behind the last one.
    ///
    /// # Errors
    /// It is longer than was said, or ends before that; the connection is of no further use.
    pub fn queue(&mut self, link: &Link, frame: Frame) -> Result<(), Miscounted> {
        let data = match frame {
            Frame::Data(data) => data,
            Frame::Trailers(fields) => return self.end(link, Some(&fields)),
        };
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(Miscounted)?;
        }
        match self.framing {
            // An empty one would be the last.
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => link.queue_chunk(data),
            Framing::None | Framing::Length(_) | Framing::UntilClose => link.queue_bytes(data),
        }
        if self.left == Some(0) { self.end(link, None) } else { Ok(()) }
    }

    /// Queues the end; twice is the same as once.
    ///
    /// # Errors
    /// It comes before that was said; the connection is of no further use.
    pub fn end(&mut self, link: &Link, trailers: Option<&Fields>) -> Result<(), Miscounted> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(Miscounted);
        }
        if !std::mem::replace(&mut self.has_ended, true) && self.framing == Framing::Chunked {
            let mut last = buffers::head();
            http1::write_last_chunk(&mut last, trailers);
            link.queue_head(last);
        }
        Ok(())
    }
}
