//! One reading of a path, before anybody decides by it: what the gateway routes by is what the upstream gets.

use portolan_exchange::words::{equal, word};
use portolan_exchange::{Fault, FaultKind};

/// The normal form of a path, where it differs: escapes of characters that need none are undone, the others are in upper case
/// (RFC 3986, section 6.2.2).
///
/// # Errors
/// `bad_request` for what upstreams read in different ways: dot segments and empty segments, written plainly or escaped, and
/// broken escapes.
pub fn normal(path: &str) -> Result<Option<String>, Fault> {
    if is_plain(path) {
        return Ok(None);
    }
    let normal = path.contains('%').then(|| unescaped(path)).transpose()?;
    let read = normal.as_deref().unwrap_or(path);
    let suspicious = read.contains("/.") || read.contains("//") || read.contains(['\\', '%', ';']);
    if suspicious {
        judge(read)?;
    }
    Ok(normal.filter(|normal| normal != path))
}

/// Whether nothing in a path can be read in two ways: so it is with most. Eight bytes are looked at together, and the last of them
/// once more with what follows it; a mark that is not true costs a second look.
fn is_plain(path: &str) -> bool {
    let path = path.as_bytes();
    let mut at = 0;
    while at < path.len() {
        let bytes = word(path, at);
        let (of_segments, next) = (equal(bytes, b'/'), bytes >> 8);
        let of_escapes = equal(bytes, b'%') | equal(bytes, b'\\') | equal(bytes, b';');
        if of_escapes | of_segments & (equal(next, b'/') | equal(next, b'.')) != 0 {
            return false;
        }
        at += 7;
    }
    true
}

/// Undoes the escapes of unreserved characters (RFC 3986, section 2.3).
fn unescaped(path: &str) -> Result<String, Fault> {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        let byte = rest.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or_else(|| {
            Fault::new(FaultKind::BadRequest, "the path holds a percent sign that begins no escape; write it as %25")
        })?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&rest[at..at + 3].to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    normal.push_str(rest);
    Ok(normal)
}

/// Refuses segments that an upstream may take for another path: it may read an escaped slash or a backslash as a slash, and
/// drop what stands behind a semicolon.
fn judge(path: &str) -> Result<(), Fault> {
    let slashes = path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/");
    let mut segments = slashes.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or_default();
        if name == "." || name == ".." {
            return Err(Fault::new(FaultKind::BadRequest, "the path holds dot segments; send it without them"));
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(Fault::new(FaultKind::BadRequest, "the path holds an empty segment; send it without"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<String, &'static str> {
        normal(path).map(|normal| normal.unwrap_or_else(|| path.to_owned())).map_err(|fault| fault.kind().code())
    }

    #[test]
    fn one_path_is_read_in_one_way_however_it_is_written() {
        for (written, normal) in [
            ("/secret/report", "/secret/report"),
            ("/%73ecret/r%65port", "/secret/report"),
            ("/a%2fb/%c3%a9", "/a%2Fb/%C3%A9"),
            ("/100%25", "/100%25"),
            ("/a/", "/a/"),
            ("/a/.well-known", "/a/.well-known"),
            ("/a..b/...", "/a..b/..."),
            ("/", "/"),
            ("*", "*"),
        ] {
            assert_eq!(read(written), Ok(normal.to_owned()), "{written}");
        }
    }

    #[test]
    fn what_is_doubtful_is_found_wherever_it_stands() {
        for length in 1..30 {
            let path: String = std::iter::repeat_n('a', length).collect();
            assert!(is_plain(&format!("/{path}")) && is_plain(&format!("/{path}/")) && is_plain(&format!("/{path}.")));
            for doubtful in ["//", "/.", "%", "\\", ";"] {
                assert!(!is_plain(&format!("/{path}{doubtful}")), "{length} {doubtful}");
                assert!(!is_plain(&format!("/{path}{doubtful}{path}")), "{length} {doubtful}");
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for path in [
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/./a",
            "/a/..;x=1/b",
            "/a\\..\\b",
            "/pub/..%2fadmin",
            "/pub%2F..%2Fadmin",
            "/pub/..%5cadmin",
            "//a",
            "/a//b",
            "/a/%2F/b",
            "/a%",
            "/a%2",
            "/a%zz",
        ] {
            assert_eq!(read(path), Err("bad_request"), "{path}");
        }
    }
}
