//! A linear layer in either resident form.

use std::cell::RefCell;

use candle_core::{CpuStorage, CustomOp1, InplaceOp2, Layout, Module, Shape, Tensor};

use crate::cpu::kernels::attention::Sequence;
use crate::cpu::kernels::gelu::{gelu, gelu_tanh, quick_gelu};
use crate::cpu::kernels::{Activations, BLOCK, Finish, Int8Matrix, Output, int8_matmul, packing};
use crate::cpu::weights::{LinearWeight, Weights};
use crate::error::{Error, ErrorKind, Result};
use crate::model::config::Activation;

thread_local! {
    /// The quantised input of a product, in memory that is reused.
    static ACTIVATIONS: RefCell<Activations> = RefCell::default();
}

/// `x[n, in] -> x W^T + b`, `[n, out]`, f32.
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
        Ok(match weights.linear(&format!("{name}.weight"))?.finish()? {
            LinearWeight::Float(weight) => Self::Float(candle_nn::Linear::new(weight, bias)),
            LinearWeight::Int8(weight) => {
                let bias = bias.map(|bias| bias.to_vec1()).transpose()?.unwrap_or_default();
                Self::Int8(Int8Linear { weight, bias })
            }
        })
    }

    /// Rounds a weight `[out, in]` to 8 bits. Its rows are padded with zeros to whole blocks, so its inputs have to be
    /// too.
    ///
    /// # Errors
    /// `low_memory`
    pub fn quantised(weight: &Tensor) -> Result<Self> {
        let (n, k) = weight.dims2()?;
        let padded = k.next_multiple_of(BLOCK);
        let mut quantised = Int8Matrix::zeros(n, padded, packing(8, 0))?;
        let mut values = vec![0.0; padded];
        for row in 0..n {
            values[..k].copy_from_slice(&weight.get(row)?.to_vec1()?);
            quantised.quantise_row(row, &values);
        }
        Ok(Self::Int8(Int8Linear { weight: quantised, bias: Vec::new() }))
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Float(linear) => linear.weight().dims()[1],
            Self::Int8(linear) => linear.weight.k(),
        }
    }

    /// Reserves the memory for `rows` rows of quantised activations; it is kept.
    pub fn make_room(&self, rows: usize) -> Result<()> {
        match self {
            Self::Float(_) => Ok(()),
            Self::Int8(linear) => linear.make_room(rows),
        }
    }

    /// Whether candle computes the layer in f32.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float(_))
    }

    /// Like `forward`, but each row has the same bits as alone: see [`Blocks::most_rows`](super::block::Blocks::most_rows).
    pub fn forward_each(&self, xs: &Tensor) -> Result<Tensor> {
        if !self.is_float() {
            return Ok(self.forward(xs)?);
        }
        let rows = (0..xs.dim(0)?).map(|row| self.forward(&xs.narrow(0, row, 1)?));
        Ok(Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
    }

    /// `activation(x W^T + b)`.
    pub fn forward_activated(&self, xs: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(match self {
            Self::Float(linear) => linear.forward(xs)?.apply_op1_no_bwd(&Activated(activation))?,
            Self::Int8(linear) => {
                let finish = match activation {
                    Activation::Gelu => Finish::Gelu,
                    Activation::GeluTanh => Finish::GeluTanh,
                    Activation::QuickGelu => Finish::QuickGelu,
                };
                xs.apply_op1_no_bwd(&Finished { linear, finish })?
            }
        })
    }

    /// `residual + x W^T + b`, in the residual's own memory if the weight is int8.
    pub fn add_to(&self, residual: Tensor, xs: &Tensor) -> Result<Tensor> {
        match self {
            Self::Float(linear) => Ok((residual + linear.forward(xs)?)?),
            Self::Int8(linear) => {
                residual.inplace_op2(xs, linear)?;
                Ok(residual)
            }
        }
    }
}

impl Module for Linear {
    fn forward(&self, xs: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Float(linear) => linear.forward(xs),
            Self::Int8(linear) => xs.apply_op1_no_bwd(&Finished { linear, finish: Finish::Store }),
        }
    }
}

/// An int8 weight and its bias, which is empty if there is none.
pub struct Int8Linear {
    weight: Int8Matrix,
    bias: Vec<f32>,
}

impl Int8Linear {
    fn make_room(&self, rows: usize) -> Result<()> {
        ACTIVATIONS.with_borrow_mut(|activations| {
            activations.make_room(rows, self.weight.k(), self.weight.packing().run)
        })
    }

    fn multiply(&self, xs: &[f32], finish: Finish, out: Output) {
        ACTIVATIONS.with_borrow_mut(|activations| {
            activations.quantise(xs, self.weight.k(), self.weight.packing().run);
            int8_matmul(&self.weight, activations, &self.bias, finish, out);
        });
    }
}

/// Adds the product to a residual.
impl InplaceOp2 for Int8Linear {
    fn name(&self) -> &'static str {
        "int8-linear-add"
    }

    fn cpu_fwd(
        &self,
        residual: &mut CpuStorage,
        residual_layout: &Layout,
        xs: &CpuStorage,
        xs_layout: &Layout,
    ) -> candle_core::Result<()> {
        let xs = contiguous(xs, xs_layout)?;
        let Some((from, to)) = residual_layout.contiguous_offsets() else {
            candle_core::bail!("int8-linear-add takes contiguous tensors")
        };
        let CpuStorage::F32(residual) = residual else {
            candle_core::bail!("int8-linear-add takes f32")
        };
        self.multiply(xs, Finish::Add, Output::whole(&mut residual[from..to], self.weight.n()));
        Ok(())
    }
}

