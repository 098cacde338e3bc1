//! Conversion from a stream: the same file for any chunk sizes, the values of whole tensors, and which
//! inputs are refused after how few bytes.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;

use crate::support::data;
use crate::support::reliability::record;
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};
use clip_wasm::convert::{Companions, Converter, FILE_TYPES, FileType, convert};
use clip_wasm::format::gguf::Header;
use clip_wasm::model::clip::names::{Change, Checkpoint, source};
use clip_wasm::{Error, ErrorKind, Limits, ModelLoader, Result};
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

/// An interrupted conversion after `bytes` bytes of all files: the GGUF so far, and which parts of it
/// exist.
fn begin(source: &Source, file_type: FileType, bytes: usize) -> (Gguf, Vec<Range<u64>>) {
    let (mut gguf, mut parts) = (Gguf::default(), Vec::new());
    let mut converter = Converter::new(source.companions.clone(), file_type, None);
    let mut left = bytes;
    for file in &source.files {
        for chunk in file[..left.min(file.len())].chunks(100_000) {
            let mut sink = |offset, bytes: &[u8]| {
                parts.push(offset..offset + bytes.len() as u64);
                gguf.write(offset, bytes)
            };
            converter.push(chunk, &mut sink).unwrap();
        }
        if left <= file.len() {
            break;
        }
        converter.end_file().unwrap();
        left -= file.len();
    }
    (gguf, parts)
}

/// Continues with the missing parts, and returns how many bytes were read for that; all other bytes of the
/// files are overwritten.
fn go_on(
    source: &Source,
    file_type: FileType,
    gguf: &mut Gguf,
    parts: Vec<Range<u64>>,
    chunk: usize,
) -> u64 {
    let mut converter = Converter::new(source.companions.clone(), file_type, None);
    converter.keep(parts);
    let mut read = 0;
    for (index, file) in source.files.iter().enumerate() {
        let mut sink = |offset, bytes: &[u8]| gguf.write(offset, bytes);
        let start = source.header(index);
        converter.push(start, &mut sink).unwrap();
        // The logit scale belongs to the GGUF's header, and is stored somewhere after the file's header.
        for chunk in file[start.len()..].chunks(1000) {
            if converter.wanted().is_some() {
                break;
            }
            converter.push(chunk, &mut sink).unwrap();
        }
        let wanted = converter.wanted().expect("the header has come");
        let mut bytes = vec![0xff; file.len()];
        for range in wanted.iter().map(|range| range.start as usize..range.end as usize) {
            bytes[range.clone()].copy_from_slice(&file[range]);
        }
        for range in &wanted {
            converter.seek(range.start);
            for chunk in bytes[range.start as usize..range.end as usize].chunks(chunk) {
                converter.push(chunk, &mut sink).unwrap();
                read += chunk.len() as u64;
            }
        }
        assert_eq!(converter.wanted(), Some(Vec::new()));
        converter.end_file().unwrap();
    }
    converter.finish().unwrap();
    read
}

/// The positions of a whole file's tensors, without their padding.
fn stored(gguf: &[u8]) -> Vec<Range<u64>> {
    let infos = Header::parse(gguf, &Limits::default()).unwrap().unwrap().tensors;
    infos.iter().map(|info| info.offset..info.offset + info.size).collect()
}

