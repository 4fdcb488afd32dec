//! Changes heads on their way: remove, set, add.

use std::rc::Rc;

use portolan_config::snapshot::{HeaderEdits, HeaderRules as Rules};
use portolan_exchange::{Answer, Exchange, Fields, Phase, Policy, Step, Worker};

/// The header rules of a route, in the order they were written: the API's, then the operation's.
pub struct HeaderRules(Vec<Rules>);

impl HeaderRules {
    /// The policy of these rules; `None` where they change nothing.
    pub fn new(rules: &[&Rules]) -> Option<Self> {
        let rules: Vec<_> =
            rules.iter().filter(|rules| ***rules != Rules::default()).map(|rules| (*rules).clone()).collect();
        (!rules.is_empty()).then_some(Self(rules))
    }
}

impl Policy for HeaderRules {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn phase(&self) -> Phase {
        Phase::Transform
    }

    fn request(&self, _: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        for rules in &self.0 {
            edit(&mut exchange.request.fields, &rules.request);
        }
        Step::Next
    }

    fn response(&self, _: &Rc<Worker>, _: &mut Exchange, answer: &mut Answer) {
        if let Ok(reply) = answer {
            for rules in &self.0 {
                edit(&mut reply.fields, &rules.response);
            }
        }
    }
}

fn edit(fields: &mut Fields, edits: &HeaderEdits) {
    for name in &edits.remove {
        fields.remove(name);
    }
    // Names and values are checked when the configuration is read.
    for (name, value) in &edits.set {
        if fields.contains(name) {
            fields.set(name, value).expect("what is set is well-formed");
        } else {
            fields.push(name.as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in &edits.add {
        fields.push(name.as_bytes(), value.as_bytes());
    }
}
