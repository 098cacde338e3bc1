//! Resizing and tensors, compared with Pillow and `CLIPImageProcessorPil`.

use clip_wasm::decode::{RgbImage, decode};
use clip_wasm::preprocess::Preprocess;
use serde::Deserialize;

#[derive(Deserialize)]
struct Resize {
    size: usize,
    width: u32,
    height: u32,
    /// The checksum of each row, in eight hexadecimal digits; `None` if the pixels are stored.
    row_crc32: Option<String>,
}

fn preprocess(size: usize) -> Preprocess {
    Preprocess { mean: [0.0; 3], std: [1.0; 3], ..Preprocess::openai(size) }
}

/// The pixels that the reference program makes by the same formula.
fn pattern(width: u32, height: u32) -> RgbImage {
    let level = |i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    let pixels = (0..width * height * 3).map(level).collect();
    RgbImage::new(width, height, pixels).unwrap()
}

#[test]
fn resized_pixels_equal_pillow_byte_for_byte() {
    let kept = decode(&crate::support::images::read("resize_32.expected.png")).unwrap();
    let mut kept = kept.pixels().chunks_exact(32 * 32 * 3);
    for case in crate::support::images::cases::<Resize>("resize.json") {
        let name = format!("{} x {} to {}", case.width, case.height, case.size);
        let image = pattern(case.width, case.height);
        let pixels = preprocess(case.size).resize_and_crop(&image);
        assert_eq!(pixels.len(), case.size * case.size * 3, "{name}");
        match case.row_crc32 {
            None => assert_same_pixels(&name, case.size, &pixels, kept.next().unwrap()),
            Some(expected) => {
                for (y, row) in pixels.chunks_exact(case.size * 3).enumerate() {
                    let crc = format!("{:08x}", crate::support::crc32(row.iter().copied()));
                    assert_eq!(crc, expected[y * 8..][..8], "{name}: row {y} differs");
                }
            }
        }
    }
    assert!(kept.next().is_none(), "pixels are kept for a case that is not listed");
}

fn assert_same_pixels(name: &str, width: usize, actual: &[u8], expected: &[u8]) {
    assert_eq!(actual.len(), expected.len(), "{name}");
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let (x, y, channel) = (i / 3 % width, i / 3 / width, i % 3);
        assert_eq!(actual, expected, "{name}: channel {channel} at x {x}, y {y}");
    }
}

#[derive(Deserialize)]
struct PixelValues {
    file: String,
    size: usize,
    mean: [f32; 3],
    std: [f32; 3],
    crc32: String,
    /// Channel, row, column and value.
    samples: Vec<(usize, usize, usize, f32)>,
}

#[test]
fn tensors_equal_the_reference_bit_for_bit() {
    for case in crate::support::images::cases::<PixelValues>("pixel_values.json") {
        let PixelValues { file, size, mean, std, .. } = case;
        let image = decode(&crate::support::images::read(&file)).unwrap();
        let tensor = Preprocess { mean, std, ..Preprocess::openai(size) }.apply(&image);
        assert_eq!(tensor.len(), 3 * size * size, "{file}");
        for (channel, y, x, expected) in case.samples {
            let actual = tensor[(channel * size + y) * size + x];
            let difference = (actual - expected).abs();
            assert!(
                difference < 1e-6,
                "{file}: channel {channel} at x {x}, y {y} is {actual}, not {expected}"
            );
        }
        let crc = crate::support::crc32(tensor.iter().flat_map(|value| value.to_le_bytes()));
        assert_eq!(format!("{crc:08x}"), case.crc32, "{file}: the samples agree, others do not");
    }
}

/// Resized completely, these would take gigabytes, so the expected result is derived from the pixels.
#[test]
fn an_elongated_image_costs_no_more_than_its_crop() {
    for (width, height) in [(1, 60_000), (60_000, 1), (1, 65_535), (2, 1_000_000), (30_000_000, 1)]
    {
        let image = RgbImage::new(width, height, vec![77; (width * height * 3) as usize]).unwrap();
        let pixels = preprocess(224).resize_and_crop(&image);
        assert_eq!(pixels.len(), 224 * 224 * 3, "{width} x {height}");
        let wrong = pixels.iter().position(|&level| level != 77);
        assert_eq!(wrong, None, "{width} x {height}: a flat image is not flat any more");
    }
}

#[test]
fn a_transposed_image_gives_the_transposed_crop_when_shrunk() {
    // Both passes round, so their order matters: Pillow resizes a tall image vertically first, and the same
    // image lying on its side horizontally first. So the transposed results are the same sums.
    let tall = pattern(300, 1100);
    let (width, height) = (300_usize, 1100_usize);
    let lying = (0..width).flat_map(|x| {
        let tall = &tall;
        (0..height).flat_map(move |y| tall.pixels()[(y * width + x) * 3..][..3].iter().copied())
    });
    let lying = RgbImage::new(1100, 300, lying.collect()).unwrap();
    let size = 64;
    let tall = preprocess(size).resize_and_crop(&tall);
    let lying = preprocess(size).resize_and_crop(&lying);
    for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
        let (a, b) = (&tall[(y * size + x) * 3..][..3], &lying[(x * size + y) * 3..][..3]);
        assert_eq!(a, b, "x {x}, y {y}");
    }
}

#[test]
fn a_size_of_zero_gives_an_empty_tensor() {
    assert!(preprocess(0).apply(&pattern(5, 3)).is_empty());
}
