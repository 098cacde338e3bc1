//! The logit scale, wherever it stands in the archive.

use super::*;

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
