//! REST over the wire: APIs with a contract, routes without one.

mod callers;
mod contract;
mod cors;
mod failing;
mod log;
mod passing;
mod policies;
mod routing;
mod sanitise;
mod upstreams;

use crate::kit::TestGateway;

/// One upstream, and one route to it that takes everything.
const PLAIN: &str = r#"
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    routes: { all: { path: /**, upstream: service } }
"#;

/// A gateway that passes everything on to this upstream.
fn plain(upstream: &str) -> TestGateway {
    TestGateway::with_config(PLAIN).with("upstream", upstream).start()
}
