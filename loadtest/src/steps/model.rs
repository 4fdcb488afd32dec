//! What all shapes share: an exchange of a believable size, what the policies do to it, and the count of boxes.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Policies in the chain, as on a route with everything on.
pub const POLICIES: usize = 8;

/// A future of one thread, on the heap.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

thread_local! {
    static BOXES: Cell<u64> = const { Cell::new(0) };
}

/// Puts a future on the heap, counted: by hand, since a counting allocator would slow down what it counts.
pub fn boxed<'a, T>(future: impl Future<Output = T> + 'a) -> LocalBoxFuture<'a, T> {
    BOXES.with(|boxes| boxes.set(boxes.get() + 1));
    Box::pin(future)
}

/// Boxes made so far on this thread.
pub fn boxes() -> u64 {
    BOXES.with(Cell::get)
}

/// One operation on its way.
pub struct Exchange {
    /// What the policies read and write, one each.
    pub fields: [u64; POLICIES],
    /// What policies must remember until the end.
    pub tickets: [Option<Permit>; 2],
    /// Stands for the views of heads, identity and durations, which have to be moved with the rest.
    _rest: [u64; 48],
}

impl Exchange {
    /// Opens the exchange of request `number`.
    pub fn open(number: u64) -> Self {
        Self { fields: [number; POLICIES], tickets: [None, None], _rest: [number; 48] }
    }

    /// The upstream's part, which is not what is measured.
    pub fn call(&mut self) {
        self.fields[0] ^= self.fields[POLICIES - 1];
    }

    /// What everything done to it comes to.
    pub fn digest(&self) -> u64 {
        self.fields.iter().fold(u64::from(self.tickets[0].is_some()), |sum, field| sum.rotate_left(7) ^ field)
    }
}

/// A place in a bulkhead, given back when dropped.
pub struct Permit(Rc<Cell<u32>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What kind of policy stands at a place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads one field and writes another.
    Touches,
    /// The same, and leaves a permit.
    Admits,
    /// The same, after something that is not ready at first.
    Waits,
}

/// The work of one policy, the same whatever the shape around it.
pub struct Work {
    at: usize,
    /// What kind it is.
    pub kind: Kind,
    out: Rc<Cell<u32>>,
}

impl Work {
    /// The policies of a chain.
    pub fn chain(kinds: [Kind; POLICIES]) -> Vec<Self> {
        kinds.into_iter().enumerate().map(|(at, kind)| Self { at, kind, out: Rc::default() }).collect()
    }

    /// On the way in. `Some` answers at once, which none of these does, and the compiler cannot know.
    pub fn request(&self, exchange: &mut Exchange) -> Option<u64> {
        let before = exchange.fields[(self.at + POLICIES - 1) % POLICIES];
        exchange.fields[self.at] = before.wrapping_mul(31).wrapping_add(self.at as u64);
        if self.kind == Kind::Admits {
            self.out.set(self.out.get() + 1);
            exchange.tickets[0] = Some(Permit(Rc::clone(&self.out)));
        }
        (exchange.fields[self.at] == u64::MAX).then_some(before)
    }

    /// On the way out.
    pub fn response(&self, exchange: &mut Exchange) {
        exchange.fields[self.at] ^= exchange.fields[(self.at + 1) % POLICIES];
    }
}

/// Ready when it is asked for the second time.
#[derive(Default)]
pub struct Later(bool);

impl Future for Later {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
