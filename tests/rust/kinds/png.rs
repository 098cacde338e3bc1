//! PNGs that are damaged in places that Pillow does not check.

use clip_wasm::error::ErrorKind;

use super::Files;
use crate::support::pillow::Comparison;
use crate::support::reliability::record;
use crate::support::{crc32, images};

pub fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [&name[..], body].concat();
    let checksum = crc32(named.iter().copied()).to_be_bytes();
    [&(body.len() as u32).to_be_bytes()[..], &named, &checksum].concat()
}

/// Inserts a chunk after the header.
pub fn with_chunk(png: &[u8], name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&png[..33], &chunk(name, body), &png[33..]].concat()
}

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

/// The positions of the chunks with this name (of their length fields).
fn places(png: &[u8], name: &[u8; 4]) -> Vec<usize> {
    let mut at = 8;
    let mut places = Vec::new();
    while let Some(length) = png.get(at..at + 4) {
        if &png[at + 4..at + 8] == name {
            places.push(at);
        }
        at += 12 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
    }
    places
}

#[test]
fn image_data_that_inflates_to_something_else_is_damaged() {
    let files = Files::new();
    for name in ["rgb8.png", "palette8.png", "grey16.png", "rgb8_interlaced.png"] {
        let png = images::read(name);
        let place = places(&png, b"IDAT")[0];
        let length = u32::from_be_bytes(png[place..place + 4].try_into().unwrap()) as usize;
        for step in 0..24 {
            let mut body = png[place + 8..place + 8 + length].to_vec();
            body[2 + step * (length - 3) / 24] ^= 1 << (step % 8);
            let rest = &png[place + 12 + length..];
            let file = [&png[..place], &chunk(b"IDAT", &body), rest].concat();
            files.add(&format!("{step} right checksum {name}"), &file);
            let wrong = [&png[..place + 8], &body, &png[place + 8 + length..]].concat();
            files.add(&format!("{step} wrong checksum {name}"), &wrong);
        }
    }
    files.hold(|_, comparison| {
        matches!(comparison, Comparison::Refused(ErrorKind::CorruptImage, _))
    });
    record(
        "inputs",
        "PNGs with a flipped bit in their image data",
        "192",
        "refused, as Pillow refuses them",
    );
}

#[test]
fn palettes_and_chunks_that_no_decoder_expects() {
    let files = Files::new();
    for name in ["palette8.png", "palette1.png", "palette4.png", "rgb8.png", "grey8.png"] {
        let png = images::read(name);
        let place = places(&png, b"PLTE").first().copied().unwrap_or(33);
        let length = u32::from_be_bytes(png[place..place + 4].try_into().unwrap()) as usize;
        let is_palette = &png[place + 4..place + 8] == b"PLTE";
        let rest = if is_palette { &png[place + 12 + length..] } else { &png[place..] };
        let colours: Vec<u8> = (0..780).map(|i| (i * 37 % 251) as u8).collect();
        let with = |chunks: &[u8]| [&png[..place], chunks, rest].concat();
        for length in (0..=9).chain([30, 31, 46, 47, 48, 765, 766, 767, 768, 769, 770, 771, 774]) {
            let file = with(&chunk(b"PLTE", &colours[..length]));
            files.add(&format!("{length} bytes of colours {name}"), &file);
        }
        files.add(&format!("no palette {name}"), &with(&[]));
        let two = [chunk(b"PLTE", &colours[..48]), chunk(b"PLTE", &colours[6..54])].concat();
        files.add(&format!("two palettes {name}"), &with(&two));
        let unknown = [chunk(b"ABCD", b"anything"), chunk(b"PLTE", &colours[..48])].concat();
        files.add(&format!("an unknown chunk {name}"), &with(&unknown));
        let data = places(&png, b"IDAT")[0];
        let late =
            [&png[..png.len() - 12], &chunk(b"PLTE", &colours[..48]), &png[png.len() - 12..]];
        files.add(&format!("a palette behind the data {name}"), &late.concat());
        let between = [&png[..data], &chunk(b"ZZZZ", b""), &png[data..]].concat();
        files.add(&format!("an unknown chunk before the data {name}"), &between);
    }
    // Pillow refuses palettes with too many colours.
    let equal = files.hold(|_, comparison| matches!(comparison, Comparison::Read(reason) if reason.contains("palette size")));
    assert!(equal >= 100, "only {equal}");
}
