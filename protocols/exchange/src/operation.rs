//! One thing a caller can ask for.

use std::sync::Arc;

use crate::value::Type;

/// What kind of asking it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One input, one reply.
    Call,
    /// A stream of inputs, one reply.
    ClientStream,
    /// One input, a stream of replies.
    ServerStream,
    /// Bytes or messages both ways.
    Duplex,
    /// Hands an event to a channel.
    Publish,
    /// Asks for the events of a channel.
    Subscribe,
    /// Opens a connection on which further operations come: its commands are exchanges of their own.
    Session,
}

impl Kind {
    /// Its word in logs and routes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::Duplex => "duplex",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Session => "session",
        }
    }
}

/// One thing a caller can ask for.
///
/// Its types are those of its contract, and by them the protocols meet: an outbound reads the exchange's input as the input type
/// (`input.value(&operation.input)`) where its wire has types of its own, and a reply is brought to the output type where the
/// service's wire says a value otherwise than the contract does. Bytes that pass as they are are read by nobody. A type
/// promises no more than its contract, so that what passed the contract's check can be read; what was not checked may be no
/// value of the type, and who reads it says so to the caller.
///
/// | kind | input | output |
/// |---|---|---|
/// | a REST operation | a map: the parameters of path and query and the members of the JSON body side by side; a body that is no object is the member `body` | the JSON of a success |
/// | a GraphQL document | a map: its variables | `data` |
/// | publish | the event's value | where the event was placed |
/// | subscribe | nothing that has a type | the value of each event that has one |
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its name within its API: the OpenAPI operation id, the GraphQL operation name, the channel.
    pub id: Arc<str>,
    /// What kind of asking it is.
    pub kind: Kind,
    /// What goes in.
    pub input: Type,
    /// What comes out.
    pub output: Type,
}

impl Operation {
    /// An operation whose types are not described: bytes pass as they are.
    pub fn untyped(id: impl Into<Arc<str>>, kind: Kind) -> Self {
        Self { id: id.into(), kind, input: Type::Any, output: Type::Any }
    }
}
