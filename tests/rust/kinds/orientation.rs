//! Exif data of every type and byte order, in every place.

use std::io::Write;

use super::Files;
use super::png::{chunk, with_chunk};
use crate::support::images;
use crate::support::pillow::{self, Comparison};
use crate::support::reliability::record;

/// The number types of a TIFF, and some invalid ones.
const TYPES: std::ops::RangeInclusive<u16> = 0..=18;

/// Exif data with one entry of type `kind`.
fn exif(big_endian: bool, kind: u16, value: u8, count: u32) -> Vec<u8> {
    let short = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut number = match kind {
        1 | 6 | 7 => vec![value],
        2 => vec![b'0' + value, 0, 0, 0],
        3 | 8 => short(value.into()).to_vec(),
        5 | 10 => [long(value.into()), long(1)].concat(),
        11 => long(f32::from(value).to_bits()).to_vec(),
        12 | 16 => {
            let bits = if kind == 12 { f64::from(value).to_bits() } else { value.into() };
            if big_endian { bits.to_be_bytes().to_vec() } else { bits.to_le_bytes().to_vec() }
        }
        _ => long(value.into()).to_vec(),
    };
    number.resize(number.len() * count as usize, 0);
    let mut data = if big_endian { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
    data.extend([&long(8)[..], &short(1), &short(0x112), &short(kind), &long(count)].concat());
    if number.len() <= 4 {
        number.resize(4, 0);
        data.extend([&number[..], &long(0)].concat());
    } else {
        data.extend([&long(26)[..], &long(0), &number].concat());
    }
    data
}

/// Exif data with one entry, in BigTIFF's 64-bit form.
fn big_exif(big_endian: bool) -> Vec<u8> {
    let mut data =
        if big_endian { b"MM\0\x2b\0\x08\0\0".to_vec() } else { b"II\x2b\0\x08\0\0\0".to_vec() };
    let number = |n: u64, bytes: usize| {
        if big_endian {
            n.to_be_bytes()[8 - bytes..].to_vec()
        } else {
            n.to_le_bytes()[..bytes].to_vec()
        }
    };
    for (n, bytes) in [(16, 8), (1, 8), (0x112, 2), (3, 2), (1, 8), (6, 2), (0, 6), (0, 8)] {
        data.extend(number(n, bytes));
    }
    data
}

fn with_segment(jpeg: &[u8], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, body, &jpeg[2..]].concat()
}

/// Makes an extended WebP with Exif data from a simple one.
fn with_exif(webp: &[u8], exif: &[u8]) -> Vec<u8> {
    let part = |name: &[u8; 4], body: &[u8]| {
        let padding = &[0][..body.len() % 2];
        [&name[..], &(body.len() as u32).to_le_bytes(), body, padding].concat()
    };
    let image = pillow::size_of(webp);
    let edge = |edge: u32| (edge - 1).to_le_bytes()[..3].to_vec();
    let extended = [&[8, 0, 0, 0][..], &edge(image.0), &edge(image.1)].concat();
    let body =
        [&b"WEBP"[..], &part(b"VP8X", &extended), &webp[12..], &part(b"EXIF", exif)].concat();
    part(b"RIFF", &body)
}

#[test]
fn orientations_of_every_type_and_byte_order() {
    let files = Files::new();
    let jpeg = images::read("rgb.jpg");
    let png = images::read("rgb8.png");
    let webp = images::read("lossless.webp");
    let marker = b"Exif\0\0";
    for big_endian in [false, true] {
        for kind in TYPES {
            for (value, count) in
                [(1, 1), (3, 1), (6, 1), (8, 1), (0, 1), (9, 1), (6, 2), (6, 3), (6, 0)]
            {
                let exif = exif(big_endian, kind, value, count);
                let marked = [&marker[..], &exif].concat();
                let label = format!("{big_endian} type {kind} value {value} count {count}");
                files.add(&format!("{label}.jpg"), &with_segment(&jpeg, &marked));
                files.add(&format!("{label}.png"), &with_chunk(&png, b"eXIf", &exif));
                files.add(&format!("{label}.webp"), &with_exif(&webp, &exif));
            }
        }
    }
    // Pillow refuses some pictures because of their Exif data; here only the orientation is ignored.
    let equal = files.hold(|_, comparison| matches!(comparison, Comparison::Read(_)));
    assert!(equal >= 900, "only {equal}");
    record(
        "inputs",
        "orientations of every type and byte order in JPEG, PNG and WebP",
        &equal.to_string(),
        "turned as Pillow turns them",
    );
}

