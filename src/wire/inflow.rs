//! Bytes received on a connection and not taken yet.

use std::io;

use bytes::Bytes;

use super::buffers::{Buffer, SIZE};

// Pieces up to this size are copied: that is cheaper than sharing a buffer, and holds no large one for a few bytes.
const COPIED: usize = 2 * 1024;

/// Bytes received and not taken yet, in order.
#[derive(Default)]
pub struct Inflow {
    held: Held,
    start: usize,
    end: usize,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    /// A buffer of the worker's, while bytes arrive.
    Hot(Buffer),
    /// Bytes that wait for the rest of their message, in a buffer of their own size.
    Cold(Buffer),
    /// Bytes behind pieces that were given away.
    Shared(Bytes),
}

impl Inflow {
    /// What is here.
    pub fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Nothing => &[],
            Held::Hot(buffer) | Held::Cold(buffer) => &buffer.as_ref()[self.start..self.end],
            Held::Shared(bytes) => &bytes[self.start..self.end],
        }
    }

    /// How many bytes are here.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The first `count` bytes were used.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only what is here is used");
        if self.start == self.end {
            self.held = Held::Nothing;
            (self.start, self.end) = (0, 0);
        }
    }

    /// Takes the bytes of this range, and lets go of `consumed` bytes in all. Small pieces are copied, others shared.
    pub fn take(&mut self, range: std::ops::Range<usize>, consumed: usize) -> Bytes {
        let piece = if range.len() <= COPIED {
            Bytes::copy_from_slice(&self.bytes()[range])
        } else {
            self.share().slice(range)
        };
        self.consume(consumed);
        piece
    }

    fn share(&mut self) -> Bytes {
        let whole = match std::mem::take(&mut self.held) {
            Held::Nothing => Bytes::new(),
            Held::Hot(buffer) | Held::Cold(buffer) => buffer.share(self.end),
            Held::Shared(bytes) => bytes,
        };
        let here = whole.slice(self.start..self.end);
        self.held = Held::Shared(whole);
        here
    }

    /// Reads once into the room behind what is here; `Ok(0)` is the end.
    ///
    /// # Errors
    /// What `read` says; nothing is lost then.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.make_room();
        let Held::Hot(buffer) = &mut self.held else { unreachable!("room is made in a hot buffer") };
        let result = read(&mut buffer.room()[self.end..]);
        if let Ok(count) = result {
            self.end += count;
        }
        if self.start == self.end {
            self.consume(0);
        }
        result
    }

    fn make_room(&mut self) {
        match &mut self.held {
            Held::Hot(buffer) => {
                let room = buffer.room();
                if self.end < room.len() {
                    return;
                }
                if self.start > 0 {
                    room.copy_within(self.start..self.end, 0);
                } else {
                    // A head longer than a buffer; its limit bounds it.
                    let len = room.len() * 2;
                    buffer.grow(len);
                }
            }
            Held::Nothing => self.held = Held::Hot(Buffer::take()),
            Held::Cold(_) | Held::Shared(_) => {
                let mut buffer = Buffer::take();
                let len = self.len();
                if len >= SIZE {
                    buffer.grow(len * 2);
                }
                buffer.room()[..len].copy_from_slice(self.bytes());
                self.held = Held::Hot(buffer);
            }
        }
        (self.start, self.end) = (0, self.end - self.start);
    }

    /// Gives the buffer back while nothing arrives; what is here waits in one of its own size. Much stays where it is: it would be
    /// copied for every few bytes that come.
    pub fn cool(&mut self) {
        if let Held::Hot(_) = self.held
            && self.len() < SIZE / 4
        {
            self.held = Held::Cold(Buffer::holding(self.bytes()));
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(inflow: &mut Inflow, bytes: &[u8]) {
        let read = inflow.fill(|room| {
            room[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        });
        assert_eq!(read.unwrap(), bytes.len());
    }

    #[test]
    fn what_is_not_taken_stays_in_order_whatever_buffer_holds_it() {
        let mut inflow = Inflow::default();
        receive(&mut inflow, b"head");
        inflow.cool();
        receive(&mut inflow, b"+body");
        inflow.consume(5);
        assert_eq!(inflow.take(0..2, 2), "bo");
        let large = vec![b'x'; 5_000];
        receive(&mut inflow, &large);
        assert_eq!(inflow.take(0..4_000, 4_000).len(), 4_000);
        receive(&mut inflow, b"end");
        assert_eq!(inflow.len(), 2 + 1_000 + 3);
        assert_eq!(&inflow.bytes()[1_002..], b"end");
    }

    #[test]
    fn a_large_piece_stays_where_it_was_received_and_a_small_one_holds_no_buffer() {
        let mut inflow = Inflow::default();
        receive(&mut inflow, &vec![b'x'; SIZE]);
        let received = inflow.bytes().as_ptr_range();
        let small = inflow.take(0..COPIED, COPIED);
        let large = inflow.take(10..COPIED + 11, COPIED + 20);
        // Nor does it move what is behind it.
        let last = inflow.take(0..inflow.len(), inflow.len());
        assert!(!received.contains(&small.as_ptr()));
        assert_eq!(large.as_ptr(), received.start.wrapping_add(COPIED + 10));
        assert_eq!(last.as_ptr(), received.start.wrapping_add(2 * COPIED + 20));
        assert_eq!(last.as_ptr_range().end, received.end);
    }

    #[test]
    fn a_message_longer_than_a_buffer_makes_it_grow() {
        let mut inflow = Inflow::default();
        receive(&mut inflow, &vec![b'a'; SIZE]);
        receive(&mut inflow, b"b");
        assert_eq!(inflow.len(), SIZE + 1);
        assert_eq!(inflow.bytes()[SIZE], b'b');
    }

    #[test]
    fn a_read_that_fails_loses_nothing() {
        let mut inflow = Inflow::default();
        receive(&mut inflow, b"a");
        assert!(inflow.fill(|_| Err(io::ErrorKind::WouldBlock.into())).is_err());
        assert_eq!(inflow.bytes(), b"a");
    }
}
