//! An image file of any bytes, decoded in any of the ways there are, and made a tensor.
#![no_main]

use clip_wasm::decode::{Alpha, DecodeOptions, Orientation, decode_within};
use clip_wasm::preprocess::Preprocess;
use clip_wasm_fuzz::{accept, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    // The last byte says how: no format here needs it.
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
            let preprocess = Preprocess { image_size, mean: [0.5; 3], std: [0.5; 3] };
            let tensor = preprocess.apply(&image);
            assert_eq!(tensor.len(), 3 * image_size * image_size);
            assert!(tensor.iter().all(|value| (-1.0..=1.0).contains(value)));
        }
        Err(error) => accept(&error),
    }
});
