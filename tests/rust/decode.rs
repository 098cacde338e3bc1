//! Decoding, compared with Pillow's pixels for the same files.

use crate::support::reliability::record;
use clip_wasm::decode::{Alpha, DecodeOptions, Orientation, RgbImage, decode, decode_with};
use clip_wasm::error::ErrorKind;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    file: String,
    width: u32,
    height: u32,
    crc32: String,
    /// The PNG with the pixels, shared by files that show the same picture.
    expected: String,
}

#[test]
fn pixels_equal_pillow() {
    let mut failures = Vec::new();
    for case in crate::support::images::cases::<Case>("decode.json") {
        let expected = decode(&crate::support::images::read(&case.expected)).expect(&case.expected);
        let crc = crate::support::crc32(expected.pixels().iter().copied());
        assert_eq!(format!("{crc:08x}"), case.crc32, "{} was not read right", case.expected);
        match decode(&crate::support::images::read(&case.file)) {
            Err(error) => failures.push(format!("{}: {error:?}", case.file)),
            Ok(image) if (image.width(), image.height()) != (case.width, case.height) => failures
                .push(format!(
                    "{}: {} x {}, not {} x {}",
                    case.file,
                    image.width(),
                    image.height(),
                    case.width,
                    case.height
                )),
            Ok(image) if image != expected => {
                failures.push(format!("{}: {}", case.file, Difference::between(&image, &expected)));
            }
            Ok(_) => {}
        }
    }
    assert!(failures.is_empty(), "{} files differ:\n{}", failures.len(), failures.join("\n"));
}

#[derive(Deserialize)]
struct OptionsCase {
    file: String,
    orientation: String,
    alpha: String,
    width: u32,
    height: u32,
    /// The checksum of each row, in eight hexadecimal digits.
    row_crc32: String,
}

#[test]
fn pixels_read_otherwise_equal_pillow() {
    let mut failures = Vec::new();
    let cases = crate::support::images::cases::<OptionsCase>("options.json");
    for case in &cases {
        let options = DecodeOptions {
            orientation: Orientation::named(&case.orientation).unwrap(),
            alpha: Alpha::named(&case.alpha).unwrap(),
        };
        let label = format!("{} {} {}", case.file, case.orientation, case.alpha);
        let image = decode_with(&crate::support::images::read(&case.file), options).expect(&label);
        assert_eq!((image.width(), image.height()), (case.width, case.height), "{label}");
        for (y, row) in image.pixels().chunks_exact(3 * case.width as usize).enumerate() {
            let crc = format!("{:08x}", crate::support::crc32(row.iter().copied()));
            if crc != case.row_crc32[y * 8..][..8] {
                failures.push(format!("{label}: row {y} differs"));
                break;
            }
        }
    }
    let of = |alpha: &str| cases.iter().filter(|case| case.alpha == alpha).count();
    assert!(of("drop") >= 35 && of("white") >= 20 && of("black") >= 20, "cases are missing");
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn options_go_by_their_names() {
    assert_eq!(Orientation::named("ignore").unwrap(), Orientation::Ignore);
    assert_eq!(Alpha::named("white").unwrap(), Alpha::White);
    assert!(Orientation::named("up").is_err() && Alpha::named("grey").is_err());
}

struct Difference {
    largest: u8,
    mean: f64,
    /// Position of the largest difference: x, y, channel.
    at: (usize, usize, usize),
}

impl Difference {
    fn between(actual: &RgbImage, expected: &RgbImage) -> Self {
        let mut sum = 0_u64;
        let mut largest = (0, 0);
        for (i, (a, b)) in actual.pixels().iter().zip(expected.pixels()).enumerate() {
            let difference = a.abs_diff(*b);
            sum += u64::from(difference);
            if difference > largest.0 {
                largest = (difference, i);
            }
        }
        let (pixel, width) = (largest.1 / 3, actual.width() as usize);
        Self {
            largest: largest.0,
            mean: sum as f64 / actual.pixels().len() as f64,
            at: (pixel % width, pixel / width, largest.1 % 3),
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (x, y, channel) = self.at;
        write!(f, "largest {} at x {x}, y {y}, channel {channel}; ", self.largest)?;
        write!(f, "mean {:.4}", self.mean)
    }
}

#[test]
fn what_is_no_image_is_named() {
    let cases: [(&[u8], &str); 18] = [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "HTML"),
        (b"\n <html lang=\"en\">", "HTML"),
        (b"a photo of a cat", "text"),
        (b"BMW is a maker of cars, and this is a text", "text"),
        (b"{\"error\": \"not found\"}", "text"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "SVG"),
        (b"<?xml version=\"1.0\"?>\n<!-- drawn --><svg/>", "SVG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "video"),
        (b"\xff\x0a\x00\x10", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (&[0x80, 0x81, 0x00, 0x07, 0x99], "unknown data"),
    ];
    for (bytes, name) in cases {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]);
        let error = decode(bytes).expect_err(&start);
        assert_eq!(error.kind(), ErrorKind::UnsupportedImage, "{start}: {error}");
        assert!(error.to_string().contains(name), "{start}: {error:?} does not say {name}");
    }
    note("files that are not images", cases.len(), "each named");
}

fn note(what: &str, count: usize, outcome: &str) {
    record("inputs", what, &count.to_string(), outcome);
}

#[test]
fn a_variant_that_is_not_decoded_is_named() {
    let error = decode(&crate::support::images::read("unsupported_lab.tiff")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedImage, "{error:?}");
    let message = error.to_string();
    assert!(message.contains("L*a*b*") && message.contains("save the image as PNG"), "{message}");
}

fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut file = crate::support::images::read("rgb8.png");
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crate::support::crc32(file[12..29].iter().copied());
    file[29..33].copy_from_slice(&crc.to_be_bytes());
    file
}

