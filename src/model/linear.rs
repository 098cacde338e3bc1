//! A linear layer in either resident form.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Shape, Tensor};

use crate::error::Result;
use crate::kernels::{Activations, Int8Matrix, int8_matmul};
use crate::weights::{LinearWeight, Weights};

/// `x[.., in] -> x W^T + b`, `[.., out]`, f32.
pub enum Linear {
    Float(candle_nn::Linear),
    Int8(Int8Linear),
}

impl Linear {
    /// The layer `name`, with a bias.
    pub fn new(name: &str, weights: &mut Weights) -> Result<Self> {
        let bias = weights.plain(&format!("{name}.bias"))?;
        Self::from_parts(name, Some(bias), weights)
    }

    /// The layer `name`, without a bias.
    pub fn without_bias(name: &str, weights: &mut Weights) -> Result<Self> {
        Self::from_parts(name, None, weights)
    }

    fn from_parts(name: &str, bias: Option<Tensor>, weights: &mut Weights) -> Result<Self> {
        Ok(match weights.linear(&format!("{name}.weight"))? {
            LinearWeight::Float(weight) => Self::Float(candle_nn::Linear::new(weight, bias)),
            LinearWeight::Int8(weight) => {
                let bias = bias.map(|bias| bias.to_vec1()).transpose()?.unwrap_or_default();
                Self::Int8(Int8Linear { weight, bias })
            }
        })
    }
}

impl Module for Linear {
    fn forward(&self, xs: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Float(linear) => linear.forward(xs),
            Self::Int8(linear) => xs.contiguous()?.apply_op1_no_bwd(linear),
        }
    }
}

/// An int8 weight with its bias, which is empty where there is none.
pub struct Int8Linear {
    weight: Int8Matrix,
    bias: Vec<f32>,
}

impl CustomOp1 for Int8Linear {
    fn name(&self) -> &'static str {
        "int8-linear"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((from, to)) = layout.contiguous_offsets() else {
            candle_core::bail!("int8-linear takes contiguous activations")
        };
        let mut dims = layout.dims().to_vec();
        let Some(last) = dims.last_mut().filter(|last| **last == self.weight.k()) else {
            candle_core::bail!("int8-linear takes [.., {}], not {dims:?}", self.weight.k())
        };
        *last = self.weight.n();
        let activations =
            Activations::quantise(&storage.as_slice::<f32>()?[from..to], self.weight.k());
        let mut out = vec![0.0; activations.m() * self.weight.n()];
        int8_matmul(&self.weight, &activations, &self.bias, &mut out);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}
