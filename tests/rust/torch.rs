//! Torch checkpoints: torch's own files are read to the last value; conversion gives the same GGUF as from
//! safetensors, in any pieces and after interruptions; and other files are refused.

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

/// A few tensors, whose storages sort differently as numbers and as names.
fn small() -> Checkpoint {
    let mut checkpoint = Checkpoint::new();
    for place in 0..12 {
        let bytes = vec![place as u8; 4 * (place + 1)];
        checkpoint.add(&format!("t{place}"), Dtype::F32, &[place + 1], &bytes);
    }
    checkpoint
}

#[test]
fn archives_that_torch_does_not_write_are_refused_by_name() {
    use ErrorKind::{LimitExceeded, MalformedModel, UnsupportedModel};
    let with = |change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = small();
        change(&mut checkpoint);
        checkpoint.bytes()
    };
    let pickled = |pickle: &[u8]| small().bytes_with(pickle);
    let zip = |name: &str| {
        let mut zip = Zip::new(64);
        zip.add(name, b"anything", 0);
        zip.finish()
    };
    let mut without_storages = Zip::new(64);
    without_storages.add("archive/data.pkl", &small().pickle(), 0);
    let mut wrong_checksum = small().bytes();
    wrong_checksum[75] ^= 1; // in the first name
    let mut tar = vec![0; 512];
    tar[..8].copy_from_slice(b"storages");
    tar[257..262].copy_from_slice(b"ustar");
    let state = |inner: &[u8]| {
        let mut pickle = b"\x80\x02}(".to_vec();
        text(&mut pickle, "epoch");
        pickle.extend(b"K\x01");
        text(&mut pickle, "model");
        pickle.extend(inner);
        pickle.extend(b"u.");
        pickle
    };
    let long_name = [&b"\x80\x02c"[..], &[b'x'; 5000], b"\n"].concat();
    let deep = [&b"\x80\x02"[..], &[b')'; 1], &[0x85; 200_000], b"."].concat();
    let marks = [&b"\x80\x02"[..], &vec![b'('; 1_100_000]].concat();
    let cases: Vec<(&str, Vec<u8>, ErrorKind, &str)> = vec![
        ("a call", pickled(b"\x80\x02cos\nsystem\n"), UnsupportedModel, "os.system"),
        (
            "a call by strings",
            pickled(b"\x80\x04\x8c\x02os\x8c\x06system\x93"),
            UnsupportedModel,
            "os.system",
        ),
        ("a dtype", pickled(b"\x80\x02ctorch\nfloat32\n."), UnsupportedModel, "torch.float32"),
        ("a name without end", pickled(&long_name), UnsupportedModel, "xxx"),
        (
            "a class of a script",
            pickled(b"\x80\x02c__torch__.model\nCLIP\n"),
            UnsupportedModel,
            "TorchScript",
        ),
        ("an unknown instruction", pickled(b"\x80\x02\x81"), UnsupportedModel, "0x81"),
        ("an unknown protocol", pickled(b"\x80\x09}."), MalformedModel, "protocol"),
        ("no dict", pickled(b"\x80\x02K\x01."), UnsupportedModel, "other than a dict"),
        ("a deep tuple", pickled(&deep), UnsupportedModel, "other than a dict"),
        ("too many values", pickled(&marks), LimitExceeded, "metadataValues"),
        ("no tensors", pickled(b"\x80\x02}."), UnsupportedModel, "no tensors"),
        ("tensors under another name", pickled(&state(b"}")), UnsupportedModel, "\"model\""),
        (
            "an object with a state",
            pickled(b"\x80\x02K\x01}b."),
            UnsupportedModel,
            "state of its own",
        ),
        ("an empty stack", pickled(b"\x80\x02R."), MalformedModel, "contradicts"),
        ("a memo that is empty", pickled(b"\x80\x02h\x05."), MalformedModel, "contradicts"),
        ("half a pair", pickled(b"\x80\x02}(K\x01u."), MalformedModel, "contradicts"),
        ("a mark in a tuple", pickled(b"\x80\x02((\x86."), MalformedModel, "contradicts"),
        ("big-endian", with(&|c| c.byteorder = Some("big")), UnsupportedModel, "big-endian"),
        ("compressed", with(&|c| c.compressed = true), UnsupportedModel, "compressed"),
        ("an alignment of nothing", with(&|c| c.alignment = 0), UnsupportedModel, "alignment"),
        ("beyond its storage", with(&|c| c.tensor("t3").offset = 1), MalformedModel, "beyond"),
        ("another size", with(&|c| c.tensor("t3").shape = vec![5]), MalformedModel, "beyond"),
        (
            "sizes that overflow",
            with(&|c| {
                c.tensor("t3").shape = vec![1 << 30; 4];
                c.tensor("t3").strides = vec![1; 4];
            }),
            MalformedModel,
            "contradicts",
        ),
        (
            "a stride too few",
            with(&|c| c.tensor("t3").strides = vec![]),
            MalformedModel,
            "contradicts",
        ),
        ("a wrong checksum", wrong_checksum, MalformedModel, "checksum"),
        ("no storages", without_storages.finish(), MalformedModel, "missing"),
        ("another archive", zip("mimetype"), UnsupportedModel, "zip archive"),
        ("a script", zip("model/code/__torch__.py"), UnsupportedModel, "TorchScript"),
        ("a script's constants", zip("model/constants.pkl"), UnsupportedModel, "TorchScript"),
        ("a tar", tar, UnsupportedModel, "before torch 1.6"),
        ("a bare pickle", [&b"\x80\x04\x95"[..], &[0; 20]].concat(), UnsupportedModel, "pickle"),
        ("cut short", small().bytes()[..200].to_vec(), ErrorKind::TruncatedModel, "200 bytes"),
    ];
    for (label, bytes, kind, says) in &cases {
        let error = header(bytes).err().unwrap_or_else(|| panic!("{label} is read"));
        assert_eq!(error.kind(), *kind, "{label}: {error}");
        assert!(error.to_string().contains(says), "{label}: {error} does not say {says:?}");
    }
    let outcome = "each refused with its header, by name";
    record(
        "inputs",
        "checkpoints of torch with more than tensors, or damaged",
        &cases.len().to_string(),
        outcome,
    );
}

