//! One scenario from its start to its finding: proxies side by side, rounds in turns.

use std::path::Path;

use crate::cost::{self, Costs};
use crate::failure::{Failure, Result, While};
use crate::fanout::{self, FanOut};
use crate::idle::{self, Memory};
use crate::outcome::{Outcome, Pair};
use crate::peers::portolan::{Gateway, Policies};
use crate::peers::{Proxy, Site, envoy, find, haproxy, nginx};
use crate::rounds::LoadSide;
use crate::scenario::{Load, ROUTES, SMALL_GET, Scenario, Subject};

/// Seconds of a round that is thrown away, before a scenario's first pair.
const FIRST_ROUND: f64 = 0.5;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Pairs of rounds.
    pub pairs: u16,
    /// Pairs with the further peers, and of what drifts little.
    pub few: u16,
    /// Seconds that each round counts.
    pub seconds: f64,
}

/// What a scenario came to.
#[derive(Debug, Clone)]
pub enum Finding {
    /// CPU per request, and latencies at a fixed rate.
    Load(Outcome),
    /// Bytes per idle connection.
    Memory(Memory),
    /// CPU per message.
    FanOut(FanOut),
    /// Instructions and system calls per request.
    Cost(Costs),
    /// Nothing: the peer or a tool is not there.
    Absent {
        /// The scenario's name.
        name: String,
        /// What is missing.
        missing: &'static str,
    },
    /// Nothing: it came to no figure.
    Failed {
        /// The scenario's name.
        name: String,
        /// Why.
        failure: Failure,
    },
}

/// A proxy that can be started, again and again.
pub enum Start<'a> {
    /// A gateway.
    Portolan(&'a Gateway),
    /// nginx, under this name.
    Nginx(&'static str),
    /// haproxy.
    Haproxy,
    /// envoy.
    Envoy,
}

impl Finding {
    /// The one line on standard output.
    pub fn line(&self) -> String {
        match self {
            Self::Load(outcome) => outcome.line(),
            Self::Memory(memory) => memory.line(),
            Self::FanOut(fan_out) => fan_out.line(),
            Self::Cost(costs) => costs.line(),
            Self::Absent { name, missing } => format!("{name} absent={missing}"),
            Self::Failed { name, failure } => format!("{name} failed: {}", failure.headline()),
        }
    }

    /// What went wrong first, if anything did.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Load(outcome) => outcome.trouble(),
            Self::Failed { name, failure } => Some(format!("{name}: {failure}")),
            Self::Memory(_) | Self::FanOut(_) | Self::Cost(_) | Self::Absent { .. } => None,
        }
    }
}

impl Start<'_> {
    /// Starts it and waits until it passes on a request.
    pub fn start(&self, site: &Site<'_>) -> Result<Proxy> {
        match self {
            Self::Portolan(gateway) => gateway.start(site),
            Self::Nginx(name) => nginx::start(name, site),
            Self::Haproxy => haproxy::start(site),
            Self::Envoy => envoy::start(site),
        }
    }

    /// The name that its figures are printed under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Portolan(gateway) => gateway.name,
            Self::Nginx(name) => name,
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Which credentials it asks for.
    pub fn policies(&self) -> Policies {
        match self {
            Self::Portolan(gateway) => gateway.policies,
            Self::Nginx(_) | Self::Haproxy | Self::Envoy => Policies::Off,
        }
    }
}

/// Everything that the scenarios of a run share.
pub struct Bench<'a> {
    /// The gateway's binary, where a scenario needs one.
    pub binary: Option<&'a Path>,
    /// How much is measured.
    pub extent: Extent,
    /// For the files of all processes.
    pub folder: &'a Path,
}

