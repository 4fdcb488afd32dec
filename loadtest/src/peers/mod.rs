//! The proxies: how each is found, configured and started.

pub mod envoy;
pub mod haproxy;
pub mod nginx;
pub mod portolan;

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::child::{Child, Core};
use crate::failure::{Failure, Result, While};
use crate::load::{self, Request};

/// Long enough for a proxy to read its configuration while compilers share the machine, or under an emulator.
const START: Duration = Duration::from_secs(60);
/// One answer to one request, as long.
const ANSWER: Duration = Duration::from_secs(15);

/// Where a proxy stands: its files, what is behind it, and how to tell that it works.
pub struct Site<'a> {
    /// A folder for the proxies' own folders.
    pub folder: &'a Path,
    /// The upstream of all of them.
    pub upstream: SocketAddr,
    /// A request that must be passed on.
    pub request: &'a Request,
    /// What the upstream says to it.
    pub answer: &'a str,
    /// A program that the proxy is run under, with its arguments; empty for none.
    pub under: &'a [OsString],
}

/// A running proxy, ended when dropped.
pub struct Proxy {
    /// The name that figures are printed under.
    pub name: &'static str,
    /// Where it takes requests.
    pub address: SocketAddr,
    /// What it writes for every request, if anything; emptied between rounds.
    pub access_log: Option<PathBuf>,
    child: Child,
}

impl Site<'_> {
    /// A folder of the proxy's own.
    fn folder_of(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).while_doing(&format!("cannot make a folder for {name}"))?;
        Ok(folder)
    }

    /// Starts `program` and waits until it passes on a request at `address`, key and all, and gives back what the upstream
    /// says.
    fn start(&self, name: &'static str, address: SocketAddr, folder: &Path, program: &[&OsStr]) -> Result<Proxy> {
        let log = folder.join("output.log");
        let command: Vec<&OsStr> = self.under.iter().map(OsString::as_os_str).chain(program.iter().copied()).collect();
        let mut child = Child::start(name, Core::Proxy, &log, &command)?;
        let request = self.request.bytes(address);
        let body = child.wait_until(START, || load::ask(address, &request, ANSWER))?;
        if body != self.answer.as_bytes() {
            let body = String::from_utf8_lossy(&body);
            return Err(Failure::new(format!("{name} answered with another body than the upstream's: `{body}`")));
        }
        Ok(Proxy { name, address, access_log: None, child })
    }
}

impl Proxy {
    /// The process whose CPU time counts, with that of its descendants.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends it in good order and waits until it has.
    pub fn stop(self) -> Result<()> {
        self.child.stop()
    }
}

/// Finds `program` in PATH, or where the scripts keep what they fetch.
#[expect(clippy::disallowed_methods, reason = "a command line program finds others by the environment, at its start")]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let cache = cache().map(|cache| cache.join("bin"));
    // Debian keeps daemons where PATH of ordinary users does not look.
    let sbin = Some(PathBuf::from("/usr/sbin")).filter(|_| !path.is_empty());
    let folders = std::env::split_paths(&path).chain(cache.filter(|_| !path.is_empty())).chain(sbin);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where the scripts keep what they fetch and build (`scripts/environment`); none where nobody is at home.
#[expect(clippy::disallowed_methods, reason = "a command line program finds others by the environment, at its start")]
pub fn cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".cache"));
    set("PORTOLAN_CACHE").or_else(|| set("XDG_CACHE_HOME").or_else(home).map(|caches| caches.join("portolan")))
}

/// A port that nobody listens on, below those that the kernel gives to whoever asks for any (ip(7),
/// `ip_local_port_range`): there another process would soon take it again, and be measured in a proxy's place.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Harnesses that run side by side begin at different places.
    let start = u16::try_from(std::process::id() % u32::from(PORTS)).expect("a remainder below the number of ports");
    for _ in 0..PORTS {
        let port = FIRST_PORT + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new("cannot find a free port"))
}

const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_differ_and_are_free() {
        let (one, other) = (free_address().unwrap(), free_address().unwrap());
        assert_ne!(one, other);
        assert!(TcpListener::bind(one).is_ok() && TcpListener::bind(other).is_ok());
    }
}
