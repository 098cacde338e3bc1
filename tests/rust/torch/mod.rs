//! Torch checkpoints: torch's own files are read to the last value; conversion gives the same GGUF as from
//! safetensors, in any pieces and after interruptions; and other files are refused.

mod refusing;
mod scale;

use std::fs;
use std::ops::Range;

use crate::support::reliability::record;
use crate::support::torch::{Checkpoint, Storage, Zip, text};
use crate::support::{data, fixture};
use clip_wasm::convert::{Companions, Converter, FileType, convert};
use clip_wasm::format::weights::{Header, Reader};
use clip_wasm::{Error, ErrorKind, Limit, Limits, Result};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

fn q8_0() -> FileType {
    FileType::named("q8_0").unwrap()
}

fn companions(name: &str) -> Companions {
    let text = |file: &str| fs::read_to_string(data(name).join(file)).ok();
    Companions {
        name: name.into(),
        config: text("config.json"),
        open_clip_config: text("open_clip_config.json"),
        tokenizer: text("tokenizer.json"),
        ..Companions::default()
    }
}

fn weights(name: &str) -> Vec<u8> {
    let file = if name.contains("open_clip") { "open_clip_model" } else { "model" };
    fs::read(data(name).join(format!("{file}.safetensors"))).unwrap()
}

fn write(gguf: &mut Vec<u8>, offset: u64, bytes: &[u8]) -> Result<()> {
    let end = offset as usize + bytes.len();
    gguf.resize(gguf.len().max(end), 0xaa);
    gguf[offset as usize..end].copy_from_slice(bytes);
    Ok(())
}

/// The GGUF, converted in chunks of these sizes; the last size is repeated.
fn converted(name: &str, file: &[u8], sizes: &[usize]) -> Result<Vec<u8>> {
    let mut gguf = Vec::new();
    let mut converter = Converter::new(companions(name), q8_0(), None);
    let (mut rest, mut sizes, mut size) = (file, sizes.iter(), 0);
    while !rest.is_empty() {
        size = *sizes.next().unwrap_or(&size);
        let chunk = rest.split_off(..size.min(rest.len())).unwrap();
        converter.push(chunk, &mut |offset, bytes| write(&mut gguf, offset, bytes))?;
    }
    converter.end_file()?;
    converter.finish()?;
    Ok(gguf)
}

fn header(bytes: &[u8]) -> Result<Header> {
    let header = Reader::new(&Limits::default()).read(bytes)?;
    header.ok_or_else(|| Reader::new(&Limits::default()).end(bytes))
}

fn refusal(bytes: &[u8]) -> Error {
    header(bytes).expect_err("it is refused")
}

#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, says: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error} does not say {says:?}");
}

fn values(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    let twos = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x).into()).collect(),
        Dtype::F16 => twos().map(|x| f16::from_le_bytes(*x).into()).collect(),
        Dtype::BF16 => twos().map(|x| bf16::from_le_bytes(*x).into()).collect(),
        Dtype::I64 => bytes.as_chunks().0.iter().map(|x| i64::from_le_bytes(*x) as f64).collect(),
        other => panic!("{other}"),
    }
}

