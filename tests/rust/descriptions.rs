//! Checkpoints' settings for preparing images: applied exactly like transformers and open_clip do, or
//! refused.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::data;
use crate::support::reliability::record;
use clip_wasm::convert::{FileType, convert};
use clip_wasm::decode::{RgbImage, decode};
use clip_wasm::format::gguf::Header;
use clip_wasm::model::config::ModelConfig;
use clip_wasm::model::metadata::from_gguf;
use clip_wasm::preprocess::{Filter, Preprocess, Resize};
use clip_wasm::{ClipEncoder, Error, ErrorKind, Limits, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Deserialize)]
struct Cases {
    images: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Library {
    Transformers,
    OpenClip,
}

/// What a library makes of three images with these settings.
#[derive(Deserialize)]
struct Case {
    library: Library,
    settings: Value,
    /// The PNG with the squares that the tensors are made of, one below the other.
    pixels: String,
    /// Checksum of each tensor.
    crc32: Vec<String>,
    /// The three channels at x 7, y 5 of each tensor.
    samples: Vec<[f32; 3]>,
}

fn cases() -> Cases {
    serde_json::from_slice(&fs::read(fixture("descriptions/cases.json")).unwrap()).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A model in f32: the demo model, or for open_clip a seeded one.
struct Model {
    config: ModelConfig,
    encoder: ClipEncoder,
}

impl Model {
    /// The checkpoint with this description, which is stored in the file of this name.
    fn described(library: Library, file: &str, description: &Value) -> Result<Self> {
        let folder = TempDir::new().unwrap();
        let from = match library {
            Library::Transformers => {
                Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo_model/shapes-and-colours")
            }
            Library::OpenClip => data("tiny-open_clip"),
        };
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_name() != "preprocessor_config.json" {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        fs::write(folder.path().join(file), description.to_string()).unwrap();
        let gguf = folder.path().join("model.gguf");
        let limits = Limits::default();
        convert(folder.path(), &gguf, FileType::named("f32")?, None, &limits, |_, _| {})?;
        let bytes = fs::read(&gguf).unwrap();
        let header = Header::parse(&bytes, &limits)?.expect("it is whole");
        let config = from_gguf(&header, &limits)?;
        Ok(Self { config, encoder: ClipEncoder::open(&gguf)? })
    }

    fn of(library: Library, settings: &Value) -> Result<Self> {
        match library {
            Library::Transformers => Self::described(library, "preprocessor_config.json", settings),
            Library::OpenClip => {
                let config =
                    fs::read(data("tiny-open_clip").join("open_clip_config.json")).unwrap();
                let mut config: Value = serde_json::from_slice(&config).unwrap();
                config["preprocess_cfg"] = settings.clone();
                Self::described(library, "open_clip_config.json", &config)
            }
        }
    }

    fn preprocess(&self) -> Preprocess {
        self.config.vision.as_ref().expect("it has the tower").preprocess
    }
}

/// The settings that do not move pixels.
fn levels_of(settings: &Value) -> Value {
    let mut settings = settings.clone();
    for key in ["size", "crop_size", "do_resize", "do_center_crop", "default_to_square", "resample"]
        .iter()
        .chain(&["resize_mode", "interpolation", "fill_color"])
    {
        settings.as_object_mut().unwrap().remove(*key);
    }
    settings
}

#[test]
fn each_gives_the_tensor_and_the_vector_of_its_library() {
    let Cases { images, cases } = cases();
    let images: Vec<RgbImage> =
        images.iter().map(|name| decode(&crate::support::images::read(name)).unwrap()).collect();
    let mut modes = Vec::new();
    for case in &cases {
        let label = format!("{:?} {}", case.library, case.settings);
        let model = Model::of(case.library, &case.settings).expect(&label);
        let plain = Model::of(case.library, &levels_of(&case.settings)).expect(&label);
        let preprocess = model.preprocess();
        modes.push(preprocess.resize.name());
        let size = preprocess.image_size;
        let stack = fs::read(fixture("descriptions").join(&case.pixels)).unwrap();
        let stack = decode(&stack).unwrap();
        let squares = stack.pixels().chunks_exact(3 * size * size);
        assert_eq!(squares.len(), images.len(), "{label}");
        for (index, (image, square)) in images.iter().zip(squares).enumerate() {
            let label = format!("{label}, image {index}");
            assert!(preprocess.resize_and_crop(image) == square, "{label}: pixels differ");
            let tensor = preprocess.apply(image);
            for (channel, expected) in case.samples[index].into_iter().enumerate() {
                let actual = tensor[(channel * size + 5) * size + 7];
                let difference = (actual - expected).abs();
                // open_clip divides by 255 in f32.
                assert!(
                    difference <= 4e-6 * expected.abs().max(1.0),
                    "{label}: {actual}, not {expected}"
                );
            }
            if case.library == Library::Transformers {
                let crc =
                    crate::support::crc32(tensor.iter().flat_map(|value| value.to_le_bytes()));
                assert_eq!(format!("{crc:08x}"), case.crc32[index], "{label}");
            }
            // A model without resizing settings only changes the levels of PIL's square.
            let prepared = RgbImage::new(size as u32, size as u32, square.to_vec()).unwrap();
            let expected = plain.encoder.embed_pixels(&prepared, true).unwrap();
            let actual = model.encoder.embed_pixels(image, true).unwrap();
            assert_eq!(actual, expected, "{label}: another vector");
        }
    }
    for mode in ["shortest", "longest", "squash", "none"] {
        assert!(modes.contains(&mode), "no description has the mode {mode}");
    }
    let what =
        "descriptions of how a checkpoint's images are prepared, of transformers and open_clip";
    record("inputs", what, &cases.len().to_string(), "their pixels and vectors, exactly");
}

#[test]
fn it_stands_in_either_of_two_files() {
    let squash = json!({ "size": { "height": 72, "width": 72 }, "do_center_crop": false });
    let nested = json!({ "image_processor": squash, "processor_class": "CLIPProcessor" });
    let model = Model::described(Library::Transformers, "processor_config.json", &nested).unwrap();
    assert_eq!(model.preprocess().resize, Resize::Squash { width: 72, height: 72 });
    let without = json!({ "processor_class": "CLIPProcessor" });
    let model = Model::described(Library::Transformers, "processor_config.json", &without).unwrap();
    assert_eq!(model.preprocess(), Preprocess::openai(72));
}

#[test]
fn the_encoder_tells_what_it_does() {
    let settings = json!({
        "size": { "height": 72, "width": 72 }, "do_center_crop": false, "resample": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1.0], "rescale_factor": 0.01,
    });
    let model = Model::of(Library::Transformers, &settings).unwrap();
    assert_eq!(model.preprocess().filter, Filter::Bilinear);
    let info = serde_json::to_value(model.encoder.info()).unwrap();
    let expected = json!({
        "size": 72, "resize": "squash", "resizeTo": [72, 72], "interpolation": "bilinear", "crop": "center",
        "fillColor": [0, 0, 0], "rescaleFactor": 0.01, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0],
    });
    assert_eq!(info["preprocessing"], expected);
}

/// Checks that the settings are refused with a message that names the unknown setting.
fn assert_refused(library: Library, settings: &Value, kind: ErrorKind, name: &str) {
    let error: Error = match Model::of(library, settings) {
        Ok(_) => panic!("{settings} is understood"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), kind, "{settings}: {error}");
    assert!(error.to_string().contains(name), "{settings}: {error}");
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let (unsupported, malformed) = (ErrorKind::UnsupportedModel, ErrorKind::MalformedModel);
    for (settings, kind, name) in [
        (json!({ "do_reduce_labels": true }), unsupported, "do_reduce_labels"),
        (json!({ "do_pad": true }), unsupported, "do_pad"),
        (json!({ "do_normalise": true }), unsupported, "do_normalise"),
        (json!({ "do_resize": "yes" }), malformed, "do_resize"),
        (json!({ "resample": 0 }), unsupported, "resample"),
        (json!({ "resample": "nearest" }), unsupported, "resample"),
        (json!({ "resample": "bicubic" }), unsupported, "resample"),
        (json!({ "size": { "longest_edge": 72 } }), unsupported, "size"),
        (json!({ "size": { "shortest_edge": 0 } }), malformed, "size"),
        (json!({ "size": { "shortest_edge": 72, "longest_edge": 90 } }), unsupported, "size"),
        (json!({ "size": "large" }), unsupported, "size"),
        (json!({ "crop_size": 64 }), unsupported, "crop_size"),
        (json!({ "do_center_crop": false }), unsupported, "do_center_crop"),
        (json!({ "image_mean": [0.5, 0.5] }), malformed, "image_mean"),
        (json!({ "image_std": [0.5, 0.0, 0.5] }), malformed, "image_std"),
        (json!({ "rescale_factor": "1/255" }), malformed, "rescale_factor"),
        (
            json!({ "image_processor_type": "SiglipImageProcessor" }),
            unsupported,
            "SiglipImageProcessor",
        ),
        (json!([]), malformed, "image processor"),
    ] {
        assert_refused(Library::Transformers, &settings, kind, name);
    }
    for (settings, kind, name) in [
        (json!({ "resize_mode": "stretch" }), unsupported, "resize_mode"),
        (json!({ "interpolation": "nearest" }), unsupported, "interpolation"),
        (json!({ "mode": "L" }), unsupported, "mode"),
        (json!({ "size": 72 }), unsupported, "size"),
        (json!({ "size": [64, 72] }), unsupported, "size"),
        (json!({ "fill_color": 256 }), malformed, "fill_color"),
        (json!({ "mean": "imagenet" }), malformed, "mean"),
        (json!({ "gamma": 2.2 }), unsupported, "gamma"),
    ] {
        assert_refused(Library::OpenClip, &settings, kind, name);
    }
}
