//! What is ready in a log, as frames: made once, and written as it is to every session that stands at the same place.
//!
//! Most sessions of a topic stand at its live end and have nothing waiting. An event costs each of them a look at its cursor
//! and one write, and a burst of events no more. Whoever does not stand there, or does not take all of it, goes the way of
//! [`Machine::fill`], at its own pace.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use portolan_exchange::Moment;
use portolan_exchange::events::{Cursor, EventLog};

use super::feed::Feed;
use super::{Machine, OUT_MAX, OUT_TARGET, Phase};

/// Events in a burst; its bytes are bounded as those that wait in a session are.
const EVENTS: usize = 256;
/// Bursts that a worker keeps, each of up to [`OUT_MAX`] or one event: one for each way in which channels call the events of a topic.
/// More ways than that, and frames are made more than once.
const KEPT: usize = 4;

/// The bursts of one worker, those made last.
#[derive(Debug, Default)]
pub struct Bursts(RefCell<VecDeque<Rc<Burst>>>);

/// The frames of the events from one place in a log to another, as the sessions of one channel are sent them.
#[derive(Debug)]
pub struct Burst {
    // Weak: a topic that nobody reads any more must not be kept by what was read last.
    log: Weak<EventLog>,
    lead: Bytes,
    from: Cursor,
    next: Cursor,
    /// Whether there was more in the log than one burst holds; otherwise it reached the live end.
    is_cut: bool,
    events: u64,
    last: (i32, i64),
    frames: BytesMut,
}

/// What a session is to be sent of a log at once.
#[derive(Debug)]
pub enum Ready {
    /// There is nothing to be read.
    Nothing,
    /// These frames; [`Machine::passed`] is to be told how much of them the peer's socket took.
    Burst(Rc<Burst>),
    /// The session has to go on by itself: something waits before it, or it missed something.
    Aside,
}

impl Burst {
    /// The bytes.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// What lies before this feed, if it can be sent as it is.
    fn before(feed: &Feed) -> Option<Self> {
        let (from, end) = (feed.cursor, feed.log.live());
        let mut next = from;
        let batch = feed.log.read(&mut next, EVENTS, OUT_TARGET);
        let last = batch.events.last().map(|event| (event.record.partition, event.record.offset))?;
        if batch.gap.is_some() {
            return None;
        }
        let mut frames = BytesMut::new();
        for event in &batch.events {
            feed.put(event, &mut frames);
        }
        let fits = frames.len() <= OUT_MAX || batch.events.len() == 1;
        fits.then(|| Self {
            log: Arc::downgrade(&feed.log),
            lead: feed.lead.clone(),
            from,
            next,
            is_cut: next < end,
            events: batch.events.len() as u64,
            last,
            frames,
        })
    }

    /// Whether it is what lies before this feed: all of it, up to the end of the log, or as much as a burst holds.
    fn is_before(&self, feed: &Feed, end: Cursor) -> bool {
        self.from == feed.cursor
            && (self.is_cut || self.next == end)
            && std::ptr::eq(self.log.as_ptr(), Arc::as_ptr(&feed.log))
            && same(&self.lead, &feed.lead)
    }
}

/// Whether these are the same bytes; mostly they even stand at the same place.
fn same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}

impl Bursts {
    /// What lies before this feed, made now unless another session was sent it.
    fn before(&self, feed: &Feed, end: Cursor) -> Option<Rc<Burst>> {
        let mut kept = self.0.borrow_mut();
        if let Some(burst) = kept.iter().find(|burst| burst.is_before(feed, end)) {
            return Some(burst.clone());
        }
        let burst = Rc::new(Burst::before(feed)?);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(burst.clone());
        Some(burst)
    }
}

impl Machine {
    /// What this log has for the session, as bytes that it shares with others. They count as taken out of the log: what the peer
    /// takes of them is told to [`Machine::passed`] before anything else is asked.
    pub fn ready(&mut self, log: &Arc<EventLog>, bursts: &Bursts) -> Ready {
        if self.phase != Phase::Open {
            return Ready::Nothing;
        }
        let end = log.live();
        let has_more = |feed: &&mut Feed| Arc::ptr_eq(&feed.log, log) && feed.has_more(end);
        let Some(feed) = self.feeds.iter_mut().find(has_more) else { return Ready::Nothing };
        if !self.out.is_empty() || feed.is_behind() {
            return Ready::Aside;
        }
        let Some(burst) = bursts.before(feed, end) else { return Ready::Aside };
        if feed.lead.as_ptr() != burst.lead.as_ptr() {
            // One copy for all: next time it is known without being read.
            feed.lead = burst.lead.clone();
        }
        feed.cursor = burst.next;
        feed.last = Some(burst.last);
        feed.delivered += burst.events;
        self.is_passing = true;
        Ready::Burst(burst)
    }

    /// The peer's socket took the first `count` bytes of the burst; the rest waits like everything else.
    pub fn passed(&mut self, burst: &Burst, count: usize, now: Moment) {
        self.is_passing = false;
        self.out.extend_from_slice(&burst.frames[count..]);
        if count > 0 {
            self.pulse.progressed(now);
        }
    }

    /// Whether the peer's socket took no more when it was tried last. It says when it does again.
    pub fn is_blocked(&self) -> bool {
        self.pulse.is_blocked()
    }
}
