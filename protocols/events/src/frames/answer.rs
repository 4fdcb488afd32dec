//! Writes what a client is told.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use portolan_exchange::Fault;
use portolan_exchange::events::{Gap, Placed};
use portolan_websocket::frame::{Opcode, put_header};
use serde::{Serialize, Serializer};

use super::Refused;
use super::event::{millis, position};

/// Why a command was refused by the session itself; the codes of faults come beside these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not JSON, no known `type`, a key missing, unknown or of the wrong kind.
    BadFrame,
    /// Understood, but not served yet.
    Unsupported,
    /// The session has a subscription to this channel already.
    AlreadySubscribed,
    /// The session has as many subscriptions as it may.
    TooManySubscriptions,
    /// There is no subscription of this number.
    UnknownSubscription,
    /// The first frame must be `connect`.
    NotConnected,
}

impl Code {
    /// Its word in `error` frames.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::Unsupported => "unsupported",
            Self::AlreadySubscribed => "already_subscribed",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::UnknownSubscription => "unknown_subscription",
            Self::NotConnected => "not_connected",
        }
    }
}

/// A frame to a client, without `message`, which is put together from shared bytes.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer<'a> {
    /// The session stands.
    Connected {
        /// The id of the `connect` that it answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The session's id: the request id under which all its commands are logged.
        session: &'a str,
        /// Silence after which the gateway pings.
        #[serde(rename = "ping_interval_ms", serialize_with = "as_millis")]
        ping_interval: Duration,
        /// How long it then waits for any frame.
        #[serde(rename = "pong_timeout_ms", serialize_with = "as_millis")]
        pong_timeout: Duration,
        /// Bounds of the session.
        limits: Limits,
    },
    /// Events of a channel will come.
    Subscribed {
        /// The command's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The number of the subscription in all further frames.
        ch: u32,
        /// The channel's address.
        channel: &'a str,
        /// The quality granted.
        qos: &'static str,
    },
    /// No further event of it will come.
    Unsubscribed {
        /// The command's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The number of the subscription.
        ch: u32,
    },
    /// The broker has the event.
    Published {
        /// The command's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The partition.
        partition: i32,
        /// The offset in it.
        offset: i64,
        /// When, in milliseconds since 1970.
        ts: i64,
    },
    /// Events are missing here.
    Gap {
        /// The number of the subscription.
        ch: u32,
        /// Why: `slow`, or `retention` when the broker no longer had what came next.
        reason: &'static str,
        /// The last event before the hole, where there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The first event after it.
        to: String,
        /// How many events are missing, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// A command was refused.
    Error {
        /// The command's id, where it had one that could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// Why, for machines.
        code: &'static str,
        /// Why, in a sentence.
        message: &'a str,
        /// Whether the same command may succeed later.
        temporary: bool,
        /// When it is worth trying again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// The places that do not fit.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        errors: Vec<Place<'a>>,
    },
    /// The gateway will close; come back.
    Goaway {
        /// Why.
        reason: &'a str,
        /// When to come back; spread so that not all come at once.
        reconnect_after_ms: u64,
    },
    /// Answer with `pong`.
    Ping,
    /// Answers `ping`.
    Pong {
        /// The command's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
    },
}

/// Bounds of a session, as `connected` tells them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Bytes of a message from the client.
    pub max_frame: usize,
    /// Subscriptions at a time.
    pub max_subs: usize,
}

/// One place of a publication that does not fit.
#[derive(Debug, Serialize)]
pub struct Place<'a> {
    location: &'a str,
    message: &'a str,
}

impl<'a> Answer<'a> {
    /// A command that was not understood or is not served.
    pub fn refused(refused: &'a Refused) -> Self {
        Self::error(refused.id, refused.code, &refused.message)
    }

    /// A command that the session itself refused.
    pub fn error(id: Option<i64>, code: Code, message: &'a str) -> Self {
        let code = code.as_str();
        Self::Error { id, code, message, temporary: false, retry_after_ms: None, errors: Vec::new() }
    }

