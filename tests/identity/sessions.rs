//! Sessions that were opened with a token: they end with it, and with the key that signed it.

use portolan_identity::testing::key_set;
use serde_json::json;

use super::{LOOK, NOW, SECOND, claims, keys, publish};
use crate::kit::TestGateway;
use crate::kit::kafka::{Kafka, MockKafka};
use crate::kit::session::{Closed, Session};

const ASYNCAPI: &str = r"
    asyncapi: 3.0.0
    info: { title: Events, version: 1.0.0 }
    channels: { made: { address: made } }
    operations:
      tell: { action: send, channel: { $ref: '#/channels/made' } }
      take: { action: receive, channel: { $ref: '#/channels/made' } }
";

fn gateway(kafka: &MockKafka) -> TestGateway {
    TestGateway::with_config(
        r#"
        identity: { partners: { jwt: { jwks: ./keys.json, issuer: https://idp.example.com, audience: api } } }
        brokers: { main: { kafka: { bootstrap: [ "{kafka}" ] } } }
        apis:
          events: { version: v1, asyncapi: ./events.yaml, path: /events, broker: main, authenticate: [ partners ], sessions: { heartbeat: 1h, first_frame_credentials: allowed } }
        consumers: { acme: { subscriptions: [ { api: events } ] } }
        "#,
    )
    .with("kafka", kafka.bootstrap())
    .file("events.yaml", ASYNCAPI)
    .file("keys.json", &key_set(&[&keys().p256, &keys().next]))
    .start()
}

fn open(gateway: &TestGateway, token: &str) -> Session {
    let mut session = Session::open(gateway.address(), "/events", &[("authorization", &format!("Bearer {token}"))]);
    session.receive("connected", |_| true);
    session
}

#[test]
fn a_session_ends_with_the_token_it_was_opened_with() {
    let kafka = MockKafka::start(&[("made", 1)]);
    let gateway = gateway(&kafka);
    let mut session = open(&gateway, &keys().p256.token(&claims(json!({ "exp": NOW + 60 }))));
    session.subscribe("made");
    gateway.advance(89 * SECOND);
    session.publish("made", "k", &json!(1));
    assert_eq!(session.event(|_| true)["data"], 1);
    gateway.advance(SECOND);
    assert_eq!(session.closed(), Closed { code: 4401, reason: "the credentials have expired".into() });
}

#[test]
fn a_session_is_over_for_commands_when_the_key_of_its_token_is_gone() {
    let kafka = MockKafka::start(&[("made", 1)]);
    let gateway = gateway(&kafka);
    let (mut of_old, mut of_next) = (
        open(&gateway, &keys().p256.token(&claims(json!({})))),
        open(&gateway, &keys().next.token(&claims(json!({})))),
    );
    publish(&gateway, &key_set(&[&keys().next]));
    let reloads = || gateway.admin().get("/readyz").json()["configuration"]["reloads"].clone();
    gateway.advance_until("the reload", LOOK, || reloads() == 1);
    let id = of_old.send(json!({ "type": "subscribe", "channel": "made" }));
    let told = "the credentials of this session were revoked";
    let expected =
        json!({ "type": "error", "id": id, "code": "credentials_invalid", "message": told, "temporary": false });
    assert_eq!(of_old.refused(id), expected);
    of_next.subscribe("made");
}

#[test]
fn a_token_may_come_in_the_first_frame() {
    let kafka = MockKafka::start(&[("made", 1)]);
    let gateway = gateway(&kafka);
    let mut session = Session::open(gateway.address(), "/events", &[]);
    session.send(json!({ "type": "connect", "token": keys().p256.token(&claims(json!({}))) }));
    session.receive("connected", |_| true);
    session.subscribe("made");
    let mut forged = Session::open(gateway.address(), "/events", &[]);
    forged.send(json!({ "type": "connect", "token": keys().strange_p256.token(&claims(json!({}))) }));
    assert_eq!(forged.closed().code, 4401);
}
