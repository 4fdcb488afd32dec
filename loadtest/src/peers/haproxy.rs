//! haproxy as a second measure: one thread, no log, connections to the upstream kept and shared.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Command;

use super::{Proxy, Site, find, free_address};
use crate::failure::{Failure, Result, While};

/// What haproxy calls itself, such as `haproxy 2.6.12`; none where there is none.
pub fn version() -> Option<String> {
    let output = Command::new(find("haproxy")?).arg("-v").output().ok()?;
    // `HAProxy version 2.6.12-1+deb12u4 2025/11/21 - https://haproxy.org/`
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = said.split_ascii_whitespace().nth(2)?;
    Some(format!("haproxy {}", number.split('-').next().unwrap_or(number)))
}

/// Starts haproxy in front of the site's upstream and waits until it passes on a request.
pub fn start(site: &Site<'_>) -> Result<Proxy> {
    let address = free_address()?;
    let folder = site.folder_of("haproxy")?;
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, configuration(address, site.upstream))
        .while_doing("cannot write the configuration of haproxy")?;
    let haproxy = find("haproxy").ok_or_else(|| Failure::new("there is no haproxy"))?;
    // In the foreground, as one process.
    let program: [&OsStr; 4] = [haproxy.as_ref(), "-db".as_ref(), "-f".as_ref(), file.as_ref()];
    site.start("haproxy", address, &folder, &program)
}

fn configuration(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        r"global
    # Twice as many files, below a limit of 20,000.
    maxconn 4000
    nbthread 1

defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    option http-keep-alive
    http-reuse always

frontend public
    bind {listen} backlog 4096
    default_backend up

backend up
    # All connections stay in the pool, as nginx's do.
    server up {upstream} pool-max-conn -1 pool-purge-delay 1h
"
    )
}
