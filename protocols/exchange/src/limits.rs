//! Limits are one call: reserve all buckets or none, settle the real cost later.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use smallvec::SmallVec;

use crate::{LocalBoxFuture, Moment};

/// How much may be drawn: `limit` in every `every`, with a bucket that holds `burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Units that flow into the bucket in each period; at least 1.
    pub limit: u64,
    /// The period; at least a millisecond.
    pub every: Duration,
    /// The bucket's capacity in units; at least 1.
    pub burst: u64,
}

/// One draw on one bucket.
#[derive(Debug, Clone)]
pub struct Draw<'a> {
    /// Which bucket: the limit's own name and whom it counts, as in `orders/default/consumer/acme`.
    pub key: &'a str,
    /// Its quota.
    pub quota: Quota,
    /// How many units.
    pub cost: u64,
    /// Where the store found it last, if somebody keeps that.
    pub found: Option<&'a Found>,
}

/// Where a store found a bucket: kept beside the bucket's key by whoever draws on it often, so that it is not searched for each
/// time. Good for the store that noted it, and for that key. Keeps no bucket alive.
#[derive(Default)]
pub struct Found(RefCell<Option<Weak<dyn Any + Send + Sync>>>);

impl Found {
    /// The bucket noted last, while somebody else keeps it.
    pub fn bucket<B: Any + Send + Sync>(&self) -> Option<Arc<B>> {
        self.0.borrow().as_ref()?.upgrade()?.downcast().ok()
    }

    /// Notes a bucket.
    pub fn note<B: Any + Send + Sync>(&self, bucket: &Arc<B>) {
        let weak = Arc::downgrade(bucket);
        *self.0.borrow_mut() = Some(weak);
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found")
    }
}

/// What stands behind limits: memory, or a store shared by several gateways.
pub trait Store: Send + Sync {
    /// Draws on all buckets or on none. Never waits.
    fn reserve(&self, draws: &[Draw<'_>], now: Moment) -> Reserve;

    /// Draws on one bucket for good, and says how it stands then, or that too little is left; `None` where only
    /// [`reserve`](Store::reserve) can say. For the many who are held to one limit.
    fn draw(&self, draw: &Draw<'_>, now: Moment) -> Option<Result<Level, Refused>> {
        let _ = (draw, now);
        None
    }
}

/// What a store answers.
pub enum Reserve {
    /// All draws were made.
    Reserved(Reservation),
    /// At least one bucket has not enough; nothing was drawn.
    Refused(Refused),
    /// The store must ask elsewhere first: to be awaited in a future.
    Wait(LocalBoxFuture<'static, Reserve>),
}

/// Why a reservation was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which of the draws, the one to wait longest for.
    pub index: usize,
    /// How long until all draws can be made; `None` when the cost is above a bucket's capacity and waiting cannot help.
    pub retry_after: Option<Duration>,
    /// The buckets as they stand, in the order of the draws.
    pub levels: Vec<Level>,
}

/// A bucket as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Units that can be drawn now.
    pub remaining: u64,
    /// How long until the bucket is full again.
    pub reset: Duration,
}

/// A bucket that was drawn upon, as a reservation keeps it.
pub trait Bucket: Send + Sync {
    /// Puts units back.
    fn refund(&self, quota: Quota, units: u64);

    /// Draws units that are owed, even below empty.
    fn charge(&self, quota: Quota, units: u64);
}

/// What becomes of a draw whose reservation is dropped without being settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refund {
    /// It stays drawn: a client that goes away has used it.
    Keep,
    /// It is put back.
    GiveBack,
}

/// One of each draw that is made together. Few exchanges are held to more than two limits, and for those nothing is allocated.
pub type PerDraw<T> = SmallVec<[T; 2]>;

/// Draws that were made. Settle it with the real cost; dropping it follows its refund rule.
pub struct Reservation {
    held: PerDraw<Held>,
    levels: PerDraw<Level>,
    refund: Refund,
}

/// One draw that a reservation holds.
pub struct Held {
    /// The bucket drawn upon.
    pub bucket: Arc<dyn Bucket>,
    /// Its quota.
    pub quota: Quota,
    /// The units drawn.
    pub cost: u64,
}

impl Reservation {
    /// A reservation of these draws; dropping it keeps them drawn.
    pub fn new(held: PerDraw<Held>, levels: PerDraw<Level>) -> Self {
        Self { held, levels, refund: Refund::Keep }
    }

    /// With another rule for being dropped.
    #[must_use]
    pub fn on_drop(mut self, refund: Refund) -> Self {
        self.refund = refund;
        self
    }

    /// The buckets as they stood after the draws, in the order of the draws.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Corrects every draw to the real cost: the rest is put back, an overrun is charged.
    pub fn settle(mut self, real_cost: u64) {
        for held in std::mem::take(&mut self.held) {
            match held.cost.cmp(&real_cost) {
                std::cmp::Ordering::Greater => held.bucket.refund(held.quota, held.cost - real_cost),
                std::cmp::Ordering::Less => held.bucket.charge(held.quota, real_cost - held.cost),
                std::cmp::Ordering::Equal => {}
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.refund == Refund::GiveBack {
            for held in &self.held {
                held.bucket.refund(held.quota, held.cost);
            }
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("draws", &self.held.len())
            .field("levels", &self.levels)
            .field("refund", &self.refund)
            .finish()
    }
}
