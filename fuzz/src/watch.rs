//! Sees to it that an input which never ends, or ends the process, is known afterwards.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The exit code of a process that its own watch ended.
pub const STUCK: i32 = 3;

/// How often the watch looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The input under way, in a file: what the process tried when it died can be read there.
#[derive(Debug)]
pub struct Slot(File);

impl Slot {
    /// A slot in this file.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(Self)
    }

    /// Notes the input, in one system call.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn note(&self, input: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        buffer.extend_from_slice(&(input.len() as u64).to_le_bytes());
        buffer.extend_from_slice(input);
        self.0.write_all_at(buffer, 0)
    }

    /// The input that was noted last in a slot.
    ///
    /// # Errors
    /// Where the file cannot be read, or nothing was noted.
    pub fn read(path: &Path) -> io::Result<Vec<u8>> {
        let bytes = fs::read(path)?;
        let nothing = || io::Error::other("no input was noted");
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(nothing)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(io::Error::other)?;
        rest.get(..length).map(<[u8]>::to_vec).ok_or_else(nothing)
    }
}

/// Ends the process with [`STUCK`] when one input takes more computing than it may. It counts the thread's own time on a
/// processor, so that a machine busy with other work blames nobody.
#[derive(Debug)]
pub struct Watch {
    executions: Arc<AtomicU64>,
    /// Dropping it ends the watch.
    _end: Sender<()>,
}

impl Watch {
    /// Watches the calling thread from now on, until it is dropped.
    pub fn over_this_thread(most: Duration) -> Self {
        let executions = Arc::new(AtomicU64::new(0));
        let (end, ended) = channel::<()>();
        let (seen, thread) = (executions.clone(), ThreadTime::of_this_thread());
        thread::spawn(move || {
            let mut number = 0;
            let mut began = thread.spent();
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
                let (now, spent) = (seen.load(Ordering::Relaxed), thread.spent());
                if now != number {
                    (number, began) = (now, spent);
                } else if spent.saturating_sub(began) > most {
                    std::process::exit(STUCK);
                }
            }
        });
        Self { executions, _end: end }
    }

    /// The next input begins.
    pub fn next(&self) {
        self.executions.fetch_add(1, Ordering::Relaxed);
    }
}

/// The time a thread has spent on a processor, as the kernel counts it.
struct ThreadTime(Option<PathBuf>);

impl ThreadTime {
    fn of_this_thread() -> Self {
        Self(fs::read_link("/proc/thread-self").ok().map(|thread| Path::new("/proc").join(thread).join("schedstat")))
    }

    /// Zero where the kernel does not tell: then nothing is ever stuck, and the time-out of the whole run must do.
    fn spent(&self) -> Duration {
        let told = self.0.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let nanos = told.as_deref().and_then(|told| told.split(' ').next()).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_the_last_input_whatever_stood_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slot");
        let slot = Slot::create(&path).unwrap();
        assert!(Slot::read(&path).is_err());
        for input in [&b"a long input"[..], b"", b"short"] {
            slot.note(input, &mut Vec::new()).unwrap();
            assert_eq!(Slot::read(&path).unwrap(), input);
        }
    }
}
