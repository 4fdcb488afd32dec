//! Streams of events: a bounded log per topic that many cursors read, and the broker behind it.
//!
//! One reader per topic fills an [`EventLog`]. A session holds a [`Cursor`], not a queue: the memory bound, the gap and
//! the live start all come from this one structure. The log outlives the reader that fills it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::fault::{Fault, FaultKind};

/// A record as a broker gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The partition it stands in.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// When the broker took it, or when its producer says it was made.
    pub timestamp: SystemTime,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Bytes)>,
}

/// A record to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key; records of one key keep their order.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
    /// Its headers, in order.
    pub headers: Vec<(String, Bytes)>,
    /// The partition asked for; otherwise the key decides.
    pub partition: Option<i32>,
}

/// Where a published record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// When the broker was told of it.
    pub timestamp: SystemTime,
}

/// An event in a log, shared by all who read it.
#[derive(Debug)]
pub struct Event {
    /// The record.
    pub record: Received,
    /// Its bytes as sent in each [`View`], encoded by whoever needs it first.
    encoded: [OnceLock<Bytes>; View::COUNT],
}

/// A form in which events are sent. Frames are encoded once per view and shared by every session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The event object of the native sub-protocol.
    Native,
}

impl View {
    const COUNT: usize = 1;
}

impl Event {
    /// The event of this record.
    pub fn new(record: Received) -> Self {
        Self { record, encoded: [const { OnceLock::new() }; View::COUNT] }
    }

    /// Its bytes in this view, encoded now if nobody needed them before.
    pub fn encoded(&self, view: View, encode: impl FnOnce(&Received) -> Bytes) -> &Bytes {
        self.encoded[view as usize].get_or_init(|| encode(&self.record))
    }

    // What it counts for against the bound in bytes: the record, and once more for its encoded form.
    fn weight(&self) -> usize {
        let record = &self.record;
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        2 * (record.value.as_ref().map_or(0, Bytes::len) + record.key.as_ref().map_or(0, Bytes::len) + headers) + 160
    }
}

/// How much a log keeps. The oldest events go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At most so many events.
    pub events: usize,
    /// At most so many bytes, counted with their encoded form; one event is always kept.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 10_000, bytes: 16 * 1024 * 1024 }
    }
}

/// The recent events of one topic on this node, in the order its reader saw them.
pub struct EventLog {
    topic: Arc<str>,
    bounds: Bounds,
    ring: Mutex<Ring>,
    // The sequence number behind the last event, written under the ring's lock: thousands of sessions ask whether there is more.
    end: AtomicU64,
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
    begun: Notify,
}

#[derive(Default)]
struct Ring {
    // `None` is a hole of unknown size: it has a sequence number like an event, so that each cursor meets it once.
    events: VecDeque<Option<Arc<Event>>>,
    bytes: usize,
    // The sequence number of `events[0]`.
    first: u64,
    next_offsets: BTreeMap<i32, i64>,
}

/// Is told that a log has grown: once per batch, not once per event.
pub trait Listener: Send + Sync {
    /// There is more to read. Must not block and must not read the log itself.
    fn advanced(&self, log: &Arc<EventLog>);
}

/// A place in a log: the sequence number of the next event to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

/// What a cursor found.
#[derive(Debug)]
pub struct Batch {
    /// Events that were pushed out before this cursor read them, if any: they come before `events`.
    pub gap: Option<Gap>,
    /// The events.
    pub events: Vec<Arc<Event>>,
}

/// A hole in what a cursor read: always announced, never silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many events are missing; `None` where nobody can know: the broker lost the reader's place.
    pub count: Option<u64>,
}

