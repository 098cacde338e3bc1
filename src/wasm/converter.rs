//! Converts a checkpoint's files as they arrive.

use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::*;

use super::limits::Limits;
use super::loader::towers_of;
use super::{flat, js_error};
use crate::convert::{self, Converter, FileType};
use crate::error::{Error, ErrorKind};
use crate::model::config::Activation;

#[wasm_bindgen(typescript_custom_section)]
const COMPANIONS: &str = r#"
/** The texts of the files next to a checkpoint's weights. */
export interface Companions {
    /** The model's name. */
    name?: string;
    /** `config.json` of a Hugging Face checkpoint. */
    config?: string;
    /** `open_clip_config.json` of an open_clip checkpoint. If both are given, the weights' tensor names decide. */
    openClipConfig?: string;
    /** `preprocessor_config.json`, if there is one. */
    preprocessorConfig?: string;
    /** `processor_config.json`, which contains the image processor's settings in newer checkpoints. */
    processorConfig?: string;
    /** `tokenizer.json` or `vocab.json`. */
    tokenizer?: string;
    /** `README.md`; its head may state the licence. */
    modelCard?: string;
    /** `model.safetensors.index.json` or `pytorch_model.bin.index.json`, if the weights are in several files. */
    index?: string;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// The files next to a checkpoint's weights; see the TypeScript interface above.
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

/// Converts a checkpoint's files, safetensors or written by `torch.save`, to a GGUF as they arrive. Only a
/// small part of them is in memory at a time.
#[wasm_bindgen]
pub struct CheckpointConverter(Converter);

#[wasm_bindgen]
impl CheckpointConverter {
    /// `fileType` is the type in which the weights are stored, such as `q8_0`; `activation` overrides the
    /// checkpoint's configuration.
    ///
    /// Throws an `Error` with the code `invalid_input` if one of them is unknown.
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

    /// Converts only the tensors of these towers, `"text"` or `"vision"`, into a GGUF with room for all. Must be
    /// called before the first byte is pushed.
    pub fn only(&mut self, towers: Vec<String>) {
        self.0.only(&towers_of(&towers));
    }

    /// Declares which parts of the GGUF an earlier conversion of the same files to the same type has
    /// written, so that they are not written again: byte offsets as `from, to, from, to, …`, each `to`
    /// exclusive. Must be called before the first byte is pushed.
    pub fn keep(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "Float64Array | number[]")] parts: &[f64],
    ) {
        let ranges = parts.as_chunks::<2>().0.iter().map(|[from, to]| *from as u64..*to as u64);
        self.0.keep(ranges.collect());
    }

    /// Sets the position in the file of weights, in bytes, at which the next chunk starts. It must be after
    /// the header.
    pub fn seek(&mut self, position: f64) {
        self.0.seek(position as u64);
    }

    /// The parts of the file of weights that are still needed, in file order, in bytes as
    /// `from, to, from, to, …`; each `to` is exclusive. `undefined` until the file's header is complete.
    /// While `sourceSize` is `undefined`, the listed part is needed for the GGUF's header and must be
    /// pushed next; after it, continue with the file where it was.
    pub fn wanted(&self) -> Option<Vec<f64>> {
        self.0.wanted().map(flat)
    }

    /// Adds the next bytes of a file of weights, and calls `sink` with each part of the GGUF that is ready:
    /// its offset in the GGUF and its bytes, which `sink` may keep. The header comes first; after it
    /// offsets are in no order, and each byte comes once.
    ///
    /// Throws what `sink` throws, or an `Error` with a `code` as soon as the bytes are found to be invalid:
    /// `not_a_model`, `unsupported_model`, `malformed_model`, `missing_tensor`, `limit_exceeded` or
    /// `low_memory`; `internal` if a tensor's bytes are out of order.
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

    /// Declares the end of a file; the next bytes, if any, belong to another file. Files may be in any
    /// order.
    ///
    /// Throws an `Error` with the code `truncated_model` if bytes are missing, or `not_a_model` if it is
    /// not a file of weights.
    #[wasm_bindgen(js_name = endFile)]
    pub fn end_file(&mut self) -> Result<(), JsValue> {
        self.0.end_file().map_err(js_error)
    }

    /// Declares that there are no more files, and frees the converter. If it does not throw, `sink` has
    /// received the whole GGUF.
    ///
    /// Throws an `Error` with the code `truncated_model` if files are missing.
    pub fn finish(self) -> Result<(), JsValue> {
        self.0.finish().map_err(js_error)
    }

    /// Size of the whole GGUF in bytes; `undefined` until the first header is complete.
    #[wasm_bindgen(getter, js_name = fileSize)]
    pub fn file_size(&self) -> Option<f64> {
        self.0.file_size().map(|bytes| bytes as f64)
    }

    /// Number of bytes of the GGUF that `sink` has received.
    #[wasm_bindgen(getter)]
    pub fn written(&self) -> f64 {
        self.0.written() as f64
    }

    /// The end of the last tensor of the current file, in bytes; `undefined` until its header is complete.
    /// A safetensors file ends there; a torch checkpoint continues with the directory of its archive.
    #[wasm_bindgen(getter, js_name = sourceSize)]
    pub fn source_size(&self) -> Option<f64> {
        self.0.source_size().map(|bytes| bytes as f64)
    }
}
