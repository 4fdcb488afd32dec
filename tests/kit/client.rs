//! An HTTP client that is not ours: `ureq`, blocking, without any library that the gateway itself uses for HTTP.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use ureq::http::Request;

use super::wait::PATIENCE;

/// A client of one address, with keep-alive.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

/// A request being written.
#[must_use]
pub struct Call {
    client: Client,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A request on its way.
pub struct Pending {
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// An answer, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Fields in order, names in lowercase.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of this address.
    pub fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .allow_non_standard_methods(true)
            .build();
        Self { agent: config.into(), base: format!("http://{address}") }
    }

    /// A request.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call { client: self.clone(), method: method.into(), target: target.into(), headers: Vec::new(), body: None }
    }

    /// A `GET` and its answer.
    pub fn get(&self, target: &str) -> Answer {
        self.call("GET", target).send()
    }

    /// A `POST` of JSON and its answer.
    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.call("POST", target).json(body).send()
    }
}

impl Call {
    /// With this field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With this body as JSON.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends it and waits for all of the answer.
    pub fn send(self) -> Answer {
        let (method, target) = (self.method.clone(), self.target.clone());
        self.try_send().unwrap_or_else(|error| panic!("{method} {target} got no answer: {error}"))
    }

    /// Sends it; an error when the answer breaks off or there is none.
    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let mut request =
            Request::builder().method(self.method.as_str()).uri(format!("{}{}", self.client.base, self.target));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let agent = &self.client.agent;
        let response = match self.body {
            Some(body) => agent.run(request.body(body)?)?,
            None => agent.run(request.body(())?)?,
        };
        let (head, mut body) = response.into_parts();
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let body = body.with_config().limit(256 << 20).read_to_vec()?;
        Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body })
    }

    /// Sends it on a thread of its own.
    pub fn start(self) -> Pending {
        let (tell, answers) = channel();
        let thread = thread::spawn(move || {
            // A test that no longer waits has failed already.
            let _ = tell.send(self.send());
        });
        Pending { answers, thread }
    }
}

impl Pending {
    /// Whether the answer is there, or the request has failed.
    pub fn is_there(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the answer.
    pub fn answer(self) -> Answer {
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("the answer did not come: {error}"))
    }
}

impl Answer {
    /// The value of a field; several are joined by a comma.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?} (status {})", self.text(), self.status))
    }

    /// Checks the status and gives the answer back.
    #[track_caller]
    pub fn assert_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Checks that this is a problem document (RFC 9457) as the gateway writes all of them, and gives back what is its own:
    /// all members but `type`, `title`, `status`, `code` and `request_id`.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.header("content-type").as_deref()),
            (status, Some("application/problem+json")),
            "{}",
            self.text()
        );
        let mut document = self.json();
        let members = document.as_object_mut().expect("a problem is an object");
        let mut take =
            |name: &str| members.remove(name).unwrap_or_else(|| panic!("the problem has no `{name}`: {}", self.text()));
        assert_eq!(take("code"), code, "{}", self.text());
        assert_eq!(take("status"), status, "{}", self.text());
        assert_eq!(take("type"), format!("urn:portolan:fault:{code}"));
        assert!(take("title").as_str().is_some_and(|title| !title.is_empty()), "{}", self.text());
        let id = take("request_id");
        let id = id.as_str().expect("a request id is text");
        assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "request id {id:?}");
        if let Some(of_head) = self.header("x-request-id") {
            assert_eq!(of_head, id, "head and problem name different ids");
        }
        document
    }
}
