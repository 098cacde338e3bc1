//! Work for the kernels before there is any.
//!
//! A browser compiles a function twice: quickly when it is first called, and well, in the background, once it has run
//! for a while. What has run while a model is still on its way is compiled well by the time the model is there.

use candle_core::quantized::GgmlDType;
use candle_transformers::models::clip::vision_model::ClipVisionConfig;

use crate::cpu::ClipModel;
use crate::cpu::weights::{Incoming, Weights};
use crate::error::Result;
use crate::format::gguf::{TensorInfo, byte_size};
use crate::model::clip::config::{ClipConfig, UNREAD, VisionConfig};
use crate::model::clip::names::tensors;
use crate::model::config::Activation;
use crate::model::inventory::Role;
use crate::preprocess::Preprocess;

/// One head. The wider the model, the more a product takes of the time that attention has to come to V8's
/// notice as well.
const WIDTH: usize = 64;
/// With these, the products and attention have run for as long as V8 waits for.
const LAYERS: usize = 6;
/// 50 rows a layer, as a ViT-B/32 has.
const GRID: usize = 7;
const PATCH: usize = 8;

/// A byte that makes small numbers, and none that are not finite or denormal, of weights of any type.
const WEIGHTS: u8 = 0x3c;

/// Embeds an image with a small model, which takes about little of the time that a real one takes.
///
/// # Errors
/// None that depend on anything but this crate.
pub fn warm_up() -> Result<()> {
    let edge = GRID * PATCH;
    if let Some(tower) = small_model()?.vision {
        tower.forward(&vec![0.5; 3 * edge * edge])?;
    }
    Ok(())
}

fn small_model() -> Result<ClipModel> {
    let config = ClipConfig {
        name: None,
        activation: Activation::Gelu,
        projection_dim: WIDTH,
        logit_scale: None,
        text: None,
        vision: Some(VisionConfig {
            stock: ClipVisionConfig {
                embed_dim: WIDTH,
                activation: UNREAD,
                intermediate_size: 4 * WIDTH,
                num_hidden_layers: LAYERS,
                num_attention_heads: 1,
                projection_dim: WIDTH,
                num_channels: 3,
                image_size: GRID * PATCH,
                patch_size: PATCH,
            },
            layer_norm_eps: 1e-5,
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
        let mut incoming = Incoming::new(&info, expected.role)?;
        incoming.push(&vec![WEIGHTS; size as usize])?;
        weights.insert(incoming)?;
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
