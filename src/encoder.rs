//! [`ClipEncoder`], the facade: each method names the stages its input passes through.

#[cfg(feature = "gpu")]
mod awaited;

use serde::Serialize;

use crate::backend::{ClipModel, TextTower, VisionTower};
use crate::batch::embed_batches;
use crate::decode::{self, DecodeOptions, RgbImage};
use crate::embedding::Embedding;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limit, Limits};
use crate::model::config::{ModelConfig, Tower, tower_not_loaded};
use crate::model::tokenizer::Tokenizer;
use crate::model::tokens::Tokens;
use crate::preprocess::{Preprocess, Resize};
use crate::threads::POOL;

/// A CLIP model that encodes images and texts as vectors in the same space.
pub struct ClipEncoder {
    config: ModelConfig,
    limits: Limits,
    file_type: String,
    tokenizer: Option<Tokenizer>,
    preprocess: Option<Preprocess>,
    model: ClipModel,
}

/// A model's description. Values are `None` if the file lacks the tower they belong to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// `clip`, or `siglip`, whose cosines mean something else: see `logit_bias`.
    pub family: &'static str,
    /// The type of most of the weights: `q8_0`, `f16`, …
    #[serde(rename = "type")]
    pub file_type: String,
    /// The towers that are loaded: `text`, `vision`.
    pub towers: Vec<&'static str>,
    /// The number of components in an embedding.
    pub embedding_dimension: usize,
    /// The edge length of the square image that the model reads, in pixels.
    pub image_size: Option<usize>,
    /// The edge length of the square patches that an image is cut into, in pixels.
    pub patch_size: Option<usize>,
    /// The most tokens of a text, including start and end.
    pub context_length: Option<usize>,
    /// The number of tokens in the vocabulary.
    pub vocabulary_size: Option<usize>,
    /// `gelu`, `quick_gelu` or `gelu_pytorch_tanh`.
    pub activation: &'static str,
    /// The factor for cosines before a softmax: if the file does not state it, 100, as in OpenAI's models.
    pub logit_scale: f32,
    /// Of a SigLIP, what is added to a scaled cosine: the sigmoid of the sum is the probability that a text and an image
    /// belong together, whatever other texts there are. `None` for a CLIP, whose texts compete in a softmax, and if the
    /// file does not state it.
    pub logit_bias: Option<f32>,
    /// How an image is prepared for the vision tower.
    pub preprocessing: Option<Preprocessing>,
}

/// How an image is prepared. The steps are those of transformers' `CLIPImageProcessor`, in this order:
/// resize, crop, rescale, normalise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preprocessing {
    /// The edge length of the square that is cut out of the resized image, in pixels.
    pub size: usize,
    /// `shortest`, `longest`, `squash` or `none`.
    pub resize: &'static str,
    /// Width and height of the resized image, in pixels. The same number twice for `shortest` and
    /// `longest`, which only fix one edge; `None` for `none`.
    pub resize_to: Option<[usize; 2]>,
    /// `bicubic`, or the name of another of Pillow's filters.
    pub interpolation: &'static str,
    /// Always `center`.
    pub crop: &'static str,
    /// The colour where the resized image does not cover the square, in levels of 0 to 255.
    pub fill_color: [u8; 3],
    /// The factor for each level of 0 to 255.
    pub rescale_factor: f64,
    /// Mean of each channel, for rescaled values.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, for rescaled values.
    pub std: [f32; 3],
}

impl From<&Preprocess> for Preprocessing {
    fn from(preprocess: &Preprocess) -> Self {
        Self {
            size: preprocess.image_size,
            resize: preprocess.resize.name(),
            resize_to: match preprocess.resize {
                Resize::Longest => Some([preprocess.image_size; 2]),
                resize => resize.size(),
            },
            interpolation: preprocess.filter.name(),
            crop: "center",
            fill_color: preprocess.fill,
            rescale_factor: preprocess.rescale_factor,
            mean: preprocess.mean,
            std: preprocess.std,
        }
    }
}

/// The scale of OpenAI's models, whose training clips it to this.
const LOGIT_SCALE: f32 = 100.0;

impl ClipEncoder {
    pub(crate) fn new(
        config: ModelConfig,
        limits: Limits,
        file_type: String,
        tokenizer: Option<Tokenizer>,
        model: ClipModel,
    ) -> Self {
        let preprocess = config.vision.as_ref().map(|vision| vision.preprocess);
        Self { config, limits, file_type, tokenizer, preprocess, model }
    }

