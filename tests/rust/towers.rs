//! Both towers against Hugging Face transformers (tests/reference/towers.py) and stock candle.

use std::collections::HashMap;

use crate::support::{cosine, data, fixture, least_and_median, photo};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::{self, ClipModel};
use clip_wasm::ClipEncoder;
use clip_wasm::preprocess::Preprocess;
use serde::Deserialize;

#[derive(Deserialize)]
struct Inputs {
    images: Vec<String>,
    texts: Vec<String>,
}

fn inputs() -> Inputs {
    let text = std::fs::read_to_string(fixture("towers/inputs.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn expected(file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(file), &Device::Cpu).unwrap()
}

/// A model's vectors for all photos and all texts.
fn computed(model: &str) -> [Vec<Vec<f32>>; 2] {
    let encoder = ClipEncoder::open(data(model)).unwrap();
    let inputs = inputs();
    let images = inputs.images.iter().map(|name| encoder.embed_image(&photo(name), true).unwrap());
    let images = images.map(|embedding| embedding.into_values()).collect();
    let texts = inputs.texts.iter().map(|text| encoder.embed_text(text, true).unwrap());
    [images, texts.map(|embedding| embedding.into_values()).collect()]
}

struct Case {
    computed: &'static str,
    expected: &'static str,
    least: f64,
    median: f64,
}

fn compare(cases: &[Case], file: &str) {
    let expected = expected(file);
    let mut vectors: HashMap<&str, [Vec<Vec<f32>>; 2]> = HashMap::new();
    let mut failures = Vec::new();
    for case in cases {
        let computed = vectors.entry(case.computed).or_insert_with(|| computed(case.computed));
        for (part, computed) in ["image", "text"].iter().zip(computed.iter()) {
            let key = format!("{}.{part}", case.expected);
            let want = expected[&key].to_vec2::<f32>().unwrap();
            assert_eq!(computed.len(), want.len(), "{key}");
            let cosines: Vec<f64> =
                computed.iter().zip(&want).map(|(got, want)| cosine(got, want)).collect();
            let (least, median) = least_and_median(cosines);
            println!("{:28} {key:24} least {least:.7} median {median:.7}", case.computed);
            if least < case.least || median < case.median {
                let of = case.computed;
                failures.push(format!("{of} {key}: least {least}, median {median}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn float_files_equal_transformers() {
    let float = |computed, expected| Case { computed, expected, least: 0.99999, median: 0.99999 };
    compare(
        &[
            float("vit-b-32-gelu.f32.gguf", "gelu.f32"),
            float("vit-b-32-quick_gelu.f32.gguf", "quick_gelu.f32"),
        ],
        "towers/vit-b-32.safetensors",
    );
    compare(
        &[
            float("tiny-gelu.f32.gguf", "tiny.gelu"),
            float("tiny-quick_gelu.f32.gguf", "tiny.quick_gelu"),
            float("tiny-h-gelu.f32.gguf", "tiny-h.gelu"),
            float("tiny-h-quick_gelu.f32.gguf", "tiny-h.quick_gelu"),
        ],
        "towers/tiny.safetensors",
    );
}

#[test]
fn eight_bits_stay_close_to_transformers_in_f32() {
    let case = Case {
        computed: "vit-b-32-gelu.q8_0.gguf",
        expected: "gelu.f32",
        least: 0.998,
        median: 0.9993,
    };
    compare(&[case], "towers/vit-b-32.safetensors");
}

/// Shows that every type is read correctly: compares with transformers on the dequantised weights.
#[test]
fn every_type_equals_transformers_on_its_dequantised_weights() {
    let read = |computed, expected| Case { computed, expected, least: 0.998, median: 0.9995 };
    compare(
        &[
            read("vit-b-32-gelu.q8_0.gguf", "gelu.q8_0"),
            read("vit-b-32-gelu.q5_1.gguf", "gelu.q5_1"),
            read("vit-b-32-gelu.q5_0.gguf", "gelu.q5_0"),
            read("vit-b-32-gelu.q4_1.gguf", "gelu.q4_1"),
            read("vit-b-32-gelu.q4_0.gguf", "gelu.q4_0"),
        ],
        "towers/vit-b-32.safetensors",
    );
}

/// candle's own CLIP supports only quick GELU, so only that is compared.
#[test]
#[allow(unsafe_code, reason = "stock candle maps the file")]
fn float_files_equal_stock_candle() {
    let file = data("vit-b-32/model.safetensors");
    // SAFETY: nothing changes the file while the test runs.
    let weights =
        unsafe { VarBuilder::from_mmaped_safetensors(&[file], DType::F32, &Device::Cpu).unwrap() };
    let stock = ClipModel::new(weights, &clip::ClipConfig::vit_base_patch32()).unwrap();
    let encoder = ClipEncoder::open(data("vit-b-32-quick_gelu.f32.gguf")).unwrap();
    let preprocess = Preprocess::openai(224);
    let inputs = inputs();
    for name in &inputs.images {
        let pixels = preprocess.apply(&clip_wasm::decode::decode(&photo(name)).unwrap());
        let pixels = Tensor::from_vec(pixels, (1, 3, 224, 224), &Device::Cpu).unwrap();
        let want = stock.get_image_features(&pixels).unwrap();
        let got = encoder.embed_image(&photo(name), true).unwrap();
        let cosine = cosine(got.values(), &want.flatten_all().unwrap().to_vec1().unwrap());
        assert!(cosine >= 0.99999, "{name}: {cosine}");
    }
    for text in &inputs.texts {
        let tokens = encoder.tokenize(text).unwrap();
        let ids = Tensor::new(tokens.ids(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let want = stock.get_text_features(&ids).unwrap();
        let got = encoder.embed_text(text, true).unwrap();
        let cosine = cosine(got.values(), &want.flatten_all().unwrap().to_vec1().unwrap());
        assert!(cosine >= 0.99999, "{text:?}: {cosine}");
    }
}

/// Together and one by one, in all the ways in which inputs can be mixed, including more than fit in one batch.
#[test]
fn batches_have_the_bits_of_one_by_one() {
    for model in ["tiny-gelu.q8_0.gguf", "tiny-gelu.f32.gguf"] {
        let encoder = ClipEncoder::open(data(model)).unwrap();
        let Inputs { images, texts } = inputs();
        let preprocessed = |name: &String| {
            let image = clip_wasm::decode::decode(&photo(name)).unwrap();
            Preprocess::openai(encoder.info().image_size.unwrap()).resize_and_crop(&image)
        };
        let mut squares: Vec<Vec<u8>> = images.iter().map(preprocessed).collect();
        squares.insert(1, vec![0; 12]);
        let long = "a long sentence about nothing ".repeat(20);
        let texts: Vec<&str> = texts.iter().map(String::as_str).chain([&*long, ""]).collect();
        let texts: Vec<&str> = texts.iter().copied().cycle().take(3 * texts.len()).collect();

        let together = encoder.embed_texts(&texts, true).unwrap();
        for (text, together) in texts.iter().zip(together) {
            assert_eq!(together.unwrap(), encoder.embed_text(text, true).unwrap(), "{text}");
        }
        let together = encoder.embed_squares(&squares, false).unwrap();
        for (i, (square, together)) in squares.iter().zip(together).enumerate() {
            match encoder.embed_square(square, false) {
                Ok(alone) => assert_eq!(together.unwrap(), alone, "{model}, image {i}"),
                Err(error) => assert_eq!(together.unwrap_err().to_string(), error.to_string()),
            }
        }
    }
}
