//! Converts a checkpoint of arbitrary bytes, of safetensors or of torch, with its configuration, and loads
//! the result. The input is one JSON text that serves as every file beside the weights, an empty line, and
//! the weights.

use super::{Random, accept, limits, load, outcome, pieces, small};
use clip_wasm::convert::{Companions, Converter, FILE_TYPES};
use clip_wasm::format::weights::{Header, Reader};
use clip_wasm::model::config::Activation;
use clip_wasm::{Error, ErrorKind, Result};

/// Maximum size of a conversion's result, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// Tries one input.
pub fn run(input: &[u8]) {
    let random = &mut Random::of_end(input);
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(0);
    let description = String::from_utf8_lossy(&input[..end]).into_owned();
    let weights = &with_checksum(&input[(end + 2).min(input.len())..])[..];
    if let Ok(Some(header)) = Reader::new(&limits()).read(weights) {
        check(&header);
    }
    let how = random.next();
    let has = |bit: u64| how >> bit & 1 == 1;
    let file = Some(description);
    let companions = Companions {
        name: "fuzzed".into(),
        config: file.clone(),
        open_clip_config: file.clone(),
        processor_config: file.clone().filter(|_| has(6) && has(7)),
        model_card: None,
        preprocessor_config: file.clone().filter(|_| has(0)),
        tokenizer: if has(1) && has(2) { file.clone() } else { Some(vocabulary()) },
        index: file.filter(|_| has(3) && has(4)),
    };
    let file_type = FILE_TYPES[(how >> 8) as usize % FILE_TYPES.len()];
    let activation = has(5).then_some(Activation::Gelu);
    let converter =
        |companions| Converter::new(companions, file_type, activation).with_limits(limits());
    let whole = convert(converter(companions.clone()), [weights]);
    let parts = pieces(weights, random);
    let parts = convert(converter(companions), parts);
    match (whole, parts) {
        (Ok(whole), Ok(parts)) => {
            assert!(whole == parts, "a checkpoint converts the same in pieces of any size");
            let vectors = outcome(load([&whole[..]]), "ab b");
            // A converted file loads. Only its values may be invalid, and it may have only one tower.
            let works =
                |it: &std::result::Result<_, _>| matches!(it, Ok(_) | Err("malformed_model"));
            let is_absent = |it: &std::result::Result<_, _>| matches!(it, Err("missing_tower"));
            assert!(vectors.iter().any(works), "{vectors:?}");
            assert!(vectors.iter().all(|it| works(it) || is_absent(it)), "{vectors:?}");
            if let Err(error) = load([&whole[..]]) {
                panic!("{error}");
            }
        }
        (Err(whole), Err(parts)) => {
            accept(&whole);
            accept(&parts);
        }
        (Err(error), Ok(_)) => panic!("only the whole is refused: {error}"),
        (Ok(_), Err(error)) => panic!("only the pieces are refused: {error}"),
    }
}

/// The same file, with the checksum and the size after a pickle corrected. Random changes never get them
/// right, and nothing after the pickle would be tested.
fn with_checksum(weights: &[u8]) -> Vec<u8> {
    let mut weights = weights.to_vec();
    if !weights.starts_with(b"PK\x03\x04") || weights.len() < 30 {
        return weights;
    }
    let length = |at: usize| usize::from(u16::from_le_bytes([weights[at], weights[at + 1]]));
    let start = 30 + length(26) + length(28);
    let rest = weights.get(start..).unwrap_or_default();
    let Some(size) = rest.windows(4).position(|four| four == b"PK\x07\x08") else {
        return weights;
    };
    let checksum = !rest[..size].iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    let sizes = [size as u32; 2].map(u32::to_le_bytes).concat();
    let right = [&checksum.to_le_bytes()[..], &sizes].concat();
    if let Some(place) = weights.get_mut(start + size + 4..start + size + 16) {
        place.copy_from_slice(&right);
    }
    weights
}

/// Checks that tensors lie between the header and the end of the last tensor.
fn check(header: &Header) {
    for name in ["a", "b", "logit_scale", "text_projection.weight", "visual.proj"] {
        if let Some(tensor) = header.get(name) {
            let bytes = &tensor.bytes;
            assert!(header.data_start() <= bytes.start && bytes.start <= bytes.end);
            assert!(bytes.end <= header.data_end(), "{name}: {bytes:?}");
        }
    }
}

fn vocabulary() -> String {
    let tokens = small::TOKENS.iter().zip(0..).map(|(token, id)| ((*token).into(), id.into()));
    serde_json::Value::Object(tokens.collect()).to_string()
}

fn convert<'a>(
    mut converter: Converter,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut sink = |offset: u64, bytes: &[u8]| -> Result<()> {
        let end = offset as usize + bytes.len();
        if end > MOST_BYTES {
            return Err(Error::new(ErrorKind::LimitExceeded, "more than is tried here"));
        }
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    };
    for piece in pieces {
        converter.push(piece, &mut sink)?;
    }
    converter.end_file()?;
    let size = converter.file_size();
    converter.finish()?;
    assert_eq!(Some(file.len() as u64), size, "it says how large it becomes");
    Ok(file)
}
