//! Runs one input: under `catch_unwind`, with its allocations counted.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use crate::signature::Signature;
use crate::target::Target;

/// What became of an input.
#[derive(Debug)]
pub enum Outcome {
    /// Everything held.
    Held {
        /// How it was taken.
        signature: Signature,
        /// How many allocations it made.
        allocations: u64,
    },
    /// Something did not.
    Broke(Breach),
}

/// What did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The place in the source, or `memory`: by it one defect is told from another.
    pub place: String,
    /// What was said.
    pub message: String,
}

thread_local! {
    static LAST_PANIC: RefCell<Option<Breach>> = const { RefCell::new(None) };
    /// Whether an input is being run here, so that a panic is to be noted and not printed.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Runs one input.
pub fn execute(target: &Target, input: &[u8]) -> Outcome {
    match measure(target, input) {
        // What is made once, such as a compiled contract, is charged to whoever comes first. The second time is fair.
        Outcome::Broke(breach) if breach.place == MEMORY => measure(target, input),
        outcome => outcome,
    }
}

/// The place of a breach of the bound on memory.
const MEMORY: &str = "memory";

fn measure(target: &Target, input: &[u8]) -> Outcome {
    note_panics();
    RUNNING.set(true);
    let mut outcome = None;
    // The counter must see the end of the closure, so the panic is caught within it.
    let counted = allocation_counter::measure(|| {
        outcome = Some(panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    });
    RUNNING.set(false);
    match outcome.expect("the closure was called") {
        Err(_) => Outcome::Broke(LAST_PANIC.take().unwrap_or_else(|| Breach {
            place: "unknown".to_owned(),
            message: "a panic that passed the hook by".to_owned(),
        })),
        Ok(signature) => match target.memory.exceeded(input.len(), counted.bytes_total, counted.bytes_max) {
            Some(message) => Outcome::Broke(Breach { place: MEMORY.to_owned(), message }),
            None => Outcome::Held { signature, allocations: counted.count_total },
        },
    }
}

/// From now on a panic of an input is noted; others are printed as before.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| if RUNNING.get() { note(info) } else { before(info) }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let message = info.payload_as_str().unwrap_or("a panic without a message").to_owned();
    LAST_PANIC.set(Some(Breach { place, message }));
}
