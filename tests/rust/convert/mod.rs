//! Conversion from a stream: the same file for any chunk sizes, the values of whole tensors, and which
//! inputs are refused after how few bytes.

mod refusing;
mod resuming;
mod scale;

use std::collections::HashMap;
use std::fs;
use std::ops::Range;

use crate::support::data;
use crate::support::reliability::record;
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};
use clip_wasm::convert::{Companions, Converter, FILE_TYPES, FileType, convert};
use clip_wasm::format::gguf::Header;
use clip_wasm::model::clip::names::{Checkpoint, source};
use clip_wasm::model::inventory::{Change, tower_of};
use clip_wasm::{Error, ErrorKind, Limits, ModelLoader, Result, Tower};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// A checkpoint in memory.
#[derive(Clone)]
struct Source {
    companions: Companions,
    files: Vec<Vec<u8>>,
}

impl Source {
    fn open(name: &str) -> Self {
        let directory = data(name);
        let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let companions = Companions {
            name: name.into(),
            config: text("config.json"),
            open_clip_config: text("open_clip_config.json"),
            preprocessor_config: text("preprocessor_config.json"),
            processor_config: text("processor_config.json"),
            tokenizer: text("tokenizer.json"),
            model_card: text("README.md"),
            index: text("model.safetensors.index.json"),
        };
        let mut paths: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
        paths.sort();
        Self { companions, files: paths.iter().map(|path| fs::read(path).unwrap()).collect() }
    }

    fn with_config(mut self, change: impl Fn(&mut Value)) -> Self {
        let mut config = serde_json::from_str(&self.companions.config.unwrap()).unwrap();
        change(&mut config);
        self.companions.config = Some(config.to_string());
        self
    }

    /// Only the first file, with changed tensors.
    fn with_tensors(&self, change: impl Fn(&mut Vec<(String, TensorView)>)) -> Self {
        let mut tensors = SafeTensors::deserialize(&self.files[0]).unwrap().tensors();
        change(&mut tensors);
        let file = safetensors::serialize(tensors, None).unwrap();
        Self { companions: self.companions.clone(), files: vec![file] }
    }

    fn with_companions(mut self, change: impl Fn(&mut Companions)) -> Self {
        change(&mut self.companions);
        self
    }

    /// The bytes before the first tensor.
    fn header(&self, file: usize) -> &[u8] {
        let bytes = &self.files[file];
        &bytes[..8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize]
    }

    /// The GGUF, converted in chunks of these sizes; the last size is repeated.
    fn convert(&self, file_type: FileType, sizes: &[usize]) -> Result<Vec<u8>> {
        let mut gguf = Gguf::default();
        let mut converter = Converter::new(self.companions.clone(), file_type, None);
        for file in &self.files {
            let mut rest = &file[..];
            let mut sizes = sizes.iter();
            let mut size = 0;
            while !rest.is_empty() {
                size = *sizes.next().unwrap_or(&size);
                let chunk = rest.split_off(..size.min(rest.len())).unwrap();
                converter.push(chunk, &mut |offset, bytes| gguf.write(offset, bytes))?;
                assert_eq!(converter.written(), gguf.written);
            }
            converter.end_file()?;
        }
        let size = converter.file_size();
        converter.finish()?;
        assert_eq!(size, Some(gguf.bytes.len() as u64));
        assert_eq!(gguf.written, gguf.bytes.len() as u64, "bytes came twice, or not at all");
        Ok(gguf.bytes)
    }
}

/// The bytes that a sink received.
#[derive(Default)]
struct Gguf {
    bytes: Vec<u8>,
    written: u64,
    largest: usize,
}

impl Gguf {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset as usize + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0xaa);
        self.bytes[offset as usize..end].copy_from_slice(bytes);
        self.written += bytes.len() as u64;
        self.largest = self.largest.max(bytes.len());
        Ok(())
    }
}

/// The next of a sequence of numbers below `bound`: splitmix64.
fn random(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % bound as u64) as usize
}

#[test]
fn the_header_tells_what_other_tools_ask_for_and_where_it_is_from() {
    let told = |source: &Source| -> Vec<Option<String>> {
        let gguf = source.convert(FileType::named("f16").unwrap(), &[1 << 20]).unwrap();
        let header = Header::parse(&gguf, &Limits::default()).unwrap().unwrap();
        assert_eq!(header.get("general.quantization_version").unwrap().to_u32().unwrap(), 2);
        ["general.description", "general.license", "general.source.huggingface.repository"]
            .map(|key| header.get(key).map(|value| value.to_string().unwrap().clone()))
            .to_vec()
    };
    let plain = Source::open("tiny-hf");
    assert_eq!(told(&plain), [Some("two-tower CLIP model".into()), None, None]);
    let known = plain
        .clone()
        .with_companions(|companions| {
            companions.model_card =
                Some("---\ntags:\n- vision\nlicense: apache-2.0\n---\nlicense: none\n".into());
        })
        .with_config(|config| config["_name_or_path"] = json!("openai/clip-vit-base-patch32"));
    let repository = Some("openai/clip-vit-base-patch32".into());
    assert_eq!(told(&known)[1..], [Some("apache-2.0".into()), repository]);
    for (card, path) in [("license: mit", "/models/clip"), ("---\n---\nlicense: mit", "./clip/x")] {
        let unknown = plain
            .clone()
            .with_companions(|companions| companions.model_card = Some(card.into()))
            .with_config(|config| config["_name_or_path"] = json!(path));
        assert_eq!(told(&unknown)[1..], [None, None], "{card:?} {path}");
    }
}

