//! What the gateway is made of: names resolved, files read, every rule checked.
//!
//! A snapshot is plain data that is never changed: it is put behind an `Arc`, compared with the next one
//! ([`crate::diff`]) and made runnable by others.

mod cidr;
mod cors;
mod jwt;
mod listener;
mod sanitise;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indexmap::{IndexMap, IndexSet};

pub use crate::document::{
    Balance, Believed, Breaker, Counts, ExpectContinue, FirstFrame, GraphQlLimits, HalfClose, HeaderEdits, HeaderRules,
    Health, HostSent, Kafka, Limits, Per, Pool, ProxyProtocol, ReplaceErrors, Ring, Sessions, Timeouts, Told, Trace,
    Validate,
};
pub use cidr::Cidr;
pub use cors::{Cors, Origin};
pub use jwt::{Algorithm, Jwt, TokenCache, TokenFailures};
pub use listener::Listener;
pub use sanitise::{HeaderPattern, Sanitise};

use crate::diagnostic::{Diagnostics, Place};
use crate::secret::Secret;

/// A name an operator gave.
pub type Name = Arc<str>;

/// The whole configuration, resolved and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The file it was read from.
    pub file: PathBuf,
    /// Addresses that accept connections, in the order they were written.
    pub listeners: IndexMap<Name, Arc<Listener>>,
    /// How many workers to run; one per core when absent.
    pub workers: Option<usize>,
    /// Bounds of the whole process.
    pub limits: Limits,
    /// The admin port.
    pub admin: Admin,
    /// Where access-log lines go.
    pub access_log: AccessLog,
    /// Ways to find out who is calling.
    pub identities: IndexMap<Name, Arc<Identity>>,
    /// Services.
    pub upstreams: IndexMap<Name, Arc<Upstream>>,
    /// Brokers of events.
    pub brokers: IndexMap<Name, Arc<Broker>>,
    /// Named, versioned contracts.
    pub apis: IndexMap<Name, Arc<Api>>,
    /// What has no contract.
    pub routes: IndexMap<Name, Arc<Route>>,
    /// Who may call.
    pub consumers: IndexMap<Name, Arc<Consumer>>,
    /// What subscriptions are entitled to.
    pub plans: IndexMap<Name, Arc<Plan>>,
    /// One entry per consumer, API, version and environment, `*` already spread over all APIs: what a look-up is
    /// built from.
    pub subscriptions: Vec<Subscription>,
    /// What is allowed but probably not meant; `check` prints it.
    pub warnings: Diagnostics,
}

impl Snapshot {
    /// Every file whose change makes this snapshot stale: the configuration, then each contract and key set once.
    pub fn files(&self) -> Vec<PathBuf> {
        let contracts = self.apis.values().map(|api| &api.kind.source().path);
        let key_sets = self.identities.values().filter_map(|identity| match &identity.kind {
            IdentityKind::Jwt(jwt) => Some(&jwt.jwks.path),
            IdentityKind::ApiKey(_) => None,
        });
        let files: IndexSet<&PathBuf> = std::iter::once(&self.file).chain(contracts).chain(key_sets).collect();
        files.into_iter().cloned().collect()
    }
}

/// The admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What callers must show; always there unless the address is loopback.
    pub token: Option<Secret>,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub to: LogTarget,
    /// Lines that may wait to be written; those beyond are dropped and counted.
    pub queue: usize,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// Appended to a file, relative paths already joined to the configuration's folder.
    File(PathBuf),
}

/// A way to find out who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// How it works.
    pub kind: IdentityKind,
}

/// The ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityKind {
    /// A key that the caller shows.
    ApiKey(ApiKey),
    /// A token that an issuer signed.
    Jwt(Jwt),
}

/// Keys, stored as HMAC-SHA-256(pepper, key).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Where the key stands in a request.
    pub location: KeyLocation,
    /// The secret under which keys are hashed.
    pub pepper: Secret,
}

