//! The sessions of one worker: a table that outlives whoever drives it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::events::EventLog;

/// A client's connection that outlives one operation, as its worker's shard drives it.
pub trait Session {
    /// Takes what is ready in this log, as far as there is room to send it. Must not block.
    fn advance(&self, log: &Arc<EventLog>);

    /// Ends it because its own code panicked: closed with 1011 (RFC 6455, section 7.4.1), nothing of it is called again.
    fn fail(&self);

    /// Ends it in good order with a close code and a reason, what is queued first.
    fn close(&self, code: u16, reason: &str);

    /// Its state, for the admin page.
    fn state(&self) -> serde_json::Value;
}

/// The sessions of one worker.
#[derive(Default)]
pub struct Sessions {
    table: RefCell<BTreeMap<u64, Entry>>,
    // Who follows which topic, by session: what is gone through for every event holds nothing else.
    followers: RefCell<HashMap<Arc<str>, Followers>>,
    next: Cell<u64>,
    // The session whose code runs now. Still set when a new shard begins: that code panicked.
    at_work: Cell<Option<u64>>,
}

/// Sessions in the order in which they were seated.
type Followers = BTreeMap<u64, Rc<dyn Session>>;

struct Entry {
    session: Rc<dyn Session>,
    topics: Vec<Arc<str>>,
}

/// A session's place in the table; dropping it takes the session out.
pub struct Seat {
    sessions: Rc<Sessions>,
    id: u64,
}

/// How far the sessions that read a log were let go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// How many were.
    pub count: usize,
    /// Whom to go on with; `None` when all were.
    pub next: Option<u64>,
}

impl Sessions {
    /// Seats a session.
    pub fn enter(self: &Rc<Self>, session: Rc<dyn Session>) -> Seat {
        let id = self.next.get();
        self.next.set(id + 1);
        self.table.borrow_mut().insert(id, Entry { session, topics: Vec::new() });
        Seat { sessions: self.clone(), id }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets every session that reads this log take what is ready. A panic in one of them leaves a mark that
    /// [`Sessions::mend`] reads.
    pub fn advance(&self, log: &Arc<EventLog>) {
        self.advance_from(0, usize::MAX, log);
    }

    /// As [`Sessions::advance`], for at most `most` of them, in the order in which they were seated, beginning with `first` or whoever
    /// comes after it. Who follows the log only meanwhile has nothing to catch up with.
    pub fn advance_from(&self, first: u64, most: usize, log: &Arc<EventLog>) -> Advanced {
        let (readers, next) = {
            let followers = self.followers.borrow();
            let Some(readers) = followers.get(log.topic()) else { return Advanced { count: 0, next: None } };
            let mut left = readers.range(first..);
            let readers: Vec<_> = left.by_ref().take(most).map(|(id, session)| (*id, session.clone())).collect();
            (readers, left.next().map(|(id, _)| *id))
        };
        for (id, session) in &readers {
            self.at_work.set(Some(*id));
            session.advance(log);
            self.at_work.set(None);
        }
        Advanced { count: readers.len(), next }
    }

    /// After a panic: ends the session whose code ran, so that the others go on. Whether there was one.
    pub fn mend(&self) -> bool {
        let Some(id) = self.at_work.take() else { return false };
        let entry = self.remove(id);
        if let Some(entry) = &entry {
            entry.session.fail();
        }
        entry.is_some()
    }

    /// Ends all of them in good order.
    pub fn close_all(&self, code: u16, reason: &str) {
        let all: Vec<_> = self.table.borrow().values().map(|entry| entry.session.clone()).collect();
        for session in all {
            session.close(code, reason);
        }
    }

    /// The state of each, for the admin page, at most `limit` of them.
    pub fn states(&self, limit: usize) -> Vec<serde_json::Value> {
        let some: Vec<_> = self.table.borrow().values().take(limit).map(|entry| entry.session.clone()).collect();
        some.iter().map(|session| session.state()).collect()
    }

    fn follow(&self, id: u64, topic: &Arc<str>) {
        let mut table = self.table.borrow_mut();
        let Some(entry) = table.get_mut(&id) else { return };
        if !entry.topics.contains(topic) {
            entry.topics.push(topic.clone());
            self.followers.borrow_mut().entry(topic.clone()).or_default().insert(id, entry.session.clone());
        }
    }

    fn leave(&self, id: u64, topic: &Arc<str>) {
        let mut followers = self.followers.borrow_mut();
        let Some(sessions) = followers.get_mut(topic) else { return };
        sessions.remove(&id);
        if sessions.is_empty() {
            followers.remove(topic);
        }
    }

    /// Takes a session out of the table. Its entry is to be dropped when no table is held: its own drop may look at them.
    fn remove(&self, id: u64) -> Option<Entry> {
        let entry = self.table.borrow_mut().remove(&id)?;
        for topic in &entry.topics {
            self.leave(id, topic);
        }
        Some(entry)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({})", self.len())
    }
}

impl Seat {
    /// From now on the session is told when this topic's log grows.
    pub fn follow(&self, topic: &Arc<str>) {
        self.sessions.follow(self.id, topic);
    }