fn patched(name: &str, marker: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = crate::support::images::read(name);
    let at = file.windows(marker.len()).position(|window| window == marker).expect(name) + offset;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn a_claim_of_60_000_by_60_000_pixels_is_refused_before_it_is_allocated() {
    let edge16 = 60_000_u16;
    let edge32 = 60_000_u32;
    let (le, be) = (edge16.to_le_bytes(), edge16.to_be_bytes());
    let both = |edge: &[u8]| [edge, edge].concat();
    let tiff_edge = |tag: u8| ([tag, 1, 3, 0, 1, 0, 0, 0], [le[0], le[1]]);
    let mut tiff = crate::support::images::read("grey16_le.tiff");
    for (entry, edge) in [tiff_edge(0), tiff_edge(1)] {
        let at = tiff.windows(8).position(|window| window == entry).unwrap() + 8;
        tiff[at..at + 2].copy_from_slice(&edge);
    }
    let minus_one = (edge32 - 1).to_le_bytes();
    let files = [
        ("PNG", png_claiming(edge32, edge32)),
        ("BMP", patched("rgb24.bmp", b"BM", 18, &both(&edge32.to_le_bytes()))),
        ("GIF", patched("palette.gif", b"GIF8", 6, &both(&le))),
        ("JPEG", patched("baseline_420.jpg", b"\xff\xc0", 5, &both(&be))),
        ("progressive JPEG", patched("progressive_420.jpg", b"\xff\xc2", 5, &both(&be))),
        ("WebP", patched("exif.webp", b"VP8X", 12, &both(&minus_one[..3]))),
        ("TIFF", tiff),
    ];
    let count = files.len();
    for (format, file) in files {
        let error = decode(&file).map(|image| (image.width(), image.height())).expect_err(format);
        assert_eq!(error.kind(), ErrorKind::ImageTooLarge, "{format}: {error:?}");
        let message = error.to_string();
        assert!(message.contains("60000 x 60000") && message.contains("scale"), "{message}");
    }
    let what = "small images that claim 60,000 by 60,000 pixels";
    note(what, count, "each refused as image_too_large, before anything is allocated");
}

#[test]
fn a_small_file_cannot_claim_a_large_jpeg() {
    let edge = 10_000_u16.to_be_bytes();
    let file = patched("baseline_420.jpg", b"\xff\xc0", 5, &[edge, edge].concat());
    let error = decode(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptImage, "{error:?}");
}

fn fixtures() -> Vec<String> {
    crate::support::images::cases::<Case>("decode.json").into_iter().map(|case| case.file).collect()
}

fn assert_image_error(kind: ErrorKind, what: &str) {
    use ErrorKind::{CorruptImage, ImageTooLarge, UnsupportedImage};
    assert!(matches!(kind, CorruptImage | ImageTooLarge | UnsupportedImage), "{what}: {kind:?}");
}

#[test]
fn files_cut_short_are_refused_and_never_panic() {
    let mut count = 0;
    for name in fixtures() {
        let file = crate::support::images::read(&name);
        let lengths = (0..file.len().min(64)).chain((64..file.len()).step_by(file.len() / 97 + 1));
        for length in lengths {
            count += 1;
            if let Err(error) = decode(&file[..length]) {
                assert_image_error(error.kind(), &format!("{name} cut to {length} bytes"));
            }
        }
        // Half of a file lacks pixels, whatever the file ends with, unless a second image follows the one
        // that is read.
        if let Ok(half) = decode(&file[..file.len() / 2]) {
            assert!(half == decode(&file).unwrap(), "half of {name} was decoded");
        }
    }
    note("truncated images", count, "each refused, or decoded as far as it goes; no panic");
}

#[test]
fn a_jpeg_without_its_last_bytes_is_refused() {
    for name in fixtures().iter().filter(|name| name.ends_with(".jpg")) {
        let mut file = crate::support::images::read(name);
        let end = file.windows(2).rposition(|window| window == b"\xff\xd9").unwrap();
        for length in [end + 1, end, end - 1, end - 20, end * 3 / 4] {
            file.truncate(length);
            let error = decode(&file).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::CorruptImage, "{name} cut to {length}: {error}");
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let files = fixtures();
    let count = files.len() * flips();
    for name in files {
        let file = crate::support::images::read(&name);
        for round in 0..flips() {
            let mut damaged = file.clone();
            // Half of the rounds only damage headers: they are short, and damage there has more effect than
            // in pixels.
            let reach = if round % 2 == 0 { file.len() } else { file.len().min(200) };
            for _ in 0..1 + next(4) {
                damaged[next(reach)] = next(256) as u8;
            }
            if let Err(error) = decode(&damaged) {
                assert_image_error(error.kind(), &format!("{name}, round {round}"));
            }
        }
    }
    note("images with bytes changed at random", count, "each decoded or refused, without a panic");
}

/// How often each file is damaged. Raise it to search longer: `CLIP_WASM_FLIPS=20000`.
fn flips() -> usize {
    std::env::var("CLIP_WASM_FLIPS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

#[test]
fn an_rgb_image_holds_what_its_size_says() {
    let invalid = |result: clip_wasm::error::Result<RgbImage>| result.unwrap_err().kind();
    assert_eq!(invalid(RgbImage::new(2, 2, vec![0; 11])), ErrorKind::InvalidInput);
    assert_eq!(invalid(RgbImage::new(0, 2, vec![])), ErrorKind::InvalidInput);
    assert_eq!(invalid(RgbImage::new(60_000, 60_000, vec![])), ErrorKind::InvalidInput);
    let rgba = |bytes: &[u8], alpha| RgbImage::from_rgba(2, 1, bytes.to_vec(), alpha);
    assert_eq!(invalid(rgba(&[0; 6], Alpha::Drop)), ErrorKind::InvalidInput);
    for (alpha, pixels) in [
        (Alpha::Drop, [1, 2, 3, 4, 5, 6]),
        (Alpha::White, [255, 255, 255, 129, 130, 130]),
        (Alpha::Black, [0, 0, 0, 2, 3, 3]),
    ] {
        let image = rgba(&[1, 2, 3, 0, 4, 5, 6, 128], alpha).unwrap();
        assert_eq!(image.pixels(), pixels, "{alpha:?}");
    }
}
