//! Layer normalisation.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Shape, Tensor};

use super::linear::contiguous;
use crate::cpu::kernels::float::layer_norm;
use crate::cpu::weights::Weights;
use crate::error::Result;

/// `x[n, width]`, each row normalised by its own mean and variance, then scaled and shifted.
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl LayerNorm {
    /// The layer norm `name`.
    pub fn new(name: &str, eps: f64, weights: &mut Weights) -> Result<Self> {
        let weight = weights.plain(&format!("{name}.weight"))?.to_vec1()?;
        let bias = weights.plain(&format!("{name}.bias"))?.to_vec1()?;
        Ok(Self { weight, bias, eps: eps as f32 })
    }
}

impl Module for LayerNorm {
    fn forward(&self, xs: &Tensor) -> candle_core::Result<Tensor> {
        xs.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let xs = contiguous(storage, layout)?;
        let mut out = vec![0.0; xs.len()];
        layer_norm(xs, &self.weight, &self.bias, self.eps, &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}
