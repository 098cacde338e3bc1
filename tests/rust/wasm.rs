//! The expected values of the native tests, checked in a browser through the bindings that the page calls.
#![cfg(target_arch = "wasm32")]

use clip_wasm::wasm::{
    CheckpointConverter, ClipEncoder, Companions, EmbeddingList, Limits, ModelLoader,
    Preprocessing, decode_file, take_pixels, warm_up_pictures,
};
use js_sys::{Function, Object, Reflect, Uint8Array};
use safetensors::SafeTensors;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::ImageData;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Made by tests/data.sh.
const Q8_0: &[u8] = include_bytes!(concat!(env!("CLIP_TEST_DATA"), "/tiny-gelu.q8_0.gguf"));
const F32: &[u8] = include_bytes!(concat!(env!("CLIP_TEST_DATA"), "/tiny-gelu.f32.gguf"));
/// The checkpoint from which `Q8_0` was made.
const CHECKPOINT: &[u8] =
    include_bytes!(concat!(env!("CLIP_TEST_DATA"), "/tiny-hf/model.safetensors"));
const CONFIG: &str = include_str!(concat!(env!("CLIP_TEST_DATA"), "/tiny-hf/config.json"));
const TOKENIZER: &str = include_str!(concat!(env!("CLIP_TEST_DATA"), "/tokenizer.json"));
/// The native command line's output for `TEXTS`, then `IMAGES`.
const NATIVE: &str = include_str!(concat!(env!("CLIP_TEST_DATA"), "/tiny-gelu.q8_0.json"));
const TEXTS: [&str; 3] = ["a photo of a cat", "", "привет, 世界 😀"];
const IMAGES: [&[u8]; 2] =
    [include_bytes!("../../www/check/rocket.jpg"), include_bytes!("../../www/check/horse.png")];

fn load(bytes: &[u8], chunk: usize) -> Result<ClipEncoder, JsValue> {
    let mut loader = ModelLoader::new(&Limits::new(), None);
    for chunk in bytes.chunks(chunk) {
        loader.push(chunk)?;
    }
    loader.finish()
}

/// The square of pixels that a model wants of an image file.
fn prepared(encoder: &ClipEncoder, bytes: &[u8]) -> Result<Vec<u8>, JsValue> {
    let image = decode_file(bytes, "exif", "drop", &Limits::new())?;
    image.prepare(&preprocessing(encoder)).map(|pixels| pixels.to_vec())
}

fn preprocessing(encoder: &ClipEncoder) -> Preprocessing {
    property(&encoder.info().unwrap().into(), "preprocessing").unchecked_into()
}

fn property(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &name.into()).unwrap()
}

fn code(thrown: &JsValue) -> String {
    property(thrown, "code").as_string().unwrap_or_else(|| panic!("{thrown:?} has no code"))
}

/// The only embedding of a list, or its error.
fn only(list: Result<EmbeddingList, JsValue>) -> Result<Vec<f32>, JsValue> {
    let list: js_sys::Array = list?.unchecked_into();
    assert_eq!(list.length(), 1);
    list.get(0).dyn_into::<js_sys::Float32Array>().map(|embedding| embedding.to_vec())
}

fn text_vector(encoder: &ClipEncoder, text: &str) -> Vec<f32> {
    only(encoder.embed_texts(vec![text.into()], true)).unwrap()
}

fn square_vector(encoder: &ClipEncoder, pixels: &[u8]) -> Result<Vec<f32>, JsValue> {
    only(encoder.embed_squares(vec![pixels.into()], true))
}

