//! Actors that panic while they hold work: what they own stands in views, and nobody on the request path notices.

mod breaker;
mod failed;
mod limiter;
mod others;
mod publisher;
mod shard;
mod topic;

use std::time::Duration;

use portolan_actors::supervision::Status;
use serde_json::Value;

use crate::kit::{TestGateway, wait};

const SECOND: Duration = Duration::from_secs(1);

/// A channel both ways, kept in the topic of its name.
pub const EVENTS: &str = r"
    asyncapi: 3.0.0
    info: { title: Events, version: 1.0.0 }
    channels:
      orders: { address: orders, messages: { order: { payload: { } } } }
    operations:
      tell: { action: send, channel: { $ref: '#/channels/orders' } }
      take: { action: receive, channel: { $ref: '#/channels/orders' } }
";

/// Lets an actor panic and waits until it is down: it restarts when the clock is moved.
fn panic(gateway: &TestGateway, name: &str) {
    let registry = gateway.inner().registry();
    let before =
        registry.restarts(name).unwrap_or_else(|| panic!("there is no actor `{name}`: {:#?}", registry.states()));
    assert!(registry.make_panic(name), "`{name}` is down already");
    wait::until(&format!("`{name}` is down"), || {
        registry.restarts(name) == Some(before + 1) || registry.status(name) == Some(Status::Failed)
    });
}

/// Moves the clock until an actor runs again, and hardly further: its first pause is 50 ms, and each further one within a minute
/// is twice as long.
fn revive(gateway: &TestGateway, name: &str) {
    let registry = gateway.inner().registry();
    let restarts = registry.restarts(name).expect("an actor that panicked is known");
    let pause = Duration::from_millis(50 << (restarts - 1));
    let mut turn = 0;
    wait::until(&format!("`{name}` runs again"), || {
        // Its timer may begin a moment after it is known to be down: the clock is moved once more if nothing comes of it.
        if turn % 200 == 0 {
            gateway.advance(pause);
        }
        turn += 1;
        registry.status(name) == Some(Status::Running)
    });
}

/// Lets an actor panic until it is given up.
fn fail(gateway: &TestGateway, name: &str) {
    for _ in 0..5 {
        panic(gateway, name);
        revive(gateway, name);
    }
    panic(gateway, name);
    assert_eq!(gateway.inner().registry().status(name), Some(Status::Failed));
}

/// An actor as the admin port shows it.
fn shown(gateway: &TestGateway, name: &str) -> Value {
    let mut page = gateway.admin().get("/actors").assert_status(200).json();
    let actors = page["actors"].as_array_mut().expect("a list of actors");
    let at = actors.iter().position(|actor| actor["name"] == name);
    actors.swap_remove(at.unwrap_or_else(|| panic!("`{name}` is not shown: {actors:#?}")))
}

/// The state of an actor as the admin port shows it.
fn state(gateway: &TestGateway, name: &str) -> Value {
    shown(gateway, name)["state"].take()
}
