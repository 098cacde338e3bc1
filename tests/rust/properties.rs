//! Properties of files and images with arbitrary numbers: hundreds of random cases, natively and where
//! `usize` has 32 bits.

#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;

use candle_core::quantized::GgmlDType;
use clip_wasm::decode::RgbImage;
use clip_wasm::format::gguf::{Header, TensorInfo, Value, byte_size, header_bytes};
use clip_wasm::format::safetensors;
use clip_wasm::model::clip::checkpoint;
use clip_wasm::model::config::ModelConfig;
use clip_wasm::model::metadata::from_gguf;
use clip_wasm::model::tensors::tensors;
use clip_wasm::preprocess::Preprocess;
use clip_wasm::{ClipEncoder, ErrorKind, Limits, ModelLoader, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use support::headers::{number, raw_header, tensor, value};
use support::small::Model;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Number of inputs per property.
const CASES: u32 = 400;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

/// Records what was shown about all inputs of a property.
#[cfg(not(target_arch = "wasm32"))]
fn note(cases: u32, what: &str, outcome: &str) {
    support::reliability::record("inputs", what, &format!("{cases} at random"), outcome);
}
#[cfg(target_arch = "wasm32")]
fn note(_: u32, _: &str, _: &str) {}

/// Checks that the tensors are in order, aligned, and do not overlap.
fn assert_apart(tensors: &[TensorInfo], header: u64) {
    let mut end = header;
    for tensor in tensors {
        assert!(
            tensor.offset >= end,
            "{} begins at {} within what ends at {end}",
            tensor.name,
            tensor.offset
        );
        assert!(tensor.offset.is_multiple_of(32), "{} begins at {}", tensor.name, tensor.offset);
        end = tensor.offset.checked_add(tensor.size).expect("it has an end");
    }
}

#[test]
fn a_header_that_is_written_is_read_again() {
    let lists = (vec(("[a-z.]{1,20}", value()), 0..8), vec(tensor(), 0..6));
    proptest!(config(), |((metadata, mut tensors) in lists)| {
        let metadata: Vec<_> = metadata.into_iter().filter(|(key, _)| key != "general.alignment").collect();
        for (place, tensor) in tensors.iter_mut().enumerate() {
            tensor.name = format!("tensor {place}");
        }
        let bytes = header_bytes(&metadata, &mut tensors);
        for end in 0..bytes.len() - 32 {
            prop_assert!(Header::parse(&bytes[..end], &Limits::default())?.is_none_or(|header| header.tensors == tensors), "{end} bytes");
        }
        let header = Header::parse(&bytes, &Limits::default())?.expect("it is whole");
        prop_assert_eq!(format!("{:?}", header.metadata), format!("{metadata:?}"));
        assert_apart(&header.tensors, bytes.len() as u64);
        prop_assert_eq!(header.tensors, tensors);
    });
    note(
        CASES,
        "GGUF headers, written and read",
        "each is read as it was written, from exactly its own bytes",
    );
}

#[test]
fn tensors_lie_apart_wherever_a_header_puts_them() {
    let codes = proptest::sample::select(vec![0_u32, 1, 2, 8, 14, 30, 99]);
    let offset = prop_oneof![2 => (0..40_u64).prop_map(|n| n * 32), 1 => number()];
    let tensor = ([number(), number()], offset, codes);
    let parsed = Cell::new(0);
    proptest!(config(), |(tensors in vec(tensor, 1..4))| {
        let bytes = raw_header(&tensors);
        match Header::parse(&bytes, &Limits::default()) {
            Ok(Some(header)) => {
                parsed.set(parsed.get() + 1);
                assert_apart(&header.tensors, bytes.len() as u64);
                prop_assert!(header.file_size() >= bytes.len() as u64);
            }
            Ok(None) => prop_assert!(false, "it is whole"),
            Err(error) => prop_assert!(
                matches!(error.kind(), ErrorKind::MalformedModel | ErrorKind::UnsupportedModel), "{}", error
            ),
        }
    });
    assert!(parsed.get() > CASES / 50, "only {parsed:?} were right");
    note(
        CASES,
        "GGUF headers with tensors of any size and place",
        "each refused, or its tensors overlap neither the header nor each other",
    );
}

fn load<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<ClipEncoder> {
    let mut loader = ModelLoader::new();
    for piece in pieces {
        loader.push(piece)?;
    }
    loader.finish()
}

#[test]
fn a_model_is_the_same_in_pieces_of_any_sizes() {
    let image = RgbImage::new(3, 2, (0..18).map(|level| level * 14).collect()).unwrap();
    let vectors = |encoder: &ClipEncoder| {
        [encoder.embed_text("ab b", true), encoder.embed_pixels(&image, true)].map(Result::unwrap)
    };
    for dtype in [GgmlDType::F32, GgmlDType::Q4_0] {
        let file = Model::new().stored_as(dtype).bytes();
        let want = vectors(&load([&file[..]]).unwrap());
        let size = prop_oneof![1..40_usize, 1..5000_usize, Just(1088_usize)];
        let config = ProptestConfig { cases: CASES / 4, ..config() };
        proptest!(config, |(sizes in vec(size, 1..30))| {
            let mut rest = &file[..];
            let pieces = sizes.iter().cycle().map_while(|size| {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                rest = after;
                (!piece.is_empty()).then_some(piece)
            });
            prop_assert_eq!(&vectors(&load(pieces)?), &want);
        });
    }
    note(CASES / 4, "a model file split into pieces", "the same two vectors each time, to the bit");
}

/// Bicubic resizing with antialiasing in f64, of the whole image before it is cropped; uses none of the
/// crate's code.
fn resized(image: &RgbImage, size: usize) -> Vec<f64> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let short = width.min(height);
    let (to_width, to_height) = (size * width / short, size * height / short);
    let (left, top) = ((to_width - size) / 2, (to_height - size) / 2);
    let kernel = |x: f64| match x.abs() {
        x if x < 1.0 => 1.5 * x * x * x - 2.5 * x * x + 1.0,
        x if x < 2.0 => -0.5 * x * x * x + 2.5 * x * x - 4.0 * x + 2.0,
        _ => 0.0,
    };
    let weights = |from: usize, to: usize, at: usize| -> Vec<f64> {
        let scale = from as f64 / to as f64;
        let (wide, centre) = (scale.max(1.0), (at as f64 + 0.5) * scale);
        let weights: Vec<f64> =
            (0..from).map(|x| kernel((x as f64 + 0.5 - centre) / wide)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    };
    let mut pixels = Vec::new();
    for y in 0..size {
        let rows = weights(height, to_height, top + y);
        for x in 0..size {
            let columns = weights(width, to_width, left + x);
            for channel in 0..3 {
                let level =
                    |x: usize, y: usize| f64::from(image.pixels()[(y * width + x) * 3 + channel]);
                let row = |y: usize| -> f64 { (0..width).map(|x| columns[x] * level(x, y)).sum() };
                let sum: f64 =
                    (0..height).filter(|y| rows[*y] != 0.0).map(|y| rows[y] * row(y)).sum();
                pixels.push(sum.clamp(0.0, 255.0));
            }
        }
    }
    pixels
}

#[test]
fn an_image_of_any_size_becomes_the_square_that_the_formula_gives() {
    let sizes = (1..40_u32, 1..40_u32, 1..16_usize, any::<u64>());
    proptest!(ProptestConfig { cases: CASES / 2, ..config() }, |((width, height, size, seed) in sizes)| {
        // Levels in half of the range: the formula does not clip what the first pass clips.
        let mut state = seed;
        let levels = (0..width * height * 3).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            64 + (state >> 57) as u8
        });
        let image = RgbImage::new(width, height, levels.collect())?;
        let (mean, std) = ([0.0; 3], [1.0 / 255.0; 3]);
        let preprocess = Preprocess { mean, std, ..Preprocess::openai(size) };
        let pixels = preprocess.resize_and_crop(&image);
        let want = resized(&image, size);
        prop_assert_eq!(pixels.len(), want.len());
        for (place, (got, want)) in pixels.iter().zip(&want).enumerate() {
            let difference = (f64::from(*got) - want).abs();
            prop_assert!(difference <= 1.5, "value {}: {} where {} is expected", place, got, want);
        }
        let tensor = preprocess.apply(&image);
        prop_assert_eq!(tensor.len(), 3 * size * size);
        for (place, value) in tensor.iter().enumerate() {
            let level = pixels[place % (size * size) * 3 + place / (size * size)];
            prop_assert!((value - f32::from(level)).abs() < 1e-3, "{} at {}", value, place);
        }
    });
    note(
        CASES / 2,
        "images of any width and height",
        "each within 1.5 of 255 levels of the formula of bicubic resizing",
    );
}

