//! Exact bytes on a socket: a client and an upstream that do what no library would.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::wait::{PATIENCE, Watched};

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
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a time-out can be set");
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

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer)?;
        self.spare.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// An upstream of exact bytes: every connection is handed to a closure, on a thread of its own.
pub struct RawUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    stopping: AtomicBool,
    log: Watched<Log>,
}

#[derive(Default)]
struct Log {
    heads: Vec<String>,
    cancelled: usize,
    open: Vec<TcpStream>,
}

/// One connection of a [`RawUpstream`].
pub struct Peer {
    stream: TcpStream,
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
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.shared.log.change(|log| log.heads.push(head.clone()));
        Some(head)
    }

    /// Sends bytes; `false` when the caller takes no more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>, script: &Arc<impl Fn(&mut Peer) + Send + Sync + 'static>) {
    let mut scripts = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::Relaxed) {
            break;
        }
        let Ok(kept) = stream.try_clone() else { continue };
        shared.log.change(|log| log.open.push(kept));
        let (shared, script) = (shared.clone(), script.clone());
        scripts.push(thread::spawn(move || {
            let mut peer = Peer { stream, shared };
            script(&mut peer);
            let own = peer.stream.peer_addr().ok();
            peer.shared.log.change(|log| log.open.retain(|open| open.peer_addr().ok() != own));
        }));
    }
    for script in scripts {
        let _ = script.join();
    }
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
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
