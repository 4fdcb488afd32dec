//! Addresses that accept connections. Every worker polls every listening socket, and a connection stays on the worker
//! that took it.

mod http1;
mod http2;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::snapshot::Listener as Settings;
use portolan_exchange::Worker;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pipeline::Engine;
use crate::wire::Link;
use http1::{Door, Ended};

/// A listening socket, shared by all workers.
pub struct Listener {
    settings: Arc<Settings>,
    socket: std::net::TcpListener,
    // Connections over all workers; without a permit nobody accepts, and the next client waits in the system's queue.
    room: Arc<Semaphore>,
}

// How many connections the system keeps for us between two turns.
const BACKLOG: i32 = 1_024;

impl Listener {
    /// Binds the address. Port 0 lets the system choose.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    pub fn bind(settings: Arc<Settings>) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(settings.address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        // A restarted gateway must not wait for old connections to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&settings.address.into())?;
        socket.listen(BACKLOG)?;
        let room = Arc::new(Semaphore::new(settings.max_connections));
        Ok(Self { settings, socket: socket.into(), room })
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

    /// Accepts on one worker until `stop` is cancelled, and waits for nobody: open connections have their own end.
    pub async fn accept(
        &self,
        socket: TcpListener,
        worker: Rc<Worker>,
        engine: Rc<Engine>,
        stop: CancellationToken,
        connections: TaskTracker,
    ) {
        let door = Rc::new(Door::new(worker.clone(), engine.clone(), self.settings.clone()));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = accept_with_room(&socket, self.room.clone()) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let (door, stop) = (door.clone(), stop.clone());
                    connections.spawn_local(async move {
                        let open = door.engine.metrics.connection();
                        connection(&door, stream, peer, stop).await;
                        drop((open, permit));
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most often: wait for some to come back instead of spinning.
                    tracing::warn!(%error, listener = %self.settings.name, "connection was not accepted");
                    worker.clock.sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Serves a connection to its end, whatever is spoken on it.
async fn connection(door: &Rc<Door>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    let link = Link::new(stream, &door.turn);
    match http1::serve(door, &link, peer).await {
        Ended::Closed => {}
        Ended::Http2 => {
            let Some((stream, received)) = link.into_stream() else { return };
            let (worker, engine) = (door.worker.clone(), door.engine.clone());
            // Boxed, so that a connection of HTTP/1.1 carries none of it.
            Box::pin(http2::serve(worker, engine, &door.settings, stream, received, peer, stop)).await;
        }
    }
}

async fn accept_with_room(
    socket: &TcpListener,
    room: Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.acquire_owned().await.expect("the semaphore of a listener is never closed");
    let (stream, peer) = socket.accept().await?;
    // Answers are written whole; waiting for more to send only costs time.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}
