//! Checkpoints of seeded SigLIPs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use clip_wasm::Limits;
use clip_wasm::convert::{FileType, convert};
use serde_json::json;

use super::fixture;
use super::seeded::{self, SeededTensor, Sizes};

/// How a checkpoint has its tensors.
#[derive(Clone, Copy)]
pub enum Layout {
    Whole,
    /// A tower alone, with the names that it has in a whole model or, since transformers 5, without their start.
    Alone(&'static str, bool),
}

/// Writes a checkpoint of seeded weights into a folder, and converts it.
pub fn converted(sizes: &Sizes, layout: Layout, file_type: &str, folder: &Path) -> PathBuf {
    let tokenizer = std::fs::read_to_string(fixture("siglip/tokenizer.json")).unwrap();
    converted_with(&tokenizer, sizes, layout, file_type, folder)
}

/// Like [`converted`], with another tokenizer.
pub fn converted_with(
    tokenizer: &str,
    sizes: &Sizes,
    layout: Layout,
    file_type: &str,
    folder: &Path,
) -> PathBuf {
    let mut tensors = seeded::siglip(sizes);
    let mut config = seeded::siglip_config(sizes);
    match layout {
        Layout::Whole => {}
        Layout::Alone(tower, keeps_names) => {
            tensors.retain(|tensor| tensor.name.starts_with(tower));
            for tensor in tensors.iter_mut().filter(|_| !keeps_names) {
                tensor.name.drain(..=tower.len());
            }
            config = config[tower.replace("model", "config")].take();
        }
    }
    let edge = sizes.image;
    let processor = json!({"size": {"height": edge, "width": edge}, "resample": 2});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    let tensors: HashMap<String, Tensor> = tensors.into_iter().map(tensor).collect();
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    let to = folder.join("out.gguf");
    let file_type = FileType::named(file_type).unwrap();
    convert(folder, &to, file_type, None, &Limits::default(), |_, _| {}).unwrap();
    to
}

/// As candle has it.
pub fn tensor(SeededTensor { name, shape, values }: SeededTensor) -> (String, Tensor) {
    (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
}
