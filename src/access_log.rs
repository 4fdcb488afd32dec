//! The access log: one JSON line per exchange, written by a thread of its own behind a bounded queue.
//!
//! A worker encodes its lines into a buffer and hands the buffer over when it is full or a few milliseconds old, since waking the
//! writer costs as much as several requests. When the queue is full the lines are dropped and counted: a slow disk makes nobody
//! wait.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::io::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use portolan_config::snapshot::LogTarget;
use portolan_exchange::client::AddressText;
use portolan_exchange::value::Timestamp;

// A buffer is handed over at this size.
const BUFFER: usize = 64 * 1024;
// It is handed over at this age, whatever is in it.
const AGE: Duration = Duration::from_millis(10);
// Buffers that wait for the writer; the bound in lines is what operators set.
const BUFFERS: usize = 4_096;

/// The access log of one worker.
#[derive(Clone)]
pub struct AccessLog(Option<Rc<Inner>>);

struct Inner {
    queue: Arc<Queue>,
    buffer: RefCell<Vec<u8>>,
    lines: Cell<usize>,
    handover: Cell<bool>,
    second: RefCell<Second>,
}

/// The last second that was written, as text: lines come thousands a second.
#[derive(Default)]
struct Second {
    unix: i64,
    // `2026-01-31T12:00:00`; nothing at first.
    text: String,
}

struct Queue {
    sender: SyncSender<Message>,
    waiting: AtomicUsize,
    bound: usize,
    ending: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    fn new(sender: SyncSender<Message>, bound: usize) -> Self {
        Self {
            sender,
            waiting: AtomicUsize::new(0),
            bound,
            ending: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

enum Message {
    Lines { bytes: Vec<u8>, count: usize },
    End,
}

/// The thread that writes the access log. Ending it writes what is queued.
pub struct Writer {
    queue: Option<Arc<Queue>>,
    thread: Option<JoinHandle<()>>,
    // Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Writer {
    /// Opens the target and starts the writer. `queue` is how many lines may wait.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn start(target: &LogTarget, queue: usize) -> std::io::Result<Self> {
        let out: Box<dyn Write + Send> = match target {
            LogTarget::Off => return Ok(Self { queue: None, thread: None, ended: sync_channel(0).1 }),
            LogTarget::Stdout => Box::new(std::io::stdout()),
            LogTarget::File(path) => Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, receiver) = sync_channel(BUFFERS);
        let queue = Arc::new(Queue::new(sender, queue));
        let shared = queue.clone();
        let (alive, ended) = sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write_all(out, &receiver, &shared);
            drop(alive);
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), ended })
    }

    /// What a worker opens its end with, on its own thread.
    pub fn opener(&self) -> Opener {
        Opener(self.queue.clone())
    }

    /// Lines written and lines dropped since the start.
    pub fn counts(&self) -> Counts {
        Counts(self.queue.clone())
    }

    /// Writes what is queued and ends the thread. A target that takes nothing is waited for a second: the end must come.
    pub fn end(&mut self) {
        let (Some(thread), Some(queue)) = (self.thread.take(), &self.queue) else { return };
        let until = Duration::from_secs(1);
        queue.ending.store(true, Ordering::Relaxed);
        // A full queue needs no word: its writer looks whether it is to end when the queue is empty.
        let _ = queue.sender.try_send(Message::End);
        if self.ended.recv_timeout(until) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log's target takes nothing; what waits for it is lost");
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the access log's writer panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Opens the end of one worker.
pub struct Opener(Option<Arc<Queue>>);

impl Opener {
    /// The end of one worker.
    pub fn open(&self) -> AccessLog {
        AccessLog(self.0.as_ref().map(|queue| {
            Rc::new(Inner {
                queue: queue.clone(),
                buffer: RefCell::new(Vec::new()),
                lines: Cell::new(0),
                handover: Cell::new(false),
                second: RefCell::default(),
            })
        }))
    }
}

/// Reads how many lines were written and dropped.
#[derive(Clone)]
pub struct Counts(Option<Arc<Queue>>);

impl Counts {
    /// Lines written.
    pub fn written(&self) -> u64 {
        self.0.as_ref().map_or(0, |queue| queue.written.load(Ordering::Relaxed))
    }

    /// Lines dropped because the queue was full or the target could not be written.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |queue| queue.dropped.load(Ordering::Relaxed))
    }
}

