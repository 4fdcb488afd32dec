//! nginx as the yardstick: bare proxying, tuned as one would tune it for this work.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{Proxy, Site, free_address};
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

/// Starts nginx in front of the site's upstream and waits until it passes on a request.
pub fn start(name: &'static str, site: &Site<'_>) -> Result<Proxy> {
    let address = free_address()?;
    let folder = site.folder_of(name)?;
    let file = folder.join("nginx.conf");
    // An emulator or a tracer follows one process better than two; without one nginx runs as everywhere.
    let processes = if site.under.is_empty() { Processes::MasterAndWorker } else { Processes::One };
    std::fs::write(&file, configuration(&folder, address, site.upstream, processes)?)
        .while_doing(&format!("cannot write the configuration of {name}"))?;
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
    site.start(name, address, &folder, &program)
}

/// How nginx is laid out.
#[derive(Clone, Copy)]
enum Processes {
    MasterAndWorker,
    One,
}

fn configuration(folder: &Path, listen: SocketAddr, upstream: SocketAddr, processes: Processes) -> Result<String> {
    // As root the workers would become `nobody`, who may not enter the folder; as anybody else `user` is an error.
    let owner = std::fs::metadata("/proc/self").while_doing("cannot tell who runs this")?.uid();
    let user = if owner == 0 { "user root;" } else { "" };
    let master = match processes {
        Processes::MasterAndWorker => "on",
        Processes::One => "off",
    };
    let folder = folder.display();
    Ok(format!(
        r#"{user}
daemon off;
master_process {master};
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;

events {{
    # Ten thousand idle clients and their upstream connections, below a limit of 20,000 open files.
    worker_connections 16384;
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
        keepalive 1024;
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
