//! The thread on which a topic is read: polls that block, and nothing that decides.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portolan_exchange::events::{Broker, BrokerError, Reader, Start};
use tokio::sync::oneshot;

use super::handle::{State, View};
use crate::supervision::{Threads, lock, words_of};

// How long a poll may wait for records: a stop is noticed within it.
const POLL: Duration = Duration::from_millis(100);

// How long a thread waits for the one before it. That one sees its stop flag within a poll; only opening takes longer, and
// brokers bound it to some seconds.
const PREDECESSOR: Duration = Duration::from_secs(60);

/// A thread that reads, as long as this is held.
pub(super) struct Reading {
    stop: Arc<AtomicBool>,
}

/// How a thread ended.
pub(super) enum Ended {
    /// Its reader was dropped, or it was told to stop.
    Stopped,
    /// The reader could not be opened.
    NotOpened(BrokerError),
    /// A poll failed. Here is the reader, to be tried again, and whether a poll of it had succeeded.
    PollFailed { error: BrokerError, reader: Box<dyn Reader>, had_polled: bool },
    /// The reader's own code panicked.
    Panicked(String),
}

impl Reading {
    /// Starts a thread that polls this reader, or one it opens itself.
    pub(super) fn start(
        threads: &Threads,
        broker: Arc<dyn Broker>,
        view: Arc<View>,
        reader: Option<Box<dyn Reader>>,
    ) -> io::Result<(Self, oneshot::Receiver<Ended>)> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = oneshot::channel();
        let mut thread = lock(&view.thread);
        let predecessor = thread.take();
        let (seen, stopped) = (view.clone(), stop.clone());
        let name = format!("topic-{}", view.log.topic());
        let started = threads.spawn(name, move || {
            if predecessor.is_some_and(|predecessor| !predecessor.wait(PREDECESSOR)) {
                let blocked = BrokerError::Unavailable("the reader before this one still blocks".into());
                let _ = tell.send(Ended::NotOpened(blocked));
                return;
            }
            let work = AssertUnwindSafe(|| read(&*broker, &seen, &stopped, reader));
            let ended = catch_unwind(work).unwrap_or_else(|payload| Ended::Panicked(words_of(&*payload)));
            // An actor that is gone does not want to know.
            let _ = tell.send(ended);
        })?;
        *thread = Some(started);
        Ok((Self { stop }, told))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn read(broker: &dyn Broker, view: &View, stop: &AtomicBool, reader: Option<Box<dyn Reader>>) -> Ended {
    let log = &view.log;
    // A predecessor that panicked between appending and announcing left readers of the log waiting.
    log.announce();
    let mut reader = match reader {
        Some(reader) => reader,
        None => match open(broker, view) {
            Ok(reader) => reader,
            Err(error) => return Ended::NotOpened(error),
        },
    };
    let mut had_polled = false;
    while !stop.load(Ordering::Acquire) {
        let batch = match reader.poll(POLL) {
            Ok(batch) => batch,
            Err(error) => return Ended::PollFailed { error, reader, had_polled },
        };
        had_polled = true;
        if view.state() != State::Reading {
            view.set_state(State::Reading);
        }
        if batch.is_empty() {
            continue;
        }
        let new = log.append(batch);
        if new > 0 {
            view.events.fetch_add(new as u64, Ordering::Relaxed);
            view.batches.fetch_add(1, Ordering::Relaxed);
            log.announce();
        }
    }
    Ended::Stopped
}

fn open(broker: &dyn Broker, view: &View) -> Result<Box<dyn Reader>, BrokerError> {
    let positions = view.log.positions();
    let start = if positions.is_empty() { Start::Live } else { Start::At(positions) };
    let reader = broker.reader(view.log.topic(), start)?;
    // From here on nothing is lost: were this the last breath of the reader, the next one would begin at this place.
    view.log.begin(reader.began());
    view.opened.fetch_add(1, Ordering::Relaxed);
    Ok(reader)
}