fn write_all(mut out: Box<dyn Write + Send>, receiver: &Receiver<Message>, queue: &Queue) {
    let mut failing = false;
    loop {
        let message = if queue.ending.load(Ordering::Relaxed) {
            receiver.try_recv().map_err(|_| ())
        } else {
            receiver.recv().map_err(|_| ())
        };
        let Ok(Message::Lines { bytes, count }) = message else { break };
        queue.waiting.fetch_sub(count, Ordering::Relaxed);
        match out.write_all(&bytes).and_then(|()| out.flush()) {
            Ok(()) => {
                failing = false;
                queue.written.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) => {
                queue.dropped.fetch_add(count as u64, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "access log could not be written; its lines are dropped until it can");
                }
            }
        }
    }
}

impl AccessLog {
    /// A log that keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Writes one line; `fill` is not called where there is no log.
    pub fn write(&self, fill: impl FnOnce(&mut Line<'_>)) {
        let Some(inner) = &self.0 else { return };
        {
            let mut buffer = inner.buffer.borrow_mut();
            let mut line = Line::begin(&mut buffer, &inner.second);
            fill(&mut line);
            line.end();
            inner.lines.set(inner.lines.get() + 1);
            // A hand-over is taken whole or not at all.
            if buffer.len() >= BUFFER || inner.lines.get() >= inner.queue.bound {
                inner.hand_over(&mut buffer);
                return;
            }
        }
        if !inner.handover.replace(true) {
            let inner = inner.clone();
            #[expect(clippy::disallowed_methods, reason = "a line must come though a test's clock stands still")]
            tokio::task::spawn_local(async move {
                tokio::time::sleep(AGE).await;
                inner.handover.set(false);
                inner.hand_over(&mut inner.buffer.borrow_mut());
            });
        }
    }
}

impl Inner {
    fn hand_over(&self, buffer: &mut Vec<u8>) {
        let count = self.lines.replace(0);
        if count == 0 {
            return;
        }
        // The next lines are about as many.
        let bytes = std::mem::replace(buffer, Vec::with_capacity(buffer.len().min(BUFFER)));
        let queue = &self.queue;
        if queue.waiting.load(Ordering::Relaxed) + count > queue.bound {
            queue.dropped.fetch_add(count as u64, Ordering::Relaxed);
            return;
        }
        queue.waiting.fetch_add(count, Ordering::Relaxed);
        if queue.sender.try_send(Message::Lines { bytes, count }).is_err() {
            queue.waiting.fetch_sub(count, Ordering::Relaxed);
            queue.dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut *self.buffer.borrow_mut());
        self.hand_over(&mut buffer);
    }
}

/// One line being written: a JSON object, its members in the order they are added.
pub struct Line<'a> {
    buffer: &'a mut Vec<u8>,
    second: &'a RefCell<Second>,
    first: bool,
}

impl<'a> Line<'a> {
    fn begin(buffer: &'a mut Vec<u8>, second: &'a RefCell<Second>) -> Self {
        // About as long as a line is.
        buffer.reserve(512);
        buffer.push(b'{');
        Self { buffer, second, first: true }
    }

    fn end(self) {
        self.buffer.extend_from_slice(b"}\n");
    }