impl EventLog {
    /// An empty log.
    pub fn new(topic: impl Into<Arc<str>>, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.into(),
            bounds,
            ring: Mutex::new(Ring::default()),
            end: AtomicU64::new(0),
            listeners: Mutex::new(Vec::new()),
            begun: Notify::new(),
        })
    }

    /// The topic it holds.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// A cursor at the live end: it reads what comes from now on. A cursor before it has something to read. Takes no lock.
    pub fn live(&self) -> Cursor {
        Cursor(self.end.load(Ordering::Acquire))
    }

    /// Reads on from a cursor: at most `events` events, and no more once `bytes` bytes of values were read.
    pub fn read(&self, cursor: &mut Cursor, events: usize, bytes: usize) -> Batch {
        let ring = lock(&self.ring);
        let mut gap = (cursor.0 < ring.first).then(|| Gap { count: Some(ring.first - cursor.0) });
        let from = cursor.0.max(ring.first);
        let skip = usize::try_from(from - ring.first).expect("a cursor is not beyond the log it was made by");
        let mut taken = Vec::new();
        let mut passed = 0;
        let mut weight = 0;
        for slot in ring.events.iter().skip(skip) {
            match slot {
                // A hole behind events is left for the next read, which begins with it.
                None if taken.is_empty() => gap = Some(Gap { count: None }),
                None => break,
                Some(event) => {
                    taken.push(event.clone());
                    weight += event.record.value.as_ref().map_or(0, Bytes::len);
                }
            }
            passed += 1;
            if taken.len() >= events || weight >= bytes {
                break;
            }
        }
        *cursor = Cursor(from + passed);
        Batch { gap, events: taken }
    }

    /// How many events lie between a cursor and the live end.
    pub fn lag(&self, cursor: Cursor) -> u64 {
        let ring = lock(&self.ring);
        (ring.first + ring.events.len() as u64).saturating_sub(cursor.0)
    }

    /// The reader's: appends a batch. Records that the log has already seen, by partition and offset, are left out, so
    /// that a reader which was restarted may begin a little early. Returns how many were new.
    pub fn append(&self, batch: Vec<Received>) -> usize {
        let mut ring = lock(&self.ring);
        let before = ring.first + ring.events.len() as u64;
        for record in batch {
            let next = ring.next_offsets.entry(record.partition).or_insert(record.offset);
            if record.offset < *next {
                continue;
            }
            *next = record.offset + 1;
            let event = Event::new(record);
            ring.bytes += event.weight();
            ring.events.push_back(Some(Arc::new(event)));
            while ring.events.len() > 1 && (ring.events.len() > self.bounds.events || ring.bytes > self.bounds.bytes) {
                let oldest = ring.events.pop_front().expect("the ring has more than one event");
                ring.bytes -= oldest.map_or(0, |event| event.weight());
                ring.first += 1;
            }
        }
        let after = ring.first + ring.events.len() as u64;
        self.end.store(after, Ordering::Release);
        usize::try_from(after - before).expect("a batch fits into memory")
    }

    /// The reader's: notes where a partition goes on, before any event of it was seen.
    pub fn begin(&self, positions: &[(i32, i64)]) {
        let mut ring = lock(&self.ring);
        for (partition, offset) in positions {
            ring.next_offsets.entry(*partition).or_insert(*offset);
        }
        drop(ring);
        self.begun.notify_waiters();
    }

    /// Waits until a reader has begun: whatever is published from then on will be in the log. Cancelling changes nothing.
    pub async fn begun(&self) {
        loop {
            let mut begun = pin!(self.begun.notified());
            begun.as_mut().enable();
            if !lock(&self.ring).next_offsets.is_empty() {
                return;
            }
            begun.await;
        }
    }

    /// The reader's: where each partition goes on. Empty before the first reader began.
    pub fn positions(&self) -> Vec<(i32, i64)> {
        lock(&self.ring).next_offsets.iter().map(|(partition, offset)| (*partition, *offset)).collect()
    }

    /// The reader's: the broker lost its place, or made the topic anew; offsets begin again. What was read stays readable, and
    /// every cursor is told of a hole behind it.
    pub fn forget_positions(&self) {
        let mut ring = lock(&self.ring);
        ring.next_offsets.clear();
        ring.events.push_back(None);
        self.end.store(ring.first + ring.events.len() as u64, Ordering::Release);
    }

    /// Tells whoever listens that there is more to read.
    pub fn announce(self: &Arc<Self>) {
        let listeners: Vec<_> = {
            let mut listeners = lock(&self.listeners);
            listeners.retain(|listener| listener.strong_count() > 0);
            listeners.iter().filter_map(Weak::upgrade).collect()
        };
        for listener in listeners {
            listener.advanced(self);
        }
    }

    /// Tells `listener` of every batch from now on, until it is dropped. Adding it twice changes nothing.
    pub fn listen(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|known| known.strong_count() > 0);
        if !listeners.iter().any(|known| known.as_ptr().addr() == Arc::as_ptr(listener).addr()) {
            listeners.push(Arc::downgrade(listener));
        }
    }

    /// What it holds now, for the admin page: events, bytes, events seen since the start.
    pub fn fill(&self) -> (usize, usize, u64) {
        let ring = lock(&self.ring);
        (ring.events.len(), ring.bytes, ring.first + ring.events.len() as u64)
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, bytes, seen) = self.fill();
        f.debug_struct("EventLog")
            .field("topic", &self.topic)
            .field("events", &events)
            .field("bytes", &bytes)
            .field("seen", &seen)
            .finish()
    }
}

