//! Multi-head self-attention.

use candle_core::{CpuStorage, CustomOp3, Layout, Module, Shape, Tensor};

use super::linear::{Linear, contiguous};
use crate::config::LayerSizes;
use crate::error::Result;
use crate::kernels::float::{Panels, softmax};
use crate::weights::Weights;

pub struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: Heads,
}

impl Attention {
    pub fn new(
        block: &str,
        sizes: &LayerSizes,
        causal: bool,
        weights: &mut Weights,
    ) -> Result<Self> {
        let mut linear = |part| Linear::new(&format!("{block}.{part}"), weights);
        Ok(Self {
            q_proj: linear("attn_q")?,
            k_proj: linear("attn_k")?,
            v_proj: linear("attn_v")?,
            out_proj: linear("attn_out")?,
            heads: Heads { heads: sizes.heads, head_dim: sizes.head_dim(), causal },
        })
    }

    /// The rows of `queries` `[q, width]` attend to those of `xs` `[n, width]`, both normalised; gives
    /// `[q, width]`.
    pub fn forward(&self, queries: &Tensor, xs: &Tensor) -> Result<Tensor> {
        let q = self.q_proj.forward(queries)?;
        let k = self.k_proj.forward(xs)?;
        let v = self.v_proj.forward(xs)?;
        let attended = q.apply_op3_no_bwd(&k, &v, &self.heads)?;
        Ok(self.out_proj.forward(&attended)?)
    }
}

/// `softmax(q k^T / sqrt(head_dim)) v` of each head, f32.
struct Heads {
    heads: usize,
    head_dim: usize,
    /// Whether a row sees only those before it and itself; the queries are then the last rows.
    causal: bool,
}

impl Heads {
    /// `q` `[q, width]`, `k` and `v` `[n, width]` to `[q, width]`.
    fn attend(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let width = self.heads * self.head_dim;
        let (rows, n) = (q.len() / width, k.len() / width);
        let scale = (self.head_dim as f32).sqrt().recip();
        let mut out = vec![0.0; q.len()];
        let mut query = vec![0.0; rows * self.head_dim];
        let mut scores = vec![0.0; rows * n];
        for head in 0..self.heads {
            let at = head * self.head_dim;
            for (query, q) in query.chunks_exact_mut(self.head_dim).zip(q.chunks_exact(width)) {
                for (query, q) in query.iter_mut().zip(&q[at..]) {
                    *query = q * scale;
                }
            }
            let keys = Panels::pack(self.head_dim, n, |i, row| k[row * width + at + i]);
            keys.multiply(&query, |row, column, sum| scores[row * n + column] = sum);
            for (row, scores) in scores.chunks_exact_mut(n).enumerate() {
                let seen = if self.causal { n - rows + row + 1 } else { n };
                softmax(&mut scores[..seen]);
                scores[seen..].fill(0.0);
            }
            let values = Panels::pack(n, self.head_dim, |row, i| v[row * width + at + i]);
            values.multiply(&scores, |row, i, sum| out[row * width + at + i] = sum);
        }
        out
    }
}

impl CustomOp3 for Heads {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = self.attend(
            contiguous(q, q_layout)?,
            contiguous(k, k_layout)?,
            contiguous(v, v_layout)?,
        );
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}
