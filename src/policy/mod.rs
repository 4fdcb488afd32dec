//! The policies of this gateway, each one concern in one phase.

mod api_key;
pub mod cors;
mod headers;
mod rate_limit;
mod sanitise;
mod subscription;

pub use api_key::ApiKeys;
pub use cors::Cors;
pub use headers::HeaderRules;
pub use rate_limit::{RateLimits, Scoped};
pub use sanitise::Sanitise;
pub use subscription::Subscribed;
