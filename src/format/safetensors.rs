//! Reads the header of safetensors files.
//!
//! Follows the [format's own description](https://github.com/huggingface/safetensors#format). The tensors'
//! bytes are streamed (see [`crate::convert`]).

use std::collections::HashMap;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, ErrorKind, Result};
use crate::format::weights::Tensor;
use crate::format::{SNIFF_BYTES, expect_safetensors};
use crate::limits::{Limit, Limits};

/// Size of the length field before the header.
const LENGTH_BYTES: usize = 8;
/// The format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The header: everything before the tensors' bytes. The tensors follow one another without gaps, and the
/// size of each matches its shape and type.
#[derive(Debug)]
pub struct Header {
    tensors: HashMap<String, Info>,
    data_start: u64,
    data_bytes: u64,
}

/// The header's JSON. The crate's own type counts bits in 32 bits where a browser does, and refuses tensors of 512 MiB,
/// which the token table of a SigLIP 2 exceeds.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "__metadata__")]
    _metadata: Option<IgnoredAny>,
    #[serde(flatten)]
    tensors: HashMap<String, Info>,
}

#[derive(Debug, Deserialize)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Info {
    /// Its bytes, by its shape and type.
    fn size(&self) -> Option<u64> {
        let elements = self.shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size as u64))?;
        let bits = elements.checked_mul(self.dtype.bitsize() as u64)?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

impl Header {
    /// Reads the header from the first bytes of a file: `None` if it needs more of them.
    ///
    /// # Errors
    /// `not_a_model` or `unsupported_model` for a file of another kind; `malformed_model` if the header
    /// contradicts itself; `limit_exceeded`.
    pub fn parse(prefix: &[u8], limits: &Limits) -> Result<Option<Self>> {
        let Some((length, rest)) = prefix.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u64::from_le_bytes(*length);
        let within = limits.check(Limit::HeaderBytes, (LENGTH_BYTES as u64).saturating_add(length));
        if length > MAX_HEADER_BYTES || within.is_err() {
            if prefix.len() < SNIFF_BYTES {
                return Ok(None);
            }
            expect_safetensors(prefix)?;
        }
        if length > MAX_HEADER_BYTES {
            return Err(malformed(format!("it claims a header of {length} bytes")));
        }
        within?;
        let Some(json) = rest.get(..length as usize) else { return Ok(None) };
        let File { tensors, .. } = serde_json::from_slice(json)
            .map_err(|source| malformed(format!("its header: {source}")).with_source(source))?;
        limits.check(Limit::Tensors, tensors.len() as u64)?;
        let data_bytes = check(&tensors)?;
        Ok(Some(Self { tensors, data_start: LENGTH_BYTES as u64 + length, data_bytes }))
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let info = self.tensors.get(name)?;
        let (start, end) = info.data_offsets;
        let bytes = self.data_start + start..self.data_start + end;
        Some(Tensor { dtype: info.dtype, shape: &info.shape, row_major: true, bytes })
    }

    /// The end of the header and start of the tensors, in bytes.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// The size of a complete file, in bytes.
    pub fn file_size(&self) -> u64 {
        self.data_start + self.data_bytes
    }
}

/// Checks that the tensors follow one another, and have the sizes of their shapes. Returns the end of the last one.
fn check(tensors: &HashMap<String, Info>) -> Result<u64> {
    let mut list: Vec<(&String, &Info)> = tensors.iter().collect();
    list.sort_unstable_by_key(|(_, info)| info.data_offsets);
    let mut next = 0;
    for (name, info) in list {
        let (start, end) = info.data_offsets;
        // Far below what would overflow where offsets are added.
        if start != next || end < start || end > 1 << 62 {
            return Err(malformed(format!("tensor {name} is not where the one before it ends")));
        }
        if info.size() != Some(end - start) {
            return Err(malformed(format!("tensor {name} has another size than its shape")));
        }
        next = end;
    }
    Ok(next)
}

