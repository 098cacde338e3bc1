//! Image files of every kind of what has gone wrong before, made here and held to Pillow's pixels.
#![cfg(not(target_arch = "wasm32"))]

mod support;

use std::path::Path;

use clip_wasm::decode::decode;
use clip_wasm::error::ErrorKind;
use libjpeg_turbo_rs::{ColorSpace, Encoder, PixelFormat};
use support::images;
use support::pillow::{Comparison, answers};
use support::reliability::record;
use tempfile::TempDir;

/// Files in a folder of their own.
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

    /// Holds each file to Pillow's pixels; `may_differ` says of which comparisons that are not the same are fine.
    /// Gives how many are equal.
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

/// Gradients and edges, so that every filter has work to do: `[height, width, channels]`.
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

// ---- JPEG ------------------------------------------------------------------------------------

type Mode = (&'static str, fn(Encoder) -> Encoder);

const MODES: [Mode; 7] = [
    ("sequential", |encoder| encoder),
    ("progressive", |encoder| encoder.progressive(true)),
    ("arithmetic", |encoder| encoder.arithmetic(true)),
    ("arithmetic-progressive", |encoder| encoder.arithmetic(true).progressive(true)),
    ("restarts-of-a-block", |encoder| encoder.restart_blocks(1)),
    ("restarts-of-a-row", |encoder| encoder.restart_rows(1)),
    ("optimised", |encoder| encoder.optimize_huffman(true)),
];

#[test]
fn jpegs_of_every_sampling_and_coding() {
    let files = Files::new();
    let factors = [1, 2, 3, 4].map(|across| [1, 2, 3, 4].map(|down| (across, down))).concat();
    for (width, height) in [(49, 35), (1, 1), (16, 9), (3, 20)] {
        let pixels = picture(width, height, 3);
        for &luma in &factors {
            for &chroma in &factors {
                for (name, mode) in MODES {
                    let encoder = Encoder::new(&pixels, width, height, PixelFormat::Rgb);
                    let encoder = encoder.quality(80).sampling_factors(vec![luma, chroma, chroma]);
                    // Refused are those that there is no such file of.
                    let Ok(file) = mode(encoder).encode() else { continue };
                    let label = format!("{width}x{height} {luma:?} {chroma:?} {name}.jpg");
                    files.add(&label, &file);
                }
            }
        }
    }
    let equal = files.hold(|_, _| false);
    assert!(equal >= 1316, "only {equal}");
    let what = "JPEGs of every sampling, Huffman and arithmetic, sequential and progressive, with restarts";
    record("inputs", what, &equal.to_string(), "equal to Pillow's pixels, byte for byte");
}

/// The bytes behind a marker and its segments' names: tables and scan of a grey JPEG.
fn segments(file: &[u8], marker: u8) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = 2;
    while file[at + 1] != 0xda {
        let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] == marker {
            found.push(&file[at..at + 2 + length]);
        }
        at += 2 + length;
    }
    found
}

/// What stands between the header of the scan and the end of the image.
fn coded(file: &[u8]) -> &[u8] {
    let scan = file.windows(2).position(|two| two == b"\xff\xda").unwrap();
    &file[scan + 10..file.len() - 2]
}