    /// A command whose exchange ended with a fault.
    pub fn fault(id: Option<i64>, fault: &'a Fault) -> Self {
        let errors = fault.violations().iter();
        Self::Error {
            id,
            code: fault.kind().code(),
            message: fault.detail(),
            temporary: fault.kind().temporary(),
            retry_after_ms: fault.wait().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            errors: errors.map(|place| Place { location: &place.location, message: &place.message }).collect(),
        }
    }

    /// An event that the broker has.
    pub fn published(id: Option<i64>, placed: Placed) -> Self {
        Self::Published { id, partition: placed.partition, offset: placed.offset, ts: millis(placed.timestamp) }
    }

    /// A hole between two events, each given by partition and offset.
    pub fn gap(ch: u32, from: Option<(i32, i64)>, to: (i32, i64), gap: Gap) -> Self {
        let from = from.map(|(partition, offset)| position(partition, offset));
        let reason = if gap.count.is_some() { "slow" } else { "retention" };
        Self::Gap { ch, reason, from, to: position(to.0, to.1), count: gap.count }
    }

    /// Appends the frame, WebSocket header included.
    pub fn put(&self, out: &mut BytesMut) {
        let text = serde_json::to_vec(self).expect("a frame is made of texts and numbers");
        put_header(out, Opcode::Text, text.len());
        out.put_slice(&text);
    }
}

fn as_millis<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use portolan_exchange::FaultKind;

    use super::*;

    fn said(answer: &Answer<'_>) -> String {
        let mut out = BytesMut::new();
        answer.put(&mut out);
        assert_eq!(out[0], 0x81);
        let header = if out[1] < 126 { 2 } else { 4 };
        String::from_utf8(out[header..].to_vec()).unwrap()
    }

    #[test]
    fn each_frame_is_written_as_the_documentation_says() {
        let limits = Limits { max_frame: 65_536, max_subs: 128 };
        let connected = Answer::Connected {
            id: None,
            session: "ab",
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            limits,
        };
        let placed = Placed { partition: 2, offset: 17, timestamp: UNIX_EPOCH + Duration::from_millis(5) };
        let table = [
            (
                connected,
                r#"{"type":"connected","session":"ab","ping_interval_ms":25000,"pong_timeout_ms":8000,"limits":{"max_frame":65536,"max_subs":128}}"#,
            ),
            (
                Answer::Subscribed { id: Some(1), ch: 1, channel: "orders", qos: "none" },
                r#"{"type":"subscribed","id":1,"ch":1,"channel":"orders","qos":"none"}"#,
            ),
            (Answer::Unsubscribed { id: Some(2), ch: 1 }, r#"{"type":"unsubscribed","id":2,"ch":1}"#),
            (Answer::published(Some(3), placed), r#"{"type":"published","id":3,"partition":2,"offset":17,"ts":5}"#),
            (
                Answer::gap(1, Some((0, 4)), (2, 9), Gap { count: Some(31) }),
                r#"{"type":"gap","ch":1,"reason":"slow","from":"0:4","to":"2:9","count":31}"#,
            ),
            (
                Answer::error(Some(4), Code::UnknownSubscription, "no subscription 9"),
                r#"{"type":"error","id":4,"code":"unknown_subscription","message":"no subscription 9","temporary":false}"#,
            ),
            (
                Answer::Goaway { reason: "restart", reconnect_after_ms: 1200 },
                r#"{"type":"goaway","reason":"restart","reconnect_after_ms":1200}"#,
            ),
            (Answer::Ping, r#"{"type":"ping"}"#),
            (Answer::Pong { id: Some(5) }, r#"{"type":"pong","id":5}"#),
        ];
        for (answer, expected) in table {
            assert_eq!(said(&answer), expected);
        }
    }

    #[test]
    fn a_fault_is_told_with_its_code_and_when_to_come_again_and_never_its_cause() {
        let fault = Fault::new(FaultKind::RateLimited, "10 events a second reached; retry in 2s")
            .because("bucket consumer/acme")
            .retry_after(Duration::from_secs(2));
        let expected = r#"{"type":"error","id":6,"code":"rate_limited","message":"10 events a second reached; retry in 2s","temporary":true,"retry_after_ms":2000}"#;
        assert_eq!(said(&Answer::fault(Some(6), &fault)), expected);
    }
}
