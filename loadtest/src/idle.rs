//! What an idle connection costs in memory: the growth of `RssAnon` over ten thousand of them.
//!
//! Each connection has asked once and been answered, as idle connections have, one after another. A process of its own
//! holds them: it and the proxy have as many files open each, and the limit may be 20,000.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::child::{Core, Spoken};
use crate::clock;
use crate::cpu::anonymous_memory;
use crate::failure::{Failure, Result, While};
use crate::load::Request;
use crate::peers::Proxy;
use crate::statistics::{median, spread};
use crate::wire::{Progress, Reader};

/// How many connections.
pub const CONNECTIONS: usize = 10_000;
/// What is given back a little later (by a timer, by the allocator's own thread) counts as given back.
const SETTLING: Duration = Duration::from_secs(1);
/// A proxy that takes longer for one answer is not measured but broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to hold connections to.
#[derive(Args)]
pub struct Idle {
    /// The proxy's address.
    #[arg(long)]
    target: SocketAddr,
    /// The path that each connection asks for once.
    #[arg(long)]
    path: String,
    /// A header line of each request. May be given more than once.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// How many connections.
    #[arg(long, default_value_t = CONNECTIONS)]
    connections: usize,
}

/// Bytes per connection of both proxies, pair by pair.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The scenario's name.
    pub name: String,
    /// `(subject, nginx)`.
    pub pairs: Vec<(f64, f64)>,
}

impl Idle {
    /// Opens the connections, says so, and holds them until standard input ends.
    pub fn run(self) -> Result<()> {
        let request = Request { path: self.path, headers: self.headers, body: 0 }.bytes(self.target);
        let held = (0..self.connections).map(|_| open(self.target, &request)).collect::<Result<Vec<_>>>()?;
        crate::report(&format!("holding {}", held.len()));
        std::io::stdin().read_to_end(&mut Vec::new()).while_doing("cannot wait for the end")?;
        Ok(())
    }
}

fn open(target: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let deed = format!("cannot ask {target}");
    let mut stream = TcpStream::connect(target).while_doing(&format!("cannot connect to {target}"))?;
    stream.set_read_timeout(Some(PATIENCE)).while_doing(&deed)?;
    stream.write_all(request).while_doing(&deed)?;
    let (mut reader, mut buffer) = (Reader::default(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).while_doing(&deed)?;
        if length == 0 {
            return Err(Failure::new(format!("{target} closed a connection that was to be idle")));
        }
        match reader.take(&buffer[..length]).while_doing(&deed)? {
            Progress::Partial => {}
            Progress::Whole { head, .. } if head.status == 200 => return Ok(stream),
            Progress::Whole { head, .. } => {
                return Err(Failure::new(format!("{target} answered {} instead of 200", head.status)));
            }
        }
    }
}

/// Bytes by which `proxy` grows per connection.
pub fn grow(proxy: &Proxy, request: &Request, folder: &Path) -> Result<f64> {
    let before = anonymous_memory(proxy.pid())?;
    let mut arguments = vec!["idle".to_owned(), "--target".to_owned(), proxy.address.to_string()];
    arguments.extend(["--path".to_owned(), request.path.clone()]);
    arguments.extend(request.headers.iter().flat_map(|header| ["--header".to_owned(), header.clone()]));
    let mut holder = Spoken::start("the holder of connections", Core::Load, &folder.join("idle.log"), &arguments)?;
    holder.hear()?;
    clock::pause(SETTLING);
    let after = anonymous_memory(proxy.pid())?;
    Ok((after as f64 - before as f64) / CONNECTIONS as f64)
}

impl Memory {
    /// The median of the pairs' ratios.
    pub fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(|(subject, nginx)| subject / nginx))
    }

    /// How far the middle half of the ratios lies apart.
    pub fn spread(&self) -> f64 {
        spread(self.pairs.iter().map(|(subject, nginx)| subject / nginx))
    }

    /// Median bytes per connection: of the gateway, of nginx.
    pub fn bytes(&self) -> (f64, f64) {
        (median(self.pairs.iter().map(|pair| pair.0)), median(self.pairs.iter().map(|pair| pair.1)))
    }

    /// The one line on standard output.
    pub fn line(&self) -> String {
        let ((subject, nginx), pairs) = (self.bytes(), self.pairs.len());
        format!(
            "{} memory_ratio={:.2} portolan_bytes={subject:.0} nginx_bytes={nginx:.0} spread={:.2} pairs={pairs} \
             connections={CONNECTIONS}",
            self.name,
            self.ratio(),
            self.spread(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_bytes_per_connection_and_their_ratio() {
        let memory =
            Memory { name: "idle/plain".to_owned(), pairs: vec![(500.0, 1000.0), (600.0, 1000.0), (900.0, 1000.0)] };
        assert_eq!(
            memory.line(),
            "idle/plain memory_ratio=0.60 portolan_bytes=600 nginx_bytes=1000 spread=0.20 pairs=3 connections=10000"
        );
    }
}
