//! Names and values of headers (RFC 9110, section 5), and methods (section 9).

use serde_json::{Value, json};

use crate::diagnostic::Diagnostic;
use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::snapshot::HeaderPattern;
use crate::tree::Node;

/// `token` of RFC 9110, section 5.6.2, as a pattern.
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// Headers that say how a message is framed and how long its connection lives: the gateway alone writes them, and a
/// rule for one could smuggle a request (RFC 9110, section 7.6.1; RFC 9112, section 6).
const OURS: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

fn is_token(text: &str) -> bool {
    let special = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || special(b))
}

/// What is wrong with the name of a header that an operator wants changed, as a sentence and a hint.
fn problem_of_name(name: &str) -> Option<(&'static str, &'static str)> {
    if !is_token(name) {
        return Some(("this cannot be the name of a header", "letters, digits and `-`, no space and no colon"));
    }
    let ours = OURS.contains(&name.to_ascii_lowercase().as_str());
    ours.then_some(("the gateway alone writes this header, because it frames the message", "leave it out"))
}

/// The name of a header, given in lowercase.
pub(crate) struct HeaderName;

impl Setting for HeaderName {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        let word = reader.text(node)?;
        match problem_of_name(&word.text) {
            None => Some(word.text.to_ascii_lowercase()),
            Some((sentence, hint)) => reader.wrong(node, format!("`{}`: {sentence}", word.shown), hint),
        }
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "pattern": TOKEN, "$comment": "name of a header" }))
    }
}

/// The name of a header, or the beginning of several with `*` behind it; given in lowercase.
pub(crate) struct NamePattern;

impl Setting for NamePattern {
    type Value = HeaderPattern;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<HeaderPattern> {
        let word = reader.text(node)?;
        let lower = word.text.to_ascii_lowercase();
        let name = lower.strip_suffix('*').unwrap_or(&lower);
        if name.contains('*') || (name.is_empty() && !lower.is_empty()) {
            let message = format!("`{}`: `*` stands at the end, behind the beginning of a name", word.shown);
            return reader.wrong(node, message, "such as `x-debug-*`");
        }
        match problem_of_name(name) {
            None => Some(HeaderPattern::of(&lower)),
            Some((sentence, hint)) => reader.wrong(node, format!("`{}`: {sentence}", word.shown), hint),
        }
    }

    fn blank() -> HeaderPattern {
        HeaderPattern::of("")
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let comment = "name of a header, or its beginning and `*`";
        schemas.scalar(json!({ "type": "string", "pattern": TOKEN, "$comment": comment }))
    }
}

/// Names of headers with a value each, the names given in lowercase.
pub(crate) struct HeaderPairs;

impl Setting for HeaderPairs {
    type Value = Vec<(String, String)>;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self::Value> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, entry) in reader.entries(node)? {
            let lower = name.to_ascii_lowercase();
            let twice = pairs.iter().any(|(known, _)| *known == lower);
            let problem = match problem_of_name(name) {
                None if twice => Some(("the header stands twice", "upper and lower case are the same")),
                problem => problem,
            };
            let value = reader.under(name, entry, |reader| {
                if let Some((sentence, hint)) = problem {
                    let told = Diagnostic::error(&reader.key_place(), sentence).hint(hint);
                    reader.tell(told);
                }
                value(&entry.value, reader)
            });
            pairs.extend(value.map(|value| (lower, value)));
        }
        Some(pairs)
    }

    fn blank() -> Self::Value {
        Vec::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^([!-~]([ -~\\t]*[!-~])?)?$";
        let value = schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "visible ASCII" }));
        json!({ "type": "object", "propertyNames": { "pattern": TOKEN }, "additionalProperties": value })
    }
}

/// `field-value` of RFC 9110, section 5.5, in visible ASCII: what lies above has no agreed meaning in a header.
fn value(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let word = reader.text(node)?;
    let text = word.text;
    let visible = text.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'));
    if !visible {
        return reader.wrong(node, "a header carries visible ASCII on one line", "");
    }
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return reader.wrong(node, "a header's value neither begins nor ends with a space", "");
    }
    Some(text)
}

/// A method, as requests spell it.
pub(crate) struct Method;

impl Setting for Method {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        let word = reader.text(node)?;
        let upper = word.text.to_ascii_uppercase();
        if !is_token(&word.text) {
            return reader.wrong(node, format!("`{}` cannot be a method", word.shown), "such as `GET`");
        }
        if upper != word.text {
            // RFC 9110, section 9.1: the method token is case-sensitive.
            let hint = format!("methods tell upper from lower case: `{upper}`");
            return reader.wrong(node, format!("`{}` is no method that clients send", word.shown), &hint);
        }
        if upper == "CONNECT" {
            return reader.wrong(node, "`CONNECT` makes a tunnel, which no route serves", "leave it out");
        }
        Some(upper)
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^[A-Z0-9!#$%&'*+.^_`|~-]+$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "method" }))
    }
}
