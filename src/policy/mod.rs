//! The policies of this gateway, each one concern in one phase.

mod api_key;
mod authenticate;
pub mod cors;
mod headers;
pub mod jwt;
mod memory;
mod rate_limit;
mod sanitise;
mod sole;
mod subscription;

pub use api_key::KeySource;
pub use authenticate::{Authenticate, Source};
pub use cors::Cors;
pub use headers::HeaderRules;
pub use rate_limit::{RateLimits, Scoped};
pub use sanitise::Sanitise;
pub use subscription::Subscribed;
