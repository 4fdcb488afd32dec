//! Where a request goes: made at load, shared by all workers, never changed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Inbound, Outbound, Policy};

/// A named, versioned contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Its name.
    pub name: Arc<str>,
    /// Its version, as `v3`; empty for a route without a contract.
    pub version: Arc<str>,
    /// The environment it is served in.
    pub environment: Arc<str>,
}

/// Where a request goes: an API or an upstream, and its policies.
pub struct Route {
    /// Its name in logs, `/routes` and metrics: bounded in number by the configuration.
    pub name: Arc<str>,
    /// Its API; `None` for a route without a contract.
    pub api: Option<Api>,
    /// What is spoken to clients here.
    pub inbound: Arc<dyn Inbound>,
    /// What is spoken to the upstream.
    pub outbound: Arc<dyn Outbound>,
    /// Its policies, in the order they run: by phase, then as the configuration says.
    pub policies: Box<[Arc<dyn Policy>]>,
    /// How long an exchange may take up to the head of its response.
    pub deadline: Duration,
    /// The prefix its API stands under, with no slash at its end; empty at the root.
    pub prefix: Arc<str>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies: Vec<_> = self.policies.iter().map(|policy| policy.name()).collect();
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("api", &self.api)
            .field("inbound", &self.inbound.protocol())
            .field("outbound", &self.outbound.protocol())
            .field("policies", &policies)
            .finish()
    }
}
