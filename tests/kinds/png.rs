//! PNGs that are damaged where Pillow does not look.

use clip_wasm::error::ErrorKind;

use crate::Files;
use crate::support::images;
use crate::support::pillow::Comparison;

#[test]
fn pngs_that_end_early_or_have_wrong_checksums() {
    let files = Files::new();
    let png = images::read("rgb8.png");
    let end = png.len() - 12;
    let data = png.windows(4).position(|name| name == b"IDAT").unwrap();
    let flipped = |at: usize| {
        let mut file = png.clone();
        file[at] ^= 1;
        file
    };
    files.add("no end.png", &png[..end]);
    for length in 1..12 {
        files.add(&format!("{length} bytes of the end.png"), &png[..end + length]);
    }
    for length in 1..=8 {
        files.add(&format!("{length} bytes less.png"), &png[..end - length]);
    }
    files.add("checksum of the data.png", &flipped(end - 1));
    files.add("checksum of the header.png", &flipped(29));
    files.add("checksum of the end.png", &flipped(png.len() - 1));
    let palette = images::read("palette8.png");
    let colours = palette.windows(4).position(|name| name == b"PLTE").unwrap() + 10;
    let mut changed = palette.clone();
    changed[colours] ^= 0x80;
    files.add("a changed palette.png", &changed);
    files.add(
        "rubbish behind the data.png",
        &[&png[..end], b"\0\0\0\x04abcdefgh\0\0\0\0", &png[end..]].concat(),
    );
    assert!(
        data > 0
            && files.hold(|_, comparison| matches!(
                comparison,
                Comparison::Refused(ErrorKind::CorruptImage, _)
            )) >= 4
    );
}
