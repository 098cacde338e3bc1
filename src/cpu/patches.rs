//! The embedding of an image's patches: a convolution whose stride equals its kernel is one matrix product.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Module, Shape, Tensor};

use super::kernels::float::Panels;
use super::kernels::{Output, PANEL};
use super::linear::{Linear, contiguous};
use crate::error::Result;
use crate::memory;

/// `[images, 3, S, S]` to one row per patch, `[images * grid * grid, width]`.
pub struct PatchEmbedding {
    product: Product,
    grid: usize,
    patch: usize,
}

/// In f32 if the tower has f32 layers, and in 8 bits otherwise. That takes less time, and adds as much error as one more
/// layer would.
enum Product {
    Float(Panels),
    Int8(Linear),
}

impl PatchEmbedding {
    /// `weight` is `[width, 3, patch, patch]`.
    ///
    /// # Errors
    /// `low_memory`
    pub fn new(weight: &Tensor, grid: usize, is_float: bool) -> Result<Self> {
        let patch = weight.dim(3)?;
        let weight = weight.flatten_from(1)?;
        let product = if is_float {
            let (n, k) = weight.dims2()?;
            let bytes = 4 * n.next_multiple_of(PANEL) as u64 * k as u64;
            memory::probe(&[bytes, bytes])?;
            let values = weight.flatten_all()?.to_vec1::<f32>()?;
            Product::Float(Panels::pack(k, n, |row, column| values[column * k + row]))
        } else {
            Product::Int8(Linear::quantised(&weight)?)
        };
        Ok(Self { product, grid, patch })
    }

    /// Patches of an image.
    pub fn rows(&self) -> usize {
        self.grid * self.grid
    }

    /// Checks that there is memory for the patches of images.
    ///
    /// # Errors
    /// `low_memory`
    pub fn make_room(&self, images: usize) -> Result<()> {
        let rows = images * self.rows();
        if let Product::Int8(linear) = &self.product {
            linear.make_room(rows)?;
        }
        memory::probe(&[4 * rows as u64 * self.inputs() as u64])
    }

    /// The embeddings of the patches of images. `pixels` is `[images, 3, S, S]`.
    pub fn forward(&self, pixels: &[f32], images: usize) -> Result<Tensor> {
        let patches = self.patches(pixels, images);
        let rows = images * self.rows();
        let patches = Tensor::from_vec(patches, (rows, self.inputs()), &Device::Cpu)?;
        Ok(match &self.product {
            Product::Float(panels) => patches.apply_op1_no_bwd(&FloatProduct(panels))?,
            Product::Int8(linear) => linear.forward(&patches)?,
        })
    }

    /// Values that the product takes of a patch: its pixels, and zeros.
    fn inputs(&self) -> usize {
        match &self.product {
            Product::Float(panels) => panels.k(),
            Product::Int8(linear) => linear.inputs(),
        }
    }

    /// One row per patch, its pixels followed by zeros. Pixels beyond the last whole patch are dropped, as the
    /// convolution would.
    fn patches(&self, pixels: &[f32], images: usize) -> Vec<f32> {
        let (grid, patch) = (self.grid, self.patch);
        let size = (pixels.len() / images / 3).isqrt();
        let mut rows = vec![0.0; images * self.rows() * self.inputs()];
        for (index, row) in rows.chunks_exact_mut(self.inputs()).enumerate() {
            let (image, y, x) = (index / self.rows(), index / grid % grid, index % grid);
            let lines = row[..3 * patch * patch].chunks_exact_mut(patch);
            for (line, into) in lines.enumerate() {
                let (channel, line) = (line / patch, line % patch);
                let from = ((image * 3 + channel) * size + y * patch + line) * size + x * patch;
                into.copy_from_slice(&pixels[from..from + patch]);
            }
        }
        rows
    }
}

/// `x[m, k] W^T` in f32, with the same order of roundings everywhere.
struct FloatProduct<'a>(&'a Panels);

impl CustomOp1 for FloatProduct<'_> {
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
        self.0.multiply(values, Output::whole(&mut out, n));
        Ok((CpuStorage::F32(out), Shape::from((m, n))))
    }
}
