//! What is per core: passed to whoever works there, never global.

use std::any::{Any, TypeId};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use crate::protocol::Answer;
use crate::sessions::Sessions;
use crate::{Clock, Exchange, LocalBoxFuture};

/// One worker: a thread with its runtime, and what only it touches.
pub struct Worker {
    /// Its number, from zero.
    pub index: usize,
    /// The time.
    pub clock: Clock,
    /// The sessions of its connections.
    pub sessions: Rc<Sessions>,
    /// Work that outlives its client.
    pub errands: Errands,
    runner: OnceCell<Rc<dyn Runner>>,
    // So few that looking through them is faster than a table.
    locals: RefCell<Vec<(TypeId, Rc<dyn Any>)>>,
}

/// Runs child exchanges through the phases, from Describe on; the first frame of a session from Guard on.
pub trait Runner {
    /// Runs a child to its answer and ends it: its policies have settled when the answer is there. Dropping the future
    /// cancels it.
    fn run(&self, worker: &Rc<Worker>, child: Exchange) -> LocalBoxFuture<'static, (Exchange, Answer)>;
}

impl Worker {
    /// A worker with nothing yet in its hands.
    pub fn new(index: usize, clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            index,
            errands: Errands::new(clock.clone(), 1_024),
            clock,
            sessions: Rc::new(Sessions::default()),
            runner: OnceCell::new(),
            locals: RefCell::default(),
        })
    }

    /// Tells it how child exchanges are run; once, before the first connection.
    pub fn set_runner(&self, runner: Rc<dyn Runner>) {
        let fresh = self.runner.set(runner).is_ok();
        debug_assert!(fresh, "a worker gets its runner once");
    }

    /// Runs a child exchange through the phases, from Describe on. Dropping the future cancels it.
    pub fn run(self: &Rc<Self>, child: Exchange) -> LocalBoxFuture<'static, (Exchange, Answer)> {
        self.runner.get().expect("a worker has its runner before its first connection").run(self, child)
    }

    /// What the worker keeps of this type, made when it is first asked for: pools, metric cells, buffers.
    pub fn local<T: Any>(&self, make: impl FnOnce() -> T) -> Rc<T> {
        let key = TypeId::of::<T>();
        let known = self.locals.borrow().iter().find(|(kept, _)| *kept == key).map(|(_, any)| any.clone());
        let any = known.unwrap_or_else(|| {
            let made: Rc<dyn Any> = Rc::new(make());
            self.locals.borrow_mut().push((key, made.clone()));
            made
        });
        any.downcast().expect("a local is kept under its own type")
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).field("errands", &self.errands.running()).finish()
    }
}

/// Work that outlives its client: a bounded, counted set, each with a deadline of its own.
#[derive(Debug)]
pub struct Errands {
    clock: Clock,
    bound: usize,
    running: Rc<Cell<usize>>,
}

/// The set of errands is full; the work was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Errands {
    /// A set of at most `bound` errands at a time.
    pub fn new(clock: Clock, bound: usize) -> Self {
        Self { clock, bound, running: Rc::new(Cell::new(0)) }
    }

    /// How many are running.
    pub fn running(&self) -> usize {
        self.running.get()
    }

    /// Runs work to its end on this worker, or until its deadline, whatever becomes of the client.
    ///
    /// # Errors
    /// [`Full`] when the bound is reached.
    pub fn run(&self, deadline: Duration, work: impl Future<Output = ()> + 'static) -> Result<(), Full> {
        if self.running.get() >= self.bound {
            return Err(Full);
        }
        let counted = Counted::enter(self.running.clone());
        let clock = self.clock.clone();
        tokio::task::spawn_local(async move {
            // An errand past its deadline is dropped: whoever waited for it has its own deadline and was told.
            let _ = clock.timeout(deadline, work).await;
            drop(counted);
        });
        Ok(())
    }
}

struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn enter(count: Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
