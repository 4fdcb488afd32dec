//! Exact bytes on a socket: a client and an upstream that do what no library would.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::message::{Expected, Message, Source, Unread};
use super::wait::{PATIENCE, Watched};

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In good order (FIN).
    Closed,
    /// With a reset (RST).
    Reset,
}

/// A client of exact bytes.
pub struct RawClient {
    stream: TcpStream,
    // Read from the socket, not yet asked for.
    spare: Vec<u8>,
}

impl RawClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out can be set");
        Self { stream, spare: Vec::new() }
    }

    /// Connects with as little room for what is received as the system allows, so that whoever sends notices soon that nobody
    /// reads.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
        let socket = socket.expect("there is room for a socket");
        // Must be set before connecting: it decides how far the window may ever open.
        socket.set_recv_buffer_size(4 * 1024).expect("a socket can be told its room");
        socket.connect(&address.into()).unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out can be set");
        Self { stream, spare: Vec::new() }
    }

    /// Sends as much of this as the other side takes before it takes nothing for a while; gives how much that was.
    pub fn send_until_blocked(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out can be set");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("the other side ended the connection: {error}"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a time-out can be set");
        sent
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the other side takes the bytes");
    }

    /// Sends bytes to a side that may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads up to and including this mark.
    pub fn read_until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = find(&self.spare, mark.as_bytes()) {
                let rest = self.spare.split_off(at + mark.len());
                let found = std::mem::replace(&mut self.spare, rest);
                return String::from_utf8_lossy(&found).into_owned();
            }
            let filled = self.fill();
            let so_far = String::from_utf8_lossy(&self.spare);
            match filled {
                Ok(0) => panic!("the connection ended before {mark:?}; read: {so_far:?}"),
                Ok(_) => {}
                Err(error) => panic!("no {mark:?}: {error}; read: {so_far:?}"),
            }
        }
    }

    /// Reads a head, its blank line included.
    pub fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    /// Reads a head and the body that its `Content-Length` announces.
    pub fn read_answer(&mut self) -> (String, String) {
        let head = self.read_head();
        let length = head
            .lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
            .map_or(0, |(_, value)| value.trim().parse().expect("a length is a number"));
        while self.spare.len() < length {
            let read = self.fill().expect("the body comes");
            assert!(read > 0, "the connection ended within a body; head: {head:?}");
        }
        let rest = self.spare.split_off(length);
        let body = std::mem::replace(&mut self.spare, rest);
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads so many bytes.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.spare.len() < count {
            match self.fill() {
                Ok(0) => panic!("the connection ended {} bytes before the end", count - self.spare.len()),
                Ok(_) => {}
                Err(error) => panic!("{} bytes did not come: {error}", count - self.spare.len()),
            }
        }
        let rest = self.spare.split_off(count);
        std::mem::replace(&mut self.spare, rest)
    }

    /// Reads all there is until the other side closes. A reset is an end too.
    pub fn read_to_end(&mut self) -> String {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => {
                    panic!("the connection did not end: {error}; read: {:?}", String::from_utf8_lossy(&self.spare))
                }
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.spare)).into_owned()
    }

    /// Sends nothing more, and goes on reading.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a socket can be half closed");
    }

    /// Sends each of these in a segment of its own.
    pub fn send_pieces<P: AsRef<[u8]>>(&mut self, pieces: impl IntoIterator<Item = P>) {
        self.stream.set_nodelay(true).expect("a socket can be told not to wait");
        for piece in pieces {
            self.send(piece);
        }
    }

    /// Reads the answer to a request of this method, or an interim one.
    #[track_caller]
    pub fn answer_to(&mut self, method: &str) -> Message {
        self.message(Expected::AnswerTo(method)).unwrap_or_else(|error| panic!("no answer to {method}: {error}"))
    }

    /// Reads the answer to a request of this method; nothing when the other side ended the connection instead.
    pub fn try_answer_to(&mut self, method: &str) -> Option<Message> {
        self.message(Expected::AnswerTo(method)).ok()
    }

    /// Reads the next chunk of an answer whose head was read; nothing when it is the last.
    #[track_caller]
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        self.chunk().unwrap_or_else(|error| panic!("no chunk: {error}"))
    }

    /// Waits until the other side ends the connection, before which nothing more may come.
    #[track_caller]
    pub fn end(&mut self) -> End {
        let (end, more) = self.rest();
        assert!(more.is_empty(), "this came before the end: {:?}", String::from_utf8_lossy(&more));
        end
    }

    /// Reads all there is until the other side ends the connection, however it does.
    #[track_caller]
    pub fn rest(&mut self) -> (End, Vec<u8>) {
        let end = loop {
            match self.fill() {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    break End::Reset;
                }
                Err(error) => {
                    panic!("the connection did not end: {error}; read: {:?}", String::from_utf8_lossy(&self.spare))
                }
            }
        };
        (end, std::mem::take(&mut self.spare))
    }

    /// Whether nothing has come that was not read yet. It says nothing of what is on its way.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket can be non-blocking");
        let filled = self.fill();
        self.stream.set_nonblocking(false).expect("a socket can block");
        self.spare.is_empty() && matches!(&filled, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Another client on the same connection, which sends while this one reads.
    pub fn sender(&self) -> Self {
        let stream = self.stream.try_clone().expect("a socket can be shared");
        Self { stream, spare: Vec::new() }
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket can be told not to linger");
    }
}