#[test]
fn limits_hold() {
    let bytes = small().bytes();
    for (limit, most) in
        [(Limit::HeaderBytes, 300), (Limit::Tensors, 11), (Limit::MetadataValues, 50)]
    {
        let limits = Limits::default().with(limit, most);
        let error = Reader::new(&limits).read(&bytes).unwrap_err();
        assert_says(&error, ErrorKind::LimitExceeded, limit.name());
    }
    // A text of four gigabytes is refused as soon as the header's limit is reached.
    let claim = small().bytes_with(b"\x80\x02X\xff\xff\xff\xff");
    let limits = Limits::default().with(Limit::HeaderBytes, 100);
    let error = Reader::new(&limits).read(&claim).unwrap_err();
    assert_says(&error, ErrorKind::LimitExceeded, "headerBytes");
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    use ErrorKind::{MissingTensor, UnsupportedModel};
    let of = |change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = Checkpoint::of(&weights("tiny-hf"));
        change(&mut checkpoint);
        converted("tiny-hf", &checkpoint.bytes(), &[1 << 20]).expect_err("it is refused")
    };
    let projection = "text_projection.weight";
    let bias = "vision_model.post_layernorm.bias";
    let error = of(&|c| c.tensor(projection).strides.reverse());
    assert_says(&error, UnsupportedModel, "text_projection.weight is not contiguous");
    let error = of(&|c| c.tensor(bias).strides = vec![0]);
    assert_says(&error, UnsupportedModel, "post_layernorm.bias is not contiguous");
    let error = of(&|c| {
        let storage = c.tensor("visual_projection.weight").storage;
        c.tensor(projection).storage = storage;
    });
    assert_says(&error, UnsupportedModel, "share values");
    let error = of(&|c| c.tensors.retain(|tensor| tensor.name != bias));
    assert_says(&error, MissingTensor, bias);
    let error = of(&|c| {
        let storage = c.tensor(bias).storage;
        let zeros = vec![0; 2 * c.storages[storage].bytes.len()];
        c.storages[storage] = Storage { dtype: Dtype::F64, bytes: zeros };
    });
    assert_says(&error, UnsupportedModel, "post_layernorm.bias is stored as F64");
}