// Nothing under these locks can panic half way through a change, so poisoning carries no news.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cluster that keeps topics.
pub trait Broker: Send + Sync + 'static {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// Opens a reader of all partitions. Blocks up to some seconds: called on the reader's own thread, never on a worker.
    ///
    /// # Errors
    /// When the cluster cannot be reached or does not know the topic.
    fn reader(&self, topic: &str, start: Start) -> Result<Box<dyn Reader>, BrokerError>;

    /// Publishes one record and waits until the cluster has it. Cancelling stops the waiting, not the record.
    fn publish(&self, topic: &str, record: Record) -> BoxFuture<'static, Result<Placed, BrokerError>>;
}

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Live,
    /// At these offsets. A partition that is not named is new to whoever asks, and begins with its first record.
    At(Vec<(i32, i64)>),
}

/// Reads one topic on a thread of its own.
pub trait Reader: Send {
    /// Waits up to `wait` for records; an empty list when none came. Not calling it is the back-pressure.
    ///
    /// # Errors
    /// What the broker reports; after an error that is not temporary the reader is to be opened anew.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Received>, BrokerError>;

    /// Where each partition began, as the cluster said when the reader was opened.
    fn began(&self) -> &[(i32, i64)];
}

/// What a broker could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerError {
    /// It cannot be reached, or does not answer in time. Temporary.
    Unavailable(String),
    /// Its queue on our side is full. Temporary.
    Full,
    /// It does not know the topic.
    UnknownTopic(String),
    /// It refused the record: too large, not permitted.
    Refused(String),
    /// A position asked for is no longer kept.
    PositionLost(String),
}

impl BrokerError {
    /// Whether trying again may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full)
    }

    /// The fault of a caller's request that met this error.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unavailable(cause) => {
                Fault::new(FaultKind::BrokerUnavailable, "the broker does not answer; retry in a moment")
                    .because(cause)
                    .retry_after(Duration::from_secs(1))
            }
            Self::Full => {
                Fault::new(FaultKind::BrokerUnavailable, "too many records wait for the broker; retry in a moment")
                    .because("the producer's queue is full")
                    .retry_after(Duration::from_secs(1))
            }
            Self::UnknownTopic(cause) => {
                Fault::new(FaultKind::BrokerUnavailable, "the broker does not have this channel").because(cause)
            }
            Self::Refused(cause) => {
                Fault::new(FaultKind::RecordRefused, "the broker refused the record").because(cause)
            }
            Self::PositionLost(cause) => {
                Fault::new(FaultKind::BrokerUnavailable, "the position is no longer kept").because(cause)
            }
        }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(f, "unavailable: {cause}"),
            Self::Full => f.write_str("the queue is full"),
            Self::UnknownTopic(topic) => write!(f, "unknown topic: {topic}"),
            Self::Refused(cause) => write!(f, "refused: {cause}"),
            Self::PositionLost(cause) => write!(f, "position lost: {cause}"),
        }
    }
}

impl std::error::Error for BrokerError {}

