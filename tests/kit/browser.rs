//! A browser that is not ours: Chromium, without a window.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

use super::wait;

/// Opens a page in a browser of its own and gives the document as its scripts have left it, as HTML.
///
/// The page's own clock runs ahead and stands still while something is fetched, so that this takes as long as the fetches
/// do, whatever their number.
pub fn document_of(url: &str) -> String {
    let mut browser = Browser::open(url);
    let mut stdout = browser.child.stdout.take().expect("piped");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        // What cannot be read shows in what is compared.
        let _ = stdout.read_to_string(&mut text);
        text
    });
    wait::until("the browser has shown the page and ended", || {
        browser.child.try_wait().expect("the process is ours").is_some()
    });
    drop(browser);
    reader.join().expect("reading does not panic")
}

/// A running browser with all its processes. They are gone when it is dropped.
struct Browser {
    child: Child,
    group: Pid,
    // Dropped last: they write into it.
    _folder: TempDir,
}

impl Browser {
    fn open(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            // The memory that containers share between processes is often too small for it.
            .args(["--disable-dev-shm-usage", "--disable-breakpad"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .args(["--virtual-time-budget=10000", "--dump-dom", url])
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It complains of the desktop that it does not find.
            .stderr(Stdio::null())
            .process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("no browser: {error}; `scripts/install test` installs chromium"));
        let group = Pid::from_child(&child);
        Self { child, group, _folder: folder }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both fail only when all of it has ended already.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        // Its helpers are nobody's children now: the system reaps them in its own time.
        let is_gone = || test_kill_process_group(self.group).is_err().then_some(());
        if wait::try_until_some(is_gone).is_none() && !thread::panicking() {
            panic!("processes of the browser were left behind");
        }
    }
}
