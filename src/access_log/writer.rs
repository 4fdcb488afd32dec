//! The thread that writes the access log, and the bounded queue before it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use portolan_config::snapshot::LogTarget;

use super::Opener;

// Buffers that wait for the writer; the bound in lines is what operators set.
const BUFFERS: usize = 4_096;

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
        let (queue, receiver) = Queue::new(queue);
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
        queue.end();
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

/// Reads how many lines were written and dropped.
#[derive(Clone)]
pub struct Counts(Option<Arc<Queue>>);

impl Counts {
    #[cfg(test)]
    pub(super) fn of(queue: &Arc<Queue>) -> Self {
        Self(Some(queue.clone()))
    }

    /// Lines written.
    pub fn written(&self) -> u64 {
        self.0.as_ref().map_or(0, |queue| queue.written.load(Ordering::Relaxed))
    }

    /// Lines dropped because the queue was full or the target could not be written.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |queue| queue.dropped.load(Ordering::Relaxed))
    }
}

/// The lines that wait, and what is counted of them.
pub(super) struct Queue {
    sender: SyncSender<Message>,
    waiting: AtomicUsize,
    bound: usize,
    ending: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
}

pub(super) enum Message {
    Lines { bytes: Vec<u8>, count: usize },
    End,
}

impl Queue {
    /// A queue of at most so many lines, with the end that the writer reads.
    pub(super) fn new(bound: usize) -> (Arc<Self>, Receiver<Message>) {
        let (sender, receiver) = sync_channel(BUFFERS);
        let queue = Self {
            sender,
            waiting: AtomicUsize::new(0),
            bound,
            ending: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        (Arc::new(queue), receiver)
    }

    /// How many lines may wait.
    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// Takes these lines, so many; all of them are dropped where there is no room.
    pub(super) fn take(&self, bytes: Vec<u8>, count: usize) {
        if self.waiting.load(Ordering::Relaxed) + count > self.bound {
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(count, Ordering::Relaxed);
        if self.sender.try_send(Message::Lines { bytes, count }).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Tells the writer to end once it has written what waits.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        // A full queue needs no word: its writer looks whether it is to end when the queue is empty.
        let _ = self.sender.try_send(Message::End);
    }
}

/// Writes what comes out of a queue until it is told to end and nothing waits.
pub(super) fn write_all(mut out: Box<dyn Write + Send>, receiver: &Receiver<Message>, queue: &Queue) {
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
