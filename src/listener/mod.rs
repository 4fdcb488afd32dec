//! Addresses that accept connections. Every worker polls every listening socket, and a connection stays on the worker
//! that took it.

mod connections;
mod door;
mod http1;
mod http2;
mod opening;
mod parking;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::snapshot::Listener as Settings;
use portolan_exchange::Worker;
use portolan_exchange::client::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::edge::admission::{self, Admission};
use crate::pipeline::Engine;
use crate::wire::Link;
use connections::Admitted;
pub use connections::Connections;
use door::Door;
use http1::{Ended, Idle};
use parking::Parked;

/// A listening socket, shared by all workers.
pub struct Listener {
    settings: Arc<Settings>,
    socket: std::net::TcpListener,
    // Connections over all workers; without a permit nobody accepts, and the next client waits in the system's queue.
    room: Arc<Semaphore>,
    entrance: admission::Door,
}

// How many connections the system keeps for us between two turns.
const BACKLOG: i32 = 4_096;

impl Listener {
    /// Binds the address. Port 0 lets the system choose. Connections enter as far as there is room in this process.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    pub fn bind(settings: Arc<Settings>, admission: &Arc<Admission>) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(settings.address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        // A restarted gateway must not wait for old connections to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&settings.address.into())?;
        socket.listen(BACKLOG)?;
        let room = Arc::new(Semaphore::new(settings.max_connections));
        let entrance = admission.door(&settings);
        Ok(Self { settings, socket: socket.into(), room, entrance })
    }

    /// Where its connections enter, and are counted.
    pub fn entrance(&self) -> &admission::Door {
        &self.entrance
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket as one worker polls it.
    ///
    /// # Errors
    /// What the system says, when the socket cannot be shared once more.
    pub fn on_this_worker(&self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.socket.try_clone()?)
    }

    /// Accepts on one worker until it is told to stop, and waits for nobody: open connections have their own end.
    pub async fn accept(
        &self,
        socket: TcpListener,
        worker: Rc<Worker>,
        engine: Rc<Engine>,
        connections: Rc<Connections>,
    ) {
        let port = self.address().map_or(self.settings.address.port(), |address| address.port());
        let door = Rc::new(Door::new(worker.clone(), engine, self.settings.clone(), port, connections.clone()));
        loop {
            let accepted = tokio::select! {
                biased;
                () = connections.stop.cancelled() => return,
                accepted = accept_with_room(&socket, self.room.clone()) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let entered = match self.entrance.enter() {
                        Ok(entered) => entered,
                        // Closed at once: what is left of the files is for what is under way.
                        Err(refused) => {
                            tracing::debug!(listener = %self.settings.name, %peer, %refused, "connection refused");
                            continue;
                        }
                    };
                    let admitted = Admitted { entered, _open: door.engine.metrics.connection(), _permit: permit };
                    connections.spawn(begin(door.clone(), stream, peer, admitted));
                }
                // A client that left before its turn came is nobody's trouble.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of file descriptors, most often: wait for some to come back instead of spinning.
                    tracing::warn!(%error, listener = %self.settings.name, "connection was not accepted");
                    worker.clock.sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Serves a connection that was accepted.
async fn begin(door: Rc<Door>, stream: TcpStream, peer: SocketAddr, mut admitted: Admitted) {
    let link = Link::new(stream, &door.turn);
    let Some(connection) = opening::open(&door, &link, peer, &mut admitted.entered).await else { return };
    serve(door, link, connection, None, admitted).await;
}

/// Goes on with a connection that was parked until something arrived on it.
async fn take_up(parked: Parked) {
    let Parked { door, stream, connection, idle, admitted } = parked;
    // Where the system has no room to watch it, the client finds it closed, as any idle connection may be.
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let link = Link::new(stream, &door.turn);
    if link.fill_at_once().is_ok_and(|received| received > 0) {
        serve(door, link, connection, Some(idle), admitted).await;
    }
}

/// Serves a connection to its end, whatever is spoken on it, or until it is parked.
async fn serve(door: Rc<Door>, link: Rc<Link>, connection: Connection, idle: Option<Idle>, admitted: Admitted) {
    match http1::serve(&door, &link, connection, idle).await {
        Ended::Closed => {}
        Ended::Http2 => {
            let Some((stream, received)) = link.into_stream() else { return };
            // Boxed, so that a connection of HTTP/1.1 carries none of it.
            Box::pin(http2::serve(&door, connection, stream, received, door.connections.stop.clone())).await;
        }
        Ended::Idle(idle) => {
            let stream = link.into_stream().and_then(|(stream, _)| stream.into_std().ok());
            // Without its socket it is closed, as any idle connection may be.
            let Some(stream) = stream else { return };
            let parking = door.connections.parking.clone();
            parking.park(Parked { door, stream, connection, idle, admitted });
        }
    }
}

async fn accept_with_room(
    socket: &TcpListener,
    room: Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.acquire_owned().await.expect("the semaphore of a listener is never closed");
    let (stream, mut peer) = socket.accept().await?;
    peer.set_ip(peer.ip().to_canonical());
    // Answers are written whole; waiting for more to send only costs time.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}
