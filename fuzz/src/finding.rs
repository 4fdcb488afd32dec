//! An input that broke something, as a file beside the command that shows it again.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::signature::name_of;

/// How an input broke its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A panic: of the parser, or of a check.
    Panic,
    /// The process died: its stack was exhausted, or it aborted.
    Death,
    /// The input took seconds of computing: the target will probably never end.
    Stuck,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panic",
            Self::Death => "death",
            Self::Stuck => "stuck",
        })
    }
}

/// A finding.
#[derive(Debug, Clone)]
pub struct Finding<'a> {
    /// The target's name.
    pub target: &'a str,
    /// How it broke.
    pub kind: Kind,
    /// What was said.
    pub message: &'a str,
    /// The seed of the run.
    pub seed: u64,
    /// The input.
    pub input: &'a [u8],
}

/// Where the story of a finding stands, given its input.
pub fn story_beside(input: &Path) -> PathBuf {
    input.with_added_extension("txt")
}

impl Finding<'_> {
    /// Writes the input into `folder`, and beside it what happened. Gives the path of the input.
    ///
    /// # Errors
    /// Where the folder cannot be made or a file not be written.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let name = format!("{}-{}-{:016x}", self.target, self.kind, name_of(self.input));
        let file = folder.join(&name);
        fs::write(&file, self.input)?;
        fs::write(story_beside(&file), self.story(&file))?;
        Ok(file)
    }

    /// What happened, and how to see it again and keep it.
    pub fn story(&self, file: &Path) -> String {
        let Self { target, kind, message, seed, input } = self;
        let file = file.display();
        let length = input.len();
        format!(
            "{target}: {kind} after {length} bytes, in a run with seed {seed}\n{message}\n\n\
             see it again:   cargo run -p portolan-fuzz -- replay {target} {file}\n\
             once it holds:  cp {file} fuzz/regressions/{target}/\n"
        )
    }
}
