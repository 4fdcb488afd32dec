//! One address of a service, and how it is reached.

use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::snapshot as settings;
use tokio::net::TcpStream;

/// One address of a service.
#[derive(Debug)]
pub struct Endpoint {
    /// Tells it from every other endpoint there ever was in this process.
    pub id: u64,
    /// `host:port`, as the `Host` field has it.
    pub authority: Arc<str>,
    host: String,
    port: u16,
}

impl Endpoint {
    /// The endpoint of these settings.
    pub fn new(id: u64, settings: &settings::Endpoint) -> Self {
        Self { id, authority: settings.authority().into(), host: settings.host.clone(), port: settings.port }
    }

    /// Host and port to connect to.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// Connects to the first address of a host that takes a connection.
///
/// # Errors
/// What the system says of the last address tried.
pub async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = match host.parse() {
        Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await?,
        Err(_) => TcpStream::connect((host, port)).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}
