//! The thread that writes the access log, and the bounded queue before it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use portolan_config::snapshot::LogTarget;

use super::Opener;

// Buffers that wait for the writer; the bound in lines is what operators set.
const BUFFERS: usize = 4_096;

// What is written at once: for more, ext4 looks for larger pages to keep it in, which costs a multiple (Linux 6.18).
const PIECE: usize = 32 * 1024;

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
    Lines(Lines),
    End,
}

/// Lines to be written, and where their buffer goes then.
pub(super) struct Lines {
    pub bytes: Vec<u8>,
    pub count: usize,
    pub home: Spare,
}

/// The buffer that a worker fills next: the one that was written last, if it has come back. One for each worker, and no larger
/// than what it handed over at once.
#[derive(Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<u8>>>);

impl Spare {
    /// An empty buffer with this much room, and not with a multiple of it: a worker that has little to do any more lets go of a
    /// large one with its next lines.
    pub fn take(&self, room: usize) -> Vec<u8> {
        let spare = std::mem::take(&mut *self.lock());
        if (room..4 * room).contains(&spare.capacity()) { spare } else { Vec::with_capacity(room) }
    }

    fn put(&self, mut written: Vec<u8>) {
        written.clear();
        // Freed behind the lock, for which the worker waits.
        let before = std::mem::replace(&mut *self.lock(), written);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// Takes these lines; all of them are dropped where there is no room.
    pub(super) fn take(&self, lines: Lines) {
        let count = lines.count;
        if self.waiting.load(Ordering::Relaxed) + count > self.bound {
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(count, Ordering::Relaxed);
        if self.sender.try_send(Message::Lines(lines)).is_err() {
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
        let Ok(Message::Lines(Lines { bytes, count, home })) = message else { break };
        queue.waiting.fetch_sub(count, Ordering::Relaxed);
        let written = pieces(&bytes).try_for_each(|piece| out.write_all(piece)).and_then(|()| out.flush());
        home.put(bytes);
        match written {
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

/// Whole lines, as many as make up a piece, or one that is longer: whoever else appends to the file does so between lines.
fn pieces(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let is_end = |byte: &u8| *byte == b'\n';
        let end = match lines.get(..PIECE) {
            None => lines.len(),
            Some(most) => match most.iter().rposition(is_end).or_else(|| lines.iter().position(is_end)) {
                Some(last) => last + 1,
                None => lines.len(),
            },
        };
        let (piece, rest) = lines.split_at(end);
        lines = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_of_whole_lines_and_no_longer_than_it_must_be() {
        let line = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
        for lengths in
            [vec![], vec![1], vec![PIECE], vec![PIECE, 1], vec![PIECE + 1, 1], vec![1, PIECE], vec![300; 500]]
        {
            let lines: Vec<_> = lengths.iter().copied().map(line).collect();
            let bytes = lines.concat();
            let pieces: Vec<_> = pieces(&bytes).collect();
            assert_eq!(pieces.concat(), bytes);
            for piece in &pieces {
                assert!(piece.ends_with(b"\n"), "{lengths:?}");
                assert!(piece.len() <= PIECE || lines.iter().any(|line| line == piece), "{lengths:?}");
            }
            // Two that follow one another would not have fitted into one.
            assert!(pieces.windows(2).all(|two| two.concat().len() > PIECE), "{lengths:?}");
        }
    }

    #[test]
    fn a_buffer_comes_back_when_it_is_written_and_one_that_is_much_too_large_goes() {
        let (queue, receiver) = Queue::new(10);
        let spare = Spare::default();
        let buffer = spare.take(1_000);
        let at = buffer.as_ptr();
        queue.take(Lines { bytes: buffer, count: 1, home: spare.clone() });
        queue.end();
        write_all(Box::new(std::io::sink()), &receiver, &queue);
        let again = spare.take(1_000);
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        assert_eq!(spare.take(1_000).capacity(), 1_000, "the other is in use");
        spare.put(again);
        assert_eq!(spare.take(10).capacity(), 10);
    }
}
