//! APIs and routes.

use std::path::PathBuf;
use std::time::Duration;

use crate::reader::Placed;
use crate::setting::{
    Brokers, DAY, File, Flag, Free, HOUR, Host, Identities, Keyed, List, MILLISECOND, MINUTE, Method, OffOr, OneOrMany,
    Pattern, Pointer, Prefix, Reference, SECOND, Size, Span, Upstreams, UrlPath, Version, Whole,
};
use crate::snapshot::Name;
use crate::table::{choices, settings};

use super::{Cors, Entries, HeaderRules, RateLimit, Sanitise};

settings! {
    /// A contract that is published: `openapi`, `graphql` or `asyncapi`, exactly one.
    pub struct Api one_of(Required) ["openapi", "graphql", "asyncapi"] {
        /// Its version, such as `v3`. Subscriptions are to a version.
        version: Name as Version, required;
        /// A REST API: the OpenAPI document (3.0 or 3.1), relative to this file.
        openapi: Option<Placed<PathBuf>> as Placed<File>, optional;
        /// A GraphQL API: its schema as SDL, relative to this file.
        graphql: Option<Placed<PathBuf>> as Placed<File>, optional;
        /// An API of events: the AsyncAPI document (3.0), relative to this file.
        asyncapi: Option<Placed<PathBuf>> as Placed<File>, optional;
        /// The prefix below which it is found. No two APIs of one host share it; of two that match the longer wins.
        path: Placed<String> as Placed<Prefix>, required;
        /// The host it is found under; `*.` stands for any one label. Without it: every host.
        host: Option<String> as Host, optional;
        /// Who serves it; `openapi` and `graphql` need it.
        upstream: Option<Placed<Name>> as Placed<Reference<Upstreams>>, optional;
        /// Who carries its events; `asyncapi` needs it.
        broker: Option<Placed<Name>> as Placed<Reference<Brokers>>, optional;
        /// Identities of which one must know the caller; others get 401. Empty lets everyone in.
        authenticate: Vec<Name> as List<Reference<Identities>, 0, 16>, default("[]");
        /// Limits, one or a list; all of them count.
        rate_limit: Vec<RateLimit> as OneOrMany<RateLimit, 16>, default("[]");
        /// Changes to the heads of requests and answers.
        headers: HeaderRules as HeaderRules, default("{}");
        /// Which pages of other origins may call from a browser. Without it: what the listener says, and where that says
        /// nothing the upstream answers for itself.
        cors: Option<Placed<Cors>> as Placed<Cors>, optional;
        /// `openapi` and `graphql`: what of the upstream's answers is kept from callers. Without it: headers that tell
        /// what the upstream is made of, as `docs/policies.md` lists them; `off` keeps nothing back.
        sanitise: Option<Placed<Option<Sanitise>>> as Placed<OffOr<Sanitise>>, optional;
        /// `openapi`: whether requests are checked against the document. Without it: `enforce`.
        validate: Option<Placed<Validate>> as Placed<Validate>, optional;
        /// Bytes of a body that is gathered because it is checked or translated. A longer one gets 413. What streams
        /// through has no bound.
        max_body: usize as Size<0, { 1 << 30 }>, default("1MiB");
        /// How long an operation may take up to the head of its answer, retries and waiting included. Past it the
        /// caller gets 504.
        deadline: Duration as Span<{ MILLISECOND }, { DAY }>, default("30s");
        /// `openapi`: whether the prefix `path` is taken off before the upstream is called. Without it: `false`, the
        /// upstream sees the path as the caller wrote it.
        strip_path: Option<Placed<bool>> as Placed<Flag>, optional;
        /// `openapi`: the prefix that the upstream sees in place of `path`. `graphql`: the path that is called,
        /// without it `/graphql`.
        upstream_path: Option<Placed<String>> as Placed<Prefix>, optional;
        /// `graphql`: what a document may ask for.
        limits: Option<Placed<GraphQlLimits>> as Placed<GraphQlLimits>, optional;
        /// `asyncapi`: bounds of a client's session.
        sessions: Option<Placed<Sessions>> as Placed<Sessions>, optional;
        /// `openapi`: what is said of single operations, by their `operationId`.
        operations: Option<Placed<Entries<Operation>>> as Placed<Keyed<Operation>>, optional;
    }

    /// What is said of one operation of an OpenAPI document.
    pub struct Operation {
        /// Limits, one or a list; besides the API's.
        rate_limit: Vec<RateLimit> as OneOrMany<RateLimit, 16>, default("[]");
        /// Changes to the heads, after the API's.
        headers: HeaderRules as HeaderRules, default("{}");
        /// Has a GraphQL upstream answer the operation in place of the API's upstream.
        graphql: Option<GraphQlPair> as GraphQlPair, optional;
    }

    /// A REST operation answered by a GraphQL upstream.
    pub struct GraphQlPair {
        /// Who answers.
        upstream: Name as Reference<Upstreams>, required;
        /// The path that is called.
        path: String as UrlPath, default("/graphql");
        /// The GraphQL document. The operation's parameters and the members of its body are the variables.
        document: Placed<Name> as Placed<Free>, required;
        /// JSON pointer into `data` of what becomes the answer, such as `/order`. Without it: all of `data`.
        result: Option<String> as Pointer, optional;
    }

    /// What a GraphQL document may ask for. One that asks for more is refused with an error that names limit and
    /// value, before any of it is validated or forwarded.
    #[derive(Eq)]
    pub struct GraphQlLimits {
        /// Cost: a scalar 1, an object 5, a list 10, a list's children times its size.
        max_cost: u64 as Whole<u64, 1, 1_000_000_000>, default("1000");
        /// Depth, the leaf counted.
        max_depth: u32 as Whole<u32, 1, 100>, default("10");
        /// Aliases.
        max_aliases: u32 as Whole<u32, 0, 1_000_000>, default("30");
        /// Fields of the root.
        max_root_fields: u32 as Whole<u32, 1, 1_000_000>, default("20");
        /// Directives.
        max_directives: u32 as Whole<u32, 0, 1_000_000>, default("50");
        /// Tokens of the text.
        max_tokens: u32 as Whole<u32, 1, 1_000_000>, default("15000");
        /// Selections once every fragment is spread.
        max_selections: u32 as Whole<u32, 1, 1_000_000>, default("5000");
        /// Operations of a batch; 1 refuses batches.
        batch: u32 as Whole<u32, 1, 1_000>, default("10");
    }

    /// Bounds of a client's session.
    #[derive(Eq)]
    pub struct Sessions {
        /// Bytes of a message from the client. A longer one closes the session with 1009.
        max_frame: usize as Size<125, { 16 << 20 }>, default("64KiB");
        /// Channels subscribed at once. One more is refused.
        max_subscriptions: usize as Whole<usize, 1, 10_000>, default("128");
        /// Time between two pings. A client that is silent for twice as long is gone.
        heartbeat: Duration as Span<{ SECOND }, { HOUR }>, default("25s");
        /// Whether a client may open a session without credentials and show them in its first frame, as browsers must,
        /// which cannot set header fields of an upgrade. Needs `authenticate`.
        first_frame_credentials: FirstFrame as FirstFrame, default("refused");
        /// How long a client that showed no credentials at the upgrade has to do so in its first frame. Past it the session
        /// is closed with 4408.
        connect_timeout: Duration as Span<{ 100 * MILLISECOND }, { 10 * MINUTE }>, default("10s");
    }

    /// What is passed on without a contract.
    pub struct Route {
        /// The host it is for; `*.` stands for any one label. Without it: every host.
        host: Option<String> as Host, optional;
        /// The path: literal segments, `{name}` for any one, `/**` at the end for all that follow. The most specific
        /// route wins.
        path: Placed<String> as Placed<Pattern>, required;
        /// The methods it takes; others get 405. Without it: all.
        methods: Vec<String> as List<Method, 0, 32>, default("[]");
        /// Who serves it.
        upstream: Name as Reference<Upstreams>, required;
        /// Identities of which one must know the caller; others get 401. Empty lets everyone in.
        authenticate: Vec<Name> as List<Reference<Identities>, 0, 16>, default("[]");
        /// Limits, one or a list; all of them count.
        rate_limit: Vec<RateLimit> as OneOrMany<RateLimit, 16>, default("[]");
        /// Changes to the heads of requests and answers.
        headers: HeaderRules as HeaderRules, default("{}");
        /// Which pages of other origins may call from a browser. Without it: what the listener says, and where that says
        /// nothing the upstream answers for itself.
        cors: Option<Placed<Cors>> as Placed<Cors>, optional;
        /// What of the upstream's answers is kept from callers. Without it: headers that tell what the upstream is made
        /// of, as `docs/policies.md` lists them; `off` keeps nothing back.
        sanitise: Option<Placed<Option<Sanitise>>> as Placed<OffOr<Sanitise>>, optional;
        /// How long a request may take up to the head of its answer. Past it the caller gets 504.
        deadline: Duration as Span<{ MILLISECOND }, { DAY }>, default("30s");
        /// A literal prefix of the path that the upstream does not see. Without it the upstream sees all of it.
        strip_prefix: Option<Placed<String>> as Placed<Prefix>, optional;
    }
}

choices! {
    /// Whether credentials may come in a session's first frame.
    pub enum FirstFrame {
        /// An upgrade without credentials gets 401.
        Refused = "refused",
        /// An upgrade without credentials passes, and the session takes nothing but `connect`.
        Allowed = "allowed",
    }

    /// Whether requests are checked against the contract.
    pub enum Validate {
        /// What does not fit is refused with 400 or 422, and told where.
        Enforce = "enforce",
        /// What does not fit is passed on and logged.
        Report = "report",
        /// Nothing is checked.
        Off = "off",
    }
}
