//! What is kept in the tree: seeds that reach deep, and inputs that once broke something.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::target::Target;

/// An input and the file it stands in.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The folder of this crate.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where findings go; git ignores it.
pub fn findings() -> PathBuf {
    home().join("findings")
}

/// Inputs that once broke something, in the order of their names.
///
/// # Errors
/// Where a folder or file cannot be read. A folder that is not there holds nothing.
pub fn regressions(target: &Target) -> io::Result<Vec<Kept>> {
    within(&home().join("regressions").join(target.name))
}

/// The seeds of a target: its corpus, then what it borrows from other crates.
///
/// # Errors
/// Where a folder or file cannot be read. A folder that is not there holds nothing.
pub fn seeds(target: &Target) -> io::Result<Vec<Kept>> {
    let mut all = within(&home().join("corpus").join(target.name))?;
    for borrowed in target.seeds {
        all.extend(within(&home().join("..").join(borrowed))?);
    }
    Ok(all)
}

/// A file, or the files of a folder.
fn within(path: &Path) -> io::Result<Vec<Kept>> {
    if path.is_file() {
        return Ok(vec![Kept { file: path.to_owned(), bytes: fs::read(path)? }]);
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    files.into_iter().map(|file| fs::read(&file).map(|bytes| Kept { file, bytes })).collect()
}
