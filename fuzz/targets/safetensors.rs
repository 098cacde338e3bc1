//! A checkpoint of any bytes and its description, converted, and what it becomes, loaded. The input is a JSON text
//! for every file beside the weights, an empty line, and the weights.
#![no_main]

use clip_wasm::config::Activation;
use clip_wasm::convert::{Companions, Converter, FILE_TYPES};
use clip_wasm::format::safetensors::Header;
use clip_wasm::{Error, Result};
use clip_wasm_fuzz::{Random, accept, limits, load, outcome, pieces, small};
use libfuzzer_sys::fuzz_target;

/// What a conversion may come to, in bytes.
const MOST_BYTES: usize = 64 << 20;

fuzz_target!(|input: &[u8]| {
    let random = &mut Random::of_end(input);
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(0);
    let description = String::from_utf8_lossy(&input[..end]).into_owned();
    let weights = &input[(end + 2).min(input.len())..];
    if let Ok(Some(header)) = Header::parse(weights, &limits()) {
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
            assert!(whole == parts, "a checkpoint converts alike in pieces of any size");
            let text = outcome(load([&whole[..]]), "ab b");
            // What is converted loads; only its values may still be none.
            assert!(
                matches!(text, [Ok(_) | Err("malformed_model"), Ok(_) | Err("malformed_model")]),
                "{text:?}"
            );
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
});

/// Tensors that a header names lie within the file and do not overlap.
fn check(header: &Header) {
    for name in ["a", "b", "logit_scale", "text_projection.weight", "visual.proj"] {
        if let Some(tensor) = header.get(name) {
            let bytes = &tensor.bytes;
            assert!(header.data_start() <= bytes.start && bytes.start <= bytes.end);
            assert!(bytes.end <= header.file_size(), "{name}: {bytes:?}");
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
            return Err(Error::empty_input("more than is tried here"));
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
