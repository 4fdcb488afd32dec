use portolan_config::Place;
use portolan_exchange::value::{Field, MapType, Others, Presence};
use serde_json::{Value, json};

use super::*;

fn read(document: &Value) -> Result<Contract, Diagnostics> {
    Contract::from_document(document, &|pointer| Place::new("events.yaml", 0, 0, pointer))
}

fn problems(document: &Value) -> String {
    match read(document) {
        Ok(contract) => contract.warnings.render(),
        Err(found) => found.render(),
    }
}

fn orders() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": "Orders", "version": "2.0.0" },
        "channels": {
            "created": {
                "address": "orders.created",
                "messages": { "orderCreated": { "$ref": "#/components/messages/OrderCreated" } },
                "bindings": { "kafka": { "topic": "orders.created.v2", "bindingVersion": "0.5.0" } },
            },
        },
        "operations": {
            "announce": { "action": "send", "channel": { "$ref": "#/channels/created" } },
            "take": { "action": "receive", "channel": { "$ref": "#/channels/created" } },
        },
        "components": { "messages": { "OrderCreated": { "name": "order.created", "payload": { "type": "object" } } } },
    })
}

/// The document with one value put at a pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = orders();
    let (above, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    document.pointer_mut(above).expect("the document has what the test changes")[key] = value;
    document
}

#[test]
fn a_document_gives_channels_with_topic_messages_and_directions() {
    let contract = read(&orders()).expect("the document is served");
    let expected = Channel {
        name: "created".into(),
        address: "orders.created".into(),
        topic: "orders.created.v2".into(),
        messages: vec!["order.created".into()],
        may_subscribe: true,
        may_publish: true,
        input: Type::map_of(Type::Any),
        output: Type::map_of(Type::Any),
    };
    assert_eq!(contract.channels, vec![Arc::new(expected)]);
    assert_eq!((contract.title.as_str(), contract.version.as_str()), ("Orders", "2.0.0"));
    assert_eq!(contract.warnings.render(), "");
    assert_eq!(contract.channel("orders.created").map(|channel| &*channel.name), Some("created"));
    assert_eq!(contract.channel("created").map(|channel| &*channel.address), Some("orders.created"));
    assert_eq!(contract.channel("orders.created.v2"), None);
}

/// The channel of this contract, whose messages are these.
fn with_messages(messages: Value) -> Channel {
    let contract = read(&with("/channels/created/messages", messages)).expect("the document is served");
    (*contract.channels[0]).clone()
}

#[test]
fn an_event_is_of_the_type_that_the_payload_of_its_message_says() {
    let payload = json!({
        "type": "object",
        "required": ["id", "secret", "made"],
        "properties": {
            "id": { "type": "integer", "format": "int64", "readOnly": true },
            "secret": { "type": "string", "writeOnly": true },
            "made": { "type": "string", "format": "date-time" },
            "price": { "type": ["string", "null"], "format": "decimal" },
            "lines": { "type": "array", "items": { "$ref": "#/components/schemas/Line" } },
        },
        "additionalProperties": false,
    });
    let line = json!({ "type": "object", "properties": { "order": { "$ref": "#/components/schemas/Order" } } });
    let mut document =
        with("/components/messages/OrderCreated/payload", json!({ "$ref": "#/components/schemas/Order" }));
    document["components"]["schemas"] = json!({ "Order": payload, "Line": line });
    document["components"]["schemas"]["Order"]["properties"]["part_of"] =
        json!({ "$ref": "#/components/schemas/Order" });
    let contract = read(&document).expect("the document is served");
    let order = |id, secret| {
        let field = |r#type, presence| Field { r#type, presence };
        let members = MapType::new()
            .field("id", field(Type::I64, id))
            .field("secret", field(Type::Text, secret))
            .required("made", Type::Timestamp)
            .optional("price", Type::nullable(Type::Decimal))
            .optional("lines", Type::list(Type::Any))
            .optional("part_of", Type::Any);
        Type::map(members)
    };
    let (publish, subscribe) = (contract.channels[0].publish(), contract.channels[0].subscribe());
    let place =
        MapType::new().required("partition", Type::I64).required("offset", Type::I64).required("timestamp", Type::I64);
    let expected = Operation {
        id: "orders.created".into(),
        kind: Kind::Publish,
        input: order(Presence::Optional, Presence::Required),
        output: Type::map(place),
    };
    assert_eq!(*publish, expected);
    let expected = Operation {
        id: "orders.created".into(),
        kind: Kind::Subscribe,
        input: Type::Any,
        output: order(Presence::Required, Presence::Optional),
    };
    assert_eq!(*subscribe, expected);
}