/// A sequential JPEG in which each component has a scan of its own, made of grey ones.
fn one_scan_a_component(
    width: usize,
    height: usize,
    sampling: [(usize, usize); 3],
    restarts: bool,
) -> Vec<u8> {
    let most = sampling.iter().fold((1, 1), |most, of| (most.0.max(of.0), most.1.max(of.1)));
    let mut file = b"\xff\xd8".to_vec();
    let mut scans = Vec::new();
    for (index, (across, down)) in sampling.into_iter().enumerate() {
        let (width, height) = ((width * across).div_ceil(most.0), (height * down).div_ceil(most.1));
        let levels: Vec<u8> =
            picture(width, height, 3).chunks_exact(3).map(|pixel| pixel[index]).collect();
        let encoder = Encoder::new(&levels, width, height, PixelFormat::Grayscale).quality(85);
        let grey = if restarts { encoder.restart_rows(1) } else { encoder }.encode().unwrap();
        if index == 0 {
            segments(&grey, 0xdb).into_iter().for_each(|table| file.extend(table));
            segments(&grey, 0xc4).into_iter().for_each(|table| file.extend(table));
        }
        segments(&grey, 0xdd).into_iter().for_each(|interval| scans.extend(interval));
        scans.extend([0xff, 0xda, 0, 8, 1, index as u8 + 1, 0, 0, 63, 0]);
        scans.extend(coded(&grey));
    }
    let [height, width] = [height, width].map(|edge| (edge as u16).to_be_bytes());
    file.extend([&b"\xff\xc0\0\x11\x08"[..], &height, &width, &[3]].concat());
    for (id, (across, down)) in (1..).zip(sampling) {
        file.extend([id, (across << 4 | down) as u8, 0]);
    }
    [&file[..], &scans, b"\xff\xd9"].concat()
}

#[test]
fn jpegs_with_a_scan_for_each_component() {
    let files = Files::new();
    for (width, height) in [(49, 35), (16, 16), (8, 1), (1, 9), (120, 7)] {
        for luma in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (3, 1), (1, 4), (4, 2)] {
            for chroma in [(1, 1), (2, 1), (1, 2)] {
                for restarts in [false, true] {
                    let sampling = [luma, chroma, chroma];
                    if luma.0 < chroma.0
                        || luma.1 < chroma.1
                        || luma.0 % chroma.0 + luma.1 % chroma.1 > 0
                    {
                        continue;
                    }
                    let file = one_scan_a_component(width, height, sampling, restarts);
                    files.add(
                        &format!("{width}x{height} {luma:?} {chroma:?} {restarts}.jpg"),
                        &file,
                    );
                }
            }
        }
    }
    assert!(files.hold(|_, _| false) >= 120);
}

/// The same file with other markers before its tables and other names of its components.
fn marked(file: &[u8], jfif: bool, adobe: Option<u8>, ids: &[u8]) -> Vec<u8> {
    let mut marked = b"\xff\xd8".to_vec();
    if jfif {
        marked.extend(b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    }
    if let Some(transform) = adobe {
        marked.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
        marked.push(transform);
    }
    let mut at = 2;
    loop {
        let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        let mut segment = file[at..at + 2 + length].to_vec();
        match segment[1] {
            0xe0 | 0xee => segment.clear(),
            0xc0 => segment[10..]
                .chunks_exact_mut(3)
                .zip(ids)
                .for_each(|(component, id)| component[0] = *id),
            0xda => segment[5..]
                .chunks_exact_mut(2)
                .zip(ids)
                .for_each(|(component, id)| component[0] = *id),
            _ => {}
        }
        let is_scan = file[at + 1] == 0xda;
        marked.extend(segment);
        at += 2 + length;
        if is_scan {
            break;
        }
    }
    marked.extend(&file[at..]);
    marked
}

#[test]
fn jpegs_whose_colours_are_told_by_markers_and_names() {
    let files = Files::new();
    let (width, height) = (41, 30);
    let colours = picture(width, height, 3);
    let inks = picture(width, height, 4);
    let ids: [&[u8]; 6] =
        [b"\x01\x02\x03\x04", b"\0\x01\x02\x03", b"RGB4", b"CMYK", b"\x22\x23\x24\x25", b"rgbk"];
    for sampling in [vec![(1, 1); 3], vec![(2, 2), (1, 1), (1, 1)]] {
        let encoder = Encoder::new(&colours, width, height, PixelFormat::Rgb)
            .sampling_factors(sampling.clone());
        let three = encoder.quality(85).encode().unwrap();
        let encoder = Encoder::new(&inks, width, height, PixelFormat::Cmyk);
        let four = [sampling.clone(), vec![sampling[0]]].concat();
        let four = encoder.sampling_factors(four).quality(85).encode().unwrap();
        for jfif in [false, true] {
            for adobe in [None, Some(0), Some(1), Some(2), Some(3)] {
                for (place, ids) in ids.iter().enumerate() {
                    let label = format!("{:?} {jfif} {adobe:?} {place}.jpg", sampling[0]);
                    files.add(&format!("three {label}"), &marked(&three, jfif, adobe, ids));
                    files.add(&format!("four {label}"), &marked(&four, jfif, adobe, ids));
                }
            }
        }
    }
    assert!(files.hold(|_, _| false) >= 200);
}

#[test]
fn jpegs_in_rgb_ink_and_grey() {
    let files = Files::new();
    for (width, height) in [(41, 30), (1, 1), (17, 64)] {
        for (name, mode) in MODES {
            let add = |kind: &str, format, channels, space: Option<ColorSpace>| {
                let levels = picture(width, height, channels);
                let mut encoder = Encoder::new(&levels, width, height, format).quality(85);
                if let Some(space) = space {
                    encoder = encoder.colorspace(space);
                }
                let Ok(file) = mode(encoder).encode() else { return };
                files.add(&format!("{kind} {width}x{height} {name}.jpg"), &file);
            };
            add("grey", PixelFormat::Grayscale, 1, None);
            add("rgb", PixelFormat::Rgb, 3, Some(ColorSpace::Rgb));
            add("cmyk", PixelFormat::Cmyk, 4, Some(ColorSpace::Cmyk));
            add("ycck", PixelFormat::Cmyk, 4, Some(ColorSpace::Ycck));
            for space in [ColorSpace::Cmyk, ColorSpace::Ycck] {
                for first in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4)] {
                    for second in [(1, 1), (2, 1), (1, 2)] {
                        let levels = picture(width, height, 4);
                        let encoder = Encoder::new(&levels, width, height, PixelFormat::Cmyk)
                            .quality(85)
                            .colorspace(space)
                            .sampling_factors(vec![first, second, second, first]);
                        let Ok(file) = mode(encoder).encode() else { continue };
                        let label =
                            format!("{space:?} {first:?} {second:?} {width}x{height} {name}.jpg");
                        files.add(&label, &file);
                    }
                }
            }
        }
    }
    let equal = files.hold(|_, _| false);
    assert!(equal >= 300, "only {equal}");
}

