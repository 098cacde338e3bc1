//! A conversion that was interrupted continues with what is missing, and writes the same file.

use super::*;

/// An interrupted conversion after `bytes` bytes of all files: the GGUF so far, and which parts of it
/// exist.
pub fn begin(source: &Source, file_type: FileType, bytes: usize) -> (Gguf, Vec<Range<u64>>) {
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
pub fn go_on(
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

/// Converts these towers alone, of what is wanted for them, in addition to what is kept. Returns the parts that it wrote.
fn convert_only(
    source: &Source,
    towers: &[Tower],
    gguf: &mut Gguf,
    kept: Vec<Range<u64>>,
) -> Vec<Range<u64>> {
    let mut parts = kept.clone();
    let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
    converter.keep(kept);
    converter.only(towers);
    let mut converter = converter.seeking();
    for file in &source.files {
        let mut sink = |offset, bytes: &[u8]| {
            parts.push(offset..offset + bytes.len() as u64);
            gguf.write(offset, bytes)
        };
        let mut position = 0;
        while converter.source_size().is_none() {
            let (from, to) = match converter.wanted() {
                Some(apart) => {
                    converter.seek(apart[0].start);
                    (apart[0].start as usize, apart[0].end as usize)
                }
                None => (position, position + 5000),
            };
            converter.push(&file[from..to], &mut sink).unwrap();
            position = to;
        }
        for range in converter.wanted().unwrap() {
            converter.seek(range.start);
            converter.push(&file[range.start as usize..range.end as usize], &mut sink).unwrap();
        }
        converter.end_file().unwrap();
    }
    converter.finish().unwrap();
    parts
}

#[test]
fn one_tower_alone_is_converted_and_the_other_added_later() {
    for name in ["tiny-hf", "tiny-open_clip", "tiny-hf-sharded"] {
        let source = Source::open(name);
        let want = source.convert(file_type("q8_0"), &[1 << 20]).unwrap();
        let infos = Header::parse(&want, &Limits::default()).unwrap().unwrap().tensors;
        let header = infos[0].offset;
        for [first, second] in [[Tower::Text, Tower::Vision], [Tower::Vision, Tower::Text]] {
            let mut gguf = Gguf::default();
            let parts = convert_only(&source, &[first], &mut gguf, Vec::new());
            let of_tower = infos.iter().filter(|info| tower_of(&info.name) == first);
            let tensors: u64 = of_tower.map(|info| info.size.next_multiple_of(32)).sum();
            assert_eq!(gguf.written, header + tensors, "{name}: {first:?}");
            let mut loader = ModelLoader::of_towers(&[first]);
            for part in &parts {
                loader.seek(part.start);
                loader.push(&gguf.bytes[part.start as usize..part.end as usize]).unwrap();
            }
            assert_eq!(loader.wanted(None), Some(Vec::new()), "{name}: {first:?}");
            assert_eq!(loader.finish().unwrap().info().towers, [first.name()]);

            let parts = convert_only(&source, &[second], &mut gguf, parts);
            assert!(gguf.bytes == want, "{name}: {first:?}, then {second:?}");
            let mut again = Gguf::default();
            convert_only(&source, &[first, second], &mut again, parts);
            assert_eq!(again.written, header, "{name}: all is kept");
        }
    }
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
