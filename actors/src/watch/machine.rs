//! Decides from what files look like whether they have changed, and whether the change has settled.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a file looks like without being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Device and inode: another file by the same name, as after a rename or the swap of a link.
    pub(super) place: (u64, u64),
    /// Its length in bytes.
    pub(super) len: u64,
    /// When it was written to, in seconds and nanoseconds.
    pub(super) written: (i64, i64),
    /// When anything of it changed: a write that keeps the length and sets the time back is seen by this.
    pub(super) changed: (i64, i64),
}

/// What all files look like; `None` is a file that cannot be seen.
pub(super) type Prints = BTreeMap<PathBuf, Option<Print>>;

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing has changed.
    Stay,
    /// Something is being changed.
    Unsettled,
    /// These files have changed, and look the same as at the last look.
    Changed(Vec<PathBuf>),
}

/// Remembers what files looked like.
#[derive(Debug)]
pub(super) struct Machine {
    told: Prints,
    last: Prints,
}

impl Machine {
    /// Files as they look now are not news.
    pub(super) fn new(prints: Prints) -> Self {
        Self { told: prints.clone(), last: prints }
    }

    /// What follows from a look. Files that are not watched any more are passed over.
    pub(super) fn observe(&mut self, prints: Prints) -> Decision {
        let is_settled = prints == self.last;
        self.last = prints;
        let changed: Vec<_> =
            self.told.keys().filter(|path| self.last.get(*path) != self.told.get(*path)).cloned().collect();
        if changed.is_empty() {
            return Decision::Stay;
        }
        if !is_settled {
            return Decision::Unsettled;
        }
        self.told = self.last.clone();
        Decision::Changed(changed)
    }

    /// Watches other files. What is known of a file that stays is kept: a change of it that was not told yet will be.
    pub(super) fn watch(&mut self, prints: Prints) {
        let known = |(path, print): (&PathBuf, &Option<Print>)| (path.clone(), *self.told.get(path).unwrap_or(print));
        self.told = prints.iter().map(known).collect();
        self.last = prints;
    }

    /// The files that are watched.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.told.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(len: u64) -> Option<Print> {
        Some(Print { place: (1, 1), len, written: (0, 0), changed: (0, 0) })
    }

    fn prints(files: &[(&str, Option<Print>)]) -> Prints {
        files.iter().map(|(path, print)| (PathBuf::from(path), *print)).collect()
    }

    #[test]
    fn a_change_is_told_once_when_it_has_settled() {
        let mut machine = Machine::new(prints(&[("a", print(1)), ("b", print(1))]));
        assert_eq!(machine.observe(prints(&[("a", print(1)), ("b", print(1))])), Decision::Stay);
        assert_eq!(machine.observe(prints(&[("a", print(2)), ("b", print(1))])), Decision::Unsettled);
        assert_eq!(machine.observe(prints(&[("a", print(3)), ("b", None)])), Decision::Unsettled);
        let changed = Decision::Changed(vec!["a".into(), "b".into()]);
        assert_eq!(machine.observe(prints(&[("a", print(3)), ("b", None)])), changed);
        assert_eq!(machine.observe(prints(&[("a", print(3)), ("b", None)])), Decision::Stay);
    }

    #[test]
    fn what_changes_and_changes_back_is_no_news() {
        let mut machine = Machine::new(prints(&[("a", print(1))]));
        assert_eq!(machine.observe(prints(&[("a", print(2))])), Decision::Unsettled);
        assert_eq!(machine.observe(prints(&[("a", print(1))])), Decision::Stay);
    }

    #[test]
    fn other_files_begin_as_they_are_and_a_change_of_one_that_stays_is_not_lost() {
        let mut machine = Machine::new(prints(&[("a", print(1)), ("b", print(1))]));
        assert_eq!(machine.observe(prints(&[("a", print(2)), ("b", print(1))])), Decision::Unsettled);
        machine.watch(prints(&[("a", print(2)), ("c", print(7))]));
        assert_eq!(machine.observe(prints(&[("a", print(2)), ("c", print(7))])), Decision::Changed(vec!["a".into()]));
        assert_eq!(machine.observe(prints(&[("a", print(2)), ("c", print(7))])), Decision::Stay);
        assert_eq!(machine.files().collect::<Vec<_>>(), [&PathBuf::from("a"), &PathBuf::from("c")]);
    }
}
