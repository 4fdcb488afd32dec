//! The load side: generator and upstream in one thread, so that they cost less than the proxies between them.
//!
//! It serves as the upstream all the time, and does a round of load when an order comes on standard input. Two processes
//! on one core would pay a switch for every batch. It reads the kernel's figures of the proxy itself, at the very moments
//! between which it counts requests.

mod generator;
mod latency;
mod order;
mod upstream;

use std::io::{BufRead, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use clap::Args;
use mio::{Events, Poll, Token, Waker};

pub use generator::ask;
pub use order::{Order, Pace, Request, Round, Until};
pub use upstream::answer_body;

use crate::clock;
use crate::cpu::{Meter, Reading, core_busy};
use crate::failure::{Failure, Result, While};
use generator::Generator;
use upstream::Service;

/// What the first line of standard output begins with; the upstream's address follows.
pub const LISTENING: &str = "listening ";

/// Holds a 64 KiB body with its head in one read.
const READ_BUFFER: usize = 256 * 1024;
const ORDERS: Token = Token(usize::MAX);
/// A round counted in requests ends here at the latest: under an emulator a request takes milliseconds.
const LONGEST: Duration = Duration::from_secs(300);

/// What the upstream answers and expects. Orders come on standard input, one JSON object a line.
#[derive(Args)]
pub struct Load {
    /// Bytes of content in every answer of the upstream.
    #[arg(long, default_value_t = 69)]
    answer: usize,
    /// Bytes of content that every request must have when it reaches the upstream; another length is answered with 400.
    #[arg(long, default_value_t = 0)]
    body: u64,
}

impl Load {
    /// Serves and obeys until standard input ends.
    pub fn run(self) -> Result<()> {
        let mut side = Side::new(Service::listen(self.answer, self.body)?)?;
        crate::report(&format!("{LISTENING}{}", side.upstream.address()?));
        let waker = Waker::new(side.poll.registry(), ORDERS).while_doing("cannot wait for orders")?;
        // Held here as well: with its last owner its descriptor is closed, and a wake that nobody saw yet is lost.
        let waker = Arc::new(waker);
        let orders = orders(Arc::clone(&waker));
        loop {
            match orders.try_recv() {
                Ok(line) => {
                    let order =
                        serde_json::from_str(&line).while_doing(&format!("cannot understand the order `{line}`"))?;
                    let round = side.round(&order)?;
                    crate::report(&serde_json::to_string(&round).expect("a round is plain figures"));
                }
                Err(TryRecvError::Empty) => _ = side.turn(None, None)?,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}

/// Reads standard input on a thread of its own, which sleeps while a round runs.
fn orders(waker: Arc<Waker>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() || waker.wake().is_err() {
                return;
            }
        }
        // Dropped first, so that whoever is woken sees the end.
        drop(sender);
        let _ = waker.wake();
    });
    receiver
}

/// The one thread and what it drives.
struct Side {
    poll: Poll,
    events: Events,
    upstream: Service,
    buffer: Vec<u8>,
}

impl Side {
    fn new(mut upstream: Service) -> Result<Self> {
        let poll = Poll::new().while_doing("cannot wait for sockets")?;
        upstream.register(&poll)?;
        Ok(Self { poll, events: Events::with_capacity(1024), upstream, buffer: vec![0; READ_BUFFER] })
    }

    fn round(&mut self, order: &Order) -> Result<Round> {
        let mut generator = Generator::connect(&self.poll, order)?;
        self.run_for(&mut generator, seconds(order.warm_up)?)?;

        let meters = Meters::of(order)?;
        let before = meters.read()?;
        generator.begin_counting(clock::now());
        let start = clock::now();
        match order.until {
            Until::Seconds(count) => self.run_for(&mut generator, seconds(count)?)?,
            Until::Requests { count, lasting } => {
                self.run_through(&mut generator, count)?;
                self.hold(&mut generator, start + seconds(lasting)?)?;
            }
        }
        let end = clock::now();
        let after = meters.read()?;
        let elapsed = end - start;
        generator.end_counting(end);

        let core_busy = after.load_core.saturating_sub(before.load_core);
        let (idle, rate) = match order.pace {
            Pace::Saturated => (elapsed.saturating_sub(core_busy), 0),
            Pace::Rate(rate) => (generator.idle, u64::from(rate)),
        };
        Ok(Round {
            requests: generator.requests,
            wrong: generator.wrong,
            errors: generator.errors,
            elapsed_ns: nanos(elapsed),
            proxy_ns: nanos(after.proxy.since(&before.proxy)),
            load_ns: nanos(after.own.since(&before.own)),
            proxy_core_ns: nanos(after.proxy_core.saturating_sub(before.proxy_core)),
            load_idle_ns: nanos(idle),
            rate,
            p50_ns: generator.latencies.quantile(0.5),
            p99_ns: generator.latencies.quantile(0.99),
            p999_ns: generator.latencies.quantile(0.999),
            logged: None,
            first_error: generator.first_error,
        })
    }

    fn run_for(&mut self, generator: &mut Generator, duration: Duration) -> Result<()> {
        let end = clock::now() + duration;
        loop {
            let now = clock::now();
            if now >= end || generator.is_hopeless() {
                return Ok(());
            }
            self.step(generator, now, end)?;
        }
    }

    fn run_through(&mut self, generator: &mut Generator, count: u64) -> Result<()> {
        let end = clock::now() + LONGEST;
        generator.send_at_most(count);
        while generator.answered() < count {
            let now = clock::now();
            if now >= end {
                let (done, seconds) = (generator.answered(), LONGEST.as_secs());
                return Err(Failure::new(format!("only {done} of {count} requests were answered within {seconds} s")));
            }
            if generator.is_hopeless() {
                return Ok(());
            }
            self.step(generator, now, end)?;
        }
        Ok(())
    }

    /// Keeps the connections open until `end`, with nothing to send.
    fn hold(&mut self, generator: &mut Generator, end: Instant) -> Result<()> {
        loop {
            let left = end.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(Some(&mut *generator), Some(left))?;
        }
    }

    /// One turn of the loop. At a fixed rate it does not sleep: the kernel's timers are too coarse for 50 µs, and a
    /// request sent late would be held against the proxy.
    fn step(&mut self, generator: &mut Generator, now: Instant, end: Instant) -> Result<()> {
        let wait = if generator.send_due(now)? { Duration::ZERO } else { end - now };
        if !self.turn(Some(&mut *generator), Some(wait))? && wait.is_zero() {
            generator.idle += clock::now() - now;
        }
        Ok(())
    }

    /// Waits for sockets and serves them; says whether there were any.
    fn turn(&mut self, mut generator: Option<&mut Generator>, wait: Option<Duration>) -> Result<bool> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            outcome => outcome.while_doing("cannot wait for sockets")?,
        }
        for event in &self.events {
            let token = event.token();
            if self.upstream.owns(token) {
                self.upstream.turn(token, &self.poll, &mut self.buffer)?;
            } else if let Some(generator) = generator.as_deref_mut().filter(|_| token != ORDERS) {
                generator.turn(token, &self.poll, &mut self.buffer)?;
            }
        }
        Ok(!self.events.is_empty())
    }
}

