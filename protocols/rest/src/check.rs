//! Checks a request against its operation, and tells every place that does not fit.

pub(crate) mod parameters;

use std::borrow::Cow;

use portolan_exchange::fault::{Fault, FaultKind, Violation};

use crate::contract::{MediaType, RestOperation};
use crate::{json, media, sentence};

/// How many violations one refusal tells; who mends so many hears of the rest the next time.
pub const MOST_VIOLATIONS: usize = 32;

/// Said where finding the place would cost too much.
const NOT_TOLD: &str = "does not fit, or is nested in more ways than can be checked";

/// The head of a request as far as an operation is checked against it.
pub struct Head<'a> {
    /// The value of a parameter of the path by its name, percent-encoded as it came.
    pub path: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The query as it came, without its question mark; empty where there is none.
    pub query: &'a str,
    /// The value of a header field by its name in small letters; several of one name joined with a comma, cookies with a
    /// semicolon (RFC 9110, section 5.3; RFC 9113, section 8.2.3).
    pub header: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
}

/// What is to be done with the body of a request whose head fits.
#[derive(Debug, Clone, Copy)]
pub enum BodyCheck<'c> {
    /// It passes as it is.
    Pass,
    /// It is to be gathered and checked with [`body`].
    Gather(&'c MediaType),
}

/// Why a request does not fit its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `InvalidParameters`, `UnsupportedMediaType`, `MalformedBody` or `InvalidBody`.
    pub kind: FaultKind,
    /// Each place that does not fit, at most [`MOST_VIOLATIONS`].
    pub violations: Vec<Violation>,
}

impl Refusal {
    pub(crate) fn of(kind: FaultKind, location: &str, message: impl Into<String>) -> Self {
        Self { kind, violations: vec![Violation { location: location.to_owned(), message: message.into() }] }
    }
}

impl Refusal {
    /// The refusal as the fault of a request for this operation.
    pub fn fault(self, operation: &RestOperation) -> Fault {
        let id = &operation.id;
        let detail = match self.kind {
            FaultKind::InvalidParameters => {
                format!("parameters do not fit operation `{id}`; `errors` names each place")
            }
            FaultKind::UnsupportedMediaType => format!("operation `{id}` does not take a body of this kind"),
            FaultKind::MalformedBody => format!("the body for operation `{id}` is missing or could not be read"),
            _ => format!("the body does not fit operation `{id}`; `errors` names each place"),
        };
        Fault::new(self.kind, detail).at(self.violations)
    }
}

/// Checks a whole request; `body` is `None` where there is none.
///
/// # Errors
/// Every place that does not fit, whether in the head or in the body. Where the parameters do not fit, that is the
/// kind of the refusal, whatever the body is like.
pub fn request(operation: &RestOperation, head: &Head<'_>, body: Option<&[u8]>) -> Result<(), Refusal> {
    let mut violations = parameters::check(operation, head);
    let of_body = match body_check(operation, head, body.is_some()) {
        Ok(BodyCheck::Pass) => Ok(()),
        Ok(BodyCheck::Gather(entry)) => self::body(entry, body.unwrap_or_default()),
        Err(refusal) => Err(refusal),
    };
    if violations.is_empty() {
        return of_body;
    }
    if let Err(refusal) = of_body {
        violations.extend(refusal.violations);
        violations.truncate(MOST_VIOLATIONS);
    }
    Err(Refusal { kind: FaultKind::InvalidParameters, violations })
}

/// Checks the head alone, and tells what is to be done with the body; `has_body` is whether one follows.
///
/// # Errors
/// Parameters that do not fit, a body that is missing, or one of a type that the operation does not take.
pub fn head<'c>(operation: &'c RestOperation, head: &Head<'_>, has_body: bool) -> Result<BodyCheck<'c>, Refusal> {
    let violations = parameters::check(operation, head);
    if !violations.is_empty() {
        return Err(Refusal { kind: FaultKind::InvalidParameters, violations });
    }
    body_check(operation, head, has_body)
}

/// Checks a gathered body.
///
/// # Errors
/// `MalformedBody` where it is not JSON, `InvalidBody` where the JSON does not fit.
pub fn body(entry: &MediaType, bytes: &[u8]) -> Result<(), Refusal> {
    let Some(schema) = &entry.schema else { return Ok(()) };
    let value = json::parse(bytes).map_err(|reason| Refusal::of(FaultKind::MalformedBody, "body", reason))?;
    let mut violations = Violations::default();
    let fits = schema.check(&value, bytes.len(), &mut |error| {
        sentence::of(error, &mut |place, message| violations.add(format!("body{place}"), message));
    });
    if fits {
        return Ok(());
    }
    if violations.list.is_empty() {
        violations.add("body".to_owned(), NOT_TOLD);
    }
    Err(Refusal { kind: FaultKind::InvalidBody, violations: violations.list })
}

/// Tells what is to be done with the body, whatever the parameters are like; `has_body` is whether one follows.
///
/// # Errors
/// A body that is missing, or one of a type that the operation does not take.
pub fn body_check<'c>(operation: &'c RestOperation, head: &Head<'_>, has_body: bool) -> Result<BodyCheck<'c>, Refusal> {
    let Some(body) = &operation.body else { return Ok(BodyCheck::Pass) };
    if !has_body {
        return match body.required {
            true => Err(Refusal::of(FaultKind::MalformedBody, "body", "is required")),
            false => Ok(BodyCheck::Pass),
        };
    }
    let taken = || body.media.iter().map(|entry| format!("`{}`", entry.range)).collect::<Vec<_>>().join(" or ");
    let unsupported = |location: &str, message: String| Refusal::of(FaultKind::UnsupportedMediaType, location, message);
    let Some(content_type) = (head.header)("content-type") else {
        return Err(unsupported("header.content-type", format!("is required with a body: {}", taken())));
    };
    let Some(entry) = body.entry(&content_type) else {
        return Err(unsupported("header.content-type", format!("must be {}", taken())));
    };
    if entry.schema.is_none() || !media::is_json(&media::essence(&content_type)) {
        return Ok(BodyCheck::Pass);
    }
    // What was packed cannot be looked into, and what was not looked into must not pass.
    match (head.header)("content-encoding") {
        Some(coding) if !coding.trim().eq_ignore_ascii_case("identity") => Err(unsupported(
            "header.content-encoding",
            "must be absent: this body is checked and so must not be packed".to_owned(),
        )),
        _ => Ok(BodyCheck::Gather(entry)),
    }
}

/// Violations up to their bound.
#[derive(Default)]
struct Violations {
    list: Vec<Violation>,
}

impl Violations {
    fn add(&mut self, location: String, message: impl Into<String>) {
        let violation = Violation { location, message: message.into() };
        if self.list.len() < MOST_VIOLATIONS && !self.list.contains(&violation) {
            self.list.push(violation);
        }
    }
}

#[cfg(test)]
mod tests;
