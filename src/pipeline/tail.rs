//! What is left of an exchange while the body of its answer is sent.

use std::fmt;

use portolan_exchange::Outcome;

use super::course::Course;

/// Ends its exchange with the last byte of the answer; dropped before, the client went away.
pub struct Tail {
    course: Course,
    fate: Outcome,
}

impl Tail {
    pub(super) fn new(course: Course, fate: Outcome) -> Self {
        Self { course, fate }
    }

    /// Bytes of content were handed to the connection.
    pub fn sent(&mut self, bytes: usize) {
        let sent = &self.course.exchange().record.bytes.sent;
        sent.set(sent.get() + bytes as u64);
    }

    /// The last byte was handed to the connection.
    pub fn complete(mut self) {
        self.course.fate(self.fate);
    }

    /// The body's own code panicked.
    pub fn panicked(mut self, why: &str) {
        tracing::error!(request_id = %self.course.exchange().id, panic = why, "answer panicked");
        let record = &mut self.course.exchange().record;
        record.fault = Some(portolan_exchange::FaultKind::Internal);
        record.cause = Some(why.to_owned());
        self.course.fate(Outcome::Panicked);
    }

    /// The body broke off before its end: the answer could not be completed.
    pub fn broke(mut self, why: &dyn fmt::Display) {
        let record = &mut self.course.exchange().record;
        record.fault = Some(portolan_exchange::FaultKind::UpstreamBroken);
        record.cause = Some(why.to_string());
        self.course.fate(Outcome::Faulted(portolan_exchange::FaultKind::UpstreamBroken));
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tail")
    }
}
