//! Services behind the gateway: the choice of an endpoint, permits, time-outs and pooled connections.

mod call;
mod hop;
mod idle;
mod pool;
mod probe;
mod returning;
mod service;
mod through;
mod upload;

pub use pool::Pools;
pub use probe::HttpProbe;
pub use service::{Endpoint, Service};
