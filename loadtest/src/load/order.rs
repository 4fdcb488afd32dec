//! What the load side is asked to do, and what it reports: a line of JSON each way.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// One round: which requests, to whom, how many at once, how fast and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The proxy's address.
    pub target: SocketAddr,
    /// Keep-alive connections, each with at most one request under way.
    pub connections: usize,
    /// The request, the same every time.
    pub request: Request,
    /// Bytes of content that a right answer has.
    pub answer: u64,
    /// When the next request is sent.
    pub pace: Pace,
    /// Seconds before counting begins.
    pub warm_up: f64,
    /// When the round is over.
    pub until: Until,
    /// The process whose CPU time is read with that of its descendants; none where nobody's is.
    pub proxy: Option<u32>,
    /// The proxy's core and the load side's.
    pub cores: (usize, usize),
}

/// A request's parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The path.
    pub path: String,
    /// Header lines besides the usual ones.
    pub headers: Vec<String>,
    /// Bytes of body: with any it is a POST, without it is a GET.
    pub body: usize,
}

/// When the next request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// On the answer to the last: as fast as the proxy answers.
    Saturated,
    /// So many a second, whether or not the proxy keeps up.
    Rate(u32),
}

/// When a round is over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Until {
    /// After so many seconds of counting.
    Seconds(f64),
    /// After `count` requests were answered and `lasting` seconds have passed, whichever is later: for what is counted
    /// rather than timed.
    Requests {
        /// How many requests.
        count: u64,
        /// How many seconds at the least; the connections stay open meanwhile.
        lasting: f64,
    },
}

/// What one round came to. Times are in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Right answers: status 200 and the length asked for.
    pub requests: u64,
    /// Answers with another status or another length.
    pub wrong: u64,
    /// Connections that failed, closed too early or said what could not be understood.
    pub errors: u64,
    /// What went wrong first, if anything did.
    pub first_error: Option<String>,
    /// How long was counted.
    pub elapsed_ns: u64,
    /// CPU time of the proxy, all threads of all its processes.
    pub proxy_ns: u64,
    /// CPU time of the load side.
    pub load_ns: u64,
    /// How long the proxy's core was busy with anything at all, in steps of 10 ms.
    pub proxy_core_ns: u64,
    /// How long the load side had nothing to do. At a fixed rate it looks for work all the time, and this is the time it
    /// found none; saturated it is what its core was idle, in steps of 10 ms.
    pub load_idle_ns: u64,
    /// At a fixed rate, what was asked for; 0 when saturated.
    pub rate: u64,
    /// At a fixed rate, from when a request was to be sent until its answer was whole: the median.
    pub p50_ns: u64,
    /// The same, which 99 of 100 did not exceed.
    pub p99_ns: u64,
    /// The same, which 999 of 1,000 did not exceed.
    pub p999_ns: u64,
    /// Lines that the proxy wrote to its access log, warm-up included; `None` where it keeps none. Counted by the
    /// harness, not by the generator.
    pub logged: Option<u64>,
}

impl Request {
    /// The bytes of the request to `target`.
    pub fn bytes(&self, target: SocketAddr) -> Vec<u8> {
        let (path, method) = (&self.path, if self.body == 0 { "GET" } else { "POST" });
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {target}\r\nuser-agent: loadtest\r\naccept: */*\r\n");
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if self.body > 0 {
            head.push_str(&format!("content-type: application/octet-stream\r\ncontent-length: {}\r\n", self.body));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + self.body, b'x');
        bytes
    }
}

impl Round {
    /// Reads the line that a round is reported with.
    pub fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line.trim())
            .map_err(|error| Failure::new(format!("the load side reported no figures ({error}): `{}`", line.trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_a_whole_head_with_its_headers() {
        let request = Request { path: "/orders/1".into(), headers: vec!["x-api-key: k".into()], body: 0 };
        let expected = "GET /orders/1 HTTP/1.1\r\nhost: 127.0.0.1:80\r\nuser-agent: loadtest\r\naccept: */*\r\n\
                        x-api-key: k\r\n\r\n";
        assert_eq!(String::from_utf8(request.bytes("127.0.0.1:80".parse().unwrap())).unwrap(), expected);
    }

    #[test]
    fn a_post_says_the_length_of_its_body() {
        let request = Request { path: "/".into(), headers: Vec::new(), body: 3 };
        let expected = "POST / HTTP/1.1\r\nhost: 127.0.0.1:80\r\nuser-agent: loadtest\r\naccept: */*\r\n\
                        content-type: application/octet-stream\r\ncontent-length: 3\r\n\r\nxxx";
        assert_eq!(String::from_utf8(request.bytes("127.0.0.1:80".parse().unwrap())).unwrap(), expected);
    }

    #[test]
    fn a_round_survives_its_line() {
        let round = Round { requests: 7, wrong: 1, first_error: Some("x".to_owned()), ..Round::default() };
        let line = serde_json::to_string(&round).unwrap();
        assert_eq!(Round::parse(&format!("{line}\n")), Ok(round));
        assert!(Round::parse("").is_err());
    }
}