#[test]
fn jpegs_that_end_otherwise() {
    let files = Files::new();
    for name in [
        "baseline_420.jpg",
        "grey.jpg",
        "restarts.jpg",
        "cmyk_adobe.jpg",
        "progressive_444.jpg",
        "thumbnail.jpg",
    ] {
        let file = images::read(name);
        let end = file.windows(2).rposition(|two| two == b"\xff\xd9").unwrap();
        for zeros in [8, 64, 4096] {
            files.add(&format!("{zeros} zeros {name}"), &[&file[..end], &vec![0; zeros]].concat());
        }
        files.add(&format!("no end {name}"), &file[..end]);
        files.add(&format!("half an end {name}"), &file[..end + 1]);
        files.add(&format!("fill bytes {name}"), &[&file[..end], b"\xff\xff\xff\xff\xd9"].concat());
        files.add(&format!("more behind {name}"), &[&file[..], &[0xff; 100], &file].concat());
        files.add(
            &format!("fill bytes before {name}"),
            &[&file[..2], b"\xff\xff\xff", &file[2..]].concat(),
        );
    }
    assert!(files.hold(|_, _| false) >= 30);
}

// ---- Orientation -----------------------------------------------------------------------------

/// The types of a TIFF's numbers that there are, and some that there are not.
const TYPES: std::ops::RangeInclusive<u16> = 0..=18;

/// Exif data with one entry, of a type.
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

fn with_segment(jpeg: &[u8], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, body, &jpeg[2..]].concat()
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [&name[..], body].concat();
    let checksum = support::crc32(named.iter().copied()).to_be_bytes();
    [&(body.len() as u32).to_be_bytes()[..], &named, &checksum].concat()
}

fn with_chunk(png: &[u8], name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&png[..33], &chunk(name, body), &png[33..]].concat()
}

