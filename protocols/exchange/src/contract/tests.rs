//! The contract tests hold against a protocol that keeps its promises, and each fails against one that breaks its own.

use super::*;
use crate::value::{Payload, Type, Value};
use crate::{Answer, Content, LocalBoxFuture, Method, Reply, Response, Target, Upstream};

/// A protocol that passes everything through, or breaks a promise.
#[derive(Clone, Copy, PartialEq)]
enum Breach {
    None,
    ShowsCauses,
    ForgetsFields,
    GathersReplies,
    HidesBreaks,
    GathersRequests,
    LeavesErrands,
    GrantsMoreTime,
    ReadsTooFar,
}

struct Wire(Breach);

impl Inbound for Wire {
    fn protocol(&self) -> &'static str {
        "wire"
    }

    fn gathers(&self, exchange: &Exchange) -> Option<usize> {
        let bound = if self.0 == Breach::ReadsTooFar { 1_001 } else { 1_000 };
        (exchange.request.method == Method::Put).then_some(bound)
    }

    fn describe(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Result<Described, Fault> {
        FakeInbound.describe(worker, exchange)
    }

    fn render(&self, exchange: &Exchange, answer: Answer) -> Response {
        let answer = match answer {
            Err(fault) if self.0 == Breach::ShowsCauses => {
                let shown = fault.cause().unwrap_or_default().to_owned();
                Err(fault.field("x-cause", &shown))
            }
            Err(fault) if self.0 == Breach::ForgetsFields => {
                let mut response = fault.response(&exchange.id.to_string());
                response.fields.remove("www-authenticate");
                return response;
            }
            Ok(Reply { status, fields, content: Content::Bytes(body) }) if self.0 == Breach::GathersReplies => {
                let body = body.collect(10_000).now_or_never().and_then(Result::ok).unwrap_or_default();
                Ok(Reply { status, fields, content: Content::Bytes(Body::whole(body.bytes)) })
            }
            Ok(Reply { status, fields, content: Content::Bytes(body) }) if self.0 == Breach::HidesBreaks => {
                Ok(Reply { status, fields, content: Content::Bytes(Body::stream(Hiding(body))) })
            }
            other => other,
        };
        FakeInbound.render(exchange, answer)
    }
}

/// Ends where its source breaks off.
struct Hiding(Body);

impl crate::BodyStream for Hiding {
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<crate::Frame, BodyError>>> {
        self.0.poll_frame(context).map(|frame| frame.filter(Result::is_ok))
    }

    fn size(&self) -> crate::Size {
        self.0.size()
    }
}

struct Through(Arc<dyn Upstream>, Breach);

impl Outbound for Through {
    fn protocol(&self) -> &'static str {
        "through"
    }

    fn call<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        Box::pin(async move {
            let mut request = Request::new(Method::Post, Target::new("/"));
            request.body = std::mem::take(&mut exchange.request.body);
            match self.1 {
                Breach::GathersRequests => {
                    let gathered = request.body.collect(10_000).await;
                    request.body = gathered.map(|gathered| Body::whole(gathered.bytes)).unwrap_or_default();
                }
                Breach::LeavesErrands => {
                    let clock = worker.clock.clone();
                    let wait = async move { clock.sleep(Duration::from_secs(60)).await };
                    worker.errands.run(Duration::from_secs(90), wait).expect("there is room for one");
                }
                Breach::GrantsMoreTime => exchange.deadline = exchange.deadline.after(Duration::from_secs(1)),
                _ => {}
            }
            self.0.send(worker, exchange, request).await.map(Reply::through)
        })
    }
}

fn of(breach: Breach) -> impl Fn(Arc<FakeUpstream>) -> Exchange {
    move |upstream| {
        let route = route(Arc::new(Wire(breach)), Arc::new(Through(upstream, breach)));
        exchange(route, Request::new(Method::Put, Target::new("/")))
    }
}

fn faults(breach: Breach) {
    let read = |content: &[u8]| Told::by(&serde_json::from_slice(content).unwrap());
    every_fault_renders(&of(breach)(FakeUpstream::silent()), read);
}

fn limits(breach: Breach) {
    let open = |body| {
        let mut exchange = of(breach)(FakeUpstream::silent());
        exchange.request.body = body;
        exchange
    };
    too_much_is_refused(open, 1_000);
}

