//! The bindings: the only file that knows JavaScript. Everything here converts and delegates.

use std::ops::Range;

use js_sys::{Error as JsError, Float32Array, Function, Reflect, Uint8Array};
use sha2::Digest;
use wasm_bindgen::prelude::*;
use web_sys::ImageData;

use crate::convert::{self, Converter, FileType};
use crate::decode::{Alpha, DecodeOptions, Orientation, RgbImage};
use crate::embedding::Embedding;
use crate::error::{Error, ErrorKind};
use crate::memory;
use crate::model::config::{Activation, Tower};

#[wasm_bindgen(typescript_custom_section)]
const MODEL_INFO: &str = r#"
/** What a model is. Absent values belong to a tower that the file does not have. */
export interface ModelInfo {
    name: string | null;
    /** The type most weights are stored in: "q8_0", "f16", … */
    type: string;
    /** Those that are loaded. */
    towers: ("text" | "vision")[];
    /** The length of an embedding. */
    embeddingDimension: number;
    /** The edge of the square that images are brought to, in pixels. */
    imageSize: number | null;
    patchSize: number | null;
    /** In tokens, start and end included. */
    contextLength: number | null;
    vocabularySize: number | null;
    activation: "gelu" | "quick_gelu";
    /** What cosines are multiplied by before a softmax: 100 where the file does not tell. */
    logitScale: number;
    /** What is done to an image, in this order: resize, crop, rescale, normalise. */
    preprocessing: Preprocessing | null;
}

export interface Preprocessing {
    /** The edge of the square that is cut out of the resized image, in pixels. */
    size: number;
    /** Whether the shorter edge is brought to `resizeTo`, the longer one, or both whatever the shape was. */
    resize: "shortest" | "longest" | "squash" | "none";
    /** Width and height, in pixels: of "shortest" the same number twice; `null` of "none". */
    resizeTo: [number, number] | null;
    interpolation: "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";
    crop: "center";
    /** The colour of what the resized image does not cover of the square, in levels of 0 to 255. */
    fillColor: [number, number, number];
    /** What a level of 0 to 255 is multiplied by. */
    rescaleFactor: number;
    /** Of red, green and blue, for values that have been rescaled. */
    mean: [number, number, number];
    /** Of red, green and blue, for values that have been rescaled. */
    std: [number, number, number];
}
"#;

#[wasm_bindgen(typescript_custom_section)]
const COMPANIONS: &str = r#"
/** The texts of the files that stand beside a checkpoint's weights. */
export interface Companions {
    /** What the model is called. */
    name?: string;
    /** `config.json` of a Hugging Face checkpoint. */
    config?: string;
    /** `open_clip_config.json` of an open_clip checkpoint. Both may be given: the weights tell which is theirs. */
    openClipConfig?: string;
    /** `preprocessor_config.json`, where there is one. */
    preprocessorConfig?: string;
    /** `processor_config.json`, which has the image processor's settings in newer checkpoints. */
    processorConfig?: string;
    /** `tokenizer.json` or `vocab.json`. */
    tokenizer?: string;
    /** `README.md`, whose head may tell the licence. */
    modelCard?: string;
    /** `model.safetensors.index.json` of weights that are in several files. */
    index?: string;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// What a model is, as the TypeScript above has it.
    #[wasm_bindgen(typescript_type = "ModelInfo")]
    pub type ModelInfo;

    /// The files beside a checkpoint's weights, as the TypeScript above has them.
    #[wasm_bindgen(typescript_type = "Companions")]
    pub type Companions;

    #[wasm_bindgen(method, getter)]
    fn name(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter)]
    fn config(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter, js_name = openClipConfig)]
    fn open_clip_config(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter, js_name = preprocessorConfig)]
    fn preprocessor_config(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter, js_name = processorConfig)]
    fn processor_config(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter)]
    fn tokenizer(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter, js_name = modelCard)]
    fn model_card(this: &Companions) -> Option<String>;

    #[wasm_bindgen(method, getter)]
    fn index(this: &Companions) -> Option<String>;
}

