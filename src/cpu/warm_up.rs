//! Runs the kernels before there is real work, so that the browser optimises them.
//!
//! A browser compiles a function twice: quickly at its first call, and optimised, in the background, after
//! it has run for a while. Kernels that run during the download of a model are optimised by the time the
//! model has loaded.

use candle_core::quantized::GgmlDType;

use crate::cpu::ClipModel;
use crate::cpu::weights::{Weights, incoming};
use crate::error::Result;
use crate::format::gguf::{TensorInfo, byte_size};
use crate::model::config::{Activation, Family, LayerSizes, ModelConfig, VisionConfig};
use crate::model::inventory::Role;
use crate::model::tensors::tensors;
use crate::preprocess::Preprocess;

/// One head. In a wider model products take a larger share of the time, and V8 would not notice attention
/// as soon.
const WIDTH: usize = 64;
/// With this many layers, the products and attention run long enough for V8 to optimise them.
const LAYERS: usize = 6;
/// 50 rows a layer, as in a ViT-B/32.
const GRID: usize = 7;
const PATCH: usize = 8;

/// A byte that, in weights of any type, makes small numbers that are finite and not denormal.
const WEIGHTS: u8 = 0x3c;

/// Embeds an image with a small model, in a small fraction of the time that a real model takes.
///
/// # Errors
/// None, unless this crate has a bug.
pub fn warm_up() -> Result<()> {
    let edge = GRID * PATCH;
    if let Some(tower) = small_model()?.vision {
        tower.forward(vec![0.5; 3 * edge * edge], 1)?;
    }
    Ok(())
}

fn small_model() -> Result<ClipModel> {
    let config = ModelConfig {
        name: None,
        family: Family::Clip,
        activation: Activation::Gelu,
        projection_dim: WIDTH,
        logit_scale: None,
        logit_bias: None,
        text: None,
        vision: Some(VisionConfig {
            sizes: LayerSizes {
                layers: LAYERS,
                width: WIDTH,
                feed_forward: 4 * WIDTH,
                heads: 1,
                layer_norm_eps: 1e-5,
            },
            image_size: GRID * PATCH,
            patch_size: PATCH,
            preprocess: Preprocess::openai(GRID * PATCH),
        }),
    };
    let mut weights = Weights::default();
    for expected in tensors(&config) {
        let (name, shape) = (expected.name, expected.shape);
        let dtype = match expected.role {
            Role::Linear => GgmlDType::Q8_0,
            Role::Table | Role::Plain => GgmlDType::F32,
        };
        let size = byte_size(dtype, &shape).expect("blocks divide the width");
        let info = TensorInfo { name, dtype, shape, offset: 0, size };
        let mut tensor = incoming(&info, expected.role)?;
        tensor.push(&vec![WEIGHTS; size as usize])?;
        weights.insert(tensor)?;
    }
    ClipModel::new(&config, &mut weights)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn it_runs() {
        super::warm_up().unwrap();
    }
}
