//! One exchange on its way: through the phases, past policies of a test's own that panic, wait, gather or answer, and to its one end.

mod cancelling;
mod children;
mod errands;
mod http2;
mod log;
mod lying;
mod order;
mod panics;
mod scout;
mod waiting;

use crate::kit::TestGateway;
use crate::kit::gateway::Setup;
use scout::Scout;

/// One worker, one upstream, and one route to it that takes everything. What an exchange loses, its neighbours would feel.
const PLAIN: &str = r#"
    workers: 1
    upstreams: { service: { endpoints: [ "{upstream}" ] } }
    routes: { all: { path: /**, upstream: service, deadline: 10s } }
"#;

/// A gateway that passes everything on to this upstream, with scouts on its way.
fn plain(upstream: &str, scouts: impl IntoIterator<Item = Scout>) -> TestGateway {
    with_scouts(TestGateway::with_config(PLAIN).with("upstream", upstream), scouts).start()
}

fn with_scouts(setup: Setup, scouts: impl IntoIterator<Item = Scout>) -> Setup {
    scouts.into_iter().fold(setup, Setup::policy)
}
