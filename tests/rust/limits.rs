//! Every limit: one more than it allows is refused; if the limit is raised by one, the same input is
//! accepted. Files that claim to be huge are refused before memory is allocated.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../support/mod.rs"]
mod support;

use std::fs;

use clip_wasm::convert::{Companions, Converter, FileType, convert};
use clip_wasm::decode::{DecodeOptions, decode, decode_within};
use clip_wasm::format::gguf::{Header, Value};
use clip_wasm::{ClipEncoder, ErrorKind, Limit, Limits, ModelLoader, Result};
use support::allocator::{Budgeted, within};
use support::images::read;
use support::{crc32, data};

#[global_allocator]
static ALLOCATOR: Budgeted = Budgeted;

const MODEL: &str = "tiny-gelu.q8_0.gguf";
const TEXT: &str = "a photo of a cat";

type Attempt = dyn Fn(&Limits) -> Result<()>;

/// How much an input requests of a limit, and how it is processed.
struct Case {
    limit: Limit,
    asks: u64,
    with: Box<Attempt>,
}

fn case(limit: Limit, asks: u64, with: impl Fn(&Limits) -> Result<()> + 'static) -> Case {
    Case { limit, asks, with: Box::new(with) }
}

fn decoded(name: &'static str) -> impl Fn(&Limits) -> Result<()> {
    move |limits| decode_within(&read(name), DecodeOptions::default(), limits).map(drop)
}

fn loaded(limits: &Limits) -> Result<()> {
    ClipEncoder::open_within(data(MODEL), *limits).map(drop)
}

/// Converts the checkpoint that the model was made from.
fn converted(limits: &Limits) -> Result<()> {
    let text = |name: &str| fs::read_to_string(data("tiny-hf").join(name)).ok();
    let companions = Companions {
        config: text("config.json"),
        tokenizer: text("tokenizer.json"),
        ..Companions::default()
    };
    let file_type = FileType::named("q8_0").unwrap();
    let mut converter = Converter::new(companions, file_type, None).with_limits(*limits);
    for chunk in fs::read(data("tiny-hf").join("model.safetensors")).unwrap().chunks(1 << 16) {
        converter.push(chunk, &mut |_, _| Ok(()))?;
    }
    converter.end_file()
}

fn converted_in_parts(limits: &Limits) -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("model.gguf");
    let file_type = FileType::named("q8_0").unwrap();
    convert(&data("tiny-hf-sharded"), &to, file_type, None, limits, |_, _| ())
}

fn cases() -> Vec<Case> {
    let image = decode(&read("palette.gif")).unwrap();
    let pixels = u64::from(image.width()) * u64::from(image.height());
    let scans = read("progressive_420.jpg").windows(2).filter(|at| at == b"\xff\xda").count();

    let model = fs::read(data(MODEL)).unwrap();
    let limits = Limits::default();
    let whole = |end: &usize| Header::parse(&model[..*end], &limits).unwrap().is_some();
    // Finds the header's size: the smallest number of bytes that is enough.
    let (mut short, mut enough) = (0, 4 << 20);
    while enough - short > 1 {
        let middle = (short + enough) / 2;
        *(if whole(&middle) { &mut enough } else { &mut short }) = middle;
    }
    let header = Header::parse(&model, &limits).unwrap().unwrap();
    let values: usize = header.metadata.iter().map(|(_, value)| count(value)).sum();
    let Some(Value::Array(tokens)) = header.get("tokenizer.ggml.tokens") else {
        panic!("no tokens")
    };
    let longest = tokens.iter().map(|token| token.to_string().unwrap().len()).max().unwrap();
    let mut loader = ModelLoader::new();
    loader.push(&model[..enough]).unwrap();

    let safetensors = fs::read(data("tiny-hf").join("model.safetensors")).unwrap();
    let json = u64::from_le_bytes(safetensors[..8].try_into().unwrap());
    let names: serde_json::Value =
        serde_json::from_slice(&safetensors[8..8 + json as usize]).unwrap();
    let tensors = names.as_object().unwrap().keys().filter(|name| *name != "__metadata__").count();
    let tokenizer = fs::metadata(data("tiny-hf").join("tokenizer.json")).unwrap().len();
    let shards = fs::read_dir(data("tiny-hf-sharded")).unwrap();
    let shards = shards.filter(|file| {
        file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".safetensors")
    });

    vec![
        case(Limit::Pixels, pixels, decoded("palette.gif")),
        case(Limit::ImageBytes, read("palette.gif").len() as u64, decoded("palette.gif")),
        // The indices, and the pixels they become.
        case(Limit::DecodeBytes, 4 * pixels, decoded("palette.gif")),
        case(Limit::JpegScans, scans as u64, decoded("progressive_420.jpg")),
        case(Limit::TextBytes, TEXT.len() as u64, |limits| {
            ClipEncoder::open_within(data(MODEL), *limits)?.embed_text(TEXT, true).map(drop)
        }),
        case(Limit::TextBytes, TEXT.len() as u64, |limits| {
            ClipEncoder::open_within(data(MODEL), *limits)?.tokenize(TEXT).map(drop)
        }),
        case(Limit::HeaderBytes, enough as u64, loaded),
        case(Limit::HeaderBytes, 8 + json, converted),
        case(Limit::MetadataValues, values as u64, loaded),
        case(Limit::Tensors, header.tensors.len() as u64, loaded),
        case(Limit::Tensors, tensors as u64, converted),
        case(Limit::WeightBytes, loader.resident_size().unwrap(), loaded),
        // The sizes in tests/support/seeded.rs.
        case(Limit::Layers, 2, loaded),
        case(Limit::Layers, 2, converted),
        case(Limit::Width, 96, loaded),
        case(Limit::FeedForward, 160, loaded),
        case(Limit::Projection, 64, loaded),
        case(Limit::Vocabulary, 49_408, loaded),
        case(Limit::Vocabulary, 49_408, converted),
        case(Limit::TokenBytes, longest as u64, loaded),
        case(Limit::TokenBytes, longest as u64, converted),
        case(Limit::ContextTokens, 77, loaded),
        case(Limit::ImageSize, 64, loaded),
        case(Limit::Patches, 16, loaded),
        case(Limit::JsonBytes, tokenizer, converted),
        case(Limit::Files, shards.count() as u64, converted_in_parts),
    ]
}