/// The pickle is valid, but the archive's storages are in a different order.
#[test]
fn storages_that_stand_elsewhere_are_noticed() {
    let checkpoint = Checkpoint::of(&weights("tiny-hf"));
    let old = Checkpoint { by_number: false, ..checkpoint.clone() };
    let (new, old) = (checkpoint.bytes(), old.bytes());
    // The header of one file with the storages of the other.
    let behind = |bytes: &[u8]| header(bytes).unwrap().data_start() as usize;
    let mixed = [&new[..behind(&new)], &vec![0; 64 - behind(&new) % 64], &old[behind(&old)..]];
    let error = converted("tiny-hf", &mixed.concat(), &[1 << 20]).unwrap_err();
    assert_says(&error, ErrorKind::UnsupportedModel, "laid out");
    let name = new.windows(10).position(|ten| ten == b"ive/data/1").unwrap();
    let mut renamed = new;
    renamed[name + 9] = b'x';
    let error = converted("tiny-hf", &renamed, &[1 << 20]).unwrap_err();
    assert_says(&error, ErrorKind::UnsupportedModel, "archive/data/1");
}

#[test]
fn any_byte_may_be_wrong() {
    let files =
        ["state.bin", "before.bin", "training.bin", "module.bin", "script.pt", "legacy.bin"];
    let files = files.map(|file| fs::read(fixture("torch").join(file)).unwrap());
    let mut seed = 7_u64;
    let mut next = move |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    let mut tried = 0;
    let mut look = |bytes: &[u8]| {
        tried += 1;
        match header(bytes) {
            Err(error) => assert_ne!(error.kind(), ErrorKind::Internal, "{error}"),
            Ok(header) => {
                for name in ["ramp.11", "part.1", "transposed", "matrix", "scalar"] {
                    let Some(tensor) = header.get(name) else { continue };
                    assert!(header.data_start() <= tensor.bytes.start, "{name}");
                    assert!(tensor.bytes.start <= tensor.bytes.end, "{name}");
                    assert!(tensor.bytes.end <= header.data_end(), "{name}");
                }
            }
        }
    };
    for file in &files {
        (0..=file.len()).for_each(|end| look(&file[..end]));
        for at in 0..file.len().min(2200) {
            for value in [0, 0xff, file[at] ^ 1, file[at] ^ 0x80, b'(', b'R', b't', b'.', b'}'] {
                let mut bytes = file.clone();
                bytes[at] = value;
                look(&bytes);
            }
        }
        for _ in 0..3000 {
            let mut bytes = file.clone();
            for _ in 0..1 + next(8) {
                let at = next(bytes.len().min(2200));
                bytes[at] = next(256) as u8;
            }
            let from = next(bytes.len().min(2200));
            let to = from + next(60).min(bytes.len() - from);
            if next(2) == 0 {
                bytes.drain(from..to);
            } else {
                let part = bytes[from..to].to_vec();
                bytes.splice(from..from, part);
            }
            look(&bytes);
        }
    }
    // The checksum finds a wrong byte of the pickle, unless the pickle machine stops at it first. So the
    // machine is also tested alone.
    let pickle = small().pickle();
    for _ in 0..20_000 {
        let mut bytes = pickle.clone();
        for _ in 0..1 + next(4) {
            let at = next(bytes.len());
            bytes[at] = next(256) as u8;
        }
        look(&small().bytes_with(&bytes));
    }
    record("inputs", "damaged checkpoints of torch", &tried.to_string(), "each read or refused");
}

