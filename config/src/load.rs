//! Reads a configuration and the contracts it names: the only place that touches the disk.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::reference::Env;
use crate::snapshot::Snapshot;
use crate::tree::MAX_TEXT;
use crate::{document, resolve, tree};

/// How files are read.
pub type Disk<'a> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a;

/// Reads a configuration from disk, and checks and resolves all of it. Paths in it are relative to its folder. `env`
/// answers what `${env:NAME}` stands for. Blocks while it reads: a running gateway calls it on a thread that serves
/// nobody.
///
/// # Errors
/// Every problem found in one run, in the order of their places. Only a mistake of syntax or an unknown alias hides
/// others.
pub fn load(file: impl AsRef<Path>, env: &Env<'_>) -> Result<Snapshot, Diagnostics> {
    load_from(file, env, &read)
}

/// The same, and the names of all files that were asked for, those among them that are not there: a change of any of them
/// may change the result.
pub fn load_with_files(file: impl AsRef<Path>, env: &Env<'_>) -> (Result<Snapshot, Diagnostics>, Vec<PathBuf>) {
    let asked = RefCell::new(Vec::new());
    let disk = |path: &Path| {
        asked.borrow_mut().push(path.to_owned());
        read(path)
    };
    let loaded = load_from(file, env, &disk);
    (loaded, asked.into_inner())
}

/// The same with files that come from elsewhere, such as a test.
///
/// # Errors
/// As for [`load`].
pub fn load_from(file: impl AsRef<Path>, env: &Env<'_>, disk: &Disk<'_>) -> Result<Snapshot, Diagnostics> {
    let file = file.as_ref();
    let text = text_of(file, &Place::file(file), disk)?;
    let (tree, mut diagnostics) = tree::parse_with_references(file, &text);
    let Some(tree) = tree else {
        return Err(diagnostics);
    };
    if tree.root().is_nothing() {
        let told = Diagnostic::error(&Place::new(file, 1, 1, ""), "the file says nothing");
        return Err(told.hint("the least is a listener: `listeners: { public: { address: 0.0.0.0:8080 } }`").into());
    }
    let (document, told) = document::read(&tree, env);
    diagnostics.append(told);
    resolve::resolve(file, document, diagnostics, disk)
}

/// A file's text. What is wrong with it is told at `place`, save a byte that is not UTF-8, which has its own.
pub(crate) fn text_of(file: &Path, place: &Place, disk: &Disk<'_>) -> Result<String, Diagnostic> {
    let bytes = disk(file).map_err(|error| {
        let name = file.display();
        match error.kind() {
            io::ErrorKind::NotFound => Diagnostic::error(place, format!("there is no file `{name}`")),
            _ => Diagnostic::error(place, format!("`{name}` cannot be read: {error}")),
        }
    })?;
    if bytes.len() > MAX_TEXT {
        return Err(Diagnostic::error(place, format!("`{}` is longer than {MAX_TEXT} bytes", file.display())));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let before = String::from_utf8_lossy(valid);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let place = Place::new(file, number(line), number(column), "");
        Diagnostic::error(&place, "this is not UTF-8").hint("save the file as UTF-8")
    })
}

/// A regular file of bearable length; one byte more than that shows that it is longer.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path of a configuration, joined to the configuration's folder.
pub(crate) fn beside(file: &Path, path: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    folder.join(path.strip_prefix(".").unwrap_or(path))
}