/// Number of values in a value, including itself.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[test]
fn what_exceeds_a_limit_by_one_is_refused_and_where_it_is_raised_by_one_accepted() {
    let cases = cases();
    for Case { limit, asks, with } in &cases {
        let (name, asks) = (limit.name(), *asks);
        let mut limits = Limits::default().with(*limit, asks - 1);
        let error = with(&limits).expect_err(name);
        let kind = match limit {
            Limit::Pixels | Limit::ImageBytes | Limit::DecodeBytes => ErrorKind::ImageTooLarge,
            _ => ErrorKind::LimitExceeded,
        };
        assert_eq!((error.kind(), kind.status_code()), (kind, 413), "{name}: {error}");
        let message = error.to_string();
        for part in [format!("{asks} "), (asks - 1).to_string(), format!("the limit {name} ")] {
            assert!(message.contains(&part), "{message:?} does not say {part:?}");
        }
        limits.set(name, asks).unwrap();
        with(&limits).unwrap_or_else(|error| panic!("{name} is raised to {asks}: {error:?}"));
    }
    let missing: Vec<_> =
        Limit::all().filter(|limit| !cases.iter().any(|case| case.limit == *limit)).collect();
    assert_eq!(missing, [], "limits that no case is held to");
    let limits = Limit::all().count();
    support::reliability::record(
        "inputs",
        "limits",
        &format!("{limits} limits, each exceeded by one, then raised by one"),
        "refused with the limit's name and value, then accepted",
    );
}

/// Compares the table in the documentation with the code.
#[test]
fn the_table_of_the_documentation_is_that_of_the_code() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_end_matches('`').to_string();
        let most = cells.next()?.replace(',', "");
        Some((name, most.parse::<u64>().unwrap_or_else(|_| panic!("{line}"))))
    });
    let limits = Limits::default();
    let ours = Limit::all().map(|limit| (limit.name().to_string(), limits.get(limit)));
    assert_eq!(rows.collect::<Vec<_>>(), ours.collect::<Vec<_>>());
}

/// zlib data that inflates to `zeros` zeros, at a thousandth of their size: one zero, then copies of 258.
fn bomb(zeros: usize) -> Vec<u8> {
    let mut bits = vec![true, true, false];
    let literal_zero = 0b0011_0000;
    bits.extend((0..8).rev().map(|i| literal_zero >> i & 1 == 1));
    for _ in 0..zeros / 258 {
        // The length 258, at distance 1.
        let length = 0b1100_0101;
        bits.extend((0..8).rev().map(|i| length >> i & 1 == 1));
        bits.extend([false; 5]);
    }
    bits.extend([false; 7]);
    let bytes = bits
        .chunks(8)
        .map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    // The Adler checksum of zeros: a is 1, b is their number.
    let count = (zeros / 258 * 258 + 1) as u32;
    let checksum = (count % 65_521) << 16 | 1;
    [0x78, 0x01].into_iter().chain(bytes).chain(checksum.to_be_bytes()).collect()
}

