//! A WebSocket client that is not ours (`tungstenite`), and a session of the native sub-protocol as a client would write it.

use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{Error, WebSocket};

use super::client::Answer;
use super::wait::PATIENCE;

/// The native sub-protocol.
pub const NATIVE: &str = "portolan.events.v1";

/// A session of the native sub-protocol.
pub struct Session {
    socket: WebSocket<TcpStream>,
    next: u64,
    spare: Vec<Value>,
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

impl Session {
    /// Opens a session with these header fields.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        match Self::try_open(address, path, Some(NATIVE), headers) {
            Ok(session) => session,
            Err(answer) => panic!("the upgrade was refused: {} {}", answer.status, answer.text()),
        }
    }

    /// Opens a session, or gives the answer that refused it.
    pub fn try_open(
        address: SocketAddr,
        path: &str,
        protocol: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out can be set");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a test's address is sound");
        let named = headers.iter().copied().chain(protocol.map(|protocol| ("sec-websocket-protocol", protocol)));
        for (name, value) in named {
            let name: HeaderName = name.parse().expect("a test's header is sound");
            request.headers_mut().append(name, value.parse().expect("a test's header is sound"));
        }
        match tokio_tungstenite::tungstenite::client::client(request, stream) {
            Ok((socket, answer)) => {
                let agreed = answer
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|value| value.to_str().expect("text").to_owned());
                assert_eq!(agreed.as_deref(), protocol, "the sub-protocol agreed on");
                Ok(Self { socket, next: 0, spare: Vec::new() })
            }
            Err(HandshakeError::Failure(Error::Http(response))) => {
                let (head, body) = response.into_parts();
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let headers =
                    head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
                Err(Answer { status: head.status.as_u16(), headers, body: body.unwrap_or_default() })
            }
            Err(error) => panic!("no upgrade: {error}"),
        }
    }

    /// Sends a frame, with the next id; gives the id.
    pub fn send(&mut self, mut frame: Value) -> u64 {
        self.next += 1;
        frame["id"] = json!(self.next);
        self.send_text(&frame.to_string());
        self.next
    }

    /// Sends a text message as it is.
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the gateway takes the frame");
    }

    /// Subscribes to a channel.
    pub fn subscribe(&mut self, channel: &str) -> Value {
        let id = self.send(json!({ "type": "subscribe", "channel": channel }));
        self.receive("subscribed", |frame| frame["id"] == id)
    }

    /// Publishes an event and gives its confirmation.
    pub fn publish(&mut self, channel: &str, key: &str, data: &Value) -> Value {
        let id = self.send(json!({ "type": "publish", "channel": channel, "key": key, "data": data }));
        self.receive("published", |frame| frame["id"] == id)
    }

    /// Waits for a frame of this type, as described; frames that come before it are kept for later.
    pub fn receive(&mut self, kind: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.spare.iter().position(|frame| frame["type"] == kind && is_so(frame)) {
                return self.spare.remove(at);
            }
            if let Some(refused) =
                self.spare.iter().find(|frame| kind != "error" && frame["type"] == "error" && frame["id"] == self.next)
            {
                panic!("no `{kind}`, but {refused}");
            }
            self.take(kind);
        }
    }

    /// The frames that came and were not asked for yet.
    pub fn kept(&self) -> &[Value] {
        &self.spare
    }

    /// Waits for the refusal of the frame with this id.
    pub fn refused(&mut self, id: u64) -> Value {
        self.receive("error", |frame| frame["id"] == id)
    }

    /// Waits for the event as described. The events that come before it are gone.
    pub fn event(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut frame = self.receive("message", |_| true);
            let events = frame["events"].take();
            let events = events.as_array().unwrap_or_else(|| panic!("a message without events: {frame}")).clone();
            let Some(at) = events.iter().position(&is_so) else { continue };
            if at + 1 < events.len() {
                frame["events"] = events[at + 1..].into();
                self.spare.insert(0, frame);
            }
            return events[at].clone();
        }
    }

    /// The next events, as many as asked for, in order.
    pub fn events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event(|_| true)).collect()
    }

    /// The next frame, or how the socket was closed instead. Keeps nothing for later: only for sessions that ask for nothing more.
    pub fn next_or_closed(&mut self) -> Result<Value, Closed> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("a frame is JSON")),
                Ok(Message::Close(frame)) => {
                    let frame = frame.expect("the gateway says why it closes");
                    return Err(Closed { code: frame.code.into(), reason: frame.reason.to_string() });
                }
                Ok(_) => {}
                Err(error) => panic!("the socket was not closed in good order: {error}"),
            }
        }
    }

    /// Waits for the end of the socket.
    pub fn closed(&mut self) -> Closed {
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => {
                    return Closed { code: frame.code.into(), reason: frame.reason.to_string() };
                }
                Ok(Message::Close(None)) => return Closed { code: 1005, reason: String::new() },
                Ok(_) => {}
                Err(error) => panic!("the socket was not closed in good order: {error}"),
            }
        }
    }

    /// Waits for the end of the connection, in good order or not.
    pub fn gone(&mut self) {
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    panic!("waited {PATIENCE:?} in vain for the end of the connection");
                }
                Err(_) => return,
            }
        }
    }

    /// Closes in good order.
    pub fn close(mut self) {
        if self.socket.close(None).is_ok() {
            self.gone();
        }
    }

    fn take(&mut self, wanted: &str) {
        let text = self.text(wanted);
        let frame: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the frame {text:?}"));
        match frame {
            Value::Array(frames) => self.spare.extend(frames),
            frame => self.spare.push(frame),
        }
    }

    fn text(&mut self, wanted: &str) -> String {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return text.to_string(),
                Ok(Message::Close(frame)) => {
                    panic!("no `{wanted}`: the socket was closed with {frame:?}; kept: {:?}", self.spare)
                }
                Ok(_) => {}
                Err(error) => panic!("no `{wanted}`: {error}; kept: {:?}", self.spare),
            }
        }
    }
}
