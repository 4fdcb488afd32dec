//! What a session wants done by others.

use std::sync::Arc;

use portolan_exchange::identity::Credential;

use crate::contract::Channel;
use crate::frames::Publication;

/// Whether the client is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The upgrade said who it is, or nobody needs to say so here.
    Identified,
    /// Only `connect` is taken.
    Unidentified,
    /// Its `connect` is being looked at; what it says further waits.
    Connecting,
}

impl Standing {
    /// Its word on the admin page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identified => "identified",
            Self::Unidentified => "unidentified",
            Self::Connecting => "connecting",
        }
    }
}

/// What the session wants done, each as a child exchange. It is answered by its number.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Find out who the client is; answered by [`super::Machine::identified`] or [`super::Machine::refused`].
    Connect {
        /// Its number.
        number: u64,
        /// What the client showed.
        credential: Option<Credential>,
    },
    /// May the client have this channel, and from where on; answered by [`super::Machine::subscribed`] or [`super::Machine::refused`].
    Subscribe {
        /// Its number.
        number: u64,
        /// The channel.
        channel: Arc<Channel>,
    },
    /// Publish; answered by [`super::Machine::published`] or [`super::Machine::refused`].
    Publish {
        /// Its number.
        number: u64,
        /// The channel.
        channel: Arc<Channel>,
        /// The event.
        publication: Publication,
    },
}
