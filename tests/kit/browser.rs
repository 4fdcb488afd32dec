//! A browser that is not ours: Chromium, without a window.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait::{self, PATIENCE};

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
    // Its first start on a machine may take longer than anything of ours.
    wait::until_within(6 * PATIENCE, "the browser has shown the page and ended", || {
        browser.child.try_wait().expect("the process is ours").is_some()
    });
    drop(browser);
    reader.join().expect("reading does not panic")
}

/// A running browser with all its processes. They are gone when it is dropped.
struct Browser {
    child: Child,
    // Every process of it has this in its command line. Dropped last: they write into it.
    folder: TempDir,
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
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It complains of the desktop that it does not find.
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("no browser: {error}; `scripts/install test` installs chromium"));
        Self { child, folder }
    }

    /// The processes that are still there, by what they were started with: its helpers are neither its children nor of
    /// its group.
    fn processes(&self) -> Vec<Pid> {
        let folder = self.folder.path().to_str().expect("the folder's name is text").as_bytes();
        let is_ours = |line: &[u8]| line.windows(folder.len()).any(|part| part == folder);
        let entries = fs::read_dir("/proc").expect("the system tells its processes").flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        // One that ends meanwhile is not there; of one that has ended, and is not reaped yet, the line is empty.
        let ours = numbers.filter(|id| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| is_ours(&line)));
        ours.filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let is_gone = || {
            let left = self.processes();
            for process in &left {
                // It fails only when it has ended meanwhile.
                let _ = kill_process(*process, Signal::KILL);
            }
            left.is_empty().then_some(())
        };
        let is_gone = wait::try_until_some(is_gone).is_some();
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(is_gone || thread::panicking(), "processes of the browser were left behind");
    }
}
