//! Requests and responses as they stand between the wires: heads of ours, bodies of ours.

use std::fmt;

use crate::upgrade::{Tunnel, Upgrading};
use crate::{Body, Fields};

/// A request method (RFC 9110, section 9). Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// PATCH
    Patch,
    /// OPTIONS
    Options,
    /// CONNECT
    Connect,
    /// TRACE
    Trace,
    /// Any other token.
    Other(Box<str>),
}

impl Method {
    /// The method of this name. The name is a token; whoever read it has checked that.
    pub fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "OPTIONS" => Self::Options,
            "CONNECT" => Self::Connect,
            "TRACE" => Self::Trace,
            other => Self::Other(other.into()),
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request asks for: a path and a query (RFC 9112, section 3.2), percent-encoded as received.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    text: Box<str>,
    path_len: usize,
}

impl Target {
    /// The target of this text, which begins with `/` or is `*`. A fragment is no part of a target.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        let path_len = text.find('?').unwrap_or(text.len());
        Self { text, path_len }
    }

    /// The path, percent-encoded.
    pub fn path(&self) -> &str {
        &self.text[..self.path_len]
    }

    /// The query without its `?`, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_len + 1..)
    }

    /// Path and query.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same query under another path.
    pub fn with_path(&self, path: &str) -> Self {
        let mut text = String::with_capacity(path.len() + self.text.len() - self.path_len);
        text.push_str(path);
        text.push_str(&self.text[self.path_len..]);
        Self { path_len: path.len(), text: text.into() }
    }
}

/// A query may hold credentials: only the path is shown.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// The HTTP version a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// A request on its way through.
#[derive(Debug)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub target: Target,
    /// The host asked for, with its port where one was given; empty only in HTTP/1.0.
    pub authority: Box<str>,
    /// The version it came in.
    pub version: Version,
    /// Its header fields.
    pub fields: Fields,
    /// Its content.
    pub body: Body,
    /// There when the client asked for another protocol on this connection.
    pub upgrade: Option<Box<dyn Upgrading>>,
}

impl Request {
    /// A request that the gateway makes itself, with no fields and no body.
    pub fn new(method: Method, target: Target) -> Self {
        Self {
            method,
            target,
            authority: "".into(),
            version: Version::Http11,
            fields: Fields::new(),
            body: Body::Empty,
            upgrade: None,
        }
    }
}

/// A response on its way back.
#[derive(Debug)]
pub struct Response {
    /// Its status code, 100 to 599.
    pub status: u16,
    /// Its header fields.
    pub fields: Fields,
    /// Its content.
    pub body: Body,
    /// Takes over the connection once the head is sent (status 101, or 200 to an extended CONNECT).
    pub tunnel: Option<Tunnel>,
}

impl Response {
    /// A response without fields or content.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Fields::new(), body: Body::Empty, tunnel: None }
    }
}
