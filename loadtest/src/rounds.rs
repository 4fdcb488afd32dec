//! The harness's end of the load side: orders given, rounds received.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::child::{Core, Spoken, cores};
use crate::failure::{Failure, Result, While};
use crate::load::{LISTENING, Order, Pace, Round, Until, answer_body};
use crate::peers::portolan::Policies;
use crate::peers::{Proxy, Site};
use crate::scenario::Load;

/// Seconds of load before each round counts: connections are made, pools filled, caches warm.
const WARM_UP: f64 = 0.5;
/// The same where a thousand connections are made.
const LONG_WARM_UP: f64 = 1.0;

/// The load side of one load, running.
pub struct LoadSide {
    load: Load,
    answer: String,
    upstream: SocketAddr,
    process: Spoken,
}

impl LoadSide {
    /// Starts it; its log goes to `folder`.
    pub fn start(load: Load, folder: &Path) -> Result<Self> {
        let arguments =
            ["load", "--answer", &load.answer.to_string(), "--body", &load.body.to_string()].map(str::to_owned);
        let mut process = Spoken::start("the load side", Core::Load, &folder.join("load.log"), &arguments)?;
        let line = process.hear()?;
        let upstream = line
            .strip_prefix(LISTENING)
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| Failure::new(format!("the load side told no address but `{line}`")))?;
        Ok(Self { load, answer: answer_body(load.answer), upstream, process })
    }

    /// Calls `start` with the place of a proxy before this load's upstream.
    pub fn place<T>(
        &self,
        policies: Policies,
        folder: &Path,
        under: &[std::ffi::OsString],
        start: impl FnOnce(&Site<'_>) -> Result<T>,
    ) -> Result<T> {
        let request = self.load.request(policies);
        start(&Site { folder, upstream: self.upstream, request: &request, answer: &self.answer, under })
    }

    /// Loads `proxy` for `seconds`, with the credentials of `policies`.
    pub fn round(&mut self, proxy: &Proxy, policies: Policies, seconds: f64) -> Result<Round> {
        let order = self.order(proxy, policies)?;
        let mut round = self.give(&order, proxy, Until::Seconds(seconds))?;
        round.logged = take_access_log(proxy)?;
        Ok(round)
    }

    /// Sends `requests` one after another over one connection, for what is counted rather than timed, and holds it until
    /// `lasting` is over. Tells how long it lasted.
    pub fn count_through(
        &mut self,
        proxy: &Proxy,
        policies: Policies,
        requests: u64,
        lasting: Duration,
    ) -> Result<Duration> {
        let order = Order { connections: 1, pace: Pace::Saturated, warm_up: 0.0, ..self.order(proxy, policies)? };
        let round = self.give(&order, proxy, Until::Requests { count: requests, lasting: lasting.as_secs_f64() })?;
        match round.first_error {
            Some(reason) => Err(Failure::new(format!("{} failed a request that was counted: {reason}", proxy.name))),
            None => Ok(Duration::from_nanos(round.elapsed_ns)),
        }
    }

    fn order(&self, proxy: &Proxy, policies: Policies) -> Result<Order> {
        Ok(Order {
            target: proxy.address,
            connections: self.load.connections,
            request: self.load.request(policies),
            answer: self.load.answer as u64,
            pace: self.load.pace,
            warm_up: if self.load.connections > 100 { LONG_WARM_UP } else { WARM_UP },
            until: Until::Seconds(0.0),
            proxy: Some(proxy.pid()),
            cores: cores()?,
        })
    }

    fn give(&mut self, order: &Order, proxy: &Proxy, until: Until) -> Result<Round> {
        let order = Order { until, ..order.clone() };
        let line = serde_json::to_string(&order).expect("an order is plain figures");
        let round = Round::parse(&self.process.ask(&line)?)?;
        if round.requests == 0 {
            let reason = round.first_error.as_deref().unwrap_or("the time was too short");
            return Err(Failure::new(format!("{} answered no request rightly: {reason}", proxy.name)));
        }
        Ok(round)
    }
}

/// Counts the lines that `proxy` wrote for a round, and makes room: a round writes some 25 MB a second, and figures must
/// not depend on how full the disk is.
fn take_access_log(proxy: &Proxy) -> Result<Option<u64>> {
    let Some(file) = &proxy.access_log else { return Ok(None) };
    let deed = format!("cannot read the access log of {}; it was to write {}", proxy.name, file.display());
    let mut log = File::options().read(true).write(true).open(file).while_doing(&deed)?;
    let (mut lines, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match log.read(&mut buffer).while_doing(&deed)? {
            0 => break,
            length => lines += memchr::memchr_iter(b'\n', &buffer[..length]).count() as u64,
        }
    }
    log.set_len(0).while_doing(&deed)?;
    Ok(Some(lines))
}