/// The error for a file that violates the format.
fn malformed(what: impl std::fmt::Display) -> Error {
    let message = format!("this safetensors file is damaged: {what}; download it again");
    Error::new(ErrorKind::MalformedModel, message)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn file(header: &str) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes()].concat()
    }

    #[test]
    fn a_header_is_read_once_it_is_whole() {
        let bytes = file(
            r#"{"__metadata__":{"format":"pt"},
                "b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},
                "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#,
        );
        for end in 0..bytes.len() {
            assert!(
                Header::parse(&bytes[..end], &Limits::default()).unwrap().is_none(),
                "{end} bytes"
            );
        }
        let start = bytes.len() as u64;
        let header =
            Header::parse(&[&bytes[..], &[0; 30]].concat(), &Limits::default()).unwrap().unwrap();
        let tensor = |dtype, shape, bytes| Some(Tensor { dtype, shape, row_major: true, bytes });
        assert_eq!(header.get("a"), tensor(Dtype::F32, &[2, 3], start..start + 24));
        assert_eq!(header.get("b"), tensor(Dtype::BF16, &[3], start + 24..start + 30));
        assert_eq!(header.get("__metadata__"), None);
        assert_eq!((header.data_start(), header.file_size()), (start, start + 30));
    }

    #[test]
    fn a_header_that_lies_is_refused_before_it_is_believed() {
        let tensor = |dtype: &str, shape: &str, offsets: &str| {
            file(&format!(
                r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},
                    "b":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#
            ))
        };
        assert!(
            Header::parse(&tensor("F16", "[3]", "[8,14]"), &Limits::default()).unwrap().is_some()
        );
        let claim = |length: u64| [&length.to_le_bytes()[..], b"{\"a\":{}}"].concat();
        for (label, bytes) in [
            ("a huge length", claim(u64::MAX)),
            ("a length above the format's limit", claim(100_000_001)),
            ("no JSON", file("")),
            ("no object", file("[1]")),
            ("no UTF-8", [&1u64.to_le_bytes()[..], b"\xff"].concat()),
            ("overlapping offsets", tensor("F16", "[3]", "[4,10]")),
            ("a gap", tensor("F16", "[3]", "[16,22]")),
            ("offsets that go back", tensor("F16", "[3]", "[8,2]")),
            ("offsets of another size", tensor("F16", "[3]", "[8,16]")),
            ("a shape that overflows", tensor("F16", "[4294967296,4294967296,2]", "[8,8]")),
            ("a negative offset", tensor("F16", "[3]", "[8,-14]")),
            ("an unknown type", tensor("F17", "[3]", "[8,14]")),
            ("a huge offset", tensor("F16", "[3]", "[8,18446744073709551615]")),
        ] {
            let error = Header::parse(&bytes, &Limits::default()).expect_err(label);
            assert_eq!(error.kind(), ErrorKind::MalformedModel, "{label}: {error}");
        }
    }

    #[test]
    fn a_tensor_may_have_more_bits_than_32_bits_count() {
        let table = r#"{"a":{"dtype":"F32","shape":[256000,768],"data_offsets":[0,786432000]}}"#;
        let header = Header::parse(&file(table), &Limits::default()).unwrap().unwrap();
        assert_eq!(header.get("a").unwrap().bytes.end - header.data_start(), 786_432_000);
    }

    #[test]
    fn files_of_other_kinds_are_named() {
        for (bytes, kind, says) in [
            (&b"<!DOCTYPE html><html>"[..], ErrorKind::NotAModel, "web page"),
            (b"version https://git-lfs.github.com/spec/v1", ErrorKind::NotAModel, "LFS"),
            (b"Entry not found, sorry", ErrorKind::NotAModel, "not a safetensors"),
            (b"GGUF\x03\0\0\0aaaaaaaa", ErrorKind::UnsupportedModel, "already"),
            (b"PK\x03\x04\x14\0\0\0aaaaaaaa", ErrorKind::UnsupportedModel, "PyTorch"),
            (b"\x08\x07\x12\x07pytorch\x1a\x052.15.0", ErrorKind::UnsupportedModel, "ONNX"),
        ] {
            let error = Header::parse(bytes, &Limits::default()).expect_err(says);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(says), "{error} does not say {says:?}");
        }
    }
}