impl Bench<'_> {
    /// Measures one scenario. One that fails must not cost the others their figures.
    pub fn measure(&self, scenario: &Scenario) -> Finding {
        self.figure(scenario).unwrap_or_else(|failure| Finding::Failed { name: scenario.name(), failure })
    }

    fn figure(&self, scenario: &Scenario) -> Result<Finding> {
        let name = scenario.name();
        if let Some(missing) = missing(scenario) {
            return Ok(Finding::Absent { name, missing });
        }
        let folder = self.folder.join(name.replace('/', "-"));
        std::fs::create_dir_all(&folder).while_doing("cannot make a folder for a scenario")?;
        match scenario {
            Scenario::Load(load, subject) => {
                let gateway = self.gateway(subject.policies(), "portolan", 1);
                let (subject, pairs) = match subject {
                    Subject::Portolan(_) => (Start::Portolan(&gateway), self.extent.pairs),
                    Subject::NginxItself => (Start::Nginx("nginx2"), self.extent.pairs),
                    Subject::Haproxy => (Start::Haproxy, self.extent.few),
                    Subject::Envoy => (Start::Envoy, self.extent.few),
                };
                self.turns(name, *load, [&subject, &Start::Nginx("nginx")], pairs, &folder).map(Finding::Load)
            }
            Scenario::Routes => {
                let (many, few) = ROUTES;
                let many = self.gateway(Policies::Off, "many", many);
                let few = self.gateway(Policies::Off, "few", few);
                // Both have this route among the rest.
                let load = Load { path: "/shelf-5/5/x", ..SMALL_GET };
                let proxies = [&Start::Portolan(&many), &Start::Portolan(&few)];
                self.turns(name, load, proxies, self.extent.pairs, &folder).map(Finding::Load)
            }
            Scenario::Idle(policies) => self.idle(name, *policies, &folder).map(Finding::Memory),
            Scenario::FanOut => self.fan_out(name, &folder).map(Finding::FanOut),
            Scenario::Cost(load, subject) => {
                let gateway = self.gateway(subject.policies(), "portolan", 1);
                let start = match subject {
                    Subject::Portolan(_) => Start::Portolan(&gateway),
                    Subject::NginxItself => Start::Nginx("nginx"),
                    Subject::Haproxy => Start::Haproxy,
                    Subject::Envoy => Start::Envoy,
                };
                let cost = cost::cost(*load, &start, &folder)?;
                Ok(Finding::Cost(Costs { name, subject: start.name(), cost }))
            }
        }
    }

    fn gateway(&self, policies: Policies, name: &'static str, routes: usize) -> Gateway {
        let binary = self.binary.map(Path::to_owned).unwrap_or_default();
        Gateway { name, binary, policies, routes }
    }

    /// Rounds of both in turns: A B A B.
    fn turns(&self, name: String, load: Load, proxies: [&Start<'_>; 2], pairs: u16, folder: &Path) -> Result<Outcome> {
        let mut side = LoadSide::start(load, folder)?;
        let policies = proxies[0].policies();
        let place = |start: &Start<'_>| side.place(policies, folder, &[], |site| start.start(site));
        let (subject, baseline) = (place(proxies[0])?, place(proxies[1])?);
        for proxy in [&subject, &baseline] {
            side.round(proxy, policies, FIRST_ROUND)?;
        }
        let mut outcome =
            Outcome { name, subject: subject.name, baseline: baseline.name, pairs: Vec::with_capacity(pairs.into()) };
        for turn in 1..=pairs {
            let pair = Pair {
                subject: side.round(&subject, policies, self.extent.seconds)?,
                baseline: side.round(&baseline, policies, self.extent.seconds)?,
            };
            crate::say(&format!("{} {turn}/{pairs}: {}", outcome.name, pair.told(subject.name, baseline.name)));
            outcome.pairs.push(pair);
        }
        Ok(outcome)
    }

    /// Fresh processes each time: memory that was given back and kept would hide the growth.
    fn idle(&self, name: String, policies: Policies, folder: &Path) -> Result<Memory> {
        let gateway = self.gateway(policies, "portolan", 1);
        let mut memory = Memory { name, pairs: Vec::new() };
        for turn in 1..=self.extent.few {
            let grow = |start: &Start<'_>| {
                let side = LoadSide::start(SMALL_GET, folder)?;
                let proxy = side.place(policies, folder, &[], |site| start.start(site))?;
                idle::grow(&proxy, &SMALL_GET.request(policies), folder)
            };
            let pair = (grow(&Start::Portolan(&gateway))?, grow(&Start::Nginx("nginx"))?);
            let (few, (subject, nginx)) = (self.extent.few, pair);
            crate::say(&format!("{} {turn}/{few}: portolan {subject:.0} bytes, nginx {nginx:.0}", memory.name));
            memory.pairs.push(pair);
        }
        Ok(memory)
    }

    fn fan_out(&self, name: String, folder: &Path) -> Result<FanOut> {
        let binary = self.binary.ok_or_else(|| Failure::new("fan-out needs the gateway"))?;
        let stage = fanout::Stage::start(binary, folder)?;
        let mut fan_out = FanOut { name, pairs: Vec::new() };
        for turn in 1..=self.extent.pairs {
            let gateway = stage.round(self.extent.seconds, folder)?;
            let bare = fanout::bare_round(self.extent.seconds, &gateway, folder)?;
            let (pairs, name) = (self.extent.pairs, &fan_out.name);
            crate::say(&format!(
                "{name} {turn}/{pairs}: portolan {:.2} us, bare loop {:.2} us, {} messages of {} bytes to each socket",
                gateway.micros(),
                bare.micros(),
                gateway.messages,
                gateway.frame,
            ));
            fan_out.pairs.push((gateway, bare));
        }
        Ok(fan_out)
    }
}

/// What has to be installed for a scenario and is not there. nginx and the gateway are no option.
fn missing(scenario: &Scenario) -> Option<&'static str> {
    let needed: &[&'static str] = match scenario {
        Scenario::Load(_, Subject::Haproxy) => &["haproxy"],
        Scenario::Load(_, Subject::Envoy) => &["envoy"],
        Scenario::Cost(_, Subject::Haproxy) => &["valgrind", "haproxy"],
        Scenario::Cost(..) => &["valgrind"],
        Scenario::Load(..) | Scenario::Routes | Scenario::Idle(_) | Scenario::FanOut => &[],
    };
    needed.iter().copied().find(|program| find(program).is_none())
}
