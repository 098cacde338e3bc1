//! Converted weights, compared byte for byte with gguf-py's quantisers (tests/reference/quantised.py).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use crate::support::{crc32, data, fixture};
use clip_wasm::Limits;
use clip_wasm::convert::{FILE_TYPES, convert};
use clip_wasm::format::gguf::Header;

/// Type, then tensor, to the checksum of its bytes.
type Digests = BTreeMap<String, BTreeMap<String, u32>>;

fn expected(model: &str) -> Digests {
    let text = fs::read_to_string(fixture("quantised.json")).unwrap();
    let mut models: HashMap<String, Digests> = serde_json::from_str(&text).unwrap();
    models.remove(model).unwrap()
}

/// The tensors of a file whose type or bytes differ from the expected ones.
fn differences(path: &Path, kind: &str, expected: &BTreeMap<String, u32>) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    let header = Header::parse(&bytes, &Limits::default()).unwrap().unwrap();
    let difference = |(name, digest): (&String, &u32)| {
        let tensor = header.tensors.iter().find(|tensor| tensor.name == *name).unwrap();
        let stored = format!("{:?}", tensor.dtype).to_lowercase();
        let bytes = &bytes[tensor.offset as usize..(tensor.offset + tensor.size) as usize];
        let same = stored == kind && crc32(bytes.iter().copied()) == *digest;
        (!same).then(|| format!("{kind} {name} {:?}, stored as {stored}", tensor.shape))
    };
    expected.iter().filter_map(difference).collect()
}

#[test]
fn every_type_is_written_as_gguf_py_writes_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for (kind, digests) in expected("tiny") {
        let file_type = FILE_TYPES.into_iter().find(|known| known.name == kind).unwrap();
        let path = directory.path().join(format!("{kind}.gguf"));
        convert(&data("tiny-hf"), &path, file_type, None, &Limits::default(), |_, _| ()).unwrap();
        failures.extend(differences(&path, &kind, &digests));
    }
    assert!(failures.is_empty(), "{} tensors differ: {failures:#?}", failures.len());
}

/// With many more values, a rounding error of one step would show.
#[test]
fn a_full_size_model_is_written_as_gguf_py_writes_it() {
    let mut failures = Vec::new();
    for (kind, digests) in expected("vit-b-32") {
        if kind != "f16" {
            let path = data(&format!("vit-b-32-gelu.{kind}.gguf"));
            failures.extend(differences(&path, &kind, &digests));
        }
    }
    assert!(failures.is_empty(), "{} tensors differ: {failures:#?}", failures.len());
}