/// Prints a panic's message to the console; without this only "unreachable" is seen.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Grows the memory by `bytes` and keeps them for what is allocated later; `false` where they are not to be
/// had. Memory that threads share is best not grown once they run.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen]
pub fn reserve(bytes: usize) -> bool {
    /// No allocation may have half the address space.
    const MOST: usize = 1 << 30;
    let pieces = (0..bytes).step_by(MOST).map(|from| {
        let mut piece = Vec::<u8>::new();
        piece.try_reserve_exact(MOST.min(bytes - from)).map(|()| piece)
    });
    // The allocator keeps what it has once been given. A compiler that saw through this would ask it for nothing.
    std::hint::black_box(pieces.collect::<Result<Vec<_>, _>>()).is_ok()
}

/// Whether there is memory for so many bytes more in one piece: what JavaScript passes is copied into it, and
/// where that fails the module is lost.
#[wasm_bindgen(js_name = hasRoom)]
pub fn has_room(bytes: f64) -> bool {
    memory::probe(&[bytes as u64]).is_ok()
}

/// What files and calls may ask for at most; docs/limits.md has them by name.
#[wasm_bindgen]
#[derive(Default)]
pub struct Limits(crate::Limits);

#[wasm_bindgen]
impl Limits {
    /// The default ones.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises or lowers one of them.
    ///
    /// Throws an `Error` whose `code` is `invalid_input` where there is none of that name.
    pub fn set(&mut self, name: &str, most: f64) -> Result<(), JsValue> {
        self.0.set(name, most as u64).map_err(js_error)
    }
}

/// Gives the calling thread to the products of all the others, for good: it does not return.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen(js_name = joinPool)]
pub fn join_pool() {
    crate::cpu::threads::POOL.join()
}

/// Gets the browser to compile the kernels well while a model is on its way. Takes some 30 ms of this thread.
#[wasm_bindgen(js_name = warmUp)]
pub fn warm_up() -> Result<(), JsValue> {
    crate::cpu::warm_up::warm_up().map_err(js_error)
}

/// Whether an image file begins as one of a format that is decoded here.
#[wasm_bindgen(js_name = recognizesImage)]
pub fn recognizes_image(bytes: &[u8]) -> bool {
    crate::decode::recognizes(bytes)
}

/// Reads a GGUF file as it arrives.
#[wasm_bindgen]
pub struct ModelLoader(crate::ModelLoader);

#[wasm_bindgen]
impl ModelLoader {
    /// A loader of the towers named, `"text"` or `"vision"`; of those that the file has, where none are.
    #[wasm_bindgen(constructor)]
    pub fn new(limits: &Limits, towers: Option<Vec<String>>) -> Self {
        let named = |towers: Vec<String>| towers.iter().filter_map(|name| tower(name)).collect();
        let loader = match towers.map(named) {
            Some::<Vec<_>>(towers) => crate::ModelLoader::of_towers(&towers),
            None => crate::ModelLoader::new(),
        };
        Self(loader.with_limits(limits.0))
    }

