//! How much memory and how many files this process may use: asked once, at start.

use std::path::{Path, PathBuf};

use portolan_config::snapshot::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::admission::Budget;

/// What the system grants this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of memory: its control group's limit or the machine's, whichever is less. Absent where the system does not say.
    pub memory: Option<u64>,
    /// Open files. Absent where there is no limit.
    pub files: Option<u64>,
}

/// What is taken for the memory where the system does not say.
const UNKNOWN_MEMORY: u64 = 2 << 30;

/// What is taken for the files where there is no limit: more than a gateway ever has.
const UNLIMITED_FILES: u64 = 1 << 20;

impl Machine {
    /// Asks the system, and raises the limit of open files as far as it lets us: the low one that most processes begin with
    /// protects programs that use `select`, which this is not.
    pub fn ask() -> Self {
        let mut files = getrlimit(Resource::Nofile);
        if files.current != files.maximum {
            let raised = Rlimit { current: files.maximum, maximum: files.maximum };
            if setrlimit(Resource::Nofile, raised).is_ok() {
                files = raised;
            }
        }
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        Self { memory: memory(&read), files: files.current }
    }

    /// The budget of the process by its settings.
    pub fn budget(&self, limits: &Limits) -> Budget {
        let half = self.memory.unwrap_or(UNKNOWN_MEMORY) / 2;
        let memory = limits.memory_budget.unwrap_or(usize::try_from(half).unwrap_or(usize::MAX));
        let files = usize::try_from(self.files.unwrap_or(UNLIMITED_FILES)).unwrap_or(usize::MAX);
        // However many are to be kept, some are left to serve with.
        Budget { memory, files: files.saturating_sub(limits.reserved_files).max(files / 2) }
    }
}

/// The least of the machine's memory and the limits of the control groups around this process.
fn memory(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total(&text));
    let group = read(Path::new("/proc/self/cgroup")).map(|text| limits_of(&text)).unwrap_or_default();
    let groups = group.iter().filter_map(|path| read(path)?.trim().parse::<u64>().ok());
    groups.chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// The files that may limit the memory of a process, by its `/proc/self/cgroup`: of its group and of those around it, as seen
/// from within a container, where its own group is the root. Version 2 has one line that begins with `0::`, version 1 one that
/// names the controller `memory`.
fn limits_of(text: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for around in Path::new(group.trim_start_matches('/')).ancestors() {
            files.push(Path::new(root).join(around).join(file));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const MEMINFO: &str = "MemTotal:       16384000 kB\nMemFree:         1024 kB\n";

    fn memory_of(files: &[(&str, &str)]) -> Option<u64> {
        let files: HashMap<_, _> = files.iter().copied().collect();
        memory(&|path| files.get(path.to_str()?).map(|text| (*text).to_owned()))
    }

    #[test]
    fn the_least_limit_of_the_groups_around_a_process_holds() {
        let of_machine = 16_384_000 * 1_024;
        for (files, expected) in [
            (&[("/proc/meminfo", MEMINFO)][..], Some(of_machine)),
            (&[], None),
            (&[("/proc/meminfo", "nonsense")], None),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "0::/kube/pod/main\n"),
                    ("/sys/fs/cgroup/kube/pod/main/memory.max", "max\n"),
                    ("/sys/fs/cgroup/kube/pod/memory.max", "536870912\n"),
                    ("/sys/fs/cgroup/kube/memory.max", "1073741824\n"),
                ],
                Some(536_870_912),
            ),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "0::/\n"),
                    ("/sys/fs/cgroup/memory.max", "268435456\n"),
                ],
                Some(268_435_456),
            ),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "12:cpu,cpuacct:/a\n7:memory:/docker/b\n"),
                    ("/sys/fs/cgroup/memory/docker/b/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n"),
                ],
                Some(1_000_000),
            ),
        ] {
            assert_eq!(memory_of(files), expected, "{files:?}");
        }
    }

    #[test]
    fn a_budget_is_what_was_written_or_a_share_of_the_machine() {
        let machine = Machine { memory: Some(1 << 30), files: Some(1_024) };
        let limits = |memory_budget, reserved_files| Limits { memory_budget, reserved_files };
        for (machine, limits, memory, files) in [
            (machine, limits(None, 128), 512 << 20, 896),
            (machine, limits(Some(64 << 20), 24), 64 << 20, 1_000),
            (machine, limits(None, 1_000), 512 << 20, 512),
            (Machine { memory: None, files: None }, limits(None, 128), 1 << 30, (1 << 20) - 128),
        ] {
            assert_eq!(machine.budget(&limits), Budget { memory, files });
        }
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let machine = Machine::ask();
        assert!(machine.memory.is_some_and(|bytes| bytes > 16 << 20), "{machine:?}");
        assert!(machine.files.is_none_or(|files| files >= 64), "{machine:?}");
    }
}
