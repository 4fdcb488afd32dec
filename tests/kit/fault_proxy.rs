//! A fault-injecting proxy between any two parties: it holds, meters, swallows, cuts and resets what passes, switched while it runs.
//!
//! It never judges a time. What is delayed waits until the test lets it pass; what is throttled passes in so many bytes as the
//! test allows.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::raw::End;
use super::wait::Watched;

/// The two ways through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the one who connected.
    There,
    /// To the one who connected.
    Back,
}

/// What becomes of the bytes that go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// They pass.
    Open,
    /// So many pass; the rest waits, and is not even read.
    Metered(u64),
    /// They are read and forgotten.
    Swallowed,
    /// They pass, but only so many of each connection, which then ends.
    Cut(u64, End),
    /// No more come: the receiver is told that this way has ended.
    Finished,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    there: Flow,
    back: Flow,
    /// Connections opened up to this one are ended like this.
    ended: Option<(usize, End)>,
}

#[derive(Default)]
struct Log {
    connections: usize,
    open: usize,
    there: u64,
    back: u64,
}

/// The proxy. It lives on a thread of its own and ends, with all connections, when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    rules: watch::Sender<Rules>,
    log: Watched<Log>,
}

impl FaultProxy {
    /// A proxy that leads to this address, and does no harm yet.
    pub fn to(target: SocketAddr) -> Self {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let rules = watch::Sender::new(Rules { there: Flow::Open, back: Flow::Open, ended: None });
        let shared = Arc::new(Shared { target, rules, log: Watched::default() });
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("fault-proxy".into())
            .spawn({
                let shared = shared.clone();
                move || serve(listener, &shared, stopped)
            })
            .expect("there is room for a thread");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets pass what goes this way, also what waited.
    pub fn pass(&self, way: Way) {
        self.set(way, Flow::Open);
    }

    /// Holds what goes this way until it may pass: a delay as long as the test wants, or a black hole.
    pub fn hold(&self, way: Way) {
        self.set(way, Flow::Metered(0));
    }

    /// Lets so many more bytes pass this way and holds the rest, which throttles it.
    pub fn allow(&self, way: Way, bytes: u64) {
        self.shared.rules.send_modify(|rules| {
            let flow = rules.flow(way);
            let left = if let Flow::Metered(left) = flow { *left } else { 0 };
            *flow = Flow::Metered(left + bytes);
        });
    }

    /// Takes what goes this way and forgets it.
    pub fn swallow(&self, way: Way) {
        self.set(way, Flow::Swallowed);
    }

    /// Ends each connection when so many of its bytes have passed this way.
    pub fn cut_after(&self, way: Way, bytes: u64, end: End) {
        self.set(way, Flow::Cut(bytes, end));
    }

    /// Ends this way alone, as one who has nothing more to say.
    pub fn finish(&self, way: Way) {
        self.set(way, Flow::Finished);
    }

    /// Ends every connection there is, towards both sides.
    pub fn end_all(&self, end: End) {
        let opened = self.connections();
        self.shared.rules.send_modify(|rules| rules.ended = Some((opened, end)));
        self.shared.log.wait("all connections of the proxy end", |log| (log.open == 0).then_some(()));
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.shared.log.read(|log| log.connections)
    }

    /// Waits until so many connections are open.
    pub fn wait_for_open(&self, count: usize) {
        self.shared
            .log
            .wait(&format!("{count} open connections at the proxy"), |log| (log.open == count).then_some(()));
    }

    /// Waits until so many bytes have passed this way.
    pub fn wait_for_passed(&self, way: Way, bytes: u64) {
        self.shared.log.wait(&format!("{bytes} bytes {way:?}"), |log| (log.passed(way) >= bytes).then_some(()));
    }

    fn set(&self, way: Way, flow: Flow) {
        self.shared.rules.send_modify(|rules| *rules.flow(way) = flow);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Rules {
    fn of(mut self, way: Way) -> Flow {
        *self.flow(way)
    }

    fn flow(&mut self, way: Way) -> &mut Flow {
        match way {
            Way::There => &mut self.there,
            Way::Back => &mut self.back,
        }
    }
}

impl Log {
    fn passed(&self, way: Way) -> u64 {
        match way {
            Way::There => self.there,
            Way::Back => self.back,
        }
    }
}

fn serve(listener: StdListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is room for a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the socket is non-blocking");
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let from = tokio::select! {
                _ = &mut stopped => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
            };
            let number = shared.log.change(|log| {
                log.connections += 1;
                log.open += 1;
                log.connections
            });
            let shared = shared.clone();
            tokio::spawn(async move {
                match TcpStream::connect(shared.target).await {
                    Ok(to) => carry(&shared, number, from, to).await,
                    Err(_) => end_with_reset(&from),
                }
                shared.log.change(|log| log.open -= 1);
            });
        }
    });
}

