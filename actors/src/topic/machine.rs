//! Decides how a reader goes on after an error: with the reader it has, with another, or from the live end.

use std::time::Duration;

use portolan_exchange::events::BrokerError;

use crate::supervision::doubled;

/// The first pause after an error; each further one in a row doubles it.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause: a broker that returns is noticed within it.
const CAP: Duration = Duration::from_secs(5);
/// Temporary errors in a row that a reader may report before another takes its place. Clients of brokers heal most
/// errors themselves, and opening anew costs more than waiting; some they never heal.
const PATIENCE: u32 = 3;

/// What happened to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// It polled, with or without records.
    Polled,
    /// It could not be opened.
    NotOpened(&'a BrokerError),
    /// A poll failed.
    PollFailed(&'a BrokerError),
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Stay,
    /// The same reader polls again after a pause.
    Again(Duration),
    /// Another reader is opened at the log's positions, after a pause.
    Reopen(Duration),
    /// The positions are no longer kept: another reader is opened at the live end, after a pause.
    StartLive(Duration),
}

/// Counts the errors in a row.
#[derive(Debug, Default)]
pub(super) struct Machine {
    errors: u32,
}

impl Machine {
    /// What follows from this event.
    pub(super) fn observe(&mut self, event: Event<'_>) -> Decision {
        let (error, may_keep) = match event {
            Event::Polled => {
                self.errors = 0;
                return Decision::Stay;
            }
            Event::NotOpened(error) => (error, false),
            Event::PollFailed(error) => (error, error.is_temporary()),
        };
        let pause = doubled(FIRST, self.errors).min(CAP);
        self.errors = self.errors.saturating_add(1);
        match error {
            BrokerError::PositionLost(_) => Decision::StartLive(pause),
            _ if may_keep && self.errors <= PATIENCE => Decision::Again(pause),
            _ => Decision::Reopen(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(pause: u64) -> Duration {
        Duration::from_millis(pause)
    }

    #[test]
    fn a_temporary_error_keeps_the_reader_for_a_while() {
        let error = BrokerError::Unavailable("gone".into());
        let mut machine = Machine::default();
        let decisions: Vec<_> = (0..5).map(|_| machine.observe(Event::PollFailed(&error))).collect();
        let expected = [
            Decision::Again(millis(100)),
            Decision::Again(millis(200)),
            Decision::Again(millis(400)),
            Decision::Reopen(millis(800)),
            Decision::Reopen(millis(1_600)),
        ];
        assert_eq!(decisions, expected);
        assert_eq!(machine.observe(Event::Polled), Decision::Stay);
        assert_eq!(machine.observe(Event::PollFailed(&error)), Decision::Again(millis(100)));
    }

    #[test]
    fn an_error_that_lasts_or_a_reader_that_does_not_open_means_another() {
        let unknown = BrokerError::UnknownTopic("t".into());
        let mut machine = Machine::default();
        assert_eq!(machine.observe(Event::PollFailed(&unknown)), Decision::Reopen(millis(100)));
        let away = BrokerError::Unavailable("gone".into());
        assert_eq!(machine.observe(Event::NotOpened(&away)), Decision::Reopen(millis(200)));
    }

    #[test]
    fn a_lost_position_begins_at_the_live_end_with_the_same_back_off() {
        let lost = BrokerError::PositionLost("5".into());
        let mut machine = Machine::default();
        assert_eq!(machine.observe(Event::NotOpened(&lost)), Decision::StartLive(millis(100)));
        assert_eq!(machine.observe(Event::PollFailed(&lost)), Decision::StartLive(millis(200)));
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_the_cap(errors in 0_u32..200) {
            let error = BrokerError::Full;
            let mut machine = Machine::default();
            for _ in 0..errors {
                machine.observe(Event::PollFailed(&error));
            }
            let (Decision::Again(pause) | Decision::Reopen(pause)) = machine.observe(Event::PollFailed(&error)) else {
                panic!("an error is always followed by a pause");
            };
            prop_assert!(pause >= FIRST && pause <= CAP);
        }
    }
}
