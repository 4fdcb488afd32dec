//! Runs the demo's two services on threads of their own, each on a port that the system chooses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::{App, HttpServer};
use futures_util::future::try_join;

use super::shop::Shop;
use super::{graphql, rest};

/// The running services. Dropping them stops them at once.
pub struct Services {
    /// Where the REST service is.
    pub orders: SocketAddr,
    /// Where the GraphQL service is.
    pub shop: SocketAddr,
    handles: [ServerHandle; 2],
    thread: Option<JoinHandle<()>>,
}

impl Services {
    /// Starts both over one shop and returns when they accept connections. Blocks for a moment.
    ///
    /// # Errors
    /// What the system refused.
    pub fn start(shop: Shop) -> Result<Self, String> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let refused = |cause| format!("cannot listen for the demo's services: {cause}");
        let ((orders, rest), (graph, graphql)) = (bind().map_err(refused)?, bind().map_err(refused)?);
        let (started, handles) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("demo-services".to_owned())
            .spawn(move || run(&shop, rest, graphql, &started))
            .map_err(|cause| format!("cannot start the demo's services: {cause}"))?;
        let handles = handles.recv().map_err(|_| "the demo's services ended before they began".to_owned())?;
        let handles = handles.map_err(|cause| format!("cannot start the demo's services: {cause}"))?;
        Ok(Self { orders, shop: graph, handles, thread: Some(thread) })
    }
}

type Started = mpsc::Sender<std::io::Result<[ServerHandle; 2]>>;

/// Serves until both are stopped.
fn run(shop: &Shop, rest: TcpListener, graphql: TcpListener, started: &Started) {
    System::new().block_on(async {
        let (orders, graph) = (shop.clone(), shop.clone());
        let orders = HttpServer::new(move || App::new().configure(|config| rest::routes(config, orders.clone())));
        let graph = HttpServer::new(move || App::new().configure(|config| graphql::routes(config, graph.clone())));
        let listening = orders.workers(1).disable_signals().listen(rest).and_then(|orders| {
            let graph = graph.workers(1).disable_signals().listen(graphql)?;
            Ok((orders.run(), graph.run()))
        });
        let (orders, graph) = match listening {
            Ok(servers) => servers,
            Err(cause) => {
                // Whoever waits for the handles tells it; nobody else is there to hear.
                let _ = started.send(Err(cause));
                return;
            }
        };
        let handles = [orders.handle(), graph.handle()];
        if started.send(Ok(handles)).is_ok()
            && let Err(cause) = try_join(orders, graph).await
        {
            tracing::error!(%cause, "demo services ended");
        }
    });
}

impl Drop for Services {
    fn drop(&mut self) {
        for handle in &self.handles {
            // The command is on its way when this returns; what it returns would only wait for the end, as `join` does.
            drop(handle.stop(false));
        }
        if let Some(thread) = self.thread.take() {
            // It panicked: the panic was told when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;

    /// The services of a test, asked over the wire.
    pub(in crate::demo) struct Services(super::Services);

    /// What came back.
    pub(in crate::demo) struct Answer {
        pub(in crate::demo) status: u16,
        fields: Vec<(String, String)>,
        body: String,
    }

    impl Services {
        pub(in crate::demo) fn running(shop: Shop) -> Self {
            Self(super::Services::start(shop).unwrap())
        }

        pub(in crate::demo) fn orders(&self, method: &str, target: &str, body: &str) -> Answer {
            call(self.0.orders, method, target, "", body)
        }

        pub(in crate::demo) fn shop(&self, method: &str, target: &str, body: &str) -> Answer {
            call(self.0.shop, method, target, "", body)
        }
    }

    impl Answer {
        pub(in crate::demo) fn field(&self, name: &str) -> Option<&str> {
            self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
        }

        pub(in crate::demo) fn json(&self) -> Value {
            serde_json::from_str(&self.body).unwrap()
        }
    }

    /// How many orders a list holds.
    pub(in crate::demo) fn orders(answer: &Answer) -> usize {
        answer.json()["orders"].as_array().unwrap().len()
    }

    /// One request on a connection of its own, with this key if it is not empty.
    pub(in crate::demo) fn call(address: SocketAddr, method: &str, target: &str, key: &str, body: &str) -> Answer {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = body.len();
        let key = if key.is_empty() { String::new() } else { format!("x-api-key: {key}\r\n") };
        let head = format!("host: demo\r\nconnection: close\r\ncontent-type: application/json\r\n{key}");
        write!(socket, "{method} {target} HTTP/1.1\r\n{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Answer { status, fields, body: body.to_owned() }
    }

    #[test]
    fn services_that_are_dropped_accept_no_more_connections() {
        let services = Services::running(crate::demo::shop::tests::recorded().0);
        let addresses = [services.0.orders, services.0.shop];
        drop(services);
        for address in addresses {
            assert!(TcpStream::connect(address).is_err(), "{address} still accepts");
        }
    }
}
