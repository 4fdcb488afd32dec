//! Paths of URLs (RFC 3986, section 3.3), patterns of routes, JSON pointers, and files.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::snapshot::LogTarget;
use crate::tree::Node;

/// Why a text is not the path of a URL.
fn problem_of_path(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix('/') else { return Some("begins with `/`") };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Some("has no empty segment");
        }
        if matches!(segment, "." | "..") {
            return Some("has no `.` or `..`");
        }
        if !is_segment(segment) {
            return Some("holds letters, digits, `-._~!$&'()*+,;=:@` and `%` with two hexadecimal digits");
        }
    }
    (path.len() > 1024).then_some("has up to 1024 bytes")
}

/// `*pchar` of RFC 3986, section 3.3.
fn is_segment(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|b| b.is_some_and(|b| b.is_ascii_hexdigit())),
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// Reads a text that has no problem.
fn read_path(node: &Node, reader: &mut Reader<'_>, problem: impl Fn(&str) -> Option<&'static str>) -> Option<String> {
    let word = reader.text(node)?;
    match problem(&word.text) {
        None => Some(word.text),
        Some(rule) => reader.wrong(node, format!("`{}` is not a path", word.shown), &format!("a path {rule}")),
    }
}

/// A path to call.
pub(crate) struct UrlPath;

impl Setting for UrlPath {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        read_path(node, reader, problem_of_path)
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "pattern": "^/[^?#\\s]*$", "$comment": "path" }))
    }
}

/// A prefix of paths: a path without the slash at its end, unless it is `/` itself.
pub(crate) struct Prefix;

impl Setting for Prefix {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        let path = read_path(node, reader, problem_of_path)?;
        match path.strip_suffix('/') {
            Some(shorter) if !shorter.is_empty() => Some(shorter.to_owned()),
            _ => Some(path),
        }
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        UrlPath::schema(schemas)
    }
}

/// The pattern of a route: literal segments, `{name}` for one, `/**` at the end for all that follow.
pub(crate) struct Pattern;

impl Setting for Pattern {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        read_path(node, reader, problem_of_pattern)
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        UrlPath::schema(schemas)
    }
}

fn problem_of_pattern(pattern: &str) -> Option<&'static str> {
    if !pattern.starts_with('/') {
        return Some("begins with `/`");
    }
    let literal = pattern.strip_suffix("/**").unwrap_or(pattern);
    if literal.contains('*') {
        return Some("has `*` only in `/**` at its end; `{name}` stands for one segment");
    }
    let mut names = Vec::new();
    for segment in literal.split('/') {
        let Some(name) = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) else { continue };
        let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !valid {
            return Some("names a segment in letters, digits, `_` and `-`: `{order_id}`");
        }
        if names.contains(&name) {
            return Some("names no two segments alike");
        }
        names.push(name);
    }
    // What is not the name of a whole segment keeps its braces, which no path has.
    let stand_in = place_of_parameters(literal);
    if stand_in.contains(['{', '}']) {
        return Some("has `{name}` only as a whole segment");
    }
    problem_of_path(if stand_in.is_empty() { "/" } else { &stand_in })
}

/// A pattern with `:` for every `{name}`: two patterns that match the same paths become the same text.
pub(crate) fn place_of_parameters(pattern: &str) -> String {
    let is_parameter = |segment: &str| segment.len() > 2 && segment.starts_with('{') && segment.ends_with('}');
    pattern.split('/').map(|segment| if is_parameter(segment) { ":" } else { segment }).collect::<Vec<_>>().join("/")
}

/// A JSON pointer (RFC 6901).
pub(crate) struct Pointer;

impl Setting for Pointer {
    type Value = String;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
        let word = reader.text(node)?;
        let escapes = word.text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if (word.text.is_empty() || word.text.starts_with('/')) && escapes {
            return Some(word.text);
        }
        let message = format!("`{}` is not a JSON pointer", word.shown);
        reader.wrong(node, message, "begin with `/`: `/order`, `/orders/0/id`; `\"\"` is all of it")
    }

    fn blank() -> String {
        String::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "pattern": "^(/([^~]|~[01])*)?$", "$comment": "JSON pointer" }))
    }
}

/// A file, not yet joined to the folder of the configuration.
pub(crate) struct File;

impl Setting for File {
    type Value = PathBuf;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<PathBuf> {
        let word = reader.text(node)?;
        if word.text.is_empty() || word.text.contains('\0') {
            return reader.wrong(node, "this cannot be the name of a file", "");
        }
        Some(PathBuf::from(word.text))
    }

    fn blank() -> PathBuf {
        PathBuf::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "minLength": 1, "$comment": "file" }))
    }
}

/// A file with keys, not yet joined to the folder of the configuration.
pub(crate) struct KeyFile;

impl Setting for KeyFile {
    type Value = PathBuf;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<PathBuf> {
        let path = File::read(node, reader)?;
        if path.to_str().is_some_and(|path| path.contains("://")) {
            let message = "keys cannot be fetched from an address yet";
            return reader.wrong(node, message, "save the key set in a file and name that: `./issuer.jwks.json`");
        }
        Some(path)
    }

    fn blank() -> PathBuf {
        PathBuf::new()
    }

    fn schema(schemas: &mut Schemas) -> Value {
        File::schema(schemas)
    }
}

/// `stdout`, `off`, or a file.
pub(crate) struct LogTo;

impl Setting for LogTo {
    type Value = LogTarget;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<LogTarget> {
        let path = File::read(node, reader)?;
        Some(match path.to_str() {
            Some("stdout") => LogTarget::Stdout,
            Some("off") => LogTarget::Off,
            _ => LogTarget::File(path),
        })
    }

    fn blank() -> LogTarget {
        LogTarget::Off
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "minLength": 1, "$comment": "`stdout`, `off`, or a file" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_rfc_3986_allows() {
        for path in ["/", "/orders", "/orders/", "/a%20b/~c/(d)", "/v1:x@y"] {
            assert_eq!(problem_of_path(path), None, "{path}");
        }
        for path in ["", "orders", "//", "/a//b", "/a/../b", "/.", "/a b", "/é", "/a?b", "/a#b", "/%2", "/%zz", "/{a}"]
        {
            assert!(problem_of_path(path).is_some(), "{path}");
        }
    }

    #[test]
    fn patterns_have_whole_segments_and_stars_at_the_end() {
        for pattern in ["/", "/**", "/legacy/**", "/orders/{id}", "/a/{b}/c/{d}/**"] {
            assert_eq!(problem_of_pattern(pattern), None, "{pattern}");
        }
        for pattern in ["", "**", "/*", "/a/*/b", "/**/a", "/a**", "/{}", "/{a b}", "/{a}/{a}", "/x{a}", "/{a}{b}"] {
            assert!(problem_of_pattern(pattern).is_some(), "{pattern}");
        }
        assert_eq!(place_of_parameters("/orders/{id}/**"), place_of_parameters("/orders/{order}/**"));
    }
}
