//! TIFFs with every kind of pixel, compression and layout.

use clip_wasm::decode::decode;

use super::{Files, picture};
use crate::support::pillow::Comparison;
use crate::support::reliability::record;

/// A TIFF whose strips or tiles follow its directory.
fn tiff(big_endian: bool, tags: &[(u16, Vec<u32>)], chunks: &[Vec<u8>], is_tiled: bool) -> Vec<u8> {
    let short = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut tags = tags.to_vec();
    let entries = tags.len() + 2;
    let values: usize =
        tags.iter().map(|(_, values)| 4 * values.len()).sum::<usize>() + 8 * chunks.len();
    let mut offset = (8 + 2 + 12 * entries + 4 + values) as u32;
    let counts: Vec<u32> = chunks.iter().map(|chunk| chunk.len() as u32).collect();
    let mut offsets = Vec::new();
    for count in &counts {
        offsets.push(offset);
        offset += count;
    }
    let (of_offsets, of_counts) = if is_tiled { (324, 325) } else { (273, 279) };
    tags.extend([(of_offsets, offsets), (of_counts, counts)]);
    tags.sort();
    let mut file = if big_endian { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
    file.extend([&long(8)[..], &short(tags.len() as u16)].concat());
    let mut behind = Vec::new();
    let start = 8 + 2 + 12 * entries + 4;
    for (tag, values) in &tags {
        // Every number is stored as a LONG.
        file.extend([&short(*tag)[..], &short(4), &long(values.len() as u32)].concat());
        if let [value] = values[..] {
            file.extend(long(value));
        } else {
            file.extend(long((start + behind.len()) as u32));
            behind.extend(values.iter().flat_map(|value| long(*value)));
        }
    }
    file.extend(long(0));
    file.extend(behind);
    let data = (8 + 2 + 12 * entries + 4 + values) as u32;
    file.resize(data as usize, 0);
    chunks.iter().for_each(|chunk| file.extend(chunk));
    file
}

fn lzw(data: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(data).unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn pack_bits(data: &[u8]) -> Vec<u8> {
    data.chunks(100).flat_map(|part| [&[part.len() as u8 - 1][..], part].concat()).collect()
}

type Compress = (u32, fn(&[u8]) -> Vec<u8>);
const COMPRESSIONS: [Compress; 4] =
    [(1, <[u8]>::to_vec), (5, lzw), (8, deflate), (32773, pack_bits)];

/// For an image that Pillow misreads: the name of the file from which it reads the same image correctly.
fn misread(name: &str) -> Option<String> {
    // libtiff returns numbers in the processor's byte order, but Pillow reads them in the file's.
    let numbers = ["1x16 extra [] format 2", "1x32 extra [] format 2", "1x32 extra [] format 3"];
    if name.starts_with("MM") && numbers.iter().any(|numbers| name.contains(numbers)) {
        return Some(name.replacen("MM", "II", 1));
    }
    // Pillow reads uncompressed planes of 16-bit samples as bytes.
    if name.contains("x16 ") && name.contains("planar true") {
        return Some(name.replace("compression 1 ", "compression 5 "));
    }
    // The file does not say what the fourth sample is. Pillow takes it as alpha; if it has its own plane,
    // libtiff takes it as another kind of alpha.
    name.contains("photometric 2 4x8 extra [] format 1")
        .then(|| name.replace("extra []", "extra [2]"))
}

#[test]
fn tiffs_of_every_kind_of_pixel_and_layout() {
    /// Photometric interpretation, bits, samples, extra samples, sample format.
    type Kind = (u32, u32, u32, &'static [u32], u32);
    let kinds: [Kind; 36] = [
        (0, 1, 1, &[], 1),
        (1, 1, 1, &[], 1),
        (0, 2, 1, &[], 1),
        (1, 2, 1, &[], 1),
        (0, 4, 1, &[], 1),
        (1, 4, 1, &[], 1),
        (0, 8, 1, &[], 1),
        (1, 8, 1, &[], 1),
        (1, 8, 1, &[], 2),
        (1, 12, 1, &[], 1),
        (0, 16, 1, &[], 1),
        (1, 16, 1, &[], 1),
        (1, 16, 1, &[], 2),
        (1, 32, 1, &[], 1),
        (1, 32, 1, &[], 2),
        (0, 32, 1, &[], 3),
        (1, 32, 1, &[], 3),
        (1, 8, 2, &[0], 1),
        (1, 8, 2, &[1], 1),
        (1, 8, 2, &[2], 1),
        (2, 8, 3, &[], 1),
        (2, 8, 4, &[], 1),
        (2, 8, 4, &[0], 1),
        (2, 8, 4, &[1], 1),
        (2, 8, 4, &[2], 1),
        (2, 8, 5, &[2, 0], 1),
        (2, 8, 5, &[0, 0], 1),
        (2, 16, 3, &[], 1),
        (2, 16, 4, &[1], 1),
        (2, 16, 4, &[2], 1),
        (3, 4, 1, &[], 1),
        (3, 8, 1, &[], 1),
        (3, 8, 2, &[2], 1),
        (5, 8, 4, &[], 1),
        (5, 8, 5, &[0], 1),
        (5, 16, 4, &[], 1),
    ]; // fmt: skip
    let files = Files::new();
    let (width, height) = (37_u32, 21_u32);
    let noise = picture(997, 3, 1);
    for (photometric, bits, samples, extra, format) in kinds {
        for big_endian in [false, true] {
            for (compression, compress) in COMPRESSIONS {
                for (tiled, planar, reversed, predictor) in [
                    (false, false, false, 1),
                    (true, false, false, 1),
                    (false, true, false, 1),
                    (true, true, false, 1),
                    (false, false, true, 1),
                    (false, false, false, 2),
                    (true, true, false, 2),
                ] {
                    if predictor == 2 && (!matches!(compression, 5 | 8) || !matches!(bits, 8 | 16))
                        || planar && (samples == 1 || bits < 8)
                    {
                        continue;
                    }
                    let in_chunk = if planar { 1 } else { samples };
                    let (chunk_width, chunk_height) = if tiled { (16, 16) } else { (width, 6) };
                    let (across, down) =
                        (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
                    let planes = if planar { samples } else { 1 };
                    let chunks: Vec<Vec<u8>> = (0..across * down * planes)
                        .map(|index| {
                            let last = height - (index / across % down) * chunk_height;
                            let rows = if tiled { chunk_height } else { chunk_height.min(last) };
                            let bytes = (chunk_width * bits * in_chunk).div_ceil(8) * rows;
                            let skip = index as usize * 131 % noise.len();
                            let data: Vec<u8> = noise
                                .iter()
                                .cycle()
                                .skip(skip)
                                .take(bytes as usize)
                                .copied()
                                .collect();
                            // The same image in both byte orders.
                            let mut data = data;
                            if big_endian && bits > 12 {
                                let size = bits as usize / 8;
                                data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
                            }
                            let data = compress(&data);
                            if reversed {
                                data.iter().map(|byte| byte.reverse_bits()).collect()
                            } else {
                                data
                            }
                        })
                        .collect();
                    let mut tags = vec![
                        (256, vec![width]),
                        (257, vec![height]),
                        (258, vec![bits; samples as usize]),
                        (259, vec![compression]),
                        (262, vec![photometric]),
                        (277, vec![samples]),
                        (284, vec![if planar { 2 } else { 1 }]),
                        (339, vec![format; samples as usize]),
                    ];
                    if tiled {
                        tags.extend([(322, vec![chunk_width]), (323, vec![chunk_height])]);
                    } else {
                        tags.push((278, vec![chunk_height]));
                    }
                    if !extra.is_empty() {
                        tags.push((338, extra.to_vec()));
                    }
                    if reversed {
                        tags.push((266, vec![2]));
                    }
                    if predictor != 1 {
                        tags.push((317, vec![predictor]));
                    }
                    if photometric == 3 {
                        let levels = (0..3 << bits).map(|level: u32| level * 7919 % 65_536);
                        tags.push((320, levels.collect()));
                    }
                    let order = if big_endian { "MM" } else { "II" };
                    let label = format!(
                        "{order} photometric {photometric} {samples}x{bits} extra {extra:?} format {format} compression {compression} tiled {tiled} planar {planar} reversed {reversed} predictor {predictor}.tif"
                    );
                    files.add(&label, &tiff(big_endian, &tags, &chunks, tiled));
                }
            }
        }
    }
    let pixels = |name: &str| decode(&std::fs::read(files.path().join(name)).unwrap()).unwrap();
    let equal = files.hold(|name, comparison| match comparison {
        Comparison::Read(_) => true,
        Comparison::Wrong(_) => misread(name).is_some_and(|other| pixels(name) == pixels(&other)),
        _ => false,
    });
    assert!(equal >= 500, "only {equal}");
    record(
        "inputs",
        "TIFFs of every kind of pixel, layout and compression",
        &equal.to_string(),
        "equal to Pillow's pixels",
    );
}
