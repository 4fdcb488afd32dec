//! Decides when a breaker opens, lets a probe through, and closes.

use std::time::Duration;

use portolan_exchange::Moment;

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The share of failed calls within the window, between 0 and 1, at which it opens.
    pub error_ratio: f64,
    /// Calls within the window before the share counts; at most a million.
    pub minimum: u32,
    /// Over how long calls are counted; at least 10 ms.
    pub window: Duration,
    /// How long it stays open before probes are let through.
    pub open_for: Duration,
    /// Calls let through at a time while it is half open. As many successes close it, one failure opens it again.
    pub probes: u32,
    /// After this long without an outcome a probe counts as lost, and another may go in its place.
    pub probe_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            error_ratio: 0.5,
            minimum: 20,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
            probes: 1,
            // Longer than the usual limit of a request, so that a slow probe is not doubled.
            probe_timeout: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Whether so many failures among so many calls open it.
    pub fn condemns(&self, counts: Counts) -> bool {
        let enough = counts.calls >= u64::from(self.minimum);
        enough && counts.failures > 0 && counts.failures as f64 >= self.error_ratio * counts.calls as f64
    }

    /// Nanoseconds of each part of the window.
    pub(super) fn part(&self) -> u64 {
        let nanos = u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX);
        (nanos / PARTS).max(1)
    }
}

/// The window slides by tenths: an outcome leaves it at most a tenth of its length early.
pub(super) const PARTS: u64 = 10;

/// Outcomes that were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub calls: u64,
    /// The failures among them.
    pub failures: u64,
}

/// The outcomes of one part of the window, packed into a word so that they change in one step:
/// 24 bits say which part of time, 20 count calls, 20 count failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally(pub(super) u64);

impl Tally {
    const COUNT: u64 = (1 << 20) - 1;
    const EPOCH: u64 = (1 << 24) - 1;

    /// With one more outcome; begun anew when it is of another part of time.
    pub(super) fn with(self, epoch: u64, failed: bool) -> Self {
        let Counts { mut calls, mut failures } = self.of(epoch).unwrap_or_default();
        if calls == Self::COUNT {
            // A million calls in a tenth of a window: half of them tell the same ratio.
            calls /= 2;
            failures /= 2;
        }
        calls += 1;
        failures += u64::from(failed);
        Self((epoch & Self::EPOCH) << 40 | calls << 20 | failures)
    }

    /// What it holds, if it is of this part of time.
    pub(super) fn of(self, epoch: u64) -> Option<Counts> {
        let same = self.0 >> 40 == epoch & Self::EPOCH;
        same.then_some(Counts { calls: self.0 >> 20 & Self::COUNT, failures: self.0 & Self::COUNT })
    }

    /// Whether it is of one of the parts of time that end with `epoch`.
    pub(super) fn is_within(self, epoch: u64) -> bool {
        let age = epoch.wrapping_sub(self.0 >> 40) & Self::EPOCH;
        age < PARTS
    }
}

/// What a breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Traffic flows.
    Closed,
    /// Nothing is let through until then.
    Open {
        /// When probes are let through.
        until: Moment,
    },
    /// Probes alone are let through.
    HalfOpen,
}

impl State {
    /// Its word in `/actors`, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What happened to a breaker that was about to open, or is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The window condemns the upstream.
    Condemned,
    /// A call asks to be let through, or time went by.
    Asked,
    /// A call wants to probe.
    Probe,
    /// A probe settled.
    Settled(u64, Verdict),
    /// A probe was dropped.
    Dropped(u64),
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream answered as it should.
    Success,
    /// The upstream failed.
    Failure,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Stay,
    /// It opened.
    Opened,
    /// It is half open from now on.
    HalfOpened,
    /// It closed; the window begins anew.
    Closed,
    /// A probe may go, under this number.
    Admit(u64),
    /// No probe may go for so long.
    Refuse(Duration),
}

/// The part of a breaker that is not on the way of a call while it is closed.
#[derive(Debug)]
pub struct Machine {
    state: State,
    successes: u32,
    // Probes under way: their numbers and when each counts as lost. At most `settings.probes`.
    probes: Vec<(u64, Moment)>,
    next: u64,
}