fn seconds(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).while_doing(&format!("{seconds} seconds cannot be waited for"))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a round is shorter than five hundred years")
}

struct Meters {
    proxy: Option<Meter>,
    own: Meter,
    cores: (usize, usize),
}

struct Readings {
    proxy: Reading,
    own: Reading,
    proxy_core: Duration,
    load_core: Duration,
}

impl Meters {
    fn of(order: &Order) -> Result<Self> {
        let proxy = order.proxy.map(Meter::of).transpose()?;
        Ok(Self { proxy, own: Meter::own(), cores: order.cores })
    }

    fn read(&self) -> Result<Readings> {
        Ok(Readings {
            proxy: self.proxy.as_ref().map(Meter::read).transpose()?.unwrap_or_default(),
            own: self.own.read()?,
            proxy_core: core_busy(self.cores.0)?,
            load_core: core_busy(self.cores.1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// A load side that asks its own upstream: nothing stands between.
    fn side(answer: usize, body: u64) -> (Side, SocketAddr) {
        let side = Side::new(Service::listen(answer, body).unwrap()).unwrap();
        let address = side.upstream.address().unwrap();
        (side, address)
    }

    fn order(target: SocketAddr, answer: u64, body: usize) -> Order {
        Order {
            target,
            connections: 4,
            request: Request { path: "/".into(), headers: Vec::new(), body },
            answer,
            pace: Pace::Saturated,
            warm_up: 0.01,
            until: Until::Seconds(0.1),
            proxy: None,
            cores: (0, 0),
        }
    }

    fn requests(count: u64) -> Until {
        Until::Requests { count, lasting: 0.0 }
    }

    #[test]
    fn a_saturated_round_counts_right_answers() {
        let (mut side, address) = side(69, 0);
        let round = side.round(&order(address, 69, 0)).unwrap();
        assert_eq!((round.wrong, round.errors, &round.first_error), (0, 0, &None));
        assert!(round.requests > 4, "{round:?}");
        assert!(round.elapsed_ns >= 100_000_000, "{round:?}");
    }

    #[test]
    fn bodies_larger_than_a_socket_takes_at_once_go_both_ways() {
        let (mut side, address) = side(3_000_000, 3_000_000);
        let order = Order { warm_up: 0.0, until: requests(6), ..order(address, 3_000_000, 3_000_000) };
        let round = side.round(&order).unwrap();
        assert_eq!((round.requests, round.wrong, round.errors), (6, 0, 0), "{round:?}");
    }

    #[test]
    fn an_answer_of_another_length_is_wrong() {
        let (mut side, address) = side(69, 0);
        let round = side.round(&Order { until: requests(8), ..order(address, 70, 0) }).unwrap();
        assert_eq!((round.requests, round.errors), (0, 0));
        assert!(round.wrong >= 8, "{round:?}");
        assert_eq!(round.first_error.as_deref(), Some("an answer had status 200 and 69 bytes instead of 200 and 70"));
    }

    #[test]
    fn a_request_that_reaches_the_upstream_with_another_length_is_refused_there() {
        let (mut side, address) = side(69, 10);
        let round = side.round(&Order { until: requests(4), ..order(address, 69, 9) }).unwrap();
        assert_eq!(round.requests, 0);
        assert_eq!(round.first_error.as_deref(), Some("an answer had status 400 and 0 bytes instead of 200 and 69"));
    }

    #[test]
    fn a_fixed_rate_is_kept_and_its_latencies_are_told() {
        let (mut side, address) = side(69, 0);
        // Without a warm-up nothing from before is counted.
        let order = Order { pace: Pace::Rate(1_000), warm_up: 0.0, ..order(address, 69, 0) };
        let round = side.round(&order).unwrap();
        assert_eq!((round.wrong, round.errors, round.rate), (0, 0, 1_000));
        // What was sent last may still be under way, and nothing is sent ahead of its time: one for each millisecond, and the first.
        assert!((1..=round.elapsed_ns / 1_000_000 + 2).contains(&round.requests), "{round:?}");
        assert!(round.p50_ns > 0 && round.p50_ns <= round.p99_ns && round.p99_ns <= round.p999_ns, "{round:?}");
    }

    #[test]
    fn so_many_requests_are_sent_and_not_one_more() {
        let (mut side, address) = side(69, 0);
        let order = Order { warm_up: 0.0, until: requests(1_001), ..order(address, 69, 0) };
        assert_eq!(side.round(&order).unwrap().requests, 1_001);
        assert_eq!(side.upstream.answered, 1_001);
    }

    #[test]
    fn a_round_lasts_as_long_as_it_is_to_though_its_requests_were_answered_long_ago() {
        let (mut side, address) = side(69, 0);
        let until = Until::Requests { count: 3, lasting: 0.2 };
        let round = side.round(&Order { warm_up: 0.0, until, ..order(address, 69, 0) }).unwrap();
        assert_eq!((round.requests, round.errors), (3, 0));
        assert!(round.elapsed_ns >= 200_000_000, "{round:?}");
    }

    #[test]
    fn a_request_allocates_nothing_on_the_load_side() {
        let (mut side, address) = side(69, 0);
        let mut allocations = |count| {
            let order = Order { warm_up: 0.0, until: requests(count), ..order(address, 69, 0) };
            allocation_counter::measure(|| _ = side.round(&order).unwrap()).count_total
        };
        // What a round allocates (connections, the reading of /proc) does not grow with its requests; how many threads /proc
        // lists may.
        let (few, many) = (allocations(10), allocations(10_010));
        assert!(many < few + 1_000, "{few} allocations for 10 requests, {many} for 10,010");
    }
}
