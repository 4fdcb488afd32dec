//! What is measured: a load, and which proxy meets it beside nginx.

use crate::peers::portolan::{KEY, Policies};

/// One line of the results.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// `load/configuration`, as printed.
    pub name: &'static str,
    /// What the generator does.
    pub load: Load,
    /// Who is compared with nginx.
    pub subject: Subject,
}

/// A closed loop over keep-alive connections, as fast as the proxy answers.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections, each with one request under way.
    pub connections: usize,
    /// The path of every GET.
    pub path: &'static str,
    /// Which headers the requests carry, to both proxies alike.
    pub credential: Credential,
}

/// What a request proves itself with.
#[derive(Debug, Clone, Copy)]
pub enum Credential {
    /// Nothing.
    None,
    /// The API key that Portolan is configured with; nginx passes it on as any header.
    ApiKey,
}

/// The proxy whose figure stands above the line of the ratio.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// The gateway.
    Portolan(Policies),
    /// A second nginx: whatever differs from 1 is noise.
    Nginx,
}

/// 64 connections keep one core busy and its wake-ups batched, on either proxy.
const SMALL_GET: Load = Load { connections: 64, path: "/orders/1", credential: Credential::None };

/// All scenarios, in the order of the results.
pub const ALL: [Scenario; 3] = [
    Scenario { name: "small-get/plain", load: SMALL_GET, subject: Subject::Portolan(Policies::Off) },
    Scenario {
        name: "small-get/policies",
        load: Load { credential: Credential::ApiKey, ..SMALL_GET },
        subject: Subject::Portolan(Policies::On),
    },
    Scenario { name: "small-get/nginx-itself", load: SMALL_GET, subject: Subject::Nginx },
];

impl Load {
    /// The header lines of every request besides the usual ones.
    pub fn headers(&self) -> Vec<String> {
        match self.credential {
            Credential::None => Vec::new(),
            Credential::ApiKey => vec![format!("x-api-key: {KEY}")],
        }
    }
}

impl Subject {
    /// The name that its figures are printed under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Portolan(_) => "portolan",
            Self::Nginx => "nginx2",
        }
    }
}
