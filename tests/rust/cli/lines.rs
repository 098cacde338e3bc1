//! `embed` of many inputs: lines of stdin, and folders.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::*;

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
        "a cat\n{}\r\n\nsee photo.jpg\n{missing}\nhttps://no.invalid/a b.jpg\nlast",
        text(&photo)
    );
    let (given, said) = piped(&embed, lines.as_bytes());
    assert!(said.contains("whose lines have an error: 2"), "{said}");
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

#[test]
fn embed_takes_folders_and_threads() {
    let model = data("tiny-gelu.q8_0.gguf");
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("pictures");
    fs::create_dir_all(folder.join("b/deeper")).unwrap();
    // More than are embedded together, in an order that only their names give.
    for index in (0..20).rev() {
        let name = ["rocket.jpg", "horse.png"][index % 2];
        let extension = ["JPG", "png"][index % 2];
        fs::copy(photos().join(name), folder.join(format!("b/{index:02}.{extension}"))).unwrap();
    }
    fs::copy(photos().join("rocket.jpg"), folder.join("a.jpeg")).unwrap();
    fs::write(folder.join("b/deeper/broken.gif"), "GIF89a").unwrap();
    fs::write(folder.join("notes.txt"), "no image").unwrap();
    let embed = |threads: &str| {
        let arguments = ["embed", "--model", text(&model), "--image", text(&folder)];
        piped(&[&arguments[..], &["--output", "jsonl", "--threads", threads]].concat(), b"").0
    };
    let one = embed("1");
    assert_eq!(one, embed("2"));
    assert_eq!(one.len(), 22);
    let names: Vec<_> = one.iter().map(|line| line["input"].as_str().unwrap()).collect();
    assert!(names[0].ends_with("a.jpeg") && names[21].ends_with("broken.gif"), "{names:?}");
    assert!(names[1..21].is_sorted(), "{names:?}");
    assert_eq!(one[21]["error"]["code"], "corrupt_image");
    let direct =
        printed(&["embed", "--model", text(&model), "--image", names[0], "--image", names[2]]);
    for (index, line) in one[..21].iter().enumerate() {
        let kind = usize::from(index > 0 && index % 2 == 0);
        assert_eq!(line["embedding"], direct["data"][kind], "{index}");
    }
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let embed = ["embed", "--model", text(&model), "--image", text(&empty)];
    refused(&embed, "empty_input", "has no image files");
    let none = Command::new(env!("CARGO_BIN_EXE_clip-wasm"))
        .args([&embed[..], &["--threads", "0"]].concat())
        .output()
        .unwrap();
    assert!(!none.status.success());
}

#[test]
fn embed_gives_each_line_the_error_of_a_tower_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("text.gguf");
    let mut bytes = fs::read(data("tiny-gelu.q8_0.gguf")).unwrap();
    let key = b"clip.has_vision_encoder";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    assert_eq!(bytes[at..at + 5], [7, 0, 0, 0, 1], "a boolean that is true");
    bytes[at + 4] = 0;
    fs::write(&model, bytes).unwrap();
    let photo = photos().join("rocket.jpg");
    let lines = format!("a\n{}\nb\nno/such.jpg\nc\n", text(&photo));
    let embed = ["embed", "--model", text(&model), "--stdin", "--output", "jsonl"];
    let (given, _) = piped(&embed, lines.as_bytes());
    let codes: Vec<_> = given.iter().map(|line| line["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("missing_tower"), None, Some("io"), None]);
}

/// Who lists a folder's path would otherwise search with the vector of a text.
#[test]
fn embed_gives_a_line_that_is_a_folder_an_error() {
    let model = data("tiny-gelu.q8_0.gguf");
    let directory = tempfile::tempdir().unwrap();
    let folder = text(directory.path());
    let embed = ["embed", "--model", text(&model), "--stdin", "--output", "jsonl", "--lines"];
    let lines = format!("{folder}\n{folder}/\n");
    for (kind, code) in
        [("auto", Some("invalid_input")), ("image", Some("invalid_input")), ("text", None)]
    {
        let (given, _) = piped(&[&embed[..], &[kind]].concat(), lines.as_bytes());
        assert_eq!(given.len(), 2);
        for line in given {
            assert_eq!(line["error"]["code"].as_str(), code, "{kind}: {line}");
            let message = line["error"]["message"].as_str().unwrap_or("find FOLDER -type f");
            assert!(message.contains("find FOLDER -type f"), "{message}");
        }
    }
    let (given, _) = piped(&[&embed[..], &["auto"]].concat(), b"/dev/null\nno/such/folder");
    let codes: Vec<_> = given.iter().map(|line| line["error"]["code"].as_str()).collect();
    let of_device = cfg!(unix).then_some("invalid_input");
    assert_eq!(codes, [of_device, None]);
}
