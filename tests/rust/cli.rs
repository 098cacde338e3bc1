//! The command line as a user runs it: its output, and its errors.

mod lines;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    refused(&["embed", "--model", model, "--image", text(&note)], "unsupported_image", "note.png");
    refused(&["embed", "--model", model, "--image", text(&cut)], "corrupt_image", "cut.jpg");
}

/// Without the feature `hub` there is no network; the message says what to install. With it, see
/// tests/node/command-line-hub.test.mjs.
#[cfg(not(feature = "hub"))]
#[test]
fn names_and_addresses_are_for_the_feature_hub() {
    let model = data("tiny-gelu.q8_0.gguf");
    let name = "openai/clip-vit-base-patch32";
    for arguments in [
        &["embed", "--text", "a", "--model", name][..],
        &["embed", "--text", "a", "--model", "https://huggingface.co/openai/clip-vit-base-patch32"],
        &["inspect", name],
        &["convert", name, "-o", "/no/such/place.gguf"],
        &["embed", "--model", text(&model), "--image", "https://example.org/cat.jpg"],
    ] {
        refused(arguments, "invalid_input", "--features hub");
    }
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
    let elsewhere = "https://example.org/clip-vit-base-patch32";
    refused(&["convert", elsewhere, "-o", text(&out)], "invalid_input", "download the file");
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

/// A link stays a link, and what is not a file stays as it is.
#[test]
fn convert_writes_only_files() {
    let source = data("tiny-hf");
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let out = at("out.gguf");
    let converted = run(&["convert", text(&source), "-o", text(&out)]);
    assert!(converted.status.success());
    fs::create_dir(at("folder")).unwrap();
    for (name, code, says) in [
        ("folder", "invalid_input", "name the file too, such as "),
        ("new/", "invalid_input", "not the path of a file"),
        ("missing/out.gguf", "io", "create it first"),
        ("out.gguf/out.gguf", "io", "out.gguf"),
    ] {
        let to = format!("{}/{name}", directory.path().display());
        refused(&["convert", text(&source), "-o", &to], code, says);
        refused(&["convert", text(&source), "-o", &to], code, &to);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt, symlink};
        fs::write(at("old.gguf"), "old").unwrap();
        symlink("old.gguf", at("link.gguf")).unwrap();
        symlink(at("later.gguf"), at("dangling.gguf")).unwrap();
        for (link, target) in [("link.gguf", "old.gguf"), ("dangling.gguf", "later.gguf")] {
            let linked = run(&["convert", text(&source), "-o", text(&at(link))]);
            assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
            assert!(at(link).is_symlink());
            assert_eq!(fs::read(at(target)).unwrap(), fs::read(&out).unwrap(), "{link}");
        }
        let pipe = at("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let names = ["pipe", "to-pipe", "to-null"];
        symlink(&pipe, at("to-pipe")).unwrap();
        symlink("/dev/null", at("to-null")).unwrap();
        for name in names {
            let to = at(name);
            refused(
                &["convert", text(&source), "-o", text(&to)],
                "invalid_input",
                "a device or a pipe",
            );
        }
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        symlink("loop", at("loop")).unwrap();
        refused(&["convert", text(&source), "-o", text(&at("loop"))], "io", "loop");
    }
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.extension().is_none_or(|end| end != "part")), "{left:?}");
}

/// As with `embed`: nobody who reads is no error, and a full disk is one.
#[cfg(target_os = "linux")]
#[test]
fn inspect_ends_without_a_panic_if_it_cannot_print() {
    let model = data("tiny-gelu.q8_0.gguf");
    let inspect = |stdout: fs::File| {
        let command = Command::new(env!("CARGO_BIN_EXE_clip-wasm"))
            .args(["inspect", text(&model)])
            .stdout(stdout)
            .stderr(std::process::Stdio::piped())
            .output();
        let Output { status, stderr, .. } = command.unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(inspect(std::os::fd::OwnedFd::from(writer).into()), (Some(0), String::new()));
    let (code, said) = inspect(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(code, Some(1));
    assert_eq!(said, "error: No space left on device (os error 28) [io]\n");
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
