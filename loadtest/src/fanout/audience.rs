//! Those who listen: many sockets in one thread, each of which must get every message once and whole.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{EVENT, PATH, Round, SOCKETS, TOPIC};
use crate::clock;
use crate::cpu::Meter;
use crate::failure::{Failure, Result, While};
use crate::wire;

/// A message that has not reached everybody by then is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages before counting begins: pools are filled, caches warm.
const WARM_UP: u64 = 5;
/// Holds any frame of the session, and several messages.
const BUFFER: usize = 4096;
/// Frames from here on are messages; what a session says besides (`subscribed`, `ping`) is shorter.
const MESSAGE: usize = EVENT;

/// Whom to listen to, and for how long.
#[derive(Args)]
pub struct Audience {
    /// The gateway's address.
    #[arg(long, required_unless_present = "bare")]
    gateway: Option<SocketAddr>,
    /// The bare loop's address instead.
    #[arg(long, conflicts_with = "gateway")]
    bare: Option<SocketAddr>,
    /// The process whose CPU time is read.
    #[arg(long)]
    server: u32,
    /// Seconds that count.
    #[arg(long)]
    seconds: f64,
    /// Nanoseconds from one message to the next; the server's own pace, where it is slower.
    #[arg(long, default_value_t = 0)]
    every_ns: u64,
    /// How many sockets.
    #[arg(long, default_value_t = SOCKETS)]
    sockets: usize,
}

/// What makes the server send a message.
enum Source {
    Gateway { control: std::net::TcpStream, publication: Vec<u8> },
    Bare { control: std::net::TcpStream },
}

/// One socket, and where in the stream of frames it is.
struct Listener {
    stream: TcpStream,
    /// The head of a frame that came in part.
    head: Vec<u8>,
    /// Bytes of content of the frame under way that are still to come.
    left: usize,
}

impl Audience {
    /// Runs the round and reports it as a line of JSON.
    pub fn run(self) -> Result<()> {
        let round = self.round()?;
        crate::report(&serde_json::to_string(&round).expect("a round is plain figures"));
        Ok(())
    }

    fn round(&self) -> Result<Round> {
        let (mut source, sockets) = self.assemble()?;
        let mut hall = Hall::seat(sockets)?;
        for _ in 0..WARM_UP {
            source.send()?;
            hall.hear()?;
        }
        let meter = Meter::of(self.server)?;
        let before = meter.read()?;
        let (start, heard) = (clock::now(), hall.frames);
        let mut messages = 0;
        while start.elapsed().as_secs_f64() < self.seconds {
            source.send()?;
            hall.hear()?;
            messages += 1;
            let next = start + Duration::from_nanos(self.every_ns * messages);
            clock::pause(next.saturating_duration_since(clock::now()));
        }
        let (elapsed, after) = (start.elapsed(), meter.read()?);
        let nanos =
            |time: Duration| u64::try_from(time.as_nanos()).expect("a round is shorter than five hundred years");
        Ok(Round {
            messages,
            deliveries: hall.frames - heard,
            frame: hall.frame,
            server_ns: nanos(after.since(&before)),
            elapsed_ns: nanos(elapsed),
        })
    }

    /// Opens all sockets, one after another, and what makes them hear something.
    fn assemble(&self) -> Result<(Source, Vec<std::net::TcpStream>)> {
        match (self.gateway, self.bare) {
            (Some(gateway), _) => {
                let sockets = (0..self.sockets).map(|_| subscribe(gateway)).collect::<Result<_>>()?;
                Ok((Source::Gateway { control: connect(gateway)?, publication: publication(gateway) }, sockets))
            }
            (None, Some(bare)) => {
                let mut control = connect(bare)?;
                let count = u32::try_from(self.sockets).expect("a few thousand");
                control.write_all(&count.to_be_bytes()).while_doing("cannot speak to the bare loop")?;
                let sockets = (0..self.sockets).map(|_| connect(bare)).collect::<Result<_>>()?;
                Ok((Source::Bare { control }, sockets))
            }
            (None, None) => Err(Failure::new("nobody to listen to")),
        }
    }
}

