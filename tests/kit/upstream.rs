//! An HTTP/1.1 service that records what it is asked and answers as it is told.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};

use super::wait::Watched;

/// A request as the upstream saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target as it was written.
    pub target: String,
    /// Fields in order, names in lowercase.
    pub headers: Vec<(String, String)>,
    /// What has come of the body.
    pub body: Vec<u8>,
    /// Whether all of the body has come.
    pub whole: bool,
}

impl Seen {
    /// The value of a field; several are joined by a comma.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// An answer.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: ReplyBody,
}

enum ReplyBody {
    Whole(Vec<u8>),
    Fed(mpsc::UnboundedReceiver<Piece>),
    /// Not even a head.
    Never,
}

enum Piece {
    Bytes(Bytes),
    BreakOff,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::bytes(status, value.to_string()).header("content-type", "application/json")
    }

    /// An answer of these bytes.
    pub fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Whole(body.into()) }
    }

    /// No answer, until the caller gives up.
    pub fn never() -> Self {
        Self { status: 0, headers: Vec::new(), body: ReplyBody::Never }
    }

    /// With this field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Sends the body of an answer piece by piece. Dropping it ends the body.
pub struct Feed(mpsc::UnboundedSender<Piece>);

impl Feed {
    /// Sends a piece. One that nobody takes any more is lost.
    pub fn send(&self, piece: impl Into<Vec<u8>>) {
        let _ = self.0.send(Piece::Bytes(piece.into().into()));
    }

    /// Ends the body.
    pub fn end(self) {}

    /// Closes the connection before the body's end.
    pub fn break_off(self) {
        let _ = self.0.send(Piece::BreakOff);
    }
}

/// The service. It lives on a thread of its own and ends when it is dropped.
pub struct FakeUpstream {
    address: SocketAddr,
    log: Watched<Log>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Seen>,
    connections: usize,
    cancelled: usize,
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

impl FakeUpstream {
    /// Answers as the closure says, once the whole request is there.
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let (stop, stopped) = oneshot::channel();
        let log = Watched::default();
        let handler: Handler = Arc::new(handler);
        let thread = thread::Builder::new()
            .name("upstream".into())
            .spawn({
                let log = log.clone();
                move || serve(listener, &log, &handler, stopped)
            })
            .expect("there is room for a thread");
        Self { address, log, stop: Some(stop), thread: Some(thread) }
    }

    /// Answers everything with this JSON.
    pub fn answering(status: u16, value: serde_json::Value) -> Self {
        Self::start(move |_| Reply::json(status, &value))
    }

    /// Answers everything with 500.
    pub fn failing() -> Self {
        Self::answering(500, serde_json::json!({ "error": "on purpose" }))
    }

    /// Takes requests and never answers.
    pub fn hanging() -> Self {
        Self::start(|_| Reply::never())
    }

    /// Answers with the request's own body and media type.
    pub fn echo() -> Self {
        Self::start(|seen| {
            let media = seen.header("content-type").unwrap_or_else(|| "application/octet-stream".into());
            Reply::bytes(200, seen.body.clone()).header("content-type", &media)
        })
    }

    /// Answers the first request with a body that comes piece by piece, the others with 500.
    pub fn fed() -> (Self, Feed) {
        let (feed, pieces) = mpsc::unbounded_channel();
        let pieces = Mutex::new(Some(pieces));
        let upstream = Self::start(move |_| match pieces.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(pieces) => Reply { status: 200, headers: Vec::new(), body: ReplyBody::Fed(pieces) },
            None => Reply::bytes(500, "fed already"),
        });
        (upstream, Feed(feed))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has been asked so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.log.read(|log| log.requests.clone())
    }

    /// How often it has been asked.
    pub fn count(&self) -> usize {
        self.log.read(|log| log.requests.len())
    }

    /// How often it has been asked for this path.
    pub fn count_of(&self, target: &str) -> usize {
        self.log.read(|log| log.requests.iter().filter(|seen| seen.target == target).count())
    }

    /// Waits for this many whole requests.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        self.log.wait(&format!("{count} requests at the upstream"), |log| {
            let whole: Vec<_> = log.requests.iter().filter(|seen| seen.whole).cloned().collect();
            (whole.len() >= count).then_some(whole)
        })
    }

    /// Waits until a request, whole or not, is as described.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        self.log.wait(what, |log| log.requests.iter().any(&is_so).then_some(()));
    }

    /// The only request there was.
    pub fn the_request(&self) -> Seen {
        let requests = self.requests();
        let [request] = &requests[..] else { panic!("one request was expected, these came: {requests:#?}") };
        request.clone()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.log.read(|log| log.connections)
    }

    /// How many exchanges were given up by the caller: requests that broke off, answers that nobody waited for.
    pub fn cancelled(&self) -> usize {
        self.log.read(|log| log.cancelled)
    }

    /// Waits until this many exchanges were given up.
    pub fn wait_for_cancelled(&self, count: usize) {
        self.log.wait(&format!("{count} cancelled exchanges at the upstream"), |log| {
            (log.cancelled >= count).then_some(())
        });
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An address that nobody listens at, and nobody will while this process lives: a port that was given back may be the next
/// upstream's of another test, which would be asked what was meant for nobody.
pub fn nobody() -> SocketAddr {
    static HELD: Mutex<Vec<Reserved>> = Mutex::new(Vec::new());
    let reserved = Reserved::new(false);
    let address = reserved.address();
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
    address
}

/// A port of loopback that the system gives to nobody else while this is held: it is bound, and nobody listens at it.
pub struct Reserved(socket2::Socket);

impl Reserved {
    /// A port for another process, which must be told it before it has it. That process may listen at it, where it asks for
    /// `SO_REUSEADDR` as servers do; whoever asks for any port never gets it.
    pub fn for_another_process() -> Self {
        Self::new(true)
    }

    fn new(reuse: bool) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there is room");
        socket.set_reuse_address(reuse).expect("a new socket has options");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("there is a free port");
        Self(socket)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().ok().and_then(|address| address.as_socket());
        address.expect("a bound socket has an address")
    }
}

