//! YCbCr in a TIFF that is not JPEG-compressed, by libtiff's arithmetic and by PIL's.

use super::super::tags::{Directory, tag};
use crate::error::Result;
use crate::memory;

/// How many pixels share a pair of chroma samples, horizontally and vertically.
pub type Subsampling = (usize, usize);

/// The subsampling that the file states, or the default.
pub fn subsampling(directory: &Directory) -> Subsampling {
    let mut factors = directory.numbers(tag::YCBCR_SUBSAMPLING).map(|factor| match factor {
        1 | 2 | 4 => factor as usize,
        _ => 1,
    });
    factors.next().zip(factors.next()).unwrap_or((2, 2))
}

/// Size in bytes of an image of this size: blocks, each with its luma, then a Cb and a Cr.
pub fn stored_bytes((width, height): (usize, usize), (across, down): Subsampling) -> usize {
    width.div_ceil(across) * height.div_ceil(down) * (across * down + 2)
}

/// The image as RGB, `[height, width, 3]`. Chroma is repeated, like libtiff's `putcontig8bitYCbCr…`.
pub fn to_rgb(
    data: &[u8],
    (width, height): (usize, usize),
    (across, down): Subsampling,
    directory: &Directory,
) -> Result<Vec<u8>> {
    let convert = Conversion::of(directory);
    let mut rgb = memory::filled(3 * (width * height) as u64, 0)?;
    let blocks = data.chunks_exact(across * down + 2);
    for (index, block) in blocks.enumerate() {
        let (left, top) =
            (index % width.div_ceil(across) * across, index / width.div_ceil(across) * down);
        let [luma @ .., cb, cr] = block else { continue };
        for (place, &luma) in luma.iter().enumerate() {
            let (x, y) = (left + place % across, top + place / across);
            if x < width && y < height {
                let at = 3 * (y * width + x);
                rgb[at..at + 3].copy_from_slice(&convert.rgb(luma, *cb, *cr));
            }
        }
    }
    Ok(rgb)
}

/// libtiff's `TIFFYCbCrToRGB`: products with 16 fraction bits; the file may state coefficients and a range.
struct Conversion {
    luma: [i32; 256],
    red_of_cr: [i32; 256],
    green_of_cr: [i32; 256],
    green_of_cb: [i32; 256],
    blue_of_cb: [i32; 256],
}

const FRACTION_BITS: u32 = 16;
const ONE_HALF: i32 = 1 << (FRACTION_BITS - 1);

impl Conversion {
    fn of(directory: &Directory) -> Self {
        let floats = |tag, default: &[f32]| -> Vec<f32> {
            let told: Vec<f32> =
                directory.values(tag).take(default.len()).map(|value| value as f32).collect();
            if told.len() == default.len() { told } else { default.to_vec() }
        };
        // CCIR Recommendation 601-1.
        let weights = floats(tag::YCBCR_COEFFICIENTS, &[0.299, 0.587, 0.114]);
        let range = floats(tag::REFERENCE_BLACK_WHITE, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let (red, green, blue) = (weights[0], weights[1], weights[2]);
        let fixed = |factor: f32| (f64::from(factor.clamp(0.0, 2.0)) * 65536.0 + 0.5) as i32;
        let of_red = 2.0 - 2.0 * red;
        let of_blue = 2.0 - 2.0 * blue;
        let (d1, d2) = (fixed(of_red), -fixed(red * of_red / green));
        let (d3, d4) = (fixed(of_blue), -fixed(blue * of_blue / green));
        let value = |code: i32, black: f32, white: f32, most: f32| {
            let span = if white == black { 1.0 } else { white - black };
            (((code - black as i32) as f32 * most) / span).clamp(-4096.0, 4096.0) as i32
        };
        let chroma = |code: usize, at: usize| {
            value(code as i32 - 128, range[at] - 128.0, range[at + 1] - 128.0, 127.0)
        };
        let table = |of: &dyn Fn(usize) -> i32| std::array::from_fn::<i32, 256, _>(of);
        Self {
            luma: table(&|code| value(code as i32, range[0], range[1], 255.0)),
            red_of_cr: table(&|code| (d1 * chroma(code, 4) + ONE_HALF) >> FRACTION_BITS),
            green_of_cr: table(&|code| d2 * chroma(code, 4)),
            green_of_cb: table(&|code| d4 * chroma(code, 2) + ONE_HALF),
            blue_of_cb: table(&|code| (d3 * chroma(code, 2) + ONE_HALF) >> FRACTION_BITS),
        }
    }

    fn rgb(&self, luma: u8, cb: u8, cr: u8) -> [u8; 3] {
        let (luma, cb, cr) = (self.luma[usize::from(luma)], usize::from(cb), usize::from(cr));
        let green = (self.green_of_cb[cb].wrapping_add(self.green_of_cr[cr])) >> FRACTION_BITS;
        [luma + self.red_of_cr[cr], luma + green, luma + self.blue_of_cb[cb]]
            .map(|level| level.clamp(0, 255) as u8)
    }
}

/// PIL's `ConvertYCbCr`, for data that it reads without libtiff: products with 6 fraction bits.
pub fn pil_rgb([luma, cb, cr]: [u8; 3]) -> [u8; 3] {
    let of =
        |factor: f64, code: u8| (factor * f64::from(i32::from(code) - 128) * 64.0 + 0.5) as i32;
    let luma = i32::from(luma);
    let red = luma + (of(1.402, cr) >> 6);
    let green = luma + ((of(-0.34414, cb) + of(-0.71414, cr)) >> 6);
    let blue = luma + (of(1.772, cb) >> 6);
    [red, green, blue].map(|level| level.clamp(0, 255) as u8)
}