    /// Takes the next bytes of the file.
    ///
    /// Throws an `Error` with a `code` as soon as the bytes are wrong: `not_a_model`,
    /// `unsupported_model`, `malformed_model` or `missing_tensor`; `missing_tower` for a tower that the
    /// file has not got; `limit_exceeded`; `low_memory`.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), JsValue> {
        self.0.push(chunk).map_err(js_error)
    }

    /// The next chunk begins at `position` in the file, which is the header's end or beyond.
    pub fn seek(&mut self, position: f64) {
        self.0.seek(position as u64);
    }

    /// The towers that are loaded; `undefined` before the header is complete.
    #[wasm_bindgen(getter)]
    pub fn towers(&self) -> Option<Vec<String>> {
        Some(self.0.towers()?.into_iter().map(|tower| tower.name().into()).collect())
    }

    /// The parts of the file that are yet to come, of one tower or of all, in file order, as
    /// `from, to, from, to, …`; `undefined` before the header is complete.
    pub fn wanted(&self, of: Option<String>) -> Option<Vec<f64>> {
        self.0.wanted(of.as_deref().and_then(tower)).map(flat)
    }

    /// Bytes of a whole file; `undefined` before the header is complete.
    #[wasm_bindgen(getter, js_name = fileSize)]
    pub fn file_size(&self) -> Option<f64> {
        self.0.file_size().map(|size| size as f64)
    }

    /// Bytes of memory that the weights take once they are loaded; `undefined` before the header is complete.
    #[wasm_bindgen(getter, js_name = residentSize)]
    pub fn resident_size(&self) -> Option<f64> {
        self.0.resident_size().map(|size| size as f64)
    }

    /// Gives an encoder with one tower, `"text"` or `"vision"`; the loader goes on with the other.
    ///
    /// Throws an `Error` whose `code` is `truncated_model` where bytes are missing.
    #[wasm_bindgen(js_name = finishTower)]
    pub fn finish_tower(&mut self, name: &str) -> Result<ClipEncoder, JsValue> {
        let Some(tower) = tower(name) else { return Err(JsError::new("no such tower").into()) };
        self.0.finish_tower(tower).map(ClipEncoder).map_err(js_error)
    }

    /// Gives the encoder, with all that has not been given yet, and ends the loader.
    ///
    /// Throws an `Error` whose `code` is `truncated_model` where bytes are missing.
    pub fn finish(self) -> Result<ClipEncoder, JsValue> {
        self.0.finish().map(ClipEncoder).map_err(js_error)
    }
}

/// The SHA-256 of bytes that come in chunks.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of no bytes yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// In hexadecimal, lower case. Ends the hash.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Makes a GGUF of a checkpoint's files, safetensors or what `torch.save` writes, as they arrive, and holds little of them.
#[wasm_bindgen]
pub struct CheckpointConverter(Converter);

#[wasm_bindgen]
impl CheckpointConverter {
    /// `fileType` is how the weights are to be stored, such as `q8_0`; `activation` overrides what the
    /// checkpoint's configuration says.
    ///
    /// Throws an `Error` whose `code` is `invalid_input` where one of them has no such name.
    #[wasm_bindgen(constructor)]
    pub fn new(
        companions: &Companions,
        #[wasm_bindgen(js_name = fileType)] file_type: &str,
        limits: &Limits,
        #[wasm_bindgen(unchecked_optional_param_type = "\"gelu\" | \"quick_gelu\"")]
        activation: Option<String>,
    ) -> Result<Self, JsValue> {
        let companions = convert::Companions {
            name: companions.name().unwrap_or_default(),
            config: companions.config(),
            open_clip_config: companions.open_clip_config(),
            preprocessor_config: companions.preprocessor_config(),
            processor_config: companions.processor_config(),
            tokenizer: companions.tokenizer(),
            model_card: companions.model_card(),
            index: companions.index(),
        };
        let file_type = FileType::named(file_type).map_err(js_error)?;
        let activation = activation.as_deref().map(Activation::named).transpose();
        let converter = Converter::new(companions, file_type, activation.map_err(js_error)?);
        Ok(Self(converter.with_limits(limits.0).seeking()))
    }