impl Default for Machine {
    fn default() -> Self {
        Self { state: State::Closed, successes: 0, probes: Vec::new(), next: 0 }
    }
}

impl Machine {
    /// What it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// How many probes are under way.
    pub fn probes(&self) -> usize {
        self.probes.len()
    }

    /// What follows from this event.
    pub fn observe(&mut self, event: Event, settings: &Settings, now: Moment) -> Decision {
        match (self.state, event) {
            (State::Closed, Event::Condemned) => self.open(settings, now),
            (State::Closed, Event::Probe) => Decision::Closed,
            (State::Open { until }, Event::Asked) if now >= until => self.half_open(),
            (State::Open { until }, Event::Probe) if now < until => Decision::Refuse(until.since(now)),
            (State::Open { .. }, Event::Probe) => {
                self.half_open();
                self.probe(settings, now)
            }
            (State::HalfOpen, Event::Probe) => self.probe(settings, now),
            (State::HalfOpen, Event::Asked) => {
                self.forget_lost(now);
                Decision::Stay
            }
            (State::HalfOpen, Event::Settled(probe, verdict)) => self.settle(probe, verdict, settings, now),
            (State::HalfOpen, Event::Dropped(probe)) => {
                self.take(probe);
                Decision::Stay
            }
            // An outcome of a call that began before the state changed tells nothing about now.
            (State::Closed | State::Open { .. }, _) | (State::HalfOpen, Event::Condemned) => Decision::Stay,
        }
    }

    fn open(&mut self, settings: &Settings, now: Moment) -> Decision {
        self.state = State::Open { until: now.after(settings.open_for) };
        self.probes.clear();
        Decision::Opened
    }

    fn half_open(&mut self) -> Decision {
        self.state = State::HalfOpen;
        self.successes = 0;
        self.probes.clear();
        Decision::HalfOpened
    }

    fn probe(&mut self, settings: &Settings, now: Moment) -> Decision {
        self.forget_lost(now);
        if self.probes.len() < settings.probes.max(1) as usize {
            self.next += 1;
            self.probes.push((self.next, now.after(settings.probe_timeout)));
            return Decision::Admit(self.next);
        }
        // A probe that is under way mostly ends within a second; the slot of a lost one is free when it expires.
        let soonest = self.probes.iter().map(|(_, lost)| lost.since(now)).min().unwrap_or_default();
        Decision::Refuse(soonest.min(Duration::from_secs(1)))
    }

    fn settle(&mut self, probe: u64, verdict: Verdict, settings: &Settings, now: Moment) -> Decision {
        if !self.take(probe) {
            return Decision::Stay;
        }
        if verdict == Verdict::Failure {
            return self.open(settings, now);
        }
        self.successes += 1;
        if self.successes < settings.probes {
            return Decision::Stay;
        }
        self.state = State::Closed;
        self.probes.clear();
        Decision::Closed
    }

    fn take(&mut self, probe: u64) -> bool {
        let before = self.probes.len();
        self.probes.retain(|(number, _)| *number != probe);
        self.probes.len() < before
    }

    fn forget_lost(&mut self, now: Moment) {
        self.probes.retain(|(_, lost)| *lost > now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(millis))
    }

    fn settings() -> Settings {
        Settings { probes: 2, ..Settings::default() }
    }

    fn half_open() -> Machine {
        let mut machine = Machine::default();
        assert_eq!(machine.observe(Event::Condemned, &settings(), at(0)), Decision::Opened);
        assert_eq!(machine.observe(Event::Asked, &settings(), at(4_999)), Decision::Stay);
        assert_eq!(machine.observe(Event::Asked, &settings(), at(5_000)), Decision::HalfOpened);
        machine
    }

    #[test]
    fn an_open_breaker_says_exactly_how_long_it_stays_so() {
        let mut machine = Machine::default();
        machine.observe(Event::Condemned, &settings(), at(0));
        let refused = machine.observe(Event::Probe, &settings(), at(1_250));
        assert_eq!(refused, Decision::Refuse(Duration::from_millis(3_750)));
    }

