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
    // Where its sessions are half driven: how often it had grown when that began, and whom to go on with.
    paused: Option<(u64, u64)>,
}

/// A log to be driven now, from which session on, and how often it had grown when the first one was driven.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) log: Arc<EventLog>,
    pub(super) first: u64,
    marks: u64,
}

impl Machine {
    /// A log has grown.
    pub(super) fn advanced(&mut self, log: &Arc<EventLog>) {
        match self.pending.iter_mut().find(|pending| Arc::ptr_eq(&pending.log, log)) {
            Some(pending) => pending.marks += 1,
            None => self.pending.push_back(Pending { log: log.clone(), marks: 1, paused: None }),
        }
    }

    /// The log that is due next. It stays pending until [`Machine::driven`] says that it was driven.
    pub(super) fn due(&self) -> Option<Due> {
        self.pending.front().map(|pending| {
            let (marks, first) = pending.paused.unwrap_or((pending.marks, 0));
            Due { log: pending.log.clone(), first, marks }
        })
    }

    /// A log was driven up to the session `next`, or to the end. In the first case, and where it grew meanwhile, it is due again, after
    /// the others.
    pub(super) fn driven(&mut self, due: &Due, next: Option<u64>) {
        let Some(at) = self.pending.iter().position(|pending| Arc::ptr_eq(&pending.log, &due.log)) else { return };
        let mut pending = self.pending.remove(at).expect("the position was found just now");
        pending.paused = next.map(|next| (due.marks, next));
        if pending.paused.is_some() || pending.marks != due.marks {
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
        machine.driven(&machine.due().unwrap(), None);
        assert_eq!((topic(&machine).as_deref(), machine.len()), (Some("b"), 1));
        machine.driven(&machine.due().unwrap(), None);
        assert_eq!((topic(&machine), machine.len()), (None, 0));
    }

    #[test]
    fn a_log_that_grows_while_it_is_driven_is_due_again_after_the_others() {
        let (mut machine, a, b) = (Machine::default(), log("a"), log("b"));
        machine.advanced(&a);
        machine.advanced(&b);
        let due = machine.due().unwrap();
        machine.advanced(&a);
        machine.driven(&due, None);
        assert_eq!(topic(&machine).as_deref(), Some("b"));
        machine.driven(&machine.due().unwrap(), None);
        assert_eq!(topic(&machine).as_deref(), Some("a"));
    }

    #[test]
    fn a_log_whose_driving_broke_off_is_still_due() {
        let (mut machine, a) = (Machine::default(), log("a"));
        machine.advanced(&a);
        let _broken_off = machine.due();
        assert_eq!(topic(&machine).as_deref(), Some("a"));
    }

    #[test]
    fn a_log_with_many_sessions_goes_on_where_it_paused_after_the_others() {
        let (mut machine, a, b) = (Machine::default(), log("a"), log("b"));
        machine.advanced(&a);
        machine.advanced(&b);
        machine.driven(&machine.due().unwrap(), Some(64));
        assert_eq!(topic(&machine).as_deref(), Some("b"));
        machine.driven(&machine.due().unwrap(), None);
        let due = machine.due().unwrap();
        assert_eq!((due.log.topic().as_ref(), due.first), ("a", 64));
        machine.driven(&due, None);
        assert_eq!(machine.len(), 0);
    }

    #[test]
    fn a_log_that_grows_between_its_parts_is_due_again_from_the_first_session() {
        let (mut machine, a) = (Machine::default(), log("a"));
        machine.advanced(&a);
        machine.driven(&machine.due().unwrap(), Some(64));
        // Those before the 64th have not seen this; those behind it will.
        machine.advanced(&a);
        machine.driven(&machine.due().unwrap(), Some(128));
        assert_eq!(machine.due().unwrap().first, 128);
        machine.driven(&machine.due().unwrap(), None);
        assert_eq!(machine.due().unwrap().first, 0);
        machine.driven(&machine.due().unwrap(), None);
        assert_eq!(machine.len(), 0);
    }
}
