//! JPEGs with every sampling, coding, order of scans and kind of marker.

use libjpeg_turbo_rs::{ColorSpace, Encoder, PixelFormat};

use super::{Files, picture};
use crate::support::images;
use crate::support::reliability::record;

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
                    // The encoder refuses combinations that no file can have.
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

/// The data of all segments with this marker, for the tables and the scan of a grey JPEG.
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

/// The bytes between the scan's header and the end of the image.
fn coded(file: &[u8]) -> &[u8] {
    let scan = file.windows(2).position(|two| two == b"\xff\xda").unwrap();
    &file[scan + 10..file.len() - 2]
}

/// A sequential JPEG with one scan per component, made of grey JPEGs.
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

/// The same file with other markers before its tables and other component names.
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
fn jpegs_whose_components_share_names() {
    let files = Files::new();
    let (width, height) = (41, 30);
    let colours = picture(width, height, 3);
    let inks = picture(width, height, 4);
    for sampling in [vec![(1, 1); 3], vec![(2, 2), (1, 1), (1, 1)], vec![(2, 1), (1, 1), (1, 1)]] {
        for (coding, mode) in MODES.into_iter().filter(|(name, _)| !name.contains("progressive")) {
            let encoder = Encoder::new(&colours, width, height, PixelFormat::Rgb)
                .sampling_factors(sampling.clone());
            let Ok(three) = mode(encoder.quality(85)).encode() else { continue };
            let encoder = Encoder::new(&inks, width, height, PixelFormat::Cmyk);
            let four = [sampling.clone(), vec![sampling[0]]].concat();
            let four = mode(encoder.sampling_factors(four).quality(85)).encode();
            for ids in [
                b"\x01\x01\x01\x01",
                b"\x01\x01\x02\x02",
                b"\x01\x02\x01\x02",
                b"\x01\x02\x02\x01",
                b"YCCK",
            ] {
                for jfif in [false, true] {
                    let label = format!("{:?} {coding} {ids:?} {jfif}.jpg", sampling[0]);
                    files.add(&format!("three {label}"), &marked(&three, jfif, None, ids));
                    let Ok(four) = &four else { continue };
                    files.add(&format!("four {label}"), &marked(four, false, None, ids));
                }
            }
        }
    }
    assert!(files.hold(|_, _| false) >= 100);
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
