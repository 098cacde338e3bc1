//! A linear layer and a layer norm, as steps.

use std::sync::Arc;

use super::arena::{Activations, Count};
use super::device::{Gpu, Product};
use super::kernels::{Kernel, Put, Rows, Sides};
use super::steps::{Binding, Recorder};
use super::weights::{Matrix, Upload, Values, buffer_of};
use crate::error::Result;
use crate::model::config::Activation;
use crate::weights::Weights;

/// `x W^T + b`.
pub struct Linear {
    matrix: Arc<Matrix>,
    bias: wgpu::Buffer,
}

/// Where a linear layer's results go.
pub enum Into<'a> {
    /// To f32.
    Floats(&'a wgpu::Buffer),
    /// To a residual, which they are added to.
    Residual(&'a wgpu::Buffer),
    /// Through an activation to the form that a layer takes.
    Activated(Activation, &'a Activations, &'a Linear),
}

impl Linear {
    /// The layer `name`, with a bias.
    pub fn new(gpu: &Gpu, name: &str, weights: &mut Weights<Upload>) -> Result<Self> {
        let bias = weights.plain(&format!("{name}.bias"))?.to_vec1::<f32>()?;
        let matrix = weights.linear(&format!("{name}.weight"))?.matrix();
        Ok(Self { matrix, bias: buffer_of(gpu, name, &bias) })
    }

    /// The three projections of attention, which share a matrix.
    pub fn qkv(gpu: &Gpu, block: &str, weights: &mut Weights<Upload>) -> Result<Self> {
        let (mut biases, mut matrices) = (Vec::new(), Vec::new());
        for part in ["q", "k", "v"] {
            let name = format!("{block}.attn_{part}");
            biases.extend(weights.plain(&format!("{name}.bias"))?.to_vec1::<f32>()?);
            matrices.push(weights.linear(&format!("{name}.weight"))?.matrix());
        }
        Ok(Self { matrix: matrices.swap_remove(0), bias: buffer_of(gpu, block, &biases) })
    }

    /// A layer of these parts.
    pub fn of_parts(matrix: Arc<Matrix>, bias: wgpu::Buffer) -> Self {
        Self { matrix, bias }
    }

    /// A layer without a bias.
    pub fn without_bias(gpu: &Gpu, matrix: Arc<Matrix>) -> Self {
        let bias = buffer_of(gpu, "no bias", &vec![0.0; matrix.n]);
        Self { matrix, bias }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.matrix.n
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.matrix.k
    }

    /// Bytes of its weight.
    pub fn weight_bytes(&self) -> u64 {
        match &self.matrix.values {
            Values::Int8 { quants, scales, offsets } => {
                quants.size() + scales.size() + offsets.get().map_or(0, wgpu::Buffer::size)
            }
            Values::Float(values) => values.size(),
        }
    }

    /// Whether it takes int8.
    pub fn is_int8(&self) -> bool {
        self.matrix.is_int8()
    }

    /// What a kernel must do with its results, and where, so that this layer can take them.
    pub fn takes<'a>(&self, from: &'a Activations) -> (Put, Vec<Binding<'a>>) {
        match self.is_int8() {
            true => (Put::Int8, vec![(10, &from.quants), (11, &from.factors)]),
            false => (Put::Float, vec![(10, &from.floats)]),
        }
    }

    /// Adds its product to the steps.
    pub fn record(&self, to: &mut Recorder, count: Count, from: &Activations, into: Into) {
        self.record_part(to, count, from, into, 0, self.outputs());
    }

    /// Like [`Linear::record`], for `outputs` of its outputs from `first` on.
    pub fn record_part(
        &self,
        to: &mut Recorder,
        count: Count,
        from: &Activations,
        into: Into,
        first: usize,
        outputs: usize,
    ) {
        let mut buffers: Vec<Binding> = Vec::new();
        let sides = match &self.matrix.values {
            Values::Int8 { quants, scales, offsets } => {
                let shift = offsets.get();
                buffers.extend([(2, &from.quants), (3, &from.factors), (4, quants), (5, scales)]);
                buffers.extend(shift.map(|offsets| (6, offsets)));
                let offsets = shift.is_some();
                match to.gpu.product() {
                    Product::Dot => Sides::Dot { offsets },
                    Product::Float => Sides::Unpacked { offsets },
                }
            }
            Values::Float(values) => {
                buffers.extend([(2, &from.floats), (4, values)]);
                Sides::Float
            }
        };
        buffers.push((7, &self.bias));
        let (activation, put) = match into {
            Into::Floats(out) => {
                buffers.push((10, out));
                (None, Put::Float)
            }
            Into::Residual(residual) => {
                buffers.push((10, residual));
                (None, Put::Add)
            }
            Into::Activated(activation, into, next) => {
                let (put, outputs) = next.takes(into);
                buffers.extend(outputs);
                (Some(activation), put)
            }
        };
        let sizes = [outputs, self.inputs(), first].map(|size| size as u32);
        to.product((sides, activation, put), count, sizes, &buffers);
    }
}

/// A layer norm.
pub struct LayerNorm {
    weight: wgpu::Buffer,
    bias: wgpu::Buffer,
    width: usize,
    eps: f32,
}

impl LayerNorm {
    /// The layer norm `name`.
    pub fn new(gpu: &Gpu, name: &str, eps: f64, weights: &mut Weights<Upload>) -> Result<Self> {
        let weight = weights.plain(&format!("{name}.weight"))?.to_vec1::<f32>()?;
        let bias = weights.plain(&format!("{name}.bias"))?.to_vec1::<f32>()?;
        Ok(Self {
            weight: buffer_of(gpu, name, &weight),
            bias: buffer_of(gpu, name, &bias),
            width: weight.len(),
            eps: eps as f32,
        })
    }

    /// Adds it to the steps: rows of `from`, normed in the form that `next` takes.
    pub fn record(
        &self,
        to: &mut Recorder,
        count: Count,
        from: &wgpu::Buffer,
        into: &Activations,
        next: &Linear,
    ) {
        let (put, outputs) = next.takes(into);
        let mut buffers = vec![(2, &self.weight), (3, &self.bias), (4, from)];
        buffers.extend(outputs);
        let kernel = Kernel::LayerNorm { from: Rows::Plain, put };
        to.each_row(kernel, count, 1, &[self.width as u32, self.eps.to_bits()], &buffers);
    }

    /// Adds it to the steps, for pictures: their patches with class token and positions, each picture `rows` rows.
    pub fn record_pictures(
        &self,
        to: &mut Recorder,
        [patches, class_token, positions]: [&wgpu::Buffer; 3],
        rows: usize,
        into: &wgpu::Buffer,
    ) {
        let kernel = Kernel::LayerNorm { from: Rows::Picture, put: Put::Float };
        let inputs = [(2, &self.weight), (3, &self.bias), (4, patches), (5, class_token)];
        let buffers = [&inputs[..], &[(6, positions), (10, into)]].concat();
        let sizes = [self.width as u32, self.eps.to_bits(), rows as u32];
        to.each_row(kernel, Count::Rows, 1, &sizes, &buffers);
    }
}