/// A PNG with an extra chunk before its image.
fn png_with(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let png = read("rgb8.png");
    let mut file = png[..33].to_vec();
    file.extend((body.len() as u32).to_be_bytes());
    file.extend([&name[..], body].concat());
    file.extend(crc32(name.iter().chain(body).copied()).to_be_bytes());
    file.extend(&png[33..]);
    file
}

fn patched(name: &str, marker: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = read(name);
    let at = file.windows(marker.len()).position(|window| window == marker).expect(name) + offset;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// The most memory, beside the file itself, that a claim of a small image of about 100 pixels may cost, in
/// bytes.
const MOST_FOR_A_CLAIM: usize = 2 << 20;

#[test]
fn a_claim_costs_no_memory() {
    let huge = 60_000_u16;
    let (le, be) = (huge.to_le_bytes(), huge.to_be_bytes());
    let zeros = bomb(200_000_000);
    let mut lossy = patched("exif.webp", b"VP8 ", 14, &16_383_u16.to_le_bytes());
    let at = lossy.windows(4).position(|window| window == b"VP8 ").unwrap() + 16;
    lossy[at..at + 2].copy_from_slice(&16_383_u16.to_le_bytes());
    let entry = [0x11, 1, 4, 0]; // strip offsets, LONG
    let tiff = read("grey8.tiff");
    let tiff = match tiff.windows(4).position(|window| window == entry) {
        Some(at) => [&tiff[..at + 4], &10_000_000_u32.to_le_bytes(), &tiff[at + 8..]].concat(),
        None => patched("grey8.tiff", &[0x11, 1, 3, 0], 4, &10_000_000_u32.to_le_bytes()),
    };
    let profile = [b"a\0\0".as_slice(), &zeros].concat();
    let packet = [b"XML:com.adobe.xmp\0\x01\0\0\0".as_slice(), &zeros].concat();
    let mut tried = 0;
    for (label, file) in [
        ("a GIF's canvas", patched("palette.gif", b"GIF8", 6, &[le, le].concat())),
        ("a JPEG's frame", patched("progressive_420.jpg", b"\xff\xc2", 5, &[be, be].concat())),
        ("a WebP's frame, larger than its canvas", lossy),
        ("a TIFF's strips", tiff),
        ("a PNG's profile, of 200 MB", png_with(b"iCCP", &profile)),
        ("a PNG's XMP packet, of 200 MB", png_with(b"iTXt", &packet)),
    ] {
        let (result, peak) = within(usize::MAX, || decode(&file));
        let message = format!("{label}: {peak} bytes for {}, {:?}", file.len(), result.map(drop));
        println!("{message}");
        assert!(peak <= 6 * file.len() + MOST_FOR_A_CLAIM, "{message}");
        tried += 1;
    }

    let string = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    let gguf = |tensors: u64, entries: u64| {
        let counts = [tensors.to_le_bytes(), entries.to_le_bytes()].concat();
        [b"GGUF\x03\0\0\0".as_slice(), &counts].concat()
    };
    let mut bytes_in_an_array = gguf(0, 1);
    string(&mut bytes_in_an_array, "a");
    bytes_in_an_array.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    bytes_in_an_array.extend(16_000_000_u64.to_le_bytes());
    bytes_in_an_array.resize(16_000_000, 0);
    for (label, file) in [
        ("16 million numbers in an array", bytes_in_an_array),
        ("4 billion tensors", gguf(1 << 32, 0)),
        ("4 billion entries", gguf(0, 1 << 32)),
    ] {
        let mut loader = ModelLoader::new();
        let (result, peak) = within(usize::MAX, || loader.push(&file));
        let error = result.expect_err(label);
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{label}: {error}");
        let most = file.len() + 4 * MOST_FOR_A_CLAIM;
        assert!(peak <= most, "{label}: {peak} bytes for {}", file.len());
        tried += 1;
    }
    let safetensors = [&90_000_000_u64.to_le_bytes()[..], br#"{"a":{"dtype":"#].concat();
    let file_type = FileType::named("q8_0").unwrap();
    let mut converter = Converter::new(Companions::default(), file_type, None);
    let error = converter.push(&safetensors, &mut |_, _| Ok(())).expect_err("90 MB of header");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    support::reliability::record(
        "inputs",
        "small files that claim to be huge",
        &format!("{} files", tried + 1),
        "none takes more than six times its size plus 8 MB",
    );
}
