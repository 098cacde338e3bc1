//! RGB pixels to the tensor the vision tower reads.
//!
//! The reference is `CLIPImageProcessor` of Hugging Face transformers with its PIL backend
//! (`CLIPImageProcessorPil` in transformers 5): resize the shorter edge with PIL's bicubic, crop
//! the centre, scale to 0..1, normalise. Pixels equal the reference byte for byte and the tensor
//! bit for bit. The torchvision backend, transformers' default since version 5, resizes by its own
//! arithmetic instead.
//!
//! Two choices where references disagree. Alpha is gone before this stage, as `load_image` of
//! transformers drops it; the processor of recent versions of 5, handed an image that still has
//! alpha, puts it on white. And OpenAI's and open_clip's own transforms round the offset of the
//! crop half to even where this rounds down, a shift of a pixel for some odd margins.

mod resize;

use crate::decode::RgbImage;
use crate::error::Result;
use crate::memory;
use resize::Window;

/// The channels of a pixel and of the tensor.
const CHANNELS: usize = 3;

/// How an image becomes the tensor of a model: what its file says of size, mean and deviation.
///
/// ```
/// use clip_wasm::{decode::RgbImage, preprocess::Preprocess};
///
/// let image = RgbImage::new(3, 2, [255, 0, 51].repeat(6))?;
/// let preprocess = Preprocess { image_size: 2, mean: [0.5; 3], std: [0.5; 3] };
/// assert_eq!(preprocess.apply(&image), [[1.0; 4], [-1.0; 4], [-0.6; 4]].concat());
/// # Ok::<(), clip_wasm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// The edge S of the square the model reads, in pixels.
    pub image_size: usize,
    /// The mean of each channel, for values in 0..1.
    pub mean: [f32; 3],
    /// The standard deviation of each channel, for values in 0..1.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The tensor of an image: `[3, S, S]`, f32, channels first in the order R, G, B, row-major,
    /// each value `(x / 255 - mean) / std`.
    ///
    /// The memory used is that of the crop, whatever the shape of the image.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        let pixels = self.resize_and_crop(image);
        let mut tensor = Vec::with_capacity(pixels.len());
        for channel in 0..CHANNELS {
            let value_of = self.normalised_levels(channel);
            let levels = pixels.iter().skip(channel).step_by(CHANNELS);
            tensor.extend(levels.map(|&level| value_of[usize::from(level)]));
        }
        tensor
    }

    /// Sees to it that there is memory for what [`Preprocess::apply`] takes.
    ///
    /// # Errors
    /// `low_memory`
    pub(crate) fn make_room(&self, image: &RgbImage) -> Result<()> {
        let square = (CHANNELS * self.image_size * self.image_size) as u64;
        let short = image.width().min(image.height()) as usize;
        // Between the two passes, what of the image's shorter edge is read is brought to the other's size.
        let between = resize::most_between(short, self.image_size);
        memory::probe(&[between, square])?;
        memory::probe(&[square, 4 * square])
    }

    /// The pixels the tensor is made of: RGB8, interleaved, row-major, `[S, S, 3]`.
    pub fn resize_and_crop(&self, image: &RgbImage) -> Vec<u8> {
        let size = self.image_size as u64;
        let (width, height) = (u64::from(image.width()), u64::from(image.height()));
        let short = width.min(height);
        let (width, height) = (size * width / short, size * height / short);
        let window = Window {
            left: (width - size) / 2,
            top: (height - size) / 2,
            width: self.image_size,
            height: self.image_size,
        };
        resize::bicubic(image, width, height, window)
    }

    /// What each of the 256 levels becomes, in the reference's precisions: the product with 1/255
    /// in f64, the rest in f32.
    fn normalised_levels(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.mean[channel], self.std[channel]);
        std::array::from_fn(|level| ((level as f64 * (1.0 / 255.0)) as f32 - mean) / std)
    }
}
