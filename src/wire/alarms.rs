//! The time-outs of a worker's connections: one timer for all of them.
//!
//! A connection moves its deadline with every message and hardly ever meets it. So moving it only writes a cell; the queue
//! holds one entry for each alarm, which, when its time has come, is put back to where the deadline has moved meanwhile.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use portolan_exchange::clock::Sleep;
use portolan_exchange::{Clock, Moment};

const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// The alarms of one worker.
pub struct Alarms {
    clock: Clock,
    queue: RefCell<BinaryHeap<Reverse<Entry>>>,
    numbers: Cell<u64>,
    // Entries of alarms that were dropped.
    dropped: Cell<usize>,
    // Until when the driver sleeps, and how it is told that it must look earlier.
    asleep_until: Cell<Moment>,
    driver: RefCell<Option<Waker>>,
}

struct Entry {
    at: Moment,
    number: u64,
    alarm: Rc<State>,
}

/// When somebody waits no longer. Dropping it forgets it. One that is never set takes no room of its own.
pub struct Alarm {
    state: OnceCell<Rc<State>>,
    alarms: Rc<Alarms>,
}

struct State {
    deadline: Cell<Moment>,
    // Where its entry stands in the queue; one that was moved nearer left others behind it.
    queued: Cell<Moment>,
    entries: Cell<usize>,
    is_dropped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Alarms {
    /// No alarms yet.
    pub fn new(clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            clock,
            queue: RefCell::default(),
            numbers: Cell::new(0),
            dropped: Cell::new(0),
            asleep_until: Cell::new(NEVER),
            driver: RefCell::new(None),
        })
    }

    /// An alarm that is not set.
    pub fn alarm(self: &Rc<Self>) -> Alarm {
        Alarm { state: OnceCell::new(), alarms: self.clone() }
    }

    /// Wakes whoever waits with a deadline, whether it has come or not: something happened that all must see.
    pub fn wake_all(&self) {
        for Reverse(entry) in self.queue.borrow().iter() {
            entry.alarm.wake();
        }
    }

    /// Wakes those whose deadline has come, for as long as the worker lives.
    pub async fn drive(self: Rc<Self>) {
        let mut sleep: Option<(Moment, Pin<Box<Sleep>>)> = None;
        poll_fn(|context| {
            loop {
                let next = self.fire();
                self.asleep_until.set(next);
                if next == NEVER {
                    sleep = None;
                } else if sleep.as_ref().is_none_or(|(until, _)| *until != next) {
                    sleep = Some((next, Box::pin(self.clock.sleep_until(next))));
                }
                let is_due = sleep.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready());
                if !is_due {
                    break;
                }
                sleep = None;
            }
            remember(&self.driver, context);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Wakes those whose deadline has come; when the next entry is due.
    fn fire(&self) -> Moment {
        // Anew: what is due by the system's clock must be due by ours.
        let now = self.clock.look();
        let mut queue = self.queue.borrow_mut();
        while let Some(mut first) = queue.peek_mut() {
            if first.0.at > now {
                return first.0.at;
            }
            let state = &first.0.alarm;
            let is_current = state.queued.get() == first.0.at;
            let deadline = state.deadline.get();
            let is_dropped = state.is_dropped.get();
            if is_current && !is_dropped && deadline > now && deadline != NEVER {
                state.queued.set(deadline);
                first.0.at = deadline;
                continue;
            }
            if is_dropped {
                self.dropped.set(self.dropped.get().saturating_sub(1));
            } else if is_current {
                state.queued.set(NEVER);
                if deadline <= now {
                    state.wake();
                }
            }
            state.entries.set(state.entries.get() - 1);
            std::collections::binary_heap::PeekMut::pop(first);
        }
        NEVER
    }

    /// Connections may come and go faster than their deadlines: once half of the queue is theirs, it is tidied.
    fn drop_entries(&self, count: usize) {
        const FEW: usize = 1_024;
        let dropped = self.dropped.get() + count;
        self.dropped.set(dropped);
        let mut queue = self.queue.borrow_mut();
        if dropped > FEW && dropped > queue.len() / 2 {
            queue.retain(|Reverse(entry)| !entry.alarm.is_dropped.get());
            self.dropped.set(0);
        }
    }

    fn queue(&self, alarm: &Rc<State>, at: Moment) {
        alarm.queued.set(at);
        alarm.entries.set(alarm.entries.get() + 1);
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        self.queue.borrow_mut().push(Reverse(Entry { at, number, alarm: alarm.clone() }));
        if at < self.asleep_until.get()
            && let Some(driver) = self.driver.borrow().as_ref()
        {
            driver.wake_by_ref();
        }
    }
}

impl Alarm {
    /// Moves the deadline.
    pub fn set(&self, deadline: Moment) {
        let state = self.state.get_or_init(State::new);
        state.deadline.set(deadline);
        if deadline < state.queued.get() {
            self.alarms.queue(state, deadline);
        }
    }

    /// Whether a deadline is set.
    pub fn is_set(&self) -> bool {
        self.state.get().is_some_and(|state| state.deadline.get() != NEVER)
    }

    /// Nobody waits any more.
    pub fn clear(&self) {
        if let Some(state) = self.state.get() {
            state.deadline.set(NEVER);
        }
    }

    /// Ready once the deadline has come; an alarm that is not set never is.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(state) = self.state.get() else { return Poll::Pending };
        let deadline = state.deadline.get();
        if deadline == NEVER {
            return Poll::Pending;
        }
        if deadline <= self.alarms.clock.now() {
            return Poll::Ready(());
        }
        remember(&state.waker, context);
        Poll::Pending
    }

    /// The time, as the alarm sees it.
    pub fn now(&self) -> Moment {
        self.alarms.clock.now()
    }
}

