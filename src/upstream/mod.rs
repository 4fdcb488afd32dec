//! Services behind the gateway: the choice of an endpoint, permits, time-outs and pooled connections.

mod hop;
mod pool;
mod probe;
mod returning;
mod service;
mod wire;

pub use pool::Pools;
pub use probe::HttpProbe;
pub use service::{Endpoint, Service};
