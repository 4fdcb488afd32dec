//! Says what to try in the demo, as commands that can be pasted, and where everything is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The addresses of a running demo. Its `Display` is what a newcomer reads.
pub(super) struct Guide<'a> {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) kafka: &'a str,
    pub(super) configuration: &'a Path,
}

impl fmt::Display for Guide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gateway, admin, kafka) = (reachable(self.gateway), reachable(self.admin), self.kafka);
        let configuration = self.configuration.display();
        write!(
            f,
            r#"A gateway with everything behind it, in this one process: a REST service, a GraphQL service, and a broker that
speaks Kafka's protocol: librdkafka's mock cluster, which is not Kafka and forgets all when the demo ends.
Copy the configuration from examples/demo to run a gateway of your own; docs/demo.md explains it.

REST: some orders, one order, a new one, and the products, which the GraphQL service answers:

  curl -H 'x-api-key: demo-key' 'http://{gateway}/orders-api/v3/orders?limit=3'
  curl -H 'x-api-key: demo-key' http://{gateway}/orders-api/v3/orders/1
  curl -H 'x-api-key: demo-key' --json '{{"productId": "1", "customerId": "1", "quantity": 2}}' http://{gateway}/orders-api/v3/orders
  curl -H 'x-api-key: demo-key' http://{gateway}/orders-api/v3/products

GraphQL: a query, a mutation, and a query that is refused because it would cost too much:

  curl -H 'x-api-key: demo-key' --json '{{"query": "{{ products(first: 2) {{ name orders(first: 1) {{ quantity customer {{ name }} }} }} }}"}}' http://{gateway}/shop/graphql
  curl -H 'x-api-key: demo-key' --json '{{"query": "mutation {{ createOrder(productId: \"1\", customerId: \"1\", quantity: 3) {{ id }} }}"}}' http://{gateway}/shop/graphql
  curl -H 'x-api-key: demo-key' --json '{{"query": "{{ products(first: 100) {{ orders(first: 100) {{ customer {{ id }} }} }} }}"}}' http://{gateway}/shop/graphql

Events: watch new orders on a WebSocket, and make some in another terminal as above, by publishing, or with a Kafka client:

  npx -y wscat -c ws://{gateway}/order-events/v2 -s portolan.events.v1 -H 'x-api-key: demo-key' -w 600 -x '{{"id": 1, "type": "subscribe", "channel": "orders.created"}}'
  curl -H 'x-api-key: demo-key' --json '{{"id": "from-curl", "quantity": 1}}' http://{gateway}/order-events/v2/orders.created
  echo '{{"id": "from-kcat", "quantity": 1}}' | kcat -P -b {kafka} -t orders.created.v2 -k from-kcat
  kcat -C -b {kafka} -t orders.created.v2

What is refused: no key is 401, the sixth request of `demo-free` in a minute is 429, and it has no events at all:

  curl -i http://{gateway}/orders-api/v3/orders
  for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\n' -H 'x-api-key: demo-free' http://{gateway}/orders-api/v3/orders; done
  curl -i -H 'x-api-key: demo-free' --json '{{"id": "1", "quantity": 1}}' http://{gateway}/order-events/v2/orders.created

A change of the configuration takes effect while it runs; this one lets the expensive query through:

  sed -i 's/max_cost: 1000/max_cost: 100000/' {configuration}

What the gateway knows of itself:

  curl http://{admin}/readyz
  curl http://{admin}/routes
  curl http://{admin}/actors
  curl http://{admin}/metrics

gateway: http://{gateway}
admin: http://{admin}
kafka: {kafka}
ready: one line for each request follows; Ctrl-C ends the demo
"#
        )
    }
}

/// An address that a command on this machine can name: the unspecified one is where something listens, not where it is.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(gateway: &str, admin: &str) -> String {
        let (gateway, admin) = (gateway.parse().unwrap(), admin.parse().unwrap());
        Guide { gateway, admin, kafka: "127.0.0.1:9", configuration: Path::new("/demo/portolan.yaml") }.to_string()
    }

    #[test]
    fn the_last_lines_are_for_programs() {
        let told = told("127.0.0.1:8080", "127.0.0.1:9901");
        let last: Vec<_> = told.lines().rev().take(4).collect();
        assert_eq!(
            last,
            [
                "ready: one line for each request follows; Ctrl-C ends the demo",
                "kafka: 127.0.0.1:9",
                "admin: http://127.0.0.1:9901",
                "gateway: http://127.0.0.1:8080",
            ]
        );
        let early = told.lines().rev().skip(4);
        assert_eq!(early.filter(|line| line.starts_with("ready") || line.contains(": http://")).count(), 0);
    }

    #[test]
    fn commands_name_addresses_that_can_be_reached_from_here() {
        let told = told("0.0.0.0:8080", "[::]:9901");
        assert!(!told.contains("0.0.0.0:") && !told.contains("[::]:"), "{told}");
        assert!(told.contains("\ngateway: http://127.0.0.1:8080\n") && told.contains("\nadmin: http://[::1]:9901\n"));
    }
}
