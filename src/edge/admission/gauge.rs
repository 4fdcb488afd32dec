//! Counts one scarce thing against its bound, and knows when it is nearly used up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::Scarce;

/// One scarce thing. What is taken and whether it is scarce stand on lines of memory of their own: the one is written often, the
/// other read often.
#[derive(Debug)]
pub(super) struct Gauge {
    what: Scarce,
    limit: AtomicUsize,
    used: Alone<AtomicUsize>,
    scarce: Alone<AtomicBool>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Alone<T>(T);

/// How much of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Used now.
    pub used: usize,
    /// What may be used.
    pub limit: usize,
    /// Whether new requests are shed for it.
    pub scarce: bool,
}

impl Gauge {
    pub(super) fn new(what: Scarce, limit: usize) -> Self {
        let (used, scarce) = (Alone(AtomicUsize::new(0)), Alone(AtomicBool::new(false)));
        Self { what, limit: AtomicUsize::new(limit), used, scarce }
    }

    /// From so much on it is scarce: 95 % of the limit.
    fn high(&self) -> usize {
        let limit = self.limit.load(SeqCst);
        limit - limit / 20
    }

    /// Below so much it is not scarce any more: 85 % of the limit.
    fn low(&self) -> usize {
        let limit = self.limit.load(SeqCst);
        limit - limit / 20 * 3
    }

    /// Takes some, whatever the limit.
    pub(super) fn take(&self, amount: usize) {
        self.used.0.fetch_add(amount, SeqCst);
        self.judge();
    }

    /// Takes some within the limit; whether there was enough.
    pub(super) fn try_take(&self, amount: usize) -> bool {
        let limit = self.limit.load(SeqCst);
        let fits = |used: usize| used.checked_add(amount).filter(|after| *after <= limit);
        let taken = self.used.0.fetch_update(SeqCst, SeqCst, fits).is_ok();
        self.judge();
        taken
    }

    /// Gives some back.
    pub(super) fn give(&self, amount: usize) {
        let before = self.used.0.fetch_sub(amount, SeqCst);
        debug_assert!(before >= amount, "no more is given back than was taken");
        self.judge();
    }

    pub(super) fn set(&self, limit: usize) {
        self.limit.store(limit, SeqCst);
        self.judge();
    }

    /// Tells what has changed. Of two threads that judge at a time the later sees what both did, because all of it stands in one
    /// order; whoever changes the flag looks again.
    fn judge(&self) {
        loop {
            let used = self.used.0.load(SeqCst);
            let scarce = self.scarce.0.load(SeqCst);
            let turned = if scarce { used < self.low() } else { used >= self.high() };
            if !turned || self.scarce.0.compare_exchange(scarce, !scarce, SeqCst, SeqCst).is_err() {
                return;
            }
            let (what, limit) = (self.what, self.limit.load(SeqCst));
            if scarce {
                tracing::info!(%what, used, limit, "shedding ended");
            } else {
                tracing::warn!(%what, used, limit, "shedding began: new requests get 503 until some is given back");
            }
        }
    }

    pub(super) fn is_scarce(&self) -> bool {
        self.scarce.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn level(&self) -> Level {
        Level { used: self.used.0.load(SeqCst), limit: self.limit.load(SeqCst), scarce: self.scarce.0.load(SeqCst) }
    }
}
