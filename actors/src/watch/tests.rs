//! Files that are written, renamed, removed, and links that are swapped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

use serde_json::json;

use super::*;
use crate::supervision::Status;
use crate::testing::{advance_until, control, until};

/// A watch over files, and what it tells.
fn watch(control: &Control, files: &[&Path]) -> (Watch, mpsc::Receiver<Vec<PathBuf>>) {
    let (tell, told) = mpsc::channel();
    let files: Vec<PathBuf> = files.iter().map(|path| path.to_path_buf()).collect();
    // A test that ends drops the receiver first.
    let watch = Watch::start(control, "configuration", files, move |files| drop(tell.send(files)));
    (watch, told)
}

/// Lets the watch look so many times.
fn look(control: &Control, watch: &Watch, times: u64) {
    for _ in 0..times {
        let before = watch.view.looks.load(Ordering::Acquire);
        advance_until(control.clock(), LOOK, "a look", || watch.view.looks.load(Ordering::Acquire) > before);
    }
}

fn tells_once(control: &Control, watch: &Watch, told: &mpsc::Receiver<Vec<PathBuf>>, file: &Path) {
    look(control, watch, 4);
    let all: Vec<_> = told.try_iter().collect();
    assert_eq!(all, [[file.to_path_buf()]]);
}

#[test]
fn a_file_that_is_written_renamed_over_or_removed_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, draft, other) =
        (folder.path().join("a.yaml"), folder.path().join("draft"), folder.path().join("b.yaml"));
    fs::write(&file, "one").unwrap();
    fs::write(&other, "one").unwrap();
    let control = control();
    let (watch, told) = watch(&control, &[&file, &other]);
    look(&control, &watch, 3);
    assert_eq!(told.try_iter().count(), 0);
    fs::write(&file, "two and more").unwrap();
    tells_once(&control, &watch, &told, &file);
    fs::write(&draft, "two and more").unwrap();
    fs::rename(&draft, &file).unwrap();
    tells_once(&control, &watch, &told, &file);
    fs::remove_file(&file).unwrap();
    tells_once(&control, &watch, &told, &file);
    fs::write(&file, "three").unwrap();
    tells_once(&control, &watch, &told, &file);
    assert_eq!(watch.changes_total(), 4);
}

#[test]
fn a_link_that_is_swapped_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for version in ["v1", "v2"] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.yaml"), "same").unwrap();
    }
    symlink("v1", at("data")).unwrap();
    symlink("data/a.yaml", at("a.yaml")).unwrap();
    let control = control();
    let (watch, told) = watch(&control, &[&at("a.yaml")]);
    symlink("v2", at("data.next")).unwrap();
    fs::rename(at("data.next"), at("data")).unwrap();
    tells_once(&control, &watch, &told, &at("a.yaml"));
}

#[test]
fn a_change_during_a_panic_is_told_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "one").unwrap();
    let control = control();
    let (watch, told) = watch(&control, &[&file]);
    let registry = control.registry();
    assert!(registry.make_panic("watch/configuration"));
    until("the panic", || registry.status("watch/configuration") == Some(Status::Restarting));
    fs::write(&file, "two and more").unwrap();
    tells_once(&control, &watch, &told, &file);
}

#[test]
fn other_files_can_be_watched() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.yaml"), folder.path().join("new.yaml"));
    fs::write(&old, "one").unwrap();
    fs::write(&new, "one").unwrap();
    let control = control();
    let (watch, told) = watch(&control, &[&old]);
    watch.set_files([new.clone()]);
    fs::write(&old, "two and more").unwrap();
    fs::write(&new, "two and more").unwrap();
    tells_once(&control, &watch, &told, &new);
    let state = &control.registry().states()[0]["state"];
    assert_eq!((&state["files"], &state["changes"]), (&json!([new]), &json!(1)));
}
