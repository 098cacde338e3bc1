//! Turns the stored components of a JPEG into pixels by libjpeg-turbo's arithmetic.
//!
//! Used for frames with sampling factors that the decoder upsamples differently: chroma finer than luma,
//! and inks of several sizes.

use libjpeg_turbo_rs::ColorSpace;

use super::markers::Frame;
use crate::error::Result;
use crate::memory;

/// One component as stored: the samples that belong to the image, in rows of `stride`.
struct Plane<'a> {
    samples: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    /// How many pixels share a sample, horizontally and vertically.
    shared: (usize, usize),
}

/// The samples of a component, in rows of `stride`, padded to whole blocks.
pub struct Stored {
    pub samples: Vec<u8>,
    pub stride: usize,
}

/// The pixels, `[height, width, components]`: RGB for three components, CMYK with 255 for no ink for four.
pub fn put_together(stored: &[Stored], frame: &Frame, space: ColorSpace) -> Result<Vec<u8>> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let most = frame.largest_sampling();
    let planes = stored.iter().zip(&frame.sampling).map(|(stored, &(across, down))| {
        let [across, down] = [across, down].map(usize::from);
        let [most_across, most_down] = [most.0, most.1].map(usize::from);
        Plane {
            samples: &stored.samples,
            stride: stored.stride,
            width: (width * across).div_ceil(most_across),
            height: (height * down).div_ceil(most_down),
            shared: (most_across / across, most_down / down),
        }
    });
    let planes: Vec<Plane> = planes.collect();
    let count = planes.len();
    let mut pixels = memory::filled((width * height * count) as u64, 0)?;
    let mut rows = vec![memory::filled(width as u64 + 4, 0)?; count];
    for (y, out) in pixels.chunks_exact_mut(width * count).enumerate() {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.upsample(y, row);
        }
        for (x, pixel) in out.chunks_exact_mut(count).enumerate() {
            pixel.iter_mut().zip(&rows).for_each(|(level, row)| *level = row[x]);
            match (space, &mut *pixel) {
                (ColorSpace::YCbCr, [a, b, c]) => [*a, *b, *c] = rgb(*a, *b, *c),
                // Ink is 255 minus light; black is stored as it is.
                (ColorSpace::Ycck, [a, b, c, _]) => {
                    [*a, *b, *c] = rgb(*a, *b, *c).map(|light| 255 - light);
                }
                _ => {}
            }
        }
    }
    Ok(pixels)
}

impl Plane<'_> {
    /// Upsamples row `y` of the image with the method that `jinit_upsampler` chooses. If two pixels share a
    /// sample, each pixel is three quarters of the nearer sample and one of the next; otherwise samples are
    /// repeated. `out` has room for one whole sample after the last pixel.
    fn upsample(&self, y: usize, out: &mut [u8]) {
        let nearest = &self.row(y / self.shared.1);
        match self.shared {
            (2, 1) if self.width > 2 => blend_across(nearest, out, 4, [1, 2]),
            (1, 2) => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((level, near), far) in
                    out.iter_mut().zip(nearest.iter()).zip(self.next_nearest(y))
                {
                    *level = ((u32::from(*near) * 3 + u32::from(*far) + bias) >> 2) as u8;
                }
            }
            (2, 2) if self.width > 2 => {
                let columns = nearest.iter().zip(self.next_nearest(y));
                let sums: Vec<u16> =
                    columns.map(|(near, far)| u16::from(*near) * 3 + u16::from(*far)).collect();
                blend_across(&sums, out, 16, [8, 7]);
            }
            (across, _) => {
                for (levels, &sample) in out.chunks_mut(across).zip(nearest.iter()) {
                    levels.fill(sample);
                }
            }
        }
    }

    fn row(&self, index: usize) -> &[u8] {
        &self.samples[index.min(self.height - 1) * self.stride..][..self.width]
    }

    /// For a plane whose rows are two pixels high: the row that is second nearest to row `y` of the image.
    fn next_nearest(&self, y: usize) -> &[u8] {
        self.row(if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 })
    }
}

/// Makes two pixels of each sample: three parts of it and one of its neighbour (of itself at the edges),
/// divided by `parts`. The left and the right pixel round differently, which avoids a drift.
fn blend_across<T: Copy + Into<u32>>(
    samples: &[T],
    out: &mut [u8],
    parts: u32,
    rounding: [u32; 2],
) {
    let last = samples.len() - 1;
    for (x, (two, &sample)) in out.as_chunks_mut::<2>().0.iter_mut().zip(samples).enumerate() {
        let sample: u32 = sample.into();
        let beside = |at: Option<usize>| at.map_or(sample, |at| samples[at].into());
        let neighbours = [x.checked_sub(1), Some(x + 1).filter(|next| *next <= last)];
        for ((level, at), rounding) in two.iter_mut().zip(neighbours).zip(rounding) {
            *level = ((3 * sample + beside(at) + rounding) / parts) as u8;
        }
    }
}

/// `ycc_rgb_convert`: products with 16 fraction bits.
fn rgb(luma: u8, cb: u8, cr: u8) -> [u8; 3] {
    const ONE_HALF: i32 = 1 << 15;
    let fixed = |factor: f64| (factor * 65536.0 + 0.5) as i32;
    let [luma, cb, cr] = [i32::from(luma), i32::from(cb) - 128, i32::from(cr) - 128];
    let red = luma + ((fixed(1.402) * cr + ONE_HALF) >> 16);
    let green = luma + ((-fixed(0.34414) * cb + ONE_HALF - fixed(0.71414) * cr) >> 16);
    let blue = luma + ((fixed(1.772) * cb + ONE_HALF) >> 16);
    [red, green, blue].map(|level| level.clamp(0, 255) as u8)
}
