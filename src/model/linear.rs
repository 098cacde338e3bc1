//! A linear layer in either resident form.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Shape, Tensor};

use crate::error::Result;
use crate::kernels::float::Panels;
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
        let values = contiguous(storage, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(last) = dims.last_mut().filter(|last| **last == self.weight.k()) else {
            candle_core::bail!("int8-linear takes [.., {}], not {dims:?}", self.weight.k())
        };
        *last = self.weight.n();
        let activations = Activations::quantise(values, self.weight.k());
        let mut out = vec![0.0; activations.m() * self.weight.n()];
        int8_matmul(&self.weight, &activations, &self.bias, &mut out);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

/// The values of a tensor that an operation of ours takes.
pub fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("this operation takes contiguous tensors"),
    }
}

/// `x[m, k] W^T` in f32, its roundings in one order everywhere.
pub struct FloatProduct(Panels);

impl FloatProduct {
    /// From a weight `[n, k]`.
    pub fn new(weight: &Tensor) -> Result<Self> {
        let (n, k) = weight.dims2()?;
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self(Panels::pack(k, n, |row, column| values[column * k + row])))
    }
}

impl CustomOp1 for FloatProduct {
    fn name(&self) -> &'static str {
        "float-product"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let values = contiguous(storage, layout)?;
        let (m, n) = (values.len() / self.0.k(), self.0.n());
        let mut out = vec![0.0; m * n];
        self.0.multiply(values, |row, column, sum| out[row * n + column] = sum);
        Ok((CpuStorage::F32(out), Shape::from((m, n))))
    }
}
