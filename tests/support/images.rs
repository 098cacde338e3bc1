//! The image fixtures and the reference's results, written by `tests/reference/images.py`.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The cases in one of the reference's JSON files.
pub fn cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    #[derive(serde::Deserialize)]
    struct File<T> {
        cases: Vec<T>,
    }
    let file: File<T> = serde_json::from_slice(&read(name)).expect(name);
    assert!(!file.cases.is_empty(), "{name} holds no case");
    file.cases
}
