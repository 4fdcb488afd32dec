//! What is measured: a load, and which proxy meets it beside which other.

use crate::load::{Pace, Request};
use crate::peers::portolan::{KEY, ORIGIN, Policies, TOKEN};

/// What the generator does, and what the upstream has to say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The first part of the scenarios' names.
    pub name: &'static str,
    /// Keep-alive connections, each with at most one request under way.
    pub connections: usize,
    /// The path of every request.
    pub path: &'static str,
    /// When the next request is sent.
    pub pace: Pace,
    /// Bytes of body of each request: with any it is a POST.
    pub body: usize,
    /// Bytes of body of each answer.
    pub answer: usize,
}

/// Who is compared with nginx under a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The gateway.
    Portolan(Policies),
    /// A second nginx: whatever differs from 1 is noise.
    NginxItself,
    /// haproxy, bare.
    Haproxy,
    /// envoy, bare.
    Envoy,
}

/// One line of the results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scenario {
    /// CPU per request beside nginx, and at a fixed rate the latencies too.
    Load(Load, Subject),
    /// CPU per request with 10,000 routes beside 10.
    Routes,
    /// Memory of idle connections beside nginx.
    Idle(Policies),
    /// CPU per message to many WebSockets beside a bare loop of writes.
    FanOut,
    /// Instructions and system calls per request, of the gateway or of nginx.
    Cost(Load, Subject),
}

/// What a small REST resource has.
const SMALL: usize = 69;
const KIB: usize = 1024;

/// 64 connections keep one core busy and its wake-ups batched, on either proxy.
pub const SMALL_GET: Load =
    Load { name: "small-get", connections: 64, path: "/orders/1", pace: Pace::Saturated, body: 0, answer: SMALL };
/// At a rate that every peer can take on one core. In between it sleeps and wakes, as gateways do most of the time.
pub const SMALL_GET_20K: Load = Load { name: "small-get-20k", pace: Pace::Rate(20_000), ..SMALL_GET };
/// Many connections of which each is rarely heard: caches are cold.
const SMALL_GET_1K: Load = Load { name: "small-get-1k", connections: 1_000, ..SMALL_GET };
const SMALL_GET_1K_20K: Load = Load { name: "small-get-1k-20k", pace: Pace::Rate(20_000), ..SMALL_GET_1K };
/// An answer that fills most of a 16 KiB buffer.
pub const GET_10K: Load = Load { name: "get-10k", answer: 10 * KIB, ..SMALL_GET };
const GET_10K_15K: Load = Load { name: "get-10k-15k", pace: Pace::Rate(15_000), ..GET_10K };
/// A body that comes in one piece with its head. For counting only: the larger one comes in as many as the moment wills.
const POST_1K: Load = Load { name: "post-1k", body: KIB, ..SMALL_GET };
/// A body that takes several reads and writes.
pub const POST_64K: Load = Load { name: "post-64k", body: 64 * KIB, ..SMALL_GET };
const POST_64K_5K: Load = Load { name: "post-64k-5k", pace: Pace::Rate(5_000), ..POST_64K };

/// Saturated loads, and each at a rate too that all peers keep.
const LOADS: [Load; 8] =
    [SMALL_GET, SMALL_GET_20K, SMALL_GET_1K, SMALL_GET_1K_20K, GET_10K, GET_10K_15K, POST_64K, POST_64K_5K];

/// How many routes stand beside how few.
pub const ROUTES: (usize, usize) = (10_000, 10);

/// All scenarios, in the order of the results.
pub fn all() -> Vec<Scenario> {
    const SUBJECTS: [Subject; 5] = [
        Subject::Portolan(Policies::Off),
        Subject::Portolan(Policies::Key),
        Subject::NginxItself,
        Subject::Haproxy,
        Subject::Envoy,
    ];
    // Where the credential is all that differs, one load tells.
    let token = Subject::Portolan(Policies::Token);
    let mut scenarios = Vec::new();
    for load in LOADS {
        scenarios.extend(SUBJECTS.map(|subject| Scenario::Load(load, subject)));
        if load == SMALL_GET {
            scenarios.insert(2, Scenario::Load(load, token));
        }
    }
    scenarios.extend([
        Scenario::Routes,
        Scenario::Idle(Policies::Off),
        Scenario::Idle(Policies::Key),
        Scenario::FanOut,
    ]);
    scenarios.extend(COUNTED.map(|(load, policies)| Scenario::Cost(load, Subject::Portolan(policies))));
    for load in [SMALL_GET, GET_10K, POST_1K] {
        scenarios.extend([Subject::NginxItself, Subject::Haproxy].map(|subject| Scenario::Cost(load, subject)));
    }
    scenarios
}

/// What the gates count: loads in which every request takes the same steps.
pub const COUNTED: [(Load, Policies); 5] = [
    (SMALL_GET, Policies::Off),
    (SMALL_GET, Policies::Key),
    (SMALL_GET, Policies::Token),
    (GET_10K, Policies::Off),
    (POST_1K, Policies::Off),
];

