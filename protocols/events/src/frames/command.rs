//! Reads what a client says. Strict: an unknown key is refused by name, because a mistyped `key` would silently cost
//! the order of events.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use indexmap::IndexMap;
use portolan_exchange::identity::Credential;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Code;

/// The most commands in one array: what a session may have waiting at a time.
pub const COMMANDS_MAX: usize = 128;

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Echoed in the answer.
    pub id: Option<i64>,
    /// What is to be done.
    pub deed: Deed,
}

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Says who it is, where the upgrade did not.
    Connect {
        /// What it shows for it.
        credential: Option<Credential>,
    },
    /// Asks for the events of a channel, from now on.
    Subscribe {
        /// Its address or name.
        channel: String,
    },
    /// Wants no more events of a subscription.
    Unsubscribe {
        /// Its number, as `subscribed` told it.
        ch: u32,
    },
    /// Hands an event to a channel.
    Publish {
        /// Its address or name.
        channel: String,
        /// The event.
        publication: Publication,
    },
    /// Asks for a `pong`.
    Ping,
    /// Answers a `ping`.
    Pong,
}

/// An event as a client hands it over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Events of one key keep their order.
    pub key: Option<Bytes>,
    /// Headers in order; a name may come more than once.
    pub headers: Vec<(String, Bytes)>,
    /// The value: the JSON text exactly as it was sent, or bytes.
    pub value: Bytes,
    /// The media type of the value, where it is known.
    pub media_type: Option<String>,
}

/// A command that was not understood, or is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The command's id, where it could be read.
    pub id: Option<i64>,
    /// Why, for machines.
    pub code: Code,
    /// Why, in a sentence.
    pub message: Cow<'static, str>,
}

