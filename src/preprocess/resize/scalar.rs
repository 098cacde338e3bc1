//! The horizontal pass in scalar code: the reference for the SIMD code.

use super::{Axis, CHANNELS, HALF, to_pixel};

/// The horizontal pass.
pub(super) struct Columns<'a>(&'a Axis);

impl<'a> Columns<'a> {
    pub fn new(axis: &'a Axis) -> Self {
        Self(axis)
    }

    /// `row` `[source width, 3]` to `out` `[axis.len(), 3]`.
    pub fn weigh(&self, row: &[u8], out: &mut [u8]) {
        for (out, &span) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(&self.0.spans) {
            let mut sums = [HALF; CHANNELS];
            let pixels = row.as_chunks::<CHANNELS>().0[span.source..].iter();
            for (pixel, &tap) in pixels.zip(self.0.taps(span)) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * tap;
                }
            }
            *out = sums.map(to_pixel);
        }
    }
}