    #[test]
    fn half_open_lets_so_many_probes_through_and_as_many_successes_close_it() {
        let mut machine = half_open();
        assert_eq!(machine.observe(Event::Probe, &settings(), at(5_000)), Decision::Admit(1));
        assert_eq!(machine.observe(Event::Probe, &settings(), at(5_000)), Decision::Admit(2));
        let refused = machine.observe(Event::Probe, &settings(), at(5_000));
        assert_eq!(refused, Decision::Refuse(Duration::from_secs(1)));
        assert_eq!(machine.observe(Event::Settled(1, Verdict::Success), &settings(), at(5_001)), Decision::Stay);
        assert_eq!(machine.observe(Event::Settled(2, Verdict::Success), &settings(), at(5_002)), Decision::Closed);
        assert_eq!(machine.state(), State::Closed);
    }

    #[test]
    fn one_probe_that_fails_opens_it_again_and_the_other_one_counts_no_more() {
        let mut machine = half_open();
        machine.observe(Event::Probe, &settings(), at(5_000));
        machine.observe(Event::Probe, &settings(), at(5_000));
        assert_eq!(machine.observe(Event::Settled(1, Verdict::Failure), &settings(), at(6_000)), Decision::Opened);
        assert_eq!(machine.observe(Event::Settled(2, Verdict::Success), &settings(), at(6_001)), Decision::Stay);
        assert_eq!(machine.state(), State::Open { until: at(11_000) });
    }

    #[test]
    fn a_probe_that_was_dropped_or_lost_gives_its_slot_to_another() {
        let mut machine = half_open();
        machine.observe(Event::Probe, &settings(), at(5_000));
        machine.observe(Event::Probe, &settings(), at(6_000));
        machine.observe(Event::Dropped(2), &settings(), at(6_001));
        assert_eq!(machine.observe(Event::Probe, &settings(), at(6_002)), Decision::Admit(3));
        // The first expires 60 s after it went; then its outcome counts no more.
        assert_eq!(
            machine.observe(Event::Probe, &settings(), at(64_900)),
            Decision::Refuse(Duration::from_millis(100))
        );
        assert_eq!(machine.observe(Event::Probe, &settings(), at(65_000)), Decision::Admit(4));
        assert_eq!(machine.observe(Event::Settled(1, Verdict::Failure), &settings(), at(65_001)), Decision::Stay);
        assert_eq!(machine.state(), State::HalfOpen);
    }

    #[test]
    fn a_tally_of_another_time_begins_anew_and_a_full_one_keeps_its_ratio() {
        let old = Tally(0).with(7, true).with(7, false);
        assert_eq!(old.of(7), Some(Counts { calls: 2, failures: 1 }));
        assert_eq!(old.of(8), None);
        assert_eq!(old.with(17, false).of(17), Some(Counts { calls: 1, failures: 0 }));
        let full = (0..Tally::COUNT + 1).fold(Tally(0), |tally, call| tally.with(3, call % 4 == 0));
        let Counts { calls, failures } = full.of(3).unwrap();
        assert!(calls > 500_000 && (calls / failures) == 3 || (calls / failures) == 4, "{failures} of {calls}");
    }

    proptest! {
        #[test]
        fn no_order_of_events_lets_more_probes_out_than_allowed_or_wedges_it(
            events in proptest::collection::vec((0_u8..5, 0_u64..8_000, 1_u64..20), 1..200),
            probes in 1_u32..4,
        ) {
            let settings = Settings { probes, ..Settings::default() };
            let mut machine = Machine::default();
            let mut now = at(0);
            for (event, gap, probe) in events {
                now = now.after(Duration::from_millis(gap));
                let event = match event {
                    0 => Event::Condemned,
                    1 => Event::Probe,
                    2 => Event::Settled(probe, Verdict::Success),
                    3 => Event::Settled(probe, Verdict::Failure),
                    _ => Event::Dropped(probe),
                };
                machine.observe(event, &settings, now);
                prop_assert!(machine.probes() <= probes as usize);
            }
            // Whatever happened, a call gets through once every pause is over.
            now = now.after(settings.open_for.max(settings.probe_timeout));
            let decision = machine.observe(Event::Probe, &settings, now);
            prop_assert!(matches!(decision, Decision::Admit(_) | Decision::Closed), "{decision:?}");
        }
    }
}