impl Source for RawClient {
    fn spare(&mut self) -> &mut Vec<u8> {
        &mut self.spare
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        read_more(&mut self.stream, &mut self.spare)
    }
}

fn read_more(stream: &mut TcpStream, spare: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let read = stream.read(&mut buffer)?;
    spare.extend_from_slice(&buffer[..read]);
    Ok(read)
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// An upstream of exact bytes: every connection is handed to a closure, on a thread of its own.
pub struct RawUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<Scripts>>,
}

struct Shared {
    stopping: AtomicBool,
    log: Watched<Log>,
}

#[derive(Default)]
struct Log {
    heads: Vec<String>,
    requests: Vec<Message>,
    connections: usize,
    cancelled: usize,
    open: Vec<TcpStream>,
}

/// How the scripts of an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scripts {
    Sound,
    Panicked,
}

/// One connection of a [`RawUpstream`].
pub struct Peer {
    stream: TcpStream,
    // Read from the socket, not yet asked for.
    spare: Vec<u8>,
    shared: Arc<Shared>,
}

impl RawUpstream {
    /// Serves every connection by this closure; when it returns, the connection is closed.
    pub fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { stopping: AtomicBool::new(false), log: Watched::default() });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared, &Arc::new(script))
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Answers every request on a connection with the same bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |peer| {
            while peer.head().is_some() {
                if !peer.send(&bytes) {
                    return;
                }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.shared.log.read(|log| log.heads.len())
    }

    /// Waits for this many requests and gives their heads.
    pub fn wait_for(&self, count: usize) -> Vec<String> {
        self.shared.log.wait(&format!("{count} requests at the raw upstream"), |log| {
            (log.heads.len() >= count).then(|| log.heads.clone())
        })
    }

    /// The whole requests that its scripts have read.
    pub fn requests(&self) -> Vec<Message> {
        self.shared.log.read(|log| log.requests.clone())
    }

    /// Waits for this many whole requests.
    pub fn wait_for_requests(&self, count: usize) -> Vec<Message> {
        self.shared.log.wait(&format!("{count} whole requests at the raw upstream"), |log| {
            (log.requests.len() >= count).then(|| log.requests.clone())
        })
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.shared.log.read(|log| log.connections)
    }

    /// Waits until so many of its connections are open.
    pub fn wait_for_open(&self, count: usize) {
        self.shared.log.wait(&format!("{count} open connections at the raw upstream"), |log| {
            (log.open.len() == count).then_some(())
        });
    }

    /// How many connections were closed by the caller while the script hung.
    pub fn cancelled(&self) -> usize {
        self.shared.log.read(|log| log.cancelled)
    }

    /// Waits until this many connections were closed by the caller while the script hung.
    pub fn wait_for_cancelled(&self, count: usize) {
        self.shared.log.wait(&format!("{count} cancelled connections at the raw upstream"), |log| {
            (log.cancelled >= count).then_some(())
        });
    }
}

