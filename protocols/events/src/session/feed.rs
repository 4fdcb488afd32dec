//! One subscription: a place in a log, and the frames made from there on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use portolan_exchange::events::{Cursor, Event, EventLog, Gap, View};
use portolan_websocket::frame::{HEADER_MAX, Opcode, put_header};
use serde_json::json;

use super::{OUT_MAX, OUT_TARGET};
use crate::contract::Channel;
use crate::frames::answer::Answer;
use crate::frames::event;

/// Events read from the log at a time: enough to pay for taking its lock, few enough to be fair to other channels.
const TURN: usize = 32;
/// Room for a `gap` frame: two positions, a number, the words between.
const GAP_ROOM: usize = 256;

const TAIL: &[u8] = b"]}";

#[derive(Debug)]
pub(super) struct Feed {
    pub(super) ch: u32,
    pub(super) channel: Arc<Channel>,
    pub(super) log: Arc<EventLog>,
    pub(super) cursor: Cursor,
    /// How every `message` frame begins, up to the first member of the event.
    pub(super) lead: Bytes,
    /// Read from the log, and not yet sent for want of room; at most [`TURN`].
    ahead: VecDeque<Arc<Event>>,
    /// What is missing before the next event.
    missing: Option<Gap>,
    /// Where the last event sent stands.
    pub(super) last: Option<(i32, i64)>,
    pub(super) delivered: u64,
}

/// What came of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Events were taken.
    Some,
    /// There was none.
    Nothing,
    /// The next one does not fit.
    NoRoom,
}

impl Feed {
    pub(super) fn new(ch: u32, channel: Arc<Channel>, log: Arc<EventLog>, cursor: Cursor) -> Self {
        let mut lead = format!(r#"{{"type":"message","ch":{ch},"events":[{{"#);
        if let Some(name) = channel.message() {
            lead.push_str(r#""name":"#);
            lead.push_str(&serde_json::Value::from(&**name).to_string());
            lead.push(',');
        }
        Self {
            ch,
            channel,
            log,
            cursor,
            lead: lead.into(),
            ahead: VecDeque::new(),
            missing: None,
            last: None,
            delivered: 0,
        }
    }

    /// Appends up to one turn of events, one frame each: the bytes of a frame are the same in every session.
    pub(super) fn take(&mut self, out: &mut BytesMut) -> Taken {
        if self.ahead.is_empty() && self.cursor < self.log.live() {
            let batch = self.log.read(&mut self.cursor, TURN, OUT_TARGET.saturating_sub(out.len()).max(1));
            self.missing = both(self.missing, batch.gap);
            self.ahead.extend(batch.events);
        }
        let mut taken = Taken::Nothing;
        while let Some(event) = self.ahead.front() {
            let gap_room = if self.missing.is_some() { GAP_ROOM } else { 0 };
            let need = self.room_of(event) + gap_room;
            if !out.is_empty() && out.len() + need > OUT_MAX {
                return Taken::NoRoom;
            }
            let at = (event.record.partition, event.record.offset);
            if let Some(gap) = self.missing.take() {
                Answer::gap(self.ch, self.last, at, gap).put(out);
            }
            self.put(event, out);
            self.last = Some(at);
            self.delivered += 1;
            self.ahead.pop_front();
            taken = Taken::Some;
        }
        taken
    }

    /// Appends the frame of an event.
    pub(super) fn put(&self, event: &Event, out: &mut BytesMut) {
        // The object's own brace is the last byte of the lead.
        let object = &event.encoded(View::Native, event::encode)[1..];
        out.reserve(self.room_of(event));
        put_header(out, Opcode::Text, self.lead.len() + object.len() + TAIL.len());
        out.put_slice(&self.lead);
        out.put_slice(object);
        out.put_slice(TAIL);
    }

    fn room_of(&self, event: &Event) -> usize {
        HEADER_MAX + self.lead.len() + event.encoded(View::Native, event::encode).len() + TAIL.len()
    }

    /// Whether there is something to be sent, in a log that ends at `end`.
    pub(super) fn has_more(&self, end: Cursor) -> bool {
        self.cursor < end || self.is_behind()
    }

    /// Whether something stands between the log and what is sent next.
    pub(super) fn is_behind(&self) -> bool {
        !self.ahead.is_empty() || self.missing.is_some()
    }

    pub(super) fn state(&self) -> serde_json::Value {
        json!({
            "ch": self.ch,
            "channel": &*self.channel.address,
            "lag": self.log.lag(self.cursor) + self.ahead.len() as u64,
            "delivered": self.delivered,
        })
    }
}

/// Two holes with no event between them are one; its size is known when both are.
fn both(one: Option<Gap>, other: Option<Gap>) -> Option<Gap> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Gap { count: one.count.zip(other.count).map(|(one, other)| one + other) }),
        (one, other) => one.or(other),
    }
}
