//! The example `embed`, with the page's model on the page's sample pictures.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::cosine;
use serde_json::Value;

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www").join(name)
}

/// cargo builds the examples next to the tests.
fn embed(model: &Path, image: &Path, texts: &[&str]) -> Output {
    let tests = std::env::current_exe().unwrap();
    let examples: PathBuf = tests.parent().unwrap().with_file_name("examples");
    let mut command = Command::new(examples.join("embed"));
    command.arg(model).arg(image).args(texts).output().unwrap()
}

/// The cosines of the command line's vectors.
fn expected(image: &Path, texts: &[&str]) -> Vec<f64> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clip-wasm"));
    command.args(["embed", "--model"]).arg(page("models/demo.gguf")).arg("--image").arg(image);
    command.args(texts.iter().flat_map(|text| ["--text", text]));
    let printed: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let vectors: Vec<Vec<f32>> = serde_json::from_value(printed["data"].clone()).unwrap();
    let (image, texts) = vectors.split_last().unwrap();
    texts.iter().map(|text| cosine(image, text)).collect()
}

#[test]
fn the_example_finds_the_right_caption_of_every_sample() {
    let samples = std::fs::read_to_string(page("samples.json")).unwrap();
    let samples: Value = serde_json::from_str(&samples).unwrap();
    // The drawn pictures: see examples/demo_model/samples.py.
    let right = [
        "three red hearts",
        "a striped green fish",
        "a yellow moon above a purple star",
        "a line drawing of a house",
        "the letter a",
        "four faces on a blue background",
    ];
    let samples = samples["samples"].as_array().unwrap();
    assert_eq!(samples.len(), right.len());
    for (sample, right) in samples.iter().zip(right) {
        let image = page(sample["image"].as_str().unwrap());
        let captions = sample["captions"].as_array().unwrap();
        let captions: Vec<&str> = captions.iter().map(|text| text.as_str().unwrap()).collect();
        let output = embed(&page("models/demo.gguf"), &image, &captions);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = said.lines().map(|line| line.split_once("  ").unwrap());
        let (cosines, texts): (Vec<f64>, Vec<&str>) =
            lines.map(|(cosine, text)| (cosine.parse::<f64>().unwrap(), text)).unzip();
        assert_eq!(texts, captions);
        for (i, (got, want)) in cosines.iter().zip(expected(&image, &captions)).enumerate() {
            assert!((got - want).abs() <= 6e-5, "{}: {got}, not {want}", captions[i]);
        }
        let best = (0..cosines.len()).max_by(|a, b| cosines[*a].total_cmp(&cosines[*b]));
        assert_eq!(
            best.map(|at| captions[at]),
            Some(right),
            "{} is taken for another:\n{said}",
            image.display()
        );
    }
}

#[test]
fn the_example_says_what_is_wrong() {
    let sample = page("samples/hearts.png");
    for (model, image, code) in [
        (page("nowhere.gguf"), sample.clone(), "[io]"),
        (sample.clone(), sample, "[not_a_model]"),
        (page("models/demo.gguf"), page("models/demo.gguf"), "[unsupported_image]"),
    ] {
        let output = embed(&model, &image, &["a heart"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(code), "{said:?} for {code}");
        assert!(output.stdout.is_empty());
    }
}
