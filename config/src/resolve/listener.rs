//! Listeners: no two on one address, and no bound that another one makes void.

use std::net::SocketAddr;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Resolver;
use crate::diagnostic::Place;
use crate::document::{self, Document, Entries};
use crate::reader::{Placed, Setting};
use crate::snapshot::{Listener, Name, ProxyProtocol};

impl Resolver<'_> {
    pub(super) fn listeners(&mut self, entries: Entries<document::Listener>) -> IndexMap<Name, Arc<Listener>> {
        let mut resolved = IndexMap::with_capacity(entries.len());
        for (name, mut entry) in entries {
            let cors = self.cors(entry.value.cors.take(), None);
            let listener = Listener { cors, ..listener(&name, entry.value) };
            resolved.insert(name, Arc::new(listener));
        }
        resolved
    }

    /// Two listeners cannot share an address, nor one with the admin port. Port 0 is a new one each time.
    pub(super) fn addresses(&mut self, document: &Document) {
        let overlap = |a: SocketAddr, b: SocketAddr| {
            let ips = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            ips && a.is_ipv4() == b.is_ipv4() && a.port() == b.port() && a.port() != 0
        };
        let mut taken = vec![(document.admin.address.value, "the admin port".to_owned())];
        for (name, entry) in &document.listeners {
            let Placed { value: address, place } = &entry.value.address;
            match taken.iter().find(|(known, _)| overlap(*known, *address)) {
                Some((known, first)) => {
                    let message = format!("`{address}` is taken by {first} at `{known}`");
                    self.error(place, message, "give each a port of its own");
                }
                None => taken.push((*address, format!("listener `{name}`"))),
            }
        }
    }

    /// Bounds that contradict one another are told where both were written; a default gives way to what was written.
    pub(super) fn contradictions(&mut self, document: &Document) {
        for entry in document.listeners.values() {
            let listener = &entry.value;
            let is_written = |place: &Place| (place.line, place.column) != (entry.place.line, entry.place.column);
            for part in [&listener.max_request_line, &listener.max_header] {
                if part.value > listener.max_head && is_written(&part.place) {
                    let message = format!("{} bytes never fit into a head of {}", part.value, listener.max_head);
                    self.error(&part.place, message, "raise `max_head` or lower this");
                }
            }
            let each = &listener.max_connections_per_address;
            if each.value.is_some_and(|each| each > listener.max_connections) {
                let sentence = "it is never reached: all addresses together may have `max_connections`";
                self.warn(&each.place, sentence, "lower it, or leave it out");
            }
            self.trust(listener);
        }
    }

    fn trust(&mut self, listener: &document::Listener) {
        let proxy = &listener.proxy_protocol;
        if proxy.value != ProxyProtocol::Off && listener.trusted_proxies.is_empty() {
            let message = "nobody's PROXY header is believed, because there are no `trusted_proxies`";
            self.error(&proxy.place, message, "name the networks of the proxies: `trusted_proxies: [ 10.0.0.0/8 ]`");
        }
        for Placed { value: network, place } in &listener.trusted_proxies {
            if network.is_everything() {
                let sentence = "everyone is trusted: whoever connects can claim any address";
                self.warn(place, sentence, "name the networks of the proxies alone");
            }
        }
    }
}

/// A listener of a document, by itself and without its CORS.
fn listener(name: &Name, listener: document::Listener) -> Listener {
    let max_head = listener.max_head;
    Listener {
        name: name.clone(),
        address: listener.address.value,
        max_connections: listener.max_connections,
        max_connections_per_address: listener.max_connections_per_address.value,
        max_requests: listener.max_requests,
        max_request_line: listener.max_request_line.value.min(max_head),
        max_header: listener.max_header.value.min(max_head),
        max_headers: listener.max_headers,
        max_head,
        idle_timeout: listener.idle_timeout,
        head_timeout: listener.head_timeout,
        body_timeout: listener.body_timeout,
        min_body_rate: listener.min_body_rate,
        write_timeout: listener.write_timeout,
        half_close: listener.half_close,
        expect_continue: listener.expect_continue,
        trace: listener.trace,
        trusted_proxies: listener.trusted_proxies.into_iter().map(|network| network.value).collect(),
        forwarded: listener.forwarded,
        proxy_protocol: listener.proxy_protocol.value,
        cors: None,
    }
}

impl Listener {
    /// A listener on this address with every setting at its default, where no document is at hand.
    pub fn at(name: impl Into<Name>, address: SocketAddr) -> Self {
        let mut document = <document::Listener as Setting>::blank();
        document.address.value = address;
        listener(&name.into(), document)
    }
}