impl Peer {
    /// Reads a request's head; nothing when the caller closed instead.
    pub fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = find(&self.spare, b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(self.fill(), Ok(1..)) {
                return None;
            }
        };
        let rest = self.spare.split_off(end);
        let head = std::mem::replace(&mut self.spare, rest);
        let head = String::from_utf8_lossy(&head).into_owned();
        self.shared.log.change(|log| log.heads.push(head.clone()));
        Some(head)
    }

    /// Reads a whole request; nothing when the caller closed instead, or broke off within it.
    ///
    /// A request that is no HTTP/1.1 to the letter fails the test.
    pub fn request(&mut self) -> Option<Message> {
        let begin = self.head()?;
        let unread = std::mem::take(&mut self.spare);
        self.spare = [begin.as_bytes(), &unread].concat();
        let request = match self.message(Expected::Request) {
            Ok(request) => request,
            Err(Unread::Ended(_)) => return None,
            Err(Unread::Wrong(what)) => panic!("the gateway sent what is no HTTP/1.1: {what}"),
        };
        self.shared.log.change(|log| log.requests.push(request.clone()));
        Some(request)
    }

    /// Reads the next chunk of a request whose head was read; nothing when it is the last, or the caller left.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        self.chunk().ok().flatten()
    }

    /// Reads so many bytes; nothing when the caller left before.
    pub fn read_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        self.exactly(count).ok()
    }

    /// Sends bytes; `false` when the caller takes no more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends nothing more, and goes on reading.
    pub fn finish(&mut self) {
        // Fails only where the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends bytes and the end of the sending side in one segment.
    pub fn send_last(&mut self, bytes: impl AsRef<[u8]>) {
        socket2::SockRef::from(&self.stream).set_tcp_cork(true).expect("a socket can be told to wait for more");
        self.send(bytes);
        self.finish();
    }

    /// Says nothing until the caller closes.
    pub fn hang(&mut self) {
        let mut buffer = [0; 1024];
        while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
        if !self.shared.stopping.load(Ordering::Relaxed) {
            self.shared.log.change(|log| log.cancelled += 1);
        }
    }

    /// Neither reads nor writes until the upstream is dropped.
    pub fn stall(&mut self) {
        while !self.shared.stopping.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ends the connection with a reset.
    pub fn reset(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket can be told not to linger");
        // Closed when the script returns, which is then a reset: the clone kept for stopping must go first.
        let own = self.stream.peer_addr().ok();
        self.shared.log.change(|log| log.open.retain(|open| open.peer_addr().ok() != own));
    }
}

impl Source for Peer {
    fn spare(&mut self) -> &mut Vec<u8> {
        &mut self.spare
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        read_more(&mut self.stream, &mut self.spare)
    }
}

fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    script: &Arc<impl Fn(&mut Peer) + Send + Sync + 'static>,
) -> Scripts {
    let mut scripts = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::Relaxed) {
            break;
        }
        let Ok(kept) = stream.try_clone() else { continue };
        shared.log.change(|log| {
            log.open.push(kept);
            log.connections += 1;
        });
        let (shared, script) = (shared.clone(), script.clone());
        scripts.push(thread::spawn(move || {
            let mut peer = Peer { stream, spare: Vec::new(), shared };
            script(&mut peer);
            let own = peer.stream.peer_addr().ok();
            peer.shared.log.change(|log| log.open.retain(|open| open.peer_addr().ok() != own));
        }));
    }
    let panicked = scripts.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
    if panicked > 0 { Scripts::Panicked } else { Scripts::Sound }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.log.change(|log| {
            for open in log.open.drain(..) {
                let _ = open.shutdown(Shutdown::Both);
            }
        });
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let Some(acceptor) = self.acceptor.take() else { return };
        let scripts = acceptor.join();
        // What a script asserts is part of the test.
        assert!(thread::panicking() || matches!(scripts, Ok(Scripts::Sound)), "a script of the raw upstream panicked");
    }
}
