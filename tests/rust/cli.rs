//! The command line as a user runs it: its output, and its errors.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{cosine, data, fixture, photos};
use serde_json::{Value, json};
use tempfile::TempDir;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clip-wasm")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Checks that stdout holds only JSON, and returns it.
fn printed(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks for an empty stdout, a message with its code on stderr, and a non-zero exit.
fn refused(arguments: &[&str], code: &str, says: &str) {
    let output = run(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(message.contains(&format!("[{code}]")), "{arguments:?}: {message}, not {code}");
    assert!(message.contains(says), "{arguments:?}: {message:?} does not say {says:?}");
}

fn vectors(printed: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(printed["data"].clone()).unwrap()
}

#[test]
fn embed_prints_texts_then_images_as_the_endpoint_does() {
    let model = data("tiny-gelu.q8_0.gguf");
    let photo = photos().join("rocket.jpg");
    let embed = ["embed", "--model", text(&model)];
    let all = printed(
        &[&embed[..], &["--image", text(&photo), "--text", "a rocket", "--text", "a cat"]].concat(),
    );
    assert_eq!(all["status_code"], 200);
    let all = vectors(&all);
    assert_eq!(all.len(), 3);
    for vector in &all {
        let norm: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-6, "squared norm {norm}");
    }
    assert_eq!(all[1], vectors(&printed(&[&embed[..], &["--text", "a cat"]].concat()))[0]);
    let raw = printed(&[&embed[..], &["--text", "a cat", "--no-normalize"]].concat());
    let raw = &vectors(&raw)[0];
    assert!((cosine(raw, &all[1]) - 1.0).abs() < 1e-6);
    assert!(raw.iter().map(|x| x * x).sum::<f32>() > 1.01);
}

#[test]
fn embed_reads_images_as_it_is_told() {
    let model = data("tiny-gelu.q8_0.gguf");
    let vector = |name: &str, options: &[&str]| {
        let image = fixture("images").join(name);
        let embed = ["embed", "--model", text(&model), "--image", text(&image)];
        vectors(&printed(&[&embed[..], options].concat())).remove(0)
    };
    let upright = vector("orientation_1.png", &[]);
    assert_ne!(vector("orientation_6.png", &[]), upright, "it is turned");
    assert_eq!(vector("orientation_6.png", &["--ignore-orientation"]), upright);
    let vectors = ["drop", "white", "black"].map(|alpha| vector("rgba8.png", &["--alpha", alpha]));
    assert_eq!(vector("rgba8.png", &[]), vectors[0]);
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let cosine = cosine(&vectors[i], &vectors[j]);
        assert!(cosine < 0.999, "{i} and {j} are alike: {cosine}");
    }
    let wrong = run(&["embed", "--model", text(&model), "--alpha", "grey", "--text", "a"]);
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("drop, white or black"));
}

/// Every layout of a checkpoint gives the same file, except for its name and the precision that 16 bits
/// lose.
#[test]
fn convert_reads_every_layout() {
    let directory = TempDir::new().unwrap();
    let vector = |source: &str, file_type: &str| {
        let out = directory.path().join(format!("{source}.{file_type}.gguf"));
        let source = data(source);
        let output = run(&["convert", text(&source), "--type", file_type, "-o", text(&out)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty());
        assert!(!out.with_added_extension("part").exists());
        let photo = photos().join("horse.png");
        vectors(&printed(&[
            "embed",
            "--model",
            text(&out),
            "--text",
            "a horse",
            "--image",
            text(&photo),
        ]))
    };
    let want = vector("tiny-hf", "f32");
    assert_eq!(vector("tiny-hf-sharded", "f32"), want);
    assert_eq!(vector("tiny-open_clip", "f32"), want);
    let file = "tiny-hf/model.safetensors";
    fs::create_dir(directory.path().join("tiny-hf")).unwrap();
    assert_eq!(vector(file, "f32"), want);
    for (source, file_type, least) in [
        ("tiny-hf", "f16", 0.99999),
        ("tiny-hf-f16", "f32", 0.99999),
        ("tiny-hf-bf16", "f32", 0.999),
        ("tiny-hf", "q8_0", 0.999),
        ("tiny-hf", "q5_1", 0.97),
        ("tiny-hf", "q5_0", 0.97),
        ("tiny-hf", "q4_1", 0.9),
        ("tiny-hf", "q4_0", 0.9),
    ] {
        for (got, want) in vector(source, file_type).iter().zip(&want) {
            let cosine = cosine(got, want);
            assert!(cosine >= least, "{source} as {file_type}: {cosine}");
        }
    }
}

#[test]
fn inspect_says_what_a_file_is() {
    let output = run(&["inspect", text(&data("vit-b-32-gelu.q8_0.gguf"))]);
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "12 layers, width 768, 12 heads, feed-forward 3072",
        "images of 224 x 224 pixels, patches of 32 x 32",
        "12 layers, width 512, 8 heads, feed-forward 2048",
        "77 tokens at most, of 49408 in the vocabulary",
        "512 components",
        "gelu",
        "q8_0: 149 tensors",
    ] {
        assert!(said.contains(part), "{said} does not say {part:?}");
    }
}

