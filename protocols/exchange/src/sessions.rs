//! The sessions of one worker: a table that outlives whoever drives it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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
    next: Cell<u64>,
    // The session whose code runs now. Still set when a new shard begins: that code panicked.
    at_work: Cell<Option<u64>>,
}

#[derive(Clone)]
struct Entry {
    session: Rc<dyn Session>,
    topics: Rc<RefCell<Vec<Arc<str>>>>,
}

/// A session's place in the table; dropping it takes the session out.
pub struct Seat {
    sessions: Rc<Sessions>,
    id: u64,
}

impl Sessions {
    /// Seats a session.
    pub fn enter(self: &Rc<Self>, session: Rc<dyn Session>) -> Seat {
        let id = self.next.get();
        self.next.set(id + 1);
        self.table.borrow_mut().insert(id, Entry { session, topics: Rc::default() });
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
        let readers: Vec<(u64, Rc<dyn Session>)> = {
            let table = self.table.borrow();
            let reads = |entry: &Entry| entry.topics.borrow().iter().any(|topic| topic == log.topic());
            table.iter().filter(|(_, entry)| reads(entry)).map(|(id, entry)| (*id, entry.session.clone())).collect()
        };
        for (id, session) in readers {
            self.at_work.set(Some(id));
            session.advance(log);
            self.at_work.set(None);
        }
    }

    /// After a panic: ends the session whose code ran, so that the others go on. Whether there was one.
    pub fn mend(&self) -> bool {
        let Some(id) = self.at_work.take() else { return false };
        let entry = self.table.borrow_mut().remove(&id);
        if let Some(entry) = &entry {
            entry.session.fail();
        }
        entry.is_some()
    }

    /// Ends all of them in good order.
    pub fn close_all(&self, code: u16, reason: &str) {
        let all: Vec<_> = self.table.borrow().values().cloned().collect();
        for entry in all {
            entry.session.close(code, reason);
        }
    }

    /// The state of each, for the admin page, at most `limit` of them.
    pub fn states(&self, limit: usize) -> Vec<serde_json::Value> {
        let some: Vec<_> = self.table.borrow().values().take(limit).cloned().collect();
        some.iter().map(|entry| entry.session.state()).collect()
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
        if let Some(entry) = self.sessions.table.borrow().get(&self.id) {
            let mut topics = entry.topics.borrow_mut();
            if !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
    }

    /// The session is no longer told of this topic.
    pub fn leave(&self, topic: &Arc<str>) {
        if let Some(entry) = self.sessions.table.borrow().get(&self.id) {
            entry.topics.borrow_mut().retain(|known| known != topic);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The entry is dropped after the table is free again: its own drop may look at the table.
        let _entry = self.sessions.table.borrow_mut().remove(&self.id);
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
}