/// Reads a text message: one command or an array of them, each judged by itself.
pub fn read(text: &str) -> Vec<Result<Command, Refused>> {
    if !text.trim_ascii_start().starts_with('[') {
        return vec![read_one(text)];
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Err(error) => vec![Err(bad(None, format!("the frame is not JSON: {error}")))],
        Ok(all) if all.is_empty() => vec![Err(bad(None, "an array of commands holds at least one"))],
        Ok(all) if all.len() > COMMANDS_MAX => {
            vec![Err(bad(None, format!("an array holds at most {COMMANDS_MAX} commands")))]
        }
        Ok(all) => all.into_iter().map(|one| read_one(one.get())).collect(),
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    id: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare {
    #[serde(rename = "type")]
    _kind: serde::de::IgnoredAny,
    #[serde(rename = "id")]
    _id: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect<'a> {
    #[serde(rename = "type")]
    _kind: serde::de::IgnoredAny,
    #[serde(rename = "id")]
    _id: Option<i64>,
    key: Option<String>,
    token: Option<String>,
    #[serde(borrow)]
    resume_session: Option<&'a RawValue>,
    #[serde(rename = "client")]
    _client: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe<'a> {
    #[serde(rename = "type")]
    _kind: serde::de::IgnoredAny,
    #[serde(rename = "id")]
    _id: Option<i64>,
    channel: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    mode: Option<&'a RawValue>,
    qos: Option<&'a RawValue>,
    from: Option<&'a RawValue>,
    filter: Option<&'a RawValue>,
    credit: Option<&'a RawValue>,
    on_slow: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    #[serde(rename = "type")]
    _kind: serde::de::IgnoredAny,
    #[serde(rename = "id")]
    _id: Option<i64>,
    ch: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    #[serde(rename = "type")]
    _kind: serde::de::IgnoredAny,
    #[serde(rename = "id")]
    _id: Option<i64>,
    channel: String,
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    headers: IndexMap<String, OneOrMore>,
    #[serde(default)]
    headers_base64: IndexMap<String, OneOrMore>,
    // `null` is data too, so it must not be taken for absence.
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    partition: Option<&'a RawValue>,
    idempotency_key: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn read_one(text: &str) -> Result<Command, Refused> {
    let head: Head<'_> = parse(None, text)?;
    let id = head.id;
    let kind = head.kind.ok_or_else(|| bad(id, "`type` is missing"))?;
    let deed = match &*kind {
        "ping" => parse::<Bare>(id, text).map(|_| Deed::Ping)?,
        "pong" => parse::<Bare>(id, text).map(|_| Deed::Pong)?,
        "connect" => connect(id, parse(id, text)?)?,
        "subscribe" => subscribe(id, parse(id, text)?)?,
        "unsubscribe" => Deed::Unsubscribe { ch: parse::<Unsubscribe>(id, text)?.ch },
        "publish" => publish(id, parse(id, text)?)?,
        "ack" | "nack" | "credit" | "refresh" => return Err(unsupported(id, format!("`{kind}` is not served yet"))),
        // What the client wrote is not echoed: it may be long.
        _ => {
            let told = "unknown `type`; it is one of connect, subscribe, unsubscribe, publish, ping, pong";
            return Err(bad(id, told));
        }
    };
    Ok(Command { id, deed })
}

fn connect(id: Option<i64>, frame: Connect<'_>) -> Result<Deed, Refused> {
    only(id, "resume_session", frame.resume_session, &[])?;
    let credential = match (frame.key, frame.token) {
        (Some(_), Some(_)) => return Err(bad(id, "`key` and `token` exclude each other")),
        // The policies of the route know what they take; the two names are what people call it.
        (key, token) => key.or(token).map(Credential::new),
    };
    Ok(Deed::Connect { credential })
}

fn subscribe(id: Option<i64>, frame: Subscribe<'_>) -> Result<Deed, Refused> {
    only(id, "params", frame.params, &["{}"])?;
    only(id, "mode", frame.mode, &["\"broadcast\""])?;
    only(id, "qos", frame.qos, &["\"none\""])?;
    only(id, "from", frame.from, &["\"live\""])?;
    only(id, "filter", frame.filter, &[])?;
    only(id, "credit", frame.credit, &[])?;
    only(id, "on_slow", frame.on_slow, &["\"gap\""])?;
    only(id, "token", frame.token, &[])?;
    Ok(Deed::Subscribe { channel: frame.channel })
}

fn publish(id: Option<i64>, frame: Publish<'_>) -> Result<Deed, Refused> {
    only(id, "message", frame.message, &[])?;
    only(id, "partition", frame.partition, &[])?;
    only(id, "idempotency_key", frame.idempotency_key, &[])?;
    let key = match (frame.key, frame.key_base64) {
        (Some(_), Some(_)) => return Err(bad(id, "`key` and `key_base64` exclude each other")),
        (Some(key), None) => Some(Bytes::from(key)),
        (None, Some(key)) => Some(decoded(id, "key_base64", &key)?),
        (None, None) => None,
    };
    let (value, media_type) = match (frame.data, frame.data_base64) {
        (Some(data), None) => (Bytes::copy_from_slice(data.get().as_bytes()), Some("application/json".to_owned())),
        (None, Some(data)) => (decoded(id, "data_base64", &data)?, None),
        (Some(_), Some(_)) => return Err(bad(id, "`data` and `data_base64` exclude each other")),
        (None, None) => return Err(bad(id, "`data` or `data_base64` is missing")),
    };
    let mut headers = Vec::new();
    for (name, value) in flat(frame.headers) {
        headers.push((name, Bytes::from(value)));
    }
    for (name, value) in flat(frame.headers_base64) {
        let value = decoded(id, "headers_base64", &value)?;
        headers.push((name, value));
    }
    if let Some(reason) = reserved(&headers) {
        return Err(bad(id, reason));
    }
    Ok(Deed::Publish { channel: frame.channel, publication: Publication { key, headers, value, media_type } })
}

/// Names a client may not set: they carry what the gateway vouches for.
fn reserved(headers: &[(String, Bytes)]) -> Option<&'static str> {
    let taken = |name: &str| name.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("portolan."));
    headers.iter().any(|(name, _)| taken(name)).then_some("headers that begin with `portolan.` are the gateway's own")
}

fn flat(headers: IndexMap<String, OneOrMore>) -> impl Iterator<Item = (String, String)> {
    headers.into_iter().flat_map(|(name, values)| {
        let values = match values {
            OneOrMore::One(value) => vec![value],
            OneOrMore::More(values) => values,
        };
        values.into_iter().map(move |value| (name.clone(), value))
    })
}

fn parse<'a, T: Deserialize<'a>>(id: Option<i64>, text: &'a str) -> Result<T, Refused> {
    serde_json::from_str(text).map_err(|error| {
        let what = if error.is_data() { "the frame does not fit its type" } else { "the frame is not JSON" };
        bad(id, format!("{what}: {}", cut(error.to_string())))
    })
}

/// Keeps a message that quotes the client's own text short.
fn cut(mut text: String) -> String {
    const LONGEST: usize = 200;
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

/// Refuses an option that asks for what is not served; one that asks for what is done anyway passes.
fn only(id: Option<i64>, key: &'static str, value: Option<&RawValue>, served: &[&str]) -> Result<(), Refused> {
    let Some(value) = value else { return Ok(()) };
    if served.contains(&value.get()) {
        return Ok(());
    }
    Err(unsupported(
        id,
        match served {
            [] => format!("`{key}` is not served yet"),
            _ => format!("`{key}` can only be {} yet", served.join(" or ")),
        },
    ))
}

fn decoded(id: Option<i64>, key: &'static str, text: &str) -> Result<Bytes, Refused> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| bad(id, format!("`{key}` is not base64 (RFC 4648, section 4)")))
}

fn bad(id: Option<i64>, message: impl Into<Cow<'static, str>>) -> Refused {
    Refused { id, code: Code::BadFrame, message: message.into() }
}

fn unsupported(id: Option<i64>, message: String) -> Refused {
    Refused { id, code: Code::Unsupported, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Command, Refused> {
        let mut all = read(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn refusal(text: &str) -> (Option<i64>, Code, String) {
        let refused = one(text).expect_err(text);
        (refused.id, refused.code, refused.message.into_owned())
    }

    #[test]
    fn each_command_is_read() {
        let deed = |text: &str| one(text).map(|command| (command.id, command.deed)).unwrap();
        assert_eq!(deed(r#"{"type":"ping","id":1}"#), (Some(1), Deed::Ping));
        assert_eq!(deed(r#" {"type":"pong"} "#), (None, Deed::Pong));
        let connect = r#"{"type":"connect","id":2,"client":{"name":"x","version":"1"}}"#;
        assert_eq!(deed(connect), (Some(2), Deed::Connect { credential: None }));
        let subscribe =
            r#"{"id":3,"type":"subscribe","channel":"orders.created","from":"live","qos":"none","mode":"broadcast"}"#;
        assert_eq!(deed(subscribe), (Some(3), Deed::Subscribe { channel: "orders.created".into() }));
        assert_eq!(deed(r#"{"type":"unsubscribe","id":4,"ch":7}"#), (Some(4), Deed::Unsubscribe { ch: 7 }));
    }

    #[test]
    fn data_is_published_exactly_as_it_was_written() {
        let text = r#"{"type":"publish","id":5,"channel":"c","key":"k","headers":{"a":"1","b":["2","3"]},"headers_base64":{"c":"/w=="},"data": {"n":1.10,  "big":12345678901234567890123} }"#;
        let publication = Publication {
            key: Some("k".into()),
            headers: vec![
                ("a".into(), "1".into()),
                ("b".into(), "2".into()),
                ("b".into(), "3".into()),
                ("c".into(), Bytes::from_static(b"\xff")),
            ],
            value: r#"{"n":1.10,  "big":12345678901234567890123}"#.into(),
            media_type: Some("application/json".into()),
        };
        let expected = Command { id: Some(5), deed: Deed::Publish { channel: "c".into(), publication } };
        assert_eq!(one(text), Ok(expected));
    }

    #[test]
    fn null_is_data_and_base64_is_bytes() {
        let value = |text: &str| match one(text).unwrap().deed {
            Deed::Publish { publication, .. } => (publication.key, publication.value, publication.media_type),
            other => panic!("{other:?}"),
        };
        let json = Some("application/json".to_owned());
        assert_eq!(value(r#"{"type":"publish","channel":"c","data":null}"#), (None, "null".into(), json));
        let bytes = r#"{"type":"publish","channel":"c","key_base64":"AA==","data_base64":"/wA="}"#;
        assert_eq!(value(bytes), (Some(Bytes::from_static(b"\0")), Bytes::from_static(b"\xff\0"), None));
    }

    #[test]
    fn an_array_holds_commands_that_are_judged_one_by_one() {
        let all = read(r#"[{"type":"ping","id":1},{"type":"dance","id":2},{"type":"pong"}]"#);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0], Ok(Command { id: Some(1), deed: Deed::Ping }));
        assert_eq!(all[1].as_ref().map_err(|refused| (refused.id, refused.code)), Err((Some(2), Code::BadFrame)));
        assert_eq!(all[2], Ok(Command { id: None, deed: Deed::Pong }));
        let many = format!("[{}]", vec![r#"{"type":"ping"}"#; COMMANDS_MAX + 1].join(","));
        assert_eq!(refusal(&many).2, "an array holds at most 128 commands");
        assert_eq!(refusal("[]").2, "an array of commands holds at least one");
        assert_eq!(refusal("[1,").1, Code::BadFrame);
    }

    #[test]
    fn what_is_not_understood_is_a_bad_frame_that_names_the_trouble() {
        let known = "connect, subscribe, unsubscribe, publish, ping, pong";
        let table = [
            (r#"{"id":1,"type":"dance"}"#, Some(1), format!("unknown `type`; it is one of {known}")),
            (r#"{"id":1}"#, Some(1), "`type` is missing".to_owned()),
            ("nonsense", None, "the frame is not JSON: expected ident at line 1 column 2".to_owned()),
            (
                r#"{"type":"ping""#,
                None,
                "the frame is not JSON: EOF while parsing an object at line 1 column 14".to_owned(),
            ),
            (
                r#"{"type":"unsubscribe","id":1,"ch":-1}"#,
                Some(1),
                "the frame does not fit its type: invalid value: integer `-1`, expected u32 at line 1 column 36"
                    .to_owned(),
            ),
            (r#"{"type":"publish","id":1,"channel":"c"}"#, Some(1), "`data` or `data_base64` is missing".to_owned()),
            (
                r#"{"type":"publish","id":1,"channel":"c","data":1,"data_base64":""}"#,
                Some(1),
                "`data` and `data_base64` exclude each other".to_owned(),
            ),
            (
                r#"{"type":"publish","id":1,"channel":"c","data_base64":"?"}"#,
                Some(1),
                "`data_base64` is not base64 (RFC 4648, section 4)".to_owned(),
            ),
            (
                r#"{"type":"publish","id":1,"channel":"c","data":1,"headers":{"Portolan.consumer":"root"}}"#,
                Some(1),
                "headers that begin with `portolan.` are the gateway's own".to_owned(),
            ),
        ];
        for (text, id, message) in table {
            assert_eq!(refusal(text), (id, Code::BadFrame, message), "{text}");
        }
        let mistyped = refusal(r#"{"type":"publish","id":1,"channel":"c","kye":"k","data":1}"#);
        assert!(mistyped.2.contains("unknown field `kye`"), "{mistyped:?}");
        assert_eq!(refusal(r#"{"type":"ping","id":"a"}"#).0, None);
        let twice = refusal(r#"{"type":"publish","id":1,"channel":"c","data":1,"data":2}"#);
        assert!(twice.2.contains("duplicate field `data`"), "{twice:?}");
    }

    #[test]
    fn a_credential_is_a_key_or_a_token_and_is_not_printed() {
        let shown = |text: &str| match one(text).unwrap().deed {
            Deed::Connect { credential } => credential.map(|credential| credential.expose().to_owned()),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(r#"{"type":"connect","key":"k"}"#).as_deref(), Some("k"));
        assert_eq!(shown(r#"{"type":"connect","token":"\u0074"}"#).as_deref(), Some("t"));
        assert_eq!(shown(r#"{"type":"connect","key":null}"#), None);
        let both = refusal(r#"{"type":"connect","id":1,"key":"k","token":"t"}"#);
        assert_eq!(both, (Some(1), Code::BadFrame, "`key` and `token` exclude each other".to_owned()));
        let printed = format!("{:?}", one(r#"{"type":"connect","key":"hush"}"#));
        assert!(!printed.contains("hush"), "{printed}");
    }

    #[test]
    fn what_is_not_served_yet_is_said_to_be_unsupported() {
        let table = [
            (r#"{"type":"ack","id":1,"ch":1,"pos":["0:1"]}"#, "`ack` is not served yet"),
            (r#"{"type":"subscribe","id":1,"channel":"c","qos":"at-least-once"}"#, "`qos` can only be \"none\" yet"),
            (r#"{"type":"subscribe","id":1,"channel":"c","mode":"shared"}"#, "`mode` can only be \"broadcast\" yet"),
            (
                r#"{"type":"subscribe","id":1,"channel":"c","from":{"token":"rt1.x"}}"#,
                "`from` can only be \"live\" yet",
            ),
            (r#"{"type":"subscribe","id":1,"channel":"c","filter":{}}"#, "`filter` is not served yet"),
            (r#"{"type":"publish","id":1,"channel":"c","data":1,"partition":0}"#, "`partition` is not served yet"),
            (r#"{"type":"connect","id":1,"resume_session":"s"}"#, "`resume_session` is not served yet"),
        ];
        for (text, message) in table {
            assert_eq!(refusal(text), (Some(1), Code::Unsupported, message.to_owned()), "{text}");
        }
    }
}