    /// Adds text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.buffer.push(b'"');
        escape(self.buffer, value);
        self.buffer.push(b'"');
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Adds a duration in whole microseconds.
    pub fn micros(&mut self, name: &str, value: Duration) {
        self.number(name, u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a time, as RFC 3339 in UTC with no or three digits behind the second.
    pub fn time(&mut self, name: &str, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.name(name);
        self.buffer.push(b'"');
        let mut second = self.second.borrow_mut();
        if second.unix != unix || second.text.is_empty() {
            let whole = unix.checked_mul(1_000).and_then(Timestamp::from_unix_millis);
            let text = whole.unwrap_or(Timestamp::EPOCH).to_string();
            *second = Second { unix, text: text.trim_end_matches('Z').to_owned() };
        }
        self.buffer.extend_from_slice(second.text.as_bytes());
        let millis = since.subsec_millis();
        if millis > 0 {
            let digits = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b"0123456789"[digit as usize]);
            self.buffer.push(b'.');
            self.buffer.extend_from_slice(&digits);
        }
        self.buffer.extend_from_slice(b"Z\"");
    }

    /// Adds an address.
    pub fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(AddressText::of(address).as_bytes());
        self.buffer.push(b'"');
    }

    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.buffer.push(b',');
        }
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }
}

struct Appending<'a>(&'a mut Vec<u8>);

impl fmt::Write for Appending<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends text as the inside of a JSON string (RFC 8259, section 7).
fn escape(buffer: &mut Vec<u8>, text: &str) {
    // Without a branch for each byte, so that the compiler takes many at a time; hardly any text has one.
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    if !text.bytes().fold(false, |any, byte| any | special(byte)) {
        buffer.extend_from_slice(text.as_bytes());
        return;
    }
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !special(byte) {
            continue;
        }
        buffer.extend_from_slice(&text.as_bytes()[from..at]);
        match byte {
            b'"' => buffer.extend_from_slice(b"\\\""),
            b'\\' => buffer.extend_from_slice(b"\\\\"),
            control => {
                let _ = write!(Appending(buffer), "\\u{control:04x}");
            }
        }
        from = at + 1;
    }
    buffer.extend_from_slice(&text.as_bytes()[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_stands_in_it() {
        let mut buffer = Vec::new();
        let second = RefCell::default();
        let mut line = Line::begin(&mut buffer, &second);
        line.text("path", "/a\"\\\n\u{1}é");
        line.number("status", 200);
        line.micros("gateway_us", Duration::from_millis(3));
        line.end();
        let read: serde_json::Value = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(read, serde_json::json!({ "path": "/a\"\\\n\u{1}é", "status": 200, "gateway_us": 3000 }));
    }

    #[test]
    fn a_time_is_that_of_its_line_whatever_second_was_written_last() {
        let second = RefCell::default();
        let written = |millis| {
            let mut buffer = Vec::new();
            let mut line = Line::begin(&mut buffer, &second);
            line.time("t", SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            line.address("v4", "127.0.0.1".parse().unwrap());
            line.address("v6", "2001:db8::1".parse().unwrap());
            line.end();
            String::from_utf8(buffer).unwrap()
        };
        let line = |time| format!("{{\"t\":\"{time}\",\"v4\":\"127.0.0.1\",\"v6\":\"2001:db8::1\"}}\n");
        let day = 86_400_000;
        assert_eq!(written(0), line("1970-01-01T00:00:00Z"));
        assert_eq!(written(20), line("1970-01-01T00:00:00.020Z"));
        assert_eq!(written(day - 1), line("1970-01-01T23:59:59.999Z"));
        assert_eq!(written(day), line("1970-01-02T00:00:00Z"));
    }

    #[actix_rt::test]
    async fn lines_beyond_the_queue_are_dropped_and_counted_and_the_rest_is_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (sender, receiver) = sync_channel(BUFFERS);
        let queue = Arc::new(Queue::new(sender, 3));
        let log = Opener(Some(queue.clone())).open();
        // Three fill the queue, of which nobody takes anything yet.
        for number in 0..5 {
            log.write(|line| line.number("n", number));
        }
        log.hand_over();
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2);
        queue.ending.store(true, Ordering::Relaxed);
        write_all(Box::new(std::fs::File::create(&path).unwrap()), &receiver, &queue);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
        assert_eq!((queue.written.load(Ordering::Relaxed), queue.dropped.load(Ordering::Relaxed)), (3, 2));
    }

    impl AccessLog {
        fn hand_over(&self) {
            let inner = self.0.as_ref().unwrap();
            inner.hand_over(&mut inner.buffer.borrow_mut());
        }
    }
}
