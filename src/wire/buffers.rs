//! Receive buffers of a worker: taken while bytes arrive, given back at once, the one used last taken first.
//!
//! An idle connection holds none, and the one that is taken next is still in the processor's cache.

use std::cell::RefCell;

use bytes::Bytes;

/// Bytes of a receive buffer: four of them hold what a client usually gets of a large body in one turn, and one system call
/// fills it.
pub const SIZE: usize = 64 * 1024;
// Kept for the next taker; what a burst took beyond goes back to the system.
const KEPT: usize = 32;

thread_local! {
    static IDLE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static HEADS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A receive buffer. Dropping it gives it back.
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// The buffer used last on this thread, or a new one of [`SIZE`] bytes. What stands in it is nobody's.
    pub fn take() -> Self {
        let kept = IDLE.with_borrow_mut(Vec::pop);
        Self(kept.unwrap_or_else(|| vec![0; SIZE]))
    }

    /// All of it, for reading into.
    pub fn room(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The first `len` bytes as shared bytes; the buffer is given back with the last of their holders.
    pub fn share(mut self, len: usize) -> Bytes {
        let whole = Bytes::from_owner(Self(std::mem::take(&mut self.0)));
        whole.slice(..len)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One that had to grow, or was shared away, is not kept.
        if self.0.len() != SIZE {
            return;
        }
        let buffer = std::mem::take(&mut self.0);
        // A thread that ends has nobody to keep it for.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < KEPT {
                idle.push(buffer);
            }
        });
    }
}

/// An empty buffer to write a head into.
pub fn head() -> Vec<u8> {
    HEADS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(1_024))
}

/// Gives back a head that was sent.
pub fn give_back(mut head: Vec<u8>) {
    // Heads are small; one that is not would hold its memory for good.
    const LARGEST: usize = 8 * 1024;
    head.clear();
    HEADS.with_borrow_mut(|heads| {
        if heads.len() < KEPT && head.capacity() <= LARGEST {
            heads.push(head);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_given_back_last_is_taken_first() {
        let (mut first, second) = (Buffer::take(), Buffer::take());
        first.room()[0] = 7;
        drop(second);
        drop(first);
        assert_eq!(Buffer::take().as_ref()[0], 7);
    }

    #[test]
    fn shared_bytes_keep_their_buffer_until_the_last_holder_is_gone() {
        let mut buffer = Buffer::take();
        buffer.room()[..3].copy_from_slice(b"abc");
        let shared = buffer.share(3);
        let rest = shared.slice(1..);
        drop(shared);
        assert_ne!(Buffer::take().as_ref()[..3], *b"abc");
        assert_eq!(rest, "bc");
        drop(rest);
        assert_eq!(Buffer::take().as_ref()[..3], *b"abc");
    }
}
