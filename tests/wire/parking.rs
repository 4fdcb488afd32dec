//! Connections that were idle for so long that they hold no task: nobody may notice.

use std::thread;

use super::{SECOND, answer, get, listening, naming, ok, plain};
use crate::kit::raw::End;
use crate::kit::{RawClient, RawUpstream, TestGateway, wait};

/// Lets time pass until so many connections are parked.
fn park(gateway: &TestGateway, count: usize) {
    gateway.advance_until("they are parked", SECOND / 10, || parked(gateway) == count);
}

fn parked(gateway: &TestGateway) -> usize {
    gateway.metric("portolan_connections_parked") as usize
}

fn open(gateway: &TestGateway) -> usize {
    gateway.metric("portolan_connections") as usize
}

/// So many clients that have asked once, and are parked now.
fn crowd(gateway: &TestGateway, count: usize) -> Vec<RawClient> {
    let clients = (0..count).map(|_| {
        let mut client = RawClient::connect(gateway.address());
        client.send(get("/first"));
        assert_eq!(answer(&mut client, "GET"), ok("/first"));
        client
    });
    let clients = clients.collect();
    park(gateway, count);
    clients
}

/// Ends a client's connection.
fn leave(client: RawClient, how: End) {
    match how {
        End::Closed => drop(client),
        End::Reset => client.reset(),
    }
}

fn ask(client: &mut RawClient, path: &str) {
    client.send(get(path));
    assert_eq!(answer(client, "GET"), ok(path));
}

#[test]
fn a_parked_connection_is_served_again_as_often_as_it_asks() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut clients = crowd(&gateway, 20);
    for round in 1..=3 {
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(parked(&gateway), 20 - index, "round {round}");
            ask(client, "/again");
        }
        park(&gateway, 20);
    }
    assert_eq!((open(&gateway), gateway.metric("portolan_connections_total")), (20, 20.0));
    assert_eq!(upstream.count(), 80);
}

#[test]
fn a_connection_that_never_asked_is_parked_and_may_speak_either_version_of_http() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut clients = [(); 2].map(|()| RawClient::connect(gateway.address()));
    park(&gateway, 2);
    ask(&mut clients[0], "/first");
    // The preface of HTTP/2 and no settings; the answer begins with a frame of settings (RFC 9113, section 3.4).
    clients[1].send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(clients[1].read_bytes(9)[3], 4);
}

#[test]
fn what_arrives_piece_by_piece_or_all_at_once_on_a_parked_connection_is_read_as_ever() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut client = crowd(&gateway, 1).remove(0);
    client.send("G");
    wait::until("it has a task", || parked(&gateway) == 0);
    // With a byte of a head it is idle no more.
    gateway.advance(5 * SECOND);
    client.send("ET /pieces HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer(&mut client, "GET"), ok("/pieces"));
    park(&gateway, 1);
    client.send((0..50).map(|index| get(&format!("/{index}"))).collect::<String>());
    for index in 0..50 {
        assert_eq!(answer(&mut client, "GET"), ok(&format!("/{index}")));
    }
    park(&gateway, 1);
    client.send("what is this\r\n\r\n");
    assert_eq!(client.answer_to("GET").status(), 400);
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn what_arrives_at_the_moment_of_parking_is_answered() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut clients = crowd(&gateway, 3);
    let mut parked_before = 0;
    for round in 0..200 {
        // All fall idle at one moment of the clock and are parked by its next step, while they ask already.
        for client in &mut clients {
            client.send(get("/in").repeat(1 + round % 2));
        }
        for client in &mut clients {
            for _ in 0..=round % 2 {
                assert_eq!(answer(client, "GET"), ok("/in"));
            }
        }
        gateway.advance(SECOND / 2);
        parked_before += usize::from(parked(&gateway) > 0);
    }
    assert!(parked_before > 0, "nobody was parked in 200 rounds");
    assert_eq!((open(&gateway), upstream.count()), (3, 3 + 3 * 300));
}

