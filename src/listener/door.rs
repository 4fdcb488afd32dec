//! What all connections of a listener on one worker share.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::snapshot::{self, Listener as Settings};
use portolan_exchange::{Client, Fault, FaultKind, Fields, Worker, client::Connection};
use portolan_http1::{self as http1, Limits, Rules};

use super::connections::Connections;
use crate::edge::admission::{Account, Admission};
use crate::edge::client;
use crate::pipeline::Engine;
use crate::wire::Turn;

/// What all connections of a listener on one worker share.
pub struct Door {
    /// The worker.
    pub worker: Rc<Worker>,
    /// Answers requests.
    pub engine: Rc<Engine>,
    /// The listener's settings.
    pub settings: Arc<Settings>,
    /// The port it listens on.
    pub port: u16,
    /// Bounds of what is read.
    pub limits: Limits,
    /// What is refused by choice.
    pub rules: Rules,
    /// The worker's turn.
    pub turn: Rc<Turn>,
    /// All connections of the worker.
    pub connections: Rc<Connections>,
    admission: Arc<Admission>,
}

/// When those may come again for whom there was no room: what is under way ends in a moment, most of it.
const COME_AGAIN: Duration = Duration::from_secs(1);

impl Door {
    /// The door of a listener on this worker.
    pub fn new(
        worker: Rc<Worker>,
        engine: Rc<Engine>,
        settings: Arc<Settings>,
        port: u16,
        connections: Rc<Connections>,
    ) -> Self {
        let limits = Limits {
            line: settings.max_request_line,
            field: settings.max_header,
            head: settings.max_head,
            fields: settings.max_headers,
            ..Limits::default()
        };
        let trace = match settings.trace {
            snapshot::Trace::Refuse => http1::Trace::Refuse,
            snapshot::Trace::Allow => http1::Trace::Allow,
        };
        let turn = Turn::of(&worker);
        let admission = Account::of(&worker).admission().clone();
        Self { worker, engine, settings, port, limits, rules: Rules { trace }, turn, connections, admission }
    }

    /// Who asks, by the head of a request as it was received, if there is room for it.
    ///
    /// # Errors
    /// Something is scarce, or a trusted proxy tells what cannot be understood: the request is refused.
    pub fn ask(&self, connection: &Connection, fields: &Fields) -> Result<Client, Box<Refused>> {
        if let Some(scarce) = self.admission.shed() {
            self.admission.count_shed();
            let fault = Fault::new(FaultKind::Overloaded, "the gateway has no room for another request now");
            let fault = fault.because(format!("the {scarce} are nearly used up")).retry_after(COME_AGAIN);
            return Err(Refused::of(connection, fault));
        }
        client::of(connection, &self.settings, fields).map_err(|malformed| {
            let fault = Fault::new(FaultKind::BadRequest, malformed.to_string());
            Refused::of(connection, fault)
        })
    }
}

/// A request that goes no further than the door.
#[derive(Debug)]
pub struct Refused {
    /// What its client is told.
    pub fault: Fault,
    /// Where it came from, as far as is known.
    pub address: IpAddr,
}

impl Refused {
    // Boxed, so that who is let in carries nothing of it.
    fn of(connection: &Connection, fault: Fault) -> Box<Self> {
        Box::new(Self { fault, address: connection.peer.ip() })
    }
}