    /// Takes over the towers of `other`, which must be loaded from the same file as this encoder.
    ///
    /// # Errors
    /// `malformed_model` if their embeddings differ in size, which cannot happen with one file.
    pub fn add(&mut self, other: Self) -> Result<()> {
        let (ours, theirs) = (self.config.projection_dim, other.config.projection_dim);
        if ours != theirs {
            let message = format!("towers of {ours} and of {theirs} dimensions are of two models");
            return Err(Error::new(ErrorKind::MalformedModel, message));
        }
        if other.model.text.is_some() {
            self.config.text = other.config.text;
            self.tokenizer = other.tokenizer;
            self.model.text = other.model.text;
        }
        if other.model.vision.is_some() {
            self.config.vision = other.config.vision;
            self.preprocess = other.preprocess;
            self.model.vision = other.model.vision;
        }
        Ok(())
    }

    /// The embedding of an image file, `[projection_dim]`, f32; of unit length if `normalize` is true.
    /// `bytes` is a JPEG, PNG, WebP, GIF, BMP or TIFF, decoded with the default [`DecodeOptions`].
    ///
    /// # Errors
    /// `unsupported_image`, `corrupt_image`, `image_too_large`, `limit_exceeded`, `low_memory`;
    /// `missing_tower` for a text-only model; `malformed_model` if the weights give a vector that is zero
    /// or not finite.
    pub fn embed_image(&self, bytes: &[u8], normalize: bool) -> Result<Embedding> {
        self.embed_image_with(bytes, DecodeOptions::default(), normalize)
    }

    /// Like [`ClipEncoder::embed_image`], with other decoding options.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::embed_image`].
    pub fn embed_image_with(
        &self,
        bytes: &[u8],
        options: DecodeOptions,
        normalize: bool,
    ) -> Result<Embedding> {
        self.vision()?;
        let image = decode::decode_within(bytes, options, &self.limits)?;
        self.embed_pixels(&image, normalize)
    }

    /// The embeddings of several image files, the same as from [`ClipEncoder::embed_image_with`] to the last bit, but
    /// each weight is read once for all. If an image fails, the others do not. On several threads, as many images are decoded
    /// at a time, each with memory of its own.
    ///
    /// # Errors
    /// `missing_tower` for a text-only model; the images' own are those of [`ClipEncoder::embed_image`].
    pub fn embed_images<B: AsRef<[u8]> + Sync>(
        &self,
        images: &[B],
        options: DecodeOptions,
        normalize: bool,
    ) -> Result<Vec<Result<Embedding>>> {
        let (preprocess, _) = self.vision()?;
        // The threads share these, and not the towers: in a browser a GPU's belong to one thread.
        let limits = self.limits;
        let prepare = |bytes: &[u8]| {
            let image = decode::decode_within(bytes, options, &limits)?;
            preprocess.make_room_to_resize(&image)?;
            Ok(preprocess.resize_and_crop(&image))
        };
        let mut squares: Vec<Option<Result<Vec<u8>>>> = images.iter().map(|_| None).collect();
        POOL.each(images.iter().zip(&mut squares), |(image, square)| {
            *square = Some(prepare(image.as_ref()));
        });
        let squares = squares.into_iter().map(|square| square.expect("each has been prepared"));
        self.embed_all_squares(squares.collect(), normalize)
    }

    /// The embedding of an image that is already decoded, `[projection_dim]`, f32; of unit length if
    /// `normalize` is true.
    ///
    /// # Errors
    /// `image_too_large`, `low_memory`; `missing_tower` for a text-only model; `malformed_model` if the
    /// weights give a vector that is zero or not finite.
    pub fn embed_pixels(&self, image: &RgbImage, normalize: bool) -> Result<Embedding> {
        let (preprocess, _) = self.vision()?;
        decode::check_pixels(image.width(), image.height(), &self.limits)?;
        preprocess.make_room_to_resize(image)?;
        self.embed_square(&preprocess.resize_and_crop(image), normalize)
    }

    /// The embedding of an image that is resized and cropped already, as [`Preprocess::resize_and_crop`] of the
    /// model's own preprocessing does: `[S, S, 3]`, u8, RGB, row-major.
    ///
    /// # Errors
    /// `invalid_input` for another number of bytes than `3 * S * S`; `low_memory`; `missing_tower` for a text-only
    /// model; `malformed_model` if the weights give a vector that is not finite.
    pub fn embed_square(&self, pixels: &[u8], normalize: bool) -> Result<Embedding> {
        self.embed_squares(&[pixels], normalize)?.remove(0)
    }

