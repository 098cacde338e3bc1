//! Runs Pillow itself on files, and compares.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use clip_wasm::decode::{RgbImage, decode};
use clip_wasm::error::ErrorKind;
use serde::Deserialize;

/// Pillow's answer for a file.
#[derive(Debug, Deserialize)]
pub struct Answer {
    pub file: String,
    width: Option<u32>,
    height: Option<u32>,
    crc32: Option<String>,
    pub error: Option<String>,
}

/// How the crate's result for a file compares with Pillow's.
#[derive(Debug, PartialEq)]
pub enum Comparison {
    /// The same pixels, or refused by both.
    Same,
    /// Different pixels, with the difference.
    Wrong(String),
    /// Refused here but not by Pillow.
    Refused(ErrorKind, String),
    /// Refused by Pillow but not here, with Pillow's reason.
    Read(String),
}

/// Pillow's answer for every file in a folder, by name. tests/data.sh installs its version.
pub fn answers(directory: &Path) -> BTreeMap<String, Answer> {
    let python = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pil.py"))
        .arg(directory)
        .env("PYTHONPATH", super::data("python"))
        .output()
        .expect("python3 runs");
    let errors = String::from_utf8_lossy(&python.stderr);
    assert!(python.status.success(), "tests/support/pil.py: {errors}");
    let lines = python.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let answers = lines.map(|line| serde_json::from_slice::<Answer>(line).expect("a line of JSON"));
    answers.map(|answer| (answer.file.clone(), answer)).collect()
}

impl Answer {
    /// Decodes the file and compares. Does not catch panics.
    pub fn compare(&self, bytes: &[u8]) -> Comparison {
        match (decode(bytes), &self.error) {
            (Ok(image), None) => self.compare_pixels(&image),
            (Err(error), None) => Comparison::Refused(error.kind(), error.to_string()),
            (Ok(_), Some(reason)) => Comparison::Read(reason.clone()),
            (Err(_), Some(_)) => Comparison::Same,
        }
    }

    fn compare_pixels(&self, image: &RgbImage) -> Comparison {
        let size = (Some(image.width()), Some(image.height()));
        if size != (self.width, self.height) {
            return Comparison::Wrong(format!("{size:?}, not {:?}", (self.width, self.height)));
        }
        let crc32 = format!("{:08x}", super::crc32(image.pixels().iter().copied()));
        match self.crc32.as_deref() {
            Some(expected) if expected == crc32 => Comparison::Same,
            expected => Comparison::Wrong(format!("its checksum is {crc32}, not {expected:?}")),
        }
    }
}

/// The width and height of an image, as decoded by the crate.
pub fn size_of(file: &[u8]) -> (u32, u32) {
    let image = decode(file).expect("it is an image");
    (image.width(), image.height())
}
