//! What the request path holds of a breaker: one atomic read while it is closed, a permit that settles itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_exchange::{Clock, Moment};
use serde_json::{Value, json};

use super::machine::{Counts, Decision, Event, Machine, PARTS, Settings, State, Tally, Verdict};
use super::{Changed, Warden};
use crate::supervision::{Ref, Supervised, lock};

/// A circuit breaker: stops calling an upstream that keeps failing, and tries again after a pause.
///
/// The permit that settles decides whether it opens, so it is open as soon as the failing call has ended; its actor moves
/// it on to half open when time goes by, and tells of every change. Without its actor it goes on to open and close.
#[derive(Debug)]
pub struct Breaker {
    pub(super) view: Arc<View>,
    pub(super) _actor: Supervised,
}

impl Breaker {
    /// Asks for a call to be let through. Takes no lock while the breaker is closed.
    ///
    /// # Errors
    /// [`Open`] while the upstream is left alone.
    pub fn admit(&self, now: Moment) -> Result<Permit, Open> {
        let gate = self.view.gate.load(Ordering::Acquire);
        if is_closed(gate) {
            return Ok(Permit { view: Some(self.view.clone()), pass: Pass::Closed { gate } });
        }
        self.view.admit_probe(now)
    }

    /// What it is now.
    pub fn state(&self) -> State {
        lock(&self.view.machine).state()
    }

    /// How often it opened since the start.
    pub fn opened_total(&self) -> u64 {
        self.view.opened.load(Ordering::Relaxed)
    }

    /// How many calls it refused since the start.
    pub fn refused_total(&self) -> u64 {
        self.view.refused.load(Ordering::Relaxed)
    }

    /// The outcomes within the window that ends now.
    pub fn counts(&self) -> Counts {
        self.view.counts(self.view.clock.now())
    }

    /// Takes new settings without forgetting what it is: an open breaker stays open until the moment it had.
    pub fn reshape(&self, settings: Settings) {
        self.view.reshape(settings);
    }

    /// Its name: that of the upstream it protects.
    pub fn upstream(&self) -> &str {
        &self.view.upstream
    }
}

/// The upstream is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// After how long trying again may help.
    pub retry_after: Duration,
}

/// A call that was let through. Having it is the admission; dropping it unsettled frees its slot and counts as neither
/// success nor failure: the client went away, and that tells nothing about the upstream.
#[must_use = "a permit that is dropped counts for nothing; settle it"]
pub struct Permit {
    view: Option<Arc<View>>,
    pass: Pass,
}

enum Pass {
    Closed { gate: u64 },
    Probe { number: u64 },
}

