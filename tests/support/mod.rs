//! Shared by several tests: where their data is, and how vectors are compared.
#![allow(dead_code)] // Each test binary uses only a part.

pub mod allocator;
pub mod counting;
pub mod headers;
pub mod images;
pub mod pillow;
pub mod reliability;
pub mod seeded;
#[cfg(not(target_arch = "wasm32"))]
pub mod siglip;
pub mod small;
pub mod torch;

use std::path::{Path, PathBuf};

/// The folder in which tests/data.sh puts the tests' data.
pub fn data_directory() -> PathBuf {
    std::env::var("CLIP_TEST_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-data").into())
        .into()
}

/// A file that `./build.sh test` makes before the tests run.
pub fn data(name: &str) -> PathBuf {
    let path = data_directory().join(name);
    assert!(path.exists(), "{} is missing: ./build.sh test makes it", path.display());
    path
}

/// A committed fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The folder of the committed reference photos and the table of their cosines; the page serves them.
pub fn photos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www/check")
}

/// One of the eight photos: six are committed, two are downloaded.
pub fn photo(name: &str) -> Vec<u8> {
    let committed = photos().join(name);
    let path = if committed.exists() { committed } else { data("photos").join(name) };
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The minimum and the median of a set of values.
pub fn least_and_median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2])
}

/// The same checksum as Python's `zlib.crc32`.
pub fn crc32(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
