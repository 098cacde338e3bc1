//! Image files of every kind that has caused errors before, made here and compared with Pillow's pixels.

mod bmp;
mod jpeg;
mod orientation;
mod png;
mod tiff;

use std::path::Path;

use crate::support::pillow::{Comparison, answers};
use tempfile::TempDir;

/// Files in their own folder.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn add(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).expect("it can be written");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Compares each file with Pillow's pixels. `may_differ` decides which differences are acceptable.
    /// Returns the number of equal files.
    fn hold(&self, may_differ: impl Fn(&str, &Comparison) -> bool) -> usize {
        let (mut equal, mut failures) = (0, Vec::new());
        for (file, answer) in answers(self.path()) {
            let bytes = std::fs::read(self.path().join(&file)).unwrap();
            match answer.compare(&bytes) {
                Comparison::Same => equal += usize::from(answer.error.is_none()),
                other if may_differ(&file, &other) => {}
                other => failures.push(format!("{file}: {other:?}")),
            }
        }
        assert!(failures.is_empty(), "{} files:\n{}", failures.len(), failures.join("\n"));
        equal
    }
}

/// Gradients and edges, so that every filter matters: `[height, width, channels]`.
fn picture(width: usize, height: usize, channels: usize) -> Vec<u8> {
    let mut levels = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                let wave = (x * (7 + 3 * channel) + y * (11 - 2 * channel)) % 256;
                let edge = if (x / 5 + y / 7 + channel).is_multiple_of(3) { 90 } else { 0 };
                levels.push((wave / 2 + edge) as u8);
            }
        }
    }
    levels
}