/// A whole file of which only these parts are kept.
fn remains(whole: &[u8], parts: &[Range<u64>]) -> Gguf {
    let mut gguf = Gguf { bytes: vec![0xaa; whole.len()], ..Gguf::default() };
    for range in parts.iter().map(|part| part.start as usize..part.end as usize) {
        gguf.bytes[range.clone()].copy_from_slice(&whole[range]);
    }
    gguf
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

#[test]
fn a_conversion_that_was_broken_off_goes_on_with_what_is_missing() {
    let mut seed = 20;
    for name in ["tiny-hf", "tiny-open_clip", "tiny-hf-sharded"] {
        let source = Source::open(name);
        let size: usize = source.files.iter().map(Vec::len).sum();
        for file_type in ["q8_0", "f16"].map(file_type) {
            let want = source.convert(file_type, &[1 << 20]).unwrap();
            // The towers' layers are in the last million bytes.
            let late = [0; 4].map(|_| size - random(&mut seed, 1_000_000));
            let any = [0; 4].map(|_| random(&mut seed, size));
            for bytes in [&[0, size][..], &any, &late].concat() {
                let (mut gguf, parts) = begin(&source, file_type, bytes);
                let chunk = 1 + random(&mut seed, 300_000);
                let read = go_on(&source, file_type, &mut gguf, parts, chunk);
                let label = format!("{name} as {} broken off at {bytes}", file_type.name);
                assert!(gguf.bytes == want, "{label}, in chunks of {chunk}");
                let expected = (size - bytes) as u64;
                let near = 5_000_000; // not passed to the sink yet, or read because it is close
                assert!(read <= expected + near, "{label}: {read} bytes");
                assert!(bytes < size || read == 0, "{label}: {read} bytes where all is kept");
            }
        }
    }
}

/// Parts that no front-to-back conversion leaves.
#[test]
fn whatever_parts_are_kept_the_file_becomes_whole() {
    let mut seed = 21;
    for name in ["tiny-hf", "tiny-open_clip", "tiny-hf-sharded"] {
        let source = Source::open(name);
        for file_type in ["q8_0", "f16"].map(file_type) {
            let want = source.convert(file_type, &[1 << 20]).unwrap();
            let size = want.len() as u64;
            let tensors = stored(&want);
            let largest = tensors.iter().max_by_key(|part| part.end - part.start).unwrap();
            let middle = (largest.start + largest.end) / 2;
            let cut = 0..size - 1;
            let part = |at| at..size.min(at + 1500);
            let mut small: Vec<_> = (0..size).step_by(1000).map(part).collect();
            small.reverse();
            let mut holes = |most: usize| -> Vec<Range<u64>> {
                let mut at = 0;
                std::iter::from_fn(|| {
                    let from = at + random(&mut seed, most) as u64;
                    at = from + random(&mut seed, 10 * most) as u64;
                    (from < size).then_some(from..at.min(size))
                })
                .collect()
            };
            for (label, parts, all) in [
                ("overlapping parts, the last first", small, true),
                ("all but the paddings", tensors.clone(), true),
                ("all but the middle of a tensor", vec![0..middle, middle + 1..size], false),
                ("all but the last byte", vec![cut], false),
                ("empty parts", vec![5..5, size..size], false),
                ("small holes", holes(2000), false),
                ("large holes", holes(60_000), false),
            ] {
                let mut gguf = remains(&want, &parts);
                let read = go_on(&source, file_type, &mut gguf, parts, 77_777);
                let wrong = gguf.bytes.iter().zip(&want).position(|(got, want)| got != want);
                assert_eq!(wrong, None, "{name} as {}: {label}", file_type.name);
                assert_eq!(gguf.bytes.len(), want.len(), "{name} as {}: {label}", file_type.name);
                assert!(!all || read == 0, "{name}: {label}: {read} bytes were read");
            }
        }
    }
}

#[test]
fn a_file_whose_tensors_are_all_kept_need_not_come() {
    let source = Source::open("tiny-hf-sharded");
    let want = source.convert(file_type("q8_0"), &[1 << 20]).unwrap();
    let size = want.len() as u64;
    let (whole, cut) = (0..size, 0..size - 200);
    for (parts, enough) in
        [(vec![whole], true), (stored(&want), true), (vec![cut], false), (Vec::new(), false)]
    {
        let mut gguf = remains(&want, &parts);
        let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
        converter.keep(parts);
        let mut sink = |offset, bytes: &[u8]| gguf.write(offset, bytes);
        converter.push(&source.files[0], &mut sink).unwrap();
        converter.end_file().unwrap();
        match converter.finish() {
            Ok(()) => assert!(enough && gguf.bytes == want),
            Err(error) => assert!(!enough && error.kind() == ErrorKind::TruncatedModel, "{error}"),
        }
    }
}

#[test]
fn tensors_that_no_model_reads_are_not_wanted() {
    const BYTES: usize = 1 << 20;
    static ZEROS: [u8; BYTES] = [0; BYTES];
    let source = Source::open("tiny-hf").with_tensors(|tensors| {
        let ids = TensorView::new(Dtype::I64, vec![1, BYTES / 8], &ZEROS).unwrap();
        tensors.push(("text_model.embeddings.position_ids".into(), ids));
        let scale = TensorView::new(Dtype::F32, vec![], &ZEROS[..4]).unwrap();
        tensors.push(("logit_scale".into(), scale));
    });
    let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
    converter.push(source.header(0), &mut |_, _| Ok(())).unwrap();
    let wanted = converter.wanted().unwrap();
    let tensors = SafeTensors::deserialize(&source.files[0]).unwrap();
    let ids = tensors.tensor("text_model.embeddings.position_ids").unwrap().data().as_ptr();
    let from = ids.addr() - source.files[0].as_ptr().addr();
    let ids = from as u64..(from + BYTES) as u64;
    let apart = |part: &Range<u64>| part.end <= ids.start || ids.end <= part.start;
    assert!(wanted.iter().all(apart), "{wanted:?} has a part of {ids:?}");

    let want = source.convert(file_type("q8_0"), &[1 << 20]).unwrap();
    let mut gguf = Gguf::default();
    go_on(&source, file_type("q8_0"), &mut gguf, Vec::new(), 77_777);
    assert!(gguf.bytes == want);
}

/// The checkpoint with a tensor called `logit_scale`, preceded by a megabyte of other values if `far`.
fn with_scale(dtype: Dtype, shape: &[usize], bytes: &[u8], far: bool) -> Source {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let bytes: &'static [u8] = bytes.to_vec().leak();
    // A file is sorted by type first: the scale comes early among the tensors of its type.
    let name = match dtype {
        Dtype::F16 => "tiny-hf-f16",
        Dtype::BF16 => "tiny-hf-bf16",
        _ => "tiny-hf",
    };
    Source::open(name).with_tensors(|tensors| {
        let scale = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        tensors.push(("logit_scale".into(), scale));
        let length = if far { ZEROS.len() } else { 16 };
        let ids = TensorView::new(Dtype::I64, vec![1, length / 8], &ZEROS[..length]).unwrap();
        tensors.push(("text_model.embeddings.position_ids".into(), ids));
    })
}

fn kept_scale(gguf: &[u8]) -> Option<f32> {
    let header = Header::parse(gguf, &Limits::default()).unwrap().unwrap();
    header.get("clip.logit_scale").map(|value| value.to_f32().unwrap())
}

#[test]
fn the_scale_of_the_logits_is_kept_as_metadata() {
    let f32s = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    // The exponentials are Python's math.exp of the stored value.
    for (label, dtype, shape, bytes, want) in [
        ("as training begins", Dtype::F32, &[][..], f32s(&[2.6592]), Some(14.284_856)),
        ("as OpenAI's ends", Dtype::F32, &[], f32s(&[4.605_17]), Some(99.999_96)),
        ("beyond the clip", Dtype::F32, &[1], f32s(&[4.7]), Some(100.0)),
        ("in f16", Dtype::F16, &[], vec![0xb1, 0x43], Some(46.791_58)),
        ("in bf16", Dtype::BF16, &[], vec![0x2a, 0x40], Some(14.242_779)),
        ("no number", Dtype::F32, &[], f32s(&[f32::NAN]), None),
        ("no scalar", Dtype::F32, &[2], f32s(&[2.0, 3.0]), None),
        ("in f64", Dtype::F64, &[], 2.0_f64.to_le_bytes().to_vec(), None),
    ] {
        let source = with_scale(dtype, shape, &bytes, false);
        let gguf = source.convert(file_type("q8_0"), &[1 << 20]).unwrap();
        let got = kept_scale(&gguf);
        let near = got.zip(want).map(|(got, want)| (got - want).abs() <= 1e-6 * want);
        assert!(near.unwrap_or(got == want), "{label}: {got:?}, not {want:?}");
        for sizes in [&[7][..], &[source.header(0).len(), 1, 1, 1000], &[usize::MAX]] {
            assert!(
                source.convert(file_type("q8_0"), sizes).unwrap() == gguf,
                "{label}: {sizes:?}"
            );
        }
        let mut loader = ModelLoader::new();
        loader.push(&gguf).unwrap();
        let info = loader.finish().unwrap().info();
        assert_eq!(info.logit_scale, got.unwrap_or(100.0), "{label}");
    }
    let far = with_scale(Dtype::F32, &[], &f32s(&[2.6592]), true);
    assert_eq!(
        kept_scale(&far.convert(file_type("q8_0"), &[1 << 20]).unwrap()),
        None,
        "far behind"
    );
}

#[test]
fn a_conversion_goes_on_with_its_scale() {
    let source = with_scale(Dtype::F32, &[], &2.6592_f32.to_le_bytes(), false);
    let want = source.convert(file_type("q8_0"), &[1 << 20]).unwrap();
    let size = source.files[0].len();
    for bytes in [0, source.header(0).len() + 17, size / 2, size] {
        let (mut gguf, parts) = begin(&source, file_type("q8_0"), bytes);
        go_on(&source, file_type("q8_0"), &mut gguf, parts, 77_777);
        assert!(gguf.bytes == want, "broken off at {bytes}");
    }
}

#[test]
fn a_file_that_ends_before_its_scale_is_cut_short() {
    let source = with_scale(Dtype::F32, &[], &2.6592_f32.to_le_bytes(), false);
    let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
    converter.push(source.header(0), &mut |_, _| Ok(())).unwrap();
    assert_eq!(converter.wanted(), None);
    let error = converter.end_file().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TruncatedModel, "{error}");
}

