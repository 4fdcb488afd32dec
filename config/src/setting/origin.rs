//! Origins of pages, as browsers send them.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use super::address;
use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::snapshot::Origin;
use crate::tree::Node;

/// An origin: scheme, host and port; `*.` stands for any one label of the host.
pub(crate) struct OriginPattern;

impl Setting for OriginPattern {
    type Value = Origin;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Origin> {
        let word = reader.text(node)?;
        match origin(&word.text) {
            Ok(origin) => Some(origin),
            Err((sentence, hint)) => reader.wrong(node, format!("`{}`: {sentence}", word.shown), &hint),
        }
    }

    fn blank() -> Origin {
        Origin::Exact(String::new())
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^[A-Za-z][A-Za-z0-9+.-]*://(\\*\\.)?[^*/?#@]+$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "origin" }))
    }
}

/// The origin of a text, in the one form in which browsers write it, or what is wrong with it and what helps.
fn origin(text: &str) -> Result<Origin, (&'static str, String)> {
    const EXAMPLE: &str = "such as `https://app.example.com` or `https://*.example.com`";
    if text == "null" {
        let hint = "serve the page from an origin of its own and name that";
        return Err(("any site can make a page without an origin", hint.to_owned()));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint = format!("write `https://{}`", text.trim_start_matches('/'));
        return Err(("an origin begins with its scheme", hint));
    };
    let scheme = scheme.to_ascii_lowercase();
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(inner) {
        return Err(("this is not an origin", EXAMPLE.to_owned()));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if !after.is_empty() {
        return Err(("an origin ends behind its host and port", format!("write `{scheme}://{authority}`")));
    }
    if !authority.is_ascii() {
        return Err(("browsers send such a host in ASCII", "write its labels in their `xn--` form".to_owned()));
    }
    let lower = authority.to_ascii_lowercase();
    let (star, named) = match lower.strip_prefix("*.") {
        Some(named) => (true, named),
        None => (false, lower.as_str()),
    };
    if named.contains('*') {
        return Err(("`*` stands for one whole label, the first of the host", EXAMPLE.to_owned()));
    }
    let Some((host, port)) = address::split(named) else {
        return Err(("this is not an origin", EXAMPLE.to_owned()));
    };
    // Any site of a top-level domain would be let in; of `localhost` there are only our own.
    if star && !host.contains('.') && host != "localhost" {
        return Err(("`*.` in front of a top-level domain lets in the sites of everybody", EXAMPLE.to_owned()));
    }
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if star && is_address {
        return Err(("an address has no labels", "name it as it is".to_owned()));
    }
    // The scheme's own port is never sent.
    let own_port = matches!((scheme.as_str(), port), ("http", Some(80)) | ("https", Some(443)));
    let port = port.filter(|_| !own_port).map(|port| format!(":{port}")).unwrap_or_default();
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    Ok(match star {
        true => Origin::AnyLabel { before: format!("{scheme}://"), behind: format!(".{host}{port}") },
        false => Origin::Exact(format!("{scheme}://{host}{port}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_brought_into_the_form_in_which_browsers_send_it() {
        for (written, sent) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("https://*.Example.com:8443", "https://*.example.com:8443"),
            ("http://*.localhost:3000", "http://*.localhost:3000"),
        ] {
            assert_eq!(origin(written).map(|origin| origin.to_string()), Ok(sent.to_owned()), "{written}");
        }
    }
}
