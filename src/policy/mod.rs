//! The policies of this gateway, each one concern in one phase.

mod api_key;
mod headers;
mod rate_limit;
mod subscription;

pub use api_key::ApiKeys;
pub use headers::HeaderRules;
pub use rate_limit::{RateLimits, Scoped};
pub use subscription::Subscribed;
