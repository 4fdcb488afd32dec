//! Decides from the answers to probes whether an endpoint is healthy.

use std::time::Duration;

/// How an upstream's endpoints are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The time between two probes of an endpoint.
    pub interval: Duration,
    /// How long an answer may take; a later one counts as a failure.
    pub timeout: Duration,
    /// Failures in a row that make an endpoint unhealthy; at least 1.
    pub unhealthy_after: u32,
    /// Successes in a row that make it healthy again; at least 1.
    pub healthy_after: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(1), unhealthy_after: 3, healthy_after: 1 }
    }
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The endpoint works.
    Answered,
    /// It does not, or not in time.
    Failed,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Stay,
    /// It is healthy again.
    Healthy,
    /// It is unhealthy from now on.
    Unhealthy,
}

/// The health of one endpoint. A new one is healthy: what nobody has seen fail is tried.
#[derive(Debug, Default)]
pub(super) struct Machine {
    is_unhealthy: bool,
    // Answers in a row that speak against what it is held for.
    against: u32,
}

impl Machine {
    pub(super) fn observe(&mut self, event: Event, settings: &Settings) -> Decision {
        let (speaks_against, threshold) = match event {
            Event::Answered => (self.is_unhealthy, settings.healthy_after),
            Event::Failed => (!self.is_unhealthy, settings.unhealthy_after),
        };
        if !speaks_against {
            self.against = 0;
            return Decision::Stay;
        }
        self.against += 1;
        if self.against < threshold {
            return Decision::Stay;
        }
        self.against = 0;
        self.is_unhealthy = !self.is_unhealthy;
        if self.is_unhealthy { Decision::Unhealthy } else { Decision::Healthy }
    }

    /// Answers in a row that speak against what it is held for.
    pub(super) fn against(&self) -> u32 {
        self.against
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy_and_two_successes_healthy() {
        use Event::{Answered, Failed};
        let settings = Settings { healthy_after: 2, ..Settings::default() };
        let mut machine = Machine::default();
        let events = [Failed, Failed, Answered, Failed, Failed, Failed, Failed, Answered, Failed, Answered, Answered];
        let decisions: Vec<_> = events.iter().map(|event| machine.observe(*event, &settings)).collect();
        let mut expected = [Decision::Stay; 11];
        expected[5] = Decision::Unhealthy;
        expected[10] = Decision::Healthy;
        assert_eq!(decisions, expected);
    }

    proptest! {
        #[test]
        fn it_changes_only_after_its_last_answers_all_said_so(
            answers in proptest::collection::vec(any::<bool>(), 1..200),
            unhealthy_after in 1_u32..5,
            healthy_after in 1_u32..5,
        ) {
            let settings = Settings { unhealthy_after, healthy_after, ..Settings::default() };
            let mut machine = Machine::default();
            for (index, answered) in answers.iter().enumerate() {
                let event = if *answered { Event::Answered } else { Event::Failed };
                let (said, threshold) = match machine.observe(event, &settings) {
                    Decision::Stay => continue,
                    Decision::Healthy => (true, healthy_after),
                    Decision::Unhealthy => (false, unhealthy_after),
                };
                let last = &answers[index + 1 - threshold as usize..=index];
                prop_assert!(last.iter().all(|answer| *answer == said));
            }
        }
    }
}
