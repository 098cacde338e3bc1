//! Runs the seeds of `./build.sh fuzz` through every target.

#[allow(dead_code, reason = "a fuzz target does more at its start than is needed here")]
#[allow(
    clippy::duplicate_mod,
    reason = "it is a separate crate, and uses a part of the tests' support"
)]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::data;
use crate::support::reliability::record;
use tempfile::TempDir;

static SEEDS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    // cargo builds the examples next to the tests.
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().with_file_name("examples").join("fuzz_seeds");
    let data = data("tokenizer.json");
    let status = Command::new(program).arg(data.parent().unwrap()).arg(folder.path()).status();
    assert!(status.unwrap().success());
    folder
});

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: &str, at_least: usize, run: fn(&[u8])) {
    let inputs = files(&SEEDS.path().join(target));
    assert!(inputs.len() >= at_least, "{target} has {} inputs", inputs.len());
    for input in &inputs {
        let bytes = fs::read(input).unwrap();
        catch_unwind(|| run(&bytes)).unwrap_or_else(|_| panic!("{target}: {}", input.display()));
    }
    record(
        "fuzz",
        target,
        &format!("{} seeds, one after the other", inputs.len()),
        "no panic, and each answer holds what the target says",
    );
}

#[test]
fn gguf() {
    replay("gguf", 5, fuzz::gguf::run);
}

#[test]
fn image() {
    replay("image", 500, fuzz::image::run);
}

#[test]
fn model() {
    replay("model", 40, fuzz::model::run);
}

#[test]
fn safetensors() {
    replay("safetensors", 40, fuzz::safetensors::run);
}

#[test]
fn siglip() {
    replay("siglip", 400, fuzz::siglip::run);
}

#[test]
fn tokenizer() {
    replay("tokenizer", 250, fuzz::tokenizer::run);
}

#[test]
fn vocabulary() {
    replay("vocabulary", 18, fuzz::vocabulary::run);
}
