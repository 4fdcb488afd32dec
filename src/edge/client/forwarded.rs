//! Reads `Forwarded` (RFC 7239): elements between commas, of pairs between semicolons.
//!
//! Its quotes are why a broken field is refused and not passed over: a client that opens one and does not close it would swallow
//! what a proxy appends on the same line.

use std::fmt;

use portolan_exchange::Fields;
use portolan_exchange::fields::is_token;

/// A `Forwarded` field that can be read in more than one way, or in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's `Forwarded` field is malformed")
    }
}

impl std::error::Error for Malformed {}

/// What one proxy says; values without their quotes. One with an escape in it (`\`) counts as absent: no address, scheme or host
/// needs any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Element<'f> {
    /// All of it, as it was received.
    pub(crate) text: &'f [u8],
    /// Who sent it the request.
    pub(super) node: Option<&'f [u8]>,
    /// What that one spoke.
    pub(super) scheme: Option<&'f [u8]>,
    /// Which host it asked for.
    pub(super) host: Option<&'f [u8]>,
}

/// The elements of all `Forwarded` fields from left to right, empty ones left out. After an error there is nothing more.
pub(crate) fn elements(fields: &Fields) -> impl Iterator<Item = Result<Element<'_>, Malformed>> {
    fields.get_all("forwarded").flat_map(|value| Elements { rest: value })
}

struct Elements<'f> {
    rest: &'f [u8],
}

impl<'f> Iterator for Elements<'f> {
    type Item = Result<Element<'f>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            match self.rest {
                [] => return None,
                [b',', rest @ ..] => self.rest = rest,
                _ => break,
            }
        }
        let begin = self.rest;
        let element = element(&mut self.rest);
        if element.is_err() {
            self.rest = b"";
        }
        Some(
            element.map(|element| Element { text: begin[..begin.len() - self.rest.len()].trim_ascii_end(), ..element }),
        )
    }
}

/// Pairs up to a comma or the end; an element may hold each parameter once (section 4).
fn element<'f>(rest: &mut &'f [u8]) -> Result<Element<'f>, Malformed> {
    let mut element = Element::default();
    let mut seen = Seen::default();
    loop {
        *rest = rest.trim_ascii_start();
        match *rest {
            [] | [b',', ..] => return Ok(element),
            [b';', after @ ..] => {
                *rest = after;
                continue;
            }
            _ => {}
        }
        let (name, value) = pair(rest)?;
        let value = Some(value).filter(|value| !value.contains(&b'\\'));
        let place = match () {
            () if name.eq_ignore_ascii_case(b"for") => seen.once(Parameter::For).map(|()| &mut element.node),
            () if name.eq_ignore_ascii_case(b"proto") => seen.once(Parameter::Proto).map(|()| &mut element.scheme),
            () if name.eq_ignore_ascii_case(b"host") => seen.once(Parameter::Host).map(|()| &mut element.host),
            () if name.eq_ignore_ascii_case(b"by") => {
                seen.once(Parameter::By)?;
                continue;
            }
            // An extension says nothing that is asked for here.
            () => continue,
        };
        *place? = value;
    }
}

/// `name=value`, and that nothing but a separator follows.
fn pair<'f>(rest: &mut &'f [u8]) -> Result<(&'f [u8], &'f [u8]), Malformed> {
    let equals = rest.iter().position(|byte| *byte == b'=').ok_or(Malformed)?;
    let (name, after) = (&rest[..equals], &rest[equals + 1..]);
    if !is_token(name) {
        return Err(Malformed);
    }
    let (value, after) = match after {
        [b'"', after @ ..] => quoted(after)?,
        _ => {
            // The standard wants a token; addresses with ports are often sent without the quotes they need, and cannot be
            // misread.
            let end = after.iter().position(|byte| b",; \t".contains(byte)).unwrap_or(after.len());
            let sound = end > 0 && after[..end].iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
            if !sound {
                return Err(Malformed);
            }
            after.split_at(end)
        }
    };
    let after = after.trim_ascii_start();
    if !matches!(after, [] | [b',' | b';', ..]) {
        return Err(Malformed);
    }
    *rest = after;
    Ok((name, value))
}

/// Up to the closing quote, which is taken; escapes are left as they are (RFC 9110, section 5.6.4).
fn quoted(text: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut at = 0;
    loop {
        match text.get(at).ok_or(Malformed)? {
            b'"' => return Ok((&text[..at], &text[at + 1..])),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[derive(Clone, Copy)]
enum Parameter {
    For,
    Proto,
    Host,
    By,
}

/// Which parameters an element had.
#[derive(Default)]
struct Seen([bool; 4]);

impl Seen {
    fn once(&mut self, parameter: Parameter) -> Result<(), Malformed> {
        let before = std::mem::replace(&mut self.0[parameter as usize], true);
        if before { Err(Malformed) } else { Ok(()) }
    }
}