/// The files were written with torch by `tests/reference/checkpoints.py`.
#[test]
fn torchs_own_files_are_read_to_the_last_value() {
    let described = fs::read(fixture("torch/tensors.json")).unwrap();
    let described: Value = serde_json::from_slice(&described).unwrap();
    let described = described["tensors"].as_object().unwrap();
    for file in ["state.bin", "before.bin", "training.bin"] {
        let bytes = fs::read(fixture("torch").join(file)).unwrap();
        let header = header(&bytes).unwrap();
        for check in header.checks() {
            let part = check.bytes.start as usize..check.bytes.end as usize;
            check.check(&bytes[part]).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        for (name, want) in described {
            let tensor = header.get(name).unwrap_or_else(|| panic!("{file}: {name}"));
            let shape: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
            assert_eq!(tensor.shape, shape, "{file}: {name}");
            assert_eq!(tensor.row_major, want["contiguous"] == true, "{file}: {name}");
            if tensor.row_major {
                let part = tensor.bytes.start as usize..tensor.bytes.end as usize;
                let got = values(tensor.dtype, &bytes[part]);
                let want: Vec<f64> = serde_json::from_value(want["values"].clone()).unwrap();
                assert_eq!(got, want, "{file}: {name}");
            }
        }
        assert_eq!(header.get("ramp.12"), None);
    }
}

#[test]
fn what_else_torch_writes_is_refused_by_name() {
    use ErrorKind::UnsupportedModel;
    for (file, says) in [
        ("legacy.bin", "before torch 1.6"),
        ("module.bin", "torch.nn.modules.linear.Linear"),
        ("negative.bin", "a negated view"),
        ("script.pt", "TorchScript"),
    ] {
        let bytes = fs::read(fixture("torch").join(file)).unwrap();
        assert_says(&refusal(&bytes), UnsupportedModel, says);
        let error = converted("tiny-hf", &bytes, &[1]).unwrap_err();
        assert_says(&error, UnsupportedModel, says);
    }
}

#[test]
fn a_checkpoint_becomes_what_its_safetensors_become() {
    let byte_by_byte = [&[1; 30_000][..], &[1 << 20]].concat();
    for name in ["tiny-hf", "tiny-hf-f16", "tiny-hf-bf16", "tiny-open_clip"] {
        let weights = weights(name);
        let want = converted(name, &weights, &[1 << 20]).unwrap();
        let new = Checkpoint::of(&weights);
        let old = Checkpoint { by_number: false, byteorder: None, ..new.clone() };
        let wide = Checkpoint { alignment: 4096, archive: "a model", ..new.clone() };
        let mut state = vec![b'}', b'('];
        text(&mut state, "epoch");
        state.extend(b"K\x05");
        text(&mut state, "state_dict");
        let around = (state, b"u".to_vec());
        let training = Checkpoint { around, prefix: "module.", ..new.clone() };
        for (label, checkpoint) in [
            ("as torch writes it now", new.clone()),
            ("as torch wrote it before", old),
            ("aligned to pages", wide),
            ("of a training", training),
            ("in one storage", new.clone().in_one_storage()),
        ] {
            let file = checkpoint.bytes();
            for sizes in [&[usize::MAX][..], &[4096], &[1 << 20], &byte_by_byte] {
                let got = converted(name, &file, sizes).unwrap();
                assert!(got == want, "{name} {label}, in chunks of {:?}", sizes.last());
            }
        }
    }
}

/// A conversion interrupted after `at` bytes, then continued with only the parts of the file that are
/// wanted.
fn broken_off(name: &str, file: &[u8], at: usize) -> (Vec<u8>, u64) {
    let (mut gguf, mut kept) = (Vec::new(), Vec::<Range<u64>>::new());
    let mut first = Converter::new(companions(name), q8_0(), None);
    for chunk in file[..at].chunks(100_000) {
        let sink = &mut |offset, bytes: &[u8]| {
            kept.push(offset..offset + bytes.len() as u64);
            write(&mut gguf, offset, bytes)
        };
        first.push(chunk, sink).unwrap();
    }
    let mut converter = Converter::new(companions(name), q8_0(), None);
    converter.keep(kept);
    let mut sink = |offset, bytes: &[u8]| write(&mut gguf, offset, bytes);
    let mut chunks = file.chunks(1000);
    while converter.wanted().is_none() {
        converter.push(chunks.next().unwrap(), &mut sink).unwrap();
    }
    let mut read = 0;
    for part in converter.wanted().unwrap() {
        converter.seek(part.start);
        for chunk in file[part.start as usize..part.end as usize].chunks(77_777) {
            converter.push(chunk, &mut sink).unwrap();
            read += chunk.len() as u64;
        }
    }
    assert_eq!(converter.wanted(), Some(Vec::new()));
    converter.end_file().unwrap();
    converter.finish().unwrap();
    (gguf, read)
}

#[test]
fn a_conversion_that_was_broken_off_goes_on_with_what_is_missing() {
    for name in ["tiny-hf", "tiny-open_clip"] {
        let weights = weights(name);
        let want = converted(name, &weights, &[1 << 20]).unwrap();
        let checkpoint = Checkpoint::of(&weights);
        for file in [checkpoint.bytes(), checkpoint.clone().in_one_storage().bytes()] {
            let size = file.len();
            for at in [0, 5000, size / 3, size / 2, size - 600_000, size - 1000, size] {
                let (got, read) = broken_off(name, &file, at);
                assert!(got == want, "{name} broken off at {at}");
                assert!(at < size || read == 0, "{name}: {read} bytes where all is kept");
                assert!(read <= (size - at) as u64 + 5_000_000, "{name}: {read} bytes");
            }
        }
    }
}

#[test]
fn the_command_line_takes_safetensors_before_pickles() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path(), directory.path().join("out.gguf"));
    let run = || convert(from, &to, q8_0(), None, &Limits::default(), |_, _| ());
    for (name, file) in
        [("tiny-hf", "pytorch_model.bin"), ("tiny-open_clip", "open_clip_pytorch_model.bin")]
    {
        for entry in fs::read_dir(data(name)).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.extension().is_some_and(|end| end == "json") {
                fs::copy(&entry, from.join(entry.file_name().unwrap())).unwrap();
            }
        }
        let weights = weights(name);
        fs::write(from.join(file), Checkpoint::of(&weights).bytes()).unwrap();
        run().unwrap();
        let want = Converter::new(companions(name), q8_0(), None);
        assert!(want.file_size().is_none());
        let of_torch = fs::read(&to).unwrap();
        let alone = from.join(file);
        convert(&alone, &to, q8_0(), None, &Limits::default(), |_, _| ()).unwrap();
        assert!(fs::read(&to).unwrap() == of_torch, "{file} by its own name");
        let safetensors = from.join(match name {
            "tiny-hf" => "model.safetensors",
            _ => "open_clip_model.safetensors",
        });
        fs::write(&safetensors, &weights).unwrap();
        fs::write(from.join(file), "not read").unwrap();
        run().unwrap();
        assert!(fs::read(&to).unwrap() == of_torch, "{name} of safetensors");
        fs::remove_file(&safetensors).unwrap();
        fs::remove_file(from.join(file)).unwrap();
    }
    assert_says(&run().unwrap_err(), ErrorKind::NotAModel, "pytorch_model.bin");
}