#[test]
fn bad_calls_are_refused_with_a_code() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let tiny = data("tiny-gelu.q8_0.gguf");
    let whole = fs::read(&tiny).unwrap();
    let model = text(&tiny);
    let page = file("page.gguf", b"<!doctype html><title>Not found</title>");
    let empty = file("empty.gguf", b"");
    let short = file("short.gguf", &whole[..whole.len() - 100]);
    let note = file("note.png", b"this is no picture");
    let cut = file("cut.jpg", &fs::read(photos().join("rocket.jpg")).unwrap()[..30_000]);
    refused(&["embed", "--model", model], "empty_input", "--text or --image");
    for command in [&["inspect"][..], &["embed", "--text", "a", "--model"]] {
        let with = |path: &Path| [command, &[text(path)]].concat().join("\0");
        for (path, code, says) in [
            (&page, "not_a_model", "web page"),
            (&empty, "not_a_model", "empty"),
            (&short, "truncated_model", "download it again"),
            (&note, "not_a_model", "not a GGUF"),
            (&directory.path().join("nowhere"), "io", "nowhere"),
        ] {
            let arguments = with(path);
            refused(&arguments.split('\0').collect::<Vec<_>>(), code, says);
        }
    }
    let folder = text(directory.path());
    refused(&["embed", "--model", folder, "--text", "a"], "io", "is a folder");
    refused(&["embed", "--model", model, "--image", folder], "io", "is a folder");
    refused(&["embed", "--model", model, "--image", text(&note)], "unsupported_image", "note.png");
    refused(&["embed", "--model", model, "--image", text(&cut)], "corrupt_image", "cut.jpg");
}

#[test]
fn what_cannot_be_converted_is_refused_by_name() {
    let source = data("tiny-hf");
    let out = TempDir::new().unwrap();
    let out = out.path().join("out.gguf");
    let config: Value =
        serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value), code: &str, says: &str| {
        let directory = TempDir::new().unwrap();
        let mut config = config.clone();
        change(&mut config);
        fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        for name in ["model.safetensors", "tokenizer.json"] {
            fs::copy(source.join(name), directory.path().join(name)).unwrap();
        }
        refused(&["convert", text(directory.path()), "-o", text(&out)], code, says);
        assert!(!out.exists() && !out.with_added_extension("part").exists());
    };
    with(&|c| c["model_type"] = json!("siglip"), "unsupported_model", "SigLIP");
    with(&|c| c["text_config"]["hidden_act"] = json!("relu"), "unsupported_model", "relu");
    with(
        &|c| c["vision_config"]["hidden_act"] = json!("quick_gelu"),
        "unsupported_model",
        "differ",
    );
    with(
        &|c| c["text_config"]["num_hidden_layers"] = json!(3),
        "missing_tensor",
        "text_model.encoder.layers.2.",
    );
    with(&|c| c["projection_dim"] = json!(65), "malformed_model", "projection");
    with(&|c| c["text_config"]["num_attention_heads"] = json!(5), "malformed_model", "heads");
    let empty = TempDir::new().unwrap();
    refused(&["convert", text(empty.path()), "-o", text(&out)], "not_a_model", "model.safetensors");
    refused(&["convert", "/no/such/place", "-o", text(&out)], "io", "/no/such/place");
    let hub = "https://huggingface.co/openai/clip-vit-base-patch32";
    refused(&["convert", hub, "-o", text(&out)], "io", "download its files");
    let copy = TempDir::new().unwrap();
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        fs::copy(source.join(name), copy.path().join(name)).unwrap();
    }
    for name in ["model.safetensors", "tokenizer.json", "./config.json"] {
        let onto = copy.path().join(name);
        let before = fs::read(&onto).unwrap();
        let arguments = ["convert", text(copy.path()), "-o", text(&onto)];
        refused(&arguments, "invalid_input", "give the GGUF another name");
        assert_eq!(fs::read(&onto).unwrap(), before);
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for (content, says) in [(pointer, "Git LFS pointer"), ("<!doctype html>", "web page")] {
        for name in ["config.json", "tokenizer.json"] {
            let before = fs::read(copy.path().join(name)).unwrap();
            fs::write(copy.path().join(name), content).unwrap();
            let arguments = ["convert", text(copy.path()), "-o", text(&out)];
            refused(&arguments, "not_a_model", says);
            refused(&arguments, "not_a_model", name);
            fs::write(copy.path().join(name), before).unwrap();
        }
    }
    fs::write(empty.path().join("model.safetensors"), [0; 100]).unwrap();
    refused(&["convert", text(empty.path()), "-o", text(&out)], "malformed_model", "safetensors");
}