/// Those of `--quick`: the figures to reach, without the further peers, and of the noise only what a figure is held against.
pub fn quick() -> Vec<Scenario> {
    let to_reach = |scenario: &Scenario| match scenario {
        Scenario::Load(load, subject) => {
            let named = ["small-get", "small-get-20k", "small-get-1k", "get-10k", "post-64k"];
            match subject {
                Subject::Portolan(_) => named.contains(&load.name),
                // What a 99th percentile may be depends on how far nginx's own lie apart.
                Subject::NginxItself => *load == SMALL_GET_20K,
                Subject::Haproxy | Subject::Envoy => false,
            }
        }
        Scenario::Cost(_, subject) => matches!(subject, Subject::Portolan(_)),
        Scenario::Routes | Scenario::Idle(_) | Scenario::FanOut => true,
    };
    all().into_iter().filter(to_reach).collect()
}

impl Scenario {
    /// `load/subject`, as printed.
    pub fn name(&self) -> String {
        let variant = |policies: &Policies| Subject::Portolan(*policies).variant();
        match self {
            Self::Load(load, subject) => format!("{}/{}", load.name, subject.variant()),
            Self::Routes => "routes/plain".to_owned(),
            Self::Idle(policies) => format!("idle/{}", variant(policies)),
            Self::FanOut => "fan-out/plain".to_owned(),
            Self::Cost(load, Subject::NginxItself) => format!("cost-{}/nginx", load.name),
            Self::Cost(load, subject) => format!("cost-{}/{}", load.name, subject.variant()),
        }
    }

    /// Whether `--only name` means it: its whole name, or the part before the stroke.
    pub fn is_named(&self, name: &str) -> bool {
        let own = self.name();
        own == name || own.split('/').next() == Some(name)
    }

    /// Whether it needs the gateway.
    pub fn needs_portolan(&self) -> bool {
        match self {
            Self::Load(_, subject) | Self::Cost(_, subject) => matches!(subject, Subject::Portolan(_)),
            Self::Routes | Self::Idle(_) | Self::FanOut => true,
        }
    }
}

impl Load {
    /// What every request is: where `policies` are on, with the credentials that the gateway asks for and the origin that a
    /// browser tells. A peer gets the same request as the gateway it is compared with.
    pub fn request(&self, policies: Policies) -> Request {
        let headers = match policies {
            Policies::Off => Vec::new(),
            Policies::Key => vec![format!("x-api-key: {KEY}"), format!("origin: {ORIGIN}")],
            Policies::Token => vec![format!("authorization: Bearer {TOKEN}"), format!("origin: {ORIGIN}")],
        };
        Request { path: self.path.to_owned(), headers, body: self.body }
    }
}

impl Subject {
    /// The second part of the scenarios' names.
    pub fn variant(&self) -> &'static str {
        match self {
            Self::Portolan(Policies::Off) => "plain",
            Self::Portolan(Policies::Key) => "policies",
            Self::Portolan(Policies::Token) => "policies-token",
            Self::NginxItself => "nginx-itself",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// What the requests must carry.
    pub fn policies(&self) -> Policies {
        match self {
            Self::Portolan(policies) => *policies,
            Self::NginxItself | Self::Haproxy | Self::Envoy => Policies::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scenarios: &[Scenario]) -> Vec<String> {
        scenarios.iter().map(Scenario::name).collect()
    }

    #[test]
    fn names_are_told_apart_and_every_figure_to_reach_has_one() {
        let names = names(&all());
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        for load in ["small-get", "small-get-20k", "small-get-1k", "get-10k", "post-64k", "idle"] {
            for variant in ["plain", "policies"] {
                assert!(names.contains(&format!("{load}/{variant}")), "{load}/{variant}");
            }
        }
        assert!(names.contains(&"routes/plain".to_owned()) && names.contains(&"fan-out/plain".to_owned()));
    }

    #[test]
    fn the_quick_form_has_the_figures_to_reach_alone() {
        let names = names(&quick());
        assert!(names.contains(&"small-get-1k/policies".to_owned()), "{names:?}");
        let noise: Vec<&String> = names.iter().filter(|name| name.ends_with("/nginx-itself")).collect();
        assert_eq!(noise, ["small-get-20k/nginx-itself"]);
        assert!(!names.iter().any(|name| name.ends_with("/envoy") || name.ends_with("/haproxy")), "{names:?}");
    }

    #[test]
    fn a_scenario_is_named_whole_or_by_its_load() {
        let scenario = Scenario::Load(SMALL_GET, Subject::Portolan(Policies::Key));
        assert!(scenario.is_named("small-get") && scenario.is_named("small-get/policies"));
        assert!(!scenario.is_named("small-get/plain") && !scenario.is_named("small"));
    }
}
