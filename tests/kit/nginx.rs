//! nginx as an upstream that is not ours.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::upstream::Reserved;
use super::wait;

/// A running nginx with its files in a folder of its own. It is killed when it is dropped.
pub struct Nginx {
    process: Child,
    reserved: Reserved,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with these locations. Files that [`Nginx::file`] writes are found below `/`.
    pub fn start(locations: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        fs::create_dir(folder.path().join("files")).expect("the folder can be written");
        let reserved = Reserved::for_another_process();
        let address = reserved.address();
        fs::write(folder.path().join("nginx.conf"), configuration(&folder, address, locations))
            .expect("the folder can be written");
        let process = serve(&folder, address);
        Self { process, reserved, folder }
    }

    /// Writes a file that it serves.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join("files").join(name), bytes).expect("the folder can be written");
    }

    /// Reads a file that it has taken.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join("files").join(name)).unwrap_or_default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.reserved.address()
    }

    /// Its URL, as a configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process without workers, so that nobody is left behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts it and waits until it listens.
fn serve(folder: &TempDir, address: SocketAddr) -> Child {
    let log = fs::File::create(folder.path().join("said")).expect("the folder can be written");
    let mut process = Command::new("/usr/sbin/nginx")
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join("nginx.conf"))
        // Before it has read its configuration it would complain to the log it was built with.
        .args(["-e", "stderr"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the test command installs nginx");
    wait::until("nginx listens", || {
        let ended = process.try_wait().expect("the process is ours");
        assert!(ended.is_none(), "nginx does not start; it said: {}", said(folder));
        TcpStream::connect(address).is_ok()
    });
    process
}

fn said(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("said")).unwrap_or_default()
}

fn configuration(folder: &TempDir, address: SocketAddr, locations: &str) -> String {
    let folder = folder.path().display();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr error;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           access_log off;\n\
           client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/fastcgi;\n\
           uwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path {folder}/scgi;\n\
           server {{\n listen {address};\n root {folder}/files;\n{locations}\n}}\n\
         }}\n"
    )
}
