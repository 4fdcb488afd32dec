//! One round of load from one thread: a closed loop over keep-alive connections.
//!
//! Each connection has one request under way; its answer sends the next. The same process reads the kernel's figures
//! of the proxy, at the very moments between which it counts requests.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use crate::child::{LOAD_CORE, PROXY_CORE};
use crate::clock;
use crate::cpu::{Meter, Reading, core_busy};
use crate::failure::{Failure, Result, While};
use crate::wire::{Connection, Progress, Reader};

/// Holds any answer of the scenarios in one read.
const READ_BUFFER: usize = 64 * 1024;
/// A proxy that fails every request must not make the generator spin: the round is void long before.
const MOST_ERRORS: u64 = 10_000;

/// What to send, and whom to watch.
#[derive(Args)]
pub struct Load {
    /// The proxy's address.
    #[arg(long)]
    target: SocketAddr,
    /// Keep-alive connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The path of every request.
    #[arg(long, default_value = "/")]
    path: String,
    /// A header line of every request, such as `x-api-key: secret`. May be given more than once.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Seconds before counting begins.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Seconds of counting.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The process id of the proxy, whose CPU time is read with that of its descendants.
    #[arg(long)]
    proxy: u32,
    /// The process id of the upstream, which belongs to the load side.
    #[arg(long)]
    upstream: u32,
}

/// What one round came to. Times are in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Answers with status 200.
    pub requests: u64,
    /// Answers with any other status.
    pub not_200: u64,
    /// Connections that failed, closed too early or said what could not be understood.
    pub errors: u64,
    /// What went wrong first, if anything did.
    pub first_error: Option<String>,
    /// How long was counted.
    pub elapsed_ns: u64,
    /// CPU time of the proxy, all threads of all its processes.
    pub proxy_ns: u64,
    /// CPU time of generator and upstream.
    pub load_ns: u64,
    /// How long the proxy's core was busy with anything at all, in steps of 10 ms.
    pub proxy_core_ns: u64,
    /// The same of the load side's core.
    pub load_core_ns: u64,
    /// Lines that the proxy wrote to its access log, warm-up included; `None` where it keeps none. Counted by the
    /// harness, not by the generator.
    pub logged: Option<u64>,
}

impl Load {
    /// Runs the round and reports it as a line of JSON.
    pub fn run(self) -> Result<()> {
        let round = self.round()?;
        crate::report(&serde_json::to_string(&round).expect("a round is plain figures"));
        Ok(())
    }

    fn round(&self) -> Result<Round> {
        let request = request(self.target, &self.path, &self.headers);
        let mut generator = Generator::connect(self.target, &request, self.connections)?;
        generator.run_until(clock::now() + seconds(self.warm_up)?)?;

        let meters = Meters {
            proxy: Meter::of(self.proxy)?,
            own: Meter::of(std::process::id())?,
            upstream: Meter::of(self.upstream)?,
        };
        let before = meters.read()?;
        // What failed before the counting (a refused key, a cold pool) is as wrong as what fails later, so only the
        // answered requests start again at zero.
        generator.requests = 0;
        let start = clock::now();
        generator.run_until(start + seconds(self.seconds)?)?;
        let elapsed = clock::now() - start;
        let after = meters.read()?;

        Ok(Round {
            requests: generator.requests,
            not_200: generator.not_200,
            errors: generator.errors,
            first_error: generator.first_error,
            elapsed_ns: nanos(elapsed),
            proxy_ns: nanos(after.proxy.since(&before.proxy)),
            load_ns: nanos(after.own.since(&before.own) + after.upstream.since(&before.upstream)),
            proxy_core_ns: nanos(after.proxy_core.saturating_sub(before.proxy_core)),
            load_core_ns: nanos(after.load_core.saturating_sub(before.load_core)),
            logged: None,
        })
    }
}