#[test]
fn an_event_of_several_messages_is_what_all_of_them_say() {
    let message = |price: Value| json!({ "payload": { "type": "object", "required": ["price"], "properties": { "price": price } } });
    let (whole, broken) =
        (json!({ "type": "integer", "format": "int32" }), json!({ "type": "number", "format": "double" }));
    let channel = with_messages(json!({ "a": message(whole.clone()), "b": message(broken) }));
    let expected = MapType::new().required("price", Type::Number).others(Others::Of(Type::Any));
    assert_eq!(channel.output, Type::map(expected));
    assert_eq!(with_messages(json!({ "a": message(whole), "b": {} })).output, Type::Any);
    assert_eq!(with_messages(json!({})).output, Type::Any);
}

#[test]
fn a_payload_is_read_in_its_format_where_it_is_json() {
    let of = |message: Value| with_messages(json!({ "a": message })).input;
    let in_format = |format: &str| {
        let schema = json!({ "type": "string", "format": "byte", "nullable": true });
        of(json!({ "payload": { "schemaFormat": format, "schema": schema } }))
    };
    assert_eq!(in_format("application/vnd.aai.asyncapi+json;version=3.0.0"), Type::Bytes);
    assert_eq!(in_format("application/schema+yaml; version=draft-07"), Type::Bytes);
    assert_eq!(in_format("application/vnd.oai.openapi;version=3.0.0"), Type::nullable(Type::Bytes));
    assert_eq!(in_format("application/vnd.oai.openapi+json;version=3.1.0"), Type::Bytes);
    assert_eq!(in_format("application/vnd.apache.avro;version=1.9.0"), Type::Any);
    let bytes = json!({ "type": "string", "format": "byte" });
    assert_eq!(of(json!({ "payload": bytes, "contentType": "application/cloudevents+json" })), Type::Bytes);
    assert_eq!(of(json!({ "payload": bytes, "contentType": "text/plain" })), Type::Any);
    assert_eq!(of(json!({ "payload": { "$ref": "#/components/schemas/Gone" } })), Type::Any);
    let mut document = with("/components/messages/OrderCreated/payload", bytes);
    document["defaultContentType"] = json!("application/octet-stream");
    assert_eq!(read(&document).expect("the document is served").channels[0].input, Type::Any);
}

#[test]
fn send_lets_clients_subscribe_and_receive_lets_them_publish() {
    let only = |action: &str| {
        let document =
            with("/operations", json!({ "one": { "action": action, "channel": { "$ref": "#/channels/created" } } }));
        let contract = read(&document).expect("the document is served");
        (contract.channels[0].may_subscribe, contract.channels[0].may_publish)
    };
    assert_eq!(only("send"), (true, false));
    assert_eq!(only("receive"), (false, true));
}

#[test]
fn without_a_binding_the_address_is_the_topic() {
    let contract = read(&with("/channels/created/bindings", json!({}))).expect("the document is served");
    assert_eq!(&*contract.channels[0].topic, "orders.created");
}

#[test]
fn a_channel_may_stand_among_the_components_and_be_referred_to_from_both_sides() {
    let channel = orders()["channels"]["created"].clone();
    let mut document = with("/channels", json!({ "created": { "$ref": "#/components/channels/a~1b%20c" } }));
    document["components"]["channels"] = json!({ "a/b c": channel });
    document["operations"]["take"]["channel"] = json!({ "$ref": "#/components/channels/a~1b%20c" });
    let contract = read(&document).expect("the document is served");
    assert_eq!((contract.channels[0].may_subscribe, contract.channels[0].may_publish), (true, true));
}

