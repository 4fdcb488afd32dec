//! What is known of a client before its request is read, and whether there is room and time for it: free of IO.
//!
//! [`proxy_protocol`] reads what a load balancer says before the first request, [`client`] what proxies say in a head,
//! [`pace`] whether a body comes fast enough; [`admission`] counts connections, memory and files against their bounds, and
//! [`machine`] finds those out at start.

pub mod admission;
pub mod client;
pub mod machine;
pub mod pace;
pub mod proxy_protocol;