    /// The session is no longer told of this topic.
    pub fn leave(&self, topic: &Arc<str>) {
        if let Some(entry) = self.sessions.table.borrow_mut().get_mut(&self.id) {
            entry.topics.retain(|known| known != topic);
        }
        self.sessions.leave(self.id, topic);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _entry = self.sessions.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::events::Bounds;

    #[derive(Default)]
    struct Probe {
        advanced: Cell<usize>,
        failed: Cell<bool>,
        panics: bool,
    }

    impl Session for Probe {
        fn advance(&self, _: &Arc<EventLog>) {
            assert!(!self.panics, "a session at fault");
            self.advanced.set(self.advanced.get() + 1);
        }

        fn fail(&self) {
            self.failed.set(true);
        }

        fn close(&self, _: u16, _: &str) {}

        fn state(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
    }

    #[test]
    fn a_session_that_panics_is_ended_and_the_others_go_on() {
        let sessions = Rc::new(Sessions::default());
        let log = EventLog::new("t", Bounds::default());
        let (good, bad) = (Rc::new(Probe::default()), Rc::new(Probe { panics: true, ..Probe::default() }));
        let bad_seat = sessions.enter(bad.clone());
        let good_seat = sessions.enter(good.clone());
        bad_seat.follow(log.topic());
        good_seat.follow(log.topic());
        assert!(catch_unwind(AssertUnwindSafe(|| sessions.advance(&log))).is_err());
        assert!(sessions.mend());
        assert!(bad.failed.get() && !good.failed.get());
        sessions.advance(&log);
        assert_eq!((good.advanced.get(), sessions.len()), (1, 1));
        assert!(!sessions.mend());
    }

    #[test]
    fn only_followers_of_a_topic_are_told_and_a_dropped_seat_is_left() {
        let sessions = Rc::new(Sessions::default());
        let log = EventLog::new("t", Bounds::default());
        let probe = Rc::new(Probe::default());
        let seat = sessions.enter(probe.clone());
        sessions.advance(&log);
        assert_eq!(probe.advanced.get(), 0);
        seat.follow(log.topic());
        sessions.advance(&log);
        assert_eq!(probe.advanced.get(), 1);
        drop(seat);
        assert!(sessions.is_empty());
    }

    #[test]
    fn sessions_are_told_in_parts_each_once_whoever_comes_and_goes_between() {
        let sessions = Rc::new(Sessions::default());
        let log = EventLog::new("t", Bounds::default());
        let probes: Vec<Rc<Probe>> = (0..10).map(|_| Rc::default()).collect();
        let mut seats: Vec<_> = probes.iter().map(|probe| sessions.enter(probe.clone())).collect();
        for seat in &seats {
            seat.follow(log.topic());
            seat.follow(log.topic());
        }
        assert_eq!(sessions.advance_from(0, 4, &log), Advanced { count: 4, next: Some(4) });
        // One that was told, the one that is next, and one that left the topic.
        drop(seats.remove(4));
        drop(seats.remove(0));
        seats[7].leave(log.topic());
        assert_eq!(sessions.advance_from(4, 4, &log), Advanced { count: 4, next: None });
        let advanced: Vec<_> = probes.iter().map(|probe| probe.advanced.get()).collect();
        assert_eq!(advanced, [1, 1, 1, 1, 0, 1, 1, 1, 1, 0]);
        drop(seats);
        assert_eq!(sessions.advance_from(0, 4, &log), Advanced { count: 0, next: None });
        assert!(sessions.followers.borrow().is_empty());
    }
}
