//! Judges a broker by what becomes of records, so that its going and coming are told once.

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The broker has it.
    Placed,
    /// The broker did not answer, or its queue is full.
    NotTaken,
    /// The broker refused this one; about others that says nothing.
    Refused,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is new.
    Stay,
    /// The broker takes nothing any more.
    Lost,
    /// It takes records again.
    Returned,
}

/// Failures in a row that mean the broker is away, not one record unlucky.
const PATIENCE: u32 = 3;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Machine {
    failures: u32,
}

impl Machine {
    /// What follows from this event.
    pub(super) fn observe(&mut self, event: Event) -> Decision {
        match event {
            Event::Refused => Decision::Stay,
            Event::NotTaken => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == PATIENCE { Decision::Lost } else { Decision::Stay }
            }
            Event::Placed => {
                let was_lost = self.failures >= PATIENCE;
                self.failures = 0;
                if was_lost { Decision::Returned } else { Decision::Stay }
            }
        }
    }

    /// Whether the broker is held to be away.
    pub(super) fn is_lost(&self) -> bool {
        self.failures >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_lost_once_and_returns_once() {
        use Event::{NotTaken, Placed, Refused};
        let mut machine = Machine::default();
        let events = [NotTaken, NotTaken, Placed, NotTaken, NotTaken, Refused, NotTaken, NotTaken, Placed, Placed];
        let decisions: Vec<_> = events.into_iter().map(|event| machine.observe(event)).collect();
        let mut expected = [Decision::Stay; 10];
        expected[6] = Decision::Lost;
        expected[8] = Decision::Returned;
        assert_eq!(decisions, expected);
    }
}
