//! nginx as the yardstick: bare proxying, tuned as one would tune it for this work.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{Proxy, free_address};
use crate::child::{Child, PROXY_CORE};
use crate::failure::{Failure, Result, While};

/// What nginx calls itself, such as `nginx/1.22.1`.
pub fn version() -> Result<String> {
    let output = Command::new("nginx").arg("-v").output().map_err(|error| {
        Failure::new(format!(
            "cannot run `nginx`, which everything is compared with: {error}; install it (`apt-get install nginx-light`, \
             `dnf install nginx`) and make sure that it is in PATH"
        ))
    })?;
    // It tells its version on standard error: `nginx version: nginx/1.22.1`.
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.trim().rsplit("version: ").next().unwrap_or_default().to_owned())
}

/// Starts nginx in front of `upstream`, with its files in `folder`, and waits until it passes on a request to `path`.
pub fn start(name: &'static str, folder: &Path, upstream: SocketAddr, path: &str, headers: &[String]) -> Result<Proxy> {
    let address = free_address()?;
    let folder = folder.join(name);
    std::fs::create_dir(&folder).while_doing(&format!("cannot make a folder for {name}"))?;
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration(&folder, address, upstream)?)
        .while_doing(&format!("cannot write the configuration of {name}"))?;

    let log = folder.join("output.log");
    let program: [&OsStr; 7] = [
        "nginx".as_ref(),
        "-c".as_ref(),
        file.as_ref(),
        "-p".as_ref(),
        folder.as_ref(),
        // Before the configuration is read nginx would complain to its compiled-in log.
        "-e".as_ref(),
        "stderr".as_ref(),
    ];
    let child = Child::start(name, PROXY_CORE, &log, &program)?;
    Proxy::ready(name, address, child, path, headers)
}

fn configuration(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> Result<String> {
    // As root the workers would become `nobody`, who may not enter the folder; as anybody else `user` is an error.
    let owner = std::fs::metadata("/proc/self").while_doing("cannot tell who runs this")?.uid();
    let user = if owner == 0 { "user root;" } else { "" };
    let folder = folder.display();
    Ok(format!(
        r#"{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;

events {{
    worker_connections 8192;
    multi_accept on;
}}

http {{
    access_log off;
    tcp_nodelay on;
    sendfile on;
    keepalive_timeout 3600s;
    # The default of 1,000 would make reconnecting part of the figure.
    keepalive_requests 1000000000;

    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_header_buffer_size 16k;
    client_body_buffer_size 128k;

    upstream up {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}

    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://up;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
            proxy_busy_buffers_size 32k;
            proxy_request_buffering off;
        }}
    }}
}}
"#
    ))
}