/// The checkpoint with a logit scale: as safetensors, which start with it, and as torch's, which ends with
/// it.
fn with_scale() -> (Vec<u8>, Checkpoint) {
    let weights = weights("tiny-hf");
    let scale = 2.6592_f32.to_le_bytes();
    let mut tensors = SafeTensors::deserialize(&weights).unwrap().tensors();
    let view = TensorView::new(Dtype::F32, vec![], &scale).unwrap();
    tensors.push(("logit_scale".into(), view));
    let safetensors = safetensors::serialize(tensors, None).unwrap();
    let mut checkpoint = Checkpoint::of(&weights);
    checkpoint.add("logit_scale", Dtype::F32, &[], &scale);
    (safetensors, checkpoint)
}

#[test]
fn the_scale_is_found_wherever_it_stands() {
    let (safetensors, checkpoint) = with_scale();
    let want = converted("tiny-hf", &safetensors, &[1 << 20]).unwrap();
    let without = converted("tiny-hf", &weights("tiny-hf"), &[1 << 20]).unwrap();
    assert!(want.len() != without.len() || want != without);
    let file = checkpoint.bytes();
    for sizes in [[usize::MAX], [4096]] {
        let got = converted("tiny-hf", &file, &sizes).unwrap();
        assert!(got == without, "a stream in order has it too late");
    }
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("tiny-hf");
    let to = directory.path().join("out.gguf");
    fs::create_dir(&from).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(data("tiny-hf").join(name), from.join(name)).unwrap();
    }
    let one = checkpoint.clone().in_one_storage().bytes();
    let old = Checkpoint { by_number: false, ..checkpoint }.bytes();
    for (label, bytes) in [("new", &file), ("old", &old), ("in one storage", &one)] {
        fs::write(from.join("pytorch_model.bin"), bytes).unwrap();
        convert(&from, &to, q8_0(), None, &Limits::default(), |_, _| ()).unwrap();
        assert!(fs::read(&to).unwrap() == want, "{label}, by the command line");
        for chunk in [1, 3, 1000] {
            assert!(sought(bytes, chunk).unwrap() == want, "{label}, in chunks of {chunk}");
        }
    }
}

/// Converts as a caller who can read from any position, and who reads the scale in chunks of this size.
fn sought(file: &[u8], chunk: usize) -> Result<Vec<u8>> {
    let mut gguf = Vec::new();
    let mut sink = |offset, bytes: &[u8]| write(&mut gguf, offset, bytes);
    let mut converter = Converter::new(companions("tiny-hf"), q8_0(), None).seeking();
    let mut position = 0;
    while converter.source_size().is_none() {
        let Some(part) = converter.wanted() else {
            let end = file.len().min(position + 1000);
            converter.push(&file[position..end], &mut sink)?;
            position = end;
            continue;
        };
        let [part] = &part[..] else { panic!("{part:?}") };
        converter.seek(part.start);
        let end = part.end.min(part.start + chunk as u64);
        converter.push(&file[part.start as usize..end as usize], &mut sink)?;
    }
    converter.push(&file[position..], &mut sink)?;
    converter.end_file()?;
    converter.finish()?;
    Ok(gguf)
}

#[test]
fn a_scale_that_does_not_come_is_missed() {
    let file = with_scale().1.bytes();
    let start = header(&file).unwrap().data_start() as usize + 200;
    let waiting = || {
        let mut converter = Converter::new(companions("tiny-hf"), q8_0(), None).seeking();
        converter.push(&file[..start], &mut |_, _| panic!("the scale is not there")).unwrap();
        (converter.wanted().unwrap()[0].clone(), converter)
    };
    let (_, mut converter) = waiting();
    assert_eq!(converter.end_file().unwrap_err().kind(), ErrorKind::TruncatedModel);
    let (part, mut converter) = waiting();
    converter.seek(part.start + 1);
    let error = converter.push(&[0; 3], &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}
