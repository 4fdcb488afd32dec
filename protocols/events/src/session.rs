//! A session: one client's connection, its commands and its subscriptions, as a pure machine.
//!
//! Bytes and times go in; bytes to be written, tasks to be run and the next moment to be asked again come out. The machine
//! touches no socket, waits for nothing and asks no clock: [`crate::inbound`] does.
//!
//! ```text
//!  receive(bytes) ─► decoder ─► commands waiting ─► next_task() ─► a child exchange ─► subscribed / published / refused
//!  fill()         ─► feeds (cursors in logs) ─┐                                                   │
//!                                              └──────────────► outgoing() ◄──────────────────────┘
//! ```
//!
//! A session holds cursors, not queues: it takes events out of the shared log only while its outgoing buffer has room.
//! What the log has pushed out meanwhile is announced with a `gap`. A session that nothing waits for is sent the bytes that all
//! sessions share, past its buffer: `ready()`.

mod burst;
mod feed;
mod pulse;
mod queue;
mod settings;
mod task;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use portolan_exchange::events::{Cursor, EventLog, Placed};
use portolan_exchange::identity::Credential;
use portolan_exchange::{Fault, FaultKind, Moment};
use portolan_websocket::frame::HEADER_MAX;
use portolan_websocket::{Breach, Code as CloseCode, Decoder, Message, Role, frame};
use serde_json::json;

use crate::contract::{Channel, Contract};
use crate::frames::answer::{Answer, Limits};
use crate::frames::{Code, Command, Deed, Publication, command};
use feed::{Feed, Taken};
use pulse::{Due, Hears, Pulse};
use queue::Queue;

pub use burst::{Burst, Bursts, Ready};
pub use settings::Settings;
pub use task::{Standing, Task};

/// Events are taken from logs while fewer bytes than this wait to be written.
pub const OUT_TARGET: usize = 64 * 1024;
/// No event is added that would make more bytes wait than this, unless it is alone; above it nothing is read from the client.
pub const OUT_MAX: usize = 256 * 1024;
/// A buffer that is empty gives back its memory when it holds more than this: most sessions are idle.
const OUT_KEPT: usize = 4 * 1024;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our close frame is written or waits to be.
    Closing {
        peer_closed: bool,
    },
    /// There is nothing more to be said or heard.
    Over,
}

/// One session.
#[derive(Debug)]
pub struct Machine {
    id: Arc<str>,
    settings: Settings,
    contract: Arc<Contract>,
    standing: Standing,
    phase: Phase,
    decoder: Decoder,
    queue: Queue,
    feeds: Vec<Feed>,
    /// Whose turn it is, so that a busy channel does not starve the others.
    turn: usize,
    pulse: Pulse,
    out: BytesMut,
    /// Whether the socket is being given frames that stand in no buffer of the session's.
    is_passing: bool,
    /// Topics that no subscription reads any more.
    left: VecDeque<Arc<str>>,
    closed_with: Option<CloseCode>,
    /// Bytes that came from a client nobody knows yet.
    early: usize,
}

impl Machine {
    /// A session that begins now. `id` is the request id of its upgrade.
    pub fn new(
        id: impl Into<Arc<str>>,
        contract: Arc<Contract>,
        settings: Settings,
        standing: Standing,
        now: Moment,
    ) -> Self {
        let limits = portolan_websocket::Limits { max_frame: settings.max_frame, max_message: settings.max_frame };
        let mut machine = Self {
            id: id.into(),
            pulse: Pulse::new(&settings, standing, now),
            settings,
            contract,
            standing,
            phase: Phase::Open,
            decoder: Decoder::new(Role::Server, limits),
            queue: Queue::default(),
            feeds: Vec::new(),
            turn: 0,
            out: BytesMut::new(),
            is_passing: false,
            left: VecDeque::new(),
            closed_with: None,
            early: 0,
        };
        if standing == Standing::Identified {
            machine.say_connected(None);
        }
        machine
    }

