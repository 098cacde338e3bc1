//! Compiles kernels while the weights are still coming. Towers with empty buffers in place of weights make the same
//! kernels.

use candle_core::{DType, Device, Tensor};

use super::device::Gpu;
use super::text::TextTower;
use super::vision::VisionTower;
use super::weights::Upload;
use crate::error::Result;
use crate::format::gguf::TensorInfo;
use crate::model::config::ModelConfig;
use crate::model::inventory::Role;
use crate::model::tensors::tensors;
use crate::weights::Weights;

/// Compiles what the towers of `config` will need; `file` has their tensors. A browser compiles beside everything else;
/// natively this waits.
///
/// # Errors
/// `gpu_unavailable` if the towers are not for this GPU; `gpu_lost`, `low_memory`; `internal` if a kernel is invalid.
pub fn compile(gpu: &Gpu, config: &ModelConfig, file: &[TensorInfo]) -> Result<()> {
    let mut weights = Weights::default();
    for expected in tensors(config) {
        let Some(info) = file.iter().find(|info| info.name == expected.name) else { continue };
        match expected.role {
            Role::Linear => weights.put_linear(&info.name, Upload::without_rows(gpu, info)),
            Role::Plain => {
                let row = match info.shape[..] {
                    [width] => width,
                    _ => info.shape[1..].iter().product(),
                };
                let zeros = Tensor::zeros(row, DType::F32, &Device::Cpu)?;
                weights.put_plain(&info.name, zeros);
            }
            Role::Table => {}
        }
    }
    if let Some(text) = &config.text {
        TextTower::compile(gpu, config, text, &mut weights)?;
    }
    if let Some(vision) = &config.vision {
        VisionTower::compile(gpu, config, vision, &mut weights)?;
    }
    Ok(())
}
