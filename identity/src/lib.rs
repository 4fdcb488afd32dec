//! Verifies what callers show: JSON Web Tokens (RFC 7519) signed by RS256 or ES256 (RFC 7518, section 3), and the JSON Web
//! Key Sets (RFC 7517) they are signed with.
//!
//! Read in this order: [`token`] takes a token apart, [`verifier`] judges it, [`key_set`] reads the keys, [`cache`] remembers
//! what was verified. Nothing here reads a clock, a file or a socket: the time is an argument, and so are the keys.
//!
//! The compact form and the two algorithms are our own reading over aws-lc-rs, some hundred lines, because what a library
//! for tokens leaves to its user is what matters here: members that stand twice are refused, a key belongs to one algorithm,
//! all that is cheap is judged before the signature, and every bound is written down.

pub mod cache;
pub mod key_set;
pub mod refusal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod token;
pub mod verifier;

pub use cache::{Bounds, Cache};
pub use key_set::{Algorithm, KeySet, Note};
pub use refusal::Refusal;
pub use token::Token;
pub use verifier::{Examined, Rules, Verified, Verifier};
