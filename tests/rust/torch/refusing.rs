//! What is refused, by name.

use super::*;

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
    let outcome = "each refused by name when its header is read";
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
