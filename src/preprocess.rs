//! Turns RGB pixels into the tensor that the vision tower reads.
//!
//! The reference is `CLIPImageProcessor` of Hugging Face transformers with its PIL backend
//! (`CLIPImageProcessorPil` in transformers 5), configured by the model's own files: resize, crop the
//! centre, rescale, normalise. Pixels equal the reference byte for byte, and the tensor equals it bit for
//! bit. The torchvision backend, transformers' default since version 5, has a different arithmetic for
//! resizing and is not followed. open_clip's resize modes are supported too.
//!
//! Two choices where references disagree. Alpha is dropped before this stage, as transformers' `load_image`
//! does; the processor of recent 5.x versions composites an image that still has alpha over white. And if
//! the crop's offset ends in a half, OpenAI's and open_clip's own transforms round it to even, while this
//! rounds down: for some odd margins the crop is one pixel off.

mod filter;
mod resize;

use crate::decode::RgbImage;
use crate::error::{Error, ErrorKind, Result};
use crate::memory;
pub use filter::Filter;
use resize::Window;

/// Number of channels in a pixel and in the tensor.
const CHANNELS: usize = 3;

/// How a model's files say an image becomes its tensor.
///
/// ```
/// use clip_wasm::{decode::RgbImage, preprocess::Preprocess};
///
/// let image = RgbImage::new(3, 2, [255, 0, 51].repeat(6))?;
/// let preprocess = Preprocess { mean: [0.5; 3], std: [0.5; 3], ..Preprocess::openai(2) };
/// assert_eq!(preprocess.apply(&image), [[1.0; 4], [-1.0; 4], [-0.6; 4]].concat());
/// # Ok::<(), clip_wasm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// The edge S of the square that the model reads, in pixels. It is cut out of the middle of the resized
    /// image.
    pub image_size: usize,
    /// How the image is resized before that.
    pub resize: Resize,
    /// The filter for resizing.
    pub filter: Filter,
    /// The colour where the resized image does not cover the square.
    pub fill: [u8; 3],
    /// The factor for each level of 0 to 255.
    pub rescale_factor: f64,
    /// The mean of each channel, for rescaled values.
    pub mean: [f32; 3],
    /// The standard deviation of each channel, for rescaled values.
    pub std: [f32; 3],
}

/// The size to which an image is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter edge becomes this many pixels; the aspect ratio is kept.
    Shortest(usize),
    /// The longer edge becomes the edge of the model's square, so that the image fits in; the aspect ratio
    /// is kept.
    Longest,
    /// Both edges get a fixed size, whatever the aspect ratio was.
    Squash {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
    },
    /// The image is not resized.
    None,
}

impl Resize {
    /// Its name in open_clip: `shortest`, `longest`, `squash`; or `none`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shortest(_) => "shortest",
            Self::Longest => "longest",
            Self::Squash { .. } => "squash",
            Self::None => "none",
        }
    }

    /// The width and height it states, in pixels; the same number twice for `Shortest`.
    pub(crate) fn size(self) -> Option<[usize; 2]> {
        match self {
            Self::Shortest(edge) => Some([edge, edge]),
            Self::Squash { width, height } => Some([width, height]),
            Self::Longest | Self::None => None,
        }
    }
}

impl Preprocess {
    /// The preparation for OpenAI's models, with transformers' `OPENAI_CLIP_MEAN` and `_STD`, for a square
    /// of `image_size`.
    pub fn openai(image_size: usize) -> Self {
        Self {
            image_size,
            resize: Resize::Shortest(image_size),
            filter: Filter::Bicubic,
            fill: [0; 3],
            rescale_factor: 1.0 / 255.0,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }

    /// What transformers' `SiglipImageProcessor` does by default, for a square of `image_size`.
    pub fn siglip(image_size: usize) -> Self {
        Self {
            resize: Resize::Squash { width: image_size, height: image_size },
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Self::openai(image_size)
        }
    }

    /// The tensor of an image: `[3, S, S]`, f32, channels first in the order R, G, B, row-major,
    /// each value `(x * rescale_factor - mean) / std`.
    ///
    /// Memory use depends only on the crop, whatever the aspect ratio of the image.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        self.normalise(&self.resize_and_crop(image))
    }

    /// The tensor of the square of pixels that [`Preprocess::resize_and_crop`] gives: `[S, S, 3]`, u8, to
    /// `[3, S, S]`, f32.
    pub fn normalise(&self, pixels: &[u8]) -> Vec<f32> {
        self.normalise_all(&[pixels])
    }