    /// The embeddings of several images, each as [`ClipEncoder::embed_square`] takes it and with the same bits, but
    /// each weight is read once for all. If an image fails, the others do not.
    ///
    /// # Errors
    /// `missing_tower` for a text-only model; the images' own are those of [`ClipEncoder::embed_square`].
    pub fn embed_squares<P: AsRef<[u8]>>(
        &self,
        images: &[P],
        normalize: bool,
    ) -> Result<Vec<Result<Embedding>>> {
        let (preprocess, _) = self.vision()?;
        let squares = images.iter().map(|pixels| preprocess.require_square(pixels.as_ref()));
        self.embed_all_squares(squares.collect(), normalize)
    }

    fn embed_all_squares<P: AsRef<[u8]>>(
        &self,
        squares: Vec<Result<P>>,
        normalize: bool,
    ) -> Result<Vec<Result<Embedding>>> {
        let (preprocess, tower) = self.vision()?;
        let forward = |images: &[P]| tower.forward(preprocess, images);
        Ok(embed_batches(squares, |_| tower.rows(), tower.most_rows(), forward, normalize))
    }

    /// The embedding of a text, `[projection_dim]`, f32; of unit length if `normalize` is true. A text
    /// longer than the model's context is truncated.
    ///
    /// # Errors
    /// `limit_exceeded`, `low_memory`; `missing_tower` for a vision-only model; `malformed_model` if the
    /// weights give a vector that is zero or not finite.
    pub fn embed_text(&self, text: &str, normalize: bool) -> Result<Embedding> {
        self.embed_texts(&[text], normalize)?.remove(0)
    }

    /// The embeddings of several texts, the same as from [`ClipEncoder::embed_text`] to the last bit, but
    /// each weight is read once for all. If a text fails, the others do not.
    ///
    /// # Errors
    /// `missing_tower` for a vision-only model; the texts' own are those of [`ClipEncoder::embed_text`].
    pub fn embed_texts<T: AsRef<str>>(
        &self,
        texts: &[T],
        normalize: bool,
    ) -> Result<Vec<Result<Embedding>>> {
        let (_, tower) = self.text()?;
        let tokens = texts.iter().map(|text| self.tokenize(text.as_ref())).collect();
        let forward = |texts: &[Tokens]| tower.forward(texts);
        Ok(embed_batches(tokens, TextTower::rows, tower.most_rows(), forward, normalize))
    }

    /// The token ids of a text, including start and end, truncated to the model's context.
    ///
    /// # Errors
    /// `limit_exceeded`, `low_memory`; `missing_tower` for a vision-only model.
    pub fn tokenize(&self, text: &str) -> Result<Tokens> {
        let (tokenizer, _) = self.text()?;
        self.limits.check(Limit::TextBytes, text.len() as u64)?;
        tokenizer.encode(text)
    }

    /// The model's description.
    pub fn info(&self) -> ModelInfo {
        let (text, vision) = (self.config.text.as_ref(), self.config.vision.as_ref());
        ModelInfo {
            name: self.config.name.clone(),
            family: self.config.family.name(),
            file_type: self.file_type.clone(),
            towers: self.config.towers().into_iter().map(Tower::name).collect(),
            embedding_dimension: self.config.projection_dim,
            image_size: vision.map(|vision| vision.image_size),
            patch_size: vision.map(|vision| vision.patch_size),
            context_length: text.map(|text| text.context),
            vocabulary_size: text.map(|text| text.vocabulary),
            activation: self.config.activation.name(),
            logit_scale: self.config.logit_scale.unwrap_or(LOGIT_SCALE),
            logit_bias: self.config.logit_bias,
            preprocessing: self.preprocess.as_ref().map(Preprocessing::from),
        }
    }

    fn text(&self) -> Result<(&Tokenizer, &TextTower)> {
        let parts = self.tokenizer.as_ref().zip(self.model.text.as_ref());
        parts.ok_or_else(|| tower_not_loaded(Tower::Text))
    }

    fn vision(&self) -> Result<(&Preprocess, &VisionTower)> {
        let parts = self.preprocess.as_ref().zip(self.model.vision.as_ref());
        parts.ok_or_else(|| tower_not_loaded(Tower::Vision))
    }
}
