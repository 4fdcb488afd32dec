//! Keep-alive connections that ask one thing again and again, closed loop or open.
//!
//! Saturated, each answer sends the next request. At a fixed rate a request has a time at which it is to be sent, and its
//! latency counts from then: a proxy that stalls makes all requests late that were due meanwhile, and each of them counts
//! (no coordinated omission). Where no connection is free a due request waits, and its clock runs.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use super::latency::Latencies;
use super::{Order, Pace};
use crate::clock;
use crate::failure::{Result, While};
use crate::wire::{Connection, Head, Progress, Reader};

/// A proxy that fails every request must not make the generator spin: the round is void long before.
const MOST_ERRORS: u64 = 10_000;

/// All connections of a round, and what came of them since counting began.
pub struct Generator {
    /// Right answers.
    pub requests: u64,
    /// Answers with another status or length.
    pub wrong: u64,
    /// Connections that failed.
    pub errors: u64,
    /// What went wrong first.
    pub first_error: Option<String>,
    /// At a fixed rate, from when a request was due until its answer was whole.
    pub latencies: Latencies,
    /// At a fixed rate, the time in which there was nothing to do.
    pub idle: Duration,
    target: SocketAddr,
    request: Vec<u8>,
    answer: u64,
    lanes: Vec<Lane>,
    sending: Sending,
}

/// When a free connection gets its next request.
enum Sending {
    /// At once, while there are any left.
    AtOnce { left: u64 },
    /// When one is due.
    Scheduled { schedule: Schedule, free: VecDeque<usize> },
}

/// The times at which requests are to be sent: evenly, so many a second, from a start.
#[derive(Debug)]
struct Schedule {
    start: Instant,
    rate: u64,
    sent: u64,
}

/// One connection and the request under way on it.
struct Lane {
    stream: TcpStream,
    reader: Reader,
    state: State,
    /// Bytes of the request that are still to be sent.
    unsent: usize,
    /// When the request under way was due; only at a fixed rate.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Free,
    Busy,
}

/// What one look at a lane came to.
enum Turn {
    /// Nothing that anyone waits for.
    Waiting,
    /// It is connected, and free.
    Connected,
    /// The answer is whole, and the lane is free.
    Answered(Head),
}

impl Generator {
    /// Opens the connections; they are there when events say so.
    pub fn connect(poll: &Poll, order: &Order) -> Result<Self> {
        let open = |at| Lane::open(order.target, poll, at);
        let lanes = (0..order.connections).map(open).collect::<Result<Vec<_>>>()?;
        let sending = match order.pace {
            Pace::Saturated => Sending::AtOnce { left: u64::MAX },
            Pace::Rate(rate) => Sending::Scheduled {
                schedule: Schedule { start: clock::now(), rate: u64::from(rate), sent: 0 },
                free: VecDeque::with_capacity(order.connections * 2),
            },
        };
        Ok(Self {
            requests: 0,
            wrong: 0,
            errors: 0,
            first_error: None,
            latencies: Latencies::default(),
            idle: Duration::ZERO,
            target: order.target,
            request: order.request.bytes(order.target),
            answer: order.answer,
            lanes,
            sending,
        })
    }

    /// Counts from zero. What failed before (a refused key, a cold pool) is as wrong as what fails later and stays counted.
    pub fn begin_counting(&mut self, now: Instant) {
        self.requests = 0;
        self.latencies.clear();
        self.idle = Duration::ZERO;
        if let Sending::Scheduled { schedule, .. } = &mut self.sending {
            // What was due in the warm-up and is not sent yet is forgiven: connections were still being made.
            *schedule = Schedule { start: now, rate: schedule.rate, sent: 0 };
        }
    }

    /// Counts what is still unanswered with the time that it has waited so far, so that a proxy which stalls at the end
    /// of a round does not look the better for it.
    pub fn end_counting(&mut self, now: Instant) {
        let Sending::Scheduled { schedule, .. } = &mut self.sending else { return };
        for lane in &mut self.lanes {
            let Some(due) = lane.due.take() else { continue };
            self.latencies.record(since(due, now));
        }
        while let Some(due) = schedule.take_due(now) {
            self.latencies.record(since(due, now));
        }
    }

