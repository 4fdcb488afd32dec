//! Addresses that accept connections, and the bounds of the whole process.

use std::net::SocketAddr;
use std::time::Duration;

use crate::reader::Placed;
use crate::setting::{HOUR, List, Listen, MILLISECOND, MINUTE, Network, OrOff, Size, Span, Whole};
use crate::snapshot::Cidr;
use crate::table::{choices, settings};

use super::Cors;

settings! {
    /// An address that accepts connections.
    pub struct Listener {
        /// IP address (or `localhost`) and port. Port 0 lets the system choose, which only tests want.
        address: Placed<SocketAddr> as Placed<Listen>, required;
        /// Open connections over all workers. The next one waits in the system's queue. Ten thousand leave room below
        /// the usual limit of 65,536 files.
        max_connections: usize as Whole<usize, 1, 1_000_000>, default("10000");
        /// Open connections of one client address, over all workers; the next one is closed at once. `off`, because
        /// behind a load balancer or a shared address thousands of clients look like one. A connection of a
        /// `trusted_proxies` member counts for the address in its PROXY header, and for nobody without one.
        max_connections_per_address: Placed<Option<usize>> as Placed<OrOff<Whole<usize, 1, 1_000_000>>>, default("off");
        /// Requests on one connection; the answer to the last one closes it, so that connections which live for days
        /// spread anew over the gateways behind a load balancer. `off` keeps them.
        max_requests: Option<u64> as OrOff<Whole<u64, 1, 1_000_000_000>>, default("10000");
        /// Bytes of a request's first line. A longer one is refused with 414. RFC 9112 asks for 8,000 at least.
        max_request_line: Placed<usize> as Placed<Size<256, { 1 << 20 }>>, default("8KiB");
        /// Bytes of one header, name and value. A longer one is refused with 431.
        max_header: Placed<usize> as Placed<Size<256, { 1 << 20 }>>, default("16KiB");
        /// How many headers a request may have, and how many trailers. More headers are refused with 431, more trailers
        /// with 400.
        max_headers: usize as Whole<usize, 8, 4_096>, default("100");
        /// Bytes of a request's line and headers. A longer head is refused with 431.
        max_head: usize as Size<1_024, { 1 << 20 }>, default("64KiB");
        /// How long a connection may wait for its next request before it is closed. Longer than the 60 s of most load
        /// balancers, so that they close first and no request meets a closing connection.
        idle_timeout: Duration as Span<{ 100 * MILLISECOND }, { 24 * HOUR }>, default("75s");
        /// How long a head may take from its first byte to its last, so that slow senders hold no connection.
        head_timeout: Duration as Span<{ 100 * MILLISECOND }, { 10 * MINUTE }>, default("10s");
        /// How long nothing may arrive of a body that is waited for. Past it the caller gets 408.
        body_timeout: Duration as Span<{ 100 * MILLISECOND }, { HOUR }>, default("60s");
        /// Bytes per second that a body must bring on average over the time it was waited for, from the tenth second
        /// on; the caller of a slower one gets 408. `off` suits clients that send as things happen.
        min_body_rate: Option<usize> as OrOff<Size<1, { 1 << 30 }>>, default("240B");
        /// How long a client may take nothing of what is written to it before its connection is cut.
        write_timeout: Duration as Span<{ 100 * MILLISECOND }, { HOUR }>, default("60s");
        /// What it means when a client ends its sending side while it waits for an answer.
        half_close: HalfClose as HalfClose, default("cancel");
        /// Who answers `Expect: 100-continue`.
        expect_continue: ExpectContinue as ExpectContinue, default("answer");
        /// What becomes of `TRACE` requests, whose answer repeats what a client sent, credentials included.
        trace: Trace as Trace, default("refuse");
        /// Networks of the proxies in front, such as `10.0.0.0/8`, or single addresses. Only what they say of a client
        /// is believed.
        trusted_proxies: Vec<Placed<Cidr>> as List<Placed<Network>, 0, 1_024>, default("[]");
        /// Which headers of `trusted_proxies` tell the client's address, scheme and host. Name the one that they all
        /// write: the other may come from the client.
        forwarded: Believed as Believed, default("x_forwarded");
        /// Whether connections of `trusted_proxies` begin with a PROXY header (version 1 or 2) that tells the client's
        /// address.
        proxy_protocol: Placed<ProxyProtocol> as Placed<ProxyProtocol>, default("off");
        /// Which pages of other origins may call from a browser, for all that comes in here and has no `cors` of its own:
        /// what no route takes included, so that pages can read why. A reload changes it.
        cors: Option<Placed<Cors>> as Placed<Cors>, optional;
    }

    /// Bounds of the whole process. Near them new connections and requests get 503, and what is under way goes on.
    #[derive(Eq)]
    pub struct Limits {
        /// Bytes of heads and bodies that may be held in memory at one time, over all workers. Without it: half of the
        /// memory that the process may use, which is its control group's limit or the machine's.
        memory_budget: Option<usize> as Size<{ 16 << 20 }, { 1 << 40 }>, optional;
        /// File descriptors kept for what is no connection: brokers, files, the admin port. Clients and upstreams share
        /// what the system's limit (`ulimit -n`) leaves.
        reserved_files: usize as Whole<usize, 16, 65_536>, default("128");
    }
}

choices! {
    /// What it means when a client ends its sending side while it waits for an answer.
    pub enum HalfClose {
        /// It went away: its request is cancelled, upstream too.
        Cancel = "cancel",
        /// It still reads: it gets its answer, and a client that did go away is noticed when it is written to.
        Answer = "answer",
    }

    /// Who answers `Expect: 100-continue`.
    pub enum ExpectContinue {
        /// The gateway, as soon as somebody reads the body.
        Answer = "answer",
        /// The upstream.
        Pass = "pass",
    }

    /// What becomes of `TRACE` requests.
    pub enum Trace {
        /// They get 405.
        Refuse = "refuse",
        /// They are routed like others.
        Allow = "allow",
    }

    /// Which headers of trusted proxies are believed.
    pub enum Believed {
        /// `X-Forwarded-For`, `-Proto` and `-Host`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Rfc7239 = "rfc7239",
        /// None.
        Off = "off",
    }

    /// Whether connections of trusted proxies begin with a PROXY header.
    pub enum ProxyProtocol {
        /// They do not.
        Off = "off",
        /// They may.
        Accept = "accept",
        /// They must, and nobody else may connect.
        Require = "require",
    }
}
