//! What is charged to the memory budget: by one worker's account, settled with the shared count a slice at a time, or at once
//! where it is held for long or may end on any thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use portolan_exchange::Worker;

use super::{Admission, Budget};

/// The largest slice: some small requests, or one large buffer.
const SLICE: usize = 64 * 1024;

/// How much a worker takes at a time: so little that what all of them hold unused is less than a sixteenth of the budget.
pub(super) fn slice(budget: usize, workers: usize) -> usize {
    (budget / 32 / workers.max(1)).clamp(1, SLICE)
}

/// The account of one worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account(Rc<Books>);

#[derive(Debug)]
struct Books {
    admission: Arc<Admission>,
    slice: usize,
    used: Cell<usize>,
    taken: Cell<usize>,
}

impl Account {
    pub(super) fn new(admission: Arc<Admission>, slice: usize) -> Self {
        Self(Rc::new(Books { admission, slice, used: Cell::new(0), taken: Cell::new(0) }))
    }

    /// The account that this worker was given; without one it has no bounds.
    pub fn of(worker: &Worker) -> Rc<Self> {
        let boundless = Budget { memory: usize::MAX, files: usize::MAX };
        worker.local(|| Admission::new(boundless, 1).account())
    }

    /// Charges bytes that are held from now on. Never refuses: what was begun is brought to its end, and nothing new begins while
    /// [`Admission::shed`] says so.
    pub fn charge(&self, bytes: usize) -> Charge {
        self.0.add(bytes);
        Charge { account: self.clone(), bytes }
    }

    /// A charge of nothing, to be changed as buffers grow and shrink.
    pub fn open(&self) -> Charge {
        Charge { account: self.clone(), bytes: 0 }
    }

    /// Bytes charged on this worker.
    pub fn used(&self) -> usize {
        self.0.used.get()
    }

    /// The admission it belongs to.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }
}

impl Books {
    fn add(&self, bytes: usize) {
        let used = self.used.get() + bytes;
        self.used.set(used);
        let taken = self.taken.get();
        if used > taken {
            let more = (used - taken).next_multiple_of(self.slice);
            self.taken.set(taken + more);
            self.admission.memory.take(more);
        }
    }

    fn subtract(&self, bytes: usize) {
        let used = self.used.get() - bytes;
        self.used.set(used);
        // One slice stays, so that a worker whose use goes up and down around a multiple of it asks nobody.
        let spare = self.taken.get() - used;
        if spare >= 2 * self.slice {
            let back = (spare - self.slice) / self.slice * self.slice;
            self.taken.set(self.taken.get() - back);
            self.admission.memory.give(back);
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.admission.memory.give(self.taken.get());
    }
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    bytes: usize,
}

impl Charge {
    /// Bytes charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says how many bytes are held now.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.account.0.add(bytes - before);
        } else if bytes < before {
            self.account.0.subtract(before - bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Bytes charged to the shared count at once; dropping it, on any thread, gives them back.
#[derive(Debug)]
pub struct Memory {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Memory {
    pub(super) fn take(admission: Arc<Admission>, bytes: usize) -> Self {
        admission.memory.take(bytes);
        Self { admission, bytes }
    }

    /// Says that more bytes are held now.
    pub fn grow(&mut self, bytes: usize) {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.admission.memory.take(more);
            self.bytes = bytes;
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.admission.memory.give(self.bytes);
    }
}
