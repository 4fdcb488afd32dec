//! What others hold of the watch over files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::machine::{Machine, Print, Prints};
use crate::supervision::{Supervised, lock};

/// A watch over configuration files. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    pub(super) view: Arc<View>,
    pub(super) _actor: Supervised,
}

impl Watch {
    /// Watches these files instead, as they look now; looks at each, so it may block for a moment. A change of a file that
    /// was watched before and still is will not be lost.
    pub fn set_files(&self, files: impl IntoIterator<Item = PathBuf>) {
        let prints = look(files);
        lock(&self.view.machine).watch(prints);
    }

    /// How many changes were told.
    pub fn changes_total(&self) -> u64 {
        self.view.changes.load(Ordering::Relaxed)
    }
}

/// What is known of the files, apart from the actor, which it outlives: a change during a restart is noticed after it.
pub(super) struct View {
    pub(super) machine: Mutex<Machine>,
    pub(super) looks: AtomicU64,
    pub(super) changes: AtomicU64,
}

impl View {
    pub(super) fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let machine = Mutex::new(Machine::new(look(files)));
        Self { machine, looks: AtomicU64::new(0), changes: AtomicU64::new(0) }
    }

    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        lock(&self.machine).files().cloned().collect()
    }

    pub(super) fn describe(&self) -> Value {
        let files: Vec<_> = self.files().iter().map(|path| path.display().to_string()).collect();
        json!({
            "files": files,
            "looks": self.looks.load(Ordering::Relaxed),
            "changes": self.changes.load(Ordering::Relaxed),
        })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({:?})", self.files())
    }
}

/// What these files look like now.
pub(super) fn look(files: impl IntoIterator<Item = PathBuf>) -> Prints {
    files.into_iter().map(|path| (path.clone(), print(&path))).collect()
}

// Follows links: the mounted files of Kubernetes change by the swap of one.
fn print(path: &Path) -> Option<Print> {
    let seen = fs::metadata(path).ok()?;
    Some(Print {
        place: (seen.dev(), seen.ino()),
        len: seen.len(),
        written: (seen.mtime(), seen.mtime_nsec()),
        changed: (seen.ctime(), seen.ctime_nsec()),
    })
}
