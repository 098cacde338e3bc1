//! Turns decoded samples into RGB8, by PIL's rules for each kind of pixel.

use super::Alpha;
use crate::error::Result;
use crate::memory;

/// `[r, g, b, a]` pixels to RGB, in place.
pub(super) fn rgba(mut samples: Vec<u8>, alpha: Alpha) -> Vec<u8> {
    if let Some(background) = alpha.background() {
        for [colour @ .., alpha] in samples.as_chunks_mut::<4>().0 {
            colour.iter_mut().for_each(|level| *level = over(*level, *alpha, background));
        }
    }
    first_three(samples)
}

/// Keeps the first three of every four bytes, in place, to avoid a second image.
pub(super) fn first_three(mut samples: Vec<u8>) -> Vec<u8> {
    let pixels = samples.len() / 4;
    for pixel in 0..pixels {
        samples.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
    }
    samples.truncate(pixels * 3);
    samples.shrink_to_fit();
    samples
}

/// `[level, alpha]` pixels to RGB.
pub(super) fn grey_alpha(mut samples: Vec<u8>, alpha: Alpha) -> Result<Vec<u8>> {
    if let Some(background) = alpha.background() {
        for [level, alpha] in samples.as_chunks_mut().0 {
            *level = over(*level, *alpha, background);
        }
    }
    grey(&samples, 2)
}

/// Composites a level over an opaque one, with the precision of PIL's `alpha_composite`: products with 7
/// extra bits, divided by 255 and rounded to nearest, except for what the shifts lose.
pub(super) fn over(level: u8, alpha: u8, background: u8) -> u8 {
    const EXTRA_BITS: u32 = 7;
    let [level, alpha, background] = [level, alpha, background].map(u32::from);
    let sum = (level * alpha + background * (255 - alpha) + 128) << EXTRA_BITS;
    (((sum >> 8) + sum) >> 8 >> EXTRA_BITS) as u8
}

/// Takes the first of every `stride` bytes as a grey pixel.
pub(super) fn grey(samples: &[u8], stride: usize) -> Result<Vec<u8>> {
    let mut rgb = memory::reserved(samples.len() as u64 / stride as u64 * 3)?;
    samples.chunks_exact(stride).for_each(|pixel| rgb.extend_from_slice(&[pixel[0]; 3]));
    Ok(rgb)
}

/// Keeps byte `which` of every `count` bytes, in place. For 16-bit samples that is the high byte, which PIL
/// keeps of 16-bit colour.
pub(super) fn one_of(mut samples: Vec<u8>, count: usize, which: usize) -> Vec<u8> {
    let kept = samples.len() / count;
    for at in 0..kept {
        samples[at] = samples[count * at + which];
    }
    samples.truncate(kept);
    samples.shrink_to_fit();
    samples
}

/// 16-bit grey without alpha saturates: PIL's `I;16` keeps the values unscaled, and `convert("RGB")` clips
/// those above 255.
pub(super) fn saturate(levels: impl ExactSizeIterator<Item = u16>) -> Result<Vec<u8>> {
    let mut rgb = memory::reserved(levels.len() as u64 * 3)?;
    levels.for_each(|level| rgb.extend_from_slice(&[level.min(255) as u8; 3]));
    Ok(rgb)
}

/// Converts ink to light like `cmyk2rgb` in PIL's Convert.c: each of `[c, m, y, k]` is 255 for full ink.
pub(super) fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - k;
    [c, m, y].map(|ink| light - multiply(ink, light))
}

/// `a * b / 255`, rounded to nearest (`MULDIV255`).
fn multiply(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_rounds_to_nearest() {
        for (a, b) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
            let exact = f64::from(a) * f64::from(b) / 255.0;
            assert_eq!(f64::from(multiply(a, b)), exact.round(), "{a} * {b}");
        }
    }
}
