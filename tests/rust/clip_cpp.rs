//! clip.cpp and this crate read each other's files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::reliability::record;
use crate::support::{data, photo};
use clip_wasm::convert::{FileType, convert};
use clip_wasm::decode::decode;
use clip_wasm::preprocess::Preprocess;
use clip_wasm::{ClipEncoder, Embedding, Limits};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

const TEXTS: [&str; 2] = ["a photo of a cat", "a rocket on its launch pad"];
const PHOTOS: [&str; 1] = ["rocket.jpg"];
const SIZE: usize = 224;

/// Vectors from clip.cpp.
#[derive(Deserialize)]
struct Vectors {
    texts: Vec<Vec<f32>>,
    images: Vec<Vec<f32>>,
}

fn clip_cpp(arguments: &[&str], request: &str) -> Output {
    let mut child = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clip_cpp.py"))
        .arg(data("clip-cpp"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    // A process that ends early does not read it.
    let _ = child.stdin.take().expect("it is a pipe").write_all(request.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn assert_success(what: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clip.cpp does not {what}: {}\n{said}", output.status);
}

/// The input for both programs: token ids, and tensors of pixels as clip.cpp reads them.
fn request(encoder: &ClipEncoder, folder: &Path) -> String {
    let tokens: Vec<_> = TEXTS
        .iter()
        .map(|text| {
            let tokens = encoder.tokenize(text).unwrap();
            tokens.ids().to_vec()
        })
        .collect();
    let images: Vec<PathBuf> = PHOTOS
        .iter()
        .map(|name| {
            let tensor = Preprocess::openai(SIZE).apply(&decode(&photo(name)).unwrap());
            let pixel = |at: usize| (0..3).map(move |channel| channel * SIZE * SIZE + at);
            let values = (0..SIZE * SIZE).flat_map(pixel).map(|at| tensor[at].to_le_bytes());
            let path = folder.join(name).with_extension("f32");
            std::fs::write(&path, values.collect::<Vec<_>>().concat()).unwrap();
            path
        })
        .collect();
    json!({ "tokens": tokens, "images": images, "size": SIZE }).to_string()
}

/// The smallest cosine between the two programs' vectors for one file.
fn agreement(model: &Path, folder: &Path) -> f64 {
    let encoder = ClipEncoder::open(model).unwrap();
    let path = model.to_str().unwrap();
    let output = clip_cpp(&["embed", path], &request(&encoder, folder));
    assert_success("embed", &output);
    let said = String::from_utf8_lossy(&output.stdout);
    let theirs: Vectors = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let texts = TEXTS.iter().map(|text| encoder.embed_text(text, true).unwrap());
    let images = PHOTOS.iter().map(|name| encoder.embed_image(&photo(name), true).unwrap());
    let theirs = theirs.texts.iter().chain(&theirs.images);
    texts.chain(images).zip(theirs).map(|(ours, theirs)| cosine(&ours, theirs)).fold(1.0, f64::min)
}

fn cosine(ours: &Embedding, theirs: &[f32]) -> f64 {
    assert_eq!(ours.values().len(), theirs.len());
    ours.values().iter().zip(theirs).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn it_reads_our_files_and_quantises_them_and_we_read_what_it_writes() {
    let loads = clip_cpp(&["load"], "");
    if !loads.status.success() {
        let reason = String::from_utf8_lossy(&loads.stderr);
        let reason = reason.lines().last().unwrap_or("it ends at once");
        // Written directly, because the test harness captures the output of `eprintln!`.
        writeln!(std::io::stderr(), "SKIPPED: clip.cpp does not run here: {reason}").unwrap();
        return;
    }
    let folder = TempDir::new().unwrap();
    let whole = folder.path().join("vit-b-32.f16.gguf");
    let f16 = FileType::named("f16").unwrap();
    convert(&data("vit-b-32"), &whole, f16, None, &Limits::default(), |_, _| {}).unwrap();
    let f16 = agreement(&whole, folder.path());
    assert!(f16 > 0.99999, "f16: {f16}");
    record(
        "inputs",
        "our ViT-B/32 in f16, read by clip.cpp",
        "a photo and two texts",
        &format!("cosines of at least {f16:.6} to ours"),
    );
    for (name, kind, least) in [("q8_0", "8", 0.9993), ("q4_0", "2", 0.9993)] {
        let quantised = folder.path().join(format!("{name}.gguf"));
        let output =
            clip_cpp(&["quantise", whole.to_str().unwrap(), quantised.to_str().unwrap(), kind], "");
        assert_success("quantise", &output);
        let cosine = agreement(&quantised, folder.path());
        assert!(cosine > least, "{name}: {cosine}");
        let what = format!("the same quantised by clip.cpp to {name}, read by both");
        record(
            "inputs",
            &what,
            "a photo and two texts",
            &format!("cosines of at least {cosine:.5}"),
        );
        std::fs::remove_file(quantised).unwrap();
    }
}
