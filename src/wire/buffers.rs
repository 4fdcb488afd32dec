//! Receive buffers of a worker: taken while bytes arrive, given back at once, the one used last taken first.
//!
//! An idle connection holds none, and the one that is taken next is still in the processor's cache.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;

use crate::edge::admission::{Admission, Memory, Scarce};

/// Bytes of a receive buffer: four of them hold what a client usually gets of a large body in one turn, and one system call
/// fills it.
pub const SIZE: usize = 64 * 1024;
// Kept for the next taker; what a burst took beyond goes back to the system.
const KEPT: usize = 32;
// As many answers leave in one turn.
const HEADS_KEPT: usize = 256;

thread_local! {
    static IDLE: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
    static HEADS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    // Threads that take no buffers keep none of those that end on them.
    static KEEPS: Cell<usize> = const { Cell::new(0) };
    static ADMISSION: RefCell<Option<Arc<Admission>>> = const { RefCell::new(None) };
}

/// Says whose memory the buffers of this thread are, which is one of so many workers: it is charged for as long as they are, the
/// kept ones included, so that taking one costs nothing. Those are a sixteenth of the budget at most.
pub fn of_worker(admission: &Arc<Admission>, workers: usize) {
    let keeps = admission.memory().limit / 16 / workers.max(1) / SIZE;
    KEEPS.set(keeps.clamp(1, KEPT));
    ADMISSION.set(Some(admission.clone()));
    IDLE.take();
}

/// A receive buffer. Dropping it gives it back.
pub struct Buffer(Room);

/// Bytes, and what they are charged to.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    charged: Option<Memory>,
}

impl Room {
    fn new(bytes: Vec<u8>) -> Self {
        Self { charged: charge(bytes.len()), bytes }
    }
}

/// Charges bytes that are held on this thread, if it is a worker's.
pub fn charge(bytes: usize) -> Option<Memory> {
    ADMISSION.with_borrow(|admission| Some(admission.as_ref()?.memory_for(bytes)))
}

/// Whether the memory of this thread's process is nearly used up: then what is given back is not kept, and what was kept goes with
/// it. A reload may have made it less.
fn is_scarce() -> bool {
    let of_worker = |admission: &RefCell<Option<Arc<Admission>>>| {
        admission.borrow().as_ref().is_some_and(|admission| admission.shed() == Some(Scarce::Memory))
    };
    // A thread that ends keeps nothing either.
    ADMISSION.try_with(of_worker).unwrap_or(true)
}

impl Buffer {
    /// The buffer used last on this thread, or a new one of [`SIZE`] bytes. What stands in it is nobody's.
    pub fn take() -> Self {
        let kept = IDLE.with_borrow_mut(Vec::pop);
        Self(kept.unwrap_or_else(|| Room::new(vec![0; SIZE])))
    }

    /// A buffer of these bytes and no more.
    pub fn holding(bytes: &[u8]) -> Self {
        Self(Room::new(bytes.to_vec()))
    }

    /// All of it, for reading into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.0.bytes
    }

    /// Makes it this long.
    pub fn grow(&mut self, len: usize) {
        self.0.bytes.resize(len, 0);
        if let Some(charged) = &mut self.0.charged {
            charged.grow(len);
        }
    }

    /// The first `len` bytes as shared bytes; the buffer is given back with the last of their holders.
    pub fn share(mut self, len: usize) -> Bytes {
        let whole = Bytes::from_owner(Self(std::mem::take(&mut self.0)));
        whole.slice(..len)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One that had to grow, or was shared away, is not kept.
        if self.0.bytes.len() != SIZE {
            return;
        }
        let room = std::mem::take(&mut self.0);
        // A thread that ends has nobody to keep it for.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if is_scarce() {
                idle.clear();
            } else if idle.len() < KEEPS.get() {
                idle.push(room);
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
    const LARGEST: usize = 4 * 1024;
    head.clear();
    HEADS.with_borrow_mut(|heads| {
        if is_scarce() {
            heads.clear();
        } else if heads.len() < HEADS_KEPT && head.capacity() <= LARGEST {
            heads.push(head);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::admission::Budget;

    /// A worker alone, with this budget of memory.
    fn worker(memory: usize) -> Arc<Admission> {
        let admission = Admission::new(Budget { memory, files: 1 }, 1);
        of_worker(&admission, 1);
        admission
    }

    #[test]
    fn the_buffer_given_back_last_is_taken_first() {
        worker(1 << 30);
        let (mut first, second) = (Buffer::take(), Buffer::take());
        first.room()[0] = 7;
        drop(second);
        drop(first);
        assert_eq!(Buffer::take().as_ref()[0], 7);
    }

    #[test]
    fn shared_bytes_keep_their_buffer_until_the_last_holder_is_gone() {
        worker(1 << 30);
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

    #[test]
    fn buffers_are_charged_as_long_as_they_are_and_wherever_they_end() {
        // One in sixteen is kept.
        let admission = worker(32 * SIZE);
        let buffers: Vec<_> = (0..10).map(|_| Buffer::take()).collect();
        let mut other = Buffer::holding(b"abc");
        assert_eq!(admission.memory().used, 10 * SIZE + 3);
        other.grow(1_000);
        assert_eq!(admission.memory().used, 10 * SIZE + 1_000);
        drop((buffers, other));
        assert_eq!(admission.memory().used, 2 * SIZE);
        let (first, second) = (Buffer::take(), Buffer::take());
        assert_eq!(admission.memory().used, 2 * SIZE);
        // Where there is not even room for those any more, none is kept.
        drop((first, second));
        admission.set(Budget { memory: SIZE, files: 1 });
        drop(Buffer::take());
        assert_eq!(admission.memory().used, 0);
        let (first, second) = (Buffer::take(), Buffer::take());
        let shared = [first.share(10), second.share(10)];
        std::thread::spawn(move || drop(shared)).join().unwrap();
        assert_eq!(admission.memory().used, 0);
    }
}