#[test]
fn bytes_out_of_order_are_not_taken_for_others() {
    let source = Source::open("tiny-hf");
    let (file, header) = (&source.files[0], source.header(0));
    let start = header.len();
    // Pushed first, then pushed out of order, in bytes from the first tensor's start.
    for (label, taken, then) in [
        ("a tensor's start is missing", 0..0, 4..100),
        ("a gap within a tensor", 0..1000, 1004..1100),
        ("back to a tensor's start", 0..1000, 0..100),
        ("back, and on beyond", 0..1000, 900..1100),
        ("another tensor before one is whole", 0..1000, 40_000..50_000),
    ] {
        let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
        converter.push(header, &mut |_, _| Ok(())).unwrap();
        let mut push = |part: Range<usize>| {
            let (from, to) = (start + part.start, start + part.end);
            converter.seek(from as u64);
            converter.push(&file[from..to], &mut |_, _| Ok(()))
        };
        push(taken).unwrap();
        let error = push(then).expect_err(label);
        assert_eq!(error.kind(), ErrorKind::Internal, "{label}: {error}");
    }
    let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
    converter.push(header, &mut |_, _| Ok(())).unwrap();
    converter.seek(u64::MAX);
    let error = converter.push(&[0; 2], &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedModel, "beyond the end: {error}");
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
        Change::None => tensor,
        Change::Transpose => tensor.t().unwrap().contiguous().unwrap(),
        Change::Third(third) => {
            tensor.narrow(0, third * rows, rows).unwrap().force_contiguous().unwrap()
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

/// The error with which a header is refused, before any byte of a tensor is read.
fn refused(source: &Source) -> Error {
    let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
    let sink = &mut |_, _: &[u8]| panic!("the sink was given something");
    let error = converter.push(source.header(0), sink).unwrap_err();
    assert_eq!(converter.push(&[0], sink).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(converter.finish().unwrap_err().kind(), ErrorKind::Internal);
    error
}

#[test]
fn wrong_checkpoints_are_refused_at_their_header() {
    let source = || Source::open("tiny-hf");
    let without = |name: &str| source().with_tensors(|tensors| tensors.retain(|(n, _)| n != name));
    let renamed = |to: &str| source().with_tensors(|tensors| tensors[0].0 = to.into());
    let bias = "vision_model.post_layernorm.bias";
    let integers = source().with_tensors(|tensors| {
        let (_, view) = tensors.iter_mut().find(|(name, _)| name == bias).unwrap();
        *view = TensorView::new(Dtype::I32, view.shape().to_vec(), view.data()).unwrap();
    });
    let lacking = Source::open("tiny-hf-sharded").with_companions(|companions| {
        let index = companions.index.as_mut().unwrap();
        *index = index.replace(bias, "other");
    });
    use ErrorKind::{MalformedModel, MissingTensor, UnsupportedModel};
    let sources = [
        (without(bias), MissingTensor, bias),
        (lacking, MissingTensor, bias),
        (integers, UnsupportedModel, "post_layernorm.bias is stored as I32"),
        (renamed("logit_bias"), UnsupportedModel, "SigLIP"),
        (renamed("visual.trunk.stem.0.conv.weight"), UnsupportedModel, "MobileCLIP"),
        (source().with_config(|c| c["model_type"] = json!("siglip")), UnsupportedModel, "SigLIP"),
        (
            source().with_config(|c| c["projection_dim"] = json!(65)),
            MalformedModel,
            "projection.weight has shape [64, 64]",
        ),
        (
            source().with_config(|c| c["text_config"]["num_hidden_layers"] = json!(3)),
            MissingTensor,
            "text_model.encoder.layers.2.",
        ),
        (source().with_companions(|c| c.config = None), MalformedModel, "no config.json"),
        (
            source().with_companions(|c| c.config = Some("{".into())),
            MalformedModel,
            "config.json: EOF",
        ),
        (source().with_companions(|c| c.tokenizer = None), MalformedModel, "no tokenizer.json"),
        (
            source().with_companions(|c| c.tokenizer = Some("{\"a\":0}".into())),
            MalformedModel,
            "has no <|endoftext|>",
        ),
    ];
    for (source, kind, says) in &sources {
        let error = refused(source);
        assert_eq!(error.kind(), *kind, "{error}");
        assert!(error.to_string().contains(says), "{error} does not say {says:?}");
    }
    let outcome = "each refused with its header, by name";
    record("inputs", "wrong checkpoints", &sources.len().to_string(), outcome);
}

#[test]
fn what_open_clip_computes_otherwise_is_refused_by_name() {
    let source = Source::open("tiny-open_clip");
    let with = |part: &str, key: &str, value: Value| {
        source.clone().with_companions(|companions| {
            let text = companions.open_clip_config.as_mut().unwrap();
            let mut config: Value = serde_json::from_str(text).unwrap();
            let model = &mut config["model_cfg"];
            let place = if part.is_empty() { model } else { &mut model[part] };
            place[key] = value.clone();
            *text = config.to_string();
        })
    };
    let mut count = 0;
    for tower in ["vision_cfg", "text_cfg"] {
        for (key, value) in [
            ("ls_init_value", json!(1e-5)),
            ("qk_norm", json!(true)),
            ("scaled_cosine_attn", json!(true)),
            ("scale_heads", json!(true)),
            ("scale_attn_inner", json!(true)),
            ("scale_attn", json!(true)),
            ("scale_fc", json!(true)),
            ("block_type", json!("custom")),
            ("norm_kwargs", json!({"eps": 1e-6})),
            ("act_kwargs", json!({"approximate": "tanh"})),
            ("final_ln_after_pool", json!(true)),
            ("pool_type", json!("last")),
            ("something_new", json!(1)),
        ] {
            let error = refused(&with(tower, key, value));
            assert_eq!(error.kind(), ErrorKind::UnsupportedModel, "{tower} {key}: {error}");
            assert!(error.to_string().contains(&format!("sets {key}")), "{tower} {key}: {error}");
            count += 1;
        }
    }
    for (part, key, value) in [
        ("", "multimodal_cfg", json!({"width": 8})),
        ("", "init_logit_bias", json!(-10)),
        ("text_cfg", "hf_tokenizer_name", json!("bert-base-uncased")),
        ("text_cfg", "tokenizer_kwargs", json!({"clean": "canonicalize"})),
        ("vision_cfg", "no_ln_pre", json!(true)),
    ] {
        let error = refused(&with(part, key, value));
        assert!(error.to_string().contains(&format!("sets {key}")), "{key}: {error}");
        count += 1;
    }
    // Settings that are off, or that do not affect vectors, are accepted.
    for (part, key, value) in [
        ("vision_cfg", "ls_init_value", json!(null)),
        ("vision_cfg", "patch_dropout", json!(0.5)),
        ("text_cfg", "qk_norm", json!(false)),
        ("text_cfg", "tokenizer_kwargs", json!({})),
        ("text_cfg", "pad_id", json!(1)),
        ("", "custom_text", json!(false)),
    ] {
        with(part, key, value).convert(file_type("q8_0"), &[1 << 16]).expect(key);
    }
    record(
        "inputs",
        "settings of open_clip that change what is computed",
        &count.to_string(),
        "each refused by name",
    );
}

#[test]
fn files_that_are_not_whole_are_truncated() {
    let mut source = Source::open("tiny-hf");
    let whole = std::mem::take(&mut source.files[0]);
    let lengths = [12, 5000, whole.len() / 2, whole.len() - 1];
    for length in lengths {
        source.files[0] = whole[..length].to_vec();
        let error = source.convert(file_type("q8_0"), &[4096]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TruncatedModel, "{length} bytes: {error}");
    }
    source.files[0] = [&whole[..], &[0]].concat();
    let error = source.convert(file_type("q8_0"), &[4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedModel, "a byte more: {error}");

    let mut shards = Source::open("tiny-hf-sharded");
    let last = shards.files.pop().unwrap();
    let error = shards.convert(file_type("q8_0"), &[4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TruncatedModel, "a shard too few: {error}");
    shards.files.extend([last.clone(), last]);
    let error = shards.convert(file_type("q8_0"), &[4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedModel, "a shard twice: {error}");

    let nothing = Converter::new(source.companions, file_type("q8_0"), None);
    assert_eq!(nothing.finish().unwrap_err().kind(), ErrorKind::TruncatedModel);
    let tried = (lengths.len() + 4).to_string();
    record("inputs", "checkpoints with too little or too much", &tried, "each refused");
}

#[test]
fn what_the_sink_cannot_take_ends_the_conversion() {
    let source = Source::open("tiny-hf");
    let mut converter = Converter::new(source.companions, file_type("q8_0"), None);
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = converter.push(&source.files[0], &mut |_, _| Err(full().into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(converter.end_file().unwrap_err().kind(), ErrorKind::Internal);
}
