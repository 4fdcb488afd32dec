//! What waits to be sent on a connection, in order, and how it leaves.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use portolan_http1::{self as http1, CHUNK_END};
use tokio::net::TcpStream;

use super::{buffers, socket};
use crate::edge::admission::Memory;

// Pieces up to this size are copied behind the head before them: that is cheaper than a piece of their own, and holds no buffer
// for a few bytes.
const GATHERED: usize = 512;

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Outflow {
    pieces: VecDeque<Piece>,
    len: usize,
    pub(super) state: State,
    // While the system takes no more: what waits for a client that reads nothing.
    charged: Option<Memory>,
}

/// Where the outflow stands.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing waits, or what waits is not due yet.
    #[default]
    Open,
    /// It is in the turn's list.
    Deferred,
    /// The system takes no more now.
    Blocked,
    /// It takes nothing any more.
    Failed(io::ErrorKind),
}

enum Piece {
    Head(Vec<u8>, usize),
    Body(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Head(head, sent) => &head[*sent..],
            Self::Body(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Head(_, sent) => *sent += count,
            Self::Body(bytes) => bytes.advance(count),
        }
    }
}

impl Outflow {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Queues a head; its buffer comes from [`buffers::head`] and goes back there.
    pub(super) fn queue_head(&mut self, head: Vec<u8>) {
        self.queue(Piece::Head(head, 0));
    }

    /// Queues bytes behind what waits already.
    pub(super) fn queue_bytes(&mut self, bytes: Bytes) {
        let is_gathered =
            bytes.len() <= GATHERED && self.append_to_last(bytes.len(), |out| out.extend_from_slice(&bytes));
        if !is_gathered && !bytes.is_empty() {
            self.queue(Piece::Body(bytes));
        }
    }

    /// Queues a chunk of a chunked body; small ones are gathered.
    pub(super) fn queue_chunk(&mut self, data: Bytes) {
        // Sixteen digits and CRLF; more than any length of ours needs.
        const HEAD: usize = 18;
        if data.len() > GATHERED {
            self.append(HEAD, |out| http1::write_chunk_head(out, data.len()));
            self.queue_bytes(data);
            self.queue_bytes(Bytes::from_static(CHUNK_END));
            return;
        }
        self.append(HEAD + data.len() + CHUNK_END.len(), |out| {
            http1::write_chunk_head(out, data.len());
            out.extend_from_slice(&data);
            out.extend_from_slice(CHUNK_END);
        });
    }

    /// Writes up to `room` bytes behind what waits: into the last head while it has room for them, else into a new one.
    fn append(&mut self, room: usize, write: impl Fn(&mut Vec<u8>)) {
        if !self.append_to_last(room, &write) {
            let mut head = buffers::head();
            write(&mut head);
            self.queue_head(head);
        }
    }

    /// Writes up to `room` bytes behind what waits, if that is a head with room for them.
    fn append_to_last(&mut self, room: usize, write: impl Fn(&mut Vec<u8>)) -> bool {
        let Some(Piece::Head(head, _)) = self.pieces.back_mut() else { return false };
        if head.capacity() - head.len() < room {
            return false;
        }
        let before = head.len();
        write(head);
        self.len += head.len() - before;
        true
    }

    fn queue(&mut self, piece: Piece) {
        if let State::Failed(_) = self.state {
            return;
        }
        self.len += piece.bytes().len();
        self.pieces.push_back(piece);
    }

    /// Writes until nothing waits or the system takes no more.
    pub(super) fn write(&mut self, stream: &TcpStream) {
        // What is more is taken by the next call.
        const PIECES: usize = 16;
        while let Some(first) = self.pieces.front() {
            let written = if self.pieces.len() == 1 {
                socket::write(stream, first.bytes())
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let mut count = 0;
                for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                    *slice = IoSlice::new(piece.bytes());
                    count += 1;
                }
                socket::write_vectored(stream, &slices[..count])
            };
            match written {
                Ok(count) => self.sent(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.state = State::Blocked;
                    self.charged = buffers::charge(self.len);
                    return;
                }
                Err(error) => {
                    self.pieces.clear();
                    self.len = 0;
                    self.charged = None;
                    self.state = State::Failed(error.kind());
                    return;
                }
            }
        }
        if self.charged.is_some() {
            self.charged = None;
        }
    }

    fn sent(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let Some(first) = self.pieces.front_mut() else { return };
            let len = first.bytes().len();
            if count < len {
                first.advance(count);
                return;
            }
            count -= len;
            if let Some(Piece::Head(head, _)) = self.pieces.pop_front() {
                buffers::give_back(head);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inflow::Inflow;
    use super::*;

    #[test]
    fn a_large_piece_is_sent_from_where_it_was_received() {
        let mut inflow = Inflow::default();
        let read = inflow.fill(|room| {
            room[..20_000].fill(b'x');
            Ok(20_000)
        });
        assert_eq!(read.unwrap(), 20_000);
        let received = inflow.bytes().as_ptr();
        let piece = inflow.take(100..19_000, 20_000);
        let mut outflow = Outflow::default();
        outflow.queue_head(b"head".to_vec());
        outflow.queue_bytes(piece.slice(..10_000));
        outflow.queue_chunk(piece.slice(10_000..));
        let waiting: Vec<_> =
            outflow.pieces.iter().map(|piece| (piece.bytes().as_ptr(), piece.bytes().len())).collect();
        assert_eq!(waiting[1], (received.wrapping_add(100), 10_000));
        assert_eq!(waiting[3], (received.wrapping_add(10_100), 8_900));
        let text: Vec<u8> = outflow.pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
        assert_eq!(text, format!("head{}22c4\r\n{}\r\n", "x".repeat(10_000), "x".repeat(8_900)).as_bytes());
        // What the system did not take goes on from there.
        outflow.sent(4 + 10);
        let first = outflow.pieces.front().expect("most of it waits").bytes();
        assert_eq!((first.as_ptr(), outflow.len()), (received.wrapping_add(110), text.len() - 14));
    }

    #[test]
    fn small_pieces_are_gathered_behind_the_head_before_them() {
        let mut outflow = Outflow::default();
        outflow.queue_head(buffers::head());
        outflow.queue_bytes(Bytes::from_static(b"small "));
        outflow.queue_chunk(Bytes::from_static(b"pieces"));
        let waiting: Vec<_> = outflow.pieces.iter().map(Piece::bytes).collect();
        assert_eq!(waiting, [b"small 6\r\npieces\r\n"]);
    }
}
