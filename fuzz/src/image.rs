//! Decodes an image file of arbitrary bytes with any options, and makes a tensor of it.

use super::{accept, limits};
use clip_wasm::decode::{Alpha, DecodeOptions, Orientation, decode_within};
use clip_wasm::preprocess::{Filter, Preprocess, Resize};

/// Tries one input.
pub fn run(file: &[u8]) {
    // The last byte selects the options: no format here needs it.
    let how = file.last().copied().unwrap_or(0);
    let options = DecodeOptions {
        orientation: if how & 1 == 0 { Orientation::Exif } else { Orientation::Ignore },
        alpha: [Alpha::Drop, Alpha::White, Alpha::Black][usize::from(how >> 1) % 3],
    };
    match decode_within(file, options, &limits()) {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert_eq!(image.pixels().len() as u64, 3 * pixels);
            let image_size = 1 + usize::from(how >> 3);
            let (mean, std) = ([0.5; 3], [0.5; 3]);
            let resize = match how >> 6 {
                0 => Resize::Shortest(image_size + usize::from(how & 7)),
                1 => Resize::Longest,
                2 => Resize::Squash { width: image_size, height: image_size },
                _ => Resize::None,
            };
            let filter = Filter::ALL[usize::from(how) % Filter::ALL.len()];
            let preprocess =
                Preprocess { resize, filter, mean, std, ..Preprocess::openai(image_size) };
            let tensor = preprocess.apply(&image);
            assert_eq!(tensor.len(), 3 * image_size * image_size);
            assert!(tensor.iter().all(|value| (-1.0..=1.0).contains(value)));
        }
        Err(error) => accept(&error),
    }
}