    /// Says which parts of the GGUF, as `from, to, from, to, …`, an earlier conversion of the same files to the
    /// same type has written, so that they are not made again. To be said before the first byte comes.
    pub fn keep(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "Float64Array | number[]")] parts: &[f64],
    ) {
        let ranges = parts.as_chunks::<2>().0.iter().map(|[from, to]| *from as u64..*to as u64);
        self.0.keep(ranges.collect());
    }

    /// The next chunk begins at `position` of the file of weights, behind its header.
    pub fn seek(&mut self, position: f64) {
        self.0.seek(position as u64);
    }

    /// The parts of the file of weights that are yet to come, in file order, as `from, to, from, to, …`;
    /// `undefined` before its header is complete. As long as `sourceSize` is `undefined`, what is wanted is a part
    /// that the header needs, and is to come next; after it the file goes on where it was.
    pub fn wanted(&self) -> Option<Vec<f64>> {
        self.0.wanted().map(flat)
    }

    /// Takes the next bytes of a file of weights, and calls `sink` with what is ready of the GGUF: an
    /// offset in it, and the bytes that stand there, which are the caller's. The header comes first;
    /// after it offsets are in no order, and each byte comes once.
    ///
    /// Throws what `sink` throws, or an `Error` with a `code` as soon as the bytes are wrong:
    /// `not_a_model`, `unsupported_model`, `malformed_model` or `missing_tensor`.
    pub fn push(
        &mut self,
        chunk: &[u8],
        #[wasm_bindgen(unchecked_param_type = "(offset: number, bytes: Uint8Array) => void")]
        sink: &Function,
    ) -> Result<(), JsValue> {
        let mut thrown = None;
        let taken = self.0.push(chunk, &mut |offset, bytes| {
            let bytes = Uint8Array::from(bytes);
            sink.call2(&JsValue::NULL, &JsValue::from(offset as f64), &bytes).map_err(|value| {
                thrown = Some(value);
                Error::new(ErrorKind::Io, "the sink threw")
            })?;
            Ok(())
        });
        taken.map_err(|error| thrown.unwrap_or_else(|| js_error(error)))
    }

    /// Says that a file is over; the next bytes, if any come, are another's. Files come in any order.
    ///
    /// Throws an `Error` whose `code` is `truncated_model` where bytes are missing.
    #[wasm_bindgen(js_name = endFile)]
    pub fn end_file(&mut self) -> Result<(), JsValue> {
        self.0.end_file().map_err(js_error)
    }

    /// Says that no further file comes, and ends the converter: `sink` has been given the whole GGUF.
    ///
    /// Throws an `Error` whose `code` is `truncated_model` where files are missing.
    pub fn finish(self) -> Result<(), JsValue> {
        self.0.finish().map_err(js_error)
    }

    /// What the whole GGUF holds, in bytes; known once the first header has come.
    #[wasm_bindgen(getter, js_name = fileSize)]
    pub fn file_size(&self) -> Option<f64> {
        self.0.file_size().map(|bytes| bytes as f64)
    }

    /// Bytes of the GGUF that `sink` has taken.
    #[wasm_bindgen(getter)]
    pub fn written(&self) -> f64 {
        self.0.written() as f64
    }

    /// Where the last tensor of the file that is coming ends, in bytes; known once its header has come. A
    /// safetensors file ends there, a checkpoint of torch goes on with the directory of its archive.
    #[wasm_bindgen(getter, js_name = sourceSize)]
    pub fn source_size(&self) -> Option<f64> {
        self.0.source_size().map(|bytes| bytes as f64)
    }
}

/// A CLIP model that turns images and texts into vectors of one space.
#[wasm_bindgen]
pub struct ClipEncoder(crate::ClipEncoder);

#[wasm_bindgen]
impl ClipEncoder {
    /// The embedding of a text; of unit length if `normalize` says so.
    #[wasm_bindgen(js_name = embedText)]
    pub fn embed_text(&self, text: &str, normalize: bool) -> Result<Float32Array, JsValue> {
        js_embedding(self.0.embed_text(text, normalize))
    }