fn file_type(name: &str) -> FileType {
    FileType::named(name).unwrap()
}

const SOURCES: [&str; 5] =
    ["tiny-hf", "tiny-hf-sharded", "tiny-hf-f16", "tiny-hf-bf16", "tiny-open_clip"];

#[test]
fn a_stream_gives_the_file_that_the_command_line_writes() {
    let directory = tempfile::tempdir().unwrap();
    for name in SOURCES {
        let source = Source::open(name);
        for file_type in FILE_TYPES {
            let path = directory.path().join("out.gguf");
            convert(&data(name), &path, file_type, None, &Limits::default(), |_, _| ()).unwrap();
            let streamed = source.convert(file_type, &[12_345]).unwrap();
            assert!(streamed == fs::read(&path).unwrap(), "{name} as {}", file_type.name);
        }
    }
}

#[test]
fn chunks_of_any_size_give_the_same_file() {
    let bytes_of_header = [&[1; 9000][..], &[1 << 20]].concat();
    for name in SOURCES {
        let source = Source::open(name);
        let whole = source.convert(file_type("q8_0"), &[usize::MAX]).unwrap();
        for sizes in [&bytes_of_header[..], &[7], &[4096], &[1 << 20]] {
            let converted = source.convert(file_type("q8_0"), sizes).unwrap();
            assert!(converted == whole, "{name} in chunks of {}", sizes[sizes.len() - 1]);
        }
    }
}

#[test]
fn files_come_in_any_order() {
    let mut source = Source::open("tiny-hf-sharded");
    let whole = source.convert(file_type("q4_0"), &[1 << 16]).unwrap();
    source.files.reverse();
    assert!(source.convert(file_type("q4_0"), &[1 << 16]).unwrap() == whole);
}

/// Compares the converted pieces with candle's quantisation of the whole tensor.
#[test]
fn pieces_are_what_the_whole_tensor_is() {
    for (name, kind) in
        [("tiny-hf-bf16", Checkpoint::HuggingFace), ("tiny-open_clip", Checkpoint::OpenClip)]
    {
        let checkpoint = Source::open(name);
        let tensors =
            candle_core::safetensors::load_buffer(&checkpoint.files[0], &Device::Cpu).unwrap();
        for file_type in FILE_TYPES {
            let bytes = checkpoint.convert(file_type, &[100_000]).unwrap();
            for info in Header::parse(&bytes, &Limits::default()).unwrap().unwrap().tensors {
                let whole = canonical(&tensors, kind, &info.name, info.shape[0]);
                assert_eq!(whole.dims(), info.shape, "{name}: {}", info.name);
                let whole = QTensor::quantize(&whole, info.dtype).unwrap();
                let got = &bytes[info.offset as usize..][..info.size as usize];
                assert!(got == &*whole.data().unwrap(), "{name}: {} {:?}", info.name, info.dtype);
            }
        }
    }
}

fn canonical(
    tensors: &HashMap<String, Tensor>,
    kind: Checkpoint,
    name: &str,
    rows: usize,
) -> Tensor {
    let from = source(kind, name);
    let tensor = tensors[&from.name].to_dtype(DType::F32).unwrap();
    match from.change {
        Change::None | Change::Squeeze => tensor,
        Change::Transpose => tensor.t().unwrap().contiguous().unwrap(),
        Change::Third(part) | Change::Half(part) => {
            tensor.narrow(0, part * rows, rows).unwrap().force_contiguous().unwrap()
        }
    }
}

/// A few calls per tensor, not one per row; the header, with its whole vocabulary, is the largest piece.
#[test]
fn the_sink_is_given_large_pieces() {
    let source = Source::open("tiny-hf");
    let mut converter = Converter::new(source.companions, file_type("f32"), None);
    let (mut calls, mut gguf) = (0, Gguf::default());
    for chunk in source.files[0].chunks(1 << 14) {
        let sink = &mut |offset, bytes: &[u8]| {
            calls += 1;
            gguf.write(offset, bytes)
        };
        converter.push(chunk, sink).unwrap();
    }
    assert_eq!(converter.source_size(), Some(source.files[0].len() as u64));
    let tensors = Header::parse(&gguf.bytes, &Limits::default()).unwrap().unwrap().tensors.len();
    assert!(calls < tensors + 64, "{calls} calls for {tensors} tensors");
    assert!(gguf.largest <= (1 << 20) + (1 << 18), "{} bytes at once", gguf.largest);
}

const IDS: [u8; 16] = [0; 16];

#[test]
fn tensors_that_no_model_reads_are_passed_over() {
    let source = Source::open("tiny-hf");
    let more = source.with_tensors(|tensors| {
        let ids = TensorView::new(Dtype::I64, vec![1, 2], &IDS).unwrap();
        tensors.push(("text_model.embeddings.position_ids".into(), ids));
    });
    let convert = |source: &Source| source.convert(file_type("q8_0"), &[1 << 16]).unwrap();
    assert!(convert(&more) == convert(&source));
}