impl State {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            deadline: Cell::new(NEVER),
            queued: Cell::new(NEVER),
            entries: Cell::new(0),
            is_dropped: Cell::new(false),
            waker: RefCell::new(None),
        })
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(state) = self.state.get() else { return };
        // A task must not be held until its entry's time has come.
        state.waker.borrow_mut().take();
        state.is_dropped.set(true);
        let entries = state.entries.get();
        if entries > 0 {
            self.alarms.drop_entries(entries);
        }
    }
}

/// Keeps the waker of this context, cloned only when it is another one.
pub fn remember(slot: &RefCell<Option<Waker>>, context: &Context<'_>) {
    let mut slot = slot.borrow_mut();
    if !slot.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
        *slot = Some(context.waker().clone());
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::{Duration, SystemTime};

    use futures_util::FutureExt;

    use super::*;

    fn seconds(clock: &Clock, seconds: u64) -> Moment {
        clock.now().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_deadline_that_moves_on_is_met_where_it_stands_at_last() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let alarms = Alarms::new(clock.clone());
        let mut driver = pin!(alarms.clone().drive());
        let alarm = alarms.alarm();
        alarm.set(seconds(&clock, 10));
        alarm.set(seconds(&clock, 15));
        let mut waiting = pin!(poll_fn(|context| alarm.poll(context)));
        for _ in 0..14 {
            assert_eq!(driver.as_mut().now_or_never(), None);
            assert_eq!(waiting.as_mut().now_or_never(), None);
            clock.advance(Duration::from_secs(1));
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(driver.as_mut().now_or_never(), None);
        assert_eq!(waiting.as_mut().now_or_never(), Some(()));
    }

    #[test]
    fn a_deadline_that_moves_nearer_is_met_earlier() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let alarms = Alarms::new(clock.clone());
        let alarm = alarms.alarm();
        alarm.set(seconds(&clock, 60));
        alarm.set(seconds(&clock, 5));
        let now = clock.now();
        assert_eq!(alarms.fire(), now.after(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(5));
        assert_eq!(alarms.fire(), now.after(Duration::from_secs(60)));
        assert!(poll_fn(|context| alarm.poll(context)).now_or_never().is_some());
    }

    #[test]
    fn a_dropped_alarm_leaves_the_queue_and_holds_nobody() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let alarms = Alarms::new(clock.clone());
        let alarm = alarms.alarm();
        alarm.set(seconds(&clock, 5));
        drop(alarm);
        clock.advance(Duration::from_secs(5));
        assert_eq!(alarms.fire(), NEVER);
        assert_eq!(alarms.queue.borrow().len(), 0);
    }

    #[test]
    fn alarms_of_connections_that_came_and_went_are_not_kept_until_their_time() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let alarms = Alarms::new(clock.clone());
        let lasting = alarms.alarm();
        lasting.set(seconds(&clock, 60));
        for _ in 0..100_000 {
            let alarm = alarms.alarm();
            alarm.set(seconds(&clock, 75));
            // Moved nearer, it has two entries.
            alarm.set(seconds(&clock, 70));
        }
        assert!(alarms.queue.borrow().len() < 2_100, "{} entries", alarms.queue.borrow().len());
        clock.advance(Duration::from_secs(60));
        alarms.fire();
        assert!(poll_fn(|context| lasting.poll(context)).now_or_never().is_some());
    }

    #[test]
    fn an_alarm_moved_back_and_forth_for_long_does_not_fill_the_queue() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let alarms = Alarms::new(clock.clone());
        let alarm = alarms.alarm();
        for _ in 0..1_000 {
            alarm.set(seconds(&clock, 75));
            alarm.set(seconds(&clock, 30));
            clock.advance(Duration::from_secs(1));
            alarms.fire();
        }
        assert!(alarms.queue.borrow().len() <= 4, "{} entries", alarms.queue.borrow().len());
    }
}