/// A service so busy that the system takes no more connections for it: whoever connects waits.
pub struct Full {
    listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl Full {
    /// Fills its queue.
    pub fn start() -> Self {
        let tcp = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there is room");
        let listener = tcp();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("there is a free port");
        listener.listen(0).expect("a bound socket can listen");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connect = |_| {
            let socket = tcp();
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            // It is under way, which is all that is wanted.
            let _ = socket.connect(&address);
            socket
        };
        let waiting = (0..8).map(connect).collect();
        Self { listener, _waiting: waiting }
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        let address = self.listener.local_addr().ok().and_then(|address| address.as_socket());
        format!("http://{}", address.expect("a bound socket has an address"))
    }
}

fn serve(listener: TcpListener, log: &Watched<Log>, handler: &Handler, stopped: oneshot::Receiver<()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is room for a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is non-blocking");
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let stream = tokio::select! {
                _ = &mut stopped => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
            };
            log.change(|log| log.connections += 1);
            let (log, handler) = (log.clone(), handler.clone());
            let service = hyper::service::service_fn(move |request| answer(log.clone(), handler.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                // A broken connection is told by what its exchanges record.
                let _ = connection.await;
            });
        }
    });
}

async fn answer(
    log: Watched<Log>,
    handler: Handler,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Sending>, Infallible> {
    let mut open = Open { log: log.clone(), done: false };
    let seen = receive(&log, request).await;
    // Of a request that broke off nobody reads the answer.
    let reply = seen.as_ref().map_or_else(|| Reply::bytes(400, ""), |seen| handler(seen));
    let body = match reply.body {
        ReplyBody::Never => return std::future::pending().await,
        ReplyBody::Whole(bytes) => {
            open.done = seen.is_some();
            Sending::Whole(Some(bytes.into()))
        }
        ReplyBody::Fed(pieces) => Sending::Fed(pieces, open),
    };
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(body).expect("a test's reply has a status and fields that can be sent"))
}

/// Records a request as it comes; nothing when it breaks off before its end.
async fn receive(log: &Watched<Log>, request: hyper::Request<Incoming>) -> Option<Seen> {
    let (head, mut body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let seen = Seen {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: headers.collect(),
        ..Seen::default()
    };
    let at = log.change(|log| {
        log.requests.push(seen);
        log.requests.len() - 1
    });
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return None };
        if let Ok(data) = frame.into_data() {
            log.change(|log| log.requests[at].body.extend_from_slice(&data));
        }
    }
    log.change(|log| {
        log.requests[at].whole = true;
        Some(log.requests[at].clone())
    })
}

/// An exchange that counts as cancelled when it is dropped before its end.
struct Open {
    log: Watched<Log>,
    done: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.done {
            self.log.change(|log| log.cancelled += 1);
        }
    }
}

enum Sending {
    Whole(Option<Bytes>),
    Fed(mpsc::UnboundedReceiver<Piece>, Open),
}

impl Body for Sending {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Fed(pieces, open) => Poll::Ready(match ready!(pieces.poll_recv(context)) {
                Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::BreakOff) => {
                    open.done = true;
                    Some(Err(std::io::Error::other("broken off on purpose")))
                }
                None => {
                    open.done = true;
                    None
                }
            }),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(bytes) => http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Fed(..) => http_body::SizeHint::default(),
        }
    }
}