/// Where a key stands in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// In a header, its name in lowercase.
    Header(String),
    /// In a parameter of the query.
    Query(String),
    /// In a cookie.
    Cookie(String),
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: Name,
    /// Its addresses, at least one, none twice.
    pub endpoints: Vec<Endpoint>,
    /// How calls are spread over them.
    pub balance: Balance,
    /// How to find out which of them work; without it all are taken to work.
    pub health: Option<Health>,
    /// When to stop calling; absent means `off`.
    pub breaker: Option<Breaker>,
    /// How long each step of a call may take.
    pub timeouts: Timeouts,
    /// Connections kept and opened.
    pub pool: Pool,
    /// Which `Host` it sees.
    pub host: HostSent,
    /// Which headers tell it of the client.
    pub forwarded: Told,
}

/// One address of a service, called over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// Port; 80 where the URL names none.
    pub port: u16,
}

impl Endpoint {
    /// `host:port` as a `Host` header has it (RFC 9110, section 7.2), IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// A broker of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its name.
    pub name: Name,
    /// What it speaks.
    pub kind: BrokerKind,
}

/// What a broker speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerKind {
    /// Apache Kafka's protocol.
    Kafka(Kafka),
}

/// A named, versioned contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Its name.
    pub name: Name,
    /// Its version, such as `v3`.
    pub version: Name,
    /// The prefix below which it is found: begins with `/`, does not end with it unless it is `/` itself.
    pub path: String,
    /// The host it is found under, in lowercase, `*.` first for any one label; any host when absent.
    pub host: Option<String>,
    /// The contract and what is particular to it.
    pub kind: ApiKind,
    /// Who is let in: a caller known to one of these; empty means everyone.
    pub authenticate: Vec<Arc<Identity>>,
    /// Limits of every operation; all of them count.
    pub rate_limits: Vec<RateLimit>,
    /// Changes to heads on their way.
    pub headers: HeaderRules,
    /// Which pages of other origins may call; absent leaves it to the listener, or else to the upstream.
    pub cors: Option<Cors>,
    /// What of an upstream's answers is kept from callers; absent means nothing.
    pub sanitise: Option<Sanitise>,
    /// Bytes of a body that is gathered, because it is checked or translated.
    pub max_body: usize,
    /// How long an operation may take, up to the head of the answer.
    pub deadline: Duration,
    /// Where it is written.
    pub place: Place,
}

/// The contract of an API and what is particular to its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiKind {
    /// REST.
    OpenApi(OpenApi),
    /// GraphQL.
    GraphQl(GraphQl),
    /// Events.
    AsyncApi(AsyncApi),
}

impl ApiKind {
    /// The contract document.
    pub fn source(&self) -> &Arc<Source> {
        match self {
            ApiKind::OpenApi(api) => &api.source,
            ApiKind::GraphQl(api) => &api.source,
            ApiKind::AsyncApi(api) => &api.source,
        }
    }
}

/// A contract document as read from disk.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was read, joined to the configuration's folder.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl Source {
    /// A place in it; line and column 0 mean that they are not known.
    pub fn place(&self, line: u32, column: u32, path: impl AsRef<str>) -> Place {
        Place::new(&self.path, line, column, path)
    }
}

impl std::fmt::Debug for Source {
    /// The length stands for the text, which may be a megabyte.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({}, {} bytes)", Path::display(&self.path), self.text.len())
    }
}

/// A REST API.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenApi {
    /// The OpenAPI document.
    pub source: Arc<Source>,
    /// Who serves it, save the operations that name another.
    pub upstream: Arc<Upstream>,
    /// Whether requests are checked against the document.
    pub validate: Validate,
    /// What the upstream sees in place of [`Api::path`].
    pub upstream_path: UpstreamPath,
    /// What is said of single operations, by operation id; whether the document has them is for its reader to tell.
    pub operations: IndexMap<Name, OperationRules>,
}

/// What an upstream sees in place of an API's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamPath {
    /// The path as the caller wrote it.
    Unchanged,
    /// This prefix instead: empty, or begins with `/` and does not end with it.
    Replaced(String),
}

/// What is said of one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRules {
    /// Limits besides the API's; all of them count.
    pub rate_limits: Vec<RateLimit>,
    /// Changes to heads, after the API's.
    pub headers: HeaderRules,
    /// A GraphQL upstream that serves it instead.
    pub graphql: Option<GraphQlPair>,
    /// Where it is written.
    pub place: Place,
}

