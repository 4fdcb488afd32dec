//! Events over the wire: sessions over WebSocket, publishing over HTTP, a broker behind them.

mod faults;
mod http;
mod sessions;
mod story;

use crate::kit::TestGateway;
use crate::kit::gateway::Setup;
use crate::kit::session::Session;

/// Three channels: `orders.created` both ways, `orders.told` to clients alone, `orders.asked` from clients alone.
const ASYNCAPI: &str = r"
    asyncapi: 3.0.0
    info: { title: Order events, version: 2.0.0 }
    channels:
      created:
        address: orders.created
        messages: { orderCreated: { contentType: application/json, payload: { type: object } } }
        bindings: { kafka: { topic: orders.created.v2 } }
      told: { address: orders.told }
      asked: { address: orders.asked }
    operations:
      tellCreated: { action: send, channel: { $ref: '#/channels/created' } }
      takeCreated: { action: receive, channel: { $ref: '#/channels/created' } }
      tell: { action: send, channel: { $ref: '#/channels/told' } }
      take: { action: receive, channel: { $ref: '#/channels/asked' } }
";

/// Where the channels are kept.
const TOPICS: [(&str, i32); 3] = [("orders.created.v2", 3), ("orders.told", 1), ("orders.asked", 1)];

/// The topic of `orders.created`.
const TOPIC: &str = "orders.created.v2";

/// A gateway with these channels on this cluster, and more said of the API.
fn setup(bootstrap: &str, more: &str) -> Setup {
    TestGateway::with_config(
        r#"
        brokers: { main: { kafka: { bootstrap: [ "{bootstrap}" ], ring: { events: 100 } } } }
        apis:
          events: { version: v2, asyncapi: ./events.asyncapi.yaml, path: /events, broker: main {more} }
        "#,
    )
    .with("bootstrap", bootstrap)
    .with("more", more)
    .file("events.asyncapi.yaml", ASYNCAPI)
}

fn open(gateway: &TestGateway) -> Session {
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.receive("connected", |_| true);
    session
}
