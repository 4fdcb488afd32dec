//! Ten thousand connections on which nothing is asked, from a client process of its own to a gateway in a process of its own.

use std::fs;
use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::kit::binary::Binary;
use crate::kit::foreign::Crowd;
use crate::kit::{Client, RawUpstream};

/// Connections that the issue of the wire asks for.
const WANTED: usize = 10_000;
/// Bytes that one idle connection may cost, in a build for tests; buffers that were held for it would cost more.
const PER_CONNECTION: u64 = 32 * 1024;

/// Raises the limit of open files as far as it goes, also for processes to come; gives how far that is.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // It can only be lowered by who set it; where raising fails, what stands is what counts.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

#[test]
fn ten_thousand_idle_connections_stay_open_cost_little_and_keep_nobody_from_being_served() {
    // The gateway keeps some files for itself, sheds near the end of the rest, and needs some besides its clients' connections.
    let count = WANTED.min((open_files().saturating_sub(128) / 10 * 9).saturating_sub(100));
    assert!(count >= 500, "the limit of open files leaves room for {count} connections; raise it (`ulimit -n`)");
    let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsmall");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let configuration = format!(
        "listeners: {{ public: {{ address: 127.0.0.1:0, max_connections: {}, idle_timeout: 1h }} }}\n\
         admin: {{ address: 127.0.0.1:0 }}\naccess_log: {{ to: off }}\nworkers: 2\n\
         upstreams: {{ service: {{ endpoints: [ {} ] }} }}\nroutes: {{ all: {{ path: /**, upstream: service }} }}\n",
        count + 10,
        upstream.url()
    );
    fs::write(&file, configuration).unwrap();
    let gateway = Binary::start(&["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
    let line: Value = serde_json::from_str(&gateway.wait_for_line("\"listening\"")).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    Client::new(address).get("/small").assert_status(200);
    let before = gateway.memory();

    let mut crowd = Crowd::connect(address, count);
    let grown = gateway.memory().saturating_sub(before);
    assert!(
        grown <= PER_CONNECTION * count as u64,
        "{} bytes of memory for each of {count} idle connections",
        grown / count as u64
    );
    assert_eq!(Client::new(address).get("/small").text(), "small");
    assert_eq!(crowd.open(), count);
    // None of them is forgotten: each is served again.
    assert_eq!((crowd.again(), crowd.open()), (count, count));
}