#[test]
fn orientations_that_stand_twice_or_elsewhere() {
    let files = Files::new();
    let jpeg = images::read("rgb.jpg");
    let png = images::read("rgb8.png");
    let marker = b"Exif\0\0";
    let segment = |value| [&marker[..], &exif(true, 3, value, 1)].concat();
    let packet = |value: u8| {
        let packet = format!("<x tiff:Orientation=\"{value}\"/>").into_bytes();
        [&b"http://ns.adobe.com/xap/1.0/\0"[..], &packet].concat()
    };
    let in_order = |parts: &[Vec<u8>]| {
        parts.iter().rev().fold(jpeg.clone(), |file, part| with_segment(&file, part))
    };
    let without = [&marker[..], b"MM\0\x2a\0\0\0\x08\0\0\0\0\0\0"].concat();
    for (name, parts) in [
        ("two", vec![segment(6), segment(3)]),
        ("first without", vec![without.clone(), segment(3)]),
        ("second without", vec![segment(3), without.clone()]),
        ("three", vec![segment(8), segment(3), segment(6)]),
        ("Exif and XMP", vec![segment(6), packet(3)]),
        ("XMP and Exif", vec![packet(3), segment(6)]),
        ("Exif without and XMP", vec![without, packet(3)]),
        ("two packets", vec![packet(3), packet(6)]),
        ("a marker twice", vec![[&marker[..], &segment(6)].concat()]),
        ("bytes and XMP", vec![[&marker[..], &exif(true, 1, 6, 1)].concat(), packet(3)]),
        ("cut short", vec![segment(6)[..20].to_vec()]),
        ("no TIFF", vec![b"Exif\0\0rubbish".to_vec()]),
        ("BigTIFF", vec![[&marker[..], &big_exif(true)].concat()]),
        ("BigTIFF, little-endian", vec![[&marker[..], &big_exif(false)].concat()]),
    ] {
        files.add(&format!("{name}.jpg"), &in_order(&parts));
    }
    let hexadecimal =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let profile = |value| {
        let text = format!("\nexif\n      26\n{}\n", hexadecimal(&segment(value)));
        [b"Raw profile type exif\0", text.as_bytes()].concat()
    };
    files.add("profile.png", &with_chunk(&png, b"tEXt", &profile(6)));
    let chunks = [chunk(b"eXIf", &exif(false, 3, 3, 1)), chunk(b"tEXt", &profile(6))];
    files.add("chunk and profile.png", &[&png[..33], &chunks.concat(), &png[33..]].concat());
    files.add("marker in a chunk.png", &with_chunk(&png, b"eXIf", &segment(6)));
    files.add("BigTIFF.png", &with_chunk(&png, b"eXIf", &big_exif(true)));
    let xmp = |value: u8| format!("<x tiff:Orientation=\"{value}\"/>").into_bytes();
    let keyword = b"XML:com.adobe.xmp\0";
    let plain = |value| chunk(b"tEXt", &[&keyword[..], &xmp(value)].concat());
    let compressed = |value| {
        let mut zlib = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::default());
        zlib.write_all(&xmp(value)).unwrap();
        chunk(b"zTXt", &[&keyword[..], b"\0", &zlib.finish().unwrap()].concat())
    };
    let international = |value| chunk(b"iTXt", &[&keyword[..], b"\0\0\0\0", &xmp(value)].concat());
    for (name, chunks) in [
        ("plain", plain(6)),
        ("compressed", compressed(8)),
        ("international", international(3)),
        ("plain, then international", [plain(6), international(3)].concat()),
        ("international, then plain", [international(3), plain(6)].concat()),
        ("international, then compressed", [international(3), compressed(8)].concat()),
    ] {
        files.add(&format!("XMP {name}.png"), &[&png[..33], &chunks, &png[33..]].concat());
    }
    let end = png.len() - 12;
    files.add(
        "profile at the end.png",
        &[&png[..end], &chunk(b"tEXt", &profile(6)), &png[end..]].concat(),
    );
    let equal = files.hold(|_, comparison| matches!(comparison, Comparison::Read(_)));
    assert!(equal >= 12, "only {equal}");
}