    /// The tensors of several squares, one after the other: `[images, 3, S, S]`.
    pub(crate) fn normalise_all(&self, images: &[impl AsRef<[u8]>]) -> Vec<f32> {
        let mut tensor = Vec::with_capacity(images.len() * self.square_len());
        let levels: [_; CHANNELS] = std::array::from_fn(|channel| self.normalised_levels(channel));
        for image in images {
            let (pixels, _) = image.as_ref().as_chunks::<CHANNELS>();
            for (channel, value_of) in levels.iter().enumerate() {
                tensor.extend(pixels.iter().map(|pixel| value_of[usize::from(pixel[channel])]));
            }
        }
        tensor
    }

    /// Returns `pixels` if they are a square of this size.
    ///
    /// # Errors
    /// `invalid_input`
    pub(crate) fn require_square<'a>(&self, pixels: &'a [u8]) -> Result<&'a [u8]> {
        if pixels.len() == self.square_len() {
            return Ok(pixels);
        }
        let (size, len) = (self.image_size, pixels.len());
        let message = format!("{len} bytes are not {size} x {size} pixels of three bytes each");
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Fails if there is not enough memory for [`Preprocess::resize_and_crop`].
    ///
    /// # Errors
    /// `low_memory`
    pub(crate) fn make_room_to_resize(&self, image: &RgbImage) -> Result<()> {
        let square = self.square_len() as u64;
        let (size, window, _) = self.placed(image);
        let between = resize::most_between(image, size, window, self.filter);
        memory::probe(&[between, square, square])
    }

    /// Fails if there is not enough memory for [`Preprocess::normalise`] of so many squares.
    ///
    /// # Errors
    /// `low_memory`
    pub(crate) fn make_room_to_normalise(&self, images: usize) -> Result<()> {
        memory::probe(&[images as u64 * 4 * self.square_len() as u64])
    }

    /// The bytes of the square: three for each of its pixels.
    pub(crate) fn square_len(&self) -> usize {
        CHANNELS * self.image_size * self.image_size
    }

    /// The pixels that the tensor is made from: RGB8, interleaved, row-major, `[S, S, 3]`.
    pub fn resize_and_crop(&self, image: &RgbImage) -> Vec<u8> {
        let (size, window, (left, top)) = self.placed(image);
        let pixels = resize::resize(image, size, window, self.filter);
        if (window.width, window.height) == (self.image_size, self.image_size) {
            return pixels;
        }
        let mut square = self.fill.repeat(self.image_size * self.image_size);
        let rows = square.chunks_exact_mut(CHANNELS * self.image_size).skip(top);
        for (row, pixels) in rows.zip(pixels.chunks_exact(CHANNELS * window.width)) {
            row[CHANNELS * left..][..pixels.len()].copy_from_slice(pixels);
        }
        square
    }

    /// The size of the resized image, the part of it inside the square, and where in the square that part
    /// starts.
    fn placed(&self, image: &RgbImage) -> ((u64, u64), Window, (usize, usize)) {
        let size = self.image_size as u64;
        let (width, height) = (u64::from(image.width()), u64::from(image.height()));
        let (width, height) = match self.resize {
            Resize::Shortest(edge) => {
                let short = width.min(height);
                (edge as u64 * width / short, edge as u64 * height / short)
            }
            Resize::Longest => {
                let ratio = (width as f64 / size as f64).max(height as f64 / size as f64);
                // Python rounds halves to even.
                let edge = |edge: u64| (edge as f64 / ratio).round_ties_even().max(1.0) as u64;
                (edge(width), edge(height))
            }
            Resize::Squash { width, height } => (width as u64, height as u64),
            Resize::None => (width, height),
        };
        let cut = |edge: u64| (edge.saturating_sub(size) / 2, edge.min(size) as usize);
        let ((left, across), (top, down)) = (cut(width), cut(height));
        // The rest is split evenly. If it is odd, open_clip has the smaller part before the image,
        // transformers after it.
        let less_before = self.resize == Resize::Longest;
        let bare = |covered: usize| {
            let bare = self.image_size - covered;
            if less_before { bare / 2 } else { bare.div_ceil(2) }
        };
        let window = Window { left, top, width: across, height: down };
        ((width, height), window, (bare(across), bare(down)))
    }

    /// The normalised values of all levels, `[3, 256]`.
    #[cfg(feature = "gpu")]
    pub(crate) fn levels(&self) -> Vec<f32> {
        (0..CHANNELS).flat_map(|channel| self.normalised_levels(channel)).collect()
    }

    /// The normalised value of each of the 256 levels, with the reference's precision: the product with the
    /// factor in f64, the rest in f32.
    fn normalised_levels(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.mean[channel], self.std[channel]);
        std::array::from_fn(|level| ((level as f64 * self.rescale_factor) as f32 - mean) / std)
    }
}
