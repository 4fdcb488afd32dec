//! Asks an endpoint whether it is well.

use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use hyper_util::rt::TokioIo;
use portolan_actors::health::Probe;
use portolan_exchange::LocalBoxFuture;

use super::service::{Endpoint, connect};

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
            let stream = connect(&host, port).await.map_err(|error| error.to_string())?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.map_err(|error| error.to_string())?;
            let request = http::Request::get(path)
                .header("host", &*authority)
                .header("user-agent", "portolan-health")
                .header("connection", "close")
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .map_err(|error| error.to_string())?;
            // The connection lives as long as the question: dropping both closes it.
            let asking = sender.send_request(request);
            let (asking, connection) = (pin!(asking), pin!(connection));
            let response = match select(asking, connection).await {
                Either::Left((response, _)) => response,
                Either::Right((_, asking)) => asking.await,
            };
            let status = response.map_err(|error| error.to_string())?.status();
            if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
        }
        .boxed_local()
    }
}
