//! Services behind the gateway: the choice of an endpoint, permits, time-outs and pooled connections.

mod attempt;
mod call;
mod caller;
mod endpoint;
mod hop;
mod idle;
mod place;
mod pool;
mod probe;
mod returning;
mod seats;
mod service;
mod through;
mod upload;

pub use endpoint::Endpoint;
pub use pool::Pools;
pub use probe::HttpProbe;
pub use service::Service;