    /// The tokens of a text.
    ///
    /// Throws an `Error` whose `code` is `missing_tower` for a vision-only model.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, JsValue> {
        self.0.tokenize(text).map(Tokens).map_err(js_error)
    }

    /// The embedding of a JPEG, PNG, WebP, GIF, BMP or TIFF file's bytes.
    ///
    /// Throws an `Error` with a `code`: `unsupported_image`, `corrupt_image`, `image_too_large`,
    /// `limit_exceeded`, `low_memory` or `missing_tower`.
    #[wasm_bindgen(js_name = embedImage)]
    pub fn embed_image(
        &self,
        bytes: &[u8],
        normalize: bool,
        #[wasm_bindgen(unchecked_param_type = "\"exif\" | \"ignore\"")] orientation: &str,
        #[wasm_bindgen(unchecked_param_type = "\"drop\" | \"white\" | \"black\"")] alpha: &str,
    ) -> Result<Float32Array, JsValue> {
        let options = DecodeOptions {
            orientation: Orientation::named(orientation).map_err(js_error)?,
            alpha: Alpha::named(alpha).map_err(js_error)?,
        };
        js_embedding(self.0.embed_image_with(bytes, options, normalize))
    }

    /// The embedding of pixels that the browser decoded.
    #[wasm_bindgen(js_name = embedPixels)]
    pub fn embed_pixels(
        &self,
        pixels: &ImageData,
        normalize: bool,
        #[wasm_bindgen(unchecked_param_type = "\"drop\" | \"white\" | \"black\"")] alpha: &str,
    ) -> Result<Float32Array, JsValue> {
        let alpha = Alpha::named(alpha).map_err(js_error)?;
        let rgba = pixels.data().0;
        let image = RgbImage::from_rgba(pixels.width(), pixels.height(), rgba, alpha);
        js_embedding(self.0.embed_pixels(&image.map_err(js_error)?, normalize))
    }

    /// Takes over the towers of another encoder, loaded from the same file, and ends it.
    ///
    /// Throws an `Error` whose `code` is `malformed_model` where the two do not fit.
    pub fn add(&mut self, other: ClipEncoder) -> Result<(), JsValue> {
        self.0.add(other.0).map_err(js_error)
    }

    /// What the model is.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> Result<ModelInfo, JsValue> {
        let json =
            serde_json::to_string(&self.0.info()).map_err(|e| JsError::new(&e.to_string()))?;
        Ok(js_sys::JSON::parse(&json)?.unchecked_into())
    }
}

/// The tokens of a text.
#[wasm_bindgen]
pub struct Tokens(crate::model::clip::tokenizer::Tokens);

#[wasm_bindgen]
impl Tokens {
    /// Every id, start and end included, unpadded, cut off at the context's length.
    #[wasm_bindgen(getter)]
    pub fn ids(&self) -> Vec<u32> {
        self.0.ids().to_vec()
    }

    /// How many the whole text has, start and end included.
    #[wasm_bindgen(getter)]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Whether the text is cut off.
    #[wasm_bindgen(getter)]
    pub fn truncated(&self) -> bool {
        self.0.truncated()
    }
}

fn js_embedding(embedding: crate::error::Result<Embedding>) -> Result<Float32Array, JsValue> {
    embedding.map(|embedding| Float32Array::from(embedding.values())).map_err(js_error)
}

/// As `from, to, from, to, …`.
fn flat(ranges: Vec<Range<u64>>) -> Vec<f64> {
    ranges.into_iter().flat_map(|range| [range.start as f64, range.end as f64]).collect()
}

fn tower(name: &str) -> Option<Tower> {
    [Tower::Text, Tower::Vision].into_iter().find(|tower| tower.name() == name)
}

/// An `Error` with `code` and `statusCode`.
fn js_error(error: Error) -> JsValue {
    let thrown = JsError::new(&error.to_string());
    let status = f64::from(error.kind().status_code());
    for (key, value) in
        [("code", JsValue::from(error.code())), ("statusCode", JsValue::from(status))]
    {
        // A fresh Error takes any property, so there is nothing to tell the caller if it does not.
        let _ = Reflect::set(&thrown, &key.into(), &value);
    }
    thrown.into()
}
