//! An address that accepts connections, and what clients may do there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Believed, Cidr, Cors, ExpectContinue, HalfClose, Name, ProxyProtocol, Trace};

/// An address that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Open connections, over all workers; the next one waits in the system's queue.
    pub max_connections: usize,
    /// Open connections of one client address, over all workers; the next one is closed. Absent: no bound.
    pub max_connections_per_address: Option<usize>,
    /// Requests on one connection; the answer to the last one closes it. Absent: no bound.
    pub max_requests: Option<u64>,
    /// Bytes of a request's first line, its end not counted; at most `max_head`.
    pub max_request_line: usize,
    /// Bytes of one header line, its end not counted; at most `max_head`.
    pub max_header: usize,
    /// Headers of one request, and trailers of one body.
    pub max_headers: usize,
    /// Bytes of a request's line and headers.
    pub max_head: usize,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a head may take to arrive, from its first byte.
    pub head_timeout: Duration,
    /// How long nothing may arrive of a body that is waited for.
    pub body_timeout: Duration,
    /// Bytes per second that a body must bring on average over the time it was waited for, once that time is longer
    /// than [`Listener::BODY_GRACE`]. Absent: no bound.
    pub min_body_rate: Option<usize>,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// What the end of a client's sending side means while it waits for an answer.
    pub half_close: HalfClose,
    /// Who answers `Expect: 100-continue`.
    pub expect_continue: ExpectContinue,
    /// What becomes of `TRACE`.
    pub trace: Trace,
    /// Networks whose members are believed in what they say of a client.
    pub trusted_proxies: Vec<Cidr>,
    /// Which headers of theirs are believed.
    pub forwarded: Believed,
    /// Whether their connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Which pages of other origins may call what has no rules of its own, and read why nothing takes a request.
    pub cors: Option<Cors>,
}

impl Listener {
    /// Whether another one differs in nothing but what a reload may change.
    pub fn runs_like(&self, other: &Listener) -> bool {
        Listener { cors: other.cors.clone(), ..self.clone() } == *other
    }

    /// How long a body may be waited for before its rate is judged: a second or two of a bad network say nothing yet.
    pub const BODY_GRACE: Duration = Duration::from_secs(10);

    /// Whether an address belongs to a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}