/// A REST operation answered by a GraphQL upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphQlPair {
    /// Who answers.
    pub upstream: Arc<Upstream>,
    /// Path to `POST` to.
    pub path: String,
    /// The GraphQL document; the operation's parameters and body are its variables.
    pub document: String,
    /// JSON pointer (RFC 6901) into `data` of what becomes the answer; empty for all of it.
    pub result: String,
    /// Where the document is written.
    pub place: Place,
}

/// A GraphQL API.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphQl {
    /// The schema, as SDL.
    pub source: Arc<Source>,
    /// Who serves it.
    pub upstream: Arc<Upstream>,
    /// Path to `POST` to.
    pub upstream_path: String,
    /// What a document may ask for.
    pub limits: GraphQlLimits,
}

/// An API of events.
#[derive(Debug, Clone, PartialEq)]
pub struct AsyncApi {
    /// The AsyncAPI document.
    pub source: Arc<Source>,
    /// Who carries them.
    pub broker: Arc<Broker>,
    /// Bounds of a client's session.
    pub sessions: Sessions,
}

/// What has no contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name.
    pub name: Name,
    /// The host, in lowercase, `*.` first for any one label; any host when absent.
    pub host: Option<String>,
    /// The path: literal segments, `{name}` for one segment, `/**` at the end for all below and the path itself.
    pub path: String,
    /// The methods, in upper case; all when empty.
    pub methods: Vec<String>,
    /// Who serves it.
    pub upstream: Arc<Upstream>,
    /// Who is let in: a caller known to one of these; empty means everyone.
    pub authenticate: Vec<Arc<Identity>>,
    /// Limits; all of them count.
    pub rate_limits: Vec<RateLimit>,
    /// Changes to heads on their way.
    pub headers: HeaderRules,
    /// Which pages of other origins may call; absent leaves it to the listener, or else to the upstream.
    pub cors: Option<Cors>,
    /// What of an upstream's answers is kept from callers; absent means nothing.
    pub sanitise: Option<Sanitise>,
    /// How long a request may take, up to the head of the answer.
    pub deadline: Duration,
    /// A literal prefix of the path that the upstream does not see.
    pub strip_prefix: Option<String>,
    /// Where it is written.
    pub place: Place,
}

/// A bucket of tokens: `limit` in every `every`, up to `burst` at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Its name in the answer's `RateLimit` headers; no two of one list share it.
    pub name: Name,
    /// Who shares a bucket.
    pub per: Per,
    /// Tokens that flow in every `every`.
    pub limit: u64,
    /// The period.
    pub every: Duration,
    /// Tokens the bucket holds.
    pub burst: u64,
    /// What is counted.
    pub counts: Counts,
    /// Tokens that each counted unit takes; at most `burst`.
    pub weight: u64,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumer {
    /// Its name.
    pub name: Name,
    /// Its keys; no hash belongs to two consumers.
    pub keys: Vec<Key>,
    /// What it has subscribed to.
    pub subscriptions: Vec<Subscription>,
}

/// A key of a consumer.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// HMAC-SHA-256 of the key under the identity's pepper.
    pub hash: [u8; 32],
    /// From when on it is refused.
    pub expires: Option<SystemTime>,
}

impl std::fmt::Debug for Key {
    /// Four bytes are enough to tell two keys apart.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.hash;
        write!(f, "Key({a:02x}{b:02x}{c:02x}{d:02x}…, expires: {:?})", self.expires)
    }
}

/// A consumer's right to one version of one API in one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Who.
    pub consumer: Name,
    /// To what.
    pub api: Name,
    /// To which version of it.
    pub version: Name,
    /// In which environment.
    pub environment: Name,
    /// What it is entitled to.
    pub plan: Option<Arc<Plan>>,
    /// What it may do.
    pub scopes: Vec<Name>,
}

/// What subscriptions are entitled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: Name,
    /// Limits of each subscription with this plan, besides the API's.
    pub rate_limits: Vec<RateLimit>,
}