/// An extended WebP with Exif data, of a simple one.
fn with_exif(webp: &[u8], exif: &[u8]) -> Vec<u8> {
    let part = |name: &[u8; 4], body: &[u8]| {
        let padding = &[0][..body.len() % 2];
        [&name[..], &(body.len() as u32).to_le_bytes(), body, padding].concat()
    };
    let image = support::pillow::size_of(webp);
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
    // Pillow refuses some pictures for their Exif data, which costs no more than the orientation here.
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
    let end = png.len() - 12;
    files.add(
        "profile at the end.png",
        &[&png[..end], &chunk(b"tEXt", &profile(6)), &png[end..]].concat(),
    );
    let equal = files.hold(|_, comparison| matches!(comparison, Comparison::Read(_)));
    assert!(equal >= 12, "only {equal}");
}

// ---- PNG, BMP and TIFF -----------------------------------------------------------------------

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

/// A bitmap with its file header: fields of the header, then what stands behind them.
fn bmp(header: &[u8], palette: &[u8], gap: usize, rows: &[u8]) -> Vec<u8> {
    let offset = 14 + header.len() + palette.len() + gap;
    let size = (offset + rows.len()) as u32;
    let head = [b"BM", &size.to_le_bytes()[..], &[0; 4], &(offset as u32).to_le_bytes()].concat();
    [&head[..], header, palette, &vec![0; gap], rows].concat()
}

fn bmp_header(
    size: u32,
    width: i32,
    height: i32,
    bits: u16,
    compression: u32,
    colours: u32,
    masks: &[u32],
) -> Vec<u8> {
    let mut header = size.to_le_bytes().to_vec();
    header.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    header.extend([1_u16.to_le_bytes(), bits.to_le_bytes()].concat());
    header.extend([compression, 0, 2835, 2835, colours, 0].map(u32::to_le_bytes).concat());
    header.extend(masks.iter().flat_map(|mask| mask.to_le_bytes()));
    header.resize(header.len().max(size as usize), 0);
    header
}

#[test]
fn bmps_of_every_depth_palette_and_mask() {
    let files = Files::new();
    let (width, height) = (13_i32, 9_i32);
    let noise = picture(64, 9, 1);
    let rows = |bits: usize| {
        let stride = (width as usize * bits).div_ceil(32) * 4;
        noise.iter().cycle().take(stride * height as usize).copied().collect::<Vec<u8>>()
    };
    for bits in [1_u16, 4, 8] {
        for colours in [0, 2, 5, 1 << bits] {
            let count = if colours == 0 { 1 << bits } else { colours as usize };
            if count > 1 << bits {
                continue;
            }
            let palette: Vec<u8> =
                (0..count).flat_map(|index| [index as u8 * 7, 255 - index as u8, 90, 0]).collect();
            for gap in [0, 6, 1000] {
                for height in [height, -height] {
                    let header = bmp_header(40, width, height, bits, 0, colours, &[]);
                    let label = format!("{bits} bits {colours} colours {gap} {height}.bmp");
                    files.add(&label, &bmp(&header, &palette, gap, &rows(bits.into())));
                }
            }
        }
    }
    let greys: Vec<u8> = (0..=255).flat_map(|level| [level, level, level, 0]).collect();
    files.add("greys.bmp", &bmp(&bmp_header(40, width, height, 8, 0, 0, &[]), &greys, 0, &rows(8)));
    let layouts: [(u16, [u32; 4]); 11] = [
        (32, [0xff_0000, 0xff00, 0xff, 0]),
        (32, [0xff00_0000, 0xff_0000, 0xff00, 0]),
        (32, [0xff00_0000, 0xff00, 0xff, 0]),
        (32, [0xff00_0000, 0xff_0000, 0xff00, 0xff]),
        (32, [0xff, 0xff00, 0xff_0000, 0xff00_0000]),
        (32, [0xff_0000, 0xff00, 0xff, 0xff00_0000]),
        (32, [0xff00_0000, 0xff00, 0xff, 0xff_0000]),
        (32, [0, 0, 0, 0]),
        (24, [0xff_0000, 0xff00, 0xff, 0]),
        (16, [0xf800, 0x7e0, 0x1f, 0]),
        (16, [0x7c00, 0x3e0, 0x1f, 0]),
    ];
    for (bits, masks) in layouts {
        for size in [40, 52, 56, 108, 124] {
            let masks = if size == 40 || size == 52 { &masks[..3] } else { &masks[..] };
            let header = bmp_header(size, width, height, bits, 3, 0, masks);
            let label = format!("masks {bits} {masks:x?} {size}.bmp");
            files.add(&label, &bmp(&header, &[], 0, &rows(bits.into())));
        }
    }
    for bits in [16, 24, 32] {
        let header = bmp_header(40, width, height, bits, 0, 0, &[]);
        files.add(&format!("plain {bits}.bmp"), &bmp(&header, &[], 0, &rows(bits.into())));
        files.add(&format!("bare {bits}.dib"), &[header, rows(bits.into())].concat());
        let mut cut =
            bmp(&bmp_header(40, width, height, bits, 0, 0, &[]), &[], 0, &rows(bits.into()));
        for less in 1..6 {
            cut.pop();
            files.add(&format!("{less} bytes less {bits}.bmp"), &cut);
        }
    }
    let core =
        [12_u32.to_le_bytes().to_vec(), [13_u16, 9, 1, 8].map(u16::to_le_bytes).concat()].concat();
    let palette: Vec<u8> =
        (0..=255).flat_map(|index: u8| [index, 255 - index, index / 2]).collect();
    files.add("core.bmp", &bmp(&core, &palette, 0, &rows(8)));
    // Masks in an order that Pillow does not know are read here.
    let equal = files.hold(|name, comparison| {
        name.starts_with("masks") && matches!(comparison, Comparison::Read(_))
    });
    assert!(equal >= 100, "only {equal}");
}