/// Carries one connection to its end.
async fn carry(shared: &Shared, number: usize, mut from: TcpStream, mut to: TcpStream) {
    // What is let pass is seen at once.
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let end = {
        let (from_read, from_write) = from.split();
        let (to_read, to_write) = to.split();
        let both = async {
            tokio::try_join!(
                carry_one_way(shared, Way::There, from_read, to_write),
                carry_one_way(shared, Way::Back, to_read, from_write)
            )
        };
        tokio::select! {
            carried = both => carried.err().unwrap_or(End::Closed),
            end = ended(shared, number) => end,
        }
    };
    if end == End::Reset {
        end_with_reset(&from);
        end_with_reset(&to);
    }
}

/// Makes a reset of the close to come.
fn end_with_reset(stream: &TcpStream) {
    // Fails only where the connection is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Carries what goes one way until its end.
///
/// # Errors
/// How the whole connection ends, when it is cut or broken.
async fn carry_one_way(shared: &Shared, way: Way, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), End> {
    let mut buffer = vec![0; 16 * 1024];
    let mut carried = 0;
    loop {
        // Not even read while nothing may pass: whoever sends feels it.
        let Some(_) = may_pass(shared, way, carried, 1).await? else { break };
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.map_err(how)?,
            over = over(shared, way, carried) => {
                over?;
                break;
            }
        };
        if read == 0 {
            break;
        }
        let mut piece = &buffer[..read];
        while !piece.is_empty() {
            let Some(may) = may_pass(shared, way, carried, piece.len() as u64).await? else { break };
            let (now, rest) = piece.split_at(may.count as usize);
            if may.forward {
                to.write_all(now).await.map_err(how)?;
                shared.log.change(|log| match way {
                    Way::There => log.there += may.count,
                    Way::Back => log.back += may.count,
                });
            }
            shared.rules.send_if_modified(|rules| {
                if let Flow::Metered(left) = rules.flow(way) {
                    *left -= may.count.min(*left);
                }
                false
            });
            carried += may.count;
            piece = rest;
        }
    }
    to.shutdown().await.map_err(how)?;
    Ok(())
}

/// What may pass now.
struct May {
    count: u64,
    forward: bool,
}

/// Waits until some of so many bytes may pass; nothing when this way is finished.
async fn may_pass(shared: &Shared, way: Way, carried: u64, wanted: u64) -> Result<Option<May>, End> {
    let mut changes = shared.rules.subscribe();
    loop {
        // Copied out: a borrow must not live while this waits.
        let flow = changes.borrow_and_update().of(way);
        let (count, forward) = match flow {
            Flow::Open => (wanted, true),
            Flow::Swallowed => (wanted, false),
            Flow::Metered(left) => (wanted.min(left), true),
            Flow::Cut(after, end) if carried >= after => return Err(end),
            Flow::Cut(after, _) => (wanted.min(after - carried), true),
            Flow::Finished => return Ok(None),
        };
        if count > 0 {
            return Ok(Some(May { count, forward }));
        }
        if changes.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Waits until this way is finished, or cut before its next byte.
async fn over(shared: &Shared, way: Way, carried: u64) -> Result<(), End> {
    let mut changes = shared.rules.subscribe();
    loop {
        let flow = changes.borrow_and_update().of(way);
        match flow {
            Flow::Finished => return Ok(()),
            Flow::Cut(after, end) if carried >= after => return Err(end),
            _ => {}
        }
        if changes.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Waits until connections up to this one are ended.
async fn ended(shared: &Shared, number: usize) -> End {
    let mut changes = shared.rules.subscribe();
    let is_ended = move |rules: &Rules| rules.ended.is_some_and(|(up_to, _)| number <= up_to);
    let how = match changes.wait_for(is_ended).await {
        Ok(rules) => rules.ended.map(|(_, end)| end),
        Err(_) => None,
    };
    match how {
        Some(end) => end,
        None => pending().await,
    }
}

/// A reset on one side is a reset on the other.
fn how(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
        _ => End::Closed,
    }
}