/// A checkpoint in two files, with the index that names them.
#[test]
fn shards_become_what_the_whole_becomes() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path(), directory.path().join("out.gguf"));
    let whole = Checkpoint::of(&weights("tiny-hf"));
    let mut map = serde_json::Map::new();
    for (place, part) in whole.tensors.chunks(whole.tensors.len() / 2 + 1).enumerate() {
        let name = format!("pytorch_model-0000{}-of-00002.bin", place + 1);
        let mut shard = Checkpoint::new();
        for tensor in part {
            let Storage { dtype, bytes } = &whole.storages[tensor.storage];
            shard.add(&tensor.name, *dtype, &tensor.shape, bytes);
            map.insert(tensor.name.clone(), name.clone().into());
        }
        fs::write(from.join(name), shard.bytes()).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map });
    fs::write(from.join("pytorch_model.bin.index.json"), index.to_string()).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(data("tiny-hf").join(name), from.join(name)).unwrap();
    }
    convert(from, &to, q8_0(), None, &Limits::default(), |_, _| ()).unwrap();
    let shards = fs::read(&to).unwrap();
    fs::remove_file(from.join("pytorch_model.bin.index.json")).unwrap();
    fs::write(from.join("pytorch_model.bin"), whole.bytes()).unwrap();
    convert(from, &to, q8_0(), None, &Limits::default(), |_, _| ()).unwrap();
    assert!(fs::read(&to).unwrap() == shards);
}
