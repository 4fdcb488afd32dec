//! Services and brokers.

use std::time::Duration;

use crate::reader::Placed;
use crate::setting::{
    DAY, EndpointUrl, HOUR, HostPort, List, MILLISECOND, MINUTE, OffOr, Ratio, Size, Span, UrlPath, Whole,
};
use crate::snapshot::Endpoint;
use crate::table::{choices, settings};

settings! {
    /// A service that requests are passed on to.
    pub struct Upstream {
        /// Its addresses as `http://host:port`. `https` is not spoken yet.
        endpoints: Vec<Placed<Endpoint>> as List<Placed<EndpointUrl>, 1, 256>, required;
        /// How calls are spread over the endpoints.
        balance: Balance as Balance, default("round_robin");
        /// Asks each endpoint whether it works. Without it all are taken to work, and a dead one fails its share.
        health: Option<Health> as Health, optional;
        /// Stops calling while too many calls fail; `off` calls on, whatever happens.
        breaker: Option<Breaker> as OffOr<Breaker>, default("{}");
        /// How long each step of a call may take.
        timeouts: Timeouts as Timeouts, default("{}");
        /// Connections kept and opened.
        pool: Pool as Pool, default("{}");
        /// Which `Host` it sees.
        host: HostSent as HostSent, default("endpoint");
        /// Which headers tell it of the client: its address, and the scheme and host that it asked for. What a client
        /// says there itself never gets through.
        forwarded: Told as Told, default("x_forwarded");
    }

    /// Asks each endpoint whether it works, and calls only those that do.
    #[derive(Eq)]
    pub struct Health {
        /// Path to `GET`. An answer of 200 to 299 says that the endpoint works.
        path: String as UrlPath, required;
        /// Time between two questions.
        interval: Duration as Span<{ 10 * MILLISECOND }, { HOUR }>, default("5s");
        /// How long an answer may take; a later one counts as none.
        timeout: Duration as Span<{ 10 * MILLISECOND }, { 10 * MINUTE }>, default("1s");
        /// Failures in a row that take an endpoint out.
        unhealthy_after: u32 as Whole<u32, 1, 1_000>, default("3");
        /// Successes in a row that bring it back.
        healthy_after: u32 as Whole<u32, 1, 1_000>, default("1");
    }

    /// Stops calling an upstream that keeps failing, and tries again after a pause.
    pub struct Breaker {
        /// The share of failed calls within the window at which it opens. While it is open, callers get 503 at once.
        error_ratio: f64 as Ratio, default("50%");
        /// Calls within the window before the share counts, so that one failure at night opens nothing.
        minimum: u32 as Whole<u32, 1, 1_000_000>, default("20");
        /// Over how long calls are counted.
        window: Duration as Span<{ 100 * MILLISECOND }, { HOUR }>, default("10s");
        /// How long it stays open before probes are let through.
        open_for: Duration as Span<{ 100 * MILLISECOND }, { HOUR }>, default("5s");
        /// Calls let through while it is half open. As many successes close it, one failure opens it again.
        probes: u32 as Whole<u32, 1, 1_000>, default("1");
    }

    /// How long each step of a call may take. Past it the caller gets 504, unless it says otherwise.
    #[derive(Eq)]
    pub struct Timeouts {
        /// Opening a connection: past it 502. Before that, waiting for a call to end where all of `pool.max_connections` are
        /// under way: past it 503.
        connect: Duration as Span<{ MILLISECOND }, { 10 * MINUTE }>, default("2s");
        /// From the end of the request to the end of the answer's head.
        first_byte: Duration as Span<{ MILLISECOND }, { DAY }>, default("15s");
        /// While it takes nothing of a request that is written to it.
        write: Duration as Span<{ MILLISECOND }, { DAY }>, default("60s");
        /// Between two pieces of the body of an answer, or of a tunnel: past it that breaks off. How long a connection is kept
        /// for the next call, too.
        idle: Duration as Span<{ MILLISECOND }, { DAY }>, default("60s");
        /// The whole call up to the head of the answer, its waiting for a connection included.
        request: Duration as Span<{ MILLISECOND }, { DAY }>, default("30s");
    }

    /// Connections kept and opened.
    #[derive(Eq)]
    pub struct Pool {
        /// Idle connections that each worker keeps to an endpoint for the next call.
        idle_per_worker: usize as Whole<usize, 0, 65_536>, default("64");
        /// Calls under way over all workers, each on a connection of its own; idle connections are kept beside them.
        max_connections: usize as Whole<usize, 1, 1_000_000>, default("1024");
        /// Calls over all workers that may wait for one of those to end. The next one gets 503 at once.
        pending: usize as Whole<usize, 0, 1_000_000>, default("1024");
    }

    /// A broker of events.
    pub struct Broker {
        /// An Apache Kafka cluster.
        kafka: Kafka as Kafka, required;
    }

    /// An Apache Kafka cluster.
    #[derive(Eq)]
    pub struct Kafka {
        /// Brokers to ask first, as `host:port`; the others are learned from them.
        bootstrap: Vec<String> as List<HostPort, 1, 64>, required;
        /// What is kept of each topic for clients that fall behind.
        ring: Ring as Ring, default("{}");
    }

    /// What is kept in memory of each topic. A client that falls behind by more is told what it missed.
    #[derive(Eq)]
    pub struct Ring {
        /// Events.
        events: usize as Whole<usize, 1, 10_000_000>, default("10000");
        /// Bytes of their keys, headers and values. Whichever bound is reached first drops the oldest.
        bytes: usize as Size<1_024, { 16 << 30 }>, default("16MiB");
    }
}

choices! {
    /// How calls are spread over endpoints.
    pub enum Balance {
        /// One after the other.
        RoundRobin = "round_robin",
    }

    /// Which `Host` an upstream sees.
    pub enum HostSent {
        /// Host and port of its endpoint.
        Endpoint = "endpoint",
        /// What the client asked for.
        Client = "client",
    }

    /// Which headers tell an upstream of the client.
    pub enum Told {
        /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Rfc7239 = "rfc7239",
        /// Both.
        Both = "both",
        /// None.
        Off = "off",
    }
}
