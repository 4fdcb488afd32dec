//! Portolan as a user runs it: its binary, and a configuration file written here.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{ANSWER, Proxy, Site, free_address};
use crate::failure::{Failure, Result, While};
use crate::load::{self, Request};

/// What Portolan does besides passing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policies {
    /// Nothing that can be left out.
    Off,
    /// API key or token, a rate limit that never trips, CORS, header rules, breaker, metrics, access log to a file. Requests
    /// show the key, and come from a page of another origin.
    Key,
    /// The same. Requests show the token, which the gateway has verified before and remembers.
    Token,
}

/// The key that the requests carry, and what the configuration knows of it: `hex(HMAC-SHA-256(PEPPER, KEY))`.
pub const KEY: &str = "loadtest-key";
const PEPPER: &str = "loadtest-pepper";
const KEY_HASH: &str = "382e5ce3a85ee1e69c2aa2976bbc666d4ee41e29d1aa51e72f774eb8fa763767";

/// An ES256 token of the consumer, good until the year 2100. The key that signed it was thrown away.
pub const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImxvYWR0ZXN0In0\
    .eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsInN1YiI6ImxvYWR0ZXN0IiwiYXVkIjoiYXBpIiwiaWF0IjoxNzYzNjAwMDAwLCJleHAiOjQxMDI0NDQ4MDAsImNsaWVudF9pZCI6ImxvYWR0ZXN0Iiwic2NvcGUiOiJvcmRlcnM6cmVhZCBvcmRlcnM6d3JpdGUifQ\
    .FxhYJHueuw4cA0a069rk9yi_H4jHnYiYfuWr6dEH5IiaW9rR4k_yGRsuhYJdj_e0J_Af7HeJCYuOZod3GoENxw";
/// The origin of the page that calls, which CORS lets in.
pub const ORIGIN: &str = "https://shop.example.com";
/// The public half of that key.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "loadtest", "x": "TAdeEnvS9y6xdXinCp1d8CD4YUqCe69eWWUxOTR2554", "y": "lGJ2uqprhq8iZBCmlU0R3QVSWTVa7lj-6KaGKEs2dW4"}]}"#;

/// What the route does where policies are on.
const OF_THE_ROUTE: &str = r#"    authenticate: [ keys, tokens ]
    # Beyond what one core can answer: the bucket is drawn from, and never empty.
    rate_limit: { per: consumer, limit: 100000000, every: 1s }
    cors: { origins: [ "https://shop.example.com" ], exposed_headers: [ ratelimit ] }
    headers:
      request: { remove: [ x-internal ], set: { x-tenant: acme } }
      response: { remove: [ x-team ], set: { x-tag: a } }
"#;

/// Which gateway: its binary and what it is told.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The name that its figures are printed under.
    pub name: &'static str,
    /// Its binary.
    pub binary: PathBuf,
    /// What it does besides passing on.
    pub policies: Policies,
    /// Routes in its table; the requests take the last of them.
    pub routes: usize,
}

/// How a gateway is built.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The root of its tree.
    pub tree: &'a Path,
    /// Cargo's profile.
    pub profile: &'a str,
    /// Where cargo builds; none for where it always does.
    pub target: Option<&'a Path>,
}

/// The root of this tree.
pub fn this_tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the load test is a folder of the tree")
}

impl Build<'_> {
    /// Builds the gateway and says where its binary is.
    ///
    /// A child process, since the harness knows nothing of the gateway's crates.
    pub fn run(&self) -> Result<PathBuf> {
        let (tree, profile) = (self.tree.display(), self.profile);
        crate::say(&format!("building portolan of {tree} in the profile `{profile}`"));
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--locked", "--profile", profile, "--package", "portolan", "--bin", "portolan"])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(self.tree)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        if let Some(target) = self.target {
            cargo.env("CARGO_TARGET_DIR", target);
        }
        let output =
            cargo.output().while_doing("cannot run `cargo` to build portolan; give a binary by --portolan PATH")?;
        if !output.status.success() {
            return Err(Failure::new("portolan does not build; give a binary by --portolan PATH"));
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        executable(&messages).ok_or_else(|| Failure::new("cargo built portolan but named no binary"))
    }
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

