//! envoy as a third measure: one worker, no log, no statistics sinks, limits out of the way.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Command;

use super::{Proxy, Site, find, free_address};
use crate::failure::{Failure, Result, While};

/// What envoy calls itself, such as `envoy 1.40.0`; none where there is none.
pub fn version() -> Option<String> {
    let output = Command::new(find("envoy")?).arg("--version").output().ok()?;
    Some(format!("envoy {}", version_in(&String::from_utf8_lossy(&output.stdout))?))
}

/// The version in what `envoy --version` says. The line begins with the path by which it was called, slashes and all.
fn version_in(said: &str) -> Option<&str> {
    let (_, told) = said.split_once("version: ")?;
    // Commit, version, state of the tree, kind of build, TLS library.
    told.split('/').nth(1)
}

/// Starts envoy in front of the site's upstream and waits until it passes on a request.
pub fn start(site: &Site<'_>) -> Result<Proxy> {
    let address = free_address()?;
    let folder = site.folder_of("envoy")?;
    let file = folder.join("envoy.yaml");
    std::fs::write(&file, configuration(address, site.upstream))
        .while_doing("cannot write the configuration of envoy")?;
    let envoy = find("envoy").ok_or_else(|| Failure::new("there is no envoy"))?;
    let program: [&OsStr; 8] = [
        envoy.as_ref(),
        "-c".as_ref(),
        file.as_ref(),
        "--concurrency".as_ref(),
        "1".as_ref(),
        "--disable-hot-restart".as_ref(),
        "-l".as_ref(),
        "error".as_ref(),
    ];
    site.start("envoy", address, &folder, &program)
}

fn configuration(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        r#"static_resources:
  listeners:
    - name: public
      address: {{ socket_address: {{ address: {listen_ip}, port_value: {listen_port} }} }}
      tcp_backlog_size: 4096
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: public
                codec_type: HTTP1
                generate_request_id: false
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: [ "*" ]
                      routes: [ {{ match: {{ prefix: "/" }}, route: {{ cluster: up, timeout: 0s }} }} ]
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                      suppress_envoy_headers: true
                      dynamic_stats: false
  clusters:
    - name: up
      type: STATIC
      connect_timeout: 5s
      circuit_breakers:
        thresholds: [ {{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }} ]
      load_assignment:
        cluster_name: up
        endpoints:
          - lb_endpoints:
              - endpoint: {{ address: {{ socket_address: {{ address: {up_ip}, port_value: {up_port} }} }} }}
"#,
        listen_ip = listen.ip(),
        listen_port = listen.port(),
        up_ip = upstream.ip(),
        up_port = upstream.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_behind_the_commit_wherever_the_program_lies() {
        for program in ["envoy", "/usr/local/bin/envoy", "/srv/version/envoy"] {
            let said = format!(
                "\n{program}  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n\n"
            );
            assert_eq!(version_in(&said), Some("1.40.0"), "{program}");
        }
        assert_eq!(version_in("envoy: not found"), None);
    }
}
