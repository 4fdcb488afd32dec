//! Floods of tokens that are not good: verifying costs, and who makes us do it in vain is not served for a while.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{SECOND, claims, counted, keys, setup, token, with_token};
use crate::kit::wait::PATIENCE;
use crate::kit::{FakeUpstream, TestGateway};

/// A token that nobody has seen, signed by somebody else.
fn forged(number: u32) -> String {
    keys().strange_p256.token(&claims(json!({ "jti": number })))
}

#[test]
fn an_address_that_shows_forged_tokens_is_limited_and_what_is_known_goes_on() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "failures: { limit: 3, every: 30s }").start();
    let known = token(&keys().p256);
    with_token(&gateway, &known).assert_status(200);
    for number in 0..3 {
        let problem = with_token(&gateway, &forged(number)).assert_problem(401, "credentials_invalid");
        assert_eq!(problem["reason"], "bad_signature");
    }
    let refused = with_token(&gateway, &forged(3));
    let told = "3 tokens per 30s from this address were not signed by their issuer; retry in 10s";
    assert_eq!(refused.assert_problem(429, "rate_limited"), json!({ "detail": told, "limit": 3 }));
    assert_eq!((refused.header("retry-after").as_deref(), refused.header("www-authenticate")), (Some("10"), None));
    // One that would be good is not verified either, and one that was is.
    let good = keys().p256.token(&claims(json!({ "jti": "another" })));
    with_token(&gateway, &good).assert_problem(429, "rate_limited");
    with_token(&gateway, &known).assert_status(200);
    // What costs nothing is told as before.
    with_token(&gateway, &keys().p256.token(&claims(json!({ "aud": "web" }))))
        .assert_problem(401, "credentials_invalid");
    assert_eq!(counted(&gateway), [1.0, 1.0, 4.0, 2.0]);
    gateway.advance(10 * SECOND);
    with_token(&gateway, &good).assert_status(200);
    // A good one is not counted: there is still room for one that is not.
    with_token(&gateway, &forged(4)).assert_problem(401, "credentials_invalid");
    with_token(&gateway, &forged(5)).assert_problem(429, "rate_limited");
}

#[test]
fn good_tokens_are_never_counted_however_many_there_are() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "failures: { limit: 1, every: 1h }").start();
    for number in 0..20 {
        with_token(&gateway, &keys().p256.token(&claims(json!({ "jti": number })))).assert_status(200);
    }
    assert_eq!(counted(&gateway), [0.0, 20.0, 0.0, 0.0]);
}

/// The status of a request from another address of this machine.
fn status_from(source: [u8; 4], gateway: &TestGateway, token: &str) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("GET /plain HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn one_address_that_is_limited_is_no_other() {
    let upstream = FakeUpstream::echo();
    let gateway = setup(&upstream, "failures: { limit: 2, every: 1h }").start();
    let (here, there) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let statuses: Vec<_> = (0..4).map(|number| status_from(here, &gateway, &forged(number))).collect();
    assert_eq!(statuses, ["401", "401", "429", "429"]);
    assert_eq!(status_from(there, &gateway, &token(&keys().p256)), "200");
    assert_eq!(status_from(there, &gateway, &forged(9)), "401");
}

#[test]
fn a_flood_from_one_connection_leaves_the_gateway_serving_others() {
    let upstream = FakeUpstream::answering(200, Value::from("sound"));
    let gateway = setup(&upstream, "failures: { limit: 5, every: 1h }").start();
    let known = token(&keys().p256);
    with_token(&gateway, &known).assert_status(200);
    let bad = forged(0);
    let statuses: Vec<_> = (0..300).map(|_| with_token(&gateway, &bad).status).collect();
    assert_eq!((statuses.iter().filter(|status| **status == 401).count(), statuses.last()), (5, Some(&429)));
    assert_eq!(with_token(&gateway, &known).assert_status(200).json(), "sound");
    assert_eq!(counted(&gateway)[2..], [5.0, 295.0]);
}
