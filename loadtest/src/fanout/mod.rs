//! What it costs to send one message to many WebSockets, beside a bare loop of writes.
//!
//! A message is published and everyone waits until all have it: one wake of the gateway, one write per socket. The bare
//! loop writes the very frame that the gateway sent, ready made, to as many sockets: what the kernel asks for.

mod audience;
mod bare;
mod broker;

pub use audience::Audience;
pub use bare::Bare;
pub use broker::Broker;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::child::{Child, Core, Spoken};
use crate::failure::{Failure, Result, While};
use crate::peers::free_address;
use crate::statistics::{median, spread};

/// How many sockets.
pub const SOCKETS: usize = 2_000;
/// Bytes of the published event: the frame around it has a little more.
const EVENT: usize = 200;
/// The topic, and the channel of the same name.
const TOPIC: &str = "ticks";
const PATH: &str = "/events/v1";
/// Long enough for the gateway to find its broker while compilers share the machine.
const START: Duration = Duration::from_secs(30);

/// What one round came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Messages published, each received by all.
    pub messages: u64,
    /// Frames received.
    pub deliveries: u64,
    /// Bytes of a frame, its head and content.
    pub frame: usize,
    /// CPU time of the server.
    pub server_ns: u64,
    /// How long was counted.
    pub elapsed_ns: u64,
}

/// Both servers, pair by pair.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// The scenario's name.
    pub name: String,
    /// `(gateway, bare loop)`.
    pub pairs: Vec<(Round, Round)>,
}

/// A gateway with a broker behind it.
pub struct Stage {
    gateway: Child,
    address: SocketAddr,
    // Ended with the stage.
    _broker: Spoken,
}

impl Round {
    /// CPU-microseconds per frame received.
    pub fn micros(&self) -> f64 {
        self.server_ns as f64 / 1e3 / self.deliveries as f64
    }
}

impl FanOut {
    /// How much of the bare loop's speed is left: the median of the pairs' ratios of its CPU per message to the gateway's.
    pub fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(|(gateway, bare)| bare.micros() / gateway.micros()))
    }

    /// How far the middle half of the ratios lies apart.
    pub fn spread(&self) -> f64 {
        spread(self.pairs.iter().map(|(gateway, bare)| bare.micros() / gateway.micros()))
    }

    /// Median CPU-microseconds per message: of the gateway, of the bare loop.
    pub fn micros(&self) -> (f64, f64) {
        let of = |pick: fn(&(Round, Round)) -> f64| median(self.pairs.iter().map(pick));
        (of(|pair| pair.0.micros()), of(|pair| pair.1.micros()))
    }

    /// The one line on standard output.
    pub fn line(&self) -> String {
        let ((gateway, bare), pairs) = (self.micros(), self.pairs.len());
        let deliveries: u64 = self.pairs.iter().map(|(gateway, _)| gateway.deliveries).sum();
        format!(
            "{} bare_ratio={:.2} portolan_us={gateway:.2} bare_us={bare:.2} spread={:.2} pairs={pairs} sockets={SOCKETS} \
             deliveries={deliveries}",
            self.name,
            self.ratio(),
            self.spread(),
        )
    }
}

impl Stage {
    /// Starts a broker and `binary` before it, and waits until one can subscribe.
    pub fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let arguments = ["broker".to_owned(), "--topic".to_owned(), TOPIC.to_owned()];
        let mut broker = Spoken::start("the broker", Core::Load, &folder.join("broker.log"), &arguments)?;
        let bootstrap = broker.hear()?;
        let (address, admin) = (free_address()?, free_address()?);
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).while_doing("cannot write the configuration of portolan")
        };
        write("events.asyncapi.yaml", contract())?;
        write("events.yaml", configuration(address, admin, &bootstrap))?;
        let file = folder.join("events.yaml");
        let program: [&OsStr; 4] = [binary.as_ref(), "run".as_ref(), "-c".as_ref(), file.as_ref()];
        let mut gateway = Child::start("portolan", Core::Proxy, &folder.join("events.log"), &program)?;
        // Asked by a subscription rather than an event: one that is published now could still be on its way to the first of
        // those who listen.
        gateway.wait_until(START, || audience::subscribe(address).map(drop).map_err(|failure| failure.to_string()))?;
        Ok(Self { gateway, address, _broker: broker })
    }

    /// Publishes for `seconds` to sockets that are opened for this round.
    pub fn round(&self, seconds: f64, folder: &Path) -> Result<Round> {
        let mut arguments = vec!["--gateway".to_owned(), self.address.to_string()];
        arguments.extend(["--server".to_owned(), self.gateway.pid().to_string()]);
        audience_round(arguments, seconds, folder)
    }
}

/// The same of the bare loop, at the pace of the gateway's round and with its frames: a loop that never rests has warmer
/// caches.
pub fn bare_round(seconds: f64, like: &Round, folder: &Path) -> Result<Round> {
    let log = folder.join("bare.log");
    let arguments = ["bare".to_owned(), "--frame".to_owned(), like.frame.to_string()];
    let mut bare = Spoken::start("the bare loop", Core::Proxy, &log, &arguments)?;
    let address = bare.hear()?;
    let every = like.elapsed_ns / like.messages.max(1);
    let mut arguments = vec!["--bare".to_owned(), address, "--server".to_owned(), bare.pid().to_string()];
    arguments.extend(["--every-ns".to_owned(), every.to_string()]);
    audience_round(arguments, seconds, folder)
}

fn audience_round(mut arguments: Vec<String>, seconds: f64, folder: &Path) -> Result<Round> {
    arguments.splice(0..0, ["audience", "--seconds", &seconds.to_string()].map(str::to_owned));
    let mut audience = Spoken::start("the audience", Core::Load, &folder.join("audience.log"), &arguments)?;
    let line = audience.hear()?;
    let round: Round = serde_json::from_str(&line).while_doing("the audience reported no figures")?;
    if round.deliveries == 0 {
        return Err(Failure::new("no message reached its audience; give it more seconds"));
    }
    Ok(round)
}

fn contract() -> String {
    format!(
        r"asyncapi: 3.0.0
info: {{ title: Ticks, version: 1.0.0 }}
channels:
  ticks: {{ address: {TOPIC}, bindings: {{ kafka: {{ topic: {TOPIC} }} }} }}
operations:
  tell: {{ action: send, channel: {{ $ref: '#/channels/ticks' }} }}
  take: {{ action: receive, channel: {{ $ref: '#/channels/ticks' }} }}
"
    )
}

fn configuration(listen: SocketAddr, admin: SocketAddr, bootstrap: &str) -> String {
    format!(
        r#"workers: 1
listeners:
  public: {{ address: "{listen}" }}
admin: {{ address: "{admin}" }}
access_log: {{ to: off }}
apis:
  events: {{ version: v1, asyncapi: ./events.asyncapi.yaml, path: {PATH}, broker: main }}
brokers:
  main: {{ kafka: {{ bootstrap: [ "{bootstrap}" ] }} }}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_left_of_the_bare_loops_speed() {
        let round = |server_ns| Round { messages: 5, deliveries: 10_000, frame: 300, server_ns, elapsed_ns: 1 };
        let pairs = vec![(round(50_000_000), round(40_000_000)), (round(50_000_000), round(45_000_000))];
        assert_eq!(
            FanOut { name: "fan-out/plain".to_owned(), pairs }.line(),
            "fan-out/plain bare_ratio=0.85 portolan_us=5.00 bare_us=4.25 spread=0.05 pairs=2 sockets=2000 deliveries=20000"
        );
    }
}