impl Gateway {
    /// Starts it in front of the site's upstream and waits until it passes on a request.
    pub fn start(&self, site: &Site<'_>) -> Result<Proxy> {
        let address = free_address()?;
        let folder = site.folder_of(self.name)?;
        let access_log = folder.join("access.log");
        let file = self.write(&folder, address, free_address()?, site.upstream, &access_log)?;
        let program: [&OsStr; 4] = [self.binary.as_ref(), "run".as_ref(), "-c".as_ref(), file.as_ref()];
        let proxy = site.start(self.name, address, &folder, &program)?;
        if self.policies == Policies::Off {
            return Ok(proxy);
        }
        self.refuses_strangers(site, address)?;
        Ok(Proxy { access_log: Some(access_log), ..proxy })
    }

    /// A gateway that lets everybody in does not do what it is measured for.
    fn refuses_strangers(&self, site: &Site<'_>, address: SocketAddr) -> Result<()> {
        let request = Request { headers: Vec::new(), ..site.request.clone() };
        match load::ask(address, &request.bytes(address), ANSWER) {
            Err(reason) if reason.contains(" 401 ") => Ok(()),
            Err(reason) => {
                Err(Failure::new(format!("a request without credentials was not refused with 401: {reason}")))
            }
            Ok(_) => Err(Failure::new(format!(
                "{} let in a request without credentials: its policies are not on",
                self.name
            ))),
        }
    }

    /// What it does not understand of what it is told, as an older one may; none where it understands all.
    pub fn misunderstands(&self, folder: &Path) -> Result<Option<String>> {
        let folder = folder.join("understands");
        std::fs::create_dir_all(&folder).while_doing("cannot make a folder for portolan")?;
        let [listen, admin, upstream] = [7, 8, 9].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let file = self.write(&folder, listen, admin, upstream, &folder.join("access.log"))?;
        let mut check = Command::new(&self.binary);
        let output = check.arg("check").arg(file).output().while_doing("cannot run portolan")?;
        if output.status.success() {
            return Ok(None);
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Ok(Some(said.lines().next().unwrap_or("it says nothing").to_owned()))
    }

    fn write(
        &self,
        folder: &Path,
        listen: SocketAddr,
        admin: SocketAddr,
        upstream: SocketAddr,
        access_log: &Path,
    ) -> Result<PathBuf> {
        let file = folder.join("portolan.yaml");
        std::fs::write(folder.join("jwks.json"), JWKS)
            .and_then(|()| std::fs::write(&file, self.configuration(listen, admin, upstream, access_log)))
            .while_doing("cannot write the configuration of portolan")?;
        Ok(file)
    }

    fn configuration(&self, listen: SocketAddr, admin: SocketAddr, upstream: SocketAddr, access_log: &Path) -> String {
        // As nginx is told: no connection is closed for its age, and the pool keeps what a thousand clients need.
        let top = format!(
            r#"workers: 1
listeners:
  public: {{ address: "{listen}", max_connections: 16384, max_requests: off, idle_timeout: 1h }}
admin: {{ address: "{admin}" }}
"#
        );
        let upstream = format!(r#"endpoints: [ "http://{upstream}" ], pool: {{ idle_per_worker: 1024 }}"#);
        let (rest, of_the_route) = match self.policies {
            Policies::Off => {
                (format!("access_log: {{ to: off }}\nupstreams: {{ up: {{ {upstream}, breaker: off }} }}\n"), "")
            }
            Policies::Key | Policies::Token => (
                format!(
                    r#"access_log: {{ to: "{log}" }}
identity:
  keys: {{ api_key: {{ header: x-api-key, pepper: {PEPPER} }} }}
  tokens: {{ jwt: {{ jwks: ./jwks.json, issuer: "https://idp.example.com", audience: api }} }}
consumers:
  loadtest: {{ keys: [ {{ hash: {KEY_HASH} }} ] }}
upstreams:
  up: {{ {upstream}, breaker: {{ error_ratio: 50%, minimum: 20, window: 10s, open_for: 5s }} }}
"#,
                    log = access_log.display()
                ),
                OF_THE_ROUTE,
            ),
        };
        let others: String = (1..self.routes)
            .map(|number| format!("  r{number}: {{ path: /shelf-{}/{number}/**, upstream: up }}\n", number % 100))
            .collect();
        format!("{top}{rest}routes:\n{others}  all:\n    path: /**\n    upstream: up\n{of_the_route}")
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
