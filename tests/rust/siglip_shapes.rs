//! SigLIPs in the proportions of the published ones, and each tower alone, against Hugging Face transformers
//! (tests/reference/siglip.py) and candle.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::siglip;
use clip_wasm::ClipEncoder;
use clip_wasm::preprocess::{Filter, Preprocess};
use serde::Deserialize;

use crate::support::seeded::{self, SIGLIPS};
use crate::support::siglip::{Layout, converted, tensor};
use crate::support::{cosine, fixture, photo};

/// What transformers computes.
#[derive(Deserialize)]
struct Vectors {
    texts: Vec<Vec<f32>>,
    photo: Vec<f32>,
}

/// The texts and the photo that it computes them of.
#[derive(Deserialize)]
struct Inputs {
    texts: Vec<Text>,
    photos: Vec<String>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

#[test]
fn shapes_of_published_models_have_the_vectors_of_transformers() {
    let expected: HashMap<String, Vectors> = read("siglip/shapes.json");
    let Inputs { mut texts, photos } = read("siglip/expected.json");
    texts.truncate(4);
    let image = photo(&photos[0]);
    for (name, sizes) in &SIGLIPS {
        let expected = &expected[*name];
        // Of so few values, the rounding of each weighs more than in a published model.
        for (file_type, least) in [("f32", 0.99999), ("q8_0", 0.996)] {
            let folder = tempfile::tempdir().unwrap();
            let file = converted(sizes, Layout::Whole, file_type, folder.path());
            let encoder = ClipEncoder::open(file).unwrap();
            let of_photo = encoder.embed_image(&image, true).unwrap();
            let mut found = vec![cosine(of_photo.values(), &expected.photo)];
            for (Text { text }, vector) in texts.iter().zip(&expected.texts) {
                found.push(cosine(encoder.embed_text(text, true).unwrap().values(), vector));
            }
            assert_eq!(expected.texts.len(), texts.len());
            println!("{name} {file_type}: {found:.7?}");
            assert!(found.iter().all(|cosine| *cosine >= least), "{name} {file_type}: {found:?}");
        }
    }
}

#[test]
fn a_tower_alone_has_the_vectors_of_the_whole_model() {
    let (_, sizes) = &SIGLIPS[0];
    let image = photo("rocket.jpg");
    let open = |layout| {
        let folder = tempfile::tempdir().unwrap();
        ClipEncoder::open(converted(sizes, layout, "q8_0", folder.path())).unwrap()
    };
    let whole = open(Layout::Whole);
    for keeps_names in [false, true] {
        let text = open(Layout::Alone("text_model", keeps_names));
        assert_eq!(text.info().towers, ["text"]);
        assert_eq!(
            text.embed_text("a dog", true).unwrap(),
            whole.embed_text("a dog", true).unwrap()
        );
        assert!(text.embed_image(&image, true).is_err());
        let vision = open(Layout::Alone("vision_model", keeps_names));
        assert_eq!(vision.info().towers, ["vision"]);
        assert_eq!(
            vision.embed_image(&image, true).unwrap(),
            whole.embed_image(&image, true).unwrap()
        );
        assert!(vision.embed_text("a dog", true).is_err());
    }
}

/// A second reference, which has none of this crate's code, and none of transformers'.
#[test]
fn vectors_are_those_of_candle() {
    let Inputs { mut texts, photos } = read("siglip/expected.json");
    texts.truncate(4);
    let image = photo(&photos[0]);
    for (name, sizes) in &SIGLIPS {
        let folder = tempfile::tempdir().unwrap();
        let encoder =
            ClipEncoder::open(converted(sizes, Layout::Whole, "f32", folder.path())).unwrap();
        let mut tensors: HashMap<String, Tensor> =
            seeded::siglip(sizes).into_iter().map(tensor).collect();
        for scalar in ["logit_scale", "logit_bias"] {
            tensors.insert(scalar.into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        }
        let config: siglip::Config = serde_json::from_value(seeded::siglip_config(sizes)).unwrap();
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let candle = siglip::Model::new(&config, weights).unwrap();
        for Text { text } in &texts {
            let ids = encoder.tokenize(text).unwrap();
            let ids = Tensor::new(ids.ids(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let wanted = candle.get_text_features(&ids).unwrap().get(0).unwrap();
            let found = encoder.embed_text(text, true).unwrap();
            let cosine = cosine(found.values(), &wanted.to_vec1::<f32>().unwrap());
            assert!(cosine >= 0.99999, "{name} {text:?}: {cosine}");
        }
        let edge = sizes.image;
        let preprocess = Preprocess { filter: Filter::Bilinear, ..Preprocess::siglip(edge) };
        let pixels = preprocess.apply(&clip_wasm::decode::decode(&image).unwrap());
        let pixels = Tensor::from_vec(pixels, (1, 3, edge, edge), &Device::Cpu).unwrap();
        let wanted = candle.get_image_features(&pixels).unwrap().get(0).unwrap();
        let found = encoder.embed_image(&image, true).unwrap();
        let cosine = cosine(found.values(), &wanted.to_vec1::<f32>().unwrap());
        assert!(cosine >= 0.99999, "{name} image: {cosine}");
    }
}
