//! A policy of a test's own that notes when it is asked, and does what the test says.

use std::fmt::Display;
use std::rc::Rc;

use portolan_exchange::exchange::Place;
use portolan_exchange::{Answer, Exchange, Kind, LocalBoxFuture, Outcome, Phase, Policy, Step, Worker};

use crate::kit::wait::Watched;

/// What the scouts of one test saw, in order.
#[derive(Clone, Default)]
pub struct Notes(Watched<Vec<String>>);

impl Notes {
    /// Notes something.
    pub fn note(&self, text: impl Display) {
        self.0.change(|notes| notes.push(text.to_string()));
    }

    /// All notes.
    pub fn all(&self) -> Vec<String> {
        self.0.read(Clone::clone)
    }

    /// The notes on one exchange, without its name.
    pub fn of(&self, who: &str) -> Vec<String> {
        let own = |note: &String| note.strip_prefix(who)?.strip_prefix(": ").map(str::to_owned);
        self.0.read(|notes| notes.iter().filter_map(own).collect())
    }

    /// Waits until this was noted.
    pub fn wait_for(&self, text: &str) {
        self.0.wait(&format!("the note {text:?}"), |notes| notes.iter().any(|note| note == text).then_some(()));
    }
}

/// An exchange as notes name it: a request by its path, a child by its operation.
pub fn who(exchange: &Exchange) -> String {
    match (exchange.place, &exchange.operation) {
        (Place::Child | Place::FirstFrame, Some(operation)) if operation.kind == Kind::Call => operation.id.to_string(),
        (Place::Child, Some(operation)) => format!("{} {}", operation.kind.as_str(), operation.id),
        _ => exchange.request.target.path().to_owned(),
    }
}

type OnRequest = Box<dyn Fn(&Rc<Worker>, &mut Exchange) -> Step + Send + Sync>;
type OnWait = Box<dyn for<'a> Fn(&'a Rc<Worker>, &'a mut Exchange) -> LocalBoxFuture<'a, Step> + Send + Sync>;
type OnResponse = Box<dyn Fn(&mut Exchange, &mut Answer) + Send + Sync>;
type OnEnd = Box<dyn Fn(&mut Exchange, Outcome) + Send + Sync>;

/// The policy. It lets everything pass unless it is told otherwise.
pub struct Scout {
    name: &'static str,
    phase: Phase,
    notes: Notes,
    gathers: Option<usize>,
    on_request: OnRequest,
    on_wait: Option<OnWait>,
    on_response: OnResponse,
    on_end: OnEnd,
}

impl Scout {
    /// A scout in this phase.
    pub fn new(name: &'static str, phase: Phase, notes: &Notes) -> Self {
        Self {
            name,
            phase,
            notes: notes.clone(),
            gathers: None,
            on_request: Box::new(|_, _| Step::Next),
            on_wait: None,
            on_response: Box::new(|_, _| {}),
            on_end: Box::new(|_, _| {}),
        }
    }

    /// One in each phase in which policies run, called like it.
    pub fn in_each_phase(notes: &Notes) -> Vec<Self> {
        let phases = [
            Phase::Guard,
            Phase::Authenticate,
            Phase::Authorize,
            Phase::Limit,
            Phase::Filter,
            Phase::Transform,
            Phase::Cache,
            Phase::Call,
        ];
        phases.into_iter().map(|phase| Self::new(phase.as_str(), phase, notes)).collect()
    }

    /// Needs so many bytes of the body gathered.
    pub fn gathering(mut self, cap: usize) -> Self {
        self.gathers = Some(cap);
        self
    }

    /// Does this on the way in.
    pub fn on_request(mut self, does: impl Fn(&Rc<Worker>, &mut Exchange) -> Step + Send + Sync + 'static) -> Self {
        self.on_request = Box::new(does);
        self
    }

    /// Waits on the way in.
    pub fn on_wait(
        mut self,
        does: impl for<'a> Fn(&'a Rc<Worker>, &'a mut Exchange) -> LocalBoxFuture<'a, Step> + Send + Sync + 'static,
    ) -> Self {
        self.on_wait = Some(Box::new(does));
        self
    }

    /// Does this on the way out.
    pub fn on_response(mut self, does: impl Fn(&mut Exchange, &mut Answer) + Send + Sync + 'static) -> Self {
        self.on_response = Box::new(does);
        self
    }

    /// Does this at the end.
    pub fn on_end(mut self, does: impl Fn(&mut Exchange, Outcome) + Send + Sync + 'static) -> Self {
        self.on_end = Box::new(does);
        self
    }

    fn note(&self, exchange: &Exchange, what: impl Display) {
        self.notes.note(format_args!("{}: {} {what}", who(exchange), self.name));
    }
}

impl Policy for Scout {
    fn name(&self) -> &'static str {
        self.name
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn gathers(&self) -> Option<usize> {
        self.gathers
    }

    fn request(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        if self.on_wait.is_some() {
            return Step::Wait;
        }
        self.note(exchange, "request");
        (self.on_request)(worker, exchange)
    }

    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        match &self.on_wait {
            Some(wait) => {
                self.note(exchange, "request");
                wait(worker, exchange)
            }
            None => Box::pin(std::future::ready(self.request(worker, exchange))),
        }
    }

    fn response(&self, _: &Rc<Worker>, exchange: &mut Exchange, answer: &mut Answer) {
        match answer {
            Ok(reply) => self.note(exchange, format_args!("response {}", reply.status)),
            Err(fault) => self.note(exchange, format_args!("response {}", fault.kind().code())),
        }
        (self.on_response)(exchange, answer);
    }

    fn end(&self, _: &Rc<Worker>, exchange: &mut Exchange, outcome: Outcome) {
        self.note(exchange, format_args!("end {outcome:?}"));
        (self.on_end)(exchange, outcome);
    }
}
