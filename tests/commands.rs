//! The real binary: its commands, its signals, its demo.

mod check;
mod demo;
mod help;
mod run;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::kit::binary::{Said, portolan};
use crate::kit::gateway::unindented;

/// A folder with files in it, one of them the configuration.
struct Folder(TempDir);

impl Folder {
    /// A folder with this configuration.
    fn with(configuration: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("there is room for a folder"));
        folder.write("gateway.yaml", configuration);
        folder
    }

    /// Writes a file.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), unindented(text).trim_start_matches('\n'))
            .expect("the folder can be written");
    }

    /// Where the configuration is.
    fn file(&self) -> String {
        self.path("gateway.yaml").to_str().expect("a temporary folder has a name in UTF-8").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command on the configuration to its end; files of the folder are named as in the test.
    fn portolan(&self, arguments: &[&str]) -> Said {
        let file = self.file();
        let mut whole = arguments.to_vec();
        whole.push(&file);
        let Said { code, stdout, stderr } = portolan(&whole);
        let folder = format!("{}/", self.0.path().display());
        Said { code, stdout: stdout.replace(&folder, ""), stderr: stderr.replace(&folder, "") }
    }
}

/// What a command says that had nothing to say on one of its streams.
fn said(code: i32, stdout: &str, stderr: &str) -> Said {
    Said { code: Some(code), stdout: stdout.into(), stderr: stderr.into() }
}
