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

use futures_util::future::LocalBoxFuture;
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

// How many new connections the system keeps for us between two turns; `net.core.somaxconn` may allow fewer.
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
                    connections.spawn(visit(door.clone(), stream, admitted, Start::Accepted(peer)));
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

/// How a connection comes to its task.
enum Start {
    /// From its client, at this address.
    Accepted(SocketAddr),
    /// From the parking, when something had arrived.
    Parked(Connection, Idle),
}

/// Serves a connection to its end, or until it is parked.
fn visit(door: Rc<Door>, stream: TcpStream, mut admitted: Admitted, start: Start) -> impl Future<Output = ()> + use<> {
    let link = Link::new(stream, &door.turn);
    // No `async fn`: those hold their arguments twice, and there may be thousands of connections.
    async move {
        let (connection, idle) = match start {
            Start::Accepted(peer) => match opening::open(&door, &link, peer, &mut admitted.entered).await {
                Some(connection) => (connection, None),
                None => return,
            },
            Start::Parked(connection, idle) => match link.fill_at_once() {
                Ok(1..) => (connection, Some(idle)),
                // Told of and not there: it waits on.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (connection, Some(idle)),
                Ok(0) | Err(_) => return,
            },
        };
        let ended = http1::serve(&door, &link, connection, idle).await;
        if let Some(further) = further(ended, admitted, connection, door, link) {
            further.await;
        }
    }
}

/// What becomes of a connection behind HTTP/1.1: what is done further in its task, if anything is.
fn further(
    ended: Ended,
    // Behind all others, so that a connection leaves its place when it is closed.
    admitted: Admitted,
    connection: Connection,
    door: Rc<Door>,
    link: Rc<Link>,
) -> Option<LocalBoxFuture<'static, ()>> {
    let idle = match ended {
        Ended::Closed => return None,
        Ended::Http2 => {
            let (stream, received) = link.into_stream()?;
            return Some(Box::pin(async move {
                http2::serve(&door, connection, stream, received, door.connections.stop.clone()).await;
                drop(admitted);
            }));
        }
        Ended::Idle(idle) => idle,
    };
    let (stream, _nothing) = link.into_stream()?;
    let parking = door.connections.parking.clone();
    // Without its socket it is closed, as any idle connection may be.
    let stream = stream.into_std().inspect_err(|error| parking.unwatched(error)).ok()?;
    parking.park(Parked { door, stream, connection, idle, admitted });
    None
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