impl Source {
    fn send(&mut self) -> Result<()> {
        match self {
            Self::Bare { control } => control.write_all(&[1]).while_doing("cannot wake the bare loop"),
            Self::Gateway { control, publication } => {
                control.write_all(publication).while_doing("cannot publish")?;
                let head = head(control)?;
                let told = wire::head(&head).while_doing("cannot publish")?;
                let mut body = vec![0; usize::try_from(told.content_length).expect("a short answer")];
                control.read_exact(&mut body).while_doing("cannot publish")?;
                match told.status {
                    201 => Ok(()),
                    status => Err(Failure::new(format!("publishing was answered with {status}"))),
                }
            }
        }
    }
}

/// All sockets in one loop.
struct Hall {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    buffer: Vec<u8>,
    /// Messages received by all sockets together.
    frames: u64,
    /// Messages that were sent.
    sent: u64,
    /// Bytes of the first message's frame; all must be as long.
    frame: usize,
}

impl Hall {
    fn seat(sockets: Vec<std::net::TcpStream>) -> Result<Self> {
        let poll = Poll::new().while_doing("cannot wait for sockets")?;
        let mut listeners = Vec::with_capacity(sockets.len());
        for (at, socket) in sockets.into_iter().enumerate() {
            socket.set_nonblocking(true).while_doing("cannot wait for a socket")?;
            let mut stream = TcpStream::from_std(socket);
            poll.registry()
                .register(&mut stream, Token(at), Interest::READABLE)
                .while_doing("cannot wait for a socket")?;
            listeners.push(Listener { stream, head: Vec::with_capacity(16), left: 0 });
        }
        let events = Events::with_capacity(1024);
        Ok(Self { poll, events, listeners, buffer: vec![0; BUFFER], frames: 0, sent: 0, frame: 0 })
    }

    /// Waits until everybody has the message that was sent last.
    fn hear(&mut self) -> Result<()> {
        self.sent += 1;
        let all = self.sent * self.listeners.len() as u64;
        let end = clock::now() + PATIENCE;
        while self.frames < all {
            let left = end.saturating_duration_since(clock::now());
            if left.is_zero() {
                let lost = all - self.frames;
                return Err(Failure::new(format!(
                    "a message did not reach {lost} of {} sockets",
                    self.listeners.len()
                )));
            }
            match self.poll.poll(&mut self.events, Some(left)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome.while_doing("cannot wait for sockets")?,
            }
            for event in &self.events {
                let listener = &mut self.listeners[event.token().0];
                let heard = listener.hear(&mut self.buffer, &mut self.frame)?;
                self.frames += heard;
            }
        }
        if self.frames > all {
            return Err(Failure::new(format!("{} messages came that nobody had sent", self.frames - all)));
        }
        Ok(())
    }
}

impl Listener {
    /// Reads what is there and counts the messages that became whole.
    fn hear(&mut self, buffer: &mut [u8], frame: &mut usize) -> Result<u64> {
        let mut messages = 0;
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(Failure::new("the server closed a socket")),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome.while_doing("cannot read a socket")?,
            };
            messages += self.take(&buffer[..length], frame)?;
            // A short read has drained the socket (epoll(7), question 9).
            if length < buffer.len() {
                return Ok(messages);
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], frame: &mut usize) -> Result<u64> {
        let mut messages = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = self.left.min(bytes.len());
                self.left -= here;
                bytes = &bytes[here..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            let Some(content) = content_of(&self.head)? else { continue };
            self.left = content;
            let whole = self.head.len() + content;
            self.head.clear();
            if content >= MESSAGE {
                if *frame == 0 {
                    *frame = whole;
                }
                // Offsets and times in the gateway's frames grow by a digit now and then.
                if frame.abs_diff(whole) > 8 {
                    return Err(Failure::new(format!("a message of {whole} bytes came among those of {frame}")));
                }
                // Counted at its head; a server that leaves one unfinished is found out by the next.
                messages += 1;
            }
        }
        Ok(messages)
    }
}

/// The length that a frame's head tells, once it is whole. Servers do not mask (RFC 6455, section 5.1).
fn content_of(head: &[u8]) -> Result<Option<usize>> {
    let Some(short) = head.get(1) else { return Ok(None) };
    match (short & 0x7f, head) {
        (126, [_, _, high, low]) => Ok(Some(usize::from(u16::from_be_bytes([*high, *low])))),
        (126, _) => Ok(None),
        (127, _) => Err(Failure::new("a frame of more than 64 KiB came")),
        (short, _) => Ok(Some(usize::from(short))),
    }
}

