//! Names, references to what is declared elsewhere, secrets, and closed choices of words.

use std::marker::PhantomData;

use serde_json::{Value, json};

use crate::near::nearest;
use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::secret::Secret;
use crate::snapshot::Name;
use crate::tree::Node;

/// Names, as a pattern.
pub(crate) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$";

/// Whether a text can be a name: it stands in metrics, logs and headers, and needs no quotes there.
pub(crate) fn is_name(text: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(valid) && text.as_bytes()[0].is_ascii_alphanumeric()
}

/// A name.
pub(crate) struct Identifier;

impl Setting for Identifier {
    type Value = Name;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Name> {
        let word = reader.text(node)?;
        if is_name(&word.text) {
            return Some(word.text.into());
        }
        let hint = "up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit";
        reader.wrong(node, format!("`{}` cannot be a name", word.shown), hint)
    }

    fn blank() -> Name {
        "".into()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "pattern": NAME, "$comment": "name" }))
    }
}

/// Any text that is not empty, such as a scope or a GraphQL document.
pub(crate) struct Free;

impl Setting for Free {
    type Value = Name;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Name> {
        let word = reader.text(node)?;
        if word.text.is_empty() {
            return reader.wrong(node, "the text is empty", "leave the key out or give it a value");
        }
        Some(word.text.into())
    }

    fn blank() -> Name {
        "".into()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "minLength": 1, "$comment": "text" }))
    }
}

/// The version of an API: `v` and a number.
pub(crate) struct Version;

impl Setting for Version {
    type Value = Name;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Name> {
        let word = reader.word(node, "a version such as `v1`")?;
        let numbers = word.text.strip_prefix('v').unwrap_or("");
        let valid = numbers.split('.').all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if valid && numbers.len() <= 16 {
            return Some(word.text.into());
        }
        reader.wrong(node, format!("`{}` is not a version", word.shown), "`v` and a number: `v1`, `v2.1`")
    }

    fn blank() -> Name {
        "".into()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "pattern": "^v[0-9]+(\\.[0-9]+)*$", "$comment": "version" }))
    }
}

/// A section of the configuration whose names can be referred to.
pub(crate) trait Section {
    /// Its key.
    const KEY: &'static str;
    /// What one of its entries is called.
    const NOUN: &'static str;
}

macro_rules! sections {
    ($($section:ident, $key:literal, $noun:literal;)+) => {$(
        pub(crate) struct $section;

        impl Section for $section {
            const KEY: &'static str = $key;
            const NOUN: &'static str = $noun;
        }
    )+};
}

sections! {
    Upstreams, "upstreams", "upstream";
    Brokers, "brokers", "broker";
    Identities, "identity", "identity";
    Plans, "plans", "plan";
    Consumers, "consumers", "consumer";
    Apis, "apis", "API";
}

/// The name of an entry of a section.
pub(crate) struct Reference<S>(PhantomData<S>);

impl<S: Section> Setting for Reference<S> {
    type Value = Name;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Name> {
        let word = reader.text(node)?;
        if reader.is_declared(S::KEY, &word.text) {
            return Some(word.text.into());
        }
        let hint = match reader.nearest_declared(S::KEY, &word.text) {
            Some(guess) => format!("did you mean `{guess}`?"),
            None => format!("declare it under `{}`", S::KEY),
        };
        reader.wrong(node, format!("no {} `{}`", S::NOUN, word.shown), &hint)
    }

    fn blank() -> Name {
        "".into()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let comment = format!("name of an entry of `{}`", S::KEY);
        schemas.scalar(json!({ "type": "string", "pattern": NAME, "$comment": comment }))
    }
}

/// The name of an API, or `*` for all of them.
pub(crate) struct Chosen;

impl Setting for Chosen {
    type Value = Name;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Name> {
        match reader.text(node)?.text.as_str() {
            "*" => Some("*".into()),
            _ => Reference::<Apis>::read(node, reader),
        }
    }

    fn blank() -> Name {
        "".into()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = format!("^\\*$|{NAME}");
        schemas
            .scalar(json!({ "type": "string", "pattern": pattern, "$comment": "name of an entry of `apis`, or `*`" }))
    }
}

/// A secret; what is wrong with it is told without it.
pub(crate) struct SecretText;

impl Setting for SecretText {
    type Value = Secret;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Secret> {
        let word = reader.text(node)?;
        if word.text.is_empty() {
            return reader.wrong(node, "the secret is empty", "refer to one: `${env:NAME}`");
        }
        Some(Secret::new(word.text))
    }

    fn blank() -> Secret {
        Secret::new("")
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "minLength": 1, "writeOnly": true, "$comment": "secret" }))
    }
}

/// The hash of a key: 32 bytes as 64 hexadecimal digits.
pub(crate) struct Hash;

impl Setting for Hash {
    type Value = [u8; 32];

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<[u8; 32]> {
        let word = reader.word(node, "the hash of a key")?;
        let mut hash = [0; 32];
        let digits = word.text.as_bytes();
        let valid = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
        if !valid {
            // Not shown: somebody may have put the key itself here.
            let hint = "64 hexadecimal digits, HMAC-SHA-256 of the key under the identity's pepper; not the key itself";
            return reader.wrong(node, "this is not the hash of a key", hint);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Some(hash)
    }

    fn blank() -> [u8; 32] {
        [0; 32]
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^[0-9A-Fa-f]{64}$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "64 hexadecimal digits" }))
    }
}

/// One of several words.
pub(crate) fn choose<'w>(node: &Node, reader: &mut Reader<'_>, words: &[&'w str]) -> Option<&'w str> {
    let word = reader.text(node)?;
    if let Some(choice) = words.iter().find(|choice| **choice == word.text) {
        return Some(choice);
    }
    let hint = match nearest(&word.text, words.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`?"),
        None => format!("one of `{}`", words.join("`, `")),
    };
    reader.wrong(node, format!("`{}` is not known here", word.shown), &hint)
}