#[wasm_bindgen_test]
fn vectors_equal_the_native_ones() {
    let encoder = load(Q8_0, 1 << 16).unwrap();
    let native: serde_json::Value = serde_json::from_str(NATIVE).unwrap();
    let texts = TEXTS.iter().map(|text| text_vector(&encoder, text));
    let images = IMAGES
        .iter()
        .map(|image| square_vector(&encoder, &prepared(&encoder, image).unwrap()).unwrap());
    for (i, vector) in texts.chain(images).enumerate() {
        for (j, got) in vector.into_iter().enumerate() {
            let want = native["data"][i][j].as_f64().unwrap();
            assert!((f64::from(got) - want).abs() <= 1e-5, "input {i}[{j}]: {got} for {want}");
        }
    }
}

#[wasm_bindgen_test]
fn a_batch_has_the_bits_of_one_by_one_and_keeps_errors_apart() {
    for model in [Q8_0, F32] {
        let encoder = load(model, 1 << 20).unwrap();
        let texts = TEXTS.iter().cycle().take(40).map(|text| text.to_string()).collect::<Vec<_>>();
        let together: js_sys::Array = encoder.embed_texts(texts, true).unwrap().unchecked_into();
        for (i, embedding) in together.iter().enumerate() {
            let embedding: js_sys::Float32Array = embedding.unchecked_into();
            assert_eq!(embedding.to_vec(), text_vector(&encoder, TEXTS[i % TEXTS.len()]));
        }
        let mut squares: Vec<_> =
            IMAGES.iter().map(|image| prepared(&encoder, image).unwrap()).collect();
        squares.insert(1, vec![0; 12]);
        let pictures = squares.iter().map(|pixels| pixels.as_slice().into()).collect();
        let together: js_sys::Array =
            encoder.embed_squares(pictures, true).unwrap().unchecked_into();
        assert_eq!(code(&together.get(1)), "invalid_input");
        for i in [0, 2] {
            let embedding: js_sys::Float32Array = together.get(i as u32).unchecked_into();
            assert_eq!(embedding.to_vec(), square_vector(&encoder, &squares[i]).unwrap());
        }
    }
}

#[wasm_bindgen_test]
fn a_float_file_equals_transformers() {
    let encoder = load(F32, 1 << 20).unwrap();
    let inputs: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/towers/inputs.json")).unwrap();
    let expected = SafeTensors::deserialize(include_bytes!("../fixtures/towers/tiny.safetensors"));
    let expected = expected.unwrap();
    let texts = expected.tensor("tiny.gelu.text").unwrap();
    let rows = texts.data().chunks(4 * texts.shape()[1]);
    for (text, row) in inputs["texts"].as_array().unwrap().iter().zip(rows) {
        let got = text_vector(&encoder, text.as_str().unwrap());
        let want = row.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let cosine: f64 = got.iter().zip(want).map(|(a, b)| f64::from(*a) * f64::from(b)).sum();
        assert!(cosine >= 0.99999, "{text}: {cosine}");
    }
}

#[wasm_bindgen_test]
fn chunks_of_any_size_give_the_same_model() {
    let whole = text_vector(&load(Q8_0, Q8_0.len()).unwrap(), "a cat");
    for size in [4093, 1 << 20] {
        let vector = text_vector(&load(Q8_0, size).unwrap(), "a cat");
        assert_eq!(vector, whole, "chunks of {size} bytes");
    }
}

#[wasm_bindgen_test]
fn decoded_pixels_are_prepared_like_the_file() {
    let encoder = load(Q8_0, 1 << 20).unwrap();
    let image = clip_wasm::decode::decode(IMAGES[1]).unwrap();
    let rgba: Vec<u8> =
        image.pixels().chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 7]).collect();
    let pixels =
        ImageData::new_with_u8_clamped_array_and_sh(Clamped(&rgba), image.width(), image.height());
    let pixels = pixels.unwrap();
    let want = prepared(&encoder, IMAGES[1]).unwrap();
    let got = |alpha| {
        let image = take_pixels(&pixels, alpha, &Limits::new()).unwrap();
        image.prepare(&preprocessing(&encoder)).unwrap().to_vec()
    };
    let size = property(&preprocessing(&encoder), "size").as_f64().unwrap() as usize;
    assert_eq!(want.len(), 3 * size * size);
    assert_eq!(got("drop"), want);
    assert_ne!(got("white"), want);
}

