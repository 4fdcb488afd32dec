//! Errands: work that a policy began and that outlives the client.

use std::time::Duration;

use portolan_exchange::{Phase, Step};
use serde_json::json;

use super::plain;
use super::scout::{Notes, Scout, who};
use crate::kit::{FakeUpstream, RawClient, wait};

const SECOND: Duration = Duration::from_secs(1);

/// Sends an errand for each request: `/soon` takes three seconds, `/late` longer than the five it may take, `/trap` panics.
fn sender(notes: &Notes) -> Scout {
    let done = notes.clone();
    Scout::new("sender", Phase::Cache, notes).on_request(move |worker, exchange| {
        let who = who(exchange);
        let takes = match who.as_str() {
            "/soon" => 3 * SECOND,
            "/late" => 6 * SECOND,
            "/trap" => Duration::ZERO,
            _ => return Step::Next,
        };
        let (timer, done) = (worker.clock.sleep(takes), done.clone());
        let ended = Ended(done.clone(), who.clone());
        let errand = async move {
            timer.await;
            assert!(who != "/trap", "walked into the trap");
            done.note(format_args!("errand of {who} done"));
            drop(ended);
        };
        worker.errands.run(5 * SECOND, errand).expect("there is room for an errand");
        Step::Next
    })
}

struct Ended(Notes, String);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.note(format_args!("errand of {} over", self.1));
    }
}

#[test]
fn an_errand_outlives_its_client_and_ends_in_its_own_time() {
    let notes = Notes::default();
    let upstream = FakeUpstream::hanging();
    let gateway = plain(&upstream.url(), [sender(&notes)]);
    for path in ["/soon", "/late"] {
        let mut client = RawClient::connect(gateway.address());
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        upstream.wait_until("the call", |seen| seen.target == path);
    }
    // Both clients are gone, and their calls with them.
    upstream.wait_for_cancelled(2);
    gateway.log(2);
    gateway.advance(3 * SECOND);
    notes.wait_for("errand of /soon done");
    assert!(!notes.all().iter().any(|note| note.starts_with("errand of /late")), "{:?}", notes.all());
    gateway.advance(2 * SECOND);
    notes.wait_for("errand of /late over");
    gateway.advance(5 * SECOND);
    let errands: Vec<_> = notes.all().into_iter().filter(|note| note.starts_with("errand")).collect();
    assert_eq!(errands, ["errand of /soon done", "errand of /soon over", "errand of /late over"]);
}

#[test]
fn an_errand_that_panics_takes_nothing_with_it() {
    let notes = Notes::default();
    let upstream = FakeUpstream::answering(200, json!("sound"));
    let counter = Scout::new("counter", Phase::Call, &Notes::default()).on_request({
        let notes = notes.clone();
        move |worker, exchange| {
            if who(exchange) == "/count" {
                notes.note(format_args!("{} errands", worker.errands.running()));
            }
            Step::Next
        }
    });
    let gateway = plain(&upstream.url(), [sender(&notes), counter]);
    gateway.get("/trap").assert_status(200);
    notes.wait_for("errand of /trap over");
    wait::until("its place is free again", || {
        gateway.get("/count").assert_status(200);
        notes.all().iter().any(|note| note == "0 errands")
    });
}
