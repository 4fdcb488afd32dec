//! The gateway: listeners, pipeline, policies, upstream calls, admin and the command line.
//!
//! Read [`gateway`] first: what is started, in which order, and how it ends. [`pipeline`] is the life of a request.

pub mod access_log;
pub mod admin;
pub mod command;
pub mod demo;
pub mod edge;
pub mod gateway;
pub mod listener;
pub mod metrics;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod protocols;
pub mod upstream;
mod wire;

pub use gateway::{Gateway, Options, StartError};
pub use pipeline::Waiting;
