//! The trivial upstream: one answer to every request, for the least work a server can do.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};

use crate::failure::{Result, While};
use crate::wire::{Progress, Reader};

/// Tokens from here on are the upstream's; below are the generator's.
const FIRST: usize = 1 << 32;
const LISTENER: Token = Token(FIRST);
const CONNECTIONS: usize = FIRST + 1;
/// Far beyond what any pool opens; above are tokens of others.
const BEYOND: usize = FIRST << 1;

const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// A listener and its connections.
pub struct Service {
    /// Requests that got the answer.
    #[cfg(test)]
    pub answered: u64,
    listener: TcpListener,
    answers: Answers,
    /// By token. A closed connection leaves its place to a later one.
    connections: Vec<Option<Peer>>,
}

/// What is said to a request, and which requests are right.
struct Answers {
    answer: Vec<u8>,
    body: u64,
}

struct Peer {
    stream: TcpStream,
    reader: Reader,
    /// What the socket would not take yet.
    unsent: Vec<u8>,
}

/// Whether a connection goes on.
enum Serving {
    /// It does, having answered so many requests.
    On(u64),
    Over,
}

impl Service {
    /// Listens on a free port. Each answer has `answer` bytes of content; each request must have `body`.
    pub fn listen(answer: usize, body: u64) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).while_doing("cannot listen on the loopback")?;
        let answers = Answers { answer: whole_answer(answer), body };
        Ok(Self {
            #[cfg(test)]
            answered: 0,
            listener,
            answers,
            connections: Vec::new(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().while_doing("cannot tell the address listened on")
    }

    /// Takes its place in a loop.
    pub fn register(&mut self, poll: &Poll) -> Result<()> {
        poll.registry()
            .register(&mut self.listener, LISTENER, Interest::READABLE)
            .while_doing("cannot wait for connections")
    }

    /// Whether an event is for it.
    pub fn owns(&self, token: Token) -> bool {
        (FIRST..BEYOND).contains(&token.0)
    }

    /// Serves one event.
    pub fn turn(&mut self, token: Token, poll: &Poll, buffer: &mut [u8]) -> Result<()> {
        if token == LISTENER {
            return self.accept(poll);
        }
        // An event may still name a connection that an earlier one of the same turn closed.
        let Some(place) = self.connections.get_mut(token.0 - CONNECTIONS) else { return Ok(()) };
        let Some(peer) = place else { return Ok(()) };
        match peer.serve(buffer, &self.answers) {
            Serving::On(_answered) => {
                #[cfg(test)]
                {
                    self.answered += _answered;
                }
            }
            Serving::Over => *place = None,
        }
        Ok(())
    }

    fn accept(&mut self, poll: &Poll) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A connection that its client gave up before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).while_doing("cannot accept a connection"),
            };
            stream.set_nodelay(true).while_doing("cannot set TCP_NODELAY")?;
            let at = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
            poll.registry()
                .register(&mut stream, Token(CONNECTIONS + at), Interest::READABLE | Interest::WRITABLE)
                .while_doing("cannot wait for a connection")?;
            let peer = Some(Peer { stream, reader: Reader::default(), unsent: Vec::new() });
            match self.connections.get_mut(at) {
                Some(place) => *place = peer,
                None => self.connections.push(peer),
            }
        }
    }
}

/// The content of every answer: JSON of `length` bytes, about what a REST resource has.
pub fn answer_body(length: usize) -> String {
    const SMALL: &str = r#"{"id":1,"customerId":1,"productId":1,"quantity":2,"status":"shipped"}"#;
    if length == SMALL.len() {
        return SMALL.to_owned();
    }
    format!("\"{}\"", "x".repeat(length.saturating_sub(2)))
}

fn whole_answer(length: usize) -> Vec<u8> {
    let body = answer_body(length);
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

impl Peer {
    fn serve(&mut self, buffer: &mut [u8], answers: &Answers) -> Serving {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            if let Serving::Over = self.send(&unsent) {
                return Serving::Over;
            }
        }
        let mut answered = 0;
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Serving::Over,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Serving::On(answered),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Serving::Over,
            };
            match self.take(&buffer[..length], answers) {
                Serving::On(more) => answered += more,
                Serving::Over => return Serving::Over,
            }
            // A short read has drained the socket (epoll(7), question 9), which saves the read that would say so.
            if length < buffer.len() {
                return Serving::On(answered);
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], answers: &Answers) -> Serving {
        let mut answered = 0;
        while !bytes.is_empty() {
            let head = match self.reader.take(bytes) {
                Ok(Progress::Partial) => break,
                Ok(Progress::Whole { used, head }) => {
                    bytes = &bytes[used..];
                    head
                }
                Err(_) => return Serving::Over,
            };
            let answer = if head.content_length == answers.body { &answers.answer } else { REFUSAL };
            if let Serving::Over = self.send(answer) {
                return Serving::Over;
            }
            answered += 1;
        }
        Serving::On(answered)
    }

    fn send(&mut self, bytes: &[u8]) -> Serving {
        // What waits goes first. It is bounded by what one peer asks for before it reads.
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Serving::On(0);
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
        Serving::On(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Connection, Head};

    #[test]
    fn an_answer_says_its_own_length_and_has_the_length_asked_for() {
        for length in [69, 10 * 1024] {
            let answer = whole_answer(length);
            let head = Head { status: 200, content_length: length as u64, connection: Connection::KeepAlive };
            assert_eq!(Reader::default().take(&answer), Ok(Progress::Whole { head, used: answer.len() }));
            assert!(serde_json::from_str::<serde_json::Value>(&answer_body(length)).is_ok());
        }
    }

    #[test]
    fn requests_in_one_burst_get_an_answer_each() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut peer = Peer { stream: TcpStream::from_std(stream), reader: Reader::default(), unsent: Vec::new() };

        let answers = Answers { answer: whole_answer(69), body: 0 };
        let burst = b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\nGET";
        assert!(matches!(peer.take(burst, &answers), Serving::On(3)));
        drop(peer);

        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, [&answers.answer, REFUSAL, &answers.answer].concat());
        assert_eq!(wire::head(b"GET / HTTP/1.1\r\n\r\n").map(|head| head.status), Ok(0));
    }
}
