//! The AsyncAPI document: what cannot be honoured is refused with its place, before anything is served.

use super::stage::Stage;

#[test]
fn a_document_that_promises_what_cannot_be_honoured_is_refused_with_every_place() {
    let stage = Stage::mock(1);
    let document = r"
asyncapi: 3.0.0
info: { title: Order events, version: 2.0.0 }
channels:
  queued:
    address: orders.queued
    bindings: { amqp: { is: queue } }
  each:
    address: orders.{id}
operations:
  ask:
    action: receive
    channel: { $ref: '#/channels/queued' }
    reply: { channel: { $ref: '#/channels/queued' } }
";
    let refused = stage.setup("").file("order-events.asyncapi.yaml", document).try_start();
    let Err(error) = refused else { panic!("the document was taken") };
    let told = error.to_string();
    let told: Vec<_> =
        told.lines().filter_map(|line| line.split_once("order-events.asyncapi.yaml:")).map(|(_, told)| told).collect();
    let expected = [
        "7:23: channels.queued.bindings.amqp: the binding `amqp` cannot be honoured; channels are bound to `kafka`",
        "9:14: channels.each.address: parameters in an address are not served; write one channel for each address",
        "14:12: operations.ask.reply: an operation with a reply is not served; events go one way",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_document_of_another_version_is_refused_with_a_hint() {
    let stage = Stage::mock(1);
    let document = "asyncapi: 2.6.0\ninfo: { title: Order events, version: 2.0.0 }\nchannels: {}\n";
    let refused = stage.setup("").file("order-events.asyncapi.yaml", document).try_start();
    let Err(error) = refused else { panic!("the document was taken") };
    let told = error.to_string();
    assert!(told.contains("order-events.asyncapi.yaml:1:") && told.contains("asyncapi: 3.0.0"), "{told}");
}