/// Publishes on behalf of exchanges: bounded, and never blocks a worker.
pub trait Publisher: Send + Sync {
    /// Publishes one record to a topic and waits until the broker has it. Dropping the future stops the waiting, not the
    /// record.
    fn publish(&self, topic: &str, record: Record) -> BoxFuture<'static, Result<Placed, Fault>>;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn record(partition: i32, offset: i64) -> Received {
        Received {
            partition,
            offset,
            timestamp: SystemTime::UNIX_EPOCH,
            key: None,
            value: Some(Bytes::from(format!("{partition}:{offset}"))),
            headers: Vec::new(),
        }
    }

    fn read(log: &EventLog, cursor: &mut Cursor) -> (Option<u64>, Vec<String>) {
        let batch = log.read(cursor, 100, usize::MAX);
        let values =
            batch.events.iter().map(|event| String::from_utf8(event.record.value.clone().unwrap().to_vec()).unwrap());
        (batch.gap.map(|gap| gap.count.unwrap_or(u64::MAX)), values.collect())
    }

    #[test]
    fn a_live_cursor_reads_what_comes_after_it_and_nothing_twice() {
        let log = EventLog::new("t", Bounds::default());
        log.append(vec![record(0, 1)]);
        let mut cursor = log.live();
        log.append(vec![record(0, 2), record(1, 7)]);
        assert_eq!(read(&log, &mut cursor), (None, vec!["0:2".into(), "1:7".into()]));
        assert_eq!(read(&log, &mut cursor), (None, vec![]));
    }

    #[test]
    fn a_restarted_reader_may_begin_early_and_nothing_comes_twice() {
        let log = EventLog::new("t", Bounds::default());
        let mut cursor = log.live();
        log.append(vec![record(0, 1), record(0, 2)]);
        assert_eq!(log.positions(), [(0, 3)]);
        assert_eq!(log.append(vec![record(0, 1), record(0, 2), record(0, 3)]), 1);
        assert_eq!(read(&log, &mut cursor), (None, vec!["0:1".into(), "0:2".into(), "0:3".into()]));
    }

    #[test]
    fn what_a_slow_cursor_lost_is_announced_with_its_count() {
        let log = EventLog::new("t", Bounds { events: 3, bytes: usize::MAX });
        let mut cursor = log.live();
        log.append((0..10).map(|offset| record(0, offset)).collect());
        assert_eq!(read(&log, &mut cursor), (Some(7), vec!["0:7".into(), "0:8".into(), "0:9".into()]));
        assert_eq!(log.fill().0, 3);
    }

    #[test]
    fn a_lost_place_is_a_hole_that_each_cursor_meets_once() {
        let log = EventLog::new("t", Bounds::default());
        let mut early = log.live();
        log.append(vec![record(0, 7)]);
        log.forget_positions();
        let mut late = log.live();
        log.begin(&[(0, 1)]);
        log.append(vec![record(0, 1)]);
        assert_eq!(read(&log, &mut early), (None, vec!["0:7".into()]));
        assert_eq!(read(&log, &mut early), (Some(u64::MAX), vec!["0:1".into()]));
        assert_eq!(read(&log, &mut early), (None, vec![]));
        assert_eq!(read(&log, &mut late), (None, vec!["0:1".into()]));
    }

    #[test]
    fn the_bound_in_bytes_holds_and_one_event_is_always_kept() {
        let log = EventLog::new("t", Bounds { events: 1_000, bytes: 1_000 });
        log.append((0..100).map(|offset| record(0, offset)).collect());
        let (events, bytes, seen) = log.fill();
        assert!(bytes <= 1_000 && events >= 1, "{events} events of {bytes} bytes");
        assert_eq!(seen, 100);
        let mut large = record(0, 100);
        large.value = Some(Bytes::from(vec![0; 5_000]));
        log.append(vec![large]);
        assert_eq!(log.fill().0, 1);
    }

    #[test]
    fn who_waits_for_the_reader_is_told_when_it_begins_and_never_again() {
        let log = EventLog::new("t", Bounds::default());
        let mut waiting = pin!(log.begun());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        log.begin(&[(0, 7)]);
        assert_eq!(waiting.now_or_never(), Some(()));
        assert_eq!(log.begun().now_or_never(), Some(()));
    }

    #[test]
    fn a_view_is_encoded_once() {
        let event = Event::new(record(0, 1));
        let first = event.encoded(View::Native, |_| Bytes::from_static(b"a")).clone();
        let second = event.encoded(View::Native, |_| unreachable!("it is encoded already")).clone();
        assert_eq!(first, second);
    }
}
