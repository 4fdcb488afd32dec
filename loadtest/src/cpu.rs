//! What the kernel says processes and cores have spent.
//!
//! CPU time comes from `schedstat`, which counts nanoseconds: the 250 Hz ticks behind `/proc/PID/stat` mislead by half
//! at low rates. A task on a core at the moment of reading may be a tick (4 ms) behind, a thousandth of a round.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::failure::{Failure, Result, While};

/// The threads of a process and of all its descendants, and what each had run when it was read.
///
/// A thread that ends between two readings is lost with its last part; the proxies end none under steady load.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading(HashMap<u32, u64>);

/// Processes to be read again and again.
pub struct Meter {
    processes: Vec<u32>,
}

impl Meter {
    /// Finds `root` and its descendants as they are now. Later children are not seen: measure after the warm-up.
    pub fn of(root: u32) -> Result<Self> {
        Ok(Self { processes: family(root)? })
    }

    /// This process alone, whatever processes it starts.
    pub fn own() -> Self {
        Self { processes: vec![std::process::id()] }
    }

    /// What every thread has run so far.
    pub fn read(&self) -> Result<Reading> {
        let mut reading = Reading::default();
        for pid in &self.processes {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))
                .while_doing(&format!("process {pid} ended while it was measured"))?;
            for task in tasks.flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                let ran = ran(&text).ok_or_else(|| {
                    Failure::new(format!("cannot understand schedstat: `{}`; does this kernel count it?", text.trim()))
                })?;
                reading.0.insert(tid, ran);
            }
        }
        Ok(reading)
    }
}

/// A process and all its descendants, as they are now.
pub fn family(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").while_doing("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = parent_of(&stat)
            .ok_or_else(|| Failure::new(format!("cannot understand /proc/{pid}/stat: `{}`", stat.trim())))?;
        parents.push((pid, parent));
    }
    Ok(descendants(root, &parents))
}

/// Bytes of memory that no file backs, of `root` and its descendants (`RssAnon`, proc_pid_status(5)). A descendant that has ended
/// holds none.
pub fn anonymous_memory(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in family(root)? {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        match status.as_deref().ok().and_then(rss_anon) {
            Some(bytes) => sum += bytes,
            None if pid == root => {
                return Err(Failure::new(format!("/proc/{pid}/status tells no RssAnon: has it ended?")));
            }
            None => {}
        }
    }
    Ok(sum)
}

/// `RssAnon: 3044 kB`
fn rss_anon(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

impl Reading {
    /// What was run since `earlier`. A thread unknown then counts with all it ran.
    pub fn since(&self, earlier: &Self) -> Duration {
        let nanos = self.0.iter().map(|(tid, ran)| ran.saturating_sub(earlier.0.get(tid).copied().unwrap_or(0))).sum();
        Duration::from_nanos(nanos)
    }
}

/// How long `core` was not idle since the machine started, in steps of 10 ms.
pub fn core_busy(core: usize) -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").while_doing("cannot read /proc/stat")?;
    busy(&text, core).ok_or_else(|| Failure::new(format!("no core {core} in /proc/stat; two cores are needed")))
}

/// The first figure of `schedstat` (Linux, Documentation/scheduler/sched-stats.rst): nanoseconds on a core.
fn ran(schedstat: &str) -> Option<u64> {
    let figures: Vec<u64> = schedstat.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let [ran, _waited, _slices] = figures[..] else { return None };
    Some(ran)
}

/// The fourth field of `/proc/PID/stat` (proc_pid_stat(5)). The second, a name in brackets, may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(pid, of)| *of == parent && *pid != parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// The times of `cpuN` in `/proc/stat` (proc_stat(5)) but idle (4th) and iowait (5th), and guest, which user holds.
fn busy(stat: &str, core: usize) -> Option<Duration> {
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(name.as_str()))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().skip(1).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let busy: u64 = ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, n)| n).sum();
    // USER_HZ is 100 on every architecture this runs on.
    Some(Duration::from_millis(busy * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_gives_the_time_on_the_core() {
        assert_eq!(ran("46094207 1533331 73\n"), Some(46_094_207));
    }

    #[test]
    fn a_schedstat_of_another_shape_is_refused() {
        for text in ["", "46094207", "1 2", "1 2 3 4", "a b c", "-1 2 3"] {
            assert_eq!(ran(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("71 (nginx: master) S 9 71 71 0"), Some(9));
        assert_eq!(parent_of("71 (a) b (c)) S 12 71"), Some(12));
        assert_eq!(parent_of("71 nginx S"), None);
    }

    #[test]
    fn anonymous_memory_is_told_in_bytes() {
        assert_eq!(rss_anon("VmRSS:\t 10 kB\nRssAnon:\t    3044 kB\nRssFile:\t 1 kB\n"), Some(3044 * 1024));
        assert_eq!(rss_anon("VmRSS:\t 10 kB\n"), None);
        assert!(anonymous_memory(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn descendants_are_found_through_generations() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (13, 10)];
        assert_eq!(descendants(10, &parents), [10, 11, 13, 12]);
    }

    #[test]
    fn a_reading_counts_old_threads_by_difference_and_new_ones_whole() {
        let earlier = Reading(HashMap::from([(1, 100), (2, 50), (3, 7)]));
        let later = Reading(HashMap::from([(1, 160), (2, 50), (4, 5)]));
        assert_eq!(later.since(&earlier), Duration::from_nanos(65));
    }

    #[test]
    fn a_busy_core_is_all_but_idle_and_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 400 50 6 7 8 90 0\ncpu1 1 0 0 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(busy(stat, 0), Some(Duration::from_millis(270)));
        assert_eq!(busy(stat, 1), Some(Duration::from_millis(10)));
        assert_eq!(busy(stat, 2), None);
    }

    #[test]
    fn this_process_can_be_read_with_all_its_threads() {
        let meter = Meter::own();
        let reading = meter.read().unwrap();
        assert!(reading.0.contains_key(&std::process::id()), "{reading:?}");
    }
}