fn dropping(breach: Breach) {
    let upstream = FakeUpstream::silent();
    dropping_the_call_reaches_the_upstream(of(breach)(upstream.clone()), upstream.watch());
}

/// On a runtime that takes errands.
fn on_a_worker(test: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { test() });
}

fn by_json(expected: &Type, value: &Value) -> Result<Value, String> {
    Payload::json(Payload::of(value.clone()).bytes()).into_value(expected).map_err(|error| error.to_string())
}

#[test]
fn a_protocol_that_keeps_its_promises_passes() {
    let kept = || of(Breach::None);
    faults(Breach::None);
    a_reply_streams(&kept()(FakeUpstream::silent()));
    bytes_pass_unread(kept());
    dropping(Breach::None);
    dropping_the_reply_reaches_the_upstream(kept());
    the_deadline_travels(kept());
    limits(Breach::None);
    values_keep_their_types(by_json);
}

#[test]
#[should_panic(expected = "the cause of `bad_request` is shown")]
fn a_cause_that_is_shown_is_found() {
    faults(Breach::ShowsCauses);
}

#[test]
#[should_panic(expected = "`bad_request`: its own field")]
fn a_header_field_that_is_forgotten_is_found() {
    faults(Breach::ForgetsFields);
}

#[test]
#[should_panic(expected = "the head of a reply")]
fn a_reply_that_is_gathered_is_found() {
    a_reply_streams(&of(Breach::GathersReplies)(FakeUpstream::silent()));
}

#[test]
#[should_panic(expected = "a body that breaks off must not end as if it were whole")]
fn a_break_that_is_hidden_is_found() {
    a_reply_streams(&of(Breach::HidesBreaks)(FakeUpstream::silent()));
}

#[test]
#[should_panic(expected = "the request's body on its way to the upstream")]
fn a_request_that_is_gathered_is_found() {
    bytes_pass_unread(of(Breach::GathersRequests));
}

#[test]
#[should_panic(expected = "timers and errands that outlive their call")]
fn work_that_outlives_its_call_is_found() {
    on_a_worker(|| dropping(Breach::LeavesErrands));
}

#[test]
#[should_panic(expected = "a call does not move the deadline of its exchange")]
fn a_deadline_that_is_moved_is_found() {
    the_deadline_travels(of(Breach::GrantsMoreTime));
}

#[test]
#[should_panic(expected = "how much the inbound gathers")]
fn a_bound_that_is_one_byte_off_is_found() {
    limits(Breach::ReadsTooFar);
}

#[test]
#[should_panic(expected = "were read where 1000000 are allowed")]
fn an_answer_that_is_gathered_beyond_its_bound_is_found() {
    struct Greedy(Arc<dyn Upstream>);
    impl Outbound for Greedy {
        fn protocol(&self) -> &'static str {
            "greedy"
        }

        fn call<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
            Box::pin(async move {
                let request = Request::new(Method::Post, Target::new("/"));
                let response = self.0.send(worker, exchange, request).await?;
                let _ = response.body.collect(2_000_000).await;
                Err(Fault::new(FaultKind::UpstreamBroken, "the answer is too long"))
            })
        }
    }
    let open = |upstream: Arc<FakeUpstream>| {
        let route = route(Arc::new(FakeInbound), Arc::new(Greedy(upstream)));
        exchange(route, Request::new(Method::Get, Target::new("/")))
    };
    an_endless_answer_is_refused(open, 1_000_000);
}

#[test]
#[should_panic(expected = "values lose what they are")]
fn a_number_that_is_rounded_on_its_way_is_found() {
    values_keep_their_types(|expected, value| match value {
        Value::U64(number) => Ok(Value::F64(*number as f64)),
        other => by_json(expected, other),
    });
}

#[test]
#[should_panic(expected = "what a child has of its parent")]
fn a_child_of_another_client_is_found() {
    let parent = of(Breach::None)(FakeUpstream::silent());
    let operation = Arc::new(crate::Operation::untyped("a", crate::Kind::Call));
    let mut child = parent.child(operation, worker().clock.now());
    a_child_is_of_its_parent(&Kin::of(&parent), &Kin::of(&child), parent.deadline);
    child.client.address = [10, 0, 0, 1].into();
    a_child_is_of_its_parent(&Kin::of(&parent), &Kin::of(&child), parent.deadline);
}
