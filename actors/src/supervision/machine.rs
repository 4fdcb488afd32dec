//! Decides whether an actor that ended begins again, and when: exponential back-off under a bound.

use std::collections::VecDeque;
use std::time::Duration;

use portolan_exchange::Moment;

/// How an actor is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// The pause before the first restart; each further one within `within` doubles it.
    pub first: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// So many restarts within `within`; the next end is final.
    pub most: u32,
    /// Over how long restarts are counted.
    pub within: Duration,
}

impl Default for Restarts {
    /// Five restarts in a minute, after 50 ms, 100 ms and so on: what passes by itself has passed in those three
    /// seconds, and what panics six times is a bug that somebody must see.
    fn default() -> Self {
        Self { first: Duration::from_millis(50), cap: Duration::from_secs(5), most: 5, within: Duration::from_secs(60) }
    }
}

/// How an actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Asked,
    /// It stopped and nobody had told it to.
    Unasked,
    /// It panicked, with these words.
    Panicked(String),
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it was meant to end.
    Rest,
    /// It begins again after a pause.
    Restart(Duration),
    /// It has ended too often and stays down.
    Fail,
}

/// Counts the restarts of one actor.
#[derive(Debug)]
pub struct Machine {
    rule: Restarts,
    recent: VecDeque<Moment>,
}

impl Machine {
    /// Nothing has ended yet.
    pub fn new(rule: Restarts) -> Self {
        Self { rule, recent: VecDeque::new() }
    }

    /// What follows from this end.
    pub fn observe(&mut self, end: &End, now: Moment) -> Decision {
        if *end == End::Asked {
            return Decision::Rest;
        }
        while self.recent.front().is_some_and(|past| now.since(*past) >= self.rule.within) {
            self.recent.pop_front();
        }
        let before = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if before >= self.rule.most {
            return Decision::Fail;
        }
        self.recent.push_back(now);
        Decision::Restart(doubled(self.rule.first, before).min(self.rule.cap))
    }
}

/// A duration doubled so many times, saturating.
pub(crate) fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(millis))
    }

    fn panicked() -> End {
        End::Panicked("a bug".into())
    }

    #[test]
    fn each_pause_is_twice_the_last_and_the_sixth_end_in_a_minute_is_final() {
        let mut machine = Machine::new(Restarts::default());
        let pauses: Vec<_> = (0..6).map(|turn| machine.observe(&panicked(), at(turn * 1_000))).collect();
        let restart = |millis| Decision::Restart(Duration::from_millis(millis));
        assert_eq!(pauses, [restart(50), restart(100), restart(200), restart(400), restart(800), Decision::Fail]);
    }

    #[test]
    fn ends_that_are_far_apart_are_forgotten() {
        let mut machine = Machine::new(Restarts::default());
        for turn in 0..100 {
            let decision = machine.observe(&End::Unasked, at(turn * 60_000));
            assert_eq!(decision, Decision::Restart(Duration::from_millis(50)));
        }
    }

    #[test]
    fn an_end_that_was_asked_for_counts_for_nothing() {
        let mut machine = Machine::new(Restarts { most: 1, ..Restarts::default() });
        for _ in 0..10 {
            assert_eq!(machine.observe(&End::Asked, at(0)), Decision::Rest);
        }
        assert!(matches!(machine.observe(&panicked(), at(0)), Decision::Restart(_)));
        assert_eq!(machine.observe(&panicked(), at(0)), Decision::Fail);
    }

    proptest! {
        #[test]
        fn no_period_ever_holds_more_restarts_than_the_rule_allows(
            gaps in proptest::collection::vec(0_u64..30_000, 1..200),
            most in 1_u32..8,
        ) {
            let rule = Restarts { most, ..Restarts::default() };
            let mut machine = Machine::new(rule);
            let mut now = at(0);
            let mut restarts: Vec<Moment> = Vec::new();
            for gap in gaps {
                now = now.after(Duration::from_millis(gap));
                if let Decision::Restart(pause) = machine.observe(&panicked(), now) {
                    prop_assert!(pause >= rule.first && pause <= rule.cap);
                    restarts.push(now);
                }
                let within = restarts.iter().filter(|past| now.since(**past) < rule.within).count();
                prop_assert!(within <= most as usize);
            }
        }
    }
}