    /// Says when the client's credentials end, and the session with them.
    pub fn expires(&mut self, at: Option<Moment>) {
        self.pulse.expires(at);
    }

    /// Takes bytes from the front of `input`, message by message, as long as [`Machine::wants_input`]. What is left is to be
    /// given again later.
    pub fn receive(&mut self, input: &mut &[u8], now: Moment) {
        if !input.is_empty() {
            self.pulse.heard(now);
        }
        while !input.is_empty() && (self.wants_input() || self.phase != Phase::Open) {
            let before = input.len();
            let decoded = self.decoder.decode(input);
            self.count_early(before - input.len(), now);
            match decoded {
                Ok(None) => {}
                Ok(Some(message)) => self.take(message, now),
                Err(breach) => {
                    // Nothing after a breach can be read: frames no longer have a beginning.
                    *input = &[];
                    self.breached(breach, now);
                }
            }
        }
    }

    /// Whether the client is listened to: not while its commands wait, nor while it does not take what it is told.
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => !self.queue.is_waiting() && self.out.len() < OUT_MAX,
            Phase::Closing { .. } => true,
            Phase::Over => false,
        }
    }

    /// The next task to be run, if one may begin now: commands take effect in the order in which they came.
    pub fn next_task(&mut self) -> Option<Task> {
        while self.phase == Phase::Open {
            let (number, command) = self.queue.start()?;
            if let Some(task) = self.begin(number, command) {
                return Some(task);
            }
            self.queue.finish(number);
        }
        None
    }

    /// The client is known now: the answer to [`Task::Connect`].
    pub fn identified(&mut self, number: u64) {
        let Some(id) = self.finish(number) else { return };
        self.standing = Standing::Identified;
        self.say_connected(id);
    }

    /// The client may have the channel, from `cursor` on: the answer to [`Task::Subscribe`].
    pub fn subscribed(&mut self, number: u64, channel: &Arc<Channel>, log: Arc<EventLog>, cursor: Cursor) {
        let Some(id) = self.finish(number) else { return };
        let ch = self.free_number(channel);
        self.say(&Answer::Subscribed { id, ch, channel: &channel.address, qos: "none" });
        self.feeds.push(Feed::new(ch, channel.clone(), log, cursor));
    }

    /// The broker has the event: the answer to [`Task::Publish`].
    pub fn published(&mut self, number: u64, placed: Placed) {
        let Some(id) = self.finish(number) else { return };
        self.say(&Answer::published(id, placed));
    }

    /// The task's exchange ended with a fault. A client that is not known after its `connect` is shut out.
    pub fn refused(&mut self, number: u64, fault: &Fault, now: Moment) {
        let Some(id) = self.finish(number) else { return };
        self.say(&Answer::fault(id, fault));
        if self.standing == Standing::Connecting {
            self.say_close(CloseCode(fault.kind().close_code()), fault.detail(), now);
        }
    }

    /// Takes what is ready in the logs, as far as there is room.
    pub fn fill(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        let mut dry = 0;
        while dry < self.feeds.len() && self.out.len() < OUT_TARGET {
            self.turn %= self.feeds.len();
            match self.feeds[self.turn].take(&mut self.out) {
                Taken::Some => dry = 0,
                Taken::Nothing => dry += 1,
                Taken::NoRoom => return,
            }
            self.turn += 1;
        }
    }

    /// What is to be written, all of it at once.
    pub fn outgoing(&self) -> &[u8] {
        &self.out
    }

    /// The peer's socket took the first `count` bytes of it.
    pub fn sent(&mut self, count: usize, now: Moment) {
        self.out.advance(count);
        if self.out.is_empty() && self.out.capacity() > OUT_KEPT {
            self.out = BytesMut::new();
        }
        self.pulse.progressed(now);
    }

    /// The peer's socket takes no more for now.
    pub fn blocked(&mut self, now: Moment) {
        self.pulse.blocked(now);
    }

    /// Keeps the times: to be called when [`Machine::wake_at`] has come; at any other moment it changes nothing.
    pub fn tick(&mut self, now: Moment) {
        match self.pulse.due(self.hears(), now) {
            None => {}
            Some(Due::Ping) => {
                self.pulse.pinged(now);
                // The session's own ping is seen by the client's code, WebSocket's is answered by its library: either will do.
                self.say(&Answer::Ping);
                self.out.extend_from_slice(&frame::ping(b""));
            }
            Some(Due::Silent) => self.close(CLOSE_SILENT, "no sign of life; reconnect", now),
            Some(Due::Expired) => self.close(CLOSE_CREDENTIALS, "the credentials have expired", now),
            Some(Due::Unidentified) => self.close(CLOSE_CONNECT, "no `connect` came in time", now),
            // Nothing can be written to a client that takes nothing, so no close frame is tried.
            Some(Due::Stalled | Due::CloseUnanswered) => self.phase = Phase::Over,
        }
    }

    /// When [`Machine::tick`] must be called, unless something else happens before.
    pub fn wake_at(&self) -> Option<Moment> {
        self.pulse.next(self.hears())
    }

    /// Ends the session in good order: what waits is written, then a close frame. A client that is to come back is told
    /// when.
    pub fn close(&mut self, code: CloseCode, reason: &str, now: Moment) {
        if self.phase != Phase::Open {
            return;
        }
        if matches!(code, CloseCode::AWAY | CloseCode::RESTART | CloseCode::TRY_LATER) {
            let reconnect_after_ms = self.spread();
            self.say(&Answer::Goaway { reason, reconnect_after_ms });
        }
        self.say_close(code, reason, now);
    }

    /// Ends it because its own code panicked.
    pub fn fail(&mut self, now: Moment) {
        // A frame may stand half written behind what is whole; which part that is nobody knows any more, so the close frame
        // goes alone where nothing waited, and the connection just ends where something did.
        if self.phase == Phase::Open && self.out.is_empty() && !self.is_passing {
            self.say_close(CloseCode::INTERNAL, "the session failed; reconnect", now);
        } else {
            self.phase = Phase::Over;
        }
    }

    /// The peer's side of the connection has ended.
    pub fn peer_gone(&mut self) {
        self.phase = Phase::Over;
    }

    /// Whether there is nothing left to do but to close the connection.
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Closing { peer_closed } => peer_closed && self.out.is_empty(),
            Phase::Over => true,
        }
    }

    /// Whether the close frame is out: nothing more will be written.
    pub fn is_said(&self) -> bool {
        self.phase != Phase::Open && self.out.is_empty()
    }

    /// The code of the close frame that was sent, if one was.
    pub fn closed_with(&self) -> Option<CloseCode> {
        self.closed_with
    }

    /// A topic that no subscription of the session reads any more, once for each.
    pub fn left(&mut self) -> Option<Arc<str>> {
        self.left.pop_front()
    }

    /// Its state, for the admin page.
    pub fn state(&self) -> serde_json::Value {
        let phase = match self.phase {
            Phase::Open => "open",
            Phase::Closing { .. } => "closing",
            Phase::Over => "over",
        };
        json!({
            "session": &*self.id,
            "phase": phase,
            "standing": self.standing.as_str(),
            "subscriptions": self.feeds.iter().map(Feed::state).collect::<Vec<_>>(),
            "outgoing_bytes": self.out.len(),
            "commands_waiting": self.queue.waiting(),
            "commands_running": self.queue.running(),
        })
    }

    fn take(&mut self, message: Message, now: Moment) {
        match message {
            Message::Close(close) => {
                // The peer's code is echoed, or 1000 where it gave none (RFC 6455, section 5.5.1).
                self.say_close(close.code.unwrap_or(CloseCode::NORMAL), "", now);
                self.phase = match self.phase {
                    Phase::Over => Phase::Over,
                    Phase::Open | Phase::Closing { .. } => Phase::Closing { peer_closed: true },
                };
            }
            _ if self.phase != Phase::Open => {}
            Message::Ping(payload) => self.out.extend_from_slice(&frame::pong(&payload)),
            Message::Pong(_) => {}
            Message::Binary(_) => self.say_close(CloseCode::UNSUPPORTED, "frames are text", now),
            Message::Text(text) => {
                let text = std::str::from_utf8(&text).expect("the decoder lets only valid UTF-8 through");
                for command in command::read(text) {
                    match command {
                        Ok(command) => self.queue.push(command),
                        Err(refused) => self.say(&Answer::refused(&refused)),
                    }
                }
            }
        }
    }

    /// Who does not say who it is may not say much: one message of the largest size, in whatever pieces.
    fn count_early(&mut self, count: usize, now: Moment) {
        if self.standing != Standing::Unidentified || self.phase != Phase::Open {
            return;
        }
        self.early += count;
        if self.early > self.settings.max_frame + HEADER_MAX {
            self.say_close(CLOSE_CREDENTIALS, "too much came before `connect`", now);
        }
    }

    fn breached(&mut self, breach: Breach, now: Moment) {
        self.say_close(breach.code(), breach.reason(), now);
    }

    /// Does at once what needs no exchange; gives the task where one is needed.
    fn begin(&mut self, number: u64, command: Command) -> Option<Task> {
        let Command { id, deed } = command;
        let allowed =
            self.standing == Standing::Identified || matches!(deed, Deed::Connect { .. } | Deed::Ping | Deed::Pong);
        if !allowed {
            self.say(&Answer::error(id, Code::NotConnected, "the first frame is `connect`, with a `key` or a `token`"));
            return None;
        }
        match deed {
            Deed::Ping => self.say(&Answer::Pong { id }),
            Deed::Pong => {}
            Deed::Connect { credential } => return self.begin_connect(number, id, credential),
            Deed::Subscribe { channel } => return self.begin_subscribe(number, id, &channel),
            Deed::Unsubscribe { ch } => self.unsubscribe(id, ch),
            Deed::Publish { channel, publication } => return self.begin_publish(number, id, &channel, publication),
        }
        None
    }

    fn begin_connect(&mut self, number: u64, id: Option<i64>, credential: Option<Credential>) -> Option<Task> {
        if self.standing == Standing::Unidentified {
            self.standing = Standing::Connecting;
            self.pulse.connecting();
            // One without a credential too: that it was refused belongs in the log.
            return Some(Task::Connect { number, credential });
        }
        match credential {
            None => self.say_connected(id),
            Some(_) => {
                let told = "this session needs no credentials any more; others in their place are not served yet";
                self.say(&Answer::error(id, Code::Unsupported, told));
            }
        }
        None
    }

    fn begin_subscribe(&mut self, number: u64, id: Option<i64>, word: &str) -> Option<Task> {
        let channel = self.channel(id, word)?;
        if !channel.may_subscribe {
            self.say(&Answer::fault(id, &only_one_way(&channel, "publish to")));
            return None;
        }
        if self.feeds.iter().any(|feed| feed.channel.address == channel.address) {
            self.say(&Answer::error(id, Code::AlreadySubscribed, "there is a subscription to this channel already"));
            return None;
        }
        if self.feeds.len() >= self.settings.max_subscriptions {
            let told = format!(
                "a session has at most {} subscriptions; unsubscribe from one",
                self.settings.max_subscriptions
            );
            self.say(&Answer::error(id, Code::TooManySubscriptions, &told));
            return None;
        }
        Some(Task::Subscribe { number, channel })
    }

    fn begin_publish(&mut self, number: u64, id: Option<i64>, word: &str, publication: Publication) -> Option<Task> {
        let channel = self.channel(id, word)?;
        if !channel.may_publish {
            self.say(&Answer::fault(id, &only_one_way(&channel, "subscribe to")));
            return None;
        }
        Some(Task::Publish { number, channel, publication })
    }

    fn channel(&mut self, id: Option<i64>, word: &str) -> Option<Arc<Channel>> {
        let channel = self.contract.channel(word).cloned();
        if channel.is_none() {
            self.say(&Answer::fault(id, &unknown_channel(word)));
        }
        channel
    }

    fn unsubscribe(&mut self, id: Option<i64>, ch: u32) {
        let Some(at) = self.feeds.iter().position(|feed| feed.ch == ch) else {
            self.say(&Answer::error(id, Code::UnknownSubscription, &format!("there is no subscription {ch}")));
            return;
        };
        let feed = self.feeds.remove(at);
        let topic = feed.log.topic();
        if !self.feeds.iter().any(|other| other.log.topic() == topic) {
            self.left.push_back(topic.clone());
        }
        self.say(&Answer::Unsubscribed { id, ch });
    }

    /// The channel's place in its document, so that all sessions call it the same; another number only where a session still
    /// has a subscription from before a reload that moved the channels.
    fn free_number(&self, channel: &Channel) -> u32 {
        let place = self.contract.channels.iter().position(|other| other.address == channel.address);
        let first = place.map_or(1, |place| place + 1);
        let taken = |number: &u32| self.feeds.iter().any(|feed| feed.ch == *number);
        let above = self.contract.channels.len() + 1;
        let mut numbers = std::iter::once(first).chain(above..).filter_map(|number| u32::try_from(number).ok());
        numbers.find(|number| !taken(number)).expect("a session has fewer subscriptions than there are numbers")
    }

    fn hears(&self) -> Hears {
        if self.wants_input() { Hears::Yes } else { Hears::No }
    }

    fn finish(&mut self, number: u64) -> Option<Option<i64>> {
        let id = self.queue.finish(number)?;
        (self.phase == Phase::Open).then_some(id)
    }

    fn say_connected(&mut self, id: Option<i64>) {
        let session = self.id.clone();
        let limits = Limits { max_frame: self.settings.max_frame, max_subs: self.settings.max_subscriptions };
        let (ping_interval, pong_timeout) = (self.settings.ping_interval, self.settings.pong_timeout);
        self.say(&Answer::Connected { id, session: &session, ping_interval, pong_timeout, limits });
    }

    fn say(&mut self, answer: &Answer<'_>) {
        if self.phase == Phase::Open {
            answer.put(&mut self.out);
        }
    }

    fn say_close(&mut self, code: CloseCode, reason: &str, now: Moment) {
        if self.phase != Phase::Open {
            return;
        }
        self.out.extend_from_slice(&frame::close(code, reason));
        self.closed_with = Some(code);
        self.phase = Phase::Closing { peer_closed: false };
        self.pulse.closing(now);
        self.queue.clear();
        self.feeds.clear();
    }

    /// Up to five seconds, spread by the session's id so that a restart does not bring everyone back at once.
    fn spread(&self) -> u64 {
        self.id.bytes().fold(7, |sum: u64, byte| (sum * 31 + u64::from(byte)) % 5_000)
    }
}

/// The client did not say in time who it is.
pub const CLOSE_CONNECT: CloseCode = CloseCode(4408);
/// The client's credentials are missing or have expired.
pub const CLOSE_CREDENTIALS: CloseCode = CloseCode(4401);
/// The client gave no sign of life; it may reconnect.
pub const CLOSE_SILENT: CloseCode = CloseCode(4509);

/// The fault of asking for a channel that is not in the contract.
pub(crate) fn unknown_channel(word: &str) -> Fault {
    // The word is the caller's own; a long one is not repeated.
    let told = match word.len() {
        0..=100 => format!("there is no channel `{word}`"),
        _ => "there is no such channel".to_owned(),
    };
    Fault::new(FaultKind::UnknownChannel, told)
}

/// The fault of going against a channel's direction.
pub(crate) fn only_one_way(channel: &Channel, may: &str) -> Fault {
    Fault::new(FaultKind::Forbidden, format!("clients may only {may} channel `{}`", channel.address))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
