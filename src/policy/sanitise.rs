//! Keeps from callers what upstreams tell of themselves: headers that say what they are made of, and by choice the bodies
//! of their errors.

use std::rc::Rc;

use portolan_config::snapshot::{self, HeaderPattern, ReplaceErrors};
use portolan_exchange::{Answer, Exchange, Fault, FaultKind, Phase, Policy, Reply, Step, Worker};

/// What is kept from the callers of a route.
pub struct Sanitise {
    removed: Names,
    kept: Names,
    replaced: ReplaceErrors,
}

/// Names of headers, and beginnings of names, in lowercase.
struct Names {
    names: Vec<Box<[u8]>>,
    beginnings: Vec<Box<[u8]>>,
    /// A bit for each letter that one of them begins with: most headers are passed by this alone.
    letters: u32,
}

/// What of an error goes on in its replacement: a caller needs it to do better, and it says nothing of what failed.
const FOR_CALLERS: [&str; 3] = ["allow", "retry-after", "www-authenticate"];

impl Sanitise {
    /// The policy of these settings.
    pub fn new(settings: &snapshot::Sanitise) -> Self {
        let listed = snapshot::Sanitise::LIST.iter().map(|text| HeaderPattern::of(text));
        Self {
            removed: Names::of(listed.chain(settings.remove.iter().cloned())),
            kept: Names::of(settings.keep.iter().cloned()),
            replaced: settings.replace_errors,
        }
    }

    fn takes_out(&self, name: &[u8]) -> bool {
        self.removed.has(name) && !self.kept.has(name)
    }

    fn replaces(&self, status: u16) -> bool {
        match self.replaced {
            ReplaceErrors::None => false,
            ReplaceErrors::Server => status >= 500,
            ReplaceErrors::All => status >= 400,
        }
    }
}

impl Policy for Sanitise {
    fn name(&self) -> &'static str {
        "sanitise"
    }

    /// Behind the header rules, so that what an operator sets on the way back is not taken out again.
    fn phase(&self) -> Phase {
        Phase::Transform
    }

    fn request(&self, _: &Rc<Worker>, _: &mut Exchange) -> Step {
        Step::Next
    }

    fn response(&self, _: &Rc<Worker>, _: &mut Exchange, answer: &mut Answer) {
        let Ok(reply) = answer else { return };
        if self.replaces(reply.status) {
            // The body goes unread: a long one costs its connection, and nothing is gathered to be thrown away.
            *answer = Err(replacement(reply));
            return;
        }
        if reply.fields.iter().any(|(name, _)| self.takes_out(name)) {
            reply.fields.retain(|name, _| !self.takes_out(name));
        }
    }
}

/// Our own answer in the place of an upstream's error.
fn replacement(reply: &Reply) -> Fault {
    let detail = format!("the service answered with status {}", reply.status);
    let mut fault = Fault::new(FaultKind::UpstreamError, detail).with_status(reply.status);
    for name in FOR_CALLERS {
        let values = reply.fields.get_all(name).filter_map(|value| std::str::from_utf8(value).ok());
        for value in values.filter(|value| value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))) {
            fault = fault.field(name, value);
        }
    }
    fault
}

impl Names {
    fn of(patterns: impl Iterator<Item = HeaderPattern>) -> Self {
        let mut all = Self { names: Vec::new(), beginnings: Vec::new(), letters: 0 };
        for pattern in patterns {
            let (list, text) = match &pattern {
                HeaderPattern::Name(name) => (&mut all.names, name),
                HeaderPattern::Beginning(beginning) => (&mut all.beginnings, beginning),
            };
            list.push(text.as_bytes().into());
            all.letters |= text.bytes().next().map_or(0, bit);
        }
        all
    }

    fn has(&self, name: &[u8]) -> bool {
        let Some(first) = name.first() else { return false };
        if self.letters & bit(*first) == 0 {
            return false;
        }
        let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        self.names.iter().any(|known| name.eq_ignore_ascii_case(known))
            || self.beginnings.iter().any(|beginning| begins(beginning))
    }
}

/// Letters of either case have a bit; what is no letter shares theirs, which costs a comparison and no more.
fn bit(byte: u8) -> u32 {
    1 << (byte & 0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanitise(remove: &[&str], keep: &[&str]) -> Sanitise {
        let patterns = |list: &[&str]| list.iter().map(|text| HeaderPattern::of(text)).collect();
        let (remove, keep) = (patterns(remove), patterns(keep));
        Sanitise::new(&snapshot::Sanitise { remove, keep, replace_errors: ReplaceErrors::None })
    }

    #[test]
    fn names_are_told_whatever_their_case_and_by_their_beginning_where_a_star_stands() {
        let sanitise = sanitise(&["X-Team".to_ascii_lowercase().as_str(), "_x*"], &["x-debug-id", "x-envoy-*"]);
        for name in
            ["Server", "VIA", "x-powered-by", "X-Powered-By-Plesk", "x-debug", "X-Debug-Token", "X-TEAM", "_X-a"]
        {
            assert!(sanitise.takes_out(name.as_bytes()), "{name}");
        }
        for name in ["server-timing", "vary", "x-debug-id", "X-Envoy-Attempt-Count", "x-teams", "x-request-id", "s", ""]
        {
            assert!(!sanitise.takes_out(name.as_bytes()), "{name}");
        }
    }
}
