//! Multi-head self-attention.

use candle_core::{D, Module, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::linear::Linear;
use crate::config::LayerSizes;
use crate::error::Result;
use crate::weights::Weights;

pub struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
    head_dim: usize,
}

impl Attention {
    pub fn new(block: &str, sizes: &LayerSizes, weights: &mut Weights) -> Result<Self> {
        let mut linear = |part| Linear::new(&format!("{block}.{part}"), weights);
        Ok(Self {
            q_proj: linear("attn_q")?,
            k_proj: linear("attn_k")?,
            v_proj: linear("attn_v")?,
            out_proj: linear("attn_out")?,
            heads: sizes.heads,
            head_dim: sizes.head_dim(),
        })
    }

    /// The rows of `queries` `[q, width]` attend to those of `xs` `[n, width]`, both normalised; gives
    /// `[q, width]`. `mask` is added to the scores, `[q, n]`.
    pub fn forward(&self, queries: &Tensor, xs: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let scale = (self.head_dim as f64).powf(-0.5);
        let q = self.split((self.q_proj.forward(queries)? * scale)?)?;
        let k = self.split(self.k_proj.forward(xs)?)?;
        let v = self.split(self.v_proj.forward(xs)?)?;
        let mut scores = q.matmul(&k.transpose(1, 2)?)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let heads = softmax_last_dim(&scores)?.matmul(&v)?;
        let joined = heads.transpose(0, 1)?.flatten_from(D::Minus2)?;
        Ok(self.out_proj.forward(&joined)?)
    }

    /// `[n, width]` to `[heads, n, head_dim]`.
    fn split(&self, xs: Tensor) -> Result<Tensor> {
        let n = xs.dim(0)?;
        Ok(xs.reshape((n, self.heads, self.head_dim))?.transpose(0, 1)?.contiguous()?)
    }
}