#[test]
fn a_safetensors_header_is_consistent_or_refused() {
    let dtype = proptest::sample::select(vec!["F32", "F16", "U8", "F4", "BOOL"]);
    let tensor = (
        dtype,
        vec(number(), 0..3),
        prop_oneof![0..64_u64, number()],
        prop_oneof![0..64_u64, number()],
    );
    proptest!(config(), |(tensors in vec(tensor, 0..4), follows in any::<bool>())| {
        let mut next = 0_u64;
        let entries = tensors.iter().enumerate().map(|(place, (dtype, shape, start, end))| {
            let elements = shape.iter().fold(1_u64, |product, n| product.saturating_mul(*n));
            let (start, end) = if follows { (next, next.saturating_add(elements.saturating_mul(4))) } else { (*start, *end) };
            next = end;
            (place.to_string(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }))
        });
        let text = serde_json::Value::Object(entries.collect()).to_string();
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        match safetensors::Header::parse(&bytes, &Limits::default()) {
            Ok(header) => {
                let header = header.expect("it is whole");
                prop_assert_eq!(header.data_start(), bytes.len() as u64);
                let mut sum = header.data_start();
                for place in 0..tensors.len() {
                    let tensor = header.get(&place.to_string()).expect("it is there");
                    prop_assert!(header.data_start() <= tensor.bytes.start && tensor.bytes.start <= tensor.bytes.end);
                    prop_assert!(tensor.bytes.end <= header.file_size());
                    sum += tensor.bytes.end - tensor.bytes.start;
                }
                prop_assert_eq!(sum, header.file_size(), "they fill the file");
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::MalformedModel, "{}", error),
        }
    });
    note(
        CASES,
        "safetensors headers with tensors of any size and place",
        "each refused, or its tensors fill the file exactly",
    );
}

