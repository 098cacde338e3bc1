//! Allocations that fail, at every point where one can: an error, never the end of the process.
//!
//! A memory budget is raised step by step, from zero to the size of the last refused allocation, until it
//! is enough. An allocation that cannot be refused aborts the process, and with it this test.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../support/mod.rs"]
mod support;

use clip_wasm::decode::decode;
use clip_wasm::{ClipEncoder, ErrorKind, ModelLoader, Result, Tower};
use image::{DynamicImage, ImageFormat, RgbImage};
use libjpeg_turbo_rs::{Encoder, PixelFormat};
use support::allocator::{Budgeted, SMALL, within, within_or_asked};
use support::{data, photo};

#[global_allocator]
static ALLOCATOR: Budgeted = Budgeted;

/// How many times `work` fails for lack of memory before it returns the same result as with unlimited
/// memory. After each failure the budget grows to what was refused, plus `step` bytes.
///
/// The final budget must not be much larger than the memory used: WebAssembly's memory never shrinks.
fn failures<T: PartialEq>(label: &str, step: usize, work: impl Fn() -> Result<T>) -> usize {
    let (want, peak) = within(usize::MAX, &work);
    let want = want.unwrap_or_else(|error| panic!("{label}: {error:?}"));
    let (mut budget, mut failures) = (0, 0);
    loop {
        let (result, _, asked) = within_or_asked(budget, &work);
        match (result, asked) {
            (Ok(result), _) => {
                assert!(result == want, "{label}: {budget} bytes give something else");
                break;
            }
            (Err(error), Some(asked)) => {
                assert_eq!(error.kind(), ErrorKind::LowMemory, "{label}: {error:?}");
                assert!(asked > budget, "{label}: {asked} bytes are refused of {budget}");
                budget = asked + step;
            }
            (Err(error), None) => panic!("{label}: nothing was refused, and yet {error:?}"),
        }
        failures += 1;
    }
    println!("{label}: {failures} failures, {budget} bytes are enough, {peak} are taken");
    assert!(failures > 0, "{label}: no buffer is large enough to be refused");
    assert!(budget <= peak + peak / 4 + 2 * SMALL + step, "{label}: {budget} bytes for {peak}");
    failures
}

/// Loads one tower of a full-size model.
fn loaded(bytes: &[u8], tower: Tower) -> Result<ClipEncoder> {
    let mut loader = ModelLoader::of_towers(&[tower]);
    for chunk in bytes.chunks(1 << 18) {
        loader.push(chunk)?;
    }
    loader.finish()
}

/// The same picture in every format that a crate here can write.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let jpeg = photo("rocket.jpg");
    let pixels = decode(&jpeg).unwrap();
    let (width, height) = (pixels.width(), pixels.height());
    let image = RgbImage::from_raw(width, height, pixels.pixels().to_vec()).unwrap();
    let image = DynamicImage::ImageRgb8(image);
    let write = |image: &DynamicImage, format| {
        let mut file = std::io::Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    let transparent = DynamicImage::ImageRgba8(image.to_rgba8());
    let mut tiff = std::io::Cursor::new(Vec::new());
    tiff::encoder::TiffEncoder::new(&mut tiff)
        .unwrap()
        .write_image::<tiff::encoder::colortype::RGB16>(width, height, image.to_rgb16().as_raw())
        .unwrap();
    let mut gif = Vec::new();
    let (greys, palette) =
        (image.to_luma8(), (0..=255).flat_map(|grey| [grey; 3]).collect::<Vec<u8>>());
    let frame = gif::Frame::from_palette_pixels(
        width as u16,
        height as u16,
        greys.into_raw(),
        palette,
        None,
    );
    let mut encoder = gif::Encoder::new(&mut gif, width as u16, height as u16, &[]).unwrap();
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let progressive =
        Encoder::new(pixels.pixels(), width as usize, height as usize, PixelFormat::Rgb)
            .progressive(true)
            .encode()
            .unwrap();
    vec![
        ("JPEG", jpeg.clone()),
        ("JPEG on its side", turned(&jpeg)),
        ("progressive JPEG", progressive),
        ("grey PNG", write(&DynamicImage::ImageLuma8(image.to_luma8()), ImageFormat::Png)),
        ("PNG of 16 bits", write(&DynamicImage::ImageRgb16(image.to_rgb16()), ImageFormat::Png)),
        ("PNG", write(&transparent, ImageFormat::Png)),
        ("WebP", write(&image, ImageFormat::WebP)),
        ("WebP with alpha", write(&transparent, ImageFormat::WebP)),
        ("BMP", write(&image, ImageFormat::Bmp)),
        ("TIFF of 16 bits", tiff.into_inner()),
        ("GIF", gif),
    ]
}

/// A JPEG with an orientation that needs a second image to turn.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    const ON_ITS_SIDE: u8 = 6;
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
    let exif = [&exif[..], &[ON_ITS_SIDE, 0, 0, 0, 0, 0, 0]].concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn an_allocation_that_fails_is_an_error() {
    let model = std::fs::read(data("vit-b-32-gelu.q8_0.gguf")).unwrap();
    let vision = loaded(&model, Tower::Vision).unwrap();
    let files = files();

    let decoding: usize =
        files.iter().map(|(label, file)| failures(label, 0, || decode(file))).sum();
    let embedding = failures("an image", 0, || vision.embed_image(&files[0].1, true));
    drop(vision);

    // Each of its 200 tensors may fail; the step skips some megabytes to test fewer points.
    let step = 12 << 20;
    let loading = failures("weights", step, || loaded(&model, Tower::Text).map(|_| ()));
    let text = loaded(&model, Tower::Text).unwrap();
    let words = "a photo of a cat ".repeat(20_000);
    let reading = failures("a long text", 0, || text.embed_text(&words, true));

    let low = "low_memory, and the next call works";
    let record = |what: &str, points: usize, of: &str| {
        support::reliability::record("faults", what, &format!("{points} points, {of}"), low);
    };
    let formats = format!("{} files in seven formats", files.len());
    record("an allocation fails while an image is decoded", decoding, &formats);
    record("an allocation fails while an image is embedded", embedding, "ViT-B/32, q8_0");
    record("an allocation fails while a model is loaded", loading, "ViT-B/32's text tower, q8_0");
    record("an allocation fails while a text is embedded", reading, "340,000 bytes");
}
