//! Time, injected: one clock stands behind all timers, buckets and tokens, so that a test can move it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

/// A point on the clock's own axis: nanoseconds since the clock began. Never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment this many nanoseconds after the clock began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus a duration, saturating at the end of time (584 years).
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// Saturating at the end of time, and without the 128 bits of [`Duration::as_nanos`].
const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// The clock of a gateway: the system's, or one that a test moves by hand. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System { origin: Instant },
    Manual(Mutex<Manual>),
}

struct Manual {
    now: Moment,
    wall_at_start: SystemTime,
    next_id: u64,
    sleepers: BTreeMap<(Moment, u64), Waker>,
}

impl Clock {
    /// The system's monotonic clock, with timers of the runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    pub fn system() -> Self {
        Self(Arc::new(Source::System { origin: Instant::now() }))
    }

    /// A clock that stands still until [`Clock::advance`] moves it. Its wall time begins at `wall`.
    pub fn manual(wall: SystemTime) -> Self {
        // One hour in, so that code which looks back from "now" has somewhere to look.
        let now = Moment::default().after(Duration::from_secs(3600));
        Self(Arc::new(Source::Manual(Mutex::new(Manual {
            now,
            wall_at_start: wall,
            next_id: 0,
            sleepers: BTreeMap::new(),
        }))))
    }

    /// The present moment. Within a turn of a worker ([`turn_begins`]) it is the moment of an earlier look.
    pub fn now(&self) -> Moment {
        match &*self.0 {
            Source::System { origin } => LOOK.with(|look| look.now(*origin)),
            Source::Manual(manual) => lock(manual).now,
        }
    }

    /// The present moment, looked at anew, also within a turn: for how long something took.
    pub fn look(&self) -> Moment {
        LOOK.with(Look::forget);
        self.now()
    }

    /// The present time of day, for logs, expiry dates and headers.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    pub fn wall(&self) -> SystemTime {
        match &*self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Manual(manual) => {
                let manual = lock(manual);
                manual.wall_at_start + manual.now.since(Moment::default()) - Duration::from_secs(3600)
            }
        }
    }

    /// Waits until `moment`. Dropping the future forgets the timer.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    pub fn sleep_until(&self, moment: Moment) -> Sleep {
        let state = match &*self.0 {
            Source::System { origin } => {
                let deadline = *origin + moment.since(Moment::default());
                SleepState::System(Box::pin(tokio::time::sleep_until(deadline.into())))
            }
            Source::Manual(_) => SleepState::Manual { clock: self.clone(), moment, id: None },
        };
        Sleep { state }
    }

    /// Waits for a duration. Dropping the future forgets the timer.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().after(duration))
    }

    /// Runs `future` for at most `limit`; past it the future is dropped and [`Elapsed`] returned.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        self.until(self.now().after(limit), future).await
    }

    /// Runs `future` until `deadline`; past it the future is dropped and [`Elapsed`] returned.
    pub async fn until<F: Future>(&self, deadline: Moment, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut sleep = None;
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            // The timer is made only when the future had to wait: most do not.
            let sleep = sleep.get_or_insert_with(|| self.sleep_until(deadline));
            Pin::new(sleep).poll(context).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Moves a manual clock on and wakes every sleeper whose moment has come. Does nothing to the system's clock.
    pub fn advance(&self, by: Duration) {
        let Source::Manual(manual) = &*self.0 else { return };
        let due = {
            let mut manual = lock(manual);
            manual.now = manual.now.after(by);
            let first_later = (Moment(manual.now.0.saturating_add(1)), 0);
            let later = manual.sleepers.split_off(&first_later);
            std::mem::replace(&mut manual.sleepers, later)
        };
        for waker in due.into_values() {
            waker.wake();
        }
    }

    /// How many timers wait on a manual clock: a test waits for one to exist before it moves time.
    pub fn sleepers(&self) -> usize {
        match &*self.0 {
            Source::System { .. } => 0,
            Source::Manual(manual) => lock(manual).sleepers.len(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &*self.0 {
            Source::System { .. } => "system",
            Source::Manual(_) => "manual",
        };
        f.debug_struct("Clock").field("kind", &kind).field("now", &self.now()).finish()
    }
}

/// A turn of this thread's loop begins: it has slept, or has handled all that was ready. From the first call on the thread looks
/// at the system's clock once a turn, and after every 64 questions. A request asks a dozen times, and each look costs as much as
/// a small allocation.
pub fn turn_begins() {
    LOOK.with(|look| {
        look.most.set(64);
        look.forget();
    });
}

thread_local! {
    static LOOK: Look = const { Look { last: Cell::new(None), left: Cell::new(0), most: Cell::new(0) } };
}

/// The last look of a thread at the system's clock.
struct Look {
    // Of which clock, by its origin, and what it said.
    last: Cell<Option<(Instant, Moment)>>,
    // How often it still may be used, and how often from a new one on.
    left: Cell<u32>,
    most: Cell<u32>,
}

impl Look {
    fn now(&self, origin: Instant) -> Moment {
        if let (left @ 1.., Some((of, moment))) = (self.left.get(), self.last.get())
            && of == origin
        {
            self.left.set(left - 1);
            return moment;
        }
        let moment = Moment(nanos(origin.elapsed()));
        self.last.set(Some((origin, moment)));
        self.left.set(self.most.get());
        moment
    }

    fn forget(&self) {
        self.left.set(0);
    }
}

/// A limit of time was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// A timer on a [`Clock`].
pub struct Sleep {
    state: SleepState,
}

enum SleepState {
    System(Pin<Box<tokio::time::Sleep>>),
    Manual { clock: Clock, moment: Moment, id: Option<u64> },
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            SleepState::System(sleep) => sleep.as_mut().poll(context),
            SleepState::Manual { clock, moment, id } => {
                let Source::Manual(manual) = &*clock.0 else { return Poll::Ready(()) };
                let mut manual = lock(manual);
                if manual.now >= *moment {
                    if let Some(id) = id.take() {
                        manual.sleepers.remove(&(*moment, id));
                    }
                    return Poll::Ready(());
                }
                let id = *id.get_or_insert_with(|| {
                    manual.next_id += 1;
                    manual.next_id
                });
                manual.sleepers.insert((*moment, id), context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let SleepState::Manual { clock, moment, id: Some(id) } = &self.state
            && let Source::Manual(manual) = &*clock.0
        {
            lock(manual).sleepers.remove(&(*moment, *id));
        }
    }
}

// A panic while the lock is held cannot leave the map half changed, so poisoning carries no news.
fn lock(manual: &Mutex<Manual>) -> MutexGuard<'_, Manual> {
    manual.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_moved_clock_wakes_exactly_the_sleepers_whose_moment_has_come() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let mut early = pin!(clock.sleep(Duration::from_secs(1)));
        let mut late = pin!(clock.sleep(Duration::from_secs(3)));
        assert_eq!(early.as_mut().now_or_never(), None);
        assert_eq!(late.as_mut().now_or_never(), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(early.as_mut().now_or_never(), Some(()));
        assert_eq!(late.as_mut().now_or_never(), None);
        assert_eq!(clock.sleepers(), 1);
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    }

    #[test]
    fn within_a_turn_time_stands_still_for_so_many_looks() {
        let clock = Clock::system();
        std::thread::spawn(move || {
            turn_begins();
            let first = clock.now();
            assert_eq!((0..64).map(|_| clock.now()).filter(|now| *now != first).count(), 0);
            while clock.now() == first {}
            let second = clock.now();
            while clock.look() == second {}
            turn_begins();
            assert!(clock.now() > second);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_dropped_sleeper_is_forgotten() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        {
            let mut sleep = pin!(clock.sleep(Duration::from_secs(1)));
            assert_eq!(sleep.as_mut().now_or_never(), None);
            assert_eq!(clock.sleepers(), 1);
        }
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn a_timeout_drops_what_it_bounds() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let mut bounded = pin!(clock.timeout(Duration::from_secs(1), std::future::pending::<()>()));
        assert_eq!(bounded.as_mut().now_or_never(), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(bounded.as_mut().now_or_never(), Some(Err(Elapsed)));
    }
}
