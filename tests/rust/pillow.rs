//! Pillow's own test images: files that once caused trouble.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use crate::support::data;
use crate::support::pillow::{Comparison, answers};
use crate::support::reliability::record;
use clip_wasm::error::ErrorKind;

/// Files that Pillow reads and that are refused here as `unsupported_image`, with the reason.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("compression.tif", "CCITT's modified Huffman code, which no crate has"),
    ("hopper.Lab.tif", "CIE L*a*b*, which Pillow converts with LittleCMS's profiles"),
    ("hopper_lzma.tif", "LZMA"),
    ("lab-green.tif", "CIE L*a*b*"),
    ("lab-red.tif", "CIE L*a*b*"),
    ("lab.tif", "CIE L*a*b*"),
    ("old-style-jpeg-compression-no-samplesperpixel.tif", "old-style JPEG, which no crate has"),
    ("old-style-jpeg-compression.tif", "old-style JPEG"),
];

/// Files that Pillow reads and that are refused here as `corrupt_image`, with the damage.
const DAMAGED: [(&str, &str); 3] = [
    (
        "crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif",
        "a fuzzer's: a fax that ends after a third of its rows",
    ),
    (
        "crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif",
        "a fuzzer's: a fax that ends after half of its rows",
    ),
    (
        "hopper_bad_exif.jpg",
        "its Huffman codes are broken in every interval, and most of the picture with them",
    ),
];

/// Files that Pillow refuses and that are read here, with the reason.
const READ: [(&str, &str); 9] = [
    ("apng/chunk_no_fctl.png", "the image that readers without animation show is whole"),
    ("bmp/g/rgb32bf.bmp", "any masks of colours are read, Pillow knows eleven layouts"),
    ("bmp/q/pal2.bmp", "two bits a pixel, which Pillow does not know"),
    ("bmp/q/rgb16-231.bmp", "any masks"),
    ("bmp/q/rgb32-111110.bmp", "any masks"),
    ("bmp/q/rgba16-4444.bmp", "any masks"),
    (
        "png_decompression_dos.png",
        "a text that inflates to too much is not inflated; the picture is whole",
    ),
    (
        "tiff_overflow_rows_per_strip.tif",
        "more rows in a strip than there are in the image are as many as there are",
    ),
    (
        "unknown_compression_method.png",
        "a text in an unknown compression is not read; the picture is whole",
    ),
];

#[test]
fn each_equals_pillow_or_is_refused_for_a_reason_that_is_known() {
    let directory = data("pillow");
    let known = |table: &[(&'static str, &str)]| -> BTreeMap<&str, bool> {
        table.iter().map(|(name, _)| (*name, false)).collect()
    };
    let (mut unsupported, mut damaged) = (known(&UNSUPPORTED), known(&DAMAGED));
    let mut read = known(&READ);
    let (mut equal, mut failures) = (0, Vec::new());
    for (file, answer) in answers(&directory) {
        let bytes = std::fs::read(directory.join(&file)).unwrap();
        let Ok(comparison) = catch_unwind(|| answer.compare(&bytes)) else {
            failures.push(format!("{file}: a panic"));
            continue;
        };
        let exception = match &comparison {
            Comparison::Same => {
                equal += usize::from(answer.error.is_none());
                continue;
            }
            Comparison::Wrong(_) => None,
            Comparison::Refused(ErrorKind::UnsupportedImage, _) => unsupported.get_mut(&*file),
            Comparison::Refused(ErrorKind::CorruptImage, _) => damaged.get_mut(&*file),
            Comparison::Refused(..) => None,
            Comparison::Read(_) => read.get_mut(&*file),
        };
        match exception {
            Some(seen) => *seen = true,
            None => failures.push(format!("{file}: {comparison:?}")),
        }
    }
    for (name, seen) in [unsupported, damaged, read].into_iter().flatten() {
        if !seen {
            failures.push(format!("{name}: is not an exception, or does not exist"));
        }
    }
    assert!(failures.is_empty(), "{} files:\n{}", failures.len(), failures.join("\n"));
    assert!(equal >= 670, "only {equal} files were compared");
    let outcome = format!(
        "equal to Pillow's pixels; {} more are refused as unsupported, {} as damaged, which they are",
        UNSUPPORTED.len(),
        DAMAGED.len()
    );
    record("inputs", "Pillow's own test images that it reads", &equal.to_string(), &outcome);
}
