//! The times of a session: who must say something by when.

use std::time::Duration;

use portolan_exchange::Moment;

use super::{Settings, Standing};

#[derive(Debug)]
pub(super) struct Pulse {
    ping_interval: Duration,
    pong_timeout: Duration,
    stall_timeout: Duration,
    close_timeout: Duration,
    /// By when an unidentified client must have connected.
    connect_by: Option<Moment>,
    /// When the client's credentials end.
    expires: Option<Moment>,
    heard: Moment,
    /// A ping that nothing was heard after.
    pinged: Option<Moment>,
    /// Since when the client takes none of the bytes that wait for it.
    blocked: Option<Moment>,
    /// By when the peer must have answered our close frame.
    close_by: Option<Moment>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    Silent,
    Unidentified,
    Expired,
    Stalled,
    CloseUnanswered,
}

impl Pulse {
    pub(super) fn new(settings: &Settings, standing: Standing, now: Moment) -> Self {
        let connect_by = match standing {
            Standing::Identified | Standing::Connecting => None,
            Standing::Unidentified => Some(now.after(settings.connect_timeout)),
        };
        Self {
            ping_interval: settings.ping_interval,
            pong_timeout: settings.pong_timeout,
            stall_timeout: settings.stall_timeout,
            close_timeout: settings.close_timeout,
            connect_by,
            expires: None,
            heard: now,
            pinged: None,
            blocked: None,
            close_by: None,
        }
    }

    /// Any frame counts as a sign of life.
    pub(super) fn heard(&mut self, now: Moment) {
        self.heard = now;
        self.pinged = None;
    }

    pub(super) fn pinged(&mut self, now: Moment) {
        self.pinged = Some(now);
    }

    /// The client took bytes; a ping that waited among them can only now be answered.
    pub(super) fn progressed(&mut self, now: Moment) {
        self.blocked = None;
        self.pinged = self.pinged.map(|_| now);
    }

    pub(super) fn blocked(&mut self, now: Moment) {
        self.blocked.get_or_insert(now);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Its `connect` came: how long it is looked at is bounded by the deadline of its exchange.
    pub(super) fn connecting(&mut self) {
        self.connect_by = None;
    }

    pub(super) fn expires(&mut self, at: Option<Moment>) {
        self.expires = at;
    }

    pub(super) fn closing(&mut self, now: Moment) {
        self.close_by = Some(now.after(self.close_timeout));
        self.connect_by = None;
    }

    /// What is due now.
    pub(super) fn due(&self, hears: Hears, now: Moment) -> Option<Due> {
        let (moment, due) = self.first(hears)?;
        (now >= moment).then_some(due)
    }

    /// When something will be due.
    pub(super) fn next(&self, hears: Hears) -> Option<Moment> {
        self.first(hears).map(|(moment, _)| moment)
    }

    fn first(&self, hears: Hears) -> Option<(Moment, Due)> {
        if let Some(close_by) = self.close_by {
            return Some((close_by, Due::CloseUnanswered));
        }
        let life = match (self.blocked, hears, self.pinged) {
            // A client that takes nothing cannot see a ping behind what waits, so it is judged by whether it takes.
            (Some(blocked), _, _) => Some((blocked.after(self.stall_timeout), Due::Stalled)),
            (None, Hears::No, _) => None,
            (None, Hears::Yes, Some(pinged)) => Some((pinged.after(self.pong_timeout), Due::Silent)),
            (None, Hears::Yes, None) => Some((self.heard.after(self.ping_interval), Due::Ping)),
        };
        let connect = self.connect_by.map(|connect_by| (connect_by, Due::Unidentified));
        let expiry = self.expires.map(|expires| (expires, Due::Expired));
        [life, connect, expiry].into_iter().flatten().min_by_key(|(moment, _)| *moment)
    }
}

/// Whether the session listens: while it does not, silence says nothing about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hears {
    Yes,
    No,
}