#[test]
fn several_messages_leave_the_name_of_an_event_unknown() {
    let contract =
        read(&with("/channels/created/messages", json!({ "a": {}, "b": {} }))).expect("the document is served");
    assert_eq!(contract.channels[0].messages, ["a".into(), "b".into()]);
    assert_eq!(contract.channels[0].message(), None);
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_place() {
    let channel = |key: &str, value: Value| problems(&with(&format!("/channels/created/{key}"), value));
    let operation = |key: &str, value: Value| problems(&with(&format!("/operations/take/{key}"), value));
    let table = [
        (
            problems(&json!({ "openapi": "3.1.0" })),
            "events.yaml: this is no AsyncAPI document: `asyncapi: 3.0.0` is missing\n",
        ),
        (
            problems(&with("/asyncapi", json!("2.6.0"))),
            "events.yaml: /asyncapi: version `2.6.0` is not served; write `asyncapi: 3.0.0`; a 2.x document is turned by the AsyncAPI converter\n",
        ),
        (problems(&with("/chanels", json!({}))), "events.yaml: /chanels: AsyncAPI 3.0 has no key `chanels` here\n"),
        (problems(&with("/info/title", Value::Null)), "events.yaml: /info: `title` is missing\n"),
        (
            channel("address", Value::Null),
            "events.yaml: /channels/created: a channel needs an `address`; one that is known only later cannot be served\n",
        ),
        (
            channel("address", json!("orders.{region}")),
            "events.yaml: /channels/created/address: parameters in an address are not served; write one channel for each address\n",
        ),
        (
            channel("bindings", json!({ "amqp": { "is": "queue" } })),
            "events.yaml: /channels/created/bindings/amqp: the binding `amqp` cannot be honoured; channels are bound to `kafka`\n",
        ),
        (
            channel("bindings", json!({ "kafka": { "topic": "orders/created" } })),
            "events.yaml: /channels/created/bindings/kafka/topic: `orders/created` cannot be the name of a Kafka topic\n",
        ),
        (
            channel("bindings", json!({ "ws": { "method": "POST" } })),
            "events.yaml: /channels/created/bindings/ws/method: a WebSocket is opened with `GET`\n",
        ),
        (
            channel("messages", json!({ "a": { "$ref": "https://example.com/a.json" } })),
            "events.yaml: /channels/created/messages/a/$ref: `https://example.com/a.json` lies outside this document, and nothing is fetched; copy it into `components` and refer to it there\n",
        ),
        (
            channel("messages", json!({ "a": { "$ref": "#/components/messages/None" } })),
            "events.yaml: /channels/created/messages/a/$ref: `#/components/messages/None` does not exist\n",
        ),
        (
            channel("messages", json!({ "a": { "$ref": "#/channels/created/messages/a" } })),
            "events.yaml: /channels/created/messages/a: references lead in a circle\n",
        ),
        (
            operation("reply", json!({ "channel": {} })),
            "events.yaml: /operations/take/reply: an operation with a reply is not served; events go one way\n",
        ),
        (
            operation("action", json!("subscribe")),
            "events.yaml: /operations/take/action: `subscribe` is no action; it is `send` or `receive`\n",
        ),
        (
            operation("channel", json!({ "$ref": "#/components/messages/OrderCreated" })),
            "events.yaml: /operations/take/channel: an operation refers to one of the document's channels, such as `#/channels/orders`\n",
        ),
        (operation("channel", Value::Null), "events.yaml: /operations/take: an operation needs a `channel`\n"),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let mut document = with("/operations/take/action", json!("dance"));
    document["channels"]["created"]["bindings"] = json!({ "mqtt": {} });
    document["info"] = json!({});
    assert_eq!(read(&document).expect_err("four mistakes").len(), 4);
}

#[test]
fn a_word_that_could_mean_two_channels_is_refused() {
    let mut document = orders();
    document["channels"]["orders.created"] = json!({ "address": "other" });
    document["channels"]["third"] = json!({ "address": "other" });
    let found = read(&document).expect_err("two words are taken twice").render();
    assert!(found.contains("/channels/orders.created: another channel is called `orders.created` too"), "{found}");
    assert!(found.contains("/channels/third/address: another channel is called `other` too"), "{found}");
}

#[test]
fn servers_of_a_channel_must_speak_what_is_carried() {
    let mut document = with("/channels/created/servers", json!([{ "$ref": "#/servers/plant" }]));
    document["servers"] = json!({ "plant": { "host": "plant:1883", "protocol": "mqtt" } });
    let told = "events.yaml: /channels/created/servers: its servers speak `mqtt`; channels are carried by `kafka` and served by `ws`\n";
    assert_eq!(problems(&document), told);
    document["servers"]["plant"]["protocol"] = json!("kafka");
    assert_eq!(problems(&document), "");
}

#[test]
fn what_has_no_effect_is_a_warning_with_its_place() {
    let mut document = with("/channels/created/bindings/kafka/partitions", json!(3));
    document["operations"]["take"]["security"] = json!([]);
    document["operations"]["take"]["bindings"] = json!({ "kafka": { "groupId": { "type": "string" } } });
    document["channels"]["idle"] = json!({ "address": "idle" });
    let contract = read(&document).expect("warnings do not refuse");
    let expected = "\
events.yaml: /channels/created/bindings/kafka/partitions: warning: `partitions` has no effect; topics are neither created nor changed
events.yaml: /operations/take/security: warning: has no effect; who may call is said by `authenticate` in the gateway's configuration
events.yaml: /operations/take/bindings/kafka/groupId: warning: `groupId` has no effect; one reader without a group serves all subscribers
events.yaml: /channels/idle: warning: no operation uses this channel, so clients can neither subscribe nor publish
";
    assert_eq!(contract.warnings.render(), expected);
}

#[test]
fn a_yaml_document_is_refused_with_line_and_column() {
    let text = "\
asyncapi: 3.0.0
info: { title: Orders, version: 2.0.0 }
channels:
  created:
    address: orders.created
    bindings:
      amqp: { is: queue }
operations:
  announce: { action: sing, channel: { $ref: '#/channels/created' } }
";
    let tree = portolan_config::tree::parse("events.yaml", text).expect("the text is YAML");
    let found = Contract::read(&tree).expect_err("two mistakes").render();
    let expected = "\
events.yaml:7:13: channels.created.bindings.amqp: the binding `amqp` cannot be honoured; channels are bound to `kafka`
events.yaml:9:23: operations.announce.action: `sing` is no action; it is `send` or `receive`
events.yaml:5:5: channels.created: warning: no operation uses this channel, so clients can neither subscribe nor publish
";
    assert_eq!(found, expected);
}
