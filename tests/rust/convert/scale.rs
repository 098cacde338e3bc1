//! The logit scale, wherever it stands in a checkpoint.

use super::resuming::{begin, go_on};
use super::*;

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