/// The bytes of a GET.
pub fn request(target: SocketAddr, path: &str, headers: &[String]) -> Vec<u8> {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {target}\r\nuser-agent: loadtest\r\naccept: */*\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

fn seconds(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).while_doing(&format!("{seconds} seconds cannot be waited for"))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a round is shorter than five hundred years")
}

struct Meters {
    proxy: Meter,
    own: Meter,
    upstream: Meter,
}

struct Readings {
    proxy: Reading,
    own: Reading,
    upstream: Reading,
    proxy_core: Duration,
    load_core: Duration,
}

impl Meters {
    fn read(&self) -> Result<Readings> {
        Ok(Readings {
            proxy: self.proxy.read()?,
            own: self.own.read()?,
            upstream: self.upstream.read()?,
            proxy_core: core_busy(PROXY_CORE)?,
            load_core: core_busy(LOAD_CORE)?,
        })
    }
}

struct Generator<'a> {
    target: SocketAddr,
    request: &'a [u8],
    poll: Poll,
    events: Events,
    lanes: Vec<Lane>,
    buffer: Vec<u8>,
    requests: u64,
    not_200: u64,
    errors: u64,
    first_error: Option<String>,
}

/// One connection and the request under way on it.
struct Lane {
    stream: TcpStream,
    reader: Reader,
    /// Bytes of the request that are still to be sent; all of it while connecting.
    unsent: usize,
}

/// What one look at a lane came to.
enum Turn {
    /// The answer is not whole yet.
    Waiting,
    /// An answer came; the next request is under way unless the proxy closes.
    Answered(u16, Connection),
}

impl<'a> Generator<'a> {
    fn connect(target: SocketAddr, request: &'a [u8], connections: usize) -> Result<Self> {
        let poll = Poll::new().while_doing("cannot wait for sockets")?;
        let lanes = (0..connections).map(|at| Lane::open(target, request, &poll, at)).collect::<Result<_>>()?;
        Ok(Self {
            target,
            request,
            poll,
            events: Events::with_capacity(1024),
            lanes,
            buffer: vec![0; READ_BUFFER],
            requests: 0,
            not_200: 0,
            errors: 0,
            first_error: None,
        })
    }

    fn run_until(&mut self, end: Instant) -> Result<()> {
        // Events are lent to the loop while it changes the rest.
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        loop {
            let left = end.saturating_duration_since(clock::now());
            if left.is_zero() || self.errors > MOST_ERRORS {
                break;
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome.while_doing("cannot wait for sockets")?,
            }
            for event in &events {
                self.turn(event.token().0)?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn turn(&mut self, at: usize) -> Result<()> {
        match self.lanes[at].turn(self.request, &mut self.buffer) {
            Ok(Turn::Waiting) => return Ok(()),
            Ok(Turn::Answered(status, connection)) => {
                match status {
                    200 => self.requests += 1,
                    _ => {
                        self.not_200 += 1;
                        self.first_error.get_or_insert_with(|| format!("an answer had status {status}"));
                    }
                }
                if connection == Connection::KeepAlive {
                    return Ok(());
                }
            }
            Err(reason) => {
                self.errors += 1;
                self.first_error.get_or_insert(reason);
            }
        }
        self.lanes[at] = Lane::open(self.target, self.request, &self.poll, at)?;
        Ok(())
    }
}

impl Lane {
    fn open(target: SocketAddr, request: &[u8], poll: &Poll, at: usize) -> Result<Self> {
        let mut stream = TcpStream::connect(target).while_doing(&format!("cannot connect to {target}"))?;
        stream.set_nodelay(true).while_doing("cannot set TCP_NODELAY")?;
        poll.registry()
            .register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)
            .while_doing("cannot wait for a connection")?;
        Ok(Self { stream, reader: Reader::default(), unsent: request.len() })
    }

    fn turn(&mut self, request: &[u8], buffer: &mut [u8]) -> std::result::Result<Turn, String> {
        if self.unsent > 0 {
            self.send(request)?;
        }
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err("a connection was closed before its answer was whole".to_owned()),
                Ok(length) => length,
                // Not connected: the first event of a connection under way.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(Turn::Waiting);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("a connection could not be read: {error}")),
            };
            match self.reader.take(&buffer[..length])? {
                Progress::Whole { used, .. } if used < length => {
                    return Err("more came than the answer to one request".to_owned());
                }
                Progress::Whole { head, .. } => {
                    if head.connection == Connection::KeepAlive {
                        self.unsent = request.len();
                        self.send(request)?;
                    }
                    return Ok(Turn::Answered(head.status, head.connection));
                }
                // A short read has drained the socket (epoll(7), question 9).
                Progress::Partial if length < buffer.len() => return Ok(Turn::Waiting),
                Progress::Partial => {}
            }
        }
    }

    fn send(&mut self, request: &[u8]) -> std::result::Result<(), String> {
        while self.unsent > 0 {
            match self.stream.write(&request[request.len() - self.unsent..]) {
                Ok(length) => self.unsent -= length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("a request could not be sent: {error}")),
            }
        }
        Ok(())
    }
}

/// Sends one request over a connection of its own and gives the body of the answer, which must be a 200.
///
/// For asking whether a proxy is ready and does what it is measured for. `limit` bounds each wait.
pub fn ask(target: SocketAddr, request: &[u8], limit: Duration) -> std::result::Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{target} does not answer: {error}");
    let mut stream = std::net::TcpStream::connect_timeout(&target, limit).map_err(failed)?;
    stream.set_read_timeout(Some(limit)).map_err(failed)?;
    stream.write_all(request).map_err(failed)?;
    let (mut reader, mut answer, mut buffer) = (Reader::default(), Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            return Err(format!("{target} closed the connection before its answer was whole"));
        }
        answer.extend_from_slice(&buffer[..length]);
        let Progress::Whole { head, .. } = reader.take(&buffer[..length])? else { continue };
        if head.status != 200 {
            return Err(format!("{target} answered: {}", String::from_utf8_lossy(&answer)));
        }
        let length = usize::try_from(head.content_length).expect("the body is in memory");
        return Ok(answer.split_off(answer.len().saturating_sub(length)));
    }
}

impl Round {
    /// Reads the line that [`Load::run`] writes.
    pub fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line.trim()).map_err(|error| Failure::new(format!("a round reported no figures: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_whole_head_with_its_headers() {
        let target = "127.0.0.1:80".parse().unwrap();
        let request = request(target, "/orders/1", &["x-api-key: k".to_owned()]);
        let expected = "GET /orders/1 HTTP/1.1\r\nhost: 127.0.0.1:80\r\nuser-agent: loadtest\r\naccept: */*\r\n\
                        x-api-key: k\r\n\r\n";
        assert_eq!(String::from_utf8(request).unwrap(), expected);
    }

    #[test]
    fn a_round_survives_its_line() {
        let round = Round { requests: 7, not_200: 1, first_error: Some("x".to_owned()), ..Round::default() };
        let line = serde_json::to_string(&round).unwrap();
        assert_eq!(Round::parse(&format!("{line}\n")), Ok(round));
        assert!(Round::parse("").is_err());
    }

    /// What a server does behind its last answer.
    #[derive(Clone, Copy)]
    enum Then {
        Close,
        Hold,
    }

    /// Gives each connection the same `answers`, one to each request.
    fn server(answers: &'static [&'static [u8]], then: Then) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut buffer = [0; 1024];
                for answer in answers {
                    if stream.read(&mut buffer).is_err() || stream.write_all(answer).is_err() {
                        break;
                    }
                }
                while let (Then::Hold, Ok(1..)) = (then, stream.read(&mut buffer)) {}
            }
        });
        address
    }

    /// Drives one connection to `target` until `requests` were answered with 200.
    fn drive(target: SocketAddr, requests: u64) -> (u64, u64, Option<String>) {
        let request = request(target, "/", &[]);
        let mut generator = Generator::connect(target, &request, 1).unwrap();
        let start = clock::now();
        while generator.requests < requests {
            assert!(start.elapsed() < Duration::from_secs(10), "only {} were answered", generator.requests);
            generator.run_until(clock::now() + Duration::from_millis(1)).unwrap();
        }
        (generator.not_200, generator.errors, generator.first_error)
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[test]
    fn a_closed_loop_sends_the_next_request_on_the_answer_to_the_last() {
        assert_eq!(drive(server(&[OK; 50], Then::Hold), 50), (0, 0, None));
    }

    #[test]
    fn other_statuses_are_counted_apart_and_the_first_is_told() {
        let target = server(&[OK, b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n", OK], Then::Hold);
        assert_eq!(drive(target, 2), (1, 0, Some("an answer had status 429".to_owned())));
    }

    #[test]
    fn a_connection_closed_without_notice_is_an_error_and_is_opened_anew() {
        let (not_200, errors, _) = drive(server(&[OK, OK], Then::Close), 5);
        assert_eq!(not_200, 0);
        assert!(errors >= 2, "{errors}");
    }

    #[test]
    fn a_connection_closed_with_notice_is_opened_anew_without_an_error() {
        let last: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"];
        assert_eq!(drive(server(last, Then::Close), 5), (0, 0, None));
    }

    #[test]
    fn asking_once_gives_the_body_or_the_whole_answer() {
        let limit = Duration::from_secs(5);
        assert_eq!(ask(server(&[OK], Then::Hold), b"GET / HTTP/1.1\r\n\r\n", limit), Ok(b"ok".to_vec()));
        let target = server(&[b"HTTP/1.1 502 Bad\r\ncontent-length: 2\r\n\r\nno"], Then::Hold);
        let told = format!("{target} answered: HTTP/1.1 502 Bad\r\ncontent-length: 2\r\n\r\nno");
        assert_eq!(ask(target, b"GET / HTTP/1.1\r\n\r\n", limit), Err(told));
    }
}
