//! A broker in memory that can go away, return, lose positions and panic.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portolan_exchange::events::{Broker, BrokerError, Placed, Reader, Received, Record, Start};

use crate::supervision::lock;

/// One topic of some partitions.
#[derive(Default)]
pub(crate) struct FakeBroker {
    cluster: Arc<Cluster>,
}

#[derive(Default)]
struct Cluster {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<i32, Vec<Bytes>>,
    // Offsets below this are no longer kept.
    first: i64,
    away: bool,
    panics: usize,
    opened: Vec<Start>,
    polls: usize,
    // Publishing waits while this holds.
    stuck: bool,
    wakers: Vec<std::task::Waker>,
    published: Vec<Record>,
}

impl FakeBroker {
    pub(crate) fn new(partitions: i32) -> Arc<Self> {
        let broker = Self::default();
        lock(&broker.cluster.state).partitions = (0..partitions).map(|partition| (partition, Vec::new())).collect();
        Arc::new(broker)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.cluster.state);
        let changed = change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.cluster.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
        changed
    }

    /// Puts an event at the end of a partition.
    pub(crate) fn put(&self, partition: i32, value: impl Into<Bytes>) {
        self.change(|state| state.partitions.entry(partition).or_default().push(value.into()));
    }

    /// Does not answer from now on, or answers again.
    pub(crate) fn set_away(&self, away: bool) {
        self.change(|state| state.away = away);
    }

    /// The next so many polls panic.
    pub(crate) fn panic_at_next_polls(&self, polls: usize) {
        self.change(|state| state.panics = polls);
    }

    /// Forgets all events there were: whoever asks for their offsets has lost its position.
    pub(crate) fn lose_positions(&self) {
        self.change(|state| {
            let longest = state.partitions.values().map(Vec::len).max().unwrap_or_default();
            state.first = longest as i64 + 1;
            for events in state.partitions.values_mut() {
                events.resize(longest + 1, Bytes::new());
            }
        });
    }

    /// Makes the topic anew: offsets begin again.
    pub(crate) fn recreate(&self) {
        self.change(|state| {
            state.first = 0;
            state.partitions.values_mut().for_each(Vec::clear);
        });
    }

    /// Publishing waits from now on, or goes on.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.change(|state| state.stuck = stuck);
    }

    /// Where readers were opened so far.
    pub(crate) fn opened(&self) -> Vec<Start> {
        lock(&self.cluster.state).opened.clone()
    }

    pub(crate) fn polls(&self) -> usize {
        lock(&self.cluster.state).polls
    }

    pub(crate) fn published(&self) -> Vec<Record> {
        lock(&self.cluster.state).published.clone()
    }
}

impl Broker for FakeBroker {
    fn name(&self) -> &str {
        "fake"
    }

    fn reader(&self, _: &str, start: Start) -> Result<Box<dyn Reader>, BrokerError> {
        let cluster = self.cluster.clone();
        let next = self.change(|state| {
            if state.away {
                return Err(BrokerError::Unavailable("it is away".into()));
            }
            state.opened.push(start.clone());
            let mut next: BTreeMap<_, _> =
                state.partitions.iter().map(|(partition, events)| (*partition, events.len() as i64)).collect();
            if let Start::At(positions) = start {
                for (partition, offset) in positions {
                    let end = next[&partition];
                    if offset < state.first || offset > end {
                        return Err(BrokerError::PositionLost(format!("{offset} of partition {partition}")));
                    }
                    next.insert(partition, offset);
                }
            }
            Ok(next)
        })?;
        let began = next.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        Ok(Box::new(FakeReader { cluster, began, next }))
    }

    fn publish(&self, _: &str, record: Record) -> BoxFuture<'static, Result<Placed, BrokerError>> {
        let cluster = self.cluster.clone();
        let mut record = Some(record);
        std::future::poll_fn(move |context| {
            let mut state = lock(&cluster.state);
            if state.away {
                return std::task::Poll::Ready(Err(BrokerError::Unavailable("it is away".into())));
            }
            if state.stuck {
                state.wakers.push(context.waker().clone());
                return std::task::Poll::Pending;
            }
            state.published.extend(record.take());
            let offset = state.published.len() as i64 - 1;
            std::task::Poll::Ready(Ok(Placed { partition: 0, offset, timestamp: SystemTime::UNIX_EPOCH }))
        })
        .boxed()
    }
}

struct FakeReader {
    cluster: Arc<Cluster>,
    began: Vec<(i32, i64)>,
    next: BTreeMap<i32, i64>,
}

impl FakeReader {
    fn has_more(&self, state: &State) -> bool {
        self.next.iter().any(|(partition, next)| state.partitions[partition].len() as i64 != *next)
    }

    fn take(&mut self, state: &State) -> Vec<Received> {
        let mut taken = Vec::new();
        for (partition, events) in &state.partitions {
            let next = self.next.entry(*partition).or_insert(0);
            for (offset, value) in events.iter().enumerate().skip(*next as usize).take(100) {
                taken.push(received(*partition, offset as i64, value.clone()));
                *next = offset as i64 + 1;
            }
        }
        taken
    }
}

pub(crate) fn received(partition: i32, offset: i64, value: Bytes) -> Received {
    Received {
        partition,
        offset,
        timestamp: SystemTime::UNIX_EPOCH,
        key: None,
        value: Some(value),
        headers: Vec::new(),
    }
}

impl Reader for FakeReader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Received>, BrokerError> {
        let cluster = self.cluster.clone();
        let mut state = lock(&cluster.state);
        state.polls += 1;
        if state.panics == 0 && !state.away && !self.has_more(&state) {
            let waited = cluster.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.panics > 0 {
            state.panics -= 1;
            drop(state);
            panic!("a bug in the reader");
        }
        if state.away {
            return Err(BrokerError::Unavailable("it is away".into()));
        }
        let lost =
            |(partition, next): (&i32, &i64)| *next < state.first || *next > state.partitions[partition].len() as i64;
        if self.next.iter().any(lost) {
            return Err(BrokerError::PositionLost("the topic has changed".into()));
        }
        Ok(self.take(&state))
    }

    fn began(&self) -> &[(i32, i64)] {
        &self.began
    }
}