fn connect(address: SocketAddr) -> Result<std::net::TcpStream> {
    let deed = format!("cannot connect to {address}");
    let stream = std::net::TcpStream::connect(address).while_doing(&deed)?;
    stream.set_nodelay(true).while_doing(&deed)?;
    stream.set_read_timeout(Some(PATIENCE)).while_doing(&deed)?;
    Ok(stream)
}

/// Opens a session and subscribes; returns when it is subscribed.
pub(super) fn subscribe(gateway: SocketAddr) -> Result<std::net::TcpStream> {
    let mut stream = connect(gateway)?;
    let upgrade = format!(
        "GET {PATH} HTTP/1.1\r\nhost: {gateway}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: portolan.events.v1\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).while_doing("cannot open a session")?;
    let head = head(&mut stream)?;
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(Failure::new(format!("no session was opened: {}", String::from_utf8_lossy(&head))));
    }
    let command = format!(r#"{{"type":"subscribe","id":1,"channel":"{TOPIC}"}}"#);
    stream.write_all(&masked(command.as_bytes())).while_doing("cannot subscribe")?;
    loop {
        let said = text(&mut stream)?;
        if said.contains(r#""type":"subscribed""#) {
            return Ok(stream);
        }
        if said.contains(r#""type":"error""#) {
            return Err(Failure::new(format!("a session could not subscribe: {said}")));
        }
    }
}

/// A text frame of a client's: masked, here with zeros (RFC 6455, section 5.3).
fn masked(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 126).expect("a command is short");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], content].concat()
}

/// The content of the next frame.
fn text(stream: &mut std::net::TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let length = loop {
        head.push(byte(stream)?);
        if let Some(length) = content_of(&head)? {
            break length;
        }
    };
    let mut content = vec![0; length];
    stream.read_exact(&mut content).while_doing("a session ended")?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// A head up to its empty line and not a byte more: what follows belongs to somebody else.
fn head(stream: &mut std::net::TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(stream)?);
    }
    Ok(head)
}

fn byte(stream: &mut std::net::TcpStream) -> Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).while_doing("the gateway said no more")?;
    Ok(byte[0])
}

/// The request that publishes one event of 200 bytes.
fn publication(gateway: SocketAddr) -> Vec<u8> {
    let content = format!("\"{}\"", "x".repeat(EVENT - 2));
    format!(
        "POST {PATH}/{TOPIC} HTTP/1.1\r\nhost: {gateway}\r\ncontent-type: application/json\r\n\
         content-length: {EVENT}\r\n\r\n{content}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> (Listener, std::net::TcpStream) {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let other = server.accept().unwrap().0;
        (Listener { stream: TcpStream::from_std(client), head: Vec::new(), left: 0 }, other)
    }

    fn frame(content: usize) -> Vec<u8> {
        let mut frame = vec![0x81, 126];
        frame.extend(u16::try_from(content).unwrap().to_be_bytes());
        frame.resize(4 + content, b'x');
        frame
    }

    #[test]
    fn messages_are_counted_wherever_their_frames_are_cut_and_short_frames_are_not() {
        let ping = [0x81, 3, b'a', b'b', b'c'];
        let stream = [frame(200), ping.to_vec(), frame(201), frame(199)].concat();
        for cut in 0..stream.len() {
            let ((mut listener, _other), mut first) = (listener(), 0);
            let (before, behind) = stream.split_at(cut);
            let counted = listener.take(before, &mut first).unwrap() + listener.take(behind, &mut first).unwrap();
            assert_eq!((counted, first, listener.left, listener.head.len()), (2, 204, 0, 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_message_of_quite_another_length_is_an_error() {
        let ((mut listener, _other), mut first) = (listener(), 0);
        assert!(listener.take(&[frame(200), frame(300)].concat(), &mut first).is_err());
    }

    #[test]
    fn an_event_has_the_length_it_is_said_to_have() {
        let publication = publication("127.0.0.1:1".parse().unwrap());
        let body = publication.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(publication.len() - body, EVENT);
    }
}