#[test]
fn a_parked_connection_ends_after_its_time_which_began_with_its_last_answer() {
    let upstream = naming();
    let gateway = listening("idle_timeout: 1m", &upstream.url());
    let began = gateway.clock().now();
    let mut clients = crowd(&gateway, 3);
    let at = |seconds: u32| gateway.advance(began.after(seconds * SECOND).since(gateway.clock().now()));
    at(59);
    ask(&mut clients[0], "/in-time");
    // What is begun and not finished is no idle connection: its head has a time of its own.
    clients[1].send("G");
    wait::until("it has a task", || parked(&gateway) <= 1);
    at(61);
    assert_eq!(clients[2].end(), End::Closed);
    wait::until("it is let go", || open(&gateway) == 2);
    clients[1].send("ET /begun HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(answer(&mut clients[1], "GET"), ok("/begun"));
    park(&gateway, 2);
    at(100);
    ask(&mut clients[0], "/once-more");
    park(&gateway, 2);
    at(125);
    assert_eq!(clients[1].end(), End::Closed);
    wait::until("it is let go", || (open(&gateway), parked(&gateway)) == (1, 1));
    ask(&mut clients[0], "/last");
}

#[test]
fn requests_are_counted_over_the_whole_life_of_a_connection() {
    let upstream = naming();
    let gateway = listening("max_requests: 3", &upstream.url());
    let mut client = crowd(&gateway, 1).remove(0);
    ask(&mut client, "/second");
    park(&gateway, 1);
    client.send(get("/third"));
    assert_eq!(answer(&mut client, "GET").field("connection"), Some("close".to_owned()));
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn parked_connections_count_for_their_listener_until_their_client_leaves() {
    let upstream = naming();
    for how in [End::Closed, End::Reset] {
        let gateway = listening("max_connections: 2", &upstream.url());
        let mut clients = crowd(&gateway, 2);
        let mut next = RawClient::connect(gateway.address());
        next.send(get("/next"));
        ask(&mut clients[0], "/in");
        assert!(next.is_quiet(), "a third connection was served");
        park(&gateway, 2);
        leave(clients.remove(1), how);
        assert_eq!(answer(&mut next, "GET"), ok("/next"));
        park(&gateway, 2);
        leave(next, how);
        leave(clients.remove(0), how);
        wait::until("all are let go", || (open(&gateway), parked(&gateway)) == (0, 0));
    }
}

#[test]
fn parked_connections_count_for_their_address_until_their_client_leaves() {
    let upstream = naming();
    for how in [End::Closed, End::Reset] {
        let gateway = listening("max_connections_per_address: 2", &upstream.url());
        let mut clients = crowd(&gateway, 2);
        let another = || {
            let mut another = RawClient::connect(gateway.address());
            (another.try_send(get("/next")) && another.try_answer_to("GET").is_some()).then_some(another)
        };
        assert!(another().is_none(), "a third connection was served");
        assert_eq!(parked(&gateway), 2);
        leave(clients.remove(1), how);
        wait::until_some("there is room again", another);
        ask(&mut clients[0], "/in");
    }
}

#[test]
fn the_client_that_a_proxy_header_named_stays_the_client() {
    let upstream = naming();
    let gateway = listening("trusted_proxies: [ 127.0.0.1 ], proxy_protocol: require", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(format!("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n{}", get("/in")));
    assert_eq!(answer(&mut client, "GET"), ok("/in"));
    park(&gateway, 1);
    ask(&mut client, "/in");
    let told: Vec<_> = upstream.requests().iter().map(|request| request.field("x-forwarded-for")).collect();
    assert_eq!(told, [Some("192.0.2.7".to_owned()), Some("192.0.2.7".to_owned())]);
}

#[test]
fn a_gateway_that_ends_closes_what_is_parked_at_once() {
    let may_answer = wait::Watched::<bool>::default();
    let opened = may_answer.clone();
    let upstream = RawUpstream::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.start.contains("/slow") {
                opened.wait("the upstream may answer", |may| may.then_some(()));
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n/first");
        }
    });
    let gateway = plain(&upstream.url());
    let mut clients = crowd(&gateway, 3);
    let mut asking = RawClient::connect(gateway.address());
    asking.send(get("/slow"));
    upstream.wait_for_requests(4);
    let ending = thread::spawn(move || drop(gateway));
    for client in &mut clients {
        assert_eq!(client.end(), End::Closed);
    }
    // That was at once: what is under way is still waited for.
    assert!(!ending.is_finished());
    may_answer.change(|may| *may = true);
    assert_eq!(asking.answer_to("GET").status(), 200);
    ending.join().unwrap();
}
