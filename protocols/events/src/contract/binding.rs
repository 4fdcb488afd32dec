//! Reads the bindings of the document: Kafka's give the topic, WebSocket's are checked, others are refused.

use portolan_config::Diagnostics;

use super::node::{Document, Node};

/// Bindings of a channel; gives the topic where one is named.
pub(super) fn channel<'a>(document: &Document<'a>, channel: &Node<'a>, found: &mut Diagnostics) -> Option<String> {
    let mut topic = None;
    for (protocol, binding) in all(document, channel, found) {
        match protocol {
            "kafka" => topic = kafka_channel(document, &binding, found),
            "ws" => websocket(document, &binding, found),
            _ => refuse(document, protocol, &binding, found),
        }
    }
    topic
}

/// Bindings of an operation.
pub(super) fn operation<'a>(document: &Document<'a>, operation: &Node<'a>, found: &mut Diagnostics) {
    for (protocol, binding) in all(document, operation, found) {
        match protocol {
            "kafka" => warn_of(
                document,
                &binding,
                &["groupId", "clientId"],
                "one reader without a group serves all subscribers",
                found,
            ),
            "ws" => {}
            _ => refuse(document, protocol, &binding, found),
        }
    }
}

/// Bindings of a message.
pub(super) fn message<'a>(document: &Document<'a>, message: &Node<'a>, found: &mut Diagnostics) {
    for (protocol, binding) in all(document, message, found) {
        match protocol {
            "kafka" => {
                let registry = ["schemaIdLocation", "schemaIdPayloadEncoding", "schemaLookupStrategy"];
                warn_of(
                    document,
                    &binding,
                    &registry,
                    "schema registries are not asked; such data is delivered as `data_base64`",
                    found,
                );
            }
            "ws" => {}
            _ => refuse(document, protocol, &binding, found),
        }
    }
}

/// Whether Kafka takes this as the name of a topic: letters, digits, `.`, `_`, `-`, at most 249, not `.` nor `..`.
pub(super) fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

fn all<'a>(document: &Document<'a>, node: &Node<'a>, found: &mut Diagnostics) -> Vec<(&'a str, Node<'a>)> {
    let Some(bindings) = node.get("bindings") else { return Vec::new() };
    let bindings = match document.resolve(bindings) {
        Ok(bindings) => bindings,
        Err(told) => {
            found.push(told);
            return Vec::new();
        }
    };
    let mut all = Vec::new();
    for (protocol, binding) in bindings.entries().filter(|(protocol, _)| !protocol.starts_with("x-")) {
        match document.resolve(binding) {
            Ok(binding) => all.push((protocol, binding)),
            Err(told) => found.push(told),
        }
    }
    all
}

fn kafka_channel<'a>(document: &Document<'a>, binding: &Node<'a>, found: &mut Diagnostics) -> Option<String> {
    let created = ["partitions", "replicas", "topicConfiguration"];
    warn_of(document, binding, &created, "topics are neither created nor changed", found);
    let topic = binding.get("topic")?;
    match topic.value.as_str() {
        Some(name) if is_topic(name) => Some(name.to_owned()),
        Some(name) => {
            found.push(document.error(&topic.pointer, format!("`{name}` cannot be the name of a Kafka topic")));
            Some(name.to_owned())
        }
        None => {
            found.push(document.error(&topic.pointer, "`topic` is a text"));
            Some(String::new())
        }
    }
}

fn websocket<'a>(document: &Document<'a>, binding: &Node<'a>, found: &mut Diagnostics) {
    if let Some(method) = binding.get("method")
        && method.value.as_str() != Some("GET")
    {
        found.push(document.error(&method.pointer, "a WebSocket is opened with `GET`"));
    }
    warn_of(document, binding, &["query", "headers"], "what a client sends with its upgrade is not checked", found);
}

fn warn_of<'a>(document: &Document<'a>, binding: &Node<'a>, keys: &[&str], why: &str, found: &mut Diagnostics) {
    for key in keys {
        if let Some(node) = binding.get(key) {
            found.push(document.warning(&node.pointer, format!("`{key}` has no effect; {why}")));
        }
    }
}

fn refuse<'a>(document: &Document<'a>, protocol: &str, binding: &Node<'a>, found: &mut Diagnostics) {
    found.push(document.error(
        &binding.pointer,
        format!("the binding `{protocol}` cannot be honoured; channels are bound to `kafka`"),
    ));
}
