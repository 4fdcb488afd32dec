//! The proxies: how each is found, configured and started.

pub mod nginx;
pub mod portolan;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use crate::child::Child;
use crate::failure::{Failure, Result, While};
use crate::load;
use crate::upstream;

/// Long enough for a proxy to read its configuration while compilers share the machine.
const START: Duration = Duration::from_secs(15);

/// A running proxy, ended when dropped.
pub struct Proxy {
    /// The name that figures are printed under.
    pub name: &'static str,
    /// Where it takes requests.
    pub address: SocketAddr,
    /// What it writes for every request, if anything; emptied between rounds.
    pub access_log: Option<std::path::PathBuf>,
    child: Child,
}

impl Proxy {
    /// Waits until `child` passes on a request at `address`, key and all, and gives back what the upstream says.
    fn ready(
        name: &'static str,
        address: SocketAddr,
        mut child: Child,
        path: &str,
        headers: &[String],
    ) -> Result<Self> {
        let request = load::request(address, path, headers);
        let body = child.wait_until(START, || load::ask(address, &request, START))?;
        if body != upstream::BODY.as_bytes() {
            let body = String::from_utf8_lossy(&body);
            return Err(Failure::new(format!("{name} answered with another body than the upstream's: `{body}`")));
        }
        Ok(Self { name, address, access_log: None, child })
    }

    /// The process whose CPU time counts, with that of its descendants.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// A port that nobody listens on. Another process may take it before the proxy does, which then fails to start.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).while_doing("cannot find a free port")?;
    listener.local_addr().while_doing("cannot find a free port")
}
