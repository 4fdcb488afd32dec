//! The trivial upstream: one small answer to every request, for the least work a server can do.
//!
//! It shares its core with the load generator, so what it saves is room for the proxy under test to be the bottleneck.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::failure::{Result, While};
use crate::wire::{Progress, Reader};

/// The body of every answer: about what a small REST resource has.
pub const BODY: &str = r#"{"id":1,"customerId":1,"productId":1,"quantity":2,"status":"shipped"}"#;

/// What the first line of standard output begins with; the address follows.
pub const LISTENING: &str = "listening ";

const LISTENER: Token = Token(usize::MAX);
/// Holds the largest burst of requests that one connection is given here.
const READ_BUFFER: usize = 64 * 1024;

/// Where to listen.
#[derive(Args)]
pub struct Upstream {
    /// The address to listen on; port 0 picks a free one. The first line of output tells it.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl Upstream {
    /// Serves until the process is ended.
    pub fn run(self) -> Result<()> {
        let mut listener = TcpListener::bind(self.listen).while_doing(&format!("cannot listen on {}", self.listen))?;
        let address = listener.local_addr().while_doing("cannot tell the address listened on")?;
        let mut poll = Poll::new().while_doing("cannot wait for sockets")?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .while_doing("cannot wait for connections")?;
        crate::report(&format!("{LISTENING}{address}"));

        let mut service = Service { answer: answer(), connections: Vec::new(), buffer: vec![0; READ_BUFFER] };
        let mut events = Events::with_capacity(1024);
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome.while_doing("cannot wait for sockets")?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => service.accept(&listener, &poll)?,
                    Token(at) => service.serve(at),
                }
            }
        }
    }
}

/// The bytes of the one answer.
fn answer() -> Vec<u8> {
    let length = BODY.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{BODY}").into_bytes()
}

struct Service {
    answer: Vec<u8>,
    /// By token. A closed connection leaves its place to a later one.
    connections: Vec<Option<Peer>>,
    buffer: Vec<u8>,
}

struct Peer {
    stream: TcpStream,
    reader: Reader,
    /// What the socket would not take yet.
    unsent: Vec<u8>,
}

/// Whether a connection goes on.
enum Serving {
    On,
    Over,
}

impl Service {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A connection that its client gave up before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).while_doing("cannot accept a connection"),
            };
            stream.set_nodelay(true).while_doing("cannot set TCP_NODELAY")?;
            let at = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
            poll.registry()
                .register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)
                .while_doing("cannot wait for a connection")?;
            let peer = Some(Peer { stream, reader: Reader::default(), unsent: Vec::new() });
            match self.connections.get_mut(at) {
                Some(place) => *place = peer,
                None => self.connections.push(peer),
            }
        }
    }

    fn serve(&mut self, at: usize) {
        // An event may still name a connection that an earlier one of the same turn closed.
        let Some(place) = self.connections.get_mut(at) else { return };
        let Some(peer) = place else { return };
        if let Serving::Over = peer.serve(&mut self.buffer, &self.answer) {
            *place = None;
        }
    }
}

impl Peer {
    fn serve(&mut self, buffer: &mut [u8], answer: &[u8]) -> Serving {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            if let Serving::Over = self.send(&unsent) {
                return Serving::Over;
            }
        }
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Serving::Over,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Serving::On,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Serving::Over,
            };
            if let Serving::Over = self.take(&buffer[..length], answer) {
                return Serving::Over;
            }
            // A short read has drained the socket (epoll(7), question 9), which saves the read that would say so.
            if length < buffer.len() {
                return Serving::On;
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], answer: &[u8]) -> Serving {
        while !bytes.is_empty() {
            match self.reader.take(bytes) {
                Ok(Progress::Partial) => return Serving::On,
                Ok(Progress::Whole { used, .. }) => bytes = &bytes[used..],
                Err(_) => return Serving::Over,
            }
            if let Serving::Over = self.send(answer) {
                return Serving::Over;
            }
        }
        Serving::On
    }

    fn send(&mut self, bytes: &[u8]) -> Serving {
        // What waits goes first. It is bounded by what one peer asks for before it reads.
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Serving::On;
        }
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(0) => return Serving::Over,
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(&bytes[sent..]);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Serving::Over,
            }
        }
        Serving::On
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Connection, Head};

    #[test]
    fn the_answer_says_its_own_length() {
        let answer = answer();
        let progress = Reader::default().take(&answer);
        let head = Head { status: 200, content_length: BODY.len() as u64, connection: Connection::KeepAlive };
        assert_eq!(progress, Ok(Progress::Whole { head, used: answer.len() }));
    }

    #[test]
    fn requests_in_one_burst_get_an_answer_each() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut peer = Peer { stream: TcpStream::from_std(stream), reader: Reader::default(), unsent: Vec::new() };

        let burst = b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\nGET";
        assert!(matches!(peer.take(burst, &answer()), Serving::On));
        drop(peer);

        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, answer().repeat(3));
        assert_eq!(wire::head(b"GET / HTTP/1.1\r\n\r\n").map(|head| head.status), Ok(0));
    }
}
