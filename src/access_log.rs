//! The access log: one JSON line per exchange, written by a thread of its own behind a bounded queue.
//!
//! A worker encodes its lines into a buffer and hands the buffer over when it is full or some milliseconds old, since waking the
//! writer costs as much as several requests. The worker gets the buffer back once it is written: fresh memory of that size
//! costs a fault of the system for each page. When the queue is full the lines are dropped and counted: a slow disk makes nobody wait.

mod line;
mod writer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use line::member;
pub use line::{Line, Member};
use line::{ROOM, Second};
pub use writer::{Counts, Writer};
use writer::{Lines, Queue, Spare};

// A buffer is handed over at this size.
const BUFFER: usize = 256 * 1024;
// It is handed over at this age, whatever is in it.
const AGE: Duration = Duration::from_millis(25);

/// The access log of one worker.
#[derive(Clone)]
pub struct AccessLog(Option<Rc<Inner>>);

struct Inner {
    queue: Arc<Queue>,
    buffer: RefCell<Vec<u8>>,
    spare: Spare,
    lines: Cell<usize>,
    handover: Cell<bool>,
    second: RefCell<Second>,
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
                spare: Spare::default(),
                lines: Cell::new(0),
                handover: Cell::new(false),
                second: RefCell::default(),
            })
        }))
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
            if buffer.len() >= BUFFER || inner.lines.get() >= inner.queue.bound() {
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
        // Room for twice as much: growing copies all that is there.
        let room = (2 * buffer.len()).min(BUFFER) + ROOM;
        let bytes = std::mem::replace(buffer, self.spare.take(room));
        self.queue.take(Lines { bytes, count, home: self.spare.clone() });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut *self.buffer.borrow_mut());
        self.hand_over(&mut buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn lines_beyond_the_queue_are_dropped_and_counted_and_the_rest_is_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (queue, receiver) = Queue::new(3);
        let log = Opener(Some(queue.clone())).open();
        // Three fill the queue, of which nobody takes anything yet.
        for number in 0..5 {
            log.write(|line| line.number(member!("n"), number));
        }
        log.hand_over();
        let counts = Counts::of(&queue);
        assert_eq!(counts.dropped(), 2);
        queue.end();
        writer::write_all(Box::new(std::fs::File::create(&path).unwrap()), &receiver, &queue);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
        assert_eq!((counts.written(), counts.dropped()), (3, 2));
    }

    impl AccessLog {
        fn hand_over(&self) {
            let inner = self.0.as_ref().unwrap();
            inner.hand_over(&mut inner.buffer.borrow_mut());
        }
    }
}
