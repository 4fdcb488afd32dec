//! Portolan as a user runs it: its binary, and a configuration file written here.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Proxy, free_address};
use crate::child::{Child, PROXY_CORE};
use crate::failure::{Failure, Result, While};

/// What Portolan does besides passing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policies {
    /// Nothing that can be left out.
    Off,
    /// API key, a rate limit that never trips, breaker, metrics, access log to a file.
    On,
}

/// The key that the requests carry, and what the configuration knows of it: `hex(HMAC-SHA-256(PEPPER, KEY))`.
pub const KEY: &str = "loadtest-key";
const PEPPER: &str = "loadtest-pepper";
const KEY_HASH: &str = "382e5ce3a85ee1e69c2aa2976bbc666d4ee41e29d1aa51e72f774eb8fa763767";

/// Builds the gateway of this tree in release mode and says where its binary is.
///
/// A child process, since the harness knows nothing of the gateway's crates.
pub fn build() -> Result<PathBuf> {
    crate::say("building portolan in release mode");
    let output = Command::new("cargo")
        .args(["build", "--release", "--package", "portolan", "--bin", "portolan", "--message-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .while_doing("cannot run `cargo` to build portolan; give a binary by --portolan PATH")?;
    if !output.status.success() {
        return Err(Failure::new("portolan does not build; give a binary by --portolan PATH"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages).ok_or_else(|| Failure::new("cargo built portolan but named no binary"))
}

/// Finds the binary in what cargo says (The Cargo Book, "External tools", JSON messages).
fn executable(messages: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "portolan")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// What the binary calls itself, such as `portolan 0.1.0`.
pub fn version(binary: &Path) -> Result<String> {
    let deed = format!("cannot run `{}`", binary.display());
    let output = Command::new(binary).arg("--version").output().while_doing(&deed)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts `binary` in front of `upstream`, with its files in `folder`, and waits until it passes on a request to
/// `path`.
pub fn start(
    binary: &Path,
    policies: Policies,
    folder: &Path,
    upstream: SocketAddr,
    path: &str,
    headers: &[String],
) -> Result<Proxy> {
    let (address, admin) = (free_address()?, free_address()?);
    let folder = folder.join("portolan");
    std::fs::create_dir(&folder).while_doing("cannot make a folder for portolan")?;
    let file = folder.join("portolan.yaml");
    let access_log = folder.join("access.log");
    std::fs::write(&file, configuration(policies, address, admin, upstream, &access_log))
        .while_doing("cannot write the configuration of portolan")?;

    let log = folder.join("output.log");
    let program: [&OsStr; 4] = [binary.as_ref(), "run".as_ref(), "-c".as_ref(), file.as_ref()];
    let child = Child::start("portolan", PROXY_CORE, &log, &program)?;
    let proxy = Proxy::ready("portolan", address, child, path, headers)?;
    let access_log = (policies == Policies::On).then_some(access_log);
    Ok(Proxy { access_log, ..proxy })
}

fn configuration(
    policies: Policies,
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    access_log: &Path,
) -> String {
    match policies {
        Policies::Off => format!(
            r#"workers: 1
listeners:
  public: {{ address: "{listen}" }}
admin: {{ address: "{admin}" }}
access_log: {{ to: off }}

upstreams:
  up: {{ endpoints: [ "http://{upstream}" ], breaker: off }}

routes:
  all: {{ path: /**, upstream: up }}
"#
        ),
        Policies::On => format!(
            r#"workers: 1
listeners:
  public: {{ address: "{listen}" }}
admin: {{ address: "{admin}" }}
access_log: {{ to: "{log}" }}

identity:
  keys: {{ api_key: {{ header: x-api-key, pepper: {PEPPER} }} }}

upstreams:
  up:
    endpoints: [ "http://{upstream}" ]
    breaker: {{ error_ratio: 50%, minimum: 20, window: 10s, open_for: 5s }}

routes:
  all:
    path: /**
    upstream: up
    authenticate: [ keys ]
    # Beyond what one core can answer: the bucket is drawn from, and never empty.
    rate_limit: {{ per: consumer, limit: 100000000, every: 1s }}

consumers:
  loadtest: {{ keys: [ {{ hash: {KEY_HASH} }} ] }}
"#,
            log = access_log.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_hash_is_that_of_the_key() {
        let pepper = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, PEPPER.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&pepper, KEY.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(KEY_HASH, hex);
    }

    #[test]
    fn the_binary_is_found_among_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"portolan","kind":["lib"]},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"portolan","kind":["bin"]},"executable":"/t/portolan"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/portolan")));
        assert_eq!(executable(""), None);
    }
}
