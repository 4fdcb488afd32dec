//! Shards: sessions go on when the actor that drives them panics, and are told when it has failed for good.

use serde_json::json;

use super::topic::{gateway, publish, received};
use super::{fail, panic, revive, shown};
use crate::kit::session::Session;
use crate::kit::wait;

#[test]
fn sessions_go_on_through_a_panic_of_their_shard() {
    let (_kafka, gateway) = gateway(1);
    let mut sessions = [(); 3].map(|()| Session::open(gateway.address(), "/events", &[]));
    for session in &mut sessions {
        session.subscribe("orders");
    }
    let first = (1, publish(&gateway, 1));
    for session in &mut sessions {
        assert_eq!(received(session, 1), std::slice::from_ref(&first));
    }
    panic(&gateway, "shard/0");
    // Commands need no shard, and what comes while it is down waits in the log.
    let second = (2, publish(&gateway, 2));
    for session in &mut sessions {
        session.send(json!({ "type": "ping" }));
        session.receive("pong", |_| true);
    }
    revive(&gateway, "shard/0");
    let third = (3, publish(&gateway, 3));
    for session in &mut sessions {
        assert_eq!(received(session, 2), [second.clone(), third.clone()]);
    }
    let actor = shown(&gateway, "shard/0");
    assert_eq!([&actor["status"], &actor["restarts"]], [&json!("running"), &json!(1)]);
    assert_eq!([&actor["state"]["sessions_failed"], &actor["state"]["pending"]], [&json!(0), &json!(0)]);
}

#[test]
fn a_shard_that_has_failed_for_good_closes_its_sessions_and_no_others() {
    let (_kafka, gateway) = gateway(2);
    // Which worker takes a connection is the system's choice: enough of them, and both have some.
    let mut sessions: Vec<_> = Vec::new();
    let count = |shard: &str| shown(&gateway, shard)["state"]["sessions"]["count"].as_u64().unwrap();
    wait::until("both workers have sessions", || {
        let mut session = Session::open(gateway.address(), "/events", &[]);
        session.subscribe("orders");
        sessions.push(session);
        gateway.advance(std::time::Duration::from_secs(1));
        count("shard/0") > 0 && count("shard/1") > 0
    });
    fail(&gateway, "shard/0");
    let ready = gateway.admin().get("/readyz").assert_status(503).json();
    assert_eq!(ready["failed_actors"], json!(["shard/0"]));
    let event = (1, publish(&gateway, 1));

    let (mut closed, mut served) = (0, 0);
    for mut session in sessions {
        match session.next_or_closed() {
            Ok(frame) => {
                assert_eq!(frame["events"][0]["pos"], event.1, "{frame}");
                served += 1;
            }
            Err(end) => {
                assert_eq!((end.code, end.reason.as_str()), (1011, "the gateway failed"));
                closed += 1;
            }
        }
    }
    assert!(closed > 0 && served > 0, "{closed} closed, {served} served");
}