/// Checks what the code that computes with a configuration relies on.
fn assert_sound(config: &ModelConfig) {
    let text = config.text.as_ref().map(|text| text.sizes);
    let vision = config.vision.as_ref().map(|vision| vision.sizes);
    for sizes in text.into_iter().chain(vision) {
        assert!(sizes.width == sizes.heads * sizes.head_dim() && sizes.head_dim() > 0, "{sizes:?}");
        assert!(sizes.layers > 0 && sizes.feed_forward > 0, "{sizes:?}");
    }
    assert!(config.vision.as_ref().is_none_or(|vision| vision.grid() > 0));
    for tensor in tensors(config) {
        assert!(
            byte_size(GgmlDType::F32, &tensor.shape).is_some_and(|size| size > 0),
            "{tensor:?}"
        );
    }
}

#[test]
fn metadata_of_any_numbers_makes_a_sound_configuration_or_none() {
    let entry = (
        any::<proptest::sample::Index>(),
        prop_oneof![2 => number().prop_map(|n| Value::U32(n as u32)), 1 => value()],
    );
    let sound = Cell::new(0);
    proptest!(config(), |(changes in vec(entry, 1..4))| {
        let mut model = Model::new();
        for (place, value) in changes {
            let place = place.index(model.metadata.len());
            model.metadata[place].1 = value;
        }
        let bytes = model.header();
        match Header::parse(&bytes, &Limits::default()).and_then(|header| from_gguf(&header.expect("it is whole"), &Limits::default())) {
            Ok(config) => {
                sound.set(sound.get() + 1);
                assert_sound(&config);
            }
            Err(error) => prop_assert_ne!(error.kind(), ErrorKind::Internal, "{}", error),
        }
    });
    assert!(sound.get() > CASES / 20, "only {sound:?} were sound");
    note(
        CASES,
        "metadata with random numbers",
        "each refused, or a configuration whose sizes divide and whose tensors have sizes",
    );
}

#[test]
fn descriptions_of_any_numbers_make_a_sound_configuration_or_none() {
    let keys = [
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "vocab_size",
        "max_position_embeddings",
        "image_size",
        "patch_size",
        "num_channels",
        "layer_norm_eps",
        "width",
        "layers",
        "heads",
        "head_width",
        "mlp_ratio",
        "context_length",
        "embed_dim",
        "projection_dim",
    ];
    let number = prop_oneof![
        3 => number().prop_map(|n| json!(n)),
        1 => any::<f64>().prop_map(|x| json!(x)),
        1 => any::<i64>().prop_map(|n| json!(n)),
        1 => Just(json!("1")),
        1 => Just(json!([1, 2, 3])),
    ]
    .boxed();
    let fields = || vec((proptest::sample::select(keys.to_vec()), number.clone()), 0..4);
    proptest!(config(), |(text in fields(), vision in fields(), top in fields())| {
        let object = |fields: Vec<(&str, serde_json::Value)>| -> serde_json::Value {
            fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect::<serde_json::Map<_, _>>().into()
        };
        let (text, vision, mut config) = (object(text), object(vision), object(top));
        for (key, tower) in [("text_config", &text), ("vision_config", &vision), ("text_cfg", &text), ("vision_cfg", &vision)] {
            config[key] = tower.clone();
        }
        for made in [checkpoint::hugging_face(&config, Some(&vision), &Limits::default()), checkpoint::open_clip(&config, &Limits::default())] {
            match made {
                Ok(config) => assert_sound(&config),
                Err(error) => prop_assert_ne!(error.kind(), ErrorKind::Internal, "{}", error),
            }
        }
    });
    note(
        CASES,
        "configurations of checkpoints with random numbers",
        "each refused, or a configuration whose sizes divide and whose tensors have sizes",
    );
}