    /// Closed loop only: sends no more than `count` requests from now on.
    pub fn send_at_most(&mut self, count: u64) {
        if let Sending::AtOnce { left } = &mut self.sending {
            *left = count;
        }
    }

    /// Requests that came to an end, rightly or not.
    pub fn answered(&self) -> u64 {
        self.requests + self.wrong + self.errors
    }

    /// Whether so much failed that going on means nothing.
    pub fn is_hopeless(&self) -> bool {
        self.errors > MOST_ERRORS
    }

    /// Sends what is due. Says whether there is a schedule to keep.
    pub fn send_due(&mut self, now: Instant) -> Result<bool> {
        let Sending::Scheduled { schedule, free } = &mut self.sending else { return Ok(false) };
        while schedule.is_due(now) {
            let Some(at) = free.pop_front() else { break };
            let lane = &mut self.lanes[at];
            // A lane that was opened anew meanwhile stands in the queue twice.
            if lane.state != State::Free {
                continue;
            }
            lane.due = schedule.take_due(now);
            // A socket that takes nothing any more is found out when its event comes.
            let _ = lane.begin(&self.request);
        }
        Ok(true)
    }

    /// Serves one event.
    pub fn turn(&mut self, token: Token, poll: &Poll, buffer: &mut [u8]) -> Result<()> {
        let Token(at) = token;
        // An event may still name a connection of the round before.
        let Some(lane) = self.lanes.get_mut(at) else { return Ok(()) };
        match lane.turn(&self.request, buffer) {
            Ok(Turn::Waiting) => return Ok(()),
            Ok(Turn::Connected) => return self.next(at),
            Ok(Turn::Answered(head)) => {
                if let Some(due) = lane.due.take() {
                    self.latencies.record(since(due, clock::now()));
                }
                self.count(head);
                if head.connection == Connection::KeepAlive {
                    return self.next(at);
                }
            }
            Err(reason) => {
                self.errors += 1;
                self.first_error.get_or_insert(reason);
            }
        }
        self.lanes[at] = Lane::open(self.target, poll, at)?;
        Ok(())
    }

    fn count(&mut self, head: Head) {
        if (head.status, head.content_length) == (200, self.answer) {
            self.requests += 1;
            return;
        }
        self.wrong += 1;
        let (status, length, expected) = (head.status, head.content_length, self.answer);
        self.first_error.get_or_insert_with(|| {
            format!("an answer had status {status} and {length} bytes instead of 200 and {expected}")
        });
    }

    /// A lane has become free.
    fn next(&mut self, at: usize) -> Result<()> {
        match &mut self.sending {
            Sending::AtOnce { left: 0 } => {}
            Sending::AtOnce { left } => {
                *left -= 1;
                // A socket that takes nothing any more is found out when its event comes.
                let _ = self.lanes[at].begin(&self.request);
            }
            Sending::Scheduled { free, .. } => {
                free.push_back(at);
                self.send_due(clock::now())?;
            }
        }
        Ok(())
    }
}

fn since(due: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(due).as_nanos()).unwrap_or(u64::MAX)
}

impl Schedule {
    fn next(&self) -> Instant {
        // A round has fewer than 2^34 requests, so the product fits.
        self.start + Duration::from_nanos(self.sent * 1_000_000_000 / self.rate)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next() <= now
    }

    /// The next time, if it has come.
    fn take_due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next();
        (due <= now).then(|| {
            self.sent += 1;
            due
        })
    }
}

