//! SigLIPs in the proportions of the published ones, and each tower alone, against Hugging Face transformers
//! (tests/reference/siglip.py) and candle.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::siglip;
use clip_wasm::ClipEncoder;
use clip_wasm::Limits;
use clip_wasm::convert::{FileType, convert};
use clip_wasm::preprocess::{Filter, Preprocess};
use serde::Deserialize;
use serde_json::json;

use crate::support::seeded::{self, SIGLIPS, SeededTensor, Sizes};
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

/// How a checkpoint has its tensors.
#[derive(Clone, Copy)]
pub enum Layout {
    Whole,
    /// A tower alone, with the names that it has in a whole model or, since transformers 5, without their start.
    Alone(&'static str, bool),
}

/// Writes a checkpoint of seeded weights into a folder, and converts it.
fn converted(sizes: &Sizes, layout: Layout, file_type: &str, folder: &Path) -> PathBuf {
    let tokenizer = std::fs::read_to_string(fixture("siglip/tokenizer.json")).unwrap();
    converted_with(&tokenizer, sizes, layout, file_type, folder)
}

/// Like [`converted`], with another tokenizer.
pub fn converted_with(
    tokenizer: &str,
    sizes: &Sizes,
    layout: Layout,
    file_type: &str,
    folder: &Path,
) -> PathBuf {
    let mut tensors = seeded::siglip(sizes);
    let mut config = seeded::siglip_config(sizes);
    match layout {
        Layout::Whole => {}
        Layout::Alone(tower, keeps_names) => {
            tensors.retain(|tensor| tensor.name.starts_with(tower));
            for tensor in tensors.iter_mut().filter(|_| !keeps_names) {
                tensor.name.drain(..=tower.len());
            }
            config = config[tower.replace("model", "config")].take();
        }
    }
    let edge = sizes.image;
    let processor = json!({"size": {"height": edge, "width": edge}, "resample": 2});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    let tensors: HashMap<String, Tensor> = tensors.into_iter().map(tensor).collect();
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    let to = folder.join("out.gguf");
    let file_type = FileType::named(file_type).unwrap();
    convert(folder, &to, file_type, None, &Limits::default(), |_, _| {}).unwrap();
    to
}

fn tensor(SeededTensor { name, shape, values }: SeededTensor) -> (String, Tensor) {
    (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
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
