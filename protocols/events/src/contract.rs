//! Reads an AsyncAPI 3.0 document: which channels there are, where each lies in the broker, and what a client may do there.
//!
//! What cannot be honoured is refused with its place; what has no effect is a warning. Directions are turned to the
//! client's side at once: the document speaks for the application, so its `send` is what a client receives, and its
//! `receive` is what a client publishes (AsyncAPI 3.0.0, Operation Object).
//!
//! References stay within the document. Addresses with parameters, versions 2.6 and 3.1 and other brokers' bindings are
//! not read yet and are refused.

mod binding;
mod node;
mod payload;
mod reader;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use node::percent_decoded;
use portolan_config::{Diagnostics, Place, Tree};
use portolan_exchange::value::Type;
use portolan_exchange::{Kind, Operation};
use serde_json::Value;

use crate::outbound::placed_type;

/// What an AsyncAPI document promises to clients.
#[derive(Debug, Clone)]
pub struct Contract {
    /// `info.title`.
    pub title: String,
    /// `info.version`.
    pub version: String,
    /// In the order of the document.
    pub channels: Vec<Arc<Channel>>,
    /// What has no effect here.
    pub warnings: Diagnostics,
    /// Addresses, and names where no address is the same; [`Contract::read`] refuses a word that could mean two channels.
    by_word: HashMap<Arc<str>, usize>,
}

/// A stream of events that clients can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its key in the document.
    pub name: Arc<str>,
    /// How clients call it.
    pub address: Arc<str>,
    /// The Kafka topic: the binding's, else the address.
    pub topic: Arc<str>,
    /// The names of its messages, in the order of the document.
    pub messages: Vec<Arc<str>>,
    /// Whether a client may subscribe: an operation has the action `send`.
    pub may_subscribe: bool,
    /// Whether a client may publish: an operation has the action `receive`.
    pub may_publish: bool,
    /// What a client publishes: what the payload schemas of all its messages say, since nothing tells which it is.
    pub input: Type,
    /// What a subscriber receives, of an event that has a value.
    pub output: Type,
}

impl Channel {
    /// The name that every event of the channel bears; unknown where the document has several messages, since nothing
    /// in a record tells which it is.
    pub fn message(&self) -> Option<&Arc<str>> {
        match self.messages.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl Channel {
    /// Asking for its events, as exchanges carry it: each is of the output type.
    pub fn subscribe(&self) -> Arc<Operation> {
        let (id, kind) = (self.address.clone(), Kind::Subscribe);
        Arc::new(Operation { id, kind, input: Type::Any, output: self.output.clone() })
    }

    /// Handing it an event, as exchanges carry it: the event's value goes in, and its place comes out.
    pub fn publish(&self) -> Arc<Operation> {
        let (id, kind) = (self.address.clone(), Kind::Publish);
        Arc::new(Operation { id, kind, input: self.input.clone(), output: placed_type() })
    }
}

impl Contract {
    /// Reads a document.
    ///
    /// # Errors
    /// Everything that keeps it from being served, each with its place, and the warnings.
    pub fn read(tree: &Tree) -> Result<Self, Diagnostics> {
        Self::from_document(&tree.to_json(), &|pointer| tree.place_of(pointer))
    }

    /// The channel of this address or, where no address is such, of this name.
    pub fn channel(&self, word: &str) -> Option<&Arc<Channel>> {
        self.by_word.get(word).map(|at| &self.channels[*at])
    }

    /// Reads a document that stands in memory; `place` tells where the value at a JSON pointer was written.
    ///
    /// # Errors
    /// As [`Contract::read`].
    pub fn from_document(document: &Value, place: &dyn Fn(&str) -> Place) -> Result<Self, Diagnostics> {
        reader::Reader::new(document, place).read()
    }
}

#[cfg(test)]
mod tests;

/// A contract for the tests of this crate: channels `a`, `b`, … in topics `topic.a`, `topic.b`, …, open both ways, and `out` and
/// `in`, each open one way. The events of `a` are called `made`.
#[cfg(test)]
pub(crate) fn sample() -> Arc<Contract> {
    use serde_json::json;
    let bound =
        |address: &str| json!({ "address": address, "bindings": { "kafka": { "topic": format!("topic.{address}") } } });
    let mut document =
        json!({ "asyncapi": "3.0.0", "info": { "title": "t", "version": "1" }, "channels": {}, "operations": {} });
    for address in ["a", "b", "c", "d", "out", "in"] {
        document["channels"][address] = bound(address);
        for action in ["send", "receive"] {
            if (address, action) != ("out", "receive") && (address, action) != ("in", "send") {
                let channel = json!({ "$ref": format!("#/channels/{address}") });
                document["operations"][format!("{address}-{action}")] = json!({ "action": action, "channel": channel });
            }
        }
    }
    document["channels"]["a"]["messages"] = json!({ "made": {} });
    Arc::new(
        Contract::from_document(&document, &|pointer| Place::new("sample", 0, 0, pointer))
            .expect("the sample is served"),
    )
}