impl Lane {
    fn open(target: SocketAddr, poll: &Poll, at: usize) -> Result<Self> {
        let mut stream = TcpStream::connect(target).while_doing(&format!("cannot connect to {target}"))?;
        stream.set_nodelay(true).while_doing("cannot set TCP_NODELAY")?;
        poll.registry()
            .register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)
            .while_doing("cannot wait for a connection")?;
        Ok(Self { stream, reader: Reader::default(), state: State::Connecting, unsent: 0, due: None })
    }

    /// Sends a request from its start.
    fn begin(&mut self, request: &[u8]) -> std::result::Result<(), String> {
        self.state = State::Busy;
        self.unsent = request.len();
        self.send(request)
    }

    fn turn(&mut self, request: &[u8], buffer: &mut [u8]) -> std::result::Result<Turn, String> {
        if self.state == State::Connecting {
            return self.connected();
        }
        if self.unsent > 0 {
            self.send(request)?;
        }
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err("a connection was closed before its answer was whole".to_owned()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Waiting),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("a connection could not be read: {error}")),
            };
            if self.state == State::Free {
                return Err("bytes came that nobody had asked for".to_owned());
            }
            match self.reader.take(&buffer[..length])? {
                Progress::Whole { used, .. } if used < length => {
                    return Err("more came than the answer to one request".to_owned());
                }
                Progress::Whole { head, .. } if self.unsent > 0 => {
                    return Err(format!("status {} came before the request was sent", head.status));
                }
                Progress::Whole { head, .. } => {
                    self.state = State::Free;
                    return Ok(Turn::Answered(head));
                }
                // A short read has drained the socket (epoll(7), question 9).
                Progress::Partial if length < buffer.len() => return Ok(Turn::Waiting),
                Progress::Partial => {}
            }
        }
    }

    /// Whether the connection is made (connect(2), EINPROGRESS).
    fn connected(&mut self) -> std::result::Result<Turn, String> {
        if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
            return Err(format!("a connection could not be made: {error}"));
        }
        if self.stream.peer_addr().is_err() {
            return Ok(Turn::Waiting);
        }
        self.state = State::Free;
        Ok(Turn::Connected)
    }

    fn send(&mut self, request: &[u8]) -> std::result::Result<(), String> {
        while self.unsent > 0 {
            match self.stream.write(&request[request.len() - self.unsent..]) {
                Ok(length) => self.unsent -= length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Request, Until};
    use mio::Events;

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

    /// Drives one connection to `target` until `requests` were answered rightly.
    fn drive(target: SocketAddr, requests: u64) -> (u64, u64, Option<String>) {
        let poll = Poll::new().unwrap();
        let order = Order {
            target,
            connections: 1,
            request: Request { path: "/".into(), headers: Vec::new(), body: 0 },
            answer: 2,
            pace: Pace::Saturated,
            warm_up: 0.0,
            until: Until::Requests { count: requests, lasting: 0.0 },
            proxy: None,
            cores: (0, 0),
        };
        let mut generator = Generator::connect(&poll, &order).unwrap();
        let (mut poll, mut events, mut buffer) = (poll, Events::with_capacity(8), [0; 1024]);
        let start = clock::now();
        while generator.requests < requests {
            assert!(start.elapsed() < Duration::from_secs(10), "only {} were answered", generator.requests);
            poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
            for event in &events {
                generator.turn(event.token(), &poll, &mut buffer).unwrap();
            }
        }
        (generator.wrong, generator.errors, generator.first_error)
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[test]
    fn a_closed_loop_sends_the_next_request_on_the_answer_to_the_last() {
        assert_eq!(drive(server(&[OK; 50], Then::Hold), 50), (0, 0, None));
    }

    #[test]
    fn other_statuses_are_counted_apart_and_the_first_is_told() {
        let target = server(&[OK, b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n", OK], Then::Hold);
        let told = "an answer had status 429 and 0 bytes instead of 200 and 2";
        assert_eq!(drive(target, 2), (1, 0, Some(told.to_owned())));
    }

    #[test]
    fn a_connection_closed_without_notice_is_an_error_and_is_opened_anew() {
        let (wrong, errors, _) = drive(server(&[OK, OK], Then::Close), 5);
        assert_eq!(wrong, 0);
        assert!(errors >= 2, "{errors}");
    }

    #[test]
    fn a_connection_closed_with_notice_is_opened_anew_without_an_error() {
        let last: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"];
        assert_eq!(drive(server(last, Then::Close), 5), (0, 0, None));
    }

    #[test]
    fn a_schedule_is_even_and_what_is_late_keeps_its_own_time() {
        let start = clock::now();
        let mut schedule = Schedule { start, rate: 20_000, sent: 0 };
        let now = start + Duration::from_micros(120);
        let due: Vec<Duration> = std::iter::from_fn(|| schedule.take_due(now)).map(|due| due - start).collect();
        assert_eq!(due, [0, 50, 100].map(Duration::from_micros));
        assert!(!schedule.is_due(now) && schedule.is_due(start + Duration::from_micros(150)));
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
