//! HTTP towards upstreams: the request goes on as it came, streaming, under the path the upstream knows.

use std::rc::Rc;
use std::sync::Arc;

use portolan_exchange::protocol::{Answer, Outbound, Upstream};
use portolan_exchange::{Exchange, Fault, FaultKind, LocalBoxFuture, Target, Worker};

/// Passes requests on to a service that speaks HTTP.
pub struct HttpOutbound {
    upstream: Arc<dyn Upstream>,
    path: UpstreamPath,
}

/// What the upstream sees in place of the prefix of its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamPath {
    /// The path as the caller wrote it.
    Unchanged,
    /// This prefix instead: empty, or beginning with a slash and not ending with one.
    Replaced(Arc<str>),
}

impl HttpOutbound {
    /// Calls this upstream.
    pub fn new(upstream: Arc<dyn Upstream>, path: UpstreamPath) -> Self {
        Self { upstream, path }
    }

    /// The target as the upstream sees it, where that is another one; the query stays as it is.
    fn target(&self, prefix: &str, target: &Target) -> Result<Option<Target>, Fault> {
        let UpstreamPath::Replaced(instead) = &self.path else { return Ok(None) };
        // Never passed on as it is: the upstream would be asked for what this route does not lead to.
        let below = target.path().strip_prefix(prefix).ok_or_else(|| {
            Fault::new(FaultKind::BadRequest, "the path does not stand below the prefix of its route")
        })?;
        Ok(Some(match (instead.is_empty(), below.is_empty()) {
            (true, false) => target.with_path(below),
            (true, true) => target.with_path("/"),
            (false, _) => target.with_path(&[instead, below].concat()),
        }))
    }
}

impl std::fmt::Debug for HttpOutbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpOutbound").field("upstream", self.upstream.name()).field("path", &self.path).finish()
    }
}

impl Outbound for HttpOutbound {
    fn protocol(&self) -> &'static str {
        "http"
    }

    fn keeps_deadline(&self) -> bool {
        true
    }

    fn call<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        match self.target(&exchange.route.prefix, &exchange.request.target) {
            Ok(target) => self.upstream.pass(worker, exchange, target),
            Err(fault) => Box::pin(std::future::ready(Err(fault))),
        }
    }
}