#[test]
fn bmps_of_runs_that_do_not_end_where_rows_do() {
    let files = Files::new();
    let (width, height) = (11, 7);
    let mut state = 7_u32;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for round in 0..300 {
        let rle4 = round % 2 == 0;
        let mut runs = Vec::new();
        for _ in 0..3 + next(20) {
            match next(8) {
                0..=2 => runs.extend([1 + next(15) as u8, next(256) as u8]),
                3 | 4 => {
                    let count = 3 + next(9) as usize;
                    let bytes = if rle4 { count.div_ceil(2) } else { count };
                    runs.extend([0, count as u8]);
                    runs.extend((0..bytes.next_multiple_of(2)).map(|_| next(256) as u8));
                }
                5 => runs.extend([0, 2, next(6) as u8, next(3) as u8]),
                _ => runs.extend([0, 0]),
            }
        }
        // To the last pixel, or the end before it.
        if round % 3 != 0 {
            runs.extend([0, 2, 0, height as u8, 200, 0]);
        }
        runs.extend([0, 1]);
        let bits = if rle4 { 4 } else { 8 };
        let palette: Vec<u8> = (0..1_u32 << bits)
            .flat_map(|index| [index as u8 * 3, 255 - index as u8, 40, 0])
            .collect();
        let height = if round % 5 == 0 { -height } else { height };
        let header = bmp_header(40, width, height, bits, if rle4 { 2 } else { 1 }, 0, &[]);
        files.add(&format!("{round}.bmp"), &bmp(&header, &palette, 0, &runs));
    }
    // Pillow asks for every pixel; those that no run has reached are index 0 here.
    let equal = files.hold(|_, comparison| matches!(comparison, Comparison::Read(reason) if reason.contains("not enough")));
    assert!(equal >= 100, "only {equal}");
}

