//! The kinds of values an operator can write: each says how it is read, and how the JSON Schema describes it.

mod address;
mod collection;
mod date;
mod header;
mod network;
mod origin;
mod path;
mod text;
mod units;

pub(crate) use address::{EndpointUrl, Host, HostPort, Listen};
pub(crate) use collection::{AllOr, Keyed, List, Named, OffOr, OneOrMany, OrOff};
pub(crate) use date::Date;
pub(crate) use header::{HeaderName, HeaderPairs, Method, NamePattern};
pub(crate) use network::Network;
pub(crate) use origin::OriginPattern;
pub(crate) use path::{File, KeyFile, LogTo, Pattern, Pointer, Prefix, UrlPath, place_of_parameters};
pub(crate) use text::{
    Brokers, Chosen, Consumers, Free, Hash, Identifier, Identities, NAME, Plans, Reference, SecretText, Upstreams,
    Version, choose, is_name,
};
pub(crate) use units::{DAY, Flag, HOUR, MILLISECOND, MINUTE, Ratio, SECOND, Size, Span, Whole};
