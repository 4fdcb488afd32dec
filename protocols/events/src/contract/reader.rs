//! Walks the document once and collects every problem on the way.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_config::{Diagnostics, Place};
use portolan_exchange::value::schema::Side;
use serde_json::Value;

use super::binding;
use super::node::{Document, Node};
use super::payload::Payloads;
use super::{Channel, Contract};

const TOP: &[&str] =
    &["asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"];
const CHANNEL: &[&str] = &[
    "address",
    "messages",
    "title",
    "summary",
    "description",
    "servers",
    "parameters",
    "tags",
    "externalDocs",
    "bindings",
];
const OPERATION: &[&str] = &[
    "action",
    "channel",
    "title",
    "summary",
    "description",
    "security",
    "tags",
    "externalDocs",
    "bindings",
    "traits",
    "messages",
    "reply",
];

pub(super) struct Reader<'a> {
    document: Document<'a>,
    payloads: Payloads<'a>,
    found: Diagnostics,
    channels: Vec<Channel>,
    /// Which channel stands at which pointer, to tell what an operation's reference means.
    by_pointer: HashMap<String, usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(root: &'a Value, place: &'a dyn Fn(&str) -> Place) -> Self {
        Self {
            document: Document { root, place },
            payloads: Payloads::new(root),
            found: Diagnostics::new(),
            channels: Vec::new(),
            by_pointer: HashMap::new(),
        }
    }

    pub(super) fn read(mut self) -> Result<Contract, Diagnostics> {
        let root = self.document.root();
        if !self.speaks_3_0(&root) {
            return Err(self.found);
        }
        self.check_keys(&root, TOP);
        let info = root.get("info").unwrap_or(Node { value: &Value::Null, pointer: String::new() });
        let title = self.text(&info, "title").unwrap_or_default();
        let version = self.text(&info, "version").unwrap_or_default();
        for (name, channel) in root.get("channels").iter().flat_map(Node::entries) {
            self.read_channel(name, channel);
        }
        if root.get("channels").is_none_or(|channels| channels.entries().next().is_none()) {
            self.error(&root.pointer, "there is no channel, so there is nothing to serve");
        }
        for (_, operation) in root.get("operations").iter().flat_map(Node::entries) {
            self.read_operation(operation);
        }
        self.warn_of_idle_channels();
        let by_word = self.words();
        if self.found.has_errors() {
            return Err(self.found);
        }
        let channels = self.channels.into_iter().map(Arc::new).collect();
        Ok(Contract { title, version, channels, warnings: self.found, by_word })
    }

    fn speaks_3_0(&mut self, root: &Node<'_>) -> bool {
        match root.value.get("asyncapi").and_then(Value::as_str) {
            Some(version) if version == "3.0" || version.starts_with("3.0.") => true,
            Some(version) => {
                let hint = "write `asyncapi: 3.0.0`; a 2.x document is turned by the AsyncAPI converter";
                let told = self.document.error("/asyncapi", format!("version `{version}` is not served")).hint(hint);
                self.found.push(told);
                false
            }
            None => {
                self.error("", "this is no AsyncAPI document: `asyncapi: 3.0.0` is missing");
                false
            }
        }
    }

    fn read_channel(&mut self, name: &str, node: Node<'a>) {
        let declared = node.pointer.clone();
        let Some(node) = self.resolve(node) else { return };
        self.check_keys(&node, CHANNEL);
        let Some(address) = self.address(&node) else { return };
        self.check_servers(&node);
        let topic = match binding::channel(&self.document, &node, &mut self.found) {
            Some(topic) => topic,
            None => self.checked_topic(&node, &address),
        };
        let messages = self.messages(&node);
        let names = messages.iter().map(|(name, _)| name.clone()).collect();
        let messages: Vec<Node<'a>> = messages.into_iter().map(|(_, message)| message).collect();
        let at = self.channels.len();
        self.by_pointer.insert(declared, at);
        self.by_pointer.entry(node.pointer).or_insert(at);
        self.channels.push(Channel {
            name: name.into(),
            address: address.into(),
            topic: topic.into(),
            messages: names,
            may_subscribe: false,
            may_publish: false,
            input: self.payloads.of_any(&self.document, &messages, Side::Input),
            output: self.payloads.of_any(&self.document, &messages, Side::Output),
        });
    }

    fn address(&mut self, node: &Node<'a>) -> Option<String> {
        let Some(address) = node.get("address") else {
            self.error(&node.pointer, "a channel needs an `address`; one that is known only later cannot be served");
            return None;
        };
        let text = self.text(node, "address")?;
        if text.is_empty() {
            self.error(&address.pointer, "an address is not empty");
            return None;
        }
        let parameters = node.get("parameters").filter(|found| found.entries().next().is_some());
        if text.contains(['{', '}']) || parameters.is_some() {
            self.error(&address.pointer, "parameters in an address are not served; write one channel for each address");
            return None;
        }
        Some(text)
    }

    /// The address where it stands for the topic too.
    fn checked_topic(&mut self, node: &Node<'a>, address: &str) -> String {
        if !binding::is_topic(address) {
            let told = self
                .document
                .error(&node.pointer_of("address"), format!("`{address}` cannot be the name of a Kafka topic"))
                .hint("name the topic in `bindings.kafka.topic`");
            self.found.push(told);
        }
        address.to_owned()
    }

    /// A channel may name servers; one of them must speak what we carry.
    fn check_servers(&mut self, channel: &Node<'a>) {
        let Some(servers) = channel.get("servers") else { return };
        let mut protocols = Vec::new();
        for server in servers.elements() {
            let Some(server) = self.resolve(server) else { return };
            protocols.extend(self.text(&server, "protocol"));
        }
        let carried = |protocol: &String| matches!(protocol.as_str(), "kafka" | "kafka-secure" | "ws" | "wss");
        if !protocols.is_empty() && !protocols.iter().any(carried) {
            let said = protocols.join("`, `");
            self.error(
                &servers.pointer,
                format!("its servers speak `{said}`; channels are carried by `kafka` and served by `ws`"),
            );
        }
    }

    /// Its messages and their names.
    fn messages(&mut self, channel: &Node<'a>) -> Vec<(Arc<str>, Node<'a>)> {
        let mut messages = Vec::new();
        for (key, message) in channel.get("messages").iter().flat_map(Node::entries) {
            let Some(message) = self.resolve(message) else { continue };
            binding::message(&self.document, &message, &mut self.found);
            let name = message.get("name").and_then(|name| name.value.as_str()).unwrap_or(key);
            messages.push((name.into(), message));
        }
        messages
    }

    fn read_operation(&mut self, node: Node<'a>) {
        let Some(node) = self.resolve(node) else { return };
        self.check_keys(&node, OPERATION);
        if let Some(reply) = node.get("reply") {
            self.error(&reply.pointer, "an operation with a reply is not served; events go one way");
        }
        if let Some(security) = node.get("security") {
            let told = "has no effect; who may call is said by `authenticate` in the gateway's configuration";
            self.warn(&security.pointer, told);
        }
        if let Some(traits) = node.get("traits") {
            self.warn(&traits.pointer, "traits of operations have no effect");
        }
        binding::operation(&self.document, &node, &mut self.found);
        let action = self.text(&node, "action");
        let Some(channel) = self.channel_of(&node) else { return };
        match action.as_deref() {
            Some("send") => self.channels[channel].may_subscribe = true,
            Some("receive") => self.channels[channel].may_publish = true,
            Some(other) => {
                self.error(&node.pointer_of("action"), format!("`{other}` is no action; it is `send` or `receive`"));
            }
            None => {}
        }
        self.check_messages(&node, channel);
    }

    fn channel_of(&mut self, operation: &Node<'a>) -> Option<usize> {
        let Some(reference) = operation.get("channel") else {
            self.error(&operation.pointer, "an operation needs a `channel`");
            return None;
        };
        let target = reference.value.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        let by_reference = target.and_then(|target| self.by_pointer.get(target).copied());
        if by_reference.is_some() {
            return by_reference;
        }
        let at = reference.pointer.clone();
        let resolved = self.resolve(reference)?;
        let found = self.by_pointer.get(&resolved.pointer).copied();
        // A channel that was itself refused has its own diagnostic; this one would only repeat it.
        let refused = resolved.pointer.starts_with("/channels/");
        if found.is_none() && !refused {
            self.error(&at, "an operation refers to one of the document's channels, such as `#/channels/orders`");
        }
        found
    }

    /// An operation may name some of its channel's messages; a record does not tell which it is.
    fn check_messages(&mut self, operation: &Node<'a>, channel: usize) {
        let Some(messages) = operation.get("messages") else { return };
        let mut named = 0;
        for message in messages.elements() {
            named += usize::from(self.resolve(message).is_some());
        }
        if named < self.channels[channel].messages.len() {
            self.warn(&messages.pointer, "has no effect; all messages of the channel pass");
        }
    }

    fn warn_of_idle_channels(&mut self) {
        for channel in &self.channels {
            if !channel.may_subscribe && !channel.may_publish {
                let pointer = self.document.root().get("channels").map(|channels| channels.pointer_of(&channel.name));
                let told = "no operation uses this channel, so clients can neither subscribe nor publish";
                self.found.push(self.document.warning(&pointer.unwrap_or_default(), told));
            }
        }
    }

    /// Addresses first, then names; a word that could mean two channels is an error.
    fn words(&mut self) -> HashMap<Arc<str>, usize> {
        let mut words: HashMap<Arc<str>, usize> = HashMap::new();
        let mut doubled = Vec::new();
        let addresses = self.channels.iter().enumerate().map(|(at, channel)| (at, &channel.address, "address"));
        let names = self.channels.iter().enumerate().map(|(at, channel)| (at, &channel.name, ""));
        for (at, word, key) in addresses.chain(names) {
            match words.get(word) {
                Some(other) if *other != at => doubled.push((at, word.clone(), key)),
                Some(_) => {}
                None => {
                    words.insert(word.clone(), at);
                }
            }
        }
        for (at, word, key) in doubled {
            let pointer =
                Node { value: &Value::Null, pointer: "/channels".to_owned() }.pointer_of(&self.channels[at].name);
            let pointer = if key.is_empty() { pointer } else { format!("{pointer}/{key}") };
            self.error(&pointer, format!("another channel is called `{word}` too; clients could not tell them apart"));
        }
        words
    }

    /// A text that must be there.
    fn text(&mut self, node: &Node<'a>, key: &str) -> Option<String> {
        match node.get(key).map(|found| found.value.as_str()) {
            Some(Some(text)) => Some(text.to_owned()),
            Some(None) => {
                self.error(&node.pointer_of(key), format!("`{key}` is a text"));
                None
            }
            None => {
                self.error(&node.pointer, format!("`{key}` is missing"));
                None
            }
        }
    }

    fn check_keys(&mut self, node: &Node<'a>, known: &[&str]) {
        if !node.value.is_object() {
            self.error(&node.pointer, "this is an object with keys");
        }
        for (key, found) in node.entries() {
            if !known.contains(&key) && !key.starts_with("x-") {
                self.error(&found.pointer, format!("AsyncAPI 3.0 has no key `{key}` here"));
            }
        }
    }

    fn resolve(&mut self, node: Node<'a>) -> Option<Node<'a>> {
        self.document.resolve(node).map_err(|told| self.found.push(told)).ok()
    }

    fn error(&mut self, pointer: &str, message: impl Into<String>) {
        self.found.push(self.document.error(pointer, message));
    }

    fn warn(&mut self, pointer: &str, message: impl Into<String>) {
        self.found.push(self.document.warning(pointer, message));
    }
}
