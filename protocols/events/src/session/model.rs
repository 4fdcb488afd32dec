//! The promise of a subscription, against a model: every event once, in order, or announced as missing with its exact count;
//! and the buffer within its bound, whatever the client takes and whenever.

use portolan_exchange::events::Bounds;
use proptest::prelude::*;
use serde_json::Value;

use super::tests::{Client, record};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Events come into a log: their sizes.
    Append(usize, Vec<usize>),
    /// The shard lets the session take what is ready.
    Fill,
    /// The shard lets the session write what is ready in a log, and the socket takes so many bytes.
    Pass(usize, usize),
    /// The client takes so many bytes.
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => 1_usize..2_000, 2 => 2_000_usize..60_000, 1 => Just(300_000_usize)];
    prop_oneof![
        3 => (0_usize..2, prop::collection::vec(size, 1..12)).prop_map(|(log, sizes)| Step::Append(log, sizes)),
        1 => Just(Step::Fill),
        3 => (0_usize..2, prop_oneof![Just(usize::MAX), 0_usize..20_000]).prop_map(|(log, taken)| Step::Pass(log, taken)),
        2 => (1_usize..120_000).prop_map(Step::Take),
    ]
}

/// What a client of one subscription knows, against what was appended.
#[derive(Default)]
struct Model {
    appended: Vec<(String, usize)>,
    next: usize,
    last: Option<String>,
    announced_to: Option<String>,
}

impl Model {
    fn hear(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("message") => {
                let event = &frame["events"][0];
                let (pos, size) = &self.appended[self.next];
                assert_eq!(event["pos"], **pos, "events come in order, none twice, none left out in silence");
                assert_eq!(event["data"].as_str().map(str::len), Some(*size));
                if let Some(to) = self.announced_to.take() {
                    assert_eq!(to, *pos, "a gap ends where the next event stands");
                }
                self.last = Some(pos.clone());
                self.next += 1;
            }
            Some("gap") => {
                assert_eq!(frame["from"].as_str(), self.last.as_deref(), "a gap begins behind the last event");
                self.next += usize::try_from(frame["count"].as_u64().expect("a gap has a count")).unwrap();
                self.announced_to = Some(frame["to"].as_str().expect("a gap has an end").to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn every_event_comes_once_in_order_or_is_announced_as_missing(
        steps in prop::collection::vec(step(), 1..50),
        kept in 1_usize..40,
    ) {
        let bounds = Bounds { events: kept, bytes: usize::MAX };
        let logs = [EventLog::new("topic.c", bounds), EventLog::new("topic.b", bounds)];
        let mut client = Client::new(Settings::default(), Standing::Identified);
        client.take(usize::MAX);
        let numbers = [client.subscribe("c", &logs[0]), client.subscribe("b", &logs[1])];
        let mut models = [Model::default(), Model::default()];
        let (mut heard, bursts) = (Vec::new(), Bursts::default());
        for step in steps {
            match step {
                Step::Append(which, sizes) => {
                    let model = &mut models[which];
                    let batch = sizes.iter().map(|size| {
                        let at = model.appended.len();
                        let (partition, offset) = (at % 3, at / 3);
                        model.appended.push((format!("{partition}:{offset}"), *size));
                        record(i32::try_from(partition).unwrap(), i64::try_from(offset).unwrap(), format!("\"{}\"", "x".repeat(*size)))
                    });
                    logs[which].append(batch.collect());
                }
                Step::Fill => {
                    client.machine.fill();
                    let waiting = client.machine.outgoing().len();
                    // An event larger than the bound goes alone.
                    prop_assert!(waiting <= OUT_MAX.max(300_200 + GAP), "{waiting} bytes wait");
                }
                Step::Pass(which, taken) => {
                    heard.extend(client.pass(&logs[which], &bursts, taken));
                    let waiting = client.machine.outgoing().len();
                    prop_assert!(waiting <= OUT_MAX.max(300_200 + GAP), "{waiting} bytes wait");
                }
                Step::Take(count) => heard.extend(client.take(count)),
            }
        }
        loop {
            client.machine.fill();
            if client.machine.outgoing().is_empty() {
                break;
            }
            heard.extend(client.take(usize::MAX));
        }
        for frame in &heard {
            let which = numbers.iter().position(|number| frame["ch"] == *number).expect("a frame of one of the two");
            models[which].hear(frame);
        }
        for model in &models {
            prop_assert_eq!(model.next, model.appended.len(), "nothing is left over");
        }
    }
}

/// What a `gap` before a lone event may add.
const GAP: usize = 256;