impl Permit {
    /// Counts how the call went. This is where a breaker opens or closes.
    pub fn settle(mut self, verdict: Verdict) {
        let Some(view) = self.view.take() else { return };
        let now = view.clock.now();
        match self.pass {
            Pass::Closed { gate } => view.count(gate, verdict, now),
            Pass::Probe { number } => view.change(Event::Settled(number, verdict), now),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let (Some(view), Pass::Probe { number }) = (self.view.take(), &self.pass) {
            view.change(Event::Dropped(*number), view.clock.now());
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pass {
            Pass::Closed { .. } => f.write_str("Permit"),
            Pass::Probe { number } => write!(f, "Permit(probe {number})"),
        }
    }
}

/// What a breaker is, apart from its actor, which it outlives.
pub(super) struct View {
    upstream: Arc<str>,
    clock: Clock,
    settings: ArcSwap<Settings>,
    // Nanoseconds of each part of the window, as the settings have it.
    part: AtomicU64,
    // Even while closed, odd while not; each change of the two adds one, so that a late outcome is known as such.
    gate: AtomicU64,
    // Until when it is open, in nanoseconds of the clock: a refusal takes no lock before that.
    open_until: AtomicU64,
    window: [AtomicU64; PARTS as usize],
    // The part of time behind the one in which a call failed last; 0 where none did. While no call failed within the window, it
    // condemns nobody and is not read.
    failed: AtomicU64,
    machine: Mutex<Machine>,
    opened: AtomicU64,
    refused: AtomicU64,
    actor: Ref<Warden>,
}

fn is_closed(gate: u64) -> bool {
    gate.is_multiple_of(2)
}

impl View {
    pub(super) fn new(upstream: Arc<str>, clock: Clock, settings: Settings, actor: Ref<Warden>) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            clock,
            part: AtomicU64::new(settings.part()),
            settings: ArcSwap::from_pointee(settings),
            gate: AtomicU64::new(0),
            open_until: AtomicU64::new(0),
            window: [const { AtomicU64::new(0) }; PARTS as usize],
            failed: AtomicU64::new(0),
            machine: Mutex::default(),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            actor,
        })
    }

    pub(super) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    fn admit_probe(self: &Arc<Self>, now: Moment) -> Result<Permit, Open> {
        let until = Moment::from_nanos(self.open_until.load(Ordering::Acquire));
        if now < until {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Open { retry_after: until.since(now) });
        }
        let mut machine = lock(&self.machine);
        let before = machine.state();
        let decision = machine.observe(Event::Probe, &self.settings.load(), now);
        // Read under the lock: the gate changes under it alone.
        let gate = self.gate.load(Ordering::Relaxed);
        let after = machine.state();
        drop(machine);
        if before.as_str() != after.as_str() {
            self.tell(after);
        }
        match decision {
            Decision::Admit(number) => Ok(Permit { view: Some(self.clone()), pass: Pass::Probe { number } }),
            Decision::Refuse(retry_after) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(Open { retry_after })
            }
            // It closed between the look at the gate and the lock.
            _ => Ok(Permit { view: Some(self.clone()), pass: Pass::Closed { gate } }),
        }
    }

    /// Counts an outcome of a call that was let through while closed.
    fn count(&self, gate: u64, verdict: Verdict, now: Moment) {
        if self.gate.load(Ordering::Acquire) != gate {
            return;
        }
        let epoch = self.epoch(now);
        let part = &self.window[(epoch % PARTS) as usize];
        let failed = verdict == Verdict::Failure;
        // The closure always gives a value, so the update cannot fail.
        let _ =
            part.fetch_update(Ordering::SeqCst, Ordering::Acquire, |tally| Some(Tally(tally).with(epoch, failed).0));
        // In one order with the count above on all threads: of a failure and a success at a time, one sees the other.
        if failed {
            self.failed.fetch_max(epoch + 1, Ordering::SeqCst);
        } else if !self.failed_within(epoch) {
            return;
        }
        if self.settings.load().condemns(self.counts_at(epoch)) {
            let machine = lock(&self.machine);
            // It may have opened and closed since this call was counted.
            if self.gate.load(Ordering::Acquire) == gate {
                self.decide(machine, Event::Condemned, now);
            }
        }
    }

    /// Lets the machine decide and publishes what follows.
    pub(super) fn change(&self, event: Event, now: Moment) {
        self.decide(lock(&self.machine), event, now);
    }

    fn decide(&self, mut machine: MutexGuard<'_, Machine>, event: Event, now: Moment) {
        let decision = machine.observe(event, &self.settings.load(), now);
        match decision {
            Decision::Opened => {
                if let State::Open { until } = machine.state() {
                    self.open_until.store(until.as_nanos(), Ordering::Release);
                }
                self.opened.fetch_add(1, Ordering::Relaxed);
                let gate = self.gate.load(Ordering::Relaxed);
                self.gate.store(gate + u64::from(is_closed(gate)), Ordering::Release);
            }
            Decision::Closed => {
                // Outcomes from before it opened say nothing of the upstream that has just passed its probes.
                for part in &self.window {
                    part.store(0, Ordering::Release);
                }
                self.gate.fetch_add(1, Ordering::AcqRel);
            }
            Decision::HalfOpened => {}
            Decision::Stay | Decision::Admit(_) | Decision::Refuse(_) => return,
        }
        let state = machine.state();
        drop(machine);
        self.tell(state);
    }

    // The log line may be lost, the change is not: it stands in the view.
    fn tell(&self, state: State) {
        self.actor.try_send(Changed(state));
    }

    /// Whether a call failed within the window that ends with this part of time.
    fn failed_within(&self, epoch: u64) -> bool {
        match self.failed.load(Ordering::SeqCst) {
            0 => false,
            next => epoch + 1 < next.saturating_add(PARTS),
        }
    }

    /// The part of time that this moment is in.
    fn epoch(&self, now: Moment) -> u64 {
        now.as_nanos() / self.part.load(Ordering::Acquire)
    }

    fn counts(&self, now: Moment) -> Counts {
        self.counts_at(self.epoch(now))
    }

    fn counts_at(&self, epoch: u64) -> Counts {
        let mut counts = Counts::default();
        for age in 0..PARTS.min(epoch + 1) {
            let epoch = epoch - age;
            let tally = Tally(self.window[(epoch % PARTS) as usize].load(Ordering::SeqCst));
            let part = tally.of(epoch).unwrap_or_default();
            counts.calls += part.calls;
            counts.failures += part.failures;
        }
        counts
    }

    /// Empties parts of the window that time has left behind: the time they bear comes again after 2^24 parts.
    pub(super) fn tidy(&self, now: Moment) {
        let epoch = self.epoch(now);
        for part in &self.window {
            let tally = part.load(Ordering::Acquire);
            if tally != 0 && !Tally(tally).is_within(epoch) {
                // Changed meanwhile means that it is of now again.
                let _ = part.compare_exchange(tally, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    fn reshape(&self, settings: Settings) {
        let _machine = lock(&self.machine);
        let window_changes = self.part.swap(settings.part(), Ordering::AcqRel) != settings.part();
        self.settings.store(Arc::new(settings));
        if window_changes {
            // The parts were cut by another measure.
            self.failed.store(0, Ordering::Release);
            for part in &self.window {
                part.store(0, Ordering::Release);
            }
        }
    }

    pub(super) fn describe(&self) -> Value {
        let now = self.clock.now();
        let Counts { calls, failures } = self.counts(now);
        let (state, probes) = {
            let machine = lock(&self.machine);
            (machine.state(), machine.probes())
        };
        let mut described = json!({
            "upstream": &*self.upstream,
            "state": state.as_str(),
            "calls": calls,
            "failures": failures,
            "opened": self.opened.load(Ordering::Relaxed),
            "refused": self.refused.load(Ordering::Relaxed),
        });
        match state {
            State::Open { until } => described["half_open_in_ms"] = json!(until.since(now).as_millis() as u64),
            State::HalfOpen => described["probes"] = json!(probes),
            State::Closed => {}
        }
        described
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({}, {:?})", self.upstream, lock(&self.machine).state())
    }
}
