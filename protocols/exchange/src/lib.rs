//! The core types every protocol, policy and actor meets at.
//!
//! Read in this order: [`message`] (heads and bodies), [`exchange`] (one operation on its way), [`policy`] and
//! [`protocol`] (the traits by which the rest meet), [`worker`] (what is per core).

pub mod body;
pub mod client;
pub mod clock;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod events;
pub mod exchange;
pub mod fault;
pub mod fields;
pub mod identity;
pub mod limits;
pub mod message;
pub mod operation;
pub mod policy;
pub mod protocol;
pub mod route;
pub mod sessions;
pub mod upgrade;
pub mod value;
pub mod words;
pub mod worker;

pub use body::{Body, BodyError, BodyStream, Frame, Size};
pub use client::Client;
pub use clock::{Clock, Moment};
pub use exchange::Exchange;
pub use fault::{Class, Fault, FaultKind};
pub use fields::Fields;
pub use identity::{Identity, Subscription};
pub use message::{Method, Request, Response, Target, Version};
pub use operation::{Kind, Operation};
pub use policy::{Outcome, Phase, Policy, Step};
pub use protocol::{Answer, Content, Described, Inbound, Outbound, Reply, Upstream};
pub use route::{Api, Route};
pub use worker::Worker;

/// A future that stays on its worker.
pub type LocalBoxFuture<'a, T> = futures_util::future::LocalBoxFuture<'a, T>;
