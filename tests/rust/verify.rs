//! `verify` tells the published table from another one. It accepts a table of transformers' results for the
//! seeded model, and refuses OpenAI's own table for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{cosine, data, fixture, photos};
use candle_core::Device;
use serde_json::{Value, json};

/// cargo builds the examples next to the tests.
fn verify(model: &Path, table: &Path) -> Output {
    let tests = std::env::current_exe().unwrap();
    let examples: PathBuf = tests.parent().unwrap().with_file_name("examples");
    Command::new(examples.join("verify"))
        .arg(model)
        .args([photos(), data("photos")])
        .arg("--table")
        .arg(table)
        .output()
        .unwrap()
}

#[test]
fn verify_tells_the_right_table_from_another() {
    let published = photos().join("similarity.openai-vit-b-32.json");
    let mut table: Value =
        serde_json::from_str(&std::fs::read_to_string(&published).unwrap()).unwrap();
    let expected = fixture("towers/vit-b-32.safetensors");
    let expected = candle_core::safetensors::load(expected, &Device::Cpu).unwrap();
    let vectors = |name: &str| expected[name].to_vec2::<f32>().unwrap();
    let (images, texts) = (vectors("gelu.f32.image"), vectors("gelu.f32.text"));
    let row = |text: &Vec<f32>| images.iter().map(|image| cosine(image, text)).collect::<Vec<_>>();
    table["cosine"] = json!(texts[..8].iter().map(row).collect::<Vec<_>>());
    let directory = tempfile::TempDir::new().unwrap();
    let own = directory.path().join("table.json");
    std::fs::write(&own, table.to_string()).unwrap();

    let model = data("vit-b-32-gelu.q8_0.gguf");
    let output = verify(&model, &own);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("64 cosines") && said.contains("table is reproduced"), "{said}");
    let output = verify(&model, &published);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("NOT the published table"), "{said}");
}
