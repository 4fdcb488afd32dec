//! What stands before the first request of a connection: whose it is, and whether that one may have another.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use portolan_exchange::client::{Connection, Scheme};

use super::door::Door;
use crate::edge::admission::Entered;
use crate::edge::client;
use crate::edge::proxy_protocol::{Expected, ProxyHeader};
use crate::wire::Link;

/// Finds out whose connection this is: by its PROXY header, where one is expected, and counts it for its client's address.
/// `None` when it is to be closed.
pub async fn open(door: &Door, link: &Rc<Link>, peer: SocketAddr, entered: &mut Entered) -> Option<Connection> {
    let settings = &door.settings;
    let header = match Expected::of(settings, peer.ip()) {
        Expected::Request => None,
        // Boxed, so that a connection without one carries nothing of it.
        expected => Box::pin(read(door, link, expected, entered)).await?,
    };
    // A trusted proxy that names no client carries those of many.
    let own = (!settings.trusts(peer.ip())).then_some(peer);
    if let Some(client) = header.and_then(|header| header.source()).or(own)
        && let Err(refused) = entered.belongs_to(client.ip())
    {
        tracing::debug!(listener = %settings.name, client = %client.ip(), %refused, "connection refused");
        return None;
    }
    Some(client::connection(settings, peer, door.port, Scheme::Http, header.as_ref()))
}

/// Reads what a connection begins with, up to its first request. `None` when it breaks off, is too slow, or is none.
async fn read(door: &Door, link: &Rc<Link>, expected: Expected, entered: &Entered) -> Option<Option<ProxyHeader>> {
    link.reading.set(door.worker.clock.now().after(door.settings.idle_timeout));
    let read = poll_fn(|context| poll_read(context, door, link, expected, entered)).await;
    link.reading.clear();
    read
}

fn poll_read(
    context: &mut Context<'_>,
    door: &Door,
    link: &Rc<Link>,
    expected: Expected,
    entered: &Entered,
) -> Poll<Option<Option<ProxyHeader>>> {
    loop {
        let here = link.inflow().len();
        let read = expected.read(link.inflow().bytes());
        match read {
            Ok(Some((header, taken))) => {
                link.inflow_mut().consume(taken);
                return Poll::Ready(Some(header));
            }
            Ok(None) => {}
            Err(broken) => {
                let refused = entered.begins_wrongly();
                tracing::debug!(listener = %door.settings.name, %refused, %broken, "connection refused");
                return Poll::Ready(None);
            }
        }
        if door.turn.is_stopping() && here == 0 {
            return Poll::Ready(None);
        }
        match link.poll_fill(context) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
            // A header has the time of a head, from its first byte.
            Poll::Ready(Ok(_)) if here == 0 => {
                link.reading.set(door.worker.clock.now().after(door.settings.head_timeout));
            }
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => {
                link.inflow_mut().cool();
                return link.reading.poll(context).map(|()| None);
            }
        }
    }
}