/// A TIFF of strips or tiles that stand behind its directory.
fn tiff(big_endian: bool, tags: &[(u16, Vec<u32>)], chunks: &[Vec<u8>], is_tiled: bool) -> Vec<u8> {
    let short = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut tags = tags.to_vec();
    let entries = tags.len() + 2;
    let values: usize =
        tags.iter().map(|(_, values)| 4 * values.len()).sum::<usize>() + 8 * chunks.len();
    let mut offset = (8 + 2 + 12 * entries + 4 + values) as u32;
    let counts: Vec<u32> = chunks.iter().map(|chunk| chunk.len() as u32).collect();
    let mut offsets = Vec::new();
    for count in &counts {
        offsets.push(offset);
        offset += count;
    }
    let (of_offsets, of_counts) = if is_tiled { (324, 325) } else { (273, 279) };
    tags.extend([(of_offsets, offsets), (of_counts, counts)]);
    tags.sort();
    let mut file = if big_endian { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
    file.extend([&long(8)[..], &short(tags.len() as u16)].concat());
    let mut behind = Vec::new();
    let start = 8 + 2 + 12 * entries + 4;
    for (tag, values) in &tags {
        // Every number is a LONG.
        file.extend([&short(*tag)[..], &short(4), &long(values.len() as u32)].concat());
        if let [value] = values[..] {
            file.extend(long(value));
        } else {
            file.extend(long((start + behind.len()) as u32));
            behind.extend(values.iter().flat_map(|value| long(*value)));
        }
    }
    file.extend(long(0));
    file.extend(behind);
    let data = (8 + 2 + 12 * entries + 4 + values) as u32;
    file.resize(data as usize, 0);
    chunks.iter().for_each(|chunk| file.extend(chunk));
    file
}

fn lzw(data: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(data).unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn pack_bits(data: &[u8]) -> Vec<u8> {
    data.chunks(100).flat_map(|part| [&[part.len() as u8 - 1][..], part].concat()).collect()
}

type Compress = (u32, fn(&[u8]) -> Vec<u8>);
const COMPRESSIONS: [Compress; 4] =
    [(1, <[u8]>::to_vec), (5, lzw), (8, deflate), (32773, pack_bits)];

/// Of an image that Pillow takes for another, the file that it reads the same image from.
fn misread(name: &str) -> Option<String> {
    // libtiff gives numbers in the processor's byte order, which Pillow reads in the file's.
    let numbers = ["1x16 extra [] format 2", "1x32 extra [] format 2", "1x32 extra [] format 3"];
    if name.starts_with("MM") && numbers.iter().any(|numbers| name.contains(numbers)) {
        return Some(name.replacen("MM", "II", 1));
    }
    // What is not compressed it reads as bytes, where each sample has a plane of its own.
    if name.contains("x16 ") && name.contains("planar true") {
        return Some(name.replace("compression 1 ", "compression 5 "));
    }
    // What the fourth sample is, is not told: Pillow takes it for alpha, and where it has a plane of its own, libtiff for
    // another kind of it.
    name.contains("photometric 2 4x8 extra [] format 1")
        .then(|| name.replace("extra []", "extra [2]"))
}

#[test]
fn tiffs_of_every_kind_of_pixel_and_layout() {
    /// Photometric interpretation, bits, samples, extra samples, sample format.
    type Kind = (u32, u32, u32, &'static [u32], u32);
    let kinds: [Kind; 36] = [
        (0, 1, 1, &[], 1),
        (1, 1, 1, &[], 1),
        (0, 2, 1, &[], 1),
        (1, 2, 1, &[], 1),
        (0, 4, 1, &[], 1),
        (1, 4, 1, &[], 1),
        (0, 8, 1, &[], 1),
        (1, 8, 1, &[], 1),
        (1, 8, 1, &[], 2),
        (1, 12, 1, &[], 1),
        (0, 16, 1, &[], 1),
        (1, 16, 1, &[], 1),
        (1, 16, 1, &[], 2),
        (1, 32, 1, &[], 1),
        (1, 32, 1, &[], 2),
        (0, 32, 1, &[], 3),
        (1, 32, 1, &[], 3),
        (1, 8, 2, &[0], 1),
        (1, 8, 2, &[1], 1),
        (1, 8, 2, &[2], 1),
        (2, 8, 3, &[], 1),
        (2, 8, 4, &[], 1),
        (2, 8, 4, &[0], 1),
        (2, 8, 4, &[1], 1),
        (2, 8, 4, &[2], 1),
        (2, 8, 5, &[2, 0], 1),
        (2, 8, 5, &[0, 0], 1),
        (2, 16, 3, &[], 1),
        (2, 16, 4, &[1], 1),
        (2, 16, 4, &[2], 1),
        (3, 4, 1, &[], 1),
        (3, 8, 1, &[], 1),
        (3, 8, 2, &[2], 1),
        (5, 8, 4, &[], 1),
        (5, 8, 5, &[0], 1),
        (5, 16, 4, &[], 1),
    ]; // fmt: skip
    let files = Files::new();
    let (width, height) = (37_u32, 21_u32);
    let noise = picture(997, 3, 1);
    for (photometric, bits, samples, extra, format) in kinds {
        for big_endian in [false, true] {
            for (compression, compress) in COMPRESSIONS {
                for (tiled, planar, reversed, predictor) in [
                    (false, false, false, 1),
                    (true, false, false, 1),
                    (false, true, false, 1),
                    (true, true, false, 1),
                    (false, false, true, 1),
                    (false, false, false, 2),
                    (true, true, false, 2),
                ] {
                    if predictor == 2 && (!matches!(compression, 5 | 8) || !matches!(bits, 8 | 16))
                        || planar && (samples == 1 || bits < 8)
                    {
                        continue;
                    }
                    let in_chunk = if planar { 1 } else { samples };
                    let (chunk_width, chunk_height) = if tiled { (16, 16) } else { (width, 6) };
                    let (across, down) =
                        (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
                    let planes = if planar { samples } else { 1 };
                    let chunks: Vec<Vec<u8>> = (0..across * down * planes)
                        .map(|index| {
                            let last = height - (index / across % down) * chunk_height;
                            let rows = if tiled { chunk_height } else { chunk_height.min(last) };
                            let bytes = (chunk_width * bits * in_chunk).div_ceil(8) * rows;
                            let skip = index as usize * 131 % noise.len();
                            let data: Vec<u8> = noise
                                .iter()
                                .cycle()
                                .skip(skip)
                                .take(bytes as usize)
                                .copied()
                                .collect();
                            // The same image in both byte orders.
                            let mut data = data;
                            if big_endian && bits > 12 {
                                let size = bits as usize / 8;
                                data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
                            }
                            let data = compress(&data);
                            if reversed {
                                data.iter().map(|byte| byte.reverse_bits()).collect()
                            } else {
                                data
                            }
                        })
                        .collect();
                    let mut tags = vec![
                        (256, vec![width]),
                        (257, vec![height]),
                        (258, vec![bits; samples as usize]),
                        (259, vec![compression]),
                        (262, vec![photometric]),
                        (277, vec![samples]),
                        (284, vec![if planar { 2 } else { 1 }]),
                        (339, vec![format; samples as usize]),
                    ];
                    if tiled {
                        tags.extend([(322, vec![chunk_width]), (323, vec![chunk_height])]);
                    } else {
                        tags.push((278, vec![chunk_height]));
                    }
                    if !extra.is_empty() {
                        tags.push((338, extra.to_vec()));
                    }
                    if reversed {
                        tags.push((266, vec![2]));
                    }
                    if predictor != 1 {
                        tags.push((317, vec![predictor]));
                    }
                    if photometric == 3 {
                        let levels = (0..3 << bits).map(|level: u32| level * 7919 % 65_536);
                        tags.push((320, levels.collect()));
                    }
                    let order = if big_endian { "MM" } else { "II" };
                    let label = format!(
                        "{order} photometric {photometric} {samples}x{bits} extra {extra:?} format {format} compression {compression} tiled {tiled} planar {planar} reversed {reversed} predictor {predictor}.tif"
                    );
                    files.add(&label, &tiff(big_endian, &tags, &chunks, tiled));
                }
            }
        }
    }
    let pixels = |name: &str| decode(&std::fs::read(files.path().join(name)).unwrap()).unwrap();
    let equal = files.hold(|name, comparison| match comparison {
        Comparison::Read(_) => true,
        Comparison::Wrong(_) => misread(name).is_some_and(|other| pixels(name) == pixels(&other)),
        _ => false,
    });
    assert!(equal >= 500, "only {equal}");
    record(
        "inputs",
        "TIFFs of every kind of pixel, layout and compression",
        &equal.to_string(),
        "equal to Pillow's pixels",
    );
}
