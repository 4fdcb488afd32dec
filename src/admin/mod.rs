//! The admin port: probes, metrics, routes and the state of every actor. Never on the data path.

mod pages;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use actix_web::{App, HttpServer, web};
use portolan_config::snapshot::Admin as Settings;

use crate::gateway::{Parts, StartError};

/// The admin port, served by a thread of its own. Dropping it ends it.
pub struct Admin {
    address: SocketAddr,
    server: actix_web::dev::ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// Binds and serves the admin port.
///
/// # Errors
/// When the address cannot be bound.
pub fn start(settings: &Settings, parts: Arc<Parts>) -> Result<Admin, StartError> {
    let failed = |cause| StartError::System { doing: format!("serve the admin port on {}", settings.address), cause };
    let socket = TcpListener::bind(settings.address).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    let access = web::Data::new(pages::Access { parts, token: settings.token.clone() });
    let (give, take) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        actix_rt::System::new().block_on(async move {
            let server = HttpServer::new(move || App::new().app_data(access.clone()).configure(pages::routes))
                // Probes, a scraper, a person: one worker serves them all.
                .workers(1)
                .disable_signals()
                .shutdown_timeout(1)
                .listen(socket);
            match server {
                Ok(server) => {
                    let server = server.run();
                    let _ = give.send(Ok(server.handle()));
                    if let Err(error) = server.await {
                        tracing::error!(%error, "admin port ended");
                    }
                }
                Err(error) => {
                    let _ = give.send(Err(error));
                }
            }
        });
    });
    let thread = thread.map_err(failed)?;
    let server = take.recv().map_err(std::io::Error::other).and_then(|started| started).map_err(failed)?;
    Ok(Admin { address, server, thread: Some(thread) })
}

impl Admin {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // The command is taken when it is given; its future only tells when it was carried out, and so does the thread.
        drop(self.server.stop(true));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the admin port panicked");
        }
    }
}
