//! A checkpoint's files as they arrive.

use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::*;

use super::limits::Limits;
use super::{flat, js_error};
use crate::convert::{self, Converter, FileType};
use crate::error::{Error, ErrorKind};
use crate::model::config::Activation;

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
