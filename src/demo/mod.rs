//! Runs a gateway with everything behind it in this one process: two services, a broker, and nothing to install.
//!
//! The gateway is an ordinary one: it reads the very files under `examples/demo`, which the binary carries with it. What
//! is special is behind it: a little shop, which a REST service and a GraphQL service share, and librdkafka's mock
//! cluster in place of Kafka.

mod graphql;
mod guide;
mod rest;
mod services;
mod shop;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use portolan_exchange::events::{Broker, Record};
use portolan_kafka::Kafka;
use portolan_kafka::mock::Cluster;
use tempfile::TempDir;

use crate::gateway::{Environment, Gateway, Options, StartError};

use guide::Guide;
use services::Services;
use shop::{Publish, Shop};

/// The configuration; the others are the contracts it names.
const CONFIGURATION: &str = "portolan.yaml";

/// The files of `examples/demo`, so that the binary needs none beside it.
const FILES: [(&str, &str); 4] = [
    (CONFIGURATION, include_str!("../../examples/demo/portolan.yaml")),
    ("orders.openapi.yaml", include_str!("../../examples/demo/orders.openapi.yaml")),
    ("shop.graphql", include_str!("../../examples/demo/shop.graphql")),
    ("order-events.asyncapi.yaml", include_str!("../../examples/demo/order-events.asyncapi.yaml")),
];

/// Where new orders go.
const TOPIC: &str = "orders.created.v2";

/// More than one, because that is what real topics have: order holds per key only.
const PARTITIONS: i32 = 3;

/// Where the demo listens. Port 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the admin port is; it has no token, so it must be on loopback.
    pub admin: SocketAddr,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 8080).into(), admin: ([127, 0, 0, 1], 9901).into() }
    }
}

/// A running demo. Its `Display` says what to try and ends with a line that begins with `ready`. Dropping it ends it
/// like [`Demo::stop`].
pub struct Demo {
    // Dropped in this order: nothing calls what has ended already.
    gateway: Gateway,
    #[expect(dead_code, reason = "held: the services end when it is dropped")]
    services: Services,
    cluster: Cluster,
    // Its files are removed when it is dropped.
    folder: TempDir,
}

impl Demo {
    /// Starts all of it and returns when the gateway accepts connections. Blocks for some seconds at most; not to be
    /// called on a runtime's thread.
    ///
    /// # Errors
    /// A sentence that says what did not start and what helps; nothing is left running then.
    pub fn start(options: DemoOptions) -> Result<Self, String> {
        Self::start_logging(options, "stdout")
    }

    fn start_logging(options: DemoOptions, access_log: &str) -> Result<Self, String> {
        let folder = write_files().map_err(|cause| format!("cannot write the demo's configuration: {cause}"))?;
        let cluster = Cluster::start(&[(TOPIC, PARTITIONS)])
            .map_err(|cause| format!("cannot start librdkafka's mock cluster: {cause}"))?;
        let services = Services::start(Shop::open(publish_to(&cluster)))?;
        let environment = environment(&options, access_log, &services, &cluster);
        let file = folder.path().join(CONFIGURATION);
        let gateway = Gateway::start(Options::new(file, environment));
        Ok(Self { gateway: gateway.map_err(|error| advice(&error))?, services, cluster, folder })
    }

    /// Where clients connect.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address("public").expect("the demo's configuration has a listener `public`")
    }

    /// Where the admin port is.
    pub fn admin(&self) -> SocketAddr {
        self.gateway.admin()
    }

    /// Where Kafka clients connect, as `host:port`.
    pub fn kafka(&self) -> &str {
        self.cluster.bootstrap()
    }

    /// The configuration that the gateway runs, a copy of the example's: a change of it takes effect at once.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join(CONFIGURATION)
    }

    /// Reads the configuration anew, as SIGHUP asks.
    pub fn reload(&self) {
        // The reload says itself how it went.
        let _ = self.gateway.reload();
    }

    /// Ends all of it in good order, within five seconds, and removes the files it wrote.
    pub fn stop(self) {
        drop(self);
    }
}

impl fmt::Display for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let configuration = &self.configuration();
        Guide { gateway: self.gateway(), admin: self.admin(), kafka: self.kafka(), configuration }.fmt(f)
    }
}

/// Writes the configuration and its contracts into a folder that only this user can read.
fn write_files() -> std::io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("portolan-demo-").tempdir()?;
    for (name, text) in FILES {
        fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}

/// What the configuration's `${env:…}` stand for. The variables of the process are left out: the demo is the same
/// wherever it runs.
fn environment(options: &DemoOptions, access_log: &str, services: &Services, cluster: &Cluster) -> Environment {
    let variables = [
        ("PORTOLAN_LISTEN", options.listen.to_string()),
        ("PORTOLAN_ADMIN", options.admin.to_string()),
        ("PORTOLAN_ACCESS_LOG", access_log.to_owned()),
        ("PORTOLAN_ORDERS", format!("http://{}", services.orders)),
        ("PORTOLAN_SHOP", format!("http://{}", services.shop)),
        ("PORTOLAN_KAFKA", cluster.bootstrap().to_owned()),
    ];
    Arc::new(move |wanted| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone()))
}

/// Publishes each order under its id, so that what happens to one order keeps its sequence.
fn publish_to(cluster: &Cluster) -> Publish {
    let broker = Kafka::new("demo-shop", &[cluster.bootstrap().to_owned()]);
    Arc::new(move |order| {
        let value = serde_json::to_vec(&order).expect("an order is texts and numbers");
        let record = Record { key: Some(order.id.into()), value: value.into(), ..Record::default() };
        let published = broker.publish(TOPIC, record);
        async move { published.await.map(drop).map_err(|error| error.to_string()) }.boxed()
    })
}

/// Why the gateway did not start. An address in use is what happens to people, so that comes with its way out.
fn advice(error: &StartError) -> String {
    match error {
        StartError::Configuration(_) => error.to_string(),
        StartError::System { .. } => {
            format!("{error}; `--listen` and `--admin` take other addresses, port 0 any free port")
        }
    }
}

#[cfg(test)]
mod tests;