struct Finished<'a> {
    linear: &'a Int8Linear,
    finish: Finish,
}

impl CustomOp1 for Finished<'_> {
    fn name(&self) -> &'static str {
        "int8-linear"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let xs = contiguous(storage, layout)?;
        let (m, n) = (xs.len() / self.linear.weight.k(), self.linear.weight.n());
        let mut out = vec![0.0; m * n];
        self.linear.multiply(xs, self.finish, Output::whole(&mut out, n));
        Ok((CpuStorage::F32(out), Shape::from((m, n))))
    }
}

struct Activated(Activation);

impl CustomOp1 for Activated {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let function = match self.0 {
            Activation::Gelu => gelu,
            Activation::GeluTanh => gelu_tanh,
            Activation::QuickGelu => quick_gelu,
        };
        let out = contiguous(storage, layout)?.iter().map(|x| function(*x)).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// The three projections of attention, with their results side by side: `[n, in] -> [n, 3 * out]`.
pub enum QkvLinear {
    Float([candle_nn::Linear; 3]),
    Int8(Box<[Int8Linear; 3]>),
}

impl QkvLinear {
    /// The layers `block.attn_q`, `attn_k` and `attn_v`.
    pub fn new(block: &str, weights: &mut Weights) -> Result<Self> {
        let mut linear = |part| Linear::new(&format!("{block}.attn_{part}"), weights);
        Ok(match (linear("q")?, linear("k")?, linear("v")?) {
            (Linear::Int8(q), Linear::Int8(k), Linear::Int8(v)) => Self::Int8(Box::new([q, k, v])),
            (Linear::Float(q), Linear::Float(k), Linear::Float(v)) => Self::Float([q, k, v]),
            _ => {
                let message = format!(
                    "{block} mixes float and quantised projections; convert the model again"
                );
                return Err(Error::new(ErrorKind::UnsupportedModel, message));
            }
        })
    }

    /// Like [`Linear::is_float`].
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float(_))
    }

    /// Like [`Linear::make_room`].
    pub fn make_room(&self, rows: usize) -> Result<()> {
        match self {
            Self::Float(_) => Ok(()),
            Self::Int8(linears) => linears.iter().try_for_each(|linear| linear.make_room(rows)),
        }
    }

    /// Keys and values of every row, but queries only of the rows that attend; the other rows' queries are
    /// undefined.
    pub fn forward(&self, xs: &Tensor, sequences: &[Sequence]) -> Result<Tensor> {
        Ok(match self {
            Self::Float(linears) => {
                let parts = linears.iter().map(|linear| linear.forward(xs));
                Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 1)?
            }
            Self::Int8(linears) => xs.apply_op1_no_bwd(&Int8Qkv { linears, sequences })?,
        })
    }
}

/// Quantises its input once for all three.
struct Int8Qkv<'a> {
    linears: &'a [Int8Linear; 3],
    sequences: &'a [Sequence],
}

impl Int8Qkv<'_> {
    /// The queries of the rows that attend, each written to its row of `out` `[m, 3 * n]`.
    fn some_queries(&self, xs: &[f32], rows: &[usize], out: &mut [f32]) {
        let q = &self.linears[0];
        let (width, n) = (q.weight.k(), q.weight.n());
        let attending: Vec<f32> =
            rows.iter().flat_map(|row| &xs[row * width..][..width]).copied().collect();
        let mut queries = vec![0.0; rows.len() * n];
        q.multiply(&attending, Finish::Store, Output::whole(&mut queries, n));
        for (row, queries) in rows.iter().zip(queries.chunks_exact(n)) {
            out[row * 3 * n..][..n].copy_from_slice(queries);
        }
    }
}

impl CustomOp1 for Int8Qkv<'_> {
    fn name(&self) -> &'static str {
        "int8-qkv"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let xs = contiguous(storage, layout)?;
        let [q, k, v] = self.linears;
        let (width, n) = (q.weight.k(), q.weight.n());
        let m = xs.len() / width;
        let mut out = vec![0.0; m * 3 * n];
        let rows: Vec<usize> =
            self.sequences.iter().flat_map(|sequence| sequence.queries.clone()).collect();
        if rows.len() < m {
            self.some_queries(xs, &rows, &mut out);
        }
        ACTIVATIONS.with_borrow_mut(|activations| {
            activations.quantise(xs, width, k.weight.packing().run);
            let of_all =
                if rows.len() < m { &[(1, k), (2, v)][..] } else { &[(0, q), (1, k), (2, v)] };
            for (part, Int8Linear { weight, bias }) in of_all {
                // The three weights may have different types in a file.
                if activations.run() != weight.packing().run {
                    activations.quantise(xs, width, weight.packing().run);
                }
                let columns = Output::columns(&mut out, 3 * n, part * n);
                int8_matmul(weight, activations, bias, Finish::Store, columns);
            }
        });
        Ok((CpuStorage::F32(out), Shape::from((m, 3 * n))))
    }
}

/// The values of a contiguous f32 tensor.
pub fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("this operation takes contiguous tensors"),
    }
}
