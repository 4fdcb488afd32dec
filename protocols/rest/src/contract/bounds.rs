//! Bounds what one check may cost, whatever the schema and the body are like.
//!
//! A check first judges a value, which allocates next to nothing, and then, only if it does not fit, tells where. Both
//! could grow without end: a schema whose alternatives all contain it doubles the work with each level of a body, and a
//! list of half a million wrong items has as many errors. So three keywords of ours are put into the schemas:
//!
//! - [`STEPS`] counts visits of schemas that contain themselves,
//! - [`TELL`] counts the items and members of a list or map that errors are told of,
//! - [`STOP`] is where either count is used up: it fails while judging and is silent while telling.

use std::cell::Cell;

use jsonschema::{Keyword, ValidationError, ValidationOptions};
use serde_json::{Value, json};

const STEPS: &str = "portolan:steps";
const TELL: &str = "portolan:tell";
const STOP: &str = "portolan:stop";

/// Visits of recursive schemas that judging any value may cost, and those that each byte of its text adds. A schema that
/// contains itself once is visited less often than the text has bytes.
const STEPS_TO_JUDGE: u64 = 10_000;
const STEPS_PER_BYTE: u64 = 4;

/// Visits of recursive schemas that telling may cost: each may hold an error of some hundred bytes.
const STEPS_TO_TELL: u64 = 10_000;

/// Items and members that errors are told of. More than a refusal names, since lists in lists count more than once.
const PARTS_TO_TELL: u64 = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Judging,
    Telling,
}

// A check never waits, so a thread has one at a time.
thread_local! {
    static STAGE: Cell<Stage> = const { Cell::new(Stage::Judging) };
    static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
    static PARTS_LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Judges a value whose text has so many bytes.
pub(super) fn judge<T>(bytes: usize, judge: impl FnOnce() -> T) -> T {
    STAGE.set(Stage::Judging);
    STEPS_LEFT.set(STEPS_TO_JUDGE + STEPS_PER_BYTE * bytes as u64);
    judge()
}

/// Tells what is wrong with a value.
pub(super) fn tell<T>(tell: impl FnOnce() -> T) -> T {
    STAGE.set(Stage::Telling);
    STEPS_LEFT.set(STEPS_TO_TELL);
    PARTS_LEFT.set(PARTS_TO_TELL);
    tell()
}

/// The schema, counted each time it is visited.
pub(super) fn counted(schema: Value) -> Value {
    // `if` is looked at first, so what follows is not begun once the count is used up.
    json!({ "if": { STEPS: true }, "then": schema, "else": { STOP: true } })
}

/// The schema of any number of items or members, as a reference: those that fit cost nothing, and of the others only a
/// number is told.
pub(super) fn of_many(reference: &Value) -> Value {
    json!({ "if": reference, "else": { STOP: true, "if": { TELL: true }, "then": reference } })
}

/// Makes the keywords known.
pub(super) fn with_keywords(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    options
        .with_keyword(STEPS, |_, _, _| Ok(Box::new(Bound(|| take(&STEPS_LEFT)))))
        .with_keyword(TELL, |_, _, _| Ok(Box::new(Bound(|| STAGE.get() == Stage::Telling && take(&PARTS_LEFT)))))
        .with_keyword(STOP, |_, _, _| Ok(Box::new(Bound(|| STAGE.get() == Stage::Telling))))
}

fn take(left: &'static std::thread::LocalKey<Cell<u64>>) -> bool {
    let before = left.get();
    left.set(before.saturating_sub(1));
    before > 0
}

/// A keyword that holds or not whatever the value is.
struct Bound(fn() -> bool);

impl<'i> Keyword<'i> for Bound {
    fn validate(&self, _: &'i Value) -> Result<(), ValidationError<'i>> {
        match (self.0)() {
            true => Ok(()),
            false => Err(ValidationError::custom("is more than can be checked")),
        }
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        (self.0)()
    }
}
