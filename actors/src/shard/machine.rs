//! Which logs have grown since their sessions were last driven. A log stays pending until that was done to the end.

use std::collections::VecDeque;
use std::sync::Arc;

use portolan_exchange::events::EventLog;

/// Logs that have grown, each once however often it did.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    log: Arc<EventLog>,
    // How often it has grown since it became pending.
    marks: u64,
}

/// A log to be driven now, and how often it had grown by then.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) log: Arc<EventLog>,
    marks: u64,
}

impl Machine {
    /// A log has grown.
    pub(super) fn advanced(&mut self, log: &Arc<EventLog>) {
        match self.pending.iter_mut().find(|pending| Arc::ptr_eq(&pending.log, log)) {
            Some(pending) => pending.marks += 1,
            None => self.pending.push_back(Pending { log: log.clone(), marks: 1 }),
        }
    }

    /// The log that is due next. It stays pending until [`Machine::driven`] says that it was driven.
    pub(super) fn due(&self) -> Option<Due> {
        self.pending.front().map(|pending| Due { log: pending.log.clone(), marks: pending.marks })
    }

    /// A log was driven to the end. If it grew meanwhile it is due again, after the others.
    pub(super) fn driven(&mut self, due: &Due) {
        let Some(at) = self.pending.iter().position(|pending| Arc::ptr_eq(&pending.log, &due.log)) else { return };
        let pending = self.pending.remove(at).expect("the position was found just now");
        if pending.marks != due.marks {
            self.pending.push_back(pending);
        }
    }

    /// How many logs are pending.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use portolan_exchange::events::Bounds;

    use super::*;

    fn log(topic: &str) -> Arc<EventLog> {
        EventLog::new(topic, Bounds::default())
    }

    fn topic(machine: &Machine) -> Option<String> {
        machine.due().map(|due| due.log.topic().to_string())
    }

    #[test]
    fn a_log_that_grows_many_times_is_due_once() {
        let (mut machine, a, b) = (Machine::default(), log("a"), log("b"));
        for _ in 0..3 {
            machine.advanced(&a);
            machine.advanced(&b);
        }
        machine.driven(&machine.due().unwrap());
        assert_eq!((topic(&machine).as_deref(), machine.len()), (Some("b"), 1));
        machine.driven(&machine.due().unwrap());
        assert_eq!((topic(&machine), machine.len()), (None, 0));
    }

    #[test]
    fn a_log_that_grows_while_it_is_driven_is_due_again_after_the_others() {
        let (mut machine, a, b) = (Machine::default(), log("a"), log("b"));
        machine.advanced(&a);
        machine.advanced(&b);
        let due = machine.due().unwrap();
        machine.advanced(&a);
        machine.driven(&due);
        assert_eq!(topic(&machine).as_deref(), Some("b"));
        machine.driven(&machine.due().unwrap());
        assert_eq!(topic(&machine).as_deref(), Some("a"));
    }

    #[test]
    fn a_log_whose_driving_broke_off_is_still_due() {
        let (mut machine, a) = (Machine::default(), log("a"));
        machine.advanced(&a);
        let _broken_off = machine.due();
        assert_eq!(topic(&machine).as_deref(), Some("a"));
    }
}
