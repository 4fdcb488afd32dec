//! Asks an endpoint whether it is well.

use std::sync::Arc;

use futures_util::FutureExt;
use portolan_actors::health::Probe;
use portolan_exchange::{Fields, LocalBoxFuture, Method, Target};
use portolan_http1::{self as http1, Asked, Framing, ResponseReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::call::LIMITS;
use super::endpoint::{Endpoint, connect};

/// A `GET` on a connection of its own: what a pooled connection hides, a fresh one shows.
pub struct HttpProbe {
    endpoints: Vec<(String, u16, Arc<str>)>,
    path: String,
}

impl HttpProbe {
    /// Probes of these endpoints. Any 2xx is well.
    pub fn new(endpoints: &[Endpoint], path: String) -> Arc<Self> {
        let endpoints = endpoints.iter().map(|endpoint| {
            let (host, port) = endpoint.address();
            (host.to_owned(), port, endpoint.authority.clone())
        });
        Arc::new(Self { endpoints: endpoints.collect(), path })
    }
}

impl Probe for HttpProbe {
    fn probe(&self, endpoint: &Arc<str>) -> LocalBoxFuture<'static, Result<(), String>> {
        let known = self.endpoints.iter().find(|(.., authority)| authority == endpoint);
        let (host, port, authority) = known.expect("the endpoints probed are those the probe was made for").clone();
        let path = self.path.clone();
        async move {
            let mut stream = connect(&host, port).await.map_err(|error| error.to_string())?;
            let mut fields = Fields::new();
            fields.push(b"host", authority.as_bytes());
            fields.push(b"user-agent", b"portolan-health");
            fields.push(b"connection", b"close");
            let mut question = Vec::new();
            http1::write_request(&mut question, &Method::Get, &Target::new(path), &fields, Framing::None);
            stream.write_all(&question).await.map_err(|error| error.to_string())?;
            let status = status(&mut stream).await?;
            if (200..300).contains(&status) { Ok(()) } else { Err(format!("status {status}")) }
        }
        .boxed_local()
    }
}

/// The status of the answer; its content is not waited for.
async fn status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut reader = ResponseReader::new();
    let mut received = Vec::with_capacity(1_024);
    loop {
        if stream.read_buf(&mut received).await.map_err(|error| error.to_string())? == 0 {
            return Err("the connection closed before an answer".to_owned());
        }
        while let Some((head, consumed)) =
            reader.read(&received, &LIMITS, Asked::default()).map_err(|refusal| refusal.to_string())?
        {
            if head.status >= 200 {
                return Ok(head.status);
            }
            received.drain(..consumed);
        }
    }
}