#[wasm_bindgen_test]
fn the_pictures_of_the_warm_up_are_read() {
    warm_up_pictures().unwrap();
}

#[wasm_bindgen_test]
fn errors_have_a_code_and_a_status() {
    let encoder = load(Q8_0, 1 << 20).unwrap();
    for (bytes, want, status) in [
        (&b"<!doctype html>"[..], "unsupported_image", 415.0),
        (&IMAGES[0][..20_000], "corrupt_image", 422.0),
    ] {
        let thrown = prepared(&encoder, bytes).unwrap_err();
        assert_eq!(code(&thrown), want);
        assert_eq!(property(&thrown, "statusCode").as_f64(), Some(status));
    }
    assert_eq!(code(&square_vector(&encoder, &[0; 12]).unwrap_err()), "invalid_input");
    let refused = |bytes: &[u8]| code(&load(bytes, 1 << 16).err().unwrap());
    assert_eq!(refused(b"<!doctype html><title>404</title>"), "not_a_model");
    assert_eq!(refused(&[]), "not_a_model");
    assert_eq!(refused(&Q8_0[..Q8_0.len() - 1]), "truncated_model");
    assert_eq!(text_vector(&encoder, "it goes on working").len(), 64);
}

#[wasm_bindgen_test]
fn info_names_the_model() {
    let info: JsValue = load(Q8_0, 1 << 20).unwrap().info().unwrap().into();
    assert_eq!(property(&info, "type").as_string().as_deref(), Some("q8_0"));
    assert_eq!(property(&info, "embeddingDimension").as_f64(), Some(64.0));
    assert_eq!(property(&info, "contextLength").as_f64(), Some(77.0));
}

fn converter(file_type: &str) -> Result<CheckpointConverter, JsValue> {
    let companions = Object::new();
    for (key, text) in [("name", "tiny-hf"), ("config", CONFIG), ("tokenizer", TOKENIZER)] {
        Reflect::set(&companions, &key.into(), &text.into()).unwrap();
    }
    CheckpointConverter::new(
        &companions.unchecked_into::<Companions>(),
        file_type,
        &Limits::new(),
        None,
    )
}

#[wasm_bindgen_test]
fn a_checkpoint_becomes_the_native_file() {
    let gguf = Uint8Array::new_with_length(Q8_0.len() as u32);
    let file = gguf.clone();
    let sink = Closure::<dyn Fn(u32, Uint8Array)>::new(move |offset: u32, bytes: Uint8Array| {
        file.set(&bytes, offset)
    });
    let sink: &Function = sink.as_ref().unchecked_ref();
    let mut converter = converter("q8_0").unwrap();
    for chunk in CHECKPOINT.chunks(1 << 16) {
        converter.push(chunk, sink).unwrap();
        assert_eq!(converter.file_size(), Some(Q8_0.len() as f64));
        assert_eq!(converter.source_size(), Some(CHECKPOINT.len() as f64));
    }
    assert_eq!(converter.written(), Q8_0.len() as f64);
    converter.end_file().unwrap();
    converter.finish().unwrap();
    assert!(gguf.to_vec() == Q8_0);
}

#[wasm_bindgen_test]
fn a_conversion_throws_what_its_sink_throws() {
    let mut failing = converter("q8_0").unwrap();
    let thrown = failing.push(CHECKPOINT, &Function::new_no_args("throw 'full'")).unwrap_err();
    assert_eq!(thrown.as_string().as_deref(), Some("full"));
    let page =
        converter("q8_0").unwrap().push(b"<!doctype html><title>404</title>", &Function::default());
    assert_eq!(code(&page.unwrap_err()), "not_a_model");
    assert_eq!(code(&converter("q9").err().unwrap()), "invalid_input");
}
