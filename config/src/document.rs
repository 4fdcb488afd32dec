//! The configuration as an operator wrote it: every key with its meaning, default and bounds.
//!
//! The doc comments are the descriptions of the JSON Schema and of `docs/configuration.md`: they tell the default's
//! consequence to the operator, not the code's workings to us.

mod api;
mod cors;
mod jwt;
mod limit;
mod listener;
mod people;
mod sanitise;
mod upstream;

use std::net::SocketAddr;

use indexmap::IndexMap;

pub use api::{Api, FirstFrame, GraphQlLimits, GraphQlPair, Operation, Route, Sessions, Validate};
pub use cors::Cors;
pub use jwt::{Algorithm, Jwt, TokenCache, TokenFailures};
pub use limit::{Counts, HeaderEdits, HeaderRules, Per, RateLimit};
pub use listener::{Believed, ExpectContinue, HalfClose, Limits, Listener, ProxyProtocol, Trace};
pub use people::{ApiKey, Consumer, Identity, Key, Plan, Subscription};
pub use sanitise::{ReplaceErrors, Sanitise};
pub use upstream::{Balance, Breaker, Broker, Health, HostSent, Kafka, Pool, Ring, Timeouts, Told, Upstream};

use crate::diagnostic::Diagnostics;
use crate::reader::{Placed, Reader, Setting};
use crate::reference::Env;
use crate::secret::Secret;
use crate::setting::{Listen, LogTo, Named, SecretText, Whole};
use crate::snapshot::{LogTarget, Name};
use crate::table::settings;
use crate::tree::Tree;

/// Entries by name, each with the place of its name.
pub type Entries<T> = IndexMap<Name, Placed<T>>;

settings! {
    /// Everything Portolan is told to do.
    pub struct Document {
        /// Addresses that accept connections; at least one.
        listeners: Entries<Listener> as Named<Listener, 1>, required;
        /// Threads that serve requests. Without it there is one per core; more does not help, fewer leaves cores to
        /// others. A change needs a restart.
        workers: Option<usize> as Whole<usize, 1, 512>, optional;
        /// Bounds of the whole process.
        limits: Limits as Limits, default("{}");
        /// The port for probes, metrics and the state of the gateway.
        admin: Admin as Admin, default("{}");
        /// One line of JSON for each request.
        access_log: AccessLog as AccessLog, default("{}");
        /// Ways to find out who is calling; an API or route names those it takes.
        identity: Entries<Identity> as Named<Identity>, default("{}");
        /// Services that requests are passed on to.
        upstreams: Entries<Upstream> as Named<Upstream>, default("{}");
        /// Brokers that events come from and go to.
        brokers: Entries<Broker> as Named<Broker>, default("{}");
        /// What is published by a contract: OpenAPI, GraphQL or AsyncAPI.
        apis: Entries<Api> as Named<Api>, default("{}");
        /// What is passed on without a contract.
        routes: Entries<Route> as Named<Route>, default("{}");
        /// Who may call, with which keys, and what they have subscribed to.
        consumers: Entries<Consumer> as Named<Consumer>, default("{}");
        /// What a subscription is entitled to.
        plans: Entries<Plan> as Named<Plan>, default("{}");
    }

    /// The port for probes, metrics and the state of the gateway.
    pub struct Admin {
        /// IP address and port. It must not be reachable for clients; beyond loopback a token is required.
        address: Placed<SocketAddr> as Placed<Listen>, default("127.0.0.1:9901");
        /// What callers must show as `Authorization: Bearer …`. On loopback it may be absent.
        token: Option<Secret> as SecretText, optional;
    }

    /// One line of JSON for each request.
    pub struct AccessLog {
        /// `stdout`, `off`, or a file that is appended to; a relative path starts at the configuration's folder.
        to: LogTarget as LogTo, default("stdout");
        /// Lines that may wait to be written. Those beyond are dropped and counted, because no request waits for a log.
        queue: usize as Whole<usize, 16, 1_000_000>, default("8192");
    }
}

/// Reads a tree as a document. Where something was told, parts of the document are stand-ins.
pub(crate) fn read(tree: &Tree, env: &Env<'_>) -> (Document, Diagnostics) {
    let mut reader = Reader::new(tree.file().clone(), env);
    reader.declare(tree.root(), &["upstreams", "brokers", "identity", "plans", "apis", "consumers"]);
    let document = Document::read(tree.root(), &mut reader).unwrap_or_else(Document::blank);
    (document, reader.finish())
}