#[test]
fn limits_are_set_by_name() {
    let model = data("tiny-gelu.q8_0.gguf");
    let embed = ["embed", "--model", text(&model), "--text", "a cat"];
    let with = |limits: &[&'static str]| [&embed[..], limits].concat();
    refused(&with(&["--limit", "textBytes=4"]), "limit_exceeded", "the limit textBytes");
    refused(&with(&["--limit", "layers=1"]), "limit_exceeded", "the limit layers");
    let twice = with(&["--limit", "textBytes=4", "--limit", "textBytes=5"]);
    assert_eq!(vectors(&printed(&twice)), vectors(&printed(&embed)));
    for wrong in ["textBytes", "textBytes=-1", "textBytes=many", "bytes=1"] {
        let output = run(&[&embed[..], &["--limit", wrong]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("--limit"), "{wrong}: {said}");
    }
}

/// Runs with lines on stdin, and gives the lines of stdout.
fn piped(arguments: &[&str], lines: &[u8]) -> (Vec<Value>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_clip-wasm"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    (printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), said)
}

#[test]
fn embed_reads_lines_and_prints_one_for_each() {
    let model = data("tiny-gelu.q8_0.gguf");
    let embed = ["embed", "--model", text(&model), "--stdin", "--output", "jsonl"];
    let photo = photos().join("rocket.jpg");
    let missing = "no/such.jpg";
    let lines = format!(
        "a cat\n{}\r\n\nsee photo.jpg\n{missing}\nhttps://example.org/cat.jpg\nlast",
        text(&photo)
    );
    let (given, said) = piped(&embed, lines.as_bytes());
    assert!(said.contains("2 inputs could not be embedded"), "{said}");
    let wanted: Vec<_> = lines.lines().collect();
    assert_eq!(given.len(), wanted.len());
    let direct = |option: &str, value: &str| {
        vectors(&printed(&["embed", "--model", text(&model), option, value])).remove(0)
    };
    for (index, (line, wanted)) in given.iter().zip(wanted).enumerate() {
        assert_eq!((&line["index"], &line["input"]), (&json!(index), &json!(wanted)));
        let code = line["error"]["code"].as_str();
        match index {
            4 => assert_eq!((code, &line["status_code"]), (Some("io"), &json!(500))),
            5 => assert_eq!((code, &line["status_code"]), (Some("invalid_input"), &json!(400))),
            _ => {
                let option = if index == 1 { "--image" } else { "--text" };
                let vector: Vec<f32> = serde_json::from_value(line["embedding"].clone()).unwrap();
                assert_eq!(vector, direct(option, wanted), "line {index}");
            }
        }
    }
}

#[test]
fn embed_takes_all_lines_as_one_kind_if_it_is_told() {
    let model = data("tiny-gelu.q8_0.gguf");
    let embed = ["embed", "--model", text(&model), "--stdin", "--output", "jsonl", "--lines"];
    let photo = photos().join("rocket.jpg");
    let (texts, _) = piped(&[&embed[..], &["text"]].concat(), text(&photo).as_bytes());
    let direct = printed(&["embed", "--model", text(&model), "--text", text(&photo)]);
    assert_eq!(texts[0]["embedding"], direct["data"][0]);
    let (images, _) = piped(&[&embed[..], &["image"]].concat(), b"a cat\n");
    assert_eq!(images[0]["error"]["code"], "io");
    let (wrong, _) = piped(&[&embed[..], &["text"]].concat(), b"\xff\nnext\n");
    assert_eq!(wrong[0]["error"]["code"], "invalid_input");
    assert!(wrong[1]["embedding"].is_array());
    let mut long = vec![b'a'; 17 << 20];
    long.extend(b"\nnext\n");
    let (long, _) = piped(&[&embed[..], &["text"]].concat(), &long);
    assert_eq!((long.len(), &long[0]["error"]["code"]), (2, &json!("limit_exceeded")));
    assert!(long[1]["embedding"].is_array());
}

#[test]
fn embed_prints_each_line_before_it_reads_the_next() {
    let model = data("tiny-gelu.q8_0.gguf");
    let mut child = Command::new(env!("CARGO_BIN_EXE_clip-wasm"))
        .args(["embed", "--model", text(&model), "--stdin", "--output", "jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for index in 0..3 {
        writeln!(stdin, "text {index}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["index"], index);
    }
    // Nobody reads any more: it ends without an error.
    drop(stdout);
    writeln!(stdin, "unread").unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn embed_prints_lines_as_one_json_by_default() {
    let model = data("tiny-gelu.q8_0.gguf");
    let embed = ["embed", "--model", text(&model), "--stdin"];
    let (printed, _) = piped(&embed, b"a cat\na dog\n");
    assert_eq!((printed.len(), vectors(&printed[0]).len()), (1, 2));
    let mut child = Command::new(env!("CARGO_BIN_EXE_clip-wasm"))
        .args(embed)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"no/such.jpg\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("[io]"));
}
